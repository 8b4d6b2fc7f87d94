"""
Tables that are alike: for the planner, they differ in nothing but their names and their numbers of rows. What happens
to one of them happens to the others on the same days, so that a thousand cascades by one policy are planned once. In
doubt, tables are not alike.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

from cratedb_retention.model.catalog import Partition, TableName
from cratedb_retention.model.plan.plan import DeleteSnapshot, PartitionsStep, Step
from cratedb_retention.model.rollups.ledger import Ledger
from cratedb_retention.model.rollups.rollup import CreateRollup, Rollup
from cratedb_retention.model.time import EVER, TimeRanges
from cratedb_retention.planning.forecast.present import windows_of
from cratedb_retention.planning.forecast.tables import GrowingTable

_NAMELESS = TableName("", "")


def describe_tables(source: TableName, tables: Sequence[GrowingTable], ledger: Ledger) -> Hashable | None:
    """What the planner sees of a table and its levels, without names and numbers; None if it depends on these."""
    spans = {table.name: [time for values in table.parts if (time := table.time_of(values))] for table in tables}
    if any(table.days is not None or len(spans[table.name]) < len(table.parts) for table in tables):
        return None
    since = min((time.start for times in spans.values() for time in times), default=EVER.end)
    found: list[Hashable] = []
    for known in ledger.of_source(source):
        rollup, rows = known.rollup, list(windows_of(ledger, known.rollup.table))
        sealed = TimeRanges(row.time for row in rows if row.sealed)
        if any(sealed.overlapping(time) for time in spans.get(rollup.below, ())):
            return None  # Late rows, or a run that was killed.
        still_open = frozenset(
            (row.start, row.end, row.until, row.whole, row.expired)
            for row in rows
            if not row.sealed and row.end > since
        )
        same = known.identity == next((table.table.identity for table in tables if table.name == source), "")
        past = sealed.joined() & [(since, EVER.end)]
        found.append((_nameless(rollup, source), known.gone and max(known.gone, since), still_open, past, same))
    return frozenset(found), frozenset((_suffix(table.name, source), _describe(table)) for table in tables)


def _describe(table: GrowingTable) -> Hashable:
    known = table.table
    definition = (tuple(known.columns.values()), known.partitioned_by, known.primary_key, known.replicas, table.grids)
    state = (known.missing_shards, known.closed, known.flaw, known.unarchivable, known.most_columns, known.read_only)
    return definition, state, frozenset(map(_describe_partition, table.parts.values()))


def _describe_partition(partition: Partition) -> Hashable:
    numbers: dict[str, Any] = {"ident": "", "rows": bool(partition.rows), "size": None, "token": ""}
    return partition._replace(**numbers)


def _suffix(name: TableName, source: TableName) -> str:
    """The part of a level's name that its source's name does not have."""
    return name.name.removeprefix(source.name)


def _nameless(rollup: Rollup, source: TableName) -> Rollup:
    below, table = (TableName("", _suffix(name, source)) for name in (rollup.below, rollup.table))
    return replace(rollup, source=_NAMELESS, below=below, table=table)


def renamed(step: Step, leader: TableName, follower: TableName) -> Step:
    """A step on the tables of one source, as a step on those of another one that is alike."""

    def rename(name: TableName) -> TableName:
        return TableName(follower.schema, follower.name + _suffix(name, leader))

    match step:
        case PartitionsStep():
            return replace(step, table=rename(step.table))
        case DeleteSnapshot(archives=archives):
            return replace(step, archives=tuple(replace(each, table=rename(each.table)) for each in archives))
        case CreateRollup(rollup=rollup):
            source, below, table = map(rename, (rollup.source, rollup.below, rollup.table))
            return replace(step, rollup=replace(rollup, source=source, below=below, table=table))
        case _:
            return step
