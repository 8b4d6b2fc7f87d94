"""
What steps, tasks and plans do: in words, and added up; what of a plan makes data go, and which time it touches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.plan import (
    DeleteRows,
    DropArchived,
    DropPartitions,
    FreezePartitions,
    MovePartitions,
    Piece,
    Plan,
    SnapshotPartition,
    Step,
    Task,
    ThawPartitions,
    VerifySnapshot,
    pieces_of,
)
from cratedb_retention.model.policy import Verify
from cratedb_retention.model.rollup import Rollup, Window
from cratedb_retention.model.rollup_steps import (
    AlterRollup,
    CreateRollup,
    RebaseRollup,
    ReplaceView,
    RollUp,
    RollupStep,
    SealWindows,
)
from cratedb_retention.model.time import show
from cratedb_retention.model.words import plural, show_partition, show_where


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


def describe_pieces(columns: Sequence[Column], pieces: Sequence[Piece]) -> str:
    """One partition by its values; several by their number, the first and the last."""
    if len(pieces) == 1:
        return f"partition {show_partition(columns, pieces[0].partition.values)}"
    first, last = (show_partition(columns, pieces[i].partition.values) for i in (0, -1))
    return f"{len(pieces):,} partitions, {first} to {last}"


def _windows(windows: Sequence[Window]) -> str:
    return plural(len(windows), "window")


def _stretch(windows: Sequence[Window]) -> str:
    return f"{show(windows[0].since)} to {show(windows[-1].until)}"


def _columns(rollup: Rollup) -> str:
    dimensions = ", ".join(column.name for column in rollup.dimensions) or "none"
    metrics = ", ".join(metric.column.name for metric in rollup.metrics) or "none"
    return f"dimensions: {dimensions}; metrics: {metrics}"


def _describe_rollup(step: RollupStep) -> str:
    match step:
        case CreateRollup(rollup=rollup, left_out=names):
            left_out = f"; left out: {', '.join(names)}" if names else ""
            return f"create {rollup.table.name} ({_columns(rollup)}{left_out})"
        case AlterRollup(rollup=rollup, columns=names):
            return f"add {', '.join(names)} to {rollup.table.name}"
        case RebaseRollup(rollup=rollup, before=before):
            kept = f", and keep what is before {show(before)} as it is" if before else ""
            return f"compute {rollup.table.name} from {rollup.beneath.name} from now on{kept}"
        case RollUp(rollup=rollup, windows=windows):
            return f"roll up {_windows(windows)} of {rollup.table.name}, {_stretch(windows)}"
        case SealWindows(rollup=rollup, windows=windows):
            return f"seal {_windows(windows)} of {rollup.table.name}, {_stretch(windows)}"
        case ReplaceView(view=view):
            return f"renew the view {view.name}"
        case _:
            assert_never(step)


def _describe_rows(step: DeleteRows) -> str:
    since = "" if step.since is None else f"from {show(step.since)} and "
    text = f"delete rows with {step.time_column.name} {since}before {show(step.before)}"
    text += f", {show_where(step.where)}" if step.where else ""
    return text + (f", except those under {plural(len(step.spared), 'hold')}" if step.spared else "")


def describe(step: Step) -> str:
    """What a step does, in words, beginning with a verb."""
    match step:
        case DropPartitions(columns=columns, pieces=pieces):
            return f"drop {describe_pieces(columns, pieces)}"
        case DeleteRows():
            return _describe_rows(step)
        case MovePartitions(columns=columns, pieces=pieces, attribute=attribute, value=value):
            return f"move {describe_pieces(columns, pieces)} to nodes with {attribute}={value}"
        case FreezePartitions(columns=columns, pieces=pieces):
            return f"freeze {describe_pieces(columns, pieces)}"
        case ThawPartitions(columns=columns, pieces=pieces):
            return f"thaw {describe_pieces(columns, pieces)}"
        case SnapshotPartition(columns=columns, piece=piece, repository=repository, name=name):
            return f"archive {describe_pieces(columns, [piece])} as {name} in {repository}"
        case VerifySnapshot(name=name, repository=repository, verify=Verify.METADATA):
            return f"verify the metadata of snapshot {name} in {repository}"
        case VerifySnapshot(name=name, repository=repository):
            return f"verify snapshot {name} in {repository} by reading it back"
        case DropArchived(columns=columns, piece=piece):
            return f"drop archived {describe_pieces(columns, [piece])}"
        case CreateRollup() | AlterRollup() | RebaseRollup() | RollUp() | SealWindows() | ReplaceView():
            return _describe_rollup(step)
        case _:
            assert_never(step)


def summarize(task: Task) -> str:
    """What a task does, in one phrase; its steps in full are what :func:`describe` says."""
    if len(task.steps) == 1:
        return describe(task.steps[0])
    for step in task.steps:
        if isinstance(step, SnapshotPartition):
            return summarize_archiving(task.steps, describe_pieces(step.columns, [step.piece]), step.repository)
    return ", then ".join(describe(step) for step in task.steps)


def summarize_archiving(steps: Sequence[Step], what: str, repository: str) -> str:
    """
    The steps that archive in one phrase.

    :param what: The partitions, in words.
    """
    metadata = any(isinstance(step, VerifySnapshot) and step.verify is Verify.METADATA for step in steps)
    return f"archive {what} in {repository}, verify{' the metadata' if metadata else ''}, drop"


def kind_of(step: Step) -> str:
    """A step's name in the journal: ``drop_partitions``."""
    return operation(type(step))


def operation(kind: type[Step]) -> str:
    """The name of a kind of step in the journal."""
    name = kind.__name__
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
