"""
When something is due, and why; how much it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from cratedb_retention.model.plan import Piece
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.model.time import from_ms, to_ms


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


def total_rows(pieces: Sequence[Piece]) -> int | None:
    """Rows in all pieces; None if any of them hides its own."""
    counts = [piece.partition.rows for piece in pieces]
    return None if None in counts else sum(count or 0 for count in counts)


def total_size(pieces: Sequence[Piece]) -> int | None:
    """Bytes of all pieces; None if any of them is unknown."""
    sizes = [piece.partition.size for piece in pieces]
    return None if None in sizes else sum(size or 0 for size in sizes)
