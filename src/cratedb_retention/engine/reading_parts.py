"""
What queries on levels and on raw rows have in common: the names that things have in a table, the keys of a row, and
expressions that both need.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

from cratedb_retention.engine.expressions import Expressions, between, equals
from cratedb_retention.engine.rollup_columns import RollupSQL, decimal_sum, summed
from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.reading import Kept, Reading, Stretch
from cratedb_retention.model.rollup import Metric, Rollup, label

Expression = sa.ColumnElement[Any]
_EXACT = (Kept.MIN, Kept.MAX, Kept.SUM, Kept.FIRST, Kept.LAST)


class Names(NamedTuple):
    """
    What the things that are read are called in one table.

    :param dimensions: By the source's name.
    """

    table: TableName
    time: Column
    dimensions: Mapping[str, Column]


def names_in(reading: Reading, rollup: Rollup | None, sketch: bool = False) -> Names:
    """The names in a level, in its distributions, or in the source."""
    cascade = reading.cascade
    if rollup is None:
        return Names(cascade.source, cascade.time, {d.name: d for d in cascade.dimensions})
    dimensions = {d.name: Column(name=label(d.name), type=d.type, kind=d.kind) for d in cascade.dimensions}
    table = rollup.sketch if sketch else rollup.table
    return Names(table, rollup.own_time, dimensions)


def within(
    sql: Expressions, reading: Reading, names: Names, start: int | None, end: int
) -> list[sa.ColumnElement[bool]]:
    """A stretch of time, or (None) all before its end, and the request's filter."""
    return [
        between(sql, names.time, start, end),
        *(equals(sql, names.dimensions[column.name], value) for column, value in reading.where),
    ]


def bucket(sql: Expressions, reading: Reading, stretch: Stretch, time: Expression, kind: Column) -> Expression:
    """The start of the answer's bucket that a time lies in, in milliseconds."""
    return sql.epoch_ms(sql.bucket(stretch.interval, reading.cascade.zone, sql.instant(kind, time)))


def own_column(name: str) -> sa.ColumnClause[Any]:
    """A column that the toolkit made."""
    return sa.column(quoted_name(name, True))


def by_metric(reading: Reading) -> dict[Metric, list[Kept]]:
    """What is read of each metric."""
    found: dict[Metric, list[Kept]] = {}
    for metric, kept in reading.parts:
        found.setdefault(metric, []).append(kept)
    return found


def is_exact(metric: Metric, kept: Kept) -> bool:
    """Whether a part is an exact decimal number."""
    return kept in _EXACT and decimal_sum(metric.column.type) is not None


def written(metric: Metric, kept: Kept, value: Expression) -> Expression:
    """A part as it is read: exact ones as text, since a driver may take decimals for floats."""
    return sa.cast(value, sa.Text()) if is_exact(metric, kept) else value


def at_end(value: Expression, time: Expression, kept: Kept) -> Expression:
    """The first or last value that is not NULL."""
    function = sa.func.min_by if kept is Kept.FIRST else sa.func.max_by
    return function(value, time).filter(value.is_not(None))


def double(value: Expression) -> Expression:
    """So that sums of whole numbers do not overflow."""
    return sa.cast(value, sa.Double())


def ratio(total: Expression, count: Expression) -> Expression:
    """NULL where there is nothing."""
    return double(total) / double(sa.func.nullif(count, 0))


def merged(sql: RollupSQL, metric: Metric, value: Expression, time: Expression, kept: Kept) -> Expression:
    """
    A part of a whole bucket from those of its rows. The value of a raw row is its least, its last, its sum.

    :param time: What tells which value is the first.
    """
    match kept:
        case Kept.FIRST | Kept.LAST:
            return at_end(value, time, kept)
        case Kept.MIN:
            return sa.func.min(value)
        case Kept.MAX:
            return sa.func.max(value)
        case Kept.SUM:
            return _sum(sql, metric, value)
        case Kept.COUNT | Kept.NONFINITE:
            return sa.func.sum(value)
        case Kept.INCREASE:
            return sql.total(value)
        case Kept.M2:
            raise ValueError("squared distances need the means of both")


def _sum(sql: RollupSQL, metric: Metric, value: Expression) -> Expression:
    """A sum of a metric's values. Whole numbers are not rounded, so a plain one is right for these, and stays whole."""
    return sa.func.sum(double(value)) if "INT" in metric.column.type.upper() else summed(sql, metric.column, value)


def squares(sql: RollupSQL, distance: Expression, weight: Expression) -> Expression:
    """
    The sum of squared distances from the mean, as an aggregate.

    :param distance: From about the mean, for sums of squares lose all digits where values are large and close together.
    :param weight: How many values a row stands for.
    """
    off = sql.total(weight * distance)
    return sql.total(weight * distance * distance) - off * ratio(off, sa.func.sum(weight))
