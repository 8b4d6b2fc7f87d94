"""
CrateDB: archiving partitions, each snapshot restored and compared before its partition is dropped, beside the same by
the metadata alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.line import Line
from benchmarks.policies import forget_runs, statements, store_policies
from benchmarks.server import DAY, EXT, FIRST, SCHEMA
from benchmarks.surroundings import Surroundings
from benchmarks.timing import by_turns, seconds
from cratedb_retention import Retention
from cratedb_retention.model.policies.values import Verify
from support.cratedb import CrateDB
from support.sql import quoted

TABLE, REPOSITORY = quoted(SCHEMA, "archived"), "bench_archive"
# Partitions, and rows in each of them.
SIZES = ((30, 100), (3, 100_000))


@dataclass(kw_only=True)
class Bench:
    """
    A table that is filled and archived again and again.

    :param partitions: Their number.
    :param rows: Rows in each of them.
    :param sent: How many statements each way took.
    """

    server: CrateDB
    retention: Retention
    partitions: int
    rows: int
    sent: dict[Verify, int] = field(default_factory=dict)

    def way(self, verify: Verify) -> Callable[[], float]:
        """Archive everything, and verify that in this way."""
        return lambda: self._archive(verify)

    def _archive(self, verify: Verify) -> float:
        self.fill()
        forget_runs(self.retention)
        (stored,) = self.retention.policies()
        self.retention.policies.edit(str(stored.policy.id), {"verify": verify})
        before = statements(self.retention)
        taken = seconds(self.run)
        self.sent[verify] = statements(self.retention) - before
        return taken

    def fill(self) -> None:
        """Insert all rows."""
        for day in range(self.partitions):
            self.server.sql(
                f"INSERT INTO {TABLE} (ts, host, value) (SELECT {FIRST + day * DAY} + r, 'host-' || (r % 100), random()"
                " FROM generate_series(1, ?::INTEGER) AS rows(r))",
                [self.rows],
            )

    def run(self) -> str:
        """Archive and drop all partitions; returns the run."""
        report = self.retention.run()
        if (report.partitions, report.rows) != (self.partitions, self.partitions * self.rows):
            raise RuntimeError(f"not everything was archived: {report}")
        return report.run_id


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Archive partitions, many small ones and few large ones."""
    for partitions, rows in SIZES:
        with bench(surroundings.server, partitions, rows, strategy="snapshot") as found:
            taken = by_turns(surroundings.repeat(3), {verify: found.way(verify) for verify in Verify})
        restore, metadata = taken[Verify.RESTORE], taken[Verify.METADATA]
        what = f"archive {partitions} partitions of {rows:,} rows, restored, beside metadata only, CrateDB"
        note = f"{1000 * (restore - metadata) / partitions:.0f} ms more for each partition"
        note += f"; metadata: {found.sent[Verify.METADATA]} statements"
        yield Line(what=what, ours=restore, best=metadata, statements=found.sent[Verify.RESTORE], note=note)


@contextmanager
def bench(server: CrateDB, partitions: int, rows: int, **policy: str) -> Iterator[Bench]:
    """A table, and a policy that archives its partitions."""
    server.drop_schemas(SCHEMA, EXT)
    server.sql(
        f"CREATE TABLE {TABLE} (ts TIMESTAMP WITH TIME ZONE, host TEXT, value DOUBLE PRECISION,"
        " day TIMESTAMP WITH TIME ZONE GENERATED ALWAYS AS date_trunc('day', ts))"
        " CLUSTERED INTO 1 SHARDS PARTITIONED BY (day) WITH (number_of_replicas = 0)"
    )
    server.sql(f"CREATE REPOSITORY {REPOSITORY} TYPE fs WITH (location = ?)", [str(server.repo_root / REPOSITORY)])
    try:
        with Retention(server.uri, EXT) as retention:
            retention.setup()
            about = {"table_schema": SCHEMA, "table_name": "archived", "retention_period": "30d"}
            store_policies(retention, [{**about, "target_repository_name": REPOSITORY, **policy}])
            yield Bench(server=server, retention=retention, partitions=partitions, rows=rows)
    finally:
        server.sql(f"DROP REPOSITORY {REPOSITORY}")
        server.drop_schemas(SCHEMA, EXT)
