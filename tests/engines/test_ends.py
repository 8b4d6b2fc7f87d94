"""
Archives have an end, on both engines: runs delete what the policy no longer keeps, users what they choose; never what
is under a legal hold, and never half of it.
"""

from __future__ import annotations

from typing import Any

import pytest

from cratedb_retention import RestoreRequest
from cratedb_retention.errors import NotFound
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.archive import SnapshotStage
from cratedb_retention.model.time import parse_instant, to_ms
from cratedb_retention.service.access import Scope
from support.databases import MONTH, TIME, CrateDatabase, Database, DuckDatabase
from support.tiers import DECIDED, others_on_duckdb

BY_MONTH = {"ts": TIME, "n": "TEXT", "month": MONTH}
APRIL, MAY, JUNE = "2024-04-10T00:00:00Z", "2024-05-10T00:00:00Z", "2024-06-10T00:00:00Z"
# April's archive ends on 1 May 2025, that of May a month later.
AFTER_APRIL, AFTER_MAY = "2025-05-01T00:00:00+00:00", "2025-06-01T00:00:00+00:00"


def archive(db: Database, **more: Any) -> list[str]:
    """A table of which April and May are archived for a year; the names of their snapshots."""
    db.create("metrics", BY_MONTH, by=["month"])
    db.fill("metrics", [APRIL, MAY, MAY, JUNE])
    db.policy("snapshot", "metrics", "30d", archive_period="1y", id="year", tags=["a"], **more)
    assert db.run().partitions == 2
    names = [record.archived.name for record in db.tool.snapshots()]
    db.sql(f"DELETE FROM {db.q('metrics')}")  # June would be archived as well, later.
    db.refresh("metrics")
    assert len(names) == 2
    return names


def recorded(db: Database) -> list[str]:
    return [record.archived.name for record in db.tool.snapshots()]


def test_a_run_deletes_what_ended(db: Database) -> None:
    """In the repository and in the toolkit's table, with an entry in the audit log; the rest can still be restored."""
    april, may = archive(db)
    lines = {line.record.archived.name: line.ends for line in db.tool.archive.lines(db.tool.snapshots())}
    first, second = (to_ms(parse_instant(end)) for end in (AFTER_APRIL, AFTER_MAY))
    assert lines == {april: first, may: second}
    db.time.set("2025-04-30T23:59:59+00:00")
    assert db.tool.plan().next_due == first
    assert (db.run().done, recorded(db)) == (0, [april, may])
    db.time.set(AFTER_APRIL)
    [task] = (plan := db.tool.plan()).tasks
    assert (task.reason, plan.next_due) == ("data ends 2024-05-01, archived until 2025-05-01", second)
    shown, _ = Scope(db.tool, Access(role=Role.ADMIN, actor="x")).table(db.table("metrics"))
    [archived] = [lane.spans for lane in shown.lanes if lane.title == "Archived"]
    assert [(str(span.state), span.due) for span in archived] == [("end", None), ("archived", second)]
    line = f"hot until 30d -> cold ({db.repository}) until 1y -> gone"
    assert [each.line for each in (*shown.lifecycles, *db.tool.policies.lifecycles())] == [line, line]
    report = db.run()
    assert (report.ok, report.done, report.rows) == (True, 1, 0)
    assert (db.snapshot_names(), recorded(db)) == ([may], [may])
    [entry] = db.journal(operation="delete_snapshot", event="step-finished")
    assert (entry["outcome"], entry["policy_id"], entry["rows"], entry["partitions"]) == ("done", "year", 1, 1)
    assert april in entry["message"] and task.reason in entry["message"]
    assert db.run().done == 0
    assert [(item.rows, item.error) for item in db.tool.restore(RestoreRequest(table_name="metrics"))] == [(2, None)]


def test_statements_are_shown(db: Database) -> None:
    """A plan shows the statement of CrateDB; on DuckDB, files are no statement."""
    april, _ = archive(db)
    db.time.set(AFTER_APRIL)
    [task] = db.tool.plan().tasks
    shown = [statement for step in task.steps for statement in db.tool.statements(step)]
    assert [april in statement for statement in shown] == ([True] if db.product == "CrateDB" else [])


def test_archives_that_are_files(crate_files: Database) -> None:
    """Archives of CrateDB's partitions as files end like snapshots."""
    april, may = archive(crate_files)
    crate_files.time.set(AFTER_APRIL)
    [task] = crate_files.tool.plan().tasks
    assert [crate_files.tool.statements(step) for step in task.steps] == [[]]
    assert crate_files.run().ok
    assert (recorded(crate_files), codes(crate_files)) == ([may], [])
    assert [item.error for item in crate_files.tool.archive.delete(RestoreRequest(name=may))] == [None]
    assert [path for path in crate_files.directory.rglob("*") if path.is_file()] == []
    assert april != may


@DECIDED
def test_legal_hold(db: Database) -> None:
    """An archive under a hold is the last copy: neither a run nor a user deletes it; released, it goes."""
    april, _may = archive(db)
    hold = db.tool.hold("metrics", db.schema, where={"month": "2024-04-01"}, reason="case 4711")
    db.time.set(AFTER_MAY)
    report = db.run()
    assert (report.ok, report.done, report.blocked) == (True, 1, 1)
    assert db.snapshot_names() == [april]
    [blocked] = db.journal(event="blocked")
    assert "archive not deleted: legal hold" in blocked["error"] and "case 4711" in blocked["error"]
    [refused] = db.tool.archive.delete(RestoreRequest(name=april))
    assert "case 4711" in (refused.error or "")
    assert db.snapshot_names() == [april]
    db.tool.release(hold.id)
    assert (db.run().done, db.snapshot_names(), recorded(db)) == (1, [], [])


@DECIDED
def test_hold_after_the_plan(db: Database) -> None:
    """A hold that is placed after the plan was made defers the end."""
    april, may = archive(db)
    db.time.set(AFTER_APRIL)
    prepared = db.tool.prepare()
    db.tool.hold("metrics", db.schema, reason="case 4711")
    report = db.tool.run(prepared)
    assert (report.ok, report.deferred) == (True, 1)
    assert db.snapshot_names() == [april, may]


@DECIDED
def test_policy_changed_after_the_plan(db: Database) -> None:
    """A policy that was changed since defers the end."""
    april, may = archive(db)
    db.time.set(AFTER_APRIL)
    prepared = db.tool.prepare()
    db.tool.edit_policy("year", {"archive_period": "2y"})
    report = db.tool.run(prepared)
    assert (report.ok, report.deferred, db.snapshot_names()) == (True, 1, [april, may])


@DECIDED
def test_restored_after_the_plan(db: Database) -> None:
    """An archive that was restored since the plan stays, as do its rows."""
    april, may = archive(db)
    db.time.set(AFTER_APRIL)
    prepared = db.tool.prepare()
    [restored] = db.tool.restore(RestoreRequest(name=april))
    db.tool.release(restored.hold_id or "")
    report = db.tool.run(prepared)
    assert (report.ok, report.deferred) == (True, 1)
    assert (db.snapshot_names(), db.left("metrics")) == ([april, may], [APRIL])


@DECIDED
def test_restored_goes_after_it_was_archived_again(db: Database) -> None:
    """While its partition is in the table, an archive stays; the run that archives it again does not end it yet."""
    april, may = archive(db)
    db.time.set(AFTER_APRIL)
    [restored] = db.tool.restore(RestoreRequest(name=april))
    report = db.run()
    assert (report.ok, report.done, db.snapshot_names()) == (True, 0, [april, may])
    db.tool.release(restored.hold_id or "")
    assert db.run().partitions == 1
    assert (db.left("metrics"), db.snapshot_names()) == ([], [april, may])
    assert db.run().ok
    assert (db.snapshot_names(), recorded(db)) == ([may], [may])


@DECIDED
def test_failure_is_reported(db: Database) -> None:
    """Without its repository, an archive cannot end: the run says so, forgets nothing, and succeeds afterwards."""
    april, may = archive(db)
    db.time.set(AFTER_APRIL)
    db.break_repository()
    report = db.run()
    assert not report.ok
    assert recorded(db) == [april, may]
    assert {record.stage for record in db.tool.snapshots()} == {SnapshotStage.ARCHIVED}
    db.mend_repository()
    assert db.run().ok
    assert (db.snapshot_names(), recorded(db)) == ([may], [may])


def test_gone_already(db: Database) -> None:
    """A snapshot that was deleted by other means ends without an error."""
    april, may = archive(db)
    db.drop_snapshot(april)
    db.time.set(AFTER_APRIL)
    assert db.run().ok
    assert (db.snapshot_names(), recorded(db)) == ([may], [may])


@DECIDED
def test_dropped_table(db: Database) -> None:
    """The archives of a table that was dropped end as well, if a pattern still matches it."""
    archive(db)
    db.tool.edit_policy("year", {"table_name": "metric*"})
    db.sql(f"DROP TABLE {db.q('metrics')}")
    db.time.set(AFTER_MAY)
    db.run()
    assert (db.snapshot_names(), recorded(db)) == ([], [])


@pytest.mark.parametrize("place", ["after", *others_on_duckdb("before")])
def test_killed(db: Database, place: str) -> None:
    """A run that is killed around the deletion is completed by the next one; until then, restoring works or fails."""
    april, may = archive(db)
    db.time.set(AFTER_APRIL)
    with db.killed_in("delete", after=place == "after"):
        db.run()
    assert [record.stage for record in db.tool.snapshots()] == [SnapshotStage.DELETING, SnapshotStage.ARCHIVED]
    assert db.snapshot_names() == ([april, may] if place == "before" else [may])
    assert db.run().ok
    assert (db.snapshot_names(), recorded(db)) == ([may], [may])


@DECIDED
def test_interrupted_and_no_longer_due(db: Database) -> None:
    """If the policy keeps it longer by then, an archive that a killed run had not deleted yet can be restored."""
    april, may = archive(db)
    db.time.set(AFTER_APRIL)
    with db.killed_in("delete"):
        db.run()
    db.tool.edit_policy("year", {"archive_period": "forever"})
    assert (db.run().done, db.snapshot_names()) == (0, [april, may])
    [restored] = db.tool.restore(RestoreRequest(name=april))
    assert (restored.error, db.left("metrics")) == (None, [APRIL])


def test_drop_waits_for_a_deletion(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law 2: a partition is not dropped if its snapshot is deleted at the same time, just after it was verified."""
    db.create("metrics", BY_MONTH, by=["month"])
    db.fill("metrics", [APRIL, JUNE])
    db.policy("snapshot", "metrics", "30d")
    engine, other = db.tool.engine.archive, db.retention("another")
    prove = engine.prove

    def deleted_meanwhile(step: Any) -> Any:
        found = prove(step)
        monkeypatch.setattr(other.engine.archive, "delete", lambda archived: False)  # It is at the very beginning.
        monkeypatch.setattr(type(other.store.snapshots), "remove", lambda *key: None)
        [gone] = other.archive.delete(RestoreRequest(table_name="metrics"))
        assert gone.error is None
        return found

    monkeypatch.setattr(engine, "prove", deleted_meanwhile)
    report = db.run()
    monkeypatch.undo()
    assert (report.ok, report.deferred, report.partitions) == (True, 1, 0)
    assert db.left("metrics") == [APRIL, JUNE]


@DECIDED
def test_name_of_a_deletion_is_not_used_again(db: Database) -> None:
    """If a user's deletion was interrupted, the partition is archived under another name."""
    april, may = archive(db)
    [restored] = db.tool.restore(RestoreRequest(name=april))
    db.tool.release(restored.hold_id or "")
    with db.killed_in("delete"):
        db.tool.archive.delete(RestoreRequest(name=april))
    report = db.run()
    assert (report.ok, report.partitions, db.left("metrics")) == (True, 1, [])
    assert len(set(db.snapshot_names()) - {april, may}) == 1


@DECIDED
def test_users_delete(db: Database) -> None:
    """What a request selects, by table, time or name: shown first, then deleted, with entries in the audit log."""
    april, may = archive(db)
    request = RestoreRequest(table_name="metrics", end=parse_instant("2024-05-01"))
    assert [(item.record.archived.name, item.refusal) for item in db.tool.archive.deletable(request)] == [(april, None)]
    assert db.snapshot_names() == [april, may]
    [deleted] = db.tool.archive.delete(request)
    assert (deleted.record.archived.name, deleted.error) == (april, None)
    assert (db.snapshot_names(), recorded(db)) == ([may], [may])
    [entry] = db.journal(event="snapshot-deleted")
    found = (entry["outcome"], entry["policy_id"], entry["tags"], entry["actor"], entry["rows"])
    assert found == ("done", "year", ["a"], "tester", 1)
    assert april in entry["message"]
    with pytest.raises(NotFound):
        db.tool.archive.delete(request)


def test_hold_during_a_deletion(duck: DuckDatabase) -> None:
    """A hold that is placed while snapshots are deleted protects the rest."""
    april, may = archive(duck)

    def told(item: Any) -> None:
        if item.record.archived.name == april:
            duck.tool.hold("metrics", "lab", reason="case 4711")

    first, second = duck.tool.archive.delete(RestoreRequest(table_name="metrics"), told)
    assert (first.error, "case 4711" in (second.error or "")) == (None, True)
    assert duck.snapshot_names() == [may]


def test_users_and_superseded_snapshots(duck: DuckDatabase) -> None:
    """A snapshot stays as long as one that counts as superseded by it: together, they go, that one first."""
    april, may = archive(duck)
    [restored] = duck.tool.restore(RestoreRequest(name=april))
    duck.fill("metrics", [APRIL])
    duck.tool.release(restored.hold_id or "")
    assert duck.run().partitions == 1
    stages = {record.archived.name: record.stage for record in duck.tool.snapshots()}
    [again] = set(stages) - {april, may}
    assert (stages[april], stages[again]) == (SnapshotStage.SUPERSEDED, SnapshotStage.ARCHIVED)
    [refused] = duck.tool.archive.delete(RestoreRequest(name=again))
    assert f"snapshot {april} of the same partition" in (refused.error or "")
    [item] = duck.tool.archive.delete(RestoreRequest(name=april))
    assert item.error is None
    assert sorted(duck.snapshot_names()) == sorted([may, again])
    assert [item.error for item in duck.tool.archive.delete(RestoreRequest(name=again))] == [None]


def test_failure_keeps_the_later_one(duck: DuckDatabase) -> None:
    """After a failure, the other snapshots of a partition stay, and keep their states."""
    april, _may = archive(duck)
    [restored] = duck.tool.restore(RestoreRequest(name=april))
    duck.fill("metrics", [APRIL])
    duck.tool.release(restored.hold_id or "")
    duck.run()
    before = {record.archived.name: record.stage for record in duck.tool.snapshots()}
    duck.forge(april, table=["lab", "other"])
    first, second = duck.tool.archive.delete(RestoreRequest(table_name="metrics", end=parse_instant("2024-05-01")))
    assert "another partition" in (first.error or "") and "skipped" in (second.error or "")
    assert {record.archived.name: record.stage for record in duck.tool.snapshots()} == before
    assert [row["outcome"] for row in duck.journal(event="snapshot-deleted")] == ["failed"]


@pytest.mark.parametrize("stage", [SnapshotStage.RESTORING, SnapshotStage.DROPPING])
def test_in_use(duck: DuckDatabase, stage: SnapshotStage) -> None:
    """What another command or run is working with is refused."""
    april, may = archive(duck)
    duck.tool.store.snapshots.mark(duck.repository, april, stage)
    [refused] = duck.tool.archive.delete(RestoreRequest(name=april))
    assert "is being" in (refused.error or "")
    assert duck.snapshot_names() == [april, may]


def test_changed_meanwhile(duck: DuckDatabase) -> None:
    """If another user was faster, nothing is deleted."""
    april, _may = archive(duck)
    snapshots = duck.tool.store.snapshots
    assert not snapshots.claim(duck.repository, april, SnapshotStage.DELETING, {SnapshotStage.RESTORED})
    assert not snapshots.claim(duck.repository, "nosuch", SnapshotStage.DELETING, set(SnapshotStage))
    assert {record.stage for record in duck.tool.snapshots()} == {SnapshotStage.ARCHIVED}


def test_claims(crate: CrateDatabase) -> None:
    """Of several writers, one changes the state of a snapshot."""
    april, _may = archive(crate)
    first, second = crate.tool.store.snapshots, crate.retention("another").store.snapshots
    among = {SnapshotStage.ARCHIVED}
    read = first._read

    def late(*where: Any, **more: Any) -> Any:
        rows = read(*where, **more)
        assert second.claim(crate.repository, april, SnapshotStage.RESTORING, among)
        return rows

    first._read = late  # type: ignore[method-assign]
    assert not first.claim(crate.repository, april, SnapshotStage.DELETING, among)
    assert [record.stage for record in crate.tool.snapshots()] == [SnapshotStage.RESTORING, SnapshotStage.ARCHIVED]


def codes(db: Database) -> list[tuple[str, str]]:
    return [(finding.why.code, finding.message) for finding in db.tool.archive.check()]


def test_check_finds_orphans(db: Database) -> None:
    """In both directions: recorded but gone, and there but not recorded."""
    april, may = archive(db)
    assert codes(db) == []
    db.drop_snapshot(april)
    [(code, message)] = codes(db)
    assert (code, april in message) == ("snapshots-gone", True)
    [line, _] = db.tool.archive.lines(db.tool.snapshots())
    assert (line.condition, line.found) == ("missing", "missing")
    assert [item.error for item in db.tool.archive.delete(RestoreRequest(name=april))] == [None]
    assert codes(db) == []
    db.tool.store.snapshots.remove(db.repository, may)
    db.refresh("retention_snapshot", db.own_schema)
    [(code, message)] = codes(db)
    assert (code, may in message) == ("snapshots-unknown", True)
    db.tool.adopt_snapshots(db.repository)
    assert codes(db) == []


def test_check_finds_leftovers(duck: DuckDatabase) -> None:
    """Files that killed runs left, also of earlier versions; and a repository that is not there any more."""
    _april, _may = archive(duck)
    for ending in ("partial", "deleted"):
        (duck.directory / f".x.{ending}").mkdir()
    for name in (".git", "user"):
        (duck.directory / name).mkdir()
        (duck.directory / name / "rows.parquet").write_text("mine")
    for name in (".x.parquet.partial", "lab-metrics-2024-03-01-0123456789ab.parquet"):
        (duck.directory / "lab.metrics" / name).write_text("half")
    [(code, message)] = codes(duck)
    assert code == "leftovers"
    assert message.startswith("4 leftovers") and ".x.deleted, .x.parquet.partial, .x.partial" in message
    duck.directory.rename(duck.directory.with_name("elsewhere"))
    [(code, message)] = codes(duck)
    assert (code, "2 snapshots should be in it" in message) == ("repository-gone", True)


def test_check_before_anything_was_archived(duck: DuckDatabase) -> None:
    """A directory that the first run will create is no finding."""
    duck.create("metrics", BY_MONTH, by=["month"])
    duck.policy("snapshot", "metrics", "30d")
    assert codes(duck) == []


def test_check_finds_a_missing_directory(db: Database) -> None:
    """An address is not created by the first run, since it may be a mount: it is found before that run fails."""
    db.create("metrics", BY_MONTH, by=["month"])
    db.repository = "file:///nowhere/archive"
    db.policy("snapshot", "metrics", "30d")
    [(code, message)] = codes(db)
    assert (code, "directory /nowhere/archive does not exist; create the directory" in message) == ("no-place", True)


def test_damage_is_listed(db: Database) -> None:
    """What reading back found is shown instead of what the database says of the snapshot."""
    _april, _may = archive(db)
    for file in db.snapshot_files():
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 0xFF
        file.write_bytes(bytes(data))
    found = db.tool.verify_snapshots()
    assert all(item.error for item in found)
    for line in db.tool.archive.lines(db.tool.snapshots()):
        assert line.condition == "damaged"
        assert line.found == f"damaged: {line.record.damage}"


def test_limits(duck: DuckDatabase) -> None:
    """A run beyond the limits of its policy ends no archive; the share is that of all archived rows."""
    april, may = archive(duck)
    duck.tool.edit_policy("year", {"expected_max": {"percent": 40}})
    duck.time.set(AFTER_MAY)
    report = duck.run()
    assert (report.ok, report.done) == (False, 0)
    assert duck.snapshot_names() == [april, may]
    duck.time.set(AFTER_APRIL)  # One of three rows.
    assert duck.run().ok
    assert duck.snapshot_names() == [may]


def test_preview_of_a_policy(duck: DuckDatabase) -> None:
    """The effect of a shorter period is shown before it is stored."""
    archive(duck)
    duck.time.set(AFTER_MAY)
    policy = next(item.policy for item in duck.tool.policies()).model_copy()
    longer = policy.model_copy(update={"archive_period": type(policy.archive_period)(months=36)})
    assert duck.tool.preview(longer).losses == []
    [loss] = duck.tool.preview(policy).losses
    assert (loss.of_archive, loss.amount.partitions, loss.amount.rows) == (True, 2, 3)
