"""
Cascades made by plain Python from raw rows, and answers computed from all raw rows at once, to compare with.

Each table is given only what it is said to hold, so an answer from the wrong one is a wrong answer.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cratedb_retention.model.cascade import Interval, parse_interval
from cratedb_retention.model.catalog import Column, Kind, TableName, Value
from cratedb_retention.model.instant import from_ms, parse_instant, parse_time_zone, to_ms
from cratedb_retention.model.reading import Cascade, Holding
from cratedb_retention.model.rollup import (
    COUNTER,
    GAMMA,
    GAUGE,
    Aggregate,
    Metric,
    Rollup,
    label,
    level_table,
    make_metric,
    sketch_table,
)
from support.databases import NUMBER, TIME, Database
from support.sql import quoted

RawRow = dict[str, Any]
Key = tuple[int, tuple[Value, ...]]
_CHUNK = 200
_KEPT = ("min", "max", "sum", "count", "first", "last", "m2", "increase")


def ms(text: str) -> int:
    """An instant."""
    return to_ms(parse_instant(text))


@dataclass
class Source:
    """
    A table with raw rows, and how it is rolled up. Names may be anything.

    :param rows: Time in ms under ``time``, dimensions and numbers.
    """

    rows: list[RawRow]
    table: str = "weather"
    time: str = "ts"
    time_type: str = TIME
    dimensions: Mapping[str, str] = field(default_factory=lambda: {"station": "TEXT", "outside": "BOOLEAN"})
    gauge: str = "temperature"
    counter: str = "bytes"
    zone: str = "UTC"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """A gauge with everything, and a counter."""
        everything = (*GAUGE, Aggregate.STDDEV, Aggregate.PERCENTILES)
        return (
            make_metric(Column(self.gauge, "double precision", Kind.NUMBER), everything),
            make_metric(Column(self.counter, "bigint", Kind.NUMBER), COUNTER),
        )

    @property
    def columns(self) -> tuple[Column, ...]:
        """The dimensions."""
        kinds = {"TEXT": Kind.TEXT, "BOOLEAN": Kind.BOOLEAN, "INTEGER": Kind.NUMBER}
        return tuple(Column(name, kind, kinds[kind]) for name, kind in self.dimensions.items())

    def series(self, row: RawRow) -> tuple[Value, ...]:
        """The values of all dimensions."""
        return tuple(row[name] for name in self.dimensions)


def make_rows(hours: float, start: str = "2024-03-30T20:00", seed: int = 1, every: int = 97) -> list[RawRow]:
    """
    Rows of six series, some with NULL dimensions, with NULL values, and counters that are set back.

    :param every: Seconds between rows.
    """
    random_ = random.Random(seed)
    series = [("KJFK", True), ("KJFK", False), ("it's", None), (None, True), (None, None), ("LOWW", True)]
    counters = dict.fromkeys(series, 0)
    rows = []
    for i in range(int(hours * 3600 / every)):
        station, outside = one = series[random_.randrange(len(series))]
        counters[one] = 0 if random_.random() < 0.03 else counters[one] + random_.randrange(1000)
        value = None if random_.random() < 0.05 else 1e6 * (station == "LOWW") + random_.gauss(0, 10)
        value = 0.0 if random_.random() < 0.02 else value
        counter = None if random_.random() < 0.05 else counters[one]
        time = ms(start) + i * every * 1000 + random_.randrange(1000)
        rows.append({"ts": time, "station": station, "outside": outside, "temperature": value, "bytes": counter})
    return rows


def with_increase(source: Source) -> list[RawRow]:
    """The rows with what the counter grew since the row before of its series, under ``+``."""
    before: dict[tuple[Value, ...], int] = {}
    rows = []
    for row in sorted(source.rows, key=lambda row: row[source.time]):
        value, series = row[source.counter], source.series(row)
        grown = None
        if value is not None:
            last = before.get(series, value)
            grown = value - last if value >= last else value
            before[series] = value
        rows.append({**row, "+": grown})
    return rows


def kept(values: Sequence[float], increases: Sequence[float]) -> dict[str, float | None]:
    """Everything that is kept of values, in order of time."""
    if not values:
        return {**dict.fromkeys(_KEPT), "count": 0}
    total = math.fsum(values)
    return {
        "min": min(values),
        "max": max(values),
        "sum": total,
        "count": len(values),
        "first": values[0],
        "last": values[-1],
        "m2": math.fsum((value - total / len(values)) ** 2 for value in values),
        "increase": sum(increases),
    }


def grouped(source: Source, interval: Interval, by: Sequence[str], rows: Iterable[RawRow]) -> dict[Key, list[RawRow]]:
    """Rows by bucket and group."""
    zone = parse_time_zone(source.zone)
    found: dict[Key, list[RawRow]] = defaultdict(list)
    for row in rows:
        found[interval.floor(row[source.time], zone), tuple(row[name] for name in by)].append(row)
    return found


def of(rows: Iterable[RawRow], name: str) -> list[Any]:
    """The values that are not NULL."""
    return [row[name] for row in rows if row[name] is not None]


def expected(
    source: Source,
    step: str,
    start: str,
    end: str,
    by: Sequence[str] = (),
    where: Callable[[RawRow], bool] = lambda row: True,
) -> dict[Key, dict[str, Any]]:
    """
    Everything that could be asked, from all raw rows: by bucket and group, ``rows``, ``values`` (sorted), and
    ``temperature_min`` and so on.
    """
    found: dict[Key, dict[str, Any]] = {}
    rows = [row for row in with_increase(source) if ms(start) <= row[source.time] < ms(end) and where(row)]
    for key, own in grouped(source, parse_interval(step), by, rows).items():
        answer: dict[str, Any] = {"rows": len(own), "values": sorted(of(own, source.gauge))}
        for name in (source.gauge, source.counter):
            parts = kept(of(own, name), of(own, "+"))
            count = parts["count"] or 0
            answer.update({f"{name}_{part}": value for part, value in parts.items()})
            answer[f"{name}_avg"] = (parts["sum"] or 0) / count if count else None
            answer[f"{name}_stddev"] = math.sqrt((parts["m2"] or 0) / count) if count else None
        found[key] = answer
    return found


# Tables


def create(db: Database, source: Source, holdings: Mapping[str, tuple[str | None, str | None]]) -> Cascade:
    """
    Create the tables of a cascade, each with what it holds.

    :param holdings: By ``raw`` or interval, finest first: from when until when.
    """
    table = db.table(source.table)
    found = []
    for name, (start, end) in holdings.items():
        span = (None if start is None else ms(start), None if end is None else ms(end))
        rollup = None if name == "raw" else _rollup(source, table, parse_interval(name))
        found.append(Holding(rollup, rollup.table if rollup else table, *span))
        rows = [row for row in with_increase(source) if _within(row[source.time], span)]
        if rollup is None:
            _create_raw(db, source, rows)
        else:
            _create_level(db, source, rollup, rows)
    time = Column(source.time, source.time_type, Kind.TIME)
    return Cascade(table, time, source.columns, source.metrics, source.zone, tuple(found))


def chained(cascade: Cascade) -> Cascade:
    """The same tables, each level computed from the one before it."""
    found: list[Holding] = []
    for holding in cascade.holdings:
        rollup = holding.rollup and replace(holding.rollup, beneath=found[-1].table)
        found.append(replace(holding, rollup=rollup))
    return replace(cascade, holdings=tuple(found))


def _within(time: int, span: tuple[int | None, int | None]) -> bool:
    return (span[0] is None or span[0] <= time) and (span[1] is None or time < span[1])


def _rollup(source: Source, table: TableName, interval: Interval) -> Rollup:
    time = Column(source.time, source.time_type, Kind.TIME)
    own = level_table(table, interval)
    return Rollup(table, table, own, interval, time, source.columns, source.metrics, source.zone)


def _iso(instant: int) -> str:
    return from_ms(instant).replace(tzinfo=None).isoformat() + "Z"


def insert(db: Database, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, many in a statement, which is faster by far, and make them visible."""
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        places = ", ".join(["(" + ", ".join("?" * len(chunk[0])) + ")"] * len(chunk))
        columns = ", ".join(map(quoted, chunk[0]))
        values = [value for row in chunk for value in row.values()]
        db.sql(f"INSERT INTO {db.q(table)} ({columns}) VALUES {places}", values)
    db.refresh(table)


def _create_raw(db: Database, source: Source, rows: Iterable[RawRow]) -> None:
    db.create(
        source.table,
        {source.time: source.time_type, **source.dimensions, source.gauge: NUMBER, source.counter: "BIGINT"},
    )
    columns = (*source.dimensions, source.gauge, source.counter)
    values = [{source.time: _iso(row[source.time]), **{name: row[name] for name in columns}} for row in rows]
    insert(db, source.table, values)


def _create_level(db: Database, source: Source, rollup: Rollup, rows: Sequence[RawRow]) -> None:
    names = [label(name) for name in source.dimensions]
    keys = {rollup.time_name: TIME, **dict(zip(names, source.dimensions.values(), strict=True))}
    metrics = (label(source.gauge), label(source.counter))
    numbers = {f"{name}_{part}": NUMBER for name in metrics for part in _KEPT}
    db.create(rollup.table.name, {**keys, **numbers, "row_count": "BIGINT"})
    sketch = sketch_table(rollup.table).name
    db.create(sketch, {**keys, "metric": "TEXT", "sign": "SMALLINT", "bin": "INTEGER", "count": "BIGINT"})
    level, bins = [], []
    for (bucket, group), own in grouped(source, rollup.interval, list(source.dimensions), rows).items():
        key = dict(zip(keys, (_iso(bucket), *group), strict=True))
        parts = {
            f"{label(name)}_{part}": value
            for name in (source.gauge, source.counter)
            for part, value in kept(of(own, name), of(own, "+")).items()
        }
        level.append({**key, **parts, "row_count": len(own)})
        bins += [{**key, **found} for found in _bins(label(source.gauge), of(own, source.gauge))]
    insert(db, rollup.table.name, level)
    insert(db, sketch, bins)


def _bins(name: str, values: Iterable[float]) -> list[dict[str, Any]]:
    counts: dict[tuple[int, int], int] = defaultdict(int)
    for value in values:
        index = math.ceil(math.log(abs(value)) / math.log(GAMMA)) if value else 0
        counts[(value > 0) - (value < 0), index] += 1
    return [{"metric": name, "sign": sign, "bin": index, "count": n} for (sign, index), n in counts.items()]
