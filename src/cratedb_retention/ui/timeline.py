"""
The timeline of a table: a picture of what is kept, rolled up, moved and archived, and the same in tables and words. And
how to take a table that was dropped and created again, or restored or copied, for the earlier one of its name.
"""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui

from cratedb_retention.execution.accepting import Earlier
from cratedb_retention.model import words
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.holds import LegalHold, hold_values
from cratedb_retention.model.timeline import CHANGING, WORDS, Cutoff, Item, Lane, Span, State, Timeline
from cratedb_retention.model.words import capitalized, plural, short, show_size
from cratedb_retention.ui import links
from cratedb_retention.ui.charts import AXIS, LANE, padded, rows, stretch, timeline_options, what, why
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.links import Query, go, link
from cratedb_retention.ui.parts import agreed, bar, button, heading, note
from cratedb_retention.ui.plan import HELD, policy_bit, task_columns
from cratedb_retention.ui.tables import Bit, Cell, Column, Number, section, table

PATH = "/tables/{schema}/{name:path}"
# So many partitions are named where nothing tells their time.
_NAMED = 10


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
        _picture(found, padded(*found.extent))
        _legend(found)
    else:
        note("There is nothing to draw: nothing in this table has a known stretch of time.")
    _lanes(found)
    none = "Nothing: nothing of this table is due, or what is due is held."
    section("What the next run does", found.changes, task_columns({}), "tasks timeline-rows", nothing=none)
    section("What is due, but does not happen", found.held, HELD, "timeline-rows")
    section("Policies on this table", found.cutoffs, _POLICIES, "timeline-rows", nothing="None.")
    none = "None: nobody has said that data of it must stay."
    section("Holds on this table", found.holds, _HOLDS, "timeline-rows", nothing=none)
    if earlier:
        _offer(guest, name, earlier)


def _picture(found: Timeline, extent: tuple[int, int]) -> None:
    """Lanes on one axis, and buttons to zoom, since a keyboard can't reach the slider."""
    made = timeline_options(found, extent)
    height = made["grid"]["top"] + LANE * len(found.lanes) + AXIS
    with ui.element("div").classes("timeline").props("role=img") as box:
        chart = ui.echart(made, renderer="svg").style(f"height: {height}px")
    box.props["aria-label"] = "Timeline of the table; the tables below say the same"
    spans = [span for lane in found.lanes for span in lane.spans if span.state in CHANGING]

    def zoom(text: str, start: int, end: int) -> None:
        def pressed() -> None:
            for number in range(2):
                action = {"type": "dataZoom", "dataZoomIndex": number, "startValue": start, "endValue": end}
                chart.run_chart_method("dispatchAction", action)

        ui.button(text, on_click=pressed).props("outline no-caps").classes("zoom")

    with bar():
        zoom("Show all", *extent)
        if spans:
            changed = padded(min(span.start for span in spans), max(span.end for span in spans))
            zoom("Show what the next run changes", *changed)
        note("Zoom with the slider, or with Ctrl and the mouse wheel. All times are in UTC.")


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
        for text in (lane.note, _unplaced(lane.unplaced)):
            if text:
                note(f"{lane.title}: {text}", "lane-note")
    spans = [(lane, span) for lane in found.lanes for span in lane.stretches]
    if spans:
        table(_SPANS, spans, "What is there, by time").classes("timeline-rows")


def _unplaced(items: Sequence[Item]) -> str:
    if not items:
        return ""
    rest = f" and {len(items) - _NAMED:,} more" if len(items) > _NAMED else ""
    names = ", ".join(item.name or "the whole table" for item in items[:_NAMED])
    reasons = list(dict.fromkeys(reason for item in items for reason in item.reasons))[:3]
    because = f" {'; '.join(reasons)}." if reasons else ""
    of = plural(len(items), "partition")
    return f"of {of} nothing tells the time, so that they are not in the picture: {names}{rest}.{because}"


def _time(start: int | None, end: int | None) -> Cell:
    """A stretch of time that is broken only between its two ends."""
    first, between, last = stretch(start, end).partition(" to ")
    return (_whole(first), _whole(f"to {last}")) if between else ""


def _whole(text: str) -> Bit:
    return Bit(text=text, tone="date")


def _expired(cutoff: Cutoff) -> str:
    return (words.moment(cutoff.limit) or "nothing is, it is kept forever") if cutoff.enabled else "disabled"


_SPANS: Sequence[Column[tuple[Lane, Span]]] = (
    Column("Where", lambda item: item[0].title),
    Column("Time (UTC)", lambda item: _time(item[1].start, item[1].end), lambda item: item[1].start),
    Column("State", lambda item: Bit(text=WORDS[item[1].state], tone=f"badge is-{item[1].state}")),
    Column("Partitions", lambda item: what(item[1])),
    Number("Rows", lambda item: _whole(rows(item[1])), lambda item: item[1].rows),
    Number("Size", lambda item: _whole(show_size(item[1].size)), lambda item: item[1].size or 0),
    Column("Due", lambda item: _whole(words.moment(item[1].due)), lambda item: item[1].due or 0),
    Column("Why", lambda item: why(item[1])),
)
_POLICIES: Sequence[Column[Cutoff]] = (
    Column("Policy", lambda cutoff: policy_bit(cutoff.policy_id, {})),
    Column("What it does", lambda cutoff: capitalized(cutoff.words)),
    Column("Table", lambda cutoff: cutoff.table.name),
    Column("Expired is what is before (UTC)", _expired, lambda cutoff: cutoff.limit or 0),
)
_HOLDS: Sequence[Column[LegalHold]] = (
    Column("Hold", lambda hold: f"{hold.kind} hold {short(hold.id)}"),
    Column("Reason", lambda hold: hold.reason),
    Column("Time (UTC)", lambda hold: _time(hold.start, hold.end) or "all"),
    Column("Only where", lambda hold: hold_values(hold, ", ")),
    Column("Placed by", lambda hold: hold.placed_by),
)


def _offer(guest: Guest, name: TableName, earlier: Earlier) -> None:
    """Offer to take a table for the earlier one of its name."""
    counts = {"rollup": earlier.rollups, "snapshot": earlier.snapshots, "hold": earlier.holds}
    known = ", ".join(plural(count, word) for word, count in counts.items() if count)

    async def accept() -> None:
        effect = (
            f"What is known of the earlier table counts for this one from now on: {known}. Rows of a time that was "
            "rolled up and expired count as late; a policy with late: drop deletes them."
        )
        if await agreed("Take this table for the earlier one?", effect, "Accept the table", str(name)):
            await guest.ask(lambda scope: scope.accept_tables(name.name, name.schema))
            go(links.timeline(name.schema, name.name))

    heading("Another table of this name")
    note(f"{known} of an earlier table with this name. If they belong together, accept the table.")
    with bar():
        button("Accept this table …", accept)
