"""
What steps, tasks and plans do: in words, and added up; what of a plan makes data go, and which time it touches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.plan import (
    DropArchived,
    Plan,
    SnapshotPartition,
    Step,
    Task,
    VerifySnapshot,
    describe_pieces,
)
from cratedb_retention.model.policy import Verify
from cratedb_retention.model.rollup_steps import RollUp
from cratedb_retention.model.step import Kind
from cratedb_retention.model.words import plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """
    All tasks of one kind, added up.

    :param tables: The tables that they are about, sorted.
    :param rows: Rows concerned, as far as known.
    :param windows: Windows that are rolled up.
    :param exact: Whether the rows of all tasks are known.
    """

    kind: Kind
    tasks: int
    tables: tuple[TableName, ...]
    rows: int
    partitions: int
    windows: int
    exact: bool


def kind_of_task(task: Task) -> Kind:
    """What a task comes down to: what the last of its steps does that does something."""
    return next((step.does for step in reversed(task.steps) if step.does), Kind.OTHER)


def effects(plan: Plan) -> list[Effect]:
    """What a plan would do, one for each kind that it has, what deletes first."""
    by_kind: dict[Kind, list[Task]] = {}
    for task in plan.tasks:
        by_kind.setdefault(kind_of_task(task), []).append(task)
    return [_effect(kind, by_kind[kind]) for kind in Kind if kind in by_kind]


def _effect(kind: Kind, tasks: list[Task]) -> Effect:
    return Effect(
        kind=kind,
        tasks=len(tasks),
        tables=tuple(sorted({task.table for task in tasks})),
        rows=sum(task.rows or 0 for task in tasks),
        partitions=sum(task.partitions for task in tasks),
        windows=sum(len(step.windows) for task in tasks for step in task.steps if isinstance(step, RollUp)),
        exact=all(task.rows is not None for task in tasks),
    )


def summary(plan: Plan) -> str:
    """What a run would do, in one sentence: ``This run would delete 1,234 rows in 5 partitions of 2 tables.``"""
    found = [_words(effect) for effect in effects(plan)]
    return f"This run would {', '.join(found)}." if found else "Nothing is due: this run would change nothing."


def _words(effect: Effect) -> str:
    partitions, of = plural(effect.partitions, "partition"), f"of {plural(len(effect.tables), 'table')}"
    rows = plural(effect.rows, "row") if effect.exact else f"{effect.rows:,} or more rows" if effect.rows else "rows"
    match effect.kind:
        case Kind.DELETE:
            return f"delete {rows}{f' in {partitions}' if effect.partitions else ''} {of}"
        case Kind.ARCHIVE:
            return f"archive {partitions} {of}"
        case Kind.MOVE:
            return f"move {partitions} {of}"
        case Kind.ROLL_UP:
            return f"roll up {plural(effect.windows, 'window')} {of}"
        case Kind.OTHER:
            return f"do {plural(effect.tasks, 'smaller task')} for {plural(len(effect.tables), 'table')}"


def removing(plan: Plan) -> list[Effect]:
    """What makes data go from its table: what is deleted, and what is archived and then dropped."""
    return [effect for effect in effects(plan) if effect.kind in (Kind.DELETE, Kind.ARCHIVE)]


def touched(task: Task) -> tuple[int | None, int | None]:
    """
    The stretch of time [start, end) that a task touches (ms, UTC); None where it is open or not known.
    """
    stretches = [stretch for step in task.steps for stretch in step.stretches]
    starts = [start for start, _ in stretches if start is not None]
    ends = [end for _, end in stretches if end is not None]
    whole = len(stretches)
    return min(starts) if whole == len(starts) > 0 else None, max(ends) if whole == len(ends) > 0 else None


def next_due(plan: Plan) -> int | None:
    """When more is due (ms, UTC), if that is known."""
    return min((kept.next_due for kept in plan.kept if kept.next_due is not None), default=None)


def names(tables: Iterable[TableName], most: int = 10) -> str:
    """Tables in words, at most so many of them."""
    found = list(tables)
    more = f" and {plural(len(found) - most, 'more', 'more')}" if len(found) > most else ""
    return ", ".join(map(str, found[:most])) + more


@dataclass(frozen=True)
class TaskGroup:
    """Tasks of one policy on one table that do the same to different data, in the order of the plan; at least one."""

    tasks: tuple[Task, ...]

    @property
    def table(self) -> TableName:
        """Their table."""
        return self.tasks[0].table

    @property
    def policy_id(self) -> str | None:
        """Their policy; None for tidying up."""
        return self.tasks[0].policy_id

    @property
    def what(self) -> str:
        """What they do, in one phrase."""
        if len(self.tasks) == 1:
            return summarize(self.tasks[0])
        last = self.tasks[0].steps[-1]
        if isinstance(last, DropArchived):
            pieces = [piece for task in self.tasks for piece in task.steps[-1].about]
            return summarize_archiving(self.tasks[0].steps, describe_pieces(last.columns, pieces), last.repository)
        steps = tuple(steps[0].merged(steps) for steps in zip(*(t.steps for t in self.tasks), strict=True))
        return summarize(replace(self.tasks[0], steps=steps))

    @property
    def why(self) -> str:
        """Why they are due: the first and the last of them."""
        first, last = self.tasks[0].reason, self.tasks[-1].reason
        return first if first == last else f"first: {first}; last: {last}"

    @property
    def rows(self) -> int | None:
        """Rows concerned, if all are known."""
        return _total(task.rows for task in self.tasks)

    @property
    def size(self) -> int | None:
        """Bytes concerned, if all are known."""
        return _total(task.size for task in self.tasks)

    @property
    def partitions(self) -> int:
        """Partitions concerned."""
        return sum(task.partitions for task in self.tasks)

    @property
    def touched(self) -> tuple[int | None, int | None]:
        """The stretch of time that they touch, as :func:`touched` says it of each."""
        starts, ends = zip(*map(touched, self.tasks), strict=True)
        return None if None in starts else min(starts), None if None in ends else max(ends)


def group_tasks(tasks: Iterable[Task]) -> list[TaskGroup]:
    """Put tasks together, in the order in which the first of each group stands."""
    groups: dict[tuple[object, ...], list[Task]] = {}
    for task in tasks:
        groups.setdefault((task.policy_id, task.table, *((type(step), step.alike) for step in task.steps)), []).append(
            task
        )
    return [TaskGroup(tuple(group)) for group in groups.values()]


def _total(counts: Iterable[int | None]) -> int | None:
    found = list(counts)
    return None if None in found else sum(count or 0 for count in found)


def summarize(task: Task) -> str:
    """What a task does, in one phrase; its steps in full are what :meth:`BaseStep.describe` says."""
    if len(task.steps) == 1:
        return task.steps[0].describe()
    for step in task.steps:
        if isinstance(step, SnapshotPartition):
            return summarize_archiving(task.steps, describe_pieces(step.columns, [step.piece]), step.repository)
    return ", then ".join(step.describe() for step in task.steps)


def summarize_archiving(steps: Sequence[Step], what: str, repository: str) -> str:
    """
    The steps that archive in one phrase.

    :param what: The partitions, in words.
    """
    metadata = any(isinstance(step, VerifySnapshot) and step.verify is Verify.METADATA for step in steps)
    return f"archive {what} in {repository}, verify{' the metadata' if metadata else ''}, drop"
