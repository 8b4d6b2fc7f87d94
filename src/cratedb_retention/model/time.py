"""
Instants and time ranges. Calendar units are in :mod:`.cascade`.

An instant is a whole number of milliseconds since 1970-01-01T00:00Z, as CrateDB stores it, so that a hundred thousand
partitions can be compared quickly. In interfaces, it is a time-zone aware ``datetime`` or ISO 8601 text.
"""

from __future__ import annotations

import calendar
import datetime as dt
import zoneinfo
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple, Self, TypeVar

from cratedb_retention.errors import InvalidInput

UTC = dt.UTC
EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = dt.timedelta(milliseconds=1)
DAY_MS = 86_400_000
MONTH_MS = 2_629_746_000  # the mean month of the Gregorian calendar, for comparisons of lengths
_Day = TypeVar("_Day", bound=dt.date)


def to_ms(value: dt.datetime) -> int:
    """Milliseconds since the epoch, rounded down; ``ValueError`` for naive values."""
    if value.tzinfo is None:
        raise ValueError(f"naive datetime: {value!r}")
    return (value - EPOCH) // MILLISECOND


def from_ms(value: int) -> dt.datetime:
    """The aware ``datetime`` in UTC; ``OverflowError`` outside the years 1 to 9999."""
    return EPOCH + dt.timedelta(milliseconds=value)


def start_of_day(value: dt.datetime, zone: dt.tzinfo, days: int = 0) -> dt.datetime:
    """The start, in UTC, of an aware instant's day in a time zone, or of a later day."""
    day = value.astimezone(zone) + dt.timedelta(days=days)
    return day.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(UTC)


@lru_cache(maxsize=65_536)
def show(value: int | None) -> str:
    """Short ISO 8601 text in UTC: only the date at midnight, otherwise with ``T`` and ``Z``; ``?`` for None."""
    if value is None:
        return "?"
    try:
        moment = from_ms(value)
    except OverflowError:
        return f"{value} ms"
    if value % DAY_MS == 0:
        return moment.date().isoformat()
    spec = "milliseconds" if value % 1000 else "seconds" if value % 60_000 else "minutes"
    return moment.replace(tzinfo=None).isoformat(timespec=spec) + "Z"


def parse_instant(text: str) -> dt.datetime:
    """Read an instant of the years 1 to 9999 in ISO 8601; without an offset, it is UTC."""
    try:
        value = dt.datetime.fromisoformat(text.strip())
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        remedy = "write it like 2024-06-01T12:00:00+02:00"
        raise InvalidInput(f"instant {text!r}", "not an ISO 8601 date and time", remedy) from None


def parse_day(text: str) -> dt.datetime:
    """Read a calendar day: the start of that day in UTC."""
    try:
        return dt.datetime.combine(dt.date.fromisoformat(text.strip()), dt.time(), tzinfo=UTC)
    except ValueError:
        raise InvalidInput(f"day {text!r}", "not an ISO 8601 date", "write it like 2024-06-01") from None


def parse_time_zone(name: str) -> zoneinfo.ZoneInfo:
    """Find a time zone by its IANA name; raises InvalidInput if it is unknown."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise InvalidInput(f"time zone {name!r}", "unknown", "write an IANA name like UTC or Europe/Vienna") from None


def find_zone(name: str) -> dt.tzinfo:
    """The time zone of a valid name."""
    return UTC if name == "UTC" else zoneinfo.ZoneInfo(name)


class TimeRange(NamedTuple):
    """The instants (ms, UTC) in [start, end); empty unless ``start`` is before ``end``."""

    start: int  # that of :data:`EVER` if it is open; likewise ``end``
    end: int

    @classmethod
    def of(cls, start: int | None, end: int | None) -> TimeRange:
        """A range in which None is an open end."""
        return cls(EVER.start if start is None else start, EVER.end if end is None else end)

    @property
    def ends(self) -> tuple[int | None, int | None]:
        """Both ends; None for an open end."""
        return None if self.start == EVER.start else self.start, None if self.end == EVER.end else self.end

    @property
    def empty(self) -> bool:
        return self.start >= self.end

    def contains(self, instant: int) -> bool:
        return self.start <= instant < self.end

    def overlaps(self, other: TimeRange) -> bool:
        return self.start < other.end and other.start < self.end

    def __and__(self, other: TimeRange) -> TimeRange:
        start = min(max(self.start, other.start), max(self.start, self.end))
        return TimeRange(start, max(start, min(self.end, other.end)))


EVER = TimeRange(-(2**63), 2**63 - 1)
_START, _END = itemgetter(0), itemgetter(1)


class TimeRanges(tuple[TimeRange, ...]):
    """Nonempty ranges in order of time. Overlapping ranges are united, adjacent ones, such as windows, are not."""

    __slots__ = ()

    def __new__(cls, ranges: Iterable[tuple[int, int]] = ()) -> Self:
        found: list[TimeRange] = []
        for start, end in sorted(each for each in ranges if each[0] < each[1]):
            last = found.pop() if found and start < found[-1].end else TimeRange(start, end)
            found.append(TimeRange(last.start, max(last.end, end)))
        return super().__new__(cls, found)

    def overlapping(self, other: TimeRange) -> Sequence[TimeRange]:
        return self and self[bisect_right(self, other.start, key=_END) : bisect_left(self, other.end, key=_START)]

    def contains(self, instant: int) -> bool:
        return bool(self.overlapping(TimeRange(instant, instant + 1)))

    def joined(self) -> TimeRanges:
        starts, ends = {found.start for found in self}, {found.end for found in self}
        return TimeRanges(zip(sorted(starts - ends), sorted(ends - starts), strict=True))

    def __or__(self, other: Iterable[tuple[int, int]]) -> TimeRanges:
        return TimeRanges([*self, *other])

    def __and__(self, other: Iterable[tuple[int, int]]) -> TimeRanges:
        others = TimeRanges(other)
        return TimeRanges(mine & its for mine in self for its in others.overlapping(mine))

    def __sub__(self, other: Iterable[tuple[int, int]]) -> TimeRanges:
        others = TimeRanges(other)
        left: list[tuple[int, int]] = []
        for mine in self:
            gone = others.overlapping(mine)
            left += zip([mine.start, *(its.end for its in gone)], [*(its.start for its in gone), mine.end], strict=True)
        return TimeRanges(left)


def later(day: _Day, months: int) -> _Day:
    """The same day of another month; ``ValueError`` if it does not exist."""
    index = day.year * 12 + day.month - 1 + months
    return day.replace(year=index // 12, month=index % 12 + 1)


def shift_months(moment: dt.datetime, months: int) -> dt.datetime:
    """Shift by months; a day that a month lacks is its last moment if shifted back, else the start of the next one."""
    there = later(moment.replace(day=1), months)
    last_day = calendar.monthrange(there.year, there.month)[1]
    if moment.day <= last_day:
        return there.replace(day=moment.day)
    last_moment = there.replace(day=last_day, hour=23, minute=59, second=59, microsecond=999_000)
    return last_moment if months < 0 else last_moment + MILLISECOND
