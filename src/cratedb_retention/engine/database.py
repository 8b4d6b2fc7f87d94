"""
One connection to a database through SQLAlchemy: executes statements, counts them, translates errors.
"""

from __future__ import annotations

import copy
import logging
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.exc import SAWarning, SQLAlchemyError

from cratedb_retention.errors import DiskFull, RetentionError

logger = logging.getLogger(__name__)
sql_logger = logging.getLogger("cratedb_retention.sql")

T = TypeVar("T")
# How often tables are made writable again for one statement: a full disk is noticed anew twice a minute.
UNBLOCKED = 3
BRIEF = "brief"  # The execution option of statements that must be answered soon.
Translate = Callable[[Exception, str], RetentionError]


class Database:
    """
    Executes SQL. Where a database differs from others in that, its engine has a subclass.

    :param engine: The SQLAlchemy engine.
    :param translate: Makes one of our errors from one of the driver's and the statement.
    """

    # Whether changes are visible to queries only after ``REFRESH TABLE``.
    refreshes = False
    # System columns that change with each change of a row, for conditional updates.
    row_version: tuple[str, ...] = ()
    # Whether one process alone can have it open, so that no other one that wrote to it lives.
    exclusive = False

    def __init__(self, engine: sa.Engine, translate: Translate) -> None:
        self.engine = engine
        self.statements = 0
        self.kept: list[str] | None = None
        self._translate = translate
        self._counting = threading.Lock()
        self._options: dict[str, Any] = {}
        self._unblock: Callable[[], None] | None = None
        sa.event.listen(engine, "before_cursor_execute", self._count)

    def _count(self, connection: Any, cursor: Any, statement: str, parameters: Any, *others: Any) -> None:
        with self._counting:
            self.statements += 1
        if sql_logger.isEnabledFor(logging.INFO):
            sql_logger.info("%s%s", " ".join(statement.split()), f" with {parameters}" if parameters else "")

    def brief(self) -> Database:
        """
        The same database for small statements, such as those on the toolkit's own tables.

        An engine may give up waiting for their answer; others may take hours.
        """
        found = copy.copy(self)
        found._options = {BRIEF: True}
        return found

    def unblocking(self, unblock: Callable[[], None]) -> Database:
        """
        The same database for tables that are written to even where a full disk keeps them from it.

        :param unblock: Makes them writable again; what it raises ends the statement.
        """
        found = copy.copy(self)
        found._unblock = unblock
        return found

    def rehearsing(self) -> Database:
        """The same database, in which nothing is changed: statements that would are in ``kept`` instead, as text."""
        found = copy.copy(self)
        found.kept = []
        return found

    def execute(self, statement: sa.Executable, parameters: Any = None) -> int:
        """
        Execute a statement and return the number of rows that it changed; negative if the database does not say.

        :param parameters: Of one row, or a list of these, all of which are written or the statement fails.
        :raises RetentionError: in the words of the engine.
        """
        if self.kept is not None:
            self.kept.append(self.render(statement))
            return 0
        return self.transact(lambda connection: connection.execute(statement, parameters).rowcount, statement)

    def execute_each(
        self, statement: sa.Insert | sa.Update, rows: Sequence[Mapping[str, Any]], all_of_them: bool = False
    ) -> list[int]:
        """
        Execute a statement with each of several rows of parameters, and return how many rows each of them changed.

        :param all_of_them: Whether a row that fails is an error, where the others would be left as they are.
        :raises RetentionError: in the words of the engine.
        """
        if self.kept is not None:
            return [self.execute(statement.values(**row)) for row in rows]
        return self.transact(lambda c: [c.execute(statement, dict(row)).rowcount for row in rows], statement)

    def query(self, statement: sa.Executable) -> list[Mapping[str, Any]]:
        """
        Execute a query and return its rows as mappings.

        :raises RetentionError: in the words of the engine.
        """
        return self.transact(
            lambda connection: [dict(row._mapping) for row in connection.execute(statement)], statement
        )

    def rows(self, statement: sa.Executable) -> list[Sequence[Any]]:
        """
        Execute a query and return its rows as tuples, which is faster for many.

        :raises RetentionError: in the words of the engine.
        """
        return self.transact(lambda connection: list(connection.execute(statement).all()), statement)

    def transact(self, work: Callable[[sa.Connection], T], statement: sa.Executable | None = None) -> T:
        """
        Do some work in one transaction, where the database has transactions.

        :param statement: For the log and for error messages.
        :raises RetentionError: in the words of the engine.
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
            raise self._translate(error, text) from error

    def _begin(self, writing: bool) -> AbstractContextManager[sa.Connection]:
        """
        A transaction.

        :param writing: Whether it may write.
        """
        return self.engine.begin()

    def together(self, *works: Callable[[], Any]) -> list[Any]:
        """
        Do several pieces of reading, and return what each gives: at once where that is faster.

        :raises RetentionError: the first that any of them meets.
        """
        return [work() for work in works]

    def refresh(self, *tables: sa.FromClause) -> None:
        """Make what was written to tables visible to the next query, all in one statement."""
        self.refresh_name(", ".join(map(self.name_of, tables)))

    def refresh_name(self, name: str) -> None:
        """The same for tables whose full names are quoted already, with commas between them."""

    def execute_text(self, statement: str, rows: Sequence[tuple[Any, ...]] | None = None) -> None:
        """
        Execute a statement for which there is no construct, and whose names are quoted already.

        :param rows: Its parameters, to execute it with each of them.
        :raises RetentionError: in the words of the engine.
        """
        if self.kept is not None:
            self.kept.append(statement)
            return
        # exec_driver_sql, since a colon in a name would look like a parameter to text().
        self.transact(lambda connection: connection.exec_driver_sql(statement, rows))

    def create_schema(self, name: str) -> None:
        """Create a schema, unless it is there."""
        self.execute(sa.schema.CreateSchema(name, if_not_exists=True))

    def column_options(self, column: sa.Column[Any]) -> str:
        """What ``ADD COLUMN`` has to say of a column besides its type."""
        return ""

    def name_of(self, table: sa.FromClause) -> str:
        """A table's full name as SQL."""
        return self.engine.dialect.identifier_preparer.format_table(cast("sa.Table", table))

    def quote(self, name: str) -> str:
        """A name as SQL, always quoted."""
        return self.engine.dialect.identifier_preparer.quote_identifier(name)

    def render(self, statement: sa.Executable) -> str:
        """The statement as text with its values, for showing; never for executing."""
        return render(statement, self.engine.dialect)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def render(statement: sa.Executable, dialect: sa.Dialect) -> str:
    """Compile a statement with its values in place, without a connection; for showing only."""
    try:
        with warnings.catch_warnings():  # A comparison with NULL is shown as it is.
            warnings.simplefilter("ignore", SAWarning)
            compiled = statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True})  # type: ignore[attr-defined]
    except (SQLAlchemyError, NotImplementedError):
        compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
    return " ".join(str(compiled).split())
