"""Tables with what is kept in them: which state a table is in, which time it covers, when its next run is."""

from __future__ import annotations

import datetime as dt

import pytest

from cratedb_retention.execution.overview import overview
from cratedb_retention.execution.preparing import Selection
from cratedb_retention.execution.tables import TableLine, find_bounds, table_lines
from cratedb_retention.model.instant import show
from cratedb_retention.store.statistics import RunOfPolicy
from support.databases import MONTH, TIME, Database

NOW = dt.datetime(2024, 7, 2, tzinfo=dt.UTC)


def lines(db: Database, *runs: RunOfPolicy) -> dict[str, TableLine]:
    """The tables by name, in their order."""
    prepared = db.tool.prepare(selection=Selection())
    measured = db.tool.engine.measure(find_bounds(prepared))
    found = table_lines(prepared, overview(prepared), measured, runs, NOW)
    return {line.table.partition(".")[2]: line for line in found}


def run(policy: str, failed: int = 0, error: str | None = None) -> RunOfPolicy:
    """What a run did."""
    return RunOfPolicy(policy, "r", NOW, 0, 0, failed, 0, 0, error)


def test_states(db: Database) -> None:
    """What failed in its last run comes first; a failure that a later run mended is over."""
    for name in ("a", "b", "c", "d"):
        db.create(name, {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
        db.fill(name, ["2024-03-05", "2024-06-05"])
    db.policy("delete", "a", "1y", id="a", schedule="@daily")
    db.policy("delete", "a*", "30d", id="a2", enabled=False, schedule="@hourly")
    db.policy("delete", "b", "30d", id="b", schedule="0 6 * * *", time_zone="Europe/Vienna")
    db.policy("delete", "c", "1y", id="c")
    db.policy("delete", "d", "1y", id="d", enabled=False)
    found = lines(db, run("c", 1, "disk full"), run("a", 1, "once"), run("a"))
    assert [(name, line.state, line.why) for name, line in found.items()] == [
        ("c", "failing", ("disk full",)),
        ("b", "due", ()),
        ("a", "kept", ()),
        ("a*", "disabled", ()),
        ("d", "disabled", ()),
    ]
    assert [found[name].next_run for name in "abcd"] == [
        dt.datetime(2024, 7, 3, tzinfo=dt.UTC),
        dt.datetime(2024, 7, 2, 4, tzinfo=dt.UTC),
        None,
        None,
    ]


@pytest.mark.parametrize("partitioned", [True, False])
def test_time(db: Database, partitioned: bool) -> None:
    """The time of partitions follows from their definition, that of other tables from their rows."""
    columns = {"ts": TIME, "n": "TEXT", **({"month": MONTH} if partitioned else {})}
    db.create("t", columns, by=["month"] if partitioned else [])
    db.fill("t", ["2024-03-05", "2024-06-05T01:02:03"])
    db.policy("delete", "t", "1y")
    db.create("empty", {"ts": TIME, "n": "TEXT"})
    db.policy("delete", "empty", "1y")
    found = lines(db)
    assert (found["empty"].oldest, found["empty"].newest) == (None, None)
    assert found["t"].rows == 2
    span = ("2024-03-01", "2024-07-01") if partitioned else ("2024-03-05", "2024-06-05T01:02:03.001Z")
    assert (show(found["t"].oldest), show(found["t"].newest)) == span
