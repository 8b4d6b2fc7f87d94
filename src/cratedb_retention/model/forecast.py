"""
Forecasts: how much data there will be, day by day; what is removed when; when a disk is full; and what it costs.

A forecast has one series for each table, each level and each archive. All of its sequences have one value for each of
its instants: the first is now, each other one is a day later, after the run of that day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import pairwise
from operator import mul
from typing import NamedTuple

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.duration import parse_duration
from cratedb_retention.model.plan.plan import Blocked
from cratedb_retention.model.step import Kind
from cratedb_retention.model.time import MONTH_MS, parse_instant, show, to_ms
from cratedb_retention.model.words import Choice, plural

GIGABYTE = 10**9
MOST_DAYS = 3650
# A weekly rhythm is worth mentioning if a weekday differs by this share from the mean.
_NOTABLE = 0.05
# Blocked actions that are named; a plan shows all of them.
_MOST_REMARKS = 10


class Part(Choice):
    """What a series is about."""

    TABLE = "table", "A table"
    LEVEL = "level", "A level of a cascade"
    ARCHIVE = "archive", "Archived partitions of a table, in one repository"


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """How a table is stored."""

    size: int | None = None  # Bytes of one copy; None: unknown.
    shards: int | None = None  # Of one copy of a partition, or of the table; None: the database has none.
    copies: float = 1.0  # How often each row is stored: one more than its replicas.


@dataclass(frozen=True, slots=True, kw_only=True)
class Disks:
    """The disks of a database, in bytes."""

    total: int
    used: int


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How fast a table grows, and what that was measured from."""

    daily: float = 0.0  # Rows per day, now.
    trend: float = 0.0  # By how many rows per day that changes each day.
    rhythm: tuple[float, ...] = ()  # The share of each day of the week, relative to the mean; empty: unknown.
    start: int | None = None  # The time range that it was measured from (ms, UTC).
    end: int | None = None
    units: int = 0  # The number of units in it, and their name.
    unit: str = ""
    why: str = ""  # Why it is unknown, so that no growth is assumed; or what it rests on instead.
    known: bool = True

    @property
    def source(self) -> str:
        """What it was measured from."""
        if not self.units:
            return self.why
        measured = f"{plural(self.units, self.unit)} from {show(self.start)} to {show(self.end)}"
        return f"{measured}; {self.why}" if self.why else measured

    @property
    def has_rhythm(self) -> bool:
        return any(abs(share - 1) > _NOTABLE for share in self.rhythm)


@dataclass(frozen=True, kw_only=True)
class Series:
    """What becomes of one table, level or archive."""

    part: Part
    table: TableName  # The table, or the one that was archived.
    source: TableName  # Of a level, the table with the raw rows; else the same.
    rate: Rate
    rows: Sequence[int]
    size: Sequence[int] | None  # Bytes on disk, with replicas; None: unknown.
    partitions: Sequence[int]  # Zero for a table without partitions; of an archive, its snapshots.
    shards: Sequence[int] | None  # With replicas; None: the database has none.
    reach: Sequence[int | None]  # For how many days there is data; None: unknown, or there is none.
    repository: str = ""  # Of an archive.

    @property
    def title(self) -> str:
        return f"{self.table} in {self.repository}" if self.repository else str(self.table)


class Event(NamedTuple):
    """What the run of one day does to one table under one policy. Forecasts have very many, so it is a tuple."""

    day: int  # The position in the sequences.
    kind: Kind
    table: TableName
    policy_id: str
    partitions: int
    rows: int
    size: int | None
    end: int | None = None  # All of this data is older than this instant (ms, UTC); None: unknown.

    def with_(self, other: Event) -> Event:
        """Both events together."""
        return self._replace(
            partitions=self.partitions + other.partitions,
            rows=self.rows + other.rows,
            size=None if self.size is None or other.size is None else self.size + other.size,
            end=None if self.end is None or other.end is None else max(self.end, other.end),
        )


@dataclass(frozen=True)
class Work:
    """What runs do to one table under one policy, in order of time; at least one event."""

    events: Sequence[Event]

    @property
    def first(self) -> Event:
        return self.events[0]

    @property
    def last(self) -> Event:
        return self.events[-1]

    @property
    def whole(self) -> Event:
        """All of it together, on the first day."""
        return reduce(Event.with_, self.events)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """
    How much data there will be under some policies.

    :param times: Instants (ms, UTC): now, and each day from then on, after the run of that day.
    :param series: The rows, bytes, partitions and shards of each table, level and archive, with one value per instant.
    :param events: What runs do, in order of time.
    :param blocked: What is blocked now until a person acts; the forecast assumes that it stays so.
    :param capacity: Bytes that fit on the disks; None: unknown.
    :param other: Bytes on the disks that are in no series; the forecast assumes that they stay.
    :param price: Of a gigabyte (10^9 bytes) of tables in a month of 30.44 days; None: not given.
    :param archive_price: The same for archives.
    :param notes: What it does not take into account.
    """

    times: Sequence[int]
    series: tuple[Series, ...]
    events: tuple[Event, ...]
    blocked: tuple[Blocked, ...] = ()
    capacity: int | None = None
    other: int = 0
    price: float | None = None
    archive_price: float | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def size(self) -> Sequence[int] | None:
        """Bytes of all tables and levels; None if that is unknown for all of them."""
        return _total(series.size for series in self.series if series.part is not Part.ARCHIVE)

    @cached_property
    def archived(self) -> Sequence[int] | None:
        """Bytes of all archives; None if there are none, or their sizes are unknown."""
        return _total(series.size for series in self.series if series.part is Part.ARCHIVE)

    @cached_property
    def rows(self) -> Sequence[int]:
        """Rows of all tables and levels."""
        rows = _total(series.rows for series in self.series if series.part is not Part.ARCHIVE)
        return rows or [0] * len(self.times)

    @cached_property
    def full(self) -> int | None:
        """The position of the first day on which the data no longer fits on the disks; None if it does, or unknown."""
        if self.capacity is None or self.size is None:
            return None
        return next((day for day, size in enumerate(self.size) if size + self.other > self.capacity), None)

    @cached_property
    def peak(self) -> int:
        """The position of the day with most data."""
        found = self.rows if self.size is None else self.size
        return max(range(len(found)), key=found.__getitem__)

    @property
    def full_at(self) -> int | None:
        """When that is (ms, UTC)."""
        return None if self.full is None else self.times[self.full]

    @property
    def works(self) -> list[Work]:
        """What runs do, by table, policy and kind, in order of time."""
        groups: dict[tuple[object, ...], list[Event]] = {}
        for event in self.events:
            groups.setdefault((event.table, event.kind, event.policy_id), []).append(event)
        return [Work(events) for events in groups.values()]

    @property
    def remarks(self) -> Iterator[str]:
        """What has to be known to rely on it, a sentence each."""
        for series in self.series:
            if not series.rate.known:
                yield f"{series.title}: no growth is assumed: {series.rate.why}"
        unsized = [series.title for series in self.series if series.size is None]
        if unsized and self.size is not None:
            yield f"of unknown size, and not in the totals: {', '.join(unsized)}"
        for blocked in self.blocked[:_MOST_REMARKS]:
            yield f"{blocked.table}: the forecast assumes that this stays blocked: {blocked.reason}"
        if (more := len(self.blocked) - _MOST_REMARKS) > 0:
            yield f"{more:,} more are blocked, as the plan shows"
        yield from self.notes

    @property
    def monthly(self) -> Sequence[float] | None:
        """What the data of each day costs in a month; None without prices or sizes."""
        parts = ((self.price, self.size), (self.archive_price, self.archived))
        known = [[price * of / GIGABYTE for of in size] for price, size in parts if price is not None and size]
        return [sum(costs) for costs in zip(*known, strict=True)] if known else None

    @property
    def cost(self) -> float | None:
        """What the data costs until the end of the forecast; None without prices or sizes."""
        lengths = [end - start for start, end in pairwise(self.times)]
        monthly = self.monthly
        return None if monthly is None else sum(map(mul, monthly, lengths)) / MONTH_MS


def _total(found: Iterable[Sequence[int] | None]) -> list[int] | None:
    known = [each for each in found if each is not None]
    return [sum(values) for values in zip(*known, strict=True)] if known else None


def read_until(text: str, now: dt.datetime) -> dt.datetime:
    """Read the end of a forecast: ``+1y``, ``+90d``, or an instant such as ``2030-01-01``."""
    relative = text.strip()
    if not relative.startswith("+"):
        return parse_instant(relative)
    until = parse_duration(relative[1:]).after(now)
    if until is None:
        raise InvalidInput(f"end {text!r}", "after the year 9999", "choose an earlier one")
    return until


def count_days(now: dt.datetime, until: dt.datetime) -> int:
    """The number of days until the end of a forecast, rounded up; InvalidInput if it is past or too far away."""
    days = -((now - until) // dt.timedelta(days=1))
    thing = f"end {show(to_ms(until))}"
    if until <= now:
        raise InvalidInput(thing, "is not in the future", "choose a later one, such as +1y")
    if days > MOST_DAYS:
        raise InvalidInput(thing, f"is more than {MOST_DAYS // 365} years away", "choose an earlier one")
    return days


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What becomes of a table, level or archive under two sets of policies; None: it is not there."""

    about: Series  # One of both.
    before: Series | None
    after: Series | None

    @property
    def both(self) -> tuple[Series | None, Series | None]:
        return self.before, self.after


def differences(before: Forecast, after: Forecast) -> list[Difference]:
    """The differences between forecasts for the same days, by table; without what is the same under both."""
    series = [{(each.table, each.part, each.repository): each for each in of.series} for of in (before, after)]
    found = []
    for key in sorted({*series[0], *series[1]}):
        one, other = (each.get(key) for each in series)
        same = one and other and (one.rows, one.size, one.reach) == (other.rows, other.size, other.reach)
        if (about := other or one) and not same:
            found.append(Difference(about=about, before=one, after=other))
    return found
