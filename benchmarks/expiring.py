"""
CrateDB: dropping many partitions, beside one DELETE by hand through the same driver, and one DELETE for each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from benchmarks.line import Goal, Line
from benchmarks.policies import forget_runs, statements, store_policies
from benchmarks.server import EXT, SCHEMA, Daily, daily_table
from benchmarks.surroundings import Surroundings
from benchmarks.timing import by_turns, seconds
from cratedb_retention import Retention
from support.cratedb import CrateDB

GOAL = Goal(ratio=1.05, constant=0.15)
OURS, RANGE, LIST, SINGLY = "ours", "one DELETE of a range", "one DELETE with IN", "a DELETE for each"


@dataclass(kw_only=True)
class Bench:
    """A table that is filled and expired again and again."""

    retention: Retention
    by_hand: sa.Connection
    table: Daily
    prepare: list[float]
    statements: int = 0

    def ways(self, *names: str) -> dict[str, Callable[[], float]]:
        """The ways to expire everything, each of which fills the table first."""
        ways = {
            OURS: self._ours,
            RANGE: lambda: seconds(lambda: self._execute("day < ?", [self.table.end])),
            LIST: lambda: seconds(lambda: self._execute(f"day IN ({self._places()})", self.table.days())),
            SINGLY: lambda: seconds(self._singly),
        }
        return {name: self._filled(ways[name]) for name in names}

    def _singly(self) -> None:
        for day in self.table.days():
            self._execute("day = ?", [day])

    def _places(self) -> str:
        return ", ".join("?" * len(self.table.days()))

    def _execute(self, condition: str, values: Sequence[int]) -> None:
        self.by_hand.exec_driver_sql(f"DELETE FROM {self.table.name} WHERE {condition}", tuple(values))

    def _filled(self, way: Callable[[], float]) -> Callable[[], float]:
        def work() -> float:
            self.table.fill()
            forget_runs(self.retention)
            taken = way()
            self.table.expect_none()
            return taken

        return work

    def _ours(self) -> float:
        before = statements(self.retention)
        started = time.perf_counter()
        prepared = self.retention.prepare()
        self.prepare.append(time.perf_counter() - started)
        report = self.retention.run(prepared)
        taken = time.perf_counter() - started
        self.statements = statements(self.retention) - before
        if not report.ok or report.partitions != self.table.partitions:
            raise RuntimeError(f"not everything was expired: {report}")
        return taken


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Expire partitions."""
    server = surroundings.server
    with _bench(server, "warm", 50) as bench:  # A Java server is slow until it has done something a few times.
        by_turns(2, bench.ways(OURS, RANGE, LIST, SINGLY))
    with _bench(server, "daily", 300) as bench:
        ways = bench.ways(OURS, RANGE, LIST, SINGLY)
        yield _line("300 partitions", bench, by_turns(surroundings.repeat(3), ways))
    with _bench(server, "daily", 1000) as bench:
        taken = by_turns(surroundings.repeat(2), bench.ways(OURS, LIST, RANGE))
        yield _line("1,000 partitions", bench, {**taken, **by_turns(1, bench.ways(SINGLY))})
    with _bench(server, "tenants", 30, tenants=10) as bench:
        taken = by_turns(surroundings.repeat(3), bench.ways(OURS, LIST, RANGE))
        yield _line("300 partitions by tenant and day", bench, taken)


def _line(what: str, bench: Bench, taken: dict[str, float]) -> Line:
    ours = taken.pop(OURS)
    prepare = sorted(bench.prepare)[len(bench.prepare) // 2]
    words = [f"prepare {prepare:.2f} s, run {ours - prepare:.2f} s"]
    words += [f"{name} {value:.2f} s" for name, value in taken.items()]
    best = min(taken.values())
    return Line(
        what=f"expire {what} of one table, CrateDB",
        ours=ours,
        best=best,
        statements=bench.statements,
        goal=GOAL,
        note="; ".join(words),
    )


@contextmanager
def _bench(server: CrateDB, name: str, days: int, tenants: int = 0) -> Iterator[Bench]:
    with daily_table(server, name, days, tenants) as table, Retention(server.uri, EXT) as retention:
        retention.setup()
        expires = {"table_schema": SCHEMA, "table_name": name, "strategy": "delete", "retention_period": "30d"}
        store_policies(retention, [expires])
        engine = sa.create_engine(server.uri)
        with engine.connect() as connection:
            yield Bench(retention=retention, by_hand=connection, table=table, prepare=[])
        engine.dispose()
