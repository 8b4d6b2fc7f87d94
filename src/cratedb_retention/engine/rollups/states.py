"""
States of metrics in SQL: the columns of a level, reading raw rows and levels, merging the parts of states, and
formulas. Aggregates and their parts are defined in ``model/rollups/aggregates.py``.

Within queries, columns have plain names, so that names of users cannot collide: ``t`` is the bucket, ``ts`` the time,
``d0`` the first dimension. In raw rows ``m0`` is the first metric's value, in a level's rows ``m0_sum`` is a part.

The increase of a counter is the difference between each sample and the previous one of its series, which may lie in an
earlier bucket or window, however long ago. The sum of increases over a time range is therefore the increase in it, and
levels are merged by addition. A counter that falls was reset; its new value is the increase since then. Values of the
same instant are ordered by size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import sqlalchemy as sa

from cratedb_retention.engine.expressions import (
    BIGINT,
    DOUBLE,
    TEXT,
    Condition,
    Element,
    Expressions,
    Field,
    as_type,
    between,
    equals,
    finite,
    is_finite,
    nonfinite,
    number,
    quotient,
    ref,
    table_ref,
)
from cratedb_retention.model.catalog import Column, TableName, TimeUnit
from cratedb_retention.model.catalog import Kind as ColumnKind
from cratedb_retention.model.query.reading import Cascade
from cratedb_retention.model.rollups.aggregates import GAMMA, Aggregate, Kind, Merge, Part
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.rollups.rollup import (
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
from cratedb_retention.model.time import TimeRange

Columns = sa.sql.base.ReadOnlyColumnCollection[str, Any]
# The type of times within a query, and of those that are given to it.
INSTANT = instant_column("ts")
_GIVEN = Column(name="ts", type=BIGINT, kind=ColumnKind.TIME, unit=TimeUnit.MILLISECONDS)
# Parts that have columns beside the value of a raw row, since they do not follow from it alone.
_BESIDE = (Part.NONFINITE, Part.INCREASE)


def level_fields(sql: Expressions, rollup: Rollup) -> dict[TableName, list[Field]]:
    """
    The columns of a level's table, and of the one with its distributions, if it has any. Derived aggregates are
    written, not generated: neither database can add a generated column to a table that holds rows.
    """
    head = [Field(name=rollup.time_name, type=LEVEL_TIME, searched=True)]
    head += [Field(name=label(c.name), type=sql.stored_type(c), searched=True) for c in rollup.dimensions]
    tail = [Field(name=VERSION, type=BIGINT)]
    if rollup.partition:
        tail.append(Field(name=PARTITION, type=LEVEL_TIME, generated=sql.partition(rollup), searched=True))
    states = [
        Field(name=metric.named(one), type=kind_type(sql, metric.column, one.kind))
        for metric in rollup.metrics
        for one in metric.stored
    ]
    bins = [
        Field(name=SKETCH_METRIC, type=TEXT, searched=True),
        Field(name=SKETCH_SIGN, type="SMALLINT"),
        Field(name=SKETCH_BIN, type="INTEGER"),
        Field(name=SKETCH_COUNT, type=BIGINT),
    ]
    own = [[*states, Field(name=ROW_COUNT, type=BIGINT)], bins]
    return {table: [*head, *fields, *tail] for table, fields in zip(rollup.tables, own, strict=False)}


def kind_type(sql: Expressions, column: Column, kind: Kind) -> str:
    """The type of a part or an answer, as SQL."""
    match kind:
        case Kind.VALUE:
            return sql.stored_type(column)
        case Kind.SUM:
            return sql.sum_type(column)
        case Kind.COUNT:
            return BIGINT
        case Kind.DOUBLE | Kind.BINS:
            return DOUBLE


def source_value(sql: Expressions, column: Column) -> Element:
    """A source column in the type that a rollup stores."""
    reference, wanted = sql.column(column), sql.stored_type(column)
    return reference if column.type.upper() == wanted.upper() else as_type(reference, wanted)


def metric_value(sql: Expressions, column: Column) -> Element:
    """A metric's value of a source row, in the type that a rollup stores."""
    return finite(column, source_value(sql, column))


def of_row(sql: Expressions, metric: Metric, part: Part) -> Element:
    """A part of the state of one raw row; its increase is unknown."""
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


def fits(sql: Expressions, where: Sequence[tuple[Column, Any]], in_level: bool) -> Iterator[Condition]:
    """Conditions on dimensions, in raw rows or in a level."""
    for column, value in where:
        own = Column(name=label(column.name), type=column.type, kind=column.kind) if in_level else column
        yield equals(sql, own, value)


def countable(sql: Expressions, metric: Metric) -> Condition:
    """Source rows whose value has a bin."""
    return is_finite(as_type(sql.column(metric.column), DOUBLE))


def window_start(sql: Expressions, rollup: Rollup, time: Column) -> Element:
    """The start (ms, UTC) of the window of a level that contains a time."""
    assert rollup.window  # noqa: S101
    return sql.epoch_ms(sql.bucket(rollup.window, rollup.window_zone, sql.instant(time)))


def in_windows(sql: Expressions, rollup: Rollup, time: Column, starts: Sequence[int]) -> list[Condition]:
    """The condition of windows with gaps between them, by their starts; none if there are no gaps."""
    return [window_start(sql, rollup, time).in_(starts)] if starts else []


def of_metrics(metrics: Iterable[Metric]) -> Condition:
    """Rows of a table with distributions that belong to some metrics."""
    return ref(SKETCH_METRIC).in_([metric.name for metric in metrics])


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A selection of raw rows, or of rows of a level."""

    raw: ClassVar[bool] = False  # whether its rows are raw; otherwise they have states
    sql: Expressions
    of: Rollup | Cascade  # its source
    interval: Interval  # the length of buckets
    metrics: Mapping[Metric, Sequence[Part]]  # the requested parts of each metric
    groups: Sequence[Column]  # the dimensions to group by
    time: TimeRange
    windows: Sequence[int] = ()  # the starts of the windows of a level to which the time range is limited
    where: Sequence[tuple[Column, Any]] = ()  # conditions on dimensions

    @property
    def names(self) -> list[str]:
        """The plain names of the dimensions to group by."""
        return [f"d{self.of.dimensions.index(column)}" for column in self.groups]

    def rows(self) -> Columns:
        """The columns of the rows, with their buckets (``t``)."""
        raise NotImplementedError

    def _chosen(self, time: Column, since: int | None, until: int | None, in_level: bool) -> list[Condition]:
        """The conditions of a time range, of its windows, and on dimensions."""
        own = in_windows(self.sql, self.of, time, self.windows) if isinstance(self.of, Rollup) else []
        return [*between(self.sql, time, since, until), *own, *fits(self.sql, self.where, in_level)]

    def grouped(self) -> sa.Subquery:
        """Rows merged by bucket and dimensions: ``t``, ``d0``, ``m0_sum``, and the number of raw rows, ``n``."""
        rows = self.rows()
        keys = [rows[name] for name in ("t", *self.names)]
        states = (
            self._merged(rows, i, metric, part).label(f"m{i}_{part}")
            for i, (metric, parts) in enumerate(self.metrics.items())
            for part in parts
        )
        count = sa.func.count() if self.raw else sa.func.sum(rows.n)
        return sa.select(*keys, *states, count.label("n")).group_by(*keys).subquery("g")

    def _merged(self, rows: Columns, place: int, metric: Metric, part: Part) -> Element:
        """A part of the state of many rows, as an aggregate; never an average of averages."""
        sql, single = self.sql, self.raw and part not in _BESIDE
        value: Element = rows[f"m{place}" if single else f"m{place}_{part}"]
        # Values of a counter at the same instant need a definite order.
        order: Any = rows.get(f"m{place}_position", rows.ts)
        match part.merge:
            case Merge.LEAST:
                return sa.func.min(value)
            case Merge.GREATEST:
                return sa.func.max(value)
            case Merge.EARLIEST:
                return sql.of_values(sa.func.min_by(value, order), value)
            case Merge.LATEST:
                return sql.of_values(sa.func.max_by(value, order), value)
            case Merge.SPREAD if self.raw:
                return sql.spread(as_type(value, DOUBLE))
            case Merge.SPREAD:
                count, total, center = (rows[f"m{place}_{name}"] for name in (Part.COUNT, Part.SUM, "center"))
                return _merged_spread(sql, value, count, total, center)
            case Merge.ADD if part.kind is Kind.COUNT:
                return sa.func.count(value) if single else sa.func.sum(value)
            case Merge.ADD:
                kind = kind_type(sql, metric.column, part.kind)
                # Integers are not rounded, so their plain sum is right, and stays an integer.
                plain = kind != DOUBLE or (part.kind is Kind.SUM and "INT" in metric.column.type.upper())
                return sa.func.sum(as_type(value, kind)) if plain else sql.total(as_type(value, kind))


def _merged_spread(sql: Expressions, spread: Element, count: Element, total: Element, center: Element) -> Element:
    """Squared distances from the common mean (Chan, Golub, LeVeque 1979); unknown if those of a row are."""
    weight = sa.func.nullif(as_type(count, DOUBLE), number(0))
    distance = quotient(as_type(total, DOUBLE), weight).op("-")(center).self_group()
    whole = sql.total(spread.op("+")(weight.op("*")(distance.op("*")(distance).self_group())))
    return sa.case((sa.func.count().filter(count > number(0)) == sa.func.count(spread), whole))


@dataclass(frozen=True, kw_only=True)
class LevelRows(Selection):
    table: TableName

    def rows(self) -> Columns:
        time = instant_column(self.of.time.name)
        bucket = self.sql.bucket(self.interval, self.of.zone, self.sql.column(time))
        columns: list[Element] = [bucket.label("t"), ref(time.name).label("ts"), ref(ROW_COUNT).label("n")]
        columns += [ref(label(c.name)).label(name) for name, c in zip(self.names, self.groups, strict=True)]
        columns += [
            ref(metric.named(part)).label(f"m{i}_{part}")
            for i, (metric, parts) in enumerate(self.metrics.items())
            for part in parts
        ]
        found = (
            sa.select(*columns).select_from(table_ref(self.table)).where(*self._chosen(time, *self.time, in_level=True))
        )
        rows = found.subquery("s")
        # CrateDB has no window functions over expressions, so the means are in a query around the one of buckets.
        means = list(self._means(rows))
        return sa.select(*rows.c, *means).subquery("r").c if means else rows.c

    def _means(self, rows: sa.Subquery) -> Iterator[Element]:
        """The mean of the rows to be merged, beside each row, for metrics with squared distances."""
        keys = [rows.c[name] for name in ("t", *self.names)]
        for i, parts in enumerate(self.metrics.values()):
            if Part.M2 in parts:
                values = (as_type(rows.c[f"m{i}_{part}"], DOUBLE) for part in (Part.SUM, Part.COUNT))
                total, count = (sa.func.sum(value).over(partition_by=keys) for value in values)
                yield quotient(total, sa.func.nullif(count, number(0))).label(f"m{i}_center")


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """Where to look up the last values of counters before a time range."""

    level: Rollup | None  # in this level, whose rows are at the start of their buckets; None: in the raw rows
    start: int | None
    end: int
    unless: Rollup | None = None  # only if this level has nothing before the end


@dataclass(frozen=True, kw_only=True)
class Samples(Selection):
    raw = True
    # Where to look up the values of counters before the range. All places but the first are read only if a series has
    # no value there; the statement itself checks that, so that it is always the same.
    before: Sequence[Before] = ()
    # Such values from elsewhere: the time (ms), the dimensions, and the values of the counters.
    given: Sequence[Sequence[Any]] = ()

    @cached_property
    def counters(self) -> dict[int, Metric]:
        """The metrics whose increase is requested, by position."""
        return self._with(Part.INCREASE)

    @cached_property
    def ordered(self) -> set[int]:
        """The counters, by position, whose values at the same instant need a definite order."""
        return {i for i, metric in self._with(Part.FIRST, Part.LAST).items() if metric.has(Aggregate.INCREASE)}

    def _with(self, *wanted: Part) -> dict[int, Metric]:
        return {i: metric for i, (metric, parts) in enumerate(self.metrics.items()) if {*wanted} & {*parts}}

    def rows(self) -> Columns:
        """Rows with their values, and with what is needed from other rows."""
        sql, of = self.sql, self.of
        if not self.counters and not self.ordered:
            bucket = sql.bucket(self.interval, of.zone, sql.instant(of.time)).label("t")
            return self._raw(*self.time).add_columns(bucket).subquery("s").c
        feed = self._feed() if self.counters else self._raw(*self.time).subquery("f")
        samples = sa.select(*feed.c, *self._neighbours(feed)).subquery("l")
        bucket = sql.bucket(self.interval, of.zone, samples.c.ts).label("t")
        own = samples.c.ts >= sql.value(INSTANT, self.time.start)
        return sa.select(bucket, *samples.c, *self._increases(samples)).where(own).subquery("s").c

    def _raw(self, since: int | None, until: int) -> sa.Select[Any]:
        """Rows of the source: ``ts``, ``d0``, ``m0``, and the parts beside these."""
        sql, of = self.sql, self.of
        dimensions = (source_value(sql, column).label(f"d{i}") for i, column in enumerate(of.dimensions))
        values = (metric_value(sql, metric.column).label(f"m{i}") for i, metric in enumerate(self.metrics))
        flags = (
            nonfinite(metric.column, sql.column(metric.column)).label(f"m{i}_{Part.NONFINITE}")
            for i, metric in self._with(Part.NONFINITE).items()
        )
        rows = sa.select(sql.instant(of.time).label("ts"), *dimensions, *values, *flags)
        return rows.select_from(table_ref(of.source)).where(*self._chosen(of.time, since, until, in_level=False))

    def _feed(self) -> sa.Subquery:
        """The samples of the range, and the last one of each series before it."""
        near, *others = self.before
        since = self.time.start if near.level is None else min(self.time.start, near.end)
        found = [self._raw(since, self.time.end), *self._last(near), *self._given()]
        lonely = self._lonely(sa.union_all(*found).subquery("f"))
        far = [self._if_needed(query, before, lonely) for before in others for query in self._last(before)]
        return sa.union_all(*found, *far).subquery("f")

    def _lonely(self, feed: sa.Subquery) -> sa.Select[Any]:
        """A query that has a row if a series has no value of a counter before the range."""
        first = sa.func.min(feed.c.ts)
        found = [first.filter(feed.c[f"m{i}"].is_not(None)).label(f"f{i}") for i in self.counters]
        firsts = sa.select(*found).group_by(*self._dimensions(feed)).subquery("f")
        since = self.sql.value(INSTANT, self.time.start)
        return sa.select(number(1)).select_from(firsts).where(sa.or_(*(column >= since for column in firsts.c)))

    def _if_needed(self, query: sa.Select[Any], before: Before, lonely: sa.Select[Any]) -> sa.Select[Any]:
        query = query.where(sa.exists(lonely))
        if before.unless is None:
            return query
        there = sa.select(number(1)).select_from(table_ref(before.unless.table))
        there = there.where(*between(self.sql, before.unless.own_time, None, before.end)).limit(1)
        return query.where(sa.not_(sa.exists(there)))

    def _given(self) -> Iterator[sa.Select[Any]]:
        if not self.given:
            return
        dimensions = [self.sql.stored_type(column) for column in self.of.dimensions]
        types = [BIGINT, *dimensions, *(self.sql.stored_type(metric.column) for metric in self.counters.values())]
        names = ["ts", *(f"d{i}" for i in range(len(dimensions))), *(f"m{i}" for i in self.counters)]
        columns = zip(names, types, zip(*self.given, strict=True), strict=True)
        rows = self.sql.rows([(name, kind, list(values)) for name, kind, values in columns]).subquery("k")
        values = self._values({i: rows.c[f"m{i}"] for i in self.counters})
        yield sa.select(self.sql.instant(_GIVEN, rows.c.ts).label("ts"), *self._dimensions(rows), *values)

    def _last(self, before: Before) -> list[sa.Select[Any]]:
        if before.level is not None:
            return [self._last_of_level(before, before.level)]
        return [self.last_of_source(before, place) for place in self.counters]

    def _last_of_level(self, before: Before, level: Rollup) -> sa.Select[Any]:
        time, dimensions = ref(level.time_name), [ref(label(column.name)) for column in self.of.dimensions]

        def last(metric: Metric) -> Element:
            # Earlier versions stored NaN as a value.
            value = finite(metric.column, ref(metric.named(Part.LAST)))
            return self.sql.of_values(sa.func.max_by(value, time), value)

        keys = (dimension.label(f"d{i}") for i, dimension in enumerate(dimensions))
        values = self._values({i: last(metric) for i, metric in self.counters.items()})
        within = between(self.sql, level.own_time, before.start, before.end)
        found = sa.select(sa.func.max(time).label("ts"), *keys, *values).select_from(table_ref(level.table))
        return found.where(*within, *fits(self.sql, self.where, in_level=True)).group_by(*dimensions)

    def last_of_source(self, before: Before, place: int) -> sa.Select[Any]:
        """The last value of one counter of each series in the raw rows."""
        known = self._raw(before.start, before.end).subquery("b")
        series = [*self._dimensions(known), known.c[f"m{place}"].is_(None)]
        last = sa.func.max(known.c.ts).over(partition_by=series).label("last")
        rows = sa.select(*known.c, last).subquery("b")
        keys, value = [rows.c.ts, *self._dimensions(rows)], rows.c[f"m{place}"]
        found = sa.select(*keys, *self._values({place: sa.func.max(value)}))
        return found.where(rows.c.ts == rows.c.last, value.is_not(None)).group_by(*keys)

    def _values(self, known: Mapping[int, Element]) -> Iterator[Element]:
        for i, metric in enumerate(self.metrics):
            nothing = as_type(sa.null(), self.sql.stored_type(metric.column))
            yield known.get(i, nothing).label(f"m{i}")
        yield from (as_type(sa.null(), BIGINT).label(f"m{i}_{Part.NONFINITE}") for i in self._with(Part.NONFINITE))

    def _neighbours(self, feed: sa.Subquery) -> Iterator[Element]:
        series, groups = self._dimensions(feed), [feed.c[name] for name in self.names]
        for i in range(len(self.metrics)):
            value = feed.c[f"m{i}"]
            # Rows without a value are a series of their own, so that they do not separate the others.
            if i in self.counters:
                before = sa.func.lag(value).over(partition_by=[*series, value.is_(None)], order_by=[feed.c.ts, value])
                yield before.label(f"p{i}")
            if i in self.ordered:
                place = sa.func.row_number().over(partition_by=[*groups, value.is_(None)], order_by=[feed.c.ts, value])
                yield place.label(f"m{i}_position")

    def _increases(self, samples: sa.Subquery) -> Iterator[Element]:
        places = {column.name: samples.c[f"d{i}"] for i, column in enumerate(self.of.dimensions)}
        for i, metric in self.counters.items():
            found = _increase(samples.c[f"m{i}"], samples.c[f"p{i}"])
            if metric.within:
                known = (places[each.dimension.name].like(_as_like(each.pattern), escape="!") for each in metric.within)
                found = sa.case((sa.or_(*known), found), else_=as_type(sa.null(), DOUBLE))
            yield found.label(f"m{i}_{Part.INCREASE}")

    def _dimensions(self, rows: sa.Subquery) -> list[Element]:
        return [rows.c[f"d{i}"] for i in range(len(self.of.dimensions))]


def _increase(value: Element, previous: Element) -> Element:
    """The increase of a counter; if it fell, it was reset to 0. The first value of a series adds nothing."""
    return sa.case(
        (value.is_(None), as_type(sa.null(), DOUBLE)),
        (previous.is_(None), as_type(number(0), DOUBLE)),
        (value >= previous, as_type(value - previous, DOUBLE)),
        else_=as_type(value, DOUBLE),
    )


def _as_like(pattern: str) -> str:
    plain = pattern.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return plain.replace("*", "%").replace("?", "_")


@dataclass(frozen=True, kw_only=True)
class Sketches(Selection):
    table: TableName | None  # a level's table with distributions; None: they are computed from raw rows

    def grouped(self) -> sa.Subquery:
        """By bucket and dimensions ``t``, ``d0``, ``metric``, ``sign``, ``bin`` and ``n``, the number of values."""
        parts = [self._level(self.table)] if self.table else list(map(self._raw, self.metrics))
        rows = parts[0].subquery("s") if len(parts) == 1 else sa.union_all(*parts).subquery("s")
        keys = [rows.c[name] for name in ("t", *self.names, "metric", "sign", "bin")]
        count = sa.func.sum(rows.c.n) if self.table else sa.func.count()
        return sa.select(*keys, count.label("n")).group_by(*keys).subquery("g")

    def _raw(self, metric: Metric) -> sa.Select[Any]:
        sql, of = self.sql, self.of
        value = as_type(sql.column(metric.column), DOUBLE)
        size = sa.func.abs(value)
        # By absolute value: to CrateDB, minus zero is less than zero.
        sign = sa.case((size == number(0), number(0)), (value > number(0), number(1)), else_=number(-1))
        # CrateDB evaluates all branches of a CASE, and rejects the logarithm of zero.
        index = sa.func.ceil(quotient(sa.func.ln(sa.func.nullif(size, number(0))), number(math.log(GAMMA))))
        columns = [
            sql.bucket(self.interval, of.zone, sql.instant(of.time)).label("t"),
            *(source_value(sql, c).label(name) for name, c in zip(self.names, self.groups, strict=True)),
            as_type(sa.literal(metric.name), TEXT).label("metric"),
            as_type(sign, "SMALLINT").label("sign"),
            sa.func.coalesce(as_type(index, "INTEGER"), as_type(number(0), "INTEGER")).label("bin"),
        ]
        conditions = *self._chosen(of.time, *self.time, in_level=False), countable(sql, metric)
        return sa.select(*columns).select_from(table_ref(of.source)).where(*conditions)

    def _level(self, table: TableName) -> sa.Select[Any]:
        sql, time = self.sql, instant_column(self.of.time.name)
        kept = {"metric": SKETCH_METRIC, "sign": SKETCH_SIGN, "bin": SKETCH_BIN, "n": SKETCH_COUNT}
        columns = [
            sql.bucket(self.interval, self.of.zone, sql.column(time)).label("t"),
            *(ref(label(c.name)).label(name) for name, c in zip(self.names, self.groups, strict=True)),
            *(ref(column).label(name) for name, column in kept.items()),
        ]
        conditions = *self._chosen(time, *self.time, in_level=True), of_metrics(self.metrics)
        return sa.select(*columns).select_from(table_ref(table)).where(*conditions)


class Formulas:
    """Formulas of a metric's column in SQL, see :class:`model.aggregates.Formula`; never for ``rate``."""

    def __init__(self, sql: Expressions, column: Column) -> None:
        self.sql, self.column = sql, column

    def read(self, one: Part | Aggregate, state: Callable[[Part], Element]) -> Element:
        """A part, or the result of an aggregate's formula; ``state`` gives the expression of a part."""
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
        return sa.case((count > number(0), quotient(as_type(total, DOUBLE), count)))

    def root(self, value: Element) -> Element:
        return sa.func.sqrt(value)  # Squared distances are never negative.

    def quantile(self, bins: Element, quantile: float) -> Element:
        """The quantile of a single value, which is that value."""
        return as_type(bins, DOUBLE)
