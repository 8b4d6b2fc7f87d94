"""
Rollups as data: what one level of a cascade is computed from and which columns it has; the windows of work and the
steps; and the ledger of what was computed. A column of a rollup has the name of the source's and the aggregate:
``temperature_min``. All instants are milliseconds, UTC.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

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
# Columns of the table with the distributions, beside time, dimensions and those above.
SKETCH_COLUMNS = SKETCH_METRIC, SKETCH_SIGN, SKETCH_BIN, SKETCH_COUNT = "metric", "sign", "bin", "count"
# The column of the view, and of answers, that says where a row is from.
LEVEL = "level"


def level_column(names: Iterable[str]) -> str:
    """What that column is called beside columns of these names."""
    return LEVEL if LEVEL not in {name.lower() for name in names} else f"rollup_{LEVEL}"


def label(name: str) -> str:
    """A source column's name as it is in a rollup: ``payload['temp']`` becomes ``payload_temp``."""
    return re.sub(r"\['(.*?)'\]", r"_\1", name) if "[" in name else name


def find_columns(columns: Iterable[Column], name: str) -> list[Column]:
    """The columns that a name means: the one that has it, here or in a rollup; else all that are in such an object."""
    known = [column for column in columns if column.grouping is not Grouping.PARTS]
    return (
        [column for column in known if column.name == name]
        or [column for column in known if label(column.name) == name]
        or [column for column in known if any(name in (outer, label(outer)) for outer in outer_names(column.name))]
    )


def instant_column(name: str) -> Column:
    """The time column of a level's table: an instant, whatever the source's is."""
    return Column(name=label(name), type=LEVEL_TIME, kind=catalog.Kind.TIME)


@dataclass(frozen=True, slots=True)
class Series:
    """Series of which a dimension, a text, fits a pattern, such as those whose name ends in ``_total``."""

    dimension: Column
    pattern: str


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that is aggregated."""

    column: Column
    aggregates: tuple[Aggregate, ...]  # in the order of the enum, with what these need
    within: tuple[Series, ...] = ()  # series in which it is a counter; empty: in all, if it is one

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
        """What a level has columns of: parts, and aggregates that are derived from them."""
        found: list[Part | Aggregate] = []
        for one in self.aggregates:
            found += [*(part for part in one.keeps if part is not Part.BINS), *([one] if one.derived else [])]
        return tuple(found)

    @property
    def columns(self) -> list[str]:
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


def make_metric(column: Column, aggregates: tuple[Aggregate, ...], within: tuple[Series, ...] = ()) -> Metric:
    """A metric with all the aggregates that the wanted ones need."""
    return Metric(column, with_needed(aggregates), within)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollup:
    """One level of a cascade on one table."""

    source: TableName  # with the raw rows
    beneath: TableName  # what this level is computed from: the source, or the next finer level
    table: TableName
    interval: Interval  # the length of its buckets
    time: Column  # the source's; in a level's table it has the name ``time_name``
    dimensions: tuple[Column, ...]  # the source's columns that tell series apart
    metrics: tuple[Metric, ...]
    zone: str = "UTC"  # of calendar units
    partition: Interval | None = None  # how its table is partitioned, by the start of buckets; None: not at all
    window: Interval | None = None  # the length of its windows, once that is decided
    window_zone: str = "UTC"

    @property
    def from_raw(self) -> bool:
        return self.beneath == self.source

    @property
    def time_name(self) -> str:
        return label(self.time.name)

    @property
    def own_time(self) -> Column:
        return instant_column(self.time.name)

    @property
    def beneath_time(self) -> Column:
        return self.time if self.from_raw else self.own_time

    @property
    def sketch(self) -> TableName:
        """The table with the distributions of those metrics that keep percentiles."""
        return sketch_table(self.table)

    @property
    def beneath_sketch(self) -> TableName:
        return sketch_table(self.beneath)

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
        """Whether it is computed from raw rows, and needs the values before the first of its rows."""
        return self.from_raw and any(metric.has(Aggregate.INCREASE) for metric in self.metrics)

    @property
    def tzinfo(self) -> dt.tzinfo:
        return find_zone(self.zone)

    def owns(self, table: catalog.Table) -> bool:
        """Whether a table is surely the level's own; one of a user with its name is not written to, nor dropped."""
        own = SKETCH_COLUMNS if table.name == self.sketch else (ROW_COUNT,)
        return {self.time_name, VERSION, *own} <= set(table.columns)


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
    """A time range [start, end) of one level: the unit of rollup work."""

    start: int
    end: int
    since: int  # buckets from here on are computed; ``start`` where the window is computed as a whole
    until: int  # only buckets that end here or before are complete; ``end`` where all are

    @classmethod
    def of(cls, start: int, end: int) -> Window:
        return cls(start=start, end=end, since=start, until=end)

    @property
    def whole(self) -> bool:
        return (self.since, self.until) == (self.start, self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What a level, or what it is computed from, has of a window."""

    rows: int  # raw rows: rows of the source, or the sum of ``row_count`` of a level
    groups: int = 0  # rows of the level, those of the present computation
    values: int = 0  # values that have a place in a distribution
    alien: int = 0  # rows of the level that another computation wrote; there should be none

    def stands_for(self, beneath: Count) -> bool:
        return (self.rows, self.values) == (beneath.rows, beneath.values)


# Buckets that were computed before and are about to be again, with the raw rows that they were computed from; None: the
# ledger has not noted that of just these.
Before = tuple[tuple[Window, int | None], ...]


@dataclass(frozen=True, slots=True)
class Balance:
    """Raw rows that buckets stand for, and those that their source has now."""

    stored: int
    beneath: int
    short: tuple[int, int] = (0, 0)  # both of only those buckets whose source has less than they stand for

    def lost(self, rows: int | None) -> tuple[int, int] | None:
        """
        How many rows were rolled up and how many there are now, where some are gone; None where none is. A level that
        has not the ``rows`` of the ledger, since a run was killed or a user wrote to it, is no witness.
        """
        if self.short[0] and rows in (None, self.stored):
            return self.short
        return (rows, self.beneath) if rows is not None and self.beneath < rows else None


def find_view(
    known: Catalog, rollup: Rollup, levels: Iterable[TableName], marks: Sequence[str]
) -> tuple[TableName | None, bool]:
    """
    What has the name of the view over the cascade of a level, and whether that is the one that the toolkit made. Where
    a mark of the views that it made says nothing of this release of the database, the form decides.
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


# The steps of a cascade: create and alter a level's table, roll windows up, seal them, renew the view.


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
    """Create a level's table, and the one with its distributions where percentiles are kept."""

    replicas: str | None = None  # the source's ``number_of_replicas``; None: the database's own default
    left_out: tuple[str, ...] = ()  # the source's columns that are in no level, for showing

    def describe(self) -> str:
        dimensions = ", ".join(column.name for column in self.rollup.dimensions) or "none"
        metrics = ", ".join(metric.column.name for metric in self.rollup.metrics) or "none"
        left_out = f"; left out: {', '.join(self.left_out)}" if self.left_out else ""
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
    """Compute windows, of open ones some parts, and replace exactly what was there of them (laws 3 to 6)."""

    does: ClassVar = Kind.ROLL_UP
    verb: ClassVar = "roll up"
    rows: tuple[int, ...] = ()  # how many each window is computed from, if the plan knows
    # The change token of each window's source when the plan was made; empty where the plan itself changes that, so that
    # it has to be read when that is done. The same of the parts of windows that are not whole.
    tokens: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    # Coarser levels that have the last values of counters where the finer one has none any more: before an instant.
    older: tuple[tuple[Rollup, int], ...] = ()
    before: Before = ()  # what was computed before of these windows, and must not lose rows (law 4)

    @property
    def stretches(self) -> Sequence[Stretch]:
        return [(window.since, window.until) for window in self.windows]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealWindows(WindowsStep):
    """Make sure that windows cover their source, and seal them: its partitions with ``idents``, or rows, go (law 3)."""

    verb: ClassVar = "seal"

    @property
    def changes(self) -> None:
        """It changes no table of data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RebaseRollup(LevelStep):
    """From now on compute a level from another table than before, since a finer level was added or removed."""

    before: int  # windows that begin before are not held there any more, and are sealed as they are

    def describe(self) -> str:
        kept = f", and keep what is before {show(self.before)} as it is" if self.before else ""
        return f"compute {self.rollup.table.name} from {self.rollup.beneath.name} from now on{kept}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewPart:
    """A time range of the view, and where it comes from."""

    table: TableName  # the source or a level
    interval: str  # the level's; empty for raw rows
    start: int | None
    end: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceView(LevelStep):
    """Create or renew the view over the raw rows and all levels, each time range from the finest that holds it."""

    parts: tuple[ViewPart, ...]  # of ``rollup``, the finest level, and of others; coarsest, which is the oldest, first
    marks: tuple[str, ...] = ("",)  # of the toolkit's own views, one of which may be replaced; none: nothing is there

    @property
    def view(self) -> TableName:
        return view_name(self.rollup.source)

    def describe(self) -> str:
        return f"renew the view {self.view.name}"

    @property
    def changes(self) -> TableName:
        return self.rollup.source


RollupStep = CreateRollup | AlterRollup | RebaseRollup | RollUp | SealWindows | ReplaceView


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """One window, as it was last computed."""

    start: int
    end: int
    until: int  # buckets that end here or before are computed
    whole: bool  # whether it was computed as a whole, so that the token stands for all of it
    beneath: TableName  # what it was computed from
    token: str  # the change token of that
    rows: int  # raw rows that it stands for
    groups: int  # rows of the level
    sealed: bool  # whether its source was about to go, so that it is never computed again (law 4)
    expired: bool = False  # whether its source is gone; only noted where rows are deleted one by one
    parts: str = ""  # what each part of an open window was computed from, see :class:`planning.windows.Parts`


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRollup:
    """A rollup that exists, or is about to be created."""

    rollup: Rollup
    policy_id: str | None = None  # the policy that asked for it
    view: tuple[ViewPart, ...] = ()  # of the view over the cascade; only with the finest level
    # See :class:`model.catalog.View`; empty: unknown, since a run was killed or an older release made it; None: none.
    view_mark: str | None = None
    gone: int | None = None  # before this instant rows of its table have expired; None: none has, or it is not recorded
    identity: str = ""  # tells the table with the raw rows from others that get its name; empty: unknown


@dataclass(frozen=True)
class Ledger:
    """What each window of each level was computed from, and whether it is sealed; and the rollups that exist."""

    rollups: Mapping[TableName, KnownRollup] = field(default_factory=dict)  # by the level's table
    windows: Mapping[TableName, Mapping[int, LedgerRow]] = field(default_factory=dict)  # and by the window's start

    def of(self, table: TableName) -> Mapping[int, LedgerRow]:
        return self.windows.get(table, {})

    def of_source(self, source: TableName) -> list[KnownRollup]:
        return [known for known in self.rollups.values() if known.rollup.source == source]

    def identity(self, source: TableName) -> str:
        """Tells the table with the raw rows, when its rollups were made, from others of its name; empty: unknown."""
        return next(filter(None, (known.identity for known in self.of_source(source))), "")

    def view_marks(self, source: TableName) -> tuple[str, ...]:
        """The marks of views that the toolkit made over a table's cascade; more than one if a run was killed."""
        return tuple(known.view_mark for known in self.of_source(source) if known.view_mark is not None)

    def held_from(self, source: TableName, table: TableName) -> int | None:
        """
        The instant from which a table of the cascade of a source holds all that it ever had; None: from the beginning.
        The source of a sealed window is gone, unless it is known that only a part of it is. And a level that was added
        later never had what coarser levels had sealed by then.
        """
        own = self.rollups.get(table)
        length, gone = (own.rollup.interval.approximate_seconds, own.gone) if own else (0, None)
        begins = min(self.of(table), default=None)
        ends = [] if gone is None else [gone]
        for known in self.of_source(source):
            coarser = known.rollup.interval.approximate_seconds > length
            for row in self.of(known.rollup.table).values() if coarser else ():
                never_had = table != source and (begins is None or row.end <= begins)
                partly = gone is not None and row.start < gone
                if row.sealed and (never_had or (row.beneath == table and not partly)):
                    ends.append(row.end)
        return max(ends, default=None)

    def sealed_by_others(self, table: TableName) -> int | None:
        """Until when another level of the same source sealed what this one, no part of its cascade then, did not."""
        open_rows = [row for row in self.of(table).values() if not row.sealed]
        ends = (
            row.end
            for name, known in self.rollups.items()
            if name != table and known.rollup.beneath == self.rollups[table].rollup.beneath
            for row in self.of(name).values()
            if row.sealed and any(row.start < other.end and other.start < row.end for other in open_rows)
        )
        return max(ends, default=None)
