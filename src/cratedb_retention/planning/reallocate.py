"""
The strategy ``reallocate``: move expired partitions to nodes with an attribute, such as ``storage=cold``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cratedb_retention.model.plan import Hold, MovePartitions, Piece, Task
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.planning.context import Context
from cratedb_retention.planning.reasons import total_rows, total_size, why_due
from cratedb_retention.planning.targets import Target

# So many move at the same time, as far as the cluster's own limits let them.
BATCH = 50


def plan_partitions(context: Context, target: Target, pieces: Sequence[Piece]) -> Iterator[Task | Hold]:
    """Move those that are not there yet."""
    policy, name = target.policy, target.table.name
    attribute, value = policy.reallocation_attribute_name or "", policy.reallocation_attribute_value or ""
    reason = _impossible(context, attribute, value)
    if reason:
        yield Hold(policy_id=policy.id, table=name, why=reason, count=len(pieces), problem=True, pieces=tuple(pieces))
        return
    nodes = {node for node, attributes in context.catalog.nodes.items() if attributes.get(attribute) == value}
    moving = [p for p in pieces if not is_there(p, attribute, value, nodes)]
    context.claim(name, moving)
    for start in range(0, len(moving), BATCH):
        batch = tuple(moving[start : start + BATCH])
        step = MovePartitions(table=name, columns=target.columns, pieces=batch, attribute=attribute, value=value)
        yield Task(
            policy_id=policy.id,
            table=name,
            steps=(step,),
            why=why_due(batch, policy),
            rows=total_rows(batch),
            size=total_size(batch),
            partitions=len(batch),
        )


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
