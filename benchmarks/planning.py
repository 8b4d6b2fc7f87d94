"""
Planning in memory: 100,000 partitions under 1,000 policies, without any database.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.line import Goal, Line
from benchmarks.surroundings import Surroundings
from benchmarks.timing import by_turns, peak_megabytes, seconds
from cratedb_retention.model.catalog import Catalog, Partition, Table, TableName
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.plan import Plan
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.planning.plan.planner import Planning
from cratedb_retention.planning.policies import find_contradictions
from support.catalogs import DAILY, DAY, METRICS, TENANT, TS, VALUE, catalog, policy, table

FIRST = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
MANY, DAYS = 1_000, 100
# Half of the days are expired.
CUTOFF, RETENTION = FIRST + dt.timedelta(days=DAYS), f"{DAYS // 2}d"
GOAL = Goal(seconds=2)
PARTITIONS = MANY * DAYS


@dataclass(frozen=True, kw_only=True)
class Case:
    """Something to plan."""

    what: str
    policies: Sequence[Policy]
    catalog: Catalog
    holds: Sequence[LegalHold] = ()

    def plan(self) -> Plan:
        """All of planning."""
        Planning(policies=self.policies, catalog=self.catalog, cutoff=CUTOFF, holds=self.holds).probes()
        return Planning(policies=self.policies, catalog=self.catalog, cutoff=CUTOFF, holds=self.holds).plan()


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Plan."""
    cases = [*_on_many_tables(), *_on_one_table()]
    taken = by_turns(surroundings.repeat(3), {case.what: _time(case) for case in cases})
    for case in cases:
        megabytes = peak_megabytes(case.plan)
        note = f"peak {megabytes:.0f} MB, {1e6 * megabytes / PARTITIONS:.0f} bytes a partition"
        yield Line(what=f"plan 100,000 partitions: {case.what}", ours=taken[case.what], goal=GOAL, note=note)
    tenants = next(case for case in cases if case.what == TENANTS)
    check = {"check": lambda: seconds(lambda: find_contradictions(tenants.policies, tenants.catalog))}
    what = "check 1,000 policies on one table, two by two"
    yield Line(what=what, ours=by_turns(surroundings.repeat(3), check)["check"], goal=GOAL)


TENANTS = "1 table, 1,000 tenants, a policy each"


def _time(case: Case) -> Callable[[], float]:
    return lambda: seconds(case.plan)


def _days() -> list[int]:
    start = round(FIRST.timestamp() * 1000)
    return [start + day * DAY for day in range(DAYS)]


def _partition(*values: str | int) -> Partition:
    return Partition(values=values, ident=str(values), rows=10, size=100, token="t", nodes=frozenset({"n1"}))


def _daily(number: int) -> Table:
    name = TableName("doc", f"metrics_{number:04}")
    return table([TS, VALUE, DAILY], ["day"], [_partition(day) for day in _days()], name)


def _on_many_tables() -> Iterator[Case]:
    found = catalog(*map(_daily, range(MANY)))
    names = [name.name for name in found.tables]
    yield Case(
        what="1,000 tables, a policy each",
        policies=[_policy(number, name) for number, name in enumerate(names)],
        catalog=found,
    )
    patterns = [_policy(number, f"*{name[-5:]}") for number, name in enumerate(names)]
    yield Case(what="1,000 tables, a pattern each", policies=patterns, catalog=found)
    yield Case(
        what="1,000 tables, 10 patterns for all",
        policies=[_policy(n, "metrics_*", f"{50 + n}d") for n in range(10)],
        catalog=found,
    )


def _on_one_table() -> Iterator[Case]:
    tenants = [f"tenant-{number:04}" for number in range(MANY)]
    partitions = [_partition(tenant, day) for tenant in tenants for day in _days()]
    found = catalog(table([TS, TENANT, VALUE, DAILY], ["tenant", "day"], partitions))
    policies = [_policy(number, "metrics", where={"tenant": tenant}) for number, tenant in enumerate(tenants)]
    yield Case(what=TENANTS, policies=policies, catalog=found)
    archiving = [_policy(n, "metrics", "90d", "snapshot", where={"tenant": tenant}) for n, tenant in enumerate(tenants)]
    yield Case(
        what="1 table, archived for 1,000 tenants, deleted for all",
        policies=[*archiving, _policy(MANY, "metrics")],
        catalog=found,
    )
    holds = [
        LegalHold(id=f"hold-{n}", table_schema=METRICS.schema, table_name=METRICS.name, where={"tenant": tenant})
        for n, tenant in enumerate(tenants)
    ]
    yield Case(what="1 table, 1,000 policies, 1,000 holds", policies=policies, catalog=found, holds=holds)


def _policy(
    number: int,
    name: str,
    retention: str = RETENTION,
    strategy: str = "delete",
    where: dict[str, str] | None = None,
) -> Policy:
    return policy(strategy, retention, id=f"p{number:04}", table_name=name, where=where or {})
