"""
Which data a policy is about, on both engines: filters, patterns, several policies on one table.
"""

from __future__ import annotations

import pytest

from support.databases import MONTH, NUMBER, TIME, Database

BY_MONTH = {"ts": TIME, "n": "TEXT", "tenant": "TEXT", "month": MONTH}
OLD, MAY, YOUNG = "2023-01-15T00:00:00Z", "2024-05-15T00:00:00Z", "2024-06-15T00:00:00Z"


def fill(db: Database, table: str, schema: str | None = None) -> None:
    """Rows of two tenants and of none, in three months."""
    for tenant in ("acme", "beta", None):
        rows = [{"ts": day, "n": f"{tenant} {day[:7]}", "tenant": tenant} for day in (OLD, MAY, YOUNG)]
        db.insert(table, rows, schema)


ALL = sorted(f"{tenant} {day[:7]}" for tenant in ("acme", "beta", None) for day in (OLD, MAY, YOUNG))


def without(*gone: str) -> list[str]:
    """The names of the rows that stay."""
    assert set(gone) <= set(ALL)
    return [name for name in ALL if name not in gone]


@pytest.fixture
def tenants(db: Database) -> str:
    """A table partitioned by tenant and month."""
    db.create("tenants", BY_MONTH, by=["tenant", "month"])
    fill(db, "tenants")
    return "tenants"


def test_where_partition_column(db: Database, tenants: str) -> None:
    """Only the partitions of one tenant go."""
    db.policy("delete", tenants, "30d", where={"tenant": "acme"})
    assert db.run().partitions == 2
    assert db.left(tenants) == without("acme 2023-01", "acme 2024-05")


def test_where_null(db: Database, tenants: str) -> None:
    """NULL is a value that one can ask for."""
    db.policy("delete", tenants, "30d", where={"tenant": None})
    db.run()
    assert db.left(tenants) == without("None 2023-01", "None 2024-05")


def test_different_periods(db: Database, tenants: str) -> None:
    """Several policies on one table, each with its own period for its own rows."""
    db.policy("delete", tenants, "30d", where={"tenant": "acme"})
    db.policy("delete", tenants, "1y", where={"tenant": "beta"})
    assert db.run().ok
    assert db.left(tenants) == without("acme 2023-01", "acme 2024-05", "beta 2023-01")


def test_overlapping_policies(db: Database, tenants: str) -> None:
    """Two policies that want the same partition take it once, and each row goes with the stricter one."""
    db.policy("delete", tenants, "30d", where={"tenant": "acme"})
    db.policy("delete", tenants, "1y")
    report = db.run()
    assert (report.ok, report.partitions, report.rows) == (True, 4, 4)
    assert db.left(tenants) == without("acme 2023-01", "acme 2024-05", "beta 2023-01", "None 2023-01")


def test_where_month(db: Database, tenants: str) -> None:
    """A filter on the time column of the partitions, given as a date."""
    db.policy("delete", tenants, "30d", where={"month": "2023-01-01", "tenant": "beta"})
    db.run()
    assert db.left(tenants) == without("beta 2023-01")


def test_where_number_as_text(db: Database) -> None:
    """A number partition is found by a value written as text, as a command line has it."""
    db.create("sites", {"ts": TIME, "n": "TEXT", "site": "INTEGER", "month": MONTH}, by=["site", "month"])
    db.insert("sites", [{"ts": MAY, "n": f"{site}", "site": site} for site in (7, 8)])
    db.policy("delete", "sites", "30d", where={"site": "7"})
    db.run()
    assert db.left("sites") == ["8"]


def test_where_other_column(db: Database) -> None:
    """A filter on a column that does not partition the table deletes row by row, to the instant."""
    db.create("metrics", BY_MONTH, by=["month"])
    fill(db, "metrics")
    db.policy("delete", "metrics", "17d", where={"tenant": "acme"})
    report = db.run()
    assert db.left("metrics") == without("acme 2023-01", "acme 2024-05")
    assert (report.partitions, report.rows) == (0, 2)
    db.time.set("2024-07-02T00:00:00.001+00:00")
    db.run()
    assert db.left("metrics") == without("acme 2023-01", "acme 2024-05", "acme 2024-06")


def test_where_other_column_null(db: Database) -> None:
    """The same with NULL."""
    db.create("metrics", BY_MONTH, by=["month"])
    fill(db, "metrics")
    db.policy("delete", "metrics", "30d", where={"tenant": None})
    db.run()
    assert db.left("metrics") == without("None 2023-01", "None 2024-05")


def test_where_unknown_column(db: Database, tenants: str) -> None:
    """A filter on a column that the table lacks is a problem, not an empty filter."""
    db.policy("delete", tenants, "30d", where={"tennant": "acme"})
    report = db.run()
    assert (report.needs_attention, report.done) == (1, 0)
    assert db.left(tenants) == ALL


def test_pattern_of_tables(db: Database) -> None:
    """`metrics_*` means tables whose names begin so, and `_` in it stands for itself."""
    for name in ("metrics_a", "metrics_b", "metricsxc", "other"):
        db.create(name, BY_MONTH, by=["month"])
        fill(db, name)
    db.policy("delete", "metrics_*", "30d")
    assert db.run().ok
    assert [db.count(name) for name in ("metrics_a", "metrics_b", "metricsxc", "other")] == [3, 3, 9, 9]


def test_pattern_of_schemas(db: Database) -> None:
    """A pattern of schemas covers tables of several schemas, and never the toolkit's own."""
    db.create("metrics", BY_MONTH, by=["month"])
    fill(db, "metrics")
    prefix = db.schema[:-1] + "?"
    db.policy("delete", "*", "30d", table_schema=f"{prefix}*")
    db.time.set("2034-07-02T00:00:00+00:00")
    # What the run itself writes is as old as the run; what was written until here is ten years old.
    before = db.count("jobs_log", schema=db.own_schema)
    assert before > 0
    report = db.run()
    assert report.ok
    assert db.left("metrics") == []
    assert db.count("jobs_log", schema=db.own_schema) > before
    assert len(db.tool.policies()) == 1


def test_own_table_by_name(db: Database) -> None:
    """The journal can be kept for a limited time by naming it."""
    db.policy("delete", "jobs_log", "90d", table_schema=db.own_schema, time_column="time")
    assert len(db.journal(event="policy-created")) == 1
    db.time.set("2025-01-01T00:00:00+00:00")
    assert db.run().ok
    assert db.journal(event="policy-created") == []
    assert len(db.journal(event="run-finished")) == 1


def test_patterns_leave_the_own_tables_alone(db: Database) -> None:
    """A pattern that fits everything means tables of users: no row of the journal goes, whatever its age."""
    db.create("metrics", {"time": TIME, "n": "TEXT"})
    db.insert("metrics", [{"time": OLD, "n": "x"}])
    db.policy("delete", "*", "90d", table_schema="*", time_column="time", id="everything")
    db.time.set("2025-01-01T00:00:00+00:00")
    plan = db.tool.plan()
    assert {str(task.table) for task in plan.tasks} >= {str(db.table("metrics"))}
    assert not [task for task in plan.tasks if task.table.schema == db.own_schema]
    db.tool.edit_policy("everything", {"table_schema": db.own_schema})
    assert not db.tool.plan().tasks


def test_no_such_table(db: Database) -> None:
    """A policy for a table that is not there is a problem, and the other policies go on."""
    db.create("metrics", BY_MONTH, by=["month"])
    fill(db, "metrics")
    db.policy("delete", "a_missing", "30d")
    db.policy("delete", "metrics", "30d")
    report = db.run()
    assert (report.needs_attention, report.done, report.ok) == (1, 1, False)
    assert db.count("metrics") == 3


def test_wrong_partition_column(db: Database, tenants: str) -> None:
    """A policy that names a column that does not partition the table is a problem."""
    db.policy("delete", tenants, "30d", partition_column="ts")
    report = db.run()
    assert (report.needs_attention, report.done) == (1, 0)
    assert db.left(tenants) == ALL


def test_expected_max(db: Database, tenants: str) -> None:
    """A run that would go beyond the policy's limit holds instead."""
    policy = db.policy("delete", tenants, "30d", expected_max={"partitions": 5})
    report = db.run()
    assert (report.needs_attention, report.done) == (1, 0)
    assert db.left(tenants) == ALL
    db.tool.edit_policy(policy.id or "", {"expected_max": {"partitions": 6, "percent": 70, "rows": 6}})
    assert db.run().ok
    assert db.count(tenants) == 3


def test_view_is_no_table(db: Database) -> None:
    """A pattern does not mean views."""
    db.create("metrics", {"ts": TIME, "n": "TEXT", "value": NUMBER})
    db.fill("metrics", [OLD, YOUNG])
    db.sql(f"CREATE VIEW {db.q('metrics_view')} AS SELECT * FROM {db.q('metrics')}")
    db.policy("delete", "metrics*", "30d")
    report = db.run()
    assert (report.ok, report.rows) == (True, 1)
    assert db.left("metrics") == [YOUNG]
