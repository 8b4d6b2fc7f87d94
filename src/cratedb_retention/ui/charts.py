"""
The chart of the page Explore as ECharts wants it, pure, from what was fetched; and what all charts have in common.

What is from the database reaches the browser as data only; static/charts.js draws it as text. Colours are variables of
style.css, so that light and dark need nothing here; patterns and words say the same as colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cratedb_retention.model.query.exploring import percents
from cratedb_retention.model.query.reading import Fetched, Row, as_float, join_stretches
from cratedb_retention.model.time import TimeRange, to_ms

INK, SOFT, LINE = ({"color": f"var(--{name})"} for name in ("ink", "soft", "line"))
AXIS_LABEL = {**SOFT, "hideOverlap": True}
SLIDER = {"type": "slider", "filterMode": "none", "bottom": 8, "showDetail": False, "showDataShadow": False} | {
    "borderColor": "var(--line)",
    "fillerColor": "var(--zoom)",
    "handleStyle": {"color": "var(--card)", "borderColor": "var(--accent)"},
}
MOST_LINES = 10
_BAND = 3  # With what is shown, the least and the greatest value were fetched.
# Emphasis can't compute with colours of the style sheet.
_LINE = {"type": "line", "symbol": "none", "showSymbol": True, "connectNulls": False, "animation": False} | {
    "emphasis": {"disabled": True}
}
_SILENT = {"silent": True, "tooltip": {"show": False}}
# Instants (ms, UTC), values, what the level is called, and where there is a band the least and greatest values.
Points = list[tuple[Any, ...]]


def tooltip(formatter: str, **more: Any) -> dict[str, Any]:
    """What is shown when a user points at a chart: the formatter, in JavaScript, makes an element of it."""
    box = {"confine": True, "backgroundColor": "var(--card)", "borderColor": "var(--line)", "textStyle": INK}
    return {":formatter": formatter, **box, **more}


def lines_of(fetched: Fetched) -> list[tuple[str, Points]]:
    """What was fetched as lines, each with its name: one for each group."""
    shown = fetched.columns[1 + fetched.keys]

    def point(row: Row) -> tuple[Any, ...]:
        value, *more = (as_float(cell) for cell in row[1 + fetched.keys : -1])
        return (to_ms(row[0]), value, row[-1] or "", *more)  # type: ignore[arg-type]

    return [
        (", ".join("NULL" if value is None else str(value) for value in group) or shown, list(map(point, rows)))
        for group, rows in fetched.series().items()
    ]


def explore_options(
    fetched: Fetched, lines: Sequence[tuple[str, Points]], shown: TimeRange, outer: TimeRange
) -> dict[str, Any]:
    """The chart of the time range ``shown``; what can be zoomed and moved within is ``outer``."""
    series = [_series(number, name, points) for number, (name, points) in enumerate(lines)]
    if len(lines) == 1 and len(fetched.columns) - 2 - fetched.keys == _BAND:
        series += _band(lines[0][1])
    axis = {"axisLabel": AXIS_LABEL, "axisLine": {"lineStyle": LINE}}
    start, end = percents(shown, outer)
    # By wheel and dragging within the chart, and by the bar below it, which shows all there is.
    zoomed = {"start": start, "end": end, "filterMode": "none", "minSpan": 0}
    moved = {"color": "var(--accent)", "opacity": 0.5}
    pages = {"textStyle": INK, "pageTextStyle": INK, "pageIconColor": "var(--accent)"}
    legend = {"show": len(lines) > 1, "type": "scroll", "top": 0, "data": [name for name, _ in lines], **pages}
    return {
        "useUTC": True,
        "animation": False,
        "color": [f"var(--series-{number})" for number in range(1, MOST_LINES + 1)],
        "textStyle": {"fontFamily": "system-ui, sans-serif"},
        "grid": {"left": 8, "right": 16, "top": 44, "bottom": 64, "containLabel": True},
        "legend": {**legend, "pageIconInactiveColor": "var(--line)"},
        "tooltip": tooltip("charts.values", trigger="axis", axisPointer={"type": "line", "lineStyle": SOFT}),
        "xAxis": {"type": "time", "min": outer.start, "max": outer.end, "splitNumber": 5, **axis},
        "yAxis": {"type": "value", "scale": True, "splitLine": {"lineStyle": LINE}, **axis},
        "dataZoom": [
            {"type": "inside", **zoomed},
            {**SLIDER, "height": 26, "brushSelect": False, "moveHandleStyle": moved, **zoomed},
        ],
        "series": [*series, _borders(fetched, shown)],
    }


def _series(number: int, name: str, points: Points) -> dict[str, Any]:
    dot = {"symbol": "circle", "symbolSize": 5}

    def is_alone(place: int) -> bool:
        """Whether a value has no neighbour that a line could join it to."""
        near = [*points[max(place - 1, 0) : place], *points[place + 1 : place + 2]]
        return points[place][1] is not None and all(point[1] is None for point in near)

    data = [{"value": point, **(dot if is_alone(place) else {})} for place, point in enumerate(points)]
    return {**_LINE, "id": f"line {number}", "name": name, "lineStyle": {"width": 2}, "data": data}


def _band(points: Points) -> list[dict[str, Any]]:
    common = {**_LINE, **_SILENT, "stack": "band", "stackStrategy": "all", "lineStyle": {"opacity": 0}}
    known = [(point[0], point[3], point[4]) for point in points]
    widths = [[at, None if low is None or high is None else high - low] for at, low, high in known]
    return [
        {**common, "id": "band from", "data": [[at, low] for at, low, _ in known]},
        {**common, "id": "band to", "data": widths, "areaStyle": {"color": "var(--series-1)", "opacity": 0.18}},
    ]


def _borders(fetched: Fetched, shown: TimeRange) -> dict[str, Any]:
    """Where the levels change, with their names; and what is kept nowhere, as an area."""
    parts = [part for part in join_stretches(fetched.stretches, with_rests=True) if part.time.overlaps(shown)]
    marks = [
        {"xAxis": max(p.time.start, shown.start), "name": p.holding.name, "lineStyle": {"width": int(p != parts[0])}}
        for p in parts
    ]
    gaps = [[{"xAxis": start, "name": "kept nowhere"}, {"xAxis": end}] for start, end in fetched.gaps]
    label = {**INK, "show": True, "formatter": "{b}", "textBorderWidth": 0}
    quiet = {"silent": True, "animation": False}
    dashed = {"symbol": "none", "lineStyle": {**SOFT, "type": "dashed"}}
    lines = {**quiet, **dashed, "label": {**label, "position": "end", "align": "left"}, "data": marks}
    areas = {**quiet, "itemStyle": {**LINE, "opacity": 0.4}, "label": {**label, "position": "inside"}, "data": gaps}
    return {"type": "line", "id": "levels", "data": [], **_SILENT, "markLine": lines, "markArea": areas}
