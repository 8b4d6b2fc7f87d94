"""What stands in tables about snapshots, and about what would be done with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from cratedb_retention.execution.archive import Deletable
from cratedb_retention.execution.plan.preview import WORST_FIRST, ArchiveLine, Restorable
from cratedb_retention.model import words
from cratedb_retention.model.archive import SnapshotRecord, SnapshotStage
from cratedb_retention.ui.columns import Bit, Cell, Column, counted, sized, state
from cratedb_retention.ui.links import table_bit

Item = TypeVar("Item", bound=Restorable | Deletable)
_LINE = 24  # Characters of a partition that are not broken into lines.


def _condition(line: ArchiveLine) -> Cell:
    if line.state is None:
        return state("missing", "Its repository does not have it any more")
    if line.condition == "complete":
        return state("complete", line.state.detail)
    found = line.state.detail if line.condition == "incomplete" else line.record.damage
    return [state(line.condition), Bit(text=found or "")]


def _verified(line: ArchiveLine) -> Cell:
    record = line.record
    if record.verified_at is not None:
        failed = "failed " if record.damage else ""
        hint = record.damage or "It was read back, and was right"
        return Bit(text=f"{failed}{words.moment(record.verified_at)}", tone="date", hint=hint)
    if record.stage is SnapshotStage.CREATED:
        return Bit(text="not yet", tone="muted")
    hint = "It was checked before its partition was dropped, and not since"
    return Bit(text="when archived", tone="muted whole", hint=hint)


def _stage(line: ArchiveLine) -> Cell:
    """What became of its partition, and when."""
    stage, changed = line.record.stage, words.moment(line.record.changed_at)
    return Bit(text=f"{stage} {changed[:10]}", tone="date", hint=f"{stage.label} ({changed})")


def _ends(line: ArchiveLine) -> Bit:
    if line.ends is None:
        hint = "No run deletes it: see archive_period, or recoverable, of its policy"
        return Bit(text="never", tone="muted", hint=hint)
    undo = "" if line.record.recoverable_until is None else "; deleted, and can be brought back until then"
    return Bit(text=words.moment(line.ends)[:10], tone="date", hint=f"{words.moment(line.ends)}{undo}")


def _partition(record: SnapshotRecord) -> Bit:
    """A partition, in one line unless it has many columns."""
    text = record.archived.partition
    return Bit(text=text, tone="date" if len(text) <= _LINE else "")


def _mono(text: str) -> Bit:
    """A name, which may be cut."""
    return Bit(text=text, tone="mono brief", hint=text)


def _seconds(line: ArchiveLine) -> float | None:
    verified = line.record.verified_at
    return None if verified is None else verified.timestamp()


COLUMNS: Sequence[Column[ArchiveLine]] = (
    Column("State", _condition, lambda line: WORST_FIRST.index(line.condition)),
    Column(
        "Table",
        lambda line: replace(table_bit(line.record.archived.table), tone="whole"),
        lambda line: str(line.record.archived.table),
    ),
    Column("Partition", lambda line: _partition(line.record), lambda line: line.record.archived.start),
    counted("Rows", lambda line: line.record.archived.rows),
    sized(lambda line: line.record.archived.size),
    Column("Stage", _stage, lambda line: line.record.changed_at.timestamp()),
    Column("Verified", _verified, _seconds),
    Column("Ends", _ends, lambda line: line.ends),
    Column("Snapshot", lambda line: _mono(line.record.archived.name)),
    Column("Repository", lambda line: _mono(line.record.archived.repository)),
)


def _previewed(*more: Column[Item]) -> Sequence[Column[Item]]:
    """What would be done with a snapshot, or why not."""
    return (
        Column[Item](
            "Result", lambda item: [state("refused"), Bit(text=item.refusal)] if item.refusal else state("ready")
        ),
        Column[Item]("Table", lambda item: table_bit(item.record.archived.table)),
        Column[Item]("Partition", lambda item: _partition(item.record)),
        counted("Rows", lambda item: item.record.archived.rows),
        sized(lambda item: item.record.archived.size),
        *more,
    )


RESTORABLE: Sequence[Column[Restorable]] = _previewed(
    Column("Into", lambda item: str(item.into)),
    Column("From snapshot", lambda item: _mono(item.record.archived.name)),
)
DELETABLE: Sequence[Column[Deletable]] = _previewed(
    Column("Snapshot", lambda item: _mono(item.record.archived.name)),
)
