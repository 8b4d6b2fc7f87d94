"""
Measures how fast a table grows: rows per day, their rhythm over the week, and their trend.

Rows are counted by days if partitions are that short, else by the partitions' own unit, such as months. Neither the
open one counts, nor the first one if it is incomplete. Outliers, such as the day of an import, count as a usual day. A
trend is assumed only if it is significant, since it is continued until the end of the forecast.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection, Iterable, Sequence
from itertools import combinations, groupby, takewhile
from statistics import fmean, median
from typing import Any

from cratedb_retention.model.forecast import Rate
from cratedb_retention.model.rollups.cascade import DAY_SECONDS, Interval
from cratedb_retention.model.time import DAY_MS, TimeRange, show
from cratedb_retention.model.words import plural

DAY = Interval(unit="day")
_WEEK = 7
# How many past units count at most, by their name: the recent past, and enough to tell a rhythm and a trend.
_MOST, _MOST_OTHERS = {"day": 8 * _WEEK, "week": 12, "month": 12}, 6
# Fewer units say too little.
LEAST = 2
# An incomplete first unit has less than this share of the usual rows.
_INCOMPLETE = 0.9
# An outlier differs from the usual by this multiple of the usual difference, and by half of the usual.
_FAR, _FAR_SHARE = 5 * 1.4826, 0.5
# Before there are three weeks, the usual rows of a weekday are unknown: only what exceeds this multiple is one.
_GROSS = 10
# Weeks or other units from which a trend can be told, and the number of standard deviations (Mann and Kendall).
_TREND_FROM, _SIGNIFICANT = 6, 2.5
# Differences below this share are those of floating point numbers.
_SAME = 1e-9

Rows = tuple[int, int, float]  # The number of rows in a time range [start, end) (ms, UTC).


class Growth:
    """The number of rows that arrive from an instant on."""

    def __init__(self, origin: int, rate: Rate) -> None:
        self.origin, self.rate = origin, rate  # The start of a day, and the rate on it.
        self._sums = [0.0]  # The number of rows in all days before each day.

    def until(self, instant: int) -> int:
        """The number of rows from the origin until an instant; negative before it."""
        if instant < self.origin:
            return -round((self.origin - instant) / DAY_MS * max(0.0, self.rate.daily))
        day, rest = divmod(instant - self.origin, DAY_MS)
        rate, rhythm = self.rate, self.rate.rhythm or (1.0,)
        while len(self._sums) <= day + 1:
            at = len(self._sums) - 1
            self._sums.append(self._sums[at] + max(0.0, rate.daily + rate.trend * at) * rhythm[at % len(rhythm)])
        return round(self._sums[day] + (self._sums[day + 1] - self._sums[day]) * rest / DAY_MS)

    def between(self, start: int, end: int) -> int:
        return self.until(end) - self.until(start)

    def scaled(self, share: float, most: float, why: str) -> Growth:
        """The growth of what has a share of the rows, at most a number per day."""
        rate = self.rate
        if not rate.known:
            return self
        daily = min(rate.daily * share, most)
        trend, rhythm = (rate.trend * share, rate.rhythm) if daily < most else (0.0, ())
        return Growth(self.origin, Rate(daily=daily, trend=trend, rhythm=rhythm, why=why))


def unknown(now: int, why: str) -> Growth:
    """No growth, since it is unknown."""
    return Growth(now, Rate(why=why, known=False))


def combined(growths: Collection[Growth]) -> Growth:
    """The growth of several tenants together."""
    if len(growths) == 1:
        return next(iter(growths))
    rates, known = [growth.rate for growth in growths], [growth.rate for growth in growths if growth.rate.known]
    if not known:
        return unknown(0, rates[0].why if rates else "it has no partitions")
    daily, first = sum(rate.daily for rate in known), known[0]
    shares = [rate.rhythm or (1.0,) * _WEEK for rate in known]
    rhythm = tuple(sum(r.daily * share[day] for r, share in zip(known, shares, strict=True)) for day in range(_WEEK))
    together = Rate(
        daily=daily,
        trend=sum(rate.trend for rate in known),
        rhythm=tuple(rows / daily for rows in rhythm) if daily > 0 else (),
        start=min((rate.start for rate in known if rate.start is not None), default=None),
        end=first.end,
        units=max(rate.units for rate in known),
        unit=first.unit,
        why=f"{len(rates) - len(known)} of {len(rates)} have too few partitions" if len(known) < len(rates) else "",
    )
    return Growth(next(growth.origin for growth in growths if growth.rate.known), together)


def measure_growth(counted: Iterable[Rows], interval: Interval, zone: dt.tzinfo, now: int) -> Growth:
    """
    Measure the growth of one table, or of the partitions of one tenant.

    :param counted: The rows that there are, by partitions or other time ranges.
    :param interval: The length of these.
    """
    unit = DAY if interval.approximate_seconds <= DAY_SECONDS else interval
    found = sorted(counted)
    if not found:
        return unknown(now, "it has no rows whose time is known")
    ranges = _past_units(unit, zone, found[0][0], now)
    rows = _rows_of(ranges, found)
    rates = [count / (time.end - time.start) * DAY_MS for count, time in zip(rows, ranges, strict=True)]
    if len(rates) > LEAST and _is_incomplete(rates, unit):
        ranges, rates = ranges[1:], rates[1:]
    name = unit.unit or "unit"
    if len(rates) < LEAST:
        return unknown(now, f"too little to measure: {plural(len(rates), f'complete {name}')}, and {LEAST} are needed")
    weeks = len(rates) // _WEEK if unit is DAY else 0
    kept = len(rates) - weeks * _WEEK if weeks else 0
    ranges, rates = ranges[kept:], rates[kept:]
    about: dict[str, Any] = {"start": ranges[0].start, "end": ranges[-1].end, "units": len(rates), "unit": name}
    origin = DAY.floor(now, zone)
    if quiet := _stopped(rates, _WEEK if unit is DAY else LEAST):
        return Growth(origin, Rate(**about, why=f"no rows since {show(ranges[-quiet].start)}"))
    per = _WEEK if weeks >= LEAST else 1
    rates = _without_outliers(rates, per, gross=unit is DAY and weeks <= LEAST)
    means = [fmean(rates[start : start + per]) for start in range(0, len(rates), per)]
    slope = _slope(means) / per if per > 1 or unit is not DAY else 0.0
    level, middle = fmean(rates), (len(rates) - 1) / 2
    rhythm = (
        _rhythm([rate / max(level + slope * (i - middle), _SAME) for i, rate in enumerate(rates)]) if per > 1 else ()
    )
    # The position of the first simulated day among the units, by their middles.
    spacing = (ranges[-1].end - ranges[0].start) / len(rates) / DAY_MS
    ahead = len(rates) - 0.5 + ((origin - ranges[-1].end) / DAY_MS + 0.5) / spacing - middle
    return Growth(origin, Rate(daily=level + slope * ahead, trend=slope / spacing, rhythm=rhythm, **about))


def _past_units(unit: Interval, zone: dt.tzinfo, first: int, now: int) -> list[TimeRange]:
    """The complete units before now, oldest first; the oldest one contains the first row."""
    found: list[TimeRange] = []
    end = unit.floor(now, zone)
    while end > first and len(found) < _MOST.get(unit.unit, _MOST_OTHERS):
        start = unit.floor(end - 1, zone)
        found.append(TimeRange(start, end))
        end = start
    return found[::-1]


def _rows_of(ranges: Sequence[TimeRange], counted: Sequence[Rows]) -> list[float]:
    """The rows of each unit; those of a longer time range count in equal parts."""
    found, first = [0.0] * len(ranges), 0
    for start, end, rows in counted:
        while first < len(ranges) and ranges[first].end <= start:
            first += 1
        for position in range(first, len(ranges)):
            time = ranges[position]
            if time.start >= end:
                break
            found[position] += rows * (min(end, time.end) - max(start, time.start)) / (end - start)
    return found


def _is_incomplete(rates: Sequence[float], unit: Interval) -> bool:
    """Whether the first unit has far fewer rows than a later one that should be alike."""
    alike = rates[_WEEK] if unit is DAY and len(rates) > _WEEK else median(rates[1:])
    return rates[0] < alike * _INCOMPLETE


def _stopped(rates: Sequence[float], least: int) -> int:
    """For how many units no row has arrived, if that is unusual; else 0."""
    quiet = len(list(takewhile(lambda rate: not rate, reversed(rates))))
    earlier = (len(list(run)) for empty, run in groupby(rates[: len(rates) - quiet], lambda rate: not rate) if empty)
    return quiet if quiet >= least and quiet > max(earlier, default=0) else 0


def _without_outliers(rates: Sequence[float], per: int, gross: bool) -> list[float]:
    """Replace outliers by the usual rate, of the same day of the week if there are enough weeks."""
    usual = median(rates)
    if gross or not usual:
        return [usual if usual and rate > usual * _GROSS else rate for rate in rates]
    found = list(rates)
    for day in range(per):
        alike = rates[day::per]
        usual = median(alike)
        far = max(_FAR * median(abs(rate - usual) for rate in alike), _FAR_SHARE * usual)
        found[day::per] = [usual if abs(rate - usual) > far else rate for rate in alike]
    return found


def _slope(values: Sequence[float]) -> float:
    """By how much values grow from one to the next, robustly (Theil and Sen); 0 if that is not significant."""
    count, least = len(values), max(values) * _SAME
    if count < _TREND_FROM:
        return 0.0
    signs = sum((b - a > least) - (a - b > least) for a, b in combinations(values, 2))
    deviation = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    if abs(signs) - 1 < _SIGNIFICANT * deviation:
        return 0.0
    return median((b - a) / (j - i) for (i, a), (j, b) in combinations(enumerate(values), 2))


def _rhythm(shares: Sequence[float]) -> tuple[float, ...]:
    """The share of each day of the week, relative to their mean; the first is that of the first day."""
    found = [median(shares[day::_WEEK]) for day in range(_WEEK)]
    mean = fmean(found)
    return tuple(share / mean for share in found) if mean else ()
