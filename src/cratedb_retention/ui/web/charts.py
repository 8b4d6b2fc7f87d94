"""
Values over time as a picture: a line for each group, and below them a lane with where the values are from: raw rows,
levels, archives. They have the time axis, the colours and the patterns of the lanes of a table, and like these they are
drawn on the server: what a value is stands beside the pointer, and dragging chooses a time range.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from cratedb_retention.model import words
from cratedb_retention.model.overview import State
from cratedb_retention.model.query.reading import Fetched, Row, as_float, interval_words, join_stretches
from cratedb_retention.model.time import TimeRange, TimeRanges, from_ms, to_ms
from cratedb_retention.ui.web import lanes
from cratedb_retention.ui.web.html import Markup, el
from cratedb_retention.ui.web.lanes import Scale

MOST_LINES = 10
# In pixels: the height, and what the highest and lowest values are away from the edges; the width of a picture whose
# places have no unit, which is stretched to that of the window.
_HEIGHT, _TOP, _BOTTOM, _WIDTH = 280, 18, 10, 1_000
_BAND = 3  # With the value, the least and the greatest one were fetched.
_TICKS = (1, 2, 5, 10)  # Steps of the vertical axis, each times a power of ten.
_NOWHERE, _UNREAD = "kept nowhere", "archived, not read"


class Point(NamedTuple):
    """The value of a bucket, with the least and the greatest one where these were fetched; None: no data."""

    time: TimeRange
    level: str  # Where it is from; empty: nowhere.
    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """The values of a group."""

    name: str
    points: Sequence[Point]


def lines_of(fetched: Fetched) -> list[Line]:
    """What was fetched as lines, in order of time."""
    starts = sorted({_instant(row) for row in fetched.rows})
    ends = dict(pairwise([*starts, fetched.end]))
    shown = fetched.columns[1 + fetched.keys]

    def point(row: Row) -> Point:
        start, values = _instant(row), [as_float(cell) for cell in row[1 + fetched.keys : -1]]
        return Point(TimeRange(start, ends[start]), str(row[-1] or ""), *values[:_BAND])

    return [
        Line(", ".join("NULL" if value is None else str(value) for value in group) or shown, list(map(point, rows)))
        for group, rows in fetched.series().items()
    ]


def _instant(row: Row) -> int:
    return to_ms(row[0])  # type: ignore[arg-type]


@dataclass(frozen=True)
class Heights:
    """A range of values as the height of a picture."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Heights:
        """The range of some values; around a single one."""
        found = list(values) or [0.0]
        low, high = min(found), max(found)
        more = (abs(low) / 10 or 1.0) if low / 2 == high / 2 else 0.0
        most = sys.float_info.max
        return cls(max(low - more, -most), min(high + more, most))

    def at(self, value: float) -> float:
        """A place in pixels from the top."""
        half = self.low / 2  # The whole range may be infinite.
        share = (value / 2 - half) / (self.high / 2 - half)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)

    def ticks(self) -> list[tuple[float, str]]:
        """A few round values, with their texts."""
        least = self.high / 6 - self.low / 6
        if least < sys.float_info.min:  # Too small to be divided.
            return []
        power = 10.0 ** math.floor(math.log10(least))
        step = next((times * power for times in _TICKS if times * power >= least), 10 * power)
        decimals = max(0, -math.floor(math.log10(step)))

        def text(value: float) -> str:
            return f"{value:,.{decimals}f}" if decimals < 7 and abs(value) < 1e9 else f"{value:.6g}"

        places = range(math.ceil(self.low / step), math.floor(self.high / step) + 1)
        return [(number * step, text(number * step)) for number in places]


def number(value: float | Decimal) -> str:
    """A number as users read it: with all digits of an integer or decimal, six of others."""
    if isinstance(value, Decimal):
        return f"{value:,f}"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if 1e6 <= abs(value) < 1e15 else f"{value:,.6g}"


def picture(fetched: Fetched, lines: Sequence[Line], description: str) -> Markup:
    """The chart of some lines, at most ``MOST_LINES``, with its axes; and where the values are from."""
    scale, found = Scale(TimeRange(fetched.start, fetched.end)), sources(fetched)
    values = (value for line in lines for point in line.points for value in point[2:] if value is not None)
    heights = Heights.of(values)
    ticks = [(heights.at(value), text) for value, text in heights.ticks()]
    borders = [f"{scale.at(source.time.start)}%" for source in found[1:]]
    content = (
        lanes.grid(scale),
        (el("line", x1=0, x2="100%", y1=y, y2=y, class_="grid") for y, _ in ticks),
        (lanes.bar(scale, time, "gone", "", _NOWHERE, 0, _HEIGHT) for time in _nowhere(fetched)),
        (el("line", x1=at, x2=at, y1=0, y2="100%", class_="limit") for at in borders),
        _curves(scale, heights, lines),
        (el("text", text, x=0, dx=4, y=y - 4, class_="tick over") for y, text in ticks),
        _hints(scale, lines),
    )
    drawn = lanes.image(content, _HEIGHT, description)
    rows = (
        lanes.row(fetched.columns[1 + fetched.keys], drawn, more=_names(lines) if fetched.keys else None),
        _read_from(scale, found),
        lanes.row("", lanes.axis(scale)),
    )
    return el("div", lanes.patterns(), rows, class_="lanes", data_start=scale.time.start, data_end=scale.time.end)


def legend(fetched: Fetched) -> Markup:
    """The patterns of where the values are from."""
    found = dict.fromkeys((source.tone, source.kind) for source in sources(fetched))
    items = (el("li", lanes.swatch(tone), kind) for tone, kind in found)
    return el("ul", items, class_="legend", aria_label="Colours and patterns")


def _curves(scale: Scale, heights: Heights, lines: Sequence[Line]) -> Markup:
    """The lines, with gaps where no data is; a value between gaps is a dot. Only a single line has a band."""
    drawn = []
    for index, line in enumerate(lines, 1):
        joined, dots = list[str](), list[str]()
        for run in _runs(line.points):
            places = [(_middle(scale, point), point) for point in run]
            path = "L".join(f"{x} {heights.at(point.value or 0.0)}" for x, point in places)
            (joined if len(run) > 1 else dots).append(f"M{path}")
            if len(lines) == 1 and (area := _band(heights, places)):
                drawn.append(el("path", d=area, class_="band series-1"))
        if joined:
            drawn.append(el("path", d="".join(joined), class_=f"curve series-{index}"))
        if dots:
            drawn.append(el("path", d="".join(f"{dot}h0" for dot in dots), class_=f"dots series-{index}"))
    box = f"0 0 {_WIDTH} {_HEIGHT}"
    return el("svg", drawn, viewBox=box, preserveAspectRatio="none", width="100%", height=_HEIGHT)


def _middle(scale: Scale, point: Point) -> float:
    """The middle of a bucket, where its value stands."""
    return round(scale.at((point.time.start + point.time.end) // 2) * _WIDTH / 100, 2)


def _runs(points: Sequence[Point]) -> Iterator[list[Point]]:
    """Values without a gap between them."""
    run: list[Point] = []
    for point in points:
        if point.value is not None:
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _band(heights: Heights, run: Sequence[tuple[float, Point]]) -> str:
    """The area between the least and the greatest values."""
    known = [(x, point.low, point.high) for x, point in run if point.low is not None and point.high is not None]
    there = [f"{x} {heights.at(high)}" for x, _, high in known]
    back = [f"{x} {heights.at(low)}" for x, low, _ in reversed(known)]
    return f"M{'L'.join([*there, *back])}Z" if known else ""


def _hints(scale: Scale, lines: Sequence[Line]) -> Iterator[Markup]:
    """For each bucket, what is shown on pointing at it: its time, the value of each line, and where they are from."""
    found: dict[TimeRange, list[tuple[str, Point]]] = {}
    for line in lines:
        for point in line.points:
            found.setdefault(point.time, []).append((line.name, point))
    for time, values in sorted(found.items()):
        left, right = scale.at(time.start), scale.at(time.end)
        levels = dict.fromkeys(point.level for _, point in values if point.level)
        told = [f"{words.exact(from_ms(time.start))} UTC", *(_value(name, point) for name, point in values)]
        hint = "\n".join([*told, f"from {', '.join(levels)}"] if levels else told)
        wide = round(right - left, 3)
        yield el("rect", x=f"{left}%", y=0, width=f"{wide}%", height=_HEIGHT, class_="hint", data_tip=hint)


def _value(name: str, point: Point) -> str:
    if point.value is None:
        return f"{name}: no data"
    both = point.low is not None and point.high is not None
    band = f" ({number(point.low or 0.0)} to {number(point.high or 0.0)})" if both else ""
    return f"{name}: {number(point.value)}{band}"


def _names(lines: Sequence[Line]) -> Markup:
    """Which line is which group."""
    sample = el("path", d="M0 4H18")
    items = (
        el("li", el("svg", sample, width=18, height=8, class_=f"curve series-{index}", aria_hidden="true"), line.name)
        for index, line in enumerate(lines, 1)
    )
    return el("ul", items, class_="names", aria_label="Lines")


# Where values are from


class Source(NamedTuple):
    """Where the values of a time range are from."""

    time: TimeRange
    tone: str
    name: str  # On its bar.
    kind: str  # In the legend.
    told: str = ""  # More, on pointing at it.


def sources(fetched: Fetched) -> list[Source]:
    """All of the time range, in order of time."""
    found = [Source(time, "gone", _NOWHERE, _NOWHERE) for time in _nowhere(fetched)]
    found += [Source(time, State.BLOCKED, _UNREAD, _UNREAD, why) for time, why in fetched.unread]
    for part in join_stretches(fetched.stretches, with_rests=True):
        holding = part.holding
        tone = State.COMPUTED if holding.rollup else State.ARCHIVED if holding.archived else State.UP_TO_DATE
        kind = "rollups" if holding.rollup else "archived rows" if holding.archived else "raw rows"
        told = f"1 point per {interval_words(part.interval)}, from {holding.table if holding.rollup else kind}"
        found.append(Source(part.time, tone, holding.name, kind, told))
    return sorted(found)


def _nowhere(fetched: Fetched) -> list[TimeRange]:
    return list(TimeRanges(fetched.gaps) - (time for time, _ in fetched.unread))


def _read_from(scale: Scale, found: Sequence[Source]) -> Markup:
    def bar(source: Source) -> Markup:
        ends = f"{words.moment(source.time.start)} to {words.moment(source.time.end)} UTC"
        told = "\n".join(filter(None, (source.name, ends, source.told)))
        return lanes.bar(scale, source.time, source.tone, source.name, told)

    said = "; ".join(f"{source.name} from {words.moment(source.time.start)}" for source in found)
    content = (lanes.grid(scale), map(bar, found))
    return lanes.row("Read from", lanes.image(content, lanes.ONE_BAR, f"Read from: {said or 'nothing'}"))
