"""When partitions expire: by their end, to the instant, and never when nothing tells their time."""

from __future__ import annotations

from typing import Any

import pytest

from cratedb_retention.model.catalog import Kind, Value
from cratedb_retention.model.plan.measurements import Bounds, Measurements, PartitionBounds
from cratedb_retention.model.plan.plan import DropPartitions, FreezePartitions, Plan
from support.catalogs import (
    DAILY,
    DUCKDB,
    METRICS,
    MONTH,
    TENANT,
    TS,
    VALUE,
    WEEK,
    at,
    catalog,
    column,
    dropped,
    dropped_starts,
    monthly,
    ms,
    part,
    policy,
    reasons,
    table,
    touched,
)  # fmt: skip
from support.planning import find_probes, make_plan

TEXT_MONTH = column("text_month", Kind.TEXT, "date_format('%Y-%m', ts)")
YEAR = column("year", Kind.NUMBER, "extract(year from ts)")
SPRING = monthly("2024-04", "2024-05", "2024-06", "2024-07")


@pytest.mark.parametrize(
    ("cutoff", "gone"),
    [
        # Rows of 30 June are two days old on 2 July: June stays, although it started 31 days ago.
        ("2024-07-02", ["2024-04-01", "2024-05-01"]),
        ("2024-06-30T23:59:59.999", ["2024-04-01"]),
        ("2024-07-01", ["2024-04-01", "2024-05-01"]),
        ("2024-07-30T23:59:59.999", ["2024-04-01", "2024-05-01"]),
        ("2024-07-31", ["2024-04-01", "2024-05-01", "2024-06-01"]),
        ("2024-07-31T02:00+02:00", ["2024-04-01", "2024-05-01", "2024-06-01"]),
        ("2024-07-31T01:59+02:00", ["2024-04-01", "2024-05-01"]),
        ("2024-05-30T23:59:59.999999", []),
        ("2024-08-30T23:59", ["2024-04-01", "2024-05-01", "2024-06-01"]),
    ],
)
def test_the_trap(cutoff: str, gone: list[str]) -> None:
    """A month goes when its end, not its start, is 30 days past: to the instant."""
    assert dropped_starts(make_plan([policy()], catalog(SPRING), at(cutoff))) == gone


@pytest.mark.parametrize(
    ("by", "start", "last", "due"),
    [
        (DAILY, "2024-06-01", "2024-07-01T23:59:59.999", "2024-07-02"),
        (WEEK, "2024-06-03", "2024-07-09T23:59:59.999", "2024-07-10"),
        (column("hour", expression="date_bin('PT2H30M'::interval, ts, 0)"), "2024-06-01T05:00",
         "2024-07-01T07:29:59.999", "2024-07-01T07:30"),
        (column("month", expression="date_trunc('month', 'Europe/Vienna', ts)"), "2024-05-31T22:00",
         "2024-07-30T21:59:59.999", "2024-07-30T22:00"),
    ],
    ids=["day", "week", "bin", "zone"],
)  # fmt: skip
def test_to_the_instant(by: Any, start: str, last: str, due: str) -> None:
    """Whatever the length of partitions: a millisecond before it is due a partition stays, then it goes."""
    found = catalog(table([TS, by], [by.name], [part(start)]))
    assert dropped(make_plan([policy()], found, at(last))) == []
    assert dropped(make_plan([policy()], found, at(due))) == [(ms(start),)]


@pytest.mark.parametrize(
    ("zone", "last", "due"),
    [
        ("UTC", "2024-07-31T23:59:59.999", "2024-08-01"),
        # In Vienna, June (of UTC) ends on 1 July at 2 o'clock.
        ("Europe/Vienna", "2024-07-31T23:59:59.999", "2024-08-01"),
        # In New York it ends on 30 June at 20 o'clock; a month later is 30 July at that time.
        ("America/New_York", "2024-07-30T23:59:59.999", "2024-07-31"),
    ],
)
def test_months_in_a_time_zone(zone: str, last: str, due: str) -> None:
    """A retention period in months is reckoned in the policy's time zone."""
    rule = policy(retention="1mo", time_zone=zone)
    assert "2024-06-01" not in dropped_starts(make_plan([rule], catalog(SPRING), at(last)))
    assert "2024-06-01" in dropped_starts(make_plan([rule], catalog(SPRING), at(due)))


@pytest.mark.parametrize("retention", ["forever", "9999y"])
def test_forever(retention: str) -> None:
    """Forever is forever: nothing goes, nothing is held, everything is kept."""
    found = catalog(table([TS, MONTH], ["month"], [part("2024-01-01"), part(None)]))
    plan = make_plan([policy(retention=retention)], found, at("9999-12-31"))
    assert (plan.tasks, plan.blocked) == ((), ())
    assert [(kept.partitions, kept.next_due) for kept in plan.up_to_date] == [(2, None)]


def test_several_columns() -> None:
    """With several partition columns each combination is a partition of its own, and the time decides."""
    partitions = [part("a", "2024-05-01"), part("b", "2024-05-01"), part("a", "2024-06-01"), part(None, "2024-04-01")]
    found = catalog(table([TS, TENANT, MONTH], ["tenant", "month"], partitions))
    expected: list[tuple[Value, ...]] = [(None, ms("2024-04-01")), ("a", ms("2024-05-01")), ("b", ms("2024-05-01"))]
    assert dropped(make_plan([policy()], found, at("2024-07-02"))) == expected


def test_several_times() -> None:
    """Partitioned by month and by day, the day counts."""
    partitions = [part("2024-06-01", "2024-06-01"), part("2024-06-01", "2024-06-02"), part(None, "2024-01-01")]
    plan = make_plan([policy()], catalog(table([TS, MONTH, DAILY], ["month", "day"], partitions)), at("2024-07-02"))
    assert dropped(plan) == [(ms("2024-06-01"), ms("2024-06-01"))]
    assert plan.blocked[0].partitions == ("month=NULL, day=2024-01-01",)


@pytest.mark.parametrize("strategy", ["delete", "snapshot", "reallocate", "compact"])
def test_null_is_held(strategy: str) -> None:
    """Rows without a time are never expired, moved or archived; somebody is told."""
    found = catalog(table([TS, TENANT, MONTH], ["tenant", "month"], [part("a", None), part("a", "2024-06-01")]))
    plan = make_plan([policy(strategy)], found, at("2054-01-01"))
    assert ("a", None) not in touched(plan, object)
    [hold] = plan.blocked
    assert (hold.partitions, hold.count, hold.needs_attention) == (("tenant=a, month=NULL",), 1, True)
    assert "its time range is unknown" in hold.reason


@pytest.mark.parametrize("strategy", ["delete", "snapshot", "reallocate", "compact"])
def test_null_is_held_quietly(strategy: str) -> None:
    """The policy may say that somebody knows; what is closed needs attention still, and what is empty never does."""
    partitions = [part(None), part(None, rows=0), part("2024-06-01")]
    found = catalog(table([TS, MONTH], ["month"], partitions))
    plan = make_plan([policy(strategy, undated="keep")], found, at("2054-01-01"))
    assert [(hold.count, hold.needs_attention) for hold in plan.blocked] == [(1, False), (1, False)]
    assert (None,) not in touched(plan, object)
    assert [hold.needs_attention for hold in make_plan([policy(strategy)], found, at("2054-01-01")).blocked] == [
        False,
        True,
    ]
    uncounted = catalog(table([TS, MONTH], ["month"], [part(None, rows=None)]))
    assert make_plan([policy(strategy)], uncounted, at("2054-01-01")).needs_attention, "unknown is not empty"
    closed = catalog(table([TS, MONTH], ["month"], [part(None, closed=True, rows=None)]))
    assert make_plan([policy(strategy, undated="keep")], closed, at("2054-01-01")).needs_attention


RowTimes = dict[Value, tuple[str, str] | None]


def by_rows(cutoff: str, columns: list[Any], by: str, bounds: RowTimes, **facts: Any) -> Plan:
    """A plan for partitions whose interval only their rows tell."""
    partitioned = table(columns, [by], [part(value, **facts) for value in bounds])
    found = catalog(partitioned)
    [probe] = find_probes([policy(partition_column=by)], found, at(cutoff))
    assert isinstance(probe, PartitionBounds)
    measured: Bounds = {(value,): (ms(b[0]), ms(b[1])) for value, b in bounds.items() if b}
    measurements = Measurements(bounds={probe: measured})
    return make_plan([policy(partition_column=by)], found, at(cutoff), measurements=measurements)


@pytest.mark.parametrize(
    ("columns", "by", "value"),
    [([TS, TEXT_MONTH], "text_month", "May"), ([TS, YEAR], "year", 2024), ([TS, TENANT], "tenant", "a")],
)
def test_by_rows(columns: list[Any], by: str, value: Value) -> None:
    """Text and numbers tell no time: the newest row decides, and is checked again under a freeze before the drop."""
    bounds: RowTimes = {value: ("2024-05-01", "2024-05-31T23:59:59.999")}
    assert dropped(by_rows("2024-06-30T23:59:59.999", columns, by, bounds)) == []
    plan = by_rows("2024-07-01", columns, by, bounds)
    assert [type(step) for task in plan.tasks for step in task.steps] == [FreezePartitions, DropPartitions]
    drop = plan.tasks[0].steps[1]
    assert isinstance(drop, DropPartitions)
    assert (drop.before, drop.time_column) == (ms("2024-06-01"), TS)


def test_few_are_frozen_at_once() -> None:
    """Writers to a partition are refused only for the time that some others need as well, however many there are."""
    bounds: RowTimes = {f"tenant {number}": ("2024-05-01", "2024-05-31") for number in range(45)}
    plan = by_rows("2024-07-01", [TS, TENANT], "tenant", bounds)
    steps = [[step for step in task.steps if isinstance(step, FreezePartitions)] for task in plan.tasks]
    assert [len(step.pieces) for (step,) in steps] == [20, 20, 5]
    assert len(dropped(plan)) == 45


def test_exact_needs_no_second_look() -> None:
    """A partition whose definition tells its time is dropped without a freeze and without reading its rows."""
    plan = make_plan([policy()], catalog(SPRING), at("2024-07-02"))
    [drop] = [step for task in plan.tasks for step in task.steps]
    assert isinstance(drop, DropPartitions)
    assert (drop.table, drop.before, drop.time_column) == (METRICS, ms("2024-06-02"), None)


def test_nothing_measured_is_held() -> None:
    """Without an answer from the rows nothing goes."""
    plan = by_rows("2054-01-01", [TS, TENANT], "tenant", {"a": None})
    assert plan.tasks == ()
    assert "its time range is unknown" in reasons(plan)


@pytest.mark.parametrize(
    ("closed", "words"), [(True, "partition is closed; open it"), (False, "its time range is unknown")]
)
def test_closed_without_definition_is_held(closed: bool, words: str) -> None:
    """A closed partition hides its rows; if only they tell its time, it has to be opened."""
    plan = by_rows("2054-01-01", [TS, TENANT], "tenant", {"a": None}, closed=closed)
    assert words in reasons(plan)
    assert plan.needs_attention


def test_closed_by_definition_goes() -> None:
    """A closed partition whose definition tells its time expires like any other; its rows are unknown."""
    found = catalog(table([TS, MONTH], ["month"], [part("2024-05-01", closed=True, rows=None)]))
    plan = make_plan([policy()], found, at("2024-07-02"))
    assert dropped_starts(plan) == ["2024-05-01"]
    assert plan.tasks[0].rows is None


@pytest.mark.parametrize(
    ("kind", "wanted", "values", "gone"),
    [
        (Kind.TEXT, "a", ["a", "b", None], ["a"]),
        (Kind.TEXT, None, ["a", None], [None]),
        (Kind.TEXT, 7, ["7", "8"], ["7"]),
        (Kind.NUMBER, "7", [7, 8, None], [7]),
        (Kind.NUMBER, 7.0, [7, 8], [7]),
        (Kind.BOOLEAN, "false", [True, False, None], [False]),
        (Kind.TEXT, "x", ["a", "b"], []),
        (Kind.TEXT, "A", ["a"], []),
    ],
)
def test_where(kind: Kind, wanted: Any, values: list[Value], gone: list[Value]) -> None:
    """A filter chooses partitions by value and type, NULL included; all others are none of the policy's business."""
    key = column("key", kind)
    found = catalog(table([TS, key, MONTH], ["key", "month"], [part(value, "2024-01-01") for value in values]))
    plan = make_plan([policy(where={"key": wanted})], found, at("2024-07-02"))
    assert [values[0] for values in dropped(plan)] == gone
    assert plan.blocked == ()


def test_where_on_time() -> None:
    """A filter may name the time itself, and its columns in any order."""
    plan = make_plan([policy(where={"month": "2024-04-01"})], catalog(SPRING), at("2024-07-02"))
    assert dropped_starts(plan) == ["2024-04-01"]
    partitions = [part(tenant, month) for tenant in "ab" for month in ("2024-03-01", "2024-04-01")]
    found = catalog(table([TS, TENANT, MONTH], ["tenant", "month"], partitions))
    plan = make_plan([policy(where={"month": "2024-04-01", "tenant": "a"})], found, at("2024-07-02"))
    assert dropped(plan) == [("a", ms("2024-04-01"))]


@pytest.mark.parametrize(("count", "batches"), [(1, [1]), (1000, [1000]), (1001, [1000, 1]), (2500, [1000, 1000, 500])])
def test_batches(count: int, batches: list[int]) -> None:
    """Many partitions go in few statements of at most a thousand, oldest first, each partition once."""
    starts = [ms("2010-01-01") + i * 86_400_000 for i in range(count)]
    found = catalog(table([TS, DAILY], ["day"], [part(start) for start in starts]), capabilities=DUCKDB)
    plan = make_plan([policy(table_schema="doc")], found, at("2024-07-02"))
    assert [task.partitions for task in plan.tasks] == batches
    assert dropped(plan) == [(start,) for start in starts]
    assert [task.rows for task in plan.tasks] == [10 * size for size in batches]
    assert [task.size for task in plan.tasks] == [100 * size for size in batches]


def test_naive_cutoff_refused() -> None:
    """A cutoff without a time zone is a mistake."""
    with pytest.raises(ValueError, match="naive"):
        make_plan([policy()], catalog(SPRING), at("2024-07-02").replace(tzinfo=None))


def test_unmeasured_value_column() -> None:
    """A table without partitions and without time is a problem, not a crash."""
    plan = make_plan([policy()], catalog(table([VALUE])), at("2024-07-02"))
    assert plan.tasks == ()
    assert plan.needs_attention
