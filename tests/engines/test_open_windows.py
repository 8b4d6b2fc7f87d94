"""Windows that last beyond the cutoff: they grow as their buckets become complete, be something written then or not."""

from __future__ import annotations

import pytest

from support.databases import MONTH, TIME, Database
from support.tiers import DECIDED, others_on_duckdb


def rolled_up(db: Database, now: str) -> tuple[int, int]:
    """Run at a time; how many rows are in hours and in days then."""
    db.time.set(f"{now}+00:00")
    report = db.run()
    assert report.ok
    assert db.tool.plan().tasks == ()
    ledger = db.tool.store.rollups.ledger(db.tool.store.rollups.all())
    for name in ("readings_1h", "readings_1d"):
        db.refresh(name)
    hours, days = (
        int(db.rows(f"SELECT coalesce(sum(row_count), 0) FROM {db.q(name)}")[0][0])
        for name in ("readings_1h", "readings_1d")
    )
    # What is known of windows is what is in them, however they grew.
    for name, rows in (("readings_1h", hours), ("readings_1d", days)):
        assert sum(window.rows for window in ledger.of(db.table(name)).values()) == rows
    return hours, days


@pytest.mark.parametrize("partitioned", [True, *others_on_duckdb(False)])
@DECIDED
def test_grows_when_nothing_is_written(db: Database, partitioned: bool) -> None:
    """A bucket whose rows were there before it was complete is rolled up when it is, though nothing came since."""
    part = {"month": MONTH} if partitioned else {}
    db.create("readings", {"ts": TIME, "x": "DOUBLE PRECISION", **part}, by=list(part))
    db.insert("readings", [{"ts": f"2024-07-02T{at}", "x": 1.0} for at in ("09:15", "10:15", "11:45", "23:30")])
    db.policy("downsample", "readings", "7d", levels="1h:30d,1d:forever")
    assert rolled_up(db, "2024-07-02T10:30") == (1, 0)
    assert rolled_up(db, "2024-07-02T11:30") == (2, 0)
    assert rolled_up(db, "2024-07-02T13:00") == (3, 0)
    assert rolled_up(db, "2024-07-03T05:00") == (4, 4)
    assert rolled_up(db, "2024-07-04T05:00") == (4, 4)


def test_what_is_empty_by_now(db: Database) -> None:
    """A window whose rows were deleted while the one below it was open is known to hold none, once that is over."""
    db.create("readings", {"ts": TIME, "x": "DOUBLE PRECISION", "month": MONTH}, by=["month"])
    db.insert("readings", [{"ts": at, "x": 1.0} for at in ("2024-07-01T10:00", "2024-07-03T10:00")])
    db.policy("downsample", "readings", "2d", levels="1h:20d,1d:forever", deletions="follow")
    assert rolled_up(db, "2024-07-04T10:00") == (2, 2)
    db.sql(f"DELETE FROM {db.q('readings')} WHERE ts < '2024-07-02'")
    db.refresh("readings")
    assert rolled_up(db, "2024-08-02T10:00") == (1, 1)
    rollups = db.tool.store.rollups
    windows = rollups.ledger(rollups.all()).of(db.table("readings_1d"))
    assert sum(window.rows for window in windows.values()) == 1
