"""
Legal holds, which protect data from every policy. A hold covers a table, optionally limited to some values and a time
range. Data that it covers is not expired, moved or archived until it is released.

Restoring data places a hold as well, since the next run would otherwise expire the restored data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cratedb_retention.model.catalog import Value
from cratedb_retention.model.time import TimeRange, show
from cratedb_retention.model.words import write_pairs

_NAMED = 3  # The number of partitions that are named; the others are counted.


class HoldKind(StrEnum):
    """Why a hold was placed."""

    LEGAL = "legal"
    RESTORED = "restored"


@dataclass(frozen=True, kw_only=True)
class LegalHold:
    """A hold: on data of the table or tables with these values and partitions, in the time range [start, end)."""

    id: str
    table_schema: str  # Name or pattern, likewise the next.
    table_name: str
    where: Mapping[str, Value] = field(default_factory=dict)  # Empty: all.
    start: int | None = None  # In ms, UTC; None: from the beginning. Likewise `end`: without end.
    end: int | None = None
    reason: str = ""  # A text for users.
    kind: HoldKind = HoldKind.LEGAL
    placed_by: str = ""
    placed_at: int = 0
    partitions: tuple[Mapping[str, Value], ...] = ()  # Only data with the values of one of these; empty: all.
    identity: str = ""  # Distinguishes the table from later ones with its name; empty: a pattern, or unknown.

    @property
    def target(self) -> str:
        """The name or pattern of its table."""
        return f"{self.table_schema}.{self.table_name}" if self.table_schema else self.table_name

    @property
    def filters(self) -> tuple[Mapping[str, Value], ...]:
        """The filters of the data that it covers; data is covered if it matches any of them."""
        return tuple({**self.where, **values} for values in self.partitions) or (self.where,)

    def overlaps(self, start: int | None, end: int | None) -> bool:
        """Whether it covers a part of [start, end). An unknown end counts as covered, so that no data is lost."""
        return TimeRange.of(self.start, self.end).overlaps(TimeRange.of(start, end))


def hold_values(hold: LegalHold, between: str = " and ") -> str:
    """The filters of a hold as text: ``tenant=acme and day=2024-01-01``; empty: the whole table."""
    texts = [write_pairs(values, between) for values in hold.filters]
    more = len(texts) - _NAMED
    return ", or ".join(texts if more < 2 else [*texts[:_NAMED], f"in one of {more:,} more partitions"])


def hold_scope(hold: LegalHold) -> str:
    """The data that a hold covers: ``all of doc.metrics``, ``doc.metrics where tenant=acme, from 2024-01-01 on``."""
    values = hold_values(hold)
    if not values and hold.start is None and hold.end is None:
        return f"all of {hold.target}"
    start = "" if hold.start is None else f", from {show(hold.start)} on"
    end = "" if hold.end is None else f", before {show(hold.end)}"
    return f"{hold.target}{f' where {values}' if values else ''}{start}{end}"
