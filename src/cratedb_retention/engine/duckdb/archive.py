"""
Archiving on DuckDB: a Parquet file for each partition, read back and compared before the partition is dropped (law 2).

Partitions are not frozen, since the drop compares the partition with its archive in its own transaction. All snapshots
of a partition are restored in one transaction, into its own table or beside it; a table that does not exist is created
from the columns in the manifests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.archive import Archive, Archives, Arrived, Contents, Snapshot, SnapshotState
from cratedb_retention.engine.base import changed, require_old
from cratedb_retention.engine.database import Database, Statement
from cratedb_retention.engine.duckdb import files
from cratedb_retention.engine.duckdb.catalog import Reader, stored
from cratedb_retention.engine.duckdb.sql import SQL, comment_on, copy_to, fingerprint, new_table, row_hash
from cratedb_retention.engine.expressions import Words, in_partitions, ref, table_ref
from cratedb_retention.engine.step import StepResult
from cratedb_retention.errors import Conflict, DatabaseError, InvalidInput, NotFound
from cratedb_retention.model.archive import Archived, why_no_directory
from cratedb_retention.model.catalog import Column, Kind, TableName
from cratedb_retention.model.plan.plan import ArchivingStep, DropArchived, SnapshotPartition, VerifySnapshot
from cratedb_retention.model.words import plural

_BY_HAND = "check it, and delete the directory by hand"
_BESIDE = "restore it into another table, with --into"


class DuckArchive(Archive):
    """Snapshots in directories; relative paths start at the directory of the database's file."""

    def __init__(self, database: Database, beside: Path) -> None:
        self._database, self._beside = database, beside

    def _path(self, repository: str, name: str = "") -> Path:
        return (self._beside / repository).resolve() / name

    def create(self, step: SnapshotPartition) -> StepResult:
        """Writes a directory of files, which gets its name when it is complete."""
        if why_not := why_no_directory(step.repository):
            raise InvalidInput(f"table {step.table}", why_not)
        path, manifest = self._path(step.repository, step.name), None
        with suppress(NotFound, DatabaseError):  # There is none, or it is damaged.
            manifest = files.check_file(path)
        manifest = manifest or self._write(step, path)
        return StepResult(rows=manifest.rows, partitions=1, size=(path / files.DATA).stat().st_size)

    def _write(self, step: SnapshotPartition, path: Path) -> files.Manifest:
        every, comment = self._describe(step.table)
        columns = stored(every)
        for column in files.inexact(columns):
            raise DatabaseError(f"table {step.table}", f"column {column} cannot be archived exactly", "change its type")
        directory = files.scratch(path)

        def work(connection: sa.Connection) -> int:
            # One transaction sees one state of the table, so the file holds what the token stands for.
            _check_token(connection, step, columns)
            connection.execute(_copy(step, columns, directory))
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
            comment=comment or None,
            span=(step.piece.start, step.piece.end),
        )
        files.publish(directory, path, manifest)
        return manifest

    def copy_statement(self, step: SnapshotPartition) -> Statement:
        return _copy(step, stored(self._describe(step.table)[0]), self._path(step.repository, step.name))

    def _describe(self, table: TableName) -> tuple[Mapping[str, Column], str | None]:
        columns, comment = Reader(self._database, [table]).describe(table)
        if not columns:
            raise NotFound(f"table {table}", "does not exist")
        return columns, comment

    def prove(self, step: VerifySnapshot | DropArchived) -> StepResult:
        """Reads the file back, and compares its rows with what was archived."""
        manifest = self._verify_file(step.repository, step.name)
        if (manifest.table, manifest.partition) != (list(step.table), _label(step)):
            raise DatabaseError(f"snapshot {step.name}", "its manifest names another partition", "run again")
        if manifest.token != step.piece.partition.token:
            raise DatabaseError(f"snapshot {step.name}", "holds another state of the partition", "run again")
        return StepResult(rows=manifest.rows, partitions=1)

    def _verify_file(self, repository: str, name: str) -> files.Manifest:
        """Compare a snapshot's checksum, its number of rows, and the rows themselves with its manifest."""
        path = self._path(repository, name)
        manifest = files.check_file(path)
        file = files.archived_rows(path, manifest.stored)
        statement = sa.select(sa.func.count(), fingerprint(row_hash(manifest.stored))).select_from(file)
        rows, token = self._database.rows(statement)[0]
        if rows != manifest.rows or token != manifest.token:
            said = f"holds {rows:,} rows that differ from the {manifest.rows:,} archived"
            raise DatabaseError(f"snapshot {name}", said)
        return manifest

    def drop(self, step: DropArchived) -> StepResult:
        """Compares and deletes in one transaction."""
        self.prove(step)
        columns, mine = stored(self._describe(step.table)[0]), in_partitions(SQL, step.columns, [step.values])

        def work(connection: sa.Connection) -> int:
            # It is gone already if a run was killed right after dropping it.
            if not connection.execute(_of_partition(step, sa.func.count())).scalar_one():
                return 0
            _check_token(connection, step, columns)
            require_old(connection.scalar, SQL, step, mine)
            return connection.execute(sa.delete(table_ref(step.table)).where(mine)).rowcount

        return StepResult(rows=max(self._database.transact(work), 0), partitions=1)

    def states(self, snapshots: Iterable[tuple[str, str]]) -> dict[tuple[str, str], SnapshotState]:
        """Whether manifests can be read, and the size of files."""
        found = {}
        for key in snapshots:
            with suppress(NotFound):
                wrong = files.glance(self._path(*key))
                found[key] = SnapshotState(wrong is None, wrong or "SUCCESS")
        return found

    def contents(self, repository: str) -> Contents:
        """By the names of directories."""
        path = self._path(repository)
        names = (each.name for each in files.find_snapshots(path))
        return Contents(frozenset(names), frozenset(files.find_leftovers(path)))

    def delete(self, snapshot: Archived) -> bool:
        """Only a directory with the files of this snapshot, and nothing else."""
        path = self._path(snapshot.repository, snapshot.name)
        if path.parent != self._path(snapshot.repository) or path.name != snapshot.name or path.name[0] == ".":
            raise Conflict(self._thing(snapshot), "is not the name of a snapshot", _BY_HAND)
        with suppress(NotFound, DatabaseError):  # There is none, or it is damaged.
            manifest = files.read_manifest(path)
            if (manifest.table, manifest.partition) != (list(snapshot.table), _label(snapshot)):
                raise Conflict(self._thing(snapshot), "its manifest names another partition", _BY_HAND)
        return files.remove(path)

    def find(self, repository: str, schema: str) -> list[tuple[Archived, bool]]:
        """From their manifests."""
        manifests = dict(files.readable(files.find_snapshots(self._path(repository))))
        # All of their rows are in a larger snapshot of the same partition, which was restored and archived again.
        of: dict[str, list[Path]] = {}
        for path, manifest in manifests.items():
            of.setdefault(str((manifest.table, manifest.partition)), []).append(path)
        superseded = {
            one
            for paths in of.values()
            for one, other in permutations(paths, 2)
            if manifests[one].rows < manifests[other].rows and self._common(one, other) == manifests[one].rows
        }
        return [(_archived(repository, path.name, manifests[path]), path in superseded) for path in manifests]

    def _read_back(self, snapshot: Archived, schema: str) -> tuple[int, str]:
        rows = self._verify_file(snapshot.repository, snapshot.name).rows
        return rows, f"checksum and {rows:,} rows are as archived"

    def continues(self, earlier: Archived, step: ArchivingStep, token: str | None, whole: bool, schema: str) -> bool:
        """By their rows, since files do not distinguish incarnations."""
        path = self._path(earlier.repository, earlier.name)
        common = self._common(path, self._path(step.repository, step.name))
        return common == files.read_manifest(path).rows if whole else common > 0

    def _common(self, *snapshots: Path) -> int:
        first, second = (files.read_manifest(snapshot).stored for snapshot in snapshots)
        columns = [column for column in first if column in second]
        if not columns:
            return 0
        rows = (files.archived_rows(snapshot, columns) for snapshot in snapshots)
        shared = sa.intersect_all(*(sa.select(row_hash(columns)).select_from(each) for each in rows)).subquery("shared")
        return self._database.count(shared)

    def restore(self, snapshots: Archives, into: TableName, schema: str, others: Archives) -> Arrived:
        return self._restore(snapshots, into, others).perform()

    def render_restore(self, snapshots: Archives, into: TableName, others: Archives) -> Sequence[str]:
        planned = self._restore(snapshots, into, others)
        return list(map(self._database.render, [*planned.create, *planned.inserts]))

    def _restore(self, snapshots: Archives, into: TableName, others: Archives) -> Restore:
        own, besides = ([self._path(each.repository, each.name) for each in them] for them in (snapshots, others))
        return Restore(self._database, snapshots[0], into, own, besides)


def _label(step: Snapshot) -> list[list[object]]:
    return [[c.name, v] for c, v in zip(step.columns, step.values, strict=True)]


def _copy(step: SnapshotPartition, columns: Iterable[Column], directory: Path) -> Statement:
    selected = list(map(files.to_file, columns)) or [sa.literal_column("*")]
    return copy_to(_of_partition(step, *selected), directory / files.DATA)


def _of_partition(step: ArchivingStep, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return sa.select(*columns).select_from(table_ref(step.table)).where(in_partitions(SQL, step.columns, [step.values]))


def _check_token(connection: sa.Connection, step: ArchivingStep, columns: Iterable[Column]) -> None:
    token = connection.execute(_of_partition(step, fingerprint(row_hash(columns)))).scalar_one()
    if token != step.piece.partition.token:
        raise changed(step, step.piece, "was written to since the plan was made", "the next run archives it")


def _archived(repository: str, name: str, manifest: files.Manifest) -> Archived:
    known = {column.name: column for column in manifest.all_columns}
    for column, value in manifest.partition:
        # Archives of earlier versions lack the type of a generated column, which mostly is a time.
        data_type, kind = ("TIMESTAMP", Kind.TIME) if isinstance(value, int) else ("VARCHAR", Kind.TEXT)
        known.setdefault(column, Column(name=column, type=data_type, kind=kind))
    return Archived(
        repository=repository,
        name=name,
        table=TableName(*manifest.table),
        columns=tuple(known[column] for column, _ in manifest.partition),
        values=tuple(value for _, value in manifest.partition),
        rows=manifest.rows,
        start=manifest.span[0],
        end=manifest.span[1],
        size=manifest.size,
    )


class Restore:
    """Restores a partition from all of its snapshots, oldest first, into a table that has or gets their columns."""

    def __init__(
        self, database: Database, partition: Archived, into: TableName, snapshots: list[Path], others: list[Path]
    ) -> None:
        self._database, self._partition, self._into = database, partition, into
        self._snapshots = [(path, files.read_manifest(path)) for path in snapshots]
        self._source = Reader(database, [partition.table]).describe(partition.table)[0]
        self.create: list[sa.Executable] = []
        self._columns, comment = Reader(database, [into]).describe(into)
        if not self._columns:
            self._columns = self._new_columns(others)
        elif comment is None:
            raise Conflict(f"table {into}", "is a view", "name another table")
        for _, manifest in self._snapshots:
            for name, _ in (*manifest.columns, *manifest.partition):
                if name not in self._columns:
                    raise DatabaseError(f"table {into}", f"has no column {name!r}, which was archived", _BESIDE)
        self.inserts = [self._insert(path, manifest) for path, manifest in self._snapshots]

    def _new_columns(self, others: list[Path]) -> dict[str, Column]:
        """The columns of a table to create: from the partition's own table, and from all snapshots that go into it."""
        found = dict(self._source)
        for _, manifest in (*files.readable(others), *self._snapshots):
            found.update({column.name: column for column in manifest.all_columns if column.name not in self._source})
        for column in self._partition.columns:
            found.setdefault(column.name, column)
        last, comment = self._snapshots[-1][1], None
        if self._into == self._partition.table:
            comment, known = last.comment, {column.name for column in last.all_columns}
            for name in [name for name, _ in last.partition if name not in known]:
                reason = f"does not exist, and it is unknown how {name} is computed"
                raise DatabaseError(f"table {self._into}", reason, _BESIDE)
        else:
            found = {name: replace(column, expression=None) for name, column in found.items()}
        schema = sa.schema.CreateSchema(self._into.schema, if_not_exists=True)
        self.create = [schema, new_table(self._into, found.values())]
        self.create += [comment_on(self._into, comment)] if comment else []
        return found

    def perform(self) -> Arrived:
        """Restore the partition; fails if a file is damaged, or a value no longer fits the table."""
        thing, manifests = f"table {self._into}", [manifest for _, manifest in self._snapshots]
        columns = [self._columns[column.name] for column in self._partition.columns]
        condition = in_partitions(SQL, columns, [self._partition.values])
        present = sa.select(sa.func.count()).select_from(table_ref(self._into)).where(condition)

        def work(connection: sa.Connection) -> None:
            for statement in self.create:
                connection.execute(statement)
            if connection.execute(present).scalar_one():
                remedy = "restore it into another table, or delete it first"
                raise Conflict(thing, "the partition already exists", remedy)
            for insert in self.inserts:
                connection.execute(insert)
            restored, archived = connection.execute(present).scalar_one(), sum(each.rows for each in manifests)
            if restored != archived:
                raise DatabaseError(thing, f"only {restored:,} of {archived:,} rows arrived; nothing was restored")

        for path, manifest in self._snapshots:
            files.check_file(path)
            self._require_fit(path, manifest)
        try:
            self._database.transact(work)
        except Conflict as error:
            if error.thing == thing:
                raise
            one_by_one = "restore the snapshots separately, with --name, each into another table"
            reason = f"its constraints reject the rows: {error.reason}"
            raise Conflict(thing, reason, one_by_one if len(manifests) > 1 else _BESIDE) from None
        return Arrived(tuple(each.rows for each in manifests), "+".join(each.token for each in manifests))

    def _insert(self, path: Path, manifest: files.Manifest) -> sa.Insert:
        values: dict[str, sa.ColumnElement[Any]] = {c.name: ref(c.name) for c in manifest.stored}
        generated = [column for column in manifest.all_columns if column.expression] or self._source.values()
        for column in generated:
            if column.expression and column.name in self._columns:
                values[column.name] = sa.literal_column(f"({column.expression})")
        for column, value in zip(self._partition.columns, self._partition.values, strict=True):
            values.setdefault(column.name, sa.null() if value is None else SQL.value(column, value))
        names = [name for name in values if not self._columns[name].expression]
        # Columns without a table: one with a table would add that to each query that uses it.
        rows = sa.select(*(values[name] for name in names)).select_from(files.archived_rows(path, manifest.stored))
        return sa.insert(table_ref(self._into, *map(ref, names))).from_select(names, rows)

    def _require_fit(self, path: Path, manifest: files.Manifest) -> None:
        """Fail if a value would change, since a column's type may have changed."""
        for column in manifest.stored:
            present, reference = self._columns[column.name], ref(column.name)
            if present.type == column.type or present.expression:
                continue
            back = sa.try_cast(sa.try_cast(reference, Words(present.type)), Words(column.type))
            if count := self._database.count(files.archived_rows(path, [column]), back.is_distinct_from(reference)):
                what = f"column {column.name!r} was {column.type} and is {present.type}"
                reason = f"{what}; {plural(count, 'row')} would change"
                raise DatabaseError(f"table {self._into}", reason, _BESIDE)
