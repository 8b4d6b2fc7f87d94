"""
The strategy `snapshot` on both engines: freeze, archive, verify, drop; each partition in a snapshot of its own.
"""

from __future__ import annotations

import pytest

from cratedb_retention.execution.runs.events import RunEvent, StepFinished
from cratedb_retention.model.archive import SnapshotStage
from cratedb_retention.model.plan.plan import SnapshotPartition
from support.databases import MONTH, TIME, CrateDatabase, Database
from support.tiers import DECIDED

BY_MONTH = {"ts": TIME, "n": "TEXT", "month": MONTH}
APRIL, MAY, JUNE = "2024-04-10T00:00:00Z", "2024-05-10T00:00:00Z", "2024-06-10T00:00:00Z"
HOSTILE = ['a/b*"c', 'A/B*"C', "it's", "", "NULL", "ünïcode, 100% :x", "../a\\b<c>|d?"]


@pytest.fixture
def metrics(db: Database) -> str:
    """A table by month, of which two are expired."""
    create_metrics(db)
    return "metrics"


def create_metrics(db: Database) -> None:
    """The table of these tests, and its policy."""
    db.create("metrics", BY_MONTH, by=["month"])
    db.fill("metrics", [APRIL, MAY, MAY, JUNE])
    db.policy("snapshot", "metrics", "30d", tags=["acme"])


def planned_names(db: Database) -> list[str]:
    """The names of the snapshots that a run would make."""
    steps = [step for task in db.tool.plan().tasks for step in task.steps]
    return [step.name for step in steps if isinstance(step, SnapshotPartition)]


def test_archive_verify_drop(db: Database, metrics: str) -> None:
    """Expired partitions are in the repository, and gone from the table; the others are untouched."""
    names = planned_names(db)
    report = db.run()
    assert (report.ok, report.partitions, report.rows) == (True, 2, 3)
    assert db.left(metrics) == [JUNE]
    april, may = db.tool.snapshots()
    assert [april.archived.name, may.archived.name] == names
    assert [april.archived.rows, may.archived.rows] == [1, 2]
    assert {record.stage for record in (april, may)} == {SnapshotStage.ARCHIVED}
    assert (april.tags, april.archived.repository) == (("acme",), db.repository)
    assert (april.archived.start, april.archived.end) == (1711929600000, 1714521600000)
    states = db.tool.snapshot_states([april, may])
    assert [states[db.repository, name].complete for name in names] == [True, True]


def test_writes_to_a_namesake(db: Database, metrics: str) -> None:
    """Rows that are written to a table of the same name in another schema, meanwhile, hold up nothing."""
    other = f"{db.schema}_other"
    if db.product == "DuckDB":
        db.sql(f'CREATE SCHEMA "{other}"')
    db.create(metrics, BY_MONTH, by=["month"], schema=other)

    def write(event: RunEvent) -> None:
        if isinstance(event, StepFinished):
            db.fill(metrics, [APRIL, MAY], schema=other)

    try:
        report = db.tool.run(observers=[write])
        assert (report.ok, report.deferred, report.partitions) == (True, 0, 2)
        assert db.left(metrics) == [JUNE]
        assert set(db.left(metrics, schema=other)) == {APRIL, MAY}
    finally:
        db.sql(f"DROP TABLE {db.q(metrics, other)}")


def test_journal_of_steps(db: Database, metrics: str) -> None:
    """Each step is in the journal, in its order."""
    db.run()
    steps = sorted(db.journal(event="step-finished"), key=lambda row: row["step"])
    once = ["snapshot_partition", "verify_snapshot", "drop_archived"]
    once = ["freeze_partitions", *once] if db.product == "CrateDB" else once
    assert [row["operation"] for row in steps] == once * 2
    assert {row["outcome"] for row in steps} == {"done"}


def test_second_run_is_idle(db: Database, metrics: str) -> None:
    """What is archived is not archived again."""
    db.run()
    assert db.run().done == 0
    assert len(db.tool.snapshots()) == 2


def test_exact_rows(crate: CrateDatabase) -> None:
    """The recorded number of rows is what was archived, though the plan counted before a refresh."""
    crate.create("metrics", BY_MONTH, by=["month"])
    crate.sql(f"ALTER TABLE {crate.q('metrics')} SET (refresh_interval = 0)")
    crate.policy("snapshot", "metrics", "30d")
    crate.fill("metrics", [APRIL])
    crate.sql(f"INSERT INTO {crate.q('metrics')} (ts, n) VALUES ('{APRIL}', 'unseen')")
    report = crate.run()
    (record,) = crate.tool.snapshots()
    assert (record.archived.rows, report.rows) == (2, 2)
    (verified,) = crate.tool.verify_snapshots()
    assert verified.error is None and "2 rows" in (verified.found or "")


def test_names_are_stable(db: Database, metrics: str) -> None:
    """Planning twice gives the same names, so that an interrupted run finds its snapshot again."""
    assert planned_names(db) == planned_names(db)
    assert len(set(planned_names(db))) == 2


def test_names_of_hostile_values(db: Database) -> None:
    """Whatever a partition is called, its snapshot has a valid name of its own."""
    db.create("tenants", {**BY_MONTH, "tenant": "TEXT"}, by=["tenant", "month"])
    values = [*HOSTILE, None]
    db.insert("tenants", [{"ts": MAY, "n": "x", "tenant": value} for value in values])
    db.policy("snapshot", "tenants", "30d")
    names = planned_names(db)
    assert len(set(names)) == len(values)
    assert len({name.lower() for name in names}) == len(values)
    report = db.run()
    assert (report.ok, report.partitions) == (True, len(values))
    assert db.count("tenants") == 0
    records = db.tool.snapshots()
    assert sorted(record.archived.name for record in records) == sorted(names)
    assert {record.archived.values[0] for record in records} == set(values)
    assert [v.error for v in db.tool.verify_snapshots()] == [None] * len(values)


def test_number_and_boolean_partitions(db: Database) -> None:
    """Values that are no text are archived and found again as well."""
    columns = {**BY_MONTH, "site": "BIGINT", "live": "BOOLEAN", "share": "DOUBLE PRECISION"}
    db.create("sites", columns, by=["site", "live", "share", "month"])
    rows = [(-7, True, 0.1), (7, False, 1e20), (2**53 + 1, None, None), (None, True, -2.0)]
    db.insert("sites", [{"ts": MAY, "n": "x", "site": site, "live": live, "share": s} for site, live, s in rows])
    db.policy("snapshot", "sites", "30d")
    report = db.run()
    assert (report.ok, report.partitions, db.count("sites")) == (True, 4, 0)
    assert {record.archived.values[:3] for record in db.tool.snapshots()} == set(rows)
    assert [v.error for v in db.tool.verify_snapshots()] == [None] * 4


def test_where(db: Database) -> None:
    """Only one tenant's partitions are archived."""
    db.create("tenants", {**BY_MONTH, "tenant": "TEXT"}, by=["tenant", "month"])
    db.insert("tenants", [{"ts": MAY, "n": tenant, "tenant": tenant} for tenant in ("acme", "beta")])
    db.policy("snapshot", "tenants", "30d", where={"tenant": "acme"})
    assert db.run().partitions == 1
    assert db.left("tenants") == ["beta"]


def test_text_partitions(db: Database) -> None:
    """Partitions known by their rows are archived, too."""
    db.create("texts", {"ts": TIME, "n": "TEXT", "month": f"TEXT GENERATED ALWAYS AS ({db.month_text})"}, by=["month"])
    db.fill("texts", [APRIL, MAY, JUNE])
    db.policy("snapshot", "texts", "30d")
    assert db.run().partitions == 2
    assert db.left("texts") == [JUNE]
    assert [record.archived.values for record in db.tool.snapshots()] == [("2024-04",), ("2024-05",)]


def test_archive_comes_before_delete(db: Database, metrics: str) -> None:
    """Where two policies want the same partition, it is archived and not deleted."""
    db.policy("delete", metrics, "30d")
    assert db.run().ok
    assert len(db.tool.snapshots()) == 2
    assert db.left(metrics) == [JUNE]


def test_delete_would_come_first(db: Database, metrics: str) -> None:
    """A policy that would delete what another one archives later is held as a problem."""
    db.policy("delete", metrics, "1d")
    report = db.run()
    assert (report.needs_attention, report.ok) == (1, False)
    assert db.left(metrics) == [JUNE]
    assert len(db.tool.snapshots()) == 2


def test_only_some_policies(db: Database, metrics: str) -> None:
    """A run of the deleting policies alone does not take what is to be archived."""
    from cratedb_retention import Selection, Strategy

    db.policy("delete", metrics, "30d")
    db.tool.run(selection=Selection(strategy=Strategy.DELETE))
    assert db.count(metrics) == 4
    assert db.tool.snapshots() == []


def test_not_partitioned(db: Database) -> None:
    """A table without partitions can't be archived; that is a problem, and nothing goes."""
    db.create("events", {"ts": TIME, "n": "TEXT"})
    db.fill("events", [APRIL])
    db.policy("snapshot", "events", "30d")
    assert db.run().needs_attention == 1
    assert db.count("events") == 1


def test_missing_repository(crate: CrateDatabase) -> None:
    """A repository that does not exist is a problem that the plan shows."""
    crate.create("metrics", BY_MONTH, by=["month"])
    crate.fill("metrics", [APRIL])
    crate.policy("snapshot", "metrics", "30d", target_repository_name="nowhere")
    (problem,) = crate.tool.plan().needs_attention
    assert "nowhere" in problem.reason
    assert not crate.run().ok
    assert crate.left("metrics") == [APRIL]


@DECIDED
def test_late_rows(db: Database, metrics: str) -> None:
    """Rows that arrive after the archive make the partition anew; it is archived again under another name."""
    db.run()
    db.fill(metrics, ["2024-05-31T00:00:00Z"])
    assert db.run().partitions == 1
    assert db.left(metrics) == [JUNE]
    records = db.tool.snapshots()
    assert len({record.archived.name for record in records}) == 3
    assert sorted(record.archived.rows or 0 for record in records) == [1, 1, 2]
    assert [v.error for v in db.tool.verify_snapshots()] == [None] * 3


def test_a_partition_that_comes_back_unchanged(db: Database, metrics: str) -> None:
    """It is archived under another name each time, also where its change token is the same; no archive is replaced."""
    names = planned_names(db)
    for _ in range(2):
        db.run()
        db.fill(metrics, [APRIL])
        names += planned_names(db)
    db.run()
    assert len(set(names)) == 4
    assert sorted(record.archived.name for record in db.tool.snapshots()) == sorted(names)


def test_closed_partition(crate: CrateDatabase) -> None:
    """A closed partition is archived as it is, and comes back open with all its rows."""
    from cratedb_retention import RestoreRequest

    create_metrics(crate)
    crate.sql(f"ALTER TABLE {crate.q('metrics')} PARTITION (month = '2024-05-01') CLOSE")
    report = crate.run()
    assert (report.ok, report.partitions) == (True, 2)
    assert len(crate.partitions("metrics")) == 1
    assert [v.error for v in crate.tool.verify_snapshots()] == [None, None]
    restored = crate.tool.restore(RestoreRequest(table_name="metrics"))
    assert [r.rows for r in restored] == [1, 2]
    assert crate.left("metrics") == [APRIL, MAY, MAY, JUNE]
    crate.fill("metrics", [MAY])
    assert crate.count("metrics") == 5
