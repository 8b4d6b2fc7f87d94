"""
Consecutive windows that were computed or sealed together are stored as ranges, of which each window stays known
exactly: when it is asked for, when it changes, and wherever a run is killed.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest

from cratedb_retention.model.catalog import Column, Kind, TableName
from cratedb_retention.model.rollups.aggregates import GAUGE
from cratedb_retention.model.rollups.cascade import Interval, parse_interval
from cratedb_retention.model.rollups.ledger import LARGEST_RANGE, MOST_SMALL, Expired, LedgerRow
from cratedb_retention.model.rollups.rollup import Count, Rollup, Window, level_table, make_metric
from cratedb_retention.model.time import EVER, TimeRanges
from cratedb_retention.store.rollups.levels import RollupStore
from cratedb_retention.store.setup import STEPS
from support.databases import NUMBER, TIME, CrateDatabase, Database, before_statements
from support.tiers import DECIDED, others_on_duckdb

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


def fill(db: Database, count: int, sealed: int, length: int = 12, *, single: bool = True) -> RollupStore:
    """A level with windows of a day, the first of which are sealed."""
    store = db.tool.store.rollups
    store.register(HOURS, "forever", None)
    add(store, range(count), length, single=single)
    seal(store, range(sealed))
    return store


@contextmanager
def ranges_unless(single: bool) -> Iterator[None]:
    """Days that are computed or sealed together become ranges at once, unless each shall have a row of its own."""
    with pytest.MonkeyPatch.context() as patch:
        if single:
            patch.setattr("cratedb_retention.model.rollups.ledger.LARGEST_RANGE", 0)
        yield


def seal(store: RollupStore, numbers: Iterable[int], *, single: bool = True) -> int:
    """Seal days."""
    with ranges_unless(single):
        return store.seal(HOURS.table, store.windows(HOURS.table, days(*numbers)).values())


def add(store: RollupStore, numbers: Iterable[int], length: int = 12, *, single: bool = True) -> None:
    """Record that days were computed."""
    windows = {Window.of(day * DAY, (day + 1) * DAY): Count(rows=100 + day, groups=24) for day in numbers}
    with ranges_unless(single):
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


def test_computed_together(db: Database) -> None:
    """Windows that are computed together have one row, and are known as if each had one of its own."""
    before = known(fill(db, 40, 0))
    db.tool.store.rollups.forget(HOURS.table)
    store = fill(db, 40, 0, single=False)
    with db.statements() as sent:
        ledger = store.ledger(store.all()).of(HOURS.table)
    assert (rows(db), len(ledger.stored), dict(ledger.items())) == (1, 40, before)
    assert sum("rollup_ledger" in one and one.startswith("SELECT") for one in sent) == 2
    assert store.windows(HOURS.table, days(0, 20, 39, 40)) == {start: before[start] for start in days(0, 20, 39)}
    add(store, [41, 42, 44], single=False)
    assert rows(db) == 3
    seal(store, range(40), single=False)
    assert known(store) == {
        **{start: row._replace(sealed=True) for start, row in before.items()},
        **{start: row for start, row in known(store).items() if start in days(41, 42, 44)},
    }
    assert rows(db) == 3


Change = Callable[[RollupStore, list[int]], object]
CHANGES: dict[str, Change] = {
    "record": lambda store, which: add(store, which, 20, single=False),
    "seal": lambda store, which: seal(store, which, single=False),
    "expire": lambda store, which: store.expire(HOURS.table, days(*which)),
    "doubt": lambda store, which: store.doubt(HOURS.table, days(*which)),
    "rebase": lambda store, which: store.rebase(replace(HOURS, below=TableName("doc", "finer")), which[0] * DAY),
}


@pytest.mark.parametrize(
    "which", [[3, 4, 11], *others_on_duckdb([0], [7], [19], [0, 19], list(range(20)), list(range(9)))]
)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.some(12)
def test_some_windows_of_a_range_change(db: Database, change: str, which: list[int]) -> None:
    """Windows that were computed together change as those that have rows of their own do."""
    found = []
    for single in (True, False):
        store = fill(db, 20, 0, single=single)
        assert rows(db) == (20 if single else 1)
        CHANGES[change](store, which)
        found.append(known(store))
        store.forget(HOURS.table)
    assert found[0] == found[1]
    assert len(found[0]) == 20


@pytest.mark.parametrize("change", ["seal", *others_on_duckdb("record", "expire", "doubt", "rebase")])
@DECIDED
@pytest.mark.some(3)
def test_killed_while_a_range_is_divided(db: Database, change: str) -> None:
    """Killed before any of its statements, a change is completed by the next one, and no other window changes."""
    act: Callable[[], object]
    killed, number = True, 0
    store = fill(db, 20, 0, single=False)
    before = known(store)
    CHANGES[change](store, [3, 4, 11])
    after = known(store)
    while killed:
        store.forget(HOURS.table)
        store = fill(db, 20, 0, single=False)
        act = partial(CHANGES[change], store, [3, 4, 11])
        killed = not done(db, act, number)
        ledger = store.ledger(store.all()).of(HOURS.table)
        now = dict(ledger.items())
        assert len(ledger) == len(now), f"some count twice: {number}"
        assert all(row in (before[start], after[start]) for start, row in now.items()), number
        gone = before.keys() - now.keys()
        assert gone <= (set(days(3, 4, 11)) if change == "record" else set()), number
        act()
        assert known(store) == after, number
        number += 1
    assert number > 5


def test_sealed_across_ranges(db: Database) -> None:
    """Windows of several ranges, of different sizes, are sealed together."""
    store = fill(db, 0, 0)
    for some in (range(3), range(3, 20), [21], range(22, 30)):
        add(store, some, single=False)
    before = known(store)
    assert rows(db) == 4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cratedb_retention.model.rollups.ledger.LARGEST_RANGE", 7 * 42)
        assert seal(store, range(1, 25), single=False) == 4
    sealed = {start: row._replace(sealed=DAY <= start < 25 * DAY) for start, row in before.items()}
    assert known(store) == sealed
    assert [row.windows for row in store.ledger(store.all()).of(HOURS.table).sealed] == [7, 7, 5, 4]
    assert rows(db) == 4 + 2


def test_sealed_together(db: Database) -> None:
    """Windows that are sealed together become ranges at once, between open ones and those that were sealed before."""
    store = fill(db, 370, 0)
    assert seal(store, [100]) == 1
    before = known(store)
    assert seal(store, range(365), single=False) == 2
    assert known(store) == {start: row._replace(sealed=start < 365 * DAY) for start, row in before.items()}
    assert rows(db) == 3 + 5
    assert seal(store, range(365), single=False) == 0
    assert known(store)[100 * DAY] == before[100 * DAY]
    store.pack([HOURS.table])
    assert known(store) == {start: row._replace(sealed=start < 365 * DAY) for start, row in before.items()}


def test_sealed_elsewhere(db: Database) -> None:
    """Windows that another run has sealed meanwhile stay as they are, should this one have lost its lease."""
    store = fill(db, 10, 0)
    seen = store.windows(HOURS.table, days(*range(5)))
    seal(store, range(8), single=False)
    store.expire(HOURS.table, days(2))
    before = known(store)
    store.seal(HOURS.table, seen.values())
    assert known(store) == before


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
    seal(store, (12, 13, 15))
    store.expire(HOURS.table, days(*range(5)))
    before = known(store)
    store.pack([HOURS.table])
    packed = store.ledger(store.all()).of(HOURS.table).stored
    assert [row.windows for row in packed] == [5, 5, 2, 1, 1]
    assert known(store) == before


@DECIDED
def test_windows_without_rows_are_a_range_of_their_own(db: Database) -> None:
    """What a range says of the rows of its level is so for each of its windows."""
    store = fill(db, 10, 10)
    windows = {Window.of(day * DAY, (day + 1) * DAY): Count(rows=0, groups=0) for day in range(10, 15)}
    store.record(HOURS, windows, {window.start: "" for window in windows}, {}, "run")
    seal(store, range(10, 15))
    before = known(store)
    store.pack([HOURS.table])
    packed = store.ledger(store.all()).of(HOURS.table).stored
    assert sum(row.windows for row in packed if row.groups == 0) == 5
    assert (known(store), len(packed) < 6) == (before, True)


@DECIDED
def test_grows_with_each_run(db: Database) -> None:
    """Whatever is sealed day by day becomes a few ranges."""
    store = fill(db, 5, 0)
    for day in range(60):
        seal(store, [day])
        store.pack([HOURS.table])
        add(store, [day + 5])
    assert rows(db) < 5 + 12
    assert list(known(store)) == days(*range(65))


@pytest.mark.parametrize("which", [[3, 4, 11], *others_on_duckdb([0], [7], [19], list(range(20)))])
def test_divided_where_a_window_changes(db: Database, which: list[int]) -> None:
    """A window of a range that is marked has a row of its own, and all others stay as they are."""
    store = fill(db, 20, 20)
    before = known(store)
    store.pack([HOURS.table])
    store.expire(HOURS.table, days(*which))
    expected = {start: row._replace(expired=start in days(*which)) for start, row in before.items()}
    assert known(store) == expected
    store.pack([HOURS.table])
    assert known(store) == expected
    add(store, which)
    computed = {start: row for start, row in known(store).items() if start in days(*which)}
    assert computed == {start: before[start]._replace(sealed=False) for start in days(*which)}
    assert {**expected, **computed} == known(store)


@pytest.mark.parametrize("work", ["expire", *others_on_duckdb("pack", "forget", "seal")])
def test_killed_anywhere(db: Database, work: str) -> None:
    """Killed before any of its statements, a change of ranges loses nothing, and is completed by the next one."""
    killed, number = True, 0
    while killed:
        store = fill(db, 20, 20)
        before = known(store)
        after = before
        act: Callable[[], object] = partial(store.pack, [HOURS.table])
        if work == "expire":
            store.pack([HOURS.table])
            after = {start: row._replace(expired=start in days(3, 11)) for start, row in before.items()}
            act = partial(store.expire, HOURS.table, days(3, 11))
        if work == "forget":
            store.pack([HOURS.table], expired(6))
            before = known(store)
            after = {start: forgotten(row) for start, row in before.items()}
            act = partial(store.pack, [HOURS.table], expired(20))
        if work == "seal":
            add(store, range(20, 23))
            before = known(store)
            after = {start: row._replace(sealed=True) for start, row in before.items()}
            act = partial(seal, store, range(23), single=False)
        killed = not done(db, act, number)
        assert known(store) in (before, after), number
        act()
        assert known(store) == after, number
        store.pack([HOURS.table])
        assert known(store) == after, number
        assert rows(db) == len(store.ledger(store.all()).of(HOURS.table).stored) < 10, number
        store.forget(HOURS.table)
        number += 1
    assert number > (3 if work == "seal" else 4)


def expired(until: int, *left: int) -> dict[TableName, Expired]:
    """Rows of the level before a day expired, and some days of its source are left."""
    ranges = TimeRanges((day * DAY, (day + 1) * DAY) for day in left)
    length = Interval(unit="day")
    return {HOURS.table: Expired(until=until * DAY, below=SOURCE, left=ranges, interval=length, zone="UTC")}


def forgotten(row: LedgerRow) -> LedgerRow:
    """A window of which nothing but its time and that it is sealed is known."""
    return row._replace(token="", rows=0, groups=0)


def test_what_is_expired_leaves(db: Database) -> None:
    """Of windows whose own rows are gone, with all of their source, a range keeps its time and its sums alone."""
    store = fill(db, 200, 190)
    store.pack([HOURS.table])
    before = known(store)
    first = store.ledger(store.all()).of(HOURS.table).stored[0]
    store.pack([HOURS.table], expired(150))
    after = store.ledger(store.all()).of(HOURS.table)
    assert [window.time for window in after.values()] == [window.time for window in before.values()]
    assert after.stored[0] == first and first.windows < 150
    assert known(store) == {start: forgotten(row) if start < first.end else row for start, row in before.items()}
    assert all(row.sealed for row in list(known(store).values())[:190])
    texts = dict(
        map(tuple, db.rows(f"SELECT windows, members FROM {db.q('rollup_ledger', db.own_schema)} WHERE windows > 1"))
    )
    assert len(texts.pop(first.windows)) < 60 < min(map(len, texts.values()))
    # Later ones are added to it, however many there are.
    store.pack([HOURS.table], expired(190))
    assert [row.windows for row in store.ledger(store.all()).of(HOURS.table).stored[:2]] == [190, 1]
    assert store.windows(HOURS.table, days(7, 189))[days(189)[0]].sealed


@DECIDED
def test_runs_forget_what_has_expired(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A range of days whose rows and hours have expired keeps its time alone; a row that comes to it is late."""
    monkeypatch.setattr("cratedb_retention.execution.rollups.rolling.MOST_SMALL", MOST_SMALL)
    day = f"{TIME} GENERATED ALWAYS AS (date_trunc('day', ts))"
    db.create("metrics", {"ts": TIME, "x": NUMBER, "day": day}, by=["day"])
    first = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    db.insert("metrics", [{"ts": (first + dt.timedelta(days=n)).isoformat(), "x": 1.0} for n in range(50)])
    db.policy("downsample", "metrics", "7d", levels="1h:14d,1d:forever")
    members = f"SELECT members FROM {db.q('rollup_ledger', db.own_schema)} WHERE table_name = 'metrics_1h'"
    for days, begins in ((50, "[["), (70, "{")):
        db.time.set((first + dt.timedelta(days=days)).isoformat())
        assert db.run().ok
        db.refresh("rollup_ledger", db.own_schema)
        assert {text[: len(begins)] for (text,) in db.rows(f"{members} AND windows > 30")} == {begins}
    db.insert("metrics", [{"ts": (first + dt.timedelta(days=3, hours=2)).isoformat(), "x": 1.0}])
    assert db.run().ok
    assert [str(each.why.code) for each in db.tool.plan().blocked] == ["late-kept"]
    assert db.count("metrics_1d") == 50


def test_what_is_left_of_the_source_is_told_apart(db: Database) -> None:
    """A window is known as it was while there is something that it can be compared with."""
    store = fill(db, 100, 100)
    store.pack([HOURS.table])
    before = known(store)
    middle = store.ledger(store.all()).of(HOURS.table).stored[0]
    store.pack([HOURS.table], expired(100, 3))
    assert {start: row for start, row in known(store).items() if start < middle.end} == {
        start: row for start, row in before.items() if start < middle.end
    }
    assert known(store)[days(99)[0]] == forgotten(before[days(99)[0]])
    other = {HOURS.table: replace(expired(100)[HOURS.table], below=TableName("doc", "other"))}
    store.pack([HOURS.table], other)
    assert known(store)[0] == before[0], "it was computed from another table"
    store.expire(HOURS.table, days(*range(100)))
    store.pack([HOURS.table], {HOURS.table: replace(expired(100)[HOURS.table], left=TimeRanges([EVER]))})
    assert known(store)[0] == forgotten(before[0])._replace(expired=True), "its rows were deleted one by one"
    stored = store.ledger(store.all()).of(HOURS.table).stored
    store.expire(HOURS.table, days(5))
    assert store.ledger(store.all()).of(HOURS.table).stored == stored, "that is known already"


def done(db: Database, work: Callable[[], object], last: int) -> bool:
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
            seal(other, [20])
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
