"""
The engine for DuckDB: opens the file, and hands each kind of work to the module that knows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, assert_never

import sqlalchemy as sa

from cratedb_retention.engine.base import Engine, Report, StepResult
from cratedb_retention.engine.duckdb import delete, rollup, snapshot
from cratedb_retention.engine.duckdb.archive import DuckArchive
from cratedb_retention.engine.duckdb.catalog import CAPABILITIES, identify, read_catalog, read_outline
from cratedb_retention.engine.duckdb.connection import DuckConnection
from cratedb_retention.engine.duckdb.errors import not_a_database
from cratedb_retention.engine.duckdb.manifest import DATA
from cratedb_retention.engine.duckdb.sql import SQL
from cratedb_retention.engine.rows import rows_statement
from cratedb_retention.errors import Conflict, InvalidInput, Unsupported, not_installed
from cratedb_retention.model.address import DatabaseAddress
from cratedb_retention.model.catalog import Catalog, Outline, Selector, TableName
from cratedb_retention.model.plan import (
    DeleteRows,
    DropArchived,
    DropPartitions,
    PartitionsStep,
    SnapshotPartition,
    Step,
    VerifySnapshot,
)
from cratedb_retention.model.rollup import (
    AlterRollup,
    CreateRollup,
    RebaseRollup,
    ReplaceView,
    RollUp,
    SealWindows,
)

# Where a DuckDB file says what it is.
_MAGIC = slice(8, 12)


class DuckDBEngine(Engine):
    """
    A DuckDB file, opened in UTC. One process at a time can have it open, or several that only read.

    :param create: Whether the file may be created; otherwise a misspelt name would make an empty one. Together with
        `read_only`, an empty one in memory stands in for a file that does not exist.
    :param read_only: Whether it is only read; where this process has it open to write, that is used.
    :raises InvalidInput: if the driver is not installed, or the file, or its directory, does not exist.
    :raises Locked: if another process has it open.
    """

    capabilities, sql = CAPABILITIES, SQL

    def __init__(self, address: DatabaseAddress, create: bool = False, read_only: bool = False) -> None:
        self.path = Path(sa.make_url(address.dburi).database or "")
        if not create and not self.path.exists():
            raise InvalidInput(
                f"database {address.safe}", "the file does not exist", "`cratedb-retention setup` creates it"
            )
        self.exists = not (create and read_only) or self.path.exists()
        if not self.exists:
            directory = self.path.absolute().parent
            if not directory.is_dir():
                raise InvalidInput(f"database {address.safe}", f"there is no directory {directory}", "create it first")
            address, read_only = DatabaseAddress("duckdb:///:memory:"), False
        if self.path.is_file() and not _is_duckdb(self.path):
            raise not_a_database(f"database {address.safe}")
        try:
            self.database = self._open(address, read_only)
        except Conflict:
            if not read_only:
                raise
            self.database = self._open(address, False)

    def _open(self, address: DatabaseAddress, read_only: bool) -> DuckConnection:
        try:
            engine = sa.create_engine(address.dburi, connect_args={"read_only": True} if read_only else {})
        except (ImportError, sa.exc.NoSuchModuleError) as error:
            raise not_installed(
                f"database {address.safe}",
                "the driver is not installed",
                "duckdb",
                error,
            ) from None
        sa.event.listen(engine, "connect", _use_utc)
        database = DuckConnection(engine, address, self.path)
        database.rows(sa.select(sa.literal(1)))
        return database

    @property
    def archive(self) -> DuckArchive:
        """Snapshots in its repositories."""
        return DuckArchive(self.database, self.find_repository)

    def find_repository(self, name: str) -> Path:
        """A repository's directory; one that is not absolute lies beside the database's file."""
        return (self.path.absolute().parent / name).resolve()

    def read_catalog(self, selectors: Iterable[Selector], own_schema: str | None = None) -> Catalog:
        """Read what planning needs."""
        return read_catalog(self.database, selectors)

    def read_named(self, names: Iterable[TableName]) -> Catalog:
        """See :class:`Engine`."""
        return read_catalog(self.database, [Selector(schema=name.schema, name=name.name, keys=True) for name in names])

    def read_outline(self, selector: Selector) -> Outline:
        """What can be named, in at most four statements."""
        return read_outline(self.database, selector)

    def identify(self, table: TableName) -> str:
        """See :class:`Engine`."""
        return identify(self.database, table)

    def perform(self, step: Step, report: Report) -> StepResult:
        """
        Do a step.

        :raises RetentionError: if it failed; then it can be repeated.
        """
        match step:
            case DropPartitions():
                return delete.drop_partitions(self.database, step)
            case DeleteRows():
                return delete.delete_rows(self.database, step, report)
            case SnapshotPartition():
                return snapshot.create(self.database, step, self.find_repository)
            case VerifySnapshot():
                return snapshot.verify(self.database, step, self.find_repository)
            case DropArchived():
                return snapshot.drop_archived(self.database, step, self.find_repository)
            case PartitionsStep():
                raise Unsupported(
                    "DuckDB", "an embedded file has no nodes and no partitions of its own to move or freeze"
                )
            case CreateRollup() | AlterRollup() | RebaseRollup() | RollUp() | SealWindows() | ReplaceView():
                return rollup.perform(self.database, step, report)
            case _:
                assert_never(step)

    def statements(self, step: Step) -> list[sa.Executable]:
        """See :class:`Engine`."""
        match step:
            case DropPartitions():
                return [delete.drop_statement(step)]
            case DeleteRows():
                return [rows_statement(SQL, step)]
            case SnapshotPartition():
                path = self.find_repository(step.repository) / step.name / DATA
                return [snapshot.create_statement(step, snapshot.stored_columns(self.database, step.table), path)]
            case DropArchived():
                drop = DropPartitions(table=step.table, columns=step.columns, pieces=(step.piece,), before=step.before)
                return [delete.drop_statement(drop)]
            case CreateRollup() | AlterRollup() | RebaseRollup() | RollUp() | SealWindows() | ReplaceView():
                return rollup.statements(step)
            case VerifySnapshot() | PartitionsStep():
                return []
            case _:
                assert_never(step)


def _is_duckdb(path: Path) -> bool:
    """
    Whether a file is a DuckDB database, by what it begins with.

    For some others DuckDB would load an extension that reads them, and download it first.
    """
    try:
        with path.open("rb") as file:
            return file.read(_MAGIC.stop)[_MAGIC] == b"DUCK"
    except OSError:  # DuckDB says why.
        return True


def _use_utc(connection: Any, record: Any) -> None:
    """Generated columns and texts must not depend on the machine's time zone."""
    cursor = connection.cursor()
    cursor.execute("SET TimeZone = 'UTC'")
    cursor.close()
