"""
Snapshots in a repository, as every database offers them to the layers above.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cratedb_retention.model.catalog import Column, TableName, Value
from cratedb_retention.model.plan import DropArchived


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotState:
    """
    A snapshot as its repository shows it.

    :param complete: Whether all of it was written.
    :param detail: The database's own word for its state, and its failures.
    """

    repository: str
    name: str
    complete: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """
    A partition in a snapshot, as the store knows it.

    :param columns: The table's partition columns at that time.
    :param values: The partition's values.
    :param rows: Rows in it when it was archived.
    """

    repository: str
    name: str
    table: TableName
    columns: tuple[Column, ...]
    values: tuple[Value, ...]
    rows: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """
    A snapshot as its repository alone tells of it.

    :param start: The stretch of time that it covers (ms, UTC), as far as known, likewise ``end``.
    :param size: Bytes, if known.
    :param superseded: Whether another snapshot in the repository holds all of its rows as well.
    """

    archived: Archived
    start: int | None = None
    end: int | None = None
    size: int | None = None
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class Arrived:
    """
    What a restore of a partition brought.

    :param rows: Of each snapshot, if known.
    :param token: The change token of the partition, or what else tells it from others that were restored.
    """

    rows: tuple[int | None, ...]
    token: str | None = None


class Archive(Protocol):
    """Reads and restores snapshots."""

    def states(self, snapshots: Iterable[tuple[str, str]]) -> dict[tuple[str, str], SnapshotState]:
        """The states of snapshots, by repository and name, without reading them; those that are gone are missing."""

    def find(self, repository: str, schema: str) -> list[Found]:
        """
        The snapshots that this toolkit made in a repository, whatever its own tables know.

        :param schema: Of the toolkit's own tables: where a copy may be for a while.
        :raises NotFound: if there is no such repository.
        """

    def tidy(self, schema: str, in_use: Callable[[], Collection[str]] | None = None) -> None:
        """
        Drop the copies in a schema that commands left there when they were interrupted, or those that runs did.

        :param in_use: The names of snapshots that runs may be verifying; None: the copies of commands.
        """

    def verify(self, snapshot: Archived, schema: str) -> str:
        """
        Read a snapshot back and say in words what was found to be right.

        :param schema: Of the toolkit's own tables: where a copy may be for a while.
        :raises RetentionError: if anything about it is not right.
        """

    def continues(self, earlier: Archived, step: DropArchived, token: str | None, whole: bool, schema: str) -> bool:
        """
        Whether a partition that was just archived goes on from an earlier snapshot, so that its rows are in both.

        :param token: The change token of the partition that the earlier one was, if known.
        :param whole: Whether all of its rows have to be there, where rows are compared.
        :param schema: Of the toolkit's own tables: where a copy may be for a while.
        """

    def restore(
        self, snapshots: Sequence[Archived], into: TableName, schema: str, others: Sequence[Archived]
    ) -> Arrived:
        """
        Bring a partition back, into its own table or beside it: all rows of its snapshots, or none.

        :param snapshots: All of the same partition, the oldest first.
        :param schema: Of the toolkit's own tables: where a copy may be for a while.
        :param others: What goes into the same table besides; if it does not exist, it gets the columns of all.
        :raises Conflict: if the partition is there already.
        """

    def render_restore(
        self, snapshots: Sequence[Archived], into: TableName, others: Sequence[Archived]
    ) -> Sequence[str]:
        """
        The statements of a restore as text, for showing.

        :raises RetentionError: if it is plain that they would fail.
        """
