"""
What a request to read a cascade means: names become columns, defaults are filled in, and each stretch of time gets the
table that answers it.

Each stretch is answered from the coarsest level whose buckets fit into the step: it is the cheapest, and gives the same
answer, since all that is kept can be merged. What that level does not hold, the next finer one answers, down to the raw
rows. What only coarser ones hold, the finest of these answers, in its own longer buckets. Where finer levels still have
the end of such a bucket, these answer that, and the coarser one the rest: what the bucket has less what they have.

Stretches end where buckets do, so that no row is counted twice or left out.
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

# What people count time in. All of them are cut from midnight.
_NICE = (
    *(Interval(seconds) for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)),
    *(Interval(hours * 3600) for hours in (1, 2, 3, 4, 6, 8, 12)),
    *(Interval(unit=unit) for unit in ("day", "week", "month", "year")),
)


def make_reading(cascade: Cascade, request: FetchRequest, now: dt.datetime, undivided: str = "") -> Reading:
    """
    Find out everything that a request leaves open. InvalidInput if it names what there is not, its range makes no
    sense, or what it wants is not kept. Where ``undivided`` says why, longer buckets are read as a whole, even where
    the end of them is left in shorter ones.
    """
    metrics = cascade.metrics
    named = dict.fromkeys(want for text in request.metrics for want in _read(metrics, text))
    wanted = (*(named or (Wanted(metric, metric.answers[0]) for metric in metrics)),) or (Wanted(None, ROW_COUNT),)
    end = to_ms(request.end or now)
    start = to_ms(request.start) if request.start else end - DAY_MS
    step = request.step or choose_step(cascade, start, end, request.points)
    whole = whole_buckets(start, end, step, cascade.tzinfo)
    able = [one for one in cascade.holdings if not one.rollup or all(want.kept_by(one.rollup) for want in wanted)]
    untold = () if request.partly else [want.name for want in wanted if not want.told_by_rest]
    undivided = undivided or (f"ask from then on to see them, or without {', '.join(untold)}" if untold else "")
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
    What ``temperature:avg``, ``temperature``, ``temperature:p95`` or ``row_count`` asks for. The name of an object
    stands for all that is in it, a metric alone for its increase if it is a counter in all series, else its average.
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
        raise InvalidInput(f"metric {name or text!r}", "there is none of this name", f"there are: {known}, {ROW_COUNT}")
    if find_formula(aggregate.lower()) is None:
        known = f"{', '.join(ANSWERS)} or {', '.join(PERCENTILES)}"
        raise InvalidInput(f"metric {text!r}", f"{aggregate!r} is no aggregate", f"write one of {known}")
    return [Wanted(metric, aggregate.lower()) for metric in found]


def _check_kept(stretches: Sequence[Stretch], possible: Sequence[Stretch], wanted: Iterable[Wanted]) -> None:
    """Make sure that nothing is left out only because the level that alone holds it does not keep what is asked."""
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
                f"{start} to {end} is left only as {rollup.interval}, which lacks it",
                "choose another aggregate, or another stretch of time",
            )


def _dimensions(cascade: Cascade, name: str, role: str) -> list[Column]:
    """The dimension of a name, or those in the object of this name."""
    found = find_columns(cascade.dimensions, name)
    if not found:
        known = ", ".join(column.name for column in cascade.dimensions) or "none"
        raise InvalidInput(f"{role} {name!r}", "it is no dimension of the cascade", f"there are: {known}")
    return found


def _bind(cascade: Cascade, where: Mapping[str, Value]) -> Iterator[tuple[Column, Value]]:
    for name, value in where.items():
        column, *others = _dimensions(cascade, name, "where")
        if others:
            there = ", ".join(each.name for each in (column, *others))
            raise InvalidInput(f"where {name!r}", "it stands for several dimensions", f"name one of them: {there}")
        try:
            yield column, coerce(column, value)
        except Undecided as error:
            raise InvalidInput("filter", str(error).removeprefix("where: ")) from None


def choose_step(cascade: Cascade, start: int, end: int, points: int) -> Interval:
    """The shortest nice interval that gives at most so many points."""
    if not 1 <= points <= MOST_POINTS:
        raise InvalidInput("points", f"{points:,}", f"ask for 1 to {MOST_POINTS:,}")
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
    """A range extended to whole buckets; InvalidInput if it is empty, or there are too many buckets."""
    if start >= end:
        raise InvalidInput("range", f"it begins at {show(start)} and ends at {show(end)}", "let it end later")
    points = (end - start) / 1000 / step.approximate_seconds
    if points > MOST_POINTS:
        many = f"it gives {points:,.0f} points, more than {MOST_POINTS:,}"
        raise InvalidInput(f"step {step}", many, "choose a longer one")
    try:
        return TimeRange(step.floor(start, zone), step.ceiling(end, zone))
    except OverflowError:
        raise InvalidInput("range", "it reaches the end of the calendar", "choose another") from None


def find_stretches(
    cascade: Cascade, holdings: Sequence[Holding], whole: TimeRange, step: Interval, undivided: str = ""
) -> tuple[Stretch, ...]:
    """
    Divide a range, of whole buckets of the step, among the tables that hold it and can answer, finest first. Stretches
    are in order of time. What is left of a bucket longer than the step is not divided any further, so such a stretch
    may reach beyond the range. What no table holds is in no stretch. See :func:`make_reading` for ``undivided``.
    """
    division = _Division(zone=cascade.tzinfo, step=step, holdings=holdings, undivided=undivided)
    return tuple(sorted(division.stretches(whole), key=lambda stretch: stretch.time))


@dataclass(frozen=True, kw_only=True)
class _Division:
    """How a range is divided, see :func:`find_stretches`."""

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
        """Gaps from levels with longer buckets, the finest that holds them; whole, or without the end that is finer."""
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
        """Longer buckets, and the rest of those whose end finer levels have."""
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
        """What finer levels have of the end of a longer bucket, in order of time; nothing if that is all or none."""
        found: list[Stretch] = []
        for holding in reversed(finer):
            low, high = whole_part(holding, bucket, self.zone)
            # No bucket of the answer is shared by the rest and by what follows it.
            low = self.step.ceiling(low, self.zone) if self._fits(holding, self.step) else low
            left = TimeRanges([(low, high)]) - _ranges(found)
            found += [Stretch(holding=holding, time=part, interval=interval) for part in left]
        found.sort(key=lambda stretch: stretch.time)
        begins = found[0].time.start if found else bucket.end
        return tuple(found) if list(TimeRanges([bucket]) - _ranges(found)) == [(bucket.start, begins)] else ()

    def _fits(self, holding: Holding, interval: Interval) -> bool:
        """Whether a holding is a level whose buckets make up longer ones."""
        return holding.rollup is not None and holding.rollup.interval.fits_into(interval, self.zone)


def _ranges(stretches: Iterable[Stretch]) -> TimeRanges:
    return TimeRanges(stretch.time for stretch in stretches)


def whole_part(holding: Holding, range_: TimeRange, zone: dt.tzinfo, outward: bool = False) -> TimeRange:
    """
    The part of a range that a table holds, in whole buckets of that table: ``outward`` with those that reach beyond the
    range, otherwise that must consist of whole ones.
    """
    if holding.rollup is None:
        return range_ & TimeRange.of(holding.start, holding.end)
    interval = holding.rollup.interval
    if outward:
        range_ = TimeRange(interval.floor(range_.start, zone), interval.ceiling(range_.end, zone))
    start = None if holding.start is None else interval.ceiling(holding.start, zone)
    end = None if holding.end is None else interval.floor(holding.end, zone)
    return range_ & TimeRange.of(start, end)
