"""
Snapshots in a repository, as every database offers them to the layers above.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cratedb_retention.model.catalog import Column, TableName, Value


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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


class Archive(Protocol):
    """Reads and restores snapshots."""

    def states(self, snapshots: Iterable[tuple[str, str]]) -> dict[tuple[str, str], SnapshotState]:
        """The states of snapshots, by repository and name; those that do not exist are missing."""

    def tidy(self, schema: str) -> None:
        """Drop the copies that an interrupted verification left in a schema."""

    def verify(self, snapshot: Archived, schema: str) -> str:
        """
        Read a snapshot back and say in words what was found to be right.

        :param schema: Of the toolkit's own tables: where a copy may be for a while.
        :raises RetentionError: if anything about it is not right.
        """

    def restore(self, snapshot: Archived, into: TableName) -> int | None:
        """
        Bring a partition back, into its own table or beside it.

        :return: The number of rows, if known.
        :raises Conflict: if the partition is there already.
        """

    def render_restore(self, snapshot: Archived, into: TableName) -> Sequence[str]:
        """The statements of a restore as text, for showing."""
