"""
Snapshots as directories with Parquet files: their states, verifying them, restoring partitions from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.archive import Archived, SnapshotState
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.duckdb.catalog import read_columns
from cratedb_retention.engine.duckdb.manifest import DATA, Manifest, check_file, read_manifest
from cratedb_retention.engine.duckdb.snapshot import verify_file
from cratedb_retention.engine.duckdb.sql import SQL, CreateTableAs, read_parquet
from cratedb_retention.engine.expressions import in_partitions, table_ref
from cratedb_retention.errors import Conflict, DatabaseError, NotFound, RetentionError
from cratedb_retention.model.catalog import Column, TableName


class DuckArchive:
    """
    Snapshots in directories.

    :param find: Finds a repository's directory by its name.
    """

    def __init__(self, database: Database, find: Callable[[str], Path]) -> None:
        self._database, self._find = database, find

    def states(self, snapshots: Iterable[tuple[str, str]]) -> dict[tuple[str, str], SnapshotState]:
        """The states of snapshots, by repository and name: whether their manifests can be read and the files exist."""
        found = {}
        for repository, name in snapshots:
            directory = self._find(repository)
            try:
                read_manifest(directory, name)
                exists = (directory / name / DATA).is_file()
                found[repository, name] = SnapshotState(
                    repository, name, exists, "SUCCESS" if exists else f"{DATA} is missing"
                )
            except NotFound:
                continue
            except RetentionError as error:
                found[repository, name] = SnapshotState(repository, name, False, error.reason)
        return found

    def tidy(self, schema: str) -> None:
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

    def restore(self, snapshot: Archived, into: TableName) -> int | None:
        """
        Bring a partition back, in one transaction.

        :raises Conflict: if the partition is there already.
        """
        repository = self._find(snapshot.repository)
        manifest = read_manifest(repository, snapshot.name)
        check_file(repository, snapshot.name, manifest)
        *create, insert = self._statements(snapshot, into, manifest)
        condition = in_partitions(SQL, snapshot.columns, [snapshot.values])
        present = sa.select(sa.func.count()).select_from(table_ref(into)).where(condition)

        def work(connection: sa.Connection) -> None:
            for statement in create:
                connection.execute(statement)
            if connection.execute(present).scalar_one():
                raise Conflict(
                    f"table {into}", "the partition is there already", "restore it beside the table, or delete it first"
                )
            connection.execute(insert)
            restored = connection.execute(present).scalar_one()
            if restored != manifest.rows:
                raise DatabaseError(
                    f"table {into}", f"{restored:,} of {manifest.rows:,} rows arrived; nothing was kept"
                )

        self._database.transact(work)
        return manifest.rows

    def render_restore(self, snapshot: Archived, into: TableName) -> Sequence[str]:
        """The statements of a restore as text, for showing."""
        manifest = read_manifest(self._find(snapshot.repository), snapshot.name)
        return [self._database.render(statement) for statement in self._statements(snapshot, into, manifest)]

    def _statements(self, snapshot: Archived, into: TableName, manifest: Manifest) -> list[sa.Executable]:
        names = [name for name, _ in manifest.columns]
        values: list[sa.ColumnElement[Any]] = [*_columns(names)]
        create: list[sa.Executable] = []
        if into != snapshot.table:
            # Beside its table: with all its columns, the generated ones as plain values.
            everything: sa.Select[Any] = (
                sa.select(sa.literal_column("*")).select_from(table_ref(snapshot.table)).limit(0)
            )
            create = [CreateTableAs(into, everything)]
            for column in self._generated(snapshot.table):
                names.append(column.name)
                values.append(sa.literal_column(f"({column.expression})"))
        target = sa.table(
            sa.sql.quoted_name(into.name, True), *_columns(names), schema=sa.sql.quoted_name(into.schema, True)
        )
        source = sa.select(*values).select_from(read_parquet(self._find(snapshot.repository) / snapshot.name / DATA))
        return [*create, sa.insert(target).from_select(names, source)]

    def _generated(self, table: TableName) -> list[Column]:
        return [column for column in read_columns(self._database, table).values() if column.expression]


def _columns(names: Iterable[str]) -> list[sa.ColumnClause[object]]:
    """Fresh column objects: one that belongs to a table brings that table into every query that uses it."""
    return [sa.column(sa.sql.quoted_name(name, True)) for name in names]
