"""
CrateDB's SQL: how columns and values are written, and the statements for which SQLAlchemy has no construct.

Everything is quoted by the dialect or passed as a parameter; nothing is pasted into text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement, quoted_name
from sqlalchemy.sql.expression import Executable

from cratedb_retention.engine.database import Database
from cratedb_retention.engine.expressions import (
    DOUBLE,
    LARGEST,
    PLAIN,
    TEXT,
    Element,
    Subscript,
    as_type,
    counted_ms,
    date_trunc,
    decimal_sum,
    number,
    quotient,
    table_ref,
    whole_number,
)
from cratedb_retention.errors import NotFound
from cratedb_retention.model.cascade import Interval
from cratedb_retention.model.catalog import Column, TableName, Value
from cratedb_retention.model.rollup import Rollup

_INSTANT = sa.TIMESTAMP(timezone=True)
_SUBSCRIPTED = re.compile(r"(?P<name>[^\[]+)(?P<path>(?:\['.*'\])+)")


class system:  # noqa: N801 - it reads like a table
    """A table of the system, such as ``sys.shards``; its columns are its attributes, or its items."""

    def __init__(self, name: str) -> None:
        schema, _, own = name.partition(".")
        self.table = sa.table(own, schema=schema)

    def __getitem__(self, name: str) -> sa.ColumnClause[Any]:
        if name not in self.table.c:
            self.table.append_column(sa.column(name))
        return self.table.c[name]

    def __getattr__(self, name: str) -> sa.ColumnClause[Any]:
        return self[name]


def table_name(database: Database, table: TableName) -> str:
    """A table's full name as SQL, quoted by the dialect."""
    return str(database.engine.dialect.identifier_preparer.format_table(table_ref(table)))


def refresh(database: Database, table: TableName) -> None:
    """Make what was written to a table visible to the next query."""
    database.refresh_name(table_name(database, table))


def refresh_partitions(
    database: Database, table: TableName, columns: Sequence[Column], partitions: Sequence[Sequence[Value]]
) -> None:
    """
    The same for some partitions only: where another one lacks shards, refreshing the table takes a minute.

    One that is gone is no reason to fail.
    """
    try:
        database.execute(RefreshPartitions([PartitionStatement(table, columns, values) for values in partitions]))
    except NotFound:
        refresh(database, table)


class CrateExpressions:
    """What CrateDB writes in its own way."""

    def column(self, column: Column) -> Element:
        """A reference to a column, perhaps inside an object. A plain column's name can't hold a bracket."""
        match = _SUBSCRIPTED.fullmatch(column.name)
        if match:
            return Subscript(match["name"], re.findall(r"\['(.*?)'\]", match["path"]))
        return sa.column(quoted_name(column.name, True))

    def value(self, column: Column, value: Value) -> Any:
        """Instants are milliseconds, which is what CrateDB compares a timestamp with."""
        counted = whole_number(column, value)
        if counted is not None:
            return counted
        if isinstance(value, int) and not isinstance(value, bool):
            return sa.literal(value, sa.BigInteger())
        return sa.literal(value)

    def epoch_ms(self, expression: Element) -> Element:
        """A timestamp cast to a whole number is its milliseconds."""
        return sa.cast(expression, sa.BigInteger())

    def instant(self, column: Column, expression: Element | None = None) -> Element:
        """CrateDB takes what has no time zone for UTC."""
        reference = self.column(column) if expression is None else expression
        if column.unit is not None:
            return sa.cast(counted_ms(column, reference), _INSTANT)
        return reference if column.type.lower() == "timestamp with time zone" else sa.cast(reference, _INSTANT)

    def bucket(self, interval: Interval, zone: str, instant: Element) -> Element:
        """``date_bin`` and ``date_trunc``; where clocks repeat midnight, CrateDB takes the first one, as we do."""
        if interval.seconds:
            step: Element = sa.literal_column(f"INTERVAL '{interval.seconds} seconds'")
            return sa.func.date_bin(step, instant, sa.literal_column("0"))
        return date_trunc(interval.unit, *([] if zone == "UTC" else [sa.literal(zone)]), instant)

    def row_version(self, alias: str) -> Element:
        """Each change of a row gives it the next number of its shard."""
        return sa.literal_column("_seq_no")

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

    def total(self, value: Element) -> Element:
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


def _spread(count: Element, total: Element, squares: Element) -> Element:
    """The sum of squared distances from the mean, times the number of values; its parts are exact."""
    return as_type(count.op("*")(squares).op("-")(sa.func.abs(total).op("*")(sa.func.abs(total))), DOUBLE)


SQL = CrateExpressions()


class PartitionStatement(Executable, ClauseElement):
    """A statement about one partition of a table: ``... "t" PARTITION ("month" = ?) ...``."""

    inherit_cache = False

    def __init__(self, table: TableName, columns: Sequence[Column] = (), values: Sequence[Value] = ()) -> None:
        self.table = table
        self.assignments = list(zip(columns, values, strict=True))

    def relation(self, compiler: SQLCompiler, **kw: Any) -> str:
        """The table and its partition as SQL."""
        text = compiler.process(table_ref(self.table), ashint=False, asfrom=True, **kw)
        if not self.assignments:
            return text
        parts = (
            f"{compiler.process(SQL.column(column), **kw)} = {compiler.process(_literal(column, value), **kw)}"
            for column, value in self.assignments
        )
        return f"{text} PARTITION ({', '.join(parts)})"


def _literal(column: Column, value: Value) -> Element:
    return sa.null() if value is None else SQL.value(column, value)


class RefreshPartitions(Executable, ClauseElement):
    """``REFRESH TABLE "t" PARTITION (...), ...``."""

    inherit_cache = False

    def __init__(self, partitions: Sequence[PartitionStatement]) -> None:
        self.partitions = partitions


@compiles(RefreshPartitions)
def _compile_refresh(element: RefreshPartitions, compiler: SQLCompiler, **kw: Any) -> str:
    return f"REFRESH TABLE {', '.join(partition.relation(compiler, **kw) for partition in element.partitions)}"


class AlterPartition(PartitionStatement):
    """``ALTER TABLE ... PARTITION (...) SET ("name" = value)``."""

    inherit_cache = False

    def __init__(
        self, table: TableName, columns: Sequence[Column], values: Sequence[Value], setting: str, to: int | str
    ) -> None:
        super().__init__(table, columns, values)
        self.setting, self.to = setting, to


@compiles(AlterPartition)
def _compile_alter(element: AlterPartition, compiler: SQLCompiler, **kw: Any) -> str:
    value = compiler.process(sa.literal(element.to), **kw)
    name = compiler.preparer.quote_identifier(element.setting)
    return f"ALTER TABLE {element.relation(compiler, **kw)} SET ({name} = {value})"


class CreateSnapshot(PartitionStatement):
    """``CREATE SNAPSHOT repository.name TABLE ... PARTITION (...)``, which waits until it is complete."""

    inherit_cache = False

    def __init__(
        self, table: TableName, columns: Sequence[Column], values: Sequence[Value], repository: str, name: str
    ) -> None:
        super().__init__(table, columns, values)
        self.repository, self.name = repository, name


@compiles(CreateSnapshot)
def _compile_create_snapshot(element: CreateSnapshot, compiler: SQLCompiler, **kw: Any) -> str:
    return (
        f"CREATE SNAPSHOT {_snapshot(compiler, element.repository, element.name)} "
        f"TABLE {element.relation(compiler, **kw)} WITH (wait_for_completion = true)"
    )


class DropSnapshot(Executable, ClauseElement):
    """``DROP SNAPSHOT repository.name``."""

    inherit_cache = False

    def __init__(self, repository: str, name: str) -> None:
        self.repository, self.name = repository, name


@compiles(DropSnapshot)
def _compile_drop_snapshot(element: DropSnapshot, compiler: SQLCompiler, **kw: Any) -> str:
    return f"DROP SNAPSHOT {_snapshot(compiler, element.repository, element.name)}"


class RestoreSnapshot(PartitionStatement):
    """``RESTORE SNAPSHOT repository.name TABLE ... PARTITION (...)``, with options, which waits until it is done."""

    inherit_cache = False

    def __init__(
        self,
        table: TableName,
        columns: Sequence[Column],
        values: Sequence[Value],
        repository: str,
        name: str,
        options: Mapping[str, str],
    ) -> None:
        super().__init__(table, columns, values)
        self.repository, self.name, self.with_options = repository, name, dict(options)


@compiles(RestoreSnapshot)
def _compile_restore(element: RestoreSnapshot, compiler: SQLCompiler, **kw: Any) -> str:
    options = "".join(
        f", {compiler.preparer.quote_identifier(key)} = {compiler.process(sa.literal(value), **kw)}"
        for key, value in element.with_options.items()
    )
    return (
        f"RESTORE SNAPSHOT {_snapshot(compiler, element.repository, element.name)} "
        f"TABLE {element.relation(compiler, **kw)} WITH (wait_for_completion = true{options})"
    )


def _snapshot(compiler: SQLCompiler, repository: str, name: str) -> str:
    return f"{compiler.preparer.quote_identifier(repository)}.{compiler.preparer.quote_identifier(name)}"
