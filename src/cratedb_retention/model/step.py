"""The base class of steps, so that no other code needs a list of steps; and partitions with their time range."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple, Self

from cratedb_retention.model.catalog import Partition, TableName
from cratedb_retention.model.time import TimeRange

# A time range [start, end) (ms, UTC); None if it is open or unknown.
Stretch = tuple[int | None, int | None]


class Kind(StrEnum):
    """The kind of a step or task."""

    DELETE = "delete"
    ARCHIVE = "archive"
    MOVE = "move"
    COMPACT = "compact"
    ROLL_UP = "roll up"
    END_ARCHIVE = "delete archives"
    OTHER = "other"


class Piece(NamedTuple):
    """A partition with the time range [start, end) that it covers. Plans have millions, so it is a tuple."""

    partition: Partition
    start: int | None
    end: int | None
    # Whether the interval follows from the table's definition, so that no row can ever be outside of it. Otherwise, it
    # was measured, and must be checked again before the partition is dropped.
    exact: bool = True

    @property
    def time(self) -> TimeRange | None:
        """The time range that it covers; None if unknown."""
        return None if self.start is None or self.end is None else TimeRange(self.start, self.end)


class BaseStep(ABC):
    """One operation on the database, as data."""

    __slots__ = ()
    does: ClassVar[Kind | None] = None  # Its effect on data; None: it only prepares another step.

    @abstractmethod
    def describe(self) -> str:
        """A description, beginning with a verb."""

    @property
    def about(self) -> tuple[Piece, ...]:
        """The partitions that it concerns."""
        return ()

    @property
    def stretches(self) -> Sequence[Stretch]:
        """The time ranges of the data that it concerns."""
        return [(piece.start, piece.end) for piece in self.about]

    @property
    def changes(self) -> TableName | None:
        """The table that it changes; None: it only prepares another step."""
        return None

    @property
    def expires(self) -> tuple[TableName, int] | None:
        """The table that it removes rows from, and their limit (ms, UTC); None: it removes none."""
        return None

    @property
    def alike(self) -> object:
        """A key that is equal for steps of one kind with the same effect on different data."""
        return None

    def merged(self, others: Sequence[Any]) -> Self:
        """One step that stands for several of a kind, this one being the first, for descriptions."""
        return self

    @classmethod
    def operation(cls) -> str:
        """Its name in the audit log: ``drop_partitions``."""
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in cls.__name__).lstrip("_")
