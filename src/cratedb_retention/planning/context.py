"""
What the strategies' rules look at while a plan is made, and what has been claimed so far.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from cratedb_retention.model.catalog import Catalog, TableName, Value
from cratedb_retention.model.measurements import Measurements
from cratedb_retention.model.plan import Piece
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.model.snapshots import RestoredPartition
from cratedb_retention.planning.coverage import Coverage
from cratedb_retention.planning.holds import FilterIndex, TableHold, overlap
from cratedb_retention.planning.pieces import PieceIndex
from cratedb_retention.planning.targets import Target, try_bind_where

PartitionKey = tuple[TableName, tuple[Value, ...]]


@dataclass(kw_only=True)
class Context:
    """The plan in the making."""

    catalog: Catalog
    cutoff: dt.datetime
    holds: Mapping[TableName, list[TableHold]]
    measurements: Measurements
    pieces: PieceIndex = field(init=False)
    frozen: Collection[PartitionKey] = ()  # Partitions that an earlier run froze and did not thaw.
    # Repository and name of snapshots whose partition was dropped (the same rows again are others), and of the one
    # snapshot that a partition was restored from.
    archived: Collection[tuple[str, str]] = ()
    restored: Mapping[RestoredPartition, tuple[str, str]] = field(default_factory=dict)
    own_schema: str = ""
    archivers: Mapping[TableName, list[Target]] = field(default_factory=dict)  # Targets of the strategy `snapshot`.
    # Policies that should archive or downsample a table and can't.
    stalled: Mapping[TableName, list[Policy]] = field(default_factory=dict)
    coverage: Coverage = field(default_factory=Coverage)  # What lies above which table of a cascade.
    _claimed: set[PartitionKey] = field(default_factory=set)
    _holds: dict[TableName, FilterIndex[TableHold]] = field(default_factory=dict)
    _archivers: dict[TableName, FilterIndex[Target]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pieces = PieceIndex(self.measurements)

    def claim(self, table: TableName, pieces: Iterable[Piece]) -> None:
        """Note that a task is about these pieces, so that no other one will be."""
        self._claimed.update([(table, piece.partition.values) for piece in pieces])

    def is_claimed(self, table: TableName, piece: Piece) -> bool:
        """Whether a task is already about this piece."""
        return (table, piece.partition.values) in self._claimed

    def needs_freeze(self, table: TableName, piece: Piece) -> bool:
        """Whether a piece must be frozen first: a closed one takes no writes; one that others froze stays as it is."""
        if not self.catalog.capabilities.freezes or piece.partition.closed:
            return False
        return not piece.partition.frozen or (table, piece.partition.values) in self.frozen

    def hold_on(self, target: Target, piece: Piece) -> TableHold | None:
        """The first hold that any row of a piece may be under."""
        name = target.table.name
        if name not in self.holds:
            return None
        if name not in self._holds:
            self._holds[name] = FilterIndex(target.columns, [(hold, hold.where or ()) for hold in self.holds[name]])
        holds = self._holds[name].fitting(piece.partition.values)
        return next((hold for hold in holds if hold.hold.overlaps(piece.start, piece.end)), None)

    def stalled_on(self, target: Target) -> Reason | None:
        """Why a table must not be deleted from: a policy should archive it and can't; None if there is no such."""
        for policy in self.stalled.get(target.table.name, ()):
            wanted = try_bind_where(target.table, policy.where)
            if wanted is None or overlap(wanted, target.where):
                return Why.STALLED(stalled=policy.id or "", verb=policy.strategy.traits.verb)
        return None

    def archiver_of(self, target: Target, piece: Piece) -> Target | None:
        """The target that wants to archive a piece, now or later."""
        name = target.table.name
        if name not in self.archivers:
            return None
        if name not in self._archivers:
            self._archivers[name] = FilterIndex(target.columns, [(t, t.where) for t in self.archivers[name]])
        return next(iter(self._archivers[name].fitting(piece.partition.values)), None)
