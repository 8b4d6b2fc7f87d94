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

from cratedb_retention.model.catalog import Column, Kind, TableName, Value
from cratedb_retention.model.query.reading import Cascade, Holding
from cratedb_retention.model.rollups.aggregates import COUNTER, GAMMA, GAUGE, Aggregate
from cratedb_retention.model.rollups.cascade import Interval, parse_interval
from cratedb_retention.model.rollups.rollup import (
    Metric,
    Rollup,
    label,
    level_table,
    make_metric,
    sketch_table,
)
from support.catalogs import ms
from support.databases import NUMBER, TIME, Database
from support.oracle import Buckets, Row, aggregates, grouped, text, with_increases

Key = tuple[int, tuple[Value, ...]]
_KEPT = ("min", "max", "sum", "count", "first", "last", "m2", "increase")


@dataclass(kw_only=True)
class Source:
    """
    A table with raw rows, and how it is rolled up. Names may be anything.

    :param rows: Time in ms under ``time``, dimensions and numbers.
    """

    rows: list[Row]
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
            make_metric(Column(name=self.gauge, type="double precision", kind=Kind.NUMBER), everything),
            make_metric(Column(name=self.counter, type="bigint", kind=Kind.NUMBER), COUNTER),
        )

    @property
    def columns(self) -> tuple[Column, ...]:
        """The dimensions."""
        kinds = {"TEXT": Kind.TEXT, "BOOLEAN": Kind.BOOLEAN, "INTEGER": Kind.NUMBER}
        return tuple(Column(name=name, type=kind, kind=kinds[kind]) for name, kind in self.dimensions.items())

    def rows_with_increases(self) -> list[Row]:
        """The rows in order of time, with what the counter grew by."""
        return with_increases(self.rows, list(self.dimensions), (self.gauge, self.counter), self.time)


def make_rows(hours: float, start: str = "2024-03-30T20:00", seed: int = 1, every: int = 97) -> list[Row]:
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


def of(rows: Iterable[Row], name: str) -> list[Any]:
    """The values that are not NULL."""
    return [row[name] for row in rows if row[name] is not None]


def expected(
    source: Source,
    step: str,
    start: str,
    end: str,
    by: Sequence[str] = (),
    where: Callable[[Row], bool] = lambda row: True,
) -> dict[Key, dict[str, Any]]:
    """
    All possible answers, computed from all raw rows: by bucket and group, ``rows``, ``values`` (sorted), and
    ``temperature_min`` and so on.
    """
    found: dict[Key, dict[str, Any]] = {}
    rows = [row for row in source.rows_with_increases() if ms(start) <= row[source.time] < ms(end) and where(row)]
    for (bucket, *group), own in grouped(rows, Buckets(step, source.zone), by, source.time).items():
        answer: dict[str, Any] = {"rows": len(own), "values": sorted(of(own, source.gauge))}
        for name in (source.gauge, source.counter):
            answer |= {f"{name}_{part}": value for part, value in aggregates(own, name).items()}
        found[bucket, tuple(group)] = answer
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
        found.append(Holding(rollup=rollup, table=rollup.table if rollup else table, start=span[0], end=span[1]))
        rows = [row for row in source.rows_with_increases() if _within(row[source.time], span)]
        if rollup is None:
            _create_raw(db, source, rows)
        else:
            _create_level(db, source, rollup, rows)
    time = Column(name=source.time, type=source.time_type, kind=Kind.TIME)
    return Cascade(
        source=table,
        time=time,
        dimensions=source.columns,
        metrics=source.metrics,
        zone=source.zone,
        holdings=tuple(found),
    )


def chained(cascade: Cascade) -> Cascade:
    """The same tables, each level computed from the one before it."""
    found: list[Holding] = []
    for holding in cascade.holdings:
        rollup = holding.rollup and replace(holding.rollup, below=found[-1].table)
        found.append(replace(holding, rollup=rollup))
    return replace(cascade, holdings=tuple(found))


def _within(time: int, span: tuple[int | None, int | None]) -> bool:
    return (span[0] is None or span[0] <= time) and (span[1] is None or time < span[1])


def _rollup(source: Source, table: TableName, interval: Interval) -> Rollup:
    time = Column(name=source.time, type=source.time_type, kind=Kind.TIME)
    own = level_table(table, interval)
    return Rollup(
        source=table,
        below=table,
        table=own,
        interval=interval,
        time=time,
        dimensions=source.columns,
        metrics=source.metrics,
        zone=source.zone,
    )


def _create_raw(db: Database, source: Source, rows: Iterable[Row]) -> None:
    db.create(
        source.table,
        {source.time: source.time_type, **source.dimensions, source.gauge: NUMBER, source.counter: "BIGINT"},
    )
    columns = (*source.dimensions, source.gauge, source.counter)
    values = [{source.time: text(row[source.time]), **{name: row[name] for name in columns}} for row in rows]
    db.insert(source.table, values)


def _create_level(db: Database, source: Source, rollup: Rollup, rows: Sequence[Row]) -> None:
    names = [label(name) for name in source.dimensions]
    keys = {rollup.time_name: TIME, **dict(zip(names, source.dimensions.values(), strict=True))}
    metrics = (label(source.gauge), label(source.counter))
    numbers = {f"{name}_{part}": NUMBER for name in metrics for part in _KEPT}
    db.create(rollup.table.name, {**keys, **numbers, "row_count": "BIGINT"})
    sketch = sketch_table(rollup.table).name
    db.create(sketch, {**keys, "metric": "TEXT", "sign": "SMALLINT", "bin": "INTEGER", "count": "BIGINT"})
    level, bins = [], []
    buckets = Buckets(str(rollup.interval), source.zone)
    for (bucket, *group), own in grouped(rows, buckets, list(source.dimensions), source.time).items():
        key = dict(zip(keys, (text(bucket), *group), strict=True))
        parts = {
            f"{label(name)}_{part}": value
            for name in (source.gauge, source.counter)
            for part, value in aggregates(own, name).items()
            if part in _KEPT
        }
        level.append({**key, **parts, "row_count": len(own)})
        bins += [{**key, **found} for found in _bins(label(source.gauge), of(own, source.gauge))]
    db.insert(rollup.table.name, level)
    db.insert(sketch, bins)


def _bins(name: str, values: Iterable[float]) -> list[dict[str, Any]]:
    counts: dict[tuple[int, int], int] = defaultdict(int)
    for value in values:
        index = math.ceil(math.log(abs(value)) / math.log(GAMMA)) if value else 0
        counts[(value > 0) - (value < 0), index] += 1
    return [{"metric": name, "sign": sign, "bin": index, "count": n} for (sign, index), n in counts.items()]
