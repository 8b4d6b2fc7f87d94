"""
Markup as Python: one function makes elements, and its children are typed. Text becomes markup in one place, where it
is escaped, so that content of the database is always shown as text. What is made is well-formed XML as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TypeAlias


class Markup(str):
    """Text that is markup already. Only elements make it; every operation on it gives plain text, which is escaped."""

    __slots__ = ()


Child: TypeAlias = "str | Iterable[Child] | None"  # None is omitted.
Attribute: TypeAlias = str | int | float | bool | None  # None and False are omitted; True stands for itself.
_EMPTY = frozenset({"br", "hr", "input", "link", "meta"})


def el(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """
    An element. In names of attributes, underscores stand for hyphens, and one at the end for nothing: ``class_``,
    ``aria_label``.
    """
    told = "".join(_attribute(key, value) for key, value in attributes.items())
    return Markup(f"<{name}{told}/>" if name in _EMPTY else f"<{name}{told}>{_write(children)}</{name}>")


def document(*children: Child, **attributes: Attribute) -> str:
    return f"<!doctype html>{el('html', *children, **attributes)}"


def _attribute(key: str, value: Attribute) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    text = "" if value is True else escape(str(value)).replace("\n", "&#10;")  # XML would make blanks of line ends.
    return f' {name}="{text}"'


def _write(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    return escape(child) if isinstance(child, str) else "".join(map(_write, child))
