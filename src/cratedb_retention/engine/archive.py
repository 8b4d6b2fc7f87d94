"""Snapshots in a repository, as every database offers them."""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from cratedb_retention.engine.step import StepResult
from cratedb_retention.errors import DatabaseError
from cratedb_retention.model.catalog import Column, TableName, Value
from cratedb_retention.model.plan.plan import ArchivingStep, DropArchived, SnapshotPartition, VerifySnapshot
from cratedb_retention.model.words import show_partition


@dataclass(frozen=True, slots=True)
class SnapshotState:
    """A snapshot as its repository shows it."""

    complete: bool  # Whether all of it was written.
    detail: str  # The database's own word for its state, and its failures.


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """A partition in a snapshot, as the store knows it."""

    repository: str
    name: str
    table: TableName
    columns: tuple[Column, ...] = ()  # The table's partition columns at that time.
    values: tuple[Value, ...] = ()  # Of the partition.
    rows: int | None = None  # In it when it was archived.
    start: int | None = None  # The stretch of time that it covers (ms, UTC), as far as known.
    end: int | None = None
    size: int | None = None  # Bytes, if known.

    @property
    def partition(self) -> str:
        """The partition in words: ``month=2024-01-01``."""
        return show_partition(self.columns, self.values)


Archives = Sequence[Archived]
Snapshot = Archived | ArchivingStep


@dataclass(frozen=True, slots=True)
class Arrived:
    """What a restore of a partition brought."""

    rows: tuple[int | None, ...]  # Of each snapshot, if known.
    token: str | None = None  # The change token of the partition, or what else tells it from others that were restored.


class Archive(abc.ABC):
    """Snapshots in repositories. A schema is that of the toolkit's own tables, in which a copy may be for a while."""

    @abc.abstractmethod
    def create(self, step: SnapshotPartition) -> StepResult:
        """Archive a partition. A complete snapshot of the same content is kept; what an interrupted run left is not."""

    @abc.abstractmethod
    def prove(self, step: VerifySnapshot) -> StepResult:
        """Make sure that a snapshot is an archive of the partition, as far as the policy wants that."""

    @abc.abstractmethod
    def drop(self, step: DropArchived) -> StepResult:
        """Drop a partition whose snapshot is complete and whose content is still the one that was archived (law 2)."""

    @abc.abstractmethod
    def states(self, snapshots: Iterable[tuple[str, str]]) -> dict[tuple[str, str], SnapshotState]:
        """The states of snapshots, by repository and name, without reading them; those that are gone are missing."""

    @abc.abstractmethod
    def find(self, repository: str, schema: str) -> list[tuple[Archived, bool]]:
        """
        The snapshots that this toolkit, or cratedb-toolkit, made in a repository, whatever its own tables know; of each
        whether another one there holds all of its rows as well.
        """

    def tidy(self, schema: str, in_use: Callable[[], Collection[str]] | None = None) -> None:  # noqa: B027
        """Drop copies that interrupted commands left in a schema, or runs, but those of snapshots ``in_use``."""

    def verify(self, snapshot: Archived, schema: str) -> str:
        """Read a snapshot back, which must have as many rows as were archived, and say what was found to be right."""
        rows, said = self._read_back(snapshot, schema)
        if snapshot.rows is not None and rows != snapshot.rows:
            raise DatabaseError(self._thing(snapshot), f"holds {rows:,} rows, and {snapshot.rows:,} were archived")
        return said

    def _thing(self, of: Snapshot) -> str:
        return f"snapshot {of.name}"

    @abc.abstractmethod
    def _read_back(self, snapshot: Archived, schema: str) -> tuple[int, str]:
        """How many rows a snapshot has, and what was found to be right."""

    @abc.abstractmethod
    def continues(self, earlier: Archived, step: DropArchived, token: str | None, whole: bool, schema: str) -> bool:
        """
        Whether a partition that was just archived goes on from an earlier snapshot, so that its rows are in both: by
        its ``token``, if known, or its rows, of which the ``whole`` snapshot has to be there, or any.
        """

    @abc.abstractmethod
    def restore(self, snapshots: Archives, into: TableName, schema: str, others: Archives) -> Arrived:
        """
        Bring a partition back, into its own table or beside it: all rows of its snapshots, the oldest first, or none.

        :param others: What goes into the same table besides; if it does not exist, it gets the columns of all.
        :raises Conflict: if the partition is there already.
        """

    @abc.abstractmethod
    def render_restore(self, snapshots: Archives, into: TableName, others: Archives) -> Sequence[str]:
        """The statements of a restore as text, for showing; fails where it is plain that they would."""
