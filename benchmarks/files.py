"""
CrateDB: archiving a partition as a Parquet file, read back and compared, beside a bare SELECT of the same rows; and the
most memory that it needs, also of very many rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import sqlalchemy as sa

from benchmarks.line import Goal, Line
from benchmarks.policies import forget_runs, statements, store_policies
from benchmarks.server import EXT, FIRST, SCHEMA
from benchmarks.surroundings import Surroundings
from benchmarks.timing import apart, by_turns, seconds, usage
from cratedb_retention import Retention
from support.cratedb import CrateDB
from support.sql import quoted

TABLE, ROWS = quoted(SCHEMA, "filed"), 300_000
# Larger ones are read in pages: the answer to one statement would not fit into the server's memory.
SIZES, PAGE = (1_000_000, 8_000_000), 10_000
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

    def fill(self, rows: int = ROWS) -> None:
        """Put the rows back."""
        for first in range(1, rows + 1, SIZES[0]):
            self.server.sql(
                f"INSERT INTO {TABLE} ({COLUMNS}) (SELECT {FIRST} + r * 100, 'host-' || (r % 100), 'eu-west', r,"
                " random() * 100, random(), random() * 1e6, {k = 'v' || (r % 10), n = r % 7}"
                " FROM generate_series(?::INTEGER, ?::INTEGER) AS rows(r))",
                [first, min(first + SIZES[0] - 1, rows)],
            )
        self.server.sql(f"REFRESH TABLE {TABLE}")
        if self.server.value(f"SELECT count(*) FROM {TABLE}") != rows:
            raise RuntimeError("not all rows were written")
        forget_runs(self.retention)

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

    def pages(self, rows: int) -> float:
        """Read the rows by a cursor, as one would by hand."""
        alone = sa.create_engine(self.server.uri, poolclass=sa.NullPool)  # A cursor belongs to a connection.
        with alone.connect() as connection:
            return seconds(lambda: self._read_pages(connection, rows))

    def _read_pages(self, connection: sa.Connection, rows: int) -> None:
        query = f"SELECT {COLUMNS} FROM {TABLE}"
        connection.exec_driver_sql(f"DECLARE bench NO SCROLL CURSOR WITH HOLD FOR {query}")
        found = 0
        while page := connection.exec_driver_sql(f"FETCH {PAGE} FROM bench").cursor.fetchall():
            found += len(page)
        connection.exec_driver_sql("CLOSE bench")
        if found != rows:
            raise RuntimeError(f"{found} rows were read")


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Archive a partition, and larger ones."""
    with _bench(surroundings.server) as bench:
        if surroundings.rows is None:
            yield _small(bench, surroundings.repeat(3))
        for rows in SIZES if surroundings.rows is None else (surroundings.rows,):
            yield _large(bench, rows)


def _large(bench: Bench, rows: int) -> Line:
    bench.fill(rows)
    best = bench.pages(rows)
    used = apart(RUN, bench.server.uri, EXT)
    return Line(
        what=f"archive a partition of {rows:,} rows as a Parquet file, beside a SELECT of its rows in pages, CrateDB",
        ours=used.seconds,
        best=best,
        megabytes=used.megabytes,
        goal=GOAL,
        note=f"{rows / used.seconds:,.0f} rows/s",
    )


def _small(bench: Bench, repeat: int) -> Line:
    taken = by_turns(repeat, {"archive": bench.archive, "select": bench.select})
    megabytes = bench.memory()
    what = f"archive a partition of {ROWS:,} rows as a Parquet file, beside a bare SELECT, CrateDB"
    note = f"{ROWS / taken['archive']:,.0f} rows/s"
    return Line(
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
