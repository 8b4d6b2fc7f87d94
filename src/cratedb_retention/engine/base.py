"""What every database offers to the layers above it, and the steps that all of them do alike."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Sequence
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
from cratedb_retention.model.catalog import Capabilities, Catalog, Selector, Table, TableName
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


class Engine(abc.ABC):
    """A database."""

    capabilities: ClassVar[Capabilities]
    sql: ClassVar[Expressions]
    batch: ClassVar[int]  # Rows in one DELETE.
    portions: ClassVar[Portions] = ANY  # Rows that are rolled up at once.
    database: Database  # For the toolkit's own tables as well.
    archive: Archive  # Snapshots in its repositories.
    exists: bool = True  # Whether it is there already; one that only stands in for a file is empty, and leaves none.

    def own(self, tables: Sequence[TableName]) -> Database:
        """For small statements on some of the toolkit's own tables: to these, a full disk is no reason not to write."""
        return self.database.brief()

    def unwell(self, schema: str) -> frozenset[TableName]:
        """The tables of a schema that lack shards, so that they do not tell all that is in them."""
        return frozenset()

    def unplaced(self, schema: str) -> frozenset[TableName]:
        """Of those, the tables that lack only new shards for which no node has room: nothing can be in them."""
        return frozenset()

    @abc.abstractmethod
    def read_catalog(self, selectors: Iterable[Selector], own_schema: str | None = None) -> Catalog:
        """What planning needs, in a fixed number of statements; of the toolkit's own schema, whether it is whole."""

    @abc.abstractmethod
    def read_named(self, names: Iterable[TableName]) -> Catalog:
        """What has these names now, tables with their columns and views, without a look at partitions or rows."""

    @abc.abstractmethod
    def read_outline(self, selector: Selector) -> Catalog:
        """All tables by name, those of a selector with columns; nodes, repositories. At most four statements."""

    def identify(self, table: Table) -> str:
        """
        What tells a table from others that have or had its name, for as long as it exists, whatever it is altered to;
        empty where the database has nothing of the kind. Where it only keeps what it is given, the table is marked.
        """
        return table.identity or self._identify(table.name)

    @abc.abstractmethod
    def _identify(self, name: TableName) -> str:
        """The same, where the catalog did not say."""

    def perform(self, step: plan.Step, report: Report) -> StepResult:
        """Do a step. Each can be repeated after it was interrupted."""
        match step:
            case plan.DropPartitions():
                return self._drop(step)
            case plan.DeleteRows():
                return self._delete_rows(step, report)
            case plan.MovePartitions():
                return self._move(step, report)
            case plan.FreezePartitions() | plan.ThawPartitions():
                return self._block(step, report)
            case plan.SnapshotPartition():
                return self.archive.create(step)
            case plan.VerifySnapshot():
                return self.archive.prove(step)
            case plan.DropArchived():
                return self.archive.drop(step)
            case RollUp():
                return self._roll_up(step, report)
            case LevelStep():
                self._execute(step)
                return StepResult()
            case _:
                assert_never(step)

    def _execute(self, step: plan.Step) -> int:
        """Send the statements of a step; the number of rows that they changed, if the database says so."""
        return sum(max(self.database.execute(statement), 0) for statement in self.statements(step))

    @abc.abstractmethod
    def _drop(self, step: plan.DropPartitions) -> StepResult:
        """Drop whole partitions; those whose age came from their rows only if no younger row arrived."""

    @abc.abstractmethod
    def _move(self, step: plan.MovePartitions, report: Report) -> StepResult:
        """Move partitions, and wait until all their shards have arrived."""

    @abc.abstractmethod
    def _block(self, step: plan.FreezePartitions | plan.ThawPartitions, report: Report) -> StepResult:
        """Block or allow writes. A partition that is gone needs no thawing."""

    @abc.abstractmethod
    def _roll_up(self, step: RollUp, report: Report) -> StepResult:
        """Compute windows from their source; fails if rows are lost (laws 4 and 5), or a sum is too large."""

    @abc.abstractmethod
    def statements(self, step: plan.Step) -> list[sa.Executable]:
        """The statements of a step that change something."""

    def render(self, step: plan.Step) -> list[str]:
        """The same as text, for showing."""
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
            case RebaseRollup() | SealWindows():  # A matter of the ledger alone.
                return []
            case _:
                assert_never(step)

    def _delete_rows(self, step: plan.DeleteRows, report: Report) -> StepResult:
        """
        Delete expired rows in batches, oldest first. A batch ends at the time of its last row, so rows of the same time
        go together, however many they are.
        """
        deleted, last = 0, cast("int | None", 0)
        while last is not None:
            self._look_again(step.table)
            self.database.refresh(table_ref(step.table))
            # Counted, since putting rows in order costs far more, and mostly there is nothing to divide.
            left = self.database.count(table_ref(step.table), self._expired(step))
            _check_surplus(step, left + deleted)
            last = self._end_of_batch(step) if left > self.batch else None
            until = None if last is None else self.sql.value(step.time_column, last)
            deleted += max(self.database.execute(self._delete(step, until)), 0)
            if last is not None:
                report(Progress(deleted, step.rows, "row"))
        # Or a plan that is made right now would find the same rows expired once more.
        self.database.refresh(table_ref(step.table))
        return StepResult(rows=deleted)

    def _look_again(self, table: TableName) -> None:  # noqa: B027
        """See that a table is as it should be before rows of it are deleted."""

    def _end_of_batch(self, step: plan.DeleteRows) -> int | None:
        """The time of the last row of a batch (ms); None if there is none any more."""
        time = self.sql.column(step.time_column)
        read = sa.select(time_number(self.sql, step.time_column, time)).select_from(table_ref(step.table))
        ordered = read.where(self._expired(step)).order_by(time)
        found = self.database.rows(ordered.limit(1).offset(self.batch - 1))
        # Rounded up: a database may know fractions of a millisecond, and each batch must take at least one row.
        return int(found[0][0]) * step.time_column.tick + 1 if found and found[0][0] is not None else None

    def _delete(self, step: plan.DeleteRows, until: Any = None) -> sa.Delete:
        batch = [] if until is None else [self.sql.column(step.time_column) <= until]
        return sa.delete(table_ref(step.table)).where(self._expired(step), *batch)

    def _batches(self, step: plan.DeleteRows) -> list[sa.Executable]:
        """What is sent for a step, for showing; where a batch ends, only its rows tell."""
        several = [self._delete(step, sa.literal_column(f":time_of_row_{self.batch}"))]
        return [*(several if (step.rows or 0) > self.batch else []), self._delete(step)]

    def _expired(self, step: plan.DeleteRows) -> Condition:
        return expired_rows(self.sql, step.time_column, step.before, step.where, step.spared, step.since)

    def measure(self, probes: Sequence[Probe]) -> Measurements:
        """Answer questions about rows, some hundred in each statement."""
        return measure(self.database, self.sql, probes)

    def counts(self, rollup: Rollup) -> Counts:
        """For counting what a level and its source have of windows."""
        return Counts(self.database.rows, self.sql, rollup)

    def close(self) -> None:
        """Close all connections."""
        self.database.engine.dispose()


def _check_surplus(step: plan.DeleteRows, rows: int) -> None:
    """Law 3: a row that came after the others were rolled up must not go with them."""
    if step.since is not None and step.rows is not None and rows > step.rows:
        thing = f"table {step.table}, {show(step.since)} to {show(step.before)}"
        reason = f"{plural(rows - step.rows, 'row')} came after the others were rolled up"
        raise PartitionChanged(thing, reason, "the next run looks again")


def changed(step: plan.PartitionsStep, piece: Piece, reason: str, remedy: str = "") -> PartitionChanged:
    """What to say of a partition that is not as it was planned."""
    return PartitionChanged(f"table {step.table}, partition {label(step, piece)}", reason, remedy)


def label(step: plan.PartitionsStep, piece: Piece) -> str:
    """The values of one of its partitions, in words."""
    return show_partition(step.columns, piece.partition.values)


def require_old(read: Callable[[sa.Select[Any]], Any], sql: Expressions, step: _Dropping, within: Condition) -> None:
    """Law 1: no row of frozen partitions, which `within` fits, may be young, where their rows told their age."""
    time = step.time_column
    if time is None:
        return
    latest = time_number(sql, time, sa.func.max(sql.column(time)))
    newest = read(sa.select(latest).select_from(table_ref(step.table)).where(within))
    if newest is not None and newest * time.tick >= step.before:
        written = f"a row of {show(newest * time.tick)} was written to an expired partition"
        raise PartitionChanged(f"table {step.table}", written, "plan again")
