"""
Notifications: of failures, of what is blocked for long, and of recovery; once for each, with any number of services.

What is the matter is read from leases and the audit log; what was sent is in the table ``notification``. The claim of a
service that dies meanwhile ends, and another one sends. So an event can come twice, with the same identifier, but is
never lost. All of it happens in a thread of its own, so that no channel can hold up a run.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import logging
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import urllib3

from cratedb_retention.api import Retention
from cratedb_retention.errors import InvalidInput, RetentionError, not_installed
from cratedb_retention.execution.runs.events import RunEndedEarly, RunEvent, RunFinished
from cratedb_retention.model.address import redact
from cratedb_retention.model.audit import Outcome
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.time import EPOCH
from cratedb_retention.service.settings import NotifySettings
from cratedb_retention.store.notifications import Notice, NoticeState

logger = logging.getLogger(__name__)
FAILED, BLOCKED = "failed", "blocked"
# Whether a slot with this outcome has failed; other outcomes change nothing.
_HAS_FAILED: dict[str, bool] = dict.fromkeys([Outcome.DONE, Outcome.NEEDS_ATTENTION, Outcome.BLOCKED], False)
_HAS_FAILED[Outcome.FAILED] = True
# What the last run of a policy blocked is not known any more if that is longer ago.
WINDOW = dt.timedelta(days=2)
CLAIM = dt.timedelta(minutes=2)
MOST_AT_ONCE = 100
SIGNATURE, EVENT_ID = "Retention-Signature", "Retention-Event-Id"
_TRIES = 3
_AGAIN = (429, 500, 502, 503, 504)
_LONGEST_COMPLAINT = 500


@dataclass(frozen=True, kw_only=True)
class Notification:
    id: str  # the same whenever the same event is sent again
    event: str  # ``policy-failed``, ``policy-blocked`` or ``policy-recovered``
    policy_id: str
    strategy: str
    table: str
    tags: Sequence[str]
    since: dt.datetime
    at: dt.datetime
    reason: str | None  # in words; of a recovery, why it was

    def to_json(self) -> bytes:
        data = {**vars(self), "tags": list(self.tags), "since": self.since.isoformat(), "at": self.at.isoformat()}
        return json.dumps(data, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace")

    def to_text(self) -> dict[str, str]:
        """For people: what happened as ``title``, and why as ``body``."""
        about = f"Policy {self.policy_id} ({self.strategy}), table {self.table}, since {self.since:%Y-%m-%d %H:%M} UTC"
        lines = [about, f"Tags: {', '.join(self.tags)}" if self.tags else "", self.reason or ""]
        title = f"Retention {self.event.removeprefix('policy-')}: {self.table}"
        return {"title": title, "body": "\n".join(filter(None, lines))}


# Sends an event; logs what goes wrong, without addresses, which may hold secrets; says whether it went well.
Channel = Callable[[Notification], bool]


def sign(secret: str, moment: int, body: bytes) -> str:
    """The value of the header: the time in seconds since 1970, and the HMAC-SHA256 of ``TIME.BODY``."""
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


def _not_told(text: str, *details: object) -> bool:
    logger.warning(text, *details)
    return False


def webhook(url: str, secret: str | None = None, timeout: float = 10.0, pause: float = 1.0) -> Channel:
    """
    Sends events to an address, up to three times; raises InvalidInput if it is not valid. It follows no redirect, which
    could lead anywhere.

    :param secret: Signs each event; None: they are not signed.
    :param timeout: Seconds for each try; ``pause``: before the second one, and twice that before the third.
    """
    try:
        parsed = urllib3.util.parse_url(url)
    except urllib3.exceptions.LocationParseError:
        parsed = urllib3.util.Url()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidInput("notify.webhook", "not an address", "write it like https://host/path")
    retries = urllib3.Retry(
        _TRIES - 1, redirect=0, status_forcelist=_AGAIN, allowed_methods=None, backoff_factor=pause,
        respect_retry_after_header=False, raise_on_redirect=False,
    )  # fmt: skip
    http = urllib3.PoolManager(timeout=timeout, retries=retries)

    def send(notification: Notification) -> bool:
        body = notification.to_json()
        headers = {"Content-Type": "application/json", EVENT_ID: notification.id, "User-Agent": "cratedb-retention"}
        if secret:
            headers[SIGNATURE] = sign(secret, int(notification.at.timestamp()), body)
        try:
            answer = http.request("POST", url, body=body, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            return _not_told("webhook at %s: %s", parsed.host, type(getattr(error, "reason", error)).__name__)
        return 200 <= answer.status < 300 or _not_told("webhook at %s: answered %d", parsed.host, answer.status)

    return send


def program(command: Sequence[str], environment: Mapping[str, str], timeout: float = 10.0) -> Channel:
    """
    Hands events to a program by its input, without a shell, and ends it after so many seconds. It gets the environment
    without our own variables, which may hold secrets. What it writes to its standard error is logged if it fails.
    """
    left = {key: value for key, value in environment.items() if not key.startswith("CRATEDB_")}

    def complaint(stderr: bytes | None) -> str:
        text = redact((stderr or b"").decode("utf-8", "replace").strip())
        return f": {text[-_LONGEST_COMPLAINT:]}" if text else ""

    def hand(notification: Notification) -> bool:
        try:
            subprocess.run(  # noqa: S603 - set by whoever runs the service
                list(command), input=notification.to_json(), env=left, timeout=timeout,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            return _not_told("program %s: no end within %g s%s", command[0], timeout, complaint(error.stderr))
        except subprocess.CalledProcessError as error:
            return _not_told("program %s: ended with %d%s", command[0], error.returncode, complaint(error.stderr))
        except OSError as error:
            return _not_told("program %s: %s", command[0], error.strerror or type(error).__name__)
        return True

    return hand


def services(addresses: Iterable[str]) -> Channel:
    """Sends events to services that Apprise knows; raises InvalidInput if it is not installed, or does not know one."""
    try:
        from apprise import Apprise
    except ImportError as error:
        raise not_installed("notify.channels", "Apprise is not installed", "chat", error) from None
    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # It would log addresses.
    known = Apprise()
    for position, address in enumerate(addresses, 1):
        if not known.add(address):
            thing = f"notify.channels, address {position}"
            raise InvalidInput(thing, "not one of a service that Apprise knows", "write it like mailto://user@host")

    def send(notification: Notification) -> bool:
        text = notification.to_text()
        answers = [each.notify(**text) or _not_told("service %s: not told", each.service_name) for each in known]
        return all(answers)

    return send


def make_channels(settings: NotifySettings, environment: Mapping[str, str]) -> list[Channel]:
    """The channels that settings name; a program gets the environment. Raises InvalidInput if an address is invalid."""
    found: list[Channel] = []
    if settings.webhook:
        found.append(webhook(settings.webhook, settings.webhook_secret, settings.timeout))
    if settings.channels:
        found.append(services(settings.channels))
    if settings.command:
        found.append(program(settings.command, environment, settings.timeout))
    return found


class _Condition(NamedTuple):
    policy: Policy
    notice: Notice  # what is noted of it if it is so
    holds: bool | None  # whether it is so; None: that is not known at present, so that nothing changes


class _NotTold(Exception):
    """A channel did not take an event: its claim ends by itself, and this look ends."""


class Notifications:
    """
    Looks what is the matter, and sends events: from time to time, and as soon as a run is over.

    :param blocked_longer_than: What is blocked for longer is an event; None: nothing that is blocked is.
    """

    def __init__(
        self,
        retention: Retention,
        channels: Sequence[Channel],
        blocked_longer_than: Duration | None,
        interval: float = 60.0,
        patience: float = 5.0,
    ) -> None:
        self._retention, self._channels, self._longest = retention, list(channels), blocked_longer_than
        self._interval, self._patience = interval, patience
        self._wake, self._stop, self._abandoned = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="notifications", daemon=True)

    def observe(self, event: RunEvent) -> None:
        if isinstance(event, RunFinished | RunEndedEarly):
            self._wake.set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Look once more, and end. The claim of what is still being sent ends by itself; another service sends it."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(self._patience)
        self._abandoned.set()  # The database is closed by the time that it is sent, or is not.

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._wake.wait(self._interval)
            self._wake.clear()
        self.look()

    def look(self) -> None:
        """:meth:`check`; errors are logged, and all is tried again the next time."""
        try:
            if not self._abandoned.is_set():
                self.check()
        except RetentionError as error:
            logger.warning("nothing can be told: %s", error)
        except Exception:  # Whatever it is, the thread goes on.
            logger.exception("nothing can be told: this is a mistake in the program; please report it")

    def check(self) -> int:
        """Look once, and send what is new; how many events. Raises RetentionError if the database can't be read."""
        now, told = self._retention.clock.now(), 0
        known = self._retention.notices.all()
        conditions = {each.notice.id: each for each in self._conditions(now)}

        def tried(key: str) -> tuple[dt.datetime, str]:
            return (known[key].claimed_until if key in known else None) or EPOCH, key

        for key in sorted({*known, *conditions}, key=tried):  # What was not tried for longest comes first.
            if told >= MOST_AT_ONCE or self._abandoned.is_set():
                break
            try:
                told += self._treat(known.get(key), conditions.get(key), now)
            except _NotTold:
                break
        return told

    def _conditions(self, now: dt.datetime) -> Iterator[_Condition]:
        """How each policy that is enabled is at present, in a fixed number of statements."""
        stored, _ = self._retention.policies.read()
        leases = self._retention.schedule.leases().by_policy
        last = {run.policy_id: run for run in self._retention.runs.of_policies(now - WINDOW)}
        for policy in (item.policy for item in stored if item.policy.enabled):
            key = policy.id or ""
            lease, run = leases.get(key), last.get(key)
            reason = run.error if run else None
            noted = Notice(policy_id=key, kind=FAILED, state=NoticeState.WAITING, since=now, reason=reason)
            if lease is not None:
                failed = replace(noted, since=lease.finished_at or now)
                yield _Condition(policy, failed, _HAS_FAILED.get(lease.outcome or ""))
            if self._longest is not None:
                blocked = replace(noted, kind=BLOCKED, since=run.last if run else now)
                yield _Condition(policy, blocked, None if run is None else run.blocked + run.needs_attention > 0)

    def _treat(self, notice: Notice | None, condition: _Condition | None, now: dt.datetime) -> int:
        store = self._retention.notices
        if condition is None:  # The policy is gone, or such events are not wanted any more.
            store.change(notice, None)
            return 0
        if notice is None and condition.holds:
            notice = store.change(None, condition.notice)
        if notice is None or condition.holds is None or (notice.claimed_until and now < notice.claimed_until):
            return 0
        was_told = notice.state in (NoticeState.TOLD, NoticeState.OVER)
        # A failure is due at once, what is blocked when that has lasted.
        limit = self._longest.before(now) if self._longest else None
        is_due = notice.kind == FAILED or (limit is not None and notice.since <= limit)
        if not condition.holds and was_told:
            return self._tell_of(notice, NoticeState.OVER, condition.policy, now)
        if not condition.holds:
            store.change(notice, None)
        elif notice.state is NoticeState.OVER:  # Again, before its end was told.
            store.change(notice, replace(notice, state=NoticeState.TOLD, claimed_until=None))
        elif not was_told and is_due:
            return self._tell_of(notice, NoticeState.DUE, condition.policy, now)
        return 0

    def _tell_of(self, notice: Notice, state: NoticeState, policy: Policy, now: dt.datetime) -> int:
        """Claim it, send it, and note that it was sent."""
        store = self._retention.notices
        claimed = store.change(notice, replace(notice, state=state, claimed_until=now + CLAIM))
        if claimed is None:
            return 0
        is_new = state is NoticeState.DUE
        event = f"policy-{claimed.kind}" if is_new else "policy-recovered"
        identity = f"{notice.id}/{notice.since.isoformat()}/{event}"
        told = Notification(
            id=hashlib.sha256(identity.encode()).hexdigest()[:32],
            event=event,
            policy_id=claimed.policy_id,
            strategy=str(policy.strategy),
            table=policy.target,
            tags=policy.tags,
            since=claimed.since,
            at=now,
            reason=redact(claimed.reason) if claimed.reason else None,
        )
        answers = [channel(told) for channel in self._channels]  # That one does not take it is no matter of the others.
        if not all(answers) or self._abandoned.is_set():
            raise _NotTold
        store.change(claimed, replace(claimed, state=NoticeState.TOLD, claimed_until=None) if is_new else None)
        return 1
