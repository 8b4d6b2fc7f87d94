"""
The leases of one run: takes, renews and releases them, and knows when they may be lost (law 8). The heartbeat renews
them in time, writes the progress of the run, and reads requests to cancel it.

A run holds a lease for some seconds after it last requested it, by a local monotonic clock. The database counts from a
later instant, so that a holder stops before another run can take the lease.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cratedb_retention.clock import Actor, Clock, name_holder
from cratedb_retention.errors import Cancelled, Conflict, LeaseLost, RetentionError, Stopped
from cratedb_retention.execution.runs.events import Tracker
from cratedb_retention.execution.runs.retrying import retry
from cratedb_retention.model.audit import Outcome
from cratedb_retention.model.plan.reasons import Why
from cratedb_retention.model.runs import LEASE_SECONDS, RunOptions
from cratedb_retention.store.runs import JobStore, Lease, Leases, LeaseStore
from cratedb_retention.store.store import Store

logger = logging.getLogger(__name__)
BEAT_SECONDS = 1.0
_SUCCESS = (Outcome.DONE,)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The result of taking leases."""

    won: Mapping[str, Lease] = field(default_factory=dict)  # Leases that are held now
    over: Mapping[str, Lease] = field(default_factory=dict)  # Those of them that had expired, as they were before
    refused: Mapping[str, Lease] = field(
        default_factory=dict
    )  # Leases that another run holds, or held since they were read
    aside: frozenset[str] = frozenset()  # Held, but not run: no other run may run these policies meanwhile

    @property
    def run(self) -> list[str]:
        """The policies to run."""
        return [policy for policy in self.won if policy not in self.aside]

    def plus(self, more: Taken, aside: frozenset[str]) -> Taken:
        """Add further leases, of which some are held only."""
        joined = {name: {**getattr(self, name), **getattr(more, name)} for name in ("won", "over", "refused")}
        return Taken(**joined, aside=self.aside | aside)


class LeaseHolder:
    """
    Holds leases for one run. Its methods may be called by several threads.

    :param ttl: Seconds without renewal after which another run may take a lease.
    :param fresh: Seconds for which a confirmed lease is not confirmed again before a step.
    """

    def __init__(
        self, store: LeaseStore, clock: Clock, holder: str, run_id: str, ttl: float = LEASE_SECONDS, fresh: float = 1.0
    ) -> None:
        self._store, self._clock = store, clock
        self.holder, self.run_id, self.ttl, self._fresh = holder, run_id, ttl, fresh
        self.held: dict[str, Lease] = {}  # As last written or read
        self._missing: list[str] = []
        self._confirmed = clock.uptime()
        self._seen: dict[str, float] = {}  # When leases were last read back, by policy
        self._lock = threading.RLock()

    def take(self, slots: Mapping[str, dt.datetime | None], known: Leases | None = None) -> Taken:
        """
        Take leases in two statements, independent of their number.

        :param slots: The policies, each with the slot of its schedule; None: by hand.
        :param known: The leases, if they were read already. One that was held since is refused, so that facts that were
            read together with them are not older than changes by other runs.
        """
        if not slots:
            return Taken()
        with self._lock:
            known = known or self._store.read(slots)
            # By the database's clock the lease ends later than by ours, so that we stop before another run can take it.
            began = self._clock.uptime()
            moment = known.now + dt.timedelta(seconds=began - known.asked)
            found = {policy: known.of(policy) for policy in slots}
            # If a response was lost, some are ours already.
            ours = {p: lease for p, lease in found.items() if lease.holder == self.holder}
            free = {p: lease for p, lease in found.items() if p not in ours and lease.is_free(known.now)}
            until = moment + dt.timedelta(seconds=self.ttl)
            new = {"holder": self.holder, "run_id": self.run_id, "taken_at": moment, "expires_at": until}
            won = self._store.change(
                (lease, {**new, "slot": slots[p], "fence": lease.fence + 1}) for p, lease in free.items()
            )
            if len(won) < len(free):
                found.update(self._store.read(slots).by_policy)
                # Ours after all: the response to an earlier attempt was lost.
                won.update({p: lease for p, lease in found.items() if p in free and lease.holder == self.holder})
            over = {p: free[p] for p in won if free[p].holder is not None}
            won = {**ours, **won}
            # Leases that are ours already count from their earlier request.
            self._confirmed = min(self._confirmed, began) if ours or self.held else began
            self.held.update(won)
            return Taken(won=won, over=over, refused={p: lease for p, lease in found.items() if p not in won})

    def is_time_to_renew(self) -> bool:
        return bool(self.held) and self._clock.uptime() - self._confirmed >= self.ttl / 3

    def renew(self) -> None:
        """Renew all leases in three statements, independent of their number. Raises as :meth:`check`."""
        with self._lock:
            if not self.held:
                return
            asked = self._clock.uptime()
            known = self._read_back()
            until = known.now + dt.timedelta(seconds=self.ttl)
            renewed = self._store.change((lease, {"expires_at": until}) for lease in self.held.values())
            if lost := [policy for policy in self.held if policy not in renewed]:
                raise self._lost(lost[0], None)
            self.held.update(renewed)
            self._confirmed = asked

    def check(self, policy_id: str | None = None) -> None:
        """Raises LeaseLost if a lease is not ours any more, or the database was unreachable for too long."""
        with self._lock:
            self.check_time()
            now = self._clock.uptime()
            if (
                policy_id in self.held
                and now - max(self._confirmed, self._seen.get(policy_id, now - self._fresh)) >= self._fresh
            ):
                self._read_back([policy_id])
                self._seen[policy_id] = now

    def check_time(self) -> None:
        """Check, without a statement, that no other run can have taken the leases yet. Raises as :meth:`check`."""
        silent = self._clock.uptime() - self._confirmed
        if self.held and silent >= self.ttl:
            reason = f"could not renew its leases for {silent:.0f} seconds, and another run may have taken them"
            raise LeaseLost(f"run {self.run_id}", reason, "the next run continues from here")

    def _read_back(self, policies: Iterable[str] | None = None) -> Leases:
        wanted = list(self.held if policies is None else policies)
        known = self._store.read(wanted)
        for policy in wanted:
            now, mine = known.of(policy), self.held[policy]
            if (now.holder, now.fence) != (self.holder, mine.fence):
                raise self._lost(policy, now.holder)
            self.held[policy] = now
        return known

    def _lost(self, policy: str, by: str | None) -> LeaseLost:
        why = Why.LEASE_LOST(holder=by or "another run")
        return LeaseLost(f"lease of policy {policy}", why, "the next run continues from here")

    def release(self, outcomes: Mapping[str, Outcome]) -> set[str]:
        """
        Release all leases, and record the outcomes in the same statement; a slot without an outcome stays due for
        another run. Returns the policies whose leases were ours to the end; see :meth:`check_released`.
        """
        with self._lock:
            if not self.held:
                return set()
            if any(lease.stamp is None for lease in self.held.values()):
                known = self._store.read(self.held)
                self.held = {
                    policy: known.of(policy) if known.of(policy).holder == self.holder else lease
                    for policy, lease in self.held.items()
                }
            ours = [lease for lease in self.held.values() if lease.stamp is not None]
            given = self._store.change((lease, self._given_back(lease, outcomes)) for lease in ours)
            self._missing = [p for p in self.held if p not in given and not self._is_given_back(p)]
            ours_to_the_end = set(self.held) - set(self._missing)
            self.held.clear()
            return ours_to_the_end

    def check_released(self) -> None:
        """Check that all leases were ours until their release; raises as :meth:`check`."""
        if self._missing:
            raise self._lost(self._missing[0], None)

    def _given_back(self, lease: Lease, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
        values: dict[str, Any] = {"holder": None, "expires_at": None}
        if outcome := outcomes.get(lease.policy_id):
            finished = self._clock.now()
            values.update(outcome=str(outcome), finished_at=finished)
            values.update({"succeeded_at": finished} if outcome in _SUCCESS else {})
            values.update({"done_slot": lease.slot} if lease.slot is not None else {})
        return values

    def _is_given_back(self, policy: str) -> bool:
        """Whether this run released it before: the response to the same statement may have been lost."""
        now = self._store.read([policy]).of(policy)
        return now.holder is None and now.fence == self.held[policy].fence and now.run_id == self.run_id


@dataclass(frozen=True, kw_only=True)
class Session:
    """A run with an identifier, possibly without a plan yet."""

    leases: LeaseHolder
    tracker: Tracker
    options: RunOptions
    # Leases that were taken before planning; empty: take those that the plan needs.
    taken: Taken = field(default_factory=Taken)


def new_session(store: Store, clock: Clock, actor: Actor, options: RunOptions, run_id: str | None = None) -> Session:
    """A new run; its identifier is generated if omitted."""
    run_id = run_id or str(uuid.uuid4())
    leases = LeaseHolder(store.leases, clock, name_holder(actor), run_id, options.lease)
    return Session(leases=leases, tracker=Tracker(run_id, clock, actor), options=options)


class Heartbeat:
    """
    The heartbeat of one run. Its methods may be called by several threads.

    A thread drives it during long steps, the run itself between steps. It depends only on the clock that was passed in,
    so that a simulation needs no thread. A run that ends within a second writes nothing.
    """

    def __init__(self, session: Session, jobs: JobStore, clock: Clock) -> None:
        self._leases, self._tracker, self._stop = session.leases, session.tracker, session.options.stop
        self._jobs, self._clock = jobs, clock
        self._written: float = clock.uptime()
        # Whether writing the row was attempted (it may exist even without a response), and whether it exists.
        self._is_begun = self._is_known = False
        self._found: Exception | None = None  # A lost lease or an unexpected error: ends the run.
        self._cancelled_by: str | None = None
        self._lock = threading.Lock()

    def before_step(self, policy_id: str | None) -> None:
        """Check whether the next step may start. Raises Cancelled, Stopped or LeaseLost."""
        self._check()
        self._leases.check(policy_id)

    def during_step(self) -> None:
        """Check whether the present step may continue: between batches, and while shards move. Raises the same."""
        self._check()
        self._leases.check_time()

    def _check(self) -> None:
        self.beat()
        if self._found is not None:
            raise self._found
        run = f"run {self._leases.run_id}"
        if self._cancelled_by is not None:
            raise Cancelled(run, f"cancelled by {self._cancelled_by}")
        if self._stop is not None and self._stop.is_set():
            raise Stopped(run, "the process was stopped", "another run continues from here")

    def beat(self) -> None:
        """Do what is due now. Failures are retried by the next beat; a lost lease ends the run."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._leases.is_time_to_renew():
                self._try("leases were not renewed", self._leases.renew)
            now = self._clock.uptime()
            if now - self._written > BEAT_SECONDS:
                self._written = now
                self._try("progress was not written", self._write)
        finally:
            self._lock.release()

    def _write(self) -> None:
        state = self._tracker.state()
        if not self._is_known:
            self._is_begun = True
            try:
                self._jobs.begin(state)
                self._is_known = True
                return
            except Conflict:  # Written by an earlier attempt whose response was lost.
                self._is_known = True
        self._cancelled_by = self._jobs.update(state) or self._cancelled_by
        if self._cancelled_by is not None:
            self._tracker.update(cancel_by=self._cancelled_by)

    def _try(self, failure: str, work: Callable[[], None]) -> None:
        try:
            work()
        except LeaseLost as error:
            self._found = error
        except RetentionError as error:
            logger.warning("%s: %s", failure, error)

    def finish(self, outcome: str) -> None:
        """Write that the run ended, if its row may exist; waits for a present beat."""
        with self._lock:
            self._tracker.finish(outcome)
            if self._is_begun:
                self._try("progress was not written", lambda: retry(self._write, self._clock.sleep))

    @contextmanager
    def beating(self) -> Iterator[None]:
        end = threading.Event()

        def drive() -> None:
            while not end.wait(BEAT_SECONDS):
                try:
                    self.beat()
                except Exception as error:
                    # It ends the run before its next step; leases are renewed until then.
                    if self._found is None:
                        logger.exception("the heartbeat of run %s failed", self._leases.run_id)
                        self._found = error

        thread = threading.Thread(target=drive, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()
