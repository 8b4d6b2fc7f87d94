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
    found = blocked(database, tables)
    for table in found:
        database.execute_text(f'ALTER TABLE {table_name(database, table)} RESET ("{BLOCK}")')
    logger.warning("made writable again, since a disk is full: %s", ", ".join(map(str, found)))


def blocked(database: Database, tables: Sequence[TableName]) -> list[TableName]:
    """
    Those of some tables that may be read-only. CrateDB 6 does not show a block that its monitor has set on a table
    without partitions, so that all of these are among them.
    """
    found: set[TableName] = set()
    is_blocked: sa.ColumnElement[bool] = sa.literal_column(IS_BLOCKED)
    for name, hidden in (("tables", sa.column("partitioned_by").is_(None)), ("table_partitions", sa.false())):
        t = system(f"information_schema.{name}")
        within = [sa.and_(t.table_schema == table.schema, t.table_name == table.name) for table in tables]
        wanted = (sa.or_(sa.false(), *within), sa.or_(is_blocked, hidden))
        rows = database.rows(sa.select(t.table_schema, t.table_name).where(*wanted))
        found.update(TableName(*row) for row in rows)
    return sorted(found)
