"""
Questions that only the rows can answer, and the answers. Planning asks, an engine measures, all in few statements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cratedb_retention.model.cascade import Interval
from cratedb_retention.model.catalog import Column, TableName, Value
from cratedb_retention.model.plan import Spared
from cratedb_retention.model.rollup import Balance, Rollup, Window
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
    """
    How many rows does a table have in each window, and what is their fingerprint?

    :param interval: The length of the windows.
    :param zone: The time zone of calendar units.
    :param within: Only of rows in this stretch of time [start, end) (ms, UTC); None: of all.
    """

    table: TableName
    time_column: Column
    interval: Interval
    zone: str
    within: TimeRange | None = None


@dataclass(frozen=True, slots=True)
class TableBounds:
    """Which least and greatest time do rows with some values have, apart from those without a time?"""

    table: TableName
    time_column: Column
    where: tuple[tuple[Column, Value], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Variety:
    """
    How many groups do the newest rows have, and how many values has each dimension in them?

    :param interval: The length of buckets, each a group of its own.
    :param zone: The time zone of calendar units.
    :param before: Only of rows before this instant (ms, UTC).
    :param said: Columns that may differ in rows of the same time and series.
    """

    table: TableName
    time_column: Column
    interval: Interval
    zone: str
    before: int
    dimensions: tuple[Column, ...]
    said: tuple[Column, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Varied:
    """
    The answer.

    :param rows: How many rows were looked at.
    :param values: How many values each dimension has.
    :param mixed: How many rows differ from others of the same time and series in what was said to be left out.
    """

    rows: int
    groups: int
    values: tuple[int, ...]
    mixed: int = 0


Probe = PartitionBounds | ExpiredRows | WindowRows | TableBounds | Variety
Bound = tuple[int | None, int | None]
Bounds = Mapping[tuple[Value, ...], Bound]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """
    The answers.

    :param bounds: Least and greatest time (ms, UTC) of each partition, by its values.
    :param rows: Counted rows.
    :param windows: Of each window that has rows its start (ms, UTC), rows and fingerprint.
    :param ranges: Least and greatest time (ms, UTC).
    :param varieties: How much the newest rows differ.
    :param failed: Why a question has no answer, in words.
    :param balances: Whether what was computed before would lose rows.
    """

    bounds: Mapping[PartitionBounds, Bounds] = field(default_factory=dict)
    rows: Mapping[ExpiredRows, int] = field(default_factory=dict)
    windows: Mapping[WindowRows, Sequence[tuple[int, int, str]]] = field(default_factory=dict)
    ranges: Mapping[TableBounds, Bound] = field(default_factory=dict)
    varieties: Mapping[Variety, Varied] = field(default_factory=dict)
    failed: Mapping[Probe, str] = field(default_factory=dict)
    balances: Mapping[tuple[Rollup, Window], Balance] = field(default_factory=dict)

    def __or__(self, other: Measurements) -> Measurements:
        """The answers of both."""
        if self == Measurements():
            return other
        return Measurements(
            bounds={**self.bounds, **other.bounds},
            rows={**self.rows, **other.rows},
            windows={**self.windows, **other.windows},
            ranges={**self.ranges, **other.ranges},
            varieties={**self.varieties, **other.varieties},
            failed={**self.failed, **other.failed},
            balances={**self.balances, **other.balances},
        )
