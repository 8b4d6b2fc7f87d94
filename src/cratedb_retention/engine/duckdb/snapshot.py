"""
Archiving on DuckDB: a Parquet file for each partition, read back and compared before the partition is dropped (law 2).

There is nothing to freeze: the drop compares the partition with what was archived in its own transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.base import StepResult
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.duckdb.catalog import read_columns, read_comment, stored
from cratedb_retention.engine.duckdb.manifest import (
    DATA,
    Manifest,
    check_file,
    checksum,
    publish,
    read_manifest,
    scratch,
)
from cratedb_retention.engine.duckdb.parquet import archived_rows, inexact, to_file
from cratedb_retention.engine.duckdb.sql import SQL, CopyTo, fingerprint, row_hash
from cratedb_retention.engine.expressions import Condition, in_partitions, table_ref
from cratedb_retention.engine.rows import require_old
from cratedb_retention.errors import DatabaseError, InvalidInput, NotFound, PartitionChanged
from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.plan import DropArchived, SnapshotPartition, VerifySnapshot
from cratedb_retention.model.snapshots import why_no_directory
from cratedb_retention.model.words import show_partition

FindRepository = Callable[[str], Path]


def create(database: Database, step: SnapshotPartition, find: FindRepository) -> StepResult:
    """
    Archive a partition. A complete snapshot of the same content is kept.

    :raises PartitionChanged: if the partition was written to since the plan.
    :raises InvalidInput: if the repository is something else than a directory.
    """
    why_not = why_no_directory(step.repository)
    if why_not:
        raise InvalidInput(f"table {step.table}", why_not)
    repository = find(step.repository)
    existing = _complete(repository, step.name)
    if existing is not None:
        return _archived(repository, step.name, existing)
    every = read_columns(database, step.table)
    columns = _archivable(step.table, every)
    directory = scratch(repository, step.name)

    def work(connection: sa.Connection) -> int:
        # One transaction sees one state of the table, so the file holds what the token stands for.
        _check_token(connection, step, columns)
        connection.execute(create_statement(step, columns, directory / DATA))
        return int(connection.execute(_of_partition(step, sa.func.count())).scalar_one())

    rows = database.transact(work)
    manifest = Manifest(
        table=list(step.table),
        columns=[[column.name, column.type] for column in columns],
        partition=_label(step),
        rows=rows,
        token=step.piece.partition.token,
        sha256=checksum(directory / DATA),
        size=(directory / DATA).stat().st_size,
        generated=[(i, c.name, c.type, c.expression) for i, c in enumerate(every.values()) if c.expression],
        comment=read_comment(database, step.table),
        span=(step.piece.start, step.piece.end),
    )
    publish(directory, repository, step.name, manifest)
    return _archived(repository, step.name, manifest)


def _archived(repository: Path, name: str, manifest: Manifest) -> StepResult:
    return StepResult(rows=manifest.rows, partitions=1, size=(repository / name / DATA).stat().st_size)


def _label(step: SnapshotPartition | VerifySnapshot | DropArchived) -> list[list[object]]:
    """The partition as the manifest names it."""
    return [[c.name, v] for c, v in zip(step.columns, step.piece.partition.values, strict=True)]


def _complete(repository: Path, name: str) -> Manifest | None:
    """The manifest of a snapshot whose file is as it says; None if there is none, or it is damaged."""
    try:
        manifest = read_manifest(repository, name)
        check_file(repository, name, manifest)
    except (NotFound, DatabaseError):
        return None
    return manifest


def create_statement(step: SnapshotPartition, columns: Sequence[Column], path: Path) -> CopyTo:
    """The COPY of a partition."""
    selected = list(map(to_file, columns)) or [sa.literal_column("*")]
    return CopyTo(_of_partition(step, *selected), path)


def stored_columns(database: Database, table: TableName) -> list[Column]:
    """The table's columns that hold data of their own."""
    columns = read_columns(database, table)
    if not columns:
        raise NotFound(f"table {table}", "does not exist")
    return stored(columns)


def _archivable(table: TableName, columns: Mapping[str, Column]) -> list[Column]:
    if not columns:
        raise NotFound(f"table {table}", "does not exist")
    found = stored(columns)
    for column in inexact(found):
        raise DatabaseError(f"table {table}", f"column {column} can't be archived exactly", "change its type")
    return found


def _is_mine(step: SnapshotPartition | DropArchived) -> Condition:
    """The rows of the partition."""
    return in_partitions(SQL, step.columns, [step.piece.partition.values])


def _of_partition(step: SnapshotPartition | DropArchived, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Columns or aggregates of the partition."""
    return sa.select(*columns).select_from(table_ref(step.table)).where(_is_mine(step))


def _check_token(connection: sa.Connection, step: SnapshotPartition | DropArchived, columns: Sequence[Column]) -> None:
    token = connection.execute(_of_partition(step, fingerprint(row_hash(columns)))).scalar_one()
    if token != step.piece.partition.token:
        label = show_partition(step.columns, step.piece.partition.values)
        raise PartitionChanged(
            f"table {step.table}, partition {label}",
            "was written to since the plan was made",
            "the next run archives it",
        )


def verify(database: Database, step: VerifySnapshot | DropArchived, find: FindRepository) -> StepResult:
    """
    Read the file back and compare its rows with what was archived.

    :raises DatabaseError: if anything differs.
    """
    manifest = verify_file(database, find(step.repository), step.name)
    if (manifest.table, manifest.partition) != (list(step.table), _label(step)):
        raise DatabaseError(f"snapshot {step.name}", "its manifest names another partition", "run again")
    if manifest.token != step.piece.partition.token:
        raise DatabaseError(f"snapshot {step.name}", "holds another state of the partition", "run again")
    return StepResult(rows=manifest.rows, partitions=1)


def verify_file(database: Database, repository: Path, name: str) -> Manifest:
    """
    Compare a snapshot's checksum, its number of rows, and the rows themselves with its manifest.

    :raises NotFound: if there is no such snapshot.
    :raises DatabaseError: if anything differs.
    """
    manifest = read_manifest(repository, name)
    path = check_file(repository, name, manifest)
    rows_of = archived_rows(path, manifest.stored)
    statement = sa.select(sa.func.count(), fingerprint(row_hash(manifest.stored))).select_from(rows_of)
    rows, token = database.rows(statement)[0]
    if rows != manifest.rows or token != manifest.token:
        raise DatabaseError(f"snapshot {name}", f"holds {rows:,} rows that differ from the {manifest.rows:,} archived")
    return manifest


def drop_archived(database: Database, step: DropArchived, find: FindRepository) -> StepResult:
    """
    Drop a partition whose snapshot is complete and whose content is still the one that was archived.

    :raises PartitionChanged: if it was written to since.
    """
    verify(database, step, find)
    columns = stored_columns(database, step.table)

    def work(connection: sa.Connection) -> int:
        # It is gone already if a run was killed right after it had dropped it.
        if not connection.execute(_of_partition(step, sa.func.count())).scalar_one():
            return 0
        _check_token(connection, step, columns)
        if step.time_column is not None:
            require_old(connection.scalar, SQL, step.table, step.time_column, step.before, _is_mine(step))
        return connection.execute(sa.delete(table_ref(step.table)).where(_is_mine(step))).rowcount

    return StepResult(rows=max(database.transact(work), 0), partitions=1)
