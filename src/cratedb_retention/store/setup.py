"""
Creates the toolkit's tables, upgrades older ones, and tells what is missing.

A ``retention_policy`` table of cratedb-toolkit (whole days as INTEGER, tags as OBJECT) is taken over without losing a
policy: its rows are copied to a table of the present layout, counted, and the two tables are swapped in one statement.
The old table stays beside as ``retention_policy_toolkit``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.database import Database
from cratedb_retention.engine.ddl import add_column, rename_table, swap_tables
from cratedb_retention.errors import DatabaseError, InvalidInput, NotFound
from cratedb_retention.model.policy import read_policy
from cratedb_retention.store.codec import policy_to_row
from cratedb_retention.store.tables import Tables, policy_table

UPGRADE, LEGACY = "retention_policy_upgrade", "retention_policy_toolkit"
_Layout = Mapping[str, Mapping[str, str]]


def setup(
    database: Database, tables: Tables, now: dt.datetime, once: Callable[[], list[str]] = lambda: []
) -> list[str]:
    """
    Create what is missing and upgrade what is old. Can be repeated, also after an interruption.

    :param once: Done before the last table is created, in a new store and in one of a version without that table; so
        it is not done again, whatever a person makes of it.
    :return: What was done, in words.
    :raises InvalidInput: if a table of such a name is not the toolkit's; then nothing is changed.
    """
    schema = str(tables.metadata.schema)
    done: list[str] = []
    if not database.refreshes:  # CrateDB makes a schema with its first table.
        database.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
    layout = _read_own(database, tables)
    if _is_legacy(layout.get("retention_policy", {})):
        done.append(_take_over(database, tables, now))
        layout = read_layout(database, schema)
    if _is_legacy(layout.get(UPGRADE, {})):
        rename_table(database, policy_table(sa.MetaData(schema=schema), UPGRADE), LEGACY)
        layout = read_layout(database, schema)
    for table in tables.metadata.sorted_tables:
        _require_own(table, layout.get(table.name))
    in_order = sorted(tables.metadata.sorted_tables, key=lambda table: table is tables.lease)
    for table in in_order:
        if table.name not in layout:
            done += once() if table is tables.lease else []
            database.execute(sa.schema.CreateTable(table, if_not_exists=True))
            done.append(f"created {schema}.{table.name}")
        else:
            done += _add_columns(database, table, layout[table.name])
    return done


def require(database: Database, tables: Tables) -> None:
    """
    Make sure that the tables are there.

    :raises NotFound: if they are missing or old, with the remedy.
    """
    layout = _read_own(database, tables)
    for table in tables.metadata.sorted_tables:
        if table.name not in layout:
            raise NotFound(f"table {table.fullname}", "does not exist", "run `cratedb-retention setup` first")
    policy = layout["retention_policy"]
    if _is_legacy(policy) or any(
        column.name not in layout[t.name] for t in tables.metadata.sorted_tables for column in t.c
    ):
        raise NotFound(
            f"table {tables.policy.fullname}", "has an older layout", "run `cratedb-retention setup` to upgrade it"
        )


def _read_own(database: Database, tables: Tables) -> _Layout:
    """
    Columns and their types of the toolkit's tables. CrateDB seems to have none for a moment after it was started, too.

    :raises Recovering: if that is so.
    """
    schema = str(tables.metadata.schema)
    layout = read_layout(database, schema)
    if not layout:
        with suppress(NotFound):
            database.rows(sa.select(sa.func.count()).select_from(tables.policy))
            layout = read_layout(database, schema)
    return layout


def read_layout(database: Database, schema: str) -> _Layout:
    """Columns and their types of all tables of a schema."""
    c = sa.table(
        "columns",
        *map(sa.column, ("table_schema", "table_name", "column_name", "data_type")),
        schema="information_schema",
    ).c
    layout: dict[str, dict[str, str]] = {}
    for table, column, data_type in database.rows(
        sa.select(c.table_name, c.column_name, c.data_type).where(c.table_schema == schema)
    ):
        layout.setdefault(table, {})[column] = data_type
    return layout


def _is_legacy(columns: Mapping[str, str]) -> bool:
    return columns.get("retention_period", "").lower() in ("integer", "bigint") and "version" not in columns


def _require_own(table: sa.Table, present: Mapping[str, str] | None) -> None:
    """No release of the toolkit made a table without the columns of its key."""
    missing = [] if present is None else [column.name for column in table.primary_key if column.name not in present]
    if missing:
        raise InvalidInput(
            f"table {table.fullname}",
            f"exists already and is not the toolkit's: it has no column {missing[0]}",
            "rename it, or choose another schema",
        )


def _add_columns(database: Database, table: sa.Table, present: Mapping[str, str]) -> list[str]:
    done = []
    for column in table.c:
        if column.name not in present:
            add_column(database, table, column)
            done.append(f"added column {column.name} to {table.fullname}")
    return done


def _take_over(database: Database, tables: Tables, now: dt.datetime) -> str:
    schema = str(tables.metadata.schema)
    new = policy_table(sa.MetaData(schema=schema), UPGRADE)
    old = sa.table("retention_policy", schema=schema)
    database.refresh(tables.policy)  # The old table has this name; a policy that is not visible yet would be lost.
    rows = database.query(sa.select(sa.literal_column("*")).select_from(old))
    database.execute(sa.schema.DropTable(new, if_exists=True))
    database.execute(sa.schema.CreateTable(new))
    for row in rows:
        database.execute(sa.insert(new).values(**_convert(row, now)))
    database.refresh(new)
    count = database.rows(sa.select(sa.func.count()).select_from(new))[0][0]
    if count != len(rows):
        raise DatabaseError(f"table {new.fullname}", f"holds {count} of {len(rows)} policies", "run setup again")
    swap_tables(database, new, tables.policy)
    return f"upgraded {len(rows)} policies of cratedb-toolkit; the old table is {schema}.{LEGACY}"


def _convert(row: Mapping[str, Any], now: dt.datetime) -> dict[str, Any]:
    """A policy of cratedb-toolkit in the present layout; one that lacks something is kept, but disabled."""
    known = {
        key: row[key]
        for key in (
            "table_schema",
            "table_name",
            "partition_column",
            "retention_period",
            "reallocation_attribute_name",
            "reallocation_attribute_value",
            "target_repository_name",
            "id",
        )
        if row.get(key) is not None
    }
    tags = row.get("tags") or {}
    attributes = {**known, "strategy": row["strategy"], "tags": sorted(tags)}
    try:
        return policy_to_row(read_policy(attributes, stored=attributes), 1, now, "cratedb-toolkit")
    except InvalidInput as error:
        return {
            **known,
            "strategy": row["strategy"],
            "tags": sorted(tags),
            "table_name": row.get("table_name") or "",
            "retention_period": f"{row['retention_period']}d",
            "enabled": False,
            "description": f"Disabled when it was taken over from cratedb-toolkit: {error}",
            "version": 1,
            "changed_at": now,
            "changed_by": "cratedb-toolkit",
        }
