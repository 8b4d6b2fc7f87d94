"""
The frame of a server-rendered page: its head with the menu and the user, the colours that the user chose, and what
browsers may do with it. Each response is complete in itself; the process remembers nothing about a page.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import Request
from fastapi.responses import Response

from cratedb_retention import __version__
from cratedb_retention.ui.links import LOGOUT, MENU, PREFIX
from cratedb_retention.ui.web.html import Child, Markup, document, el

# No inline scripts or styles, nothing from another host.
STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
# The cookie of the chosen colours, which scripts write; without it, they are those of the system.
_DARK = "dark"
_THEMES = {"1": "dark", "0": "light"}
# Smaller answers do not get smaller.
_WORTHWHILE = 1_000


@dataclass(frozen=True, kw_only=True)
class Who:
    """The user of a page and the database, as its head shows them."""

    database: str
    address: str  # More about it, on pointing at it.
    name: str
    actor: str  # Likewise.
    leaves: bool  # Whether there is a session that can be ended.


def page(
    request: Request,
    title: str,
    *content: Child,
    who: Who | None = None,
    here: str = "",
    status: int = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """
    A page. Its content has the heading.

    :param who: None: no user, and so no menu.
    :param here: The path of the menu's entry that the page belongs to.
    """
    theme = _THEMES.get(request.cookies.get(_DARK, ""))
    head = (
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"{title} · cratedb-retention"),
        el("link", rel="icon", href=f"{PREFIX}/static/favicon.svg"),
        el("link", rel="stylesheet", href=f"{PREFIX}/static/web.css?{__version__}"),
        el("script", src=f"{PREFIX}/static/web.js?{__version__}", defer=True),
    )
    body = (
        el("a", "Skip to the content", class_="skip", href="#main"),
        _head(who, here) if who else None,
        el("main", *content, id="main", tabindex="-1", class_="page" if who else "page alone"),
    )
    text = document(el("head", *head), el("body", *body), lang="en", data_theme=theme)
    return _respond(request, text, status, headers or {})


def _respond(request: Request, text: str, status: int, headers: Mapping[str, str]) -> Response:
    body, told = text.encode(), {"Content-Security-Policy": STRICT, "Vary": "Accept-Encoding, Cookie", **headers}
    if len(body) > _WORTHWHILE and "gzip" in request.headers.get("accept-encoding", ""):
        body, told["Content-Encoding"] = gzip.compress(body, 6, mtime=0), "gzip"
    return Response(body, status, told, "text/html; charset=utf-8")


def _head(who: Who, here: str) -> Markup:
    links = (
        el("a", name, href=f"{PREFIX}{path}", aria_current="page" if path == here else None) for name, path in MENU
    )
    out = el("form", el("button", "Log out", type="submit"), method="post", action=LOGOUT) if who.leaves else None
    return el(
        "header",
        el("a", mark(), "cratedb-retention", class_="brand", href=f"{PREFIX}/"),
        el("nav", *links, aria_label="Pages", class_="menu"),
        el(
            "div",
            el("span", who.database, class_="mono", title=who.address),
            el("span", who.name, title=who.actor),
            el("button", _HALF, type="button", class_="icon", data_theme_switch=True, aria_label="Dark or light"),
            out,
            class_="who",
        ),
        class_="head",
    )


def mark() -> Markup:
    """The mark of the product: three lanes, of which the hatched end is about to go."""
    lanes = ((2, 20), (9, 14), (16, 8))
    bars = [el("rect", x=1, y=y, width=width, height=5, rx=1.5) for y, width in lanes]
    gone = [el("rect", x=width + 2, y=y, width=21 - width, height=5, rx=1.5, class_="faint") for y, width in lanes[1:]]
    return el("svg", *bars, *gone, class_="mark", viewBox="0 0 24 23", width=20, height=20, aria_hidden="true")


_HALF = el(
    "svg",
    el("circle", cx=8, cy=8, r=6.5, class_="ring"),
    el("path", d="M8 1.5a6.5 6.5 0 0 1 0 13z"),
    viewBox="0 0 16 16",
    width=16,
    height=16,
    aria_hidden="true",
)
