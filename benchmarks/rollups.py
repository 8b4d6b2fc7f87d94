"""
Rolling up a month of raw rows into minutes, hours and days, beside one hand-written INSERT ... SELECT for each; then a
run that finds nothing to do, an hour more, and rows that come late.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from benchmarks.embedded import new_file
from benchmarks.line import Goal, Line
from benchmarks.policies import statements
from benchmarks.surroundings import Surroundings
from benchmarks.timing import by_turns, seconds
from cratedb_retention import Retention

DAYS, HOSTS, DAY_MS = 30, 20, 86_400_000
EMBEDDED_ROWS, SERVER_ROWS = 20_000_000, 2_000_000
START_MS = 1_577_836_800_000
CUTOFF = dt.datetime.fromtimestamp(START_MS / 1000, dt.UTC) + dt.timedelta(days=DAYS)
HOUR = dt.timedelta(hours=1)
TIME = "TIMESTAMP WITH TIME ZONE"
SCHEMA, EXT = "bench_rollups", "bench_rollups_ext"
GOAL = Goal(ratio=1.2)
VALUES = "min(x), max(x), sum(x), avg(x), count(x), min_by(x, ts), max_by(x, ts), count(*)"
MERGED = "min(a), max(b), sum(c), sum(c) / sum(n), sum(n), min_by(f, ts), max_by(l, ts), sum(r)"
VALUE_COLUMNS = ("a", "b", "c", "v", "n", "f", "l", "r")
LEVELS = (("minute", "raw", VALUES), ("hour", "by_minute", MERGED), ("day", "by_hour", MERGED))
# On DuckDB. A day of the calendar, ``INTERVAL '1 day'``, takes a hundred times as long as 24 hours.
LENGTHS = {"minute": "1 minute", "hour": "1 hour", "day": "24 hours"}
PARTS = {"minute": "week", "hour": "month", "day": "year"}
LATE_DAYS = 3
OURS, BY_HAND = "ours", "by hand"
_KEEPS = {"retention_period": f"{2 * DAYS}d", "levels": "1m:90d,1h:1y,1d:forever", "metrics": ["x"]}


@dataclass(kw_only=True)
class Bench:
    """
    A table of raw rows, and a policy on it.

    :param bucket: The start of a bucket in SQL, by its unit.
    :param series: Whole numbers from 0 up to one number in SQL, as ``g(i)``.
    :param moment: An instant in SQL, from one of milliseconds.
    :param table: What the table of a unit has, in SQL: its columns and options, the same as that of the toolkit, which
        has the version of each row as well.
    :param pieces: Statements that fill the finest level, each for so much of the time: however many are best.
    """

    retention: Retention
    rows: int
    bucket: Callable[[str], str]
    series: Callable[[int], str]
    moment: Callable[[str], str]
    table: Callable[[str], str]
    pieces: int

    def run(self, sql: str) -> None:
        """Execute SQL."""
        self.retention.engine.database.transact(lambda connection: connection.exec_driver_sql(sql))

    def fill(self, start: int, length: int, rows: int) -> None:
        """Add rows, spread evenly over a stretch of time (ms)."""
        moment = self.moment(f"CAST({start} + g.i * {length / rows} AS BIGINT)")
        values = f"SELECT {moment}, 'host-' || (g.i % {HOSTS}), random() FROM {self.series(rows)}"
        self.run(f"INSERT INTO {SCHEMA}.raw (ts, host, x) {values}")
        self.refresh("raw")

    def refresh(self, table: str) -> None:
        """Make what was written visible, where that takes a statement."""
        self.retention.engine.database.refresh(sa.table(table, schema=SCHEMA))

    def roll_up(self, cutoff: dt.datetime) -> float:
        """Run, which must go well."""
        started = time.perf_counter()
        report = self.retention.run(cutoff=cutoff)
        taken = time.perf_counter() - started
        if not report.ok or self.retention.rollups.verify("raw", SCHEMA):
            raise RuntimeError(f"not everything was rolled up: {report}")
        return taken

    def ours(self) -> float:
        """Roll everything up, into new tables."""
        if self.retention.store.rollups.all():
            self.retention.rollups.drop("raw", SCHEMA)
        return self.roll_up(CUTOFF)

    def by_hand(self) -> float:
        """The same columns by the best SQL that computes them: hours from minutes, and days from hours."""
        for unit, _, _ in LEVELS:
            self.run(f"DROP TABLE IF EXISTS {SCHEMA}.by_{unit}")
            self.run(f"CREATE TABLE {SCHEMA}.by_{unit} {self.table(unit)}")

        def work() -> None:
            for unit, beneath, values in LEVELS:
                for piece in self._pieces() if beneath == "raw" else [""]:
                    query = f"SELECT {self.bucket(unit)}, host, {values} FROM {SCHEMA}.{beneath}{piece} GROUP BY 1, 2"
                    self.run(f"INSERT INTO {SCHEMA}.by_{unit} (ts, host, {', '.join(VALUE_COLUMNS)}) {query}")
                self.refresh(f"by_{unit}")

        return seconds(work)

    def _pieces(self) -> Iterator[str]:
        length = DAYS * DAY_MS // self.pieces
        for start in range(START_MS, START_MS + DAYS * DAY_MS, length):
            yield f" WHERE ts >= {self.moment(str(start))} AND ts < {self.moment(str(start + length))}"


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Roll up on both databases."""
    yield from _on(surroundings, _duckdb(surroundings), "DuckDB")
    yield from _on(surroundings, _cratedb(surroundings), "CrateDB")


def _on(surroundings: Surroundings, bench: Bench, product: str) -> Iterator[Line]:
    bench.retention.setup()
    bench.retention.policies.create(strategy="downsample", table_schema=SCHEMA, table_name="raw", **_KEEPS)
    taken = by_turns(surroundings.repeat(3), {OURS: bench.ours, BY_HAND: bench.by_hand})
    what = f"roll up {bench.rows:,} rows of {DAYS} days into minutes, hours and days, {product}"
    yield Line(
        what=what,
        ours=taken[OURS],
        best=taken[BY_HAND],
        statements=None,
        goal=GOAL,
        note="counted (law 5) and noted window by window",
    )
    if product == "DuckDB":
        bench.run("SET memory_limit = '512MB'")
        yield Line(what="the same in 512 MB of memory, DuckDB", ours=bench.ours(), best=taken[BY_HAND])
        bench.run("RESET memory_limit")
    before = statements(bench.retention)
    idle = seconds(lambda: bench.retention.run(cutoff=CUTOFF))
    yield Line(
        what=f"nothing to roll up, {product}", ours=idle, best=None, statements=statements(bench.retention) - before
    )
    yield from _more(bench, product)
    bench.retention.close()


def _more(bench: Bench, product: str) -> Iterator[Line]:
    """New rows cost what there is of them, late ones what lies in the windows that they touch."""
    hourly = bench.rows // DAYS // 24
    bench.fill(START_MS + DAYS * DAY_MS, DAY_MS // 24, hourly)
    yield Line(what=f"roll up an hour more, {hourly:,} rows, {product}", ours=bench.roll_up(CUTOFF + HOUR))
    for days in (1, LATE_DAYS):
        for day in range(days):
            bench.fill(START_MS + (7 * days + day) * DAY_MS, DAY_MS, 100)
        words = "a day" if days == 1 else f"{days} days"
        yield Line(what=f"roll up anew {words} with late rows, {product}", ours=bench.roll_up(CUTOFF + HOUR))


def _duckdb(surroundings: Surroundings) -> Bench:
    day = f"day {TIME} GENERATED ALWAYS AS (date_trunc('day', ts))"
    table = f"CREATE TABLE {SCHEMA}.raw (ts {TIME}, host TEXT, x DOUBLE, {day})"
    uri = new_file(surroundings.directory(), (f"CREATE SCHEMA {SCHEMA}", table))
    bench = Bench(
        retention=Retention(uri, EXT),
        rows=surroundings.rows or EMBEDDED_ROWS,
        bucket=lambda unit: f"time_bucket(INTERVAL '{LENGTHS[unit]}', ts)",
        series=lambda count: f"range({count}) g(i)",
        moment=lambda ms: f"make_timestamptz({ms} * 1000)",
        table=lambda unit: f"(ts {TIME}, host TEXT, {_values('')})",
        pieces=1,
    )
    bench.fill(START_MS, DAYS * DAY_MS, bench.rows)
    return bench


def _values(option: str) -> str:
    kinds = {"n": "BIGINT", "r": "BIGINT"}
    return ", ".join(f"{name} {kinds.get(name, 'DOUBLE PRECISION')}{option}" for name in VALUE_COLUMNS)


def _crate_level(unit: str) -> str:
    """Partitioned, since it has to expire; without an index of values, which would cost a fifth more."""
    part = f"part {TIME} GENERATED ALWAYS AS date_trunc('{PARTS[unit]}', ts)"
    options = "CLUSTERED INTO 1 SHARDS PARTITIONED BY (part) WITH (number_of_replicas = 0, refresh_interval = 0)"
    return f"(ts {TIME}, host TEXT, {_values(' INDEX OFF')}, {part}) {options}"


def _cratedb(surroundings: Surroundings) -> Bench:
    server, table = surroundings.server, f"{SCHEMA}.raw"
    server.sql(f"DROP TABLE IF EXISTS {table}")
    day = f"day {TIME} GENERATED ALWAYS AS date_trunc('day', ts)"
    server.sql(
        f"CREATE TABLE {table} (ts {TIME}, host TEXT, x DOUBLE PRECISION, {day})"
        " CLUSTERED INTO 1 SHARDS PARTITIONED BY (day) WITH (number_of_replicas = 0)"
    )
    bench = Bench(
        retention=Retention(server.uri, EXT),
        rows=surroundings.rows or SERVER_ROWS,
        bucket=lambda unit: f"date_trunc('{unit}', ts)",
        series=lambda count: f"generate_series(0, {count - 1}) AS g(i)",
        moment=lambda ms: f"({ms})::{TIME}",
        table=_crate_level,
        pieces=DAYS,
    )
    for number in range(DAYS):
        bench.fill(START_MS + number * DAY_MS, DAY_MS, bench.rows // DAYS)
    return bench
