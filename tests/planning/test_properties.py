"""Laws of planning on made-up tables, policies, holds and cutoffs."""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cratedb_retention.model.catalog import Catalog, Kind, Partition, Value
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.measurements import Measurements, PartitionBounds
from cratedb_retention.model.plan.plan import DropPartitions, FreezePartitions, MovePartitions, Plan, ThawPartitions
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.policies.strategies import Strategy
from support.catalogs import (
    DAY,
    METRICS,
    MONTH,
    TENANT,
    TS,
    VALUE,
    at,
    catalog,
    column,
    dropped,
    pieces_of,
    policy,
    table,
    touched,
)
from support.planning import find_probes, make_plan
from support.tiers import examples

LABEL = column("label", Kind.TEXT, "date_format('%Y-%m', ts)")
TENANTS: tuple[Value, ...] = ("a", "b", None)
YEAR_MONTHS = [(2023 + i // 12, i % 12 + 1) for i in range(18)]
COLD = (("storage", "cold"),)
Values = tuple[Value, ...]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """
    What planning is given, and what is true about it.

    :param intervals: Start and end (ms) of each partition whose time is known.
    :param by_rows: Whether only the rows tell a partition's time.
    """

    partitions: tuple[Partition, ...]
    intervals: dict[Values, tuple[int, int]]
    by_rows: bool
    policies: tuple[Policy, ...]
    holds: tuple[LegalHold, ...]
    cutoff: dt.datetime

    @property
    def catalog(self) -> Catalog:
        """The catalog with the table."""
        time = LABEL if self.by_rows else MONTH
        return catalog(table([TS, TENANT, VALUE, time], ["tenant", time.name], self.partitions))

    def plan(self) -> Plan:
        """The plan, with the rows' answers and a note of what is frozen."""
        probes = find_probes(self.policies, self.catalog, self.cutoff, self.holds)
        bounds = {v: (start, end - 1) for v, (start, end) in self.intervals.items()}
        return make_plan(
            self.policies,
            self.catalog,
            self.cutoff,
            holds=self.holds,
            measurements=Measurements(bounds={probe: bounds for probe in probes if isinstance(probe, PartitionBounds)}),
            frozen=[(METRICS, partition.values) for partition in self.partitions if partition.frozen],
        )

    def after(self, plan: Plan) -> Scenario:
        """The same after the plan was executed."""
        gone, moved, thawed = set(dropped(plan)), touched(plan, MovePartitions), touched(plan, ThawPartitions)
        left = [partition for partition in self.partitions if partition.values not in gone]
        left = [p._replace(requires=COLD, nodes=frozenset({"cold-1"})) if p.values in moved else p for p in left]
        return replace(self, partitions=tuple(p._replace(frozen=p.frozen and p.values not in thawed) for p in left))


def limit_of(rule: Policy, cutoff: dt.datetime) -> float:
    """Before which instant (ms) data is expired, for whole days or whole months in UTC."""
    period, now = rule.retention_period, cutoff.timestamp() * 1000
    if period.forever:
        return float("-inf")
    if not period.months:
        return now - period.seconds * 1000
    month = cutoff.year * 12 + cutoff.month - 1 - period.months
    days = calendar.monthrange(month // 12, month % 12 + 1)[1]
    then = cutoff.replace(year=month // 12, month=month % 12 + 1, day=min(cutoff.day, days))
    return then.timestamp() * 1000


def fits(rule: Policy, values: Values) -> bool:
    """Whether a partition is a policy's business."""
    return "tenant" not in rule.where or rule.where["tenant"] == values[0]


def held_by(holds: Iterable[LegalHold], values: Values, interval: tuple[int, int]) -> bool:
    """Whether any instant and tenant of a partition is under a hold."""
    start, end = interval
    return any(
        ("tenant" not in hold.where or hold.where["tenant"] == values[0])
        and range(max(start, hold.start or 0), min(end, end if hold.end is None else hold.end))
        for hold in holds
    )


def _interval(month: tuple[int, int]) -> tuple[int, int]:
    year, number = month
    start = calendar.timegm((year, number, 1, 0, 0, 0))
    return start * 1000, start * 1000 + calendar.monthrange(year, number)[1] * DAY


# Most of it is well, most policies are about everything: else hardly anything would ever happen.
_FACTS: list[dict[str, Any]] = [
    *({"token": token} for token in ("", "t1", "t2", "t3")),
    {"missing_shards": 1},
    {"frozen": True},
    {"requires": COLD, "nodes": frozenset({"cold-1"})},
    {"requires": COLD, "nodes": frozenset({"hot-1"})},
]


@st.composite
def _partitions(draw: st.DrawFn, by_rows: bool) -> tuple[list[Partition], dict[Values, tuple[int, int]]]:
    keys = st.tuples(st.sampled_from(TENANTS), st.sampled_from([*YEAR_MONTHS, None]))
    partitions: list[Partition] = []
    intervals: dict[Values, tuple[int, int]] = {}
    for tenant, month in draw(st.lists(keys, min_size=1, max_size=20, unique=True)):
        name: Value = None
        if month:
            name = "{}-{:02}".format(*month) if by_rows else _interval(month)[0]
            intervals[tenant, name] = _interval(month)
        partitions.append(Partition(values=(tenant, name), rows=1, size=1, **draw(st.sampled_from(_FACTS))))
    return partitions, intervals


_Where = dict[str, Value]
_wheres = st.sampled_from([*([_Where()] * 4), *(_Where(tenant=tenant) for tenant in TENANTS)])
_periods = st.sampled_from(["0d", "30d", "45d", "90d", "1mo", "3mo", "1y", "forever"])


@st.composite
def policies(draw: st.DrawFn, periods: st.SearchStrategy[str] = _periods) -> list[Policy]:
    """Up to four policies with names of their own."""
    found = []
    for number in range(draw(st.integers(1, 4))):
        options: dict[str, Any] = {"where": draw(_wheres), "enabled": draw(st.integers(0, 5)) > 0}
        if draw(st.integers(0, 3)) == 0:
            options["expected_max"] = {"partitions": draw(st.integers(0, 3))}
        strategy = draw(st.sampled_from(["delete", "delete", "snapshot", "reallocate"]))
        found.append(policy(strategy, draw(periods), id=f"p{number}", **options))
    return found


_edges = st.sampled_from(YEAR_MONTHS).flatmap(
    lambda month: st.sampled_from([-1, 0, 1]).map(lambda shift: _interval(month)[0] + shift)
)
_hold = st.builds(
    LegalHold,
    id=st.uuids().map(str),
    table_schema=st.sampled_from(["", "doc", "*"]),
    table_name=st.sampled_from(["metrics", "m*"]),
    where=_wheres,
    start=_edges | st.none(),
    end=_edges | st.none(),
)
cutoffs = st.one_of(
    st.sampled_from(YEAR_MONTHS).map(lambda month: dt.datetime(month[0] + 1, month[1], 1, tzinfo=dt.UTC)),
    st.integers(0, 600 * DAY).map(lambda ms: at("2023-09-01") + dt.timedelta(milliseconds=ms)),
)


@st.composite
def scenarios(
    draw: st.DrawFn, rules: st.SearchStrategy[list[Policy]] | None = None, holds: tuple[int, int] = (0, 1)
) -> Scenario:
    """A scenario with these policies, or any, and so many holds."""
    by_rows = draw(st.booleans())
    partitions, intervals = draw(_partitions(by_rows))
    found = draw(policies() if rules is None else rules)
    held = draw(st.lists(_hold, min_size=holds[0], max_size=holds[1], unique_by=lambda hold: hold.id))
    return Scenario(
        partitions=tuple(partitions),
        intervals=intervals,
        by_rows=by_rows,
        policies=tuple(found),
        holds=tuple(held),
        cutoff=draw(cutoffs),
    )


PARTITIONED = ["delete", "snapshot", "reallocate"]
DAYS = st.sampled_from(["0d", "30d", "45d", "90d", "400d"])
MONTHS = st.sampled_from(["1mo", "3mo", "1y"])
one_policy = st.builds(
    lambda strategy, period, where: [policy(strategy, period, where=where)],
    st.sampled_from(["delete", "snapshot", "reallocate"]),
    DAYS | MONTHS | st.just("forever"),
    st.just({}) | st.just({"tenant": "a"}) | st.just({"tenant": None}),
)
by_days = st.builds(lambda strategy, period: [policy(strategy, period)], st.sampled_from(PARTITIONED), DAYS)
by_months = st.builds(lambda strategy, period: [policy(strategy, period)], st.sampled_from(PARTITIONED), MONTHS)
archived = st.builds(
    lambda first, then, where: [policy("delete", first), policy("snapshot", then, where=where)],
    DAYS,
    DAYS,
    st.just({}) | st.just({"tenant": "a"}),
)
lawful = settings(max_examples=examples(70, long=1500))


@lawful
@given(scenarios(holds=(0, 3)), st.data())
def test_same_input_same_plan(scenario: Scenario, data: st.DataObject) -> None:
    """The order in which policies, partitions and holds are listed makes no difference, byte for byte."""
    other = replace(
        scenario,
        partitions=tuple(data.draw(st.permutations(scenario.partitions))),
        policies=tuple(data.draw(st.permutations(scenario.policies))),
        holds=tuple(data.draw(st.permutations(scenario.holds))),
    )
    assert repr(scenario.plan()) == repr(other.plan())


@lawful
@given(scenarios())
def test_nothing_young_is_lost(scenario: Scenario) -> None:
    """Law 1: no step of a policy is about a partition whose end is after that policy's limit, or is unknown."""
    rules = {rule.id: rule for rule in scenario.policies}
    for task in scenario.plan().tasks:
        for step in task.steps:
            if task.policy_id is None:
                assert isinstance(step, ThawPartitions)
                continue
            rule = rules[task.policy_id]
            assert rule.enabled
            for piece in pieces_of(step):
                values = piece.partition.values
                assert scenario.intervals[values][1] <= limit_of(rule, scenario.cutoff)
                assert fits(rule, values)


@lawful
@given(scenarios(by_days, holds=(1, 2)))
def test_held_and_sick_data_is_left_alone(scenario: Scenario) -> None:
    """Nothing under a hold, and nothing of which shards are missing, is in any step of a policy."""
    for task in scenario.plan().tasks:
        for piece in [piece for step in task.steps for piece in pieces_of(step) if task.policy_id]:
            values = piece.partition.values
            assert not held_by(scenario.holds, values, scenario.intervals[values])
            assert not piece.partition.missing_shards


@lawful
@given(scenarios(archived, holds=(0, 0)))
def test_archived_rather_than_deleted(scenario: Scenario) -> None:
    """What any enabled policy archives, now or one day, is not deleted by another one."""
    archivers = [rule for rule in scenario.policies if rule.enabled and rule.strategy is Strategy.SNAPSHOT]
    for values in touched(scenario.plan(), DropPartitions):
        assert not [r for r in archivers if fits(r, values) and limit_of(r, scenario.cutoff) > float("-inf")]


@lawful
@given(scenarios())
def test_one_task_for_each_partition(scenario: Scenario) -> None:
    """No partition is in the tasks of two policies, so that these never get in each other's way."""
    tasks = [task for task in scenario.plan().tasks if task.policy_id]
    for_each_task = [{piece.partition.values for step in task.steps for piece in pieces_of(step)} for task in tasks]
    assert sum(len(values) for values in for_each_task) == len(set().union(*for_each_task))


@lawful
@given(scenarios(one_policy))
def test_one_verdict_for_each_partition(scenario: Scenario) -> None:
    """Each partition of a policy is in a task, in a hold, or kept: exactly one of these; or it was moved before."""
    plan, [rule] = scenario.plan(), scenario.policies
    mine = [partition for partition in scenario.partitions if fits(rule, partition.values)]
    tasks = sum(task.partitions for task in plan.tasks if task.policy_id)
    verdicts = tasks + sum(hold.count for hold in plan.blocked) + sum(kept.partitions for kept in plan.up_to_date)
    if rule.strategy is Strategy.REALLOCATE:
        assert verdicts <= len(mine)
    else:
        assert verdicts == len(mine)
    limit = limit_of(rule, scenario.cutoff)
    later = [p for p in mine if p.values not in scenario.intervals or scenario.intervals[p.values][1] > limit]
    unknown = [p for p in mine if p.values not in scenario.intervals]
    assert plan.up_to_date[0].partitions == len(later) - (len(unknown) if limit > float("-inf") else 0)


@lawful
@given(scenarios(by_days), st.integers(0, 10**10))
def test_later_never_unexpires(scenario: Scenario, later: int) -> None:
    """What a cutoff lets go a later one lets go too."""
    then = replace(scenario, cutoff=scenario.cutoff + dt.timedelta(milliseconds=later))
    assert set(touched(scenario.plan(), object)) <= set(touched(then.plan(), object))


@lawful
@given(scenarios(by_months), st.integers(0, 100))
def test_later_days_never_unexpire(scenario: Scenario, days: int) -> None:
    """The same for months, from midnight to midnight."""
    scenario = replace(scenario, cutoff=scenario.cutoff.replace(hour=0, minute=0, second=0, microsecond=0))
    then = replace(scenario, cutoff=scenario.cutoff + dt.timedelta(days=days))
    assert set(touched(scenario.plan(), object)) <= set(touched(then.plan(), object))


@lawful
@given(scenarios())
def test_converges(scenario: Scenario) -> None:
    """After a plan was executed, there is nothing left to do."""
    after = scenario.after(scenario.plan())
    assert after.plan().tasks == ()


@lawful
@given(scenarios())
def test_unsure_is_checked_again(scenario: Scenario) -> None:
    """A partition whose time only its rows told is frozen before it goes, and its rows are looked at again."""
    for task in scenario.plan().tasks:
        drops = [step for step in task.steps if isinstance(step, DropPartitions)]
        for drop in drops:
            assert (drop.time_column is not None) == scenario.by_rows
            frozen = {p.partition.values for s in task.steps if isinstance(s, FreezePartitions) for p in s.pieces}
            assert frozen == ({p.partition.values for p in drop.pieces} if scenario.by_rows else set())


@lawful
@given(scenarios(by_days))
def test_announced_is_due(scenario: Scenario) -> None:
    """What is announced as due next is due at that instant, and not a millisecond earlier."""
    [kept] = scenario.plan().up_to_date
    if kept.next_due is None:
        return
    then = at("1970-01-01") + dt.timedelta(milliseconds=kept.next_due)
    [before] = replace(scenario, cutoff=then - dt.timedelta(milliseconds=1)).plan().up_to_date
    [due] = replace(scenario, cutoff=then).plan().up_to_date
    assert before.partitions == kept.partitions > due.partitions
