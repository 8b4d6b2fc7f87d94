"""
States of metrics in SQL: the columns of a level, how parts are found in raw rows, how those of many rows are merged,
and how formulas become SQL. What aggregates there are, and what they consist of, is in ``model/aggregates``.

In queries everything has a plain name, so that no name of a user meets another: ``t`` the bucket, ``ts`` the time,
``d0`` the first dimension. Of raw rows ``m0`` is the first metric's value, of a level's rows ``m0_sum`` is a part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.database import Sql
from cratedb_retention.engine.expressions import (
    BIGINT,
    DOUBLE,
    TEXT,
    Condition,
    Element,
    Expressions,
    as_type,
    between,
    equals,
    finite,
    nonfinite,
    number,
    quotient,
    ref,
    table_ref,
)
from cratedb_retention.model.aggregates import Aggregate, Kind, Merge, Part
from cratedb_retention.model.cascade import Interval
from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.reading import Cascade
from cratedb_retention.model.rollup import (
    LEVEL_TIME,
    PARTITION,
    ROW_COUNT,
    SKETCH_BIN,
    SKETCH_COUNT,
    SKETCH_METRIC,
    SKETCH_SIGN,
    VERSION,
    Metric,
    Rollup,
    instant_column,
    label,
)

Metrics = Mapping[Metric, Sequence[Part]]
Filter = Sequence[tuple[Column, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A column of a rollup."""

    name: str
    type: str  # as SQL
    generated: Element | None = None  # what the database generates it from, if it does
    searched: bool = False  # whether rows are looked up by it, so that it needs an index

    @property
    def parts(self) -> list[Sql]:
        """Its definition, as parts of a statement."""
        generated: list[Sql] = [] if self.generated is None else [" GENERATED ALWAYS AS (", self.generated, ")"]
        return [ref(self.name), f" {self.type}", *generated]


def level_fields(sql: Expressions, rollup: Rollup) -> list[Field]:
    """The columns of a level's table. Those of derived aggregates are written, not generated: neither database can add
    a generated column to a table that holds rows."""
    metrics = (
        Field(name=metric.named(one), type=kind_type(sql, metric.column, one.kind))
        for metric in rollup.metrics
        for one in metric.stored
    )
    return [*_head(sql, rollup), *metrics, Field(name=ROW_COUNT, type=BIGINT), *_tail(sql, rollup)]


def sketch_fields(sql: Expressions, rollup: Rollup) -> list[Field]:
    """The columns of the table with the distributions."""
    own = [
        Field(name=SKETCH_METRIC, type=TEXT, searched=True),
        Field(name=SKETCH_SIGN, type="SMALLINT"),
        Field(name=SKETCH_BIN, type="INTEGER"),
        Field(name=SKETCH_COUNT, type=BIGINT),
    ]
    return [*_head(sql, rollup), *own, *_tail(sql, rollup)]


def _head(sql: Expressions, rollup: Rollup) -> Iterator[Field]:
    yield Field(name=rollup.time_name, type=LEVEL_TIME, searched=True)
    for column in rollup.dimensions:
        yield Field(name=label(column.name), type=sql.stored_type(column), searched=True)


def _tail(sql: Expressions, rollup: Rollup) -> Iterator[Field]:
    yield Field(name=VERSION, type=BIGINT)
    if rollup.partition:
        yield Field(name=PARTITION, type=LEVEL_TIME, generated=sql.partition(rollup), searched=True)


def kind_type(sql: Expressions, column: Column, kind: Kind) -> str:
    """The type of a part or an answer, as SQL."""
    match kind:
        case Kind.VALUE:
            return sql.stored_type(column)
        case Kind.SUM:
            return sql.sum_type(column)
        case Kind.COUNT:
            return BIGINT
        case _:
            return DOUBLE


def source_value(sql: Expressions, column: Column) -> Element:
    """A source column in the type that a rollup keeps it in."""
    reference, wanted = sql.column(column), sql.stored_type(column)
    return reference if column.type.upper() == wanted.upper() else as_type(reference, wanted)


def metric_value(sql: Expressions, column: Column) -> Element:
    """A metric's value of a source row, in the type that a rollup keeps it in."""
    return finite(column, source_value(sql, column))


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in a query, to be merged."""

    c: sa.sql.base.ReadOnlyColumnCollection[str, Any]
    raw: bool  # otherwise those of a level, with states

    def part(self, place: int, part: Part) -> Element:
        """What they have of a part of a metric's state; of raw rows, that of their one value."""
        found: Element = self.c[f"m{place}" if self.raw and part not in BESIDE else f"m{place}_{part}"]
        return found

    def order(self, place: int) -> Element:
        """What tells which value is the first. Of a counter's values at one instant it has to be certain."""
        found: Element = self.c.get(f"m{place}_position", self.c.ts)
        return found


# What stands beside the value of a raw row, since it does not follow from it alone.
BESIDE = (Part.NONFINITE, Part.INCREASE)


def merged(sql: Expressions, metric: Metric, place: int, part: Part, rows: Rows) -> Element:
    """A part of the state of many rows, as an aggregate; an average is never one of averages."""
    value = rows.part(place, part)
    match part.merge:
        case Merge.LEAST:
            return sa.func.min(value)
        case Merge.GREATEST:
            return sa.func.max(value)
        case Merge.EARLIEST:
            return sa.func.min_by(value, rows.order(place)).filter(value.is_not(None))
        case Merge.LATEST:
            return sa.func.max_by(value, rows.order(place)).filter(value.is_not(None))
        case Merge.SPREAD if rows.raw:
            return sql.spread(as_type(value, DOUBLE))
        case Merge.SPREAD:
            count, total = rows.part(place, Part.COUNT), rows.part(place, Part.SUM)
            return _merged_spread(sql, value, count, total, rows.c[f"m{place}_center"])
        case Merge.ADD if part.kind is Kind.COUNT:
            return sa.func.count(value) if rows.raw and part not in BESIDE else sa.func.sum(value)
        case Merge.ADD:
            kind = kind_type(sql, metric.column, part.kind)
            typed = as_type(value, kind)
            # Whole numbers are not rounded, so a plain sum is right for these, and stays whole.
            plain = kind != DOUBLE or (part.kind is Kind.SUM and "INT" in metric.column.type.upper())
            return sa.func.sum(typed) if plain else sql.total(typed)


def _merged_spread(sql: Expressions, spread: Element, count: Element, total: Element, center: Element) -> Element:
    """
    The squared distances from the mean of all, from those within rows and those of the rows' means (Chan, Golub,
    LeVeque 1979). Unknown if that of any row with values is.
    """
    weight = sa.func.nullif(as_type(count, DOUBLE), number(0))
    distance = quotient(as_type(total, DOUBLE), weight).op("-")(center).self_group()
    whole = sql.total(spread.op("+")(weight.op("*")(distance.op("*")(distance).self_group())))
    some = sa.func.count().filter(count > number(0))
    return sa.case((some == sa.func.count(spread), whole))


def beside(sql: Expressions, metric: Metric, place: int, parts: Sequence[Part]) -> list[sa.Label[Any]]:
    """What stands beside a raw row's value, as far as that follows from the row."""
    flag = nonfinite(metric.column, sql.column(metric.column))
    return [flag.label(f"m{place}_{Part.NONFINITE}")] if Part.NONFINITE in parts else []


def of_row(sql: Expressions, metric: Metric, part: Part) -> Element:
    """A part of the state of one raw row; what it grew by is not known of a single row."""
    value = metric_value(sql, metric.column)
    if part is Part.NONFINITE:
        return nonfinite(metric.column, sql.column(metric.column))
    if part is Part.INCREASE:
        return as_type(sa.null(), DOUBLE)
    if part.merge is Merge.SPREAD:
        return sa.case((value.is_not(None), as_type(number(0), DOUBLE)))
    if part.kind is Kind.COUNT:
        return sa.case((value.is_not(None), as_type(number(1), BIGINT)), else_=as_type(number(0), BIGINT))
    return as_type(value, kind_type(sql, metric.column, part.kind)) if part.kind is not Kind.VALUE else value


def places(of: Rollup | Cascade, groups: Sequence[Column]) -> dict[str, Column]:
    """The plain names of wanted dimensions, in their order: ``d0`` the first of all, whichever are wanted."""
    return {f"d{of.dimensions.index(column)}": column for column in groups}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is read of a table with raw rows, or of a level."""

    sql: Expressions
    of: Rollup | Cascade  # Whose rows
    interval: Interval  # The length of buckets
    metrics: Metrics  # The parts that are wanted of each metric
    groups: Sequence[Column]  # The dimensions by which rows will be merged
    since: int  # Rows of [since, until) (ms, UTC)
    until: int
    where: Filter = ()  # Conditions on dimensions


@dataclass(frozen=True, kw_only=True)
class LevelRows(Selection):
    """The rows of a level."""

    table: TableName

    def rows(self) -> Rows:
        """The rows with their buckets (``t``)."""
        time = instant_column(self.of.time.name)
        bucket = self.sql.bucket(self.interval, self.of.zone, self.sql.column(time))
        groups = {name: ref(label(column.name)) for name, column in places(self.of, self.groups).items()}
        columns: list[Element] = [bucket.label("t"), ref(time.name).label("ts"), ref(ROW_COUNT).label("n")]
        columns += [dimension.label(name) for name, dimension in groups.items()]
        columns += [
            ref(metric.named(part)).label(f"m{i}_{part}")
            for i, (metric, parts) in enumerate(self.metrics.items())
            for part in parts
        ]
        conditions = between(self.sql, time, self.since, self.until), *of_level(self.sql, self.where)
        rows = sa.select(*columns).select_from(table_ref(self.table)).where(*conditions).subquery("s")
        # CrateDB takes no window over expressions, so the means are in a query around that of the buckets.
        means = list(self._means(rows, [rows.c.t, *(rows.c[name] for name in groups)]))
        return Rows(sa.select(*rows.c, *means).subquery("r").c if means else rows.c, raw=False)

    def _means(self, rows: sa.Subquery, keys: Sequence[Element]) -> Iterator[Element]:
        """The mean of those that will be merged, beside each row, where squared distances are."""
        for i, parts in enumerate(self.metrics.values()):
            if Part.M2 in parts:
                values = (as_type(rows.c[f"m{i}_{part}"], DOUBLE) for part in (Part.SUM, Part.COUNT))
                total, count = (sa.func.sum(value).over(partition_by=keys) for value in values)
                yield quotient(total, sa.func.nullif(count, number(0))).label(f"m{i}_center")


def of_source(sql: Expressions, where: Filter) -> Iterator[Condition]:
    """Conditions on dimensions, in raw rows."""
    return (equals(sql, column, value) for column, value in where)


def of_level(sql: Expressions, where: Filter) -> Iterator[Condition]:
    """The same in a level."""
    return of_source(sql, [(Column(name=label(c.name), type=c.type, kind=c.kind), value) for c, value in where])


def grouped(sql: Expressions, rows: Rows, metrics: Metrics, groups: Iterable[str]) -> sa.Subquery:
    """Rows merged by bucket and dimensions: ``t``, ``d0``, ``m0_sum``, and the number of raw rows, ``n``."""
    keys = [rows.c.t, *(rows.c[name] for name in groups)]
    states = (
        merged(sql, metric, i, part, rows).label(f"m{i}_{part}")
        for i, (metric, parts) in enumerate(metrics.items())
        for part in parts
    )
    count = sa.func.count() if rows.raw else sa.func.sum(rows.c.n)
    return sa.select(*keys, *states, count.label("n")).group_by(*keys).subquery("g")


class Formulas:
    """Formulas of a metric's column in SQL, see :class:`model.aggregates.Formula`."""

    def __init__(self, sql: Expressions, column: Column) -> None:
        self.sql, self.column = sql, column

    def read(self, one: Part | Aggregate, state: Callable[[Part], Element]) -> Element:
        """A part, or what is read by an aggregate's formula; ``state`` gives the expression of a part."""
        if isinstance(one, Part):
            return state(one)
        assert one.formula  # noqa: S101
        found: Element = one.formula.read(self, *map(state, one.formula.parts))
        return found

    def difference(self, one: Element, other: Element) -> Element:
        """Exact for decimals."""
        kind = self.sql.sum_type(self.column)
        return as_type(one, kind).op("-")(as_type(other, kind))

    def quotient(self, total: Element, count: Element) -> Element:
        """NULL where there is nothing."""
        return sa.case((count > number(0), quotient(as_type(total, DOUBLE), count)))

    def root(self, value: Element) -> Element:
        """As it is: squared distances are never negative."""
        return sa.func.sqrt(value)

    def per_second(self, value: Element) -> Element:
        """Never asked of SQL: the last bucket's length is known when it is read."""
        raise NotImplementedError

    def quantile(self, bins: Element, quantile: float) -> Element:
        """Of the distribution of a single value, which is that value."""
        return as_type(bins, DOUBLE)
