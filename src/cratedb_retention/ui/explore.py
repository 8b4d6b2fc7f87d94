"""
Explore: a metric of a cascade as a chart that is as fine as what is kept of the stretch of time that is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from nicegui import events, ui

from cratedb_retention.errors import NotFound, RetentionError
from cratedb_retention.model.catalog import Value
from cratedb_retention.model.exploring import (
    Asked,
    Explorable,
    Span,
    exact_text,
    part_of,
    read_span,
    shift,
    united,
    wanted_texts,
    whole_span,
    zoom,
)
from cratedb_retention.model.reading import Cascade, Fetched, FetchRequest, Fill, describe
from cratedb_retention.model.time import from_ms
from cratedb_retention.model.words import write_value
from cratedb_retention.service.http.problems import Failed
from cratedb_retention.ui.explore_chart import MOST_LINES, lines_of, options
from cratedb_retention.ui.explore_form import Form, choose_table
from cratedb_retention.ui.explore_table import Numbers
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.links import PREFIX, Query
from cratedb_retention.ui.parts import button, note, show_error, telling

PATH = f"{PREFIX}/explore"
# While somebody turns the wheel, it is not asked; only when they stopped for so long (in seconds).
_PATIENCE = 0.3
_FEWEST, _MOST = 100, 2000
_ZOOMED = "(e) => { const z = e.batch ? e.batch[0] : e; emit(z.start, z.end); }"


async def show(guest: Guest, query: Query) -> None:
    """Fill the page."""
    asked = Asked.of_query(query)
    tables = await guest.ask(lambda scoped: scoped.readable_tables())
    if not tables:
        note("There is nothing to explore: there is no table that you see.")
        return
    if not asked.table and len(tables) == 1:
        asked = replace(asked, table=str(tables[0].table))
    choose_table(tables, asked)
    if not asked.table:
        note("Choose a table. Those that have rollups come first.")
        return
    table = next((found for found in tables if str(found.table) == asked.table), None)
    if table is None:
        raise NotFound(f"table {asked.table}", "is not there, or not yours to see", "choose another one above")
    cascade = await guest.ask(lambda scoped: scoped.cascade(table))
    await Explorer(guest, table, cascade, asked).show()


class Explorer:
    """
    The page of one table.

    :param asked: What the address says.
    """

    def __init__(self, guest: Guest, table: Explorable, cascade: Cascade, asked: Asked) -> None:
        self._guest, self._table, self._cascade = guest, table, cascade
        self._asked = replace(asked, where={**{k: write_value(v) for k, v in table.where.items()}, **asked.where})
        self._now = guest.context.retention.clock.now()
        self._whole = whole_span(cascade, self._now)
        self._shown = self._outer = self._whole
        self._fetched: Fetched | None = None
        self._turn = 0
        self._points = _FEWEST

    async def show(self) -> None:
        """Fill the page, and ask for the first time."""
        self._form = Form(self._cascade, self._asked, self._change, self._suggest)
        self._busy = ui.element("div").classes("explore-busy")
        self._trouble = ui.element("div").classes("explore-trouble")
        self._said = ui.label().classes("explore-said").props("role=status")
        self._more = note("")
        with ui.element("div").classes("bar").props('role=group aria-label="Zoom"') as self._buttons:
            self._button("Zoom in", "zoom_in", lambda: zoom(self._shown, 0.5, self._outer))
            self._button("Zoom out", "zoom_out", lambda: zoom(self._shown, 2, self._outer))
            self._button("Earlier", "chevron_left", lambda: shift(self._shown, -0.5, self._outer))
            self._button("Later", "chevron_right", lambda: shift(self._shown, 0.5, self._outer))
            button("Download CSV", self._download, "primary", "download").props("flat")
        self._chart = ui.echart({"series": []}, renderer="svg").classes("explore-chart card").props("role=img")
        self._chart.on("chart:datazoom", self._zoomed, js_handler=_ZOOMED)
        self._numbers = Numbers()
        await ui.context.client.connected()
        width = await ui.run_javascript(f"getElement({self._chart.id}).$el.offsetWidth", timeout=10)
        self._points = min(max(int(width), _FEWEST), _MOST)
        await self._begin()

    def _button(self, text: str, icon: str, where: Callable[[], Span]) -> None:
        async def pressed() -> None:
            await self._go(where())

        button(text, pressed, "primary", icon).props("flat")

    async def _change(self, asked: Asked) -> None:
        """Something else was chosen."""
        self._asked = asked
        await self._begin()

    async def _begin(self) -> None:
        """Look at what the choices say."""
        try:
            span = read_span(self._asked, self._whole, self._now)
        except RetentionError as error:
            self._fail(error)
            return
        self._outer = united(self._whole, span)
        await self._look(span)

    async def _go(self, span: Span) -> None:
        """Look at another stretch of time of the same."""
        self._asked = replace(self._asked, span="", start=exact_text(span[0]), end=exact_text(span[1]))
        self._form.tell_time(self._asked)
        await self._look(span)

    async def _zoomed(self, event: events.GenericEventArguments) -> None:
        """By wheel or mouse; only the last of many is asked for."""
        low, high = event.args
        self._turn += 1
        turn = self._turn
        await asyncio.sleep(_PATIENCE)
        if turn == self._turn and low is not None and high is not None:
            await self._go(part_of(self._outer, float(low), float(high)))

    async def _look(self, span: Span) -> None:
        """Ask for a stretch, and draw it, unless another one was asked for meanwhile."""
        self._turn += 1
        turn, self._shown = self._turn, span
        ui.navigate.history.replace(f"{PATH}?{self._asked.to_query()}")
        self._wait(True)
        request = self._request(span)
        try:
            fetched = await self._guest.ask(lambda scoped: scoped.fetch(request))
        except (Failed, RetentionError) as error:
            if turn == self._turn:
                self._fail(error.error if isinstance(error, Failed) else error)
            return
        if turn == self._turn:
            self._draw(fetched)

    def _request(self, span: Span) -> FetchRequest:
        return FetchRequest(
            table_name=self._table.table.name,
            table_schema=self._table.table.schema,
            start=from_ms(span[0]),
            end=from_ms(span[1]),
            points=self._points,
            metrics=wanted_texts(self._cascade, self._asked),
            where=self._asked.filters(),
            by=self._asked.by,
            fill=Fill.NULL,
            partly=True,
        )

    def _draw(self, fetched: Fetched) -> None:
        self._fetched = fetched
        self._clear(True)
        words = describe(fetched)
        self._said.set_text(words)
        count = len(lines_of(fetched))
        more = f"{count:,} groups; the first {MOST_LINES} are drawn. Choose values above to see others."
        empty = "" if count else "There is no data in this stretch of time."
        self._more.set_text(more if count > MOST_LINES else empty)
        self._more.set_visibility(bool(self._more.text))
        label = f"Chart of {fetched.columns[1 + fetched.keys]}. {words}"
        self._chart.options.clear()
        self._chart.options.update(options(fetched, self._shown, self._outer, label))
        self._chart.update()
        self._numbers.show(fetched)

    def _fail(self, error: RetentionError) -> None:
        """Show the error, and nothing that would look like an answer."""
        self._fetched = None
        self._clear(False)
        with self._trouble:
            show_error(error)

    def _clear(self, good: bool) -> None:
        self._wait(False)
        self._trouble.clear()
        for part in (self._said, self._more, self._buttons, self._chart, self._numbers.element):
            part.set_visibility(good)

    def _wait(self, waiting: bool) -> None:
        self._busy.clear()
        if waiting:
            with self._busy:
                ui.linear_progress(show_value=False).props('indeterminate aria-label="Reading"')

    def _download(self) -> None:
        if self._fetched is not None:
            name = f"{self._table.table.name}.csv"
            ui.download.content(self._fetched.to_csv(), name, "text/csv")

    async def _suggest(self, dimension: str) -> list[str]:
        """Values of a dimension that are there; other dimensions are filtered by what is chosen."""
        required = self._table.where
        request = replace(self._request(self._whole), where=dict(required), by=(dimension,))
        values: list[Value] = []
        with telling():
            values = await self._guest.ask(lambda scoped: scoped.suggest_values(request))
        return [write_value(value) for value in values]
