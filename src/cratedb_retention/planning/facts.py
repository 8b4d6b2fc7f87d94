"""The facts that a plan is based on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields

from cratedb_retention.model.archive import RestoredPartition, SnapshotRecord
from cratedb_retention.model.catalog import Catalog, TableName, Value
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.measurements import Measurements
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.rollups.ledger import Ledger
from cratedb_retention.planning.pieces import PieceIndex

PartitionKey = tuple[TableName, tuple[Value, ...]]


@dataclass(kw_only=True)
class Facts:
    """All facts that a plan is based on, given by keywords."""

    policies: Iterable[Policy]  # All policies of the database, since one may protect data from another.
    catalog: Catalog
    cutoff: dt.datetime  # Aware; fractions of a millisecond are dropped.
    holds: Iterable[LegalHold] = ()  # Those in force.
    measurements: Measurements = field(default_factory=Measurements)  # Read from rows.
    ledger: Ledger = field(default_factory=Ledger)  # What was rolled up so far.
    frozen: Collection[PartitionKey] = ()  # Partitions that an earlier run left frozen.
    # Repository and name of snapshots: of those whose partition was dropped, whose names are taken, and of the one that
    # a partition was restored from.
    archived: Collection[tuple[str, str]] = ()
    restored: Mapping[RestoredPartition, tuple[str, str]] = field(default_factory=dict)
    # Archives that may have ended, and superseded ones of the same tables; by policy and table, the end (ms, UTC) of
    # the data whose archive ends next, or of a recoverable policy, when that ends; and, for limits by share, the rows
    # of all archives.
    archives: Sequence[SnapshotRecord] = ()
    archive_ends: Mapping[tuple[str, TableName], int] = field(default_factory=dict)
    archived_rows: Mapping[tuple[str, TableName], int] = field(default_factory=dict)
    own_schema: str = ""  # Of the toolkit's own tables.

    def __post_init__(self) -> None:
        self.pieces = PieceIndex(self.measurements)

    def alone(self) -> Facts:
        """The facts without all that a planner derived from them, which is much larger."""
        return Facts(**{each.name: getattr(self, each.name) for each in fields(Facts)})
