"""
Pieces: the partitions of a table with their intervals, sorted by end, so that expired ones are found by bisection. The
pieces of a table are computed once for all policies.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter

from cratedb_retention.model.catalog import Kind, Partition, Table, TableName, Value
from cratedb_retention.model.intervals import Grid
from cratedb_retention.model.plan.measurements import Bounds, Measurements, PartitionBounds
from cratedb_retention.model.step import Piece
from cratedb_retention.model.time import EVER, TimeRange
from cratedb_retention.planning.targets import Target

Grids = tuple[tuple[int, Grid], ...]
_Key = tuple[TableName, Grids, PartitionBounds | None, int | None]


@dataclass(frozen=True)
class Pieces:
    known: tuple[Piece, ...] = ()  # with a known end, sorted by it
    unknown: tuple[Piece, ...] = ()  # without a known interval

    def expired(self, limit: int) -> tuple[Piece, ...]:
        """Pieces that lie entirely before an instant."""
        return self.known[: bisect_right(self.known, limit, key=attrgetter("end"))]

    def __len__(self) -> int:
        return len(self.known) + len(self.unknown)


class PieceIndex:
    def __init__(self, measurements: Measurements) -> None:
        self._measurements = measurements
        self._pieces: dict[_Key, list[Piece]] = {}
        self._groups: dict[tuple[_Key, tuple[int, ...]], dict[tuple[Value, ...], Pieces]] = {}

    def of(self, target: Target) -> Pieces:
        """The pieces of a target: those that match the filter of its policy."""
        # The position of the partition column that the policy names, if it is a time and has no grid.
        known, name = enumerate(() if target.grids else target.columns), target.policy.partition_column
        named = next((place for place, column in known if column.name == name and column.kind is Kind.TIME), None)
        key: _Key = (target.table.name, target.grids, target.bounds_probe, named)
        names = [column.name for column in target.columns]
        positions = tuple(names.index(column.name) for column, _ in target.where)
        if key not in self._pieces:
            bounds = self._measurements.bounds.get(target.bounds_probe, {}) if target.bounds_probe else {}
            self._pieces[key] = make_pieces(target.table, target.grids, bounds, named)
        if (key, positions) not in self._groups:
            self._groups[key, positions] = _group(self._pieces[key], positions)
        return self._groups[key, positions].get(tuple(value for _, value in target.where), Pieces())


def make_pieces(table: Table, grids: Grids, bounds: Bounds, named: int | None = None) -> list[Piece]:
    """
    Determine the interval of each partition: from the grids if there are any, else from its rows.

    :param named: The position of a time column among the partition columns; no partition ends before its value.
    """
    pieces = []
    for partition in table.partitions:
        start, end = _from_grids(partition, grids) if grids else _from_bounds(partition, bounds, named)
        pieces.append(Piece(partition=partition, start=start, end=end, exact=bool(grids)))
    return pieces


def _from_grids(partition: Partition, grids: Grids) -> tuple[int | None, int | None]:
    """The intersection of all intervals; NULL in any of the columns means that the rows have no time."""
    found = EVER
    for position, grid in grids:
        value = partition.values[position]
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
    known = [(piece.end, piece) for piece in pieces if piece.end is not None]
    unknown = sorted((piece for piece in pieces if piece.end is None), key=_by_values)
    if len({end for end, _ in known}) < len(known):  # Comparing values takes far longer than ends.
        known.sort(key=lambda pair: _by_values(pair[1]))
    known.sort(key=itemgetter(0))
    return Pieces(tuple([piece for _, piece in known]), tuple(unknown))


def _by_values(piece: Piece) -> list[tuple[bool, float, str]]:
    """Numbers in order, then text, NULL last."""
    return [(v is None, v if isinstance(v, int | float) else 0, str(v)) for v in piece.partition.values]
