"""
Reads a cascade: plans which table answers which stretch, lets the database aggregate, puts the parts together, and
fills buckets without data. And what is told of a cascade beside its data: which tables a user may see, and which values
there are.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import localcontext
from itertools import pairwise
from typing import Any

from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.freshness import follow_late_rows
from cratedb_retention.model.access import Realm
from cratedb_retention.model.aggregates import Number, Reader, State, divided, merged, rest_of
from cratedb_retention.model.areas import Area, area_of, make_area
from cratedb_retention.model.cascade import Interval
from cratedb_retention.model.catalog import TableName, Value
from cratedb_retention.model.exploring import Explorable
from cratedb_retention.model.reading import (
    Cascade,
    Fetched,
    FetchRequest,
    Fill,
    Group,
    Partial,
    Reading,
    Row,
    Stretch,
    Wanted,
)
from cratedb_retention.model.rollup import ROW_COUNT, Metric, label, level_column
from cratedb_retention.model.time import TimeRanges, from_ms, to_ms
from cratedb_retention.planning.query import make_reading

# More than any sum of the databases' decimals has, so that none is rounded.
_DIGITS = 80
_MOST_ROWS = 1_000_000
_NOT_ADDING_UP = "ask from then on to see them; they do not add up to it, verify-rollups says where"


@dataclass(kw_only=True)
class Merged:
    """What is known of one bucket and group."""

    seconds: float  # The length of the bucket, as far as it has passed
    rows: int = 0
    levels: dict[str, None] = field(default_factory=dict)  # The names of the tables that it is from
    states: dict[Metric, State] = field(default_factory=dict)

    def add(self, found: Partial, level: str) -> None:
        """Add what a later stretch knows."""
        self.rows += found.rows
        self.levels[level] = None
        for metric, state in found.states.items():
            self.states[metric] = merged(self.states.get(metric, {}), dict(state))

    def without(self, part: Merged, seconds: float) -> Merged | None:
        """
        What the rest of a bucket has; None if the bucket and the other part of it do not add up.

        :param seconds: The length of the rest.
        """
        rest = Merged(seconds=seconds, rows=self.rows - part.rows, levels=self.levels)
        for metric in {**self.states, **part.states}:
            left = rest_of(self.states.get(metric, {}), part.states.get(metric, {}), rest.rows)
            if left is None:
                return None
            rest.states[metric] = left
        return rest if rest.rows >= 0 else None

    def value(self, want: Wanted) -> Number:
        """One value of the answer; None where nothing is known."""
        if want.metric is None or want.formula is None:
            return self.rows
        return Reader(self.seconds).read(want.formula, self.states.get(want.metric, {}))


Buckets = dict[tuple[int, Group], Merged]
Values = tuple[Number, ...]


def fetch(engine: Engine, cascade: Cascade, request: FetchRequest, now: dt.datetime) -> Fetched:
    """
    Answer a request from the tables of a cascade, in one statement for each stretch, and one more where percentiles are
    asked; two more count what a level has where raw rows are there, too.

    :param now: The present instant, aware.
    :raises InvalidInput: if the request makes no sense.
    """
    with localcontext(prec=_DIGITS):
        return _fetch(engine, cascade, request, now)


def _fetch(engine: Engine, cascade: Cascade, request: FetchRequest, now: dt.datetime) -> Fetched:
    reading = make_reading(cascade, request, now)
    rests = _read_rests(engine, reading, to_ms(now))
    if rests is None:
        reading, rests = make_reading(cascade, request, now, _NOT_ADDING_UP), {}
    reading = follow_late_rows(engine, reading)
    plain = [stretch for stretch in reading.stretches if not stretch.less]
    return _answer(reading, rests | _read(engine, reading, plain, to_ms(now)))


def _read_rests(engine: Engine, reading: Reading, now: int) -> Buckets | None:
    """What is left of longer buckets without what finer levels have of them; None if they do not add up."""
    rests: Buckets = {}
    for stretch in reading.stretches:
        if not stretch.less:
            continue
        whole = _read(engine, reading, [stretch.whole], now)
        part = _read(engine, reading, stretch.less, now)
        if not part.keys() <= whole.keys():
            return None
        for key, found in whole.items():
            rest = found.without(part.get(key, Merged(seconds=0)), (stretch.end - stretch.start) / 1000)
            if rest is None:
                return None
            if rest.rows:
                rests[key] = rest
    return rests


def _read(engine: Engine, reading: Reading, stretches: Iterable[Stretch], now: int) -> Buckets:
    known: Buckets = {}
    for stretch in stretches:
        for found in engine.read(reading, stretch):
            _bucket(known, reading, stretch, found.bucket, found.group, now).add(found, stretch.holding.name)
    return known


def _bucket(known: Buckets, reading: Reading, stretch: Stretch, start: int, group: Group, now: int) -> Merged:
    """
    The bucket that a row of the database belongs to.

    What begins a day where the clocks skip midnight is a matter of opinion; here it is ours.
    """
    zone = reading.cascade.tzinfo
    start = stretch.interval.floor(start, zone)
    if (start, group) not in known:
        end = min(stretch.interval.end(start, zone), max(now, start))
        known[start, group] = Merged(seconds=(end - start) / 1000)
    return known[start, group]


def _answer(reading: Reading, buckets: Buckets) -> Fetched:
    known: dict[tuple[int, Group], Values] = {
        key: tuple(found.value(want) for want in reading.wanted) for key, found in buckets.items()
    }
    groups = sorted({group for _, group in buckets}, key=_order)
    rank = {group: i for i, group in enumerate(groups)}
    filled = fill(known, reading, groups)
    zone = reading.cascade.tzinfo
    rows: list[Row] = []
    for bucket, group in sorted(filled, key=lambda key: (key[0], rank[key[1]])):
        found = buckets.get((bucket, group))
        level = "+".join(found.levels) if found else None
        rows.append((from_ms(bucket).astimezone(zone), *group, *filled[bucket, group], level))
    spans = [(stretch.start, stretch.end) for stretch in reading.stretches]
    return Fetched(
        columns=_columns(reading),
        rows=tuple(rows),
        keys=len(reading.by),
        step=reading.step,
        start=reading.start,
        end=reading.end,
        stretches=reading.stretches,
        gaps=tuple(TimeRanges([(reading.start, reading.end)]) - spans),
    )


def _columns(reading: Reading) -> tuple[str, ...]:
    dimensions = (label(column.name) for column in reading.by)
    columns = (reading.cascade.time_name, *dimensions, *(want.name for want in reading.wanted))
    return (*columns, level_column(columns))


def _order(group: Group) -> tuple[tuple[bool, bool, float, str], ...]:
    """Numbers by value, the rest as text, NULL last."""
    return tuple(
        (value is None, isinstance(value, str), value if isinstance(value, int | float) else 0.0, str(value))
        for value in group
    )


def all_buckets(reading: Reading) -> list[int]:
    """The starts of all buckets of a range: those of the step, and longer ones where only such are left."""
    zone = reading.cascade.tzinfo
    coarser = [stretch for stretch in reading.stretches if stretch.coarser]
    found = {bucket for s in coarser for bucket in _buckets(s.start, s.end, s.interval, zone)}
    for start, end in TimeRanges([(reading.start, reading.end)]) - [(s.start, s.end) for s in coarser]:
        found.update(_buckets(reading.step.floor(start, zone), end, reading.step, zone))
    return sorted(found)


def _buckets(start: int, end: int, interval: Interval, zone: dt.tzinfo) -> Iterator[int]:
    while start < end:
        yield start
        start = interval.end(start, zone)


def fill(
    known: dict[tuple[int, Group], Values], reading: Reading, groups: Sequence[Group]
) -> dict[tuple[int, Group], Values]:
    """
    Values of buckets that have none, for each group by itself.

    :param known: Values by bucket and group.
    :raises InvalidInput: if that would be far too many rows.
    """
    if reading.fill is Fill.NONE:
        return known
    buckets = sorted({*all_buckets(reading), *(bucket for bucket, _ in known)})
    if len(buckets) * len(groups) > _MOST_ROWS:
        raise InvalidInput("fill", f"it gives more than {_MOST_ROWS:,} rows", "choose a longer step, or fewer groups")
    width = len(reading.wanted)
    found = {}
    for group in groups:
        rows = [known.get((bucket, group), (None,) * width) for bucket in buckets]
        columns = [_filled(reading.fill, buckets, [row[i] for row in rows]) for i in range(width)]
        found.update({(bucket, group): values for bucket, *values in zip(buckets, *columns, strict=True)})
    return {key: tuple(values) for key, values in found.items()}


def _filled(how: Fill, buckets: Sequence[int], values: list[Number]) -> list[Number]:
    filled = list(values)
    known = [i for i, value in enumerate(values) if value is not None]
    if how is Fill.PREVIOUS:
        for i in range(1, len(filled)):
            filled[i] = filled[i - 1] if filled[i] is None else filled[i]
    if how is Fill.LINEAR:
        for left, right in pairwise(known):
            for i in range(left + 1, right):
                passed, length = buckets[i] - buckets[left], buckets[right] - buckets[left]
                filled[i] = _between(values[left], values[right], passed, length)
    return filled


def _between(left: Any, right: Any, passed: int, length: int) -> Any:
    return left + divided((right - left) * passed, length)


def explorable(tables: Iterable[TableName], realm: Realm) -> list[Explorable]:
    """The tables that a user may read at least a part of, in their order."""
    return [found for table in tables if (found := _seen(table, realm)) is not None]


def _seen(table: TableName, realm: Realm) -> Explorable | None:
    whole = make_area(table.schema, table.name, {}, realm.default_schema)
    if realm.covers(whole):
        return Explorable(table)
    areas = (area_of(policy, realm.default_schema) for policy in realm.policies)
    narrowed = [Area(table.schema, table.name, area.where) for area in areas]
    theirs = [area for area in narrowed if realm.covers(area)]
    fewest = min(theirs, key=lambda area: len(area.where), default=None)
    return Explorable(table, dict(sorted(fewest.where))) if fewest else None


def suggest_values(
    engine: Engine, cascade: Cascade, request: FetchRequest, now: dt.datetime, limit: int
) -> list[Value]:
    """
    Some values of a dimension, from the coarsest level, in one statement.

    :param request: Its range, its filter, and the dimension as ``by``.
    :param now: The present instant, aware.
    :raises InvalidInput: if the request makes no sense.
    """
    asked = replace(request, metrics=(ROW_COUNT,), points=1, step=None)
    reading = make_reading(cascade, asked, now)
    longest = max(reading.stretches, key=lambda stretch: stretch.end - stretch.start, default=None)
    return sorted(engine.read_values(reading, longest, limit), key=str) if longest else []
