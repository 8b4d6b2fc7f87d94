"""
Columns with several values in each row are neither a row's time nor numbers: arrays, what is in arrays of objects, and
DuckDB's lists, maps and unions.
"""

from __future__ import annotations

import pytest

from cratedb_retention.model.catalog import Kind, Selector
from support.databases import NUMBER, TIME, CrateDatabase, Database, DuckDatabase

DAYS = ["2024-05-10T10:10:00Z", "2024-06-24T23:59:00Z"]
ON_CRATEDB = {
    "a": "ARRAY(OBJECT AS (x DOUBLE PRECISION, ts TIMESTAMP, deep OBJECT AS (y INTEGER, l ARRAY(BIGINT)), b BOOLEAN))",
    "at_": "ARRAY(TIMESTAMP)",
    "an": "ARRAY(DOUBLE PRECISION)",
    "ai": "ARRAY(INTEGER)",
    "ad": "ARRAY(NUMERIC(10, 2))",
    "o": "OBJECT AS (t ARRAY(TIMESTAMP), n ARRAY(REAL), a ARRAY(OBJECT AS (q BIGINT, t TIMESTAMP)))",
    "aa": "ARRAY(ARRAY(DOUBLE PRECISION))",
}
ON_DUCKDB = {
    "at_": "TIMESTAMP[]",
    "az": "TIMESTAMPTZ[3]",
    "dd": "DATE[][]",
    "ad": "DECIMAL(10, 2)[]",
    "ad2": "DECIMAL(10, 2)[2]",
    "an": "DOUBLE[]",
    "s": "STRUCT(ts TIMESTAMP[], x DOUBLE[])",
    "sa": "STRUCT(ts TIMESTAMP, x DOUBLE)[]",
    "m": "MAP(TIMESTAMP, DOUBLE)",
    "u": "UNION(t TIMESTAMP, x DOUBLE)",
}


def arrays(db: Database) -> dict[str, str]:
    """The columns to try."""
    return ON_CRATEDB if isinstance(db, CrateDatabase) else ON_DUCKDB


def kinds(db: Database) -> dict[str, Kind]:
    """What planning takes each column of a table for."""
    catalog = db.tool.engine.read_catalog([Selector(schema=db.schema, name="t", keys=True)])
    return {name: column.kind for name, column in catalog.tables[db.table("t")].columns.items()}


def test_neither_times_nor_numbers(db: Database) -> None:
    """Not one of them, nor of what is in them, is a time, a number, a text or a truth."""
    db.create("t", {"ts": TIME, "x": NUMBER, **arrays(db)})
    found = kinds(db)
    assert len(found) > len(arrays(db))
    assert {kind for name, kind in found.items() if name not in ("ts", "x")} == {Kind.OTHER}


@pytest.mark.parametrize("strategy", ["delete", "downsample"])
def test_the_only_time(db: Database, strategy: str) -> None:
    """They are no candidates for the rows' time, so that the one timestamp is it; and none for metrics."""
    db.create("t", {"ts": TIME, "x": NUMBER, **arrays(db)})
    db.insert("t", [{"ts": day, "x": 1.0} for day in DAYS])
    levels = {"levels": "1h:forever", "exclude": list(arrays(db))} if strategy == "downsample" else {}
    db.policy(strategy, "t", "30d", **levels)
    assert db.tool.plan().needs_attention == ()
    assert [c.levels[0].rollup.metrics[0].name for c in db.tool.planned_cascades()] == ["x"] * bool(levels)
    assert db.run().ok
    assert db.run().ok
    assert db.count("t") == 1


def test_nothing_but_arrays(db: Database) -> None:
    """A table whose times are all in arrays has none, and nothing of it is deleted."""
    db.create("t", {"n": "TEXT", **arrays(db)})
    db.insert("t", [{"n": "a"}])
    db.policy("delete", "t", "1d")
    [problem] = db.tool.plan().needs_attention
    assert "no timestamp column" in problem.reason
    db.run()
    assert db.count("t") == 1


@pytest.mark.parametrize(
    ("field", "reason"), [("time_column", "time_column: at_ is .*, not a timestamp"), ("metrics", "not a number")]
)
def test_named_by_a_policy(db: Database, field: str, reason: str) -> None:
    """One that a policy names is a problem, in words."""
    db.create("t", {"ts": TIME, "x": NUMBER, **arrays(db)})
    levels = {"levels": "1h:forever", "exclude": [name for name in arrays(db) if name != "at_"]}
    db.policy("downsample", "t", "30d", **{**levels, field: "at_" if field == "time_column" else ["at_"]})
    [problem] = db.tool.plan().needs_attention
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(problem.reason)


def test_a_filter(crate: CrateDatabase) -> None:
    """A value can't be compared with an array, which is said before any statement fails."""
    crate.create("t", {"ts": TIME, **ON_CRATEDB})
    for name in ("an", "a['x']", "o['a']['q']", "at_"):
        policy = crate.policy("delete", "t", "1d", where={name: "1"})
        [problem] = crate.tool.plan().needs_attention
        assert f"where: {name} is" in problem.reason
        crate.tool.delete_policy(policy.id or "")


def test_partitions_from_an_array(crate: CrateDatabase) -> None:
    """The day of an array's first time says how old a row may be, not how old it is: nothing goes a day too early."""
    first_day = f"{TIME} GENERATED ALWAYS AS date_trunc('day', at_[1])"
    crate.create("t", {"at_": "ARRAY(TIMESTAMP WITH TIME ZONE)", "n": "TEXT", "day": first_day}, by=["day"])
    crate.insert("t", [{"at_": ["2024-06-02T23:00:00Z"], "n": "a"}])
    crate.policy("delete", "t", "29d")
    crate.time.set("2024-07-01T12:00:00+00:00")
    [problem] = crate.tool.plan().needs_attention
    assert "day is computed from at_, which is timestamp with time zone_array, not a timestamp" in problem.reason
    crate.run()
    assert crate.count("t") == 1


def test_partitions_from_a_text(duck: DuckDatabase) -> None:
    """The same of a day that is cut from a text."""
    day = "TIMESTAMP GENERATED ALWAYS AS (CAST(CAST(n AS DATE) AS TIMESTAMP))"
    duck.create("t", {"n": "TEXT", "day": day}, by=["day"])
    duck.insert("t", [{"n": "2024-06-02T23:00:00"}])
    duck.policy("delete", "t", "29d")
    duck.time.set("2024-07-01T12:00:00+00:00")
    [problem] = duck.tool.plan().needs_attention
    assert "day is computed from n" in problem.reason
    duck.run()
    assert duck.count("t") == 1
