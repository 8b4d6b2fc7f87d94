"""Reads one stretch of a cascade: states by bucket and group, to be merged with those of other stretches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.database import Database
from cratedb_retention.engine.expressions import Expressions, between, decimal_sum, ref, table_ref
from cratedb_retention.engine.rollups.states import Before, LevelRows, Samples, Selection, Sketches, fits
from cratedb_retention.model.catalog import Value
from cratedb_retention.model.query.reading import Group, Reading, Stretch, Wanted
from cratedb_retention.model.rollups.aggregates import Kind, Number, Part, Reader, State, merged, rest_of
from cratedb_retention.model.rollups.rollup import Metric, label
from cratedb_retention.model.time import TimeRange

# How far back values of counters before a stretch are looked up first: a day (ms), or a number of buckets of a level.
_LOOK_BACK, _BUCKETS = 86_400_000, 2000
Key = tuple[int, Group]  # the start of a bucket, and the values of ``by``


@dataclass(slots=True, kw_only=True)
class Partial:
    """The states of one bucket and group, from one stretch or from several."""

    key: Key
    rows: int = 0  # number of raw rows; 0 if they are counted in another partial
    states: dict[Metric, State] = field(default_factory=dict)
    levels: dict[str, None] = field(default_factory=dict)  # the names of the source tables
    seconds: float = 0  # the length of the bucket; up to now for the present one

    def add(self, found: Partial, level: str) -> None:
        """Merge the states of a later stretch."""
        self.rows += found.rows
        self.levels[level] = None
        for metric, state in found.states.items():
            self.states[metric] = merged(self.states.get(metric, {}), dict(state))

    def without(self, part: Partial, seconds: float) -> Partial | None:
        """The rest of a bucket without a part, ``seconds`` long; None if the two are inconsistent."""
        rest = replace(self, seconds=seconds, rows=self.rows - part.rows, states={})
        for metric in {**self.states, **part.states}:
            left = rest_of(self.states.get(metric, {}), part.states.get(metric, {}), rest.rows)
            if left is None:
                return None
            rest.states[metric] = left
        return rest if rest.rows >= 0 else None

    def value(self, want: Wanted) -> Number:
        """One value of the answer; None if unknown."""
        if want.metric is None or want.formula is None:
            return self.rows
        return Reader(self.seconds).read(want.formula, self.states.get(want.metric, {}))


def read_stretch(
    database: Database, sql: Expressions, reading: Reading, stretch: Stretch, given: Sequence[Sequence[Any]] = ()
) -> Iterator[Partial]:
    """
    The states of a stretch, by one statement; distributions need another one.

    :param given: The last values of counters before the stretch that are in another place, see :func:`read_last`.
    """
    plain = _plain_parts(reading)
    width, parts = len(reading.by), [(metric, part) for metric, found in plain.items() for part in found]
    what: dict[str, Any] = {"sql": sql, "of": reading.cascade, "interval": stretch.interval, "groups": reading.by}
    what |= {"time": stretch.time, "where": reading.where}
    for start, *row in database.rows(_stretch_query(reading, stretch, what | {"metrics": plain}, given)):
        states: dict[Metric, dict[Part, Any]] = {metric: {} for metric in plain}
        for (metric, part), value in zip(parts, row[width + 1 :], strict=True):
            # Integers stay integers; others become floats, also those that JSON writes as text (NaN, Infinity).
            same = value is None or isinstance(value, int | float)
            states[metric][part] = value if same else Decimal(value) if _is_exact(metric, part) else float(value)
        yield Partial(key=(int(start), tuple(row[:width])), rows=int(row[width]), states=states)
    if sketched := {metric.name: metric for metric, found in reading.parts.items() if Part.BINS in found}:
        metrics = dict.fromkeys(sketched.values(), (Part.BINS,))
        table = stretch.holding.rollup.sketch if stretch.holding.rollup else None
        select = Sketches(**what, table=table, metrics=metrics)
        bins = select.grouped()
        columns = [bins.c[name] for name in (*select.names, "metric", "sign", "bin", "n")]
        counts: dict[tuple[Key, str], Counter[tuple[int, int]]] = {}
        for start, *group, name, sign, index, count in database.rows(sa.select(sql.epoch_ms(bins.c.t), *columns)):
            counts.setdefault(((int(start), tuple(group)), name), Counter())[int(sign), int(index)] += int(count)
        for (key, name), counter in counts.items():
            yield Partial(key=key, states={sketched[name]: {Part.BINS: counter}})


def _plain_parts(reading: Reading) -> dict[Metric, Sequence[Part]]:
    return {metric: [part for part in parts if part is not Part.BINS] for metric, parts in reading.parts.items()}


def read_last(database: Database, sql: Expressions, reading: Reading, end: int) -> list[Sequence[Any]]:
    """The last value of each counter and series before an instant, in raw rows: the time (ms), dimensions, values."""
    what: dict[str, Any] = {"sql": sql, "of": reading.cascade, "interval": reading.step, "groups": ()}
    what |= {"time": TimeRange(end, end), "where": reading.where, "metrics": _plain_parts(reading)}
    samples, every = Samples(**what), list[Sequence[Any]]()
    for place in samples.counters:
        last = samples.last_of_source(Before(level=None, start=None, end=end), place).subquery("l")
        dimensions = [last.c[f"d{i}"] for i in range(len(reading.cascade.dimensions))]
        values = (last.c[f"m{i}"] for i in samples.counters)
        every += database.rows(sa.select(sql.epoch_ms(last.c.ts), *dimensions, *values))
    return every


def read_values(database: Database, sql: Expressions, reading: Reading, stretch: Stretch, limit: int) -> list[Value]:
    """Values of the first dimension of a reading that occur in a stretch, by one statement."""
    rollup, dimension = stretch.holding.rollup, reading.by[0]
    column = ref(label(dimension.name)) if rollup else sql.column(dimension)
    time = rollup.own_time if rollup else reading.cascade.time
    conditions = *between(sql, time, *stretch.time), *fits(sql, reading.where, in_level=rollup is not None)
    query = sa.select(column).select_from(table_ref(stretch.holding.table)).where(*conditions).distinct().limit(limit)
    return [row[0] for row in database.rows(query)]


def _is_exact(metric: Metric, part: Part) -> bool:
    return part.kind in (Kind.VALUE, Kind.SUM) and decimal_sum(metric.column.type) is not None


def _stretch_query(
    reading: Reading, stretch: Stretch, what: dict[str, Any], given: Sequence[Sequence[Any]]
) -> sa.Select[Any]:
    """Bucket (ms), groups, number of raw rows, parts of states; exact ones as text, which drivers do not round."""
    rows: Selection = LevelRows(**what, table=stretch.holding.table)
    if stretch.holding.rollup is None:
        counters = {metric.name for metric, parts in rows.metrics.items() if Part.INCREASE in parts}
        before = _before(reading, stretch, counters) if counters else ()
        rows = Samples(**what, before=before, given=given if counters else ())
    found = rows.grouped()
    named = ((f"m{i}_{part}", m, part) for i, (m, parts) in enumerate(rows.metrics.items()) for part in parts)
    values = (sa.cast(found.c[n], sa.Text()) if _is_exact(m, part) else found.c[n] for n, m, part in named)
    return sa.select(rows.sql.epoch_ms(found.c.t), *(found.c[name] for name in rows.names), found.c.n, *values)


def _before(reading: Reading, stretch: Stretch, counters: set[str]) -> list[Before]:
    """
    Where to look up values of counters before a stretch: in the last buckets of the finest level that covers the time
    just before it, since a level has few rows, else in the raw rows; then in older data.
    """
    start, holdings = stretch.time.start, reading.cascade.holdings
    levels = [
        (holding, holding.rollup)
        for holding in holdings
        if holding.rollup and counters <= {metric.name for metric in holding.rollup.metrics}
    ]
    near = Before(level=None, start=start - _LOOK_BACK, end=start)
    begins = next((holding.start for holding in holdings if holding.rollup is None), start)
    for place, (holding, rollup) in enumerate(levels):
        end = rollup.interval.floor(start, reading.cascade.tzinfo)
        if (holding.start or end - 1) < end and (holding.end is None or holding.end >= end):
            length = max(_LOOK_BACK, _BUCKETS * rollup.interval.approximate_seconds)
            near, begins, levels = Before(level=rollup, start=end - length, end=end), holding.start, levels[place + 1 :]
            break
    found = [near, replace(near, start=None)]
    for holding, rollup in levels:  # Each has data that a finer one no longer has.
        if begins is not None:
            found.append(Before(level=rollup, start=None, end=min(begins, rollup.interval.floor(start, rollup.tzinfo))))
            begins = holding.start
    return found
