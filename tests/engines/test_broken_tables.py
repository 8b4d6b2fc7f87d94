"""
One table's trouble is that table's: whatever is wrong with it is a problem of its own, with the reason, and the others
are planned and run (laws 1, 3 and 9).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cratedb_retention.execution.overview.lines import overview
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.planning.plan import planner
from cratedb_retention.planning.rollups.downsample import CascadePlan
from cratedb_retention.service.access import Scope
from cratedb_retention.service.metrics import RetentionCollector
from support.databases import MONTH, NUMBER, TIME, CrateDatabase, Database, DuckDatabase
from support.tiers import DECIDED

DAY = MONTH.replace("month", "day")
DAYS = ["2024-05-10T10:10:00Z", "2024-05-10T10:50:00Z", "2024-06-24T23:59:00Z", "2024-07-01T09:00:00Z"]
COLUMNS = {"ts": TIME, "n": "TEXT", "x": NUMBER, "y": "BIGINT"}
# Of the two tables besides the broken one; both keep what is of June and July.
OTHERS = ("days", "rows")


@pytest.fixture
def bench(db: Database) -> Database:
    """A table with hours and days made of it, whose raw rows of May and June are gone, and two more to delete from."""
    db.create("readings", {**COLUMNS, "day": DAY}, by=["day"])
    db.fill("readings", DAYS, x=1.0, y=2)
    db.policy("downsample", "readings", "7d", id="broken", levels="1h:30d,1d:forever")
    assert db.run().ok
    assert db.run().ok
    db.create("days", {**COLUMNS, "day": DAY}, by=["day"])
    db.create("rows", COLUMNS)
    for name in OTHERS:
        db.fill(name, DAYS)
        db.policy("delete", name, "30d", id=name)
    return db


def alter(change: str, table: str = "readings") -> Callable[[Database], None]:
    """Change a table's columns."""
    return lambda db: db.sql(f"ALTER TABLE {db.q(table)} {change}")


def edit(**changes: object) -> Callable[[Database], None]:
    """Change the policy."""

    def change(db: Database) -> None:
        db.tool.edit_policy("broken", changes)

    return change


def recreate(table: str = "readings", **columns: str) -> Callable[[Database], None]:
    """Another table of the same name."""

    def make(db: Database) -> None:
        db.sql(f"DROP TABLE {db.q(table)}")
        db.create(table, columns)

    return make


def both(*works: Callable[[Database], None]) -> Callable[[Database], None]:
    """One after the other."""

    def work(db: Database) -> None:
        for each in works:
            each(db)

    return work


CHANGED = "readings_1h was made from .*readings with time column ts.*revert the policy or the column"
BREAKING: dict[str, tuple[Callable[[Database], None], str]] = {
    "time renamed": (alter("RENAME COLUMN ts TO stamp"), CHANGED),
    "time renamed, in the policy too": (both(alter("RENAME COLUMN ts TO at_"), edit(time_column="at_")), CHANGED),
    "another time": (both(alter(f"ADD COLUMN at_ {TIME}"), edit(time_column="at_")), CHANGED),
    "time named, then renamed": (
        both(edit(time_column="ts"), alter("RENAME COLUMN ts TO stamp")),
        "time_column: the table has no column 'ts'",
    ),
    "time in another unit": (
        both(recreate(**{**COLUMNS, "ts": "BIGINT"}), edit(time_column="ts", time_unit="s")),
        "time column ts",
    ),
    "time is text": (recreate(**{**COLUMNS, "ts": "TEXT"}), "no timestamp column"),
    "metric renamed": (both(edit(metrics=["x"]), alter("RENAME COLUMN x TO z")), "metrics: the table has no column"),
    "dimension renamed": (
        both(edit(dimensions=["n"]), alter("RENAME COLUMN n TO m")),
        "dimensions: the table has no column",
    ),
    "metric is text": (both(edit(metrics=["x"]), recreate(**{**COLUMNS, "x": "TEXT"})), "x is .*, not a number"),
    "time zone": (edit(time_zone="Europe/Vienna"), "and time zone UTC"),
    "partition column": (edit(partition_column="nope"), "partition_column: the table has no column"),
    "source dropped": (lambda db: db.sql(f"DROP TABLE {db.q('readings')}"), "no such table"),
    "impostor": (recreate("readings_1h", a="TEXT"), "readings_1h already exists and is not a rollup"),
    "level's time renamed": (alter("RENAME COLUMN ts TO t", "readings_1h"), "readings_1h already exists"),
}


def see_all(db: Database) -> None:
    """All that shows more than one table works, and says something of each."""
    who = Scope(db.tool, Access(role=Role.ADMIN, actor="admin"))
    shown = {line.title.rpartition(".")[2] for line in overview(db.tool.prepare())}
    assert {"readings", *OTHERS} <= shown
    assert {"readings", *OTHERS} <= {line.title.rpartition(".")[2] for line in who.tables(Selection())}
    db.tool.planned_cascades()
    for name in ("readings", *OTHERS):
        if db.exists(name):
            assert who.table(TableName(db.schema, name)).timeline.table.name == name
    assert b"retention" in RetentionCollector(db.tool).text()


ALIKE = (
    "another time",
    "time in another unit",
    "level's time renamed",
    "time renamed, in the policy too",
    "time named, then renamed",
    "metric is text",
    "dimension renamed",
    "time is text",
)
LONG = pytest.mark.long("make test has one much like it")


# What DuckDB and CrateDB say of it is the same.
TWICE = {"source dropped"}
LONG_ON_CRATEDB = pytest.mark.long("make test has it on DuckDB, and another on CrateDB", on="cratedb")


def _tier(name: str) -> tuple[pytest.MarkDecorator, ...]:
    return (LONG,) if name in ALIKE else () if name in TWICE else (LONG_ON_CRATEDB,)


@pytest.mark.parametrize("name", [pytest.param(name, marks=_tier(name)) for name in BREAKING])
@pytest.mark.some(3)
def test_the_others_go_on(bench: Database, name: str) -> None:
    """The table's own problem is said by plan and check, and the other tables' rows are deleted as ever."""
    break_it, reason = BREAKING[name]
    break_it(bench)
    [problem] = bench.tool.plan().needs_attention
    assert (problem.policy_id, problem.table) == ("broken", bench.table("readings"))
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(problem.reason)
    assert problem.reason in [finding.message for finding in bench.tool.check()]
    see_all(bench)
    report = bench.run()
    assert (report.ok, report.failed, report.done, report.needs_attention) == (False, 0, 2, 1)
    assert {name: bench.left(name) for name in OTHERS} == dict.fromkeys(OTHERS, DAYS[2:])
    see_all(bench)


def test_a_level_that_is_closed(bench: Database) -> None:
    """What is computed from a level that refuses to be read waits for it."""
    if not isinstance(bench, CrateDatabase):
        pytest.skip("DuckDB's tables can't be closed")
    bench.sql(f"ALTER TABLE {bench.q('readings_1h')} CLOSE")
    try:
        [problem] = bench.tool.plan().needs_attention
        assert "readings_1h: the table is closed" in problem.reason
        see_all(bench)
        assert bench.run().done == 2
    finally:
        bench.sql(f"ALTER TABLE {bench.q('readings_1h')} OPEN")
    assert bench.tool.plan().needs_attention == ()


@pytest.mark.parametrize("columns", [{"ts": TIME, "day": DAY}, {"a": "TEXT", "day": TIME}])
@DECIDED
def test_a_table_with_the_name_of_distributions(bench: Database, columns: dict[str, str]) -> None:
    """Where no percentiles are kept, a table of that name is the user's: nothing is deleted from it."""
    bench.create("readings_1h_sketch", columns, by=["day"])
    at = "ts" if "ts" in columns else "day"
    bench.insert("readings_1h_sketch", [{at: "2020-01-01T00:00:00Z"}])
    assert bench.tool.plan().needs_attention == ()
    assert bench.run().ok
    assert bench.run().ok
    assert bench.count("readings_1h_sketch") == 1


# A time that only the test's own connection can read: another one fails on each row.
UNREADABLE = "CAST(CASE WHEN current_setting('schema') = 'lab' THEN n ELSE 'no time' END AS TIMESTAMPTZ)"


def fill_unreadable(duck: DuckDatabase, name: str) -> None:
    """Insert the usual rows, but for the time."""
    values = ", ".join(f"('{day}')" for day in DAYS)
    duck.sql(f"SET schema = 'lab'; INSERT INTO {duck.q(name)} (n) VALUES {values}")


def test_partitions_that_can_not_be_read(duck: DuckDatabase) -> None:
    """A generated column that fails hides the partitions of its own table, and of no other."""
    duck.create("bad", {"n": "TEXT", "day": f"{TIME} GENERATED ALWAYS AS ({UNREADABLE})"}, by=["day"])
    fill_unreadable(duck, "bad")
    duck.create("days", {**COLUMNS, "day": DAY}, by=["day"])
    duck.fill("days", DAYS)
    for name in ("bad", "days"):
        duck.policy("delete", name, "30d", id=name)
    [problem] = duck.tool.plan().needs_attention
    assert str(problem.table) == "lab.bad"
    assert "its rows cannot be read: DuckDB: Conversion Error" in problem.reason
    report = duck.run()
    assert (report.done, report.failed, report.needs_attention) == (1, 0, 1)
    assert duck.left("days") == DAYS[2:]


def test_questions_that_have_no_answer(duck: DuckDatabase) -> None:
    """Where a question about a table's rows fails, nothing of that table is guessed, and the others are asked."""
    for name in ("bad", "summed"):
        duck.create(name, {"n": "TEXT", "x": NUMBER, "ts": f"{TIME} GENERATED ALWAYS AS ({UNREADABLE})"})
        fill_unreadable(duck, name)
    duck.create("rows", COLUMNS)
    duck.fill("rows", DAYS)
    duck.policy("delete", "bad", "30d", id="bad", time_column="ts")
    duck.policy("delete", "rows", "30d", id="rows")
    duck.policy("downsample", "summed", "7d", id="summed", levels="1h:forever", time_column="ts", metrics=["x"])
    problems = {problem.policy_id: problem.reason for problem in duck.tool.plan().needs_attention}
    assert set(problems) == {"bad", "summed"}
    assert all(
        reason.startswith("cannot read the rows of ") and "DuckDB: Conversion Error" in reason
        for reason in problems.values()
    )
    report = duck.run()
    assert (report.done, report.failed, report.needs_attention) == (1, 0, 2)
    assert (duck.left("rows"), duck.rows(f"SELECT count(n) FROM {duck.q('bad')}")) == (DAYS[2:], [(4,)])


def oops(*args: object) -> None:
    """A mistake in the program."""
    raise KeyError("oops")


@DECIDED
def test_a_question_that_can_not_be_made(bench: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that a plan can do without ends no plan."""
    monkeypatch.setattr(planner, "variety_probe", oops)
    assert bench.tool.plan().needs_attention == ()
    assert bench.run().ok
    assert {name: bench.left(name) for name in OTHERS} == dict.fromkeys(OTHERS, DAYS[2:])


@DECIDED
def test_what_nobody_foresaw(
    bench: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake in the program blocks the table that it meets, says so, and is in the log with where it happened."""
    monkeypatch.setattr(CascadePlan, "verdicts", oops)
    [problem] = bench.tool.plan().needs_attention
    assert problem.reason.startswith("cannot be planned: KeyError: 'oops'; this is a bug in the program")
    assert "Traceback" in caplog.text
    report = bench.run()
    assert (report.done, report.needs_attention) == (2, 1)
    assert {name: bench.left(name) for name in OTHERS} == dict.fromkeys(OTHERS, DAYS[2:])
    assert bench.count("readings") == 1
