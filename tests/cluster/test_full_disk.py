"""
Full disks, as the nodes' own monitors see them: the limits are set to more than any disk has, and CrateDB acts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cratedb_retention.errors import ClusterUnhealthy
from cratedb_retention.execution.runs.events import RunEvent, StepFinished
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.plan.plan import DropPartitions
from support.cratedb import CrateDBCluster
from support.databases import MONTH, TIME, CrateDatabase
from support.sql import SqlError

MONTHS = ("2024-03-10", "2024-04-10", "2024-05-10", "2024-06-10")
# Bytes that a disk must have left.
NEVER, ALWAYS = "1mb", "100000gb"
WATERMARK = "cluster.routing.allocation.disk.watermark"
BLOCKED = "settings['blocks']['read_only_allow_delete']"


@contextmanager
def disks(cluster: CrateDBCluster, high: str, flood: str) -> Iterator[None]:
    """Disks for which these are too little space."""
    wanted = {"low": high, "high": high, "flood_stage": flood}
    limits = ", ".join(f"\"{WATERMARK}.{name}\" = '{value}'" for name, value in wanted.items())
    cluster.sql(f"SET GLOBAL TRANSIENT {limits}, \"cluster.info.update.interval\" = '10s'")
    try:
        yield
    finally:
        make_room(cluster)
        cluster.wait_for(f"SELECT count(*) FROM information_schema.table_partitions WHERE {BLOCKED}", 0)
        cluster.sql('RESET GLOBAL "cluster.info.update.interval"')


def make_room(cluster: CrateDBCluster) -> None:
    """The disks are as they are."""
    cluster.sql(f'RESET GLOBAL "{WATERMARK}"')


def create(db: CrateDatabase, name: str) -> None:
    """A table of which three months are expired, and its policy."""
    db.create(name, {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill(name, MONTHS)
    db.policy("delete", name, "30d")


def partitions_of(table: TableName) -> str:
    """Part of a question about partitions; CrateDB does not show which tables without any are read-only."""
    of = f"table_schema = '{table.schema}' AND table_name = '{table.name}'"
    return f"FROM information_schema.table_partitions WHERE {of}"


@pytest.mark.slow("the monitor looks each ten seconds")
@pytest.mark.long("make test makes tables read-only by hand, in tests/engines/test_full_disk.py")
def test_flood_stage(bench: CrateDatabase, cratedb_cluster: CrateDBCluster) -> None:
    """What is expired goes, under leases and with a journal, though CrateDB made all tables read-only."""
    create(bench, "readings")
    with disks(cratedb_cluster, ALWAYS, ALWAYS):
        for name in ("readings", "jobs_log"):
            table = bench.table(name, bench.own_schema if name == "jobs_log" else None)
            cratedb_cluster.wait_for(f"SELECT min(CASE WHEN {BLOCKED} THEN 1 ELSE 0 END) {partitions_of(table)}", 1)
        for statement in (
            f"INSERT INTO {bench.q('readings')} (ts) VALUES ('2024-06-11')",
            f"DELETE FROM {bench.q('lease', bench.own_schema)} WHERE policy_id = 'none'",
        ):
            with pytest.raises(SqlError, match="read-only / allow delete"):
                bench.sql(statement)
        report = bench.run()
        assert (report.ok, report.partitions) == (True, 3)
        assert [row["outcome"] for row in bench.journal(event=Event.RUN_FINISHED)] == [Outcome.DONE]
        assert bench.left("readings") == ["2024-06-10"]
    bench.fill("readings", ["2024-06-11"])


@pytest.mark.slow("CrateDB waits a minute for a shard that no node takes")
@pytest.mark.long("make test proves in test_flood_stage that expired partitions go and are journalled")
def test_new_month_of_the_audit_log(bench: CrateDatabase, cratedb_cluster: CrateDBCluster) -> None:
    """
    Above the high watermark no node takes the audit log's shards of a new month: what is expired goes nevertheless,
    what is on hold stays, and all of it is in the audit log once there is room.
    """
    bench.time.set("2024-06-30T00:00:00+00:00")
    for name in ("readings", "held"):
        create(bench, name)
    bench.tool.hold("held", bench.schema)
    bench.time.set("2024-07-02T00:00:00+00:00")

    def room(event: RunEvent) -> None:
        if isinstance(event, StepFinished) and isinstance(event.step, DropPartitions):
            assert bench.tool.engine.unplaced(bench.own_schema) == {bench.tool.store.journal.table}
            assert bench.tool.plan().blocked, "a plan can be made meanwhile"
            make_room(cratedb_cluster)

    with disks(cratedb_cluster, ALWAYS, NEVER):
        report = bench.tool.run(observers=[room])
    assert (report.ok, report.partitions) == (True, 3)
    assert bench.left("readings") == ["2024-06-10"]
    assert bench.count("held") == 4
    said = [row["event"] for row in bench.journal(run_id=report.run_id)]
    assert sorted(said) == ["blocked", "run-finished", "run-started", "step-finished", "step-started"]


@pytest.mark.long("make test proves in test_missing_shards that nothing goes where own tables lack shards")
def test_other_tables_without_room(bench: CrateDatabase, cratedb_cluster: CrateDBCluster) -> None:
    """This is so of the audit log alone: of a table of holds or leases nothing may be missing (law 6)."""
    create(bench, "readings")
    own = bench.q("retention_hold", bench.own_schema)
    (definition,) = bench.rows(f"SHOW CREATE TABLE {own}")[0]
    with disks(cratedb_cluster, ALWAYS, NEVER):
        bench.sql(f"DROP TABLE {own}")
        bench.sql(definition)
        assert bench.tool.engine.unplaced(bench.own_schema) == {bench.table("retention_hold", bench.own_schema)}
        with pytest.raises(ClusterUnhealthy, match="which may contain policies or holds"):
            bench.run()
    assert bench.count("readings") == 4
