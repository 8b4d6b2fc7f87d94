"""
Reading a cascade as data: what each table of it holds, what is asked, and which table answers which stretch of time.

All instants are milliseconds since the epoch, UTC, as everywhere below the faces.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from cratedb_retention.model.cascade import Interval, parse_interval
from cratedb_retention.model.catalog import Column, TableName, Value
from cratedb_retention.model.duration import read_moment
from cratedb_retention.model.rollup import Aggregate, Metric, Rollup, label
from cratedb_retention.model.time import parse_time_zone

# More points than this are no answer but a copy of the table.
MOST_POINTS = 100_000
DEFAULT_POINTS = 100
DEFAULT_RANGE = dt.timedelta(hours=24)
RAW = "raw"
# Values and sums of decimal columns are exact.
Number = int | float | Decimal | None


class Fill(StrEnum):
    """What stands in buckets of the range that have no data."""

    NONE = "none"
    NULL = "null"
    PREVIOUS = "previous"
    LINEAR = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """
    What one table of a cascade holds: in [start, end) its data is complete.

    :param rollup: The level; None for the raw rows.
    :param start: None: it holds everything from the beginning.
    :param end: None: it holds everything until now.
    """

    rollup: Rollup | None
    table: TableName
    start: int | None
    end: int | None

    @property
    def name(self) -> str:
        """How an answer names it: the interval of the level, or ``raw``."""
        return RAW if self.rollup is None else str(self.rollup.interval)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """
    A table with its rollups, as far as reading needs to know.

    :param time: The source's time column.
    :param metrics: All metrics of the cascade, with what is kept of each.
    :param zone: The time zone of calendar units.
    :param holdings: What each table holds, finest first; raw rows, where there are any, are the first.
    """

    source: TableName
    time: Column
    dimensions: tuple[Column, ...]
    metrics: tuple[Metric, ...]
    zone: str
    holdings: tuple[Holding, ...]

    @property
    def tzinfo(self) -> dt.tzinfo:
        """The time zone as an object."""
        return dt.UTC if self.zone == "UTC" else parse_time_zone(self.zone)

    @property
    def time_name(self) -> str:
        """The name of the time column in answers."""
        return label(self.time.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    """
    What a person asks of a cascade; everything but the table can be left to defaults.

    :param start: From this aware instant on; None: 24 hours before ``end``.
    :param end: Until this aware instant; None: now.
    :param step: The length of an answer's buckets; None: what gives at most so many ``points``.
    :param points: How many buckets there may be, where no step is given.
    :param metrics: ``temperature:avg``, ``temperature:p95``, ``row_count``; a name alone means its average, or the
        increase of a counter. Empty: that of all metrics.
    :param where: Only series with these values of dimensions.
    :param by: Dimensions that tell the answer's groups apart; what differs in others is put together.
    :param partly: Where shorter buckets are left of the end of a longer one, show these even if the rest of the longer
        one does not tell all that is asked; that is None there.
    """

    table_name: str = ""
    table_schema: str | None = None
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    step: Interval | None = None
    points: int = DEFAULT_POINTS
    metrics: tuple[str, ...] = ()
    where: Mapping[str, Value] = field(default_factory=dict)
    by: tuple[str, ...] = ()
    fill: Fill = Fill.NONE
    partly: bool = False

    @classmethod
    def of_texts(
        cls, now: dt.datetime, start: str | None, end: str | None, step: str | None, points: int | None, **more: Any
    ) -> FetchRequest:
        """
        As people write it.

        :param now: What instants that are said by how long ago they were are reckoned from.
        :param more: The other attributes.
        :raises InvalidInput: if an instant or an interval is none.
        """
        to = read_moment(end, now)
        return cls(
            start=read_moment(start, to) if start else None,
            end=to,
            step=parse_interval(step) if step else None,
            points=DEFAULT_POINTS if points is None else points,
            **more,
        )


class Kept(StrEnum):
    """What is read of a metric: partial aggregates that can be merged, one column of a level each."""

    MIN = "min"
    MAX = "max"
    SUM = "sum"
    COUNT = "count"
    NONFINITE = "nonfinite"
    FIRST = "first"
    LAST = "last"
    M2 = "m2"
    INCREASE = "increase"


# What each aggregate is computed from; percentiles are computed from the table with the distributions.
INGREDIENTS: Mapping[str, tuple[Kept, ...]] = {
    "min": (Kept.MIN,),
    "max": (Kept.MAX,),
    "sum": (Kept.SUM,),
    "count": (Kept.COUNT,),
    "nonfinite": (Kept.NONFINITE,),
    "first": (Kept.FIRST,),
    "last": (Kept.LAST,),
    "avg": (Kept.SUM, Kept.COUNT),
    "stddev": (Kept.SUM, Kept.COUNT, Kept.M2),
    "increase": (Kept.INCREASE,),
    "rate": (Kept.INCREASE,),
}
# What a part of a bucket has is known from the whole and the other parts: how much, but not which was the least.
SUBTRACTED = (Kept.SUM, Kept.COUNT, Kept.NONFINITE, Kept.INCREASE)
_KEPT_AS = {kept: Aggregate.STDDEV if kept is Kept.M2 else Aggregate(str(kept)) for kept in Kept}


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    One value of an answer's rows.

    :param metric: None: the number of raw rows.
    :param aggregate: A key of ``INGREDIENTS``, or ``p95`` and the like.
    :param quantile: Between 0 and 1; None unless it is a percentile.
    """

    metric: Metric | None
    aggregate: str
    quantile: float | None = None

    @property
    def name(self) -> str:
        """Its column in the answer."""
        return self.metric.named(self.aggregate) if self.metric else self.aggregate

    @property
    def ingredients(self) -> tuple[Kept, ...]:
        """The partial aggregates that it is computed from."""
        return INGREDIENTS[self.aggregate] if self.metric and self.quantile is None else ()

    def kept_by(self, rollup: Rollup) -> bool:
        """Whether a level can answer it."""
        if self.metric is None:
            return True
        found = next((metric for metric in rollup.metrics if metric.name == self.metric.name), None)
        if found is None:
            return False
        if self.quantile is not None:
            return found.has(Aggregate.PERCENTILES)
        return all(found.has(_KEPT_AS[kept]) for kept in self.ingredients)

    @property
    def told_by_rest(self) -> bool:
        """Whether it is known of a bucket without some parts of it; whether there is any value, only a count tells."""
        if self.metric is None or self.quantile is not None:
            return True
        return self.metric.has(Aggregate.COUNT) and all(kept in SUBTRACTED for kept in self.ingredients)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """
    A part [start, end) of the range that is answered from one table.

    :param interval: The length of its buckets in the answer: the step, or the level's own where that is longer.
    :param coarser: Whether its buckets are longer than the step.
    :param finer_from: Where in the last of these finer levels begin; such a bucket is taken as a whole all the same.
    :param undivided: Why it is.
    :param less: What finer levels have of the end of its only bucket: it is the rest of that, what the bucket has less
        what these have.
    """

    holding: Holding
    start: int
    end: int
    interval: Interval
    coarser: bool = False
    finer_from: int | None = None
    undivided: str = ""
    less: tuple[Stretch, ...] = ()

    @property
    def whole(self) -> Stretch:
        """The bucket that it is the rest of."""
        return replace(self, end=self.less[-1].end, less=()) if self.less else self


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """
    A request with everything found out: what an engine reads, stretch by stretch.

    :param start: The range, extended to whole buckets.
    :param by: The source's columns.
    :param stretches: In order of time; they don't overlap.
    """

    cascade: Cascade
    start: int
    end: int
    step: Interval
    wanted: tuple[Wanted, ...]
    by: tuple[Column, ...]
    where: tuple[tuple[Column, Value], ...]
    stretches: tuple[Stretch, ...]
    fill: Fill = Fill.NONE

    @property
    def parts(self) -> tuple[tuple[Metric, Kept], ...]:
        """The partial aggregates to read, each once; with those that tell whether a rest has any value."""
        found = [(want.metric, kept) for want in self.wanted if want.metric for kept in want.ingredients]
        rests = any(stretch.less for stretch in self.stretches)
        counts = [(metric, Kept.COUNT) for metric, _ in found if rests and metric.has(Aggregate.COUNT)]
        return tuple(dict.fromkeys([*found, *counts]))

    @property
    def sketched(self) -> tuple[Metric, ...]:
        """The metrics of which distributions are to be read."""
        return tuple(dict.fromkeys(want.metric for want in self.wanted if want.metric and want.quantile is not None))


Group = tuple[Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """
    What one stretch knows of one bucket and group.

    :param bucket: The bucket's start.
    :param group: The values of ``by``.
    :param values: In the order of ``Reading.parts``.
    """

    bucket: int
    group: Group
    rows: int
    values: tuple[Number, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """A bin of the distribution of one metric in one bucket and group."""

    bucket: int
    group: Group
    metric: str
    sign: int
    index: int
    count: int
