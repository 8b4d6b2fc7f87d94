"""
Looks what is due by the schedules, takes the leases, and runs all of it as one run.

Any number of schedulers may do so on one database. Each looks by itself; the leases decide who runs what (law 8).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace

from cratedb_retention.api import Retention
from cratedb_retention.errors import ConnectionLost, RetentionError, RunEnded
from cratedb_retention.execution.events import Observer
from cratedb_retention.execution.leasing import Session
from cratedb_retention.model.runs import RunOptions
from cratedb_retention.planning.due import Timetable

logger = logging.getLogger(__name__)


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
        self._lock = threading.Lock()

    def tick(self) -> bool:
        """
        Look once; a database that can't be reached is looked for again by the next tick.

        :return: Whether a run was started.
        """
        try:
            session = self._look()
            if session is not None and not self._start(session):
                session.leases.release({})
                session = None
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
        return session is not None

    def _start(self, session: Session) -> bool:
        """Begin a run, unless the service was stopped since it was looked what is due."""
        thread = threading.Thread(target=self._run, args=(session,), name=f"run {session.leases.run_id}", daemon=True)
        with self._lock:
            if not self._stop.is_set():
                self._threads.append(thread)
                thread.start()
                return True
        return False

    def _look(self) -> Session | None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if self._stop.is_set() or len(self._threads) >= self._workers:
            return None
        return self._retention.schedule.take(self._retention.schedule.find_due(self._timetable), self._options)

    def _run(self, session: Session) -> None:
        try:
            self._retention.sibling().run(session=session, observers=self._observers)
        except RunEnded as error:
            logger.warning("run %s: %s", session.leases.run_id, error)
        except RetentionError as error:
            logger.error("run %s: %s", session.leases.run_id, error)
        except Exception:
            logger.exception("run %s: this is a mistake in the program; please report it", session.leases.run_id)

    def maintain(self) -> None:
        """Forget runs that ended long ago."""
        try:
            self._retention.runs.forget_old()
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
        with self._lock:
            self._stop.set()
        return self.wait(patience)
