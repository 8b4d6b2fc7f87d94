"""
Consecutive sealed windows are stored as ranges, of which each window stays known exactly: when it is asked for, when it
changes, and wherever a run is killed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import pytest

from cratedb_retention.model.catalog import Column, Kind, TableName
from cratedb_retention.model.rollups.aggregates import GAUGE
from cratedb_retention.model.rollups.cascade import Interval, parse_interval
from cratedb_retention.model.rollups.ledger import LARGEST_RANGE, LedgerRow
from cratedb_retention.model.rollups.rollup import Count, Rollup, Window, level_table, make_metric
from cratedb_retention.store.rollups.levels import RollupStore
from cratedb_retention.store.setup import STEPS
from support.databases import NUMBER, TIME, CrateDatabase, Database, before_statements

DAY = 86_400_000
SOURCE = TableName("doc", "metrics")
HOURS = Rollup(
    source=SOURCE,
    below=SOURCE,
    table=level_table(SOURCE, parse_interval("1h")),
    interval=parse_interval("1h"),
    time=Column(name="ts", type=TIME, kind=Kind.TIME),
    dimensions=(),
    metrics=(make_metric(Column(name="x", type=NUMBER, kind=Kind.NUMBER), GAUGE),),
    window=Interval(unit="day"),
)


class Killed(BaseException):
    """As if the process had been killed."""


def days(*numbers: int) -> list[int]:
    """The starts of windows."""
    return [number * DAY for number in numbers]


def fill(db: Database, count: int, sealed: int, length: int = 12) -> RollupStore:
    """A level with windows of a day, the first of which are sealed."""
    store = db.tool.store.rollups
    store.register(HOURS, "forever", None)
    add(store, range(count), length)
    store.seal(HOURS.table, days(*range(sealed)))
    return store


def add(store: RollupStore, numbers: Iterable[int], length: int = 12) -> None:
    """Record that days were computed."""
    windows = {Window.of(day * DAY, (day + 1) * DAY): Count(rows=100 + day, groups=24) for day in numbers}
    store.record(HOURS, windows, {w.start: f"{w.start // DAY:0{length}x}" for w in windows}, {}, "run")


def known(store: RollupStore) -> dict[int, LedgerRow]:
    """All windows."""
    return dict(store.ledger(store.all()).of(HOURS.table).items())


def rows(db: Database) -> int:
    """How many rows the ledger has."""
    return db.count("rollup_ledger", schema=db.own_schema)


def test_windows_of_a_range(db: Database) -> None:
    """A level with a year of sealed days has a few rows, and each day is known as it was."""
    store = fill(db, 370, 365)
    before = known(store)
    store.pack([HOURS.table])
    packed = store.ledger(store.all()).of(HOURS.table)
    assert rows(db) == len(packed.stored) < 5 + 10
    assert (len(packed), list(packed)) == (370, days(*range(370)))
    assert dict(packed.items()) == before
    assert sum(row.rows for row in packed.stored) == sum(row.rows for row in before.values())
    assert store.windows(HOURS.table, days(0, 200, 369, 400)) == {start: before[start] for start in days(0, 200, 369)}
    assert DAY // 2 not in packed and -DAY not in packed


def test_ranges_are_of_limited_size(db: Database) -> None:
    """Long change tokens, as of many partitions, make shorter ranges."""
    store = fill(db, 40, 40, length=LARGEST_RANGE // 10)
    before = known(store)
    store.pack([HOURS.table])
    assert 4 < rows(db) < 12
    assert known(store) == before


def test_only_what_is_alike_and_adjacent(db: Database) -> None:
    """Open windows, gaps, and windows whose rows were deleted divide ranges."""
    store = fill(db, 10, 10)
    add(store, range(12, 16))
    store.seal(HOURS.table, days(12, 13, 15))
    store.expire(HOURS.table, days(*range(5)))
    before = known(store)
    store.pack([HOURS.table])
    packed = store.ledger(store.all()).of(HOURS.table).stored
    assert [row.windows for row in packed] == [5, 5, 2, 1, 1]
    assert known(store) == before


def test_grows_with_each_run(db: Database) -> None:
    """Whatever is sealed day by day becomes a few ranges."""
    store = fill(db, 5, 0)
    for day in range(60):
        store.seal(HOURS.table, days(day))
        store.pack([HOURS.table])
        add(store, [day + 5])
    assert rows(db) < 5 + 12
    assert list(known(store)) == days(*range(65))


@pytest.mark.parametrize("which", [[0], [7], [19], [3, 4, 11], list(range(20))])
def test_divided_where_a_window_changes(db: Database, which: list[int]) -> None:
    """A window of a range that is marked has a row of its own, and all others stay as they are."""
    store = fill(db, 20, 20)
    before = known(store)
    store.pack([HOURS.table])
    store.expire(HOURS.table, days(*which))
    expected = {start: replace(row, expired=start in days(*which)) for start, row in before.items()}
    assert known(store) == expected
    store.pack([HOURS.table])
    assert known(store) == expected
    add(store, which)
    computed = {start: row for start, row in known(store).items() if start in days(*which)}
    assert computed == {start: replace(before[start], sealed=False) for start in days(*which)}
    assert {**expected, **computed} == known(store)


@pytest.mark.parametrize("work", ["pack", "expire"])
def test_killed_anywhere(db: Database, work: str) -> None:
    """Killed before any of its statements, a change of ranges loses nothing, and is completed by the next one."""
    killed, number = True, 0
    while killed:
        store = fill(db, 20, 20)
        before = known(store)
        after = before
        act = partial(store.pack, [HOURS.table])
        if work == "expire":
            store.pack([HOURS.table])
            after = {start: replace(row, expired=start in days(3, 11)) for start, row in before.items()}
            act = partial(store.expire, HOURS.table, days(3, 11))
        killed = not done(db, act, number)
        assert known(store) in (before, after), number
        act()
        assert known(store) == after, number
        store.pack([HOURS.table])
        assert known(store) == after, number
        assert rows(db) == len(store.ledger(store.all()).of(HOURS.table).stored) < 10, number
        store.forget(HOURS.table)
        number += 1
    assert number > 5


def done(db: Database, work: Callable[[], None], last: int) -> bool:
    """Do something until a number of statements was sent; whether it came to its end."""
    seen = 0

    def kill(statement: str) -> None:
        nonlocal seen
        seen += 1
        if seen > last and not statement.startswith("REFRESH"):
            raise Killed

    with before_statements(db.tool.engine.database.engine, kill):
        try:
            work()
        except Killed:
            return False
    return True


def test_range_is_extended_only_if_it_is_as_it_was(db: Database) -> None:
    """What another run has changed since is not overwritten, should this one have lost its lease."""
    store = fill(db, 20, 20)
    other = db.retention().store.rollups
    changed: list[str] = []

    def meanwhile(statement: str) -> None:
        if statement.startswith("UPDATE") and not changed:
            changed.append(statement)
            other.seal(HOURS.table, days(20))
            other.pack([HOURS.table])
            other.expire(HOURS.table, days(10))

    with before_statements(db.tool.engine.database.engine, meanwhile):
        store.pack([HOURS.table])
    assert changed
    assert [start for start, row in known(store).items() if row.expired] == days(10)
    assert list(known(store)) == days(*range(20))


def test_migrated(new_db: Database) -> None:
    """The windows of a ledger that is upgraded become ranges, and say what they said."""
    store = fill(new_db, 100, 90)
    before = known(store)
    ledger, versions = (new_db.q(name, new_db.own_schema) for name in ("rollup_ledger", "schema_version"))
    step = next(step for step in STEPS if "members" in step.columns.get("rollup_ledger", ()))
    assert rows(new_db) == 100
    new_db.sql(f"DELETE FROM {versions} WHERE version >= ?", [step.version])
    if not isinstance(new_db, CrateDatabase):
        for column in step.columns["rollup_ledger"]:
            new_db.sql(f'ALTER TABLE {ledger} DROP COLUMN "{column}"')
    new_db.refresh("schema_version", new_db.own_schema)
    new_db.retention().setup()
    assert rows(new_db) < 10 + 10
    assert known(store) == before
    members = new_db.rows(f"SELECT windows, members FROM {ledger} WHERE windows IS NOT NULL")
    assert all(len(json.loads(text)) == count for count, text in members)
    assert new_db.tool.store.rollups.level_states()[0].until is not None
