"""The engine for DuckDB. Deleting and rolling up are one transaction each: what is checked is what is changed."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, assert_never

import sqlalchemy as sa

from cratedb_retention.engine.base import Engine
from cratedb_retention.engine.duckdb import forecast
from cratedb_retention.engine.duckdb.archive import DuckArchive
from cratedb_retention.engine.duckdb.catalog import CAPABILITIES, Reader
from cratedb_retention.engine.duckdb.connection import DuckConnection, not_a_database
from cratedb_retention.engine.duckdb.sql import FIRST, SQL
from cratedb_retention.engine.expressions import in_partitions, table_ref, time_number
from cratedb_retention.engine.rollups import rollup as rollups
from cratedb_retention.engine.step import Progress, Report, StepResult
from cratedb_retention.errors import Conflict, DatabaseError, InvalidInput, Unsupported
from cratedb_retention.model.address import DatabaseAddress
from cratedb_retention.model.catalog import Catalog, Selector, TableName, View
from cratedb_retention.model.forecast import Disks, Storage
from cratedb_retention.model.plan import plan
from cratedb_retention.model.policies.patterns import is_pattern
from cratedb_retention.model.rollups.rollup import Count, LevelStep, RollUp, Window

# Tables that are looked up by their names.
FEW = 100
_FILLED = 0.9  # The smallest batch of rows, as a share of the largest.
# The position of the format identifier in a DuckDB file.
_MAGIC = slice(8, 12)


class DuckDBEngine(Engine):
    """
    A DuckDB file, opened in UTC: by one process, or by several that only read. If this process has it open for writing,
    it is not opened read-only.

    :param create: Whether the file may be created; if not, a misspelt name is an error. Together with `read_only`, an
        empty database in memory replaces a file that does not exist.
    :raises InvalidInput: if driver, file or directory are missing; `Locked` if another process has it open.
    """

    capabilities, sql = CAPABILITIES, SQL
    archive: DuckArchive
    # The groups of an INSERT are in memory; those that do not fit into it are written to disk and read again.
    portions = rollups.Portions(run=8_000_000, gaps=30)
    batch = 10_000_000  # With a primary key, DuckDB needs about 60 bytes for each until the transaction ends.

    def __init__(self, address: DatabaseAddress, create: bool = False, read_only: bool = False) -> None:
        self.path = Path(sa.make_url(address.dburi).database or "")
        thing = f"database {address.safe}"
        if not create and not self.path.exists():
            raise InvalidInput(thing, "the file does not exist", "`cratedb-retention setup` creates it")
        self.exists = not (create and read_only) or self.path.exists()
        if not self.exists:
            directory = self.path.absolute().parent
            if not directory.is_dir():
                raise InvalidInput(thing, f"directory {directory} does not exist", "create it first")
            address, read_only = DatabaseAddress("duckdb:///:memory:"), False
        if self.path.is_file() and not _is_duckdb(self.path):
            raise not_a_database(thing)
        try:
            self.database = DuckConnection(address, self.path, read_only)
        except Conflict:
            if not read_only:
                raise
            self.database = DuckConnection(address, self.path, False)
        self.archive = DuckArchive(self.database, self.path.absolute().parent)

    def read_catalog(self, selectors: Iterable[Selector], own_schema: str | None = None) -> Catalog:
        selectors = list(selectors)
        few = len(selectors) <= FEW and not any(is_pattern(selector.name) for selector in selectors)
        names = [TableName(selector.schema or "", selector.name) for selector in selectors] if few else None
        return Reader(self.database, names).catalog(selectors)

    def read_named(self, names: Iterable[TableName]) -> Catalog:
        names = list(names)
        return Reader(self.database, names).named(names)

    def read_releases(self) -> list[str]:
        return [str(self.database.rows(sa.select(sa.func.version()))[0][0]).removeprefix("v")]

    def read_view(self, name: TableName) -> View | None:
        return Reader(self.database, [name]).views().get(name)

    def read_outline(self, selector: Selector) -> Catalog:
        return Reader(self.database).outline(selector)

    def read_storage(self, tables: Collection[TableName]) -> Mapping[TableName, Storage]:
        return forecast.read_storage(self.database, tables) if self.exists else {}

    def read_disks(self) -> Disks | None:
        return forecast.read_disks(self.path)

    def _identify(self, name: TableName) -> str:
        return Reader(self.database, [name]).identify(name)

    def statements(self, step: plan.Step) -> list[sa.Executable]:
        """If the age of partitions is known only from their rows, younger rows and those without a time stay."""
        match step:
            case plan.DropPartitions() | plan.DropArchived():
                condition = in_partitions(SQL, step.columns, step.partitions)
                if isinstance(step, plan.DropPartitions) and step.time_column is not None:
                    young = SQL.column(step.time_column) >= SQL.value(step.time_column, step.before)
                    condition = sa.and_(condition, sa.not_(sa.func.coalesce(young, sa.true())))
                return [sa.delete(table_ref(step.table)).where(condition)]
            case plan.DeleteRows():
                return self._batches(step)
            case plan.SnapshotPartition():
                return [self.archive.copy_statement(step)]
            case LevelStep():
                return self._rollup_statements(step)
            case plan.VerifySnapshot() | plan.DeleteSnapshot() | plan.PartitionsStep():
                return []
            case _:
                assert_never(step)

    def _drop(self, step: plan.DropPartitions) -> StepResult:
        return StepResult(rows=self._execute(step), partitions=len(step.pieces))

    def _end_of_batch(self, step: plan.DeleteRows) -> int | None:
        """By counting, since sorting takes far more time and memory. A batch may be a tenth smaller."""
        time, of, expired = SQL.column(step.time_column), table_ref(step.table), self._expired(step)
        ends = (time_number(SQL, step.time_column, end) for end in (sa.func.min(time), sa.func.max(time)))
        ((oldest, newest, most),) = self.database.rows(sa.select(*ends, sa.func.count()).select_from(of).where(expired))
        if most <= self.batch or oldest is None or newest is None:
            return None
        tick, below = step.time_column.tick, 0
        low, high = max(int(oldest) * tick, FIRST) - 1, (int(newest) + 1) * tick
        # There are `below` rows up to `low`, at most a batch, and `most` rows up to `high`, which are more.
        for shares in itertools.cycle((True, False)):
            if below >= _FILLED * self.batch or high - low <= tick:
                break
            share = ((1 + _FILLED) / 2 * self.batch - below) / (most - below) if shares else 0.5
            at = min(max(low + int((high - low) * share), low + 1), high - 1)
            rows = self.database.count(of, expired, time <= SQL.value(step.time_column, at))
            if rows <= self.batch:
                low, below = at, rows
            else:
                high, most = at, rows
        return low if below else high

    def _move(self, step: plan.PartitionsStep, report: Report) -> NoReturn:
        raise Unsupported("DuckDB", "an embedded file has no nodes and no partitions of its own to move or freeze")

    _compact = _block = _move

    def _roll_up(self, step: RollUp, report: Report) -> StepResult:
        def work(connection: sa.Connection) -> dict[Window, Count]:
            results: dict[Window, Count] = {}

            def query(statement: sa.Executable) -> Sequence[Sequence[Any]]:
                return connection.execute(statement).all()

            counts = rollups.Counts(query=query, sql=SQL, rollup=step.rollup, gaps=self.portions.gaps)
            for run in rollups.runs_of(step, self.portions):
                version = rollups.new_version()
                counts.require_rows(step, run)
                for statement in rollups.run_statements(SQL, step, run, version, self.portions):
                    connection.execute(statement)
                below, found = counts.below(run), counts.stored(run, version)
                for window in run.windows:
                    if not found[window].stands_for(below[window]):
                        thing = f"table {step.rollup.table}, {rollups.show_window(window)}"
                        raise DatabaseError(thing, rollups.show_difference(below[window], found[window]))
                results |= found
                report(Progress(len(results), len(step.windows), "window"))
            return results

        try:
            results = self.database.transact(work)
        except DatabaseError as error:
            if "Overflow" not in error.reason:
                raise
            remedy = "remove sum and avg of that metric from aggregates, or exclude it"
            raise DatabaseError(f"table {step.rollup.table}", f"a sum is too large ({error.reason})", remedy) from error
        return StepResult(rows=sum(count.rows for count in results.values()), windows=results)


def _is_duckdb(path: Path) -> bool:
    """By the beginning of the file. For some other formats, DuckDB would download an extension."""
    try:
        with path.open("rb") as file:
            return file.read(_MAGIC.stop)[_MAGIC] == b"DUCK"
    except OSError:  # DuckDB reports the error.
        return True
