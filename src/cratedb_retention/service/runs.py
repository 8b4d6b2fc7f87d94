"""
Work in the background of this process: runs, restores and verifications of snapshots; begun, watched, remembered for a
while when it is over, and ended with the process. The audit log has all of it for good.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, NamedTuple, TypeVar

from cratedb_retention.api import Retention
from cratedb_retention.errors import Conflict, NotFound, RetentionError, RunEnded
from cratedb_retention.execution.archive import Restored, Verified
from cratedb_retention.execution.plan.preparing import Prepared
from cratedb_retention.execution.runs.events import RunStarted
from cratedb_retention.model.plan.reasons import failure
from cratedb_retention.model.runs import RunOptions, RunState

logger = logging.getLogger(__name__)
# How many of those that are over.
REMEMBERED = 100
Result = Restored | Verified
# Does it, and reports each snapshot as soon as it is through with it.
Work = Callable[[Callable[[Result], None]], object]


@dataclass(frozen=True, kw_only=True)
class OperationState:
    operation_id: str
    kind: str  # ``restore`` or ``verify``
    state: str  # ``running``, ``done``, ``failed`` or ``cancelled``
    actor: str  # who started it, as the audit log says
    started_at: dt.datetime
    total: int  # how many snapshots it is about
    finished_at: dt.datetime | None = None
    results: tuple[Result, ...] = ()  # what became of each so far
    error: str | None = None  # why it ended early
    code: str | None = None  # what tells the error from others


State = TypeVar("State", RunState, OperationState)


class _Job(NamedTuple, Generic[State]):
    look: Callable[[], State]
    stop: threading.Event
    future: Future[None]


class _Cancelled(Exception):
    """A user asked for the end of an operation."""


class Background(Generic[State]):
    """Jobs that can be watched, for a while also when they are over; so many ``workers`` at once."""

    kind: ClassVar[str]
    older: ClassVar[str]  # where to look for those that are not known here
    over: ClassVar[tuple[str, str]]  # reason and remedy for who cancels one that is over

    def __init__(self, workers: int = 2) -> None:
        self._workers, self._pool = workers, ThreadPoolExecutor(workers, thread_name_prefix=self.kind)
        self._lock = threading.Lock()
        self._jobs: dict[str, _Job[State]] = {}

    def _begin(
        self, key: str, thing: str, look: Callable[[], State], stop: threading.Event, do: Callable[[], None]
    ) -> None:
        """Begin, unless too many go on; ``look`` tells how far it is, and ``stop`` is set to ask for its end."""
        with self._lock:
            over = [each for each, job in self._jobs.items() if job.future.done()]
            if len(self._jobs) - len(over) >= self._workers:
                going_on = f"{self._workers} {self.kind}s are going on already"
                raise Conflict(thing, going_on, "wait for one, or cancel it")
            for each in over[:-REMEMBERED]:
                del self._jobs[each]
            self._jobs[key] = _Job(look, stop, self._pool.submit(do))

    def _outcome(self, key: str, work: Callable[[], bool]) -> tuple[str, str | None, str | None]:
        """Do it, and tell how it ended, and why: ``done`` if ``work`` says so, else ``failed``; or ``cancelled``."""
        try:
            return ("done" if work() else "failed"), None, None
        except _Cancelled:
            return "cancelled", None, None
        except RetentionError as error:
            return ("cancelled" if isinstance(error, RunEnded) else "failed"), str(error), failure(error).code
        except Exception as error:
            logger.exception("%s %s ended by a mistake in the program", self.kind, key)
            return "failed", "a mistake in the program; its log tells more", failure(error).code

    def _elsewhere(self, retention: Retention) -> Mapping[str, State]:
        return {}

    def all(self, retention: Retention) -> list[State]:
        """Recent ones, newest first."""
        with self._lock:
            jobs = dict(self._jobs)
        found = {**self._elsewhere(retention), **{key: job.look() for key, job in jobs.items()}}
        return sorted(found.values(), key=lambda state: state.started_at)[::-1]

    def find(self, retention: Retention, key: str) -> State:
        """One of them; raises :class:`NotFound` if there is none."""
        with self._lock:
            job = self._jobs.get(key)
        state = job.look() if job else self._elsewhere(retention).get(key)
        if state is None:
            raise self.unknown(key)
        return state

    def unknown(self, key: str) -> NotFound:
        return NotFound(f"{self.kind} {key}", "is not known here", self.older)

    def cancel(self, retention: Retention, key: str) -> State:
        """Let one end before its next step or snapshot; raises :class:`Conflict` if it is over."""
        state = self.find(retention, key)
        if state.finished_at is not None:
            raise Conflict(f"{self.kind} {key}", *self.over)
        self._ask(retention, key)
        return state

    def _ask(self, retention: Retention, key: str) -> None:
        with self._lock:
            if key in self._jobs:
                self._jobs[key].stop.set()

    def wait(self) -> None:
        for job in list(self._jobs.values()):
            job.future.result()

    def close(self) -> None:
        with self._lock:
            for job in self._jobs.values():
                job.stop.set()
        self._pool.shutdown(wait=True)


class Runs(Background[RunState]):
    """Runs that were asked for while the service is up, and those of other processes; leases keep them apart."""

    kind, older = "run", "GET /api/v1/journal?run_id= tells of older ones"
    over = ("is over", "there is nothing to cancel")

    def __init__(self, workers: int = 4, options: RunOptions | None = None) -> None:
        super().__init__(workers)
        self._options = options or RunOptions()

    def start(self, retention: Retention, prepared: Prepared) -> RunState:
        """Begin a run, and come back at once; raises :class:`Conflict` if too many go on."""
        stop = threading.Event()
        session = retention.schedule.session(replace(self._options, stop=stop))
        run_id, tracker = session.leases.run_id, session.tracker
        tracker(RunStarted(run_id, prepared.plan))
        state = tracker.state()

        def do() -> None:
            tracker.finish(*self._outcome(run_id, lambda: retention.run(prepared, session=session).ok))

        self._begin(run_id, "run", tracker.state, stop, do)
        return state

    def _elsewhere(self, retention: Retention) -> Mapping[str, RunState]:
        return {state.run_id: state for state in retention.runs.live()}

    def _ask(self, retention: Retention, key: str) -> None:
        try:
            retention.runs.cancel(key)
        except NotFound:  # It is too young to be in the database.
            super()._ask(retention, key)


class Operations(Background[OperationState]):
    kind, older = "operation", "GET /api/v1/journal tells of older ones"
    over = ("is over already", "")

    def start(self, retention: Retention, kind: str, total: int, work: Work) -> OperationState:
        key, now, stop = str(uuid.uuid4()), retention.clock.now, threading.Event()
        state = begun = OperationState(
            operation_id=key, kind=kind, state="running", actor=retention.actor.name, started_at=now(), total=total
        )

        def told(result: Result) -> None:
            nonlocal state
            state = replace(state, results=(*state.results, result))
            if stop.is_set() and len(state.results) < total:
                raise _Cancelled

        def all_went_well() -> bool:
            work(told)
            return not any(result.error for result in state.results)

        def do() -> None:
            nonlocal state
            outcome, error, code = self._outcome(key, all_went_well)
            state = replace(state, state=outcome, error=error, code=code, finished_at=now())

        self._begin(key, kind, lambda: state, stop, do)
        return begun
