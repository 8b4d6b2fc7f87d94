"""
A level's tables and the view on CrateDB, and the statements of a step for showing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import sqlalchemy as sa

from cratedb_retention.engine.base import StepResult
from cratedb_retention.engine.cratedb.rollup_sql import SQL, AddColumns, CreateCrateTable
from cratedb_retention.engine.cratedb.sql import system_table
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.rollup import missing_names, replace_statements
from cratedb_retention.engine.rollup_columns import level_fields, sketch_fields
from cratedb_retention.engine.rollup_view import view_statement
from cratedb_retention.model.rollup_steps import (
    AlterRollup,
    CreateRollup,
    RebaseRollup,
    ReplaceView,
    RollUp,
    RollupStep,
    SealWindows,
)


def create_statements(step: CreateRollup) -> list[sa.Executable]:
    """The level's table, and that with its distributions."""
    rollup = step.rollup
    level = CreateCrateTable(rollup.table, level_fields(SQL, rollup), step.replicas)
    if not rollup.sketched:
        return [level]
    return [level, CreateCrateTable(rollup.sketch, sketch_fields(SQL, rollup), step.replicas)]


def alter_statements(step: AlterRollup, names: Sequence[str]) -> list[sa.Executable]:
    """The columns that are missing, and the table with the distributions, in case that it is."""
    fields = [field for field in level_fields(SQL, step.rollup) if field.name in names]
    added: list[sa.Executable] = [AddColumns(step.rollup.table, fields)] if fields else []
    return [*added, *create_statements(CreateRollup(rollup=step.rollup))[1:]]


def statements(step: RollupStep) -> list[sa.Executable]:
    """The statements that change something."""
    match step:
        case CreateRollup():
            return create_statements(step)
        case AlterRollup():
            return alter_statements(step, step.columns)
        case ReplaceView():
            return [view_statement(SQL, step)]
        case RollUp():
            return replace_statements(SQL, step)
        case SealWindows() | RebaseRollup():
            return []
        case _:
            assert_never(step)


def create(database: Database, step: CreateRollup) -> StepResult:
    """Create a level's tables, if they are not there."""
    return _execute(database, create_statements(step))


def alter(database: Database, step: AlterRollup) -> StepResult:
    """Add the columns that are still missing."""
    c = system_table("information_schema", "columns", "table_schema", "table_name", "column_name").c
    table = step.rollup.table
    mine = (c.table_schema == table.schema, c.table_name == table.name)
    there = {name for (name,) in database.rows(sa.select(c.column_name).where(*mine))}
    return _execute(database, alter_statements(step, missing_names(step.columns, there)))


def replace_view(database: Database, step: ReplaceView) -> StepResult:
    """Create or renew the view."""
    return _execute(database, statements(step))


def _execute(database: Database, found: Sequence[sa.Executable]) -> StepResult:
    for statement in found:
        database.execute(statement)
    return StepResult()
