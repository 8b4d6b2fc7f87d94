"""
What steps, tasks and plans do: in words, and added up; what of a plan makes data go, and which time it touches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import assert_never

from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.plan import (
    DeleteRows,
    DropArchived,
    DropPartitions,
    FreezePartitions,
    Hold,
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
class Amount:
    """
    How much some tasks are about.

    :param rows: None if those of any task are unknown; ``known_rows`` are all that are known.
    :param size: Bytes, likewise.
    :param start: From when on (ms, UTC) they touch data; None if open or not known. Likewise ``end``: until when.
    """

    tasks: int
    partitions: int
    windows: int
    rows: int | None
    known_rows: int
    size: int | None
    start: int | None
    end: int | None


def amount(tasks: Iterable[Task]) -> Amount:
    """How much tasks are about, added up."""
    tasks = list(tasks)
    steps = [step for task in tasks for step in task.steps]
    starts, ends = [], []
    for step in steps:
        found = list(_stretches(step))
        starts += [start for start, _ in found]
        ends += [end for _, end in found]
    return Amount(
        tasks=len(tasks),
        partitions=sum(task.partitions for task in tasks),
        windows=sum(len(step.windows) for step in steps if isinstance(step, RollUp)),
        rows=_total(task.rows for task in tasks),
        known_rows=sum(task.rows or 0 for task in tasks),
        size=_total(task.size for task in tasks),
        start=None if None in starts else min((start for start in starts if start is not None), default=None),
        end=None if None in ends else max((end for end in ends if end is not None), default=None),
    )


def _total(counts: Iterable[int | None]) -> int | None:
    found = list(counts)
    return None if None in found else sum(count or 0 for count in found)


def _stretches(step: Step) -> Iterator[tuple[int | None, int | None]]:
    """The stretches of time [start, end) whose data a step touches."""
    match step:
        case DeleteRows(since=since, before=before):
            yield since, before
        case RollUp(windows=windows):
            yield from ((window.since, window.until) for window in windows)
        case _:
            yield from ((piece.start, piece.end) for piece in pieces_of(step))


@dataclass(frozen=True, slots=True)
class Effect:
    """
    All tasks of one kind, added up.

    :param tables: The tables that they are about, sorted.
    """

    kind: Kind
    tables: tuple[TableName, ...]
    amount: Amount


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
    return [
        Effect(kind, tuple(sorted({task.table for task in by_kind[kind]})), amount(by_kind[kind]))
        for kind in Kind
        if kind in by_kind
    ]


def summary(plan: Plan) -> str:
    """What a run would do, in one sentence: ``This run would delete 1,234 rows in 5 partitions of 2 tables.``"""
    found = [_words(effect) for effect in effects(plan)]
    return f"This run would {', '.join(found)}." if found else "Nothing is due: this run would change nothing."


def _words(effect: Effect) -> str:
    of, known = effect.amount, effect.amount.known_rows
    partitions, tables = plural(of.partitions, "partition"), plural(len(effect.tables), "table")
    rows = plural(known, "row") if of.rows is not None else f"{known:,} or more rows" if known else "rows"
    match effect.kind:
        case Kind.DELETE:
            return f"delete {rows}{f' in {partitions}' if of.partitions else ''} of {tables}"
        case Kind.ARCHIVE:
            return f"archive {partitions} of {tables}"
        case Kind.MOVE:
            return f"move {partitions} of {tables}"
        case Kind.ROLL_UP:
            return f"roll up {plural(of.windows, 'window')} of {tables}"
        case Kind.OTHER:
            return f"do {plural(of.tasks, 'smaller task')} for {tables}"


def removing(plan: Plan) -> list[Effect]:
    """What makes data go from its table: what is deleted, and what is archived and then dropped."""
    return [effect for effect in effects(plan) if effect.kind in (Kind.DELETE, Kind.ARCHIVE)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """
    What leaves a table.

    :param table: The table, with the values that rows must have, in words.
    :param archived: The repository that it is in by then; empty: none.
    :param rolled_up: Whether it is rolled up before.
    """

    table: str
    archived: str
    rolled_up: bool
    amount: Amount


def losses(tasks: Iterable[Task]) -> list[Loss]:
    """What leaves tables, one for each table and way."""
    found: dict[tuple[str, str, bool], list[Task]] = {}
    for task in tasks:
        step = next((s for s in task.steps if isinstance(s, DropPartitions | DeleteRows | DropArchived)), None)
        if step is None:
            continue
        rows = step if isinstance(step, DeleteRows) else None
        where = f" with {show_where(rows.where)}" if rows and rows.where else ""
        archived = step.repository if isinstance(step, DropArchived) else ""
        # What came too late is in no rollup.
        rolled_up = any(isinstance(each, SealWindows) for each in task.steps) and not (
            rows and rows.late and rows.late == rows.rows
        )
        found.setdefault((f"{step.table}{where}", archived, rolled_up), []).append(task)
    return [
        Loss(table=table, archived=archived, rolled_up=rolled_up, amount=amount(of))
        for (table, archived, rolled_up), of in found.items()
    ]


def next_due(plan: Plan) -> int | None:
    """When more is due (ms, UTC), if that is known."""
    return min((kept.next_due for kept in plan.kept if kept.next_due is not None), default=None)


def names(tables: Iterable[TableName], most: int = 10) -> str:
    """Tables in words, at most so many of them."""
    found = list(tables)
    more = f" and {plural(len(found) - most, 'more', 'more')}" if len(found) > most else ""
    return ", ".join(map(str, found[:most])) + more


def concerned(hold: Hold) -> str:
    """Which partitions a hold is about, one a line."""
    if not hold.count:
        return "the table"
    more = [f"and {hold.count - len(hold.partitions):,} more"] if hold.count > len(hold.partitions) else []
    return "\n".join([*hold.partitions, *more]) if hold.partitions else plural(hold.count, "partition")


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

    @cached_property
    def amount(self) -> Amount:
        """How much they are about."""
        return amount(self.tasks)


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
