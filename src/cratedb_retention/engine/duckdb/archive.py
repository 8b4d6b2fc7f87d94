"""
Archiving on DuckDB: a Parquet file for each partition, read back and compared before the partition is dropped (law 2).

There is nothing to freeze: the drop compares the partition with what was archived in its own transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.archive import Archive, Archived, Arrived, Found, SnapshotState
from cratedb_retention.engine.base import StepResult, require_old
from cratedb_retention.engine.database import Database, Statement
from cratedb_retention.engine.duckdb import files
from cratedb_retention.engine.duckdb.catalog import read_columns, read_comment, stored
from cratedb_retention.engine.duckdb.restore import Restore
from cratedb_retention.engine.duckdb.sql import SQL, copy_to, fingerprint, row_hash
from cratedb_retention.engine.expressions import in_partitions, table_ref
from cratedb_retention.errors import DatabaseError, InvalidInput, NotFound, PartitionChanged, RetentionError
from cratedb_retention.model.catalog import Column, Kind, TableName
from cratedb_retention.model.plan import ArchivingStep, DropArchived, SnapshotPartition, VerifySnapshot
from cratedb_retention.model.snapshots import why_no_directory
from cratedb_retention.model.words import show_partition


class DuckArchive(Archive):
    """Snapshots in directories; those that are not absolute lie beside the database's file."""

    def __init__(self, database: Database, beside: Path) -> None:
        self._database, self._beside = database, beside

    def _directory(self, repository: str) -> Path:
        return (self._beside / repository).resolve()

    def create(self, step: SnapshotPartition) -> StepResult:
        """Writes a file into a directory, and gives it its name when all is there."""
        if why_not := why_no_directory(step.repository):
            raise InvalidInput(f"table {step.table}", why_not)
        repository = self._directory(step.repository)
        manifest = _complete(repository, step.name)
        if manifest is None:
            manifest = self._write(step, repository)
        size = (repository / step.name / files.DATA).stat().st_size
        return StepResult(rows=manifest.rows, partitions=1, size=size)

    def _write(self, step: SnapshotPartition, repository: Path) -> files.Manifest:
        every = self._read_columns(step.table)
        columns = stored(every)
        for column in files.inexact(columns):
            raise DatabaseError(f"table {step.table}", f"column {column} can't be archived exactly", "change its type")
        directory = files.scratch(repository, step.name)

        def work(connection: sa.Connection) -> int:
            # One transaction sees one state of the table, so the file holds what the token stands for.
            _check_token(connection, step, columns)
            connection.execute(_copy(step, columns, directory / files.DATA))
            return int(connection.execute(_of_partition(step, sa.func.count())).scalar_one())

        rows = self._database.transact(work)
        manifest = files.Manifest(
            table=list(step.table),
            columns=[[column.name, column.type] for column in columns],
            partition=_label(step),
            rows=rows,
            token=step.piece.partition.token,
            sha256=files.checksum(directory / files.DATA),
            size=(directory / files.DATA).stat().st_size,
            generated=[(i, c.name, c.type, c.expression) for i, c in enumerate(every.values()) if c.expression],
            comment=read_comment(self._database, step.table),
            span=(step.piece.start, step.piece.end),
        )
        files.publish(directory, repository, step.name, manifest)
        return manifest

    def copy_statement(self, step: SnapshotPartition) -> Statement:
        """The COPY of a partition, for showing."""
        path = self._directory(step.repository) / step.name / files.DATA
        return _copy(step, stored(self._read_columns(step.table)), path)

    def _read_columns(self, table: TableName) -> Mapping[str, Column]:
        columns = read_columns(self._database, table)
        if not columns:
            raise NotFound(f"table {table}", "does not exist")
        return columns

    def prove(self, step: VerifySnapshot | DropArchived) -> StepResult:
        """The file is read back, and its rows are compared with what was archived."""
        manifest = self._verify_file(step.repository, step.name)
        if (manifest.table, manifest.partition) != (list(step.table), _label(step)):
            raise DatabaseError(f"snapshot {step.name}", "its manifest names another partition", "run again")
        if manifest.token != step.piece.partition.token:
            raise DatabaseError(f"snapshot {step.name}", "holds another state of the partition", "run again")
        return StepResult(rows=manifest.rows, partitions=1)

    def _verify_file(self, repository: str, name: str) -> files.Manifest:
        """Compare a snapshot's checksum, its number of rows, and the rows themselves with its manifest."""
        directory = self._directory(repository)
        manifest = files.read_manifest(directory, name)
        file = files.archived_rows(files.check_file(directory, name, manifest), manifest.stored)
        statement = sa.select(sa.func.count(), fingerprint(row_hash(manifest.stored))).select_from(file)
        rows, token = self._database.rows(statement)[0]
        if rows != manifest.rows or token != manifest.token:
            reason = f"holds {rows:,} rows that differ from the {manifest.rows:,} archived"
            raise DatabaseError(f"snapshot {name}", reason)
        return manifest

    def drop(self, step: DropArchived) -> StepResult:
        """Compares and deletes in one transaction."""
        self.prove(step)
        columns, mine = stored(self._read_columns(step.table)), _is_mine(step)

        def work(connection: sa.Connection) -> int:
            # It is gone already if a run was killed right after it had dropped it.
            if not connection.execute(_of_partition(step, sa.func.count())).scalar_one():
                return 0
            _check_token(connection, step, columns)
            require_old(connection.scalar, SQL, step, mine)
            return connection.execute(sa.delete(table_ref(step.table)).where(mine)).rowcount

        return StepResult(rows=max(self._database.transact(work), 0), partitions=1)

    def states(self, snapshots: Iterable[tuple[str, str]]) -> dict[tuple[str, str], SnapshotState]:
        """Whether manifests can be read, and the size of files."""
        found = {}
        for repository, name in snapshots:
            try:
                wrong = files.glance(self._directory(repository), name)
            except NotFound:
                continue
            found[repository, name] = SnapshotState(
                repository=repository, name=name, complete=wrong is None, detail=wrong or "SUCCESS"
            )
        return found

    def find(self, repository: str, schema: str) -> list[Found]:
        """As their manifests tell of them."""
        directory = self._directory(repository)
        manifests = {}
        for name in files.find_names(directory):
            try:
                manifests[name] = files.read_manifest(directory, name)
            except RetentionError:
                continue  # Nothing tells what it is.
        superseded = self._superseded(directory, manifests)
        return [_found(repository, name, manifest, name in superseded) for name, manifest in manifests.items()]

    def _superseded(self, directory: Path, manifests: Mapping[str, files.Manifest]) -> set[str]:
        """Those of which a larger snapshot of the same partition holds all rows: it was restored and archived again."""
        of: dict[str, list[str]] = {}
        for name, manifest in manifests.items():
            of.setdefault(str((manifest.table, manifest.partition)), []).append(name)
        return {
            one
            for names in of.values()
            for one, other in permutations(names, 2)
            if manifests[one].rows < manifests[other].rows
            and self._common((directory, one), (directory, other)) == manifests[one].rows
        }

    def _read_back(self, snapshot: Archived, schema: str) -> tuple[int, str]:
        rows = self._verify_file(snapshot.repository, snapshot.name).rows
        return rows, f"checksum and {rows:,} rows are as archived"

    def continues(self, earlier: Archived, step: DropArchived, token: str | None, whole: bool, schema: str) -> bool:
        """By their rows; a file tells no incarnations apart."""
        ours = (self._directory(earlier.repository), earlier.name)
        common = self._common(ours, (self._directory(step.repository), step.name))
        return common == files.read_manifest(*ours).rows if whole else common > 0

    def _common(self, *snapshots: tuple[Path, str]) -> int:
        """How many rows two snapshots have in common, by the columns that both have."""
        first, second = (files.read_manifest(*snapshot).stored for snapshot in snapshots)
        columns = [column for column in first if column in second]
        if not columns:
            return 0
        rows = (files.archived_rows(directory / name / files.DATA, columns) for directory, name in snapshots)
        hashes = [sa.select(row_hash(columns)).select_from(each) for each in rows]
        shared = sa.intersect_all(*hashes).subquery("shared")
        return int(self._database.rows(sa.select(sa.func.count()).select_from(shared))[0][0])

    def restore(
        self, snapshots: Sequence[Archived], into: TableName, schema: str, others: Sequence[Archived]
    ) -> Arrived:
        """In one transaction."""
        return self._restore(snapshots, into, others).perform()

    def render_restore(
        self, snapshots: Sequence[Archived], into: TableName, others: Sequence[Archived]
    ) -> Sequence[str]:
        return list(map(self._database.render, self._restore(snapshots, into, others).statements()))

    def _restore(self, snapshots: Sequence[Archived], into: TableName, others: Sequence[Archived]) -> Restore:
        own, besides = (
            [(self._directory(each.repository), each.name) for each in archived] for archived in (snapshots, others)
        )
        return Restore(self._database, snapshots[0], into, own, besides)


def _label(step: ArchivingStep) -> list[list[object]]:
    """The partition as the manifest names it."""
    return [[c.name, v] for c, v in zip(step.columns, step.piece.partition.values, strict=True)]


def _complete(repository: Path, name: str) -> files.Manifest | None:
    """The manifest of a snapshot whose file is as it says; None if there is none, or it is damaged."""
    try:
        manifest = files.read_manifest(repository, name)
        files.check_file(repository, name, manifest)
    except (NotFound, DatabaseError):
        return None
    return manifest


def _copy(step: SnapshotPartition, columns: Iterable[Column], path: Path) -> Statement:
    selected = list(map(files.to_file, columns)) or [sa.literal_column("*")]
    return copy_to(_of_partition(step, *selected), path)


def _is_mine(step: ArchivingStep) -> sa.ColumnElement[bool]:
    """The rows of the partition."""
    return in_partitions(SQL, step.columns, [step.piece.partition.values])


def _of_partition(step: ArchivingStep, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Columns or aggregates of the partition."""
    return sa.select(*columns).select_from(table_ref(step.table)).where(_is_mine(step))


def _check_token(connection: sa.Connection, step: ArchivingStep, columns: Iterable[Column]) -> None:
    token = connection.execute(_of_partition(step, fingerprint(row_hash(columns)))).scalar_one()
    if token != step.piece.partition.token:
        thing = f"table {step.table}, partition {show_partition(step.columns, step.piece.partition.values)}"
        raise PartitionChanged(thing, "was written to since the plan was made", "the next run archives it")


def _found(repository: str, name: str, manifest: files.Manifest, superseded: bool) -> Found:
    known = {column.name: column for column in manifest.all_columns}
    archived = Archived(
        repository=repository,
        name=name,
        table=TableName(*manifest.table),
        columns=tuple(known.get(column) or _unknown(column, value) for column, value in manifest.partition),
        values=tuple(value for _, value in manifest.partition),
        rows=manifest.rows,
    )
    start, end = manifest.span
    return Found(archived=archived, start=start, end=end, size=manifest.size, superseded=superseded)


def _unknown(name: str, value: object) -> Column:
    """A generated partition column, of which archives of earlier versions lack the type; it is mostly a time."""
    is_time = isinstance(value, int)
    return Column(name=name, type="TIMESTAMP" if is_time else "VARCHAR", kind=Kind.TIME if is_time else Kind.TEXT)
