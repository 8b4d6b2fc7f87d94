"""
What a plan would do, added up and in one sentence; what of it makes data go, and which stretch of time it touches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.plan import (
    DeleteRows,
    DropArchived,
    DropPartitions,
    FreezePartitions,
    MovePartitions,
    Plan,
    SnapshotPartition,
    Step,
    Task,
    ThawPartitions,
    VerifySnapshot,
)
from cratedb_retention.model.rollup_steps import RollUp, SealWindows
from cratedb_retention.model.words import plural


class Kind(StrEnum):
    """What a task comes down to."""

    DELETE = "delete"
    ARCHIVE = "archive"
    MOVE = "move"
    ROLL_UP = "roll up"
    OTHER = "other"


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
    """What a task comes down to."""
    kinds = {type(step) for step in task.steps}
    if kinds & {SnapshotPartition, DropArchived}:
        return Kind.ARCHIVE
    if kinds & {DropPartitions, DeleteRows}:
        return Kind.DELETE
    if MovePartitions in kinds:
        return Kind.MOVE
    return Kind.ROLL_UP if RollUp in kinds else Kind.OTHER


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
    stretches = [stretch for step in task.steps for stretch in _stretches(step)]
    starts = [start for start, _ in stretches if start is not None]
    ends = [end for _, end in stretches if end is not None]
    whole = len(stretches)
    return min(starts) if whole == len(starts) > 0 else None, max(ends) if whole == len(ends) > 0 else None


def _stretches(step: Step) -> Iterator[tuple[int | None, int | None]]:
    match step:
        case DropPartitions() | MovePartitions() | ThawPartitions() | FreezePartitions():
            yield from ((piece.start, piece.end) for piece in step.pieces)
        case SnapshotPartition(piece=piece) | VerifySnapshot(piece=piece) | DropArchived(piece=piece):
            yield piece.start, piece.end
        case DeleteRows(since=since, before=before):
            yield since, before
        case RollUp(windows=windows) | SealWindows(windows=windows):
            yield from ((window.since, window.until) for window in windows)
        case _:
            return


def next_due(plan: Plan) -> int | None:
    """When more is due (ms, UTC), if that is known."""
    return min((kept.next_due for kept in plan.kept if kept.next_due is not None), default=None)


def names(tables: Iterable[TableName], most: int = 10) -> str:
    """Tables in words, at most so many of them."""
    found = list(tables)
    more = f" and {plural(len(found) - most, 'more', 'more')}" if len(found) > most else ""
    return ", ".join(map(str, found[:most])) + more
