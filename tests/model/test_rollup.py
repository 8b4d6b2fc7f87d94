"""Rollups as data: rows that windows account for, tables and views of the toolkit, and what is complete."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cratedb_retention.model.catalog import Catalog, TableName, View
from cratedb_retention.model.rollups.aggregates import COUNTER, Aggregate
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.rollups.ledger import KnownRollup, Ledger, LedgerRow, Windows, make_range
from cratedb_retention.model.rollups.rollup import (
    Balance,
    Count,
    Rollup,
    find_view,
    level_column,
    level_table,
    make_metric,
)
from support.catalogs import CRATEDB, METRICS, TENANT, TS, VALUE, column, table


def level(text: str, below: TableName = METRICS, aggregates: tuple[Aggregate, ...] = (Aggregate.MEDIAN,)) -> Rollup:
    """A level of a cascade on ``doc.metrics``."""
    interval, metrics = parse_interval(text), (make_metric(VALUE, aggregates),)
    return Rollup(
        source=METRICS,
        below=below,
        table=level_table(METRICS, interval),
        interval=interval,
        time=TS,
        dimensions=(TENANT,),
        metrics=metrics,
    )


HOURS = level("1h")
DAYS = level("1d", HOURS.table)


@pytest.mark.parametrize(
    ("balance", "rows", "lost"),
    [
        (Balance(10, 10), 10, None),
        (Balance(10, 7), 10, (10, 7)),
        (Balance(10, 7), None, None),
        # Rows of other buckets do not make up for those that one bucket lost.
        (Balance(10, 12, (4, 3)), 10, (4, 3)),
        (Balance(10, 12, (4, 3)), None, (4, 3)),
        # The level does not account for the rows of the ledger: the ledger decides.
        (Balance(10, 12, (4, 3)), 11, None),
        (Balance(10, 9, (4, 3)), 11, (11, 9)),
    ],
)
def test_lost_rows(balance: Balance, rows: int | None, lost: tuple[int, int] | None) -> None:
    """How many rows were rolled up, and how many are left."""
    assert balance.lost(rows) == lost


def test_what_accounts_for_a_source() -> None:
    """As many rows, and as many values in distributions."""
    counted = Count(rows=5, values=3, groups=1)
    assert counted.stands_for(Count(rows=5, values=3))
    assert not any(counted.stands_for(other) for other in (Count(rows=5, values=2), Count(rows=4, values=3)))


def test_counters_continue_in_raw_rows_only() -> None:
    """A coarser level adds the increases of the finer one, and needs no values before its first rows."""
    assert [level("1d", below, COUNTER).has_counters for below in (METRICS, HOURS.table)] == [True, False]
    assert not HOURS.has_counters


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("metrics_1h", ["ts", "rollup_version", "row_count"]),
        ("metrics_1h_sketch", ["ts", "rollup_version", "metric", "sign", "bin", "count"]),
    ],
)
def test_own_tables(name: str, columns: list[str]) -> None:
    """A table is a level's if it has all columns that only the toolkit gives; a user's table may have some of them."""
    found = table(map(column, [*columns, "tenant"]), name=TableName("doc", name))
    assert HOURS.owns(found)
    for lacking in columns:
        rest = {key: value for key, value in found.columns.items() if key != lacking}
        assert not HOURS.owns(replace(found, columns=rest)), lacking


def test_own_view() -> None:
    """A view is the toolkit's by its mark; if that is unknown or from another release, by columns and tables."""
    name, definition = TableName("doc", "metrics_all"), "SELECT ts FROM doc.metrics_1h"
    own = View(name=name, columns=("ts", "tenant", "row_count", "level"), definition=definition, release="2")

    def found(view: View, *marks: str) -> bool:
        known = Catalog(capabilities=CRATEDB, views={name: view})
        there, is_own = find_view(known, HOURS, [HOURS.table], marks)
        assert there == name
        return is_own

    changed = replace(own, definition=f"{definition} WHERE tenant = 'a'")
    assert found(own, "", own.mark)
    assert not found(changed, own.mark), "a user replaced it"
    assert found(own, "") and found(own, "1:0")
    assert not found(replace(own, columns=("ts", "tenant", "rows", "level")), "")
    assert not found(replace(own, columns=("ts", "level")), "")
    assert not found(replace(own, definition="SELECT ts FROM doc.other"), "")
    assert find_view(Catalog(capabilities=CRATEDB), HOURS, [], ("",)) == (None, False)
    taken = Catalog(capabilities=CRATEDB, tables={name: table([TS], name=name)})
    assert find_view(taken, HOURS, [HOURS.table], ("",)) == (name, False)


def test_name_of_the_level() -> None:
    """The column with the level of a row has another name where the table has one of that name, in any case."""
    assert (level_column(["ts"]), level_column(["ts", "Level"])) == ("level", "rollup_level")


def row(start: int, end: int, below: TableName, sealed: bool = True) -> LedgerRow:
    """A window in the ledger."""
    known = {"until": end, "whole": True, "token": "t", "rows": 1, "groups": 1}
    return LedgerRow(start=start, end=end, below=below, sealed=sealed, **known)  # type: ignore[arg-type]


def ledger(hours: list[LedgerRow], days: list[LedgerRow], gone: int | None = None, finer: Rollup = HOURS) -> Ledger:
    """A cascade of hours and days; rows of the hours before an instant may be gone."""
    known = {finer.table: KnownRollup(rollup=finer, gone=gone), DAYS.table: KnownRollup(rollup=DAYS)}
    windows = {finer.table: Windows(hours), DAYS.table: Windows(days)}
    return Ledger(rollups=known, windows=windows)


@pytest.mark.parametrize(
    ("known", "complete"),
    [
        (ledger([], []), (None, None, None)),
        (ledger([row(0, 10, METRICS, sealed=False)], []), (None, None, None)),
        (ledger([row(0, 10, METRICS)], []), (10, None, None)),
        (ledger([row(0, 10, METRICS), row(10, 20, METRICS)], [row(0, 20, HOURS.table)]), (20, 20, None)),
        # Only a part of a window's source is gone, as is recorded.
        (ledger([row(0, 10, METRICS)], [row(0, 20, HOURS.table)], gone=7), (10, 7, None)),
        (ledger([row(0, 10, METRICS)], [row(0, 20, HOURS.table), row(20, 40, HOURS.table)], gone=7), (10, 40, None)),
        # The level was added after a coarser one had sealed earlier windows.
        (ledger([row(30, 40, METRICS, sealed=False)], [row(0, 20, METRICS)]), (20, 20, None)),
    ],
)
def test_complete_from(known: Ledger, complete: tuple[int | None, ...]) -> None:
    """The instant from which raw rows, hours and days are complete; None: from the beginning."""
    assert tuple(known.held_from(METRICS, name) for name in (METRICS, HOURS.table, DAYS.table)) == complete


@pytest.mark.parametrize(
    ("days", "until"),
    [
        ([row(0, 10, METRICS)], 10),
        ([row(5, 15, METRICS)], 15),
        ([row(10, 20, METRICS)], None),
        ([row(0, 10, METRICS, sealed=False)], None),
    ],
)
def test_sealed_by_another_level(days: list[LedgerRow], until: int | None) -> None:
    """Open windows of a level end where another level of the same source sealed them meanwhile."""
    known = ledger([row(0, 10, METRICS, sealed=False)], days)
    assert known.sealed_by_others(HOURS.table) is None, "days are computed from hours"
    both = {**known.rollups, DAYS.table: KnownRollup(rollup=replace(DAYS, below=METRICS))}
    assert replace(known, rollups=both).sealed_by_others(HOURS.table) == until


def test_windows_of_an_open_range_before_an_instant() -> None:
    """Windows of a range that is not sealed are sealed one by one; those of a sealed one are not even read."""
    hours = [row(start, start + 10, METRICS, sealed=False) for start in range(20, 60, 10)]
    sealed = make_range([row(0, 10, METRICS), row(10, 20, METRICS)])
    found = Windows([sealed, make_range(hours)], lambda of: hours if of.start == 20 else [])
    assert found.sealed_before(40).stored == (sealed, *(hour._replace(sealed=True) for hour in hours[:2]))


@pytest.mark.parametrize(
    ("change", "continues"),
    [
        ({}, True),
        ({"token": "x", "rows": 7}, True),
        ({"start": 11}, False),
        ({"sealed": False}, False),
        ({"expired": True}, False),
        ({"below": HOURS.table}, False),
        ({"groups": 0}, False),
        ({"until": 15, "whole": False}, False),
    ],
)
def test_which_windows_are_one_range(change: dict[str, Any], continues: bool) -> None:
    """Those that follow each other, and of which nothing else is different but what they were computed from."""
    first, second = row(0, 10, METRICS), row(10, 20, METRICS)
    assert second._replace(**change).continues(first) is continues


def test_a_window_within_a_range_counts_once() -> None:
    """A run that was killed while it joined windows left some of them: the range says the same."""
    windows = [row(start, start + 10, METRICS) for start in range(0, 40, 10)]
    joined = make_range(windows[:3])
    found = Windows([joined, *windows[1:]], lambda of: windows[:3])
    assert (found.stored, len(found), list(found.values())) == ((joined, windows[3]), 4, windows)


def test_windows_of_a_range_are_read_if_an_instant_divides_it() -> None:
    """A range answers for its windows as long as all of them say the same."""
    asked = []
    windows = [row(start, start + 10, HOURS.table) for start in range(0, 40, 10)]

    def read(of: LedgerRow) -> list[LedgerRow]:
        asked.append(of)
        return windows

    days = Windows([make_range(windows)], read)
    known = ledger([row(0, 10, METRICS)], [])
    for gone, complete in ((None, 40), (0, 40), (40, 40), (60, 60)):
        hours = replace(known.rollups[HOURS.table], gone=gone)
        of = replace(known, rollups={**known.rollups, HOURS.table: hours}, windows={**known.windows, DAYS.table: days})
        assert (of.held_from(METRICS, HOURS.table), asked) == (complete, [])
    hours = replace(known.rollups[HOURS.table], gone=35)
    of = replace(of, rollups={**known.rollups, HOURS.table: hours})
    assert (of.held_from(METRICS, HOURS.table), len(asked)) == (35, 1)
    assert [days[start] for start in days] == windows and len(asked) == 1
