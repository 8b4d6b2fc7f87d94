"""
In place of cratedb-toolkit 0.1.1: what was created as there deletes no partition that it would not have deleted.
"""

from __future__ import annotations

import datetime as dt

import pytest

from support.databases import TIME, Database

HOUR = dt.timedelta(hours=1)


def expired_there(db: Database, values: list[dt.datetime], days: int) -> set[dt.datetime]:
    """What cratedb-toolkit deletes without ``--cutoff-day``: what begins before the start of today less the period."""
    today = db.time.moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return {value for value in values if value < today - dt.timedelta(days=days)}


@pytest.mark.parametrize(("hour", "days"), [(0, 1), (17, 1), (23, 2)])
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
