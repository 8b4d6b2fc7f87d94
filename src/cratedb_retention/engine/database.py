"""One connection to a database through SQLAlchemy: executes statements, counts them, translates errors."""

from __future__ import annotations

import abc
import copy
import logging
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SAWarning, SQLAlchemyError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.expression import Executable

from cratedb_retention.engine.expressions import Sql, ref, table_ref
from cratedb_retention.errors import DiskFull, RetentionError
from cratedb_retention.model.catalog import TableName

logger = logging.getLogger(__name__)
sql_logger = logging.getLogger("cratedb_retention.sql")

T = TypeVar("T")
Writing = sa.Insert | sa.Update
# How often tables are made writable again for one statement: a full disk is detected twice a minute.
UNBLOCKED = 3
BRIEF = "brief"  # The execution option of statements with a short timeout.


class Statement(Executable, ClauseElement):
    """
    A statement for which SQLAlchemy has no construct: plain SQL, and tables, columns, values and queries, which the
    dialect quotes or binds: ``Statement("DROP VIEW ", table_ref(name))``. If it is literal, values are in the text, as
    in definitions, which cannot have parameters.
    """

    inherit_cache = False

    def __init__(self, *parts: Sql, literal: bool = False) -> None:
        self.parts, self.literal = parts, literal


class Query(Statement):
    """A statement that only reads."""

    inherit_cache = False


@compiles(Statement)
def _compile(element: Statement, compiler: SQLCompiler, **kw: Any) -> str:
    kw |= {"literal_binds": True} if element.literal else {}
    own = {True: kw | {"asfrom": True}, False: kw}
    return "".join(
        part if isinstance(part, str) else compiler.process(part, **own[isinstance(part, sa.TableClause)])
        for part in element.parts
    )


def listed(items: Iterable[Iterable[Sql]]) -> list[Sql]:
    """The parts of several items, separated by commas."""
    return [part for item in items for part in (", ", *item)][1:]


class Database(abc.ABC):
    """Executes SQL. Differences between databases are in subclasses."""

    # System columns that change with each change of a row, for conditional updates.
    row_version: tuple[str, ...] = ()
    # Whether only one process can have it open, so that no other writer is alive.
    exclusive = False

    def __init__(self, engine: sa.Engine) -> None:
        self.engine, self.statements, self._counting = engine, 0, threading.Lock()
        self.kept: list[str] | None = None
        self._options: dict[str, Any] = {}
        self._unblock: Callable[[], None] | None = None
        sa.event.listen(engine, "before_cursor_execute", self._count)

    def _count(self, connection: Any, cursor: Any, statement: str, parameters: Any, *others: Any) -> None:
        with self._counting:
            self.statements += 1
        if sql_logger.isEnabledFor(logging.INFO):
            sql_logger.info("%s%s", " ".join(statement.split()), f" with {parameters}" if parameters else "")

    @abc.abstractmethod
    def translate(self, error: Exception, statement: str) -> RetentionError:
        """Translate an error of the driver into one of the toolkit's."""

    def _with(self, **changed: Any) -> Self:
        found = copy.copy(self)
        vars(found).update(changed)
        return found

    def brief(self) -> Self:
        """The same database for small statements, which may have a short timeout; others may take hours."""
        return self._with(_options={BRIEF: True})

    def unblocking(self, unblock: Callable[[], None]) -> Self:
        """The same database for tables that are made writable again if a full disk made them read-only."""
        return self._with(_unblock=unblock)

    def rehearsing(self) -> Self:
        """The same database without changes: statements that would change it are collected in ``kept`` as text."""
        return self._with(kept=[])

    def execute(self, statement: sa.Executable, parameters: Any = None) -> int:
        """Execute a statement for all rows of parameters, or fail; returns the rows changed, negative if unknown."""
        if self.kept is not None:
            self.kept.append(self.render(statement))
            return 0
        return self.transact(lambda connection: connection.execute(statement, parameters).rowcount, statement)

    def execute_each(self, statement: Writing, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """The number of rows that each row of parameters changed; if one fails, others may not be written."""
        if self.kept is not None:
            return [self.execute(statement.values(**row)) for row in rows]
        if not rows:
            return []
        return self.transact(lambda c: [c.execute(statement, dict(row)).rowcount for row in rows], statement)

    def query(self, statement: sa.Executable) -> list[Mapping[str, Any]]:
        """The rows of a query as mappings; far quicker than SQLAlchemy's own, which look up each column."""

        def work(connection: sa.Connection) -> list[Mapping[str, Any]]:
            result = connection.execute(statement)
            names = tuple(result.keys())
            return [dict(zip(names, row, strict=True)) for row in result.all()]

        return self.transact(work, statement)

    def rows(self, statement: sa.Executable) -> list[Sequence[Any]]:
        """The rows of a query as tuples, which is faster for many."""
        return self.transact(lambda connection: list(connection.execute(statement).all()), statement)

    def count(self, rows: sa.FromClause, *where: sa.ColumnElement[bool]) -> int:
        """The number of rows of a table or query that match."""
        return int(self.rows(sa.select(sa.func.count()).select_from(rows).where(*where))[0][0])

    def transact(self, work: Callable[[sa.Connection], T], statement: sa.Executable | None = None) -> T:
        """
        Do some work in one transaction, if the database has transactions; the statement is for logs and errors.

        :raises RetentionError: as the engine translates errors; all methods raise it.
        """
        return self._writing(lambda: self._transact(work, statement))

    def _writing(self, work: Callable[[], T]) -> T:
        """Do some work; if a disk is full, try again after making its tables writable, if allowed."""
        for _ in range(UNBLOCKED):
            try:
                return work()
            except DiskFull:
                if self._unblock is None:
                    raise
            self._unblock()
        return work()

    def _transact(self, work: Callable[[sa.Connection], T], statement: sa.Executable | None) -> T:
        try:
            with self._begin(not isinstance(statement, sa.Select | sa.CompoundSelect | Query)) as connection:
                return work(connection.execution_options(**self._options))
        except SQLAlchemyError as error:
            text = self.render(statement) if statement is not None else ""
            logger.debug("failed: %s", text, exc_info=True)
            raise self.translate(error, text) from error

    def _begin(self, writing: bool) -> AbstractContextManager[sa.Connection]:
        return self.engine.begin()

    def together(self, *works: Callable[[], Any]) -> list[Any]:
        """Do several reads, concurrently where that is faster, and return their results."""
        return [work() for work in works]

    def refresh(self, *tables: sa.FromClause) -> None:  # noqa: B027
        """Make writes to tables visible to the next query, in one statement."""

    def execute_text(self, statement: str, rows: Sequence[tuple[Any, ...]] | None = None) -> None:
        """Execute a statement with quoted names, optionally with several rows of parameters."""
        if self.kept is not None:
            self.kept.append(statement)
            return
        # exec_driver_sql, since a colon in a name would look like a parameter to text().
        self.transact(lambda connection: connection.exec_driver_sql(statement, rows))

    def create_schema(self, name: str) -> None:
        """Create a schema, unless it exists."""
        self.execute(sa.schema.CreateSchema(name, if_not_exists=True))

    def add_column(self, table: sa.Table, column: sa.Column[Any]) -> None:
        """Add a column to a table that exists."""
        kind = f" {column.type.compile(dialect=self.engine.dialect)}{self.column_options(column)}"
        self.execute(Statement("ALTER TABLE ", table, " ADD COLUMN ", ref(column.name), kind))

    def column_options(self, column: sa.Column[Any]) -> str:
        """The options of a column in ``ADD COLUMN``, after its type."""
        return ""

    def swap_tables(self, one: sa.Table, other: sa.Table) -> None:
        """Exchange two tables in one statement (CrateDB)."""
        self.execute(Statement("ALTER CLUSTER SWAP TABLE ", one, " TO ", other))

    def rename_table(self, table: sa.Table, name: str) -> None:
        """Rename a table within its schema."""
        self.execute(Statement("ALTER TABLE ", table, " RENAME TO ", ref(name)))

    def drop(self, name: TableName, kind: Literal["TABLE", "VIEW"] = "TABLE") -> None:
        """Drop a table or view, if it exists."""
        self.execute(Statement(f"DROP {kind} IF EXISTS ", table_ref(name)))

    def quote(self, name: str) -> str:
        """A name as SQL, always quoted."""
        return self.engine.dialect.identifier_preparer.quote_identifier(name)

    def render(self, statement: sa.Executable) -> str:
        """The statement as text with its values, for display; never for execution."""
        dialect = self.engine.dialect
        try:
            with warnings.catch_warnings():  # A comparison with NULL is shown as it is.
                warnings.simplefilter("ignore", SAWarning)
                compiled = statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True})  # type: ignore[attr-defined]
        except (SQLAlchemyError, NotImplementedError):
            compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        return " ".join(str(compiled).split())
