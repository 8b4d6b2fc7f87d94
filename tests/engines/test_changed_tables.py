"""Restoring into a table whose columns changed since: it says so, and how to go on; what fits is restored."""

from __future__ import annotations

import pytest

from cratedb_retention.execution.archive import RestoreRequest
from support.databases import MONTH, TIME, Database
from support.tiers import others_on_duckdb


@pytest.mark.parametrize(
    "change",
    [
        'RENAME COLUMN "value" TO other',
        'DROP COLUMN "value"|ADD COLUMN "value" TEXT',
        *others_on_duckdb('DROP COLUMN "value"', "ADD COLUMN extra TEXT"),
    ],
)
def test_changed_columns(db: Database, change: str) -> None:
    """It is refused with --into for a remedy, and comes back so; or everything is there."""
    db.create("metrics", {"ts": TIME, "n": "TEXT", "value": "BIGINT", "month": MONTH}, by=["month"])
    db.insert("metrics", [{"ts": "2024-03-05", "n": "old", "value": 5}, {"ts": "2024-07-01", "n": "new", "value": 7}])
    db.policy("snapshot", "metrics", "30d")
    assert db.run().ok
    for each in change.split("|"):
        db.sql(f"ALTER TABLE {db.q('metrics')} {each}")
    [restored] = db.tool.restore(RestoreRequest(table_name="metrics"))
    if restored.error is None:
        assert db.left("metrics", '"value" = 5') == ["old"]
        return
    assert "--into" in restored.error
    assert "value" in restored.error
    assert db.left("metrics") == ["new"]
    [beside] = db.tool.restore(RestoreRequest(table_name="metrics", into=db.table("beside")))
    assert beside.error is None
    assert db.left("beside", '"value" = 5') == ["old"]
