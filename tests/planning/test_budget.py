"""Budgets: the oldest partitions expire when there is more than ``max_size``, no more than needed, and none early."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cratedb_retention.model.catalog import Partition, TableName, Value
from cratedb_retention.model.forecast import Part, Storage
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.plan import DropArchived, DropPartitions, Plan, Task
from cratedb_retention.model.plan.reasons import Why
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.rollups.rollup import level_table
from cratedb_retention.model.step import Piece
from cratedb_retention.model.time import DAY_MS, from_ms, to_ms
from cratedb_retention.planning.facts import Facts
from cratedb_retention.planning.forecast.present import Present
from cratedb_retention.planning.forecast.simulation import Simulation, simulate
from cratedb_retention.planning.plan.budget import Candidate, find_least
from support.catalogs import (
    DAILY,
    METRICS,
    TENANT,
    TS,
    VALUE,
    at,
    catalog,
    dropped,
    dropped_starts,
    ms,
    part,
    policy,
    reasons,
    table,
    touched,
)
from support.planning import make_plan
from support.simulation import SimulatedDatabase
from support.tiers import examples

NOW = at("2024-07-01")
EVENTS = TableName("doc", "events")


def sized(strategy: str = "delete", retention: str = "forever", **attributes: Any) -> Policy:
    """A policy that keeps at most 1,000 bytes, and at least 7 days."""
    return policy(strategy, retention, **{"max_size": "1kB", "min_retention": "7d", **attributes})


def daily(sizes: Sequence[int | None], name: TableName = METRICS, last: str = "2024-06-30", **facts: Any) -> Any:
    """A table with a partition of each size, one a day, until a day."""
    first = ms(last) - (len(sizes) - 1) * DAY_MS
    parts = [part(size=size, **facts) for size in sizes]
    own = [each._replace(values=(first + day * DAY_MS,)) for day, each in enumerate(parts)]
    return table([TS, VALUE, DAILY], ["day"], own, name)


def days(plan: Plan) -> list[int]:
    """The days of June whose partitions a plan drops."""
    return [int(start.rpartition("-")[2]) for start in dropped_starts(plan)]


# The decision


@dataclass(frozen=True)
class Case:
    """Partitions by their end and their size, and the bytes that there are too many."""

    parts: tuple[tuple[int, int], ...]
    excess: int

    @property
    def candidates(self) -> list[Candidate]:
        """The partitions, numbered."""
        return [
            Candidate(end, size, METRICS, Piece(Partition(values=(number,), size=size), end - 1, end))
            for number, (end, size) in enumerate(self.parts)
        ]


def solve(case: Case) -> list[set[int]]:
    """
    All least sets of partitions, by trying every set: it brings the excess down to nothing or is all that there is, no
    partition stays that is older than one that goes, and no set of fewer partitions does the same.
    """
    parts = [(number, end, size) for number, (end, size) in enumerate(case.parts) if size]
    every = list(chain.from_iterable(combinations(parts, count) for count in range(len(parts) + 1)))

    def oldest_first(chosen: Sequence[tuple[int, int, int]]) -> bool:
        newest = max((end for _, end, _ in chosen), default=0)
        return all(each in chosen for each in parts if each[1] < newest)

    enough = [chosen for chosen in every if sum(size for *_, size in chosen) >= case.excess]
    fitting = [chosen for chosen in (enough or [tuple(parts)]) if oldest_first(chosen)]
    least = min(map(len, fitting))
    return [{number for number, *_ in chosen} for chosen in fitting if len(chosen) == least]


cases = st.builds(
    Case,
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9)), max_size=8).map(tuple),
    st.integers(-2, 40),
)


@settings(max_examples=examples(100, 5000), deadline=None)
@given(cases)
def test_nothing_goes_that_need_not(case: Case) -> None:
    """An exact solver, which tries all sets, finds none that is smaller."""
    found = find_least(case.candidates, case.excess)
    chosen = {each.piece.partition.values[0] for each in found}
    assert chosen in solve(case)
    assert [each.end for each in found] == sorted(each.end for each in found)
    # Each of those of the newest instant is needed.
    newest, freed = (found[-1].end if found else 0), sum(each.size for each in found)
    assert all(freed - each.size < case.excess for each in found if each.end == newest)


def test_of_those_that_end_together() -> None:
    """One that suffices goes, and the smallest of these; if none does, the largest goes first."""

    def going(*sizes: int, excess: int) -> list[int]:
        return [each.size for each in find_least(Case(tuple((1, size) for size in sizes), excess).candidates, excess)]

    assert going(1, 10, 5, 100, excess=5) == [5]
    assert going(1, 10, 5, 100, excess=101) == [100, 1]
    assert going(1, 10, 5, 100, excess=112) == [100, 10, 5]
    assert going(0, 0, excess=1) == [], "what has no bytes frees none"


# Plans


def test_the_oldest_go_until_it_fits() -> None:
    """Thirty days of 100 bytes, of which 1,000 bytes fit; the next run has nothing to do."""
    plan = make_plan([sized()], catalog(daily([100] * 30)), NOW)
    assert days(plan) == list(range(1, 21))
    assert plan.blocked == ()
    left = make_plan([sized()], catalog(daily([100] * 10)), NOW)
    assert (left.tasks, left.blocked) == ((), ())


def test_reason_names_budget_size_and_floor() -> None:
    """What is due by its age has the usual reason, what is due by its size another one, in tasks of their own."""
    plan = make_plan([sized(retention="25d")], catalog(daily([100] * 30)), NOW)
    assert [(task.partitions, task.reason) for task in plan.tasks] == [
        (5, "end 2024-06-02 to 2024-06-06, the last kept until 2024-07-01"),
        (
            15,
            "2.5kB in 1 table, more than max_size 1kB; the oldest go first, up to 2024-06-21, and none younger than "
            "min_retention 7d",
        ),
    ]
    assert [task.code for task in plan.tasks] == ["end", "over-budget"]


def test_what_expires_anyway_makes_room() -> None:
    """Twenty days have expired, and the other ten are not too many; nor is what another policy deletes now."""
    assert days(make_plan([sized(retention="10d")], catalog(daily([100] * 30)), NOW)) == list(range(1, 21))
    rules = [sized(), policy("delete", "10d")]
    assert days(make_plan(rules, catalog(daily([100] * 30)), NOW)) == list(range(1, 21))
    # A policy that is not part of the run deletes nothing.
    some = [sized(), policy("delete", "25d")]
    plan = make_plan(some, catalog(daily([100] * 30)), NOW, chosen=lambda each: each is some[0])
    assert days(plan) == list(range(1, 21))
    # Only tenant a expires by its age, which is enough.
    parts = [part(tenant, f"2024-06-{day:02}", size=50) for day in range(10, 31) for tenant in "ab"]
    found = catalog(table([TS, TENANT, DAILY], ["tenant", "day"], parts))
    rules = [sized(max_size="1.1kB"), policy("delete", "1d", where={"tenant": "a"})]
    assert {values[0] for values in dropped(make_plan(rules, found, NOW))} == {"a"}
    assert {values[0] for values in dropped(make_plan(rules[:1], found, NOW))} == {"a", "b"}


def test_floor() -> None:
    """What is younger than ``min_retention`` stays, however much it is, and that needs attention."""
    plan = make_plan([sized(min_retention="24d")], catalog(daily([100] * 30)), NOW)
    assert days(plan) == list(range(1, 7))
    [blocked] = plan.needs_attention
    assert (blocked.table, blocked.code) == (METRICS, "budget-exceeded")
    assert blocked.reason == (
        "2.4kB would be left in 1 table, more than max_size 1kB: the rest is younger than min_retention 24d, under a "
        "legal hold, of unknown age, or blocked; raise max_size, or lower min_retention"
    )
    # To the millisecond: the partition of 30 May ends with it.
    for cutoff, count in ((NOW, 0), (NOW + dt.timedelta(milliseconds=-1), 0), (NOW + dt.timedelta(days=1), 1)):
        rule = sized(max_size="1", min_retention="31d")
        assert len(dropped(make_plan([rule], catalog(daily([100] * 31)), cutoff))) == count, cutoff


def test_holds() -> None:
    """Data under a legal hold counts and stays, so more of the other data goes; that it exceeds the budget is said."""
    hold = LegalHold(id="h1", table_schema="doc", table_name="metrics", start=ms("2024-06-03"), end=ms("2024-06-06"))
    found = catalog(daily([100] * 30))
    assert days(make_plan([sized()], found, NOW, holds=[hold])) == [1, 2, *range(6, 24)]
    # Also what has expired by its age.
    first = replace(hold, start=ms("2024-06-01"), end=ms("2024-06-03"))
    assert days(make_plan([sized(retention="25d")], found, NOW, holds=[first])) == list(range(3, 23))
    rule = sized(max_size="200")
    plan = make_plan([rule], found, NOW, holds=[hold])
    assert days(plan) == [1, 2, *range(6, 24)]
    assert [blocked.code for blocked in plan.needs_attention] == ["budget-exceeded"]


def test_blocked_partitions_are_waited_for() -> None:
    """No younger data goes in the place of a partition that cannot go for the moment, and it is said."""
    found = daily([100] * 30)
    broken = found.partitions[0]._replace(missing_shards=1)
    found = replace(found, partitions=(broken, *found.partitions[1:]))
    plan = make_plan([sized()], catalog(found), NOW)
    assert days(plan) == list(range(2, 21))
    assert [blocked.code for blocked in plan.needs_attention] == ["missing-shards", "budget-exceeded"]


def test_archived_before_dropped() -> None:
    """Each that goes by its size is archived and verified first; a policy that deletes leaves it alone."""
    plan = make_plan([sized("snapshot"), policy("delete", "1d")], catalog(daily([100] * 30)), NOW)
    assert len(touched(plan, DropArchived)) == 20
    assert touched(plan, DropPartitions) == []
    assert "archives it after forever" in reasons(plan)


def test_per_table_and_together() -> None:
    """By default each table has the budget; ``max_size_per: policy`` is for all of them, the oldest of all first."""
    tables = [daily([100] * 12), daily([100] * 20, EVENTS), daily([100] * 5, TableName("doc", "other"))]
    both = {"table_name": "*s"}
    plan = make_plan([sized(**both)], catalog(*tables), NOW)
    assert [(task.table.name, task.partitions) for task in plan.tasks] == [("events", 10), ("metrics", 2)]
    plan = make_plan([sized(**both, max_size_per="policy", max_size="2kB")], catalog(*tables), NOW)
    assert [(task.table.name, task.partitions) for task in plan.tasks] == [
        ("events", 9),
        ("metrics", 1),
        ("metrics", 1),
        ("events", 1),
    ]
    assert "3.2kB in 2 tables, more than max_size 2kB" in plan.tasks[0].reason
    plan = make_plan([sized(**both, max_size_per="policy", max_size="100")], catalog(*tables), NOW)
    [blocked] = plan.needs_attention
    assert blocked.table == TableName("doc", "*s")
    assert len(dropped(plan)) == 5 + 13


def test_the_newest_of_all_tables_goes_last() -> None:
    """Should the run be killed before, an older partition of another table would stay, and not be needed any more."""
    tables = [daily([200], EVENTS, last="2024-06-10"), daily([100, *[0] * 24, 100], last="2024-06-30")]
    plan = make_plan([sized(table_name="*s", max_size_per="policy", max_size="150")], catalog(*tables), NOW)
    assert [(task.table.name, task.partitions) for task in plan.tasks] == [("metrics", 1), ("events", 1)]


def test_engines_without_sizes_say_so() -> None:
    """Nothing is removed by a size that is unknown; the retention period counts as ever."""
    plan = make_plan([sized(retention="29d")], catalog(daily([*[100] * 29, None])), NOW)
    assert days(plan) == [1]
    assert "CrateDB does not tell the size of 1 partition; only the retention period counts" in reasons(plan)


def test_rows_are_not_deleted_by_size() -> None:
    """Without partitions of time, nothing of the table is deleted, and that needs attention."""
    plan = make_plan([sized(retention="30d")], catalog(table([TS, VALUE])), NOW)
    assert plan.tasks == ()
    assert [blocked.code for blocked in plan.needs_attention] == ["budget-needs-partitions"]


def test_limits_count_for_both() -> None:
    """``expected_max`` is for what is due by age and by size together."""
    found = catalog(daily([100] * 30))
    for most, count in ((20, 20), (19, 0)):
        plan = make_plan([sized(retention="25d", expected_max={"partitions": most})], found, NOW)
        assert len(dropped(plan)) == count
        codes = ["too-many-partitions", "budget-exceeded"]
        assert [blocked.code for blocked in plan.blocked] == ([] if count else codes)


def test_next_due_is_told_by_age() -> None:
    """Of what stays, the next that expires by its age; when there is too much is unknown."""
    [kept] = make_plan([sized(retention="25d")], catalog(daily([100] * 30)), NOW).up_to_date
    assert (kept.partitions, kept.next_due) == (10, ms("2024-07-17"))


# Laws, on made-up tables


@dataclass(frozen=True)
class Scenario:
    """Two tables of tenants and days, with holds, and a budget."""

    parts: tuple[tuple[str, str, int, int], ...]  # Table, tenant, day, size.
    most: int
    floor: int
    period: int
    held: tuple[tuple[str, int, int], ...]  # Tenant, and days [start, end).
    shared: bool

    @property
    def rule(self) -> Policy:
        """The policy on both tables."""
        kept, per = f"{self.period}d" if self.period else "forever", "policy" if self.shared else "table"
        floor = min(self.floor, self.period - 1) if self.period else self.floor
        return sized(retention=kept, table_name="*s", max_size=self.most, min_retention=f"{floor}d", max_size_per=per)

    def plan(self, parts: Sequence[tuple[str, str, int, int]]) -> Plan:
        """The plan for some of the partitions."""
        tables = [
            table(
                [TS, TENANT, DAILY],
                ["tenant", "day"],
                [
                    part(tenant, ms("2024-06-01") + day * DAY_MS, size=size)
                    for name, tenant, day, size in parts
                    if name == wanted.name
                ],
                wanted,
            )
            for wanted in (METRICS, EVENTS)
        ]
        return make_plan([self.rule], catalog(*tables), NOW, holds=list(self.holds()))

    def holds(self) -> Iterator[LegalHold]:
        """The legal holds."""
        for number, (tenant, start, end) in enumerate(self.held):
            times = [ms("2024-06-01") + day * DAY_MS for day in (start, end)]
            yield LegalHold(
                id=f"h{number}", table_schema="doc", table_name="*", where={"tenant": tenant}, start=times[0],
                end=times[1],
            )  # fmt: skip

    def may_go(self, one: tuple[str, str, int, int]) -> bool:
        """Whether a partition is old enough for the floor, and not under a hold."""
        _, tenant, day, _ = one
        floor = self.rule.min_retention
        old = ms("2024-06-01") + (day + 1) * DAY_MS <= to_ms(NOW) - (floor.seconds if floor else 0) * 1000
        return old and not any(of == tenant and start <= day < end for of, start, end in self.held)

    def expired(self, one: tuple[str, str, int, int]) -> bool:
        """Whether it is due by its age."""
        return bool(self.period) and ms("2024-06-01") + (one[2] + 1) * DAY_MS <= to_ms(NOW) - self.period * DAY_MS


def _unique(parts: list[tuple[str, str, int, int]]) -> tuple[tuple[str, str, int, int], ...]:
    return tuple({each[:3]: each for each in parts}.values())


scenarios = st.builds(
    Scenario,
    st.lists(
        st.tuples(
            st.sampled_from(["metrics", "events"]), st.sampled_from(["a", "b"]), st.integers(0, 29), st.integers(1, 50)
        ),
        max_size=10,
    ).map(_unique),
    st.integers(1, 300),
    st.integers(1, 28),
    st.one_of(st.just(0), st.integers(2, 30)),
    st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 20), st.integers(1, 10)).map(
            lambda each: (each[0], each[1], each[1] + each[2])
        ),
        max_size=2,
    ).map(tuple),
    st.booleans(),
)


def _gone(tasks: Iterable[Task]) -> set[tuple[Value, ...]]:
    """The table and the values of each partition that tasks drop."""
    return {(task.table.name, *piece.partition.values) for task in tasks for piece in task.steps[-1].about}


@settings(max_examples=examples(30, 2000), deadline=None)
@given(scenarios)
def test_laws_of_budgets(scenario: Scenario) -> None:
    """
    After a run there is no more than the budget, or nothing else that may go, and then it needs attention; no floor and
    no hold is broken, the oldest went, and no less would have been enough. Another run does nothing.
    """
    plan = scenario.plan(scenario.parts)
    gone = _gone(plan.tasks)
    key = {each: (each[0], each[1], ms("2024-06-01") + each[2] * DAY_MS) for each in scenario.parts}
    removed = {each for each in scenario.parts if key[each] in gone}
    by_age = {each for each in removed if scenario.expired(each)}
    assert all(map(scenario.may_go, removed))
    assert by_age == {each for each in scenario.parts if scenario.expired(each) and scenario.may_go(each)}
    attention = {each.table for each in plan.needs_attention if each.why.why is Why.BUDGET_EXCEEDED}
    for names in [("metrics", "events")] if scenario.shared else [("metrics",), ("events",)]:
        own = [each for each in scenario.parts if each[0] in names and each not in by_age]
        candidates = [each for each in own if scenario.may_go(each)]
        case = Case(tuple((each[2], each[3]) for each in candidates), sum(each[3] for each in own) - scenario.most)
        chosen = {number for number, each in enumerate(candidates) if each in removed}
        assert chosen in solve(case)
        left = sum(each[3] for each in own if each not in removed)
        told = TableName("doc", "*s" if scenario.shared else names[0])
        assert (left > scenario.most) == (told in attention)
    again = scenario.plan([each for each in scenario.parts if each not in removed])
    assert again.tasks == ()
    # Wherever the run is killed, the next one ends in the same state (law 7).
    for count in range(len(plan.tasks)):
        done = _gone(plan.tasks[:count])
        rest = scenario.plan([each for each in scenario.parts if key[each] not in done])
        assert done | _gone(rest.tasks) == gone


def test_levels_have_no_budget() -> None:
    """Of a cascade, only raw rows expire by their size, once they are rolled up; each row stays at one level."""
    rule = policy("downsample", "30d", levels="1h:60d,1d:forever", max_size=300, min_retention="2d")
    database, start = SimulatedDatabase(policies=[rule]), at("2024-05-01")
    for day in range(40):
        for hour in range(0, 24, 6):
            database.write(to_ms(start) + (day * 24 + hour) * 3_600_000)
        plan = database.run(start + dt.timedelta(days=day + 1))
        assert plan.needs_attention == ()
        assert database.shown() == database.written
        assert 10 * sum(database.raw.values()) == min(280, 40 * (day + 1))
    hours = database.levels[level_table(METRICS, rule.levels[0].interval)]
    assert sum(hours.values()) == 40 * 4, "hours are kept for 60 days, however much they are"


# Over time

# The bytes of each day, for three years.
CURVES: dict[str, Callable[[int], int]] = {
    "steady": lambda day: 100,
    "ever faster": lambda day: round(20 * 1.003**day),
    "by weekday": lambda day: (130, 120, 125, 140, 110, 30, 20)[day % 7],
    "in bursts": lambda day: 900 if day % 45 in (20, 21, 22) else 50,
    "with a pause": lambda day: 0 if 35 <= day < 50 else 80 if day < 35 else 150,
}
MOST, FLOOR = 3000, 14


@pytest.mark.some(2)
@pytest.mark.parametrize("curve", CURVES)
def test_years_under_a_budget(curve: str) -> None:
    """
    After each run there is at most the budget, or only what is younger than the floor, which needs attention. Each day
    the least goes: with the newest that went, it would be too much. What stays is an unbroken range up to now.
    """
    first, rate = ms("2023-06-05"), CURVES[curve]
    rule = sized(max_size=MOST, min_retention=f"{FLOOR}d")
    there, removed, exceeded = dict[int, int](), 0, 0
    days = examples(65, 3 * 365)
    for day in range(days):
        if rate(day):
            there[day] = rate(day)
        parts = [part(first + each * DAY_MS, size=size) for each, size in there.items()]
        plan = make_plan([rule], catalog(table([TS, DAILY], ["day"], parts)), from_ms(first + (day + 1) * DAY_MS))
        gone = [(values[0] - first) // DAY_MS for values in dropped(plan) if isinstance(values[0], int)]
        assert gone == sorted(there)[: len(gone)]
        assert all(each + 1 <= day + 1 - FLOOR for each in gone)
        sizes = [there.pop(each) for each in gone]
        left = sum(there.values())
        young = all(each > day - FLOOR for each in there)
        assert left <= MOST or young
        assert bool(plan.needs_attention) == (left > MOST)
        assert not sizes or left + sizes[-1] > MOST
        removed, exceeded = removed + len(gone), exceeded + (left > MOST)
    assert removed > 0 or sum(map(rate, range(days))) <= MOST
    assert bool(exceeded) == (curve == "in bursts" or (curve == "ever faster" and days > 800))


def growing(name: TableName, size: int, past: int = 20) -> Any:
    """A table to which as many bytes were added on each past day."""
    return daily([size] * past, name)


def test_forecast_applies_budgets() -> None:
    """The simulated runs remove what does not fit, day by day; tables that share a budget are simulated together."""

    def totals(rules: Sequence[Policy], *tables: Any) -> dict[str, Sequence[int] | None]:
        facts = Facts(policies=rules, catalog=catalog(*tables), cutoff=NOW)
        outcome = simulate(Present(facts=facts, days=30, storage={METRICS: Storage(copies=2.0)}))
        return {series.table.name: series.size for series in outcome.series if series.part is Part.TABLE}

    assert totals([sized()], growing(METRICS, 100)) == {"metrics": [2 * 2000] + [2 * 1000] * 30}
    assert totals([sized(min_retention="12d")], growing(METRICS, 100)) == {"metrics": [2 * 2000] + [2 * 1200] * 30}
    shared = sized(table_name="*s", max_size_per="policy")
    found = totals([shared], growing(METRICS, 30), growing(EVENTS, 70))
    assert found == {"metrics": [2 * 600] + [2 * 300] * 30, "events": [1400] + [700] * 30}
    apart = totals([sized(table_name="*s")], growing(METRICS, 30), growing(EVENTS, 70))
    assert (apart["metrics"] or [0])[-1] == 2 * 990
    assert (apart["events"] or [0])[-1] == 980


def test_forecast_names_budgets_that_cannot_be_met() -> None:
    """Once, on the first day on which a run does not meet it."""
    facts = Facts(policies=[sized(retention="1y")], catalog=catalog(growing(METRICS, 150)), cutoff=NOW)
    [note] = simulate(Present(facts=facts, days=10)).notes
    assert note.startswith("doc.metrics: on 2024-07-02, 1.05kB would be left in 1 table, more than max_size 1kB: ")


OF_EACH = [sized(max_size="900", retention="35d"), sized(id="e", table_name="events", max_size="700")]
OF_BOTH = [sized(table_name="*s", max_size="1300", max_size_per="policy")]


@pytest.mark.parametrize("rules", [OF_EACH, OF_BOTH], ids=["each", "both"])
def test_forecast_skips_days_without_work(rules: list[Policy]) -> None:
    """Plans only on days on which something can be due, by its age or its size, give the same as plans on each day."""
    tables = [growing(METRICS, 30), growing(EVENTS, 20)]
    known = Present(facts=Facts(policies=rules, catalog=catalog(*tables), cutoff=NOW), days=60)
    skipping = simulate(known)
    assert min(event.day for event in skipping.events) > 5
    with patch.object(Simulation, "_due_from", lambda *_: float("-inf")):
        assert simulate(known) == skipping


BUDGETS: list[dict[str, Any]] = [
    {},
    {"retention": "35d"},
    {"retention": "40d", "schedule": "0 5 * * 1", "min_retention": "3d"},
    {"strategy": "snapshot", "retention": "50d", "archive_period": "60d"},
    {"time_zone": "America/New_York", "cutoff_by": "day", "max_size": "3kB"},
]


@pytest.mark.some(6)
@pytest.mark.parametrize("rule", BUDGETS, ids=lambda rule: "-".join(map(str, rule.values())) or "size")
@pytest.mark.parametrize("curve", CURVES)
def test_forecast_plans_a_budget_once(curve: str, rule: dict[str, Any]) -> None:
    """One plan for all days says the same as a plan for each day, of what goes, when, and what does not fit."""
    sizes = [max(CURVES[curve](day), 1) for day in range(60)]
    tables = [replace(daily(sizes), partitions=tuple(p._replace(rows=p.size) for p in daily(sizes).partitions))]
    facts = Facts(policies=[sized(**rule)], catalog=catalog(*tables), cutoff=at("2024-07-01T06:30:00"))
    known = Present(facts=facts, days=120)
    once = simulate(known)
    with patch.object(Simulation, "_leaps", lambda *_: False):
        assert simulate(known) == once
    assert once.events


def test_forecast_plans_budgets_daily_where_not_only_age_and_size_decide() -> None:
    """Tenants, holds, and partitions of which shards are missing: the planner decides on each day."""
    holds = [LegalHold(id="h", table_schema="doc", table_name="metrics", start=ms("2024-06-20"), end=ms("2024-06-22"))]
    lost = daily([100] * 20)
    lost = replace(lost, partitions=(lost.partitions[0]._replace(missing_shards=1), *lost.partitions[1:]))
    tenants = [part(name, f"2024-06-{day:02}", size=50, rows=50) for day in range(11, 31) for name in "ab"]
    for found, known, leaps in (
        (daily([100] * 20), (), True),
        (daily([100] * 20), holds, False),
        (lost, (), False),
        (table([TS, TENANT, DAILY], ["tenant", "day"], tenants), (), False),
    ):
        rule = sized()
        facts = Facts(policies=[rule], catalog=catalog(found), cutoff=NOW, holds=known)
        assert Simulation(Present(facts=facts, days=5))._leaps([METRICS], [rule]) == leaps
