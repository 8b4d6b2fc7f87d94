"""
Tables that grow: new rows fall into the partition of the time at which they arrive, those of a level into that of their
bucket once it is complete. The account of a table has what changes on each day.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise
from typing import Any

from cratedb_retention.model.catalog import Kind, Partition, Table, TableName, Value
from cratedb_retention.model.forecast import Part, Rate, Series, Storage
from cratedb_retention.model.intervals import Grid
from cratedb_retention.model.rollups.cascade import DAY_SECONDS, Interval
from cratedb_retention.model.step import Piece
from cratedb_retention.model.time import DAY_MS, TimeRange
from cratedb_retention.planning.forecast.growth import Growth
from cratedb_retention.planning.pieces import Grids

# The values of a partition without those that are times: of each tenant, partitions follow each other.
Stream = tuple[Value, ...]
_WEEK = Interval(unit="week")
_UNITS = (Interval(unit="year"), Interval(unit="month"), _WEEK, Interval(unit="day"), Interval(3600))


class Units(dict[int, TimeRange | None]):
    """The time ranges of a grid by their starts, each computed once: tables and tenants have the same days."""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self._grid = grid

    def __missing__(self, start: int) -> TimeRange | None:
        end = self._grid.end(start)
        found = self[start] = None if end is None else TimeRange(start, end)
        return found


class Account:
    """What changes on each day of a forecast; the first one has what there is now."""

    def __init__(self, days: int) -> None:
        self.rows, self.size, self.shards = [0.0] * (days + 1), [0.0] * (days + 1), [0.0] * (days + 1)
        self.partitions = [0] * (days + 1)
        # The start of the oldest data that goes on each day, and of what is there at the end (ms, UTC).
        self._gone: dict[int, int] = {}
        self._left: int | None = None

    def add(self, day: int, rows: float = 0, size: float = 0, partitions: int = 0, shards: float = 0) -> None:
        self.rows[day] += rows
        self.size[day] += size
        self.partitions[day] += partitions
        self.shards[day] += shards

    def note_gone(self, day: int, start: int) -> None:
        """Note that data from an instant on goes on a day."""
        known = self._gone.get(day)
        if known is None or start < known:
            self._gone[day] = start

    def note_left(self, start: int) -> None:
        """Note that data from an instant on is there at the end."""
        self._left = start if self._left is None else min(self._left, start)

    def series(self, times: Sequence[int], *, sized: bool, sharded: bool, **about: Any) -> Series:
        """
        What there is on each day.

        :param times: The instants of the days (ms, UTC).
        :param sized: Whether sizes are known; ``sharded``: whether there are shards.
        """
        rows = _totals(self.rows)
        return Series(
            **about,
            rows=rows,
            size=_totals(self.size) if sized else None,
            partitions=list(accumulate(self.partitions)),
            shards=_totals(self.shards) if sharded else None,
            reach=self._reach(times, rows),
        )

    def _reach(self, times: Sequence[int], rows: Sequence[int]) -> list[int | None]:
        """For how many days there is data on each day: the oldest is what stays, or goes later."""
        oldest, found = self._left, list[int | None]()
        for day in range(len(times) - 1, -1, -1):
            if oldest is None or not rows[day] or oldest >= times[day]:
                found.append(None)
            else:
                found.append(-((oldest - times[day]) // DAY_MS))
            gone = self._gone.get(day)
            if gone is not None:
                oldest = gone if oldest is None else min(oldest, gone)
        return found[::-1]


def _totals(changes: Sequence[float]) -> list[int]:
    return [max(0, round(value)) for value in accumulate(changes)]


@dataclass(kw_only=True)
class GrowingTable:
    """
    A table on one day of a forecast.

    :param table: Its definition; its partitions are in ``parts``.
    :param source: Of a level, the table with the raw rows; else the same.
    :param grids: The partition columns that divide time; none if it is not partitioned by time.
    :param growths: The growth of the partitions of each tenant.
    :param instants: Until when its rows are there on each day (ms, UTC).
    :param units: The time ranges of the finest of the grids, which tables share.
    :param per_row: Bytes of a row in one copy; None: unknown.
    :param days: The rows of each day (ms, UTC), if rows expire one by one.
    """

    table: Table
    part: Part
    source: TableName
    grids: Grids
    growths: Mapping[Stream, Growth]
    instants: Sequence[int]
    units: Units | None
    account: Account
    storage: Storage = field(default_factory=Storage)
    per_row: float | None = None
    days: dict[int, float] | None = None
    parts: dict[tuple[Value, ...], Partition] = field(default_factory=dict)
    # The rows of partitions that appear after now, if all of them were added at once.
    coming: dict[tuple[Value, ...], int] = field(default_factory=dict)

    @property
    def name(self) -> TableName:
        return self.table.name

    @cached_property
    def finest(self) -> Grid | None:
        return find_finest(self.grids)

    @cached_property
    def _place(self) -> int | None:
        """The place of the finest grid among the values of a partition."""
        return next((position for position, grid in self.grids if grid is self.finest), None)

    @property
    def is_steady(self) -> bool:
        """Whether each unit of partitions will have rows, for each tenant."""
        rates, days = [growth.rate for growth in self.growths.values()], len(self.instants)
        length = self.finest.interval.approximate_seconds / DAY_SECONDS if self.finest else math.inf
        lowest = (min(r.daily, r.daily + r.trend * days) * min(r.rhythm, default=1.0) for r in rates)
        return all(rate.known for rate in rates) and all(rate * length >= 1 for rate in lowest)

    def time_of(self, values: Sequence[Value]) -> TimeRange | None:
        """The time range of a partition, from its values."""
        start = None if self._place is None else values[self._place]
        return self.units[start] if self.units is not None and isinstance(start, int) else None

    def start(self) -> None:
        """Note in the account what there is now."""
        if self.parts:
            for partition in self.parts.values():
                self.count(0, partition, 1)
        elif rows := sum(self.days.values()) if self.days is not None else self.table.rows or 0:
            self.account.add(0, rows=rows, size=self.size_of(rows) * self.storage.copies)
        if not self.grids and not self.parts:
            self.account.add(0, shards=(self.storage.shards or 0) * self.storage.copies)

    def count(self, day: int, partition: Partition, sign: int) -> tuple[int, float]:
        """Note that a partition is there, or is gone. Returns its rows and its bytes, of one copy."""
        rows, size, copies = partition.rows or 0, float(partition.size or 0), self.copies_of(partition)
        if coming := self.coming.get(partition.values):
            rows, size = coming, self.size_of(coming)
        self.account.add(day, sign * rows, sign * size * copies, sign, sign * (self.storage.shards or 0) * copies)
        return rows, size

    def drop(self, piece: Piece, day: int) -> tuple[int, float, float] | None:
        """Remove a partition. Returns its rows, and its bytes in one copy and in all; None: it is not there."""
        partition = self.parts.pop(piece.partition.values, None)
        if partition is None:
            return None
        if self.grids and piece.start is not None:
            self.account.note_gone(day, piece.start)
        rows, size = self.count(day, partition, -1)
        return rows, size, size * self.copies_of(partition)

    def delete_days(self, day: int, starts: Sequence[int]) -> tuple[float, float]:
        """Remove the rows of days. Returns their number, and their bytes in all copies."""
        own = self.days or {}
        rows = sum([own.pop(start) for start in starts])
        size = self.size_of(rows) * self.storage.copies
        self.account.add(day, -rows, -size)
        self.account.note_gone(day, min(starts))
        return rows, size

    def copies_of(self, partition: Partition) -> float:
        own = partition.replicas
        return 1 + int(own) if own.isdigit() and own != self.table.replicas else self.storage.copies

    def size_of(self, rows: float) -> float:
        return rows * (self.per_row or 0)

    def grow(self, first: int, last: int) -> bool:
        """Add the rows of some days. Returns whether there are new partitions."""
        before, time = len(self.parts), TimeRange(self.instants[first - 1], self.instants[last])
        if time.empty:
            return False
        per_row = self.size_of(1) * self.storage.copies
        for stream, growth in self.growths.items():
            totals = map(growth.until, self.instants[first - 1 : last + 1])
            for day, (was, now) in enumerate(pairwise(totals), start=first):
                self.account.add(day, now - was, (now - was) * per_row)
            if self.grids:
                self._fill(stream, growth, time, first)
            elif self.days is not None:
                for start in range(time.start - time.start % DAY_MS, time.end, DAY_MS):
                    if rows := growth.between(max(start, time.start), min(start + DAY_MS, time.end)):
                        self.days[start] = self.days.get(start, 0) + rows
        return len(self.parts) > before

    def _fill(self, stream: Stream, growth: Growth, time: TimeRange, first: int) -> None:
        """Add rows to the partitions of a time range."""
        grid = self.finest
        if grid is None:
            return
        for unit in grid.interval.covering(time, grid.zone):
            rows = growth.between(max(unit.start, time.start), min(unit.end, time.end))
            if not rows:
                continue
            values = values_at(stream, self.grids, grid, unit.start)
            if values not in self.parts:
                shards = (self.storage.shards or 0) * self.storage.copies
                day = max(first, bisect_right(self.instants, unit.start))
                self.account.add(day, partitions=1, shards=shards)
            self.add(values, rows, str(time.end))

    @cached_property
    def _totals(self) -> Mapping[Stream, Sequence[int]]:
        """The number of rows that arrive until each day."""
        return {stream: list(map(growth.until, self.instants)) for stream, growth in self.growths.items()}

    def arrived(self) -> list[float]:
        """The bytes of one copy that there are on each day if nothing goes; before the table grows."""
        found = [float(sum(partition.size or 0 for partition in self.parts.values()))] * len(self.instants)
        for totals in self._totals.values():
            found = [there + self.size_of(total - totals[0]) for there, total in zip(found, totals, strict=True)]
        return found

    def grow_at_once(self, first: int = 1, *, sized: bool = False) -> None:
        """
        Add the rows of all days from one on. New partitions have no number of rows, so that tables share them; what
        removes them finds it in ``coming``.

        :param sized: Whether new partitions have sizes, since the plan depends on these.
        """
        last, time = len(self.instants) - 1, TimeRange(self.instants[first - 1], self.instants[-1])
        if self.finest is None or time.empty:
            self.grow(first, last)
            return
        per_row = self.size_of(1) * self.storage.copies
        for stream, growth in self.growths.items():
            totals = self._totals[stream]
            for day in range(first, last + 1):
                rows = totals[day] - totals[day - 1]
                self.account.rows[day] += rows
                self.account.size[day] += rows * per_row
            self._fill_at_once(stream, growth, time, totals, sized)

    def _fill_at_once(
        self, stream: Stream, growth: Growth, time: TimeRange, totals: Sequence[int], sized: bool
    ) -> None:
        """Add rows to the partitions of all days, given their number until each day."""
        account, shards = self.account, (self.storage.shards or 0) * self.storage.copies
        before, ahead = growth.until(time.start), _partitions_ahead(stream, self.grids, time, self.table.replicas or "")
        for unit, partition in ahead:
            prior, before, values = before, growth.until(unit.end), partition.values
            if before == prior:
                continue
            if values in self.parts:
                self.add(values, before - prior, str(time.end))
                continue
            self.coming[values] = rows = before - prior
            self.parts[values] = _with_size(partition, round(self.size_of(rows))) if sized else partition
            day = max(bisect_right(self.instants, unit.start), bisect_right(totals, prior))
            account.partitions[day] += 1
            account.shards[day] += shards

    def add(self, values: tuple[Value, ...], rows: int, token: str) -> None:
        """Add rows to a partition, which gets a new change token."""
        known, size = self.parts.get(values), round(self.size_of(rows))
        if known is None:
            own = self.table.replicas or ""
            ident = str(values)
            self.parts[values] = Partition(values=values, ident=ident, rows=rows, size=size, token=token, replicas=own)
        else:
            total = (known.size or 0) + size
            self.parts[values] = known._replace(rows=(known.rows or 0) + rows, size=total, token=token)

    @property
    def snapshot(self) -> Table:
        """The table as a database would report it."""
        if not self.grids and not self.parts:
            return self.table if self.days is None else replace(self.table, rows=round(sum(self.days.values())))
        partitions = tuple(self.parts.values())
        return replace(self.table, partitions=partitions, rows=sum(partition.rows or 0 for partition in partitions))

    def expired_days(self, before: int, since: int | None = None, spared: Sequence[TimeRange] = ()) -> dict[int, float]:
        """The rows of each day that has expired as a whole, without days under legal holds."""
        times = {start: TimeRange(start, start + DAY_MS) for start in self.days or () if start + DAY_MS <= before}
        own = {start: time for start, time in times.items() if since is None or start >= since}
        return {start: (self.days or {})[start] for start, time in own.items() if not any(map(time.overlaps, spared))}

    def series(self, times: Sequence[int], rate: Rate) -> Series:
        sized, sharded = self.per_row is not None, self.storage.shards is not None
        starts = (time.start for values in self.parts if (time := self.time_of(values)) is not None)
        oldest = min(starts if self.grids else self.days or (), default=None)
        if oldest is not None:
            self.account.note_left(oldest)
        about: dict[str, Any] = {"part": self.part, "table": self.name, "source": self.source, "rate": rate}
        return self.account.series(times, sized=sized, sharded=sharded, **about)


def find_finest(grids: Grids) -> Grid | None:
    """Of several grids, the one with the shortest intervals."""
    return min((grid for _, grid in grids), key=lambda grid: grid.interval.approximate_seconds, default=None)


@lru_cache(maxsize=256)
def _partitions_ahead(
    stream: Stream, grids: Grids, time: TimeRange, replicas: str
) -> Sequence[tuple[TimeRange, Partition]]:
    """Partitions without rows for each unit in a time range, with the part of the range that they have."""
    grid, found = find_finest(grids), list[tuple[TimeRange, Partition]]()
    if grid is None:
        return found
    for unit in grid.interval.covering(time, grid.zone):
        values = values_at(stream, grids, grid, unit.start)
        partition = Partition(values=values, ident=str(values), token=str(time.end), replicas=replicas)
        found.append((unit & time, partition))
    return found


def _with_size(new: Partition, size: int) -> Partition:
    """A new partition with its bytes; there are very many, and `replace` takes several times as long."""
    return Partition(values=new.values, ident=new.ident, size=size, token=new.token, replicas=new.replicas)


def values_at(stream: Stream, grids: Grids, finest: Grid, start: int) -> tuple[Value, ...]:
    """The values of the partition of a tenant that begins at an instant."""
    if len(stream) == 1:
        return (start,)
    values = list(stream)
    for position, grid in grids:
        values[position] = start if grid is finest else grid.interval.floor(start, grid.zone)
    return tuple(values)


def find_grids(table: Table, known: Grids) -> Grids:
    """
    The partition columns by which a table grows: those whose expressions give an interval, else one whose values are
    the starts of intervals. None if the values do not fit, so that those to come are unknown.
    """
    if known:
        found = [(position, grid) for position, given in known if (grid := _aligned(given, _starts(table, position)))]
        return tuple(found) if len(found) == len(known) else ()
    for position, column in enumerate(table.partition_columns):
        starts = _starts(table, position)
        for unit in _UNITS if column.kind is Kind.TIME and len(starts) > 1 else ():
            if grid := _aligned(Grid(time_column=column.name, interval=unit), starts):
                return ((position, grid),)
    return ()


def _starts(table: Table, position: int) -> set[int]:
    found = (partition.values[position] for partition in table.partitions)
    return {value for value in found if isinstance(value, int)}


def _aligned(grid: Grid, starts: Collection[int]) -> Grid | None:
    """A grid by whose interval instants can be rounded down to these starts; None if there is none."""
    # Weeks of the calendar begin on Mondays, those of a fixed length with 1970, which began on a Thursday.
    weeks = [_WEEK] if grid.interval.seconds == _WEEK.approximate_seconds else []
    for interval in (*weeks, grid.interval):
        if all(interval.floor(start, grid.zone) == start for start in starts):
            return replace(grid, interval=interval)
    return None
