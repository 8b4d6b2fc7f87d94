"""
Puts together what several stretches know of the same bucket: sums are added, means follow from sums and counts, squared
distances from the mean are combined by Chan's formula, bins of distributions are added. Sums and bins of the rest of a
bucket are what the bucket has less what is known of its other part.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from cratedb_retention.model.reading import SUBTRACTED, Kept, Number, Wanted
from cratedb_retention.model.rollup import Metric, bin_value

# An average of decimals has as many places more than they.
_MORE_PLACES = 6


@dataclass(kw_only=True)
class Merged:
    """
    What is known of one bucket and group.

    :param seconds: The length of the bucket, as far as it has passed.
    :param levels: The names of the tables that it is from.
    """

    seconds: float
    rows: int = 0
    levels: dict[str, None] = field(default_factory=dict)
    kept: dict[tuple[str, Kept], Any] = field(default_factory=dict)
    bins: dict[str, Counter[tuple[int, int]]] = field(default_factory=dict)

    def add(self, parts: Sequence[tuple[Metric, Kept]], values: Sequence[Number], rows: int, level: str) -> None:
        """Add what a later stretch knows."""
        self.rows += rows
        self.levels[level] = None
        new = {(metric.name, kept): value for (metric, kept), value in zip(parts, values, strict=True)}
        old, merged = self.kept, dict(self.kept)
        for (name, kept), value in new.items():
            before = old.get((name, kept))
            if value is None or before is None:
                merged[name, kept] = before if value is None else value
            elif kept is Kept.M2:
                merged[name, kept] = before + value + _between(name, old, new)
            else:
                merged[name, kept] = _merge(kept, before, value)
        self.kept = merged

    def add_bin(self, metric: str, sign: int, index: int, count: int) -> None:
        """Add a bin of a distribution."""
        self.bins.setdefault(metric, Counter())[sign, index] += count

    def without(self, part: Merged, seconds: float) -> Merged | None:
        """
        What the rest of a bucket has; None if the bucket and the other part of it do not add up.

        :param seconds: The length of the rest.
        """
        rest = Merged(seconds=seconds, rows=self.rows - part.rows, levels=self.levels)
        sound = rest.rows >= 0
        for (name, kept), value in self.kept.items():
            known = part.kept.get((name, kept))
            count = (self.kept.get((name, Kept.COUNT)) or 0) - (part.kept.get((name, Kept.COUNT)) or 0)
            sound &= 0 <= count <= rest.rows
            if kept in SUBTRACTED and (count > 0 or kept is Kept.NONFINITE):
                left = value if known is None else (value or 0) - known
                sound &= math.isfinite(known or 0)
                if kept is Kept.INCREASE and known is not None:
                    # A counter never falls, but for rounding.
                    sound &= left >= 0 or math.isclose(value or 0, known)
                    left = max(left, 0.0)
                rest.kept[name, kept] = left
            elif kept is Kept.COUNT and value is not None:
                rest.kept[name, kept] = 0
        for name in {**self.bins, **part.bins}:
            bins = Counter(self.bins.get(name))
            bins.subtract(part.bins.get(name, {}))
            sound &= min(bins.values(), default=0) >= 0
            rest.bins[name] = +bins
        return rest if sound else None

    def value(self, want: Wanted) -> Number:
        """One value of the answer; None where nothing is known."""
        if want.metric is None:
            return self.rows
        name = want.metric.name
        if want.quantile is not None:
            return percentile(self.bins.get(name, Counter()), want.quantile)
        values = [self.kept.get((name, kept)) for kept in want.ingredients]
        first: Number = values[0]
        if first is None:
            return None
        match want.aggregate:
            case "avg":
                return divided(first, values[1])
            case "stddev":
                variance = divided(values[2], values[1])
                return None if variance is None else math.sqrt(max(float(variance), 0.0))
            case "rate":
                return float(first) / self.seconds if self.seconds > 0 else None
            case _:
                return first


def _merge(kept: Kept, before: Any, value: Any) -> Any:
    match kept:
        case Kept.MIN:
            return min(before, value)
        case Kept.MAX:
            return max(before, value)
        case Kept.FIRST:
            return before
        case Kept.LAST:
            return value
        case _:
            return before + value


def _between(name: str, one: dict[tuple[str, Kept], Any], other: dict[tuple[str, Kept], Any]) -> float:
    """What the distance of two means adds to the squared distances (Chan, Golub, LeVeque 1979)."""
    counts = [known.get((name, Kept.COUNT)) or 0 for known in (one, other)]
    if not all(counts):
        return 0.0
    means = [float(known.get((name, Kept.SUM)) or 0.0) / n for known, n in zip((one, other), counts, strict=True)]
    weight: float = counts[0] * counts[1] / (counts[0] + counts[1])
    return (means[1] - means[0]) ** 2 * weight


def divided(total: Any, count: Any) -> Number:
    """A part of a number; that of a decimal one is rounded some places behind its last one."""
    if total is None or not count:
        return None
    part: float | Decimal = total / count
    if isinstance(part, Decimal) and part.is_finite():
        rounded = part.quantize(Decimal(1).scaleb(int(total.as_tuple().exponent) - _MORE_PLACES))
        return part if part == rounded else rounded
    return part


def percentile(bins: Counter[tuple[int, int]], quantile: float) -> Number:
    """
    The value at a rank of a distribution, at most 1 % away from the true one; None if it is empty.

    :param bins: Counts by sign and number of the bin.
    """
    rank = quantile * (bins.total() - 1)
    passed = 0
    # Of negative values those with the largest bins are the least.
    for sign, index in sorted(bins, key=lambda key: (key[0], key[0] * key[1])):
        passed += bins[sign, index]
        if passed > rank:
            return bin_value(sign, index)
    return None
