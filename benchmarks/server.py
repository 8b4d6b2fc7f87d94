"""
Tables with many partitions on CrateDB.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from support.cratedb import CrateDB
from support.sql import quoted

SCHEMA, EXT = "bench", "bench_ext"
DAY = 86_400_000
FIRST = 1_577_836_800_000  # 2020-01-01
ROWS = 3
# More in one INSERT take longer, and a busy server leaves rows out without an error.
BATCH = 100
ATTEMPTS = 20


@dataclass(frozen=True, kw_only=True)
class Daily:
    """
    A table with a partition for each day, or for each tenant and day.

    :param tenants: How many; 0: there is no such column.
    """

    server: CrateDB
    name: str
    number_of_days: int
    tenants: int = 0

    @property
    def partitions(self) -> int:
        """How many there are when it is filled."""
        return self.number_of_days * max(self.tenants, 1)

    @property
    def end(self) -> int:
        """The end of the last day."""
        return FIRST + self.number_of_days * DAY

    def days(self) -> list[int]:
        """The days' starts."""
        return [FIRST + day * DAY for day in range(self.number_of_days)]

    def create(self) -> None:
        """Create it, empty."""
        tenant = "tenant TEXT, " if self.tenants else ""
        day = "day TIMESTAMP WITH TIME ZONE GENERATED ALWAYS AS date_trunc('day', ts)"
        by = "tenant, day" if self.tenants else "day"
        key = f"ts, row, {by}"
        self.server.sql(
            f"CREATE TABLE {self.name} ({tenant}ts TIMESTAMP WITH TIME ZONE, row BIGINT, {day}, PRIMARY KEY ({key}))"
            f" CLUSTERED INTO 1 SHARDS PARTITIONED BY ({by}) WITH (number_of_replicas = 0)"
        )

    def fill(self) -> None:
        """Create all partitions, with a few rows each, and wait until their shards are there."""
        wanted = self.partitions * ROWS
        for _ in range(ATTEMPTS):
            self._insert()
            self.server.sql(f"REFRESH TABLE {self.name}")
            if self.server.value(f"SELECT count(*) FROM {self.name}") == wanted:
                break
        else:
            raise RuntimeError(f"{self.name} could not be filled")
        while self.server.value(
            "SELECT count(*) FROM sys.shards WHERE schema_name = ? AND state <> 'STARTED'", [SCHEMA]
        ):
            time.sleep(0.05)

    def expect_none(self) -> None:
        """Make sure that all partitions are gone."""
        query = "SELECT count(*) FROM information_schema.table_partitions WHERE table_schema || '.' || table_name = ?"
        left = self.server.value(query, [self.name.replace('"', "")])
        if left:
            raise RuntimeError(f"{left} partitions of {self.name} are left")

    def _insert(self) -> None:
        columns, number = ("tenant, ", "'tenant-' || (p % ?), ") if self.tenants else ("", "")
        arguments = [self.tenants] if self.tenants else []
        for start in range(0, self.partitions, BATCH):
            last = min(start + BATCH, self.partitions) - 1
            self.server.sql(
                f"INSERT INTO {self.name} ({columns}ts, row)"
                f" (SELECT {number}{FIRST} + (p / {max(self.tenants, 1)})::BIGINT * {DAY}, r"
                " FROM generate_series(?::INTEGER, ?::INTEGER) AS partitions(p),"
                " generate_series(1, ?::INTEGER) AS rows(r)) ON CONFLICT DO NOTHING",
                [*arguments, start, last, ROWS],
            )


@contextmanager
def daily_table(server: CrateDB, name: str, days: int, tenants: int = 0) -> Iterator[Daily]:
    """An empty table, which is dropped at the end, as are the toolkit's."""
    table = Daily(server=server, name=quoted(SCHEMA, name), number_of_days=days, tenants=tenants)
    server.drop_schemas(SCHEMA, EXT)
    table.create()
    try:
        yield table
    finally:
        server.drop_schemas(SCHEMA, EXT)
