"""
Law 6: nothing is done to a table whose shards are missing, since counting and archiving it would be silently wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cratedb_retention.store.journal import JournalFilter
from support.clustering import CUTOFF, DAYS, EXPIRED, ClusterTable
from support.cratedb import CrateDBCluster
from support.sql import quoted


@pytest.fixture
def table(cratedb_cluster: CrateDBCluster, cluster_schema: str) -> ClusterTable:
    """A table without replicas, on all nodes."""
    return ClusterTable(cratedb_cluster, cluster_schema)


@pytest.fixture
def repository(cratedb_cluster: CrateDBCluster, cluster_schema: str) -> Iterator[str]:
    """A repository that all nodes can write to."""
    location = str(cratedb_cluster.repo_root / cluster_schema)
    cratedb_cluster.sql(f"CREATE REPOSITORY {quoted(cluster_schema)} TYPE fs WITH (location = ?)", [location])
    yield cluster_schema
    cratedb_cluster.sql(f"DROP REPOSITORY {quoted(cluster_schema)}")


def lose_a_node(table: ClusterTable) -> None:
    """Kill a node that holds data, other than the one that is asked."""
    table.cluster.kill("n3")


def bring_it_back(table: ClusterTable) -> None:
    """Start the node again and wait for its shards."""
    table.cluster.heal()
    table.wait_until_whole()


@pytest.mark.parametrize("strategy", ["delete", "snapshot"])
def test_nothing_happens_while_shards_are_missing(table: ClusterTable, repository: str, strategy: str) -> None:
    """The plan holds every partition that lacks a shard as a problem; when the node is back, the run does its work."""
    more = {"target_repository_name": repository} if strategy == "snapshot" else {}
    table.policy(strategy, "30d", **more)
    lose_a_node(table)
    plan = table.tool.plan(CUTOFF)
    assert plan.tasks == ()
    assert sum(hold.count for hold in plan.problems) == 5
    assert all("missing shard" in hold.reason for hold in plan.problems)
    report = table.tool.run(cutoff=CUTOFF)
    assert not report.ok
    assert report.done == 0
    bring_it_back(table)
    assert table.count() == DAYS
    assert table.tool.run(cutoff=CUTOFF).ok
    assert table.count() == DAYS - EXPIRED


@pytest.mark.parametrize("strategy", ["delete", "snapshot"])
def test_a_node_is_lost_between_plan_and_run(table: ClusterTable, repository: str, strategy: str) -> None:
    """A plan made in good health is not carried out in bad health."""
    more = {"target_repository_name": repository} if strategy == "snapshot" else {}
    table.policy(strategy, "30d", **more)
    prepared = table.tool.prepare(CUTOFF)
    assert prepared.plan.tasks
    lose_a_node(table)
    report = table.tool.run(prepared)
    assert report.failed == 1
    errors = [row["error"] for row in table.tool.journal(JournalFilter(outcome="failed", event="step-finished"))]
    assert any("shards are missing" in error for error in errors)
    bring_it_back(table)
    assert table.count() == DAYS
    assert table.tool.run(cutoff=CUTOFF).ok
    assert table.count() == DAYS - EXPIRED


def test_rows_are_not_deleted_while_shards_are_missing(table: ClusterTable) -> None:
    """Deleting row by row waits as well, and says why."""
    name = f"{quoted(table.schema)}.events"
    table.cluster.sql(f"CREATE TABLE {name} (ts TIMESTAMP) CLUSTERED INTO 6 SHARDS WITH (number_of_replicas = 0)")
    table.cluster.sql(f"INSERT INTO {name} (ts) SELECT '2024-01-01' FROM generate_series(1, 100)")
    table.cluster.sql(f"REFRESH TABLE {name}")
    table.tool.create_policy(strategy="delete", table_schema=table.schema, table_name="events", retention_period="30d")
    lose_a_node(table)
    report = table.tool.run(cutoff=CUTOFF)
    assert report.problems == 1
    assert report.done == 0
    bring_it_back(table)
    assert table.cluster.sql(f"SELECT count(*) FROM {name}")[0][0] == 100
    assert table.tool.run(cutoff=CUTOFF).rows == 100
