"""
Deleting on DuckDB: one statement in one transaction, so what it checks is what it deletes.
"""

from __future__ import annotations

import sqlalchemy as sa

from cratedb_retention.engine.base import Report, StepResult
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.duckdb.sql import SQL
from cratedb_retention.engine.expressions import in_partitions, table_ref
from cratedb_retention.engine.rows import delete_in_batches
from cratedb_retention.model.plan import DeleteRows, DropPartitions

# Rows in one DELETE: until the transaction ends, DuckDB needs some 60 bytes for each, if the table has a primary key.
BATCH = 10_000_000


def drop_partitions(database: Database, step: DropPartitions) -> StepResult:
    """Delete the rows of partitions."""
    return StepResult(rows=max(database.execute(drop_statement(step)), 0), partitions=len(step.pieces))


def drop_statement(step: DropPartitions) -> sa.Delete:
    """One DELETE for many partitions; where their age came from their rows, one that is younger or has none stays."""
    condition = in_partitions(SQL, step.columns, [piece.partition.values for piece in step.pieces])
    if step.time_column is not None:
        young = SQL.column(step.time_column) >= SQL.value(step.time_column, step.before)
        condition = sa.and_(condition, sa.not_(sa.func.coalesce(young, sa.true())))
    return sa.delete(table_ref(step.table)).where(condition)


def delete_rows(database: Database, step: DeleteRows, report: Report) -> StepResult:
    """Delete rows in batches."""
    return delete_in_batches(database, SQL, step, report, BATCH, lambda: None)
