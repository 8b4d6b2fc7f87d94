"""
The picture of a table's timeline: lanes on one axis of time, drawn by ECharts in the browser.

What is from the database reaches the browser as data only: the scripts here are fixed, and draw it as text. Colours are
variables of style.css, so that light and dark need nothing here; patterns and words say the same as colours.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from nicegui import ui

from cratedb_retention.model import words
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.time import show
from cratedb_retention.model.timeline import CHANGING, WORDS, Cutoff, Lane, Span, State, Timeline
from cratedb_retention.model.words import plural, short, show_size

LANE, MARK, AXIS = 64, 17, 76
_MOST_MARKS, _MOST_SLOTS = 8, 5
# How bars are hatched: the sum of 1 for rising lines, 2 for falling ones, 4 for upright ones.
_HATCH = {
    State.DROP: 1,
    State.ARCHIVE: 3,
    State.MOVE: 4,
    State.ROLL: 4,
    State.PROBLEM: 2,
    State.HELD: 2,
    State.MOVING: 4,
    State.COPY: 4,
    State.ARCHIVED: 1,
}
_SHORT = {
    State.ARCHIVE: "archive, drop",
    State.DROP: "drop",
    State.MOVE: "move",
    State.ROLL: "roll up",
    State.COPY: "archived, still there",
    State.MOVING: "moving",
    State.COMPUTED: "rolled up",
}
_LOOKS = json.dumps([{"name": str(s), "word": _SHORT.get(s, str(s)), "hatch": _HATCH.get(s, 0)} for s in State])
_BAR = """(params, api) => {
  const looks = LOOKS[api.value(5)], area = params.coordSys;
  const from = api.coord([api.value(0), api.value(2)]), to = api.coord([api.value(1), api.value(2) + 1]);
  const left = Math.max(from[0], area.x), right = Math.min(Math.max(to[0], from[0] + 3), area.x + area.width);
  if (right <= left) return null;
  const space = to[1] - from[1] - 26, slots = api.value(4), height = Math.max(3, space / slots - 1);
  const top = from[1] + 20 + api.value(3) * (space / slots);
  const width = right - left > 6 ? right - left - 1 : right - left;
  const strong = `var(--tl-${looks.name})`, children = [{
    type: 'rect', shape: {x: left, y: top, width, height, r: 2},
    style: {fill: `color-mix(in srgb, ${strong} 28%, var(--card))`, stroke: strong, lineWidth: width > 10 ? 1 : 0.5},
  }];
  if (looks.hatch && width > 2) {
    let path = '';
    for (let at = -height; at < width; at += 7) {
      const low = Math.max(at, 0), high = Math.min(at + height, width);
      if (looks.hatch & 4 && at >= 0) path += `M${left + at} ${top}V${top + height}`;
      if (looks.hatch & 1 && low < high)
        path += `M${left + low} ${top + height - (low - at)}L${left + high} ${top + height - (high - at)}`;
      if (looks.hatch & 2 && low < high) path += `M${left + low} ${top + low - at}L${left + high} ${top + high - at}`;
    }
    if (path) children.push({type: 'path', silent: true, shape: {pathData: path},
      style: {fill: 'none', stroke: strong, lineWidth: 1, opacity: 0.55}});
  }
  if (height >= 13 && width > looks.word.length * 7 + 10) children.push({type: 'text', silent: true, style: {
    text: looks.word, x: left + 5, y: top + height / 2, verticalAlign: 'middle', fill: 'var(--ink)', fontSize: 12,
    stroke: 'var(--card)', lineWidth: 3,
  }});
  return {type: 'group', children};
}""".replace("LOOKS", _LOOKS)
_TITLE = """(params, api) => {
  const at = api.coord([0, api.value(1)]), area = params.coordSys;
  return {type: 'group', silent: true, children: [
    {type: 'line', shape: {x1: area.x, x2: area.x + area.width, y1: at[1], y2: at[1]}, style: {stroke: 'var(--line)'}},
    {type: 'text', style: {text: String(api.ordinalRawValue(2)), x: area.x + 2, y: at[1] + 4, fill: 'var(--soft)',
      fontSize: 12, fontWeight: 600, width: area.width - 8, overflow: 'truncate', stroke: 'var(--card)', lineWidth: 3}},
  ]};
}"""
_MARK = """(params, api) => {
  const area = params.coordSys, x = api.coord([api.value(0), 0])[0];
  if (x < area.x - 1 || x > area.x + area.width + 1) return null;
  const now = api.value(3) === 1, y = 8 + api.value(1) * MARK, right = x > area.x + area.width / 2;
  const colour = now ? 'var(--accent)' : 'var(--ink)';
  return {type: 'group', silent: true, children: [
    {type: 'line', shape: {x1: x, x2: x, y1: y, y2: area.y + area.height},
      style: {stroke: colour, lineWidth: now ? 2 : 1, lineDash: now ? null : [5, 3]}},
    {type: 'text', style: {text: String(api.ordinalRawValue(2)), x: right ? x - 5 : x + 5, y: y,
      align: right ? 'right' : 'left', fill: colour, fontSize: 12, fontWeight: now ? 600 : 400,
      width: area.width / 2 - 8, overflow: 'truncate'}},
  ]};
}""".replace("MARK", str(MARK))
# Text only: what is shown when somebody points at a bar.
_TIP = """params => {
  const made = document.createElement('dl');
  for (const [label, value] of params.data.tip) {
    made.appendChild(document.createElement('dt')).textContent = label;
    made.appendChild(document.createElement('dd')).textContent = value;
  }
  return made;
}"""


def chart(found: Timeline) -> None:
    """Draw it; nothing if there is nothing that has a time."""
    extent = found.extent
    if extent is None:
        return
    marks = _marks(found, extent)
    height = AXIS + MARK * (len(marks) + 1) + LANE * len(found.lanes)
    with (
        ui.element("div")
        .classes("timeline")
        .props('role=img aria-label="Timeline of the table; the tables below say the same"')
    ):
        made = ui.echart(options(found, extent, marks), renderer="svg").style(f"height: {height}px")
    _zooms(made, found, extent)


def options(found: Timeline, extent: tuple[int, int], marks: Sequence[tuple[int, str, int]]) -> dict[str, Any]:
    """What ECharts draws."""
    low, high = _padded(extent)
    quiet = {"color": "var(--soft)"}
    line = {"lineStyle": {"color": "var(--line)"}}
    return {
        "animation": False,
        "useUTC": True,
        "grid": {"left": 8, "right": 8, "top": MARK * (len(marks) + 1), "bottom": AXIS},
        "xAxis": {
            "type": "time",
            "min": low,
            "max": high,
            "axisLabel": {**quiet, "hideOverlap": True},
            "axisLine": {**line, "onZero": False},
            "axisTick": line,
        },
        "yAxis": {"type": "value", "min": 0, "max": len(found.lanes), "inverse": True, "show": False},
        "dataZoom": [
            {"type": "inside", "filterMode": "none", "zoomOnMouseWheel": "ctrl", "moveOnMouseWheel": False},
            {
                "type": "slider",
                "filterMode": "none",
                "height": 24,
                "bottom": 8,
                "showDetail": False,
                "borderColor": "var(--line)",
                "fillerColor": "color-mix(in srgb, var(--accent) 20%, transparent)",
                "handleStyle": {"color": "var(--card)", "borderColor": "var(--accent)"},
                "moveHandleStyle": {"color": "var(--accent)"},
                "showDataShadow": False,
            },
        ],
        "tooltip": {
            "trigger": "item",
            "confine": True,
            "className": "timeline-tip",
            "backgroundColor": "var(--card)",
            "borderColor": "var(--line)",
            "textStyle": {"color": "var(--ink)", "fontSize": 13},
            ":formatter": _TIP,
        },
        "series": [
            _series("spans", _BAR, [item for i, lane in enumerate(found.lanes) for item in _bars(i, lane)]),
            _series(
                "lanes",
                _TITLE,
                [[0, i, lane.title] for i, lane in enumerate(found.lanes)],
                ("time", "number", "ordinal"),
            ),
            _series("marks", _MARK, _mark_data(found, marks), ("time", "number", "ordinal", "number")),
        ],
    }


def _series(name: str, draw: str, data: list[Any], kinds: Sequence[str] = ()) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "custom", "name": name, ":renderItem": draw, "data": data, "silent": bool(kinds)}
    made["encode"] = {"x": [], "y": []}
    if kinds:
        made["dimensions"] = [{"name": f"d{i}", "type": kind} for i, kind in enumerate(kinds)]
    return {**made, "clip": False, "emphasis": {"disabled": True}}


def _bars(number: int, lane: Lane) -> list[dict[str, Any]]:
    slots = _slots(lane.spans)
    count = max(slots, default=0) + 1
    states = list(State)
    return [
        {"value": [s.start, s.end, number, slot, count, states.index(s.state)], "tip": about_span(s, lane)}
        for s, slot in zip(lane.spans, slots, strict=True)
    ]


def _slots(spans: Sequence[Span]) -> list[int]:
    """The line within the lane on which each span is drawn, so that none hides another."""
    ends: list[int] = []
    found = []
    for span in spans:
        slot = next((i for i, end in enumerate(ends) if end <= span.start), len(ends))
        slot = min(slot, _MOST_SLOTS - 1)
        ends[slot : slot + 1] = [max(span.end, ends[slot] if slot < len(ends) else span.end)]
        found.append(slot)
    return found


def _marks(found: Timeline, extent: tuple[int, int]) -> list[tuple[int, str, int]]:
    """The limits within the picture, with words, latest first; those at one instant together."""
    low, high = _padded(extent)
    words: dict[int, list[str]] = {}
    for cutoff in found.cutoffs:
        if cutoff.enabled and cutoff.limit is not None and low <= cutoff.limit <= high:
            words.setdefault(cutoff.limit, []).append(mark_words(cutoff, found.table))
    marks = [(at, "; ".join(texts), 0) for at, texts in sorted(words.items(), reverse=True)]
    return [*marks[:_MOST_MARKS], (found.now, "now", 1)]


def _mark_data(found: Timeline, marks: Sequence[tuple[int, str, int]]) -> list[list[Any]]:
    return [[at, row, text, now] for row, (at, text, now) in enumerate(marks)]


def _padded(extent: tuple[int, int]) -> tuple[int, int]:
    low, high = extent
    more = max(1, (high - low) // 50)
    return low - more, high + more


def _zooms(made: ui.echart, found: Timeline, extent: tuple[int, int]) -> None:
    """Buttons, since a keyboard can't reach the slider."""
    low, high = _padded(extent)
    spans = [span for lane in found.lanes for span in lane.spans if span.state in CHANGING]

    def show(start: int, end: int) -> None:
        for number in range(2):
            action = {"type": "dataZoom", "dataZoomIndex": number, "startValue": start, "endValue": end}
            made.run_chart_method("dispatchAction", action)

    with ui.element("div").classes("bar"):
        _zoom("Show all", lambda: show(low, high))
        if spans:
            first, last = _padded((min(span.start for span in spans), max(span.end for span in spans)))
            _zoom("Show what the next run changes", lambda: show(first, last))
        ui.label("Zoom with the slider, or with Ctrl and the mouse wheel. All times are in UTC.").classes("note")


def _zoom(text: str, work: Any) -> None:
    ui.button(text, on_click=work).props("outline no-caps").classes("zoom")


def when(at: int | None) -> str:
    """An instant; one outside of the calendar in milliseconds."""
    try:
        return words.moment(at)
    except OverflowError:
        return show(at)


def stretch(start: int | None, end: int | None) -> str:
    """A stretch of time."""
    return "" if start is None and end is None else f"{when(start) or '?'} to {when(end) or '?'}"


def what(span: Span) -> str:
    """The partitions of a span."""
    if span.count == 1:
        return span.first
    return f"{span.count:,}: {span.first} to {span.last}" + (", with gaps" if span.gaps else "")


def rows(span: Span) -> str:
    """How many rows it has, as far as known."""
    if span.unknown == span.count:
        return "unknown"
    more = f" and unknown in {span.unknown:,}" if span.unknown else ""
    return f"{words.count(span.rows)}{more}"


def why(span: Span) -> str:
    """The reasons for its state."""
    more = (f"and {plural(span.more, 'more reason')}",) if span.more else ()
    return "; ".join((*span.reasons, *more))


def about_span(span: Span, lane: Lane) -> list[tuple[str, str]]:
    """All about a span, as pairs of a label and a text."""
    found: Sequence[tuple[str, str]] = (
        (lane.title, what(span)),
        ("Time", stretch(span.start, span.end)),
        ("State", WORDS[span.state]),
        ("Rows", rows(span)),
        ("Size", show_size(span.size)),
        ("Due", when(span.due)),
        ("Why", why(span)),
    )
    return [(label, text) for label, text in found if text]


def mark_words(cutoff: Cutoff, table: TableName) -> str:
    """A limit, for a line in the picture."""
    return f"{cutoff.words} ({short(cutoff.policy_id)})"
