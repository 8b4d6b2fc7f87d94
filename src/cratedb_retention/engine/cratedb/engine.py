"""
The engine for CrateDB: opens the connection, and hands each kind of work to the module that knows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import assert_never

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from cratedb_retention.clock import Clock
from cratedb_retention.engine.base import Report, StepResult
from cratedb_retention.engine.cratedb import delete, freeze, proof, reallocate, rolling, rollup, snapshot
from cratedb_retention.engine.cratedb.archive import CrateArchive
from cratedb_retention.engine.cratedb.catalog import CAPABILITIES, read_catalog, read_identity, read_named, read_outline
from cratedb_retention.engine.cratedb.disk import unblock
from cratedb_retention.engine.cratedb.health import find_unwell
from cratedb_retention.engine.cratedb.patience import connect_args, watch
from cratedb_retention.engine.cratedb.recovery import explain
from cratedb_retention.engine.cratedb.sql import SQL
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.measuring import measure
from cratedb_retention.engine.query import read_stretch, read_values
from cratedb_retention.engine.rollup_check import compare_windows, count_source, count_windows
from cratedb_retention.engine.rows import rows_statement
from cratedb_retention.errors import InvalidInput
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


class CrateDBEngine:
    """
    CrateDB, 5.10 or later, through its HTTP endpoint.

    :raises ConnectionLost: if it can't be reached.
    :raises AccessDenied: if user or password are wrong.
    """

    def __init__(self, address: DatabaseAddress, clock: Clock) -> None:
        self.clock = clock
        try:
            # Parameters as $1: the driver's own %(name)s is confused by percent signs in names, and CrateDB counts
            # the ? of PARTITION and WITH in RESTORE SNAPSHOT in another order than they stand.
            engine = sa.create_engine(address.dburi, paramstyle="numeric_dollar", connect_args=connect_args(address))
        except SQLAlchemyError as error:
            raise InvalidInput(f"database address {address.safe}", str(error)) from None
        watch(engine, address)
        self._database = Database(
            engine,
            partial(explain, engine, address, clock),
            refreshes=True,
            row_version=("_seq_no", "_primary_term"),
            counts_each=True,
        )
        self._database.rows(sa.select(sa.literal(1)))

    @property
    def database(self) -> Database:
        """For the toolkit's own tables."""
        return self._database

    @property
    def exists(self) -> bool:
        """It answers."""
        return True

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return CAPABILITIES

    @property
    def archive(self) -> CrateArchive:
        """Snapshots in its repositories."""
        return CrateArchive(self._database)

    def own(self, tables: Sequence[TableName]) -> Database:
        """For the toolkit's own tables, which stay writable where a disk is full."""
        database = self._database.brief()
        return database.unblocking(partial(unblock, database, tables))

    def unwell(self, schema: str) -> frozenset[TableName]:
        """The tables of a schema that lack shards."""
        return find_unwell(self._database, self.clock, schema)

    def read_catalog(self, selectors: Iterable[Selector], own_schema: str | None = None) -> Catalog:
        """Read what planning needs, in at most eight statements."""
        return read_catalog(self._database.brief(), self.clock, selectors, own_schema)

    def read_named(self, names: Iterable[TableName]) -> Catalog:
        """See :class:`Engine`."""
        return read_named(self._database.brief(), names)

    def read_outline(self, selector: Selector) -> Outline:
        """What can be named, in at most four statements."""
        return read_outline(self._database.brief(), selector)

    def identify(self, table: TableName) -> str:
        """See :class:`Engine`."""
        return read_identity(self._database.brief(), table)

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
            case MovePartitions():
                return reallocate.move(self._database.brief(), step, report, self.clock)
            case FreezePartitions():
                return freeze.set_blocked(self._database.brief(), step, True, report)
            case ThawPartitions():
                return freeze.set_blocked(self._database.brief(), step, False, report)
            case SnapshotPartition():
                return snapshot.create(self._database, step, self.clock)
            case VerifySnapshot():
                return proof.verify(self._database, step)
            case DropArchived():
                return snapshot.drop_archived(self._database, step)
            case CreateRollup() | AlterRollup() | RebaseRollup() | RollUp() | SealWindows() | ReplaceView():
                return rolling.perform(self._database, step, report)
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
        return [self._database.render(statement) for statement in statements(step)]

    def close(self) -> None:
        """Close all connections."""
        self._database.close()


def statements(step: Step) -> list[sa.Executable]:
    """The statements that change something, for showing a step and for testing it without a connection."""
    match step:
        case DropPartitions():
            return [delete.drop_statement(step.table, step.columns, step.pieces)]
        case DeleteRows():
            return [rows_statement(SQL, step)]
        case MovePartitions():
            return reallocate.statements(step)
        case FreezePartitions():
            return freeze.statements(step, True)
        case ThawPartitions():
            return freeze.statements(step, False)
        case SnapshotPartition():
            return [snapshot.create_statement(step)]
        case VerifySnapshot():
            return proof.statements(step)
        case DropArchived():
            return [delete.drop_statement(step.table, step.columns, [step.piece])]
        case CreateRollup() | AlterRollup() | RebaseRollup() | RollUp() | SealWindows() | ReplaceView():
            return rollup.statements(step)
        case _:
            assert_never(step)
