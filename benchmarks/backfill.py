"""
The first run over years of small daily partitions, which are rolled up and expired, beside the best SQL by hand. Rows
of the new levels that are too old as well expire by the next run.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from benchmarks.bulk import BY_HAND, OURS
from benchmarks.embedded import new_file
from benchmarks.line import Goal, Line
from benchmarks.policies import store_policies
from benchmarks.rollups import LENGTHS, MERGED, TIME, VALUE_COLUMNS, VALUES
from benchmarks.surroundings import Surroundings
from benchmarks.timing import by_turns, usage
from cratedb_retention import Retention

TABLES, DAYS, ROWS_PER_DAY = (5, 40), 1825, 4
CUTOFF = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
FIRST = CUTOFF - dt.timedelta(days=DAYS)
# What is kept of raw rows, and of the finer level.
KEPT, KEPT_HOURS = 30, 730
GOAL = Goal(ratio=3, megabytes=300)
_KEEPS = {"retention_period": f"{KEPT}d", "levels": f"1h:{KEPT_HOURS}d,1d:forever", "metrics": ["x"]}
_LEVELS = (("hour", "m{}", VALUES), ("day", "m{}_by_hour", MERGED))
_COLUMNS = ", ".join(f"{name} {'BIGINT' if name in 'nr' else 'DOUBLE'}" for name in VALUE_COLUMNS)


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Roll up and expire five years at once."""

    for tables in TABLES:
        megabytes = 0.0

        def ours(tables: int = tables) -> float:
            nonlocal megabytes
            uri = _filled(surroundings, tables)
            with Retention(uri) as retention:
                store_policies(retention, [{"strategy": "downsample", "table_name": "m*", **_KEEPS}])
            taken, memory = usage(OURS, uri, CUTOFF.isoformat())
            megabytes = max(megabytes, memory)
            with Retention(uri) as retention:
                _check(retention, tables)
            return taken

        def by_hand(tables: int = tables) -> float:
            path = _filled(surroundings, tables).removeprefix("duckdb:///")
            return usage(BY_HAND, path, "", *_by_hand(tables))[0]

        taken = by_turns(surroundings.repeat(3 if tables == min(TABLES) else 1), {"ours": ours, "by hand": by_hand})
        yield Line(
            what=f"backfill {tables} tables with {DAYS:,} daily partitions each, DuckDB",
            ours=taken["ours"],
            best=taken["by hand"],
            megabytes=megabytes,
            goal=GOAL,
            note="processor time; rolled up into hours and days, then raw rows expired",
        )


def _filled(surroundings: Surroundings, tables: int) -> str:
    """A file with tables of a few rows for each day; gives its address."""
    rows = f"range({DAYS * ROWS_PER_DAY}) g(i)"
    moment = f"TIMESTAMPTZ '{FIRST:%Y-%m-%d} 00:00:00+00' + to_seconds(i * {86_400 // ROWS_PER_DAY})"
    day = f"day {TIME} GENERATED ALWAYS AS (date_trunc('day', ts))"
    return new_file(
        surroundings.directory(),
        (
            statement
            for number in range(tables)
            for statement in (
                f"CREATE TABLE m{number} (ts {TIME}, host TEXT, x DOUBLE, {day})",
                f"INSERT INTO m{number} (ts, host, x) SELECT {moment}, 'host-' || (i % 2), random() FROM {rows}",
            )
        ),
    )


def _check(retention: Retention, tables: int) -> None:
    report = retention.run(cutoff=CUTOFF)
    plan = retention.plan(cutoff=CUTOFF)
    if not report.ok or plan.tasks or any(retention.rollups.verify(f"m{number}") for number in range(tables)):
        raise RuntimeError(f"not everything was rolled up and expired: {report}, {len(plan.tasks)} tasks")


def _by_hand(tables: int) -> Iterator[str]:
    """The same levels, checked by nothing, in a transaction for each table."""
    for number in range(tables):
        yield "BEGIN"
        for unit, below, values in _LEVELS:
            table = f"m{number}_by_{unit}"
            yield f"CREATE TABLE {table} (ts {TIME}, host TEXT, {_COLUMNS})"
            bucket = f"time_bucket(INTERVAL '{LENGTHS[unit]}', ts)"
            query = f"SELECT {bucket}, host, {values} FROM {below.format(number)} GROUP BY 1, 2"
            yield f"INSERT INTO {table} (ts, host, {', '.join(VALUE_COLUMNS)}) {query}"
        yield f"DELETE FROM m{number} WHERE ts < TIMESTAMPTZ '{CUTOFF - dt.timedelta(days=KEPT)}'"
        yield "COMMIT"
