"""
Pages without a browser: their elements as the server makes them, with fields to fill and buttons to press. That takes
milliseconds; what a browser makes of it is proven by :mod:`support.pages`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from nicegui import background_tasks, core, events, ui
from nicegui.app.app import State
from nicegui.client import Client
from nicegui.element import Element
from nicegui.page import page
from nicegui.testing.general import nicegui_reset_globals

from cratedb_retention.service.http.access import Context
from cratedb_retention.service.runs import Runs
from cratedb_retention.store.access import Session, token_id
from cratedb_retention.ui.access import Glances, Guest
from cratedb_retention.ui.links import Query
from support.databases import Database

Body = Callable[[Guest, Query], Awaitable[None]]


class PageElements:
    """A page of a database, of a user with the token with this text; without one, of an administrator."""

    def __init__(self, db: Database) -> None:
        self.db, self.runs = db, Runs()
        self._glances = Glances(db.time.clock)
        self._loop = asyncio.new_event_loop()
        # The browser of other tests has a loop in the main thread.
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._pending: list[asyncio.Task[Any]] = []
        core.loop, core.app._state = self._loop, State.STARTED
        self.client: Client

    def open(self, body: Body, query: str = "", token: str = "") -> None:
        """Load a page with the query of its address."""
        context = Context(retention=self.db.tool, authenticate=bool(token), runs=self.runs)
        session = Session(token_id=token_id(token)) if token else None
        guest = Guest(context=context, session=session, host="", glances=self._glances)
        self._run(self._open(guest, body, Query(query)))

    async def _open(self, guest: Guest, body: Body, query: Query) -> None:
        guest.access = guest.scoped().access
        self.client = Client(page("/"), request=None)
        self.client.connected = _connected  # type: ignore[method-assign]
        with self.client:
            await body(guest, query)

    def find(self, kind: type[Element], text: str) -> Any:
        """The last visible element of a kind with a text, label or name; None if there is none."""
        found = [each for each in self._shown() if isinstance(each, kind) and text in _names(each)]
        return found[-1] if found else None

    @property
    def texts(self) -> list[str]:
        """What is visible outside of tables, in order of making."""
        return [text for each in self._shown() if (text := getattr(each, "text", ""))]

    def rows(self, caption: str) -> list[list[str]]:
        """The cells of a table by its name, sorted as it is sent."""
        found = self.find(ui.table, caption)
        places = range(len(found.columns)) if found else ()
        return [
            [" ".join(bit["text"] for bit in row[f"c{at}_"]) for at in places] for row in (found.rows if found else ())
        ]

    def fill(self, label: str, value: Any, kind: type[Element] = Element) -> None:
        """Write into a field, or choose."""
        field = self.find(kind, label)
        self._do(lambda: field.set_value(value))

    def choose(self, caption: str, place: int) -> None:
        """Choose a row of a table."""
        found = self.find(ui.table, caption)
        found.selected = [found.rows[place]]
        given = events.TableSelectionEventArguments(sender=found, client=self.client, selection=found.selected)
        self._fire(found._selection_handlers, given)

    def press(self, text: str) -> None:
        """Press a button, and wait for its work, or for a question that it asks."""
        found = self.find(ui.button, text)
        assert found is not None, (text, self.texts)
        assert found.enabled, text
        given = events.GenericEventArguments(sender=found, client=self.client, args={})
        self._fire([each.handler for each in found._event_listeners.values() if each.type == "click"], given)

    @property
    def question(self) -> str:
        """The open dialog's name; empty without one."""
        asked = self._dialog()
        return str(asked.props["aria-label"]) if asked else ""

    @property
    def told(self) -> list[str]:
        """What notices say."""
        return [data["message"] for _, kind, data in self.client.outbox.messages if kind == "notify"]

    @property
    def went(self) -> list[str]:
        """Where the page led to."""
        return [unquote(data["path"]) for _, kind, data in self.client.outbox.messages if kind == "open"]

    def close(self) -> None:
        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._loop.shutdown_default_executor()

        self._run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        core.app._state = State.STOPPED

    def _shown(self) -> Iterator[Element]:
        closed = [
            each for each in list(self.client.elements.values()) if isinstance(each, ui.dialog) and not each.value
        ]
        for each in list(self.client.elements.values()):
            if each.visible and all(up.visible and up not in closed for up in each.ancestors()):
                yield each

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _fire(self, handlers: Iterable[Callable[..., Any]], given: events.UiEventArguments) -> None:
        def work() -> None:
            for handler in handlers:
                events.handle_event(handler, given)

        self._do(work)

    def _do(self, work: Callable[[], object]) -> None:
        self._run(self._work(work))

    async def _work(self, work: Callable[[], object]) -> None:
        before, asked = set(background_tasks.running_tasks), self._dialog()
        work()
        new = background_tasks.running_tasks - before
        self._pending += new
        async with asyncio.timeout(60):
            while True:
                await asyncio.sleep(0.001)
                now = self._dialog()
                if now is not None and now is not asked:
                    break
                if all(each.done() for each in (self._pending if now is None else new)):
                    break
        over = [each for each in self._pending if each.done()]
        self._pending = [each for each in self._pending if not each.done()]
        for each in over:
            if not each.cancelled():
                each.result()

    def _dialog(self) -> ui.dialog | None:
        asked = [each for each in list(self.client.elements.values()) if isinstance(each, ui.dialog) and each.value]
        return asked[-1] if asked else None


async def _connected(timeout: float | None = None) -> None:
    """There is nothing to wait for."""


def _names(each: Element) -> list[str]:
    return [each.props.get("label", ""), each.props.get("aria-label", ""), getattr(each, "text", "")]


@contextmanager
def open_elements(db: Database) -> Iterator[PageElements]:
    """Pages of a database without a browser."""
    with nicegui_reset_globals():
        found = PageElements(db)
        try:
            yield found
        finally:
            found.close()
