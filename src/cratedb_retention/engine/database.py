"""
One connection to a database through SQLAlchemy: executes statements, counts them, translates errors.
"""

from __future__ import annotations

import copy
import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.exc import SAWarning, SQLAlchemyError

from cratedb_retention.errors import DiskFull, RetentionError

logger = logging.getLogger(__name__)
sql_logger = logging.getLogger("cratedb_retention.sql")

T = TypeVar("T")
# How often tables are made writable again for one statement: a full disk is noticed anew twice a minute.
UNBLOCKED = 3
_FAILED = -2  # CrateDB's number of rows for one of many rows of parameters that failed.
BRIEF = "brief"  # The execution option of statements that must be answered soon.
Translate = Callable[[Exception, str], RetentionError]


class Database:
    """
    Executes SQL.

    :param engine: The SQLAlchemy engine.
    :param translate: Makes one of our errors from one of the driver's and the statement.
    :param refreshes: Whether changes are visible to queries only after ``REFRESH TABLE``, as on CrateDB.
    :param row_version: System columns that change with each change of a row (CrateDB: ``_seq_no``), for
        conditional updates.
    :param counts_each: Whether the driver sends many rows of parameters at once, and tells of each what it changed.
    :param before_writing: Called before a transaction that may write; what it raises keeps it from beginning.
    :param exclusive: Whether one process alone can have it open, so that no other one that wrote to it lives.
    """

    def __init__(
        self,
        engine: sa.Engine,
        translate: Translate,
        refreshes: bool = False,
        row_version: Sequence[str] = (),
        counts_each: bool = False,
        before_writing: Callable[[], None] | None = None,
        exclusive: bool = False,
    ) -> None:
        self.engine = engine
        self.refreshes = refreshes
        self.row_version = tuple(row_version)
        self.exclusive = exclusive
        self.statements = 0
        self._before_writing = before_writing
        self._counting = threading.Lock()
        self._counts_each = counts_each
        self._translate = translate
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

    def execute(self, statement: sa.Executable, parameters: Any = None) -> int:
        """
        Execute a statement and return the number of rows that it changed; negative if the database does not say.

        :param parameters: Of one row, or a list of these, all of which are written or the statement fails.
        :raises RetentionError: in the words of the engine.
        """
        if self._counts_each and isinstance(parameters, list):
            return sum(self.execute_each(cast("sa.Insert", statement), parameters, all_of_them=True))

        def work(connection: sa.Connection) -> int:
            result = connection.execute(statement, parameters)
            return result.rowcount

        return self.transact(work, statement)

    def execute_each(
        self, statement: sa.Insert | sa.Update, rows: Sequence[Mapping[str, Any]], all_of_them: bool = False
    ) -> list[int]:
        """
        Execute a statement with each of several rows of parameters, and return how many rows each of them changed.

        CrateDB does that in one request, and a row that fails leaves the others as they are (its count is then
        negative); elsewhere it is one transaction.

        :param all_of_them: Whether a row that fails is an error.
        :raises RetentionError: in the words of the engine.
        """
        if not self._counts_each:
            return self.transact(lambda c: [c.execute(statement, dict(row)).rowcount for row in rows], statement)
        found = self._send(statement, rows)
        for _ in range(UNBLOCKED):
            full = [number for number, (_, error) in enumerate(found) if isinstance(error, DiskFull)]
            if not full or self._unblock is None:
                break
            self._unblock()
            again = self._send(statement, [rows[number] for number in full])
            for number, result in zip(full, again, strict=True):
                found[number] = result
        for _, error in found:
            if isinstance(error, DiskFull) or (error is not None and all_of_them):
                raise error
        return [count for count, _ in found]

    def _send(
        self, statement: sa.Insert | sa.Update, rows: Sequence[Mapping[str, Any]]
    ) -> list[tuple[int, RetentionError | None]]:
        """Rows of parameters in one request, and what came of each: the rows that it changed, and its error."""

        def at_once(connection: sa.Connection) -> list[tuple[int, str]]:
            # The dialect forgets all rows but the first of an UPDATE, so the statement is compiled here.
            compiled = statement.compile(dialect=connection.dialect, column_keys=list(rows[0]))
            values = [compiled.construct_params(dict(row)) for row in rows]
            convert: Mapping[str, Any] = compiled._bind_processors
            names = compiled.positiontup or ()
            args = [tuple(convert[n](v[n]) if n in convert else v[n] for n in names) for v in values]
            sql = str(compiled)
            if len(args) == 1 or "%(" in sql:  # Of many rows, the driver takes %(x)s in a name for a parameter.
                return [(connection.exec_driver_sql(sql, row).rowcount, "") for row in args]
            result = connection.exec_driver_sql(sql, args)
            answers = result.context.last_result  # type: ignore[attr-defined]
            return [(answer["rowcount"], _why_failed(answer)) for answer in answers]

        found = self.transact(at_once, statement) if rows else []
        return [(count, self._translate(RuntimeError(error), "") if error else None) for count, error in found]

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
        for _ in range(UNBLOCKED):
            try:
                return self._transact(work, statement)
            except DiskFull:
                if self._unblock is None:
                    raise
            self._unblock()
        return self._transact(work, statement)

    def _transact(self, work: Callable[[sa.Connection], T], statement: sa.Executable | None) -> T:
        if self._before_writing and not isinstance(statement, sa.Select | sa.CompoundSelect):
            self._before_writing()
        try:
            with _transaction(self.engine) as connection:
                return work(connection.execution_options(**self._options))
        except SQLAlchemyError as error:
            text = self.render(statement) if statement is not None else ""
            logger.debug("failed: %s", text, exc_info=True)
            raise self._translate(error, text) from error

    def together(self, *works: Callable[[], Any]) -> list[Any]:
        """
        Do several pieces of reading, and return what each gives: at once on a server, where each waits for its answer
        most of the time; one after the other in a file.

        :raises RetentionError: the first that any of them meets.
        """
        if not self.refreshes or len(works) < 2:
            return [work() for work in works]
        with ThreadPoolExecutor(len(works), thread_name_prefix="reading") as pool:
            return [found.result() for found in [pool.submit(work) for work in works]]

    def refresh(self, *tables: sa.Table) -> None:
        """Make what was written to tables visible to the next query, all in one statement."""
        if self.refreshes:
            self.refresh_name(", ".join(map(self.engine.dialect.identifier_preparer.format_table, tables)))

    def refresh_name(self, name: str) -> None:
        """The same for tables whose full names are quoted already, with commas between them."""
        self.execute_text(f"REFRESH TABLE {name}")

    def execute_text(self, statement: str, rows: Sequence[tuple[Any, ...]] | None = None) -> None:
        """
        Execute a statement for which there is no construct, and whose names are quoted already.

        :param rows: Its parameters, to execute it with each of them.
        :raises RetentionError: in the words of the engine.
        """
        # exec_driver_sql, since a colon in a name would look like a parameter to text().
        self.transact(lambda connection: connection.exec_driver_sql(statement, rows))

    def create_schema(self, name: str) -> None:
        """Create a schema, unless it is there; CrateDB makes one with its first table."""
        if not self.refreshes:
            self.execute(sa.schema.CreateSchema(name, if_not_exists=True))

    def quote(self, name: str) -> str:
        """A name as SQL, always quoted."""
        return self.engine.dialect.identifier_preparer.quote_identifier(name)

    def render(self, statement: sa.Executable) -> str:
        """The statement as text with its values, for showing; never for executing."""
        return render(statement, self.engine.dialect)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _why_failed(answer: Mapping[str, Any]) -> str:
    """What CrateDB says of one of many rows of parameters; empty if nothing is wrong."""
    if answer["rowcount"] != _FAILED:
        return ""
    return (answer.get("error") or {}).get("message") or "a row was not written"


class Rehearsal(Database):
    """The same database, in which nothing is changed: statements that would are kept as text instead."""

    def __init__(self, database: Database) -> None:
        vars(self).update(vars(database))
        self.kept: list[str] = []

    def execute(self, statement: sa.Executable, parameters: Any = None) -> int:
        """Keep a statement."""
        self.kept.append(self.render(statement))
        return 0

    def execute_each(
        self, statement: sa.Insert | sa.Update, rows: Sequence[Mapping[str, Any]], all_of_them: bool = False
    ) -> list[int]:
        """Keep a statement for each row."""
        return [self.execute(statement.values(**row)) for row in rows]

    def refresh_name(self, name: str) -> None:
        """Make what was written visible, which changes nothing."""
        super().execute_text(f"REFRESH TABLE {name}")

    def execute_text(self, statement: str, rows: Sequence[tuple[Any, ...]] | None = None) -> None:
        """Keep a statement."""
        self.kept.append(statement)


@contextmanager
def _transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """
    A transaction in which Ctrl-C is what it is everywhere else, also while it is committed.

    DuckDB's driver raises a RuntimeError, and the statement may go on behind it, which the rollback would wait for.
    """
    try:
        with engine.begin() as connection:
            try:
                yield connection
            except RuntimeError as error:
                if _is_interruption(error):
                    connection.connection.driver_connection.interrupt()  # type: ignore[union-attr]
                raise
    except RuntimeError as error:
        if _is_interruption(error):
            raise KeyboardInterrupt from error
        raise


def _is_interruption(error: RuntimeError) -> bool:
    return "interrupted" in str(error)


def render(statement: sa.Executable, dialect: sa.Dialect) -> str:
    """Compile a statement with its values in place, without a connection; for showing only."""
    try:
        with warnings.catch_warnings():  # A comparison with NULL is shown as it is.
            warnings.simplefilter("ignore", SAWarning)
            compiled = statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True})  # type: ignore[attr-defined]
    except (SQLAlchemyError, NotImplementedError):
        compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
    return " ".join(str(compiled).split())
