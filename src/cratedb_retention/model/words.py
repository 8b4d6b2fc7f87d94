"""
Steps and partitions in words: the same in the plan, the journal and the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from cratedb_retention.model.catalog import Column, Kind, Value
from cratedb_retention.model.identifiers import is_made_up
from cratedb_retention.model.pairs import write_value
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
    Verify,
    VerifySnapshot,
)
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


def show_value(column: Column, value: Value) -> str:
    """A partition value for people: an instant as a date, NULL as NULL, and the text NULL in quotes."""
    if column.kind is Kind.TIME and isinstance(value, int):
        return show(value)
    return write_value(value)


def show_partition(columns: Sequence[Column], values: Sequence[Value]) -> str:
    """A partition for people: ``tenant=acme, month=2024-01-01``."""
    return ", ".join([f"{c.name}={show_value(c, v)}" for c, v in zip(columns, values, strict=True)])


def show_where(where: Sequence[tuple[Column, Value]]) -> str:
    """A filter for people: ``tenant=acme``."""
    return " and ".join(f"{column.name}={show_value(column, value)}" for column, value in where)


def plural(count: int, noun: str, several: str | None = None) -> str:
    """``1 partition``, ``1,200 partitions``."""
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"


def show_size(size: int | None) -> str:
    """Bytes for people: ``1.2 MiB``."""
    if size is None:
        return ""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return ""


def short(identifier: str | None) -> str:
    """The beginning of an identifier that was made up, which tells it from others; another one as it is."""
    text = identifier or ""
    return text[:8] if is_made_up(text) else text


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
    name = type(step).__name__
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
