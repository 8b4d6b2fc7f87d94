"""
Law 7, convergence: killed at any instant, the next run ends in the same state as a run that was never killed.

Each test looks at what the next run makes of what a kill left. Nothing in between is told apart: what is lost, doubled
or forgotten shows in the state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from support.databases import CrateDatabase, ParquetDatabase
from support.kill_harness import kill_runs, left_by_kills
from support.kill_scenarios import (
    COMPACTING,
    RECOVERABLE,
    SCENARIOS,
    CrateScenarioDatabase,
    DuckScenarioDatabase,
    Scenario,
    ScenarioDatabase,
    State,
)
from support.object_store import BUCKET, ObjectStore
from support.tiers import examples

BY_PROCESSES = pytest.mark.long("make test kills processes of two others, and looks at all instants of this in one")
EVERY_SCENARIO = pytest.mark.parametrize("scenario", (*SCENARIOS, RECOVERABLE), ids=lambda scenario: scenario.name)
ALIKE = pytest.mark.long("make test kills others on CrateDB, whose statements are the same, and this one on DuckDB")
FROZEN_ALIKE = pytest.mark.long("make test kills one that archives, which is frozen for most of its steps")
ON_CRATEDB = pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(scenario, marks=ALIKE if scenario.name in ("delete-text", "archives", "compact-read-only") else ())
        for scenario in SCENARIOS + COMPACTING
    ],
    ids=lambda scenario: scenario.name,
)
FREEZING = [
    pytest.param(scenario, marks=() if scenario.name == "snapshot" else FROZEN_ALIKE)
    for scenario in SCENARIOS + COMPACTING
    if scenario.name in ("delete-text", "snapshot", "compact")
]


@EVERY_SCENARIO
def test_duckdb_converges(scenario: Scenario, tmp_path: Path) -> None:
    """Whatever a kill leaves of a run on DuckDB, around any change, event and file operation, is made good."""
    database = DuckScenarioDatabase(scenario, tmp_path)
    undisturbed = run_undisturbed(database)
    database.reset()
    left = left_by_kills(database.request, database.files, tmp_path / "kept")
    # Three writes to the journal and one DELETE are the least.
    assert len(left) > 4, "there must have been more to kill"
    for instant, files in left[:: examples(2, long=1) if scenario.archives or scenario is RECOVERABLE else 1]:
        database.restore(files)
        assert database.finish() == undisturbed, f"killed {instant}"


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(each, marks=() if each.name in ("delete-rows", "snapshot") else BY_PROCESSES)
        for each in (*SCENARIOS, RECOVERABLE)
    ],
    ids=lambda scenario: scenario.name,
)
def test_killed_on_duckdb(scenario: Scenario, tmp_path: Path) -> None:
    """A process that is killed leaves what the test above looks at: the next run makes that good as well."""
    assert_converges(DuckScenarioDatabase(scenario, tmp_path), examples(9, long=1))


class BucketScenarioDatabase(DuckScenarioDatabase):
    """A scenario on DuckDB with archives in a bucket."""

    def __init__(self, scenario: Scenario, directory: Path, store: ObjectStore) -> None:
        self._store = store
        policy = {**scenario.policy, "target_repository_name": f"s3://{BUCKET}/cold"}
        super().__init__(replace(scenario, policy=policy), directory)

    def reset(self) -> None:
        super().reset()
        for name in self._store.files():
            self._store.delete(name)

    def repository(self) -> Counter[str]:
        return Counter(self._store.files())


@pytest.mark.s3
@pytest.mark.timeout(1800)
@pytest.mark.long("make test kills runs that archive in a directory")
def test_killed_with_a_bucket(tmp_path: Path, s3: ObjectStore) -> None:
    """Archives in a bucket: at any time each row is read once, and the next run completes it."""
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == "snapshot")
    assert_converges(BucketScenarioDatabase(scenario, tmp_path, s3), 2, once=True)


@pytest.mark.slow("a run is killed some dozens of times, and finished each time")
@ON_CRATEDB
def test_cratedb_converges(scenario: Scenario, crate: CrateDatabase) -> None:
    """Killed while CrateDB carries out any kind of change, a run on CrateDB is made good."""
    assert_converges(CrateScenarioDatabase(scenario, crate), examples(0, long=1), bookkeeping=scenario is SCENARIOS[0])


@pytest.mark.slow("a run is killed some dozens of times, and finished each time")
def test_files_converge(crate_files: ParquetDatabase) -> None:
    """The same for archives that are files, also killed while one is half there; at any time each row is read once."""
    scenario, stride = next(scenario for scenario in SCENARIOS if scenario.name == "snapshot"), examples(0, long=1)
    assert_converges(CrateScenarioDatabase(scenario, crate_files), stride, once=bool(stride))


@pytest.mark.slow("a run is killed some dozens of times, and finished each time")
@pytest.mark.parametrize("scenario", FREEZING, ids=lambda scenario: scenario.name)
def test_nothing_stays_frozen(scenario: Scenario, crate: CrateDatabase) -> None:
    """Killed at any instant, and then the policy is switched off: the next run thaws, and touches nothing else."""
    database = CrateScenarioDatabase(scenario, crate)
    was_frozen = 0
    for killed in kill_runs(database.request, database.reset, examples(0, long=1), bookkeeping=False):
        was_frozen += database.frozen()
        before = tuple(row[0] for row in database.look("SELECT n FROM {table} ORDER BY n"))
        if scenario.strategy == "compact":  # Rows of a closed partition are not seen.
            before = scenario.kept
        with switched_off(crate):
            state = database.finish()
        assert (state.frozen, state.noted, state.due) == (0, 0, 0), f"killed {killed}"
        assert not any(closed for _, _, closed, _ in state.stored), f"killed {killed}"
        if not killed.startswith("while CrateDB does DELETE"):
            assert state.rows == before
    assert was_frozen > examples(0, long=4), "there must have been more to thaw"


@contextmanager
def switched_off(crate: CrateDatabase) -> Iterator[None]:
    """The policy is disabled for a while."""
    (stored,) = crate.tool.policies()
    crate.tool.edit_policy(stored.policy.id or "", {"enabled": False})
    yield
    crate.tool.edit_policy(stored.policy.id or "", {"enabled": True})


def run_undisturbed(database: ScenarioDatabase) -> State:
    """The state that all others are compared with."""
    database.reset()
    undisturbed = database.finish()
    assert_right(undisturbed, database.scenario)
    return undisturbed


def assert_converges(database: ScenarioDatabase, stride: int, bookkeeping: bool = True, once: bool = False) -> None:
    """
    Kill runs, and let the next one finish each of them.

    :param once: Whether each row is to be there once before that, in the table or in archives that are read.
    """
    undisturbed = run_undisturbed(database)
    every = tuple(sorted(row["n"] for row in database.scenario.rows))
    instants = 0
    for killed in kill_runs(database.request, database.reset, stride, bookkeeping):
        if once:
            with database.open() as retention:
                assert database.everywhere(retention) == every, f"killed {killed}"
        assert database.finish() == undisturbed, f"killed {killed}"
        instants += 1
    assert instants > 1, "there must have been more to kill"


def assert_right(state: State, scenario: Scenario) -> None:
    """All that is expired is gone or archived, and nothing else."""
    assert state.rows == scenario.kept
    archived = scenario.expired if scenario.archives else ()
    assert sum(rows for *_, rows in state.snapshots) == len(archived)  # None of archives that have ended.
    assert {(stage, complete) for _, stage, complete, _ in state.snapshots} == (
        {("archived", True)} if archived else set()
    )
    read_only = len({day[:7] for day in scenario.old}) if scenario.policy.get("read_only") == "true" else 0
    assert (state.frozen, state.noted, state.due) == (read_only, 0, 0)
    if scenario.strategy == "compact":
        compact = ("best_compression", "0-1", False, 1)
        assert state.stored[:2] == (compact, compact)
        assert {codec for codec, *_ in state.stored[2:]} == {"default"}
