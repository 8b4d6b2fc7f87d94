"""
Interprets a request to read a cascade: names become columns, defaults are filled in, and the time range is divided into
stretches, each answered by one table.

A stretch is answered by the coarsest level whose buckets fit into the step: it is the cheapest, and the answer is the
same, since stored states can be merged. Time that this level lacks is answered by the next finer one, down to the raw
rows. Time that only coarser levels have is answered by the finest of them, in its longer buckets. If finer levels still
have the end of such a bucket, they answer that end, and the coarser level the rest: its state less theirs.

Stretches end at bucket boundaries, so that no row is counted twice or omitted.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.catalog import Column, Value
from cratedb_retention.model.query.reading import MOST_POINTS, Cascade, FetchRequest, Holding, Reading, Stretch, Wanted
from cratedb_retention.model.rollups.aggregates import ANSWERS, PERCENTILES, find_formula
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.rollups.rollup import ROW_COUNT, Metric, find_columns
from cratedb_retention.model.time import DAY_MS, TimeRange, TimeRanges, show, to_ms
from cratedb_retention.planning.targets import Undecided, coerce

# Steps that are easy to read, all of them aligned to midnight.
_NICE = (
    *(Interval(seconds) for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)),
    *(Interval(hours * 3600) for hours in (1, 2, 3, 4, 6, 8, 12)),
    *(Interval(unit=unit) for unit in ("day", "week", "month", "year")),
)


def make_reading(cascade: Cascade, request: FetchRequest, now: dt.datetime, undivided: str = "") -> Reading:
    """
    Determine everything that a request leaves open. InvalidInput if it names something unknown, its range is invalid,
    or a requested value is not stored. If ``undivided`` gives a reason, longer buckets are read as a whole, even if
    finer levels still have their end.
    """
    metrics = cascade.metrics
    named = dict.fromkeys(want for text in request.metrics for want in _read(metrics, text))
    wanted = (*(named or (Wanted(metric, metric.answers[0]) for metric in metrics)),) or (Wanted(None, ROW_COUNT),)
    end = to_ms(request.end or now)
    start = to_ms(request.start) if request.start else end - DAY_MS
    step = request.step or choose_step(cascade, start, end, request.points)
    whole = whole_buckets(start, end, step, cascade.tzinfo)
    able = [one for one in cascade.holdings if not one.rollup or all(want.kept_by(one.rollup) for want in wanted)]
    untold = () if request.partly else [want.name for want in wanted if not want.follow_from_rest]
    undivided = undivided or (f"query from then on to see them, or without {', '.join(untold)}" if untold else "")
    stretches = find_stretches(cascade, able, whole, step, undivided)
    if len(able) < len(cascade.holdings):
        _check_kept(stretches, find_stretches(cascade, cascade.holdings, whole, step, undivided), wanted)
    return Reading(
        cascade=cascade,
        time=whole,
        step=step,
        wanted=wanted,
        by=tuple(dict.fromkeys(column for name in request.by for column in _dimensions(cascade, name, "by"))),
        where=tuple(_bind(cascade, request.where)),
        stretches=stretches,
        fill=request.fill,
    )


def _read(metrics: Sequence[Metric], text: str) -> list[Wanted]:
    """
    Parse ``temperature:avg``, ``temperature``, ``temperature:p95`` or ``row_count``. The name of an object stands for
    all of its fields, a metric alone for its increase if it is a counter in all series, else for its average.
    """

    def named(name: str) -> list[Metric]:
        columns = find_columns([metric.column for metric in metrics], name)
        return [metric for metric in metrics if metric.column in columns]

    if whole := named(text):  # A column's name may hold a colon.
        return [Wanted(metric, metric.answers[0]) for metric in whole]
    if text == ROW_COUNT:
        return [Wanted(None, ROW_COUNT)]
    name, colon, aggregate = text.rpartition(":")
    found = named(name) if colon else []
    if not found:
        known = ", ".join(metric.name for metric in metrics) or "none"
        raise InvalidInput(f"metric {name or text!r}", "not found", f"choose from: {known}, {ROW_COUNT}")
    if find_formula(aggregate.lower()) is None:
        known = f"{', '.join(ANSWERS)} or {', '.join(PERCENTILES)}"
        raise InvalidInput(f"metric {text!r}", f"unknown aggregate {aggregate!r}", f"choose one of {known}")
    return [Wanted(metric, aggregate.lower()) for metric in found]


def _check_kept(stretches: Sequence[Stretch], possible: Sequence[Stretch], wanted: Iterable[Wanted]) -> None:
    """Raise InvalidInput if time is omitted only because the one level that has it does not store a requested value."""
    found = _ranges(stretches)
    for stretch in possible:
        rollup = stretch.holding.rollup
        if rollup is None or not TimeRanges([stretch.time]) - found:
            continue
        start, end = map(show, stretch.time)
        lacking = [f"{one.metric.name}:{one.aggregate}" for one in wanted if one.metric and not one.kept_by(rollup)]
        if lacking:
            raise InvalidInput(
                f"metric {', '.join(lacking)}",
                f"{start} to {end} is left only at level {rollup.interval}, which does not store it",
                "choose another aggregate, or another time range",
            )


def _dimensions(cascade: Cascade, name: str, role: str) -> list[Column]:
    found = find_columns(cascade.dimensions, name)
    if not found:
        known = ", ".join(column.name for column in cascade.dimensions) or "none"
        raise InvalidInput(f"{role} {name!r}", "not a dimension of the cascade", f"choose from: {known}")
    return found


def _bind(cascade: Cascade, where: Mapping[str, Value]) -> Iterator[tuple[Column, Value]]:
    for name, value in where.items():
        column, *others = _dimensions(cascade, name, "where")
        if others:
            there = ", ".join(each.name for each in (column, *others))
            raise InvalidInput(f"where {name!r}", "stands for several dimensions", f"choose one of them: {there}")
        try:
            yield column, coerce(column, value)
        except Undecided as error:
            raise InvalidInput("filter", str(error).removeprefix("where: ")) from None


def choose_step(cascade: Cascade, start: int, end: int, points: int) -> Interval:
    """The shortest easily readable interval that gives at most this number of points."""
    if not 1 <= points <= MOST_POINTS:
        raise InvalidInput("points", f"{points:,} is out of range", f"choose 1 to {MOST_POINTS:,}")
    least, zone = (end - start) / 1000 / points, cascade.tzinfo
    levels = [holding.rollup.interval for holding in cascade.holdings if holding.rollup]
    nice = sorted({*_NICE, *levels}, key=lambda interval: interval.approximate_seconds)
    long_enough = [interval for interval in nice if interval.approximate_seconds >= least] or nice[-1:]
    for step in long_enough:
        shorter = (level for level in levels if level.approximate_seconds <= step.approximate_seconds)
        if all(level.fits_into(step, zone) for level in shorter):
            return step
    return long_enough[0]


def whole_buckets(start: int, end: int, step: Interval, zone: dt.tzinfo) -> TimeRange:
    """Extend a range to whole buckets; InvalidInput if it is empty or has too many buckets."""
    if start >= end:
        raise InvalidInput("range", f"starts at {show(start)} and ends at {show(end)}", "choose a later end")
    points = (end - start) / 1000 / step.approximate_seconds
    if points > MOST_POINTS:
        many = f"gives {points:,.0f} points, more than {MOST_POINTS:,}"
        raise InvalidInput(f"step {step}", many, "choose a longer one")
    try:
        return TimeRange(step.floor(start, zone), step.ceiling(end, zone))
    except OverflowError:
        raise InvalidInput("range", "extends beyond the calendar", "choose another one") from None


def find_stretches(
    cascade: Cascade, holdings: Sequence[Holding], whole: TimeRange, step: Interval, undivided: str = ""
) -> tuple[Stretch, ...]:
    """
    Divide a range of whole buckets among the tables that have its data, which are given finest first. Stretches are in
    order of time. The rest of a bucket longer than the step is not divided further, so its stretch may extend beyond
    the range. Time without data is in no stretch. See :func:`make_reading` for ``undivided``.
    """
    division = _Division(zone=cascade.tzinfo, step=step, holdings=holdings, undivided=undivided)
    return tuple(sorted(division.stretches(whole), key=lambda stretch: stretch.time))


@dataclass(frozen=True, kw_only=True)
class _Division:
    zone: dt.tzinfo
    step: Interval
    holdings: Sequence[Holding]
    undivided: str

    def stretches(self, whole: TimeRange) -> list[Stretch]:
        fitting = [one for one in self.holdings if one.rollup is None or self._fits(one, self.step)]
        fine = [whole_part(holding, whole, self.zone) for holding in fitting]
        found = self._coarser(TimeRanges([whole]) - fine)
        taken = _ranges(found)
        for holding, range_ in reversed(list(zip(fitting, fine, strict=True))):
            found += [Stretch(holding=holding, time=left, interval=self.step) for left in TimeRanges([range_]) - taken]
            taken |= [range_]
        return found

    def _coarser(self, gaps: TimeRanges) -> list[Stretch]:
        """Fill gaps from levels with longer buckets, finest first: whole buckets, or their part before finer data."""
        parts: list[tuple[int, Holding, Interval, TimeRanges]] = []
        for place, holding in enumerate(self.holdings):
            if holding.rollup is not None and not self._fits(holding, self.step):
                held = TimeRanges(whole_part(holding, gap, self.zone, outward=True) for gap in gaps).joined()
                gaps = gaps - held
                parts.append((place, holding, holding.rollup.interval, held))
        found: list[Stretch] = []
        for place, holding, interval, held in reversed(parts):
            finer = [one for one in self.holdings[:place] if self._fits(one, interval)]
            for part in held - _ranges(found):
                found += self._divided(Stretch(holding=holding, time=part, interval=interval, coarser=True), finer)
        return found

    def _divided(self, whole: Stretch, finer: Sequence[Holding]) -> Iterator[Stretch]:
        """Whole longer buckets, or their rest if finer levels have their end."""
        starts = [one.start for one in finer if one.start is not None and whole.time.contains(one.start)]
        begun = sorted({whole.interval.floor(start, self.zone) for start in starts})
        buckets = [TimeRange(start, whole.interval.end(start, self.zone)) for start in begun]
        ends = {bucket: end for bucket in buckets if (end := self._held_end(bucket, whole.interval, finer))}
        if self.undivided and ends:
            yield replace(whole, finer_from=next(iter(ends.values()))[0].time.start, undivided=self.undivided)
            return
        yield from (replace(whole, time=left) for left in TimeRanges([whole.time]) - ends)
        for bucket, held in ends.items():
            yield replace(whole, time=TimeRange(bucket.start, held[0].time.start), less=held)

    def _held_end(self, bucket: TimeRange, interval: Interval, finer: Sequence[Holding]) -> tuple[Stretch, ...]:
        """The end of a longer bucket in finer levels, in order of time; empty if they have all or nothing."""
        found: list[Stretch] = []
        for holding in reversed(finer):
            low, high = whole_part(holding, bucket, self.zone)
            # The rest and what follows it share no bucket of the answer.
            low = self.step.ceiling(low, self.zone) if self._fits(holding, self.step) else low
            left = TimeRanges([(low, high)]) - _ranges(found)
            found += [Stretch(holding=holding, time=part, interval=interval) for part in left]
        found.sort(key=lambda stretch: stretch.time)
        begins = found[0].time.start if found else bucket.end
        return tuple(found) if list(TimeRanges([bucket]) - _ranges(found)) == [(bucket.start, begins)] else ()

    def _fits(self, holding: Holding, interval: Interval) -> bool:
        return holding.rollup is not None and holding.rollup.interval.fits_into(interval, self.zone)


def _ranges(stretches: Iterable[Stretch]) -> TimeRanges:
    return TimeRanges(stretch.time for stretch in stretches)


def whole_part(holding: Holding, range_: TimeRange, zone: dt.tzinfo, outward: bool = False) -> TimeRange:
    """
    The part of a range that a table holds, in whole buckets of that table. ``outward`` extends the range to whole
    buckets; otherwise it must consist of whole buckets.
    """
    if holding.rollup is None:
        return range_ & TimeRange.of(holding.start, holding.end)
    interval = holding.rollup.interval
    if outward:
        range_ = TimeRange(interval.floor(range_.start, zone), interval.ceiling(range_.end, zone))
    start = None if holding.start is None else interval.ceiling(holding.start, zone)
    end = None if holding.end is None else interval.floor(holding.end, zone)
    return range_ & TimeRange.of(start, end)
