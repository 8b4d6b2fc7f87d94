"""Line charts in the terminal: several series over time, with a legend, and the step in the title."""

from __future__ import annotations

import datetime as dt
import math
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise

import click

from cratedb_retention.cli.output import console, visible
from cratedb_retention.model.query.reading import Fetched, as_float

# Colours that are legible on light and dark backgrounds, in order of use; they limit the number of lines.
_COLOURS = (33, 208, 35, 197, 141, 179, 44, 244)
# Without colours, each line is drawn with its own letter.
_LETTERS = "ABCDEFGH"
_HEIGHT = 16
_NARROWEST = 40
Points = list[tuple[float, float | None]]  # times in seconds, and values; None: a gap in the line


def plot(fetched: Fetched, title: str, width: int, colours: bool) -> str:
    """Draw a result, ``width`` columns wide; without colours, lines differ by letters."""
    zone = fetched.rows[0][0].tzinfo if fetched.rows and isinstance(fetched.rows[0][0], dt.datetime) else None
    start, end = (dt.datetime.fromtimestamp(at / 1000, tz=zone or dt.UTC) for at in (fetched.start, fetched.end))
    return plot_lines(list(_series(fetched)), (start, end), title, width, colours)


def plot_lines(
    every: Sequence[tuple[str, Points]],
    time: tuple[dt.datetime, dt.datetime],
    title: str,
    width: int,
    colours: bool,
    from_zero: bool = False,
) -> str:
    """Draw lines, each with its label, over a time range, in its time zone."""
    lines = every[: len(_COLOURS)]
    values = [value for _, points in lines for _, value in points if value is not None]
    if not values:
        return "no values to plot"
    ticks = nice_ticks(0 if from_zero else min(values), max(values))
    step = ticks[1] - ticks[0]
    places = max(0, -math.floor(math.log10(step)))
    places += int(round(step * 10.0**places, 6) % 1 != 0)
    labels = [f"{tick:,.{places}f}" for tick in ticks]
    margin = max(map(len, labels))
    inner = max(width, _NARROWEST) - margin - 3
    # A single line needs neither colour nor letter.
    marks: Sequence[int | str | None] = [None] if len(every) == 1 else _COLOURS if colours else _LETTERS
    rows = _draw([points for _, points in lines], marks, time, ticks, inner)
    at = {
        round((1 - (tick - ticks[0]) / (ticks[-1] - ticks[0])) * (_HEIGHT - 1)): text
        for tick, text in zip(ticks, labels, strict=True)
    }
    chart = [f"{at.get(i, ''):>{margin}} {'┤' if i in at else '│'}{row}" for i, row in enumerate(rows)]
    axis, times = _time_axis(*time, inner)
    legend = [f"{_sign(mark)}{label}" for (label, _), mark in zip(lines, marks, strict=False)]
    more = [f"and {len(every) - len(lines)} more series"] if len(every) > len(lines) else []
    return "\n".join([title, *chart, f"{'':>{margin}} └{axis}", f"{'':>{margin}}  {times}".rstrip(), *legend, *more])


def _sign(mark: int | str | None) -> str:
    return f"\x1b[38;5;{mark}m━━\x1b[0m " if isinstance(mark, int) else f"{mark} " if mark else ""


def _series(fetched: Fetched) -> Iterator[tuple[str, Points]]:
    for group, rows in fetched.series().items():
        times = [row[0].timestamp() for row in rows if isinstance(row[0], dt.datetime)]
        for i, name in enumerate(fetched.columns[1 + fetched.keys : -1], start=1 + fetched.keys):
            values = [as_float(row[i]) for row in rows]
            if any(value is not None for value in values):
                label = " ".join([name, *("NULL" if value is None else str(value) for value in group)])
                yield label, list(zip(times, values, strict=True))


def _draw(
    lines: Sequence[Points],
    marks: Sequence[int | str | None],
    time: tuple[dt.datetime, dt.datetime],
    ticks: Sequence[float],
    width: int,
) -> list[str]:
    """Connect neighbouring points; an isolated value is drawn as a point."""
    from plotille import Canvas

    start, end = (instant.timestamp() for instant in time)
    canvas = Canvas(width, _HEIGHT, start, ticks[0], end, ticks[-1], mode="byte")
    for points, mark in zip(lines, marks, strict=False):
        colour, letter = (None, mark) if isinstance(mark, str) else (mark, None)
        inside = [(min(max(at, start), end), value) for at, value in points]
        for (at, value), (next_at, next_value) in pairwise(inside):
            if value is not None and next_value is not None and letter is None:
                canvas.line(at, value, next_at, next_value, color=colour)
        for at, value in inside:
            if value is not None:
                canvas.point(at, value, color=colour, marker=letter)
    return [row.replace("\u2800", " ").rstrip() for row in str(canvas.plot()).splitlines()][-_HEIGHT:]


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values that enclose ``low`` and ``high``, in about ``count`` steps."""
    if low == high:
        low, high = low - (abs(low) * 0.1 or 1), high + (abs(high) * 0.1 or 1)
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(nice * power for nice in (1, 2, 2.5, 5, 10) if nice * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _time_axis(start: dt.datetime, end: dt.datetime, width: int) -> tuple[str, str]:
    """The axis below the chart, and its labels in the time zone of the start."""
    span, zone = (end - start).total_seconds(), start.tzinfo
    form = "%H:%M" if span <= 86_400 else "%m-%d %H:%M" if span <= 14 * 86_400 else "%Y-%m-%d"
    room = len(dt.datetime(2000, 1, 1, tzinfo=dt.UTC).strftime(form)) + 4
    count = max(1, width // max(room, 12))
    marks, text = ["─"] * width, [" "] * (width + room)
    for number in range(count):
        column = number * width // count
        moment = dt.datetime.fromtimestamp(start.timestamp() + span * column / width, tz=zone)
        marks[column] = "┬"
        text[column : column + room - 4] = moment.strftime(form)
    return "".join(marks), "".join(text).rstrip()


def draw(fetched: Fetched, table_name: str) -> None:
    """Write a chart as wide as the terminal, titled with its step and levels."""
    colours, width = canvas()
    title = f"{visible(table_name)}, step {fetched.step}, from {', '.join(fetched.levels) or 'nothing'}"
    click.echo(plot(fetched, title, width, colours), color=colours)


def canvas() -> tuple[bool, int]:
    """Whether charts have colours, and their width: that of the terminal."""
    colours = console().color_system is not None and sys.stdout.isatty()
    return colours, console().width if sys.stdout.isatty() else 100
