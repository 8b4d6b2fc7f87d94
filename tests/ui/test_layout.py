"""What only a browser can tell of the pages: what fits, what is broken into lines, where the focus and the page are."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from cratedb_retention.model.catalog import TableName
from cratedb_retention.ui import links
from support.pages import NARROW, PagesInBrowser

LISTS = ("", "policies", "plan", "runs", "activity", "archive", "holds", "administration?tab=tokens")
# What is wider than its frame; and names, headings and states that are on several lines.
CUT = """() => [...document.querySelectorAll('.rows')].filter(e => e.scrollWidth > e.clientWidth + 1)
  .map(e => e.getAttribute('aria-label'))"""
BROKEN = """() => [...document.querySelectorAll(
    '.rows th:not(:has(input)), .rows .mono, .rows .badge, .rows a[href^="/ui/tables/"], .rows a[href^="/ui/runs/"]')]
  .filter(e => {
    const range = document.createRange();
    range.selectNodeContents(e);
    return new Set([...range.getClientRects()].filter(r => r.width > 1).map(r => Math.round(r.bottom / 9))).size > 1;
  }).map(e => e.textContent)"""
TALLER = "() => document.documentElement.scrollHeight - innerHeight"


@pytest.mark.long("make test proves contents by HTTP, and drives the main paths in a browser")
def test_what_fits(pages: PagesInBrowser) -> None:
    """At 1280 pixels no list is cut off and no name broken; pages are not taller than what stands on them."""
    page = pages.log_in("admin", "/ui/holds")
    assert page.evaluate(TALLER) <= 0
    for path in LISTS:
        pages.go(page, f"/ui/{path}")
        assert (page.evaluate(CUT), page.evaluate(BROKEN)) == ([], []), path
    pages.go(page, "/ui/policies")
    box, row = page.locator("[name=chosen]").first, page.locator("tbody tr").first
    before = row.bounding_box()
    box.check()
    expect(page.locator(".chosen")).to_have_text("1 chosen")
    assert row.bounding_box() == before, "choosing a row moves nothing"
    small = pages.log_in("admin", "/ui/explore", NARROW)
    for name in ("Explore", "Holds"):
        entry = small.get_by_role("navigation", name="Pages").get_by_role("link", name=name)
        if name == "Holds":
            entry.click()
        expect(entry).to_have_attribute("aria-current", "page")
        expect(entry).to_be_in_viewport(ratio=1)


@pytest.mark.long("make test proves contents by HTTP, and drives the main paths in a browser")
def test_where_one_is(pages: PagesInBrowser) -> None:
    """A question has the focus in its field; a conflict comes into view; going back is where one was."""
    db = pages.db
    page = pages.log_in("admin", links.table(TableName(db.schema, "letters"), tab="holds"))
    page.get_by_role("link", name="Release …").click()
    expect(page.get_by_label(f"Type {db.schema}.letters to confirm")).to_be_focused()
    pages.go(page, links.policy("visits"))
    page.get_by_label("Description", exact=True).fill("Mine")
    expect(page.get_by_role("list", name="Changes")).to_contain_text("Mine")
    db.tool.edit_policy("visits", {"description": "Theirs"})
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#conflict")).to_be_in_viewport()
    pages.excuse(409)
    page.evaluate("document.querySelector('form.draft').removeAttribute('data-dirty')")
    small = pages.log_in("admin", "/ui/policies", NARROW)
    link = small.get_by_role("link", name=f"{db.schema}.logs", exact=True).first
    link.scroll_into_view_if_needed()
    at = small.evaluate("scrollY")
    assert at > 0
    link.click()
    small.wait_for_url("**/ui/tables/**")
    small.go_back()
    small.wait_for_function(f"Math.abs(scrollY - {at}) < 50")
