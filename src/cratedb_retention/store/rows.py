"""
How rows of the toolkit's tables are read and written: long texts, and changing a row only if it still is what was read.

CrateDB takes 32,766 bytes in a column that it indexes; what is longer is in a column beside it, which has no index. It
tells the versions of a row apart by columns of its own, ``_seq_no`` and ``_primary_term``, and by nothing else;
elsewhere the column ``version`` of the table does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.database import Database

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


def stamp_names(database: Database) -> tuple[str, ...]:
    """The columns that make a stamp."""
    return database.row_version or ("version",)


def stamp_columns(database: Database) -> list[sa.ColumnClause[Any]]:
    """What a query has to ask for beside the table's own columns."""
    return [sa.column(name) for name in database.row_version]


def stamp_of(database: Database, row: Mapping[str, Any]) -> tuple[int, ...]:
    """The stamp of a row that was read with these columns."""
    return tuple(row[name] for name in stamp_names(database))


def unchanged(database: Database, stamp: Sequence[int]) -> list[sa.ColumnElement[bool]]:
    """Conditions that a row fits only while nobody changed it."""
    return [sa.column(name) == value for name, value in zip(stamp_names(database), stamp, strict=True)]
