"""
Snapshots as directories with Parquet files: their states, verifying them, finding them, and what they have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import permutations
from pathlib import Path

import sqlalchemy as sa

from cratedb_retention.engine.archive import Archived, Arrived, Found, SnapshotState
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.duckdb.manifest import DATA, Manifest, find_names, glance, read_manifest
from cratedb_retention.engine.duckdb.parquet import archived_rows
from cratedb_retention.engine.duckdb.restore import Restore
from cratedb_retention.engine.duckdb.snapshot import verify_file
from cratedb_retention.engine.duckdb.sql import row_hash
from cratedb_retention.errors import DatabaseError, NotFound, RetentionError
from cratedb_retention.model.catalog import Column, Kind, TableName
from cratedb_retention.model.plan import DropArchived


class DuckArchive:
    """
    Snapshots in directories.

    :param find: Finds a repository's directory by its name.
    """

    def __init__(self, database: Database, find: Callable[[str], Path]) -> None:
        self._database, self._find = database, find

    def states(self, snapshots: Iterable[tuple[str, str]]) -> dict[tuple[str, str], SnapshotState]:
        """The states of snapshots, by repository and name: whether manifests can be read, and the size of files."""
        found = {}
        for repository, name in snapshots:
            try:
                wrong = glance(self._find(repository), name)
            except NotFound:
                continue
            found[repository, name] = SnapshotState(
                repository=repository, name=name, complete=wrong is None, detail=wrong or "SUCCESS"
            )
        return found

    def find(self, repository: str, schema: str) -> list[Found]:
        """
        The snapshots in a repository, as their manifests tell of them.

        :raises NotFound: if there is no such directory.
        """
        directory = self._find(repository)
        manifests = {}
        for name in find_names(directory):
            try:
                manifests[name] = read_manifest(directory, name)
            except RetentionError:
                continue  # Nothing tells what it is.
        superseded = self._superseded(directory, manifests)
        return [_found(repository, name, manifest, name in superseded) for name, manifest in manifests.items()]

    def _superseded(self, directory: Path, manifests: dict[str, Manifest]) -> set[str]:
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

    def tidy(self, schema: str, in_use: Callable[[], Collection[str]] | None = None) -> None:
        """Nothing: reading a file makes no copy."""

    def verify(self, snapshot: Archived, schema: str) -> str:
        """
        Read a snapshot back.

        :raises NotFound: if it does not exist.
        :raises DatabaseError: if it is damaged, or holds another number of rows than the store says.
        """
        manifest = verify_file(self._database, self._find(snapshot.repository), snapshot.name)
        if snapshot.rows is not None and manifest.rows != snapshot.rows:
            thing = f"snapshot {snapshot.name}"
            raise DatabaseError(thing, f"holds {manifest.rows:,} rows, and {snapshot.rows:,} were archived")
        return f"checksum and {manifest.rows:,} rows are as archived"

    def continues(self, earlier: Archived, step: DropArchived, token: str | None, whole: bool, schema: str) -> bool:
        """Whether rows of an earlier snapshot are in that of a step; a file tells no incarnations apart."""
        ours = (self._find(earlier.repository), earlier.name)
        common = self._common(ours, (self._find(step.repository), step.name))
        return common == read_manifest(*ours).rows if whole else common > 0

    def _common(self, one: tuple[Path, str], other: tuple[Path, str]) -> int:
        """How many rows two snapshots have in common, by the columns that both have."""
        first, second = read_manifest(*one), read_manifest(*other)
        columns = [column for column in first.stored if column in second.stored]
        if not columns:
            return 0
        rows = [
            sa.select(row_hash(columns)).select_from(archived_rows(directory / name / DATA, columns))
            for directory, name in (one, other)
        ]
        shared = sa.intersect_all(*rows).subquery("shared")
        return int(self._database.rows(sa.select(sa.func.count()).select_from(shared))[0][0])

    def restore(
        self, snapshots: Sequence[Archived], into: TableName, schema: str, others: Sequence[Archived]
    ) -> Arrived:
        """
        Bring a partition back, in one transaction.

        :raises Conflict: if the partition is there already.
        """
        return Restore(self._database, self._find, snapshots, into, others).perform()

    def render_restore(
        self, snapshots: Sequence[Archived], into: TableName, others: Sequence[Archived]
    ) -> Sequence[str]:
        """
        The statements of a restore as text, for showing.

        :raises RetentionError: if it is plain that they would fail.
        """
        return Restore(self._database, self._find, snapshots, into, others).render()


def _found(repository: str, name: str, manifest: Manifest, superseded: bool) -> Found:
    columns = tuple(partition_columns(manifest))
    values = tuple(value for _, value in manifest.partition)
    archived = Archived(
        repository=repository,
        name=name,
        table=TableName(*manifest.table),
        columns=columns,
        values=values,
        rows=manifest.rows,
    )
    start, end = manifest.span
    return Found(archived=archived, start=start, end=end, size=manifest.size, superseded=superseded)


def partition_columns(manifest: Manifest) -> list[Column]:
    """The partition columns; of a generated one, archives of earlier versions lack the type, which is mostly a time."""
    known = {column.name: column for column in manifest.all_columns}
    return [
        known.get(name)
        or Column(name=name, type="TIMESTAMP" if isinstance(value, int) else "VARCHAR", kind=_kind(value))
        for name, value in manifest.partition
    ]


def _kind(value: object) -> Kind:
    return Kind.TIME if isinstance(value, int) else Kind.TEXT
