"""
The algebra of aggregates. What is kept of the values of a metric is a *state*, which has parts; states of other rows,
series and time ranges are merged part by part. Each answer is read from one by a formula.

A level keeps a column for each part, raw rows are states of one value each. So an aggregate is stated here and nowhere
else, with the parts that it keeps and the formula by which it is read. Engines know how a part is found in raw rows and
merged in SQL; they meet no aggregate, only parts and formulas.
"""

from __future__ import annotations

import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, StrEnum, auto, member
from functools import lru_cache
from typing import Any, Self

# A value is found again from its bin with at most this relative error (DDSketch, VLDB 2019).
RELATIVE_ERROR = 0.01
GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_MORE_PLACES = 6  # that an average of decimals has
Number = int | float | Decimal | None  # values and sums of decimal columns are exact
Bins = Counter[tuple[int, int]]  # counts by sign and number of the bin; zero is bin 0 of sign 0


class Kind(Enum):
    """The type of a part: that of the metric, one for sums of its values (exact for decimals), a count, a double."""

    VALUE = auto()
    SUM = auto()
    COUNT = auto()
    DOUBLE = auto()
    BINS = auto()


class Merge(Enum):
    """How parts of two states become one; the earlier and the later one are told apart."""

    LEAST = member(min)
    GREATEST = member(max)
    ADD = member(operator.add)
    EARLIEST = member(lambda one, other: one)
    LATEST = member(lambda one, other: other)
    SPREAD = member(lambda one, other: one + other)  # and what the distance of the means adds


class Part(StrEnum):
    """A part of a state: a column of a level, such as ``temperature_min``. Bins are rows of a table of their own."""

    MIN = "min", Kind.VALUE, Merge.LEAST
    MAX = "max", Kind.VALUE, Merge.GREATEST
    SUM = "sum", Kind.SUM, Merge.ADD
    COUNT = "count", Kind.COUNT, Merge.ADD
    NONFINITE = "nonfinite", Kind.COUNT, Merge.ADD
    FIRST = "first", Kind.VALUE, Merge.EARLIEST
    LAST = "last", Kind.VALUE, Merge.LATEST
    # The sum of squared distances from the mean.
    M2 = "m2", Kind.DOUBLE, Merge.SPREAD, ("sum", "count")
    # What a counter grew by since the value before, which may be in an earlier bucket.
    INCREASE = "increase", Kind.DOUBLE, Merge.ADD, ("first", "last")
    BINS = "bins", Kind.BINS, Merge.ADD

    kind: Kind
    merge: Merge
    needs: tuple[str, ...]  # parts without which it can't be merged or continued

    # Defaults, since a call by the name alone finds a member.
    def __new__(cls, name: str, kind: Kind = Kind.VALUE, merge: Merge = Merge.ADD, needs: tuple[str, ...] = ()) -> Self:
        part = str.__new__(cls, name)
        part._value_ = name
        part.kind, part.merge, part.needs = kind, merge, needs
        return part

    @property
    def additive(self) -> bool:
        """Whether the rest of a bucket has the whole less the other part: of a sum, but not of the least value."""
        return self.merge is Merge.ADD


@dataclass(frozen=True, slots=True)
class Formula:
    """How an answer is read from parts of a state, in Python by a :class:`Reader`, in SQL by the like of an engine."""

    parts: tuple[Part, ...]
    read: Callable[..., Any]
    kind: Kind = Kind.DOUBLE  # The type of the answer


def _itself(part: Part) -> Formula:
    return Formula((part,), lambda of, value: value, part.kind)


def _quantile(quantile: float) -> Formula:
    return Formula((Part.BINS,), lambda of, bins: of.quantile(bins, quantile))


_DEVIATION = Formula((Part.M2, Part.COUNT), lambda of, m2, n: of.root(of.quotient(m2, n)))
_SPAN = Formula((Part.MAX, Part.MIN), lambda of, most, least: of.difference(most, least), Kind.SUM)


class Aggregate(StrEnum):
    """What a policy can have kept of a metric."""

    MIN = "min", (Part.MIN,), _itself(Part.MIN), "least (min)"
    MAX = "max", (Part.MAX,), _itself(Part.MAX), "greatest (max)"
    SUM = "sum", (Part.SUM,), _itself(Part.SUM)
    COUNT = "count", (Part.COUNT,), _itself(Part.COUNT)
    NONFINITE = "nonfinite", (Part.NONFINITE,), _itself(Part.NONFINITE)
    FIRST = "first", (Part.FIRST,), _itself(Part.FIRST)
    LAST = "last", (Part.LAST,), _itself(Part.LAST)
    AVG = "avg", (), Formula((Part.SUM, Part.COUNT), lambda of, total, n: of.quotient(total, n)), "average"
    STDDEV = "stddev", (Part.M2,), _DEVIATION, "standard deviation (of the population)"
    INCREASE = "increase", (Part.INCREASE,), _itself(Part.INCREASE)
    PERCENTILES = "percentiles", (Part.BINS,), None
    MEDIAN = "median", (), _quantile(0.5)
    RANGE = "range", (), _SPAN, "range (max less min)"

    keeps: tuple[Part, ...]  # what it adds to a state, if what its formula reads is not kept already
    formula: Formula | None  # None if it is read by other names (``p95``)
    words: str  # what it is called on pages

    def __new__(cls, name: str, keeps: tuple[Part, ...] = (), formula: Formula | None = None, words: str = "") -> Self:
        aggregate = str.__new__(cls, name)
        aggregate._value_ = name
        aggregate.keeps, aggregate.formula, aggregate.words = keeps, formula, words or name
        return aggregate

    @property
    def kind(self) -> Kind:
        return self.formula.kind if self.formula else Kind.BINS

    @property
    def derived(self) -> bool:
        """Whether a level has a column of it that follows from those of its parts."""
        return self.formula is not None and self.keeps != self.formula.parts and not self.binned

    @property
    def binned(self) -> bool:
        """Whether it is read from a distribution, and no level has a column of it."""
        return self.formula is not None and Part.BINS in self.formula.parts

    @property
    def needs(self) -> set[Aggregate]:
        """The aggregates that keep what it needs."""
        read = self.formula.parts if self.formula else ()
        needed = {*read, *(Part(name) for part in (*read, *self.keeps) for name in part.needs)}
        return {KEEPERS[part] for part in needed} - {self}


KEEPERS: Mapping[Part, Aggregate] = {part: aggregate for aggregate in Aggregate for part in aggregate.keeps}
# What gauges and counters get by default.
GAUGE = (Aggregate.MIN, Aggregate.MAX, Aggregate.SUM, Aggregate.COUNT, Aggregate.FIRST, Aggregate.LAST, Aggregate.AVG)
COUNTER = (Aggregate.FIRST, Aggregate.LAST, Aggregate.COUNT, Aggregate.INCREASE)
# Answers that no level keeps by these names, beside p0 to p100.
_RATE = {"rate": Formula((Part.INCREASE,), lambda of, increase: of.per_second(increase))}
ANSWERS: Mapping[str, Formula] = {str(a): a.formula for a in Aggregate if a.formula} | _RATE
PERCENTILES = ("p50", "p95", "p99")
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?|100)")


@lru_cache(maxsize=256)
def find_formula(name: str) -> Formula | None:
    """How ``avg``, ``rate`` or ``p99.9`` is read; None if there is no such answer."""
    percentile = _PERCENTILE.fullmatch(name)
    return _quantile(float(percentile[1]) / 100) if percentile else ANSWERS.get(name)


def with_needed(aggregates: Iterable[Aggregate]) -> tuple[Aggregate, ...]:
    """Some aggregates with all that they need, in their order."""
    wanted = {found for aggregate in aggregates for found in (aggregate, *aggregate.needs)}
    return tuple(aggregate for aggregate in Aggregate if aggregate in wanted)


State = dict[Part, Any]  # what is known of a metric in one bucket; a part that is not there is unknown


def merged(earlier: State, later: State) -> State:
    """The state of both; squared distances from the mean are combined by Chan's formula."""
    found = {**earlier, **{part: value for part, value in later.items() if value is not None}}
    for part in earlier.keys() & later.keys():
        one, other = earlier[part], later[part]
        if one is not None and other is not None:
            found[part] = part.merge.value(one, other)
            if part.merge is Merge.SPREAD:
                found[part] += _between(earlier, later)
    return found


def _between(one: State, other: State) -> float:
    """What the distance of two means adds to the squared distances (Chan, Golub, LeVeque 1979)."""
    counts = [known.get(Part.COUNT) or 0 for known in (one, other)]
    if not all(counts):
        return 0.0
    means = [float(known.get(Part.SUM) or 0.0) / n for known, n in zip((one, other), counts, strict=True)]
    weight: float = counts[0] * counts[1] / sum(counts)
    return (means[1] - means[0]) ** 2 * weight


def rest_of(whole: State, part: State, rows: int) -> State | None:
    """The rest of a bucket, of a number of rows, without one part of the bucket; None if the two do not add up."""
    rest: State = {}
    count = (whole.get(Part.COUNT) or 0) - (part.get(Part.COUNT) or 0)
    sound = 0 <= count <= rows
    for kept, value in whole.items():
        known = part.get(kept)
        if kept is Part.BINS:
            bins: Bins = Counter(value)
            bins.subtract(known or {})
            sound &= min(bins.values(), default=0) >= 0
            rest[kept] = +bins
        elif kept.additive and (count > 0 or kept is Part.NONFINITE):
            left = value if known is None else (value or 0) - known
            sound &= math.isfinite(known or 0)
            if kept is Part.INCREASE and known is not None:
                # A counter never falls, but for rounding.
                sound &= left >= 0 or math.isclose(value or 0, known)
                left = max(left, 0.0)
            rest[kept] = left
        elif kept is Part.COUNT and value is not None:
            rest[kept] = 0
    return rest if sound and not (part.get(Part.BINS) and Part.BINS not in whole) else None


@dataclass(frozen=True, slots=True)
class Reader:
    """Formulas in Python."""

    seconds: float  # the length of the bucket that has passed

    def read(self, formula: Formula, state: State) -> Number:
        values = [state.get(part) for part in formula.parts]
        found: Number = None if values[0] is None else formula.read(self, *values)
        return found

    def difference(self, one: Any, other: Any) -> Any:
        return None if one is None or other is None else one - other

    def quotient(self, total: Any, count: Any) -> Any:
        return divided(total, count)

    def root(self, value: Any) -> Any:
        """Rounding may have left less than nothing."""
        return None if value is None else math.sqrt(max(float(value), 0.0))

    def per_second(self, value: Any) -> Any:
        return float(value) / self.seconds if self.seconds > 0 else None

    def quantile(self, bins: Bins, quantile: float) -> Any:
        """At most 1 % away from the true value."""
        rank = quantile * (bins.total() - 1)
        passed = 0
        # Of negative values those with the largest bins are the least.
        for sign, index in sorted(bins, key=lambda key: (key[0], key[0] * key[1])):
            passed += bins[sign, index]
            if passed > rank:
                # The middle of the bin; by logarithms, since the end of the last one is more than a double can hold.
                return sign * math.exp(index * math.log(GAMMA) + math.log(2 / (GAMMA + 1)))
        return None


def divided(total: Any, count: Any) -> Number:
    """A part of a number; that of a decimal one is rounded some places behind its last one."""
    if total is None or not count:
        return None
    part: float | Decimal = total / count
    if isinstance(part, Decimal) and part.is_finite():
        rounded = part.quantize(Decimal(1).scaleb(int(total.as_tuple().exponent) - _MORE_PLACES))
        return part if part == rounded else rounded
    return part
