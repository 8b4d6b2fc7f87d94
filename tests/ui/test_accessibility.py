"""What those rely on who listen to pages, or use keys alone: names, landmarks, headings, focus, live regions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from cratedb_retention.model.catalog import TableName
from cratedb_retention.ui import links
from support.pages import HUGE, NARROW, OFFLINE, WIDE, PagesInBrowser, network

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
# What axe finds, a line for each kind and place.
AXE = """async rules => (await axe.run(document, {resultTypes: ['violations'], ...rules})).violations.flatMap(
  kind => kind.nodes.map(node => `${kind.id}: ${node.target} ${node.failureSummary.replace(/\\s+/g, ' ')}`))"""
COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"]}
# So that leaving a draft does not ask.
FORGET = "sessionStorage.clear(); document.querySelector('form.draft')?.removeAttribute('data-dirty')"
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


@pytest.mark.slow("all pages, in a browser")
@pytest.mark.parametrize("size", [WIDE, pytest.param(NARROW, marks=pytest.mark.long("make test reads wide pages"))])
def test_each_page_can_be_read_aloud(pages: PagesInBrowser, size: tuple[int, int]) -> None:
    """On each page each control, picture and heading of a table has a name; one h1, a head, a menu, one main part."""
    page = pages.log_in("admin", size=size)
    for path in paths(pages):
        pages.go(page, path)
        assert_sound(page)


def paths(pages: PagesInBrowser) -> list[str]:
    """All pages."""
    tables = [links.table(TableName(pages.db.schema, name), tab=tab) for name, tab in TABLES]
    run = links.run(str(pages.db.journal(event="run-finished")[0]["run_id"]))
    chart = f"/ui/explore?table={pages.db.schema}.weather"
    return [*(f"/ui/{each}" for each in PAGES), *tables, run, chart]


def stay(page: Page) -> None:
    """Do nothing."""


def search(page: Page) -> None:
    page.keyboard.press("Control+k")
    page.get_by_role("dialog", name="Search").get_by_role("link").first.wait_for()


def write_nonsense(page: Page) -> None:
    page.get_by_label("Retention period", exact=True).fill("soon")
    page.get_by_role("alert").filter(has_text="soon").first.wait_for()


def delete_more(page: Page) -> None:
    page.get_by_role("button", name="30d", exact=True).first.click()
    page.get_by_label("Type visits to confirm").wait_for()


def show_yaml(page: Page) -> None:
    page.get_by_role("button", name="YAML").click()
    page.locator("textarea[name=yaml]").wait_for()


def ask_to_delete(page: Page) -> None:
    page.get_by_label("Choose all on this page").check()
    page.get_by_role("button", name="Delete …").click()
    page.locator("#question").wait_for()


def lose_a_form(page: Page) -> None:
    page.get_by_label("Table", exact=True).fill("visits")
    with network(page, offline=True):
        page.get_by_role("button", name="Place the hold").click()
        page.get_by_role("alert").wait_for()


def lose_a_draft(page: Page) -> None:
    with network(page, offline=True):
        page.get_by_label("Description", exact=True).fill("written")
        page.locator("#lost").wait_for()


def place_it(page: Page) -> None:
    page.get_by_label("Table", exact=True).fill("nothing_yet")
    page.get_by_role("button", name="Place the hold").click()
    page.locator(".done").wait_for()


def point_at_a_bar(page: Page) -> None:
    page.get_by_role("img", name="Data in the table").locator("g").first.hover(force=True)
    page.locator(".tip").wait_for()


# What pages show beside lists: questions, mistakes, what was done; each with its address, and what leads to it there.
STATES: Sequence[tuple[str, Callable[[Page], None]]] = (
    ("", search),
    ("?q=nothing&state=failing", stay),
    ("policies/visits", write_nonsense),
    ("policies/visits", delete_more),
    ("policies/visits", show_yaml),
    ("policies/visits?saved=1", stay),
    ("policies/new?copy=visits", stay),
    ("policies", ask_to_delete),
    ("policies?q=nothing", stay),
    ("policies/nothing", stay),
    ("plan?policy=visits", stay),
    ("plan?cutoff=2030-01-01", stay),
    ("plan?sql=yes", stay),
    ("archive?act=restore&all=yes", stay),
    ("archive?act=delete&all=yes", stay),
    ("archive?act=verify", stay),
    ("holds?place=preview&table=visits", stay),
    ("holds?place=yes", lose_a_form),
    ("holds?place=yes", place_it),
    ("holds?act=release&hold={hold}", stay),
    ("tables/{schema}.letters?tab=holds&hold={hold}", stay),
    ("tables/{schema}.visits", point_at_a_bar),
    ("tables/{schema}.orders?tab=archive&restore=preview", stay),
    ("tables/{schema}.visits?from=x&tab=data", stay),
    ("tables/{schema}.nothing", stay),
    ("activity?since=x", stay),
    ("search?q=visits", stay),
    ("nothing", stay),
    ("policies/new?table={schema}.visits", lose_a_draft),
    ("login", stay),
)


def looks(page: Page, axe: str) -> Iterator[str]:
    """What axe finds on a page in each size, light and dark; first as it is."""
    page.evaluate(axe)
    yield from page.evaluate(AXE, {})
    for size in (NARROW, HUGE, WIDE):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        if size is not WIDE:
            yield from page.evaluate(AXE, {})
        page.emulate_media(color_scheme="dark")
        yield from page.evaluate(AXE, COLOURS)
        page.emulate_media(color_scheme="light")


@pytest.mark.long("make test reads each page aloud")
@pytest.mark.slow("axe looks at each page in three sizes, light and dark")
def test_axe_finds_nothing_on_pages(pages: PagesInBrowser, axe: str) -> None:
    """On no page, at 390, 1280 and 1800 pixels, light and dark."""
    page, found = pages.log_in("admin"), dict[str, list[str]]()
    for path in paths(pages):
        pages.go(page, path)
        found[path] = list(looks(page, axe))
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.long("make test reads each page aloud")
@pytest.mark.slow("axe looks at some thirty states in three sizes, light and dark")
def test_axe_finds_nothing_in_states(pages: PagesInBrowser, axe: str) -> None:
    """Nor in dialogs, previews, questions, mistakes, errors, and in what is said once something was done."""
    page, found = pages.log_in("admin"), list[str]()
    [hold] = pages.db.tool.holds()
    for path, act in STATES:
        pages.go(page, f"/ui/{path.format(schema=pages.db.schema, hold=hold.id)}")
        act(page)
        found += [f"{path} {act.__name__}: {line}" for line in looks(page, axe)]
        page.evaluate(FORGET)
    pages.excuse(400, 404, 409, OFFLINE)
    assert found == []


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
