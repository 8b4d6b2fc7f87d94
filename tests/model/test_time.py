"""Instants: read from text, counted in milliseconds, shown to people."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.time import (
    EVER,
    TimeRange,
    TimeRanges,
    from_ms,
    parse_day,
    parse_instant,
    parse_time_zone,
    show,
    to_ms,
)
from support.catalogs import at, ms

DAY = 86_400_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-06-01T12:00:00+02:00", "2024-06-01T10:00"),
        ("2024-06-01T12:00:00Z", "2024-06-01T12:00"),
        ("2024-06-01T12:00", "2024-06-01T12:00"),
        ("2024-06-01", "2024-06-01"),
        (" 2024-06-01 12:00 ", "2024-06-01T12:00"),
        ("2024-02-29T23:59:59.999-00:30", "2024-03-01T00:29:59.999"),
    ],
)
def test_instant(text: str, expected: str) -> None:
    """An offset counts; without one it is UTC; the result is in UTC."""
    assert parse_instant(text) == at(expected)
    assert parse_instant(text).tzinfo is dt.UTC


@pytest.mark.parametrize(
    "text",
    ["", "now", "yesterday", "2023-02-29", "2024-06-01T25:00", "1717243200000", "2024-06-01T12:00+25:00", "01.06.2024",
     "0001-01-01T00:00+02:00", "9999-12-31T23:00-02:00", "\uff12\uff10\uff12\uff14-06-01", "2024-06-01\x00"],
)  # fmt: skip
def test_no_instant(text: str) -> None:
    """What is no instant, or outside of the calendar in UTC, is refused."""
    with pytest.raises(InvalidInput, match="not an ISO 8601 date and time"):
        parse_instant(text)


def test_day_starts_in_utc() -> None:
    """A cutoff day means its start in UTC."""
    assert parse_day(" 2024-06-01 ") == at("2024-06-01T00:00")


@pytest.mark.parametrize("text", ["", "2024-06-01T00:00", "2024-06-31", "June", "1"])
def test_no_day(text: str) -> None:
    """A cutoff day is a date and nothing else."""
    with pytest.raises(InvalidInput, match="not an ISO 8601 date"):
        parse_day(text)


@pytest.mark.parametrize("name", ["UTC", "Europe/Vienna", "Asia/Kathmandu"])
def test_time_zone(name: str) -> None:
    """IANA names are found."""
    assert parse_time_zone(name).key == name


@pytest.mark.parametrize(
    "name", ["", "Vienna", "Europe", "+02:00", "../../etc/passwd", "/etc/passwd", "a\x00b", "x" * 999]
)
def test_no_time_zone(name: str) -> None:
    """Anything else is refused: directories, paths, offsets, too long names."""
    with pytest.raises(InvalidInput, match=r"time zone .* unknown"):
        parse_time_zone(name)


@given(st.integers(ms("0001-01-01"), ms("9999-12-31T23:59:59")))
def test_milliseconds_round_trip(value: int) -> None:
    """Milliseconds survive the way through a datetime, exactly."""
    assert to_ms(from_ms(value)) == value


@pytest.mark.parametrize(("micros", "expected"), [(1, 0), (999, 0), (1000, 1), (-1, -1), (-1000, -1), (-1001, -2)])
def test_rounded_down(micros: int, expected: int) -> None:
    """Fractions of a millisecond are rounded down, before 1970 too, so that in doubt a row stays."""
    assert to_ms(dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=micros)) == expected


def test_naive_refused() -> None:
    """An instant without a time zone is a mistake, not UTC."""
    with pytest.raises(ValueError, match="naive"):
        to_ms(dt.datetime(2024, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "?"),
        (0, "1970-01-01"),
        (-DAY, "1969-12-31"),
        (3_600_000, "1970-01-01T01:00Z"),
        (1_000, "1970-01-01T00:00:01Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (10**18, f"{10**18} ms"),
    ],
)
def test_shown(value: int | None, expected: str) -> None:
    """Shown as short as it is exact."""
    assert show(value) == expected


@given(st.integers(ms("0001-01-01"), ms("9999-12-31T23:59:59")))
def test_shown_is_read(value: int) -> None:
    """What is shown can be read again as the same instant."""
    assert to_ms(parse_instant(show(value))) == value


RANGES = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda ends: TimeRange(*ends))
SETS = st.lists(RANGES, max_size=6)


def instants(*ranges: tuple[int, int]) -> set[int]:
    """The instants of ranges, one by one."""
    return {instant for start, end in ranges for instant in range(start, end)}


@given(RANGES, RANGES, st.integers(-5, 35))
def test_two_ranges(one: TimeRange, other: TimeRange, instant: int) -> None:
    """A range is the set of its instants, and empty where it ends before it begins."""
    mine, its = instants(one), instants(other)
    assert one.empty is not bool(mine)
    assert one.contains(instant) is (instant in mine)
    assert instants(one & other) == mine & its
    if mine and its:
        assert one.overlaps(other) is bool(mine & its)


@given(SETS, SETS, st.integers(-5, 35))
def test_sets_of_ranges(some: list[TimeRange], others: list[TimeRange], instant: int) -> None:
    """Union, difference and intersection are those of the instants, in ranges that do not overlap, in order."""
    one, other = TimeRanges(some), TimeRanges(others)
    mine, its = instants(*some), instants(*others)
    assert one.contains(instant) is (instant in mine)
    for found, expected in (
        (one, mine),
        (one.joined(), mine),
        (one | others, mine | its),
        (one | other, mine | its),
        (one - others, mine - its),
        (one - other, mine - its),
        (one & others, mine & its),
        (one & other, mine & its),
    ):
        assert instants(*found) == expected
        assert all(not each.empty for each in found)
        assert all(before.end <= after.start for before, after in pairwise(found))
        assert bool(found) is bool(expected)
    assert all(before.end < after.start for before, after in pairwise(one.joined()))
    assert (one.joined() == other.joined()) is (mine == its)


@given(st.sets(st.integers(0, 10)), RANGES)
def test_ranges_that_touch(numbers: set[int], within: TimeRange) -> None:
    """Windows that follow on each other stay apart, and those that a range touches are found whole."""
    windows = [TimeRange(3 * number, 3 * number + 3) for number in sorted(numbers)]
    found = TimeRanges(reversed(windows))
    assert list(found) == windows
    if not within.empty:
        assert list(found.overlapping(within)) == [window for window in windows if instants(window) & instants(within)]


def test_open_ends() -> None:
    """None is an end that is open."""
    assert TimeRange.of(None, None) == EVER
    assert TimeRange.of(None, 7).ends == (None, 7)
    assert TimeRange.of(3, None).ends == (3, None)
    assert TimeRange.of(3, None).overlaps(TimeRange.of(None, 4))
    assert not TimeRange.of(3, None).overlaps(TimeRange.of(None, 3))


ZONES = st.sampled_from(["UTC", "Europe/Vienna", "America/Sao_Paulo", "Asia/Kathmandu", "Africa/Cairo"])
PERIODS = st.sampled_from(
    [Interval(3600), Interval(unit="day"), Interval(unit="week"), *map(Interval.of_months, (1, 3, 6, 12))]
)


@given(st.integers(ms("1975-01-01"), ms("2035-01-01")), PERIODS, ZONES)
def test_periods(instant: int, period: Interval, name: str) -> None:
    """Units follow on each other without a gap, each instant lies in one, and a unit begins where it says."""
    zone = zoneinfo.ZoneInfo(name)
    start = period.floor(instant, zone)
    end = period.end(start, zone)
    assert start <= instant < end
    assert period.floor(start, zone) == start
    assert period.floor(end, zone) == end
    assert period.floor(end - 1, zone) == start


def test_a_period_that_starts_in_the_day() -> None:
    """What a database with other time zones begins in the middle of a day ends no earlier than after its length."""
    start = ms("2024-03-10T05:00")
    assert Interval(unit="day").end(start) == start + DAY
    assert Interval(unit="month").end(start) == ms("2024-04-10T05:00")
