"""
Curves over time, as SVG from the server: lines and areas from zero on. Horizontal places are shares of the width, so
that they fit any window. Lines differ by dashes and names as well as by colours, and each picture has a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from cratedb_retention.model import words
from cratedb_retention.model.time import TimeRange
from cratedb_retention.ui.web import lanes
from cratedb_retention.ui.web.html import Markup, el

Values = Sequence[int | None]  # None: unknown, or nothing.
_HIGH, _SMALL, _AXIS = 220, 28, 18  # Heights in pixels.
# Points of a line, parts of a chart that say their values, and points of a small chart.
_MOST_POINTS, _MOST_TIPS, _MOST_SMALL = 740, 122, 61
_STEPS = 4  # Of the axis of values, about.


@dataclass(frozen=True, kw_only=True)
class Line:
    """
    One value for each instant of a chart.

    :param tone: Its colour: ``data``, ``archive``, ``rest`` or ``loss``.
    :param area: Whether it is filled.
    """

    name: str
    values: Values
    tone: str
    area: bool = False
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How values are written, and by which number units follow each other."""

    show: Callable[[int], str]
    base: int = 1000


BYTES = Scale(show=words.show_size, base=1024)
ROWS = Scale(show=lambda rows: words.plural(rows, "row"))
DAYS = Scale(show=lambda days: words.plural(days, "day"))


def chart(
    times: Sequence[int], lines: Sequence[Line], scale: Scale, told: str, marks: Sequence[tuple[int, str]] = ()
) -> Markup:
    """
    Lines over time, with their names and both axes.

    :param times: Instants of equal distances (ms, UTC).
    :param told: The chart in a sentence.
    :param marks: Instants with names.
    """
    most = max((value for line in lines for value in line.values if value is not None), default=0)
    steps = levels(most, scale.base)
    top, time = max(most, *steps, 1) * 1.08, lanes.Scale(TimeRange(times[0], times[-1]))
    drawn = [
        *(each for step in steps for each in _level(_HIGH * (1 - step / top), scale.show(step))),
        _lines(lines, top, _HIGH),
        *(each for at, text in marks for each in _mark(time.at(at), text)),
        *_tips(times, lines, scale),
    ]
    picture = el("svg", drawn, width="100%", height=_HIGH, role="img", aria_label=told)
    legend = el("ul", (el("li", _swatch(line), line.name) for line in lines), class_="legend")
    return el("div", legend, picture, lanes.axis(time), class_="curves")


def spark(values: Values, told: str, tone: str = "data") -> Markup:
    """A small area in the height of a row; ``told`` is shown on pointing at it."""
    known = _sampled(values, _MOST_SMALL)
    most = max((value for value in known if value is not None), default=0)
    drawn = _lines([Line(name="", values=known, tone=tone, area=True)], max(most, 1) * 1.08, _SMALL)
    said = told.replace("\n", "; ")
    more = {"role": "img", "aria_label": said, "data_tip": told}
    return el("svg", drawn, width="100%", height=_SMALL, class_="curves", **more)


def levels(most: int, base: int) -> list[int]:
    """A few round values up to the greatest one."""
    if most < 1:
        return []
    unit = base ** int(math.log(most, base))
    rough = most / unit / _STEPS
    power = 10.0 ** math.floor(math.log10(rough))
    step = max(round(next(each * power for each in (1, 2, 5, 10) if each * power >= rough) * unit), 1)
    return list(range(step, most + 1, step))


def _sampled(values: Values, most: int) -> Values:
    """At most a number of values, each the greatest of some that follow each other."""
    step = max(-(-len(values) // most), 1)
    groups = (values[start : start + step] for start in range(0, len(values), step))
    return [max((value for value in group if value is not None), default=None) for group in groups]


def _lines(lines: Iterable[Line], top: float, high: int) -> Markup:
    """The lines in a picture that is stretched to the width, with a unit for each value."""
    drawn, width = list[Markup](), 1
    for line in lines:
        values = _sampled(line.values, _MOST_POINTS)
        width = max(width, len(values) - 1)
        for points in _pieces(values, top, high):
            path = "L".join(f"{x} {y}" for x, y in points)
            if line.area:
                closed = f"M{points[0][0]} {high}L{path}L{points[-1][0]} {high}Z"
                drawn.append(el("path", d=closed, class_=f"below-curve tone-{line.tone}"))
            tone = f"curve tone-{line.tone}" + (" dashed" if line.dashed else "")
            drawn.append(el("path", d=f"M{path}", class_=tone))
    box = {"viewBox": f"0 0 {width} {high}", "preserveAspectRatio": "none"}
    return el("svg", drawn, width="100%", height=high, **box)


def _pieces(values: Values, top: float, high: int) -> Iterator[list[tuple[int, float]]]:
    """The points of a line, in pieces between values that are unknown."""
    points = list[tuple[int, float]]()
    for place, value in enumerate((*values, None)):
        if value is not None:
            points.append((place, round(high * (1 - value / top), 1)))
        elif points:
            yield points if len(points) > 1 else [*points, (place, points[0][1])]
            points = []


def _level(y: float, text: str) -> Iterator[Markup]:
    place = round(y, 1)
    yield el("line", x1="0", x2="100%", y1=place, y2=place, class_="grid")
    yield el("text", text, x=2, y=max(place - 4, 10), class_="tick")


def _mark(at: float, text: str) -> Iterator[Markup]:
    right = at > 50
    yield el("line", x1=f"{at}%", x2=f"{at}%", y1=0, y2="100%", class_="mark")
    anchor = {"text_anchor": "end" if right else "start", "dx": -6 if right else 6}
    yield el("text", text, x=f"{at}%", y=14, class_="flag", **anchor)


def _tips(times: Sequence[int], lines: Sequence[Line], scale: Scale) -> Iterator[Markup]:
    """Parts of the chart, which say their values on pointing at them."""
    count = len(times)
    step = -(-count // _MOST_TIPS)
    for first in range(0, count, step):
        said = [words.moment(times[first])[:10]]
        known = ((line.name, line.values[first]) for line in lines if line.values)
        said += [f"{name}: {scale.show(value)}" for name, value in known if value is not None]
        place, wide = (round(100 * each / count, 3) for each in (first, min(step, count - first)))
        yield el("rect", x=f"{place}%", width=f"{wide}%", height="100%", class_="slice", data_tip="\n".join(said))


def _swatch(line: Line) -> Markup:
    drawn = el("path", d="M0 6H24", class_=f"curve tone-{line.tone}" + (" dashed" if line.dashed else ""))
    return el("svg", drawn, width=24, height=12, aria_hidden="true")
