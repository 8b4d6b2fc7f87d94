"""
What a user has written is still there, and the page says so: where the network or the service is lost, or slow. Pages
are soon there on a slow network.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from cratedb_retention.model.catalog import TableName
from cratedb_retention.ui import links
from support.pages import OFFLINE, PagesInBrowser, largest_paint, network

PLACE = "/ui/holds?place=yes"
LOST = "The service did not answer."
KEPT = f"{LOST} What you wrote is kept; check whether it was done before you send it again."


def write_a_hold(pages: PagesInBrowser, page: Page) -> None:
    page.get_by_label("Table", exact=True).fill(f"{pages.db.schema}.visits")
    page.get_by_label("Reason").fill("a long story")


def test_a_lost_network(pages: PagesInBrowser) -> None:
    """Forms, filters and the search keep what was written, and go on with it; what is sent again is done once."""
    page = pages.log_in("operator", PLACE)
    write_a_hold(pages, page)
    with network(page, offline=True):
        page.get_by_role("button", name="Place the hold").click()
        expect(page.get_by_role("alert")).to_have_text(KEPT)
    expect(page.get_by_label("Reason")).to_have_value("a long story")
    page.get_by_role("button", name="Place the hold").click()
    expect(page.get_by_role("status")).to_contain_text("The legal hold is in force.")
    assert [hold.reason for hold in pages.db.tool.holds()] == ["case 7/2024", "a long story"]
    text, rows = page.get_by_role("textbox", name="Search"), page.get_by_role("region", name="Holds in force")
    text.fill("story")
    with network(page, offline=True):
        text.press("Enter")
        expect(page.get_by_role("alert")).to_have_text(f"{LOST} Try again.")
    expect(text).to_have_value("story")
    text.press("Enter")
    expect(rows.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_role("alert")).to_have_count(0)
    page.keyboard.press("Control+k")
    search = page.get_by_role("dialog", name="Search")
    expect(search.get_by_role("link").first).to_be_visible()
    with network(page, offline=True):
        page.keyboard.type("weather")
        expect(search).to_contain_text(LOST)
    expect(search.get_by_role("searchbox")).to_have_value("weather")
    pages.excuse(OFFLINE)


def test_buttons_pressed_in_a_row(pages: PagesInBrowser) -> None:
    """
    What several buttons put into fields before there is an answer is all there, and what is typed later counts. A click
    is where it was aimed, since nothing moves when the focus does.
    """
    page = pages.log_in("editor", f"{links.new_policy()}?table={pages.db.schema}.visits")
    period, level = page.get_by_label("Retention period", exact=True), page.get_by_label("Interval 1", exact=True)
    page.get_by_role("radio", name="Downsample").check()
    levels = page.get_by_role("button", name="1h:60d,1d:forever")
    expect(levels).to_be_visible()
    place = levels.bounding_box()
    period.focus()
    assert levels.bounding_box() == place
    with network(page, delay=300):
        page.get_by_role("button", name="7d", exact=True).first.click()
        page.get_by_role("button", name="@daily").click()
        levels.click()
        page.get_by_label("Schedule", exact=True).fill("@hourly")
        expect(level).to_have_value("1h")
    expect(period).to_have_value("7d")
    expect(page.get_by_label("Schedule", exact=True)).to_have_value("@hourly")


@pytest.mark.long("make test has a lost network, and drafts that a service did not answer")
def test_a_restart(pages: PagesInBrowser) -> None:
    """A service that ends in the middle of an edit, and before a plan is run: the next one goes on with both."""
    db, page = pages.db, pages.log_in("editor", links.policy("visits"))
    page.get_by_label("Retention period", exact=True).fill("30d")
    word = page.get_by_label("Type visits to confirm")
    expect(word).to_be_visible()
    pages.stop()
    page.get_by_label("Description", exact=True).fill("Long thoughts")
    expect(page.locator("#lost")).to_be_in_viewport()
    expect(page.get_by_label("Description", exact=True)).to_have_value("Long thoughts")
    pages.start()
    page.get_by_label("Description", exact=True).fill("Long thoughts.")
    expect(page.get_by_role("list", name="Changes")).to_contain_text("Long thoughts.")
    expect(page.locator("#lost")).to_be_hidden()
    word.fill("visits")
    word.press("Enter")
    page.wait_for_url("**/ui/policies/visits?saved=2")
    policy = db.tool.policies.get("visits").policy
    assert (str(policy.retention_period), policy.description) == ("30d", "Long thoughts.")
    pages.go(page, "/ui/plan?policy=visits")
    pages.stop()
    word.fill("visits")
    word.press("Enter")
    expect(page.get_by_role("alert")).to_have_text(KEPT)
    expect(word).to_have_value("visits")
    pages.start()
    rows = db.count("visits")
    word.press("Enter")
    page.wait_for_url("**/ui/runs/*")
    pages.context.runs.wait()
    assert db.count("visits") < rows
    pages.excuse("net::ERR_")


@pytest.mark.long("make test has a lost network")
@pytest.mark.slow("responses take eight seconds")
def test_a_slow_network(pages: PagesInBrowser) -> None:
    """While a response takes long, forms and drafts say so, and can be written on."""
    page = pages.log_in("editor", PLACE)
    write_a_hold(pages, page)
    with network(page, delay=8_000):
        page.get_by_role("button", name="Place the hold").click()
        expect(page.get_by_role("status")).to_contain_text("has not answered yet. What you wrote is kept.")
        page.get_by_role("button", name="Place the hold").click()
        expect(page.get_by_label("Reason")).to_have_value("a long story")
    expect(page.get_by_role("status")).to_contain_text("The legal hold is in force.")
    assert [hold.reason for hold in pages.db.tool.holds()] == ["case 7/2024", "a long story"]
    pages.go(page, links.policy("visits"))
    waiting = page.locator("#waiting")
    with network(page, delay=8_000):
        page.get_by_label("Description", exact=True).fill("Long")
        expect(waiting).to_be_visible()
        page.get_by_label("Description", exact=True).fill("Long thoughts")
    expect(waiting).to_be_hidden()
    expect(page.get_by_label("Description", exact=True)).to_have_value("Long thoughts")
    expect(page.get_by_role("list", name="Changes")).to_contain_text("Long thoughts")
    page.evaluate("document.querySelector('form.draft').removeAttribute('data-dirty')")


@pytest.mark.long("it is about time, which make bench measures with more data")
def test_the_largest_paint(pages: PagesInBrowser) -> None:
    """At 10 Mbit/s and 60 ms, the first visit to the main pages shows what is largest in less than 2.5 seconds."""
    page, found = pages.log_in("admin"), dict[str, float]()
    with network(page, delay=60, megabits=10):
        for path in ("/ui/", links.table(TableName(pages.db.schema, "weather")), "/ui/policies"):
            found[path] = largest_paint(page, f"{pages.address}{path}")
    assert all(0 < seconds < 2.5 for seconds in found.values()), found
