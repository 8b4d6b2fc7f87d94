"""Tables with what is kept in them: which state a table is in, which time it covers, when its next run is."""

from __future__ import annotations

import datetime as dt
import re

import pytest

from cratedb_retention.execution.overview.lines import TableLine, table_lines
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.runs import RunOptions
from cratedb_retention.model.time import show
from cratedb_retention.service.access import Scope
from cratedb_retention.service.metrics import RetentionCollector
from cratedb_retention.store.runs import RunOfPolicy
from support.databases import MONTH, TIME, Database
from support.tiers import DECIDED

NOW = dt.datetime(2024, 7, 2, tzinfo=dt.UTC)


def lines(db: Database, *runs: RunOfPolicy) -> dict[str, TableLine]:
    """The tables by name, in their order."""
    prepared = db.tool.prepare(selection=Selection())
    times = db.tool.schedule.next_runs(prepared.policies)
    levels = db.tool.store.rollups.spans(prepared.facts.ledger.rollups)
    found = table_lines(prepared, db.tool.engine.measure, runs, times, levels)
    return {line.title.partition(".")[2]: line for line in found}


def run(policy: str, failed: int = 0, error: str | None = None) -> RunOfPolicy:
    """What a run did."""
    return RunOfPolicy(policy_id=policy, run_id="r", ended_at=NOW, failed=failed, error=error)


def test_states(db: Database) -> None:
    """What failed in its last run comes first; a failure that a later run mended, or of a disabled policy, is over."""
    for name in ("a", "b", "c", "d"):
        db.create(name, {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
        db.fill(name, ["2024-03-05", "2024-06-05"])
    db.policy("delete", "a", "1y", id="a", schedule="@daily")
    db.policy("delete", "a*", "30d", id="a2", enabled=False, schedule="@hourly")
    db.policy("delete", "b", "30d", id="b", schedule="0 6 * * *", time_zone="Europe/Vienna")
    db.policy("delete", "b*", "2y", id="b2", schedule="@monthly")
    db.policy("delete", "c", "1y", id="c")
    db.policy("delete", "d", "1y", id="d", enabled=False)
    found = lines(db, run("c", 1, "disk full"), run("a", 1, "once"), run("a"), run("d", 1, "no room"))
    assert [(name, line.state, line.why) for name, line in found.items()] == [
        ("c", "failing", ("disk full",)),
        ("b", "due", ()),
        ("a", "up-to-date", ()),
        ("a*", "disabled", ()),
        ("d", "disabled", ()),
    ]
    assert [found[name].next_run for name in "abcd"] == [
        dt.datetime(2024, 7, 2, tzinfo=dt.UTC),  # It was created in the instant of a slot.
        dt.datetime(2024, 7, 2, 4, tzinfo=dt.UTC),
        None,
        None,
    ]


def test_due_beside_a_hold(db: Database) -> None:
    """A table of which a run processes some partitions is due, though others are blocked, with the reason."""
    db.create("t", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill("t", ["2024-03-05", "2024-04-05"])
    db.policy("delete", "t", "30d")
    for where, state in (({"month": "2024-03-01"}, "due"), ({}, "blocked")):
        db.tool.hold("t", db.schema, where=where)
        line = lines(db)["t"]
        assert (line.state, bool(line.why)) == (state, True)


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
    assert found["t"].first.rows == 2
    span = ("2024-03-01", "2024-07-01") if partitioned else ("2024-03-05", "2024-06-05T01:02:03.001Z")
    assert (show(found["t"].oldest), show(found["t"].newest)) == span


@pytest.mark.parametrize("partitioned", [True, False])
@DECIDED
def test_time_of_levels(db: Database, partitioned: bool) -> None:
    """A level has rows from where its own expired, whatever is left of the raw ones."""
    columns = {"ts": TIME, "x": "DOUBLE PRECISION", **({"month": MONTH} if partitioned else {})}
    db.create("t", columns, by=["month"] if partitioned else [])
    db.insert("t", [{"ts": f"2024-{month:02}-05", "x": 1.0} for month in range(1, 7)])
    db.policy("downsample", "t", "10d", levels="1d:60d,1mo:forever")
    for _ in range(2):
        assert db.run().ok
    found = lines(db)
    assert [(show(found[name].oldest), show(found[name].newest)) for name in ("t_1d", "t_1mo")] == [
        ("2024-04-08", "2024-07-01"),  # The end of the last week that expired.
        ("2024-01-01", "2024-07-01"),
    ]


@pytest.mark.parametrize("schedule", ["0 3 * * *", "*/10 * * * *"])
@DECIDED
def test_one_next_run_everywhere(db: Database, schedule: str) -> None:
    """Overview, list of policies and metrics name one instant, delay included; the run begins then, and not before."""
    db.create("t", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill("t", ["2024-06-05"])
    db.time.set("2024-07-02T00:00:01+00:00")
    db.policy("delete", "t", "1y", id="p", schedule=schedule, jitter="6h")
    scoped = Scope(db.tool, Access(role=Role.ADMIN, actor="admin"))

    def shown() -> set[dt.datetime | None]:
        text = RetentionCollector(db.tool).text().decode()
        (metric,) = re.findall(r"next_run_timestamp_seconds\{.*\} (.*)", text)
        (line,) = scoped.tables(Selection())
        listed = scoped.listing(Selection()).times.get("p")
        return {line.next_run, listed, dt.datetime.fromtimestamp(float(metric), dt.UTC)}

    (due,) = shown()
    assert due is not None
    db.time.moment = due - dt.timedelta(milliseconds=1)
    assert shown() == {due}
    assert db.tool.run_due(options=RunOptions(threads=False)) is None
    db.time.moment = due
    assert shown() == {due}
    assert "schedule_lag_seconds{" in RetentionCollector(db.tool).text().decode()
    assert db.tool.run_due(options=RunOptions(threads=False)) is not None
    (after,) = shown()
    assert after is not None
    assert after > due


def test_a_run_that_waits_for_its_delay_is_not_late(db: Database) -> None:
    """What begins later on purpose has no lag until it should have begun."""
    db.create("t", {"ts": TIME, "n": "TEXT"})
    db.policy("delete", "t", "1y", id="p", schedule="0 3 * * *", jitter="6h")
    times = db.tool.schedule.next_runs(["p"])
    for later, lag in ((-1, 0.0), (60, 60.0)):
        db.time.moment = times["p"] + dt.timedelta(seconds=later)
        assert re.findall(r"schedule_lag_seconds\{.*\} (.*)", RetentionCollector(db.tool).text().decode()) == [str(lag)]
