"""
Deleting on CrateDB: a DELETE whose condition fits whole partitions drops them, all in one statement.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from cratedb_retention.engine.base import Report, StepResult
from cratedb_retention.engine.cratedb.health import check_health
from cratedb_retention.engine.cratedb.sql import SQL, refresh, refresh_partitions
from cratedb_retention.engine.cratedb.tokens import read_tokens
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.expressions import in_partitions, table_ref
from cratedb_retention.engine.rows import delete_in_batches, require_old
from cratedb_retention.errors import PartitionChanged
from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.plan import DeleteRows, DropPartitions, Piece
from cratedb_retention.model.words import show_partition

# Rows in one DELETE: CrateDB holds the found rows' identifiers in memory.
BATCH = 100_000


def drop_partitions(database: Database, step: DropPartitions) -> StepResult:
    """Drop whole partitions; those whose age came from their rows only if no younger row arrived."""
    check_health(database, step.table, step.columns, step.pieces)
    if step.time_column is not None:
        check_age(database, step.table, step.columns, step.pieces, step.time_column, step.before)
    database.execute(drop_statement(step.table, step.columns, step.pieces))
    rows = [piece.partition.rows for piece in step.pieces]
    sizes = [piece.partition.size or 0 for piece in step.pieces]
    known = None if None in rows else sum(row or 0 for row in rows)
    return StepResult(rows=known, partitions=len(step.pieces), size=sum(sizes))


def drop_statement(table: TableName, columns: Sequence[Column], pieces: Sequence[Piece]) -> sa.Delete:
    """One DELETE for many partitions."""
    values = [piece.partition.values for piece in pieces]
    return sa.delete(table_ref(table)).where(in_partitions(SQL, columns, values))


def check_age(
    database: Database,
    table: TableName,
    columns: Sequence[Column],
    pieces: Sequence[Piece],
    time_column: Column,
    before: int,
) -> None:
    """
    Make sure that frozen partitions hold no young row (law 1), and that none is still being written.

    :raises PartitionChanged: if they do, or if anything was written to them since the plan.
    """
    inexact = [piece for piece in pieces if not piece.exact]
    values = [piece.partition.values for piece in inexact]
    refresh_partitions(database, table, columns, values)
    within = in_partitions(SQL, columns, values)
    require_old(lambda query: database.rows(query)[0][0], SQL, table, time_column, before, within)
    # A write that was under way when the partition was frozen may have ended after the question above.
    tokens = read_tokens(database, table, [piece.partition.ident for piece in inexact])
    for piece in inexact:
        ident = piece.partition.ident
        if ident in tokens and tokens[ident] != piece.partition.token:
            thing = f"table {table}, partition {show_partition(columns, piece.partition.values)}"
            raise PartitionChanged(thing, "was written to since the plan was made", "the next run looks again")


def delete_rows(database: Database, step: DeleteRows, report: Report) -> StepResult:
    """Delete rows oldest first, a bounded number in each statement."""

    def prepare() -> None:
        check_health(database, step.table)
        refresh(database, step.table)

    result = delete_in_batches(database, SQL, step, report, BATCH, prepare)
    # Or a plan that is made right now would find the same rows expired once more.
    refresh(database, step.table)
    return result
