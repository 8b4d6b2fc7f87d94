"""
Values, partitions and numbers in words: the same in the plan, the audit log and the pages.
"""

from __future__ import annotations

from collections.abc import Sequence

from cratedb_retention.model.catalog import Column, Kind, Value
from cratedb_retention.model.identifiers import is_made_up
from cratedb_retention.model.pairs import write_value
from cratedb_retention.model.time import show


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
