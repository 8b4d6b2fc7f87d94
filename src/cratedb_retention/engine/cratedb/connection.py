"""The connection to CrateDB: timeouts, translation of errors, full disks, and clusters that were just started."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, cast

import sqlalchemy as sa
import urllib3
from sqlalchemy.exc import SQLAlchemyError

from cratedb_retention import errors
from cratedb_retention.clock import Clock
from cratedb_retention.engine.cratedb.sql import system, words
from cratedb_retention.engine.database import BRIEF, Database, Statement, Writing, listed
from cratedb_retention.engine.expressions import ref, table_ref
from cratedb_retention.errors import RetentionError
from cratedb_retention.model.address import DatabaseAddress
from cratedb_retention.model.catalog import TableName

logger = logging.getLogger(__name__)
Row = Mapping[str, Any]
T = TypeVar("T")

# The driver waits forever by default: a host that is gone, or a query that CrateDB does not answer while a node joins
# or leaves, would silently block a run. So small statements have a timeout, and others may take hours, as long as the
# host is alive. The driver lets urllib3 try eleven times: an address without any response fails after half a minute.
# CrateDB itself stops waiting for a lost shard after one minute, and reports that.
CONNECT_SECONDS, BRIEF_SECONDS = 3.0, 90.0
# A dead host is detected within 60 + 4 * 15 seconds, also while a statement takes hours.
KEEPALIVE = {"socket_keepalive": True, "socket_tcp_keepidle": 60, "socket_tcp_keepintvl": 15, "socket_tcp_keepcnt": 4}
# As many as read the catalog at the same time: another one would be opened and closed for each statement.
CONNECTIONS = 11
_FAILED = -2  # The row count of a failed row among many rows of parameters.

# CrateDB's error classes, by the toolkit's class and the remedy.
_CLASSES: dict[tuple[type[RetentionError], str], str] = {
    (errors.AccessDenied, "check user and password in the address"): "Unauthorized",
    (
        errors.AccessDenied,
        "GRANT the missing privilege, or connect as another user",
    ): "UnauthorizedException MissingPrivilegeException",
    (errors.NotFound, ""): "SchemaUnknownException RelationUnknown ColumnUnknownException PartitionUnknownException"
    " SnapshotMissingException",
    (errors.NotFound, "create it with CREATE REPOSITORY"): "RepositoryMissingException",
    (errors.DatabaseError, "make the repository's location writable for every node"): "RepositoryVerificationException",
    (errors.Conflict, "restore it into another table, or delete it first"): "PartitionAlreadyExistsException",
    (errors.Conflict, ""): "RelationAlreadyExists DuplicateKeyException",
    (errors.ClusterUnhealthy, "bring the lost nodes back"): "NoShardAvailableActionException UnavailableShardsException"
    " PrimaryMissingActionException",
    (errors.ConnectionLost, "wait until the cluster has elected a master"): "MasterNotDiscoveredException",
    (errors.ConnectionLost, "try again"): "NodeDisconnectedException NodeNotConnectedException",
    (errors.ConnectionLost, "wait for the other snapshot"): "ConcurrentSnapshotExecutionException",
    # It is overloaded for a moment: memory of earlier statements is not freed yet, or queues are full.
    (errors.ConnectionLost, "increase the heap of CrateDB, or reduce its load"): "CircuitBreakingException",
    (errors.ConnectionLost, "reduce the load of CrateDB"): "EsRejectedExecutionException",
}
_KNOWN = {name: known for known, names in _CLASSES.items() for name in names.split()}
# Its class is that of a table that does not exist.
_GONE = "Relation not found for indexUUID"
# Partitions go one after the other while a table is read; pauses would only let the next one go.
_READINGS = 5
# The cursor that a session of its own has.
_CURSOR, _NO_CURSOR = "partition_rows", "No cursor named"
# If a node's disk is filled beyond the flood stage, until it is below the high watermark again.
_FULL = "read-only / allow delete"
# Tables and repositories in a statement, by the word before them; repositories have no schema.
_NAME = r'(?:"(?:[^"]|"")+"|\w+)'
_TABLES = re.compile(
    rf"\b(?:FROM|INTO|UPDATE|JOIN|TABLE|VIEW|TO|SNAPSHOT)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?({_NAME}\.{_NAME})"
    rf"|\bREPOSITORY\s+({_NAME})",
    re.IGNORECASE,
)
_SILENT = "Read timed out"
# Responses of a node before the cluster's state is read from disk; the last one is to a new connection.
_STARTING = ("SERVICE_UNAVAILABLE/1/", '"clusterState" is null', '"state" is null', "503 Server Error")
_LOST = ("Server not available", "No more Servers", "Connection aborted", "Connection refused", "400 Client Error")
_CAUSES = (r"\[Errno -?\d+\] ([^'\")]+)", r"(Read timed out|Connection aborted|Connection to \S+ timed out)")

# After a full restart CrateDB answers before it knows its tables: for some seconds their schemas are "unknown", then
# their shards are missing, and both look like data loss.
_UNKNOWN = re.compile(r"(?:Schema|Relation) '(.*)' unknown", re.DOTALL)
_SEEN = """
    SELECT count(*), sum(CASE WHEN $1 IN (table_schema, concat(table_schema, '.', table_name)) THEN 1 ELSE 0 END)
    FROM information_schema.tables WHERE table_schema NOT IN ('sys', 'information_schema', 'pg_catalog', 'blob')
"""
_STARTING_SHARDS = "SELECT count(*) FROM sys.shards WHERE \"primary\" AND routing_state = 'INITIALIZING'"
# A node reports that it is ready a moment before its tables are known.
SETTLING_SECONDS = 1.0
_STATUS_SECONDS = 5.0
_NOT_READY = (400, 503)

# A full disk: CrateDB makes every table with shards on it read-only, including the toolkit's own. Without leases and
# audit log nothing can be removed, and they need very little space, so they are made writable again.
BLOCK, IS_BLOCKED = "blocks.read_only_allow_delete", "settings['blocks']['read_only_allow_delete']"
# Bytes that a node must have left: without space for the toolkit's rows, writing them breaks shards.
ROOM = 16 * 2**20


def is_full(available: Iterable[int | None]) -> bool:
    """Whether the fullest node has too little space, from the bytes that each has left; None: unknown."""
    return min((left for left in available if left is not None), default=ROOM) < ROOM


class CrateConnection(Database):
    """Executes SQL on CrateDB. A timeout in the address applies to all statements."""

    row_version = ("_seq_no", "_primary_term")

    def __init__(self, address: DatabaseAddress, clock: Clock) -> None:
        ours = {**KEEPALIVE, "timeout": _timeout(BRIEF_SECONDS)}
        args = {name: value for name, value in ours.items() if name not in address.parameters}
        try:
            # Parameters as $1: the driver's own %(name)s fails with percent signs in names, and CrateDB numbers the ?
            # of PARTITION and WITH in RESTORE SNAPSHOT in another order than that of the text.
            ours = {"paramstyle": "numeric_dollar", "pool_size": CONNECTIONS, "connect_args": args}
            super().__init__(sa.create_engine(address.dburi, **ours))
        except SQLAlchemyError as error:
            raise errors.InvalidInput(f"database address {address.safe}", str(error)) from None
        self._thing, self._clock, self._address, self._arguments = f"database {address.safe}", clock, address, args
        if "timeout" not in address.parameters:
            sa.event.listen(self.engine, "before_cursor_execute", _set_timeout)

    def _transact(self, work: Callable[[sa.Connection], T], statement: sa.Executable | None) -> T:
        """A query is repeated if a partition was dropped while it was read, by another run or client."""
        for _ in range(_READINGS - 1 if isinstance(statement, sa.Select | sa.CompoundSelect) else 0):
            with suppress(errors.PartitionGone):
                return super()._transact(work, statement)
        return super()._transact(work, statement)

    def execute(self, statement: sa.Executable, parameters: Any = None) -> int:
        """Many rows of parameters are sent in one request."""
        if not isinstance(parameters, list) or self.kept is not None:
            return super().execute(statement, parameters)
        counts, failed = self._execute_all(cast("sa.Insert", statement), parameters)
        for error in failed:
            raise error
        return sum(counts)

    @contextmanager
    def reading(self, query: sa.Select[Any]) -> Iterator[Callable[[int], list[Sequence[Any]]]]:
        """
        A function that returns the next rows of a query, given their number, as CrateDB returned them; none at the
        end. A cursor reads each row once, as it was at the beginning. CrateDB keeps cursors for a connection to its
        HTTP endpoint, so this has a connection of its own, to one node.
        """
        connection = self._connect_alone()

        def run(statement: Statement) -> Any:
            try:
                return connection.execute(statement)
            except SQLAlchemyError as error:
                found = self.translate(error, self.render(query))
                if _NO_CURSOR not in found.reason:
                    raise found from error
                reason = "the connection was lost or changed while rows were read"
                remedy = "run again; do not connect through a proxy that sends each request to another node"
                raise errors.DatabaseError(self._thing, reason, remedy) from error

        def fetch(rows: int) -> list[Sequence[Any]]:
            return list(run(Statement(f"FETCH {rows} FROM {_CURSOR}")).cursor.rows)

        try:
            run(Statement(f"DECLARE {_CURSOR} NO SCROLL CURSOR WITH HOLD FOR ", query))
            yield fetch
        finally:
            with suppress(SQLAlchemyError):  # Otherwise it is closed with the session, a moment later.
                connection.exec_driver_sql(f"CLOSE {_CURSOR}")
            connection.close()
            connection.engine.dispose()

    def _connect_alone(self) -> sa.Connection:
        """A connection to one of the nodes in the address, which is closed for good at its end."""
        servers = sa.make_url(self._address.dburi).query.get("servers")
        choices = [{"servers": each} for each in ([servers] if isinstance(servers, str) else servers or ())] or [{}]
        timeout = {} if "timeout" in self._address.parameters else {"timeout": _timeout(None)}
        for number, choice in enumerate(choices, 1):
            args = {**self._arguments, **timeout, **choice}
            options: dict[str, Any] = {"paramstyle": "numeric_dollar", "poolclass": sa.NullPool, "connect_args": args}
            alone = sa.create_engine(self._address.dburi, **options)
            sa.event.listen(alone, "before_cursor_execute", self._count)
            try:
                return alone.connect()
            except SQLAlchemyError as error:
                if number == len(choices):
                    raise self.translate(error, "") from error
        raise AssertionError(choices)

    def insertion(self, table: TableName, columns: Sequence[str]) -> str:
        """The statement that inserts rows, of which all values are parameters."""
        names, places = ", ".join(map(self.quote, columns)), ", ".join(f"${n}" for n in range(1, len(columns) + 1))
        return f"INSERT INTO {'.'.join(map(self.quote, table))} ({names}) VALUES ({places})"  # noqa: S608 - quoted

    def insert(self, table: TableName, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Insert many rows in one request, whose values are as CrateDB takes them; fails if one is not written."""
        statement = self.insertion(table, columns)
        # With many rows, the driver interprets %(x)s in a name as a parameter.
        batches = [[row] for row in rows] if "%(" in statement else [rows]

        def send(connection: sa.Connection) -> None:
            for batch in batches:
                if len(batch) == 1:
                    connection.exec_driver_sql(statement, tuple(batch[0]))
                    continue
                context: Any = connection.exec_driver_sql(statement, list(map(tuple, batch))).context
                why = next((row.get("error") for row in context.last_result if row["rowcount"] == _FAILED), None)
                if why:
                    raise self.translate(RuntimeError(why.get("message") or "a row was not written"), "")

        self.transact(send)

    def execute_each(self, statement: Writing, rows: Sequence[Row]) -> list[int]:
        return super().execute_each(statement, rows) if self.kept is not None else self._execute_all(statement, rows)[0]

    def _execute_all(self, statement: Writing, rows: Sequence[Row]) -> tuple[list[int], list[RetentionError]]:
        """In one request; a row that fails does not affect the others, and its count is negative."""
        counts, left, failed = [0] * len(rows), list(range(len(rows))), list[RetentionError]()

        def send() -> None:
            answers = self._transact(lambda c: _send(c, statement, [rows[n] for n in left]), statement) if left else []
            full: dict[int, RetentionError] = {}
            for number, (count, why) in zip(tuple(left), answers, strict=True):
                counts[number] = count
                error = self.translate(RuntimeError(why), "") if why else None
                if isinstance(error, errors.DiskFull):
                    full[number] = error
                elif error is not None:
                    failed.append(error)
            left[:] = full
            for error in full.values():
                raise error

        self._writing(send)
        return counts, failed

    def together(self, *works: Callable[[], Any]) -> list[Any]:
        """Concurrently, since each waits for its response most of the time."""
        if len(works) < 2:
            return super().together(*works)
        with ThreadPoolExecutor(len(works), thread_name_prefix="reading") as pool:
            return [found.result() for found in [pool.submit(work) for work in works]]

    def refresh(self, *tables: sa.FromClause) -> None:
        """``REFRESH TABLE``, which changes nothing, and is therefore done in a rehearsal as well."""
        statement = Statement("REFRESH TABLE ", *listed([table] for table in tables))
        self.transact(lambda connection: connection.execute(statement), statement)

    def create_schema(self, name: str) -> None:
        """Nothing: a schema exists with its first table."""

    def column_options(self, column: sa.Column[Any]) -> str:
        """A long text cannot be indexed."""
        plain = column.dialect_options["crate"].get("columnstore") is not False
        return "" if plain else " INDEX OFF STORAGE WITH (columnstore = false)"

    def translate(self, error: Exception, statement: str) -> RetentionError:
        """Asks the cluster whether missing tables are about to appear; for a dropped table it fails immediately."""
        found = self._translate(error, statement)
        unknown = _UNKNOWN.fullmatch(found.reason) if isinstance(found, errors.NotFound) else None
        if not unknown and not isinstance(found, errors.ClusterUnhealthy):
            return found
        try:
            with self.engine.connect() as connection:
                if unknown:
                    coming = self._is_coming(connection, unknown[1])
                else:
                    coming = connection.exec_driver_sql(_STARTING_SHARDS).one()[0] > 0
        except SQLAlchemyError as problem:
            other = self._translate(problem, "")
            return other if isinstance(other, errors.ConnectionLost) else found
        return self._recovering() if coming else found

    def _translate(self, error: Exception, statement: str) -> RetentionError:
        message = str(getattr(error, "orig", None) or error)
        if any(text in message for text in (*_LOST, _SILENT)):
            cause = next((found for pattern in _CAUSES if (found := re.search(pattern, message))), None)
            lost = errors.NoAnswer if _SILENT in message else errors.ConnectionLost
            return lost(self._thing, f"no answer ({cause[1]})" if cause else "no answer", "is CrateDB running there?")
        if any(text in message for text in _STARTING):
            return self._recovering()
        known = re.match(r"(?:SQL\w+: )?(?:[\w.]+: )?(\w+)\[(.*)\]?", message, re.DOTALL)
        name, text = (known[1], known[2].strip().removesuffix("]")) if known else ("", message)
        if "401" in message and "Unauthorized" in message:
            name, text = "Unauthorized", "wrong user or password"
        if name == "SchemaUnknownException" and "'sys'" in text:  # CrateDB hides what a user may not see.
            return errors.AccessDenied(self._thing, "the user cannot see the system tables", "GRANT DQL ON SCHEMA sys")
        if _FULL in text:
            return disk_is_full("CrateDB", f": {text}")
        if name == "IndexNotFoundException" or _GONE in text:
            reason = "a partition was dropped while a statement used its table"
            return errors.PartitionGone(self._thing, reason, "try again")
        if name == "MissingPrivilegeException":
            text += _on(statement or str(getattr(error, "statement", None) or ""))
        if name not in _KNOWN:
            within = f" (in: {statement[:200]}{'...' if len(statement) > 200 else ''})" if statement else ""
            return errors.DatabaseError("CrateDB", f"{message}{within}")
        kind, remedy = _KNOWN[name]
        own = issubclass(kind, errors.AccessDenied | errors.ConnectionLost)
        return kind(self._thing if own else "CrateDB", text, remedy)

    def _recovering(self) -> errors.Recovering:
        reason = "the cluster was just started, and some tables are not available yet"
        return errors.Recovering(self._thing, reason, "try again in a minute")

    def _is_coming(self, connection: sa.Connection, name: str) -> bool:
        """Whether an unknown schema or table exists by now, or no table can be known yet."""
        tables, same = connection.exec_driver_sql(_SEEN, (name,)).one()
        if tables:
            return bool(same)
        if not _is_ready(connection):
            return True
        self._clock.sleep(SETTLING_SECONDS)
        return bool(connection.exec_driver_sql(_SEEN, (name,)).one()[1])

    def unblock(self, tables: Sequence[TableName]) -> None:
        """Make tables writable that a full disk made read-only, until CrateDB makes them read-only again."""
        nodes = self.rows(sa.select(words("fs['total']['available']")).select_from(system("sys.nodes").table))
        if is_full(row[0] for row in nodes):
            reason = "the disk of a node is full, and has no space even for the audit log"
            raise errors.DiskFull("CrateDB", reason, "free some space")
        found = self.blocked(tables)
        for table in found:
            self.execute(Statement("ALTER TABLE ", table_ref(table), " RESET (", ref(BLOCK), ")"))
        logger.warning("made writable again, since a disk is full: %s", ", ".join(map(str, found)))

    def blocked(self, tables: Sequence[TableName]) -> list[TableName]:
        """Those that may be read-only: CrateDB 6 does not show this block for tables without partitions."""
        found: set[TableName] = set()
        for name, hidden in (("tables", sa.column("partitioned_by").is_(None)), ("table_partitions", sa.false())):
            t = system(f"information_schema.{name}")
            wanted = (sa.or_(sa.false(), *map(t.of, tables)), sa.or_(words(IS_BLOCKED), hidden))
            found.update(TableName(*row) for row in self.rows(sa.select(*t.place).where(*wanted)))
        return sorted(found)


def _send(connection: sa.Connection, statement: Writing, rows: Sequence[Row]) -> list[tuple[int, str]]:
    """Send rows of parameters in one request; for each, the number of rows that it changed, and its error."""
    # The dialect ignores all rows but the first of an UPDATE, so the statement is compiled here.
    dialect = connection.dialect
    compiled = statement.compile(dialect=dialect, column_keys=list(rows[0]))
    convert = {
        name: bind.type.dialect_impl(dialect).bind_processor(dialect) or (lambda value: value)
        for name, bind in compiled.binds.items()
    }
    values = [compiled.construct_params(dict(row)) for row in rows]
    args = [tuple(convert[name](row[name]) for name in compiled.positiontup or ()) for row in values]
    sql = str(compiled)
    if len(args) == 1 or "%(" in sql:  # With many rows, the driver interprets %(x)s in a name as a parameter.
        return [(connection.exec_driver_sql(sql, row).rowcount, "") for row in args]
    context: Any = connection.exec_driver_sql(sql, args).context
    counts = [(answer["rowcount"], answer.get("error") or {}) for answer in context.last_result]
    return [(n, (why.get("message") or "a row was not written") if n == _FAILED else "") for n, why in counts]


def _set_timeout(connection: sa.Connection, *rest: Any) -> None:
    for server in _servers(connection):
        server.pool.timeout = _timeout(BRIEF_SECONDS if connection.get_execution_options().get(BRIEF) else None)


def _servers(connection: sa.Connection) -> Iterable[Any]:
    driver: Any = connection.connection.driver_connection
    return list(driver.client.server_pool.values())


def _timeout(read: float | None) -> urllib3.Timeout:
    return urllib3.Timeout(connect=CONNECT_SECONDS, read=read)


def _on(statement: str) -> str:
    """The objects of a statement, since CrateDB does not report where a privilege is missing."""
    named = [match[1] or match[2] for match in _TABLES.finditer(statement)]
    return f", on {' or '.join(dict.fromkeys(named))}" if named else f", for: {' '.join(statement.split())[:100]}"


def disk_is_full(thing: str, said: str = "") -> errors.DiskFull:
    reason = f"a disk is full, so writes are rejected{said}"
    return errors.DiskFull(thing, reason, "free some space; the next run continues")


def _is_ready(connection: sa.Connection) -> bool:
    """Whether a node reports that the cluster's state is read; a node that denies access counts as ready."""
    for server in _servers(connection):
        try:
            answer = server.pool.request("GET", "/", retries=False, timeout=_STATUS_SECONDS)
        except urllib3.exceptions.HTTPError:
            continue
        return answer.status not in _NOT_READY
    return False
