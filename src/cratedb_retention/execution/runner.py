"""
Runs a plan: the journal before and after each step, retries on lost connections, one failure never stops other tables.

Whatever kills the process, the next run ends in the same state (law 7): each step can be repeated, and what a step
leaves behind for the next one (a frozen partition, a snapshot) is noted before it is done.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from cratedb_retention.clock import Clock
from cratedb_retention.engine.base import Engine, StepResult
from cratedb_retention.errors import PartitionChanged, RetentionError
from cratedb_retention.execution.events import (
    Held,
    Observer,
    Report,
    RunEvent,
    RunFinished,
    RunStarted,
    StepFailed,
    StepFinished,
    StepProgressed,
    StepStarted,
    TaskSkipped,
)
from cratedb_retention.execution.guard import Guard
from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.execution.recorder import Recorder
from cratedb_retention.execution.retrying import retry
from cratedb_retention.execution.rolling import Roller
from cratedb_retention.model.catalog import TableName, Value
from cratedb_retention.model.plan import (
    DeleteRows,
    DropArchived,
    DropPartitions,
    FreezePartitions,
    MovePartitions,
    Piece,
    SnapshotPartition,
    Step,
    Task,
    ThawPartitions,
)
from cratedb_retention.model.rollup_steps import RollUp
from cratedb_retention.store.snapshots import SnapshotStage
from cratedb_retention.store.store import Store

T = TypeVar("T")
_REMOVES_OR_MOVES = (DropPartitions, DeleteRows, MovePartitions, DropArchived)


@dataclass
class _Run:
    """The state of one run."""

    prepared: Prepared
    report: Report
    recorder: Recorder
    guard: Guard
    roller: Roller
    total: int
    number: int = 0
    broken: set[tuple[str | None, TableName]] = field(default_factory=set)

    def count(self, **more: int) -> None:
        values = {name: getattr(self.report, name) + value for name, value in more.items()}
        self.report = replace(self.report, **values)


def _values(pieces: Iterable[Piece]) -> list[tuple[Value, ...]]:
    return [piece.partition.values for piece in pieces]


class Runner:
    """
    Runs plans.

    :param observers: Are told what happens.
    """

    def __init__(self, engine: Engine, store: Store, clock: Clock, observers: Iterable[Observer] = ()) -> None:
        self._engine, self._store, self._clock = engine, store, clock
        self._observers = tuple(observers)

    def run(self, prepared: Prepared, run_id: str | None = None) -> Report:
        """
        Do what the plan says.

        :param run_id: The run's identifier; None: made up.
        :raises ConnectionLost: if the database is gone for good, so that not even the journal can be written.
        """
        self._forget(prepared)
        run = self._begin(prepared, run_id or str(uuid.uuid4()))
        try:
            for task in prepared.plan.tasks:
                self._run_task(run, task)
        except BaseException as error:
            self._end_early(run, error)
            raise
        run.recorder.run_finished(run.report)
        self._tell(RunFinished(run.report))
        return run.report

    def _begin(self, prepared: Prepared, run_id: str) -> _Run:
        plan = prepared.plan
        journal = self._store.journal
        recorder = Recorder(lambda *e: self._retry(lambda: journal.write(*e)), journal.note, run_id, prepared)
        report = Report(run_id, held=len(plan.holds), problems=len(plan.problems))
        total = sum(len(task.steps) for task in plan.tasks)
        recorder.run_started()
        self._tell(RunStarted(run_id, plan))
        for hold in plan.holds:
            self._tell(Held(hold))
        roller = Roller(self._engine, self._store, prepared, run_id)
        return _Run(prepared, report, recorder, Guard(self._store, prepared), roller, total)

    def _forget(self, prepared: Prepared) -> None:
        """Tables that are gone took their frozen partitions with them."""
        for table, values in prepared.frozen:
            if table not in prepared.catalog.tables:
                self._store.freezes.remove(table, [values])

    def _end_early(self, run: _Run, error: BaseException) -> None:
        """Note why a run ended; where even that fails, the steps' own entries tell how far it was."""
        run.count(failed=1)
        with contextlib.suppress(RetentionError):
            run.recorder.run_finished(run.report, error)

    def _run_task(self, run: _Run, task: Task) -> None:
        """Do a task's steps in order; after a failure undo a freeze, and leave the rest."""
        if (task.policy_id, task.table) in run.broken:
            self._skip(run, task)
            return
        frozen: list[FreezePartitions] = []
        first = run.number + 1
        run.number += len(task.steps)
        number, step = first, task.steps[0]
        try:
            self._retry(lambda: run.guard.check(task))
            for number, step in enumerate(task.steps, first):
                if isinstance(step, FreezePartitions):
                    frozen.append(step)
                self._run_step(run, task, step, number)
        except RetentionError as error:
            self._undo(frozen)
            self._fail(run, task, step, number, error)
        except BaseException:
            self._undo(frozen)
            raise

    def _run_step(self, run: _Run, task: Task, step: Step, number: int) -> None:
        run.recorder.step_started(task, step, number)
        self._tell(StepStarted(task, step, number, run.total))
        started = self._clock.now()
        self._retry(lambda: self._announce(run, task, step))
        result = self._retry(lambda: self._perform(run, task, step))
        self._retry(lambda: self._remember(run, task, step, result))
        seconds = (self._clock.now() - started).total_seconds()
        run.recorder.step_finished(task, step, number, result, seconds)
        run.count(done=1)
        if isinstance(step, _REMOVES_OR_MOVES):
            run.count(partitions=result.partitions, rows=result.rows or 0, bytes=result.size or 0)
        self._tell(StepFinished(task, step, result, seconds))

    def _perform(self, run: _Run, task: Task, step: Step) -> StepResult:
        def perform(step: Step) -> StepResult:
            return self._engine.perform(step, lambda progress: self._tell(StepProgressed(step, progress)))

        return run.roller.roll_up(task, step, perform) if isinstance(step, RollUp) else perform(step)

    def _announce(self, run: _Run, task: Task, step: Step) -> None:
        """Note what must be known if the process is killed in the middle of a step."""
        run.roller.before(task, step)
        if isinstance(step, FreezePartitions):
            self._store.freezes.add(step, run.report.run_id)
        elif isinstance(step, DropArchived):
            self._store.snapshots.mark(step.repository, step.name, SnapshotStage.ARCHIVED)

    def _remember(self, run: _Run, task: Task, step: Step, result: StepResult) -> None:
        """Keep the store's own tables in step with what was done."""
        run.roller.after(task, step)
        snapshots, freezes = self._store.snapshots, self._store.freezes
        match step:
            case SnapshotPartition():
                policy = run.prepared.policies.get(task.policy_id or "")
                tags = policy.tags if policy else ()
                snapshots.record(step, result.rows, result.size, task.policy_id, tags, run.report.run_id)
            case DropArchived():
                freezes.remove(step.table, [step.piece.partition.values])
            case DropPartitions():
                noted = {values for table, values in run.prepared.frozen if table == step.table}
                noted.update(*(_values(s.pieces) for s in task.steps if isinstance(s, FreezePartitions)))
                gone = noted.intersection(_values(step.pieces))
                if gone:
                    freezes.remove(step.table, gone)
            case ThawPartitions():
                freezes.remove(step.table, _values(step.pieces))
            case _:
                pass

    def _fail(self, run: _Run, task: Task, step: Step, number: int, error: RetentionError) -> None:
        if isinstance(step, DropArchived):
            with contextlib.suppress(RetentionError):
                self._store.snapshots.mark(step.repository, step.name, SnapshotStage.CREATED)
        run.recorder.step_failed(task, step, number, error)
        deferred = isinstance(error, PartitionChanged)
        self._tell(StepFailed(task, step, str(error), deferred))
        if deferred:
            run.count(deferred=1)
            return
        run.broken.add((task.policy_id, task.table))
        run.count(failed=1)

    def _undo(self, frozen: Iterable[FreezePartitions]) -> None:
        """Thaw what a failed task froze. Where that fails too, the store still knows, and the next run does it."""
        for step in frozen:
            thaw = ThawPartitions(step.table, step.columns, step.pieces)
            try:
                self._engine.perform(thaw, lambda progress: None)
                self._store.freezes.remove(step.table, _values(step.pieces))
            except RetentionError:
                continue

    def _skip(self, run: _Run, task: Task) -> None:
        reason = "an earlier step of this policy failed on this table"
        run.number += len(task.steps)
        run.recorder.task_skipped(task, run.number, reason)
        run.count(skipped=1)
        self._tell(TaskSkipped(task, reason))

    def _tell(self, event: RunEvent) -> None:
        for observer in self._observers:
            observer(event)

    def _retry(self, work: Callable[[], T]) -> T:
        return retry(work, self._clock.sleep)
