"""The strategy ``compact``: what is not compact yet is stored in less space, unless it goes in the same run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cratedb_retention.model.catalog import Kind, Partition, Value
from cratedb_retention.model.plan.plan import (
    CompactPartitions,
    FreezePartitions,
    Plan,
    SnapshotPartition,
    ThawPartitions,
)
from cratedb_retention.model.policies.policy import Policy
from support.catalogs import (
    DAILY,
    DUCKDB,
    METRICS,
    MONTH,
    TS,
    at,
    catalog,
    column,
    dropped,
    monthly,
    ms,
    part,
    policy,
    reasons,
    table,
    touched,
)
from support.planning import make_plan

CUTOFF = at("2024-07-02")
MAY: tuple[Value, ...] = (ms("2024-05-01"),)
COMPACT: dict[str, Any] = {"compressed": True, "merged": True, "replicas": "0"}
ALL: dict[str, Any] = {"compress": True, "read_only": True, "number_of_replicas": "0"}
LEFT = [(METRICS, MAY)]


def plan_of(of: Partition, *rules: Policy, **known: Any) -> Plan:
    """The plan for a table with one partition."""
    return make_plan(rules, catalog(table([TS, MONTH], ["month"], [of])), CUTOFF, **known)


def steps_of(plan: Plan) -> list[str]:
    """The steps of all tasks, as they are shown."""
    return [step.describe() for task in plan.tasks for step in task.steps]


def test_compact() -> None:
    """Expired partitions are compacted, each by itself if it is closed meanwhile; others stay as they are."""
    found = catalog(monthly("2024-04", "2024-05", "2024-06"))
    plan = make_plan([policy("compact", compress=True)], found, CUTOFF)
    assert [[type(step) for step in task.steps] for task in plan.tasks] == 2 * [
        [FreezePartitions, CompactPartitions, ThawPartitions]
    ]
    assert touched(plan, CompactPartitions) == [(ms("2024-04-01"),), MAY]
    assert [(task.partitions, task.rows, task.size) for task in plan.tasks] == 2 * [(1, 10, 100)]
    assert steps_of(plan)[1] == "compact partition month=2024-04-01 (compress, merge)"


def test_without_closing() -> None:
    """Merging and fewer replicas need no freeze, and are done for several partitions at a time."""
    days = [part(ms("2024-01-01") + i * 86_400_000) for i in range(50)]
    rule = policy("compact", number_of_replicas="0")
    plan = make_plan([rule], catalog(table([TS, DAILY], ["day"], days)), CUTOFF)
    assert [[type(step) for step in task.steps] for task in plan.tasks] == 3 * [[CompactPartitions]]
    assert [task.partitions for task in plan.tasks] == [20, 20, 10]


@pytest.mark.parametrize(
    ("attributes", "facts", "steps"),
    [
        (ALL, {}, "compress, merge, read-only, 0 replicas"),
        (ALL, {"compressed": True, "frozen": True}, "merge, 0 replicas"),
        (ALL, {**COMPACT, "merged": False, "frozen": True}, "merge"),
        (ALL, {**COMPACT, "replicas": "1", "frozen": True}, "0 replicas"),
        (ALL, COMPACT, "read-only"),
        (ALL, {**COMPACT, "frozen": True}, ""),
        ({}, {"merged": True}, ""),
        # What was merged before it is compressed is merged once more.
        ({"compress": True}, {"merged": True}, "compress, merge"),
        ({"merge": False, "number_of_replicas": "0-1"}, {"replicas": "0"}, "0-1 replicas"),
    ],
)
def test_what_is_lacking(attributes: dict[str, Any], facts: dict[str, Any], steps: str) -> None:
    """Only what the database does not show as done is done, so a second run has nothing to do."""
    plan = plan_of(part("2024-05-01", **facts), policy("compact", **attributes))
    shown = [step.describe() for task in plan.tasks for step in task.steps if isinstance(step, CompactPartitions)]
    assert shown == ([f"compact partition month=2024-05-01 ({steps})"] if steps else [])
    assert plan.blocked == ()


def test_read_only_stays_frozen() -> None:
    """A partition that stays read-only is frozen first, and not unfrozen."""
    plan = plan_of(part("2024-05-01", **COMPACT), policy("compact", read_only=True))
    assert [type(step) for step in plan.tasks[0].steps] == [FreezePartitions, CompactPartitions]


def test_what_a_user_froze_stays_frozen() -> None:
    """A partition that is read-only already is neither frozen nor unfrozen."""
    plan = plan_of(part("2024-05-01", frozen=True), policy("compact", compress=True))
    assert [type(step) for step in plan.tasks[0].steps] == [CompactPartitions]


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("closed", [False, True])
def test_interrupted(read_only: bool, closed: bool) -> None:
    """What a run left frozen, or even closed, is compacted again and then as the policy wants it."""
    facts = {**COMPACT, "merged": not closed, "frozen": True, "closed": closed, "rows": None if closed else 10}
    rule = policy("compact", compress=True, read_only=read_only)
    plan = plan_of(part("2024-05-01", **facts), rule, frozen=LEFT)
    kinds = [type(step) for task in plan.tasks for step in task.steps]
    if not closed and not read_only:  # Nothing is missing but that it is writable.
        assert kinds == [ThawPartitions]
    else:
        assert kinds == [FreezePartitions, CompactPartitions, *([] if read_only else [ThawPartitions])]


def test_interrupted_and_no_longer_wanted() -> None:
    """What a run left closed is opened, although no policy compacts it any more."""
    left = part("2024-05-01", closed=True, frozen=True, rows=None)
    assert touched(plan_of(left, frozen=LEFT), ThawPartitions) == [MAY]


def test_interrupted_and_of_unknown_age() -> None:
    """The rows of a partition that a run left closed can't tell its age: it is opened, and no person has to act."""
    named = column("batch", Kind.TEXT)
    found = table([TS, named], ["batch"], [part("a", closed=True, frozen=True, rows=None)])
    rule = policy("compact", compress=True, partition_column="batch", time_column="ts")
    plan = make_plan([rule], catalog(found), CUTOFF, frozen=[(METRICS, ("a",))])
    assert touched(plan, ThawPartitions) == [("a",)]
    assert [(each.code, each.needs_attention) for each in plan.blocked] == [("left-closed", False)]


def test_closed_by_a_user() -> None:
    """A partition that a user closed stays closed, and needs no attention."""
    plan = plan_of(part("2024-05-01", closed=True, rows=None), policy("compact", **ALL))
    assert plan.tasks == ()
    assert [(each.code, each.needs_attention) for each in plan.blocked] == [("partition-closed", False)]


def test_what_goes_is_not_compacted() -> None:
    """Compacting what another policy deletes, archives or moves in the same run would be idle."""
    found = catalog(monthly("2024-02", "2024-03", "2024-04", "2024-05", "2024-06"))
    rules = [policy("compact", "30d"), policy("snapshot", "60d"), policy("delete", "90d", where={"month": 0})]
    plan = make_plan(rules, found, CUTOFF)
    assert touched(plan, CompactPartitions) == [MAY]
    assert len(touched(plan, SnapshotPartition)) == 3
    # A policy that archives and is not part of the run keeps its partitions to itself.
    alone = make_plan(rules, found, CUTOFF, chosen=rules[0].__eq__)
    assert touched(alone, CompactPartitions) == [MAY]
    moving = make_plan([policy("compact"), policy("reallocate")], catalog(monthly("2024-05")), CUTOFF)
    assert (touched(moving, CompactPartitions), len(moving.tasks)) == ([], 1)


def test_compact_partitions_still_go() -> None:
    """A partition that is read-only since it was compacted is archived and dropped like others, without a freeze."""
    of = part("2024-05-01", **COMPACT, frozen=True)
    assert dropped(plan_of(of, policy("compact", **ALL), policy("delete"))) == [MAY]
    archived = plan_of(of, policy("compact", **ALL), policy("snapshot"))
    assert (dropped(archived), touched(archived, FreezePartitions, ThawPartitions)) == ([MAY], [])


@pytest.mark.parametrize(("replicas", "due"), [("1", ["0 replicas"]), ("0", [])])
def test_the_last_policy_decides_on_replicas(replicas: str, due: list[str]) -> None:
    """Two policies that set the number of replicas do not change it to and fro: the later one counts."""
    rules = [
        policy("compact", "7d", merge=False, number_of_replicas="1"),
        policy("compact", "30d", merge=False, number_of_replicas="0"),
    ]
    plan = plan_of(part("2024-05-01", **{**COMPACT, "replicas": replicas}), *rules)
    assert steps_of(plan) == [f"compact partition month=2024-05-01 ({words})" for words in due]
    fresh = plan_of(part("2024-06-01", **COMPACT), *rules)  # The later policy is not due yet.
    assert steps_of(fresh) == []
    june = make_plan(rules, catalog(table([TS, MONTH], ["month"], [part("2024-06-01", **COMPACT)])), at("2024-07-10"))
    assert steps_of(june) == ["compact partition month=2024-06-01 (1 replica)"]


def test_another_database() -> None:
    """DuckDB has no partitions of its own."""
    rule = policy("compact", table_schema="doc")
    plan = make_plan([rule], catalog(monthly("2024-05"), capabilities=DUCKDB), CUTOFF)
    assert plan.tasks == ()
    assert "DuckDB cannot compact partitions" in plan.needs_attention[0].reason


def test_level() -> None:
    """The windows of a rollup may be computed again, so it has to stay writable."""
    found = replace(catalog(monthly("2024-05")), rollups=frozenset([METRICS]))
    plan = make_plan([policy("compact", read_only=True)], found, CUTOFF)
    assert (plan.tasks, [each.code for each in plan.needs_attention]) == ((), ["read-only-level"])
    assert len(make_plan([policy("compact")], found, CUTOFF).tasks) == 1


def test_by_rows() -> None:
    """Without partitions by time there is nothing to compact."""
    plan = make_plan([policy("compact")], catalog(table([TS])), CUTOFF)
    assert "compact works on whole partitions" in reasons(plan)
