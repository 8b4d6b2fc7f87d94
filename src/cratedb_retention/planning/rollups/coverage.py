"""
Law 3: raw rows and levels expire only when the coarser level covers them at their present change token. Rows that are
summarized together expire together: a window is sealed once no more rows can arrive on time. For raw rows, that is when
all of the window has expired; for a level, when all of its own windows in that range are sealed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.plan.reasons import Reason, Why
from cratedb_retention.model.policies.values import Late
from cratedb_retention.model.rollups.ledger import Expired, KnownRollup
from cratedb_retention.model.rollups.rollup import SealWindows, Window
from cratedb_retention.model.step import Piece
from cratedb_retention.model.time import EVER, TimeRange, TimeRanges
from cratedb_retention.planning.facts import Facts
from cratedb_retention.planning.holds import TableHold
from cratedb_retention.planning.rollups.cascades import below_as_target
from cratedb_retention.planning.rollups.downsample import CascadePlan, LevelPlan
from cratedb_retention.planning.rollups.windows import digest
from cratedb_retention.planning.targets import Undecided


@dataclass(kw_only=True)
class ExpirableRows:
    """Expired rows by windows: those that may be deleted, and those that may not."""

    # Windows to delete, each with its number of rows, in groups that no other window with rows divides.
    going: list[list[tuple[Window, int]]] = field(default_factory=list)
    dropped: dict[int, int] = field(default_factory=dict)  # late rows of these, by the window's start
    late: list[tuple[Window, int]] = field(default_factory=list)  # with late rows that are kept
    held: list[tuple[Window, int, TableHold]] = field(default_factory=list)  # with rows under a legal hold
    waiting: Reason | None = None  # why no later window is deleted; None if all were examined


@dataclass(frozen=True)
class Above:
    """A level, as seen from a table: its source, the distributions of its source, or one of its own tables."""

    state: LevelPlan
    table: TableName

    @property
    def cascade(self) -> str:
        """The identifier of the policy that rolls up."""
        return self.state.plan.cascade.policy.id or ""

    @property
    def tracked(self) -> bool:
        """Whether the ledger has change tokens of the table's partitions; it has none of distributions."""
        return self.state.rollup.below == self.table

    def windows(self, piece: Piece) -> Sequence[TimeRange]:
        time = piece.time
        return () if time is None else self.state.grid.windows(time)

    def open_windows(self, piece: Piece) -> Iterator[TimeRange]:
        """Windows that are not sealed yet, and would be if the piece were dropped."""
        return (window for window in self.windows(piece) if not self.is_sealed(window.start))

    def is_sealed(self, start: int) -> bool:
        return self.state.rows.is_sealed(start)

    def is_late(self, piece: Piece, start: int) -> bool:
        """Whether a piece arrived after a window of its time was sealed."""
        rows = self.state.rows
        row = rows.get(start) if rows.sealed and self.tracked else None
        if row is None or not row.sealed or not piece.partition.rows:
            return False
        return digest(piece) not in row.token.split()

    def _is_clean(self, piece: Piece, start: int) -> bool:
        row, state = self.state.rows.get(start), self.state
        if row is None or not row.whole or start in state.planned or start in state.lost:
            return False
        if self.tracked:
            return digest(piece) in row.token.split()
        return start in state.sources and state.sources[start].token == row.token

    def why_not(self, piece: Piece, start: int, end: int) -> Reason | None:
        """Why a piece must wait for a window; None if the window covers it, or will by then."""
        row, planned = self.state.rows.get(start), self.state.planned.get(start)
        if self.is_late(piece, start):
            late = Why.LATE_KEPT(rows=piece.partition.rows or 0, cascade=self.cascade)
            return late if self.state.plan.cascade.policy.late is Late.KEEP else None
        if row is not None and (row.sealed or self._is_clean(piece, start)):
            return None
        if planned is not None and planned.windows[0].whole and self.state.plan.active:
            return None
        if row is None and piece.partition.rows == 0:
            return None
        return self._not_yet(start, end)

    def why_open(self, start: int, end: int) -> Reason | None:
        """Why a level's own rows must wait: their source still has rows, or may still get some."""
        state = self.state
        if self.is_sealed(start):
            return None
        if start in state.planned or self._rows_below(start):
            return Why.SOURCE_THERE(source=state.rollup.below, cascade=self.cascade)
        if start not in state.rows and state.plan.limit is not None and end > state.plan.limit:
            return Why.SOURCE_OPEN(source=state.rollup.source, cascade=self.cascade)
        return None

    def _not_yet(self, start: int, end: int) -> Reason:
        state, level, cascade = self.state, self.state.rollup.table, self.cascade
        if start in state.lost:
            return Why.NOT_ROLLED_UP_LOST(level=level, cascade=cascade)
        if start in state.blocked:
            return Why.NOT_ROLLED_UP_AS(level=level, cascade=cascade, why=state.blocked[start][0])
        if start in state.planned and not self.state.plan.active:
            return Why.NOT_ROLLED_UP_HERE(level=level, cascade=cascade)
        return Why.NOT_ROLLED_UP(level=level, cascade=cascade, end=end)

    def expirable(self, limit: int, holds: Sequence[TableHold]) -> ExpirableRows:
        """Windows before an instant (ms, UTC) whose rows may be deleted, for a table without partitions of time."""
        state, found = self.state, ExpirableRows()
        together: list[tuple[Window, int]] = []
        before = state.grid.interval.floor(limit, state.grid.zone)
        # Windows whose rows may be gone without a record of that: a late row could not be recognized.
        sealed = (row for row in state.rows.stored if row.sealed and not row.expired)
        unfinished = {window.start for row in sealed for window in state.rows.members(row)}
        for start in sorted(at for at in {*state.sources, *unfinished} if at < before):
            window = Window.of(*state.grid.window(start))
            rows = self._rows_below(start)
            if not self.is_sealed(start) and not self._is_covered(start):
                found.waiting = self._not_yet(start, window.end)
                return found
            row, late = state.rows.get(start), 0
            # Rows that arrived when the window's own rows were deleted, or about to be, are late.
            if row is not None and row.sealed:
                late = rows if row.expired else max(0, rows - row.rows) if state.rollup.from_raw else 0
            # The rest of a window would be indistinguishable from late rows, so it is deleted as a whole or not at all.
            hold = next((hold for hold in holds if hold.hold.overlaps(start, window.end)), None)
            if late and self.state.plan.cascade.policy.late is Late.KEEP:
                found.late.append((window, late))
                together = []
            elif hold is not None:
                found.held.append((window, rows, hold))
                together = []
            else:
                found.going += [] if together else [together]
                together.append((window, rows))
                found.dropped[start] = late
        return found

    def _rows_below(self, start: int) -> int:
        return self.state.sources[start].rows if start in self.state.sources else 0

    def _is_covered(self, start: int) -> bool:
        """Whether a window covers all rows of its source, or will by then."""
        state, row = self.state, self.state.rows.get(start)
        if start in state.planned:
            return self.state.plan.active and state.planned[start].windows[0].whole
        return row is not None and row.whole and row.token == state.sources[start].token


def find_expired(facts: Facts, known: KnownRollup) -> Expired | None:
    """What has expired of a level; None if nothing has, or if it is unknown what is left of its source."""
    rollup, below = known.rollup, facts.catalog.tables.get(known.rollup.below)
    policy = next((policy for policy in facts.policies if policy.id == known.policy_id), None)
    if known.gone is None or below is None or policy is None or rollup.window is None:
        return None
    try:
        target = below_as_target(policy, rollup, below)
    except Undecided:
        return None
    pieces = facts.pieces.of(target).known if target.grids else ()
    # Without partitions of time, the ledger alone tells what is gone.
    left = TimeRanges(filter(None, (piece.time for piece in pieces)) if target.grids else [EVER])
    return Expired(until=known.gone, below=rollup.below, left=left, interval=rollup.window, zone=rollup.window_zone)


class Coverage:
    """Which level covers which table, according to the plans of cascades."""

    def __init__(self, plans: Iterable[CascadePlan] = ()) -> None:
        self.above: dict[TableName, Above] = {}  # by the table that the level is computed from
        self.own: dict[TableName, Above] = {}  # the levels, by their own tables
        self.sealing: dict[TableName, set[int]] = defaultdict(set)  # windows that this plan seals
        self._waiting: dict[tuple[TableName, TimeRange], Reason | None] = {}
        for state in (state for plan in plans for state in plan.levels):
            rollup = state.rollup
            for table in (rollup.below,) if rollup.from_raw else (rollup.below, rollup.below_sketch):
                self.above[table] = Above(state, table)
            for table in (rollup.table, rollup.sketch):
                self.own[table] = Above(state, table)

    def why_not(self, table: TableName, piece: Piece, limit: int) -> Reason | None:
        """Why a piece that expired by the limit (ms, UTC) must wait; None if the coarser level covers it, or will."""
        above, own = self.above.get(table), self.own.get(table)
        windows = above.windows(piece) if above is not None else ()
        if above is not None and not above.state.by_rows:
            for window in windows:
                if reason := above.why_not(piece, *window):
                    return reason
        if own is not None:
            return next(filter(None, (self._why_waiting(own, time) for time in _going(above, piece))), None)
        if above is not None:
            # Raw rows of a window that has not expired entirely: others may still arrive on time.
            for start, end in windows:
                if end > limit and not above.is_sealed(start):
                    return Why.WHOLE_WINDOW(level=above.state.rollup.table, end=end, cascade=above.cascade)
        return None

    def _why_waiting(self, own: Above, time: TimeRange) -> Reason | None:
        """Why a level's own rows of a time range must wait; cached, since many pieces share a range."""
        table = own.state.rollup.table
        if (table, time) not in self._waiting:
            windows = (window for window in own.state.grid.windows(time) if window.start not in self.sealing[table])
            self._waiting[table, time] = next(filter(None, (own.why_open(*window) for window in windows)), None)
        return self._waiting[table, time]

    def protects(self, table: TableName) -> bool:
        """Whether a table has the raw rows of a level."""
        above = self.above.get(table)
        return above is not None and above.state.rollup.source == table

    def seal(self, table: TableName, pieces: Sequence[Piece]) -> Iterator[SealWindows]:
        """The steps right before pieces are dropped."""
        own, above = self.own.get(table), self.above.get(table)
        if own is not None:
            # Dropped buckets must never be computed again: they would return as late rows of the coarser level.
            times = {time for piece in pieces for time in _going(above, piece)}
            yield from self._seal(own, (window for time in times for window in own.state.grid.windows(time)), ())
        if above is not None:
            # A piece that is late for one window, and dropped as the policy states, may be on time for the next.
            groups: list[tuple[list[str], list[TimeRange]]] = [([], [])]
            for piece in pieces:
                windows = above.windows(piece)
                on_time = [window for window in windows if not above.is_late(piece, window.start)]
                if len(on_time) < len(windows):
                    groups.append(([piece.partition.ident], on_time))
                else:
                    groups[0][0].append(piece.partition.ident)
                    groups[0][1].extend(on_time)
            for idents, of_group in groups:
                yield from self._seal(above, of_group, idents if above.tracked else ())

    def _seal(self, above: Above, windows: Iterable[TimeRange], idents: Sequence[str]) -> Iterator[SealWindows]:
        """Seal windows. Partitions to drop, by their idents, are checked one by one, even if a window is sealed."""
        state = above.state
        tracked = [(s, e) for s, e in sorted(set(windows)) if s in state.planned or s in state.rows]
        found = tuple(state.whole(s, e) for s, e in tracked if idents or not above.is_sealed(s))
        self.sealing[state.rollup.table].update(window.start for window in found)
        if found:
            yield SealWindows(rollup=state.rollup, windows=found, idents=tuple(idents))


def _going(above: Above | None, piece: Piece) -> list[TimeRange]:
    """The time range of a piece, and those of the windows that dropping it would seal."""
    return [piece.time, *(above.open_windows(piece) if above is not None else ())] if piece.time else []
