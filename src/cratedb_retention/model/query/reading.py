"""
Reading a cascade, as data: the content of each table, the request, the table that answers each time range, and the
answer. All instants are milliseconds, UTC, except in requests and rows.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cratedb_retention.errors import not_installed
from cratedb_retention.model.catalog import Column, TableName, Value
from cratedb_retention.model.duration import read_moment
from cratedb_retention.model.rollups.aggregates import Aggregate, Formula, Merge, Part, find_formula
from cratedb_retention.model.rollups.cascade import Interval, parse_interval
from cratedb_retention.model.rollups.rollup import Metric, Rollup
from cratedb_retention.model.time import TimeRange, TimeRanges, find_zone, show

if TYPE_CHECKING:
    import pyarrow

# The maximum number of points of an answer.
MOST_POINTS = 100_000
DEFAULT_POINTS = 100
RAW, ARCHIVE = "raw", "archive"


class Fill(StrEnum):
    """The value of empty buckets."""

    NONE = "none"
    NULL = "null"
    PREVIOUS = "previous"
    LINEAR = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """The content of a table of a cascade: in [start, end), its data is complete."""

    rollup: Rollup | None  # the level; None for the raw rows
    table: TableName
    start: int | None  # None: complete from the beginning
    end: int | None  # None: complete until now
    archived: bool = False  # whether raw rows of this time are in archives; others may still be in the table

    @property
    def name(self) -> str:
        """Its name in answers: the interval of the level, ``raw`` or ``archive``."""
        return str(self.rollup.interval) if self.rollup else ARCHIVE if self.archived else RAW


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """A table with its rollups, as required for reading."""

    source: TableName
    time: Column  # the source's time column
    dimensions: tuple[Column, ...]
    metrics: tuple[Metric, ...]  # all metrics of the cascade, with their aggregates
    zone: str  # the time zone of calendar units
    holdings: tuple[Holding, ...]  # the content of each table, finest first: raw rows, their archives, levels

    @property
    def tzinfo(self) -> dt.tzinfo:
        return find_zone(self.zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    """A query of a cascade; all fields except the table have defaults."""

    table_name: str = ""
    table_schema: str | None = None
    start: dt.datetime | None = None  # aware; None: 24 hours before ``end``
    end: dt.datetime | None = None  # aware; None: now
    step: Interval | None = None  # the length of the answer's buckets; None: chosen for at most ``points``
    points: int = DEFAULT_POINTS  # the maximum number of buckets, if no step is given
    # ``temperature:avg``, ``temperature:p95``, ``row_count``; a name alone means its average, or the increase of a
    # counter. Empty: all metrics in this way.
    metrics: tuple[str, ...] = ()
    where: Mapping[str, Value] = field(default_factory=dict)  # only series with these values of dimensions
    by: tuple[str, ...] = ()  # dimensions to group by; series that differ in others are merged
    fill: Fill = Fill.NONE
    # If the end of a longer bucket is also available in shorter ones, return these, even if some values cannot be
    # computed for the rest of the longer bucket; they are None there.
    partly: bool = False

    @classmethod
    def of_texts(
        cls, now: dt.datetime, start: str | None, end: str | None, step: str | None, points: int | None, **more: Any
    ) -> FetchRequest:
        """Make a request from texts; instants such as ``-7d`` are relative to ``now``."""
        to = read_moment(end, now)
        return cls(
            start=read_moment(start, to) if start else None,
            end=to,
            step=parse_interval(step) if step else None,
            points=DEFAULT_POINTS if points is None else points,
            **more,
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """One value of an answer's rows."""

    metric: Metric | None  # None: the number of raw rows
    aggregate: str  # its name in the request: ``avg``, ``rate``, ``p95``

    @property
    def name(self) -> str:
        return self.metric.named(self.aggregate) if self.metric else self.aggregate

    @property
    def formula(self) -> Formula | None:
        return find_formula(self.aggregate) if self.metric else None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of a state that it requires."""
        read = self.formula.parts if self.formula else ()
        merged = (Part(name) for part in read if part.merge is Merge.SPREAD for name in part.needs)
        return tuple(dict.fromkeys([*read, *merged]))

    def kept_by(self, rollup: Rollup) -> bool:
        """Whether a level can answer it."""
        metric = self.metric
        return not metric or any(m.name == metric.name and {*self.parts} <= {*m.parts} for m in rollup.metrics)

    @property
    def follow_from_rest(self) -> bool:
        """Whether it can be computed for the rest of a bucket; only a count tells whether the rest has any value."""
        if self.metric is None or self.parts == (Part.BINS,):
            return True
        return self.metric.has(Aggregate.COUNT) and all(part.additive for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of the requested time range that is answered from one table."""

    holding: Holding
    time: TimeRange
    interval: Interval  # the length of its buckets in the answer: the step, or the level's own if that is longer
    coarser: bool = False  # whether its buckets are longer than the step
    finer_from: int | None = None  # the start of finer levels within its last bucket, if that is not divided
    undivided: str = ""  # why it is not divided
    less: tuple[Stretch, ...] = ()  # for the rest of a bucket: the end of that bucket in finer levels

    @property
    def whole(self) -> Stretch:
        """The bucket whose rest it is."""
        return replace(self, time=TimeRange(self.time.start, self.less[-1].time.end), less=()) if self.less else self


def join_stretches(stretches: Iterable[Stretch], with_rests: bool = False) -> list[Stretch]:
    """Sort stretches by time, and join adjacent ones of the same table, also rests of buckets if ``with_rests``."""
    found: list[Stretch] = []
    for one in sorted(stretches, key=lambda stretch: stretch.time):
        last = found[-1] if found else one
        alike = (last.holding, last.interval, last.time.end) == (one.holding, one.interval, one.time.start)
        if alike and (with_rests or last.less == one.less):
            found[-1] = replace(last, time=TimeRange(last.time.start, one.time.end))
        else:
            found.append(one)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A request with all defaults determined, which an engine reads stretch by stretch."""

    cascade: Cascade
    time: TimeRange  # extended to whole buckets
    step: Interval
    wanted: tuple[Wanted, ...]
    by: tuple[Column, ...]  # the source's columns
    where: tuple[tuple[Column, Value], ...]
    stretches: tuple[Stretch, ...]  # in order of time; they don't overlap
    fill: Fill = Fill.NONE

    @property
    def parts(self) -> dict[Metric, tuple[Part, ...]]:
        """The parts of states to read, with counts that tell whether the rest of a bucket has any value."""
        found: dict[Metric, dict[Part, None]] = {}
        for want in self.wanted:
            if want.metric:
                found.setdefault(want.metric, {}).update(dict.fromkeys(want.parts))
        for metric, parts in found.items() if any(stretch.less for stretch in self.stretches) else ():
            if metric.has(Aggregate.COUNT) and parts.keys() != {Part.BINS}:
                parts[Part.COUNT] = None
        return {metric: tuple(parts) for metric, parts in found.items()}


Group = tuple[Value, ...]  # the values of ``by``
Cell = dt.datetime | str | int | float | bool | Decimal | None
Row = tuple[Cell, ...]
_UNITS = ((3600, "hour"), (60, "minute"), (1, "second"))
_ROWS = {False: "the raw rows", True: "archived rows"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The answer: one row for each bucket and group, in order of time."""

    # The time (start of the bucket, an aware datetime in the cascade's time zone), the dimensions of groups, the values
    # (exact for decimal columns), and ``level``: the table that the row is from, as ``1h``, ``raw`` or ``archive``, or
    # several, joined by ``+``; None in a bucket that was filled.
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    keys: int  # the number of dimensions among the columns
    step: Interval  # the length of buckets, except in coarser stretches
    start: int  # the requested range, extended to whole buckets (ms UTC)
    end: int
    stretches: tuple[Stretch, ...]
    gaps: tuple[tuple[int, int], ...] = ()  # parts [start, end) of the range without data in any table
    unread: tuple[tuple[TimeRange, str], ...] = ()  # parts with archives that were not read, and why

    @property
    def notes(self) -> list[str]:
        """Notes on time ranges with longer buckets, on archives that were not read, and on ranges without data."""
        coarser = [_longer(stretch, self.step) for stretch in self.stretches if stretch.coarser]
        gone = TimeRanges(self.gaps) - (time for time, _ in self.unread)
        without = [f"{show(start)} to {show(end)}: no table has this data any more" for start, end in gone]
        return coarser + [not_read(*each) for each in self.unread] + without

    @property
    def levels(self) -> list[str]:
        """The names of the tables that answered, oldest first, without duplicates."""
        return list(dict.fromkeys(stretch.holding.name for stretch in self.stretches))

    def series(self) -> dict[tuple[Cell, ...], list[Row]]:
        """The rows of each group."""
        found: dict[tuple[Cell, ...], list[Row]] = {}
        for row in self.rows:
            found.setdefault(row[1 : 1 + self.keys], []).append(row)
        return found

    def to_rows(self) -> list[dict[str, Cell]]:
        """Each row as a mapping."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def to_csv(self) -> str:
        """As CSV with a header; times are ISO 8601, NULL is empty."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.columns, *(map(_plain, row) for row in self.rows)])
        return text.getvalue()

    def to_json(self) -> str:
        """As a JSON array of objects: times as ISO 8601, numbers with all digits, null for non-finite numbers."""

        def literal(cell: Cell) -> str:
            plain, exact = _plain(cell), isinstance(cell, Decimal)  # Python's writer does not support decimals
            return str(plain) if exact and plain is not None else json.dumps(plain, ensure_ascii=False)

        names = [*map(literal, self.columns)]
        rows = (",\n".join(map("    {}: {}".format, names, map(literal, row))) for row in self.rows)
        text = ",\n".join(f"  {{\n{row}\n  }}" for row in rows)
        return f"[\n{text}\n]" if text else "[]"

    def plain_rows(self) -> Iterator[dict[str, Cell]]:
        """Each row as a mapping of values that JSON and YAML support; decimals as text."""
        for row in self.rows:
            yield {name: _plain(cell) for name, cell in zip(self.columns, row, strict=True)}

    def to_arrow(self) -> pyarrow.Table:
        """As an Arrow table: times with time zone, dimensions typed by their values, numbers as doubles or decimals."""
        try:
            import pyarrow as pa
        except ImportError as error:
            raise not_installed("Arrow and Parquet", "pyarrow is not installed", "arrow", error) from None
        columns: list[Any] = list(zip(*self.rows, strict=True)) or [()] * len(self.columns)
        zone = str(columns[0][0].tzinfo) if self.rows else "UTC"
        values = (_arrow_type(pa, column) for column in columns[1 + self.keys : -1])
        types = [pa.timestamp("ms", tz=zone), *[None] * self.keys, *values, pa.string()]
        arrays = [pa.array(list(column), type=kind) for column, kind in zip(columns, types, strict=True)]
        return pa.Table.from_arrays(arrays, names=list(self.columns))

    def to_bytes(self, form: str) -> bytes:
        """As a file: ``arrow``, in the streaming format, or ``parquet``."""
        table, sink = self.to_arrow(), io.BytesIO()
        import pyarrow.parquet

        if form == "parquet":
            pyarrow.parquet.write_table(table, sink, compression="zstd")
        else:
            with pyarrow.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
        return sink.getvalue()


def interval_words(interval: Interval) -> str:
    """An interval in words: ``hour``, ``10 minutes``, ``day``."""
    if interval.unit:
        return interval.unit
    length, unit = next((size, name) for size, name in _UNITS if interval.seconds % size == 0)
    return unit if interval.seconds == length else f"{interval.seconds // length} {unit}s"


def describe(fetched: Fetched) -> str:
    """Describe an answer: ``1 point per hour, from lab.weather_1h; since 2024-06-20 from the raw rows``, in UTC."""
    parts, unread = join_stretches(fetched.stretches, with_rests=True), [not_read(*each) for each in fetched.unread]
    if not parts:
        return "; ".join(["No table has data for this time range", *unread]) + "."
    tables = [str(part.holding.table) if part.holding.rollup else _ROWS[part.holding.archived] for part in parts]
    words = [f"1 point per {interval_words(parts[0].interval)}, from {tables[0]}"]
    for before, part, table in zip(parts, parts[1:], tables[1:], strict=False):
        finer = f": 1 point per {interval_words(part.interval)}," if part.interval != before.interval else ""
        words.append(f"since {show(part.time.start)}{finer} from {table}")
    without = [f"no data from {show(a)} to {show(b)}" for a, b in fetched.gaps]
    return "; ".join([*words, *without, *unread]) + "."


def as_float(cell: object) -> float | None:
    """A cell as a value of a chart; None if it is not a finite number."""
    return float(cell) if isinstance(cell, int | float | Decimal) and math.isfinite(cell) else None


def _longer(stretch: Stretch, step: Interval) -> str:
    (start, end), only = map(show, stretch.time), f"only {stretch.interval}"
    if stretch.less:
        return f"{start} to {end}: {only} is left; one bucket, computed by subtracting the shorter ones from {end} on"
    longer = f"so buckets are longer than {step}"
    if stretch.finer_from is None:
        return f"{start} to {end}: {only} is left, {longer}"
    shorter = f"shorter ones exist from {show(stretch.finer_from)} on ({stretch.undivided})"
    return f"{start} to {end}: {only} covers all of it, {longer}; {shorter}"


def not_read(time: TimeRange, why: str) -> str:
    return f"{show(time.start)} to {show(time.end)}: archived rows were not read: {why}"


def _arrow_type(pa: Any, column: Sequence[Cell]) -> Any:
    decimals = [cell for cell in column if isinstance(cell, Decimal)]
    if not decimals:
        return pa.float64()
    scale = max(0, *(-int(cell.as_tuple().exponent) for cell in decimals))
    digits = max(cell.adjusted() for cell in decimals) + 1 + scale
    return pa.decimal128(38, scale) if digits <= 38 else pa.decimal256(76, scale)


def _plain(cell: Cell) -> Cell:
    if isinstance(cell, dt.datetime):
        return cell.isoformat()
    if isinstance(cell, Decimal):
        return f"{cell:f}" if cell.is_finite() else None
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
