"""
Rows that others deleted below a level: no window loses rows by being computed again, unless the policy says that such
deletions count (law 4).
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from cratedb_retention import Report
from cratedb_retention.model.plan.plan import Blocked
from cratedb_retention.model.query.reading import FetchRequest
from cratedb_retention.model.rollups.cascade import parse_interval
from support.databases import MONTH, TIME, Database, before_statements
from support.tiers import DECIDED

DAY = f"{TIME} GENERATED ALWAYS AS (date_trunc('day', ts))"
OF_DAYS = pytest.param(DAY, id="day", marks=pytest.mark.long("make test has tables with longer partitions, and none"))
PLAIN = pytest.param(
    None, id="plain", marks=pytest.mark.long("make test has months there, and both on DuckDB", on="cratedb")
)
PARTITIONS = pytest.mark.parametrize("part", [PLAIN, OF_DAYS, pytest.param(MONTH, id="month")])
PLAIN_OR_MONTH = pytest.mark.parametrize("part", [PLAIN, pytest.param(MONTH, id="month")])


def create(db: Database, part: str | None = None, levels: str = "1h:60d,1d:forever", **policy: Any) -> None:
    """A table with a row every half an hour of 1 to 3 July, rolled up on the fourth."""
    db.create(
        "readings", {"ts": TIME, "x": "DOUBLE PRECISION", **({"part": part} if part else {})}, ["part"] if part else ()
    )
    write(
        db,
        *(f"2024-07-0{day}T{hour:02}:{minute}" for day in (1, 2, 3) for hour in range(24) for minute in ("10", "40")),
    )
    db.policy("downsample", "readings", "50d", id="p", levels=levels, **policy)
    assert run(db, "2024-07-04T00:30").ok
    assert days(db) == [48, 48, 48]


def write(db: Database, *times: str) -> None:
    """Rows at these times."""
    db.insert("readings", [{"ts": time, "x": 1.0} for time in times])


def delete(db: Database, where: str, table: str = "readings") -> None:
    """As an old cron job does."""
    db.sql(f"DELETE FROM {db.q(table)} WHERE {where}")
    db.refresh(table)


def run(db: Database, now: str) -> Report:
    """Run at a time."""
    db.time.set(f"{now}+00:00")
    return db.run()


def counts(db: Database, name: str) -> list[int]:
    """Raw rows by bucket of a level."""
    db.refresh(name)
    rows = db.rows(f"SELECT ts, sum(row_count) FROM {db.q(name)} GROUP BY ts ORDER BY ts")
    return [int(count) for _, count in rows]


def days(db: Database) -> list[int]:
    """Raw rows by day."""
    return counts(db, "readings_1d")


def blocked(db: Database, now: str) -> list[str]:
    """Run; what needs attention afterwards, by its first words."""
    report = run(db, now)
    assert not report.failed
    problems = [hold for hold in db.tool.plan().blocked if hold.needs_attention]
    assert report.needs_attention == len(problems)
    assert report.ok is not bool(problems)
    return [words(hold) for hold in problems]


def words(hold: Blocked) -> str:
    """The level and both counts."""
    assert hold.reason.endswith("the rollup is unchanged; set deletions=follow to apply these deletions to it")
    assert hold.level
    rolled, left = hold.reason.partition(":")[0].split(", but ")
    assert rolled.endswith(f" rolled up into {hold.level}")
    return f"{hold.level.name}: {rolled.split()[0]} rows rolled up, {left.split()[0]} left below"


def follow(db: Database) -> None:
    """These deletions count."""
    db.tool.edit_policy("p", {"deletions": "follow"})


@PARTITIONS
@DECIDED
def test_one_late_row(db: Database, part: str | None) -> None:
    """A day whose rows others deleted is not computed again from a row that comes late, until the policy says so."""
    create(db, part, levels="1d:forever")
    delete(db, "ts < '2024-07-02'")
    write(db, "2024-07-01T12:00")
    for now in ("2024-07-04T01:00", "2024-07-04T02:00", "2024-08-02T00:00"):
        assert blocked(db, now) == ["readings_1d: 48 rows rolled up, 1 left below"]
        assert days(db) == [48, 48, 48]
    assert [d.stale for d in db.tool.verify_rollups("readings", db.schema) if d.what == "row_count"] == [False]
    follow(db)
    assert blocked(db, "2024-08-02T01:00") == []
    assert days(db) == [1, 48, 48]
    assert db.tool.plan().tasks == ()
    assert db.tool.verify_rollups("readings", db.schema) == []


@PLAIN_OR_MONTH
def test_a_long_window_that_is_over(db: Database, part: str | None) -> None:
    """Where windows are long, those that are over keep what they have as well, and get what was not computed yet."""
    create(db, part, levels="1d:forever")
    delete(db, "ts < '2024-07-02' OR ts >= '2024-07-03T12:00'")
    write(db, "2024-07-30T09:00", "2024-07-31T09:00")
    for now in ("2024-08-01T01:00", "2024-08-01T02:00"):
        assert blocked(db, now) == ["readings_1d: 96 rows rolled up, 24 left below"]
        assert days(db) == [48, 48, 48, 1, 1]
    assert blocked(db, "2024-10-01T02:00") == ["readings_1d: 96 rows rolled up, 24 left below"]
    assert db.count("readings") == 74
    follow(db)
    assert blocked(db, "2024-08-01T03:00") == []
    assert days(db) == [48, 24, 1, 1]


@PLAIN_OR_MONTH
@DECIDED
def test_an_open_window(db: Database, part: str | None) -> None:
    """Of an open window only those buckets stay as they are; others are computed again, and new ones come."""
    create(db, part)
    delete(db, "ts < '2024-07-01T10:00' OR (ts >= '2024-07-02T10:00' AND ts < '2024-07-02T10:30')")
    write(db, "2024-07-01T08:20", "2024-07-02T11:20", "2024-07-04T00:20")
    for now in ("2024-07-04T01:20", "2024-07-04T01:30", "2024-07-04T02:30"):
        assert blocked(db, now) == ["readings_1h: 4 rows rolled up, 2 left below"]
        assert counts(db, "readings_1h") == [2] * 35 + [3] + [2] * 36 + [1]
        assert days(db) == [48, 49, 48]
    assert blocked(db, "2024-08-02T01:00") == ["readings_1h: 22 rows rolled up, 2 left below"]
    assert counts(db, "readings_1h") == [2] * 35 + [3] + [2] * 36 + [1]
    assert days(db) == [48, 49, 48, 1]
    follow(db)
    assert blocked(db, "2024-08-02T02:00") == []
    assert days(db) == [29, 48, 48, 1]


def test_as_many_others(db: Database) -> None:
    """Rows of another bucket do not make up for those that are gone; those of the same bucket do, as a change does."""
    create(db, levels="1d:forever")
    assert blocked(db, "2024-08-01T01:00") == []
    delete(db, "ts = '2024-07-03T10:10'")
    write(db, "2024-07-03T11:11")
    assert blocked(db, "2024-08-01T02:00") == []
    delete(db, "ts < '2024-07-02'")
    write(db, *(f"2024-07-02T{hour:02}:{minute}" for hour in range(24) for minute in (15, 25, 35)))
    assert blocked(db, "2024-08-01T03:00") == ["readings_1d: 48 rows rolled up, 0 left below"]
    assert days(db) == [48, 48, 48]


@PLAIN_OR_MONTH
def test_a_part_that_was_empty(db: Database, part: str | None) -> None:
    """What others deleted from an open window stays known until a row comes late, however many runs are in between."""
    create(db, part, levels="1d:forever")
    delete(db, "ts < '2024-07-02'")
    write(db, "2024-07-04T00:20")
    assert blocked(db, "2024-07-05T00:30") == []
    assert blocked(db, "2024-07-05T00:40") == []
    write(db, "2024-07-01T12:00")
    assert blocked(db, "2024-07-05T00:50") == ["readings_1d: 48 rows rolled up, 1 left below"]
    assert days(db) == [48, 48, 48, 1]


@DECIDED
def test_rows_that_moved(db: Database) -> None:
    """A row that is given another time is gone from where it was."""
    create(db)
    db.sql(f"UPDATE {db.q('readings')} SET ts = '2024-07-02T01:20' WHERE ts = '2024-07-01T01:10'")
    db.refresh("readings")
    assert blocked(db, "2024-07-04T01:00") == ["readings_1h: 2 rows rolled up, 1 left below"]
    assert counts(db, "readings_1h")[24:27] == [2, 3, 2]
    follow(db)
    assert blocked(db, "2024-07-04T01:10") == []
    assert days(db) == [47, 49, 48]


@PARTITIONS
@DECIDED
def test_a_coarser_level(db: Database, part: str | None) -> None:
    """The same rule holds for what is computed from another level; a finer one that is blocked does not hold it up."""
    create(db, part)
    delete(db, "ts < '2024-07-01T12:00'")
    write(db, "2024-07-01T09:00")
    assert blocked(db, "2024-08-02T00:00") == ["readings_1h: 24 rows rolled up, 1 left below"]
    assert days(db) == [48, 48, 48]
    delete(db, "ts >= '2024-07-02T12:00' AND ts < '2024-07-03'", "readings_1h")
    assert blocked(db, "2024-08-02T01:00")[1:] == ["readings_1d: 48 rows rolled up, 24 left below"]
    assert days(db) == [48, 48, 48]


@DECIDED
def test_partitions_that_are_unchanged(db: Database) -> None:
    """No row of the window expires meanwhile, also of a partition from which no row was deleted."""
    db.create("readings", {"ts": TIME, "tenant": "TEXT", "part": DAY}, ["tenant", "part"])
    db.insert("readings", [{"ts": f"2024-07-01T0{hour}:00", "tenant": tenant} for hour in (1, 2) for tenant in "ab"])
    db.policy("downsample", "readings", "7d", id="p", levels="1d:forever")
    assert run(db, "2024-07-04T00:00").ok
    delete(db, "tenant = 'a' AND ts < '2024-07-01T02:00'")
    assert blocked(db, "2024-07-20T00:00") == ["readings_1d: 4 rows rolled up, 3 left below"]
    assert (db.count("readings"), days(db)) == (3, [4])
    follow(db)
    for now in ("2024-07-20T01:00", "2024-07-20T02:00"):
        assert blocked(db, now) == []
    assert (db.count("readings"), days(db)) == (0, [3])


@PARTITIONS
@DECIDED
def test_counters(db: Database, part: str | None) -> None:
    """Of a counter, what comes after a change is computed again, and loses nothing either."""
    create(db, part, counters=["x"])
    delete(db, "ts >= '2024-07-02' AND ts < '2024-07-02T12:00'")
    write(db, "2024-07-01T09:00", "2024-07-02T09:00", "2024-07-04T00:20")
    for now in ("2024-07-04T01:20", "2024-08-02T00:00"):
        assert "readings_1h: 24 rows rolled up, 1 left below" in blocked(db, now)
        assert counts(db, "readings_1h")[24:] == [2] * 48 + [1]


def test_own_deletions(db: Database) -> None:
    """What another policy of the toolkit deletes is nothing that others deleted."""
    db.create("readings", {"ts": TIME, "tenant": "TEXT", "x": "DOUBLE PRECISION", "part": DAY}, ["tenant", "part"])
    rows = [
        {"ts": f"2024-07-0{day}T{hour:02}:10", "tenant": t, "x": 1.0}
        for day in (1, 2)
        for hour in range(24)
        for t in "ab"
    ]
    db.insert("readings", rows)
    db.policy("downsample", "readings", "50d", id="p", levels="1d:60d,1mo:forever")
    db.policy("delete", "readings", "3d", id="a", where={"tenant": "a"})
    for now in ("2024-07-03T01:00", "2024-07-05T01:00", "2024-07-06T01:00"):
        assert blocked(db, now) == []
    assert db.count("readings", "tenant = 'a'") == 0
    db.insert("readings", [{"ts": "2024-07-01T10:20", "tenant": "b", "x": 1.0}])
    assert blocked(db, "2024-07-06T02:00") == []
    assert blocked(db, "2024-08-02T00:00") == []
    assert days(db) == [48, 48]
    assert counts(db, "readings_1mo") == [96]


@PARTITIONS
def test_the_plan_is_old(db: Database, part: str | None) -> None:
    """What others deleted since the plan was made is found right before it would be lost."""
    create(db, part, levels="1d:forever")
    write(db, "2024-07-01T12:00", "2024-07-02T12:00")
    db.time.set("2024-08-02T00:00+00:00")
    prepared = db.tool.prepare()
    delete(db, "ts < '2024-07-01T12:00'")
    report = db.tool.run(prepared)
    assert not report.ok
    error = next(row["error"] for row in db.journal() if row["error"])
    assert (
        f"48 rows were rolled up, but 25 are left in {db.table('readings')}. The next plan explains what to do" in error
    )
    assert days(db)[0] == 48
    assert blocked(db, "2024-08-02T00:10") == ["readings_1d: 48 rows rolled up, 25 left below"]


@PARTITIONS
def test_a_run_that_was_killed(db: Database, part: str | None) -> None:
    """Killed after a level's rows were deleted and before they are there again, a run is completed by the next one."""
    create(db, part, levels="1d:forever")
    write(db, "2024-07-01T12:00")
    retention = db.retention()
    with pytest.raises(Killed), before_statements(retention.engine.database.engine, kill_at_insert):
        db.time.set("2024-07-04T01:00+00:00")
        retention.run()
    db.forget_leases()
    assert blocked(db, "2024-07-04T01:10") == []
    assert days(db) == [49, 48, 48]


@PARTITIONS
def test_killed_and_deleted(db: Database, part: str | None) -> None:
    """What others delete after such a run is not what the next one takes for all."""
    create(db, part, levels="1d:forever")
    write(db, "2024-07-01T12:00")
    retention = db.retention()
    with pytest.raises(Killed), before_statements(retention.engine.database.engine, kill_at_insert):
        db.time.set("2024-07-04T01:00+00:00")
        retention.run()
    db.forget_leases()
    delete(db, "ts < '2024-07-01T12:00'")
    assert blocked(db, "2024-07-04T01:10") == ["readings_1d: 48 rows rolled up, 25 left below"]


class Killed(BaseException):
    """The process is gone."""


def kill_at_insert(statement: str) -> None:
    """Kill a run when it is about to write to the level."""
    if statement.startswith("INSERT INTO") and "readings_1d" in statement:
        raise Killed


def test_a_level_in_between(db: Database) -> None:
    """A level that is computed from another table than before loses nothing either."""
    create(db, levels="1d:forever")
    delete(db, "ts >= '2024-07-02' AND ts < '2024-07-02T12:00'")
    db.tool.edit_policy("p", {"levels": "1h:60d,1d:forever"})
    run(db, "2024-08-02T00:00")
    assert days(db) == [48, 48, 48]


@DECIDED
def test_a_level_in_between_and_a_late_row(db: Database) -> None:
    """The same where no row is left when that happens, and one comes afterwards."""
    create(db, DAY, levels="1d:forever")
    delete(db, "ts >= '2024-07-02' AND ts < '2024-07-03'")
    db.tool.edit_policy("p", {"levels": "1h:60d,1d:forever"})
    assert run(db, "2024-07-04T01:00").ok
    write(db, "2024-07-02T12:00")
    run(db, "2024-07-04T02:00")
    assert days(db) == [48, 48, 48]
    assert blocked(db, "2024-07-04T03:00") == ["readings_1d: 48 rows rolled up, 1 left below"]
    follow(db)
    assert blocked(db, "2024-07-04T04:00") == []
    assert days(db) == [48, 1, 48]


@pytest.mark.parametrize(
    ("kind", "unit", "zone"),
    [
        ("TIMESTAMP WITHOUT TIME ZONE", None, "Asia/Kolkata"),
        ("BIGINT", "s", "Europe/Vienna"),
        pytest.param("BIGINT", "ms", "UTC", marks=pytest.mark.long("make test has seconds")),
        pytest.param("BIGINT", "ms", "Asia/Kolkata", marks=pytest.mark.long("make test has seconds")),
        pytest.param("BIGINT", "s", "UTC", marks=pytest.mark.long("make test has other zones")),
        pytest.param("TIMESTAMP WITHOUT TIME ZONE", None, "UTC", marks=pytest.mark.long("make test has other zones")),
    ],
)
def test_times_and_zones(db: Database, kind: str, unit: str | None, zone: str) -> None:
    """Buckets are compared in the policy's time zone, whatever the type of the time."""

    def made(day: int, *hours: int) -> list[dict[str, Any]]:
        times = [dt.datetime(2024, 3, day, hour, 20, tzinfo=dt.UTC) for hour in hours]
        number = {"s": 1, "ms": 1000}.get(unit or "", 0)
        written = [int(time.timestamp()) * number if unit else f"{time:%Y-%m-%dT%H:%M:%S}" for time in times]
        return [{"my ts": value, "x": 1.0} for value in written]

    db.create("readings", {"my ts": kind, "x": "DOUBLE PRECISION"})
    db.insert("readings", [row for day in (30, 31) for row in made(day, *range(6, 18))])
    more = {"time_zone": zone, "time_column": "my ts", "time_unit": unit}
    db.policy("downsample", "readings", "90d", id="p", levels="1d:100d,1mo:forever", metrics=["x"], **more)
    assert run(db, "2024-04-05T00:00").ok
    db.insert("readings", made(30, 12))
    assert blocked(db, "2024-04-05T01:00") == []
    first = made(31, 6)[0]["my ts"]
    delete(db, f""""my ts" < {first if unit else f"'{first}'"}""")
    db.insert("readings", made(30, 12))
    assert blocked(db, "2024-04-05T02:00") == ["readings_1d: 13 rows rolled up, 1 left below"]
    follow(db)
    assert blocked(db, "2024-04-05T03:00") == []
    db.refresh("readings_1mo")
    assert db.rows(f"SELECT row_count FROM {db.q('readings_1mo')}")[0][0] == 13


@pytest.mark.long("more than three hundred windows are computed twice; make test compares few in one statement")
def test_many_windows(db: Database) -> None:
    """More windows than one statement compares."""
    db.create("readings", {"ts": TIME, "x": "DOUBLE PRECISION"})
    year = [dt.datetime(2023, 1, 1, 12, tzinfo=dt.UTC) + dt.timedelta(days=day) for day in range(310)]
    write(db, *(time.isoformat() for time in year))
    db.policy("downsample", "readings", "10y", id="p", levels="1m:forever")
    assert run(db, "2024-07-04T00:30").ok
    delete(db, "ts < '2023-01-03'")
    write(db, *(f"{time:%Y-%m-%d}T12:01:01" for time in year))
    assert blocked(db, "2024-07-04T01:00") == ["readings_1m: 2 rows rolled up, 0 left below"]
    assert counts(db, "readings_1m") == [1] * (2 + 2 * 308)


def test_restored(db: Database) -> None:
    """Rows that come back are rolled up as if they had never been away."""
    create(db, DAY, levels="1d:forever")
    delete(db, "ts < '2024-07-02'")
    write(db, "2024-07-01T12:00")
    assert len(blocked(db, "2024-07-04T01:00")) == 1
    write(db, *(f"2024-07-01T{hour:02}:{minute}" for hour in range(24) for minute in ("10", "40")))
    assert blocked(db, "2024-07-04T02:00") == []
    assert days(db) == [49, 48, 48]


def test_fetch(db: Database) -> None:
    """Where the level has more than there is, it answers; where it has less, raw rows do."""
    create(db, levels="1d:forever")
    delete(db, "ts < '2024-07-02'")
    write(db, "2024-07-01T12:00", "2024-07-02T12:00")
    start, end = (dt.datetime(2024, 7, day, tzinfo=dt.UTC) for day in (1, 4))
    asked = FetchRequest(
        table_name="readings",
        table_schema=db.schema,
        start=start,
        end=end,
        step=parse_interval("1d"),
        metrics=("row_count",),
    )
    assert [(row[1], row[-1]) for row in db.tool.fetch(asked).rows] == [(48, "1d"), (49, "raw"), (48, "1d")]
