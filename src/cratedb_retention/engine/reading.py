"""
Reads one stretch of a cascade: one row for each bucket and group, aggregated by the database, from a level's table or
from the raw rows. What is read can be merged with what other stretches know of the same bucket.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.database import Database
from cratedb_retention.engine.expressions import Expressions, table_ref
from cratedb_retention.engine.reading_level import level_query
from cratedb_retention.engine.reading_parts import (
    Expression,
    bucket,
    double,
    is_exact,
    names_in,
    own_column,
    within,
)
from cratedb_retention.engine.reading_raw import RawQuery
from cratedb_retention.engine.rollup_columns import RollupSQL, is_finite
from cratedb_retention.model.catalog import Value
from cratedb_retention.model.reading import Bin, Number, Partial, Reading, Stretch
from cratedb_retention.model.rollup import GAMMA, SKETCH_BIN, SKETCH_COUNT, SKETCH_METRIC, SKETCH_SIGN, Metric


def read_stretch(database: Database, sql: RollupSQL, reading: Reading, stretch: Stretch) -> list[Partial]:
    """What a stretch knows, in one statement; for counters in raw rows another one finds how far to look back."""
    width = len(reading.by)
    exact = [is_exact(metric, kept) for metric, kept in reading.parts]
    return [
        Partial(
            bucket=int(row[0]),
            group=tuple(row[1 : 1 + width]),
            rows=int(row[1 + width]),
            values=tuple(map(_number, row[2 + width :], exact)),
        )
        for row in database.rows(_query(database, sql, reading, stretch))
    ]


def _query(database: Database, sql: RollupSQL, reading: Reading, stretch: Stretch) -> sa.Select[Any]:
    if stretch.holding.rollup:
        return level_query(sql, reading, stretch)
    near = RawQuery(sql, reading, stretch, far=False)
    far = bool(near.counters) and bool(database.rows(near.lonely()))
    return RawQuery(sql, reading, stretch, far).select()


def read_bins(database: Database, sql: Expressions, reading: Reading, stretch: Stretch) -> list[Bin]:
    """The distributions in a stretch, in one statement for each metric."""
    width = len(reading.by)
    return [
        Bin(
            bucket=int(row[0]),
            group=tuple(row[1 : 1 + width]),
            metric=metric.name,
            sign=int(row[-3]),
            index=int(row[-2]),
            count=int(row[-1]),
        )
        for metric in reading.sketched
        for row in database.rows(bins_query(sql, reading, stretch, metric))
    ]


def read_values(database: Database, sql: Expressions, reading: Reading, stretch: Stretch, limit: int) -> list[Value]:
    """Some values of the first dimension of a reading that a stretch knows, in one statement."""
    names = names_in(reading, stretch.holding.rollup)
    column = sql.column(names.dimensions[reading.by[0].name])
    conditions = within(sql, reading, names, stretch.start, stretch.end)
    query = sa.select(column).select_from(table_ref(names.table)).where(*conditions).distinct().limit(limit)
    return [row[0] for row in database.rows(query)]


def _number(value: Any, exact: bool) -> Number:
    """Whole numbers stay whole; others become floats, also those that JSON writes as text (NaN, Infinity)."""
    if value is None or isinstance(value, int | float):
        return value
    return Decimal(value) if exact else float(value)


def bins_query(sql: Expressions, reading: Reading, stretch: Stretch, metric: Metric) -> sa.Select[Any]:
    """The query for the distribution of a metric: bucket, groups, sign, bin, count."""
    names = names_in(reading, stretch.holding.rollup, sketch=True)
    conditions: list[Expression] = list(within(sql, reading, names, stretch.start, stretch.end))
    if stretch.holding.rollup is None:
        sign, index = _bin_of(sql.column(metric.column))
        count: Expression = sa.literal_column("1")
        conditions.append(is_finite(double(sql.column(metric.column))))
    else:
        sign, index, count = map(own_column, (SKETCH_SIGN, SKETCH_BIN, SKETCH_COUNT))
        conditions.append(own_column(SKETCH_METRIC) == metric.name)
    time = bucket(sql, reading, stretch, sql.column(names.time), names.time)
    groups = (sql.column(names.dimensions[column.name]).label(f"g{i}") for i, column in enumerate(reading.by))
    columns = [time.label("b"), *groups, sign.label("s"), index.label("i")]
    inner = sa.select(*columns, count.label("n")).select_from(table_ref(names.table)).where(*conditions).subquery("r")
    keys = [inner.c[column.name] for column in columns]
    return sa.select(*keys, sa.func.sum(inner.c.n)).group_by(*keys)


def _bin_of(value: Expression) -> Iterator[Expression]:
    """Sign and number of the bin of a value; zero is bin 0 of sign 0."""
    number = double(value)
    yield sa.case((number > 0, 1), (number < 0, -1), else_=0)
    # ln() of zero is an error, and a condition beside it would not keep it from being computed.
    size = sa.case((number == 0, 1.0), else_=sa.func.abs(number))
    yield sa.cast(sa.func.ceil(sa.func.ln(size) / math.log(GAMMA)), sa.Integer())
