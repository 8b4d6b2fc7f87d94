"""
The query that computes a stretch of a level: from the raw rows, or from the next finer level.

Inside, columns have names of their own (``t``, ``d0``, ``c0``), so that no name of a user meets another. The bucket is
an expression of an inner query, since one that is written twice has two sets of parameters, and no ``GROUP BY``
knows them as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.expressions import between, table_ref
from cratedb_retention.engine.rollup_columns import (
    DOUBLE,
    RollupSQL,
    as_type,
    derive,
    mergeable,
    metric_fields,
    ref,
    summed,
)
from cratedb_retention.engine.rollup_counters import NEAR, Seeds, has_counters, raw_values, with_increases
from cratedb_retention.engine.rollup_runs import Run
from cratedb_retention.model.rollup import ROW_COUNT, Aggregate, Metric, Rollup, label

Element = sa.ColumnElement[Any]


def level_select(sql: RollupSQL, rollup: Rollup, run: Run, version: int, seeds: Seeds = NEAR) -> sa.Select[Any]:
    """
    The rows of a level for the buckets of a run, in the order of its stored columns.

    :param seeds: Where the last sample before the run, which a counter's increase needs, is looked for.
    """
    if rollup.from_raw:
        samples = _raw_samples(sql, rollup, run, seeds)
    else:
        samples = _finer_rows(sql, rollup, run)
    keys = [samples.c.t, *(samples.c[f"d{i}"] for i in range(len(rollup.dimensions)))]
    found = [
        aggregated[name].label(f"m{number}_{i}")
        for number, metric in enumerate(rollup.metrics)
        for aggregated in [_aggregates(sql, rollup, metric, number, samples)]
        for i, name in enumerate(mergeable(sql, metric))
    ]
    rows = sa.func.count() if rollup.from_raw else sa.func.sum(samples.c.n)
    grouped = sa.select(*keys, *found, rows.label("n")).group_by(*keys).subquery("g")
    dimensions = [grouped.c[f"d{i}"] for i in range(len(rollup.dimensions))]
    metrics = [column for i, metric in enumerate(rollup.metrics) for column in _columns(sql, metric, i, grouped)]
    return sa.select(grouped.c.t, *dimensions, *metrics, grouped.c.n, sa.literal(version))


def _columns(sql: RollupSQL, metric: Metric, number: int, grouped: sa.Subquery) -> Iterator[Element]:
    """A metric's columns in their order, with those that follow from others."""
    names = {name: grouped.c[f"m{number}_{i}"] for i, name in enumerate(mergeable(sql, metric))}
    derived = {metric.named(a): a for a in (Aggregate.AVG, Aggregate.STDDEV)}
    for field in metric_fields(sql, metric):
        yield derive(metric, derived[field.name], names.__getitem__) if field.derived else names[field.name]


def _aggregates(
    sql: RollupSQL, rollup: Rollup, metric: Metric, number: int, samples: sa.Subquery
) -> dict[str, Element]:
    if rollup.from_raw:
        # Of a counter's values at one instant it must be certain which one is the last, since the next one follows it.
        order = samples.c.ts if (position := samples.c.get(f"o{number}")) is None else position
        beside = samples.c.get(f"i{number}"), samples.c.get(f"x{number}")
        return _of_values(sql, metric, samples.c[f"m{number}"], order, *beside)
    columns: dict[str, Element] = {name: samples.c[f"m{number}_{i}"] for i, name in enumerate(mergeable(sql, metric))}
    return _of_rows(sql, metric, columns, samples.c.ts, samples.c.get(f"m{number}_center"))


def _of_values(
    sql: RollupSQL, metric: Metric, value: Element, time: Element, increase: Any, nonfinite: Any
) -> dict[str, Element]:
    """Aggregates of raw values."""
    known = value.is_not(None)
    return {
        metric.named(Aggregate.MIN): sa.func.min(value),
        metric.named(Aggregate.MAX): sa.func.max(value),
        metric.named(Aggregate.SUM): summed(sql, metric.column, value),
        metric.named(Aggregate.COUNT): sa.func.count(value),
        metric.named(Aggregate.NONFINITE): sa.null() if nonfinite is None else sa.func.sum(nonfinite),
        metric.named(Aggregate.FIRST): sa.func.min_by(value, time).filter(known),
        metric.named(Aggregate.LAST): sa.func.max_by(value, time).filter(known),
        metric.named(Aggregate.INCREASE): sa.null() if increase is None else sql.total(increase),
        metric.m2: sql.spread(as_type(value, DOUBLE)),
    }


def _of_rows(
    sql: RollupSQL, metric: Metric, columns: dict[str, Element], time: Element, center: Element | None
) -> dict[str, Element]:
    """The same from the rows of a finer level; an average is never one of averages."""
    found: dict[str, Element] = {}
    for aggregate, function in ((Aggregate.MIN, sa.func.min), (Aggregate.MAX, sa.func.max)):
        if metric.has(aggregate):
            found[metric.named(aggregate)] = function(columns[metric.named(aggregate)])
    if metric.has(Aggregate.SUM):
        total = columns[metric.named(Aggregate.SUM)]
        decimal = sql.sum_type(metric.column) != DOUBLE
        found[metric.named(Aggregate.SUM)] = summed(sql, metric.column, total) if decimal else sql.total(total)
    sums = ((Aggregate.COUNT, sa.func.sum), (Aggregate.NONFINITE, sa.func.sum), (Aggregate.INCREASE, sql.total))
    for aggregate, adding in sums:
        if metric.has(aggregate):
            found[metric.named(aggregate)] = adding(columns[metric.named(aggregate)])
    for aggregate, picked in ((Aggregate.FIRST, sa.func.min_by), (Aggregate.LAST, sa.func.max_by)):
        if metric.has(aggregate):
            value = columns[metric.named(aggregate)]
            found[metric.named(aggregate)] = picked(value, time).filter(value.is_not(None))
    if metric.has(Aggregate.STDDEV):
        count, total = columns[metric.named(Aggregate.COUNT)], columns[metric.named(Aggregate.SUM)]
        found[metric.m2] = sql.merged_spread(columns[metric.m2], count, total, center)
    return found


def _raw_samples(sql: RollupSQL, rollup: Rollup, run: Run, seeds: Seeds) -> sa.Subquery:
    raw = raw_values(sql, rollup)
    if has_counters(rollup):
        return with_increases(sql, rollup, run, raw, seeds)
    bucket = sql.bucket(rollup.interval, rollup.zone, sql.instant(rollup.time))
    return raw.add_columns(bucket.label("t")).where(between(sql, rollup.time, run.since, run.until)).subquery("s")


def _finer_rows(sql: RollupSQL, rollup: Rollup, run: Run) -> sa.Subquery:
    time = rollup.own_time
    bucket = sql.bucket(rollup.interval, rollup.zone, sql.column(time))
    dimensions = [ref(label(column.name)) for column in rollup.dimensions]
    columns: list[Element] = [bucket.label("t"), ref(rollup.time_name).label("ts"), ref(ROW_COUNT).label("n")]
    columns += [dimension.label(f"d{i}") for i, dimension in enumerate(dimensions)]
    for number, metric in enumerate(rollup.metrics):
        columns += [ref(name).label(f"m{number}_{i}") for i, name in enumerate(mergeable(sql, metric))]
        if metric.has(Aggregate.STDDEV):
            total, count = ref(metric.named(Aggregate.SUM)), ref(metric.named(Aggregate.COUNT))
            center = sql.center(total, count, [bucket, *dimensions])
            columns += [center.label(f"m{number}_center")] if center is not None else []
    rows = sa.select(*columns).select_from(table_ref(rollup.beneath))
    return rows.where(between(sql, time, run.since, run.until)).subquery("s")
