"""Exploring a cascade: the user's choices in the query string of a URL, and the time range that is shown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.duration import read_moment
from cratedb_retention.model.query.reading import Cascade
from cratedb_retention.model.rollups.aggregates import Part
from cratedb_retention.model.rollups.cascade import Interval, parse_interval
from cratedb_retention.model.rollups.rollup import ROW_COUNT, Metric
from cratedb_retention.model.time import DAY_MS, TimeRange, from_ms, to_ms
from cratedb_retention.model.words import read_value

EVERYTHING = "everything"
# Named time ranges, and their start relative to now.
RANGES: Mapping[str, str] = {"hour": "-1h", "day": "-1d", "week": "-7d", "month": "-30d", "year": "-365d"}
# The minimum length of a range: buckets are at least one second long.
_SHORTEST = 10_000
WHERE = "where."
# The parameters of a URL, whose values may be invalid: ``table`` (``schema.name``), ``metric`` (as ``temperature:max``;
# default: the first), ``by`` (dimensions, separated by commas), ``where.`` and a dimension, ``step`` (default: by the
# time range), ``range`` (a word of ``RANGES``, or ``everything``) or ``from`` and ``until``.
_KEYS = ("table", "metric", "by", "step", "range", "from", "until")
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


def _inside(span: TimeRange, outer: TimeRange) -> TimeRange:
    length = min(span.end - span.start, outer.end - outer.start)
    start = min(max(span.start, outer.start), outer.end - length)
    return TimeRange(start, start + length)


def exact_text(instant: int) -> str:
    """An instant as in a URL."""
    return from_ms(instant).replace(tzinfo=None).isoformat(timespec="milliseconds").removesuffix(".000") + "Z"


def read_step(asked: Asked, span: TimeRange, most: int) -> Interval | None:
    """
    The chosen length of buckets; None: chosen by the time range.

    :raises InvalidInput: if it is none, or gives more than ``most`` buckets.
    """
    if not (text := asked.get("step", "")):
        return None
    step = parse_interval(text)
    count = (span.end - span.start) // (1000 * step.approximate_seconds)
    if count > most:
        raise InvalidInput(f"step {text}", f"gives {count:,} points", "choose a longer step or a shorter time range")
    return step


def read_metric(cascade: Cascade, asked: Asked) -> tuple[Metric | None, str]:
    """The chosen metric and its aggregate; None: the number of rows, or no metric of the cascade."""
    text = asked.get("metric", "")
    if not text and cascade.metrics:
        return cascade.metrics[0], cascade.metrics[0].answers[0]
    if metric := _find_metric(cascade, text):
        return metric, metric.answers[0]
    name, _, aggregate = text.rpartition(":")
    return _find_metric(cascade, name), aggregate


def _find_metric(cascade: Cascade, name: str) -> Metric | None:
    return next((metric for metric in cascade.metrics if name in (metric.name, metric.column.name)), None)


def wanted_texts(cascade: Cascade, asked: Asked) -> tuple[str, ...]:
    """The metrics to fetch: the one that is shown, and minimum and maximum beside an average without groups."""
    metric, aggregate = read_metric(cascade, asked)
    if metric is None:
        return (asked.get("metric") or ROW_COUNT,)
    has_band = aggregate == "avg" and {Part.MIN, Part.MAX} <= set(metric.parts) and not groups(asked)
    return tuple(f"{metric.name}:{one}" for one in (aggregate, *(("min", "max") if has_band else ())))
