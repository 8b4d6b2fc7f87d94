"""Runs on server-rendered pages, by HTTP: the list, and the page of one, which cancels, retries and undoes it."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from cratedb_retention.api import Retention
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model.access import Role
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.runs import RunOptions, RunState
from cratedb_retention.store.audit import Entry, RunTotals
from cratedb_retention.ui import links
from cratedb_retention.ui.audit import took
from cratedb_retention.ui.runs import table
from cratedb_retention.ui.runs.run import Run
from cratedb_retention.ui.web import parts
from cratedb_retention.ui.web.layout import RUNNING
from support.databases import MONTH, TIME, DuckDatabase
from support.sample_data import HOSTILE_TABLE
from support.served import Service, Visitor, text_of

LIST, TABLES, ENTRIES = "Runs, latest first", "What it did, by table", "Entries of this run, newest first"
START = dt.datetime(2024, 7, 1, tzinfo=dt.UTC)


@pytest.fixture
def viewer(service: Service) -> Visitor:
    return service.log_in(Role.VIEWER)


@pytest.fixture
def operator(service: Service) -> Visitor:
    return service.log_in(Role.OPERATOR)


def begin(db: DuckDatabase, run_id: str, ago: dt.timedelta = dt.timedelta(), **more: object) -> None:
    """A run of another process, whose last sign of life is some time ago."""
    at = db.time.moment - ago
    told = {"actor": "scheduler", "step": 2, "steps": 4, "doing": "drop 7 partitions", **more}
    db.tool.store.jobs.begin(RunState(run_id=run_id, started_at=at, heartbeat_at=at, **told))  # type: ignore[arg-type]


def first_run(db: DuckDatabase) -> str:
    """The run of all policies that the sample data comes with."""
    return str(db.journal(event="run-finished")[-1]["run_id"])


def fail(db: DuckDatabase, *others: str) -> tuple[str, str]:
    """A run in which archiving fails, but not what other policies do, and why."""
    prepared = db.tool.prepare(selection=Selection(policy_ids=frozenset({"orders", *others})))
    db.break_repository()
    run_id = db.tool.run(prepared).run_id
    db.mend_repository()
    [error] = [row["error"] for row in db.journal(event="step-finished", outcome="failed")]
    return run_id, " ".join(error.split())


def kill(db: DuckDatabase) -> str:
    """A run whose process was killed in a step."""
    step: dict[str, Any] = {"step": 1, "message": "drop 7 partitions", "policy_id": "visits", "tags": ("acme", "web")}
    db.tool.store.journal.write(
        Entry(event=Event.RUN_STARTED, run_id="killed"),
        Entry(event=Event.STEP_STARTED, run_id="killed", table_schema=db.schema, table_name="visits", **step),
    )
    return "killed"


@contextmanager
def slow(tool: Retention) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Steps begin, which the first event says, and wait until the second one is set."""
    real, started, go_on = tool.engine, threading.Event(), threading.Event()

    class Slow:
        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def perform(self, *args: object) -> object:
            started.set()
            assert go_on.wait(60)
            return real.perform(*args)  # type: ignore[arg-type]

    tool.engine = Slow()  # type: ignore[assignment]
    try:
        yield started, go_on
    finally:
        go_on.set()
        tool.engine = real


def test_what_runs_now_is_on_each_page(db: DuckDatabase, service: Service) -> None:
    """The head has a link to a run that goes on, also alone; not to one that died, nor to what a tenant may not see."""
    viewer, acme = service.log_in(Role.VIEWER), service.log_in(Role.VIEWER, "acme")
    path = links.table(TableName(db.schema, "visits"))
    begin(db, "silent", dt.timedelta(days=1))
    assert viewer.get(RUNNING).all("a") == []
    begin(db, "alive", table_name=f"{db.schema}.visits")
    for shown in (viewer.get(path), viewer.get(RUNNING)):
        [link] = [each for each in shown.all("a") if each.get("class") == "badge is-running"]
        assert (text_of(link), link.get("href")) == ("Running: 1 of 4 steps", links.run("alive"))
        assert link.get("title") == "drop 7 partitions\nby scheduler"
    assert "Running now: drop 7 partitions, run alive" in viewer.get(path).text
    assert "alive" not in acme.get(path).markup + acme.get(RUNNING).markup
    begin(db, "another")
    assert [each.text for each in viewer.get(RUNNING).all("a")] == ["2 runs"]
    assert service.visit().get(RUNNING).status == 303


def test_the_list(db: DuckDatabase, viewer: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run once, latest first, with how it was and what failed in full; filters and parts are in the address."""
    first = first_run(db)
    due = db.tool.run_due(options=RunOptions(threads=False))
    assert due
    db.time.set("2024-07-02T13:00:00+00:00")
    failed, error = fail(db)
    db.time.set("2024-07-02T14:00:00+00:00")
    killed = kill(db)
    db.time.set("2024-07-02T15:00:00+00:00")
    begin(db, "alive")
    ids = ["alive", killed, failed, due.run_id, first]

    def runs(**query: str) -> list[str]:
        found = viewer.get(links.runs(**query))
        assert found.status == 200
        return [row["Run"] for row in found.rows(LIST)]

    shown = viewer.get(links.runs())
    rows = shown.rows(LIST)
    assert [row["Run"] for row in rows] == [run_id[:8] for run_id in ids]
    assert [row["State"] for row in rows] == ["running", "no end", "failed", "done", "needs attention"]
    assert [row["Trigger"] for row in rows] == ["", "by hand", "by hand", "schedule", "by hand"]
    assert [rows[0][name] for name in ("Steps", "By")] == ["1 of 4", "scheduler"]
    assert (rows[2]["Tables"], rows[2]["Below"]) == (f"{db.schema}.orders", f"{db.schema}.orders {error}")
    [end] = [row for row in db.journal(event="run-finished") if row["run_id"] == first]
    assert (rows[4]["Rows"], rows[4]["Started"]) == (f"{end['rows']:,}", "2024-07-01 12:00:00")
    assert "1 needs attention, 1 blocked" in rows[4]["Steps"]
    assert shown.href(first[:8]) == links.run(first)

    chosen = {
        "outcome": {"failed": [failed], "running": ["alive"], "needs-attention": [first], "cancelled": []},
        "table": {f"{db.schema}.orders": [failed, first], "letters": [first]},
        "policy": {"orders": [failed, first]},
        "tags": {"globex": [failed, first]},
        "actor": {"scheduler": ["alive"], "unknown": []},
        "since": {"2024-07-02T12:30": [killed, failed]},
        "until": {"2024-07-02": [first]},
    }
    for name, values in chosen.items():
        for value, expected in values.items():
            assert runs(**{name: value}) == [run_id[:8] for run_id in expected], (name, value)
    for wrong in ({"outcome": "x"}, {"since": "soon"}, {"after": "2024-07-01"}, {"tags": "a,,b"}):
        assert len(viewer.get(links.runs(**wrong)).all("div[@role='alert']")) == 1, wrong

    monkeypatch.setattr(table, "RUNS", 2)
    part = viewer.get(links.runs())
    found = [row["Run"] for row in part.rows(LIST)]
    while "Older" in part.links:
        part = viewer.get(part.href("Older"))
        found += [row["Run"] for row in part.rows(LIST)]
    assert found == [run_id[:8] for run_id in ids]
    assert part.href("Newest") == links.runs()


def test_the_page_of_a_run(db: DuckDatabase, viewer: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it did to each table, with links to what it was about; its entries; and its errors in full."""
    run_id = first_run(db)
    shown = viewer.get(links.run(run_id))
    assert (shown.status, shown.title) == (200, f"Run {run_id[:8]}")
    by_table = {row["Table"]: row for row in shown.rows(TABLES)}
    states = {"visits": "done", "orders": "done", "letters": "blocked", "nowhere": "needs attention"}
    assert {name: by_table[f"{db.schema}.{name}"]["State"] for name in states} == states
    ended = [row for row in db.journal(event="step-finished", run_id=run_id) if row["table_name"] == "visits"]
    visits = by_table[f"{db.schema}.visits"]
    assert (visits["Policy"], visits["Steps"]) == ("delete after 90d", f"{len(ended)} done")
    assert visits["Rows"] == f"{sum(row['rows'] or 0 for row in ended)}"
    assert shown.href(f"{db.schema}.visits") == links.table(TableName(db.schema, "visits"))
    assert shown.href("delete after 90d") == links.policy("visits")
    [trouble] = shown.texts("div[@aria-label='Failed, or needs attention']//li")
    [reason] = [row["error"] for row in db.journal(outcome="needs-attention", event="blocked")]
    assert " ".join(reason.split()) in trouble and f"{db.schema}.nowhere" in trouble
    assert not shown.all("div[@data-live='3']"), "nothing changes any more"

    entries = viewer.get(links.run(run_id, tab="entries", table=f"{db.schema}.visits")).rows(ENTRIES)
    assert {(row["Event"], row["Table"]) for row in entries} == {("Step finished", f"{db.schema}.visits")}
    assert len(entries) == len(ended)
    blocked = viewer.get(links.run(run_id, tab="entries", outcome="blocked")).rows(ENTRIES)
    assert [row["Table"] for row in blocked] == [f"{db.schema}.letters"]
    assert "soon" in viewer.get(links.run(run_id, tab="entries", outcome="soon")).text

    monkeypatch.setattr(parts, "ROWS", 2)
    found, href = list[str](), links.run(run_id)
    while href:
        part = viewer.get(href)
        found += [row["Table"] for row in part.rows(TABLES)]
        href = part.links.get("Next", "")
    assert sorted(found) == sorted(by_table)


def test_addresses_of_runs(db: DuckDatabase, viewer: Visitor) -> None:
    """The beginning of an identifier is enough, and former addresses lead here; what is unknown says so."""
    run_id = first_run(db)
    for href, status, there in (
        (links.run(run_id[:8]), 303, links.run(run_id)),
        (f"/ui/jobs?run_id={run_id}", 308, links.run(run_id)),
        ("/ui/jobs?outcome=failed&tags=a&tags=b", 308, "/ui/activity?outcome=failed&tags=a&tags=b"),
    ):
        answer = viewer.get(href)
        assert (answer.status, answer.headers["location"]) == (status, there)
    for end in "12":
        begin(db, f"several-{end}")
        db.tool.store.journal.write(Entry(event=Event.RUN_STARTED, run_id=f"several-{end}"))
    for unknown in (run_id[:5], "several-", "unknown-run", "a/../b", ""):
        assert viewer.get(f"{links.runs()}/{unknown}").status == 404, unknown
    killed = viewer.get(links.run(kill(db)))
    assert "no end" in killed.text and "Its last step: drop 7 partitions" in killed.text
    assert [row["State"] for row in killed.rows(TABLES)] == ["no end"]
    assert killed.all("div[@data-live='3']"), "another service may run it, and say so soon"
    db.time.moment += dt.timedelta(minutes=2)
    assert not viewer.get(links.run("killed")).all("div[@data-live='3']")


def test_a_run_is_watched_and_cancelled(db: DuckDatabase, service: Service, viewer: Visitor, operator: Visitor) -> None:
    """Its page says what it does and is kept up to date; it ends before its next step once an operator cancels it."""
    before = db.count("orders")
    with slow(db.tool) as (started, go_on):
        prepared = db.tool.prepare(selection=Selection(policy_id="orders"))
        run_id = service.context.runs.start(db.tool, prepared).run_id
        assert started.wait(60)
        path = links.run(run_id)
        shown = operator.get(path)
        assert "Now: archive partition" in shown.text and "0 of 3 steps done" in shown.text
        [bar] = shown.all("progress")
        assert (bar.get("value"), bar.get("aria-label")) == ("0.0000", "Steps done")
        [live] = shown.all("div[@data-live='3']")
        assert (live.get("id"), live.get("data-with")) == ("state", "panel")
        assert [each.get("content") for each in shown.all("noscript/meta")] == ["3"]
        assert [row["State"] for row in shown.rows(TABLES)] == ["running"]
        assert not viewer.get(path).fields("cancel")
        assert viewer.post(path, do="cancel").status == 403
        assert operator.post(path, do="something").status == 422
        done = operator.post(path, **shown.fields("cancel"))
        assert (done.status, done.headers["location"]) == (303, links.run(run_id, done="cancelling"))
        assert "ends before its next step" in operator.get(done.headers["location"]).text
        go_on.set()
        service.context.runs.wait()
    over = operator.get(path)
    assert over.texts("div[@class='titled']/span") == ["cancelled"]
    assert not over.fields("cancel") and not over.all("div[@data-live='3']")
    assert operator.post(path, do="cancel").status == 409
    assert db.count("orders") == before
    assert db.journal(event="run-finished")[0]["outcome"] in ("cancelled", "interrupted")


def test_retry_of_what_failed(db: DuckDatabase, service: Service, viewer: Visitor, operator: Visitor) -> None:
    """The error is on the page of the run, where operators run the policies of what failed again, as it is shown."""
    run_id, error = fail(db, "visits")
    db.tool.edit_policy("visits", {"retention_period": "30d"})
    path, before = links.run(run_id), db.count("orders")
    shown = operator.get(path)
    assert error in shown.texts("div[@aria-label='Failed, or needs attention']//li")[0]
    assert "Retry what failed …" not in viewer.get(path).links
    assert "Retry what failed …" not in operator.get(links.run(first_run(db))).links
    preview = operator.get(shown.href("Retry what failed …").partition("#")[0])
    [row], [task] = preview.rows("What would be done"), preview.rows(f"Tasks of {db.schema}.orders")
    assert (row["Effect"], task["Policy"]) == ("archive and drop 1 partition", "archive after 60d")
    assert "Type orders to confirm" in preview.text
    form = {**preview.fields("retry"), "confirm": "orders"}
    later = str(int(form["cutoff"]) + 1)
    for wrong, status in (
        ({"confirm": "x"}, 422),
        ({"shown": "x"}, 409),
        ({"cutoff": later}, 422),
        ({"cutoff": "-"}, 422),
    ):
        assert operator.post(path, **{**form, **wrong}).status == status, wrong
    assert viewer.post(path, **form).status == 403
    assert operator.post(links.run(first_run(db)), **form).status == 409
    assert db.count("orders") == before
    done = operator.post(path, **form)
    service.context.runs.wait()
    again = operator.get(done.headers["location"])
    assert again.texts("div[@class='titled']/span") == ["done"]
    assert (db.count("orders"), again.title == shown.title) == (before - 1, False)


def test_many_errors(db: DuckDatabase, viewer: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand in the order of their steps; a list counts what it leaves out, and the page of the run leads there."""
    about: dict[str, Any] = {"event": Event.STEP_FINISHED, "outcome": Outcome.FAILED, "run_id": "many"}
    numbers = range(1, 6)
    db.tool.store.journal.write(
        Entry(event=Event.RUN_STARTED, run_id="many"),
        *(Entry(table_schema=db.schema, table_name=f"t{n}", step=n, message=f"bad {n}", **about) for n in numbers),
    )
    first = viewer.get(links.runs()).rows(LIST)[0]
    assert first["Tables"] == "5 tables"
    assert first["Below"] == " ".join(f"{db.schema}.t{n} bad {n}" for n in (1, 2, 3)) + " 2 more"
    monkeypatch.setattr(parts, "ROWS", 4)
    shown = viewer.get(links.run("many"))
    *items, last = shown.texts("div[@aria-label='Failed, or needs attention']//li")[1:]
    assert [item[-5:] for item in items] == [f"bad {n}" for n in (2, 3, 4, 5)]
    assert (last, shown.href(last)) == ("More of this", links.run("many", tab="entries", outcome="failed"))


def test_undo_of_a_run(db: DuckDatabase, service: Service, viewer: Visitor, operator: Visitor) -> None:
    """Where a run deleted what is recoverable, its page brings back what it shows, for operators only."""
    db.create("sessions", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill("sessions", ["2024-04-10T00:00:00Z", "2024-06-10T00:00:00Z"])
    db.policy("delete", "sessions", "30d", recoverable="7d", id="week")
    run_id = db.tool.run(selection=Selection(policy_id="week")).run_id
    path = links.run(run_id)
    assert "Undo …" not in viewer.get(path).links
    preview = operator.get(operator.get(path).href("Undo …").partition("#")[0])
    [row] = preview.rows("What would be restored")
    assert (row["Table"], row["Result"]) == (f"{db.schema}.sessions", "ready")
    assert "get a legal hold" in preview.text
    form = preview.fields("undo")
    assert operator.post(path, do="undo", shown="something else").status == 409
    assert viewer.post(path, **form).status == 403
    assert db.count("sessions") == 1
    done = operator.post(path, **form)
    service.context.operations.wait()
    over = operator.get(done.headers["location"])
    [operation] = over.rows("Recent operations of this service")
    assert (operation["Operation"], operation["State"], operation["Snapshots"]) == ("Undo", "done", "1 of 1")
    assert "Undo …" not in over.links
    assert operator.get(links.runs()).rows("Recent operations of this service") == [operation]
    assert db.count("sessions") == 2
    assert "Restored" in [row["Event"] for row in operator.get(links.run(run_id, tab="entries")).rows(ENTRIES)]


def test_tenants(db: DuckDatabase, service: Service) -> None:
    """A tenant sees of runs what they did to the tenant's own tables, and nothing of runs without such a part."""
    first, (failed, _) = first_run(db), fail(db)
    acme, globex = (service.log_in(Role.EDITOR, tenant) for tenant in ("acme", "globex"))
    for visitor, ids, states in ((acme, [first], ["needs attention"]), (globex, [failed, first], ["failed", "done"])):
        rows = visitor.get(links.runs()).rows(LIST)
        assert ([row["Run"] for row in rows], [row["State"] for row in rows]) == ([each[:8] for each in ids], states)
        assert not any(row.get("By") for row in rows)
    mine = acme.get(links.run(first))
    tables = {row["Table"] for row in mine.rows(TABLES)}
    assert {f"{db.schema}.{name}" for name in ("visits", "letters", "nowhere")} <= tables
    pages = [mine, acme.get(links.runs()), acme.get(links.run(first, tab="entries")), acme.get(links.activity())]
    for others in ("orders", "globex", HOSTILE_TABLE, "tester"):
        assert not any(others in each.text for each in pages), others
    hidden, unknown = acme.get(links.run(failed)), acme.get(links.run("unknown-run"))
    assert (hidden.status, unknown.status) == (404, 404)
    assert hidden.text.replace(failed, "") == unknown.text.replace("unknown-run", "")
    assert acme.post(links.run(failed), do="undo", shown="x").status == 404
    assert acme.get(links.runs(actor="tester")).rows(LIST) == []
    assert acme.get(links.activity(actor="tester")).rows("Audit log, newest first") == []


def make_run(*ends: str, outcome: str | None = None, job: str | None = None, **counted: int) -> Run:
    """A run with these ends in the audit log, and an outcome that this process remembers; it took three hours."""
    rows = {event: {"event": event, "time": START, "outcome": None} for event in ends}
    if Event.RUN_FINISHED in rows:
        rows[Event.RUN_FINISHED] |= {"outcome": outcome, "time": START + dt.timedelta(hours=3)}
    state = None
    if job:
        state = RunState(run_id="r", started_at=START, heartbeat_at=START, finished_at=START, outcome=job)
    outcomes = {str(each): counted.get(each.replace("-", "_"), 0) for each in Outcome}
    totals = RunTotals(
        run_id="r",
        began=START,
        ended=START + dt.timedelta(minutes=2),
        tables=0,
        scheduled=False,
        finished=bool(counted.get("finished")),
        outcomes=outcomes,
        steps=0,
        partitions=0,
        rows=0,
        bytes=0,
        duration_ms=0,
    )
    return Run(run_id="r", totals=totals, ends=rows, job=state, running=False, now=START)


@pytest.mark.parametrize(
    ("run", "state", "lasted"),
    [
        (make_run(Event.RUN_STARTED, Event.RUN_FINISHED, outcome="done", failed=1), "done", "3.0 h"),
        (make_run(Event.RUN_STARTED, done=3), "no-end", "2 min"),
        (make_run(Event.RUN_STARTED, Event.RUN_FINISHED, outcome="interrupted", job="cancelled"), "cancelled", "3.0 h"),
        (make_run(job="failed"), "failed", "0 ms"),
        (make_run(done=3, blocked=1, failed=1), "failed", "2 min"),
        (make_run(done=3, blocked=1, needs_attention=1), "needs-attention", "2 min"),
        (make_run(finished=1), "done", "2 min"),
        (make_run(), "no-end", "2 min"),
    ],
)
def test_how_a_run_was(run: Run, state: str, lasted: str) -> None:
    """By its end, if that is known; else by what this process remembers of it, or else by its steps."""
    assert (run.state, took(run.milliseconds)) == (state, lasted)
    later = replace(run, now=START + dt.timedelta(minutes=2))
    assert (run.may_go_on, later.may_go_on) == (state == "no-end", False)
