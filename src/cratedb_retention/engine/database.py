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
# How often tables are made writable again for one statement: a full disk is noticed anew twice a minute.
UNBLOCKED = 3
BRIEF = "brief"  # The execution option of statements that must be answered soon.


class Statement(Executable, ClauseElement):
    """
    A statement for which SQLAlchemy has no construct, of SQL as it is, and tables, columns, values and queries, which
    the dialect quotes or binds: ``Statement("DROP VIEW ", table_ref(name))``. In a literal one, values stand in the
    text, as in definitions, which can't have parameters.
    """

    inherit_cache = False

    def __init__(self, *parts: Sql, literal: bool = False) -> None:
        self.parts, self.literal = parts, literal


@compiles(Statement)
def _compile(element: Statement, compiler: SQLCompiler, **kw: Any) -> str:
    kw |= {"literal_binds": True} if element.literal else {}
    own = {True: kw | {"asfrom": True}, False: kw}
    return "".join(
        part if isinstance(part, str) else compiler.process(part, **own[isinstance(part, sa.TableClause)])
        for part in element.parts
    )


def listed(items: Iterable[Iterable[Sql]]) -> list[Sql]:
    """The parts of several items, with commas between these."""
    return [part for item in items for part in (", ", *item)][1:]


class Database(abc.ABC):
    """Executes SQL. What databases do differently is in subclasses."""

    # System columns that change with each change of a row, for conditional updates.
    row_version: tuple[str, ...] = ()
    # Whether one process alone can have it open, so that no other one that wrote to it lives.
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
        """Make one of our errors from one of the driver's."""

    def _with(self, **changed: Any) -> Self:
        found = copy.copy(self)
        vars(found).update(changed)
        return found

    def brief(self) -> Self:
        """The same database for small statements: an engine may give up waiting for their answer, others take hours."""
        return self._with(_options={BRIEF: True})

    def unblocking(self, unblock: Callable[[], None]) -> Self:
        """The same database for tables that are made writable again where a full disk keeps them from it."""
        return self._with(_unblock=unblock)

    def rehearsing(self) -> Self:
        """The same database, in which nothing is changed: statements that would are in ``kept`` instead, as text."""
        return self._with(kept=[])

    def execute(self, statement: sa.Executable, parameters: Any = None) -> int:
        """
        Execute a statement and return the number of rows that it changed; negative if the database does not say. Of
        several rows of parameters, all are written, or it fails.
        """
        if self.kept is not None:
            self.kept.append(self.render(statement))
            return 0
        return self.transact(lambda connection: connection.execute(statement, parameters).rowcount, statement)

    def execute_each(self, statement: Writing, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """How many rows each of several rows of parameters changed; where one fails, others may be left as they are."""
        if self.kept is not None:
            return [self.execute(statement.values(**row)) for row in rows]
        if not rows:
            return []
        return self.transact(lambda c: [c.execute(statement, dict(row)).rowcount for row in rows], statement)

    def query(self, statement: sa.Executable) -> list[Mapping[str, Any]]:
        """The rows of a query as mappings."""
        return self.transact(lambda c: [dict(row) for row in c.execute(statement).mappings()], statement)

    def rows(self, statement: sa.Executable) -> list[Sequence[Any]]:
        """The rows of a query as tuples, which is faster for many."""
        return self.transact(lambda connection: list(connection.execute(statement).all()), statement)

    def count(self, rows: sa.FromClause, *where: sa.ColumnElement[bool]) -> int:
        """How many rows of a table or query fit."""
        return int(self.rows(sa.select(sa.func.count()).select_from(rows).where(*where))[0][0])

    def transact(self, work: Callable[[sa.Connection], T], statement: sa.Executable | None = None) -> T:
        """
        Do some work in one transaction, where the database has transactions; the statement is for logs and errors.

        :raises RetentionError: in the words of the engine; all methods raise it.
        """
        return self._writing(lambda: self._transact(work, statement))

    def _writing(self, work: Callable[[], T]) -> T:
        """Do some work; where a disk is full, after its tables were made writable again, if that may be."""
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
            with self._begin(not isinstance(statement, sa.Select | sa.CompoundSelect)) as connection:
                return work(connection.execution_options(**self._options))
        except SQLAlchemyError as error:
            text = self.render(statement) if statement is not None else ""
            logger.debug("failed: %s", text, exc_info=True)
            raise self.translate(error, text) from error

    def _begin(self, writing: bool) -> AbstractContextManager[sa.Connection]:
        return self.engine.begin()

    def together(self, *works: Callable[[], Any]) -> list[Any]:
        """Do several pieces of reading, at once where that is faster, and return what each gives."""
        return [work() for work in works]

    def refresh(self, *tables: sa.FromClause) -> None:  # noqa: B027
        """Make what was written to tables visible to the next query, all in one statement."""

    def execute_text(self, statement: str, rows: Sequence[tuple[Any, ...]] | None = None) -> None:
        """Execute a statement whose names are quoted already, perhaps with each of several rows of parameters."""
        if self.kept is not None:
            self.kept.append(statement)
            return
        # exec_driver_sql, since a colon in a name would look like a parameter to text().
        self.transact(lambda connection: connection.exec_driver_sql(statement, rows))

    def create_schema(self, name: str) -> None:
        """Create a schema, unless it is there."""
        self.execute(sa.schema.CreateSchema(name, if_not_exists=True))

    def add_column(self, table: sa.Table, column: sa.Column[Any]) -> None:
        """Add a column to a table that exists."""
        kind = f" {column.type.compile(dialect=self.engine.dialect)}{self.column_options(column)}"
        self.execute(Statement("ALTER TABLE ", table, " ADD COLUMN ", ref(column.name), kind))

    def column_options(self, column: sa.Column[Any]) -> str:
        """What ``ADD COLUMN`` has to say of a column besides its type."""
        return ""

    def swap_tables(self, one: sa.Table, other: sa.Table) -> None:
        """Exchange two tables in one statement (CrateDB)."""
        self.execute(Statement("ALTER CLUSTER SWAP TABLE ", one, " TO ", other))

    def rename_table(self, table: sa.Table, name: str) -> None:
        """Give a table another name in its schema."""
        self.execute(Statement("ALTER TABLE ", table, " RENAME TO ", ref(name)))

    def drop(self, name: TableName, kind: Literal["TABLE", "VIEW"] = "TABLE") -> None:
        """Drop a table or view, if it is there."""
        self.execute(Statement(f"DROP {kind} IF EXISTS ", table_ref(name)))

    def quote(self, name: str) -> str:
        """A name as SQL, always quoted."""
        return self.engine.dialect.identifier_preparer.quote_identifier(name)

    def render(self, statement: sa.Executable) -> str:
        """The statement as text with its values, for showing; never for executing."""
        dialect = self.engine.dialect
        try:
            with warnings.catch_warnings():  # A comparison with NULL is shown as it is.
                warnings.simplefilter("ignore", SAWarning)
                compiled = statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True})  # type: ignore[attr-defined]
        except (SQLAlchemyError, NotImplementedError):
            compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        return " ".join(str(compiled).split())
