"""
Snapshots in CrateDB's repositories: their states, verifying them, restoring partitions from them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from cratedb_retention.engine.archive import Archived, SnapshotState
from cratedb_retention.engine.cratedb.freeze import SETTING
from cratedb_retention.engine.cratedb.snapshot import count_rows, is_complete, state_statement
from cratedb_retention.engine.cratedb.sql import SQL, AlterPartition, RestoreSnapshot, system_table, table_name
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.expressions import in_partitions, table_ref
from cratedb_retention.errors import DatabaseError, NotFound
from cratedb_retention.model.catalog import TableName

COPY = "retention_verify_"
_LEFT_HALF = "failed to restore"


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
                found[repository, row["name"]] = SnapshotState(repository, row["name"], is_complete(row), detail)
        return found

    def tidy(self, schema: str) -> None:
        """Drop the copies that an interrupted verification left in a schema."""
        t = system_table("information_schema", "tables", "table_schema", "table_name").c
        left = (t.table_schema == schema, t.table_name.startswith(COPY, autoescape=True))
        for (name,) in self._database.brief().rows(sa.select(t.table_name).where(*left)):
            self._drop(TableName(schema, name))

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
        copy = TableName(schema, f"{COPY}{snapshot.name[-12:]}")
        self._drop(copy)
        try:
            rows = self.restore(snapshot, copy)
        finally:
            self._drop(copy)
        if snapshot.rows is not None and rows != snapshot.rows:
            raise DatabaseError(thing, f"holds {rows:,} rows, and {snapshot.rows:,} were archived")
        return f"{state.detail}, restored and counted {rows:,} rows"

    def restore(self, snapshot: Archived, into: TableName) -> int | None:
        """
        Bring a partition back, and allow writes to it.

        :raises Conflict: if the partition is there already.
        """
        restore, thaw = self._statements(snapshot, into)
        try:
            self._database.execute(restore)
        except DatabaseError as error:
            # It leaves a partition behind that lacks shards: nobody could write to it, or restore it again.
            if _LEFT_HALF in error.reason:
                condition = in_partitions(SQL, snapshot.columns, [snapshot.values])
                self._database.execute(sa.delete(table_ref(into)).where(condition))
            raise
        self._database.execute(thaw)
        return count_rows(self._database, into, snapshot.columns, snapshot.values)

    def render_restore(self, snapshot: Archived, into: TableName) -> Sequence[str]:
        """The statements of a restore as text, for showing."""
        return [self._database.render(statement) for statement in self._statements(snapshot, into)]

    def _statements(self, snapshot: Archived, into: TableName) -> list[sa.Executable]:
        options = {}
        if into != snapshot.table:
            # The pattern is a regular expression, and the replacement knows groups; the names are meant literally.
            options = {
                "schema_rename_pattern": _exactly(snapshot.table.schema),
                "schema_rename_replacement": _replacement(into.schema),
                "table_rename_pattern": _exactly(snapshot.table.name),
                "table_rename_replacement": _replacement(into.name),
            }
        columns, values = snapshot.columns, snapshot.values
        restore = RestoreSnapshot(snapshot.table, columns, values, snapshot.repository, snapshot.name, options)
        # It was frozen when it was archived, and comes back as it was.
        return [restore, AlterPartition(into, columns, values, SETTING, False)]

    def _drop(self, table: TableName) -> None:
        name = table_name(self._database, table)
        self._database.execute_text(f"DROP TABLE IF EXISTS {name}")


def _exactly(name: str) -> str:
    return f"^{re.escape(name)}$"


def _replacement(name: str) -> str:
    return name.replace("\\", "\\\\").replace("$", "\\$")
