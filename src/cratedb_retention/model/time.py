"""
Time: instants, ranges of it, and units of the calendar.

An instant is a whole number of milliseconds since 1970-01-01T00:00Z, which is how CrateDB stores it; a hundred thousand
partitions are compared by it. Towards people it is a time-zone aware ``datetime`` or ISO 8601 text.
"""

from __future__ import annotations

import calendar
import datetime as dt
import zoneinfo
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

from cratedb_retention.errors import InvalidInput

UTC = dt.UTC
EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = dt.timedelta(milliseconds=1)
SECOND_MS, DAY_MS, WEEK_MS = 1_000, 86_400_000, 7 * 86_400_000
# The mean month of the Gregorian calendar, for comparing lengths.
MONTH_MS = 2_629_746_000
_Day = TypeVar("_Day", bound=dt.date)


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
    if value % DAY_MS == 0:
        return moment.date().isoformat()
    spec = "milliseconds" if value % 1000 else "seconds" if value % 60_000 else "minutes"
    return moment.replace(tzinfo=None).isoformat(timespec=spec) + "Z"


def parse_instant(text: str) -> dt.datetime:
    """Read an instant of the years 1 to 9999 in ISO 8601; without an offset it is UTC."""
    try:
        value = dt.datetime.fromisoformat(text.strip())
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"instant {text!r}", "not an ISO 8601 date and time", "write it like 2024-06-01T12:00:00+02:00"
        ) from None


def parse_day(text: str) -> dt.datetime:
    """Read a calendar day: the start of that day in UTC."""
    try:
        return dt.datetime.combine(dt.date.fromisoformat(text.strip()), dt.time(), tzinfo=UTC)
    except ValueError:
        raise InvalidInput(f"day {text!r}", "not an ISO 8601 date", "write it like 2024-06-01") from None


def parse_time_zone(name: str) -> zoneinfo.ZoneInfo:
    """Find a time zone by its IANA name as people write it."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise InvalidInput(f"time zone {name!r}", "unknown", "write an IANA name like UTC or Europe/Vienna") from None


def find_zone(name: str) -> dt.tzinfo:
    """The time zone of a name that was checked before."""
    return UTC if name == "UTC" else zoneinfo.ZoneInfo(name)


class TimeRange(NamedTuple):
    """The instants (ms, UTC) from ``start`` on and before ``end``; none where it does not begin before it ends."""

    start: int  # :data:`EVER`'s where it has no beginning, likewise ``end``
    end: int

    @classmethod
    def of(cls, start: int | None, end: int | None) -> TimeRange:
        """A range in which None is an open end."""
        return cls(EVER.start if start is None else start, EVER.end if end is None else end)

    @property
    def ends(self) -> tuple[int | None, int | None]:
        """Both ends; None where it is open."""
        return None if self.start == EVER.start else self.start, None if self.end == EVER.end else self.end

    @property
    def empty(self) -> bool:
        return self.start >= self.end

    def contains(self, instant: int) -> bool:
        return self.start <= instant < self.end

    def covers(self, other: TimeRange) -> bool:
        return self.start <= other.start and other.end <= self.end

    def overlaps(self, other: TimeRange) -> bool:
        return self.start < other.end and other.start < self.end

    def __and__(self, other: TimeRange) -> TimeRange:
        start = min(max(self.start, other.start), max(self.start, self.end))
        return TimeRange(start, max(start, min(self.end, other.end)))


EVER = TimeRange(-(2**63), 2**63 - 1)


class TimeRanges:
    """
    Ranges in order of time, without empty ones. Those that overlap are united; those that only touch, as windows do,
    stay apart.
    """

    __slots__ = ("_ends", "_ranges", "_starts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._ranges: list[TimeRange] = []
        for start, end in sorted(found for found in ranges if found[0] < found[1]):
            last = self._ranges[-1] if self._ranges else None
            if last is not None and start < last.end:
                self._ranges[-1] = TimeRange(last.start, max(last.end, end))
            else:
                self._ranges.append(TimeRange(start, end))
        self._starts = [found.start for found in self._ranges]
        self._ends = [found.end for found in self._ranges]

    def __iter__(self) -> Iterator[TimeRange]:
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TimeRanges) and self._ranges == other._ranges

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"TimeRanges({self._ranges})"

    def overlapping(self, other: TimeRange) -> list[TimeRange]:
        """The whole ranges that have an instant in common with another one."""
        return self._ranges[bisect_right(self._ends, other.start) : bisect_left(self._starts, other.end)]

    def contains(self, instant: int) -> bool:
        return bool(self.overlapping(TimeRange(instant, instant + 1)))

    def joined(self) -> TimeRanges:
        """The same instants in as few ranges as possible."""
        touching = set(self._starts) & set(self._ends)
        starts = (start for start in self._starts if start not in touching)
        return TimeRanges(zip(starts, (end for end in self._ends if end not in touching), strict=True))

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


@dataclass(frozen=True, slots=True)
class Period:
    """A unit that time is cut into: a fixed length, or days or months of the calendar in a time zone."""

    months: int = 0
    days: int = 0
    ms: int = 0

    @property
    def approximate_ms(self) -> int:
        """Its length, for comparing; of months the mean one."""
        return self.ms or self.days * DAY_MS or self.months * MONTH_MS

    def floor(self, instant: int, zone: dt.tzinfo = UTC) -> int:
        """The start (ms, UTC) of the unit that an instant lies in: a day, a week, or months that divide a year."""
        if self.ms:
            return instant - instant % self.ms
        day = from_ms(instant).astimezone(zone).date()
        if self.months:
            return _midnight(day.replace(month=day.month - (day.month - 1) % self.months, day=1), zone)
        return _midnight(day - dt.timedelta(days=day.toordinal() - 1) % dt.timedelta(days=self.days), zone)

    def end(self, start: int, zone: dt.tzinfo = UTC) -> int:
        """
        The end (ms, UTC) of the unit that starts at an instant (ms, UTC).

        What starts at another time than a day does, as a database with other time zones may have it, ends at that time.

        :raises OverflowError | ValueError: if it lies beyond the calendar.
        """
        if self.ms:
            return start + self.ms
        local = from_ms(start).astimezone(zone).replace(tzinfo=None)
        day = local.date() + dt.timedelta(days=self.days)
        day = _later(day, self.months) if self.months else day
        begins = _midnight(local.date(), zone) == start
        return _midnight(day, zone) if begins else to_ms(dt.datetime.combine(day, local.time(), zone))


def _midnight(day: dt.date, zone: dt.tzinfo) -> int:
    """The first moment of a day. Where the clocks skip midnight, the databases take the moment after the gap."""
    return to_ms(dt.datetime.combine(day, dt.time(), zone))


def _later(day: _Day, months: int) -> _Day:
    index = day.year * 12 + day.month - 1 + months
    return day.replace(year=index // 12, month=index % 12 + 1)


def shift_months(moment: dt.datetime, months: int) -> dt.datetime:
    """Go to another month; what does not exist there lies between its last moment and the first of the next."""
    there = _later(moment.replace(day=1), months)
    last_day = calendar.monthrange(there.year, there.month)[1]
    if moment.day <= last_day:
        return there.replace(day=moment.day)
    last_moment = there.replace(day=last_day, hour=23, minute=59, second=59, microsecond=999_000)
    return last_moment if months < 0 else last_moment + MILLISECOND
