"""
CrateDB: deleting rows of a table without partitions, beside one DELETE by hand through the same driver.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from benchmarks.line import Line
from benchmarks.policies import statements, store_policies
from benchmarks.server import EXT, FIRST, SCHEMA
from benchmarks.surroundings import Surroundings
from benchmarks.timing import by_turns, seconds
from cratedb_retention import Retention
from support.cratedb import CrateDB

ROWS, EXPIRED = 500_000, 300_000
TABLE = f"{SCHEMA}.events"
# Rows that stay are of the far future, whenever this is run.
FUTURE = 4_000_000_000_000
OURS, BY_HAND = "ours", "by hand"


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Delete rows."""
    server = surroundings.server
    server.drop_schemas(SCHEMA, EXT)
    engine = sa.create_engine(server.uri)
    try:
        with Retention(server.uri, EXT) as retention, engine.connect() as connection:
            retention.setup()
            policy = {"table_schema": SCHEMA, "table_name": "events", "strategy": "delete", "retention_period": "30d"}
            store_policies(retention, [policy])
            yield _compare(surroundings, server, retention, connection)
    finally:
        engine.dispose()
        server.drop_schemas(SCHEMA, EXT)


def _compare(surroundings: Surroundings, server: CrateDB, retention: Retention, connection: sa.Connection) -> Line:
    sent = 0

    def ours() -> float:
        nonlocal sent
        _fill(server)
        before = statements(retention)
        taken = seconds(retention.run)
        sent = statements(retention) - before
        return _checked(server, taken)

    def by_hand() -> float:
        _fill(server)
        by_time = f"DELETE FROM {TABLE} WHERE ts < ?"
        return _checked(server, seconds(lambda: connection.exec_driver_sql(by_time, (FUTURE,))))

    taken = by_turns(surroundings.repeat(2), {OURS: ours, BY_HAND: by_hand})
    what = f"delete {EXPIRED:,} of {ROWS:,} rows, CrateDB"
    return Line(
        what=what,
        ours=taken[OURS],
        best=taken[BY_HAND],
        statements=sent,
        note="counts first, then deletes in batches, oldest first",
    )


def _fill(server: CrateDB) -> None:
    server.sql(f"DROP TABLE IF EXISTS {TABLE}")
    server.sql(
        f"CREATE TABLE {TABLE} (ts TIMESTAMP WITH TIME ZONE, value BIGINT)"
        " CLUSTERED INTO 2 SHARDS WITH (number_of_replicas = 0)"
    )
    insert = (
        f"INSERT INTO {TABLE} (ts, value) (SELECT ? + n::BIGINT * 10000, n FROM generate_series(1, ?::INTEGER) t(n))"
    )
    server.sql(insert, [FIRST, EXPIRED])
    server.sql(insert, [FUTURE, ROWS - EXPIRED])
    server.sql(f"REFRESH TABLE {TABLE}")


def _checked(server: CrateDB, taken: float) -> float:
    server.sql(f"REFRESH TABLE {TABLE}")
    left = server.value(f"SELECT count(*) FROM {TABLE}")
    if left != ROWS - EXPIRED:
        raise RuntimeError(f"{left} rows are left instead of {ROWS - EXPIRED}")
    return taken
