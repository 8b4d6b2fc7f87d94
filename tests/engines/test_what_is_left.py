"""When a part of a longer bucket has expired from a finer level, the rest is read from it all the same."""

from __future__ import annotations

import datetime as dt

import pytest

from cratedb_retention.model.query.reading import FetchRequest
from cratedb_retention.model.rollups.cascade import parse_interval
from support.databases import MONTH, TIME, Database
from support.tiers import DECIDED

DAY = MONTH.replace("month", "day")


def day(number: int, month: int = 5) -> dt.datetime:
    """A day of May."""
    return dt.datetime(2024, month, number, tzinfo=dt.UTC)


def prepare(db: Database, levels: str) -> None:
    """A row a day, run each day until some of the days of May have expired."""
    db.create("readings", {"ts": TIME, "x": "DOUBLE PRECISION", "part": DAY}, by=["part"])
    days = [day(1) + dt.timedelta(days=i) for i in range(61)]
    db.insert("readings", [{"ts": at.isoformat(), "x": 1.0} for at in days])
    db.refresh("readings")
    db.policy("downsample", "readings", "2d", levels=levels)
    for now in (day(5), day(1, 6), day(21, 6)):
        db.time.set(now.isoformat())
        assert db.tool.run().ok
        assert db.tool.run().ok
        assert db.tool.plan().tasks == ()


def fetch(db: Database, start: dt.datetime, step: str = "1d") -> tuple[list[tuple[int, str]], list[str]]:
    """Rows and level by bucket until the end of May, and what is said."""
    asked = FetchRequest(
        table_name="readings",
        table_schema=db.schema,
        start=start,
        end=day(1, 6),
        step=parse_interval(step),
        metrics=("row_count",),
    )
    answer = db.tool.fetch(asked)
    return [(int(str(row[1])), str(row[2])) for row in answer.rows], answer.notes


def view(db: Database, where: str) -> list[tuple[str, int]]:
    """How many rows the view shows, by level."""
    db.refresh("readings")
    query = f"SELECT level, sum(row_count) FROM {db.q('readings_all')} WHERE {where} GROUP BY level ORDER BY level"
    return [(str(level), int(count)) for level, count in db.rows(query)]


def first_day(db: Database) -> dt.datetime:
    """The first day that the level of days still has."""
    db.refresh("readings_1d")
    (row,) = db.rows(f"SELECT min(CAST(ts AS DATE)) FROM {db.q('readings_1d')}")
    found = row[0]
    if isinstance(found, int):
        return dt.datetime.fromtimestamp(found / 1000, dt.UTC)
    return dt.datetime.combine(dt.date.fromisoformat(str(found)[:10]), dt.time(), dt.UTC)


@DECIDED
def test_days_of_a_month(db: Database) -> None:
    """Some weeks of May have expired; the other days are there, and no note says that they are not."""
    prepare(db, "1d:30d,1mo:forever")
    first = first_day(db)
    assert day(1) < first < day(31)
    rows, notes = fetch(db, first)
    assert rows == [(1, "1d")] * (day(1, 6) - first).days
    assert notes == []
    rows, notes = fetch(db, day(1))
    assert rows == [(first.day - 1, "1mo"), *[(1, "1d")] * (32 - first.day)]
    (note,) = notes
    assert note == (
        f"2024-05-01 to {first:%Y-%m-%d}: only 1mo is left; one bucket, "
        f"computed by subtracting the shorter ones from {first:%Y-%m-%d} on"
    )
    assert view(db, "ts < '2024-06-01'") == [("1mo", 31)]


@pytest.mark.long("make test reads the days of a month there, and this on DuckDB", on="cratedb")
def test_hours_of_a_window(db: Database) -> None:
    """Where buckets are whole on both sides, nothing is hidden, neither by the view nor by `fetch`."""
    prepare(db, "1h:30d,1d:forever")
    db.refresh("readings_1h")
    (row,) = db.rows(f"SELECT count(*) FROM {db.q('readings_1h')} WHERE ts < '2024-06-01'")
    left = int(row[0])
    assert 0 < left < 31
    assert fetch(db, day(1), "1h")[0] == [(1, "1d")] * (31 - left) + [(1, "1h")] * left
    assert view(db, "ts < '2024-06-01'") == [("1d", 31 - left), ("1h", left)]
