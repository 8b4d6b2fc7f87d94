"""What a plan rests on, what the strategies' rules look at while it is made, and what has been claimed so far."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from cratedb_retention.model.catalog import Catalog, TableName, Value
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.measurements import Measurements
from cratedb_retention.model.plan import Piece
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.model.rollup import Ledger
from cratedb_retention.model.snapshots import RestoredPartition
from cratedb_retention.planning.coverage import Coverage
from cratedb_retention.planning.pieces import PieceIndex
from cratedb_retention.planning.targets import FilterIndex, TableHold, Target, holds_by_table, overlap, try_bind_where

PartitionKey = tuple[TableName, tuple[Value, ...]]


@dataclass(kw_only=True)
class Context:
    """The plan in the making. All that it rests on is given by its name, and nothing else counts."""

    policies: Iterable[Policy]  # All of the database, since one may protect data from another.
    catalog: Catalog
    cutoff: dt.datetime  # Aware; fractions of a millisecond are dropped.
    holds: Iterable[LegalHold] = ()  # Those in force.
    measurements: Measurements = field(default_factory=Measurements)  # What the rows say.
    ledger: Ledger = field(default_factory=Ledger)  # What was rolled up so far.
    frozen: Collection[PartitionKey] = ()  # Partitions that an earlier run froze and did not thaw.
    # Repository and name of snapshots whose partition was dropped (the same rows again are others), and of the one
    # snapshot that a partition was restored from.
    archived: Collection[tuple[str, str]] = ()
    restored: Mapping[RestoredPartition, tuple[str, str]] = field(default_factory=dict)
    own_schema: str = ""  # Of the toolkit's own tables.

    def __post_init__(self) -> None:
        self.pieces, self.coverage = PieceIndex(self.measurements), Coverage()  # What lies above which table.
        self.table_holds = holds_by_table(self.holds, self.catalog)
        self.archivers: dict[TableName, list[Target]] = defaultdict(list)  # Targets of the strategy `snapshot`.
        self.stalled: dict[TableName, list[Policy]] = defaultdict(list)  # That should archive or roll up, and can't.
        self._claimed: set[PartitionKey] = set()
        self._holds: dict[TableName, FilterIndex[TableHold]] = {}
        self._archivers: dict[TableName, FilterIndex[Target]] = {}

    def claim(self, table: TableName, pieces: Iterable[Piece]) -> None:
        """Note that a task is about these pieces, so that no other one will be."""
        self._claimed.update([(table, piece.partition.values) for piece in pieces])

    def is_claimed(self, table: TableName, piece: Piece) -> bool:
        return (table, piece.partition.values) in self._claimed

    def needs_freeze(self, table: TableName, piece: Piece) -> bool:
        """Whether a piece must be frozen first: a closed one takes no writes; one that a user froze stays as it is."""
        if not self.catalog.capabilities.freezes or piece.partition.closed:
            return False
        return not piece.partition.frozen or (table, piece.partition.values) in self.frozen

    def hold_on(self, target: Target, piece: Piece) -> TableHold | None:
        name = target.table.name
        if name not in self._holds:
            holds = self.table_holds.get(name, ())
            self._holds[name] = FilterIndex(target.columns, [(hold, hold.where or ()) for hold in holds])
        fitting = self._holds[name].fitting(piece.partition.values)
        return next((hold for hold in fitting if hold.hold.overlaps(piece.start, piece.end)), None)

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
        if name not in self._archivers:
            self._archivers[name] = FilterIndex(target.columns, [(t, t.where) for t in self.archivers.get(name, ())])
        return next(iter(self._archivers[name].fitting(piece.partition.values)), None)
