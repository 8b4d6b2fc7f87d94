"""
NaN and infinity are no values, as NULL is none: neither levels, nor the view, nor what is read of raw rows has them,
and the rows that they are in are counted.
"""

from __future__ import annotations

import math
import random
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cratedb_retention.engine.query import Partial
from cratedb_retention.execution.query import fetch
from cratedb_retention.execution.rollups.levels import verify_rollups
from cratedb_retention.model.catalog import Column, Kind
from cratedb_retention.model.query.reading import Cascade, FetchRequest, Holding, Wanted
from cratedb_retention.model.rollups.aggregates import Aggregate, Part
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.rollups.rollup import Rollup, make_metric
from cratedb_retention.model.time import from_ms, parse_instant
from support.databases import TIME, CrateDatabase, Database, DuckDatabase, as_sent
from support.oracle import Row
from support.rollups import DAY, EVERYTHING, HOUR, MINUTE, START, RollupTables, check_level, windows
from support.tiers import examples

NOT_FINITE = (math.nan, math.inf, -math.inf)
COUNTER = (Aggregate.INCREASE, Aggregate.COUNT, Aggregate.NONFINITE)
METRICS = {"x": EVERYTHING, "r": EVERYTHING, "c": COUNTER}
TYPES = {"r": "REAL"}
ASKED = tuple(
    f"x:{a}" for a in ("min", "max", "sum", "count", "nonfinite", "first", "last", "avg", "stddev", "p0", "p50", "p100")
)
ALL = (*ASKED, *(asked.replace("x:", "r:") for asked in ASKED), "c:increase", "c:last", "c:nonfinite", "row_count")


def readings(count: int) -> list[Row]:
    """Two series; a third of their values are none, and one bucket has nothing else."""
    chance, rows = random.Random(7), []
    for i in range(count):
        for host in ("a", None):
            value = {name: chance.choice([*NOT_FINITE, None]) for name in METRICS}
            if not 20 <= i < 40:
                value |= {name: chance.randrange(-99, 99) / 4 for name in METRICS if chance.random() < 0.7}
                value["c"] = abs(value["c"] or 0.0)
            rows.append({"ts": START + i * MINUTE, "host": host, **value})
    return rows


def rolled_up(db: Database, rows: list[Row], name: str = "raw", **more: Any) -> tuple[RollupTables, Rollup, Rollup]:
    """A table with minutes and quarters of an hour."""
    rollups = RollupTables(db=db, engine=db.tool.engine, name=name, metrics=METRICS, types=TYPES, **more)
    rollups.create(rows)
    finer = rollups.level("5m")
    coarser = rollups.level("20m", below=finer)
    for rollup in (finer, coarser):
        assert rollups.roll_up(rollup, *windows(START, DAY, 1)).rows == len(rows)
    return rollups, finer, coarser


def cascade(*levels: Rollup | None, of: Rollup) -> Cascade:
    """What is read from raw rows (None) or levels."""
    holdings = tuple(
        Holding(rollup=level, table=level.table if level else of.source, start=START, end=START + DAY)
        for level in levels
    )
    return Cascade(
        source=of.source, time=of.time, dimensions=of.dimensions, metrics=of.metrics, zone=of.zone, holdings=holdings
    )


def answer(rollups: RollupTables, level: Rollup | None, of: Rollup) -> dict[tuple[Any, ...], dict[int, Any]]:
    """What one table alone says, by bucket and series, without NULL."""
    span = from_ms(START), from_ms(START + 2 * HOUR)
    request = FetchRequest(
        table_name="raw",
        table_schema=None,
        start=span[0],
        end=span[1],
        step=parse_interval("20m"),
        metrics=ALL,
        by=("host",),
    )
    fetched = fetch(rollups.engine, cascade(level, of=of), request, from_ms(START + DAY))
    return {row[:2]: {i: cell for i, cell in enumerate(row[2:-1]) if cell is not None} for row in fetched.rows}


def check_answers(rollups: RollupTables, finer: Rollup, coarser: Rollup) -> None:
    """Raw rows and levels say the same, and nothing of it is NaN or infinite."""
    right = answer(rollups, None, finer)
    assert all(math.isfinite(cell) for cells in right.values() for cell in cells.values())
    for level in (finer, coarser):
        found = answer(rollups, level, finer)
        assert found.keys() == right.keys()
        for key, cells in right.items():
            assert found[key] == pytest.approx(cells, rel=1e-6, abs=1e-6), key
    assert verify_rollups(rollups.engine, cascade(None, finer, coarser, of=finer)) == []


def test_levels_and_answers(db: Database) -> None:
    """Each level is what the other values say, in DOUBLE and REAL columns, and so is what raw rows answer."""
    rows = readings(60)
    rollups, finer, coarser = rolled_up(db, rows)
    for rollup in (finer, coarser):
        check_level(rollups, rollup, rows, START, START + DAY, tolerance=1e-6)
    check_answers(rollups, finer, coarser)


ANY = st.floats(-1e6, 1e6, width=32) | st.sampled_from([*NOT_FINITE, None, 0.0])


@settings(max_examples=examples(8, long=150), suppress_health_check=list(HealthCheck), deadline=None)
@given(st.lists(st.tuples(ANY, ANY, ANY), min_size=1, max_size=12))
def test_anything_on_duckdb(duck: DuckDatabase, values: list[tuple[Any, ...]]) -> None:
    """Whatever there is, levels are right."""
    check_anything(duck, values)


@settings(max_examples=examples(3, long=30), suppress_health_check=list(HealthCheck), deadline=None)
@given(st.lists(st.tuples(ANY, ANY, ANY), min_size=1, max_size=12))
def test_anything_on_cratedb(crate: CrateDatabase, values: list[tuple[Any, ...]]) -> None:
    """The same on CrateDB."""
    check_anything(crate, values)


def check_anything(db: Database, values: list[tuple[Any, ...]]) -> None:
    """A table of its own for each example."""
    rows: list[Row] = [
        {"ts": START + i * 3 * MINUTE, "host": "a", "x": x, "r": r, "c": c} for i, (x, r, c) in enumerate(values)
    ]
    rollups, finer, coarser = rolled_up(db, rows, f"t{uuid.uuid4().hex}")
    for rollup in (finer, coarser):
        check_level(rollups, rollup, rows, START, START + DAY, tolerance=1.0)


def test_dimension(db: Database) -> None:
    """A dimension that is NaN is a series of its own."""
    rollups = RollupTables(db=db, engine=db.tool.engine, dimensions=("n",), types={"n": "DOUBLE PRECISION"})
    rollups.create([{"ts": START, "n": n, "x": 1.0} for n in (math.nan, math.nan, 2.0)])
    rollup = rollups.level("1h")
    rollups.roll_up(rollup, *windows(START, DAY, 1))
    assert sorted(row["row_count"] for row in rollups.read(rollup.table)) == [1, 2]


def test_increase_after_a_nan_of_an_earlier_version(db: Database) -> None:
    """A last value that is NaN, as earlier versions stored it in levels, is none: an older one is the one before."""
    rollups = RollupTables(db=db, engine=db.tool.engine, metrics={"x": COUNTER})
    rollups.create([{"ts": START + i * HOUR, "host": "a", "x": x} for i, x in enumerate([1.0, 5.0, 7.0])])
    rollup = rollups.level("1h")
    rollups.roll_up(rollup, *windows(START, HOUR, 2))
    table = rollups.db.q(rollup.table.name)
    rollups.db.refresh(rollup.table.name)
    rollups.db.sql(f"UPDATE {table} SET x_last = ?, x_first = ? WHERE x_last = 5", as_sent([math.nan, math.nan]))
    rollups.db.refresh(rollup.table.name)
    rollups.db.sql(f"DELETE FROM {rollups.db.q('raw')} WHERE x < 7")
    rollups.roll_up(rollup, windows(START, HOUR, 3)[2])
    assert {row["ts"]: row["x_increase"] for row in rollups.read(rollup.table)}[START + 2 * HOUR] == 6.0


def test_stale_markers(db: Database) -> None:
    """What Prometheus' adapter stores: a run, the view, all that is read, and what `verify-rollups` says."""
    db.create("metrics", {"ts": TIME, "host": "TEXT", "value": "DOUBLE PRECISION"})
    values = [1.0, math.nan, 3.0, math.inf, -math.inf, None, math.nan]
    rows = [
        {"ts": f"2024-05-0{day}T0{i}:00:00Z", "host": "a", "value": v} for day in (1, 2) for i, v in enumerate(values)
    ]
    db.insert("metrics", rows)
    db.policy("downsample", "metrics", "forever", levels="1h:forever,1d:forever")
    assert db.run().ok
    for name in ("metrics_1h", "metrics_1d"):
        db.refresh(name)
        query = (
            f"SELECT sum(row_count), sum(value_count), min(value_min), max(value_max), sum(value_sum) FROM {db.q(name)}"
        )
        assert [tuple(row) for row in db.rows(query)] == [(14, 4, 1.0, 3.0, 8.0)]
    shown = "sum(row_count), sum(value_count), min(value_min), max(value_last), sum(value_avg)"
    assert [tuple(row) for row in db.rows(f"SELECT {shown} FROM {db.q('metrics_all')}")] == [(14, 4, 1.0, 3.0, 8.0)]
    assert db.tool.verify_rollups("metrics", db.schema) == []
    span = parse_instant("2024-05-01"), parse_instant("2024-05-03")
    asked = ("value:avg", "value:count", "value:nonfinite", "row_count")
    answered = db.tool.fetch(
        FetchRequest(
            table_name="metrics",
            table_schema=db.schema,
            start=span[0],
            end=span[1],
            step=parse_interval("1d"),
            metrics=asked,
        )
    )
    assert [row[1:-1] for row in answered.rows] == [(2.0, 2, 4, 7)] * 2


def test_nonfinite_of_a_rest() -> None:
    """How many values of a rest are NaN or infinite is known, also where it has no other values."""
    metric = make_metric(Column(name="x", type="DOUBLE", kind=Kind.NUMBER), (Aggregate.COUNT, Aggregate.NONFINITE))

    def found(count: int, nonfinite: int, rows: int) -> Partial:
        state = {Part.COUNT: count, Part.NONFINITE: nonfinite}
        return Partial(key=(0, ()), rows=rows, states={metric: state})

    whole, part = (Partial(key=(0, ()), seconds=seconds) for seconds in (60.0, 30.0))
    whole.add(found(2, 3, 5), "1d")
    part.add(found(2, 1, 3), "1h")
    rest = whole.without(part, 30.0)
    assert rest is not None
    assert rest.value(Wanted(metric, "nonfinite")) == 2
