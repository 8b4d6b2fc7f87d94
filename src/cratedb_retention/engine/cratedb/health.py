"""
Law 6: nothing is done to a table or partition with missing shards. Only ``sys.health`` knows: counting rows of such a
table gives fewer of them, and no error.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from cratedb_retention.engine.cratedb.sql import system_table
from cratedb_retention.engine.database import Database
from cratedb_retention.errors import ClusterUnwell
from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.plan import Piece
from cratedb_retention.model.words import show_partition


def find_unwell(database: Database, schema: str) -> frozenset[TableName]:
    """The tables of a schema that lack shards."""
    h = system_table("sys", "health", "table_schema", "table_name", "missing_shards").c
    statement = sa.select(h.table_name).where(h.table_schema == schema, h.missing_shards > 0)
    return frozenset(TableName(schema, name) for (name,) in database.brief().rows(statement))


def check_health(
    database: Database, table: TableName, columns: Sequence[Column] = (), pieces: Sequence[Piece] = ()
) -> None:
    """
    Look again right before something is dropped or archived, since planning may be long ago.

    :param pieces: The partitions concerned; empty: the whole table.
    :raises ClusterUnwell: if shards are missing.
    """
    h = system_table("sys", "health", "table_schema", "table_name", "partition_ident", "missing_shards").c
    statement = sa.select(h.partition_ident).where(
        h.table_schema == table.schema, h.table_name == table.name, h.missing_shards > 0
    )
    sick = {ident or "" for (ident,) in database.brief().rows(statement)}
    concerned = [piece for piece in pieces if piece.partition.ident in sick]
    if concerned or (sick and not pieces):
        where = f", partition {show_partition(columns, concerned[0].partition.values)}" if concerned else ""
        raise ClusterUnwell(f"table {table}{where}", "shards are missing", "bring the lost nodes back")
