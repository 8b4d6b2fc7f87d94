"""What pages in Markdown are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_BAR = r"\|"
HEAD = "<!-- Made by docs/generate.py; do not edit. -->\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', _BAR) for cell in line)} |\n" for line in lines)


def from_docstring(text: str) -> str:
    """The text of a docstring in the words of Markdown: code and references to code are what differs."""
    text = re.sub(r":\w+:`~?([^`]*)`", lambda match: f"`{match[1].rpartition('.')[2]}`", text)
    return re.sub(r"``([^`]*)``", r"`\1`", text)


def one_line(text: str) -> str:
    """The same without ends of lines."""
    return " ".join(text.split())
