"""
DuckDB's SQL: how columns and values are written, and the statements for which SQLAlchemy has no construct.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement, quoted_name
from sqlalchemy.sql.expression import Executable

from cratedb_retention.engine.duckdb.buckets import bucket
from cratedb_retention.engine.expressions import (
    DOUBLE,
    LARGEST,
    PLAIN,
    TEXT,
    Element,
    Subscript,
    counted_ms,
    date_trunc,
    decimal_sum,
    is_aware,
    number,
    table_ref,
    whole_number,
)
from cratedb_retention.model.cascade import Interval
from cratedb_retention.model.catalog import Column, Kind, TableName, Value
from cratedb_retention.model.rollup import Rollup
from cratedb_retention.model.time import from_ms


class DuckExpressions:
    """What DuckDB writes in its own way."""

    def column(self, column: Column) -> Element:
        """A reference to a column, perhaps a field of a struct."""
        if column.path:
            return Subscript(column.path[0], column.path[1:])
        return sa.column(quoted_name(column.name, True))

    def value(self, column: Column, value: Value) -> Any:
        """Instants become datetimes in UTC: aware where the column has a time zone, naive where it has none."""
        counted = whole_number(column, value)
        if counted is not None:
            return counted
        if column.kind is not Kind.TIME or not isinstance(value, int):
            return sa.literal(value)
        moment = from_ms(value)
        aware = is_aware(column)
        return sa.literal(moment if aware else moment.replace(tzinfo=None), sa.DateTime(timezone=aware))

    def epoch_ms(self, expression: Element) -> Element:
        """Milliseconds since the epoch; NULL for infinite times."""
        return sa.func.epoch_ms(expression, type_=sa.BigInteger())

    def instant(self, column: Column, expression: Element | None = None) -> Element:
        """What has no time zone is UTC, whatever the session's is."""
        reference = self.column(column) if expression is None else expression
        if column.unit is not None:
            return sa.func.timezone("UTC", sa.func.epoch_ms(counted_ms(column, reference)))
        return reference if is_aware(column) else sa.func.timezone("UTC", sa.cast(reference, sa.TIMESTAMP()))

    def bucket(self, interval: Interval, zone: str, instant: Element) -> Element:
        """The start of the interval that an instant lies in."""
        return bucket(interval, zone, instant)

    def row_version(self, alias: str) -> Element:
        """The hash of all columns."""
        return sa.cast(sa.func.hash(sa.literal_column(alias)), _HugeInt())

    def stored_type(self, column: Column) -> str:
        """Its own type; as text if that is an ``ENUM`` or another with values in it."""
        words = column.type.upper().strip()
        return words if PLAIN.fullmatch(words) else TEXT

    def sum_type(self, column: Column) -> str:
        """DuckDB refuses a sum that is too large for it, rather than round it."""
        return decimal_sum(column.type) or DOUBLE

    def partition(self, rollup: Rollup) -> Element | None:
        """In words that the reader of the catalog understands, and that mean the same in any session's time zone."""
        if rollup.partition is None:
            return None
        time = self.column(rollup.own_time)
        if rollup.partition.seconds:
            return sa.func.time_bucket(sa.literal_column(f"INTERVAL '{rollup.partition.seconds} seconds'"), time)
        zone = sa.literal(rollup.zone)
        return sa.func.timezone(zone, date_trunc(rollup.partition.unit, sa.func.timezone(zone, time)))

    def total(self, value: Element) -> Element:
        """A plain sum."""
        return sa.func.sum(value)

    def spread(self, value: Element) -> Element:
        """DuckDB's variance is computed in Welford's way, which keeps the digits of large values."""
        small = sa.case((sa.func.abs(value) <= number(LARGEST), value))
        count = sa.func.count(value)
        return sa.case((count == sa.func.count(small), sa.func.var_pop(small).op("*")(count)))


SQL = DuckExpressions()


def row_hash(columns: Iterable[Column]) -> sa.ColumnElement[int]:
    """
    A number that changes when a row changes.

    :param columns: The stored columns.
    """
    return sa.cast(sa.func.hash(*(SQL.column(column) for column in columns)), _HugeInt())


def fingerprint(hashed: sa.ColumnElement[int]) -> sa.ColumnElement[str]:
    """
    A value that changes when any row changes, and does not depend on the order of rows: number and sum of hashes.

    :param hashed: See :func:`row_hash`.
    """
    total = sa.func.sum(hashed, type_=_HugeInt())
    texts = (sa.cast(sa.func.count(), sa.Text()), sa.cast(sa.func.coalesce(total, 0), sa.Text()))
    return texts[0].concat(":").concat(texts[1])


class _HugeInt(sa.types.UserDefinedType[int]):
    cache_ok = True

    def get_col_spec(self, **kw: Any) -> str:
        return "HUGEINT"


class CopyTo(Executable, ClauseElement):
    """``COPY (SELECT ...) TO 'file' (FORMAT parquet)``."""

    inherit_cache = False

    def __init__(self, select: sa.Select[Any], path: Path) -> None:
        self.select, self.path = select, path


@compiles(CopyTo)
def _compile_copy(element: CopyTo, compiler: SQLCompiler, **kw: Any) -> str:
    query = compiler.process(element.select, **kw)
    return f"COPY ({query}) TO {_text(compiler, str(element.path))} (FORMAT parquet, COMPRESSION zstd)"


class CreateTable(Executable, ClauseElement):
    """
    ``CREATE TABLE t (...)``, with types and expressions in DuckDB's own words.

    :param columns: With their expressions, where they are to be generated.
    """

    inherit_cache = False

    def __init__(self, table: TableName, columns: Sequence[Column]) -> None:
        self.table, self.columns = table, columns


@compiles(CreateTable)
def _compile_create(element: CreateTable, compiler: SQLCompiler, **kw: Any) -> str:
    name = compiler.process(table_ref(element.table), asfrom=True, **kw)
    columns = (
        f"{compiler.preparer.quote_identifier(column.name)} {column.type}"
        + (f" GENERATED ALWAYS AS ({column.expression})" if column.expression else "")
        for column in element.columns
    )
    return f"CREATE TABLE {name} ({', '.join(columns)})"


class CommentOn(Executable, ClauseElement):
    """``COMMENT ON TABLE t IS '...'``."""

    inherit_cache = False

    def __init__(self, table: TableName, comment: str) -> None:
        self.table, self.comment = table, comment


@compiles(CommentOn)
def _compile_comment(element: CommentOn, compiler: SQLCompiler, **kw: Any) -> str:
    name = compiler.process(table_ref(element.table), asfrom=True, **kw)
    return f"COMMENT ON TABLE {name} IS {_text(compiler, element.comment)}"


class AddColumn(Executable, ClauseElement):
    """``ALTER TABLE ... ADD COLUMN IF NOT EXISTS``, with a type in DuckDB's own words."""

    inherit_cache = False

    def __init__(self, table: TableName, name: str, kind: str) -> None:
        self.table, self.name, self.kind = table, name, kind


@compiles(AddColumn)
def _compile_add(element: AddColumn, compiler: SQLCompiler, **kw: Any) -> str:
    table = compiler.process(table_ref(element.table), asfrom=True, **kw)
    name = compiler.preparer.quote_identifier(element.name)
    return f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} {element.kind}"


def _text(compiler: SQLCompiler, value: str) -> str:
    return compiler.render_literal_value(value, sa.String())
