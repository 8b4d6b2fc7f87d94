"""Schedules and leases, present runs, and the audit log."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from cratedb_retention.api.connection import Part
from cratedb_retention.execution.runs.leasing import Session, new_session
from cratedb_retention.execution.runs.recorder import find_killed
from cratedb_retention.model.audit import Event
from cratedb_retention.model.runs import RunOptions, RunState
from cratedb_retention.model.schedule import Done, Scheduled
from cratedb_retention.model.words import pick
from cratedb_retention.planning.schedule import Timetable, due_slots, next_times, wrong_slots
from cratedb_retention.store.audit import Entry, JournalFilter, RunPlace, RunTotals, Totals
from cratedb_retention.store.runs import Leases, RunOfPolicy

logger = logging.getLogger(__name__)


class Due(NamedTuple):
    slots: Mapping[str, dt.datetime]  # of each due policy whose lease is free
    known: Leases  # the leases that this rests on


class Schedule(Part):
    """Policies that are due by their schedules. Any number of processes may look; leases decide who runs (law 8)."""

    def policies(self) -> list[Scheduled]:
        """The policies that have a schedule and are enabled."""
        return self._store.policies.scheduled()

    def leases(self) -> Leases:
        """The lease holder of each policy, and the slots that were done."""
        return self._store.leases.read()

    def next_runs(self, policies: Iterable[str | None], leases: Leases | None = None) -> dict[str, dt.datetime]:
        """The next run of each enabled policy with a schedule, by the database's clock; in the past: it is due."""
        identifiers = set(policies)
        scheduled = [item for item in self.policies() if item.policy_id in identifiers]
        known = (leases or self.leases()) if scheduled else None
        return next_times(scheduled, known.slots, known.now) if known else {}

    def find_due(self, timetable: Timetable, chosen: Collection[str] | None = None) -> Due:
        """
        Find due policies in three statements, independent of the number of policies.

        :param timetable: Remembers slots between calls.
        :param chosen: Only these policies; None: all.
        """
        store = self._store
        store.refresh_schedules()
        scheduled = [item for item in store.policies.scheduled() if chosen is None or item.policy_id in chosen]
        known = store.leases.read(refresh=False)
        done = known.slots
        wrong = wrong_slots(scheduled, done, known.now, timetable)
        if wrong:
            logger.warning("%d policies were last run for a slot in the future; a clock was wrong", len(wrong))
            store.leases.change((known.of(policy), {"done_slot": slot}) for policy, slot in wrong.items())
            done.update({key: Done(slot) for key, slot in wrong.items()})
        slots = due_slots(scheduled, done, known.now, timetable)
        free = {key: slot for key, slot in slots.items() if key not in wrong and known.of(key).is_free(known.now)}
        return Due(free, known)

    def take(self, due: Due, options: RunOptions) -> Session | None:
        """Take the leases of due policies, for :meth:`Retention.run`; None if other runs took all of them first."""
        if not due.slots:
            return None
        session = self.session(options)
        taken = session.leases.take(dict(due.slots), due.known)
        # Policies that other runs took in the meantime are not reported as deferred.
        return replace(session, taken=replace(taken, refused={})) if taken.won else None

    def session(self, options: RunOptions, run_id: str | None = None) -> Session:
        """A run with an identifier, without leases yet."""
        at = self._connection
        return new_session(at.store, at.clock, at.actor, options, run_id)


class Runs(Part):
    """Present runs, on all machines."""

    def live(self) -> list[RunState]:
        """Present runs that last longer than a second, oldest first, including those of dead processes."""
        return self._store.jobs.live()

    def of_policies(self, since: dt.datetime, leases: Leases | None = None) -> list[RunOfPolicy]:
        """
        The last run of each policy, if it ended at or after an aware instant; the latest comes last. Of a run that was
        killed, it is what the audit log has.

        :param leases: The present leases, if they were read already.
        """
        store = self._store
        found = {run.policy_id: run for run in store.results.since(since)}
        for run in find_killed(store, leases or store.leases.read(), since):
            known = found.get(run.policy_id)
            if known is None or known.ended_at < run.ended_at:
                found[run.policy_id] = run
        return sorted(found.values(), key=lambda run: (run.ended_at, run.policy_id))

    def forget_old(self) -> None:
        """Delete the state of old runs; the audit log keeps them."""
        self._store.jobs.forget_old()

    def cancel(self, identifier: str) -> RunState:
        """
        Ask a run to end before its next step.

        :param identifier: Its identifier; of a generated one, six characters are enough.
        :raises NotFound: if no such run is running.
        """
        store, actor = self._store, self._connection.actor
        remedy = "`cratedb-retention status` lists runs that last longer than a second"
        job = pick("run", identifier, {job.run_id: job for job in self.live()}, remedy, "is not running")
        if store.jobs.request_cancel(job, f"{actor.name}@{actor.host}"):
            store.journal.write(Entry(event=Event.CANCEL_REQUESTED, run_id=job.run_id, message=f"run {job.run_id}"))
        return job


class Audit(Part):
    """The audit log."""

    def read(self, wanted: JournalFilter | None = None) -> list[Mapping[str, Any]]:
        """Rows of the audit log, newest first."""
        return self._store.journal.read(wanted or JournalFilter())

    def runs(self, wanted: JournalFilter, behind: RunPlace | None = None) -> list[RunPlace]:
        """The runs with matching rows, latest first; ``behind`` a place in that list, or from its beginning."""
        return self._store.journal.runs(wanted, behind)

    def run_totals(self, wanted: JournalFilter, by_table: bool = False) -> list[RunTotals]:
        """What runs did, by their matching rows: each as a whole, or for each table and policy."""
        return self._store.journal.run_totals(wanted, by_table)

    def totals(self, since: dt.datetime) -> list[Totals]:
        """What the runs of each policy did since an aware instant."""
        return self._store.journal.totals(since)

    def stream(self, wanted: JournalFilter) -> Iterator[Mapping[str, Any]]:
        """Like :meth:`read`, but any number of rows fits into memory."""
        return self._store.journal.stream(wanted)

    def mark(self) -> str:
        """A text that changes with each entry of the audit log, and each hour."""
        return self._store.journal.mark()
