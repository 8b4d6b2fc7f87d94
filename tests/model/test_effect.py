"""What a plan would do, in a sentence."""

from __future__ import annotations

import pytest

from cratedb_retention.model.catalog import Column, Kind, Partition, TableName
from cratedb_retention.model.effect import names, removing, summary, touched
from cratedb_retention.model.plan import (
    DeleteRows,
    DropArchived,
    DropPartitions,
    MovePartitions,
    Piece,
    Plan,
    SnapshotPartition,
    Task,
    ThawPartitions,
)

ONE, TWO = TableName("doc", "one"), TableName("doc", "two")
TIME = Column("ts", "TIMESTAMP", Kind.TIME)
PIECES = (Piece(Partition((0,)), 0, 10), Piece(Partition((10,)), 10, 20))
OPEN = (Piece(Partition((None,)), None, None), PIECES[0])


def drop(table: TableName, rows: int | None, pieces: tuple[Piece, ...] = PIECES) -> Task:
    """Two partitions go."""
    return Task("p", table, (DropPartitions(table, (TIME,), pieces, 20),), "", rows, 5, len(pieces))


DELETE = Task("p", TWO, (DeleteRows(TWO, TIME, 20),), "", 7)
MOVE = Task("p", ONE, (MovePartitions(ONE, (TIME,), PIECES, "storage", "cold"),), "", 3, 5, 2)
THAW = Task(None, ONE, (ThawPartitions(ONE, (TIME,), PIECES),), "")
ARCHIVE = Task(
    "p",
    ONE,
    (SnapshotPartition(ONE, (TIME,), PIECES[0], "r", "n"), DropArchived(ONE, (TIME,), PIECES[0], "r", "n", 20)),
    "",
    3,
    5,
    1,
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
    assert summary(Plan(0, tasks)) == words


def test_what_goes() -> None:
    """Data goes where it is deleted, and where it is dropped after it was archived."""
    gone = removing(Plan(0, (MOVE, THAW, ARCHIVE, DELETE)))
    assert [(effect.kind, effect.tables) for effect in gone] == [("delete", (TWO,)), ("archive", (ONE,))]
    assert removing(Plan(0, (MOVE, THAW))) == []


@pytest.mark.parametrize(
    ("task", "stretch"),
    [(drop(ONE, 1), (0, 20)), (drop(ONE, 1, OPEN), (None, None)), (DELETE, (None, 20)), (ARCHIVE, (0, 10))],
)
def test_touched(task: Task, stretch: tuple[int | None, int | None]) -> None:
    """A stretch is known where all of it is."""
    assert touched(task) == stretch


def test_names() -> None:
    """Many tables are counted."""
    assert names([ONE, TWO]) == "doc.one, doc.two"
    assert names([ONE, TWO, ONE], 1) == "doc.one and 2 more"
