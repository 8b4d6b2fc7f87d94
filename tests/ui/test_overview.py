"""The overview: what is kept where, and what needs somebody first."""

from __future__ import annotations

import pytest
from nicegui import ui
from playwright.sync_api import expect

from cratedb_retention.model.access import Role
from cratedb_retention.model.policies.tags import parse_tag_filter
from cratedb_retention.ui.overview import table as overview
from support.elements import PageElements
from support.pages import NARROW, PagesInBrowser, long_on_cratedb
from support.sample_data import HOSTILE_TABLE


@pytest.mark.slow("runs, and pages in a browser")
@long_on_cratedb
def test_what_needs_somebody_comes_first(each_pages: PagesInBrowser) -> None:
    """Each table is there once, what needs attention first, with its time, its policies and its next run."""
    schema = each_pages.db.schema
    page = each_pages.log_in("viewer")
    rows = page.get_by_role("region", name="Tables").locator("tbody tr")
    expect(rows).to_have_count(9)
    expect(rows.nth(0)).to_contain_text(f"{schema}.nowhere")
    expect(rows.nth(0)).to_contain_text("no such table")
    expect(rows.nth(1)).to_contain_text(f"{schema}.letters")
    expect(rows.nth(1)).to_contain_text("blocked")
    visits = rows.filter(has_text=f"{schema}.visits")
    expect(visits).to_contain_text("delete after 90d")
    expect(visits).to_contain_text("2024-03-01")
    expect(visits).to_contain_text("2024-08-01")
    expect(visits).to_contain_text("1 partition")
    expect(visits).to_contain_text("due now")
    expect(rows.filter(has_text=HOSTILE_TABLE)).to_have_count(1)
    expect(rows.filter(has_text=f"{schema}.logs")).to_contain_text("delete after 30d (disabled)")


def test_what_each_sees(elements: PageElements) -> None:
    """Who is limited by tags does not get the look of another user; rows are sorted by numbers, not by their words."""
    token = elements.db.tool.create_token("globex", Role.EDITOR, parse_tag_filter(["globex"]))[1]
    elements.open(overview.show)
    rows = elements.rows("Tables")
    assert len(rows) == 9
    states = [row["c0"] for row in elements.find(ui.table, "Tables").rows]
    assert states == sorted(states)
    assert [row[0] for row in elements.rows("Without a policy")] == ["lab.logs disabled policy"]
    elements.open(overview.show, "", token)
    assert [row[1] for row in elements.rows("Tables")] == ["lab.orders"]
    assert elements.rows("Without a policy") == []


@pytest.mark.long("convenience of a list")
def test_search_and_sort(pages: PagesInBrowser) -> None:
    """One finds a table by what stands in its row, and by the keyboard the largest."""
    page = pages.log_in("viewer")
    rows = page.get_by_role("region", name="Tables").locator("tbody tr")
    page.get_by_label("Search").fill("weather_1h")
    expect(rows).to_have_count(1)
    page.get_by_label("Search").fill("")
    heading = page.get_by_role("columnheader", name="Rows")
    heading.press("Enter")
    expect(heading).to_have_attribute("aria-sort", "ascending")
    heading.press("Space")
    expect(heading).to_have_attribute("aria-sort", "descending")
    expect(rows.nth(0)).to_contain_text("weather_1h")


def test_tenant(pages: PagesInBrowser) -> None:
    """A tenant sees the tables that are about their policies; a table with a filter does not tell its size."""
    pages.db.policy("delete", "logs", "30d", tags=["globex"], where={"n": "x"})
    page = pages.log_in("globex", size=NARROW, dark=True)
    rows = page.get_by_role("region", name="Tables").locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.filter(has_text="orders")).to_contain_text("snapshot after 60d")
    logs = rows.filter(has_text="logs")
    expect(logs).to_contain_text("delete after 30d, n=x")
    expect(logs).not_to_contain_text("2023")
    expect(logs).not_to_contain_text("36")


@pytest.mark.long("make test proves what each sees in test_tenant")
def test_who_comes_back(pages: PagesInBrowser) -> None:
    """Who comes back sees at once what was known last, of theirs alone, and then what is."""
    page = pages.log_in("viewer")
    pages.db.policy("delete", "orders", "1y", tags=["globex"], description="new")
    pages.go(page, "/ui/plan")
    page.goto(f"{pages.address}/ui/")
    page.get_by_text("As of 2024-07-02 12:00:00 (UTC)").or_(page.get_by_text("delete after 1y")).first.wait_for()
    expect(page.get_by_text("delete after 1y")).to_be_visible()
    pages.there(page)
    expect(page.get_by_text("As of 2024")).to_have_count(0)
    other = pages.log_in("globex")
    expect(other.get_by_role("region", name="Tables").locator("tbody tr")).to_have_count(1)


@pytest.mark.long("it is about a page without policies")
def test_nothing_yet(pages: PagesInBrowser) -> None:
    """Without policies, everything is kept, and who may is shown where to begin."""
    for stored in pages.db.tool.policies():
        pages.db.tool.delete_policy(stored.policy.id or "")
    page = pages.log_in("editor")
    expect(page.get_by_text("Until there is one, everything is kept.")).to_be_visible()
    expect(page.get_by_role("link", name="Create the first policy")).to_be_visible()
