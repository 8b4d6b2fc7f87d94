"""
The eight tasks that operators do most often, each from the overview: how many clicks it takes, typing apart. One server
and one store serve all of them, and each works alone as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest
from playwright.sync_api import Locator, Page, expect

from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model.access import Role
from cratedb_retention.model.holds import HoldKind
from cratedb_retention.model.time import parse_instant
from support.databases import MONTH, TIME, DuckDatabase, DuckTemplate
from support.pages import Chromium, PagesInBrowser, open_pages
from support.sample_data import NOW

ORDERS = Selection(policy_id="orders", accepted=True)


@dataclass
class Hand:
    """A user at a page: what is clicked is counted, and what is typed goes to where the focus is."""

    page: Page
    clicks: int = 0

    def click(self, what: Locator) -> None:
        what.click()
        self.clicks += 1

    def menu(self, name: str) -> None:
        self.click(self.page.get_by_role("navigation", name="Pages").get_by_role("link", name=name, exact=True))

    def press(self, name: str) -> None:
        self.click(self.page.get_by_role("button", name=name, exact=True))

    def type(self, *texts: str) -> None:
        """Type into one field after the other."""
        for number, text in enumerate(texts):
            if number:
                self.page.keyboard.press("Tab")
            self.page.keyboard.type(text)

    def enter(self) -> None:
        self.page.keyboard.press("Enter")


@pytest.fixture(scope="module")
def pages(filled: DuckTemplate, browser: Chromium) -> Iterator[PagesInBrowser]:
    """Archives of a year and more, of which a year is restored; a failed run; a table without a policy."""
    with closing(filled.open()) as db:
        db.time.set(NOW)
        _prepare(db)
        with open_pages(db, browser) as found:
            found.token("editor", Role.EDITOR)
            yield found
        assert found.complaints == []


def _prepare(db: DuckDatabase) -> None:
    db.create("fresh", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill("fresh", ["2024-03-03T12:00:00", "2024-07-01T12:00:00"])
    db.fill("orders", [f"2023-{month:02}-03T12:00:00" for month in (4, 5, 6)])
    assert db.tool.run(selection=ORDERS).ok
    db.fill("orders", ["2023-03-03T12:00:00"])
    prepared = db.tool.prepare(selection=ORDERS)
    db.break_repository()
    assert not db.tool.run(prepared).ok
    db.mend_repository()
    year = RestoreRequest(table_name="orders", start=parse_instant("2023-05-01"))
    found = db.tool.restore(year)
    assert (len({each.record.partition for each in found}), {each.error for each in found}) == (12, {None})


@pytest.fixture(scope="module")
def page(pages: PagesInBrowser) -> Page:
    return pages.log_in("editor", "/ui/")


@pytest.fixture
def hand(pages: PagesInBrowser, page: Page) -> Hand:
    """A user at the overview."""
    pages.go(page, "/ui/")
    return Hand(page)


def row_of(pages: PagesInBrowser, page: Page, table: str) -> Locator:
    return page.get_by_role("row").filter(has_text=f"{pages.db.schema}.{table}")


def test_why_a_run_failed(pages: PagesInBrowser, page: Page, hand: Hand) -> None:
    """1 click shows the error in full."""
    [error] = [row["error"] for row in pages.db.journal(event="step-finished", outcome="failed")]
    hand.click(page.get_by_role("link", name="Why it failed"))
    expect(page.get_by_role("region", name="Failed, or needs attention")).to_contain_text(error)
    assert hand.clicks == 1


def test_run_one_policy(pages: PagesInBrowser, page: Page, hand: Hand) -> None:
    """2 clicks run what is due by one policy: what is due, and the field for the word that confirms it."""
    before = pages.db.count("visits")
    hand.click(row_of(pages, page, "visits").get_by_role("link", name="1 partition"))
    hand.click(page.get_by_label("Type visits to confirm"))
    hand.type("visits")
    hand.enter()
    page.wait_for_url("**/ui/runs/*")
    pages.context.runs.wait()
    assert (hand.clicks, pages.db.count("visits")) == (2, before - 1)


def test_change_a_period(pages: PagesInBrowser, page: Page, hand: Hand) -> None:
    """3 clicks change a retention period, also where data would go: the policy, the period, the word."""
    hand.click(row_of(pages, page, "visits").get_by_role("link", name="delete after 90d"))
    hand.click(page.get_by_role("button", name="30d", exact=True).first)
    hand.click(page.get_by_label("Type visits to confirm"))
    hand.type("visits")
    hand.enter()
    page.wait_for_url("**/ui/policies/visits?saved=2")
    assert str(pages.db.tool.policies.get("visits").policy.retention_period) == "30d"
    assert hand.clicks == 3


def test_new_policy(pages: PagesInBrowser, page: Page, hand: Hand) -> None:
    """4 clicks create a policy for a table without one: its row, the period, the word, Create policy."""
    hand.click(row_of(pages, page, "fresh").get_by_role("link", name="Add policy"))
    hand.click(page.get_by_role("button", name="90d", exact=True))
    hand.click(page.get_by_label("Type fresh to confirm"))
    hand.type("fresh")
    hand.press("Create policy")
    page.wait_for_url("**saved=1")
    [made] = [item.policy for item in pages.db.tool.policies() if item.policy.table_name == "fresh"]
    assert (made.table_schema, str(made.retention_period)) == (pages.db.schema, "90d")
    assert hand.clicks == 4


def test_place_a_hold(pages: PagesInBrowser, page: Page, hand: Hand) -> None:
    """4 clicks hold a tenant's month, after a look at what that covers."""
    hand.menu("Holds")
    hand.click(page.get_by_role("link", name="Place hold …"))
    expect(page.get_by_label("Table", exact=True)).to_be_focused()
    hand.type(f"{pages.db.schema}.visits", "2024-04-01", "2024-05-01", "n=2024-04-03T12:00:00", "case 4711")
    hand.press("Preview")
    expect(page.get_by_role("status")).to_contain_text(f"Covers {pages.db.schema}.visits")
    hand.press("Place the hold")
    expect(page.get_by_role("status")).to_contain_text("The legal hold is in force.")
    [hold] = [each for each in pages.db.tool.holds() if each.reason == "case 4711"]
    assert (hold.where, hold.start, hold.end) == ({"n": "2024-04-03T12:00:00"}, 1711929600000, 1714521600000)
    assert hand.clicks == 4


def test_pause_a_policy(pages: PagesInBrowser, page: Page, hand: Hand) -> None:
    """2 clicks: the list, and Disable in the row."""
    hand.menu("Policies")
    hand.click(page.get_by_role("row").filter(has_text="letters").get_by_role("button", name="Disable"))
    expect(page.get_by_role("status")).to_contain_text("1 policy disabled")
    assert not pages.db.tool.policies.get("letters").policy.enabled
    assert hand.clicks == 2


def test_release_a_restore_of_a_year(pages: PagesInBrowser, page: Page, hand: Hand) -> None:
    """3 clicks end the hold on twelve restored months: the list, Release, and that it is meant."""
    hand.menu("Holds")
    hand.click(page.get_by_role("link", name=f"Release the hold on {pages.db.schema}.orders"))
    expect(page.get_by_label(f"Type {pages.db.schema}.orders to confirm")).to_be_focused()
    hand.type(f"{pages.db.schema}.orders")
    hand.press("Release the hold")
    expect(page.get_by_role("status")).to_contain_text("The legal hold is released.")
    assert {hold.kind for hold in pages.db.tool.holds()} == {HoldKind.LEGAL}
    assert hand.clicks == 3


def test_restore_a_month(pages: PagesInBrowser, page: Page, hand: Hand) -> None:
    """4 clicks: the archive, a filter, the month, and that it is meant."""
    april = "ts >= '2023-04-01' AND ts < '2023-05-01'"
    assert pages.db.count("orders", april) == 0
    hand.menu("Archive")
    hand.click(page.get_by_label("From (UTC)"))
    hand.type("2023-04-01", "2023-05-01")
    hand.enter()
    listed = page.get_by_role("region", name="Snapshots").get_by_role("link", name="Restore")
    expect(listed).to_have_count(1)
    hand.click(listed)
    hand.press("Restore 1 partition")
    page.wait_for_url("**done=restore*")
    pages.context.operations.wait()
    assert (hand.clicks, pages.db.count("orders", april)) == (4, 1)
