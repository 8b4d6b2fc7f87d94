"""
The scheduler: finds what is due, takes it, runs it, and leaves to others what is theirs. Time goes on when told to.
"""

from __future__ import annotations

import datetime as dt
import gc
import logging
import threading
import tracemalloc

import pytest

from cratedb_retention import Retention
from cratedb_retention.api.runs import Due, Schedule
from cratedb_retention.errors import (
    Cancelled,
    ClusterUnhealthy,
    ConnectionLost,
    DatabaseError,
    DiskFull,
    LeaseLost,
    PartitionChanged,
    RetentionError,
    Stopped,
)
from cratedb_retention.execution.runs.events import RunEvent, StepFailed, StepFinished
from cratedb_retention.execution.runs.leasing import Session
from cratedb_retention.model.audit import Event
from cratedb_retention.model.plan.plan import DropPartitions, Task
from cratedb_retention.model.plan.reasons import Why
from cratedb_retention.model.runs import RunOptions
from cratedb_retention.model.step import Piece
from cratedb_retention.planning.schedule import Timetable
from cratedb_retention.service.schedule import Scheduler, log_event
from cratedb_retention.store.audit import Entry
from support.catalogs import METRICS, MONTH, part
from support.databases import TIME, CrateDatabase, Database, DuckDatabase
from support.tiers import examples, others_on_duckdb

ALONE = RunOptions(lease=60, threads=False)
OLD = ["2024-05-01T00:00:00Z", "2024-05-02T00:00:00Z"]


def scheduled(db: Database, table: str, schedule: str = "@hourly", **more: object) -> str:
    """A table with rows that are due, and a policy with a schedule."""
    db.create(table, {"ts": TIME, "n": "TEXT"})
    db.fill(table, OLD)
    return db.policy("delete", table, "30d", schedule=schedule, **more).id or ""


def slots(db: Database) -> dict[str, str | None]:
    """The last slot that was done, by policy."""
    known = db.tool.store.leases.read().by_policy
    return {key: f"{lease.done_slot:%dT%H:%M}" if lease.done_slot else None for key, lease in known.items()}


def test_each_slot_once(db: Database) -> None:
    """What is due runs, once, together; what was missed is one run; by hand nothing changes about that."""
    db.time.set("2024-07-02T00:30:00+00:00")
    hourly = scheduled(db, "one")
    daily = scheduled(db, "two", "@daily", time_zone="Europe/Vienna")
    assert db.tool.run_due(options=ALONE) is None, "not for slots before the policy was"
    db.time.set("2024-07-02T01:00:00+00:00")
    report = db.tool.run_due(options=ALONE)
    assert report is not None
    assert (report.done, db.left("one"), len(db.left("two"))) == (1, [], 2)
    assert db.tool.run_due(options=ALONE) is None
    db.time.set("2024-07-02T23:10:00+00:00")
    report = db.tool.run_due(options=ALONE)
    assert report is not None
    assert report.done == 1
    assert slots(db) == {hourly: "02T23:00", daily: "02T22:00"}
    started = db.journal(event="slot-started")
    assert sorted((row["policy_id"], f"{row['slot']:%H}") for row in started) == sorted(
        [(hourly, "01"), (hourly, "23"), (daily, "22")]
    )
    finished = [row for row in db.journal(event="slot-finished") if row["outcome"] == "done"]
    assert {(row["policy_id"], row["slot"], row["run_id"]) for row in finished} == {
        (row["policy_id"], row["slot"], row["run_id"]) for row in started
    }
    assert len(finished) == len(started)
    assert db.tool.run(options=ALONE).ok
    assert slots(db) == {hourly: "02T23:00", daily: "02T22:00"}


def test_a_changed_schedule_starts_anew(db: Database) -> None:
    """Slots before a schedule was set are none of it; another change of the policy loses no slot."""
    policy = scheduled(db, "one", "0 3 * * *")
    db.time.set("2024-07-02T03:10:00+00:00")
    for description in ("changed while its slot was due", "and again"):
        db.tool.edit_policy(policy, {"description": description})
        assert set(db.tool.schedule.find_due(Timetable()).slots) == {policy}
    db.tool.edit_policy(policy, {"schedule": "0 2 * * *"})
    assert not db.tool.schedule.find_due(Timetable()).slots
    db.time.set("2024-07-03T02:00:00+00:00")
    assert set(db.tool.schedule.find_due(Timetable()).slots) == {policy}
    db.tool.edit_policy(policy, {"enabled": False})
    assert not db.tool.schedule.find_due(Timetable()).slots


@pytest.mark.parametrize(
    "changes",
    [[{"time_zone": "Europe/Vienna"}], [{"jitter": "1m"}], [{"enabled": False}, {"enabled": True}]],
    ids=["time zone", "jitter", "enabled again"],
)
def test_what_makes_a_schedule_another_one(db: Database, changes: list[dict[str, object]]) -> None:
    """A time zone, a jitter, and being enabled again start a schedule anew: what was due until then is not run."""
    policy = scheduled(db, "one", "0 3 * * *")
    db.time.set("2024-07-02T03:10:00+00:00")
    assert set(db.tool.schedule.find_due(Timetable()).slots) == {policy}
    for change in changes:
        db.tool.edit_policy(policy, change)
    assert not db.tool.schedule.find_due(Timetable()).slots


def test_who_comes_second_takes_nothing(db: Database) -> None:
    """Two that saw the same policies due: one gets them."""
    scheduled(db, "one"), scheduled(db, "two")
    db.time.set("2024-07-02T01:00:00+00:00")
    one, other = db.tool, db.retention("other")
    dues = one.schedule.find_due(Timetable()), other.schedule.find_due(Timetable())
    assert len(dues[0].slots) == len(dues[1].slots) == 2
    assert one.schedule.take(dues[0], ALONE) is not None
    assert other.schedule.take(dues[1], ALONE) is None
    assert not other.schedule.find_due(Timetable()).slots


def test_a_slot_of_a_dead_one_is_carried_on(db: Database) -> None:
    """The lease of a scheduler that died expires, and the next one runs the same slot."""
    policy = scheduled(db, "one", misfire="skip", misfire_grace="30s")
    db.time.set("2024-07-02T01:00:00+00:00")
    dead = db.retention("dead")
    assert dead.schedule.take(dead.schedule.find_due(Timetable()), ALONE) is not None
    assert db.tool.run_due(options=ALONE) is None
    db.time.set("2024-07-02T01:01:00+00:00")
    report = db.tool.run_due(options=ALONE)
    assert report is not None
    assert report.done == 1
    assert slots(db) == {policy: "02T01:00"}
    assert db.journal(event="lease-taken-over")[0]["message"].startswith("from dead@host:")


def test_stopping(db: Database) -> None:
    """A run that is told to stop ends before its next step, gives its leases back, and leaves its slots to others."""
    scheduled(db, "one"), scheduled(db, "two")
    db.time.set("2024-07-02T01:00:00+00:00")
    scheduler = Scheduler(db.tool, ALONE)

    def stop(event: RunEvent) -> None:
        if isinstance(event, StepFinished):
            scheduler.stop(0)

    session = db.tool.schedule.take(db.tool.schedule.find_due(Timetable()), scheduler._options)
    assert session is not None
    with pytest.raises(Stopped, match="the process was stopped"):
        db.tool.run(session=session, observers=[stop])
    assert not scheduler.tick(), "nothing begins any more"
    assert db.journal(event="run-finished")[0]["outcome"] == "interrupted"
    assert sorted((len(db.left("one")), len(db.left("two")))) == [0, 2]
    report = db.retention("other").run_due(options=ALONE)
    assert report is not None
    assert report.done == 1
    assert set(slots(db).values()) == {"02T01:00"}


def test_by_hand_takes_no_slot(db: Database) -> None:
    """A run by hand that does what is due takes the place of no slot: that happens all the same."""
    policy = scheduled(db, "one")
    db.time.set("2024-07-02T01:10:00+00:00")
    assert db.tool.run(options=ALONE).done == 1
    assert slots(db) == {policy: None}
    assert set(db.tool.schedule.find_due(Timetable()).slots) == {policy}
    assert db.tool.run_due(options=ALONE) is not None
    assert slots(db) == {policy: "02T01:00"}


@pytest.mark.parametrize(
    ("error", "done"),
    [
        (Cancelled("run", "cancelled by a person"), True),
        (ConnectionLost("database", "no answer"), False),
        *others_on_duckdb(
            (ZeroDivisionError("a mistake"), True),
            (Stopped("run", "the process ends"), False),
            (LeaseLost("lease", "another one has it"), False),
            (ClusterUnhealthy("table", "shards are missing"), False),
            (DiskFull("CrateDB", "a disk is full"), False),
            (KeyboardInterrupt(), False),
        ),
    ],
)
def test_what_becomes_of_a_slot(
    db: Database, error: BaseException, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slot that a person ended, or that would fail again at once, is done; any other is begun anew."""
    policy = scheduled(db, "one")
    db.time.set("2024-07-02T01:00:00+00:00")
    write = db.tool.store.journal.write

    def fail(*entries: Entry, **how: bool) -> None:
        # What fails a step ends the run only if it can't be written down.
        if any(entry.event in (Event.STEP_STARTED, Event.STEP_FINISHED) for entry in entries):
            raise error
        write(*entries, **how)

    with monkeypatch.context() as patched, pytest.raises(type(error)):
        patched.setattr(db.tool.store.journal, "write", fail)
        db.tool.run_due(options=ALONE)
    assert slots(db) == {policy: "02T01:00" if done else None}
    assert bool(db.journal(event="slot-finished")) is done
    assert len(db.left("one")) == 2
    report = db.retention("other").run_due(options=ALONE)
    assert (report is None) is done
    assert len(db.left("one")) == (2 if done else 0)
    db.time.set("2024-07-02T02:00:00+00:00")
    assert db.tool.run_due(options=ALONE) is not None
    assert (db.left("one"), slots(db)) == ([], {policy: "02T02:00"})


def test_ticks_start_runs_in_threads(db: Database) -> None:
    """A tick starts a run and goes on; while all workers are busy, what is due is left to others."""
    scheduled(db, "one")
    db.time.set("2024-07-02T01:00:00+00:00")
    assert not Scheduler(db.tool, ALONE, workers=0).tick()
    scheduler = Scheduler(db.tool, ALONE, workers=1)
    assert scheduler.tick()
    assert scheduler.wait()
    assert not scheduler.tick()
    assert db.left("one") == []
    assert set(slots(db).values()) == {"02T01:00"}


def test_an_outage_is_logged_once(
    duck: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first poll without an answer is a warning, the others are not; the database is back, and goes away again."""
    scheduler = Scheduler(duck.tool, ALONE)
    begin = scheduler._begin

    def fail() -> bool:
        raise ConnectionLost("database", "no answer")

    with caplog.at_level(logging.DEBUG, logger="cratedb_retention.service"):
        for action in (fail, fail, begin, begin, fail):
            monkeypatch.setattr(scheduler, "_begin", action)
            assert not scheduler.tick()
    assert [record.levelname for record in caplog.records if record.name.startswith("cratedb_retention.service")] == [
        "WARNING", "DEBUG", "WARNING", "WARNING",
    ]  # fmt: skip


def test_all_runs_have_the_grace_period_together(duck: Database) -> None:
    """The second of two runs that do not end is not waited for once more."""
    waited: list[float] = []

    class Endless(threading.Thread):
        """A run that goes on while it is waited for."""

        def join(self, timeout: float | None = None) -> None:
            waited.append(timeout or 0.0)
            duck.time.moment += dt.timedelta(seconds=timeout or 0.0)

        def is_alive(self) -> bool:
            return True

    scheduler = Scheduler(duck.tool, ALONE)
    scheduler._threads = [Endless(), Endless()]
    assert not scheduler.stop(30)
    assert waited == [30, 0]


def test_a_stop_while_it_looks(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is stopped while it looks what is due begins nothing, and its leases are free."""
    policy = scheduled(db, "one")
    db.time.set("2024-07-02T01:00:00+00:00")
    scheduler = Scheduler(db.tool, ALONE)
    take = Schedule.take

    def stopped_meanwhile(schedule: Schedule, due: Due, options: RunOptions) -> Session | None:
        session = take(schedule, due, options)
        assert scheduler.stop(0)
        return session

    monkeypatch.setattr(Schedule, "take", stopped_meanwhile)
    assert not scheduler.tick()
    assert scheduler.wait()
    assert len(db.left("one")) == 2
    assert slots(db) == {policy: None}
    assert db.tool.store.leases.read().of(policy).holder is None


def test_a_plan_that_can_not_be_made(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a mistake ends a run before it has a plan, the slot is done as failed: it would fail again at once."""
    policy = scheduled(db, "one")
    db.time.set("2024-07-02T01:00:00+00:00")

    def fail(*args: object, **more: object) -> None:
        raise ZeroDivisionError("a mistake")

    with monkeypatch.context() as patch:
        patch.setattr(Retention, "prepare", fail)
        with pytest.raises(ZeroDivisionError):
            db.tool.run_due(options=ALONE)
    (entry,) = db.journal(event="slot-finished")
    assert (entry["policy_id"], entry["outcome"]) == (policy, "failed")
    assert entry["error"] == "ended early: ZeroDivisionError('a mistake')"
    assert db.tool.run_due(options=ALONE) is None
    assert db.tool.store.leases.read().of(policy).outcome == "failed"


def test_a_wrong_clock(db: Database) -> None:
    """A clock that is years ahead for a while costs no run: what it did counts until now, and no longer."""
    policy = scheduled(db, "one")
    db.time.set("2034-07-02T01:00:00+00:00")
    assert db.tool.run_due(options=ALONE) is not None
    db.time.set("2024-07-02T01:30:00+00:00")
    assert db.tool.run_due(options=ALONE) is None
    assert slots(db) == {policy: "02T01:00"}
    db.time.set("2024-07-02T02:00:00+00:00")
    assert db.tool.run_due(options=ALONE) is not None
    db.time.set("2024-07-02T01:59:00+00:00")
    assert db.tool.run_due(options=ALONE) is None
    db.time.set("2024-07-02T02:00:01+00:00")
    assert db.tool.run_due(options=ALONE) is None


def add_policies(db: Database, count: int) -> None:
    """Policies with schedules, all at once."""
    from cratedb_retention.model.policies.policy import make_policy

    rows = [
        make_policy(
            strategy="delete",
            table_schema=db.schema,
            table_name=f"t{i}",
            retention_period="30d",
            schedule=f"{i % 60} {i % 24} * * *",
            jitter="5m" if i % 2 else None,
        )
        for i in range(count)
    ]
    db.tool.store.policies.create_all(rows)


def test_an_idle_tick_in_a_fixed_number_of_statements(db: Database) -> None:
    """A look at 1,000 policies with schedules takes as many statements as at one."""
    counts = []
    db.time.set("2024-07-02T00:00:30+00:00")
    db.tool.store.require()
    scheduler = Scheduler(db.tool, ALONE)
    for count in (1, 999):
        if count > 1:
            db.tool.delete_policy(db.tool.policies()[0].policy.id or "")
        add_policies(db, 1000 if count > 1 else 1)
        for _ in range(2):
            with db.statements() as sent:
                assert not scheduler.tick()
            counts.append(len(sent))
    assert set(counts) == {3 if isinstance(db, CrateDatabase) else 2}


@pytest.mark.slow("thousands of ticks")
@pytest.mark.long("it is about memory over days")
@pytest.mark.timeout(900)
def test_memory_stays_flat(duck: DuckDatabase) -> None:
    """Days of simulated time, most ticks of them idle, leave nothing behind."""
    ticks = examples(900, long=7_500)
    add_policies(duck, 5)
    scheduler = Scheduler(duck.tool, ALONE)
    tick_many(duck, scheduler, ticks // 5)
    before = objects()
    tick_many(duck, scheduler, ticks)
    assert objects() - before < 0.4 * ticks
    tracemalloc.start()
    try:
        tick_many(duck, scheduler, 200)
        traced = tracemalloc.get_traced_memory()[0]
        tick_many(duck, scheduler, 500)
        assert tracemalloc.get_traced_memory()[0] - traced < 300_000
    finally:
        tracemalloc.stop()
    assert len(duck.journal(event="slot-finished")) > ticks // 250


def tick_many(duck: DuckDatabase, scheduler: Scheduler, count: int) -> None:
    """A tick each minute."""
    for _ in range(count):
        duck.time.moment += dt.timedelta(minutes=1)
        scheduler.tick()
        scheduler.wait()


def objects() -> int:
    """How many objects Python holds now."""
    gc.collect()
    return len(gc.get_objects())


@pytest.mark.parametrize(
    ("error", "level"),
    [(PartitionChanged("table t", "was written to"), "INFO"), (DatabaseError("table t", "no room"), "ERROR")],
)
def test_what_is_deferred_is_no_error(error: RetentionError, level: str, caplog: pytest.LogCaptureFixture) -> None:
    """What the next run does is no reason for anybody to look into the log."""
    pieces = (Piece(partition=part(0), start=0, end=1),)
    step = DropPartitions(table=METRICS, columns=(MONTH,), pieces=pieces, before=1)
    task = Task(policy_id="p", table=METRICS, steps=(step,), why=Why.LEFT_FROZEN())
    with caplog.at_level(logging.INFO):
        log_event(StepFailed(task=task, step=step, number=1, cause=error))
    assert [record.levelname for record in caplog.records] == [level]
