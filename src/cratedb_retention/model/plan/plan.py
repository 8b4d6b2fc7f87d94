"""
The plan: what a run would do, as data. The same objects are shown, stored, tested and executed (law 10).

A plan consists of tasks; a task is a sequence of steps, each of which starts only if the one before succeeded. Due
actions that must not happen now are blocked, with a reason. Instants are milliseconds, UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from cratedb_retention.model.archive import Archived
from cratedb_retention.model.catalog import Column, TableName, Value
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.former import Former
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.reasons import Reason
from cratedb_retention.model.policies.values import Verify, describe_compaction
from cratedb_retention.model.rollups.rollup import RollupStep
from cratedb_retention.model.step import BaseStep, Kind, Piece, Stretch
from cratedb_retention.model.time import show
from cratedb_retention.model.words import plural, show_partition, show_where


@dataclass(frozen=True, slots=True, kw_only=True)
class Spared:
    """Rows that a hold protects: those with these values, within [start, end)."""

    hold_id: str
    where: tuple[tuple[Column, Value], ...] = ()
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionsStep(BaseStep):
    """A step on partitions of a table, sorted by end."""

    verb: ClassVar[str]
    table: TableName
    columns: tuple[Column, ...]
    pieces: tuple[Piece, ...]

    def describe(self) -> str:
        return f"{self.verb} {self.what}"

    @property
    def what(self) -> str:
        """One partition by its values, or the number of partitions, with the first and the last."""
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
        """See `expires`; partitions without an end have only rows before an instant."""
        return self.table, max(before if piece.end is None else piece.end for piece in self.pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class DropPartitions(PartitionsStep):
    """Drop whole expired partitions, all in one statement."""

    does: ClassVar = Kind.DELETE
    verb: ClassVar = "drop"
    before: int  # All of their rows are older than this instant.
    time_column: Column | None = None  # If set, the engine checks first that no row is younger.

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
    rows: int | None = None  # Their number when the plan was made.
    # Only rows from this instant on, all of which are rolled up: if there are more than `rows`, none are deleted.
    since: int | None = None
    late: int = 0  # How many of `rows` are late rows, which are not rolled up.

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
    """Move partitions to the nodes with an attribute, and wait until their shards have arrived."""

    does: ClassVar = Kind.MOVE
    attribute: str
    value: str

    def describe(self) -> str:
        return f"move {self.what} to nodes with {self.attribute}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactPartitions(PartitionsStep):
    """Store partitions in less space, without changing what can be read from them."""

    does: ClassVar = Kind.COMPACT
    replicas: str | None = None  # Their number; None: unchanged.
    compress: bool = False  # Whether the codec is changed, for which they are closed for a moment.
    merge: bool = False  # Whether each shard is merged into one segment.
    read_only: bool = False  # Whether the freeze before this step stays.

    def describe(self) -> str:
        return f"compact {self.what} ({describe_compaction(*self.alike)})"

    @property
    def alike(self) -> tuple[bool, bool, bool, str | None]:
        return self.compress, self.merge, self.read_only, self.replicas


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezePartitions(PartitionsStep):
    """Block writes to partitions, so that exactly the checked or archived data is dropped."""

    verb: ClassVar = "freeze"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThawPartitions(PartitionsStep):
    """Allow writes again to frozen partitions. One that was closed while it was compacted is opened."""

    verb: ClassVar = "unfreeze"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivingStep(PartitionsStep):
    """A step of archiving a partition in a repository, as a snapshot named by its values and change token."""

    repository: str
    name: str

    @property
    def piece(self) -> Piece:
        return self.pieces[0]

    @property
    def values(self) -> tuple[Value, ...]:
        """The values of the partition."""
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
    """Check that the snapshot is complete, and contains this partition."""

    verify: Verify
    schema: str  # That of the toolkit's own tables, for temporary copies.

    def describe(self) -> str:
        if self.verify is Verify.METADATA:
            return f"verify the metadata of snapshot {self.name} in {self.repository}"
        return f"verify snapshot {self.name} in {self.repository} by reading it back"


@dataclass(frozen=True, slots=True, kw_only=True)
class DropArchived(ArchivingStep):
    """Drop an archived partition, if it was not written to since (law 2)."""

    does: ClassVar = Kind.ARCHIVE
    verb: ClassVar = "drop archived"
    before: int  # As in DropPartitions, like the next field.
    time_column: Column | None = None
    recoverable: Duration | None = None  # How long it can be brought back; None: the archive is to be kept.

    def describe(self) -> str:
        return f"{self.verb} {self.what}{self.recovery}"

    @property
    def recovery(self) -> str:
        """``, recoverable for 7d``; empty if the archive is to be kept."""
        return "" if self.recoverable is None else f", recoverable for {self.recoverable}"

    @property
    def expires(self) -> tuple[TableName, int]:
        return self._dropped(self.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSnapshot(BaseStep):
    """Delete an archived partition for good."""

    does: ClassVar = Kind.END_ARCHIVE
    archives: tuple[Archived, ...]  # One, or several that are described together; sorted by end.

    @property
    def archived(self) -> Archived:
        return self.archives[0]

    def describe(self) -> str:
        first, last = self.archives[0], self.archives[-1]
        if len(self.archives) == 1:
            return f"delete archive {first.name} of partition {first.partition} in {first.repository}"
        return f"delete {len(self.archives):,} archives in {first.repository}, {first.partition} to {last.partition}"

    @property
    def stretches(self) -> Sequence[Stretch]:
        return [(archived.start, archived.end) for archived in self.archives]

    @property
    def alike(self) -> object:
        return self.archived.repository

    def merged(self, others: Sequence[DeleteSnapshot]) -> Self:
        return replace(self, archives=tuple(archived for step in others for archived in step.archives))


# The steps whose rows and bytes are counted in reports; the others only prepare these, or compute rollups.
COUNTED = (DropPartitions, DeleteRows, MovePartitions, CompactPartitions, DropArchived)
Step = (
    DropPartitions
    | DeleteRows
    | MovePartitions
    | CompactPartitions
    | FreezePartitions
    | ThawPartitions
    | SnapshotPartition
    | VerifySnapshot
    | DropArchived
    | DeleteSnapshot
    | RollupStep
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    policy_id: str | None  # The policy that requested it; None: cleanup after an interrupted run.
    table: TableName  # If blocked, possibly a pattern that matches no table.
    why: Reason

    @property
    def reason(self) -> str:
        """Why it is due or blocked, for users; :attr:`code` is for programs."""
        return str(self.why)

    @property
    def code(self) -> str:
        return self.why.code


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(_Verdict):
    """Steps that belong together."""

    steps: tuple[Step, ...]
    rows: int | None = None  # The number of rows, if known; likewise bytes on disk.
    size: int | None = None
    partitions: int = 0  # The number of partitions; 0 for rows.

    @property
    def kind(self) -> Kind:
        """The kind of its last step that affects data."""
        return next((step.does for step in reversed(self.steps) if step.does), Kind.OTHER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked(_Verdict):
    """An action that is due, or that cannot be decided, and is blocked."""

    partitions: tuple[str, ...] = ()  # Some of the partitions concerned, as text.
    count: int = 0  # The number of partitions or windows; 0 for a whole table.
    needs_attention: bool = False  # Whether a person has to act; if so, the run does not succeed.
    problem = Former("needs_attention")
    # For charts: all partitions concerned; the level and its windows [start, end).
    pieces: tuple[Piece, ...] = field(default=(), compare=False, repr=False)
    level: TableName | None = field(default=None, compare=False, repr=False)
    windows: tuple[tuple[int, int], ...] = field(default=(), compare=False, repr=False)

    @property
    def concerned(self) -> str:
        """The partitions that it concerns, one per line."""
        if not self.count:
            return "the table"
        more = [f"and {self.count - len(self.partitions):,} more"] if self.count > len(self.partitions) else []
        return "\n".join([*self.partitions, *more]) if self.partitions else plural(self.count, "partition")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpToDate:
    """The data of a table that is not due under a policy."""

    policy_id: str
    table: TableName
    partitions: int
    next_due: int | None  # When the next of them expires, or the next archive ends, if known.


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What a run at this cutoff would do.

    :param legal_holds: The legal holds in force on the planned tables, whether or not data that they cover is due.
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
        """When more data expires or an archive ends (ms, UTC), if known."""
        return min((each.next_due for each in self.up_to_date if each.next_due is not None), default=None)
