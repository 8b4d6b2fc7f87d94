"""
Rolling up on DuckDB: in one transaction the rows of the windows are deleted, computed and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

import sqlalchemy as sa

from cratedb_retention.engine.base import Progress, Report, StepResult
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.duckdb.sql import SQL, AddColumn
from cratedb_retention.engine.rollup import (
    CreateTable,
    Run,
    count_beneath,
    count_stored,
    new_version,
    require_rows,
    run_statements,
    runs_of,
    show_difference,
    show_window,
    step_statements,
)
from cratedb_retention.engine.rollup_view import view_statement
from cratedb_retention.engine.states import level_fields, sketch_fields
from cratedb_retention.errors import DatabaseError
from cratedb_retention.model.rollup import (
    AlterRollup,
    CreateRollup,
    RebaseRollup,
    ReplaceView,
    RolledUp,
    RollUp,
    RollupStep,
    SealWindows,
)


def create_statements(step: CreateRollup) -> list[sa.Executable]:
    """The level's table, and that with its distributions."""
    rollup = step.rollup
    level = CreateTable(rollup.table, level_fields(SQL, rollup))
    return [level, *([CreateTable(rollup.sketch, sketch_fields(SQL, rollup))] if rollup.sketched else [])]


def alter_statements(step: AlterRollup) -> list[sa.Executable]:
    """The columns that are missing, and the table with the distributions, in case that it is."""
    missing = [field for field in level_fields(SQL, step.rollup) if field.name in step.columns]
    added = [AddColumn(step.rollup.table, field.name, field.type) for field in missing]
    return [*added, *create_statements(CreateRollup(rollup=step.rollup))[1:]]


def statements(step: RollupStep) -> list[sa.Executable]:
    """The statements that change something, for showing a step."""
    match step:
        case CreateRollup():
            return create_statements(step)
        case AlterRollup():
            return alter_statements(step)
        case ReplaceView():
            return [view_statement(SQL, step)]
        case RollUp():
            return step_statements(SQL, step)
        case SealWindows() | RebaseRollup():
            return []
        case _:
            assert_never(step)


def perform(database: Database, step: RollupStep, report: Report) -> StepResult:
    """Do a step of a cascade; sealing is a matter of the ledger alone."""
    if isinstance(step, RollUp):
        return roll_up(database, step, report)
    return _execute(database, statements(step))


def _execute(database: Database, found: Sequence[sa.Executable]) -> StepResult:
    def work(connection: sa.Connection) -> None:
        for statement in found:
            connection.execute(statement)

    database.transact(work)
    return StepResult()


def roll_up(database: Database, step: RollUp, report: Report) -> StepResult:
    """
    Compute windows from the level beneath.

    :raises DatabaseError: if rows are lost (laws 4 and 5), or a sum is too large; then nothing is changed.
    """

    def work(connection: sa.Connection) -> list[RolledUp]:
        results: list[RolledUp] = []
        for run in runs_of(step):
            results += _roll_up_run(connection, step, run)
            report(Progress(len(results), len(step.windows), "window"))
        return results

    try:
        results = database.transact(work)
    except DatabaseError as error:
        if "Overflow" not in error.reason:
            raise
        remedy = "leave sum and avg of that metric out of aggregates, or exclude it"
        raise DatabaseError(f"table {step.rollup.table}", f"a sum is too large ({error.reason})", remedy) from error
    return StepResult(rows=sum(result.source_rows for result in results), windows=tuple(results))


def _roll_up_run(connection: sa.Connection, step: RollUp, run: Run) -> list[RolledUp]:
    rollup = step.rollup

    def query(statement: sa.Executable) -> Sequence[Sequence[Any]]:
        return connection.execute(statement).all()

    require_rows(query, SQL, step, run)
    version = new_version()
    for statement in run_statements(SQL, step, run, version):
        connection.execute(statement)
    beneath = count_beneath(query, SQL, rollup, run.windows)
    found = count_stored(query, SQL, rollup, run.windows, version)
    for window in run.windows:
        if found[window].counted != beneath[window]:
            thing = f"table {rollup.table}, {show_window(window)}"
            raise DatabaseError(thing, show_difference(beneath[window], found[window].counted))
    return [RolledUp(window, beneath[window].rows, found[window].groups) for window in run.windows]
