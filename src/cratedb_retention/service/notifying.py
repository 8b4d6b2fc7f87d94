"""
Tells of failures, of holds that last, and of recovery: once for each, with any number of services.

What is the matter is read from leases and the journal; what was told stands in the table ``notification``. A service
that dies between noting and telling leaves a claim that ends, and another one tells. So an event can come twice, with
the same identifier, but is never lost.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cratedb_retention.api import Retention
from cratedb_retention.errors import RetentionError
from cratedb_retention.execution.events import RunEndedEarly, RunEvent, RunFinished
from cratedb_retention.model.audit import Outcome
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.redact import redact
from cratedb_retention.service.telling import Teller, Told
from cratedb_retention.store.notices import Notice, NoticeState

logger = logging.getLogger(__name__)
FAILED, HELD = "failed", "held"
# Whether a slot that ended so has failed; other ends tell nothing.
_HAS_FAILED: Mapping[str, bool] = {
    **dict.fromkeys((Outcome.DONE, Outcome.PROBLEM, Outcome.HELD), False),
    Outcome.FAILED: True,
}
# A policy that was not run for so long: what its last run held is not known any more.
WINDOW = dt.timedelta(days=2)
CLAIM = dt.timedelta(minutes=2)
MOST_AT_ONCE = 100


@dataclass(frozen=True, kw_only=True)
class Condition:
    """
    How a policy is in one respect.

    :param holds: Whether it is so; None: that is not known at present, so that nothing changes.
    """

    policy: Policy
    kind: str
    holds: bool | None
    since: dt.datetime
    reason: str | None = None

    @property
    def key(self) -> str:
        """The key of its notice."""
        return f"{self.kind}:{self.policy.id}"


class Notifier:
    """
    Looks what is the matter, and tells.

    :param held_longer_than: What is held for longer is told; None: nothing that is held is.
    """

    def __init__(self, retention: Retention, tellers: Sequence[Teller], held_longer_than: Duration | None) -> None:
        self._retention, self._tellers, self._patience = retention, list(tellers), held_longer_than
        self._abandoned = threading.Event()

    def abandon(self) -> None:
        """Do nothing any more once the event that is being sent is sent, or is not: the database is closed by then."""
        self._abandoned.set()

    def check(self) -> int:
        """
        Look once, and tell what is new; how many events were told.

        :raises RetentionError: if the database can't be read.
        """
        now, notices = self._retention.clock.now(), self._retention.store.notices
        known, conditions = notices.all(), {each.key: each for each in self._conditions()}
        told = 0
        for key in sorted({*known, *conditions}):
            if told >= MOST_AT_ONCE or self._abandoned.is_set():
                break
            told += self._treat(known.get(key), conditions.get(key), now)
        return told

    def look(self) -> None:
        """The same for a timer: what goes wrong is logged, and tried again the next time."""
        if self._abandoned.is_set():
            return
        try:
            self.check()
        except RetentionError as error:
            logger.warning("nothing can be told: %s", error)

    def _treat(self, notice: Notice | None, condition: Condition | None, now: dt.datetime) -> int:
        """What has to be done about one notice."""
        store = self._retention.store.notices
        if condition is None:  # The policy is gone, or nobody wants to know any more.
            store.change(notice, None)
            return 0
        if notice is None:
            return self._begin(condition, now) if condition.holds else 0
        if condition.holds is None or (notice.claimed_until is not None and now < notice.claimed_until):
            return 0
        match (notice.state, condition.holds):
            case (NoticeState.TOLD, True):
                return 0
            case (NoticeState.TOLD | NoticeState.OVER, False):
                return self._tell_of(notice, NoticeState.OVER, condition, now)
            case (NoticeState.OVER, True):  # Again, before its end was told.
                store.change(notice, replace(notice, state=NoticeState.TOLD, claimed_until=None))
                return 0
            case (_, False):
                store.change(notice, None)
                return 0
            case _:
                return self._tell_of(notice, NoticeState.DUE, condition, now) if self._is_time(notice, now) else 0

    def _begin(self, condition: Condition, now: dt.datetime) -> int:
        new = Notice(
            policy_id=condition.policy.id or "",
            kind=condition.kind,
            state=NoticeState.WAITING,
            since=condition.since,
            reason=condition.reason,
        )
        added = self._retention.store.notices.change(None, new)
        if added is None or not self._is_time(added, now):
            return 0
        return self._tell_of(added, NoticeState.DUE, condition, now)

    def _is_time(self, notice: Notice, now: dt.datetime) -> bool:
        """A failure is told at once, a hold when it has lasted."""
        if notice.kind == FAILED:
            return True
        limit = self._patience.before(now) if self._patience else None
        return limit is not None and notice.since <= limit

    def _tell_of(self, notice: Notice, state: NoticeState, condition: Condition, now: dt.datetime) -> int:
        """Claim it, tell it, and note that it was told. Where nobody could be told, the claim ends by itself."""
        store = self._retention.store.notices
        claimed = store.change(notice, replace(notice, state=state, claimed_until=now + CLAIM))
        if claimed is None:
            return 0
        event = f"policy-{claimed.kind}" if state is NoticeState.DUE else "policy-recovered"
        told = _told(claimed, event, condition.policy, now)
        answers = [teller(told) for teller in self._tellers]  # That one can't be told keeps nothing from the others.
        if not all(answers) or self._abandoned.is_set():
            return 0
        done = replace(claimed, state=NoticeState.TOLD, claimed_until=None) if state is NoticeState.DUE else None
        store.change(claimed, done)
        return 1

    def _conditions(self) -> Iterator[Condition]:
        """How each policy that is enabled is at present, in a fixed number of statements."""
        store, now = self._retention.store, self._retention.clock.now()
        stored, _ = store.policies.all()
        leases = store.leases.read().by_policy
        last = {run.policy_id: run for run in store.runs_of_policies(now - WINDOW)}
        for policy in (item.policy for item in stored if item.policy.enabled):
            lease, run = leases.get(policy.id or ""), last.get(policy.id or "")
            if lease is not None:
                failed = _HAS_FAILED.get(lease.outcome or "")
                yield Condition(
                    policy=policy,
                    kind=FAILED,
                    holds=failed,
                    since=lease.finished_at or now,
                    reason=run.error if run else None,
                )
            if self._patience is not None:
                held = None if run is None else run.held + run.problems > 0
                yield Condition(
                    policy=policy,
                    kind=HELD,
                    holds=held,
                    since=run.last if run else now,
                    reason=run.error if run else None,
                )


class Notifications:
    """
    Lets a notifier look in a thread of its own, so that a channel that does not answer holds up no run: from time to
    time, and as soon as a run is over.

    :param interval: Seconds between two looks.
    :param patience: Seconds to wait for the last event when the service stops.
    """

    def __init__(self, notifier: Notifier, interval: float, patience: float = 5.0) -> None:
        self._notifier, self._interval, self._patience = notifier, interval, patience
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="notifications", daemon=True)

    def observe(self, event: RunEvent) -> None:
        """Look soon if a run is over."""
        if isinstance(event, RunFinished | RunEndedEarly):
            self._wake.set()

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look once more, and end. The claim of what is still being sent ends by itself; another service sends it."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(self._patience)
        self._notifier.abandon()

    def _watch(self) -> None:
        while not self._stop.is_set():
            self._notifier.look()
            self._wake.wait(self._interval)
            self._wake.clear()
        self._notifier.look()


def _told(notice: Notice, event: str, policy: Policy, now: dt.datetime) -> Told:
    identity = f"{notice.id}/{notice.since.isoformat()}/{event}"
    return Told(
        id=hashlib.sha256(identity.encode()).hexdigest()[:32],
        event=event,
        policy_id=notice.policy_id,
        strategy=str(policy.strategy),
        table=policy.target,
        tags=policy.tags,
        since=notice.since,
        at=now,
        reason=redact(notice.reason) if notice.reason else None,
    )


def make_tellers(
    webhook: str | None, secret: str | None, command: Iterable[str], timeout: float, environment: Mapping[str, str]
) -> list[Teller]:
    """
    Whom settings say to tell.

    :raises InvalidInput: if the webhook is no address.
    """
    from cratedb_retention.service.telling import Program, Webhook

    command = list(command)
    found: list[Teller] = [Webhook(webhook, secret, timeout)] if webhook else []
    return [*found, *([Program(command, environment, timeout)] if command else [])]
