"""
What rolling up has in common on all databases: the statements of a step. They follow from the step alone, so that what
a plan shows is what a run sends (law 10).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

from cratedb_retention.engine.expressions import BIGINT, Element, Expressions, as_type, between, number, ref, table_ref
from cratedb_retention.engine.measuring import chunks, union
from cratedb_retention.engine.samples import Before, Samples, Sketches, countable, of_metrics
from cratedb_retention.engine.states import Field, Formulas, LevelRows, grouped, level_fields, sketch_fields
from cratedb_retention.errors import DatabaseError
from cratedb_retention.model.aggregates import Part
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.rollup import ROW_COUNT, SKETCH_COUNT, VERSION, Balance, RolledUp, RollUp, Rollup, Window
from cratedb_retention.model.time import show

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
        return self.windows[0].since

    @property
    def until(self) -> int:
        return self.windows[-1].until


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
        first = run.windows[0]
        near = Before(level=rollup, start=first.since - (first.end - first.start), end=run.since)
        rows = Samples(**what, near=near, far=_far(rollup, run, older)).rows()
    else:
        rows = LevelRows(**what, table=rollup.beneath).rows()
    dimensions = [f"d{i}" for i in range(len(rollup.dimensions))]
    found = grouped(sql, rows, metrics, dimensions)
    columns: list[Element] = [found.c.t, *(found.c[name] for name in dimensions)]
    for i, metric in enumerate(rollup.metrics):
        states: dict[Part, Element] = {part: found.c[f"m{i}_{part}"] for part in metrics[metric]}
        columns += [Formulas(sql, metric.column).read(one, states.__getitem__) for one in metric.stored]
    return sa.select(*columns, found.c.n, sa.literal(version))


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


Query = Callable[[sa.Executable], Sequence[Sequence[Any]]]


@dataclass(frozen=True, slots=True)
class Beneath:
    """What a window is computed from."""

    rows: int  # Raw rows
    values: int = 0  # Values that have a place in a distribution


@dataclass(frozen=True, slots=True)
class Stored:
    """What a level has of a window."""

    counted: Beneath  # What its rows were computed from
    groups: int  # Rows that the present computation wrote
    alien: int  # Rows that another one wrote; there should be none


def count_beneath(query: Query, sql: Expressions, rollup: Rollup, windows: Sequence[Window]) -> dict[Window, Beneath]:
    """Count what windows are computed from, some hundred in a statement."""
    if rollup.from_raw:
        found = _ask(query, windows, lambda window: _of_source(sql, rollup, window))
        return {window: Beneath(*map(int, row)) for window, row in found.items()}
    rows = _ask(query, windows, lambda window: _of_level(sql, rollup, rollup.beneath, window, _total(ROW_COUNT)))
    values = _sketched(query, sql, rollup, rollup.beneath_sketch, windows, _total(SKETCH_COUNT))
    return {window: Beneath(int(rows[window][0]), int(values[window][0])) for window in windows}


def count_stored(
    query: Query, sql: Expressions, rollup: Rollup, windows: Sequence[Window], version: int
) -> dict[Window, Stored]:
    """Count what a level has of windows."""
    fresh: sa.ColumnElement[bool] = ref(VERSION) == version
    mine, all_rows = sa.func.count().filter(fresh), sa.func.count()

    def columns(name: str) -> list[Element]:
        return [_total(name, fresh), mine, all_rows]

    rows = _ask(query, windows, lambda window: _of_level(sql, rollup, rollup.table, window, *columns(ROW_COUNT)))
    values = _sketched(query, sql, rollup, rollup.sketch, windows, *columns(SKETCH_COUNT))
    found = {}
    for window in windows:
        counted, groups, there = map(int, rows[window])
        in_bins, bins, all_bins = map(int, values[window])
        found[window] = Stored(Beneath(counted, in_bins), groups, there - groups + all_bins - bins)
    return found


def count_source(query: Query, sql: Expressions, rollup: Rollup, windows: Sequence[Window]) -> dict[Window, int]:
    """How many raw rows there are."""
    rows = _ask(query, windows, lambda window: _of_source(sql, replace(rollup, metrics=()), window))
    return {window: int(count) for window, (count,) in rows.items()}


def count_windows(query: Query, sql: Expressions, rollup: Rollup, windows: Sequence[Window]) -> dict[Window, RolledUp]:
    """How many raw rows the rows of a level stand for, and how many these are."""
    columns = _total(ROW_COUNT), sa.func.count()
    rows = _ask(query, windows, lambda window: _of_level(sql, rollup, rollup.table, window, *columns))
    return {window: RolledUp(window, int(count), int(groups)) for window, (count, groups) in rows.items()}


def compare_windows(query: Query, sql: Expressions, rollup: Rollup, windows: Sequence[Window]) -> dict[Window, Balance]:
    """Whether each bucket still has beneath it what it stands for."""
    rows = _ask(query, windows, lambda window: _both(sql, rollup, window))
    return {
        window: Balance(int(stored), int(beneath), (int(short), int(left)))
        for window, (stored, beneath, short, left) in rows.items()
    }


def require_rows(query: Query, sql: Expressions, step: RollUp, run: Run) -> None:
    """Make sure that nothing loses rows by being computed again (law 4): the plan may be old."""
    before = {one.window: one.rows for one in step.before if run.since <= one.window.since < run.until}
    for window, balance in compare_windows(query, sql, step.rollup, list(before)).items():
        lost = balance.lost(before[window])
        if lost:
            raise DatabaseError(
                f"table {step.rollup.table}, {show_window(window)}",
                f"{lost[0]:,} rows were rolled up, and {lost[1]:,} are left in {step.rollup.beneath}",
                "the next plan says what to do",
            )


def show_window(window: Window) -> str:
    """A window for people."""
    return f"window {show(window.since)} to {show(window.until)}"


def show_difference(beneath: Beneath, stored: Beneath) -> str:
    """How a level differs from what it was computed from, in words."""
    if beneath.rows != stored.rows:
        return f"{beneath.rows:,} rows beneath it, {stored.rows:,} arrived in the rollup"
    return f"{beneath.values:,} values beneath it, {stored.values:,} arrived in the distributions"


def _ask(
    query: Query, windows: Sequence[Window], select: Callable[[Window], sa.Select[Any]]
) -> dict[Window, Sequence[Any]]:
    found: dict[Window, Sequence[Any]] = {}
    for chunk in chunks(windows):
        branches = [select(window) for window in chunk]
        # CrateDB has no row at all for a stretch whose partitions are closed.
        found.update(dict.fromkeys(chunk, (0,) * len(branches[0].selected_columns)))
        numbered = [b.with_only_columns(number(i), *b.selected_columns) for i, b in enumerate(branches)]
        for i, *row in query(union(numbered)):
            found[chunk[i]] = row
    return found


def _total(name: str, condition: sa.ColumnElement[bool] | None = None) -> Element:
    return _sum(ref(name), condition)


def _sum(value: Element, condition: sa.ColumnElement[bool] | None = None) -> Element:
    total = sa.func.sum(value) if condition is None else sa.func.sum(value).filter(condition)
    return sa.func.coalesce(as_type(total, BIGINT), as_type(number(0), BIGINT))


def _of_source(sql: Expressions, rollup: Rollup, window: Window) -> sa.Select[Any]:
    columns: list[Element] = [sa.func.count()]
    values = [sa.func.count().filter(countable(sql, metric)) for metric in rollup.sketched]
    if values:
        columns.append(reduce(lambda total, value: total.op("+")(value), values))
    within = between(sql, rollup.time, window.since, window.until)
    return sa.select(*columns).select_from(table_ref(rollup.source)).where(within)


def _of_level(sql: Expressions, rollup: Rollup, table: TableName, window: Window, *columns: Element) -> sa.Select[Any]:
    within = between(sql, rollup.own_time, window.since, window.until)
    return sa.select(*columns).select_from(table_ref(table)).where(within)


def _both(sql: Expressions, rollup: Rollup, window: Window) -> sa.Select[Any]:
    """Of all buckets, and then of those that lack rows, what they stand for and what is beneath them."""
    own, time = rollup.own_time, rollup.beneath_time
    rows = number(1) if rollup.from_raw else ref(ROW_COUNT)
    bucket = sql.epoch_ms(sql.bucket(rollup.interval, rollup.zone, sql.instant(time)))
    sources = [
        (rollup.beneath, time, bucket, number(0), rows),
        (rollup.table, own, sql.epoch_ms(sql.column(own)), ref(ROW_COUNT), number(0)),
    ]
    branches = []
    for table, at, start, stored, beneath in sources:
        within = between(sql, at, window.since, window.until)
        columns = [start.label("t"), stored.label("s"), beneath.label("b")]
        each = sa.select(*columns).select_from(table_ref(table)).where(within).subquery("r")
        sums = [_sum(each.c[name]).label(name) for name in ("s", "b")]
        branches.append(sa.select(each.c.t, *sums).group_by(each.c.t))
    found = sa.union_all(*branches).subquery("u")
    buckets = sa.select(*(_sum(found.c[name]).label(name) for name in ("s", "b"))).group_by(found.c.t).subquery("g")
    short = buckets.c.b < buckets.c.s
    return sa.select(*(_sum(buckets.c[name], which) for which in (None, short) for name in ("s", "b")))


def _sketched(
    query: Query, sql: Expressions, rollup: Rollup, table: TableName, windows: Sequence[Window], *columns: Element
) -> dict[Window, Sequence[Any]]:
    if not rollup.sketched:
        return dict.fromkeys(windows, (0,) * len(columns))
    return _ask(
        query,
        windows,
        lambda window: _of_level(sql, rollup, table, window, *columns).where(of_metrics(rollup.sketched)),
    )
