"""
The strategy ``downsample`` from policy to rows, on both engines: what is rolled up, what expires, and what waits
(laws 3 to 6).
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from cratedb_retention.engine.cratedb.engine import CrateDBEngine
from cratedb_retention.engine.duckdb.engine import DuckDBEngine
from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.execution.runs.events import RunEvent, StepFinished, StepProgressed, StepStarted
from cratedb_retention.model.plan.plan import DeleteRows, DropPartitions, Step
from cratedb_retention.model.query.reading import FetchRequest
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.rollups.rollup import RollUp, SealWindows
from cratedb_retention.model.runs import Report, RunOptions
from cratedb_retention.model.time import parse_instant, show, to_ms
from cratedb_retention.planning.plan import strategies
from support.databases import MONTH, TIME, CrateDatabase, Database
from support.tiers import DECIDED, others_on_duckdb

DAY = f"{TIME} GENERATED ALWAYS AS (date_trunc('day', ts))"
COLUMNS = {"ts": TIME, "n": "TEXT", "x": "DOUBLE PRECISION", "day": DAY}
LEVELS = "1h:30d,1d:forever"
# The clock says 2 July 2024, 00:00.
TODAY = "2024-07-02T00:00:00+00:00"


def fill(db: Database, times: list[str], name: str = "readings", first: int = 0) -> None:
    """One row for each time; the values are powers of two, so that each sum says which rows are in it."""
    rows = [{"ts": at, "n": None if i % 3 == 1 else "a", "x": 2.0 ** (first + i)} for i, at in enumerate(times)]
    db.insert(name, rows)


def total(db: Database, name: str, what: str = "sum(x_sum)") -> float:
    """A sum over a level or the view."""
    if not name.endswith("_all"):
        db.refresh(name)
    return float(db.rows(f"SELECT {what} FROM {db.q(name)}")[0][0] or 0)


def steps(db: Database) -> list[str]:
    """The kinds of steps that a run would do."""
    return [type(step).__name__ for task in db.tool.plan().tasks for step in task.steps]


def fill_a_changed_month(db: Database) -> None:
    """Two days of May that are rolled up by month, and a row that came to the first since; and a day of July."""
    db.create("readings", COLUMNS, by=["day"])
    fill(db, ["2024-05-10T10:10", "2024-05-11T11:00", "2024-07-01T09:00"])
    db.policy("downsample", "readings", "90d", levels="1mo:forever")
    run(db)
    fill(db, ["2024-05-10T12:00"], first=3)


def holds(db: Database) -> list[str]:
    """Why something waits."""
    return [hold.reason for hold in db.tool.plan().blocked]


@pytest.fixture
def readings(db: Database) -> Database:
    """Rows of a day in May, three in June, and of yesterday; May is older than the hours are kept."""
    db.create("readings", COLUMNS, by=["day"])
    days = ["2024-05-10T10:10", "2024-05-10T10:50", "2024-06-10T11:00", "2024-06-24T23:59", "2024-06-25T00:00"]
    fill(db, [*days, "2024-07-01T09:00"])
    return db


def run(db: Database, times: int = 1) -> Report:
    """Run, all of which must go well."""
    reports = [db.run() for _ in range(times)]
    assert all(report.ok for report in reports), [row["error"] for row in db.journal() if row["error"]]
    return reports[-1]


def test_rolls_up_and_expires(readings: Database) -> None:
    """Rows are rolled up into each level, and each table keeps what its own period says; the view shows all of it."""
    readings.policy("downsample", "readings", "7d", levels=LEVELS)
    run(readings)
    assert (total(readings, "readings_1h"), total(readings, "readings_1d")) == (63, 63)
    run(readings)
    assert readings.rows(f"SELECT count(*), sum(x) FROM {readings.q('readings')}")[0] in ([2, 48.0], (2, 48.0))
    assert total(readings, "readings_1h") == 63 - 3
    assert total(readings, "readings_1d") == 63
    assert total(readings, "readings_all") == 63
    assert total(readings, "readings_all", "sum(row_count)") == 6
    assert steps(readings) == []
    assert readings.run().done == 0


@DECIDED
def test_what_was_held_expires_later(readings: Database) -> None:
    """A level that loses its oldest rows last, since they were held, is not taken for complete from then on."""
    days: dict[str, Any] = {
        "start": parse_instant("2024-05-01"),
        "end": parse_instant("2024-07-02"),
        "step": parse_interval("1d"),
    }
    request = FetchRequest(table_name="readings", table_schema=readings.schema, metrics=("row_count",), **days)
    fill(readings, ["2024-05-20T10:00"], first=6)
    readings.policy("downsample", "readings", "7d", levels="1h:30d")
    run(readings)
    hold = readings.tool.hold("readings_1h", readings.schema, end=parse_instant("2024-05-13"))
    run(readings)
    assert total(readings, "readings_1h") == 127 - 64
    gaps = readings.tool.fetch(request).gaps
    assert [show(end) for _, end in gaps] == ["2024-05-27"]
    readings.tool.release(hold.id)
    run(readings)
    assert total(readings, "readings_1h") == 127 - 64 - 3
    assert readings.tool.fetch(request).gaps == gaps


def test_what_goes_is_frozen_before_it_is_compared(crate: CrateDatabase) -> None:
    """On CrateDB nothing can be written to raw rows between the comparison with their rollup and the drop."""
    crate.create("readings", COLUMNS, by=["day"])
    fill(crate, ["2024-05-10T10:10", "2024-07-01T09:00"])
    crate.policy("downsample", "readings", "7d", levels="1d:forever")
    assert "FreezePartitions SealWindows DropPartitions" in " ".join(steps(crate))


def test_late_rows_before_expiry(readings: Database) -> None:
    """A row that comes late, a change and a deletion that counts are followed, as long as the day is there."""
    readings.policy("downsample", "readings", "60d", levels="1h:60d,1d:forever", deletions="follow")
    run(readings)
    fill(readings, ["2024-06-10T12:00"], first=10)
    readings.sql(f"UPDATE {readings.q('readings')} SET x = 100 WHERE x = 8")
    readings.refresh("readings")
    readings.sql(f"DELETE FROM {readings.q('readings')} WHERE x = 2")
    readings.refresh("readings")
    run(readings)
    expected = 63 + 1024 - 8 + 100 - 2
    assert [total(readings, name) for name in ("readings_1h", "readings_1d", "readings_all")] == [expected] * 3
    assert total(readings, "readings_1d", "count(*)") == 5
    assert steps(readings) == []


@DECIDED
def test_late_rows_after_expiry_stay(readings: Database) -> None:
    """What comes after its day was rolled up and expired changes no rollup; it stays in the table, and is reported."""
    readings.policy("downsample", "readings", "7d", levels=LEVELS)
    run(readings, 2)
    fill(readings, ["2024-06-10T12:00"], first=10)
    run(readings)
    assert total(readings, "readings_1d") == 63
    assert readings.count("readings") == 3
    (reason,) = holds(readings)
    assert reason == "1 late row; kept, as the policy states (late: keep)"


def test_empty_partition_of_a_sealed_day(crate: CrateDatabase) -> None:
    """
    A late row that was deleted again leaves an empty partition, which is dropped with the others that are due. A late
    row that is not visible yet is not dropped with it.
    """
    crate.create("readings", COLUMNS, by=["day"])
    fill(crate, ["2024-06-10T11:00", "2024-06-24T10:00", "2024-07-01T09:00"])
    crate.sql(f"ALTER TABLE {crate.q('readings')} SET (refresh_interval = 0)")
    crate.policy("downsample", "readings", "7d", levels=LEVELS)
    run(crate)
    assert crate.count("readings") == 1
    fill(crate, ["2024-06-10T12:00", "2024-06-23T11:00"], first=10)
    crate.sql(f"DELETE FROM {crate.q('readings')} WHERE x = 1024")
    crate.refresh("readings")
    assert len(crate.partitions("readings")) == 3
    prepared = crate.tool.prepare()
    assert [report.deferred for report in (crate.tool.run(prepared), run(crate))] == [0, 0]
    assert (crate.count("readings"), len(crate.partitions("readings"))) == (1, 1)
    fill(crate, ["2024-06-10T12:00"], first=11)
    crate.sql(f"DELETE FROM {crate.q('readings')} WHERE x = 2048")
    crate.refresh("readings")
    prepared = crate.tool.prepare()
    crate.sql(f"INSERT INTO {crate.q('readings')} (ts, n, x) VALUES ('2024-06-10T13:00', 'a', 4096)")
    report = crate.tool.run(prepared)
    assert (report.ok, report.deferred, crate.count("readings")) == (True, 1, 2)
    assert holds(crate) == ["1 late row; kept, as the policy states (late: keep)"]


def test_rows_that_are_not_visible_yet(crate: CrateDatabase) -> None:
    """A partition of which no row is visible yet is not empty: it is rolled up before it is dropped."""
    crate.create("readings", COLUMNS, by=["day"])
    fill(crate, ["2024-07-01T09:00"])
    crate.sql(f"ALTER TABLE {crate.q('readings')} SET (refresh_interval = 0)")
    crate.policy("downsample", "readings", "7d", levels=LEVELS)
    run(crate)
    crate.sql(f"INSERT INTO {crate.q('readings')} (ts, n, x) VALUES ('2024-06-10T13:00', 'a', 1024)")
    assert (len(crate.partitions("readings")), crate.rows(f"SELECT count(*) FROM {crate.q('readings')}")[0][0]) == (
        2,
        1,
    )
    run(crate)
    assert (len(crate.partitions("readings")), total(crate, "readings_1h")) == (1, 1 + 1024)


@DECIDED
def test_late_rows_after_expiry_go(readings: Database) -> None:
    """Where the policy says so, they are dropped; the journal tells how many."""
    readings.policy("downsample", "readings", "7d", levels=LEVELS, late="drop")
    run(readings, 2)
    fill(readings, ["2024-06-10T12:00"], first=10)
    report = run(readings)
    assert (report.partitions, report.rows, readings.count("readings")) == (1, 1, 2)
    assert total(readings, "readings_1d") == 63
    assert steps(readings) == []


def test_written_after_it_was_rolled_up(readings: Database) -> None:
    """A row that is written between rolling up and expiring is not lost: its day stays, and the next run takes it."""
    readings.policy("downsample", "readings", "7d", levels=LEVELS)

    written: list[RunEvent] = []

    def once(event: RunEvent) -> None:
        if isinstance(event, StepFinished) and isinstance(event.step, RollUp) and event.step.rollup.interval.unit:
            written.append(event)
            fill(readings, ["2024-06-10T12:00"], first=10)

    report = readings.tool.run(observers=[once])
    assert (report.ok, report.deferred, len(written)) == (True, 1, 1)
    assert readings.count("readings", "x = 1024") == 1
    run(readings, 2)
    assert total(readings, "readings_1d") == 63 + 1024
    assert readings.count("readings") == 2


def test_one_of_several_partitions_was_written_to(db: Database) -> None:
    """The same where a window consists of several days, of which the others are what was rolled up."""
    db.create("readings", COLUMNS, by=["day"])
    fill(db, ["2024-06-11T10:00", "2024-06-12T10:00", "2024-07-01T09:00"])
    db.policy("downsample", "readings", "7d", levels="1w:forever")
    written: list[RunEvent] = []

    def once(event: RunEvent) -> None:
        if isinstance(event, StepFinished) and isinstance(event.step, RollUp):
            written.append(event)
            fill(db, ["2024-06-12T11:00"], first=10)

    report = db.tool.run(observers=[once])
    assert (report.ok, report.deferred, len(written), db.count("readings")) == (True, 1, 1, 4)
    run(db, 2)
    assert (db.count("readings"), total(db, "readings_1w"), total(db, "readings_all")) == (1, 3 + 1024, 7 + 1024)


@pytest.fixture
def sealed_week(db: Database) -> Database:
    """A week of which a day is gone, and another one was held until now."""
    db.create("readings", COLUMNS, by=["day"])
    fill(db, ["2024-06-11T10:00", "2024-06-12T10:00", "2024-07-01T09:00"])
    hold = db.tool.hold("readings", db.schema, start=parse_instant("2024-06-12"), end=parse_instant("2024-06-13"))
    db.policy("downsample", "readings", "7d", levels="1w:forever", late="drop")
    run(db, 2)
    assert (db.count("readings"), db.count("readings", "x = 2")) == (2, 1)
    db.tool.release(hold.id)
    return db


def test_rest_of_a_sealed_window_was_written_to(sealed_week: Database) -> None:
    """What is left of a window that is sealed already is looked at right before it goes, like any other."""
    prepared = sealed_week.tool.prepare()
    fill(sealed_week, ["2024-06-12T11:00"], first=10)
    report = sealed_week.tool.run(prepared)
    assert (report.ok, report.deferred, sealed_week.count("readings")) == (True, 1, 3)


def test_late_and_on_time_in_one_window(sealed_week: Database) -> None:
    """A day that came too late and is dropped does not stop another one of its week, which is what was rolled up."""
    fill(sealed_week, ["2024-06-11T11:00"], first=10)
    report = run(sealed_week)
    assert (report.deferred, sealed_week.count("readings"), total(sealed_week, "readings_1w")) == (0, 1, 3)


def test_delete_waits_for_the_rollup(readings: Database) -> None:
    """Another policy's expiry waits until the rows are rolled up, whoever is due first (law 3)."""
    down = readings.policy("downsample", "readings", "60d", levels="1h:60d,1d:forever")
    delete = readings.policy("delete", "readings", "7d")
    alone = readings.tool.run(selection=Selection(policy_id=delete.id))
    assert (alone.ok, alone.partitions, readings.count("readings")) == (True, 0, 6)
    assert any("not rolled up into" in row["error"] for row in readings.journal(event="blocked"))
    report = run(readings)
    assert (report.partitions, readings.count("readings")) == (3, 2)
    assert down.id != delete.id
    assert total(readings, "readings_1d") == 63


@DECIDED
def test_a_lease_that_is_held_aside_is_no_run(readings: Database) -> None:
    """Whose rollups another policy's run seals was not run: when it ended last, and how, stays as it was."""
    down = readings.policy("downsample", "readings", "60d", levels="1h:60d,1d:forever").id or ""
    run(readings)
    before = readings.tool.store.leases.read().of(down)
    delete = readings.policy("delete", "readings", "7d").id or ""
    readings.time.moment += dt.timedelta(hours=1)
    other = readings.tool.schedule.session(RunOptions()).leases
    other.take({down: None})
    assert readings.tool.run(selection=Selection(policy_id=delete)).deferred == 1
    (deferred,) = readings.journal(event="blocked", outcome="deferred")
    assert deferred["error"] == f"policy {down}, which rolls up the table, is locked by {other.holder}"
    other.release({})
    assert readings.tool.run(selection=Selection(policy_id=delete)).partitions == 3
    after = readings.tool.store.leases.read()
    assert after.of(delete).outcome == "done"
    assert (after.of(down).finished_at, after.of(down).outcome) == (before.finished_at, "done")
    assert after.of(down).succeeded_at == before.succeeded_at
    assert after.of(down).is_free(after.now)


def test_delete_waits_for_what_was_written_since(readings: Database) -> None:
    """A plan without the policy that rolls up leaves alone what was written to since, and says why."""
    readings.policy("downsample", "readings", "60d", levels="1h:60d,1d:forever")
    run(readings)
    fill(readings, ["2024-06-10T11:30"], first=6)
    delete = readings.policy("delete", "readings", "7d")
    plan = readings.tool.plan(selection=Selection(policy_id=delete.id))
    partitions = [len(step.pieces) for task in plan.tasks for step in task.steps if isinstance(step, DropPartitions)]
    assert partitions == [2]
    (reason,) = [hold.reason for hold in plan.blocked]
    assert "not rolled up into" in reason
    assert "is not part of this run" in reason


@DECIDED
def test_delete_leaves_the_rest_of_a_changed_window(db: Database) -> None:
    """Where one day of a month was written to, no day of it goes before the month is computed again from all."""
    fill_a_changed_month(db)
    delete = db.policy("delete", "readings", "7d")
    db.tool.run(selection=Selection(policy_id=delete.id))
    assert db.count("readings") == 4
    run(db)
    assert (db.count("readings"), total(db, "readings_1mo")) == (1, 1 + 2 + 8)


def test_closed_partition_waits_for_the_rollup(crate: CrateDatabase) -> None:
    """A closed partition hides its rows: it stays until it is opened and rolled up, and is a problem until then."""
    crate.create("readings", COLUMNS, by=["day"])
    fill(crate, ["2024-05-10T10:10", "2024-06-10T11:00", "2024-07-01T09:00"])
    crate.policy("downsample", "readings", "7d", levels="1d:forever")
    closed = f"ALTER TABLE {crate.q('readings')} PARTITION (day = '2024-05-10')"
    crate.sql(f"{closed} CLOSE")
    for _ in range(2):
        report = crate.run()
        assert (report.failed, report.needs_attention) == (0, 1)
    assert "a partition is closed" in crate.tool.plan().needs_attention[0].reason
    assert len(crate.partitions("readings")) == 2
    crate.sql(f"{closed} OPEN")
    run(crate, times=2)
    assert len(crate.partitions("readings")) == 1
    assert total(crate, "readings_1d") == 7


def test_what_can_not_be_rolled_up_again_stays(crate: CrateDatabase) -> None:
    """A partition that was written to stays while its window can't be computed, since another one of it is closed."""
    fill_a_changed_month(crate)
    closed = f"ALTER TABLE {crate.q('readings')} PARTITION (day = '2024-05-11')"
    crate.sql(f"{closed} CLOSE")
    crate.policy("delete", "readings", "7d")
    plan = crate.tool.plan()
    steps = [step for task in plan.tasks for step in task.steps if isinstance(step, DropPartitions)]
    assert to_ms(parse_instant("2024-05-10")) not in [piece.start for step in steps for piece in step.pieces]
    assert any("not rolled up into" in hold.reason and "is closed" in hold.reason for hold in plan.blocked)
    crate.sql(f"{closed} OPEN")
    run(crate, times=2)
    assert (crate.count("readings"), total(crate, "readings_1mo")) == (1, 1 + 2 + 8)


@DECIDED
def test_archive_waits_for_the_rollup(readings: Database) -> None:
    """A snapshot's partition is dropped after it is archived and rolled up."""
    readings.policy("downsample", "readings", "60d", levels="1h:60d,1d:forever")
    readings.policy("snapshot", "readings", "7d", target_repository_name=readings.repository)
    report = run(readings)
    assert (report.partitions, readings.count("readings")) == (3, 2)
    assert total(readings, "readings_1d") == 63
    assert [v.error for v in readings.tool.verify_snapshots()] == [None] * 3


@DECIDED
def test_what_is_restored_is_not_counted_twice(readings: Database) -> None:
    """A restored day is on hold; once released it counts as late, and never goes into the rollups again."""
    from cratedb_retention.execution.archive import RestoreRequest

    readings.policy("downsample", "readings", "60d", levels="1h:60d,1d:forever")
    readings.policy("snapshot", "readings", "7d", target_repository_name=readings.repository)
    run(readings, 2)
    (*_, restored) = readings.tool.restore(RestoreRequest(table_name="readings"))
    assert restored.error is None
    run(readings)
    assert total(readings, "readings_1d") == 63
    for hold in readings.tool.holds():
        readings.tool.release(hold.id)
    run(readings)
    assert total(readings, "readings_1d") == 63


def test_table_without_partitions(db: Database) -> None:
    """Rows of a plain table are rolled up by windows and deleted by whole ones."""
    db.create("plain", {"ts": TIME, "n": "TEXT", "x": "DOUBLE PRECISION"})
    fill(
        db,
        ["2024-05-10T10:10", "2024-05-10T10:50", "2024-06-24T23:59", "2024-06-25T00:00", "2024-07-01T09:00"],
        "plain",
    )
    db.policy("downsample", "plain", "7d", levels="1m:30d,1h:forever")
    run(db, 2)
    assert db.count("plain") == 2
    assert [total(db, name) for name in ("plain_1h", "plain_all")] == [31, 31]
    assert total(db, "plain_1m") == 31 - 3
    assert steps(db) == []
    fill(db, ["2024-06-24T10:00"], "plain", first=10)
    run(db)
    assert (db.count("plain"), total(db, "plain_1h")) == (3, 31)
    assert "late row; kept" in holds(db)[0]
    fill(db, ["2024-07-01T10:00"], "plain", first=11)
    run(db)
    assert total(db, "plain_1h") == 31 + 2048


def test_windows_of_a_plain_table_are_days_of_the_time_zone(db: Database) -> None:
    """Where a window lasts until midnight in Vienna, its rows stay until all of them are expired, and go then."""
    db.create("plain", {"ts": TIME, "n": "TEXT", "x": "DOUBLE PRECISION"})
    times = ["2024-06-24T21:59", "2024-06-24T22:00", "2024-06-24T23:59", "2024-06-25T10:00"]
    fill(db, times, "plain")
    db.policy("downsample", "plain", "7d", levels="1m:90d,1h:forever", time_zone="Europe/Vienna")
    run(db, 2)
    assert db.count("plain") == 3
    assert db.count("plain", "ts < '2024-06-24T22:00:00Z'") == 0
    assert [total(db, name) for name in ("plain_1m", "plain_all")] == [15, 15]


@DECIDED
def test_windows_of_a_plain_table_end_where_clocks_change(db: Database) -> None:
    """The day on which summer time begins has 23 hours, and its rows go when these are expired."""
    db.create("plain", {"ts": TIME, "n": "TEXT", "x": "DOUBLE PRECISION"})
    fill(db, ["2024-03-31T21:59", "2024-03-31T22:00"], "plain")
    db.policy("downsample", "plain", "7d", levels="1m:90d,1h:forever", time_zone="Europe/Vienna")
    db.time.set("2024-04-07T22:30:00+00:00")
    for _ in range(2):
        assert db.tool.run().ok
    assert (db.count("plain"), db.count("plain", "ts < '2024-03-31T22:00:00Z'")) == (1, 0)
    assert db.count("rollup_ledger", "\"end\" = '2024-03-31T22:00:00Z'", schema=db.own_schema) > 0
    assert [total(db, name) for name in ("plain_1m", "plain_all")] == [3, 3]


@DECIDED
def test_the_last_expired_window_of_a_plain_table_west_of_utc(db: Database) -> None:
    """The day that the expiry limit lies in stays whole, also where that day began before it did in UTC."""
    db.create("plain", {"ts": TIME, "n": "TEXT", "x": "DOUBLE PRECISION"})
    fill(db, ["2024-06-09T03:59", "2024-06-09T04:00", "2024-06-10T03:59"], "plain")
    db.policy("downsample", "plain", "7d", levels="1m:90d,1h:forever", time_zone="America/New_York")
    db.time.set("2024-06-17T02:00:00+00:00")
    for _ in range(2):
        assert db.tool.run().ok
    assert (db.count("plain"), db.count("plain", "ts < '2024-06-09T04:00:00Z'")) == (2, 0)


@pytest.fixture
def plain(db: Database) -> Database:
    """A table without partitions, with expired rows of three days and young ones of two, and a policy for it."""
    db.create("plain", {"ts": TIME, "n": "TEXT", "x": "DOUBLE PRECISION"})
    days = ["2024-05-10T10:10", "2024-05-11T10:50", "2024-06-24T23:59", "2024-06-25T00:00", "2024-07-01T09:00"]
    fill(db, days, "plain")
    db.policy("downsample", "plain", "7d", levels="1m:90d,1h:forever")
    return db


def late_at(
    db: Database, kind: type[Step], time: str, moment: type[StepStarted | StepProgressed] = StepStarted
) -> Report:
    """Run, and write a row when the first step of a kind is about to begin, or has done a part of its work."""
    written: list[RunEvent] = []

    def once(event: RunEvent) -> None:
        if isinstance(event, moment) and isinstance(event.step, kind) and not written:
            written.append(event)
            fill(db, [time], "plain", first=10)

    report = db.tool.run(observers=[once])
    assert (report.ok, len(written)) == (True, 1)
    return report


@DECIDED
def test_row_between_windows_that_are_deleted(plain: Database) -> None:
    """A row of a day without rows, written right before the deletion of all around it, is rolled up before it goes."""
    report = late_at(plain, DeleteRows, "2024-06-20T10:00")
    assert (report.deferred, plain.count("plain")) == (1, 6)
    assert any(
        "1 row arrived after the others were rolled up" in row["error"] for row in plain.journal(outcome="deferred")
    )
    run(plain, 2)
    assert (plain.count("plain"), total(plain, "plain_1h")) == (2, 31 + 1024)
    assert holds(plain) == []


@DECIDED
def test_row_between_batches(plain: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where the row is written when a part of the others is deleted already."""
    for engine in (CrateDBEngine, DuckDBEngine):
        monkeypatch.setattr(engine, "batch", 2)
    report = late_at(plain, DeleteRows, "2024-06-20T10:00", StepProgressed)
    assert (report.deferred, plain.count("plain")) == (1, 4)
    run(plain, 2)
    assert (plain.count("plain"), total(plain, "plain_1h")) == (2, 31 + 1024)


@DECIDED
def test_row_between_windows_that_are_sealed(plain: Database) -> None:
    """The same a moment earlier: then no window is sealed either."""
    report = late_at(plain, SealWindows, "2024-06-20T10:00")
    plain.refresh("rollup_ledger", plain.own_schema)
    sealed = f"SELECT count(*) FROM {plain.q('rollup_ledger', plain.own_schema)} WHERE sealed_at IS NOT NULL"
    assert (report.deferred, plain.count("plain"), plain.rows(sealed)[0][0]) == (1, 6, 0)
    run(plain, 2)
    assert (plain.count("plain"), total(plain, "plain_1h")) == (2, 31 + 1024)


@DECIDED
def test_row_in_a_window_that_is_deleted(plain: Database) -> None:
    """A row of a day that is sealed already is late: it stays, and is reported, whatever else goes."""
    report = late_at(plain, DeleteRows, "2024-06-24T10:00")
    assert (report.deferred, plain.count("plain")) == (1, 6)
    run(plain, 2)
    assert (plain.count("plain", "x = 1024"), plain.count("plain"), total(plain, "plain_1h")) == (1, 4, 31)
    assert holds(plain) == ["1 late row; kept, as the policy states (late: keep)"]
    assert steps(plain) == []


def test_row_while_earlier_ones_are_deleted(plain: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows are compared with their rollup right before they go, not when the first of many goes."""
    monkeypatch.setattr(strategies, "ROWS_AT_ONCE", 1)
    written: list[RunEvent] = []

    def once(event: RunEvent) -> None:
        if isinstance(event, StepFinished) and isinstance(event.step, DeleteRows) and not written:
            written.append(event)
            fill(plain, ["2024-06-24T10:00"], "plain", first=10)

    report = plain.tool.run(observers=[once])
    assert (report.ok, report.deferred, plain.count("plain")) == (True, 1, 4)
    run(plain, 2)
    assert (plain.count("plain"), total(plain, "plain_1h")) == (2, 31 + 1024)


@DECIDED
@pytest.mark.parametrize(
    ("where", "day", "x"), [({"n": "a"}, "2024-05-10", 1), *others_on_duckdb(({}, "2024-05-11", 2))]
)
def test_hold_on_a_plain_table(plain: Database, where: dict[str, Any], day: str, x: int) -> None:
    """Windows that a hold reaches into stay as a whole, and go when it is released; those around them go before."""
    start = parse_instant(day)
    hold = plain.tool.hold("plain", plain.schema, where=where, start=start, end=start + dt.timedelta(days=1))
    run(plain, 2)
    assert (plain.count("plain"), plain.count("plain", f"x = {x}")) == (3, 1)
    assert steps(plain) == []
    assert holds(plain)[0].startswith(f"1 row, in whole windows of the rollup: legal hold {hold.id[:8]}")
    plain.tool.release(hold.id)
    run(plain)
    assert (plain.count("plain"), total(plain, "plain_1h"), holds(plain), steps(plain)) == (2, 31, [], [])


@DECIDED
def test_late_rows_between_windows(plain: Database) -> None:
    """Rows that are kept since they are late keep nothing else: neither what is before them nor what is after."""
    run(plain, 2)
    fill(plain, ["2024-05-09T10:00", "2024-05-11T11:00", "2024-05-12T10:00"], "plain", first=10)
    report = run(plain, 2)
    assert (report.deferred, plain.count("plain"), plain.count("plain", "x = 2048")) == (0, 3, 1)
    assert total(plain, "plain_1h") == 31 + 1024 + 4096


@DECIDED
def test_delete_of_rows_waits_for_the_rollup(db: Database) -> None:
    """Another policy's expiry of rows ends at the first window that was written to since it was rolled up (law 3)."""
    db.create("plain", {"ts": TIME, "n": "TEXT", "x": "DOUBLE PRECISION"})
    fill(db, ["2024-06-10T10:10", "2024-06-11T10:50", "2024-06-12T23:59", "2024-07-01T09:00"], "plain")
    db.policy("downsample", "plain", "60d", levels="1m:90d,1h:forever")
    run(db)
    fill(db, ["2024-06-11T11:30"], "plain", first=4)
    alone = Selection(policy_id=db.policy("delete", "plain", "7d").id)
    report = db.tool.run(selection=alone)
    assert (report.ok, report.deferred, db.count("plain"), db.count("plain", "x = 1")) == (True, 0, 4, 0)
    assert any("is not part of this run" in hold.reason for hold in db.tool.plan(selection=alone).blocked)
    run(db)
    assert (db.count("plain"), total(db, "plain_1h")) == (1, 31)


@DECIDED
def test_what_is_held_is_said_beyond_the_limit(plain: Database) -> None:
    """Where the rest is beyond a limit, what is held for another reason is said as well."""
    (stored,) = plain.tool.policies()
    plain.tool.edit_policy(stored.policy.id or "", {"expected_max": {"rows": 1}})
    plain.tool.hold("plain", plain.schema, where={"n": "a"}, end=parse_instant("2024-05-11"))
    held, beyond = holds(plain)
    assert held.startswith("1 row, in whole windows of the rollup: legal hold")
    assert beyond.startswith("2 rows are due, but expected_max.rows is 1")


def test_killed_before_it_is_noted(plain: Database) -> None:
    """Rows are gone and that is not noted: the next run does it, so that a late row is told from them (law 7)."""
    run(plain, 2)
    ledger = plain.q("rollup_ledger", plain.own_schema)
    plain.sql(f"UPDATE {ledger} SET expired_at = NULL")
    plain.refresh("rollup_ledger", plain.own_schema)
    assert steps(plain) == ["SealWindows", "DeleteRows"]
    run(plain)
    assert steps(plain) == []
    fill(plain, ["2024-06-24T10:00"], "plain", first=10)
    run(plain)
    assert (plain.count("plain"), total(plain, "plain_1h")) == (3, 31)
    assert "late row; kept" in holds(plain)[0]


@pytest.mark.parametrize("late", ["2024-06-30T12:00", *others_on_duckdb("2024-06-29T12:00")])
@DECIDED
def test_a_window_expires_as_a_whole(db: Database, late: str) -> None:
    """Days of a week that is summarized as such go together: what comes in time for one of them gets into the week."""
    db.create("readings", COLUMNS, by=["day"])
    fill(db, ["2024-06-23T10:00", "2024-06-24T10:00", "2024-06-29T10:00"])
    db.policy("downsample", "readings", "3d", levels="1w:forever", late="drop")
    run(db, 2)
    assert (db.count("readings"), db.count("readings", "x > 1")) == (2, 2)
    assert holds(db) == [f"its window in {db.table('readings_1w')} lasts until 2024-07-01, and expires as a whole"]
    fill(db, [late], first=3)
    run(db)
    assert (total(db, "readings_1w"), total(db, "readings_all")) == (15, 15)
    db.time.set("2024-07-04T00:00:00+00:00")
    run(db)
    assert (db.count("readings"), holds(db), steps(db)) == (0, [], [])
    assert (total(db, "readings_1w"), total(db, "readings_all")) == (15, 15)


@DECIDED
@pytest.mark.parametrize(
    ("days", "why"),
    [
        (["2024-06-24T10:00", "2024-06-29T10:00"], "still has the rows that it was computed from"),
        (["2024-06-24T10:00", "2024-06-24T11:00"], "may still receive rows for its time range"),
    ],
)
def test_a_level_waits_for_the_rest_of_a_window(db: Database, days: list[str], why: str) -> None:
    """Hours go when nothing can come to their week any more that is in time, and not before."""
    db.create("readings", COLUMNS, by=["day"])
    fill(db, days)
    db.policy("downsample", "readings", "3d", levels="1h:4d,1w:forever", late="drop")
    run(db, 2)
    hours = [total(db, "readings_1h")]
    assert f"{db.table('readings')} {why}" in holds(db)
    fill(db, ["2024-06-29T12:00"], first=2)
    run(db, 2)
    hours.append(total(db, "readings_1h"))
    assert (hours, total(db, "readings_1w"), total(db, "readings_all")) == ([3, 7], 7, 7)
    db.time.set("2024-07-06T00:00:00+00:00")
    run(db, 2)
    assert (db.count("readings"), total(db, "readings_1h"), holds(db), steps(db)) == (0, 0, [], [])
    assert (total(db, "readings_1w"), total(db, "readings_all")) == (7, 7)


@DECIDED
def test_distributions_expire_with_their_level(db: Database) -> None:
    """What percentiles are computed from waits for the level above, and goes when the level beside it goes."""
    db.create("readings", COLUMNS, by=["day"])
    fill(db, ["2024-06-24T10:00", "2024-06-29T10:00"])
    db.policy("downsample", "readings", "3d", levels="1h:4d,1w:forever", aggregates={"*": ["sum", "percentiles"]})
    run(db, 2)
    assert (db.count("readings_1h"), db.count("readings_1h_sketch")) == (2, 2)
    db.time.set("2024-07-06T00:00:00+00:00")
    run(db, 2)
    assert [db.count(f"readings_{name}") for name in ("1h", "1h_sketch", "1w", "1w_sketch")] == [0, 0, 2, 2]


def test_distributions_of_held_rows_stay(db: Database) -> None:
    """As long as a hold keeps the raw rows, a level could be computed again: neither of its tables expires."""
    db.create("readings", COLUMNS, by=["day"])
    fill(db, ["2024-06-24T10:00", "2024-06-25T10:00"])
    db.tool.hold("readings", db.schema)
    db.policy("downsample", "readings", "3d", levels="1h:4d", aggregates={"*": ["sum", "percentiles"]})
    run(db, 2)
    assert (db.count("readings_1h"), db.count("readings_1h_sketch")) == (2, 2)


@DECIDED
def test_months_and_a_time_zone(db: Database) -> None:
    """Monthly partitions and days of Vienna: each row is in the day that a clock there shows."""
    db.create("monthly", {"ts": TIME, "n": "TEXT", "x": "DOUBLE PRECISION", "month": MONTH}, by=["month"])
    fill(
        db,
        ["2024-03-30T22:59", "2024-03-30T23:00", "2024-03-31T21:59", "2024-03-31T22:00", "2024-06-30T22:30"],
        "monthly",
    )
    db.policy("downsample", "monthly", "7d", levels="1h:1y,1d:forever", time_zone="Europe/Vienna")
    run(db, 2)
    query = f"SELECT x_sum FROM {db.q('monthly_1d')} WHERE n IS NOT NULL OR n IS NULL ORDER BY ts, x_sum"
    db.refresh("monthly_1d")
    # 31 March has 23 hours, and holds the second and the third row.
    assert sorted(float(row[0]) for row in db.rows(query)) == [1, 2, 4, 8, 16]
    days = db.rows(f"SELECT ts, sum(row_count) FROM {db.q('monthly_1d')} GROUP BY ts ORDER BY ts")
    assert [int(row[1]) for row in days] == [1, 2, 1, 1]
    assert total(db, "monthly_all") == 31
    assert steps(db) == []


@DECIDED
def test_new_metric_from_then_on(readings: Database) -> None:
    """A column that the table gets later is in the rollups from then on."""
    if readings.product == "CrateDB":
        readings.sql(f"ALTER TABLE {readings.q('readings')} ADD COLUMN y BIGINT")
        readings.policy("downsample", "readings", "60d", levels=LEVELS.replace("30d", "60d"), metrics=["x"])
        run(readings)
        (stored,) = readings.tool.policies()
        readings.tool.edit_policy(stored.policy.id or "", {"metrics": ["x", "y"]})
    else:
        readings.policy("downsample", "readings", "60d", levels=LEVELS.replace("30d", "60d"), metrics=["x"])
        run(readings)
        # A generated column keeps DuckDB from adding another one: the table is made anew.
        readings.sql(
            f"CREATE TABLE lab.other AS SELECT ts, n, x, CAST(NULL AS BIGINT) AS y FROM {readings.q('readings')}"
        )
        readings.sql(f"DROP VIEW {readings.q('readings_all')}")
        readings.sql(f"DROP TABLE {readings.q('readings')}")
        readings.create("readings", {**COLUMNS, "y": "BIGINT"}, by=["day"])
        readings.sql(f"INSERT INTO {readings.q('readings')} (ts, n, x, y) SELECT ts, n, x, y FROM lab.other")
        readings.tool.accept_tables("readings", readings.schema)
        (stored,) = readings.tool.policies()
        readings.tool.edit_policy(stored.policy.id or "", {"metrics": ["x", "y"]})
    readings.insert("readings", [{"ts": "2024-07-01T10:00", "n": "a", "x": 64.0, "y": 5}])
    run(readings, 2)
    assert total(readings, "readings_1d") == 127
    assert total(readings, "readings_1d", "sum(y_sum)") == 5
    assert total(readings, "readings_1h", "max(y_max)") == 5
    assert steps(readings) == []


@DECIDED
def test_added_and_removed_levels(readings: Database) -> None:
    """A level that is added is filled from what is there; one that is removed stays as a table, and nothing is lost."""
    readings.policy("downsample", "readings", "7d", levels="1h:30d,1d:forever")
    run(readings, 2)
    (stored,) = readings.tool.policies()
    readings.tool.edit_policy(stored.policy.id or "", {"levels": "1h:30d,6h:60d,1d:forever"})
    run(readings, 2)
    # The day in May is gone from the hours, so that only the days have it.
    assert total(readings, "readings_6h") == 60
    assert total(readings, "readings_1d") == 63
    readings.tool.edit_policy(stored.policy.id or "", {"levels": "1d:forever"})
    fill(readings, ["2024-07-01T10:00"], first=6)
    run(readings, 2)
    assert total(readings, "readings_1d") == 127
    assert readings.exists("readings_6h")
    assert steps(readings) == []
    # Nothing computes the others any more; without a policy, what is there is read.
    assert levels_read(readings) == ["1d"]
    readings.tool.delete_policy(stored.policy.id or "")
    assert levels_read(readings) == ["1h", "6h", "1d"]


def levels_read(db: Database) -> list[str]:
    """The levels that an answer may come from."""
    found = db.tool.rollups.cascade("readings", db.schema)
    return [str(holding.rollup.interval) for holding in found.holdings if holding.rollup]


@DECIDED
def test_pattern_leaves_rollups_alone(readings: Database) -> None:
    """A pattern means tables of raw rows, never the rollups of them, be it to downsample or to delete."""
    readings.policy("downsample", "*", "7d", levels=LEVELS)
    run(readings, 2)
    assert not readings.exists("readings_1h_1h")
    readings.policy("delete", "readings*", "1d")
    run(readings)
    assert total(readings, "readings_1d") == 63


def test_own_table_is_not_taken(readings: Database) -> None:
    """A table that has a rollup's name and is none is a problem, and stays as it is; nothing expires meanwhile."""
    readings.create("readings_1h", {"ts": TIME, "n": "TEXT"})
    readings.policy("downsample", "readings", "7d", levels=LEVELS)
    readings.policy("delete", "readings", "7d")
    report = readings.run()
    assert (report.ok, report.needs_attention, readings.count("readings")) == (False, 2, 6)
    assert any("already exists and is not a rollup" in reason for reason in holds(readings))


def test_policy_that_makes_no_sense(readings: Database) -> None:
    """What can't be is refused when it is written, with the reason."""
    for more, message in (
        ({"levels": "1h:30d", "where": {"n": "a"}}, "whole tables"),
        ({"levels": "7m:30d"}, "does not divide a day"),
        ({"levels": "1h:3d"}, "longer than the level"),
        ({"levels": ""}, "needs levels"),
    ):
        with pytest.raises(InvalidInput, match=message):
            readings.policy("downsample", "readings", "7d", **more)
    readings.policy("downsample", "readings", "7d", levels=LEVELS, metrics=["n"])
    assert "not a number" in holds(readings)[0]


def test_held_rows_are_rolled_up_and_stay(readings: Database) -> None:
    """A legal hold keeps the raw rows; they are in the rollups nevertheless, once."""
    readings.policy("downsample", "readings", "7d", levels=LEVELS)
    readings.tool.hold("readings", readings.schema, reason="case 4711")
    run(readings, 2)
    assert (readings.count("readings"), total(readings, "readings_1d"), total(readings, "readings_all")) == (6, 63, 63)


def test_verify_and_fetch(readings: Database) -> None:
    """Each level is what is below it, and a row that is lost is found; an answer is stitched from all levels."""
    from cratedb_retention.model.query.reading import FetchRequest
    from cratedb_retention.model.rollups.cascade import parse_interval

    readings.policy("downsample", "readings", "7d", levels=LEVELS)
    run(readings, 2)
    assert readings.tool.verify_rollups("readings", readings.schema) == []
    start, end = dt.datetime(2024, 5, 1, tzinfo=dt.UTC), dt.datetime(2024, 7, 2, tzinfo=dt.UTC)
    request = FetchRequest(
        table_name="readings",
        table_schema=readings.schema,
        start=start,
        end=end,
        step=parse_interval("1mo"),
        metrics=("x:sum", "row_count"),
    )
    assert [row[1:3] for row in readings.tool.fetch(request).rows] == [(3.0, 2), (28.0, 3), (32.0, 1)]
    readings.sql(f"DELETE FROM {readings.q('readings_1h')} WHERE x_sum = 4")
    readings.refresh("readings_1h")
    differences = readings.tool.verify_rollups("readings", readings.schema)
    assert {d.what for d in differences} >= {"row_count", "x_sum"}


@pytest.mark.parametrize("change", ["DELETE FROM {}", *others_on_duckdb("UPDATE {} SET row_count = 7")])
@DECIDED
def test_raw_rows_stay_for_a_level_that_was_changed(readings: Database, change: str) -> None:
    """Rows of a level that were deleted or changed are computed again before the raw rows below it go (law 3)."""
    readings.policy("downsample", "readings", "60d", levels="1h:60d,1d:forever", deletions="follow")
    fill(readings, ["2024-06-10T12:00"], first=6)
    run(readings)
    readings.sql(f"{change.format(readings.q('readings_1h'))} WHERE x_sum = 4")
    assert total(readings, "readings_1h", "sum(row_count)") in (7 - 1, 7 - 1 + 7)
    policy = readings.tool.policies()[0].policy
    readings.tool.edit_policy(policy.id or "", {"retention_period": "7d"})
    report = readings.run()
    assert report.ok
    assert report.deferred
    assert readings.rows(f"SELECT count(*) FROM {readings.q('readings')} WHERE x = 4")[0][0] == 1
    run(readings, times=3)
    assert (total(readings, "readings_1h"), total(readings, "readings_1h", "sum(row_count)")) == (127, 7)
    assert total(readings, "readings_1d") == 127
    assert readings.rows(f"SELECT count(*) FROM {readings.q('readings')} WHERE x = 4")[0][0] == 0
    assert steps(readings) == []
