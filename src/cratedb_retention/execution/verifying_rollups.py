"""
Compares each level of a cascade with the one beneath it (law 5: rows are conserved), for the time that both hold.

Both are summed up by the database in chunks of whole buckets, one statement each; only where chunks differ are they
read once more bucket by bucket.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any

from cratedb_retention.engine.base import Engine
from cratedb_retention.engine.expressions import table_ref
from cratedb_retention.model.aggregates import Number, Part
from cratedb_retention.model.cascade import Interval
from cratedb_retention.model.plan import Plan
from cratedb_retention.model.reading import Cascade, Holding, Partial, Reading, Stretch, Wanted
from cratedb_retention.model.rollup import ROW_COUNT, Window
from cratedb_retention.model.rollup_steps import RollUp
from cratedb_retention.model.time import TimeRange, from_ms
from cratedb_retention.planning.query import choose_step, whole_part

_CHUNKS = 500
# So many chunks that differ are looked at bucket by bucket; then it is clear enough that something is wrong.
_LOOKED_AT = 5
_TOLERANCE = 1e-9
_YEAR = Interval(unit="year")
_ALL = TimeRange(-62_135_596_800_000, 253_370_764_800_000)
_EMPTY = TimeRange(0, 0)
_NOTHING = Partial(bucket=0, group=(), rows=0, states={})
Values = tuple[str, float | None, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where a level is not what the one beneath says."""

    level: str  # The level's interval
    table: str  # The level's table
    start: int  # The bucket or buckets [start, end) (ms UTC)
    end: int
    what: str  # ``row_count``, or ``temperature_sum`` and the like
    beneath: str  # The name of the level beneath
    expected: float | None  # What that says
    found: float | None
    stale: bool = False  # Whether rows came or changed since it was computed, so that the next run computes it again

    def to_dict(self) -> dict[str, Any]:
        """As plain values, with instants as ISO 8601, and None for NaN and infinity, which JSON lacks."""
        return {
            **asdict(self),
            "expected": _plain(self.expected),
            "found": _plain(self.found),
            "start": from_ms(self.start).isoformat(),
            "end": from_ms(self.end).isoformat(),
        }


def _plain(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def verify_rollups(engine: Engine, cascade: Cascade) -> list[Difference]:
    """Compare each level of a cascade with the one beneath, for the time that both hold."""
    for holding in cascade.holdings:  # Otherwise what was written a moment ago would seem to be missing.
        engine.database.refresh(table_ref(holding.table))
    found: list[Difference] = []
    for level in cascade.holdings:
        for beneath in cascade.holdings:
            if level.rollup and level.rollup.beneath == beneath.table:
                comparison = _Comparison(engine=engine, cascade=cascade, beneath=beneath, level=level)
                found += comparison.differences(level.rollup.interval)
    return found


def mark_stale(found: Iterable[Difference], plan: Plan) -> list[Difference]:
    """
    Tell what is wrong from what is only stale.

    :param plan: What the next run does.
    """
    steps = [step for task in plan.tasks for step in task.steps if isinstance(step, RollUp)]
    due = [(str(step.rollup.table), window) for step in steps for window in step.windows]
    return [
        replace(one, stale=any(table == one.table and _covers(window, one) for table, window in due)) for one in found
    ]


def _covers(window: Window, difference: Difference) -> bool:
    return window.since < difference.end and difference.start < window.until


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """A level and the one beneath."""

    engine: Engine
    cascade: Cascade
    beneath: Holding
    level: Holding

    def differences(self, own: Interval) -> Iterator[Difference]:
        """
        Chunk by chunk; where chunks differ, bucket by bucket.

        :param own: The level's interval.
        """
        range_, zone = self._common(), self.cascade.tzinfo
        if range_.empty:
            return
        chunk = choose_step(self.cascade, *range_, _CHUNKS)
        chunk = chunk if own.fits_into(chunk, zone) else own
        for number, (part, values) in enumerate(self._differing(range_, chunk)):
            exact = list(self._differing(part, own)) if chunk != own and number < _LOOKED_AT else []
            for bucket, found in exact or [(part, values)]:
                yield from (self._difference(bucket, *each) for each in found)

    def _common(self) -> TimeRange:
        """The time that both hold, in whole buckets of the level."""
        both = TimeRange.of(self.beneath.start, self.beneath.end) & TimeRange.of(self.level.start, self.level.end)
        if None in both.ends:
            utc = replace(self.cascade, zone="UTC")
            wanted = (Wanted(None, ROW_COUNT),)
            found = [one.bucket for h in (self.beneath, self.level) for one in self._read(h, _ALL, _YEAR, wanted, utc)]
            both &= TimeRange(min(found), _YEAR.end(max(found))) if found else TimeRange(0, 0)
        held = replace(self.level, start=both.start, end=both.end)
        return _EMPTY if both.empty else whole_part(held, _ALL, self.cascade.tzinfo)

    def _differing(self, range_: TimeRange, interval: Interval) -> Iterator[tuple[TimeRange, list[Values]]]:
        """Buckets, and what differs in them."""
        zone, wanted = self.cascade.tzinfo, tuple(self._comparable())
        right, found = (
            {interval.floor(one.bucket, zone): one for one in self._read(holding, range_, interval, wanted)}
            for holding in (self.beneath, self.level)
        )
        for bucket in sorted({*right, *found}):
            values = list(_compare(right.get(bucket, _NOTHING), found.get(bucket, _NOTHING)))
            if values:
                yield TimeRange(bucket, interval.end(bucket, zone)) & range_, values

    def _read(
        self,
        holding: Holding,
        range_: TimeRange,
        interval: Interval,
        wanted: tuple[Wanted, ...],
        cascade: Cascade | None = None,
    ) -> list[Partial]:
        stretch = Stretch(holding=holding, start=range_.start, end=range_.end, interval=interval)
        reading = Reading(
            cascade=cascade or self.cascade,
            start=range_.start,
            end=range_.end,
            step=interval,
            wanted=wanted,
            by=(),
            where=(),
            stretches=(stretch,),
        )
        return self.engine.read(reading, stretch)

    def _comparable(self) -> Iterator[Wanted]:
        """What both keep of each metric; least and greatest value say how exact a sum can be."""
        yield Wanted(None, ROW_COUNT)
        rollups = [holding.rollup for holding in (self.level, self.beneath) if holding.rollup]
        for metric in rollups[0].metrics:
            wanted = (Wanted(metric, str(part)) for part in (Part.COUNT, Part.SUM, Part.MIN, Part.MAX))
            yield from (want for want in wanted if all(want.kept_by(rollup) for rollup in rollups))

    def _difference(self, bucket: TimeRange, what: str, expected: float | None, found: float | None) -> Difference:
        return Difference(
            level=self.level.name,
            table=str(self.level.table),
            start=bucket.start,
            end=bucket.end,
            what=what,
            beneath=self.beneath.name,
            expected=expected,
            found=found,
        )


def _compare(right: Partial, found: Partial) -> Iterator[Values]:
    """What differs: its name, what there should be, and what there is."""
    if right.rows != found.rows:
        yield ROW_COUNT, right.rows, found.rows
    for metric in {**right.states, **found.states}:
        expected, there = (
            {part: _float(value) for part, value in one.states.get(metric, {}).items()} for one in (right, found)
        )
        if (expected.get(Part.COUNT) or 0) != (there.get(Part.COUNT) or 0):
            yield metric.named(Part.COUNT), expected.get(Part.COUNT), there.get(Part.COUNT)
        # Values of both signs can add up to next to nothing, so the size of what was added up counts.
        size = max(abs(expected.get(end) or 0.0) for end in (Part.MIN, Part.MAX)) * (expected.get(Part.COUNT) or 1)
        if not _close(expected.get(Part.SUM), there.get(Part.SUM), size):
            yield metric.named(Part.SUM), expected.get(Part.SUM), there.get(Part.SUM)


def _float(value: Number) -> float | None:
    return float(value) if isinstance(value, Decimal) else value


def _close(one: float | None, other: float | None, scale: float) -> bool:
    one, other = one or 0.0, other or 0.0
    both_nan = math.isnan(one) and math.isnan(other)
    return both_nan or math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE * scale)
