"""
What there is in the archive and how well it is, and what a restore would do, before anything is done.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cratedb_retention.engine.archive import SnapshotState
from cratedb_retention.engine.base import Engine
from cratedb_retention.execution.restoring import snapshot_words
from cratedb_retention.model.catalog import Selector, Table, TableName
from cratedb_retention.store.snapshots import SnapshotRecord

THERE = "the partition is there already; restore it beside the table, or delete it first"
_WORST_FIRST = ("missing", "incomplete", "damaged", "complete")
MISSING = "the snapshot is missing: its repository does not have it any more"


@dataclass(frozen=True)
class ArchiveLine:
    """
    A snapshot, and how well it is.

    :param state: What its repository says; None: it is gone.
    :param verified_at: When it was last read back by itself (aware); None: never, as far as the journal tells.
    :param error: What was wrong then; None: all was right.
    """

    record: SnapshotRecord
    state: SnapshotState | None
    verified_at: dt.datetime | None = None
    error: str | None = None

    @property
    def condition(self) -> str:
        """How well it is, in a word: ``missing``, ``incomplete``, ``damaged``, ``complete``."""
        if self.state is None:
            return "missing"
        if not self.state.complete:
            return "incomplete"
        return "damaged" if self.error else "complete"


def archive_lines(
    found: Iterable[tuple[SnapshotRecord, SnapshotState | None]], verified: Iterable[Mapping[str, Any]]
) -> list[ArchiveLine]:
    """
    Snapshots with what became of them, those with problems first.

    :param verified: Rows of the journal about snapshots that were verified, newest first.
    """
    latest: dict[str, Mapping[str, Any]] = {}
    for row in verified:
        latest.setdefault(row["message"], row)
    lines = []
    for record, state in found:
        read = latest.get(snapshot_words(record))
        lines.append(ArchiveLine(record, state, read["time"], read["error"]) if read else ArchiveLine(record, state))
    return sorted(lines, key=lambda line: _WORST_FIRST.index(line.condition))


@dataclass(frozen=True)
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
    What restoring snapshots would do, without doing any of it.

    :param into: Where they would go; None: into their own table.
    """
    states = engine.archive.states((r.archived.repository, r.archived.name) for r in records)
    found = [Restorable(record, into or record.archived.table, into is None) for record in records]
    tables = engine.read_catalog(_selectors(found)).tables
    there = {table.name: {partition.values for partition in table.partitions} for table in tables.values()}
    checked, coming = [], set()
    for item in found:
        archived = item.record.archived
        state = states.get((archived.repository, archived.name))
        refusal = _sick(state) or _there(item, tables.get(item.into), there.get(item.into, set()))
        if refusal is None and (item.into, archived.values) in coming:
            refusal = "another partition with the same values goes into that table as well"
        if refusal is None:
            coming.add((item.into, archived.values))
        checked.append(replace(item, refusal=refusal))
    return checked


def _selectors(found: Iterable[Restorable]) -> list[Selector]:
    """The tables that would be written to. DuckDB has to be told what divides one that does not say so."""
    wanted: dict[TableName, Selector] = {}
    for item in found:
        columns = item.record.archived.columns
        column = columns[0].name if len(columns) == 1 else None
        wanted.setdefault(item.into, Selector(item.into.schema, item.into.name, column))
    return list(wanted.values())


def _sick(state: SnapshotState | None) -> str | None:
    if state is None:
        return MISSING
    return None if state.complete else f"the snapshot is not complete: {state.detail}"


def _there(item: Restorable, table: Table | None, values: set[tuple[Any, ...]]) -> str | None:
    archived = item.record.archived
    if table is None:
        return None
    same = table.partitioned_by == tuple(column.name for column in archived.columns)
    return THERE if same and archived.values in values else None
