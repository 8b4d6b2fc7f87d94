"""The strategy ``reallocate``: what is not there yet is moved, if there is a place for it."""

from __future__ import annotations

from typing import Any

import pytest

from cratedb_retention.model.catalog import Value
from cratedb_retention.model.plan.plan import MovePartitions
from cratedb_retention.model.policies.policy import Policy
from support.catalogs import (
    DAILY,
    DUCKDB,
    METRICS,
    MONTH,
    NODES,
    TS,
    at,
    catalog,
    monthly,
    ms,
    part,
    policy,
    reasons,
    table,
    touched,
)  # fmt: skip
from support.planning import make_plan

CUTOFF = at("2024-07-02")
COLD = frozenset({"cold-1", "cold-2"})
THERE: dict[str, Any] = {"requires": (("storage", "cold"),), "nodes": COLD}


def test_move() -> None:
    """Expired partitions move to nodes with the attribute; others stay where they are."""
    plan = make_plan([policy("reallocate")], catalog(monthly("2024-04", "2024-05", "2024-06")), CUTOFF)
    [task] = plan.tasks
    [step] = task.steps
    assert isinstance(step, MovePartitions)
    assert (step.table, step.attribute, step.value) == (METRICS, "storage", "cold")
    assert [piece.partition.values for piece in step.pieces] == [(ms("2024-04-01"),), (ms("2024-05-01"),)]
    assert (task.partitions, task.rows, task.size) == (2, 20, 200)


@pytest.mark.parametrize(
    ("facts", "moves"),
    [
        (THERE, False),
        ({}, True),
        # Told to move, but not there yet, or only by chance.
        ({**THERE, "nodes": COLD | {"hot-1"}}, True),
        ({**THERE, "settled": False}, True),
        ({**THERE, "requires": ()}, True),
        ({**THERE, "requires": (("storage", "hot"),)}, True),
        ({**THERE, "requires": (("rack", "1"), ("storage", "cold"))}, False),
    ],
)
def test_already_there(facts: dict[str, Any], moves: bool) -> None:
    """What is bound to the nodes and has all its shards there is done; what is on its way is waited for."""
    found = catalog(table([TS, MONTH], ["month"], [part("2024-05-01", **facts)]))
    plan = make_plan([policy("reallocate")], found, CUTOFF)
    assert bool(touched(plan, MovePartitions)) is moves
    assert plan.blocked == ()


@pytest.mark.parametrize("ids", [("a", "b"), ("b", "a")])
@pytest.mark.parametrize(("facts", "february"), [(THERE, None), ({}, "cold")])
def test_nodes_by_age(ids: tuple[str, str], facts: dict[str, Any], february: str | None) -> None:
    """Of several policies that move data, the one with the longest period decides: nothing is moved back and forth."""
    warm = policy("reallocate", "30d", id=ids[0], reallocation_attribute_value="warm")
    cold = policy("reallocate", "90d", id=ids[1])
    months = table([TS, MONTH], ["month"], [part("2024-02-01", **facts), part("2024-05-01")])
    found = catalog(months, nodes={**NODES, "warm-1": {"storage": "warm"}})

    def moved(*chosen: Policy) -> dict[Value, str]:
        plan = make_plan([warm, cold], found, CUTOFF, chosen=chosen.__contains__)
        assert plan.blocked == ()
        steps = [step for task in plan.tasks for step in task.steps if isinstance(step, MovePartitions)]
        return {piece.partition.values[0]: step.value for step in steps for piece in step.pieces}

    before = {ms("2024-02-01"): february} if february else {}
    assert moved(warm, cold) == {**before, ms("2024-05-01"): "warm"}
    assert moved(warm) == {ms("2024-05-01"): "warm"}
    assert moved(cold) == before


@pytest.mark.parametrize("there", ["cold", "warm"])
def test_nodes_at_the_same_age(there: str) -> None:
    """Of two policies with the same period one decides, wherever the partition is: it is not moved back."""
    nodes = {**NODES, "warm-1": {"storage": "warm"}}
    facts: dict[str, Any] = {"requires": (("storage", there),), "nodes": {n for n in nodes if n.startswith(there)}}
    found = catalog(table([TS, MONTH], ["month"], [part("2024-05-01", **facts)]), nodes=nodes)
    rules = [policy("reallocate", id=name, reallocation_attribute_value=name) for name in ("cold", "warm")]
    assert len(touched(make_plan(rules, found, CUTOFF), MovePartitions)) == (there == "cold")


def test_another_attribute() -> None:
    """A partition can be bound to values of several attributes: those policies do not decide about each other."""
    rack = policy("reallocate", "30d", id="rack", reallocation_attribute_name="rack", reallocation_attribute_value="1")
    months = table([TS, MONTH], ["month"], [part("2024-02-01", **THERE)])
    found = catalog(months, nodes={**NODES, "cold-3": {"storage": "cold", "rack": "1"}})
    plan = make_plan([rack, policy("reallocate", "90d")], found, CUTOFF)
    assert [step.attribute for task in plan.tasks for step in task.steps if isinstance(step, MovePartitions)] == [
        "rack"
    ]


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ({"n1": {"storage": "hot"}}, "no node has the attribute storage=cold (they have storage=hot)"),
        ({"n1": {}}, "no node has the attribute storage=cold (no node has any attribute)"),
        ({}, "no node has any attribute"),
    ],
)
def test_no_such_node(nodes: dict[str, dict[str, str]], words: str) -> None:
    """A partition is not sent where no node is: it would be without a home."""
    plan = make_plan([policy("reallocate")], catalog(monthly("2024-04", "2024-05"), nodes=nodes), CUTOFF)
    assert plan.tasks == ()
    assert [hold.count for hold in plan.needs_attention] == [2]
    assert words in reasons(plan)


def test_no_nodes_at_all() -> None:
    """A database of one file says that it has nowhere to move anything."""
    rule = policy("reallocate", table_schema="doc")
    plan = make_plan([rule], catalog(monthly("2024-05"), capabilities=DUCKDB), CUTOFF)
    assert plan.tasks == ()
    assert "DuckDB has no nodes" in plan.needs_attention[0].reason


def test_what_is_not_rolled_up_yet_moves() -> None:
    """A move loses nothing, so it does not wait for the rollup that a deletion would wait for."""
    down = policy("downsample", "60d", id="cascade", levels="1d:forever")
    rules = [down, policy("reallocate", id="move"), policy("delete", id="delete")]
    found = catalog(monthly("2024-04", "2024-05"))
    for chosen, due in ((rules[1], 2), (rules[2], 0)):
        plan = make_plan(rules, found, CUTOFF, chosen=chosen.__eq__)
        assert sum(task.partitions for task in plan.tasks) == due
        assert ("not rolled up into" in reasons(plan)) is (due == 0)


def test_batches() -> None:
    """Not everything moves at once."""
    days = [part(ms("2023-01-01") + i * 86_400_000) for i in range(120)]
    plan = make_plan([policy("reallocate")], catalog(table([TS, DAILY], ["day"], days)), CUTOFF)
    assert [task.partitions for task in plan.tasks] == [50, 50, 20]


def test_what_is_dropped_is_not_moved() -> None:
    """Moving what another policy deletes or archives in the same run would be idle."""
    found = catalog(monthly("2024-02", "2024-03", "2024-04", "2024-05", "2024-06"))
    rules = [policy("reallocate"), policy("snapshot", "60d"), policy("delete", "60d", id="other", where={"month": 0})]
    plan = make_plan(rules, found, CUTOFF)
    assert touched(plan, MovePartitions) == [(ms("2024-05-01"),)]
