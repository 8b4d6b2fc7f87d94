"""
The plan: what a run would do, as data. It is shown, stored, tested and executed as the same objects (law 10).

A plan holds tasks; a task is a chain of steps that belong together, done in order, each only if the one before
succeeded. What is due but must not happen is blocked, with its reason. Instants are milliseconds, UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from cratedb_retention.model.catalog import Column, TableName, Value
from cratedb_retention.model.former import Former
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.reasons import Reason
from cratedb_retention.model.policies.values import Verify
from cratedb_retention.model.rollups.rollup import RollupStep
from cratedb_retention.model.step import BaseStep, Kind, Piece, Stretch
from cratedb_retention.model.time import show
from cratedb_retention.model.words import plural, show_partition, show_where


@dataclass(frozen=True, slots=True, kw_only=True)
class Spared:
    """Rows that a hold keeps: those with these values, within [start, end)."""

    hold_id: str
    where: tuple[tuple[Column, Value], ...] = ()
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionsStep(BaseStep):
    """A step on some partitions of a table, sorted by end."""

    verb: ClassVar[str]
    table: TableName
    columns: tuple[Column, ...]
    pieces: tuple[Piece, ...]

    def describe(self) -> str:
        return f"{self.verb} {self.what}"

    @property
    def what(self) -> str:
        """One partition by its values; several by their number, the first and the last."""
        first, last = (show_partition(self.columns, self.pieces[i].partition.values) for i in (0, -1))
        return f"partition {first}" if len(self.pieces) == 1 else f"{len(self.pieces):,} partitions, {first} to {last}"

    @property
    def about(self) -> tuple[Piece, ...]:
        return self.pieces

    @property
    def partitions(self) -> list[tuple[Value, ...]]:
        """The values of each partition."""
        return [piece.partition.values for piece in self.pieces]

    def merged(self, others: Sequence[PartitionsStep]) -> Self:
        return replace(self, pieces=tuple(piece for step in others for piece in step.pieces))

    def _dropped(self, before: int) -> tuple[TableName, int]:
        """See `expires`; what has no end lies before an instant."""
        return self.table, max(before if piece.end is None else piece.end for piece in self.pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class DropPartitions(PartitionsStep):
    """Drop whole expired partitions, all in one statement."""

    does: ClassVar = Kind.DELETE
    verb: ClassVar = "drop"
    before: int  # Everything in them is older than this instant.
    time_column: Column | None = None  # The engine first makes sure that no row is younger, or drops nothing.

    @property
    def expires(self) -> tuple[TableName, int]:
        return self._dropped(self.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRows(BaseStep):
    """Delete expired rows, in batches."""

    does: ClassVar = Kind.DELETE
    table: TableName
    time_column: Column
    before: int
    where: tuple[tuple[Column, Value], ...] = ()
    spared: tuple[Spared, ...] = ()
    rows: int | None = None  # How many there were when the plan was made.
    # Only rows from this instant on, all of which are rolled up: if there are more than `rows`, none is deleted.
    since: int | None = None
    late: int = 0  # How many of `rows` came too late to be rolled up.

    def describe(self) -> str:
        since = "" if self.since is None else f"from {show(self.since)} and "
        where = f", {show_where(self.where)}" if self.where else ""
        spared = f", except those under {plural(len(self.spared), 'hold')}" if self.spared else ""
        return f"delete rows with {self.time_column.name} {since}before {show(self.before)}{where}{spared}"

    @property
    def stretches(self) -> Sequence[Stretch]:
        return [(self.since, self.before)]

    @property
    def expires(self) -> tuple[TableName, int]:
        return self.table, self.before

    def merged(self, others: Sequence[DeleteRows]) -> DeleteRows:
        return replace(self, before=others[-1].before)


@dataclass(frozen=True, slots=True, kw_only=True)
class MovePartitions(PartitionsStep):
    """Move partitions to the nodes with an attribute, and wait until their shards are there."""

    does: ClassVar = Kind.MOVE
    attribute: str
    value: str

    def describe(self) -> str:
        return f"move {self.what} to nodes with {self.attribute}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezePartitions(PartitionsStep):
    """Block writes to partitions, so that what is checked or archived is what is dropped."""

    verb: ClassVar = "freeze"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThawPartitions(PartitionsStep):
    """Allow writes again to partitions that an earlier run left frozen."""

    verb: ClassVar = "thaw"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivingStep(PartitionsStep):
    """A step on the way of one partition into a repository, as a snapshot named by its values and change token."""

    repository: str
    name: str

    @property
    def piece(self) -> Piece:
        return self.pieces[0]

    @property
    def values(self) -> tuple[Value, ...]:
        """Of the partition."""
        return self.piece.partition.values

    @property
    def alike(self) -> object:
        return self.repository


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPartition(ArchivingStep):
    """Archive a partition in a repository."""

    def describe(self) -> str:
        return f"archive {self.what} as {self.name} in {self.repository}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySnapshot(ArchivingStep):
    """Make sure that the snapshot is complete, and holds this partition."""

    verify: Verify
    schema: str  # Of the toolkit's own tables: where a copy may be for a while.

    def describe(self) -> str:
        if self.verify is Verify.METADATA:
            return f"verify the metadata of snapshot {self.name} in {self.repository}"
        return f"verify snapshot {self.name} in {self.repository} by reading it back"


@dataclass(frozen=True, slots=True, kw_only=True)
class DropArchived(ArchivingStep):
    """Drop a partition that was archived, if nothing was written to it since (law 2)."""

    does: ClassVar = Kind.ARCHIVE
    verb: ClassVar = "drop archived"
    before: int  # As with DropPartitions, like the next.
    time_column: Column | None = None

    @property
    def expires(self) -> tuple[TableName, int]:
        return self._dropped(self.before)


# What rows and bytes of a run are counted of: the others only prepare this, or compute something.
REMOVES_OR_MOVES = (DropPartitions, DeleteRows, MovePartitions, DropArchived)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    policy_id: str | None  # The policy that asked for it; None for tidying up after an interrupted run.
    table: TableName  # Of what is blocked also the pattern that found none.
    why: Reason

    @property
    def reason(self) -> str:
        """Why it is due, or does not happen, in words; :attr:`code` for programs."""
        return str(self.why)

    @property
    def code(self) -> str:
        return self.why.code


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(_Verdict):
    """Steps that belong together."""

    steps: tuple[Step, ...]
    rows: int | None = None  # Rows concerned, if known; likewise bytes on disk.
    size: int | None = None
    partitions: int = 0  # How many are concerned; 0 for rows.

    @property
    def kind(self) -> Kind:
        """What the last of its steps does that does something."""
        return next((step.does for step in reversed(self.steps) if step.does), Kind.OTHER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked(_Verdict):
    """What is due, or can't be judged, and does not happen now."""

    partitions: tuple[str, ...] = ()  # Some of those concerned, in words.
    count: int = 0  # How many partitions or windows are concerned; 0 for a whole table.
    needs_attention: bool = False  # Whether a person has to act; then a run does not count as done.
    problem = Former("needs_attention")
    # For pictures: all partitions concerned; the level and the windows [start, end) concerned.
    pieces: tuple[Piece, ...] = field(default=(), compare=False, repr=False)
    level: TableName | None = field(default=None, compare=False, repr=False)
    windows: tuple[tuple[int, int], ...] = field(default=(), compare=False, repr=False)

    @property
    def concerned(self) -> str:
        """Which partitions it is about, one a line."""
        if not self.count:
            return "the table"
        more = [f"and {self.count - len(self.partitions):,} more"] if self.count > len(self.partitions) else []
        return "\n".join([*self.partitions, *more]) if self.partitions else plural(self.count, "partition")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpToDate:
    """What a policy looked at and is not due, in one line for each table."""

    policy_id: str
    table: TableName
    partitions: int
    next_due: int | None  # When the next of them expires, if that is known.


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What a run at this cutoff would do.

    :param legal_holds: Those in force on the tables that were looked at, be anything that they cover due or not.
    """

    cutoff: int
    tasks: tuple[Task, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    up_to_date: tuple[UpToDate, ...] = ()
    warnings: tuple[Reason, ...] = ()
    legal_holds: tuple[LegalHold, ...] = ()

    holds, kept, problems = Former("blocked"), Former("up_to_date"), Former("needs_attention")

    @property
    def needs_attention(self) -> tuple[Blocked, ...]:
        """What is blocked until a person acts."""
        return tuple(each for each in self.blocked if each.needs_attention)

    @property
    def next_due(self) -> int | None:
        """When more is due (ms, UTC), if that is known."""
        return min((each.next_due for each in self.up_to_date if each.next_due is not None), default=None)
