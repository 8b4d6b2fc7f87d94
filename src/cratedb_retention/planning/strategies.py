"""
What each strategy does with partitions that are expired, and that nothing blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count

from cratedb_retention.model.plan import (
    DropArchived,
    FreezePartitions,
    Hold,
    MovePartitions,
    Piece,
    SnapshotPartition,
    Step,
    Task,
    VerifySnapshot,
)
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.model.snapshots import snapshot_name
from cratedb_retention.model.strategies import Strategy
from cratedb_retention.model.values import Verify
from cratedb_retention.planning.context import Context
from cratedb_retention.planning.delete import drop
from cratedb_retention.planning.reasons import blocked, task_on
from cratedb_retention.planning.targets import Target

# So many move at the same time, as far as the cluster's own limits let them.
MOVED_AT_ONCE = 50


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
    limit = target.policy.limit(context.cutoff) or 0
    for piece in pieces:
        yield task_on(target, [piece], _archiving_steps(context, target, piece, repository, limit))


def _snapshot_name(context: Context, target: Target, piece: Piece, repository: str) -> str:
    """The snapshot that a partition was restored from, if nothing was written to it since; else a name of its own."""
    table, values, token = target.table.name, piece.partition.values, piece.partition.token
    where, name = context.restored.get((table, values, token), ("", ""))
    if where == repository and token:
        return name
    names = (snapshot_name(table, target.columns, values, token, copy) for copy in count())
    return next(name for name in names if (repository, name) not in context.archived)


def _archiving_steps(context: Context, target: Target, piece: Piece, repository: str, limit: int) -> Iterator[Step]:
    table, columns = target.table.name, target.columns
    snapshot = _snapshot_name(context, target, piece, repository)
    if context.needs_freeze(table, piece):
        yield FreezePartitions(table=table, columns=columns, pieces=(piece,))
    yield SnapshotPartition(table=table, columns=columns, pieces=(piece,), repository=repository, name=snapshot)
    # Files are always read back.
    files = context.catalog.capabilities.repositories_are_directories
    verify = Verify.RESTORE if files else target.policy.verify
    yield VerifySnapshot(
        table=table,
        columns=columns,
        pieces=(piece,),
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
        pieces=(piece,),
        repository=repository,
        name=snapshot,
        before=limit,
        time_column=time_column,
    )


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
