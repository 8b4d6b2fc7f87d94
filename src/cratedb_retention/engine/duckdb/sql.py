"""DuckDB's SQL: how columns and values are written, buckets of time, and statements that SQLAlchemy lacks."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from cratedb_retention.engine import expressions as ex
from cratedb_retention.engine.database import Statement, listed
from cratedb_retention.engine.expressions import Condition, Element, Field, Sql, ref, table_ref
from cratedb_retention.model.catalog import Column, Grouping, Kind, TableName, Value
from cratedb_retention.model.intervals import read_grid, read_own_grid
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.rollups.rollup import Rollup
from cratedb_retention.model.time import DAY_MS, from_ms

_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")
_KINDS = {"VARCHAR": Kind.TEXT, "BOOLEAN": Kind.BOOLEAN, **dict.fromkeys(_NUMBERS, Kind.NUMBER)}
MANY = 100  # Values of a condition that are sent as an array: SQLAlchemy takes long for each of many parameters.
_SECOND, _DAY, _WEEK = 1_000_000, 86_400, 604_800
_MONDAY = 4 * _DAY  # 1970 began on a Thursday.
_FIXED = {"day": _DAY, "week": _WEEK}  # Their lengths in UTC.
_YEARS = (1900, 2100)
_INSTANT = "TIMESTAMP WITH TIME ZONE"
FIRST, LAST = -62_135_596_800_000, 253_402_300_799_999  # The years 1 to 9999, in milliseconds.


class _Instants(sa.ColumnElement[Any]):
    """Many instants (ms, UTC) behind ``IN``, sent as one array of numbers; for display, each of them."""

    inherit_cache = False
    type = sa.types.NullType()

    def __init__(self, column: Column, values: Sequence[int]) -> None:
        self.column, self.values = column, values

    def __iter__(self) -> Iterator[Any]:
        return (SQL.value(self.column, value) for value in self.values)

    @property
    def sent(self) -> Element:
        each = sa.func.unnest(sa.literal(self.values, sa.ARRAY(sa.BigInteger())), type_=sa.BigInteger())
        instant: Element = sa.func.make_timestamptz(each.op("*")(ex.number(1000)))
        return instant if ex.is_aware(self.column) else sa.func.timezone("UTC", instant)


@compiles(_Instants)
def _compile_instants(element: _Instants, compiler: SQLCompiler, **kw: Any) -> str:
    if kw.get("literal_binds"):
        return f"({', '.join(compiler.process(each, **kw) for each in element)})"
    return f"(SELECT {compiler.process(element.sent, **kw)})"


class DuckExpressions:
    """See :class:`Expressions`."""

    def column(self, column: Column) -> Element:
        return ex.Subscript(column.path[0], column.path[1:]) if column.path else ref(column.name)

    def value(self, column: Column, value: Value) -> Any:
        """Instants become datetimes in UTC: aware where the column has a time zone, naive where it has none."""
        counted = ex.whole_number(column, value)
        if counted is not None:
            return counted
        if column.kind is not Kind.TIME or not isinstance(value, int):
            return sa.literal(value)
        moment, aware = from_ms(value), ex.is_aware(column)
        return sa.literal(moment if aware else moment.replace(tzinfo=None), sa.DateTime(timezone=aware))

    def among(self, column: Column, values: Sequence[Value]) -> Condition:
        if len(values) < MANY or column.kind is not Kind.TIME or column.unit is not None:
            return self.column(column).in_([self.value(column, value) for value in values])
        instants = _Instants(column, [value for value in values if isinstance(value, int)])
        return self.column(column).op("IN", is_comparison=True)(instants)

    def near(self, column: Column, values: Sequence[Value]) -> list[Condition]:
        """
        DuckDB computes a generated column of each row that it reads, but skips rows by conditions on stored ones. With
        a margin, since it matters only that no row of the partitions is excluded.
        """
        grid = read_own_grid(column.expression) if column.expression and ex.is_aware(column) else None
        known = [value for value in values if isinstance(value, int)]
        if grid is None or grid.unit is not None or "[" in grid.time_column or not known or len(known) < len(values):
            return []
        margin = grid.interval.approximate_seconds * 1100 + 2 * DAY_MS
        since, until = min(known) - margin, max(known) + margin
        if since < FIRST or until > LAST:
            return []
        instant = make_column(grid.time_column, _INSTANT)
        time = ex.as_type(self.column(instant), _INSTANT)
        return [time >= self.value(instant, since), time < self.value(instant, until)]

    def epoch_ms(self, expression: Element) -> Element:
        """NULL for infinite times."""
        return sa.func.epoch_ms(expression, type_=sa.BigInteger())

    def instant(self, column: Column, expression: Element | None = None) -> Element:
        """Times without a time zone are UTC, regardless of the session."""
        reference = self.column(column) if expression is None else expression
        if column.unit is not None:
            return sa.func.timezone("UTC", sa.func.epoch_ms(ex.counted_ms(column, reference)))
        return reference if ex.is_aware(column) else sa.func.timezone("UTC", sa.cast(reference, sa.TIMESTAMP()))

    def bucket(self, interval: Interval, zone: str, instant: Element) -> Element:
        if interval.seconds:
            return _fixed(instant, interval.seconds, 0)
        if zone != "UTC":
            return _calendar(instant, interval.unit, zone)
        if interval.unit in _FIXED:
            return _fixed(instant, _FIXED[interval.unit], _MONDAY if interval.unit == "week" else 0)
        naive = sa.func.make_timestamp(sa.func.epoch_us(instant))
        return sa.func.to_timestamp(sa.func.epoch(ex.date_trunc(interval.unit, naive)))

    def row_version(self, alias: str) -> Element:
        return ex.as_type(sa.func.hash(sa.literal_column(alias)), "HUGEINT")

    def stored_type(self, column: Column) -> str:
        """Its own type; text for an ``ENUM`` and other types with values in them."""
        words = column.type.upper().strip()
        return words if ex.PLAIN.fullmatch(words) else ex.TEXT

    def sum_type(self, column: Column) -> str:
        return ex.decimal_sum(column.type) or ex.DOUBLE  # DuckDB rejects a sum that is too large for it.

    def partition(self, rollup: Rollup) -> Element | None:
        """
        In a form that the catalog's reader understands, and that does not depend on the session's time zone. DuckDB
        computes it for each row that is inserted; by the calendar that takes a fifth of the time of an INSERT.
        """
        if rollup.partition is None:
            return None
        time, fixed = self.column(rollup.own_time), _FIXED if rollup.zone == "UTC" else {}
        if seconds := rollup.partition.seconds or fixed.get(rollup.partition.unit):
            return sa.func.time_bucket(_seconds(seconds), time)
        zone = sa.literal(rollup.zone)
        return sa.func.timezone(zone, ex.date_trunc(rollup.partition.unit, sa.func.timezone(zone, time)))

    def total(self, value: Element) -> Element:
        return sa.func.sum(value)

    def of_values(self, found: sa.sql.functions.Function[Any], value: Element) -> Element:
        """DuckDB ignores rows whose value is NULL, in less time than a filter takes."""
        return found

    def spread(self, value: Element) -> Element:
        """DuckDB computes variances by Welford's algorithm, which keeps the digits of large values."""
        small, count = sa.case((sa.func.abs(value) <= ex.number(ex.LARGEST), value)), sa.func.count(value)
        return sa.case((count == sa.func.count(small), sa.func.var_pop(small).op("*")(count)))

    def rows(self, columns: Sequence[tuple[str, str, Sequence[Any]]]) -> sa.Select[Any]:
        arrays = (
            (name, ex.as_type(sa.literal(values, sa.ARRAY(sa.Text())), f"{kind}[]")) for name, kind, values in columns
        )
        return sa.select(*(sa.func.unnest(array).label(name) for name, array in arrays))

    def create_table(self, table: TableName, fields: Sequence[Field], replicas: str | None) -> Statement:
        columns = listed(field.parts for field in fields)
        return Statement("CREATE TABLE IF NOT EXISTS ", table_ref(table), " (", *columns, ")", literal=True)

    def add_columns(self, table: TableName, fields: Sequence[Field]) -> list[Statement]:
        begin = "ALTER TABLE ", table_ref(table), " ADD COLUMN IF NOT EXISTS "
        return [Statement(*begin, ref(field.name), f" {field.type}") for field in fields]


SQL = DuckExpressions()


def make_column(name: str, data_type: str, expression: str | None = None, path: tuple[str, ...] = ()) -> Column:
    """A column of a DuckDB type, with the properties that planning needs."""
    base = data_type.upper()
    plain = "" if base.endswith("]") else base.removeprefix("U").split("(")[0]
    kind = Kind.TIME if plain.startswith(("TIMESTAMP", "DATE")) else _KINDS.get(plain, Kind.OTHER)
    # DuckDB treats some different intervals and times with a time zone as equal; large and nested types are left to the
    # user.
    exact = base in ("UUID", "BIT", "DATE", "TIME") or (base.startswith("ENUM(") and base.endswith(")"))
    # In a UNION, 1 and "1" are the same text.
    never = base.startswith("UNION(")
    grouping = Grouping.NEVER if never else Grouping.EXACT if exact else Grouping.ASKED
    return Column(name=name, type=data_type, kind=kind, expression=expression, grouping=grouping, path=path)


def row_hash(columns: Iterable[Column]) -> Element:
    """Changes when one of these stored columns of a row changes."""
    return ex.as_type(sa.func.hash(*map(SQL.column, columns)), "HUGEINT")


def fingerprint(hashed: Element) -> Element:
    """Changes when any row changes, regardless of order: the number of rows and the sum of their hashes."""
    texts = (sa.cast(sa.func.count(), sa.Text()), sa.cast(sa.func.coalesce(sa.func.sum(hashed), 0), sa.Text()))
    return texts[0].concat(":").concat(texts[1])


def copy_to(select: sa.Select[Any], file: str) -> Statement:
    return Statement("COPY (", select, ") TO ", _text(file), " (FORMAT parquet, COMPRESSION zstd)")


def new_table(table: TableName, columns: Collection[Column]) -> Statement:
    """``CREATE TABLE``, with types and expressions as DuckDB writes them."""
    generated = {c.name: f" GENERATED ALWAYS AS ({c.expression})" if c.expression else "" for c in columns}
    defined: list[list[Sql]] = [[ref(c.name), f" {c.type}{generated[c.name]}"] for c in columns]
    return Statement("CREATE TABLE ", table_ref(table), " (", *listed(defined), ")")


def comment_on(table: TableName, comment: str) -> Statement:
    return Statement("COMMENT ON TABLE ", table_ref(table), " IS ", _text(comment))


def _text(value: str) -> Statement:
    return Statement(sa.literal(value), literal=True)


# Buckets of time. ``time_bucket`` and ``date_trunc`` of times with a zone use a calendar for each row. For fixed
# lengths, integers suffice, and are three times as fast.


def _fixed(instant: Element, seconds: int, offset: int) -> Element:
    """``%`` has the sign of the dividend, so times before 1970 need a second step."""
    micros, step = sa.func.epoch_us(instant), ex.number(seconds * _SECOND)
    shifted = micros.op("-")(ex.number(offset * _SECOND)).self_group() if offset else micros
    rest = shifted.op("%")(step).op("+")(step).self_group().op("%")(step)
    return sa.func.make_timestamptz(micros.op("-")(rest.self_group()))


def _calendar(instant: Element, unit: str, zone: str) -> Element:
    """If clocks repeat midnight, DuckDB uses the second one; a day begins with the first."""
    local = ex.date_trunc(unit, sa.func.timezone(sa.literal(zone), instant))
    start: Element = sa.func.timezone(sa.literal(zone), local)
    second = sa.func.epoch_us(start)
    early: list[tuple[Element, Element]] = [
        (second.in_([ex.number(moment * _SECOND) for moment in moments]), start.op("-")(_seconds(by)))
        for by, moments in repeated_midnights(zone)
    ]
    return sa.case(*early, else_=start) if early else start


def _seconds(value: int) -> Element:
    return sa.literal_column(f"INTERVAL '{value} seconds'")


@lru_cache(maxsize=64)
def repeated_midnights(zone: str) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """When clocks repeated midnight, as in Vienna in 1980: by how many seconds, and these midnights (s, UTC)."""
    tzinfo = zoneinfo.ZoneInfo(zone)
    found: dict[int, list[int]] = {}
    for ordinal in range(*(dt.date(year, 1, 1).toordinal() for year in _YEARS)):
        midnight = dt.datetime.combine(dt.date.fromordinal(ordinal), dt.time(), tzinfo)
        again = midnight.replace(fold=1)
        # Compared as instants: two times of one zone would be compared as the clock shows them.
        moments = [round(moment.timestamp()) for moment in (midnight, again)]
        if moments[0] < moments[1] and _shows(moments[0], midnight) and _shows(moments[1], midnight):
            found.setdefault(moments[1] - moments[0], []).append(moments[1])
    return tuple((by, tuple(moments)) for by, moments in sorted(found.items()))


def _shows(moment: int, time: dt.datetime) -> bool:
    return dt.datetime.fromtimestamp(moment, time.tzinfo).replace(tzinfo=None) == time.replace(tzinfo=None)


def partition_key(column: Column, columns: Mapping[str, Column]) -> sa.ColumnElement[Any]:
    """A partition column, or an expression of integers with the same values, which is ten times as fast."""
    grid = read_grid(column.expression, columns) if column.expression and ex.is_aware(column) else None
    if grid is None or str(grid.zone) != "UTC" or not ex.is_aware(columns[grid.time_column]):
        return SQL.column(column)
    # Fixed days and weeks begin like those of the calendar; intervals of other lengths are not aligned to 1970.
    units = {_DAY: Interval(unit="day"), _WEEK: Interval(unit="week")}
    time, interval = SQL.column(columns[grid.time_column]), units.get(grid.interval.seconds, grid.interval)
    if interval == Interval(unit="day"):
        return sa.cast(sa.func.make_timestamp(sa.func.epoch_us(time)), sa.Date())
    odd = interval.months or (interval.seconds and _DAY % interval.seconds)
    return SQL.column(column) if odd else SQL.bucket(interval, "UTC", time)
