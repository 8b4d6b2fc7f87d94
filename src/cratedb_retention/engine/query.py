"""
Reads one stretch of a cascade: states by bucket and group, merged by the database, from a level's tables or from the
raw rows. They can be merged with what other stretches know of the same bucket.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.database import Database
from cratedb_retention.engine.expressions import Expressions, between, decimal_sum, ref, table_ref
from cratedb_retention.engine.samples import Before, Samples, Sketches
from cratedb_retention.engine.states import LevelRows, grouped, of_level, of_source, places
from cratedb_retention.model.aggregates import Kind, Number, Part
from cratedb_retention.model.catalog import Value
from cratedb_retention.model.reading import Group, Holding, Partial, Reading, Stretch
from cratedb_retention.model.rollup import Metric, Rollup, label

# How far values of counters before a stretch are looked for at first: a day (ms), or so many buckets of a level.
_LOOK_BACK, _BUCKETS = 86_400_000, 2000


def read_stretch(database: Database, sql: Expressions, reading: Reading, stretch: Stretch) -> list[Partial]:
    """What a stretch knows, in one statement; distributions take one more."""
    width, metrics = len(reading.by), _metrics(reading)
    parts = [(metric, part) for metric, found in metrics.items() for part in found]
    exact = [is_exact(metric, part) for metric, part in parts]
    found = []
    for row in database.rows(stretch_query(sql, reading, stretch)):
        states: dict[Metric, dict[Part, Any]] = {metric: {} for metric in metrics}
        for (metric, part), value in zip(parts, map(_number, row[2 + width :], exact), strict=True):
            states[metric][part] = value
        group, rows = tuple(row[1 : 1 + width]), int(row[1 + width])
        found.append(Partial(bucket=int(row[0]), group=group, rows=rows, states=states))
    return [*found, *_read_bins(database, sql, reading, stretch)]


def _read_bins(database: Database, sql: Expressions, reading: Reading, stretch: Stretch) -> Iterator[Partial]:
    sketched = {metric.name: metric for metric, parts in reading.parts.items() if Part.BINS in parts}
    if not sketched:
        return
    rollup, metrics = stretch.holding.rollup, dict.fromkeys(sketched.values(), (Part.BINS,))
    what = _what(sql, reading, stretch)
    bins = Sketches(**what, table=rollup.sketch if rollup else None, metrics=metrics).select()
    groups = [bins.c[name] for name in places(reading.cascade, reading.by)]
    columns = [*groups, bins.c.metric, bins.c.sign, bins.c.bin, bins.c.n]
    found: dict[tuple[int, Group, str], Counter[tuple[int, int]]] = {}
    for start, *group, name, sign, index, count in database.rows(sa.select(sql.epoch_ms(bins.c.t), *columns)):
        key = int(start), tuple(group), name
        found.setdefault(key, Counter())[int(sign), int(index)] += int(count)
    for (start, key_group, name), counter in found.items():
        yield Partial(bucket=start, group=key_group, rows=0, states={sketched[name]: {Part.BINS: counter}})


def read_values(database: Database, sql: Expressions, reading: Reading, stretch: Stretch, limit: int) -> list[Value]:
    """Some values of the first dimension of a reading that a stretch knows, in one statement."""
    cascade, rollup = reading.cascade, stretch.holding.rollup
    column = sql.column(reading.by[0]) if rollup is None else ref(label(reading.by[0].name))
    time = cascade.time if rollup is None else rollup.own_time
    filters = of_source(sql, reading.where) if rollup is None else of_level(sql, reading.where)
    conditions = between(sql, time, stretch.start, stretch.end), *filters
    query = sa.select(column).select_from(table_ref(stretch.holding.table)).where(*conditions).distinct().limit(limit)
    return [row[0] for row in database.rows(query)]


def is_exact(metric: Metric, part: Part) -> bool:
    """Whether a part is an exact decimal number."""
    return part.kind in (Kind.VALUE, Kind.SUM) and decimal_sum(metric.column.type) is not None


def _number(value: Any, exact: bool) -> Number:
    """Whole numbers stay whole; others become floats, also those that JSON writes as text (NaN, Infinity)."""
    if value is None or isinstance(value, int | float):
        return value
    return Decimal(value) if exact else float(value)


def _metrics(reading: Reading) -> dict[Metric, list[Part]]:
    """What is read of each metric, but for distributions."""
    return {metric: [part for part in parts if part is not Part.BINS] for metric, parts in reading.parts.items()}


def _what(sql: Expressions, reading: Reading, stretch: Stretch) -> dict[str, Any]:
    return {
        "sql": sql,
        "of": reading.cascade,
        "interval": stretch.interval,
        "groups": reading.by,
        "since": stretch.start,
        "until": stretch.end,
        "where": reading.where,
    }


def stretch_query(sql: Expressions, reading: Reading, stretch: Stretch) -> sa.Select[Any]:
    """Bucket (ms), groups, number of raw rows, parts of states: exact ones as text, or drivers make floats of them."""
    metrics, what = _metrics(reading), _what(sql, reading, stretch)
    if stretch.holding.rollup:
        rows = LevelRows(**what, metrics=metrics, table=stretch.holding.rollup.table).rows()
    else:
        near, far = _before(reading, stretch, [metric for metric, parts in metrics.items() if Part.INCREASE in parts])
        rows = Samples(**what, metrics=metrics, near=near, far=far).rows()
    names = list(places(reading.cascade, reading.by))
    found = grouped(sql, rows, metrics, names)
    values = []
    for i, (metric, parts) in enumerate(metrics.items()):
        for part in parts:
            value = found.c[f"m{i}_{part}"]
            values.append(sa.cast(value, sa.Text()) if is_exact(metric, part) else value)
    return sa.select(sql.epoch_ms(found.c.t), *(found.c[name] for name in names), found.c.n, *values)


def _before(reading: Reading, stretch: Stretch, counters: Sequence[Metric]) -> tuple[Before | None, list[Before]]:
    """
    Where values of counters before a stretch are looked for: in the last buckets of the finest level that holds what is
    just before it, since a level has few rows, else in the raw rows; then in what is older.
    """
    if not counters:
        return None, []
    start, cascade = stretch.start, reading.cascade
    names = {metric.name for metric in counters}
    coarser = [(holding, holding.rollup) for holding in cascade.holdings if holding.rollup]
    levels = [pair for pair in coarser if names <= {metric.name for metric in pair[1].metrics}]
    near = Before(level=None, start=start - _LOOK_BACK, end=start)
    begins = next((holding.start for holding in cascade.holdings if holding.rollup is None), start)
    for place, (holding, rollup) in enumerate(levels):
        end = rollup.interval.floor(start, cascade.tzinfo)
        if (holding.start or end - 1) < end and (holding.end is None or holding.end >= end):
            length = max(_LOOK_BACK, _BUCKETS * rollup.interval.approximate_seconds)
            near, begins, levels = Before(level=rollup, start=end - length, end=end), holding.start, levels[place + 1 :]
            break
    return near, [replace(near, start=None), *_older(begins, start, levels)]


def _older(begins: int | None, start: int, levels: Sequence[tuple[Holding, Rollup]]) -> Iterator[Before]:
    """The levels that have what a finer one has not any more, of the time before a stretch."""
    for holding, rollup in levels:
        if begins is None:
            return
        yield Before(level=rollup, start=None, end=min(begins, rollup.interval.floor(start, rollup.tzinfo)))
        begins = holding.start
