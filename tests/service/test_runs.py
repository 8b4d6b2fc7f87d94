"""Runs by HTTP: those of this process, and those of others, which the database tells of."""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import replace

import pytest

from cratedb_retention.clock import Actor
from cratedb_retention.errors import Conflict
from cratedb_retention.execution.plan.preparing import Prepared
from cratedb_retention.execution.runs.leasing import Session
from cratedb_retention.model.runs import RunState
from cratedb_retention.service.runs import Runs
from support.databases import MONTH, TIME, Database
from support.two_tenants import TwoTenants

API = "/api/v1"


def test_runs_of_others_are_seen_and_cancelled(tenants: TwoTenants) -> None:
    """A run of another process is seen with its progress, by whom it concerns; a request to cancel reaches it."""
    tool, now = tenants.db.tool, tenants.db.time.clock.now()
    mine = RunState(
        run_id="run-of-all",
        started_at=now,
        heartbeat_at=now,
        actor="root",
        host="h",
        policies=("acme-tables",),
        step=3,
        steps=7,
        doing="drop",
        done=1,
        total=4,
    )
    actor = tenants.get("acme-operator", f"{API}/runs")[0]["actor"]
    tool.store.jobs.begin(mine)
    tool.store.jobs.begin(replace(mine, run_id="run-of-acme", actor=actor, started_at=now - dt.timedelta(minutes=1)))
    newest_first = [run["run_id"] for run in tenants.get("admin", f"{API}/runs")]
    assert [run_id for run_id in newest_first if run_id.startswith("run-of-")] == ["run-of-all", "run-of-acme"]
    found = tenants.get("admin", f"{API}/runs/run-of-all")
    shown = ("state", "steps_done", "steps_total", "step", "units_done", "units_total")
    assert tuple(found[key] for key in shown) == ("running", 2, 7, "drop", 1, 4)
    assert tenants.ask("acme-operator", "GET", f"{API}/runs/run-of-all").status_code == 404
    assert tenants.ask("acme-operator", "POST", f"{API}/runs/run-of-all/cancel").status_code == 404
    assert {run["run_id"] for run in tenants.get("acme-viewer", f"{API}/runs")} == {
        "run-of-acme",
        tenants.ids["acme-run"],
    }
    assert tenants.ask("acme-operator", "POST", f"{API}/runs/run-of-acme/cancel").status_code == 202
    wanted = {job.run_id: job.cancel_by for job in tool.running()}
    assert wanted["run-of-all"] is None
    assert (wanted["run-of-acme"] or "").startswith(actor)
    over = tenants.ask("acme-operator", "POST", f"{API}/runs/{tenants.ids['acme-run']}/cancel")
    assert (over.status_code, "has ended already" in over.text) == (409, True)


def test_what_is_accepted(tenants: TwoTenants) -> None:
    """What exceeds a limit is done by a run that accepts it, as the plan shows, and by no other one."""
    db = tenants.db
    db.create("limited", {"ts": TIME, "n": "TEXT"})
    db.fill("limited", ["2024-03-10"])
    db.policy("delete", "limited", "30d", id="limited", expected_max={"rows": 0})
    for accept, tasks, left in ((False, 0, 1), (True, 1, 0)):
        plan = tenants.get("viewer", f"{API}/plan", params={"policy": "limited", "accept": accept})
        mine = [each for each in plan["blocked"] if each["policy_id"] == "limited"]
        assert (len(plan["tasks"]), len(mine)) == (tasks, 1 - tasks)
        tenants.run("admin", policy="limited", accept=accept)
        assert db.count("limited") == left


def test_a_run_ends_before_its_next_step(duck: Database) -> None:
    """Cancelling a run of this process lets its present step end, and no other one begin; the next run goes on."""
    duck.create("t", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    duck.fill("t", ("2024-01-10", "2024-02-10", "2024-03-10"))
    duck.policy("snapshot", "t", "30d")
    runs, started, go_on = Runs(workers=1), threading.Event(), threading.Event()
    tool = duck.tool.acting_as(Actor("me", "here"))
    perform = tool.engine.perform

    class Slow:
        """An engine whose first step waits until it is told to go on."""

        def __getattr__(self, name: str) -> object:
            return getattr(duck.tool.engine, name)

        def perform(self, *args: object) -> object:
            started.set()
            assert go_on.wait(60)
            return perform(*args)  # type: ignore[arg-type]

    prepared = tool.prepare()
    tool.engine = Slow()  # type: ignore[assignment]
    state = runs.start(tool, prepared)
    assert started.wait(60)
    with pytest.raises(Conflict, match="are active already"):
        runs.start(tool, prepared)
    assert runs.cancel(tool, state.run_id).state == "running"
    go_on.set()
    runs.wait()
    found = runs.find(tool, state.run_id)
    assert (found.phase, found.code, found.steps_done) == ("cancelled", "stopped", 1)
    assert found.removed == (0, 0)  # What was archived is still there.
    runs.close()
    steps = sum(len(task.steps) for task in prepared.plan.tasks)
    assert len(duck.journal(event="step-finished", outcome="done")) == 1 < steps
    assert duck.run().ok
    assert duck.left("t") == []


def test_a_mistake_in_a_run_is_no_secret(duck: Database, caplog: pytest.LogCaptureFixture) -> None:
    """A run that ends by a mistake in the program is over, and says so without details."""
    runs = Runs()
    duck.policy("delete", "nowhere", "30d")  # It needs attention, which is no success.
    state = runs.start(duck.tool.sibling(), duck.tool.prepare())
    runs.wait()
    assert runs.find(duck.tool, state.run_id).phase == "failed"

    def break_off(prepared: Prepared, **more: object) -> object:
        assert isinstance(more["session"], Session)
        raise ZeroDivisionError("hunter2")

    tool = duck.tool.sibling()
    tool.run = break_off  # type: ignore[method-assign, assignment]
    state = runs.start(tool, tool.prepare())
    runs.wait()
    found = runs.find(tool, state.run_id)
    assert (found.phase, found.error) == ("failed", "internal error; see the log of the service")
    assert "ZeroDivisionError" in caplog.text
    runs.close()
