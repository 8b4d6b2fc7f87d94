"""Times that are whole numbers: what counts them is found from expressions or named, and never guessed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cratedb_retention.model.catalog import Column, Kind, Table, TimeUnit
from cratedb_retention.model.intervals import read_grid
from cratedb_retention.model.plan.measurements import Measurements, PartitionBounds, TableBounds
from cratedb_retention.model.plan.plan import MovePartitions, Plan
from support.catalogs import (
    METRICS,
    VALUE,
    at,
    catalog,
    column,
    dropped_starts,
    ms,
    part,
    policy,
    reasons,
    table,
    touched,
)
from support.planning import find_probes, make_plan

CUTOFF = at("2024-07-02")
NUMBER = column("ts", Kind.NUMBER)
DAYS = ("2024-05-31", "2024-06-01", "2024-06-02")


def daily(expression: str, *days: str, number: Column = NUMBER) -> Table:
    """A table that is partitioned by the day of a whole number."""
    day = column("day", expression=expression)
    return table([number, VALUE, day], ["day"], [part(each) for each in days or DAYS])


def plan_of(of: Table, strategy: str = "delete", **attributes: Any) -> Plan:
    """A plan with one policy of 30 days."""
    return make_plan([policy(strategy, **attributes)], catalog(of), CUTOFF)


@pytest.mark.parametrize(
    ("expression", "unit"),
    [
        ("date_trunc('day', ts * 1000)", "s"),
        ("date_trunc('day', (1000 * ts))", "s"),
        ("date_trunc('day', CAST((ts * 1000::bigint) AS timestamp with time zone))", "s"),
        ("date_trunc('day', epoch_ms(ts))", "ms"),
        ("CAST(date_trunc('day', epoch_ms((ts * 1000))) AS TIMESTAMP)", "s"),
        ("date_trunc('day', make_timestamp((ts * 1000)))", "ms"),
        ("date_trunc('day', make_timestamp(ts * 1000000))", "s"),
        ("date_trunc('day', to_timestamp(ts))", "s"),
        ("date_trunc('day', main.timezone('UTC', to_timestamp(ts)))", "s"),
        ("time_bucket(CAST('1 hour' AS INTERVAL), epoch_ms(ts))", "ms"),
        ("date_trunc('day', ts)", None),
    ],
)
def test_units_in_expressions(expression: str, unit: str | None) -> None:
    """The function and the factor by which a time is made of a number say what that counts."""
    grid = read_grid(expression, ["ts", "day"])
    assert grid is not None
    assert (grid.time_column, grid.unit) == ("ts", unit)


OTHERS = "ts * 60000", "ts / 1000", "epoch_ms(ts / 1000)", "make_timestamp(ts)", "epoch_ms(ts + 1000)", "f(ts)"
LOCAL = "timezone('Europe/Vienna', to_timestamp(ts))"


@pytest.mark.parametrize("argument", [*OTHERS, LOCAL, "to_timestamp(ts * 2)", "epoch_ms(f(ts))", "ts * value"])
def test_other_expressions_say_nothing(argument: str) -> None:
    """Microseconds, other factors and other functions are not understood, so nothing is guessed."""
    expression = f"date_trunc('day', {argument})"
    assert read_grid(expression, ["ts", "day", "value"]) is None
    plan = plan_of(daily(expression))
    assert plan.tasks == ()
    assert "is unknown" in reasons(plan) or "several" in reasons(plan)


@pytest.mark.parametrize("strategy", ["delete", "snapshot"])
@pytest.mark.parametrize(
    ("expression", "unit"), [("date_trunc('day', ts)", "ms"), ("date_trunc('day', ts * 1000)", "s")]
)
@pytest.mark.parametrize("named", [True, False])
def test_partitions(strategy: str, expression: str, unit: str, named: bool) -> None:
    """Partitions have exact intervals where the expression fits the unit, be it named or not."""
    given = {"time_column": "ts", "time_unit": unit} if named else {}
    assert find_probes([policy(strategy, **given)], catalog(daily(expression)), CUTOFF) == []
    assert dropped_starts(plan_of(daily(expression), strategy, **given)) == list(DAYS[:2])


def test_partitions_move() -> None:
    """Reallocation works on the same partitions."""
    plan = plan_of(daily("date_trunc('day', ts * 1000)"), "reallocate", time_column="ts", time_unit="s")
    assert touched(plan, MovePartitions) == [(ms(day),) for day in DAYS[:2]]


def test_the_policy_knows_better() -> None:
    """Where the policy names another unit than the expression takes, the rows are asked in that of the policy."""
    [probe] = find_probes([policy(time_column="ts", time_unit="s")], catalog(daily("date_trunc('day', ts)")), CUTOFF)
    assert isinstance(probe, PartitionBounds)
    assert probe.time_column.unit is TimeUnit.SECONDS


def test_ticks() -> None:
    """Seconds have a thousand milliseconds, and milliseconds one."""
    assert [replace(NUMBER, unit=unit).tick for unit in (None, *TimeUnit)] == [1, 1000, 1]


def test_a_timestamp_is_no_number() -> None:
    """An expression that reckons with a timestamp as if it counted seconds says nothing of the time: the rows do."""
    of = daily("date_trunc('day', ts * 1000)", number=column("ts"))
    assert [type(probe) for probe in find_probes([policy()], catalog(of), CUTOFF)] == [PartitionBounds]


def test_a_unit_of_one_of_two_numbers() -> None:
    """A unit without a column is refused where two numbers could be meant."""
    columns = [NUMBER, column("seen", Kind.NUMBER)]
    by = [column(f"{c.name}_day", expression=f"date_trunc('day', {c.name})") for c in columns]
    of = table([*columns, *by], [c.name for c in by], [part(DAYS[0], DAYS[0])])
    plan = plan_of(of, time_unit="s", partition_column="ts_day")
    assert plan.tasks == ()
    assert "the column that it applies to is unknown" in reasons(plan)


@pytest.mark.parametrize(("other", "gone"), [("1970-01-20", ["1970-01-20", DAYS[0]]), ("2054-01-01", [DAYS[0]])])
def test_an_implausible_partition_beside_others(other: str, gone: list[str]) -> None:
    """One partition before 1980, or far ahead, makes a table implausible no more than one such row does."""
    plan = plan_of(daily("date_trunc('day', ts)", other, DAYS[0]), time_column="ts", time_unit="ms")
    assert dropped_starts(plan) == gone


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (("1970-01-20", "1970-01-21"), "set time_unit to s"),
        (("2054-01-01", "2055-01-01"), "microseconds or nanoseconds"),
    ],
)
@pytest.mark.parametrize("strategy", ["delete", "snapshot", "reallocate", "downsample"])
def test_implausible_partitions(days: tuple[str, ...], said: str, strategy: str) -> None:
    """All partitions before 1980, or all far ahead: every strategy is blocked, with the reason and the remedy."""
    plan = plan_of(daily("date_trunc('day', ts)", *days), strategy)
    assert (plan.tasks, len(plan.needs_attention)) == ((), 1)
    assert said in reasons(plan)


def test_what_is_blocked_protects_from_others() -> None:
    """A policy that deletes leaves a table alone that another one can't archive for its times."""
    policies = [policy("snapshot", "40d"), policy("delete", "30d", time_column="ts", time_unit="ms")]
    plan = make_plan(policies, catalog(daily("date_trunc('day', ts)", "1970-01-20")), CUTOFF)
    assert plan.tasks == ()


def test_forever_is_never_blocked() -> None:
    """A policy that keeps everything has nothing to be blocked."""
    plan = make_plan([policy(retention="forever")], catalog(daily("date_trunc('day', ts)", "1970-01-20")), CUTOFF)
    assert plan.needs_attention == ()


def test_a_filter_is_judged_by_its_own_rows() -> None:
    """Whether times can be right is asked of the rows that a policy is about, whatever others say."""
    found = find_probes([policy(where={"value": 7})], catalog(table([column("ts"), VALUE], rows=10)), CUTOFF)
    assert [probe.where for probe in found if isinstance(probe, TableBounds)] == [((VALUE, 7),)]


@pytest.mark.parametrize(
    ("oldest", "newest", "blocked"),
    [
        ("1970-01-01", "1979-12-31", True),
        ("1970-01-01", "1980-01-02", False),
        ("2034-01-01", "2040-01-01", False),
        ("2035-01-01", "2040-01-01", True),
        ("2024-01-01", "2040-01-01", False),
    ],
)
@pytest.mark.parametrize("unit", [None, "s", "ms"])
def test_limits_of_what_is_plausible(oldest: str, newest: str, blocked: bool, unit: str | None) -> None:
    """One row after 1980 and not ten years ahead is enough, for timestamps and numbers."""
    time = column("ts") if unit is None else NUMBER
    given = {} if unit is None else {"time_column": "ts", "time_unit": unit}
    of, wanted = table([time, VALUE], rows=10), policy(**given)
    [probe] = [p for p in find_probes([wanted], catalog(of), CUTOFF) if isinstance(p, TableBounds)]
    ranges = {probe: (ms(oldest), ms(newest))}
    plan = make_plan([wanted], catalog(of), CUTOFF, measurements=Measurements(ranges=ranges))
    assert (bool(plan.needs_attention), bool(plan.tasks)) == (blocked, not blocked)
    assert all(hold.table == METRICS for hold in plan.blocked)
