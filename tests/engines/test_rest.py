"""A cascade of which nothing is due is at rest: plans read none of its windows, until something may be due again."""

from __future__ import annotations

from typing import Any

import pytest

from support.databases import TIME, Database, before_statements
from support.tiers import DECIDED, others_on_duckdb

DAY = f"{TIME} GENERATED ALWAYS AS (date_trunc('day', ts))"


@pytest.fixture
def resting(db: Database) -> Database:
    """A cascade that is at rest."""
    db.create("readings", {"ts": TIME, "x": "DOUBLE PRECISION", "day": DAY}, by=["day"])
    insert(db, "2024-06-20T10:10", "2024-06-29T10:10", "2024-06-30T11:10")
    db.policy("downsample", "readings", "7d", levels="1h:8d,1d:forever")
    for _ in range(3):
        assert db.run().ok
    assert is_at_rest(db)
    return db


def insert(db: Database, *times: str) -> None:
    """Add rows."""
    db.insert("readings", [{"ts": at, "x": 1.0} for at in times])
    db.refresh("readings")


def is_at_rest(db: Database, cutoff: str | None = None) -> bool:
    """Whether a plan without tasks reads no window."""
    if cutoff:
        db.time.set(cutoff)
    asked: list[str] = []
    with before_statements(db.tool.engine.database.engine, asked.append):
        plan = db.tool.plan()
    read = any("rollup_ledger" in text and text.startswith("SELECT") for text in asked)
    assert not (plan.tasks and not read)
    return not read


@DECIDED
def test_plan_is_the_same(resting: Database) -> None:
    """What is up to date is said, and legal holds of levels are."""
    before = resting.tool.plan()
    assert [(each.table.name, each.partitions) for each in before.up_to_date] == [
        ("readings", 2),
        ("readings_1h", 2),
        ("readings_1d", 1),
    ]
    resting.sql(f"UPDATE {resting.q('rollup', resting.own_schema)} SET at_rest = NULL")
    resting.refresh("rollup", resting.own_schema)
    assert not is_at_rest(resting)
    assert resting.tool.plan() == before
    resting.run()
    hold = resting.tool.hold("readings_1h", resting.schema)
    assert [each.id for each in resting.tool.plan().legal_holds] == [hold.id]


@DECIDED
def test_until_something_is_due(resting: Database) -> None:
    """It is judged after a day, and when a partition expires."""
    assert is_at_rest(resting, "2024-07-02T23:00:00+00:00")
    assert not is_at_rest(resting, "2024-07-03T00:00:00+00:00")
    resting.run()
    assert is_at_rest(resting, "2024-07-03T23:00:00+00:00")
    resting.time.set("2024-07-06T12:00:00+00:00")
    for _ in range(2):
        resting.run()
    assert is_at_rest(resting, "2024-07-06T23:00:00+00:00")
    assert not is_at_rest(resting, "2024-07-07T00:00:00+00:00")
    assert resting.tool.plan().tasks


@DECIDED
def test_until_a_bucket_is_complete(resting: Database) -> None:
    """Rows of an hour that is not over yet are waited for."""
    resting.time.set("2024-07-02T10:00:00+00:00")
    insert(resting, "2024-07-02T09:10")
    for _ in range(2):
        assert resting.run().ok
    assert is_at_rest(resting, "2024-07-02T10:59:00+00:00")
    assert not is_at_rest(resting, "2024-07-02T11:00:00+00:00")


CHANGES: dict[str, Any] = {
    "late row": lambda db: insert(db, "2024-06-20T10:20"),
    "row": lambda db: insert(db, "2024-06-30T11:20"),
    "deleted": lambda db: db.sql(f"DELETE FROM {db.q('readings')} WHERE day = '2024-06-30'"),
    "level": lambda db: db.sql(f"DROP TABLE {db.q('readings_1h')}"),
    "view": lambda db: db.sql(f"DROP VIEW {db.q('readings_all')}"),
    "column": lambda db: db.sql(f"ALTER TABLE {db.q('readings')} ADD COLUMN y DOUBLE PRECISION"),
    "policy": lambda db: db.tool.edit_policy(db.tool.policies()[0].policy.id or "", {"retention_period": "6d"}),
    "another policy": lambda db: db.policy("delete", "readings", "5d"),
    "one on a level": lambda db: db.policy("delete", "readings_1h", "5d"),
}


OF_DATA = ("late row", "deleted")


@pytest.mark.parametrize("what", [*OF_DATA, *others_on_duckdb(*(what for what in CHANGES if what not in OF_DATA))])
@pytest.mark.some(5)
def test_change(resting: Database, what: str) -> None:
    """Whatever changes, it is judged again."""
    CHANGES[what](resting)
    resting.refresh("readings")
    assert not is_at_rest(resting)


@DECIDED
def test_what_is_blocked_is_said_again(resting: Database) -> None:
    """A late row that is kept is reported by each plan."""
    insert(resting, "2024-06-20T10:20")
    for _ in range(3):
        resting.run()
        assert [each.why.code for each in resting.tool.plan().blocked] == ["late-kept"]


@DECIDED
def test_warnings_are_said_again(resting: Database) -> None:
    """Data that is far ahead of the cutoff is reported by each plan."""
    insert(resting, "2024-07-09T10:10")
    for _ in range(3):
        resting.run()
        assert [each.code for each in resting.tool.plan().warnings] == ["ahead-of-cutoff"]
