"""
The plan: what a run would do, as data. It is shown, stored, tested and executed as the same objects (law 10).

A plan holds tasks; a task is a chain of steps that belong together, done in order, each only if the one before
succeeded. What is due but must not happen is a hold, with its reason. Instants are milliseconds, UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from cratedb_retention.model.catalog import Column, Partition, TableName, Value
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.reasons import Reason
from cratedb_retention.model.rollup import RollupStep
from cratedb_retention.model.step import BaseStep, Kind, Stretch
from cratedb_retention.model.time import show
from cratedb_retention.model.values import Verify
from cratedb_retention.model.words import plural, show_partition, show_where


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """
    A partition with the stretch of time [start, end) that it covers.

    :param exact: Whether the interval follows from the table's definition, so that no row can ever lie outside of
        it. If not, it was read from the rows, and must be checked again before the partition is dropped.
    """

    partition: Partition
    start: int | None
    end: int | None
    exact: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Spared:
    """Rows that a hold keeps: those with these values, within [start, end)."""

    hold_id: str
    where: tuple[tuple[Column, Value], ...] = ()
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionsStep(BaseStep):
    """A step on some partitions of a table."""

    table: TableName
    columns: tuple[Column, ...]
    pieces: tuple[Piece, ...]

    @property
    def about(self) -> tuple[Piece, ...]:
        """All of them."""
        return self.pieces

    @property
    def changes(self) -> TableName | None:
        """Its table."""
        return self.table

    @property
    def _named(self) -> str:
        return describe_pieces(self.columns, self.pieces)

    def merged(self, others: Sequence[PartitionsStep]) -> Self:
        """One on all of their partitions."""
        return replace(self, pieces=tuple(piece for step in others for piece in step.pieces))


@dataclass(frozen=True, slots=True, kw_only=True)
class DropPartitions(PartitionsStep):
    """
    Drop whole expired partitions, all in one statement.

    :param before: Everything in them is older than this instant.
    :param time_column: If given, the engine first makes sure that no row is younger, and drops nothing otherwise.
    """

    does: ClassVar = Kind.DELETE
    before: int
    time_column: Column | None = None

    def describe(self) -> str:
        """See :class:`BaseStep`."""
        return f"drop {self._named}"

    @property
    def expires(self) -> tuple[TableName, int]:
        """Before the end of the newest partition."""
        return self.table, max(self.before if piece.end is None else piece.end for piece in self.pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRows(BaseStep):
    """
    Delete expired rows, in batches.

    :param before: Rows whose time is before this instant (ms, UTC).
    :param where: Only rows with these values.
    :param spared: Rows that are kept nevertheless.
    :param rows: How many there were when the plan was made.
    :param since: Only rows from this instant on (ms, UTC), all of which are rolled up: if there are more of them than
        `rows`, none is deleted. None: from the beginning.
    :param late: How many of `rows` came too late to be rolled up.
    """

    does: ClassVar = Kind.DELETE
    table: TableName
    time_column: Column
    before: int
    where: tuple[tuple[Column, Value], ...] = ()
    spared: tuple[Spared, ...] = ()
    rows: int | None = None
    since: int | None = None
    late: int = 0

    def describe(self) -> str:
        """See :class:`BaseStep`."""
        since = "" if self.since is None else f"from {show(self.since)} and "
        where = f", {show_where(self.where)}" if self.where else ""
        spared = f", except those under {plural(len(self.spared), 'hold')}" if self.spared else ""
        return f"delete rows with {self.time_column.name} {since}before {show(self.before)}{where}{spared}"

    @property
    def stretches(self) -> Sequence[Stretch]:
        """From its beginning to its end."""
        return [(self.since, self.before)]

    @property
    def changes(self) -> TableName:
        """Its table."""
        return self.table

    @property
    def expires(self) -> tuple[TableName, int]:
        """Before its end."""
        return self.table, self.before

    def merged(self, others: Sequence[DeleteRows]) -> DeleteRows:
        """One until the end of the last."""
        return replace(self, before=others[-1].before)


@dataclass(frozen=True, slots=True, kw_only=True)
class MovePartitions(PartitionsStep):
    """Move partitions to the nodes with an attribute, and wait until their shards are there."""

    does: ClassVar = Kind.MOVE
    attribute: str
    value: str

    def describe(self) -> str:
        """See :class:`BaseStep`."""
        return f"move {self._named} to nodes with {self.attribute}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezePartitions(PartitionsStep):
    """Block writes to partitions, so that what is checked or archived is what is dropped."""

    def describe(self) -> str:
        """See :class:`BaseStep`."""
        return f"freeze {self._named}"

    @property
    def changes(self) -> None:
        """Nothing: it prepares another step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThawPartitions(PartitionsStep):
    """Allow writes again to partitions that an earlier run left frozen."""

    def describe(self) -> str:
        """See :class:`BaseStep`."""
        return f"thaw {self._named}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivingStep(BaseStep):
    """
    A step on the way of a partition into a repository.

    :param name: The snapshot's name, from the partition's values and change token.
    """

    table: TableName
    columns: tuple[Column, ...]
    piece: Piece
    repository: str
    name: str

    @property
    def about(self) -> tuple[Piece, ...]:
        """The partition."""
        return (self.piece,)

    @property
    def changes(self) -> TableName | None:
        """Its table, once the partition goes."""
        return self.table if self.does else None

    @property
    def alike(self) -> object:
        """The repository."""
        return self.repository


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPartition(ArchivingStep):
    """Archive a partition in a repository."""

    def describe(self) -> str:
        """See :class:`BaseStep`."""
        return f"archive {describe_pieces(self.columns, [self.piece])} as {self.name} in {self.repository}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySnapshot(ArchivingStep):
    """
    Make sure that the snapshot is complete, and holds this partition.

    :param verify: Whether all of its rows are read back as well.
    :param schema: Of the toolkit's own tables: where a copy may be for a while.
    """

    verify: Verify
    schema: str

    def describe(self) -> str:
        """See :class:`BaseStep`."""
        if self.verify is Verify.METADATA:
            return f"verify the metadata of snapshot {self.name} in {self.repository}"
        return f"verify snapshot {self.name} in {self.repository} by reading it back"


@dataclass(frozen=True, slots=True, kw_only=True)
class DropArchived(ArchivingStep):
    """
    Drop a partition that was archived, if nothing was written to it since (law 2).

    :param before: Everything in it is older than this instant.
    :param time_column: As with :class:`DropPartitions`.
    """

    does: ClassVar = Kind.ARCHIVE
    before: int
    time_column: Column | None = None

    def describe(self) -> str:
        """See :class:`BaseStep`."""
        return f"drop archived {describe_pieces(self.columns, [self.piece])}"

    @property
    def expires(self) -> tuple[TableName, int]:
        """Before the end of the partition."""
        return self.table, self.before if self.piece.end is None else self.piece.end


def describe_pieces(columns: Sequence[Column], pieces: Sequence[Piece]) -> str:
    """One partition by its values; several by their number, the first and the last."""
    if len(pieces) == 1:
        return f"partition {show_partition(columns, pieces[0].partition.values)}"
    first, last = (show_partition(columns, pieces[i].partition.values) for i in (0, -1))
    return f"{len(pieces):,} partitions, {first} to {last}"


Step = (
    DropPartitions
    | DeleteRows
    | MovePartitions
    | FreezePartitions
    | ThawPartitions
    | SnapshotPartition
    | VerifySnapshot
    | DropArchived
    | RollupStep
)
# What rows and bytes of a run are counted of: the others only prepare this, or compute something.
REMOVES_OR_MOVES = (DropPartitions, DeleteRows, MovePartitions, DropArchived)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """
    Steps that belong together.

    :param policy_id: The policy that asked for it; None for tidying up after an interrupted run.
    :param why: Why it is due.
    :param rows: Rows concerned, if known.
    :param size: Bytes on disk concerned, if known.
    :param partitions: How many partitions are concerned; 0 for rows.
    """

    policy_id: str | None
    table: TableName
    steps: tuple[Step, ...]
    why: Reason
    rows: int | None = None
    size: int | None = None
    partitions: int = 0

    @property
    def reason(self) -> str:
        """Why it is due, in words."""
        return str(self.why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """
    What is due, or can't be judged, and does not happen now.

    :param table: The table, or the pattern that found none.
    :param partitions: Some of the partitions concerned, in words.
    :param count: How many partitions are concerned; 0 for a whole table.
    :param problem: Whether somebody has to do something about it; a run with problems does not count as done.
    :param pieces: All of the partitions concerned, for pictures.
    :param level: The level whose windows are concerned, if any are.
    :param windows: The windows [start, end) concerned (ms, UTC), for pictures.
    """

    policy_id: str | None
    table: TableName
    why: Reason
    partitions: tuple[str, ...] = ()
    count: int = 0
    problem: bool = False
    pieces: tuple[Piece, ...] = field(default=(), compare=False, repr=False)
    level: TableName | None = field(default=None, compare=False, repr=False)
    windows: tuple[tuple[int, int], ...] = field(default=(), compare=False, repr=False)

    @property
    def reason(self) -> str:
        """Why it does not happen, in words."""
        return str(self.why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """
    What a policy looked at and keeps, in one line for each table.

    :param partitions: How many partitions stay.
    :param next_due: When the next of them expires (ms, UTC), if that is known.
    """

    policy_id: str
    table: TableName
    partitions: int
    next_due: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What a run at this cutoff would do.

    :param legal_holds: Those in force on the tables that were looked at, be anything that they cover due or not.
    """

    cutoff: int
    tasks: tuple[Task, ...] = ()
    holds: tuple[Hold, ...] = ()
    kept: tuple[Kept, ...] = ()
    warnings: tuple[Reason, ...] = ()
    legal_holds: tuple[LegalHold, ...] = ()

    @property
    def problems(self) -> tuple[Hold, ...]:
        """The holds that somebody has to do something about."""
        return tuple(hold for hold in self.holds if hold.problem)
