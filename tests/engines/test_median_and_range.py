"""
The aggregates ``median`` and ``range``: wherever aggregates are, from raw rows, levels, the view, and what is fetched.
"""

from __future__ import annotations

import datetime as dt
import math
import random
from typing import Any

import pytest

from cratedb_retention.model.query.reading import FetchRequest
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.time import parse_instant
from support.databases import TIME, Database
from support.oracle import Row
from support.tiers import DECIDED

DAYS, HOSTS = ("2024-05-01", "2024-05-02"), ("a", None)


def make_rows() -> list[Row]:
    """Two days of two series, with values of both signs, NULL and NaN."""
    chance = random.Random(3)
    values = [-5.5, 0.0, 17.25, 120.5, None, math.nan]
    return [
        {
            "ts": f"{day}T{i // 2:02}:{i % 2 * 30:02}:00Z",
            "host": host,
            "x": chance.choice(values),
            "d": str(i - 10) + ".25",
        }
        for day in DAYS
        for i in range(40)
        for host in HOSTS
    ]


def right(rows: list[Row], day: str, host: str | None) -> tuple[float, float, float]:
    """The median, the range, and that of the decimals."""
    mine = [row for row in rows if row["ts"].startswith(day) and row["host"] == host]
    values = sorted(row["x"] for row in mine if row["x"] is not None and math.isfinite(row["x"]))
    decimals = [float(row["d"]) for row in mine]
    median = values[math.floor((len(values) - 1) / 2)]
    return median, values[-1] - values[0], max(decimals) - min(decimals)


def check(found: dict[tuple[str, str | None], Any], rows: list[Row]) -> None:
    """The median is found with an error of 1 %, ranges exactly."""
    assert found.keys() == {(day, host) for day in DAYS for host in HOSTS}
    for (day, host), (median, spread, decimal) in found.items():
        wanted = right(rows, day, host)
        assert math.isclose(median, wanted[0], rel_tol=0.0101)
        assert (spread, float(decimal)) == wanted[1:]


def fetched(db: Database) -> dict[tuple[str, str | None], Any]:
    """As ``fetch`` gives them, by day and host."""
    request = FetchRequest(
        table_name="metrics",
        table_schema=db.schema,
        start=parse_instant(DAYS[0]),
        end=dt.datetime(2024, 5, 3, tzinfo=dt.UTC),
        step=parse_interval("1d"),
        metrics=("x:median", "x:range", "d:range"),
        by=("host",),
    )
    rows: Any = db.tool.fetch(request).rows
    return {(row[0].date().isoformat(), row[1]): row[2:5] for row in rows}


@DECIDED
def test_everywhere(db: Database) -> None:
    """From raw rows, from levels with and without raw rows beside them, and in the view."""
    rows = make_rows()
    db.create("metrics", {"ts": TIME, "host": "TEXT", "x": "DOUBLE PRECISION", "d": "DECIMAL(10, 2)"})
    db.insert("metrics", rows)
    more = {"metrics": ["x", "d"], "aggregates": {"x": ["median", "range"], "d": ["range"]}}
    db.policy("downsample", "metrics", "1y", levels="1h:10y,1d:forever", **more)
    check(fetched(db), rows)
    db.time.set("2024-05-03T00:00:00+00:00")
    assert db.run().ok
    check(fetched(db), rows)
    assert "x:median" in [f"x:{name}" for name in db.tool.cascade("metrics", db.schema).metrics[0].answers]
    view = f"SELECT ts, host, x_median, x_range, d_range FROM {db.q('metrics_all')}"
    raw = {(row[2], row[3]) for row in db.rows(f"{view} WHERE level = 'raw' AND x_max IS NOT NULL")}
    assert raw == {(value, 0) for value in (-5.5, 0.0, 17.25, 120.5)}
    db.time.set("2030-05-03T00:00:00+00:00")
    assert db.run(accepted=True).ok
    assert db.count("metrics") == 0
    check(fetched(db), rows)
    levels = db.rows(f"{view} WHERE level = '1h'")
    assert len(levels) == len(DAYS) * 20 * len(HOSTS)
    db.time.set("2050-05-03T00:00:00+00:00")
    assert db.run(accepted=True).ok
    days = db.rows(view)
    assert len(days) == 4
    stored = f"SELECT ts, host, x_range, d_range FROM {db.q('metrics_1d')}"
    db.refresh("metrics_1d")
    assert sorted((row[2], float(row[3])) for row in db.rows(stored)) == sorted((row[3], float(row[4])) for row in days)
    host_of: dict[Any, Any] = {(str(row[0]), row[1]): row[2:5] for row in days}
    texts = sorted({str(row[0]) for row in days})
    check({(DAYS[texts.index(time)], host): cells for (time, host), cells in host_of.items()}, rows)


def test_one_in_the_middle(db: Database) -> None:
    """The view tells the value in the middle of three, and the first of two in the middle."""
    db.create("few", {"ts": TIME, "x": "DOUBLE PRECISION"})
    hours = {1: [1.0, 2.0, 300.0], 2: [4.0, 5.0, 6.0, 700.0]}
    db.insert("few", [{"ts": f"2024-05-01T0{hour}:00:00Z", "x": x} for hour, values in hours.items() for x in values])
    db.policy("downsample", "few", "1d", levels="1h:forever", aggregates={"x": ["median"]})
    for day in ("05-03", "09-10"):  # Rolled up, and then expired.
        db.time.set(f"2024-{day}T00:00:00+00:00")
        assert db.run().ok
    db.refresh("few_1h")
    found = sorted(row[0] for row in db.rows(f"SELECT x_median FROM {db.q('few_all')} WHERE level = '1h'"))
    assert found == pytest.approx([2.0, 5.0], rel=0.0101)
