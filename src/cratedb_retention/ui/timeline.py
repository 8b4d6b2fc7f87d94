"""
The timeline of a table: a picture of what is kept, rolled up, moved and archived, and the same in tables and words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nicegui import ui

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.holds import hold_values
from cratedb_retention.model.timeline import WORDS, Item, State, Timeline
from cratedb_retention.model.words import capitalized, plural, short, show_size
from cratedb_retention.ui import links
from cratedb_retention.ui.accepting import offer
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.links import Query
from cratedb_retention.ui.parts import Bit, Cell, Column, heading, link, note, table
from cratedb_retention.ui.plan_view import policy_bit, show_groups, show_held
from cratedb_retention.ui.timeline_chart import chart, rows, stretch, what, when, why

PATH = "/tables/{schema}/{name:path}"
# So many partitions are named where nothing tells their time.
_NAMED = 10
_SPANS = (
    Column("lane", "Where"),
    Column("time", "Time (UTC)"),
    Column("state", "State"),
    Column("what", "Partitions"),
    Column("rows", "Rows", right=True),
    Column("size", "Size", right=True),
    Column("due", "Due"),
    Column("why", "Why"),
)
_POLICIES = (
    Column("policy", "Policy"),
    Column("does", "What it does"),
    Column("table", "Table"),
    Column("limit", "Expired is what is before (UTC)"),
)
_HOLDS = (
    Column("hold", "Hold"),
    Column("reason", "Reason"),
    Column("time", "Time (UTC)"),
    Column("where", "Only where"),
    Column("by", "Placed by"),
)


async def show(guest: Guest, query: Query) -> None:
    """Fill the page."""
    name = TableName(query["schema"], query["name"])
    found, earlier = await guest.ask(lambda scope: (scope.timeline(name), scope.find_earlier(name)))
    with ui.element("div").classes("timeline-of"):
        ui.label(str(name)).classes("mono")
        if found.source:
            ui.label("is a rollup of")
            link(str(found.source), links.timeline(*found.source)).classes("mono")
    for text in found.notes:
        note(text)
    if found.extent:
        chart(found)
        _legend(found)
    else:
        note("There is nothing to draw: nothing in this table has a known stretch of time.")
    _lanes(found)
    _changes(found)
    _held(found)
    _policies(found)
    _holds(found)
    if earlier:
        offer(guest, name, earlier)


def _legend(found: Timeline) -> None:
    present = {span.state for lane in found.lanes for span in lane.spans}
    with ui.element("ul").classes("timeline-keys").props('aria-label="Colours and patterns"'):
        for each in (each for each in State if each in present):
            with ui.element("li"):
                ui.element("span").classes(f"swatch is-{each}").props("aria-hidden=true")
                ui.label(WORDS[each])


def _lanes(found: Timeline) -> None:
    heading("What is there")
    for lane in found.lanes:
        if lane.note:
            note(f"{lane.title}: {lane.note}", "lane-note")
        if lane.unplaced:
            note(f"{lane.title}: {_unplaced(lane.unplaced)}", "lane-note")
    spans = [(lane, span) for lane in found.lanes for span in lane.stretches]
    if not spans:
        return
    cells: list[dict[str, Cell]] = [
        {
            "lane": lane.title,
            "time": _time(span.start, span.end),
            "state": Bit(text=WORDS[span.state], tone=f"badge is-{span.state}"),
            "what": what(span),
            "rows": Bit(text=rows(span), tone="date"),
            "size": Bit(text=show_size(span.size), tone="date"),
            "due": Bit(text=when(span.due), tone="date"),
            "why": why(span),
        }
        for lane, span in spans
    ]
    order = [{"time": span.start, "rows": span.rows, "size": span.size or 0, "due": span.due or 0} for _, span in spans]
    _table(_SPANS, cells, "What is there, by time", order)


def _unplaced(items: Iterable[Item]) -> str:
    items = list(items)
    rest = len(items) - _NAMED
    names = ", ".join(item.name or "the whole table" for item in items[:_NAMED]) + (
        f" and {rest:,} more" if rest > 0 else ""
    )
    why = dict.fromkeys(reason for item in items for reason in item.reasons)
    words = (
        f"of {plural(len(items), 'partition')} nothing tells the time, so that they are not in the picture: {names}."
    )
    return words + (f" {'; '.join(list(why)[:3])}." if why else "")


def _changes(found: Timeline) -> None:
    heading("What the next run does")
    if not found.changes:
        note("Nothing: nothing of this table is due, or what is due is held.")
        return
    show_groups(found.changes, {}, "What the next run does").classes("timeline-rows")


def _held(found: Timeline) -> None:
    if not found.held:
        return
    heading("What is due, but does not happen")
    show_held("What is due, but does not happen", found.held).classes("timeline-rows")


def _policies(found: Timeline) -> None:
    heading("Policies on this table")
    if not found.cutoffs:
        note("None.")
        return
    cells: list[dict[str, Cell]] = [
        {
            "policy": policy_bit(cutoff.policy_id, {}),
            "does": capitalized(cutoff.words),
            "table": cutoff.table.name,
            "limit": "disabled" if not cutoff.enabled else when(cutoff.limit) or "nothing is, it is kept forever",
        }
        for cutoff in found.cutoffs
    ]
    _table(_POLICIES, cells, "Policies on this table", [{"limit": cutoff.limit or 0} for cutoff in found.cutoffs])


def _holds(found: Timeline) -> None:
    heading("Holds on this table")
    if not found.holds:
        note("None: nobody has said that data of it must stay.")
        return
    cells: list[dict[str, Cell]] = [
        {
            "hold": f"{hold.kind} hold {short(hold.id)}",
            "reason": hold.reason,
            "time": _time(hold.start, hold.end) or "all",
            "where": hold_values(hold, ", "),
            "by": hold.placed_by,
        }
        for hold in found.holds
    ]
    _table(_HOLDS, cells, "Holds on this table")


def _table(
    columns: Sequence[Column], cells: Sequence[dict[str, Cell]], caption: str, order: Sequence[dict[str, int]] = ()
) -> None:
    """A table; on a narrow screen without what is empty."""
    table(columns, cells, caption, order).classes("timeline-rows")


def _time(start: int | None, end: int | None) -> Cell:
    """A stretch of time that is broken only between its two ends."""
    first, between, last = stretch(start, end).partition(" to ")
    return (Bit(text=first, tone="date"), Bit(text=f"to {last}", tone="date")) if between else ""
