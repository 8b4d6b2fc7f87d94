"""
Changing a row only if it still is what was read: CrateDB tells the versions of a row apart by columns of its own,
``_seq_no`` and ``_primary_term``, and by nothing else; elsewhere the column ``version`` of the table does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.database import Database


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
