"""
The algebra of aggregates. A *state* summarizes the values of a metric, and has parts. States of several rows, series
and time ranges are merged part by part. Formulas compute answers from states.

A level has a column for each part; a raw row is a state of one value. An aggregate is defined only here, by the parts
that it stores and the formula that reads it. Engines compute and merge parts in SQL; they know parts and formulas, but
no aggregates.
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

# The maximum relative error of a value that is computed from its bin (DDSketch, VLDB 2019).
RELATIVE_ERROR = 0.01
GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_MORE_PLACES = 6  # additional decimal places of an average of decimals
Number = int | float | Decimal | None  # values and sums of decimal columns are exact
Bins = Counter[tuple[int, int]]  # counts by sign and index of the bin; zero is bin 0 of sign 0


class Kind(Enum):
    """The type of a part: that of the metric, that of its sums (exact for decimals), a count, a double, or bins."""

    VALUE = auto()
    SUM = auto()
    COUNT = auto()
    DOUBLE = auto()
    BINS = auto()


class Merge(Enum):
    """How a part of two states is merged, given the earlier and the later one."""

    LEAST = member(min)
    GREATEST = member(max)
    ADD = member(operator.add)
    EARLIEST = member(lambda one, other: one)
    LATEST = member(lambda one, other: other)
    SPREAD = member(lambda one, other: one + other)  # plus a term for the distance of the means


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
    # The increase of a counter since the previous value, which may be in an earlier bucket.
    INCREASE = "increase", Kind.DOUBLE, Merge.ADD, ("first", "last")
    BINS = "bins", Kind.BINS, Merge.ADD

    kind: Kind
    merge: Merge
    needs: tuple[str, ...]  # parts that are required to merge or continue it

    # The defaults allow a call with the name alone, which returns the member.
    def __new__(cls, name: str, kind: Kind = Kind.VALUE, merge: Merge = Merge.ADD, needs: tuple[str, ...] = ()) -> Self:
        part = str.__new__(cls, name)
        part._value_ = name
        part.kind, part.merge, part.needs = kind, merge, needs
        return part

    @property
    def additive(self) -> bool:
        """Whether the rest of a bucket is the whole less the other part: true for sums, but not for minima."""
        return self.merge is Merge.ADD


@dataclass(frozen=True, slots=True)
class Formula:
    """Computes an answer from parts of a state, in Python with a :class:`Reader`, in SQL with that of an engine."""

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
    """The aggregates of a metric that a policy can choose."""

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

    keeps: tuple[Part, ...]  # the parts that it adds to a state, beside those of other aggregates that it needs
    formula: Formula | None  # None if it is read by other names (``p95``)
    words: str  # its label on pages

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
        """Whether a level has a column for it that is computed from the columns of its parts."""
        return self.formula is not None and self.keeps != self.formula.parts and not self.binned

    @property
    def binned(self) -> bool:
        """Whether it is read from a distribution, so that no level has a column for it."""
        return self.formula is not None and Part.BINS in self.formula.parts

    @property
    def needs(self) -> set[Aggregate]:
        """The other aggregates whose parts it needs."""
        read = self.formula.parts if self.formula else ()
        needed = {*read, *(Part(name) for part in (*read, *self.keeps) for name in part.needs)}
        return {KEEPERS[part] for part in needed} - {self}


KEEPERS: Mapping[Part, Aggregate] = {part: aggregate for aggregate in Aggregate for part in aggregate.keeps}
# The default aggregates of gauges and counters.
GAUGE = (Aggregate.MIN, Aggregate.MAX, Aggregate.SUM, Aggregate.COUNT, Aggregate.FIRST, Aggregate.LAST, Aggregate.AVG)
COUNTER = (Aggregate.FIRST, Aggregate.LAST, Aggregate.COUNT, Aggregate.INCREASE)
# Answers that are not aggregates of a level, beside p0 to p100.
_RATE = {"rate": Formula((Part.INCREASE,), lambda of, increase: of.per_second(increase))}
ANSWERS: Mapping[str, Formula] = {str(a): a.formula for a in Aggregate if a.formula} | _RATE
PERCENTILES = ("p50", "p95", "p99")
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?|100)")


@lru_cache(maxsize=256)
def find_formula(name: str) -> Formula | None:
    """The formula of ``avg``, ``rate`` or ``p99.9``; None if there is no such answer."""
    percentile = _PERCENTILE.fullmatch(name)
    return _quantile(float(percentile[1]) / 100) if percentile else ANSWERS.get(name)


def with_needed(aggregates: Iterable[Aggregate]) -> tuple[Aggregate, ...]:
    """Aggregates with those that they need, in the order of the enum."""
    wanted = {found for aggregate in aggregates for found in (aggregate, *aggregate.needs)}
    return tuple(aggregate for aggregate in Aggregate if aggregate in wanted)


State = dict[Part, Any]  # the state of a metric in one bucket; missing parts are unknown


def merged(earlier: State, later: State) -> State:
    """Merge two states; squared distances from the mean are combined by Chan's formula."""
    found = {**earlier, **{part: value for part, value in later.items() if value is not None}}
    for part in earlier.keys() & later.keys():
        one, other = earlier[part], later[part]
        if one is not None and other is not None:
            found[part] = part.merge.value(one, other)
            if part.merge is Merge.SPREAD:
                found[part] += _between(earlier, later)
    return found


def _between(one: State, other: State) -> float:
    """The term of the squared distances for the distance of two means (Chan, Golub, LeVeque 1979)."""
    counts = [known.get(Part.COUNT) or 0 for known in (one, other)]
    if not all(counts):
        return 0.0
    means = [float(known.get(Part.SUM) or 0.0) / n for known, n in zip((one, other), counts, strict=True)]
    weight: float = counts[0] * counts[1] / sum(counts)
    return (means[1] - means[0]) ** 2 * weight


def rest_of(whole: State, part: State, rows: int) -> State | None:
    """Subtract a part of a bucket from the whole, with the number of rows of the rest; None if inconsistent."""
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
                # A counter never decreases, except by rounding.
                sound &= left >= 0 or math.isclose(value or 0, known)
                left = max(left, 0.0)
            rest[kept] = left
        elif kept is Part.COUNT and value is not None:
            rest[kept] = 0
    return rest if sound and not (part.get(Part.BINS) and Part.BINS not in whole) else None


@dataclass(frozen=True, slots=True)
class Reader:
    """Evaluates formulas in Python."""

    seconds: float  # the elapsed length of the bucket

    def read(self, formula: Formula, state: State) -> Number:
        values = [state.get(part) for part in formula.parts]
        found: Number = None if values[0] is None else formula.read(self, *values)
        return found

    def difference(self, one: Any, other: Any) -> Any:
        return None if one is None or other is None else one - other

    def quotient(self, total: Any, count: Any) -> Any:
        return divided(total, count)

    def root(self, value: Any) -> Any:
        """The square root of a value that may be slightly negative by rounding."""
        return None if value is None else math.sqrt(max(float(value), 0.0))

    def per_second(self, value: Any) -> Any:
        return float(value) / self.seconds if self.seconds > 0 else None

    def quantile(self, bins: Bins, quantile: float) -> Any:
        """A quantile, with a relative error of at most 1 %."""
        rank = quantile * (bins.total() - 1)
        passed = 0
        # The smallest negative values have the largest bins.
        for sign, index in sorted(bins, key=lambda key: (key[0], key[0] * key[1])):
            passed += bins[sign, index]
            if passed > rank:
                # The middle of the bin; by logarithms, since the end of the last bin exceeds a double.
                return sign * math.exp(index * math.log(GAMMA) + math.log(2 / (GAMMA + 1)))
        return None


def divided(total: Any, count: Any) -> Number:
    """A quotient; that of a decimal is rounded to some more places than the decimal has."""
    if total is None or not count:
        return None
    part: float | Decimal = total / count
    if isinstance(part, Decimal) and part.is_finite():
        rounded = part.quantize(Decimal(1).scaleb(int(total.as_tuple().exponent) - _MORE_PLACES))
        return part if part == rounded else rounded
    return part
