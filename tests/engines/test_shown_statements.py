"""
What a plan shows of rollups is what a run sends, statement by statement (law 10): the tables, windows in pieces, where
the values of counters before are looked for, and the view.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from cratedb_retention.engine.cratedb.engine import CrateDBEngine
from cratedb_retention.engine.rollups.rollup import Portions
from support.catalogs import ms
from support.databases import TIME, Database
from support.oracle import text
from support.rollups import HOUR
from support.tiers import others_on_duckdb

START = ms("2024-05-01T00:00")
# The number of a computation, which is another one each time.
OURS = re.compile(r'(CREATE|DELETE|INSERT|ALTER) [A-Z ]+"[^"]+"\."m_')
VERSION = re.compile(r"\d+ AS (anon_\d+)")


def shown(db: Database) -> list[str]:
    """What the plan shows."""
    steps = [step for task in db.tool.plan().tasks for step in task.steps]
    return [plain(line) for step in steps for line in db.tool.engine.render(step)]


def sent(db: Database, work: Callable[[], Any]) -> list[str]:
    """What is sent meanwhile to change the table's levels, as text."""
    database, found = db.tool.engine.database, []

    def note(connection: Any, element: Any, *rest: Any) -> None:
        if isinstance(element, sa.Executable) and not isinstance(element, sa.SelectBase):
            found.append(plain(database.render(element)))

    sa.event.listen(database.engine, "before_execute", note)
    try:
        work()
    finally:
        sa.event.remove(database.engine, "before_execute", note)
    return [line for line in found if OURS.match(line)]


def plain(line: str) -> str:
    """In one line."""
    return VERSION.sub(r"\1", " ".join(line.split()))


def fill(db: Database, start: int, hours: int) -> None:
    """Some rows of two series, a counter among their values."""
    rows = [
        {"ts": text(START + i * HOUR), "host": host, "x": float(i % 7), "n": i * (2 if host else 1)}
        for i in range(start, start + hours)
        for host in ("a", None)
    ]
    db.insert("m", rows)


@pytest.mark.parametrize("counters", [["n"], *others_on_duckdb([])])
def test_shown_and_sent(db: Database, monkeypatch: pytest.MonkeyPatch, counters: list[str]) -> None:
    """The first run, one after more rows came, also with a gap before them, and one after a metric was added."""
    monkeypatch.setattr(CrateDBEngine, "portions", Portions(run=160, counters=100, insert=50))
    db.create("m", {"ts": TIME, "host": "TEXT", "x": "DOUBLE PRECISION", "n": "BIGINT"})
    more: dict[str, Any] = {"aggregates": {"x": ["avg", "stddev", "percentiles"]}, "counters": counters}
    policy = db.policy("downsample", "m", "1y", levels="1h:10y,1d:forever", metrics=["x", "n"], **more)
    for day, filled in (("2024-05-07", range(6)), ("2024-05-08", [6]), ("2024-10-01", [70, 130])):
        for number in filled:
            fill(db, number * 24, 24)
        db.time.set(f"{day}T00:00:00+00:00")
        expected = shown(db)
        assert any(line.startswith("INSERT") for line in expected)
        assert sent(db, db.run) == expected
    db.tool.edit_policy(policy.id or "", {"aggregates": {"x": ["avg", "stddev", "percentiles", "range", "median"]}})
    expected = shown(db)
    assert any(line.startswith("ALTER") for line in expected)
    assert sent(db, db.run) == expected
