"""
Law 7 for cascades: a run that rolls up and expires is killed at any instant, and the next one ends in the same state as
one that was never killed. No row is lost, none is counted twice, no window is left behind.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cratedb_retention import Retention
from support.databases import NOW, TIME, CrateDatabase, Database, DuckDatabase
from support.kill_harness import RunRequest, kill_runs, left_by_kills
from support.kill_scenarios import CUTOFF, an_hour_later
from support.tiers import examples

# A run of a cascade has more than a hundred instants; of three in a row mostly two leave the same behind.
STRIDE = 3
DAY = f"{TIME} GENERATED ALWAYS AS (date_trunc('day', ts))"
COLUMNS = {"ts": TIME, "n": "TEXT", "x": "DOUBLE PRECISION", "day": DAY}
# It is 2 July: of the raw rows those of 20 June are expired, and of the hours too.
TIMES = ["2024-06-20T10:10", "2024-06-20T10:50", "2024-06-20T11:30", "2024-06-25T00:00", "2024-07-01T10:00"]
QUERIES = (
    'SELECT count(*), sum(x) FROM "{schema}".readings',
    'SELECT count(*), sum(row_count), sum(x_sum) FROM "{schema}".readings_1h',
    'SELECT count(*), sum(row_count), sum(x_sum) FROM "{schema}".readings_1d',
    'SELECT sum(row_count), sum(x_sum) FROM "{schema}".readings_all',
    'SELECT table_name, "start", "end", whole, sealed_at IS NULL, "rows" FROM "{own}".rollup_ledger ORDER BY 1, 2',
    'SELECT table_name FROM "{own}".rollup ORDER BY 1',
    'SELECT count(*) FROM "{own}".retention_freeze',
)


def fill(db: Database) -> None:
    """The table with its rows, and the policy."""
    db.create("readings", COLUMNS, by=["day"])
    db.insert("readings", [{"ts": at, "n": None if i == 1 else "a", "x": 2.0**i} for i, at in enumerate(TIMES)])
    db.policy("downsample", "readings", "7d", levels="1h:8d,1d:forever")


def see(retention: Retention, db: Database, queries: Sequence[str] = QUERIES) -> list[list[tuple[Any, ...]]]:
    """What there is, and how much is still due."""
    due = len(retention.plan(CUTOFF).tasks)
    schema, own = db.schema, db.own_schema
    database = retention.engine.database
    for name in ("readings", "readings_1h", "readings_1d"):
        database.refresh(sa.table(name, schema=schema))

    def ask(query: str) -> list[tuple[Any, ...]]:
        statement = query.format(schema=schema, own=own)
        return [tuple(row) for row in database.transact(lambda c: c.exec_driver_sql(statement).all())]

    rows = [ask(query) for query in queries]
    return [*rows, [(due,)]]


def finish(uri: str, db: Database) -> list[list[tuple[Any, ...]]]:
    """Run to the end, and look."""
    with Retention(uri, db.own_schema, clock=an_hour_later()) as retention:
        for _ in range(2):
            report = retention.run(cutoff=CUTOFF)
            assert report.ok, [row["error"] for row in retention.journal() if row["error"]]
        return see(retention, db)


def assert_right(state: list[list[tuple[Any, ...]]]) -> None:
    """The state that all others are compared with."""
    raw, hours, days, view, ledger, rollups, frozen, due = state
    assert [raw, hours, days, view] == [[(2, 24.0)], [(2, 2, 24.0)], [(4, 5, 31.0)], [(5, 31.0)]]
    assert [row[0] for row in rollups] == ["readings_1d", "readings_1h"]
    assert [row[3:5] for row in ledger] == 2 * [(True, False), (True, True), (True, True)]
    assert (frozen, due) == ([(0,)], [(0,)])


@pytest.mark.slow("the state after each statement of a run is finished")
def test_duckdb_converges(tmp_path: Path) -> None:
    """Whatever a kill leaves of a run on DuckDB, around changes and at events, is made good."""
    files, template = tmp_path / "files", tmp_path / "template"
    files.mkdir()
    db = DuckDatabase(f"duckdb:///{files / 'test.duckdb'}", files / "archive")
    fill(db)
    db.close()
    shutil.copytree(files, template)
    undisturbed = finish(db.uri, db)
    assert_right(undisturbed)
    put_back(template, files)
    left = left_by_kills(RunRequest(uri=db.uri, schema=db.own_schema, cutoff=NOW), files, tmp_path / "kept")
    assert len(left) > 20, "there must have been more to kill"
    for instant, copy in left[:: examples(2, long=1)]:
        put_back(copy, files)
        assert finish(db.uri, db) == undisturbed, f"killed {instant}"


def put_back(copy: Path, files: Path) -> None:
    """The files as they were when they were copied."""
    shutil.rmtree(files)
    shutil.copytree(copy, files)


@pytest.mark.slow("a run is killed some dozens of times, and finished each time")
@pytest.mark.timeout(900)
def test_cratedb_converges(crate: CrateDatabase) -> None:
    """Killed while CrateDB carries out changes, a run on CrateDB is made good."""
    fill(crate)
    undisturbed = finish(crate.uri, crate)
    assert_right(undisturbed)
    request, instants = RunRequest(uri=crate.uri, schema=crate.own_schema, cutoff=NOW), 0
    for killed in kill_runs(request, lambda: reset_crate(crate), examples(0, long=STRIDE), False, 2):
        assert finish(crate.uri, crate) == undisturbed, f"killed {killed}"
        instants += 1
    assert instants > 5, "there must have been more to kill"


def reset_crate(crate: CrateDatabase) -> None:
    """As it was before any run, but for the journal."""
    crate.sql(f"DROP VIEW IF EXISTS {crate.q('readings_all')}")
    for name in ("readings", "readings_1h", "readings_1d"):
        crate.sql(f"DROP TABLE IF EXISTS {crate.q(name)}")
    for name in ("rollup", "rollup_ledger", "retention_freeze", "retention_policy"):
        crate.sql(f"DELETE FROM {crate.q(name, crate.own_schema)}")
        crate.refresh(name, crate.own_schema)
    fill(crate)
