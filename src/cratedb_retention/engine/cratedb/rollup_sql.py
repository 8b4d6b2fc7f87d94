"""
How CrateDB computes rollups and keeps them: expressions, and the statements about their tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.expression import Executable

from cratedb_retention.engine.cratedb.sql import CrateExpressions
from cratedb_retention.engine.rollup_columns import (
    DOUBLE,
    LARGEST,
    PLAIN,
    TEXT,
    Field,
    as_type,
    decimal_sum,
    number,
    quotient,
)
from cratedb_retention.engine.rollup_ddl import CreateTable, field_sql, names_sql, table_sql
from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.rollup import PARTITION, Rollup

Element = sa.ColumnElement[Any]


class CrateRollupSQL(CrateExpressions):
    """How CrateDB computes rollups."""

    def stored_type(self, column: Column) -> str:
        """The catalog shows NUMERIC and CHARACTER without their sizes, and without these they can't be stored."""
        words = column.type.upper().strip()
        if words == "NUMERIC":
            return DOUBLE
        return words if PLAIN.fullmatch(words) and words != "CHARACTER" else TEXT

    def sum_type(self, column: Column) -> str:
        """A row with a sum that is too large for it is not stored, and then the window fails (law 5)."""
        return decimal_sum(column.type) or DOUBLE

    def partition(self, rollup: Rollup) -> Element | None:
        """``date_trunc('month', 'Europe/Vienna', ts)``."""
        if rollup.partition is None:
            return None
        return self.bucket(rollup.partition, rollup.zone, self.column(rollup.own_time))

    def total(self, value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """
        CrateDB's ``sum`` of doubles carries the rounding of one group into the next, which shows where groups differ
        much in size; its ``avg`` does not.
        """
        return sa.func.avg(value).op("*")(sa.func.count(value))

    def spread(self, value: Element) -> Element:
        """In exact decimal numbers, since CrateDB's own ``variance`` cancels the digits of large values out."""
        small = sa.case((sa.func.abs(value) <= number(LARGEST), value))
        exact, count = sa.cast(small, sa.Numeric()), sa.func.count(value)
        spread = _spread(sa.cast(count, sa.Numeric()), sa.func.sum(exact), sa.func.sum(exact.op("*")(exact)))
        return sa.case((count == sa.func.count(small), quotient(spread, as_type(count, DOUBLE))))

    def center(self, total: Element, count: Element, within: Sequence[Element]) -> None:
        """Not needed."""

    def merged_spread(self, spread: Element, count: Element, total: Element, center: Element | None) -> Element:
        """That within the rows, and that of their means, exactly as above."""
        known = spread.is_not(None)
        mean = sa.cast(sa.case((known, quotient(as_type(total, DOUBLE), as_type(count, DOUBLE)))), sa.Numeric())
        size = sa.cast(count, sa.Numeric())
        weighted = size.op("*")(mean)
        all_rows, some = sa.func.sum(count), sa.func.count().filter(count > number(0))
        between = _spread(sa.cast(all_rows, sa.Numeric()), sa.func.sum(weighted), sa.func.sum(weighted.op("*")(mean)))
        whole = sa.func.sum(spread).op("+")(quotient(between, as_type(all_rows, DOUBLE)))
        return sa.case((some == sa.func.count(spread), whole))


def _spread(count: Element, total: Element, squares: Element) -> Element:
    """The sum of squared distances from the mean, times the number of values; its parts are exact."""
    return as_type(count.op("*")(squares).op("-")(sa.func.abs(total).op("*")(sa.func.abs(total))), DOUBLE)


SQL = CrateRollupSQL()


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
