"""
A guard against rollups as large as their source: where a message or another text that hardly recurs is a dimension,
each row is a series of its own. What to do with such a column only the user knows. And against the opposite, rollups
that merge series.
"""

from __future__ import annotations

import datetime as dt

from cratedb_retention.model.ledger import Ledger
from cratedb_retention.model.measurements import Measurements, Variety
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.model.time import to_ms
from cratedb_retention.planning.cascades import Cascade, find_said
from cratedb_retention.planning.targets import Undecided

# Fewer rows say nothing.
_ENOUGH = 100
# A rollup that has more of its rows than this share does not shrink them.
_LARGE = 0.9
# A column with so many different values for each row hardly recurs. Rows of at least eight buckets are looked at, so
# what tells series apart, each with a row in each bucket, has at most half as many.
_VARIED = 0.25


def _is_large(rows: int, groups: int) -> bool:
    return rows >= _ENOUGH and groups > rows * _LARGE


def why_large(cascade: Cascade, ledger: Ledger) -> Reason | None:
    """That a level that exists is about as large as its source, in words; None if it is not, or the user means it."""
    rollup = cascade.levels[0].rollup
    windows = ledger.of(rollup.table).values()
    rows, groups = (sum(numbers) for numbers in ((w.rows for w in windows), (w.groups for w in windows)))
    if cascade.policy.dimensions or not _is_large(rows, groups):
        return None
    names = tuple(column.name for column in rollup.dimensions) or ("none",)
    return Why.LARGE_ROLLUP(level=rollup.table, groups=groups, rows=rows, source=rollup.source, dimensions=names)


def variety_probe(cascade: Cascade, cutoff: dt.datetime) -> Variety | None:
    """What must be asked of the newest rows; None if the policy names the dimensions, or levels exist already."""
    rollup = cascade.levels[0].rollup
    if cascade.policy.dimensions or not rollup.dimensions or any(level.known for level in cascade.levels):
        return None
    said = find_said(cascade.policy, cascade.raw.table, rollup)
    return Variety(
        table=rollup.source,
        time_column=rollup.time,
        interval=rollup.interval,
        zone=rollup.zone,
        before=to_ms(cutoff),
        dimensions=rollup.dimensions,
        said=said,
    )


def require_smaller(cascade: Cascade, measurements: Measurements, cutoff: dt.datetime) -> None:
    """
    Make sure that the finest level would be smaller than the rows that it is made of, and that what is left out for its
    name does not tell series apart.

    :raises Undecided: if it would not, and columns are the cause that the policy does not name; or if it does.
    """
    probe = variety_probe(cascade, cutoff)
    found = measurements.varieties.get(probe) if probe else None
    if probe is None or found is None:
        return
    if found.mixed:
        names = tuple(column.name for column in probe.said)
        raise Undecided(Why.SERIES_MIXED(rows=found.mixed, source=cascade.source, columns=names))
    if not _is_large(found.rows, found.groups):
        return
    causes = tuple(
        f"{column.name} ({values:,} values)"
        for column, values in zip(probe.dimensions, found.values, strict=True)
        if values > found.rows * _VARIED
    )
    if causes:
        level = cascade.levels[0].rollup.table
        why = Why.NOT_SMALLER(level=level, groups=found.groups, rows=found.rows, source=cascade.source, causes=causes)
        raise Undecided(why)
