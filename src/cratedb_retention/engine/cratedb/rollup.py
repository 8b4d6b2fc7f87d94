"""
Rolling up on CrateDB: what is there is deleted, an INSERT from a SELECT computes it anew, and both sides are counted,
since rows that such a statement can't store are skipped without an error. Readers see all of it with the refresh that
comes before the counting, and nothing before.
"""

from __future__ import annotations

from collections.abc import Sequence

from cratedb_retention.engine import rollup as rollups
from cratedb_retention.engine.base import Progress, Report, StepResult
from cratedb_retention.engine.cratedb.connection import CrateConnection, disk_is_full
from cratedb_retention.engine.cratedb.shards import check_shards, refresh_idents
from cratedb_retention.engine.cratedb.sql import SQL
from cratedb_retention.engine.expressions import table_ref
from cratedb_retention.errors import DatabaseError, PartitionChanged, RetentionError
from cratedb_retention.model.rollup import RolledUp, RollUp, Rollup, Window

ATTEMPTS = 5
# A window function holds all rows of a run in one node's memory. All groups of an INSERT are handed to the shards at
# once, and where these are too many CrateDB waits, longer each time: 864,000 groups took 20 to 37 s in one statement,
# 10 to 15 s in thirty.
PORTIONS = rollups.Portions(run=20_000_000, counters=1_000_000, insert=100_000)


def roll_up(database: CrateConnection, step: RollUp, report: Report, portions: rollups.Portions) -> StepResult:
    """Compute windows; a large INSERT from a SELECT can lose rows on a busy cluster, so it may take more than one."""
    rollup, results = step.rollup, list[RolledUp]()
    partly = _check_health(database, step)

    def count(windows: Sequence[Window]) -> dict[Window, rollups.Beneath]:
        _refresh_beneath(database, step, partly)
        return rollups.count_beneath(database.rows, SQL, rollup, windows)

    def compute(run: rollups.Run) -> dict[Window, rollups.Stored]:
        """Replace the rows of a run, and count them."""
        version = rollups.new_version()
        database.refresh(*map(table_ref, rollup.tables))
        for statement in rollups.run_statements(SQL, step, run, version, portions):
            database.execute(statement)
        database.refresh(*map(table_ref, rollup.tables))
        return rollups.count_stored(database.rows, SQL, rollup, run.windows, version)

    beneath = count(step.windows)
    for run in rollups.runs_of(step, portions):
        rollups.require_rows(database.rows, SQL, step, run)
        attempt = 0
        while True:
            stored, attempt = compute(run), attempt + 1
            lost = [w for w in run.windows if stored[w].counted != beneath[w] or stored[w].alien]
            if not lost:
                break
            before, beneath = beneath, beneath | count(run.windows)
            if attempt == ATTEMPTS:
                if database.blocked(rollup.tables):  # Then an INSERT from a SELECT writes nothing, without an error.
                    raise disk_is_full(f"table {rollup.table}")
                raise _failure(rollup, lost[0], before[lost[0]], stored[lost[0]], beneath != before)
        results += [RolledUp(window, beneath[window].rows, stored[window].groups) for window in run.windows]
        report(Progress(len(results), len(step.windows), "window"))
    return StepResult(rows=sum(result.source_rows for result in results), windows=tuple(results))


def _failure(
    rollup: Rollup, window: Window, beneath: rollups.Beneath, stored: rollups.Stored, moving: bool
) -> RetentionError:
    thing = f"table {rollup.table}, {rollups.show_window(window)}"
    if stored.alien:
        return PartitionChanged(thing, "somebody else writes to it", "the next run computes it again")
    if moving:
        return PartitionChanged(thing, f"rows are being written to {rollup.beneath}", "the next run looks again")
    return DatabaseError(thing, f"{rollups.show_difference(beneath, stored.counted)}, {ATTEMPTS} times")


def _check_health(database: CrateConnection, step: RollUp) -> bool:
    """Law 6: of the partitions beneath, and of whatever else is read; whether others of the table lack shards."""
    rollup = step.rollup
    partly = check_shards(database, rollup.beneath, step.idents)
    if rollup.sketched and not rollup.from_raw:
        check_shards(database, rollup.beneath_sketch)
    if rollup.has_counters:
        for level in (rollup, *(coarser for coarser, _ in step.older)):
            check_shards(database, level.table)
    return partly


def _refresh_beneath(database: CrateConnection, step: RollUp, partly: bool) -> None:
    rollup = step.rollup
    if partly:
        refresh_idents(database, rollup.beneath, step.idents)
    else:
        database.refresh(table_ref(rollup.beneath))
    if rollup.sketched and not rollup.from_raw:
        database.refresh(table_ref(rollup.beneath_sketch))
