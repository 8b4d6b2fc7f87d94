"""The columns of tables: what stands in them about a thing, as text, whatever draws the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from cratedb_retention.model import words

T = TypeVar("T")


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
