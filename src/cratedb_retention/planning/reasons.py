"""
When something is due, and why; what is done about it, or blocked, and how much that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cratedb_retention.model.effect import total
from cratedb_retention.model.plan import Hold, Piece, Step, Task
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.model.time import from_ms, to_ms
from cratedb_retention.planning.targets import Target


def next_due(piece: Piece, policy: Policy) -> int | None:
    """When a piece expires (ms, UTC); None if never, or if nothing tells."""
    if piece.end is None:
        return None
    try:
        due = policy.due(from_ms(piece.end))
    except OverflowError:
        return None
    return None if due is None else to_ms(due)


def why_due(pieces: Sequence[Piece], policy: Policy) -> Reason:
    """Why pieces, sorted by end, are due."""
    first, last = pieces[0], pieces[-1]
    if not last.exact and last.end is not None:
        return Why.NEWEST_ROW(newest=last.end - 1, due=next_due(last, policy))
    if first.end == last.end:
        return Why.ENDS(end=last.end, due=next_due(last, policy))
    return Why.END(first=first.end, last=last.end, due=next_due(last, policy))


def task_on(target: Target, pieces: Sequence[Piece], steps: Iterable[Step]) -> Task:
    """A task of a target on some of its pieces, sorted by end."""
    return Task(
        policy_id=target.policy.id,
        table=target.table.name,
        steps=tuple(steps),
        why=why_due(pieces, target.policy),
        rows=total(piece.partition.rows for piece in pieces),
        size=total(piece.partition.size for piece in pieces),
        partitions=len(pieces),
    )


def blocked(target: Target, why: Reason, pieces: Sequence[Piece] = (), problem: bool = True) -> Hold:
    """What a target may not do now with some of its pieces, or with all rows."""
    return Hold(
        policy_id=target.policy.id,
        table=target.table.name,
        why=why,
        count=len(pieces),
        problem=problem,
        pieces=tuple(pieces),
    )
