"""
What all pages have in common: the head with the way around, who is logged in, light and dark, and how errors look.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from fastapi import Request
from nicegui import background_tasks, ui

from cratedb_retention import __version__
from cratedb_retention.errors import RetentionError
from cratedb_retention.model.access import Access
from cratedb_retention.service.http.problems import Failed
from cratedb_retention.ui.guest import Guest, guest_of
from cratedb_retention.ui.links import PREFIX, Query
from cratedb_retention.ui.login import LOGIN, LOGOUT
from cratedb_retention.ui.parts import go, link, show_error

Body = Callable[[Guest, Query], Awaitable[None]]
# How long a page may take until it is sent: what the database says comes after that.
_BUILDING = 10.0
_SWITCH = (
    "document.cookie = 'dark=' + (Quasar.Dark.isActive ? 0 : 1) + ';path=/ui;max-age=31536000;samesite=strict';"
    "Quasar.Dark.toggle()"
)


@dataclass(frozen=True, kw_only=True)
class Page:
    """
    A page.

    :param path: Below ``/ui``; parts in braces are handed to ``body`` together with the query.
    :param title: Its heading.
    :param body: Fills it; may take its time.
    :param menu: Its name in the menu; empty: it is reached from other pages.
    """

    path: str
    title: str
    body: Body
    menu: str = ""

    def register(self, pages: Sequence[Page]) -> None:
        """
        Let NiceGUI serve it.

        :param pages: All pages, for the menu.
        """

        @ui.page(self.path, title=f"{self.title} · cratedb-retention", response_timeout=_BUILDING)
        async def build(request: Request) -> None:
            await self._build(request, pages)

    async def _build(self, request: Request, pages: Sequence[Page]) -> None:
        guest = guest_of(request.scope)
        _dark(request)
        ui.add_head_html(f'<link rel="stylesheet" href="{PREFIX}/static/style.css?{__version__}">')
        with ui.context.client.layout:  # Above what NiceGUI makes the main part of the page.
            with ui.element("header").classes("head").props("role=banner") as head:
                link("cratedb-retention", f"{PREFIX}/").classes("brand")
                _menu(pages, self.path)
                who = ui.element("div").classes("who")
            head.move(target_index=0)
            ui.html('<a class="skip" href="#main">Skip to the content</a>', sanitize=False).move(target_index=0)
        with ui.element("div").classes("page").props("id=main tabindex=-1"):
            heading = ui.element("h1").props("id=title")
            with heading:
                ui.label(self.title)
            waiting = ui.linear_progress(show_value=False).props('indeterminate aria-label="Loading"')
            content = ui.element("div").classes("content")
        given = Query([*request.query_params.multi_items(), *request.path_params.items()])

        async def load() -> None:
            try:
                access = await guest.ask(lambda scoped: scoped.access)
                with who:
                    _who(guest, access)
                with content:
                    await self.body(guest, given)
            except Failed as error:
                _over(error, content)
            except RetentionError as error:
                with content:
                    show_error(error)
            finally:
                if not waiting.is_deleted:  # They may have left.
                    waiting.delete()

        loading = background_tasks.create(load(), name=f"page {self.path}", context=content)

        def leave() -> None:
            loading.cancel()

        ui.context.client.on_delete(leave)


def _over(error: Failed, content: ui.element) -> None:
    """The session is over, or they ask too often."""
    with content:
        if error.status == 401:
            go(LOGIN)
        else:
            show_error(error.error)


def _dark(request: Request) -> None:
    chosen = request.cookies.get("dark")
    ui.dark_mode({"1": True, "0": False}.get(chosen or ""))


def _menu(pages: Sequence[Page], here: str) -> None:
    with ui.element("nav").props('aria-label="Pages"'):
        for page in pages:
            if page.menu:
                found = link(page.menu, f"{PREFIX}{page.path}")
                if _section(page.path) == _section(here):
                    found.props('aria-current="page"')


def _section(path: str) -> str:
    return path.strip("/").split("/")[0]


def _who(guest: Guest, access: Access) -> None:
    address = guest.context.retention.address.safe
    ui.label(address.rstrip("/").rpartition("/")[2]).classes("database").tooltip(address)
    limit = f" of {access.limit}" if access.limited else ""
    name = access.actor.partition(" (token")[0]
    words = name if name == access.role else f"{name} ({access.role}{limit})"
    ui.label(words).tooltip(access.actor)
    ui.button(icon="contrast", on_click=lambda: ui.run_javascript(_SWITCH)).props(
        'flat round dense aria-label="Dark or light"'
    )
    if guest.session:
        ui.html(f'<form method="post" action="{LOGOUT}"><button type="submit">Log out</button></form>', sanitize=False)
