"""
The strategy ``reallocate`` on a cluster of three nodes: n1 and n2 are hot, n3 is cold.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator

import pytest

from cratedb_retention import Retention
from cratedb_retention.clock import Clock
from cratedb_retention.errors import Unsupported
from cratedb_retention.execution.runs.events import RunEvent, StepProgressed, StepStarted
from cratedb_retention.model.plan.plan import MovePartitions
from cratedb_retention.model.policies.policy import Policy, make_policy
from support.databases import MONTH, NOW, TIME, CrateDatabase, Database
from support.kill_harness import RunRequest, run_until_killed

DAYS = ["2024-04-10", "2024-05-01", "2024-05-20", "2024-06-20", "2024-07-01"]
COLD = {"reallocation_attribute_name": "storage", "reallocation_attribute_value": "cold"}
HOT_NODES = {"n1", "n2"}


@pytest.fixture
def readings(bench: CrateDatabase) -> CrateDatabase:
    """A table whose partitions are on the hot nodes; April and May are expired."""
    bench.create("readings", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    bench.sql(f"ALTER TABLE {bench.q('readings')} SET (\"routing.allocation.require.storage\" = 'hot')")
    bench.fill("readings", DAYS)
    assert set().union(*where(bench).values()) <= HOT_NODES
    return bench


def where(bench: CrateDatabase) -> dict[str, set[str]]:
    """The nodes of each partition, by month; a shard on its way counts as where it comes from."""
    query = (
        "SELECT date_format('%Y-%m', p.\"values\"['month']), s.node['name'] FROM information_schema.table_partitions p"
        " JOIN sys.shards s ON s.schema_name = p.table_schema AND s.partition_ident = p.partition_ident"
        " WHERE p.table_schema = ? AND s.table_name = 'readings'"
    )
    found: dict[str, set[str]] = {}
    for month, node in bench.rows(query, [bench.schema]):
        found.setdefault(month, set()).add(node)
    return found


def assert_moved(bench: CrateDatabase) -> None:
    """Old partitions are on the cold node, young ones on the hot nodes, and every row is there."""
    nodes = where(bench)
    assert nodes["2024-04"] == nodes["2024-05"] == {"n3"}
    assert nodes["2024-06"] | nodes["2024-07"] <= HOT_NODES
    assert bench.left("readings") == DAYS


def cold_policy(bench: Database) -> Policy:
    """Partitions go to the cold node after 30 days."""
    return bench.policy("reallocate", "readings", "30d", **COLD)


def test_moves_and_waits(readings: CrateDatabase) -> None:
    """Expired partitions are on the cold node when the run ends, younger ones are not; nothing is left to do then."""
    cold_policy(readings)
    events: list[RunEvent] = []
    report = readings.tool.run(observers=[events.append])
    assert (report.ok, report.done, report.partitions, report.rows) == (True, 1, 2, 3)
    assert_moved(readings)
    steps = [event.step for event in events if isinstance(event, StepStarted)]
    assert [type(step) for step in steps] == [MovePartitions]
    told = [event.progress for event in events if isinstance(event, StepProgressed)]
    assert [(p.total, p.unit) for p in told] == [(2, "shard")] * len(told)
    assert [p.done for p in told] == sorted(p.done for p in told)
    assert told[-1].done == 2
    assert readings.tool.plan().tasks == ()


def test_moved_partition_is_deleted_later(readings: CrateDatabase) -> None:
    """What was moved after 30 days is deleted after 60, in one run with the moving of the next partition."""
    cold_policy(readings)
    assert readings.run().ok
    readings.policy("delete", "readings", "60d")
    readings.time.set("2024-07-31T00:00:00+00:00")
    report = readings.run()
    assert (report.ok, report.done, report.partitions) == (True, 2, 3)
    assert readings.left("readings") == DAYS[3:]
    assert where(readings)["2024-06"] == {"n3"}
    assert where(readings)["2024-07"] <= HOT_NODES
    assert readings.tool.plan().tasks == ()


def test_no_node_has_the_attribute(readings: CrateDatabase) -> None:
    """A policy that names what no node has is a problem that says what the nodes have; nothing moves."""
    attributes = {**COLD, "reallocation_attribute_value": "frozen"}
    readings.policy("reallocate", "readings", "30d", **attributes)
    plan = readings.tool.plan()
    assert plan.tasks == ()
    (hold,) = plan.needs_attention
    assert hold.reason == (
        "no node has the attribute storage=frozen (they have storage=cold, storage=hot); "
        "set node.attr.storage on a node"
    )
    assert not readings.run().ok
    assert set().union(*where(readings).values()) <= HOT_NODES


class Impatient:
    """A clock that goes on by a quarter of a minute whenever it is waited for."""

    def __init__(self) -> None:
        self.moment = dt.datetime.fromisoformat(NOW)

    def sleep(self, seconds: float) -> None:
        """Take a quarter of a minute instead."""
        self.moment += dt.timedelta(seconds=15)

    @property
    def clock(self) -> Clock:
        """As the toolkit takes it."""
        return Clock(now=lambda: self.moment, sleep=self.sleep, shared=True)


def test_stuck_move_says_why(bench: CrateDatabase) -> None:
    """A move that CrateDB refuses fails with CrateDB's reason; when that is gone, the next run brings it to an end."""
    bench.create("readings", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    limits = 'number_of_shards = 2, "routing.allocation.total_shards_per_node" = 1'
    bench.sql(f"ALTER TABLE {bench.q('readings')} SET ({limits}, \"routing.allocation.require.storage\" = 'hot')")
    bench.fill("readings", DAYS)
    policy = cold_policy(bench)
    with Retention(bench.uri, bench.own_schema, clock=Impatient().clock) as retention:
        report = retention.run()
    assert (report.ok, report.failed) == (False, 1)
    (row,) = bench.journal(event="step-finished", policy_id=policy.id)
    assert (row["outcome"], row["operation"]) == ("failed", "move_partitions")
    assert re.search(r"nodes with storage=cold still lack \d+ shards?: ", row["error"])
    assert "cannot move shard to another node" in row["error"]
    assert "rebalance" not in row["error"]
    assert bench.left("readings") == DAYS

    assert len(bench.tool.plan().tasks) == 1
    for month in ("2024-04-01", "2024-05-01"):
        partition = f"ALTER TABLE {bench.q('readings')} PARTITION (month = '{month}')"
        bench.sql(f'{partition} RESET ("routing.allocation.total_shards_per_node")')
    with patient(bench) as retention:
        assert retention.run(cutoff=bench.time.moment).ok
    assert_moved(bench)


def patient(bench: CrateDatabase) -> Retention:
    """The toolkit with the system's clock, which waits as long as it takes."""
    return Retention(bench.uri, bench.own_schema)


@pytest.fixture
def standstill(readings: CrateDatabase) -> Iterator[CrateDatabase]:
    """A cluster that moves no shard until it is told to."""
    readings.sql("SET GLOBAL TRANSIENT cluster.routing.allocation.enable = 'new_primaries'")
    yield readings
    readings.sql("RESET GLOBAL cluster.routing.allocation.enable")


def test_shards_that_have_not_moved_yet(standstill: CrateDatabase) -> None:
    """As long as no shard is on its way, the run waits; in the end it says how many are missing."""
    policy = cold_policy(standstill)
    with Retention(standstill.uri, standstill.own_schema, clock=Impatient().clock) as retention:
        assert not retention.run().ok
    (row,) = standstill.journal(event="step-finished", policy_id=policy.id)
    assert "nodes with storage=cold still lack 2 shards: " in row["error"]
    assert set().union(*where(standstill).values()) <= HOT_NODES


@pytest.mark.long("make test kills runs that move no shards, and moves some without a kill")
def test_killed_while_shards_are_on_their_way(standstill: CrateDatabase) -> None:
    """A run that is killed while shards are bound for the cold node leaves a task, and the next run waits for them."""
    cold_policy(standstill)
    killed = []
    for instant in range(1, 11):
        killed.append(
            run_until_killed(RunRequest(uri=standstill.uri, schema=standstill.own_schema, cutoff=NOW, kill_at=instant))
            or ""
        )
        standstill.forget_leases()
        (task,) = standstill.tool.plan().tasks
        assert [type(step) for step in task.steps] == [MovePartitions]
    moves = [word.partition(" ALTER TABLE")[0] for word in killed if " ALTER TABLE" in word]
    assert set(moves) == {"while CrateDB does", "after"}
    assert set().union(*where(standstill).values()) <= HOT_NODES
    standstill.sql("RESET GLOBAL cluster.routing.allocation.enable")
    with patient(standstill) as retention:
        assert retention.run(cutoff=standstill.time.moment).ok
    assert_moved(standstill)
    assert standstill.tool.plan().tasks == ()


def test_duckdb_refuses(duckdb_uri: str) -> None:
    """DuckDB has no nodes: such a policy is refused, and one that is in the table nevertheless is a problem."""
    with Retention(duckdb_uri, create=True) as retention:
        retention.setup(journal_policy=False)
        with pytest.raises(Unsupported, match="DuckDB has no nodes to move data between"):
            retention.create_policy(strategy="reallocate", table_name="t", retention_period="1d", **COLD)
        assert retention.policies() == []

        retention.engine.database.transact(
            lambda connection: connection.exec_driver_sql(
                "CREATE TABLE t (ts TIMESTAMPTZ, day TIMESTAMPTZ GENERATED ALWAYS AS (date_trunc('day', ts)))"
            )
        )
        retention.engine.database.transact(
            lambda connection: connection.exec_driver_sql("INSERT INTO t (ts) VALUES ('2024-01-01')")
        )
        policy = make_policy(strategy="reallocate", table_name="t", retention_period="1d", **COLD)
        retention.store.policies.create(policy)
        (hold,) = retention.plan().needs_attention
        assert hold.reason == "DuckDB has no nodes to move partitions between; use another strategy"
        report = retention.run()
        assert (report.ok, report.done, report.needs_attention) == (False, 0, 1)
