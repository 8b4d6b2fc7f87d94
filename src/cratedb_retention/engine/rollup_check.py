"""
Law 5: for each window, the rows beneath are counted, and what arrived in the level must be as many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.expressions import BIGINT, Element, Expressions, as_type, between, number, ref, table_ref
from cratedb_retention.engine.measuring import chunks, union
from cratedb_retention.engine.rollup import Run
from cratedb_retention.engine.sketches import countable, of_metrics
from cratedb_retention.errors import DatabaseError
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.rollup import ROW_COUNT, SKETCH_COUNT, VERSION, Balance, RolledUp, Rollup, Window
from cratedb_retention.model.rollup_steps import RollUp
from cratedb_retention.model.time import show

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
    """
    Make sure that nothing loses rows by being computed again (law 4): the plan may be old.

    :raises DatabaseError: if something would.
    """
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
        for i, *row in query(union(list(_numbered(branches)))):
            found[chunk[i]] = row
    return found


def _numbered(branches: Sequence[sa.Select[Any]]) -> Iterator[sa.Select[Any]]:
    for i, branch in enumerate(branches):
        yield branch.with_only_columns(number(i), *branch.selected_columns)


def _total(name: str, condition: sa.ColumnElement[bool] | None = None) -> Element:
    return _sum(ref(name), condition)


def _sum(value: Element, condition: sa.ColumnElement[bool] | None = None) -> Element:
    total: Element = sa.func.sum(value)
    if condition is not None:
        total = sa.func.sum(value).filter(condition)
    return sa.func.coalesce(as_type(total, BIGINT), as_type(number(0), BIGINT))


def _of_source(sql: Expressions, rollup: Rollup, window: Window) -> sa.Select[Any]:
    columns: list[Element] = [sa.func.count()]
    values = [sa.func.count().filter(countable(sql, metric)) for metric in rollup.sketched]
    if values:
        total: Element = values[0]
        for value in values[1:]:
            total = total.op("+")(value)
        columns.append(total)
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
