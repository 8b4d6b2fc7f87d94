"""
Law 6 for cascades: a table that lacks shards gives fewer rows and no error, so it is neither rolled up nor dropped, and
the work goes on when the node is back.
"""

from __future__ import annotations

import pytest

from support.cratedb import CrateDBCluster
from support.databases import TIME, CrateDatabase

DAY = f"{TIME} GENERATED ALWAYS AS date_trunc('day', ts)"
# The second day is on the node that is lost; both are expired after 7 days.
TIMES = ["2024-06-01T10:00", "2024-06-02T10:00", "2024-06-02T11:00", "2024-07-01T10:00"]
LOST = "n3"


@pytest.fixture
def readings(bench: CrateDatabase, cratedb_cluster: CrateDBCluster) -> CrateDatabase:
    """Raw rows, one day of them on the cold node alone, and all of the toolkit's tables green."""
    bench.create("readings", {"ts": TIME, "n": "TEXT", "x": "DOUBLE PRECISION", "day": DAY}, by=["day"])
    bench.sql(f"ALTER TABLE {bench.q('readings')} SET (\"routing.allocation.require.storage\" = 'hot')")
    bench.insert("readings", [{"ts": at, "n": "a", "x": 2.0**i} for i, at in enumerate(TIMES)])
    second = f"ALTER TABLE {bench.q('readings')} PARTITION (day = '2024-06-02')"
    bench.sql(f"{second} SET (\"routing.allocation.require.storage\" = 'cold')")
    query = f"SELECT count(*) FROM sys.shards WHERE schema_name = '{bench.schema}' AND routing_state = 'STARTED'"
    cratedb_cluster.wait_for(f"{query} AND node['name'] = '{LOST}'", 1)
    bench.policy("downsample", "readings", "7d", levels="1h:60d,1d:forever")
    wait_until_green(cratedb_cluster, bench)
    return bench


def wait_until_green(cluster: CrateDBCluster, bench: CrateDatabase) -> None:
    """Wait until all shards of the test's schemas are there, replicas too."""
    schemas = f"('{bench.schema}', '{bench.own_schema}')"
    cluster.wait_for(f"SELECT count(*) FROM sys.health WHERE table_schema IN {schemas} AND health <> 'GREEN'", 0)


@pytest.mark.timeout(600)
@pytest.mark.long("make test loses shards without rollups on a cluster, and of rollups on one node")
def test_missing_shards_are_not_rolled_up(cratedb_cluster: CrateDBCluster, readings: CrateDatabase) -> None:
    """The day that is lost is a problem, and nothing of it is written or dropped; all of it is done when it is back."""
    cratedb_cluster.kill(LOST)
    missing = f"SELECT sum(missing_shards) FROM sys.health WHERE table_schema = '{readings.schema}'"
    cratedb_cluster.wait_for(missing, 1)

    report = readings.run()
    assert not report.ok
    held = readings.journal(event="blocked", outcome="needs-attention")
    assert any("missing shard" in row["error"] for row in held)
    partitions = readings.partitions("readings")
    assert len(partitions) == 2
    # The week of the lost day waits for it as a whole; its other day is in the finer level.
    for level, expected in (("readings_1h", [1 + 8, 2]), ("readings_1d", [8, 1])):
        readings.refresh(level)
        query = f"SELECT sum(x_sum), sum(row_count) FROM {readings.q(level)}"
        assert list(readings.rows(query)[0]) == expected

    cratedb_cluster.start(LOST)
    cratedb_cluster.wait_for(missing, 0)
    wait_until_green(cratedb_cluster, readings)
    report = readings.run()
    assert (report.ok, report.needs_attention) == (True, 0)
    assert len(readings.partitions("readings")) == 1
    for level in ("readings_1h", "readings_1d"):
        readings.refresh(level)
        query = f"SELECT sum(x_sum), sum(row_count) FROM {readings.q(level)}"
        assert list(readings.rows(query)[0]) == [15, 4]
    assert readings.tool.verify_rollups("readings", readings.schema) == []
    assert readings.tool.plan().tasks == ()
