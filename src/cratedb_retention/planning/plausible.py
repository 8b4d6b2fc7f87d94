"""
What looks wrong before anything goes.

A guard for units: data all of which lies before 1980, or far in the future, was written in another unit than it is
read in. To a policy it seems to be expired, or never to expire; so it is blocked until a person looks at it. Warnings
are of data that lies in the future, or of a table that is expired as a whole, since a clock may be wrong; and of
partitions that rows were deleted from until none was left.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence

from cratedb_retention.model.catalog import Column, TimeUnit
from cratedb_retention.model.measurements import Bound, Measurements, TableBounds
from cratedb_retention.model.plan import Piece
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.model.time import UTC, to_ms
from cratedb_retention.model.words import show_partition
from cratedb_retention.planning.context import Context
from cratedb_retention.planning.holds import TableHold
from cratedb_retention.planning.pieces import PieceIndex
from cratedb_retention.planning.targets import Target, Undecided

# Seconds of today, read as milliseconds, lie in January 1970; milliseconds, read as seconds, after the year 50,000.
OLD = to_ms(dt.datetime(1980, 1, 1, tzinfo=UTC))
_DAY = 86_400_000
AHEAD = 10 * 366 * _DAY


def range_probe(target: Target, cutoff: dt.datetime, holds: Iterable[TableHold] = ()) -> TableBounds | None:
    """What must be asked of the rows, since no partitions tell; None if they do, or if nothing happens to any."""
    if not target.by_rows or target.time_column is None or not target.policy.acts(cutoff):
        return None
    if not target.policy.strategy.traits.rolls_up and any(hold.spared is None for hold in holds):
        return None
    return TableBounds(target.table.name, target.time_column, target.where)


def require_plausible(target: Target, pieces: PieceIndex, measurements: Measurements, cutoff: dt.datetime) -> None:
    """Make sure that the times of a target can be right, if anything happens to its data."""
    oldest, newest = _range(target, pieces, measurements, cutoff)
    time = target.time_column
    if time is None or not target.policy.acts(cutoff):
        return
    if _is_old(newest) and to_ms(cutoff) > OLD:
        raise Undecided(Why.ALL_BEFORE_1980(newest=newest, remedy=_remedy(time, TimeUnit.SECONDS)))
    if oldest is not None and oldest > to_ms(cutoff) + AHEAD:
        raise Undecided(Why.ALL_AHEAD(oldest=oldest, remedy=_remedy(time, TimeUnit.MILLISECONDS)))


def _range(target: Target, pieces: PieceIndex, measurements: Measurements, cutoff: dt.datetime) -> Bound:
    probe = range_probe(target, cutoff)
    if probe is not None:
        return measurements.ranges.get(probe, (None, None))
    known = () if target.by_rows else pieces.of(target).known
    starts = [piece.start for piece in known if piece.start is not None]
    return min(starts, default=None), known[-1].end if known else None


def why_old(target: Target, piece: Piece) -> Reason | None:
    """Why a single piece must stay: nobody said what its times count, and they lie where seconds would."""
    time = target.time_column
    if time is None or time.unit is None or target.policy.time_unit is not None or not _is_old(piece.end):
        return None
    return Why.BEFORE_1980(time=time, unit=_words(time.unit))


def _is_old(instant: int | None) -> bool:
    return instant is not None and instant <= OLD


def _remedy(time: Column, wanted: TimeUnit) -> Reason:
    """What to do; the wanted unit would explain it."""
    if time.unit is None:
        return Why.CHECK_UNIT(time=time)
    if time.unit is not wanted:
        return Why.SET_UNIT(time=time, counts=_words(wanted), unit=wanted)
    what = "microseconds or nanoseconds" if wanted is TimeUnit.MILLISECONDS else "something else"
    return Why.OTHER_UNIT(time=time, counts=what, unit=_words(time.unit))


def _words(unit: TimeUnit) -> str:
    return unit.name.lower()


def find_warnings(context: Context, targets: Sequence[Target]) -> Iterator[Reason]:
    """One line for each thing."""
    yield from _clock_warnings(context, targets)
    for name, target in {target.table.name: target for target in targets if target.by_rows}.items():
        empty = [partition.values for partition in target.table.partitions if partition.rows == 0]
        if empty:
            examples = "; ".join(show_partition(target.columns, values) for values in empty[:5])
            yield Why.EMPTY_PARTITIONS(table=name, count=len(empty), partitions=examples)


def _clock_warnings(context: Context, targets: Iterable[Target]) -> Iterator[Reason]:
    """One line for each table whose time and the cutoff hardly fit together."""
    cutoff, seen = to_ms(context.cutoff), set()
    for target in targets:
        known, table = () if target.by_rows else context.pieces.of(target).known, target.table.name
        if not known:
            continue
        newest = known[-1]
        if newest.start is not None and newest.start > cutoff + _DAY and table not in seen:
            seen.add(table)
            yield Why.AHEAD_OF_CUTOFF(table=table, newest=newest.start, cutoff=cutoff)
        limit = target.policy.limit(context.cutoff)
        removes = target.policy.strategy.traits.removes
        if removes and limit is not None and newest.end is not None and newest.end <= limit:
            yield Why.ALL_EXPIRED(table=table, expiring=target.policy.id or "", end=newest.end)
