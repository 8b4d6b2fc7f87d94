"""
The query of a stretch that a level answers: its rows are partial aggregates, merged by the rules of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.buckets import Buckets
from cratedb_retention.engine.expressions import table_ref
from cratedb_retention.engine.reading_parts import (
    Expression,
    at_end,
    bucket,
    by_metric,
    names_in,
    own_column,
    ratio,
    within,
)
from cratedb_retention.model.reading import Kept, Reading, Stretch
from cratedb_retention.model.rollup import ROW_COUNT, Metric


def level_query(sql: Buckets, reading: Reading, stretch: Stretch) -> sa.Select[Any]:
    """
    Bucket, groups, number of raw rows, partial aggregates.

    Within it stands another query, in which everything has a plain name, ``m0_sum`` for the sum of the first metric.
    """
    names = names_in(reading, stretch.holding.rollup)
    time = sql.column(names.time)
    keys = [bucket(sql, reading, stretch, time, names.time)]
    keys += [sql.column(names.dimensions[column.name]) for column in reading.by]
    labels = ["b", *(f"g{i}" for i in range(len(reading.by)))]
    columns = [key.label(name) for key, name in zip(keys, labels, strict=True)]
    metrics = by_metric(reading)
    values = [value for i, (metric, kept) in enumerate(metrics.items()) for value in _values(i, metric, kept, keys)]
    inner = (
        sa.select(*columns, time.label("t"), own_column(ROW_COUNT).label("n"), *values)
        .select_from(table_ref(names.table))
        .where(*within(sql, reading, names, stretch.start, stretch.end))
        .subquery("r")
    )
    numbers = {metric: i for i, metric in enumerate(metrics)}
    aggregates = [_aggregate(inner.c, f"m{numbers[metric]}", kept) for metric, kept in reading.parts]
    named = [inner.c[name] for name in labels]
    return sa.select(*named, sa.func.sum(inner.c.n), *aggregates).group_by(*named)


def _values(number: int, metric: Metric, wanted: list[Kept], keys: list[Expression]) -> Iterator[sa.Label[Any]]:
    columns = {kept: own_column(metric.named(kept)) for kept in wanted}
    yield from (column.label(f"m{number}_{kept}") for kept, column in columns.items())
    if Kept.M2 in columns:
        # The mean of the whole bucket: sums of squares would lose all digits where values are large and close together.
        total, count = (sa.func.sum(columns[kept]).over(partition_by=keys) for kept in (Kept.SUM, Kept.COUNT))
        yield ratio(total, count).label(f"m{number}_mean")


def _aggregate(c: Any, name: str, kept: Kept) -> Expression:
    value = c[f"{name}_{kept}"]
    match kept:
        case Kept.FIRST | Kept.LAST:
            return at_end(value, c.t, kept)
        case Kept.MIN:
            return sa.func.min(value)
        case Kept.MAX:
            return sa.func.max(value)
        case Kept.M2:
            count = c[f"{name}_count"]
            distance = ratio(c[f"{name}_sum"], count) - c[f"{name}_mean"]
            return sa.func.sum(value + count * distance * distance)
        case _:
            return sa.func.sum(value)
