"""
The strategy ``downsample``: which windows of a level are due. Like a build system, it computes dirty windows again, and
the coarser levels that depend on them. For expiry of raw rows and levels see :mod:`.coverage` and :mod:`.strategies`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.plan.measurements import Measurements, WindowRows
from cratedb_retention.model.plan.plan import Blocked, Step, Task
from cratedb_retention.model.plan.reasons import Reason, Why
from cratedb_retention.model.policies.values import Deletions
from cratedb_retention.model.rollups import rollup as steps
from cratedb_retention.model.rollups.ledger import Ledger, LedgerRow
from cratedb_retention.model.rollups.rollup import Before, Rollup, ViewPart, Window, find_view
from cratedb_retention.model.time import TimeRange, TimeRanges, show, to_ms
from cratedb_retention.planning.facts import Facts
from cratedb_retention.planning.pieces import PieceIndex, make_pieces
from cratedb_retention.planning.rollups.cascades import Cascade, CascadeLevel
from cratedb_retention.planning.rollups.windows import (
    OpenWindow,
    Source,
    WindowGrid,
    batches,
    sources_of,
    sources_of_windows,
)
from cratedb_retention.planning.targets import Target

# Maximum work of one step, which a killed run has to repeat, and which the database does in one statement.
WINDOWS_IN_STEP, ROWS_IN_STEP = 5_000, 20_000_000
_NEW, _CHANGED, _GROWN = "new", "changed", "grown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    windows: tuple[Window, ...]  # in order of time: the whole window, or ranges of its buckets
    reason: str  # why, in a word
    parts: str = ""  # what the parts of an open window are computed from
    before: Before = ()  # ranges that were computed before, and must not lose rows


class LevelPlan:
    """What each window of a level is computed from, and what is planned for it."""

    def __init__(self, plan: CascadePlan, level: CascadeLevel, below: LevelPlan | None) -> None:
        cascade = plan.cascade
        self.plan, self.below, self.table, self.measurements = plan, below, level.table, plan.measurements
        # Whether the finer table has no partitions of time.
        self.grid, self.by_rows = _level_grid(cascade, level.rollup, below.rollup if below else None)
        self.rollup: Rollup = self.grid.rollup
        self._changing = TimeRanges(below.changing() if below else ())
        self.sources = self._find_sources(level.below, plan.pieces)
        self.rebased = rebased = _rebased(level, below, plan.ledger)
        # The ledger's rows of all its windows, including those computed from another table.
        self.former = rows = plan.ledger.of(self.rollup.table)
        self.rows = rows if rebased is None else rows.sealed_before(rebased)
        # The window that lasts beyond the cutoff.
        self.open = self.grid.open(self.rows, plan.cutoff, plan.measurements)
        # Whether computing a window again must not lose rows (law 4); not if the level's table is gone.
        self.guarded = cascade.policy.deletions is Deletions.BLOCK and level.table is not None
        # Whether a full disk prevents writes to the level.
        self.full = any(table.read_only for table in [t.table for t in level.targets] or [cascade.raw.table])
        # Partitions of its source that an interrupted run left closed, which hides their rows.
        source, frozen = plan.catalog.tables.get(self.rollup.below), plan.frozen
        closed = (partition.values for partition in (source.partitions if source else ()) if partition.closed)
        self.left_closed = {values for values in closed if (self.rollup.below, values) in frozen}
        self.planned: dict[int, Due] = {}  # the windows that are due, by start
        self.blocked: dict[int, tuple[Reason, bool]] = {}  # those that must wait; whether that needs attention
        # Windows that would lose rows, and are not changed: how many were rolled up, and how many are left.
        self.lost: dict[int, tuple[int, int]] = {}
        self._decide()

    def _find_sources(self, below: Target | None, pieces: PieceIndex) -> Mapping[int, Source]:
        if self.by_rows:
            sources = self.grid.sources(self.measurements.windows.get(self.grid.probe(), ()))
        else:
            known = pieces.of(below).known if below is not None and below.grids else ()
            sources = sources_of(known, self.grid.windows)
        for changing in self._changing.joined():
            for start, end in self.grid.windows(changing):
                sources.setdefault(start, Source(end=end))
        return sources

    def _why_blocked(self, source: Source, waiting: bool) -> tuple[Reason, bool] | None:
        if (not source.readable or self.left_closed) and (reason := self._why_unreadable(source)):
            return reason
        return (Why.SOURCE_BLOCKED(), False) if waiting else None

    def _why_unreadable(self, source: Source) -> tuple[Reason, bool] | None:
        missing = sum(piece.partition.missing_shards for piece in source.pieces)
        if missing:
            return Why.MISSING_SHARDS(count=missing), True
        closed = {piece.partition.values for piece in source.pieces if piece.partition.closed}
        left = self.left_closed if self.by_rows else self.left_closed & closed
        if left and closed <= left:
            return Why.LEFT_CLOSED(), False
        return (Why.PARTITION_CLOSED(), True) if closed else None

    def changing(self) -> Iterator[TimeRange]:
        return (TimeRange(window.since, window.until) for due in self.planned.values() for window in due.windows)

    def whole(self, start: int, end: int) -> Window:
        """A window: the same object if all of it is due, since plans have very many."""
        due = self.planned.get(start)
        return due.windows[0] if due and due.windows[0].whole else Window.of(start, end)

    def complete_next(self) -> int | None:
        """When further buckets of its present source are complete; None if all are."""
        complete, zone = self.rollup.interval.floor(self.plan.cutoff, self.rollup.tzinfo), self.rollup.tzinfo
        lasts = any(source.end > complete for source in self.sources.values())
        return self.rollup.interval.end(complete, zone) if lasts else None

    def _decide(self) -> None:
        below = self.below
        complete = self.rollup.interval.floor(self.plan.cutoff, self.rollup.tzinfo)
        dirty = self._changing
        waiting = TimeRanges((start, below.sources[start].end) for start in below.blocked) if below else TimeRanges()
        sealed = TimeRanges(row.time for row in self.rows.sealed)
        counters, changes = self.rollup.has_counters, bool(dirty or waiting)
        for start in sorted(self.sources):
            if self.rows.is_sealed(start):
                continue
            source, row = self.sources[start], self.rows.get(start)
            changes |= counters and bool(self.planned)
            if not changes and source.readable and row is not None and row.whole and row.token == source.token:
                continue
            span = TimeRange(start, source.end)
            stale = dirty.overlapping(span)
            if (row is None and sealed.overlapping(span)) or not (stale or source.rows or source.hidden):
                continue
            reason = self._why_blocked(source, bool(waiting.overlapping(span)))
            if reason:
                self.blocked[start] = reason
                continue
            if counters and self.planned:
                # A counter's first increase in a window starts at the last value before it.
                stale = [span]
            due = self._due(start, source, row, stale, min(source.end, complete))
            if due is not None and self.full:
                self.blocked[start] = Why.DISK_FULL(), True
            elif due is not None:
                self.planned[start] = due

    def _due(
        self, start: int, source: Source, row: LedgerRow | None, stale: Sequence[TimeRange], until: int
    ) -> Due | None:
        """The due part of a window: its source changed, or will (``stale``). Buckets are complete up to ``until``."""
        present = self.open if self.open is not None and start == self.open.start else None
        if present is not None and row is not None:
            return self._due_open(present, source, row, stale)
        if until <= start or (row is not None and until < source.end):
            return None
        windows = (Window(start, source.end, start, until),)
        if row is None:
            parts = present.parts() if present else ""
            return self._spare(Due(windows=windows, reason=_NEW, parts=parts), None)
        if row.whole and row.token == source.token and not stale:
            return None
        return self._spare(Due(windows=windows, reason=_CHANGED if row.whole else _GROWN), row)

    def _spare(self, due: Due, row: LedgerRow | None) -> Due | None:
        """Law 4: if a window would lose rows by being computed again, only its missing buckets are computed."""
        window = due.windows[0]
        former = row or self.former.get(window.start)
        if not self.guarded or former is None or not former.rows:
            return due
        rows = former.rows if former.until <= window.until else None
        if not self._loses(window, rows):
            return replace(due, before=((window, rows),))
        if row is None or row.until >= window.until:
            return None
        return Due(windows=(window._replace(since=row.until),), reason=_GROWN, parts=row.parts)

    def _loses(self, window: Window, rows: int | None) -> bool:
        balance = self.measurements.balances.get((self.rollup, window))
        lost = balance.lost(rows) if balance else None
        if lost:
            rolled, left = self.lost.get(window.start, (0, 0))
            self.lost[window.start] = (rolled + lost[0], left + lost[1])
        return lost is not None

    def _due_open(
        self, present: OpenWindow, source: Source, row: LedgerRow, changing: Sequence[TimeRange]
    ) -> Due | None:
        """The buckets of the open window that changed since they were computed, and those that are complete now."""
        interval, zone = self.rollup.interval, self.rollup.tzinfo
        computed = TimeRange(present.start, row.until)
        changed = {
            TimeRange(interval.floor(since, zone), interval.ceiling(until, zone)) & computed
            for since, until in (*changing, *present.stale())
            if since < row.until
        }
        if changed and self.rollup.has_counters:  # A counter's increase starts at the value before.
            changed = {TimeRange(min(changed).start, row.until)}
        before = {time: present.before(time) for time in sorted(changed)} if self.guarded else {}
        kept = [time for time, one in before.items() if self._loses(*one)]
        times = [time for time in changed if time not in kept]
        reason = _CHANGED if times else _GROWN
        grown = TimeRange(row.until, present.complete)
        # There may be rows that it was not computed from, though nothing was written since: the change token was read
        # while their buckets were not complete.
        finer = self.below.rows.divided(row.until, present.complete) if self.below else ()
        more = any(one.rows and one.start < present.complete and row.until < one.until for one in finer)
        if self.below is None:
            more = bool(present.answer(*grown))
        if not grown.empty and (changing or source.token != row.token or more):
            times.append(grown)
        windows = tuple(
            Window(start=present.start, end=present.end, since=since, until=until)
            for since, until in TimeRanges(times).joined()
        )
        former = tuple(one for time, one in before.items() if time not in kept)
        return Due(windows=windows, reason=reason, parts=present.parts(kept), before=former) if windows else None


def _level_grid(cascade: Cascade, rollup: Rollup, finer: Rollup | None) -> tuple[WindowGrid, bool]:
    """A level's windows, and whether the finer table has no partitions of time."""
    if finer is not None:
        partition = finer.partition
        return WindowGrid.of(rollup, partition.approximate_seconds if partition else None), partition is None
    grids = [grid for _, grid in cascade.raw.grids]
    shortest = min((grid.interval.approximate_seconds for grid in grids), default=None)
    return WindowGrid.of(rollup, shortest, str(grids[0].zone) if grids else None), not grids


def _rebased(level: CascadeLevel, below: LevelPlan | None, ledger: Ledger) -> int | None:
    """
    The instant before which a level cannot be computed again, though its windows are not sealed: it was computed from
    another table, or was not in the cascade when another level sealed its source. None in all other cases.
    """
    rollup, known = level.rollup, ledger.rollups.get(level.rollup.table)
    if known is None or not ledger.of(rollup.table):
        return None
    if known.rollup.below == rollup.below:
        return ledger.sealed_by_others(rollup.table)
    gone = ledger.held_from(rollup.source, rollup.below) or 0
    if below is None:
        return gone
    first = ledger.of(rollup.below).first
    begins = [*([] if first is None else [first]), *below.planned]
    # A new finer level without any source has none of the data of this level.
    return max(gone, min(begins, default=max(row.end for row in ledger.of(rollup.table).stored)))


class CascadePlan:
    """The plan that brings a cascade up to date at a cutoff (ms, UTC)."""

    def __init__(self, facts: Facts, cascade: Cascade, active: bool) -> None:
        self.cascade, self.active = cascade, active  # whether this run rolls up what is due
        self.catalog, self.ledger, self.pieces = facts.catalog, facts.ledger, facts.pieces
        self.measurements, self.cutoff = facts.measurements, to_ms(facts.cutoff)
        self.frozen = facts.frozen  # Partitions that an earlier run left frozen.
        self.limit = cascade.policy.limit(facts.cutoff)  # before which raw rows are expired; None: kept forever
        self.levels: list[LevelPlan] = []
        for level in cascade.levels:
            self.levels.append(LevelPlan(self, level, self.levels[-1] if self.levels else None))

    def verdicts(self) -> Iterator[Task | Blocked]:
        """The tasks that bring all levels up to date, finest first, and what is blocked."""
        for state in self.levels:
            needed = list(self._prepare(state))
            if not state.full:
                yield from needed
            elif needed and not state.blocked:
                yield self._block(Why.DISK_FULL(), state.rollup.table)
            yield from self._roll_up(state)
            yield from self._blocked(state)

    def _task(self, step: Step, why: Reason, rows: int | None = None) -> Task:
        """All tasks of a cascade are on its source, so that a failure stops coarser levels, too."""
        return Task(policy_id=self.cascade.policy.id, table=self.cascade.source, steps=(step,), why=why, rows=rows)

    def _block(self, why: Reason, level: TableName | None = None) -> Blocked:
        return Blocked(
            policy_id=self.cascade.policy.id, table=self.cascade.source, why=why, needs_attention=True, level=level
        )

    def _prepare(self, state: LevelPlan) -> Iterator[Task]:
        rollup, table = state.rollup, state.table
        if table is None or (rollup.sketched and rollup.sketch not in self.catalog.tables):
            left_out = tuple(column.name for column in self.cascade.left_out) if rollup.from_raw else ()
            create = steps.CreateRollup(rollup=rollup, replicas=self.cascade.raw.table.replicas, left_out=left_out)
            yield self._task(create, Why.LEVEL_NEW())
        missing = tuple(name for name in rollup.columns if table is not None and name not in table.columns)
        if missing:
            yield self._task(steps.AlterRollup(rollup=rollup, columns=missing), Why.LEVEL_WIDER())
        if state.rebased is not None:
            yield self._task(steps.RebaseRollup(rollup=rollup, before=state.rebased), Why.LEVEL_REBASED())

    def _older(self) -> Iterator[tuple[Rollup, int]]:
        """The levels with data that finer ones no longer have, each with the instant at which that data ends."""
        for finer, coarser in pairwise(self.levels):
            begins = self.ledger.held_from(finer.rollup.source, finer.rollup.table)
            if begins is None or coarser.table is None:
                return
            yield coarser.rollup, begins

    def _roll_up(self, state: LevelPlan) -> Iterator[Task]:
        # Whether the plan does not change the finer table, so that its change tokens are known.
        settled = state.below is None or not state.below.planned
        older = tuple(self._older()) if state.below is None else ()
        planned = ((start, state.sources[start].rows) for start in sorted(state.planned))
        for batch, rows in batches(planned, WINDOWS_IN_STEP, ROWS_IN_STEP):
            due = [state.planned[start] for start in batch]
            each = [(start, one, window) for start, one in zip(batch, due, strict=True) for window in one.windows]
            # A window that is left unchanged in part is examined again by the next run, whatever its change token.
            tokens = ["" if start in state.lost else state.sources[start].token for start, _, _ in each]
            reasons = [one.reason for one in due]
            step = steps.RollUp(
                rollup=state.rollup,
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
            yield self._task(step, why, rows or None)

    def _blocked(self, state: LevelPlan) -> Iterator[Blocked]:
        rollup = state.rollup
        by_reason: dict[tuple[Reason, bool], list[int]] = {}
        for start, reason in state.blocked.items():
            by_reason.setdefault(reason, []).append(start)
        if state.lost:
            rolled, left = (sum(numbers) for numbers in zip(*state.lost.values(), strict=True))
            why_lost = Why.ROWS_LOST(rolled=rolled, level=rollup.table, left=left, source=rollup.below)
            by_reason[why_lost, True] = sorted(state.lost)
        for (why, needs_attention), starts in by_reason.items():
            yield replace(
                self._block(why, rollup.table),
                partitions=tuple(f"{rollup.interval} from {show(start)}" for start in starts[:5]),
                count=len(starts),
                needs_attention=needs_attention,
                windows=tuple((start, state.sources[start].end) for start in starts),
            )

    def view(self, tasks: Iterable[Task]) -> Iterator[Task | Blocked]:
        """Create the view, or replace it if this run changes its parts; never a view that a user created."""
        cascade, ledger = self.cascade, self.ledger
        finest, marks = cascade.levels[0].rollup, ledger.view_marks(cascade.source)
        levels = {level.rollup.table for level in cascade.levels}
        there, own = find_view(self.catalog, finest, levels, marks)
        if there is not None and not own:
            yield self._block(Why.VIEW_TAKEN(view=there))
            return
        planned = [step for task in tasks for step in task.steps]
        created = {step.rollup.table for step in planned if isinstance(step, steps.CreateRollup)}
        if levels - created - {level.rollup.table for level in cascade.levels if level.table is not None}:
            return  # Tables of levels still have to be created.
        parts = self._view_parts(planned)
        known = ledger.rollups.get(finest.table)
        changing = (step for step in planned if isinstance(step, steps.CreateRollup | steps.AlterRollup))
        altered = any(step.rollup.table in levels for step in changing)
        if altered or (there is None and self.catalog.views is not None) or known is None or known.view != parts:
            renewed = steps.ReplaceView(rollup=finest, parts=parts, marks=() if there is None else marks)
            yield self._task(renewed, Why.VIEW_CHANGED())

    def _view_parts(self, planned: Sequence[Step]) -> tuple[ViewPart, ...]:
        """The tables that the view shows, each for its time range, oldest first, after this run's expiry."""
        source = self.cascade.source
        # Raw rows are no longer shown once their windows are sealed, those of levels once they expire.
        going = [found for step in planned if (found := step.expires) and found[0] != source]
        seals = (step for step in planned if isinstance(step, steps.SealWindows) and step.rollup.below == source)
        going += [(source, window.end) for step in seals for window in step.windows]
        parts: list[ViewPart] = []
        end: int | None = None
        for rollup in (None, *(level.rollup for level in self.cascade.levels)):
            table = rollup.table if rollup else source
            gone = [self.ledger.held_from(source, table), *(until for name, until in going if name == table)]
            start = max((instant for instant in gone if instant is not None), default=None)
            if end is not None and start is not None and start >= end:
                continue
            if end is not None and rollup is not None:
                end = rollup.interval.ceiling(end, rollup.tzinfo)
                # The finer tables are shown from a bucket boundary of the coarser one on. The bucket in which they
                # begin is shown by the coarser one, so their rows in it would appear twice.
                parts = [part for part in parts if part.end is None or part.end > end]
                parts[-1] = replace(parts[-1], start=end)
            parts.append(ViewPart(table=table, interval=str(rollup.interval) if rollup else "", start=start, end=end))
            if start is None:
                break
            end = start
        return tuple(reversed(parts))


def find_window_probes(cascade: Cascade, ledger: Ledger, cutoff: int) -> Iterator[WindowRows]:
    """The probes of rows: of all windows if the source has no partitions of time, and of open windows."""
    for finer, level in zip((None, *cascade.levels), cascade.levels, strict=False):
        if finer is None or finer.table is not None:
            grid, by_rows = _level_grid(cascade, level.rollup, finer.rollup if finer else None)
            if by_rows:
                yield grid.probe()
            rows = ledger.of(level.rollup.table)
            present = grid.open(rows, cutoff, Measurements())
            if present is not None:
                target, row, source = level.below, rows.get(present.start), None
                if target is not None and not by_rows:
                    pieces = make_pieces(target.table, target.grids, {})
                    source = sources_of_windows([Window.of(present.start, present.end)], pieces).get(present.start)
                same = source is not None and row is not None and source.token == row.token
                if (present.known is None or not same) and present.start < present.until:
                    yield present.probe(present.start, present.until)
                if present.until < present.complete:
                    yield present.probe(present.until, present.complete)
