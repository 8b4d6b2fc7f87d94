"""Exploring a cascade: the user's choices in the query string of a URL, and the time range that is shown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.duration import read_moment
from cratedb_retention.model.query.reading import Cascade
from cratedb_retention.model.rollups.aggregates import Part
from cratedb_retention.model.rollups.rollup import ROW_COUNT, Metric
from cratedb_retention.model.time import DAY_MS, TimeRange, from_ms, to_ms
from cratedb_retention.model.words import read_value

EVERYTHING = "everything"
# Named time ranges, and their start relative to now.
RANGES: Mapping[str, str] = {"hour": "-1h", "day": "-1d", "week": "-7d", "month": "-30d", "year": "-365d"}
# The minimum length of a range: buckets are at least one second long.
_SHORTEST = 10_000
WHERE = "where."
# The parameters of a URL, whose values may be invalid: ``table`` (``schema.name``), ``metric`` (default: the first),
# ``aggregate`` (default: that of the metric), ``by`` (dimensions, separated by commas), ``where.`` and a dimension,
# ``range`` (a word of ``RANGES``, or ``everything``) or ``from`` and ``until``.
_KEYS = ("table", "metric", "aggregate", "by", "range", "from", "until")
Asked = Mapping[str, str]


def read_query(query: Mapping[str, str]) -> Asked:
    """The choices in the parameters of a URL, without unknown parameters."""
    found = {key: value for key, value in query.items() if key in _KEYS or key.startswith(WHERE)}
    start, end = (query.get(name, "").strip() for name in ("from", "until"))
    span = "" if start or end else query.get("range", EVERYTHING)
    return changed(found, {"range": span, "from": start, "until": end})


def changed(asked: Asked, changes: Mapping[str, str]) -> Asked:
    """Change choices; an empty value unsets one."""
    return {key: value for key, value in {**asked, **changes}.items() if value}


def filters(asked: Asked) -> dict[str, str | None]:
    """The chosen values of dimensions; NULL is SQL's NULL, and ``'NULL'`` the text."""
    return {key.removeprefix(WHERE): read_value(value) for key, value in asked.items() if key.startswith(WHERE)}


def groups(asked: Asked) -> tuple[str, ...]:
    return tuple(filter(None, asked.get("by", "").split(",")))


def read_span(asked: Asked, whole: TimeRange, now: dt.datetime) -> TimeRange:
    """The chosen time range, where ``whole`` is ``everything``; InvalidInput if it is invalid."""
    span, start = asked.get("range"), asked.get("from")
    if span == EVERYTHING:
        return whole
    if span and span not in RANGES:
        raise InvalidInput(f"range {span!r}", "unknown", f"choose one of {', '.join(RANGES)}, {EVERYTHING}")
    until = read_moment(asked.get("until"), now)
    end = to_ms(until)
    if not (span or start):
        return TimeRange(min(whole.start, end - _SHORTEST), end)
    begin = to_ms(read_moment(start or RANGES[span or ""], until))
    if begin >= end:
        raise InvalidInput("range", "its end is not after its start", "choose a later end")
    return TimeRange(begin, end)


def whole_span(cascade: Cascade, now: dt.datetime, archived_since: int | None = None) -> TimeRange:
    """The time range from the first data of a level or an archive until now; one year if there is neither."""
    end = to_ms(now)
    levels = [holding.start for holding in cascade.holdings if holding.rollup]
    starts = [start for start in (*levels, archived_since) if start is not None]
    return TimeRange(min([*starts, end - _SHORTEST]) if starts else end - 365 * DAY_MS, end)


def moved(span: TimeRange, outer: TimeRange, *, zoom: float = 1, by: float = 0) -> TimeRange:
    """Move a range within an outer one: ``zoom`` times as long, shifted ``by`` a fraction of its length."""
    before = span.end - span.start
    length = max(round(before * zoom), _SHORTEST)
    start = (span.start + span.end - length) // 2 + round(before * by)
    return _inside(TimeRange(start, start + length), outer)


def part_of(outer: TimeRange, low: float, high: float) -> TimeRange:
    """The part of a range between two percentages of its length."""
    length = outer.end - outer.start
    start, end = (outer.start + round(length * min(max(percent, 0), 100) / 100) for percent in (low, high))
    return _inside(TimeRange(start, max(end, start + _SHORTEST)), outer)


def percents(span: TimeRange, outer: TimeRange) -> tuple[float, float]:
    """The start and the end of a range as percentages of an outer one."""
    length = outer.end - outer.start
    return (span.start - outer.start) / length * 100, (span.end - outer.start) / length * 100


def _inside(span: TimeRange, outer: TimeRange) -> TimeRange:
    length = min(span.end - span.start, outer.end - outer.start)
    start = min(max(span.start, outer.start), outer.end - length)
    return TimeRange(start, start + length)


def exact_text(instant: int) -> str:
    """An instant as in a URL."""
    return from_ms(instant).replace(tzinfo=None).isoformat(timespec="milliseconds").removesuffix(".000") + "Z"


def find_metric(metrics: Sequence[Metric], name: str) -> Metric | None:
    """Find a metric by its name; an empty name means the first one."""
    return next((m for m in metrics if not name or name in (m.name, m.column.name)), None)


def wanted_texts(cascade: Cascade, asked: Asked) -> tuple[str, ...]:
    """The metrics to fetch: the one that is shown, and minimum and maximum beside an average without groups."""
    name, aggregate = asked.get("metric", ""), asked.get("aggregate")
    metric = find_metric(cascade.metrics, name)
    if metric is None or name == ROW_COUNT:
        return (f"{name}:{aggregate}" if aggregate and name not in ("", ROW_COUNT) else name or ROW_COUNT,)
    aggregate = aggregate or metric.answers[0]
    has_band = aggregate == "avg" and {Part.MIN, Part.MAX} <= set(metric.parts) and not groups(asked)
    return tuple(f"{metric.name}:{one}" for one in (aggregate, *(("min", "max") if has_band else ())))
