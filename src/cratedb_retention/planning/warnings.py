"""
What is worth a look before anything goes: data that lies in the future, or a table that is expired as a whole, since a
clock may be wrong; and partitions that rows were deleted from until none was left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.model.time import to_ms
from cratedb_retention.model.words import show_partition
from cratedb_retention.planning.context import Context
from cratedb_retention.planning.targets import Target

_DAY = 86_400_000


def find_warnings(context: Context, targets: Sequence[Target]) -> Iterator[Reason]:
    """One line for each thing."""
    yield from clock_warnings(context, targets)
    tables = {target.table.name: target for target in targets if target.by_rows}
    for name, target in tables.items():
        empty = [partition.values for partition in target.table.partitions if partition.rows == 0]
        if empty:
            examples = "; ".join(show_partition(target.columns, values) for values in empty[:5])
            if len(empty) == 1:
                yield Why.EMPTY_PARTITION(table=name, partition=examples)
            else:
                yield Why.EMPTY_PARTITIONS(table=name, count=len(empty), partitions=examples)


def clock_warnings(context: Context, targets: Iterable[Target]) -> Iterator[Reason]:
    """One line for each table whose time and the cutoff hardly fit together."""
    cutoff, seen = to_ms(context.cutoff), set()
    for target in targets:
        if target.by_rows:
            continue
        pieces, table = context.pieces.of(target), target.table.name
        if not pieces.known:
            continue
        newest = pieces.known[-1]
        if newest.start is not None and newest.start > cutoff + _DAY and table not in seen:
            seen.add(table)
            yield Why.AHEAD_OF_CUTOFF(table=table, newest=newest.start, cutoff=cutoff)
        limit = target.policy.limit(context.cutoff)
        removes = target.policy.strategy.traits.removes
        if removes and limit is not None and newest.end is not None and newest.end <= limit:
            yield Why.ALL_EXPIRED(table=table, expiring=target.policy.id or "", end=newest.end)
