"""CrateDB's SQL. Everything is quoted by the dialect or passed as a parameter; nothing is pasted into text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine import expressions as ex
from cratedb_retention.engine.archive import Snapshot
from cratedb_retention.engine.database import Database, Statement, listed
from cratedb_retention.engine.expressions import Condition, Element, Field, Sql, ref, table_ref
from cratedb_retention.errors import NotFound
from cratedb_retention.model.catalog import Column, TableName, Value
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.rollups.rollup import PARTITION, Rollup

_INSTANT = sa.TIMESTAMP(timezone=True)
_SUBSCRIPTED = re.compile(r"(?P<name>[^\[]+)(?P<path>(?:\['.*'\])+)")


class system:  # noqa: N801 - it reads like a table
    """A system table, such as ``sys.shards``; its columns are its attributes, or its items."""

    def __init__(self, name: str) -> None:
        schema, _, own = name.partition(".")
        self.table = sa.table(own, schema=schema)

    def __getitem__(self, name: str) -> sa.ColumnClause[Any]:
        if name not in self.table.c:
            self.table.append_column(sa.column(name))
        return self.table.c[name]

    def __getattr__(self, name: str) -> sa.ColumnClause[Any]:
        return self[name]

    @property
    def place(self) -> tuple[sa.ColumnClause[Any], sa.ColumnClause[Any]]:
        """The columns with schema and name of the table that a row describes."""
        return self["schema_name" if self.table.name == "shards" else "table_schema"], self.table_name

    def of(self, table: TableName) -> Condition:
        """The rows about one table."""
        return sa.and_(*(column == value for column, value in zip(self.place, table, strict=True)))


def words(text: str) -> Element:
    """An expression as CrateDB writes it, such as ``settings['blocks']['write']``."""
    return sa.literal_column(text)


def refresh_partitions(
    database: Database, table: TableName, columns: Sequence[Column], partitions: Sequence[Sequence[Value]]
) -> None:
    """Refresh partitions; the table only if one is gone, since that takes a minute if other shards are missing."""
    try:
        relations = [partition_of(table, columns, values) for values in partitions]
        database.execute(Statement("REFRESH TABLE ", *listed(relations)))
    except NotFound:
        database.refresh(table_ref(table))


class CrateExpressions:
    """See :class:`Expressions`."""

    def column(self, column: Column) -> Element:
        """A plain column's name cannot contain a bracket."""
        match = _SUBSCRIPTED.fullmatch(column.name)
        return ex.Subscript(match["name"], re.findall(r"\['(.*?)'\]", match["path"])) if match else ref(column.name)

    def value(self, column: Column, value: Value) -> Any:
        """Instants are milliseconds, which CrateDB compares with timestamps."""
        counted = ex.whole_number(column, value)
        if counted is not None:
            return counted
        return sa.literal(value, sa.BigInteger() if isinstance(value, int) and not isinstance(value, bool) else None)

    def among(self, column: Column, values: Sequence[Value]) -> Condition:
        """One array, which is bound at once; CrateDB evaluates the items of ``IN`` again for each partition."""
        found = [self.value(column, value).value for value in values]
        kind = sa.literal(next((value for value in found if isinstance(value, float)), found[0])).type
        return self.column(column) == sa.any_(sa.literal(found, sa.ARRAY(kind)))

    def near(self, column: Column, values: Sequence[Value]) -> list[Condition]:
        """Other partitions are not read anyway."""
        return []

    def epoch_ms(self, expression: Element) -> Element:
        return sa.cast(expression, sa.BigInteger())

    def instant(self, column: Column, expression: Element | None = None) -> Element:
        """CrateDB interprets times without a time zone as UTC."""
        reference = self.column(column) if expression is None else expression
        if column.unit is None and column.type.lower() == "timestamp with time zone":
            return reference
        return sa.cast(reference if column.unit is None else ex.counted_ms(column, reference), _INSTANT)

    def bucket(self, interval: Interval, zone: str, instant: Element) -> Element:
        """If clocks repeat midnight, CrateDB uses the first one, as the toolkit does."""
        if interval.seconds:
            return sa.func.date_bin(words(f"INTERVAL '{interval.seconds} seconds'"), instant, words("0"))
        return ex.date_trunc(interval.unit, *([] if zone == "UTC" else [sa.literal(zone)]), instant)

    def row_version(self, alias: str) -> Element:
        return words("_seq_no")  # Each change of a row gives it the next number of its shard.

    def stored_type(self, column: Column) -> str:
        """The catalog shows NUMERIC and CHARACTER without their sizes, which are required to store them."""
        declared = column.type.upper().strip()
        if declared == "NUMERIC":
            return ex.DOUBLE
        return declared if ex.PLAIN.fullmatch(declared) and declared != "CHARACTER" else ex.TEXT

    def sum_type(self, column: Column) -> str:
        """A row with a larger sum is not stored: the window fails (law 5)."""
        return ex.decimal_sum(column.type) or ex.DOUBLE

    def partition(self, rollup: Rollup) -> Element | None:
        return self.bucket(rollup.partition, rollup.zone, self.column(rollup.own_time)) if rollup.partition else None

    def rows(self, columns: Sequence[tuple[str, str, Sequence[Any]]]) -> sa.Select[Any]:
        """At least two columns, since CrateDB names a single one differently."""
        arrays = (ex.as_type(sa.literal(values, sa.ARRAY(sa.Text())), f"ARRAY({kind})") for _, kind, values in columns)
        found = sa.func.unnest(*arrays).table_valued(*(f"col{place}" for place, _ in enumerate(columns, 1)))
        return sa.select(*(found.c[f"col{place}"].label(name) for place, (name, *_) in enumerate(columns, 1)))

    def create_table(self, table: TableName, fields: Sequence[Field], replicas: str | None) -> Statement:
        """Without a primary key, which is slow and rejects NULL; a refresh by the toolkit makes rows visible."""
        parts: list[Sql] = ["CREATE TABLE IF NOT EXISTS ", table_ref(table), " (", *listed(map(_define, fields)), ")"]
        if any(field.name == PARTITION for field in fields):
            parts += [" CLUSTERED INTO 1 SHARDS PARTITIONED BY (", ref(PARTITION), ")"]
        parts.append(" WITH (column_policy = 'strict', refresh_interval = 0")
        parts += [] if replicas is None else [", number_of_replicas = ", sa.literal(replicas)]
        return Statement(*parts, ")", literal=True)

    def add_columns(self, table: TableName, fields: Sequence[Field]) -> list[Statement]:
        """In one statement, since each one changes the cluster's state."""
        added = listed(["ADD COLUMN ", *_define(field)] for field in fields)
        return [Statement("ALTER TABLE ", table_ref(table), " ", *added, literal=True)]

    def total(self, value: Element) -> Element:
        """CrateDB's ``sum`` of doubles carries the rounding of one group into the next; its ``avg`` does not."""
        return sa.func.avg(value).op("*")(sa.func.count(value))

    def of_values(self, found: sa.sql.functions.Function[Any], value: Element) -> Element:
        return found.filter(value.is_not(None))

    def spread(self, value: Element) -> Element:
        """In exact decimal numbers, since CrateDB's own ``variance`` loses the digits of large values."""
        small = sa.case((sa.func.abs(value) <= ex.number(ex.LARGEST), value))
        exact, count = sa.cast(small, sa.Numeric()), sa.func.count(value)
        total, squares = sa.func.abs(sa.func.sum(exact)), sa.func.sum(exact.op("*")(exact))
        # The sum of squared distances from the mean, times the number of values.
        spread = sa.cast(count, sa.Numeric()).op("*")(squares).op("-")(total.op("*")(total))
        mean = ex.quotient(ex.as_type(spread, ex.DOUBLE), ex.as_type(count, ex.DOUBLE))
        return sa.case((count == sa.func.count(small), mean))


SQL = CrateExpressions()


def _define(field: Field) -> list[Sql]:
    """Without unused indexes, writing takes a fifth less time; CrateDB then compares by its column store."""
    return [*field.parts, *([] if field.searched else [" INDEX OFF"])]


def partition_of(table: TableName, columns: Sequence[Column] = (), values: Sequence[Value] = ()) -> list[Sql]:
    """A partition in a statement, ``"t" PARTITION ("month" = ?)``; without columns, the whole table."""
    assigned = [
        (SQL.column(column), " = ", sa.null() if value is None else SQL.value(column, value))
        for column, value in zip(columns, values, strict=True)
    ]
    return [table_ref(table), *([" PARTITION (", *listed(assigned), ")"] if assigned else [])]


def alter(relation: Sequence[Sql], setting: str, to: int | str) -> Statement:
    """``ALTER TABLE ... PARTITION (...) SET ("name" = value)``."""
    return Statement("ALTER TABLE ", *relation, " SET (", ref(setting), " = ", sa.literal(to), ")")


def optimize(relation: Sequence[Sql]) -> Statement:
    """Merge the segments of each shard into one, and wait. A shard that is not started is skipped without an error."""
    return Statement("OPTIMIZE TABLE ", *relation, " WITH (max_num_segments = 1)")


def snapshot(verb: str, of: Snapshot, into: TableName | None = None) -> Statement:
    """``CREATE``, ``RESTORE`` or ``DROP SNAPSHOT``; the first two wait for completion."""
    parts: list[Sql] = [f"{verb} SNAPSHOT ", ref(of.repository), ".", ref(of.name)]
    if verb != "DROP":
        options = _renamed(of.table, into) if into and into != of.table else {}
        wanted = [part for key, value in options.items() for part in (", ", ref(key), " = ", sa.literal(value))]
        relation = partition_of(of.table, of.columns, of.values)
        parts += [" TABLE ", *relation, " WITH (wait_for_completion = true", *wanted, ")"]
    return Statement(*parts)


def _renamed(table: TableName, into: TableName) -> dict[str, str]:
    """Options to restore a table as another: regular expressions, and replacements that know groups."""
    schema, name = (text.replace("\\", "\\\\").replace("$", "\\$") for text in into)
    return {
        "schema_rename_pattern": f"^{re.escape(table.schema)}$",
        "schema_rename_replacement": schema,
        "table_rename_pattern": f"^{re.escape(table.name)}$",
        "table_rename_replacement": name,
    }


def is_of(snapshot: Snapshot) -> Condition:
    """The rows of the partition."""
    return ex.in_partitions(SQL, snapshot.columns, [snapshot.values])
