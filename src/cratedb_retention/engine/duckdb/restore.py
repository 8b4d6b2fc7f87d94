"""
Restoring on DuckDB: all snapshots of a partition in one transaction, into its own table or beside it. A table that does
not exist is made from what the manifests say of its columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

from cratedb_retention.engine.archive import Archived, Arrived
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.duckdb.catalog import is_table, read_columns
from cratedb_retention.engine.duckdb.files import DATA, Manifest, archived_rows, check_file, read_manifest, try_cast
from cratedb_retention.engine.duckdb.sql import SQL, comment_on, new_table
from cratedb_retention.engine.expressions import in_partitions, ref, table_ref
from cratedb_retention.errors import Conflict, DatabaseError, RetentionError
from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.words import plural

_BESIDE = "restore it beside the table, with --into"
_File = tuple[Path, str]  # A repository's directory, and the name of a snapshot in it.


class Restore:
    """
    A restore of one partition from all of its snapshots, oldest first, into a table that gets others besides; fails if
    that lacks what the snapshots hold.
    """

    def __init__(
        self, database: Database, partition: Archived, into: TableName, files: Sequence[_File], others: Iterable[_File]
    ) -> None:
        self._database, self._partition, self._into = database, partition, into
        self._snapshots = [(directory / name / DATA, read_manifest(directory, name)) for directory, name in files]
        self._files = files
        self._source = read_columns(database, partition.table)
        self._create: list[sa.Executable] = []
        columns = read_columns(database, into)
        if not columns:
            columns = self._new_columns(others)
        elif not is_table(database, into):
            raise Conflict(f"table {into}", "is a view", "name another table")
        self._columns = columns
        for _, manifest in self._snapshots:
            for name in [name for name, _ in (*manifest.columns, *manifest.partition)]:
                if name not in columns:
                    raise DatabaseError(f"table {into}", f"has no column {name!r}, which was archived", _BESIDE)

    def _new_columns(self, others: Iterable[_File]) -> dict[str, Column]:
        """The columns of a table that does not exist: of its own definition, and of all that goes into it."""
        found = dict(self._source)
        for manifest in (*_readable(others), *(manifest for _, manifest in self._snapshots)):
            found.update({column.name: column for column in manifest.all_columns if column.name not in self._source})
        for column in self._partition.columns:
            found.setdefault(column.name, column)
        last = self._snapshots[-1][1]
        comment = None
        if self._into == self._partition.table:
            comment, known = last.comment, {column.name for column in last.all_columns}
            for name in [name for name, _ in last.partition if name not in known]:
                reason = f"does not exist, and nothing tells how {name} is computed"
                raise DatabaseError(f"table {self._into}", reason, _BESIDE)
        else:
            found = {name: replace(column, expression=None) for name, column in found.items()}
        schema = sa.schema.CreateSchema(self._into.schema, if_not_exists=True)
        self._create = [schema, new_table(self._into, found.values())]
        self._create += [comment_on(self._into, comment)] if comment else []
        return found

    def perform(self) -> Arrived:
        """Do it; fails if a file is damaged, or a value does not fit the table any more."""
        for file, (path, manifest) in zip(self._files, self._snapshots, strict=True):
            check_file(*file, manifest)
            self._require_fit(path, manifest)
        try:
            self._database.transact(self._work)
        except Conflict as error:
            if error.thing == f"table {self._into}":
                raise
            reason = f"its constraints do not let the rows in: {error.reason}"
            one_by_one = "restore the snapshots one by one, by --name, each beside the table"
            raise Conflict(f"table {self._into}", reason, one_by_one if len(self._files) > 1 else _BESIDE) from None
        manifests = [manifest for _, manifest in self._snapshots]
        return Arrived(tuple(each.rows for each in manifests), "+".join(each.token for each in manifests))

    def _work(self, connection: sa.Connection) -> None:
        thing = f"table {self._into}"
        columns = [self._columns[column.name] for column in self._partition.columns]
        condition = in_partitions(SQL, columns, [self._partition.values])
        present = sa.select(sa.func.count()).select_from(table_ref(self._into)).where(condition)
        for statement in self._create:
            connection.execute(statement)
        if connection.execute(present).scalar_one():
            raise Conflict(thing, "the partition is there already", "restore it beside the table, or delete it first")
        for path, manifest in self._snapshots:
            connection.execute(self._insert(path, manifest))
        restored = connection.execute(present).scalar_one()
        archived = sum(manifest.rows for _, manifest in self._snapshots)
        if restored != archived:
            raise DatabaseError(thing, f"{restored:,} of {archived:,} rows arrived; nothing was kept")

    def statements(self) -> list[sa.Executable]:
        """All that change something."""
        return [*self._create, *(self._insert(path, manifest) for path, manifest in self._snapshots)]

    def _insert(self, path: Path, manifest: Manifest) -> sa.Insert:
        """What was stored is copied; what was generated is too, where the table does not generate it by itself."""
        values: dict[str, sa.ColumnElement[Any]] = {c.name: ref(c.name) for c in manifest.stored}
        generated = [column for column in manifest.all_columns if column.expression] or self._source.values()
        for column in generated:
            if column.expression and column.name in self._columns:
                values[column.name] = sa.literal_column(f"({column.expression})")
        for column, value in zip(self._partition.columns, self._partition.values, strict=True):
            values.setdefault(column.name, sa.null() if value is None else SQL.value(column, value))
        names = [name for name in values if not self._columns[name].expression]
        # With columns of its own: one that belongs to a table brings that table into every query that uses it.
        schema = quoted_name(self._into.schema, True)
        target = sa.table(quoted_name(self._into.name, True), *map(ref, names), schema=schema)
        rows = sa.select(*(values[name] for name in names)).select_from(archived_rows(path, manifest.stored))
        return sa.insert(target).from_select(names, rows)

    def _require_fit(self, path: Path, manifest: Manifest) -> None:
        """A column's type may have changed since: no value may become another one."""
        for column in manifest.stored:
            present, reference = self._columns[column.name], ref(column.name)
            if present.type == column.type or present.expression:
                continue
            back = try_cast(try_cast(reference, present.type), column.type)
            changed = sa.select(sa.func.count()).select_from(archived_rows(path, [column]))
            if count := self._database.rows(changed.where(back.is_distinct_from(reference)))[0][0]:
                what = f"column {column.name!r} was {column.type} and is {present.type}"
                reason = f"{what}; {plural(count, 'row')} would not be the same"
                raise DatabaseError(f"table {self._into}", reason, _BESIDE)


def _readable(files: Iterable[_File]) -> Iterator[Manifest]:
    """What can't be read fails by itself."""
    for file in files:
        try:
            yield read_manifest(*file)
        except RetentionError:
            continue
