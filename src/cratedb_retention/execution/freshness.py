"""
Rows that came after their bucket was computed: until the next run, the raw rows answer in place of the level.

Both are counted: a count of raw rows costs a database far less than to aggregate them. Rows that were changed, replaced
by as many others, or deleted are seen by the next run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from cratedb_retention.engine.base import Engine
from cratedb_retention.model.aggregates import Part
from cratedb_retention.model.cascade import Interval
from cratedb_retention.model.reading import Holding, Reading, Stretch
from cratedb_retention.model.rollup import Rollup, Window
from cratedb_retention.model.time import TimeRanges
from cratedb_retention.planning.windows import part_length

_MOST_PARTS = 300


def follow_late_rows(engine: Engine, reading: Reading) -> Reading:
    """The same reading, with raw rows instead of levels where the latter do not have all of them."""
    raw = next((holding for holding in reading.cascade.holdings if holding.rollup is None), None)
    if raw is None:
        return reading
    stretches = [part for stretch in reading.stretches for part in _parts(engine, raw, stretch)]
    if any(Part.INCREASE in parts for parts in reading.parts.values()):
        # How much a counter grew until its next value depends on the late one.
        late = min((s.start for s in stretches if s.holding is raw and s not in reading.stretches), default=None)
        stretches = [replace(s, holding=raw) if late is not None and s.start >= late else s for s in stretches]
    return replace(reading, stretches=tuple(_joined(stretches)))


def _joined(stretches: Iterable[Stretch]) -> Iterator[Stretch]:
    """In order of time, those that follow one another in the same table as one."""
    last: Stretch | None = None
    for stretch in sorted(stretches, key=lambda stretch: stretch.start):
        if last is not None and (last.holding, last.interval, last.end, last.less) == _joint(stretch):
            last = replace(last, end=stretch.end)
            continue
        if last is not None:
            yield last
        last = stretch
    if last is not None:
        yield last


def _joint(stretch: Stretch) -> tuple[Holding, Interval, int, tuple[Stretch, ...]]:
    return stretch.holding, stretch.interval, stretch.start, stretch.less


def _parts(engine: Engine, raw: Holding, stretch: Stretch) -> Iterator[Stretch]:
    rollup = stretch.holding.rollup
    start = stretch.start if raw.start is None else max(stretch.start, raw.start)
    if rollup is None or stretch.coarser:
        yield stretch
        return
    own = TimeRanges([(stretch.start, stretch.end)])
    stale = _stale(engine, rollup, rollup.interval.ceiling(start, rollup.tzinfo), stretch.end)
    yield from (replace(stretch, start=since, end=until) for since, until in own - stale)
    yield from (replace(stretch, holding=raw, start=since, end=until) for since, until in stale)


def _stale(engine: Engine, rollup: Rollup, start: int, end: int) -> TimeRanges:
    """Where a level has fewer rows than there are. Where it has more, they were expired or deleted."""
    if start >= end or all(raw in (0, level) for _, raw, level in _counts(engine, rollup, [(start, end)])):
        return TimeRanges()
    length, spans, at = part_length(rollup, end - start, _MOST_PARTS), [], start
    while at < end:
        following = min(length.end(length.floor(at, rollup.tzinfo), rollup.tzinfo), end)
        spans.append((at, following))
        at = following
    return TimeRanges(span for span, raw, level in _counts(engine, rollup, spans) if raw > level).joined()


def _counts(engine: Engine, rollup: Rollup, spans: Sequence[tuple[int, int]]) -> list[tuple[tuple[int, int], int, int]]:
    """Stretches of time, each with the rows that are there and those that a level stands for."""
    windows = [Window(start=start, end=end, since=start, until=end) for start, end in spans]
    raw, level = engine.count_source(rollup, windows), engine.count_windows(rollup, windows)
    return [((w.start, w.end), raw[w], level[w].source_rows) for w in windows]
