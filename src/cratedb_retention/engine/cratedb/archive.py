"""
Snapshots in CrateDB's repositories: their states, verifying them, finding them, and restoring one of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence

import sqlalchemy as sa

from cratedb_retention.engine.archive import Archived, Arrived, Found, SnapshotState
from cratedb_retention.engine.cratedb.catalog import read_layout
from cratedb_retention.engine.cratedb.copies import copy_of, renamed, tidy
from cratedb_retention.engine.cratedb.freeze import SETTING
from cratedb_retention.engine.cratedb.merge import merge, shared_rows
from cratedb_retention.engine.cratedb.snapshot import count_rows, is_complete, listed_values, state_statement
from cratedb_retention.engine.cratedb.sql import SQL, AlterPartition, RestoreSnapshot, system
from cratedb_retention.engine.cratedb.tokens import find_token, incarnations
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.expressions import in_partitions, table_ref
from cratedb_retention.errors import DatabaseError, NotFound
from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.intervals import read_grid
from cratedb_retention.model.plan import DropArchived
from cratedb_retention.model.snapshots import is_name_of, is_toolkit_name_of

_LEFT_HALF = "failed to restore"
_INCOMPATIBLE = "IncompatibleSchemaForRestoreException"
_Layout = tuple[dict[str, Column], tuple[str, ...]]


class CrateArchive:
    """Snapshots made with ``CREATE SNAPSHOT``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def states(self, snapshots: Iterable[tuple[str, str]]) -> dict[tuple[str, str], SnapshotState]:
        """The states of snapshots, by repository and name; one statement for each repository."""
        names: dict[str, list[str]] = defaultdict(list)
        for repository, name in snapshots:
            names[repository].append(name)
        found = {}
        for repository, wanted in names.items():
            for row in self._database.query(state_statement(repository, wanted)):
                detail = "; ".join([row["state"], *(row["failures"] or [])])
                found[repository, row["name"]] = SnapshotState(
                    repository=repository, name=row["name"], complete=is_complete(row), detail=detail
                )
        return found

    def find(self, repository: str, schema: str) -> list[Found]:
        """
        The snapshots of a repository that hold one partition each and have the name that the toolkit gives it, or
        cratedb-toolkit.

        :raises NotFound: if there is no such repository.
        """
        r = system("sys.repositories")
        if not self._database.rows(sa.select(r.name).where(r.name == repository)):
            raise NotFound(f"repository {repository}", "does not exist", "create it with CREATE REPOSITORY")
        layouts: dict[TableName, _Layout] = {}
        found = []
        for row in sorted(self._database.query(state_statement(repository)), key=lambda row: str(row["name"])):
            held = row["table_partitions"] or []
            if not is_complete(row) or len(held) != 1:
                continue
            table = TableName(held[0]["table_schema"], held[0]["table_name"])
            if table not in layouts:
                layouts[table] = self._layout(repository, row["name"], table, schema)
            known, names = layouts[table]
            columns = tuple(known[name] for name in names)
            if len(columns) == len(held[0]["values"]):
                values = listed_values(columns, held[0]["values"])
                archived = Archived(
                    repository=repository, name=row["name"], table=table, columns=columns, values=values, rows=None
                )
                name = archived.name
                if is_name_of(name, table, columns, values) or is_toolkit_name_of(name, table, values):
                    start, end = _span(archived, known)
                    found.append(Found(archived=archived, start=start, end=end))
        return found

    def _layout(self, repository: str, name: str, table: TableName, schema: str) -> _Layout:
        """Columns and partition columns of a table; of one that is gone, as a copy of the snapshot tells them."""
        known = read_layout(self._database, table)
        if known[1]:
            return known
        with copy_of(self._database, schema, name) as copy:
            self._database.execute(RestoreSnapshot(table, (), (), repository, name, renamed(table, copy)))
            return read_layout(self._database, copy)

    def tidy(self, schema: str, in_use: Callable[[], Collection[str]] | None = None) -> None:
        """Drop the copies that were left in a schema."""
        tidy(self._database, schema, in_use)

    def verify(self, snapshot: Archived, schema: str) -> str:
        """
        Restore a snapshot into a table in a schema, count its rows, and drop that copy again.

        Not beside its table, since policies and other tools may mean each table there.

        :raises NotFound: if it does not exist.
        :raises DatabaseError: if it is not complete, or holds another number of rows.
        """
        thing = f"snapshot {snapshot.repository}.{snapshot.name}"
        state = self.states([(snapshot.repository, snapshot.name)]).get((snapshot.repository, snapshot.name))
        if state is None:
            raise NotFound(thing, f"is not in repository {snapshot.repository}")
        if not state.complete:
            raise DatabaseError(thing, f"is not complete: {state.detail}")
        with copy_of(self._database, schema, snapshot.name) as copy:
            rows = self._restore(snapshot, copy)
        if snapshot.rows is not None and rows != snapshot.rows:
            raise DatabaseError(thing, f"holds {rows:,} rows, and {snapshot.rows:,} were archived")
        return f"{state.detail}, restored and counted {rows:,} rows"

    def continues(self, earlier: Archived, step: DropArchived, token: str | None, whole: bool, schema: str) -> bool:
        """Whether both are of one incarnation of the partition; where that is not known, whether rows are in both."""
        if token is not None:
            return bool(incarnations(token) & incarnations(step.piece.partition.token))
        with copy_of(self._database, schema, earlier.name) as copy:
            self._restore(earlier, copy)
            condition = in_partitions(SQL, step.columns, [step.piece.partition.values])
            return shared_rows(self._database, copy, step.table, condition) > 0

    def restore(
        self, snapshots: Sequence[Archived], into: TableName, schema: str, others: Sequence[Archived]
    ) -> Arrived:
        """
        Bring a partition back, and allow writes to it. Several snapshots are made one first, so that it comes as a
        whole.

        :raises Conflict: if the partition is there already.
        """
        one = snapshots[0]
        if len(snapshots) == 1:
            rows: tuple[int | None, ...] = (self._restore(one, into),)
        else:
            with merge(self._database, snapshots, schema, self._restore) as (merged, rows):
                self._restore(merged, into)
        return Arrived(rows, find_token(self._database, into, [column.name for column in one.columns], one.values))

    def _restore(self, snapshot: Archived, into: TableName) -> int:
        restore, thaw = self._statements(snapshot, into)
        condition = in_partitions(SQL, snapshot.columns, [snapshot.values])
        try:
            self._database.execute(restore)
        except DatabaseError as error:
            if _INCOMPATIBLE in error.reason:
                raise DatabaseError(
                    f"table {into}", _why_incompatible(error.reason), "restore it beside the table, with --into"
                ) from None
            # It leaves a partition behind that lacks shards: nobody could write to it, or restore it again.
            if _LEFT_HALF in error.reason:
                self._database.execute(sa.delete(table_ref(into)).where(condition))
            raise
        self._database.execute(thaw)
        return count_rows(self._database, into, snapshot.columns, snapshot.values)

    def render_restore(
        self, snapshots: Sequence[Archived], into: TableName, others: Sequence[Archived]
    ) -> Sequence[str]:
        """The statements of a restore as text, for showing; those by which several snapshots are made one are not."""
        return [self._database.render(statement) for each in snapshots for statement in self._statements(each, into)]

    def _statements(self, snapshot: Archived, into: TableName) -> list[sa.Executable]:
        columns, values = snapshot.columns, snapshot.values
        options = {} if into == snapshot.table else renamed(snapshot.table, into)
        # Where the table is gone, CrateDB does not understand the values, and each snapshot holds one partition only.
        known = read_layout(self._database, snapshot.table)[1] == tuple(column.name for column in columns)
        partition = (columns, values) if known else ((), ())
        restore = RestoreSnapshot(snapshot.table, *partition, snapshot.repository, snapshot.name, options)
        # It was frozen when it was archived, and comes back as it was.
        return [restore, AlterPartition(into, columns, values, SETTING, False)]


def _span(archived: Archived, known: Iterable[str]) -> tuple[int | None, int | None]:
    """The stretch of time that a partition covers, if one of its columns tells."""
    for column, value in zip(archived.columns, archived.values, strict=True):
        grid = read_grid(column.expression, known) if column.expression else None
        if grid and isinstance(value, int):
            return value, grid.end(value)
    return None, None


def _why_incompatible(reason: str) -> str:
    why = re.search(r"(column \[.*?\][^\]]*?(?:\[.*?\][^\]]*)*)(?:\]|$)", reason)
    return f"differs from what was archived: {why[1] if why else reason}"
