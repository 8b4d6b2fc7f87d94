"""
Making a plan end to end, and runs that find nothing to do: the number of statements must not grow with the policies.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.embedded import many_tables, tenants_table
from benchmarks.line import NO_GOAL, Goal, Line
from benchmarks.policies import statements, store_policies
from benchmarks.server import EXT, SCHEMA, daily_table
from benchmarks.surroundings import Surroundings
from benchmarks.timing import by_turns, seconds
from cratedb_retention import Retention
from support.cratedb import CrateDB

Policies = Sequence[dict[str, Any]]
# Right after the newest data; half of it is expired then.
CUTOFF, DUE, LATER = dt.datetime(2020, 4, 10, tzinfo=dt.UTC), "50d", "10y"


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Prepare and run."""
    yield from _duckdb_tables(surroundings)
    yield from _duckdb_idle(surroundings)
    yield from _cratedb(surroundings, surroundings.server)


def _policy(name: str, retention: str, **more: Any) -> dict[str, Any]:
    return {"strategy": "delete", "table_name": name, "retention_period": retention, **more}


def _for_tenants(name: str, count: int, retention: str, **more: Any) -> list[dict[str, Any]]:
    return [_policy(name, retention, where={"tenant": f"tenant-{number}"}, **more) for number in range(count)]


def _duckdb_tables(surroundings: Surroundings) -> Iterator[Line]:
    names, uri = many_tables(surroundings.directory(), 1000, 100)
    by_pattern = [_policy(f"metrics_{number}_*", DUE) for number in range(10)]
    cases = {"10 policies (patterns)": by_pattern, "1,000 policies": [_policy(name, DUE) for name in names]}
    with Retention(uri) as retention:
        allowed: int | None = None
        for what, policies in cases.items():
            line = _prepare(
                surroundings, retention, f"1,000 tables, 100,000 partitions, {what}, DuckDB", policies, allowed
            )
            allowed = line.statements
            yield line


def _duckdb_idle(surroundings: Surroundings) -> Iterator[Line]:
    with Retention(tenants_table(surroundings.directory(), 1000, 10)) as retention:
        allowed: int | None = None
        for count in (1, 1000):
            policies = _for_tenants("metrics", count, LATER)
            line = _idle(surroundings, retention, f"{_some(count)}, DuckDB", policies, allowed)
            allowed = line.statements
            yield line


def _cratedb(surroundings: Surroundings, server: CrateDB) -> Iterator[Line]:
    with daily_table(server, "metrics", 10, 100) as table, Retention(server.uri, EXT) as retention:
        table.fill()
        retention.setup()
        allowed: int | None = None
        for count in (1, 10, 100):
            policies = _for_tenants("metrics", count, DUE, table_schema=SCHEMA)
            line = _prepare(surroundings, retention, f"1,000 partitions, {_some(count)}, CrateDB", policies, allowed)
            allowed = allowed or line.statements
            yield line
        allowed = None
        for count in (1, 100):
            policies = _for_tenants("metrics", count, LATER, table_schema=SCHEMA)
            line = _idle(surroundings, retention, f"{_some(count)}, CrateDB", policies, allowed)
            allowed = line.statements
            yield line


def _prepare(
    surroundings: Surroundings, retention: Retention, what: str, policies: Policies, allowed: int | None
) -> Line:
    store_policies(retention, policies)
    before = statements(retention)
    plan = retention.plan(CUTOFF)
    sent = statements(retention) - before
    taken = by_turns(surroundings.repeat(3), {"ours": lambda: seconds(lambda: retention.plan(CUTOFF))})["ours"]
    due = sum(task.partitions for task in plan.tasks)
    return Line(
        what=f"prepare: {what}",
        ours=taken,
        best=None,
        statements=sent,
        goal=_goal(allowed),
        note=f"{due:,} partitions are due",
    )


def _idle(surroundings: Surroundings, retention: Retention, what: str, policies: Policies, allowed: int | None) -> Line:
    store_policies(retention, policies)
    retention.run(cutoff=CUTOFF)  # The first run makes the journal's partition.
    before = statements(retention)
    report = retention.run(cutoff=CUTOFF)
    sent = statements(retention) - before
    if not report.ok or report.done:
        raise RuntimeError(f"not idle: {report}")
    taken = by_turns(surroundings.repeat(5), {"ours": lambda: seconds(lambda: retention.run(cutoff=CUTOFF))})["ours"]
    return Line(what=f"idle run: {what}", ours=taken, best=None, statements=sent, goal=_goal(allowed))


def _some(count: int) -> str:
    return "1 policy" if count == 1 else f"{count:,} policies"


def _goal(allowed: int | None) -> Goal:
    """As many statements as with few policies."""
    return NO_GOAL if allowed is None else Goal(statements=allowed)
