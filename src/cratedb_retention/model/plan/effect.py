"""The effects of steps, tasks and plans: descriptions, totals, losses, and the affected time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.plan.plan import DeleteRows, DropArchived, Plan, SnapshotPartition, Task, VerifySnapshot
from cratedb_retention.model.policies.values import Verify
from cratedb_retention.model.rollups.rollup import RollUp, SealWindows
from cratedb_retention.model.step import Kind
from cratedb_retention.model.words import plural, show_where

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """The totals of several tasks."""

    tasks: int
    partitions: int
    windows: int
    rows: int | None  # None if unknown for any task that affects data; likewise the size in bytes.
    known_rows: int
    size: int | None
    start: int | None  # The affected time range (ms, UTC); None if open or unknown.
    end: int | None


def amount(tasks: Iterable[Task]) -> Amount:
    tasks = list(tasks)
    steps = [step for task in tasks for step in task.steps]
    stretches = [stretch for step in steps for stretch in step.stretches]
    starts, ends = [start for start, _ in stretches], [end for _, end in stretches]
    of_data = [task for task in tasks if task.kind is not Kind.OTHER] or tasks
    return Amount(
        tasks=len(tasks),
        partitions=sum(task.partitions for task in tasks),
        windows=sum(len(step.windows) for step in steps if isinstance(step, RollUp)),
        rows=total(task.rows for task in of_data),
        known_rows=sum(task.rows or 0 for task in tasks),
        size=total(task.size for task in of_data),
        start=None if None in starts else min((start for start in starts if start is not None), default=None),
        end=None if None in ends else max((end for end in ends if end is not None), default=None),
    )


def total(counts: Iterable[int | None]) -> int | None:
    """A sum; None if any summand is unknown."""
    found = list(counts)
    return None if None in found else sum(count or 0 for count in found)


@dataclass(frozen=True)
class TaskGroup:
    """A group of similar tasks, at least one, in the order of the plan."""

    tasks: tuple[Task, ...]

    @property
    def first(self) -> Task:
        return self.tasks[0]

    @property
    def tables(self) -> tuple[TableName, ...]:
        return tuple(sorted({task.table for task in self.tasks}))

    @property
    def what(self) -> str:
        """A description of tasks with the same effect."""
        steps = tuple(steps[0].merged(steps) for steps in zip(*(task.steps for task in self.tasks), strict=True))
        return summarize(replace(self.first, steps=steps))

    @property
    def why(self) -> str:
        """The reasons why the first and the last task are due."""
        first, last = self.first.reason, self.tasks[-1].reason
        return first if first == last else f"first: {first}; last: {last}"

    @cached_property
    def amount(self) -> Amount:
        return amount(self.tasks)


def _grouped(tasks: Iterable[Task], key: Callable[[Task], Key]) -> dict[Key, TaskGroup]:
    groups: dict[Key, list[Task]] = {}
    for task in tasks:
        groups.setdefault(key(task), []).append(task)
    return {value: TaskGroup(tuple(group)) for value, group in groups.items()}


def group_tasks(tasks: Iterable[Task]) -> list[TaskGroup]:
    """Group the tasks of one policy on one table that have the same effect on different data."""

    def alike(task: Task) -> tuple[object, ...]:
        return task.policy_id, task.table, *((type(step), step.alike) for step in task.steps)

    return list(_grouped(tasks, alike).values())


def _effects(plan: Plan) -> list[TaskGroup]:
    groups = _grouped(plan.tasks, lambda task: task.kind)
    return [groups[kind] for kind in Kind if kind in groups]


REMOVING = (Kind.DELETE, Kind.ARCHIVE, Kind.END_ARCHIVE)


def removing(plan: Plan) -> list[TaskGroup]:
    """The tasks that remove data: that delete it, archive and drop it, or delete archives of it."""
    return [effect for effect in _effects(plan) if effect.first.kind in REMOVING]


def summary(plan: Plan) -> str:
    """The effect of a plan in one sentence: ``This run would delete 1,234 rows in 5 partitions of 2 tables.``"""
    found = []
    for effect in _effects(plan):
        of, known, tables = effect.amount, effect.amount.known_rows, plural(len(effect.tables), "table")
        partitions = plural(of.partitions, "partition")
        rows = plural(known, "row") if of.rows is not None else f"{known:,} or more rows" if known else "rows"
        words = {
            Kind.DELETE: f"delete {rows}{f' in {partitions}' if of.partitions else ''} of {tables}",
            Kind.ARCHIVE: f"archive {partitions} of {tables}",
            Kind.MOVE: f"move {partitions} of {tables}",
            Kind.END_ARCHIVE: f"delete {plural(of.partitions, 'archive')} of {tables} for good",
            Kind.COMPACT: f"compact {partitions} of {tables}",
            Kind.ROLL_UP: f"roll up {plural(of.windows, 'window')} of {tables}",
            Kind.OTHER: f"do {plural(of.tasks, 'smaller task')} for {tables}",
        }
        found.append(words[effect.first.kind])
    return f"This run would {', '.join(found)}." if found else "Nothing is due: this run would change nothing."


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Data that is removed from a table, or from its archives."""

    table: str  # The table with the filter of its rows.
    archived: str  # The repository that contains the data; empty: none.
    rolled_up: bool
    amount: Amount
    of_archive: bool = False  # Whether it is an archive that is deleted.


def losses(tasks: Iterable[Task]) -> list[Loss]:

    def way(task: Task) -> tuple[str, str, bool, bool]:
        if task.kind is Kind.END_ARCHIVE:
            return str(task.table), "", False, True
        step = next(step for step in task.steps if step.expires)
        rows = step if isinstance(step, DeleteRows) else None
        table = f"{task.table} with {show_where(rows.where)}" if rows and rows.where else str(task.table)
        in_none = rows and rows.late and rows.late == rows.rows  # Late rows are in no rollup.
        rolled_up = any(isinstance(each, SealWindows) for each in task.steps) and not in_none
        return table, step.repository if isinstance(step, DropArchived) else "", rolled_up, False

    removing = (task for task in tasks if task.kind is Kind.END_ARCHIVE or any(step.expires for step in task.steps))
    return [
        Loss(table=table, archived=archived, rolled_up=rolled_up, amount=group.amount, of_archive=of_archive)
        for (table, archived, rolled_up, of_archive), group in _grouped(removing, way).items()
    ]


def names(tables: Iterable[TableName], most: int = 10) -> str:
    """A list of tables as text, shortened to a maximum number."""
    found = list(tables)
    more = f" and {plural(len(found) - most, 'more', 'more')}" if len(found) > most else ""
    return ", ".join(map(str, found[:most])) + more


def summarize(task: Task) -> str:
    """A short description of a task; :meth:`BaseStep.describe` describes each step completely."""
    archiving = next((step for step in task.steps if isinstance(step, SnapshotPartition)), None)
    if archiving is None or len(task.steps) == 1:
        return ", then ".join(step.describe() for step in task.steps)
    metadata = any(isinstance(step, VerifySnapshot) and step.verify is Verify.METADATA for step in task.steps)
    drop = f"drop{''.join(step.recovery for step in task.steps if isinstance(step, DropArchived))}"
    return f"archive {archiving.what} in {archiving.repository}, verify{' the metadata' if metadata else ''}, {drop}"
