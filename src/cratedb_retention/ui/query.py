"""
Explore: a metric of a cascade as a chart that is as fine as what is kept of the time range that is looked at; and the
numbers of the chart as a table, for those who do not see it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

from nicegui import events, ui

from cratedb_retention.errors import NotFound, RetentionError
from cratedb_retention.model import words
from cratedb_retention.model.catalog import TableName, Value
from cratedb_retention.model.query import exploring
from cratedb_retention.model.query.exploring import EVERYTHING, WHERE, Asked
from cratedb_retention.model.query.reading import Cascade, Cell, Fetched, FetchRequest, Fill, Row, describe
from cratedb_retention.model.rollups.aggregates import Aggregate
from cratedb_retention.model.rollups.rollup import ROW_COUNT, label
from cratedb_retention.model.time import TimeRange, from_ms
from cratedb_retention.model.words import write_value
from cratedb_retention.ui.access import Guest
from cratedb_retention.ui.charts import MOST_LINES, explore_options, lines_of
from cratedb_retention.ui.columns import Column, Number
from cratedb_retention.ui.links import Query, address, go
from cratedb_retention.ui.parts import bar, button, hidden_note, note, show_error, telling
from cratedb_retention.ui.tables import table

PATH = "/explore"
# While a user turns the wheel, nothing is asked; only when they stopped for so long (in seconds).
_PATIENCE = 0.3
_FEWEST, _MOST = 100, 2000
MOST_ROWS = 1000
_ZOOMED = "(e) => { const z = e.batch ? e.batch[0] : e; emit(z.start, z.end); }"
_SPANS = {**{name: f"Last {name}" for name in exploring.RANGES}, EVERYTHING: "Everything"}
_WORDS = {**{str(one): one.words for one in Aggregate}, ROW_COUNT: "number of rows"}
_MOVES = (
    ("Zoom in", "zoom_in", {"zoom": 0.5}),
    ("Zoom out", "zoom_out", {"zoom": 2.0}),
    ("Earlier", "chevron_left", {"by": -0.5}),
    ("Later", "chevron_right", {"by": 0.5}),
)


async def show(guest: Guest, query: Query) -> None:
    """Fill the page."""
    asked, found = exploring.read_query(query), await guest.ask(lambda scoped: scoped.readable_tables())
    tables = {str(name): name for name in found}
    if not tables:
        note("There is nothing to explore: there is no table that you see.")
        return
    name = asked.get("table") or (next(iter(tables)) if len(tables) == 1 else "")

    def chosen(event: events.ValueChangeEventArguments[Any]) -> None:
        if event.value and event.value != name:
            go(address(PATH, {"table": event.value}))

    select = ui.select(list(tables), label="Table", value=name if name in tables else None, on_change=chosen)
    select.props("outlined dense")
    if not name:
        note("Choose a table. Those that have rollups come first.")
        return
    if name not in tables:
        raise NotFound(f"table {name}", "is not there, or not yours to see", "choose another one above")
    own, where = tables[name], found[tables[name]]
    cascade = await guest.ask(lambda scoped: scoped.cascade(own, where))
    since = await guest.ask(lambda scoped: scoped.archived_since(own))
    whole = exploring.whole_span(cascade, guest.context.retention.clock.now(), since)
    await Explorer(guest, own, where, cascade, whole, exploring.changed(asked, {"table": name})).show()


class Explorer:
    """
    The page of one table: the choices of metric, groups, filters and time, first those of the address; and the chart.
    """

    def __init__(
        self,
        guest: Guest,
        table: TableName,
        where: Mapping[str, str | None],
        cascade: Cascade,
        whole: TimeRange,
        asked: Asked,
    ) -> None:
        self._guest, self._table, self._where, self._cascade = guest, table, where, cascade
        self._asked: Asked = {**{f"{WHERE}{name}": write_value(value) for name, value in where.items()}, **asked}
        self._whole, self._now = whole, from_ms(whole.end)
        self._shown = self._outer = self._whole
        self._fetched: Fetched | None = None
        self._turn = 0
        self._points = _FEWEST

    async def show(self) -> None:
        """Fill the page, and ask for the first time."""
        self._form()
        self._busy = ui.element("div").classes("explore-busy")
        self._trouble = ui.element("div").classes("explore-trouble")
        self._said = ui.label().classes("explore-said").props("role=status")
        self._more = hidden_note()
        with bar().props('role=group aria-label="Zoom"') as self._buttons:
            for text, icon, step in _MOVES:
                button(text, partial(self._move, **step), "primary", icon).props("flat")
            button("Download CSV", self._download, "primary", "download").props("flat")
        self._chart = ui.echart({"series": []}, renderer="svg").classes("explore-chart card").props("role=img")
        self._chart.on("chart:datazoom", self._zoomed, js_handler=_ZOOMED)
        # Filled when a user opens it.
        self._numbers = ui.expansion("The numbers as a table", on_value_change=self._list).classes("card")
        await ui.context.client.connected()
        width = await ui.run_javascript(f"getElement({self._chart.id}).$el.offsetWidth", timeout=10)
        self._points = min(max(int(width), _FEWEST), _MOST)
        await self._begin()

    def _form(self) -> None:
        asked, dimensions = self._asked, [label(column.name) for column in self._cascade.dimensions]
        with ui.element("div").classes("explore-chosen"):
            names = {m.name: m.name for m in self._cascade.metrics} | {ROW_COUNT: _WORDS[ROW_COUNT]}
            given = asked.get("metric") or next(iter(names))
            metric = ui.select(names, label="Metric", value=given if given in names else None).props("outlined dense")
            metric.on_value_change(lambda event: self._choose_metric(event.value or ""))
            self._aggregate = ui.select({}, label="Aggregate").props("outlined dense")
            self._offer_aggregates(asked.get("metric", ""), asked.get("aggregate", ""))
            self._aggregate.on_value_change(lambda event: self._put(aggregate=event.value or ""))
            if dimensions:
                by = [name for name in exploring.groups(asked) if name in dimensions]
                lines = ui.select(dimensions, label="A line for each", value=by, multiple=True, clearable=True)
                lines.props("outlined dense use-chips")
                lines.on_value_change(lambda event: self._put(by=",".join(event.value or ())))
            for name in dimensions:
                self._filter(name)
        with ui.element("div").classes("explore-time").props('role=group aria-label="Time"'):
            self._span = ui.toggle(_SPANS, value=asked.get("range") if asked.get("range") in _SPANS else None)
            self._span.props("no-caps unelevated").on_value_change(
                lambda event: self._put(**{"range": event.value, "from": "", "until": ""}) if event.value else None
            )
            self._start = ui.input("From (UTC)", value=asked.get("from", ""), placeholder="2024-06-01 or -7d")
            self._end = ui.input("Until (UTC)", value=asked.get("until", ""), placeholder="now")
            for field in (self._start, self._end):
                field.props("outlined dense autocomplete=off spellcheck=false")
                field.on("keydown.enter", self._choose_instants)
            button("Show", self._choose_instants)

    async def _put(self, **chosen: str) -> None:
        asked = exploring.changed(self._asked, chosen)
        if asked != self._asked:
            self._asked = asked
            if "range" in chosen:
                self._write_span()
            await self._begin()

    def _write_span(self) -> None:
        self._span.set_value(self._asked.get("range"))
        self._start.set_value(self._asked.get("from", ""))
        self._end.set_value(self._asked.get("until", ""))

    def _offer_aggregates(self, name: str, wanted: str) -> str:
        metric = None if name == ROW_COUNT else exploring.find_metric(self._cascade.metrics, name)
        offered = {name: _WORDS.get(name, name) for name in (metric.answers if metric else ())}
        given = wanted or next(iter(offered), "")
        self._aggregate.set_options(offered, value=given if given in offered else None)
        self._aggregate.set_visibility(bool(offered))
        return given

    async def _choose_metric(self, name: str) -> None:
        # What the choice of aggregates says of that as well is nothing new by then.
        await self._put(metric=name, aggregate=self._offer_aggregates(name, ""))

    def _filter(self, name: str) -> None:
        """A field for a value; those that are there are suggested once a user comes to it."""
        values = ui.element("datalist")
        field = ui.input(f"Only where {name} is", value=self._asked.get(f"{WHERE}{name}", ""))
        field.props("outlined dense clearable autocomplete=off spellcheck=false debounce=400")
        field.props["list"] = values.html_id

        async def fill() -> None:
            if not values.default_slot.children:
                found = await self._suggest(name)
                with values:
                    for value in found:
                        ui.element("option").props["value"] = value

        field.on("focus", fill).on_value_change(lambda event: self._put(**{f"{WHERE}{name}": event.value or ""}))

    async def _choose_instants(self) -> None:
        start, end = (self._start.value or "").strip(), (self._end.value or "").strip()
        await self._put(**{"range": "" if start or end else EVERYTHING, "from": start, "until": end})

    async def _begin(self) -> None:
        try:
            span = exploring.read_span(self._asked, self._whole, self._now)
        except RetentionError as error:
            self._fail(error)
            return
        self._outer = TimeRange(min(self._whole.start, span.start), max(self._whole.end, span.end))
        await self._look(span)

    async def _move(self, **step: float) -> None:
        await self._go(exploring.moved(self._shown, self._outer, **step))

    async def _go(self, span: TimeRange) -> None:
        start, end = map(exploring.exact_text, span)
        self._asked = exploring.changed(self._asked, {"range": "", "from": start, "until": end})
        self._write_span()
        await self._look(span)

    async def _zoomed(self, event: events.GenericEventArguments) -> None:
        """By wheel or mouse; only the last of many is asked for."""
        low, high = event.args
        self._turn += 1
        turn = self._turn
        await asyncio.sleep(_PATIENCE)
        if turn == self._turn and low is not None and high is not None:
            await self._go(exploring.part_of(self._outer, float(low), float(high)))

    async def _look(self, span: TimeRange) -> None:
        self._turn += 1
        turn, self._shown = self._turn, span
        ui.navigate.history.replace(address(PATH, self._asked))
        with self._busy.clear():
            ui.linear_progress(show_value=False).props('indeterminate aria-label="Reading"')
        request = self._request(span)
        try:
            fetched = await self._guest.ask(lambda scoped: scoped.fetch(request))
        except RetentionError as error:
            if turn == self._turn:
                self._fail(error)
            return
        if turn == self._turn:
            self._draw(fetched)

    def _request(self, span: TimeRange) -> FetchRequest:
        start, end = map(from_ms, span)
        return FetchRequest(
            table_name=self._table.name,
            table_schema=self._table.schema,
            start=start,
            end=end,
            points=self._points,
            metrics=exploring.wanted_texts(self._cascade, self._asked),
            where=exploring.filters(self._asked),
            by=exploring.groups(self._asked),
            fill=Fill.NULL,
            partly=True,
        )

    def _draw(self, fetched: Fetched) -> None:
        self._over(fetched)
        lines, said = lines_of(fetched), describe(fetched)
        self._said.set_text(said)
        more = f"{len(lines):,} groups; the first {MOST_LINES} are drawn. Choose values above to see others."
        empty = "" if lines else "There is no data in this time range."
        self._more.set_text(more if len(lines) > MOST_LINES else empty)
        self._chart.options.clear()
        self._chart.options.update(explore_options(fetched, lines[:MOST_LINES], self._shown, self._outer))
        description = f"Chart of {fetched.columns[1 + fetched.keys]}. {said}"
        self._chart.options["aria"] = {"enabled": True, "label": {"description": description}}
        self._chart.update()
        self._list()

    def _fail(self, error: RetentionError) -> None:
        self._over(None)
        self._more.set_text("")
        with self._trouble:
            show_error(error)

    def _over(self, fetched: Fetched | None) -> None:
        self._fetched = fetched
        self._busy.clear()
        self._trouble.clear()
        for part in (self._said, self._buttons, self._chart, self._numbers):
            part.set_visibility(fetched is not None)

    def _list(self) -> None:
        self._numbers.clear()
        if self._numbers.value and self._fetched is not None:
            with self._numbers:
                _show_numbers(self._fetched)

    def _download(self) -> None:
        if self._fetched is not None:
            ui.download.content(self._fetched.to_csv(), f"{self._table.name}.csv", "text/csv")

    async def _suggest(self, dimension: str) -> list[str]:
        request = replace(self._request(self._whole), where=dict(self._where), by=(dimension,))
        values: list[Value] = []
        with telling():
            values = await self._guest.ask(lambda scoped: scoped.suggest_values(request))
        return [write_value(value) for value in values]


def _show_numbers(fetched: Fetched) -> None:
    known = [row for row in fetched.rows if row[-1] is not None]
    if len(known) > MOST_ROWS:
        note(f"The first {MOST_ROWS:,} of {len(known):,} rows; the download has all.")

    def column(place: int, name: str) -> Column[Row]:
        kind: type[Column[Row]] = Number if fetched.keys < place < len(fetched.columns) - 1 else Column
        return kind(name, lambda row: _text(row[place]), lambda row: _order(row[place]))

    time, *names = fetched.columns
    columns = [column(place, name) for place, name in enumerate((f"{time} (UTC)", *names))]
    table(columns, known[:MOST_ROWS], "The numbers of the chart")


def _order(cell: Cell) -> float | str:
    return float(cell) if isinstance(cell, int | float | Decimal) else _text(cell)


def _text(cell: Cell) -> str:
    if isinstance(cell, dt.datetime):
        return words.exact(cell)
    if isinstance(cell, bool) or not isinstance(cell, int | float | Decimal):
        return "NULL" if cell is None else str(cell)
    return f"{cell:,.6g}" if isinstance(cell, float) else f"{cell:,f}" if isinstance(cell, Decimal) else f"{cell:,}"
