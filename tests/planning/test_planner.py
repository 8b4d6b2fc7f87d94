"""Several policies on one table, what a run is about, and tidying up after an interrupted one."""

from __future__ import annotations

import pytest

from cratedb_retention.model.catalog import TableName, Value
from cratedb_retention.model.plan.plan import DropArchived, DropPartitions, MovePartitions, ThawPartitions
from cratedb_retention.model.policies.policy import Policy
from support.catalogs import (
    METRICS,
    MONTH,
    TENANT,
    TS,
    at,
    catalog,
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

CUTOFF = at("2024-07-02")
SPRING = catalog(monthly("2024-03", "2024-04", "2024-05", "2024-06"))
MARCH, APRIL, MAY, JUNE = ((ms(f"2024-0{month}-01"),) for month in (3, 4, 5, 6))


def test_snapshot_beats_delete() -> None:
    """What is due for both is archived before it is dropped; it is dropped once, and nothing is held."""
    plan = make_plan([policy("delete"), policy("snapshot")], SPRING, CUTOFF)
    assert touched(plan, DropArchived) == [MARCH, APRIL, MAY]
    assert touched(plan, DropPartitions) == []
    assert plan.blocked == ()


@pytest.mark.parametrize("strategy", ["delete", "downsample"])
def test_delete_before_snapshot_is_held(strategy: str) -> None:
    """Deleting what another policy wants to archive later is held, and a problem that names both."""
    plan = make_plan([policy(strategy), policy("snapshot", "60d")], SPRING, CUTOFF)
    assert touched(plan, DropArchived) == [MARCH, APRIL]
    assert touched(plan, DropPartitions) == []
    [hold] = plan.needs_attention
    assert (hold.policy_id, hold.count) == (f"{strategy}-30d", 1)
    assert "policy snapshot-60d archives it after 60d; deleting it after 30d would lose it" in hold.reason


@pytest.mark.parametrize(
    ("archiver", "deleted"),
    [
        (policy("snapshot", "60d", where={"tenant": "a"}), ["b"]),
        (policy("snapshot", "60d", where={"tenant": "c"}), ["a", "b"]),
        (policy("snapshot", "60d", enabled=False), ["a", "b"]),
        (policy("snapshot", "forever"), ["a", "b"]),
        (policy("snapshot", "60d", table_name="met*"), []),
        (policy("snapshot", "60d", table_name="other"), ["a", "b"]),
    ],
    ids=["tenant a", "tenant c", "disabled", "forever", "pattern", "other table"],
)
def test_only_what_is_wanted_is_protected(archiver: Policy, deleted: list[Value]) -> None:
    """An archiving policy protects exactly the partitions that it will archive one day."""
    partitions = [part(tenant, "2024-05-01") for tenant in "ab"]
    found = catalog(table([TS, TENANT, MONTH], ["tenant", "month"], partitions))
    plan = make_plan([policy(), archiver], found, CUTOFF)
    assert [values[0] for values in dropped(plan)] == deleted


def test_an_archiver_that_is_not_chosen_still_protects() -> None:
    """A run of one policy does not delete what another policy archives, now or later."""
    for retention, later in (("30d", 1), ("60d", 2)):
        rules = [policy("delete", "1d"), policy("snapshot", retention)]
        plan = make_plan(rules, SPRING, CUTOFF, chosen=lambda p: p.strategy == "delete")
        assert plan.tasks == ()
        assert [hold.count for hold in plan.needs_attention] == [later], "what is archived now is no problem"


def test_held_by_limit_still_protects() -> None:
    """A policy that archives nothing because of its limits does not leave its data to the one that deletes."""
    rules = [policy("snapshot", expected_max={"partitions": 1}), policy("delete")]
    assert make_plan(rules, SPRING, CUTOFF).tasks == ()


def test_two_deletes() -> None:
    """Of two policies that delete the same partition one does it; the shorter period reaches further."""
    plan = make_plan([policy("delete", "30d"), policy("delete", "90d")], SPRING, CUTOFF)
    assert sorted(dropped(plan)) == [MARCH, APRIL, MAY]
    assert len(dropped(plan)) == 3


def test_move_then_delete() -> None:
    """Data moves first and goes later; each partition has one verdict."""
    plan = make_plan([policy("reallocate", "30d"), policy("delete", "60d")], SPRING, CUTOFF)
    assert touched(plan, DropPartitions) == [MARCH, APRIL]
    assert touched(plan, MovePartitions) == [MAY]


def test_held_delete_may_still_move() -> None:
    """What may not be deleted yet can be moved meanwhile."""
    rules = [policy("delete"), policy("snapshot", "1y"), policy("reallocate")]
    assert touched(make_plan(rules, SPRING, CUTOFF), MovePartitions) == [MARCH, APRIL, MAY]


def test_tenants() -> None:
    """Tenants of one table are kept for different times."""
    partitions = [part(t, f"2024-0{month}-01") for t in ("a", "b", "c") for month in (4, 5)]
    rules = [policy(retention="30d", where={"tenant": "a"}), policy(retention="60d", where={"tenant": "b"})]
    found = catalog(table([TS, TENANT, MONTH], ["tenant", "month"], partitions))
    assert sorted(dropped(make_plan(rules, found, CUTOFF)), key=str) == [
        ("a", *APRIL), ("a", *MAY), ("b", *APRIL)
    ]  # fmt: skip


@pytest.mark.parametrize("strategy", ["delete", "snapshot", "reallocate", "compact"])
def test_disabled(strategy: str) -> None:
    """A disabled policy does nothing, asks nothing and says nothing, even if it could not be applied."""
    rules = [policy(strategy, enabled=False), policy(strategy, id="wrong", enabled=False, table_name="nowhere")]
    plan = make_plan(rules, SPRING, CUTOFF)
    assert (plan.tasks, plan.blocked, plan.up_to_date, plan.warnings) == ((), (), (), ())
    assert find_probes([policy(enabled=False)], catalog(table([TS])), CUTOFF) == []


def test_chosen() -> None:
    """A run of some policies does only what these want, and reports only their problems."""
    other = monthly("2024-04", name=TableName("doc", "other"))
    rules = [policy(tags=["a"]), policy(id="o", table_name="other", tags=["b"]), policy(id="x", table_name="nowhere")]
    plan = make_plan(rules, catalog(*SPRING.tables.values(), other), CUTOFF, chosen=lambda p: "b" in p.tags)
    assert [task.table.name for task in plan.tasks] == ["other"]
    assert plan.blocked == ()
    assert [kept.policy_id for kept in plan.up_to_date] == ["o"]


def test_problems_do_not_stop_others() -> None:
    """A policy that can't be applied is a problem; the others go on."""
    rules = [policy(id="a", table_name="nowhere"), policy(id="b", partition_column="day"), policy(id="c")]
    plan = make_plan(rules, SPRING, CUTOFF)
    assert [problem.policy_id for problem in plan.needs_attention] == ["a", "b"]
    assert "no such table" in reasons(plan)
    assert "partition_column: the table has no column 'day'" in reasons(plan)
    assert dropped_starts(plan) == ["2024-03-01", "2024-04-01", "2024-05-01"]


def test_kept() -> None:
    """What stays is counted, with the time at which the next goes; what is held for good counts as held."""
    found = catalog(table([TS, MONTH], ["month"], [part(None), *(part(f"2024-0{m}-01") for m in range(3, 9))]))
    plan = make_plan([policy()], found, CUTOFF)
    [kept] = plan.up_to_date
    assert (kept.policy_id, kept.table, kept.partitions, kept.next_due) == ("delete-30d", METRICS, 3, ms("2024-07-31"))
    assert [hold.count for hold in plan.blocked] == [1]


def test_cutoff_is_noted() -> None:
    """A plan says for which instant it was made; fractions of a millisecond are dropped."""
    assert make_plan([], SPRING, at("2024-07-02T12:00:00.000999+02:00")).cutoff == ms("2024-07-02T10:00")


@pytest.mark.parametrize(
    ("rules", "thawed"),
    [
        ([], True),
        ([policy("snapshot")], False),
        ([policy("delete")], False),
        ([policy("snapshot", "90d")], True),
        ([policy("snapshot", target_repository_name="nowhere")], True),
        ([policy("snapshot", expected_max={"partitions": 0})], True),
        ([policy("snapshot", enabled=False)], True),
        ([policy("reallocate")], True),
    ],
    ids=["no policy", "archives", "deletes", "not due", "no repository", "limit", "disabled", "moves"],
)
def test_thaw(rules: list[Policy], thawed: bool) -> None:
    """What an interrupted run left frozen is thawed, unless this run is going to finish with it."""
    found = catalog(table([TS, MONTH], ["month"], [part(*MAY, frozen=True)]))
    plan = make_plan(rules, found, CUTOFF, frozen=[(METRICS, MAY)])
    assert touched(plan, ThawPartitions) == ([MAY] if thawed else [])
    assert [task.policy_id for task in plan.tasks if isinstance(task.steps[0], ThawPartitions)] == [None] * thawed


def test_thaw_only_what_was_noted() -> None:
    """What somebody else froze stays frozen, and a table that is gone needs no thawing."""
    found = catalog(table([TS, MONTH], ["month"], [part(*MAY, frozen=True), part(*JUNE, frozen=True)]))
    assert make_plan([], found, CUTOFF).tasks == ()
    assert touched(make_plan([], found, CUTOFF, frozen=[(METRICS, JUNE)]), ThawPartitions) == [JUNE]
    assert make_plan([], found, CUTOFF, frozen=[(TableName("doc", "gone"), JUNE)]).tasks == ()


def test_no_thaw_of_what_another_run_finishes() -> None:
    """A run of other policies leaves a partition frozen that an archiving policy is about to finish."""
    found = catalog(table([TS, MONTH], ["month"], [part(*MAY, frozen=True)]))
    rules = [policy("snapshot"), policy("delete", id="d")]
    assert make_plan(rules, found, CUTOFF, frozen=[(METRICS, MAY)], chosen=lambda p: p.id == "d").tasks == ()


def test_nothing_at_all() -> None:
    """No policies, no tables, no plan."""
    plan = make_plan([], catalog(), CUTOFF)
    assert (plan.tasks, plan.blocked, plan.up_to_date, plan.warnings) == ((), (), (), ())
