"""
Rolling up on CrateDB: what is there is deleted, an INSERT from a SELECT computes it anew, and both sides are counted,
since rows that such a statement can't store are skipped without an error. Readers see all of it with the refresh that
comes before the counting, and nothing before.
"""

from __future__ import annotations

from typing import assert_never

from cratedb_retention.engine.base import Progress, Report, StepResult
from cratedb_retention.engine.cratedb import rollup as tables
from cratedb_retention.engine.cratedb.disk import blocked
from cratedb_retention.engine.cratedb.errors import disk_is_full
from cratedb_retention.engine.cratedb.health import check_health, check_idents, refresh_idents
from cratedb_retention.engine.cratedb.sql import SQL, refresh
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.rollup import (
    Beneath,
    Run,
    Stored,
    count_beneath,
    count_stored,
    new_version,
    require_rows,
    run_statements,
    runs_of,
    show_difference,
    show_window,
)
from cratedb_retention.errors import DatabaseError, PartitionChanged, RetentionError
from cratedb_retention.model.rollup import (
    AlterRollup,
    CreateRollup,
    RebaseRollup,
    ReplaceView,
    RolledUp,
    RollUp,
    Rollup,
    RollupStep,
    SealWindows,
    Window,
)

ATTEMPTS = 5


def perform(database: Database, step: RollupStep, report: Report) -> StepResult:
    """Do a step of a cascade; sealing is a matter of the ledger alone."""
    match step:
        case CreateRollup():
            return tables.create(database, step)
        case AlterRollup():
            return tables.alter(database, step)
        case RollUp():
            return roll_up(database, step, report)
        case ReplaceView():
            return tables.replace_view(database, step)
        case SealWindows() | RebaseRollup():
            return StepResult()
        case _:
            assert_never(step)


def roll_up(database: Database, step: RollUp, report: Report) -> StepResult:
    """
    Compute windows from the level beneath.

    :raises DatabaseError: if rows are lost again and again (law 5), or were since the plan was made (law 4).
    :raises PartitionChanged: if rows are being written beneath all the time.
    """
    rollup = step.rollup
    partly = _check_health(database, step)
    _refresh_beneath(database, step, partly)
    beneath = count_beneath(database.rows, SQL, rollup, step.windows)
    results: list[RolledUp] = []
    for run in runs_of(step, tables.PORTIONS):
        require_rows(database.rows, SQL, step, run)
        results += _roll_up_run(database, step, partly, run, {window: beneath[window] for window in run.windows})
        report(Progress(len(results), len(step.windows), "window"))
    return StepResult(rows=sum(result.source_rows for result in results), windows=tuple(results))


def _roll_up_run(
    database: Database, step: RollUp, partly: bool, run: Run, beneath: dict[Window, Beneath]
) -> list[RolledUp]:
    """Compute windows; a large INSERT from a SELECT can lose rows on a busy cluster, so it may take more than one."""
    rollup, attempt = step.rollup, 0
    while True:
        attempt += 1
        version = new_version()
        stored = _compute(database, step, run, version)
        lost = [window for window in run.windows if stored[window].counted != beneath[window] or stored[window].alien]
        if not lost:
            return [RolledUp(window, beneath[window].rows, stored[window].groups) for window in run.windows]
        before = beneath
        _refresh_beneath(database, step, partly)
        beneath = count_beneath(database.rows, SQL, rollup, run.windows)
        if attempt == ATTEMPTS:
            if blocked(database, rollup.tables):  # Then an INSERT from a SELECT writes nothing, without an error.
                raise disk_is_full(f"table {rollup.table}")
            raise _failure(rollup, lost[0], before[lost[0]], stored[lost[0]], beneath != before)


def _failure(rollup: Rollup, window: Window, beneath: Beneath, stored: Stored, moving: bool) -> RetentionError:
    thing = f"table {rollup.table}, {show_window(window)}"
    if stored.alien:
        return PartitionChanged(thing, "somebody else writes to it", "the next run computes it again")
    if moving:
        return PartitionChanged(thing, f"rows are being written to {rollup.beneath}", "the next run looks again")
    return DatabaseError(thing, f"{show_difference(beneath, stored.counted)}, {ATTEMPTS} times")


def _compute(database: Database, step: RollUp, run: Run, version: int) -> dict[Window, Stored]:
    """Replace the rows of a run, and count them."""
    _refresh_own(database, step.rollup)
    for statement in run_statements(SQL, step, run, version, tables.PORTIONS):
        database.execute(statement)
    _refresh_own(database, step.rollup)
    return count_stored(database.rows, SQL, step.rollup, run.windows, version)


def _check_health(database: Database, step: RollUp) -> bool:
    """Law 6: of the partitions beneath, and of whatever else is read; whether others of the table lack shards."""
    rollup = step.rollup
    partly = check_idents(database, rollup.beneath, step.idents)
    if rollup.sketched and not rollup.from_raw:
        check_health(database, rollup.beneath_sketch)
    if rollup.has_counters:
        for level in (rollup, *(coarser for coarser, _ in step.older)):
            check_health(database, level.table)
    return partly


def _refresh_beneath(database: Database, step: RollUp, partly: bool) -> None:
    rollup = step.rollup
    if partly:
        refresh_idents(database, rollup.beneath, step.idents)
    else:
        refresh(database, rollup.beneath)
    if rollup.sketched and not rollup.from_raw:
        refresh(database, rollup.beneath_sketch)


def _refresh_own(database: Database, rollup: Rollup) -> None:
    for table in rollup.tables:
        refresh(database, table)
