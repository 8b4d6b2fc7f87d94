"""
A guard for units: data all of which lies before 1980, or far in the future, was written in another unit than it is
read in. To a policy it seems to be expired, or never to expire; so it is blocked until a person looks at it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from cratedb_retention.model.catalog import Column, TimeUnit
from cratedb_retention.model.measurements import Bound, Measurements, TableBounds
from cratedb_retention.model.plan import Hold, Piece
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.model.time import UTC, to_ms
from cratedb_retention.planning.holds import TableHold
from cratedb_retention.planning.pieces import PieceIndex
from cratedb_retention.planning.targets import Target

# Seconds of today, read as milliseconds, lie in January 1970; milliseconds, read as seconds, after the year 50,000.
OLD = to_ms(dt.datetime(1980, 1, 1, tzinfo=UTC))
AHEAD = 10 * 366 * 86_400_000
_OTHER = {TimeUnit.SECONDS: TimeUnit.MILLISECONDS, TimeUnit.MILLISECONDS: TimeUnit.SECONDS}


def range_probe(target: Target, cutoff: dt.datetime, holds: Iterable[TableHold] = ()) -> TableBounds | None:
    """What must be asked of the rows, since no partitions tell; None if they do, or if nothing happens to any."""
    if not target.by_rows or target.time_column is None or not target.policy.acts(cutoff):
        return None
    if not target.policy.strategy.traits.rolls_up and any(hold.spared is None for hold in holds):
        return None
    return TableBounds(target.table.name, target.time_column, target.where)


def split_plausible(
    targets: Iterable[Target], pieces: PieceIndex, measurements: Measurements, cutoff: dt.datetime
) -> tuple[list[Target], list[tuple[Target, Hold]]]:
    """The targets whose times can be right, and each of the others with the problem that it is."""
    fine: list[Target] = []
    others: list[tuple[Target, Hold]] = []
    for target in targets:
        reason = _implausible(target, _range(target, pieces, measurements, cutoff), to_ms(cutoff))
        if reason is None or not target.policy.acts(cutoff):
            fine.append(target)
        else:
            others.append((target, Hold(policy_id=target.policy.id, table=target.table.name, why=reason, problem=True)))
    return fine, others


def why_old(target: Target, piece: Piece) -> Reason | None:
    """Why a single piece must stay: nobody said what its times count, and they lie where seconds would."""
    time = target.time_column
    if time is None or time.unit is None or target.policy.time_unit is not None or not _is_old(piece.end):
        return None
    return Why.BEFORE_1980(time=time, unit=_words(time.unit))


def _range(target: Target, pieces: PieceIndex, measurements: Measurements, cutoff: dt.datetime) -> Bound:
    """The least and greatest time of what a target is about."""
    probe = range_probe(target, cutoff)
    if probe is not None:
        return measurements.ranges.get(probe, (None, None))
    if target.by_rows:
        return None, None
    known = pieces.of(target).known
    starts = [piece.start for piece in known if piece.start is not None]
    return min(starts, default=None), known[-1].end if known else None


def _implausible(target: Target, found: Bound, cutoff: int) -> Reason | None:
    oldest, newest = found
    time = target.time_column
    if time is None:
        return None
    if _is_old(newest) and cutoff > OLD:
        return Why.ALL_BEFORE_1980(newest=newest, remedy=_remedy(time, TimeUnit.SECONDS))
    if oldest is not None and oldest > cutoff + AHEAD:
        return Why.ALL_AHEAD(oldest=oldest, remedy=_remedy(time, TimeUnit.MILLISECONDS))
    return None


def _is_old(instant: int | None) -> bool:
    return instant is not None and instant <= OLD


def _remedy(time: Column, wanted: TimeUnit) -> Reason:
    """
    What to do.

    :param wanted: The unit that would explain it.
    """
    if time.unit is None:
        return Why.CHECK_UNIT(time=time)
    if time.unit is _OTHER[wanted]:
        return Why.SET_UNIT(time=time, counts=_words(wanted), unit=wanted)
    what = "microseconds or nanoseconds" if wanted is TimeUnit.MILLISECONDS else "something else"
    return Why.OTHER_UNIT(time=time, counts=what, unit=_words(time.unit))


def _words(unit: TimeUnit) -> str:
    return unit.name.lower()
