"""
What only downsampling needs to know of CrateDB's tables: their primary keys, and how often they are replicated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import sqlalchemy as sa

from cratedb_retention.engine.cratedb.sql import system_table
from cratedb_retention.engine.database import Database
from cratedb_retention.model.catalog import Table, TableName


def with_keys(database: Database, tables: Mapping[TableName, Table]) -> dict[TableName, Table]:
    """Complete tables, in two statements."""
    schemas = sorted({name.schema for name in tables})
    k = system_table("information_schema", "key_column_usage", "table_schema", "table_name", "column_name").c
    keys: dict[TableName, list[str]] = defaultdict(list)
    for schema, name, column in database.rows(
        sa.select(k.table_schema, k.table_name, k.column_name).where(k.table_schema.in_(schemas))
    ):
        keys[TableName(schema, name)].append(column)
    t = system_table("information_schema", "tables", "table_schema", "table_name", "number_of_replicas").c
    found = sa.select(t.table_schema, t.table_name, t.number_of_replicas).where(t.table_schema.in_(schemas))
    replicas = {TableName(schema, name): count for schema, name, count in database.rows(found)}
    return {
        name: replace(table, primary_key=tuple(keys[name]), replicas=replicas.get(name))
        for name, table in tables.items()
    }
