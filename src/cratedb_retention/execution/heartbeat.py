"""
The heartbeat of a run: renews its leases in time, writes how far it is about once a second, hears who cancels it, and
says before each step, and while one goes on, whether the run may go on.

A thread drives it while steps take long; so does the run itself between steps. What is due is told by the clock that
was passed in, so that a simulation needs no thread. A run that is over within a second writes nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cratedb_retention.clock import Clock
from cratedb_retention.errors import Cancelled, Conflict, LeaseLost, RetentionError, Stopped
from cratedb_retention.execution.leasing import Session
from cratedb_retention.execution.retrying import retry
from cratedb_retention.store.jobs import JobStore

logger = logging.getLogger(__name__)
BEAT_SECONDS = 1.0


class Heartbeat:
    """
    The heartbeat of one run. Its methods may be called by several threads.

    :param session: The run, which knows how far it is.
    """

    def __init__(self, session: Session, jobs: JobStore, clock: Clock) -> None:
        self._leases, self._tracker, self._stop = session.leases, session.tracker, session.options.stop
        self._jobs, self._clock = jobs, clock
        self._written: float = clock.uptime()
        # Whether it was tried to write the row, which may be there even if no answer came; and whether it is there.
        self._is_begun = self._is_known = False
        self._found: Exception | None = None  # A lost lease, or what nobody expected: ends the run.
        self._cancelled_by: str | None = None
        self._lock = threading.Lock()

    def before_step(self, policy_id: str | None) -> None:
        """
        May a task's next step begin?

        :param policy_id: The policy of the task.
        :raises Cancelled: if somebody asked for the end of the run.
        :raises Stopped: if the process is to end.
        :raises LeaseLost: if another one may run the policy by now.
        """
        self._check()
        self._leases.check(policy_id)

    def during_step(self) -> None:
        """May the present step go on? Asked between batches, and while shards are waited for. Raises the same."""
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
            raise Stopped(run, "the process was told to stop", "another run goes on from here")

    def beat(self) -> None:
        """Do what is due by now. What fails is tried again by the next beat; a lost lease is kept for the run."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._leases.is_time_to_renew():
                self._renew()
            now = self._clock.uptime()
            if now - self._written > BEAT_SECONDS:
                self._written = now
                self._try(self._write)
        finally:
            self._lock.release()

    def _renew(self) -> None:
        try:
            self._leases.renew()
        except LeaseLost as error:
            self._found = error
        except RetentionError as error:
            logger.warning("leases were not renewed: %s", error)

    def _write(self) -> None:
        state = self._tracker.state()
        if not self._is_known:
            self._is_begun = True
            try:
                self._jobs.begin(state)
                self._is_known = True
                return
            except Conflict:  # Written by an earlier try whose answer was lost.
                self._is_known = True
        self._cancelled_by = self._jobs.update(state) or self._cancelled_by
        if self._cancelled_by is not None:
            self._tracker.cancelled(self._cancelled_by)

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except RetentionError as error:
            logger.warning("progress was not written: %s", error)

    def finish(self, outcome: str) -> None:
        """Write that the run is over, if anything may have been written of it; a beat that goes on is waited for."""
        with self._lock:
            self._tracker.finish(outcome)
            if self._is_begun:
                self._try(lambda: retry(self._write, self._clock.sleep))

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Let a thread drive it, until the end of the block."""
        end = threading.Event()
        thread = threading.Thread(target=self._drive, args=(end,), name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()

    def _drive(self, end: threading.Event) -> None:
        while not end.wait(BEAT_SECONDS):
            try:
                self.beat()
            except Exception as error:  # The run ends by it before its next step; its leases are renewed until then.
                if self._found is None:
                    logger.exception("the heartbeat of run %s failed", self._leases.run_id)
                    self._found = error
