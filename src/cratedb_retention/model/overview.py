"""
The timeline of a table as data: lanes of spans on one time axis, with their states.

To draw thousands of partitions, adjacent ones of the same state are joined, and their numbers are added. All instants
are ms, UTC.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import accumulate

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.effect import TaskGroup, total
from cratedb_retention.model.plan.plan import Blocked
from cratedb_retention.model.policies.lifecycle import Lifecycle
from cratedb_retention.model.step import Kind
from cratedb_retention.model.time import EVER, TimeRange, TimeRanges


class State(StrEnum):
    """The state of a time range, or its next action. If several apply, the first one counts."""

    ARCHIVE = "archive", "will be archived, then dropped", "archive, drop"
    DROP = "drop", "will be dropped"
    END = "end", "archive will be deleted for good"
    MOVE = "move", "will be moved"
    COMPACT = "compact", "will be compacted"
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
    short: str  # for bars with little space

    def __new__(cls, name: str, words: str, short: str = "") -> State:
        member = str.__new__(cls, name)
        member._value_, member.words, member.short = name, words, short or name
        return member


# The states that the next run changes, by what it does.
CHANGES: Mapping[Kind, State] = {
    Kind.ARCHIVE: State.ARCHIVE,
    Kind.DELETE: State.DROP,
    Kind.END_ARCHIVE: State.END,
    Kind.MOVE: State.MOVE,
    Kind.COMPACT: State.COMPACT,
    Kind.ROLL_UP: State.ROLL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A partition, window or snapshot, a range of windows, or adjacent ones of the same state."""

    time: TimeRange  # without an end if unknown
    state: State
    count: int = 1  # the number of items
    first: str  # the name of the first item
    last: str = ""
    rows: int | None = None  # the known rows; None if none are known
    unknown: int = 0  # the number of items whose rows are unknown
    size: int | None = None  # the known bytes; None if none are known
    reasons: tuple[str, ...] = ()  # the first few reasons
    more: int = 0  # the number of further reasons
    due: int | None = None  # when the first item will be due under a policy, if ever; of an archive, when it ends
    gaps: bool = False  # whether parts of it are empty or have another state


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One line of the chart."""

    title: str
    spans: tuple[Span, ...] = ()  # for the chart, at most a few hundred
    stretches: tuple[Span, ...] = ()  # the same for a table: as few as possible
    unplaced: tuple[Span, ...] = ()  # items whose time is unknown
    note: str = ""  # its progress, or why it is empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutoff:
    """A policy on the table, or on one of its rollups, and its expiry limit."""

    policy_id: str
    table: TableName
    words: str  # its strategy and retention period: ``delete after 90d``
    limit: int | None  # data before this instant is expired; None: never
    enabled: bool = True


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The complete timeline."""

    table: TableName
    now: int  # the cutoff of the plan
    lanes: tuple[Lane, ...]
    cutoffs: tuple[Cutoff, ...]
    changes: tuple[TaskGroup, ...]  # the tasks of the next run
    blocked: tuple[Blocked, ...]  # due actions that are blocked
    holds: tuple[LegalHold, ...]  # legal holds on the table
    lifecycles: tuple[Lifecycle, ...] = ()  # by the policies on the table, one for each of their filters
    notes: tuple[str, ...] = ()  # further notes, in sentences
    source: TableName | None = None  # the table with the raw rows, if this one is a rollup

    @property
    def gone(self) -> TimeRanges:
        """
        The time before an expiry limit of the table of which no lane has anything; none if the time of some data is
        unknown.
        """
        enabled = (each for each in self.cutoffs if each.enabled and each.table == self.table)
        limits = [each.limit for each in enabled if each.limit is not None]
        if not limits or not self.lanes or not self.lanes[0].spans or any(lane.unplaced for lane in self.lanes):
            return TimeRanges()
        kept = (span.time for lane in self.lanes for span in lane.spans)
        return TimeRanges([(EVER.start, max(limits))]) - kept


def with_rows(found: Timeline, rows: TimeRange, count: int | None) -> Timeline:
    """
    A timeline with the rows of a table that has no partitions by time, whose lane is empty otherwise: those that the
    next run deletes, or that are blocked, and the others.

    :param count: The number of rows; None: unknown.
    """
    lane, *others = found.lanes
    if lane.spans or lane.unplaced or rows.empty:
        return found
    limits = [each.limit for each in found.cutoffs if each.enabled and each.table == found.table]
    deleted = [each for each in found.changes if each.first.kind is Kind.DELETE and each.first.table == found.table]
    ends, why, state = [each.amount.end for each in deleted], tuple(each.what for each in deleted), State.DROP
    blocked = [each for each in found.blocked if each.table == found.table]
    if blocked and not deleted:
        ends, why = [*limits], tuple(each.reason for each in blocked)
        state = State.NEEDS_ATTENTION if any(each.needs_attention for each in blocked) else State.BLOCKED
    latest = max((end for end in ends if end is not None), default=rows.start)
    until = min(max(latest, rows.start), rows.end)
    going = total(each.amount.rows for each in deleted) if deleted else None
    left = None if count is None or going is None else count - going
    spans = [
        Span(time=TimeRange(rows.start, until), state=state, first="rows", rows=going, reasons=why[:_REASONS]),
        Span(time=TimeRange(until, rows.end), state=State.UP_TO_DATE, first="rows", rows=count if not ends else left),
    ]
    placed = tuple(span for span in spans if not span.time.empty)
    return replace(found, lanes=(replace(lane, spans=placed, stretches=placed), *others))


_DRAWN = 150  # the maximum number of time ranges that are drawn one by one; more are grouped
_LISTED = 60  # the number of rows of a table above which spans are joined across gaps
_GAPS = 50
_REASONS = 3


def make_lane(title: str, items: Iterable[Span], note: str = "") -> Lane:
    """Join adjacent items into at most a few hundred spans, and into as few stretches as possible."""
    placed, unplaced = list[Span](), list[Span]()
    for item in items:
        (unplaced if None in item.time.ends else placed).append(item)
    placed.sort(key=lambda item: item.time)
    # A length of gaps of which there can be only a few.
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
    Join adjacent items of the same state: items with a time, sorted by start, at most ``size`` at a time (None: any
    number), that are up to ``gap`` (ms) apart.
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
        count=sum(item.count for item in items),
        first=items[0].first,
        last=items[-1].last or items[-1].first,
        rows=sum(rows) if rows else None,
        unknown=sum(item.unknown or (item.count if item.rows is None else 0) for item in items),
        size=sum(sizes) if sizes else None,
        reasons=tuple(reasons[:_REASONS]),
        more=max(0, len(reasons) - _REASONS),
        due=min((item.due for item in items if item.due is not None), default=None),
        gaps=any(item.time.start > end for item, end in zip(items[1:], ends, strict=False)),
    )
