"""
Creates the toolkit's tables, upgrades older ones, and tells what is missing.

A ``retention_policy`` table of cratedb-toolkit (whole days as INTEGER, tags as OBJECT) is taken over without losing a
policy: its rows are copied to a table of the present layout, counted, and the two tables are swapped in one statement.
The old table stays beside as ``retention_policy_toolkit``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

import sqlalchemy as sa

from cratedb_retention.engine.database import Database, Rehearsal
from cratedb_retention.engine.ddl import add_column, rename_table, swap_tables
from cratedb_retention.errors import DatabaseError, InvalidInput, NotFound
from cratedb_retention.store.tables import Tables, policy_table
from cratedb_retention.store.toolkit import PartitionColumns, take_over

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
    layout = dict(_read_own(database, tables))
    if _is_legacy(layout.get("retention_policy", {})):
        done += _take_over(database, tables, now)
        layout[UPGRADE] = layout["retention_policy"]
        layout["retention_policy"] = {column.name: "" for column in tables.policy.c}
    if _is_legacy(layout.get(UPGRADE, {})):
        rename_table(database, policy_table(sa.MetaData(schema=schema), UPGRADE), LEGACY)
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


def _take_over(database: Database, tables: Tables, now: dt.datetime) -> list[str]:
    schema = str(tables.metadata.schema)
    new = policy_table(sa.MetaData(schema=schema), UPGRADE)
    old = sa.table("retention_policy", schema=schema)
    database.refresh(tables.policy)  # The old table has this name; a policy that is not visible yet would be lost.
    rows = database.query(sa.select(sa.literal_column("*")).select_from(old).order_by(sa.column("id")))
    partitions = _read_partition_columns(database, {row["table_schema"] for row in rows} - {None})
    taken = [take_over(row, partitions, now) for row in rows]
    database.execute(sa.schema.DropTable(new, if_exists=True))
    database.execute(sa.schema.CreateTable(new))
    for policy in taken:
        database.execute(sa.insert(new).values(**policy.row))
    if not isinstance(database, Rehearsal):
        database.refresh(new)
        count = database.rows(sa.select(sa.func.count()).select_from(new))[0][0]
        if count != len(rows):
            raise DatabaseError(f"table {new.fullname}", f"holds {count} of {len(rows)} policies", "run setup again")
    swap_tables(database, new, tables.policy)
    disabled = sum(not policy.enabled for policy in taken)
    number = f"{len(rows)} policies of cratedb-toolkit, {disabled} of them disabled"
    return [f"upgraded {number}; the old table is {schema}.{LEGACY}", *(policy.words for policy in taken)]


def _read_partition_columns(database: Database, schemas: Collection[str]) -> PartitionColumns:
    """The partition columns of all tables in some schemas, with their types."""
    t = sa.table(
        "tables", *map(sa.column, ("table_schema", "table_name", "partitioned_by")), schema="information_schema"
    ).c
    wanted = t.table_schema.in_(sorted(schemas))
    found = {}
    layouts = {schema: read_layout(database, schema) for schema in schemas}
    for schema, table, by in database.rows(sa.select(t.table_schema, t.table_name, t.partitioned_by).where(wanted)):
        types = layouts[schema].get(table, {})
        found[schema, table] = {column: types.get(column, "") for column in by or ()}
    return found
