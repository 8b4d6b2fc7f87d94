"""
Reads one stretch of a cascade: one row for each bucket and group, aggregated by the database, from a level's table or
from the raw rows. What is read can be merged with what other stretches know of the same bucket.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

from cratedb_retention.engine.buckets import Buckets, bucket_ms, is_aware
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.expressions import equals, table_ref
from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.reading import Bin, Kept, Partial, Reading, Stretch
from cratedb_retention.model.rollup import (
    GAMMA,
    ROW_COUNT,
    SKETCH_BIN,
    SKETCH_COUNT,
    SKETCH_METRIC,
    SKETCH_SIGN,
    Metric,
    label,
)

_LOOKBACK_MS = 600_000
_LARGEST = 1.7976931348623157e308
_Expression = sa.ColumnElement[Any]


def read_stretch(database: Database, sql: Buckets, reading: Reading, stretch: Stretch) -> list[Partial]:
    """What a stretch knows, in one statement."""
    width = len(reading.by)
    return [
        Partial(int(row[0]), tuple(row[1 : 1 + width]), int(row[1 + width]), tuple(map(_number, row[2 + width :])))
        for row in database.rows(stretch_query(sql, reading, stretch))
    ]


def read_bins(database: Database, sql: Buckets, reading: Reading, stretch: Stretch) -> list[Bin]:
    """The distributions in a stretch: one statement for a level, one for each metric of raw rows."""
    width = len(reading.by)
    return [
        Bin(int(row[0]), tuple(row[1 : 1 + width]), metric, int(row[-3]), int(row[-2]), int(row[-1]))
        for metric, query in bin_queries(sql, reading, stretch)
        for row in database.rows(query)
    ]


def _number(value: Any) -> float | None:
    """Whole numbers stay whole; decimals become floats, and so does what JSON writes as text (NaN, Infinity)."""
    if value is None or isinstance(value, int | float):
        return value
    return float(value)


class _Table(NamedTuple):
    """What is read of one table, with the names that things have in it."""

    table: TableName
    time: Column
    dimensions: dict[str, Column]  # By the source's name.


def _table(reading: Reading, stretch: Stretch, sketch: bool = False) -> _Table:
    cascade, rollup = reading.cascade, stretch.holding.rollup
    if rollup is None:
        return _Table(stretch.holding.table, cascade.time, {d.name: d for d in cascade.dimensions})
    time = Column(rollup.time_name, "TIMESTAMP WITH TIME ZONE", cascade.time.kind)
    dimensions = {d.name: Column(label(d.name), d.type, d.kind) for d in cascade.dimensions}
    return _Table(rollup.sketch if sketch else stretch.holding.table, time, dimensions)


def _within(sql: Buckets, reading: Reading, stretch: Stretch, table: _Table, lookback: int = 0) -> list[_Expression]:
    """The stretch, and the request's filter."""
    time = sql.column(table.time)
    return [
        time >= sql.value(table.time, stretch.start - lookback),
        time < sql.value(table.time, stretch.end),
        *(equals(sql, table.dimensions[column.name], value) for column, value in reading.where),
    ]


def _keys(sql: Buckets, reading: Reading, stretch: Stretch, table: _Table) -> list[sa.Label[Any]]:
    """The bucket and the group of a row, as ``b``, ``g0``, ``g1``."""
    time = sql.column(table.time)
    bucket = bucket_ms(sql, time, is_aware(table.time.type), stretch.interval, reading.cascade.zone)
    groups = (sql.column(table.dimensions[column.name]).label(f"g{i}") for i, column in enumerate(reading.by))
    return [bucket.label("b"), *groups]


def _named(inner: sa.Subquery, keys: list[sa.Label[Any]]) -> list[_Expression]:
    return [inner.c[key.name] for key in keys]


def stretch_query(sql: Buckets, reading: Reading, stretch: Stretch) -> sa.Select[Any]:
    """
    The query of a stretch: bucket, groups, number of raw rows, partial aggregates.

    Within it stands another one, in which everything has a plain name: ``m0`` is the first metric (of a level:
    ``m0_sum`` and the like), and what needs other rows of the same bucket or series stands beside it.
    """
    table = _table(reading, stretch)
    keys = _keys(sql, reading, stretch, table)
    source = _LevelSource if stretch.holding.rollup else _RawSource
    found = source(sql, reading, stretch, table, [key.element for key in keys])
    inner = (
        sa.select(*keys, *found.columns())
        .select_from(table_ref(table.table))
        .where(*_within(sql, reading, stretch, table, found.lookback))
        .subquery("r")
    )
    named = _named(inner, keys)
    numbers = {metric: i for i, metric in enumerate(dict.fromkeys(metric for metric, _ in reading.parts))}
    values = [found.aggregate(inner.c, f"m{numbers[metric]}", kept) for metric, kept in reading.parts]
    query = sa.select(*named, found.row_count(inner.c), *values).group_by(*named)
    if found.lookback:
        query = query.where(inner.c.t >= sql.value(table.time, stretch.start))
    return query


class _Source:
    """
    How one kind of table is aggregated.

    :param keys: Bucket and groups as expressions, over which means are taken.
    """

    lookback = 0

    def __init__(
        self, sql: Buckets, reading: Reading, stretch: Stretch, table: _Table, keys: list[_Expression]
    ) -> None:
        self.sql, self.reading, self.stretch, self.table, self.keys = sql, reading, stretch, table, keys
        self.metrics: dict[Metric, list[Kept]] = {}
        for metric, kept in reading.parts:
            self.metrics.setdefault(metric, []).append(kept)

    def time(self) -> _Expression:
        return self.sql.column(self.table.time).label("t")


class _LevelSource(_Source):
    """Rows of a level: partial aggregates, merged by the rules of each."""

    def columns(self) -> Iterator[_Expression]:
        """What the outer query needs, by name."""
        yield self.time()
        yield sa.column(quoted_name(ROW_COUNT, True)).label("n")
        for i, (metric, wanted) in enumerate(self.metrics.items()):
            kept: dict[Kept, _Expression] = {part: sa.column(quoted_name(metric.named(part), True)) for part in wanted}
            yield from (column.label(f"m{i}_{part}") for part, column in kept.items())
            if Kept.M2 in kept:
                # Sums of squares would lose all digits where values are large and close together.
                total, count = (sa.func.sum(kept[part]).over(partition_by=self.keys) for part in (Kept.SUM, Kept.COUNT))
                yield _ratio(total, count).label(f"m{i}_mean")

    def row_count(self, c: Any) -> _Expression:
        """The number of raw rows."""
        return sa.func.sum(c.n)

    def aggregate(self, c: Any, name: str, kept: Kept) -> _Expression:
        """A partial aggregate of all rows of a bucket and group."""
        value = c[f"{name}_{kept}"]
        if kept in (Kept.FIRST, Kept.LAST):
            return _at_end(self.sql, value, c.t, kept)
        if kept is Kept.M2:
            mean = _ratio(c[f"{name}_sum"], c[f"{name}_count"])
            return sa.func.sum(value + c[f"{name}_count"] * _squared(mean - c[f"{name}_mean"]))
        if kept in (Kept.MIN, Kept.MAX):
            return sa.func.min(value) if kept is Kept.MIN else sa.func.max(value)
        return sa.func.sum(value)


class _RawSource(_Source):
    """Raw rows."""

    @property
    def lookback(self) -> int:  # type: ignore[override]
        """How far before the stretch rows are read: the increase of a counter begins at the row before."""
        if not any(Kept.INCREASE in wanted for wanted in self.metrics.values()):
            return 0
        rollups = [holding.rollup for holding in self.reading.cascade.holdings if holding.rollup]
        finest = rollups[0].interval.approximate_seconds if rollups else 0
        return max(_LOOKBACK_MS, 2000 * finest)

    def columns(self) -> Iterator[_Expression]:
        """What the outer query needs, by name."""
        yield self.time()
        for i, (metric, wanted) in enumerate(self.metrics.items()):
            value = self.sql.column(metric.column)
            yield value.label(f"m{i}")
            if Kept.M2 in wanted:
                # Rows of the lookback, which may lie in the same bucket, are no part of its mean.
                inside = [self.sql.column(self.table.time) >= self.sql.value(self.table.time, self.stretch.start)]
                mean = sa.func.avg(_double(value)).over(partition_by=[*self.keys, *inside[: self.lookback]])
                yield mean.label(f"m{i}_mean")
            if Kept.INCREASE in wanted:
                yield self._increase(value).label(f"m{i}_increase")

    def _increase(self, value: _Expression) -> _Expression:
        """How much a counter grew since the row before of its series; when it fell, it was set back to 0."""
        series = [self.sql.column(column) for column in self.table.dimensions.values()]
        time = self.sql.column(self.table.time)
        # Rows without a value are a series of their own, so that they don't stand between the others.
        before = sa.func.lag(value).over(partition_by=[*series, value.is_(None)], order_by=time)
        return sa.case((value >= before, _double(value) - _double(before)), (value < before, _double(value)))

    def row_count(self, c: Any) -> _Expression:
        """The number of rows."""
        return sa.func.count()

    def aggregate(self, c: Any, name: str, kept: Kept) -> _Expression:
        """A partial aggregate of all rows of a bucket and group."""
        value = c[name]
        match kept:
            case Kept.FIRST | Kept.LAST:
                return _at_end(self.sql, value, c.t, kept)
            case Kept.SUM:
                return sa.func.sum(_double(value))
            case Kept.M2:
                return sa.func.sum(_squared(_double(value) - c[f"{name}_mean"]))
            case Kept.INCREASE:
                # A counter that has values grew by 0 where nothing stands before them.
                return sa.case((sa.func.count(value) > 0, sa.func.coalesce(sa.func.sum(c[f"{name}_increase"]), 0.0)))
            case Kept.MIN:
                return sa.func.min(value)
            case Kept.MAX:
                return sa.func.max(value)
            case Kept.COUNT:
                return sa.func.count(value)


def _at_end(sql: Buckets, value: _Expression, time: _Expression, kept: Kept) -> _Expression:
    """The first or last value that is not NULL."""
    function = sa.func.min_by if kept is Kept.FIRST else sa.func.max_by
    return function(value, time).filter(value.is_not(None))


def _double(value: _Expression) -> _Expression:
    """So that sums of whole numbers do not overflow."""
    return sa.cast(value, sa.Double())


def _ratio(total: _Expression, count: _Expression) -> _Expression:
    return _double(total) / sa.func.nullif(count, 0)


def _squared(value: _Expression) -> _Expression:
    return value * value


def bin_queries(sql: Buckets, reading: Reading, stretch: Stretch) -> Iterator[tuple[str, sa.Select[Any]]]:
    """The queries for distributions, each with the name of its metric: bucket, groups, sign, bin, count."""
    table = _table(reading, stretch, sketch=True)
    keys = _keys(sql, reading, stretch, table)
    for metric in reading.sketched:
        within = _within(sql, reading, stretch, table)
        if stretch.holding.rollup is None:
            sign, index = _bin_of(sql.column(metric.column))
            within.append(_finite(sql.column(metric.column)))
            count: _Expression = sa.literal_column("1")
        else:
            sign, index, count = (
                sa.column(quoted_name(name, True)) for name in (SKETCH_SIGN, SKETCH_BIN, SKETCH_COUNT)
            )
            within.append(sa.column(quoted_name(SKETCH_METRIC, True)) == metric.name)
        columns = [*keys, sign.label("s"), index.label("i"), count.label("n")]
        inner = sa.select(*columns).select_from(table_ref(table.table)).where(*within).subquery("r")
        named = [*_named(inner, keys), inner.c.s, inner.c.i]
        yield metric.name, sa.select(*named, sa.func.sum(inner.c.n)).group_by(*named)


def _bin_of(value: _Expression) -> tuple[_Expression, _Expression]:
    """Sign and number of the bin of a value; zero is bin 0 of sign 0."""
    number = _double(value)
    sign = sa.case((number > 0, 1), (number < 0, -1), else_=0)
    # ln() of zero is an error on both databases, and a condition beside it would not keep it from being computed.
    size = sa.case((number == 0, 1.0), else_=sa.func.abs(number))
    return sign, sa.cast(sa.func.ceil(sa.func.ln(size) / math.log(GAMMA)), sa.Integer())


def _finite(value: _Expression) -> _Expression:
    """Neither NULL nor infinite nor NaN: these are in no bin."""
    return _double(value).between(-_LARGEST, _LARGEST)
