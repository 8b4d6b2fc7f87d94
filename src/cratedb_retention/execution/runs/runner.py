"""
Executes one run: takes the leases of the plan, does its tasks, and releases the leases. The audit log is written before
and after each step, lost connections are retried, and one failure never stops other tables.

If the process is killed, the next run ends in the same state (law 7): each step can be repeated, and what a step leaves
for the next one (a frozen partition, a snapshot) is recorded before it is done.

A manual run takes leases right after planning; a scheduled one before, to complete its slots even if nothing is due.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TypeVar

from cratedb_retention.clock import Clock
from cratedb_retention.engine.archive import Snapshot
from cratedb_retention.engine.base import Engine
from cratedb_retention.engine.step import Progress, StepResult
from cratedb_retention.errors import ConnectionLost, LeaseLost, NotFound, PartitionChanged, RetentionError, RunEnded
from cratedb_retention.execution.archive import require_whole_restores, settle, supersede, tidy_copies
from cratedb_retention.execution.iceberg import Keys, Mirror
from cratedb_retention.execution.plan.preparing import Look, Prepared, Selection, check_preconditions, is_frozen
from cratedb_retention.execution.rollups.rolling import Roller
from cratedb_retention.execution.runs import events
from cratedb_retention.execution.runs.leasing import Heartbeat, Session
from cratedb_retention.execution.runs.recorder import Recorder, Results, outcome_of, outcomes_after
from cratedb_retention.execution.runs.retrying import retry
from cratedb_retention.model.archive import Archived, SnapshotRecord, SnapshotStage
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.catalog import Capabilities, TableName, Value
from cratedb_retention.model.plan.effect import total
from cratedb_retention.model.plan.plan import (
    Blocked,
    CompactPartitions,
    DeleteRows,
    DeleteSnapshot,
    DropArchived,
    DropPartitions,
    FreezePartitions,
    MovePartitions,
    SnapshotPartition,
    Step,
    Task,
    ThawPartitions,
    VerifySnapshot,
)
from cratedb_retention.model.plan.reasons import Why, failure
from cratedb_retention.model.policies.patterns import find_tables
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.rollups.rollup import RollUp, RollupStep, SealWindows
from cratedb_retention.model.runs import Report
from cratedb_retention.model.step import Piece
from cratedb_retention.model.time import from_ms
from cratedb_retention.planning.plan.strategies import keep_within
from cratedb_retention.planning.targets import Target
from cratedb_retention.store.archive import Dropper
from cratedb_retention.store.audit import Entry
from cratedb_retention.store.store import Store

T = TypeVar("T")
logger = logging.getLogger(__name__)
# Writes in progress when a partition is frozen may still complete; without a freeze, more may follow.
RENEWALS = 3


def carry_out(
    engine: Engine,
    store: Store,
    clock: Clock,
    session: Session,
    make_plan: Callable[[], Prepared],
    observers: Iterable[events.Observer] = (),
    mirror: Mirror | None = None,
) -> Report:
    """
    Execute a plan, except for policies whose leases another run holds.

    :param make_plan: Makes the plan, or returns an existing one.
    :param mirror: The Iceberg catalog that follows the archives.
    :raises Cancelled: if a user cancelled the run.
    :raises Stopped: if the process is stopping.
    :raises LeaseLost: if another run may have taken the leases.
    :raises ConnectionLost: if the database stays unreachable.
    """
    prepared = None if session.taken.won else make_plan()
    heartbeat = Heartbeat(session, store.jobs, clock)
    with ExitStack() as stack:
        if session.options.threads:
            stack.enter_context(heartbeat.beating())
        try:
            if prepared is None:
                prepared = _plan_under_leases(store, clock, session, make_plan)
                session = _with_leases(session, prepared, clock)
            else:
                session, prepared = _with_a_fresh_plan(session, prepared, make_plan, clock)
            left = list(_left_out(store, prepared, session))
            gone = {id(task) for each in left for task in each.tasks}
            tasks = tuple(task for task in prepared.plan.tasks if id(task) not in gone)
            prepared = replace(prepared, plan=replace(prepared.plan, tasks=tasks))
            concerned = {task.policy_id for task in tasks} | set(session.taken.won)
            session.tracker.about(policy for policy in prepared.policies.values() if policy.id in concerned)
            runner = Runner(engine, store, clock, session, prepared, observers, heartbeat, mirror)
            report = runner.run(left)
        except BaseException as error:
            heartbeat.finish(outcome_of(error))
            raise
        heartbeat.finish(Outcome.DONE if report.ok else Outcome.FAILED)
    return report


def _plan_under_leases(store: Store, clock: Clock, session: Session, make_plan: Callable[[], Prepared]) -> Prepared:
    """Make the plan. If that fails, release the leases, and record the reason in the audit log."""
    try:
        return make_plan()
    except BaseException as error:
        won, outcomes = session.taken.won, outcomes_after(error, session.taken.won)
        run_id = session.leases.run_id
        end = Entry(event=Event.RUN_FINISHED, outcome=Outcome.FAILED, why=failure(error), run_id=run_id)
        slots = [
            replace(end, event=Event.SLOT_FINISHED, outcome=outcome, policy_id=policy, slot=won[policy].slot)
            for policy, outcome in outcomes.items()
        ]
        try:
            session.leases.release(outcomes)
            store.journal.write(*slots, replace(end, message="no plan could be made"))
            results = Results(store.results, clock, run_id)
            results.count(*slots)
            results.keep()
        except RetentionError as another:
            logger.warning("leases were not released, or the audit log does not record it: %s", another)
        raise


def _with_a_fresh_plan(
    session: Session, prepared: Prepared, make_plan: Callable[[], Prepared], clock: Clock
) -> tuple[Session, Prepared]:
    """Take the leases of a plan. If another run finished a policy since, plan again, unless the plan was passed in."""
    while True:
        found = _with_leases(session, prepared, clock)
        if all(lease.holder is not None for lease in found.taken.refused.values()):
            return found, prepared
        another = make_plan()
        if another is prepared:
            return found, prepared
        retry(lambda: session.leases.release({}), clock.sleep)
        prepared = another


def _with_leases(session: Session, prepared: Prepared, clock: Clock) -> Session:
    """Take the missing leases; removing rows also needs that of the policy that rolls them up (law 3)."""
    own = {task.policy_id for task in prepared.plan.tasks}
    needed = {policy for task in prepared.plan.tasks for policy in _needed(task, prepared)}
    slots = dict.fromkeys(sorted(needed - set(session.taken.won)))
    taken = retry(lambda: session.leases.take(slots, prepared.leases), clock.sleep)
    aside = frozenset(policy for policy in taken.won if policy not in own)
    return replace(session, taken=session.taken.plus(taken, aside))


def _needed(task: Task, prepared: Prepared) -> set[str]:
    """The policies that no other run may run during a task."""
    known = prepared.facts.ledger.rollups
    seals = (step.rollup.table for step in task.steps if isinstance(step, SealWindows))
    policies = {task.policy_id, *(known[table].policy_id for table in seals if table in known)}
    if _hides(task):
        policies.update(_policies_on(task.table, prepared))
    return {policy for policy in policies if policy is not None and policy in prepared.policies}


def _hides(task: Task) -> bool:
    """Whether a task closes partitions for a moment: others that read or freeze them must not run meanwhile."""
    return any(isinstance(step, CompactPartitions) and step.compress for step in task.steps)


def _policies_on(table: TableName, prepared: Prepared) -> Iterator[str | None]:
    """The enabled policies on a table, and the one that it is a rollup of."""
    own, known = prepared.facts.catalog.capabilities, prepared.facts.ledger.rollups
    for policy in prepared.policies.values():
        if policy.enabled and find_tables(policy.table_schema, policy.table_name, [table], own):
            yield policy.id
    if table in known:
        yield known[table].policy_id


def _left_out(store: Store, prepared: Prepared, session: Session) -> Iterator[events.LeftOut]:
    """Tasks whose leases other runs hold. Tidying up waits until no other run is active, since it may have frozen."""
    by_policy: dict[tuple[str | None, str | None], list[Task]] = defaultdict(list)
    won, refused = session.taken.won, session.taken.refused
    for task in prepared.plan.tasks:
        missing = sorted(_needed(task, prepared) - set(won))
        if missing or task.policy_id not in won:
            by_policy[task.policy_id, missing[0] if missing else task.policy_id].append(task)
    for (policy, of), tasks in by_policy.items():
        if policy is not None:
            lease = refused.get(of or "")
            holder = (lease.holder if lease else None) or "another run"
            yield events.LeftOut(policy_id=policy, tasks=tuple(tasks), holder=holder, at=of)
        else:
            known = store.leases.read()
            holders = {lease.holder or "" for lease in known.by_policy.values() if not lease.is_free(known.now)}
            if others := sorted(holders - {session.leases.holder}):
                yield events.LeftOut(policy_id=None, tasks=tuple(tasks), holder=others[0])


def _attempt(what: str, work: Callable[[], object]) -> None:
    """Do something that must neither fail a run nor hide another error; if it fails, the next run repeats it."""
    try:
        work()
    except RetentionError as error:
        logger.warning("%s: %s", what, error)


def _values(pieces: Iterable[Piece]) -> list[tuple[Value, ...]]:
    return [piece.partition.values for piece in pieces]


class Runner:
    """Executes one plan. Errors of observers are logged, and do not affect the run."""

    def __init__(  # noqa: PLR0913 - all that a run works with
        self,
        engine: Engine,
        store: Store,
        clock: Clock,
        session: Session,
        prepared: Prepared,
        observers: Iterable[events.Observer],
        heartbeat: Heartbeat,
        mirror: Mirror | None = None,
    ) -> None:
        self._mirror = mirror
        self._engine, self._store, self._clock, self._prepared = engine, store, clock, prepared
        self._observers, self._heartbeat = tuple(observers), heartbeat
        self._tracker, self._leases, self._taken = session.tracker, session.leases, session.taken
        self._recorder = Recorder(store, clock, self._retry, self._leases.run_id, prepared, self._taken)
        self._roller = Roller(engine, store, prepared, self._leases.run_id)
        self._tasks, self._renewed = list(prepared.plan.tasks), Counter[int]()
        self._total, self._number = sum(len(task.steps) for task in prepared.plan.tasks), 0
        self._ended = {record.key: record.stage for record in prepared.facts.archives}
        self._broken: set[tuple[str | None, TableName]] = set()

    def run(self, left_out: Sequence[events.LeftOut] = ()) -> Report:
        """Execute the plan; ``left_out`` are the deferred tasks, for the audit log."""
        begun, plan = False, self._prepared.plan
        for policy, lease in self._taken.over.items():
            self._tell(events.TakenOver(policy, lease.holder or ""))
        try:
            self._forget()
            self._recorder.run_started(left_out)
            self._tell(events.RunStarted(self._leases.run_id, plan), *left_out)
            self._tell(*map(events.ActionBlocked, plan.blocked))
            begun = True
            if ending := {(each.repository, each.name) for each in _ending(plan.tasks)}:
                self._follow(ending)
            for position, task in enumerate(plan.tasks):
                self._run_task(position, task)
            self._follow()
            _attempt("ranges of sealed windows were not made", self._roller.pack)
            _attempt("cascades at rest were not recorded", lambda: self._store.rollups.rest(self._prepared.rests))
            outcomes = dict.fromkeys(self._taken.run, Outcome.DONE)
            for each in (each for each in plan.needs_attention if each.policy_id in outcomes):
                outcomes[each.policy_id or ""] = Outcome.NEEDS_ATTENTION
            outcomes |= dict.fromkeys(outcomes.keys() & set(self._tracker.report.failed_policies), Outcome.FAILED)
            self._recorder.begin()
            self._recorder.keep_results(outcomes)
            given = self._retry(lambda: self._leases.release(outcomes))
            self._recorder.slots_finished(given, outcomes)
            self._leases.check_released()
        except BaseException as error:
            if begun and not (self._recorder.is_cause(error) and self._recorder.lacks_start):
                self._end_early(error)
            else:
                _attempt("leases were not released", lambda: self._leases.release({}))
            raise
        report = self._tracker.report
        self._recorder.run_finished(report)
        self._tell(events.RunFinished(report))
        return report

    def _follow(self, ending: Keys = ()) -> None:
        """
        Bring the Iceberg catalog up to date: archives leave it before they are deleted, so that no program looks for
        their files, and enter it when their partitions were dropped. If that fails, the run goes on, and reports it.
        """
        prepared, own = self._prepared, self._prepared.facts.catalog.capabilities
        makers = {policy.id: policy for policy in prepared.policies.values() if policy.strategy.traits.archives}
        chosen = [each for each in makers.values() if each.enabled and prepared.selection.fits(each)]
        if self._mirror is None or not chosen:
            return
        archived = self._retry(self._store.snapshots.tables)
        tables = {task.table for task in prepared.plan.tasks if task.policy_id in makers}
        for policy in chosen:
            tables.update(find_tables(policy.table_schema, policy.table_name, archived, own))
        for found in self._mirror.update(tables, ending) if tables else ():
            if found.is_worth_telling:
                about = (policy.id or "" for policy in chosen if _archives(policy, found.table, own))
                told = replace(found, policies=tuple(about))
                self._recorder.mirrored(told)
                self._tell(told)

    def _forget(self) -> None:
        """Delete records of frozen partitions that no longer exist, also those that a killed run dropped."""
        prepared, tables, freezes = self._prepared, self._prepared.facts.catalog.tables, self._store.freezes
        if any(policy.archives for policy in prepared.policies.values()):
            settle(self._store, prepared.facts.catalog)
            tidy_copies(self._engine, self._store, self._taken.won)
        for table, values in prepared.facts.frozen:
            if table not in tables:
                freezes.remove(table, [values])
        for table, values in prepared.formerly_frozen:
            if not is_frozen(tables[table], values):
                freezes.remove(table, [values])

    def _end_early(self, error: BaseException) -> None:
        """Release leases, and record why the run ended; if that fails, the entries of its steps remain."""
        report, outcomes = self._tracker.report, outcomes_after(error, self._taken.run)
        if not isinstance(error, RunEnded):
            report = replace(report, failed=report.failed + 1)

        def release() -> None:
            self._recorder.slots_finished(self._leases.release(outcomes), outcomes)

        # If another run will repeat the slots, the end of this one is recorded first.
        note: Callable[[], None] = partial(self._recorder.run_finished, report, error)
        steps = [("the end of the run was not written", note), ("leases were not released", release)]
        _attempt("the results of the run were not stored", partial(self._recorder.keep_results, outcomes))
        for what, work in reversed(steps) if outcomes else steps:
            _attempt(what, work)
        if isinstance(error, RunEnded):
            self._tell(events.RunEndedEarly(report, str(error)))

    def _run_task(self, position: int, task: Task) -> None:
        first = self._number + 1
        self._number += len(task.steps)
        if (task.policy_id, task.table) in self._broken:
            reason = "an earlier step of this policy failed on this table"
            self._record(events.TaskSkipped(task, reason, self._number))
            return
        frozen: list[FreezePartitions] = []
        number, step = first, task.steps[0]
        try:
            self._retry(partial(check_preconditions, self._store, self._prepared, task))
            while number < first + len(task.steps):
                step = task.steps[number - first]
                self._retry(partial(self._heartbeat.before_step, task.policy_id))
                if isinstance(step, FreezePartitions):
                    frozen.append(step)
                try:
                    self._run_step(task, step, number)
                    number += 1
                except PartitionChanged:
                    renewed = self._retry(partial(self._renew, position, step, number - first))
                    if renewed is None:
                        raise
                    task = renewed
        except LeaseLost:
            raise  # Another run may have taken over frozen partitions, which are recorded.
        except BaseException as error:
            self._undo(frozen)
            if isinstance(error, RunEnded) or not isinstance(error, RetentionError) or self._recorder.is_cause(error):
                raise
            self._fail(task, step, number, error)

    def _run_step(self, task: Task, step: Step, number: int) -> None:
        self._record(events.StepStarted(task=task, step=step, number=number, total=self._total))
        started = self._clock.now()
        self._retry(lambda: self._announce(task, step))
        try:
            result = self._retry(lambda: self._perform(task, step))
        except RunEnded as error:
            self._recorder.step_ended(task, step, number, error)
            raise
        self._retry(lambda: self._remember(task, step, result))
        seconds = (self._clock.now() - started).total_seconds()
        self._record(events.StepFinished(task=task, step=step, number=number, result=result, seconds=seconds))

    def _perform(self, task: Task, step: Step) -> StepResult:
        def perform(step: Step) -> StepResult:
            def progressed(progress: Progress) -> None:
                self._tell(events.StepProgressed(step, progress))
                self._heartbeat.during_step()

            return self._engine.perform(step, progressed)

        return self._roller.roll_up(task, step, perform) if isinstance(step, RollUp) else perform(step)

    def _announce(self, task: Task, step: Step) -> None:
        """Record what the next run needs if the process is killed during a step."""
        self._roller.before(task, step)
        if isinstance(step, FreezePartitions):
            self._store.freezes.add(step, self._leases.run_id, self._roller.identity(step.table))
        elif isinstance(step, SnapshotPartition):
            require_whole_restores(self._engine, self._store, step)
        elif isinstance(step, DropArchived):
            self._claim(
                step, SnapshotStage.DROPPING, set(SnapshotStage) - {SnapshotStage.DELETING}, self._dropper(task)
            )
            supersede(self._engine, self._store, step)
        elif isinstance(step, DeleteSnapshot):
            planned = self._ended[step.archived.repository, step.archived.name]
            self._claim(
                step.archived, SnapshotStage.DELETING, {planned, SnapshotStage.ARCHIVED, SnapshotStage.DELETING}
            )

    def _dropper(self, task: Task) -> Dropper:
        policy, now = self._prepared.policies[task.policy_id or ""], self._clock.now()
        until = None if policy.recoverable is None else policy.recoverable.after(now, policy.zone)
        return Dropper(run_id=self._leases.run_id, policy_id=policy.id, tags=policy.tags, recoverable_until=until)

    def _claim(
        self, of: Snapshot, stage: SnapshotStage, among: Collection[SnapshotStage], dropper: Dropper | None = None
    ) -> None:
        """Record what is about to be done to a snapshot, so that at the same time nothing else is."""
        if not self._store.snapshots.claim(of.repository, of.name, stage, among, dropper):
            reason = "was restored, deleted or archived again since the plan was made"
            raise PartitionChanged(f"snapshot {of.repository}.{of.name}", reason, "plan again")

    def _remember(self, task: Task, step: Step, result: StepResult) -> None:
        self._roller.after(task, step)
        if isinstance(step, RollupStep):
            return
        snapshots, freezes = self._store.snapshots, self._store.freezes
        match step:
            case SnapshotPartition(piece=piece):
                dropper = self._dropper(task)
                archived = Archived(
                    repository=step.repository,
                    name=step.name,
                    table=step.table,
                    columns=step.columns,
                    values=piece.partition.values,
                    rows=result.rows,
                    start=piece.start,
                    end=piece.end,
                    size=result.size,
                )
                record = SnapshotRecord(
                    archived=archived,
                    stage=SnapshotStage.CREATED,
                    changed_at=self._clock.now(),
                    token=piece.partition.token,
                    identity=self._roller.identity(step.table),
                    **vars(dropper),
                )
                snapshots.add(record)
            case DropArchived():
                snapshots.mark(step.repository, step.name, SnapshotStage.ARCHIVED)
                freezes.remove(step.table, [step.piece.partition.values])
            case DropPartitions():
                noted = {values for table, values in self._prepared.facts.frozen if table == step.table}
                noted.update(*(_values(s.pieces) for s in task.steps if isinstance(s, FreezePartitions)))
                if gone := noted.intersection(_values(step.pieces)):
                    freezes.remove(step.table, gone)
            case DeleteSnapshot(archived=archived):
                snapshots.remove(archived.repository, archived.name)
            case ThawPartitions():
                freezes.remove(step.table, _values(step.pieces))
            case CompactPartitions():
                if step.read_only:  # Otherwise they are unfrozen next.
                    freezes.remove(step.table, _values(step.pieces))
            case FreezePartitions() | VerifySnapshot() | DeleteRows() | MovePartitions():
                pass

    def _fail(self, task: Task, step: Step, number: int, error: RetentionError) -> None:
        # Without a response, it is unknown whether the partition was dropped.
        if isinstance(step, DropArchived) and not isinstance(error, ConnectionLost):
            created = partial(self._store.snapshots.mark, step.repository, step.name, SnapshotStage.CREATED)
            _attempt("it was not recorded that the partition still exists", created)
        if isinstance(step, DeleteSnapshot) and not isinstance(error, ConnectionLost | PartitionChanged):
            key = (step.archived.repository, step.archived.name)
            back = partial(self._store.snapshots.mark, *key, self._ended[key])
            _attempt("it was not recorded that the archive still exists", back)
        failed = events.StepFailed(task=task, step=step, number=number, cause=error)
        self._record(failed)
        if not failed.deferred:
            self._broken.add((task.policy_id, task.table))

    def _undo(self, frozen: Iterable[FreezePartitions]) -> None:
        """Unfreeze the partitions of a failed task. If that fails as well, the next run does it."""

        def undo(step: FreezePartitions) -> None:
            thaw = ThawPartitions(table=step.table, columns=step.columns, pieces=step.pieces)
            self._engine.perform(thaw, lambda progress: None)
            self._store.freezes.remove(step.table, _values(step.pieces))

        for step in frozen:
            _attempt(f"partitions of {step.table} were not unfrozen", partial(undo, step))

    def _record(self, event: events.StepEvent) -> None:
        """Write an event to the audit log, then pass it to observers."""
        self._recorder.record(event)
        self._tell(event)

    def _tell(self, *happened: events.RunEvent) -> None:
        for event in happened:
            self._tracker(event)
            for observer in self._observers:
                try:
                    observer(event)
                except Exception:
                    logger.exception("an observer of run %s failed", self._leases.run_id)

    def _retry(self, work: Callable[[], T]) -> T:
        return retry(work, self._clock.sleep)

    def _renew(self, position: int, step: Step, done: int) -> Task | None:
        """
        Plan a task again if rows were written between plan and freeze, since no more can arrive now. Otherwise a
        partition that keeps getting old rows would be deferred by every run. None: the task is deferred. Raises
        PartitionChanged if its policy was changed, or a hold was placed.
        """
        task = self._tasks[position]
        if self._renewed[position] == RENEWALS or not _may_change(task, step, done):
            return None
        check_preconditions(self._store, self._prepared, task)
        accepted = self._prepared.selection.accepted
        cutoff, chosen = from_ms(self._prepared.plan.cutoff), Selection(policy_id=task.policy_id, accepted=accepted)
        try:
            again = Look(self._engine, self._store).prepare(cutoff, chosen, about=task.table)
        except NotFound:  # The policy was just deleted.
            return None
        found = _find(task, again.plan.tasks, done)
        if found is None:
            return None
        # Limits apply to all tasks of this policy and table, with the rows that arrived since.
        tasks = [found if i == position else each for i, each in enumerate(self._tasks)]
        own = [each for each in tasks if (each.policy_id, each.table) == (task.policy_id, task.table)]
        policy, table = self._prepared.policies[task.policy_id or ""], self._prepared.facts.catalog.tables[task.table]
        within = own if accepted else keep_within(Target(policy=policy, table=table), own)
        if any(isinstance(verdict, Blocked) for verdict in within):
            return None
        self._tasks[position] = found
        self._renewed[position] += 1
        return found


def _archives(policy: Policy, table: TableName | None, own: Capabilities) -> bool:
    """Whether the archives of a table may be those of a policy; None: those of any table."""
    return table is None or bool(find_tables(policy.table_schema, policy.table_name, [table], own))


def _ending(tasks: Iterable[Task]) -> Iterator[Archived]:
    """The archives that tasks delete."""
    return (step.archived for task in tasks for step in task.steps if isinstance(step, DeleteSnapshot))


def _may_change(task: Task, step: Step, done: int) -> bool:
    """
    Whether a step may process more rows than planned: nothing was done before it but freezing, and it depends only on
    the rows themselves. Windows that were rolled up have to be rolled up again first (law 3).
    """
    before, after = task.steps[:done], task.steps[done + 1 :]
    if not all(isinstance(each, FreezePartitions) for each in before):
        return False
    return isinstance(step, SnapshotPartition) or (isinstance(step, DropPartitions) and bool(before) and not after)


def _find(task: Task, planned: Iterable[Task], done: int) -> Task | None:
    """The same steps of a new plan for the partitions of a task; None if it differs otherwise."""
    fresh = [each for each in planned if (each.policy_id, each.table) == (task.policy_id, task.table)]
    last, wanted = task.steps[-1], _by_values(task.steps[-1])
    if isinstance(last, DropPartitions):
        known = {values: piece for each in fresh for values, piece in _by_values(each.steps[-1]).items()}
        if not wanted.keys() <= known.keys():
            return None
        pieces = tuple(known[values] for values in wanted)
        rows, size = total(p.partition.rows for p in pieces), total(p.partition.size for p in pieces)
        steps: tuple[Step, ...] = (replace(last, pieces=pieces),)
    else:
        same = next((each for each in fresh if _by_values(each.steps[-1]).keys() == wanted.keys()), None)
        if same is None:
            return None
        rows, size = same.rows, same.size
        steps = tuple(step for step in same.steps if not isinstance(step, FreezePartitions))
    if list(map(type, steps)) != list(map(type, task.steps[done:])):
        return None
    why = task.why if task.why.why is Why.RENEWED else Why.RENEWED(first=task.why)
    return replace(task, steps=(*task.steps[:done], *steps), rows=rows, size=size, why=why)


def _by_values(step: Step) -> dict[tuple[Value, ...], Piece]:
    return {piece.partition.values: piece for piece in step.about}
