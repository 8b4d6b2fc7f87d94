"""
Charts as ECharts wants them, pure, from what is shown: of the page Explore, and the picture of a table's timeline.

What is from the database reaches the browser as data only; static/charts.js draws it as text. Colours are variables of
style.css, so that light and dark need nothing here; patterns and words say the same as colours.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cratedb_retention.model import words
from cratedb_retention.model.exploring import Span as Stretch
from cratedb_retention.model.exploring import percents
from cratedb_retention.model.reading import Fetched, Row, as_float, join_stretches
from cratedb_retention.model.time import to_ms
from cratedb_retention.model.timeline import WORDS, Lane, Span, State, Timeline
from cratedb_retention.model.words import plural, short, show_size

INK, SOFT, LINE = ({"color": f"var(--{name})"} for name in ("ink", "soft", "line"))
SLIDER = {
    "type": "slider",
    "filterMode": "none",
    "bottom": 8,
    "showDetail": False,
    "showDataShadow": False,
    "borderColor": "var(--line)",
    "fillerColor": "var(--zoom)",
    "handleStyle": {"color": "var(--card)", "borderColor": "var(--accent)"},
}


def tooltip(formatter: str, **more: Any) -> dict[str, Any]:
    """What is shown when somebody points at a chart: the formatter, in JavaScript, makes an element of it."""
    box = {"confine": True, "backgroundColor": "var(--card)", "borderColor": "var(--line)", "textStyle": INK}
    return {":formatter": formatter, **box, **more}


# The chart of the page Explore.

MOST_LINES = 10
_BAND = 3  # With what is shown, the least and the greatest value were fetched.
# Emphasis would reckon with colours, which it can't if they are those of the style sheet.
_LINE = {
    "type": "line",
    "symbol": "none",
    "showSymbol": True,
    "connectNulls": False,
    "animation": False,
    "emphasis": {"disabled": True},
}
_SILENT = {"silent": True, "tooltip": {"show": False}}


@dataclass(frozen=True)
class Line:
    """One line of the chart."""

    name: str
    # Instants (ms, UTC), values, what the level is called, and where there is a band the least and greatest values.
    points: tuple[tuple[Any, ...], ...]


def lines_of(fetched: Fetched) -> list[Line]:
    """What was fetched as lines: one for each group."""
    shown = fetched.columns[1 + fetched.keys]

    def point(row: Row) -> tuple[Any, ...]:
        value, *more = (as_float(cell) for cell in row[1 + fetched.keys : -1])
        return (to_ms(row[0]), value, row[-1] or "", *more)  # type: ignore[arg-type]

    return [
        Line(", ".join("NULL" if value is None else str(value) for value in group) or shown, tuple(map(point, rows)))
        for group, rows in fetched.series().items()
    ]


def explore_options(fetched: Fetched, lines: Sequence[Line], shown: Stretch, outer: Stretch) -> dict[str, Any]:
    """The chart of the stretch of time ``shown``; what can be zoomed and moved within is ``outer``."""
    series = [_series(number, line) for number, line in enumerate(lines)]
    if len(lines) == 1 and len(fetched.columns) - 2 - fetched.keys == _BAND:
        series += _band(lines[0])
    axis = {"axisLabel": {**SOFT, "hideOverlap": True}, "axisLine": {"lineStyle": LINE}}
    start, end = percents(shown, outer)
    # By wheel and dragging within the chart, and by the bar beneath it, which shows all there is.
    zoomed = {"start": start, "end": end, "filterMode": "none", "minSpan": 0}
    moved = {"color": "var(--accent)", "opacity": 0.5}
    return {
        "useUTC": True,
        "animation": False,
        "color": [f"var(--series-{number})" for number in range(1, MOST_LINES + 1)],
        "textStyle": {"fontFamily": "system-ui, sans-serif"},
        "grid": {"left": 8, "right": 16, "top": 44, "bottom": 64, "containLabel": True},
        "legend": {
            "show": len(lines) > 1,
            "type": "scroll",
            "top": 0,
            "data": [line.name for line in lines],
            "textStyle": INK,
            "pageTextStyle": INK,
            "pageIconColor": "var(--accent)",
            "pageIconInactiveColor": "var(--line)",
        },
        "tooltip": tooltip("charts.values", trigger="axis", axisPointer={"type": "line", "lineStyle": SOFT}),
        "xAxis": {"type": "time", "min": outer[0], "max": outer[1], "splitNumber": 5, **axis},
        "yAxis": {"type": "value", "scale": True, "splitLine": {"lineStyle": LINE}, **axis},
        "dataZoom": [
            {"type": "inside", **zoomed},
            {**SLIDER, "height": 26, "brushSelect": False, "moveHandleStyle": moved, **zoomed},
        ],
        "series": [*series, _borders(fetched, shown)],
    }


def _series(number: int, line: Line) -> dict[str, Any]:
    dot = {"symbol": "circle", "symbolSize": 5}
    data = [{"value": p, **(dot if _alone(line.points, place) else {})} for place, p in enumerate(line.points)]
    return {**_LINE, "id": f"line {number}", "name": line.name, "lineStyle": {"width": 2}, "data": data}


def _alone(points: Sequence[tuple[Any, ...]], place: int) -> bool:
    """Whether a value has no neighbour that a line could join it to."""
    near = [*points[max(place - 1, 0) : place], *points[place + 1 : place + 2]]
    return points[place][1] is not None and all(point[1] is None for point in near)


def _band(line: Line) -> list[dict[str, Any]]:
    """From the least to the greatest value: one area that is not seen, and one upon it."""
    common = {**_LINE, **_SILENT, "stack": "band", "stackStrategy": "all", "lineStyle": {"opacity": 0}}
    known = [(point[0], point[3], point[4]) for point in line.points]
    lows = [[at, low] for at, low, _ in known]
    widths = [[at, None if low is None or high is None else high - low] for at, low, high in known]
    return [
        {**common, "id": "band from", "data": lows},
        {**common, "id": "band to", "data": widths, "areaStyle": {"color": "var(--series-1)", "opacity": 0.18}},
    ]


def _borders(fetched: Fetched, shown: Stretch) -> dict[str, Any]:
    """Where the levels change, with their names; and what is kept nowhere, as an area."""
    parts = [p for p in join_stretches(fetched.stretches, with_rests=True) if p.end > shown[0] and p.start < shown[1]]
    marks = [
        {"xAxis": max(p.start, shown[0]), "name": p.holding.name, "lineStyle": {"width": int(p is not parts[0])}}
        for p in parts
    ]
    gaps = [[{"xAxis": start, "name": "kept nowhere"}, {"xAxis": end}] for start, end in fetched.gaps]
    label = {**INK, "show": True, "formatter": "{b}", "textBorderWidth": 0}
    quiet = {"silent": True, "animation": False}
    dashed = {"symbol": "none", "lineStyle": {**SOFT, "type": "dashed"}}
    lines = {**quiet, **dashed, "label": {**label, "position": "end", "align": "left"}, "data": marks}
    areas = {**quiet, "itemStyle": {**LINE, "opacity": 0.4}, "label": {**label, "position": "inside"}, "data": gaps}
    return {"type": "line", "id": "levels", "data": [], **_SILENT, "markLine": lines, "markArea": areas}


# The picture of a timeline: lanes on one axis of time.

LANE, MARK, AXIS = 64, 17, 76
_MOST_MARKS, _MOST_SLOTS = 8, 5
# How bars are hatched: by which lines.
_RISING = (State.DROP, State.ARCHIVE, State.ARCHIVED)
_FALLING = (State.ARCHIVE, State.PROBLEM, State.HELD)
_UPRIGHT = (State.MOVE, State.ROLL, State.MOVING, State.COPY)
_SHORT = {
    State.ARCHIVE: "archive, drop",
    State.ROLL: "roll up",
    State.COPY: "archived, still there",
    State.COMPUTED: "rolled up",
}
_LOOKS = [
    {
        "name": each,
        "word": _SHORT.get(each, each),
        "rising": each in _RISING,
        "falling": each in _FALLING,
        "upright": each in _UPRIGHT,
    }
    for each in State
]


def timeline_options(found: Timeline, extent: Stretch) -> dict[str, Any]:
    """The picture, from when to when it reaches, see :func:`padded`."""
    marks = _marks(found, extent)
    lines = [[at, row, text, now] for row, (at, text, now) in enumerate(marks)]
    titles = [[0, row, lane.title] for row, lane in enumerate(found.lanes)]
    bars = [bar for row, lane in enumerate(found.lanes) for bar in _bars(row, lane)]
    line = {"lineStyle": LINE}
    time = {"axisLabel": {**SOFT, "hideOverlap": True}, "axisLine": {**line, "onZero": False}, "axisTick": line}
    return {
        "animation": False,
        "useUTC": True,
        "grid": {"left": 8, "right": 8, "top": MARK * (len(marks) + 1), "bottom": AXIS},
        "xAxis": {"type": "time", "min": extent[0], "max": extent[1], **time},
        "yAxis": {"type": "value", "min": 0, "max": len(found.lanes), "inverse": True, "show": False},
        "dataZoom": [
            {"type": "inside", "filterMode": "none", "zoomOnMouseWheel": "ctrl", "moveOnMouseWheel": False},
            {**SLIDER, "height": 24, "moveHandleStyle": {"color": "var(--accent)"}},
        ],
        "tooltip": tooltip("charts.about", trigger="item", className="timeline-tip", textStyle={**INK, "fontSize": 13}),
        "series": [
            _drawn("spans", f"charts.bar({json.dumps(_LOOKS)})", bars),
            _drawn("lanes", "charts.lane", titles, "time", "number", "ordinal"),
            _drawn("marks", f"charts.mark({MARK})", lines, "time", "number", "ordinal", "number"),
        ],
    }


def _drawn(name: str, draw: str, data: Sequence[Any], *kinds: str) -> dict[str, Any]:
    made = {"type": "custom", "name": name, ":renderItem": draw, "data": data, "silent": bool(kinds), "clip": False}
    if kinds:
        made["dimensions"] = [{"name": f"d{place}", "type": kind} for place, kind in enumerate(kinds)]
    return {**made, "encode": {"x": [], "y": []}, "emphasis": {"disabled": True}}


def _bars(row: int, lane: Lane) -> list[dict[str, Any]]:
    slots, states = _slots(lane.spans), list(State)
    many = max(slots, default=0) + 1
    return [
        {"value": [s.start, s.end, row, slot, many, states.index(s.state)], "tip": _about(s, lane)}
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


def _marks(found: Timeline, extent: Stretch) -> list[tuple[int, str, int]]:
    """The limits within the picture, with words, latest first; those at one instant together."""
    said: dict[int, list[str]] = {}
    for cutoff in found.cutoffs:
        if cutoff.enabled and cutoff.limit is not None and extent[0] <= cutoff.limit <= extent[1]:
            said.setdefault(cutoff.limit, []).append(f"{cutoff.words} ({short(cutoff.policy_id)})")
    marks = [(at, "; ".join(texts), 0) for at, texts in sorted(said.items(), reverse=True)]
    return [*marks[:_MOST_MARKS], (found.now, "now", 1)]


def padded(low: int, high: int) -> Stretch:
    """A little more on both sides."""
    more = max(1, (high - low) // 50)
    return low - more, high + more


def stretch(start: int | None, end: int | None) -> str:
    """A stretch of time."""
    return "" if start is None and end is None else f"{words.moment(start) or '?'} to {words.moment(end) or '?'}"


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


def _about(span: Span, lane: Lane) -> list[tuple[str, str]]:
    """All about a span, as pairs of a label and a text."""
    found = (
        (lane.title, what(span)),
        ("Time", stretch(span.start, span.end)),
        ("State", WORDS[span.state]),
        ("Rows", rows(span)),
        ("Size", show_size(span.size)),
        ("Due", words.moment(span.due)),
        ("Why", why(span)),
    )
    return [(label, text) for label, text in found if text]
