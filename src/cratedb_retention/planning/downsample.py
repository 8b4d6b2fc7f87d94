"""
The strategy ``downsample``: which windows of which level are due. Like a build system it redoes what is dirty, and
what lies above that. Expiry of raw rows and levels is the other half, in :mod:`.coverage` and :mod:`.delete`.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cratedb_retention.model.catalog import Catalog
from cratedb_retention.model.instant import show
from cratedb_retention.model.ledger import Ledger, LedgerRow
from cratedb_retention.model.measurements import Measurements, WindowRows
from cratedb_retention.model.plan import Hold, Step, Task
from cratedb_retention.model.rollup import Aggregate, Window
from cratedb_retention.model.rollup_steps import AlterRollup, CreateRollup, RebaseRollup, RollUp
from cratedb_retention.model.words import plural
from cratedb_retention.planning.batches import batches
from cratedb_retention.planning.cascades import Cascade, CascadeLevel, beneath_target
from cratedb_retention.planning.layout import expected_columns
from cratedb_retention.planning.pieces import PieceIndex
from cratedb_retention.planning.reasons import missing_shards
from cratedb_retention.planning.windows import (
    Source,
    WindowGrid,
    partition_length,
    sources_of_pieces,
    sources_of_rows,
    window_grid,
    window_probe,
)

# Work of one step: what a run that is killed has to do again, and what one statement of the database holds.
WINDOWS_IN_STEP, ROWS_IN_STEP = 100, 20_000_000
_NEW, _CHANGED, _GROWN = "new", "changed", "grown"


@dataclass(frozen=True)
class LevelState:
    """
    A level with what lies beneath its windows and what is planned for them.

    :param by_rows: Whether the table beneath has no partitions of time.
    :param planned: The windows that are due, by start, each with the reason in a word.
    :param held: Windows that must wait, with the reason and whether that is a problem.
    """

    level: CascadeLevel
    grid: WindowGrid
    sources: Mapping[int, Source]
    by_rows: bool
    rows: Mapping[int, LedgerRow]
    planned: dict[int, tuple[Window, str]] = field(default_factory=dict)
    held: dict[int, tuple[str, bool]] = field(default_factory=dict)


def level_states(
    cascade: Cascade, catalog: Catalog, ledger: Ledger, pieces: PieceIndex, measurements: Measurements, cutoff: int
) -> list[LevelState]:
    """
    Decide about each window of each level.

    :param cutoff: The instant (ms, UTC) taken for now.
    """
    states: list[LevelState] = []
    for level in cascade.levels:
        below = states[-1] if states else None
        state = _make_state(cascade, level, below, catalog, ledger, pieces, measurements)
        _decide(state, below, cutoff)
        states.append(state)
    return states


def _make_state(
    cascade: Cascade,
    level: CascadeLevel,
    below: LevelState | None,
    catalog: Catalog,
    ledger: Ledger,
    pieces: PieceIndex,
    measurements: Measurements,
) -> LevelState:
    rollup = level.rollup
    target = beneath_target(cascade, rollup, catalog)
    known = pieces.of(target).known if target is not None and target.grids else ()
    if below is None:
        by_rows = not cascade.raw.grids
        grids = [grid for _, grid in cascade.raw.grids]
        grid = window_grid(rollup, partition_length(grids), str(grids[0].zone) if grids else None)
    else:
        partition = below.level.rollup.partition
        grid = window_grid(rollup, partition.approximate_seconds * 1000 if partition else None)
        by_rows = partition is None
    if by_rows:
        sources = sources_of_rows(grid, measurements.windows.get(window_probe(rollup, grid), ()))
    else:
        sources = sources_of_pieces(grid, known)
    for window in (window for window, _ in below.planned.values()) if below else ():
        for start, end in grid.spans(window.since, window.until):
            sources.setdefault(start, Source(end))
    rebased = _before(level, below, ledger)
    rows = ledger.of(rollup.table)
    if rebased is not None:
        rows = {start: replace(row, sealed=True) for start, row in rows.items() if row.sealed or start < rebased}
    decided = replace(rollup, window=grid.interval, window_zone=grid.zone_name)
    return LevelState(replace(level, rollup=decided), grid, sources, by_rows, rows)


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
    if below is None:
        return ledger.held_from(rollup.source, rollup.source) or 0
    begins = [start for start in (ledger.begins_at(rollup.beneath), *below.planned) if start is not None]
    gone = ledger.held_from(rollup.source, rollup.beneath) or 0
    # A level that is new, and finds nothing to begin with, can give nothing of what this one has.
    return max(gone, min(begins, default=max(row.end for row in ledger.of(rollup.table).values())))


def _decide(state: LevelState, below: LevelState | None, cutoff: int) -> None:
    interval, zone = state.level.rollup.interval, state.level.rollup.tzinfo
    complete = interval.floor(cutoff, zone)
    dirty = _Ranges((w.since, w.until) for w, _ in below.planned.values()) if below else _Ranges()
    waiting = _Ranges((start, below.sources[start].end) for start in below.held) if below else _Ranges()
    sealed = _Ranges((row.start, row.end) for row in state.rows.values() if row.sealed)
    counts = any(metric.has(Aggregate.INCREASE) for metric in state.level.rollup.metrics) and below is None
    redone_until: int | None = None
    for start in sorted(state.sources):
        source, row = state.sources[start], state.rows.get(start)
        if (row is not None and row.sealed) or (row is None and sealed.first(start, source.end) is not None):
            continue
        touched = dirty.first(start, source.end)
        if touched is None and not source.rows and not source.hidden:
            continue
        reason = _why_held(source, waiting.first(start, source.end))
        if reason:
            state.held[start] = reason
            continue
        # A counter's first increase in a window is from the last value of the one before.
        touched = start if counts and row is not None and redone_until == start else touched
        until = min(source.end, complete)
        more = row is not None and _has_more(below, source, row, until)
        due = _due(start, source, row, touched, until, more, interval.floor, zone)
        if due is not None:
            state.planned[start] = due
            redone_until = source.end


def _due(
    start: int,
    source: Source,
    row: LedgerRow | None,
    touched: int | None,
    until: int,
    more: bool,
    floor: Callable[[int, dt.tzinfo], int],
    zone: dt.tzinfo,
) -> tuple[Window, str] | None:
    """
    The window as it has to be computed, and why; None if it is clean, or has no complete bucket.

    :param touched: From where on the level beneath is about to change.
    :param until: The end of the last complete bucket.
    :param more: Whether buckets that were not complete when it was computed may hold rows.
    """
    if until <= start:
        return None
    if row is None:
        return Window(start, source.end, start, until), _NEW
    changed = source.token != row.token or touched is not None
    if until == source.end:
        stale = changed or not row.whole
        return (Window(start, source.end, start, until), _CHANGED if row.whole else _GROWN) if stale else None
    again = touched is not None and touched < row.until
    if not (changed or more) or (until <= row.until and not again):
        return None
    since = floor(max(touched or start, start), zone) if again else row.until
    return Window(start, source.end, max(start, since), until), _GROWN


def _has_more(below: LevelState | None, source: Source, row: LedgerRow, until: int) -> bool:
    """
    Whether there may be rows beneath an open window that it was not computed from, though nothing was written since:
    the change token was read while their buckets were not complete.
    """
    if below is None:
        return source.rows != row.rows
    return any(other.rows and other.start < until and row.until < other.until for other in below.rows.values())


class _Ranges:
    """Stretches of time that do not overlap."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._ranges = sorted(ranges)
        self._ends = [end for _, end in self._ranges]

    def first(self, start: int, end: int) -> int | None:
        """Where the first one that overlaps another stretch begins; None if none does."""
        found = bisect_right(self._ends, start)
        return self._ranges[found][0] if found < len(self._ranges) and self._ranges[found][0] < end else None


def _why_held(source: Source, waiting: int | None) -> tuple[str, bool] | None:
    missing = sum(piece.partition.missing_shards for piece in source.pieces)
    if missing:
        return missing_shards(missing), True
    if any(piece.partition.closed for piece in source.pieces):
        return "a partition is closed, which hides its rows; open it", True
    if waiting is not None:
        return "what lies beneath is held", False
    return None


def plan_levels(
    cascade: Cascade, states: Sequence[LevelState], catalog: Catalog, ledger: Ledger
) -> Iterator[Task | Hold]:
    """The tasks that bring all levels up to date, finest first, and what has to wait."""
    below: LevelState | None = None
    for state in states:
        yield from _prepare(cascade, state, below, catalog, ledger)
        yield from _roll_up(cascade, state, settled=below is None or not below.planned)
        yield from _holds(cascade, state)
        below = state


def _prepare(
    cascade: Cascade, state: LevelState, below: LevelState | None, catalog: Catalog, ledger: Ledger
) -> Iterator[Task]:
    level, rollup = state.level, state.level.rollup
    if level.table is None or (rollup.sketched and rollup.sketch not in catalog.tables):
        left_out = tuple(column.name for column in cascade.left_out) if rollup.from_raw else ()
        yield _task(cascade, CreateRollup(rollup, cascade.raw.table.replicas, left_out), "it does not exist yet")
    if level.table is not None:
        missing = tuple(name for name in expected_columns(rollup) if name not in level.table.columns)
        if missing:
            yield _task(cascade, AlterRollup(rollup, missing), "the source or the policy has more than before")
    before = _before(level, below, ledger)
    if before is not None:
        yield _task(cascade, RebaseRollup(rollup, before), "a level was added or removed beneath it")


def _roll_up(cascade: Cascade, state: LevelState, settled: bool) -> Iterator[Task]:
    """
    The steps that compute windows.

    :param settled: Whether the plan leaves what lies beneath as it is, so that its change tokens are known.
    """
    planned = ((start, state.sources[start].rows) for start in sorted(state.planned))
    for batch, rows in batches(planned, WINDOWS_IN_STEP, ROWS_IN_STEP):
        windows = tuple(state.planned[start][0] for start in batch)
        reasons = [state.planned[start][1] for start in batch]
        words = ", ".join(f"{reasons.count(word)} {word}" for word in (_NEW, _CHANGED, _GROWN) if word in reasons)
        idents = {piece.partition.ident for start in batch for piece in state.sources[start].pieces}
        tokens = tuple(state.sources[start].token for start in batch) if settled else ()
        step = RollUp(state.level.rollup, windows, tuple(sorted(idents)), tokens)
        stretch = f"{show(windows[0].since)} to {show(windows[-1].until)}"
        yield _task(cascade, step, f"{plural(len(batch), 'window')}, {stretch}: {words}", rows or None)


def _holds(cascade: Cascade, state: LevelState) -> Iterator[Hold]:
    by_reason: dict[tuple[str, bool], list[int]] = {}
    for start, reason in state.held.items():
        by_reason.setdefault(reason, []).append(start)
    for (why, problem), starts in by_reason.items():
        names = tuple(f"{state.level.rollup.interval} from {show(start)}" for start in starts[:5])
        windows = tuple((start, state.sources[start].end) for start in starts)
        hold = Hold(cascade.policy.id, str(cascade.source), why, names, len(starts), problem)
        yield replace(hold, level=state.level.rollup.table, windows=windows)


def _task(cascade: Cascade, step: Step, reason: str, rows: int | None = None) -> Task:
    """All of a cascade's tasks are on its source, so that after a failure no coarser level goes on."""
    return Task(cascade.policy.id, cascade.source, (step,), reason, rows)


def find_window_probes(cascade: Cascade) -> Iterator[WindowRows]:
    """What must be asked of the rows, since no partitions tell."""
    beneath: CascadeLevel | None = None
    for level in cascade.levels:
        unpartitioned = not cascade.raw.grids if beneath is None else beneath.rollup.partition is None
        exists = beneath is None or beneath.table is not None
        if unpartitioned and exists:
            yield window_probe(level.rollup, window_grid(level.rollup))
        beneath = level
