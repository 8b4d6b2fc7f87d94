"""
Background jobs of this process: runs, and restores, verifications and deletions of snapshots. They can be watched and
cancelled, are remembered for a while, and end with the process. The audit log records them permanently.
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
from cratedb_retention.execution.archive import Deleted, Restored, Verified
from cratedb_retention.execution.plan.preparing import Prepared
from cratedb_retention.execution.runs.events import RunStarted
from cratedb_retention.model.plan.reasons import failure
from cratedb_retention.model.runs import RunOptions, RunState

logger = logging.getLogger(__name__)
# Finished jobs that are remembered.
REMEMBERED = 100
Result = Restored | Verified | Deleted
# Does the work, and reports the result of each snapshot.
Work = Callable[[Callable[[Result], None]], object]


@dataclass(frozen=True, kw_only=True)
class OperationState:
    operation_id: str
    kind: str  # ``restore``, ``verify`` or ``delete``
    state: str  # ``running``, ``done``, ``failed`` or ``cancelled``
    actor: str  # the user who started it, as in the audit log
    started_at: dt.datetime
    total: int  # number of snapshots
    finished_at: dt.datetime | None = None
    results: tuple[Result, ...] = ()  # results so far
    error: str | None = None  # reason for an early end
    code: str | None = None  # code of the error


State = TypeVar("State", RunState, OperationState)


class _Job(NamedTuple, Generic[State]):
    look: Callable[[], State]
    stop: threading.Event
    future: Future[None]


class _Cancelled(Exception):
    """A user cancelled the operation."""


class Background(Generic[State]):
    """Jobs that can be watched, for a while also after their end; at most ``workers`` at the same time."""

    kind: ClassVar[str]
    older: ClassVar[str]  # where to find forgotten jobs

    def __init__(self, workers: int = 2) -> None:
        self._workers, self._pool = workers, ThreadPoolExecutor(workers, thread_name_prefix=self.kind)
        self._lock = threading.Lock()
        self._jobs: dict[str, _Job[State]] = {}

    def _begin(
        self, key: str, thing: str, look: Callable[[], State], stop: threading.Event, do: Callable[[], None]
    ) -> None:
        with self._lock:
            over = [each for each, job in self._jobs.items() if job.future.done()]
            if len(self._jobs) - len(over) >= self._workers:
                active = f"{self._workers} {self.kind}s are active already"
                raise Conflict(thing, active, "wait for one, or cancel it")
            for each in over[:-REMEMBERED]:
                del self._jobs[each]
            self._jobs[key] = _Job(look, stop, self._pool.submit(do))

    def _outcome(self, key: str, work: Callable[[], bool]) -> tuple[str, str | None, str | None]:
        """Do the work; return its outcome, ``done``, ``failed`` or ``cancelled``, with the reason and its code."""
        try:
            return ("done" if work() else "failed"), None, None
        except _Cancelled:
            return "cancelled", None, None
        except RetentionError as error:
            return ("cancelled" if isinstance(error, RunEnded) else "failed"), str(error), failure(error).code
        except Exception as error:
            logger.exception("%s %s: this is a bug; please report it", self.kind, key)
            return "failed", "internal error; see the log of the service", failure(error).code

    def _elsewhere(self, retention: Retention) -> Mapping[str, State]:
        return {}

    def all(self, retention: Retention) -> list[State]:
        """Recent jobs, newest first."""
        with self._lock:
            jobs = dict(self._jobs)
        found = {**self._elsewhere(retention), **{key: job.look() for key, job in jobs.items()}}
        return sorted(found.values(), key=lambda state: state.started_at)[::-1]

    def find(self, retention: Retention, key: str) -> State:
        """A job; raises :class:`NotFound` if it is unknown."""
        with self._lock:
            job = self._jobs.get(key)
        state = job.look() if job else self._elsewhere(retention).get(key)
        if state is None:
            raise self.unknown(key)
        return state

    def unknown(self, key: str) -> NotFound:
        return NotFound(f"{self.kind} {key}", "unknown", self.older)

    def cancel(self, retention: Retention, key: str) -> State:
        """Cancel a job before its next step or snapshot; raises :class:`Conflict` if it has ended."""
        state = self.find(retention, key)
        if state.finished_at is not None:
            raise Conflict(f"{self.kind} {key}", "has ended already")
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
    """Runs that were started by request, and those of other processes; leases keep them apart."""

    kind, older = "run", "older ones are in the audit log"

    def __init__(self, workers: int = 4, options: RunOptions | None = None) -> None:
        super().__init__(workers)
        self._options = options or RunOptions()

    def start(self, retention: Retention, prepared: Prepared) -> RunState:
        """Start a run in the background; raises :class:`Conflict` if too many are active."""
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
        except NotFound:  # Not yet in the database.
            super()._ask(retention, key)


class Operations(Background[OperationState]):
    kind, older = "operation", "what older ones did is in the audit log"

    def start(self, retention: Retention, kind: str, total: int, work: Work) -> OperationState:
        key, now, stop = str(uuid.uuid4()), retention.clock.now, threading.Event()
        state = begun = OperationState(
            operation_id=key, kind=kind, state="running", actor=retention.actor.name, started_at=now(), total=total
        )

        def report(result: Result) -> None:
            nonlocal state
            state = replace(state, results=(*state.results, result))
            if stop.is_set() and len(state.results) < total:
                raise _Cancelled

        def all_went_well() -> bool:
            work(report)
            return not any(result.error for result in state.results)

        def do() -> None:
            nonlocal state
            outcome, error, code = self._outcome(key, all_went_well)
            state = replace(state, state=outcome, error=error, code=code, finished_at=now())

        self._begin(key, kind, lambda: state, stop, do)
        return begun
