"""
The raw rows of a stretch of time as they are merged, for levels and for answers, with how much counters increased.

That is the difference of each sample to its series' previous one, which may lie in an earlier bucket or window, however
long ago. So the sum of increases over any stretch of time is the increase in it, and levels merge by adding. A counter
that falls was reset; then its new value is what came since. Several values of one instant follow one another by size.

The value before is looked for shortly before the stretch, and at any time before only if some series has none there;
the statement itself finds that out, so that it is the same whenever it is sent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.expressions import (
    BIGINT,
    DOUBLE,
    TEXT,
    Condition,
    Element,
    Expressions,
    as_type,
    between,
    finite,
    is_finite,
    number,
    ref,
    table_ref,
)
from cratedb_retention.engine.states import (
    Rows,
    Selection,
    beside,
    metric_value,
    of_level,
    of_source,
    places,
    source_value,
)
from cratedb_retention.model.aggregates import GAMMA, Aggregate, Part
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.rollup import (
    SKETCH_BIN,
    SKETCH_COUNT,
    SKETCH_METRIC,
    SKETCH_SIGN,
    Metric,
    Rollup,
    instant_column,
    label,
)

# As times are within a query.
INSTANT = instant_column("ts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """Where the last values of counters before a stretch are looked for."""

    level: Rollup | None  # in this level, whose rows are at the start of their buckets; None: in the raw rows
    start: int | None
    end: int
    unless: Rollup | None = None  # only if this level has nothing before the end


@dataclass(frozen=True, kw_only=True)
class Samples(Selection):
    """Raw rows."""

    near: Before | None = None  # Where values before are looked for
    far: Sequence[Before] = ()  # Where else, if a series has none there

    @cached_property
    def counters(self) -> dict[int, Metric]:
        """The metrics whose increase is wanted, by their place."""
        return {i: metric for i, (metric, parts) in enumerate(self.metrics.items()) if Part.INCREASE in parts}

    @cached_property
    def ordered(self) -> set[int]:
        """The counters of which it has to be certain which of several values at one instant is the last."""
        ends = {Part.FIRST, Part.LAST}
        every = enumerate(self.metrics.items())
        return {i for i, (metric, parts) in every if metric.has(Aggregate.INCREASE) and ends & set(parts)}

    def rows(self) -> Rows:
        """The rows with their buckets (``t``), and beside their values what is needed of other rows."""
        sql, of = self.sql, self.of
        if not self.counters and not self.ordered:
            bucket = sql.bucket(self.interval, of.zone, sql.instant(of.time)).label("t")
            return Rows(self._raw().add_columns(bucket).where(self._within(self.since)).subquery("s").c, raw=True)
        feed = self._feed() if self.counters else self._raw().where(self._within(self.since)).subquery("f")
        samples = sa.select(*feed.c, *self._neighbours(feed)).subquery("l")
        bucket = sql.bucket(self.interval, of.zone, samples.c.ts).label("t")
        own = samples.c.ts >= sql.value(INSTANT, self.since)
        found = sa.select(bucket, *samples.c, *self._increases(samples)).where(own)
        return Rows(found.subquery("s").c, raw=True)

    def _raw(self) -> sa.Select[Any]:
        """All of the source's rows: ``ts``, ``d0``, ``m0``, and what stands beside these."""
        sql, of = self.sql, self.of
        dimensions = (source_value(sql, column).label(f"d{i}") for i, column in enumerate(of.dimensions))
        values = (metric_value(sql, metric.column).label(f"m{i}") for i, metric in enumerate(self.metrics))
        more = (flag for i, (m, parts) in enumerate(self.metrics.items()) for flag in beside(sql, m, i, parts))
        return sa.select(sql.instant(of.time).label("ts"), *dimensions, *values, *more).select_from(
            table_ref(of.source)
        )

    def _within(self, since: int | None, until: int | None = None) -> Condition:
        end = self.until if until is None else until
        return sa.and_(between(self.sql, self.of.time, since, end), *of_source(self.sql, self.where))

    def _feed(self) -> sa.Subquery:
        """The samples, and the last one of each series before."""
        since = self.since if self.near is None or self.near.level is None else min(self.since, self.near.end)
        near = [self._raw().where(self._within(since)), *(self._last(self.near) if self.near else ())]
        lonely = self._lonely(sa.union_all(*near).subquery("f"))
        far = [self._if_needed(query, before, lonely) for before in self.far for query in self._last(before)]
        return sa.union_all(*near, *far).subquery("f")

    def _lonely(self, feed: sa.Subquery) -> sa.Select[Any]:
        """A row if a series has its first value of a counter only in the stretch."""
        series, first = self._dimensions(feed), sa.func.min(feed.c.ts)
        found = [first.filter(feed.c[f"m{i}"].is_not(None)).label(f"f{i}") for i in self.counters]
        firsts = sa.select(*found).group_by(*series).subquery("f") if series else sa.select(*found).subquery("f")
        since = self.sql.value(INSTANT, self.since)
        return sa.select(number(1)).select_from(firsts).where(sa.or_(*(column >= since for column in firsts.c)))

    def _if_needed(self, query: sa.Select[Any], before: Before, lonely: sa.Select[Any]) -> sa.Select[Any]:
        query = query.where(sa.exists(lonely))
        if before.unless is None:
            return query
        there = sa.select(number(1)).select_from(table_ref(before.unless.table))
        there = there.where(between(self.sql, before.unless.own_time, None, before.end)).limit(1)
        return query.where(sa.not_(sa.exists(there)))

    def _last(self, before: Before) -> Iterator[sa.Select[Any]]:
        if before.level is not None:
            yield self._last_of_level(before, before.level)
        else:
            yield from (self._last_of_source(before, i) for i in self.counters)

    def _last_of_level(self, before: Before, level: Rollup) -> sa.Select[Any]:
        """The last value of each series that a level knows."""
        time = ref(level.time_name)
        dimensions = [ref(label(column.name)) for column in self.of.dimensions]

        def last(place: int, metric: Metric) -> Element:
            if place not in self.counters:
                return self._nothing(metric)
            # Earlier versions took NaN for a value.
            value = finite(metric.column, ref(metric.named(Part.LAST)))
            return sa.func.max_by(value, time).filter(value.is_not(None))

        values = (last(i, metric).label(f"m{i}") for i, metric in enumerate(self.metrics))
        keys = (dimension.label(f"d{i}") for i, dimension in enumerate(dimensions))
        return (
            sa.select(sa.func.max(time).label("ts"), *keys, *values, *self._no_flags())
            .select_from(table_ref(level.table))
            .where(between(self.sql, level.own_time, before.start, before.end), *of_level(self.sql, self.where))
            .group_by(*dimensions)
        )

    def _last_of_source(self, before: Before, place: int) -> sa.Select[Any]:
        """The last value of one counter of each series in the raw rows."""
        known = self._raw().where(self._within(before.start, before.end)).subquery("b")
        value, series = known.c[f"m{place}"], self._dimensions(known)
        last = sa.func.max(known.c.ts).over(partition_by=[*series, value.is_(None)]).label("last")
        rows = sa.select(*known.c, last).subquery("b")
        values = (
            (sa.func.max(rows.c[f"m{i}"]) if i == place else self._nothing(metric)).label(f"m{i}")
            for i, metric in enumerate(self.metrics)
        )
        keys = [rows.c.ts, *self._dimensions(rows)]
        found = sa.select(*keys, *values, *self._no_flags())
        return found.where(rows.c.ts == rows.c.last, rows.c[f"m{place}"].is_not(None)).group_by(*keys)

    def _nothing(self, metric: Metric) -> Element:
        return as_type(sa.null(), self.sql.stored_type(metric.column))

    def _no_flags(self) -> Iterator[Element]:
        """Samples before a stretch are not counted in it."""
        for i, (metric, parts) in enumerate(self.metrics.items()):
            yield from (as_type(sa.null(), BIGINT).label(flag.name) for flag in beside(self.sql, metric, i, parts))

    def _neighbours(self, feed: sa.Subquery) -> Iterator[Element]:
        """The value before of the same series, and the number of a counter's value among those of its group."""
        series = self._dimensions(feed)
        places = {column: feed.c[f"d{i}"] for i, column in enumerate(self.of.dimensions)}
        groups = [places[column] for column in self.groups]
        for i in range(len(self.metrics)):
            value = feed.c[f"m{i}"]
            # Rows without a value are a series of their own, so that they don't stand between the others.
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
                fits = (places[each.dimension.name].like(_as_like(each.pattern), escape="!") for each in metric.within)
                found = sa.case((sa.or_(*fits), found), else_=as_type(sa.null(), DOUBLE))
            yield found.label(f"m{i}_{Part.INCREASE}")

    def _dimensions(self, rows: sa.Subquery) -> list[Element]:
        return [rows.c[f"d{i}"] for i in range(len(self.of.dimensions))]


def _increase(value: Element, previous: Element) -> Element:
    """How much a counter grew; when it fell, it was set back to 0. The first value of a series adds nothing."""
    return sa.case(
        (value.is_(None), as_type(sa.null(), DOUBLE)),
        (previous.is_(None), as_type(number(0), DOUBLE)),
        (value >= previous, as_type(value - previous, DOUBLE)),
        else_=as_type(value, DOUBLE),
    )


def _as_like(pattern: str) -> str:
    """A pattern with ``*`` and ``?`` as ``LIKE`` has it."""
    plain = pattern.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return plain.replace("*", "%").replace("?", "_")


@dataclass(frozen=True, kw_only=True)
class Sketches(Selection):
    """The distributions of metrics, by bucket and dimensions."""

    table: TableName | None  # A level's table with distributions; None: they are computed from raw rows

    def select(self) -> sa.Subquery:
        """``t``, ``d0``, ``metric``, ``sign``, ``bin`` and ``n``, the number of values."""
        parts = [self._raw(metric) for metric in self.metrics] if self.table is None else [self._level(self.table)]
        rows = parts[0].subquery("s") if len(parts) == 1 else sa.union_all(*parts).subquery("s")
        keys = [rows.c[name] for name in ("t", *places(self.of, self.groups), "metric", "sign", "bin")]
        count = sa.func.count() if self.table is None else sa.func.sum(rows.c.n)
        return sa.select(*keys, count.label("n")).group_by(*keys).subquery("g")

    def _raw(self, metric: Metric) -> sa.Select[Any]:
        sql, of = self.sql, self.of
        value = as_type(sql.column(metric.column), DOUBLE)
        size = sa.func.abs(value)
        # By its size: to CrateDB, minus zero is less than zero.
        sign = sa.case((size == number(0), number(0)), (value > number(0), number(1)), else_=number(-1))
        # CrateDB computes all branches of a CASE, and refuses the logarithm of zero.
        index = sa.func.ceil(sa.func.ln(sa.func.nullif(size, number(0))).op("/")(number(math.log(GAMMA))))
        columns = [
            sql.bucket(self.interval, of.zone, sql.instant(of.time)).label("t"),
            *(source_value(sql, column).label(name) for name, column in places(of, self.groups).items()),
            as_type(sa.literal(metric.name), TEXT).label("metric"),
            as_type(sign, "SMALLINT").label("sign"),
            sa.func.coalesce(as_type(index, "INTEGER"), as_type(number(0), "INTEGER")).label("bin"),
        ]
        within = between(sql, of.time, self.since, self.until)
        query = sa.select(*columns).select_from(table_ref(of.source))
        return query.where(within, *of_source(sql, self.where), countable(sql, metric))

    def _level(self, table: TableName) -> sa.Select[Any]:
        sql, time = self.sql, instant_column(self.of.time.name)
        columns = [
            sql.bucket(self.interval, self.of.zone, sql.column(time)).label("t"),
            *(ref(label(column.name)).label(name) for name, column in places(self.of, self.groups).items()),
            ref(SKETCH_METRIC).label("metric"),
            ref(SKETCH_SIGN).label("sign"),
            ref(SKETCH_BIN).label("bin"),
            ref(SKETCH_COUNT).label("n"),
        ]
        within = between(sql, time, self.since, self.until)
        query = sa.select(*columns).select_from(table_ref(table))
        return query.where(within, *of_level(sql, self.where), of_metrics(self.metrics))


def countable(sql: Expressions, metric: Metric) -> Condition:
    """Source rows whose value has a bin."""
    return is_finite(as_type(sql.column(metric.column), DOUBLE))


def of_metrics(metrics: Iterable[Metric]) -> Condition:
    """Rows of a table with distributions that belong to some metrics."""
    return ref(SKETCH_METRIC).in_([metric.name for metric in metrics])
