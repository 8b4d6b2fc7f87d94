"""
Looks what is due by the schedules, takes the leases, and runs all of it as one run.

Any number of schedulers may do so on one database. Each looks by itself; the leases decide who runs what (law 8).
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from cratedb_retention.api import Retention
from cratedb_retention.errors import ConnectionLost, RetentionError, RunEnded
from cratedb_retention.execution.events import Observer
from cratedb_retention.execution.listing import slots_done
from cratedb_retention.execution.preparing import Selection
from cratedb_retention.execution.retrying import retry
from cratedb_retention.execution.running import Session, new_session
from cratedb_retention.model.runs import Report, RunOptions
from cratedb_retention.planning.due import Done, Timetable, due_slots, wrong_slots
from cratedb_retention.store.leases import Leases

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


def find_due(retention: Retention, timetable: Timetable, chosen: Collection[str] | None = None) -> Due:
    """
    Look what is due, in three statements, however many policies there are.

    :param timetable: Remembers slots from one look to the next.
    :param chosen: Only these policies; None: all.
    """
    store = retention.store
    store.require()
    store.refresh_schedules()
    scheduled = [item for item in store.policies.scheduled() if chosen is None or item.policy_id in chosen]
    known = store.leases.read(refresh=False)
    done = slots_done(known)
    wrong = wrong_slots(scheduled, done, known.now, timetable)
    if wrong:
        logger.warning("%d policies were run at a time that is still to come; a clock was wrong", len(wrong))
        store.leases.put_right(known, wrong)
        done.update({key: Done(slot) for key, slot in wrong.items()})
    slots = due_slots(scheduled, done, known.now, timetable)
    return Due(
        {key: slot for key, slot in slots.items() if key not in wrong and known.of(key).is_free(known.now)}, known
    )


def take_due(retention: Retention, due: Due, options: RunOptions) -> Session | None:
    """Take the leases of what is due; None if others were quicker with all of them."""
    if not due.slots:
        return None
    session = new_session(retention.store, retention.clock, retention.actor, options)
    taken = session.leases.take(dict(due.slots), due.known)
    # What others took in the meantime is theirs, and nothing is left out.
    return replace(session, taken=replace(taken, refused={})) if taken.won else None


def run_session(retention: Retention, session: Session, observers: Iterable[Observer] = ()) -> Report:
    """Run what leases were taken for; raises what :meth:`Retention.run` does."""
    selection = Selection(policy_ids=frozenset(session.taken.won))
    return retention.run(selection=selection, observers=observers, session=session)


def run_due(
    retention: Retention,
    observers: Iterable[Observer] = (),
    options: RunOptions | None = None,
    chosen: Collection[str] | None = None,
) -> Report | None:
    """
    Run once what is due, here and now.

    :param chosen: Only these policies; None: all.
    :return: None if nothing was due, or others were quicker.
    """

    def look() -> Session | None:
        return take_due(retention, find_due(retention, Timetable(), chosen), options or RunOptions())

    session = retry(look, retention.clock.sleep)
    return run_session(retention, session, observers) if session else None


class Scheduler:
    """
    Looks again and again what is due, and runs it in threads of its own.

    :param workers: Maximum number of concurrent runs; while all are busy, what is due is left to others.
    :param observers: Are told what happens in runs.
    """

    def __init__(
        self,
        retention: Retention,
        options: RunOptions | None = None,
        workers: int = 2,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._retention, self._workers, self._observers = retention, workers, observers
        self._stop = threading.Event()
        self._options = replace(options or RunOptions(), stop=self._stop)
        self._timetable = Timetable()
        self._threads: list[threading.Thread] = []
        self._is_cut_off = False

    def tick(self) -> bool:
        """
        Look once; a database that can't be reached is looked for again by the next tick.

        :return: Whether a run was started.
        """
        try:
            session = self._look()
        except ConnectionLost as error:
            logger.log(logging.DEBUG if self._is_cut_off else logging.WARNING, "nothing can be run: %s", error)
            self._is_cut_off = True
            return False
        except RetentionError as error:
            logger.error("nothing can be run: %s", error)
            return False
        if self._is_cut_off:
            logger.warning("the database answers again")
            self._is_cut_off = False
        if session is None:
            return False
        thread = threading.Thread(target=self._run, args=(session,), name=f"run {session.leases.run_id}", daemon=True)
        self._threads.append(thread)
        thread.start()
        return True

    def _look(self) -> Session | None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if self._stop.is_set() or len(self._threads) >= self._workers:
            return None
        return take_due(self._retention, find_due(self._retention, self._timetable), self._options)

    def _run(self, session: Session) -> None:
        try:
            run_session(self._retention.sibling(), session, self._observers)
        except RunEnded as error:
            logger.warning("run %s: %s", session.leases.run_id, error)
        except RetentionError as error:
            logger.error("run %s: %s", session.leases.run_id, error)
        except Exception:
            logger.exception("run %s: this is a mistake in the program; please report it", session.leases.run_id)

    def maintain(self) -> None:
        """Forget runs that ended long ago."""
        try:
            self._retention.store.jobs.forget_old()
        except RetentionError as error:
            logger.warning("old runs were not forgotten: %s", error)

    def wait(self, patience: float | None = None) -> bool:
        """Wait for all runs at most so many seconds; whether all have ended."""
        clock, deadline = self._retention.clock, None
        if patience is not None:
            deadline = clock.uptime() + patience
        for thread in self._threads:
            thread.join(None if deadline is None else max(deadline - clock.uptime(), 0))
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self, patience: float) -> bool:
        """
        Start no run any more, and let those that go on end before their next step.

        :param patience: Wait for them at most so many seconds.
        :return: Whether all have ended; others lose their leases when these expire.
        """
        self._stop.set()
        return self.wait(patience)
