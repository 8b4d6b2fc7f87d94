"""Notifications: each failure, each hold that lasts and each recovery is told once, by any number of services."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import http.server
import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.runs.events import RunEndedEarly
from cratedb_retention.model.audit import Outcome
from cratedb_retention.model.duration import parse_duration
from cratedb_retention.model.runs import RunOptions
from cratedb_retention.planning.schedule import Timetable
from cratedb_retention.service import notifications
from cratedb_retention.service.notifications import (
    Notification,
    Notifications,
    make_channels,
    program,
    sign,
    webhook,
)
from cratedb_retention.service.schedule import make_service
from cratedb_retention.service.settings import NotifySettings, Settings
from support.databases import MONTH, TIME, Database
from support.markdown import ROOT, blocks
from support.tiers import DECIDED

RUN_OPTIONS = RunOptions(threads=False)


class Receiver:
    """
    An HTTP server that keeps what it gets.

    :param answers: The statuses of its first answers; 200 after that.
    """

    def __init__(self, *answers: int) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        pending, got = list(answers), self.got

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                got.append((dict(self.headers.items()), body))
                status = pending.pop(0) if pending else 200
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?key=hunter2"

    @contextmanager
    def up(self) -> Iterator[Receiver]:
        """While it listens."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    @property
    def events(self) -> list[tuple[str, str]]:
        """What was told, of which policy."""
        return [(data["event"], data["policy_id"]) for data in (json.loads(body) for _, body in self.got)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server that takes everything."""
    with Receiver().up() as found:
        yield found


def notification() -> Notification:
    """An event."""
    now = dt.datetime(2024, 7, 3, tzinfo=dt.UTC)
    return Notification(
        id="1",
        event="policy-failed",
        policy_id="p; touch x",
        strategy="delete",
        table="t",
        tags=("a",),
        since=now,
        at=now,
        reason="$(touch y)",
    )


class Recorder:
    """
    A channel that keeps what it is sent.

    :param answers: Whether it accepts the first notifications; it accepts all after that.
    """

    def __init__(self, *answers: bool) -> None:
        self.got: list[Notification] = []
        self._answers = list(answers)

    def __call__(self, sent: Notification) -> bool:
        """Keep it."""
        self.got.append(sent)
        return self._answers.pop(0) if self._answers else True

    @property
    def events(self) -> list[str]:
        """Their events."""
        return [each.event for each in self.got]


def prepare(db: Database) -> None:
    """A policy that will fail, and one that is held."""
    for name in ("bad", "held"):
        db.create(name, {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
        db.fill(name, ("2024-03-10", "2024-04-10"))
    db.policy("snapshot", "bad", "30d", id="bad", schedule="@daily", tags=["a"])
    db.policy("delete", "held", "30d", id="held", schedule="@daily")
    db.tool.hold("held", db.schema, reason="case 1")


def fail(db: Database) -> None:
    """A scheduled run of what `prepare` makes, whose snapshots fail."""
    prepare(db)
    db.break_repository()
    db.time.set("2024-07-03T00:00:10+00:00")
    db.tool.run_due(options=RUN_OPTIONS)


@DECIDED
def test_each_change_is_told_once(db: Database, receiver: Receiver) -> None:
    """Failed, blocked for long, fine again: one event each, whoever looks and however often."""
    prepare(db)
    hook = webhook(receiver.url, "s3cret", pause=0)
    notifiers = [Notifications(db.retention(), [hook], parse_duration("36h")) for _ in range(3)]

    def day(number: int) -> list[tuple[str, str]]:
        """Run what is due on a day, look as three services do, twice, and tell what came."""
        db.time.set(f"2024-07-{number:02}T00:00:10+00:00")
        db.tool.run_due(options=RUN_OPTIONS)
        before = len(receiver.got)
        for notifier in notifiers * 2:
            notifier.check()
        return receiver.events[before:]

    db.break_repository()
    assert day(3) == [("policy-failed", "bad")]
    assert day(4) == []
    db.mend_repository()
    assert day(5) == [("policy-blocked", "held"), ("policy-recovered", "bad")]
    db.tool.release(db.tool.holds()[0].id)
    assert day(6) == [("policy-recovered", "held")]
    assert day(7) == []
    assert db.tool.store.notices.all() == {}
    db.break_repository()
    db.fill("bad", ["2024-04-11"])
    assert day(8) == [("policy-failed", "bad")]
    assert len({headers["Retention-Event-Id"] for headers, _ in receiver.got}) == len(receiver.got)
    headers, body = receiver.got[0]
    moment = headers["Retention-Signature"].split(",")[0].removeprefix("t=")
    digest = hmac.new(b"s3cret", f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["Retention-Signature"] == f"t={moment},v1={digest}"
    for signed, event in receiver.got:
        at = dt.datetime.fromisoformat(json.loads(event)["at"])
        assert signed["Retention-Signature"].startswith(f"t={at.timestamp():.0f},")
    told = json.loads(body)
    assert headers["Retention-Event-Id"] == told["id"]
    assert (told["strategy"], told["table"], told["tags"]) == ("snapshot", f"{db.schema}.bad", ["a"])
    assert told["since"] == "2024-07-03T00:00:10+00:00"
    assert told["reason"]
    lasting = json.loads(receiver.got[1][1])
    assert lasting["reason"].startswith("legal hold")
    assert (lasting["since"], lasting["at"]) == ("2024-07-03T00:00:10+00:00", "2024-07-05T00:00:10+00:00")


def test_reasons_hold_no_secret(duck: Database, receiver: Receiver) -> None:
    """What failed may have been said with an address or a token in it; these are told without their secrets."""
    fail(duck)
    error = f"no route to crate://u:hunter2@host:4200/ with crt_{'0' * 16}_{'a' * 43}"
    duck.sql(f"UPDATE {duck.q('last_run', duck.own_schema)} SET error = ? WHERE error IS NOT NULL", [error])
    assert Notifications(duck.tool, [webhook(receiver.url)], None).check() == 1
    assert json.loads(receiver.got[0][1])["reason"] == (
        f"no route to crate://u:REDACTED@host:4200/ with crt_{'0' * 16}_REDACTED"
    )


def test_disabled_policies_are_not_told_of(duck: Database, receiver: Receiver) -> None:
    """Runs do not obey it any more, so its failure is no event; nor is that over, once it is enabled again."""
    fail(duck)
    notifications = Notifications(duck.tool, [webhook(receiver.url)], None)
    duck.tool.edit_policy("bad", {"enabled": False})
    assert notifications.check() == 0
    duck.tool.edit_policy("bad", {"enabled": True})
    duck.time.set("2024-07-03T05:00:00+00:00")
    assert notifications.check() == 1
    assert receiver.events == [("policy-failed", "bad")]
    assert json.loads(receiver.got[0][1])["since"] == "2024-07-03T00:00:10+00:00"


def test_many_at_once(duck: Database, receiver: Receiver) -> None:
    """Services that look at the same moment tell once."""
    fail(duck)
    notifiers = [Notifications(duck.tool.sibling(), [webhook(receiver.url, pause=0)], None) for _ in range(6)]
    threads = [threading.Thread(target=notifier.look) for notifier in notifiers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert receiver.events == [("policy-failed", "bad")]


def test_another_service_is_faster(duck: Database) -> None:
    """What another service has sent since all events were read is left to it, and the rest is sent."""
    prepare(duck)
    duck.create("worse", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    duck.fill("worse", ["2024-03-10"])
    duck.policy("snapshot", "worse", "30d", id="worse", schedule="@daily")
    duck.break_repository()
    duck.time.set("2024-07-03T00:00:10+00:00")
    duck.tool.run_due(options=RUN_OPTIONS)
    for _ in range(2):
        assert Notifications(duck.tool.sibling(), [lambda told: False], None).check() == 0
    slow, fast = Recorder(), Recorder()
    faster = Notifications(duck.tool.sibling(), [fast], None)

    def send(event: Notification) -> bool:
        faster.check()
        return slow(event)

    duck.time.set("2024-07-03T00:05:00+00:00")
    assert Notifications(duck.tool.sibling(), [send], None).check() == 1
    assert sorted(each.policy_id for each in (*slow.got, *fast.got)) == ["bad", "worse"]
    assert len(fast.got) == 1


def test_what_can_not_be_told_is_told_later(duck: Database, caplog: pytest.LogCaptureFixture) -> None:
    """Where nobody answers, the event waits for another try, with the same identifier; the address is not logged."""
    fail(duck)
    with Receiver(500, 503, 500, 404, 307).up() as receiver:
        notifier = Notifications(duck.tool, [webhook(receiver.url, pause=0)], None)
        assert notifier.check() == 0
        assert len(receiver.got) == 3
        assert notifier.check() == 0  # Somebody may be at it still.
        assert len(receiver.got) == 3
        for time, tries in (("02:10", 4), ("06:00", 5), ("09:00", 6)):
            duck.time.set(f"2024-07-03T00:{time}+00:00")
            notifier.check()
            assert len(receiver.got) == tries
        assert notifier.check() == 0
        assert len({headers["Retention-Event-Id"] for headers, _ in receiver.got}) == 1
    assert "HTTP status 404" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_webhook_that_may_answer_later_is_tried_again() -> None:
    """Too many requests, and what a server or its proxy says when it is not well: the same event is sent once more."""
    statuses = (429, 500, 502, 503, 504)
    with Receiver(*(status for each in statuses for status in (each, 200))).up() as receiver:
        hook = webhook(receiver.url, pause=0)
        for number in range(1, len(statuses) + 1):
            assert hook(notification())
            assert len(receiver.got) == 2 * number


def test_all_channels_are_to_be_told(duck: Database) -> None:
    """Where one of two channels does not answer, the other one is told nevertheless, and both with the next try."""
    fail(duck)
    channel = Recorder()
    notifier = Notifications(duck.tool, [lambda told: False, channel], None)
    for minute in (1, 4):
        duck.time.set(f"2024-07-03T00:0{minute}:00+00:00")
        assert notifier.check() == 0
    assert (len(channel.got), len({each.id for each in channel.got})) == (2, 1)


def test_what_comes_back_before_its_end_was_told(duck: Database) -> None:
    """Recovery could not be told, and it fails again: what was told is true still, so nothing is told until it ends."""
    prepare(duck)
    channel = Recorder(True, False, True)
    notifier = Notifications(duck.tool, [channel], None)
    for day, is_broken in ((3, True), (4, False), (5, True), (6, False)):
        (duck.break_repository if is_broken else duck.mend_repository)()
        duck.fill("bad", ["2024-05-10"])
        duck.time.set(f"2024-07-0{day}T00:00:10+00:00")
        duck.tool.run_due(options=RUN_OPTIONS)
        notifier.check()
    assert channel.events == ["policy-failed", "policy-recovered", "policy-recovered"]


def test_a_recovery_that_no_channel_accepts_is_sent_later(duck: Database) -> None:
    """The end of a failure is sent as soon as a channel accepts it, also when its claim is over."""
    prepare(duck)
    channel = Recorder(True, False, True)
    notifier = Notifications(duck.tool, [channel], None)
    duck.break_repository()
    for time, sent in (("03T00:00:10", 1), ("04T00:00:10", 0), ("04T00:05:00", 1), ("04T00:10:00", 0)):
        duck.time.set(f"2024-07-{time}+00:00")
        duck.tool.run_due(options=RUN_OPTIONS)
        assert notifier.check() == sent
        if duck.directory.is_file():
            duck.mend_repository()
    assert channel.events == ["policy-failed", "policy-recovered", "policy-recovered"]


def test_what_is_blocked_since_before_the_service_began(duck: Database) -> None:
    """It has been blocked since the run that found it, however late a service looks for the first time."""
    duck.policy("delete", "nowhere", "30d", id="p", schedule="@daily")
    duck.time.set("2024-07-03T00:00:10+00:00")
    duck.tool.run_due(options=RUN_OPTIONS)
    channel = Recorder()
    duck.time.set("2024-07-04T12:00:00+00:00")
    assert Notifications(duck.tool, [channel], parse_duration("24h")).check() == 1
    [sent] = channel.got
    assert (sent.event, sent.since.isoformat()) == ("policy-blocked", "2024-07-03T00:00:10+00:00")


def test_what_needs_attention_for_long_is_told(duck: Database) -> None:
    """What needs attention is an event once it has lasted as long as what is blocked has to, to the instant."""
    duck.policy("delete", "nowhere", "30d", id="p", schedule="@daily")
    channel = Recorder()
    notifier = Notifications(duck.tool, [channel], parse_duration("48h"))
    for day, told in ((3, []), (4, []), (5, ["policy-blocked"]), (6, ["policy-blocked"])):
        duck.time.set(f"2024-07-0{day}T00:00:10+00:00")
        duck.tool.run_due(options=RUN_OPTIONS)
        notifier.check()
        assert channel.events == told


def test_what_ended_before_it_was_told(duck: Database) -> None:
    """A policy that was blocked, was not, and is blocked again has been so since then, and not since the first time."""
    duck.policy("delete", "nowhere", "30d", id="p", schedule="@daily")
    channel = Recorder()
    notifier = Notifications(duck.tool, [channel], parse_duration("48h"))
    for day in (3, 4, 5, 6, 7):
        if day == 4:
            duck.create("nowhere", {"ts": TIME})
        elif day == 5:
            duck.sql(f"DROP TABLE {duck.q('nowhere')}")
        duck.time.set(f"2024-07-0{day}T00:00:10+00:00")
        duck.tool.run_due(options=RUN_OPTIONS)
        notifier.check()
        assert [sent.since.day for sent in channel.got] == ([5] if day == 7 else [])


def test_which_outcome_is_a_failure() -> None:
    """A run that was done or blocked ends a failure; one that was cancelled, deferred or interrupted does not."""
    found = {outcome: notifications._HAS_FAILED.get(outcome) for outcome in Outcome}
    assert {outcome for outcome, failed in found.items() if failed} == {Outcome.FAILED}
    assert {outcome for outcome, failed in found.items() if failed is None} == {
        Outcome.CANCELLED, Outcome.DEFERRED, Outcome.INTERRUPTED,
    }  # fmt: skip


def test_a_cancelled_run_ends_no_failure(duck: Database) -> None:
    """A run that was cancelled tells nothing of whether its policies work again: a failure goes on."""
    fail(duck)
    channel = Recorder()
    notifier = Notifications(duck.tool, [channel], None)
    assert notifier.check() == 1
    duck.time.set("2024-07-04T00:00:10+00:00")
    session = duck.tool.schedule.take(duck.tool.schedule.find_due(Timetable()), RUN_OPTIONS)
    assert session is not None
    session.leases.release({"bad": Outcome.CANCELLED, "held": Outcome.CANCELLED})
    assert notifier.check() == 0
    assert channel.events == ["policy-failed"]


def test_a_program_gets_events(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A program reads the event as JSON, without a shell, and without our own variables; what fails is said."""
    told = notification()
    out = tmp_path / "out"
    script = f"import os, sys; open({str(out)!r}, 'w').write(sys.stdin.read() + str(sorted(os.environ)))"
    environment = {"CRATEDB_URI": "crate://u:hunter2@h/", "CRATEDB_RETENTION_NOTIFY_WEBHOOK_SECRET": "x", "HOME": "/"}
    assert program([sys.executable, "-c", script, "; false"], environment)(told)
    assert '"policy_id": "p; touch x"' in out.read_text()
    assert "HOME" in out.read_text()
    assert "CRATEDB_" not in out.read_text()
    complaint = "import sys; print('x' * 1000, 'no route, crt_0123456789abcdef_' + 'x' * 30, file=sys.stderr)"
    assert not program([sys.executable, "-c", f"{complaint}; sys.exit(3)"], {})(told)
    assert "exit code 3: x" in caplog.text
    assert "no route, crt_0123456789abcdef_REDACTED" in caplog.text
    assert len(caplog.records[-1].getMessage()) < 700
    waiting = f"{complaint}; sys.stderr.flush(); import threading; threading.Event().wait(60)"
    assert not program([sys.executable, "-c", waiting], {}, timeout=3.0)(told)
    assert "timeout after 3 s" in caplog.text
    assert not program(["/nowhere/program"], {})(told)
    assert "No such file" in caplog.text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Apprise's own.
def test_chat_and_mail(duck: Database, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    """Each service that Apprise knows gets an event in words; what fails is logged without the address."""
    fail(duck)
    good = receiver.url.replace("http://", "json://")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        bad = f"json://127.0.0.1:{closed.getsockname()[1]}/hook?key=hunter2"
    (both,) = make_channels(NotifySettings(channels=(bad, good)), {})
    assert Notifications(duck.tool, [both], None).check() == 0
    assert "service JSON: not sent" in caplog.text
    assert "hunter2" not in caplog.text
    duck.time.set("2024-07-03T00:05:00+00:00")
    (one,) = make_channels(NotifySettings(channels=(good,)), {})
    assert Notifications(duck.tool, [one], None).check() == 1
    first, second = (json.loads(body) for _, body in receiver.got)
    assert first == second
    assert second["title"] == f"Retention failed: {duck.schema}.bad"
    assert "Policy bad (snapshot)" in second["message"]
    assert "Tags: a" in second["message"]
    [reason] = [run.error for run in duck.tool.runs.of_policies(duck.time.moment - notifications.WINDOW) if run.failed]
    assert reason and reason in second["message"]
    for other in ("nonsense://u:hunter2@host", "slack://hunter2"):
        with pytest.raises(InvalidInput, match="address 2: not supported by Apprise") as error:
            make_channels(NotifySettings(channels=(good, other)), {})
        assert "hunter2" not in str(error.value)
    assert "hunter2" not in caplog.text


def test_an_address_that_is_none_is_refused() -> None:
    """A webhook is an address with a host; without settings nobody is told."""
    for url in ("hook", "ftp://host/", "https://", "http://[/"):
        with pytest.raises(InvalidInput, match="not a URL"):
            make_channels(NotifySettings(webhook=url), {})
    assert make_channels(NotifySettings(), {}) == []


def test_channels_have_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A webhook gets the key that signs events; it and a program get the timeout."""
    for name in ("webhook", "program"):
        monkeypatch.setattr(notifications, name, lambda *args: args)
    settings = NotifySettings(webhook="https://host/", webhook_secret="s3cret", command=("x", "y"), timeout=3)
    made: list[Any] = list(make_channels(settings, {"HOME": "/"}))
    assert made == [("https://host/", "s3cret", 3), (("x", "y"), {"HOME": "/"}, 3)]


def test_how_a_receiver_checks_the_signature() -> None:
    """What the documentation shows accepts what is signed, and nothing that was changed or is old."""
    (shown,) = [
        block
        for block in blocks((ROOT / "docs" / "how-to" / "monitoring.md").read_text())
        if block.language == "python"
    ]
    names: dict[str, Any] = {}
    exec(shown.text, names)
    header = sign("s", 1_000_000, b"{}")
    assert names["is_genuine"]("s", header, b"{}", 1_000_010)
    for secret, body, now in (("x", b"{}", 1_000_010), ("s", b"[]", 1_000_010), ("s", b"{}", 1_000_400)):
        assert not names["is_genuine"](secret, header, body, now)


def test_a_channel_that_does_not_answer_holds_up_nothing(duck: Database) -> None:
    """Runs end, and the service too, while an event is being sent; the event is not lost, and comes from the next."""
    prepare(duck)
    duck.break_repository()
    duck.time.set("2024-07-03T00:00:10+00:00")
    asked, go_on = threading.Event(), threading.Event()
    sent: list[Notification] = []

    def silent(told: Notification) -> bool:
        sent.append(told)
        asked.set()
        return go_on.wait(60)

    notifications = Notifications(duck.tool.sibling(), [silent], None, 3600, patience=0.1)
    notifications.start()
    report = duck.tool.run_due([notifications.observe], RUN_OPTIONS)
    assert report is not None
    assert report.failed
    assert asked.wait(60)
    duck.time.set("2024-07-04T00:00:10+00:00")
    assert duck.tool.run_due([notifications.observe], RUN_OPTIONS) is not None
    assert len(sent) == 1
    notifications.stop()
    with duck.statements() as statements:
        go_on.set()
        notifications._thread.join()
    assert statements == []  # The database may be closed by then.
    duck.time.set("2024-07-04T00:10:00+00:00")
    with Receiver().up() as receiver:
        assert Notifications(duck.tool, [webhook(receiver.url, pause=0)], None).check() == 1
        assert receiver.events == [("policy-failed", "bad")]


def test_a_silent_server_and_many_blocked_policies(
    duck: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look tries one event at most that nobody takes, runs wait for none, and each event has its turn."""
    for number in range(5):
        duck.create(f"t{number}", {"ts": TIME, "n": "TEXT"})
        duck.fill(f"t{number}", ["2024-03-10"])
        duck.policy("delete", f"t{number}", "30d", id=f"p{number}", schedule="@daily")
    duck.tool.hold("*", duck.schema, reason="case 1")
    duck.time.set("2024-07-03T00:00:10+00:00")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # It takes connections, and never answers.
        hook = webhook(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout=0.01, pause=0)
        tried: list[str] = []

        def channel(notification: Notification) -> bool:
            tried.append(notification.policy_id)
            return hook(notification)

        # Not begun: whatever a run did for it, it would do itself.
        notifier = Notifications(duck.tool.sibling(), [channel], parse_duration("1s"), 3600)
        report = duck.tool.run_due([notifier.observe], RUN_OPTIONS)
        assert report is not None
        assert (report.blocked, tried, notifier._wake.is_set()) == (5, [], True)
        notifier._wake.clear()
        notifier.observe(RunEndedEarly(report, "the process was stopped"))
        assert notifier._wake.is_set()
        notifier.check()
        for minute in range(1, 11):
            duck.time.set(f"2024-07-03T00:{minute:02}:00+00:00")
            assert notifier.check() == 0
            assert len(tried) == minute
    assert sorted(tried[:5]) == sorted(tried[5:]) == [f"p{number}" for number in range(5)]
    assert "webhook at 127.0.0.1: ReadTimeoutError" in caplog.text
    monkeypatch.setattr(notifications, "MOST_AT_ONCE", 2)
    duck.time.set("2024-07-03T00:20:00+00:00")
    notifier = Notifications(duck.tool, [lambda told: True], parse_duration("1s"))
    assert [notifier.check() for _ in range(3)] == [2, 2, 1]


def test_a_mistake_ends_no_thread(duck: Database, caplog: pytest.LogCaptureFixture) -> None:
    """What nobody expected is logged, and the next look is taken nevertheless."""
    fail(duck)
    tried: list[Notification] = []

    def channel(notification: Notification) -> bool:
        tried.append(notification)
        if len(tried) == 1:
            raise ZeroDivisionError("a mistake")
        return True

    notifier = Notifications(duck.tool, [channel], None)
    notifier.look()
    assert "ZeroDivisionError" in caplog.text
    duck.time.set("2024-07-03T00:05:00+00:00")
    notifier._stop.set()
    notifier._watch()  # It looks once more before it ends.
    assert duck.tool.store.notices.all()["failed:bad"].state == "told"


def test_the_end_of_a_run_is_told_at_once(duck: Database, receiver: Receiver) -> None:
    """A service tells as soon as a run is over, rather than when it looks the next time, and before it ends."""
    prepare(duck)
    duck.break_repository()
    duck.time.set("2024-07-03T00:00:10+00:00")
    settings = Settings.model_validate({"notify": {"webhook": receiver.url, "interval": 3600}})
    service = make_service(duck.tool, settings, {})
    (notifications,) = service._beside
    notifications.start()
    assert service.scheduler.tick()
    assert service.scheduler.wait(60)
    notifications.stop()
    assert receiver.events == [("policy-failed", "bad")]
