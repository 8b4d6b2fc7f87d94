"""
Reads a cascade: chooses a table for each time range, lets the database aggregate, merges the parts, and fills empty
buckets. Also: the tables that a user may read, and values of dimensions.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import localcontext
from itertools import pairwise
from typing import Any

from cratedb_retention.engine.base import Engine
from cratedb_retention.engine.query import Key, Partial, read_stretch, read_values
from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.access import Area, Visibility, area_of, make_area
from cratedb_retention.model.catalog import TableName, Value
from cratedb_retention.model.query.reading import Cascade, Fetched, FetchRequest, Fill, Reading, Stretch, join_stretches
from cratedb_retention.model.rollups.aggregates import Number, Part, divided
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.rollups.rollup import ROW_COUNT, Rollup, Window, label, level_column
from cratedb_retention.model.time import TimeRange, TimeRanges, from_ms, to_ms
from cratedb_retention.planning.query import make_reading
from cratedb_retention.planning.rollups.windows import part_length

# More digits than sums of decimals have in the databases, so that none is rounded.
_DIGITS = 80
_MOST_ROWS = 1_000_000
# Parts into which a time range is divided to find late rows.
_MOST_PARTS = 300
_NOT_ADDING_UP = "request only the time from then on to see them; they do not add up to it, see verify-rollups"


Buckets = dict[Key, Partial]
Values = tuple[Number, ...]


def fetch(engine: Engine, cascade: Cascade, request: FetchRequest, now: dt.datetime) -> Fetched:
    """
    Answer a request from the tables of a cascade: one statement for each stretch, another one for percentiles, and two
    to count rows where a level and raw rows overlap. InvalidInput if the request is invalid.
    """
    with localcontext(prec=_DIGITS):
        reading = make_reading(cascade, request, now)
        rests = _read_rests(engine, reading, to_ms(now))
        if rests is None:
            reading, rests = make_reading(cascade, request, now, _NOT_ADDING_UP), {}
        reading = _follow_late_rows(engine, reading)
        plain = [stretch for stretch in reading.stretches if not stretch.less]
        return _answer(reading, rests | _read(engine, reading, plain, to_ms(now)))


def _read_rests(engine: Engine, reading: Reading, now: int) -> Buckets | None:
    """Longer buckets without the rows that finer levels have of them; None if they do not add up."""
    rests: Buckets = {}
    for stretch in (stretch for stretch in reading.stretches if stretch.less):
        whole = _read(engine, reading, [stretch.whole], now)
        part = _read(engine, reading, stretch.less, now)
        if not part.keys() <= whole.keys():
            return None
        for key, found in whole.items():
            rest = found.without(part.get(key, Partial(key=key)), (stretch.time.end - stretch.time.start) / 1000)
            if rest is None:
                return None
            rests.update({key: rest} if rest.rows else {})
    return rests


def _read(engine: Engine, reading: Reading, stretches: Iterable[Stretch], now: int) -> Buckets:
    known: Buckets = {}
    zone = reading.cascade.tzinfo
    for stretch in stretches:
        for found in read_stretch(engine.database, engine.sql, reading, stretch):
            # Databases differ in when a day begins if clocks skip midnight; the toolkit's rule applies.
            bucket, group = found.key
            start = stretch.interval.floor(bucket, zone)
            key = start, group
            if key not in known:
                end = min(stretch.interval.end(start, zone), max(now, start))
                known[key] = Partial(key=key, seconds=(end - start) / 1000)
            known[key].add(found, stretch.holding.name)
    return known


def _follow_late_rows(engine: Engine, reading: Reading) -> Reading:
    """
    Read raw rows instead of levels where rows arrived after their bucket was computed, until the next run. Rows of both
    are counted, which is much cheaper than to aggregate them. Only the next run notices rows that were changed,
    replaced or deleted.
    """
    raw = next((holding for holding in reading.cascade.holdings if holding.rollup is None), None)
    if raw is None:
        return reading

    def parts(stretch: Stretch) -> list[Stretch]:
        rollup = stretch.holding.rollup
        if rollup is None or stretch.coarser:
            return [stretch]
        start = stretch.time.start if raw.start is None else max(stretch.time.start, raw.start)
        stale = _stale(engine, rollup, TimeRange(rollup.interval.ceiling(start, rollup.tzinfo), stretch.time.end))
        fresh = [replace(stretch, time=part) for part in TimeRanges([stretch.time]) - stale]
        return [*fresh, *(replace(stretch, holding=raw, time=part) for part in stale)]

    stretches = [part for stretch in reading.stretches for part in parts(stretch)]
    if any(Part.INCREASE in parts for parts in reading.parts.values()):
        # The increase of a counter up to its next value depends on the late row.
        late = min((s.time.start for s in stretches if s.holding is raw and s not in reading.stretches), default=None)
        stretches = [replace(s, holding=raw) if late is not None and s.time.start >= late else s for s in stretches]
    return replace(reading, stretches=tuple(join_stretches(stretches)))


def _stale(engine: Engine, rollup: Rollup, within: TimeRange) -> TimeRanges:
    """Where a level accounts for fewer rows than exist. Where for more, rows expired or were deleted."""

    def counts(parts: Iterable[tuple[int, int]]) -> list[tuple[TimeRange, int, int]]:
        windows = [Window.of(start, end) for start, end in parts]
        raw, level = engine.counts(rollup).source(windows), engine.counts(rollup).level(windows)
        return [(TimeRange(w.start, w.end), raw[w], level[w].rows) for w in windows]

    if within.empty or all(raw in (0, level) for _, raw, level in counts([within])):
        return TimeRanges()
    length, zone = part_length(rollup, within.end - within.start, _MOST_PARTS), rollup.tzinfo
    starts = _buckets(length.floor(within.start, zone), within.end, length, zone)
    parts = pairwise([*(max(start, within.start) for start in starts), within.end])
    return TimeRanges(part for part, raw, level in counts(parts) if raw > level).joined()


def _answer(reading: Reading, buckets: Buckets) -> Fetched:
    known = {key: tuple(found.value(want) for want in reading.wanted) for key, found in buckets.items()}
    filled = known if reading.fill is Fill.NONE else _fill(known, reading)

    def order(group: tuple[Value, ...]) -> list[tuple[Any, ...]]:
        """Numbers by value, the rest as text, NULL last."""
        return [(v is None, isinstance(v, str), v if isinstance(v, int | float) else 0.0, str(v)) for v in group]

    rank = {group: place for place, group in enumerate(sorted({group for _, group in buckets}, key=order))}
    rows = []
    for start, group in sorted(filled, key=lambda key: (key[0], rank[key[1]])):
        levels = "+".join(buckets[start, group].levels) if (start, group) in buckets else None
        rows.append((from_ms(start).astimezone(reading.cascade.tzinfo), *group, *filled[start, group], levels))
    names = [*(label(column.name) for column in (reading.cascade.time, *reading.by)), *(w.name for w in reading.wanted)]
    return Fetched(
        columns=(*names, level_column(names)),
        rows=tuple(rows),
        keys=len(reading.by),
        step=reading.step,
        start=reading.time.start,
        end=reading.time.end,
        stretches=reading.stretches,
        gaps=tuple(TimeRanges([reading.time]) - (stretch.time for stretch in reading.stretches)),
    )


def _buckets(start: int, end: int, interval: Interval, zone: dt.tzinfo) -> Iterator[int]:
    while start < end:
        yield start
        start = interval.end(start, zone)


def _fill(known: dict[Key, Values], reading: Reading) -> dict[Key, Values]:
    """
    Add empty buckets, for each group separately: those of the step, or longer ones if only a coarser level remains.
    InvalidInput if there would be too many rows.
    """
    zone, step = reading.cascade.tzinfo, reading.step
    coarser = [stretch for stretch in reading.stretches if stretch.coarser]
    starts = {bucket for s in coarser for bucket in _buckets(*s.time, s.interval, zone)}
    for start, end in TimeRanges([reading.time]) - (s.time for s in coarser):
        starts.update(_buckets(step.floor(start, zone), end, step, zone))
    buckets = sorted({*starts, *(bucket for bucket, _ in known)})
    groups = {group for _, group in known}
    if len(buckets) * len(groups) > _MOST_ROWS:
        raise InvalidInput(
            "fill", f"the result has more than {_MOST_ROWS:,} rows", "choose a longer step, or fewer groups"
        )
    nothing = (None,) * len(reading.wanted)
    found: dict[Key, Values] = {}
    for group in groups:
        columns = zip(*(known.get((bucket, group), nothing) for bucket in buckets), strict=True)
        filled = zip(*(_filled(reading.fill, buckets, column) for column in columns), strict=True)
        found.update({(bucket, group): values for bucket, values in zip(buckets, filled, strict=True)})
    return found


def _filled(how: Fill, buckets: Sequence[int], values: Sequence[Number]) -> list[Number]:
    filled: list[Any] = list(values)
    if how is Fill.PREVIOUS:
        for i in range(1, len(filled)):
            filled[i] = filled[i - 1] if filled[i] is None else filled[i]
    if how is Fill.LINEAR:
        for left, right in pairwise([i for i, value in enumerate(values) if value is not None]):
            length, rise = buckets[right] - buckets[left], filled[right] - filled[left]
            for i in range(left + 1, right):
                filled[i] = filled[left] + divided(rise * (buckets[i] - buckets[left]), length)
    return filled


def readable(tables: Iterable[TableName], visibility: Visibility) -> dict[TableName, dict[str, str | None]]:
    """The tables that a user may read, each with the values to which the user's access is limited."""
    found: dict[TableName, dict[str, str | None]] = {}
    for table in tables:
        whole = make_area(table.schema, table.name, {}, visibility.default_schema)
        areas = (area_of(policy, visibility.default_schema) for policy in visibility.policies)
        narrowed = (Area(table.schema, table.name, area.where) for area in areas)
        mine: Iterable[Area] = [whole] if visibility.covers(whole) else filter(visibility.covers, narrowed)
        fewest = min(mine, key=lambda area: len(area.where), default=None)
        found.update({table: dict(sorted(fewest.where))} if fewest else {})
    return found


def suggest_values(
    engine: Engine, cascade: Cascade, request: FetchRequest, now: dt.datetime, limit: int
) -> list[Value]:
    """Some values of the dimension in ``by`` of a request, from one table, in one statement."""
    reading = make_reading(cascade, replace(request, metrics=(ROW_COUNT,), points=1, step=None), now)
    longest = max(reading.stretches, key=lambda stretch: stretch.time.end - stretch.time.start, default=None)
    values = read_values(engine.database, engine.sql, reading, longest, limit) if longest else []
    return sorted(values, key=str)
