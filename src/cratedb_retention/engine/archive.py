"""Snapshots in repositories: the interface of all databases."""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.expressions import Element
from cratedb_retention.engine.step import StepResult
from cratedb_retention.errors import DatabaseError, RetentionError
from cratedb_retention.model.archive import Archived
from cratedb_retention.model.catalog import Column, TableName, Value
from cratedb_retention.model.plan.plan import ArchivingStep, DropArchived, SnapshotPartition, VerifySnapshot


@dataclass(frozen=True, slots=True)
class SnapshotState:
    """The state of a snapshot in its repository."""

    complete: bool  # Whether all of it was written.
    detail: str  # The state in the database's terms, and failures.


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a repository, by name."""

    snapshots: frozenset[str]  # Those that this toolkit or cratedb-toolkit made, complete or not.
    leftovers: frozenset[str]  # Left there by interrupted runs and commands.


Archives = Sequence[Archived]
Snapshot = Archived | ArchivingStep


@dataclass(frozen=True, slots=True)
class Arrived:
    """The result of restoring a partition."""

    rows: tuple[int | None, ...]  # That came from each snapshot, if known.
    token: str | None = None  # The change token of the partition, or another value that identifies the restored state.


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedRows:
    """Rows of snapshots of one table, as DuckDB reads them."""

    table: TableName
    rows: sa.Select[Any]  # With the names of the table's columns.
    files: tuple[str, ...] = ()  # The local files that this reads.
    name: str = ""  # That of the dataset that this selects from, if any.
    dataset: Callable[[], Any] | None = None  # Opens it: one of pyarrow, which reads files in any store.


Unread = Sequence[tuple[Archived, RetentionError]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainFile:
    """The Parquet file of a snapshot, as other programs read it."""

    archived: Archived
    location: str  # Its address.
    size: int  # Bytes.
    partition: tuple[tuple[Column, Value], ...]  # The columns that are in its path instead, with their values.
    footer: Any  # Its metadata, of pyarrow.


@dataclass(frozen=True, slots=True)
class ArchivedColumn:
    """A column of a table in its archived rows: the column there, a value from it, and DuckDB's type."""

    name: str
    value: Element
    type: str


class Archive(abc.ABC):
    """Snapshots in repositories. ``schema`` is that of the toolkit's own tables; copies are in it temporarily."""

    @abc.abstractmethod
    def create(self, step: SnapshotPartition) -> StepResult:
        """Archive a partition. A complete snapshot of the same content is used; an incomplete one is replaced."""

    @abc.abstractmethod
    def prove(self, step: VerifySnapshot) -> StepResult:
        """Prove that a snapshot is an archive of the partition, as thoroughly as the policy requires."""

    @abc.abstractmethod
    def drop(self, step: DropArchived) -> StepResult:
        """Drop a partition whose snapshot is complete and whose content is still the one that was archived (law 2)."""

    @abc.abstractmethod
    def states(self, snapshots: Iterable[tuple[str, str]]) -> dict[tuple[str, str], SnapshotState]:
        """The states of snapshots, by repository and name, without reading them; those that are gone are missing."""

    @abc.abstractmethod
    def find(self, repository: str, schema: str) -> list[tuple[Archived, bool]]:
        """All snapshots in a repository, recorded or not; for each, whether another one there has all of its rows."""

    @abc.abstractmethod
    def contents(self, repository: str) -> Contents:
        """What is in a repository, without reading it. NotFound: it does not exist."""

    @abc.abstractmethod
    def delete(self, snapshot: Archived) -> bool:
        """
        Delete a snapshot for good; False: it is gone already. Can be repeated, after an interruption at any instant.

        :raises NotFound: if the repository does not exist, so that it is unknown whether it has the snapshot.
        :raises Conflict: if the snapshot is something else than what was recorded, which stays.
        """

    def tidy(self, schema: str, in_use: Callable[[], Collection[str]] | None = None) -> None:  # noqa: B027
        """Drop copies left by interrupted commands; or, given snapshots ``in_use``, by other interrupted runs."""

    def verify(self, snapshot: Archived, schema: str) -> str:
        """Read a snapshot back, compare its number of rows with the archived one, and return what was verified."""
        rows, said = self._read_back(snapshot, schema)
        if snapshot.rows is not None and rows != snapshot.rows:
            raise DatabaseError(self._thing(snapshot), f"holds {rows:,} rows, but {snapshot.rows:,} were archived")
        return said

    def _thing(self, of: Snapshot) -> str:
        return f"snapshot {of.name}"

    @abc.abstractmethod
    def _read_back(self, snapshot: Archived, schema: str) -> tuple[int, str]:
        """The number of rows of a snapshot, and what was verified."""

    @abc.abstractmethod
    def open_rows(self, snapshots: Archives) -> tuple[list[ArchivedRows], Unread]:
        """How DuckDB reads the rows of snapshots; and those that it cannot read, with the reason."""

    def locate(self, snapshots: Archives) -> dict[str, Archived]:
        """Those snapshots that are Parquet files, by the addresses of their files. Does not look whether they exist."""
        return {}

    def open_plain(self, snapshots: Archives) -> tuple[list[PlainFile], Unread]:
        """The Parquet files of snapshots for other programs; and those that these cannot read, with the reason."""
        return [], []

    @abc.abstractmethod
    def archived_column(self, column: Column) -> ArchivedColumn:
        """How a column of a table is read from its archived rows."""

    @abc.abstractmethod
    def continues(self, earlier: Archived, step: ArchivingStep, token: str | None, whole: bool, schema: str) -> bool:
        """
        Whether a partition that was just archived continues an earlier snapshot, so that rows are in both: by its
        ``token`` if known, else by rows: all rows of the earlier snapshot (``whole``), or any of them.
        """

    @abc.abstractmethod
    def restore(self, snapshots: Archives, into: TableName, schema: str, others: Archives) -> Arrived:
        """
        Restore a partition, into its own table or beside it: all rows of its snapshots, the oldest first, or none.

        :param others: Other snapshots for the same table; if it does not exist, it gets the columns of all.
        :raises Conflict: if the partition already exists.
        """

    def interrupted(self, snapshots: Archives, into: TableName) -> bool:
        """Whether a partition that already exists is what an interrupted restore left, which the next one replaces."""
        return False

    def merge(self, snapshots: Archives, into: TableName, schema: str, others: Archives) -> Arrived:
        """
        Like :meth:`restore`, but the partition may exist, and rows may be in several snapshots: those that it lacks are
        added to it, each as often as it is in one of them. Can be repeated, after an interruption at any instant.

        :raises Conflict: if a row with the same primary key is there by now, or rows cannot be compared exactly.
        """
        return self.restore(snapshots, into, schema, others)

    @abc.abstractmethod
    def render_restore(self, snapshots: Archives, into: TableName, others: Archives) -> Sequence[str]:
        """The statements of a restore as text, for display; fails if they obviously would."""
