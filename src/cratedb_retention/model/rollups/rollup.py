"""
Rollups as data: the source and the columns of a level; windows and steps. The name of a rollup's column consists of the
source's column and the aggregate: ``temperature_min``. All instants are milliseconds, UTC.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Self

from cratedb_retention.model import catalog
from cratedb_retention.model.catalog import Catalog, Column, Grouping, TableName, outer_names
from cratedb_retention.model.rollups.aggregates import PERCENTILES, Aggregate, Part, with_needed
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.step import BaseStep, Kind, Stretch
from cratedb_retention.model.time import find_zone, show
from cratedb_retention.model.words import plural

LEVEL_TIME = "TIMESTAMP WITH TIME ZONE"
# Columns of a rollup that the source does not have.
OWN_COLUMNS = ROW_COUNT, VERSION, PARTITION = "row_count", "rollup_version", "rollup_partition"
# Columns of the table of distributions, beside time, dimensions and those above.
SKETCH_COLUMNS = SKETCH_METRIC, SKETCH_SIGN, SKETCH_BIN, SKETCH_COUNT = "metric", "sign", "bin", "count"
# The column of the view, and of answers, with the origin of a row.
LEVEL = "level"


def level_column(names: Iterable[str]) -> str:
    """The name of that column, which must differ from other names."""
    return LEVEL if LEVEL not in {name.lower() for name in names} else f"rollup_{LEVEL}"


def label(name: str) -> str:
    """The name of a source's column in a rollup: ``payload['temp']`` becomes ``payload_temp``."""
    return re.sub(r"\['(.*?)'\]", r"_\1", name) if "[" in name else name


def find_columns(columns: Iterable[Column], name: str) -> list[Column]:
    """The columns of a name: the column itself, or the one with this name in a rollup, or all columns of an object."""
    known = [column for column in columns if column.grouping is not Grouping.PARTS]
    return (
        [column for column in known if column.name == name]
        or [column for column in known if label(column.name) == name]
        or [column for column in known if any(name in (outer, label(outer)) for outer in outer_names(column.name))]
    )


def instant_column(name: str) -> Column:
    """The time column of a level's table: a timestamp, whatever the type of the source's."""
    return Column(name=label(name), type=LEVEL_TIME, kind=catalog.Kind.TIME)


@dataclass(frozen=True, slots=True)
class Series:
    """Series whose dimension, a text, matches a pattern, such as names that end in ``_total``."""

    dimension: Column
    pattern: str


@dataclass(frozen=True, slots=True)
class Metric:
    """A numeric column that is aggregated."""

    column: Column
    aggregates: tuple[Aggregate, ...]  # in the order of the enum, with those that they need
    within: tuple[Series, ...] = ()  # series in which it is a counter; empty: all, if it is a counter

    @property
    def name(self) -> str:
        return label(self.column.name)

    def has(self, aggregate: Aggregate) -> bool:
        return aggregate in self.aggregates

    def named(self, aggregate: str) -> str:
        return f"{self.name}_{aggregate}"

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(part for aggregate in self.aggregates for part in aggregate.keeps)

    @property
    def stored(self) -> tuple[Part | Aggregate, ...]:
        """The columns of a level: parts, and aggregates that are derived from them."""
        found: list[Part | Aggregate] = []
        for one in self.aggregates:
            found += [*(part for part in one.keeps if part is not Part.BINS), *([one] if one.derived else [])]
        return tuple(found)

    @property
    def columns(self) -> list[str]:
        return list(map(self.named, self.stored))

    @property
    def shown(self) -> tuple[Aggregate, ...]:
        """The columns of the view: aggregates that are read by their own name."""
        return tuple(aggregate for aggregate in self.aggregates if aggregate.formula)

    @property
    def answers(self) -> list[str]:
        """The available answers, the most useful first."""
        average = [a for a in self.shown if a is Aggregate.AVG]
        increases = ["increase", "rate"] if self.has(Aggregate.INCREASE) else []
        # A metric that is a counter only in some series has an average in all.
        first = [*average, *increases] if self.within else [*increases, *average]
        percentiles = PERCENTILES if Part.BINS in self.parts else ()
        return list(dict.fromkeys([*map(str, first), *map(str, self.shown), *percentiles]))


def make_metric(column: Column, aggregates: tuple[Aggregate, ...], within: tuple[Series, ...] = ()) -> Metric:
    """Make a metric with the wanted aggregates and those that they need."""
    return Metric(column, with_needed(aggregates), within)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollup:
    """One level of a cascade on one table."""

    source: TableName  # the table with the raw rows
    below: TableName  # the table that this level is computed from: the source, or the next finer level
    table: TableName
    interval: Interval  # the length of its buckets
    time: Column  # the source's time column; in the level's table, its name is ``time_name``
    dimensions: tuple[Column, ...]  # the source's columns that distinguish series
    metrics: tuple[Metric, ...]
    zone: str = "UTC"  # of calendar units
    partition: Interval | None = None  # the interval of its table's partitions; None: not partitioned
    window: Interval | None = None  # the length of its windows, once it is decided
    window_zone: str = "UTC"

    @property
    def from_raw(self) -> bool:
        return self.below == self.source

    @property
    def time_name(self) -> str:
        return label(self.time.name)

    @property
    def own_time(self) -> Column:
        return instant_column(self.time.name)

    @property
    def below_time(self) -> Column:
        return self.time if self.from_raw else self.own_time

    @property
    def sketch(self) -> TableName:
        """The table with the distributions of metrics with percentiles."""
        return sketch_table(self.table)

    @property
    def below_sketch(self) -> TableName:
        return sketch_table(self.below)

    @property
    def sketched(self) -> tuple[Metric, ...]:
        return tuple(metric for metric in self.metrics if Part.BINS in metric.parts)

    @property
    def keys(self) -> list[str]:
        return [self.time_name, *(label(column.name) for column in self.dimensions)]

    @property
    def columns(self) -> list[str]:
        return [*self.keys, *(name for metric in self.metrics for name in metric.columns), ROW_COUNT, VERSION]

    @property
    def tables(self) -> list[TableName]:
        return [self.table, *([self.sketch] if self.sketched else [])]

    @property
    def has_counters(self) -> bool:
        """Whether it is computed from raw rows, and needs the values before its first rows."""
        return self.from_raw and any(metric.has(Aggregate.INCREASE) for metric in self.metrics)

    @property
    def tzinfo(self) -> dt.tzinfo:
        return find_zone(self.zone)

    def owns(self, table: catalog.Table) -> bool:
        """Whether a table surely belongs to the level; a user's table of its name is neither written to nor dropped."""
        own = SKETCH_COLUMNS if table.name == self.sketch else (ROW_COUNT,)
        return {self.time_name, VERSION, *own} <= set(table.columns)


def level_table(source: TableName, interval: Interval) -> TableName:
    """The table of a level: ``metrics_1h`` for ``metrics``."""
    return TableName(source.schema, f"{source.name}_{interval}")


def sketch_table(table: TableName) -> TableName:
    """The table of a level's distributions: ``metrics_1h_sketch``."""
    return TableName(table.schema, f"{table.name}_sketch")


def view_name(source: TableName) -> TableName:
    """The view over the raw rows and all levels: ``metrics_all``."""
    return TableName(source.schema, f"{source.name}_all")


class Window(NamedTuple):
    """A time range [start, end) of one level: the unit of rollup work. Plans have very many, so it is a tuple."""

    start: int
    end: int
    since: int  # the start of the buckets to compute; ``start`` if the window is computed as a whole
    until: int  # the end of the complete buckets; ``end`` if all are complete

    @classmethod
    def of(cls, start: int, end: int) -> Window:
        return cls(start, end, start, end)

    @property
    def whole(self) -> bool:
        return self.since == self.start and self.until == self.end


class Count(NamedTuple):
    """The rows of a window, in a level or in its source."""

    rows: int  # raw rows: rows of the source, or the sum of ``row_count`` of a level
    groups: int = 0  # rows of the level from the present computation
    values: int = 0  # values in distributions
    alien: int = 0  # rows of the level from other computations, which should not exist

    def stands_for(self, below: Count) -> bool:
        return self.rows == below.rows and self.values == below.values


# Buckets that are computed again, with the number of raw rows that they were computed from; None: the ledger has no
# number for exactly these buckets.
Before = tuple[tuple[Window, int | None], ...]


@dataclass(frozen=True, slots=True)
class Balance:
    """The number of raw rows that buckets account for, and that of their source now."""

    stored: int
    below: int
    short: tuple[int, int] = (0, 0)  # both numbers, only for buckets whose source has fewer rows than they account for

    def lost(self, rows: int | None) -> tuple[int, int] | None:
        """
        How many rows were rolled up, and how many are left; None if none is lost. If the level does not account for the
        ``rows`` of the ledger, since a run was killed or a user wrote to it, the ledger decides.
        """
        if self.short[0] and rows in (None, self.stored):
            return self.short
        return (rows, self.below) if rows is not None and self.below < rows else None


def find_view(
    known: Catalog, rollup: Rollup, levels: Iterable[TableName], marks: Sequence[str]
) -> tuple[TableName | None, bool]:
    """
    The relation with the name of a cascade's view, and whether it is the toolkit's view. If a mark of its views is
    unknown, or from another release of the database, the columns decide.
    """
    there = known.taken(view_name(rollup.source))
    view = (known.views or {}).get(there) if there else None
    if view is None or view.mark in marks:
        return there, view is not None
    if all(mark and mark.partition(":")[0] == view.release for mark in marks) or len(view.columns) < 3:
        return there, False
    first, *others, rows, level = view.columns
    fits = (first, rows, level) == (rollup.time_name, ROW_COUNT, level_column([first, *others]))
    return there, fits and any(table.name in view.definition for table in (rollup.source, *levels))


# The steps of a cascade: create and alter a level's table, roll up windows, seal them, renew the view.


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelStep(BaseStep):
    rollup: Rollup

    @property
    def changes(self) -> TableName | None:
        return self.rollup.table

    @property
    def alike(self) -> object:
        return self.rollup


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRollup(LevelStep):
    """Create a level's table, and that of its distributions if there are percentiles."""

    replicas: str | None = None  # the source's ``number_of_replicas``; None: the database's default
    left_out: tuple[str, ...] = ()  # the source's columns that are in no level, for display

    def describe(self) -> str:
        dimensions = ", ".join(column.name for column in self.rollup.dimensions) or "none"
        metrics = ", ".join(metric.column.name for metric in self.rollup.metrics) or "none"
        left_out = f"; excluded: {', '.join(self.left_out)}" if self.left_out else ""
        return f"create {self.rollup.table.name} (dimensions: {dimensions}; metrics: {metrics}{left_out})"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterRollup(LevelStep):
    """Add the columns that a level's table lacks, in the order of the definition."""

    columns: tuple[str, ...]

    def describe(self) -> str:
        return f"add {', '.join(self.columns)} to {self.rollup.table.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsStep(LevelStep):
    verb: ClassVar[str]
    windows: tuple[Window, ...]  # in order of time, without overlaps
    idents: tuple[str, ...] = ()  # the database's names of their source's partitions

    def merged(self, others: Sequence[WindowsStep]) -> Self:
        return replace(self, windows=tuple(window for step in others for window in step.windows))

    def describe(self) -> str:
        time = f"{show(self.windows[0].since)} to {show(self.windows[-1].until)}"
        return f"{self.verb} {plural(len(self.windows), 'window')} of {self.rollup.table.name}, {time}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RollUp(WindowsStep):
    """Compute windows, or parts of open ones, and replace exactly their earlier rows (laws 3 to 6)."""

    does: ClassVar = Kind.ROLL_UP
    verb: ClassVar = "roll up"
    rows: tuple[int, ...] = ()  # the number of source rows of each window, if the plan knows it
    # The change token of each window's source when the plan was made; empty if the plan itself changes the source, so
    # that the token has to be read afterwards. `parts` has the same for parts of windows.
    tokens: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    # Coarser levels with the last values of counters before an instant, where the finer level has none any more.
    older: tuple[tuple[Rollup, int], ...] = ()
    before: Before = ()  # earlier computations of these windows, which must not lose rows (law 4)

    @property
    def stretches(self) -> Sequence[Stretch]:
        return [(window.since, window.until) for window in self.windows]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealWindows(WindowsStep):
    """Check that windows cover their source, whose partitions (``idents``) or rows expire, and seal them (law 3)."""

    verb: ClassVar = "seal"

    @property
    def changes(self) -> None:
        """It changes no table of data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RebaseRollup(LevelStep):
    """Change the table that a level is computed from, since a finer level was added or removed."""

    before: int  # windows that start before this instant are no longer in that table, and are sealed unchanged

    def describe(self) -> str:
        kept = f", and keep windows before {show(self.before)} unchanged" if self.before else ""
        return f"compute {self.rollup.table.name} from {self.rollup.below.name} from now on{kept}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewPart:
    """A time range of the view, and its table."""

    table: TableName  # the source or a level
    interval: str  # the level's; empty for raw rows
    start: int | None
    end: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceView(LevelStep):
    """Create or renew the view over the raw rows and all levels, each time range from the finest that contains it."""

    parts: tuple[ViewPart, ...]  # of ``rollup``, the finest level, and of others; the coarsest and oldest first
    marks: tuple[str, ...] = ("",)  # of the toolkit's own views, which may be replaced; empty: the view does not exist

    @property
    def view(self) -> TableName:
        return view_name(self.rollup.source)

    def describe(self) -> str:
        return f"renew the view {self.view.name}"

    @property
    def changes(self) -> TableName:
        return self.rollup.source


RollupStep = CreateRollup | AlterRollup | RebaseRollup | RollUp | SealWindows | ReplaceView
