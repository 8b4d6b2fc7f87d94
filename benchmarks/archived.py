"""
Reading archived rows, beside the same question to the table before they were archived, and beside DuckDB that reads the
files by hand; and the most memory that archiving and reading need, of many rows and of eight times as many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb

from benchmarks.embedded import new_file
from benchmarks.line import Goal, Line
from benchmarks.surroundings import Surroundings
from benchmarks.timing import by_turns, seconds, usage
from cratedb_retention import FetchRequest, Retention, parse_interval
from cratedb_retention.clock import Clock
from cratedb_retention.model.time import parse_instant

ROWS = 5_270_400  # Of two months, one every second.
NOW = parse_instant("2024-07-02")
MONTH = "month TIMESTAMPTZ GENERATED ALWAYS AS (date_trunc('month', ts))"
ASKED = {
    "a day by hours": ("2024-04-10", "2024-04-11", "1h"),
    "two months by days": ("2024-03-01", "2024-05-01", "1d"),
}
GOAL = Goal(ratio=1.5, constant=0.1)
SELECT = "SELECT host, count(*), avg(a) FROM {} GROUP BY host"
COLUMNS = ", ".join(["ts TIMESTAMPTZ", "host TEXT", *(f"{name} DOUBLE" for name in "abcd"), MONTH])
POLICY = {"strategy": "snapshot", "table_name": "metrics", "target_repository_name": "archive"}
SIZES = (1_000_000, 8_000_000)
MOST, ARCHIVING = Goal(megabytes=700), Goal(megabytes=300)
OPENED = """
import contextlib, io
from cratedb_retention import FetchRequest, Retention, parse_interval
from cratedb_retention.model.time import parse_instant

def archive(retention):
    report = retention.run()
    assert report.ok and report.partitions == 2, report

def fetch(retention):
    start, end = map(parse_instant, ("2024-03-01", "2024-05-01"))
    asked = FetchRequest(table_name="metrics", start=start, end=end, step=parse_interval("1h"), by=("host",))
    assert len(retention.rollups.fetch(asked).rows) > 50_000

def verify(retention):
    assert [found.error for found in retention.archive.verify()] == [None, None]

def export(text, form):
    def work(retention):
        with retention.archive.query(text) as answer, open("/dev/null", "wb") as stream:
            answer.write(form, stream)
    return work

WORK = {
    "archive": archive,
    "verify": verify,
    "fetch": fetch,
    "query, grouped": export("SELECT host, date_trunc('hour', ts), avg(a) FROM metrics GROUP BY ALL", "csv"),
    "query, sorted": export("FROM metrics ORDER BY a", "csv"),
    "query, as Parquet": export("FROM metrics", "parquet"),
}

@contextlib.contextmanager
def prepared(uri, what):
    with Retention(uri) as retention:
        retention.engine.database.execute_text("SET memory_limit = '128MB'")
        yield lambda: WORK[what](retention)
"""
WORK = ("archive", "verify", "fetch", "query, grouped", "query, sorted", "query, as Parquet")


def _fill(rows: int) -> str:
    """Rows of two months, at equal distances."""
    step = ROWS * 1000 // rows
    return (
        f"INSERT INTO metrics SELECT TIMESTAMPTZ '2024-03-01 00:00:00+00' + i * INTERVAL {step} MILLISECOND, "
        f"'h' || (i % 50), random(), random(), random(), random() FROM range({rows}) r(i)"
    )


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Fetch, archive, fetch again; and SQL."""
    directory, clock = surroundings.directory(), Clock(now=lambda: NOW, sleep=lambda seconds: None, shared=True)
    uri = new_file(directory, (f"CREATE TABLE metrics ({COLUMNS})", _fill(ROWS)))
    repeat = surroundings.repeat(5)
    with Retention(uri, clock=clock) as retention:
        asked = {what: _asking(retention, *question) for what, question in ASKED.items()}
        before = by_turns(repeat, asked)
        retention.policies.create(**POLICY, retention_period="30d")
        report = retention.run()
        if report.partitions != 2:
            raise RuntimeError(f"not archived: {report}")
        after = by_turns(repeat, asked)
        for what, took in after.items():
            yield Line(what=f"fetch of {what} from archives", ours=took, best=before[what], goal=GOAL, note="table")
        files = f"read_parquet({[str(path) for path in sorted(Path(directory, 'archive').rglob('*.parquet'))]})"
        ways = {
            "ours": lambda: seconds(lambda: _select(retention)),
            "by hand": lambda: seconds(lambda: duckdb.sql(SELECT.format(files)).fetchall()),
        }
        taken = by_turns(repeat, ways)
        yield Line(
            what="query of two months", ours=taken["ours"], best=taken["by hand"], goal=GOAL, note="read_parquet"
        )
    for rows in SIZES:
        uri = new_file(surroundings.directory(), (f"CREATE TABLE metrics ({COLUMNS})", _fill(rows)))
        with Retention(uri) as retention:
            retention.policies.create(**POLICY, retention_period="30d")
        for what in WORK:
            spent, megabytes = usage(OPENED, uri, what)
            goal = ARCHIVING if what in ("archive", "verify") else MOST
            yield Line(what=f"{what}: {rows:,} rows", ours=spent, megabytes=megabytes, goal=goal)


def _asking(retention: Retention, start: str, end: str, step: str) -> Callable[[], float]:
    request = FetchRequest(
        table_name="metrics",
        start=parse_instant(start),
        end=parse_instant(end),
        step=parse_interval(step),
        metrics=("a:avg", "a:max", "row_count"),
        by=("host",),
    )
    return lambda: seconds(lambda: retention.rollups.fetch(request))


def _select(retention: Retention) -> None:
    with retention.archive.query(SELECT.format("metrics")) as answer:
        list(answer)
