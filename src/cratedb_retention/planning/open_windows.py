"""
Open windows, which last beyond the cutoff: what was written to the part of them that is computed already.

A change token tells that something was written, which in the present window happens all the time. So its complete
buckets are divided into parts, and of each the ledger has how many rows it was computed from, and their fingerprint.
What differs by now is stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from cratedb_retention.model.cascade import Interval
from cratedb_retention.model.ledger import LedgerRow
from cratedb_retention.model.measurements import Measurements, WindowRows
from cratedb_retention.model.rollup import Computed, Rollup, Window
from cratedb_retention.model.time import TimeRange, TimeRanges
from cratedb_retention.planning.windows import WindowGrid

# How many parts a window may have. They are single buckets where these are not more.
_MOST_PARTS = 1000
_COARSER = (Interval(3600), Interval(unit="day"), Interval(unit="month"), Interval(unit="year"))


@dataclass(frozen=True, slots=True)
class Parts:
    """What lies beneath each part of a window."""

    # Number and fingerprint of rows, by the start of the part (ms, UTC).
    found: Mapping[int, tuple[int, int]] = field(default_factory=dict)

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
    until: int  # Buckets before this instant were computed; ``start`` if none were
    complete: int  # Buckets before this instant are complete
    known: Parts | None  # What the computed ones were computed from; None: unknown

    @property
    def part(self) -> Interval:
        """The length of its parts."""
        return part_length(self.rollup, self.end - self.start, _MOST_PARTS)

    def probe(self, start: int, end: int) -> WindowRows:
        """The question for what lies beneath some of its buckets now."""
        rollup = self.rollup
        return WindowRows(
            table=rollup.beneath,
            time_column=rollup.beneath_time,
            interval=self.part,
            zone=rollup.zone,
            within=TimeRange(start, end),
        )

    def probes(self, written: bool) -> Iterator[WindowRows]:
        """
        What has to be asked of the rows.

        :param written: Whether anything was written beneath it since it was computed.
        """
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

    def before(self, span: tuple[int, int]) -> Computed:
        """What some of its buckets were computed from."""
        at = self.part.floor(span[0], self.rollup.tzinfo)
        found = None if self.known is None else self.known.found.get(at)
        # What lies beneath another level is counted in rows of that level.
        rows = found[0] if found and self.rollup.from_raw and self._within(at) == span else None
        return Computed(Window(start=self.start, end=self.end, since=span[0], until=span[1]), rows)

    def _within(self, at: int) -> TimeRange:
        """What of a part was computed."""
        return TimeRange(at, self.part.end(at, self.rollup.tzinfo)) & TimeRange(self.start, self.until)

    def stale(self, measurements: Measurements) -> Iterator[TimeRange]:
        """
        The stretches of time whose rows changed since they were computed.

        Where no row is left at all, the rows most likely expired, and what was computed stays.
        """
        present = self.computed(measurements)
        if self.known is None:
            yield TimeRange(self.start, self.until)
        elif present is not None:
            before, now = self.known.found, present.found
            yield from (self._within(at) for at in sorted(now) if before.get(at) != now[at])

    def parts(self, measurements: Measurements, kept: Iterable[tuple[int, int]] = ()) -> Parts | None:
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
    The shortest parts that a stretch of time of a level is divided into: single buckets, or some of these.

    :param length: How long it is (ms).
    :param most: How many parts there may be.
    """
    fitting = [other for other in _COARSER if rollup.interval.fits_into(other, rollup.tzinfo)]
    lengths = [rollup.interval, *fitting]
    return next((unit for unit in lengths if length / 1000 <= unit.approximate_seconds * most), lengths[-1])


def open_window(rollup: Rollup, grid: WindowGrid, rows: Mapping[int, LedgerRow], cutoff: int) -> OpenWindow | None:
    """
    The open window of a level; None if it has no complete buckets, or was computed as a whole.

    :param rows: What the ledger has of the level.
    :param cutoff: The instant (ms, UTC) taken for now.
    """
    complete = rollup.interval.floor(cutoff, rollup.tzinfo)
    start = grid.interval.floor(complete, grid.zone)
    row = rows.get(start)
    if complete <= start or (row is not None and (row.sealed or row.whole)):
        return None
    known = Parts.of_text(row.parts) if row is not None and (row.parts or not row.rows) else None
    until = start if row is None else row.until
    return OpenWindow(
        rollup=rollup, start=start, end=grid.interval.end(start, grid.zone), until=until, complete=complete, known=known
    )
