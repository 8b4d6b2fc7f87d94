"""
Measurements: questions of planning that only the rows can answer, and the answers of an engine, in few statements.
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
    """What are the minimum and maximum time of each partition?"""

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
    within: TimeRange | None = None  # only rows in this time range; None: all


@dataclass(frozen=True, slots=True)
class TableBounds:
    """What are the minimum and maximum time of the rows with some values, except those without a time?"""

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
    before: int  # only rows before this instant (ms, UTC)
    dimensions: tuple[Column, ...]
    said: tuple[Column, ...] = ()  # excluded columns, which may differ in rows of the same time and series


@dataclass(frozen=True, slots=True, kw_only=True)
class Varied:
    rows: int  # the number of rows that were examined
    groups: int
    values: tuple[int, ...]  # the number of values of each dimension
    mixed: int = 0  # the number of rows that differ from others of the same time and series in excluded columns


Probe = PartitionBounds | ExpiredRows | WindowRows | TableBounds | Variety
Bound = tuple[int | None, int | None]  # minimum and maximum time (ms, UTC)
Bounds = Mapping[tuple[Value, ...], Bound]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    bounds: Mapping[PartitionBounds, Bounds] = field(default_factory=dict)  # of each partition, by its values
    rows: Mapping[ExpiredRows, int] = field(default_factory=dict)
    # The start (ms, UTC), the number of rows, and the fingerprint of each window with rows.
    windows: Mapping[WindowRows, Sequence[tuple[int, int, str]]] = field(default_factory=dict)
    ranges: Mapping[TableBounds, Bound] = field(default_factory=dict)
    varieties: Mapping[Variety, Varied] = field(default_factory=dict)
    failed: Mapping[Probe, str] = field(default_factory=dict)  # why a question has no answer
    # Whether windows would lose rows if they were computed again.
    balances: Mapping[tuple[Rollup, Window], Balance] = field(default_factory=dict)

    def __or__(self, other: Measurements) -> Measurements:
        names = [each.name for each in fields(self)]
        return Measurements(**{name: {**getattr(self, name), **getattr(other, name)} for name in names})
