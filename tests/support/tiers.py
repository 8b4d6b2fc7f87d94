"""
The two tiers of tests: `make test`, and `make test-long`, which runs everything.

``@pytest.mark.long("reason")`` leaves a test to the long tier; the reason says what `make test` proves instead. With
``on="cratedb"`` it leaves out only those on CrateDB of a test that runs on each engine; `others_on_duckdb` does so for
some of its cases, and ``@pytest.mark.some(3)`` for all but three of them, on each engine. With
``@pytest.mark.slow("reason")`` a test says why it takes more than `SLOW` seconds. Everything about the tiers and their
budget is here and in these markers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

# Seconds. What takes longer needs a reason.
SLOW = 10.0
OPTION = "--long"
# For tests of each engine that differ in what the toolkit decides, and not in what CrateDB does for it.
DECIDED = pytest.mark.long("make test has this on DuckDB, and on CrateDB others that do the same there", on="cratedb")
LEFT_OUT = "long tier"
_chosen = {LEFT_OUT: False}


def choose(config: pytest.Config) -> None:
    """Take note of which tier runs, before any test is imported."""
    _chosen[LEFT_OUT] = bool(config.getoption(OPTION))


def examples(quick: int, long: int) -> int:
    """How many examples a property gets in this tier."""
    return long if _chosen[LEFT_OUT] else quick


def others_on_duckdb(*cases: Any) -> list[Any]:
    """Such cases of a test."""
    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=DECIDED) for case in cases]


def leave_out(items: Iterable[pytest.Item]) -> None:
    """
    Skip tests of the long tier, unless that runs.

    :raises pytest.UsageError: if a marker gives no reason.
    """
    sampled: dict[tuple[str, bool], list[pytest.Item]] = defaultdict(list)
    for item in items:
        _leave_out(item)
        if item.get_closest_marker("some") and not item.get_closest_marker("skip"):
            sampled[item.nodeid.partition("[")[0], item.get_closest_marker("cratedb") is not None].append(item)
    for cases in sampled.values() if not _chosen[LEFT_OUT] else ():
        (number,) = next(cases[0].iter_markers("some")).args
        taken = {place * len(cases) // number for place in range(number)}
        for place, item in enumerate(cases):
            if place not in taken:
                item.add_marker(pytest.mark.skip(reason=f"{LEFT_OUT}: make test has others of its cases"))


def _leave_out(item: pytest.Item) -> None:
    for marker in [*item.iter_markers("long"), *item.iter_markers("slow")]:
        if len(marker.args) != 1 or not isinstance(marker.args[0], str):
            raise pytest.UsageError(f"{item.nodeid}: the marker {marker.name} needs a reason")
    marks = {mark.name for mark in item.iter_markers()}
    for marker in item.iter_markers("long"):
        if not _chosen[LEFT_OUT] and {marker.kwargs.get("on", "long")} <= marks:
            item.add_marker(pytest.mark.skip(reason=f"{LEFT_OUT}: {marker.args[0]}"))


def over_budget(reports: Iterable[pytest.TestReport]) -> Iterator[str]:
    """A line for each test that takes too long and does not say why."""
    seconds: dict[str, float] = defaultdict(float)
    for report in reports:
        if not {"slow", "long", "cluster"} & set(report.keywords):
            seconds[report.nodeid] += report.duration
    for name, taken in sorted(seconds.items(), key=lambda item: -item[1]):
        if taken > SLOW:
            yield f"{taken:.0f} s: {name}"
