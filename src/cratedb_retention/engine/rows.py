"""
Deleting rows in batches, oldest first, on any database.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.base import Progress, Report, StepResult
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.expressions import Condition, Expressions, expired_rows, table_ref, time_number
from cratedb_retention.errors import PartitionChanged
from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.plan import DeleteRows
from cratedb_retention.model.time import show
from cratedb_retention.model.words import plural


def delete_in_batches(
    database: Database, sql: Expressions, step: DeleteRows, report: Report, size: int, prepare: Callable[[], None]
) -> StepResult:
    """
    Delete expired rows.

    A batch ends at the time of its last row, so rows of the same time go together, however many they are.

    :param size: Rows in a batch.
    :param prepare: Called before each batch.
    :raises PartitionChanged: if all of the rows are rolled up, and there are more of them.
    """
    expired, deleted = _expired(sql, step), 0
    time = sql.column(step.time_column)
    while True:
        prepare()
        # Counted, since putting rows in order costs far more, and mostly there is nothing to divide.
        left = database.rows(sa.select(sa.func.count()).select_from(table_ref(step.table)).where(expired))[0][0]
        _check_surplus(step, left + deleted)
        border = _border(database, sql, step, expired, size) if left > size else None
        if border is None:
            return StepResult(rows=deleted + max(database.execute(rows_statement(sql, step)), 0))
        batch = sa.and_(expired, time <= sql.value(step.time_column, border))
        deleted += max(database.execute(sa.delete(table_ref(step.table)).where(batch)), 0)
        report(Progress(deleted, step.rows, "row"))


def _check_surplus(step: DeleteRows, rows: int) -> None:
    """Law 3: a row that came after the others were rolled up must not go with them."""
    if step.since is not None and step.rows is not None and rows > step.rows:
        raise PartitionChanged(
            f"table {step.table}, {show(step.since)} to {show(step.before)}",
            f"{plural(rows - step.rows, 'row')} came after the others were rolled up",
            "the next run looks again",
        )


def _border(database: Database, sql: Expressions, step: DeleteRows, expired: Condition, size: int) -> int | None:
    """The time of the last row of a batch (ms); None if there is none any more."""
    time = sql.column(step.time_column)
    ordered = (
        sa.select(time_number(sql, step.time_column, time))
        .select_from(table_ref(step.table))
        .where(expired)
        .order_by(time)
    )
    found = database.rows(ordered.limit(1).offset(size - 1))
    # Rounded up: a database may know fractions of a millisecond, and each batch must take at least one row.
    return int(found[0][0]) * step.time_column.tick + 1 if found and found[0][0] is not None else None


def require_old(
    read: Callable[[sa.Select[Any]], Any],
    sql: Expressions,
    table: TableName,
    time_column: Column,
    before: int,
    within: Condition,
) -> None:
    """
    Make sure that no row of frozen partitions is young (law 1).

    :param read: Executes a query for one value.
    :param before: The instant (ms, UTC) before which rows are old.
    :param within: Fits the rows of the partitions.
    :raises PartitionChanged: if one is.
    """
    newest_time = time_number(sql, time_column, sa.func.max(sql.column(time_column)))
    newest = read(sa.select(newest_time).select_from(table_ref(table)).where(within))
    if newest is not None and newest * time_column.tick >= before:
        written = f"a row of {show(newest * time_column.tick)} was written to an expired partition"
        raise PartitionChanged(f"table {table}", written, "plan again")


def rows_statement(sql: Expressions, step: DeleteRows) -> sa.Delete:
    """The DELETE of all expired rows."""
    return sa.delete(table_ref(step.table)).where(_expired(sql, step))


def _expired(sql: Expressions, step: DeleteRows) -> Condition:
    return expired_rows(sql, step.time_column, step.before, step.where, step.spared, step.since)
