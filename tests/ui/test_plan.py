"""The plan as a page, and runs that are started, watched and cancelled there."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from nicegui import ui
from playwright.sync_api import Page, expect

from cratedb_retention.api import Retention
from cratedb_retention.errors import Forbidden
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.policies.tags import parse_tag_filter
from cratedb_retention.model.runs import RunState
from cratedb_retention.service.access import Scope
from cratedb_retention.ui import plan
from support.elements import PageElements
from support.pages import PagesInBrowser
from support.sample_data import HOSTILE_TABLE

EXPIRED = "2024-03-05T12:00:00"


def start(page: Page, word: str) -> None:
    """Press the button, and write what is asked for."""
    page.get_by_role("button", name="Run now").click()
    go = page.get_by_role("dialog").get_by_role("button", name="Run now")
    expect(go).to_be_disabled()
    page.get_by_label(f"Write {word} to go on").fill(word)
    go.click()


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


def test_what_is_asked_and_done(elements: PageElements, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that deletes data is confirmed, has a button once, does what is shown, and is told of once."""
    monkeypatch.setattr(plan, "BUSY", 0.01)
    tool, now = elements.db.tool, elements.db.time.moment
    for run_id, at in (("alive", now), ("silent", now - dt.timedelta(days=1))):
        tool.store.jobs.begin(RunState(run_id=run_id, started_at=at, heartbeat_at=at, actor="x"))
    before, real, looks = elements.db.left("visits"), elements.runs.all, list[int]()

    def counted(asked: Retention) -> list[RunState]:
        states = real(asked)
        looks.append(len(states))
        return states

    monkeypatch.setattr(elements.runs, "all", counted)
    elements.open(plan.show, "policy=visits")
    elements.wait(lambda: "Run alive" in elements.texts)
    elements.press("Run now")
    assert elements.question == "Run this plan now?"
    for word in ("", "visit"):
        elements.fill("Write visits to go on", word)
        assert not elements.find(ui.button, "Run now").enabled
    elements.fill("Write visits to go on", "visits")
    elements.press("Run now")
    assert elements.find(ui.button, "Run now") is None
    elements.wait(lambda: any("1 done, 0 failed" in text for text in elements.texts))
    seen = len(looks)
    elements.wait(lambda: len(looks) > seen + 2)
    links = [text for text in elements.texts if text == "What this run did, in the audit log"]
    assert (len(links), "Run silent" in elements.texts) == (1, False)
    assert elements.db.left("visits") == [row for row in before if row != EXPIRED]


def test_a_run_that_begins_during_a_look(elements: PageElements, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on although the answer, which comes late, does not have it."""
    monkeypatch.setattr(plan, "BUSY", 0.01)
    real, asked, answer, looks = elements.runs.all, threading.Event(), threading.Event(), []

    def late(tool: Retention) -> list[RunState]:
        states = real(tool)
        looks.append(states)
        if len(looks) == 1:
            asked.set()
            assert answer.wait(60)
        return states

    monkeypatch.setattr(elements.runs, "all", late)
    elements.open(plan.show, "policy=visits")
    assert asked.wait(60)
    with slow(elements.db.tool) as (started, go_on):
        elements.press("Run now")
        elements.fill("Write visits to go on", "visits")
        elements.press("Run now")
        assert started.wait(60)
        answer.set()
        seen = len(looks)
        elements.wait(lambda: len(looks) > seen + 1)  # The page looks again only after the late answer.
        assert "Cancel this run" in elements.texts
        go_on.set()
        elements.wait(lambda: any("1 done, 0 failed" in text for text in elements.texts))


def test_what_is_shown(elements: PageElements) -> None:
    """What needs attention is not among what is only blocked; a task that is not like others is shown in full."""
    elements.open(plan.show)
    [problem] = elements.rows("Needs attention: blocked until you act")
    [blocked] = elements.rows("Blocked: due, but must not happen now")
    assert (problem[:2], blocked[:2]) == (["needs attention", "lab.nowhere"], ["blocked", "lab.letters"])
    later = [row[-1] for row in elements.rows("Up to date")]
    assert later == sorted(filter(None, later)) + [""] * later.count("")
    [visits] = [row for row in elements.rows("What would be done") if row[0] == "lab.visits"]
    assert (visits[2], visits[4:6]) == ("drop partition month=2024-03-01", ["1", "1"])
    assert visits[7] == "2024-03-01 to 2024-04-01"
    assert "Show the statements (SQL)" in elements.texts
    acme = elements.db.tool.create_token("acme", Role.OPERATOR, parse_tag_filter(["acme"]))[1]
    elements.open(plan.show, "", acme)
    assert ("Run now" in elements.texts, "Show the statements (SQL)" in elements.texts) == (True, False)


@pytest.mark.slow("a run, in a browser")
@pytest.mark.long("make test does so on DuckDB, and from the page of a table on CrateDB", on="cratedb")
def test_a_run_does_what_its_plan_shows(each_pages: PagesInBrowser) -> None:
    """What is expired is gone after a run from the page, and nothing else; what is held stays."""
    db = each_pages.db
    before, letters = db.left("visits"), db.count("letters")
    page = each_pages.log_in("operator", "/ui/plan?policy=visits")
    expect(page.get_by_text("This run would delete 1 row in 1 partition of 1 table.")).to_be_visible()
    expect(page.get_by_role("link", name="delete visits").first).to_have_attribute("href", "/ui/policies/visits")
    expect(page.get_by_role("cell", name="drop partition month=2024-03-01")).to_be_visible()
    page.get_by_role("button", name="Show the statements").click()
    expect(page.get_by_label("Statements")).to_contain_text("DELETE FROM")
    start(page, "visits")
    expect(page.get_by_label("Run ", exact=False).get_by_text("1 done, 0 failed")).to_be_visible()
    assert db.left("visits") == [row for row in before if row != EXPIRED]
    page.get_by_role("link", name="What this run did").click()
    expect(page.get_by_text("1 step: 1 done")).to_be_visible()
    each_pages.go(page, "/ui/plan?tags=acme&strategy=delete")
    expect(page.get_by_text("Nothing is due: this run would change nothing.")).to_be_visible()
    expect(page.get_by_role("cell", name="case 7/2024", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Run now")).to_have_count(0)
    assert db.count("letters") == letters > 0


@pytest.mark.long("make test proves cutoffs in tests/cli and by HTTP")
def test_another_cutoff(pages: PagesInBrowser) -> None:
    """With an earlier cutoff less is due; a later one than now is refused; filters stay in the address."""
    page = pages.log_in("viewer", "/ui/plan")
    page.get_by_label("Policy").fill("visits")
    page.get_by_label("Cutoff").fill("2024-06-01")
    page.get_by_label("Cutoff").press("Enter")
    page.wait_for_url("**/ui/plan?policy=visits&cutoff=2024-06-01")
    expect(page.get_by_text("Nothing is due: this run would change nothing.")).to_be_visible()
    pages.go(page, "/ui/plan?policy=visits&cutoff=2024-06-30")
    expect(page.get_by_text("This run would delete 1 row")).to_be_visible()
    pages.go(page, "/ui/plan?policy=visits&cutoff=2024-07-02T12:00:01")
    expect(page.get_by_role("alert")).to_contain_text("is in the future")
    assert EXPIRED in pages.db.left("visits")


def test_a_run_is_watched_and_cancelled(pages: PagesInBrowser) -> None:
    """A run ends before its next step when it is cancelled on the page, and its data is still there."""
    before = pages.db.count("orders")
    page = pages.log_in("operator", "/ui/plan?policy=orders")
    with slow(pages.context.retention) as (started, go_on):
        start(page, "orders")
        assert started.wait(60)
        run = page.get_by_role("article", name="Run ")
        expect(run.get_by_text("Now: archive partition")).to_be_visible()
        expect(run.get_by_role("progressbar", name="Steps done")).to_be_visible()
        expect(run.get_by_text("0 of 3 steps done")).to_be_visible()
        run.get_by_role("button", name="Cancel this run").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel the run").click()
        expect(page.get_by_text("ends before its next step").first).to_be_visible()
        go_on.set()
        expect(run.get_by_text("cancelled", exact=True)).to_be_visible()
    assert pages.db.count("orders") == before
    assert pages.db.journal(event="run-finished")[0]["outcome"] in ("cancelled", "interrupted")


@pytest.mark.long("make test proves what is told of failures in tests/cli and by HTTP")
def test_a_failure_is_told_in_full(pages: PagesInBrowser) -> None:
    """The error of a step that failed stands with its run, and in the audit log."""
    page = pages.log_in("operator", "/ui/plan?policy=orders")
    pages.db.break_repository()
    before = pages.db.count("orders")
    start(page, "orders")
    run = page.get_by_role("article", name="Run ")
    expect(run.get_by_text("failed", exact=True)).to_be_visible()
    (error,) = [row["error"] for row in pages.db.journal(outcome="failed", event="step-finished")]
    expect(run.get_by_text(error)).to_be_visible()
    pages.go(page, "/ui/jobs?outcome=failed&event=step-finished")
    page.get_by_role("button", name="Details of Step finished").click()
    expect(page.get_by_role("dialog").get_by_text(error)).to_be_visible()
    assert pages.db.count("orders") == before


def test_a_plan_that_is_out_of_date_is_not_run(pages: PagesInBrowser) -> None:
    """What somebody else did meanwhile makes a plan old; it is put off, and the page says so."""
    page = pages.log_in("operator", "/ui/plan?policy=visits")
    pages.db.tool.run(selection=Selection(policy_id="visits"))
    start(page, "visits")
    run = page.get_by_role("article", name="Run ")
    expect(run.get_by_text("1 deferred")).to_be_visible()
    expect(run.get_by_text("deferred: ")).to_be_visible()


def test_who_may_not_run(pages: PagesInBrowser) -> None:
    """Viewers see the plan and runs of all processes, and can do nothing about them, whatever they send."""
    tool, now = pages.db.tool, pages.db.time.moment
    tool.store.jobs.begin(
        RunState(
            run_id="of-scheduler",
            started_at=now,
            heartbeat_at=now,
            actor="scheduler",
            step=2,
            steps=4,
            doing="drop 7 partitions",
        )
    )
    page = pages.log_in("viewer", "/ui/plan")
    run = page.get_by_role("article", name="Run of-scheduler")
    expect(run.get_by_text("Now: drop 7 partitions")).to_be_visible()
    expect(run.get_by_text("1 of 4 steps done")).to_be_visible()
    expect(page.get_by_role("cell", name=f"{pages.db.schema}.{HOSTILE_TABLE}")).to_be_visible()
    for name in ("Run now", "Cancel this run", "Show the statements"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    viewer = Scope(tool, Access(role=Role.VIEWER, actor="viewer"))
    for refused in (
        lambda: viewer.start_run(pages.context.runs, tool.prepare()),
        lambda: viewer.cancel(pages.context.runs, "of-scheduler"),
        lambda: viewer.statements(tool.plan()),
    ):
        with pytest.raises(Forbidden):
            refused()


@pytest.mark.long("make test proves it by HTTP, and drives the main path of the page in a browser")
def test_tenants(pages: PagesInBrowser) -> None:
    """Somebody with a limit sees and runs what is theirs only."""
    tool, now = pages.db.tool, pages.db.time.moment
    tool.store.jobs.begin(
        RunState(
            run_id="of-scheduler",
            started_at=now,
            heartbeat_at=now,
            actor="scheduler",
            step=2,
            steps=4,
            doing="drop orders",
        )
    )
    page, orders = pages.log_in("globex", "/ui/plan"), pages.db.count("orders")
    expect(page.get_by_text("This run would archive 1 partition of 1 table.")).to_be_visible()
    page = pages.log_in("acme", "/ui/plan")
    expect(page.get_by_role("cell", name=f"{pages.db.schema}.visits").first).to_be_visible()
    start(page, "run")
    expect(page.get_by_role("article", name="Run ").get_by_text("needs attention", exact=True)).to_be_visible()
    for others in ("orders", "of-scheduler", HOSTILE_TABLE):
        expect(page.locator("#main")).not_to_contain_text(others)
    assert EXPIRED not in pages.db.left("visits")
    assert pages.db.count("orders") == orders
    pages.go(page, "/ui/jobs")
    expect(page.get_by_role("cell", name=f"{pages.db.schema}.visits").first).to_be_visible()
    for others in ("orders", "globex"):
        expect(page.locator("#main")).not_to_contain_text(others)
    pages.go(page, "/ui/jobs?actor=tester")
    expect(page.get_by_text("No matching entries in the audit log.")).to_be_visible()
