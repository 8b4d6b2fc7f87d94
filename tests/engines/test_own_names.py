"""
Names that rollups and their view would get are taken: nothing that the toolkit did not make is written to, replaced or
dropped, and a plan says so.
"""

from __future__ import annotations

from typing import Any

import pytest

from cratedb_retention.demo import create_table
from cratedb_retention.errors import DatabaseError, InvalidInput
from support.databases import MONTH, TIME, Database, DuckDatabase
from support.tiers import DECIDED, others_on_duckdb

LEVELS = "1h:30d,1d:forever"
COLUMNS = {"ts": TIME, "n": "TEXT", "x": "DOUBLE PRECISION", "day": MONTH.replace("month", "day")}
DAYS = [
    "2024-05-10T10:10:00Z",
    "2024-05-10T10:50:00Z",
    "2024-06-10T11:00:00Z",
    "2024-06-24T23:59:00Z",
    "2024-07-01T09:00:00Z",
]
MINE = "SELECT 'mine' AS n, 1 AS row_count, 'raw' AS level"


@pytest.fixture
def readings(db: Database) -> Database:
    """Rows of some days in May and June, and a policy that makes hours and days of them."""
    db.create("readings", COLUMNS, by=["day"])
    db.fill("readings", DAYS, x=1.0)
    db.policy("downsample", "readings", "7d", levels=LEVELS)
    return db


def view(db: Database, name: str, query: str = MINE, create: str = "CREATE") -> None:
    """A view of the user."""
    db.sql(f"{create} VIEW {db.q(name)} AS {query}")


def rows(db: Database, name: str) -> list[list[Any]]:
    """All of a table or view."""
    return [list(row) for row in db.rows(f"SELECT * FROM {db.q(name)}")]


def problems(db: Database) -> list[str]:
    """What a plan says somebody has to look at; ``check-policies`` says the same."""
    found = [hold.reason for hold in db.tool.plan().needs_attention]
    assert found == [finding.message for finding in db.tool.check()]
    return found


def levels(db: Database) -> dict[str, int]:
    """How many raw rows the levels stand for."""
    names = [name for name in ("readings_1h", "readings_1d") if db.exists(name)]
    for name in names:
        db.refresh(name)
    return {name: int(db.rows(f"SELECT sum(row_count) FROM {db.q(name)}")[0][0]) for name in names}


@DECIDED
def test_a_view_of_the_name_stays(readings: Database) -> None:
    """A user's own view keeps its name; the levels are made, and the view once the name is free."""
    view(readings, "readings_all")
    assert problems(readings) == [
        f"{readings.schema}.readings_all already exists and is not the toolkit's view; rename or drop it"
    ]
    assert [readings.run().ok for _ in range(2)] == [False, False]
    assert rows(readings, "readings_all") == [["mine", 1, "raw"]]
    assert levels(readings) == {"readings_1h": 3, "readings_1d": 5}
    readings.sql(f"DROP VIEW {readings.q('readings_all')}")
    assert problems(readings) == []
    assert readings.run().ok
    assert sum(row[0] for row in readings.rows(f"SELECT row_count FROM {readings.q('readings_all')}")) == 5


def test_a_table_of_the_name_stays(readings: Database) -> None:
    """CrateDB would let a view replace a table, with all its rows."""
    readings.create("readings_all", {"n": "TEXT"})
    readings.insert("readings_all", [{"n": "mine"}])
    assert "readings_all already exists" in problems(readings)[0]
    readings.run()
    assert rows(readings, "readings_all") == [["mine"]]
    readings.tool.drop_rollups("readings", readings.schema)
    assert rows(readings, "readings_all") == [["mine"]]


@pytest.mark.parametrize("how", ["edited", *others_on_duckdb("replaced", "dropped")])
@DECIDED
def test_a_view_that_took_the_name_later_stays(readings: Database, how: str) -> None:
    """What is there now was made by a user, also if it is an edited copy of the toolkit's view."""
    assert readings.run().ok
    query = definition(readings).replace("'raw'", "'mine'") if how == "edited" else MINE
    if how == "dropped":
        readings.sql(f"DROP VIEW {readings.q('readings_all')}")
    view(readings, "readings_all", query, "CREATE" if how == "dropped" else "CREATE OR REPLACE")
    mine = definition(readings)
    assert "already exists" in problems(readings)[0]
    readings.time.set("2024-08-02T00:00:00+00:00")
    readings.run()
    readings.tool.drop_rollups("readings", readings.schema)
    assert definition(readings) == mine
    assert not readings.exists("readings_1h")


def definition(db: Database) -> str:
    """The query of the view, as the database shows it."""
    source, names, column = "information_schema.views", ("table_schema", "table_name"), "view_definition"
    if isinstance(db, DuckDatabase):
        source, names, column = "duckdb_views()", ("schema_name", "view_name"), "sql"
    where = f"{names[0]} = ? AND {names[1]} = ?"
    text = str(db.rows(f"SELECT {column} FROM {source} WHERE {where}", db.table("readings_all"))[0][0])
    text = text.removeprefix("/* Corrupted view, needs fix */\n")
    return text.rpartition("readings_all AS ")[2].rstrip(";").replace('"DOUBLE"', "DOUBLE")


def test_a_view_that_changed_since_the_plan_stays(readings: Database) -> None:
    """A run looks again right before it makes the view."""
    prepared = readings.tool.prepare()
    view(readings, "readings_all")
    report = readings.tool.run(prepared)
    assert report.deferred
    assert rows(readings, "readings_all") == [["mine", 1, "raw"]]
    assert "already exists" in problems(readings)[0]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("readings_1h", "view"), *others_on_duckdb(("readings_1d", "table"), ("readings_1h_sketch", "table"))],
)
def test_what_has_the_name_of_a_level_stays(db: Database, name: str, kind: str) -> None:
    """Neither a level nor its distributions are written to what a user made, before or after the first run."""
    db.create("readings", COLUMNS, by=["day"])
    db.fill("readings", DAYS, x=1.0)
    for taken in ("before", "after"):
        db.policy("downsample", "readings", "7d", levels=LEVELS, aggregates={"*": ["avg", "percentiles"]}, id=taken)
        if taken == "after":
            assert db.run().ok
            db.sql(f"DROP TABLE {db.q(name)}")
        if kind == "table":
            db.create(name, {"ts": "TIMESTAMP WITH TIME ZONE", "n": "TEXT"})
            db.fill(name, ["2024-05-10T10:10:00+00:00", "2024-06-10T11:00:00+00:00"])
        else:
            view(db, name)
        mine = rows(db, name)
        assert [f"{db.schema}.{name} already exists and is not a rollup; rename it"] == problems(db)
        before = db.count("readings")
        assert not db.run().ok
        assert (rows(db, name), db.count("readings")) == (mine, before)
        if taken == "after":
            db.tool.drop_rollups("readings", db.schema)
            assert rows(db, name) == mine
        db.sql(f"DROP {kind} {db.q(name)}")
        db.tool.delete_policy(taken)


@pytest.mark.parametrize("name", ["readings_1h_sketch", *others_on_duckdb("readings_1h")])
def test_a_table_that_was_created_since_the_plan_stays(db: Database, name: str) -> None:
    """A run looks again right before it creates a level."""
    db.create("readings", COLUMNS, by=["day"])
    db.fill("readings", DAYS, x=1.0)
    db.policy("downsample", "readings", "7d", levels=LEVELS, aggregates={"*": ["avg", "percentiles"]})
    prepared = db.tool.prepare()
    db.create(name, {"ts": "TIMESTAMP WITH TIME ZONE", "n": "TEXT"})
    db.fill(name, ["2024-05-10T10:10:00+00:00"])
    mine = rows(db, name)
    assert db.tool.run(prepared).deferred
    assert rows(db, name) == mine


def test_a_view_of_an_older_release_is_renewed(readings: Database) -> None:
    """Older releases noted no mark; what has the form of the view is taken for it, and nothing else is."""
    assert readings.run().ok
    own = f'UPDATE {readings.q("rollup", readings.own_schema)} SET "view" = ? WHERE "view" IS NOT NULL'
    readings.refresh("rollup", readings.own_schema)
    readings.sql(own, [f'[["{readings.schema}", "readings", "", null, null]]'])
    readings.refresh("rollup", readings.own_schema)
    assert problems(readings) == []
    readings.time.set("2024-08-02T00:00:00+00:00")
    assert readings.run().ok
    (row,) = [known for known in readings.tool.store.rollups.all().values() if known.view]
    assert row.view_mark


def test_names_in_another_case(duck: DuckDatabase) -> None:
    """To DuckDB names that differ in case only are the same."""
    duck.create("readings", COLUMNS, by=["day"])
    duck.fill("readings", DAYS, x=1.0)
    duck.policy("downsample", "readings", "7d", levels=LEVELS)
    view(duck, "READINGS_all")
    assert "READINGS_all already exists and is not the toolkit's view" in problems(duck)[0]
    duck.create("Readings_1D", {"ts": "TIMESTAMP", "n": "TEXT"})
    duck.fill("Readings_1D", ["2024-06-10T11:00:00"])
    assert "Readings_1D already exists and is not a rollup" in problems(duck)[0]
    assert not duck.run().ok
    assert (len(rows(duck, "Readings_1D")), rows(duck, "READINGS_all")) == (1, [["mine", 1, "raw"]])


def test_tables_with_the_names_of_the_toolkits_stay(new_db: Database) -> None:
    """``setup`` neither changes nor fills a user's table, and creates nothing beside it."""
    new_db.create("rollup", {"n": "TEXT"}, schema=new_db.own_schema)
    new_db.insert("rollup", [{"n": "mine"}], schema=new_db.own_schema)
    with pytest.raises(
        InvalidInput, match="rollup: exists already and is not the toolkit's: column table_schema is missing"
    ):
        new_db.set_up()
    assert not new_db.exists("lease", new_db.own_schema)
    assert [list(row) for row in new_db.rows(f"SELECT * FROM {new_db.q('rollup', new_db.own_schema)}")] == [["mine"]]


def test_a_table_with_the_name_of_the_demonstrations_stays(db: Database) -> None:
    """The demonstration drops what an earlier one left, and nothing else."""
    for _ in range(2):
        create_table(db.tool.engine, db.schema, "weather", {"time_hour": "TIMESTAMP", "temp": "INTEGER"}, "time_hour")
    db.create("flights", {"time_hour": TIME, "n": "TEXT"})
    with pytest.raises(DatabaseError, match="exists already, and is not of the demo"):
        create_table(db.tool.engine, db.schema, "flights", {"time_hour": "TIMESTAMP", "temp": "INTEGER"}, "time_hour")
    assert db.count("flights") == 0
