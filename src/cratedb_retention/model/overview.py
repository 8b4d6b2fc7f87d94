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
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.effect import TaskGroup
from cratedb_retention.model.plan.plan import Blocked
from cratedb_retention.model.time import TimeRange


class State(StrEnum):
    """What becomes of a time range, or became of it. The first ones matter most where several are true."""

    ARCHIVE = "archive", "will be archived, then dropped", "archive, drop"
    DROP = "drop", "will be dropped"
    MOVE = "move", "will be moved"
    ROLL = "roll", "will be rolled up", "roll up"
    NEEDS_ATTENTION = "needs-attention", "due, but blocked until a person acts", "needs attention"
    BLOCKED = "blocked", "due, but blocked"
    UP_TO_DATE = "up-to-date", "up to date", "up to date"
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
class Span:
    """A partition, window or snapshot, or neighbouring ones of the same state."""

    time: TimeRange  # of one of which nothing tells it, without an end
    state: State
    count: int = 1  # how many
    first: str  # the name of the first one, in words
    last: str = ""
    rows: int | None = None  # of those that are known; None if none is
    unknown: int = 0  # how many of several do not tell their rows
    size: int | None = None  # bytes of those that are known; None if none is
    reasons: tuple[str, ...] = ()  # a few of them
    more: int = 0  # how many more reasons there are
    due: int | None = None  # when a policy wants the first of them, if one ever does and it does not yet
    gaps: bool = False  # whether there is nothing, or something of another state, in parts of it


@dataclass(frozen=True, kw_only=True)
class Lane:
    """What is on one line of the picture."""

    title: str
    spans: tuple[Span, ...] = ()  # for the picture, at most a few hundred
    stretches: tuple[Span, ...] = ()  # the same for a table: as few as possible
    unplaced: tuple[Span, ...] = ()  # those of which nothing tells the time
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
    blocked: tuple[Blocked, ...]  # what is due and does not happen
    holds: tuple[LegalHold, ...]  # legal holds on the table
    notes: tuple[str, ...] = ()  # what there is to know besides, in sentences
    source: TableName | None = None  # the table with the raw rows, if this one is a rollup

    @property
    def extent(self) -> TimeRange | None:
        """From the first to the last instant of what is shown, now among them; None if nothing is."""
        instants = [instant for lane in self.lanes for span in lane.spans for instant in span.time]
        return TimeRange(min(self.now, *instants), max(self.now, *instants)) if instants else None


_DRAWN = 150  # how many time ranges are drawn one by one; of more, as many groups are made
_LISTED = 60  # how many rows a table may have before gaps are passed over
_GAPS = 50
_REASONS = 3


def make_lane(title: str, items: Iterable[Span], note: str = "") -> Lane:
    """Join neighbours: into at most some hundreds of spans, and into as few stretches as possible."""
    placed, unplaced = list[Span](), list[Span]()
    for item in items:
        (unplaced if None in item.time.ends else placed).append(item)
    placed.sort(key=lambda item: item.time)
    # A gap of which there can be only a few.
    wide = (max(item.time.end for item in placed) - placed[0].time.start) // _GAPS if placed else 0
    same: dict[tuple[TimeRange, State], list[Span]] = {}
    for item in placed:
        same.setdefault((item.time, item.state), []).append(item)
    size = math.ceil(len(placed) / _DRAWN)
    spans = list(map(_span, same.values())) if len(same) <= _DRAWN else join(placed, size)
    if len(spans) > 2 * _DRAWN:
        spans = join(placed, size, wide)
    stretches = join(placed)
    if len(stretches) > _LISTED:
        stretches = join(placed, gap=wide)
    return Lane(title=title, spans=tuple(spans), stretches=tuple(stretches), unplaced=tuple(unplaced), note=note)


def join(items: Iterable[Span], size: int | None = None, gap: int = 0) -> list[Span]:
    """
    Join neighbours of the same state: items by start, which all have, at most ``size`` at a time (None: any number),
    that are up to ``gap`` (ms) apart.
    """
    groups: list[list[Span]] = []
    last: dict[State, tuple[list[Span], int]] = {}
    for item in items:
        start, end = item.time
        group, until = last.get(item.state, (None, 0))
        if group is None or len(group) == size or start - until > gap:
            group, until = [], end
            groups.append(group)
        group.append(item)
        last[item.state] = group, max(until, end)
    return sorted(map(_span, groups), key=lambda span: (span.time, span.state))


def _span(items: Sequence[Span]) -> Span:
    reasons = list(dict.fromkeys(reason for item in items for reason in item.reasons))
    rows = [item.rows for item in items if item.rows is not None]
    sizes = [item.size for item in items if item.size is not None]
    ends = list(accumulate((item.time.end for item in items), max))
    return Span(
        time=TimeRange(items[0].time.start, ends[-1]),
        state=items[0].state,
        count=len(items),
        first=items[0].first,
        last=items[-1].first,
        rows=sum(rows) if rows else None,
        unknown=len(items) - len(rows),
        size=sum(sizes) if sizes else None,
        reasons=tuple(reasons[:_REASONS]),
        more=max(0, len(reasons) - _REASONS),
        due=min((item.due for item in items if item.due is not None), default=None),
        gaps=any(item.time.start > end for item, end in zip(items[1:], ends, strict=False)),
    )
