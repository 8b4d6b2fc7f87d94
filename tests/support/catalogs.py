"""
Catalogs by hand: tables, partitions and policies for tests of planning, as a database would report them.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cratedb_retention.model.catalog import Capabilities, Catalog, Column, Kind, Partition, Table, TableName, Value
from cratedb_retention.model.plan.plan import (
    CompactPartitions,
    DropArchived,
    DropPartitions,
    FreezePartitions,
    MovePartitions,
    Plan,
    SnapshotPartition,
    Step,
    ThawPartitions,
    VerifySnapshot,
)
from cratedb_retention.model.policies.policy import Policy, read_policy
from cratedb_retention.model.step import Piece

CRATEDB = Capabilities(
    product="CrateDB",
    default_schema="doc",
    freezes=True,
    reallocates=True,
    compacts=True,
    repositories_are_directories=False,
)
DUCKDB = Capabilities(
    product="DuckDB", default_schema="main", freezes=False, reallocates=False, repositories_are_directories=True
)
METRICS = TableName("doc", "metrics")
DAY = 86_400_000
NODES = {"hot-1": {"storage": "hot"}, "cold-1": {"storage": "cold"}, "cold-2": {"storage": "cold"}}


def at(text: str, zone: str = "UTC") -> dt.datetime:
    """An instant from ISO 8601 text, in a time zone unless it names an offset."""
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=zoneinfo.ZoneInfo(zone))


def ms(text: str, zone: str = "UTC") -> int:
    """The same in milliseconds since the epoch."""
    return round(at(text, zone).timestamp() * 1000)


def column(name: str, kind: Kind = Kind.TIME, expression: str | None = None) -> Column:
    """A column with a type that fits its kind."""
    types = {Kind.TIME: "timestamp with time zone", Kind.TEXT: "text", Kind.NUMBER: "bigint", Kind.BOOLEAN: "boolean"}
    return Column(name=name, type=types.get(kind, "object"), kind=kind, expression=expression)


TS = column("ts")
MONTH = column("month", expression="date_trunc('month', ts)")
WEEK = column("week", expression="date_trunc('week', ts)")
DAILY = column("day", expression="date_trunc('day', ts)")
TENANT = column("tenant", Kind.TEXT)
VALUE = column("value", Kind.NUMBER)


def part(*values: Value, **facts: Any) -> Partition:
    """A partition with ten rows of ten bytes, unless told otherwise; ``YYYY-MM-DD...`` among its values is a time."""
    known: dict[str, Any] = {"rows": 10, "size": 100, "token": "t1", "nodes": frozenset({"hot-1"})}
    return Partition(values=tuple(_time(value) for value in values), **{**known, **facts})


def _time(value: Value) -> Value:
    is_time = isinstance(value, str) and value[:4].isdigit() and value[4:5] == "-" and len(value) >= 10
    return ms(value) if is_time and isinstance(value, str) else value


def table(
    columns: Iterable[Column],
    partitioned_by: Sequence[str] = (),
    partitions: Iterable[Partition] = (),
    name: TableName = METRICS,
    **facts: Any,
) -> Table:
    """A table with these columns; its number of rows is that of its partitions, unless given."""
    partitions = tuple(partitions)
    known = {"rows": sum(p.rows or 0 for p in partitions), "missing_shards": sum(p.missing_shards for p in partitions)}
    return Table(
        name=name,
        columns={c.name: c for c in columns},
        partitioned_by=tuple(partitioned_by),
        partitions=partitions,
        **{**known, **facts},
    )


def monthly(*starts: str, name: TableName = METRICS) -> Table:
    """A table with a partition for each month, given as ``YYYY-MM``."""
    return table([TS, VALUE, MONTH], ["month"], [part(f"{start}-01") for start in starts], name)


def catalog(
    *tables: Table,
    capabilities: Capabilities = CRATEDB,
    nodes: Mapping[str, Mapping[str, str]] = NODES,
    repositories: Iterable[str] = ("archive",),
) -> Catalog:
    """A catalog of these tables, on a cluster with hot and cold nodes and one repository."""
    return Catalog(
        capabilities=capabilities, tables={t.name: t for t in tables}, nodes=nodes, repositories=frozenset(repositories)
    )


def policy(strategy: str = "delete", retention: str | int = "30d", **attributes: Any) -> Policy:
    """A stored policy on ``doc.metrics`` with all that its strategy needs; it may say what is refused by now."""
    needs: dict[str, Any] = {
        "reallocate": {"reallocation_attribute_name": "storage", "reallocation_attribute_value": "cold"},
        "snapshot": {"target_repository_name": "archive"},
        "downsample": {"levels": "1h:90d,1d:forever"},
    }.get(strategy, {})
    known = {"id": f"{strategy}-{retention}", "table_name": "metrics", **needs}
    said = {"strategy": strategy, "retention_period": retention, **known, **attributes}
    return read_policy(said, stored=said)


def pieces_of(step: Step) -> tuple[Piece, ...]:
    """The partitions that a step is about."""
    match step:
        case SnapshotPartition() | VerifySnapshot() | DropArchived():
            return (step.piece,)
        case DropPartitions() | FreezePartitions() | ThawPartitions() | MovePartitions() | CompactPartitions():
            return step.pieces
        case _:
            return ()


def touched(plan: Plan, *kinds: type) -> list[tuple[Value, ...]]:
    """The values of all partitions in steps of these kinds, in order."""
    steps = [step for task in plan.tasks for step in task.steps if isinstance(step, kinds)]
    return [piece.partition.values for step in steps for piece in pieces_of(step)]


def dropped(plan: Plan) -> list[tuple[Value, ...]]:
    """The values of all partitions that a plan drops, archived or not."""
    return touched(plan, DropPartitions, DropArchived)


def dropped_starts(plan: Plan) -> list[str]:
    """The same for a table that is partitioned by time only, as dates."""
    starts = [values[0] for values in dropped(plan)]
    return [dt.datetime.fromtimestamp(s / 1000, dt.UTC).date().isoformat() for s in starts if isinstance(s, int)]


def reasons(plan: Plan) -> str:
    """All reasons for holding, one a line."""
    return "\n".join(hold.reason for hold in plan.blocked)
