"""
Partition intervals: the time range that a partition covers, read from the generation expression of its column.

Supported are ``date_trunc('month', ts)``, ``date_trunc('day', 'Europe/Vienna', ts)``,
``date_bin('PT1H'::interval, ts, origin)`` and DuckDB's ``time_bucket(INTERVAL '1 hour', ts)``, also with casts. Other
expressions that refer to a single time column (``date_format('%Y-%m', ts)``) determine only that column.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.catalog import TimeUnit
from cratedb_retention.model.duration import parse_duration
from cratedb_retention.model.rollups.cascade import DAY_SECONDS, Interval
from cratedb_retention.model.time import MILLISECOND, UTC, from_ms, parse_time_zone

# The units of ``date_trunc``, in UTC and in other time zones.
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": DAY_SECONDS, "week": 7 * DAY_SECONDS}
_CALENDAR = {"month": Interval(unit="month"), "quarter": Interval(months=3), "year": Interval(unit="year")}
_UNITS = {unit: Interval(seconds) for unit, seconds in _SECONDS.items()} | _CALENDAR
_UNITS_IN_ZONE = {**_UNITS, "day": Interval(unit="day"), "week": Interval(unit="week")}
# A name, a quoted identifier, a text literal, a number, or one other character. A subscript is part of its name.
_TOKEN = re.compile(
    r"""\s*(?:(?P<name>(?:[A-Za-z_][\w$]*|"(?:[^"]|"")*")(?:\['(?:[^']|'')*'\])*)"""
    r"""|(?P<text>'(?:[^']|'')*')|(?P<number>\d+(?:\.\d+)?)|(?P<sign>::|.))""",
    re.DOTALL,
)
# Units per second of the numbers that functions convert to a time. CrateDB needs no function for that.
_FROM_NUMBERS = {"epoch_ms": 1000, "make_timestamp_ms": 1000, "make_timestamp": 1_000_000, "to_timestamp": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """How a generated column divides time into intervals, each identified by its start."""

    time_column: str  # the column whose time is divided
    interval: Interval  # a calendar unit for months, and for days if a time zone is named
    zone: dt.tzinfo = UTC
    # The unit of the column according to the expression, if that converts a whole number to a time.
    unit: TimeUnit | None = None

    def end(self, start: int) -> int | None:
        """The end of the interval that starts at an instant (ms); None if it is outside the calendar."""
        try:
            end = self.interval.end(start, self.zone)
            if self.interval.seconds and self.zone is not UTC:
                # An hour in which the clocks change is longer or shorter; in doubt it ends later.
                before, after = (from_ms(at).astimezone(self.zone).utcoffset() for at in (start, end))
                end += abs((after or dt.timedelta()) - (before or dt.timedelta())) // MILLISECOND
        except (OverflowError, ValueError):
            return None
        return end


class Token(NamedTuple):
    """A name, text, number or other character; or a call, its name in lower case, empty for parentheses alone."""

    kind: str
    text: str
    arguments: tuple[tuple[Token, ...], ...] = ()


Tokens = tuple[Token, ...]


def read_grid(expression: str, columns: Iterable[str]) -> Grid | None:
    """
    Parse a generation expression as the database shows it; None if it is not supported, so that the interval of a
    partition has to be measured.

    :param columns: Names of the table's columns.
    """
    return _read_grid(expression, frozenset(columns))


def read_own_grid(expression: str) -> Grid | None:
    """Like :func:`read_grid`, if the columns are not known: a single name in the place of the time is one."""
    return read_grid(expression, (_unquote(text) for kind, text in _scan(expression) if kind == "name"))


@lru_cache(maxsize=4096)
def _read_grid(expression: str, columns: frozenset[str]) -> Grid | None:
    """Cached, since many tables have the same expression, and each policy reads it again."""
    function, arguments = _call(_bare(_parse(expression)))
    if function == "timezone" and len(arguments) == 2:
        # DuckDB's timezone(zone, date_trunc(unit, timezone(zone, ts))) is CrateDB's date_trunc(unit, zone, ts).
        zone, (function, arguments) = arguments[0], _call(arguments[1])
        local, inner = _call(arguments[-1]) if len(arguments) == 2 else ("", ())
        if local != "timezone" or len(inner) != 2 or inner[0] != zone:
            return None
        arguments = (arguments[0], *inner)
    if (function, len(arguments)) not in (("date_trunc", 2), ("date_trunc", 3), ("date_bin", 3), ("time_bucket", 2)):
        return None
    try:
        truncates = function == "date_trunc"
        column, unit = _time(arguments[-1] if truncates else arguments[1], columns)
        named = _text(arguments[1]) or "" if truncates and len(arguments) == 3 else None
        zone_of: dt.tzinfo = UTC if named is None else parse_time_zone(named)
        text = _text(arguments[0]) or ""
        units = _UNITS if zone_of is UTC else _UNITS_IN_ZONE
        length = units.get(text.lower()) if truncates else _length(text)
    except InvalidInput:
        return None
    # A cast to a date must not shorten the interval, or it would appear to end too early.
    cut = {("as", "date"), ("::", "date")} & set(pairwise(text.lower() for _, text in _scan(expression)))
    if column is None or length is None or (cut and length.seconds % DAY_SECONDS):
        return None
    return Grid(time_column=column, interval=length, zone=zone_of, unit=unit)


def _length(text: str) -> Interval | None:
    """The interval of ``date_bin`` and ``time_bucket``; None if it combines months with days."""
    length = parse_duration(text)
    if bool(length.months) is bool(length.seconds):
        return None
    return Interval.of_months(length.months) if length.months else Interval(length.seconds)


def find_time_column(expression: str, time_columns: Iterable[str]) -> str | None:
    """The only time column that an expression refers to; None if there is none, or more than one."""
    named = {_unquote(text) for kind, text in _scan(expression) if kind == "name"} & set(time_columns)
    return named.pop() if len(named) == 1 else None


def _scan(expression: str) -> list[tuple[str, str]]:
    return [(m.lastgroup or "", m.group(m.lastgroup or 0)) for m in _TOKEN.finditer(expression.strip())]


def _parse(expression: str) -> Tokens:
    """The tokens of an expression, nested by parentheses; empty if these do not match."""
    levels: list[list[list[Token]]] = [[[]]]
    for kind, text in _scan(expression):
        tokens = levels[-1][-1]
        if kind == "sign" and text == "(":
            levels.append([[]])
        elif kind == "sign" and text == "," and len(levels) > 1:
            levels[-1].append([])
        elif kind == "sign" and text == ")":
            if len(levels) == 1:
                return ()
            inside = tuple(map(tuple, levels.pop()))
            tokens = levels[-1][-1]
            named = bool(tokens) and tokens[-1].kind == "name"
            tokens.append(Token("call", tokens.pop().text.lower() if named else "", inside))
        elif text == "." and tokens and tokens[-1] == ("name", "main", ()):
            tokens.pop()  # DuckDB shows functions as ``main.timezone``.
        else:
            tokens.append(Token(kind, text))
    return tuple(levels[0][0]) if len(levels) == 1 else ()


def _call(tokens: Tokens) -> tuple[str, tuple[Tokens, ...]]:
    return tokens[0][1:] if len(tokens) == 1 and tokens[0].kind == "call" else ("", ())


def _bare(tokens: Tokens) -> Tokens:
    while True:
        function, arguments = _call(tokens)
        value, cast = _split(tokens, "::")
        if function in ("", "cast", "try_cast") and len(arguments) == 1:
            tokens = _split(arguments[0], "as")[0] if function else arguments[0]
        elif cast and all(token.kind == "name" for token in cast):
            tokens = value
        else:
            return tokens


def _split(tokens: Tokens, at: str) -> tuple[Tokens, Tokens]:
    place = next((i for i, token in enumerate(tokens) if token.text.lower() == at), len(tokens))
    return tokens[:place], tokens[place + 1 :]


def _unquote(text: str) -> str:
    head, bracket, subscript = text.partition("['")
    name = head[1:-1].replace('""', '"') if head.startswith('"') else head
    return name + bracket + subscript


def _time(argument: Tokens, columns: frozenset[str]) -> tuple[str | None, TimeUnit | None]:
    """The column that an argument refers to, possibly with a cast, or converts to a time, with its unit; else None."""
    tokens = _bare(argument)
    if (column := _column(tokens, columns)) is not None:
        return column, None
    function, arguments = _call(tokens)
    if function == "timezone" and len(arguments) == 2 and _text(arguments[0]) == "UTC":
        tokens = _bare(arguments[1])
        function, arguments = _call(tokens)
    per_second = 1000
    if function in _FROM_NUMBERS and len(arguments) == 1:
        per_second, tokens = _FROM_NUMBERS[function], _bare(arguments[0])
    of, by = map(_bare, _split(tokens, "*"))
    if of and of[0].kind == "number":
        of, by = by, of
    factor = int(by[0].text) if len(by) == 1 and by[0].kind == "number" and by[0].text.isdecimal() else not by
    units = {per_second: TimeUnit.SECONDS, per_second // 1000: TimeUnit.MILLISECONDS}
    column, unit = _column(of, columns), units.get(factor)
    return (column, unit) if column and unit and factor else (None, None)


def _column(tokens: Tokens, columns: frozenset[str]) -> str | None:
    name = _unquote(tokens[0].text) if len(tokens) == 1 and tokens[0].kind == "name" else None
    return name if name in columns else None


def _text(argument: Tokens) -> str | None:
    tokens = _bare(argument)
    if len(tokens) == 2 and tokens[0].kind == "name":
        tokens = tokens[1:]
    return tokens[0].text[1:-1].replace("''", "'") if len(tokens) == 1 and tokens[0].kind == "text" else None
