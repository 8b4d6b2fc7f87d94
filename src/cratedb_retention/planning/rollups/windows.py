"""
Windows: the time ranges in which a level is computed, and the change tokens of their sources. A token is a set of
digests, one for each partition of the source, which distinguishes the partitions of a window from those that came
later; without partitions of time, it is a fingerprint of the window's rows.

The open window, which lasts beyond the cutoff, is written to all the time. Its complete buckets are therefore divided
into parts, and the ledger has the number and the fingerprint of the rows that each part was computed from.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

from cratedb_retention.model.plan.measurements import Measurements, WindowRows
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.rollups.ledger import LedgerRow
from cratedb_retention.model.rollups.rollup import Rollup, Window
from cratedb_retention.model.step import Piece
from cratedb_retention.model.time import TimeRange, TimeRanges, find_zone
from cratedb_retention.planning.rollups.cascades import UNITS

T = TypeVar("T")
_DIGITS = 12
_HOUR = 3600
_LENGTHS = (Interval(_HOUR), *UNITS)  # of windows; and of parts, except weeks
_MOST_PARTS = 1000  # of an open window; parts are single buckets if there are no more than this
Parts = Mapping[int, tuple[int, int]]  # rows and fingerprint of each part, by its start


@dataclass(kw_only=True, slots=True)
class Source:
    """The source of one window."""

    end: int  # the window's end
    digests: set[str] = field(default_factory=set)  # the change token, in parts
    rows: int = 0  # their number, if known; all rows of partitions that extend beyond the window
    pieces: list[Piece] = field(default_factory=list)  # its partitions; empty without partitions of time
    hidden: bool = False  # whether the number of rows of a partition is unknown, or shards are missing
    readable: bool = True  # whether no partition is closed, or has missing shards

    @property
    def token(self) -> str:
        """The change token as stored in the ledger."""
        return " ".join(sorted(self.digests) if len(self.digests) > 1 else self.digests)


@dataclass(frozen=True)
class WindowGrid:
    """Divides a level into windows."""

    rollup: Rollup
    interval: Interval
    zone_name: str

    @classmethod
    def of(cls, rollup: Rollup, partition: int | None = None, partition_zone: str | None = None) -> WindowGrid:
        """
        The windows of a level. Once chosen they stay, since the ledger refers to them. They are the shortest that hold
        whole buckets and whole partitions of the source, whose length (in seconds) and time zone may be given; a fixed
        interval fits that time zone as well as its own.
        """
        if rollup.window is not None:
            return cls(rollup, rollup.window, rollup.window_zone)
        if partition_zone not in (None, rollup.zone) and rollup.interval.unit:
            # Days of another zone than the partitions' cross their boundaries: the fewer in a window, the better.
            return cls._chosen(rollup, rollup.interval, rollup.zone)
        name = partition_zone if partition_zone is not None and rollup.interval.seconds else rollup.zone
        # A day for intervals below one hour, else a month: neither too many windows nor too large ones.
        default = UNITS[0] if rollup.interval.approximate_seconds < _HOUR else UNITS[2]
        length = partition or default.approximate_seconds
        fitting = [unit for unit in _LENGTHS if rollup.interval.fits_into(unit, find_zone(name))]
        # Months and years differ in length: the shortest month is nine tenths of the mean.
        chosen = next((unit for unit in fitting if unit.approximate_seconds >= 0.9 * length), fitting[-1])
        return cls._chosen(rollup, chosen, name)

    @classmethod
    def _chosen(cls, rollup: Rollup, interval: Interval, zone: str) -> WindowGrid:
        return cls(replace(rollup, window=interval, window_zone=zone), interval, zone)

    @cached_property
    def zone(self) -> dt.tzinfo:
        return find_zone(self.zone_name)

    def window(self, start: int) -> TimeRange:
        return TimeRange(start, self.interval.end(start, self.zone))

    def windows(self, time: TimeRange) -> Sequence[TimeRange]:
        return self.interval.covering(time, self.zone)

    def probe(self, within: TimeRange | None = None) -> WindowRows:
        table, time = self.rollup.below, self.rollup.below_time
        return WindowRows(table=table, time_column=time, interval=self.interval, zone=self.zone_name, within=within)

    def sources(self, measured: Iterable[tuple[int, int, str]]) -> dict[int, Source]:
        """The sources of windows without partitions of time, from the answer to the probe."""
        return {
            start: Source(end=self.window(start).end, digests={token.replace(" ", "")}, rows=rows)
            for start, rows, token in measured
        }

    def open(self, rows: Mapping[int, LedgerRow], cutoff: int, measurements: Measurements) -> OpenWindow | None:
        """The open window at a cutoff; None if it has no complete buckets, or was computed as a whole."""
        complete = self.rollup.interval.floor(cutoff, self.rollup.tzinfo)
        start, end = self.window(self.interval.floor(complete, self.zone))
        row = rows.get(start)
        if complete <= start or (row is not None and (row.sealed or row.whole)):
            return None
        known: Parts | None = None
        if row is not None and (row.parts or not row.rows):
            numbers = (map(int, part.split(":")) for part in row.parts.split())
            known = {at: (count, version) for at, count, version in numbers}
        return OpenWindow(
            rollup=self.rollup,
            start=start,
            end=end,
            until=start if row is None else row.until,
            complete=complete,
            known=known,
            measurements=measurements,
        )


def digest(piece: Piece) -> str:
    """A short digest of a partition and its present change token."""
    text = f"{piece.partition.ident}\0{piece.partition.token}"
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def sources_of_windows(windows: Iterable[Window], pieces: Iterable[Piece]) -> dict[int, Source]:
    """The sources of windows, which must not overlap, with partitions of time."""
    times = sorted({TimeRange(window.start, window.end) for window in windows})
    starts, ends = [time.start for time in times], [time.end for time in times]
    return sources_of(pieces, lambda time: times[bisect_right(ends, time.start) : bisect_left(starts, time.end)])


def sources_of(pieces: Iterable[Piece], touched: Callable[[TimeRange], Iterable[TimeRange]]) -> dict[int, Source]:
    """The sources of the windows that pieces touch."""
    found: dict[int, Source] = {}
    for piece in pieces:
        partition, time = piece.partition, piece.time
        own, rows, missing = digest(piece), partition.rows or 0, partition.missing_shards > 0
        hidden, readable = partition.rows is None or missing, not (partition.closed or missing)
        for start, end in touched(time) if time else ():
            source = found.get(start)
            if source is None:
                found[start] = Source(
                    end=end, digests={own}, rows=rows, pieces=[piece], hidden=hidden, readable=readable
                )
                continue
            source.digests.add(own)
            source.rows += rows
            source.pieces.append(piece)
            source.hidden |= hidden
            source.readable &= readable
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWindow:
    """The window of a level that lasts beyond the cutoff."""

    rollup: Rollup
    start: int
    end: int
    until: int  # buckets before this instant were computed; ``start`` if none were
    complete: int  # buckets before this instant are complete
    known: Parts | None  # what the parts of the computed buckets were computed from; None: unknown
    measurements: Measurements = field(default_factory=Measurements)

    @property
    def part(self) -> Interval:
        return part_length(self.rollup, self.end - self.start, _MOST_PARTS)

    def probe(self, start: int, end: int) -> WindowRows:
        return WindowGrid(self.rollup, self.part, self.rollup.zone).probe(TimeRange(start, end))

    def answer(self, start: int, end: int) -> Parts | None:
        """What its buckets of a time range would be computed from now; None if not measured, since it is unchanged."""
        found = self.measurements.windows.get(self.probe(start, end))
        each = ((at, rows, token.rpartition(":")[2]) for at, rows, token in found or ())
        return None if found is None else {at: (rows, int(version)) for at, rows, version in each}

    def before(self, time: TimeRange) -> tuple[Window, int | None]:
        at = self.part.floor(time.start, self.rollup.tzinfo)
        found = (self.known or {}).get(at)
        # If the source is a level, its own rows were counted, not the raw rows that they stand for.
        rows = found[0] if found and self.rollup.from_raw and self._within(at) == time else None
        return Window(start=self.start, end=self.end, since=time.start, until=time.end), rows

    def _within(self, at: int) -> TimeRange:
        return TimeRange(at, self.part.end(at, self.rollup.tzinfo)) & TimeRange(self.start, self.until)

    def stale(self) -> Iterator[TimeRange]:
        """The ranges whose rows changed since. If no row is left, they most likely expired, and the buckets stay."""
        now, before = self.answer(self.start, self.until), self.known
        if before is None:
            yield TimeRange(self.start, self.until)
        elif now is not None:
            yield from (self._within(at) for at in sorted(now) if before.get(at) != now[at])

    def parts(self, kept: Iterable[TimeRange] = ()) -> str:
        """
        What all complete buckets are computed from, as stored in the ledger: the present rows, except for buckets that
        are not changed, as they are kept or have no row left. Empty if it is unknown what those were computed from.
        """
        kept = TimeRanges(kept)
        if self.known is None and kept:
            return ""
        known = self.known or {}
        stay = {at: was for at, was in known.items() if kept.contains(max(at, self.start))}
        found = {**known, **(self.answer(self.start, self.until) or {}), **stay}
        for at, (rows, version) in (self.answer(self.until, self.complete) or {}).items():
            before = found.get(at, (0, 0))
            found[at] = (before[0] + rows, before[1] + version)
        return " ".join(f"{at}:{rows}:{version}" for at, (rows, version) in sorted(found.items()))


def part_length(rollup: Rollup, length: int, most: int) -> Interval:
    """The shortest parts, of one or more buckets, of which a time range of a length (ms) has at most ``most``."""
    fitting = [other for other in _LENGTHS if other.unit != "week" and rollup.interval.fits_into(other, rollup.tzinfo)]
    lengths = [rollup.interval, *fitting]
    return next((unit for unit in lengths if length / 1000 <= unit.approximate_seconds * most), lengths[-1])


def batches(items: Iterable[tuple[T, int]], most: int, most_rows: int) -> Iterator[tuple[list[T], int]]:
    """Group items, each with its number of rows, into batches; an item with too many rows is alone."""
    batch: list[T] = []
    rows_of = 0
    for item, rows in items:
        if batch and (len(batch) == most or rows_of + rows > most_rows):
            yield batch, rows_of
            batch, rows_of = [], 0
        batch.append(item)
        rows_of += rows
    if batch:
        yield batch, rows_of
