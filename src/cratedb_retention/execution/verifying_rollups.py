"""
Compares each level of a cascade with the one beneath it (law 5: rows are conserved), for the time that both hold.

Both are summed up by the database in chunks of whole buckets, one statement each; only where chunks differ are they
read once more bucket by bucket.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any

from cratedb_retention.engine.base import Engine
from cratedb_retention.engine.expressions import table_ref
from cratedb_retention.model.aggregates import Part
from cratedb_retention.model.cascade import Interval
from cratedb_retention.model.plan import Plan
from cratedb_retention.model.reading import Cascade, Holding, Reading, Stretch, Wanted
from cratedb_retention.model.rollup import ROW_COUNT, Metric, Rollup, Window
from cratedb_retention.model.rollup_steps import RollUp
from cratedb_retention.model.time import TimeRange, from_ms
from cratedb_retention.planning.query import choose_step, whole_part

_CHUNKS = 500
# So many chunks that differ are looked at bucket by bucket; then it is clear enough that something is wrong.
_LOOKED_AT = 5
_TOLERANCE = 1e-9
_YEAR = Interval(unit="year")
_EVER = TimeRange(-62_135_596_800_000, 253_370_764_800_000)
Values = dict[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """
    Where a level is not what the one beneath says.

    :param level: The level's interval.
    :param table: The level's table.
    :param start: The bucket or buckets [start, end) (ms UTC).
    :param what: ``row_count``, or ``temperature_sum`` and the like.
    :param beneath: The name of the level beneath.
    :param expected: What that says.
    :param stale: Whether rows came or changed since it was computed, so that the next run computes it again.
    """

    level: str
    table: str
    start: int
    end: int
    what: str
    beneath: str
    expected: float | None
    found: float | None
    stale: bool = False

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
    _refresh(engine, cascade)
    found: list[Difference] = []
    for beneath, level in _pairs(cascade):
        span = _common(engine, cascade, beneath, level)
        if span and level.rollup:
            found += _Comparison(engine, cascade, beneath, level, level.rollup).differences(*span)
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


def _pairs(cascade: Cascade) -> Iterator[tuple[Holding, Holding]]:
    """Each level with the one that it is computed from."""
    for level in cascade.holdings:
        for beneath in cascade.holdings:
            if level.rollup and level.rollup.beneath == beneath.table:
                yield beneath, level


def _refresh(engine: Engine, cascade: Cascade) -> None:
    """Otherwise what was written a moment ago would seem to be missing."""
    for holding in cascade.holdings:
        engine.database.refresh(table_ref(holding.table))


def _common(engine: Engine, cascade: Cascade, beneath: Holding, level: Holding) -> TimeRange | None:
    """The time that both hold, in whole buckets of the level."""
    starts = [holding.start for holding in (beneath, level) if holding.start is not None]
    ends = [holding.end for holding in (beneath, level) if holding.end is not None]
    if not starts or not ends:
        years = [year for holding in (beneath, level) for year in _years(engine, cascade, holding)]
        if not years:
            return None
        starts = starts or [min(years)]
        ends = ends or [_YEAR.end(max(years))]
    span = whole_part(replace(level, start=max(starts), end=min(ends)), _EVER, cascade.tzinfo)
    return None if span.empty else span


def _years(engine: Engine, cascade: Cascade, holding: Holding) -> list[int]:
    """The years in which a table has rows."""
    start, end = _EVER
    stretch = Stretch(holding=holding, start=start, end=end, interval=_YEAR)
    reading = Reading(
        cascade=replace(cascade, zone="UTC"),
        start=start,
        end=end,
        step=_YEAR,
        wanted=(Wanted(None, ROW_COUNT),),
        by=(),
        where=(),
        stretches=(stretch,),
    )
    return [part.bucket for part in engine.read(reading, stretch)]


class _Comparison:
    """One level and the one beneath."""

    def __init__(self, engine: Engine, cascade: Cascade, beneath: Holding, level: Holding, rollup: Rollup) -> None:
        self.engine, self.cascade, self.beneath, self.level, self.rollup = engine, cascade, beneath, level, rollup
        self.wanted = tuple(_comparable(rollup.metrics, beneath))

    def differences(self, start: int, end: int) -> Iterator[Difference]:
        """Chunk by chunk; where chunks differ, bucket by bucket."""
        chunk = choose_step(self.cascade, start, end, _CHUNKS)
        if not self.rollup.interval.fits_into(chunk, self.cascade.tzinfo):
            chunk = self.rollup.interval
        looked_at = 0
        for bucket, both in self._read(start, end, chunk):
            differing = list(self._differing(*both))
            if not differing:
                continue
            low, high = max(bucket, start), min(chunk.end(bucket, self.cascade.tzinfo), end)
            if chunk != self.rollup.interval and looked_at < _LOOKED_AT:
                looked_at += 1
                exact = list(self._exact(low, high))
                if exact:
                    yield from exact
                    continue
            yield from (self._difference(low, high, *values) for values in differing)

    def _exact(self, start: int, end: int) -> Iterator[Difference]:
        interval = self.rollup.interval
        for bucket, both in self._read(start, end, interval):
            for values in self._differing(*both):
                yield self._difference(bucket, interval.end(bucket, self.cascade.tzinfo), *values)

    def _difference(self, start: int, end: int, what: str, expected: float | None, found: float | None) -> Difference:
        level = self.level
        return Difference(
            level=level.name,
            table=str(level.table),
            start=start,
            end=end,
            what=what,
            beneath=self.beneath.name,
            expected=expected,
            found=found,
        )

    def _read(self, start: int, end: int, interval: Interval) -> list[tuple[int, tuple[Values, Values]]]:
        """What both say, by bucket."""
        both = [self._values(holding, start, end, interval) for holding in (self.beneath, self.level)]
        nothing: Values = {ROW_COUNT: 0}
        return [
            (bucket, (both[0].get(bucket, nothing), both[1].get(bucket, nothing)))
            for bucket in sorted({*both[0], *both[1]})
        ]

    def _values(self, holding: Holding, start: int, end: int, interval: Interval) -> dict[int, Values]:
        stretch = Stretch(holding=holding, start=start, end=end, interval=interval)
        reading = Reading(
            cascade=self.cascade,
            start=start,
            end=end,
            step=interval,
            wanted=self.wanted,
            by=(),
            where=(),
            stretches=(stretch,),
        )
        return {
            interval.floor(found.bucket, self.cascade.tzinfo): {
                ROW_COUNT: found.rows,
                **{
                    metric.named(part): float(value) if isinstance(value, Decimal) else value
                    for metric, state in found.states.items()
                    for part, value in state.items()
                },
            }
            for found in self.engine.read(reading, stretch)
        }

    def _differing(self, expected: Values, found: Values) -> Iterator[tuple[str, float | None, float | None]]:
        for name in (ROW_COUNT, *(want.name for want in self.wanted if want.aggregate in ("sum", "count"))):
            right, value = expected.get(name), found.get(name)
            if name.endswith("_sum"):
                same = _close(right, value, _scale(expected, name.removesuffix("_sum")))
            else:
                same = (right or 0) == (value or 0)
            if not same:
                yield name, right, value


def _comparable(metrics: Sequence[Metric], beneath: Holding) -> Iterator[Wanted]:
    """What both keep of each metric; least and greatest value say how exact a sum can be."""
    for metric in metrics:
        for part in (Part.COUNT, Part.SUM, Part.MIN, Part.MAX):
            want = Wanted(metric, str(part))
            if part in metric.parts and (beneath.rollup is None or want.kept_by(beneath.rollup)):
                yield want


def _scale(values: Values, name: str) -> float:
    """How large what was added up is, since values of both signs can add up to next to nothing."""
    reach = max(abs(values.get(f"{name}_{end}") or 0.0) for end in ("min", "max"))
    return reach * (values.get(f"{name}_count") or 1)


def _close(one: float | None, other: float | None, scale: float) -> bool:
    one, other = one or 0.0, other or 0.0
    both_nan = math.isnan(one) and math.isnan(other)
    return both_nan or math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE * scale)
