"""
What is hard to reckon in SQL: counters, standard deviations of large values, percentiles.
"""

from __future__ import annotations

import math
import random
import sys
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cratedb_retention.execution.query import fetch
from cratedb_retention.model.query.reading import Cascade, FetchRequest, Holding
from cratedb_retention.model.rollups.aggregates import Aggregate
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.rollups.rollup import Rollup, Window
from cratedb_retention.model.time import from_ms
from support.databases import CrateDatabase, Database, DuckDatabase
from support.oracle import Row
from support.rollups import DAY, HOUR, MINUTE, START, RollupTables, check_level, windows
from support.tiers import examples

QUANTILES = {"p0": 0.0, "p50": 0.5, "p95": 0.95, "p99": 0.99, "p100": 1.0}


@pytest.fixture
def rollups(db: Database) -> RollupTables:
    """A raw table of hosts and one metric, on each engine."""
    return RollupTables(db=db, engine=db.retention().engine)


# Counters


def counters(count: int, seed: int = 1) -> list[Row]:
    """Two interleaved series that grow, are reset now and then, and have gaps."""
    chance, rows = random.Random(seed), []
    level = {"a": 1e6, None: 0.0}
    for i in range(count):
        for host, before in level.items():
            after = chance.choice([0.0, 2.5]) if chance.random() < 0.1 else before + chance.randrange(50)
            level[host] = after
            known = chance.random() > 0.1
            rows.append({"ts": START + i * 7 * MINUTE, "host": host, "x": after if known else None})
    return rows


def test_increase_across_borders(rollups: RollupTables) -> None:
    """A counter's increase is complete across buckets and windows, however these are computed: at once or in turn."""
    rollups.metrics = {"x": (Aggregate.INCREASE,)}
    rows = counters(300)
    rollups.create(rows)
    rollup = rollups.level("1h")
    for found in ([*windows(START, 6 * HOUR, 6)], windows(START, 6 * HOUR, 6)[2:4]):
        rollups.roll_up(rollup, *found)
        check_level(rollups, rollup, rows, START, START + 36 * HOUR)
    for window in windows(START, 6 * HOUR, 6):
        rollups.roll_up(rollup, window)
    check_level(rollups, rollup, rows, START, START + 36 * HOUR)


def test_increase_of_an_open_window(rollups: RollupTables) -> None:
    """An open window that is extended takes up where it was."""
    rollups.metrics = {"x": (Aggregate.INCREASE,)}
    rows = counters(200, seed=2)
    rollups.create(rows)
    rollup = rollups.level("1h")
    for hour in range(0, 20, 5):
        rollups.roll_up(
            rollup, Window(start=START, end=START + DAY, since=START + hour * HOUR, until=START + (hour + 5) * HOUR)
        )
    check_level(rollups, rollup, rows, START, START + 20 * HOUR)


def test_increase_without_the_source_before(rollups: RollupTables) -> None:
    """Where the raw rows before a window are gone, the level itself knows the last sample."""
    rollups.metrics = {"x": (Aggregate.INCREASE,)}
    rows = counters(300, seed=3)
    rollups.create(rows)
    rollup = rollups.level("1h")
    first, second = windows(START, 12 * HOUR, 2)
    rollups.roll_up(rollup, first)
    rollups.db.sql(f"DELETE FROM {rollups.db.q('raw')} WHERE ts < '2024-01-01T12:00:00Z'")
    rollups.roll_up(rollup, second)
    check_level(rollups, rollup, rows, START, second.end)


def test_increase_from_the_source_before(rollups: RollupTables) -> None:
    """Where the level has nothing before a window, the raw rows do, as far back as a window is long."""
    rollups.metrics = {"x": (Aggregate.INCREASE,)}
    rows = counters(200, seed=4)
    rollups.create(rows)
    rollup = rollups.level("1h")
    second = windows(START, 6 * HOUR, 2)[1]
    rollups.roll_up(rollup, second)
    check_level(rollups, rollup, rows, second.start, second.end)


# Standard deviations


def test_deviation_of_large_values(rollups: RollupTables) -> None:
    """A billion plus or minus one has a deviation of about one, from raw rows and from levels, per series."""
    rollups.metrics = {"x": (Aggregate.STDDEV,)}
    chance = random.Random(5)
    rows = [
        {"ts": START + i * MINUTE, "host": host, "x": offset + chance.choice([-1.0, 1.0])}
        for i in range(400)
        for host, offset in (("a", 1e9), ("b", 0.0), (None, -3e9))
    ]
    rollups.create(rows)
    finer, day = rollups.level("15m"), windows(START, DAY, 1)
    coarser = rollups.level("1h", below=finer)
    for rollup in (finer, coarser):
        rollups.roll_up(rollup, *day)
        # A mean of 3e9 is known to 2e-7, and that is how well the deviation between means is known.
        check_level(rollups, rollup, rows, START, START + DAY, tolerance=1e-6)


def test_deviation_beyond_reason(rollups: RollupTables) -> None:
    """Values whose squares no double can hold leave the deviation unknown; the others are not touched by it."""
    rollups.metrics = {"x": (Aggregate.STDDEV,)}
    rollups.create(
        [{"ts": START + i, "host": host, "x": x} for host, x in (("a", 1e300), ("b", 2.0)) for i in range(2)]
    )
    finer = rollups.level("1m")
    coarser = rollups.level("1h", below=finer)
    for rollup in (finer, coarser):
        rollups.roll_up(rollup, *windows(START, DAY, 1))
        assert {row["host"]: row["x_stddev"] for row in rollups.read(rollup.table)} == {"a": None, "b": 0.0}


@settings(max_examples=examples(15, long=200), suppress_health_check=list(HealthCheck))
@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=30), st.integers(1, 10))
def test_deviation_of_anything_on_duckdb(duck: DuckDatabase, values: list[float], step: int) -> None:
    """Whatever the values are, two levels know their deviation."""
    deviations(duck, values, step)


@settings(max_examples=examples(4, long=30), suppress_health_check=list(HealthCheck))
@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=30), st.integers(1, 10))
def test_deviation_of_anything_on_cratedb(crate: CrateDatabase, values: list[float], step: int) -> None:
    """The same on CrateDB."""
    deviations(crate, values, step)


def deviations(db: Database, values: Sequence[float], step: int) -> None:
    """A table of its own for each example, since one database serves all of them."""
    rollups = RollupTables(
        db=db, engine=db.tool.engine, name=f"t{uuid.uuid4().hex}", metrics={"x": (Aggregate.STDDEV,)}
    )
    rows = [{"ts": START + i * step * 7000, "host": "a", "x": x} for i, x in enumerate(values)]
    rollups.create(rows)
    finer = rollups.level("10s")
    coarser = rollups.level("1h", below=finer)
    for rollup in (finer, coarser):
        rollups.roll_up(rollup, *windows(START, DAY, 1))
    (found,) = rollups.read(coarser.table)
    mean = math.fsum(values) / len(values)
    wanted = math.sqrt(math.fsum((x - mean) ** 2 for x in values) / len(values))
    assert math.isclose(found["x_stddev"], wanted, rel_tol=1e-6, abs_tol=max(map(abs, values)) * 1e-14)


# Percentiles


def distribution(count: int) -> list[Row]:
    """Values of all sizes and both signs, zero and the largest that there are among them, in two series."""
    chance = random.Random(6)
    rows = [{"ts": START, "host": host, "x": x} for host in ("a", None) for x in (sys.float_info.max, -1e308)]
    for i in range(count):
        kinds = [chance.gauss(0, 10), chance.lognormvariate(0, 5), -chance.random() * 1e-9, 0.0, 1e-300, 1e200, None]
        for host in ("a", None):
            rows.append({"ts": START + i * 53_000, "host": host, "x": chance.choice(kinds)})
    return rows


def quantiles(rollups: RollupTables, rollup: Rollup, *by: str) -> dict[Any, dict[str, Any]]:
    """What the distributions of a level say of its first day, by group."""
    holdings = (Holding(rollup=rollup, table=rollup.table, start=None, end=None),)
    cascade = Cascade(
        source=rollup.source,
        time=rollup.time,
        dimensions=rollup.dimensions,
        metrics=rollup.metrics,
        zone=rollup.zone,
        holdings=holdings,
    )
    span = (from_ms(START), from_ms(START + DAY))
    asked = tuple(f"x:{name}" for name in QUANTILES)
    answer = fetch(
        rollups.engine,
        cascade,
        FetchRequest(
            table_name="raw",
            table_schema=None,
            start=span[0],
            end=span[1],
            step=parse_interval("1d"),
            metrics=asked,
            by=by,
        ),
        span[1],
    )
    assert answer.levels == [str(rollup.interval)]
    return {row[1 : 1 + len(by)]: dict(zip(QUANTILES, row[1 + len(by) : -1], strict=True)) for row in answer.rows}


def check_quantiles(found: dict[str, float], values: list[float]) -> None:
    """Each is within 1 % of the value of its rank."""
    values = sorted(values)
    for name, q in QUANTILES.items():
        exact = values[math.floor(q * (len(values) - 1))]
        assert math.isclose(found[name], exact, rel_tol=0.0101, abs_tol=0), (name, found[name], exact)


def test_percentiles(rollups: RollupTables) -> None:
    """Percentiles are within 1 % of the exact ones, from raw rows and from merged levels, by series and for all."""
    rollups.metrics = {"x": (Aggregate.PERCENTILES, Aggregate.COUNT)}
    rows = distribution(1500)
    rollups.create(rows)
    finer = rollups.level("15m")
    coarser = rollups.level("1h", below=finer)
    for rollup in (finer, coarser):
        assert rollups.roll_up(rollup, *windows(START, DAY, 1)).rows == len(rows)
        known = [row for row in rows if row["x"] is not None]
        check_quantiles(quantiles(rollups, rollup)[()], [row["x"] for row in known])
        by_host = quantiles(rollups, rollup, "host")
        assert by_host.keys() == {("a",), (None,)}
        for (host,), found in by_host.items():
            check_quantiles(found, [row["x"] for row in known if row["host"] == host])


def test_percentiles_are_replaced(rollups: RollupTables) -> None:
    """Recomputing a window leaves no bin of values that are gone; several metrics stay apart."""
    rollups.metrics = {"x": (Aggregate.PERCENTILES,), "y": (Aggregate.PERCENTILES,)}
    rollups.create([{"ts": START + i, "host": "a", "x": float(i), "y": -float(i)} for i in range(100)])
    rollup = rollups.level("1h")
    rollups.roll_up(rollup, *windows(START, DAY, 1))
    rollups.db.sql(f"DELETE FROM {rollups.db.q('raw')} WHERE x > 9")
    rollups.roll_up(rollup, *windows(START, DAY, 1))
    bins = rollups.read(rollup.sketch)
    assert {metric: sum(row["count"] for row in bins if row["metric"] == metric) for metric in ("x", "y")} == {
        "x": 10, "y": 10
    }  # fmt: skip
    assert {row["sign"] for row in bins if row["metric"] == "y"} == {-1, 0}
    assert quantiles(rollups, rollup)[()]["p100"] == pytest.approx(9, rel=0.01)


def test_what_has_no_bin(rollups: RollupTables) -> None:
    """Infinity and NaN are rows, but have no place in a distribution."""
    rollups.metrics = {"x": (Aggregate.PERCENTILES, Aggregate.STDDEV)}
    rollups.create([{"ts": START, "host": "a", "x": 1.0}])
    for value in ("Infinity", "-Infinity", "NaN"):
        rollups.db.sql(
            f"INSERT INTO {rollups.db.q('raw')} (ts, host, x)"
            f" VALUES ('2024-01-01T00:00:00Z', 'a', CAST('{value}' AS DOUBLE PRECISION))"
        )
    rollup = rollups.level("1h")
    rollups.roll_up(rollup, *windows(START, DAY, 1))
    assert [row["count"] for row in rollups.read(rollup.sketch)] == [1]
    assert [(row["row_count"], row["x_count"], row["x_stddev"]) for row in rollups.read(rollup.table)] == [(4, 1, 0.0)]
