"""
Archiving on CrateDB: one snapshot for each partition, verified, and only then is the partition dropped (law 2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from cratedb_retention.clock import Clock
from cratedb_retention.engine.base import StepResult
from cratedb_retention.engine.cratedb.delete import check_age, drop_statement
from cratedb_retention.engine.cratedb.health import check_health
from cratedb_retention.engine.cratedb.sql import SQL, CreateSnapshot, DropSnapshot, refresh_partitions, system
from cratedb_retention.engine.cratedb.tokens import is_protected, read_tokens
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.expressions import in_partitions, table_ref
from cratedb_retention.engine.measuring import from_text
from cratedb_retention.errors import DatabaseError, PartitionChanged
from cratedb_retention.model.catalog import Column, TableName, Value
from cratedb_retention.model.plan import DropArchived, SnapshotPartition, VerifySnapshot
from cratedb_retention.model.words import show_partition

POLL_SECONDS = 0.5


def create(database: Database, step: SnapshotPartition, clock: Clock) -> StepResult:
    """
    Archive a frozen partition. A complete snapshot of the same content is kept; what an interrupted run left is not.

    :raises PartitionChanged: if the partition was written to since the plan.
    """
    check_health(database, step.table, step.columns, [step.piece])
    try:
        there = check_token(database, step)
    except PartitionChanged:  # Who looks again at a frozen partition has to see all of it.
        refresh_partitions(database, step.table, step.columns, [step.piece.partition.values])
        raise
    if not there:
        raise PartitionChanged(f"table {step.table}, partition {_label(step)}", "is gone since the plan was made")
    state = _wait_while_in_progress(database, step, clock)
    if state is not None and state["state"] != "SUCCESS":
        database.execute(DropSnapshot(step.repository, step.name))
        state = None
    if state is None:
        database.execute(create_statement(step))
    return StepResult(rows=_count(database, step), partitions=1, size=step.piece.partition.size)


def _count(database: Database, step: SnapshotPartition | DropArchived) -> int | None:
    """The rows of the frozen partition; None if it is closed, which hides them."""
    partition = step.piece.partition
    return None if partition.closed else count_rows(database, step.table, step.columns, partition.values)


def count_rows(database: Database, table: TableName, columns: Sequence[Column], values: Sequence[Value]) -> int:
    """All rows of a partition, also those that were written a moment ago."""
    refresh_partitions(database, table, columns, [values])
    condition = in_partitions(SQL, columns, [values])
    return int(database.rows(sa.select(sa.func.count()).select_from(table_ref(table)).where(condition))[0][0])


def create_statement(step: SnapshotPartition) -> sa.Executable:
    """The CREATE SNAPSHOT."""
    return CreateSnapshot(step.table, step.columns, step.piece.partition.values, step.repository, step.name)


def _wait_while_in_progress(database: Database, step: SnapshotPartition, clock: Clock) -> Mapping[str, Any] | None:
    """The state of a snapshot of that name; one that is being made, perhaps by a run that was killed, is awaited."""
    while True:
        state = find_state(database, step.repository, step.name)
        if state is None or state["state"] != "IN_PROGRESS":
            return state
        clock.sleep(POLL_SECONDS)


def find_state(database: Database, repository: str, name: str) -> Mapping[str, Any] | None:
    """A snapshot as ``sys.snapshots`` shows it; None if there is none."""
    found = database.query(state_statement(repository, [name]))
    return found[0] if found else None


def state_statement(repository: str, names: Iterable[str] | None = None) -> sa.Select[Any]:
    """States of snapshots of a repository, of all or of some."""
    columns = ("name", "repository", "state", "failures", "total_shards", "table_partitions")
    s = system("sys.snapshots")
    found = sa.select(*(s[column] for column in columns)).where(s.repository == repository)
    return found if names is None else found.where(s.name.in_(list(names)))


def is_complete(state: Mapping[str, Any]) -> bool:
    """Whether all of a snapshot was written."""
    return state["state"] == "SUCCESS" and not state["failures"]


def verify_metadata(database: Database, step: VerifySnapshot | DropArchived) -> StepResult:
    """
    Make sure that CrateDB takes a snapshot for complete, and for one of the partition. It does not look at files.

    :raises DatabaseError: if not.
    """
    state = find_state(database, step.repository, step.name)
    thing = f"snapshot {step.repository}.{step.name}"
    if state is None:
        raise DatabaseError(thing, "does not exist", "run again")
    if not is_complete(state):
        failures = "; ".join(state["failures"] or [])
        raise DatabaseError(
            thing, f"is not complete ({state['state']}) {failures}", "look at the repository, run again"
        )
    held = state["table_partitions"] or []
    if not any((p["table_schema"], p["table_name"]) == tuple(step.table) and _lists(p["values"], step) for p in held):
        raise DatabaseError(thing, f"does not hold partition {_label(step)}", "delete the snapshot and run again")
    return StepResult(rows=step.piece.partition.rows, partitions=1, size=step.piece.partition.size)


def _lists(texts: Sequence[str | None], step: VerifySnapshot | DropArchived) -> bool:
    """Whether these are the values of the partition, as snapshots list them: all as text."""
    values = step.piece.partition.values
    return len(texts) == len(values) and all(map(_is_listed_as, values, texts))


def listed_values(columns: Sequence[Column], texts: Sequence[str | None]) -> tuple[Value, ...]:
    """The values of a partition as snapshots list them."""
    return tuple(from_text(column, text) for column, text in zip(columns, texts, strict=True))


def _is_listed_as(value: Value, text: str | None) -> bool:
    if value is None or text is None:
        return value is text
    if isinstance(value, bool):
        return text == ("t" if value else "f")
    return float(text) == value if isinstance(value, float) else text == str(value)


def drop_archived(database: Database, step: DropArchived) -> StepResult:
    """
    Drop a partition whose snapshot is complete and whose content is still the one that was archived.

    :raises PartitionChanged: if it was written to, or thawed, since.
    """
    check_health(database, step.table, step.columns, [step.piece])
    verify_metadata(database, step)
    rows = step.piece.partition.rows
    # It is gone already if the answer to the same statement was lost, and this is the next try.
    if check_token(database, step):
        if step.time_column is not None:
            check_age(database, step.table, step.columns, [step.piece], step.time_column, step.before)
        rows = _count(database, step)
        database.execute(drop_statement(step.table, step.columns, [step.piece]))
    return StepResult(rows=rows, partitions=1, size=step.piece.partition.size)


def _label(step: SnapshotPartition | VerifySnapshot | DropArchived) -> str:
    return show_partition(step.columns, step.piece.partition.values)


def check_token(database: Database, step: SnapshotPartition | VerifySnapshot | DropArchived) -> bool:
    """
    Compare the change token of the partition with the planned one, and see that it can't change any more.

    :return: Whether the partition is still there.
    """
    ident = step.piece.partition.ident
    protected = is_protected(database, step.table, ident)
    if protected is None:
        return False
    thing = f"table {step.table}, partition {_label(step)}"
    if read_tokens(database, step.table, [ident]).get(ident) != step.piece.partition.token:
        raise PartitionChanged(thing, "was written to since the plan was made", "the next run archives it")
    if not protected:
        raise PartitionChanged(thing, "somebody allowed writes to it in the meantime", "the next run archives it")
    return True
