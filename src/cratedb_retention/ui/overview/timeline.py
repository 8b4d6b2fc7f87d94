"""
The timeline of a table: a picture of what is kept, rolled up, moved and archived, and the same in tables and words. And
how to take a table that was dropped and created again, or restored or copied, for the earlier one of its name.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from nicegui import ui

from cratedb_retention.execution.accepting import Earlier
from cratedb_retention.model import words
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.holds import LegalHold, hold_values
from cratedb_retention.model.overview import CHANGING, Cutoff, Lane, Span, State, Timeline
from cratedb_retention.model.policies.lifecycle import Lifecycle
from cratedb_retention.model.time import EVER, TimeRange
from cratedb_retention.model.words import capitalized, plural, short, show_size
from cratedb_retention.ui import links
from cratedb_retention.ui.access import Guest
from cratedb_retention.ui.charts import AXIS_LABEL, INK, LINE, SLIDER, tooltip
from cratedb_retention.ui.links import Query, go, link
from cratedb_retention.ui.parts import agreed, bar, button, heading, note
from cratedb_retention.ui.plan import BLOCKED, policy_bit, task_columns
from cratedb_retention.ui.tables import Bit, Cell, Column, Number, section, table

PATH = "/tables/{schema}/{name:path}"
# How many partitions are named where nothing tells their time.
_NAMED = 10
# The picture: heights in pixels.
_LANE, _MARK, _AXIS = 64, 17, 76
_MOST_MARKS, _MOST_SLOTS = 8, 5
# How bars are hatched: by which lines.
_HATCHED = {
    "rising": (State.DROP, State.ARCHIVE, State.END, State.ARCHIVED),
    "falling": (State.ARCHIVE, State.NEEDS_ATTENTION, State.BLOCKED),
    "upright": (State.MOVE, State.COMPACT, State.ROLL, State.MOVING, State.COPY),
}
_LOOKS = [
    {"name": each, "word": each.short, **{name: each in states for name, states in _HATCHED.items()}} for each in State
]


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
    section("As data ages", found.lifecycles, _LIFECYCLES, "timeline-rows")
    if found.extent:
        _picture(found, _padded(found.extent))
    else:
        note("There is nothing to draw: no part of this table has a known time range.")
    _lanes(found)
    none = "Nothing: nothing of this table is due, or what is due is blocked."
    section("What the next run does", found.changes, task_columns({}), "tasks timeline-rows", nothing=none)
    section("Blocked: due, but must not happen now", found.blocked, BLOCKED, "timeline-rows")
    section("Policies on this table", found.cutoffs, _POLICIES, "timeline-rows", nothing="None.")
    none = "None."
    section("Holds on this table", found.holds, _HOLDS, "timeline-rows", nothing=none)
    if earlier:
        _offer(guest, name, earlier)


def _picture(found: Timeline, extent: TimeRange) -> None:
    made = _options(found, extent)
    height = made["grid"]["top"] + _LANE * len(found.lanes) + _AXIS
    with ui.element("div").classes("timeline").props("role=img") as box:
        chart = ui.echart(made, renderer="svg").style(f"height: {height}px")
    box.props["aria-label"] = "Timeline of the table; the tables below say the same"
    spans = [span for lane in found.lanes for span in lane.spans]
    changing = [span for span in spans if span.state in CHANGING]

    def zoom(text: str, time: TimeRange) -> None:
        def pressed() -> None:
            for number in range(2):
                action = {"dataZoomIndex": number, "startValue": time.start, "endValue": time.end}
                chart.run_chart_method("dispatchAction", {"type": "dataZoom", **action})

        ui.button(text, on_click=pressed).props("outline no-caps").classes("zoom")

    with bar():
        zoom("Show all", extent)
        if changing:
            starts, ends = zip(*(span.time for span in changing), strict=True)
            zoom("Show what the next run changes", _padded(TimeRange(min(starts), max(ends))))
        note("Zoom with the slider, or with Ctrl and the mouse wheel. All times are in UTC.")
    present = {span.state for span in spans}
    with ui.element("ul").classes("timeline-keys").props('aria-label="Colours and patterns"'):
        for each in (each for each in State if each in present):
            with ui.element("li"):
                ui.element("span").classes(f"swatch is-{each}").props("aria-hidden=true")
                ui.label(each.words)


def _options(found: Timeline, extent: TimeRange) -> dict[str, Any]:
    marks = _marks(found, extent)
    lines = [[at, row, text, now] for row, (at, text, now) in enumerate(marks)]
    titles = [[0, row, lane.title] for row, lane in enumerate(found.lanes)]
    bars = [bar for row, lane in enumerate(found.lanes) for bar in _bars(row, lane)]
    line = {"lineStyle": LINE}
    time = {"axisLabel": AXIS_LABEL, "axisLine": {**line, "onZero": False}, "axisTick": line}
    return {
        "animation": False,
        "useUTC": True,
        "grid": {"left": 8, "right": 8, "top": _MARK * (len(marks) + 1), "bottom": _AXIS},
        "xAxis": {"type": "time", "min": extent.start, "max": extent.end, **time},
        "yAxis": {"type": "value", "min": 0, "max": len(found.lanes), "inverse": True, "show": False},
        "dataZoom": [
            {"type": "inside", "filterMode": "none", "zoomOnMouseWheel": "ctrl", "moveOnMouseWheel": False},
            {**SLIDER, "height": 24, "moveHandleStyle": {"color": "var(--accent)"}},
        ],
        "tooltip": tooltip("charts.about", trigger="item", className="timeline-tip", textStyle={**INK, "fontSize": 13}),
        "series": [
            _drawn("spans", f"charts.bar({json.dumps(_LOOKS)})", bars),
            _drawn("lanes", "charts.lane", titles, "time", "number", "ordinal"),
            _drawn("marks", f"charts.mark({_MARK})", lines, "time", "number", "ordinal", "number"),
        ],
    }


def _drawn(name: str, draw: str, data: Sequence[Any], *kinds: str) -> dict[str, Any]:
    made = {"type": "custom", "name": name, ":renderItem": draw, "data": data, "silent": bool(kinds), "clip": False}
    if kinds:
        made["dimensions"] = [{"name": f"d{place}", "type": kind} for place, kind in enumerate(kinds)]
    return {**made, "encode": {"x": [], "y": []}, "emphasis": {"disabled": True}}


def _bars(row: int, lane: Lane) -> list[dict[str, Any]]:
    """Each span on a line within the lane, so that none hides another."""
    ends: list[int] = []
    slots = []
    for span in lane.spans:
        slot = next((i for i, end in enumerate(ends) if end <= span.time.start), len(ends))
        slot = min(slot, _MOST_SLOTS - 1)
        ends[slot : slot + 1] = [max([span.time.end, *ends[slot : slot + 1]])]
        slots.append(slot)
    many, states = max(slots, default=0) + 1, list(State)
    return [
        {"value": [*s.time, row, slot, many, states.index(s.state)], "tip": _about(s, lane)}
        for s, slot in zip(lane.spans, slots, strict=True)
    ]


def _marks(found: Timeline, extent: TimeRange) -> list[tuple[int, str, int]]:
    """The limits within the picture, with words, latest first; those at one instant together."""
    said: dict[int, list[str]] = {}
    for cutoff in found.cutoffs:
        if cutoff.enabled and cutoff.limit is not None and extent.start <= cutoff.limit <= extent.end:
            said.setdefault(cutoff.limit, []).append(f"{cutoff.words} ({short(cutoff.policy_id)})")
    marks = [(at, "; ".join(texts), 0) for at, texts in sorted(said.items(), reverse=True)]
    return [*marks[:_MOST_MARKS], (found.now, "now", 1)]


def _padded(time: TimeRange) -> TimeRange:
    more = max(1, (time.end - time.start) // 50)
    return TimeRange(time.start - more, time.end + more)


def _about(span: Span, lane: Lane) -> list[tuple[str, str]]:
    found = {
        lane.title: _what(span),
        "Time": " ".join(_ends(span.time)),
        "State": span.state.words,
        "Rows": _rows(span),
        "Size": show_size(span.size),
        "Due": words.moment(span.due),
        "Why": _reasons(span),
    }
    return [(label, text) for label, text in found.items() if text]


def _what(span: Span) -> str:
    if span.count == 1:
        return span.first
    return f"{span.count:,}: {span.first} to {span.last}" + (", with gaps" if span.gaps else "")


def _rows(span: Span) -> str:
    more = f" and unknown in {span.unknown:,}" if span.unknown else ""
    return "unknown" if span.rows is None else f"{words.count(span.rows)}{more}"


def _reasons(span: Span) -> str:
    more = (f"and {plural(span.more, 'more reason')}",) if span.more else ()
    return "; ".join((*span.reasons, *more))


def _ends(time: TimeRange) -> list[str]:
    start, end = (words.moment(end) or "?" for end in time.ends)
    return [] if time == EVER else [start, f"to {end}"]


def _lanes(found: Timeline) -> None:
    heading("What is there")
    for lane in found.lanes:
        for text in (lane.note, _unplaced(lane.unplaced)):
            if text:
                note(f"{lane.title}: {text}", "lane-note")
    spans = [(lane, span) for lane in found.lanes for span in lane.stretches]
    if spans:
        table(_SPANS, spans, "What is there, by time").classes("timeline-rows")


def _unplaced(items: Sequence[Span]) -> str:
    if not items:
        return ""
    rest = f" and {len(items) - _NAMED:,} more" if len(items) > _NAMED else ""
    names = ", ".join(item.first or "the whole table" for item in items[:_NAMED])
    reasons = list(dict.fromkeys(reason for item in items for reason in item.reasons))[:3]
    because = f" {'; '.join(reasons)}." if reasons else ""
    of = plural(len(items), "partition")
    return f"of {of} nothing tells the time, so that they are not in the picture: {names}{rest}.{because}"


def _time(time: TimeRange) -> Cell:
    return list(map(_whole, _ends(time))) or ""


def _whole(text: str) -> Bit:
    return Bit(text=text, tone="date")


_SPANS: Sequence[Column[tuple[Lane, Span]]] = (
    Column("Where", lambda item: item[0].title),
    Column("Time (UTC)", lambda item: _time(item[1].time), lambda item: item[1].time.start),
    Column("State", lambda item: Bit(text=item[1].state.words, tone=f"badge is-{item[1].state}")),
    Column("Partitions", lambda item: _what(item[1])),
    Number("Rows", lambda item: _whole(_rows(item[1])), lambda item: item[1].rows or 0),
    Number("Size", lambda item: _whole(show_size(item[1].size)), lambda item: item[1].size or 0),
    Column("Due", lambda item: _whole(words.moment(item[1].due)), lambda item: item[1].due or 0),
    Column("Why", lambda item: _reasons(item[1])),
)
_LIFECYCLES: Sequence[Column[Lifecycle]] = (
    Column("Data", lambda each: words.write_pairs(each.where) or "all"),
    Column("Stages, each until an age", lambda each: each.line),
)
_POLICIES: Sequence[Column[Cutoff]] = (
    Column("Policy", lambda cutoff: policy_bit(cutoff.policy_id, {})),
    Column("What it does", lambda cutoff: capitalized(cutoff.words)),
    Column("Table", lambda cutoff: cutoff.table.name),
    Column(
        "Expired is what is before (UTC)",
        lambda each: (words.moment(each.limit) or "nothing is, it is kept forever") if each.enabled else "disabled",
        lambda each: each.limit or 0,
    ),
)
_HOLDS: Sequence[Column[LegalHold]] = (
    Column("Hold", lambda hold: f"{hold.kind} hold {short(hold.id)}"),
    Column("Reason", lambda hold: hold.reason),
    Column("Time (UTC)", lambda hold: _time(TimeRange.of(hold.start, hold.end)) or "all"),
    Column("Only where", lambda hold: hold_values(hold, ", ")),
    Column("Placed by", lambda hold: hold.placed_by),
)


def _offer(guest: Guest, name: TableName, earlier: Earlier) -> None:
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
