"""Partition intervals, read from generation expressions in the words of both databases."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cratedb_retention.model.intervals import Grid, find_time_column, read_grid
from cratedb_retention.model.rollups.cascade import DAY_SECONDS, Interval
from support.catalogs import ms

COLUMNS = ["ts", "tz", "date", "select", 'we"ird (', "o['ts']", "o['a']['b']", "it's", "tenant"]
VIENNA = zoneinfo.ZoneInfo("Europe/Vienna")
HOUR, A_DAY = 3_600_000, DAY_SECONDS
DAILY, WEEKLY, MONTHLY = Interval(unit="day"), Interval(unit="week"), Interval(unit="month")


@pytest.mark.parametrize(
    ("expression", "grid"),
    [
        ("date_trunc('month', ts)", Grid(time_column="ts", interval=MONTHLY)),
        ("DATE_TRUNC('Month', \"ts\")", Grid(time_column="ts", interval=MONTHLY)),
        (" date_trunc ( 'month' ,\n ts ) ", Grid(time_column="ts", interval=MONTHLY)),
        ("date_trunc('quarter', ts)", Grid(time_column="ts", interval=Interval(months=3))),
        ("date_trunc('year', ts)", Grid(time_column="ts", interval=Interval(unit="year"))),
        ("date_trunc('week', ts)", Grid(time_column="ts", interval=Interval(7 * A_DAY))),
        ("date_trunc('day', ts)", Grid(time_column="ts", interval=Interval(A_DAY))),
        ("date_trunc('hour', ts)", Grid(time_column="ts", interval=Interval(3600))),
        ("date_trunc('minute', ts)", Grid(time_column="ts", interval=Interval(60))),
        ("date_trunc('second', ts)", Grid(time_column="ts", interval=Interval(1))),
        ("date_trunc('day', 'Europe/Vienna', ts)", Grid(time_column="ts", interval=DAILY, zone=VIENNA)),
        (
            "date_trunc('week', 'Europe/Vienna', ts)",
            Grid(time_column="ts", interval=WEEKLY, zone=VIENNA),
        ),
        (
            "date_trunc('month', 'Europe/Vienna', ts)",
            Grid(time_column="ts", interval=MONTHLY, zone=VIENNA),
        ),
        ("date_trunc('hour', 'Europe/Vienna', ts)", Grid(time_column="ts", interval=Interval(3600), zone=VIENNA)),
        (
            "CAST(main.timezone('Europe/Vienna', date_trunc('day', main.timezone('Europe/Vienna', \"we\"\"ird (\")))"
            ' AS "TIMESTAMP WITH TIME ZONE")',
            Grid(time_column='we"ird (', interval=DAILY, zone=VIENNA),
        ),
        (
            "timezone('UTC', date_trunc('month', timezone('UTC', ts)))",
            Grid(time_column="ts", interval=MONTHLY, zone=zoneinfo.ZoneInfo("UTC")),
        ),
        ("date_trunc('month', ts)::timestamp with time zone", Grid(time_column="ts", interval=MONTHLY)),
        (
            "date_trunc('month', ts::timestamp)::timestamp without time zone",
            Grid(time_column="ts", interval=MONTHLY),
        ),
        (
            "date_trunc('month', CAST(ts AS timestamp with time zone))",
            Grid(time_column="ts", interval=MONTHLY),
        ),
        ("CAST(date_trunc('month', ts) AS TIMESTAMP)", Grid(time_column="ts", interval=MONTHLY)),
        (
            "TRY_CAST(CAST(date_trunc('month', ts) AS DATE) AS TIMESTAMP)",
            Grid(time_column="ts", interval=MONTHLY),
        ),
        ("CAST(date_trunc('day', ts) AS DATE)", Grid(time_column="ts", interval=Interval(A_DAY))),
        ("date_trunc('week', CAST(ts AS DATE))", Grid(time_column="ts", interval=Interval(7 * A_DAY))),
        ("date_bin('PT2H30M'::interval, ts, 0::bigint)", Grid(time_column="ts", interval=Interval(150 * 60))),
        ("date_bin(CAST('1 hour' AS interval), ts, 0)", Grid(time_column="ts", interval=Interval(3600))),
        (
            "date_bin('P7D'::interval, ts, '2024-01-01'::timestamp)",
            Grid(time_column="ts", interval=Interval(7 * A_DAY)),
        ),
        (
            "CAST(time_bucket(CAST('1 hour' AS INTERVAL), tz) AS timestamptz)",
            Grid(time_column="tz", interval=Interval(3600)),
        ),
        ("time_bucket(INTERVAL '3 months', ts)", Grid(time_column="ts", interval=Interval(months=3))),
        (
            "time_bucket('2 days'::INTERVAL, CAST(ts AS TIMESTAMP))",
            Grid(time_column="ts", interval=Interval(2 * A_DAY)),
        ),
        ("date_trunc('month', o['ts'])", Grid(time_column="o['ts']", interval=MONTHLY)),
        ("date_trunc('month', \"o\"['a']['b'])", Grid(time_column="o['a']['b']", interval=MONTHLY)),
        ('date_trunc(\'month\', "we""ird (")', Grid(time_column='we"ird (', interval=MONTHLY)),
        ("date_trunc('month', \"it's\")", Grid(time_column="it's", interval=MONTHLY)),
        ("date_trunc('month', \"select\")", Grid(time_column="select", interval=MONTHLY)),
        ("date_trunc('hour', date)", Grid(time_column="date", interval=Interval(3600))),
    ],
)
def test_understood(expression: str, grid: Grid) -> None:
    """Both databases' ways to write truncation and binning, with casts and hostile column names."""
    assert read_grid(expression, COLUMNS) == grid


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "ts",
        "(",
        "date_trunc",
        "date_trunc(",
        "date_trunc()",
        "date_trunc('month')",
        "date_trunc('month', ts",
        "date_trunc('month', ts, ts, ts)",
        "date_trunc('month', ts + '1 day'::interval)",
        "date_trunc('month', ts - 86400000)",
        "date_trunc('month', ts) + '1 day'::interval",
        "date_trunc('month', ts)::timestamp + '1 day'::interval",
        "date_trunc('month', date_trunc('day', ts))",
        "date_trunc('month', coalesce(ts, tz))",
        "date_trunc('month', 'ts')",
        "date_trunc('month', other)",
        "date_trunc('month', \"TS\")",
        "date_trunc('fortnight', ts)",
        "date_trunc('decade', ts)",
        "date_trunc(tenant, ts)",
        "date_trunc('day', 'Nowhere/Else', ts)",
        "timezone('Europe/Vienna', date_trunc('day', timezone('UTC', ts)))",
        "date_trunc('day', tenant, ts)",
        "date_bin('1 month 1 day'::interval, ts, 0)",
        "date_bin('0 seconds'::interval, ts, 0)",
        "date_bin('-1 hour'::interval, ts, 0)",
        "date_bin(- '1 hour'::interval, ts, 0)",
        "time_bucket(INTERVAL '1 hour' * 2, ts)",
        "date_trunc('milli' || 'second', ts)",
        "date_bin('1 hour'::interval, ts)",
        "date_bin(tenant, ts, 0)",
        "time_bucket(INTERVAL '1 hour', ts, ts)",
        "date_format('%Y-%m', ts)",
        "extract(year from ts)",
        "CASE WHEN tenant = 'a' THEN date_trunc('day', ts) ELSE date_trunc('month', ts) END",
        "greatest(date_trunc('month', ts), date_trunc('month', tz))",
        # Cut to whole days, an hour is no hour any more.
        "CAST(date_trunc('hour', ts) AS DATE)",
        "date_trunc('hour', ts)::date",
        "date_trunc('hour', CAST(ts AS DATE))",
        "CAST(time_bucket(INTERVAL '36 hours', ts) AS DATE)",
    ],
)
def test_not_understood(expression: str) -> None:
    """What does not say plainly where an interval ends is not guessed at."""
    assert read_grid(expression, COLUMNS) is None


@given(st.text(st.sampled_from("()'\",:[]ts date_trunc month;-+1\n"), max_size=60))
def test_any_text_is_survived(expression: str) -> None:
    """No text makes the reader fail, and what it understands is about a column that exists."""
    grid = read_grid(expression, COLUMNS)
    assert grid is None or grid.time_column in COLUMNS
    assert find_time_column(expression, COLUMNS) in (None, *COLUMNS)


@pytest.mark.parametrize(
    ("grid", "start", "end"),
    [
        (Grid(time_column="ts", interval=MONTHLY), "2024-02-01", "2024-03-01"),
        (Grid(time_column="ts", interval=MONTHLY), "2024-12-01", "2025-01-01"),
        (Grid(time_column="ts", interval=Interval(months=3)), "2024-10-01", "2025-01-01"),
        (Grid(time_column="ts", interval=Interval(unit="year")), "2024-01-01", "2025-01-01"),
        (Grid(time_column="ts", interval=Interval(7 * A_DAY)), "2024-12-30", "2025-01-06"),
        (Grid(time_column="ts", interval=Interval(150 * 60)), "2024-01-01T22:30", "2024-01-02T01:00"),
        (Grid(time_column="ts", interval=MONTHLY), "1969-12-01", "1970-01-01"),
        # A database with other rules for the zone begins its days at another time of day.
        (Grid(time_column="ts", interval=DAILY, zone=VIENNA), "2024-06-01", "2024-06-02"),
        (Grid(time_column="ts", interval=MONTHLY, zone=VIENNA), "2024-06-01", "2024-07-01"),
    ],
)
def test_end(grid: Grid, start: str, end: str) -> None:
    """An interval ends where the next one starts."""
    assert grid.end(ms(start)) == ms(end)


@pytest.mark.parametrize(
    ("grid", "start", "end", "hours"),
    [
        (Grid(time_column="ts", interval=DAILY, zone=VIENNA), "2024-03-31", "2024-04-01", 23),
        (Grid(time_column="ts", interval=DAILY, zone=VIENNA), "2024-10-27", "2024-10-28", 25),
        (Grid(time_column="ts", interval=DAILY, zone=VIENNA), "2024-06-01", "2024-06-02", 24),
        (Grid(time_column="ts", interval=WEEKLY, zone=VIENNA), "2024-03-25", "2024-04-01", 7 * 24 - 1),
        (Grid(time_column="ts", interval=MONTHLY, zone=VIENNA), "2024-03-01", "2024-04-01", 31 * 24 - 1),
        (Grid(time_column="ts", interval=MONTHLY, zone=VIENNA), "2024-10-01", "2024-11-01", 31 * 24 + 1),
        (Grid(time_column="ts", interval=Interval(unit="year"), zone=VIENNA), "2024-01-01", "2025-01-01", 366 * 24),
    ],
)
def test_end_in_a_time_zone(grid: Grid, start: str, end: str, hours: int) -> None:
    """Days, weeks and months in a time zone have the hours that its clocks give them."""
    first, last = ms(start, "Europe/Vienna"), ms(end, "Europe/Vienna")
    assert grid.end(first) == last
    assert last - first == hours * HOUR


@pytest.mark.parametrize(
    ("grid", "start"),
    [
        (Grid(time_column="ts", interval=MONTHLY), ms("2024-01-31")),
        (Grid(time_column="ts", interval=MONTHLY), 10**17),
        (Grid(time_column="ts", interval=DAILY, zone=VIENNA), 10**17),
        (Grid(time_column="ts", interval=MONTHLY), ms("9999-12-01")),
    ],
)
def test_no_end(grid: Grid, start: int) -> None:
    """What starts no interval, or lies outside of the calendar, has no end that could be trusted."""
    assert grid.end(start) is None


@given(
    st.dates(dt.date(1980, 1, 1), dt.date(2060, 1, 1)),
    st.sampled_from(["Europe/Vienna", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"]),
    st.booleans(),
)
def test_intervals_follow_without_gap(day: dt.date, name: str, by_month: bool) -> None:
    """In any zone, an interval's end is the start of the next: no instant falls between two partitions."""
    zone = zoneinfo.ZoneInfo(name)
    start = day.replace(day=1) if by_month else day
    following = (start + dt.timedelta(days=32)).replace(day=1) if by_month else start + dt.timedelta(days=1)
    grid = Grid(time_column="ts", interval=Interval(unit="month" if by_month else "day"), zone=zone)
    first, last = (round(dt.datetime.combine(d, dt.time(), zone).timestamp() * 1000) for d in (start, following))
    assert grid.end(first) == last


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("date_format('%Y-%m', ts)", "ts"),
        ('extract(year FROM "ts")', "ts"),
        ("ts", "ts"),
        ("date_format('%Y', o['ts'])", "o['ts']"),
        ("coalesce(ts, tz)", None),
        ("concat(tenant, 'ts')", None),
        ("'ts'", None),
        ("", None),
    ],
)
def test_find_time_column(expression: str, found: str | None) -> None:
    """An expression that is not understood still names its time column, if there is exactly one."""
    assert find_time_column(expression, ["ts", "tz", "o['ts']"]) == found


def test_an_hour_in_which_clocks_change_by_half_an_hour_ends_later() -> None:
    """On Lord Howe Island the clocks change by 30 minutes, so an hour's interval can be longer than an hour."""
    grid = read_grid("date_trunc('hour', 'Australia/Lord_Howe', ts)", COLUMNS)
    assert grid is not None
    usual, change = 1_719_788_400_000, 1_712_415_600_000  # 2024-06-30T23:00Z and 2024-04-06T15:00Z
    assert grid.end(usual) == usual + HOUR
    assert grid.end(change - HOUR) == change + HOUR // 2
