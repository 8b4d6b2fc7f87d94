"""
The first run over years of small daily partitions, which are rolled up and expired, beside the best SQL by hand.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import duckdb

from benchmarks.embedded import new_file
from benchmarks.line import Goal, Line
from benchmarks.policies import store_policies
from benchmarks.rollups import MERGED, TIME, VALUE_COLUMNS, VALUES
from benchmarks.surroundings import Surroundings
from benchmarks.timing import by_turns, seconds
from cratedb_retention import Retention

TABLES, DAYS, ROWS_PER_DAY = 5, 1825, 4
CUTOFF = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
FIRST = CUTOFF - dt.timedelta(days=DAYS)
# What is kept of raw rows, and of the finer level.
KEPT, KEPT_HOURS = 30, 730
GOAL = Goal(ratio=3)
_KEEPS = {"retention_period": f"{KEPT}d", "levels": f"1h:{KEPT_HOURS}d,1d:forever", "metrics": ["x"]}
_LEVELS = (("hour", "m{}", VALUES), ("day", "m{}_by_hour", MERGED))
_COLUMNS = ", ".join(f"{name} {'BIGINT' if name in 'nr' else 'DOUBLE'}" for name in VALUE_COLUMNS)


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Roll up and expire five years at once."""

    def ours() -> float:
        with Retention(_filled(surroundings)) as retention:
            store_policies(retention, [{"strategy": "downsample", "table_name": "m*", **_KEEPS}])
            taken = seconds(lambda: _run(retention))
            if any(retention.rollups.verify(f"m{number}") for number in range(TABLES)):
                raise RuntimeError("a level differs from its source")
            return taken

    def by_hand() -> float:
        path = _filled(surroundings).removeprefix("duckdb:///")
        with duckdb.connect(path) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return seconds(lambda: _by_hand(connection))

    taken = by_turns(surroundings.repeat(3), {"ours": ours, "by hand": by_hand})
    yield Line(
        what=f"backfill {TABLES} tables with {DAYS:,} daily partitions each, DuckDB",
        ours=taken["ours"],
        best=taken["by hand"],
        goal=GOAL,
        note="rolled up into hours and days, then expired",
    )


def _filled(surroundings: Surroundings) -> str:
    """A file with tables of a few rows for each day; gives its address."""
    rows = f"range({DAYS * ROWS_PER_DAY}) g(i)"
    moment = f"TIMESTAMPTZ '{FIRST:%Y-%m-%d} 00:00:00+00' + to_seconds(i * {86_400 // ROWS_PER_DAY})"
    day = f"day {TIME} GENERATED ALWAYS AS (date_trunc('day', ts))"
    return new_file(
        surroundings.directory(),
        (
            statement
            for number in range(TABLES)
            for statement in (
                f"CREATE TABLE m{number} (ts {TIME}, host TEXT, x DOUBLE, {day})",
                f"INSERT INTO m{number} (ts, host, x) SELECT {moment}, 'host-' || (i % 2), random() FROM {rows}",
            )
        ),
    )


def _run(retention: Retention) -> None:
    report = retention.run(cutoff=CUTOFF)
    if not report.ok or report.partitions < TABLES * (DAYS - KEPT - 1):
        raise RuntimeError(f"not everything was rolled up and expired: {report}")


def _by_hand(connection: duckdb.DuckDBPyConnection) -> None:
    """The same levels, checked by nothing, in a transaction for each table."""
    for number in range(TABLES):
        connection.begin()
        for unit, below, values in _LEVELS:
            table = f"m{number}_by_{unit}"
            connection.execute(f"CREATE TABLE {table} (ts {TIME}, host TEXT, {_COLUMNS})")
            bucket = f"time_bucket(INTERVAL '1 {unit}', ts)"
            query = f"SELECT {bucket}, host, {values} FROM {below.format(number)} GROUP BY 1, 2"
            connection.execute(f"INSERT INTO {table} (ts, host, {', '.join(VALUE_COLUMNS)}) {query}")
        for table, kept in ((f"m{number}", KEPT), (f"m{number}_by_hour", KEPT_HOURS)):
            connection.execute(f"DELETE FROM {table} WHERE ts < ?", [CUTOFF - dt.timedelta(days=kept)])
        connection.commit()
