"""
Runs a plan: the journal before and after each step, retries on lost connections, one failure never stops other tables.

Whatever kills the process, the next run ends in the same state (law 7): each step can be repeated, and what a step
leaves behind for the next one (a frozen partition, a snapshot) is noted before it is done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from cratedb_retention.clock import Clock
from cratedb_retention.engine.base import Engine, Progress, StepResult
from cratedb_retention.errors import ConnectionLost, LeaseLost, PartitionChanged, RetentionError, RunEnded
from cratedb_retention.execution.events import (
    Held,
    LeftOut,
    Observer,
    Report,
    RunEndedEarly,
    RunEvent,
    RunFinished,
    RunStarted,
    StepFailed,
    StepFinished,
    StepProgressed,
    StepStarted,
    TaskSkipped,
)
from cratedb_retention.execution.gate import Gate
from cratedb_retention.execution.guard import Guard
from cratedb_retention.execution.leasing import LeaseHolder, Taken
from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.execution.recorder import Recorder, outcomes_after
from cratedb_retention.execution.renewing import Renewer
from cratedb_retention.execution.retrying import retry
from cratedb_retention.execution.rolling import Roller
from cratedb_retention.execution.superseding import settle, supersede, tidy_copies
from cratedb_retention.model.audit import Outcome
from cratedb_retention.model.catalog import TableName, Value
from cratedb_retention.model.plan import (
    REMOVES_OR_MOVES,
    DropArchived,
    DropPartitions,
    FreezePartitions,
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


@dataclass(kw_only=True)
class _Run:
    """The state of one run."""

    prepared: Prepared
    report: Report
    recorder: Recorder
    guard: Guard
    renewer: Renewer
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
    :param gate: Is asked before each step, and while one goes on.
    :param leases: Those of the run; given back at its end.
    :param taken: What came of taking them.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        clock: Clock,
        observers: Iterable[Observer],
        gate: Gate,
        leases: LeaseHolder,
        taken: Taken,
    ) -> None:
        self._engine, self._store, self._clock = engine, store, clock
        self._observers = tuple(observers)
        self._gate, self._leases, self._taken = gate, leases, taken

    def run(self, prepared: Prepared, left_out: Iterable[LeftOut] = ()) -> Report:
        """
        Do what the plan says.

        :param left_out: What is not in the plan any more, since others are at it.
        :raises RunEnded: if the gate ended the run.
        :raises ConnectionLost: if the database is gone for good, so that not even the journal can be written.
        """
        try:
            self._forget(prepared)
            run = self._begin(prepared, left_out)
        except BaseException:
            with contextlib.suppress(RetentionError):
                self._leases.release({})
            raise
        try:
            for task in prepared.plan.tasks:
                self._run_task(run, task)
            outcomes = self._outcomes(run)
            given = self._retry(lambda: self._leases.release(outcomes))
            run.recorder.slots_finished(given, outcomes)
            self._leases.check_released()
        except BaseException as error:
            self._end_early(run, error)
            raise
        run.recorder.run_finished(run.report)
        self.tell(RunFinished(run.report))
        return run.report

    def _begin(self, prepared: Prepared, left_out: Iterable[LeftOut]) -> _Run:
        run_id, plan = self._leases.run_id, prepared.plan
        journal = self._store.journal
        recorder = Recorder(
            lambda *e: self._retry(lambda: journal.write(*e)), journal.note, run_id, prepared, self._taken
        )
        left_out = list(left_out)
        deferred = sum(len(left.tasks) for left in left_out)
        report = Report(run_id=run_id, held=len(plan.holds), problems=len(plan.problems), deferred=deferred)
        total = sum(len(task.steps) for task in plan.tasks)
        for left in left_out:
            recorder.left_out(left)
        recorder.run_started()
        self.tell(RunStarted(run_id, plan))
        for left in left_out:
            self.tell(left)
        for hold in plan.holds:
            self.tell(Held(hold))
        guard, roller = Guard(self._store, prepared), Roller(self._engine, self._store, prepared, run_id)
        return _Run(
            prepared=prepared,
            report=report,
            recorder=recorder,
            guard=guard,
            renewer=Renewer(self._engine, self._store, prepared, guard),
            roller=roller,
            total=total,
        )

    def _forget(self, prepared: Prepared) -> None:
        """Tables that are gone took their frozen partitions with them; a killed run may have dropped some as well."""
        if any(policy.strategy.traits.archives for policy in prepared.policies.values()):
            settle(self._store, prepared.catalog)
            tidy_copies(self._engine, self._store, self._taken.won)
        for table, values in prepared.frozen:
            if table not in prepared.catalog.tables:
                self._store.freezes.remove(table, [values])

    def _outcomes(self, run: _Run) -> dict[str, Outcome]:
        """How the run ended for each policy."""
        problems = {hold.policy_id for hold in run.prepared.plan.problems}
        failed = set(run.report.failed_policies)
        return {
            policy: Outcome.FAILED if policy in failed else Outcome.PROBLEM if policy in problems else Outcome.DONE
            for policy in self._taken.run
        }

    def _end_early(self, run: _Run, error: BaseException) -> None:
        """Give leases back, and note why the run ended; where that fails, the steps' own entries tell how far it is."""
        outcomes = outcomes_after(error, self._taken.run)
        if not isinstance(error, RunEnded):
            run.count(failed=1)

        def release() -> None:
            given = self._leases.release(outcomes)
            run.recorder.slots_finished(given, outcomes)

        # What another run is to do again is in the journal before it can begin.
        note = partial(run.recorder.run_finished, run.report, error)
        for work in (release, note) if outcomes else (note, release):
            with contextlib.suppress(RetentionError):
                work()
        if isinstance(error, RunEnded):
            self.tell(RunEndedEarly(run.report, str(error)))

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
            self._retry(partial(run.guard.check, task))
            while number < first + len(task.steps):
                step = task.steps[number - first]
                self._retry(partial(self._gate.before_step, task))
                if isinstance(step, FreezePartitions):
                    frozen.append(step)
                try:
                    self._run_step(run, task, step, number)
                except PartitionChanged:
                    renewed = self._retry(partial(run.renewer.renew, task, step, number - first))
                    if renewed is None:
                        raise
                    task = renewed
                else:
                    number += 1
        except LeaseLost:
            raise  # What is frozen may be another one's by now; the store knows of it.
        except RunEnded:
            self._undo(frozen)
            raise
        except RetentionError as error:
            self._undo(frozen)
            self._fail(run, task, step, number, error)
        except BaseException:
            self._undo(frozen)
            raise

    def _run_step(self, run: _Run, task: Task, step: Step, number: int) -> None:
        run.recorder.step_started(task, step, number)
        self.tell(StepStarted(task=task, step=step, number=number, total=run.total))
        started = self._clock.now()
        self._retry(lambda: self._announce(run, task, step))
        try:
            result = self._retry(lambda: self._perform(run, task, step))
        except RunEnded as error:
            run.recorder.step_ended(task, step, number, error)
            raise
        self._retry(lambda: self._remember(run, task, step, result))
        seconds = (self._clock.now() - started).total_seconds()
        run.recorder.step_finished(task, step, number, result, seconds)
        run.count(done=1)
        if isinstance(step, REMOVES_OR_MOVES):
            run.count(partitions=result.partitions, rows=result.rows or 0, bytes=result.size or 0)
        self.tell(StepFinished(task=task, step=step, result=result, seconds=seconds))

    def _perform(self, run: _Run, task: Task, step: Step) -> StepResult:
        def perform(step: Step) -> StepResult:
            return self._engine.perform(step, lambda progress: self._progress(step, progress))

        return run.roller.roll_up(task, step, perform) if isinstance(step, RollUp) else perform(step)

    def _progress(self, step: Step, progress: Progress) -> None:
        self.tell(StepProgressed(step, progress))
        self._gate.during_step()

    def _announce(self, run: _Run, task: Task, step: Step) -> None:
        """Note what must be known if the process is killed in the middle of a step."""
        run.roller.before(task, step)
        if isinstance(step, FreezePartitions):
            self._store.freezes.add(step, run.report.run_id)
        elif isinstance(step, DropArchived):
            supersede(self._engine, self._store, step)
            self._store.snapshots.mark(step.repository, step.name, SnapshotStage.DROPPING)

    def _remember(self, run: _Run, task: Task, step: Step, result: StepResult) -> None:
        """Keep the store's own tables in step with what was done."""
        run.roller.after(task, step)
        snapshots, freezes = self._store.snapshots, self._store.freezes
        match step:
            case SnapshotPartition():
                policy = run.prepared.policies.get(task.policy_id or "")
                tags = policy.tags if policy else ()
                identity = run.roller.identity(step.table)
                snapshots.record(step, result.rows, result.size, task.policy_id, tags, run.report.run_id, identity)
            case DropArchived():
                snapshots.mark(step.repository, step.name, SnapshotStage.ARCHIVED)
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
        # Whether it was dropped is not known where no answer came.
        if isinstance(step, DropArchived) and not isinstance(error, ConnectionLost):
            with contextlib.suppress(RetentionError):
                self._store.snapshots.mark(step.repository, step.name, SnapshotStage.CREATED)
        run.recorder.step_failed(task, step, number, error)
        deferred = isinstance(error, PartitionChanged)
        self.tell(StepFailed(task=task, step=step, error=str(error), deferred=deferred))
        if deferred:
            run.count(deferred=1)
            return
        run.broken.add((task.policy_id, task.table))
        failed = dict.fromkeys((*run.report.failed_policies, *([task.policy_id] if task.policy_id else [])))
        run.report = replace(run.report, failed=run.report.failed + 1, failed_policies=tuple(failed))

    def _undo(self, frozen: Iterable[FreezePartitions]) -> None:
        """Thaw what a failed task froze. Where that fails too, the store still knows, and the next run does it."""
        for step in frozen:
            thaw = ThawPartitions(table=step.table, columns=step.columns, pieces=step.pieces)
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
        self.tell(TaskSkipped(task, reason))

    def tell(self, event: RunEvent) -> None:
        """Let observers hear."""
        for observer in self._observers:
            observer(event)

    def _retry(self, work: Callable[[], T]) -> T:
        return retry(work, self._clock.sleep)
