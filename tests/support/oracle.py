"""
What a level must hold, reckoned from all raw rows at once in exact numbers: an oracle that shares nothing with the
engines, the planner or the arithmetic of intervals. And what may differ: the rounding of sums, and no more.
"""

from __future__ import annotations

import datetime as dt
import math
import zoneinfo
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

Row = Mapping[str, Any]
Key = tuple[Any, ...]
# A double's unit in the last place, relative; each addition and each merge rounds once.
_ULP = Fraction(1, 2**52)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FIXED = {"s": 1000, "m": 60_000, "h": 3_600_000}
_CALENDAR = {"d", "w", "mo", "y"}
# So many sums of an increase are looked at; beyond that it is not known well enough to tell right from wrong.
_MOST_SUMS = 4096


# Time


def ms_of(moment: dt.datetime) -> int:
    """An instant as milliseconds."""
    return (moment - _EPOCH) // dt.timedelta(milliseconds=1)


def moment_of(ms: int) -> dt.datetime:
    """The same the other way round."""
    return _EPOCH + dt.timedelta(milliseconds=ms)


@dataclass(frozen=True)
class Buckets:
    """
    How time is cut, as people write it.

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


# Aggregates


@dataclass(frozen=True)
class Number:
    """
    A metric of a table.

    :param kind: Its type as SQL.
    :param counter: Whether its increase is kept, rather than least, greatest and sum.
    """

    name: str
    kind: str
    counter: bool = False


def grouped(rows: Iterable[Row], buckets: Buckets, dimensions: Sequence[str]) -> dict[Key, list[Row]]:
    """Rows by the start of their bucket and their dimensions, NULL being a value like others."""
    found: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        found[buckets(row["ts"])[0], *(row[name] for name in dimensions)].append(row)
    return found


def differences(
    found: Row, rows: Sequence[Row], numbers: Iterable[Number], increases: Mapping[tuple[str, int], frozenset[Fraction]]
) -> list[str]:
    """
    How a row of a level differs from what it was made of, in words; none if it is right.

    :param found: The row, by column.
    :param rows: All raw rows of its bucket and its dimensions.
    :param increases: What each raw row may have added to a counter, by metric and ``id``; empty: not looked at.
    """
    wrong = [] if found["row_count"] == len(rows) else [f"row_count {found['row_count']}, not {len(rows)}"]
    for number in numbers:
        values = [(row["ts"], row[number.name]) for row in rows if row[number.name] is not None]
        checks = _checks(number, values)
        if number.counter and increases:
            checks["increase"] = _increase([increases.get((number.name, row["id"])) for row in rows])
        for name, is_right in checks.items():
            value = found[f"{number.name}_{name}"]
            if not is_right(value):
                wrong.append(f"{number.name}_{name} is {value!r}, of {values}")
    return wrong


def _checks(number: Number, values: Sequence[tuple[int, Any]]) -> dict[str, Callable[[Any], bool]]:
    plain = [value for _, value in values]
    first = [value for ts, value in values if ts == min(ts for ts, _ in values)]
    last = [value for ts, value in values if ts == max(ts for ts, _ in values)]
    checks = {"count": lambda value: value == len(values), "first": _one_of(first), "last": _one_of(last)}
    if number.counter:
        return checks
    checks |= {"min": _extreme(min, plain), "max": _extreme(max, plain)}
    return checks | {"sum": _near(plain, 1), "avg": _near(plain, len(plain) or 1)}


def _one_of(values: Sequence[Any]) -> Callable[[Any], bool]:
    """Of several values at the same instant any may count as the first or the last one."""
    return lambda found: any(_same(found, value) for value in values or [None])


def _extreme(choose: Callable[..., Any], values: Sequence[Any]) -> Callable[[Any], bool]:
    """Databases do not agree whether NaN is less or greater than numbers, so it may be either or neither."""
    numbers = [value for value in values if not _is_nan(value)]
    allowed = [choose(numbers)] if numbers else [None] if not values else []
    return _one_of([*allowed, *(value for value in values if _is_nan(value))])


def _near(values: Sequence[Any], divisor: int) -> Callable[[Any], bool]:
    """A sum of doubles is right to within the rounding of each of its additions."""
    if not values:
        return lambda found: found is None
    if any(_is_nan(value) for value in values):
        return _is_nan
    exact = [Fraction(value) for value in values]
    slack = (len(exact) + 4) * _ULP * sum(map(abs, exact))
    return lambda found: _is_finite(found) and abs(Fraction(found) * divisor - sum(exact)) <= slack


def _increase(parts: Sequence[frozenset[Fraction] | None]) -> Callable[[Any], bool]:
    known = [part for part in parts if part is not None]
    if not known:
        return lambda found: found is None
    sums = {Fraction(0)}
    for part in known:
        sums = {one + other for one in sums for other in part}
        if len(sums) > _MOST_SUMS:
            return lambda found: True
    return lambda found: _is_finite(found) and any(abs(Fraction(found) - one) <= 64 * _ULP * abs(one) for one in sums)


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) or (_is_nan(one) and _is_nan(other))


def _is_nan(value: Any) -> bool:
    """CrateDB writes NaN as text, since JSON has no such number."""
    return value == "NaN" or (isinstance(value, float) and math.isnan(value))


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


# Counters


def increases_of(
    rows: Iterable[Row], dimensions: Sequence[str], numbers: Iterable[Number], buckets: Buckets, windows: Buckets
) -> dict[tuple[str, int], frozenset[Fraction]]:
    """
    What each row may add to a counter: the difference to the value before of its series.

    That is looked for as far back as a window is long, and further where windows are computed together; so beyond that
    a row may as well begin anew and add nothing. Of several values at the instant before any may count as the last.

    :return: By metric and ``id``.
    """
    found: dict[tuple[str, int], frozenset[Fraction]] = {}
    series: dict[Key, list[Row]] = defaultdict(list)
    counters = [number.name for number in numbers if number.counter]
    for row in rows:
        for name in counters:
            if row[name] is not None:
                series[name, *(row[dimension] for dimension in dimensions)].append(row)
    for (name, *_), own in series.items():
        own.sort(key=lambda row: (row["ts"], row[name]))
        found[name, own[0]["id"]] = frozenset([Fraction(0)])
        for before, row in pairwise(own):
            found[name, row["id"]] = _steps(name, own, before, row, buckets, windows)
    return found


def _steps(
    name: str, own: Sequence[Row], before: Row, row: Row, buckets: Buckets, windows: Buckets
) -> frozenset[Fraction]:
    start, end = windows(row["ts"])
    if before["ts"] >= start:
        return frozenset([_step(before[name], row[name])])
    steps = {_step(other[name], row[name]) for other in own if other["ts"] == before["ts"]}
    return frozenset(steps if buckets(before["ts"])[0] >= start - (end - start) else {*steps, Fraction(0)})


def _step(before: int, value: int) -> Fraction:
    return Fraction(value - before if value >= before else value)
