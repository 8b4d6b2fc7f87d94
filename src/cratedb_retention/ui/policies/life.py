"""
The life of data by policies, drawn: a line with a stage for each place where data is as it ages, one for each rollup
below it, and the ages at which they end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cratedb_retention.model.duration import FOREVER, Duration
from cratedb_retention.model.policies.lifecycle import Lifecycle, Stage, Temperature
from cratedb_retention.model.words import capitalized
from cratedb_retention.ui.web.html import Child, Markup, el

# Each stage, with the state of lanes whose colours and pattern it has, and how it is called.
_LOOKS = {
    Temperature.HOT: ("up-to-date", "as written"),
    Temperature.WARM: ("compact", "warm"),
    Temperature.COLD: ("archived", "archive"),
    Temperature.GONE: ("gone", "gone"),
}
_HIGH, _APART = 28, 6  # The height of a line in pixels; percent of the width between two ages of the axis.
_HOUR = 3600


@dataclass(frozen=True)
class _Ages:
    """Ages as places on a line, in percent of its width; the end of the line is what has no end."""

    ends: Sequence[Duration]  # The ages that have an end, each once, shortest first.

    @classmethod
    def of(cls, ages: Iterable[Duration]) -> _Ages:
        known = {age.approximate_seconds(): age for age in ages if not age.forever}
        return cls([known[seconds] for seconds in sorted(known)])

    def at(self, age: Duration) -> float:
        """Half by their order, so that each stage has room for its name, and half by the logarithm of their length."""
        seconds, count = age.approximate_seconds(), len(self.ends)
        if age.forever or not count:
            return 100.0 if age.forever else 0.0
        order = sum(0 < end.approximate_seconds() <= seconds for end in self.ends)
        length = math.log1p(seconds / _HOUR) / math.log1p(self.ends[-1].approximate_seconds() / _HOUR)
        return round(50 * (order + length * count) / (count + 1), 2)


def draw(found: Lifecycle) -> Markup:
    """A lifecycle as a picture, and in a line. The page has the patterns, see :mod:`cratedb_retention.ui.web.lanes`."""
    kept = [level.retention_period for level in found.rollups]
    ages = _Ages.of([*(stage.until for stage in found.stages), *kept])
    rows = [_lane("Data", map(_Bars(ages).stage, _lasting(found.stages)))]
    for level in found.rollups:
        rows.append(_lane(f"Rollup {level.interval}", _Bars(ages).level(level.retention_period)))
    picture = el("div", rows, _axis(ages), class_="life", role="img", aria_label=found.line)
    return el("div", picture, el("p", found.line, class_="note"))


def _lasting(stages: Iterable[Stage]) -> Iterator[Stage]:
    """The stages that last; by its size alone, data leaves its table at no certain age."""
    return (stage for stage in stages if stage.since.approximate_seconds() < stage.until.approximate_seconds())


@dataclass(frozen=True)
class _Bars:
    ages: _Ages

    def stage(self, stage: Stage) -> Markup:
        tone, name = _LOOKS[stage.temperature]
        how = f": {stage.how}" if stage.how else ""
        budget = f", or above {stage.budget}" if stage.budget else ""
        return self._bar(stage.since, stage.until, tone, f"{name}{how}{budget}")

    def level(self, kept: Duration) -> Iterator[Markup]:
        yield self._bar(Duration(), kept, "computed", f"kept {'forever' if kept.forever else f'for {kept}'}")
        if not kept.forever:
            yield self._bar(kept, FOREVER, *_LOOKS[Temperature.GONE])

    def _bar(self, since: Duration, until: Duration, tone: str, text: str) -> Markup:
        left, right = self.ages.at(since), self.ages.at(until)
        box = el("rect", width="100%", height="100%", rx=3, fill=f"url(#is-{tone})", class_=f"bar is-{tone}")
        name = el("text", text, x=8, y=_HIGH / 2 + 4)
        told = f"{capitalized(text)}\nFrom the age of {since} {'on' if until.forever else f'to {until}'}"
        # A picture of its own, so that its name ends where it does.
        return el("svg", el("g", box, name, data_tip=told), x=f"{left}%", width=f"{right - left:.2f}%", height=_HIGH)


def _lane(title: str, bars: Iterable[Markup]) -> Markup:
    drawn = el("svg", list[Child](bars), width="100%", height=_HIGH, aria_hidden="true")
    return el("div", el("span", title, class_="lane-title"), drawn, class_="life-lane")


def _axis(ages: _Ages) -> Markup:
    texts, last = [el("text", "0", x="0", y=12, class_="tick")], 0.0
    for age in ages.ends:
        place = ages.at(age)
        if place - last >= _APART:
            texts.append(el("text", str(age), x=f"{place}%", y=12, text_anchor="middle", class_="tick"))
            last = place
    drawn = el("svg", texts, width="100%", height=16, aria_hidden="true")
    return el("div", el("span", "Age", class_="lane-title"), drawn, class_="life-lane")
