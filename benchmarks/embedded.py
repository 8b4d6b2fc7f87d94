"""
DuckDB files with many tables, many partitions, or many rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import duckdb

from cratedb_retention import Retention

_DAY = "day TIMESTAMPTZ GENERATED ALWAYS AS (date_trunc('day', ts))"
_FIRST = "TIMESTAMPTZ '2020-01-01 00:00:00+00'"


def many_tables(directory: Path, tables: int, days: int) -> tuple[list[str], str]:
    """Tables with a partition for each day, in ten groups by name; gives their names, and the file's address."""
    names = [f"metrics_{number % 10}_{number:04}" for number in range(tables)]
    fill = f"SELECT {_FIRST} + to_days(d::INTEGER) + to_hours(h::INTEGER), d FROM range({days}) d(d), range(3) h(h)"
    statements = (
        statement
        for name in names
        for statement in (
            f"CREATE TABLE {name} (ts TIMESTAMPTZ, value DOUBLE, {_DAY})",
            f"INSERT INTO {name} (ts, value) {fill}",
        )
    )
    return names, new_file(directory, statements)


def tenants_table(directory: Path, tenants: int, days: int) -> str:
    """A table with a partition for each tenant and day."""
    return new_file(
        directory,
        (
            f"CREATE TABLE metrics (tenant VARCHAR, ts TIMESTAMPTZ, value DOUBLE, {_DAY})",
            "COMMENT ON TABLE metrics IS 'PARTITIONED BY (tenant, day)'",
            "INSERT INTO metrics (tenant, ts, value) SELECT 'tenant-' || t,"
            f" {_FIRST} + to_days(d::INTEGER), d FROM range({tenants}) t(t), range({days}) d(d)",
        ),
    )


def new_file(directory: Path, statements: Iterable[str]) -> str:
    """A file with the toolkit's tables and others; gives its address."""
    path = directory / "bench.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.begin()
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    uri = f"duckdb:///{path}"
    with Retention(uri) as retention:
        retention.setup()
    return uri
