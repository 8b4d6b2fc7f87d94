"""
Law 6, no sick source: where shards are missing, counting gives fewer rows and no error, so nothing is done there.
"""

from __future__ import annotations

import time

import pytest

from cratedb_retention.errors import ClusterUnhealthy
from cratedb_retention.model.policies.policy import Policy
from support.cratedb import CrateDBCluster
from support.databases import MONTH, TIME, CrateDatabase

# Partitions of tables with one shard each; May is on the cold node, which is lost.
DAYS = ["2024-04-10", "2024-05-01", "2024-05-20", "2024-06-20", "2024-07-01"]
KEPT = DAYS[3:]
LOST = "n3"


@pytest.fixture
def tables(bench: CrateDatabase, cratedb_cluster: CrateDBCluster) -> dict[str, Policy]:
    """A table for each strategy, and the policies by the tables' names."""
    for name in ("dropped", "archived"):
        bench.create(name, {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
        bench.sql(f"ALTER TABLE {bench.q(name)} SET (\"routing.allocation.require.storage\" = 'hot')")
        bench.fill(name, DAYS)
        may = f"ALTER TABLE {bench.q(name)} PARTITION (month = '2024-05-01')"
        bench.sql(f"{may} SET (\"routing.allocation.require.storage\" = 'cold')")
    options = "number_of_replicas = 0, \"routing.allocation.require.storage\" = 'cold'"
    bench.sql(f"CREATE TABLE {bench.q('rows')} (ts {TIME}, n TEXT) CLUSTERED INTO 1 SHARDS WITH ({options})")
    bench.fill("rows", DAYS)
    query = f"SELECT count(*) FROM sys.shards WHERE schema_name = '{bench.schema}' AND routing_state = 'STARTED'"
    cratedb_cluster.wait_for(f"{query} AND node['name'] = '{LOST}'", 3)
    return {
        "dropped": bench.policy("delete", "dropped", "30d"),
        "archived": bench.policy("snapshot", "archived", "30d"),
        "rows": bench.policy("delete", "rows", "30d"),
    }


def lose(cluster: CrateDBCluster, bench: CrateDatabase, shards: int = 3) -> None:
    """Kill the node, and wait until the cluster knows that so many shards are missing."""
    await_whole(cluster, bench)
    cluster.kill(LOST)
    schemas = f"('{bench.schema}', '{bench.own_schema}')"
    cluster.wait_for(f"SELECT sum(missing_shards) FROM sys.health WHERE table_schema IN {schemas}", shards)


def bring_back(cluster: CrateDBCluster, bench: CrateDatabase) -> None:
    """Start the node, and wait until all shards are there."""
    cluster.start(LOST)
    await_whole(cluster, bench)


def await_whole(cluster: CrateDBCluster, bench: CrateDatabase) -> None:
    """Wait until all shards are there, and their replicas: those of the toolkit's own tables as well."""
    schemas = f"('{bench.schema}', '{bench.own_schema}')"
    cluster.wait_for(f"SELECT count(*) FROM sys.health WHERE table_schema IN {schemas} AND health <> 'GREEN'", 0)


def only_on_the_lost_node(cluster: CrateDBCluster, bench: CrateDatabase, name: str) -> None:
    """Let the node that will be lost have the only copy of one of the toolkit's own tables."""
    options = "number_of_replicas = 0, \"routing.allocation.require.storage\" = 'cold'"
    bench.sql(f"ALTER TABLE {bench.q(name, bench.own_schema)} SET ({options})")
    shards = f"FROM sys.shards WHERE schema_name = '{bench.own_schema}' AND table_name = '{name}'"
    cluster.wait_for(f"SELECT count(*) {shards} AND (node['name'] <> '{LOST}' OR routing_state <> 'STARTED')", 0)


def months(bench: CrateDatabase, name: str) -> int:
    """How many partitions a table has, whether or not their shards are there."""
    return len(bench.partitions(name))


def test_missing_shards_are_held(
    cratedb_cluster: CrateDBCluster, bench: CrateDatabase, tables: dict[str, Policy]
) -> None:
    """What lacks shards is a problem that says so, and stays; the rest is done, and all of it once the node is back."""
    lose(cratedb_cluster, bench)

    plan = bench.tool.plan()
    problems = {(hold.policy_id, hold.reason, hold.count) for hold in plan.needs_attention}
    reason = "1 missing shard{}; bring the lost nodes back"
    assert {(tables[name].id, reason.format(""), 1) for name in ("dropped", "archived")} < problems
    assert len(problems) == 3
    (of_rows,) = (hold for hold in plan.needs_attention if hold.policy_id == tables["rows"].id)
    assert "missing shard" in of_rows.reason
    with bench.statements() as seen:
        report = bench.run()
    assert (report.ok, report.failed, report.needs_attention, report.partitions) == (False, 0, 3, 2)
    # CrateDB takes a minute for it, and then says nothing.
    assert not [text for text in seen if text in {f"REFRESH TABLE {bench.q(name)}" for name in tables}]
    assert [months(bench, name) for name in ("dropped", "archived")] == [3, 3]
    rows = bench.journal(event="blocked", outcome="needs-attention")
    assert {row["policy_id"] for row in rows} == {policy.id for policy in tables.values()}
    assert all("missing shard" in row["error"] for row in rows)

    bring_back(cratedb_cluster, bench)
    assert bench.left("dropped") == bench.left("archived") == DAYS[1:]
    assert bench.left("rows") == DAYS
    assert_completes(bench)


def test_shards_lost_after_planning(
    cratedb_cluster: CrateDBCluster, bench: CrateDatabase, tables: dict[str, Policy]
) -> None:
    """A node dies between plan and run: each task on what it held fails, nothing is dropped, nothing stays frozen."""
    prepared = bench.tool.prepare()
    assert not prepared.plan.needs_attention
    lose(cratedb_cluster, bench)

    report = bench.tool.run(prepared)

    assert (report.ok, report.failed, report.skipped) == (False, 3, 0)
    failures = bench.journal(event="step-finished", outcome="failed")
    assert {row["policy_id"] for row in failures} == {policy.id for policy in tables.values()}
    assert all("shards are missing. Bring the lost nodes back" in row["error"] for row in failures)
    assert months(bench, "dropped") == 4
    assert bench.frozen("archived") == 0
    step = prepared.plan.tasks[-1].steps[-1]
    with pytest.raises(ClusterUnhealthy):
        bench.tool.engine.perform(step, lambda progress: None)

    bring_back(cratedb_cluster, bench)
    assert bench.left("dropped") == bench.left("rows") == DAYS
    assert set(bench.left("archived")) >= set(DAYS[1:])
    assert_completes(bench)


LONG = pytest.mark.long("make test loses the policies, which are asked for alike")


@pytest.mark.parametrize(
    "own",
    [
        pytest.param("retention_hold", marks=LONG),
        "retention_policy",
        pytest.param("retention_freeze", marks=LONG),
    ],
)
def test_own_table_is_lost(
    cratedb_cluster: CrateDBCluster, bench: CrateDatabase, tables: dict[str, Policy], own: str
) -> None:
    """Where a hold could be on a lost shard, nothing is done at all, and the table is named; all is well afterwards."""
    hold = bench.tool.hold("dropped", bench.schema, reason="audit")
    only_on_the_lost_node(cratedb_cluster, bench, own)
    lose(cratedb_cluster, bench, 4)
    before = len(bench.journal())

    started = time.monotonic()
    for work in (bench.tool.plan, bench.run):
        with pytest.raises(
            ClusterUnhealthy, match=f"{bench.own_schema}.{own}: shards are missing.* Bring the lost nodes"
        ):
            work()
    assert time.monotonic() - started < 30  # CrateDB takes a minute to read what is not there.
    assert (months(bench, "dropped"), months(bench, "archived")) == (4, 4)
    assert len(bench.journal()) == before

    bring_back(cratedb_cluster, bench)
    assert bench.left("dropped") == bench.left("archived") == bench.left("rows") == DAYS
    report = bench.run()
    assert (report.ok, report.blocked) == (True, 1)
    assert bench.left("dropped") == DAYS
    bench.tool.release(hold.id)
    assert_completes(bench)


@pytest.mark.long("make test loses the policies, which are asked for alike")
@pytest.mark.parametrize("planned", [False, True])
def test_journal_is_lost(
    cratedb_cluster: CrateDBCluster, bench: CrateDatabase, tables: dict[str, Policy], planned: bool
) -> None:
    """What can't be written down is not done: neither a new run nor one that was planned before; none of them hangs."""
    prepared = bench.tool.prepare()
    assert prepared.plan.tasks
    only_on_the_lost_node(cratedb_cluster, bench, "jobs_log")
    lose(cratedb_cluster, bench, 4)

    started = time.monotonic()
    with pytest.raises(ClusterUnhealthy, match=None if planned else "jobs_log"):
        bench.tool.run(prepared if planned else None)
    # CrateDB refuses the entry of the start only after a minute.
    assert time.monotonic() - started < (200 if planned else 30)
    assert (months(bench, "dropped"), months(bench, "archived")) == (4, 4)

    bring_back(cratedb_cluster, bench)
    assert_completes(bench)


def assert_completes(bench: CrateDatabase) -> None:
    """With all shards there, a run does what was left, and what was archived can be read back."""
    report = bench.run()
    assert (report.ok, report.needs_attention) == (True, 0)
    assert [bench.left(name) for name in ("dropped", "archived", "rows")] == [KEPT] * 3
    verified = bench.tool.verify_snapshots()
    assert [(v.error, v.record.archived.rows, str(v.record.stage)) for v in verified] == [
        (None, 1, "archived"),
        (None, 2, "archived"),
    ]
    assert not bench.tool.store.freezes.all()
    assert bench.tool.plan().tasks == ()
