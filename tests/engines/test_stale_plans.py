"""
Law 8: no run carries out a plan that is older than what another run did to the same data in the meantime.
"""

from __future__ import annotations

import pytest

from cratedb_retention.clock import Actor, name_holder
from cratedb_retention.execution.plan.preparing import Prepared
from cratedb_retention.execution.runs.events import LeftOut, RunEvent
from cratedb_retention.execution.runs.leasing import LeaseHolder, new_session
from cratedb_retention.execution.runs.runner import carry_out
from cratedb_retention.model.runs import RunOptions
from support.databases import TIME, Database
from support.tiers import DECIDED

DAY = f"{TIME} GENERATED ALWAYS AS (date_trunc('day', ts))"
COLUMNS = {"ts": TIME, "n": "TEXT", "x": "DOUBLE PRECISION", "day": DAY}
TIMES = ("2024-06-10T10:10", "2024-06-10T11:00", "2024-06-11T23:59", "2024-07-01T09:00")
# The clock says 2 July 2024, 00:00.
ALONE = RunOptions(threads=False)


@pytest.fixture
def readings(db: Database) -> Database:
    """Rows of two days in June, and of yesterday."""
    db.create("readings", COLUMNS, by=["day"])
    db.insert("readings", [{"ts": at, "n": "a", "x": 2.0**i} for i, at in enumerate(TIMES)])
    return db


def kept(db: Database) -> tuple[int, float]:
    """How many raw rows are left, and what all rows add up to in the daily rollup."""
    db.refresh("readings_1d")
    return db.count("readings"), float(db.rows(f"SELECT sum(x_sum) FROM {db.q('readings_1d')}")[0][0])


def run_till_done(db: Database) -> None:
    """As many runs as it takes."""
    while db.run().done:
        pass


def test_rollups_survive_a_plan_of_yesterday(readings: Database) -> None:
    """A plan to roll up rows that another run has rolled up and deleted since would find none, and is not done."""
    readings.policy("downsample", "readings", "7d", levels="1h:forever,1d:forever")
    stale = readings.tool.prepare()
    assert stale.plan.tasks
    run_till_done(readings)
    assert kept(readings) == (1, 15)
    seen: list[RunEvent] = []
    report = readings.tool.run(stale, observers=[seen.append])
    assert (report.done, report.ok) == (0, True)
    assert sum(isinstance(event, LeftOut) for event in seen) == 1
    assert kept(readings) == (1, 15)


def test_a_stale_plan_is_made_anew(readings: Database) -> None:
    """Where a run makes its plan itself, and another run was at it meanwhile, it plans again."""
    readings.policy("downsample", "readings", "7d", levels="1h:forever,1d:forever")
    tool, plans = readings.tool, list[Prepared]()
    session = new_session(tool.store, tool.clock, tool.actor, ALONE)

    def make_plan() -> Prepared:
        plans.append(tool.prepare())
        if len(plans) == 1:
            run_till_done(readings)
        return plans[-1]

    report = carry_out(tool.engine, tool.store, tool.clock, session, make_plan)
    assert (report.done, report.deferred, report.ok, len(plans)) == (0, 0, True, 2)
    assert kept(readings) == (1, 15)


@DECIDED
def test_rows_stay_while_their_rollup_is_made(readings: Database) -> None:
    """Who deletes rows waits for a run of the policy that rolls them up, and leaves no trace on that policy."""
    cascade = readings.policy("downsample", "readings", "60d", levels="1h:forever,1d:forever")
    run_till_done(readings)
    readings.policy("delete", "readings", "7d")
    tool = readings.tool
    other = LeaseHolder(tool.store.leases, tool.clock, name_holder(Actor("other", "host")), "run-of-other")
    other.take({cascade.id or "": None})
    report = readings.run()
    assert (report.done, bool(report.deferred), report.ok) == (0, True, True)
    assert readings.count("readings") == 4
    other.release({})
    before = tool.store.leases.read().of(cascade.id or "")
    assert readings.run().ok
    assert kept(readings) == (1, 15)
    after = tool.store.leases.read().of(cascade.id or "")
    assert after.holder is None
    assert (after.outcome, after.finished_at) == (before.outcome, before.finished_at)


def test_what_was_created_since_the_plan_stays(readings: Database) -> None:
    """A table or view that a user creates under the name of a level or view is not written to by an older plan."""
    readings.policy("downsample", "readings", "7d", levels="1h:forever")
    prepared = readings.tool.prepare()
    readings.create("readings_1h", {"ts": TIME, "n": "TEXT"})
    readings.fill("readings_1h", ["2024-06-01"])
    report = readings.tool.run(prepared)
    assert (report.rows, report.failed, report.deferred > 0) == (0, 0, True)
    assert (readings.count("readings"), readings.left("readings_1h")) == (4, ["2024-06-01"])

    readings.sql(f"DROP TABLE {readings.q('readings_1h')}")
    prepared = readings.tool.prepare()
    readings.sql(f"CREATE VIEW {readings.q('readings_all')} AS SELECT 'mine' AS n")
    report = readings.tool.run(prepared)
    assert (report.done > 0, report.failed, report.deferred) == (True, 0, 1)
    assert [row[0] for row in readings.rows(f"SELECT n FROM {readings.q('readings_all')}")] == ["mine"]
