"""
What every database offers to the layers above it.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import sqlalchemy as sa

from cratedb_retention.engine.archive import Archive
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.expressions import Expressions
from cratedb_retention.engine.measuring import measure
from cratedb_retention.engine.query import read_stretch, read_values
from cratedb_retention.engine.rollup import compare_windows, count_source, count_windows
from cratedb_retention.model.catalog import Capabilities, Catalog, Outline, Selector, TableName, Value
from cratedb_retention.model.measurements import Measurements, Probe
from cratedb_retention.model.plan import Step
from cratedb_retention.model.reading import Partial, Reading, Stretch
from cratedb_retention.model.rollup import Balance, RolledUp, Rollup, Window


@dataclass(frozen=True, slots=True)
class Progress:
    """
    How far a step is.

    :param done: Units that are done: rows, shards or partitions.
    :param total: Units in all; None if unknown.
    :param unit: Their name in the singular.
    """

    done: int
    total: int | None
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """
    What a step did.

    :param rows: Rows that it removed, archived or moved; None if the database does not say.
    :param partitions: Partitions concerned.
    :param size: Bytes concerned, if known.
    :param windows: What each window of a rollup gave.
    """

    rows: int | None = None
    partitions: int = 0
    size: int | None = None
    windows: tuple[RolledUp, ...] = ()


Report = Callable[[Progress], None]


class Engine(abc.ABC):
    """
    A database.

    :param database: The connection, for the toolkit's own tables as well.
    :param exists: Whether the database is there already; one that only stands in for a file is empty, and leaves none.
    """

    capabilities: ClassVar[Capabilities]
    sql: ClassVar[Expressions]
    database: Database
    exists: bool = True

    @property
    @abc.abstractmethod
    def archive(self) -> Archive:
        """Snapshots in its repositories."""

    def own(self, tables: Sequence[TableName]) -> Database:
        """
        For small statements on the toolkit's own tables.

        :param tables: These; a full disk is no reason not to write to them, as far as the database allows.
        """
        return self.database.brief()

    def unwell(self, schema: str) -> frozenset[TableName]:
        """The tables of a schema that lack shards, so that they do not tell all that is in them."""
        return frozenset()

    def unplaced(self, schema: str) -> frozenset[TableName]:
        """Of those, the tables that lack only new shards for which no node has room: nothing can be in them."""
        return frozenset()

    @abc.abstractmethod
    def read_catalog(self, selectors: Iterable[Selector], own_schema: str | None = None) -> Catalog:
        """
        Read what planning needs, in a fixed number of statements.

        :param own_schema: Of the toolkit's tables: that they are whole is looked at as well.
        """

    @abc.abstractmethod
    def read_named(self, names: Iterable[TableName]) -> Catalog:
        """What has these names now, tables with their columns and views, without a look at partitions or rows."""

    @abc.abstractmethod
    def read_outline(self, selector: Selector) -> Outline:
        """
        What can be named, without a look at partitions, shards or rows: at most four statements.

        :param selector: The tables whose columns are wanted.
        """

    @abc.abstractmethod
    def identify(self, table: TableName) -> str:
        """
        What tells a table from others that have or had its name, for as long as it exists, whatever it is altered to;
        empty where the database has nothing of the kind. Where it only keeps what it is given, the table is marked.
        """

    @abc.abstractmethod
    def perform(self, step: Step, report: Report) -> StepResult:
        """
        Do a step. Each can be repeated after it was interrupted.

        :raises RetentionError: if it failed.
        """

    @abc.abstractmethod
    def statements(self, step: Step) -> list[sa.Executable]:
        """The statements of a step that change something."""

    def render(self, step: Step) -> list[str]:
        """The same as text, for showing."""
        return [self.database.render(statement) for statement in self.statements(step)]

    def measure(self, probes: Sequence[Probe]) -> Measurements:
        """Answer questions about rows, some hundred in each statement."""
        return measure(self.database, self.sql, probes)

    def read(self, reading: Reading, stretch: Stretch) -> list[Partial]:
        """What a stretch of a cascade knows of each bucket and group: one statement, one more for distributions."""
        return read_stretch(self.database, self.sql, reading, stretch)

    def read_values(self, reading: Reading, stretch: Stretch, limit: int) -> list[Value]:
        """Some values of the first dimension of a reading that a stretch knows, in one statement."""
        return read_values(self.database, self.sql, reading, stretch, limit)

    def count_source(self, rollup: Rollup, windows: Sequence[Window]) -> dict[Window, int]:
        """How many raw rows there are, window by window, some hundred in a statement."""
        return count_source(self.database.rows, self.sql, rollup, windows)

    def count_windows(self, rollup: Rollup, windows: Sequence[Window]) -> dict[Window, RolledUp]:
        """
        How many raw rows the rows of a level stand for, and how many these are, window by window, some hundred in a
        statement.
        """
        return count_windows(self.database.rows, self.sql, rollup, windows)

    def compare_windows(self, rollup: Rollup, windows: Sequence[Window]) -> dict[Window, Balance]:
        """What a level's rows stand for and what is beneath them, window by window, some hundred in a statement."""
        return compare_windows(self.database.rows, self.sql, rollup, windows)

    def close(self) -> None:
        """Close all connections."""
        self.database.close()
