"""
The frame of a page: its head with the menu and the user, the colours that the user chose, and what
browsers may do with it. Each response is complete in itself; the process remembers nothing about a page.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import Request
from fastapi.responses import Response

from cratedb_retention import __version__
from cratedb_retention.model.runs import RunState
from cratedb_retention.ui import links
from cratedb_retention.ui.links import ADMINISTRATION, LOGOUT, MENU, PREFIX
from cratedb_retention.ui.web.html import Child, Markup, document, el

# The cookie of the chosen colours, which scripts write; without it, they are those of the system.
_DARK = "dark"
_THEMES = {"1": "dark", "0": "light"}
# The cookie of how instants are shown, likewise; without it, in UTC, as the server writes them.
_TIMES = "times"
_CLOCKS = {"utc": "UTC", "local": "Local", "relative": "Relative"}
# Smaller answers do not get smaller.
_WORTHWHILE = 1_000
# Only the part of the head about what runs now; seconds between requests for it, while something runs or nothing does.
RUNNING = f"{PREFIX}/running"
SEARCH = f"{PREFIX}/search"
_BUSY, _IDLE = 2, 15


@dataclass(frozen=True, kw_only=True)
class Who:
    """The user of a page and the database, as its head shows them."""

    database: str
    address: str  # More about it, on pointing at it.
    name: str
    actor: str  # Likewise.
    leaves: bool  # Whether there is a session that can be ended.
    admin: bool = False
    running: Sequence[RunState] = ()  # The runs that go on now.


def page(
    request: Request,
    title: str,
    *content: Child,
    who: Who | None = None,
    here: str = "",
    status: int = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
    refresh: int = 0,
) -> Response:
    """
    A page. Its content has the heading.

    :param who: None: no user, and so no menu.
    :param here: The path of the menu's entry that the page belongs to.
    :param refresh: Seconds after which it is loaded again without scripts, which only exchange parts; 0: never.
    """
    theme, times = _THEMES.get(request.cookies.get(_DARK, "")), request.cookies.get(_TIMES, "")
    clock = times if times in _CLOCKS else "utc"
    head = (
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"{title} · cratedb-retention"),
        el("link", rel="icon", href=f"{PREFIX}/static/favicon.svg"),
        el("link", rel="stylesheet", href=f"{PREFIX}/static/web.css?{__version__}"),
        el("script", src=f"{PREFIX}/static/web.js?{__version__}", defer=True),
        el("noscript", el("meta", http_equiv="refresh", content=refresh)) if refresh else None,
    )
    body = (
        el("a", "Skip to the content", class_="skip", href="#main"),
        _head(who, here, clock) if who else None,
        el("main", *content, id="main", tabindex="-1", class_="page" if who else "page alone"),
    )
    text = document(el("head", *head), el("body", *body), lang="en", data_theme=theme, data_times=clock)
    return answer(request, text, status, headers)


def answer(
    request: Request, text: str, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """The response with a page, or with a part of one."""
    body, told = text.encode(), {"Vary": "Accept-Encoding, Cookie", **(headers or {})}
    if len(body) > _WORTHWHILE and "gzip" in request.headers.get("accept-encoding", ""):
        body, told["Content-Encoding"] = gzip.compress(body, 6, mtime=0), "gzip"
    return Response(body, status, told, "text/html; charset=utf-8")


def _head(who: Who, here: str, clock: str) -> Markup:
    entries = (*MENU, ADMINISTRATION) if who.admin else MENU
    links = (
        el("a", name, href=f"{PREFIX}{path}", aria_current="page" if path == here else None) for name, path in entries
    )
    out = el("form", el("button", "Log out", type="submit"), method="post", action=LOGOUT) if who.leaves else None
    return el(
        "header",
        el("a", mark(), "cratedb-retention", class_="brand", href=f"{PREFIX}/"),
        el("nav", *links, aria_label="Pages", class_="menu"),
        el(
            "div",
            _SEARCH,
            running(who.running),
            el("span", who.database, class_="mono", title=who.address),
            el("span", who.name, title=who.actor),
            _clock(clock),
            el("button", _HALF, type="button", class_="icon", data_theme_switch=True, aria_label="Dark or light"),
            out,
            class_="who",
        ),
        class_="head",
    )


def running(runs: Sequence[RunState]) -> Markup:
    """What runs now, with a link to it. Scripts keep it up to date by the address that returns only this."""
    content = None
    if len(runs) == 1:
        run = runs[0]
        told = f"{run.steps_done:,} of {run.steps:,} steps" if run.steps else "about to start"
        hint = f"{run.doing or 'About to start'}\nby {run.actor}"
        text = el("span", "Running", el("span", f": {told}"))  # On narrow screens, there is no room for the latter.
        content = el("a", text, href=links.run(run.run_id), class_="badge is-running", title=hint)
    elif runs:
        content = el("a", f"{len(runs):,} runs", href=links.runs(), class_="badge is-running")
    return el("div", content, id="running", data_live=_BUSY if runs else _IDLE, data_from=RUNNING)


def _clock(clock: str) -> Markup:
    """How instants are shown, which scripts change."""
    said = f"Times: {_CLOCKS[clock]}"
    return el("button", said, type="button", class_="clock", data_times_switch=True, title="UTC, local or relative")


def mark() -> Markup:
    """The mark of the product: three lanes, of which the hatched end is about to go."""
    lanes = ((2, 20), (9, 14), (16, 8))
    bars = [el("rect", x=1, y=y, width=width, height=5, rx=1.5) for y, width in lanes]
    gone = [el("rect", x=width + 2, y=y, width=21 - width, height=5, rx=1.5, class_="faint") for y, width in lanes[1:]]
    return el("svg", *bars, *gone, class_="mark", viewBox="0 0 24 23", width=20, height=20, aria_hidden="true")


_LENS = el(
    "svg",
    el("circle", cx=7, cy=7, r=4.5, class_="ring"),
    el("path", d="M10.5 10.5l4 4", class_="ring"),
    viewBox="0 0 16 16",
    width=16,
    height=16,
    aria_hidden="true",
)
_SEARCH = el(
    "a",
    _LENS,
    el("kbd", "Ctrl K"),
    href=SEARCH,
    class_="find",
    data_palette=True,
    title="Search for tables, policies and pages",
    aria_label="Search (Ctrl K)",
)
_HALF = el(
    "svg",
    el("circle", cx=8, cy=8, r=6.5, class_="ring"),
    el("path", d="M8 1.5a6.5 6.5 0 0 1 0 13z"),
    viewBox="0 0 16 16",
    width=16,
    height=16,
    aria_hidden="true",
)
