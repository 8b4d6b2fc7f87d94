"""
The interlock of law 3: raw rows and levels expire only when the level above covers them at their present change token.

What is summarized together expires together: a window is sealed when nothing can come to it any more that is on time.
For raw rows this is so when all of the window has expired; for a level when all of its own windows in there are sealed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.plan import Piece
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.model.rollup import SealWindows, Window
from cratedb_retention.model.time import TimeRange
from cratedb_retention.model.values import Late
from cratedb_retention.planning.downsample import LevelState
from cratedb_retention.planning.targets import TableHold
from cratedb_retention.planning.windows import digest


@dataclass(frozen=True, kw_only=True)
class Above:
    """What lies above a table."""

    state: LevelState
    policy_id: str  # the policy that rolls up
    late: Late
    active: bool  # whether this run rolls up what is due
    # What the level is computed from, or the distributions of that, whose change tokens nobody keeps, since they are
    # written together.
    table: TableName
    limit: int | None  # the instant before which raw rows are expired; None if they are kept forever

    @property
    def tracked(self) -> bool:
        """Whether the level's ledger holds the change tokens of the table's partitions."""
        return self.state.level.rollup.beneath == self.table


@dataclass(kw_only=True)
class ExpirableRows:
    """Rows that may be deleted, and those that may not though they are expired, by windows."""

    # Windows that may go, each with its rows; those that no other one with rows lies between, together.
    going: list[list[tuple[Window, int]]] = field(default_factory=list)
    dropped: dict[int, int] = field(default_factory=dict)  # of these, rows that came too late, by the window's start
    late: list[tuple[Window, int]] = field(default_factory=list)  # with rows that came too late and are kept
    held: list[tuple[Window, int, TableHold]] = field(default_factory=list)  # with rows under a legal hold
    waiting: Reason | None = None  # why nothing later is deleted; None if all that is expired was looked at


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What lies above which table."""

    above: Mapping[TableName, Above] = field(default_factory=dict)  # by the table beneath
    own: Mapping[TableName, Above] = field(default_factory=dict)  # the levels, by their own tables
    sealing: dict[TableName, set[int]] = field(default_factory=lambda: defaultdict(set))  # windows that this plan seals
    _waiting: dict[tuple[TableName, TimeRange], Reason | None] = field(default_factory=dict)

    def why_not(self, table: TableName, piece: Piece, limit: int) -> Reason | None:
        """
        Why an expired piece must wait; None if what lies above covers it, or will when it is its turn.

        :param limit: The instant (ms, UTC) before which the table's rows are expired.
        """
        return next(filter(None, self._reasons(table, piece, limit)), None)

    def _reasons(self, table: TableName, piece: Piece, limit: int) -> Iterator[Reason | None]:
        above, own = self.above.get(table), self.own.get(table)
        if above is not None and not above.state.by_rows:
            yield from (_why_not(above, piece, *window) for window in _windows(above, piece))
        if own is not None:
            yield from (self._why_waiting(own, time) for time in _going(above, piece))
        elif above is not None:
            # Raw rows that may go by themselves: others of the same window may still come, and be on time.
            level, cascade = above.state.level.rollup.table, above.policy_id
            ends = (end for _, end in _open_windows(above, piece) if end > limit)
            yield from (Why.WHOLE_WINDOW(level=level, end=end, cascade=cascade) for end in ends)

    def _why_waiting(self, own: Above, time: TimeRange) -> Reason | None:
        """Why a level's own rows of a time range must wait; many pieces ask for the same."""
        table = own.state.level.rollup.table
        if (table, time) not in self._waiting:
            windows = (window for window in own.state.grid.windows(time) if window.start not in self.sealing[table])
            self._waiting[table, time] = next(filter(None, (_why_open(own, *window) for window in windows)), None)
        return self._waiting[table, time]

    def late_rows(self, table: TableName, piece: Piece) -> bool:
        """Whether a piece holds what came after its windows were sealed."""
        above = self.above.get(table)
        return above is not None and any(_is_late(above, piece, start) for start, _ in _windows(above, piece))

    def protects(self, table: TableName) -> bool:
        """Whether something lies above a table to which others write."""
        above = self.above.get(table)
        return above is not None and above.state.level.rollup.source == table

    def seal(self, table: TableName, pieces: Sequence[Piece]) -> Iterator[SealWindows]:
        """The steps that come right before pieces go."""
        own, above = self.own.get(table), self.above.get(table)
        if own is not None:
            # What a level loses must never be computed again, or it would come back, too late for the level above.
            times = {time for piece in pieces for time in _going(above, piece)}
            yield from self._seal(own, (window for time in times for window in own.state.grid.windows(time)), ())
        if above is not None:
            # A piece that is late for one window, and goes as the policy says, may be on time for the next.
            groups: list[list[Piece]] = [[]]
            for piece in pieces:
                groups.append([piece]) if self.late_rows(table, piece) else groups[0].append(piece)
            for group in groups:
                windows = (w for p in group for w in _windows(above, p) if not _is_late(above, p, w.start))
                yield from self._seal(above, windows, [p.partition.ident for p in group] if above.tracked else ())

    def _seal(self, above: Above, windows: Iterable[TimeRange], idents: Sequence[str]) -> Iterator[SealWindows]:
        """Seal windows. Partitions that go, by their idents, are looked at one by one, even if a window is sealed."""
        state = above.state
        tracked = [(s, e) for s, e in sorted(set(windows)) if s in state.rows or s in state.planned]
        found = tuple(Window.of(s, e) for s, e in tracked if idents or not _is_sealed(above, s))
        self.sealing[state.level.rollup.table].update(window.start for window in found)
        if found:
            yield SealWindows(rollup=state.level.rollup, windows=found, idents=tuple(idents))

    def rows(self, table: TableName, limit: int, holds: Sequence[TableHold]) -> ExpirableRows | None:
        """
        Which rows of a table without partitions of time may be deleted: those of whole windows.

        :param limit: The instant (ms, UTC) before which they are expired.
        :param holds: The legal holds on the table.
        :return: None if nothing lies above the table.
        """
        above = self.above.get(table)
        return None if above is None else _expirable(above, limit, holds)


def _windows(above: Above, piece: Piece) -> Iterable[TimeRange]:
    """The windows that a piece touches."""
    return () if piece.time is None else above.state.grid.windows(piece.time)


def _open_windows(above: Above, piece: Piece) -> Iterator[TimeRange]:
    """Those that are not sealed yet, and would be if the piece went."""
    return (window for window in _windows(above, piece) if not _is_sealed(above, window.start))


def _going(above: Above | None, piece: Piece) -> list[TimeRange]:
    """The time of a piece, and of what would be sealed if it went."""
    return [piece.time, *(_open_windows(above, piece) if above is not None else ())] if piece.time else []


def _is_sealed(above: Above, start: int) -> bool:
    return start in above.state.rows and above.state.rows[start].sealed


def _why_open(own: Above, start: int, end: int) -> Reason | None:
    """Why a level's own rows must wait: what they were computed from is still there, or may still come."""
    state = own.state
    if _is_sealed(own, start):
        return None
    if start in state.planned or _rows_beneath(state, start):
        return Why.SOURCE_THERE(source=state.level.rollup.beneath, cascade=own.policy_id)
    if start not in state.rows and own.limit is not None and end > own.limit:
        return Why.SOURCE_OPEN(source=state.level.rollup.source, cascade=own.policy_id)
    return None


def _expirable(above: Above, limit: int, holds: Sequence[TableHold]) -> ExpirableRows:
    state, found = above.state, ExpirableRows()
    together: list[tuple[Window, int]] = []
    before = state.grid.interval.floor(limit, state.grid.zone)
    # Windows whose rows may be gone, without a note of it: then a row that comes late could not be told as such.
    unfinished = {start for start, row in state.rows.items() if row.sealed and not row.expired}
    for start in sorted(at for at in {*state.sources, *unfinished} if at < before):
        window = Window.of(*state.grid.window(start))
        rows = _rows_beneath(state, start)
        if not _is_sealed(above, start) and not _is_covered(above, start):
            found.waiting = _not_yet(above, start, window.end)
            return found
        late = _late_rows(state, start)
        # What is left of a window could not be told from rows that come late, so it goes as a whole or not at all.
        hold = next((hold for hold in holds if hold.hold.overlaps(start, window.end)), None)
        if late and above.late is Late.KEEP:
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


def _rows_beneath(state: LevelState, start: int) -> int:
    return state.sources[start].rows if start in state.sources else 0


def _late_rows(state: LevelState, start: int) -> int:
    """Rows that came to a window when its own were gone, or about to go."""
    rows, row = _rows_beneath(state, start), state.rows.get(start)
    if row is None or not row.sealed:
        return 0
    if row.expired:
        return rows
    return max(0, rows - row.rows) if state.level.rollup.from_raw else 0


def _is_covered(above: Above, start: int) -> bool:
    """Whether a window covers all rows beneath it, or will when it is its turn."""
    state, row = above.state, above.state.rows.get(start)
    if start in state.planned:
        return above.active and state.planned[start].whole
    return row is not None and row.whole and row.token == state.sources[start].token


def _why_not(above: Above, piece: Piece, start: int, end: int) -> Reason | None:
    row = above.state.rows.get(start)
    if _is_late(above, piece, start):
        late = Why.LATE_KEPT(rows=piece.partition.rows or 0, cascade=above.policy_id)
        return late if above.late is Late.KEEP else None
    if row is not None and (row.sealed or _is_clean(above, piece, start)):
        return None
    planned = above.state.planned.get(start)
    if planned is not None and planned.whole and above.active:
        return None
    if row is None and piece.partition.rows == 0:
        return None
    return _not_yet(above, start, end)


def _is_clean(above: Above, piece: Piece, start: int) -> bool:
    row, state = above.state.rows.get(start), above.state
    if row is None or not row.whole or start in state.planned or start in state.lost:
        return False
    if above.tracked:
        return digest(piece) in row.token.split()
    return start in state.sources and state.sources[start].token == row.token


def _is_late(above: Above, piece: Piece, start: int) -> bool:
    row = above.state.rows.get(start)
    return bool(
        above.tracked
        and row is not None
        and row.sealed
        and piece.partition.rows
        and digest(piece) not in row.token.split()
    )


def _not_yet(above: Above, start: int, end: int) -> Reason:
    level, cascade = above.state.level.rollup.table, above.policy_id
    if start in above.state.lost:
        return Why.NOT_ROLLED_UP_LOST(level=level, cascade=cascade)
    if start in above.state.held:
        return Why.NOT_ROLLED_UP_AS(level=level, cascade=cascade, why=above.state.held[start][0])
    if start in above.state.planned and not above.active:
        return Why.NOT_ROLLED_UP_HERE(level=level, cascade=cascade)
    return Why.NOT_ROLLED_UP(level=level, cascade=cascade, end=end)


def make_coverage(cascades: Iterable[tuple[Sequence[LevelState], Policy, bool, int | None]]) -> Coverage:
    """
    What lies above which table.

    :param cascades: Of each the levels, the policy, whether this run rolls up, and before which instant (ms, UTC) raw
        rows are expired.
    """
    above: dict[TableName, Above] = {}
    own: dict[TableName, Above] = {}
    for states, policy, active, limit in cascades:
        about = partial(Above, policy_id=policy.id or "", late=policy.late, active=active, limit=limit)
        for state in states:
            rollup = state.level.rollup
            for table in (rollup.beneath,) if rollup.from_raw else (rollup.beneath, rollup.beneath_sketch):
                above[table] = about(state=state, table=table)
            for table in (rollup.table, rollup.sketch):
                own[table] = about(state=state, table=table)
    return Coverage(above=above, own=own)
