"""Tables without a policy, older data and suggestions on real databases: sizes, growth, empty partitions."""

from __future__ import annotations

from typing import Any

import pytest

from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model.duration import parse_duration
from cratedb_retention.model.policies.policy import make_policy
from cratedb_retention.planning.overview.survey import Survey
from support.databases import MONTH, NUMBER, TIME, CrateDatabase, Database

DAY = MONTH.replace("month", "day")


def survey(db: Database, older_than: str = "", every: bool = False) -> Survey:
    """What is found of the tables of a test; others may use the same CrateDB."""
    found = db.tool.survey(db.tool.prepare(every=every), parse_duration(older_than) if older_than else None)
    return Survey(
        findings=tuple(each for each in found.findings if each.table.schema == db.schema),
        notes=tuple(each for each in found.notes if each.table.schema == db.schema),
        ungoverned=tuple(each for each in found.ungoverned if each.table.schema == db.schema),
    )


def suggested(db: Database, **more: Any) -> dict[str, dict[str, Any]]:
    """The policies that are suggested for the tables of a test."""
    found = (dict(one.policy) for one in db.tool.suggest(**more).policies)
    return {policy["table_name"]: policy for policy in found if policy["table_schema"] == db.schema}


@pytest.fixture
def tables(db: Database) -> Database:
    """Days of June, rows of May without partitions, numbers, and a table with a policy."""
    db.create("visits", {"ts": TIME, "n": "TEXT", "day": DAY}, by=["day"])
    db.fill("visits", [f"2024-06-{day:02d}T{hour:02d}:00:00Z" for day in range(3, 31) for hour in (0, 6, 12, 18)])
    db.fill("visits", ["2024-07-01T12:00:00Z"] * 4)
    db.create("orders", {"ts": TIME, "n": "TEXT"})
    db.fill("orders", [f"2024-05-{day:02d}T00:00:00Z" for day in range(1, 32)])
    db.create("numbers", {"x": NUMBER})
    db.create("kept", {"ts": TIME, "n": "TEXT", "day": DAY}, by=["day"])
    db.fill("kept", ["2024-01-01T00:00:00Z", "2024-07-01T00:00:00Z"])
    db.policy("delete", "kept", "forever", id="kept")
    return db


def test_tables_without_a_policy(tables: Database) -> None:
    """Each table without a policy has its rows, on CrateDB its size, and its growth if partitions tell it."""
    found = {each.table.name: each for each in survey(tables).ungoverned}
    assert set(found) == {"visits", "orders", "numbers"}
    visits, orders, numbers = found["visits"], found["orders"], found["numbers"]
    assert (visits.partitions, visits.rows, visits.growth.rows) == (29, 116, 4)
    assert (orders.partitions, orders.rows, orders.growth) == (0, 31, (None, None))
    assert (numbers.code, visits.code, orders.code) == ("no-time-column", None, None)
    together = {each.table.name: each for each in survey(tables, every=True).ungoverned}
    for name, each in found.items():
        assert (each.rows, each.partitions, each.oldest, each.newest) == (
            together[name].rows,
            together[name].partitions,
            together[name].oldest,
            together[name].newest,
        )
    sizes = [visits.size, orders.size, visits.growth.size]
    if tables.product == "CrateDB":
        assert all(size and size > 0 for size in sizes)
    else:
        assert sizes == [None, None, None]
    assert survey(tables).notes == ()


def test_older_data(tables: Database) -> None:
    """Rows and partitions that a policy with this period would delete are counted, also those of other policies."""
    found = {each.table.name: each for each in survey(tables, "40d").findings}
    assert set(found) == {"orders", "kept"}
    # Before 23 May there are 22 midnights.
    assert found["orders"].message.startswith("22 rows older than 40d; no policy removes all of it")
    assert found["kept"].message.startswith("1 partition, 1 row")
    assert "delete after forever (kept) keeps it longer" in found["kept"].message
    assert survey(tables, "1y").findings == ()


def test_suggestions(tables: Database) -> None:
    """Suggestions are made for tables with a time, stored as they are, and keep all present data."""
    found = suggested(tables)
    assert {name: policy["retention_period"] for name, policy in found.items()} == {"visits": "30d", "orders": "90d"}
    assert found["visits"]["expected_max"] == {"partitions": 62}
    for policy in suggested(tables, enabled=True).values():
        tables.tool.policies.create(**policy)
    assert suggested(tables) == {}
    assert [task.table.name for task in tables.tool.plan().tasks] == []
    assert {each.table.name for each in survey(tables).ungoverned} == {"numbers"}


def test_times_that_are_seconds(db: Database) -> None:
    """A table that is partitioned by a whole number gets a policy with its unit, which works."""
    db.create("readings", {"second": "BIGINT", "n": "TEXT"}, by=["second"])
    db.insert("readings", [{"second": second, "n": str(second)} for second in (1_704_067_200, 1_719_800_000)])
    (policy,) = suggested(db).values()
    assert (policy["partition_column"], policy["time_unit"], policy["retention_period"]) == ("second", "s", "1y")
    db.tool.policies.create(**{**policy, "retention_period": "30d", "enabled": True})
    assert make_policy(**policy).time_unit == "s"
    assert db.run().ok
    assert db.left("readings") == ["1719800000"]


@pytest.mark.long("make test has it on DuckDB; what is chosen is decided by the toolkit", on="cratedb")
def test_a_selection(tables: Database) -> None:
    """With a selection, only the tables of its policies are looked at."""
    prepared = tables.tool.prepare(selection=Selection(policy_id="kept"))
    found = tables.tool.survey(prepared, parse_duration("1d"))
    assert [each.table.name for each in found.findings] == ["kept"]
    assert found.ungoverned == ()


@pytest.mark.long("make test has it on DuckDB; what is chosen is decided by the toolkit", on="cratedb")
def test_levels_are_governed(db: Database) -> None:
    """The levels of a cascade and their distributions belong to its policy, and get no suggestion."""
    db.create("readings", {"ts": TIME, "n": "TEXT", "x": NUMBER, "day": DAY}, by=["day"])
    db.fill("readings", ["2024-05-01T00:00:00Z", "2024-06-30T00:00:00Z"], x=1.0)
    db.policy(
        "downsample",
        "readings",
        "7d",
        levels="1h:30d,1d:forever",
        aggregates={"*": ["avg", "percentiles"]},
        dimensions=["n"],
    )
    assert db.run().ok
    assert db.exists("readings_1h")
    found = survey(db, "1d")
    assert (found.ungoverned, suggested(db)) == ((), {})
    assert {each.table.name for each in found.findings} <= {"readings"}


def test_empty_partitions(crate: CrateDatabase) -> None:
    """Partitions of which all rows were deleted one by one are noted; that of this month may be about to get rows."""
    crate.create("visits", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    crate.fill("visits", ["2024-05-03T00:00:00Z", "2024-06-03T00:00:00Z", "2024-07-01T00:00:00Z"])
    assert survey(crate).notes == ()
    crate.sql(f"DELETE FROM {crate.q('visits')} WHERE n <> '2024-06-03T00:00:00Z'")
    crate.refresh("visits")
    (note,) = survey(crate).notes
    assert (note.table.name, note.why.code) == ("visits", "empty-partitions")
    assert "1 partition is empty, but has shards (month=2024-05-01)" in note.message
