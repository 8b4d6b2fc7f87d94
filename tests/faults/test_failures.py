"""
What goes wrong in the middle of a run stays where it went wrong, and is told: in the report and in the journal (law 9).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cratedb_retention.errors import DatabaseError, RetentionError
from cratedb_retention.execution.runs.events import (
    Observer,
    RunEvent,
    StepFailed,
    StepFinished,
    StepProgressed,
    StepStarted,
    TaskSkipped,
)
from cratedb_retention.model.plan.plan import DropArchived, FreezePartitions, SnapshotPartition, Step, VerifySnapshot
from support.databases import MONTH, TIME, CrateDatabase, Database, DuckDatabase, before_statements
from support.tiers import others_on_duckdb

DAYS = ["2024-04-10", "2024-05-15", "2024-06-20"]
BY_MONTH = {"ts": TIME, "n": "TEXT", "month": MONTH}


def create_by_month(db: Database, name: str) -> None:
    """A table with two expired partitions and a young one, a row in each."""
    db.create(name, BY_MONTH, by=["month"])
    db.fill(name, DAYS)


def test_broken_repository_stops_one_table_only(db: Database) -> None:
    """Where archiving fails, nothing is dropped and the table's other tasks are skipped; the other table goes on."""
    create_by_month(db, "archived")
    create_by_month(db, "deleted")
    keeping = db.policy("snapshot", "archived", "30d")
    dropping = db.policy("delete", "deleted", "30d")
    db.break_repository()
    events: list[RunEvent] = []

    report = db.tool.run(observers=[events.append])

    assert (report.ok, report.failed, report.skipped, report.partitions) == (False, 1, 1, 2)
    assert (db.left("archived"), db.left("deleted")) == (DAYS, DAYS[2:])
    assert [type(e) for e in events if isinstance(e, StepFailed | TaskSkipped)] == [StepFailed, TaskSkipped]
    ends = {row["step"]: row for row in db.journal(event="step-finished", policy_id=keeping.id, outcome="failed")}
    failure, skip = (ends[number] for number in sorted(ends))
    assert failure["operation"] == "snapshot_partition"
    assert db.repository.rpartition("/")[2] in failure["error"]
    assert skip["error"] == "skipped: an earlier step of this policy failed on this table"
    (done,) = db.journal(event="step-finished", policy_id=dropping.id)
    steps = 4 if isinstance(db, CrateDatabase) else 3
    assert ([*sorted(ends), done["step"]], done["outcome"]) == ([steps - 2, 2 * steps, 2 * steps + 1], "done")
    (end,) = db.journal(event="run-finished")
    assert (end["outcome"], end["partitions"], end["rows"]) == ("failed", 2, report.rows)
    assert (end["bytes"], "1 failed, 1 skipped" in end["message"]) == (report.bytes, True)


def test_broken_repository_leaves_nothing_frozen(crate: CrateDatabase) -> None:
    """After a failure the partition takes writes again, and nothing is noted as frozen."""
    create_by_month(crate, "archived")
    crate.policy("snapshot", "archived", "30d")
    crate.break_repository()
    assert not crate.run().ok
    assert crate.frozen("archived") == 0
    assert not crate.tool.store.freezes.all()
    crate.fill("archived", ["2024-04-11"])


def test_read_only_table_does_not_stop_others(crate: CrateDatabase) -> None:
    """A table that somebody made read-only fails with CrateDB's reason in the journal; the other table goes on."""
    create_by_month(crate, "a")
    create_by_month(crate, "b")
    policies = [crate.policy("delete", name, "30d") for name in ("a", "b")]
    crate.sql(f'ALTER TABLE {crate.q("a")} SET ("blocks.read_only" = true)')
    report = crate.run()
    crate.sql(f'ALTER TABLE {crate.q("a")} SET ("blocks.read_only" = false)')
    assert (report.ok, report.failed, report.done) == (False, 1, 1)
    assert (crate.left("a"), crate.left("b")) == (DAYS, DAYS[2:])
    (row,) = crate.journal(event="step-finished", policy_id=policies[0].id)
    assert row["outcome"] == "failed"
    assert "doesn't support or allow DELETE" in row["error"]
    assert crate.run().ok
    assert crate.left("a") == DAYS[2:]


def test_nothing_is_removed_without_an_audit_log(db: Database) -> None:
    """If the start of a run cannot be written, nothing is removed and its leases are free for the next run."""
    create_by_month(db, "metrics")
    db.policy("delete", "metrics", "30d")
    prepared = db.tool.prepare()
    db.sql(f"DROP TABLE {db.q('jobs_log', db.own_schema)}")
    with pytest.raises(RetentionError):
        db.tool.run(prepared)
    assert db.left("metrics") == DAYS
    assert [lease.holder for lease in db.tool.store.leases.read().by_policy.values()] == [None]
    db.tool.setup()
    assert db.run().ok
    assert db.left("metrics") == DAYS[2:]
    assert sorted(row["event"] for row in db.journal()) == [
        "run-finished",
        "run-started",
        "step-finished",
        "step-started",
    ]


def test_referenced_rows_do_not_stop_others(duck: DuckDatabase) -> None:
    """A table whose rows another one refers to fails with DuckDB's reason in the journal; the other table goes on."""
    duck.create("a", {"ts": TIME, "n": "TEXT"}, key="PRIMARY KEY (n)")
    duck.create("child", {"n": "TEXT"}, key=f"FOREIGN KEY (n) REFERENCES {duck.q('a')} (n)")
    duck.create("b", {"ts": TIME, "n": "TEXT"})
    for name in ("a", "b"):
        duck.fill(name, DAYS)
    duck.insert("child", [{"n": DAYS[0]}])
    policies = [duck.policy("delete", name, "30d") for name in ("a", "b")]

    report = duck.run()

    assert (report.ok, report.failed, report.done) == (False, 1, 1)
    assert (duck.left("a"), duck.left("b")) == (DAYS, DAYS[2:])
    (row,) = duck.journal(event="step-finished", policy_id=policies[0].id)
    assert row["outcome"] == "failed"
    assert "foreign key constraint" in row["error"]


def test_an_audit_log_that_fails_once(duck: DuckDatabase) -> None:
    """Without its start in the audit log a run changes nothing, also where the log could be written a moment later."""
    for name in ("a", "b"):
        create_by_month(duck, name)
        duck.policy("delete", name, "30d")
    failed: list[str] = []

    def fail(statement: str) -> None:
        if statement.startswith("INSERT") and "jobs_log" in statement and not failed:
            failed.append(statement)
            raise DatabaseError("audit log", "is damaged")

    with before_statements(duck.tool.engine.database.engine, fail), pytest.raises(DatabaseError, match="is damaged"):
        duck.run()
    assert (duck.left("a"), duck.left("b")) == (DAYS, DAYS)
    assert duck.run().partitions == 4


def interrupt_at(kind: type[Step], event_type: type[RunEvent]) -> Observer:
    """An observer that acts like somebody who presses Ctrl+C."""

    def observe(event: RunEvent) -> None:
        if isinstance(event, event_type) and isinstance(getattr(event, "step", None), kind):
            raise KeyboardInterrupt

    return observe


AFTER_WHICH_IT_IS_GONE = {(DropArchived, StepFinished)}
MOMENTS = [
    (kind, event)
    for kind in (FreezePartitions, SnapshotPartition, VerifySnapshot, DropArchived)
    for event in (StepStarted, StepFinished)
]
FREEZING = [(FreezePartitions, StepStarted), (FreezePartitions, StepProgressed), (FreezePartitions, StepFinished)]


@pytest.mark.parametrize(("kind", "event"), [*FREEZING, *MOMENTS[2:]], ids=lambda value: value.__name__)
@pytest.mark.some(4)
def test_interrupted_snapshot(crate: CrateDatabase, kind: type[Step], event: type[RunEvent]) -> None:
    """Ctrl+C at any step of archiving: the partition is there or archived, thawed, and the journal tells the end."""
    assert_interrupted_well(crate, kind, event)


@pytest.mark.parametrize(("kind", "event"), MOMENTS[2:], ids=lambda value: value.__name__)
@pytest.mark.some(4)
def test_interrupted_snapshot_duckdb(duck: DuckDatabase, kind: type[Step], event: type[RunEvent]) -> None:
    """The same on DuckDB, where nothing is frozen."""
    assert_interrupted_well(duck, kind, event)


def assert_interrupted_well(db: Database, kind: type[Step], event: type[RunEvent]) -> None:
    """Interrupt a run, look at what it left, and let the next one finish."""
    create_by_month(db, "archived")
    db.policy("snapshot", "archived", "30d")
    with pytest.raises(KeyboardInterrupt):
        db.tool.run(observers=[interrupt_at(kind, event)])
    assert not db.tool.store.freezes.all()
    assert not isinstance(db, CrateDatabase) or db.frozen("archived") == 0
    gone = (kind, event) in AFTER_WHICH_IT_IS_GONE
    assert db.left("archived") == (DAYS[1:] if gone else DAYS)
    (row,) = db.journal(event="run-finished")
    assert (row["outcome"], row["error"]) == ("failed", "ended early: KeyboardInterrupt()")
    assert "1 failed" in row["message"]
    assert db.run().ok
    assert db.left("archived") == DAYS[2:]
    verified = db.tool.verify_snapshots()
    assert [(v.error, v.record.archived.rows, str(v.record.stage)) for v in verified] == [(None, 1, "archived")] * 2


def disable_by_sql(db: Database, policy: str) -> None:
    """As people do it who know the table: its version stays what it was."""
    table = db.q("retention_policy", db.own_schema)
    db.sql(f"UPDATE {table} SET enabled = FALSE WHERE id = ?", [policy])
    db.refresh("retention_policy", db.own_schema)


CHANGES: dict[str, Callable[[Database, str], Any]] = {
    "changed": lambda db, policy: db.tool.edit_policy(policy, {"retention_period": "10y"}),
    "disabled": lambda db, policy: db.tool.edit_policy(policy, {"enabled": False}),
    "disabled by SQL": disable_by_sql,
    "deleted": lambda db, policy: db.tool.delete_policy(policy),
    "held": lambda db, policy: db.tool.hold("t*", db.schema, reason="lawsuit"),
}


@pytest.mark.parametrize("strategy", ["delete", "snapshot"])
@pytest.mark.parametrize("change", ["disabled by SQL", "held", *others_on_duckdb("changed", "disabled", "deleted")])
def test_change_after_planning_defers(db: Database, change: str, strategy: str) -> None:
    """What was changed, disabled, deleted or put on hold between plan and run is not touched, and not a failure."""
    create_by_month(db, "t")
    policy = db.policy(strategy, "t", "30d")
    prepared = db.tool.prepare()
    CHANGES[change](db, policy.id or "")

    report = db.tool.run(prepared)

    assert (report.ok, report.done, report.deferred) == (True, 0, len(prepared.plan.tasks))
    assert db.left("t") == DAYS
    assert not db.tool.snapshots()
    rows = db.journal(event="step-finished")
    assert {row["outcome"] for row in rows} == {"deferred"}
    assert all("since the plan was made" in row["error"] for row in rows)
    assert not db.journal(event="step-started")


def test_hold_after_planning_keeps_what_is_rolled_up(duck: DuckDatabase) -> None:
    """Rollups are computed, which no hold prevents; but the rows that they are made from stay while it lasts."""
    create_by_month(duck, "t")
    duck.policy("downsample", "t", "30d", levels="1d:forever")
    prepared = duck.tool.prepare()
    hold = duck.tool.hold("t", duck.schema)
    report = duck.tool.run(prepared)
    assert (report.ok, report.deferred > 0, duck.left("t"), duck.count("t_1d")) == (True, True, DAYS, len(DAYS))
    duck.tool.release(hold.id)
    assert (duck.run().ok, len(duck.left("t")) < len(DAYS)) == (True, True)
