"""
The strategy ``delete``: whole expired partitions, many in one statement; rows where no partition tells the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from cratedb_retention.model.measurements import ExpiredRows
from cratedb_retention.model.plan import (
    DeleteRows,
    DropPartitions,
    FreezePartitions,
    Hold,
    Piece,
    Step,
    Task,
)
from cratedb_retention.model.policy import Freeze
from cratedb_retention.model.rollup_steps import SealWindows
from cratedb_retention.model.time import show
from cratedb_retention.model.words import plural
from cratedb_retention.planning.batches import batches
from cratedb_retention.planning.context import Context
from cratedb_retention.planning.coverage import LATE, ExpirableRows
from cratedb_retention.planning.holds import TableHold
from cratedb_retention.planning.reasons import NO_ROWS_GO, missing_shards, total_rows, total_size, why_due
from cratedb_retention.planning.targets import Target

# One statement for so many partitions: large enough that its fixed cost vanishes, small enough for a parser's stack.
BATCH = 1000
NEEDS_FREEZE = "before they go, partitions of a downsampled table must refuse writes; set freeze=allow"
# Writers are refused while partitions are frozen, which takes a statement for each: a few seconds at a time.
FROZEN_AT_ONCE = 20
# Rows that are compared with their rollup at once, and then deleted: what is written meanwhile defers all of them.
WINDOWS_AT_ONCE, ROWS_AT_ONCE = 1000, 1_000_000


def plan_partitions(context: Context, target: Target, pieces: Sequence[Piece]) -> Iterator[Task | Hold]:
    """Drop pieces in batches. Those whose interval came from their rows are frozen and looked at again first."""
    name = target.table.name
    if target.policy.freeze is Freeze.NEVER and context.coverage.protects(name):
        yield Hold(
            policy_id=target.policy.id,
            table=str(name),
            reason=NEEDS_FREEZE,
            count=len(pieces),
            problem=True,
            pieces=tuple(pieces),
        )
        return
    context.claim(name, pieces)
    frozen = any(not piece.exact and context.needs_freeze(name, piece) for piece in pieces)
    size = FROZEN_AT_ONCE if frozen and not context.coverage.protects(name) else BATCH
    for start in range(0, len(pieces), size):
        batch = tuple(pieces[start : start + size])
        yield Task(
            policy_id=target.policy.id,
            table=name,
            steps=tuple(_steps(context, target, batch)),
            reason=why_due(batch, target.policy),
            rows=total_rows(batch),
            size=total_size(batch),
            partitions=len(batch),
        )


def _steps(context: Context, target: Target, batch: tuple[Piece, ...]) -> Iterator[Step]:
    name, columns = target.table.name, target.columns
    inexact = [piece for piece in batch if not piece.exact]
    guarded = batch if context.coverage.protects(name) else inexact
    freezing = tuple(piece for piece in guarded if context.needs_freeze(name, piece))
    if freezing:
        yield FreezePartitions(name, columns, freezing)
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
        verdicts.append(Hold(policy_id=target.policy.id, table=str(target.table.name), reason=NO_ROWS_GO, problem=True))
    yield from verdicts


def _plan_rows(context: Context, target: Target, limit: int) -> Iterator[Task | Hold]:
    table, policy = target.table, target.policy
    holds = context.holds.get(table.name, [])
    whole = next((hold for hold in holds if hold.spared is None), None)
    if whole:
        yield Hold(policy_id=policy.id, table=str(table.name), reason=whole.words)
        return
    problem = _problem_with_rows(context, target)
    if problem:
        yield Hold(policy_id=policy.id, table=str(table.name), reason=problem, problem=True)
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
        reason=f"older than {show(limit)}, kept for {policy.retention_period}",
        rows=rows,
    )


def _plan_covered(context: Context, target: Target, covered: ExpirableRows) -> Iterator[Task | Hold]:
    """Delete rows that a rollup covers, whole windows of them."""
    policy, table = target.policy, target.table.name
    if covered.late:
        yield Hold(
            policy_id=policy.id,
            table=str(table),
            reason=LATE.format(plural(sum(rows for _, rows in covered.late), "row")),
        )
    for hold, group in _by_hold(covered).items():
        yield Hold(
            policy_id=policy.id,
            table=str(table),
            reason=f"{plural(sum(group), 'row')}, in whole windows of the rollup: {hold}",
        )
    if covered.waiting:
        yield Hold(policy_id=policy.id, table=str(table), reason=covered.waiting)
    time, rollup = target.time_column, context.coverage.above[table].state.level.rollup
    if time is None:
        return
    going = (batch for together in covered.going for batch in batches(together, WINDOWS_AT_ONCE, ROWS_AT_ONCE))
    for windows, rows in going:
        before = windows[-1].end
        late = sum(covered.dropped[window.start] for window in windows)
        step = DeleteRows(table=table, time_column=time, before=before, rows=rows, since=windows[0].start, late=late)
        why = f"older than {show(before)}, kept for {policy.retention_period}, {_what_of(rows, late)}"
        if not rows:
            why = "their rows are gone, which is noted, so that late ones can be told"
        yield Task(
            policy_id=policy.id, table=table, steps=(SealWindows(rollup, tuple(windows)), step), reason=why, rows=rows
        )


def _what_of(rows: int, late: int) -> str:
    """What became of rows that go, some of which may have come too late."""
    if not late:
        return "and rolled up"
    dropped = "and dropped, as the policy says (late: drop)"
    if rows == late:
        return f"too late to be rolled up, {dropped}"
    return f"and rolled up, but for {plural(late, 'row')} too late for that, {dropped}"


def _by_hold(covered: ExpirableRows) -> dict[str, list[int]]:
    """The rows of each window that is held, by what is said of the hold; windows without rows need not be told."""
    found: dict[str, list[int]] = {}
    for _, rows, hold in covered.held:
        if rows:
            found.setdefault(hold.words, []).append(rows)
    return found


def _problem_with_rows(context: Context, target: Target) -> str | None:
    """Why no row of a table may be deleted; None if they may."""
    if target.table.missing_shards:
        return missing_shards(target.table.missing_shards)
    above = context.coverage.above.get(target.table.name)
    if above is not None and (target.where or not above.state.by_rows):
        return (
            "what is left of a window could not be told from rows that come late; delete whole partitions, or all rows"
        )
    stalled = context.stalled_on(target)
    archivers = context.archivers.get(target.table.name)
    if archivers and not stalled:
        return f"policy {archivers[0].policy.id} archives whole partitions of this table; deleting rows would lose them"
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
