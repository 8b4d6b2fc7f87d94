"""
A full disk. CrateDB then makes every table with shards on it read-only (``blocks.read_only_allow_delete``), the
toolkit's own among them, without which nothing can be removed: no lease, no audit log. What these take is next to
nothing, so they are made writable again, for as long as CrateDB lets them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.cratedb.sql import system, table_name
from cratedb_retention.engine.database import Database
from cratedb_retention.errors import DiskFull
from cratedb_retention.model.catalog import TableName

logger = logging.getLogger(__name__)
BLOCK = "blocks.read_only_allow_delete"
IS_BLOCKED = "settings['blocks']['read_only_allow_delete']"
# Bytes that a node must have left: where not even the toolkit's rows have room, writing them breaks shards.
ROOM = 16 * 2**20


def unblock(database: Database, tables: Sequence[TableName]) -> None:
    """
    Make those of some tables writable that a full disk made read-only.

    :raises DiskFull: if there is no room at all.
    :raises AccessDenied: if the user may not.
    """
    available: sa.ColumnElement[Any] = sa.literal_column("fs['total']['available']")
    nodes = database.rows(sa.select(available).select_from(system("sys.nodes").table))
    free = min((row[0] for row in nodes if row[0] is not None), default=ROOM)
    if free < ROOM:
        raise DiskFull("CrateDB", "the disk of a node is full, and not even the audit log has room on it", "make room")
    for table in blocked(database, tables):
        database.execute_text(f'ALTER TABLE {table_name(database, table)} RESET ("{BLOCK}")')
        logger.warning("table %s was made writable again, which a full disk had made read-only", table)


def blocked(database: Database, tables: Sequence[TableName]) -> list[TableName]:
    """Those of some tables that are read-only, or have a partition that is."""
    found: set[TableName] = set()
    for name in ("tables", "table_partitions"):
        t = system(f"information_schema.{name}")
        within = [sa.and_(t.table_schema == table.schema, t.table_name == table.name) for table in tables]
        is_blocked: sa.ColumnElement[bool] = sa.literal_column(IS_BLOCKED)
        mine = sa.select(t.table_schema, t.table_name).where(sa.or_(sa.false(), *within), is_blocked)
        found.update(TableName(*row) for row in database.rows(mine))
    return sorted(found)
