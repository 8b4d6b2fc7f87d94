"""
The values of DuckDB in Parquet files, exactly: they are written unchanged, or as text if Parquet has no such type. If
neither is exact, a table cannot be archived.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.expressions import as_type, ref
from cratedb_retention.model.catalog import Column

# Parquet's own types, and those that it stores as text or numbers, which DuckDB casts back exactly.
_NATIVE = frozenset(
    {"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "FLOAT"}
    | {"DOUBLE", "DECIMAL", "BIGNUM", "VARINT", "BIT", "VARCHAR", "BLOB", "UUID", "JSON", "ENUM", "DATE", "TIME"}
    | {"TIME_NS", "TIMESTAMP", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "STRUCT", "MAP", "UNION"}
)
# Parquet would round them, or reject some of their values.
_AS_TEXT = frozenset({"HUGEINT", "UHUGEINT", "INTERVAL", "TIME WITH TIME ZONE", "TIMESTAMP_S"})
# Arrow has no such types, and Parquet's are read as bytes.
_NOT_IN_ARROW = frozenset({"UUID", "UNION", "BIT", "BIGNUM", "VARINT", "ENUM"})
# Parquet has no such types, so that only DuckDB reads them as what they are.
_OWN = frozenset({"UNION", "BIT", "BIGNUM", "VARINT"})
_QUOTED = re.compile(r""""(?:[^"]|"")*"|'(?:[^']|'')*'""")
_SCALAR_UNION = re.compile(r"UNION\([^\[\]]*\)(\[\d*\])*")


def _words(data_type: str) -> set[str]:
    """The names of the types that a type consists of, without names of fields, values and numbers."""
    found = set()
    for part in re.split(r"[(),\[\]]", _QUOTED.sub("q", data_type)):
        word = part.strip()
        if word and not word.isdigit() and word != "q":
            # In a STRUCT or UNION, a field's name stands before its type.
            found.add(word if word in _NATIVE | _AS_TEXT else word.partition(" ")[2])
    return found


def is_exact(data_type: str) -> bool:
    """Whether an archive restores each value of a type exactly."""
    words = _words(data_type)
    if not words <= _NATIVE | _AS_TEXT:
        return False
    if "UNION" in words:
        # DuckDB reads it back as a STRUCT, and does not cast one with nested members.
        scalar = _SCALAR_UNION.fullmatch(_QUOTED.sub("q", data_type)) and data_type.count("UNION(") == 1
        return bool(scalar) and not words & (_AS_TEXT | {"STRUCT", "MAP"})
    # As text, JSON within another type is written differently.
    return not (words & _AS_TEXT and "JSON" in words)


def inexact(columns: Iterable[Column]) -> tuple[str, ...]:
    """The columns whose values an archive cannot store exactly, with their types."""
    return tuple(f"{column.name} ({column.type})" for column in columns if not is_exact(column.type))


def to_file(column: Column) -> sa.ColumnElement[Any]:
    """The values to write. JSON is its own text; Parquet's type of this name is one that few programs read."""
    found = ref(column.name)
    as_text = column.type == "JSON" or _words(column.type) & _AS_TEXT
    return sa.cast(found, sa.Text()).label(found.name) if as_text else found


def literal_path(path: str) -> str:
    """A path in which wildcards are literal."""
    return re.sub(r"[*?\[]", lambda match: f"[{match[0]}]", path)


def archived_rows(file: str, columns: Iterable[Column]) -> sa.Subquery:
    """The rows of a file, with the types of their table. Wildcards and ``year=2024`` in its path are literal."""
    read = sa.func.read_parquet(literal_path(file), sa.literal_column("hive_partitioning = false"))
    return typed_rows(read.table_valued("file_row_number"), columns)


def typed_rows(rows: sa.FromClause, columns: Iterable[Column]) -> sa.Subquery:
    """Rows with the types of their table."""
    values = [as_type(found := ref(column.name), column.type).label(found.name) for column in columns]
    return sa.select(*values).select_from(rows).subquery("archived")


def why_unreadable(columns: Iterable[Column]) -> str | None:
    """Why DuckDB cannot read a file in an object store, by way of Arrow; None if it can."""
    found = next((column for column in columns if _words(column.type) & _NOT_IN_ARROW), None)
    return None if found is None else f"column {found.name} ({found.type}) cannot be read from an object store"


def why_not_plain(columns: Iterable[Column]) -> str | None:
    """Why other programs cannot read a file; None if they can."""
    found = next((column for column in columns if _words(column.type) & _OWN), None)
    return None if found is None else f"column {found.name} ({found.type}) can be read by DuckDB only"
