"""
The ledger: what each window of each level was computed from, and whether it is sealed. And the rollups that exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.rollup import Rollup
from cratedb_retention.model.rollup_steps import ViewPart


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """One window, as it was last computed. All instants are ms, UTC."""

    start: int
    end: int
    until: int  # Buckets that end here or before are computed
    whole: bool  # Whether it was computed as a whole, so that the token stands for all of it
    beneath: TableName  # The table that it was computed from
    token: str  # The change token of what it was computed from
    rows: int  # Raw rows beneath it
    groups: int  # Rows of the level
    sealed: bool  # Whether its source was about to go, so that it is never computed again (law 4)
    # Whether its source is gone; only noted where rows are deleted rather than partitions dropped.
    expired: bool = False
    # Of an open window, what each of its parts was computed from, so that later changes are found; see
    # :mod:`cratedb_retention.planning.open_windows`.
    parts: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRollup:
    """A rollup that exists, or is about to be created."""

    rollup: Rollup
    retention_period: str
    policy_id: str | None = None  # The policy that asked for it
    view: tuple[ViewPart, ...] = ()  # The parts of the view over the cascade; only with the finest level
    # The mark of that view, see :class:`~cratedb_retention.model.catalog.View`; empty where it is not known, since a
    # run was killed or an older release made it; None: it was never made.
    view_mark: str | None = None
    # Before this instant (ms, UTC) rows of its table have expired; None: none has, or it is not recorded.
    gone: int | None = None
    identity: str = ""  # Tells the table with the raw rows from others that get its name; empty: unknown


def view_marks(rollups: Iterable[KnownRollup], source: TableName) -> tuple[str, ...]:
    """See :meth:`Ledger.view_marks`."""
    mine = (known.view_mark for known in rollups if known.rollup.source == source)
    return tuple(mark for mark in mine if mark is not None)


@dataclass(frozen=True)
class Ledger:
    """All of it."""

    rollups: Mapping[TableName, KnownRollup] = field(default_factory=dict)  # By the level's table
    # By the level's table and the window's start.
    windows: Mapping[TableName, Mapping[int, LedgerRow]] = field(default_factory=dict)

    def of(self, table: TableName) -> Mapping[int, LedgerRow]:
        """The windows of a level, by start."""
        return self.windows.get(table, {})

    def identity(self, source: TableName) -> str:
        """Tells the table with the raw rows, when its rollups were made, from others of its name; empty: unknown."""
        found = (known.identity for known in self.rollups.values() if known.rollup.source == source)
        return next(filter(None, found), "")

    def view_marks(self, source: TableName) -> tuple[str, ...]:
        """The marks of views that the toolkit made over a table's cascade; more than one if a run was killed."""
        return view_marks(self.rollups.values(), source)

    def held_from(self, source: TableName, table: TableName) -> int | None:
        """
        The instant from which a table of a cascade holds all that it ever had; None: from the beginning.

        What lies beneath a sealed window is gone, unless it is known that only a part of it is. And a level that was
        added later never had what coarser levels had sealed by then.

        :param source: The cascade's table with the raw rows.
        """
        own = self.rollups.get(table)
        length = own.rollup.interval.approximate_seconds if own else 0
        begins = self.begins_at(table) if table != source else None
        gone = own.gone if own else None
        ends = [] if gone is None else [gone]
        for name, known in self.rollups.items():
            coarser = known.rollup.source == source and known.rollup.interval.approximate_seconds > length
            for row in self.of(name).values() if coarser else ():
                never_had = table != source and (begins is None or row.end <= begins)
                partly = gone is not None and row.start < gone
                if row.sealed and (never_had or (row.beneath == table and not partly)):
                    ends.append(row.end)
        return max(ends, default=None)

    def sealed_by_others(self, table: TableName) -> int | None:
        """
        Until when another level, computed from the same table, sealed what this one did not; None: nowhere.

        That happens while a level is no part of its cascade.
        """
        beneath, open_rows = (
            self.rollups[table].rollup.beneath,
            [row for row in self.of(table).values() if not row.sealed],
        )
        if not open_rows:
            return None
        ends = [
            row.end
            for name, known in self.rollups.items()
            if name != table and known.rollup.beneath == beneath
            for row in self.of(name).values()
            if row.sealed and any(row.start < other.end and other.start < row.end for other in open_rows)
        ]
        return max(ends, default=None)

    def begins_at(self, table: TableName) -> int | None:
        """The first instant that a level was computed for; None if it was not yet, or is no level."""
        return min(self.of(table), default=None)
