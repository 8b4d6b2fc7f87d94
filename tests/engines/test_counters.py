"""
What a counter grew by is the same from raw rows, from a level, and from a coarser one: the difference of each value to
the one before it, however long ago that was.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections import defaultdict
from typing import Any

import pytest

from cratedb_retention.model.query.reading import FetchRequest
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.time import parse_instant
from support.databases import MONTH, TIME, Database
from support.tiers import DECIDED, others_on_duckdb

DAY = MONTH.replace("month", "day")
MONTHS_DO = pytest.mark.long("make test has months there, and all three on DuckDB", on="cratedb")

# Ties, resets, silence beyond a day and beyond a month, NULL, and a value that a double can't hold.
ROWS: list[tuple[str, str | None, int | None]] = [
    ("2024-05-02T03:00", "a", 100),
    ("2024-05-02T03:00", "a", 130),
    ("2024-05-02T03:00", "a", 110),
    ("2024-05-02T04:10", "a", 140),
    ("2024-05-02T04:10", "a", 20),
    ("2024-05-02T04:30", "a", 150),
    ("2024-05-05T04:30", "a", 160),
    ("2024-05-05T09:30", "a", None),
    ("2024-05-05T12:00", "a", 7),
    ("2024-06-20T12:00", "a", 9),
    ("2024-06-21T12:00", "a", 2**60 + 1),
    ("2024-06-21T13:00", "a", 2**60 + 4),
    ("2024-05-02T05:00", None, 5),
    ("2024-05-31T23:59", None, 6),
    ("2024-06-01T00:00", None, 8),
    ("2024-06-21T20:00", None, 18),
    ("2024-05-04T01:00", "b", 50),
    ("2024-05-04T01:00", "b", 40),
    ("2024-06-19T02:00", "b", 60),
]


def right(step: str) -> dict[tuple[str, str | None], float]:
    """The increases by hour or day and series."""
    found: dict[tuple[str, str | None], float] = defaultdict(float)
    for host in ("a", "b", None):
        mine = sorted((time, n) for time, name, n in ROWS if name == host and n is not None)
        found[mine[0][0][: 13 if step == "1h" else 10], host] += 0
        for (_, before), (time, value) in itertools.pairwise(mine):
            found[time[: 13 if step == "1h" else 10], host] += value - before if value >= before else value
    return dict(found)


def fetched(db: Database, step: str, start: str = "2024-05-01") -> dict[tuple[str, str | None], float]:
    """The same as `fetch` gives it."""
    asked = FetchRequest(
        table_name="traffic",
        table_schema=db.schema,
        start=parse_instant(start),
        end=dt.datetime(2024, 6, 22, tzinfo=dt.UTC),
        step=parse_interval(step),
        metrics=("bytes:increase",),
        by=("host",),
    )
    rows: Any = db.tool.fetch(asked).rows
    length = 13 if step == "1h" else 10
    return {(row[0].isoformat()[:length], row[1]): row[2] for row in rows if row[2] is not None}


def write(db: Database, rows: list[tuple[str, str | None, int | None]]) -> None:
    """Write some rows."""
    db.insert("traffic", [{"ts": time, "host": host, "bytes": n} for time, host, n in rows])
    db.refresh("traffic")


def create(db: Database, partition: str | None, levels: str, raw: str = "10y") -> None:
    """A table with a counter."""
    part = {"part": partition} if partition else {}
    db.create("traffic", {"ts": TIME, "host": "TEXT", "bytes": "BIGINT", **part}, by=list(part))
    db.policy("downsample", "traffic", raw, levels=levels, counters=["bytes"], metrics=["bytes"])


def run(db: Database, now: str) -> None:
    """Run at a time."""
    db.time.set(f"{now}+00:00")
    assert db.tool.run().ok


@pytest.mark.parametrize("partition", [*(pytest.param(each, marks=MONTHS_DO) for each in (None, DAY)), MONTH])
def test_the_same_from_everywhere(db: Database, partition: str | None) -> None:
    """From raw rows, whatever the range begins with, and from levels that grew row by row or all at once."""
    create(db, partition, "1h:20y,1d:forever")
    written = 0
    for now in ("2024-05-02T12:00", "2024-05-05T10:00", "2024-05-31T12:00", "2024-06-20T18:00", "2024-06-22T00:00"):
        new = [row for row in sorted(ROWS, key=lambda row: row[0]) if row[0] < now][written:]
        write(db, new)
        written += len(new)
        run(db, now)
    for step in ("1h", "1d"):
        assert fetched(db, step) == right(step)
        begun = {key: value for key, value in right(step).items() if key[0] >= "2024-06-19"}
        assert fetched(db, step, "2024-06-19") == begun
    db.tool.drop_rollups("traffic", db.schema)
    run(db, "2024-06-22T00:00")
    for step in ("1h", "1d"):
        assert fetched(db, step) == right(step)


@pytest.mark.parametrize("start", ["2024-06-20T12:30", *others_on_duckdb("2024-05-01", "2024-05-05", "2024-06-19")])
def test_raw_rows_after_levels(db: Database, start: str) -> None:
    """Raw rows that are in no level yet follow what levels have of their series, however long ago."""
    create(db, MONTH, "1h:20y,1d:forever")
    write(db, [row for row in ROWS if row[0] < "2024-06"])
    run(db, "2024-06-01T00:00")
    write(db, [row for row in ROWS if row[0] >= "2024-06"])
    for step in ("1h", "1d"):
        begun = {key: value for key, value in right(step).items() if key[0] >= start[: len(key[0])]}
        if start.endswith("30"):
            begun.pop(("2024-06-20", "a"), None) if step == "1h" else None
        found = fetched(db, step, start)
        assert {key: found.get(key) for key in begun} == begun


@DECIDED
def test_late_values(db: Database) -> None:
    """A value that comes late changes what the next one adds, in whatever bucket that is."""
    create(db, None, "1h:20y,1d:forever")
    late = ("2024-05-02T04:30", "a", 150), ("2024-06-19T02:00", "b", 60)
    write(db, [row for row in ROWS if row not in late])
    run(db, "2024-06-22T00:00")
    assert fetched(db, "1h") != right("1h")
    write(db, list(late))
    assert fetched(db, "1h") == right("1h")
    run(db, "2024-06-22T00:10")
    assert fetched(db, "1h") == right("1h")
    assert fetched(db, "1d") == right("1d")


@DECIDED
def test_history_stays(db: Database) -> None:
    """When raw rows and the finer level have expired, a counter goes on from its last value in the coarser one."""
    create(db, DAY, "1h:10d,1d:forever", raw="2d")
    rows = sorted(ROWS, key=lambda row: row[0])
    for now in ("2024-05-03T00:00", "2024-05-06T00:00", "2024-06-02T00:00", "2024-06-20T18:00", "2024-06-22T00:00"):
        write(db, [row for row in rows if row[0] < now])
        rows = [row for row in rows if row[0] >= now]
        run(db, now)
        assert (
            fetched(db, "1d") == {key: v for key, v in right("1d").items() if key[0] < now[:10]} or now[11:] != "00:00"
        )
    run(db, "2024-07-22T00:00")
    assert db.count("traffic") == 0
    assert fetched(db, "1d") == right("1d")
