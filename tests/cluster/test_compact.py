"""
The strategy ``compact`` on a cluster of three nodes: each shard has copies on several of them, and nodes are lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from cratedb_retention import Retention
from support.cratedb import CrateDBCluster
from support.databases import MONTH, TIME, CrateDatabase, before_statements
from support.kill_harness import kill_runs
from support.kill_scenarios import COMPACTING, CrateScenarioDatabase

MONTHS = ("2024-04", "2024-05")
OLD = [f"{month}-{day:02}" for month in MONTHS for day in range(1, 13)]
DAYS = [*OLD, "2024-06-20", "2024-07-01"]
SHARDS, LOST = 3, "n3"


def names() -> list[str]:
    """Each row arrived twice, so that there are several segments."""
    return sorted(f"{day}T0{part}:00" for day in DAYS for part in (0, 1))


def fill(bench: CrateDatabase, cluster: CrateDBCluster, replicas: int, more: str = "") -> None:
    """A table with several shards, of which April and May are expired."""
    options = f"CLUSTERED INTO {SHARDS} SHARDS PARTITIONED BY (month) WITH (number_of_replicas = {replicas}{more})"
    bench.sql(f"CREATE TABLE {bench.q('metrics')} (ts {TIME}, n TEXT, month {MONTH}) {options}")
    for part in (0, 1):
        bench.fill("metrics", [f"{day}T0{part}:00" for day in DAYS])
        await_whole(bench, cluster)  # So that each copy has segments of its own.


def await_whole(bench: CrateDatabase, cluster: CrateDBCluster) -> None:
    """Wait until each copy of each shard is there, also of the toolkit's own tables."""
    schemas = f"('{bench.schema}', '{bench.own_schema}')"
    cluster.wait_for(f"SELECT count(*) FROM sys.health WHERE table_schema IN {schemas} AND health <> 'GREEN'", 0)


def copies(bench: CrateDatabase) -> dict[str, Counter[int]]:
    """Of the old partitions by month: how many copies of shards have each number of segments."""
    months = {ident: month for ident, month, *_ in partitions(bench)}
    query = (
        "SELECT partition_ident, shard_id, node['id'], count(*) FROM sys.segments"
        " WHERE table_schema = ? AND table_name = 'metrics' AND search GROUP BY 1, 2, 3"
    )
    found = {month: Counter[int]() for month in months.values()}
    for ident, *_, segments in bench.rows(query, [bench.schema]):
        if ident in months:
            found[months[ident]][segments] += 1
    return found


def stored(bench: CrateDatabase) -> list[list[object]]:
    """Of the old partitions: codec, replicas, and whether they are closed or refuse writes."""
    return [row[2:] for row in partitions(bench)]


def partitions(bench: CrateDatabase) -> list[list[Any]]:
    """The old partitions: ident, month and how they are stored."""
    query = (
        "SELECT partition_ident, date_format('%Y-%m', \"values\"['month']), settings['codec'], number_of_replicas,"
        " closed, settings['blocks']['write'] FROM information_schema.table_partitions WHERE table_schema = ?"
        " ORDER BY 2"
    )
    return [list(row) for row in bench.rows(query, [bench.schema]) if row[1] in MONTHS]


def test_all_copies(bench: CrateDatabase, cratedb_cluster: CrateDBCluster) -> None:
    """Each copy of each shard is merged and compressed, on all nodes; no row is lost, and then there are fewer."""
    fill(bench, cratedb_cluster, 1)
    assert all(max(of) > 1 for of in copies(bench).values())
    policy = bench.policy("compact", "metrics", "30d", compress=True, read_only=True)
    with patient(bench) as retention:
        report = retention.run(cutoff=bench.time.moment)
        assert (report.ok, report.partitions, report.rows) == (True, 2, 2 * len(OLD))
        done = report.done
        while done:  # Shards on their way to another node are left for the next run.
            await_whole(bench, cratedb_cluster)
            done = retention.run(cutoff=bench.time.moment).done
        assert copies(bench) == {month: Counter({1: 2 * SHARDS}) for month in MONTHS}
        assert stored(bench) == [["best_compression", "1", False, True]] * 2
        assert bench.left("metrics") == names()
        retention.policies.edit(policy.id or "", {"number_of_replicas": "0"})
        assert retention.run(cutoff=bench.time.moment).partitions == 2
    assert copies(bench) == {month: Counter({1: SHARDS}) for month in MONTHS}
    assert stored(bench) == [["best_compression", "0", False, True]] * 2
    assert bench.left("metrics") == names()


def patient(bench: CrateDatabase) -> Retention:
    """The toolkit with the system's clock, which waits as long as it takes."""
    return Retention(bench.uri, bench.own_schema)


def losing(cluster: CrateDBCluster, words: str) -> Callable[[str], None]:
    """Kill a node when the first statement with these words is about to be sent."""
    seen: list[str] = []

    def kill(statement: str) -> None:
        if words in statement and not seen:
            seen.append(statement)
            cluster.kill(LOST)

    return kill


@pytest.mark.slow("a node is killed, and started again")
@pytest.mark.long("make test compacts on three nodes, and has lost ones for other strategies in test_missing_shards")
@pytest.mark.parametrize("words", [" CLOSE", '"codec"', " OPEN", "OPTIMIZE"])
def test_a_node_is_lost(bench: CrateDatabase, cratedb_cluster: CrateDBCluster, words: str) -> None:
    """
    It had the only copy of shards: whenever that happens, the run says so, what lacks shards waits, and once the node
    is back, all rows are there and the next run completes it.
    """
    fill(bench, cratedb_cluster, 0)
    bench.policy("compact", "metrics", "30d", compress=True)
    with patient(bench) as retention:
        with before_statements(retention.engine.database.engine, losing(cratedb_cluster, words)):
            report = retention.run(cutoff=bench.time.moment)
        failed = [row["error"] for row in bench.journal(event="step-finished", outcome="failed")]
        assert "missing" in str(failed) or report.deferred, "without its shards, what was written to is unknown"
        assert retention.plan(bench.time.moment).needs_attention
    cratedb_cluster.start(LOST)
    await_whole(bench, cratedb_cluster)
    with patient(bench) as retention:
        assert retention.run(cutoff=bench.time.moment).ok
    await_whole(bench, cratedb_cluster)
    assert stored(bench) == [["best_compression", "0", False, False]] * 2
    assert all(set(of) == {1} for of in copies(bench).values())
    assert bench.left("metrics") == names()
    assert not bench.tool.store.freezes.all()


@pytest.mark.slow("a run is killed some dozens of times, and finished each time")
@pytest.mark.long("make test kills runs that compact on one node")
def test_killed(bench: CrateDatabase, cratedb_cluster: CrateDBCluster) -> None:
    """A run is killed while the cluster does any kind of change: the next one completes it, and no row is lost."""
    database = CrateScenarioDatabase(COMPACTING[1], bench)
    instants = 0
    for killed in kill_runs(database.request, database.reset, 0, bookkeeping=False):
        state = database.finish()
        assert (state.rows, state.noted, state.due) == (database.scenario.kept, 0, 0), f"killed {killed}"
        assert [(codec, closed) for codec, _, closed, _ in state.stored[:2]] == [("best_compression", False)] * 2
        instants += 1
    assert instants > 5, "there must have been more to kill"
