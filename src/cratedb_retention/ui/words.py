"""
Numbers and instants as the pages show them.
"""

from __future__ import annotations

import datetime as dt

from cratedb_retention.model.time import from_ms


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
