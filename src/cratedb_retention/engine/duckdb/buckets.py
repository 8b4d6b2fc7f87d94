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
    return sa.func.to_timestamp(sa.func.epoch(sa.func.date_trunc(sa.literal(interval.unit), naive)))


def _fixed(instant: Element, seconds: int, offset: int) -> Element:
    """``%`` has the sign of the dividend, so before 1970 it takes a second step."""
    micros = sa.func.epoch_us(instant)
    step: Element = sa.literal_column(str(seconds * _SECOND))
    shift: Element = sa.literal_column(str(offset * _SECOND))
    rest = micros.op("-")(shift).self_group().op("%")(step).op("+")(step).self_group().op("%")(step)
    start = micros.op("-")(rest.self_group()).self_group().op("//")(sa.literal_column(str(_SECOND)))
    return sa.func.to_timestamp(start)


def _calendar(instant: Element, unit: str, zone: str) -> Element:
    """Where clocks repeat midnight, DuckDB takes the second one; a day begins with the first."""
    local = sa.func.date_trunc(sa.literal(unit), sa.func.timezone(sa.literal(zone), instant))
    start: Element = sa.func.timezone(sa.literal(zone), local)
    for seconds in repeated_midnights(zone):
        earlier = start.op("-")(sa.literal_column(f"INTERVAL '{seconds} seconds'"))
        is_midnight = sa.func.timezone(sa.literal(zone), earlier.self_group()) == local
        start = sa.case((is_midnight, earlier), else_=start)
    return start


@lru_cache(maxsize=64)
def repeated_midnights(zone: str) -> tuple[int, ...]:
    """By how many seconds clocks were ever set back so that there was a second midnight; mostly never."""
    tzinfo = zoneinfo.ZoneInfo(zone)
    first, last = (dt.date(year, 1, 1).toordinal() for year in _YEARS)
    found = set()
    for ordinal in range(first, last):
        midnight = dt.datetime.combine(dt.date.fromordinal(ordinal), dt.time(), tzinfo)
        one, other = midnight.utcoffset(), midnight.replace(fold=1).utcoffset()
        if one is not None and other is not None and one > other:
            found.add(round((one - other).total_seconds()))
    return tuple(sorted(found))
