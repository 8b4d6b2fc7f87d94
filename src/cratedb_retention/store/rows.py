"""
Reads and writes rows of the toolkit's own tables: values, long texts, and concurrent changes.

CrateDB accepts at most 32,766 bytes in an indexed column, and cannot remove the index of an existing one. Longer texts
are therefore in an additional column without an index.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from cratedb_retention.clock import Actor, Clock
from cratedb_retention.engine.database import Database
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.time import EPOCH, UTC, from_ms

LONGEST = 32_766
PAGE = 1_000  # Rows of one statement where there may be many.
LISTED = 500  # Values of one condition.
_MORE = " …"


class Instant(sa.types.TypeDecorator[Any]):
    """An instant: in Python an aware datetime in UTC, whatever the driver returns."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[[Any], Any]:
        """CrateDB's dialect reads 0, the first instant of 1970, as NULL."""
        read = super().result_processor(dialect, coltype) or (lambda value: value)
        return lambda value: self.process_result_value(EPOCH, dialect) if value == 0 else read(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        """CrateDB's driver returns naive UTC, DuckDB's an aware value."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class _Milliseconds(sa.sql.functions.FunctionElement[int]):
    """An instant in milliseconds, as CrateDB returns it anyway; from a datetime, it takes Python far longer."""

    type = sa.BigInteger()
    inherit_cache = True


@compiles(_Milliseconds)
def _compile_milliseconds(element: _Milliseconds, compiler: SQLCompiler, **kw: Any) -> str:
    return str(compiler.process(next(iter(element.clauses)), **kw))


@compiles(_Milliseconds, "duckdb")
def _compile_epoch_ms(element: _Milliseconds, compiler: SQLCompiler, **kw: Any) -> str:
    return f"epoch_ms({_compile_milliseconds(element, compiler, **kw)})"


class Moment(Instant):
    """An instant: in Python, as in planning, whole milliseconds since 1970 in UTC."""

    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        return None if value is None else from_ms(value)

    def column_expression(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return _Milliseconds(column)

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        """None is needed."""
        return None


class _Upsert(sa.Insert):
    """``INSERT`` that replaces the values of rows that exist."""

    inherit_cache = True


@compiles(_Upsert)
def _compile_upsert(element: _Upsert, compiler: SQLCompiler, **kw: Any) -> str:
    columns: dict[bool, list[str]] = {True: [], False: []}
    for column in cast("sa.Table", element.table).c:
        columns[column.primary_key].append(compiler.preparer.quote(column.name))
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns[False])
    insert = compiler.visit_insert(element, **kw)  # type: ignore[no-untyped-call]
    return f"{insert} ON CONFLICT ({', '.join(columns[True])}) DO UPDATE SET {changes}"


class Records:
    """One of the toolkit's own tables; ``write`` adds entries to the audit log."""

    def __init__(
        self, database: Database, table: sa.Table, clock: Clock, actor: Actor, write: Callable[..., None]
    ) -> None:
        self._database, self._table, self._clock, self._actor, self._write = database, table, clock, actor, write

    def _read(
        self, *where: sa.ColumnElement[bool], order: Sequence[Any] = (), refresh: bool = True, stamps: bool = False
    ) -> list[Mapping[str, Any]]:
        """Some rows, on request with stamps. Rows of other writers need a refresh, unless the key alone is compared."""
        if refresh:
            self._database.refresh(self._table)
        columns: list[Any] = [sa.column(name) for name in self._database.row_version] if stamps else []
        return self._database.query(sa.select(self._table, *columns).where(*where).order_by(*order))

    def _stream(
        self, *where: sa.ColumnElement[bool], order: Sequence[sa.Column[Any]], after: Sequence[Any] = ()
    ) -> Iterator[Mapping[str, Any]]:
        """
        Rows page by page, so that any number fits into memory. In the order, which may contain NULL, no two are equal.
        The first page is small, since often only some rows are wanted.

        :param after: Only rows behind these values, in the order.
        """
        self._visible()
        found, behind = sa.select(self._table).order_by(*(column.nulls_last() for column in order)), list(where)
        behind += [_after(order, after)] if after else []
        for size in itertools.chain([max(PAGE // 8, 1)], itertools.repeat(PAGE)):
            rows = self._database.query(found.where(*behind).limit(size))
            yield from rows
            if len(rows) < size:
                return
            behind = [*where, _after(order, [rows[-1][column.name] for column in order])]

    def _add(self, *rows: Mapping[str, Any]) -> int:
        """Returns the number of rows, as the methods below do, if the database reports it."""
        statement = sa.insert(self._table)
        if len(rows) == 1:
            return self._database.execute(statement.values(**rows[0]))
        return self._database.execute(statement, list(rows))

    def _upsert(self, *rows: Mapping[str, Any]) -> int:
        """Add rows, in place of those with the same keys, in one statement."""
        return self._database.execute(_Upsert(self._table), list(rows))

    def _change(self, *where: sa.ColumnElement[bool], **values: Any) -> int:
        return self._database.execute(sa.update(self._table).where(*where).values(**values))

    def _remove(self, *where: sa.ColumnElement[bool]) -> int:
        return self._database.execute(sa.delete(self._table).where(*where))

    def _visible(self) -> None:
        self._database.refresh(self._table)

    @property
    def _versions(self) -> tuple[str, ...]:
        """What distinguishes versions of a row: ``_seq_no`` and ``_primary_term`` on CrateDB, else ``version``."""
        return self._database.row_version or ("version",)

    def _stamp(self, row: Mapping[str, Any]) -> tuple[int, ...]:
        return tuple(row[name] for name in self._versions)

    def _unchanged(self, stamp: Sequence[int] | None) -> list[sa.ColumnElement[bool]]:
        return [sa.column(name) == value for name, value in zip(self._versions, stamp or (), strict=True)]


def _after(columns: Sequence[sa.Column[Any]], values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """What comes after a row in ascending order; NULL comes last."""
    (column, *others), (value, *rest) = columns, values
    greater = sa.false() if value is None else column > value
    if column.nullable and value is not None:
        greater = sa.or_(greater, column.is_(None))
    return sa.or_(greater, sa.and_(column == value, _after(others, rest))) if others else greater


def name_values(table: TableName, prefix: str = "table") -> dict[str, str]:
    """A table's name as its two columns."""
    return {f"{prefix}_schema": table.schema, f"{prefix}_name": table.name}


def is_named(own: sa.Table, table: TableName, prefix: str = "table") -> sa.ColumnElement[bool]:
    return sa.and_(*(own.c[name] == value for name, value in name_values(table, prefix).items()))


def same(thing: object, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in names}


def fits(text: str) -> bool:
    """Whether a text can be indexed."""
    return len(text.encode()) <= LONGEST


def text_values(name: str, text: str | None) -> dict[str, str | None]:
    """A text as the two columns that may contain it."""
    return {name: text, f"{name}_long": None} if text is None or fits(text) else {name: "", f"{name}_long": text}


def read_text(row: Mapping[str, Any], name: str) -> Any:
    """A text from the two columns that may contain it."""
    return row[f"{name}_long"] or row[name]


def cut(text: str) -> str:
    """The beginning of a text, as long as can be indexed."""
    if fits(text):
        return text
    return text.encode()[: LONGEST - len(_MORE.encode())].decode(errors="ignore") + _MORE
