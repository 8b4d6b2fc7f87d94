"""
The query of a stretch that raw rows answer.

What a counter grew by begins at the row before, also at the first row of the stretch. The row before that one is not
read, but its value: from the last bucket of a level, where one holds it, since a level has few rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.expressions import is_aware, table_ref
from cratedb_retention.engine.reading_parts import (
    LEVEL_TIME,
    Expression,
    at_end,
    bucket,
    by_metric,
    double,
    merged,
    names_in,
    own_column,
    squares,
    within,
)
from cratedb_retention.engine.rollup_columns import RollupSQL
from cratedb_retention.model.catalog import Column, Kind
from cratedb_retention.model.reading import Kept, Reading, Stretch
from cratedb_retention.model.rollup import Metric, Rollup

# A counter that was silent for longer begins anew at the first row of a stretch.
_LOOKBACK_MS = 86_400_000


def raw_query(sql: RollupSQL, reading: Reading, stretch: Stretch) -> sa.Select[Any]:
    """Bucket, groups, number of rows, partial aggregates."""
    return _RawQuery(sql, reading, stretch).select()


@dataclass(frozen=True)
class _Before:
    """
    Where the values before a stretch are read.

    :param rollup: From this level; None: from the raw rows.
    :param start: From this instant on.
    :param end: Before this one, where raw rows follow.
    """

    rollup: Rollup | None
    start: int
    end: int


class _RawQuery:
    """
    Three queries, one within the other: rows as ``t``, ``d0``, ``m0``; beside each its bucket and what needs other rows
    of its bucket or series; and what is aggregated of these.
    """

    def __init__(self, sql: RollupSQL, reading: Reading, stretch: Stretch) -> None:
        self.sql, self.reading, self.stretch = sql, reading, stretch
        self.names = names_in(reading, None)
        # As it is within the query, where whole numbers are timestamps.
        self.time = Column("t", LEVEL_TIME, Kind.TIME) if self.names.time.unit else self.names.time
        self.metrics = by_metric(reading)
        self.counters = [metric for metric, kept in self.metrics.items() if Kept.INCREASE in kept]

    def select(self) -> sa.Select[Any]:
        """The outermost query."""
        inner = self._with_neighbours().subquery("r")
        numbers = {metric: i for i, metric in enumerate(self.metrics)}
        values = [self._aggregate(inner.c, f"m{numbers[metric]}", metric, kept) for metric, kept in self.reading.parts]
        named = [inner.c.b, *(inner.c[f"g{i}"] for i in range(len(self.reading.by)))]
        query = sa.select(*named, sa.func.count(), *values).group_by(*named)
        return query.where(self._inside(inner.c.t)) if self.counters else query

    def _inside(self, time: Expression) -> Expression:
        inside: Expression = time >= self.sql.value(self.time, self.stretch.start)
        return inside

    # The innermost query

    def _rows(self) -> sa.FromClause:
        before = self._before() if self.counters else None
        start = before.end if before else self.stretch.start
        columns = [
            self._moment(self.names.time).label("t"),
            *(self.sql.column(column).label(f"d{i}") for i, column in enumerate(self.names.dimensions.values())),
            *(self._number(metric).label(f"m{i}") for i, metric in enumerate(self.metrics)),
        ]
        conditions = within(self.sql, self.reading, self.names, start, self.stretch.end)
        rows = sa.select(*columns).select_from(table_ref(self.names.table)).where(*conditions)
        if before is None:
            return rows.subquery("u")
        return sa.union_all(rows, *(self._last(before, metric) for metric in self.counters)).subquery("u")

    def _moment(self, time: Column) -> Expression:
        return self.sql.instant(time) if time.unit else self.sql.column(time)

    def _number(self, metric: Metric) -> Expression:
        """All branches of a UNION must agree in their types."""
        value = self.sql.column(metric.column)
        return double(value) if self.counters else value

    def _before(self) -> _Before:
        """The finest level that holds what is before the stretch, else the raw rows."""
        start, zone = self.stretch.start, self.reading.cascade.tzinfo
        for holding in self.reading.cascade.holdings:
            rollup = holding.rollup
            end = rollup.interval.floor(start, zone) if rollup else start
            held = (holding.start or end - 1) < end and (holding.end is None or holding.end >= end)
            if rollup and held and {metric.name for metric in self.counters} <= {m.name for m in rollup.metrics}:
                return _Before(rollup, end - max(_LOOKBACK_MS, 2000 * rollup.interval.approximate_seconds), end)
        return _Before(None, start - _LOOKBACK_MS, start)

    def _last(self, before: _Before, counter: Metric) -> sa.Select[Any]:
        """The last value of each series before the stretch, as if it were a row."""
        names = names_in(self.reading, before.rollup)
        time = self._moment(names.time)
        value = own_column(counter.named(Kept.LAST)) if before.rollup else self.sql.column(counter.column)
        dimensions = [self.sql.column(column) for column in names.dimensions.values()]
        # A level's time has a time zone; the source's may have none.
        kind = sa.TIMESTAMP(timezone=is_aware(self.time))
        values = (at_end(double(value), time, Kept.LAST) if m == counter else _nothing() for m in self.metrics)
        return (
            sa.select(sa.cast(sa.func.max(time), kind), *dimensions, *values)
            .select_from(table_ref(names.table))
            .where(*within(self.sql, self.reading, names, before.start, before.end), value.is_not(None))
            .group_by(*dimensions)
        )

    # The middle one

    def _with_neighbours(self) -> sa.Select[Any]:
        rows = self._rows()
        positions = {name: i for i, name in enumerate(self.names.dimensions)}
        start = bucket(self.sql, self.reading, self.stretch, rows.c.t, self.time)
        groups = [rows.c[f"d{positions[column.name]}"] for column in self.reading.by]
        columns = [start.label("b"), *(group.label(f"g{i}") for i, group in enumerate(groups)), rows.c.t]
        return sa.select(*columns, *self._values(rows, [start, *groups])).select_from(rows)

    def _values(self, rows: sa.FromClause, keys: list[Expression]) -> Iterator[Expression]:
        for i, wanted in enumerate(self.metrics.values()):
            value = rows.c[f"m{i}"]
            yield value
            if Kept.M2 in wanted:
                yield sa.func.avg(double(value)).over(partition_by=keys).label(f"m{i}_mean")
            if Kept.INCREASE in wanted:
                yield self._increase(rows, value).label(f"m{i}_increase")

    def _increase(self, rows: sa.FromClause, value: Expression) -> Expression:
        """How much a counter grew since the row before of its series; when it fell, it was set back to 0."""
        series = [rows.c[f"d{i}"] for i in range(len(self.names.dimensions))]
        # Rows without a value are a series of their own, so that they don't stand between the others.
        before = sa.func.lag(value).over(partition_by=[*series, value.is_(None)], order_by=rows.c.t)
        return sa.case((value >= before, value - before), (value < before, value))

    # The outermost one

    def _aggregate(self, c: Any, name: str, metric: Metric, kept: Kept) -> Expression:
        value = c[name]
        match kept:
            case Kept.COUNT:
                return sa.func.count(value)
            case Kept.M2:
                weight = sa.case((value.is_not(None), 1.0), else_=0.0)
                return squares(self.sql, double(value) - c[f"{name}_mean"], weight)
            case Kept.INCREASE:
                # A counter that has values grew by 0 where nothing stands before them.
                grown = sa.func.coalesce(sa.func.sum(c[f"{name}_increase"]), 0.0)
                return sa.case((sa.func.count(value) > 0, grown))
            case _:
                return merged(self.sql, metric, value, c.t, kept)


def _nothing() -> Expression:
    return sa.cast(sa.null(), sa.Double())
