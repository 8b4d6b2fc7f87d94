"""
Runs a plan: the journal before and after each step, retries on lost connections, one failure never stops other tables.

Whatever kills the process, the next run ends in the same state (law 7): each step can be repeated, and what a step
leaves behind for the next one (a frozen partition, a snapshot) is noted before it is done.
"""

from __future__ import annotations

import logging
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
from cratedb_retention.execution.heartbeat import Heartbeat
from cratedb_retention.execution.leasing import Session
from cratedb_retention.execution.preparing import Prepared, check_preconditions, is_frozen
from cratedb_retention.execution.recorder import Recorder, outcomes_after
from cratedb_retention.execution.renewing import Renewer
from cratedb_retention.execution.retrying import retry
from cratedb_retention.execution.rolling import Roller
from cratedb_retention.execution.superseding import settle, supersede, tidy_copies
from cratedb_retention.model.audit import Outcome
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
    VerifySnapshot,
)
from cratedb_retention.model.rollup import RollUp, RollupStep
from cratedb_retention.model.runs import Report
from cratedb_retention.store.snapshots import SnapshotStage
from cratedb_retention.store.store import Store

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class _Run:
    """The state of one run."""

    prepared: Prepared
    recorder: Recorder
    renewer: Renewer
    roller: Roller
    total: int
    number: int = 0
    broken: set[tuple[str | None, TableName]] = field(default_factory=set)


def _attempt(failure: str, work: Callable[[], object]) -> None:
    """Do what is tried once more by the next run if it fails now, while another error is on its way."""
    try:
        work()
    except RetentionError as error:
        logger.warning("%s: %s", failure, error)


def _values(pieces: Iterable[Piece]) -> list[tuple[Value, ...]]:
    return [piece.partition.values for piece in pieces]


class Runner:
    """
    Runs plans.

    :param session: The run; its leases are given back at the end.
    :param observers: Are told what happens. What goes wrong there is logged, and is no matter of the run.
    :param heartbeat: Is asked before each step, and while one goes on, whether the run may go on.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        clock: Clock,
        session: Session,
        observers: Iterable[Observer],
        heartbeat: Heartbeat,
    ) -> None:
        self._engine, self._store, self._clock = engine, store, clock
        self._observers, self._heartbeat = tuple(observers), heartbeat
        self._tracker, self._leases, self._taken = session.tracker, session.leases, session.taken

    def run(self, prepared: Prepared, left_out: Iterable[LeftOut] = ()) -> Report:
        """
        Do what the plan says.

        :param left_out: What is not in the plan any more, since others are at it.
        :raises RunEnded: if the heartbeat ended the run.
        :raises ConnectionLost: if the database is gone for good, so that not even the journal can be written.
        """
        run: _Run | None = None
        try:
            self._forget(prepared)
            run = self._begin(prepared, left_out)
            for task in prepared.plan.tasks:
                self._run_task(run, task)
            outcomes = self._outcomes(prepared)
            given = self._retry(lambda: self._leases.release(outcomes))
            run.recorder.slots_finished(given, outcomes)
            self._leases.check_released()
        except BaseException as error:
            self._end_early(run, error)
            raise
        report = self._tracker.report
        run.recorder.run_finished(report)
        self.tell(RunFinished(report))
        return report

    def _begin(self, prepared: Prepared, left_out: Iterable[LeftOut]) -> _Run:
        run_id, plan = self._leases.run_id, prepared.plan
        journal = self._store.journal
        recorder = Recorder(
            lambda *e, **how: self._retry(lambda: journal.write(*e, **how)), journal.note, run_id, prepared, self._taken
        )
        left_out = list(left_out)
        for left in left_out:
            recorder.left_out(left)
        recorder.run_started()
        self.tell(RunStarted(run_id, plan))
        for left in left_out:
            self.tell(left)
        for hold in plan.holds:
            self.tell(Held(hold))
        return _Run(
            prepared=prepared,
            recorder=recorder,
            renewer=Renewer(self._engine, self._store, prepared),
            roller=Roller(self._engine, self._store, prepared, run_id),
            total=sum(len(task.steps) for task in plan.tasks),
        )

    def _forget(self, prepared: Prepared) -> None:
        """Tables that are gone took their frozen partitions with them; a killed run may have dropped some as well."""
        if any(policy.strategy.traits.archives for policy in prepared.policies.values()):
            settle(self._store, prepared.catalog)
            tidy_copies(self._engine, self._store, self._taken.won)
        for table, values in prepared.frozen:
            if table not in prepared.catalog.tables:
                self._store.freezes.remove(table, [values])
        for name, values in prepared.formerly_frozen:
            if not is_frozen(prepared.catalog.tables[name], values):
                self._store.freezes.remove(name, [values])

    def _outcomes(self, prepared: Prepared) -> dict[str, Outcome]:
        """How the run ended for each policy."""
        problems = {hold.policy_id for hold in prepared.plan.problems}
        failed = set(self._tracker.report.failed_policies)
        return {
            policy: Outcome.FAILED if policy in failed else Outcome.PROBLEM if policy in problems else Outcome.DONE
            for policy in self._taken.run
        }

    def _end_early(self, run: _Run | None, error: BaseException) -> None:
        """Give leases back, and note why the run ended; where that fails, the steps' own entries tell how far it is."""
        if run is None:
            _attempt("leases were not given back", lambda: self._leases.release({}))
            return
        recorder, report, outcomes = run.recorder, self._tracker.report, outcomes_after(error, self._taken.run)
        if not isinstance(error, RunEnded):
            report = replace(report, failed=report.failed + 1)

        def release() -> None:
            given = self._leases.release(outcomes)
            recorder.slots_finished(given, outcomes)

        # What another run is to do again is in the journal before it can begin.
        note: Callable[[], None] = partial(recorder.run_finished, report, error)
        steps = [("the end of the run was not written", note), ("leases were not given back", release)]
        for failure, work in reversed(steps) if outcomes else steps:
            _attempt(failure, work)
        if isinstance(error, RunEnded):
            self.tell(RunEndedEarly(report, str(error)))

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
            self._retry(partial(check_preconditions, self._store, run.prepared, task))
            while number < first + len(task.steps):
                step = task.steps[number - first]
                self._retry(partial(self._heartbeat.before_step, task.policy_id))
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
        except BaseException as error:
            self._undo(frozen)
            if isinstance(error, RunEnded) or not isinstance(error, RetentionError):
                raise
            self._fail(run, task, step, number, error)

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
        self.tell(StepFinished(task=task, step=step, result=result, seconds=seconds))

    def _perform(self, run: _Run, task: Task, step: Step) -> StepResult:
        def perform(step: Step) -> StepResult:
            return self._engine.perform(step, lambda progress: self._progress(step, progress))

        return run.roller.roll_up(task, step, perform) if isinstance(step, RollUp) else perform(step)

    def _progress(self, step: Step, progress: Progress) -> None:
        self.tell(StepProgressed(step, progress))
        self._heartbeat.during_step()

    def _announce(self, run: _Run, task: Task, step: Step) -> None:
        """Note what must be known if the process is killed in the middle of a step."""
        run.roller.before(task, step)
        if isinstance(step, FreezePartitions):
            self._store.freezes.add(step, self._leases.run_id, run.roller.identity(step.table))
        elif isinstance(step, DropArchived):
            supersede(self._engine, self._store, step)
            self._store.snapshots.mark(step.repository, step.name, SnapshotStage.DROPPING)

    def _remember(self, run: _Run, task: Task, step: Step, result: StepResult) -> None:
        """Keep the store's own tables in step with what was done."""
        run.roller.after(task, step)
        if isinstance(step, RollupStep):
            return
        snapshots, freezes = self._store.snapshots, self._store.freezes
        match step:
            case SnapshotPartition():
                policy = run.prepared.policies.get(task.policy_id or "")
                tags = policy.tags if policy else ()
                identity = run.roller.identity(step.table)
                snapshots.record(step, result.rows, result.size, task.policy_id, tags, self._leases.run_id, identity)
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
            case FreezePartitions() | VerifySnapshot() | DeleteRows() | MovePartitions():
                pass

    def _fail(self, run: _Run, task: Task, step: Step, number: int, error: RetentionError) -> None:
        # Whether it was dropped is not known where no answer came.
        if isinstance(step, DropArchived) and not isinstance(error, ConnectionLost):
            created = partial(self._store.snapshots.mark, step.repository, step.name, SnapshotStage.CREATED)
            _attempt("it was not noted that the partition is still there", created)
        run.recorder.step_failed(task, step, number, error)
        deferred = isinstance(error, PartitionChanged)
        self.tell(StepFailed(task=task, step=step, error=str(error), deferred=deferred))
        if not deferred:
            run.broken.add((task.policy_id, task.table))

    def _undo(self, frozen: Iterable[FreezePartitions]) -> None:
        """Thaw what a failed task froze. Where that fails too, the store still knows, and the next run does it."""

        def undo(step: FreezePartitions) -> None:
            self._engine.perform(
                ThawPartitions(table=step.table, columns=step.columns, pieces=step.pieces), lambda progress: None
            )
            self._store.freezes.remove(step.table, _values(step.pieces))

        for step in frozen:
            _attempt(f"partitions of {step.table} were not thawed", partial(undo, step))

    def _skip(self, run: _Run, task: Task) -> None:
        reason = "an earlier step of this policy failed on this table"
        run.number += len(task.steps)
        run.recorder.task_skipped(task, run.number, reason)
        self.tell(TaskSkipped(task, reason))

    def tell(self, event: RunEvent) -> None:
        """Count what happened, and let observers hear."""
        self._tracker(event)
        for observer in self._observers:
            try:
                observer(event)
            except Exception:
                logger.exception("an observer of run %s failed", self._leases.run_id)

    def _retry(self, work: Callable[[], T]) -> T:
        return retry(work, self._clock.sleep)
