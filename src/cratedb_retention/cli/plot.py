"""
A line chart in the terminal: several series over time, with a legend, and the resolution in its title.
"""

from __future__ import annotations

import datetime as dt
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import click

from cratedb_retention.cli.output import console, visible
from cratedb_retention.model.reading import Fetched, as_float

if TYPE_CHECKING:
    from plotille import Canvas

# Colours that can be read on light and on dark ground, in the order in which series get them.
_COLOURS = (33, 208, 35, 197, 141, 179, 44, 244)
# Where there are no colours, each line is drawn of its own letters.
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_HEIGHT = 16
_MOST_SERIES = 8
_NARROWEST = 40


@dataclass(frozen=True)
class Line:
    """One line of the chart."""

    label: str
    points: tuple[tuple[float, float | None], ...]  # Times in seconds, and values; None where the line is broken.


def plot(fetched: Fetched, title: str, width: int, colours: bool) -> str:
    """Draw what was fetched, so many columns wide; without colours, lines differ by letters."""
    every = list(_lines(fetched))
    lines = every[:_MOST_SERIES]
    values = [value for line in lines for _, value in line.points if value is not None]
    if not values:
        return "nothing to plot"
    ticks = nice_ticks(min(values), max(values))
    places = _decimals(ticks)
    labels = [f"{tick:,.{places}f}" for tick in ticks]
    margin = max(map(len, labels))
    inner = max(width, _NARROWEST) - margin - 3
    start, end = fetched.start / 1000, fetched.end / 1000
    rows = _draw(lines, (start, end), (ticks[0], ticks[-1]), inner, colours)
    at = {
        round((1 - (tick - ticks[0]) / (ticks[-1] - ticks[0])) * (_HEIGHT - 1)): text
        for tick, text in zip(ticks, labels, strict=True)
    }
    chart = [f"{at.get(i, ''):>{margin}} {'┤' if i in at else '│'}{row}" for i, row in enumerate(rows)]
    marks, times = _time_axis(fetched, inner)
    legend = [_legend(i, line, colours and len(lines) > 1, len(lines)) for i, line in enumerate(lines)]
    more = [f"and {len(every) - len(lines)} more series"] if len(every) > len(lines) else []
    return "\n".join([title, *chart, f"{'':>{margin}} └{marks}", f"{'':>{margin}}  {times}".rstrip(), *legend, *more])


def _lines(fetched: Fetched) -> Iterator[Line]:
    """Each value of each group is a line."""
    names = fetched.columns[1 + fetched.keys : -1]
    for group, rows in fetched.series().items():
        for i, name in enumerate(names, start=1 + fetched.keys):
            text = " ".join([name, *("NULL" if value is None else str(value) for value in group)])
            points = tuple((_seconds(row[0]), as_float(row[i])) for row in rows)
            if any(value is not None for _, value in points):
                yield Line(text, points)


def _seconds(time: object) -> float:
    assert isinstance(time, dt.datetime)  # noqa: S101
    return time.timestamp()


def _draw(
    lines: Sequence[Line], span: tuple[float, float], reach: tuple[float, float], width: int, colours: bool
) -> list[str]:
    from plotille import Canvas

    canvas = Canvas(width, _HEIGHT, span[0], reach[0], span[1], reach[1], mode="byte")
    for number, line in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)] if colours and len(lines) > 1 else None
        _draw_line(canvas, line, colour, _LETTERS[number] if len(lines) > 1 and not colours else None)
    return [row.replace("\u2800", " ").rstrip() for row in str(canvas.plot()).splitlines()][-_HEIGHT:]


def _draw_line(canvas: Canvas, line: Line, colour: int | None, letter: str | None) -> None:
    """Join neighbouring points; a value without neighbours is a point."""
    low, high = canvas.xmin, canvas.xmax
    inside = [(min(max(time, low), high), value) for time, value in line.points]
    for (time, value), (next_time, next_value) in pairwise(inside):
        if value is not None and next_value is not None and letter is None:
            canvas.line(time, value, next_time, next_value, color=colour)
    for time, value in inside:
        if value is not None:
            canvas.point(time, value, color=colour, marker=letter)


def _legend(number: int, line: Line, colours: bool, lines: int) -> str:
    if colours:
        return f"\x1b[38;5;{_COLOURS[number % len(_COLOURS)]}m━━\x1b[0m {line.label}"
    return f"{_LETTERS[number]} {line.label}" if lines > 1 else line.label


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values from below the least to above the greatest, about so many steps apart."""
    if low == high:
        low, high = low - (abs(low) * 0.1 or 1), high + (abs(high) * 0.1 or 1)
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(nice * power for nice in (1, 2, 2.5, 5, 10) if nice * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _decimals(ticks: Sequence[float]) -> int:
    step = ticks[1] - ticks[0]
    places = max(0, -math.floor(math.log10(step)))
    return places + int(round(step * 10.0**places, 6) % 1 != 0)


def _time_axis(fetched: Fetched, width: int) -> tuple[str, str]:
    """The line below the chart with its marks, and the times below these, in the zone of the answer."""
    zone = fetched.rows[0][0].tzinfo if isinstance(fetched.rows[0][0], dt.datetime) else dt.UTC
    span = (fetched.end - fetched.start) / 1000
    form = "%H:%M" if span <= 86_400 else "%m-%d %H:%M" if span <= 14 * 86_400 else "%Y-%m-%d"
    room = len(dt.datetime(2000, 1, 1, tzinfo=dt.UTC).strftime(form)) + 4
    count = max(1, width // max(room, 12))
    marks, text = ["─"] * width, [" "] * (width + room)
    for number in range(count):
        column = number * width // count
        moment = dt.datetime.fromtimestamp(fetched.start / 1000 + span * column / width, tz=zone)
        marks[column] = "┬"
        text[column : column + room - 4] = moment.strftime(form)
    return "".join(marks), "".join(text).rstrip()


def draw(fetched: Fetched, table_name: str) -> None:
    """Write a chart as wide as the terminal, with its step and the levels that it is from."""
    colours = console().color_system is not None and sys.stdout.isatty()
    width = console().width if sys.stdout.isatty() else 100
    title = f"{visible(table_name)}, step {fetched.step}, from {', '.join(fetched.levels) or 'nothing'}"
    click.echo(plot(fetched, title, width, colours), color=colours)
