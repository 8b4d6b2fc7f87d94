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

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.effect import TaskGroup
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan import Hold


class State(StrEnum):
    """What becomes of a stretch of time, or became of it. The first ones matter most where several are true."""

    ARCHIVE = "archive"
    DROP = "drop"
    MOVE = "move"
    ROLL = "roll"
    PROBLEM = "problem"
    HELD = "held"
    KEPT = "kept"
    COMPUTED = "computed"
    SEALED = "sealed"
    MOVED = "moved"
    MOVING = "moving"
    COPY = "copy"
    ARCHIVED = "archived"
    RESTORED = "restored"


WORDS = {
    State.ARCHIVE: "will be archived, then dropped",
    State.DROP: "will be dropped",
    State.MOVE: "will be moved",
    State.ROLL: "will be rolled up",
    State.PROBLEM: "due, but there is a problem",
    State.HELD: "due, but held",
    State.KEPT: "kept",
    State.COMPUTED: "rolled up",
    State.SEALED: "rolled up and sealed",
    State.MOVED: "moved",
    State.MOVING: "on its way to other nodes",
    State.COPY: "archived, data still there",
    State.ARCHIVED: "archived, data dropped",
    State.RESTORED: "archived, and restored",
}
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
    size: int | None = None  # Bytes; None if unknown
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

    title: str  # its name
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
    def extent(self) -> tuple[int, int] | None:
        """From the first to the last instant of what is shown, now among them; None if nothing is."""
        spans = [span for lane in self.lanes for span in lane.spans]
        if not spans:
            return None
        return min(self.now, *(span.start for span in spans)), max(self.now, *(span.end for span in spans))


_DRAWN = 150  # so many time ranges are drawn one by one; of more, so many groups are made
_LISTED = 60  # so many rows a table may have before gaps are passed over
_GAPS = 50
_REASONS = 3


def make_lane(title: str, items: Iterable[Item], note: str = "") -> Lane:
    """Join neighbours: into at most some hundreds of spans, and into as few stretches as possible."""
    items = list(items)
    placed = [item for item in items if item.start is not None and item.end is not None]
    placed.sort(key=lambda item: (item.start or 0, item.end or 0))
    unplaced = tuple(item for item in items if item.start is None or item.end is None)
    return Lane(title=title, spans=tuple(_draw(placed)), stretches=tuple(_list(placed)), unplaced=unplaced, note=note)


def _draw(items: Sequence[Item]) -> list[Span]:
    same: dict[tuple[object, ...], list[Item]] = {}
    for item in items:
        same.setdefault((item.start, item.end, item.state), []).append(item)
    if len(same) <= _DRAWN:
        return [_span(group) for group in same.values()]
    size = math.ceil(len(items) / _DRAWN)
    found = join(items, size)
    return found if len(found) <= 2 * _DRAWN else join(items, size, _wide(items))


def _list(items: Sequence[Item]) -> list[Span]:
    found = join(items)
    return found if len(found) <= _LISTED else join(items, None, _wide(items))


def _wide(items: Sequence[Item]) -> int:
    """A gap of which there can be only a few."""
    start, end = min(item.start or 0 for item in items), max(item.end or 0 for item in items)
    return (end - start) // _GAPS


def join(items: Iterable[Item], size: int | None = None, gap: int = 0) -> list[Span]:
    """
    Join neighbours of the same state.

    :param items: By start; all have one.
    :param size: At most so many at a time; None: any number.
    :param gap: How far apart (ms) neighbours may be.
    """
    groups: list[list[Item]] = []
    last: dict[State, tuple[list[Item], int]] = {}
    for item in items:
        start, end = item.start or 0, item.end or 0
        group, until = last.get(item.state, (None, 0))
        if group is None or len(group) == size or start - until > gap:
            group, until = [], end
            groups.append(group)
        group.append(item)
        last[item.state] = group, max(until, end)
    return sorted((_span(group) for group in groups), key=lambda span: (span.start, span.end, span.state))


def _span(items: Sequence[Item]) -> Span:
    reasons = list(dict.fromkeys(reason for item in items for reason in item.reasons))
    rows = [item.rows for item in items if item.rows is not None]
    sizes = [item.size for item in items if item.size is not None]
    until = items[0].end or 0
    gaps = False
    for item in items:
        gaps = gaps or (item.start or 0) > until
        until = max(until, item.end or 0)
    return Span(
        start=items[0].start or 0,
        end=until,
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
        gaps=gaps,
    )
