"""
Buckets without data: which ones there are, and what stands in them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.aggregates import Number, divided
from cratedb_retention.model.cascade import Interval
from cratedb_retention.model.reading import Fill, Group, Reading
from cratedb_retention.planning.reading import without

Values = tuple[Number, ...]
_MOST_ROWS = 1_000_000


def all_buckets(reading: Reading) -> list[int]:
    """The starts of all buckets of a range: those of the step, and longer ones where only such are left."""
    zone = reading.cascade.tzinfo
    coarser = [stretch for stretch in reading.stretches if stretch.coarser]
    found = {bucket for s in coarser for bucket in _buckets(s.start, s.end, s.interval, zone)}
    for start, end in without([(reading.start, reading.end)], [(s.start, s.end) for s in coarser]):
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
