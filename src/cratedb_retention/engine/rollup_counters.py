"""
How much counters increased: the difference of each sample to its series' previous one, which may lie in an earlier
bucket or window, however long ago. So the sum of increases over any stretch of time is the increase in it, and levels
merge by adding. A counter that falls was reset; then its new value is what came since. Several values of one instant
follow one another by size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.expressions import between, table_ref
from cratedb_retention.engine.rollup_columns import (
    BIGINT,
    DOUBLE,
    RollupSQL,
    as_type,
    finite,
    metric_value,
    nonfinite,
    number,
    ref,
    source_value,
)
from cratedb_retention.engine.rollup_runs import Run
from cratedb_retention.model.catalog import Column
from cratedb_retention.model.rollup import Aggregate, Metric, Rollup, label

Element = sa.ColumnElement[Any]
Query = Callable[[sa.Executable], Sequence[Sequence[Any]]]


def raw_values(sql: RollupSQL, rollup: Rollup) -> sa.Select[Any]:
    """All of the source's rows as ``ts``, ``d0``, ``m0``, and ``x0`` for metrics whose NaN and infinity are counted."""
    values = [metric_value(sql, metric.column).label(f"m{i}") for i, metric in enumerate(rollup.metrics)]
    dimensions = [source_value(sql, column).label(f"d{i}") for i, column in enumerate(rollup.dimensions)]
    flagged = ((i, rollup.metrics[i].column) for i in _flagged(rollup))
    flags = [nonfinite(column, sql.column(column)).label(f"x{i}") for i, column in flagged]
    columns = [sql.instant(rollup.time).label("ts"), *dimensions, *values, *flags]
    return sa.select(*columns).select_from(table_ref(rollup.source))


def has_counters(rollup: Rollup) -> bool:
    """Whether a level needs the samples before the first of its rows."""
    return rollup.from_raw and any(metric.has(Aggregate.INCREASE) for metric in rollup.metrics)


@dataclass(frozen=True, slots=True)
class Seeds:
    """
    Where the value before the first one of each series is looked for, however long ago that was.

    :param near: Only shortly before, which is enough where each series has one there.
    :param own: In the level itself; otherwise in the source.
    :param older: Coarser levels, each with the instant (ms, UTC) before which the finer one has nothing any more.
    """

    near: bool = True
    own: bool = True
    older: tuple[tuple[Rollup, int], ...] = ()


NEAR = Seeds()


def find_seeds(query: Query, sql: RollupSQL, rollup: Rollup, run: Run, older: tuple[tuple[Rollup, int], ...]) -> Seeds:
    """Where to look, in at most two statements that read little."""
    before = between(sql, rollup.own_time, None, run.since)
    there = sa.select(number(1)).select_from(table_ref(rollup.table)).where(before).limit(1)
    if not older and not query(there):
        return Seeds(near=False, own=False)
    feed = _feed(sql, rollup, run, raw_values(sql, rollup), NEAR)
    values = [feed.c[f"m{number}"] for number in _counters(rollup)]
    since = sql.value(rollup.own_time, run.since)
    lonely = query(lonely_series(_dimensions(rollup, feed), feed.c.ts, values, since))
    return Seeds(near=False, older=older) if lonely else NEAR


def lonely_series(
    series: Sequence[Element], time: Element, values: Sequence[Element], since: Element
) -> sa.Select[Any]:
    """A row if a series has its first value of a counter only at an instant or later."""
    first = [sa.func.min(time).filter(value.is_not(None)).label(f"f{i}") for i, value in enumerate(values)]
    found = sa.select(*first).group_by(*series).subquery("f") if series else sa.select(*first).subquery("f")
    return sa.select(number(1)).select_from(found).where(sa.or_(*(column >= since for column in found.c))).limit(1)


def with_increases(sql: RollupSQL, rollup: Rollup, run: Run, raw: sa.Select[Any], seeds: Seeds) -> sa.Subquery:
    """
    The samples of a run with their buckets and, for each counter, how much it increased (``i0``) and the sample's
    number in its series (``o0``).

    :param raw: See :func:`raw_values`.
    """
    feed = _feed(sql, rollup, run, raw, seeds)
    counters, series = _counters(rollup), _dimensions(rollup, feed)
    previous = [previous_value(feed.c[f"m{n}"], series, feed.c.ts).label(f"p{n}") for n in counters]
    order = [position(feed.c[f"m{n}"], series, feed.c.ts).label(f"o{n}") for n in counters]
    samples = sa.select(*feed.c, *previous, *order).subquery("l")
    positions = {column.name: f"d{i}" for i, column in enumerate(rollup.dimensions)}

    def grown(number: int) -> Element:
        found = increase(samples.c[f"m{number}"], samples.c[f"p{number}"])
        return counted_within(rollup.metrics[number], lambda column: samples.c[positions[column.name]], found)

    increases = [grown(n).label(f"i{n}") for n in counters]
    bucket = sql.bucket(rollup.interval, rollup.zone, samples.c.ts)
    since = sql.value(rollup.own_time, run.since)
    return sa.select(bucket.label("t"), *samples.c, *increases).where(samples.c.ts >= since).subquery("s")


def previous_value(value: Element, series: Sequence[Element], time: Element) -> Element:
    """
    The value before of the same series. Of several at one instant, the least is the first.

    Rows without a value are a series of their own, so that they don't stand between the others.
    """
    return sa.func.lag(value).over(partition_by=[*series, value.is_(None)], order_by=[time, value])


def position(value: Element, within: Sequence[Element], time: Element) -> Element:
    """The number of a value among others, in the order in which :func:`previous_value` looks at them."""
    return sa.func.row_number().over(partition_by=[*within, value.is_(None)], order_by=[time, value])


def increase(value: Element, previous: Element) -> Element:
    """How much a counter grew; when it fell, it was set back to 0. The first value of a series adds nothing."""
    return sa.case(
        (value.is_(None), as_type(sa.null(), DOUBLE)),
        (previous.is_(None), as_type(number(0), DOUBLE)),
        (value >= previous, as_type(value - previous, DOUBLE)),
        else_=as_type(value, DOUBLE),
    )


def counted_within(metric: Metric, dimension: Callable[[Column], Element], found: Element) -> Element:
    """How much a metric grew; NULL in series in which it is no counter."""
    if not metric.within:
        return found
    fits = (dimension(each.dimension).like(_as_like(each.pattern), escape="!") for each in metric.within)
    return sa.case((sa.or_(*fits), found), else_=as_type(sa.null(), DOUBLE))


def _as_like(pattern: str) -> str:
    """A pattern with ``*`` and ``?`` as ``LIKE`` has it."""
    plain = pattern.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return plain.replace("*", "%").replace("?", "_")


def _feed(sql: RollupSQL, rollup: Rollup, run: Run, raw: sa.Select[Any], seeds: Seeds) -> sa.Subquery:
    """The samples of a run, and those before it."""
    start = run.look_back if seeds.near else None
    found = [raw.where(between(sql, rollup.time, run.since, run.until))]
    if seeds.own:
        found.append(_level_seeds(sql, rollup, rollup, start, run.since))
        # Whole buckets of the time before: a run may lie in what the finer level has nothing of any more.
        found += [
            _level_seeds(sql, rollup, coarser, None, min(before, coarser.interval.floor(run.since, coarser.tzinfo)))
            for coarser, before in seeds.older
        ]
    else:
        found += [_source_seeds(sql, rollup, number, run.since, raw) for number in _counters(rollup)]
    return sa.union_all(*found).subquery("f")


def _counters(rollup: Rollup) -> list[int]:
    return [number for number, metric in enumerate(rollup.metrics) if metric.has(Aggregate.INCREASE)]


def _flagged(rollup: Rollup) -> list[int]:
    return [number for number, metric in enumerate(rollup.metrics) if metric.has(Aggregate.NONFINITE)]


def _no_flags(rollup: Rollup) -> list[Element]:
    """Samples before a run are not counted in it."""
    return [as_type(sa.null(), BIGINT).label(f"x{i}") for i in _flagged(rollup)]


def _dimensions(rollup: Rollup, rows: sa.Subquery) -> list[Element]:
    return [rows.c[f"d{number}"] for number in range(len(rollup.dimensions))]


def _level_seeds(sql: RollupSQL, rollup: Rollup, level: Rollup, start: int | None, end: int) -> sa.Select[Any]:
    """The last sample of each series that a level knows in a stretch of time, at the start of its bucket."""
    time = ref(rollup.time_name)
    dimensions = [ref(label(column.name)).label(f"d{i}") for i, column in enumerate(rollup.dimensions)]

    def last(metric: Metric) -> Element:
        kind = sql.stored_type(metric.column)
        if not metric.has(Aggregate.INCREASE):
            return as_type(sa.null(), kind)
        # Earlier versions took NaN for a value.
        value = finite(metric.column, ref(metric.named(Aggregate.LAST)))
        return sa.func.max_by(value, time).filter(value.is_not(None))

    values = [last(metric).label(f"m{i}") for i, metric in enumerate(rollup.metrics)]
    return (
        sa.select(sa.func.max(time).label("ts"), *dimensions, *values, *_no_flags(rollup))
        .select_from(table_ref(level.table))
        .where(between(sql, rollup.own_time, start, end))
        .group_by(*(dimension.element for dimension in dimensions))
    )


def _source_seeds(sql: RollupSQL, rollup: Rollup, counter: int, end: int, raw: sa.Select[Any]) -> sa.Select[Any]:
    """The last sample of one counter of each series in the source's rows before an instant."""
    known = raw.where(between(sql, rollup.time, None, end)).subquery("b")
    value, dimensions = known.c[f"m{counter}"], _dimensions(rollup, known)
    last = sa.func.max(known.c.ts).over(partition_by=[*dimensions, value.is_(None)]).label("last")
    rows = sa.select(*known.c, last).subquery("b")
    values = [
        (sa.func.max(rows.c[f"m{i}"]) if i == counter else as_type(sa.null(), sql.stored_type(metric.column))).label(
            f"m{i}"
        )
        for i, metric in enumerate(rollup.metrics)
    ]
    keys = _dimensions(rollup, rows)
    found = sa.select(rows.c.ts, *keys, *values, *_no_flags(rollup))
    query = found.where(rows.c.ts == rows.c.last, rows.c[f"m{counter}"].is_not(None))
    return query.group_by(rows.c.ts, *keys)
