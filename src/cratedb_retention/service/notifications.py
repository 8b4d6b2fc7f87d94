"""
Notifications of failures, of long blocked policies, and of recovery: one for each, with any number of services.

Conditions are read from leases and the audit log; sent events are recorded in the table ``notification``. A service
claims an event before sending it; if it dies, its claim ends, and another service sends the event. An event may thus be
sent twice, with the same identifier, but is never lost. A separate thread keeps channels from delaying runs.
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
# Whether an outcome is a failure; other outcomes do not change the condition.
_HAS_FAILED: dict[str, bool] = dict.fromkeys([Outcome.DONE, Outcome.NEEDS_ATTENTION, Outcome.BLOCKED], False)
_HAS_FAILED[Outcome.FAILED] = True
# Older runs do not tell what is blocked at present.
WINDOW = dt.timedelta(days=2)
CLAIM = dt.timedelta(minutes=2)
MOST_AT_ONCE = 100
SIGNATURE, EVENT_ID = "Retention-Signature", "Retention-Event-Id"
_TRIES = 3
_AGAIN = (429, 500, 502, 503, 504)
_LONGEST_COMPLAINT = 500


@dataclass(frozen=True, kw_only=True)
class Notification:
    id: str  # the same if the event is sent again
    event: str  # ``policy-failed``, ``policy-blocked`` or ``policy-recovered``
    policy_id: str
    strategy: str
    table: str
    tags: Sequence[str]
    since: dt.datetime
    at: dt.datetime
    reason: str | None  # of a recovery: the reason of the earlier event

    def to_json(self) -> bytes:
        data = {**vars(self), "tags": list(self.tags), "since": self.since.isoformat(), "at": self.at.isoformat()}
        return json.dumps(data, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace")

    def to_text(self) -> dict[str, str]:
        """As text: ``title`` is the event, ``body`` the reason."""
        about = f"Policy {self.policy_id} ({self.strategy}), table {self.table}, since {self.since:%Y-%m-%d %H:%M} UTC"
        lines = [about, f"Tags: {', '.join(self.tags)}" if self.tags else "", self.reason or ""]
        title = f"Retention {self.event.removeprefix('policy-')}: {self.table}"
        return {"title": title, "body": "\n".join(filter(None, lines))}


# Sends an event; returns whether it succeeded, and logs failures without addresses, which may contain secrets.
Channel = Callable[[Notification], bool]


def sign(secret: str, moment: int, body: bytes) -> str:
    """The signature header: the time in seconds since 1970, and the HMAC-SHA256 of ``TIME.BODY``."""
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


def _not_sent(text: str, *details: object) -> bool:
    logger.warning(text, *details)
    return False


def webhook(url: str, secret: str | None = None, timeout: float = 10.0, pause: float = 1.0) -> Channel:
    """
    Sends events to a URL, with up to three attempts. Redirects are not followed, since they could lead anywhere. Raises
    InvalidInput if the URL is invalid.

    :param secret: Key that signs each event; None: no signature.
    :param timeout: Seconds for each attempt; ``pause``: before the second one, and twice that before the third.
    """
    try:
        parsed = urllib3.util.parse_url(url)
    except urllib3.exceptions.LocationParseError:
        parsed = urllib3.util.Url()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidInput("notify.webhook", "not a URL", "write it like https://host/path")
    retries = urllib3.Retry(
        _TRIES - 1, status_forcelist=_AGAIN, allowed_methods=None, backoff_factor=pause,
        respect_retry_after_header=False,
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
            return _not_sent("webhook at %s: %s", parsed.host, type(getattr(error, "reason", error)).__name__)
        return 200 <= answer.status < 300 or _not_sent("webhook at %s: HTTP status %d", parsed.host, answer.status)

    return send


def program(command: Sequence[str], environment: Mapping[str, str], timeout: float = 10.0) -> Channel:
    """
    Passes events to a program on its standard input, without a shell, and ends it after ``timeout`` seconds. Its
    environment lacks our own variables, which may contain secrets. If it fails, its standard error is logged.
    """
    left = {key: value for key, value in environment.items() if not key.startswith("CRATEDB_")}

    def complaint(stderr: bytes | None) -> str:
        text = redact((stderr or b"").decode("utf-8", "replace").strip())
        return f": {text[-_LONGEST_COMPLAINT:]}" if text else ""

    def hand(notification: Notification) -> bool:
        try:
            subprocess.run(  # noqa: S603 - set by the operator of the service
                list(command), input=notification.to_json(), env=left, timeout=timeout,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            return _not_sent("program %s: timeout after %g s%s", command[0], timeout, complaint(error.stderr))
        except subprocess.CalledProcessError as error:
            return _not_sent("program %s: exit code %d%s", command[0], error.returncode, complaint(error.stderr))
        except OSError as error:
            return _not_sent("program %s: %s", command[0], error.strerror or type(error).__name__)
        return True

    return hand


def services(addresses: Iterable[str]) -> Channel:
    """Sends events through Apprise. Raises InvalidInput if it is not installed, or does not accept an address."""
    try:
        from apprise import Apprise
    except ImportError as error:
        raise not_installed("notify.channels", "Apprise is not installed", "chat", error) from None
    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # Its log contains addresses.
    known = Apprise()
    for position, address in enumerate(addresses, 1):
        if not known.add(address):
            thing = f"notify.channels, address {position}"
            raise InvalidInput(thing, "not supported by Apprise", "write it like mailto://user@host")

    def send(notification: Notification) -> bool:
        text = notification.to_text()
        answers = [each.notify(**text) or _not_sent("service %s: not sent", each.service_name) for each in known]
        return all(answers)

    return send


def make_channels(settings: NotifySettings, environment: Mapping[str, str]) -> list[Channel]:
    """The channels of the settings; ``environment`` is for the program. Raises InvalidInput for invalid addresses."""
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
    notice: Notice  # the record of the condition, if it is met
    is_met: bool | None  # None: unknown at present, so nothing changes


class _NotSent(Exception):
    """A channel rejected an event. Its claim expires; the present check ends."""


class Notifications:
    """
    Checks conditions and sends events, periodically and after each run.

    :param blocked_longer_than: Notify of policies that are blocked for longer; None: never.
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
        """End after a last check. If an event is still being sent, its claim expires, and another service sends it."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(self._patience)
        self._abandoned.set()  # The database may be closed before the event is sent.

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._wake.wait(self._interval)
            self._wake.clear()
        self.look()

    def look(self) -> None:
        """Call :meth:`check`, and log errors; the next call tries again."""
        try:
            if not self._abandoned.is_set():
                self.check()
        except RetentionError as error:
            logger.warning("cannot send notifications: %s", error)
        except Exception:  # The thread must continue.
            logger.exception("cannot send notifications: this is a bug; please report it")

    def check(self) -> int:
        """Check once, and send new events; return their number. Raises RetentionError if the database fails."""
        now, sent = self._retention.clock.now(), 0
        known = self._retention.notices.all()
        conditions = {each.notice.id: each for each in self._conditions(now)}

        def tried(key: str) -> tuple[dt.datetime, str]:
            return (known[key].claimed_until if key in known else None) or EPOCH, key

        for key in sorted({*known, *conditions}, key=tried):  # The longest untried first.
            if sent >= MOST_AT_ONCE or self._abandoned.is_set():
                break
            try:
                sent += self._treat(known.get(key), conditions.get(key), now)
            except _NotSent:
                break
        return sent

    def _conditions(self, now: dt.datetime) -> Iterator[_Condition]:
        stored, _ = self._retention.policies.read()
        known = self._retention.schedule.leases()
        last = {run.policy_id: run for run in self._retention.runs.of_policies(now - WINDOW, known)}
        for policy in (item.policy for item in stored if item.policy.enabled):
            key = policy.id or ""
            lease, run = known.by_policy.get(key), last.get(key)
            reason = run.error if run else None
            noted = Notice(policy_id=key, kind=FAILED, state=NoticeState.WAITING, since=now, reason=reason)
            if lease is not None:
                failed = replace(noted, since=lease.finished_at or now)
                yield _Condition(policy, failed, _HAS_FAILED.get(lease.outcome or ""))
            if self._longest is not None:
                blocked = replace(noted, kind=BLOCKED, since=run.ended_at if run else now)
                yield _Condition(policy, blocked, None if run is None else run.blocked + run.needs_attention > 0)

    def _treat(self, notice: Notice | None, condition: _Condition | None, now: dt.datetime) -> int:
        store = self._retention.notices
        if condition is None:  # The policy was deleted or disabled, or such events are switched off.
            store.change(notice, None)
            return 0
        if notice is None and condition.is_met:
            notice = store.change(None, condition.notice)
        if notice is None or condition.is_met is None or (notice.claimed_until and now < notice.claimed_until):
            return 0
        was_sent = notice.state in (NoticeState.TOLD, NoticeState.OVER)
        # A failure is due immediately, a blocked policy after some time.
        limit = self._longest.before(now) if self._longest else None
        is_due = notice.kind == FAILED or (limit is not None and notice.since <= limit)
        if not condition.is_met and was_sent:
            return self._send(notice, NoticeState.OVER, condition.policy, now)
        if not condition.is_met:
            store.change(notice, None)
        elif notice.state is NoticeState.OVER:  # Again, before its end was sent.
            store.change(notice, replace(notice, state=NoticeState.TOLD, claimed_until=None))
        elif not was_sent and is_due:
            return self._send(notice, NoticeState.DUE, condition.policy, now)
        return 0

    def _send(self, notice: Notice, state: NoticeState, policy: Policy, now: dt.datetime) -> int:
        """Claim the event, send it, and record that it was sent."""
        store = self._retention.notices
        claimed = store.change(notice, replace(notice, state=state, claimed_until=now + CLAIM))
        if claimed is None:
            return 0
        is_new = state is NoticeState.DUE
        event = f"policy-{claimed.kind}" if is_new else "policy-recovered"
        identity = f"{notice.id}/{notice.since.isoformat()}/{event}"
        sent = Notification(
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
        answers = [channel(sent) for channel in self._channels]  # All channels are tried.
        if not all(answers) or self._abandoned.is_set():
            raise _NotSent
        store.change(claimed, replace(claimed, state=NoticeState.TOLD, claimed_until=None) if is_new else None)
        return 1
