"""
Law 7, convergence: killed at any instant, the next run ends in the same state as a run that was never killed.

Each test looks at what the next run makes of what a kill left. Nothing in between is told apart: what is lost, doubled
or forgotten shows in the state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.arena import SCENARIOS, Arena, CrateArena, DuckArena, Scenario, State
from support.benches import CrateBench
from support.kill_harness import first_of_each_kind, left_by_kills, list_instants, run_until_killed
from support.tiers import examples

EVERY_SCENARIO = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
FREEZING = [scenario for scenario in SCENARIOS if scenario.name in ("delete-text", "snapshot")]


@EVERY_SCENARIO
def test_duckdb_converges(scenario: Scenario, tmp_path: Path) -> None:
    """Whatever a kill leaves of a run on DuckDB, around any change, event and file operation, is made good."""
    arena = DuckArena(scenario, tmp_path)
    undisturbed = run_undisturbed(arena)
    arena.reset()
    left = left_by_kills(arena.order(), arena.files, tmp_path / "kept")
    # Three writes to the journal and one DELETE are the least.
    assert len(left) > 4, "there must have been more to kill"
    for instant, files in left:
        arena.restore(files)
        assert arena.finish() == undisturbed, f"killed {instant}"


@EVERY_SCENARIO
def test_killed_on_duckdb(scenario: Scenario, tmp_path: Path) -> None:
    """A process that is killed leaves what the test above looks at: the next run makes that good as well."""
    arena = DuckArena(scenario, tmp_path)
    arena.reset()
    count = len(list_instants(arena.order()))
    assert_converges(arena, range(1, count + 1, 1 if examples(0, long=1) else count // 4))


@pytest.mark.slow("a run is killed some dozens of times, and finished each time")
@EVERY_SCENARIO
def test_cratedb_converges(scenario: Scenario, crate: CrateBench) -> None:
    """Killed while CrateDB carries out any kind of change, or right after it, a run on CrateDB is made good."""
    arena = CrateArena(scenario, crate)
    arena.reset()
    assert_converges(arena, chosen(list_instants(arena.order())))


@pytest.mark.slow("a run is killed some dozens of times, and finished each time")
@pytest.mark.parametrize("scenario", FREEZING, ids=lambda scenario: scenario.name)
def test_nothing_stays_frozen(scenario: Scenario, crate: CrateBench) -> None:
    """Killed at any instant, and then the policy is switched off: the next run thaws, and touches nothing else."""
    arena = CrateArena(scenario, crate)
    arena.reset()
    was_frozen = 0
    for instant in chosen(list_instants(arena.order())):
        arena.reset()
        killed = run_until_killed(arena.order(instant))
        assert killed
        was_frozen += arena.frozen()
        before = arena.look("SELECT n FROM {table} ORDER BY n")
        with switched_off(crate):
            state = arena.finish()
        assert (state.frozen, state.noted, state.due) == (0, 0, 0), f"killed {killed} (instant {instant})"
        if not killed.startswith("while CrateDB does DELETE"):
            assert state.rows == tuple(row[0] for row in before)
    assert was_frozen > 4, "there must have been more to thaw"


def chosen(instants: Sequence[str]) -> Sequence[int]:
    """The instants at which runs on CrateDB are killed: one of each kind, or in the long tier all."""
    kinds = first_of_each_kind(instants)
    assert len(kinds) > 5, instants
    return range(1, len(instants) + 1) if examples(0, long=1) else kinds


@contextmanager
def switched_off(crate: CrateBench) -> Iterator[None]:
    """The policy is disabled for a while."""
    (stored,) = crate.tool.policies()
    crate.tool.edit_policy(stored.policy.id or "", {"enabled": False})
    yield
    crate.tool.edit_policy(stored.policy.id or "", {"enabled": True})


def run_undisturbed(arena: Arena) -> State:
    """The state that all others are compared with."""
    arena.reset()
    undisturbed = arena.finish()
    assert_right(undisturbed, arena.scenario)
    return undisturbed


def assert_converges(arena: Arena, instants: Iterable[int]) -> None:
    """Kill a run at each of these instants, and let the next one finish it."""
    undisturbed = run_undisturbed(arena)
    for instant in instants:
        arena.reset()
        killed = run_until_killed(arena.order(instant))
        assert killed, f"there is no instant {instant}"
        assert arena.finish() == undisturbed, f"killed {killed} (instant {instant})"


def assert_right(state: State, scenario: Scenario) -> None:
    """All that is expired is gone or archived, and nothing else."""
    assert state.rows == scenario.kept
    archived = scenario.expired if scenario.strategy == "snapshot" else ()
    assert sum(rows for *_, rows in state.snapshots) == len(archived)
    assert {(stage, complete) for _, stage, complete, _ in state.snapshots} == (
        {("archived", True)} if archived else set()
    )
    assert (state.frozen, state.noted, state.due) == (0, 0, 0)
