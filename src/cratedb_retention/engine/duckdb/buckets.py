"""
Buckets of time on DuckDB.

``time_bucket`` and ``date_trunc`` of times with a zone ask a calendar for each row. Where the length is fixed, whole
numbers do, three times as fast.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.expressions import date_trunc
from cratedb_retention.model.cascade import Interval

Element = sa.ColumnElement[Any]
_SECOND, _DAY = 1_000_000, 86_400
# 1970 began on a Thursday.
_MONDAY = 4 * _DAY
_YEARS = (1900, 2100)


def bucket(interval: Interval, zone: str, instant: Element) -> Element:
    """The start of the interval that an instant lies in, as :meth:`Interval.floor` reckons it."""
    if interval.seconds:
        return _fixed(instant, interval.seconds, 0)
    if zone != "UTC":
        return _calendar(instant, interval.unit, zone)
    if interval.unit in ("day", "week"):
        days = 1 if interval.unit == "day" else 7
        return _fixed(instant, days * _DAY, 0 if days == 1 else _MONDAY)
    naive = sa.func.make_timestamp(sa.func.epoch_us(instant))
    return sa.func.to_timestamp(sa.func.epoch(date_trunc(interval.unit, naive)))


def _fixed(instant: Element, seconds: int, offset: int) -> Element:
    """``%`` has the sign of the dividend, so before 1970 it takes a second step."""
    micros, step = sa.func.epoch_us(instant), _number(seconds * _SECOND)
    shifted = micros.op("-")(_number(offset * _SECOND)).self_group() if offset else micros
    rest = shifted.op("%")(step).op("+")(step).self_group().op("%")(step)
    return sa.func.make_timestamptz(micros.op("-")(rest.self_group()))


def _calendar(instant: Element, unit: str, zone: str) -> Element:
    """Where clocks repeat midnight, DuckDB takes the second one; a day begins with the first."""
    local = date_trunc(unit, sa.func.timezone(sa.literal(zone), instant))
    start: Element = sa.func.timezone(sa.literal(zone), local)
    second = sa.func.epoch_us(start)
    early: list[tuple[Element, Element]] = [
        (second.in_([_number(moment * _SECOND) for moment in moments]), start.op("-")(_seconds(by)))
        for by, moments in repeated_midnights(zone)
    ]
    return sa.case(*early, else_=start) if early else start


def _number(value: int) -> Element:
    return sa.literal_column(str(value))


def _seconds(value: int) -> Element:
    return sa.literal_column(f"INTERVAL '{value} seconds'")


@lru_cache(maxsize=64)
def repeated_midnights(zone: str) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """
    When clocks were set back so that midnight came a second time; mostly never, but in Vienna in 1980.

    :return: By how many seconds, and the second midnights (s, UTC).
    """
    tzinfo = zoneinfo.ZoneInfo(zone)
    first, last = (dt.date(year, 1, 1).toordinal() for year in _YEARS)
    found: dict[int, list[int]] = {}
    for ordinal in range(first, last):
        midnight = dt.datetime.combine(dt.date.fromordinal(ordinal), dt.time(), tzinfo)
        again = midnight.replace(fold=1)
        # Compared as instants: two times of one zone would be compared as the clock shows them.
        moments = [round(moment.timestamp()) for moment in (midnight, again)]
        if moments[0] < moments[1] and _shows(moments[0], midnight) and _shows(moments[1], midnight):
            found.setdefault(moments[1] - moments[0], []).append(moments[1])
    return tuple((by, tuple(moments)) for by, moments in sorted(found.items()))


def _shows(moment: int, time: dt.datetime) -> bool:
    """Whether a clock there shows a time at a moment, which in a gap it never does."""
    return dt.datetime.fromtimestamp(moment, time.tzinfo).replace(tzinfo=None) == time.replace(tzinfo=None)
