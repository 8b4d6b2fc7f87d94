"""
The query of a stretch that a level answers: its rows are partial aggregates, merged by the rules of each.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.expressions import table_ref
from cratedb_retention.engine.reading_parts import (
    Expression,
    bucket,
    by_metric,
    double,
    merged,
    names_in,
    own_column,
    ratio,
    squares,
    within,
    written,
)
from cratedb_retention.engine.rollup_columns import RollupSQL
from cratedb_retention.model.reading import Kept, Reading, Stretch
from cratedb_retention.model.rollup import ROW_COUNT, Metric

_MEAN = (Kept.SUM, Kept.COUNT)


def level_query(sql: RollupSQL, reading: Reading, stretch: Stretch) -> sa.Select[Any]:
    """
    Bucket, groups, number of raw rows, partial aggregates.

    Within it stand two others, in which everything has a plain name: rows with their bucket, ``m0_sum`` being the sum
    of the first metric; and beside these the mean of the whole bucket, where it is needed.
    """
    names = names_in(reading, stretch.holding.rollup)
    time = sql.column(names.time)
    metrics = by_metric(reading)
    keys = ["b", *(f"g{i}" for i in range(len(reading.by)))]
    groups = (sql.column(names.dimensions[column.name]).label(f"g{i}") for i, column in enumerate(reading.by))
    values = [
        own_column(metric.named(part)).label(f"m{i}_{part}")
        for i, (metric, kept) in enumerate(metrics.items())
        for part in kept
    ]
    rows = (
        sa.select(bucket(sql, reading, stretch, time, names.time).label("b"), *groups, time.label("t"))
        .add_columns(own_column(ROW_COUNT).label("n"), *values)
        .select_from(table_ref(names.table))
        .where(*within(sql, reading, names, stretch.start, stretch.end))
        .subquery("u")
    )
    means = [_mean(rows.c, f"m{i}", keys) for i, kept in enumerate(metrics.values()) if Kept.M2 in kept]
    inner = sa.select(*rows.c, *means).subquery("r") if means else rows
    numbers = {metric: i for i, metric in enumerate(metrics)}
    aggregates = [
        written(metric, kept, _aggregate(sql, inner.c, f"m{numbers[metric]}", metric, kept))
        for metric, kept in reading.parts
    ]
    named = [inner.c[name] for name in keys]
    return sa.select(*named, sa.func.sum(inner.c.n), *aggregates).group_by(*named)


def _mean(c: Any, name: str, keys: list[str]) -> sa.Label[Any]:
    """The mean of the whole bucket, see :func:`squares`."""
    total, count = (sa.func.sum(c[f"{name}_{kept}"]).over(partition_by=[c[key] for key in keys]) for kept in _MEAN)
    return ratio(total, count).label(f"{name}_mean")


def _aggregate(sql: RollupSQL, c: Any, name: str, metric: Metric, kept: Kept) -> Expression:
    value = c[f"{name}_{kept}"]
    if kept is not Kept.M2:
        return merged(sql, metric, value, c.t, kept)
    count = c[f"{name}_count"]
    distance = ratio(c[f"{name}_sum"], count) - c[f"{name}_mean"]
    return sql.total(value) + squares(sql, distance, double(count))
