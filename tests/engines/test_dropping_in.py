"""
In place of cratedb-toolkit 0.1.1: what was created as there deletes no partition that it would not have deleted.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from cratedb_retention.execution.archive import RestoreRequest
from support.databases import MONTH, TIME, CrateDatabase, Database
from support.markdown import ROOT
from support.tiers import DECIDED, others_on_duckdb

HOUR = dt.timedelta(hours=1)
DAY = 86_400_000
# With 30 days at 2 July, in milliseconds.
LIMIT = 1_717_286_400_000


def expired_there(db: Database, values: list[dt.datetime], days: int) -> set[dt.datetime]:
    """What cratedb-toolkit deletes without ``--cutoff-day``: what begins before the start of today less the period."""
    today = db.time.moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return {value for value in values if value < today - dt.timedelta(days=days)}


@pytest.mark.parametrize(("hour", "days"), [(17, 1), *others_on_duckdb((0, 1), (23, 2))])
def test_partitions_of_hours(db: Database, hour: int, days: int) -> None:
    """A plain number of days counts from the start of today, so the hours of that day stay as long as there."""
    db.time.set(f"2024-07-02T{hour:02}:30:00+00:00")
    cut = f"{TIME} GENERATED ALWAYS AS (date_trunc('hour', ts))"
    db.create("hourly", {"ts": TIME, "n": "TEXT", "hour": cut}, by=["hour"])
    hours = [db.time.moment.replace(minute=0) - i * HOUR for i in range(60)]
    db.insert("hourly", [{"ts": each.isoformat(), "n": each.isoformat()} for each in hours])
    db.policy("delete", "hourly", days, partition_column="hour")
    assert db.run().ok
    gone = {each.isoformat() for each in hours} - set(db.left("hourly"))
    assert gone == {each.isoformat() for each in expired_there(db, hours, days)}


@pytest.mark.parametrize("strategy", ["delete", "snapshot"])
def test_epochs_without_a_timestamp(db: Database, strategy: str) -> None:
    """Whole numbers that a policy names as its partition column are milliseconds, where no timestamp is."""
    days = {"old": LIMIT - DAY, "last": LIMIT - 1, "limit": LIMIT, "young": LIMIT + DAY}
    db.create("epochs", {"n": "TEXT", "day": "BIGINT"}, by=["day"])
    db.insert("epochs", [{"n": name, "day": day} for name, day in days.items()])
    db.policy(strategy, "epochs", 30, partition_column="day")
    assert db.run().ok
    assert sorted(db.left("epochs")) == ["limit", "young"]


def test_computed_epochs(db: Database) -> None:
    """Where the whole number is computed from another, that one is the time: a day goes with its last row."""
    db.create(
        "epochs", {"ts": "BIGINT", "n": "TEXT", "day": f"BIGINT GENERATED ALWAYS AS (ts - ts % {DAY})"}, by=["day"]
    )
    times = {"old": LIMIT - DAY + 5, "last": LIMIT - 1, "limit": LIMIT + 5, "young": LIMIT + DAY + 5}
    db.insert("epochs", [{"ts": ts, "n": name} for name, ts in times.items()])
    db.policy("delete", "epochs", 30, partition_column="day")
    assert db.run().ok
    assert sorted(db.left("epochs")) == ["limit", "young"]


def test_epochs_in_seconds(db: Database) -> None:
    """Seconds would all lie in 1970: cratedb-toolkit deletes everything, and here a person has to say the unit."""
    db.create("epochs", {"n": "TEXT", "day": "BIGINT"}, by=["day"])
    db.insert("epochs", [{"n": str(day), "day": day // 1000} for day in (LIMIT - DAY, LIMIT + DAY)])
    policy = db.policy("delete", "epochs", 30, partition_column="day")
    assert not db.run().ok
    assert db.count("epochs") == 2
    db.tool.edit_policy(policy.id or "", {"time_unit": "s"})
    assert db.run().ok
    assert db.left("epochs") == [str(LIMIT + DAY)]


def test_one_epoch_in_seconds(db: Database) -> None:
    """A single partition of another unit stays, and is reported."""
    db.create("epochs", {"n": "TEXT", "day": "BIGINT"}, by=["day"])
    days = {"old": LIMIT - DAY, "seconds": (LIMIT + DAY) // 1000, "young": LIMIT + DAY}
    db.insert("epochs", [{"n": name, "day": day} for name, day in days.items()])
    db.policy("delete", "epochs", 30, partition_column="day")
    assert not db.run().ok
    assert sorted(db.left("epochs")) == ["seconds", "young"]


@pytest.mark.parametrize("strategy", ["delete", "snapshot"])
def test_times_that_an_application_fills(db: Database, strategy: str) -> None:
    """A partition whose named column lies after the limit stays, however old its rows are otherwise: a forecast."""
    db.create("forecasts", {"made": TIME, "n": "TEXT", "day": TIME}, by=["day"])
    days = {"old": LIMIT - DAY, "limit": LIMIT, "ahead": LIMIT + DAY}
    made = "2024-03-05T00:00:00+00:00"
    times = {n: dt.datetime.fromtimestamp(ms / 1000, dt.UTC).isoformat() for n, ms in days.items()}
    db.insert("forecasts", [{"made": made, "n": name, "day": day} for name, day in times.items()])
    db.policy(strategy, "forecasts", 30, partition_column="day")
    assert db.run().ok
    assert sorted(db.left("forecasts")) == ["ahead", "limit"]


@DECIDED
def test_restored_and_released(db: Database) -> None:
    """What was restored, and not written to, is dropped again without another snapshot; what was is archived again."""
    db.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill("metrics", ["2024-03-05", "2024-04-05"])
    db.policy("snapshot", "metrics", 30)
    assert db.run().ok
    names = db.snapshot_names()
    assert len(names) == 2
    for _ in range(2):
        assert all(restored.error is None for restored in db.tool.restore(RestoreRequest(table_name="metrics")))
        assert db.count("metrics") == 2
        for hold in db.tool.holds():
            db.tool.release(hold.id)
        assert db.run().ok
        assert db.count("metrics") == 0
        assert db.snapshot_names() == names
    db.tool.restore(RestoreRequest(table_name="metrics"))
    db.fill("metrics", ["2024-03-06"])
    for hold in db.tool.holds():
        db.tool.release(hold.id)
    assert db.run().ok
    assert db.count("metrics") == 0
    assert len(db.snapshot_names()) == 3
    db.tool.restore(RestoreRequest(table_name="metrics"))
    assert db.count("metrics") == 3


def test_the_program_of_the_page(new_crate: CrateDatabase) -> None:
    """What the page shows to users of the library works."""
    page = (ROOT / "docs/how-to/migrate-from-cratedb-toolkit.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    new_crate.create("raw_metrics", {"ts": TIME, "n": "TEXT", "ts_day": new_crate.bin("1 day")}, by=["ts_day"])
    new_crate.fill("raw_metrics", ["2024-03-05"])
    code = code.replace('"crate://localhost:4200/"', f'"{new_crate.uri}", schema="{new_crate.own_schema}"')
    found: dict[str, Any] = {}
    exec(code.replace('"doc"', f'"{new_crate.schema}"'), found)
    assert found["report"].ok
    assert new_crate.count("raw_metrics") == 0


def test_archives_of_cratedb_toolkit(crate: CrateDatabase) -> None:
    """Snapshots as it makes them are adopted, verified and restored."""
    crate.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    crate.fill("metrics", ["2024-03-05", "2024-04-05"])
    table, march = crate.q("metrics"), 1709251200000
    name = f'"{crate.repository}"."{crate.schema}.metrics-{march}"'
    crate.sql(f"CREATE SNAPSHOT {name} TABLE {table} PARTITION (month = {march}) WITH (wait_for_completion = true)")
    crate.sql(f"DELETE FROM {table} WHERE month = {march}")
    [adopted] = crate.tool.adopt_snapshots(crate.repository)
    assert not adopted.known
    [verified] = crate.tool.verify_snapshots(RestoreRequest())
    assert verified.error is None
    [restored] = crate.tool.restore(RestoreRequest())
    assert (restored.error, restored.rows) == (None, 1)
    assert crate.count("metrics") == 2
    for hold in crate.tool.holds():
        crate.tool.release(hold.id)
    crate.policy("snapshot", "metrics", 30)
    assert crate.run().ok
    assert crate.count("metrics") == 0
    assert f"{crate.schema}.metrics-{march}" in crate.snapshot_names()
    assert len(crate.snapshot_names()) == 2


def test_blob_tables(crate: CrateDatabase) -> None:
    """A policy on a BLOB table is blocked, and says why."""
    name = f"{crate.schema}_files"
    crate.sql(f"CREATE BLOB TABLE {name} CLUSTERED INTO 1 SHARDS WITH (number_of_replicas = 0)")
    try:
        crate.policy("delete", name, "1d", table_schema="blob")
        [problem] = crate.tool.plan().needs_attention
        assert "BLOB table" in problem.reason
    finally:
        crate.sql(f"DROP BLOB TABLE {name}")
