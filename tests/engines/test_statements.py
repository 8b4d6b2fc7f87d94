"""
How many statements are sent, and that CrateDB's own parser understands each.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from cratedb_sqlparse import ParsingException, sqlparse  # type: ignore[import-untyped]

from cratedb_retention import RestoreRequest
from cratedb_retention.engine.cratedb import catalog
from support.databases import MONTH, TIME, CrateDatabase, Database, DuckDatabase

OLD, YOUNG = "2024-05-15T00:00:00Z", "2024-06-15T00:00:00Z"


def deletes(sent: list[str]) -> int:
    """How many of the statements delete something."""
    return sum(statement.startswith("DELETE") for statement in sent)


def test_many_partitions_on_duckdb(duck: DuckDatabase) -> None:
    """1,200 partitions go in one statement."""
    duck.create("hours", {"ts": TIME, "n": "TEXT", "hour": duck.bin("1 hour")}, by=["hour"])
    duck.sql(
        f"INSERT INTO {duck.q('hours')} (ts, n)"
        " SELECT TIMESTAMPTZ '2024-01-01T00:00:00Z' + to_hours(i), 'x' FROM range(1200) AS r (i)"
    )
    duck.policy("delete", "hours", "30d")
    with duck.statements() as sent:
        report = duck.run()
    assert (report.partitions, report.rows, duck.count("hours")) == (1200, 1200, 0)
    assert deletes(sent) == 1


def test_one_table_in_few_statements(crate: CrateDatabase) -> None:
    """Dropping partitions of one table costs little beyond the DELETE: each statement is a round trip."""
    crate.create("months", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    crate.fill("months", [OLD, YOUNG])
    crate.policy("delete", "months", "30d")
    crate.tool.plan()
    with crate.statements() as sent:
        assert crate.run().partitions == 1
    assert len(sent) == 22
    assert sum(statement.startswith("REFRESH") for statement in sent) == 1
    assert sum(statement.startswith("INSERT") for statement in sent) == 4
    events = [row["event"] for row in crate.journal(policy_id=crate.tool.policies()[0].policy.id)]
    assert sorted(events) == ["policy-created", "step-finished", "step-started"]


def test_tenants_with_the_same_months(db: Database) -> None:
    """
    Each branch of a condition costs time for each partition: the months of all tenants that have the same ones are
    listed once. Only what is expired goes, also where some tenants lack a month, and of the tenant NULL.
    """
    old = ["2024-03-15T00:00:00Z", "2024-04-15T00:00:00Z", OLD]
    db.create("months", {"ts": TIME, "n": "TEXT", "tenant": "TEXT", "month": MONTH}, by=["tenant", "month"])
    rows = {None: old, "a": old, "b": old, "c": old[1:], "d": old[1:], "e": old[:1], "f": []}
    db.insert(
        "months",
        [{"ts": ts, "n": f"{tenant} {ts[:7]}", "tenant": tenant} for tenant in rows for ts in (*rows[tenant], YOUNG)],
    )
    db.policy("delete", "months", "30d")
    with db.statements() as sent:
        report = db.run()
    assert report.partitions == sum(map(len, rows.values())) == 14
    assert db.left("months") == sorted(f"{tenant} {YOUNG[:7]}" for tenant in rows)
    (delete,) = (statement for statement in sent if statement.startswith("DELETE") and "month" in statement)
    near = 2 if db.product == "DuckDB" else 0  # Between which times the rows are.
    assert delete.count(" AND ") == 2 + near


@pytest.mark.slow("300 partitions are created")
def test_many_partitions_on_cratedb(crate: CrateDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of partitions is dropped by one statement, and no empty partition is left behind."""
    monkeypatch.setattr(catalog, "CAPABILITIES", replace(catalog.CAPABILITIES, dropped_at_once=50))
    crate.create("hours", {"ts": TIME, "n": "TEXT", "hour": crate.bin("1 hour")}, by=["hour"])
    crate.sql(
        f"INSERT INTO {crate.q('hours')} (ts, n)"
        " (SELECT 1704067200000 + i::bigint * 3600000, 'x' FROM generate_series(1, 130) AS g (i))"
    )
    crate.refresh("hours")
    crate.policy("delete", "hours", "30d")
    with crate.statements() as sent:
        report = crate.run()
    assert (report.partitions, crate.count("hours"), len(crate.partitions("hours"))) == (130, 0, 0)
    assert deletes(sent) == 3
    assert len(sent) < 40


def test_planning_in_a_fixed_number(db: Database) -> None:
    """Planning for 40 tables and policies takes as many statements as for one of each kind."""

    def add(numbers: range) -> None:
        for i in numbers:
            db.create(f"rows_{i}", {"ts": TIME, "n": "TEXT"})
            db.create(f"texts_{i}", {"ts": TIME, "n": "TEXT", "part": "TEXT"}, by=["part"])
            db.create(f"months_{i}", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
            for strategy, name in (("delete", "rows"), ("delete", "texts"), ("snapshot", "months")):
                more = {"partition_column": "part"} if name == "texts" else {}
                db.policy(strategy, f"{name}_{i}", "30d", **more)
        db.fill(f"texts_{numbers[0]}", [OLD], part="a")
        db.fill(f"months_{numbers[0]}", [OLD])
        db.fill(f"rows_{numbers[0]}", [OLD])

    counts = []
    for numbers in (range(1), range(1, 14)):
        add(numbers)
        with db.statements() as sent:
            plan = db.tool.plan()
        counts.append(len(sent))
        assert len(plan.tasks) == 3 * len(counts)
    assert len(db.tool.policies()) == 42
    assert counts[0] == counts[1] < 20


def test_idle_run_in_a_fixed_number(db: Database) -> None:
    """A run with nothing to do takes as many statements with 20 policies as with one, and does not grow."""
    counts = []
    for numbers in (range(1), range(1, 20)):
        for i in numbers:
            db.create(f"months_{i}", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
            db.policy("delete", f"months_{i}", "30d")
        db.fill(f"months_{numbers[0]}", [YOUNG])
        for _ in range(2):
            with db.statements() as sent:
                assert db.run().done == 0
            counts.append(len(sent))
    assert len(set(counts)) == 1 and counts[0] < 20


def test_cratedb_parses_each_statement(new_crate: CrateDatabase) -> None:
    """CrateDB's own grammar knows each statement that a life with the toolkit sends."""
    new_crate.retention()
    with new_crate.statements() as sent:
        live(new_crate)
    kinds = {" ".join(statement.split()[:2]) for statement in sent}
    assert {"CREATE SNAPSHOT", "RESTORE SNAPSHOT", "DELETE FROM", "ALTER TABLE", "CREATE TABLE"} <= kinds
    for statement in dict.fromkeys(sent):
        problems: list[Exception] = []
        try:
            sqlparse(statement, raise_exception=True)
        except ParsingException as error:
            problems.append(error)
        assert not problems, statement


def live(crate: CrateDatabase) -> None:
    """Something of everything."""
    crate.tool.setup()
    crate.create("months", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    crate.create("texts", {"ts": TIME, "n": "TEXT", "part": "TEXT"}, by=["part"])
    crate.create("events", {"ts": TIME, "n": "TEXT", "tenant": "TEXT"})
    crate.fill("months", [OLD, YOUNG])
    crate.fill("texts", [OLD], part="a")
    crate.fill("texts", [OLD], part=None)
    crate.fill("events", [OLD, YOUNG], tenant="acme")
    crate.policy("snapshot", "months", "30d", tags=["a", "b"])
    crate.policy("delete", "texts", "30d", partition_column="part")
    policy = crate.policy("delete", "events", "30d", where={"tenant": "acme"})
    hold = crate.tool.hold("events", crate.schema, where={"tenant": "beta"})
    crate.tool.edit_policy(policy.id or "", {"description": "x"})
    assert crate.run().ok
    crate.tool.release(hold.id)
    assert not [verified.error for verified in crate.tool.verify_snapshots() if verified.error]
    (restored,) = crate.tool.restore(RestoreRequest(table_name="months"))
    assert restored.error is None
    crate.tool.snapshot_states(crate.tool.snapshots())
    crate.journal()
    crate.tool.delete_policy(policy.id or "")
