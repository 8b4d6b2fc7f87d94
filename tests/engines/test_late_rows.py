"""Rows that come late to a window that lasts beyond the cutoff: the next run finds them, however long it is."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from cratedb_retention.execution.rollups.levels import mark_stale
from cratedb_retention.model.query.reading import Fetched, FetchRequest
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.rollups.rollup import RollUp
from cratedb_retention.model.time import show
from support.databases import MONTH, TIME, Database
from support.tiers import DECIDED, others_on_duckdb


def create(db: Database, partitioned: bool, **policy: Any) -> None:
    """A table with a value every quarter of an hour on two days of July, rolled up on the third."""
    part = {"month": MONTH} if partitioned else {}
    db.create("readings", {"ts": TIME, "x": "DOUBLE PRECISION", "n": "BIGINT", **part}, by=list(part))
    write(db, *(f"2024-07-0{day}T{hour:02}:{minute}" for day in (1, 2) for hour in (9, 10, 21) for minute in (15, 45)))
    db.policy("downsample", "readings", "40d", levels="1h:60d,1d:forever", metrics=["x", "n"], **policy)
    run(db, "2024-07-03T10:30")


def write(db: Database, *times: str, n: int = 1) -> None:
    """Rows at these times."""
    db.insert("readings", [{"ts": time, "x": 1.0, "n": n} for time in times])
    db.refresh("readings")


def run(db: Database, now: str) -> list[tuple[str, str, str]]:
    """Run; the buckets that were computed, as level, first and end. Afterwards nothing is left to do."""
    db.time.set(f"{now}+00:00")
    prepared = db.tool.prepare()
    report = db.tool.run(prepared)
    assert report.ok
    assert db.tool.plan().tasks == ()
    assert db.tool.verify_rollups("readings", db.schema) == []
    steps = [step for task in prepared.plan.tasks for step in task.steps if isinstance(step, RollUp)]
    return [
        (str(step.rollup.interval), show(window.since), show(window.until)) for step in steps for window in step.windows
    ]


def counts(db: Database, name: str) -> list[tuple[str, int]]:
    """Raw rows by bucket of a level."""
    db.refresh(name)
    rows = db.rows(f"SELECT CAST(ts AS TEXT), sum(row_count) FROM {db.q(name)} GROUP BY ts ORDER BY 1")
    return [(str(ts), int(count)) for ts, count in rows]


@pytest.mark.parametrize("partitioned", [False, *others_on_duckdb(True)])
def test_late_rows(db: Database, partitioned: bool) -> None:
    """The buckets that late rows belong to are computed again, and no other ones."""
    create(db, partitioned)
    assert [count for _, count in counts(db, "readings_1h")] == [2, 2, 2, 2, 2, 2]
    write(db, "2024-07-01T10:20", "2024-07-01T10:30", "2024-07-01T13:00")
    assert run(db, "2024-07-03T10:40") == [
        ("1h", "2024-07-01T10:00Z", "2024-07-01T11:00Z"),
        ("1h", "2024-07-01T13:00Z", "2024-07-01T14:00Z"),
        ("1d", "2024-07-01", "2024-07-02"),
    ]
    assert [count for _, count in counts(db, "readings_1h")] == [2, 4, 1, 2, 2, 2, 2]
    assert [count for _, count in counts(db, "readings_1d")] == [9, 6]


@pytest.mark.parametrize("partitioned", [False, *others_on_duckdb(True)])
@DECIDED
def test_late_and_new_rows(db: Database, partitioned: bool) -> None:
    """Late rows and the growth of the window are one run; what comes for the present bucket waits."""
    create(db, partitioned)
    write(db, "2024-07-02T09:50", "2024-07-03T09:50", "2024-07-03T10:20", "2024-07-03T11:20")
    assert run(db, "2024-07-03T11:30") == [
        ("1h", "2024-07-02T09:00Z", "2024-07-02T10:00Z"),
        ("1h", "2024-07-03T09:00Z", "2024-07-03T11:00Z"),
        ("1d", "2024-07-02", "2024-07-03"),
    ]
    assert run(db, "2024-07-03T11:40") == []
    assert [count for _, count in counts(db, "readings_1d")] == [6, 7]


@DECIDED
@pytest.mark.parametrize("partitioned", [True, *others_on_duckdb(False)])
def test_changed_rows(db: Database, partitioned: bool) -> None:
    """Rows that were changed, or replaced by as many others, are found as well."""
    create(db, partitioned)
    table = db.q("readings")
    db.sql(f"UPDATE {table} SET x = 5 WHERE ts = '2024-07-01T09:15'")
    db.sql(f"DELETE FROM {table} WHERE ts = '2024-07-02T21:15'")
    db.refresh("readings")
    write(db, "2024-07-02T21:16")
    assert [window[1] for window in run(db, "2024-07-03T10:40") if window[0] == "1h"] == [
        "2024-07-01T09:00Z",
        "2024-07-02T21:00Z",
    ]
    rows = db.rows(f"SELECT max(x_max) FROM {db.q('readings_1d')}")
    assert rows[0][0] == 5


@pytest.mark.parametrize("partitioned", [True, *others_on_duckdb(False)])
@DECIDED
def test_until_the_next_run(db: Database, partitioned: bool) -> None:
    """Before the next run, `fetch` reads raw rows where a level lacks some, and `verify-rollups` says what is stale."""
    create(db, partitioned)
    write(db, "2024-07-01T10:20", "2024-07-02T13:00")
    answer = fetch(db, "1h")
    assert sum(int(str(row[1])) for row in answer.rows) == 14
    assert [str(row[0])[:13] for row in answer.rows if row[-1] == "raw"] == ["2024-07-01 10", "2024-07-02 13"]
    days = fetch(db, "1d")
    assert [(row[1], row[-1]) for row in days.rows] == [(7, "raw"), (7, "raw")]
    found = db.tool.verify_rollups("readings", db.schema)
    stale = [(show(d.start), d.expected, d.found) for d in found if d.what == "row_count"]
    assert stale == [("2024-07-01T10:00Z", 3, 2), ("2024-07-02T13:00Z", 1, 0)]
    assert all(difference.stale for difference in found)
    elsewhere = replace(found[0], table="elsewhere.readings_1h")
    assert [each.stale for each in mark_stale([elsewhere, found[0]], db.tool.plan())] == [False, True]
    run(db, "2024-07-03T10:40")
    assert {row[-1] for row in fetch(db, "1d").rows} == {"1d"}
    assert [row[1] for row in fetch(db, "1d").rows] == [7, 7]


@DECIDED
def test_what_is_wrong_is_not_stale(db: Database) -> None:
    """A level that somebody changed is not computed again, and `verify-rollups` says so."""
    create(db, partitioned=False)
    db.sql(f"UPDATE {db.q('readings_1h')} SET row_count = 5 WHERE ts = '2024-07-01T09:00:00Z'")
    db.refresh("readings_1h")
    write(db, "2024-07-02T13:00")
    found = db.tool.verify_rollups("readings", db.schema)
    states = {(show(d.start), d.stale) for d in found if d.what == "row_count" and d.level == "1h"}
    assert states == {("2024-07-01T09:00Z", False), ("2024-07-02T13:00Z", True)}


@DECIDED
def test_killed_between_two_levels(db: Database) -> None:
    """A run that ends after the finer level was computed again leaves the coarser one to the next run."""
    create(db, partitioned=False)
    write(db, "2024-07-01T10:20")
    prepared = db.tool.prepare()
    finer = replace(prepared, plan=replace(prepared.plan, tasks=prepared.plan.tasks[:1]))
    assert db.tool.run(finer).ok
    assert [count for _, count in counts(db, "readings_1d")] == [6, 6]
    assert run(db, "2024-07-03T10:40") == [("1d", "2024-07-01", "2024-07-02")]
    assert [count for _, count in counts(db, "readings_1d")] == [7, 6]


def fetch(db: Database, step: str) -> Fetched:
    """The number of rows in the first days of July."""
    start, end = (dt.datetime(2024, 7, day, tzinfo=dt.UTC) for day in (1, 3))
    asked = FetchRequest(
        table_name="readings",
        table_schema=db.schema,
        start=start,
        end=end,
        step=parse_interval(step),
        metrics=("row_count",),
    )
    return db.tool.fetch(asked)
