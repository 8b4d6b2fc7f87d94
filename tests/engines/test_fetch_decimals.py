"""Values and sums of decimal columns are read with all their digits, from levels and from raw rows alike."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from cratedb_retention.model.query.reading import Fetched, FetchRequest, Fill
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.time import parse_instant
from support.databases import TIME, Database, DuckDatabase

DAY = f"{TIME} GENERATED ALWAYS AS (date_trunc('day', ts))"
# No double is any of these, nor a sum of some of them.
VALUES = ["0.1", "0.2", "12345678901234567.89", None, "-0.3", "98765432109876543.21"]
METRICS = ("x:sum", "x:min", "x:max", "x:first", "x:last", "x:avg", "x:count", "x:stddev")


def prepare(db: Database, run: bool = True) -> None:
    """Two values on each of three days of May, and the same on one of July, which stay raw."""
    kind = "DECIMAL(20, 2)" if isinstance(db, DuckDatabase) else "NUMERIC(20, 2)"
    db.create("money", {"ts": TIME, "k": "TEXT", "x": kind, "day": DAY}, by=["day"])
    times = [f"2024-05-0{1 + i // 2}T0{i}:10" for i in range(6)] + [f"2024-07-01T0{i}:10" for i in range(6)]
    table = db.q("money")
    for time, value in zip(times, VALUES * 2, strict=True):
        written = "NULL" if value is None else f"CAST('{value}' AS {kind})"
        db.sql(f"INSERT INTO {table} (ts, k, x) VALUES ('{time}', 'a', {written})")
    db.refresh("money")
    db.policy(
        "downsample",
        "money",
        "20d",
        levels="1d:30d,1mo:forever",
        aggregates={"x": ["avg", "min", "max", "first", "last", "stddev"]},
    )
    db.time.set("2024-07-01T12:00:00+00:00")
    if run:
        assert db.tool.run().ok
        assert db.tool.run().ok


def ask(db: Database, step: str, **more: Any) -> Fetched:
    """Everything of May to July."""
    span = (parse_instant("2024-05-01"), parse_instant("2024-07-02"))
    return db.tool.fetch(
        replace(
            FetchRequest(
                table_name="money",
                table_schema=db.schema,
                start=span[0],
                end=span[1],
                step=parse_interval(step),
                metrics=METRICS,
            ),
            **more,
        )
    )


def numbers(*texts: str | None) -> list[Decimal | None]:
    """Decimals."""
    return [None if text is None else Decimal(text) for text in texts]


WHOLE = numbers(
    "111111111011111111.10", "-0.30", "98765432109876543.21", "0.10", "98765432109876543.21", "22222222202222222.22"
)


def test_levels_and_raw_rows_agree(db: Database) -> None:
    """A month of a level is what the rows of a day in July are, to the last digit."""
    prepare(db)
    fetched = ask(db, "1mo")
    assert [row[-1] for row in fetched.rows] == ["1mo", "raw"]
    for row in fetched.rows:
        assert list(row[1:7]) == WHOLE
        assert all(isinstance(value, Decimal) for value in row[1:7])
        assert row[7] == 5
        assert row[8] == pytest.approx(38797110417160000, rel=0.2)
    assert fetched.rows[0][8] == pytest.approx(fetched.rows[1][8])


def test_days(db: Database) -> None:
    """Three tenths are three tenths, and a mean is no longer than it need be."""
    prepare(db)
    fetched = ask(db, "1d", metrics=("x:sum", "x:avg"))
    days = [row[1:3] for row in fetched.rows if row[-1] != "1mo"]
    assert days[-1] == (Decimal("111111111011111111.10"), Decimal("22222222202222222.22"))
    assert sum(row[1] for row in fetched.rows if isinstance(row[1], Decimal)) == 2 * Decimal("111111111011111111.10")
    raw = ask(db, "1h", metrics=("x:sum",), start=parse_instant("2024-07-01"))
    assert [row[1] for row in raw.rows] == numbers(*VALUES)


def test_without_rollups(db: Database) -> None:
    """Rows that no policy has rolled up yet are read in the same way."""
    prepare(db, run=False)
    (may, july) = ask(db, "1mo").rows
    assert list(may[1:7]) == list(july[1:7]) == WHOLE


def test_forms(db: Database) -> None:
    """Each form has all digits: numbers in JSON, digits in CSV, decimals in Arrow."""
    prepare(db)
    fetched = ask(db, "1mo", metrics=("x:sum", "x:avg", "x:count", "x:stddev"), by=("k",))
    total, mean = Decimal("111111111011111111.10"), Decimal("22222222202222222.22")
    rows = json.loads(fetched.to_json(), parse_float=Decimal)
    assert [(row["x_sum"], row["x_avg"], row["x_count"], row["k"]) for row in rows] == [(total, mean, 5, "a")] * 2
    table = list(csv.DictReader(io.StringIO(fetched.to_csv())))
    assert [(row["x_sum"], row["x_avg"]) for row in table] == [("111111111011111111.10", "22222222202222222.22")] * 2
    arrow = fetched.to_arrow()
    assert arrow.column("x_sum").to_pylist() == [total, total]
    assert arrow.column("x_avg").to_pylist() == [mean, mean]
    assert [str(arrow.schema.field(name).type) for name in ("x_sum", "x_count", "x_stddev")] == [
        "decimal128(38, 2)",
        "double",
        "double",
    ]
    assert fetched.to_bytes("parquet")


def test_fill(db: Database) -> None:
    """What stands between two decimals is one, too."""
    prepare(db, run=False)
    rows = ask(db, "1d", metrics=("x:sum", "x:avg"), fill=Fill.LINEAR, end=parse_instant("2024-05-04")).rows
    assert [row[1] for row in rows] == numbers("0.30", "12345678901234567.89", "98765432109876542.91")
    hours = ask(
        db,
        "1h",
        metrics=("x:avg",),
        fill=Fill.LINEAR,
        start=parse_instant("2024-05-02"),
        end=parse_instant("2024-05-04"),
    ).rows
    assert all(isinstance(row[1], Decimal) for row in hours[3:30])
