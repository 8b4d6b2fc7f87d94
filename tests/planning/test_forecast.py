"""Forecasts: what is measured of the recent past, and what the planner does with data that grows like that."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.archive import Archived, SnapshotRecord, SnapshotStage
from cratedb_retention.model.catalog import Partition, Table, TableName
from cratedb_retention.model.forecast import Event, Forecast, Part, Series, Storage, count_days, differences, read_until
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.measurements import Measurements, WindowRows
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.step import Kind
from cratedb_retention.model.time import DAY_MS, UTC, from_ms
from cratedb_retention.planning.facts import Facts
from cratedb_retention.planning.forecast.growth import Growth, combined, measure_growth
from cratedb_retention.planning.forecast.present import Present
from cratedb_retention.planning.forecast.simulation import Outcome, Simulation, simulate
from cratedb_retention.planning.forecast.tables import find_grids
from cratedb_retention.planning.targets import make_target
from support.catalogs import (
    DAILY,
    METRICS,
    MONTH,
    TENANT,
    TS,
    VALUE,
    WEEK,
    at,
    catalog,
    column,
    ms,
    policy,
    table,
)
from support.simulation import SimulatedDatabase

NOW = "2024-07-01"
DAY, WEEKS, MONTHS = Interval(unit="day"), Interval(unit="week"), Interval(unit="month")
HOURLY = column("hour", expression="date_trunc('hour', ts)")
COLUMNS = {"hour": HOURLY, "day": DAILY, "week": WEEK, "month": MONTH}
LENGTHS = {"hour": Interval(3600), "day": DAY, "week": WEEKS, "month": MONTHS}
Rate = Callable[[int], int]


def steady(day: int) -> int:
    """As many rows each day."""
    return 100


def each_day(rows: int) -> Rate:
    """This number of rows each day."""
    return lambda day: rows


def days_before(count: int, rows: Rate, now: str = NOW) -> list[tuple[int, int, float]]:
    """The rows of each of some days before an instant; the rate gets the day's distance to it, which is negative."""
    return [(ms(now) + day * DAY_MS, ms(now) + (day + 1) * DAY_MS, rows(day)) for day in range(-count, 0)]


def measured(count: int, rows: Rate, now: str = NOW) -> Growth:
    """The growth of a table with a partition for each of some days."""
    return measure_growth(days_before(count, rows), DAY, UTC, ms(now))


def ahead(growth: Growth, days: int) -> list[int]:
    """The rows of each of the next days."""
    return [growth.between(ms(NOW) + day * DAY_MS, ms(NOW) + (day + 1) * DAY_MS) for day in range(days)]


# Growth


@pytest.mark.parametrize("count", [3, 7, 10, 14, 20, 56, 200])
def test_constant_growth_goes_on(count: int) -> None:
    """Equally many rows each day, however long the past is."""
    growth = measured(count, lambda day: 1000)
    assert ahead(growth, 400) == [1000] * 400
    assert (growth.rate.known, growth.rate.trend, growth.rate.has_rhythm) == (True, 0.0, False)


@pytest.mark.parametrize("count", [14, 15, 23, 56, 90])
def test_rhythm_of_the_week(count: int) -> None:
    """Fewer rows on weekends, from two weeks on; 2024-07-01 is a Monday."""

    def rows(day: int) -> int:
        return 40 if day % 7 in (5, 6) else 100

    growth = measured(count, rows)
    assert ahead(growth, 100) == [rows(day) for day in range(100)]
    assert growth.rate.has_rhythm


def test_week_without_rhythm_counts_as_a_whole() -> None:
    """From one week, the mean is right though the days are not."""
    growth = measured(7, lambda day: 40 if day % 7 in (5, 6) else 100)
    assert sum(ahead(growth, 70)) == pytest.approx(10 * (5 * 100 + 2 * 40), abs=1)


def test_trend_goes_on() -> None:
    """Ten more rows each day, also with fewer rows on weekends."""
    assert ahead(measured(70, lambda day: 2000 + 10 * day), 300) == [2000 + 10 * day for day in range(300)]

    def rows(day: int) -> int:
        return round((4000 + 10 * day) * (0.5 if day % 7 in (5, 6) else 1.2))

    found, truth = ahead(measured(70, rows), 364), [rows(day) for day in range(364)]
    assert sum(found) == pytest.approx(sum(truth), rel=0.01)


def test_tenants_together() -> None:
    """The growth of a table is that of all of its tenants, and so is its trend."""
    both = combined([measured(70, lambda day: 2000 + 10 * day), measured(70, lambda day: 1000 + 5 * day)])
    assert ahead(both, 100) == [3000 + 15 * day for day in range(100)]


def test_data_that_becomes_less_ends_at_nothing() -> None:
    """A trend never makes rows negative."""
    found = ahead(measured(70, lambda day: 1000 - 10 * day), 300)
    assert found[0] == 1000
    assert found[99:] == [10] + [0] * 200


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_no_trend(seed: int) -> None:
    """Noise of 30 % changes the sum of a year by less than 15 %, with a weekly rhythm or without."""
    for weekend in (1.0, 0.3):
        noise = random.Random(seed)
        rates = [round(noise.uniform(700, 1300) * (weekend if day % 7 in (5, 6) else 1)) for day in range(-56, 0)]
        growth = measure_growth(
            [(start, end, rates.pop(0)) for start, end, _ in days_before(56, steady)], DAY, UTC, ms(NOW)
        )
        assert sum(ahead(growth, 365)) == pytest.approx(365 * 1000 * (5 + 2 * weekend) / 7, rel=0.15)


def test_outliers_count_as_usual_days() -> None:
    """A day with an import, and one without data."""
    odd = {-20: 90_000, -13: 0, -30: 50_000}
    assert ahead(measured(56, lambda day: odd.get(day, 100)), 60) == [100] * 60
    assert ahead(measured(10, lambda day: 9000 if day == -4 else 100), 60) == [100] * 60


def test_first_day_that_is_incomplete_does_not_count() -> None:
    """The table was created at noon."""
    assert ahead(measured(10, lambda day: 50 if day == -10 else 100), 30) == [100] * 30
    assert ahead(measured(3, lambda day: 50 if day == -3 else 100), 30) == [100] * 30


def test_table_that_is_written_no_longer() -> None:
    """Without rows for two weeks, none are expected; a table that always has such gaps goes on."""
    growth = measured(56, lambda day: 0 if day >= -14 else 100)
    assert ahead(growth, 30) == [0] * 30
    assert "no rows since 2024-06-17" in growth.rate.source
    assert sum(ahead(measured(56, lambda day: 1000 if day % 10 == 0 else 0), 100)) == pytest.approx(10_000, rel=0.2)


@pytest.mark.parametrize("count", [0, 1])
def test_too_little_to_forecast(count: int) -> None:
    """It says so, and assumes no growth."""
    growth = measured(count, lambda day: 100)
    assert not growth.rate.known
    assert ahead(growth, 10) == [0] * 10
    assert growth.rate.source.startswith("too little to measure: 1 complete day" if count else "it has no rows")


@pytest.mark.parametrize(("interval", "starts"), [(MONTHS, ["2024-01", "2024-02", "2024-03", "2024-04", "2024-05"])])
def test_months_differ_in_length(interval: Interval, starts: Sequence[str]) -> None:
    """A hundred rows a day, whatever month it is; the open month does not count."""
    ends = [*(ms(f"{start}-01") for start in starts[1:]), ms("2024-06-01")]
    rows: list[tuple[int, int, float]] = [
        (ms(f"{start}-01"), end, 100 * (end - ms(f"{start}-01")) // DAY_MS)
        for start, end in zip(starts, ends, strict=True)
    ]
    growth = measure_growth([*rows, (ms("2024-06-01"), ms("2024-07-01"), 7)], interval, UTC, ms("2024-06-20"))
    assert growth.between(ms("2024-07-01"), ms("2024-08-01")) == 3100
    assert growth.rate.source == "5 months from 2024-01-01 to 2024-06-01"


def test_hours_are_counted_by_day() -> None:
    """Partitions shorter than a day have the rhythm of days."""
    hours: list[tuple[int, int, float]] = [
        (start, start + 3_600_000, 10) for start in range(ms("2024-06-01"), ms(NOW), 3_600_000)
    ]
    assert ahead(measure_growth(hours, Interval(3600), UTC, ms(NOW)), 3) == [240] * 3


# Simulation


def make_table(unit: str, past: int, rows: Rate, name: TableName = METRICS, **facts: Any) -> Table:
    """A table whose partitions have this length, with the rows of some past days, of ten bytes each."""
    found: dict[int, int] = {}
    for start, _, count in days_before(past, rows):
        times = [start + hour * 3_600_000 for hour in range(24)] if unit == "hour" else [start]
        for time in times:
            begin = LENGTHS[unit].floor(time)
            found[begin] = found.get(begin, 0) + round(count / len(times))
    parts = [Partition(values=(v,), ident=f"p{v}", rows=n, size=10 * n, token="t") for v, n in sorted(found.items())]
    return table([TS, VALUE, COLUMNS[unit]], [COLUMNS[unit].name], parts, name, **facts)


def present(tables: Sequence[Table], policies: Sequence[Policy], days: int, now: str = NOW, **more: Any) -> Present:
    """What a forecast starts from."""
    own = {key: more.pop(key) for key in ("archives", "storage", "measured") if key in more}
    facts = Facts(policies=policies, catalog=catalog(*tables), cutoff=at(now), **more)
    return Present(facts=facts, days=days, **own)


def series_of(outcome: Outcome, of: Part = Part.TABLE, name: TableName = METRICS) -> Series:
    """The only series about this."""
    (found,) = [series for series in outcome.series if series.part is of and series.table == name]
    return found


@pytest.mark.parametrize("unit", ["hour", "day"])
def test_rows_that_come_and_go(unit: str) -> None:
    """Of 100 days, those of the retention period stay; from then on, each day one goes and one comes."""
    outcome = simulate(present([make_table(unit, 100, lambda day: 2400)], [policy(retention="30d")], 60))
    found = series_of(outcome)
    per = 24 if unit == "hour" else 1
    assert found.rows == [240_000] + [30 * 2400] * 60
    assert found.size == [2_400_000] + [30 * 24_000] * 60
    assert found.partitions == [100 * per] + [30 * per] * 60
    assert [(event.day, event.partitions) for event in outcome.events] == [(1, 71 * per)] + [
        (day, per) for day in range(2, 61)
    ]
    assert [event.end for event in outcome.events] == [outcome.times[day] - 30 * DAY_MS for day in range(1, 61)]
    assert {event.kind for event in outcome.events} == {Kind.DELETE}
    assert [event.size for event in outcome.events] == [10 * event.rows for event in outcome.events]


def test_months_stay_until_their_end_is_old() -> None:
    """A month goes as a whole, 30 days after its end; rows of the open month are added to it."""
    tables = [make_table("month", 182, lambda day: 100)]
    outcome = simulate(present(tables, [policy(retention="30d")], 120))
    found = series_of(outcome)
    gone = {from_ms(outcome.times[event.day]).date().isoformat(): event.partitions for event in outcome.events}
    assert gone == {"2024-07-02": 5, "2024-07-31": 1, "2024-08-31": 1, "2024-10-01": 1}
    assert found.rows[1] == 30 * 100 + 100
    assert found.partitions[1:32] == [2] * 29 + [1] * 2


def test_archives_grow_and_end() -> None:
    """What leaves the table is in the archive until its own period is over, and then it is gone for good."""
    rule = policy("snapshot", "10d", archive_period="20d")
    made = simulate(present([make_table("day", 30, lambda day: 50)], [rule], 60))
    found, kept = series_of(made), series_of(made, Part.ARCHIVE)
    assert found.rows[1:] == [500] * 60
    # On the first day 21 partitions are archived; of these, 12 have ended when the second run looks.
    assert kept.rows[:3] == [0, 21 * 50, 10 * 50]
    assert kept.rows[2:] == [500] * 59
    assert kept.partitions[2:] == [10] * 59
    assert kept.size == [10 * rows for rows in kept.rows]
    ended = [event for event in made.events if event.kind is Kind.END_ARCHIVE]
    assert sum(event.partitions for event in ended) == 21 + 59 - 10


def test_what_is_recoverable_ends() -> None:
    """Deleted data takes space in its archive for as long as it can be brought back, and then no more."""
    rule = policy("delete", "10d", recoverable="7d", target_repository_name="archive")
    made = simulate(present([make_table("day", 30, lambda day: 50)], [rule], 60))
    found, kept = series_of(made), series_of(made, Part.ARCHIVE)
    assert found.rows[1:] == [500] * 60
    # On the first day 21 partitions are deleted, and one on each day after it.
    assert kept.partitions == [0, *range(21, 28), *[7] * 53]
    assert kept.rows == [50 * count for count in kept.partitions]
    assert kept.size == [10 * rows for rows in kept.rows]


def test_archives_of_tables_that_are_alike() -> None:
    """One of them is planned, and the archives of the others end with as many rows as these have."""
    week = policy("delete", "10d", table_name="*", recoverable="7d", target_repository_name="archive")
    rates = {TableName("doc", "a"): 10, TableName("doc", "b"): 30}
    tables = [make_table("day", 30, each_day(rows), name) for name, rows in rates.items()]
    made = simulate(present(tables, [week, policy(retention="40d", table_name="*", id="later")], 30))
    for name, rows in rates.items():
        kept = series_of(made, Part.ARCHIVE, name)
        assert (kept.partitions[-1], kept.rows[-1], (kept.size or [])[-1]) == (7, 7 * rows, 70 * rows)


@pytest.mark.parametrize(("month", "grids"), [("2024-06-01", 2), ("2024-06-15", 0)])
def test_values_that_no_expression_gives(month: str, grids: int) -> None:
    """Where a partition has another value than its expression gives, those to come are unknown."""
    parts = [Partition(values=(ms(month), ms("2024-06-15")), ident="p", rows=9, token="t")]
    there = table([TS, VALUE, MONTH, DAILY], ["month", "day"], parts)
    assert len(find_grids(there, make_target(policy(), there).grids)) == grids


def test_days_within_months() -> None:
    """Where months and days partition a table, rows go on in the partition of today, and new days are in its month."""
    today = ms("2024-07-11")
    days = [today + day * DAY_MS for day in range(-20, 1)]
    parts = [Partition(values=(MONTHS.floor(day), day), ident=f"p{day}", rows=9, size=90, token="t") for day in days]
    there = table([TS, VALUE, MONTH, DAILY], ["month", "day"], parts)
    found = series_of(simulate(present([there], [policy(retention="1y")], 3, now="2024-07-11T12:00")))
    assert found.partitions == [21, 22, 23, 24]


@pytest.mark.parametrize(
    ("limits", "holds", "left"),
    [
        (None, [], 10),
        (
            None,
            [LegalHold(id="h", table_schema="doc", table_name="b", start=ms("2024-06-10"), end=ms("2024-06-12"))],
            12,
        ),
        ({"rows": 500}, [], 60),
    ],
    ids=["alike", "held", "limited"],
)
def test_what_sets_tables_apart(limits: dict[str, int] | None, holds: list[LegalHold], left: int) -> None:
    """One of tables that are alike is planned for all; not of one under a hold, nor if a limit counts its rows."""
    rules = [policy(retention="10d", table_name="*", expected_max=limits), policy("delete", "1y", table_name="*")]
    rates = {TableName("doc", "a"): 10, TableName("doc", "b"): 30}
    tables = [make_table("day", 30, each_day(rows), name) for name, rows in rates.items()]
    made = simulate(present(tables, rules, 30, holds=holds))
    rows = [series_of(made, name=name).rows[-1] for name in rates]
    assert rows == [10 * 10, left * 30]


def test_periods_count_as_stated() -> None:
    """Of policies of the same period, one counts from the present instant, and one from the start of its day."""
    rules = [
        policy(retention="10d", table_name="a"),
        policy("delete", "10d", id="days", table_name="b", cutoff_by="day"),
    ]
    tables = [make_table("hour", 20, lambda day: 240, TableName("doc", name)) for name in "ab"]
    made = simulate(present(tables, rules, 30, now=f"{NOW}T12:00"))
    assert [series_of(made, name=each.name).rows[-1] for each in tables] == [10 * 240, 10 * 240 + 120]


def archived_in_may(policy_id: str, until: str | None = None) -> SnapshotRecord:
    """An archive with the 50 rows of a day."""
    archived = Archived(
        repository="archive",
        name="a",
        table=METRICS,
        columns=(DAILY,),
        values=(ms("2024-05-01"),),
        rows=50,
        size=500,
        start=ms("2024-05-01"),
        end=ms("2024-05-02"),
    )
    return SnapshotRecord(
        archived=archived,
        stage=SnapshotStage.ARCHIVED,
        changed_at=at(NOW),
        policy_id=policy_id,
        recoverable_until=at(until) if until else None,
    )


@pytest.mark.parametrize(("policy_id", "left"), [("week", 0), ("another", 50)])
def test_recoverable_data_that_exists_counts(policy_id: str, left: int) -> None:
    """It ends when it was deleted long enough ago, if the policy that deleted it is still recoverable."""
    rule = policy("delete", "30d", id="week", recoverable="30d", target_repository_name="archive")
    given = [archived_in_may(policy_id, "2024-07-05")]
    made = simulate(present([make_table("day", 20, lambda day: 50)], [rule], 5, archives=given))
    assert series_of(made, Part.ARCHIVE).rows == [50] * 4 + [left] * 2


def test_archives_that_exist_count() -> None:
    """They are there from the start, and end like the others."""
    rule, given = policy("snapshot", "30d", archive_period="70d"), [archived_in_may("snapshot-30d")]
    made = simulate(present([make_table("day", 20, lambda day: 50)], [rule], 40, archives=given))
    kept = series_of(made, Part.ARCHIVE)
    assert (kept.rows[0], kept.rows[9], kept.rows[10]) == (50, 50, 0)
    assert kept.rows[40] == 50 * 30


def test_bytes_of_rows_that_were_just_written() -> None:
    """A partition that is still written to may take ten times as much space; those that are complete count."""
    there = make_table("day", 20, steady)
    today = Partition(values=(ms(NOW),), ident="p", rows=50, size=100 * 50, token="t")
    tables = [replace(there, partitions=(*there.partitions, today))]
    found = series_of(simulate(present(tables, [policy(retention="1y")], 10, now=f"{NOW}T12:00")))
    assert found.size is not None
    assert found.size[-1] - found.size[0] == 10 * (found.rows[-1] - found.rows[0]) > 0


def test_restored_data_is_archived_again() -> None:
    """In the archive that it came from, which takes no more space than before."""
    record = replace(archived_in_may("p"), stage=SnapshotStage.RESTORED)
    back = Partition(values=record.archived.values, ident="p", rows=50, size=500, token="t")
    names = {(METRICS, back.values, back.token): record.key}
    tables, rule = [table([TS, VALUE, DAILY], ["day"], [back])], policy("snapshot", "10d", id="p")
    found = series_of(simulate(present(tables, [rule], 5, archives=[record], restored=names)), Part.ARCHIVE)
    assert (found.partitions, found.rows) == ([1] * 6, [50] * 6)


def test_replicas_and_shards() -> None:
    """Sizes are those of all copies; each partition has its shards."""
    storage = {METRICS: Storage(shards=4, copies=2.0)}
    outcome = simulate(
        present([make_table("day", 20, lambda day: 100)], [policy(retention="10d")], 20, storage=storage)
    )
    found = series_of(outcome)
    assert found.size is not None
    assert found.shards is not None
    assert (found.size[0], found.size[-1]) == (20 * 1000 * 2, 10 * 1000 * 2)
    assert [event.size for event in outcome.events] == [20 * event.rows for event in outcome.events]
    assert (found.shards[0], found.shards[-1]) == (20 * 8, 10 * 8)


def test_compacted_partitions_have_fewer_copies() -> None:
    """With number_of_replicas, a copy is saved once the partition is compact, until it is deleted."""
    rules = [policy("compact", "10d", number_of_replicas=0), policy(retention="20d")]
    storage = {METRICS: Storage(shards=1, copies=2.0)}
    tables = [make_table("day", 30, lambda day: 100, replicas="1")]
    outcome = simulate(present(tables, rules, 30, storage=storage))
    found = series_of(outcome)
    assert found.size is not None
    assert found.size[1:] == [10 * 2000 + 10 * 1000] * 30
    assert found.shards is not None
    assert found.shards[-1] == 10 * 2 + 10
    assert {event.kind for event in outcome.events} == {Kind.COMPACT, Kind.DELETE}


def test_moved_partitions_stay() -> None:
    """They are moved once."""
    rule = policy("reallocate", "10d")
    tables = [make_table("day", 30, lambda day: 100)]
    outcome = simulate(present(tables, [rule], 30))
    moved = [event for event in outcome.events if event.kind is Kind.MOVE]
    assert sum(event.partitions for event in moved) == 30 + 30 - 10
    assert series_of(outcome).rows[-1] == 60 * 100


def test_tenants_grow_on_their_own() -> None:
    """Each tenant has its own growth, and its own retention period."""
    parts = [
        Partition(values=(name, start), ident=f"{name}{start}", rows=rows, size=rows, token="t")
        for name, rows in (("a", 10), ("b", 1000))
        for start, _, _ in days_before(40, lambda day: 0)
    ]
    both = table([TS, TENANT, DAILY], ["tenant", "day"], parts)
    rules = [policy(retention="30d"), policy(retention="5d", id="short", where={"tenant": "b"})]
    outcome = simulate(present([both], rules, 20))
    assert series_of(outcome).rows[1:] == [30 * 10 + 5 * 1000] * 20


def test_limits_and_holds_block() -> None:
    """What the planner blocks stays: more than expected at once, and what is under a hold."""
    tables = [make_table("day", 40, lambda day: 100)]
    limited = policy(retention="10d", expected_max={"partitions": 5})
    assert series_of(simulate(present(tables, [limited], 20))).rows[-1] == 60 * 100
    hold = LegalHold(id="h", table_schema="doc", table_name="metrics", start=ms("2024-06-10"), end=ms("2024-06-12"))
    held = simulate(present(tables, [policy(retention="10d")], 40, holds=[hold]))
    assert series_of(held).rows[-1] == (10 + 2) * 100


def test_schedule_says_when_it_runs() -> None:
    """A weekly policy removes seven days at once, on Sundays."""
    rule = policy(retention="10d", schedule="0 0 * * 0")
    outcome = simulate(present([make_table("day", 40, lambda day: 100)], [rule], 28))
    assert [from_ms(outcome.times[event.day]).strftime("%a") for event in outcome.events] == ["Sun"] * 4
    assert [event.partitions for event in outcome.events][1:] == [7] * 3


def test_disabled_policies_and_growth_without_any() -> None:
    """Nothing is removed, and the table grows."""
    off = policy(retention="10d", enabled=False)
    outcome = simulate(present([make_table("week", 70, lambda day: 100)], [off], 70))
    assert series_of(outcome).rows[-1] == 140 * 100
    assert not outcome.events


RULES: list[dict[str, Any]] = [
    {"strategy": "delete", "retention": "20d"},
    {"strategy": "delete", "retention": "1mo", "time_zone": "America/New_York"},
    {"strategy": "delete", "retention": "20d", "cutoff_by": "day", "time_zone": "Asia/Kathmandu"},
    {"strategy": "delete", "retention": "9d", "schedule": "0 3 * * 2"},
    {"strategy": "delete", "retention": "forever"},
    {"strategy": "snapshot", "retention": "15d"},
    {"strategy": "snapshot", "retention": "15d", "archive_period": "30d"},
    {"strategy": "snapshot", "retention": "3d", "archive_period": "3d", "schedule": "30 1 * * 1,4"},
    {"strategy": "delete", "retention": "15d", "recoverable": "5d", "target_repository_name": "archive"},
    {"retention": "9d", "recoverable": "1mo", "target_repository_name": "archive", "schedule": "0 3 * * 2"},
]


@pytest.mark.parametrize("unit", ["hour", "day", "week", "month"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: "-".join(map(str, rule.values())))
@pytest.mark.some(12)
def test_one_plan_for_all_days_says_what_daily_plans_say(unit: str, rule: dict[str, Any]) -> None:
    """A table with one policy is planned once; this is the same as a plan for each day."""
    hold = LegalHold(id="h", table_schema="doc", table_name="metrics", start=ms("2024-06-10"), end=ms("2024-06-12"))
    rules = [policy(**rule)]
    past, days = (15, 30) if unit == "hour" else (90, 75)
    tables = [make_table(unit, past, lambda day: 24 * (40 if day % 7 in (5, 6) else 100))]
    given = present(tables, rules, days, now="2024-07-01T05:30:00", holds=[hold])
    once = simulate(given)
    with patch.object(Simulation, "_leaps", lambda *_: False):
        daily = simulate(given)
    assert once == daily


ROWS_RULES: list[dict[str, Any]] = [
    {"retention": "20d"},
    {"retention": "1mo", "time_zone": "America/New_York"},
    {"retention": "9d", "schedule": "0 3 * * 2"},
    {"retention": "forever"},
]


def plain(past: int, rows: Rate, name: TableName = METRICS) -> dict[str, Any]:
    """What is known of a table without partitions, with the rows of some past days."""
    found = days_before(past, rows)
    probe = WindowRows(table=name, time_column=TS, interval=DAY, zone="UTC")
    measured = Measurements(windows={probe: [(start, round(count), "") for start, _, count in found]})
    return {"tables": [table([TS, VALUE], rows=round(sum(row[2] for row in found)), name=name)], "measured": measured}


@pytest.mark.parametrize("rule", ROWS_RULES, ids=lambda rule: "-".join(map(str, rule.values())))
def test_rows_that_expire_one_by_one_are_planned_once(rule: dict[str, Any]) -> None:
    """A table without partitions as well, with the rows under a legal hold; this is the same as a plan for each day."""
    hold = LegalHold(id="h", table_schema="doc", table_name="metrics", start=ms("2024-06-10"), end=ms("2024-06-12"))
    about = plain(90, lambda day: 0 if day % 7 == 6 else 100)
    given = present(about["tables"], [policy(**rule)], 75, holds=[hold], measured=about["measured"])
    once = simulate(given)
    with patch.object(Simulation, "_leaps", lambda *_: False):
        assert simulate(given) == once
    assert (once.events == ()) == (rule["retention"] == "forever")


def test_for_how_many_days_there_is_data() -> None:
    """From the oldest partition until each day; what is under a hold reaches back further; archives as well."""
    rule = policy("snapshot", "10d", archive_period="20d")
    hold = LegalHold(id="h", table_schema="doc", table_name="metrics", start=ms("2024-06-10"), end=ms("2024-06-11"))
    made = simulate(present([make_table("day", 30, steady)], [rule], 30))
    assert series_of(made).reach == [30, *[10] * 30]
    kept = series_of(made, Part.ARCHIVE)
    assert kept.reach == [None, 31, *[20] * 29]
    held = simulate(present([make_table("day", 30, steady)], [rule], 30, holds=[hold]))
    assert series_of(held).reach == [30, *range(22, 52)]
    months = simulate(present([make_table("month", 182, steady)], [policy(retention="30d")], 62))
    assert [series_of(months).reach[day] for day in (0, 1, 29, 30, 31, 60, 61, 62)] == [182, 31, 59, 30, 31, 60, 30, 31]
    about = plain(90, steady)
    rows = simulate(present(about["tables"], [policy(retention="20d")], 30, measured=about["measured"]))
    assert series_of(rows).reach == [90, *[20] * 30]
    unknown = simulate(present([table([TS, VALUE], rows=10)], [policy(retention="20d")], 3))
    assert series_of(unknown).reach == [None] * 4


def test_only_chosen_tables_are_simulated() -> None:
    """They are as in a forecast of all tables, and the others are not there."""
    names = [TableName("doc", name) for name in "ab"]
    tables, rule = [make_table("day", 30, steady, name) for name in names], policy(retention="10d", table_name="*")
    whole = simulate(present(tables, [rule], 20))
    given = present(tables, [rule], 20)
    given.chosen = frozenset({names[0]})
    some = simulate(given)
    assert some.series == tuple(series for series in whole.series if series.table == names[0])
    assert some.events == tuple(event for event in whole.events if event.table == names[0])


def test_tables_of_disabled_policies_grow() -> None:
    """A disabled policy states the time of data as well; a level that no policy rolls up does not grow."""
    about, off = plain(90, steady), policy(retention="20d", enabled=False)
    assert any(isinstance(probe, WindowRows) for probe in present(about["tables"], [off], 30).probes())
    made = simulate(present(about["tables"], [off], 30, measured=about["measured"]))
    assert series_of(made).rows[-1] == 120 * 100


def test_which_time_is_measured() -> None:
    """That of the policy that acts, whatever a disabled one states."""
    there = [table([TS, VALUE, column("received")], rows=100)]
    rules = [policy(time_column="ts"), policy(id="off", time_column="received", enabled=False)]
    probes = present(there, rules, 30).probes()
    assert [probe.time_column for probe in probes if isinstance(probe, WindowRows)] == [TS]


def test_level_that_was_not_computed_for_days() -> None:
    """The next run computes what it lacks, and then grows as before."""
    db = SimulatedDatabase(policies=[policy("downsample", "forever", levels="1h:forever")])
    for day in range(-20, 0):
        for hour in range(5):
            db.write(ms(NOW) + day * DAY_MS + hour * 3_600_000)
        if day < -5:
            db.run(from_ms(ms(NOW) + (day + 1) * DAY_MS))
    found = simulate(Present(facts=Facts(policies=db.policies, **db.facts(at(NOW)), ledger=db.ledger), days=3))
    rows = series_of(found, Part.LEVEL, TableName("doc", "metrics_1h")).rows
    assert rows == [15 * 5, 21 * 5, 22 * 5, 23 * 5]


def cascade(table_unit: str = "day", past: int = 40, **more: Any) -> Present:
    """A table that was not downsampled yet, with a policy that does."""
    rule = policy("downsample", "10d", levels="1h:30d,1d:forever", **more)
    return present([make_table(table_unit, past, lambda day: 2400)], [rule], 60)


def test_new_cascade_of_an_open_month() -> None:
    """Its rows are of the days until now, and none of them is in a partition of a day to come."""
    rule, there = policy("downsample", "10d", levels="1h:10d"), make_table("month", 10, steady)
    july = replace(there, partitions=tuple(p._replace(values=(ms(NOW),)) for p in there.partitions[-1:]))
    made = simulate(present([july], [rule], 2, now="2024-07-09"))
    assert series_of(made, Part.LEVEL, TableName("doc", "metrics_1h")).partitions[1] == 9


def test_new_cascade() -> None:
    """Levels are created, and hold a row for each bucket, since there are no dimensions; raw rows go once rolled up."""
    outcome = simulate(cascade())
    assert series_of(outcome).rows[1:] == [10 * 2400] * 60
    hours = series_of(outcome, Part.LEVEL, TableName("doc", "metrics_1h"))
    days = series_of(outcome, Part.LEVEL, TableName("doc", "metrics_1d"))
    assert hours.rows[0] == days.rows[0] == 0
    assert days.rows[-1] - days.rows[1] == 59
    assert hours.rows[-1] == pytest.approx(30 * 24, abs=7 * 24)
    assert hours.source == METRICS


CASCADES = ["1h:30d,1d:forever", "1h:10d,1d:10d,1mo:forever", "1d:forever", "1w:90d", "1mo:1y"]


@pytest.mark.parametrize("unit", ["day", "week", "month"])
@pytest.mark.parametrize("levels", CASCADES)
@pytest.mark.some(6)
def test_days_on_which_nothing_is_due_are_skipped(unit: str, levels: str) -> None:
    """Plans only on days on which something can be due give the same as plans on each day."""
    rule = policy("downsample", "10d", levels=levels)
    first = policy("snapshot", "20d", table_name="other", id="s")
    if levels == CASCADES[-1]:
        week = {"recoverable": "7d", "target_repository_name": "archive"}
        first = policy("delete", "20d", table_name="other", id="s", **week)
    others = [first, policy(retention="40d", table_name="other")]
    tables = [make_table(unit, 60, lambda day: 240), make_table(unit, 60, lambda day: 24, TableName("doc", "other"))]
    given = present(tables, [rule, *others], 60)
    skipping = simulate(given)
    with patch.object(Simulation, "_due_from", lambda *_: float("-inf")):
        assert simulate(given) == skipping


def test_days_on_which_recoverable_data_ends() -> None:
    """There is a plan for these days as well."""
    week = policy("delete", "10d", recoverable="7d", target_repository_name="archive")
    given = present([make_table("month", 182, steady)], [week, policy(retention="1y", id="later")], 60)
    skipping = simulate(given)
    with patch.object(Simulation, "_due_from", lambda *_: float("-inf")):
        assert simulate(given) == skipping
    kept = series_of(skipping, Part.ARCHIVE).partitions
    assert [kept[day] for day in (0, 1, 7, 8, 10, 16, 17)] == [0, 5, 5, 0, 1, 1, 0]


# Conclusions


def forecast(sizes: Sequence[int], **more: Any) -> Forecast:
    """A forecast of one table, with these sizes."""
    outcome = simulate(present([make_table("day", 20, lambda day: 1)], [policy()], len(sizes) - 1))
    series = series_of(outcome)
    changed = Series(**{**vars(series), "size": list(sizes)})
    return Forecast(times=outcome.times, series=(changed,), events=(), **more)


def test_when_the_disk_is_full() -> None:
    """The first day on which the data does not fit, with all that is there otherwise."""
    assert forecast([1, 5, 10, 4], capacity=9).full == 2
    assert forecast([1, 5, 10, 4], capacity=10).full is None
    assert forecast([1, 5, 10, 4], capacity=10, other=5).full == 2
    assert forecast([1, 5, 10, 4], capacity=9, other=5).full == 1
    assert forecast([1, 5, 10, 4]).full is None
    assert forecast([1, 5, 10, 4]).peak == 2


def test_what_differs() -> None:
    """Of two sets of policies: tables whose bytes differ, as those with fewer copies, though they have as many rows."""
    first, same, other = (forecast(sizes) for sizes in ([10, 20], [10, 20], [10, 15]))
    assert differences(first, same) == []
    [found] = differences(first, other)
    assert found.both == (first.series[0], other.series[0])


def test_work_is_of_one_policy() -> None:
    """What the runs of several days do is together, but not what several policies do to a table."""
    of = {"kind": Kind.DELETE, "table": METRICS, "partitions": 1, "rows": 10, "size": 100}
    events = [Event(day=day, policy_id=name, **of) for day in (1, 2) for name in ("one", "other")]  # type: ignore[arg-type]
    works = Forecast(times=range(3), series=(), events=tuple(events)).works
    assert [(work.first.policy_id, work.last.day, work.whole.rows) for work in works] == [
        ("one", 2, 20),
        ("other", 2, 20),
    ]


def test_cost() -> None:
    """The price of a gigabyte in a month, for as many days as it is there."""
    found = forecast([10**9] * 31, price=0.5)
    assert found.cost == pytest.approx(0.5 * 30 / 30.44, rel=0.001)
    assert found.monthly is not None
    assert found.monthly[0] == 0.5
    assert forecast([1, 2]).cost is None


def test_end() -> None:
    """A length or an instant; in the future, and not too far."""
    now = dt.datetime(2024, 1, 31, 12, tzinfo=UTC)
    assert read_until("+1mo", now) == dt.datetime(2024, 3, 1, tzinfo=UTC)
    assert read_until("2024-02-02", now) == dt.datetime(2024, 2, 2, tzinfo=UTC)
    assert count_days(now, read_until("2024-02-02", now)) == 2
    assert count_days(now, read_until("+1d", now)) == 1
    for text, why in (("+0d", "not in the future"), ("2024-01-01", "not in the future"), ("+11y", "10 years away")):
        with pytest.raises(InvalidInput, match=why):
            count_days(now, read_until(text, now))
    for text in ("+forever", "soon", "+", "1y", "+-1d"):
        with pytest.raises(InvalidInput):
            read_until(text, now)
