"""
Planning in memory: 100,000 partitions under 1,000 policies, and a million under 10,000, without any database.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.line import Goal, Line
from benchmarks.surroundings import Surroundings
from benchmarks.timing import by_turns, peak_megabytes, seconds
from cratedb_retention.collector import without_collector
from cratedb_retention.model.catalog import Catalog, Partition, Table, TableName, Value
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.plan import Plan
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.planning.plan.planner import Planning
from cratedb_retention.planning.policies import find_contradictions
from support.catalogs import DAILY, DAY, METRICS, TENANT, TS, VALUE, catalog, policy, table

FIRST = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
MANY, VERY_MANY, DAYS = 1_000, 10_000, 100
# Half of the days are expired.
CUTOFF, RETENTION = FIRST + dt.timedelta(days=DAYS), f"{DAYS // 2}d"
GOAL, LARGE_GOAL = Goal(seconds=2), Goal(seconds=5, megabytes=300)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Something to plan."""

    what: str
    policies: Sequence[Policy]
    catalog: Catalog
    holds: Sequence[LegalHold] = ()

    @property
    def partitions(self) -> int:
        return sum(len(table.partitions) for table in self.catalog.tables.values())

    @without_collector()
    def plan(self) -> Plan:
        """All of planning, as a run does it."""
        planning = Planning(policies=self.policies, catalog=self.catalog, cutoff=CUTOFF, holds=self.holds)
        planning.probes()
        return replace(planning).plan()


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Plan."""
    cases = [*_on_many_tables(), *_on_one_table()]
    yield from _lines(surroundings, cases, GOAL)
    tenants = next(case for case in cases if case.what == TENANTS)
    check = {"check": lambda: seconds(lambda: find_contradictions(tenants.policies, tenants.catalog))}
    what = "check 1,000 policies on one table, two by two"
    yield Line(what=what, ours=by_turns(surroundings.repeat(3), check)["check"], goal=GOAL)
    for large in (_a_policy_each, _for_each_tenant):
        yield from _lines(surroundings, [large(VERY_MANY)], LARGE_GOAL)


def _lines(surroundings: Surroundings, cases: Sequence[Case], goal: Goal) -> Iterator[Line]:
    taken = by_turns(surroundings.repeat(3), {case.what: _time(case) for case in cases})
    for case in cases:
        megabytes = peak_megabytes(case.plan)
        yield Line(
            what=f"plan {case.partitions:,} partitions: {case.what}",
            ours=taken[case.what],
            megabytes=megabytes,
            goal=goal,
            note=f"{1e6 * megabytes / case.partitions:.0f} bytes a partition, beside the catalog",
        )


TENANTS = "1 table, 1,000 tenants, a policy each"


def _a_policy_each(many: int) -> Case:
    found = catalog(*map(_daily, range(many)))
    return Case(
        what=f"{many:,} tables, a policy each",
        policies=[_policy(number, name.name) for number, name in enumerate(found.tables)],
        catalog=found,
    )


def _for_each_tenant(many: int) -> Case:
    tenants = [f"tenant-{number:05}" for number in range(many)]
    partitions = [_partition(tenant, day) for tenant in tenants for day in _days()]
    return Case(
        what=f"1 table, {many:,} tenants, a policy each",
        policies=[_policy(number, METRICS.name, where={"tenant": tenant}) for number, tenant in enumerate(tenants)],
        catalog=catalog(table([TS, TENANT, VALUE, DAILY], ["tenant", "day"], partitions)),
    )


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
    alone = _a_policy_each(MANY)
    names = [name.name for name in alone.catalog.tables]
    yield alone
    patterns = [_policy(number, f"*{name[-5:]}") for number, name in enumerate(names)]
    yield replace(alone, what="1,000 tables, a pattern each", policies=patterns)
    several = [_policy(n, "metrics_*", f"{50 + n}d") for n in range(10)]
    yield replace(alone, what="1,000 tables, 10 patterns for all", policies=several)


def _on_one_table() -> Iterator[Case]:
    alone = _for_each_tenant(MANY)
    yield alone
    archiving = [_policy(n, METRICS.name, "90d", "snapshot", where=p.where) for n, p in enumerate(alone.policies)]
    yield replace(
        alone,
        what="1 table, archived for 1,000 tenants, deleted for all",
        policies=[*archiving, _policy(MANY, METRICS.name)],
    )
    holds = [
        LegalHold(id=f"hold-{n}", table_schema=METRICS.schema, table_name=METRICS.name, where=p.where)
        for n, p in enumerate(alone.policies)
    ]
    yield replace(alone, what="1 table, 1,000 policies, 1,000 holds", holds=holds)


def _policy(
    number: int,
    name: str,
    retention: str = RETENTION,
    strategy: str = "delete",
    where: Mapping[str, Value] | None = None,
) -> Policy:
    return policy(strategy, retention, id=f"p{number:04}", table_name=name, where=where or {})
