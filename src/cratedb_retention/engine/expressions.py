"""SQL expressions on tables of users, whose names and values may be anything, once for all dialects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement, quoted_name

from cratedb_retention.model.catalog import Column, TableName, Value
from cratedb_retention.model.plan.plan import Spared
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.rollups.rollup import Rollup

Element = sa.ColumnElement[Any]
Condition = sa.ColumnElement[bool]
Sql = str | ClauseElement
DOUBLE, BIGINT, TEXT = "DOUBLE PRECISION", "BIGINT", "TEXT"
# A type without values, fields or other types in it.
PLAIN = re.compile(r"[A-Z][A-Z0-9_ ]*(\(\d+(, ?\d+)?\))?")
_FLOATING = ("REAL", "FLOAT", "DOUBLE", DOUBLE)
_LARGEST_DOUBLE = 1.7976931348623157e308
# Squares of larger numbers exceed the range of a double; their standard deviation is unknown.
LARGEST = 1e150


class Subscript(sa.ColumnElement[Any]):
    """A column inside an object: ``"meta"['day']``."""

    inherit_cache = False

    def __init__(self, name: str, path: Sequence[str]) -> None:
        self.name, self.path = name, tuple(path)
        self.type = sa.types.NullType()


@compiles(Subscript)
def _compile_subscript(element: Subscript, compiler: SQLCompiler, **kw: Any) -> str:
    path = "".join("['" + part.replace("'", "''") + "']" for part in element.path)
    return compiler.preparer.quote_identifier(element.name) + path


def table_ref(table: TableName, *columns: sa.ColumnClause[Any]) -> sa.TableClause:
    """A table, with its name always quoted."""
    return sa.table(quoted_name(table.name, True), *columns, schema=quoted_name(table.schema, True))


def date_trunc(unit: str, *arguments: Element) -> Element:
    """Not ``sa.func.date_trunc``, for which CrateDB's dialect registers a class of its own."""
    return sa.sql.functions.Function("date_trunc", sa.literal(unit), *arguments)


def is_aware(column: Column) -> bool:
    """Whether the type of a column has a time zone."""
    return "WITH TIME ZONE" in column.type.upper() or column.type.upper() == "TIMESTAMPTZ"


def whole_number(column: Column, value: Value) -> Element | None:
    """
    An instant in the unit of an integer column with times; None for other columns. It is rounded up, so that ``<`` and
    ``>=`` give the same results for numbers as for the instants that they stand for.
    """
    if column.unit is None or not isinstance(value, int):
        return None
    return sa.literal(-(-value // column.tick), sa.BigInteger())


def counted_ms(column: Column, expression: Element) -> Element:
    """The value of a column with a unit in milliseconds, which INTEGER could not hold."""
    number = sa.cast(expression, sa.BigInteger())
    return number if column.tick == 1 else number * sa.literal_column(str(column.tick))


class Words(sa.types.UserDefinedType[Any]):
    """A type as the database writes it."""

    cache_ok = True

    def __init__(self, words: str) -> None:
        self.words = words

    def get_col_spec(self, **kw: Any) -> str:
        return self.words


def as_type(value: Element, words: str) -> Element:
    return sa.cast(value, Words(words))


def ref(name: str) -> sa.ColumnClause[Any]:
    """A column of one of the toolkit's own tables, always quoted."""
    return sa.column(quoted_name(name, True))


def number(value: float) -> Element:
    """A number; integers are in the statement's text."""
    return sa.literal_column(str(value)) if isinstance(value, int) else sa.literal(value, sa.Double())


def quotient(dividend: Element, divisor: Element) -> Element:
    """A plain division, without SQLAlchemy's casts."""
    return dividend.op("/")(divisor)


def is_finite(value: Element) -> Condition:
    """Whether a value is a number: neither NULL nor NaN nor infinite. To both databases NaN is the greatest number."""
    return value.between(number(-_LARGEST_DOUBLE), number(_LARGEST_DOUBLE))


def finite(column: Column, value: Element) -> Element:
    """A metric's value for aggregation: NaN and infinity count as NULL, since one would replace a whole sum."""
    return sa.case((is_finite(value), value)) if column.type.upper() in _FLOATING else value


def nonfinite(column: Column, value: Element) -> Element:
    """1 for a metric's value that is NaN or infinite, 0 for others and NULL; the sum is their number."""
    one, zero = as_type(number(1), BIGINT), as_type(number(0), BIGINT)
    return sa.case((sa.not_(is_finite(value)), one), else_=zero) if column.type.upper() in _FLOATING else zero


def decimal_sum(words: str) -> str | None:
    """The widest type with the scale of a ``DECIMAL(10, 2)``; None for other types."""
    found = re.fullmatch(r"(DECIMAL|NUMERIC)\(\d+, ?(\d+)\)", words.upper().strip())
    return found and f"{found[1]}(38, {found[2]})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A column of a rollup."""

    name: str
    type: str  # as SQL
    generated: Element | None = None  # the expression that it is generated from, if any
    searched: bool = False  # whether rows are looked up by it, so that it needs an index

    @property
    def parts(self) -> list[Sql]:
        """Its definition, as parts of a statement."""
        generated: list[Sql] = [] if self.generated is None else [" GENERATED ALWAYS AS (", self.generated, ")"]
        return [ref(self.name), f" {self.type}", *generated]


class Expressions(Protocol):
    """How a dialect writes what is not in the SQL standard, or differs from it."""

    def column(self, column: Column) -> Element: ...
    # For comparison with a column; never None.
    def value(self, column: Column, value: Value) -> Any: ...
    # Whether a column has one of several values, none of which is None.
    def among(self, column: Column, values: Sequence[Value]) -> Condition: ...
    # Conditions that all rows of partitions with one of several values in a column fulfil, by which other rows are
    # skipped without reading them.
    def near(self, column: Column, values: Sequence[Value]) -> list[Condition]: ...
    def epoch_ms(self, expression: Element) -> sa.ColumnElement[Any]: ...
    # A time column of any type, or an expression in its place, as an instant; without a zone it is UTC.
    def instant(self, column: Column, expression: Element | None = None) -> Element: ...
    # The start of the bucket, see :meth:`Interval.floor`.
    def bucket(self, interval: Interval, zone: str, instant: Element) -> sa.ColumnElement[Any]: ...
    # A number that changes with the row of the table with this alias; the sum is a fingerprint of rows.
    def row_version(self, alias: str) -> Element: ...
    # The types of a source column's values in a level, and of their sums, which are exact for decimals.
    def stored_type(self, column: Column) -> str: ...
    def sum_type(self, column: Column) -> str: ...
    # The expression of a level's partition column, in a form that the catalog's reader understands.
    def partition(self, rollup: Rollup) -> Element | None: ...
    # Aggregates: the sum of doubles, independent of other groups; and the sum of squared distances from the mean of raw
    # values, in one pass and without loss of precision for large values.
    def total(self, value: Element) -> Element: ...
    # ``min_by`` or ``max_by`` of the rows whose value is not NULL.
    def of_values(self, found: sa.sql.functions.Function[Any], value: Element) -> Element: ...
    def spread(self, value: Element) -> Element: ...
    # Rows of values, given by column: its name, its type as SQL, and a value for each row.
    def rows(self, columns: Sequence[tuple[str, str, Sequence[Any]]]) -> sa.Select[Any]: ...
    def create_table(self, table: TableName, fields: Sequence[Field], replicas: str | None) -> sa.Executable: ...
    def add_columns(self, table: TableName, fields: Sequence[Field]) -> Sequence[sa.Executable]: ...


def time_number(sql: Expressions, column: Column, expression: Element) -> Element:
    """A time as a number, to be multiplied by the column's tick in Python, where that cannot overflow."""
    return sql.epoch_ms(expression) if column.unit is None else sa.cast(expression, sa.BigInteger())


def equals(sql: Expressions, column: Column, value: Value) -> Condition:
    """``column = value``, or ``column IS NULL``."""
    reference = sql.column(column)
    return reference.is_(None) if value is None else reference == sql.value(column, value)


def one_of(sql: Expressions, column: Column, values: Iterable[Value]) -> Condition:
    """Whether a column has one of these values, with NULL among them."""
    distinct = list(dict.fromkeys(values))
    present = [value for value in distinct if value is not None]
    if len(distinct) == 1:
        return equals(sql, column, distinct[0])
    condition = sql.among(column, present)
    return condition if len(present) == len(distinct) else sa.or_(condition, sql.column(column).is_(None))


def in_partitions(sql: Expressions, columns: Sequence[Column], partitions: Sequence[Sequence[Value]]) -> Condition:
    """
    A condition that matches whole partitions only, with as few branches as possible, since a database evaluates each of
    them for each partition: the days of all tenants that have the same days are listed once.
    """
    by_column = ((column, [values[place] for values in partitions]) for place, column in enumerate(columns))
    near = [condition for column, values in by_column for condition in sql.near(column, values)]
    return sa.and_(_in_partitions(sql, columns, partitions), *near)


def _in_partitions(sql: Expressions, columns: Sequence[Column], partitions: Sequence[Sequence[Value]]) -> Condition:
    place, groups = min(((i, _shared(partitions, i)) for i in range(len(columns))), key=lambda found: len(found[1]))
    others = [*columns[:place], *columns[place + 1 :]]
    branches = (
        sa.and_(one_of(sql, columns[place], values), *([_in_partitions(sql, others, rests)] if others else []))
        for values, rests in groups
    )
    return sa.or_(*branches)


def _shared(partitions: Sequence[Sequence[Value]], place: int) -> list[tuple[list[Value], list[Sequence[Value]]]]:
    """Lists of values of one column, each with the combinations of other columns' values that have exactly these."""
    by_rest: dict[tuple[Value, ...], list[Value]] = {}
    for values in partitions:
        by_rest.setdefault((*values[:place], *values[place + 1 :]), []).append(values[place])
    found: dict[frozenset[Value], tuple[list[Value], list[Sequence[Value]]]] = {}
    for rest, shared in by_rest.items():
        found.setdefault(frozenset(shared), (shared, []))[1].append(rest)
    return list(found.values())


def between(sql: Expressions, time: Column, since: int | None, until: int | None) -> list[Condition]:
    """The conditions of a time range; None is an open end. A row without a time is in no range."""
    reference = sql.column(time)
    after = [] if since is None else [reference >= sql.value(time, since)]
    return after if until is None else [*after, reference < sql.value(time, until)]


def expired_rows(
    sql: Expressions,
    time_column: Column,
    before: int,
    where: Iterable[tuple[Column, Value]] = (),
    spared: Iterable[Spared] = (),
    since: int | None = None,
) -> Condition:
    """Rows before an instant that match a filter and are not spared; never rows without a time."""

    def is_spared(rows: Spared) -> Condition:
        time = between(sql, time_column, rows.start, rows.end)
        return sa.and_(*(equals(sql, column, value) for column, value in rows.where), *time)

    return sa.and_(
        *between(sql, time_column, since, before),
        *(equals(sql, column, value) for column, value in where),
        # NULL in one of the columns must mean "not under the hold", rather than "unknown, so not deleted".
        *(sa.not_(sa.func.coalesce(is_spared(rows), sa.false())) for rows in spared),
    )
