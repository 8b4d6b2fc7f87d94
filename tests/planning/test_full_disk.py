"""A full disk: what needs room waits, with the reason; whole partitions go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cratedb_retention.engine.cratedb.connection import ROOM, is_full
from cratedb_retention.model.plan.measurements import ExpiredRows, Measurements
from cratedb_retention.model.plan.reasons import Why
from support.catalogs import METRICS, MONTH, TENANT, TS, at, catalog, dropped_starts, part, policy, table
from support.planning import find_probes, make_plan

CUTOFF = at("2024-07-02")
FULL = table([TS, MONTH], ["month"], [part("2024-04-01", read_only=True), part("2024-05-01")], read_only=True)


def test_whole_partitions_go() -> None:
    """Dropping needs no room."""
    plan = make_plan([policy()], catalog(FULL), CUTOFF)
    assert dropped_starts(plan) == ["2024-04-01", "2024-05-01"]
    assert plan.blocked == ()


def test_archiving_waits() -> None:
    """Of the partitions on a full disk alone, and nothing else deletes what should be archived."""
    plan = make_plan([policy("snapshot"), policy(id="other")], catalog(FULL), CUTOFF)
    first = plan.blocked[0]
    assert (first.reason, first.count, first.needs_attention) == (str(Why.DISK_FULL()), 1, True)
    assert dropped_starts(plan) == ["2024-05-01"]
    assert {task.policy_id for task in plan.tasks} == {"snapshot-30d"}


def test_moving_goes_on() -> None:
    """It makes room where there is none."""
    plan = make_plan([policy("reallocate")], catalog(FULL), CUTOFF)
    assert [task.partitions for task in plan.tasks] == [2]
    assert plan.blocked == ()


def test_rolling_up_waits() -> None:
    """No level is created, and none is computed: a new table needs room."""
    for found in (FULL, replace(FULL, partitions=())):
        plan = make_plan([policy("downsample", "60d")], catalog(found), CUTOFF)
        assert plan.tasks == ()
        assert {(hold.reason, hold.needs_attention) for hold in plan.needs_attention} == {(str(Why.DISK_FULL()), True)}


@pytest.mark.parametrize(("rows", "problems"), [(0, 0), (7, 1)])
def test_rows_wait(rows: int, problems: int) -> None:
    """CrateDB lets no row go; where none is due, nothing is wrong."""
    found = catalog(table([TS, TENANT], rows=100, read_only=True))
    probes = find_probes([policy()], found, CUTOFF)
    counted = {probe: rows for probe in probes if isinstance(probe, ExpiredRows)}
    plan = make_plan([policy()], found, CUTOFF, measurements=Measurements(rows=counted))
    assert plan.tasks == ()
    assert [(str(hold.table), hold.reason, hold.needs_attention) for hold in plan.blocked] == [
        (str(METRICS), str(Why.NO_ROWS_GO()), True)
    ] * problems


@pytest.mark.parametrize(
    ("available", "full"),
    [([ROOM - 1, 2**40, 2**40], True), ([2**40, ROOM - 1, None], True), ([ROOM, None], False), ([None], False)],
)
def test_the_fullest_node_counts(available: list[int | None], full: bool) -> None:
    """Shards lie on all of them; a node that does not say how much it has left does not stop anything."""
    assert is_full(available) is full
