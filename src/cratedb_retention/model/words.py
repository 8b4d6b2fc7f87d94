"""
Values, partitions and numbers in words: the same in the plan, the audit log and the pages.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from cratedb_retention.model.catalog import Column, Kind, Value
from cratedb_retention.model.identifiers import is_made_up
from cratedb_retention.model.pairs import write_value
from cratedb_retention.model.time import from_ms, show


def show_value(column: Column, value: Value) -> str:
    """A partition value for people: an instant as a date, NULL as NULL, and the text NULL in quotes."""
    if column.kind is Kind.TIME and isinstance(value, int):
        return show(value)
    return write_value(value)


def show_partition(columns: Sequence[Column], values: Sequence[Value]) -> str:
    """A partition for people: ``tenant=acme, month=2024-01-01``."""
    return ", ".join([f"{c.name}={show_value(c, v)}" for c, v in zip(columns, values, strict=True)])


def show_where(where: Sequence[tuple[Column, Value]]) -> str:
    """A filter for people: ``tenant=acme``."""
    return " and ".join(f"{column.name}={show_value(column, value)}" for column, value in where)


def plural(count: int, noun: str, several: str | None = None) -> str:
    """``1 partition``, ``1,200 partitions``."""
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"


def show_size(size: int | None) -> str:
    """Bytes for people: ``1.2 MiB``."""
    if size is None:
        return ""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return ""


def short(identifier: str | None) -> str:
    """The beginning of an identifier that was made up, which tells it from others; another one as it is."""
    text = identifier or ""
    return text[:8] if is_made_up(text) else text


def count(value: int | None) -> str:
    """A whole number: ``1,234``; nothing if it is not known."""
    return "" if value is None else f"{value:,}"


def moment(value: dt.datetime | int | None) -> str:
    """An instant in UTC, to the minute, and to the day where it is midnight; milliseconds are read as well."""
    if value is None:
        return ""
    try:
        found = (from_ms(value) if isinstance(value, int) else value).astimezone(dt.UTC)
    except OverflowError:  # Times that were written in another unit than they are read in.
        return f"{value} ms"
    return found.strftime("%Y-%m-%d" if found.time() == dt.time() else "%Y-%m-%d %H:%M")


def exact(value: dt.datetime) -> str:
    """An instant in UTC to the second."""
    return value.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S")


def ago(value: dt.datetime, now: dt.datetime) -> str:
    """How far from now: ``3 hours ago``, ``in 2 days``."""
    seconds = (now - value).total_seconds()
    name, left = "second", abs(seconds)
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if left >= length:
            name, left = unit, left / length
            break
    words = f"{int(left):,} {name}{'' if int(left) == 1 else 's'}"
    return f"{words} ago" if seconds >= 0 else f"in {words}"


def capitalized(text: str) -> str:
    """With a capital letter."""
    return text[:1].upper() + text[1:]
