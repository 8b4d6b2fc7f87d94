"""
Texts of any length in the toolkit's tables. CrateDB takes 32,766 bytes in a column that it indexes, and does not change
that of one that is there; so what is longer is in a column beside it, which has no index.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LONGEST = 32_766
_MORE = " …"


def fits(text: str) -> bool:
    """Whether a text can be indexed."""
    return len(text.encode()) <= LONGEST


def text_values(name: str, text: str | None) -> dict[str, str | None]:
    """A text as the two columns that it may be in."""
    return {name: text, f"{name}_long": None} if text is None or fits(text) else {name: "", f"{name}_long": text}


def read_text(row: Mapping[str, Any], name: str) -> Any:
    """A text from the two columns that it may be in."""
    return row[f"{name}_long"] or row[name]


def cut(text: str) -> str:
    """As much of a text for people as can be indexed."""
    if fits(text):
        return text
    return text.encode()[: LONGEST - len(_MORE.encode())].decode(errors="ignore") + _MORE
