"""
The strategy ``delete``: whole expired partitions, many in one statement; rows where no partition tells the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from cratedb_retention.model.measurements import ExpiredRows
from cratedb_retention.model.plan import DeleteRows, DropPartitions, FreezePartitions, Hold, Piece, Step, Task
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.model.rollup import SealWindows
from cratedb_retention.model.values import Freeze
from cratedb_retention.planning.batches import batches
from cratedb_retention.planning.context import Context
from cratedb_retention.planning.coverage import ExpirableRows
from cratedb_retention.planning.holds import TableHold
from cratedb_retention.planning.reasons import blocked, task_on
from cratedb_retention.planning.targets import Target

# One statement for so many partitions: large enough that its fixed cost vanishes, small enough for a parser's stack.
BATCH = 1000
# Writers are refused while partitions are frozen, which takes a statement for each: a few seconds at a time.
FROZEN_AT_ONCE = 20
# Rows that are compared with their rollup at once, and then deleted: what is written meanwhile defers all of them.
WINDOWS_AT_ONCE, ROWS_AT_ONCE = 1000, 1_000_000


def drop(context: Context, target: Target, pieces: Sequence[Piece]) -> Iterator[Task | Hold]:
    """Drop pieces in batches. Those whose interval came from their rows are frozen and looked at again first."""
    name = target.table.name
    if target.policy.freeze is Freeze.NEVER and context.coverage.protects(name):
        yield blocked(target, Why.NEEDS_FREEZE(), pieces)
        return
    context.claim(name, pieces)
    frozen = any(not piece.exact and context.needs_freeze(name, piece) for piece in pieces)
    size = FROZEN_AT_ONCE if frozen and not context.coverage.protects(name) else BATCH
    for start in range(0, len(pieces), size):
        batch = tuple(pieces[start : start + size])
        yield task_on(target, batch, _steps(context, target, batch))


def _steps(context: Context, target: Target, batch: tuple[Piece, ...]) -> Iterator[Step]:
    name, columns = target.table.name, target.columns
    inexact = [piece for piece in batch if not piece.exact]
    guarded = batch if context.coverage.protects(name) else inexact
    freezing = tuple(piece for piece in guarded if context.needs_freeze(name, piece))
    if freezing:
        yield FreezePartitions(table=name, columns=columns, pieces=freezing)
    yield from context.coverage.seal(name, batch)
    limit = target.policy.limit(context.cutoff) or 0
    yield DropPartitions(
        table=name, columns=columns, pieces=batch, before=limit, time_column=target.time_column if inexact else None
    )


def plan_rows(context: Context, target: Target, limit: int) -> Iterator[Task | Hold]:
    """Delete rows before an instant (ms), except those under a hold."""
    verdicts = list(_plan_rows(context, target, limit))
    if target.table.read_only and any(isinstance(verdict, Task) for verdict in verdicts):
        verdicts = [verdict for verdict in verdicts if isinstance(verdict, Hold)]
        verdicts.append(blocked(target, Why.NO_ROWS_GO()))
    yield from verdicts


def _plan_rows(context: Context, target: Target, limit: int) -> Iterator[Task | Hold]:
    table, policy = target.table, target.policy
    holds = context.holds.get(table.name, [])
    whole = next((hold for hold in holds if hold.spared is None), None)
    if whole:
        yield blocked(target, whole.why, problem=False)
        return
    problem = _problem_with_rows(context, target)
    if problem:
        yield blocked(target, problem)
        return
    covered = context.coverage.rows(table.name, limit, holds)
    if covered is not None:
        yield from _plan_covered(context, target, covered)
        return
    probe = rows_probe(target, limit, holds)
    rows = context.counted.get(probe) if probe else None
    if rows == 0 or probe is None:
        return
    step = DeleteRows(
        table=table.name, time_column=probe.time_column, before=limit, where=probe.where, spared=probe.spared, rows=rows
    )
    yield Task(
        policy_id=policy.id,
        table=table.name,
        steps=(step,),
        why=Why.OLDER(limit=limit, period=policy.retention_period),
        rows=rows,
    )


def _plan_covered(context: Context, target: Target, covered: ExpirableRows) -> Iterator[Task | Hold]:
    """Delete rows that a rollup covers, whole windows of them."""
    policy, table = target.policy, target.table.name
    if covered.late:
        cascade, rows = context.coverage.above[table].policy_id, sum(rows for _, rows in covered.late)
        yield blocked(target, Why.LATE_KEPT(rows=rows, cascade=cascade), problem=False)
    for hold, group in _by_hold(covered).items():
        yield blocked(target, Why.HELD_WINDOWS(rows=sum(group), hold=hold), problem=False)
    if covered.waiting:
        yield blocked(target, covered.waiting, problem=False)
    time, rollup = target.time_column, context.coverage.above[table].state.level.rollup
    if time is None:
        return
    going = (batch for together in covered.going for batch in batches(together, WINDOWS_AT_ONCE, ROWS_AT_ONCE))
    for windows, rows in going:
        before = windows[-1].end
        late = sum(covered.dropped[window.start] for window in windows)
        step = DeleteRows(table=table, time_column=time, before=before, rows=rows, since=windows[0].start, late=late)
        why = _why_covered(rows, late, before, policy) if rows else Why.ROWS_GONE()
        yield Task(
            policy_id=policy.id,
            table=table,
            steps=(SealWindows(rollup=rollup, windows=tuple(windows)), step),
            why=why,
            rows=rows,
        )


def _why_covered(rows: int, late: int, before: int, policy: Policy) -> Reason:
    """Why rows go, some of which may have come too late."""
    period = policy.retention_period
    if not late:
        return Why.OLDER_ROLLED_UP(limit=before, period=period)
    if rows == late:
        return Why.OLDER_TOO_LATE(limit=before, period=period)
    return Why.OLDER_SOME_TOO_LATE(limit=before, period=period, late=late)


def _by_hold(covered: ExpirableRows) -> dict[Reason, list[int]]:
    """The rows of each window that is held, by what is said of the hold; windows without rows need not be told."""
    found: dict[Reason, list[int]] = {}
    for _, rows, hold in covered.held:
        if rows:
            found.setdefault(hold.why, []).append(rows)
    return found


def _problem_with_rows(context: Context, target: Target) -> Reason | None:
    """Why no row of a table may be deleted; None if they may."""
    if target.table.missing_shards:
        return Why.MISSING_SHARDS(count=target.table.missing_shards)
    above = context.coverage.above.get(target.table.name)
    if above is not None and (target.where or not above.state.by_rows):
        return Why.NEEDS_WHOLE()
    stalled = context.stalled_on(target)
    archivers = context.archivers.get(target.table.name)
    if archivers and not stalled:
        return Why.ARCHIVED_WHOLE(archiver=archivers[0].policy.id or "")
    return stalled


def rows_probe(target: Target, limit: int, holds: Iterable[TableHold]) -> ExpiredRows | None:
    """The question how many rows are expired; None if a hold keeps the whole table."""
    spared = [hold.spared for hold in holds]
    if target.time_column is None or None in spared:
        return None
    rows = tuple(s for s in spared if s is not None)
    return ExpiredRows(
        table=target.table.name, time_column=target.time_column, before=limit, where=target.where, spared=rows
    )
