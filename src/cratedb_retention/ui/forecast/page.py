"""
The forecast: how much data there will be, when the disks are full, what it costs, and what runs will remove when. What
it is about stands in the address. It is computed for each request and not stored.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import Response

from cratedb_retention.errors import InvalidInput, NotFound
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model import words
from cratedb_retention.model.access import Role
from cratedb_retention.model.forecast import Event, Forecast, Part, Series, Work, read_until
from cratedb_retention.model.policies.patterns import parse_table
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.size import parse_size
from cratedb_retention.model.step import Kind
from cratedb_retention.model.words import capitalized, plural, readable, show_size
from cratedb_retention.service.access import Scope
from cratedb_retention.ui import links
from cratedb_retention.ui.access import Guest, respond
from cratedb_retention.ui.columns import Bit, Cell, Column, Number, Picture, counted, sized
from cratedb_retention.ui.forecast import curves
from cratedb_retention.ui.forecast.curves import Line
from cratedb_retention.ui.links import POLICY, PREFIX, STRATEGY, TAGS, Query, address, read_selection, table_bit
from cratedb_retention.ui.plan import EFFECTS, policy_bit
from cratedb_retention.ui.web import layout, parts
from cratedb_retention.ui.web.html import Child, Markup, el

ROUTER = APIRouter(include_in_schema=False)
PATH = "/forecast"
UNTIL = "+1y"
_LENGTHS = {"+90d": "90 days", UNTIL: "1 year", "+2y": "2 years", "+5y": "5 years"}
# A capacity is drawn if it is at most this multiple of the data, whose line it would flatten otherwise.
_NEAR = 4
_MONTH_DAYS = 30.44


@ROUTER.get(f"{PREFIX}{PATH}")
def show(request: Request) -> Response:
    def page(guest: Guest, scoped: Scope) -> Response:
        query = Query(request.query_params)
        drafts = parts.action("What if …", f"{PREFIX}{PATH}/what-if") if guest.may(Role.EDITOR) else None
        top = el("div", el("h1", "Forecast"), el("div", drafts, class_="actions"), class_="top")
        panel = el("div", _form(query), _content(guest, scoped, query), id="panel")
        return layout.page(request, "Forecast", top, panel, who=guest.who, here=PATH)

    return respond(request, page)


def _form(query: Query) -> Markup:
    def text(name: str) -> str:
        return query.get(name, "")

    more = [
        parts.field("tags", TAGS.label, TAGS.text(query), TAGS.hint),
        parts.select("strategy", STRATEGY.label, {"": "any", **(STRATEGY.choices or {})}, text("strategy")),
        parts.field("policy", POLICY.label, POLICY.text(query), POLICY.hint),
        parts.field("archive_price", "Price of archives", text("archive_price"), "per GB and month"),
    ]
    opened = any(text(name) for name in ("tags", "strategy", "policy", "archive_price"))
    form = parts.filters(
        address(PATH, {}),
        address(PATH, {}),
        parts.field("until", "Until", text("until"), UNTIL),
        parts.field("table", "Table", text("table"), "all tables"),
        parts.field("capacity", "Capacity", text("capacity"), "as reported"),
        parts.field("price", "Price of tables", text("price"), "per GB and month"),
        more=parts.more_filters(*more, opened=opened),
    )
    lengths = (el("a", label, href=_to(query, until=length), data_swap=True) for length, label in _LENGTHS.items())
    return el("div", form, el("div", lengths, class_="quick"))


def _to(query: Query, **changes: str) -> str:
    """The address of this page with changes; from the first row on."""
    kept = [(name, value) for name, value in query.multi_items() if name not in {"first", *changes}]
    return address(PATH, Query([*kept, *changes.items()]))


def read_outlook(given: Mapping[str, str], now: dt.datetime) -> dict[str, Any]:
    """How far a forecast looks and what it counts with, of a form; InvalidInput if a value is none."""
    capacity = given.get("capacity", "").strip()
    return {
        "until": read_until(given.get("until", "").strip() or UNTIL, now),
        "capacity": parse_size(capacity, "capacity").bytes if capacity else None,
        "price": _read_price(given, "price"),
        "archive_price": _read_price(given, "archive_price"),
    }


def _read_price(given: Mapping[str, str], name: str) -> float | None:
    text = given.get(name, "").strip()
    try:
        return float(text) if text else None
    except ValueError:
        raise InvalidInput(f"{name.replace('_', ' ')} {text!r}", "not a number", "write it like 0.10") from None


def _content(guest: Guest, scoped: Scope, query: Query) -> Iterator[Child]:
    try:
        table = parse_table(query["table"]) if query.get("table") else None
        selection = read_selection(Query() if table else query)
        found = scoped.forecast(selection, table=table, **read_outlook(query, scoped.now))
    except (InvalidInput, NotFound) as error:
        yield parts.problem(error)
        return
    if not found.series:
        yield parts.note("There is nothing to forecast: no policy matches a table that you see.")
        if guest.may(Role.EDITOR):
            yield parts.action("New policy", links.new_policy(table=table), "primary")
        return
    yield from shown(found, query, {item.id: item.policy for item in scoped.policies(Selection())[0]})


def shown(found: Forecast, query: Query, policies: Mapping[str, Policy]) -> Iterator[Child]:
    """All of a forecast, with the order and the part of its tables that an address names."""
    yield _tiles(found)
    yield _picture(found)
    yield _tables(found, query)
    yield from _works(found, policies)
    if remarks := list(found.remarks):
        yield parts.section(
            "Notes", el("ul", (el("li", readable(capitalized(text))) for text in remarks), class_="reasons")
        )


def day(instant: int) -> str:
    return words.moment(instant)[:10]


# At a glance


def _tiles(found: Forecast) -> Markup:
    end = day(found.times[-1])
    size, rows = found.size, found.rows
    show, values = (show_size, size) if size is not None else (_rows, rows)
    most = f"Most on {day(found.times[found.peak])}: {show(values[found.peak])}"
    tables = parts.tile(f"Tables on {end}", show(values[-1]), f"{show(values[0])} now", most)
    return parts.tiles(tables, _archives(found), _disks(found), _removed(found), _cost(found))


def _rows(count: int) -> str:
    return plural(count, "row")


def _archives(found: Forecast) -> Markup | None:
    size = found.archived
    if size is None or not any(size):
        return None
    return parts.tile(f"Archives on {day(found.times[-1])}", show_size(size[-1]), f"{show_size(size[0])} now")


def _disks(found: Forecast) -> Markup:
    if found.capacity is None or found.size is None:
        unknown = "the size of tables" if found.size is None else "the capacity"
        return parts.tile("Disks", "Unknown", f"When they are full cannot be computed: {unknown} is unknown.")
    other = f"Other data on them: {show_size(found.other)}" if found.other else ""
    share = 100 * (found.size[found.peak] + found.other) / found.capacity
    most = f"At most {share:.0f} % of {show_size(found.capacity)}" if share >= 1 else show_size(found.capacity)
    if found.full is None:
        return parts.tile("Disks", f"Not full until {day(found.times[-1])}", most, other)
    when = "Full already" if found.full == 0 else f"Full on {day(found.times[found.full])}"
    said = f"In {plural(found.full, 'day')}. " if found.full else ""
    value = el("span", when, class_="bad")
    return parts.tile("Disks", value, f"{said}They have {show_size(found.capacity)}.", other)


def _removed(found: Forecast) -> Markup:
    """What runs delete and archive."""
    lines = []
    for kind, title in (
        (Kind.DELETE, "deleted"),
        (Kind.ARCHIVE, "archived"),
        (Kind.END_ARCHIVE, "deleted of archives"),
    ):
        events = [event for event in found.events if event.kind is kind]
        if events:
            lines.append((title, reduce(Event.with_, events)))
    if not lines:
        return parts.tile("Runs will remove", "Nothing")
    (title, first), *rest = lines
    return parts.tile(
        "Runs will remove",
        f"{_amount(first)} {title}",
        plural(first.partitions, "partition") if first.partitions else "",
        *(f"{_amount(each)} {title}" for title, each in rest),
    )


def _amount(event: Event) -> str:
    """Its bytes, or its rows where bytes are unknown."""
    return show_size(event.size) if event.size is not None else _rows(event.rows)


def _cost(found: Forecast) -> Markup | None:
    if found.cost is None or found.monthly is None:
        return None
    first, last = found.monthly[0], found.monthly[-1]
    return parts.tile(
        f"Cost until {day(found.times[-1])}", f"{found.cost:,.2f}", f"{first:,.2f} a month now, {last:,.2f} then"
    )


def _picture(found: Forecast) -> Markup:
    size, archived, capacity = found.size, found.archived, found.capacity
    lines = [Line(name="Tables", values=size or found.rows, tone="data", area=True)]
    if size is not None and archived is not None and any(archived):
        lines.append(Line(name="Archives", values=archived, tone="archive"))
    if size is not None and capacity is not None and capacity - found.other <= _NEAR * max(size):
        free = [capacity - found.other] * len(found.times)
        lines.append(Line(name="Capacity for tables", values=free, tone="loss", dashed=True))
    marks = [(found.times[found.full], "disks full")] if found.full else []
    what, scale = ("Size", curves.BYTES) if size is not None else ("Rows", curves.ROWS)
    ends = (scale.show((size or found.rows)[place]) for place in (0, -1))
    told = f"{what} until {day(found.times[-1])}: from {' to '.join(ends)}"
    drawn = curves.chart(found.times, lines, scale, told, marks)
    return el("section", el("h2", f"{what} until {day(found.times[-1])}"), drawn, class_="card stack")


# Tables, levels and archives


class _Order(NamedTuple):
    column: str
    key: Callable[[Series], Any]
    ascending: bool = False


def _last(values: Sequence[int] | None) -> int:
    return values[-1] if values else 0


_ORDERS: Mapping[str, _Order] = {
    "name": _Order("Table", lambda each: (each.table, each.part, each.repository), ascending=True),
    "rows": _Order("Rows then", lambda each: -each.rows[-1]),
    "size": _Order("Size then", lambda each: (-_last(each.size), -each.rows[-1])),
    "growth": _Order("Change", lambda each: -_change(each)),
}


def _change(series: Series) -> int:
    values = series.size or series.rows
    return values[-1] - values[0]


def _tables(found: Forecast, query: Query) -> Markup:
    sort = query.get("sort", "") if query.get("sort") in _ORDERS else "size"
    first = links.read_first(query)
    every = sorted(found.series, key=_ORDERS[sort].key)

    def head(column: Column[Series]) -> tuple[Child, str | None]:
        name = next((name for name, order in _ORDERS.items() if order.column == column.label), "")
        if not name:
            return column.label, None
        order = ("ascending" if _ORDERS[name].ascending else "descending") if name == sort else None
        return el("a", column.label, href=_to(query, sort=name), data_swap=True), order

    def place(at: int) -> str:
        return _to(query, first=str(at)) if at else _to(query)

    some, ways = parts.part(every, first, place)
    title = "Tables, levels and archives"
    made = el("div", parts.table(_columns(found), some, title, head=head), class_="dense")
    return parts.section(title, made, ways)


def _columns(found: Forecast) -> Sequence[Column[Series]]:
    sized_ones = found.size is not None or found.archived is not None

    def drawn(series: Series) -> Cell:
        values, show = (series.size, show_size) if series.size is not None else (series.rows, _rows)
        most = max(values)
        said = [f"{show(values[0])} now", f"{show(values[-1])} then", f"at most {show(most)}"]
        told = "\n".join([f"{series.title} until {day(found.times[-1])}", *said])
        return Bit(text=curves.spark(values, told, "archive" if series.part is Part.ARCHIVE else "data"))

    return (
        Column("Table", _name),
        Picture("Until then", drawn),
        Number("Rows now", lambda each: words.count(each.rows[0])),
        Number("Rows then", lambda each: words.count(each.rows[-1])),
        Number("Size now", lambda each: show_size(each.size[0]) if each.size else ""),
        Number("Size then", lambda each: show_size(each.size[-1]) if each.size else ""),
        Number("Change", lambda each: _show_change(each, sized_ones)),
        Number("Partitions", lambda each: _both(each.partitions)),
        Number("Shards", lambda each: _both(each.shards or ())),
        Number("Days of data", lambda each: "" if each.reach[-1] is None else f"{each.reach[-1]:,}"),
        Column("Growth", _growth),
    )


def _name(series: Series) -> Cell:
    bits = [Bit(text=str(series.table), href=links.table(series.table), tone="whole", hint=str(series.table))]
    if series.part is not Part.TABLE:
        where = f"archive in {series.repository}" if series.part is Part.ARCHIVE else f"level of {series.source}"
        bits.append(Bit(text=str(series.part), tone="tag", hint=capitalized(where)))
    return bits


def _show_change(series: Series, in_bytes: bool) -> str:
    if in_bytes and series.size is None:
        return ""
    change = _change(series)
    text = show_size(abs(change)) if in_bytes else f"{abs(change):,}"
    return f"{'-' if change < 0 else '+'}{text}" if change else "0"


def _both(values: Sequence[int]) -> str:
    """Now and then."""
    if not any(values):
        return ""
    return f"{values[0]:,}" if values[0] == values[-1] else f"{values[0]:,} → {values[-1]:,}"


def _growth(series: Series) -> Cell:
    rate = series.rate
    if series.part is Part.ARCHIVE:
        return ""
    if not rate.known:
        return Bit(text="unknown", tone="muted", hint=capitalized(rate.why))
    trend = f", {rate.trend * _MONTH_DAYS:+,.0f} a month" if round(rate.trend * _MONTH_DAYS) else ""
    daily = f"{rate.daily:,.0f} rows" if rate.daily >= 0.5 or not rate.daily else "less than a row"
    text = f"{daily} a day{', by weekday' if rate.has_rhythm else ''}{trend}"
    return [Bit(text=text, hint=f"Measured: {rate.source}"), Bit(text=rate.why, tone="muted")]


# What runs will do


def _works(found: Forecast, policies: Mapping[str, Policy]) -> Iterator[Markup]:
    works = found.works
    if not works:
        yield parts.section("What runs will do", parts.note(f"Nothing until {day(found.times[-1])}."))
        return
    title, left = "What runs will do", "and {} more; choose a table to see its own"
    yield parts.section(title, parts.first_rows(_work_columns(found, policies), works, title, left=left))
    months = _by_month(found)
    if len(months) > 1:
        yield parts.section("By month", parts.table(_MONTHS, months, "What runs will do, by month"))


def _effect(kind: Kind) -> Bit:
    _, tone = EFFECTS[kind]
    return Bit(text=str(kind), tone=f"badge is-{tone}")


def _work_columns(found: Forecast, policies: Mapping[str, Policy]) -> Sequence[Column[Work]]:
    def when(work: Work) -> Cell:
        first, last = (day(found.times[each.day]) for each in (work.first, work.last))
        return Bit(text=first if first == last else f"{first} to {last}", tone="date")

    def policy(work: Work) -> Cell:
        identifier = work.first.policy_id
        return policy_bit(identifier, policies) if identifier else ""

    return (
        Column("When", when),
        Column("Table", lambda work: table_bit(work.first.table)),
        Column("What", lambda work: _effect(work.first.kind)),
        Column("Policy", policy),
        counted("Partitions", lambda work: work.whole.partitions or None),
        counted("Rows", lambda work: work.whole.rows),
        sized(lambda work: work.whole.size),
    )


class _Month(NamedTuple):
    """What runs do in a month, by kind."""

    name: str
    whole: Mapping[Kind, Event]


def _by_month(found: Forecast) -> list[_Month]:
    months: dict[str, dict[Kind, Event]] = defaultdict(dict)
    names = [words.moment(instant)[:7] for instant in found.times]
    for event in found.events:
        of_month = months[names[event.day]]
        known = of_month.get(event.kind)
        of_month[event.kind] = event if known is None else known.with_(event)
    return [_Month(name, whole) for name, whole in months.items()]


def _in_month(kind: Kind) -> Callable[[_Month], Cell]:
    def cell(month: _Month) -> Cell:
        event = month.whole.get(kind)
        if event is None:
            return ""
        counts = plural(event.partitions, "partition") if event.partitions else ""
        return [Bit(text=_amount(event)), Bit(text=counts, tone="muted")]

    return cell


_MONTHS: Sequence[Column[_Month]] = (
    Column("Month", lambda month: month.name),
    *(Number(capitalized(str(kind)), _in_month(kind)) for kind in EFFECTS if kind is not Kind.OTHER),
)
