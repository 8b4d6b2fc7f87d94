"""
The query of a stretch that raw rows answer.

What a counter grew by begins at the value before, also at the first row of the stretch, however long ago that was. It
is read from the last bucket of a level, where one holds it, since a level has few rows; and only shortly before the
stretch, unless some series has no value there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.expressions import is_aware, table_ref
from cratedb_retention.engine.reading_parts import (
    Expression,
    bucket,
    by_metric,
    double,
    merged,
    names_in,
    own_column,
    squares,
    within,
    written,
)
from cratedb_retention.engine.rollup_columns import BIGINT, RollupSQL, as_type, finite, nonfinite, source_value
from cratedb_retention.engine.rollup_counters import counted_within, increase, lonely_series, position, previous_value
from cratedb_retention.model.catalog import Column, Kind
from cratedb_retention.model.reading import Holding, Kept, Reading, Stretch
from cratedb_retention.model.rollup import LEVEL_TIME, Aggregate, Metric, Rollup

_LOOKBACK_MS = 86_400_000


@dataclass(frozen=True)
class _Before:
    """
    Where the values before a stretch are read.

    :param rollup: From this level; None: from the raw rows.
    :param start: From this instant on; None: from the beginning.
    :param end: Before this one.
    """

    rollup: Rollup | None
    start: int | None
    end: int


class RawQuery:
    """
    Three queries, one within the other: rows as ``t``, ``d0``, ``m0``; beside each its bucket and what needs other rows
    of its bucket or series; and what is aggregated of these.

    :param far: Whether values of counters are looked for at any time before the stretch.
    """

    def __init__(self, sql: RollupSQL, reading: Reading, stretch: Stretch, far: bool) -> None:
        self.sql, self.reading, self.stretch, self._far = sql, reading, stretch, far
        self.names = names_in(reading, None)
        # As it is within the query, where whole numbers are timestamps.
        self.time = Column(name="t", type=LEVEL_TIME, kind=Kind.TIME) if self.names.time.unit else self.names.time
        self.metrics = by_metric(reading)
        self.counters = [metric for metric, kept in self.metrics.items() if Kept.INCREASE in kept]
        self.flagged = {i: metric for i, metric in enumerate(self.metrics) if Kept.NONFINITE in self.metrics[metric]}

    def select(self) -> sa.Select[Any]:
        """The outermost query."""
        inner = self._with_neighbours().subquery("r")
        numbers = {metric: i for i, metric in enumerate(self.metrics)}
        values = [
            written(metric, kept, self._aggregate(inner.c, f"m{numbers[metric]}", metric, kept))
            for metric, kept in self.reading.parts
        ]
        named = [inner.c.b, *(inner.c[f"g{i}"] for i in range(len(self.reading.by)))]
        query = sa.select(*named, sa.func.count(), *values).group_by(*named)
        return query.where(self._inside(inner.c.t)) if self.counters else query

    def lonely(self) -> sa.Select[Any]:
        """A row if some series of a counter has no value before the stretch."""
        rows = self._rows()
        values = [rows.c[f"m{i}"] for i, metric in enumerate(self.metrics) if metric in self.counters]
        return lonely_series(self._series(rows), rows.c.t, values, self.sql.value(self.time, self.stretch.start))

    def _inside(self, time: Expression) -> Expression:
        inside: Expression = time >= self.sql.value(self.time, self.stretch.start)
        return inside

    # The innermost query

    def _rows(self) -> sa.FromClause:
        before = self._before() if self.counters else []
        columns = [
            self._moment(self.names.time).label("t"),
            *(self.sql.column(column).label(f"d{i}") for i, column in enumerate(self.names.dimensions.values())),
            *(self._number(metric).label(f"m{i}") for i, metric in enumerate(self.metrics)),
            *(nonfinite(m.column, self.sql.column(m.column)).label(f"x{i}") for i, m in self.flagged.items()),
        ]
        start = min([self.stretch.start, *(found.end for found in before[:1])])
        conditions = within(self.sql, self.reading, self.names, start, self.stretch.end)
        rows = sa.select(*columns).select_from(table_ref(self.names.table)).where(*conditions)
        if not before:
            return rows.subquery("u")
        last = (self._last(found, metric) for found in before for metric in self.counters)
        return sa.union_all(rows, *last).subquery("u")

    def _moment(self, time: Column) -> Expression:
        return self.sql.instant(time) if time.unit else self.sql.column(time)

    def _number(self, metric: Metric) -> Expression:
        """All branches of a UNION must agree in their types."""
        column = metric.column
        return finite(column, source_value(self.sql, column) if self.counters else self.sql.column(column))

    def _before(self) -> list[_Before]:
        """The finest level that holds what is just before the stretch, else the raw rows; then what is older."""
        start, zone, cascade = self.stretch.start, self.reading.cascade.tzinfo, self.reading.cascade
        names = {metric.name for metric in self.counters}
        levels = [
            (holding, holding.rollup)
            for holding in cascade.holdings
            if holding.rollup and names <= {metric.name for metric in holding.rollup.metrics}
        ]
        found = _Before(None, start - _LOOKBACK_MS, start)
        begins = next((holding.start for holding in cascade.holdings if holding.rollup is None), start)
        for number, (holding, rollup) in enumerate(levels):
            end = rollup.interval.floor(start, zone)
            if (holding.start or end - 1) < end and (holding.end is None or holding.end >= end):
                length = max(_LOOKBACK_MS, 2000 * rollup.interval.approximate_seconds)
                found, begins, levels = _Before(rollup, end - length, end), holding.start, levels[number + 1 :]
                break
        return [replace(found, start=None), *_older(begins, start, levels)] if self._far else [found]

    def _last(self, before: _Before, counter: Metric) -> sa.Select[Any]:
        """The last value of each series before the stretch, as if it were a row."""
        names = names_in(self.reading, before.rollup)
        time = self._moment(names.time)
        # A level's time has a time zone; the source's may have none.
        kind = sa.TIMESTAMP(timezone=is_aware(self.time))
        dimensions = [self.sql.column(column).label(f"d{i}") for i, column in enumerate(names.dimensions.values())]
        reference = own_column(counter.named(Kept.LAST)) if before.rollup else self.sql.column(counter.column)
        value = finite(counter.column, reference)
        known = (
            sa.select(time.label("t"), *dimensions, value.label("v"))
            .add_columns(sa.func.max(time).over(partition_by=[column.element for column in dimensions]).label("last"))
            .select_from(table_ref(names.table))
            .where(*within(self.sql, self.reading, names, before.start, before.end), value.is_not(None))
            .subquery("k")
        )
        stored = as_type(sa.func.max(known.c.v), self.sql.stored_type(counter.column))
        values = [stored if m == counter else as_type(sa.null(), self.sql.stored_type(m.column)) for m in self.metrics]
        values += [as_type(sa.null(), BIGINT) for _ in self.flagged]
        keys = [known.c[f"d{i}"] for i in range(len(dimensions))]
        rows = sa.select(sa.cast(known.c.t, kind), *keys, *values).where(known.c.t == known.c.last)
        return rows.group_by(known.c.t, *keys)

    # The middle one

    def _with_neighbours(self) -> sa.Select[Any]:
        rows = self._rows()
        positions = {name: i for i, name in enumerate(self.names.dimensions)}
        start = bucket(self.sql, self.reading, self.stretch, rows.c.t, self.time)
        groups = [rows.c[f"d{positions[column.name]}"] for column in self.reading.by]
        columns = [start.label("b"), *(group.label(f"g{i}") for i, group in enumerate(groups)), rows.c.t]
        return sa.select(*columns, *self._values(rows, [start, *groups])).select_from(rows)

    def _values(self, rows: sa.FromClause, keys: list[Expression]) -> Iterator[Expression]:
        for i, (metric, wanted) in enumerate(self.metrics.items()):
            value = rows.c[f"m{i}"]
            yield value
            if Kept.NONFINITE in wanted:
                yield rows.c[f"x{i}"].label(f"m{i}_nonfinite")
            if Kept.M2 in wanted:
                yield sa.func.avg(double(value)).over(partition_by=keys).label(f"m{i}_mean")
            if Kept.INCREASE in wanted:
                before = previous_value(value, self._series(rows), rows.c.t)
                grown = counted_within(metric, lambda column: rows.c[self._position(column)], increase(value, before))
                yield grown.label(f"m{i}_increase")
            if metric.has(Aggregate.INCREASE):
                yield position(value, keys, rows.c.t).label(f"m{i}_position")

    def _series(self, rows: sa.FromClause) -> list[Expression]:
        return [rows.c[f"d{i}"] for i in range(len(self.names.dimensions))]

    def _position(self, column: Column) -> str:
        return f"d{list(self.names.dimensions).index(column.name)}"

    # The outermost one

    def _aggregate(self, c: Any, name: str, metric: Metric, kept: Kept) -> Expression:
        value = c[name]
        match kept:
            case Kept.COUNT:
                return sa.func.count(value)
            case Kept.NONFINITE:
                return sa.func.sum(c[f"{name}_nonfinite"])
            case Kept.M2:
                weight = sa.case((value.is_not(None), 1.0), else_=0.0)
                return squares(self.sql, double(value) - c[f"{name}_mean"], weight)
            case Kept.INCREASE:
                return self.sql.total(c[f"{name}_increase"])
            case _:
                # Of a counter's values at one instant the greatest is the last one, as in a level.
                order = c[f"{name}_position"] if metric.has(Aggregate.INCREASE) else c.t
                return merged(self.sql, metric, value, order, kept)


def _older(begins: int | None, start: int, levels: Sequence[tuple[Holding, Rollup]]) -> Iterator[_Before]:
    """The levels that have what a finer one has not any more, of the time before a stretch."""
    for holding, rollup in levels:
        if begins is None:
            return
        yield _Before(rollup, None, min(begins, rollup.interval.floor(start, rollup.tzinfo)))
        begins = holding.start
