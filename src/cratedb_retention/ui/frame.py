"""
The pages, and what they have in common: the head with the way around, who is logged in, light and dark, and how errors
look. They are added to the application of the HTTP API; NiceGUI has one set of pages in a process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import nicegui
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse
from nicegui import background_tasks, ui
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from cratedb_retention import __version__
from cratedb_retention.errors import RetentionError
from cratedb_retention.service.http.access import Context
from cratedb_retention.ui import administration, audit, holds, plan, query
from cratedb_retention.ui.access import GUEST, Entrance, Guest, missing
from cratedb_retention.ui.archive import page as archive
from cratedb_retention.ui.forecast import page as forecast
from cratedb_retention.ui.forecast import what_if
from cratedb_retention.ui.links import LOGIN, LOGOUT, MENU, PREFIX, Query, go, link
from cratedb_retention.ui.log_in import make_router
from cratedb_retention.ui.overview import front, hub, search
from cratedb_retention.ui.parts import show_error
from cratedb_retention.ui.policies import editor, file
from cratedb_retention.ui.policies import table as policies
from cratedb_retention.ui.runs import page as run
from cratedb_retention.ui.runs import table as runs

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

    async def build(self, request: Request) -> None:
        guest: Guest = request.scope[GUEST]
        ui.dark_mode({"1": True, "0": False}.get(request.cookies.get("dark", "")))
        ui.add_head_html(f'<link rel="stylesheet" href="{PREFIX}/static/style.css?{__version__}">')
        with ui.context.client.layout:  # Above what NiceGUI makes the main part of the page.
            with ui.element("header").classes("head").props("role=banner") as head:
                link("cratedb-retention", f"{PREFIX}/").classes("brand")
                with ui.element("nav").props('aria-label="Pages"'):
                    for name, path in MENU:
                        found = link(name, f"{PREFIX}{path}")
                        if path.split("/")[1] == self.path.split("/")[1]:
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
    who = guest.who
    ui.label(who.database).classes("database").tooltip(who.address)
    ui.label(who.name).tooltip(who.actor)
    dark = ui.button(icon="contrast", on_click=lambda: ui.run_javascript(_SWITCH))
    dark.props('flat round dense aria-label="Dark or light"')
    if who.leaves:
        ui.html(f'<form method="post" action="{LOGOUT}"><button type="submit">Log out</button></form>', sanitize=False)


# Those that NiceGUI makes; the others are in `SERVED`.
PAGES: tuple[Page, ...] = ()
# Server-rendered pages.
SERVED = (
    front.ROUTER,
    hub.ROUTER,
    search.ROUTER,
    policies.ROUTER,
    file.ROUTER,
    editor.ROUTER,
    plan.ROUTER,
    forecast.ROUTER,
    what_if.ROUTER,
    runs.ROUTER,
    run.ROUTER,
    audit.ROUTER,
    archive.ROUTER,
    holds.ROUTER,
    query.ROUTER,
    administration.ROUTER,
)


def add_served(app: FastAPI, context: Context) -> None:
    """Add what needs no NiceGUI: log-in, static files and server-rendered pages."""
    app.include_router(make_router(context))
    for router in SERVED:
        app.include_router(router)
    app.mount(f"{PREFIX}/static", GZipMiddleware(StaticFiles(directory=STATIC)))
    app.add_middleware(Entrance, context=context)


def mount(app: FastAPI, context: Context) -> None:
    """Add the pages under ``/ui``."""
    add_served(app, context)
    app.add_api_route("/", lambda: RedirectResponse(f"{PREFIX}/"), include_in_schema=False)
    # Pages say themselves that something is on its way; this bar would have no name.
    nicegui.app.config.quasar_config["loadingBar"]["skipHijack"] = True
    nicegui.app.add_exception_handler(HTTPStatus.NOT_FOUND, missing)
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
