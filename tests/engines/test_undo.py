"""
What policies with `recoverable` delete is archived first, can be brought back for a while, and then ends, on both
engines: whole, beside rows that arrived since, and none twice.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from cratedb_retention import RestoreRequest
from cratedb_retention.errors import Conflict, InvalidInput, NotFound
from cratedb_retention.execution.archive import Restored
from cratedb_retention.model.archive import SnapshotStage
from cratedb_retention.model.holds import HoldKind
from cratedb_retention.model.plan.plan import DropPartitions
from cratedb_retention.model.runs import RunOptions
from support.databases import MONTH, NUMBER, TIME, CrateDatabase, Database, DuckDatabase
from support.tiers import others_on_duckdb

BY_MONTH = {"ts": TIME, "n": "TEXT", "month": MONTH}
APRIL, MAY, JUNE = "2024-04-10T00:00:00Z", "2024-05-10T00:00:00Z", "2024-06-10T00:00:00Z"
LATE = "2024-05-20T00:00:00Z"
ON_DUCKDB = pytest.mark.long("it is decided from the same rows; make test has this on DuckDB", on="cratedb")
# Of 2 July, where tests begin.
A_WEEK_LATER, BEFORE = "2024-07-09T00:00:00+00:00", "2024-07-08T23:59:59+00:00"


def deleted(db: Database, **more: Any) -> str:
    """A table of which April and May were deleted, recoverable for a week; the run that did so."""
    db.create("metrics", BY_MONTH, by=["month"])
    db.fill("metrics", [APRIL, MAY, MAY, JUNE])
    # What it takes to prove an archive before the drop is in test_archive_proof.py.
    known = {"recoverable": "7d", "id": "week", "tags": ["a"], "verify": "metadata"}
    db.policy("delete", "metrics", "30d", **{**known, **more})
    report = db.run()
    assert (report.ok, report.partitions, report.rows) == (True, 2, 3)
    assert db.left("metrics") == [JUNE]
    return report.run_id


def undo(db: Database, *given: str, **more: Any) -> list[Restored]:
    """Bring back, and be sure that all of it came."""
    found = db.tool.undo(*given, **more)
    assert [item.error for item in found] == [None] * len(found)
    return found


def recorded(db: Database) -> list[str]:
    return [record.archived.name for record in db.tool.snapshots()]


@pytest.mark.parametrize("by", ["run", *others_on_duckdb("policy", "table", "beginnings")])
def test_comes_back(db: Database, by: str) -> None:
    """By run, policy or table: with all rows, on hold, until a user releases them; the audit log has it by the run."""
    run_id = deleted(db)
    given: dict[str, Any] = {
        "run": {"run_id": run_id},
        "policy": {"policy_id": "week"},
        "table": {"table_schema": db.schema, "table_name": "metr*"},
        "beginnings": {"run_id": run_id[:6]},
    }[by]
    request = RestoreRequest.of_undo(**given)
    assert [item.refusal for item in db.tool.archive.preview(request)] == [None, None]
    found = undo(db, **given)
    assert sorted(item.rows or 0 for item in found) == [1, 2]
    assert db.left("metrics") == [APRIL, MAY, MAY, JUNE]
    [hold] = db.tool.holds()
    assert (hold.kind, hold.placed_by) == (HoldKind.RESTORED, "tester")
    rows = db.journal(event="restored", run_id=run_id)
    assert sorted((row["outcome"], row["rows"], row["policy_id"], row["tags"]) for row in rows) == [
        ("done", 1, "week", ["a"]),
        ("done", 2, "week", ["a"]),
    ]
    report = db.run()
    assert (report.ok, report.partitions, report.blocked) == (True, 0, 1)
    assert db.left("metrics") == [APRIL, MAY, MAY, JUNE]


@ON_DUCKDB
def test_comes_back_again(db: Database) -> None:
    """What another run deleted after the release belongs to that run, whichever made the archive."""
    undo(db, deleted(db))
    db.fill("metrics", [LATE])
    [hold] = db.tool.holds()
    db.tool.release(hold.id)
    report = db.run()
    assert (report.partitions, db.left("metrics")) == (2, [JUNE])
    undo(db, report.run_id)  # The archive of April was made by the first run.
    assert db.left("metrics") == [APRIL, MAY, MAY, LATE, JUNE]


def test_proved_before_the_drop(db: Database) -> None:
    """The plan archives, verifies and drops each partition, and says for how long; nothing is dropped otherwise."""
    db.create("metrics", BY_MONTH, by=["month"])
    db.fill("metrics", [APRIL, JUNE])
    db.policy("delete", "metrics", "30d", recoverable="7d")
    plan = db.tool.plan()
    [task] = plan.tasks
    names = [step.operation() for step in task.steps]
    assert [name for name in names if name != "freeze_partitions"] == [
        "snapshot_partition",
        "verify_snapshot",
        "drop_archived",
    ]
    assert task.steps[-1].describe() == "drop archived partition month=2024-04-01, recoverable for 7d"
    assert not any(isinstance(step, DropPartitions) for step in task.steps)
    db.break_repository()
    report = db.run()
    assert (report.ok, report.partitions, db.left("metrics")) == (False, 0, [APRIL, JUNE])
    db.mend_repository()


def test_ends_after_that_time(db: Database) -> None:
    """Until then it can be brought back; the first run after that deletes the archives for good, and says why."""
    deleted(db)
    names = recorded(db)
    [until] = {record.recoverable_until for record in db.tool.snapshots()}
    assert until == dt.datetime.fromisoformat(A_WEEK_LATER)
    assert {line.ends for line in db.tool.archive.lines(db.tool.snapshots())} == {round(until.timestamp() * 1000)}
    db.time.set(BEFORE)
    assert (db.run().done, recorded(db)) == (0, names)
    assert db.tool.plan().next_due == round(until.timestamp() * 1000)
    db.time.set(A_WEEK_LATER)
    reasons = {task.reason for task in db.tool.plan().tasks}
    assert reasons == {"deleted, and recoverable until 2024-07-09"}
    assert db.run().ok
    assert (db.snapshot_names(), recorded(db)) == ([], [])
    with pytest.raises(NotFound, match="nothing can be brought back"):
        db.tool.undo(table_schema=db.schema, table_name="metrics")


def test_rows_that_arrived_since(db: Database) -> None:
    """They stay; of rows that were sent again, none is there twice; and those that were twice come back twice."""
    deleted(db)
    db.fill("metrics", [MAY, LATE])
    assert [item.rows for item in undo(db, policy_id="week")] == [1, 1]
    assert db.left("metrics") == [APRIL, MAY, MAY, LATE, JUNE]
    [hold] = db.tool.holds()
    db.tool.release(hold.id)
    assert (db.run().partitions, db.left("metrics")) == (2, [JUNE])
    undo(db, policy_id="week")
    assert db.left("metrics") == [APRIL, MAY, MAY, LATE, JUNE]


@ON_DUCKDB
def test_only_rows_that_arrived_since(db: Database) -> None:
    """Beside rows that are all different, everything comes back."""
    deleted(db)
    db.fill("metrics", [LATE])
    undo(db, policy_id="week")
    assert db.left("metrics") == [APRIL, MAY, MAY, LATE, JUNE]


def test_all_of_it_was_sent_again(db: Database) -> None:
    """Nothing is added, and the partition is archived again later, with what arrived since."""
    deleted(db)
    db.fill("metrics", [APRIL, MAY, MAY, LATE])
    undo(db, policy_id="week")
    assert db.left("metrics") == [APRIL, MAY, MAY, LATE, JUNE]
    [hold] = db.tool.holds()
    db.tool.release(hold.id)
    assert (db.run().partitions, db.left("metrics")) == (2, [JUNE])
    undo(db, policy_id="week")
    assert db.left("metrics") == [APRIL, MAY, MAY, LATE, JUNE]


@ON_DUCKDB
def test_several_runs(db: Database) -> None:
    """Late rows that another run deleted are in archives of their own: each run is undone by itself, or both."""
    first = deleted(db)
    db.fill("metrics", [LATE, MAY])
    second = db.run()
    assert (second.partitions, db.left("metrics")) == (1, [JUNE])
    undo(db, second.run_id)
    assert db.left("metrics") == [MAY, LATE, JUNE]
    undo(db, first)
    assert db.left("metrics") == [APRIL, MAY, MAY, LATE, JUNE]


def test_all_runs_at_once(db: Database) -> None:
    """Of several archives of a partition, each row comes back as often as it is in one of them."""
    deleted(db)
    db.fill("metrics", [LATE, MAY])
    assert db.run().partitions == 1
    undo(db, policy_id="week")
    assert db.left("metrics") == [APRIL, MAY, MAY, LATE, JUNE]


def test_a_row_of_the_same_key(db: Database) -> None:
    """
    A row with the same primary key but other values is not replaced: nothing of the partition comes back. One with the
    same values counts as the row that was sent again.
    """
    db.create("metrics", {"ts": TIME, "n": "TEXT", "month": TIME}, by=["month"], key='PRIMARY KEY ("ts", "month")')
    rows = [{"ts": day, "n": "old", "month": f"{day[:7]}-01T00:00:00Z"} for day in (APRIL, MAY, LATE)]
    db.insert("metrics", rows)
    db.policy("delete", "metrics", "30d", recoverable="7d", id="week", partition_column="month", verify="metadata")
    assert db.run().partitions == 2
    db.insert("metrics", [{**rows[1], "n": "new"}])
    april, may = db.tool.undo(policy_id="week")
    assert (april.error, "another table" in (may.error or "")) == (None, True)
    assert db.left("metrics") == ["new", "old"]
    [back] = db.tool.restore(RestoreRequest(name=may.record.archived.name, into=db.table("back")))
    assert (back.error, db.left("back")) == (None, ["old", "old"])
    db.sql(f"DELETE FROM {db.q('metrics')} WHERE n = 'new'")
    db.refresh("metrics")
    db.insert("metrics", [rows[1]])
    assert [item.rows for item in undo(db, policy_id="week")] == [1]
    assert db.left("metrics") == ["old", "old", "old"]


@ON_DUCKDB
def test_while_it_is_run(db: Database) -> None:
    """While a run of the policy goes on, it could delete again what came back: the undo is refused, without a hold."""
    deleted(db)
    session = db.tool.schedule.session(RunOptions())
    taken = session.leases.take({"week": None}, db.tool.schedule.leases())
    assert list(taken.won) == ["week"]
    with pytest.raises(Conflict, match="is being run or undone"):
        db.tool.undo(policy_id="week")
    assert (db.tool.holds(), db.left("metrics")) == ([], [JUNE])
    session.leases.release({})
    undo(db, policy_id="week")
    assert db.left("metrics") == [APRIL, MAY, MAY, JUNE]
    assert not db.tool.schedule.leases().of("week").holder


@ON_DUCKDB
def test_two_at_once(db: Database) -> None:
    """Another undo of the same policy is refused while one goes on, and a run is deferred."""
    deleted(db)
    other, seen = db.retention("another"), list[str]()

    def meanwhile(item: Restored) -> None:
        with pytest.raises(NotFound if seen else Conflict):  # In the end, there is nothing left.
            other.undo(policy_id="week")
        leases = other.schedule.leases()
        seen.append(leases.of("week").holder or "")

    undo(db, policy_id="week", told=meanwhile)
    assert (len(seen), all(seen)) == (2, True)
    assert db.left("metrics") == [APRIL, MAY, MAY, JUNE]


def test_only_what_is_recoverable(duck: DuckDatabase) -> None:
    """Archives of `snapshot` are restored, not undone; a policy without the attribute deletes as ever."""
    duck.create("kept", BY_MONTH, by=["month"])
    duck.fill("kept", [APRIL])
    duck.policy("snapshot", "kept", "30d")
    duck.create("gone", BY_MONTH, by=["month"])
    duck.fill("gone", [APRIL])
    duck.policy("delete", "gone", "30d")
    run_id = duck.run().run_id
    assert (duck.left("kept"), duck.left("gone")) == ([], [])
    choices: list[dict[str, Any]] = [{"run_id": run_id}, {"table_schema": "*", "table_name": "*"}]
    for given in (*choices, {"policy_id": "nosuch"}):
        with pytest.raises(NotFound, match="nothing can be brought back"):
            duck.tool.undo(**given)
    with pytest.raises(InvalidInput, match="nothing is selected"):
        duck.tool.undo(table_schema="*")


def test_undone_already(duck: DuckDatabase) -> None:
    """A second undo finds nothing, also after the partitions were archived by another policy."""
    run_id = deleted(duck)
    undo(duck, run_id)
    with pytest.raises(NotFound, match="it was brought back already"):
        duck.tool.undo(run_id)


def test_a_policy_that_archives_takes_over(duck: DuckDatabase) -> None:
    """An archive of `snapshot` that the same snapshot serves is not recoverable any more, and stays for its time."""
    deleted(duck)
    undo(duck, policy_id="week")
    [hold] = duck.tool.holds()
    duck.tool.release(hold.id)
    duck.tool.policies.delete("week")
    duck.policy("snapshot", "metrics", "30d", id="years")
    assert duck.run().partitions == 2
    found = {(record.policy_id, record.recoverable_until, record.stage) for record in duck.tool.snapshots()}
    assert found == {("years", None, SnapshotStage.ARCHIVED)}
    duck.time.set("2025-07-09T00:00:00+00:00")
    assert (duck.run().partitions, len(recorded(duck))) == (1, 3)  # June is archived as well, and nothing ends.


def test_an_archive_stays_an_archive(duck: DuckDatabase) -> None:
    """A recoverable policy that drops a restored partition leaves its archive to the policy that made it."""
    duck.create("metrics", BY_MONTH, by=["month"])
    duck.fill("metrics", [APRIL])
    duck.policy("snapshot", "metrics", "30d", id="years")
    assert duck.run().partitions == 1
    [restored] = duck.tool.restore(RestoreRequest(table_name="metrics"))
    duck.tool.release(restored.hold_id or "")
    duck.tool.policies.delete("years")
    duck.policy("delete", "metrics", "30d", id="week", recoverable="7d")
    assert duck.run().partitions == 1
    [record] = duck.tool.snapshots()
    assert (record.policy_id, record.recoverable_until) == ("years", None)
    duck.time.set("2025-07-09T00:00:00+00:00")
    assert (duck.run().done, duck.left("metrics"), len(recorded(duck))) == (0, [], 1)


def test_comes_first(duck: DuckDatabase) -> None:
    """Of two policies that delete the same data in one run, the recoverable one takes it."""
    duck.create("metrics", BY_MONTH, by=["month"])
    duck.fill("metrics", [APRIL])
    duck.policy("delete", "metric*", "10d", id="a")
    duck.policy("delete", "metrics", "30d", id="b-week", recoverable="7d")
    assert duck.run().partitions == 1
    undo(duck, policy_id="b-week")
    assert duck.left("metrics") == [APRIL]


@ON_DUCKDB
@pytest.mark.parametrize("columns", [{"ts": TIME, "n": "TEXT"}, {**BY_MONTH, "tenant": "TEXT"}])
def test_rows_are_not_archived(db: Database, columns: dict[str, str]) -> None:
    """Where rows would be deleted one by one, nothing is, and `check` says so."""
    whole = "month" not in columns
    db.create("metrics", columns, by=[] if whole else ["month"])
    db.fill("metrics", [APRIL, JUNE])
    db.policy("delete", "metrics", "30d", recoverable="7d", where={} if whole else {"tenant": "acme"})
    report = db.run()
    assert (report.ok, report.rows, db.left("metrics")) == (False, 0, [APRIL, JUNE])
    [finding] = db.tool.check()
    assert finding.why.code == "not-recoverable"


@ON_DUCKDB
def test_partitions_with_values(db: Database) -> None:
    """With a filter by a partition column, whole partitions are archived: those of one tenant."""
    db.create("metrics", {"ts": TIME, "n": "TEXT", "tenant": "TEXT", "month": MONTH}, by=["tenant", "month"])
    for tenant in ("acme", "globex"):
        db.fill("metrics", [APRIL], tenant=tenant)
    db.policy("delete", "metrics", "30d", recoverable="7d", where={"tenant": "acme"})
    assert (db.run().partitions, db.count("metrics")) == (1, 1)
    undo(db, table_schema=db.schema, table_name="metrics")
    assert db.count("metrics", "tenant = 'acme'") == 1


def test_raw_rows_of_a_cascade(db: Database) -> None:
    """Raw rows that were rolled up come back; the rollups stay as they are."""
    db.create("readings", {"ts": TIME, "n": "TEXT", "value": NUMBER, "month": MONTH}, by=["month"])
    db.insert("readings", [{"ts": day, "n": "a", "value": 1.5} for day in (APRIL, MAY, MAY, JUNE)])
    db.policy("downsample", "readings", "30d", levels="1d:forever", recoverable="7d", id="days", verify="metadata")
    report = db.run()
    assert (report.ok, db.count("readings")) == (True, 1)
    found = undo(db, policy_id="days")
    assert (len(found), db.count("readings"), db.count("readings_1d")) == (2, 4, 3)
    assert db.tool.rollups.verify("readings", db.schema) == []
    assert db.run().ok
    assert (db.count("readings"), db.count("readings_1d")) == (4, 3)


def test_levels_expire_as_ever(duck: DuckDatabase) -> None:
    """Of a cascade, raw rows are archived; rows of its levels, which are made from these, are deleted."""
    duck.create("readings", {"ts": TIME, "n": "TEXT", "value": NUMBER, "month": MONTH}, by=["month"])
    duck.insert("readings", [{"ts": day, "n": "a", "value": 1.5} for day in (APRIL, MAY, JUNE)])
    duck.policy("downsample", "readings", "30d", levels="1d:60d", recoverable="7d", id="days")
    assert duck.run().ok
    assert duck.run().ok
    assert (duck.count("readings"), duck.count("readings_1d")) == (1, 2)
    assert {record.archived.table.name for record in duck.tool.snapshots()} == {"readings"}


@pytest.mark.long(
    "kills of test_kill_undo.py are real on CrateDB, of each kind; make test has this on DuckDB", on="cratedb"
)
@pytest.mark.parametrize("place", ["before", "after"])
def test_killed_around_the_drop(db: Database, place: str) -> None:
    """What a run that was killed before it could record the drop has dropped comes back; what it has not stays."""
    db.create("metrics", BY_MONTH, by=["month"])
    db.fill("metrics", [APRIL, MAY, MAY, JUNE])
    db.policy("delete", "metrics", "30d", recoverable="7d", id="week")
    with db.killed_in("drop", after=place == "after"):
        db.run()
    assert len(db.left("metrics")) == (4 if place == "before" else 3)
    undo(db, policy_id="week")
    assert db.left("metrics") == [APRIL, MAY, MAY, JUNE]
    assert db.run().partitions == 1  # May, which that run had not come to.
    undo(db, policy_id="week")
    assert db.left("metrics") == [APRIL, MAY, MAY, JUNE]


@ON_DUCKDB
def test_a_dropped_table(db: Database) -> None:
    """It is created again."""
    deleted(db)
    db.sql(f"DROP TABLE {db.q('metrics')}")
    undo(db, policy_id="week")
    assert db.left("metrics") == [APRIL, MAY, MAY]


def test_files(crate_files: Database) -> None:
    """Archives that are files are brought back as well, beside rows that arrived since."""
    deleted(crate_files)
    crate_files.fill("metrics", [MAY, LATE])
    undo(crate_files, policy_id="week")
    assert crate_files.left("metrics") == [APRIL, MAY, MAY, LATE, JUNE]
    crate_files.time.set(A_WEEK_LATER)
    crate_files.run()
    assert len(recorded(crate_files)) == 2, "their partitions are in the table"


def test_values_that_cannot_be_compared(crate: CrateDatabase) -> None:
    """Into a partition that exists only rows come back that can be told apart; otherwise the reason is given."""
    crate.create("metrics", {**BY_MONTH, "id": "TEXT GENERATED ALWAYS AS gen_random_text_uuid()"}, by=["month"])
    crate.fill("metrics", [APRIL])
    crate.policy("delete", "metrics", "30d", recoverable="7d", id="week", verify="metadata")
    assert crate.run().partitions == 1
    crate.fill("metrics", [APRIL])
    [item] = crate.tool.undo(policy_id="week")
    assert "cannot be compared exactly" in (item.error or "")
    assert crate.count("metrics") == 1


def test_all_kinds_of_values(crate: CrateDatabase) -> None:
    """Objects, arrays and numbers are compared in full: rows that differ in one of these are other rows."""
    columns = {**BY_MONTH, "o": "OBJECT(DYNAMIC)", "a": "ARRAY(INTEGER)", "d": "NUMERIC(20, 5)"}
    crate.create("metrics", columns, by=["month"])
    same = {"ts": APRIL, "n": "x", "o": {"k": [1, 2]}, "a": [1, 2], "d": "0.00001"}
    others = [{**same, "o": {"k": [2, 1]}}, {**same, "a": [2, 1]}, {**same, "d": "0.00002"}]
    crate.insert("metrics", [same, *others])
    crate.policy("delete", "metrics", "30d", recoverable="7d", id="week", verify="metadata")
    assert crate.run().partitions == 1
    crate.insert("metrics", [same, {**same, "a": None}])
    undo(crate, policy_id="week")
    assert crate.count("metrics") == 5
    assert crate.count("metrics", "a = [2, 1] AND d = 0.00001") == 1
