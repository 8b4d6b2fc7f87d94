"""
Change tokens on CrateDB: which incarnation of a partition it is, and how many operations its primary shards have seen.

``seq_no_stats['max_seq_no']`` grows with each insert, update and delete; ``partition_uuid`` differs when a partition
was dropped and came into being again. So an equal token means: nothing was written since.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import sqlalchemy as sa

from cratedb_retention.engine.cratedb.sql import system
from cratedb_retention.engine.database import Database
from cratedb_retention.model.catalog import TableName, Value


def read_tokens(database: Database, table: TableName, idents: Sequence[str]) -> dict[str, str]:
    """The tokens of partitions, by ident; those that are gone are missing."""
    s = system("sys.shards")
    writes: sa.ColumnElement[int] = sa.func.sum(sa.literal_column("seq_no_stats['max_seq_no']") + 1)
    statement = (
        sa.select(s.partition_ident, s.partition_uuid, writes)
        .where(s.schema_name == table.schema, s.table_name == table.name, s.partition_ident.in_(idents), s.primary)
        .group_by(s.partition_ident, s.partition_uuid)
    )
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for ident, uuid, count in database.brief().rows(statement):
        found[ident][uuid] = count or 0
    return {ident: format_token(counts) for ident, counts in found.items()}


def find_token(database: Database, table: TableName, columns: Sequence[str], values: Sequence[Value]) -> str | None:
    """The token of the partition with some values; None if there is none."""
    p = system("information_schema.table_partitions")
    mine = (p.table_schema == table.schema, p.table_name == table.name)
    for ident, by_column in database.brief().rows(sa.select(p.partition_ident, p["values"]).where(*mine)):
        if [by_column[column] for column in columns] == list(values):
            return read_tokens(database, table, [ident]).get(ident)
    return None


def incarnations(token: str) -> set[str]:
    """What of a token stays the same as long as a partition is not dropped."""
    return {part.partition(":")[0] for part in token.split("+")}


def format_token(counts: dict[str, int]) -> str:
    """A token from the operations of each incarnation; there is one, unless a restore is under way."""
    return "+".join(f"{uuid}:{count}" for uuid, count in sorted(counts.items(), key=str))


def is_protected(database: Database, table: TableName, ident: str) -> bool | None:
    """Whether a partition refuses writes, being frozen or closed; None if it is gone."""
    p = system("information_schema.table_partitions")
    frozen: sa.ColumnElement[bool] = sa.literal_column("settings['blocks']['write']")
    mine = (p.table_schema == table.schema, p.table_name == table.name, p.partition_ident == ident)
    rows = database.brief().rows(sa.select(p.closed, frozen).where(*mine))
    return bool(rows[0][0] or rows[0][1]) if rows else None
