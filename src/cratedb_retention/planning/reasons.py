"""
Why something is due, in words: ``ends 2023-07-01, kept until 2023-07-31``.
"""

from __future__ import annotations

from collections.abc import Sequence

from cratedb_retention.model.plan import Piece
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.time import from_ms, show, to_ms
from cratedb_retention.model.words import plural


def next_due(piece: Piece, policy: Policy) -> int | None:
    """When a piece expires (ms, UTC); None if never, or if nothing tells."""
    if piece.end is None:
        return None
    try:
        due = policy.due(from_ms(piece.end))
    except OverflowError:
        return None
    return None if due is None else to_ms(due)


def why_due(pieces: Sequence[Piece], policy: Policy) -> str:
    """Why pieces, sorted by end, are due."""
    first, last = pieces[0], pieces[-1]
    if not last.exact and last.end is not None:
        return f"newest row of {show(last.end - 1)}, kept until {show(next_due(last, policy))}"
    if first.end == last.end:
        return f"ends {show(last.end)}, kept until {show(next_due(last, policy))}"
    return f"end {show(first.end)} to {show(last.end)}, the last kept until {show(next_due(last, policy))}"


DISK_FULL = "a disk is full, so CrateDB lets nothing be written to it (blocks.read_only_allow_delete); make room"
EMPTY = "empty, so nothing says which time it covers; if nothing writes to it any more, drop it by SQL"
NO_ROWS_GO = "a disk is full, and CrateDB then lets whole partitions go, but no rows; make room"


def missing_shards(count: int) -> str:
    """Why nothing is done to a partition or table (law 6), and what to do about it."""
    return f"{plural(count, 'missing shard')}; bring the lost nodes back"


def total_rows(pieces: Sequence[Piece]) -> int | None:
    """Rows in all pieces; None if any of them hides its own."""
    counts = [piece.partition.rows for piece in pieces]
    return None if None in counts else sum(count or 0 for count in counts)


def total_size(pieces: Sequence[Piece]) -> int | None:
    """Bytes of all pieces; None if any of them is unknown."""
    sizes = [piece.partition.size for piece in pieces]
    return None if None in sizes else sum(size or 0 for size in sizes)
