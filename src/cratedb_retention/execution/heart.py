"""
The heartbeat of a run: renews its leases in time, writes how far it is about once a second, and hears who cancels it.

A thread drives it while steps take long; so does the run itself between steps. What is due is told by the clock that
was passed in, so that a simulation needs no thread. A run that is over within a second writes nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cratedb_retention.clock import Clock
from cratedb_retention.errors import Conflict, LeaseLost, RetentionError
from cratedb_retention.execution.leasing import LeaseHolder
from cratedb_retention.execution.retrying import retry
from cratedb_retention.execution.tracking import Tracker
from cratedb_retention.store.jobs import JobStore

logger = logging.getLogger(__name__)
BEAT_SECONDS = 1.0


class Heart:
    """
    The heartbeat of one run. Its methods may be called by several threads.

    :param tracker: Knows how far the run is.
    :param cancelled_by: Who asked for the end of the run; None: nobody.
    """

    def __init__(self, leases: LeaseHolder, jobs: JobStore, tracker: Tracker, clock: Clock) -> None:
        self._leases, self._jobs, self._tracker, self._clock = leases, jobs, tracker, clock
        self._written: float = clock.uptime()
        # Whether it was tried to write the row, which may be there even if no answer came; and whether it is there.
        self._is_begun = self._is_known = False
        self._lost: LeaseLost | None = None
        self._lock = threading.Lock()
        self.cancelled_by: str | None = None

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
            self._lost = error
        except RetentionError as error:
            logger.warning("leases were not renewed: %s", error)

    def _write(self) -> None:
        job = self._tracker.job()
        if not self._is_known:
            self._is_begun = True
            try:
                self._jobs.begin(job)
                self._is_known = True
                return
            except Conflict:  # Written by an earlier try whose answer was lost.
                self._is_known = True
        self.cancelled_by = self._jobs.update(job) or self.cancelled_by

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except RetentionError as error:
            logger.warning("progress was not written: %s", error)

    def raise_what_was_found(self) -> None:
        """
        Tell the run what a beat found.

        :raises LeaseLost: if a lease was not ours any more.
        """
        if self._lost is not None:
            raise self._lost

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
            self.beat()
