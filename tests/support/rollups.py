"""
A raw table and rollups of it that an engine computes step by step, and a check of them against plain Python.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cratedb_retention.engine.base import Engine
from cratedb_retention.engine.step import StepResult
from cratedb_retention.model.catalog import Column, Selector, TableName
from cratedb_retention.model.plan.plan import Step
from cratedb_retention.model.rollups.aggregates import Aggregate
from cratedb_retention.model.rollups.cascade import Interval, parse_interval
from cratedb_retention.model.rollups.rollup import (
    CreateRollup,
    Metric,
    RollUp,
    Rollup,
    Window,
    level_table,
    make_metric,
)
from support.databases import NUMBER, TIME, Database
from support.oracle import Buckets, Key, Row, aggregates, grouped, ms_of, text, with_increases
from support.sql import quoted

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
# 2024-01-01, a Monday.
START = 1_704_067_200_000
EVERYTHING = tuple(Aggregate)
PLAIN = (Aggregate.MIN, Aggregate.MAX, Aggregate.SUM, Aggregate.COUNT, Aggregate.FIRST, Aggregate.LAST, Aggregate.AVG)


def to_ms(value: Any) -> int | None:
    """An instant as either database gives it."""
    if isinstance(value, dt.datetime):
        return ms_of(value if value.tzinfo else value.replace(tzinfo=dt.UTC))
    return value if value is None else int(value)


@dataclass(kw_only=True)
class RollupTables:
    """
    A table with raw rows on a database, and an engine.

    :param metrics: What is kept of each metric.
    """

    db: Database
    engine: Engine
    name: str = "raw"
    time: str = "ts"
    dimensions: Sequence[str] = ("host",)
    metrics: Mapping[str, Sequence[Aggregate]] = field(default_factory=lambda: {"x": PLAIN})
    types: Mapping[str, str] = field(default_factory=dict)

    @property
    def source(self) -> TableName:
        """The table with the raw rows."""
        return self.db.table(self.name)

    def create(self, rows: Iterable[Row] = ()) -> None:
        """Create the raw table and fill it."""
        columns = {self.time: TIME} | dict.fromkeys(self.dimensions, "TEXT") | dict.fromkeys(self.metrics, NUMBER)
        self.db.create(self.name, columns | dict(self.types))
        self.insert(rows)

    def insert(self, rows: Iterable[Row]) -> None:
        """Add raw rows, with times in milliseconds."""
        made = [{**row, self.time: text(row[self.time])} for row in rows]
        if made:
            self.db.insert(self.name, made)

    def columns(self) -> Mapping[str, Column]:
        """The raw table's columns as the engine sees them."""
        found = self.engine.read_catalog([Selector(schema=self.source.schema, name=self.source.name)])
        return found.tables[self.source].columns

    def rollup(self, interval: str, below: Rollup | None = None, **more: Any) -> Rollup:
        """A level."""
        columns = self.columns()
        return Rollup(
            source=self.source,
            below=below.table if below else self.source,
            table=more.pop("table", level_table(self.source, parse_interval(interval))),
            interval=parse_interval(interval),
            time=columns[self.time],
            dimensions=tuple(columns[name] for name in self.dimensions),
            metrics=tuple(make_metric(columns[name], tuple(kept)) for name, kept in self.metrics.items()),
            **more,
        )

    def level(self, interval: str, below: Rollup | None = None, **more: Any) -> Rollup:
        """A level whose tables are there."""
        rollup = self.rollup(interval, below, **more)
        self.do(CreateRollup(rollup=rollup, replicas="0"))
        return rollup

    def do(self, step: Step) -> StepResult:
        """Perform a step."""
        return self.engine.perform(step, lambda progress: None)

    def roll_up(self, rollup: Rollup, *windows: Window) -> StepResult:
        """Compute windows."""
        return self.do(RollUp(rollup=rollup, windows=windows))

    def read(self, table: TableName) -> list[Row]:
        """All rows of a table, with times in milliseconds, read without the toolkit."""
        names = self.names(table)
        self.db.refresh(table.name, table.schema)
        listed = ", ".join(map(quoted, names))
        found = self.db.rows(f"SELECT {listed} FROM {quoted(*table)}")
        times = {label_of(self.time), "rollup_partition"}
        return [
            {name: to_ms(value) if name in times else value for name, value in zip(names, row, strict=True)}
            for row in found
        ]

    def names(self, table: TableName) -> list[str]:
        """The columns of a table or view."""
        query = (
            "SELECT column_name FROM information_schema.columns WHERE table_schema = ? AND table_name = ?"
            " ORDER BY ordinal_position"
        )
        return [row[0] for row in self.db.rows(query, table)]


def label_of(name: str) -> str:
    """A sub-column's name in a rollup."""
    return name.replace("['", "_").replace("']", "")


def windows(start: int, length: int, count: int) -> list[Window]:
    """Whole windows of equal length."""
    starts = [start + i * length for i in range(count)]
    return [Window(start=at, end=at + length, since=at, until=at + length) for at in starts]


def expected(rows: Iterable[Row], rollup: Rollup, since: int, until: int) -> dict[Key, Row]:
    """What a level must hold of a time range, by bucket and dimensions."""
    time, dimensions = rollup.time.name, [column.name for column in rollup.dimensions]
    every = with_increases(rows, dimensions, [metric.column.name for metric in rollup.metrics], time)
    inside = [row for row in every if since <= row[time] < until]
    groups = grouped(inside, Buckets(str(rollup.interval), rollup.zone), dimensions, time)
    return {key: {"row_count": len(group), **_aggregated(group, rollup.metrics)} for key, group in groups.items()}


def _aggregated(group: Sequence[Row], metrics: Iterable[Metric]) -> Row:
    values = [(metric, aggregates(group, metric.column.name)) for metric in metrics]
    return {m.named(a): found[a] for m, found in values for a in Aggregate if a in found and m.has(a)}


def check_level(
    rollups: RollupTables, rollup: Rollup, rows: Iterable[Row], since: int, until: int, tolerance: float = 1e-7
) -> None:
    """A level has exactly the rows of a stretch of time that Python finds."""
    dimensions = [label_of(column.name) for column in rollup.dimensions]
    found = [row for row in rollups.read(rollup.table) if since <= row[rollup.time_name] < until]
    keyed = {(row[rollup.time_name], *(row[name] for name in dimensions)): row for row in found}
    assert len(keyed) == len(found)
    wanted = expected(rows, rollup, since, until)
    assert keyed.keys() == wanted.keys()
    for key, row in wanted.items():
        for name, value in row.items():
            assert _same(keyed[key][name], value, tolerance), (key, name, keyed[key][name], value)


def _same(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=tolerance)
    return bool(one == other)


def stretch(interval: Interval, start: int, count: int, zone: dt.tzinfo = dt.UTC) -> list[Window]:
    """Windows of one interval each, in a time zone."""
    found: list[Window] = []
    at = interval.floor(start, zone)
    for _ in range(count):
        end = interval.end(at, zone)
        found.append(Window(start=at, end=end, since=at, until=end))
        at = end
    return found
