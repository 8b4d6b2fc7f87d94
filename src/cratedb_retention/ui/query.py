"""
Explore: a metric of a table as a chart, as fine as what is kept of the time range that is shown; and its values as a
table and a file. All choices stand in the address.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import Response

from cratedb_retention.errors import Forbidden, InvalidInput, NotFound, Unsupported
from cratedb_retention.model import words
from cratedb_retention.model.access import Role
from cratedb_retention.model.catalog import TableName, Value
from cratedb_retention.model.query import exploring
from cratedb_retention.model.query.exploring import EVERYTHING, RANGES, WHERE, Asked
from cratedb_retention.model.query.reading import (
    Cascade,
    Cell,
    Fetched,
    FetchRequest,
    Fill,
    Row,
    describe,
    interval_words,
)
from cratedb_retention.model.rollups.rollup import ROW_COUNT, label
from cratedb_retention.model.time import TimeRange, from_ms, to_ms
from cratedb_retention.model.words import plural, write_value
from cratedb_retention.service.access import Scope
from cratedb_retention.ui import links
from cratedb_retention.ui.access import Guest, respond
from cratedb_retention.ui.columns import Bit, Column, Number
from cratedb_retention.ui.links import PREFIX, Query, address
from cratedb_retention.ui.web import charts, layout, parts
from cratedb_retention.ui.web.charts import MOST_LINES
from cratedb_retention.ui.web.html import Child, Markup, el

ROUTER = APIRouter(include_in_schema=False)
PATH = "/explore"
_CSV, _VALUES = f"{PATH}.csv", f"{PATH}/values"
# Buckets of a chart: how many are aimed at, and how many a chosen step may give.
_POINTS, _MOST_POINTS = 400, 2_000
_SPANS = {**{name: f"Last {name}" for name in RANGES}, EVERYTHING: "Everything"}
_MOVES: Mapping[str, Mapping[str, float]] = {
    "Earlier": {"by": -0.5},
    "Later": {"by": 0.5},
    "Zoom in": {"zoom": 0.5},
    "Zoom out": {"zoom": 2.0},
}
_MANY = 3  # More dimensions than these are folded.
# What is wrong with an address, rather than with the database.
_WRONG = (InvalidInput, NotFound, Forbidden, Unsupported)
Readable = Mapping[TableName, Mapping[str, str | None]]


@ROUTER.get(f"{PREFIX}{PATH}")
def show(request: Request) -> Response:
    return respond(request, lambda guest, scoped: _page(request, guest, scoped))


@ROUTER.get(f"{PREFIX}{_CSV}")
def download(request: Request) -> Response:
    """The values of the chart as a file."""

    def work(guest: Guest, scoped: Scope) -> Response:
        view = _view(scoped, scoped.readable_tables(), exploring.read_query(request.query_params))
        name = quote(f"{view.table.name}.csv", safe="")
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
        return Response(view.fetched.to_csv(), media_type="text/csv; charset=utf-8", headers=headers)

    return respond(request, work)


@ROUTER.get(f"{PREFIX}{_VALUES}")
def suggest(request: Request) -> Response:
    """Some values of a dimension, which its field offers."""

    def work(guest: Guest, scoped: Scope) -> Response:
        query = request.query_params
        view = _view(scoped, scoped.readable_tables(), exploring.read_query(query))
        options = (el("option", value=write_value(value)) for value in view.values(query.get("of", "")))
        return layout.answer(request, el("datalist", options))

    return respond(request, work)


def _page(request: Request, guest: Guest, scoped: Scope) -> Response:
    query = Query(request.query_params)
    asked, tables = exploring.read_query(query), scoped.readable_tables()
    if len(tables) == 1:
        asked = exploring.changed({"table": str(next(iter(tables)))}, asked)
    try:
        view = _view(scoped, tables, asked) if asked.get("table") else None
    except _WRONG as error:
        content = (_top(tables, asked), el("div", parts.problem(error), _list(tables), id="panel"))
        return layout.page(request, "Explore", *content, who=guest.who, here=PATH, status=error.http_status)
    if view is None:
        listed = _list(tables, links.read_first(query)) if tables else _nothing(guest)
        content = (_top(tables, asked), el("div", listed, id="panel"))
        return layout.page(request, "Explore", *content, who=guest.who, here=PATH)
    shown = (_top(tables, view.asked), view.picture(), el("div", view.numbers(query), id="panel"))
    return layout.page(request, f"Explore {view.table}", *shown, who=guest.who, here=PATH)


def _top(tables: Readable, asked: Asked) -> Markup:
    """The table, and the choice of another one, of the same time."""
    named = {str(name): name for name in tables}
    table = named.get(asked.get("table", ""))
    title = el("h1", "Explore", (" ", el("a", str(table), href=links.table(table))) if table else None)
    if not tables:
        return el("div", title, class_="top")
    choices = {**({} if table else {"": "choose a table"}), **{name: name for name in named}}
    kept = parts.hidden({name: asked.get(name, "") for name in ("range", "from", "until")})
    choice = parts.select("table", "Table", choices, asked.get("table", ""))
    form = el(
        "form",
        kept,
        choice,
        el("noscript", el("button", "Show", type="submit")),
        method="get",
        action=address(PATH, {}),
        class_="filters",
        role="search",
        aria_label="Table",
    )
    return el("div", title, form, class_="top", id="state")


def _list(tables: Readable, first: int = 0) -> Markup:
    """The tables that can be explored, in parts."""
    columns: Sequence[Column[tuple[TableName, Mapping[str, str | None]]]] = (
        Column("Table", lambda item: Bit(text=str(item[0]), href=address(PATH, {"table": str(item[0])}))),
        Column("Only where", lambda item: words.write_pairs(item[1])),
    )
    about = parts.note("Choose a table. Those with rollups come first.")
    shown, ways = parts.part(list(tables.items()), first, lambda at: address(PATH, {"first": str(at)}))
    return parts.section("Tables", about, parts.table(columns, shown, "Tables that can be explored"), ways)


def _nothing(guest: Guest) -> Child:
    said = parts.note("There is nothing to explore: no table with rollups or a policy is visible to you.")
    return said, parts.action("New policy", links.new_policy(), "primary") if guest.may(Role.EDITOR) else None


def _view(scoped: Scope, tables: Readable, asked: Asked) -> View:
    """What an address asks for; raises NotFound if there is no such table that the user may see."""
    name = asked.get("table", "")
    table = next((each for each in tables if str(each) == name), None)
    if table is None:
        reason = "does not exist, has neither rollups nor a policy, or is not visible to you"
        raise NotFound(f"table {name}", reason, "choose another one")
    cascade = scoped.cascade(table, tables[table])
    whole = exploring.whole_span(cascade, scoped.now, scoped.archived_since(table))
    given = {f"{WHERE}{dimension}": write_value(value) for dimension, value in tables[table].items()}
    return View(scoped=scoped, table=table, where=tables[table], cascade=cascade, whole=whole, asked={**given, **asked})


@dataclass(frozen=True, kw_only=True)
class View:
    """
    What is explored.

    :param where: The values that a query of the user has to name.
    :param whole: All time of which there may be data.
    """

    scoped: Scope
    table: TableName
    where: Mapping[str, str | None]
    cascade: Cascade
    whole: TimeRange
    asked: Asked

    def to(self, **changes: str) -> str:
        """The same with other choices."""
        return address(PATH, exploring.changed(self.asked, changes))

    def _during(self, span: TimeRange) -> str:
        start, end = map(exploring.exact_text, span)
        return self.to(**{"range": "", "from": start, "until": end})

    # The data

    @cached_property
    def span(self) -> TimeRange:
        """The chosen time range."""
        return exploring.read_span(self.asked, self.whole, self.scoped.now)

    @cached_property
    def fetched(self) -> Fetched:
        """The data of the chosen time range; of everything, where data is, if that is only a small part."""
        found = self._fetch(self.span)
        if self.asked.get("range") != EVERYTHING:
            return found
        known = [to_ms(row[0]) for row in _known(found)]  # type: ignore[arg-type]
        if not known or 2 * (known[-1] - known[0]) > found.end - found.start:
            return found
        more = 2000 * found.step.approximate_seconds
        return self._fetch(TimeRange(max(known[0] - more, found.start), min(known[-1] + more, found.end)))

    def _fetch(self, span: TimeRange) -> Fetched:
        return self.scoped.fetch(self._request(span))

    def _request(self, span: TimeRange) -> FetchRequest:
        start, end = map(from_ms, span)
        return FetchRequest(
            table_name=self.table.name,
            table_schema=self.table.schema,
            start=start,
            end=end,
            step=exploring.read_step(self.asked, span, _MOST_POINTS),
            points=_POINTS,
            metrics=exploring.wanted_texts(self.cascade, self.asked),
            where=exploring.filters(self.asked),
            by=exploring.groups(self.asked),
            fill=Fill.NULL,
            partly=True,
        )

    def values(self, dimension: str) -> list[Value]:
        """Some values of a dimension, at any time."""
        request = replace(self._request(self.whole), where=dict(self.where), by=(dimension,))
        return self.scoped.suggest_values(request)

    # The page

    def picture(self) -> Markup:
        """The choices and the chart; or what is wrong with the choices."""
        try:
            shown: Child = list(self._chart())
        except _WRONG as error:
            shown = parts.problem(error)
        content = (self._form(), self._quick(), shown)
        return el("section", content, class_="card picture", aria_label="Chart")

    def _chart(self) -> Iterator[Child]:
        fetched = self.fetched
        said, lines = describe(fetched), charts.lines_of(fetched)
        yield el("p", said, class_="note", role="status")
        if not _known(fetched):
            yield parts.note("There is no data in this time range.")
            return
        if len(lines) > MOST_LINES:
            drawn = f"{len(lines):,} groups; the first {MOST_LINES} are drawn. Choose values above to see others."
            yield parts.note(drawn)
        description = f"Chart of {fetched.columns[1 + fetched.keys]}. {said}"
        yield charts.picture(fetched, lines[:MOST_LINES], description)
        yield charts.legend(fetched)

    def _form(self) -> Markup:
        asked = self.asked
        dimensions = [label(column.name) for column in self.cascade.dimensions]
        values = [self._value(number, name) for number, name in enumerate(dimensions)]
        steps = {"": "automatic", **{text: f"1 point per {said}" for text, said in self._steps()}}
        start, end = map(words.moment, self._shown)
        return el(
            "form",
            parts.hidden({name: asked.get(name, "") for name in ("table", "by", "range")}),
            self._metric(),
            parts.select("step", "Resolution", steps, asked.get("step", "")),
            values if len(values) <= _MANY else None,
            parts.field("from", "From (UTC)", asked.get("from", ""), start),
            parts.field("until", "Until (UTC)", asked.get("until", ""), end),
            el("button", "Show", type="submit"),
            el("a", "Clear", href=address(PATH, {"table": str(self.table)}), data_swap=True),
            parts.more_filters(*values, opened=any(map(asked.get, (f"{WHERE}{each}" for each in dimensions))))
            if len(values) > _MANY
            else None,
            method="get",
            action=address(PATH, {}),
            class_="filters stretch",
            role="search",
            aria_label="Values",
        )

    @property
    def _shown(self) -> TimeRange:
        """The time range that is shown; if there is none, all time."""
        try:
            everything = self.asked.get("range") == EVERYTHING
            return TimeRange(self.fetched.start, self.fetched.end) if everything else self.span
        except _WRONG:
            return self.whole

    def _steps(self) -> Iterator[tuple[str, str]]:
        """The levels' own steps, and the one that is chosen."""
        levels = [holding.rollup.interval for holding in self.cascade.holdings if holding.rollup]
        found = {str(interval): interval_words(interval) for interval in levels}
        chosen = self.asked.get("step", "")
        return iter({**found, **({chosen: chosen} if chosen and chosen not in found else {})}.items())

    def _metric(self) -> Markup:
        """The metrics with their aggregates, in one choice."""
        metric, aggregate = exploring.read_metric(self.cascade, self.asked)
        chosen = f"{metric.name}:{aggregate}" if metric else self.asked.get("metric") or ROW_COUNT

        def option(value: str, text: str) -> Markup:
            return el("option", text, value=value, selected=value == chosen)

        groups = [
            el(
                "optgroup",
                (option(f"{each.name}:{name}", f"{each.name}: {name}") for name in each.answers),
                label=each.name,
            )
            for each in self.cascade.metrics
        ]
        options = (groups, option(ROW_COUNT, "number of rows"))
        return el("label", el("span", "Metric"), el("select", options, name="metric"), class_="field")

    def _value(self, number: int, name: str) -> Markup:
        """A field for a value of a dimension; scripts fetch what it offers once it is used."""
        offered, source = f"values-{number}", address(_VALUES, {"table": str(self.table), "of": name})
        field = el(
            "input",
            name=f"{WHERE}{name}",
            value=self.asked.get(f"{WHERE}{name}", ""),
            placeholder="any",
            autocomplete="off",
            spellcheck="false",
            list=offered,
            data_suggest=source,
        )
        return el("label", el("span", f"Only where {name} is"), field, el("datalist", id=offered), class_="field")

    def _quick(self) -> Markup:
        """Choices with one click: groups, time ranges near at hand, the file."""
        by = exploring.groups(self.asked)
        dimensions = [label(column.name) for column in self.cascade.dimensions]

        def group(name: str) -> parts.Chip:
            others = [each for each in dimensions if (each in by) != (each == name)]
            return parts.Chip(label=f"By {name}", href=self.to(by=",".join(others)), chosen=name in by)

        def span(name: str, text: str) -> parts.Chip:
            href = self.to(**{"range": name, "from": "", "until": ""})
            return parts.Chip(label=text, href=href, chosen=self.asked.get("range") == name)

        return el(
            "div",
            parts.chips((span(*each) for each in _SPANS.items()), "Time range"),
            parts.chips(map(group, dimensions), "A line for each") if dimensions else None,
            el("nav", self._moves(), class_="quick", aria_label="Zoom"),
            class_="choices",
        )

    def _moves(self) -> Iterator[Markup]:
        span = self._shown
        outer = TimeRange(min(self.whole.start, span.start), max(self.whole.end, span.end))
        for text, step in _MOVES.items():
            there = exploring.moved(span, outer, **step)
            if there != span:
                yield el("a", text, href=self._during(there), data_swap=True)

    def numbers(self, query: Query) -> Child:
        """The values of the chart as a table, in parts."""
        try:
            fetched = self.fetched
        except _WRONG:
            return None  # The picture says why.
        rows, first, sort = _known(fetched), links.read_first(query), query.get("sort", "")
        if not rows:
            return None
        by, falling = sort.removeprefix("-"), sort.startswith("-")
        if by in fetched.columns:
            place = fetched.columns.index(by)
            rows = sorted(rows, key=lambda row: _order(row[place]), reverse=falling)
        of = plural(len(rows), "row")
        shown, pager = parts.part(rows, first, lambda at: self.to(sort=sort, first=str(at)), of)

        def column(place: int, name: str) -> Column[Row]:
            kind: type[Column[Row]] = Number if fetched.keys < place < len(fetched.columns) - 1 else Column
            return kind(name, lambda row: Bit(text=_text(row[place]), tone="date" if place == 0 else ""))

        def head(column: Column[Row]) -> tuple[Child, str | None]:
            chosen = column.label == by
            href = self.to(sort=f"-{by}" if chosen and not falling else column.label)
            text = f"{column.label} (UTC)" if column.label == fetched.columns[0] else column.label
            order = ("descending" if falling else "ascending") if chosen else None
            return el("a", text, href=href, data_swap=True), order

        file = el(
            "a", "Download CSV", href=address(_CSV, self.asked), class_="button", download=f"{self.table.name}.csv"
        )
        columns = [column(place, name) for place, name in enumerate(fetched.columns)]
        table = parts.table(columns, shown, "The values of the chart", head=head)
        folded = el("details", el("summary", "As a table"), table, pager, class_="folded", open=bool(first or sort))
        return parts.section("Values", file, folded)


def _known(fetched: Fetched) -> list[Row]:
    """The rows of buckets with data."""
    return [row for row in fetched.rows if row[-1] is not None]


def _order(cell: Cell) -> tuple[bool, float | str]:
    """What a cell is sorted by: a number by its value, NULL comes last."""
    if cell is None:
        return True, ""
    return False, float(cell) if isinstance(cell, int | float | Decimal) else _text(cell)


def _text(cell: Cell) -> str:
    if isinstance(cell, dt.datetime):
        return words.exact(cell)
    if isinstance(cell, bool) or not isinstance(cell, int | float | Decimal):
        return "NULL" if cell is None else str(cell)
    return charts.number(cell)
