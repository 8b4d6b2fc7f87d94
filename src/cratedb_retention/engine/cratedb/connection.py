"""
The connection to CrateDB: what it does otherwise than other databases, and how long it is waited for.

Small statements have minutes, others hours, as long as the host is alive. The driver waits forever by default: a host
that is gone, or a CrateDB that leaves a query unanswered while a node joins or leaves, would hold up a run without a
word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import sqlalchemy as sa
import urllib3

from cratedb_retention.engine.database import BRIEF, Database
from cratedb_retention.errors import DiskFull, RetentionError
from cratedb_retention.model.address import DatabaseAddress

# The driver lets urllib3 try eleven times, so that an address where nothing answers is given up after half a minute.
CONNECT_SECONDS = 3.0
# CrateDB itself gives up waiting for a lost shard after one minute, and says so.
BRIEF_SECONDS = 90.0
# A dead host is noticed within 60 + 4 * 15 seconds, also while a statement takes hours.
KEEPALIVE = {
    "socket_keepalive": True,
    "socket_tcp_keepidle": 60,
    "socket_tcp_keepintvl": 15,
    "socket_tcp_keepcnt": 4,
}
_FAILED = -2  # The number of rows for one of many rows of parameters that failed.
Row = Mapping[str, Any]


def connect_args(address: DatabaseAddress) -> dict[str, Any]:
    """Arguments for the driver; a parameter that the address names is left to it."""
    ours = {**KEEPALIVE, "timeout": _timeout(BRIEF_SECONDS)}
    return {name: value for name, value in ours.items() if name not in address.parameters}


class CrateConnection(Database):
    """
    Executes SQL on CrateDB.

    :param address: One that names a timeout has it for all statements.
    """

    refreshes = True
    row_version = ("_seq_no", "_primary_term")

    def __init__(
        self, engine: sa.Engine, translate: Callable[[Exception, str], RetentionError], address: DatabaseAddress
    ) -> None:
        super().__init__(engine, translate)
        if "timeout" not in address.parameters:
            sa.event.listen(engine, "before_cursor_execute", set_timeout)

    def execute(self, statement: sa.Executable, parameters: Any = None) -> int:
        """Many rows of parameters go in one request."""
        if isinstance(parameters, list) and self.kept is None:
            return sum(self.execute_each(cast("sa.Insert", statement), parameters, all_of_them=True))
        return super().execute(statement, parameters)

    def execute_each(
        self, statement: sa.Insert | sa.Update, rows: Sequence[Row], all_of_them: bool = False
    ) -> list[int]:
        """In one request; a row that fails leaves the others as they are, and its count is negative."""
        if self.kept is not None:
            return super().execute_each(statement, rows)
        counts = dict.fromkeys(range(len(rows)), 0)
        left, errors = list(counts), list[RetentionError]()

        def send() -> None:
            answers = self._transact(lambda c: _send(c, statement, [rows[n] for n in left]), statement) if left else []
            full: dict[int, RetentionError] = {}
            for number, (count, why) in zip(tuple(left), answers, strict=True):
                counts[number] = count
                error = self._translate(RuntimeError(why), "") if why else None
                if isinstance(error, DiskFull):
                    full[number] = error
                elif error is not None:
                    errors.append(error)
            left[:] = full
            for error in full.values():
                raise error

        self._writing(send)
        for error in errors if all_of_them else ():
            raise error
        return list(counts.values())

    def together(self, *works: Callable[[], Any]) -> list[Any]:
        """At once, since each waits for its answer most of the time."""
        if len(works) < 2:
            return super().together(*works)
        with ThreadPoolExecutor(len(works), thread_name_prefix="reading") as pool:
            return [found.result() for found in [pool.submit(work) for work in works]]

    def refresh_name(self, name: str) -> None:
        """``REFRESH TABLE``, which changes nothing, so that it is done in a rehearsal as well."""
        self.transact(lambda connection: connection.exec_driver_sql(f"REFRESH TABLE {name}"))

    def create_schema(self, name: str) -> None:
        """Nothing: a schema is there with its first table."""

    def column_options(self, column: sa.Column[Any]) -> str:
        """A long text can't be indexed."""
        plain = column.dialect_options["crate"].get("columnstore") is not False
        return "" if plain else " INDEX OFF STORAGE WITH (columnstore = false)"


def _send(connection: sa.Connection, statement: sa.Insert | sa.Update, rows: Sequence[Row]) -> list[tuple[int, str]]:
    """Rows of parameters in one request, and what came of each: the rows that it changed, and why it failed."""
    # The dialect forgets all rows but the first of an UPDATE, so the statement is compiled here.
    dialect = connection.dialect
    compiled = statement.compile(dialect=dialect, column_keys=list(rows[0]))
    convert = {
        name: bind.type.dialect_impl(dialect).bind_processor(dialect) or (lambda value: value)
        for name, bind in compiled.binds.items()
    }
    values = [compiled.construct_params(dict(row)) for row in rows]
    args = [tuple(convert[name](row[name]) for name in compiled.positiontup or ()) for row in values]
    sql = str(compiled)
    if len(args) == 1 or "%(" in sql:  # Of many rows, the driver takes %(x)s in a name for a parameter.
        return [(connection.exec_driver_sql(sql, row).rowcount, "") for row in args]
    context: Any = connection.exec_driver_sql(sql, args).context
    return [(answer["rowcount"], _why_failed(answer)) for answer in context.last_result]


def _why_failed(answer: Mapping[str, Any]) -> str:
    """What CrateDB says of one of many rows of parameters; empty if nothing is wrong."""
    if answer["rowcount"] != _FAILED:
        return ""
    return (answer.get("error") or {}).get("message") or "a row was not written"


def set_timeout(connection: sa.Connection, *rest: Any) -> None:
    """Set the time to wait for the next statement."""
    brief = connection.get_execution_options().get(BRIEF, False)
    driver: Any = connection.connection.driver_connection
    for server in driver.client.server_pool.values():
        server.pool.timeout = _timeout(BRIEF_SECONDS if brief else None)


def _timeout(read: float | None) -> urllib3.Timeout:
    return urllib3.Timeout(connect=CONNECT_SECONDS, read=read)
