"""The columns of tables: what stands in them about a thing, as text, whatever draws the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from cratedb_retention.model import words
from cratedb_retention.model.time import EVER, TimeRange

T = TypeVar("T")
_MOST = 10  # Texts that are shown of many.


@dataclass(frozen=True, kw_only=True)
class Bit:
    """A piece of text in a table."""

    text: str
    href: str = ""  # where it leads; made of our own paths only
    tone: str = ""  # how it looks: badge is-due, muted, many (keeps line ends), ... see the style sheets
    hint: str = ""  # more, on pointing at it


Cell = str | Bit | Sequence[Bit]


def bits_of(cell: Cell) -> Sequence[Bit]:
    return [Bit(text=cell)] if isinstance(cell, str) else [cell] if isinstance(cell, Bit) else cell


@dataclass(frozen=True)
class Column(Generic[T]):
    """A column of a table: what stands in it about a thing, and what that is sorted by if not by its text."""

    label: str
    cell: Callable[[T], Cell]
    order: Callable[[T], float | str | None] | None = None
    align: ClassVar = "left"


class Number(Column[T]):
    align = "right"


class Picture(Column[T]):
    align = "drawn"


def counted(label: str, get: Callable[[T], int | None]) -> Column[T]:
    return Number(label, lambda item: words.count(get(item)), get)


def sized(get: Callable[[T], int | None]) -> Column[T]:
    return Number("Size", lambda item: words.show_size(get(item)), get)


def state(word: str, hint: str = "") -> Bit:
    """A state, with a colour."""
    return Bit(text=word.replace("-", " "), tone=f"badge is-{word}", hint=hint)


def some_of(texts: Sequence[str]) -> list[str]:
    """The first of possibly many texts, and how many more there are."""
    left = len(texts) - _MOST
    return [*texts[:_MOST], *([f"and {left:,} more"] if left > 0 else [])]


def whole(text: str) -> Bit:
    """What is not broken into lines: an instant, a number with its unit."""
    return Bit(text=text, tone="date")


def ends(time: TimeRange) -> list[str]:
    """Both ends of a time range, if any."""
    start, end = (words.moment(end) or "?" for end in time.ends)
    return [] if time == EVER else [start, f"to {end}"]


def time_range(time: TimeRange) -> Cell:
    return list(map(whole, ends(time))) or ""


def sort_name(column: Column[T]) -> str:
    """How an address names a column by which a list is sorted."""
    return column.label.partition(" ")[0].lower()


def in_order(columns: Sequence[Column[T]], items: Sequence[T], by: str) -> list[T]:
    """Items in the order of a column, with ``-`` before its name in reverse; those without a value there come last."""
    for column in columns:
        order: Any = column.order
        if order is not None and sort_name(column) == by.removeprefix("-"):
            known = [item for item in items if order(item) is not None]
            known.sort(key=order, reverse=by.startswith("-"))
            return known + [item for item in items if order(item) is None]
    return list(items)
