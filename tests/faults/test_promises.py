"""
What a plan shows is what a run does (law 10), and the journal tells all of it (law 9).
"""

from __future__ import annotations

import datetime as dt

import pytest

from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.runs.events import (
    ActionBlocked,
    RunEvent,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
)
from support.databases import MONTH, TIME, Database
from support.tiers import DECIDED

DAYS = ["2024-03-10", "2024-04-10", "2024-05-15", "2024-06-20"]


@pytest.fixture
def busy(db: Database) -> Database:
    """A database with work for each strategy, and something to hold."""
    plain = {"ts": TIME, "n": "TEXT"}
    by_month = {**plain, "month": MONTH}
    for name in ("dropped", "archived", "held"):
        db.create(name, by_month, by=["month"])
        db.fill(name, DAYS)
    db.create("labelled", {**plain, "label": "TEXT"}, by=["label"])
    for day in DAYS:
        db.fill("labelled", [day], label=day[:7])
    db.create("rows", plain)
    db.fill("rows", DAYS)
    db.policy("delete", "dropped", "30d")
    db.policy("snapshot", "archived", "30d")
    db.policy("delete", "held", "30d")
    db.policy("delete", "labelled", "30d", partition_column="label")
    db.policy("delete", "rows", "30d")
    db.tool.hold(
        "held", db.schema, start=dt.datetime(2024, 4, 1, tzinfo=dt.UTC), end=dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
    )
    return db


def test_plan_is_what_is_done(busy: Database) -> None:
    """A run does the very objects that its plan lists, in their order, and holds what the plan holds."""
    prepared = busy.tool.prepare()
    events: list[RunEvent] = []
    report = busy.tool.run(prepared, observers=[events.append])

    planned = [(task, step) for task in prepared.plan.tasks for step in task.steps]
    started = [event for event in events if isinstance(event, StepStarted)]
    finished = [event for event in events if isinstance(event, StepFinished)]
    assert len(planned) > 6
    assert len(started) == len(finished) == len(planned) == report.done
    for (task, step), start, end in zip(planned, started, finished, strict=True):
        assert start.task is end.task is task
        assert start.step is end.step is step
    assert [event.number for event in started] == list(range(1, len(planned) + 1))
    assert {event.total for event in started} == {len(planned)}
    assert [event.action for event in events if isinstance(event, ActionBlocked)] == list(prepared.plan.blocked)
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunFinished)


@DECIDED
def test_plan_is_the_same_each_time(busy: Database) -> None:
    """Planning changes nothing, so the plan that was shown is the one that a run makes for itself."""
    cutoff = busy.tool.clock.now()
    shown = busy.tool.plan(cutoff)
    plans = [event.plan for event in _run(busy, cutoff) if isinstance(event, RunStarted)]
    assert plans == [shown]


def test_nothing_is_left_to_do(busy: Database) -> None:
    """Right after a run, planning for the same cutoff finds nothing, except what is held."""
    cutoff = busy.tool.clock.now()
    _run(busy, cutoff)
    after = busy.tool.plan(cutoff)
    assert after.tasks == ()
    assert [(str(hold.table), hold.count) for hold in after.blocked] == [(f"{busy.schema}.held", 1)]
    expired = {name: busy.left(name) for name in ("dropped", "archived", "labelled", "rows", "held")}
    assert expired.pop("held") == ["2024-04-10", "2024-06-20"]
    assert set(map(tuple, expired.values())) == {("2024-06-20",)}


def test_journal_tells_each_step_twice(busy: Database) -> None:
    """Each step that starts has its end in the journal, done, with the same words; so has the run."""
    prepared = busy.tool.prepare()
    busy.tool.run(prepared)
    starts = {row["step"]: row for row in busy.journal(event="step-started")}
    ends = {row["step"]: row for row in busy.journal(event="step-finished")}
    planned = [(task, step) for task in prepared.plan.tasks for step in task.steps]
    assert sorted(starts) == sorted(ends) == list(range(1, len(planned) + 1))
    for number, (task, step) in enumerate(planned, 1):
        for row in (starts[number], ends[number]):
            assert (row["operation"], row["policy_id"]) == (step.operation(), task.policy_id)
            assert row["message"].startswith(step.describe())
            assert row["table_name"] == task.table.name
        assert (starts[number]["outcome"], ends[number]["outcome"]) == (None, "done")
    assert [row["outcome"] for row in busy.journal(event="run-finished")] == ["done"]
    assert len(busy.journal(event="run-started")) == 1
    assert [row["outcome"] for row in busy.journal(event="blocked")] == ["blocked"]


def test_cutoff_of_the_future(duck: Database) -> None:
    """A cutoff is at most a day ahead, as it may be tomorrow elsewhere; beyond that it has to be said twice."""
    now, tool = duck.time.moment, duck.tool
    day = dt.timedelta(days=1)
    assert tool.plan(now + day).tasks == ()
    assert tool.run(cutoff=now + day).ok
    beyond = now + day + dt.timedelta(seconds=1)
    for look in (tool.prepare, tool.plan, lambda cutoff: tool.run(cutoff=cutoff)):
        with pytest.raises(InvalidInput, match="is in the future"):
            look(beyond)
    assert tool.prepare(beyond, allow_future=True).plan.tasks == ()


def _run(db: Database, cutoff: dt.datetime) -> list[RunEvent]:
    events: list[RunEvent] = []
    assert db.tool.run(cutoff=cutoff, observers=[events.append]).ok
    return events
