"""
What is proved of a snapshot before its partition is dropped: it is restored, and compared with the partition. Whatever
became of its files, the rows are in one place or the other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cratedb_retention import RestoreRequest
from cratedb_retention.execution.runs.events import Observer, RunEvent, StepFinished
from cratedb_retention.model.plan.plan import SnapshotPartition, Step, VerifySnapshot
from support.databases import MONTH, NUMBER, TIME, CrateDatabase, Database, DuckDatabase
from support.sql import quoted
from support.tiers import DECIDED, others_on_duckdb

BY_MONTH = {"ts": TIME, "n": "TEXT", "month": MONTH}
APRIL, MAY, LATE_MAY, JUNE = (f"2024-{day}T00:00:00Z" for day in ("04-10", "05-10", "05-20", "06-10"))
ALL = [APRIL, MAY, LATE_MAY, JUNE]
COPIES = (
    "SELECT count(*) FROM information_schema.tables WHERE table_schema = ? AND table_name LIKE 'retention_verify_%'"
)


@pytest.fixture
def metrics(db: Database) -> str:
    """A table by month, of which two are expired."""
    return create_metrics(db)


def create_metrics(db: Database, **more: Any) -> str:
    """The table of these tests, and its policy."""
    db.create("metrics", BY_MONTH, by=["month"])
    db.fill("metrics", ALL)
    db.policy("snapshot", "metrics", "30d", **more)
    return "metrics"


def after(kind: type[Step], do: Callable[[], None], nth: int = 1) -> Observer:
    """An observer that does something right after a step, the nth of a kind."""
    seen: list[RunEvent] = []

    def observe(event: RunEvent) -> None:
        if isinstance(event, StepFinished) and isinstance(event.step, kind):
            seen.append(event)
            if len(seen) == nth:
                do()

    return observe


def largest(paths: list[Path]) -> Path:
    """The file that holds most."""
    return max(paths, key=lambda path: path.stat().st_size)


def remove_all(paths: list[Path]) -> None:
    """As if somebody had tidied up."""
    for path in paths:
        path.unlink()


def remove_one(paths: list[Path]) -> None:
    """One file of several."""
    largest(paths).unlink()


def truncate(paths: list[Path]) -> None:
    """As a full disk does it."""
    largest(paths).write_bytes(largest(paths).read_bytes()[:-50])


def empty(paths: list[Path]) -> None:
    """As a crash does it."""
    largest(paths).write_bytes(b"")


def flip(paths: list[Path]) -> None:
    """One bit, as a failing disk does it."""
    path = largest(paths)
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])


def copies(db: Database) -> int:
    """The copies in the toolkit's schema."""
    return int(db.rows(COPIES, [db.own_schema])[0][0])


def assert_stays(db: Database, rows: list[str]) -> str:
    """These rows are there, the table can be written to, no copy is left, and the log says why: in these words."""
    assert db.left("metrics") == sorted(rows)
    assert copies(db) == 0
    assert db.count("retention_freeze", schema=db.own_schema) == 0
    db.fill("metrics", ["2024-05-30T00:00:00Z"])
    assert db.count("metrics") == len(rows) + 1
    (row,) = db.journal(event="step-finished", operation="verify_snapshot", outcome="failed")
    return str(row["error"])


@pytest.mark.parametrize("damage", [remove_one, flip, *others_on_duckdb(remove_all, truncate, empty)])
def test_damaged_files(db: Database, metrics: str, damage: Callable[[list[Path]], None]) -> None:
    """Files of a complete snapshot that are gone or damaged: all rows stay, and the error names it, why, and a cure."""
    report = db.tool.run(observers=[after(SnapshotPartition, lambda: damage(db.snapshot_files()))])
    assert (report.failed, report.skipped, report.partitions) == (1, 1, 0)
    error = assert_stays(db, ALL)
    (name,) = db.snapshot_names()
    assert name in error
    assert isinstance(db, DuckDatabase) or all(
        words in error
        for words in ("cannot be restored", "missing or damaged", f"DROP SNAPSHOT {quoted(db.repository)}.")
    )


def test_metadata(crate: CrateDatabase) -> None:
    """With `verify: metadata` CrateDB's word is enough: nothing is restored, and lost files are not noticed."""
    create_metrics(crate, verify="metadata")
    plan = crate.tool.plan()
    assert [verify_step.verify for verify_step in verifications(plan)] == ["metadata"] * 2
    with crate.statements() as sent:
        report = crate.tool.run(observers=[after(SnapshotPartition, lambda: remove_all(crate.snapshot_files()))])
    assert (report.failed, report.partitions, report.rows) == (0, 2, 3)
    assert crate.left("metrics") == [JUNE]
    assert not any("RESTORE SNAPSHOT" in statement for statement in sent)
    assert [bool(found.error) for found in crate.tool.verify_snapshots()] == [True, False]


def verifications(plan: Any) -> list[VerifySnapshot]:
    """The steps of a plan that verify."""
    return [step for task in plan.tasks for step in task.steps if isinstance(step, VerifySnapshot)]


def test_files_are_always_read(duck: DuckDatabase) -> None:
    """On DuckDB `verify: metadata` means the same as `restore`: each archive is read back."""
    create_metrics(duck, verify="metadata")
    assert [step.verify for step in verifications(duck.tool.plan())] == ["restore"] * 2
    report = duck.tool.run(observers=[after(SnapshotPartition, lambda: flip(duck.snapshot_files()))])
    assert (report.failed, report.partitions) == (1, 0)
    assert duck.left("metrics") == ALL


def test_what_is_shown(crate: CrateDatabase) -> None:
    """The plan's statements restore the snapshot into the toolkit's schema; the log says so, and how many rows."""
    create_metrics(crate)
    shown = [text for step in verifications(crate.tool.plan()) for text in crate.tool.engine.render(step)]
    assert sum(text.startswith("RESTORE SNAPSHOT") and crate.own_schema in text for text in shown) == 2
    assert crate.run().ok
    rows = crate.journal(event="step-finished", operation="verify_snapshot")
    assert sorted(row["rows"] for row in rows) == [1, 2]
    assert all("by reading it back" in row["message"] for row in rows)
    assert copies(crate) == 0


def test_policies_of_earlier_versions(db: Database, metrics: str) -> None:
    """A policy that was stored before there was a choice gets the safer one."""
    policies = db.q("retention_policy", db.own_schema)
    if isinstance(db, CrateDatabase):
        db.sql(f"ALTER TABLE {policies} DROP COLUMN verify")
        assert db.tool.setup() == [f"added column verify to {db.own_schema}.retention_policy"]
    else:  # DuckDB drops no column before one with an index.
        db.sql(f"UPDATE {policies} SET verify = NULL")
    assert [stored.policy.verify for stored in db.tool.policies() if stored.policy.table_name == metrics] == ["restore"]
    assert [step.verify for step in verifications(db.tool.plan())] == ["restore"] * 2


@DECIDED
def test_second_of_several(db: Database, metrics: str) -> None:
    """Where the second of three archives is damaged, the first partition goes, and the others stay."""
    db.fill(metrics, ["2024-03-10T00:00:00Z"])

    def damage() -> None:
        known = [record.archived.name for record in db.tool.snapshots()]
        assert len(known) == 2
        remove_all([path for path in db.snapshot_files() if path not in before])

    before: list[Path] = []
    first = after(SnapshotPartition, lambda: before.extend(db.snapshot_files()))
    report = db.tool.run(observers=[first, after(SnapshotPartition, damage, nth=2)])
    assert (report.failed, report.skipped, report.partitions, report.rows) == (1, 1, 1, 1)
    assert_stays(db, ALL)


@pytest.mark.parametrize("kind", [SnapshotPartition, VerifySnapshot])
def test_killed_run_goes_on(db: Database, metrics: str, kind: type[Step]) -> None:
    """A snapshot whose files went after a run was killed is no archive: the next run looks again, and drops nothing."""

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        db.tool.run(observers=[after(kind, stop)])
    assert db.left(metrics) == ALL
    if isinstance(db, CrateDatabase):  # DuckDB makes what is not whole again.
        remove_all(db.snapshot_files())
        assert db.run().failed == 1
        assert_stays(db, ALL)
        return
    flip(db.snapshot_files())
    assert db.run().ok
    assert [found.error for found in db.tool.verify_snapshots()] == [None, None]


def test_remedy(crate: CrateDatabase) -> None:
    """What the error says helps: after the snapshot is dropped, the next run archives the partition."""
    create_metrics(crate)
    crate.tool.run(observers=[after(SnapshotPartition, lambda: remove_all(crate.snapshot_files()))])
    (name,) = crate.snapshot_names()
    crate.drop_snapshot(name)
    assert crate.run().ok
    assert crate.left("metrics") == [JUNE]
    assert [found.error for found in crate.tool.verify_snapshots()] == [None, None]


def test_with_where(db: Database) -> None:
    """Of a table by tenant and month only the one tenant is archived; a damaged archive keeps its rows."""
    db.create("metrics", {**BY_MONTH, "tenant": "TEXT"}, by=["tenant", "month"])
    for tenant in ("acme", "globex"):
        db.fill("metrics", [MAY, JUNE], tenant=tenant)
    db.policy("snapshot", "metrics", "30d", where={"tenant": "acme"})
    report = db.tool.run(observers=[after(SnapshotPartition, lambda: flip(db.snapshot_files()))])
    assert (report.failed, report.partitions) == (1, 0)
    assert db.count("metrics") == 4
    for name in db.snapshot_names() if isinstance(db, CrateDatabase) else []:
        db.drop_snapshot(name)
    assert db.run().rows == 1
    assert db.count("metrics", "tenant = 'acme'") == 1
    assert db.count("metrics") == 3


def test_restored_and_archived_again(db: Database, metrics: str) -> None:
    """A partition that was restored and is archived again is proved again: damaged files keep it where it is."""
    assert db.run().ok
    db.tool.restore(RestoreRequest(table_name=metrics))
    for hold in db.tool.holds():
        db.tool.release(hold.id)
    assert db.left(metrics) == ALL
    report = db.tool.run(observers=[after(SnapshotPartition, lambda: remove_all(db.snapshot_files()))])
    assert (report.failed, report.partitions) == (1, 0)
    assert_stays(db, ALL)


def test_closed(crate: CrateDatabase) -> None:
    """A closed partition hides its rows, and its snapshot has to be restored all the same."""
    create_metrics(crate)
    crate.sql(f"ALTER TABLE {crate.q('metrics')} PARTITION (month = '2024-04-01') CLOSE")
    report = crate.tool.run(observers=[after(SnapshotPartition, lambda: flip(crate.snapshot_files()))])
    assert (report.failed, report.partitions) == (1, 0)
    crate.sql(f"ALTER TABLE {crate.q('metrics')} PARTITION (month = '2024-04-01') OPEN")
    assert_stays(crate, ALL)


@pytest.mark.parametrize(("n", "m"), [(APRIL, None), ("another", None), (None, None), (None, APRIL)])
def test_other_rows(crate: CrateDatabase, n: str | None, m: str | None) -> None:
    """A complete snapshot of the right name and partition with as many rows, under the same keys, but other ones."""
    columns = {"ts": TIME, "n": "TEXT", "m": "TEXT", "v": NUMBER, "month": MONTH}
    crate.create("metrics", columns, by=["month"], key="PRIMARY KEY (ts, month)")
    crate.fill("metrics", [APRIL, JUNE], v=1.5)
    crate.policy("snapshot", "metrics", "30d")
    table, away = crate.q("metrics"), quoted("metrics_away")

    def swap() -> None:
        (name,) = crate.snapshot_names()
        crate.drop_snapshot(name)
        crate.sql(f"ALTER TABLE {table} RENAME TO {away}")
        crate.create("metrics", columns, by=["month"], key="PRIMARY KEY (ts, month)")
        crate.insert("metrics", [{"ts": APRIL, "n": n, "m": m, "v": 1.5 if n != APRIL else None}])
        where = f"TABLE {table} PARTITION (month = '2024-04-01') WITH (wait_for_completion = true)"
        crate.sql(f"CREATE SNAPSHOT {quoted(crate.repository, name)} {where}")
        crate.sql(f"DROP TABLE {table}")
        crate.sql(f"ALTER TABLE {crate.q('metrics_away')} RENAME TO {quoted('metrics')}")

    report = crate.tool.run(observers=[after(SnapshotPartition, swap)])
    assert (report.failed, report.partitions) == (1, 0)
    assert "1 row, as many as partition month=2024-04-01, but different ones" in assert_stays(crate, [APRIL, JUNE])


def test_fewer_rows(crate: CrateDatabase) -> None:
    """A complete snapshot of the right name and partition with fewer rows."""
    create_metrics(crate)
    crate.sql(f"DELETE FROM {crate.q('metrics')} WHERE month = '2024-04-01'")
    (step,) = verifications(crate.tool.plan())
    table, away = crate.q("metrics"), quoted("metrics_away")
    crate.sql(f"ALTER TABLE {table} RENAME TO {away}")
    crate.create("metrics", BY_MONTH, by=["month"])
    crate.fill("metrics", [MAY])
    where = f"TABLE {table} PARTITION (month = '2024-05-01') WITH (wait_for_completion = true)"
    crate.sql(f"CREATE SNAPSHOT {quoted(crate.repository, step.name)} {where}")
    crate.sql(f"DROP TABLE {table}")
    crate.sql(f"ALTER TABLE {crate.q('metrics_away')} RENAME TO {quoted('metrics')}")
    report = crate.run()
    assert (report.failed, report.partitions) == (1, 0)
    assert "holds 1 row, but partition month=2024-05-01 has 2" in assert_stays(crate, [MAY, LATE_MAY, JUNE])


def test_no_node_takes_the_copy(crate: CrateDatabase) -> None:
    """Where no node may hold the copy, the partition stays, and the error says that this may be the reason."""
    create_metrics(crate)
    require = "\"routing.allocation.require.storage\" = 'nowhere'"
    crate.sql(f"ALTER TABLE {crate.q('metrics')} PARTITION (month = '2024-04-01') SET ({require})")
    report = crate.run()
    assert (report.failed, report.partitions) == (1, 0)
    assert "no node is allowed to hold the copy" in assert_stays(crate, ALL)


def test_replicas(crate: CrateDatabase) -> None:
    """A table with replicas, for which there is no node: the copy has none."""
    create_metrics(crate)
    crate.sql(f"ALTER TABLE {crate.q('metrics')} SET (number_of_replicas = 1)")
    found: list[int] = []
    query = "SELECT count(*) FROM sys.shards WHERE schema_name = ?  AND table_name LIKE 'retention_verify_%'"

    def look(statement: str) -> None:
        if statement.startswith("DROP TABLE") and "retention_verify_run" in statement:
            found.append(int(crate.rows(query, [crate.own_schema])[0][0]))

    from support.databases import before_statements

    with before_statements(crate.tool.engine.database.engine, look):
        assert crate.run().ok
    assert found == [0, 1, 0, 1]
    assert crate.left("metrics") == [JUNE]


COLUMNS = {
    "tags": "ARRAY(TEXT)",
    "o": 'OBJECT(DYNAMIC) AS (x BIGINT, "y z" TEXT)',
    "ignored": "OBJECT(IGNORED)",
    "points": "ARRAY(OBJECT(DYNAMIC) AS (x BIGINT))",
    "place": "GEO_POINT",
    "shape": "GEO_SHAPE",
    "address": "IP",
    "bits": "BIT(8)",
    "vector": "FLOAT_VECTOR(2)",
    "yes": "BOOLEAN",
    "money": "NUMERIC(10, 2)",
    "code": "CHARACTER(3)",
    "small": "REAL",
    "value": NUMBER,
    "plain": "TIMESTAMP WITHOUT TIME ZONE",
    "it's": "TEXT INDEX OFF STORAGE WITH (columnstore = false)",
}
VALUES = {
    "tags": ["a", None],
    "o": {"x": 1, "y z": "b"},
    "ignored": {"any": [1, "thing"]},
    "points": [{"x": 1}, {"x": 2}],
    "place": [1.0, 2.0],
    "shape": "POINT (1 2)",
    "address": "10.0.0.1",
    "bits": 5,
    "vector": [1.0, 2.0],
    "yes": True,
    "money": "1.25",
    "code": "abc",
    "small": 1.1,
    "value": "NaN",
    "plain": "2024-05-01",
    "it's": "text",
}


def test_all_types(crate: CrateDatabase) -> None:
    """Values of every type, and none at all, are compared and found to be the same."""
    crate.create("metrics", {**BY_MONTH, **COLUMNS}, by=["month"])
    values = {name: value for name, value in VALUES.items() if name != "bits"}
    crate.insert("metrics", [{"ts": MAY, "n": "full", **values}])
    crate.fill("metrics", [LATE_MAY, JUNE])
    crate.sql(f"UPDATE {crate.q('metrics')} SET bits = B'00000101' WHERE n = 'full'")
    crate.policy("snapshot", "metrics", "30d")
    report = crate.run()
    assert (report.ok, report.rows) == (True, 2)
    assert crate.left("metrics") == [JUNE]


def test_column_added_meanwhile(crate: CrateDatabase) -> None:
    """A column that is added while a partition is archived does no harm."""
    create_metrics(crate)
    add = f"ALTER TABLE {crate.q('metrics')} ADD COLUMN added TEXT"
    assert crate.tool.run(observers=[after(SnapshotPartition, lambda: crate.sql(add))]).ok
    assert crate.left("metrics") == [JUNE]


def leave_copy(crate: CrateDatabase, name: str) -> None:
    """A copy, as a run leaves it behind that is killed."""
    crate.create(f"retention_verify_run_{name[-12:]}", {"n": "TEXT"}, schema=crate.own_schema)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("by", ["run", "verify"])
def test_copies_of_killed_runs(crate: CrateDatabase, known: bool, by: str) -> None:
    """The next run drops the copies that a killed one left, and so does `verify-snapshots`."""
    create_metrics(crate)
    if known:
        assert crate.run().ok
    names = [record.archived.name for record in crate.tool.snapshots()] or ["nothing-0123456789ab"]
    leave_copy(crate, names[0])
    if by == "run":
        assert crate.run().ok
    else:
        crate.tool.verify_snapshots()
    assert copies(crate) == 0


@pytest.mark.parametrize("by", ["run", "verify"])
def test_copies_of_other_runs(crate: CrateDatabase, by: str) -> None:
    """The copy of a snapshot whose policy another run holds the lease of stays: it may be at it."""
    create_metrics(crate)
    crate.create("others", BY_MONTH, by=["month"])
    crate.policy("snapshot", "others", "30d")
    assert crate.run().ok
    record = next(each for each in crate.tool.snapshots() if each.archived.table.name == "metrics")
    leave_copy(crate, record.archived.name)
    crate.tool.store.leases.change(
        (lease, {"holder": "another", "expires_at": crate.tool.clock.now().replace(year=2099)})
        for lease in [crate.tool.store.leases.read([record.policy_id or ""]).of(record.policy_id or "")]
    )
    if by == "run":
        crate.run()
    else:
        crate.tool.verify_snapshots()
    assert copies(crate) == 1
    crate.forget_leases()
    crate.run()
    assert copies(crate) == 0


def test_commands_leave_runs_alone(crate: CrateDatabase) -> None:
    """A run does not drop the copy that a command verifies."""
    create_metrics(crate)
    crate.create("retention_verify_0123456789ab", {"n": "TEXT"}, schema=crate.own_schema)
    assert crate.run().ok
    assert copies(crate) == 1
    crate.tool.verify_snapshots()
    assert copies(crate) == 0
