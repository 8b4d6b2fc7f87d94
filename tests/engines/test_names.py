"""
Hostile names on both engines: everything is quoted, nothing is pasted into text.
"""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from cratedb_retention import RestoreRequest
from cratedb_retention.engine.cratedb.sql import SQL
from cratedb_retention.model.catalog import Column, Kind, TableName
from support.databases import MONTH, TIME, CrateDatabase, Database, DuckDatabase
from support.sql import quoted

# What CrateDB allows in a table's name: none of \ / * ? " < > | blank, comma and dot.
TABLES = ["select", "Metrics", "100%%(x)s", ":param;--$1{x}", "größe-it's"]
COLUMNS = ["select", 'My "Column', "%(x)s 100%", ":p a:b;--", "größe $1 ?"]
OLD, YOUNG = "2024-05-10T00:00:00Z", "2024-06-10T00:00:00Z"


def works(db: Database, table: str, column: str) -> None:
    """Each strategy on a table with hostile names, as a filter, a partition column and a time column."""
    columns = {"n": "TEXT", column: "TEXT", "ts": TIME, "month": MONTH}
    db.create(table, columns, by=[column, "month"])
    for value in ("a", "b"):
        db.fill(table, [OLD, YOUNG], **{column: value})
    delete = db.policy("delete", table, "30d", where={column: "a"}, tags=["x"])
    assert db.run().ok
    assert db.count(table) == 3
    db.policy("snapshot", table, "30d")
    db.tool.delete_policy(delete.id or "")
    report = db.run()
    assert (report.ok, report.partitions) == (True, 1)
    assert db.count(table) == 2
    (restored,) = db.tool.restore(RestoreRequest(table_name=table))
    assert (restored.rows, restored.error) == (1, None)
    assert [v.error for v in db.tool.verify_snapshots()] == [None]
    (restored,) = db.tool.restore(RestoreRequest(table_name=table, into=TableName(db.schema, f"{table}2")))
    assert (restored.rows, restored.error) == (1, None)
    assert db.count(f"{table}2") == 1


@pytest.mark.parametrize(("table", "column"), list(zip(TABLES, COLUMNS, strict=True)))
def test_strategies(db: Database, table: str, column: str) -> None:
    """Deleting, archiving and restoring under each of these names."""
    works(db, table, column)


@pytest.mark.long("make test has other hostile names")
def test_more_names_on_duckdb(duck: DuckDatabase) -> None:
    """DuckDB allows any name."""
    for table in ["a b", 'a"b', "a/b", "a\\b", "a.b", "x,y", " "]:
        works(duck, table, f"{table}.{table}")
        assert all(duck.tool.delete_policy(stored.policy.id or "") for stored in duck.tool.policies())
        duck.tool.engine.database.execute(duck.tool.store.tables.snapshot.delete())


def test_rows_by_hostile_columns(db: Database) -> None:
    """Rows by time columns and filters of such names, all at once, with a hold on them."""
    for number, column in enumerate(COLUMNS):
        name = f"events_{number}"
        db.create(name, {"n": "TEXT", column: TIME, f"{column}!": "TEXT"})
        rows = [{"n": f"{day} {value}", column: day, f"{column}!": value} for day in (OLD, YOUNG) for value in "ab:%"]
        db.insert(name, rows)
        db.policy("delete", name, "30d", where={f"{column}!": "b"})
        db.policy("delete", name, "40d", time_column=column)
        db.tool.hold(name, db.schema, where={f"{column}!": "a"})
    db.time.set("2024-07-10T00:00:00+00:00")
    report = db.run()
    assert report.ok
    for number in range(len(COLUMNS)):
        assert db.left(f"events_{number}") == [f"{OLD} a", *(f"{YOUNG} {value}" for value in "%:ab")]


def test_text_partitions_of_hostile_values(db: Database) -> None:
    """Values are parameters: `%`, `:`, quotes and NULL in them mean themselves."""
    values = ["%", "%(x)s", ":a", "it's", 'quo"te', "?", "", None, "\\", "日本", "a"]
    db.create("texts", {"ts": TIME, "n": "TEXT", "part": "TEXT"}, by=["part"])
    for value in values:
        db.insert("texts", [{"ts": OLD, "n": repr(value), "part": value}])
    db.fill("texts", [YOUNG], part="A")
    keep = [db.policy("delete", "texts", "30d", partition_column="part", where={"part": v}) for v in values[:-1]]
    assert len(keep) == len(values) - 1
    report = db.run()
    assert (report.ok, report.partitions) == (True, len(values) - 1)
    assert db.left("texts") == sorted(["'a'", YOUNG])


def test_hostile_schema(duck: DuckDatabase) -> None:
    """A schema of such a name, and the toolkit's own tables in one."""
    duck.own_schema = 'my "own" %(x)s :schema'
    duck.schema = "users' %s"
    works(duck, "metrics", "tenant")
    assert duck.rows(f"SELECT count(*) FROM {quoted(duck.own_schema, 'jobs_log')}")[0][0] > 0


def test_own_schema_on_cratedb(crate_own: Database) -> None:
    """The same on CrateDB, as far as its rules for schemas allow."""
    works(crate_own, "metrics", "tenant")


def test_case_matters(crate: CrateDatabase) -> None:
    """`Metrics` and `metrics` are two tables on CrateDB."""
    crate.create("Metrics", {"n": "TEXT", "ts": TIME})
    crate.fill("Metrics", [OLD, YOUNG])
    crate.policy("delete", "metrics", "30d")
    report = crate.run()
    assert (report.needs_attention, report.done) == (1, 0)
    assert crate.count("Metrics") == 2


@pytest.mark.parametrize(
    ("name", "written"),
    [("day", '"day"'), ('a"b', '"a""b"'), ("o['day']", "\"o\"['day']"), ("o['it's']['x']", "\"o\"['it''s']['x']")],
)
def test_columns_within_objects(name: str, written: str) -> None:
    """A column within an object of CrateDB is quoted part by part, whatever the parts are called."""
    column = SQL.column(Column(name=name, type="text", kind=Kind.TEXT))
    assert str(column.compile(dialect=sa.create_engine("crate://").dialect)) == written
