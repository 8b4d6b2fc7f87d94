"""
Questions that only the rows can answer, and the answers. Planning asks, an engine measures, all in few statements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from cratedb_retention.model.catalog import Column, TableName, Value
from cratedb_retention.model.plan.plan import Spared
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.rollups.rollup import Balance, Rollup, Window
from cratedb_retention.model.time import TimeRange


@dataclass(frozen=True, slots=True)
class PartitionBounds:
    """Which least and greatest time do the rows of each partition have?"""

    table: TableName
    columns: tuple[Column, ...]
    time_column: Column


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiredRows:
    """How many rows are expired?"""

    table: TableName
    time_column: Column
    before: int
    where: tuple[tuple[Column, Value], ...] = ()
    spared: tuple[Spared, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRows:
    """How many rows does a table have in each window, and what is their fingerprint?"""

    table: TableName
    time_column: Column
    interval: Interval  # the length of the windows
    zone: str  # the time zone of calendar units
    within: TimeRange | None = None  # only of rows in this time range; None: of all


@dataclass(frozen=True, slots=True)
class TableBounds:
    """Which least and greatest time do rows with some values have, apart from those without a time?"""

    table: TableName
    time_column: Column
    where: tuple[tuple[Column, Value], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Variety:
    """How many groups do the newest rows have, and how many values has each dimension in them?"""

    table: TableName
    time_column: Column
    interval: Interval  # the length of buckets, each a group of its own
    zone: str  # the time zone of calendar units
    before: int  # only of rows before this instant (ms, UTC)
    dimensions: tuple[Column, ...]
    said: tuple[Column, ...] = ()  # columns that may differ in rows of the same time and series


@dataclass(frozen=True, slots=True, kw_only=True)
class Varied:
    rows: int  # how many rows were looked at
    groups: int
    values: tuple[int, ...]  # how many values each dimension has
    mixed: int = 0  # how many rows differ from others of the same time and series in what was said to be left out


Probe = PartitionBounds | ExpiredRows | WindowRows | TableBounds | Variety
Bound = tuple[int | None, int | None]  # least and greatest time (ms, UTC)
Bounds = Mapping[tuple[Value, ...], Bound]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    bounds: Mapping[PartitionBounds, Bounds] = field(default_factory=dict)  # of each partition, by its values
    rows: Mapping[ExpiredRows, int] = field(default_factory=dict)
    # Of each window that has rows its start (ms, UTC), rows and fingerprint.
    windows: Mapping[WindowRows, Sequence[tuple[int, int, str]]] = field(default_factory=dict)
    ranges: Mapping[TableBounds, Bound] = field(default_factory=dict)
    varieties: Mapping[Variety, Varied] = field(default_factory=dict)
    failed: Mapping[Probe, str] = field(default_factory=dict)  # why a question has no answer, in words
    # Whether what was computed before would lose rows.
    balances: Mapping[tuple[Rollup, Window], Balance] = field(default_factory=dict)

    def __or__(self, other: Measurements) -> Measurements:
        names = [each.name for each in fields(self)]
        return Measurements(**{name: {**getattr(self, name), **getattr(other, name)} for name in names})
