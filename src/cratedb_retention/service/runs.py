"""
Runs that were asked for while the service is up: started in the background, watched, and cancelled.

The HTTP API knows the protocol ``Runs`` only; ``LocalRuns`` keeps what it knows in this process.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from cratedb_retention.api import Retention
from cratedb_retention.errors import Conflict, NotFound, RetentionError
from cratedb_retention.execution.events import Report, RunEvent, RunFinished, StepFinished, StepProgressed, StepStarted
from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.model.words import describe

logger = logging.getLogger(__name__)
# Runs that are over and still told of.
REMEMBERED = 100


@dataclass(frozen=True)
class RunState:
    """
    How far a run is.

    :param state: ``waiting``, ``running``, ``done``, ``failed`` or ``cancelled``.
    :param actor: Who started it, as the journal says.
    :param step: What it does at present, in words.
    :param steps_done: How many of ``steps_total`` steps are over, failed ones too.
    :param units_done: Of the present step: so many of ``units_total`` units, if it tells.
    :param rows: Rows that were removed or moved so far, as far as the database says.
    :param error: Why it ended early.
    """

    run_id: str
    state: str
    actor: str
    started_at: dt.datetime
    finished_at: dt.datetime | None = None
    step: str | None = None
    steps_done: int = 0
    steps_total: int = 0
    units_done: int | None = None
    units_total: int | None = None
    unit: str | None = None
    rows: int = 0
    bytes: int = 0
    report: Report | None = None
    error: str | None = None


class Runs(Protocol):
    """Starts runs, and knows how far they are."""

    def start(self, retention: Retention, prepared: Prepared) -> RunState:
        """
        Begin a run and come back at once.

        :param retention: Acts as whoever asked.
        :raises Conflict: if that can't be now.
        """

    def all(self) -> Sequence[RunState]:
        """The runs of late, newest first."""

    def find(self, run_id: str) -> RunState:
        """
        One of them.

        :raises NotFound: if there is none.
        """

    def cancel(self, run_id: str) -> RunState:
        """
        Let it end after its present step.

        :raises NotFound: if there is none.
        :raises Conflict: if it is over.
        """


class Cancelled(BaseException):
    """Somebody asked a run to end. No failure of a step, so that the runner ends at once."""


class LocalRuns:
    """Runs in this process, one at a time: they are not kept apart otherwise."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="run")
        self._lock = threading.Lock()
        self._states: dict[str, RunState] = {}
        self._cancelled: set[str] = set()
        self._future: Future[None] | None = None

    def start(self, retention: Retention, prepared: Prepared) -> RunState:
        """Begin a run; see :class:`Runs`."""
        with self._lock:
            if self._future is not None and not self._future.done():
                raise Conflict("run", "another run is going on", "wait for it, or cancel it")
            total = sum(len(task.steps) for task in prepared.plan.tasks)
            state = RunState(
                str(uuid.uuid4()), "running", retention.actor.name, retention.clock.now(), steps_total=total
            )
            self._states[state.run_id] = state
            while len(self._states) > REMEMBERED:
                self._states.pop(next(iter(self._states)))
            self._future = self._pool.submit(self._run, retention, prepared, state.run_id)
            return state

    def all(self) -> list[RunState]:
        """The runs of late, newest first."""
        with self._lock:
            return list(reversed(self._states.values()))

    def find(self, run_id: str) -> RunState:
        """One of them."""
        with self._lock:
            state = self._states.get(run_id)
        if state is None:
            raise NotFound(f"run {run_id}", "is not known here", "GET /api/v1/journal?run_id= tells of older ones")
        return state

    def cancel(self, run_id: str) -> RunState:
        """Let it end after its present step."""
        state = self.find(run_id)
        if state.state != "running":
            raise Conflict(f"run {run_id}", "is over", "there is nothing to cancel")
        self._cancelled.add(run_id)
        return state

    def wait(self) -> None:
        """Until nothing runs."""
        if self._future is not None:
            self._future.result()

    def close(self) -> None:
        """Cancel what runs, and wait until its present step is over."""
        self._cancelled.update(state.run_id for state in self.all() if state.state == "running")
        self._pool.shutdown(wait=True)

    def _run(self, retention: Retention, prepared: Prepared, run_id: str) -> None:
        try:
            report = retention.run(prepared, observers=[lambda event: self._observe(run_id, event)], run_id=run_id)
            self._end(retention, run_id, "done" if report.ok else "failed", None)
        except Cancelled:
            self._end(retention, run_id, "cancelled", None)
        except RetentionError as error:
            self._end(retention, run_id, "failed", str(error))
        except Exception:
            logger.exception("run %s ended by a mistake in the program", run_id)
            self._end(retention, run_id, "failed", "a mistake in the program; its log tells more")

    def _observe(self, run_id: str, event: RunEvent) -> None:
        match event:
            case StepStarted(step=step, number=number, total=total):
                if run_id in self._cancelled:
                    raise Cancelled
                nothing = {"units_done": None, "units_total": None, "unit": None}
                self._change(run_id, step=describe(step), steps_done=number - 1, steps_total=total, **nothing)
            case StepProgressed(progress=p):
                self._change(run_id, units_done=p.done, units_total=p.total, unit=p.unit)
            case StepFinished(result=result):
                state = self.find(run_id)
                rows, size = state.rows + (result.rows or 0), state.bytes + (result.size or 0)
                self._change(run_id, steps_done=state.steps_done + 1, rows=rows, bytes=size)
            case RunFinished(report=report):
                self._change(run_id, report=report, rows=report.rows, bytes=report.bytes)
            case _:
                pass

    def _end(self, retention: Retention, run_id: str, state: str, error: str | None) -> None:
        self._change(run_id, state=state, error=error, finished_at=retention.clock.now(), step=None)

    def _change(self, run_id: str, **values: object) -> None:
        with self._lock:
            if run_id in self._states:
                self._states[run_id] = replace(self._states[run_id], **values)  # type: ignore[arg-type]
