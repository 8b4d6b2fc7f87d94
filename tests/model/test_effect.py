"""What a plan would do, in a sentence."""

from __future__ import annotations

import pytest

from cratedb_retention.model.catalog import Column, Kind, Partition, TableName
from cratedb_retention.model.plan.effect import amount, names, removing, summary
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


def test_names() -> None:
    """Many tables are counted."""
    assert names([ONE, TWO]) == "doc.one, doc.two"
    assert names([ONE, TWO, ONE], 1) == "doc.one and 2 more"
