"""
The steps of a cascade, as data: create and alter a level's table, roll windows up, seal them, renew the view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.rollup import Computed, Metric, Rollup, Window
from cratedb_retention.model.step import BaseStep, Kind, Stretch
from cratedb_retention.model.time import show
from cratedb_retention.model.words import plural


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelStep(BaseStep):
    """A step on a level of a cascade."""

    rollup: Rollup

    @property
    def changes(self) -> TableName | None:
        """The level's table."""
        return self.rollup.table

    @property
    def alike(self) -> object:
        """The level."""
        return self.rollup


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRollup(LevelStep):
    """Create a level's table, and the one with its distributions where percentiles are kept."""

    replicas: str | None = None  # The source's ``number_of_replicas``; None: the database's own default
    left_out: tuple[str, ...] = ()  # Names of the source's columns that are in no level, for showing

    def describe(self) -> str:
        """See :class:`BaseStep`."""
        dimensions = ", ".join(column.name for column in self.rollup.dimensions) or "none"
        metrics = ", ".join(metric.column.name for metric in self.rollup.metrics) or "none"
        left_out = f"; left out: {', '.join(self.left_out)}" if self.left_out else ""
        return f"create {self.rollup.table.name} (dimensions: {dimensions}; metrics: {metrics}{left_out})"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterRollup(LevelStep):
    """Add the columns that a level's table lacks."""

    columns: tuple[str, ...]  # Their names, in the order of the definition

    def describe(self) -> str:
        """See :class:`BaseStep`."""
        return f"add {', '.join(self.columns)} to {self.rollup.table.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsStep(LevelStep):
    """A step on windows of a level, in order of time; with the database's names of partitions beneath them."""

    windows: tuple[Window, ...]
    idents: tuple[str, ...] = ()

    def merged(self, others: Sequence[WindowsStep]) -> Self:
        """One of all of their windows."""
        return replace(self, windows=tuple(window for step in others for window in step.windows))

    @property
    def _named(self) -> str:
        time = f"{show(self.windows[0].since)} to {show(self.windows[-1].until)}"
        return f"{plural(len(self.windows), 'window')} of {self.rollup.table.name}, {time}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RollUp(WindowsStep):
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

    does: ClassVar = Kind.ROLL_UP
    rows: tuple[int, ...] = ()
    tokens: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    older: tuple[tuple[Rollup, int], ...] = ()
    before: tuple[Computed, ...] = ()

    def describe(self) -> str:
        """See :class:`BaseStep`."""
        return f"roll up {self._named}"

    @property
    def stretches(self) -> Sequence[Stretch]:
        """Its windows."""
        return [(window.since, window.until) for window in self.windows]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealWindows(WindowsStep):
    """
    Make sure that windows cover their source at its present change token, and seal them: it is about to go (law 3).

    :param rollup: The level above the data that is about to go.
    :param idents: The database's names of the partitions that are about to go; empty for rows of a table without.
    """

    def describe(self) -> str:
        """See :class:`BaseStep`."""
        return f"seal {self._named}"

    @property
    def changes(self) -> None:
        """It changes no table of data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RebaseRollup(LevelStep):
    """From now on compute a level from another table than before, since a level was added or removed beneath it."""

    before: int  # What lies before this instant (ms) is not held there any more, and is sealed as it is

    def describe(self) -> str:
        """See :class:`BaseStep`."""
        kept = f", and keep what is before {show(self.before)} as it is" if self.before else ""
        return f"compute {self.rollup.table.name} from {self.rollup.beneath.name} from now on{kept}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewPart:
    """A stretch of time of the view, and where it comes from."""

    table: TableName  # The source or a level
    interval: str  # The level's interval as text; empty for raw rows
    start: int | None  # From this instant (ms) on; None: from the beginning
    end: int | None  # Before this instant (ms); None: without end


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceView(BaseStep):
    """Create or renew the view over the raw rows and all levels, each stretch of time from the finest that holds it."""

    view: TableName
    source: TableName
    time: Column
    dimensions: tuple[Column, ...]
    metrics: tuple[Metric, ...]
    parts: tuple[ViewPart, ...]  # Coarsest, which is the oldest, first
    # Of the views that the toolkit made before, one of which may be replaced; none: nothing may be there.
    marks: tuple[str, ...] = ("",)

    def describe(self) -> str:
        """See :class:`BaseStep`."""
        return f"renew the view {self.view.name}"

    @property
    def changes(self) -> TableName:
        """What the view is over."""
        return self.source


RollupStep = CreateRollup | AlterRollup | RebaseRollup | RollUp | SealWindows | ReplaceView
