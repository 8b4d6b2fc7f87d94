"""
Law 6: nothing is done to a table or partition with missing shards. Only ``sys.health`` knows: counting rows of such a
table gives fewer of them, and no error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from cratedb_retention.clock import Clock
from cratedb_retention.engine.cratedb.sql import refresh_partitions, system
from cratedb_retention.engine.database import Database
from cratedb_retention.errors import ClusterUnwell, DatabaseError, PartitionChanged, Recovering
from cratedb_retention.model.catalog import Column, Kind, TableName
from cratedb_retention.model.plan import Piece
from cratedb_retention.model.words import show_partition

# How often, and after which pause, missing shards are looked for again: a new one only seems to be missing.
HEALTH_RETRIES, HEALTH_SECONDS = 3, 0.3
# What sys.allocations says of a primary shard that was never on a node.
_UNPLACED = "cannot allocate because allocation is not permitted to any of the nodes"


def find_unwell(database: Database, clock: Clock, schema: str) -> frozenset[TableName]:
    """
    The tables of a schema that lack shards.

    :raises Recovering: if shards are on their way, as after a full restart.
    """
    h = system("sys.health")
    statement = sa.select(h.table_name).where(h.table_schema == schema, h.missing_shards > 0)
    rows = settled(lambda: database.brief().rows(statement), clock)
    if rows and _are_starting(database, schema):
        raise _unwell(database, TableName(schema, rows[0][0]))
    return frozenset(TableName(schema, name) for (name,) in rows)


def find_unplaced(database: Database, schema: str) -> frozenset[TableName]:
    """
    The tables of a schema that lack nothing but shards which no node took yet, as above the disks' high watermark. Of
    what was on a node, CrateDB says that no node with an in-sync copy is allowed, or that no copy is found.
    """
    a = system("sys.allocations")
    unplaced = sa.func.sum(sa.case((a.explanation == _UNPLACED, 1), else_=0))
    found = sa.select(a.table_name, sa.func.count(), unplaced).group_by(a.table_name)
    rows = database.brief().rows(found.where(a.table_schema == schema, a.primary, a.current_state == "UNASSIGNED"))
    return frozenset(TableName(schema, name) for name, missing, new in rows if missing == new)


def settled(look: Callable[[], list[Sequence[Any]]], clock: Clock) -> list[Sequence[Any]]:
    """What is missing now and a moment later."""
    rows = look()
    for _ in range(HEALTH_RETRIES):
        if not rows:
            break
        clock.sleep(HEALTH_SECONDS)
        rows = look()
    return rows


def check_health(
    database: Database, table: TableName, columns: Sequence[Column] = (), pieces: Sequence[Piece] = ()
) -> None:
    """
    Look again right before something is dropped or archived, since planning may be long ago.

    :param pieces: The partitions concerned; empty: the whole table.
    :raises ClusterUnwell: if shards are missing.
    :raises Recovering: if some are on their way.
    """
    sick = _sick(database, table)
    concerned = [piece for piece in pieces if piece.partition.ident in sick]
    if concerned or (sick and not pieces):
        where = f", partition {show_partition(columns, concerned[0].partition.values)}" if concerned else ""
        raise _unwell(database, table, where)


def check_idents(database: Database, table: TableName, idents: Sequence[str]) -> bool:
    """
    The same for partitions of which only the database's own names are known; none: the whole table.

    :return: Whether other partitions lack shards.
    :raises ClusterUnwell: if shards are missing.
    :raises Recovering: if some are on their way.
    :raises PartitionChanged: if a partition is closed, which hides its rows, so that there seem to be none.
    """
    sick = _sick(database, table)
    if sick.intersection(idents) if idents else sick:
        raise _unwell(database, table)
    p = system("information_schema.table_partitions")
    mine = (p.table_schema == table.schema, p.table_name == table.name, p.partition_ident.in_(idents))
    closed: sa.ColumnElement[bool] = sa.column("closed")
    if idents and database.rows(sa.select(p.partition_ident).where(*mine, closed).limit(1)):
        raise PartitionChanged(f"table {table}", "one of its partitions is closed", "open it")
    return bool(sick)


def refresh_idents(database: Database, table: TableName, idents: Sequence[str]) -> None:
    """Make what was written to these partitions visible: where others lack shards, that of the table takes a minute."""
    p = system("information_schema.table_partitions")
    mine = (p.table_schema == table.schema, p.table_name == table.name, p.partition_ident.in_(idents))
    found = [dict(values) for (values,) in database.brief().rows(sa.select(p["values"]).where(*mine))]
    if found:
        columns = [Column(name=name, type="", kind=Kind.OTHER) for name in found[0]]
        refresh_partitions(database, table, columns, [[values[column.name] for column in columns] for values in found])


def _sick(database: Database, table: TableName) -> set[str]:
    h = system("sys.health")
    statement = sa.select(h.partition_ident).where(
        h.table_schema == table.schema, h.table_name == table.name, h.missing_shards > 0
    )
    return {ident or "" for (ident,) in database.brief().rows(statement)}


def _unwell(database: Database, table: TableName, where: str = "") -> DatabaseError:
    thing = f"table {table}{where}"
    if _are_starting(database, *table):
        return Recovering(thing, "shards are missing, and some are being recovered", "try again in a minute")
    return ClusterUnwell(thing, "shards are missing", "bring the lost nodes back")


def _are_starting(database: Database, schema: str, table: str | None = None) -> bool:
    """Whether primary shards of a table, or of any in a schema, are about to come back."""
    s = system("sys.shards")
    mine = (s.schema_name == schema, *([] if table is None else [s.table_name == table]))
    statement = sa.select(sa.func.count()).where(s.primary, s.routing_state == "INITIALIZING", *mine)
    return bool(database.brief().rows(statement)[0][0])
