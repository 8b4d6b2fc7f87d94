"""
Runs that were asked for while the service is up: started in the background, watched, and cancelled.

The HTTP API knows the protocol ``Runs`` only.
"""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from cratedb_retention.api import Retention
from cratedb_retention.engine.base import StepResult
from cratedb_retention.errors import Conflict, NotFound, RunEnded
from cratedb_retention.execution.events import Report, RunEvent, RunFinished, StepFinished, StepProgressed, StepStarted
from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.execution.running import Terms
from cratedb_retention.model.plan import REMOVES_OR_MOVES, Step
from cratedb_retention.service.background import Background, outcome_of
from cratedb_retention.store.jobs import SILENT, Job

UNKNOWN = "GET /api/v1/journal?run_id= tells of older ones"


@dataclass(frozen=True, kw_only=True)
class RunState:
    """
    How far a run is.

    :param state: ``running``, ``done``, ``failed`` or ``cancelled``.
    :param actor: Who started it, as the journal says.
    :param step: What it does at present, in words.
    :param steps_done: How many of ``steps_total`` steps are over, failed ones too.
    :param units_done: Of the present step: so many of ``units_total`` units, if it tells.
    :param expected_end: When it may end, if that is reckoned.
    :param rows: Rows that were removed or moved so far, as far as the database says.
    :param error: Why it ended early.
    :param heard_at: When it last gave a sign of life, if it is of another process.
    :param cancel_by: Who asked for its end.
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
    expected_end: dt.datetime | None = None
    report: Report | None = None
    error: str | None = None
    heard_at: dt.datetime | None = None
    cancel_by: str | None = None

    def is_live(self, now: dt.datetime) -> bool:
        """Whether it goes on; a run of which nothing was heard for a while is of a process that is dead."""
        return self.state == "running" and (self.heard_at is None or self.heard_at + SILENT >= now)


class Runs(Protocol):
    """Starts runs, and knows how far they are."""

    def start(self, retention: Retention, prepared: Prepared) -> RunState:
        """
        Begin a run and come back at once.

        :param retention: Acts as whoever asked.
        :raises Conflict: if that can't be now.
        """

    def all(self, retention: Retention) -> Sequence[RunState]:
        """The runs of late, newest first."""

    def find(self, retention: Retention, run_id: str) -> RunState:
        """
        One of them.

        :raises NotFound: if there is none.
        """

    def cancel(self, retention: Retention, run_id: str) -> RunState:
        """
        Let it end before its next step.

        :raises NotFound: if there is none.
        :raises Conflict: if it is over.
        """


class StoredRuns:
    """
    Runs in this process, and those of others that the database tells of.

    :param workers: At most so many of this process at a time; that no two do the same, their leases take care of.
    :param terms: How long leases last.
    """

    def __init__(self, workers: int = 4, terms: Terms | None = None) -> None:
        self._terms = terms or Terms()
        self._background = Background[RunState]("run", workers)

    def start(self, retention: Retention, prepared: Prepared) -> RunState:
        """Begin a run; see :class:`Runs`."""
        total = sum(len(task.steps) for task in prepared.plan.tasks)
        now, run_id = retention.clock.now(), str(uuid.uuid4())
        state = RunState(run_id=run_id, state="running", actor=retention.actor.name, started_at=now, steps_total=total)
        self._background.start(run_id, "run", state, lambda stop: self._run(retention, prepared, run_id, stop))
        return state

    def all(self, retention: Retention) -> list[RunState]:
        """The runs of late, newest first."""
        elsewhere = {job.run_id: _of_job(job) for job in retention.running()}
        here = {key: _told(state, elsewhere.get(key)) for key, state in self._background.all().items()}
        found = {**elsewhere, **here}
        return sorted(found.values(), key=lambda state: state.started_at, reverse=True)

    def find(self, retention: Retention, run_id: str) -> RunState:
        """One of them."""
        state = self._background.find(run_id)
        if state is None:
            state = next((_of_job(job) for job in retention.running() if job.run_id == run_id), None)
        if state is None:
            raise NotFound(f"run {run_id}", "is not known here", UNKNOWN)
        return state

    def cancel(self, retention: Retention, run_id: str) -> RunState:
        """Let it end before its next step."""
        state = self.find(retention, run_id)
        if state.state != "running":
            raise Conflict(f"run {run_id}", "is over", "there is nothing to cancel")
        try:
            retention.cancel(run_id)
        except NotFound:  # It is too young to be in the database.
            self._background.stop(run_id)
        return state

    def wait(self) -> None:
        """Until nothing of this process runs."""
        self._background.wait()

    def close(self) -> None:
        """End what runs in this process before its next step."""
        self._background.close()

    def _run(self, retention: Retention, prepared: Prepared, run_id: str, stop: threading.Event) -> None:
        def observe(event: RunEvent) -> None:
            self._observe(run_id, event)

        def all_went_well() -> bool:
            return retention.run(prepared, observers=[observe], run_id=run_id, terms=replace(self._terms, stop=stop)).ok

        outcome, error = outcome_of(f"run {run_id}", all_went_well, RunEnded)
        self._change(run_id, state=outcome, error=error, finished_at=retention.clock.now(), step=None)

    def _observe(self, run_id: str, event: RunEvent) -> None:
        match event:
            case StepStarted(step=step, number=number, total=total):
                nothing = {"units_done": None, "units_total": None, "unit": None}
                self._change(run_id, step=step.describe(), steps_done=number - 1, steps_total=total, **nothing)
            case StepProgressed(progress=p):
                self._change(run_id, units_done=p.done, units_total=p.total, unit=p.unit)
            case StepFinished(step=step, result=result):
                self._count(run_id, step, result)
            case RunFinished(report=report):
                self._change(run_id, report=report, rows=report.rows, bytes=report.bytes)
            case _:
                pass

    def _count(self, run_id: str, step: Step, result: StepResult) -> None:
        rows, size = (result.rows or 0, result.size or 0) if isinstance(step, REMOVES_OR_MOVES) else (0, 0)

        def counted(state: RunState) -> RunState:
            return replace(state, steps_done=state.steps_done + 1, rows=state.rows + rows, bytes=state.bytes + size)

        self._background.change(run_id, counted)

    def _change(self, run_id: str, **values: object) -> None:
        self._background.change(run_id, lambda state: replace(state, **values))  # type: ignore[arg-type]


def _told(state: RunState, written: RunState | None) -> RunState:
    """A run of this process, with what only the database tells of it."""
    if written is None or state.state != "running":
        return state
    return replace(state, expected_end=written.expected_end, cancel_by=written.cancel_by)


def _of_job(job: Job) -> RunState:
    """A run of another process, as the database tells of it."""
    return RunState(
        run_id=job.run_id,
        state="running",
        actor=job.actor,
        started_at=job.started_at,
        step=job.doing,
        steps_done=max(0, job.step - 1),
        steps_total=job.steps,
        units_done=job.done,
        units_total=job.total,
        unit=job.unit,
        rows=job.rows_done,
        bytes=job.bytes_done,
        expected_end=job.expected_end,
        heard_at=job.heartbeat_at,
        cancel_by=job.cancel_by,
    )
