"""
The statements about a rollup's tables for which SQLAlchemy has no construct, as far as the databases agree on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.expression import Executable

from cratedb_retention.engine.expressions import table_ref
from cratedb_retention.engine.rollup_columns import Field
from cratedb_retention.model.catalog import TableName


def table_sql(compiler: SQLCompiler, table: TableName) -> str:
    """A table's full name as SQL."""
    return compiler.process(table_ref(table), ashint=False, asfrom=True)


def names_sql(compiler: SQLCompiler, names: Sequence[str]) -> str:
    """Names with commas between them."""
    return ", ".join(map(compiler.preparer.quote_identifier, names))


def field_sql(compiler: SQLCompiler, field: Field) -> str:
    """A column's definition; there are no parameters in one."""
    text = f"{compiler.preparer.quote_identifier(field.name)} {field.type}"
    if field.generated is None:
        return text
    return f"{text} GENERATED ALWAYS AS ({compiler.process(field.generated, literal_binds=True)})"


class CreateTable(Executable, ClauseElement):
    """``CREATE TABLE IF NOT EXISTS``."""

    inherit_cache = False

    def __init__(self, table: TableName, fields: Sequence[Field]) -> None:
        self.table, self.fields = table, tuple(fields)


@compiles(CreateTable)
def _compile_create(element: CreateTable, compiler: SQLCompiler, **kw: Any) -> str:
    columns = ", ".join(field_sql(compiler, field) for field in element.fields)
    return f"CREATE TABLE IF NOT EXISTS {table_sql(compiler, element.table)} ({columns})"


class InsertRows(Executable, ClauseElement):
    """``INSERT INTO ... (SELECT ...)``."""

    inherit_cache = False

    def __init__(self, table: TableName, names: Sequence[str], select: sa.Select[Any]) -> None:
        self.table, self.names, self.select = table, tuple(names), select


@compiles(InsertRows)
def _compile_insert(element: InsertRows, compiler: SQLCompiler, **kw: Any) -> str:
    query = compiler.process(element.select, **kw)
    into = f"{table_sql(compiler, element.table)} ({names_sql(compiler, element.names)})"
    return f"INSERT INTO {into} ({query})"


class CreateView(Executable, ClauseElement):
    """``CREATE VIEW``, perhaps ``OR REPLACE``; its values stand in the text, since a view can't have parameters."""

    inherit_cache = False

    def __init__(self, view: TableName, select: sa.SelectBase, replace: bool) -> None:
        self.view, self.select, self.replace = view, select, replace


@compiles(CreateView)
def _compile_view(element: CreateView, compiler: SQLCompiler, **kw: Any) -> str:
    query = compiler.process(element.select, **{**kw, "literal_binds": True})
    create = "CREATE OR REPLACE VIEW" if element.replace else "CREATE VIEW"
    return f"{create} {table_sql(compiler, element.view)} AS {query}"
