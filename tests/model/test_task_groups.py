"""Tasks of a plan that are alike are one line, with exact sums."""

from __future__ import annotations

import pytest

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.plan.effect import group_tasks
from cratedb_retention.model.plan.plan import (
    DeleteRows,
    DropArchived,
    DropPartitions,
    SnapshotPartition,
    Task,
    ThawPartitions,
    VerifySnapshot,
)
from cratedb_retention.model.plan.reasons import Why
from cratedb_retention.model.policies.values import Verify
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.rollups.rollup import RollUp, Rollup, SealWindows, Window
from cratedb_retention.model.step import Piece
from support.catalogs import DAY, METRICS, MONTH, TS, part

COLUMNS = (MONTH,)
LEVELS = [
    Rollup(
        source=METRICS,
        below=METRICS,
        table=TableName("doc", f"metrics_{h}h"),
        interval=Interval(3600 * h),
        time=TS,
        dimensions=(),
        metrics=(),
    )
    for h in (1, 2)
]


def piece(day: int) -> Piece:
    """A partition of a day of 1970."""
    return Piece(partition=part(day * DAY), start=day * DAY, end=(day + 1) * DAY)


def archive(
    day: int, policy: str = "p", repository: str = "r", rows: int | None = 10, verify: Verify = Verify.RESTORE
) -> Task:
    """A partition that is archived."""
    of, name = piece(day), f"s{day}"
    steps = (
        SnapshotPartition(table=METRICS, columns=COLUMNS, pieces=(of,), repository=repository, name=name),
        VerifySnapshot(
            table=METRICS, columns=COLUMNS, pieces=(of,), repository=repository, name=name, verify=verify, schema="ext"
        ),
        DropArchived(table=METRICS, columns=COLUMNS, pieces=(of,), repository=repository, name=name, before=0),
    )
    return Task(
        policy_id=policy,
        table=METRICS,
        steps=steps,
        why=Why.FLAWED_TABLE(flaw=f"day {day}"),
        rows=rows,
        size=100,
        partitions=1,
    )


def roll_up(day: int, level: int = 0) -> Task:
    """A window that is computed."""
    window = Window(start=day * DAY, end=(day + 1) * DAY, since=day * DAY, until=(day + 1) * DAY)
    return Task(
        policy_id="p",
        table=METRICS,
        steps=(RollUp(rollup=LEVELS[level], windows=(window,)),),
        why=Why.LEVEL_NEW(),
        rows=5,
    )


def test_partitions_that_are_archived() -> None:
    """Hundreds of tasks are one line: the first and the last partition, and sums."""
    [group] = group_tasks(archive(day) for day in range(800))
    assert group.what == "archive 800 partitions, month=1970-01-01 to month=1972-03-10 in r, verify, drop"
    assert group.why == "first: day 0; last: day 799"
    of = group.amount
    assert (of.rows, of.size, of.partitions, of.start, of.end) == (8000, 80_000, 800, 0, 800 * DAY)


def test_unknown_rows() -> None:
    """A sum is known if all of it is."""
    [group] = group_tasks([archive(0), archive(1, rows=None)])
    assert (group.amount.rows, group.amount.size) == (None, 200)


def test_what_differs_stays_apart() -> None:
    """Policies, repositories, levels and kinds of work are lines of their own, in the order of the plan."""
    drop = Task(
        policy_id="p",
        table=METRICS,
        steps=(DropPartitions(table=METRICS, columns=COLUMNS, pieces=(piece(9),), before=0),),
        why=Why.LEVEL_NEW(),
        rows=1,
        size=1,
        partitions=1,
    )
    tasks = [archive(0), roll_up(0), archive(1, "q"), archive(2, repository="s"), drop, roll_up(1, 1), archive(3)]
    groups = group_tasks(tasks)
    assert [len(group.tasks) for group in groups] == [2, 1, 1, 1, 1, 1]
    assert [task for group in groups for task in group.tasks if group is groups[0]] == [tasks[0], tasks[6]]


@pytest.mark.parametrize(
    ("tasks", "what"),
    [
        ([archive(1)], "archive partition month=1970-01-02 in r, verify, drop"),
        (
            [archive(1, verify=Verify.METADATA)],
            "archive partition month=1970-01-02 in r, verify the metadata, drop",
        ),
        (
            [archive(day, verify=Verify.METADATA) for day in (0, 1)],
            "archive 2 partitions, month=1970-01-01 to month=1970-01-02 in r, verify the metadata, drop",
        ),
        ([roll_up(0), roll_up(1)], "roll up 2 windows of metrics_1h, 1970-01-01 to 1970-01-03"),
        (
            [
                Task(
                    policy_id="p",
                    table=METRICS,
                    steps=(DropPartitions(table=METRICS, columns=COLUMNS, pieces=(piece(d),), before=0),),
                    why=Why.LEFT_FROZEN(),
                )
                for d in (0, 1)
            ],
            "drop 2 partitions, month=1970-01-01 to month=1970-01-02",
        ),
        (
            [
                Task(
                    policy_id=None,
                    table=METRICS,
                    steps=(ThawPartitions(table=METRICS, columns=COLUMNS, pieces=(piece(d),)),),
                    why=Why.LEFT_FROZEN(),
                )
                for d in (0, 1)
            ],
            "unfreeze 2 partitions, month=1970-01-01 to month=1970-01-02",
        ),
        (
            [
                Task(
                    policy_id="p",
                    table=METRICS,
                    steps=(
                        SealWindows(
                            rollup=LEVELS[0],
                            windows=(Window(start=d * DAY, end=d * DAY + 5, since=d * DAY, until=d * DAY + 5),),
                        ),
                        DeleteRows(table=METRICS, time_column=TS, before=d * DAY + DAY, since=d * DAY),
                    ),
                    why=Why.LEFT_FROZEN(),
                )
                for d in (0, 1)
            ],
            "seal 2 windows of metrics_1h, 1970-01-01 to 1970-01-02T00:00:00.005Z, "
            "then delete rows with ts from 1970-01-01 and before 1970-01-03",
        ),
    ],
)
def test_words(tasks: list[Task], what: str) -> None:
    """A line says what all of its tasks do."""
    [group] = group_tasks(tasks)
    assert group.what == what
