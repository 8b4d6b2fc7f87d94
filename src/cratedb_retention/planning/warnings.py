"""
A guard for clocks: data that lies in the future, or a table that is expired as a whole, is worth a look before
anything goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cratedb_retention.model.instant import show, to_ms
from cratedb_retention.model.policy import Strategy
from cratedb_retention.planning.context import Context
from cratedb_retention.planning.targets import Target

_DAY = 86_400_000


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
        removes = target.policy.strategy is not Strategy.REALLOCATE
        if removes and limit is not None and newest.end is not None and newest.end <= limit:
            yield (
                f"{table}: everything that policy {target.policy.id} covers is expired, the newest of it ends "
                f"{show(newest.end)}; has data stopped arriving, or is the cutoff wrong?"
            )
