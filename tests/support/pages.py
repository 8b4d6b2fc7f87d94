"""
The pages as they are served, for a real browser: a server in this process, so that a test can read the database
meanwhile, and set the clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Error,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.access import Role
from cratedb_retention.model.policies.tags import parse_tag_filter
from cratedb_retention.service.http.access import Context
from cratedb_retention.service.http.app import HttpServer, make_app
from cratedb_retention.service.runs import Operations, Runs
from cratedb_retention.service.settings import HttpSettings
from cratedb_retention.ui.frame import mount
from cratedb_retention.ui.links import LOGIN
from support.databases import Database

WIDE, NARROW, HUGE = (1280, 850), (390, 844), (1800, 1000)
# Milliseconds until what is expected must be there; a busy machine takes its time.
PATIENCE = 90_000
OFFLINE = "net::ERR_INTERNET_DISCONNECTED"  # What the browser says of a network that is lost.
expect.set_options(timeout=PATIENCE)


# Beside what `make test` does on CrateDB: a plan is shown and run.
long_on_cratedb = pytest.mark.long("pages are the same; make test has that of a table there", on="cratedb")


# Size, dark or not, with scripts or without.
Kind = tuple[tuple[int, int], bool, bool]


@dataclass
class Chromium:
    """
    A browser for many tests. Each gets windows of former tests, which have loaded and compiled the scripts.

    :param port: Of the last test's server; the next has the same if it can, since caches are by address.
    """

    browser: Browser
    port: int = 0
    _free: dict[Kind, list[Page]] = field(default_factory=lambda: defaultdict(list))

    def take(self, kind: Kind) -> Page:
        """A window that shares cookies and storage with no other, and has none yet."""
        if self._free[kind]:
            return self._free[kind].pop()
        size, dark, scripts = kind
        context = self.browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
            reduced_motion="reduce",
        )
        context.set_default_timeout(PATIENCE)
        return context.new_page()

    def give_back(self, kind: Kind, page: Page, address: str) -> None:
        """Forget who was logged in, and what pages have stored."""
        if page.url.startswith(address):
            page.evaluate("sessionStorage.clear()")
        page.goto("about:blank")
        page.context.clear_cookies()
        stored = {"origin": address, "storageTypes": "cookies,local_storage,indexeddb"}
        session = page.context.new_cdp_session(page)
        session.send("Storage.clearDataForOrigin", stored)
        session.detach()
        size, dark, _ = kind
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.emulate_media(reduced_motion="reduce", color_scheme="dark" if dark else "light")
        self._free[kind].append(page)


@contextmanager
def network(page: Page, *, offline: bool = False, delay: int = 0, megabits: float | None = None) -> Iterator[None]:
    """
    A network of this kind for a window.

    :param delay: Milliseconds from a request to its response, at least.
    :param megabits: At most, in each second and direction; None: as many as there are.
    """
    session, most = page.context.new_cdp_session(page), -1 if megabits is None else megabits * 1e6 / 8
    kind = {"offline": offline, "latency": delay, "downloadThroughput": most, "uploadThroughput": most}
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", kind)
    try:
        yield
    finally:
        session.detach()  # It was the session's.


# Where the last and largest thing was painted; in milliseconds after the address was entered.
_PAINTED = """() => new Promise(done => new PerformanceObserver(list => done(list.getEntries().at(-1).startTime))
  .observe({type: 'largest-contentful-paint', buffered: true}))"""


def largest_paint(page: Page, address: str) -> float:
    """Seconds until the largest part of a page is there, in a browser that has nothing of it yet."""
    session = page.context.new_cdp_session(page)
    session.send("Network.clearBrowserCache")
    session.detach()
    page.goto(address)
    return float(page.evaluate(_PAINTED)) / 1000


@contextmanager
def open_browser(path: str) -> Iterator[Chromium]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield Chromium(browser)
        browser.close()


@dataclass(kw_only=True)
class PagesInBrowser:
    """
    Pages of a database in a browser.

    :param tokens: The texts of tokens by name.
    """

    db: Database
    browser: Chromium
    context: Context
    server: HttpServer
    tokens: dict[str, str] = field(default_factory=dict)
    _noted: list[str] = field(default_factory=list)
    _excused: set[str] = field(default_factory=set)
    _windows: list[tuple[Kind, Page]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def complaints(self) -> list[str]:
        """What the browser complained about: mistakes in scripts, what could not be loaded, other hosts."""
        return [text for text in self._noted if not any(excused in text for excused in self._excused)]

    def excuse(self, *causes: int | str) -> None:
        """Excuse complaints about what a test does on purpose, before and after: HTTP statuses, or texts."""
        for cause in causes:
            self._excused |= {cause} if isinstance(cause, str) else {f"{cause}: http", f"a status of {cause} "}

    def start(self) -> None:
        """Start the service again after `stop`, which remembers nothing but what is in the database."""
        self.context = replace(self.context, runs=Runs(), operations=Operations())
        self.server = _serve(self.context, self.server.port)

    def stop(self) -> None:
        """Stop the service."""
        self.server.stop()

    def token(self, name: str, role: Role, *limit: str) -> str:
        """Make a token."""
        self.tokens[name] = self.db.tool.create_token(name, role, parse_tag_filter(limit))[1]
        return self.tokens[name]

    def window(self, size: tuple[int, int] = WIDE, dark: bool = False, scripts: bool = True) -> Page:
        """A browser window without a session."""
        kind = (size, dark, scripts)
        page = self.browser.take(kind)
        self._windows.append((kind, page))
        for event, complain in self._complaining.items():
            page.on(event, complain)  # type: ignore[call-overload]
        return page

    def log_in(self, name: str, to: str = "/ui/", size: tuple[int, int] = WIDE, dark: bool = False) -> Page:
        """A browser window that is logged in with a token, given by its name, on a loaded page."""
        page = self.window(size, dark)
        answer = page.request.post(f"{self.address}{LOGIN}", form={"token": self.tokens[name]}, max_redirects=0)
        assert answer.status == 303
        self.go(page, to)
        return page

    def go(self, page: Page, path: str) -> None:
        """Go to a page, and wait until it is loaded."""
        page.goto(f"{self.address}{path}")
        self.there(page)

    def there(self, page: Page) -> None:
        """Wait until the page is loaded completely."""
        page.locator("h1").wait_for()
        page.get_by_role("progressbar", name="Loading").wait_for(state="detached")

    def close(self) -> None:
        """Give all windows back."""
        for kind, page in self._windows:
            self.browser.give_back(kind, page, self.address)
            for event, complain in self._complaining.items():
                page.remove_listener(event, complain)

    @property
    def _complaining(self) -> dict[str, Callable[[Any], None]]:
        return {
            "console": self._console,
            "pageerror": self._error,
            "request": self._request,
            "response": self._response,
        }

    def _error(self, error: Error) -> None:
        self._noted.append(f"error: {error}")

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._noted.append(f"{message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self._noted.append(f"another host: {request.url}")

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self._noted.append(f"{response.status}: {response.url}")


@contextmanager
def open_pages(db: Database, browser: Chromium, authenticate: bool = True) -> Iterator[PagesInBrowser]:
    """Serve the pages of a database."""
    limits = HttpSettings(rate=1000, burst=100_000)
    context = Context(retention=db.tool, authenticate=authenticate, limits=limits)
    try:
        server = _serve(context, browser.port)
    except InvalidInput:  # Another process has that port by now.
        server = _serve(context, 0)
    browser.port = server.port
    pages = PagesInBrowser(db=db, browser=browser, context=context, server=server)
    try:
        yield pages
    finally:
        pages.close()
        pages.stop()


def _serve(context: Context, port: int) -> HttpServer:
    """A service at a port, or a free one (0)."""
    app = make_app(context)
    mount(app, context)
    server = HttpServer(app, "127.0.0.1", port, context.runs, context.operations)
    server.start()
    return server
