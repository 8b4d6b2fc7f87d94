"""
What is due by the schedules of policies, and who runs it.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from cratedb_retention.api.connection import Part
from cratedb_retention.execution.leasing import Session, new_session
from cratedb_retention.execution.overview import next_runs
from cratedb_retention.model.runs import RunOptions
from cratedb_retention.model.schedule import Done, Scheduled
from cratedb_retention.planning.due import Timetable, due_slots, wrong_slots
from cratedb_retention.store.runs import Leases

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Due:
    """
    What is due.

    :param slots: The slot of each policy that is due and that nobody is at.
    :param known: The leases that this rests on.
    """

    slots: Mapping[str, dt.datetime]
    known: Leases


class Schedule(Part):
    """What is due by the schedules of policies. Any number of processes look by themselves; leases decide (law 8)."""

    def policies(self) -> list[Scheduled]:
        """The policies that have a schedule and are enabled."""
        return self._store.policies.scheduled()

    def leases(self) -> Leases:
        """Who runs which policy, and which slots were done."""
        return self._store.leases.read()

    def next_runs(self, policies: Iterable[str | None], leases: Leases | None = None) -> dict[str, dt.datetime]:
        """When policies run next by their schedules, see :func:`cratedb_retention.execution.overview.next_runs`."""
        return next_runs(self._store, policies, leases)

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
            store.leases.put_right(known, wrong)
            done.update({key: Done(slot) for key, slot in wrong.items()})
        slots = due_slots(scheduled, done, known.now, timetable)
        return Due(
            {key: slot for key, slot in slots.items() if key not in wrong and known.of(key).is_free(known.now)}, known
        )

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
