"""The strategy ``snapshot``: each partition frozen, archived, verified and dropped, or not touched."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from cratedb_retention.model.catalog import Capabilities, Column, Kind
from cratedb_retention.model.plan.measurements import Bounds, Measurements, PartitionBounds
from cratedb_retention.model.plan.plan import DropArchived, FreezePartitions, SnapshotPartition, VerifySnapshot
from cratedb_retention.model.policies.values import Verify
from support.catalogs import (
    CRATEDB,
    DUCKDB,
    METRICS,
    MONTH,
    TENANT,
    TS,
    at,
    catalog,
    dropped_starts,
    monthly,
    ms,
    part,
    policy,
    reasons,
    table,
)
from support.planning import find_probes, make_plan

CUTOFF = at("2024-07-02")
CHAIN = [FreezePartitions, SnapshotPartition, VerifySnapshot, DropArchived]
KEY = (METRICS, (ms("2024-05-01"),))


def test_chain() -> None:
    """Each partition has a task of its own: freeze, archive, verify, drop, all about the same snapshot."""
    plan = make_plan([policy("snapshot")], catalog(monthly("2024-04", "2024-05", "2024-06")), CUTOFF)
    assert [[type(step) for step in task.steps] for task in plan.tasks] == [CHAIN, CHAIN]
    assert dropped_starts(plan) == ["2024-04-01", "2024-05-01"]
    names = set()
    for task in plan.tasks:
        _, archive, verify, drop = task.steps
        assert isinstance(archive, SnapshotPartition)
        assert isinstance(verify, VerifySnapshot)
        assert isinstance(drop, DropArchived)
        assert archive.name == verify.name == drop.name
        assert archive.repository == verify.repository == drop.repository == "archive"
        assert archive.piece is verify.piece is drop.piece
        assert (drop.before, drop.time_column, task.partitions) == (ms("2024-06-02"), None, 1)
        names.add(archive.name)
    assert len(names) == 2


@pytest.mark.parametrize(("repository", "archived"), [("archive", 2), ("s3://bucket/archive", 1)])
def test_closed_partitions(repository: str, archived: int) -> None:
    """A snapshot has them as well; what is written to an address as rows can't have those of a closed partition."""
    found = catalog(table([TS, MONTH], ["month"], [part("2024-04-01", closed=True), part("2024-05-01")]))
    plan = make_plan([policy("snapshot", target_repository_name=repository)], found, CUTOFF)
    assert len(plan.tasks) == archived
    assert [(each.why.code, each.count) for each in plan.needs_attention] == [("partition-closed", 1)] * (2 - archived)


def test_looked_at_again_before_the_drop() -> None:
    """Where only the rows tell how old a partition is, they are looked at again after it was archived."""
    found, rule = catalog(table([TS, TENANT], ["tenant"], [part("a")])), policy("snapshot", partition_column="tenant")
    probes = find_probes([rule], found, CUTOFF)
    bounds: Bounds = {("a",): (0, ms("2024-05-01"))}
    measured = Measurements(bounds={probe: bounds for probe in probes if isinstance(probe, PartitionBounds)})
    [task] = make_plan([rule], found, CUTOFF, measurements=measured).tasks
    assert [step.time_column for step in task.steps if isinstance(step, DropArchived)] == [TS]


def test_name_follows_content() -> None:
    """The same content has the same snapshot, so an interrupted run finds it; other content has another one."""
    names = []
    for token, later in (("t1", 0), ("t1", 1), ("t2", 1)):
        found = catalog(table([TS, MONTH], ["month"], [part("2024-05-01", token=token)]))
        [task] = make_plan([policy("snapshot")], found, CUTOFF + dt.timedelta(hours=later)).tasks
        names += [step.name for step in task.steps if isinstance(step, SnapshotPartition)]
    assert names[0] == names[1] != names[2]


def archived_as(token: str = "t1", **known: Any) -> str:
    """The name of the snapshot that is made of a partition."""
    found = catalog(table([TS, MONTH], ["month"], [part("2024-05-01", token=token)]))
    [task] = make_plan([policy("snapshot")], found, CUTOFF, **known).tasks
    return next(step.name for step in task.steps if isinstance(step, SnapshotPartition))


def test_a_restored_partition_keeps_its_snapshot() -> None:
    """It is archived under the name it was restored from if neither the repository nor its content is another one."""
    new = archived_as()
    for repository, token, name in (("archive", "t1", "old"), ("other", "t1", new), ("archive", "t2", new)):
        assert archived_as(restored={(*KEY, token): (repository, "old")}) == name
    assert archived_as("", restored={(*KEY, ""): ("archive", "old")}) != "old", "its content is unknown"


def test_a_name_that_is_taken() -> None:
    """What was archived and dropped is never replaced by a partition that came back with the same change token."""
    new = archived_as()
    second = archived_as(archived=[("archive", new)])
    assert len({new, second, archived_as(archived=[("archive", new), ("archive", second)])}) == 3
    assert archived_as(archived=[("other", new)]) == new


@pytest.mark.parametrize(
    ("facts", "ours", "frozen_first"),
    [
        ({}, False, True),
        ({"closed": True}, False, False),
        # Somebody else froze it: it is theirs to thaw.
        ({"frozen": True}, False, False),
        # An interrupted run froze it: freezing again does no harm, and on failure it is thawed.
        ({"frozen": True}, True, True),
    ],
)
def test_freeze(facts: dict[str, bool], ours: bool, frozen_first: bool) -> None:
    """What can be written to is frozen first, and only what the toolkit froze is it going to thaw."""
    found = catalog(table([TS, MONTH], ["month"], [part("2024-05-01", **facts)]))
    plan = make_plan([policy("snapshot")], found, CUTOFF, frozen=[KEY] if ours else [])
    assert [type(step) for task in plan.tasks for step in task.steps] == (CHAIN if frozen_first else CHAIN[1:])


def test_no_freeze_where_there_is_none() -> None:
    """A database that can't block writes archives without; the change token is what it relies on."""
    found = catalog(monthly("2024-05"), capabilities=DUCKDB, repositories=())
    plan = make_plan([policy("snapshot", table_schema="doc")], found, CUTOFF)
    assert [type(step) for task in plan.tasks for step in task.steps] == CHAIN[1:]
    assert plan.blocked == ()


@pytest.mark.parametrize(
    ("said", "capabilities", "means"),
    [
        ({}, CRATEDB, Verify.RESTORE),
        ({"verify": "restore"}, CRATEDB, Verify.RESTORE),
        ({"verify": "metadata"}, CRATEDB, Verify.METADATA),
        ({"verify": "metadata"}, DUCKDB, Verify.RESTORE),
    ],
)
def test_verification(said: dict[str, str], capabilities: Capabilities, means: Verify) -> None:
    """A snapshot is restored and compared unless the policy says otherwise; files are always read."""
    found = catalog(monthly("2024-05"), capabilities=capabilities)
    [task] = make_plan([policy("snapshot", table_schema="doc", **said)], found, CUTOFF, own_schema="own").tasks
    [step] = [step for step in task.steps if isinstance(step, VerifySnapshot)]
    assert (step.verify, step.schema) == (means, "own")


def test_repository_missing() -> None:
    """Without its repository nothing is archived, and nothing is deleted in its place."""
    rules = [policy("snapshot", target_repository_name="nowhere"), policy("delete", "1d")]
    plan = make_plan(rules, catalog(monthly("2024-04", "2024-05")), CUTOFF)
    assert plan.tasks == ()
    assert "repository 'nowhere' does not exist" in plan.needs_attention[0].reason
    assert [hold.count for hold in plan.needs_attention] == [2]


def test_repository_missing_but_nothing_due() -> None:
    """As long as nothing is due, nobody is bothered."""
    plan = make_plan([policy("snapshot", target_repository_name="nowhere")], catalog(monthly("2024-06")), CUTOFF)
    assert reasons(plan) == ""


@pytest.mark.parametrize(
    ("deletes", "archives", "held"),
    [
        ({}, {}, True),
        ({"where": {"tenant": "acme"}}, {"where": {"tenant": "acme"}}, True),
        ({"where": {"tenant": "acme"}}, {}, True),
        ({"where": {"tenant": "acme"}}, {"where": {"tenant": "globex"}}, False),
        ({"where": {"month": "2024-04-01"}}, {"where": {"month": ms("2024-04-01")}}, True),
        ({"where": {"tenant": "acme"}}, {"where": {"no_such": "acme"}}, True),
    ],
)
def test_stalled_archiving_protects_its_data(deletes: dict[str, Any], archives: dict[str, Any], held: bool) -> None:
    """A policy that should archive a table and can't keeps others from deleting what it wants."""
    columns = [TS, MONTH, Column(name="tenant", type="text", kind=Kind.TEXT)]
    parts = [part("2024-04-01", "acme"), part("2024-04-01", "globex")]
    found = catalog(table(columns, ["month", "tenant"], parts))
    policies = [policy("delete", id="d", **deletes), policy("snapshot", id="s", time_column="no_such", **archives)]
    plan = make_plan(policies, found, CUTOFF)
    assert bool(plan.tasks) is not held
    assert any("policy s should archive this table but cannot" in hold.reason for hold in plan.blocked) is held


@pytest.mark.parametrize("more", [{}, {"time_column": "no_such"}])
def test_what_is_archived_never_protects_nothing(more: dict[str, Any]) -> None:
    """A policy that archives after forever wants nothing, whether it can or can't."""
    rules = [policy("delete"), policy("snapshot", "forever", **more)]
    assert dropped_starts(make_plan(rules, catalog(monthly("2024-04", "2024-06")), CUTOFF)) == ["2024-04-01"]


@pytest.mark.parametrize("period", ["30d", "forever"])
def test_stalled_rollups_protect_their_rows(period: str) -> None:
    """A policy that should roll up a table and can't keeps others from deleting its rows, and forever as well."""
    down = policy("downsample", period, id="r", levels="1d:forever", time_column="no_such")
    plan = make_plan([policy("delete", id="d"), down], catalog(monthly("2024-04")), CUTOFF)
    assert plan.tasks == ()
    assert any("policy r should downsample this table but cannot" in hold.reason for hold in plan.needs_attention)
