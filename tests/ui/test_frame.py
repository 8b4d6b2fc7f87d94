"""What all pages have in common: who gets in, for how long, and what a browser is told."""

from __future__ import annotations

import base64
import os
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from cratedb_retention.ui.access import COOKIE
from cratedb_retention.ui.frame import PAGES
from cratedb_retention.ui.links import LOGIN, PREFIX
from support.databases import DuckDatabase
from support.pages import Chromium, PagesInBrowser, open_pages
from support.sample_data import fill


def test_log_in_and_out(pages: PagesInBrowser) -> None:
    """Who has no token sees nothing; who logs in gets where they wanted to; who logs out is out, cookie or not."""
    page = pages.window()
    page.goto(f"{pages.address}/ui/?x=1")
    assert urlsplit(page.url).path == "/ui/login"
    page.get_by_label("Access token").fill("crt_0000000000000000_" + "a" * 43)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("unknown, expired or revoked")
    pages.complaints.clear()  # The browser notes the status 401.
    page.get_by_label("Access token").fill(pages.tokens["viewer"])
    page.get_by_role("button", name="Log in").click()
    pages.there(page)
    assert page.url == f"{pages.address}/ui/?x=1"
    cookie = _cookie(page)
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/ui")
    assert pages.tokens["viewer"] not in cookie["value"]
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Access token").wait_for()
    page.context.add_cookies([cookie])
    page.goto(f"{pages.address}/ui/")
    assert urlsplit(page.url).path == "/ui/login"


@pytest.mark.long("make test proves it by HTTP, and drives the main path of the page in a browser")
def test_log_in_leads_nowhere_else(pages: PagesInBrowser) -> None:
    """A link to the log-in can't send a user to another page afterwards."""
    page = pages.window()
    page.goto(f"{pages.address}/ui/login?to=//example.org/ui/")
    page.get_by_label("Access token").fill(pages.tokens["viewer"])
    page.get_by_role("button", name="Log in").click()
    pages.there(page)
    assert page.url == f"{pages.address}/ui/"
    for to in ("https://example.org/", "//example.org/ui/", "/ui/../x", "/ui//x\\@y", "/ui/logout", "/api/v1/runs"):
        form: dict[str, str | float | bool] = {"token": pages.tokens["viewer"], "to": to}
        answer = page.request.post(f"{pages.address}{LOGIN}", form=form, max_redirects=0)
        assert (answer.status, answer.headers["location"]) == (303, "/ui/"), to


def test_log_in_without_scripts(pages: PagesInBrowser) -> None:
    """The log-in itself is a plain form."""
    page = pages.window(scripts=False)
    page.goto(f"{pages.address}/ui/")
    page.get_by_label("Access token").fill(pages.tokens["viewer"])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{pages.address}/ui/")


@pytest.mark.long("make test proves it by HTTP, and drives the main path of the page in a browser")
def test_revoked_token(pages: PagesInBrowser) -> None:
    """A token that is revoked is worth nothing at once, on pages that are open too."""
    page = pages.log_in("viewer")
    pages.db.tool.revoke_token("viewer")
    page.reload()
    page.get_by_label("Access token").wait_for()


@pytest.mark.long("make test proves it by HTTP, and drives the main path of the page in a browser")
def test_sessions_end(pages: PagesInBrowser) -> None:
    """A session that nobody uses ends."""
    page = pages.log_in("viewer")
    pages.db.time.set("2024-07-02T21:00:00+00:00")
    page.goto(f"{pages.address}/ui/")
    page.get_by_label("Access token").wait_for()


def test_nothing_without_a_session(pages: PagesInBrowser) -> None:
    """Neither pages nor their connection answer who has not logged in."""
    pages.log_in("viewer")
    answer = pages.window().request
    polling = f"{pages.address}{PREFIX}/_nicegui_ws/socket.io/?EIO=4&transport=polling"
    for path in ("/", *(page.path.replace("{", "").replace("}", "") for page in PAGES)):
        found = answer.get(f"{pages.address}{PREFIX}{path}", max_redirects=0)
        assert (found.status, "Overview" in found.text()) == (303, False)
    assert answer.post(polling).status == 401
    assert answer.get(polling, max_redirects=0).status == 303
    assert b" 101 " not in _handshake(pages, "")


def test_pages_of_others_can_not_connect(pages: PagesInBrowser) -> None:
    """A page from elsewhere in the same browser can't use somebody's session."""
    cookie = _cookie(pages.log_in("viewer"))
    session = f"Cookie: {COOKIE}={cookie['value']}\r\n"
    assert b" 101 " in _handshake(pages, session)
    assert b" 101 " in _handshake(pages, f"{session}Origin: {pages.address}\r\n")
    assert b" 101 " not in _handshake(pages, f"{session}Origin: http://example.org\r\n")
    assert b" 101 " not in _handshake(pages, f"{session}Origin: null\r\n")


def test_a_page_that_is_none(pages: PagesInBrowser) -> None:
    """An address that nothing is at says so in our words, with the menu and a way back."""
    page = pages.log_in("viewer")
    answer = page.request.get(f"{pages.address}/ui/nonsense")
    assert answer.status == 404
    for text in ("This page", "Does not exist.", 'href="/ui/policies"', "Log out"):
        assert text in answer.text()
    assert page.request.get(f"{pages.address}/ui/_nicegui/nothing.js").status == 404


def test_what_a_browser_is_told(pages: PagesInBrowser) -> None:
    """Nothing is loaded from elsewhere, nothing is kept, nobody frames a page."""
    page = pages.log_in("viewer")
    answer = page.request.get(f"{pages.address}/ui/policies")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in page.request.get(f"{pages.address}/ui/static/web.css").headers["cache-control"]


@pytest.mark.long("only looks")
def test_dark_and_light(pages: PagesInBrowser) -> None:
    """Pages are as the system is, until one chooses; the choice stays."""
    page = pages.log_in("viewer", "/ui/policies", dark=True)
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    page.get_by_role("button", name="Dark or light").click()
    expect(page.locator("html[data-theme=light]")).to_be_attached()
    assert page.evaluate(colour) != dark
    page.reload()
    expect(page.locator("html[data-theme=light]")).to_be_attached()


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


@pytest.mark.long("make test proves it by HTTP, and drives the main path of the page in a browser")
def test_open_to_all(duck: DuckDatabase, browser: Chromium) -> None:
    """Where no tokens are asked for, there is no log-in, and no log-out."""
    fill(duck)
    with open_pages(duck, browser, authenticate=False) as pages:
        page = pages.window()
        pages.go(page, "/")
        assert urlsplit(page.url).path == "/ui/"
        expect(page.get_by_role("button", name="Log out")).to_have_count(0)
        pages.go(page, "/ui/login")
        assert urlsplit(page.url).path == "/ui/"
        assert pages.complaints == []


def _cookie(page: Page) -> Any:
    return next(cookie for cookie in page.context.cookies() if cookie["name"] == COOKIE)


def _handshake(pages: PagesInBrowser, headers: str) -> bytes:
    """Ask for a connection as a browser would; what is answered."""
    url = urlsplit(pages.address)
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET {PREFIX}/_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {url.netloc}\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        f"{headers}\r\n"
    )
    assert url.hostname is not None
    with socket.create_connection((url.hostname, url.port or 80), timeout=30) as connection:
        connection.sendall(request.encode())
        return connection.recv(4096)
