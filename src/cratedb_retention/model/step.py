"""What every step says of itself, so that nothing else needs a list of steps; and partitions with their time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Self

from cratedb_retention.model.catalog import Partition, TableName
from cratedb_retention.model.time import TimeRange

# A time range [start, end) (ms, UTC); None where it is open, or not known.
Stretch = tuple[int | None, int | None]


class Kind(StrEnum):
    """What a step, or a task, comes down to."""

    DELETE = "delete"
    ARCHIVE = "archive"
    MOVE = "move"
    ROLL_UP = "roll up"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A partition with the time range [start, end) that it covers."""

    partition: Partition
    start: int | None
    end: int | None
    # Whether the interval follows from the table's definition, so that no row can ever lie outside of it. If not, it
    # was read from the rows, and must be checked again before the partition is dropped.
    exact: bool = True

    @property
    def time(self) -> TimeRange | None:
        """The time range that it covers; None: nothing tells."""
        return None if self.start is None or self.end is None else TimeRange(self.start, self.end)


class BaseStep(ABC):
    """One operation on the database, as data."""

    __slots__ = ()
    does: ClassVar[Kind | None] = None  # To data; None: it prepares another step, or computes nothing of the data.

    @abstractmethod
    def describe(self) -> str:
        """What it does, in words, beginning with a verb."""

    @property
    def about(self) -> tuple[Piece, ...]:
        """The partitions that it is about."""
        return ()

    @property
    def stretches(self) -> Sequence[Stretch]:
        """The time that it touches."""
        return [(piece.start, piece.end) for piece in self.about]

    @property
    def changes(self) -> TableName | None:
        """The table that it changes; None: it only prepares another step."""
        return None

    @property
    def expires(self) -> tuple[TableName, int] | None:
        """The table that it removes rows from, and the instant (ms, UTC) before which they lie; None: it does not."""
        return None

    @property
    def alike(self) -> object:
        """What steps of one kind have in common that do the same to different data."""
        return None

    def merged(self, others: Sequence[Any]) -> Self:
        """One step in place of several of a kind, itself the first, for its words."""
        return self

    @classmethod
    def operation(cls) -> str:
        """Its name in the audit log: ``drop_partitions``."""
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in cls.__name__).lstrip("_")
