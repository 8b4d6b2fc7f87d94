"""
How fine an answer of a cascade is, and from which level each stretch of it comes, in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cratedb_retention.model.cascade import Interval
from cratedb_retention.model.fetched import Fetched
from cratedb_retention.model.reading import Stretch
from cratedb_retention.model.time import show

_UNITS = ((3600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """
    A part [start, end) of an answer that is all of one kind (ms, UTC).

    :param source: Where it comes from, for sentences: ``lab.weather_1h``, ``the raw rows``.
    :param name: For where there is little room: ``1h``, ``raw``.
    """

    start: int
    end: int
    interval: Interval
    source: str
    name: str


def interval_words(interval: Interval) -> str:
    """``hour``, ``10 minutes``, ``day``: what there is one point for."""
    if interval.unit:
        return interval.unit
    length, unit = next((size, name) for size, name in _UNITS if interval.seconds % size == 0)
    count = interval.seconds // length
    return unit if count == 1 else f"{count} {unit}s"


def parts_of(stretches: Iterable[Stretch]) -> list[Part]:
    """The parts in order of time; neighbours of one kind are one."""
    found: list[Part] = []
    for stretch in stretches:
        holding = stretch.holding
        source = str(holding.table) if holding.rollup else "the raw rows"
        part = Part(start=stretch.start, end=stretch.end, interval=stretch.interval, source=source, name=holding.name)
        last = found[-1] if found else None
        if last and (last.end, last.source, last.interval) == (part.start, part.source, part.interval):
            found[-1] = Part(start=last.start, end=part.end, interval=part.interval, source=part.source, name=part.name)
        else:
            found.append(part)
    return found


def describe(fetched: Fetched) -> str:
    """
    In a sentence: ``1 point per hour, from lab.weather_1h; since 2024-06-20 from the raw rows``.

    Instants are in UTC.
    """
    parts = parts_of(fetched.stretches)
    if not parts:
        return "No table holds anything of this stretch of time."
    return "; ".join([*_said(parts), *(f"{show(a)} to {show(b)} is kept nowhere" for a, b in fetched.gaps)]) + "."


def _said(parts: Sequence[Part]) -> list[str]:
    words = [f"1 point per {interval_words(parts[0].interval)}, from {parts[0].source}"]
    for before, part in pairwise(parts):
        finer = f": 1 point per {interval_words(part.interval)}," if part.interval != before.interval else ""
        words.append(f"since {show(part.start)}{finer} from {part.source}")
    return words
