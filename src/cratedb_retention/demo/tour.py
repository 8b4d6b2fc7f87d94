"""
The tour: policies, plan, run, what is left, what was archived, verified and restored.

It does what the commands do that it shows, through the same library, on tables of its own.
"""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from cratedb_retention.api import Retention
from cratedb_retention.demo.data import TABLES, open_csv, read_rows
from cratedb_retention.demo.loading import count_rows, create_repository, create_table, load_csv, load_rows
from cratedb_retention.errors import DatabaseError, NotFound, RetentionError
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.execution.preparing import Selection
from cratedb_retention.model.cascade import parse_interval
from cratedb_retention.model.reading import Fetched, FetchRequest
from cratedb_retention.model.tags import parse_tag_filter
from cratedb_retention.model.time import UTC

SCHEMA, OWN_SCHEMA, REPOSITORY, TAG = "retention_demo", "retention_demo_ext", "retention_demo", "demo"
LEVELS = "1d:2y,1mo:forever"
CUTOFF = dt.datetime(2014, 1, 1, tzinfo=UTC)
CHOSEN = Selection(tags=parse_tag_filter([TAG]))


def load(retention: Retention, table: str) -> int:
    """Create one of the demonstration's tables and fill it; returns the number of rows."""
    engine, columns = retention.engine, TABLES[table]
    create_table(engine, SCHEMA, table, columns, "time_hour")
    with suppress(NotFound):  # An earlier demonstration archived the same rows.
        retention.rollups.accept_tables(table, SCHEMA)
    if engine.capabilities.freezes:
        return load_rows(engine, SCHEMA, table, columns, read_rows(table))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{table}.csv"
        with open_csv(table) as source, path.open("w", encoding="utf-8", newline="") as target:
            shutil.copyfileobj(source, target)
        return load_csv(engine, SCHEMA, table, columns, path)


def begin(retention: Retention) -> None:
    """Set up, and forget what an earlier demonstration left: its policies, holds and rollups."""
    retention.setup(journal_policy=False)  # Three policies are enough to look at.
    retention.policies.delete_tagged(CHOSEN.tags)
    for hold in retention.holds():
        retention.holds.release(hold.id)
    with suppress(NotFound):
        retention.rollups.drop("weather", SCHEMA)


def prepare_repository(retention: Retention, name: str | None) -> str:
    """
    The repository of the demonstration: the one that is named, else one of its own.

    :raises DatabaseError: if the server allows none; then an existing one must be named.
    """
    if name or not retention.engine.capabilities.freezes:
        return name or "archive"
    repositories = sa.table("repositories", sa.column("name"), schema="sys").c
    if retention.engine.database.rows(sa.select(repositories.name).where(repositories.name == REPOSITORY)):
        return REPOSITORY
    try:
        create_repository(retention.engine, REPOSITORY, REPOSITORY)
    except RetentionError as error:
        raise DatabaseError(
            "demo", f"the server allows no repository of its own ({error.reason})", "name one with --repository"
        ) from None
    return REPOSITORY


def create_policies(retention: Retention, repository: str) -> None:
    """Delete flights; archive weather, and keep days and months of it."""
    common = {"table_schema": SCHEMA, "tags": [TAG]}
    retention.policies.create(
        **common,
        strategy="delete",
        table_name="flights",
        retention_period="90d",
        description="Delays are looked at for a quarter.",
    )
    retention.policies.create(
        **common,
        strategy="snapshot",
        table_name="weather",
        retention_period="6 months",
        target_repository_name=repository,
        description="Old weather goes to the archive.",
    )
    retention.policies.create(
        **common,
        strategy="downsample",
        table_name="weather",
        retention_period="6 months",
        levels=LEVELS,
        description="Days of weather are kept for two years, months for ever.",
    )


def months(retention: Retention, table: str) -> list[tuple[str, int]]:
    """Rows of each month of a table."""
    month = sa.column("month", sa.DateTime())
    source = sa.table(table, schema=SCHEMA)
    statement = sa.select(month, sa.func.count()).select_from(source).group_by(month).order_by(month)
    return [(f"{value:%Y-%m}", count) for value, count in retention.engine.database.rows(statement)]


def restore_one(retention: Retention) -> tuple[str, int]:
    """
    Bring February's weather back.

    :return: The snapshot's name and the number of rows.
    :raises RetentionError: if it does not come back.
    """
    february = RestoreRequest(table_schema=SCHEMA, table_name="weather", start=_month(2), end=_month(3))
    restored = retention.archive.restore(february)[0]
    if restored.error:
        raise RetentionError(f"snapshot {restored.record.archived.name}", restored.error)
    return restored.record.archived.name, restored.rows or 0


def temperatures(retention: Retention, step: str) -> Fetched:
    """The year's temperatures at a resolution, hours of it only as far as there are any."""
    request = FetchRequest(
        table_name="weather",
        table_schema=SCHEMA,
        start=_month(1),
        end=CUTOFF,
        step=parse_interval(step),
        metrics=("temp:min", "temp:avg", "temp:max", "row_count"),
    )
    return retention.rollups.fetch(request)


def counted(fetched: Fetched) -> int:
    """The raw rows that an answer stands for."""
    position = fetched.columns.index("row_count")
    return sum(int(str(row[position])) for row in fetched.rows if row[position] is not None)


def _month(month: int) -> dt.datetime:
    return dt.datetime(2013, month, 1, tzinfo=UTC)


def total(retention: Retention) -> int:
    """Rows of both tables."""
    return sum(count_rows(retention.engine, SCHEMA, table) for table in TABLES)
