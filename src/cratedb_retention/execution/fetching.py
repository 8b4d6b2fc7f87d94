"""
Reads a cascade: plans which table answers which stretch, lets the database aggregate, and puts the parts together.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import localcontext

from cratedb_retention.engine.base import Engine
from cratedb_retention.execution.filling import Values, fill
from cratedb_retention.execution.freshness import follow_late_rows
from cratedb_retention.execution.merging import Merged
from cratedb_retention.model.fetched import Fetched, Row
from cratedb_retention.model.reading import Cascade, FetchRequest, Group, Reading, Stretch
from cratedb_retention.model.rollup import label, level_column
from cratedb_retention.model.time import from_ms, to_ms
from cratedb_retention.planning.asking import make_reading
from cratedb_retention.planning.reading import without

_Merged = dict[tuple[int, Group], Merged]
# More than any sum of the databases' decimals has, so that none is rounded.
_DIGITS = 80
_NOT_ADDING_UP = "ask from then on to see them; they do not add up to it, verify-rollups says where"


def fetch(engine: Engine, cascade: Cascade, request: FetchRequest, now: dt.datetime) -> Fetched:
    """
    Answer a request from the tables of a cascade, in one statement for each stretch, and one more for each metric whose
    percentiles are asked; two more count what a level has where raw rows are there, too.

    :param now: The present instant, aware.
    :raises InvalidInput: if the request makes no sense.
    """
    with localcontext(prec=_DIGITS):
        return _fetch(engine, cascade, request, now)


def _fetch(engine: Engine, cascade: Cascade, request: FetchRequest, now: dt.datetime) -> Fetched:
    reading = make_reading(cascade, request, now)
    rests = _read_rests(engine, reading, to_ms(now))
    if rests is None:
        reading, rests = make_reading(cascade, request, now, _NOT_ADDING_UP), {}
    reading = follow_late_rows(engine, reading)
    plain = [stretch for stretch in reading.stretches if not stretch.less]
    return _answer(reading, rests | _read(engine, reading, plain, to_ms(now)))


def _read_rests(engine: Engine, reading: Reading, now: int) -> _Merged | None:
    """What is left of longer buckets without what finer levels have of them; None if they do not add up."""
    rests: _Merged = {}
    for stretch in reading.stretches:
        if not stretch.less:
            continue
        whole = _read(engine, reading, [stretch.whole], now)
        part = _read(engine, reading, stretch.less, now)
        if not part.keys() <= whole.keys():
            return None
        for key, found in whole.items():
            rest = found.without(part.get(key, Merged(seconds=0)), (stretch.end - stretch.start) / 1000)
            if rest is None:
                return None
            if rest.rows:
                rests[key] = rest
    return rests


def _read(engine: Engine, reading: Reading, stretches: Iterable[Stretch], now: int) -> _Merged:
    merged: _Merged = {}
    for stretch in stretches:
        for part in engine.read(reading, stretch):
            bucket = _bucket(merged, reading, stretch, part.bucket, part.group, now)
            bucket.add(reading.parts, part.values, part.rows, stretch.holding.name)
        for found in engine.read_bins(reading, stretch) if reading.sketched else []:
            bucket = _bucket(merged, reading, stretch, found.bucket, found.group, now)
            bucket.add_bin(found.metric, found.sign, found.index, found.count)
    return merged


def _bucket(merged: _Merged, reading: Reading, stretch: Stretch, start: int, group: Group, now: int) -> Merged:
    """
    The bucket that a row of the database belongs to.

    What begins a day where the clocks skip midnight is a matter of opinion; here it is ours.
    """
    zone = reading.cascade.tzinfo
    start = stretch.interval.floor(start, zone)
    if (start, group) not in merged:
        end = min(stretch.interval.end(start, zone), max(now, start))
        merged[start, group] = Merged(seconds=(end - start) / 1000)
    return merged[start, group]


def _answer(reading: Reading, merged: _Merged) -> Fetched:
    known: dict[tuple[int, Group], Values] = {
        key: tuple(found.value(want) for want in reading.wanted) for key, found in merged.items()
    }
    groups = sorted({group for _, group in merged}, key=_order)
    rank = {group: i for i, group in enumerate(groups)}
    filled = fill(known, reading, groups)
    zone = reading.cascade.tzinfo
    rows: list[Row] = []
    for bucket, group in sorted(filled, key=lambda key: (key[0], rank[key[1]])):
        found = merged.get((bucket, group))
        level = "+".join(found.levels) if found else None
        rows.append((from_ms(bucket).astimezone(zone), *group, *filled[bucket, group], level))
    spans = [(stretch.start, stretch.end) for stretch in reading.stretches]
    return Fetched(
        columns=_columns(reading),
        rows=tuple(rows),
        keys=len(reading.by),
        step=reading.step,
        start=reading.start,
        end=reading.end,
        stretches=reading.stretches,
        gaps=tuple(without([(reading.start, reading.end)], spans)),
    )


def _columns(reading: Reading) -> tuple[str, ...]:
    dimensions = (label(column.name) for column in reading.by)
    columns = (reading.cascade.time_name, *dimensions, *(want.name for want in reading.wanted))
    return (*columns, level_column(columns))


def _order(group: Group) -> tuple[tuple[bool, bool, float, str], ...]:
    """Numbers by value, the rest as text, NULL last."""
    return tuple(
        (value is None, isinstance(value, str), value if isinstance(value, int | float) else 0.0, str(value))
        for value in group
    )
