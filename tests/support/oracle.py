"""
What a level of a cascade must hold, computed from all raw rows in plain Python: an oracle that shares no code with the
engines, the planner and the calendar of the toolkit.

Rows are mappings with times in ms, UTC.
"""

from __future__ import annotations

import datetime as dt
import math
import statistics
import zoneinfo
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
# The start of a bucket, and the values of the dimensions.
Key = tuple[Any, ...]
AGGREGATES = ("min", "max", "sum", "count", "nonfinite", "first", "last", "avg", "stddev", "m2", "increase", "range")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FIXED = {"s": 1000, "m": 60_000, "h": 3_600_000}
_CALENDAR = {"d", "w", "mo", "y"}


def ms_of(moment: dt.datetime) -> int:
    """An instant as milliseconds."""
    return (moment - _EPOCH) // dt.timedelta(milliseconds=1)


def moment_of(ms: int) -> dt.datetime:
    """Milliseconds as an instant."""
    return _EPOCH + dt.timedelta(milliseconds=ms)


def text(ms: int | None) -> str | None:
    """An instant as both databases read it."""
    return None if ms is None else moment_of(ms).isoformat()


@dataclass(frozen=True)
class Buckets:
    """
    The buckets of a level.

    :param text: ``1m``, ``1h``, ``1d``, ``1w``, ``1mo``, ``1y``, ...
    """

    text: str
    zone: str

    def __call__(self, ms: int) -> tuple[int, int]:
        """The bucket [start, end) that an instant lies in, all ms, UTC."""
        unit = self.text.lstrip("0123456789")
        if unit not in _CALENDAR:
            length = int(self.text.removesuffix(unit)) * _FIXED[unit]
            return ms // length * length, (ms // length + 1) * length
        zone = zoneinfo.ZoneInfo(self.zone)
        first, following = _days(moment_of(ms).astimezone(zone).date(), unit)
        return _midnight(first, zone), _midnight(following, zone)


def _days(day: dt.date, unit: str) -> tuple[dt.date, dt.date]:
    """The first day of a calendar unit, and that of the next one."""
    if unit == "d":
        return day, day + dt.timedelta(days=1)
    if unit == "w":
        monday = day - dt.timedelta(days=day.weekday())
        return monday, monday + dt.timedelta(days=7)
    if unit == "mo":
        first = day.replace(day=1)
        return first, (first + dt.timedelta(days=31)).replace(day=1)
    return day.replace(month=1, day=1), day.replace(year=day.year + 1, month=1, day=1)


def _midnight(day: dt.date, zone: dt.tzinfo) -> int:
    return ms_of(dt.datetime.combine(day, dt.time(), zone).astimezone(dt.UTC))


def grouped(rows: Iterable[Row], buckets: Buckets, dimensions: Sequence[str], time: str = "ts") -> dict[Key, list[Row]]:
    """Rows by the start of their bucket and their dimensions; NULL is a value like others."""
    found: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        found[buckets(row[time])[0], *(row[name] for name in dimensions)].append(row)
    return found


def with_increases(
    rows: Iterable[Row], dimensions: Sequence[str], metrics: Sequence[str], time: str = "ts"
) -> list[Row]:
    """Rows in order of time, with the increase of each metric since the previous value of its series."""
    previous: dict[Key, Any] = {}
    found = []
    for row in sorted((row for row in rows if row[time] is not None), key=lambda row: row[time]):
        own = dict(row)
        for name in metrics:
            value, series = _known(row[name]), (name, *(row[dimension] for dimension in dimensions))
            before = previous.get(series, value)
            own[_increase(name)] = None if value is None else value - before if value >= before else value
            if value is not None:
                previous[series] = value
        found.append(own)
    return found


def aggregates(rows: Iterable[Row], name: str) -> dict[str, Any]:
    """All aggregates of a metric, of rows that :func:`with_increases` made."""
    rows = list(rows)
    known = [row for row in rows if _known(row[name]) is not None]
    values = [row[name] for row in known]
    nonfinite = sum(row[name] is not None for row in rows) - len(known)
    if not values:
        return {**dict.fromkeys(AGGREGATES), "count": 0, "nonfinite": nonfinite}
    total, stddev = math.fsum(values), statistics.pstdev(values)
    return {
        "min": min(values),
        "max": max(values),
        "sum": total,
        "count": len(values),
        "nonfinite": nonfinite,
        "first": values[0],
        "last": values[-1],
        "avg": total / len(values),
        "stddev": stddev,
        "m2": stddev * stddev * len(values),
        "range": max(values) - min(values),
        "increase": math.fsum(row[_increase(name)] for row in known),
    }


def _known(value: Any) -> Any:
    """A value, or None; NaN and infinity are none."""
    return None if value is None or not math.isfinite(value) else value


def _increase(name: str) -> str:
    return f"+{name}"
