"""
What a killed run deleted with `recoverable` comes back whole; and an undo that is killed is completed by the next one.

At no instant is a row lost, or there twice.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cratedb_retention import Retention
from cratedb_retention.errors import NotFound
from support.databases import CrateDatabase, Database, ParquetDatabase
from support.kill_harness import RunRequest, kill_runs, last_of_each_kind, left_by_kills
from support.kill_scenarios import (
    CUTOFF,
    RECOVERABLE,
    TABLE,
    CrateScenarioDatabase,
    DuckScenarioDatabase,
    ScenarioDatabase,
)
from support.tiers import examples

EVERY = tuple(sorted(row["n"] for row in RECOVERABLE.rows))
# A row that arrives in a partition that was deleted, and one that is sent again.
LATE, AGAIN = "2024-05-15", "2024-05-31"
# While CrateDB proves an archive by a copy, nothing is gone yet: such kills are left to the long tier.
ON_CRATEDB = RECOVERABLE
if not examples(0, long=1):
    ON_CRATEDB = replace(RECOVERABLE, policy={**RECOVERABLE.policy, "verify": "metadata"})


def rows(database: ScenarioDatabase) -> tuple[str, ...]:
    return tuple(row[0] for row in database.look("SELECT n FROM {table} ORDER BY n"))


def undo(retention: Retention) -> int:
    """Bring back what was deleted, if anything was: how many partitions it looked after."""
    try:
        found = retention.undo(table_schema="*", table_name=TABLE)
    except NotFound:
        return 0
    assert [item.error for item in found if item.error] == []
    return len(found)


def deleted(database: ScenarioDatabase) -> None:
    """A run deletes, and rows arrive in one of the partitions meanwhile."""
    database.reset()
    with database.open() as retention:
        report = retention.run(cutoff=CUTOFF)
        assert (report.ok, report.partitions) == (True, 2)
    add(database, LATE, AGAIN)


def add(database: ScenarioDatabase, *days: str) -> None:
    values = ", ".join(f"('{day}', '{day}')" for day in days)
    if isinstance(database, CrateScenarioDatabase):
        database.bench.sql(f"INSERT INTO {database.bench.q(TABLE)} (ts, n) VALUES {values}")
        database.bench.refresh(TABLE)
    else:
        database.look(f"INSERT INTO {{table}} (ts, n) VALUES {values}")


def request_of(database: ScenarioDatabase) -> RunRequest:
    return replace(database.request, undo=TABLE)


@pytest.mark.slow("a run is killed some dozens of times, and undone twice and run again each time")
def test_what_a_killed_run_deleted(tmp_path: Path) -> None:
    """Killed at any instant on DuckDB, an undo brings back all that is gone; nothing is twice; it can be repeated."""
    database = DuckScenarioDatabase(RECOVERABLE, tmp_path)
    database.reset()
    left = left_by_kills(database.request, database.files, tmp_path / "kept")
    gone = 0
    for instant, files in left if examples(0, long=1) else last_of_each_kind(left):
        database.restore(files)
        gone += len(EVERY) - len(rows(database))
        with database.open() as retention:
            for _ in range(2):
                undo(retention)
                assert rows(database) == EVERY, f"killed {instant}"
            assert retention.run(cutoff=CUTOFF).ok, f"killed {instant}"
            undo(retention)
            assert rows(database) == EVERY, f"killed {instant}, and run again"
    assert gone > 10, "there must have been more to bring back"


@pytest.mark.slow("an undo is killed some dozens of times, and repeated each time")
def test_a_killed_undo(tmp_path: Path) -> None:
    """Killed at any instant on DuckDB, the next undo ends where that one would have; rows that arrived since stay."""
    database = DuckScenarioDatabase(RECOVERABLE, tmp_path)
    deleted(database)
    left = left_by_kills(request_of(database), database.files, tmp_path / "kept")
    assert len(left) > 3, "there must have been more to kill"
    for instant, files in left:
        database.restore(files)
        with database.open() as retention:
            undo(retention)
        assert rows(database) == tuple(sorted((*EVERY, LATE))), f"killed {instant}"


@pytest.mark.slow("a run is killed some dozens of times, and undone each time")
def test_cratedb(crate: CrateDatabase) -> None:
    """The same on CrateDB, killed while it carries out any kind of change."""
    assert_comes_back(CrateScenarioDatabase(ON_CRATEDB, crate))


@pytest.mark.slow("a run is killed some dozens of times, and undone each time")
@pytest.mark.long("make test kills runs that archive files, and undoes runs that archive in repositories")
def test_cratedb_files(crate_files: ParquetDatabase) -> None:
    """The same for archives that are files."""
    assert_comes_back(CrateScenarioDatabase(RECOVERABLE, crate_files))


def assert_comes_back(database: CrateScenarioDatabase) -> None:
    instants, gone = 0, 0
    for killed in kill_runs(database.request, database.reset, 0, bookkeeping=False):
        gone += len(EVERY) - len(rows(database))
        with database.open() as retention:
            undone = undo(retention)
            assert rows(database) == EVERY, f"killed {killed}"
            if undone == 2:  # Both partitions: one that was not archived yet is the next run's.
                assert_writable(database.bench, killed)
            assert retention.run(cutoff=CUTOFF).ok, f"killed {killed}"
            undo(retention)
            assert rows(database) == EVERY, f"killed {killed}, and run again"
        assert_writable(database.bench, killed)
        instants += 1
    assert (instants > 1, gone > 0) == (True, True)


@pytest.mark.slow("an undo is killed some dozens of times, and repeated each time")
def test_a_killed_undo_on_cratedb(crate: CrateDatabase) -> None:
    """Killed while CrateDB carries out any kind of change, an undo is completed by the next one."""
    database = CrateScenarioDatabase(ON_CRATEDB, crate)
    instants = 0
    for killed in kill_runs(request_of(database), lambda: deleted(database), 0, bookkeeping=False):
        with database.open() as retention:
            undo(retention)
        assert rows(database) == tuple(sorted((*EVERY, LATE))), f"killed {killed}"
        assert_writable(crate, killed)
        instants += 1
    assert instants > 1, "there must have been more to kill"


def assert_writable(db: Database, killed: str) -> None:
    """Nothing stays frozen."""
    assert isinstance(db, CrateDatabase)
    assert (db.frozen(TABLE), len(db.tool.store.freezes.all())) == (0, 0), f"killed {killed}"
