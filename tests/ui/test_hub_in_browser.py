"""The page of a table in a real browser: what scripts add to links and forms, on wide and narrow screens."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from cratedb_retention.model.catalog import TableName
from cratedb_retention.ui import links
from support.pages import NARROW, PagesInBrowser


def open_hub(pages: PagesInBrowser, name: str, role: str = "operator", **query: str) -> Page:
    return pages.log_in(role, links.table(TableName(pages.db.schema, name), **query))


@pytest.mark.long("make test proves it by HTTP, and drives the main path of the page in a browser")
def test_views_without_loading(pages: PagesInBrowser) -> None:
    """A view takes the place of another one, the address and the way back with it; the page is not loaded again."""
    page = open_hub(pages, "orders")
    page.evaluate("window.here = 1")
    tabs = page.get_by_role("navigation", name="Views of this table")
    tabs.get_by_role("link", name="Policies").press("Enter")
    expect(page.get_by_role("region", name="Policies on this table")).to_be_visible()
    expect(tabs.get_by_role("link", name="Policies")).to_be_focused()
    assert "tab=policies" in page.url
    expect(page).to_have_title(f"{pages.db.schema}.orders · Policies · cratedb-retention")
    page.go_back()
    expect(page.get_by_role("region", name="Data by time")).to_be_visible()
    where = page.get_by_role("combobox", name="Where")
    where.focus()
    where.select_option("Archived")
    expect(page.get_by_role("region", name="Data by time").get_by_text("up to date")).to_have_count(0)
    expect(where).to_be_focused()
    assert "lane=Archived" in page.url
    assert page.evaluate("window.here") == 1
    tabs.get_by_role("link", name="Holds").click()
    page.get_by_label("Reason").fill("case 9")
    page.get_by_role("button", name="Place the hold").click()
    expect(page.get_by_role("status")).to_have_text("The legal hold is in force.")
    expect(page.get_by_role("region", name="Holds on this table")).to_contain_text("case 9")


@pytest.mark.long("make test proves it by HTTP, and drives the main path of the page in a browser")
def test_pointing_and_dragging(pages: PagesInBrowser) -> None:
    """Pointing at a bar tells what it is; dragging over the lanes chooses a time range, which views keep."""
    page = open_hub(pages, "visits")
    lane = page.get_by_role("img", name="Data in the table")
    bar = lane.locator("g").first
    bar.hover(force=True)
    tip = page.locator(".tip")
    expect(tip).to_contain_text("month=2024-03-01")
    expect(tip).to_contain_text("will be dropped")
    box = lane.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.25, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, middle, steps=4)
    page.mouse.up()
    expect(page.locator("rect.chosen").first).to_be_attached()
    start, until = (page.get_by_label(name, exact=True).first.input_value() for name in ("From (UTC)", "Until (UTC)"))
    assert "2024-03" < start < until < "2024-07"
    page.get_by_role("button", name="Place hold …").click()
    expect(page.locator("#place").get_by_label("From (UTC)")).to_have_value(start)


def test_nothing_written_is_lost(pages: PagesInBrowser) -> None:
    """A session that is over when a form is sent leads to the log-in and back, and what was written is there again."""
    page = open_hub(pages, "visits", tab="holds")
    page.get_by_label("Reason").fill("a long story")
    page.context.clear_cookies()
    page.get_by_role("button", name="Place the hold").click()
    expect(page.get_by_role("alert")).to_contain_text("Your session")
    pages.excuse(401)
    page.get_by_role("link", name="Log in").click()
    page.get_by_label("Access token").fill(pages.tokens["operator"])
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_label("Reason")).to_have_value("a long story")
    assert pages.tokens["operator"] not in page.evaluate("JSON.stringify(sessionStorage)")
    page.get_by_role("button", name="Place the hold").click()
    expect(page.get_by_role("status")).to_have_text("The legal hold is in force.")
    expect(page.get_by_label("Reason")).to_have_value("")


@pytest.mark.long("make test proves it by HTTP, and drives the main path of the page in a browser")
def test_small_and_dark(pages: PagesInBrowser) -> None:
    """On a narrow screen nothing is wider than it; the colours are as the system has them until one chooses."""
    page = pages.window(NARROW, dark=True)
    form: dict[str, str | float | bool] = {"token": pages.tokens["operator"]}
    page.request.post(f"{pages.address}{links.LOGIN}", form=form, max_redirects=0)
    views = (("weather", "data"), ("orders", "archive"), ("letters", "holds"), ("visits", "runs"))
    for path in ("/ui/", *(links.table(TableName(pages.db.schema, name), tab=tab) for name, tab in views)):
        pages.go(page, path)
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW[0], path
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.get_by_role("button", name="Dark or light").click()
    light = page.evaluate(paper)
    page.reload()
    assert page.evaluate(paper) == light != dark


def test_without_scripts(pages: PagesInBrowser) -> None:
    """Links and forms do everything."""
    page = pages.window(scripts=False)
    page.goto(f"{pages.address}{links.table(TableName(pages.db.schema, 'orders'))}")
    page.get_by_label("Access token").fill(pages.tokens["operator"])
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("From (UTC)").first.fill("2024-06-01")
    page.get_by_role("button", name="Zoom in").click()
    expect(page.get_by_role("link", name="Earlier")).to_be_visible()
    page.get_by_role("link", name="Holds", exact=True).last.click()
    expect(page.locator("#place").get_by_label("From (UTC)")).to_have_value("2024-06-01")
    page.get_by_role("button", name="Place the hold").click()
    expect(page.get_by_text("The legal hold is in force.")).to_be_visible()
