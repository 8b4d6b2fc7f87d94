"""
Restoring on DuckDB: all snapshots of a partition in one transaction, into its own table or beside it. A table that does
not exist is made from what the manifests say of its columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

from cratedb_retention.engine.archive import Archived, Arrived
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.duckdb.catalog import is_table, read_columns
from cratedb_retention.engine.duckdb.manifest import DATA, Manifest, check_file, read_manifest
from cratedb_retention.engine.duckdb.parquet import archived_rows, try_cast
from cratedb_retention.engine.duckdb.sql import SQL, CommentOn, CreateTable
from cratedb_retention.engine.expressions import in_partitions, table_ref
from cratedb_retention.errors import Conflict, DatabaseError, RetentionError
from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.words import plural

_BESIDE = "restore it beside the table, with --into"


class Restore:
    """
    A restore of one partition.

    :param find: Finds a repository's directory by its name.
    :param snapshots: All of the partition, oldest first.
    :param others: What goes into the same table besides.
    :raises RetentionError: if the table lacks what the snapshots hold, or a manifest can't be read.
    """

    def __init__(
        self,
        database: Database,
        find: Callable[[str], Path],
        snapshots: Sequence[Archived],
        into: TableName,
        others: Sequence[Archived],
    ) -> None:
        self._database, self._into = database, into
        self._own = into == snapshots[0].table
        self._files = [(find(each.repository), each.name) for each in snapshots]
        self._manifests = [read_manifest(*file) for file in self._files]
        self._partition = snapshots[0]
        self._source = read_columns(database, self._partition.table)
        self._create: list[sa.Executable] = []
        columns = read_columns(database, into)
        if not columns:
            columns = self._new_columns([*self._others(find, others), *self._manifests])
        elif not is_table(database, into):
            raise Conflict(f"table {into}", "is a view", "name another table")
        self._columns = columns
        for manifest in self._manifests:
            self._require_columns(manifest)

    def _others(self, find: Callable[[str], Path], others: Iterable[Archived]) -> list[Manifest]:
        found = []
        for each in others:
            try:
                found.append(read_manifest(find(each.repository), each.name))
            except RetentionError:
                continue  # It fails by itself.
        return found

    def _new_columns(self, manifests: Sequence[Manifest]) -> dict[str, Column]:
        """The columns of a table that does not exist: of its own definition, and of all that goes into it."""
        found = dict(self._source)
        for manifest in manifests:
            found.update({column.name: column for column in manifest.all_columns if column.name not in self._source})
        for column in self._partition.columns:
            found.setdefault(column.name, column)
        if self._own:
            for name, _ in self._manifests[-1].partition:
                if not self._knows(name):
                    raise DatabaseError(
                        f"table {self._into}", f"does not exist, and nothing tells how {name} is computed", _BESIDE
                    )
        else:
            found = {name: replace(column, expression=None) for name, column in found.items()}
        self._create = [
            sa.schema.CreateSchema(self._into.schema, if_not_exists=True),
            CreateTable(self._into, list(found.values())),
        ]
        comment = self._manifests[-1].comment
        if self._own and comment:
            self._create.append(CommentOn(self._into, comment))
        return found

    def _knows(self, name: str) -> bool:
        return any(column.name == name for column in self._manifests[-1].all_columns)

    def _require_columns(self, manifest: Manifest) -> None:
        needed = [name for name, _ in manifest.columns] + [name for name, _ in manifest.partition]
        for name in needed:
            if name not in self._columns:
                raise DatabaseError(f"table {self._into}", f"has no column {name!r}, which was archived", _BESIDE)

    def perform(self) -> Arrived:
        """
        Do it.

        :raises Conflict: if the partition is there already.
        :raises DatabaseError: if a file is damaged, or a value does not fit the table any more.
        """
        for (directory, name), manifest in zip(self._files, self._manifests, strict=True):
            check_file(directory, name, manifest)
            self._require_fit(directory / name / DATA, manifest)
        try:
            self._database.transact(self._work)
        except Conflict as error:
            if error.thing == f"table {self._into}":
                raise
            several = len(self._files) > 1
            raise Conflict(
                f"table {self._into}",
                f"its constraints do not let the rows in: {error.reason}",
                "restore the snapshots one by one, by --name, each beside the table" if several else _BESIDE,
            ) from None
        token = "+".join(manifest.token for manifest in self._manifests)
        return Arrived(tuple(manifest.rows for manifest in self._manifests), token)

    def _work(self, connection: sa.Connection) -> None:
        columns = [self._columns[column.name] for column in self._partition.columns]
        condition = in_partitions(SQL, columns, [self._partition.values])
        present = sa.select(sa.func.count()).select_from(table_ref(self._into)).where(condition)
        for statement in self._create:
            connection.execute(statement)
        if connection.execute(present).scalar_one():
            raise Conflict(
                f"table {self._into}",
                "the partition is there already",
                "restore it beside the table, or delete it first",
            )
        for statement in self._inserts():
            connection.execute(statement)
        restored, archived = connection.execute(present).scalar_one(), sum(m.rows for m in self._manifests)
        if restored != archived:
            raise DatabaseError(f"table {self._into}", f"{restored:,} of {archived:,} rows arrived; nothing was kept")

    def render(self) -> list[str]:
        """The statements as text, for showing."""
        return [self._database.render(statement) for statement in (*self._create, *self._inserts())]

    def _inserts(self) -> list[sa.Insert]:
        return [self._insert(file, manifest) for file, manifest in zip(self._files, self._manifests, strict=True)]

    def _insert(self, file: tuple[Path, str], manifest: Manifest) -> sa.Insert:
        """What was stored is copied; what was generated is too, where the table does not generate it by itself."""
        rows = archived_rows(file[0] / file[1] / DATA, manifest.stored)
        values: dict[str, sa.ColumnElement[Any]] = {c.name: _column(c.name) for c in manifest.stored}
        generated = [column for column in manifest.all_columns if column.expression] or self._source.values()
        for column in generated:
            if column.expression and column.name in self._columns:
                values[column.name] = sa.literal_column(f"({column.expression})")
        for column, value in zip(self._partition.columns, self._partition.values, strict=True):
            values.setdefault(column.name, sa.null() if value is None else SQL.value(column, value))
        names = [name for name in values if not self._columns[name].expression]
        target = sa.table(
            quoted_name(self._into.name, True), *map(_column, names), schema=quoted_name(self._into.schema, True)
        )
        return sa.insert(target).from_select(names, sa.select(*(values[name] for name in names)).select_from(rows))

    def _require_fit(self, path: Path, manifest: Manifest) -> None:
        """A column's type may have changed since: no value may become another one."""
        for column in manifest.stored:
            present = self._columns[column.name]
            if present.type == column.type or present.expression:
                continue
            reference = _column(column.name)
            back = try_cast(try_cast(reference, present.type), column.type)
            changed = sa.select(sa.func.count()).select_from(archived_rows(path, [column]))
            count = self._database.rows(changed.where(back.is_distinct_from(reference)))[0][0]
            if count:
                raise DatabaseError(
                    f"table {self._into}",
                    f"column {column.name!r} was {column.type} and is {present.type}; "
                    f"{plural(count, 'row')} would not be the same",
                    _BESIDE,
                )


def _column(name: str) -> sa.ColumnClause[object]:
    """A fresh column object: one that belongs to a table brings that table into every query that uses it."""
    return sa.column(quoted_name(name, True))
