"""
The engine for DuckDB: opens the file, and hands each kind of work to the module that knows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, assert_never

import sqlalchemy as sa

from cratedb_retention.engine.base import Report, StepResult
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.duckdb import delete, rollup, snapshot
from cratedb_retention.engine.duckdb.archive import DuckArchive
from cratedb_retention.engine.duckdb.catalog import CAPABILITIES, identify, read_catalog, read_outline
from cratedb_retention.engine.duckdb.errors import not_a_database, translate
from cratedb_retention.engine.duckdb.manifest import DATA
from cratedb_retention.engine.duckdb.room import require_room
from cratedb_retention.engine.duckdb.sql import SQL
from cratedb_retention.engine.measuring import measure
from cratedb_retention.engine.query import read_stretch, read_values
from cratedb_retention.engine.rollup_check import compare_windows, count_source, count_windows
from cratedb_retention.engine.rows import rows_statement
from cratedb_retention.errors import Conflict, InvalidInput, Unsupported, not_installed
from cratedb_retention.model.address import DatabaseAddress
from cratedb_retention.model.catalog import Capabilities, Catalog, Outline, Selector, TableName, Value
from cratedb_retention.model.measurements import Measurements, Probe
from cratedb_retention.model.plan import (
    DeleteRows,
    DropArchived,
    DropPartitions,
    FreezePartitions,
    MovePartitions,
    SnapshotPartition,
    Step,
    ThawPartitions,
    VerifySnapshot,
)
from cratedb_retention.model.reading import Partial, Reading, Stretch
from cratedb_retention.model.rollup import Balance, RolledUp, Rollup, Window
from cratedb_retention.model.rollup_steps import (
    AlterRollup,
    CreateRollup,
    RebaseRollup,
    ReplaceView,
    RollUp,
    SealWindows,
)

# Where a DuckDB file says what it is.
_MAGIC = slice(8, 12)


class DuckDBEngine:
    """
    A DuckDB file, opened in UTC. One process at a time can have it open, or several that only read.

    :param create: Whether the file may be created; otherwise a misspelt name would make an empty one. Together with
        `read_only`, an empty one in memory stands in for a file that does not exist.
    :param read_only: Whether it is only read; where this process has it open to write, that is used.
    :raises InvalidInput: if the driver is not installed, or the file, or its directory, does not exist.
    :raises Locked: if another process has it open.
    """

    def __init__(self, address: DatabaseAddress, create: bool = False, read_only: bool = False) -> None:
        self.path = Path(sa.make_url(address.dburi).database or "")
        if not create and not self.path.exists():
            raise InvalidInput(
                f"database {address.safe}", "the file does not exist", "`cratedb-retention setup` creates it"
            )
        self._stands_in = create and read_only and not self.path.exists()
        if self._stands_in:
            directory = self.path.absolute().parent
            if not directory.is_dir():
                raise InvalidInput(f"database {address.safe}", f"there is no directory {directory}", "create it first")
            address, read_only = DatabaseAddress("duckdb:///:memory:"), False
        if self.path.is_file() and not _is_duckdb(self.path):
            raise not_a_database(f"database {address.safe}")
        try:
            self._database = self._open(address, read_only)
        except Conflict:
            if not read_only:
                raise
            self._database = self._open(address, False)

    def _open(self, address: DatabaseAddress, read_only: bool) -> Database:
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
        room = partial(require_room, self.path, f"database {address.safe}")
        database = Database(engine, partial(translate, address), before_writing=room, exclusive=True)
        database.rows(sa.select(sa.literal(1)))
        return database

    @property
    def database(self) -> Database:
        """For the toolkit's own tables."""
        return self._database

    @property
    def exists(self) -> bool:
        """Whether the file was there."""
        return not self._stands_in

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return CAPABILITIES

    @property
    def archive(self) -> DuckArchive:
        """Snapshots in its repositories."""
        return DuckArchive(self._database, self.find_repository)

    def find_repository(self, name: str) -> Path:
        """A repository's directory; one that is not absolute lies beside the database's file."""
        return (self.path.absolute().parent / name).resolve()

    def own(self, tables: Sequence[TableName]) -> Database:
        """For the toolkit's own tables; a file without room can't be written to at all."""
        return self._database.brief()

    def unwell(self, schema: str) -> frozenset[TableName]:
        """None: a file is there or not."""
        return frozenset()

    def read_catalog(self, selectors: Iterable[Selector], own_schema: str | None = None) -> Catalog:
        """Read what planning needs."""
        return read_catalog(self._database, selectors)

    def read_named(self, names: Iterable[TableName]) -> Catalog:
        """See :class:`Engine`."""
        return read_catalog(self._database, [Selector(schema=name.schema, name=name.name, keys=True) for name in names])

    def read_outline(self, selector: Selector) -> Outline:
        """What can be named, in at most four statements."""
        return read_outline(self._database, selector)

    def identify(self, table: TableName) -> str:
        """See :class:`Engine`."""
        return identify(self._database, table)

    def measure(self, probes: Sequence[Probe]) -> Measurements:
        """Answer questions about rows."""
        return measure(self._database, SQL, probes)

    def perform(self, step: Step, report: Report) -> StepResult:
        """
        Do a step.

        :raises RetentionError: if it failed; then it can be repeated.
        """
        match step:
            case DropPartitions():
                return delete.drop_partitions(self._database, step)
            case DeleteRows():
                return delete.delete_rows(self._database, step, report)
            case SnapshotPartition():
                return snapshot.create(self._database, step, self.find_repository)
            case VerifySnapshot():
                return snapshot.verify(self._database, step, self.find_repository)
            case DropArchived():
                return snapshot.drop_archived(self._database, step, self.find_repository)
            case MovePartitions() | FreezePartitions() | ThawPartitions():
                raise Unsupported(
                    "DuckDB", "an embedded file has no nodes and no partitions of its own to move or freeze"
                )
            case CreateRollup() | AlterRollup() | RebaseRollup() | RollUp() | SealWindows() | ReplaceView():
                return rollup.perform(self._database, step, report)
            case _:
                assert_never(step)

    def read(self, reading: Reading, stretch: Stretch) -> list[Partial]:
        """What a stretch of a cascade knows of each bucket and group."""
        return read_stretch(self._database, SQL, reading, stretch)

    def read_values(self, reading: Reading, stretch: Stretch, limit: int) -> list[Value]:
        """Some values of the first dimension of a reading."""
        return read_values(self._database, SQL, reading, stretch, limit)

    def count_source(self, rollup: Rollup, windows: Sequence[Window]) -> dict[Window, int]:
        """How many raw rows there are, window by window."""
        return count_source(self._database.rows, SQL, rollup, windows)

    def count_windows(self, rollup: Rollup, windows: Sequence[Window]) -> dict[Window, RolledUp]:
        """How many raw rows the rows of a level stand for, and how many these are, window by window."""
        return count_windows(self._database.rows, SQL, rollup, windows)

    def compare_windows(self, rollup: Rollup, windows: Sequence[Window]) -> dict[Window, Balance]:
        """What the rows of a level stand for and what is beneath them, window by window."""
        return compare_windows(self._database.rows, SQL, rollup, windows)

    def render(self, step: Step) -> list[str]:
        """The statements of a step as text, for showing."""
        match step:
            case DropPartitions():
                return [self._database.render(delete.drop_statement(step))]
            case DeleteRows():
                return [self._database.render(rows_statement(SQL, step))]
            case SnapshotPartition():
                path = self.find_repository(step.repository) / step.name / DATA
                columns = snapshot.stored_columns(self._database, step.table)
                return [self._database.render(snapshot.create_statement(step, columns, path))]
            case DropArchived():
                drop = DropPartitions(table=step.table, columns=step.columns, pieces=(step.piece,), before=step.before)
                return [self._database.render(delete.drop_statement(drop))]
            case CreateRollup() | AlterRollup() | RebaseRollup() | RollUp() | SealWindows() | ReplaceView():
                return [self._database.render(statement) for statement in rollup.statements(step)]
            case _:
                return []

    def close(self) -> None:
        """Close the file."""
        self._database.close()


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
