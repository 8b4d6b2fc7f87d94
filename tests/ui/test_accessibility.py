"""What those rely on who listen to pages, or use keys alone: names, landmarks, headings, focus, live regions."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from cratedb_retention.model.catalog import TableName
from cratedb_retention.ui import links
from support.pages import NARROW, WIDE, PagesInBrowser

CONTROLS = {
    "button", "link", "textbox", "searchbox", "checkbox", "radio", "radiogroup", "switch", "combobox", "spinbutton",
    "slider", "tab", "menuitem", "option", "dialog", "image", "img", "progressbar", "region", "columnheader",
}  # fmt: skip
PAGES = (
    *("", "policies", "policies/visits", "policies/new", "plan", "runs", "activity", "archive", "holds", "explore"),
    *("policy-file", "forecast?until=%2B5d", "forecast/what-if"),
    *("administration", "administration?tab=tokens", "administration?tab=sessions", "administration?tab=settings"),
)
TABLES = (("weather", "data"), ("orders", "runs"), ("orders", "archive"), ("letters", "holds"), ("visits", "policies"))
# What the browser's own tree of what is read aloud does not say.
STRUCTURE = """() => ({
  h1: document.querySelectorAll('h1').length,
  main: document.querySelectorAll('main, [role=main]').length,
  banner: document.querySelectorAll('main header, main [role=banner]').length,
  twice: [...document.querySelectorAll('[id]')].map(e => e.id).filter((id, i, all) => all.indexOf(id) != i),
  headless: [...document.querySelectorAll('table')].filter(t => !t.querySelector('th')).length,
  pictures: [...document.querySelectorAll('svg')].filter(e => !e.closest('[role=img], [aria-hidden=true]')).length,
})"""
# What takes a while to move, or to fade.
MOVING = """() => [...document.querySelectorAll('*')].map(e => [e.className, getComputedStyle(e)])
  .filter(([_, style]) => parseFloat(style.transitionDuration) > 0 || parseFloat(style.animationDuration) > 0.001)
  .map(([name]) => name)"""
SOUND = {"h1": 1, "main": 1, "banner": 0, "twice": [], "headless": 0, "pictures": 0}


def read_aloud(page: Page) -> list[tuple[str, str]]:
    """Role and name of everything that a screen reader finds."""
    nodes: list[dict[str, Any]] = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    return [
        (node["role"]["value"], node.get("name", {}).get("value", "").strip())
        for node in nodes
        if not node.get("ignored") and "role" in node
    ]


def assert_sound(page: Page) -> None:
    """Each control has a name, and the page is built as readers expect it."""
    found = read_aloud(page)
    assert [role for role, name in found if role in CONTROLS and not name] == [], page.url
    roles = [role for role, _ in found]
    assert (roles.count("banner"), roles.count("main")) == (1, 1), page.url
    assert ("navigation", "Pages") in found
    assert page.evaluate(STRUCTURE) == SOUND, page.url


@pytest.mark.parametrize("size", [WIDE, pytest.param(NARROW, marks=pytest.mark.long("make test reads wide pages"))])
def test_each_page_can_be_read_aloud(pages: PagesInBrowser, size: tuple[int, int]) -> None:
    """On each page each control, picture and heading of a table has a name; one h1, a head, a menu, one main part."""
    tables = [links.table(TableName(pages.db.schema, name), tab=tab) for name, tab in TABLES]
    page = pages.log_in("admin", size=size)
    run = links.run(str(pages.db.journal(event="run-finished")[0]["run_id"]))
    chart = f"/ui/explore?table={pages.db.schema}.weather"
    for path in (*(f"/ui/{each}" for each in PAGES), *tables, run, chart):
        pages.go(page, path)
        assert_sound(page)


def test_nothing_moves_for_those_who_ask_for_that(pages: PagesInBrowser) -> None:
    """Where the system asks for less motion, no control moves or fades: a click meets what it was meant for."""
    page = pages.log_in("editor", "/ui/policies?q=visits")
    assert page.evaluate(MOVING) == []
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(MOVING) != []


@pytest.mark.long("make test has each page read aloud")
def test_what_changes_is_told(pages: PagesInBrowser) -> None:
    """A mistake is an alert that its field refers to; the effect, the number of rows and errors are live."""
    page = pages.log_in("editor", "/ui/policies/visits")
    period = page.get_by_label("Retention period", exact=True)
    period.fill("soon")
    expect(period).to_have_attribute("aria-invalid", "true")
    described = (period.get_attribute("aria-describedby") or "").split()
    alert = page.get_by_role("alert").filter(has_text="soon").first
    expect(alert).to_be_visible()
    assert alert.get_attribute("id") in described
    effect = page.get_by_role("complementary", name="Effect")
    expect(effect.locator("[aria-live=polite]")).to_contain_text("Correct: Retention period.")
