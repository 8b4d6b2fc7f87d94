"""
The lanes of a table as pictures: one for each place where its data is, on one time axis, with the expiry limits of its
policies and the present instant.

They are drawn on the server. Horizontal places are shares of the width, so that they fit any window; patterns and words
say the same as colours, and each picture has a sentence for those who do not see it.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from cratedb_retention.execution.overview.rows import RowLane
from cratedb_retention.model import words
from cratedb_retention.model.overview import CHANGES, Lane, Span, State, Timeline
from cratedb_retention.model.time import DAY_MS, TimeRange, from_ms, later, to_ms
from cratedb_retention.ui.web.html import Child, Markup, el

# How bars are hatched: by which lines.
_HATCHED = {
    "rising": (State.DROP, State.ARCHIVE, State.END, State.ARCHIVED),
    "falling": (State.ARCHIVE, State.NEEDS_ATTENTION, State.BLOCKED),
    "upright": (State.MOVE, State.COMPACT, State.ROLL, State.MOVING, State.COPY),
}
_LINES = {"rising": "M-2 2 2-2M0 8 8 0M6 10 10 6", "falling": "M-2 6 2 10M0 0 8 8M6-2 10 2", "upright": "M4 0V8"}
# Heights in pixels: of a lane's margin, of the gap between bars, and of bars by how many lie below each other.
_MARGIN, _GAP, _HIGH, _LOW = 11, 2, {1: 26, 2: 15}, 10
_FLAG, _AXIS, _GONE_BAR = 18, 22, 14
ONE_BAR = 2 * _MARGIN + _HIGH[1]  # The height of a lane with one bar.
_MOST_MARKS, MOST_SLOTS = 8, 5
# Percent of the width that no bar falls short of; and how many pixels a picture usually has, for an estimate.
_THINNEST, _USUAL = 0.18, 1_000
# A letter in pixels; and the widths of pictures from which a text is shown, see web.css.
_LETTER, _WIDTHS = 6.4, (300, 560, 860, 1_160)
# Steps of the axis: milliseconds, and months. The first with few enough ticks is taken.
_MOST_TICKS = 8
_HOUR_MS = DAY_MS // 24
_SHORT_STEPS = (_HOUR_MS, 3 * _HOUR_MS, 6 * _HOUR_MS, 12 * _HOUR_MS, DAY_MS, 2 * DAY_MS, 7 * DAY_MS)
_LONG_STEPS = (1, 3, 6, 12, 24, 60, 120, 240, 600, 1200)
_GONE = Lane(title="Gone", note="Expired, and kept nowhere.")


@dataclass(frozen=True)
class Scale:
    """A time range as the width of pictures."""

    time: TimeRange

    def at(self, instant: int) -> float:
        """A place in percent of the width, within the picture."""
        start, end = self.time
        return round(100 * (min(max(instant, start), end) - start) / max(end - start, 1), 3)

    def place(self, time: TimeRange) -> tuple[float, float]:
        """Where a time range begins, and its width, which can always be seen; in percent."""
        left, right = self.at(time.start), self.at(time.end)
        wide = max(round(right - left, 3), _THINNEST)
        return min(left, 100 - _THINNEST), wide

    def shows(self, instant: int) -> bool:
        return self.time.start <= instant <= self.time.end


@dataclass(frozen=True)
class Mark:
    """An instant with a name: the present one, or the expiry limit of policies."""

    at: int
    text: str
    now: bool = False

    @property
    def tone(self) -> str:
        return "now" if self.now else "limit"


def marks(found: Timeline) -> list[Mark]:
    """The present instant, and the expiry limits of enabled policies; those at one instant together, latest first."""
    said: dict[int, dict[str, None]] = {}  # Each text once.
    for cutoff in found.cutoffs:
        if cutoff.enabled and cutoff.limit is not None:
            said.setdefault(cutoff.limit, {})[cutoff.words] = None
    limits = [Mark(at, "; ".join(texts)) for at, texts in sorted(said.items(), reverse=True)]
    return [Mark(found.now, "now", now=True), *limits[:_MOST_MARKS]]


def window(found: Timeline) -> TimeRange | None:
    """
    What is drawn unless a user chooses: all that is there, with instants that are not far from it, as these would leave
    no room for the data; None if there is nothing to draw.
    """
    spans = [span.time for lane in found.lanes for span in lane.spans]
    if not spans:
        return None
    start, end = min(time.start for time in spans), max(time.end for time in spans)
    far = max(end - start, 1) // 2
    near = [each.at for each in marks(found) if start - far <= each.at <= end + far]
    start, end = min([start, *near]), max([end, *near])
    # Before the oldest data there is room for what is gone.
    return TimeRange(start - max((end - start) // 12, 1), padded(TimeRange(start, end)).end)


def changing(found: Timeline) -> TimeRange | None:
    """What the next run changes; None if that is nothing."""
    times = [span.time for lane in found.lanes for span in lane.spans if span.state in CHANGES.values()]
    return padded(TimeRange(min(t.start for t in times), max(t.end for t in times))) if times else None


def padded(time: TimeRange) -> TimeRange:
    more = max(1, (time.end - time.start) // 40)
    return TimeRange(time.start - more, time.end + more)


def slots(lane: Lane) -> list[tuple[Span, int]]:
    """Each span with its line within the lane, so that none hides another."""
    ends: list[int] = []
    found = []
    for span in lane.spans:
        slot = next((i for i, end in enumerate(ends) if end <= span.time.start), len(ends))
        slot = min(slot, MOST_SLOTS - 1)
        ends[slot : slot + 1] = [max([span.time.end, *ends[slot : slot + 1]])]
        found.append((span, slot))
    return found


def picture(
    found: Timeline,
    time: TimeRange,
    chosen: TimeRange | None,
    tell: Callable[[Lane, Span], str],
    describe: Callable[[Lane], str],
    bare: bool = False,
) -> Markup:
    """
    All lanes, with the axis.

    :param time: What is drawn; ``chosen``: a part of it that the user chose.
    :param tell: What is shown on pointing at a span.
    :param describe: A lane in a sentence.
    :param bare: Without the patterns, which the page has elsewhere.
    """
    scale = Scale(time)
    shown = [mark for mark in marks(found) if scale.shows(mark.at)]
    behind, before = [*grid(scale), *_band(scale, chosen)], [_line(scale, mark) for mark in shown]
    rows = [row("", _flags(scale, shown))]
    for lane in found.lanes:
        bars, height = _bars(scale, lane, tell)
        rows.append(row(lane.title, image([behind, bars, before], height, describe(lane)), lane.note))
    rows += [*_gone(scale, found, behind, before), row("", axis(scale))]
    return el("div", None if bare else patterns(), rows, class_="lanes", data_start=time.start, data_end=time.end)


def patterns() -> Markup:
    """The pattern of each state, for pictures on the same page."""
    made = []
    for state in State:
        lines = "".join(_LINES[name] for name, states in _HATCHED.items() if state in states)
        made.append(_pattern(f"is-{state}", el("path", d=lines, class_="hatch") if lines else None))
    made.append(_pattern("is-gone", el("circle", cx=4, cy=4, r=0.9, class_="dot")))
    return el("svg", el("defs", made), class_="patterns", width=0, height=0, aria_hidden="true")


def swatch(state: str) -> Markup:
    """A sample of a pattern, for legends."""
    return el("svg", _box(f"is-{state}", x=0.5, y=0.5, width=23, height=11), width=24, height=12, aria_hidden="true")


def _pattern(name: str, drawn: Child) -> Markup:
    base = el("rect", width=8, height=8, class_="base")
    return el("pattern", base, drawn, id=name, class_=name, width=8, height=8, patternUnits="userSpaceOnUse")


def _box(name: str, **place: float | str) -> Markup:
    return el("rect", **place, rx=2, fill=f"url(#{name})", class_=f"bar {name}")


def row(title: str, drawn: Markup, note: str = "", more: Child = None) -> Markup:
    """A lane: its name, a note and more at the left, a picture beside them."""
    named = [el("span", title, class_="lane-title"), el("small", note) if note else None, more] if title else None
    return el("div", el("div", named, class_="lane-name"), el("div", drawn, class_="track"), class_="lane")


def image(content: Child, height: int, description: str) -> Markup:
    """A picture, which a sentence describes."""
    return el("svg", content, width="100%", height=height, role="img", aria_label=description)


def _bars(scale: Scale, lane: Lane, tell: Callable[[Lane, Span], str]) -> tuple[list[Markup], int]:
    """The bars of a lane, and its height."""
    placed = [(span, slot) for span, slot in slots(lane) if span.time.overlaps(scale.time)]
    count = max((slot for _, slot in placed), default=0) + 1
    high = _HIGH.get(count, _LOW)
    bars = [
        bar(scale, span.time, span.state, span.state.short, tell(lane, span), _MARGIN + slot * (high + _GAP), high)
        for span, slot in placed
    ]
    return bars, 2 * _MARGIN + count * high + (count - 1) * _GAP


def bar(
    scale: Scale, time: TimeRange, tone: str, text: str, told: str, top: int = _MARGIN, height: int = _HIGH[1]
) -> Markup:
    """A bar with a text, where there is room for it; and what is shown on pointing at it."""
    left, wide = scale.place(time)
    drawn = _box(f"is-{tone}", x=f"{left}%", y=top, width=f"{wide}%", height=height)
    shown = _shown_from(text, wide) if text and height > _LOW else None
    named = el("text", text, x=f"{left}%", dx=6, y=top + height / 2 + 4, class_=shown) if shown else None
    return el("g", drawn, named, data_tip=told)


def _shown_from(text: str, share: float) -> str | None:
    """From which width of the picture on a text fits into a share of it, in percent, as a class; None: from none."""
    needed = (len(text) * _LETTER + 14) * 100 / share
    return next((f"from-{width}" for width in _WIDTHS if needed <= width), None)


def _gone(scale: Scale, found: Timeline, behind: Child, before: Child) -> list[Markup]:
    times = [time & scale.time for time in found.gone if time.overlaps(scale.time)]
    if not times:
        return []
    places = map(scale.place, times)
    bars = [_box("is-gone", x=f"{left}%", y=_MARGIN, width=f"{wide}%", height=_GONE_BAR) for left, wide in places]
    said = f"{_GONE.title}, until {words.moment(times[-1].end)}: {_GONE.note}"
    return [row(_GONE.title, image([behind, bars, before], _GONE_BAR + 2 * _MARGIN, said), _GONE.note)]


def _line(scale: Scale, mark: Mark) -> Markup:
    at = f"{scale.at(mark.at)}%"
    return el("line", x1=at, x2=at, y1=0, y2="100%", class_=mark.tone)


def grid(scale: Scale) -> Iterator[Markup]:
    """The lines of the axis, behind everything else."""
    for at, _ in ticks(scale.time):
        place = f"{scale.at(at)}%"
        yield el("line", x1=place, x2=place, y1=0, y2="100%", class_="grid")


def _band(scale: Scale, chosen: TimeRange | None) -> Iterator[Markup]:
    if chosen is not None and chosen.overlaps(scale.time):
        left, wide = scale.place(chosen)
        yield el("rect", x=f"{left}%", width=f"{wide}%", y=0, height="100%", class_="chosen")


def _flags(scale: Scale, shown: Sequence[Mark]) -> Markup:
    """The name of each mark beside it, on a line of its own where names would cover each other."""
    lines: list[list[tuple[float, float]]] = []
    drawn, names = [], []  # Names stand before the lines of others.
    for mark in shown:
        at, wide = scale.at(mark.at), (len(mark.text) * _LETTER + 16) * 100 / _USUAL
        right = at > 50
        low, high = (at - wide, at) if right else (at, at + wide)
        free = (i for i, taken in enumerate(lines) if all(high <= start or end <= low for start, end in taken))
        line = next(free, len(lines))
        if line == len(lines):
            lines.append([])
        lines[line].append((low, high))
        y, dx, anchor = line * _FLAG + 13, -6 if right else 6, "end" if right else "start"
        drawn.append(el("line", x1=f"{at}%", x2=f"{at}%", y1=y - 9, y2="100%", class_=mark.tone))
        names.append(el("text", mark.text, x=f"{at}%", dx=dx, y=y, text_anchor=anchor, class_=f"flag {mark.tone}"))
    return el("svg", drawn, names, width="100%", height=max(len(lines), 1) * _FLAG, aria_hidden="true")


def axis(scale: Scale) -> Markup:
    """The names of instants, below all lanes."""
    texts = []
    for number, (at, text) in enumerate(ticks(scale.time)):
        place = scale.at(at)
        anchor = "start" if place < 4 else "end" if place > 96 else "middle"
        tone = "tick odd" if number % 2 else "tick"
        texts.append(el("text", text, x=f"{place}%", y=15, text_anchor=anchor, class_=tone))
    return el("svg", texts, width="100%", height=_AXIS, aria_hidden="true")


def ticks(time: TimeRange) -> list[tuple[int, str]]:
    """Instants of the axis with their names, a few of them; none where there is no calendar."""
    try:
        first, last = from_ms(time.start), from_ms(time.end)
    except OverflowError:
        return []
    for step in _SHORT_STEPS:
        if (time.end - time.start) // step <= _MOST_TICKS:
            start = -(-time.start // step) * step
            texts = [(at, words.moment(at)) for at in range(start, time.end + 1, step)]
            # After the first one, the date stands at midnight only.
            return [*texts[:1], *((at, text.partition(" ")[2] or text) for at, text in texts[1:])]
    months = (last.year - first.year) * 12 + last.month - first.month
    length = next((each for each in _LONG_STEPS if months // each <= _MOST_TICKS), _LONG_STEPS[-1])
    return list(_months(first, last, length))


def _months(first: dt.datetime, last: dt.datetime, step: int) -> Iterator[tuple[int, str]]:
    """The first instants of months, each with its name: ``2024-07``, or ``2024`` if there are only years."""
    number = -(-(first.year * 12 + first.month - 1) // step) * step
    with suppress(ValueError):  # There is no calendar after the year 9999.
        moment = dt.datetime(number // 12, number % 12 + 1, 1, tzinfo=dt.UTC)
        while moment <= last:
            if moment >= first:
                yield to_ms(moment), f"{moment:%Y}" if step >= 12 else f"{moment:%Y-%m}"
            moment = later(moment, step)


# Small lanes: ages on a logarithmic scale, so that hours and years can be compared.
_AGES = (
    (_HOUR_MS, "1h"),
    (6 * _HOUR_MS, "6h"),
    (DAY_MS, "1d"),
    (7 * DAY_MS, "1w"),
    (30 * DAY_MS, "1mo"),
    (91 * DAY_MS, "3mo"),
    (365 * DAY_MS, "1y"),
    (2 * 365 * DAY_MS, "2y"),
    (5 * 365 * DAY_MS, "5y"),
    (10 * 365 * DAY_MS, "10y"),
    (20 * 365 * DAY_MS, "20y"),
)
_APART = 13  # Percent of the width between names of ages.
_SMALL, _DATA, _LEVEL, _MOST_LEVELS = 28, 10, 4, 3  # Heights in pixels, and a number.
_NARROWEST = 0.8


@dataclass(frozen=True)
class Ages:
    """Ages up to the longest as the width of small lanes, with now at the right."""

    now: int
    longest: int

    @classmethod
    def of(cls, now: int, instants: Iterable[int]) -> Ages:
        """Those of some instants, within limits: a few strange ones must not leave the others without room."""
        oldest = max((now - instant for instant in instants), default=0)
        return cls(now, next((age for age, _ in _AGES if age >= max(oldest, DAY_MS)), _AGES[-1][0]))

    def at(self, instant: int) -> float:
        """A place in percent of the width."""
        near = max(self.longest // 200, _HOUR_MS)
        age = min(max(self.now - instant, 0), self.longest)
        return round(100 - 100 * math.log1p(age / near) / math.log1p(self.longest / near), 2)

    def place(self, time: TimeRange) -> tuple[float, float]:
        """Where a time range begins, and its width, which can always be seen; in percent."""
        left, right = self.at(time.start), self.at(time.end)
        return min(left, 100 - _NARROWEST), max(round(right - left, 2), _NARROWEST)

    def ticks(self) -> list[tuple[float, str]]:
        """Some ages with their places, youngest first."""
        found = [(100.0, "now")]
        for age, name in _AGES:
            place = self.at(self.now - age)
            if age <= self.longest and found[-1][0] - place >= _APART:
                found.append((place, name))
        return found


def small(ages: Ages, lanes: Sequence[RowLane], limits: Iterable[int], told: str) -> Markup:
    """
    The lanes of a table in the height of a row: its data, below that levels and archives, and expiry limits.

    :param told: What is shown on pointing at it, a line each.
    """
    count = min(max(len(lanes) - 1, 0), _MOST_LEVELS)
    top = (_SMALL - _DATA - count * (_LEVEL + 1)) // 2
    drawn = [el("line", x1=f"{at}%", x2=f"{at}%", y1=0, y2="100%", class_="grid") for at, _ in ages.ticks()[1:]]
    for number, lane in enumerate(lanes[: count + 1]):
        y, high = (top, _DATA) if number == 0 else (top + _DATA + 2 + (number - 1) * (_LEVEL + 1), _LEVEL)
        whole = [(lane.state, lane.time)] if lane.time else []
        for state, time in (*whole, *lane.bars):
            left, wide = ages.place(time & lane.time if lane.time else time)
            drawn.append(_box(f"is-{state}", x=f"{left}%", y=y, width=f"{wide}%", height=high))
    for limit in limits if any(lane.time or lane.bars for lane in lanes) else ():
        at = f"{ages.at(limit)}%"
        drawn.append(el("line", x1=at, x2=at, y1=top - 3, y2=top + _DATA + 3, class_="limit"))
    said = told.replace("\n", "; ")
    return el("svg", drawn, width="100%", height=_SMALL, role="img", aria_label=said, class_="mini", data_tip=told)


def age_axis(ages: Ages) -> Markup:
    """The axis above small lanes."""
    texts = []
    for place, name in ages.ticks():
        anchor = "end" if place > 95 else "start" if place < 5 else "middle"
        texts.append(el("text", name, x=f"{place}%", y=12, text_anchor=anchor))
    return el("svg", texts, width="100%", height=16, aria_hidden="true", class_="ages")
