"""What a plan does with data that is to be recoverable: it is archived before it is dropped, or stays."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.archive import Archived, SnapshotRecord, SnapshotStage
from cratedb_retention.model.duration import parse_duration
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.plan import (
    DeleteSnapshot,
    DropArchived,
    DropPartitions,
    FreezePartitions,
    Plan,
    SnapshotPartition,
    VerifySnapshot,
)
from cratedb_retention.model.policies.policy import Policy, change_policy, make_policy
from cratedb_retention.model.policies.values import Verify
from cratedb_retention.store.policies import identity
from support.catalogs import (
    DUCKDB,
    METRICS,
    MONTH,
    TENANT,
    TS,
    VALUE,
    at,
    catalog,
    dropped_starts,
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
WEEK = policy("delete", "30d", id="week", recoverable="7d", target_repository_name="archive")
THREE = catalog(monthly("2024-04", "2024-05", "2024-06"))


def test_archived_before_it_is_dropped() -> None:
    """Each partition by itself: frozen, archived, verified, dropped; the last step says for how long."""
    plan = make_plan([WEEK], THREE, CUTOFF)
    kinds = (FreezePartitions, SnapshotPartition, VerifySnapshot, DropArchived)
    assert [tuple(map(type, task.steps)) for task in plan.tasks] == [kinds, kinds]
    assert dropped_starts(plan) == ["2024-04-01", "2024-05-01"]
    assert touched(plan, DropPartitions) == []
    for task in plan.tasks:
        verify, drop = task.steps[-2:]
        assert isinstance(verify, VerifySnapshot) and isinstance(drop, DropArchived)
        assert (verify.verify, drop.repository, drop.recoverable) == (Verify.RESTORE, "archive", parse_duration("7d"))
        assert drop.describe().endswith(", recoverable for 7d")


def test_without_its_repository() -> None:
    """If there is nowhere to archive, nothing is dropped, and it needs attention."""
    plan = make_plan([WEEK], catalog(monthly("2024-04"), repositories=()), CUTOFF)
    assert (plan.tasks, [each.code for each in plan.needs_attention]) == ((), ["no-repository"])


def test_full_disk() -> None:
    """An archive needs disk space, so that data stays as long as there is none."""
    full = table([TS, VALUE, MONTH], ["month"], [part("2024-04-01", read_only=True)])
    plan = make_plan([WEEK], catalog(full), CUTOFF)
    assert (plan.tasks, [each.code for each in plan.needs_attention]) == ((), ["disk-full"])


def test_policies_that_archive_come_first() -> None:
    """A recoverable policy deletes nothing that another policy archives."""
    plan = make_plan([WEEK, policy("snapshot", "60d")], THREE, CUTOFF)
    assert [(task.policy_id, dropped_starts(Plan(cutoff=0, tasks=(task,)))) for task in plan.tasks] == [
        ("snapshot-60d", ["2024-04-01"])
    ]
    assert "archives it after 60d; deleting it after 30d would lose it" in reasons(plan)


@pytest.mark.parametrize("others", [("a", "z"), ("z", "a")])
def test_comes_before_a_policy_that_only_deletes(others: tuple[str, str]) -> None:
    """Of policies that delete the same data, the recoverable one takes it, whatever their names."""
    mine, plain = others
    policies = [WEEK.model_copy(update={"id": mine}), policy("delete", "40d", id=plain)]
    plan = make_plan(policies, THREE, CUTOFF)
    assert {task.policy_id for task in plan.tasks} == {mine}
    assert touched(plan, DropPartitions) == []


@pytest.mark.parametrize(
    "found",
    [
        table([TS, VALUE]),
        table([TS, VALUE, TENANT, MONTH], ["month"], [part("2024-04-01")]),
    ],
    ids=["no partitions", "where"],
)
def test_rows_are_not_deleted(found: Any) -> None:
    """Where rows would be deleted one by one, nothing is, whether or not there are any."""
    where = {"tenant": "acme"} if "tenant" in found.columns else {}
    plan = make_plan([WEEK.model_copy(update={"where": where})], catalog(found), CUTOFF)
    assert (plan.tasks, [each.code for each in plan.needs_attention]) == ((), ["not-recoverable"])


def test_on_duckdb() -> None:
    """Nothing is frozen there."""
    named = WEEK.model_copy(update={"table_schema": "doc"})
    plan = make_plan([named], catalog(monthly("2024-04"), capabilities=DUCKDB), CUTOFF)
    assert [tuple(map(type, task.steps)) for task in plan.tasks] == [(SnapshotPartition, VerifySnapshot, DropArchived)]
    address = named.model_copy(update={"target_repository_name": "ftp://x"})
    blocked = make_plan([address], catalog(monthly("2024-04"), capabilities=DUCKDB), CUTOFF)
    assert (blocked.tasks, [each.code for each in blocked.needs_attention]) == ((), ["no-directory"])


def archive(until: str | None, stage: SnapshotStage = SnapshotStage.ARCHIVED, **about: Any) -> SnapshotRecord:
    """An archive of April, made by the policy `week`."""
    start, end = ms("2024-04-01"), ms("2024-05-01")
    archived = Archived(
        repository="archive", name="april", table=METRICS, columns=(MONTH,), values=(start,), start=start, end=end
    )
    known: dict[str, Any] = {"policy_id": "week", "changed_at": dt.datetime(2024, 6, 25, tzinfo=dt.UTC), **about}
    return SnapshotRecord(archived=archived, stage=stage, recoverable_until=at(until) if until else None, **known)


def ended(record: SnapshotRecord, *policies: Policy, **known: Any) -> list[str]:
    """The reasons of tasks that delete archives."""
    given = {"catalog": catalog(monthly()), "cutoff": CUTOFF, **known}
    plan = make_plan(policies or [WEEK], given.pop("catalog"), given.pop("cutoff"), archives=[record], **given)
    assert all(isinstance(step, DeleteSnapshot) for task in plan.tasks for step in task.steps)
    return [task.reason for task in plan.tasks]


def test_ends_by_itself() -> None:
    """At that instant, not a millisecond before, whatever the age of its data is."""
    assert ended(archive("2024-07-02")) == ["deleted, and recoverable until 2024-07-02"]
    assert ended(archive("2024-07-02"), cutoff=CUTOFF - dt.timedelta(milliseconds=1)) == []


@pytest.mark.parametrize(
    "policies",
    [
        (policy("delete", "30d", id="week"),),
        (WEEK.model_copy(update={"enabled": False}),),
        (WEEK.model_copy(update={"id": "other"}),),
        (WEEK.model_copy(update={"table_name": "others"}),),
        (policy("snapshot", "30d", id="week", archive_period="31d"),),
        (WEEK, policy("snapshot", "60d", id="years", archive_period="7y")),
    ],
    ids=["not recoverable", "disabled", "another", "other table", "archives now", "another archives it"],
)
def test_nothing_is_guessed(policies: tuple[Policy, ...]) -> None:
    """It stays unless the policy that deleted it still says so."""
    assert ended(archive("2024-07-01"), *policies) == []


def test_stays_while_it_is_needed() -> None:
    """Under a legal hold, while it is being restored, and as long as its partition is in the table."""
    hold = LegalHold(id="h", table_schema="doc", table_name="metrics")
    april = catalog(monthly("2024-04"))
    off = WEEK.model_copy(update={"retention_period": parse_duration("1y")})
    assert ended(archive("2024-07-01"), off) != []
    assert ended(archive("2024-07-01"), off, holds=[hold]) == []
    assert ended(archive("2024-07-01", SnapshotStage.RESTORING), off) == []
    assert ended(archive("2024-07-01", SnapshotStage.RESTORED), off, catalog=april) == []
    assert ended(archive("2024-07-01", SnapshotStage.DROPPING), off, catalog=april) == []


def test_archives_of_a_policy_that_archives_do_not_end_by_it() -> None:
    """An archive that is not recoverable is not ended by a recoverable policy."""
    assert ended(archive(None)) == []


def test_next_due() -> None:
    """More is due when what was deleted can first not be brought back any more, whatever its age is."""
    known: dict[str, Any] = {"archive_ends": {("week", METRICS): ms("2024-07-05")}}
    for months in ((), ("2024-06",)):
        plan = make_plan([WEEK], catalog(monthly(*months)), CUTOFF, **known)
        [each] = plan.up_to_date
        assert (each.partitions, each.next_due, plan.next_due) == (len(months), ms("2024-07-05"), ms("2024-07-05"))
    for other in (policy("delete", "30d", id="week"), WEEK.model_copy(update={"table_name": "others"})):
        assert make_plan([other], catalog(monthly()), CUTOFF, **known).next_due is None


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"recoverable": "7d"}, "recoverable needs target_repository_name"),
        ({"recoverable": "0d", "target_repository_name": "a"}, "keeps nothing"),
        ({"recoverable": "forever", "target_repository_name": "a"}, "longer than 100 years"),
        ({"recoverable": "7d", "target_repository_name": "a", "freeze": "never"}, "needs freeze=allow"),
        ({"target_repository_name": "a"}, "does not apply to delete; remove it, or use snapshot, or set recoverable"),
        ({"verify": "metadata"}, "does not apply to delete; remove it, or use snapshot, or set recoverable"),
        ({"strategy": "compact", "recoverable": "7d"}, "does not apply to compact; remove it, or use delete or"),
        (
            {"strategy": "snapshot", "recoverable": "7d", "target_repository_name": "a"},
            "does not apply to snapshot; remove it, or use delete or downsample",
        ),
    ],
)
def test_what_a_policy_may_say(given: dict[str, str], why: str) -> None:
    """What has no meaning is refused, with the way out."""
    with pytest.raises(InvalidInput, match=why):
        make_policy(**{"strategy": "delete", "table_name": "x", "retention_period": "30d", **given})


def test_changes_of_a_policy() -> None:
    """With another strategy, or without the attribute, a stored policy loses what it has no use for any more."""
    assert change_policy(WEEK, {"recoverable": None}).target_repository_name is None
    archiving = change_policy(WEEK, {"strategy": "snapshot"})
    assert (archiving.recoverable, archiving.target_repository_name) == (None, "archive")
    assert change_policy(archiving, {"strategy": "delete"}).target_repository_name is None
    assert WEEK.rule == "delete metrics after 30d, recoverable for 7d"


def test_the_same_rule() -> None:
    """A policy file that makes a policy recoverable changes it, and does not add another one."""
    assert identity(WEEK) == identity(change_policy(WEEK, {"recoverable": None}))
    assert identity(policy("snapshot", "30d")) != identity(policy("snapshot", "30d", target_repository_name="b"))
