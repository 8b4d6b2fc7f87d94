"""
The tasks of a plan, put together by policy and table: hundreds of partitions that are archived one by one are one line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.effect import touched
from cratedb_retention.model.plan import (
    DeleteRows,
    DropArchived,
    DropPartitions,
    FreezePartitions,
    MovePartitions,
    SnapshotPartition,
    Step,
    Task,
    ThawPartitions,
    pieces_of,
)
from cratedb_retention.model.rollup_steps import RollUp, SealWindows
from cratedb_retention.model.words import describe_pieces, summarize, summarize_archiving


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
            pieces = [piece for task in self.tasks for piece in pieces_of(task.steps[-1])]
            return summarize_archiving(self.tasks[0].steps, describe_pieces(last.columns, pieces), last.repository)
        together = replace(self.tasks[0], steps=tuple(map(_merge, zip(*(t.steps for t in self.tasks), strict=True))))
        return summarize(together)

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
        groups.setdefault((task.policy_id, task.table, *map(_alike, task.steps)), []).append(task)
    return [TaskGroup(tuple(group)) for group in groups.values()]


def _alike(step: Step) -> tuple[object, ...]:
    """What steps of one group have in common."""
    of = step.repository if isinstance(step, SnapshotPartition) else getattr(step, "rollup", None)
    return type(step), of


def _merge(steps: Sequence[Step]) -> Step:
    """One step in place of several of a kind, for its words."""
    first, last = steps[0], steps[-1]
    match first:
        case RollUp() | SealWindows():
            windows = [w for step in steps if isinstance(step, RollUp | SealWindows) for w in step.windows]
            return replace(first, windows=tuple(windows))
        case DropPartitions() | FreezePartitions() | ThawPartitions() | MovePartitions():
            return replace(first, pieces=tuple(piece for step in steps for piece in pieces_of(step)))
        case DeleteRows() if isinstance(last, DeleteRows):
            return replace(first, before=last.before)
        case _:
            return first


def _total(counts: Iterable[int | None]) -> int | None:
    found = list(counts)
    return None if None in found else sum(count or 0 for count in found)
