"""The page about the toolkit's own tables, from their definitions."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cratedb_retention.store.rows import Instant
from cratedb_retention.store.tables import DEFAULT_SCHEMA, Tables
from parts.markdown import HEAD, table

_TYPES = {"TEXT": "text", "BIGINT": "whole number", "INTEGER": "whole number", "BOOLEAN": "true or false"}


def tables() -> str:
    """The page about the toolkit's tables."""
    found = Tables(DEFAULT_SCHEMA, partitions=True).metadata.sorted_tables
    parts = [
        f"{HEAD}\n# The toolkit's tables\n",
        "`cratedb-retention setup` creates these tables in the schema `ext`, or in the schema that `--schema` or\n"
        "`CRATEDB_EXT_SCHEMA` names, and adds columns that are missing in older versions. You may read them by SQL.\n"
        "Change policies and legal holds only through the commands, the HTTP API or the library, so that the changes\n"
        "are in the audit log. Instants are `TIMESTAMP WITH TIME ZONE`. On CrateDB the audit log is partitioned by\n"
        "month.\n",
    ]
    for one in found:
        rows = [(f"`{column.name}`", _type(column), column.doc or "") for column in one.columns]
        parts.append(f"## {one.name}\n\n{one.info['about']}\n\n{table(('Column', 'Type', 'Meaning'), rows)}")
    return "\n".join(parts)


def _type(column: sa.Column[Any]) -> str:
    kind = column.type
    if isinstance(kind, sa.ARRAY):
        return "array of text"
    text = "instant" if isinstance(kind, Instant) else _TYPES[str(kind)]
    return f"{text}, key" if column.primary_key else text
