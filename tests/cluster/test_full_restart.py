"""
After all nodes were killed and started again, CrateDB answers before it knows its tables: a run waits until it does.
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial

import pytest

from cratedb_retention import Retention
from cratedb_retention.clock import Clock
from cratedb_retention.errors import ConnectionLost, Recovering
from support.cratedb import CrateDBCluster, CrateProcess
from support.databases import MONTH, TIME, CrateDatabase

DAYS = ["2024-04-10", "2024-05-20", "2024-06-20", "2024-07-01"]


def is_recovering(bench: CrateDatabase) -> bool:
    """Whether the node answers already, and does not know its tables yet."""
    with suppress(ConnectionLost):
        try:
            with Retention(bench.uri, bench.own_schema) as found:
                found.plan()
        except Recovering:
            return True
    return False


def await_recovering(bench: CrateDatabase, node: CrateProcess) -> None:
    """Wait for that."""
    node.wait_until(partial(is_recovering, bench), "it answers without a cluster")


@pytest.mark.slow("three nodes are killed and started")
@pytest.mark.long(
    "three nodes are killed and started; make test has what CrateDB answers then, in tests/faults/test_connection.py"
)
def test_a_run_waits_for_the_tables(cratedb_cluster: CrateDBCluster, bench: CrateDatabase) -> None:
    """One node alone says that it was just started; with the others the run that waited does all that is due."""
    bench.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    bench.fill("metrics", DAYS)
    bench.policy("delete", "metrics", "30d")
    nodes = list(cratedb_cluster.nodes.values())
    first = next(node for node in nodes if node.uri == bench.uri)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        if not waits:
            for node in nodes:
                if node is not first:
                    node.start()
        waits.append(seconds)
        time.sleep(seconds)

    with Retention(
        bench.uri, bench.own_schema, clock=Clock(now=lambda: bench.time.moment, sleep=sleep, shared=True)
    ) as retention:
        for node in nodes:
            node.kill()
        first.start()
        await_recovering(bench, first)
        report = retention.run()
    assert (report.ok, report.needs_attention) == (True, 0)
    assert waits
    cratedb_cluster.heal()
    bench.run()
    assert bench.left("metrics") == DAYS[2:]
