"""
The strategy ``snapshot``: freeze, archive, verify, drop; on any failure thaw and keep (law 2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

from cratedb_retention.model.plan import (
    DropArchived,
    FreezePartitions,
    Hold,
    Piece,
    SnapshotPartition,
    Step,
    Task,
    VerifySnapshot,
)
from cratedb_retention.model.policy import Verify
from cratedb_retention.model.reasons import Why
from cratedb_retention.model.snapshots import snapshot_name
from cratedb_retention.planning.context import Context
from cratedb_retention.planning.reasons import why_due
from cratedb_retention.planning.targets import Target


def plan_partitions(context: Context, target: Target, pieces: Sequence[Piece]) -> Iterator[Task | Hold]:
    """Archive each piece in a snapshot of its own, so that each can be restored by itself."""
    policy, name = target.policy, target.table.name
    capabilities = context.catalog.capabilities
    repository = policy.target_repository_name or ""
    context.claim(name, pieces)
    if not capabilities.repositories_are_directories and repository not in context.catalog.repositories:
        reason = Why.NO_REPOSITORY(repository=repository)
        yield Hold(policy_id=policy.id, table=name, why=reason, count=len(pieces), problem=True, pieces=tuple(pieces))
        return
    limit = policy.limit(context.cutoff) or 0
    for piece in pieces:
        partition = piece.partition
        steps = tuple(_steps(context, target, piece, repository, limit))
        yield Task(
            policy_id=policy.id,
            table=name,
            steps=steps,
            why=why_due([piece], policy),
            rows=partition.rows,
            size=partition.size,
            partitions=1,
        )


def _name(context: Context, target: Target, piece: Piece, repository: str) -> str:
    """The snapshot that a partition was restored from, if nothing was written to it since; else a name of its own."""
    table, values, token = target.table.name, piece.partition.values, piece.partition.token
    where, name = context.restored.get((table, values, token), ("", ""))
    if where == repository and token:
        return name
    names = (snapshot_name(table, target.columns, values, token, copy) for copy in count())
    return next(name for name in names if (repository, name) not in context.archived)


def _steps(context: Context, target: Target, piece: Piece, repository: str, limit: int) -> Iterator[Step]:
    table, columns = target.table.name, target.columns
    snapshot = _name(context, target, piece, repository)
    if context.needs_freeze(table, piece):
        yield FreezePartitions(table, columns, (piece,))
    yield SnapshotPartition(table=table, columns=columns, piece=piece, repository=repository, name=snapshot)
    # Files are always read back.
    files = context.catalog.capabilities.repositories_are_directories
    verify = Verify.RESTORE if files else target.policy.verify
    yield VerifySnapshot(
        table=table,
        columns=columns,
        piece=piece,
        repository=repository,
        name=snapshot,
        verify=verify,
        schema=context.own_schema,
    )
    yield from context.coverage.seal(table, [piece])
    time_column = None if piece.exact else target.time_column
    yield DropArchived(
        table=table,
        columns=columns,
        piece=piece,
        repository=repository,
        name=snapshot,
        before=limit,
        time_column=time_column,
    )
