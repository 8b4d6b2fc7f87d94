"""
Each column of a table is a dimension, a metric, or left out by the user's word: rows of different series are never
summarized together without it.
"""

from __future__ import annotations

from typing import Any

import pytest

from cratedb_retention.model.plan.effect import summarize
from cratedb_retention.model.query.reading import FetchRequest
from cratedb_retention.model.rollups.aggregates import Aggregate
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.time import parse_instant
from support.databases import TIME, CrateDatabase, Database, DuckDatabase
from support.tiers import DECIDED, others_on_duckdb

LEVELS = "1h:30d,1d:forever"
DAYS = ("2024-05-10T10:10:00Z", "2024-05-10T10:20:00Z", "2024-05-10T10:30:00Z", "2024-05-10T10:40:00Z")
U1, U2 = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
# Types that rows are grouped by exactly, each with two values.
EXACT: dict[str, dict[str, tuple[Any, Any]]] = {
    "DuckDB": {
        "ENUM ('a', 'it''s')": ("a", "it's"),
        "UUID": (U1, U2),
        "DATE": ("2024-01-01", "2024-01-02"),
        "TIME": ("10:00:00", "11:00:00"),
        "BIT": ("0101", "01010"),
        "BOOLEAN": (True, False),
    },
    "CrateDB": {"UUID": (U1, U2), "BIT(4)": ("0101", "1101"), "IP": ("10.0.0.1", "10.0.0.2"), "BOOLEAN": (True, False)},
}
# Types whose columns a user has to decide about.
ASKED = {
    "DuckDB": (
        *("TIMESTAMP", "INTERVAL", "BLOB", "JSON", "TIMETZ", "INTEGER[]", "INTEGER[2]", "STRUCT(a TEXT)[]"),
        *("MAP(TEXT, TEXT)", "UNION(a INTEGER, b TEXT)", "ENUM('a')[]"),
    ),
    "CrateDB": (
        *("TIMESTAMP", "GEO_POINT", "GEO_SHAPE", "ARRAY(TEXT)", "ARRAY(BOOLEAN)", "FLOAT_VECTOR(2)"),
        *("OBJECT(IGNORED)", "OBJECT(IGNORED) AS (b TEXT)", "ARRAY(OBJECT AS (q TEXT))"),
    ),
}


def make(db: Database, **columns: str) -> None:
    """A table of readings with further columns."""
    db.create("readings", {"ts": TIME, "x": "DOUBLE PRECISION", **columns})


def policy(db: Database, **more: Any) -> None:
    """A policy of hours and days."""
    db.policy("downsample", "readings", "7d", levels=LEVELS, time_column="ts", **more)


def literal(db: Database, kind: str, value: Any) -> str:
    """A value as SQL; CrateDB has no cast to BIT."""
    if value is None:
        return "NULL"
    text = str(value).replace("'", "''")
    return f"B'{text}'" if kind.startswith("BIT") and isinstance(db, CrateDatabase) else f"CAST('{text}' AS {kind})"


def level(db: Database, columns: str, name: str = "readings_1d") -> list[tuple[Any, ...]]:
    """The rows of a level."""
    db.refresh(name)
    return sorted((tuple(row) for row in db.rows(f"SELECT {columns} FROM {db.q(name)}")), key=str)


def problems(db: Database) -> list[str]:
    """What has to be looked at."""
    return [hold.reason for hold in db.tool.plan().needs_attention]


def test_types_that_are_dimensions(db: Database) -> None:
    """The series of columns of other types are kept apart, in each level, in the view, and when raw rows are gone."""
    types = EXACT[db.product]
    kinds = {f"d{i}": kind for i, kind in enumerate(types)}
    make(db, **kinds)
    first, second = [values[0] for values in types.values()], [values[1] for values in types.values()]
    for day, values in zip(DAYS, [first, second, [None] * len(first), first], strict=True):
        literals = [literal(db, *pair) for pair in zip(kinds.values(), values, strict=True)]
        listed, places = ", ".join(["ts", "x", *kinds]), ", ".join(["?", "?", *literals])
        db.sql(f"INSERT INTO {db.q('readings')} ({listed}) VALUES ({places})", [day, 1.0])
    db.refresh("readings")
    policy(db)
    assert problems(db) == []
    for _ in range(2):
        assert db.run().ok
    assert db.count("readings") == 0
    for table in ("readings_1d", "readings_all"):
        found = db.rows(f"SELECT x_sum, {', '.join(kinds)} FROM {db.q(table)}")
        assert sorted(row[0] for row in found) == [1, 1, 2]
        assert len({str(row[1:]) for row in found}) == 3
        assert sum(row[1:].count(None) for row in map(list, found)) == len(kinds)


@pytest.mark.parametrize(
    ("key", "dimensions", "metrics"),
    [("sensor, ts", ["sensor"], ["x"]), ("sensor", [], ["x"]), (None, [], ["sensor", "x"])],
)
def test_keys(db: Database, key: str | None, dimensions: list[str], metrics: list[str]) -> None:
    """A number that is a key with the time tells series apart; a key without it is of one row, and in no rollup."""
    columns = {"ts": TIME, "sensor": "INTEGER", "x": "DOUBLE PRECISION"}
    db.create("readings", columns, key=f"PRIMARY KEY ({key})" if key else "")
    policy(db)
    (cascade,) = db.tool.planned_cascades()
    rollup = cascade.levels[0].rollup
    assert [column.name for column in rollup.dimensions] == dimensions
    assert [metric.column.name for metric in rollup.metrics] == metrics


@pytest.mark.parametrize("more", [{"counters": ["n"]}, {"aggregates": {"n": ["min"]}}])
def test_what_is_no_metric(db: Database, more: dict[str, Any]) -> None:
    """A counter, or what is to be kept of a metric, that is none of the table is not passed over."""
    make(db, n="TEXT")
    policy(db, **more)
    assert "'n' is not one of its metrics; available: x" in problems(db)[0]


def test_types_that_are_asked_about(db: Database) -> None:
    """Nothing is rolled up or deleted until the policy says what such a column is; ``exclude`` does."""
    kinds = {f"c{i}": kind for i, kind in enumerate(ASKED[db.product])}
    make(db, **kinds)
    db.insert("readings", [{"ts": day, "x": 1.0} for day in DAYS])
    policy(db, id="one")
    (reason,) = problems(db)
    assert all(f"{name} (" in reason for name in kinds)
    assert "add them to exclude" in reason
    assert [finding.message for finding in db.tool.check()] == [reason]
    assert not db.run().ok
    assert (db.count("readings"), db.exists("readings_1h")) == (4, False)
    db.tool.delete_policy("one")
    policy(db, exclude=list(kinds))
    assert db.run().ok
    assert level(db, "x_sum") == [(4.0,)]


def test_what_is_left_out_is_listed(db: Database) -> None:
    """A plan says which columns no level is made of, and so does what ``check-policies`` shows."""
    make(db, host="TEXT", note="TEXT", y="DOUBLE PRECISION", at="TIMESTAMP")
    policy(db, dimensions=["host"], metrics=["x"])
    (cascade,) = db.tool.planned_cascades()
    assert [column.name for column in cascade.left_out] == ["note", "y", "at"]
    assert "(dimensions: host; metrics: x; excluded: note, y, at)" in summarize(db.tool.plan().tasks[0])


def test_objects_are_their_columns(crate: CrateDatabase) -> None:
    """Columns in objects are dimensions and metrics; an object is excluded with all that is in it."""
    make(crate, o="OBJECT AS (host TEXT, gp GEO_POINT)", a="ARRAY(OBJECT AS (q TEXT))")
    policy(crate, id="one")
    assert "o['gp'] (geo_point), a (object_array), a['q'] (text)" in problems(crate)[0]
    crate.tool.delete_policy("one")
    policy(crate, exclude=["o['gp']", "a"])
    (cascade,) = crate.tool.planned_cascades()
    assert [column.name for column in cascade.levels[0].rollup.dimensions] == ["o['host']"]
    crate.tool.delete_policy(cascade.policy.id or "")
    policy(crate, dimensions=["a"])
    assert "rows cannot be grouped by a (object_array)" in problems(crate)[0]


@DECIDED
def test_rollups_that_exist_keep_their_dimensions(db: Database) -> None:
    """A column of such a type that is no dimension of an existing rollup does not become one by itself."""
    make(db, host="TEXT")
    db.insert("readings", [{"ts": DAYS[0], "x": 1.0, "host": "a"}])
    policy(db, id="one")
    assert db.run().ok
    db.sql(f"ALTER TABLE {db.q('readings')} ADD COLUMN u UUID")
    assert "u (" in problems(db)[0]
    assert not db.run().ok
    db.tool.delete_policy("one")
    policy(db, dimensions=["host", "u"])
    db.insert("readings", [{"ts": "2024-06-30T10:00:00Z", "x": 1.0, "host": "a", "u": U1}])
    assert db.run().ok
    assert len(level(db, "u, x_sum")) == 2


def test_decimals_are_exact(db: Database) -> None:
    """Sums of decimals lose no digit, from level to level; as doubles these would be rounded."""
    make(db, d="DECIMAL(24, 4)" if isinstance(db, DuckDatabase) else "NUMERIC(24, 4)")
    values = ["90071992547409930001.0001", "0.1000", "0.2000", "-0.0002"]
    kind = "DECIMAL(24, 4)" if isinstance(db, DuckDatabase) else "NUMERIC(24, 4)"
    for day, value in zip(("2024-05-10T10:10:00Z", *DAYS[1:3], "2024-05-10T17:00:00Z"), values, strict=True):
        db.sql(f"INSERT INTO {db.q('readings')} (ts, x, d) VALUES (?, 1, CAST(? AS {kind}))", [day, value])
    db.refresh("readings")
    policy(db, metrics=["d"])
    assert db.run().ok
    columns = ", ".join(f"CAST(d_{part} AS TEXT)" for part in ("sum", "min", "max", "first", "last"))
    expected = ("90071992547409930001.2999", "-0.0002", values[0], values[0], "-0.0002")
    assert level(db, columns) == [expected]
    total = f"SELECT CAST(sum(d_sum) AS TEXT) FROM {db.q('readings_all')}"
    assert db.rows(total)[0][0] == expected[0]
    assert db.tool.verify_rollups("readings", db.schema) == []
    assert float(level(db, "d_avg")[0][0]) == pytest.approx(90071992547409930001.2999 / 4)
    assert db.run().ok
    assert db.count("readings") == 0
    assert db.rows(total)[0][0] == expected[0]


@DECIDED
def test_decimals_have_every_aggregate(db: Database) -> None:
    """Deviation, increase and percentiles of decimals are kept and read as those of other numbers."""
    make(db, d="DECIMAL(10, 2)" if isinstance(db, DuckDatabase) else "NUMERIC(10, 2)")
    days = ["2024-06-30T10:10:00Z", "2024-06-30T11:20:00Z", "2024-07-01T23:30:00Z"]
    db.insert("readings", [{"ts": day, "x": 1.0, "d": 0.25 + i} for i, day in enumerate(days)])
    policy(db, metrics=["d"], counters=["d"], aggregates={"*": list(map(str, Aggregate))})
    assert db.run().ok, [row["error"] for row in db.journal() if row["error"]]
    found = level(db, "d_count, d_increase, d_stddev")
    assert [tuple(map(float, row)) for row in found] == [(1, 1, 0), (2, 1, 0.5)]
    wanted = ("d:sum", "d:stddev", "d:increase", "d:p50", "d:last")
    request = FetchRequest(
        table_name="readings",
        table_schema=db.schema,
        start=parse_instant(days[0]),
        step=parse_interval("1y"),
        metrics=wanted,
    )
    (values,) = [row[1:6] for row in db.tool.fetch(request).rows if row[1] is not None]
    total, deviation, increase, median, last = (float(str(value)) for value in values)
    assert (total, increase, last) == (3.75, 2, 2.25)
    assert deviation == pytest.approx((2 / 3) ** 0.5)
    assert median == pytest.approx(1.25, rel=0.01)
    assert db.tool.verify_rollups("readings", db.schema) == []


def test_a_sum_that_is_too_large_is_refused(db: Database) -> None:
    """Nothing is stored and nothing is deleted where a sum has more digits than a decimal."""
    kind = "DECIMAL(38, 0)" if isinstance(db, DuckDatabase) else "NUMERIC(38, 0)"
    make(db, d=kind)
    for day in DAYS:
        value = f"CAST('{'9' * 38}' AS {kind})"
        db.sql(f"INSERT INTO {db.q('readings')} (ts, x, d) VALUES (?, 1, {value})", [day])
    db.refresh("readings")
    policy(db)
    for _ in range(2):
        assert not db.run().ok
    assert db.count("readings") == 4
    if isinstance(db, DuckDatabase):
        assert any("readings_1h: a sum is too large" in str(row["error"]) for row in db.journal())
    assert not db.exists("readings_1h") or level(db, "d_sum", "readings_1h") == []


def test_names_of_the_toolkit(db: Database) -> None:
    """A user's column ``level`` stays what it is; a name that a level's own columns have is refused."""
    make(db, level="TEXT", host="TEXT")
    db.insert("readings", [{"ts": day, "x": 1.0, "level": "error", "host": "a"} for day in DAYS])
    policy(db, id="one")
    for _ in range(3):
        assert db.run().ok
    columns = f"SELECT level, rollup_level, x_sum FROM {db.q('readings_all')}"
    assert [tuple(row) for row in db.rows(columns)] == [("error", "1d", 4.0)]
    fetched = db.tool.fetch(
        FetchRequest(table_name="readings", table_schema=db.schema, start=parse_instant(DAYS[0]), by=("level",))
    )
    assert (fetched.columns[1], fetched.columns[-1]) == ("level", "rollup_level")


@pytest.mark.parametrize("name", ["row_count", *others_on_duckdb("rollup_version", "x_sum", "x_m2", "metric", "count")])
def test_names_that_are_taken_are_refused(db: Database, name: str) -> None:
    """No column of a user is ever overwritten by one of the toolkit's."""
    make(db, **{name: "TEXT"})
    db.insert("readings", [{"ts": day, "x": 1.0, name: "mine"} for day in DAYS])
    policy(db, aggregates={"*": ["sum", "stddev", "percentiles"]})
    assert f"two columns of its rollups would be named {name}; rename or exclude" in problems(db)[0]
    assert not db.run().ok
    assert db.count("readings") == 4


def test_names_that_differ_in_case(duck: DuckDatabase) -> None:
    """To DuckDB these are the same."""
    make(duck, Row_Count="TEXT", LEVEL="TEXT")
    policy(duck, id="one")
    assert "would be named row_count" in problems(duck)[0]
    duck.tool.delete_policy("one")
    policy(duck, exclude=["Row_Count"])
    assert duck.run().ok
    assert duck.rows(f"SELECT count(rollup_level) FROM {duck.q('readings_all')}")[0][0] == 0


@DECIDED
def test_late_rows_are_not_called_rolled_up(db: Database) -> None:
    """What came too late for a rollup is in none, and the reason for which it goes says so."""
    make(db)
    db.insert("readings", [{"ts": DAYS[0], "x": 1.0}])
    policy(db, late="drop")
    for _ in range(2):
        assert db.run().ok
    db.insert("readings", [{"ts": day, "x": 1.0} for day in DAYS])
    reasons = [task.reason for task in db.tool.plan().tasks if task.rows]
    assert [reason.partition("kept for 7d; ")[2] for reason in reasons] == [
        "late rows, dropped as the policy states (late: drop)"
    ]
    (loss,) = db.tool.preview(db.tool.policies()[0].policy).losses
    assert (loss.amount.rows, loss.rolled_up) == (4, False)
