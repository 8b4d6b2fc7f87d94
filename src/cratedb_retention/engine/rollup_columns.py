"""
The columns of a rollup's tables: names, types, and what is generated from others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

from cratedb_retention.engine.expressions import Expressions
from cratedb_retention.model.catalog import Column
from cratedb_retention.model.rollup import (
    LEVEL_TIME,
    PARTITION,
    ROW_COUNT,
    SKETCH_BIN,
    SKETCH_COUNT,
    SKETCH_METRIC,
    SKETCH_SIGN,
    VERSION,
    Aggregate,
    Metric,
    Rollup,
    label,
)

TIME, DOUBLE, BIGINT, TEXT = LEVEL_TIME, "DOUBLE PRECISION", "BIGINT", "TEXT"
# A type that has no values, fields or other types in it.
PLAIN = re.compile(r"[A-Z][A-Z0-9_ ]*(\(\d+(, ?\d+)?\))?")
_OWN_TYPE = (Aggregate.MIN, Aggregate.MAX, Aggregate.FIRST, Aggregate.LAST)
_FLOATING = ("REAL", "FLOAT", "DOUBLE", DOUBLE)
_LARGEST_DOUBLE = 1.7976931348623157e308
# Squares of larger numbers leave the range of a double; their standard deviation stays unknown.
LARGEST = 1e150


class RollupSQL(Expressions, Protocol):
    """What a dialect adds for rollups."""

    def stored_type(self, column: Column) -> str:
        """The type that holds a source column's values in a rollup, as SQL."""

    def sum_type(self, column: Column) -> str:
        """The type that keeps sums of a source column's values: of decimals exactly."""

    def partition(self, rollup: Rollup) -> sa.ColumnElement[Any] | None:
        """What the partition column is generated from, in a form that the catalog's reader understands."""

    def total(self, value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """The sum of doubles as an aggregate, each group for itself."""

    def spread(self, value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """The sum of squared distances from the mean of raw values: one pass, and no digits lost to large values."""

    def center(
        self, total: sa.ColumnElement[Any], count: sa.ColumnElement[Any], within: Sequence[sa.ColumnElement[Any]]
    ) -> sa.ColumnElement[Any] | None:
        """The mean of all rows of a group, beside each of its rows; None if :meth:`merged_spread` needs none."""

    def merged_spread(
        self,
        spread: sa.ColumnElement[Any],
        count: sa.ColumnElement[Any],
        total: sa.ColumnElement[Any],
        center: sa.ColumnElement[Any] | None,
    ) -> sa.ColumnElement[Any]:
        """The same as :meth:`spread` from the rows of a finer level."""


class Words(sa.types.UserDefinedType[Any]):
    """A type in the database's own words."""

    cache_ok = True

    def __init__(self, words: str) -> None:
        self.words = words

    def get_col_spec(self, **kw: Any) -> str:
        """As it is written."""
        return self.words


def as_type(value: sa.ColumnElement[Any], words: str) -> sa.ColumnElement[Any]:
    """A cast."""
    return sa.cast(value, Words(words))


def ref(name: str) -> sa.ColumnElement[Any]:
    """A reference to a column of one of our own tables, always quoted."""
    return sa.column(quoted_name(name, True))


def number(value: float) -> sa.ColumnElement[Any]:
    """A number; whole ones stand in the statement's text."""
    if isinstance(value, int):
        return sa.literal_column(str(value))
    return sa.literal(value, sa.Double())


def quotient(dividend: sa.ColumnElement[Any], divisor: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A division as it is, without SQLAlchemy's casts."""
    return dividend.op("/")(divisor)


def source_value(sql: RollupSQL, column: Column) -> sa.ColumnElement[Any]:
    """A source column in the type that a rollup keeps it in."""
    reference, wanted = sql.column(column), sql.stored_type(column)
    return reference if column.type.upper() == wanted.upper() else as_type(reference, wanted)


def is_finite(value: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Whether a value is a number: neither NULL nor NaN nor infinite. To both databases NaN is the greatest."""
    return value.between(number(-_LARGEST_DOUBLE), number(_LARGEST_DOUBLE))


def finite(column: Column, value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """
    A metric's value as it is aggregated. NaN and infinity are no values, as NULL is none: one of them would be all that
    is left of the sums of each bucket that it gets into, however long.

    :param column: The metric's column; only some types have such values.
    """
    return sa.case((is_finite(value), value)) if column.type.upper() in _FLOATING else value


def nonfinite(column: Column, value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """1 for a metric's value that is NaN or infinite, 0 for others and NULL; their sum is how many there are."""
    one, zero = as_type(number(1), BIGINT), as_type(number(0), BIGINT)
    return sa.case((sa.not_(is_finite(value)), one), else_=zero) if column.type.upper() in _FLOATING else zero


def metric_value(sql: RollupSQL, column: Column) -> sa.ColumnElement[Any]:
    """A metric's value of a source row, in the type that a rollup keeps it in."""
    return finite(column, source_value(sql, column))


def summed(sql: RollupSQL, column: Column, value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """The sum of a source column's values, or of such sums, as an aggregate."""
    typed = as_type(value, sql.sum_type(column))
    return sql.total(typed) if sql.sum_type(column) == DOUBLE else sa.func.sum(typed)


def decimal_sum(words: str) -> str | None:
    """The widest type with the scale of a ``DECIMAL(10, 2)``; None if it is no such type."""
    found = re.fullmatch(r"(DECIMAL|NUMERIC)\(\d+, ?(\d+)\)", words.upper().strip())
    return found and f"{found[1]}(38, {found[2]})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """
    A column of a rollup.

    :param type: As SQL.
    :param generated: What the database generates it from, if it does.
    :param derived: Whether it follows from other columns, and levels above have no use for it. Such columns are
        written, not generated: neither database can add a generated column to a table that holds rows.
    :param searched: Whether rows are looked up by it. All others are read of rows that were found, and an index of
        them would be work for nothing; a condition on one works without.
    """

    name: str
    type: str
    generated: sa.ColumnElement[Any] | None = None
    derived: bool = False
    searched: bool = False


def stored(fields: Sequence[Field]) -> list[str]:
    """Names of the columns that are written."""
    return [field.name for field in fields if field.generated is None]


def level_fields(sql: RollupSQL, rollup: Rollup) -> list[Field]:
    """The columns of a level's table."""
    metrics = (field for metric in rollup.metrics for field in metric_fields(sql, metric))
    return [*_head(sql, rollup), *metrics, Field(name=ROW_COUNT, type=BIGINT), *_tail(sql, rollup)]


def sketch_fields(sql: RollupSQL, rollup: Rollup) -> list[Field]:
    """The columns of the table with the distributions."""
    own = [
        Field(name=SKETCH_METRIC, type=TEXT, searched=True),
        Field(name=SKETCH_SIGN, type="SMALLINT"),
        Field(name=SKETCH_BIN, type="INTEGER"),
        Field(name=SKETCH_COUNT, type=BIGINT),
    ]
    return [*_head(sql, rollup), *own, *_tail(sql, rollup)]


def _head(sql: RollupSQL, rollup: Rollup) -> Iterator[Field]:
    yield Field(name=rollup.time_name, type=TIME, searched=True)
    for column in rollup.dimensions:
        yield Field(name=label(column.name), type=sql.stored_type(column), searched=True)


def _tail(sql: RollupSQL, rollup: Rollup) -> Iterator[Field]:
    yield Field(name=VERSION, type=BIGINT)
    if rollup.partition:
        yield Field(name=PARTITION, type=TIME, generated=sql.partition(rollup), searched=True)


def metric_fields(sql: RollupSQL, metric: Metric) -> Iterator[Field]:
    """The columns of a metric."""
    for aggregate in metric.aggregates:
        name = metric.named(aggregate)
        if aggregate in _OWN_TYPE:
            yield Field(name=name, type=sql.stored_type(metric.column))
        elif aggregate in (Aggregate.COUNT, Aggregate.NONFINITE):
            yield Field(name=name, type=BIGINT)
        elif aggregate is Aggregate.AVG:
            yield Field(name=name, type=DOUBLE, derived=True)
        elif aggregate is Aggregate.STDDEV:
            yield Field(name=metric.m2, type=DOUBLE)
            yield Field(name=name, type=DOUBLE, derived=True)
        elif aggregate is Aggregate.SUM:
            yield Field(name=name, type=sql.sum_type(metric.column))
        elif aggregate is Aggregate.INCREASE:
            yield Field(name=name, type=DOUBLE)


def mergeable(sql: RollupSQL, metric: Metric) -> list[str]:
    """The columns of a metric that levels above are computed from."""
    return [field.name for field in metric_fields(sql, metric) if not field.derived]


def derive(metric: Metric, aggregate: Aggregate, columns: Callable[[str], Any]) -> sa.ColumnElement[Any]:
    """The mean, or the standard deviation of the population, from the columns that are merged."""
    count = columns(metric.named(Aggregate.COUNT))
    if aggregate is Aggregate.AVG:
        total = as_type(columns(metric.named(Aggregate.SUM)), DOUBLE)
        return sa.case((count > number(0), quotient(total, count)))
    return sa.case((count > number(0), sa.func.sqrt(quotient(columns(metric.m2), count))))
