"""
A level's tables and the view on CrateDB, and the statements of a step for showing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.expression import Executable

from cratedb_retention.engine.base import StepResult
from cratedb_retention.engine.cratedb.sql import SQL, system
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.rollup import (
    CreateTable,
    Portions,
    field_sql,
    names_sql,
    step_statements,
    table_sql,
)
from cratedb_retention.engine.rollup_view import view_statement
from cratedb_retention.engine.states import Field, level_fields, sketch_fields
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.rollup import (
    PARTITION,
    AlterRollup,
    CreateRollup,
    RebaseRollup,
    ReplaceView,
    RollUp,
    RollupStep,
    SealWindows,
)

# A window function holds all rows of a run in one node's memory. All groups of an INSERT are handed to the shards at
# once, and where these are too many CrateDB waits, longer each time: 864,000 groups took 20 to 37 s in one statement,
# 10 to 15 s in thirty.
PORTIONS = Portions(run=20_000_000, counters=1_000_000, insert=100_000)


class CreateCrateTable(CreateTable):
    """
    ``CREATE TABLE IF NOT EXISTS``, perhaps with partitions.

    Nothing is seen of what is written before the toolkit refreshes the table, so that readers never meet a window
    whose rows are deleted and not yet computed anew. No primary key: one costs more than all the rest of an INSERT,
    and can't hold NULL.
    """

    inherit_cache = False

    def __init__(self, table: TableName, fields: Sequence[Field], replicas: str | None) -> None:
        super().__init__(table, fields)
        self.replicas = replicas


@compiles(CreateCrateTable)
def _compile_create(element: CreateCrateTable, compiler: SQLCompiler, **kw: Any) -> str:
    columns = ", ".join(_column_sql(compiler, field) for field in element.fields)
    text = f"CREATE TABLE IF NOT EXISTS {table_sql(compiler, element.table)} ({columns})"
    if any(field.name == PARTITION for field in element.fields):
        text += f" CLUSTERED INTO 1 SHARDS PARTITIONED BY ({names_sql(compiler, [PARTITION])})"
    options = "column_policy = 'strict', refresh_interval = 0"
    if element.replicas is not None:
        value = compiler.render_literal_value(element.replicas, sa.String())
        options += f", number_of_replicas = {value}"
    return f"{text} WITH ({options})"


def _column_sql(compiler: SQLCompiler, field: Field) -> str:
    """Writing takes a fifth less without indexes that nobody uses; CrateDB then compares by its column store."""
    text = field_sql(compiler, field)
    return text if field.searched else f"{text} INDEX OFF"


class AddColumns(Executable, ClauseElement):
    """``ALTER TABLE ... ADD COLUMN ..., ADD COLUMN ...``."""

    inherit_cache = False

    def __init__(self, table: TableName, fields: Sequence[Field]) -> None:
        self.table, self.fields = table, tuple(fields)


@compiles(AddColumns)
def _compile_add(element: AddColumns, compiler: SQLCompiler, **kw: Any) -> str:
    added = ", ".join(f"ADD COLUMN {_column_sql(compiler, field)}" for field in element.fields)
    return f"ALTER TABLE {table_sql(compiler, element.table)} {added}"


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
            return step_statements(SQL, step, PORTIONS)
        case SealWindows() | RebaseRollup():
            return []
        case _:
            assert_never(step)


def create(database: Database, step: CreateRollup) -> StepResult:
    """Create a level's tables, if they are not there."""
    return _execute(database, create_statements(step))


def alter(database: Database, step: AlterRollup) -> StepResult:
    """Add the columns that are still missing."""
    c = system("information_schema.columns")
    table = step.rollup.table
    mine = (c.table_schema == table.schema, c.table_name == table.name)
    there = {name for (name,) in database.rows(sa.select(c.column_name).where(*mine))}
    return _execute(database, alter_statements(step, [name for name in step.columns if name not in there]))


def replace_view(database: Database, step: ReplaceView) -> StepResult:
    """Create or renew the view."""
    return _execute(database, statements(step))


def _execute(database: Database, found: Sequence[sa.Executable]) -> StepResult:
    for statement in found:
        database.execute(statement)
    return StepResult()
