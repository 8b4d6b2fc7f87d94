"""
The steps of a cascade, as data: create and alter a level's table, roll windows up, seal them, renew the view.
"""

from __future__ import annotations

from dataclasses import dataclass

from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.rollup import Computed, Metric, Rollup, Window


@dataclass(frozen=True, slots=True)
class CreateRollup:
    """
    Create a level's table, and the one with its distributions where percentiles are kept.

    :param replicas: The source's ``number_of_replicas``; None: the database's own default.
    :param left_out: Names of the source's columns that are in no level, for showing.
    """

    rollup: Rollup
    replicas: str | None = None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlterRollup:
    """
    Add the columns that a level's table lacks.

    :param columns: Their names, in the order of the definition.
    """

    rollup: Rollup
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RollUp:
    """
    Compute windows from the level beneath, and replace exactly what was there of them (laws 3 to 6).

    :param windows: In order of time, without overlaps: each is computed for itself. Of an open window there may be
        several parts.
    :param rows: How many rows lie beneath each window, as far as the plan knows; so many are computed at once.
    :param idents: The database's names of the partitions beneath, for a last look at their health.
    :param tokens: The change token of what lies beneath each window, as it was when the plan was made; empty where
        the plan itself changes that, so that it has to be read when that is done.
    :param parts: The same of the parts of each window; empty where it is computed as a whole.
    :param older: Coarser levels that have the last values of counters where the finer one has none any more: before an
        instant (ms, UTC).
    :param before: What was computed before of these windows, and must not lose rows (law 4).
    """

    rollup: Rollup
    windows: tuple[Window, ...]
    rows: tuple[int, ...] = ()
    idents: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    older: tuple[tuple[Rollup, int], ...] = ()
    before: tuple[Computed, ...] = ()


@dataclass(frozen=True, slots=True)
class SealWindows:
    """
    Make sure that windows cover their source at its present change token, and seal them: it is about to go (law 3).

    :param rollup: The level above the data that is about to go.
    :param idents: The database's names of the partitions that are about to go; empty for rows of a table without.
    """

    rollup: Rollup
    windows: tuple[Window, ...]
    idents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RebaseRollup:
    """
    From now on compute a level from another table than before, since a level was added or removed beneath it.

    :param before: What lies before this instant (ms) is not held there any more, and is sealed as it is.
    """

    rollup: Rollup
    before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewPart:
    """
    A stretch of time of the view, and where it comes from.

    :param table: The source or a level.
    :param interval: The level's interval as text; empty for raw rows.
    :param start: From this instant (ms) on; None: from the beginning.
    :param end: Before this instant (ms); None: without end.
    """

    table: TableName
    interval: str
    start: int | None
    end: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceView:
    """
    Create or renew the view over the raw rows and all levels, each stretch of time from the finest that holds it.

    :param parts: Coarsest, which is the oldest, first.
    :param marks: Of the views that the toolkit made before, one of which may be replaced; none: nothing may be there.
    """

    view: TableName
    source: TableName
    time: Column
    dimensions: tuple[Column, ...]
    metrics: tuple[Metric, ...]
    parts: tuple[ViewPart, ...]
    marks: tuple[str, ...] = ("",)


RollupStep = CreateRollup | AlterRollup | RebaseRollup | RollUp | SealWindows | ReplaceView
