"""
What rolling up has in common on all databases: the statements of a run of windows.
"""

from __future__ import annotations

import secrets
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.expressions import between, table_ref
from cratedb_retention.engine.measuring import union
from cratedb_retention.engine.rollup_columns import (
    RollupSQL,
    level_fields,
    number,
    sketch_fields,
    stored,
)
from cratedb_retention.engine.rollup_counters import NEAR, Seeds
from cratedb_retention.engine.rollup_ddl import InsertRows
from cratedb_retention.engine.rollup_runs import Run, make_runs
from cratedb_retention.engine.rollup_select import level_select
from cratedb_retention.engine.rollup_sketch import sketch_select
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.rollup import Rollup
from cratedb_retention.model.rollup_steps import RollUp

# What stands for the version of a computation where it is only shown.
SHOWN = 0


def new_version() -> int:
    """Tells the rows of one computation from those of earlier ones: a number, since each row has to hold it."""
    return secrets.randbits(53)


def tables_of(rollup: Rollup) -> list[TableName]:
    """The tables of a level."""
    return [rollup.table, *([rollup.sketch] if rollup.sketched else [])]


def compute_statements(
    sql: RollupSQL, rollup: Rollup, run: Run, version: int, seeds: Seeds = NEAR
) -> list[sa.Executable]:
    """Compute a run of windows, of which nothing is there."""
    query = level_select(sql, rollup, run, version, seeds)
    found: list[sa.Executable] = [InsertRows(rollup.table, stored(level_fields(sql, rollup)), query)]
    if rollup.sketched:
        bins = sketch_select(sql, rollup, run, version)
        found.append(InsertRows(rollup.sketch, stored(sketch_fields(sql, rollup)), bins))
    return found


def delete_statements(sql: RollupSQL, rollup: Rollup, run: Run) -> list[sa.Executable]:
    """Delete what is there of a run of windows."""
    within = between(sql, rollup.own_time, run.since, run.until)
    return [sa.delete(table_ref(table)).where(within) for table in tables_of(rollup)]


def replace_statements(sql: RollupSQL, step: RollUp) -> list[sa.Executable]:
    """All statements of a step that change something, for showing."""
    found: list[sa.Executable] = []
    for run in make_runs(step.windows):
        found += delete_statements(sql, step.rollup, run)
        found += compute_statements(sql, step.rollup, run, SHOWN)
    return found


def any_statement(sql: RollupSQL, rollup: Rollup, run: Run) -> sa.Executable:
    """A row or two if anything is there of a run of windows."""
    within = between(sql, rollup.own_time, run.since, run.until)
    row = sa.select(number(1).label("there")).where(within).limit(1)
    return union([row.select_from(table_ref(table)).subquery().select() for table in tables_of(rollup)])


def missing_names(columns: tuple[str, ...], there: Any) -> list[str]:
    """Those of some columns that a table does not have yet."""
    return [name for name in columns if name not in there]
