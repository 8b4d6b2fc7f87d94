"""
Archived before dropped (law 2), each guard with something that sets it off, on both engines.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress

import pytest

from cratedb_retention import Report
from cratedb_retention.errors import DatabaseError
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.execution.runs.events import RunEvent, StepFinished
from cratedb_retention.model.plan.plan import SnapshotPartition, Step, VerifySnapshot
from support.databases import MONTH, TIME, CrateDatabase, Database, DuckDatabase
from support.sql import SqlError, quoted

BY_MONTH = {"ts": TIME, "n": "TEXT", "month": MONTH}
APRIL, MAY, JUNE = "2024-04-10T00:00:00Z", "2024-05-10T00:00:00Z", "2024-06-10T00:00:00Z"

# The months of these.
MAY_MS, JUNE_MS = 1_714_521_600_000, 1_717_200_000_000


@pytest.fixture
def metrics(db: Database) -> str:
    """A table by month, of which one is expired."""
    create_metrics(db)
    return "metrics"


def create_metrics(db: Database) -> None:
    """The table of these tests, and its policy."""
    db.create("metrics", BY_MONTH, by=["month"])
    db.fill("metrics", [MAY, JUNE])
    db.policy("snapshot", "metrics", "30d")


def run_with(db: Database, after: type[Step], do: Callable[[], None]) -> Report:
    """Run, and do something right after the first step of a kind."""
    done: list[RunEvent] = []

    def interfere(event: RunEvent) -> None:
        if isinstance(event, StepFinished) and isinstance(event.step, after) and not done:
            done.append(event)
            do()

    report = db.tool.run(observers=[interfere])
    assert done
    return report


def assert_untouched(db: Database, rows: list[str]) -> None:
    """All rows are there, and the table can be written to."""
    assert db.left("metrics") == sorted(rows)
    db.fill("metrics", ["2024-05-31T00:00:00Z"])
    assert db.count("metrics") == len(rows) + 1
    assert db.count("retention_freeze", schema=db.own_schema) == 0


def restored(db: Database) -> list[str]:
    """The rows that the archives hold."""
    (back,) = db.tool.restore(RestoreRequest(into=db.table("back")))
    assert back.error is None
    return db.left("back")


def test_written_after_the_plan(db: Database, metrics: str) -> None:
    """An expired row that arrives between plan and run is in the archive as well, or the partition would stay."""
    prepared = db.tool.prepare()
    db.fill(metrics, ["2024-05-20T00:00:00Z"])
    report = db.tool.run(prepared)
    assert (report.deferred, report.failed, report.partitions, report.rows) == (0, 0, 1, 2)
    assert db.left(metrics) == [JUNE]
    assert db.tool.snapshots()[-1].archived.rows == 2
    assert restored(db) == [MAY, "2024-05-20T00:00:00Z"]


@pytest.mark.parametrize("statement", ["UPDATE {} SET n = 'changed' WHERE n = ?", "DELETE FROM {} WHERE n = ?"])
def test_changed_after_the_plan(db: Database, metrics: str, statement: str) -> None:
    """The same with a row that was changed, or deleted, so that the number of rows says little."""
    db.fill(metrics, ["2024-05-20T00:00:00Z"])
    prepared = db.tool.prepare()
    db.sql(statement.format(db.q(metrics)), [MAY])
    before = db.left(metrics)
    assert db.tool.run(prepared).partitions == 1
    assert db.left(metrics) == [JUNE]
    assert sorted([*restored(db), JUNE]) == before


@pytest.mark.parametrize("after", [SnapshotPartition, VerifySnapshot])
def test_written_after_the_snapshot(duck: DuckDatabase, after: type[Step]) -> None:
    """DuckDB can't freeze: a row that arrives after the snapshot keeps the partition."""
    create_metrics(duck)
    report = run_with(duck, after, lambda: duck.fill("metrics", ["2024-05-20T00:00:00Z"]))
    assert (report.deferred, report.partitions) == (1, 0)
    assert_untouched(duck, [MAY, "2024-05-20T00:00:00Z", JUNE])


@pytest.mark.parametrize("after", [SnapshotPartition, VerifySnapshot])
def test_thawed_in_between(crate: CrateDatabase, after: type[Step]) -> None:
    """A partition that somebody unfroze after the snapshot is not dropped, even if nothing was written."""
    create_metrics(crate)
    thaw = f"""ALTER TABLE {crate.q("metrics")} PARTITION (month = '2024-05-01') SET ("blocks.write" = false)"""
    report = run_with(crate, after, lambda: crate.sql(thaw))
    assert (report.deferred, report.partitions) == (1, 0)
    assert_untouched(crate, [MAY, JUNE])


def test_thawed_and_written_in_between(crate: CrateDatabase) -> None:
    """The same with a row that was written, and the block put back."""
    create_metrics(crate)
    table = crate.q("metrics")

    def write() -> None:
        for blocked in (False, True):
            crate.sql(f"""ALTER TABLE {table} PARTITION (month = '2024-05-01') SET ("blocks.write" = {blocked})""")
            if not blocked:
                crate.fill("metrics", ["2024-05-20T00:00:00Z"])

    report = run_with(crate, VerifySnapshot, write)
    assert (report.deferred, report.partitions) == (1, 0)
    assert_untouched(crate, [MAY, "2024-05-20T00:00:00Z", JUNE])


def test_repository_is_broken(db: Database, metrics: str) -> None:
    """A snapshot that can't be written: a failure in the journal, the partition thawed, all rows there."""
    db.break_repository()
    report = db.run()
    assert (report.failed, report.ok, report.partitions) == (1, False, 0)
    (row,) = db.journal(event="step-finished", outcome="failed")
    assert (row["operation"], row["table_name"]) == ("snapshot_partition", "metrics")
    assert row["error"]
    assert db.journal(event="run-finished")[0]["outcome"] == "failed"
    assert_untouched(db, [MAY, JUNE])


def test_repository_is_mended(db: Database, metrics: str) -> None:
    """After the repository works again, the next run does what the failed one could not."""
    db.break_repository()
    db.run()
    db.mend_repository()
    assert db.run().ok
    assert db.left(metrics) == [JUNE]
    assert [v.error for v in db.tool.verify_snapshots()] == [None]


def test_failure_leaves_other_tables(db: Database, metrics: str) -> None:
    """Where archiving fails, deleting elsewhere goes on, and the table's other partitions are not tried."""
    db.fill(metrics, [APRIL])
    db.create("others", BY_MONTH, by=["month"])
    db.fill("others", [MAY, JUNE])
    db.policy("delete", "others", "30d")
    db.break_repository()
    report = db.run()
    assert (report.failed, report.skipped, report.partitions) == (1, 1, 1)
    assert db.left("others") == [JUNE]
    assert db.left(metrics) == [APRIL, MAY, JUNE]


def test_snapshot_vanishes(db: Database, metrics: str) -> None:
    """A snapshot that is gone before the drop: nothing is dropped."""

    def vanish() -> None:
        (name,) = db.snapshot_names()
        db.drop_snapshot(name)

    report = run_with(db, VerifySnapshot, vanish)
    assert (report.failed, report.partitions) == (1, 0)
    assert_untouched(db, [MAY, JUNE])


@pytest.mark.parametrize("damage", ["*/**/*.parquet", "_manifests/*.json"])
@pytest.mark.parametrize("after", [SnapshotPartition, VerifySnapshot])
@pytest.mark.parametrize("how", ["changed", "garbled", "emptied", "removed"])
@pytest.mark.some(8)
def test_damaged_file(duck: DuckDatabase, damage: str, after: type[Step], how: str) -> None:
    """A file that is not any more what was written: nothing is dropped."""
    create_metrics(duck)

    def hurt() -> None:
        (path,) = duck.directory.glob(damage)
        content = path.read_bytes()
        match how:
            case "changed":
                path.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])
            case "garbled":
                path.write_bytes(content[:20] + b"\xff" + content[21:])
            case "emptied":
                path.write_bytes(b"")
            case _:
                path.unlink()

    report = run_with(duck, after, hurt)
    assert (report.failed, report.partitions) == (1, 0)
    assert_untouched(duck, [MAY, JUNE])


def test_other_rows_with_the_right_checksum(duck: DuckDatabase) -> None:
    """A file with as many other rows, whose checksum the manifest has: the rows themselves are compared as well."""
    create_metrics(duck)

    def replace_rows() -> None:
        (path,) = duck.snapshot_files()
        other = path.with_name("other.parquet")
        duck.sql(f"COPY (SELECT * REPLACE ('x' AS n) FROM '{path}') TO '{other}' (FORMAT parquet)")
        other.replace(path)
        said = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size": path.stat().st_size}
        duck.forge(path.stem, **said)

    report = run_with(duck, SnapshotPartition, replace_rows)
    assert (report.failed, report.partitions) == (1, 0)
    assert_untouched(duck, [MAY, JUNE])


def cut(content: bytes) -> bytes:
    """As a full disk does it."""
    return content[:-8]


def flip(content: bytes) -> bytes:
    """One bit, as a failing disk does it; the size stays."""
    middle = len(content) // 3
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", ["*/**/*.parquet", "_manifests/*.json"])
@pytest.mark.parametrize("how", [cut, flip])
def test_damaged_snapshot_is_replaced(duck: DuckDatabase, damage: str, how: Callable[[bytes], bytes]) -> None:
    """Where a file was damaged before the drop, the next run archives the partition anew, and drops it."""
    create_metrics(duck)

    def hurt() -> None:
        (path,) = duck.directory.glob(damage)
        path.write_bytes(how(path.read_bytes()))

    assert run_with(duck, SnapshotPartition, hurt).failed == 1
    assert duck.run().ok
    assert duck.left("metrics") == [JUNE]
    assert [v.error for v in duck.tool.verify_snapshots()] == [None]


def test_something_in_the_snapshots_place(duck: DuckDatabase) -> None:
    """A file where the directory of the table's archives would be: a failure of this table alone."""
    create_metrics(duck)
    duck.directory.mkdir()
    (duck.directory / "lab.metrics").write_text("something else")
    report = duck.run()
    assert (report.failed, report.partitions) == (1, 0)
    assert_untouched(duck, [MAY, JUNE])


def test_half_a_snapshot_is_replaced(duck: DuckDatabase) -> None:
    """What a killed run left of a snapshot is made anew."""
    create_metrics(duck)
    (task,) = duck.tool.plan().tasks
    (name,) = [step.name for step in task.steps if isinstance(step, SnapshotPartition)]
    for path in (f"{name}.parquet", f".{name}.parquet.partial"):
        found = duck.directory / "lab.metrics" / "month=2024-05-01" / path
        found.parent.mkdir(parents=True, exist_ok=True)
        found.write_text("half")
    assert duck.run().ok
    assert [path.name for path in duck.directory.rglob("*.partial")] == []
    assert duck.left("metrics") == [JUNE]
    assert [v.error for v in duck.tool.verify_snapshots()] == [None]


def verification(db: Database) -> VerifySnapshot:
    """The step that verifies the snapshot of the first partition."""
    steps = [step for step in db.tool.plan().tasks[0].steps if isinstance(step, VerifySnapshot)]
    return steps[0]


def archive_by_hand(crate: CrateDatabase, name: str, month: str) -> None:
    """Make a snapshot of a partition without the toolkit."""
    where = f"{crate.q('metrics')} PARTITION (month = '{month}')"
    crate.sql(f"CREATE SNAPSHOT {quoted(crate.repository, name)} TABLE {where} WITH (wait_for_completion = true)")


def test_broken_snapshot_is_replaced(crate: CrateDatabase) -> None:
    """A snapshot of the right name whose shards could not be written is no archive, and the next run makes it again."""
    create_metrics(crate)
    step = verification(crate)
    archive_by_hand(crate, "another", "2024-05-01")
    (shard,) = crate.directory.glob("indices/*/0")
    away = shard.rename(shard.with_name("away"))
    shard.write_text("in the way")
    with suppress(SqlError):
        archive_by_hand(crate, step.name, "2024-05-01")
    shard.unlink()
    away.rename(shard)
    query = "SELECT state FROM sys.snapshots WHERE name = ?"
    assert crate.rows(query, [step.name])[0][0] in ("PARTIAL", "FAILED")
    assert crate.tool.adopt_snapshots(crate.repository) == [], "neither what is not complete nor what others made"
    with pytest.raises(DatabaseError, match="is not complete"):
        crate.tool.engine.perform(step, lambda progress: None)
    assert crate.run().ok
    assert crate.rows(query, [step.name])[0][0] == "SUCCESS"
    assert crate.left("metrics") == [JUNE]
    assert [v.error for v in crate.tool.verify_snapshots()] == [None]


def test_snapshot_of_another_partition(crate: CrateDatabase) -> None:
    """A complete snapshot of the right name that holds another partition is none: nothing is dropped."""
    create_metrics(crate)
    archive_by_hand(crate, verification(crate).name, "2024-06-01")
    report = crate.run()
    assert (report.failed, report.partitions) == (1, 0)
    assert (
        "does not hold partition month=2024-05-01" in crate.journal(event="step-finished", outcome="failed")[0]["error"]
    )
    assert_untouched(crate, [MAY, JUNE])


def test_manifest_of_another_partition(duck: DuckDatabase) -> None:
    """A manifest of the right name that names another partition is no archive: nothing is dropped."""
    create_metrics(duck)

    def rename() -> None:
        (name,) = duck.snapshot_names()
        ((column, kind, of, value),) = json.loads(duck.manifest(name).read_text())["partition"]
        assert (column, value) == ("month", MAY_MS)
        duck.forge(name, partition=[[column, kind, of, JUNE_MS]])

    report = run_with(duck, SnapshotPartition, rename)
    assert (report.failed, report.partitions) == (1, 0)
    assert "names another partition" in duck.journal(event="step-finished", outcome="failed")[0]["error"]
    assert_untouched(duck, [MAY, JUNE])


def test_young_row_in_an_archived_text_partition(db: Database) -> None:
    """A partition known by its rows is not dropped if a young row arrived since the plan."""
    db.create("metrics", {"ts": TIME, "n": "TEXT", "part": "TEXT"}, by=["part"])
    db.fill("metrics", [MAY], part="a")
    db.policy("snapshot", "metrics", "30d", partition_column="part")
    prepared = db.tool.prepare()
    db.fill("metrics", [JUNE], part="a")
    report = db.tool.run(prepared)
    assert (report.deferred, report.partitions) == (1, 0)
    assert db.left("metrics") == [MAY, JUNE]


def test_young_row_that_was_not_visible_yet(crate: CrateDatabase) -> None:
    """The same with a row that was there when the plan was made, and that no query had seen."""
    crate.create("metrics", {"ts": TIME, "n": "TEXT", "part": "TEXT"}, by=["part"])
    crate.fill("metrics", [MAY], part="a")
    crate.policy("snapshot", "metrics", "30d", partition_column="part")
    crate.sql(f"ALTER TABLE {crate.q('metrics')} SET (refresh_interval = 0)")
    crate.sql(f"INSERT INTO {crate.q('metrics')} (ts, n, part) VALUES (?, 'young', 'a')", [JUNE])
    report = crate.run()
    assert (report.deferred, report.failed, report.partitions) == (1, 0, 0)
    assert crate.left("metrics") == [MAY, "young"]
