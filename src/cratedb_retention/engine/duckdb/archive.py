"""
Archiving on DuckDB: a Parquet file for each partition, see :mod:`cratedb_retention.engine.files`.

Partitions are not frozen, since the drop compares the partition with its archive in its own transaction. All snapshots
of a partition are restored in one transaction, into its own table or beside it; a table that does not exist is created
from the columns in the manifests.

DuckDB reads and writes local files. Those in an object store are copied from and to a temporary file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from cratedb_retention.engine.archive import ArchivedColumn, ArchivedRows, Archives, Arrived
from cratedb_retention.engine.base import changed, require_old
from cratedb_retention.engine.database import Database, Statement
from cratedb_retention.engine.duckdb.catalog import Reader, stored
from cratedb_retention.engine.duckdb.files import (
    archived_rows,
    inexact,
    to_file,
    typed_rows,
    why_not_plain,
    why_unreadable,
)
from cratedb_retention.engine.duckdb.former import FormerStore
from cratedb_retention.engine.duckdb.sql import SQL, comment_on, copy_to, fingerprint, make_column, new_table, row_hash
from cratedb_retention.engine.expressions import (
    Condition,
    Element,
    Words,
    as_type,
    in_partitions,
    is_aware,
    ref,
    table_ref,
)
from cratedb_retention.engine.files import File, FileArchive
from cratedb_retention.engine.parquet import Manifest, Store, checksum, data_path, describe_partition, version
from cratedb_retention.engine.step import StepResult
from cratedb_retention.errors import (
    Conflict,
    DatabaseError,
    DiskFull,
    InvalidInput,
    NotFound,
    RetentionError,
    Unsupported,
)
from cratedb_retention.model.address import is_address
from cratedb_retention.model.archive import Archived, why_no_directory
from cratedb_retention.model.catalog import Column, Kind, TableName, Value
from cratedb_retention.model.intervals import read_grid
from cratedb_retention.model.plan.plan import ArchivingStep, DropArchived, SnapshotPartition
from cratedb_retention.model.time import from_ms
from cratedb_retention.model.words import plural

_BESIDE = "restore it into another table, with --into"


class DuckArchive(FileArchive):
    """Snapshots in directories and object stores; relative paths start at the directory of the database's file."""

    database_name = "DuckDB"

    def __init__(self, database: Database, beside: Path) -> None:
        self._database, self._beside = database, beside

    def _store(self, repository: str) -> Store:
        if is_address(repository):
            return Store(repository)
        return FormerStore(repository, (self._beside / repository).resolve())

    def create(self, step: SnapshotPartition) -> StepResult:
        """Writes the file, and the manifest last; a directory is created."""
        if not is_address(step.repository) and (why_not := why_no_directory(step.repository)):
            raise InvalidInput(f"table {step.table}", why_not)
        return super().create(step)

    def _write(self, store: Store, step: SnapshotPartition, path: str) -> Manifest:
        every, comment = self._describe(step.table)
        columns = stored(every)
        for column in inexact(columns):
            raise DatabaseError(f"table {step.table}", f"column {column} cannot be archived exactly", "change its type")
        with store.writing_to(path) as file:

            def work(connection: sa.Connection) -> int:
                # One transaction sees one state of the table, so the file holds what the token stands for.
                _check_token(connection, step, columns)
                connection.execute(_copy(step, columns, str(file)))
                return int(connection.execute(_of_partition(step, sa.func.count())).scalar_one())

            try:
                rows = self._database.transact(work)
            except DiskFull as error:
                raise DiskFull(f"repository {step.repository}", error.reason, error.remedy) from None
            sha256, size = checksum(file), file.stat().st_size
        return Manifest(
            table=list(step.table),
            columns=[[column.name, column.type] for column in columns],
            partition=describe_partition(step.columns, step.values),
            rows=rows,
            digest=step.piece.partition.token,
            token=step.piece.partition.token,
            file=path,
            size=size,
            database=self.database_name,
            sha256=sha256,
            generated=[[i, c.name, c.type, c.expression] for i, c in enumerate(every.values()) if c.expression],
            comment=comment or None,
            span=[step.piece.start, step.piece.end],
            toolkit=version(),
        )

    def copy_statement(self, step: SnapshotPartition) -> Statement:
        """The statement that writes a file, for display."""
        path = data_path(step.table, step.columns, step.values, step.name)
        return _copy(step, stored(self._describe(step.table)[0]), self._store(step.repository).show(path))

    def _describe(self, table: TableName) -> tuple[Mapping[str, Column], str | None]:
        columns, comment = Reader(self._database, [table]).describe(table)
        if not columns:
            raise NotFound(f"table {table}", "does not exist")
        return columns, comment

    def _read(self, file: File) -> tuple[int, bool]:
        columns = _stored(file.manifest)
        with _intact(file) as path:
            summary = sa.select(sa.func.count(), fingerprint(row_hash(columns)))
            rows, digest = self._database.rows(summary.select_from(archived_rows(str(path), columns)))[0]
        return rows, digest == file.manifest.digest

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

    def _shared(self, one: File, other: File) -> int:
        columns = [column for column in _stored(one.manifest) if column in _stored(other.manifest)]
        if not columns:
            return 0
        with one.store.local(one.manifest.file) as mine, other.store.local(other.manifest.file) as its:
            rows = (archived_rows(str(path), columns) for path in (mine, its))
            hashes = (sa.select(row_hash(columns)).select_from(each) for each in rows)
            return self._database.count(sa.intersect_all(*hashes).subquery("shared"))

    def _require_readable(self, file: File) -> None:
        why = why_unreadable(_stored(file.manifest)) if file.store.is_remote else None
        if why:
            raise Unsupported(f"table {TableName(*file.manifest.table)}", why, "restore it")

    def _rows(self, table: TableName, files: Sequence[File]) -> list[ArchivedRows]:
        return [self._rows_of(table, file) for file in files]

    def _rows_of(self, table: TableName, file: File) -> ArchivedRows:
        """DuckDB reads local files itself, and others by way of Arrow."""
        store, manifest, own = file.store, file.manifest, _stored(file.manifest)
        path = store.show(manifest.file)
        if not store.is_remote:
            return ArchivedRows(table=table, rows=_table_rows(manifest, archived_rows(path, own)), files=(path,))
        name = f"archived_{hashlib.sha256(path.encode()).hexdigest()[:16]}"
        dataset = partial(store.dataset, store.schema(manifest.file), [(manifest.file, None)])
        rows = _table_rows(manifest, typed_rows(sa.table(name), own))
        return ArchivedRows(table=table, rows=rows, name=name, dataset=dataset)

    def _require_plain(self, file: File) -> None:
        if why := why_not_plain(_stored(file.manifest)):
            raise Unsupported(f"table {TableName(*file.manifest.table)}", why, "use `cratedb-retention query`")

    def _in_path(self, manifest: Manifest) -> Iterator[tuple[Column, Value]]:
        every = {column.name: column for column in _all_columns(manifest)}
        for column, value in super()._in_path(manifest):
            if column.type == "DATE" or _is_whole(every.get(column.name, column), every):
                yield column, value

    def archived_column(self, column: Column) -> ArchivedColumn:
        """As in its table."""
        return ArchivedColumn(next(iter(column.path), column.name), SQL.column(column), column.type)

    def continues(self, earlier: Archived, step: ArchivingStep, token: str | None, whole: bool, schema: str) -> bool:
        """By their rows, since files do not distinguish incarnations."""
        found = self._find(earlier)
        shared = self._shared(found, self._find(step))
        return shared == found.manifest.rows if whole else shared > 0

    def restore(self, snapshots: Archives, into: TableName, schema: str, others: Archives) -> Arrived:
        with self._planned(snapshots, into, others) as restore:
            return restore.perform()

    def merge(self, snapshots: Archives, into: TableName, schema: str, others: Archives) -> Arrived:
        with self._planned(snapshots, into, others) as restore:
            return restore.perform(merge=True)

    @contextmanager
    def _planned(self, snapshots: Archives, into: TableName, others: Archives) -> Iterator[Restore]:
        found = self._find_all(snapshots)
        with ExitStack() as open_files:
            parts = [Part(str(open_files.enter_context(_intact(file))), file.manifest) for file in found]
            yield self._restore(snapshots[0], into, parts, others)

    def render_restore(self, snapshots: Archives, into: TableName, others: Archives) -> Sequence[str]:
        parts = [Part(file.store.show(file.manifest.file), file.manifest) for file in map(self._find, snapshots)]
        planned = self._restore(snapshots[0], into, parts, others)
        return list(map(self._database.render, [*planned.create, *planned.inserts]))

    def _restore(self, one: Archived, into: TableName, parts: list[Part], others: Archives) -> Restore:
        def besides() -> Iterator[Manifest]:
            for each in others:
                with suppress(RetentionError):
                    yield self._find(each).manifest

        return Restore(self._database, one, into, parts, besides())

    def _columns_of(self, manifest: Manifest) -> tuple[Column, ...]:
        known = {column.name: column for column in _all_columns(manifest)}
        return tuple(known.get(name) or make_column(name, data_type) for name, data_type, *_ in manifest.partition)


@contextmanager
def _intact(file: File) -> Iterator[Path]:
    """A local file with the very bytes that were archived."""
    with file.store.local(file.manifest.file) as path:
        if checksum(path) != file.manifest.sha256:
            reason = f"{file.manifest.file} differs from its checksum: it was damaged or changed"
            raise DatabaseError(f"snapshot {file.name}", reason)
        yield path


def _stored(manifest: Manifest) -> list[Column]:
    return [make_column(name, data_type) for name, data_type in manifest.columns]


def _all_columns(manifest: Manifest) -> list[Column]:
    """The columns of the table, in their order, without partition columns of an unknown type."""
    found = _stored(manifest)
    for position, name, data_type, expression in sorted(manifest.generated):
        found.insert(position, make_column(name, data_type, expression))
    return found


def _table_rows(manifest: Manifest, rows: sa.Subquery) -> sa.Select[Any]:
    """Rows with all columns of their table. Values of their partition are constant, so that others are not read."""
    every = {column.name: column for column in _all_columns(manifest)}
    values: dict[str, Element] = {column.name: ref(column.name) for column in _stored(manifest)}
    for name, data_type, _, value in manifest.partition:
        column = every.setdefault(name, make_column(name, data_type))
        if name not in values and _is_whole(column, every):
            values[name] = _constant(column, value)
    for column in every.values():
        if column.name not in values:
            values[column.name] = as_type(sa.literal_column(f"({column.expression})"), column.type)
    return sa.select(*(values[name].label(ref(name).name) for name in every)).select_from(rows)


def _is_whole(column: Column, every: Mapping[str, Column]) -> bool:
    """Whether a partition's value is exact: that of another time may have lost its microseconds."""
    return column.kind is not Kind.TIME or not column.expression or read_grid(column.expression, every) is not None


def _constant(column: Column, value: Value) -> Element:
    if column.kind is not Kind.TIME or not isinstance(value, int):
        return as_type(sa.null() if value is None else sa.literal(value), column.type)
    moment = from_ms(value)
    if is_aware(column):
        return as_type(sa.literal(moment.isoformat()), column.type)
    return as_type(as_type(sa.literal(moment.replace(tzinfo=None).isoformat()), "TIMESTAMP"), column.type)


def _copy(step: SnapshotPartition, columns: Iterable[Column], file: str) -> Statement:
    selected = list(map(to_file, columns)) or [sa.literal_column("*")]
    return copy_to(_of_partition(step, *selected), file)


def _of_partition(step: ArchivingStep, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return sa.select(*columns).select_from(table_ref(step.table)).where(in_partitions(SQL, step.columns, [step.values]))


def _check_token(connection: sa.Connection, step: ArchivingStep, columns: Iterable[Column]) -> None:
    token = connection.execute(_of_partition(step, fingerprint(row_hash(columns)))).scalar_one()
    if token != step.piece.partition.token:
        raise changed(step, step.piece, "was written to since the plan was made", "the next run archives it")


class Part(NamedTuple):
    """A file to restore from."""

    file: str
    manifest: Manifest


class Restore:
    """Restores a partition from all of its snapshots, oldest first, into a table that has or gets their columns."""

    def __init__(
        self, database: Database, partition: Archived, into: TableName, parts: list[Part], others: Iterable[Manifest]
    ) -> None:
        self._database, self._partition, self._into, self._parts = database, partition, into, parts
        self._source = Reader(database, [partition.table]).describe(partition.table)[0]
        self.create: list[sa.Executable] = []
        self._columns, comment = Reader(database, [into]).describe(into)
        if not self._columns:
            self._columns = self._new_columns(others)
        elif comment is None:
            raise Conflict(f"table {into}", "is a view", "name another table")
        for _, manifest in parts:
            for name, *_ in (*manifest.columns, *manifest.partition):
                if name not in self._columns:
                    raise DatabaseError(f"table {into}", f"has no column {name!r}, which was archived", _BESIDE)
        self.inserts = [self._insert(part) for part in parts]

    def _new_columns(self, others: Iterable[Manifest]) -> dict[str, Column]:
        """The columns of a table to create: from the partition's own table, and from all snapshots that go into it."""
        found = dict(self._source)
        for manifest in (*others, *(part.manifest for part in self._parts)):
            found.update({column.name: column for column in _all_columns(manifest) if column.name not in self._source})
        for column in self._partition.columns:
            found.setdefault(column.name, column)
        last, comment = self._parts[-1].manifest, None
        if self._into == self._partition.table:
            comment, known = last.comment, {column.name for column in _all_columns(last)}
            for name in [name for name, *_ in last.partition if name not in known]:
                reason = f"does not exist, and it is unknown how {name} is computed"
                raise DatabaseError(f"table {self._into}", reason, _BESIDE)
        else:
            found = {name: replace(column, expression=None) for name, column in found.items()}
        schema = sa.schema.CreateSchema(self._into.schema, if_not_exists=True)
        self.create = [schema, new_table(self._into, found.values())]
        self.create += [comment_on(self._into, comment)] if comment else []
        return found

    def perform(self, merge: bool = False) -> Arrived:
        """Restore the partition, or the rows that it lacks (``merge``); fails if a value no longer fits the table."""
        thing, manifests = f"table {self._into}", [part.manifest for part in self._parts]
        columns = [self._columns[column.name] for column in self._partition.columns]
        condition = in_partitions(SQL, columns, [self._partition.values])
        present = sa.select(sa.func.count()).select_from(table_ref(self._into)).where(condition)

        def work(connection: sa.Connection) -> list[int]:
            for statement in self.create:
                connection.execute(statement)
            if merge:
                return [self._add_missing(connection, part, condition) for part in self._parts]
            if connection.execute(present).scalar_one():
                remedy = "restore it into another table, or delete it first"
                raise Conflict(thing, "the partition already exists", remedy)
            for insert in self.inserts:
                connection.execute(insert)
            restored, archived = connection.execute(present).scalar_one(), sum(each.rows for each in manifests)
            if restored != archived:
                raise DatabaseError(thing, f"only {restored:,} of {archived:,} rows arrived; nothing was restored")
            return [each.rows for each in manifests]

        for part in self._parts:
            self._require_fit(part)
        try:
            rows = self._database.transact(work)
        except Conflict as error:
            if error.thing == thing:
                raise
            one_by_one = "restore the snapshots separately, with --name, each into another table"
            reason = f"its constraints reject the rows: {error.reason}"
            raise Conflict(thing, reason, one_by_one if len(manifests) > 1 else _BESIDE) from None
        return Arrived(tuple(rows), "+".join(each.token for each in manifests))

    def _add_missing(self, connection: sa.Connection, part: Part, condition: Condition) -> int:
        """Insert the rows of a snapshot that the partition lacks, each as often as it is in the snapshot."""
        names, archived = self._rows(part)
        present = sa.select(*map(ref, names)).select_from(table_ref(self._into)).where(condition)
        # Set operations, and partitions by values, may turn -0.0 into 0.0: fine to count rows, but not to insert them.
        left_over = sa.except_all(archived, present)

        def count(rows: sa.Select[Any] | sa.CompoundSelect[Any]) -> int:
            return int(connection.execute(sa.select(sa.func.count()).select_from(rows.subquery("r"))).scalar_one())

        before = count(present)
        insert = sa.insert(table_ref(self._into, *map(ref, names)))
        connection.execute(insert.from_select(names, self._missing(names, archived, condition) if before else archived))
        if left := count(left_over):
            reason = f"{left:,} of {part.manifest.rows:,} rows did not arrive; nothing was restored"
            raise DatabaseError(f"table {self._into}", reason, _BESIDE)
        return count(present) - before

    def _missing(self, names: Sequence[str], archived: sa.Select[Any], condition: Condition) -> sa.Select[Any]:
        """The rows of an archive that the partition lacks, exactly as they are; found by their hashes."""
        of_row, number, of_present, times = (each * (1 + max(map(len, names))) for each in "hnpt")  # No column's name.
        hashed = sa.func.hash(*(as_type(ref(name), self._columns[name].type) for name in names))
        nth = sa.func.row_number().over(partition_by=hashed)
        rows = sa.select(*map(ref, names), hashed.label(of_row), nth.label(number))
        there = sa.select(hashed.label(of_present), sa.func.count().label(times)).group_by(hashed)
        both = (
            rows.select_from(archived.subquery("a"))
            .subquery("m")
            .outerjoin(
                there.select_from(table_ref(self._into)).where(condition).subquery("p"), ref(of_row) == ref(of_present)
            )
        )
        return sa.select(*map(ref, names)).select_from(both).where(ref(number) > sa.func.coalesce(ref(times), 0))

    def _insert(self, part: Part) -> sa.Insert:
        names, rows = self._rows(part)
        return sa.insert(table_ref(self._into, *map(ref, names))).from_select(names, rows)

    def _rows(self, part: Part) -> tuple[list[str], sa.Select[Any]]:
        """The columns to insert into, and the rows of a file."""
        own = _stored(part.manifest)
        values: dict[str, sa.ColumnElement[Any]] = {column.name: ref(column.name) for column in own}
        generated = [c for c in _all_columns(part.manifest) if c.expression] or self._source.values()
        for column in generated:
            if column.expression and column.name in self._columns:
                values[column.name] = sa.literal_column(f"({column.expression})")
        for column, value in zip(self._partition.columns, self._partition.values, strict=True):
            values.setdefault(column.name, sa.null() if value is None else SQL.value(column, value))
        names = [name for name in values if not self._columns[name].expression]
        # Columns without a table: one with a table would add that to each query that uses it.
        return names, sa.select(*(values[name].label(name) for name in names)).select_from(
            archived_rows(part.file, own)
        )

    def _require_fit(self, part: Part) -> None:
        """Fail if a value would change, since a column's type may have changed."""
        for column in _stored(part.manifest):
            present, reference = self._columns[column.name], ref(column.name)
            if present.type == column.type or present.expression:
                continue
            back = sa.try_cast(sa.try_cast(reference, Words(present.type)), Words(column.type))
            if count := self._database.count(archived_rows(part.file, [column]), back.is_distinct_from(reference)):
                what = f"column {column.name!r} was {column.type} and is {present.type}"
                reason = f"{what}; {plural(count, 'row')} would change"
                raise DatabaseError(f"table {self._into}", reason, _BESIDE)
