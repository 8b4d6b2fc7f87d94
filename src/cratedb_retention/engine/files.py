"""
Archives of Parquet files, see :mod:`cratedb_retention.engine.parquet`: what both databases have in common. A database
writes the rows of a partition to a file, takes them back, and compares them.
"""

from __future__ import annotations

import abc
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import permutations
from typing import Any, ClassVar, NamedTuple

from cratedb_retention.engine.archive import (
    Archive,
    ArchivedRows,
    Archives,
    Contents,
    PlainFile,
    Snapshot,
    SnapshotState,
    Unread,
)
from cratedb_retention.engine.parquet import Manifest, Store, data_path
from cratedb_retention.engine.step import StepResult
from cratedb_retention.errors import Conflict, DatabaseError, NotFound, RetentionError, Unsupported
from cratedb_retention.model.archive import Archived
from cratedb_retention.model.catalog import Column, TableName, Value, outer_names
from cratedb_retention.model.plan.plan import ArchivingStep, DropArchived, SnapshotPartition, VerifySnapshot


class File(NamedTuple):
    """An archived partition."""

    store: Store
    name: str
    manifest: Manifest


class FileArchive(Archive):
    """Archives of Parquet files in directories and object stores."""

    database_name: ClassVar[str]  # The database whose types and digests are in manifests.

    @abc.abstractmethod
    def _store(self, repository: str) -> Store:
        """The files of a repository."""

    @abc.abstractmethod
    def _write(self, store: Store, step: SnapshotPartition, path: str) -> Manifest:
        """Write the rows of a partition to a file, and describe it."""

    @abc.abstractmethod
    def _read(self, file: File) -> tuple[int, bool]:
        """Read all rows of a file: their number, and whether their values are those that were archived."""

    @abc.abstractmethod
    def _shared(self, one: File, other: File) -> int:
        """How many rows of a file are in another file as well."""

    def create(self, step: SnapshotPartition) -> StepResult:
        """Writes the file, and the manifest last."""
        store = self._store(step.repository)
        store.prepare()
        manifest = self._find_complete(store, step)
        if manifest is None:
            manifest = self._write(store, step, data_path(step.table, step.columns, step.values, step.name))
            store.publish(step.name, manifest)
        return StepResult(rows=manifest.rows, partitions=1, size=manifest.size)

    def _find_complete(self, store: Store, step: SnapshotPartition) -> Manifest | None:
        """The archive that an earlier run wrote. One that is damaged is written again."""
        try:
            found = self._find(step)
            require_same(found, step)
            self._verify(found)
        except (NotFound, DatabaseError):
            return None
        return found.manifest

    def prove(self, step: VerifySnapshot | DropArchived) -> StepResult:
        """Reads the file back, and compares its rows with those that were read from the partition."""
        found = self._find(step)
        self._verify(found)
        require_same(found, step)
        return StepResult(rows=found.manifest.rows, partitions=1, size=found.manifest.size)

    def _find(self, of: Snapshot) -> File:
        store = self._store(of.repository)
        store.require()
        return self._file(store, of.name)

    def _file(self, store: Store, name: str) -> File:
        found = File(store, name, store.manifest(name))
        if found.manifest.database != self.database_name:
            reason = f"was archived from {found.manifest.database}"
            raise DatabaseError(f"snapshot {name}", reason, "connect to that database")
        return found

    def _verify(self, file: File) -> None:
        """Read a file back, and compare its rows with those that were archived."""
        self._require_there(file)
        rows, same = self._read(file)
        if rows != file.manifest.rows or not same:
            reason = f"holds {rows:,} rows that differ from the {file.manifest.rows:,} archived"
            raise DatabaseError(f"snapshot {file.name}", reason)

    def _require_there(self, file: File) -> None:
        if fault := file.store.fault(file.manifest):
            raise DatabaseError(f"snapshot {file.name}", fault)

    def states(self, snapshots: Iterable[tuple[str, str]]) -> dict[tuple[str, str], SnapshotState]:
        """From manifests and the sizes of files; if a store cannot be reached, that is the state of its snapshots."""
        names: dict[str, list[str]] = defaultdict(list)
        for repository, name in snapshots:
            names[repository].append(name)
        found: dict[tuple[str, str], SnapshotState] = {}
        for repository, wanted in names.items():
            try:
                store = self._store(repository)
                store.require()
            except RetentionError as error:
                found.update({(repository, name): SnapshotState(False, str(error)) for name in wanted})
                continue
            states = zip(wanted, store.each(partial(_state, store), wanted), strict=True)
            found.update({(repository, name): state for name, state in states if state})
        return found

    def find(self, repository: str, schema: str) -> list[tuple[Archived, bool]]:
        """From manifests. Several of a partition are compared by their rows."""
        store, of = self._store(repository), defaultdict[str, list[File]](list)
        for name, manifest in zip(
            names := list(store.names()), store.each(partial(_readable, store), names), strict=True
        ):
            if manifest and manifest.database == self.database_name:
                of[json.dumps(manifest.of)].append(File(store, name, manifest))
        superseded = {
            one.name
            for files in of.values()
            for one, other in permutations(files, 2)
            if one.manifest.rows < other.manifest.rows and self._shared(one, other) == one.manifest.rows
        }
        every = sorted((file for files in of.values() for file in files), key=lambda file: file.name)
        return [(self._archived(repository, file), file.name in superseded) for file in every]

    def contents(self, repository: str) -> Contents:
        store = self._store(repository)
        names = frozenset(store.names())
        return Contents(names, frozenset(store.leftovers(names)))

    def delete(self, snapshot: Archived) -> bool:
        """The rows first: as long as there is a manifest, a command that was interrupted is continued."""
        store = self._store(snapshot.repository)
        store.require()
        path, there = _path_of(snapshot), True
        try:
            manifest = store.manifest(snapshot.name)
            if manifest.of != (snapshot.table, snapshot.values):
                reason = "is another partition than the one that was archived"
                raise Conflict(f"snapshot {snapshot.name}", reason, "check it, and delete it by hand")
            path = manifest.file
        except NotFound:
            there = store.size(path) is not None
        except DatabaseError:  # A damaged manifest has the name of this snapshot alone.
            pass
        store.delete(path)
        store.delete_manifest(snapshot.name)
        return there

    def _read_back(self, snapshot: Archived, schema: str) -> tuple[int, str]:
        found = self._find(snapshot)
        self._verify(found)
        return found.manifest.rows, f"all values of {found.manifest.rows:,} rows are as archived"

    @abc.abstractmethod
    def _rows(self, table: TableName, files: Sequence[File]) -> list[ArchivedRows]:
        """How DuckDB reads files of one repository that have the same columns."""

    @abc.abstractmethod
    def _require_readable(self, file: File) -> None:
        """Unsupported: DuckDB cannot read a file, although it is intact."""

    def open_rows(self, snapshots: Archives) -> tuple[list[ArchivedRows], Unread]:
        """By their manifests, and the sizes of files."""
        unread = list[tuple[Archived, RetentionError]]()
        alike: dict[str, tuple[TableName, list[File]]] = {}
        for repository in sorted({each.repository for each in snapshots}):
            some = {each.name: each for each in snapshots if each.repository == repository}
            try:
                store = self._store(repository)
                store.require()
            except RetentionError as error:
                unread += [(each, error) for each in some.values()]
                continue
            for each, found in zip(some.values(), store.each(partial(self._openable, store), some), strict=True):
                if isinstance(found, RetentionError):
                    unread.append((each, found))
                    continue
                manifest, by = found.manifest, [column[:3] for column in found.manifest.partition]
                key = json.dumps([repository, each.table, manifest.columns, manifest.generated, by])
                alike.setdefault(key, (each.table, []))[1].append(found)
        return [rows for table, files in alike.values() for rows in self._rows(table, files)], unread

    def _openable(self, store: Store, name: str) -> File | RetentionError:
        """A file that is there and can be read, or the reason why not."""
        try:
            found = self._file(store, name)
            self._require_there(found)
            self._require_readable(found)
        except RetentionError as error:
            return error
        return found

    def locate(self, snapshots: Archives) -> dict[str, Archived]:
        stores = {repository: self._store(repository) for repository in {each.repository for each in snapshots}}
        return {stores[each.repository].locate(_path_of(each)): each for each in snapshots}

    def open_plain(self, snapshots: Archives) -> tuple[list[PlainFile], Unread]:
        found, unread = list[PlainFile](), list[tuple[Archived, RetentionError]]()
        for repository in sorted({each.repository for each in snapshots}):
            some = [each for each in snapshots if each.repository == repository]
            store = self._store(repository)
            for each, plain in zip(some, store.each(partial(self._plain, store), some), strict=True):
                if isinstance(plain, RetentionError):
                    unread.append((each, plain))
                else:
                    found.append(plain)
        return found, unread

    def _plain(self, store: Store, snapshot: Archived) -> PlainFile | RetentionError:
        """A file as other programs read it, or the reason why they cannot."""
        thing = f"snapshot {snapshot.name}"
        try:
            file = self._file(store, snapshot.name)
            self._require_there(file)
            self._require_plain(file)
            if file.manifest.file != _path_of(snapshot):
                return Unsupported(
                    thing, "is where an earlier version wrote it", "restore it, so that it is written again"
                )
            footer = store.footer(file.manifest.file)
        except RetentionError as error:
            return error
        if footer.num_rows != file.manifest.rows:
            return DatabaseError(
                thing, f"has {footer.num_rows:,} rows, not the {file.manifest.rows:,} that were archived"
            )
        return PlainFile(
            archived=snapshot,
            location=store.locate(file.manifest.file),
            size=store.size(file.manifest.file) or 0,
            partition=tuple(self._in_path(file.manifest)),
            footer=footer,
        )

    def _require_plain(self, file: File) -> None:
        """Unsupported: other programs would read other values."""

    def _in_path(self, manifest: Manifest) -> Iterator[tuple[Column, Value]]:
        """The columns of a partition that are not in its file, with their exact values."""
        there = {name for name, _ in manifest.columns}
        for column, value in zip(manifest.partition_columns, manifest.values, strict=True):
            if there.isdisjoint((column.name, *outer_names(column.name))):
                yield column, value

    def _find_all(self, snapshots: Archives) -> list[File]:
        """The files to restore, all of which are there."""
        found = [self._find(each) for each in snapshots]
        for file in found:
            self._require_there(file)
        return found

    def _archived(self, repository: str, file: File) -> Archived:
        manifest = file.manifest
        start, end = manifest.span
        more: dict[str, Any] = {"rows": manifest.rows, "start": start, "end": end, "size": manifest.size}
        columns, values = self._columns_of(manifest), manifest.values
        table = TableName(*manifest.table)
        return Archived(repository=repository, name=file.name, table=table, columns=columns, values=values, **more)

    def _columns_of(self, manifest: Manifest) -> tuple[Column, ...]:
        """The partition columns of the table when it was archived."""
        return manifest.partition_columns


def _path_of(snapshot: Archived) -> str:
    return data_path(snapshot.table, snapshot.columns, snapshot.values, snapshot.name)


def require_same(file: File, step: ArchivingStep) -> None:
    """Require that a file is that of the partition, in its present state."""
    thing = f"snapshot {file.name}"
    if file.manifest.of != (step.table, step.values):
        raise DatabaseError(thing, "its manifest names another partition", "run again")
    if file.manifest.token != step.piece.partition.token:
        raise DatabaseError(thing, "holds another state of the partition", "run again")


def _state(store: Store, name: str) -> SnapshotState | None:
    try:
        wrong = store.fault(store.manifest(name))
    except NotFound:
        return None
    except RetentionError as error:
        return SnapshotState(False, error.reason)
    return SnapshotState(wrong is None, wrong or "SUCCESS")


def _readable(store: Store, name: str) -> Manifest | None:
    """A manifest; None if it is damaged."""
    try:
        return store.manifest(name)
    except RetentionError:
        return None
