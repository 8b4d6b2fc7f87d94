"""
Instants: points in time as whole milliseconds since 1970-01-01T00:00Z, which is how CrateDB stores them.

Inside a plan an instant is an ``int``, since a hundred thousand partitions are compared by it. Towards people it is
a time-zone aware ``datetime`` or ISO 8601 text.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from functools import lru_cache

from cratedb_retention.errors import InvalidInput

UTC = dt.UTC
EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = dt.timedelta(milliseconds=1)


def to_ms(value: dt.datetime) -> int:
    """Milliseconds since the epoch, rounded down. Naive values are refused (``ValueError``)."""
    if value.tzinfo is None:
        raise ValueError(f"naive datetime: {value!r}")
    return (value - EPOCH) // MILLISECOND


def from_ms(value: int) -> dt.datetime:
    """The aware ``datetime`` in UTC; ``OverflowError`` outside of the years 1 to 9999."""
    return EPOCH + dt.timedelta(milliseconds=value)


def start_of_day(value: dt.datetime, zone: dt.tzinfo, days: int = 0) -> dt.datetime:
    """The instant, in UTC, at which the day of an aware instant began in a time zone; or one that many days later."""
    day = value.astimezone(zone) + dt.timedelta(days=days)
    return day.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(UTC)


@lru_cache(maxsize=65_536)
def show(value: int | None) -> str:
    """Short ISO 8601 text in UTC: the date alone at midnight, else with ``T`` and ``Z``; ``?`` for None."""
    if value is None:
        return "?"
    try:
        moment = from_ms(value)
    except OverflowError:
        return f"{value} ms"
    if value % 86_400_000 == 0:
        return moment.date().isoformat()
    spec = "milliseconds" if value % 1000 else "seconds" if value % 60_000 else "minutes"
    return moment.replace(tzinfo=None).isoformat(timespec=spec) + "Z"


def parse_instant(text: str) -> dt.datetime:
    """
    Read an instant as people write it, for ``--cutoff``: ISO 8601 with an offset. Without offset it means UTC.

    :raises InvalidInput: if it is no instant, or outside of the years 1 to 9999.
    """
    try:
        value = dt.datetime.fromisoformat(text.strip())
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"instant {text!r}", "not an ISO 8601 date and time", "write it like 2024-06-01T12:00:00+02:00"
        ) from None


def parse_day(text: str) -> dt.datetime:
    """
    Read a calendar day, for ``--cutoff-day``: the start of that day in UTC.

    :raises InvalidInput: if it is no day.
    """
    try:
        return dt.datetime.combine(dt.date.fromisoformat(text.strip()), dt.time(), tzinfo=UTC)
    except ValueError:
        raise InvalidInput(f"day {text!r}", "not an ISO 8601 date", "write it like 2024-06-01") from None


def parse_time_zone(name: str) -> zoneinfo.ZoneInfo:
    """
    Find a time zone by its IANA name.

    :raises InvalidInput: if there is none of that name.
    """
    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise InvalidInput(f"time zone {name!r}", "unknown", "write an IANA name like UTC or Europe/Vienna") from None
