"""Laws of planning on made-up tables, policies, holds and cutoffs."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from cratedb_retention.model.plan import DropPartitions, FreezePartitions, ThawPartitions
from cratedb_retention.model.policy import Strategy
from support.catalogs import at, pieces_of, policy, touched
from support.scenarios import Scenario, fits, held_by, limit_of, scenarios
from support.tiers import examples

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
lawful = settings(max_examples=examples(150, long=1500))


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
    verdicts = tasks + sum(hold.count for hold in plan.holds) + sum(kept.partitions for kept in plan.kept)
    if rule.strategy is Strategy.REALLOCATE:
        assert verdicts <= len(mine)
    else:
        assert verdicts == len(mine)
    limit = limit_of(rule, scenario.cutoff)
    later = [p for p in mine if p.values not in scenario.intervals or scenario.intervals[p.values][1] > limit]
    unknown = [p for p in mine if p.values not in scenario.intervals]
    assert plan.kept[0].partitions == len(later) - (len(unknown) if limit > float("-inf") else 0)


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
    [kept] = scenario.plan().kept
    if kept.next_due is None:
        return
    then = at("1970-01-01") + dt.timedelta(milliseconds=kept.next_due)
    [before] = replace(scenario, cutoff=then - dt.timedelta(milliseconds=1)).plan().kept
    [due] = replace(scenario, cutoff=then).plan().kept
    assert before.partitions == kept.partitions > due.partitions
