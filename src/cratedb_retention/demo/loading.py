"""
Creates and fills the demonstration's tables, partitioned by month, on either database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import DatabaseError, RetentionError
from cratedb_retention.model.catalog import Selector, TableName

BATCH = 20_000


def create_table(engine: Engine, schema: str, name: str, columns: Mapping[str, str], time: str) -> None:
    """
    A new table with a column ``month`` generated from a time column; that of an earlier demonstration is dropped.

    :raises DatabaseError: if a table of that name is none of these.
    """
    there = engine.read_outline(Selector(schema=schema, name=name)).columns.get(TableName(schema, name))
    if there is not None and set(there) != {*columns, "month"}:
        raise DatabaseError(f"table {schema}.{name}", "exists already and is not the demonstration's", "rename it")
    table = _quoted(engine, schema, name)
    month = f'"month" TIMESTAMP GENERATED ALWAYS AS (date_trunc(\'month\', "{time}"))'
    definition = ", ".join([*(f'"{column}" {kind}' for column, kind in columns.items()), month])
    if engine.capabilities.freezes:  # CrateDB
        engine.database.execute_text(f"DROP TABLE IF EXISTS {table}")
        options = 'CLUSTERED INTO 1 SHARDS PARTITIONED BY ("month") WITH (number_of_replicas = 0)'
        engine.database.execute_text(f"CREATE TABLE {table} ({definition}) {options}")
    else:
        engine.database.execute_text(f"CREATE SCHEMA IF NOT EXISTS {engine.database.quote(schema)}")
        engine.database.execute_text(f"CREATE OR REPLACE TABLE {table} ({definition})")


def load_csv(engine: Engine, schema: str, name: str, columns: Mapping[str, str], path: Path) -> int:
    """Let DuckDB read a CSV file; returns the number of rows."""
    names = ", ".join(f'"{column}"' for column in columns)
    file = str(path).replace("'", "''")
    engine.database.execute_text(
        f"INSERT INTO {_quoted(engine, schema, name)} ({names}) SELECT {names} "  # noqa: S608 - own names
        f"FROM read_csv('{file}', nullstr = 'NA', sample_size = -1)",
    )
    return count_rows(engine, schema, name)


def load_rows(engine: Engine, schema: str, name: str, columns: Mapping[str, str], rows: Iterable[list[Any]]) -> int:
    """
    Insert rows in batches; returns their number.

    :raises RetentionError: if CrateDB took fewer rows than it was given.
    """
    names, values = ", ".join(f'"{column}"' for column in columns), ", ".join("?" * len(columns))
    statement = f"INSERT INTO {_quoted(engine, schema, name)} ({names}) VALUES ({values})"  # noqa: S608 - own names
    iterator, sent = iter(rows), 0
    while batch := [tuple(row) for row in islice(iterator, BATCH)]:
        # Not by SQLAlchemy's INSERT, which would write all of the batch's values as one statement to be parsed.
        engine.database.execute_text(statement, batch)
        sent += len(batch)
    engine.database.execute_text(f"REFRESH TABLE {_quoted(engine, schema, name)}")
    found = count_rows(engine, schema, name)
    if found != sent:
        raise RetentionError(f"table {schema}.{name}", f"took {found:,} of {sent:,} rows", "run the demo again")
    return found


def count_rows(engine: Engine, schema: str, name: str) -> int:
    """How many rows a table has."""
    table = sa.table(name, schema=schema)
    return int(engine.database.rows(sa.select(sa.func.count()).select_from(table))[0][0])


def create_repository(engine: Engine, name: str, location: str) -> None:
    """Register a repository in a directory of the server (CrateDB)."""
    quoted = engine.database.quote(name)
    where = location.replace("'", "''")
    engine.database.execute_text(f"CREATE REPOSITORY {quoted} TYPE fs WITH (location = '{where}')")


def _quoted(engine: Engine, schema: str, name: str) -> str:
    return f"{engine.database.quote(schema)}.{engine.database.quote(name)}"
