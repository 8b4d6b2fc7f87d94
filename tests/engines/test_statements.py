"""
How many statements are sent, and that CrateDB's own parser understands each.
"""

from __future__ import annotations

import pytest

from cratedb_retention.planning import delete
from support.databases import TIME, CrateBench, DuckBench

OLD, YOUNG = "2024-05-15T00:00:00Z", "2024-06-15T00:00:00Z"


def deletes(sent: list[str]) -> int:
    """How many of the statements delete something."""
    return sum(statement.startswith("DELETE") for statement in sent)


def test_many_partitions_on_duckdb(duck: DuckBench) -> None:
    """1,200 partitions go in two statements."""
    duck.create("hours", {"ts": TIME, "n": "TEXT", "hour": duck.bin("1 hour")}, by=["hour"])
    duck.sql(
        f"INSERT INTO {duck.q('hours')} (ts, n)"
        " SELECT TIMESTAMPTZ '2024-01-01T00:00:00Z' + to_hours(i), 'x' FROM range(1200) AS r (i)"
    )
    duck.policy("delete", "hours", "30d")
    with duck.statements() as sent:
        report = duck.run()
    assert (report.partitions, report.rows, duck.count("hours")) == (1200, 1200, 0)
    assert deletes(sent) == 2


@pytest.mark.slow
def test_many_partitions_on_cratedb(crate: CrateBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of partitions is dropped by one statement, and no empty partition is left behind."""
    monkeypatch.setattr(delete, "BATCH", 50)
    crate.create("hours", {"ts": TIME, "n": "TEXT", "hour": crate.bin("1 hour")}, by=["hour"])
    crate.sql(
        f"INSERT INTO {crate.q('hours')} (ts, n)"
        " (SELECT 1704067200000 + i::bigint * 3600000, 'x' FROM generate_series(1, 130) AS g (i))"
    )
    crate.refresh("hours")
    crate.policy("delete", "hours", "30d")
    with crate.statements() as sent:
        report = crate.run()
    assert (report.partitions, crate.count("hours"), len(crate.partitions("hours"))) == (130, 0, 0)
    assert deletes(sent) == 3
    assert len(sent) < 40
