"""
CrateDB: archiving a partition as a Parquet file, read back and compared, beside a bare SELECT of the same rows; and the
most memory that it needs.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.line import Goal, Line
from benchmarks.policies import statements, store_policies
from benchmarks.server import EXT, FIRST, SCHEMA
from benchmarks.surroundings import Surroundings
from benchmarks.timing import by_turns, seconds, usage
from cratedb_retention import Retention
from support.cratedb import CrateDB
from support.sql import quoted

TABLE, ROWS = quoted(SCHEMA, "filed"), 300_000
GOAL = Goal(ratio=1.25, megabytes=300)
COLUMNS = "ts, host, region, n, a, b, c, tags"
RUN = """
import contextlib
from cratedb_retention import Retention

@contextlib.contextmanager
def prepared(uri, schema):
    with Retention(uri, schema) as retention:
        def work():
            report = retention.run()
            assert report.ok and report.partitions == 1, report
        yield work
"""


@dataclass(kw_only=True)
class Bench:
    """A table of one partition, which is filled, read and archived again and again."""

    server: CrateDB
    retention: Retention
    directory: Path
    sent: int = 0

    def fill(self) -> None:
        """Put the rows back."""
        self.server.sql(
            f"INSERT INTO {TABLE} ({COLUMNS}) (SELECT {FIRST} + r * 100, 'host-' || (r % 100), 'eu-west', r,"
            " random() * 100, random(), random() * 1e6, {k = 'v' || (r % 10), n = r % 7}"
            " FROM generate_series(1, ?::INTEGER) AS rows(r))",
            [ROWS],
        )
        self.server.sql(f"REFRESH TABLE {TABLE}")

    def archive(self) -> float:
        """Archive the rows."""
        self.fill()
        before = statements(self.retention)
        taken = seconds(self.retention.run)
        self.sent = statements(self.retention) - before
        if self.server.value(f"SELECT count(*) FROM {TABLE}"):
            raise RuntimeError("not everything was archived")
        return taken

    def select(self) -> float:
        """Read the rows in one statement."""
        self.fill()
        taken = seconds(self._read)
        self.server.sql(f"DELETE FROM {TABLE}")
        return taken

    def _read(self) -> None:
        with self.retention.engine.database.engine.connect() as connection:
            rows = connection.exec_driver_sql(f"SELECT {COLUMNS} FROM {TABLE}").cursor.fetchall()
        if len(rows) != ROWS:
            raise RuntimeError(f"{len(rows)} rows were read")

    def memory(self) -> float:
        """The most megabytes of a process that archives the rows."""
        self.fill()
        return usage(RUN, self.server.uri, EXT)[1]


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Archive a partition."""
    with _bench(surroundings.server) as bench:
        taken = by_turns(surroundings.repeat(3), {"archive": bench.archive, "select": bench.select})
        megabytes = bench.memory()
    what = f"archive a partition of {ROWS:,} rows as a Parquet file, beside a bare SELECT, CrateDB"
    note = f"{ROWS / taken['archive']:,.0f} rows/s"
    yield Line(
        what=what,
        ours=taken["archive"],
        best=taken["select"],
        statements=bench.sent,
        megabytes=megabytes,
        goal=GOAL,
        note=note,
    )


@contextmanager
def _bench(server: CrateDB) -> Iterator[Bench]:
    directory = Path(mkdtemp(prefix="bench-archive-"))
    server.drop_schemas(SCHEMA, EXT)
    server.sql(
        f"CREATE TABLE {TABLE} (ts TIMESTAMP WITH TIME ZONE, host TEXT, region TEXT, n BIGINT, a DOUBLE PRECISION,"
        " b DOUBLE PRECISION, c DOUBLE PRECISION, tags OBJECT(DYNAMIC) AS (k TEXT, n INTEGER),"
        " year TIMESTAMP WITH TIME ZONE GENERATED ALWAYS AS date_trunc('year', ts))"
        " CLUSTERED INTO 4 SHARDS PARTITIONED BY (year) WITH (number_of_replicas = 0)"
    )
    try:
        with Retention(server.uri, EXT) as retention:
            retention.setup()
            policy = {"strategy": "snapshot", "table_schema": SCHEMA, "table_name": "filed", "retention_period": "30d"}
            store_policies(retention, [{**policy, "target_repository_name": f"file://{directory}"}])
            yield Bench(server=server, retention=retention, directory=directory)
    finally:
        server.drop_schemas(SCHEMA, EXT)
        shutil.rmtree(directory, ignore_errors=True)
