"""
A table on a cluster of two hot nodes and a cold one, and the toolkit looking after it.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from cratedb_retention import Retention
from cratedb_retention.clock import Clock
from support.cratedb import CrateDBCluster

CUTOFF = dt.datetime(2024, 7, 2, tzinfo=dt.UTC)
TABLE = "metrics"
# A row for each day from January to July; with 30 days, what is before June is expired: 152 rows.
DAYS, EXPIRED = 213, 152


class PatientClock:
    """A clock that jumps whenever somebody waits, so that patience ends at once."""

    def __init__(self, jump: dt.timedelta) -> None:
        self.moment, self.jump = CUTOFF, jump

    def sleep(self, seconds: float) -> None:
        """Wait, as far as anybody can tell."""
        self.moment += self.jump

    @property
    def clock(self) -> Clock:
        """As the toolkit takes it."""
        return Clock(now=lambda: self.moment, sleep=self.sleep)


class ClusterTable:
    """
    The table and the toolkit, in schemas of the test's own.

    :param require: The attribute that new partitions are bound to; empty: none.
    """

    def __init__(self, cluster: CrateDBCluster, schema: str, require: str = "") -> None:
        self.cluster, self.schema = cluster, schema
        self.tool = self.open()
        self.tool.setup()
        rule = f", \"routing.allocation.require.storage\" = '{require}'" if require else ""
        cluster.sql(
            f'CREATE TABLE "{schema}"."{TABLE}" (ts TIMESTAMP WITH TIME ZONE, n BIGINT, '
            "month TIMESTAMP WITH TIME ZONE GENERATED ALWAYS AS date_trunc('month', ts)) "
            f"CLUSTERED INTO 3 SHARDS PARTITIONED BY (month) WITH (number_of_replicas = 0{rule})"
        )
        cluster.sql(
            f'INSERT INTO "{schema}"."{TABLE}" (ts, n) '
            f"SELECT '2024-01-01'::TIMESTAMP + i::BIGINT * 86400000, i FROM generate_series(0, {DAYS - 1}) AS t(i)"
        )
        self.refresh()

    def open(self, clock: Clock | None = None) -> Retention:
        """Open the toolkit, on a node that is up."""
        return Retention(self.cluster.uri, schema=f"{self.schema}_ext", clock=clock)

    def refresh(self) -> None:
        """Make what was written visible."""
        self.cluster.sql(f'REFRESH TABLE "{self.schema}"."{TABLE}"')

    def count(self) -> int:
        """Rows in the table, as far as its shards are there."""
        self.refresh()
        return int(self.cluster.sql(f'SELECT count(*) FROM "{self.schema}"."{TABLE}"')[0][0])

    def nodes_by_month(self) -> dict[str, set[str]]:
        """On which nodes the shards of each month are."""
        found: dict[str, set[str]] = {}
        rows = self.cluster.sql(
            "SELECT p.\"values\"['month'], s.node['name'] FROM information_schema.table_partitions p "
            "JOIN sys.shards s ON s.partition_ident = p.partition_ident AND s.schema_name = p.table_schema "
            "WHERE p.table_schema = ?",
            [self.schema],
        )
        for month, node in rows:
            name = dt.datetime.fromtimestamp(int(month) / 1000, dt.UTC).strftime("%Y-%m")
            found.setdefault(name, set()).add(node)
        return found

    def policy(self, strategy: str, period: str, **more: Any) -> str:
        """Store a policy for the table; returns its identifier."""
        policy = self.tool.create_policy(
            strategy=strategy, table_schema=self.schema, table_name=TABLE, retention_period=period, **more
        )
        return policy.id or ""

    def wait_until_whole(self) -> None:
        """Wait until all shards are there again."""
        missing = f"SELECT sum(missing_shards) FROM sys.health WHERE table_schema = '{self.schema}'"
        self.cluster.wait_for(missing, 0)
