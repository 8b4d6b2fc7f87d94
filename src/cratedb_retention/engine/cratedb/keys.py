"""
What only downsampling needs to know of CrateDB's tables: their primary keys, and how often they are replicated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.cratedb.sql import system_table
from cratedb_retention.engine.database import Database
from cratedb_retention.model.catalog import TableName

# Restricts a statement to some tables, by its columns with schema and name.
Within = Callable[[sa.ColumnElement[Any], sa.ColumnElement[Any]], sa.ColumnElement[bool]]


def read_keys(database: Database, within: Within) -> dict[TableName, tuple[str, ...]]:
    """The columns of primary keys."""
    k = system_table("information_schema", "key_column_usage", "table_schema", "table_name", "column_name").c
    wanted = sa.select(k.table_schema, k.table_name, k.column_name).where(within(k.table_schema, k.table_name))
    keys: dict[TableName, tuple[str, ...]] = defaultdict(tuple)
    for schema, name, column in database.rows(wanted):
        keys[TableName(schema, name)] += (column,)
    return keys


def read_replicas(database: Database, within: Within) -> dict[TableName, str]:
    """How many copies of each shard are wanted, as ``0-1``."""
    t = system_table("information_schema", "tables", "table_schema", "table_name", "number_of_replicas").c
    wanted = sa.select(t.table_schema, t.table_name, t.number_of_replicas).where(within(t.table_schema, t.table_name))
    return {TableName(schema, name): count for schema, name, count in database.rows(wanted)}
