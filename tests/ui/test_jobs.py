"""The audit log as a page."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from nicegui import ui
from nicegui.element import Element
from playwright.sync_api import expect

from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model.access import Role
from cratedb_retention.ui import audit
from cratedb_retention.ui.audit import read_query
from cratedb_retention.ui.links import Query
from support.databases import MONTH, TIME, FixedClock
from support.elements import PageElements
from support.pages import PagesInBrowser, long_on_cratedb
from support.sample_data import HOSTILE, HOSTILE_TABLE


@pytest.mark.slow("a form, a run and its log in a browser")
@long_on_cratedb
def test_a_change_of_a_policy(each_pages: PagesInBrowser) -> None:
    """The form leads to rows that fit; the details of a change show before and after, by keyboard as well."""
    each_pages.db.tool.edit_policy("visits", {"retention_period": "60d"})
    page = each_pages.log_in("viewer", "/ui/jobs")
    page.get_by_label("Table", exact=True).fill(f"{each_pages.db.schema}.visits")
    page.get_by_label("Event").click()
    page.get_by_role("option", name="Policy changed").click()
    page.get_by_role("search").get_by_role("button", name="Show").click()
    page.wait_for_url("**event=policy-changed*")
    each_pages.there(page)
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_role("button", name="Details of Policy changed").press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("row", name="retention_period")).to_contain_text("90d")
    expect(dialog.get_by_role("row", name="retention_period")).to_contain_text("60d")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_pages_of_rows(elements: PageElements) -> None:
    """Older and newer rows are where there are some; a run is told as a whole unless it is narrowed."""
    elements.open(audit.show, "limit=20")
    assert ("Older" in elements.texts, "Newest" in elements.texts) == (True, False)
    assert len(elements.rows("Audit log")) == 20
    elements.open(audit.show, "limit=1000")
    many = len(elements.rows("Audit log"))
    elements.open(audit.show, f"limit={many}")
    assert "Older" not in elements.texts
    elements.open(audit.show, f"limit={many - 1}")
    older = elements.find(Element, "Older").props["href"]
    elements.open(audit.show, older.partition("?")[2])
    assert len(elements.rows("Audit log")) == 1
    older, newest = (elements.find(Element, word) for word in ("Older", "Newest"))
    assert (older, newest.props["href"]) == (None, f"/ui/jobs?limit={many - 1}")
    run_id = elements.db.journal(event="run-finished")[0]["run_id"]
    after = "&after=2100-01-01T00:00:00%2B00:00,0"
    for query, whole in (("", True), ("&limit=200", True), ("&outcome=done", False), (after, False)):
        elements.open(audit.show, f"run_id={run_id}{query}")
        assert (f"Run {run_id[:8]}" in elements.texts) is whole, query


def test_what_a_run_took(elements: PageElements) -> None:
    """A run is shown with its steps, rows and partitions."""
    run_id = elements.db.tool.run(selection=Selection(policy_id="visits")).run_id
    elements.open(audit.show, f"run_id={run_id}")
    [summary] = [text for text in elements.texts if text.startswith("1 step: 1 done")]
    assert summary.startswith("1 step: 1 done · 1 row · 1 partition")


def test_undo_of_a_run(elements: PageElements) -> None:
    """Where a run deleted what is recoverable, its page brings it back: shown first, and for operators only."""
    db = elements.db
    db.create("sessions", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill("sessions", ["2024-04-10T00:00:00Z", "2024-06-10T00:00:00Z"])
    db.policy("delete", "sessions", "30d", recoverable="7d", id="week")
    run_id = db.tool.run(selection=Selection(policy_id="week")).run_id
    viewer = db.tool.create_token("looks", Role.VIEWER)[1]
    elements.open(audit.show, f"run_id={run_id}", viewer)
    assert elements.find(ui.button, "Undo …") is None
    elements.open(audit.show, f"run_id={run_id}")
    elements.press("Undo …")
    assert len(elements.rows("What would be restored")) == 1
    assert any("get a legal hold" in text for text in elements.texts)
    elements.press("Cancel")
    assert elements.rows("What would be restored") == []
    elements.press("Undo …")
    elements.press("Bring back 1 partition")
    assert "1 partition with 1 row came back." in elements.texts
    assert db.count("sessions") == 2
    elements.open(audit.show, f"run_id={run_id}")
    assert elements.find(ui.button, "Undo …") is None
    assert [row[1] for row in elements.rows("Steps of this run, in order")][-1] == "Restored"


def test_reasons_in_detail(elements: PageElements) -> None:
    """A reason is an error where you must act, and a warning elsewhere."""
    elements.db.tool.run()
    for outcome, tone in (("needs-attention", "error"), ("blocked", "warning")):
        elements.open(audit.show, f"outcome={outcome}")
        elements.details("Audit log", 0)
        reason = elements.db.journal(outcome=outcome)[0]["error"]
        box = elements.find(ui.label, reason).parent_slot.parent
        assert tone in box.classes


def test_a_change_in_detail(elements: PageElements) -> None:
    """Details show what a policy was before, and after; how long something took is in a unit that fits."""
    elements.db.tool.edit_policy("visits", {"retention_period": "60d"})
    journal = elements.db.q("jobs_log", elements.db.own_schema)
    for took in (0, 1500, 180_000):
        elements.db.sql(f"UPDATE {journal} SET duration_ms = {took} WHERE event = 'policy-changed'")
        elements.open(audit.show, "event=policy-changed")
        [row] = elements.rows("Audit log")
        assert row[7] == {0: "0 ms", 1500: "1.5 s", 180_000: "3 min"}[took]
    elements.details("Audit log", 0)
    texts = elements.texts
    assert texts[texts.index("retention_period") :][:3] == ["retention_period", "90d", "60d"]


@pytest.mark.long("make test shows a run and its steps on the same page")
def test_a_run_as_a_whole(pages: PagesInBrowser) -> None:
    """A run's steps stand in order, each once, with totals."""
    run_id = pages.db.journal(event="run-finished")[0]["run_id"]
    page = pages.log_in("viewer", f"/ui/jobs?run_id={run_id}")
    expect(page.get_by_role("heading", name=f"Run {run_id[:8]}")).to_be_visible()
    numbers = {row["step"] for row in pages.db.journal(event="step-finished", run_id=run_id)}
    expect(page.locator(".summary")).to_contain_text(f"{len(numbers)} steps: {len(numbers)} done")
    events = page.get_by_role("row").locator("td:nth-child(2)").all_inner_texts()
    assert (events[0], events[-1]) == ("Run began", "Run finished")
    assert events.count("Step finished") == len(numbers)


@pytest.mark.long("make test reads the newest rows")
def test_older_rows(pages: PagesInBrowser) -> None:
    """Each row is on one page, however many rows have the same time."""
    page = pages.log_in("admin", "/ui/jobs?limit=20&outcome=done")
    shown = 0
    while True:
        shown += page.get_by_role("row").count() - 1
        older = page.get_by_role("link", name="Older")
        if not older.count():
            break
        pages.go(page, older.get_attribute("href") or "")
    assert shown == len(pages.db.journal(outcome="done")) > 20
    page.get_by_role("link", name="Newest").click()
    expect(page.get_by_role("row")).to_have_count(21)


@pytest.mark.long("make test proves that names stay text in the editor and the archive")
def test_names_stay_text(pages: PagesInBrowser) -> None:
    """Names that would be markup are text in rows, details and filters."""
    page = pages.log_in("viewer", f"/ui/jobs?{urlencode({'policy': 'hostile', 'tags': HOSTILE})}")
    expect(page.get_by_label("Tags")).to_have_value(HOSTILE)
    expect(page.get_by_role("cell", name=f"{pages.db.schema}.{HOSTILE_TABLE}")).to_be_visible()
    page.get_by_role("button", name="Details of").first.click()
    expect(page.get_by_role("dialog").get_by_text(HOSTILE).first).to_be_visible()
    pages.go(page, f"/ui/jobs?{urlencode({'event': HOSTILE})}")
    expect(page.get_by_role("alert")).to_contain_text("<script>")


@pytest.mark.parametrize(
    "query",
    [
        {"event": "x"},
        {"outcome": "x"},
        {"limit": "0"},
        {"limit": "²"},
        {"limit": "1001"},
        {"after": "2024-07-01T00:00:00+00:00"},
        {"after": "yesterday,1"},
        {"after": "2024-07-01T00:00:00+00:00,-1"},
        {"since": "x"},
    ],
)
def test_what_can_not_be_read(query: dict[str, str]) -> None:
    """A filter that means nothing is refused, rather than left out."""
    with pytest.raises(InvalidInput):
        read_query(Query(query), FixedClock().moment)
