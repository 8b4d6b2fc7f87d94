"""
The pages, and what they have in common: the head with the way around, who is logged in, light and dark, and how errors
look. They are added to the application of the HTTP API; NiceGUI has one set of pages in a process.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import nicegui
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse
from nicegui import background_tasks, ui

from cratedb_retention import __version__
from cratedb_retention.errors import RetentionError
from cratedb_retention.service.http.access import Context
from cratedb_retention.ui import archive, holds, plan, query
from cratedb_retention.ui import audit as jobs
from cratedb_retention.ui.access import GUEST, LOGIN, LOGOUT, Entrance, Guest, Sessions, make_router
from cratedb_retention.ui.links import PREFIX, Query, go, link
from cratedb_retention.ui.overview import table as overview
from cratedb_retention.ui.overview import timeline
from cratedb_retention.ui.parts import show_error
from cratedb_retention.ui.policies import editor
from cratedb_retention.ui.policies import table as policies

STATIC = Path(__file__).parent / "static"
# How long a page may take until it is sent: what the database says comes after that.
_BUILDING = 10.0
_SWITCH = (
    "document.cookie = 'dark=' + (Quasar.Dark.isActive ? 0 : 1) + ';path=/ui;max-age=31536000;samesite=strict';"
    "Quasar.Dark.toggle()"
)


@dataclass(frozen=True, kw_only=True)
class Page:
    path: str  # Below /ui; parts in braces are handed to the body together with the query.
    title: str  # Its heading.
    body: Callable[[Guest, Query], Awaitable[None]]  # Fills it; may take its time.
    menu: str = ""  # Its name in the menu; empty: it is reached from other pages.

    async def build(self, request: Request) -> None:
        guest: Guest = request.scope[GUEST]
        ui.dark_mode({"1": True, "0": False}.get(request.cookies.get("dark", "")))
        ui.add_head_html(f'<link rel="stylesheet" href="{PREFIX}/static/style.css?{__version__}">')
        ui.add_head_html(f'<script src="{PREFIX}/static/charts.js?{__version__}"></script>')
        with ui.context.client.layout:  # Above what NiceGUI makes the main part of the page.
            with ui.element("header").classes("head").props("role=banner") as head:
                link("cratedb-retention", f"{PREFIX}/").classes("brand")
                with ui.element("nav").props('aria-label="Pages"'):
                    for page in filter(lambda page: page.menu, PAGES):
                        found = link(page.menu, f"{PREFIX}{page.path}")
                        if page.path.split("/")[1] == self.path.split("/")[1]:
                            found.props('aria-current="page"')
                who = ui.element("div").classes("who")
            head.move(target_index=0)
            ui.html('<a class="skip" href="#main">Skip to the content</a>', sanitize=False).move(target_index=0)
        with ui.element("div").classes("page").props("id=main tabindex=-1"):
            with ui.element("h1").props("id=title"):
                ui.label(self.title)
            waiting = ui.linear_progress(show_value=False).props('indeterminate aria-label="Loading"')
            content = ui.element("div").classes("content")

        async def load() -> None:
            try:
                guest.access = await guest.ask(lambda scoped: scoped.access)
                with who:
                    _who(guest)
                with content:
                    await self.body(guest, Query([*request.query_params.multi_items(), *request.path_params.items()]))
            except RetentionError as error:
                with content:
                    if error.http_status == 401:  # The session is over.
                        go(LOGIN)
                    else:
                        show_error(error)
            finally:
                if not waiting.is_deleted:  # They may have left.
                    waiting.delete()

        loading = background_tasks.create(load(), name=f"page {self.path}", context=content)

        def leave() -> None:
            loading.cancel()

        ui.context.client.on_delete(leave)


def _who(guest: Guest) -> None:
    address, access = guest.context.retention.address.safe, guest.access
    ui.label(address.rstrip("/").rpartition("/")[2]).classes("database").tooltip(address)
    limit = f" of {access.limit}" if access.limited else ""
    name = access.actor.partition(" (token")[0]
    ui.label(name if name == access.role else f"{name} ({access.role}{limit})").tooltip(access.actor)
    dark = ui.button(icon="contrast", on_click=lambda: ui.run_javascript(_SWITCH))
    dark.props('flat round dense aria-label="Dark or light"')
    if guest.session:
        ui.html(f'<form method="post" action="{LOGOUT}"><button type="submit">Log out</button></form>', sanitize=False)


# In the order of the menu.
PAGES: tuple[Page, ...] = (
    Page(path="/", title="Overview", body=overview.show, menu="Overview"),
    Page(path=timeline.PATH, title="Timeline", body=timeline.show),
    Page(path="/policies", title="Policies", body=policies.show, menu="Policies"),
    Page(path="/policies/new", title="New policy", body=editor.create),
    Page(path="/policies/{id:path}", title="Policy", body=editor.edit),
    Page(path="/plan", title="Plan", body=plan.show, menu="Plan"),
    Page(path="/jobs", title="Jobs: the audit log", body=jobs.show, menu="Jobs"),
    Page(path="/archive", title="Archive", body=archive.show, menu="Archive"),
    Page(path="/holds", title="Holds", body=holds.show, menu="Holds"),
    Page(path="/explore", title="Explore", body=query.show, menu="Explore"),
)


def mount(app: FastAPI, context: Context) -> None:
    """Add the pages under ``/ui``."""
    sessions = Sessions(context.retention.clock, secrets.token_bytes)
    app.include_router(make_router(context, sessions))
    app.add_api_route("/", lambda: RedirectResponse(f"{PREFIX}/"), include_in_schema=False)
    app.add_middleware(Entrance, context=context, sessions=sessions)
    # Pages say themselves that something is on its way; this bar would have no name.
    nicegui.app.config.quasar_config["loadingBar"]["skipHijack"] = True
    nicegui.app.add_static_files("/static", STATIC)
    for page in PAGES:
        ui.page(page.path, title=f"{page.title} · cratedb-retention", response_timeout=_BUILDING)(page.build)
    ui.run_with(
        app,
        mount_path=PREFIX,
        title="cratedb-retention",
        favicon=STATIC / "favicon.svg",
        dark=None,
        language="en-US",
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=10.0,
    )
