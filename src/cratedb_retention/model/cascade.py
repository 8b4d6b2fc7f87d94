"""
Cascades as people write them: ``1m:7d,1h:90d,1d:forever``, finest level first, each an interval and how long its
rollup is kept. Fixed intervals divide a day and begin at midnight UTC; days, weeks, months and years are calendar units
of the policy's time zone, right across changes of the clocks.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.duration import Duration, parse_duration
from cratedb_retention.model.time import Period

DAY_SECONDS = 86_400
_REMEDY = "write it like 1m:7d,1h:90d,1d:forever, finest first"
_FIXED = {"s": 1, "m": 60, "h": 3600}
_CALENDAR = {"d": "day", "w": "week", "mo": "month", "y": "year"}
_SHORT = {unit: short for short, unit in _CALENDAR.items()}
_NAMES = {"sec": "s", "min": "m", "hour": "h", "day": "d", "week": "w", "month": "mo", "mon": "mo", "year": "y"}
_SPELLED = re.compile(r"(?P<count>[0-9]{1,6})\s*(?P<unit>[a-z]+)")
# What lies within what: a week fits into nothing longer.
_WITHIN = {"day": ("day", "week", "month", "year"), "week": ("week",), "month": ("month", "year"), "year": ("year",)}
_PERIODS = {"day": Period(days=1), "week": Period(days=7), "month": Period(months=1), "year": Period(months=12)}
_EXAMPLE_YEARS = range(1970, 2051)


@dataclass(frozen=True, slots=True)
class Interval:
    """
    The length of buckets, windows or partitions.

    :param seconds: A fixed length that divides a day; 0 for a calendar unit.
    :param unit: ``day``, ``week``, ``month`` or ``year``; empty for a fixed length.
    """

    seconds: int = 0
    unit: str = ""

    def __str__(self) -> str:
        if self.unit:
            return f"1{_SHORT[self.unit]}"
        unit = next(name for name in ("h", "m", "s") if self.seconds % _FIXED[name] == 0)
        return f"{self.seconds // _FIXED[unit]}{unit}"

    @property
    def approximate_seconds(self) -> int:
        """Its length, for comparing; of a calendar unit the mean one."""
        return self.seconds or self.period.approximate_ms // 1000

    @property
    def period(self) -> Period:
        """The same as a unit of time."""
        return _PERIODS[self.unit] if self.unit else Period(ms=self.seconds * 1000)

    def floor(self, instant: int, zone: dt.tzinfo = dt.UTC) -> int:
        """The start (ms, UTC) of the interval that an instant (ms, UTC) lies in."""
        return self.period.floor(instant, zone)

    def end(self, start: int, zone: dt.tzinfo = dt.UTC) -> int:
        """The end (ms, UTC) of the interval that starts at an instant; ``OverflowError`` beyond the calendar."""
        return self.period.end(start, zone)

    def ceiling(self, instant: int, zone: dt.tzinfo = dt.UTC) -> int:
        """The first start (ms, UTC) of an interval at or after an instant (ms, UTC)."""
        floor = self.floor(instant, zone)
        return instant if floor == instant else self.end(floor, zone)

    def fits_into(self, other: Interval, zone: dt.tzinfo = dt.UTC) -> bool:
        """Tell whether each interval of the other one consists of whole ones of these."""
        if self.seconds and other.seconds:
            return other.seconds % self.seconds == 0
        if self.seconds:
            moments = (dt.datetime(year, month, 1, tzinfo=zone) for year in _EXAMPLE_YEARS for month in (1, 7))
            offsets = (moment.utcoffset() or dt.timedelta() for moment in moments)
            return not any(round(offset.total_seconds()) % self.seconds for offset in offsets)
        return other.unit in _WITHIN[self.unit]


@dataclass(frozen=True, slots=True)
class Level:
    """One rollup of a cascade: the length of its buckets, and how long they are kept."""

    interval: Interval
    retention_period: Duration

    def __str__(self) -> str:
        return f"{self.interval}:{self.retention_period}"


Levels = tuple[Level, ...]


def parse_interval(text: str) -> Interval:
    """Read a bucket's length: ``10s``, ``5m``, ``1h``, ``1d``, ``1w``, ``1mo``, ``1y``. A fixed one divides a day."""
    match = _SPELLED.fullmatch(text.strip().lower())
    name, count = (match["unit"], int(match["count"])) if match else ("", 0)
    known = {unit: unit for unit in (*_FIXED, *_CALENDAR)} | _NAMES
    unit = known.get(name) or _NAMES.get(name.removesuffix("s"))
    if unit is None or count == 0:
        raise InvalidInput(f"interval {text!r}", "is none", "write it like 10s, 5m, 1h, 1d, 1w, 1mo or 1y")
    seconds = count * _FIXED[unit] if unit in _FIXED else 0
    if seconds == DAY_SECONDS:
        return Interval(unit="day")
    if seconds:
        if DAY_SECONDS % seconds:
            raise InvalidInput(f"interval {text!r}", "does not divide a day", "choose e.g. 10s, 1m, 15m, 1h or 1d")
        return Interval(seconds)
    if count != 1:
        raise InvalidInput(f"interval {text!r}", "more than one of a calendar unit", f"write 1{unit}")
    return Interval(unit=_CALENDAR[unit])


def parse_levels(value: object) -> Levels:
    """Read a cascade: text as ``1m:7d,1h:90d``, or a list of such parts, or levels, finest first."""
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple):
        raise InvalidInput("levels", "neither text nor a list", _REMEDY)
    levels = tuple(part if isinstance(part, Level) else _parse_level(part) for part in value)
    for finer, coarser in pairwise(levels):
        _check_order(finer, coarser)
    return levels


def _parse_level(part: object) -> Level:
    interval, colon, retention = str(part).partition(":")
    if not colon:
        raise InvalidInput(f"level {part!r}", "no interval and retention period", _REMEDY)
    level = Level(parse_interval(interval), parse_duration(retention.strip()))
    if level.retention_period.approximate_seconds() < level.interval.approximate_seconds:
        raise InvalidInput(f"level {part!r}", "is kept for less than one of its buckets", "keep it longer")
    return level


def _check_order(finer: Level, coarser: Level) -> None:
    if not finer.interval.fits_into(coarser.interval):
        raise InvalidInput("levels", f"{finer.interval} does not divide {coarser.interval}", _REMEDY)
    if finer.interval == coarser.interval:
        raise InvalidInput("levels", f"{finer.interval} is there twice", "remove one of them")
    if finer.retention_period.approximate_seconds() > coarser.retention_period.approximate_seconds():
        raise InvalidInput(
            "levels",
            f"{finer.interval} is kept for {finer.retention_period}, longer than {coarser.interval} with "
            f"{coarser.retention_period}",
            "keep coarser levels at least as long as finer ones",
        )


def check_zone(levels: Iterable[Level], zone: zoneinfo.ZoneInfo) -> None:
    """Make sure that the days of a time zone consist of whole buckets; not so hours in Kathmandu, 5:45 ahead of UTC."""
    for finer, coarser in pairwise(levels):
        if not finer.interval.fits_into(coarser.interval, zone):
            raise InvalidInput(
                "levels",
                f"buckets of {finer.interval} (UTC) do not divide those of {coarser.interval} in {zone.key}",
                "choose a shorter interval, or another time_zone",
            )
