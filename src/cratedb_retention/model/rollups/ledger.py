"""
The ledger: the existing rollups, and what each of their windows was computed from.

A sealed window is never computed again. Consecutive ones are therefore stored as a range, so that a level has a few
ranges and its open windows, however long its history is. What single windows of a range were computed from is read
only when one of them is asked for. Once their own rows have expired as well, it is forgotten.

Consecutive windows that were computed together are stored as a range, too; plans read each of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import Any, NamedTuple

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.rollups.rollup import Rollup, ViewPart
from cratedb_retention.model.time import TimeRange, TimeRanges

# Small ranges of a level, and single sealed windows, that a run leaves as they are; a range is small up to this number
# of windows as well.
MOST_SMALL = 32
# Size of a range, in characters of what is stored of its windows: more than a thousand windows of one partition each.
LARGEST_RANGE = 65_536
_START = attrgetter("start")


class LedgerRow(NamedTuple):
    """
    The last computation of a window; or a range of consecutive windows, of which all or none are sealed. Plans have
    very many, so it is a tuple.
    """

    start: int
    end: int
    until: int  # the end of the computed buckets
    whole: bool  # whether it was computed as a whole, so that the token applies to all of it
    below: TableName  # the table that it was computed from
    token: str  # the change token of its source; empty for a range
    rows: int  # the number of raw rows that it accounts for
    groups: int  # rows of the level
    sealed: bool  # whether its source was about to expire, so that it is never computed again (law 4)
    expired: bool = False  # whether its source is gone; only recorded if rows are deleted one by one
    parts: str = ""  # the sources of the parts of an open window, see :class:`planning.windows.Parts`
    windows: int = 1  # more than one: a range; ``rows`` and ``groups`` are those of all its windows

    @property
    def time(self) -> TimeRange:
        return TimeRange(self.start, self.end)

    def continues(self, before: LedgerRow) -> bool:
        """Whether both may be in one range: only windows of which nothing but token and numbers differs."""
        if before.end != self.start or self.sealed != before.sealed or self.expired != before.expired:
            return False
        alike = self.below == before.below and (self.groups > 0) == (before.groups > 0)
        return alike and self._is_complete and before._is_complete

    @property
    def _is_complete(self) -> bool:
        return self.whole and self.until == self.end and not self.parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """
    What has expired of a level, of which no source is left either. All that arrives in the time of such windows is
    late, so it need not be known what each of them was computed from.
    """

    until: int  # its own rows before this instant expired
    below: TableName  # its source, and the time ranges of what is left of it
    left: TimeRanges
    interval: Interval  # the length of its windows, and their time zone
    zone: str

    def has(self, row: LedgerRow) -> bool:
        gone = row.below == self.below and row.end <= self.until
        return gone and (row.expired or not self.left.overlapping(row.time))


class Sized(NamedTuple):
    """A row as it is stored, and its size in characters."""

    row: LedgerRow
    size: int


def without_inner(stored: Iterable[LedgerRow]) -> list[LedgerRow]:
    """Rows in order of time, without windows within a range, which a killed run left: the range says the same."""
    found: list[LedgerRow] = []
    for row in sorted(stored):
        if not found or found[-1].windows == 1 or row.start >= found[-1].end:
            found.append(row)
    return found


def choose_stretches(
    stored: Iterable[LedgerRow], size: Callable[[LedgerRow], int] = lambda row: 0
) -> Iterator[list[LedgerRow]]:
    """Rows, in order of time, that become one range each, as long as possible: up to the size of a range."""
    group: list[LedgerRow] = []
    total = 0
    for row in stored:
        if group and not (row.continues(group[-1]) and total + size(row) <= LARGEST_RANGE):
            yield group
            group, total = [], 0
        group.append(row)
        total += size(row)
    if group:
        yield group


def choose_ranges(stored: Iterable[Sized]) -> Iterator[list[LedgerRow]]:
    """
    Rows that become one range each. Neighbours of similar size are joined, so that few ranges remain, and a window is
    written again only when its range has doubled.
    """
    groups: list[tuple[list[LedgerRow], int]] = []
    for row, size in stored:
        group = [row], size
        while row.sealed and groups and group[0][0].continues(groups[-1][0][-1]):
            rows, before = groups[-1]
            if before > 2 * group[1] or before + group[1] > LARGEST_RANGE:
                break
            group = rows + group[0], before + group[1]
            groups.pop()
        groups.append(group)
    return (rows for rows, _ in groups if len(rows) > 1)


def make_range(windows: Sequence[LedgerRow]) -> LedgerRow:
    """The range of consecutive windows; a single one as it is."""
    first, last = windows[0], windows[-1]
    if first is last:
        return first
    rows, groups = sum(window.rows for window in windows), sum(window.groups for window in windows)
    count = sum(window.windows for window in windows)
    return first._replace(end=last.end, until=last.end, token="", rows=rows, groups=groups, windows=count)


ReadRange = Callable[[LedgerRow], Iterable[LedgerRow]]


def _unreadable(row: LedgerRow) -> Iterable[LedgerRow]:
    raise LookupError(f"the windows of a range are unknown: {row}")


class Windows(Mapping[int, LedgerRow]):
    """
    The windows of a level by their start, in order of time. Iteration, and a key within a range, read the windows of
    ranges; ``stored`` and the methods do so only if they have to.

    :param stored: Windows and ranges. A window within a range, which a killed run left, says the same as the range.
    :param read: Reads the windows of a range.
    """

    def __init__(self, stored: Iterable[LedgerRow] = (), read: ReadRange = _unreadable) -> None:
        found = without_inner(stored)
        self.stored: Sequence[LedgerRow] = tuple(found)
        self._single = {row.start: row for row in found if row.windows == 1}
        self._ranges = [row for row in found if row.windows > 1]
        self.sealed: Sequence[LedgerRow] = [row for row in found if row.sealed]
        self._read, self._members = read, dict[int, dict[int, LedgerRow]]()

    def __getitem__(self, start: int) -> LedgerRow:
        row: LedgerRow | None = self.get(start)
        if row is None:
            raise KeyError(start)
        return row

    def get(self, start: int, default: Any = None) -> Any:
        """Without an error in between: most windows of a first run are unknown."""
        if (row := self._single.get(start)) is not None:
            return row
        return default if (row := self._range(start)) is None else self._by_start(row).get(start, default)

    def __contains__(self, start: object) -> bool:
        return isinstance(start, int) and self.get(start) is not None

    def is_sealed(self, start: int) -> bool:
        """Whether a window is known and sealed, as all windows of a range are."""
        row = self._single.get(start) or self._range(start)
        return row is not None and row.sealed

    def _range(self, start: int) -> LedgerRow | None:
        if not self._ranges:
            return None
        position = bisect_right(self._ranges, start, key=_START) - 1
        row = self._ranges[position] if position >= 0 else None
        return row if row is not None and start < row.end else None

    def __iter__(self) -> Iterator[int]:
        return (window.start for row in self.stored for window in self.members(row))

    def __len__(self) -> int:
        return sum(row.windows for row in self.stored)

    @property
    def first(self) -> int | None:
        """The start of the first window; None if there is none."""
        return self.stored[0].start if self.stored else None

    @property
    def until(self) -> int | None:
        """The end of the computed buckets; None if there are none."""
        return max((row.until for row in self.stored), default=None)

    def members(self, row: LedgerRow) -> Iterable[LedgerRow]:
        """The windows of a stored row."""
        return (row,) if row.windows == 1 else self._by_start(row).values()

    def _by_start(self, row: LedgerRow) -> Mapping[int, LedgerRow]:
        if row.start not in self._members:
            self._members[row.start] = {window.start: window for window in self._read(row)}
        return self._members[row.start]

    def divided(self, *instants: int | None, sealed: bool = False) -> Iterator[LedgerRow]:
        """Windows, all or sealed ones, and ranges; but the windows of a range that one of the instants divides."""
        known = [instant for instant in instants if instant is not None]
        for row in self.sealed if sealed else self.stored:
            within = row.windows > 1 and any(row.start < instant < row.end for instant in known)
            yield from self.members(row) if within else (row,)

    def sealed_before(self, instant: int) -> Windows:
        """The windows that are sealed, and those that start before an instant as if they were."""
        windows = (row for each in self.stored for row in ((each,) if each.sealed else self.members(each)))
        kept = (row for row in windows if row.sealed or row.start < instant)
        return Windows((row._replace(sealed=True) for row in kept), self.members)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """That nothing of a cascade is due while its tables stay as they are, see :mod:`planning.rollups.resting`."""

    token: str  # of all that this follows from
    since: int
    until: int
    tables: tuple[tuple[TableName, int, int | None], ...]  # with the number of partitions, and when the next expires


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRollup:
    """A rollup that exists, or is about to be created."""

    rollup: Rollup
    policy_id: str | None = None  # the policy that requested it
    view: tuple[ViewPart, ...] = ()  # of the view over the cascade; only with the finest level
    # See :class:`model.catalog.View`; empty: unknown, since a run was killed or an older release made it; None: none.
    view_mark: str | None = None
    gone: int | None = None  # rows of its table before this instant expired; None: no rows, or it is not recorded
    identity: str = ""  # distinguishes the table with the raw rows from later ones of its name; empty: unknown
    changed: int | None = None  # when this was changed, except for `rest`
    rest: Rest | None = None  # of the cascade; only with the finest level


ReadWindows = Callable[[Sequence[TableName]], Mapping[TableName, Windows]]


@dataclass(frozen=True)
class Ledger:
    """
    The record of what each window of each level was computed from, and of the existing rollups. Windows that are not
    given are read when a level of their cascade is asked for.
    """

    rollups: Mapping[TableName, KnownRollup] = field(default_factory=dict)  # by the level's table
    windows: dict[TableName, Windows] = field(default_factory=dict)  # likewise
    reader: ReadWindows | None = None

    def of(self, table: TableName) -> Windows:
        if table not in self.windows and table in self.rollups:
            self.read([self.rollups[table].rollup.source])
        return self.windows.get(table, _NONE)

    def read(self, sources: Iterable[TableName]) -> None:
        """Read the windows of several cascades at once, unless that was done."""
        tables = [known.rollup.table for source in sources for known in self.of_source(source)]
        missing = [table for table in tables if table not in self.windows]
        if missing and self.reader is not None:
            self.windows.update({**dict.fromkeys(missing, _NONE), **self.reader(missing)})

    def of_source(self, source: TableName) -> Sequence[KnownRollup]:
        return self.by_source.get(source, ())

    @cached_property
    def by_source(self) -> Mapping[TableName, Sequence[KnownRollup]]:
        """The rollups by the table with the raw rows."""
        found: dict[TableName, list[KnownRollup]] = {}
        for known in self.rollups.values():
            found.setdefault(known.rollup.source, []).append(known)
        return found

    def identity(self, source: TableName) -> str:
        """Identifies the table with the raw rows that the rollups were made from; empty: unknown."""
        return next(filter(None, (known.identity for known in self.of_source(source))), "")

    def view_marks(self, source: TableName) -> tuple[str, ...]:
        """The marks of the toolkit's views over a table's cascade; several if a run was killed."""
        return tuple(known.view_mark for known in self.of_source(source) if known.view_mark is not None)

    def held_from(self, source: TableName, table: TableName) -> int | None:
        """
        The instant from which a table of a cascade is complete; None: from the beginning. The source of a sealed window
        is gone, unless it is known that only a part of it is. A level that was added later never contained windows that
        coarser levels had sealed before.
        """
        own = self.rollups.get(table)
        length, gone = (own.rollup.interval.approximate_seconds, own.gone) if own else (0, None)
        begins = self.of(table).first
        ends = [] if gone is None else [gone]
        for known in self.of_source(source):
            coarser = known.rollup.interval.approximate_seconds > length
            for row in self.of(known.rollup.table).divided(begins, gone, sealed=True) if coarser else ():
                never_had = table != source and (begins is None or row.end <= begins)
                partly = gone is not None and row.start < gone
                if never_had or (row.below == table and not partly):
                    ends.append(row.end)
        return max(ends, default=None)

    def sealed_by_others(self, table: TableName) -> int | None:
        """The end of windows that another level of the same source sealed while this one was not in the cascade."""
        own = self.rollups[table].rollup
        same = (known.rollup for known in self.of_source(own.source) if known.rollup.below == own.below)
        others = [rollup.table for rollup in same if rollup.table != table]
        if not others:
            return None
        still_open = TimeRanges(row.time for row in self.of(table).stored if not row.sealed)
        ends = (
            window.end
            for windows in map(self.of, others)
            for row in windows.sealed
            if still_open.overlapping(row.time)
            for window in windows.members(row)
            if still_open.overlapping(window.time)
        )
        return max(ends, default=None)


_NONE = Windows()
