"""
Rollups as data: what one level of a cascade is computed from, which columns it has, and the windows of work.

An engine turns these into statements, planning decides about them, and `fetch` reads by them. The names of a rollup's
columns are the source's, with the aggregate behind them: ``temperature_min``, ``temperature_avg``.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from cratedb_retention.model.aggregates import PERCENTILES, Aggregate, Part, with_needed
from cratedb_retention.model.cascade import Interval
from cratedb_retention.model.catalog import Column, Grouping, Kind, TableName, View, outer_names

LEVEL_TIME = "TIMESTAMP WITH TIME ZONE"
# Columns of a rollup that the source does not have.
ROW_COUNT, VERSION, PARTITION = "row_count", "rollup_version", "rollup_partition"
OWN_COLUMNS = (ROW_COUNT, VERSION, PARTITION)
# Columns of the table with the distributions, beside time, dimensions and those above.
SKETCH_METRIC, SKETCH_SIGN, SKETCH_BIN, SKETCH_COUNT = "metric", "sign", "bin", "count"


# The column of the view, and of answers, that says where a row is from.
LEVEL = "level"


def level_column(names: Iterable[str]) -> str:
    """What that column is called beside columns of these names."""
    taken = {name.lower() for name in names}
    return LEVEL if LEVEL not in taken else f"rollup_{LEVEL}"


def label(name: str) -> str:
    """A source column's name as it is in a rollup: ``payload['temp']`` becomes ``payload_temp``."""
    return re.sub(r"\['(.*?)'\]", r"_\1", name)


def find_columns(columns: Iterable[Column], name: str) -> list[Column]:
    """
    The columns that a name means: the one that has it, here or in a rollup; else all that are in such an object.
    """
    known = [column for column in columns if column.grouping is not Grouping.PARTS]
    return (
        [column for column in known if column.name == name]
        or [column for column in known if label(column.name) == name]
        or [column for column in known if any(name in (outer, label(outer)) for outer in outer_names(column.name))]
    )


@dataclass(frozen=True, slots=True)
class SeriesPattern:
    """Series of which a dimension, a text, fits a pattern, such as those whose name ends in ``_total``."""

    dimension: Column
    pattern: str


@dataclass(frozen=True, slots=True)
class Metric:
    """
    A number that is aggregated.

    :param column: The source's column.
    :param aggregates: What is kept of it, in the order of :class:`Aggregate`, with what these need.
    :param within: The series in which it is a counter, and has an ``increase``; empty: in all, if it is one.
    """

    column: Column
    aggregates: tuple[Aggregate, ...]
    within: tuple[SeriesPattern, ...] = ()

    @property
    def name(self) -> str:
        """The name before the aggregate."""
        return label(self.column.name)

    def has(self, aggregate: Aggregate) -> bool:
        """Whether an aggregate is kept."""
        return aggregate in self.aggregates

    def named(self, aggregate: str) -> str:
        """The column of an aggregate."""
        return f"{self.name}_{aggregate}"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of the state that is kept."""
        return tuple(part for aggregate in self.aggregates for part in aggregate.keeps)

    @property
    def stored(self) -> tuple[Part | Aggregate, ...]:
        """What a level has columns of: parts, and aggregates that are derived from them."""
        found: list[Part | Aggregate] = []
        for aggregate in self.aggregates:
            found += [part for part in aggregate.keeps if part is not Part.BINS]
            found += [aggregate] if aggregate.derived else []
        return tuple(found)

    @property
    def columns(self) -> list[str]:
        """The columns of a level that are about it."""
        return list(map(self.named, self.stored))

    @property
    def shown(self) -> tuple[Aggregate, ...]:
        """What the view has columns of: all that is read by its own name."""
        return tuple(aggregate for aggregate in self.aggregates if aggregate.formula)

    @property
    def answers(self) -> list[str]:
        """What can be asked of it, the most useful first."""
        average = [a for a in self.shown if a is Aggregate.AVG]
        increases = ["increase", "rate"] if self.has(Aggregate.INCREASE) else []
        # What is a counter in some series only has an average in all.
        first = [*average, *increases] if self.within else [*increases, *average]
        percentiles = PERCENTILES if Part.BINS in self.parts else ()
        return list(dict.fromkeys([*map(str, first), *map(str, self.shown), *percentiles]))


def make_metric(column: Column, aggregates: tuple[Aggregate, ...], within: tuple[SeriesPattern, ...] = ()) -> Metric:
    """A metric with all the aggregates that the wanted ones need."""
    return Metric(column, with_needed(aggregates), within)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollup:
    """
    One level of a cascade on one table.

    :param source: The table with the raw rows.
    :param beneath: The table that this level is computed from: the source, or the next finer level.
    :param table: The level's own table.
    :param interval: The length of its buckets.
    :param time: The source's time column; in a level's table it has the name ``time_name``.
    :param dimensions: The source's columns that tell series apart.
    :param zone: The time zone of calendar units.
    :param partition: How the level's table is partitioned, by the start of buckets; None: not at all.
    :param window: The length of its windows, once that is decided.
    :param window_zone: The time zone of these.
    """

    source: TableName
    beneath: TableName
    table: TableName
    interval: Interval
    time: Column
    dimensions: tuple[Column, ...]
    metrics: tuple[Metric, ...]
    zone: str = "UTC"
    partition: Interval | None = None
    window: Interval | None = None
    window_zone: str = "UTC"

    @property
    def from_raw(self) -> bool:
        """Whether it is the finest level."""
        return self.beneath == self.source

    @property
    def time_name(self) -> str:
        """The name of the time column in the level's own table."""
        return label(self.time.name)

    @property
    def own_time(self) -> Column:
        """The time column of the level's own table: an instant, whatever the source's is."""
        return Column(name=self.time_name, type=LEVEL_TIME, kind=Kind.TIME)

    @property
    def beneath_time(self) -> Column:
        """The time column of the table that the level is computed from."""
        return self.time if self.from_raw else self.own_time

    @property
    def sketch(self) -> TableName:
        """The table with the distributions of those metrics that keep percentiles."""
        return sketch_table(self.table)

    @property
    def beneath_sketch(self) -> TableName:
        """The distributions of the level beneath."""
        return sketch_table(self.beneath)

    @property
    def sketched(self) -> tuple[Metric, ...]:
        """The metrics that keep distributions."""
        return tuple(metric for metric in self.metrics if Part.BINS in metric.parts)

    @property
    def columns(self) -> list[str]:
        """The names of the columns of the level's table, but for the one that partitions it."""
        names = [self.time_name, *(label(column.name) for column in self.dimensions)]
        return [*names, *(name for metric in self.metrics for name in metric.columns), ROW_COUNT, VERSION]

    @property
    def tables(self) -> list[TableName]:
        """The tables of the level."""
        return [self.table, *([self.sketch] if self.sketched else [])]

    @property
    def has_counters(self) -> bool:
        """Whether it is computed from raw rows, and needs the values before the first of its rows."""
        return self.from_raw and any(metric.has(Aggregate.INCREASE) for metric in self.metrics)

    @property
    def tzinfo(self) -> dt.tzinfo:
        """The time zone as an object."""
        return dt.UTC if self.zone == "UTC" else zoneinfo.ZoneInfo(self.zone)


def level_table(source: TableName, interval: Interval) -> TableName:
    """Where a level is kept: ``metrics_1h`` beside ``metrics``."""
    return TableName(source.schema, f"{source.name}_{interval}")


def sketch_table(table: TableName) -> TableName:
    """Where the distributions of a level are kept: ``metrics_1h_sketch``."""
    return TableName(table.schema, f"{table.name}_sketch")


def view_name(source: TableName) -> TableName:
    """The view over the raw rows and all levels: ``metrics_all``."""
    return TableName(source.schema, f"{source.name}_all")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """
    A stretch of time [start, end) of one level: the unit of rollup work. All instants are ms, UTC.

    :param since: Buckets from here on are computed; ``start`` where the window is computed as a whole.
    :param until: Only buckets that end here or before are complete; ``end`` where all are.
    """

    start: int
    end: int
    since: int
    until: int

    @property
    def whole(self) -> bool:
        """Whether all of it is computed."""
        return (self.since, self.until) == (self.start, self.end)


@dataclass(frozen=True, slots=True)
class RolledUp:
    """
    What computing a window gave.

    :param source_rows: Raw rows beneath the buckets that were computed: rows of the source, or the sum of
        ``row_count`` of the level beneath.
    :param groups: Rows of the rollup for them.
    """

    window: Window
    source_rows: int
    groups: int


@dataclass(frozen=True, slots=True)
class Computed:
    """
    Buckets that were computed before, and are about to be again.

    :param rows: Raw rows that they were computed from, as the ledger has it; None: it has not noted that of just these.
    """

    window: Window
    rows: int | None


@dataclass(frozen=True, slots=True)
class Balance:
    """
    Raw rows that buckets stand for, and those that are beneath them now.

    :param stored: What the level's rows stand for.
    :param beneath: What there is to compute them from.
    :param short: The same two numbers of only those buckets beneath which there is less than they stand for.
    """

    stored: int
    beneath: int
    short: tuple[int, int] = (0, 0)

    def lost(self, rows: int | None) -> tuple[int, int] | None:
        """
        How many rows were rolled up and how many there are now, where some are gone; None where none is.

        A level that has not what the ledger says, since a run was killed or somebody wrote to it, is no witness.

        :param rows: What the ledger says.
        """
        if self.short[0] and rows in (None, self.stored):
            return self.short
        return (rows, self.beneath) if rows is not None and self.beneath < rows else None


def is_own_table(rollup: Rollup, table: TableName, columns: Collection[str]) -> bool:
    """
    Whether a table with these columns is the one that the toolkit made for a level: itself, or that with its
    distributions. What is not surely the toolkit's own is neither written to, nor replaced, nor dropped.
    """
    own = {SKETCH_METRIC, SKETCH_SIGN, SKETCH_BIN, SKETCH_COUNT} if table == rollup.sketch else {ROW_COUNT}
    return {rollup.time_name, VERSION, *own} <= set(columns)


def is_own_view(view: View, time: str, tables: Collection[TableName], marks: Sequence[str]) -> bool:
    """
    Whether a view is the one that the toolkit made over a cascade.

    :param time: The source's time column.
    :param tables: The source and the levels.
    :param marks: Of the views that it made; where one says nothing of this release of the database, the form decides.
    """
    if view.mark in marks:
        return True
    if all(mark and mark.partition(":")[0] == view.release for mark in marks) or len(view.columns) < 3:
        return False
    first, *others, rows, level = view.columns
    fits = (first, rows, level) == (label(time), ROW_COUNT, level_column([first, *others]))
    return fits and any(table.name in view.definition for table in tables)
