"""
Law 7, convergence: killed at any instant, the next run ends in the same state as a run that was never killed.

Each test kills runs at one instant after the other, until one comes to its end, and looks at what the next run makes
of what was left. Nothing in between is told apart: what is lost, doubled or forgotten shows in the state.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.arena import SCENARIOS, Arena, CrateArena, DuckArena, Scenario, State
from support.benches import CrateBench
from support.kill_harness import run_until_killed

EVERY_SCENARIO = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
FREEZING = [scenario for scenario in SCENARIOS if scenario.name in ("delete-text", "snapshot")]


@pytest.mark.slow("it kills a run at each of some dozens of instants, and finishes it each time")
@EVERY_SCENARIO
def test_duckdb_converges(scenario: Scenario, tmp_path: Path) -> None:
    """Killed around any change, at any event and before any file operation, a run on DuckDB is made good."""
    assert_converges(DuckArena(scenario, tmp_path))


@pytest.mark.slow("it kills a run at each of some dozens of instants, and finishes it each time")
@EVERY_SCENARIO
def test_cratedb_converges(scenario: Scenario, crate: CrateBench) -> None:
    """Killed while CrateDB carries out any change, or right after it, a run on CrateDB is made good."""
    assert_converges(CrateArena(scenario, crate))


@pytest.mark.slow("it kills a run at each of some dozens of instants, and finishes it each time")
@pytest.mark.parametrize("scenario", FREEZING, ids=lambda scenario: scenario.name)
def test_nothing_stays_frozen(scenario: Scenario, crate: CrateBench) -> None:
    """Killed at any instant, and then the policy is switched off: the next run thaws, and touches nothing else."""
    arena = CrateArena(scenario, crate)
    was_frozen = 0
    for instant in itertools.count(1):
        arena.reset()
        killed = run_until_killed(arena.order(instant))
        if killed is None:
            break
        was_frozen += arena.frozen()
        before = arena.look("SELECT n FROM {table} ORDER BY n")
        with switched_off(crate):
            state = arena.finish()
        assert (state.frozen, state.noted, state.due) == (0, 0, 0), f"killed {killed} (instant {instant})"
        if not killed.startswith("while CrateDB does DELETE"):
            assert state.rows == tuple(row[0] for row in before)
    assert was_frozen > 4, "there must have been more to thaw"


@contextmanager
def switched_off(crate: CrateBench) -> Iterator[None]:
    """The policy is disabled for a while."""
    (stored,) = crate.tool.policies()
    crate.tool.edit_policy(stored.policy.id or "", {"enabled": False})
    yield
    crate.tool.edit_policy(stored.policy.id or "", {"enabled": True})


def assert_converges(arena: Arena) -> None:
    """Kill runs at every instant; the one that no instant is left for is the last."""
    arena.reset()
    undisturbed = arena.finish()
    assert_right(undisturbed, arena.scenario)
    for instant in itertools.count(1):
        arena.reset()
        killed = run_until_killed(arena.order(instant))
        assert arena.finish() == undisturbed, f"killed {killed or 'never'} (instant {instant})"
        if killed is None:
            # Three writes to the journal and one DELETE, which has two instants, are the least.
            assert instant > 5, "there must have been more to kill"
            return


def assert_right(state: State, scenario: Scenario) -> None:
    """The state that all others are compared with: all that is expired is gone or archived, and nothing else."""
    assert state.rows == scenario.kept
    archived = scenario.expired if scenario.strategy == "snapshot" else ()
    assert sum(rows for *_, rows in state.snapshots) == len(archived)
    assert {(stage, complete) for _, stage, complete, _ in state.snapshots} == (
        {("archived", True)} if archived else set()
    )
    assert (state.frozen, state.noted, state.due) == (0, 0, 0)
