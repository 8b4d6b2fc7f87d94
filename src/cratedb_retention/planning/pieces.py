"""
Pieces: the partitions of a table with their intervals, sorted by end, so that expired ones are found by bisection. The
pieces of a table are computed once for all policies.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Any

from cratedb_retention.model.catalog import Kind, Partition, Table, TableName, Value
from cratedb_retention.model.intervals import Grid
from cratedb_retention.model.plan.measurements import Bounds, Measurements, PartitionBounds
from cratedb_retention.model.step import Piece
from cratedb_retention.model.time import EVER, TimeRange
from cratedb_retention.planning.targets import Target

Grids = tuple[tuple[int, Grid], ...]
_Key = tuple[TableName, Grids, PartitionBounds | None, int | None]
_VALUES, _END = attrgetter("partition.values"), attrgetter("end")


@dataclass(frozen=True)
class Pieces:
    known: tuple[Piece, ...] = ()  # with a known end, sorted by it
    unknown: tuple[Piece, ...] = ()  # without a known interval

    def expired(self, limit: int) -> tuple[Piece, ...]:
        """Pieces that lie entirely before an instant."""
        return self.known[: bisect_right(self.known, limit, key=_END)]

    def __len__(self) -> int:
        return len(self.known) + len(self.unknown)


class Times(dict[Any, tuple[int | None, int | None]]):
    """The intervals of partitions by their values in the columns of grids; tables and tenants have the same days."""

    def __init__(self, grids: Grids) -> None:
        super().__init__()
        self._grids = grids
        self.key = itemgetter(*(position for position, _ in grids))  # One value, or several as a tuple.

    def __missing__(self, key: Any) -> tuple[int | None, int | None]:
        values = key if len(self._grids) > 1 else (key,)
        found = self[key] = _from_grids(values, [grid for _, grid in self._grids])
        return found


class PieceIndex:
    def __init__(self, measurements: Measurements) -> None:
        self._measurements = measurements
        self._pieces: dict[_Key, list[Piece]] = {}
        self._groups: dict[tuple[_Key, tuple[int, ...]], dict[tuple[Value, ...], Pieces]] = {}
        self._times: dict[Grids, Times] = {}
        self._found: dict[int, tuple[Target, Pieces]] = {}  # By the identity of targets, whose keys are large.

    def of(self, target: Target) -> Pieces:
        """The pieces of a target: those that match the filter of its policy."""
        known = self._found.get(id(target))
        if known is None or known[0] is not target:
            known = self._found[id(target)] = target, self._find(target)
        return known[1]

    def times(self, grids: Grids) -> Times | None:
        """The intervals of these grids that are known from other tables."""
        return self._times.setdefault(grids, Times(grids)) if grids else None

    def _find(self, target: Target) -> Pieces:
        # The position of the partition column that the policy names, if it is a time and has no grid.
        known, name = enumerate(() if target.grids else target.columns), target.policy.partition_column
        named = next((place for place, column in known if column.name == name and column.kind is Kind.TIME), None)
        key: _Key = (target.table.name, target.grids, target.bounds_probe, named)
        names = [column.name for column in target.columns]
        positions = tuple(names.index(column.name) for column, _ in target.where)
        if key not in self._pieces:
            bounds = self._measurements.bounds.get(target.bounds_probe, {}) if target.bounds_probe else {}
            self._pieces[key] = make_pieces(target.table, target.grids, bounds, named, self.times(target.grids))
        if (key, positions) not in self._groups:
            self._groups[key, positions] = _group(self._pieces[key], positions)
        return self._groups[key, positions].get(tuple(value for _, value in target.where), Pieces())


def make_pieces(
    table: Table, grids: Grids, bounds: Bounds, named: int | None = None, times: Times | None = None
) -> list[Piece]:
    """
    Determine the interval of each partition: from the grids if there are any, else from its rows.

    :param named: The position of a time column among the partition columns; no partition ends before its value.
    :param times: The intervals of these grids that are known from other tables.
    """
    if not grids:
        found = ((each, *_from_bounds(each, bounds, named)) for each in table.partitions)
        return [Piece(partition, start, end, exact=False) for partition, start, end in found]
    times = Times(grids) if times is None else times
    key = times.key
    return [Piece(partition, *times[key(partition.values)]) for partition in table.partitions]


def _from_grids(values: Sequence[Value], grids: Iterable[Grid]) -> tuple[int | None, int | None]:
    """The intersection of all intervals; NULL in any of the columns means that the rows have no time."""
    found = EVER
    for value, grid in zip(values, grids, strict=True):
        end = grid.end(value) if isinstance(value, int) else None
        if not isinstance(value, int) or end is None:
            return None, None
        found = TimeRange(max(found.start, value), min(found.end, end))
    return found


def _from_bounds(partition: Partition, bounds: Bounds, named: int | None) -> tuple[int | None, int | None]:
    oldest, newest = bounds.get(partition.values, (None, None))
    if oldest is None or newest is None:
        return None, None
    value = None if named is None else partition.values[named]
    return oldest, max(newest, value if isinstance(value, int) else newest) + 1


def _group(pieces: Sequence[Piece], positions: tuple[int, ...]) -> dict[tuple[Value, ...], Pieces]:
    if not positions:
        return {(): _sort(pieces)}
    by_values: dict[tuple[Value, ...], list[Piece]] = {}
    for piece in pieces:
        values = piece.partition.values
        by_values.setdefault(tuple([values[i] for i in positions]), []).append(piece)
    return {values: _sort(group) for values, group in by_values.items()}


def _sort(pieces: Sequence[Piece]) -> Pieces:
    known = [piece for piece in pieces if piece.end is not None]
    if len({piece.end for piece in known}) < len(known):
        try:  # Values of one type are in the order of `_by_values`, and compared in far less time.
            known.sort(key=_VALUES)
        except TypeError:
            known.sort(key=_by_values)
    known.sort(key=_END)
    return Pieces(tuple(known), tuple(sorted((piece for piece in pieces if piece.end is None), key=_by_values)))


def _by_values(piece: Piece) -> list[tuple[bool, float, str]]:
    """Numbers in order, then text, NULL last."""
    return [(v is None, v if isinstance(v, int | float) else 0, str(v)) for v in piece.partition.values]
