"""
The syntax of cascades: ``1m:7d,1h:90d,1d:forever``, finest level first, each with its interval and retention period.
Fixed intervals divide a day and start at midnight UTC; days, weeks, months and years are calendar units of the policy's
time zone, also when clocks change.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
import zoneinfo
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.duration import Duration, parse_duration
from cratedb_retention.model.time import DAY_MS, MONTH_MS, TimeRange, from_ms, later, to_ms

DAY_SECONDS = 86_400
_REMEDY = "write it like 1m:7d,1h:90d,1d:forever, finest first"
_FIXED = {"h": 3600, "m": 60, "s": 1}
_CALENDAR = {"d": "day", "w": "week", "mo": "month", "y": "year"}
_SHORT = {unit: short for short, unit in _CALENDAR.items()}
_NAMES = {"sec": "s", "min": "m", "hour": "h", "day": "d", "week": "w", "month": "mo", "mon": "mo", "year": "y"}
_SPELLED = re.compile(r"(?P<count>[0-9]{1,6})\s*(?P<unit>[a-z]+)")
_DAYS, _MONTHS = {"day": 1, "week": 7}, {"month": 1, "year": 12}
# The calendar units that consist of whole units of another kind; none consists of weeks.
_WITHIN = {"day": ("day", "week", "month", "year"), "week": ("week",), "month": ("month", "year"), "year": ("year",)}
_EXAMPLE_YEARS = range(1970, 2051)
# Less than the time from 1970 to the first and the last day of the calendar.
_IN_CALENDAR = 1900 * 365 * DAY_MS


@dataclass(frozen=True, slots=True)
class Interval:
    """
    The length of buckets, windows or partitions.

    :param seconds: A fixed length, which divides a day if it is that of buckets; 0 for a calendar unit.
    :param unit: ``day``, ``week``, ``month`` or ``year``; empty for a fixed length.
    :param months: The number of months, if it is neither one nor twelve.
    """

    seconds: int = 0
    unit: str = ""
    months: int = 0

    @classmethod
    def of_months(cls, months: int) -> Interval:
        """A month, a year, or another number of months that starts with the year."""
        return next((cls(unit=unit) for unit, count in _MONTHS.items() if count == months), cls(months=months))

    def __str__(self) -> str:
        if not self.seconds:
            return f"{self.months or 1}{_SHORT.get(self.unit, 'mo')}"
        name, length = next((name, length) for name, length in _FIXED.items() if self.seconds % length == 0)
        return f"{self.seconds // length}{name}"

    @property
    def _parts(self) -> tuple[int, int]:
        return self.months or _MONTHS.get(self.unit, 0), _DAYS.get(self.unit, 0)

    @property
    def approximate_seconds(self) -> int:
        """Its length for comparisons; for a calendar unit, the mean length."""
        months, days = self._parts
        return self.seconds or days * DAY_SECONDS or months * MONTH_MS // 1000

    def _length(self, instant: int, zone: dt.tzinfo) -> int:
        """Its length (ms) if it is fixed, as that of days in UTC; else 0."""
        if self.unit == "day" and zone is dt.UTC and abs(instant) < _IN_CALENDAR:
            return DAY_MS
        return self.seconds * 1000

    def floor(self, instant: int, zone: dt.tzinfo = dt.UTC) -> int:
        """The start (ms, UTC) of the interval that contains an instant (ms, UTC)."""
        if length := self._length(instant, zone):
            return instant - instant % length
        day, (months, days) = from_ms(instant).astimezone(zone).date(), self._parts
        if months:
            return _midnight(day.replace(month=day.month - (day.month - 1) % months, day=1), zone)
        return _midnight(day - dt.timedelta((day.toordinal() - 1) % days), zone)

    def end(self, start: int, zone: dt.tzinfo = dt.UTC) -> int:
        """
        The end (ms, UTC) of the interval that starts at an instant (ms, UTC). If it does not start at midnight, as in a
        database with other time zones, it ends at the same time of day.

        :raises OverflowError | ValueError: if it is outside the calendar.
        """
        if length := self._length(start, zone):
            return start + length
        local, (months, days) = from_ms(start).astimezone(zone).replace(tzinfo=None), self._parts
        day = later(local.date() + dt.timedelta(days), months)
        begins = _midnight(local.date(), zone) == start
        return _midnight(day, zone) if begins else to_ms(dt.datetime.combine(day, local.time(), zone))

    def covering(self, time: TimeRange, zone: dt.tzinfo = dt.UTC) -> Sequence[TimeRange]:
        """The intervals that overlap a time range (ms, UTC)."""
        days = self.unit == "day" and zone is dt.UTC and time.start > -_IN_CALENDAR and time.end < _IN_CALENDAR
        if length := DAY_MS if days else self.seconds * 1000:
            over = time.start % length
            if not over and time.end - time.start == length:
                return (time,)
            return [TimeRange(start, start + length) for start in range(time.start - over, time.end, length)]
        found, at = list[TimeRange](), self.floor(time.start, zone)
        while at < time.end:
            found.append(TimeRange(at, at := self.end(at, zone)))
        return found

    def ceiling(self, instant: int, zone: dt.tzinfo = dt.UTC) -> int:
        """The first start (ms, UTC) of an interval at or after an instant (ms, UTC)."""
        floor = self.floor(instant, zone)
        return instant if floor == instant else self.end(floor, zone)

    def fits_into(self, other: Interval, zone: dt.tzinfo = dt.UTC) -> bool:
        """Whether each interval of the other kind consists of whole intervals of this one."""
        if not self.seconds:
            return other.unit in _WITHIN.get(self.unit, ())
        if other.seconds:
            return other.seconds % self.seconds == 0
        return not any(offset % self.seconds for offset in _offsets(zone))


@functools.cache
def _offsets(zone: dt.tzinfo) -> frozenset[int]:
    moments = (dt.datetime(year, month, 1, tzinfo=zone) for year in _EXAMPLE_YEARS for month in (1, 7))
    return frozenset(round((moment.utcoffset() or dt.timedelta()).total_seconds()) for moment in moments)


def _midnight(day: dt.date, zone: dt.tzinfo) -> int:
    """The first instant of a day; if the clocks skip midnight, that after the gap, as in the databases."""
    return to_ms(dt.datetime.combine(day, dt.time(), zone))


@dataclass(frozen=True, slots=True)
class Level:
    """One rollup of a cascade: the length of its buckets, and its retention period."""

    interval: Interval
    retention_period: Duration

    def __str__(self) -> str:
        return f"{self.interval}:{self.retention_period}"


Levels = tuple[Level, ...]


def parse_interval(text: str) -> Interval:
    """Read the length of a bucket: ``10s``, ``5m``, ``1h``, ``1d``, ``1w``, ``1mo``, ``1y``."""
    match = _SPELLED.fullmatch(text.strip().lower())
    name, count = (match["unit"], int(match["count"])) if match else ("", 0)
    unit = name if name in {**_FIXED, **_CALENDAR} else _NAMES.get(name.removesuffix("s"))
    if unit is None or count == 0:
        raise InvalidInput(f"interval {text!r}", "invalid", "write it like 10s, 5m, 1h, 1d, 1w, 1mo or 1y")
    seconds = count * _FIXED.get(unit, 0)
    if seconds and DAY_SECONDS % seconds:
        raise InvalidInput(f"interval {text!r}", "does not divide a day", "choose e.g. 10s, 1m, 15m, 1h or 1d")
    if not seconds and count != 1:
        raise InvalidInput(f"interval {text!r}", "only a single calendar unit is supported", f"write 1{unit}")
    return Interval(seconds) if 0 < seconds < DAY_SECONDS else Interval(unit=_CALENDAR.get(unit, "day"))


def parse_levels(value: object) -> Levels:
    """Read a cascade: text like ``1m:7d,1h:90d``, or a list of such parts or of levels, finest first."""
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple):
        raise InvalidInput("levels", "neither text nor a list", _REMEDY)
    levels = tuple(part if isinstance(part, Level) else _parse_level(part) for part in value)
    for finer, coarser in pairwise(levels):
        kept, longer = finer.retention_period, coarser.retention_period
        if not finer.interval.fits_into(coarser.interval):
            raise InvalidInput("levels", f"{finer.interval} does not divide {coarser.interval}", _REMEDY)
        if finer.interval == coarser.interval:
            raise InvalidInput("levels", f"duplicate {finer.interval}", "remove one of the two")
        if kept.approximate_seconds() > longer.approximate_seconds():
            reason = f"{finer.interval} is kept for {kept}, longer than {coarser.interval} with {longer}"
            raise InvalidInput("levels", reason, "keep coarser levels at least as long as finer ones")
    return levels


def _parse_level(part: object) -> Level:
    interval, colon, retention = str(part).partition(":")
    if not colon:
        raise InvalidInput(f"level {part!r}", "not an interval with a retention period", _REMEDY)
    level = Level(parse_interval(interval), parse_duration(retention.strip()))
    if level.retention_period.approximate_seconds() < level.interval.approximate_seconds:
        raise InvalidInput(f"level {part!r}", "is kept for less than one of its buckets", "choose a longer period")
    return level


def check_zone(levels: Iterable[Level], zone: zoneinfo.ZoneInfo) -> None:
    """Raises InvalidInput if the days of a zone do not consist of whole buckets, as hours in Kathmandu (UTC+5:45)."""
    for finer, coarser in pairwise(levels):
        if not finer.interval.fits_into(coarser.interval, zone):
            reason = f"buckets of {finer.interval} (UTC) do not divide those of {coarser.interval} in {zone.key}"
            raise InvalidInput("levels", reason, "choose a shorter interval, or another time_zone")
