"""
Very many rows on DuckDB, in little memory: rolled up beside the best SQL by hand, deleted, and archived. Each way runs
in a process of its own, so that its memory is known. The number of rows is chosen by ``--rows``.
"""

from __future__ import annotations

import datetime as dt
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.embedded import new_file
from benchmarks.line import Goal, Line
from benchmarks.policies import store_policies
from benchmarks.rollups import LENGTHS, LEVELS, TIME, VALUE_COLUMNS
from benchmarks.surroundings import Surroundings
from benchmarks.timing import usage
from cratedb_retention import Retention

ROWS, SERIES, EVERY = 10_000_000, 20_000, 10
START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
ROLLED_UP = Goal(ratio=1.1, megabytes=1000)
MIXED = Goal(megabytes=500)
ARCHIVED_DAYS = 70
# Beside what DuckDB may use, Python and the libraries need memory.
OF_DUCKDB, OF_DUCKDB_MIXED = 600, 250
# The processor time and the memory of a run, and of statements by hand.
OURS = """
import contextlib, datetime as dt
from cratedb_retention import Retention
from cratedb_retention.cli.main import prepare_process

@contextlib.contextmanager
def prepared(uri, cutoff, memory=""):
    prepare_process()  # As the command does.
    with Retention(uri) as retention:
        if memory:
            retention.engine.database.execute_text(f"SET memory_limit = '{memory}MB'")
        def work():
            report = retention.run(cutoff=dt.datetime.fromisoformat(cutoff))
            assert report.ok, report
        yield work
"""
BY_HAND = """
import contextlib, duckdb

@contextlib.contextmanager
def prepared(path, memory, *statements):
    with duckdb.connect(path) as connection:
        if memory:
            connection.execute(f"SET memory_limit = '{memory}MB'")
        connection.execute("SET TimeZone = 'UTC'")
        def work():
            for statement in statements:
                connection.execute(statement)
        yield work
"""


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Roll up, then a bit of everything."""
    rows = surroundings.rows or ROWS
    yield _rolled_up(surroundings, rows)
    yield _mixed(surroundings, rows // 4)


def _rolled_up(surroundings: Surroundings, rows: int) -> Line:
    """As many hours as there are rows for, of which each is a partition."""
    hour = f"hour {TIME} GENERATED ALWAYS AS (date_trunc('hour', ts))"
    moment = f"TIMESTAMPTZ '{START:%Y-%m-%d} 00:00:00+00' + to_seconds({EVERY} * (i // {SERIES}))"
    original = _file(
        surroundings,
        f"CREATE TABLE metrics (ts {TIME}, host TEXT, sensor TEXT, x DOUBLE, {hour})",
        "INSERT INTO metrics (ts, host, sensor, x)"
        f" SELECT {moment}, 'host-' || (i % {SERIES // 20}), 'sensor-' || (i // {SERIES // 20} % 20), random()"
        f" FROM range({rows}) g(i)",
    )
    keeps = {"retention_period": "60d", "levels": "1m:90d,1h:1y,1d:forever", "metrics": ["x"]}
    with Retention(f"duckdb:///{original}") as retention:
        store_policies(retention, [{"strategy": "downsample", "table_name": "metrics", **keeps}])
    cutoff = START + dt.timedelta(days=rows * EVERY // SERIES // 86_400 + 1)
    copy = original.with_name("copy.duckdb")
    found: dict[str, list[tuple[float, float]]] = {"ours": [], "by hand": []}
    for _ in range(surroundings.repeat(1)):
        for way, each in found.items():
            shutil.copyfile(original, copy)
            if way == "ours":
                each.append(_ours(copy, OF_DUCKDB, cutoff))
            else:
                by_hand = _by_hand(rows * EVERY // SERIES // 3600 + 1)
                each.append(usage(BY_HAND, copy, OF_DUCKDB, *by_hand))
            _require_days(copy, "metrics_1d" if way == "ours" else "by_day", rows)
    return Line(
        what=f"roll up {rows:,} rows of {SERIES:,} series into minutes, hours and days, DuckDB",
        ours=statistics.median(spent for spent, _ in found["ours"]),
        best=statistics.median(spent for spent, _ in found["by hand"]),
        megabytes=max(memory for _, memory in found["ours"]),
        goal=ROLLED_UP,
        note=f"processor time; by hand hour by hour, with {max(memory for _, memory in found['by hand']):.0f} MB",
    )


def _by_hand(hours: int) -> Iterator[str]:
    """The same levels; minutes hour by hour, since that takes less time in little memory."""
    kinds = ", ".join(f"{name} {'BIGINT' if name in 'nr' else 'DOUBLE'}" for name in VALUE_COLUMNS)
    for unit, below, values in LEVELS:
        yield f"CREATE TABLE by_{unit} (ts {TIME}, host TEXT, sensor TEXT, {kinds})"
        for number in range(hours if below == "raw" else 1):
            hour = START + dt.timedelta(hours=number)
            within = f" WHERE ts >= TIMESTAMPTZ '{hour}' AND ts < TIMESTAMPTZ '{hour + dt.timedelta(hours=1)}'"
            source = f"metrics{within}" if below == "raw" else below
            bucket = f"time_bucket(INTERVAL '{LENGTHS[unit]}', ts)"
            yield (
                f"INSERT INTO by_{unit} (ts, host, sensor, {', '.join(VALUE_COLUMNS)})"
                f" SELECT {bucket}, host, sensor, {values} FROM {source} GROUP BY 1, 2, 3"
            )


def _require_days(path: Path, table: str, rows: int) -> None:
    with duckdb.connect(str(path)) as connection:
        found = connection.execute(f"SELECT sum({'row_count' if table.startswith('metrics') else 'r'}) FROM {table}")
        if found.fetchone() != (rows,):
            raise RuntimeError(f"{table} does not stand for all rows")


def _mixed(surroundings: Surroundings, rows: int) -> Line:
    """As many rows to delete as to roll up, and 70 days with a tenth of that to archive."""
    end = START + dt.timedelta(days=ARCHIVED_DAYS)
    day = f"day {TIME} GENERATED ALWAYS AS (date_trunc('day', ts))"

    def filled(name: str, count: int, more: str = "") -> Iterator[str]:
        step = ARCHIVED_DAYS * 86_400_000_000 // count
        moment = f"TIMESTAMPTZ '{START:%Y-%m-%d} 00:00:00+00' + to_microseconds(i * {step})"
        yield f"CREATE TABLE {name} (ts {TIME}, sensor BIGINT, x DOUBLE{more})"
        yield f"INSERT INTO {name} (ts, sensor, x) SELECT {moment}, i % 1000, random() FROM range({count}) g(i)"

    path = _file(
        surroundings,
        *filled("events", rows),
        *filled("metrics", rows, f", {day}"),
        *filled("logs", rows // 10, f", {day}"),
    )
    archive = path.with_name("archive")
    archive.mkdir()
    cascade = {"levels": "1h:2y,1d:forever", "dimensions": ["sensor"], "metrics": ["x"]}
    with Retention(f"duckdb:///{path}") as retention:
        policies: list[dict[str, Any]] = [
            {"strategy": "delete", "table_name": "events", "retention_period": "1d", "time_column": "ts"},
            {"strategy": "downsample", "table_name": "metrics", "retention_period": "1y", **cascade},
            {"strategy": "snapshot", "table_name": "logs", "retention_period": "1d"},
        ]
        policies[-1]["target_repository_name"] = str(archive)
        store_policies(retention, policies)
    spent, memory = _ours(path, OF_DUCKDB_MIXED, end + dt.timedelta(days=1))
    with duckdb.connect(str(path)) as connection:
        counts = "(SELECT count(*) FROM events), (SELECT count(*) FROM logs), (SELECT sum(row_count) FROM metrics_1d)"
        left = connection.execute(f"SELECT {counts}").fetchone()
    if left != (0, 0, rows):
        raise RuntimeError(f"not everything was done: {left}")
    return Line(
        what=f"delete {rows:,} rows, roll {rows:,} up, archive {ARCHIVED_DAYS} days, DuckDB",
        ours=spent,
        megabytes=memory,
        goal=MIXED,
        note="processor time",
    )


def _ours(path: Path, megabytes: int, cutoff: dt.datetime) -> tuple[float, float]:
    return usage(OURS, f"duckdb:///{path}", cutoff.isoformat(), megabytes)


def _file(surroundings: Surroundings, *statements: str) -> Path:
    return Path(new_file(surroundings.directory(), statements).removeprefix("duckdb:///"))
