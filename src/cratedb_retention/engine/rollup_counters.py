"""
How much counters increased: the difference of each sample to its series' previous one, which may lie in an earlier
bucket or window. So the sum of increases over any stretch of time is the increase in it, and levels merge by adding.
A counter that falls was reset; then its new value is what came since.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.expressions import between, table_ref
from cratedb_retention.engine.rollup_columns import DOUBLE, RollupSQL, as_type, number, own_time, ref
from cratedb_retention.engine.rollup_runs import Run
from cratedb_retention.model.rollup import Aggregate, Metric, Rollup, label

Element = sa.ColumnElement[Any]


def has_counters(rollup: Rollup) -> bool:
    """Whether a level needs the samples before the first of its rows."""
    return rollup.from_raw and any(metric.has(Aggregate.INCREASE) for metric in rollup.metrics)


def seed_statement(sql: RollupSQL, rollup: Rollup, run: Run) -> sa.Select[Any]:
    """A row if the level itself has some in the stretch where previous samples are looked for."""
    condition = between(sql, own_time(rollup), run.look_back, run.since)
    return sa.select(number(1)).select_from(table_ref(rollup.table)).where(condition).limit(1)


def with_increases(
    sql: RollupSQL, rollup: Rollup, run: Run, raw: sa.Select[Any], seed_from_source: bool
) -> sa.Subquery:
    """
    The samples of a run with their buckets and, as ``i0``, what each metric increased.

    :param raw: All of the source's rows as ``ts``, ``d0``, ``m0``.
    """
    rows = raw.where(between(sql, rollup.time, run.since, run.until))
    seeds = _source_seeds(sql, rollup, run, raw) if seed_from_source else _own_seeds(sql, rollup, run)
    feed = sa.union_all(rows, seeds).subquery("f")
    previous = [_previous(rollup, number, feed).label(f"p{number}") for number in _counters(rollup)]
    samples = sa.select(*feed.c, *previous).subquery("l")
    increases = [
        _increase(samples.c[f"m{number}"], samples.c[f"p{number}"]).label(f"i{number}") for number in _counters(rollup)
    ]
    bucket = sql.bucket(rollup.interval, rollup.zone, samples.c.ts)
    since = sql.value(own_time(rollup), run.since)
    return sa.select(bucket.label("t"), *samples.c, *increases).where(samples.c.ts >= since).subquery("s")


def _counters(rollup: Rollup) -> list[int]:
    return [number for number, metric in enumerate(rollup.metrics) if metric.has(Aggregate.INCREASE)]


def _dimensions(rollup: Rollup, rows: sa.Subquery) -> list[Element]:
    return [rows.c[f"d{number}"] for number in range(len(rollup.dimensions))]


def _previous(rollup: Rollup, number: int, feed: sa.Subquery) -> Element:
    """The value before, of the same series. Rows without a value are a series of their own, so they are skipped."""
    value = feed.c[f"m{number}"]
    series = [*_dimensions(rollup, feed), value.is_(None)]
    return sa.func.lag(value).over(partition_by=series, order_by=[feed.c.ts, value])


def _increase(value: Element, previous: Element) -> Element:
    return sa.case(
        (value.is_(None), as_type(sa.null(), DOUBLE)),
        (previous.is_(None), as_type(number(0), DOUBLE)),
        (value >= previous, as_type(value - previous, DOUBLE)),
        else_=as_type(value, DOUBLE),
    )


def _own_seeds(sql: RollupSQL, rollup: Rollup, run: Run) -> sa.Select[Any]:
    """The last sample of each series that the level itself knows."""
    time = ref(rollup.time_name)
    dimensions = [ref(label(column.name)).label(f"d{i}") for i, column in enumerate(rollup.dimensions)]

    def last(metric: Metric) -> Element:
        if not metric.has(Aggregate.INCREASE):
            return as_type(sa.null(), sql.stored_type(metric.column))
        value = ref(metric.named(Aggregate.LAST))
        return sa.func.max_by(value, time).filter(value.is_not(None))

    values = [last(metric).label(f"m{i}") for i, metric in enumerate(rollup.metrics)]
    return (
        sa.select(sa.func.max(time).label("ts"), *dimensions, *values)
        .select_from(table_ref(rollup.table))
        .where(between(sql, own_time(rollup), run.look_back, run.since))
        .group_by(*(dimension.element for dimension in dimensions))
    )


def _source_seeds(sql: RollupSQL, rollup: Rollup, run: Run, raw: sa.Select[Any]) -> sa.Select[Any]:
    """The last sample of each series in the source's rows before the run."""
    rows = raw.where(between(sql, rollup.time, run.look_back, run.since)).subquery("b")
    values = [rows.c[f"m{number}"] for number in range(len(rollup.metrics))]
    last = [
        sa.func.max_by(value, rows.c.ts).filter(value.is_not(None)).label(f"m{number}")
        for number, value in enumerate(values)
    ]
    dimensions = _dimensions(rollup, rows)
    return sa.select(sa.func.max(rows.c.ts).label("ts"), *dimensions, *last).group_by(*dimensions)
