"""Looking around in a cascade: what a user chose, as it stands in an address, and the time range that is shown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.aggregates import Part
from cratedb_retention.model.duration import read_moment
from cratedb_retention.model.reading import Cascade
from cratedb_retention.model.rollup import ROW_COUNT, Metric
from cratedb_retention.model.time import DAY_MS, TimeRange, from_ms, to_ms
from cratedb_retention.model.words import read_value

EVERYTHING = "everything"
# What can be chosen by one word, and how long before now it begins.
RANGES: Mapping[str, str] = {"hour": "-1h", "day": "-1d", "week": "-7d", "month": "-30d", "year": "-365d"}
# A range is never shorter: there is nothing finer than milliseconds, and buckets are seconds at least.
_SHORTEST = 10_000
_WHERE = "where."


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a user chose. Everything is text as it was given; nothing of it need make sense."""

    table: str = ""  # ``schema.name``; empty: none is chosen yet
    metric: str = ""  # empty: the first
    aggregate: str = ""  # empty: what suits the metric
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
            **{name: query.get(name, "") for name in ("table", "metric", "aggregate")},
            by=tuple(name for name in query.get("by", "").split(",") if name),
            where={key.removeprefix(_WHERE): value for key, value in query.items() if key.startswith(_WHERE) and value},
            span="" if start or end else query.get("range", EVERYTHING),
            start=start,
            end=end,
        )

    def to_query(self) -> dict[str, str]:
        """What the query of an address has of it."""
        pairs = {"table": self.table, "metric": self.metric, "aggregate": self.aggregate, "by": ",".join(self.by)}
        pairs |= {f"{_WHERE}{name}": value for name, value in self.where.items()}
        pairs |= {"range": self.span, "from": self.start, "until": self.end}
        return {key: value for key, value in pairs.items() if value}

    def filters(self) -> dict[str, str | None]:
        """The values of dimensions that are asked for; NULL is NULL, and ``'NULL'`` the text."""
        return {name: read_value(value) for name, value in self.where.items()}


def read_span(asked: Asked, whole: TimeRange, now: dt.datetime) -> TimeRange:
    """The time range that is meant, where ``whole`` is ``everything``; InvalidInput if it is none."""
    if asked.span == EVERYTHING:
        return whole
    if asked.span and asked.span not in RANGES:
        raise InvalidInput(f"range {asked.span!r}", "is unknown", f"choose one of {', '.join(RANGES)}, {EVERYTHING}")
    end = read_moment(asked.end or None, now)
    if not (asked.span or asked.start):
        return TimeRange(min(whole.start, to_ms(end) - _SHORTEST), to_ms(end))
    start = read_moment(asked.start or RANGES[asked.span], end)
    if start >= end:
        raise InvalidInput("range", "its end is not after its beginning", "let it end later")
    return TimeRange(to_ms(start), to_ms(end))


def whole_span(cascade: Cascade, now: dt.datetime) -> TimeRange:
    """From the first that a level holds until now; a year, where no level holds anything yet."""
    end = to_ms(now)
    starts = [holding.start for holding in cascade.holdings if holding.rollup and holding.start is not None]
    return TimeRange(min([*starts, end - _SHORTEST]) if starts else end - 365 * DAY_MS, end)


def moved(span: TimeRange, outer: TimeRange, *, zoom: float = 1, by: float = 0) -> TimeRange:
    """A range within an outer one: ``zoom`` times as long, moved ``by`` a part of its length."""
    before = span.end - span.start
    length = max(round(before * zoom), _SHORTEST)
    start = (span.start + span.end - length) // 2 + round(before * by)
    return _inside(TimeRange(start, start + length), outer)


def part_of(outer: TimeRange, low: float, high: float) -> TimeRange:
    """The range from one percentage of another one to a second."""
    length = outer.end - outer.start
    start, end = (outer.start + round(length * min(max(percent, 0), 100) / 100) for percent in (low, high))
    return _inside(TimeRange(start, max(end, start + _SHORTEST)), outer)


def percents(span: TimeRange, outer: TimeRange) -> tuple[float, float]:
    """Where in another range it begins and ends, in per cent."""
    length = outer.end - outer.start
    return (span.start - outer.start) / length * 100, (span.end - outer.start) / length * 100


def _inside(span: TimeRange, outer: TimeRange) -> TimeRange:
    length = min(span.end - span.start, outer.end - outer.start)
    start = min(max(span.start, outer.start), outer.end - length)
    return TimeRange(start, start + length)


def exact_text(instant: int) -> str:
    """An instant as it stands in an address."""
    return from_ms(instant).replace(tzinfo=None).isoformat(timespec="milliseconds").removesuffix(".000") + "Z"


def find_metric(metrics: Sequence[Metric], name: str) -> Metric | None:
    """A metric by its name; the first if none is named."""
    return next((m for m in metrics if not name or name in (m.name, m.column.name)), None)


def wanted_texts(cascade: Cascade, asked: Asked) -> tuple[str, ...]:
    """What to fetch: first what is shown, then with an average of a single line the least and greatest values."""
    metric = find_metric(cascade.metrics, asked.metric)
    if metric is None or asked.metric == ROW_COUNT:
        name = asked.metric or ROW_COUNT
        return (f"{name}:{asked.aggregate}" if asked.aggregate and name != ROW_COUNT else name,)
    aggregate = asked.aggregate or metric.answers[0]
    has_band = aggregate == "avg" and {Part.MIN, Part.MAX} <= set(metric.parts) and not asked.by
    return tuple(f"{metric.name}:{one}" for one in (aggregate, *(("min", "max") if has_band else ())))
