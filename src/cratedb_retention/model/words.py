"""
Choices; formatting of values, partitions and numbers; and parsing of ``KEY=VALUE`` pairs and identifiers.

``NULL`` is SQL's NULL, and ``'NULL'`` the text NULL; a text that has these quotes itself gets another pair of quotes.
All other values are literal.
"""

from __future__ import annotations

import datetime as dt
import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Self, TypeVar

from cratedb_retention.errors import InvalidInput, NotFound
from cratedb_retention.model.catalog import Column, Kind, Value
from cratedb_retention.model.time import from_ms, show

T = TypeVar("T")
NULL = "NULL"
_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))
_QUOTED = re.compile(rf"""['"]*{NULL}['"]*""")
# The minimum length of a prefix of an identifier, since shorter ones are mistyped too easily.
_SHORTEST = 6
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d(?::\d\d(?:\.\d+)?)?)Z")
_COMMAND = re.compile(r" \(`cratedb-retention [^`]*`\)")
_GENERATED = re.compile(r"[0-9a-f]{8}(?:-?[0-9a-f]{4}){4}[0-9a-f]{8}|[0-9a-f]{16}")


class Choice(enum.StrEnum):
    """A value with its label or its meaning."""

    label: str

    def __new__(cls, value: str, label: str = "") -> Self:
        member = str.__new__(cls, value)
        member._value_, member.label = value, label
        return member


def show_value(column: Column, value: Value) -> str:
    """Format a partition value: an instant as a date, and the text NULL in quotes."""
    return show(value) if column.kind is Kind.TIME and isinstance(value, int) else write_value(value)


def show_partition(columns: Sequence[Column], values: Sequence[Value]) -> str:
    """Format a partition: ``tenant=acme, month=2024-01-01``."""
    return ", ".join([f"{c.name}={show_value(c, v)}" for c, v in zip(columns, values, strict=True)])


def show_where(where: Sequence[tuple[Column, Value]]) -> str:
    """Format a filter: ``tenant=acme``."""
    return " and ".join(f"{column.name}={show_value(column, value)}" for column, value in where)


def plural(count: int, noun: str, several: str | None = None) -> str:
    """``1 partition``, ``1,200 partitions``."""
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"


def show_size(size: int | None) -> str:
    """Format a number of bytes: ``1.2 MiB``."""
    if size is None or size < 1024:
        return "" if size is None else f"{size} B"
    power = next((power for power in (1, 2, 3) if size < 1024 ** (power + 1)), 4)
    return f"{size / 1024**power:.1f} {' KMGT'[power]}iB"


def short(identifier: str | None) -> str:
    """The prefix of a generated identifier, which distinguishes it from others; other identifiers are unchanged."""
    text = identifier or ""
    return text[:8] if _GENERATED.fullmatch(text) else text


def count(value: int | None) -> str:
    """``1,234``; empty if unknown."""
    return "" if value is None else f"{value:,}"


def moment(value: dt.datetime | int | None) -> str:
    """Format an instant in UTC, to the minute, or to the day if it is midnight."""
    if value is None:
        return ""
    try:
        found = (from_ms(value) if isinstance(value, int) else value).astimezone(dt.UTC)
    except OverflowError:  # The time was written in another unit.
        return f"{value} ms"
    return found.strftime("%Y-%m-%d" if found.time() == dt.time() else "%Y-%m-%d %H:%M")


def exact(value: dt.datetime) -> str:
    """Format an instant in UTC, to the second."""
    return value.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S")


def ago(value: dt.datetime, now: dt.datetime) -> str:
    """The distance from now: ``3 hours ago``, ``in 2 days``."""
    left = abs((now - value).total_seconds())
    name, length = next((unit for unit in _UNITS if left >= unit[1]), ("second", 1))
    words = plural(int(left / length), name)
    return f"{words} ago" if value <= now else f"in {words}"


def readable(text: str) -> str:
    """A text for pages: without commands in brackets, and ``2024-07-01T12:00Z`` as ``2024-07-01 12:00 UTC``."""
    return _COMMAND.sub("", _INSTANT.sub(r"\1 \2 UTC", text))


def capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """A text as a sentence: with a capital letter, and a full stop unless it is a question."""
    return capitalized(text) if text.endswith(("?", ".")) else f"{capitalized(text)}."


def read_value(text: str) -> str | None:
    """Parse a value: NULL becomes None, and ``'NULL'`` the text NULL."""
    if text == NULL:
        return None
    return text[1:-1] if _is_quoted(text) else text


def write_value(value: object) -> str:
    """Write a value as :func:`read_value` reads it."""
    if value is None:
        return NULL
    text = plain_text(value)
    return f"'{text}'" if text == NULL or _is_quoted(text) else text


def _is_quoted(text: str) -> bool:
    return text != NULL and text == text[::-1].replace(NULL[::-1], NULL) and _QUOTED.fullmatch(text) is not None


def plain_text(value: object) -> str:
    """A value as text, booleans as in JSON and SQL."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def write_pairs(pairs: Mapping[str, object] | Iterable[tuple[str, object]], separator: str = ", ") -> str:
    """Format pairs: ``tenant=acme, site=NULL``."""
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    return separator.join(f"{key}={write_value(value)}" for key, value in items)


def read_pairs(option: str, values: Sequence[str], example: str = "tenant=acme") -> dict[str, str | None]:
    """Parse ``KEY=VALUE`` pairs, see :func:`read_value`; InvalidInput if a pair is malformed, or a key duplicate."""
    pairs: dict[str, str | None] = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise InvalidInput(f"{option} {text!r}", "not of the form KEY=VALUE", f"write it like {example}")
        if key in pairs:
            raise InvalidInput(f"{option} {key}", "given twice")
        pairs[key] = read_value(value)
    return pairs


def begins(identifier: str, beginning: str) -> bool:
    """Whether a text is an identifier, or a sufficiently long prefix of it."""
    return identifier == beginning or (len(beginning) >= _SHORTEST and identifier.startswith(beginning))


def pick(
    thing: str, given: str, known: Mapping[str, T], remedy: str, missing: str = "does not exist", whole: bool = False
) -> T:
    """
    Find an object by its identifier, or (unless ``whole``) by a prefix of a generated one; NotFound if there is none,
    InvalidInput if the text is empty or ambiguous. The ``remedy`` names the command that shows the identifiers.
    """
    if not given:
        raise InvalidInput(thing, "no identifier", remedy)
    if given in known:
        return known[given]
    begun = [key for key in known if key.startswith(given)]
    found = [key for key in begun if _GENERATED.fullmatch(key) and begins(key, given) and not whole]
    if len(found) > 1:
        raise InvalidInput(f"{thing} {given}", f"ambiguous, {len(found)} match", "write more of the identifier")
    if not found:
        remedy = f"write the whole identifier; {remedy}" if begun else remedy
        raise NotFound(f"{thing} {given}", missing, remedy)
    return known[found[0]]
