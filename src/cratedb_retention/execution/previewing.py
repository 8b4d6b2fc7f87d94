"""
What there is in the archive and how well it is, and what a restore would do, before anything is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cratedb_retention.engine.archive import Archived, SnapshotState
from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import RetentionError
from cratedb_retention.execution.archive import by_partition, is_own, refusal
from cratedb_retention.model.catalog import Selector, Table, TableName
from cratedb_retention.store.archive import SnapshotRecord

THERE = "the partition is there already; restore it beside the table, or delete it first"
_WORST_FIRST = ("missing", "incomplete", "damaged", "complete")
MISSING = "the snapshot is missing: its repository does not have it any more"


@dataclass(frozen=True, kw_only=True)
class ArchiveLine:
    """
    A snapshot, and how well it is.

    :param state: What its repository says; None: it is gone.
    """

    record: SnapshotRecord
    state: SnapshotState | None

    @property
    def condition(self) -> str:
        """How well it is, in a word: ``missing``, ``incomplete``, ``damaged``, ``complete``."""
        if self.state is None:
            return "missing"
        if not self.state.complete:
            return "incomplete"
        return "damaged" if self.record.damage else "complete"


def archive_lines(found: Iterable[tuple[SnapshotRecord, SnapshotState | None]]) -> list[ArchiveLine]:
    """Snapshots with how well they are, those with problems first."""
    lines = [ArchiveLine(record=record, state=state) for record, state in found]
    return sorted(lines, key=lambda line: _WORST_FIRST.index(line.condition))


@dataclass(frozen=True, kw_only=True)
class Restorable:
    """
    What a restore would do with one snapshot.

    :param into: The table that it would go into.
    :param held: Whether it would be on hold from then on.
    :param refusal: Why it would not come back; None: nothing is known to stand against it.
    """

    record: SnapshotRecord
    into: TableName
    held: bool
    refusal: str | None = None


def preview_restore(engine: Engine, records: Sequence[SnapshotRecord], into: TableName | None) -> list[Restorable]:
    """
    What restoring snapshots would do, without doing any of it. Those of a partition come back together, or not at all.

    :param into: Where they would go; None: into their own table.
    """
    states = engine.archive.states(record.key for record in records)
    groups = by_partition(records)
    own = [is_own(engine, group[0], into) for group in groups]
    targets = [
        group[0].archived.table if mine or into is None else into for group, mine in zip(groups, own, strict=True)
    ]
    tables = engine.read_catalog(_selectors(zip(groups, targets, strict=True))).tables
    there = {table.name: {partition.values for partition in table.partitions} for table in tables.values()}
    every = [record.archived for record in records]
    checked, coming = [], set()
    for group, target, mine in zip(groups, targets, own, strict=True):
        archived = [record.archived for record in group]
        place = (target, archived[0].values)
        why_not = (
            next(filter(None, (_sick(states.get(record.key)) for record in group)), None)
            or refusal(group, mine, tables.get(target))
            or _there(archived[0], tables.get(target), there.get(target, set()))
            or ("another partition with the same values goes into that table as well" if place in coming else None)
            or _would_fail(engine, archived, target, every)
        )
        if why_not is None:
            coming.add(place)
        checked += [Restorable(record=record, into=target, held=mine, refusal=why_not) for record in group]
    return checked


def _would_fail(engine: Engine, archived: Sequence[Archived], into: TableName, every: Sequence[Archived]) -> str | None:
    try:
        engine.archive.render_restore(archived, into, every)
    except RetentionError as error:
        return str(error)
    return None


def _selectors(found: Iterable[tuple[Sequence[SnapshotRecord], TableName]]) -> list[Selector]:
    """The tables that would be written to. DuckDB has to be told what divides one that does not say so."""
    wanted: dict[TableName, Selector] = {}
    for group, target in found:
        columns = group[0].archived.columns
        column = columns[0].name if len(columns) == 1 else None
        wanted.setdefault(target, Selector(schema=target.schema, name=target.name, partition_column=column))
    return list(wanted.values())


def _sick(state: SnapshotState | None) -> str | None:
    if state is None:
        return MISSING
    return None if state.complete else f"the snapshot is not complete: {state.detail}"


def _there(archived: Archived, table: Table | None, values: set[tuple[Any, ...]]) -> str | None:
    if table is None:
        return None
    same = table.partitioned_by == tuple(column.name for column in archived.columns)
    return THERE if same and archived.values in values else None
