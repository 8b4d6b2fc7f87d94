"""
The row of a run that goes on: what is written of a run also says when it is over, whatever its writes race with.
"""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import replace
from typing import Any

import pytest

from cratedb_retention.clock import Actor
from cratedb_retention.engine.step import Progress, StepResult
from cratedb_retention.errors import ConnectionLost, DatabaseError, RetentionError
from cratedb_retention.execution.plan.preparing import Prepared
from cratedb_retention.execution.runs.events import (
    RunEvent,
    RunFinished,
    RunStarted,
    StepFailed,
    StepFinished,
    StepProgressed,
    StepStarted,
    TaskSkipped,
    Tracker,
)
from cratedb_retention.execution.runs.leasing import Heartbeat, new_session
from cratedb_retention.model.runs import RunOptions, RunState
from cratedb_retention.store.runs import JobStore
from support.catalogs import at, catalog, monthly, policy
from support.databases import TIME, Database, FixedClock
from support.planning import make_plan


class Slow(JobStore):
    """
    Writes a run down for the first time as a busy database does.

    :param wait: Called before it writes.
    :param lost: How many of its writes are done without an answer.
    """

    def __init__(self, store: JobStore, wait: Any = lambda: None, lost: int = 0) -> None:
        vars(self).update(vars(store))
        self._wait, self._lost = wait, lost

    def begin(self, job: RunState) -> None:
        self._wait()
        super().begin(job)
        self._answer()

    def update(self, job: RunState) -> str | None:
        found = super().update(job)
        self._answer()
        return found

    def _answer(self) -> None:
        if self._lost:
            self._lost -= 1
            raise ConnectionLost("database", "no answer")


def heart(db: Database, jobs: JobStore) -> Heartbeat:
    """The heartbeat of a run that goes on for more than a second."""
    tool = db.tool
    session = new_session(tool.store, tool.clock, tool.actor, RunOptions())
    found = Heartbeat(session, jobs, tool.clock)
    db.time.moment += dt.timedelta(seconds=1.5)
    return found


def rows(db: Database) -> list[tuple[str, str | None]]:
    """State and outcome of each run that was written."""
    db.refresh("job_state", db.own_schema)
    return [tuple(row) for row in db.rows(f"SELECT state, outcome FROM {db.q('job_state', db.own_schema)}")]


def test_a_run_that_ends_while_its_first_beat_is_written(db: Database) -> None:
    """The first write of a run that takes a second is under way when the run ends: it is over nevertheless."""
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        assert go_on.wait(60)

    found = heart(db, Slow(db.tool.store.jobs, wait))
    beat = threading.Thread(target=found.beat)
    beat.start()
    assert begun.wait(60)
    end = threading.Thread(target=found.finish, args=("done",))
    end.start()
    end.join(0.1)
    go_on.set()
    beat.join()
    end.join()
    assert rows(db) == [("finished", "done")]
    assert db.tool.running() == []


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_write_whose_answer_is_lost(db: Database, lost: int) -> None:
    """The row is there, and nobody knows: the next write finds it, and the end of the run is written."""
    found = heart(db, Slow(db.tool.store.jobs, lost=lost))
    found.beat()
    assert rows(db) == [("running", None)]
    found.finish("done")
    assert rows(db) == [("finished", "done")]


def test_each_of_two_runs_has_its_own_row(db: Database) -> None:
    """What one run writes, and that it is to end, is no matter of the other."""
    jobs, now = db.tool.store.jobs, db.time.moment
    one, other = (
        RunState(run_id="one", started_at=now, heartbeat_at=now),
        RunState(run_id="two", started_at=now, heartbeat_at=now),
    )
    for job in (one, other):
        jobs.begin(job)
    assert [job.run_id for job in jobs.live()] == ["one", "two"]
    assert jobs.request_cancel(one, "operator")
    assert jobs.update(replace(other, step=2)) is None
    assert jobs.update(replace(one, step=1)) == "operator"
    assert [(job.run_id, job.step, job.cancel_by) for job in jobs.live()] == [("one", 1, "operator"), ("two", 2, None)]
    jobs.update(replace(one, finished_at=now))
    assert [job.run_id for job in jobs.live()] == ["two"]


def test_a_run_that_no_plan_could_be_made_for(db: Database) -> None:
    """What takes more than a second to plan, and fails, does not go on for ever."""
    db.create("t", {"ts": TIME, "n": "TEXT"})
    policy = db.policy("delete", "t", "30d")
    tool = db.tool
    session = new_session(tool.store, tool.clock, tool.actor, RunOptions())
    session = replace(session, taken=session.leases.take({policy.id or "": None}))
    written = threading.Event()

    class Noticing(Slow):
        def begin(self, job: RunState) -> None:
            super().begin(job)
            written.set()

    tool.store.jobs = Noticing(tool.store.jobs)

    def fail(*args: object) -> Prepared:
        db.time.moment += dt.timedelta(seconds=1.5)
        assert written.wait(60)
        raise DatabaseError("CrateDB", "no memory")

    tool.prepare = fail  # type: ignore[method-assign, assignment]
    with pytest.raises(DatabaseError, match="no memory"):
        tool.run(session=session)
    assert rows(db) == [("finished", "failed")]
    assert tool.running() == []


def test_a_run_within_a_second_writes_nothing(db: Database) -> None:
    """Most runs are over before anybody could look."""
    tool = db.tool
    session = new_session(tool.store, tool.clock, tool.actor, RunOptions())
    found = Heartbeat(session, tool.store.jobs, tool.clock)
    found.beat()
    found.finish("done")
    assert rows(db) == []


def test_how_far_a_run_is() -> None:
    """Steps and tasks are counted as they end; what failed or was skipped is passed, and not done."""
    plan = make_plan(
        [policy("snapshot")], catalog(monthly("2024-01", "2024-02", "2024-03", "2024-04")), at("2024-07-02")
    )
    *done, failing, skipped = plan.tasks
    time = FixedClock()
    tracker = Tracker("run", time.clock, Actor("tester", "host"))
    tracker.about([policy(id="one", tags=["b"]), policy(id="two", tags=["a"])])
    tracker(RunStarted("run", plan))
    job = tracker.state()
    assert (job.policies, job.tags) == (("one", "two"), ("a", "b"))
    assert (job.steps, job.partitions, job.rows, job.bytes) == (16, 4, 40, 400)
    steps = [(task, step) for task in done for step in task.steps]
    for number, (task, step) in enumerate(steps, 1):
        assert tracker.state().partitions_done == (number - 1) // 4
        tracker(StepStarted(task=task, step=step, number=number, total=16))
        tracker(StepProgressed(step, Progress(1, 2, "row")))
        tracker(StepFinished(task=task, step=step, number=number, result=StepResult(), seconds=0))
    job = tracker.state()
    assert (job.step, job.partitions_done, job.rows_done, job.bytes_done) == (8, 2, 20, 200)
    assert (job.done, job.total, job.unit) == (1, 2, "row")
    tracker(StepStarted(task=failing, step=failing.steps[0], number=9, total=16))
    job = tracker.state()
    assert (job.step, job.done, job.total, job.unit) == (9, None, None, None)
    time.moment += dt.timedelta(minutes=8)  # Half of the steps are done.
    assert tracker.state().expected_end == job.started_at + dt.timedelta(minutes=16)
    tracker(StepProgressed(failing.steps[0], Progress(1, 2, "row")))
    assert tracker.state().expected_end == job.started_at + dt.timedelta(minutes=8) * 16 / 8.5
    tracker(StepFailed(task=failing, step=failing.steps[0], number=9, cause=RetentionError("table", "why")))
    assert tracker.state().step == 12
    tracker(TaskSkipped(skipped, "why", 16))
    job = tracker.state()
    assert (job.step, job.partitions_done, job.rows_done, job.bytes_done) == (16, 2, 20, 200)


def test_what_nobody_expected_ends_the_run(duck: Database, caplog: pytest.LogCaptureFixture) -> None:
    """A mistake in the heartbeat's thread ends the run before its next step, with that error, and is logged."""
    for name in ("one", "two"):
        duck.create(name, {"ts": TIME, "n": "TEXT"})
        duck.fill(name, ["2024-01-01"])
    duck.policy("delete", "one", "30d")
    duck.policy("delete", "two", "30d")
    failed = threading.Event()

    class Broken(JobStore):
        def begin(self, job: RunState) -> None:
            failed.set()
            raise ZeroDivisionError("a mistake")

    tool = duck.tool
    tool.store.jobs = Broken(**{name.lstrip("_"): value for name, value in vars(tool.store.jobs).items()})

    def observe(event: RunEvent) -> None:
        if isinstance(event, StepStarted):
            duck.time.moment += dt.timedelta(seconds=1.5)
            assert failed.wait(60)

    with pytest.raises(ZeroDivisionError, match="a mistake"):
        tool.run(observers=[observe])
    assert sorted(len(duck.left(name)) for name in ("one", "two")) == [0, 1]
    assert "the heartbeat of run" in caplog.text
    assert "ZeroDivisionError" in duck.journal(event="run-finished")[0]["error"]
    assert all(lease.holder is None for lease in tool.store.leases.read().by_policy.values())


def test_what_an_observer_does_wrong_is_no_matter_of_the_run(duck: Database, caplog: pytest.LogCaptureFixture) -> None:
    """An observer that fails at each event is logged; the run is done, for whoever started it and in the audit log."""
    duck.create("t", {"ts": TIME, "n": "TEXT"})
    duck.fill("t", ["2024-01-01"])
    duck.policy("delete", "t", "30d")

    def fail(event: RunEvent) -> None:
        raise ZeroDivisionError(type(event).__name__)

    heard: list[RunEvent] = []
    report = duck.tool.run(observers=[fail, heard.append])
    assert (report.ok, report.done, duck.left("t")) == (True, 1, [])
    assert duck.journal(event="run-finished")[0]["outcome"] == "done"
    for event in heard:
        assert f"ZeroDivisionError: {type(event).__name__}" in caplog.text
    assert isinstance(heard[-1], RunFinished)


def test_what_was_silent_for_a_week_is_forgotten(db: Database) -> None:
    """However long ago a run began: it stays while it sends heartbeats, so that it can still be cancelled."""
    jobs, now = db.tool.store.jobs, db.time.clock.now()
    for run_id, began, heard in (("silent", 9, 8), ("long", 9, 0), ("recent", 6, 6)):
        jobs.begin(
            RunState(
                run_id=run_id, started_at=now - dt.timedelta(days=began), heartbeat_at=now - dt.timedelta(days=heard)
            )
        )
    db.refresh("job_state", db.own_schema)
    jobs.forget_old()
    assert [job.run_id for job in jobs.live()] == ["long", "recent"]
