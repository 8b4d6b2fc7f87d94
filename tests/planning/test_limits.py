"""Limits of a policy: beyond them nothing happens, and the reason says by how much."""

from __future__ import annotations

from typing import Any

import pytest

from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.measurements import ExpiredRows, Measurements
from support.catalogs import MONTH, TS, at, catalog, dropped_starts, monthly, part, policy, reasons, table
from support.planning import find_probes, make_plan

CUTOFF = at("2024-07-02")
# Two of four partitions are due: 20 of 40 rows.
FOUND = catalog(monthly("2024-04", "2024-05", "2024-06", "2024-07"))


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({}, None),
        ({"partitions": 2}, None),
        ({"partitions": 1}, "2 partitions are due, but expected_max.partitions is 1"),
        ({"partitions": 0}, "2 partitions are due, but expected_max.partitions is 0"),
        ({"rows": 20}, None),
        ({"rows": 19}, "20 rows are due, but expected_max.rows is 19"),
        ({"rows": 0}, "20 rows are due, but expected_max.rows is 0"),
        ({"percent": 50}, None),
        ({"percent": 0}, "50.0 % of the table is due, but expected_max.percent is 0"),
        ({"percent": 49.9}, "50.0 % of the table is due, but expected_max.percent is 49.9"),
        ({"partitions": 5, "rows": 100, "percent": 10}, "50.0 %"),
    ],
)
@pytest.mark.parametrize("strategy", ["delete", "snapshot", "reallocate", "compact"])
def test_limit(strategy: str, limits: dict[str, Any], words: str | None) -> None:
    """Up to the limit the run goes on; beyond it the whole table is held, for every strategy."""
    plan = make_plan([policy(strategy, expected_max=limits)], FOUND, CUTOFF)
    if words is None:
        assert plan.tasks
        assert plan.blocked == ()
    else:
        assert plan.tasks == ()
        [hold] = plan.needs_attention
        assert words in hold.reason
        assert (hold.count, len(hold.pieces)) == (2, 2)


@pytest.mark.parametrize(
    ("limits", "held"), [({"rows": 10**9}, True), ({"percent": 100}, True), ({"partitions": 2}, False)]
)
@pytest.mark.parametrize("strategy", ["delete", "snapshot"])
def test_unknown_counts_as_too_much(strategy: str, limits: dict[str, Any], held: bool) -> None:
    """What nobody could count can't be shown to be within a limit, also if something beside it was counted."""
    parts = [part("2024-04-01"), part("2024-05-01", closed=True, rows=None), part("2024-06-01")]
    found = catalog(table([TS, MONTH], ["month"], parts))
    plan = make_plan([policy(strategy, expected_max=limits)], found, CUTOFF)
    assert bool(plan.needs_attention) is held
    assert "an unknown" in reasons(plan) or not held


@pytest.mark.parametrize("total", [None, 0])
def test_share_of_what_nobody_knows(total: int | None) -> None:
    """Where nobody knows how many rows a table has, what is due may be all of it."""
    found = catalog(table([TS, MONTH], ["month"], [part("2024-04-01")], rows=total))
    plan = make_plan([policy(expected_max={"percent": 99})], found, CUTOFF)
    assert plan.tasks == ()
    assert "100.0 % of the table is due" in reasons(plan)


@pytest.mark.parametrize(("limit", "held"), [(6, True), (7, False)])
def test_rows(limit: int, held: bool) -> None:
    """Rows that expire one by one have limits too."""
    found = catalog(table([TS], rows=100))
    rule = policy(expected_max={"rows": limit})
    counted = {probe: 7 for probe in find_probes([rule], found, CUTOFF) if isinstance(probe, ExpiredRows)}
    plan = make_plan([rule], found, CUTOFF, measurements=Measurements(rows=counted))
    assert bool(plan.needs_attention) is held
    assert bool(plan.tasks) is not held


def test_what_is_held_anyway_does_not_count() -> None:
    """Only what would happen counts; other holds are still said."""
    hold = LegalHold(id="h1", table_schema="doc", table_name="metrics", end=1)
    april = LegalHold(id="h2", table_schema="doc", table_name="metrics", start=0, end=1714521600000)
    plan = make_plan([policy(expected_max={"partitions": 1})], FOUND, CUTOFF, holds=[hold, april])
    assert dropped_starts(plan) == ["2024-05-01"]
    assert "hold h2" in reasons(plan)


def test_other_policies_go_on() -> None:
    """One policy beyond its limit does not stop another one on another table; nor does another take its data."""
    other = monthly("2024-04", name=type(next(iter(FOUND.tables)))("doc", "other"))
    rules = [policy(expected_max={"partitions": 1}), policy(id="z"), policy(id="other", table_name="other")]
    plan = make_plan(rules, catalog(*FOUND.tables.values(), other), CUTOFF)
    assert [task.policy_id for task in plan.tasks] == ["other"]
