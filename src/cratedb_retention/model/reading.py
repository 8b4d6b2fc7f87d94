"""
Reading a cascade as data: what each table of it holds, what is asked, and which table answers which stretch of time.

All instants are milliseconds since the epoch, UTC, as everywhere below the faces.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from cratedb_retention.model.aggregates import Aggregate, Formula, Merge, Part, State, find_formula
from cratedb_retention.model.cascade import Interval, parse_interval
from cratedb_retention.model.catalog import Column, TableName, Value
from cratedb_retention.model.duration import read_moment
from cratedb_retention.model.rollup import Metric, Rollup, label
from cratedb_retention.model.time import parse_time_zone

# More points than this are no answer but a copy of the table.
MOST_POINTS = 100_000
DEFAULT_POINTS = 100
DEFAULT_RANGE = dt.timedelta(hours=24)
RAW = "raw"


class Fill(StrEnum):
    """What stands in buckets of the range that have no data."""

    NONE = "none"
    NULL = "null"
    PREVIOUS = "previous"
    LINEAR = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What one table of a cascade holds: in [start, end) its data is complete."""

    rollup: Rollup | None  # The level; None for the raw rows
    table: TableName
    start: int | None  # None: it holds everything from the beginning
    end: int | None  # None: it holds everything until now

    @property
    def name(self) -> str:
        """How an answer names it: the interval of the level, or ``raw``."""
        return RAW if self.rollup is None else str(self.rollup.interval)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """A table with its rollups, as far as reading needs to know."""

    source: TableName
    time: Column  # The source's time column
    dimensions: tuple[Column, ...]
    metrics: tuple[Metric, ...]  # All metrics of the cascade, with what is kept of each
    zone: str  # The time zone of calendar units
    holdings: tuple[Holding, ...]  # What each table holds, finest first; raw rows, where there are any, are the first

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


@dataclass(frozen=True, slots=True)
class Wanted:
    """One value of an answer's rows."""

    metric: Metric | None  # None: the number of raw rows
    aggregate: str  # As it is asked for: ``avg``, ``rate``, ``p95``

    @property
    def name(self) -> str:
        """Its column in the answer."""
        return self.metric.named(self.aggregate) if self.metric else self.aggregate

    @property
    def formula(self) -> Formula | None:
        """How it is read; None for the number of raw rows."""
        return find_formula(self.aggregate) if self.metric else None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of a state that have to be read for it."""
        read = self.formula.parts if self.formula else ()
        merged = (Part(name) for part in read if part.merge is Merge.SPREAD for name in part.needs)
        return tuple(dict.fromkeys([*read, *merged]))

    def kept_by(self, rollup: Rollup) -> bool:
        """Whether a level can answer it."""
        name = self.metric.name if self.metric else ""
        found = next((metric for metric in rollup.metrics if metric.name == name), None)
        return self.metric is None or (found is not None and set(self.parts) <= set(found.parts))

    @property
    def told_by_rest(self) -> bool:
        """Whether it is known of a bucket without some parts of it; whether there is any value, only a count tells."""
        if self.metric is None or self.parts == (Part.BINS,):
            return True
        return self.metric.has(Aggregate.COUNT) and all(part.additive for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part [start, end) of the range that is answered from one table."""

    holding: Holding
    start: int
    end: int
    interval: Interval  # The length of its buckets in the answer: the step, or the level's own where that is longer
    coarser: bool = False  # Whether its buckets are longer than the step
    # Where in the last of these finer levels begin; such a bucket is taken as a whole all the same.
    finer_from: int | None = None
    undivided: str = ""  # Why it is
    # What finer levels have of the end of its only bucket: it is the rest of that, what the bucket has less what these
    # have.
    less: tuple[Stretch, ...] = ()

    @property
    def whole(self) -> Stretch:
        """The bucket that it is the rest of."""
        return replace(self, end=self.less[-1].end, less=()) if self.less else self


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A request with everything found out: what an engine reads, stretch by stretch."""

    cascade: Cascade
    start: int  # The range, extended to whole buckets
    end: int
    step: Interval
    wanted: tuple[Wanted, ...]
    by: tuple[Column, ...]  # The source's columns
    where: tuple[tuple[Column, Value], ...]
    stretches: tuple[Stretch, ...]  # In order of time; they don't overlap
    fill: Fill = Fill.NONE

    @property
    def parts(self) -> dict[Metric, tuple[Part, ...]]:
        """The parts of states to read; with those that tell whether a rest has any value."""
        found: dict[Metric, dict[Part, None]] = {}
        for want in self.wanted:
            if want.metric:
                found.setdefault(want.metric, {}).update(dict.fromkeys(want.parts))
        if any(stretch.less for stretch in self.stretches):
            for metric, parts in found.items():
                if metric.has(Aggregate.COUNT) and parts.keys() != {Part.BINS}:
                    parts[Part.COUNT] = None
        return {metric: tuple(parts) for metric, parts in found.items()}


Group = tuple[Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """What one stretch knows of one bucket and group."""

    bucket: int  # The bucket's start
    group: Group  # The values of ``by``
    rows: int  # How many raw rows there are; 0 where these were counted apart from the states
    states: Mapping[Metric, State]
