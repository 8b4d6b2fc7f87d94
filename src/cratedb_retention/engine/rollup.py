"""
What rolling up has in common on all databases: the statements of a run of windows.
"""

from __future__ import annotations

import secrets
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.expressions import table_ref
from cratedb_retention.engine.rollup_columns import (
    RollupSQL,
    between,
    level_fields,
    level_key,
    own_time,
    ref,
    sketch_fields,
    sketch_key,
    stored,
)
from cratedb_retention.engine.rollup_ddl import InsertRows
from cratedb_retention.engine.rollup_runs import Run
from cratedb_retention.engine.rollup_select import level_select
from cratedb_retention.engine.rollup_sketch import sketch_select
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.rollup import VERSION, Rollup

# What stands for the version of a computation where it is only shown.
SHOWN = "this computation"


def new_version() -> str:
    """Tells the rows of one computation from those of earlier ones."""
    return secrets.token_hex(6)


def tables_of(rollup: Rollup) -> list[TableName]:
    """The tables of a level."""
    return [rollup.table, *([rollup.sketch] if rollup.sketched else [])]


def insert_statements(
    sql: RollupSQL, rollup: Rollup, run: Run, version: str, upsert: bool, seed_from_source: bool = False
) -> list[sa.Executable]:
    """
    Compute a run of windows.

    :param upsert: Whether rows that are there are replaced; otherwise they are gone already.
    """
    query = level_select(sql, rollup, run, version, seed_from_source)
    names, key = stored(level_fields(sql, rollup)), level_key(rollup) if upsert else ()
    found: list[sa.Executable] = [InsertRows(rollup.table, names, query, key)]
    if rollup.sketched:
        bins = sketch_select(sql, rollup, run, version)
        key = sketch_key(rollup) if upsert else ()
        found.append(InsertRows(rollup.sketch, stored(sketch_fields(sql, rollup)), bins, key))
    return found


def delete_statements(sql: RollupSQL, rollup: Rollup, run: Run, version: str | None = None) -> list[sa.Executable]:
    """
    Delete what is there of a run of windows.

    :param version: Spare the rows of this computation.
    """

    def of(table: TableName) -> sa.Delete:
        statement = sa.delete(table_ref(table)).where(between(sql, own_time(rollup), run.since, run.until))
        return statement if version is None else statement.where(ref(VERSION) != version)

    return [of(table) for table in tables_of(rollup)]


def missing_names(columns: tuple[str, ...], there: Any) -> list[str]:
    """Those of some columns that a table does not have yet."""
    return [name for name in columns if name not in there]
