"""What a plan would do, in a sentence."""

from __future__ import annotations

import pytest

from cratedb_retention.model.catalog import Column, Kind, Partition, TableName
from cratedb_retention.model.plan.effect import amount, losses, names, removing, summary
from cratedb_retention.model.plan.plan import (
    DeleteRows,
    DropArchived,
    DropPartitions,
    MovePartitions,
    Plan,
    SnapshotPartition,
    Task,
    ThawPartitions,
)
from cratedb_retention.model.plan.reasons import Why
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.rollups.rollup import Rollup, SealWindows, Window
from cratedb_retention.model.step import Piece

ONE, TWO = TableName("doc", "one"), TableName("doc", "two")
TIME = Column(name="ts", type="TIMESTAMP", kind=Kind.TIME)
PIECES = (
    Piece(partition=Partition(values=(0,)), start=0, end=10),
    Piece(partition=Partition(values=(10,)), start=10, end=20),
)
OPEN = (Piece(partition=Partition(values=(None,)), start=None, end=None), PIECES[0])


def drop(table: TableName, rows: int | None, pieces: tuple[Piece, ...] = PIECES) -> Task:
    """Two partitions go."""
    return Task(
        policy_id="p",
        table=table,
        steps=(DropPartitions(table=table, columns=(TIME,), pieces=pieces, before=20),),
        why=Why.LEFT_FROZEN(),
        rows=rows,
        size=5,
        partitions=len(pieces),
    )


DELETE = Task(
    policy_id="p", table=TWO, steps=(DeleteRows(table=TWO, time_column=TIME, before=20),), why=Why.LEFT_FROZEN(), rows=7
)
MOVE = Task(
    policy_id="p",
    table=ONE,
    steps=(MovePartitions(table=ONE, columns=(TIME,), pieces=PIECES, attribute="storage", value="cold"),),
    why=Why.LEFT_FROZEN(),
    rows=3,
    size=5,
    partitions=2,
)
THAW = Task(
    policy_id=None, table=ONE, steps=(ThawPartitions(table=ONE, columns=(TIME,), pieces=PIECES),), why=Why.LEFT_FROZEN()
)
ARCHIVE = Task(
    policy_id="p",
    table=ONE,
    steps=(
        SnapshotPartition(table=ONE, columns=(TIME,), pieces=(PIECES[0],), repository="r", name="n"),
        DropArchived(table=ONE, columns=(TIME,), pieces=(PIECES[0],), repository="r", name="n", before=20),
    ),
    why=Why.LEFT_FROZEN(),
    rows=3,
    size=5,
    partitions=1,
)


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ((), "Nothing is due: this run would change nothing."),
        ((drop(ONE, 1234),), "This run would delete 1,234 rows in 2 partitions of 1 table."),
        ((drop(ONE, None),), "This run would delete rows in 2 partitions of 1 table."),
        ((drop(ONE, None), DELETE), "This run would delete 7 or more rows in 2 partitions of 2 tables."),
        ((DELETE,), "This run would delete 7 rows of 1 table."),
        ((MOVE, ARCHIVE), "This run would archive 1 partition of 1 table, move 2 partitions of 1 table."),
        ((THAW,), "This run would do 1 smaller task for 1 table."),
    ],
)
def test_summary(tasks: tuple[Task, ...], words: str) -> None:
    """One sentence says all of it, what deletes first."""
    assert summary(Plan(cutoff=0, tasks=tasks)) == words


def test_what_goes() -> None:
    """Data goes where it is deleted, and where it is dropped after it was archived."""
    gone = removing(Plan(cutoff=0, tasks=(MOVE, THAW, ARCHIVE, DELETE)))
    assert [(effect.first.kind, effect.tables) for effect in gone] == [("delete", (TWO,)), ("archive", (ONE,))]
    assert removing(Plan(cutoff=0, tasks=(MOVE, THAW))) == []


@pytest.mark.parametrize(
    ("task", "stretch"),
    [(drop(ONE, 1), (0, 20)), (drop(ONE, 1, OPEN), (None, None)), (DELETE, (None, 20)), (ARCHIVE, (0, 10))],
)
def test_touched(task: Task, stretch: tuple[int | None, int | None]) -> None:
    """A stretch is known where all of it is."""
    of = amount([task])
    assert (of.start, of.end) == stretch


def test_smaller_tasks() -> None:
    """What affects no data does not make the rows of other tasks unknown."""
    of = amount([ARCHIVE, THAW])
    assert (of.tasks, of.rows, of.size) == (2, 3, 5)
    assert amount([THAW]).rows is None


HOURS = Rollup(source=TWO, below=TWO, table=ONE, interval=Interval(3600), time=TIME, dimensions=(), metrics=())


def sealed(rows: int, late: int) -> Task:
    """Rows are deleted after their windows are sealed."""
    step = DeleteRows(table=TWO, time_column=TIME, before=20, rows=rows, since=0, late=late)
    steps = (SealWindows(rollup=HOURS, windows=(Window.of(0, 20),)), step)
    return Task(policy_id="p", table=TWO, steps=steps, why=Why.LEFT_FROZEN(), rows=rows)


@pytest.mark.parametrize(
    ("task", "loss"),
    [
        (drop(ONE, 1), ("doc.one", "", False)),
        (ARCHIVE, ("doc.one", "r", False)),
        (DELETE, ("doc.two", "", False)),
        (sealed(10, 0), ("doc.two", "", True)),
        (sealed(10, 4), ("doc.two", "", True)),
        (sealed(10, 10), ("doc.two", "", False)),
    ],
    ids=["dropped", "archived", "deleted", "rolled up", "some late", "all late"],
)
def test_losses(task: Task, loss: tuple[str, str, bool]) -> None:
    """Data that is removed is in an archive, in a rollup, or nowhere; late rows are in no rollup."""
    [found] = losses([MOVE, THAW, task])
    assert (found.table, found.archived, found.rolled_up) == loss


def test_names() -> None:
    """Many tables are counted."""
    assert names([ONE, TWO]) == "doc.one, doc.two"
    assert names([ONE, TWO, ONE], 1) == "doc.one and 2 more"
