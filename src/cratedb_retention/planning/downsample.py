"""
The strategy ``downsample``: which windows of which level are due. Like a build system it redoes what is dirty, and
what lies above that. Expiry of raw rows and levels is the other half, in :mod:`.coverage` and :mod:`.delete`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from cratedb_retention.model.catalog import Catalog, TableName
from cratedb_retention.model.measurements import Measurements, WindowRows
from cratedb_retention.model.plan import Hold, Step, Task
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.model.rollup import (
    AlterRollup,
    Computed,
    CreateRollup,
    Ledger,
    LedgerRow,
    RebaseRollup,
    ReplaceView,
    RollUp,
    Rollup,
    SealWindows,
    ViewPart,
    Window,
    is_own_view,
    view_name,
)
from cratedb_retention.model.time import TimeRange, TimeRanges, show
from cratedb_retention.model.values import Deletions
from cratedb_retention.planning.cascades import Cascade, CascadeLevel, beneath_target
from cratedb_retention.planning.pieces import PieceIndex, make_pieces
from cratedb_retention.planning.targets import Target
from cratedb_retention.planning.windows import (
    OpenWindow,
    Source,
    WindowGrid,
    batches,
    open_window,
    sources_of_pieces,
    sources_of_rows,
    sources_of_windows,
    window_grid,
    window_probe,
)

# Work of one step: what a run that is killed has to do again, and what one statement of the database holds.
WINDOWS_IN_STEP, ROWS_IN_STEP = 100, 20_000_000
_NEW, _CHANGED, _GROWN = "new", "changed", "grown"


@dataclass(frozen=True, kw_only=True)
class Due:
    """A window that has to be computed."""

    windows: tuple[Window, ...]  # what of it, in order of time: all of it, or some of its buckets
    reason: str  # why, in a word
    parts: str = ""  # what lies beneath its parts, if it is open
    before: tuple[Computed, ...] = ()  # what of it was computed before, and must not lose rows

    @property
    def whole(self) -> bool:
        return self.windows[0].whole


@dataclass(frozen=True, kw_only=True)
class LevelState:
    """A level with what lies beneath its windows and what is planned for them."""

    level: CascadeLevel
    grid: WindowGrid
    sources: Mapping[int, Source]
    by_rows: bool  # whether the table beneath has no partitions of time
    rows: Mapping[int, LedgerRow]
    open: OpenWindow | None  # the window that lasts beyond the cutoff
    measurements: Measurements
    former: Mapping[int, LedgerRow]  # what the ledger has of all its windows, also those computed from another table
    guarded: bool  # whether no window may lose rows by being computed again (law 4)
    full: bool  # whether a full disk keeps the level from being written
    planned: dict[int, Due] = field(default_factory=dict)  # the windows that are due, by start
    held: dict[int, tuple[Reason, bool]] = field(default_factory=dict)  # those that must wait; whether it is a problem
    # Windows that would lose rows, and stay as they are: how many were rolled up, and how many are left.
    lost: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def counts(self) -> bool:
        """Whether it is computed from the values of counters."""
        return self.level.rollup.has_counters

    def changing(self) -> Iterator[TimeRange]:
        """What is about to be computed."""
        return (TimeRange(window.since, window.until) for due in self.planned.values() for window in due.windows)

    def loses(self, before: Computed) -> bool:
        """Whether buckets would lose rows by being computed again, which is noted."""
        balance = self.measurements.balances.get((self.level.rollup, before.window))
        lost = balance.lost(before.rows) if balance else None
        if lost:
            rolled, left = self.lost.get(before.window.start, (0, 0))
            self.lost[before.window.start] = (rolled + lost[0], left + lost[1])
        return lost is not None


def level_states(
    cascade: Cascade, ledger: Ledger, pieces: PieceIndex, measurements: Measurements, cutoff: int
) -> list[LevelState]:
    """Decide about each window of each level at a cutoff (ms, UTC)."""
    states: list[LevelState] = []
    for level in cascade.levels:
        below = states[-1] if states else None
        state = _make_state(cascade, level, below, ledger, pieces, measurements, cutoff)
        _decide(state, below, cutoff)
        states.append(state)
    return states


def _make_state(
    cascade: Cascade,
    level: CascadeLevel,
    below: LevelState | None,
    ledger: Ledger,
    pieces: PieceIndex,
    measurements: Measurements,
    cutoff: int,
) -> LevelState:
    rollup, target = level.rollup, beneath_target(cascade, level.rollup)
    grid, by_rows = _level_grid(cascade, level, below.level if below else None)
    if by_rows:
        sources = sources_of_rows(grid, measurements.windows.get(window_probe(rollup, grid), ()))
    else:
        known = pieces.of(target).known if target is not None and target.grids else ()
        sources = sources_of_pieces(known, grid.windows)
    for changing in below.changing() if below else ():
        for start, end in grid.windows(changing):
            sources.setdefault(start, Source(end=end))
    rebased = _before(level, below, ledger)
    former = rows = ledger.of(rollup.table)
    if rebased is not None:
        rows = {start: replace(row, sealed=True) for start, row in rows.items() if row.sealed or start < rebased}
    # Where the level's table is gone, there is nothing to be lost.
    guarded = cascade.policy.deletions is Deletions.BLOCK and level.table is not None
    decided = replace(rollup, window=grid.interval, window_zone=grid.zone_name)
    tables = [target.table for target in level.targets] or [cascade.raw.table]
    return LevelState(
        level=replace(level, rollup=decided),
        grid=grid,
        sources=sources,
        by_rows=by_rows,
        rows=rows,
        open=open_window(decided, grid, rows, cutoff),
        measurements=measurements,
        former=former,
        guarded=guarded,
        full=any(table.read_only for table in tables),
    )


def _level_grid(cascade: Cascade, level: CascadeLevel, beneath: CascadeLevel | None) -> tuple[WindowGrid, bool]:
    """A level's windows, and whether the table beneath has no partitions of time."""
    if beneath is not None:
        partition = beneath.rollup.partition
        return window_grid(level.rollup, partition.approximate_seconds * 1000 if partition else None), partition is None
    grids = [grid for _, grid in cascade.raw.grids]
    shortest = min((grid.period.approximate_ms for grid in grids), default=None)
    return window_grid(level.rollup, shortest, str(grids[0].zone) if grids else None), not grids


def _before(level: CascadeLevel, below: LevelState | None, ledger: Ledger) -> int | None:
    """
    Before which instant a level can't be computed any more, though its windows are not sealed: it was computed from
    another table, or was no part of the cascade when another level sealed what lies beneath. None if neither is so.
    """
    rollup, known = level.rollup, ledger.rollups.get(level.rollup.table)
    if known is None or not ledger.of(rollup.table):
        return None
    if known.rollup.beneath == rollup.beneath:
        return ledger.sealed_by_others(rollup.table)
    gone = ledger.held_from(rollup.source, rollup.beneath) or 0
    if below is None:
        return gone
    begins = [start for start in (ledger.begins_at(rollup.beneath), *below.planned) if start is not None]
    # A level that is new, and finds nothing to begin with, can give nothing of what this one has.
    return max(gone, min(begins, default=max(row.end for row in ledger.of(rollup.table).values())))


def _decide(state: LevelState, below: LevelState | None, cutoff: int) -> None:
    rollup = state.level.rollup
    complete = rollup.interval.floor(cutoff, rollup.tzinfo)
    dirty = TimeRanges(below.changing() if below else ())
    waiting = TimeRanges((start, below.sources[start].end) for start in below.held) if below else TimeRanges()
    sealed = TimeRanges((row.start, row.end) for row in state.rows.values() if row.sealed)
    for start in sorted(state.sources):
        source, row = state.sources[start], state.rows.get(start)
        span = TimeRange(start, source.end)
        if (row is not None and row.sealed) or (row is None and sealed.overlapping(span)):
            continue
        stale = dirty.overlapping(span)
        if not stale and not source.rows and not source.hidden:
            continue
        reason = _why_held(source, bool(waiting.overlapping(span)))
        if reason:
            state.held[start] = reason
            continue
        if state.counts and state.planned:
            # A counter's first increase in a window is from the last value before it.
            stale = [span]
        until = min(source.end, complete)
        present = state.open if state.open is not None and start == state.open.start else None
        if present is not None and row is not None:
            due = _due_open(state, present, source, row, below, stale)
        else:
            parts = str(present.parts(state.measurements)) if present else ""
            due = _spare(state, _due(start, source, row, bool(stale), until, parts), row)
        if due is not None and state.full:
            state.held[start] = Why.DISK_FULL(), True
        elif due is not None:
            state.planned[start] = due


def _due(start: int, source: Source, row: LedgerRow | None, stale: bool, until: int, parts: str) -> Due | None:
    """
    A window that is new or over; None if it is clean, or has no complete bucket.

    :param stale: Whether the level beneath is about to change.
    :param until: The end of the last complete bucket.
    """
    if until <= start or (row is not None and until < source.end):
        return None
    windows = (Window(start=start, end=source.end, since=start, until=until),)
    if row is None:
        return Due(windows=windows, reason=_NEW, parts=parts)
    if row.whole and row.token == source.token and not stale:
        return None
    return Due(windows=windows, reason=_CHANGED if row.whole else _GROWN)


def _spare(state: LevelState, due: Due | None, row: LedgerRow | None) -> Due | None:
    """
    No window loses rows by being computed again, unless the policy says so (law 4). One that would stays as it is, but
    for the buckets that were not computed yet.
    """
    if due is None or not state.guarded:
        return due
    window = due.windows[0]
    former = row or state.former.get(window.start)
    if former is None or not former.rows:
        return due
    before = Computed(window, former.rows if former.until <= window.until else None)
    if not state.loses(before):
        return replace(due, before=(before,))
    if row is None or row.until >= window.until:
        return None
    return Due(windows=(replace(window, since=row.until),), reason=_GROWN, parts=row.parts)


def _due_open(
    state: LevelState,
    present: OpenWindow,
    source: Source,
    row: LedgerRow,
    below: LevelState | None,
    changing: Sequence[TimeRange],
) -> Due | None:
    """
    What of the open window has to be computed: buckets that changed since they were, and those that are complete now.

    :param changing: What is about to change beneath it.
    """
    rollup, measurements = state.level.rollup, state.measurements
    interval, zone = rollup.interval, rollup.tzinfo
    computed = TimeRange(present.start, row.until)
    changed = {
        TimeRange(interval.floor(since, zone), interval.ceiling(until, zone)) & computed
        for since, until in (*changing, *present.stale(measurements))
        if since < row.until
    }
    if changed and state.counts:  # What a counter grew by begins at the value before.
        changed = {TimeRange(min(changed).start, row.until)}
    before = {time: present.before(time) for time in sorted(changed)} if state.guarded else {}
    kept = [time for time, one in before.items() if state.loses(one)]
    times = [time for time in changed if time not in kept]
    reason = _CHANGED if times else _GROWN
    grown = TimeRange(row.until, present.complete)
    if not grown.empty and (changing or source.token != row.token or _has_more(present, measurements, below, row)):
        times.append(grown)
    windows = tuple(
        Window(start=present.start, end=present.end, since=since, until=until)
        for since, until in TimeRanges(times).joined()
    )
    parts = present.parts(measurements, kept)
    former = tuple(one for time, one in before.items() if time not in kept)
    return Due(windows=windows, reason=reason, parts=str(parts or ""), before=former) if windows else None


def _has_more(present: OpenWindow, measurements: Measurements, below: LevelState | None, row: LedgerRow) -> bool:
    """
    Whether there may be rows beneath an open window that it was not computed from, though nothing was written since:
    the change token was read while their buckets were not complete.
    """
    if below is None:
        return bool(present.grown(measurements).found)
    return any(
        other.rows and other.start < present.complete and row.until < other.until for other in below.rows.values()
    )


def _why_held(source: Source, waiting: bool) -> tuple[Reason, bool] | None:
    missing = sum(piece.partition.missing_shards for piece in source.pieces)
    if missing:
        return Why.MISSING_SHARDS(count=missing), True
    if any(piece.partition.closed for piece in source.pieces):
        return Why.PARTITION_CLOSED(), True
    return (Why.SOURCE_BLOCKED(), False) if waiting else None


def plan_levels(
    cascade: Cascade, states: Sequence[LevelState], catalog: Catalog, ledger: Ledger
) -> Iterator[Task | Hold]:
    """The tasks that bring all levels up to date, finest first, and what has to wait."""
    below: LevelState | None = None
    older = tuple(_older(states, ledger))
    for state in states:
        needed = list(_prepare(cascade, state, below, catalog, ledger))
        if not state.full:
            yield from needed
        elif needed and not state.held:
            full = Hold(policy_id=cascade.policy.id, table=cascade.source, why=Why.DISK_FULL(), problem=True)
            yield replace(full, level=state.level.rollup.table)
        yield from _roll_up(cascade, state, below is None or not below.planned, older if below is None else ())
        yield from _holds(cascade, state)
        below = state


def _prepare(
    cascade: Cascade, state: LevelState, below: LevelState | None, catalog: Catalog, ledger: Ledger
) -> Iterator[Task]:
    level, rollup = state.level, state.level.rollup
    if level.table is None or (rollup.sketched and rollup.sketch not in catalog.tables):
        left_out = tuple(column.name for column in cascade.left_out) if rollup.from_raw else ()
        create = CreateRollup(rollup=rollup, replicas=cascade.raw.table.replicas, left_out=left_out)
        yield _task(cascade, create, Why.LEVEL_NEW())
    if level.table is not None:
        missing = tuple(name for name in rollup.columns if name not in level.table.columns)
        if missing:
            yield _task(cascade, AlterRollup(rollup=rollup, columns=missing), Why.LEVEL_WIDER())
    before = _before(level, below, ledger)
    if before is not None:
        yield _task(cascade, RebaseRollup(rollup=rollup, before=before), Why.LEVEL_REBASED())


def _older(states: Sequence[LevelState], ledger: Ledger) -> Iterator[tuple[Rollup, int]]:
    """The levels that still have what a finer one has not any more, each with the instant before which that is so."""
    for finer, coarser in pairwise(states):
        rollup = finer.level.rollup
        begins = ledger.held_from(rollup.source, rollup.table)
        if begins is None or coarser.level.table is None:
            return
        yield coarser.level.rollup, begins


def _roll_up(
    cascade: Cascade, state: LevelState, settled: bool, older: tuple[tuple[Rollup, int], ...]
) -> Iterator[Task]:
    """
    The steps that compute windows.

    :param settled: Whether the plan leaves what lies beneath as it is, so that its change tokens are known.
    :param older: See :class:`RollUp`.
    """
    planned = ((start, state.sources[start].rows) for start in sorted(state.planned))
    for batch, rows in batches(planned, WINDOWS_IN_STEP, ROWS_IN_STEP):
        due = [state.planned[start] for start in batch]
        each = [(start, one, window) for start, one in zip(batch, due, strict=True) for window in one.windows]
        # One that stays as it is, in part, is looked at again by the next run, whatever its change token is then.
        tokens = ["" if start in state.lost else state.sources[start].token for start, _, _ in each]
        reasons = [one.reason for one in due]
        step = RollUp(
            rollup=state.level.rollup,
            windows=tuple(window for _, _, window in each),
            rows=tuple(state.sources[start].rows for start, _, _ in each),
            idents=tuple(sorted({p.partition.ident for start in batch for p in state.sources[start].pieces})),
            tokens=tuple(tokens) if settled else (),
            parts=tuple(one.parts for _, one, _ in each) if settled else (),
            older=older,
            before=tuple(computed for one in due for computed in one.before),
        )
        why = Why.WINDOWS_DUE(
            count=len(batch),
            start=step.windows[0].since,
            end=step.windows[-1].until,
            states=tuple(f"{reasons.count(word)} {word}" for word in (_NEW, _CHANGED, _GROWN) if word in reasons),
        )
        yield _task(cascade, step, why, rows or None)


def _holds(cascade: Cascade, state: LevelState) -> Iterator[Hold]:
    rollup = state.level.rollup
    by_reason: dict[tuple[Reason, bool], list[int]] = {}
    for start, reason in state.held.items():
        by_reason.setdefault(reason, []).append(start)
    if state.lost:
        rolled, left = (sum(numbers) for numbers in zip(*state.lost.values(), strict=True))
        why_lost = Why.ROWS_LOST(rolled=rolled, level=rollup.table, left=left, source=rollup.beneath)
        by_reason[why_lost, True] = sorted(state.lost)
    for (why, problem), starts in by_reason.items():
        yield Hold(
            policy_id=cascade.policy.id,
            table=cascade.source,
            why=why,
            partitions=tuple(f"{rollup.interval} from {show(start)}" for start in starts[:5]),
            count=len(starts),
            problem=problem,
            level=rollup.table,
            windows=tuple((start, state.sources[start].end) for start in starts),
        )


def _task(cascade: Cascade, step: Step, why: Reason, rows: int | None = None) -> Task:
    """All of a cascade's tasks are on its source, so that after a failure no coarser level goes on."""
    return Task(policy_id=cascade.policy.id, table=cascade.source, steps=(step,), why=why, rows=rows)


def find_window_probes(cascade: Cascade, ledger: Ledger, cutoff: int) -> Iterator[WindowRows]:
    """What must be asked of the rows: where no partitions tell, of all windows; of open ones, what was written to."""
    beneath: CascadeLevel | None = None
    for level in cascade.levels:
        if beneath is None or beneath.table is not None:
            grid, by_rows = _level_grid(cascade, level, beneath)
            if by_rows:
                yield window_probe(level.rollup, grid)
            rows = ledger.of(level.rollup.table)
            present = open_window(level.rollup, grid, rows, cutoff)
            if present is not None:
                target = None if by_rows else beneath_target(cascade, level.rollup)
                yield from present.probes(target is None or _is_written(target, present, rows))
        beneath = level


def _is_written(target: Target, present: OpenWindow, rows: Mapping[int, LedgerRow]) -> bool:
    """Whether the partitions beneath an open window are other than when it was computed."""
    pieces = make_pieces(target.table, target.grids, {})
    source = sources_of_windows([Window.of(present.start, present.end)], pieces).get(present.start)
    row = rows.get(present.start)
    return present.known is None or source is None or row is None or source.token != row.token


def plan_view(cascade: Cascade, catalog: Catalog, ledger: Ledger, tasks: Iterable[Task]) -> Iterator[Task | Hold]:
    """Create the view, or renew it where this run changes what it consists of; never one that somebody else made."""
    name = view_name(cascade.source)
    there = catalog.taken(name)
    if there is not None and not _is_own(cascade, catalog, ledger, there):
        yield Hold(policy_id=cascade.policy.id, table=cascade.source, why=Why.VIEW_TAKEN(view=there), problem=True)
        return
    levels = {level.rollup.table for level in cascade.levels}
    steps = [step for task in tasks for step in task.steps]
    created = {step.rollup.table for step in steps if isinstance(step, CreateRollup)}
    if levels - created - {level.rollup.table for level in cascade.levels if level.table is not None}:
        return  # What is to be created waits.
    seals = [step for step in steps if isinstance(step, SealWindows) and step.rollup.table in levels]
    parts = view_parts(cascade, ledger, seals, [found for step in steps if (found := step.expires)])
    finest = cascade.levels[0].rollup
    known = ledger.rollups.get(finest.table)
    altered = any(isinstance(step, CreateRollup | AlterRollup) and step.rollup.table in levels for step in steps)
    lost = there is None and catalog.views is not None
    if altered or lost or known is None or known.view != parts:
        view = ReplaceView(
            view=name,
            source=cascade.source,
            time=finest.time,
            dimensions=finest.dimensions,
            metrics=finest.metrics,
            parts=parts,
            marks=() if there is None else ledger.view_marks(cascade.source),
        )
        yield _task(cascade, view, Why.VIEW_CHANGED())


def _is_own(cascade: Cascade, catalog: Catalog, ledger: Ledger, there: TableName) -> bool:
    view = (catalog.views or {}).get(there)
    tables = [cascade.source, *(level.rollup.table for level in cascade.levels)]
    marks = ledger.view_marks(cascade.source)
    return view is not None and is_own_view(view, cascade.levels[0].rollup.time.name, tables, marks)


def view_parts(
    cascade: Cascade, ledger: Ledger, seals: Sequence[SealWindows], expiring: Sequence[tuple[TableName, int]]
) -> tuple[ViewPart, ...]:
    """
    Which table the view shows for which time range, oldest first.

    :param seals: Windows that are about to be sealed.
    :param expiring: Tables of which everything before an instant (ms, UTC) is about to expire.
    """
    parts: list[ViewPart] = []
    end: int | None = None
    for rollup in (None, *(level.rollup for level in cascade.levels)):
        table = rollup.table if rollup else cascade.source
        gone = [ledger.held_from(cascade.source, table)]
        gone += [until for name, until in expiring if name == table and rollup is not None]
        if rollup is None:
            gone += [window.end for seal in seals if seal.rollup.beneath == table for window in seal.windows]
        start = max((instant for instant in gone if instant is not None), default=None)
        if end is not None and start is not None and start >= end:
            continue
        if end is not None and rollup is not None:
            end = rollup.interval.ceiling(end, rollup.tzinfo)
            # What finer tables show begins with a whole bucket of the coarser one before it. The bucket in the middle
            # of which they begin is shown as a whole, so their rows in it would be there twice.
            parts = [part for part in parts if part.end is None or part.end > end]
            parts[-1] = replace(parts[-1], start=end)
        parts.append(ViewPart(table=table, interval=str(rollup.interval) if rollup else "", start=start, end=end))
        if start is None:
            break
        end = start
    return tuple(reversed(parts))
