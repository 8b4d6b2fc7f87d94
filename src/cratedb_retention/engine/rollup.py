"""
What rolling up has in common on all databases: the statements of a step. They follow from the step alone, so that what
a plan shows is what a run sends (law 10).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

from cratedb_retention.engine.expressions import Element, Expressions, between, table_ref
from cratedb_retention.engine.samples import Before, Samples
from cratedb_retention.engine.sketches import Sketches
from cratedb_retention.engine.states import Field, Formulas, LevelRows, grouped, level_fields, sketch_fields
from cratedb_retention.model.aggregates import Part
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.rollup import Rollup, Window
from cratedb_retention.model.rollup_steps import RollUp

# What stands for the version of a computation where it is only shown.
SHOWN = 0
Older = tuple[tuple[Rollup, int], ...]


def new_version() -> int:
    """Tells the rows of one computation from those of earlier ones: a number, since each row has to hold it."""
    return secrets.randbits(53)


@dataclass(frozen=True, slots=True)
class Run:
    """Windows without gaps between them, which are computed and counted together."""

    windows: tuple[Window, ...]

    @property
    def since(self) -> int:
        """Buckets from here on (ms)."""
        return self.windows[0].since

    @property
    def until(self) -> int:
        """Buckets that end here or before (ms)."""
        return self.windows[-1].until

    @property
    def look_back(self) -> int:
        """Where the search for the sample before the first one begins: one window's length before (ms)."""
        first = self.windows[0]
        return first.since - (first.end - first.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Portions:
    """How many raw rows a database takes at once, as far as a plan knows them; 0: any number."""

    run: int = 0  # Before they are counted
    counters: int = 0  # The same where a window function holds all of them in memory
    insert: int = 0  # In one INSERT of the finest level


ANY = Portions()


def runs_of(step: RollUp, portions: Portions = ANY) -> Iterator[Run]:
    """The runs of a step, in order of time."""
    yield from _joined(step.windows, step, portions.counters if step.rollup.has_counters else portions.run)


def _joined(windows: Sequence[Window], step: RollUp, limit: int) -> Iterator[Run]:
    """Join windows that follow one another; one with more rows than the limit is one by itself."""
    rows: Mapping[Window, int] = dict(zip(step.windows, step.rows, strict=False))
    current: list[Window] = []
    total = 0
    for window in windows:
        size = rows.get(window, 0)
        if current and (current[-1].until != window.since or total + size > limit > 0):
            yield Run(tuple(current))
            current, total = [], 0
        current.append(window)
        total += size
    if current:
        yield Run(tuple(current))


def run_statements(
    sql: Expressions, step: RollUp, run: Run, version: int, portions: Portions = ANY
) -> Iterator[sa.Executable]:
    """
    Replace what is there of a run. From raw rows it is computed piece by piece; a coarser level has few groups, and
    what a counter had before a piece can be read only after a refresh.
    """
    rollup = step.rollup
    within = between(sql, rollup.own_time, run.since, run.until)
    yield from (sa.delete(table_ref(table)).where(within) for table in rollup.tables)
    whole = rollup.has_counters or not rollup.from_raw
    for piece in [run] if whole else _joined(run.windows, step, portions.insert):
        yield _insert(rollup.table, level_fields(sql, rollup), level_select(sql, rollup, piece, version, step.older))
        if rollup.sketched:
            yield _insert(rollup.sketch, sketch_fields(sql, rollup), sketch_select(sql, rollup, piece, version))


def _insert(table: TableName, fields: Sequence[Field], rows: sa.Select[Any]) -> sa.Insert:
    names = [quoted_name(field.name, True) for field in fields if field.generated is None]
    into = sa.table(quoted_name(table.name, True), *map(sa.column, names), schema=quoted_name(table.schema, True))
    return sa.insert(into).from_select(names, rows)


def step_statements(sql: Expressions, step: RollUp, portions: Portions = ANY) -> list[sa.Executable]:
    """All statements of a step that change something, for showing."""
    return [one for run in runs_of(step, portions) for one in run_statements(sql, step, run, SHOWN, portions)]


def level_select(sql: Expressions, rollup: Rollup, run: Run, version: int, older: Older = ()) -> sa.Select[Any]:
    """
    The rows of a level for the buckets of a run, in the order of its stored columns.

    :param older: See :class:`RollUp`.
    """
    metrics = {metric: [part for part in metric.parts if part is not Part.BINS] for metric in rollup.metrics}
    what: dict[str, Any] = {
        "sql": sql,
        "of": rollup,
        "interval": rollup.interval,
        "metrics": metrics,
        "groups": rollup.dimensions,
        "since": run.since,
        "until": run.until,
    }
    if rollup.from_raw:
        rows = Samples(**what, near=_near(rollup, run), far=_far(rollup, run, older)).rows()
    else:
        rows = LevelRows(**what, table=rollup.beneath).rows()
    dimensions = [f"d{i}" for i in range(len(rollup.dimensions))]
    found = grouped(sql, rows, metrics, dimensions)
    columns: list[Element] = [found.c.t, *(found.c[name] for name in dimensions)]
    for i, metric in enumerate(rollup.metrics):

        def state(part: Part, place: int = i) -> Element:
            part_of_state: Element = found.c[f"m{place}_{part}"]
            return part_of_state

        columns += [Formulas(sql, metric.column).read(one, state) for one in metric.stored]
    return sa.select(*columns, found.c.n, sa.literal(version))


def _near(rollup: Rollup, run: Run) -> Before:
    return Before(level=rollup, start=run.look_back, end=run.since)


def _far(rollup: Rollup, run: Run, older: Older) -> list[Before]:
    """
    The level itself, then coarser levels for what it has no more, whole buckets of the time before: a run may lie in
    what the finer level has nothing of any more. The raw rows, where no level has anything.
    """
    found = [Before(level=rollup, start=None, end=run.since)]
    for coarser, before in older:
        end = min(before, coarser.interval.floor(run.since, coarser.tzinfo))
        found.append(Before(level=coarser, start=None, end=end))
    return found if older else [*found, Before(level=None, start=None, end=run.since, unless=rollup)]


def sketch_select(sql: Expressions, rollup: Rollup, run: Run, version: int) -> sa.Select[Any]:
    """The rows of the distributions for the buckets of a run, in the order of their columns."""
    bins = Sketches(
        sql=sql,
        of=rollup,
        table=None if rollup.from_raw else rollup.beneath_sketch,
        interval=rollup.interval,
        metrics=dict.fromkeys(rollup.sketched, (Part.BINS,)),
        groups=rollup.dimensions,
        since=run.since,
        until=run.until,
    ).select()
    return sa.select(*bins.c, sa.literal(version))
