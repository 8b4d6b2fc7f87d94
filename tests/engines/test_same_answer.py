"""
Raw rows and each level give the same answer to the same question, whatever the rows are: of every aggregate, in every
time zone, step and fill, from one table or put together from several.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from cratedb_retention.execution.query import fetch
from cratedb_retention.model.query.reading import Cascade, FetchRequest, Fill, Holding
from cratedb_retention.model.rollups.aggregates import ANSWERS, PERCENTILES, Aggregate
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.rollups.rollup import Rollup
from cratedb_retention.model.time import from_ms, parse_time_zone
from support.catalogs import ms
from support.databases import CrateDatabase, Database, DuckDatabase
from support.oracle import Row
from support.rollups import DAY, EVERYTHING, MINUTE, RollupTables, windows
from support.tiers import examples

# Days with a change of the clocks among them, in Europe.
START, DAYS = ms("2024-03-29T00:00"), 6
ENDS = ("first", "last")
# Of several values of a gauge at one instant any may be the first.
GAUGE = tuple(one for one in Aggregate if one not in (*ENDS, Aggregate.INCREASE))
METRICS = {"x": EVERYTHING, "g": GAUGE}
ASKED = (
    *(f"x:{name}" for name in (*ANSWERS, *PERCENTILES)),
    *(f"g:{name}" for name in (*GAUGE, *PERCENTILES) if name != "percentiles"),
    "row_count",
)
VALUES = st.floats(-1e6, 1e6) | st.integers(0, 50).map(float) | st.sampled_from([None, math.nan, math.inf, -math.inf])
TIMES = st.integers(0, 7).map(lambda n: n * 7 * MINUTE) | st.integers(0, DAYS * DAY - 1)
ROW = st.fixed_dictionaries({"ts": TIMES, "host": st.sampled_from(["a", "b", None]), "x": VALUES, "g": VALUES})


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked."""

    step: str
    zone: str
    fill: Fill
    by: tuple[str, ...]
    start: int


QUESTION = st.builds(
    Question,
    step=st.sampled_from(["15m", "1h", "3h", "1d", "1w"]),
    zone=st.sampled_from(["UTC", "Europe/Vienna", "America/New_York", "Asia/Kathmandu"]),
    fill=st.sampled_from(Fill),
    by=st.sampled_from([("host",), ()]),
    start=st.sampled_from([0, DAY // 2, 3 * DAY]),
)


@dataclass(kw_only=True)
class Table:
    """A table and two levels, made once and filled for each example."""

    rollups: RollupTables
    levels: list[Rollup] = field(default_factory=list)

    def fill(self, rows: Sequence[Row], at_once: int) -> None:
        """Other rows, rolled up so many days at once."""
        if not self.levels:
            self.rollups.create()
            finer = self.rollups.level("15m")
            self.levels = [finer, self.rollups.level("1h", below=finer)]
        self.rollups.db.sql(f"DELETE FROM {self.rollups.db.q('raw')}")
        self.rollups.db.refresh("raw")
        self.rollups.insert(
            {"ts": START + row["ts"], **{name: row[name] for name in ("host", "x", "g")}} for row in rows
        )
        days = windows(START, DAY, DAYS)
        for level in self.levels:
            for i in range(0, DAYS, at_once):
                self.rollups.roll_up(level, *days[i : i + at_once])

    def answer(self, question: Question, *holdings: tuple[Rollup | None, int, int]) -> dict[tuple[Any, ...], list[Any]]:
        """What some tables say, each of which holds some days [start, end)."""
        one = self.levels[0]
        cascade = Cascade(
            source=one.source,
            time=one.time,
            dimensions=one.dimensions,
            metrics=one.metrics,
            zone=question.zone,
            holdings=tuple(
                Holding(
                    rollup=level,
                    table=level.table if level else one.source,
                    start=START + first * DAY,
                    end=START + last * DAY,
                )
                for level, first, last in holdings
            ),
        )
        asked = [text for text in ASKED if question.by or text.partition(":")[2] not in ENDS]
        request = FetchRequest(
            start=from_ms(START + question.start),
            end=from_ms(START + DAYS * DAY),
            step=parse_interval(question.step),
            metrics=tuple(asked),
            by=question.by,
            fill=question.fill,
        )
        fetched = fetch(self.rollups.engine, cascade, request, from_ms(START + (DAYS + 30) * DAY))
        width = 1 + len(question.by)
        return {row[:width]: list(zip(asked, row[width:-1], strict=True)) for row in fetched.rows}


def check(table: Table, rows: Sequence[Row], question: Question, at_once: int) -> None:
    """Ask raw rows, each level that can answer, and all of them together."""
    table.fill(rows, at_once)
    step, zone = parse_interval(question.step), parse_time_zone(question.zone)
    right = table.answer(question, (None, 0, DAYS))
    able = [level for level in table.levels if level.interval.fits_into(step, zone)]
    event(f"{len(able)} levels, {question.step} in {question.zone}")
    for level in able:
        compare(table.answer(question, (level, 0, DAYS)), right, str(level.interval))
    if len(able) == len(table.levels):
        parts = (None, 4, DAYS), (table.levels[0], 2, 5), (table.levels[1], 0, 3)
        compare(table.answer(question, *parts), right, "together")


def compare(found: Mapping[tuple[Any, ...], list[Any]], right: Mapping[tuple[Any, ...], list[Any]], where: str) -> None:
    """The same buckets, groups and values, but for rounding."""
    assert found.keys() == right.keys(), where
    for key, values in right.items():
        for (name, one), (_, other) in zip(values, found[key], strict=True):
            assert (one is None) == (other is None), (where, key, name, one, other)
            assert one is None or math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-3), (where, key, name, one, other)


@pytest.fixture(scope="module")
def tables() -> dict[str, Table]:
    """What examples share."""
    return {}


SHARED = settings(suppress_health_check=list(HealthCheck), deadline=None)
ROWS = st.lists(ROW, min_size=1, max_size=14)


@settings(SHARED, max_examples=examples(8, long=300))
@given(ROWS, QUESTION, st.sampled_from([1, 2, DAYS]))
def test_on_duckdb(duck: DuckDatabase, tables: dict[str, Table], rows: Any, question: Any, at_once: int) -> None:
    """On DuckDB."""
    check(shared(duck, tables), rows, question, at_once)


@settings(SHARED, max_examples=examples(4, long=80))
@given(ROWS, QUESTION, st.sampled_from([1, 2, DAYS]))
def test_on_cratedb(
    crate: CrateDatabase, tables: dict[str, Table], rows: Any, question: Question, at_once: int
) -> None:
    """On CrateDB."""
    check(shared(crate, tables), rows, question, at_once)


def shared(db: Database, tables: dict[str, Table]) -> Table:
    """The table on this database."""
    if db.uri not in tables:
        tables[db.uri] = Table(rollups=RollupTables(db=db, engine=db.tool.engine, metrics=METRICS))
    return tables[db.uri]
