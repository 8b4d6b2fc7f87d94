"""
Snapshots: how they are named, and what is known of one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

from cratedb_retention.model.catalog import Column, TableName, Value
from cratedb_retention.model.words import show_value

# A partition with the change token that it had when it was restored.
RestoredPartition = tuple[TableName, tuple[Value, ...], str]


def snapshot_name(
    table: TableName, columns: Sequence[Column], values: Sequence[Value], token: str, copy: int = 0
) -> str:
    """
    A snapshot's name: readable, and the same exactly when table, partition and content are the same.

    So a run that was interrupted finds its snapshot again, and a partition that was written to since gets another.
    CrateDB wants lower case and forbids blanks, commas and ``\\ / * ? " < > |``.

    :param copy: Grows where the same content came again, and is not what was archived before.
    """
    identity = json.dumps([table, list(values), token, *([copy] if copy else [])], ensure_ascii=True, default=str)
    return _joined(_slug(table, columns, values), hashlib.sha256(identity.encode()).hexdigest()[:12])


def is_name_of(name: str, table: TableName, columns: Sequence[Column], values: Sequence[Value]) -> bool:
    """Whether a snapshot of a partition can have this name."""
    digest = name[-12:]
    return re.fullmatch("[0-9a-f]{12}", digest) is not None and name == _joined(_slug(table, columns, values), digest)


def is_toolkit_name_of(name: str, table: TableName, values: Sequence[Value]) -> bool:
    """Whether cratedb-toolkit gives a snapshot of a partition this name."""
    return len(values) == 1 and name == f"{table.schema}.{table.name}-{values[0]}"


def _joined(slug: str, digest: str) -> str:
    return f"{slug}-{digest}".lstrip("-")


def _slug(table: TableName, columns: Sequence[Column], values: Sequence[Value]) -> str:
    words = [table.schema, table.name, *(show_value(c, v) for c, v in zip(columns, values, strict=True))]
    return re.sub(r"[^a-z0-9_]+", "-", "-".join(words).lower()).strip("-_")[:120].rstrip("-_")
