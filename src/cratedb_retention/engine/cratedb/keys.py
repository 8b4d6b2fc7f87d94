"""
What only downsampling and archiving need to know of CrateDB's tables: their primary keys, their
settings, what else has or had the name of one, and types in full.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import sqlalchemy as sa

from cratedb_retention.engine.cratedb.sql import system
from cratedb_retention.engine.database import Database
from cratedb_retention.model.catalog import TableName

# Far more than any cluster ever creates, and far less than almost every hash.
_MOST_TABLES = 2**24
# Restricts a statement to some tables, by its columns with schema and name.
Within = Callable[[sa.ColumnElement[Any], sa.ColumnElement[Any]], sa.ColumnElement[bool]]

# Stands before the definition of a view while a table or column that it reads is missing.
_CORRUPTED = "/* Corrupted view, needs fix */\n"
# A line of SHOW CREATE TABLE with a column; what is in an object follows on lines of its own.
_COLUMN = re.compile(r'\s*"((?:[^"]|"")*)" (.*?)( AS \()?,?')


def read_types(database: Database, table: TableName) -> dict[str, str]:
    """The types of a table's columns as they were declared, such as ``NUMERIC(10, 2)``; the catalog has less."""
    name = f"{database.quote(table.schema)}.{database.quote(table.name)}"
    text = database.transact(lambda connection: connection.exec_driver_sql(f"SHOW CREATE TABLE {name}").scalar_one())
    found: dict[str, str] = {}
    outer: list[str] = []
    for line in text.splitlines()[1:]:
        column = _COLUMN.fullmatch(line)
        if column is None:
            if line.startswith(")"):
                break
            outer = outer[:-1]
            continue
        own = column[1].replace('""', '"')
        path = f"{outer[-1]}['{own}']" if outer else own
        found[path] = column[2]
        if column[3]:
            outer.append(path)
    return found


def read_keys(database: Database, within: Within) -> dict[TableName, tuple[str, ...]]:
    """The columns of primary keys."""
    k = system("information_schema.key_column_usage")
    wanted = sa.select(k.table_schema, k.table_name, k.column_name).where(within(k.table_schema, k.table_name))
    keys: dict[TableName, tuple[str, ...]] = defaultdict(tuple)
    for schema, name, column in database.rows(wanted):
        keys[TableName(schema, name)] += (column,)
    return keys


class Settings(NamedTuple):
    """What is set for a table: copies of each shard, as ``0-1``, and how many columns it may have."""

    replicas: str
    most_columns: int


def read_settings(database: Database, within: Within) -> dict[TableName, Settings]:
    """The settings of tables."""
    t = system("information_schema.tables")
    limit: sa.ColumnElement[int] = sa.literal_column("settings['mapping']['total_fields']['limit']")
    wanted = sa.select(t.table_schema, t.table_name, t.number_of_replicas, limit)
    rows = database.rows(wanted.where(within(t.table_schema, t.table_name)))
    return {TableName(schema, name): Settings(replicas, most) for schema, name, replicas, most in rows}


def read_identities(database: Database, within: Within) -> dict[TableName, str]:
    """
    The OIDs of tables, which CrateDB counts from 1, and never gives twice.

    An earlier release has a hash of the name in their place, which is the same for another table of that name.
    """
    r = system("pg_catalog.pg_class")
    n = system("pg_catalog.pg_namespace")
    wanted = sa.select(n.nspname, r.relname, r.oid).select_from(r.table.join(n.table, r.relnamespace == n.oid))
    rows = database.rows(wanted.where(within(n.nspname, r.relname)))
    return {TableName(schema, name): str(oid) for schema, name, oid in rows if 0 < oid < _MOST_TABLES}


def read_views(database: Database, within: Within) -> dict[TableName, str]:
    """The definitions of views; of what else is no table of its own, such as a foreign one, an empty text."""
    t = system("information_schema.tables")
    v = system("information_schema.views")
    same = sa.and_(t.table_schema == v.table_schema, t.table_name == v.table_name)
    found = sa.select(t.table_schema, t.table_name, v.view_definition).select_from(t.table.outerjoin(v.table, same))
    wanted = found.where(within(t.table_schema, t.table_name), t.table_type != "BASE TABLE")
    rows = database.rows(wanted)
    return {TableName(schema, name): (text or "").removeprefix(_CORRUPTED) for schema, name, text in rows}
