"""The interface of all databases, and the steps that they have in common."""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar, assert_never, cast

import sqlalchemy as sa

from cratedb_retention.engine.archive import Archive
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.expressions import Condition, Expressions, expired_rows, table_ref, time_number
from cratedb_retention.engine.plan import measure
from cratedb_retention.engine.rollups.rollup import ANY, Counts, Portions, step_statements, view_statement
from cratedb_retention.engine.rollups.states import level_fields
from cratedb_retention.engine.step import Progress, Report, StepResult
from cratedb_retention.errors import PartitionChanged
from cratedb_retention.model.catalog import Capabilities, Catalog, Column, Selector, Table, TableName, Value, View
from cratedb_retention.model.forecast import Disks, Storage
from cratedb_retention.model.plan import plan
from cratedb_retention.model.plan.measurements import Measurements, Probe
from cratedb_retention.model.rollups.rollup import (
    AlterRollup,
    CreateRollup,
    LevelStep,
    RebaseRollup,
    ReplaceView,
    RollUp,
    Rollup,
    RollupStep,
    SealWindows,
)
from cratedb_retention.model.step import Piece
from cratedb_retention.model.time import show
from cratedb_retention.model.words import plural, show_partition

_Dropping = plan.DropPartitions | plan.DropArchived
_SAMPLE, _VALUES = 10_000, 100  # Rows that are read for suggestions, and values of them.


class Engine(abc.ABC):
    """A database."""

    capabilities: ClassVar[Capabilities]
    sql: ClassVar[Expressions]
    batch: ClassVar[int]  # Rows in one DELETE.
    portions: ClassVar[Portions] = ANY  # What is rolled up at once.
    database: Database  # For the toolkit's own tables as well.
    archive: Archive  # Snapshots in its repositories.
    exists: bool = True  # Whether it exists already; a stand-in for a missing file is empty, and creates none.

    def own(self, tables: Sequence[TableName]) -> Database:
        """For small statements on some of the toolkit's own tables, which stay writable if a disk is full."""
        return self.database.brief()

    def unhealthy(self, schema: str) -> frozenset[TableName]:
        """The tables of a schema with missing shards, which do not show all of their rows."""
        return frozenset()

    def unplaced(self, schema: str) -> frozenset[TableName]:
        """Of those, the tables that lack only new shards, for which no node has space: they hold no rows."""
        return frozenset()

    @abc.abstractmethod
    def read_releases(self) -> list[str]:
        """The releases of its servers; more than one while they are upgraded."""

    @abc.abstractmethod
    def read_catalog(self, selectors: Iterable[Selector], own_schema: str | None = None) -> Catalog:
        """What planning needs, in a fixed number of statements, and the health of the toolkit's own schema."""

    @abc.abstractmethod
    def read_named(self, names: Iterable[TableName]) -> Catalog:
        """The tables with these names and their columns, and the views, without partitions and rows."""

    def read_view(self, name: TableName) -> View | None:
        """A view with this name and its definition; None if there is none."""
        return (self.read_named([name]).views or {}).get(name)

    @abc.abstractmethod
    def read_outline(self, selector: Selector) -> Catalog:
        """All tables by name, those of a selector with columns; nodes, repositories. At most four statements."""

    def read_storage(self, tables: Collection[TableName]) -> Mapping[TableName, Storage]:
        """How tables are stored, of those for which that is known."""
        return {}

    def read_disks(self) -> Disks | None:
        """Its disks; None if they are unknown."""
        return None

    def identify(self, table: Table) -> str:
        """What distinguishes a table from others of its name, even if altered; empty if unknown. May mark the table."""
        return table.identity or self._identify(table.name)

    @abc.abstractmethod
    def _identify(self, name: TableName) -> str:
        """Like :meth:`identify`, if the catalog has no identifier."""

    def perform(self, step: plan.Step, report: Report) -> StepResult:
        """Perform a step. Each step can be repeated after an interruption."""
        match step:
            case plan.DropPartitions():
                return self._drop(step)
            case plan.DeleteRows():
                return self._delete_rows(step, report)
            case plan.MovePartitions():
                return self._move(step, report)
            case plan.CompactPartitions():
                return self._compact(step, report)
            case plan.FreezePartitions() | plan.ThawPartitions():
                return self._block(step, report)
            case plan.SnapshotPartition():
                return self.archive.create(step)
            case plan.VerifySnapshot():
                return self.archive.prove(step)
            case plan.DropArchived():
                return self.archive.drop(step)
            case plan.DeleteSnapshot(archived=archived):
                self.archive.delete(archived)
                return StepResult(rows=archived.rows, partitions=1, size=archived.size)
            case RollUp():
                return self._roll_up(step, report)
            case LevelStep():
                self._execute(step)
                return StepResult()
            case _:
                assert_never(step)

    def _execute(self, step: plan.Step) -> int:
        """Execute the statements of a step, and return the number of rows that they changed, if known."""
        return sum(max(self.database.execute(statement), 0) for statement in self.statements(step))

    @abc.abstractmethod
    def _drop(self, step: plan.DropPartitions) -> StepResult:
        """Drop whole partitions; if their age is known only from their rows, fail if a younger row arrived."""

    @abc.abstractmethod
    def _move(self, step: plan.MovePartitions, report: Report) -> StepResult:
        """Move partitions, and wait until all their shards have arrived."""

    @abc.abstractmethod
    def _compact(self, step: plan.CompactPartitions, report: Report) -> StepResult:
        """Store partitions in less space, and wait until all their rows can be read; the size is what it saved."""

    @abc.abstractmethod
    def _block(self, step: plan.FreezePartitions | plan.ThawPartitions, report: Report) -> StepResult:
        """Block or allow writes. Unfreezing opens a closed partition, and has no effect on one that is gone."""

    @abc.abstractmethod
    def _roll_up(self, step: RollUp, report: Report) -> StepResult:
        """Compute windows from their source; fails if rows are lost (laws 4 and 5), or a sum is too large."""

    @abc.abstractmethod
    def statements(self, step: plan.Step) -> list[sa.Executable]:
        """The statements of a step that change something."""

    def render(self, step: plan.Step) -> list[str]:
        """The same as text, for display."""
        return [self.database.render(statement) for statement in self.statements(step)]

    def _rollup_statements(self, step: RollupStep) -> list[sa.Executable]:
        match step:
            case CreateRollup():
                tables = level_fields(self.sql, step.rollup).items()
                return [self.sql.create_table(table, fields, step.replicas) for table, fields in tables]
            case AlterRollup():  # The table with the distributions may be missing, too.
                own = level_fields(self.sql, step.rollup)[step.rollup.table]
                fields = [one for one in own if one.name in step.columns]
                added = self.sql.add_columns(step.rollup.table, fields) if fields else []
                return [*added, *self._rollup_statements(CreateRollup(rollup=step.rollup))[1:]]
            case ReplaceView():
                return [view_statement(self.sql, step)]
            case RollUp():
                return step_statements(self.sql, step, self.portions)
            case RebaseRollup() | SealWindows():  # These change the ledger only.
                return []
            case _:
                assert_never(step)

    def _delete_rows(self, step: plan.DeleteRows, report: Report) -> StepResult:
        """Delete expired rows in batches, oldest first; rows of the same time are in the same batch."""
        deleted, last = 0, cast("int | None", 0)
        while last is not None:
            self._recheck(step.table)
            self.database.refresh(table_ref(step.table))
            # Counting is far cheaper than sorting, and mostly there is only one batch.
            left = self.database.count(table_ref(step.table), self._expired(step))
            _check_surplus(step, left + deleted)
            last = self._end_of_batch(step) if left > self.batch else None
            until = None if last is None else self.sql.value(step.time_column, last)
            deleted += max(self.database.execute(self._delete(step, until)), 0)
            if last is not None:
                report(Progress(deleted, step.rows, "row"))
        # Otherwise the next plan might find the same rows expired again.
        self.database.refresh(table_ref(step.table))
        return StepResult(rows=deleted)

    def _recheck(self, table: TableName) -> None:  # noqa: B027
        """Check a table again before rows of it are deleted."""

    def _end_of_batch(self, step: plan.DeleteRows) -> int | None:
        """The time of the last row of a batch (ms); None if no row is left."""
        time = self.sql.column(step.time_column)
        read = sa.select(time_number(self.sql, step.time_column, time)).select_from(table_ref(step.table))
        ordered = read.where(self._expired(step)).order_by(time)
        found = self.database.rows(ordered.limit(1).offset(self.batch - 1))
        # Rounded up: a database may store fractions of a millisecond, and each batch must delete at least one row.
        return int(found[0][0]) * step.time_column.tick + 1 if found and found[0][0] is not None else None

    def _delete(self, step: plan.DeleteRows, until: Any = None) -> sa.Delete:
        batch = [] if until is None else [self.sql.column(step.time_column) <= until]
        return sa.delete(table_ref(step.table)).where(self._expired(step), *batch)

    def _batches(self, step: plan.DeleteRows) -> list[sa.Executable]:
        several = [self._delete(step, sa.literal_column(f":time_of_row_{self.batch}"))]
        return [*(several if (step.rows or 0) > self.batch else []), self._delete(step)]

    def _expired(self, step: plan.DeleteRows) -> Condition:
        return expired_rows(self.sql, step.time_column, step.before, step.where, step.spared, step.since)

    def measure(self, probes: Sequence[Probe]) -> Measurements:
        """Answer probes, several hundred per statement."""
        return measure(self.database, self.sql, probes)

    def sample(self, table: TableName, column: Column) -> list[Value]:
        """Some distinct values of a column, in a sample of its rows, as a table may have billions of them."""
        rows = sa.select(self.sql.column(column).label("v")).select_from(table_ref(table)).limit(_SAMPLE).subquery("s")
        found = self.database.brief().rows(sa.select(rows.c.v).distinct().limit(_VALUES))
        return [value for (value,) in found if isinstance(value, str | int | float | bool | None)]

    def counts(self, rollup: Rollup) -> Counts:
        """Counts of the windows of a level and of its source."""
        return Counts(query=self.database.rows, sql=self.sql, rollup=rollup, gaps=self.portions.gaps)

    def close(self) -> None:
        """Close all connections."""
        self.database.engine.dispose()


def _check_surplus(step: plan.DeleteRows, rows: int) -> None:
    """Law 3: a row that arrived after the others were rolled up must not be deleted with them."""
    if step.since is not None and step.rows is not None and rows > step.rows:
        thing = f"table {step.table}, {show(step.since)} to {show(step.before)}"
        reason = f"{plural(rows - step.rows, 'row')} arrived after the others were rolled up"
        raise PartitionChanged(thing, reason, "the next run checks again")


def changed(step: plan.PartitionsStep, piece: Piece, reason: str, remedy: str = "") -> PartitionChanged:
    """The error for a partition that is not as planned."""
    return PartitionChanged(f"table {step.table}, partition {label(step, piece)}", reason, remedy)


def label(step: plan.PartitionsStep, piece: Piece) -> str:
    """The values of a partition as text."""
    return show_partition(step.columns, piece.partition.values)


def require_old(read: Callable[[sa.Select[Any]], Any], sql: Expressions, step: _Dropping, within: Condition) -> None:
    """Law 1: if the age of frozen partitions is known only from their rows (`within`), none may be younger."""
    time = step.time_column
    if time is None:
        return
    latest = time_number(sql, time, sa.func.max(sql.column(time)))
    newest = read(sa.select(latest).select_from(table_ref(step.table)).where(within))
    if newest is not None and newest * time.tick >= step.before:
        written = f"a row of {show(newest * time.tick)} was written to an expired partition"
        raise PartitionChanged(f"table {step.table}", written, "plan again")
