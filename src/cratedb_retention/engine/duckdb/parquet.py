"""
Archived columns in Parquet files, so that each value comes back exactly: as they are, or as text where Parquet has no
such type. Where neither is exact, a table can't be archived.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

from cratedb_retention.model.catalog import Column

# Parquet's own types, and those that Parquet holds as text or numbers which DuckDB casts back exactly.
_NATIVE = frozenset(
    {"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "FLOAT"}
    | {"DOUBLE", "DECIMAL", "BIGNUM", "VARINT", "BIT", "VARCHAR", "BLOB", "UUID", "JSON", "ENUM", "DATE", "TIME"}
    | {"TIME_NS", "TIMESTAMP", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "STRUCT", "MAP", "UNION"}
)
# Parquet would round them, or refuse some of their values.
_AS_TEXT = frozenset({"HUGEINT", "UHUGEINT", "INTERVAL", "TIME WITH TIME ZONE", "TIMESTAMP_S"})
_QUOTED = re.compile(r""""(?:[^"]|"")*"|'(?:[^']|'')*'""")
_SCALAR_UNION = re.compile(r"UNION\([^\[\]]*\)(\[\d*\])*")


def _words(data_type: str) -> set[str]:
    """The names of the types that a type is made of; names of fields, values and numbers are left out."""
    found = set()
    for part in re.split(r"[(),\[\]]", _QUOTED.sub("q", data_type)):
        word = part.strip()
        if word and not word.isdigit() and word != "q":
            # In a STRUCT or UNION, a field's name stands before its type.
            found.add(word if word in _NATIVE | _AS_TEXT else word.partition(" ")[2])
    return found


def is_exact(data_type: str) -> bool:
    """Whether every value of a type comes back exactly from an archive."""
    words = _words(data_type)
    if not words <= _NATIVE | _AS_TEXT:
        return False
    if "UNION" in words:
        # DuckDB reads it back as a STRUCT, and does not cast one with nested members.
        scalar = _SCALAR_UNION.fullmatch(_QUOTED.sub("q", data_type)) and data_type.count("UNION(") == 1
        return bool(scalar) and not words & (_AS_TEXT | {"STRUCT", "MAP"})
    # As text, JSON inside of another type is written in another way.
    return not (words & _AS_TEXT and "JSON" in words)


def inexact(columns: Iterable[Column]) -> tuple[str, ...]:
    """The columns whose values an archive can't hold exactly, with their types."""
    return tuple(f"{column.name} ({column.type})" for column in columns if not is_exact(column.type))


def to_file(column: Column) -> sa.ColumnElement[Any]:
    """A column as it is written."""
    found: sa.ColumnElement[Any] = sa.column(quoted_name(column.name, True))
    if _words(column.type) & _AS_TEXT:
        return sa.cast(found, sa.Text()).label(quoted_name(column.name, True))
    return found


def archived_rows(path: Path, columns: Iterable[Column]) -> sa.Subquery:
    """
    The rows of a Parquet file, with the types that they had in their table.

    A path with wildcards means itself, and a directory like ``year=2024`` is no column.
    """
    literal = re.sub(r"[*?\[]", lambda match: f"[{match[0]}]", str(path))
    read = sa.func.read_parquet(literal, sa.literal_column("hive_partitioning = false"))
    values = [
        sa.cast(sa.column(quoted_name(column.name, True)), DuckType(column.type)).label(quoted_name(column.name, True))
        for column in columns
    ]
    return sa.select(*values).select_from(read.table_valued("file_row_number")).subquery("archived")


class DuckType(sa.types.UserDefinedType[Any]):
    """A type in DuckDB's own words."""

    cache_ok = True

    def __init__(self, words: str) -> None:
        self.words = words

    def get_col_spec(self, **kw: Any) -> str:
        """The words."""
        return self.words


def try_cast(value: sa.ColumnElement[Any], data_type: str) -> sa.ColumnElement[Any]:
    """A value as another type; NULL where it is none."""
    return sa.try_cast(value, DuckType(data_type))
