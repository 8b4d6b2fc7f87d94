"""
The answer of a cascade: columns and rows, how fine it is, and from which level each stretch of it comes.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cratedb_retention.errors import not_installed
from cratedb_retention.model.cascade import Interval
from cratedb_retention.model.reading import Stretch
from cratedb_retention.model.time import show

if TYPE_CHECKING:
    import pyarrow

Cell = dt.datetime | str | int | float | bool | Decimal | None
Row = tuple[Cell, ...]
_UNITS = ((3600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What was read: one row for each bucket and group, in order of time."""

    # The time (start of the bucket, an aware datetime in the cascade's time zone), the dimensions that tell groups
    # apart, the values (exact decimals where columns are such), and ``level``: which table the row is from, as ``1h``,
    # ``raw``, or both, joined by ``+``; None in a bucket that was filled.
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    keys: int  # How many of the columns are dimensions
    step: Interval  # The length of buckets, except in stretches that are coarser
    start: int  # The range that was asked, extended to whole buckets (ms UTC)
    end: int
    stretches: tuple[Stretch, ...]
    gaps: tuple[tuple[int, int], ...] = ()  # Parts [start, end) of the range that no table holds

    @property
    def notes(self) -> list[str]:
        """What a reader of the rows must know, in words: stretches with longer buckets, and those that are gone."""
        coarser = [_longer(stretch, self.step) for stretch in self.stretches if stretch.coarser]
        return coarser + [f"{show(start)} to {show(end)}: no table holds it any more" for start, end in self.gaps]

    @property
    def levels(self) -> list[str]:
        """The names of the tables that answered, oldest stretch first, each once."""
        return list(dict.fromkeys(stretch.holding.name for stretch in self.stretches))

    def series(self) -> dict[tuple[Cell, ...], list[Row]]:
        """The rows by group."""
        found: dict[tuple[Cell, ...], list[Row]] = {}
        for row in self.rows:
            found.setdefault(row[1 : 1 + self.keys], []).append(row)
        return found

    def to_rows(self) -> list[dict[str, Cell]]:
        """Each row as a mapping."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def to_csv(self) -> str:
        """As CSV with a header; times as ISO 8601, nothing for NULL."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_plain(cell) for cell in row] for row in self.rows)
        return text.getvalue()

    def to_json(self) -> str:
        """As a JSON array of objects: times as ISO 8601, numbers with all their digits, and null for what is none."""
        names = [json.dumps(name, ensure_ascii=False) for name in self.columns]
        rows = (
            ",\n".join(f"    {name}: {_literal(cell)}" for name, cell in zip(names, row, strict=True))
            for row in self.rows
        )
        text = ",\n".join(f"  {{\n{row}\n  }}" for row in rows)
        return f"[\n{text}\n]" if text else "[]"

    def plain_rows(self) -> Iterator[dict[str, Cell]]:
        """Each row as a mapping of values that JSON and YAML know; decimals as text."""
        for row in self.rows:
            yield {name: _plain(cell) for name, cell in zip(self.columns, row, strict=True)}

    def to_arrow(self) -> pyarrow.Table:
        """
        As an Arrow table: times with their zone, dimensions by their values, numbers as doubles or decimals.

        :raises InvalidInput: if pyarrow is not installed.
        """
        try:
            import pyarrow as pa
        except ImportError as error:
            raise not_installed("Arrow and Parquet", "pyarrow is not installed", "arrow", error) from None
        columns: list[Any] = list(zip(*self.rows, strict=True)) or [()] * len(self.columns)
        last = len(self.columns) - 1
        zone = str(columns[0][0].tzinfo) if self.rows else "UTC"
        types = [
            pa.timestamp("ms", tz=zone),
            *(None for _ in range(self.keys)),
            *(_arrow_type(pa, column) for column in columns[1 + self.keys : last]),
            pa.string(),
        ]
        arrays = [pa.array(list(column), type=kind) for column, kind in zip(columns, types, strict=True)]
        return pa.Table.from_arrays(arrays, names=list(self.columns))

    def to_bytes(self, form: str) -> bytes:
        """
        As a file.

        :param form: ``arrow``, as a stream, or ``parquet``.
        :raises InvalidInput: if pyarrow is not installed.
        """
        table = self.to_arrow()
        import pyarrow as pa
        import pyarrow.parquet

        sink = pa.BufferOutputStream()
        if form == "parquet":
            pyarrow.parquet.write_table(table, sink, compression="zstd")
        else:
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
        found: bytes = sink.getvalue().to_pybytes()
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part [start, end) of an answer that is all of one kind (ms, UTC)."""

    start: int
    end: int
    interval: Interval
    source: str  # Where it comes from, for sentences: ``lab.weather_1h``, ``the raw rows``
    name: str  # For where there is little room: ``1h``, ``raw``


def interval_words(interval: Interval) -> str:
    """``hour``, ``10 minutes``, ``day``: what there is one point for."""
    if interval.unit:
        return interval.unit
    length, unit = next((size, name) for size, name in _UNITS if interval.seconds % size == 0)
    count = interval.seconds // length
    return unit if count == 1 else f"{count} {unit}s"


def parts_of(stretches: Iterable[Stretch]) -> list[Part]:
    """The parts in order of time; neighbours of one kind are one."""
    found: list[Part] = []
    for stretch in stretches:
        holding = stretch.holding
        source = str(holding.table) if holding.rollup else "the raw rows"
        part = Part(start=stretch.start, end=stretch.end, interval=stretch.interval, source=source, name=holding.name)
        last = found[-1] if found else None
        if last and (last.end, last.source, last.interval) == (part.start, part.source, part.interval):
            found[-1] = Part(start=last.start, end=part.end, interval=part.interval, source=part.source, name=part.name)
        else:
            found.append(part)
    return found


def describe(fetched: Fetched) -> str:
    """
    In a sentence: ``1 point per hour, from lab.weather_1h; since 2024-06-20 from the raw rows``.

    Instants are in UTC.
    """
    parts = parts_of(fetched.stretches)
    if not parts:
        return "No table holds anything of this stretch of time."
    return "; ".join([*_said(parts), *(f"{show(a)} to {show(b)} is kept nowhere" for a, b in fetched.gaps)]) + "."


def _said(parts: Sequence[Part]) -> list[str]:
    words = [f"1 point per {interval_words(parts[0].interval)}, from {parts[0].source}"]
    for before, part in pairwise(parts):
        finer = f": 1 point per {interval_words(part.interval)}," if part.interval != before.interval else ""
        words.append(f"since {show(part.start)}{finer} from {part.source}")
    return words


def as_float(cell: object) -> float | None:
    """A cell as a chart takes it; None if it is no finite number."""
    return float(cell) if isinstance(cell, int | float | Decimal) and math.isfinite(cell) else None


def _longer(stretch: Stretch, step: Interval) -> str:
    span = f"{show(stretch.start)} to {show(stretch.end)}"
    if stretch.less:
        return (
            f"{span}: only {stretch.interval} is left, so this is one bucket: "
            f"what that of {show(stretch.start)} has less the shorter ones from {show(stretch.end)} on"
        )
    if stretch.finer_from is None:
        return f"{span}: only {stretch.interval} is left, so buckets are longer than {step}"
    return (
        f"{span}: only {stretch.interval} has all of it, so buckets are longer than {step}; "
        f"from {show(stretch.finer_from)} on there are shorter ones, {stretch.undivided}"
    )


def _arrow_type(pa: Any, column: Sequence[Cell]) -> Any:
    decimals = [cell for cell in column if isinstance(cell, Decimal)]
    if not decimals:
        return pa.float64()
    scale = max(0, *(-int(cell.as_tuple().exponent) for cell in decimals))
    digits = max(cell.adjusted() for cell in decimals) + 1 + scale
    return pa.decimal128(38, scale) if digits <= 38 else pa.decimal256(76, scale)


def _literal(cell: Cell) -> str:
    """As JSON, which its writer in Python does not have for decimals."""
    plain = _plain(cell)
    return str(plain) if isinstance(cell, Decimal) and plain is not None else json.dumps(plain, ensure_ascii=False)


def _plain(cell: Cell) -> Cell:
    if isinstance(cell, dt.datetime):
        return cell.isoformat()
    if isinstance(cell, Decimal):
        return f"{cell:f}" if cell.is_finite() else None
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
