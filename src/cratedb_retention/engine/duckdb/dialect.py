"""
DuckDB for SQLAlchemy: what the toolkit needs of it. It is imported in little time, and opens one database only.

A connection of DuckDB has one result at a time, so all rows are read when a statement is executed.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect, DefaultExecutionContext
from sqlalchemy.sql.compiler import GenericTypeCompiler, SQLCompiler

_NO_TRANSACTION = "no transaction is active"
_KEYWORDS = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category IN ('reserved', 'type_function')"


def make_engine(uri: str, **arguments: Any) -> sa.Engine:
    """An engine for a ``duckdb:`` address; its parameters are DuckDB's settings."""
    url = sa.make_url(uri).set(drivername="duckdb.cratedb_retention")
    # Transactions are ended where they begin; another rollback would cost a fifth of a small statement.
    return sa.create_engine(url, connect_args=arguments, paramstyle="numeric_dollar", pool_reset_on_return=None)


class _Compiler(SQLCompiler):
    def visit_try_cast(self, element: sa.TryCast[Any], **kw: Any) -> str:
        return f"TRY_{self.visit_cast(element, **kw)}"  # type: ignore[no-untyped-call]


class _Types(GenericTypeCompiler):
    def visit_ARRAY(self, type_: sa.ARRAY[Any], **kw: Any) -> str:  # noqa: N802
        return f"{self.process(type_.item_type)}[]"

    def visit_datetime(self, type_: sa.DateTime, **kw: Any) -> str:
        return "TIMESTAMP WITH TIME ZONE" if type_.timezone else "TIMESTAMP"

    def visit_TIMESTAMP(self, type_: sa.TIMESTAMP, **kw: Any) -> str:  # noqa: N802
        return self.visit_datetime(type_, **kw)


class _List(sa.ARRAY[Any]):
    def bind_processor(self, dialect: sa.Dialect) -> Callable[[Any], Any] | None:
        process = self.item_type.dialect_impl(dialect).bind_processor(dialect)
        return process and (lambda values: values and [process(value) for value in values])


class _Cursor:
    """The result of one statement."""

    arraysize, lastrowid, rowcount = 1, None, -1

    def __init__(self, connection: Any) -> None:
        self._connection, self._rows = connection, iter(list[Any]())
        self.description: Any = None

    def execute(self, statement: str, parameters: Any = None) -> None:
        self._connection.execute(statement, parameters)
        self.description = self._connection.description
        self._rows = iter(self._connection.fetchall() if self.description else ())

    def executemany(self, statement: str, rows: Sequence[Any]) -> None:
        self._connection.executemany(statement, rows)

    def count(self) -> None:
        """DuckDB returns the number of changed rows as a row."""
        self.description, self.rowcount = None, next(self._rows)[0]

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchmany(self, size: int = arraysize) -> list[Any]:
        return list(itertools.islice(self._rows, size))

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def close(self) -> None:
        self._rows = iter(())


class _Connection:
    """A connection of the driver, ``raw``; with ``autocommit`` each statement is a transaction."""

    autocommit = False

    def __init__(self, connection: Any) -> None:
        self.raw = connection
        self.begin, self.commit, self.rollback = connection.begin, connection.commit, connection.rollback
        self.interrupt, self.close = connection.interrupt, connection.close

    def cursor(self) -> _Cursor:
        return _Cursor(self.raw)


class _Context(DefaultExecutionContext):
    def post_exec(self) -> None:
        returning = isinstance(self.compiled, SQLCompiler) and self.compiled.effective_returning
        if self.is_crud and not self.executemany and not returning:
            self.cursor.count()


class Dialect(DefaultDialect):
    name, driver = "duckdb", "cratedb_retention"
    supports_statement_cache = supports_native_boolean = supports_native_decimal = True
    insert_returning = update_returning = delete_returning = True
    supports_multivalues_insert = use_insertmanyvalues = use_insertmanyvalues_wo_returning = True
    postfetch_lastrowid = False
    statement_compiler, type_compiler_cls = _Compiler, _Types
    execution_ctx_cls, colspecs = _Context, {sa.ARRAY: _List}
    default_isolation_level: Any = "SNAPSHOT"

    @classmethod
    def import_dbapi(cls) -> ModuleType:
        """
        The driver. While it is imported, it opens a database in memory, to name two types; unless the program had
        imported it before, that one is closed, with its thread. DuckDB opens it again if a program wants it.
        """
        is_new = "duckdb" not in sys.modules
        import duckdb

        if is_new:
            duckdb.close()
        return duckdb

    @classmethod
    def get_pool_class(cls, url: sa.URL) -> type[sa.Pool]:
        return sa.SingletonThreadPool if url.database == ":memory:" else sa.QueuePool

    def create_connect_args(self, url: sa.URL) -> tuple[Sequence[str], dict[str, Any]]:
        return (), {"database": url.database, "config": dict(url.query)}

    def connect(self, *args: Any, **options: Any) -> Any:
        return _Connection(self.loaded_dbapi.connect(*args, **options))

    def initialize(self, connection: sa.Connection) -> None:
        """Names that are DuckDB's keywords are quoted."""
        self.identifier_preparer.reserved_words = {word for (word,) in connection.exec_driver_sql(_KEYWORDS)}

    def get_isolation_level_values(self, dbapi_conn: Any) -> Sequence[Any]:
        return self.default_isolation_level, "AUTOCOMMIT"

    def set_isolation_level(self, dbapi_connection: Any, level: Any) -> None:
        dbapi_connection.autocommit = level == "AUTOCOMMIT"

    def do_begin(self, dbapi_connection: Any) -> None:
        if not dbapi_connection.autocommit:
            dbapi_connection.begin()

    def do_commit(self, dbapi_connection: Any) -> None:
        if not dbapi_connection.autocommit:
            dbapi_connection.commit()

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Nothing if a commit failed, which ends the transaction as well."""
        if dbapi_connection.autocommit:
            return
        try:
            dbapi_connection.rollback()
        except self.loaded_dbapi.TransactionException as error:
            if _NO_TRANSACTION not in str(error):
                raise


sa.dialects.registry.register("duckdb.cratedb_retention", __name__, Dialect.__name__)
