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


def snapshot_name(table: TableName, columns: Sequence[Column], values: Sequence[Value], token: str) -> str:
    """
    A snapshot's name: readable, and the same exactly when table, partition and content are the same.

    So a run that was interrupted finds its snapshot again, and a partition that was written to since gets another.
    CrateDB wants lower case and forbids blanks, commas and ``\\ / * ? " < > |``.
    """
    words = [table.schema, table.name, *(show_value(c, v) for c, v in zip(columns, values, strict=True))]
    slug = re.sub(r"[^a-z0-9_]+", "-", "-".join(words).lower()).strip("-_")[:120].rstrip("-_")
    identity = json.dumps([table, list(values), token], ensure_ascii=True, default=str)
    return f"{slug}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}".lstrip("-")
