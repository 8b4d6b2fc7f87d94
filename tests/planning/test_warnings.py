"""A guard for clocks: what looks like a wrong clock is said before anything goes."""

from __future__ import annotations

import pytest

from support.catalogs import TENANT, TS, at, catalog, monthly, part, policy, table
from support.planning import make_plan


@pytest.mark.parametrize(
    ("strategy", "cutoff", "words"),
    [
        ("delete", "2024-07-02", []),
        # Tables that create tomorrow's partition today are no surprise.
        ("delete", "2024-05-31", []),
        ("delete", "2024-05-30", ["doc.metrics: has data from 2024-06-01, after the cutoff 2024-05-30"]),
        ("delete", "1970-01-01", ["doc.metrics: has data from 2024-06-01, after the cutoff 1970-01-01"]),
        ("delete", "2024-07-30T23:59", []),
        ("delete", "2024-07-31", ["doc.metrics: all data that policy delete-30d covers is expired"]),
        ("snapshot", "2054-01-01", ["doc.metrics: all data that policy snapshot-30d covers is expired"]),
        # Old data that is all on cold nodes is as it should be.
        ("reallocate", "2054-01-01", []),
    ],
)
def test_warning(strategy: str, cutoff: str, words: list[str]) -> None:
    """Data from after the cutoff, and a table without anything young, are worth a look."""
    plan = make_plan([policy(strategy)], catalog(monthly("2024-04", "2024-05", "2024-06")), at(cutoff))
    assert len(plan.warnings) == len(words)
    assert all(str(warning).startswith(start) for warning, start in zip(plan.warnings, words, strict=True))


def test_once_for_each_table() -> None:
    """Data from the future is said once, however many policies there are."""
    rules = [policy(), policy("snapshot"), policy("reallocate")]
    assert len(make_plan(rules, catalog(monthly("2024-06")), at("2024-01-01")).warnings) == 1


@pytest.mark.parametrize("found", [catalog(monthly()), catalog(table([TS]))])
def test_nothing_to_warn_of(found: object) -> None:
    """Empty tables and tables without partitions tell nothing about clocks."""
    assert isinstance(found, type(catalog()))
    assert make_plan([policy()], found, at("2024-01-01")).warnings == ()


def test_partitions_that_are_left_empty() -> None:
    """Where rows are deleted one by one, partitions without rows are left, and named."""
    found = catalog(table([TS, TENANT], ["tenant"], [part("a", rows=0), part("b"), part("c", rows=0)]))
    [warning] = make_plan([policy()], found, at("2024-07-02")).warnings
    assert warning.code == "empty-partitions"
    assert "tenant=a; tenant=c" in str(warning)
