"""How tables are stored in CrateDB, and its disks, for forecasts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import sqlalchemy as sa

from cratedb_retention.engine.cratedb.sql import system, words
from cratedb_retention.engine.database import Database
from cratedb_retention.errors import AccessDenied
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.forecast import Disks, Storage


def read_storage(database: Database, tables: Collection[TableName]) -> Mapping[TableName, Storage]:
    """The shards of tables, and how many copies of each are there; one row for each partition is read."""
    s = system("sys.shards")
    primaries = sa.func.sum(sa.case((s.primary, 1), else_=0))
    within = s.schema_name.in_(sorted({table.schema for table in tables})), s.routing_state == "STARTED"
    read = sa.select(*s.place, s.partition_ident, primaries, sa.func.count()).where(*within)
    wanted, partitions, shards, copies = set(tables), Counter[TableName](), Counter[TableName](), Counter[TableName]()
    for schema, name, _, primary, every in database.rows(read.group_by(*s.place, s.partition_ident)):
        table = TableName(schema, name)
        if table in wanted and primary:
            partitions[table] += 1
            shards[table] += primary
            copies[table] += every
    return {
        table: Storage(shards=round(shards[table] / count), copies=copies[table] / shards[table])
        for table, count in partitions.items()
    }


def read_disks(database: Database) -> Disks | None:
    """The disks of all nodes together; None if the user may not see them."""
    nodes = system("sys.nodes").table
    total, used = (words(f"fs['total']['{name}']") for name in ("size", "used"))
    try:
        ((size, taken),) = database.rows(sa.select(sa.func.sum(total), sa.func.sum(used)).select_from(nodes))
    except AccessDenied:
        return None
    return Disks(total=int(size), used=int(taken or 0)) if size and size > 0 else None
