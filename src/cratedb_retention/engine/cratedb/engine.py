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
from cratedb_retention.engine.base import Engine, Report, StepResult
from cratedb_retention.engine.cratedb import delete, freeze, proof, reallocate, rolling, rollup, snapshot
from cratedb_retention.engine.cratedb.archive import CrateArchive
from cratedb_retention.engine.cratedb.catalog import CAPABILITIES, read_catalog, read_identity, read_named, read_outline
from cratedb_retention.engine.cratedb.connection import CrateConnection, connect_args
from cratedb_retention.engine.cratedb.disk import unblock
from cratedb_retention.engine.cratedb.health import find_unplaced, find_unwell
from cratedb_retention.engine.cratedb.recovery import explain
from cratedb_retention.engine.cratedb.sql import SQL
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.rows import rows_statement
from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.address import DatabaseAddress
from cratedb_retention.model.catalog import Catalog, Outline, Selector, TableName
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
from cratedb_retention.model.rollup import (
    AlterRollup,
    CreateRollup,
    RebaseRollup,
    ReplaceView,
    RollUp,
    SealWindows,
)


class CrateDBEngine(Engine):
    """
    CrateDB, 5.10 or later, through its HTTP endpoint.

    :raises ConnectionLost: if it can't be reached.
    :raises AccessDenied: if user or password are wrong.
    """

    capabilities, sql = CAPABILITIES, SQL

    def __init__(self, address: DatabaseAddress, clock: Clock) -> None:
        self.clock = clock
        try:
            # Parameters as $1: the driver's own %(name)s is confused by percent signs in names, and CrateDB counts
            # the ? of PARTITION and WITH in RESTORE SNAPSHOT in another order than they stand.
            engine = sa.create_engine(address.dburi, paramstyle="numeric_dollar", connect_args=connect_args(address))
        except SQLAlchemyError as error:
            raise InvalidInput(f"database address {address.safe}", str(error)) from None
        self.database = CrateConnection(engine, partial(explain, engine, address, clock), address)
        self.database.rows(sa.select(sa.literal(1)))

    @property
    def archive(self) -> CrateArchive:
        """See :class:`Engine`."""
        return CrateArchive(self.database)

    def own(self, tables: Sequence[TableName]) -> Database:
        """For the toolkit's own tables, which stay writable where a disk is full."""
        database = self.database.brief()
        return database.unblocking(partial(unblock, database, tables))

    def unwell(self, schema: str) -> frozenset[TableName]:
        """The tables of a schema that lack shards."""
        return find_unwell(self.database, self.clock, schema)

    def unplaced(self, schema: str) -> frozenset[TableName]:
        """The tables of a schema that lack only shards which no node took yet."""
        return find_unplaced(self.database, schema)

    def read_catalog(self, selectors: Iterable[Selector], own_schema: str | None = None) -> Catalog:
        """Read what planning needs, in at most eight statements."""
        return read_catalog(self.database.brief(), self.clock, selectors, own_schema)

    def read_named(self, names: Iterable[TableName]) -> Catalog:
        """See :class:`Engine`."""
        return read_named(self.database.brief(), names)

    def read_outline(self, selector: Selector) -> Outline:
        """What can be named, in at most four statements."""
        return read_outline(self.database.brief(), selector)

    def identify(self, table: TableName) -> str:
        """See :class:`Engine`."""
        return read_identity(self.database.brief(), table)

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
            case MovePartitions():
                return reallocate.move(self.database.brief(), step, report, self.clock)
            case FreezePartitions():
                return freeze.set_blocked(self.database.brief(), step, True, report)
            case ThawPartitions():
                return freeze.set_blocked(self.database.brief(), step, False, report)
            case SnapshotPartition():
                return snapshot.create(self.database, step, self.clock)
            case VerifySnapshot():
                return proof.verify(self.database, step)
            case DropArchived():
                return snapshot.drop_archived(self.database, step)
            case CreateRollup() | AlterRollup() | RebaseRollup() | RollUp() | SealWindows() | ReplaceView():
                return rolling.perform(self.database, step, report)
            case _:
                assert_never(step)

    def statements(self, step: Step) -> list[sa.Executable]:
        """See :class:`Engine`."""
        return statements(step)


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
