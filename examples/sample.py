"""
Shared by the examples: the address, and a table with sample measurements of a year, all in the schemas
``retention_example`` and ``retention_example_ext``.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cratedb_retention import NotFound, Retention, parse_tag_filter

SCHEMA, OWN_SCHEMA, TAG = "retention_example", "retention_example_ext", "example"
NEW_YEAR = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
COLUMNS = "ts TIMESTAMP, tenant TEXT, value DOUBLE PRECISION"
MONTH = "month TIMESTAMP GENERATED ALWAYS AS (date_trunc('month', ts))"
HOURS = "generate_series('2024-01-01'::TIMESTAMP, '2024-12-31T23:00'::TIMESTAMP, '1 hour'::INTERVAL) AS g(ts)"


@contextmanager
def open_retention() -> Iterator[Retention]:
    """The database in the first argument or in CRATEDB_URI, otherwise a temporary DuckDB file."""
    with tempfile.TemporaryDirectory() as folder:
        address = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CRATEDB_URI")
        with Retention(address or f"duckdb:///{folder}/example.duckdb", OWN_SCHEMA, create=True) as retention:
            retention.setup(journal_policy=False)
            retention.policies.delete_tagged(parse_tag_filter([TAG]))
            for hold in retention.holds():
                retention.holds.release(hold.id)
            with suppress(NotFound):
                retention.rollups.drop("sensors", SCHEMA)
            yield retention


def create_table(retention: Retention, name: str) -> None:
    """Create a table with a row for each hour of 2024 and each of two tenants, partitioned by month and tenant."""
    table = f"{SCHEMA}.{name}"
    execute(retention, f"DROP TABLE IF EXISTS {table}")
    if retention.engine.capabilities.product == "CrateDB":
        layout = "CLUSTERED INTO 1 SHARDS PARTITIONED BY (month, tenant)"
        execute(retention, f"CREATE TABLE {table} ({COLUMNS}, {MONTH}) {layout}")
    else:
        execute(retention, f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        execute(retention, f"CREATE TABLE {table} ({COLUMNS}, {MONTH})")
        execute(retention, f"COMMENT ON TABLE {table} IS 'PARTITIONED BY (month, tenant)'")
    for tenant in ("acme", "globex"):
        execute(retention, f"INSERT INTO {table} (ts, tenant, value) SELECT ts, '{tenant}', 20.5 FROM {HOURS}")  # noqa: S608
    with suppress(NotFound):
        retention.rollups.accept_tables(name, SCHEMA)  # An earlier run of the example created one, too.
    print(f"{table}: {count(retention, name):,} rows")


def create_repository(retention: Retention) -> str:
    """The name of a repository for snapshots: a directory next to the DuckDB file, or a repository of CrateDB."""
    if retention.engine.capabilities.product != "CrateDB":
        return "archive"
    with retention.engine.database.engine.begin() as connection:
        present = connection.exec_driver_sql("SELECT 1 FROM sys.repositories WHERE name = 'retention_example'").first()
    if not present:
        execute(retention, "CREATE REPOSITORY retention_example TYPE fs WITH (location = 'retention_example')")
    return "retention_example"


def count(retention: Retention, name: str) -> int:
    """The number of rows of a table."""
    if retention.engine.capabilities.product == "CrateDB":
        execute(retention, f"REFRESH TABLE {SCHEMA}.{name}")
    with retention.engine.database.engine.begin() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {SCHEMA}.{name}").scalar_one())  # noqa: S608


def execute(retention: Retention, statement: str) -> None:
    """Execute SQL."""
    with retention.engine.database.engine.begin() as connection:
        connection.exec_driver_sql(statement)
