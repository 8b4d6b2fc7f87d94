"""
Looking around in a cascade: what somebody chose, as it stands in an address, and the stretch of time they look at.

All instants are milliseconds since the epoch, UTC.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.aggregates import Part
from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.duration import read_moment
from cratedb_retention.model.reading import Cascade
from cratedb_retention.model.rollup import ROW_COUNT, Metric, label
from cratedb_retention.model.time import from_ms, to_ms
from cratedb_retention.model.words import read_value

EVERYTHING = "everything"
# What can be chosen by one word, and how long before now it begins.
RANGES: Mapping[str, str] = {"hour": "-1h", "day": "-1d", "week": "-7d", "month": "-30d", "year": "-365d"}
# A stretch is never shorter: there is nothing finer than milliseconds, and buckets are seconds at least.
_SHORTEST = 10_000
_WHERE = "where."
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Explorable:
    """A table that can be looked at."""

    table: TableName
    # the values that have to be asked for, since the rest is not theirs to see.
    where: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody chose. Everything is text as they gave it; nothing of it need make sense."""

    table: str = ""  # ``schema.name``; empty: none is chosen yet
    metric: str = ""  # Empty: the first
    aggregate: str = ""  # Empty: what suits the metric
    by: tuple[str, ...] = ()
    where: Mapping[str, str] = field(default_factory=dict)
    span: str = EVERYTHING  # a word of ``RANGES``, or ``everything``; empty if instants are given
    start: str = ""
    end: str = ""

    @classmethod
    def of_query(cls, query: Mapping[str, str]) -> Asked:
        """Read the query of an address; what it does not know is passed over."""
        start, end = query.get("from", "").strip(), query.get("until", "").strip()
        return cls(
            table=query.get("table", ""),
            metric=query.get("metric", ""),
            aggregate=query.get("aggregate", ""),
            by=tuple(name for name in query.get("by", "").split(",") if name),
            where={key.removeprefix(_WHERE): value for key, value in query.items() if key.startswith(_WHERE) and value},
            span="" if start or end else query.get("range", EVERYTHING),
            start=start,
            end=end,
        )

    def to_query(self) -> str:
        """As the query of an address."""
        pairs = {
            "table": self.table,
            "metric": self.metric,
            "aggregate": self.aggregate,
            "by": ",".join(self.by),
            **{f"{_WHERE}{name}": value for name, value in self.where.items()},
            "range": self.span,
            "from": self.start,
            "until": self.end,
        }
        return urlencode({key: value for key, value in pairs.items() if value})

    def filters(self) -> dict[str, str | None]:
        """The values of dimensions that are asked for; NULL is NULL, and ``'NULL'`` the text."""
        return {name: read_value(value) for name, value in self.where.items()}


def read_span(asked: Asked, whole: Span, now: dt.datetime) -> Span:
    """
    The stretch of time that is meant.

    :param whole: What ``everything`` means.
    :raises InvalidInput: if it is none.
    """
    if asked.span == EVERYTHING:
        return whole
    if asked.span and asked.span not in RANGES:
        raise InvalidInput(f"range {asked.span!r}", "is unknown", f"choose one of {', '.join(RANGES)}, {EVERYTHING}")
    end = read_moment(asked.end or None, now)
    if not (asked.span or asked.start):
        return min(whole[0], to_ms(end) - _SHORTEST), to_ms(end)
    start = read_moment(asked.start or RANGES[asked.span], end)
    if start >= end:
        raise InvalidInput("range", "its end is not after its beginning", "let it end later")
    return to_ms(start), to_ms(end)


def whole_span(cascade: Cascade, now: dt.datetime) -> Span:
    """From the first that a level holds until now; a year, where no level holds anything yet."""
    end = to_ms(now)
    starts = [holding.start for holding in cascade.holdings if holding.rollup and holding.start is not None]
    return min([*starts, end - _SHORTEST]) if starts else end - 365 * 86_400_000, end


def zoom(span: Span, factor: float, outer: Span) -> Span:
    """
    A stretch with the same middle, this many times as long, within another one.

    :param factor: Less than 1: closer.
    """
    length = max(round((span[1] - span[0]) * factor), _SHORTEST)
    start = (span[0] + span[1] - length) // 2
    return _inside((start, start + length), outer)


def shift(span: Span, part: float, outer: Span) -> Span:
    """A stretch moved by a part of its own length, within another one."""
    by = round((span[1] - span[0]) * part)
    return _inside((span[0] + by, span[1] + by), outer)


def part_of(outer: Span, low: float, high: float) -> Span:
    """The stretch from one percentage of another one to a second."""
    length = outer[1] - outer[0]
    start, end = (outer[0] + round(length * min(max(percent, 0), 100) / 100) for percent in (low, high))
    return _inside((start, max(end, start + _SHORTEST)), outer)


def percents(span: Span, outer: Span) -> tuple[float, float]:
    """Where in another stretch it begins and ends, in per cent."""
    length = outer[1] - outer[0]
    return (span[0] - outer[0]) / length * 100, (span[1] - outer[0]) / length * 100


def united(one: Span, other: Span) -> Span:
    """The shortest stretch that holds both."""
    return min(one[0], other[0]), max(one[1], other[1])


def _inside(span: Span, outer: Span) -> Span:
    length = min(span[1] - span[0], outer[1] - outer[0])
    start = min(max(span[0], outer[0]), outer[1] - length)
    return start, start + length


def exact_text(instant: int) -> str:
    """An instant as it stands in an address."""
    return from_ms(instant).replace(tzinfo=None).isoformat(timespec="milliseconds").removesuffix(".000") + "Z"


def find_metric(metrics: Collection[Metric], name: str) -> Metric | None:
    """A metric by its name; the first if none is named."""
    return next((m for m in metrics if not name or name in (m.name, m.column.name)), None)


def wanted_texts(cascade: Cascade, asked: Asked) -> tuple[str, ...]:
    """
    What to fetch: what is shown, and with an average of a single line the least and greatest values.

    The first is what is shown.
    """
    metric = find_metric(cascade.metrics, asked.metric)
    if metric is None or asked.metric == ROW_COUNT:
        name = asked.metric or ROW_COUNT
        return (f"{name}:{asked.aggregate}" if asked.aggregate and name != ROW_COUNT else name,)
    aggregate = asked.aggregate or metric.answers[0]
    first = f"{metric.name}:{aggregate}"
    has_band = aggregate == "avg" and {Part.MIN, Part.MAX} <= set(metric.parts)
    return (first, f"{metric.name}:min", f"{metric.name}:max") if has_band and not asked.by else (first,)


def dimension_names(columns: Collection[Column]) -> list[str]:
    """How dimensions are named towards people."""
    return [label(column.name) for column in columns]
