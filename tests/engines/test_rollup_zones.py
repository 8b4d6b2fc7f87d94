"""
Buckets in time zones: what a database reckons is what :meth:`Interval.floor` reckons, whenever clocks change.
"""

from __future__ import annotations

import datetime as dt
import random
import zoneinfo

import pytest
import sqlalchemy as sa

from cratedb_retention.engine.duckdb.sql import repeated_midnights
from cratedb_retention.engine.expressions import Expressions, table_ref
from cratedb_retention.model.catalog import Column, Kind, Selector
from cratedb_retention.model.intervals import read_grid
from cratedb_retention.model.rollups.cascade import Interval, parse_interval
from support.databases import TIME, Database, DuckDatabase
from support.oracle import Row
from support.rollups import DAY, HOUR, RollupTables, check_level, stretch
from support.tiers import others_on_duckdb

# The last three set their clocks at midnight: forward, so that it is missing, and back, so that it comes twice.
ZONES = (
    "UTC", "Europe/Vienna", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Havana",
    "Asia/Beirut", "America/Sao_Paulo",
)  # fmt: skip
CALENDAR = [Interval(unit=unit) for unit in ("day", "week", "month", "year")]
FIXED = [parse_interval(text) for text in ("1s", "10s", "1m", "15m", "1h", "6h", "12h")]


def dialect(db: Database) -> Expressions:
    """The engine's own expressions."""
    if isinstance(db, DuckDatabase):
        from cratedb_retention.engine.duckdb.sql import SQL as DUCK

        return DUCK
    from cratedb_retention.engine.cratedb.sql import SQL as CRATE

    return CRATE


def changes(zone: zoneinfo.ZoneInfo) -> list[int]:
    """The days (ms) from 1970 to 2037 on which the clocks are changed."""
    days = range(0, 24_836 * DAY, DAY)
    offsets = [dt.datetime.fromtimestamp(day / 1000, zone).utcoffset() for day in days]
    return [day for day, one, other in zip(days, offsets, offsets[1:], strict=False) if one != other]


def instants(zone: zoneinfo.ZoneInfo) -> list[int]:
    """Instants around changes of the clocks, on both sides of midnight, and anywhere else."""
    chance = random.Random(zone.key)
    near = [
        day + hour * HOUR + shift for day in changes(zone) for hour in range(-3, 28) for shift in (-1, 0, 1_800_000)
    ]
    anywhere = [chance.randrange(-10 * 365 * DAY, 24_836 * DAY) for _ in range(1000)]
    return sorted({*chance.sample(near, min(len(near), 2000)), *anywhere})


def fill(db: Database, found: list[int]) -> None:
    """A table with instants."""
    db.create("instants", {"ts": TIME, "ms": "BIGINT"})
    value = "timezone('UTC', make_timestamp(i * 1000))" if isinstance(db, DuckDatabase) else "i"
    query = f"SELECT {value}, i FROM unnest([{', '.join(f'{ms}' for ms in found)}]) AS g (i)"
    db.sql(f"INSERT INTO {db.q('instants')} (ts, ms) ({query})")
    db.refresh("instants")


@pytest.mark.parametrize("name", ZONES)
def test_floor(db: Database, name: str) -> None:
    """Each instant lies in the bucket that the model says, in every zone and for every interval."""
    zone = zoneinfo.ZoneInfo(name)
    fill(db, instants(zone))
    sql, database = dialect(db), db.retention().engine.database
    for interval in (*CALENDAR, *(FIXED if name == "UTC" else [])):
        start = sql.epoch_ms(sql.bucket(interval, name, sql.instant(Column(name="ts", type=TIME, kind=Kind.TIME))))
        query = sa.select(sa.column("ms"), start).select_from(table_ref(db.table("instants")))
        rows = database.rows(query)
        wrong = [(ms, got, interval.floor(ms, zone)) for ms, got in rows if got != interval.floor(ms, zone)]
        assert not wrong, (str(interval), len(wrong), wrong[:5])
        assert len(rows) >= 1000


def test_days_of_other_lengths(db: Database) -> None:
    """Days of 23 and 25 hours are one bucket each, from the raw rows and from hours."""
    rollups = RollupTables(db=db, engine=db.retention().engine)
    zone = zoneinfo.ZoneInfo("Europe/Vienna")
    spring, autumn = (round(dt.datetime(2024, *day, tzinfo=zone).timestamp()) * 1000 for day in ((3, 30), (10, 26)))
    rows: list[Row] = [
        {"ts": at + i * HOUR // 2, "host": "a", "x": float(i)} for at in (spring, autumn) for i in range(150)
    ]
    rollups.create(rows)
    hours = rollups.level("1h", partition=parse_interval("1mo"), zone=zone.key)
    days = rollups.level("1d", below=hours, partition=parse_interval("1y"), zone=zone.key)
    direct = rollups.level("1d", zone=zone.key, table=db.table("direct"))
    for start in (spring, autumn):
        found = stretch(parse_interval("1d"), start, 3, zone)
        for rollup in (hours, days, direct):
            assert rollups.roll_up(rollup, *found).rows == sum(
                found[0].start <= int(row["ts"]) < found[-1].end for row in rows
            )
            check_level(rollups, rollup, rows, found[0].start, found[-1].end)
    counts = [row["row_count"] for row in sorted(rollups.read(days.table), key=lambda row: row["ts"])]
    assert counts == [48, 46, 48, 48, 50, 48]


@pytest.mark.parametrize("text", ["6h", "1w", "1y", *others_on_duckdb("1d", "1mo")])
@pytest.mark.parametrize("zone", ["Europe/Vienna", *others_on_duckdb("UTC")])
def test_partitions_are_understood(db: Database, text: str, zone: str) -> None:
    """The catalog's reader knows the partitions of a level as what they are: by which column, from when to when."""
    rollups = RollupTables(db=db, engine=db.retention().engine)
    rollups.create([{"ts": 1_719_000_000_000 + i * DAY, "host": "a", "x": 1.0} for i in range(3)])
    interval = parse_interval(text)
    rollup = rollups.level("1h", partition=interval, zone=zone)
    rollups.roll_up(rollup, *stretch(parse_interval("1d"), 1_719_000_000_000, 3, rollup.tzinfo))
    rollups.name = rollup.table.name
    table = rollups.engine.read_catalog([Selector(schema=db.schema, name=rollups.name)]).tables[rollup.table]
    assert table.partitioned_by == ("rollup_partition",)
    grid = read_grid(table.columns["rollup_partition"].expression or "", table.columns)
    assert grid is not None and grid.time_column == "ts"
    for (start,) in (partition.values for partition in table.partitions):
        assert isinstance(start, int)
        assert interval.floor(start, rollup.tzinfo) == start
        assert grid.end(start) == interval.end(start, rollup.tzinfo)


def test_repeated_midnights() -> None:
    """Few zones ever set their clocks back at midnight; where midnight is missing it does not come twice."""
    assert repeated_midnights("UTC") == repeated_midnights("America/New_York") == ()
    assert repeated_midnights("Europe/Vienna") == ((HOUR // 1000, (-1_680_483_600,)),)  # 1916
    assert [by for by, _ in repeated_midnights("America/Havana")] == [3600]
