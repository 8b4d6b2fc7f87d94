"""
What each strategy does with partitions that are expired, and that nothing blocks; and rows where no partition tells
the time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from cratedb_retention.model.measurements import ExpiredRows
from cratedb_retention.model.plan import (
    DeleteRows,
    DropArchived,
    DropPartitions,
    FreezePartitions,
    Hold,
    MovePartitions,
    Piece,
    SnapshotPartition,
    Step,
    Task,
    VerifySnapshot,
)
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.model.rollup import SealWindows
from cratedb_retention.model.snapshots import snapshot_name
from cratedb_retention.model.strategies import Strategy
from cratedb_retention.model.values import Freeze, Verify
from cratedb_retention.planning.context import Context
from cratedb_retention.planning.coverage import Above, ExpirableRows
from cratedb_retention.planning.holds import TableHold
from cratedb_retention.planning.targets import Target
from cratedb_retention.planning.verdicts import batches, blocked, task_on

# One statement for so many partitions: large enough that its fixed cost vanishes, small enough for a parser's stack.
BATCH = 1000
# Writers are refused while partitions are frozen, which takes a statement for each: a few seconds at a time.
FROZEN_AT_ONCE = 20
# Rows that are compared with their rollup at once, and then deleted: what is written meanwhile defers all of them.
WINDOWS_AT_ONCE, ROWS_AT_ONCE = 1000, 1_000_000
# So many move at the same time, as far as the cluster's own limits let them.
MOVED_AT_ONCE = 50


def drop(context: Context, target: Target, pieces: Sequence[Piece]) -> Iterator[Task | Hold]:
    """Drop pieces in batches. Those whose interval came from their rows are frozen and looked at again first."""
    name = target.table.name
    protected = context.coverage.protects(name)
    if target.policy.freeze is Freeze.NEVER and protected:
        yield blocked(target, Why.NEEDS_FREEZE(), pieces)
        return
    context.claim(name, pieces)
    frozen = any(not piece.exact and context.needs_freeze(name, piece) for piece in pieces)
    size = FROZEN_AT_ONCE if frozen and not protected else BATCH
    for start in range(0, len(pieces), size):
        batch = tuple(pieces[start : start + size])
        yield task_on(target, batch, _dropping_steps(context, target, batch))


def _dropping_steps(context: Context, target: Target, batch: tuple[Piece, ...]) -> Iterator[Step]:
    name, columns = target.table.name, target.columns
    inexact = [piece for piece in batch if not piece.exact]
    guarded = batch if context.coverage.protects(name) else inexact
    freezing = tuple(piece for piece in guarded if context.needs_freeze(name, piece))
    if freezing:
        yield FreezePartitions(table=name, columns=columns, pieces=freezing)
    yield from context.coverage.seal(name, batch)
    limit, time = target.policy.limit(context.cutoff) or 0, target.time_column if inexact else None
    yield DropPartitions(table=name, columns=columns, pieces=batch, before=limit, time_column=time)


def delete_rows(context: Context, target: Target, limit: int) -> Iterator[Task | Hold]:
    """Delete rows before an instant (ms), except those under a hold."""
    verdicts = list(_delete_rows(context, target, limit))
    if target.table.read_only and any(isinstance(verdict, Task) for verdict in verdicts):
        verdicts = [verdict for verdict in verdicts if isinstance(verdict, Hold)]
        verdicts.append(blocked(target, Why.NO_ROWS_GO()))
    yield from verdicts


def _delete_rows(context: Context, target: Target, limit: int) -> Iterator[Task | Hold]:
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
    above = context.coverage.above.get(table.name)
    if above is not None:
        yield from _delete_covered(target, above, above.expirable(limit, holds))
        return
    probe = rows_probe(target, limit, holds)
    rows = context.measurements.rows.get(probe) if probe else None
    if rows == 0 or probe is None:
        return
    time, where, spared = probe.time_column, probe.where, probe.spared
    step = DeleteRows(table=table.name, time_column=time, before=limit, where=where, spared=spared, rows=rows)
    why = Why.OLDER(limit=limit, period=policy.retention_period)
    yield Task(policy_id=policy.id, table=table.name, steps=(step,), why=why, rows=rows)


def _delete_covered(target: Target, above: Above, covered: ExpirableRows) -> Iterator[Task | Hold]:
    """Delete rows that a rollup covers, whole windows of them."""
    policy, table = target.policy, target.table.name
    if covered.late:
        late_rows = sum(rows for _, rows in covered.late)
        yield blocked(target, Why.LATE_KEPT(rows=late_rows, cascade=above.cascade), problem=False)
    held: Counter[Reason] = Counter()
    for _, rows, table_hold in covered.held:
        held[table_hold.why] += rows
    for hold in (hold for hold, rows in held.items() if rows):  # Windows without rows need not be told.
        yield blocked(target, Why.HELD_WINDOWS(rows=held[hold], hold=hold), problem=False)
    if covered.waiting:
        yield blocked(target, covered.waiting, problem=False)
    time, rollup = target.time_column, above.state.rollup
    if time is None:
        return
    going = (batch for together in covered.going for batch in batches(together, WINDOWS_AT_ONCE, ROWS_AT_ONCE))
    for windows, rows in going:
        since, before = windows[0].start, windows[-1].end
        late = sum(covered.dropped[window.start] for window in windows)
        step = DeleteRows(table=table, time_column=time, before=before, rows=rows, since=since, late=late)
        why = _why_covered(rows, late, before, policy) if rows else Why.ROWS_GONE()
        steps = (SealWindows(rollup=rollup, windows=tuple(windows)), step)
        yield Task(policy_id=policy.id, table=table, steps=steps, why=why, rows=rows)


def _why_covered(rows: int, late: int, before: int, policy: Policy) -> Reason:
    period = policy.retention_period
    if not late:
        return Why.OLDER_ROLLED_UP(limit=before, period=period)
    if rows == late:
        return Why.OLDER_TOO_LATE(limit=before, period=period)
    return Why.OLDER_SOME_TOO_LATE(limit=before, period=period, late=late)


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
    name, time, rows = target.table.name, target.time_column, tuple(s for s in spared if s is not None)
    return ExpiredRows(table=name, time_column=time, before=limit, where=target.where, spared=rows)


def archive(context: Context, target: Target, pieces: Sequence[Piece]) -> Iterator[Task | Hold]:
    """
    Freeze, archive, verify, drop; on any failure thaw and keep (law 2). Each piece has a snapshot of its own, so that
    each can be restored by itself.
    """
    capabilities, repository = context.catalog.capabilities, target.policy.target_repository_name or ""
    context.claim(target.table.name, pieces)
    if not capabilities.repositories_are_directories and repository not in context.catalog.repositories:
        yield blocked(target, Why.NO_REPOSITORY(repository=repository), pieces)
        return
    for piece in pieces:
        yield task_on(target, [piece], _archiving_steps(context, target, piece, repository))


def _archiving_steps(context: Context, target: Target, piece: Piece, repository: str) -> Iterator[Step]:
    about: dict[str, Any] = {"table": target.table.name, "columns": target.columns, "pieces": (piece,)}
    if context.needs_freeze(target.table.name, piece):
        yield FreezePartitions(**about)
    about |= {"repository": repository, "name": _snapshot_name(context, target, piece, repository)}
    yield SnapshotPartition(**about)
    # Files are always read back.
    files = context.catalog.capabilities.repositories_are_directories
    verify = Verify.RESTORE if files else target.policy.verify
    yield VerifySnapshot(**about, verify=verify, schema=context.own_schema)
    yield from context.coverage.seal(target.table.name, [piece])
    time_column = None if piece.exact else target.time_column
    yield DropArchived(**about, before=target.policy.limit(context.cutoff) or 0, time_column=time_column)


def _snapshot_name(context: Context, target: Target, piece: Piece, repository: str) -> str:
    """The snapshot that a partition was restored from, if nothing was written to it since; else a name of its own."""
    table, values, token = target.table.name, piece.partition.values, piece.partition.token
    where, name = context.restored.get((table, values, token), ("", ""))
    if where == repository and token:
        return name
    names = (snapshot_name(table, target.columns, values, token, copy) for copy in count())
    return next(name for name in names if (repository, name) not in context.archived)


def move(context: Context, target: Target, pieces: Sequence[Piece]) -> Iterator[Task | Hold]:
    """Move those that are not there yet to nodes with an attribute, such as ``storage=cold``."""
    policy, name = target.policy, target.table.name
    attribute, value = policy.reallocation_attribute_name or "", policy.reallocation_attribute_value or ""
    reason = _impossible(context, attribute, value)
    if reason:
        yield blocked(target, reason, pieces)
        return
    nodes = {node for node, attributes in context.catalog.nodes.items() if attributes.get(attribute) == value}
    moving = [p for p in pieces if not is_there(p, attribute, value, nodes)]
    context.claim(name, moving)
    for start in range(0, len(moving), MOVED_AT_ONCE):
        batch = tuple(moving[start : start + MOVED_AT_ONCE])
        step = MovePartitions(table=name, columns=target.columns, pieces=batch, attribute=attribute, value=value)
        yield task_on(target, batch, [step])


def is_there(piece: Piece, attribute: str, value: str, nodes: set[str]) -> bool:
    """Whether a partition is bound to the nodes, and all its shards are on them."""
    partition = piece.partition
    return (attribute, value) in partition.requires and partition.settled and partition.nodes <= nodes


def _impossible(context: Context, attribute: str, value: str) -> Reason | None:
    if not context.catalog.capabilities.reallocates:
        return Why.NO_NODES(product=context.catalog.capabilities.product)
    if any(attributes.get(attribute) == value for attributes in context.catalog.nodes.values()):
        return None
    known = sorted({f"{k}={v}" for attributes in context.catalog.nodes.values() for k, v in attributes.items()})
    if not known:
        return Why.NO_NODE_ATTRIBUTES(attribute=attribute, value=value)
    return Why.NO_NODE_WITH(attribute=attribute, value=value, known=tuple(known))


PLANS: Mapping[Strategy, Callable[[Context, Target, Sequence[Piece]], Iterator[Task | Hold]]] = {
    Strategy.SNAPSHOT: archive,
    Strategy.DOWNSAMPLE: drop,
    Strategy.DELETE: drop,
    Strategy.REALLOCATE: move,
}
