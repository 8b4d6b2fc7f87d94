"""
Rolling up: what an engine computes is what Python finds from the same rows.
"""

from __future__ import annotations

import pytest

from cratedb_retention.errors import NotFound
from cratedb_retention.model.rollups.aggregates import Aggregate
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.rollups.rollup import CreateRollup, RollUp, SealWindows, Window
from support.databases import Database
from support.oracle import Row
from support.rollups import DAY, HOUR, MINUTE, PLAIN, SECOND, START, RollupTables, check_level, windows
from support.tiers import DECIDED, others_on_duckdb


@pytest.fixture
def rollups(db: Database) -> RollupTables:
    """A raw table of hosts and one metric, on each engine."""
    return RollupTables(db=db, engine=db.retention().engine)


def samples(count: int, step: int, hosts: tuple[str | None, ...] = ("a", "b", None)) -> list[Row]:
    """Rows of a few series, with NULL values among them."""
    return [
        {"ts": START + i * step + number, "host": host, "x": None if i % 7 == 3 else float((i * 37 + number) % 101)}
        for i in range(count)
        for number, host in enumerate(hosts)
    ]


def test_one_level(rollups: RollupTables) -> None:
    """Each aggregate of each bucket and series, NULL dimensions and NULL values among them, is right."""
    rows = samples(200, 90 * SECOND)
    rollups.create(rows)
    rollup = rollups.level("1h")
    result = rollups.roll_up(rollup, *windows(START, DAY, 1))
    check_level(rollups, rollup, rows, START, START + DAY)
    (count,) = result.windows.values()
    assert result.rows == len(rows) == count.rows
    assert count.groups == len(rollups.read(rollup.table)) == 15


def test_without_dimensions(rollups: RollupTables) -> None:
    """A table that is one series has one row for each bucket."""
    rollups.dimensions = ()
    rows = [{"ts": START + i * MINUTE, "x": float(i)} for i in range(120)]
    rollups.create(rows)
    rollup = rollups.level("1h")
    rollups.roll_up(rollup, *windows(START, DAY, 1))
    check_level(rollups, rollup, rows, START, START + DAY)
    assert len(rollups.read(rollup.table)) == 2


def test_dimensions_do_not_run_together(rollups: RollupTables) -> None:
    """Series whose dimensions look alike when they are written one after the other stay apart."""
    rollups.dimensions = ("host", "part")
    names: list[tuple[str | None, str | None]] = [
        ("a", "b"), ("ab", ""), ("", "ab"), (None, "ab"), ("ab", None), (None, None), ("-", "-"),
        ("1:a", "b"), ("1", ":ab"),
    ]  # fmt: skip
    rows = [{"ts": START, "host": host, "part": part, "x": 1.0} for host, part in names]
    rollups.create(rows)
    rollup = rollups.level("1h", partition=None)
    rollups.roll_up(rollup, *windows(START, DAY, 1))
    check_level(rollups, rollup, rows, START, START + DAY)
    assert len(rollups.read(rollup.table)) == len(names)


def test_rows_without_time(rollups: RollupTables) -> None:
    """Rows whose time is NULL belong to no bucket and are not counted."""
    rollups.create([{"ts": None, "host": "a", "x": 1.0}, {"ts": START, "host": "a", "x": 2.0}])
    rollup = rollups.level("1h")
    assert rollups.roll_up(rollup, *windows(START, DAY, 1)).rows == 1
    assert [row["row_count"] for row in rollups.read(rollup.table)] == [1]


def test_recomputing_replaces(rollups: RollupTables) -> None:
    """After deletes and updates in the source a window has the new rows and no stale group."""
    rollups.create(samples(100, 10 * MINUTE))
    rollup = rollups.level("1h")
    first, second = windows(START, HOUR * 8, 2)
    rollups.roll_up(rollup, first, second)
    rollups.db.sql(f"DELETE FROM {rollups.db.q('raw')} WHERE host = 'a'")
    rollups.db.sql(f"UPDATE {rollups.db.q('raw')} SET host = 'c' WHERE host IS NULL")
    rows = [row | {"host": row["host"] or "c"} for row in samples(100, 10 * MINUTE) if row["host"] != "a"]
    result = rollups.roll_up(rollup, first)
    check_level(rollups, rollup, rows, first.start, first.end)
    check_level(rollups, rollup, samples(100, 10 * MINUTE), second.start, second.end)
    assert result.rows == 96


def test_window_that_became_empty(rollups: RollupTables) -> None:
    """A window whose rows are all gone has none in the rollup, and its neighbours stay."""
    rows = samples(48, HOUR)
    rollups.create(rows)
    rollup = rollups.level("1h")
    first, second = windows(START, DAY, 2)
    rollups.roll_up(rollup, first, second)
    rollups.db.sql(f"DELETE FROM {rollups.db.q('raw')} WHERE ts >= '2024-01-02'")
    result = rollups.roll_up(rollup, second)
    assert (result.rows, result.windows[second].groups) == (0, 0)
    check_level(rollups, rollup, [row for row in rows if row["ts"] < first.end], START, second.end)


def test_twice_is_once(rollups: RollupTables) -> None:
    """Rolling up again changes nothing but the version."""
    rollups.create(samples(50, HOUR))
    rollup = rollups.level("1h")
    results, tables = [], []
    for _ in range(2):
        results.append(rollups.roll_up(rollup, *windows(START, DAY, 3)))
        found = [{**row, "rollup_version": 0} for row in rollups.read(rollup.table)]
        tables.append(sorted(found, key=lambda row: (row["ts"], str(row["host"]))))
    assert results[0] == results[1]
    assert tables[0] == tables[1]


@pytest.mark.parametrize("interval", ["1h", "1d"])
def test_windows_with_gaps(rollups: RollupTables, interval: str) -> None:
    """Windows that do not follow one another are computed, and what lies between them stays as it is."""
    rollups.metrics = {"x": (*PLAIN, Aggregate.PERCENTILES)}
    rows = samples(24 * 6, HOUR)
    rollups.create(rows)
    rollup = rollups.level(interval, window=parse_interval("1d"))
    days = windows(START, DAY, 6)
    rollups.roll_up(rollup, *days)
    before = [rollups.read(table) for table in rollup.tables]
    late = [{"ts": day.start + HOUR, "host": "late", "x": 1.0} for day in days]
    rollups.insert(late)
    result = rollups.roll_up(rollup, days[0], days[1], days[4])
    assert list(result.windows) == [days[0], days[1], days[4]]
    assert result.rows == 3 * (24 * 3 + 1)
    assert {count.rows for count in result.windows.values()} == {24 * 3 + 1}
    check_level(rollups, rollup, rows + late, START, days[1].end)
    check_level(rollups, rollup, rows + late, days[4].start, days[4].end)
    for table, known in zip(rollup.tables, before, strict=True):
        between, again = (
            [row for row in found if row["ts"] // DAY - START // DAY in (2, 3, 5)]
            for found in (known, rollups.read(table))
        )
        assert between
        assert sorted(map(str, again)) == sorted(map(str, between))


def test_counts_of_any_time(rollups: RollupTables) -> None:
    """Windows of a level are counted together, and so are parts of them, and any other stretches of time."""
    rows = samples(24 * 6, HOUR)
    rollups.create(rows)
    rollup = rollups.level("1h", window=parse_interval("1d"))
    days = windows(START, DAY, 8)
    rollups.roll_up(rollup, *days)
    halves = [
        Window(start=day.start, end=day.end, since=at, until=at + 12 * HOUR)
        for day in days[:2]
        for at in (day.start, day.start + 12 * HOUR)
    ]
    odd = windows(START + 5 * HOUR, DAY, 2)
    counts = rollups.engine.counts(rollup)
    for some in (days, days[::3], halves, odd, [*odd, days[7], days[0]]):
        expected = {w: sum(w.since <= row["ts"] < w.until for row in rows) for w in some}
        assert counts.source(some) == expected
        assert {w: count.rows for w, count in counts.level(some).items()} == expected
        found = counts.compare(some)
        assert {w: (balance.stored, balance.below) for w, balance in found.items()} == {
            w: (n, n) for w, n in expected.items()
        }


def test_open_window(rollups: RollupTables) -> None:
    """Of an open window only the buckets from ``since`` to ``until`` are computed; the others stay as they are."""
    rows = samples(24, HOUR)
    rollups.create(rows)
    rollup = rollups.level("1h")
    rollups.roll_up(rollup, Window(start=START, end=START + DAY, since=START, until=START + 5 * HOUR))
    check_level(rollups, rollup, [row for row in rows if row["ts"] < START + 5 * HOUR], START, START + DAY)
    late = [{"ts": START + HOUR, "host": "late", "x": 1.0}]
    rollups.insert(late)
    result = rollups.roll_up(
        rollup, Window(start=START, end=START + DAY, since=START + 5 * HOUR, until=START + 9 * HOUR)
    )
    assert result.rows == 12
    check_level(rollups, rollup, [row for row in rows if row["ts"] < START + 9 * HOUR], START, START + DAY)
    rollups.roll_up(rollup, *windows(START, DAY, 1))
    check_level(rollups, rollup, rows + late, START, START + DAY)


@pytest.mark.parametrize("interval", ["5m", "1w", *others_on_duckdb("1h", "1d")])
@DECIDED
def test_two_levels_are_one(rollups: RollupTables, interval: str) -> None:
    """A level computed from a finer one is what it would be from the raw rows, and what Python finds."""
    rollups.metrics = {"x": (*PLAIN, Aggregate.STDDEV, Aggregate.INCREASE)}
    rows = samples(300, 47 * MINUTE + 13 * SECOND)
    rollups.create(rows)
    finer = rollups.level("1m")
    weeks = windows(START, 7 * DAY, 2)
    rollups.roll_up(finer, *weeks)
    coarser = rollups.level(interval, below=finer)
    result = rollups.roll_up(coarser, *weeks)
    assert result.rows == len(rows)
    check_level(rollups, coarser, rows, START, START + 14 * DAY)
    direct = rollups.level(interval, table=rollups.db.table("direct"))
    rollups.roll_up(direct, *weeks)
    check_level(rollups, direct, rows, START, START + 14 * DAY)


def test_creating_twice(rollups: RollupTables) -> None:
    """Creating a level that is there does nothing, and leaves its rows."""
    rollups.create(samples(5, HOUR))
    rollup = rollups.level("1h", partition=parse_interval("1mo"))
    rollups.roll_up(rollup, *windows(START, DAY, 1))
    before = rollups.read(rollup.table)
    rollups.do(CreateRollup(rollup=rollup))
    assert rollups.read(rollup.table) == before != []


def test_table_gone(rollups: RollupTables) -> None:
    """Rolling up into a table that is not there is an error in words of ours."""
    rollups.create(samples(5, HOUR))
    with pytest.raises(NotFound):
        rollups.roll_up(rollups.rollup("1h"), *windows(START, DAY, 1))


def test_sealing_is_none_of_the_engines_business(rollups: RollupTables) -> None:
    """To seal windows an engine does nothing, and shows nothing."""
    rollups.create()
    step = SealWindows(rollup=rollups.rollup("1h"), windows=tuple(windows(START, DAY, 1)))
    assert rollups.do(step).windows == {}
    assert rollups.engine.render(step) == []


def test_shown(rollups: RollupTables) -> None:
    """The statements that a plan shows compute, and remove what is stale."""
    rollups.create()
    rollup = rollups.rollup("1h")
    (create,) = rollups.engine.render(CreateRollup(rollup=rollup))
    assert create.startswith("CREATE TABLE IF NOT EXISTS")
    shown = rollups.engine.render(RollUp(rollup=rollup, windows=tuple(windows(START, DAY, 3))))
    assert sorted(statement.split()[0] for statement in shown) == ["DELETE", "INSERT"]
