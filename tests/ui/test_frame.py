"""What all pages have in common: who gets in, and what is said of an address that nothing is at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from fastapi.routing import APIRoute
from playwright.sync_api import Page, expect

from cratedb_retention.model.access import Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policies.form import FIELDS
from cratedb_retention.model.policies.strategies import Strategy
from cratedb_retention.ui import links
from cratedb_retention.ui.access import COOKIE
from cratedb_retention.ui.frame import PAGES
from cratedb_retention.ui.links import ADMINISTRATION, MENU, PREFIX
from support.databases import DuckDatabase
from support.pages import PagesInBrowser
from support.sample_data import HOSTILE_TABLE
from support.served import Element, Service, Visitor, open_service


def test_log_in_and_out(pages: PagesInBrowser) -> None:
    """Who has no token sees nothing; who logs in gets where they wanted to; who logs out is out, cookie or not."""
    page = pages.window()
    page.goto(f"{pages.address}/ui/?x=1")
    assert urlsplit(page.url).path == "/ui/login"
    page.get_by_label("Access token").fill("crt_0000000000000000_" + "a" * 43)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("unknown, expired or revoked")
    pages.excuse(401)
    page.get_by_label("Access token").fill(pages.tokens["viewer"])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{pages.address}/ui/?x=1")
    cookie = _cookie(page)
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/ui")
    assert pages.tokens["viewer"] not in cookie["value"]
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Access token").wait_for()
    page.context.add_cookies([cookie])
    page.goto(f"{pages.address}/ui/")
    assert urlsplit(page.url).path == "/ui/login"


def _cookie(page: Page) -> Any:
    return next(cookie for cookie in page.context.cookies() if cookie["name"] == COOKIE)


def test_nothing_without_a_session(service: Service) -> None:
    """No page, file or form answers who has not logged in; what they wanted is where the log-in leads."""
    stranger = Visitor(service.client)
    routes = [route for router in PAGES for route in router.routes if isinstance(route, APIRoute)]
    assert len(routes) > len(MENU)
    for route in routes:
        path = route.path.replace("{", "").replace("}", "").replace(":path", "")
        methods = route.methods or set()
        if "GET" in methods:
            found = stranger.get(path)
            assert (found.status, found.headers["location"]) == (303, f"/ui/login?to={quote(path)}")
        if "POST" in methods:
            assert stranger.post(path, do="x").status == 401
    assert stranger.get(f"{PREFIX}/loginx").headers["location"].startswith("/ui/login?to=")


def test_each_entry_of_the_menu_is_a_page(service: Service) -> None:
    """The menu of each page leads to all of them, and marks the one that is shown."""
    admin = service.log_in(Role.ADMIN)
    entries = (*MENU, ADMINISTRATION)
    for name, path in entries:
        page = admin.get(f"{PREFIX}{path}")
        assert (page.status, [name]) == (200, page.texts("nav[@class='menu']/a[@aria-current='page']"))
        assert page.texts("nav[@class='menu']/a") == [each for each, _ in entries]


# What belongs into commands, into files, or into requests, and instants that are not written as others are.
_FOREIGN = re.compile(r"/api/v1|\b(?:GET|POST) |`|cratedb-retention [a-z]|(?<![\w-])--[a-z]|\d{4}-\d\d-\d\dT\d")
_ATTRIBUTES = re.compile(rf"\b(?:{'|'.join(name for name in FIELDS if '_' in name)})\b")


def said(element: Element) -> Iterator[str]:
    """The texts of an element, without code and what stands in fields."""
    if element.tag not in ("code", "pre", "textarea", "option"):
        yield element.text or ""
        for child in element:
            yield from said(child)
            yield child.tail or ""


def test_pages_have_words_of_their_own(db: DuckDatabase, service: Service) -> None:
    """No page names commands, addresses of the HTTP API, or attributes of files; instants are written in one way."""
    admin, table = service.log_in(Role.ADMIN), TableName(db.schema, "weather")
    paths = [f"{PREFIX}{path}" for _, path in (*MENU, ADMINISTRATION) if path != "/forecast"]
    paths += ["/ui/forecast?until=%2B9d"]  # A whole year takes longer than all other pages together.
    paths += [links.table(table), links.table(TableName(db.schema, "letters"), tab="holds"), links.policy("weather")]
    paths += ["/ui/policies/nope", "/ui/policies/new?copy=nope", "/ui/plan?policy=nope", "/ui/explore?table=a.b"]
    paths += [
        f"/ui/holds?place=preview&table={table}&from=2024-01-01T01:00",
        links.run(db.journal(event="run-finished")[0]["run_id"]),
    ]
    for path in paths:
        page = admin.get(path)
        text = "".join(said(page.all("main")[0])).replace(HOSTILE_TABLE, "")
        assert not _FOREIGN.findall(text), path
        assert page.text.count("?.") == 0
    form = admin.get(links.new_policy()).form("draft")
    for strategy in Strategy:
        page = admin.post_several(links.new_policy(), **{**form, "strategy": [str(strategy)]})
        text = "".join(said(page.all("main")[0]))
        assert not _ATTRIBUTES.findall(text) and not _FOREIGN.findall(text), strategy
    wrong = admin.post("/ui/policy-file", do="check", text="policies: [{strategy: delete, retention: 3d}]")
    assert wrong.texts("div[@role='alert']/p")[1] == "Did you mean retention_period?"


def test_a_page_that_is_none(service: Service) -> None:
    """An address that nothing is at says so in our words, with the menu and a way back."""
    viewer = service.log_in(Role.VIEWER)
    page = viewer.get("/ui/nonsense")
    assert (page.status, page.title) == (404, "This page")
    assert "Does not exist." in page.text
    assert page.href("Overview") == "/ui/"
    assert page.all("nav[@class='menu']/a")
    assert viewer.client.get("/ui/static/nothing.js").status_code == 404
    for path in ("/", "/ui"):
        assert viewer.get(path).headers["location"] == "/ui/"


def test_open_to_all(db: DuckDatabase) -> None:
    """Where no tokens are asked for, there is no log-in, and no log-out."""
    with open_service(db.tool, authenticate=False) as service:
        visitor = Visitor(service.client)
        page = visitor.get("/ui/")
        assert (page.status, page.texts("header//button[@type='submit']")) == (200, [])
        assert visitor.get("/ui/login").headers["location"] == "/ui/"


@pytest.mark.long("make test has each page read aloud")
def test_keyboard(pages: PagesInBrowser) -> None:
    """The first stop leads to the content; headings and landmarks are there."""
    page = pages.log_in("viewer")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    here = page.get_by_role("navigation", name="Pages").get_by_role("link", name="Overview")
    expect(here).to_have_attribute("aria-current", "page")
    here.press("Enter")
    pages.there(page)
    assert page.url == f"{pages.address}/ui/"
