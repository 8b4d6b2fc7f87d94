"""
What a forecast of two years costs for a thousand tables: with a partition for each day or each month, without
partitions, and at their maximum size; and for cascades, of which each day is planned. The catalog is given.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from benchmarks.line import Goal, Line
from benchmarks.surroundings import Surroundings
from benchmarks.timing import peak_megabytes, seconds
from cratedb_retention.collector import without_collector
from cratedb_retention.model.catalog import Column, Partition, Table, TableName
from cratedb_retention.model.plan.measurements import Measurements, WindowRows
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.time import DAY_MS, to_ms
from cratedb_retention.planning.facts import Facts
from cratedb_retention.planning.forecast.present import Present
from cratedb_retention.planning.forecast.simulation import Outcome, simulate
from support.catalogs import DAILY, MONTH, TS, VALUE, catalog, policy, table

NOW = dt.datetime(2024, 7, 1, tzinfo=dt.UTC)
TABLES, DAYS, CASCADES = 1000, 730, 10
GOAL = Goal(seconds=10)


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Forecast."""
    cases = {
        f"{TABLES:,} tables by day, each kept for another number of days": _present("day", TABLES, _policies(TABLES)),
        f"{TABLES:,} tables by month, one policy": _present("month", TABLES, [policy(retention="1y", table_name="t*")]),
        f"{TABLES:,} tables by day, each at its maximum size": _present("day", TABLES, _budgets(TABLES)),
        f"{TABLES:,} tables without partitions": _plain(TABLES, _policies(TABLES)),
    }
    for what, present in cases.items():
        ours = min(seconds(partial(_forecast, present)) for _ in range(surroundings.repeat(1)))
        megabytes = peak_megabytes(partial(_forecast, present))
        yield Line(what=f"forecast of {DAYS} days: {what}", ours=ours, megabytes=megabytes, goal=GOAL)
    cascades = [policy("downsample", "30d", levels="1h:90d,1d:forever", table_name="t*")]
    present = _present("day", CASCADES, cascades)
    ours = min(seconds(partial(_forecast, present)) for _ in range(surroundings.repeat(1)))
    yield Line(what=f"forecast of {DAYS} days: {CASCADES} cascades of two levels by day", ours=ours)


def _policies(count: int) -> list[Policy]:
    return [policy(retention=f"{30 + i % 300}d", id=f"p{i}", table_name=f"t{i}") for i in range(count)]


def _budgets(count: int) -> list[Policy]:
    most = {"min_retention": "1d", "retention": "forever"}
    return [policy(**most, max_size=10_000 * (30 + i % 30), id=f"p{i}", table_name=f"t{i}") for i in range(count)]


def _plain(count: int, policies: Sequence[Policy]) -> Present:
    """Tables whose rows expire one by one, with a hundred days of rows."""
    names = [TableName("doc", f"t{number}") for number in range(count)]
    tables = [replace(table([TS, VALUE], name=name, rows=100_000), identity=name.name) for name in names]
    days = [(to_ms(NOW) - day * DAY_MS, 1000, "") for day in range(100, 0, -1)]
    interval = Interval(unit="day")
    windows = {WindowRows(table=name, time_column=TS, interval=interval, zone="UTC"): days for name in names}
    facts = Facts(policies=policies, catalog=catalog(*tables), cutoff=NOW)
    return Present(facts=facts, days=DAYS, measured=Measurements(windows=windows))


def _present(unit: str, count: int, policies: Sequence[Policy]) -> Present:
    tables = [_table(unit, i) for i in range(count)]
    return Present(facts=Facts(policies=policies, catalog=catalog(*tables), cutoff=NOW), days=DAYS)


def _table(unit: str, number: int) -> Table:
    column: Column = DAILY if unit == "day" else MONTH
    starts = {Interval(unit=unit).floor(to_ms(NOW) - day * DAY_MS) for day in range(1, 60 + number % 40)}
    parts = [
        Partition(values=(start,), ident=str(start), rows=1000, size=10_000, token="t") for start in sorted(starts)
    ]
    return replace(
        table([TS, VALUE, column], [column.name], parts, TableName("doc", f"t{number}")), identity=str(number)
    )


def _forecast(present: Present) -> Outcome:
    with without_collector():
        return simulate(present)
