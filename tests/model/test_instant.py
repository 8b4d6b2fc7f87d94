"""Instants: read from text, counted in milliseconds, shown to people."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.instant import from_ms, parse_day, parse_instant, parse_time_zone, show, to_ms
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
