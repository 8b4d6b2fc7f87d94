"""
Rollups on all databases: the statements of a step, which follow from the step alone, so that a run sends what its plan
shows (law 10); the counts that prove the result; and the view of the raw rows and all levels.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import pairwise
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

from cratedb_retention.engine.database import Statement
from cratedb_retention.engine.expressions import (
    BIGINT,
    DOUBLE,
    TEXT,
    Condition,
    Element,
    Expressions,
    as_type,
    between,
    number,
    ref,
    table_ref,
)
from cratedb_retention.engine.plan import chunks, union
from cratedb_retention.engine.rollups import states
from cratedb_retention.errors import DatabaseError
from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.query.reading import RAW
from cratedb_retention.model.rollups.aggregates import GAMMA, Aggregate, Part
from cratedb_retention.model.rollups.rollup import (
    ROW_COUNT,
    SKETCH_BIN,
    SKETCH_COUNT,
    SKETCH_METRIC,
    SKETCH_SIGN,
    VERSION,
    Balance,
    Count,
    Metric,
    ReplaceView,
    RollUp,
    Rollup,
    ViewPart,
    Window,
    level_column,
    sketch_table,
)
from cratedb_retention.model.time import TimeRange, find_zone, show

SHOWN = 0  # the version of a computation that is only shown
_name = partial(quoted_name, quote=True)
Query = Callable[[sa.Executable], Sequence[Sequence[Any]]]


def new_version() -> int:
    """A number that distinguishes the rows of one computation from earlier ones; each row stores it."""
    return secrets.randbits(53)


@dataclass(frozen=True, slots=True)
class Run:
    """Windows, in order of time, that are computed and counted together."""

    windows: tuple[Window, ...]

    @property
    def time(self) -> TimeRange:
        return TimeRange(self.windows[0].since, self.windows[-1].until)

    @property
    def several(self) -> bool:
        return len(self.windows) > 1

    @property
    def starts(self) -> tuple[int, ...]:
        """The windows by their starts; none if they are contiguous, so that the time range suffices."""
        gaps = any(one.until != other.since for one, other in pairwise(self.windows))
        return tuple(window.start for window in self.windows) if gaps else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Portions:
    """
    Maximum number of raw rows that are processed at once, by the plan's estimate, and of windows; 0: any number. There
    may be gaps between windows, whose rows are read as well: late rows years apart are processed apart.
    """

    run: int = 0  # between two counts
    counters: int = 0  # the same if a window function holds all of them in memory
    insert: int = 0  # in one INSERT of the finest level
    windows: int = 0  # between two counts
    gaps: int = 0  # the maximum length of a gap, in lengths of the window after it


ANY = Portions()


def runs_of(step: RollUp, portions: Portions = ANY, whole: Run | None = None) -> Iterator[Run]:
    """Divide a step into runs, or a whole run into INSERTs. A large window is alone."""
    limit = portions.insert if whole else portions.counters if step.rollup.has_counters else portions.run
    # The value of a counter before a window is read before the run, so it must not lie in a gap.
    gaps = 0 if step.rollup.window is None or step.rollup.has_counters else portions.gaps
    rows: Mapping[Window, int] = dict(zip(step.windows, step.rows, strict=False))
    current, total = list[Window](), 0
    for window in (whole or step).windows:
        size = rows.get(window, 0)
        large = total + size > limit > 0 or len(current) == portions.windows > 0
        if current and (large or not _together(current[-1], window, gaps)):
            yield Run(tuple(current))
            current, total = [], 0
        current.append(window)
        total += size
    if current:
        yield Run(tuple(current))


def _together(one: Window, other: Window, gaps: int) -> bool:
    """Whether two windows, or ranges of their buckets, can be in one run, where each has one range of buckets."""
    if one.until == other.since:
        return one.start != other.start
    whole = (one.until, other.since) == (one.end, other.start)
    return whole and other.start - one.end <= gaps * (other.end - other.start)


def run_statements(
    sql: Expressions, step: RollUp, run: Run, version: int, portions: Portions
) -> Iterator[sa.Executable]:
    """
    Replace the rows of a run. From raw rows they are computed in pieces, unless there are counters, whose value before
    a piece can be read only after a refresh. From a level they are computed at once, since it has few groups.
    """
    rollup = step.rollup
    time = rollup.own_time
    within = *between(sql, time, *run.time), *states.in_windows(sql, rollup, time, run.starts)
    yield from (sa.delete(table_ref(table)).where(*within) for table in rollup.tables)
    whole = rollup.has_counters or not rollup.from_raw
    for piece in [run] if whole else runs_of(step, portions, run):
        for table, fields in states.level_fields(sql, rollup).items():
            columns = [ref(field.name) for field in fields if field.generated is None]
            select = _level_select if table == rollup.table else _sketch_select
            yield sa.insert(table_ref(table, *columns)).from_select(columns, select(sql, step, piece, version))


def step_statements(sql: Expressions, step: RollUp, portions: Portions) -> list[sa.Executable]:
    """All statements of a step that change something, for display."""
    return [one for run in runs_of(step, portions) for one in run_statements(sql, step, run, SHOWN, portions)]


def _level_select(sql: Expressions, step: RollUp, run: Run, version: int) -> sa.Select[Any]:
    rollup = step.rollup
    metrics = {metric: [part for part in metric.parts if part is not Part.BINS] for metric in rollup.metrics}
    what = _what(sql, rollup, run) | {"metrics": metrics}
    rows: states.Selection = states.LevelRows(**what, table=rollup.below)
    if rollup.from_raw:
        rows = states.Samples(**what, before=list(_before(step, run)))
    found = rows.grouped()
    columns: list[Element] = [found.c[name] for name in ("t", *rows.names)]
    for i, metric in enumerate(rollup.metrics):
        parts: dict[Part, Element] = {part: found.c[f"m{i}_{part}"] for part in metrics[metric]}
        columns += [states.Formulas(sql, metric.column).read(one, parts.__getitem__) for one in metric.stored]
    return sa.select(*columns, found.c.n, sa.literal(version))


def _what(sql: Expressions, rollup: Rollup, run: Run) -> dict[str, Any]:
    about = {"sql": sql, "of": rollup, "interval": rollup.interval, "groups": rollup.dimensions}
    return about | {"time": run.time, "windows": run.starts}


def _before(step: RollUp, run: Run) -> Iterator[states.Before]:
    """
    Where to look up values of counters before a run: in the level itself, then in whole buckets of coarser levels for
    time that it no longer has, which may be before the run; in the raw rows, if no level has any data.
    """
    rollup, first, since = step.rollup, run.windows[0], run.time.start
    yield states.Before(level=rollup, start=first.since - (first.end - first.start), end=since)
    yield states.Before(level=rollup, start=None, end=since)
    for coarser, before in step.older:
        yield states.Before(level=coarser, start=None, end=min(before, coarser.interval.floor(since, coarser.tzinfo)))
    if not step.older:
        yield states.Before(level=None, start=None, end=since, unless=rollup)


def _sketch_select(sql: Expressions, step: RollUp, run: Run, version: int) -> sa.Select[Any]:
    rollup = step.rollup
    table, metrics = None if rollup.from_raw else rollup.below_sketch, dict.fromkeys(rollup.sketched, (Part.BINS,))
    bins = states.Sketches(**_what(sql, rollup, run), table=table, metrics=metrics).grouped()
    return sa.select(*bins.c, sa.literal(version))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counts rows of a level's windows, in one query for windows that are together."""

    query: Query
    sql: Expressions
    rollup: Rollup
    gaps: int = 0  # see :class:`Portions`

    def below(self, windows: Sequence[Window] | Run) -> dict[Window, Count]:
        """Count the source of windows, or of a run of them."""
        if self.rollup.from_raw:
            values = [sa.func.count().filter(states.countable(self.sql, metric)) for metric in self.rollup.sketched]
            total = reduce(lambda total, value: total.op("+")(value), values, number(0))
            found = self._ask_table(self.rollup.source, windows, sa.func.count(), total)
        else:
            found = self._ask_level(self.rollup.below, windows, lambda name: [_sum(ref(name))])
        return {window: Count(rows=rows, values=values) for window, (rows, values) in found.items()}

    def stored(self, run: Run, version: int) -> dict[Window, Count]:
        """Count what the level stores for the windows of a run."""
        fresh: Condition = ref(VERSION) == version

        def columns(name: str) -> list[Element]:
            return [_sum(ref(name), fresh), sa.func.count().filter(fresh), sa.func.count()]

        found = self._ask_level(self.rollup.table, run, columns).items()
        return {
            window: Count(rows=rows, groups=groups, values=values, alien=all_rows - groups + all_bins - bins)
            for window, (rows, groups, all_rows, values, bins, all_bins) in found
        }

    def source(self, windows: Sequence[Window]) -> dict[Window, int]:
        found = self._ask_table(self.rollup.source, windows, sa.func.count())
        return {window: count for window, (count,) in found.items()}

    def level(self, windows: Sequence[Window]) -> dict[Window, Count]:
        """The number of rows of the level, and of the raw rows that they stand for."""
        found = self._ask_table(self.rollup.table, windows, _sum(ref(ROW_COUNT)), sa.func.count())
        return {window: Count(rows=rows, groups=groups) for window, (rows, groups) in found.items()}

    def compare(self, windows: Sequence[Window]) -> dict[Window, Balance]:
        """Compare what each bucket stands for with what its source still has."""
        sql, rollup, own, time = self.sql, self.rollup, self.rollup.own_time, self.rollup.below_time
        rows = number(1) if rollup.from_raw else ref(ROW_COUNT)
        bucket = sql.epoch_ms(sql.bucket(rollup.interval, rollup.zone, sql.instant(time)))
        sides = (
            (rollup.below, time, bucket, number(0), rows),
            (rollup.table, own, sql.epoch_ms(sql.column(own)), ref(ROW_COUNT), number(0)),
        )

        def select(run: Run) -> sa.Select[Any]:
            """The rows that buckets stand for, and those in their source; then both for buckets that lack rows."""
            branches, keys = [], ["t", *(["w"] if run.several else [])]
            for table, at, start, stored, below in sides:
                columns = [start.label("t"), stored.label("s"), below.label("b"), self._start(run, at).label("w")]
                each = sa.select(*columns).select_from(table_ref(table)).where(*between(sql, at, *run.time))
                rows = each.subquery("r")
                by = [rows.c[name] for name in keys]
                branches.append(sa.select(*by, *_sums(rows)).group_by(*by))
            found = sa.union_all(*branches).subquery("u")
            by = [found.c[name] for name in keys]
            buckets = sa.select(*by, *_sums(found)).group_by(*by).subquery("g")
            window = buckets.c.w if run.several else self._start(run, own)
            return sa.select(window, *_sums(buckets), *_sums(buckets, buckets.c.b < buckets.c.s))

        found = self._ask(windows, select).items()
        return {window: Balance(stored, below, (short, left)) for window, (stored, below, short, left) in found}

    def require_rows(self, step: RollUp, run: Run) -> None:
        """Fail if a window would lose rows by being computed again (law 4), since the plan may be old."""
        before = {window: rows for window, rows in step.before if run.time.contains(window.since)}
        for window, balance in self.compare(list(before)).items():
            if lost := balance.lost(before[window]):
                raise DatabaseError(
                    f"table {step.rollup.table}, {show_window(window)}",
                    f"{lost[0]:,} rows were rolled up, but {lost[1]:,} are left in {step.rollup.below}",
                    "the next plan explains what to do",
                )

    def _ask(self, windows: Sequence[Window] | Run, select: Callable[[Run], sa.Select[Any]]) -> dict[Window, list[int]]:
        """The counts of windows; ``select`` gives the start of each window of a run, and its counts."""
        found: dict[Window, list[int]] = {}
        for chunk in chunks(list(self._runs(windows))):
            of = [{window.start: window for window in run.windows} for run in chunk]
            each = [select(run).group_by(*([sa.literal_column("2")] if run.several else ())) for run in chunk]
            # A window without rows has no answer, nor has one whose partitions are closed in CrateDB.
            nothing = [0] * (len(each[0].selected_columns) - 1)
            found.update((window, nothing) for windows_of in of for window in windows_of.values())
            numbered = [one.with_only_columns(number(i), *one.selected_columns) for i, one in enumerate(each)]
            rows = ((of[i].get(start), counts) for i, start, *counts in self.query(union(numbered)))
            found.update((window, list(map(int, counts))) for window, counts in rows if window is not None)
        return found

    def _runs(self, windows: Sequence[Window] | Run) -> Iterator[Run]:
        """Windows that one query can count: those of the level, rather than of any other time ranges."""
        if isinstance(windows, Run):
            if self.rollup.window is not None:
                yield windows
                return
            windows = windows.windows
        current, before = list[Window](), False
        for window in sorted(windows, key=attrgetter("since")):
            own = self._is_own(window)
            if current and not (own and before and _together(current[-1], window, self.gaps)):
                yield Run(tuple(current))
                current = []
            current.append(window)
            before = own
        if current:
            yield Run(tuple(current))

    def _is_own(self, window: Window) -> bool:
        interval, time = self.rollup.window, TimeRange(window.start, window.end)
        return interval is not None and tuple(interval.covering(time, find_zone(self.rollup.window_zone))) == (time,)

    def _start(self, run: Run, time: Column) -> Element:
        """The start of the window that contains a row."""
        return states.window_start(self.sql, self.rollup, time) if run.several else number(run.windows[0].start)

    def _ask_level(
        self, table: TableName, windows: Sequence[Window] | Run, columns: Callable[[str], list[Element]]
    ) -> dict[Window, list[int]]:
        """Counts in a level's table, then in its distributions: zeros if it has none."""
        rows, bins = columns(ROW_COUNT), columns(SKETCH_COUNT)
        found = self._ask_table(table, windows, *rows)
        if not self.rollup.sketched:
            return {window: [*counts, *[0] * len(bins)] for window, counts in found.items()}
        sketch, of = sketch_table(table), states.of_metrics(self.rollup.sketched)
        values = self._ask_table(sketch, windows, *bins, where=of)
        return {window: [*counts, *values[window]] for window, counts in found.items()}

    def _ask_table(
        self, table: TableName, windows: Sequence[Window] | Run, *columns: Element, where: Condition | None = None
    ) -> dict[Window, list[int]]:
        time = self.rollup.time if table == self.rollup.source else self.rollup.own_time
        also = () if where is None else (where,)

        def select(run: Run) -> sa.Select[Any]:
            rows = sa.select(self._start(run, time), *columns).select_from(table_ref(table))
            return rows.where(*between(self.sql, time, *run.time), *also)

        return self._ask(windows, select)


def _sum(value: Element, condition: Condition | None = None) -> Element:
    total = sa.func.sum(value) if condition is None else sa.func.sum(value).filter(condition)
    return sa.func.coalesce(as_type(total, BIGINT), as_type(number(0), BIGINT))


def _sums(of: sa.Subquery, condition: Condition | None = None) -> list[sa.Label[Any]]:
    return [_sum(of.c[name], condition).label(name) for name in ("s", "b")]


def show_window(window: Window) -> str:
    return f"window {show(window.since)} to {show(window.until)}"


def show_difference(below: Count, stored: Count) -> str:
    """How a level differs from its source, as text."""
    if below.rows != stored.rows:
        return f"row count mismatch: the level accounts for {stored.rows:,} rows, its source has {below.rows:,}"
    return f"value count mismatch: the distributions have {stored.values:,}, their source has {below.values:,}"


def view_statement(sql: Expressions, step: ReplaceView) -> Statement:
    """Create or replace the toolkit's view, in which raw rows are rollups of one row each."""
    query = union([_view_part(sql, step.rollup, part) for part in step.parts])
    assert isinstance(query, sa.SelectBase)  # noqa: S101
    create = "CREATE OR REPLACE VIEW " if step.marks else "CREATE VIEW "
    return Statement(create, table_ref(step.view), " AS ", query, literal=True)


def _view_part(sql: Expressions, finest: Rollup, part: ViewPart) -> sa.Select[Any]:
    raw = part.table == finest.source
    keys = dict(zip(finest.keys, (finest.time, *finest.dimensions), strict=True))
    shown = {metric.named(one): (metric, one) for metric in finest.metrics for one in metric.shown}

    def key(column: Column) -> Element:
        return sql.instant(column) if column == finest.time else states.source_value(sql, column)

    def value(name: str, metric: Metric, one: Aggregate) -> Element:
        formulas = states.Formulas(sql, metric.column)
        if raw:  # The average of one row's value is that value, and its standard deviation is 0.
            found = formulas.read(one, lambda part: states.of_row(sql, metric, part))
            return as_type(found, states.kind_type(sql, metric.column, one.kind)) if one.derived else found
        # Rows older than the column of a derived aggregate lack it, but have the parts that it follows from.
        return ref(name) if one.binned else formulas.read(one, lambda part: ref(metric.named(part)))

    level = level_column([*finest.columns, *shown])
    columns = [
        *(key(column).label(_name(name)) if raw else ref(name) for name, column in keys.items()),
        *(value(name, metric, one).label(_name(name)) for name, (metric, one) in shown.items()),
        as_type(number(1), BIGINT).label(_name(ROW_COUNT)) if raw else ref(ROW_COUNT),
        as_type(sa.literal(part.interval or RAW), TEXT).label(_name(level)),
    ]
    binned = not raw and any(one.binned for _, one in shown.values())
    rows = _with_quantiles(sql, finest, part.table) if binned else table_ref(part.table)
    time = finest.time if raw else finest.own_time
    return sa.select(*columns).select_from(rows).where(*between(sql, time, part.start, part.end))


def _with_quantiles(sql: Expressions, finest: Rollup, table: TableName) -> sa.Subquery:
    """
    The rows of a level, including percentiles from its distributions. By ``UNION ALL`` and ``GROUP BY``, into which
    both databases push down conditions on time and dimensions, unlike into a join.
    """
    keys = finest.keys
    kept = {
        metric.named(part): states.kind_type(sql, metric.column, part.kind)
        for metric in finest.metrics
        for part in metric.parts
        if metric.named(part) in metric.columns
    } | {ROW_COUNT: BIGINT}
    quantiles = {metric.named(one): (metric, one) for metric in finest.metrics for one in metric.shown if one.binned}
    nothing = (as_type(sa.null(), DOUBLE).label(name) for name in quantiles)
    level = sa.select(*map(ref, keys), *map(ref, kept), *nothing).select_from(table_ref(table))
    bins = _ranked(finest, sketch_table(table))
    found = (
        _InBins(bins, metric).read(one, lambda part: bins.c.q_value).label(name)
        for name, (metric, one) in quantiles.items()
    )
    empty = (as_type(sa.null(), kind).label(_name(name)) for name, kind in kept.items())
    sketch = sa.select(*(bins.c[key] for key in keys), *empty, *found).group_by(*(bins.c[key] for key in keys))
    both = sa.union_all(level, sketch).subquery("u")
    values = (sa.func.max(both.c[name]).label(_name(name)) for name in (*kept, *quantiles))
    return sa.select(*(both.c[key] for key in keys), *values).group_by(*(both.c[key] for key in keys)).subquery("l")


def _ranked(finest: Rollup, table: TableName) -> sa.Subquery:
    """The bins of a level's distributions, each with its value, the number of values up to it, and of all."""
    keys = list(map(ref, finest.keys))
    middle = number(math.log(2 / (GAMMA + 1)))
    size = sa.func.exp(ref(SKETCH_BIN).op("*")(number(math.log(GAMMA))).op("+")(middle))
    value, within = ref(SKETCH_SIGN).op("*")(size), [*keys, ref(SKETCH_METRIC)]
    columns = [
        *keys,
        ref(SKETCH_METRIC).label("q_metric"),
        value.label("q_value"),
        sa.func.sum(ref(SKETCH_COUNT)).over(partition_by=within, order_by=[value]).label("q_passed"),
        sa.func.sum(ref(SKETCH_COUNT)).over(partition_by=within).label("q_total"),
    ]
    return sa.select(*columns).select_from(table_ref(table)).subquery("q")


class _InBins(states.Formulas):
    """Formulas of distributions, as aggregates of ranked bins."""

    def __init__(self, bins: sa.Subquery, metric: Metric) -> None:
        self.bins, self.metric = bins, metric

    def quantile(self, bins: Element, quantile: float) -> Element:
        """The least value whose cumulative number exceeds the rank."""
        c = self.bins.c
        rank = number(quantile).op("*")(c.q_total.op("-")(number(1)).self_group())
        return sa.func.min(bins).filter(c.q_metric == self.metric.name, c.q_passed > rank)
