"""
Which table of a cascade answers which stretch of time, and how long an answer's buckets are.

Each stretch is answered from the coarsest level whose buckets fit into the step: it is the cheapest, and gives the same
answer, since all that is kept can be merged. What that level does not hold, the next finer one answers, down to the raw
rows. What only coarser ones hold, the finest of these answers, in its own longer buckets. Where finer levels still have
the end of such a bucket, these answer that, and the coarser one the rest: what the bucket has less what they have.

Stretches end where buckets do, so that no row is counted twice or left out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.cascade import Interval
from cratedb_retention.model.reading import MOST_POINTS, Cascade, Holding, Stretch
from cratedb_retention.model.time import show

# What people count time in. All of them are cut from midnight.
_NICE = (
    *(Interval(seconds) for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)),
    *(Interval(hours * 3600) for hours in (1, 2, 3, 4, 6, 8, 12)),
    *(Interval(unit=unit) for unit in ("day", "week", "month", "year")),
)
Span = tuple[int, int]


def choose_step(cascade: Cascade, start: int, end: int, points: int) -> Interval:
    """
    The shortest nice interval that gives at most so many points.

    :raises InvalidInput: if the number of points makes no sense.
    """
    if not 1 <= points <= MOST_POINTS:
        raise InvalidInput("points", f"{points:,}", f"ask for 1 to {MOST_POINTS:,}")
    least = (end - start) / 1000 / points
    zone = cascade.tzinfo
    levels = [holding.rollup.interval for holding in cascade.holdings if holding.rollup]
    nice = sorted({*_NICE, *levels}, key=lambda interval: interval.approximate_seconds)
    long_enough = [interval for interval in nice if interval.approximate_seconds >= least] or nice[-1:]
    fitting = (step for step in long_enough if all(_shorter_fit(level, step, zone) for level in levels))
    return next(fitting, long_enough[0])


def _shorter_fit(level: Interval, step: Interval, zone: dt.tzinfo) -> bool:
    return level.approximate_seconds > step.approximate_seconds or level.fits_into(step, zone)


def whole_buckets(start: int, end: int, step: Interval, zone: dt.tzinfo) -> Span:
    """
    A range extended to whole buckets.

    :raises InvalidInput: if it is empty, or there are too many buckets.
    """
    if start >= end:
        raise InvalidInput("range", f"it begins at {show(start)} and ends at {show(end)}", "let it end later")
    points = (end - start) / 1000 / step.approximate_seconds
    if points > MOST_POINTS:
        raise InvalidInput(
            f"step {step}", f"it gives {points:,.0f} points, more than {MOST_POINTS:,}", "choose a longer one"
        )
    try:
        return step.floor(start, zone), step.ceiling(end, zone)
    except OverflowError:
        raise InvalidInput("range", "it reaches the end of the calendar", "choose another") from None


def find_stretches(
    cascade: Cascade, holdings: Sequence[Holding], start: int, end: int, step: Interval, undivided: str = ""
) -> tuple[Stretch, ...]:
    """
    Divide a range among the tables that hold it.

    :param holdings: Those of the cascade that can answer, finest first.
    :param start: The range, of whole buckets of the step.
    :param undivided: Why longer buckets are taken as a whole even where finer levels have the end of them; empty: then
        they are not.
    :return: In order of time. What is left of a bucket longer than the step is not divided any further, so a stretch of
        such may reach beyond the range. What no table holds is in no stretch.
    """
    zone = cascade.tzinfo
    fitting = [holding for holding in holdings if holding.rollup is None or _fits(holding, step, zone)]
    fine = [whole_part(holding, start, end, zone) for holding in fitting]
    found = _coarser_stretches(cascade, holdings, without([(start, end)], fine), step, undivided)
    taken = _spans(found)
    for holding, span in reversed(list(zip(fitting, fine, strict=True))):
        for low, high in without([span], taken):
            found.append(Stretch(holding=holding, start=low, end=high, interval=step))
        taken.append(span)
    return tuple(sorted(found, key=lambda stretch: stretch.start))


def _coarser_stretches(
    cascade: Cascade,
    holdings: Sequence[Holding],
    gaps: list[Span],
    step: Interval,
    undivided: str,
) -> list[Stretch]:
    """
    Fill gaps from levels with longer buckets, the finest that holds them. Such a bucket is taken as a whole, or without
    the end that finer levels have.
    """
    zone = cascade.tzinfo
    parts: list[tuple[Holding, Interval, list[Span]]] = []
    for holding in holdings:
        if holding.rollup is None or _fits(holding, step, zone):
            continue
        spans = [
            span for start, end in gaps if (span := whole_part(holding, start, end, zone, outward=True))[0] < span[1]
        ]
        gaps = without(gaps, spans)
        parts.append((holding, holding.rollup.interval, united(spans)))
    found: list[Stretch] = []
    for holding, interval, spans in reversed(parts):
        finer = [one for one in holdings[: holdings.index(holding)] if _fits(one, interval, zone)]
        for start, end in without(spans, _spans(found)):
            whole = Stretch(holding=holding, start=start, end=end, interval=interval, coarser=True)
            found += _divided(whole, finer, step, zone, undivided)
    return found


def _divided(
    whole: Stretch, finer: Sequence[Holding], step: Interval, zone: dt.tzinfo, undivided: str
) -> Iterator[Stretch]:
    """Longer buckets, and the rest of those whose end finer levels have."""
    interval = whole.interval
    begins = [one.start for one in finer if one.start is not None and whole.start <= one.start < whole.end]
    begun = {interval.floor(at, zone) for at in begins}
    buckets = [(start, interval.end(start, zone)) for start in sorted(begun)]
    ends = {bucket: end for bucket in buckets if (end := _held_end(bucket, interval, finer, step, zone))}
    if undivided and ends:
        first = next(iter(ends.values()))
        yield replace(whole, finer_from=first[0].start, undivided=undivided)
        return
    for low, high in without([(whole.start, whole.end)], ends):
        yield replace(whole, start=low, end=high)
    for (start, _), held in ends.items():
        yield replace(whole, start=start, end=held[0].start, less=held)


def _held_end(
    bucket: Span, interval: Interval, finer: Sequence[Holding], step: Interval, zone: dt.tzinfo
) -> tuple[Stretch, ...]:
    """What finer levels have of the end of a longer bucket, in order of time; nothing if that is none of it, or all."""
    found: list[Stretch] = []
    for holding in reversed(finer):
        low, high = whole_part(holding, *bucket, zone)
        # No bucket of the answer is shared by the rest and by what follows it.
        low = step.ceiling(low, zone) if _fits(holding, step, zone) else low
        found += [
            Stretch(holding=holding, start=start, end=end, interval=interval)
            for start, end in without([(low, high)], _spans(found))
        ]
    found.sort(key=lambda stretch: stretch.start)
    begins = found[0].start if found else bucket[1]
    return tuple(found) if without([bucket], _spans(found)) == [(bucket[0], begins)] else ()


def _fits(holding: Holding, interval: Interval, zone: dt.tzinfo) -> bool:
    """Whether a holding is a level whose buckets make up longer ones."""
    return holding.rollup is not None and holding.rollup.interval.fits_into(interval, zone)


def _spans(stretches: Iterable[Stretch]) -> list[Span]:
    return [(stretch.start, stretch.end) for stretch in stretches]


def whole_part(holding: Holding, start: int, end: int, zone: dt.tzinfo, outward: bool = False) -> Span:
    """
    The part of a span that a table holds, in whole buckets of that table.

    :param outward: Whether buckets that reach beyond the span are taken; otherwise the span must consist of whole ones.
    """
    if holding.rollup is None:
        return _cut(holding.start, holding.end, start, end)
    interval = holding.rollup.interval
    if outward:
        start, end = interval.floor(start, zone), interval.ceiling(end, zone)
    own_start = None if holding.start is None else interval.ceiling(holding.start, zone)
    own_end = None if holding.end is None else interval.floor(holding.end, zone)
    return _cut(own_start, own_end, start, end)


def _cut(own_start: int | None, own_end: int | None, start: int, end: int) -> Span:
    low = start if own_start is None else max(start, own_start)
    return low, max(low, end if own_end is None else min(end, own_end))


def without(spans: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    """What is left of spans without others."""
    left = [span for span in spans if span[0] < span[1]]
    for start, end in others:
        if start < end:
            left = [
                part
                for low, high in left
                for part in ((low, min(high, start)), (max(low, end), high))
                if part[0] < part[1]
            ]
    return left


def united(spans: Iterable[Span]) -> list[Span]:
    """Spans that touch or overlap as one."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found
