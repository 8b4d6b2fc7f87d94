"""Verifying rollups on both engines: what is right passes, and each thing that is wrong is found where it is."""

from __future__ import annotations

import json
import math

import pytest

from cratedb_retention.execution.rollups.levels import Difference, verify_rollups
from cratedb_retention.model.query.reading import Cascade
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.rollups.rollup import level_table
from support.cascades import Source, chained, create, make_rows
from support.catalogs import ms
from support.databases import Database
from support.tiers import others_on_duckdb

HOLDINGS = {
    "raw": ("2024-03-31T01:20", None),
    "1m": ("2024-03-30T22:00", "2024-04-01T05:58"),
    "1h": (None, "2024-04-01T05:00"),
    "1d": (None, "2024-04-01"),
}


def verify(db: Database, cascade: Cascade) -> list[Difference]:
    """Compare the levels of a cascade."""
    return verify_rollups(db.tool.engine, cascade)


def change(db: Database, level: str, what: str, where: str = "TRUE") -> None:
    """Spoil a level."""
    table = db.q(level_table(db.table("weather"), parse_interval(level)).name)
    db.sql(f"UPDATE {table} SET {what} WHERE {where}")


def find(found: list[Difference], level: str) -> list[tuple[str, int, int]]:
    """What differs in a level, and where."""
    return [(d.what, d.start, d.end) for d in found if d.level == level]


@pytest.mark.parametrize("zone", ["Europe/Vienna", *others_on_duckdb("UTC")])
def test_all_is_well(db: Database, zone: str) -> None:
    """Right levels are right, in few statements: two for each level, and what makes rows visible or finds the years."""
    cascade = chained(create(db, Source(rows=make_rows(36), zone=zone), HOLDINGS))
    database = db.tool.engine.database
    before = database.statements
    assert verify(db, cascade) == []
    assert database.statements - before <= 2 * 3 + 2 + 4


def test_wrong_number_of_rows(db: Database) -> None:
    """A bucket with a row too many is named, with what was expected; the level above differs from it as well."""
    cascade = chained(create(db, Source(rows=make_rows(36)), HOLDINGS))
    change(db, "1h", "row_count = row_count + 1", "ts = '2024-03-31T07:00:00Z' AND station = 'LOWW'")
    found = verify(db, cascade)
    assert find(found, "1h") == [("row_count", ms("2024-03-31T07:00"), ms("2024-03-31T08:00"))]
    assert find(found, "1d") == [("row_count", ms("2024-03-31"), ms("2024-04-01"))]
    (hour,) = (d for d in found if d.level == "1h")
    assert hour.source == "1m"
    assert hour.found == (hour.expected or 0) + 1


def test_wrong_sum(db: Database) -> None:
    """A sum that is off by more than rounding, and a count."""
    cascade = chained(create(db, Source(rows=make_rows(36)), HOLDINGS))
    change(
        db,
        "1m",
        "temperature_sum = temperature_sum + 0.1",
        "station = 'LOWW' AND ts = (SELECT max(ts) FROM " + db.q("weather_1m") + " WHERE station = 'LOWW')",
    )
    change(db, "1h", "bytes_count = bytes_count - 1", "ts = '2024-03-31T07:00:00Z' AND station = 'LOWW'")
    found = verify(db, cascade)
    assert [what for what, _, _ in find(found, "1m")] == ["temperature_sum"]
    assert find(found, "1h") == [("bytes_count", ms("2024-03-31T07:00"), ms("2024-03-31T08:00"))]


def test_sum_that_is_nan(db: Database) -> None:
    """Earlier versions stored NaN: it is found, and shown as JSON can."""
    cascade = chained(create(db, Source(rows=make_rows(36)), HOLDINGS))
    change(db, "1h", "temperature_sum = CAST('NaN' AS DOUBLE PRECISION)", "ts = '2024-03-31T07:00:00Z'")
    found = verify(db, cascade)
    assert find(found, "1h") == [("temperature_sum", ms("2024-03-31T07:00"), ms("2024-03-31T08:00"))]
    assert math.isnan(found[0].found or 0.0)
    assert json.loads(json.dumps(found[0].to_dict(), allow_nan=False))["found"] is None


def test_what_is_missing_and_what_is_too_much(db: Database) -> None:
    """Buckets that a level lacks, and such as the level below knows nothing of."""
    cascade = chained(create(db, Source(rows=make_rows(36)), HOLDINGS))
    db.sql(f"DELETE FROM {db.q('weather_1h')} WHERE ts = '2024-03-31T07:00:00Z'")
    db.sql(f"DELETE FROM {db.q('weather_1m')} WHERE ts >= '2024-03-31T09:00:00Z' AND ts < '2024-03-31T10:00:00Z'")
    found = verify(db, cascade)
    rows = [d for d in found if d.what == "row_count"]
    assert [(d.level, d.found) for d in rows if d.start == ms("2024-03-31T07:00") and d.level == "1h"] == [("1h", 0)]
    assert [(d.level, d.expected) for d in rows if d.start == ms("2024-03-31T09:00") and d.level == "1h"] == [("1h", 0)]
    assert any(d.level == "1m" and d.found == 0 for d in rows)


def test_empty(db: Database) -> None:
    """Without rows there is nothing to compare."""
    assert verify(db, chained(create(db, Source(rows=[]), {"raw": (None, None), "1h": (None, None)}))) == []
