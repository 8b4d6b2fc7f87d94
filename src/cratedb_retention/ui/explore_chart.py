"""
The chart of the page "Explore", as ECharts wants it: pure, from what was fetched. Everything in it is text, and its
colours are those of the style sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cratedb_retention.model.exploring import Span, percents
from cratedb_retention.model.reading import Cell, Fetched, Row, as_float, join_stretches
from cratedb_retention.model.time import to_ms

MOST_LINES = 10
_BAND = 3  # With what is shown, the least and the greatest value were fetched.
# Emphasis would reckon with colours, which it can't if they are those of the style sheet.
_NO_SYMBOL = {
    "symbol": "none",
    "showSymbol": True,
    "connectNulls": False,
    "animation": False,
    "emphasis": {"disabled": True},
}
_SILENT = {"silent": True, "tooltip": {"show": False}}
# An element with text in it, never markup: names may hold anything.
_TOOLTIP = """(found) => {
  const box = document.createElement('div');
  const add = (text, tone) => {
    const line = document.createElement('div');
    line.textContent = text;
    line.className = tone || '';
    box.append(line);
  };
  const said = found.filter(one => one.value && one.value[2] !== undefined);
  if (said.length === 0) return '';
  add(new Date(said[0].value[0]).toISOString().slice(0, 19).replace('T', ' ') + ' UTC', 'explore-when');
  for (const one of said) {
    const [, value, level, low, high] = one.value;
    const show = number => number.toLocaleString('en-US', {maximumSignificantDigits: 6});
    if (value === null) { add(one.seriesName + ': no data'); continue; }
    const band = low === undefined || low === null ? '' : ` (${show(low)} to ${show(high)})`;
    add(`${one.seriesName}: ${show(value)}${band}, from ${level}`);
  }
  return box;
}"""


@dataclass(frozen=True)
class Line:
    """
    One line of the chart.

    :param points: Instants (ms, UTC), values, what the level is called, and where there is a band the least and
        greatest values.
    """

    name: str
    points: tuple[tuple[Any, ...], ...]


def lines_of(fetched: Fetched) -> list[Line]:
    """What was fetched as lines: one for each group."""
    shown = fetched.columns[1 + fetched.keys]
    return [
        Line(_group_name(group) or shown, tuple(_point(row, fetched.keys) for row in rows))
        for group, rows in fetched.series().items()
    ]


def _group_name(group: Sequence[Cell]) -> str:
    return ", ".join("NULL" if value is None else str(value) for value in group)


def _point(row: Row, keys: int) -> tuple[Any, ...]:
    """Milliseconds, value, level, and the rest of the values."""
    value, *more = (as_float(cell) for cell in row[1 + keys : -1])
    return (to_ms(row[0]), value, row[-1] or "", *more)  # type: ignore[arg-type]


def options(fetched: Fetched, shown: Span, outer: Span, words: str) -> dict[str, Any]:
    """
    The chart.

    :param shown: The stretch of time that is looked at.
    :param outer: What can be zoomed and moved within.
    :param words: The chart in a sentence, for those who do not see it.
    """
    lines = lines_of(fetched)[:MOST_LINES]
    series = [_series(number, line) for number, line in enumerate(lines)]
    if len(lines) == 1 and _has_band(fetched):
        series += _band(lines[0])
    axis = {
        "axisLabel": {"color": "var(--soft)", "hideOverlap": True},
        "axisLine": {"lineStyle": {"color": "var(--line)"}},
    }
    return {
        "useUTC": True,
        "animation": False,
        "color": [f"var(--series-{number})" for number in range(1, MOST_LINES + 1)],
        "aria": {"enabled": True, "label": {"description": words}},
        "textStyle": {"fontFamily": "system-ui, sans-serif"},
        "grid": {"left": 8, "right": 16, "top": 44, "bottom": 64, "containLabel": True},
        "legend": {
            "show": len(lines) > 1,
            "type": "scroll",
            "top": 0,
            "data": [line.name for line in lines],
            "textStyle": {"color": "var(--ink)"},
            "pageTextStyle": {"color": "var(--ink)"},
            "pageIconColor": "var(--accent)",
            "pageIconInactiveColor": "var(--line)",
        },
        "tooltip": _tooltip(),
        "xAxis": {"type": "time", "min": outer[0], "max": outer[1], "splitNumber": 5, **axis},
        "yAxis": {"type": "value", "scale": True, "splitLine": {"lineStyle": {"color": "var(--line)"}}, **axis},
        "dataZoom": _zooms(percents(shown, outer)),
        "series": [*series, _borders(fetched, shown)],
    }


def _has_band(fetched: Fetched) -> bool:
    return len(fetched.columns) - 2 - fetched.keys == _BAND


def _tooltip() -> dict[str, Any]:
    return {
        "trigger": "axis",
        ":formatter": _TOOLTIP,
        "confine": True,
        "backgroundColor": "var(--card)",
        "borderColor": "var(--line)",
        "textStyle": {"color": "var(--ink)"},
        "axisPointer": {"type": "line", "lineStyle": {"color": "var(--soft)"}},
    }


def _series(number: int, line: Line) -> dict[str, Any]:
    return {
        "type": "line",
        "id": f"line {number}",
        "name": line.name,
        "lineStyle": {"width": 2},
        **_NO_SYMBOL,
        "data": [
            {"value": point, "symbol": "circle", "symbolSize": 5} if _alone(line.points, i) else {"value": point}
            for i, point in enumerate(line.points)
        ],
    }


def _alone(points: Sequence[tuple[Any, ...]], place: int) -> bool:
    """Whether a value has no neighbour that a line could join it to."""
    near = [*points[max(place - 1, 0) : place], *points[place + 1 : place + 2]]
    return points[place][1] is not None and all(point[1] is None for point in near)


def _band(line: Line) -> list[dict[str, Any]]:
    """From the least to the greatest value: one area that is not seen, and one upon it."""
    common = {
        "type": "line",
        "stack": "band",
        "stackStrategy": "all",
        "lineStyle": {"opacity": 0},
        **_NO_SYMBOL,
        **_SILENT,
    }
    known = [(point[0], point[3], point[4]) for point in line.points]
    lows = [[at, low] for at, low, _ in known]
    widths = [[at, None if low is None or high is None else high - low] for at, low, high in known]
    return [
        {**common, "id": "band from", "data": lows},
        {**common, "id": "band to", "data": widths, "areaStyle": {"color": "var(--series-1)", "opacity": 0.18}},
    ]


def _borders(fetched: Fetched, shown: Span) -> dict[str, Any]:
    """Where the levels change, with their names; and what is kept nowhere, as an area."""
    parts = [p for p in join_stretches(fetched.stretches, with_rests=True) if p.end > shown[0] and p.start < shown[1]]
    marks = [
        {
            "xAxis": max(part.start, shown[0]),
            "name": part.holding.name,
            "lineStyle": {"width": 0 if part is parts[0] else 1},
        }
        for part in parts
    ]
    gaps = [[{"xAxis": start, "name": "kept nowhere"}, {"xAxis": end}] for start, end in fetched.gaps]
    label = {"show": True, "formatter": "{b}", "color": "var(--ink)", "textBorderWidth": 0}
    return {
        "type": "line",
        "id": "levels",
        "data": [],
        **_SILENT,
        "markLine": {
            "silent": True,
            "animation": False,
            "symbol": "none",
            "lineStyle": {"type": "dashed", "color": "var(--soft)"},
            "label": {**label, "position": "end", "align": "left"},
            "data": marks,
        },
        "markArea": {
            "silent": True,
            "animation": False,
            "itemStyle": {"color": "var(--line)", "opacity": 0.4},
            "label": {**label, "position": "inside"},
            "data": gaps,
        },
    }


def _zooms(place: tuple[float, float]) -> list[dict[str, Any]]:
    """By wheel and dragging within the chart, and by the bar beneath it, which shows all there is."""
    span = {"start": place[0], "end": place[1], "filterMode": "none", "minSpan": 0}
    bar = {
        "type": "slider",
        "height": 26,
        "bottom": 8,
        "showDataShadow": False,
        "showDetail": False,
        "borderColor": "var(--line)",
        "fillerColor": "var(--zoom)",
        "handleStyle": {"color": "var(--card)", "borderColor": "var(--accent)"},
        "moveHandleStyle": {"color": "var(--accent)", "opacity": 0.5},
        "brushSelect": False,
    }
    return [{"type": "inside", **span}, {**bar, **span}]
