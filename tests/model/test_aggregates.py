"""
The algebra of aggregates: what each needs, how states are merged and taken apart, and what is read from them.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cratedb_retention.model.rollups.aggregates import (
    ANSWERS,
    GAMMA,
    KEEPERS,
    Aggregate,
    Part,
    Reader,
    State,
    find_formula,
    merged,
    rest_of,
    with_needed,
)

VALUES = st.lists(st.integers(-1000, 1000), min_size=1, max_size=12)


def state(values: list[int]) -> State:
    """The state of some values, in order of time."""
    mean = statistics.fmean(values)
    bins = Counter(((x > 0) - (x < 0), math.ceil(math.log(abs(x)) / math.log(GAMMA)) if x else 0) for x in values)
    return {
        Part.MIN: min(values),
        Part.MAX: max(values),
        Part.SUM: sum(values),
        Part.COUNT: len(values),
        Part.NONFINITE: 0,
        Part.FIRST: values[0],
        Part.LAST: values[-1],
        Part.M2: sum((x - mean) ** 2 for x in values),
        Part.INCREASE: float(sum(map(abs, values))),
        Part.BINS: bins,
    }


def read(name: str, found: State) -> Any:
    """An answer; the bucket is ten seconds long."""
    formula = find_formula(name)
    assert formula
    return Reader(10.0).read(formula, found)


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ("avg", "sum count avg"),
        ("stddev", "sum count stddev"),
        ("increase", "first last increase"),
        ("median", "percentiles median"),
        ("range", "min max range"),
        ("nonfinite", "nonfinite"),
    ],
)
def test_needs(wanted: str, kept: str) -> None:
    """What is kept for each aggregate; levels that exist have just these columns."""
    assert " ".join(with_needed([Aggregate(wanted)])) == kept


def test_each_part_is_kept_by_one() -> None:
    """Whatever a formula reads is a column that some aggregate keeps."""
    assert set(KEEPERS) == set(Part)
    assert {part for formula in ANSWERS.values() for part in formula.parts} == set(Part)


@given(VALUES, VALUES)
def test_merging(earlier: list[int], later: list[int]) -> None:
    """The state of all values is that of some merged with that of the others, whichever answer is read."""
    whole, both = state(earlier + later), merged(state(earlier), state(later))
    for name in (*ANSWERS, "p0", "p99.9", "p100"):
        assert read(name, both) == pytest.approx(read(name, whole), rel=1e-9, abs=1e-6), name
    assert merged(state(earlier), {}) == merged({}, state(earlier)) == state(earlier)


@given(VALUES, VALUES)
def test_rest(earlier: list[int], later: list[int]) -> None:
    """What can be told of a rest is what its own values say; and what does not add up has no rest."""
    whole = merged(state(earlier), state(later))
    rest = rest_of(whole, state(later), len(earlier))
    assert rest is not None
    for name in ("sum", "count", "avg", "increase", "rate", "median", "p95", "nonfinite"):
        assert read(name, rest) == pytest.approx(read(name, state(earlier)), rel=1e-9, abs=1e-6), name
    assert not {Part.MIN, Part.LAST, Part.M2} & set(rest)
    assert rest_of(state(later), merged(whole, whole), len(earlier)) is None


@pytest.mark.parametrize(
    ("whole", "part"),
    [
        ({Part.COUNT: 2, Part.SUM: math.inf}, {Part.COUNT: 1, Part.SUM: math.inf}),
        ({Part.COUNT: 3, Part.SUM: 3}, {Part.COUNT: 1, Part.SUM: 1}),
        ({Part.BINS: Counter({(1, 3): 1})}, {Part.BINS: Counter({(1, 4): 1})}),
        ({Part.COUNT: 2}, {Part.COUNT: 1, Part.BINS: Counter({(1, 4): 1})}),
        ({Part.COUNT: 2, Part.INCREASE: 1.0}, {Part.COUNT: 1, Part.INCREASE: 2.0}),
    ],
    ids=["infinite", "more than the rows", "another bin", "no bins", "less than its part"],
)
def test_no_rest(whole: State, part: State) -> None:
    """What does not add up has no rest: here it has one row."""
    assert rest_of(whole, part, 1) is None


def test_rounding_and_no_time() -> None:
    """A sum of squares slightly below zero is zero, and in no time there is no rate."""
    assert read("stddev", {Part.M2: -1e-18, Part.COUNT: 2}) == 0
    rate = find_formula("rate")
    assert rate and Reader(0.0).read(rate, {Part.INCREASE: 1.0}) is None


def test_nothing_is_known() -> None:
    """Of no values there is no answer."""
    assert {read(name, {}) for name in (*ANSWERS, "p50")} == {None}
