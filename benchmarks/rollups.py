"""
Rolling up a month of raw rows into hours and days, beside one hand-written INSERT ... SELECT for each; and a run that
finds nothing to roll up.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.embedded import new_file
from benchmarks.line import Goal, Line
from benchmarks.policies import statements
from benchmarks.surroundings import Surroundings
from benchmarks.timing import by_turns, seconds
from cratedb_retention import Retention

DAYS, PER_DAY, HOSTS = 30, 20_000, 20
CUTOFF = dt.datetime(2020, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=DAYS)
TIME = "TIMESTAMP WITH TIME ZONE"
SCHEMA, EXT = "bench_rollups", "bench_rollups_ext"
GOAL = Goal(ratio=1.2)
VALUES = "min(x), max(x), sum(x), count(x), min_by(x, ts), max_by(x, ts), count(*)"
OURS, BY_HAND = "ours", "by hand"


@dataclass
class Bench:
    """A table of raw rows, and a policy on it."""

    retention: Retention
    bucket: Callable[[str], str]
    schema: str

    def run(self, sql: str) -> None:
        """Execute SQL."""
        self.retention.engine.database.transact(lambda connection: connection.exec_driver_sql(sql))

    def ours(self) -> float:
        """Roll everything up, into new tables."""
        if self.retention.store.rollups.all():
            self.retention.drop_rollups("raw", self.schema)
        started = time.perf_counter()
        report = self.retention.run(cutoff=CUTOFF)
        taken = time.perf_counter() - started
        if not report.ok or self.retention.verify_rollups("raw", self.schema):
            raise RuntimeError(f"not everything was rolled up: {report}")
        return taken

    def by_hand(self) -> float:
        """The same two tables by the best SQL that does the same: days are computed from hours."""
        for name in ("h", "d"):
            self.run(f"DROP TABLE IF EXISTS {self.schema}.{name}")
            columns = f"ts {TIME}, host TEXT, a DOUBLE PRECISION, b DOUBLE PRECISION, c DOUBLE PRECISION, n BIGINT"
            self.run(f"CREATE TABLE {self.schema}.{name} ({columns}, f DOUBLE PRECISION, l DOUBLE PRECISION, r BIGINT)")
        raw = f"SELECT {self.bucket('hour')}, host, {VALUES} FROM {self.schema}.raw GROUP BY 1, 2"
        merged = "min(a), max(b), sum(c), sum(n), min_by(f, ts), max_by(l, ts), sum(r)"
        days = f"SELECT {self.bucket('day')}, host, {merged} FROM {self.schema}.h GROUP BY 1, 2"
        insert = "INSERT INTO {schema}.{table} (ts, host, a, b, c, n, f, l, r) {query}"

        def work() -> None:
            self.run(insert.format(schema=self.schema, table="h", query=raw))
            if self.retention.engine.database.refreshes:
                self.retention.engine.database.refresh_name(f"{self.schema}.h")
            self.run(insert.format(schema=self.schema, table="d", query=days))

        return seconds(work)


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Roll up on both databases."""
    yield from _on(surroundings, _duckdb(surroundings), "DuckDB")
    yield from _on(surroundings, _cratedb(surroundings), "CrateDB")


def _on(surroundings: Surroundings, bench: Bench, product: str) -> Iterator[Line]:
    policy = {"retention_period": f"{2 * DAYS}d", "levels": "1h:1y,1d:forever", "metrics": ["x"]}
    bench.retention.setup()
    bench.retention.create_policy(strategy="downsample", table_schema=bench.schema, table_name="raw", **policy)
    taken = by_turns(surroundings.repeat(3), {OURS: bench.ours, BY_HAND: bench.by_hand})
    what = f"roll up {DAYS * PER_DAY:,} rows of {DAYS} days into hours and days, {product}"
    yield Line(what, taken[OURS], taken[BY_HAND], None, GOAL, "counted (law 5) and noted window by window")
    before = statements(bench.retention)
    idle = seconds(lambda: bench.retention.run(cutoff=CUTOFF))
    yield Line(f"nothing to roll up, {product}", idle, None, statements(bench.retention) - before)
    bench.retention.close()


def _duckdb(surroundings: Surroundings) -> Bench:
    day = f"day {TIME} GENERATED ALWAYS AS (date_trunc('day', ts))"
    count = DAYS * PER_DAY
    rows = (
        f"SELECT TIMESTAMPTZ '2020-01-01 00:00:00+00' + to_milliseconds(i * {86_400_000 // PER_DAY}::BIGINT),"
        f" 'host-' || (i % {HOSTS}), random() FROM range({count}) r(i)"
    )
    uri = new_file(
        surroundings.directory(),
        (
            f"CREATE SCHEMA {SCHEMA}",
            f"CREATE TABLE {SCHEMA}.raw (ts {TIME}, host TEXT, x DOUBLE, {day})",
            f"INSERT INTO {SCHEMA}.raw (ts, host, x) {rows}",
        ),
    )
    return Bench(Retention(uri, EXT), lambda unit: f"time_bucket(INTERVAL '1 {unit}', ts)", SCHEMA)


def _cratedb(surroundings: Surroundings) -> Bench:
    server, table = surroundings.server, f"{SCHEMA}.raw"
    server.sql(f"DROP TABLE IF EXISTS {table}")
    day = f"day {TIME} GENERATED ALWAYS AS date_trunc('day', ts)"
    server.sql(
        f"CREATE TABLE {table} (ts {TIME}, host TEXT, x DOUBLE PRECISION, {day})"
        " CLUSTERED INTO 1 SHARDS PARTITIONED BY (day) WITH (number_of_replicas = 0)"
    )
    start = 1_577_836_800_000
    for number in range(DAYS):
        series = f"generate_series(0, {PER_DAY - 1}) AS g(i)"
        moment = f"{start + number * 86_400_000} + g.i * {86_400_000 // PER_DAY}"
        server.sql(
            f"INSERT INTO {table} (ts, host, x)"
            f" (SELECT ({moment})::{TIME}, 'host-' || (g.i % {HOSTS}), random() FROM {series})"
        )
    server.sql(f"REFRESH TABLE {table}")
    return Bench(Retention(server.uri, EXT), lambda unit: f"date_trunc('{unit}', ts)", SCHEMA)
