"""
What can be chosen on the page "Explore": table, metric, groups, filters, time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from urllib.parse import urlencode

from nicegui import ui

from cratedb_retention.model.aggregates import Aggregate
from cratedb_retention.model.exploring import (
    EVERYTHING,
    RANGES,
    Asked,
    Explorable,
    dimension_names,
    find_metric,
)
from cratedb_retention.model.reading import Cascade
from cratedb_retention.model.rollup import ROW_COUNT
from cratedb_retention.ui.parts import button

_SPANS = {**{name: f"Last {name}" for name in RANGES}, EVERYTHING: "Everything"}
_WORDS = {**{str(one): one.words for one in Aggregate}, ROW_COUNT: "number of rows"}


def choose_table(tables: Sequence[Explorable], asked: Asked) -> None:
    """A choice that leads to the page of another table."""
    names = [str(found.table) for found in tables]

    def go(name: str) -> None:
        if name and name != asked.table:
            # NiceGUI puts the prefix of the pages before it.
            ui.navigate.to(f"/explore?{urlencode({'table': name})}")

    chosen = asked.table if asked.table in names else None
    ui.select(names, label="Table", value=chosen, on_change=lambda event: go(event.value)).props("outlined dense")


class Form:
    """
    The choices about one table.

    :param changed: Told what is chosen from now on.
    :param suggest: Values of a dimension.
    """

    def __init__(
        self,
        cascade: Cascade,
        asked: Asked,
        changed: Callable[[Asked], Awaitable[None]],
        suggest: Callable[[str], Awaitable[list[str]]],
    ) -> None:
        self._cascade, self._asked, self._changed, self._suggest = cascade, asked, changed, suggest
        self._quiet = False
        self._dimensions = dimension_names(cascade.dimensions)
        with ui.element("div").classes("explore-chosen"):
            self._metric_choices()
            if self._dimensions:
                self._by()
            for name in self._dimensions:
                self._filter(name)
        with ui.element("div").classes("explore-time").props('role=group aria-label="Time"'):
            self._time()

    async def _put(self, asked: Asked) -> None:
        if asked != self._asked and not self._quiet:
            self._asked = asked
            await self._changed(asked)

    def _metric_choices(self) -> None:
        names = {m.name: m.name for m in self._cascade.metrics} | {ROW_COUNT: _WORDS[ROW_COUNT]}
        first = next(iter(names))
        given = self._asked.metric or first
        self._metric = ui.select(names, label="Metric", value=given if given in names else None)
        self._metric.props("outlined dense").on_value_change(lambda event: self._choose_metric(event.value))
        self._aggregate = ui.select({}, label="Aggregate").props("outlined dense")
        self._offer_aggregates()
        self._aggregate.on_value_change(lambda event: self._put(replace(self._asked, aggregate=event.value or "")))

    def _offer_aggregates(self) -> None:
        metric = None if self._asked.metric == ROW_COUNT else find_metric(self._cascade.metrics, self._asked.metric)
        offered = {name: _WORDS.get(name, name) for name in (metric.answers if metric else ())}
        given = self._asked.aggregate or next(iter(offered), "")
        self._aggregate.set_options(offered, value=given if given in offered else None)
        self._aggregate.set_visibility(bool(offered))

    async def _choose_metric(self, name: str | None) -> None:
        asked = replace(self._asked, metric=name or "", aggregate="")
        self._quiet, before = True, self._asked
        self._asked = asked
        self._offer_aggregates()
        self._quiet, self._asked = False, before
        await self._put(asked)

    def _by(self) -> None:
        given = [name for name in self._asked.by if name in self._dimensions]
        chosen = ui.select(self._dimensions, label="A line for each", value=given, multiple=True, clearable=True)
        chosen.props("outlined dense use-chips")
        chosen.on_value_change(lambda event: self._put(replace(self._asked, by=tuple(event.value or ()))))

    def _filter(self, name: str) -> None:
        """A field for a value; those that are there are suggested once somebody comes to it."""
        values = ui.element("datalist")
        field = ui.input(f"Only where {name} is", value=self._asked.where.get(name, ""))
        field.props("outlined dense clearable autocomplete=off spellcheck=false debounce=400")
        field.props["list"] = values.html_id
        field.on("focus", lambda: self._fill(values, name))

        async def chosen(value: str | None) -> None:
            where = {**self._asked.where, name: value or ""}
            await self._put(replace(self._asked, where={key: text for key, text in where.items() if text}))

        field.on_value_change(lambda event: chosen(event.value))

    async def _fill(self, values: ui.element, name: str) -> None:
        if values.default_slot.children:
            return
        found = await self._suggest(name)
        with values:
            for value in found:
                ui.element("option").props["value"] = value

    def _time(self) -> None:
        given = self._asked.span if self._asked.span in _SPANS else None
        self._span = ui.toggle(_SPANS, value=given).props("no-caps unelevated")
        self._span.on_value_change(lambda event: self._choose_span(event.value))
        self._start = ui.input("From (UTC)", value=self._asked.start, placeholder="2024-06-01 or -7d")
        self._end = ui.input("Until (UTC)", value=self._asked.end, placeholder="now")
        for field in (self._start, self._end):
            field.props("outlined dense autocomplete=off spellcheck=false").on("keydown.enter", self._choose_instants)
        button("Show", self._choose_instants)

    async def _choose_span(self, span: str | None) -> None:
        if span:
            asked = replace(self._asked, span=span, start="", end="")
            self._write(asked)
            await self._put(asked)

    async def _choose_instants(self) -> None:
        start, end = (self._start.value or "").strip(), (self._end.value or "").strip()
        asked = replace(self._asked, span="" if start or end else EVERYTHING, start=start, end=end)
        self._write(asked)
        await self._put(asked)

    def tell_time(self, asked: Asked) -> None:
        """Show the stretch of time that is looked at now."""
        self._write(asked)
        self._asked = asked

    def _write(self, asked: Asked) -> None:
        """Without taking that for a choice."""
        self._quiet = True
        self._span.set_value(asked.span or None)
        self._start.set_value(asked.start)
        self._end.set_value(asked.end)
        self._quiet = False
