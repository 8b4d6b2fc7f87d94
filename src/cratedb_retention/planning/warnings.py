"""
What is worth a look before anything goes: data that lies in the future, or a table that is expired as a whole, since a
clock may be wrong; and partitions that rows were deleted from until none was left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from cratedb_retention.model.time import show, to_ms
from cratedb_retention.model.words import plural, show_partition
from cratedb_retention.planning.context import Context
from cratedb_retention.planning.targets import Target

_DAY = 86_400_000


def find_warnings(context: Context, targets: Sequence[Target]) -> Iterator[str]:
    """One line for each thing."""
    yield from clock_warnings(context, targets)
    tables = {target.table.name: target for target in targets if target.by_rows}
    for name, target in tables.items():
        empty = [partition.values for partition in target.table.partitions if partition.rows == 0]
        if empty:
            examples = "; ".join(show_partition(target.columns, values) for values in empty[:5])
            verb, it = ("is empty, and keeps its", "it") if len(empty) == 1 else ("are empty, and keep their", "them")
            yield (
                f"{name}: {plural(len(empty), 'partition')} {verb} shards ({examples}); if nothing writes to {it} any "
                f"more, drop {it} by SQL"
            )


def clock_warnings(context: Context, targets: Iterable[Target]) -> Iterator[str]:
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
            yield f"{table}: holds data of {show(newest.start)}, after the cutoff {show(cutoff)}; are the clocks right?"
        limit = target.policy.limit(context.cutoff)
        removes = target.policy.strategy.traits.removes
        if removes and limit is not None and newest.end is not None and newest.end <= limit:
            yield (
                f"{table}: everything that policy {target.policy.id} covers is expired, the newest of it ends "
                f"{show(newest.end)}; has data stopped arriving, or is the cutoff wrong?"
            )
