"""
Law 6 on a CrateDB of one node, whose shards are taken away at the very moment that matters; `tests/cluster` loses
nodes for it.
"""

from __future__ import annotations

from functools import partial

import pytest

from cratedb_retention.errors import ClusterUnhealthy
from cratedb_retention.model.catalog import Column, Kind
from cratedb_retention.model.plan.plan import (
    DeleteRows,
    DropArchived,
    DropPartitions,
    MovePartitions,
    SnapshotPartition,
    Step,
)
from support.databases import MONTH, TIME, CrateDatabase
from support.lost_shards import before_statement, give_back, lost, take_shards

DAYS = ["2024-04-10", "2024-05-01", "2024-05-20", "2024-06-20"]
BY_MONTH = {"ts": TIME, "n": "TEXT", "x": "DOUBLE PRECISION", "month": MONTH}
MAY = "month = '2024-05-01'"
STRATEGIES = ("delete", "snapshot")


def create(crate: CrateDatabase, strategy: str) -> None:
    """A table by month, of which two are expired, and a policy."""
    crate.create("t", BY_MONTH, by=["month"])
    crate.fill("t", DAYS, x=1.0)
    # What is restored meanwhile waits as well.
    crate.policy(strategy, "t", "30d", **({"verify": "metadata"} if strategy == "snapshot" else {}))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_missing_shards_are_held(crate: CrateDatabase, strategy: str) -> None:
    """What lacks shards is a problem that says so, and stays; the rest is done, and all of it once they are back."""
    create(crate, strategy)
    with lost(crate, "t", partition=MAY):
        (problem,) = crate.tool.plan().needs_attention
        assert problem.reason == "1 missing shard; bring the lost nodes back"
        report = crate.run()
        assert (report.ok, report.failed, report.needs_attention) == (False, 0, 1)
        assert len(crate.partitions("t")) == 2
    assert crate.left("t") == DAYS[1:]
    assert crate.run().ok
    assert crate.left("t") == DAYS[3:]


def test_rows_of_a_table_that_lacks_shards_are_held(crate: CrateDatabase) -> None:
    """Rows are not deleted one by one where one of the partitions lacks shards, and the plan says so."""
    crate.create("t", {"ts": TIME, "n": "TEXT", "part": "TEXT"}, by=["part"])
    for part, days in (("a", DAYS[:2]), ("b", DAYS[2:])):
        crate.fill("t", days, part=part)
    crate.policy("delete", "t", "30d", partition_column="part", freeze="never")
    with lost(crate, "t", partition="part = 'a'"):
        plan = crate.tool.plan()
        assert plan.tasks == ()
        assert [problem.reason for problem in plan.needs_attention] == ["1 missing shard; bring the lost nodes back"]
    assert crate.run().rows == 3
    assert crate.left("t") == DAYS[3:]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_lost_after_planning(crate: CrateDatabase, strategy: str) -> None:
    """Shards that are lost between plan and run: the task on them fails, and nothing of them is gone or rolled up."""
    create(crate, strategy)
    prepared = crate.tool.prepare()
    assert not prepared.plan.needs_attention
    with lost(crate, "t", partition=MAY):
        report = crate.tool.run(prepared)
        assert (report.ok, report.failed) == (False, 1)
    failed = crate.journal(event="step-finished", outcome="failed")
    assert "shards are missing. Bring the lost nodes back" in failed[-1]["error"]
    assert crate.left("t")[-3:] == DAYS[1:]
    assert crate.frozen("t") == 0


@pytest.mark.timeout(90)  # CrateDB takes a minute for some of these, and a move that has begun waits for its end.
@pytest.mark.parametrize("kind", [DropPartitions, MovePartitions, SnapshotPartition, DropArchived, DeleteRows])
def test_each_step_looks_again(crate: CrateDatabase, kind: type[Step]) -> None:
    """Whatever the plan was, no step sends a statement that changes something to what lacks shards by then."""
    create(crate, "snapshot")
    (_, task) = crate.tool.plan().tasks
    archiving = next(step for step in task.steps if isinstance(step, SnapshotPartition))
    table, columns, piece, time = (
        archiving.table,
        archiving.columns,
        archiving.piece,
        Column(name="ts", type=TIME, kind=Kind.TIME),
    )
    steps: list[Step] = [
        archiving,
        next(step for step in task.steps if isinstance(step, DropArchived)),
        DropPartitions(table=table, columns=columns, pieces=(piece,), before=piece.end or 0),
        MovePartitions(table=table, columns=columns, pieces=(piece,), attribute="storage", value="cold"),
        DeleteRows(table=table, time_column=time, before=piece.end or 0),
    ]
    (step,) = (step for step in steps if isinstance(step, kind))
    for before in task.steps[: task.steps.index(step)] if step in task.steps else ():
        crate.tool.engine.perform(before, lambda progress: None)
    with lost(crate, "t", partition=MAY), crate.statements() as sent, pytest.raises(ClusterUnhealthy, match="missing"):
        crate.tool.engine.perform(step, lambda progress: None)
    assert all(statement.startswith("SELECT") for statement in sent)
    assert crate.left("t") == DAYS


@pytest.mark.parametrize("planned", [False, True])
def test_what_lacks_shards_is_not_rolled_up(crate: CrateDatabase, planned: bool) -> None:
    """A window whose source lacks shards keeps what it had, also if they are lost between plan and run."""
    crate.create("t", BY_MONTH, by=["month"])
    crate.fill("t", DAYS, x=1.0)
    crate.policy("downsample", "t", "60d", levels="1d:forever")
    assert crate.run().ok
    crate.fill("t", ["2024-05-20T10:00"], x=5.0)
    prepared = crate.tool.prepare() if planned else None
    with lost(crate, "t", partition=MAY):
        report = crate.tool.run(prepared)
        assert (report.ok, report.failed, report.needs_attention) == (False, int(planned), int(not planned))
        (row,) = crate.journal(outcome="failed" if planned else "needs-attention", table_name="t")
        assert "missing" in row["error"]
    assert sums(crate) == 3
    assert crate.run().ok
    assert sums(crate) == 8


def sums(crate: CrateDatabase) -> float:
    """What all that the level says adds up to; April is gone."""
    crate.refresh("t_1d")
    return float(crate.rows(f"SELECT sum(x_sum) FROM {crate.q('t_1d')} WHERE ts >= '2024-05-01'")[0][0])


@pytest.mark.parametrize("own", ["retention_hold", "retention_policy"])
def test_own_table_is_lost(crate: CrateDatabase, own: str) -> None:
    """Where a hold or policy could be on a lost shard, nothing is done, nor is the table waited for."""
    create(crate, "delete")
    unhealthy = pytest.raises(ClusterUnhealthy, match=f"{own}: shards are missing")
    with lost(crate, own, crate.own_schema), crate.statements() as sent, unhealthy:
        crate.run()
    assert not [statement for statement in sent if "REFRESH" in statement]
    assert crate.left("t") == DAYS


def test_own_table_is_lost_while_the_catalog_is_read(crate: CrateDatabase) -> None:
    """Shards of an own table that are lost between the first look at health and the catalog's end the run as well."""
    create(crate, "delete")
    own = "retention_hold"
    lose = partial(take_shards, crate, own, crate.own_schema)
    try:
        with before_statement(crate, "table_partitions", lose) as seen:
            with pytest.raises(ClusterUnhealthy, match=f"{own}: shards are missing"):
                crate.run()
            assert seen
    finally:
        give_back(crate, own, crate.own_schema)
    assert crate.left("t") == DAYS
    assert crate.run().ok
    assert crate.left("t") == DAYS[3:]
