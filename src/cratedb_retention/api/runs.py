"""What is due by the schedules of policies, and who runs it; runs that go on; the audit log."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from cratedb_retention.api.connection import Part
from cratedb_retention.execution.runs.leasing import Session, new_session
from cratedb_retention.model.audit import Event
from cratedb_retention.model.runs import RunOptions, RunState
from cratedb_retention.model.schedule import Done, Scheduled
from cratedb_retention.model.words import pick
from cratedb_retention.planning.schedule import Timetable, due_slots, next_times, wrong_slots
from cratedb_retention.store.audit import Entry, JournalFilter, RunOfPolicy
from cratedb_retention.store.runs import Leases

logger = logging.getLogger(__name__)


class Due(NamedTuple):
    slots: Mapping[str, dt.datetime]  # of each policy that is due and that nobody is at
    known: Leases  # the leases that this rests on


class Schedule(Part):
    """What is due by the schedules of policies. Any number of processes look by themselves; leases decide (law 8)."""

    def policies(self) -> list[Scheduled]:
        """The policies that have a schedule and are enabled."""
        return self._store.policies.scheduled()

    def leases(self) -> Leases:
        """Who runs which policy, and which slots were done."""
        return self._store.leases.read()

    def next_runs(self, policies: Iterable[str | None], leases: Leases | None = None) -> dict[str, dt.datetime]:
        """When policies run next, by the database's clock, if enabled and with a schedule; in the past: it is due."""
        identifiers = set(policies)
        scheduled = [item for item in self.policies() if item.policy_id in identifiers]
        known = (leases or self.leases()) if scheduled else None
        return next_times(scheduled, known.slots, known.now) if known else {}

    def find_due(self, timetable: Timetable, chosen: Collection[str] | None = None) -> Due:
        """
        Look what is due, in three statements, however many policies there are.

        :param timetable: Remembers slots from one look to the next.
        :param chosen: Only these policies; None: all.
        """
        store = self._store
        store.refresh_schedules()
        scheduled = [item for item in store.policies.scheduled() if chosen is None or item.policy_id in chosen]
        known = store.leases.read(refresh=False)
        done = known.slots
        wrong = wrong_slots(scheduled, done, known.now, timetable)
        if wrong:
            logger.warning("%d policies were run at a time that is still to come; a clock was wrong", len(wrong))
            store.leases.change((known.of(policy), {"done_slot": slot}) for policy, slot in wrong.items())
            done.update({key: Done(slot) for key, slot in wrong.items()})
        slots = due_slots(scheduled, done, known.now, timetable)
        free = {key: slot for key, slot in slots.items() if key not in wrong and known.of(key).is_free(known.now)}
        return Due(free, known)

    def take(self, due: Due, options: RunOptions) -> Session | None:
        """Take the leases of what is due, for :meth:`Retention.run`; None if others were quicker with all of them."""
        if not due.slots:
            return None
        session = self.session(options)
        taken = session.leases.take(dict(due.slots), due.known)
        # What others took in the meantime is theirs, and nothing is left out.
        return replace(session, taken=replace(taken, refused={})) if taken.won else None

    def session(self, options: RunOptions, run_id: str | None = None) -> Session:
        """Name a run, which has no leases yet."""
        at = self._connection
        return new_session(at.store, at.clock, at.actor, options, run_id)


class Runs(Part):
    """The runs that go on now, on whatever machine."""

    def live(self) -> list[RunState]:
        """The runs that go on now and last longer than a second, oldest first; some may be of dead processes."""
        return self._store.jobs.live()

    def of_policies(self, since: dt.datetime) -> list[RunOfPolicy]:
        """What each run since an aware instant did for each policy, oldest first."""
        return self._store.journal.runs_of_policies(since)

    def forget_old(self) -> None:
        """Forget runs that ended long ago; the audit log still tells of them."""
        self._store.jobs.forget_old()

    def cancel(self, identifier: str) -> RunState:
        """
        Ask a run to end before its next step.

        :param identifier: Its identifier; of a generated one, six characters are enough.
        :raises NotFound: if no such run goes on.
        """
        store, actor = self._store, self._connection.actor
        remedy = "`cratedb-retention status` shows those that last longer than a second"
        job = pick("run", identifier, {job.run_id: job for job in self.live()}, remedy, "is not running")
        if store.jobs.request_cancel(job, f"{actor.name}@{actor.host}"):
            store.journal.write(Entry(event=Event.CANCEL_REQUESTED, run_id=job.run_id, message=f"run {job.run_id}"))
        return job


class Audit(Part):
    """The audit log."""

    def read(self, wanted: JournalFilter | None = None) -> list[Mapping[str, Any]]:
        """Rows of the audit log, newest first."""
        return self._store.journal.read(wanted or JournalFilter())

    def mark(self) -> str:
        """What changes as soon as anybody does something that the audit log tells of."""
        return self._store.journal.mark()
