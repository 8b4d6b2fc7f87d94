"""
Snapshots are restored before their partition is dropped: what keeps a cluster from doing so.
"""

from __future__ import annotations

from support.databases import MONTH, TIME, CrateDatabase

DAYS = ["2024-05-01", "2024-06-20"]


def test_no_shards_are_allocated(bench: CrateDatabase) -> None:
    """A restore would wait without end: the run says so, the partition stays, and goes once shards are allocated."""
    bench.create("readings", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    bench.fill("readings", DAYS)
    bench.policy("snapshot", "readings", "30d")
    bench.sql("SET GLOBAL TRANSIENT cluster.routing.allocation.enable = 'none'")
    assert bench.run().failed == 1
    (failed,) = bench.journal(event="step-finished", outcome="failed")
    assert "allocates no shards. RESET GLOBAL cluster.routing.allocation.enable, or" in failed["error"]
    assert bench.left("readings") == DAYS
    bench.sql("RESET GLOBAL cluster.routing.allocation.enable")
    assert bench.run().ok
    assert bench.left("readings") == DAYS[1:]
