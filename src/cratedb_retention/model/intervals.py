"""
Partition intervals: which stretch of time a partition covers, read from its column's generation expression.

Understood are ``date_trunc('month', ts)``, ``date_trunc('day', 'Europe/Vienna', ts)``,
``date_bin('PT1H'::interval, ts, origin)`` and DuckDB's ``time_bucket(INTERVAL '1 hour', ts)``, with casts around
or inside. What else refers to one time column (``date_format('%Y-%m', ts)``) at least names that column.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.catalog import TimeUnit
from cratedb_retention.model.duration import parse_duration
from cratedb_retention.model.time import DAY_MS, UTC, WEEK_MS, Period, from_ms, parse_time_zone

_FIXED_MS = {"millisecond": 1, "second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": DAY_MS, "week": WEEK_MS}
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
# A name, a quoted identifier, a text literal, a number, or one sign. A subscript belongs to the name before it.
_TOKEN = re.compile(
    r"""\s*(?:(?P<name>(?:[A-Za-z_][\w$]*|"(?:[^"]|"")*")(?:\['(?:[^']|'')*'\])*)"""
    r"""|(?P<text>'(?:[^']|'')*')|(?P<number>\d+(?:\.\d+)?)|(?P<sign>::|.))""",
    re.DOTALL,
)

# How often a second is counted by a whole number from which a function makes a time. CrateDB needs no function.
_FROM_NUMBERS = {"": 1000, "epoch_ms": 1000, "make_timestamp_ms": 1000, "make_timestamp": 1_000_000, "to_timestamp": 1}

Token = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """How a generated column cuts time into intervals, each named by its start."""

    time_column: str  # the column that the interval is of
    period: Period  # in whole days of the calendar where a time zone is named
    zone: dt.tzinfo = UTC
    # What the expression says that the column counts, where it makes a time of a whole number.
    unit: TimeUnit | None = None

    def end(self, start: int) -> int | None:
        """The end of the interval that starts at an instant (ms); None if that is outside of the calendar."""
        try:
            return self.period.end(start, self.zone) + self._clock_change(start)
        except (OverflowError, ValueError):
            return None

    def _clock_change(self, start: int) -> int:
        """An hour in which the clocks change is longer or shorter; in doubt it ends later."""
        if self.zone is UTC or not self.period.ms:
            return 0
        offsets = [from_ms(at).astimezone(self.zone).utcoffset() for at in (start, start + self.period.ms)]
        before, after = (offset or dt.timedelta() for offset in offsets)
        return abs(after - before) // dt.timedelta(milliseconds=1)


def read_grid(expression: str, columns: Iterable[str]) -> Grid | None:
    """
    Understand a generation expression as the database shows it; None: then the partition's interval must come from its
    rows.

    :param columns: Names of the table's columns.
    """
    return _read_grid(expression, frozenset(columns))


@lru_cache(maxsize=4096)
def _read_grid(expression: str, columns: frozenset[str]) -> Grid | None:
    """Remembered, since many tables are alike, and each is looked at for every policy that means it."""
    tokens = _in_zone(_without_cast(_tokens(expression)))
    if len(tokens) < 4 or tokens[1][1] != "(":
        return None
    grid = _read_call(tokens[0][1].lower(), _arguments(tokens[1:]), columns)
    # What is cut to whole days as well must be of whole days anyway, or an interval would seem to end too early.
    return None if grid and _casts_to_date(_tokens(expression)) and grid.period.ms % DAY_MS else grid


def _in_zone(tokens: list[Token]) -> list[Token]:
    """DuckDB's ``timezone(zone, date_trunc(unit, timezone(zone, ts)))`` as CrateDB's ``date_trunc(unit, zone, ts)``."""
    outer = _call(_without_schema(tokens), "timezone")
    truncated = _call(outer[1], "date_trunc") if len(outer) == 2 else []
    inner = _call(truncated[1], "timezone") if len(truncated) == 2 else []
    if len(inner) != 2 or inner[0] != outer[0]:
        return tokens
    comma = ("sign", ",")
    arguments = [*truncated[0], comma, *outer[0], comma, *inner[1]]
    return [("name", "date_trunc"), ("sign", "("), *arguments, ("sign", ")")]


def _without_schema(tokens: list[Token]) -> list[Token]:
    """DuckDB shows functions as ``main.timezone``."""
    return [token for token in tokens if token not in (("name", "main"), ("sign", "."))]


def _call(tokens: list[Token], function: str) -> list[list[Token]]:
    """The arguments of a call of a function; empty if it is none."""
    return _arguments(tokens[1:]) if tokens[:1] == [("name", function)] else []


def _read_call(function: str, arguments: list[list[Token]], columns: Iterable[str]) -> Grid | None:
    if function == "date_trunc":
        return _date_trunc(arguments, columns)
    binned = (function, len(arguments)) in (("date_bin", 3), ("time_bucket", 2))
    return _binned(arguments[0], arguments[1], columns) if binned else None


def find_time_column(expression: str, time_columns: Iterable[str]) -> str | None:
    """The one time column that an expression refers to; None if there is none, or more than one."""
    known = set(time_columns)
    named = {_unquote(text) for kind, text in _tokens(expression) if kind == "name"} & known
    return named.pop() if len(named) == 1 else None


def _tokens(expression: str) -> list[Token]:
    return [(m.lastgroup or "sign", m.group(m.lastgroup or 0)) for m in _TOKEN.finditer(expression.strip())]


def _arguments(tokens: list[Token]) -> list[list[Token]]:
    """Split ``( a , b ( c ) )`` at its own commas; empty if the bracket is not the whole of it."""
    depth = 0
    found: list[list[Token]] = []
    current: list[Token] = []
    for index, (kind, text) in enumerate(tokens):
        depth += (text == "(") - (text == ")") if kind == "sign" else 0
        if kind == "sign" and (text, depth) in (("(", 1), (")", 0), (",", 1)):
            if text != "(":
                found.append(current)
                current = []
            if text == ")":
                return found if index == len(tokens) - 1 else []
            continue
        current.append((kind, text))
    return []


def _unquote(text: str) -> str:
    head, bracket, subscript = text.partition("['")
    name = head[1:-1].replace('""', '"') if head.startswith('"') else head
    return name + bracket + subscript


def _without_cast(tokens: list[Token]) -> list[Token]:
    """Take ``CAST(x AS type)`` and ``x::type`` off, as often as they stand around the whole."""
    while tokens:
        if tokens[0][1].lower() in ("cast", "try_cast") and len(_arguments(tokens[1:])) == 1:
            inner = _arguments(tokens[1:])[0]
            tokens = inner[: _position_at_depth_0(inner, "as")]
            continue
        double_colon = _position_at_depth_0(tokens, "::")
        if double_colon == len(tokens) or any(kind != "name" for kind, _ in tokens[double_colon + 1 :]):
            return tokens
        tokens = tokens[:double_colon]
    return tokens


def _casts_to_date(tokens: list[Token]) -> bool:
    pairs = ((one[1].lower(), other[1].lower()) for one, other in pairwise(tokens))
    return any(pair in (("as", "date"), ("::", "date")) for pair in pairs)


def _position_at_depth_0(tokens: list[Token], wanted: str) -> int:
    depth = 0
    for index, (_, text) in enumerate(tokens):
        depth += (text == "(") - (text == ")")
        if depth == 0 and text.lower() == wanted:
            return index
    return len(tokens)


def _time(argument: list[Token], columns: Iterable[str]) -> tuple[str | None, TimeUnit | None]:
    """The column that an argument is, or that it makes a time of, with what that counts; else None."""
    column = _column(argument, columns)
    if column is not None:
        return column, None
    bare = _bare(_without_schema(argument))
    zoned = _call(bare, "timezone")
    if len(zoned) == 2 and _text(zoned[0]) == "UTC":
        bare = _bare(zoned[1])
    for function, per_second in _FROM_NUMBERS.items():
        arguments = _call(bare, function) if function else [bare]
        if len(arguments) == 1:
            column, factor = _factor(_bare(arguments[0]), columns)
            unit = {per_second: TimeUnit.SECONDS, per_second // 1000: TimeUnit.MILLISECONDS}.get(factor)
            if column and unit:
                return column, unit
    return None, None


def _factor(tokens: list[Token], columns: Iterable[str]) -> tuple[str | None, int]:
    """A column, and the number that it is multiplied by."""
    position = _position_at_depth_0(tokens, "*")
    if position == len(tokens):
        return _column(tokens, columns), 1
    sides = (_bare(tokens[:position]), _bare(tokens[position + 1 :]))
    for of, by in (sides, sides[::-1]):
        if len(by) == 1 and by[0][0] == "number" and by[0][1].isdecimal():
            return _column(of, columns), int(by[0][1])
    return None, 0


def _bare(tokens: list[Token]) -> list[Token]:
    """Without casts and brackets around the whole."""
    while True:
        inner = _without_cast(tokens)
        bracketed = _arguments(inner) if inner[:1] == [("sign", "(")] else []
        if len(bracketed) != 1:
            return inner
        tokens = bracketed[0]


def _column(argument: list[Token], columns: Iterable[str]) -> str | None:
    """The column that an argument is, perhaps cast to another type; None if it is anything else."""
    bare = _bare(argument)
    if len(bare) != 1 or bare[0][0] != "name":
        return None
    name = _unquote(bare[0][1])
    return name if name in set(columns) else None


def _text(argument: list[Token]) -> str | None:
    return next((text[1:-1].replace("''", "'") for kind, text in argument if kind == "text"), None)


def _date_trunc(arguments: list[list[Token]], columns: Iterable[str]) -> Grid | None:
    if len(arguments) not in (2, 3):
        return None
    unit, (column, counted) = (_text(arguments[0]) or "").lower(), _time(arguments[-1], columns)
    if column is None:
        return None
    try:
        zone: dt.tzinfo = parse_time_zone(_text(arguments[1]) or "") if len(arguments) == 3 else UTC
    except InvalidInput:
        return None
    if unit in _MONTHS:
        period = Period(months=_MONTHS[unit])
    elif unit in ("day", "week") and zone is not UTC:
        period = Period(days=7 if unit == "week" else 1)
    elif unit in _FIXED_MS:
        period = Period(ms=_FIXED_MS[unit])
    else:
        return None
    return Grid(time_column=column, period=period, zone=zone, unit=counted)


def _binned(interval: list[Token], of: list[Token], columns: Iterable[str]) -> Grid | None:
    (column, counted), text = _time(of, columns), _text(interval)
    if column is None or not text:
        return None
    try:
        length = parse_duration(text)
    except InvalidInput:
        return None
    if bool(length.months) is bool(length.seconds):
        return None
    return Grid(time_column=column, period=Period(months=length.months, ms=length.seconds * 1000), unit=counted)
