"""
Windows: the time ranges in which a level is computed, and the change tokens of what lies beneath them.

Where the table beneath has partitions of time, a window's token is made from theirs, which costs no look at the rows.
It is a set of digests, one for each partition, so that what belongs to it can be told from what came later. Where it
has none, the engine is asked for a fingerprint of each window's rows.

A token tells that something was written, which in the present window, which lasts beyond the cutoff, happens all the
time. So its complete buckets are divided into parts, and of each the ledger has how many rows it was computed from, and
their fingerprint. What differs by now is stale.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from cratedb_retention.model.cascade import Interval
from cratedb_retention.model.measurements import Measurements, WindowRows
from cratedb_retention.model.plan import Piece
from cratedb_retention.model.rollup import Computed, LedgerRow, Rollup, Window
from cratedb_retention.model.time import TimeRange, TimeRanges, find_zone
from cratedb_retention.planning.cascades import UNITS

T = TypeVar("T")
_DIGITS = 12
_HOUR = 3600
_LENGTHS = (Interval(_HOUR), *UNITS)
# How many parts an open window may have. They are single buckets where these are not more.
_MOST_PARTS = 1000
_COARSER = (Interval(_HOUR), Interval(unit="day"), Interval(unit="month"), Interval(unit="year"))


@dataclass(kw_only=True)
class Source:
    """What lies beneath one window."""

    end: int  # the window's end
    digests: set[str] = field(default_factory=set)  # the change token, in parts
    rows: int = 0  # how many, if known; of partitions that reach beyond the window all
    pieces: list[Piece] = field(default_factory=list)  # the partitions; empty where there are none of time

    @property
    def token(self) -> str:
        """The change token as it is in the ledger."""
        return " ".join(sorted(self.digests))

    @property
    def hidden(self) -> bool:
        """Whether there may be rows that no query can see: a partition is closed, or lacks shards."""
        return any(piece.partition.rows is None or piece.partition.missing_shards for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class WindowGrid:
    """How a level is cut into windows."""

    interval: Interval
    zone_name: str

    @property
    def zone(self) -> dt.tzinfo:
        return find_zone(self.zone_name)

    def window(self, start: int) -> TimeRange:
        """The window that starts at an instant."""
        return TimeRange(start, self.interval.end(start, self.zone))

    def windows(self, time: TimeRange) -> Iterator[TimeRange]:
        """The windows that a time range touches."""
        at = self.interval.floor(time.start, self.zone)
        while at < time.end:
            found = self.window(at)
            yield found
            at = found.end


def window_grid(rollup: Rollup, partition_ms: int | None = None, partition_zone: str | None = None) -> WindowGrid:
    """
    A level's windows: once decided they stay, or what the ledger knows would be of no use.

    They are the shortest that hold whole buckets and whole partitions beneath.

    :param partition_ms: Length of the partitions beneath; None where there are none of time.
    :param partition_zone: Their time zone, which a fixed interval fits as well as its own.
    """
    if rollup.window is not None:
        return WindowGrid(rollup.window, rollup.window_zone)
    if partition_zone not in (None, rollup.zone) and rollup.interval.unit:
        # Days of another zone than the partitions' lie across their borders: the fewer of them in a window, the better.
        return WindowGrid(rollup.interval, rollup.zone)
    name = partition_zone if partition_zone is not None and rollup.interval.seconds else rollup.zone
    # A day for minutes and less, a month for the rest, so that there are neither too many nor too large ones.
    default = UNITS[0] if rollup.interval.approximate_seconds < _HOUR else UNITS[2]
    length = partition_ms / 1000 if partition_ms else default.approximate_seconds
    fitting = [unit for unit in _LENGTHS if rollup.interval.fits_into(unit, find_zone(name))]
    # Months and years differ in length: the shortest month is nine tenths of the mean.
    chosen = next((unit for unit in fitting if unit.approximate_seconds >= 0.9 * length), fitting[-1])
    return WindowGrid(chosen, name)


def digest(piece: Piece) -> str:
    """A partition at its present change token, in few characters."""
    text = f"{piece.partition.ident}\0{piece.partition.token}"
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def sources_of_pieces(
    pieces: Iterable[Piece], touched: Callable[[TimeRange], Iterable[TimeRange]]
) -> dict[int, Source]:
    """What lies beneath the windows that partitions of known time touch."""
    found: dict[int, Source] = {}
    for piece in pieces:
        own = digest(piece)
        for start, end in touched(piece.time) if piece.time else ():
            source = found.setdefault(start, Source(end=end))
            source.digests.add(own)
            source.rows += piece.partition.rows or 0
            source.pieces.append(piece)
    return found


def sources_of_windows(windows: Iterable[Window], pieces: Iterable[Piece]) -> dict[int, Source]:
    """The same for some windows that are known, and do not overlap."""
    return sources_of_pieces(pieces, TimeRanges((window.start, window.end) for window in windows).overlapping)


def sources_of_rows(grid: WindowGrid, measured: Sequence[tuple[int, int, str]]) -> dict[int, Source]:
    """The same from the engine's answer to :class:`WindowRows`."""
    return {
        start: Source(end=grid.window(start).end, digests={token.replace(" ", "")}, rows=rows)
        for start, rows, token in measured
    }


def window_probe(rollup: Rollup, grid: WindowGrid, within: TimeRange | None = None) -> WindowRows:
    """The question for the rows of each window, perhaps only of those in a time range."""
    return WindowRows(
        table=rollup.beneath,
        time_column=rollup.beneath_time,
        interval=grid.interval,
        zone=grid.zone_name,
        within=within,
    )


@dataclass(frozen=True, slots=True)
class Parts:
    """What lies beneath each part of a window."""

    found: Mapping[int, tuple[int, int]] = field(default_factory=dict)  # rows and fingerprint, by the part's start

    def __str__(self) -> str:
        return " ".join(f"{start}:{rows}:{version}" for start, (rows, version) in sorted(self.found.items()))

    def __add__(self, other: Parts) -> Parts:
        added = dict(self.found)
        for start, (rows, version) in other.found.items():
            before = added.get(start, (0, 0))
            added[start] = (before[0] + rows, before[1] + version)
        return Parts(added)

    @classmethod
    def of_text(cls, text: str) -> Parts:
        """As the ledger has it."""
        numbers = (map(int, part.split(":")) for part in text.split())
        return cls({start: (rows, version) for start, rows, version in numbers})

    @classmethod
    def of_answer(cls, measured: Iterable[tuple[int, int, str]]) -> Parts:
        """The engine's answer to :class:`WindowRows`."""
        return cls({start: (rows, int(token.rpartition(":")[2])) for start, rows, token in measured})


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWindow:
    """The window of a level that lasts beyond the cutoff."""

    rollup: Rollup
    start: int
    end: int
    until: int  # buckets before this instant were computed; ``start`` if none were
    complete: int  # buckets before this instant are complete
    known: Parts | None  # what the computed ones were computed from; None: unknown

    @property
    def part(self) -> Interval:
        """The length of its parts."""
        return part_length(self.rollup, self.end - self.start, _MOST_PARTS)

    def probe(self, start: int, end: int) -> WindowRows:
        """The question for what lies beneath some of its buckets now."""
        return window_probe(self.rollup, WindowGrid(self.part, self.rollup.zone), TimeRange(start, end))

    def probes(self, written: bool) -> Iterator[WindowRows]:
        """What has to be asked of the rows, if anything was written beneath it since it was computed, or not."""
        if written and self.start < self.until:
            yield self.probe(self.start, self.until)
        if self.until < self.complete:
            yield self.probe(self.until, self.complete)

    def computed(self, measurements: Measurements) -> Parts | None:
        """What lies now beneath the buckets that were computed; None if that was not asked: as it was then."""
        found = measurements.windows.get(self.probe(self.start, self.until))
        return None if found is None else Parts.of_answer(found)

    def grown(self, measurements: Measurements) -> Parts:
        """What lies beneath the buckets that became complete since."""
        return Parts.of_answer(measurements.windows.get(self.probe(self.until, self.complete), ()))

    def before(self, time: TimeRange) -> Computed:
        """What some of its buckets were computed from."""
        at = self.part.floor(time.start, self.rollup.tzinfo)
        found = None if self.known is None else self.known.found.get(at)
        # What lies beneath another level is counted in rows of that level.
        rows = found[0] if found and self.rollup.from_raw and self._within(at) == time else None
        return Computed(Window(start=self.start, end=self.end, since=time.start, until=time.end), rows)

    def _within(self, at: int) -> TimeRange:
        """What of a part was computed."""
        return TimeRange(at, self.part.end(at, self.rollup.tzinfo)) & TimeRange(self.start, self.until)

    def stale(self, measurements: Measurements) -> Iterator[TimeRange]:
        """Where rows changed since. Where no row is left, they most likely expired, and what was computed stays."""
        present = self.computed(measurements)
        if self.known is None:
            yield TimeRange(self.start, self.until)
        elif present is not None:
            before, now = self.known.found, present.found
            yield from (self._within(at) for at in sorted(now) if before.get(at) != now[at])

    def parts(self, measurements: Measurements, kept: Iterable[TimeRange] = ()) -> Parts | None:
        """
        What all complete buckets are computed from: what lies beneath them now, but for those that stay as they are.

        :param kept: Where they do. They do as well where no row is left.
        :return: None if it is unknown what those that stay were computed from.
        """
        kept = TimeRanges(kept)
        if self.known is None and kept:
            return None
        known = self.known.found if self.known is not None else {}
        present = self.computed(measurements) or Parts(known)
        stay = {at: was for at, was in known.items() if kept.contains(max(at, self.start))}
        return Parts({**known, **present.found, **stay}) + self.grown(measurements)


def part_length(rollup: Rollup, length: int, most: int) -> Interval:
    """
    The shortest parts that a time range of a level is divided into: single buckets, or some of these.

    :param length: How long it is (ms).
    :param most: How many parts there may be.
    """
    fitting = [other for other in _COARSER if rollup.interval.fits_into(other, rollup.tzinfo)]
    lengths = [rollup.interval, *fitting]
    return next((unit for unit in lengths if length / 1000 <= unit.approximate_seconds * most), lengths[-1])


def open_window(rollup: Rollup, grid: WindowGrid, rows: Mapping[int, LedgerRow], cutoff: int) -> OpenWindow | None:
    """The open window of a level at a cutoff; None if it has no complete buckets, or was computed as a whole."""
    complete = rollup.interval.floor(cutoff, rollup.tzinfo)
    start, end = grid.window(grid.interval.floor(complete, grid.zone))
    row = rows.get(start)
    if complete <= start or (row is not None and (row.sealed or row.whole)):
        return None
    known = Parts.of_text(row.parts) if row is not None and (row.parts or not row.rows) else None
    until = start if row is None else row.until
    return OpenWindow(rollup=rollup, start=start, end=end, until=until, complete=complete, known=known)


def batches(items: Iterable[tuple[T, int]], most: int, most_rows: int) -> Iterator[tuple[list[T], int]]:
    """Put items, each with its rows, together as one step can do them; one that has too many rows is alone."""
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
