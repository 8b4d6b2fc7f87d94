"""
Partitions with several snapshots, on both engines: whatever became of them in between, a restore brings each row once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from cratedb_retention import RestoreRequest
from cratedb_retention.errors import ConnectionLost, DatabaseError, RetentionError
from cratedb_retention.execution.runs.events import RunEvent, StepFinished
from cratedb_retention.model.archive import SnapshotStage
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.plan.plan import SnapshotPartition, VerifySnapshot
from cratedb_retention.model.time import parse_instant
from support.databases import MONTH, TIME, CrateDatabase, Database, DuckDatabase, before_statements
from support.tiers import DECIDED, others_on_duckdb

BY_MONTH = {"ts": TIME, "n": "TEXT", "month": MONTH}
MAY, LATE, LATER, JUNE = (f"2024-{day}T00:00:00Z" for day in ("05-10", "05-20", "05-30", "06-10"))
ALL = RestoreRequest(table_name="metrics")
ALIKE = pytest.mark.long(
    "make test has others there that archive and restore as often, and all on DuckDB", on="cratedb"
)


@pytest.fixture
def metrics(db: Database) -> str:
    """A table of which May, with two rows, is archived and gone."""
    return create(db)


def create(db: Database) -> str:
    """The table of these tests."""
    db.create("metrics", BY_MONTH, by=["month"])
    db.fill("metrics", [MAY, MAY, JUNE])
    # What it takes to prove an archive before the drop is in test_archive_proof.py.
    db.policy("snapshot", "metrics", "30d", verify="metadata")
    assert db.run().partitions == 1
    return "metrics"


def archive(db: Database, *days: str) -> None:
    """Rows come, and are archived."""
    db.fill("metrics", days)
    report = db.run()
    assert (report.ok, report.partitions) == (True, 1)
    assert db.left("metrics") == [JUNE]


def restore(db: Database, request: RestoreRequest = ALL) -> list[int | None]:
    """Restore, and give the rows that each snapshot brought."""
    found = db.tool.restore(request)
    assert [item.error for item in found] == [None] * len(found)
    return [item.rows for item in found]


def release(db: Database) -> None:
    """End the one hold that there is."""
    (hold,) = db.tool.holds()
    db.tool.release(hold.id)


def delete_may(db: Database) -> None:
    """Somebody drops the partition by hand."""
    db.sql(f"DELETE FROM {db.q('metrics')} WHERE month = '2024-05-01'")
    db.refresh("metrics")


def stages(db: Database) -> list[str]:
    """How far the snapshots are, sorted."""
    return sorted(record.stage for record in db.tool.snapshots())


def test_late_rows(db: Database, metrics: str) -> None:
    """What came later, and is in two more snapshots, comes back together with the first."""
    archive(db, LATE)
    archive(db, LATER, LATER)
    rows = restore(db)
    assert sorted(rows, key=str) == [1, 2, 2]
    assert db.left(metrics) == [MAY, MAY, LATE, LATER, LATER, JUNE]
    assert stages(db) == ["restored"] * 3
    assert [len(hold.filters) for hold in db.tool.holds()] == [1]
    if isinstance(db, CrateDatabase):
        assert db.frozen(metrics) == 0
        copies = "SELECT count(*) FROM information_schema.tables WHERE table_schema = ? AND table_name LIKE '%restore%'"
        assert db.rows(copies, [db.own_schema]) == [[0]]
        assert len(db.snapshot_names()) == 3
    assert [verified.error for verified in db.tool.verify_snapshots()] == [None] * 3
    db.fill(metrics, [LATE])
    assert db.count(metrics) == 7


@ALIKE
def test_the_same_rows_again(db: Database, metrics: str) -> None:
    """Rows that look like those that were archived before are rows of their own."""
    archive(db, MAY, MAY)
    archive(db, MAY)
    archive(db, MAY, MAY)
    assert sorted(restore(db), key=str) == [1, 2, 2, 2]
    assert db.left(metrics) == [MAY] * 7 + [JUNE]


@DECIDED
def test_beside(db: Database, metrics: str) -> None:
    """Beside the table, all of them come as well; a second time, none does."""
    archive(db, LATE)
    request = RestoreRequest(table_name=metrics, into=TableName(db.schema, "copy"))
    assert sorted(restore(db, request), key=str) == [1, 2]
    assert db.left("copy") == [MAY, MAY, LATE]
    assert all(item.error for item in db.tool.restore(request))
    assert db.left("copy") == [MAY, MAY, LATE]
    assert stages(db) == ["archived"] * 2
    assert db.tool.holds() == []


@ALIKE
def test_one_by_its_name(db: Database, metrics: str) -> None:
    """One of them can be chosen; archived again with what came since, the other one is still needed."""
    first = db.tool.snapshots()[0].archived.name
    archive(db, LATE)
    assert restore(db, RestoreRequest(name=first)) == [2]
    assert db.left(metrics) == [MAY, MAY, JUNE]
    release(db)
    archive(db, LATER)
    restore(db)
    assert db.left(metrics) == [MAY, MAY, LATE, LATER, JUNE]


def test_restored_and_archived_again(db: Database, metrics: str) -> None:
    """Restored, released, archived again with a late row: the later snapshot holds copies of all rows."""
    archive(db, LATE)
    for day in (LATER, LATER):
        restore(db)
        release(db)
        archive(db, day)
    restore(db)
    assert db.left(metrics) == [MAY, MAY, LATE, LATER, LATER, JUNE]
    assert "superseded" in stages(db)


@DECIDED
def test_restored_and_archived_unchanged(db: Database, metrics: str) -> None:
    """The same without a late row."""
    archive(db, LATE)
    for _ in range(2):
        restore(db)
        release(db)
        archive(db)
    restore(db)
    assert db.left(metrics) == [MAY, MAY, LATE, JUNE]


def test_restored_and_dropped_by_hand(db: Database, metrics: str) -> None:
    """Dropped by hand after a restore, it comes back; so it does together with what was archived since."""
    restore(db)
    release(db)
    delete_may(db)
    restore(db)
    assert db.left(metrics) == [MAY, MAY, JUNE]
    release(db)
    delete_may(db)
    archive(db, LATE)
    restore(db)
    assert db.left(metrics) == [MAY, MAY, LATE, JUNE]


@DECIDED
def test_restored_and_changed(db: Database, metrics: str) -> None:
    """What was changed after a restore comes back as it was at last, without what it was before."""
    archive(db, LATE)
    restore(db)
    release(db)
    db.sql(f"UPDATE {db.q(metrics)} SET n = 'changed' WHERE n = ?", [LATE])
    archive(db, LATER)
    restore(db)
    assert db.left(metrics) == [MAY, MAY, LATER, JUNE, "changed"]


@ALIKE
def test_superseded_by_name(db: Database, metrics: str) -> None:
    """A snapshot whose rows are in a later one comes back beside the table only, where it can't come twice."""
    first = RestoreRequest(name=db.tool.snapshots()[0].archived.name)
    restore(db)
    release(db)
    archive(db, LATE)
    (refused,) = db.tool.restore(first)
    assert "a later snapshot contains its rows as well" in (refused.error or "")
    previewed = db.tool.preview_restore(first)
    assert [item.refusal is None for item in previewed] == [False]
    assert db.tool.archive.statements(previewed) == []
    assert (db.tool.holds(), len(db.journal(event="hold-placed"))) == ([], 1)
    assert restore(db, replace(first, into=TableName(db.schema, "copy"))) == [2]
    assert db.left("copy") == [MAY, MAY]


@DECIDED
def test_time_that_only_rows_tell(db: Database) -> None:
    """Snapshots of a partition by text are about different times; asked for one of these, all of it comes."""
    db.create("metrics", {"ts": TIME, "n": "TEXT", "part": "TEXT"}, by=["part"])
    db.policy("snapshot", "metrics", "30d", partition_column="part")
    for day in ("2024-01-10T00:00:00Z", "2024-03-10T00:00:00Z"):
        db.fill("metrics", [day], part="a")
        assert db.run().partitions == 1
    request = RestoreRequest(table_name="metrics", start=parse_instant("2024-03-01"))
    assert len(db.tool.snapshots(request)) == 1
    assert restore(db, request) == [1, 1]
    assert db.count("metrics") == 2


def test_several_repositories(duck: DuckDatabase) -> None:
    """The policy was changed to another repository in between."""
    create(duck)
    (policy,) = duck.tool.policies()
    other = str(duck.directory.with_name("other"))
    duck.tool.edit_policy(policy.policy.id or "", {"target_repository_name": other})
    archive(duck, LATE)
    restore(duck)
    assert duck.left("metrics") == [MAY, MAY, LATE, JUNE]


def test_restored_and_archived_elsewhere(duck: DuckDatabase) -> None:
    """A snapshot of the same name in another repository is a later one: each row comes back once."""
    create(duck)
    restore(duck)
    release(duck)
    (policy,) = duck.tool.policies()
    duck.tool.edit_policy(policy.policy.id or "", {"target_repository_name": str(duck.directory.with_name("other"))})
    archive(duck)
    first, second = duck.tool.snapshots()
    assert first.archived.name == second.archived.name
    assert stages(duck) == ["archived", "superseded"]
    restore(duck)
    assert duck.left("metrics") == [MAY, MAY, JUNE]


def test_all_are_superseded(duck: DuckDatabase) -> None:
    """Where a later snapshot is not asked for, the latest of those that are brings all that it holds."""
    create(duck)
    (policy,) = duck.tool.policies()
    for hour, day, repository in ((1, LATE, duck.directory), (2, LATER, duck.directory.with_name("other"))):
        restore(duck)
        release(duck)
        duck.tool.edit_policy(policy.policy.id or "", {"target_repository_name": str(repository)})
        duck.time.set(f"2024-07-02T{hour:02}:00:00+00:00")
        archive(duck, day)
    assert stages(duck) == ["archived", "superseded", "superseded"]
    request = RestoreRequest(repository=str(duck.directory), into=TableName(duck.schema, "copy"))
    assert restore(duck, request) == [3]
    assert duck.left("copy") == [MAY, MAY, LATE]


@DECIDED
def test_one_is_damaged(db: Database, metrics: str) -> None:
    """If one of them is gone, nothing of the partition comes back, and no hold stays; the other can be named."""
    first = db.tool.snapshots()[0].archived.name
    archive(db, LATE)
    (late,) = set(db.snapshot_names()) - {first}
    db.drop_snapshot(late)
    assert {item.refusal for item in db.tool.preview_restore(ALL)} != {None}
    assert [item.error is None for item in db.tool.restore(ALL)] == [False] * 2
    assert db.left(metrics) == [JUNE]
    assert db.tool.holds() == []
    assert stages(db) == ["archived"] * 2
    assert [row["outcome"] for row in db.journal(event="restored")] == ["failed"] * 2
    assert restore(db, RestoreRequest(name=first)) == [2]


def test_a_restore_without_an_answer(db: Database, metrics: str) -> None:
    """Where the connection is lost in the middle, nobody knows whether the rows are there, and that is noted."""

    def lose(statement: str) -> None:
        if statement.startswith(("RESTORE", "INSERT")) and metrics in statement:
            raise ConnectionLost("database", "no answer")

    with before_statements(db.tool.engine.database.engine, lose):
        (item,) = db.tool.restore(ALL)
    assert (item.error, stages(db)) == ("database: no answer", ["restoring"])
    db.run()
    restore(db)
    assert db.left(metrics) == [MAY, MAY, JUNE]


def interrupted(db: Database, when: Callable[[str], bool], do: Callable[[], object]) -> bool:
    """Do something, and end it right before a statement; whether there was such a statement."""

    def die(statement: str) -> None:
        if when(statement):
            raise KeyboardInterrupt

    with before_statements(db.tool.engine.database.engine, die):
        try:
            do()
        except KeyboardInterrupt:
            return True
    return False


def killed(db: Database, word: str, number: int) -> None:
    """A restore of two snapshots ends right before a statement; then it is tried again, and archived again."""
    create(db)
    archive(db, LATE)
    left = [number]

    def is_it(statement: str) -> bool:
        left[0] -= statement.startswith(word)
        return left[0] < 0

    assert interrupted(db, is_it, lambda: db.tool.restore(ALL))
    db.run()
    db.tool.restore(ALL)
    assert db.left("metrics") == [MAY, MAY, LATE, JUNE]
    for hold in db.tool.holds():
        db.tool.release(hold.id)
    archive(db, LATER)
    restore(db)
    assert db.left("metrics") == [MAY, MAY, LATE, LATER, JUNE]


ELSEWHERE = pytest.mark.long("make test kills restores at two instants, one of them after what these come to")


@pytest.mark.parametrize(
    ("word", "number"), [("INSERT", 1), ("INSERT", 2), ("INSERT", 3), ("UPDATE", 1), ("UPDATE", 2), ("UPDATE", 4)]
)
@pytest.mark.some(3)
def test_killed_on_duckdb(duck: DuckDatabase, word: str, number: int) -> None:
    """Wherever a restore of several ends: no row is lost or doubled."""
    killed(duck, word, number)


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("CREATE SNAPSHOT", 0),
        ("UPDATE", 3),
        pytest.param("RESTORE", 1, marks=ELSEWHERE),
        pytest.param("RESTORE", 2, marks=ELSEWHERE),
        pytest.param("ALTER", 2, marks=ELSEWHERE),
    ],
)
def test_killed_on_cratedb(crate: CrateDatabase, word: str, number: int) -> None:
    """The same, also between copies, and between the restore of all rows and the note that they are there."""
    killed(crate, word, number)


@pytest.mark.parametrize("after", [SnapshotPartition, VerifySnapshot])
def test_written_before_the_drop(duck: DuckDatabase, after: type) -> None:
    """A snapshot whose partition was not dropped, since a row came: the next one holds all of its rows."""
    duck.create("metrics", BY_MONTH, by=["month"])
    duck.fill("metrics", [MAY, MAY, JUNE])
    duck.policy("snapshot", "metrics", "30d")
    written: list[RunEvent] = []

    def write(event: RunEvent) -> None:
        if isinstance(event, StepFinished) and isinstance(event.step, after) and not written:
            written.append(event)
            duck.fill("metrics", [LATE])

    assert duck.tool.run(observers=[write]).deferred == 1
    archive(duck)
    assert stages(duck) == ["archived", "superseded"]
    archive(duck, LATER)
    restore(duck)
    assert duck.left("metrics") == [MAY, MAY, LATE, LATER, JUNE]


@pytest.mark.parametrize(("dropped", "row"), [(False, LATE), *others_on_duckdb((True, LATE), (True, MAY))])
def test_killed_around_the_drop(db: Database, dropped: bool, row: str) -> None:
    """
    Killed right before or after the drop, with a row that comes before the next run, and may look like one that is
    archived: no row is lost or doubled.
    """
    db.create("metrics", BY_MONTH, by=["month"])
    db.fill("metrics", [MAY, MAY, JUNE])
    db.policy("snapshot", "metrics", "30d")
    seen = []

    def is_it(statement: str) -> bool:
        found = statement.startswith("DELETE FROM") and "metrics" in statement
        seen.extend([True] * found)
        return bool(seen) and (not found if dropped else True)

    assert interrupted(db, is_it, db.tool.run)
    db.forget_leases()
    if isinstance(db, CrateDatabase) and not dropped:
        thaw = f"ALTER TABLE {db.q('metrics')} PARTITION (month = '2024-05-01') SET (\"blocks.write\" = false)"
        db.sql(thaw)
    db.fill("metrics", [row])
    for _ in range(2):
        assert db.run().ok
        db.forget_leases()
    assert db.left("metrics") == [JUNE]
    restore(db)
    assert db.left("metrics") == sorted([MAY, MAY, row, JUNE])


@pytest.mark.parametrize(
    ("error", "stage"), [(ConnectionLost, "dropping"), (DatabaseError, "created")], ids=["lost", "refused"]
)
def test_a_drop_that_fails(db: Database, error: type[RetentionError], stage: str) -> None:
    """A partition that was not dropped is in its table; without an answer that is unknown, until the next run looks."""
    db.create("metrics", BY_MONTH, by=["month"])
    db.fill("metrics", [MAY, MAY, JUNE])
    db.policy("snapshot", "metrics", "30d")

    def fail(statement: str) -> None:
        if statement.startswith("DELETE FROM") and "metrics" in statement:
            raise error("database", "no answer")

    with before_statements(db.tool.engine.database.engine, fail):
        assert db.run().failed == 1
    assert (stages(db), db.left("metrics")) == ([stage], [MAY, MAY, JUNE])
    assert db.run().partitions == 1
    assert (stages(db), db.left("metrics")) == (["archived"], [JUNE])
    restore(db)
    assert db.left("metrics") == [MAY, MAY, JUNE]


def test_a_drop_without_an_answer_is_settled(db: Database, metrics: str) -> None:
    """What a killed run had dropped is noted by the next one."""
    (record,) = db.tool.snapshots()
    db.tool.store.snapshots.mark(*record.key, SnapshotStage.DROPPING)
    assert db.run().ok
    assert stages(db) == ["archived"]


def test_a_drop_without_an_answer_stays_open(db: Database, metrics: str) -> None:
    """What a run does not look at, it can't tell the end of: the table of another policy, or one that is gone."""
    (record,), (policy,) = db.tool.snapshots(), db.tool.policies()
    db.tool.store.snapshots.mark(*record.key, SnapshotStage.DROPPING)
    db.tool.edit_policy(policy.policy.id or "", {"table_name": "others"})
    db.run()
    assert stages(db) == ["dropping"]


def test_a_partition_that_is_there_was_not_dropped(db: Database, metrics: str) -> None:
    """What a killed run was about to drop stays open while it is in its table, which a hold keeps as it is."""
    (record,) = db.tool.snapshots()
    db.fill(metrics, [MAY])
    db.tool.hold(metrics, db.schema, reason="case 4711")
    db.tool.store.snapshots.mark(*record.key, SnapshotStage.DROPPING)
    assert db.run().ok
    assert (stages(db), db.left(metrics)) == (["dropping"], [MAY, JUNE])


@ALIKE
def test_an_older_store(db: Database, metrics: str) -> None:
    """
    An earlier version did not note that a restored partition was archived again: of that, the latest snapshot counts.
    """
    restore(db)
    release(db)
    archive(db, LATE)
    store = db.tool.store
    old = [r for r in db.tool.snapshots() if r.stage is SnapshotStage.SUPERSEDED]
    for record in old:
        db.time.set("2024-07-01T00:00:00+00:00")
        store.snapshots.mark(*record.key, SnapshotStage.RESTORED)
        db.time.set("2024-07-02T00:00:00+00:00")
    restore(db)
    assert db.left(metrics) == [MAY, MAY, LATE, JUNE]


def test_keys_twice(db: Database) -> None:
    """A row that came again with the same key in a later snapshot can't be in the table twice: the error says so."""
    db.create("metrics", BY_MONTH, by=["month"], key=_key(db))
    db.fill("metrics", [MAY, LATE, JUNE])
    db.policy("snapshot", "metrics", "30d")
    assert db.run().partitions == 1
    archive(db, MAY, LATER)
    found = db.tool.restore(ALL)
    assert all(item.error and "separately" in item.error for item in found)
    assert db.left("metrics") == [JUNE]
    for number, record in enumerate(db.tool.snapshots()):
        restore(db, RestoreRequest(name=record.archived.name, into=TableName(db.schema, f"copy{number}")))


def _key(db: Database) -> str:
    return "PRIMARY KEY (n)" if isinstance(db, DuckDatabase) else "PRIMARY KEY (n, month)"
