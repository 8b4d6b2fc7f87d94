"""
A table's timeline as data: lanes of spans on one axis of time, with what happens to them next.

Thousands of partitions become few enough spans to be drawn: neighbours of the same state are joined and their numbers
added up, so that no sum changes. All instants are ms, UTC.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.effect import TaskGroup
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan import Hold
from cratedb_retention.model.time import TimeRange


class State(StrEnum):
    """What becomes of a time range, or became of it. The first ones matter most where several are true."""

    ARCHIVE = "archive", "will be archived, then dropped", "archive, drop"
    DROP = "drop", "will be dropped"
    MOVE = "move", "will be moved"
    ROLL = "roll", "will be rolled up", "roll up"
    PROBLEM = "problem", "due, but there is a problem"
    HELD = "held", "due, but held"
    KEPT = "kept", "kept"
    COMPUTED = "computed", "rolled up", "rolled up"
    SEALED = "sealed", "rolled up and sealed"
    MOVED = "moved", "moved"
    MOVING = "moving", "on its way to other nodes"
    COPY = "copy", "archived, data still there", "archived, still there"
    ARCHIVED = "archived", "archived, data dropped"
    RESTORED = "restored", "archived, and restored"

    words: str
    short: str  # for bars, which have little room

    def __new__(cls, name: str, words: str, short: str = "") -> State:
        member = str.__new__(cls, name)
        member._value_, member.words, member.short = name, words, short or name
        return member


# What the next run changes.
CHANGING = (State.ARCHIVE, State.DROP, State.MOVE, State.ROLL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A partition, window or snapshot."""

    start: int | None  # None if nothing tells
    end: int | None
    state: State
    name: str  # in words
    rows: int | None = None  # None if unknown
    size: int | None = None  # bytes; None if unknown
    reasons: tuple[str, ...] = ()
    due: int | None = None  # when a policy wants it, if one ever does and it does not yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Neighbouring items of the same state."""

    start: int
    end: int
    state: State
    count: int  # how many
    first: str  # the name of the first one
    last: str
    rows: int  # of those that are known
    unknown: int  # how many do not tell their rows
    size: int | None  # bytes of those that are known; None if none is
    reasons: tuple[str, ...] = ()  # a few of them
    more: int = 0  # how many more reasons there are
    due: int | None = None  # when the first of them is due
    gaps: bool = False  # whether there is nothing, or something of another state, in parts of it


@dataclass(frozen=True, kw_only=True)
class Lane:
    """What is on one line of the picture."""

    title: str
    spans: tuple[Span, ...] = ()  # for the picture, at most a few hundred
    stretches: tuple[Span, ...] = ()  # the same for a table: as few as possible
    unplaced: tuple[Item, ...] = ()  # items of which nothing tells the time
    note: str = ""  # how far it is, or why it is empty, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutoff:
    """A policy on the table, or on one of its rollups, and its limit."""

    policy_id: str
    table: TableName
    words: str  # what it does, with its retention period: ``delete after 90d``
    limit: int | None  # data before this instant is expired; None: never
    enabled: bool = True


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """All of it."""

    table: TableName
    now: int  # the cutoff of the plan
    lanes: tuple[Lane, ...]
    cutoffs: tuple[Cutoff, ...]
    changes: tuple[TaskGroup, ...]  # what the next run does
    held: tuple[Hold, ...]  # what is due and does not happen
    holds: tuple[LegalHold, ...]  # legal holds on the table
    notes: tuple[str, ...] = ()  # what there is to know besides, in sentences
    source: TableName | None = None  # the table with the raw rows, if this one is a rollup

    @property
    def extent(self) -> TimeRange | None:
        """From the first to the last instant of what is shown, now among them; None if nothing is."""
        spans = [span for lane in self.lanes for span in lane.spans]
        if not spans:
            return None
        return TimeRange(min(self.now, *(s.start for s in spans)), max(self.now, *(s.end for s in spans)))


_DRAWN = 150  # how many time ranges are drawn one by one; of more, as many groups are made
_LISTED = 60  # how many rows a table may have before gaps are passed over
_GAPS = 50
_REASONS = 3


def make_lane(title: str, items: Iterable[Item], note: str = "") -> Lane:
    """Join neighbours: into at most some hundreds of spans, and into as few stretches as possible."""
    placed, unplaced = list[Item](), list[Item]()
    for item in items:
        (unplaced if item.start is None or item.end is None else placed).append(item)
    placed.sort(key=_time)
    # A gap of which there can be only a few.
    wide = (max(_time(i)[1] for i in placed) - _time(placed[0])[0]) // _GAPS if placed else 0
    same: dict[tuple[object, ...], list[Item]] = {}
    for item in placed:
        same.setdefault((item.start, item.end, item.state), []).append(item)
    size = math.ceil(len(placed) / _DRAWN)
    spans = list(map(_span, same.values())) if len(same) <= _DRAWN else join(placed, size)
    if len(spans) > 2 * _DRAWN:
        spans = join(placed, size, wide)
    stretches = join(placed)
    if len(stretches) > _LISTED:
        stretches = join(placed, gap=wide)
    return Lane(title=title, spans=tuple(spans), stretches=tuple(stretches), unplaced=tuple(unplaced), note=note)


def _time(item: Item) -> tuple[int, int]:
    return item.start or 0, item.end or 0


def join(items: Iterable[Item], size: int | None = None, gap: int = 0) -> list[Span]:
    """
    Join neighbours of the same state: items by start, which all have, at most ``size`` at a time (None: any number),
    that are up to ``gap`` (ms) apart.
    """
    groups: list[list[Item]] = []
    last: dict[State, tuple[list[Item], int]] = {}
    for item in items:
        start, end = _time(item)
        group, until = last.get(item.state, (None, 0))
        if group is None or len(group) == size or start - until > gap:
            group, until = [], end
            groups.append(group)
        group.append(item)
        last[item.state] = group, max(until, end)
    return sorted(map(_span, groups), key=lambda span: (span.start, span.end, span.state))


def _span(items: Sequence[Item]) -> Span:
    reasons = list(dict.fromkeys(reason for item in items for reason in item.reasons))
    rows = [item.rows for item in items if item.rows is not None]
    sizes = [item.size for item in items if item.size is not None]
    ends = list(accumulate((_time(item)[1] for item in items), max))
    return Span(
        start=_time(items[0])[0],
        end=ends[-1],
        state=items[0].state,
        count=len(items),
        first=items[0].name,
        last=items[-1].name,
        rows=sum(rows),
        unknown=len(items) - len(rows),
        size=sum(sizes) if sizes else None,
        reasons=tuple(reasons[:_REASONS]),
        more=max(0, len(reasons) - _REASONS),
        due=min((item.due for item in items if item.due is not None), default=None),
        gaps=any(_time(item)[0] > end for item, end in zip(items[1:], ends, strict=False)),
    )
