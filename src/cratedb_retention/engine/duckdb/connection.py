"""
The connection to a DuckDB file: checks the free space on its disk before each transaction that writes, makes Ctrl-C
work as usual, and translates errors.

If a commit finds no space, DuckDB rolls back, and cannot put a row that was changed or deleted back into a primary key:
that terminates the process, with a message of C++.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import shutil
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cratedb_retention import errors
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.duckdb.dialect import make_engine
from cratedb_retention.errors import RetentionError
from cratedb_retention.model.address import DatabaseAddress

# Bytes; more than a transaction on the toolkit's own tables writes.
ROOM = 1024 * 1024
MANY = 20  # Rows that are inserted as lists.
# DuckDB stores UUIDs as large numbers, as its messages show.
_NO_UUID = re.compile(r"Could not convert string '(.*)' to (?:INT128|UUID)")


class DuckConnection(Database):
    """Executes SQL on a DuckDB file."""

    exclusive = True
    _alone = False  # Whether each transaction is one statement.

    def __init__(self, address: DatabaseAddress, path: Path, read_only: bool) -> None:
        self._path, self._thing = path, f"database {address.safe}"
        try:
            super().__init__(make_engine(address.dburi, read_only=read_only))
        except ImportError as error:
            raise errors.not_installed(self._thing, "the driver is not installed", "duckdb", error) from None
        # One statement needs no other transaction than its own, which would take as long as a small one.
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        # Generated columns and texts must not depend on the machine's time zone.
        sa.event.listen(self.engine, "connect", lambda opened, _: opened.cursor().execute("SET TimeZone = 'UTC'"))
        with _stand_in_for_pandas():
            self.rows(sa.select(sa.literal(1)))

    def execute(self, statement: sa.Executable, parameters: Any = None) -> int:
        """See :class:`Database`; many rows are inserted as a list of values for each column, which is far quicker."""
        many = self.kept is None and isinstance(statement, sa.Insert) and len(parameters or ()) >= MANY
        if many and (inserting := _of_lists(statement, parameters)) is not None:  # type: ignore[arg-type]
            statement, parameters = inserting, None
        # SQLAlchemy writes a few rows by one INSERT as well.
        alone = parameters is None or (type(statement) is sa.Insert and len(parameters) < MANY)
        return super(DuckConnection, self._with(_alone=alone)).execute(statement, parameters)

    @contextlib.contextmanager
    def _begin(self, writing: bool) -> Iterator[sa.Connection]:
        """Ctrl-C raises a KeyboardInterrupt, also during the commit, and stops a statement in the background."""
        if writing and _room(self._path) < ROOM:
            raise _disk_is_full(self._thing)
        try:
            with (self.engine if writing and not self._alone else self._autocommit).begin() as connection:
                try:
                    yield connection
                except RuntimeError as error:
                    if "interrupted" in str(error):
                        connection.connection.driver_connection.interrupt()  # type: ignore[union-attr]
                    raise
        except RuntimeError as error:
            if "interrupted" in str(error):
                raise KeyboardInterrupt from error
            raise

    def translate(self, error: Exception, statement: str) -> RetentionError:
        original = getattr(error, "orig", None) or error
        name, message = type(original).__name__, " ".join(str(original).split())
        if "Could not set lock" in message:
            holder = re.search(r"PID (\d+)", message)
            who = f"process {holder[1]}" if holder else "another process"
            remedy = "wait for it with --wait=60, or stop it; if it is a service, use its pages or its HTTP API"
            return errors.Locked(self._thing, f"{who} has it open", f"DuckDB allows one process at a time: {remedy}")
        if "different configuration" in message:
            return errors.Conflict(self._thing, "this process has it open with other settings", "close it first")
        if "No space left on device" in message or "File too large" in message:
            return _disk_is_full(self._thing)
        if "not a valid DuckDB database" in message:
            return not_a_database(self._thing)
        if name == "ConversionException" and (no_uuid := _NO_UUID.search(message)):
            remedy = "write one like 2af93f28-0000-4000-8000-000000000000"
            return errors.InvalidInput(f"value {no_uuid[1]!r}", "not a UUID", remedy)
        if name == "ConstraintException" or (name == "TransactionException" and "onflict" in message):
            return errors.Conflict("DuckDB", message)
        if name == "CatalogException":
            return errors.NotFound("DuckDB", message)
        return errors.DatabaseError(self._thing if name == "IOException" and not statement else "DuckDB", message)


def _of_lists(statement: sa.Insert, rows: Sequence[Mapping[str, Any]]) -> sa.Insert | None:
    """The same kind of insert, of lists; None if a column has lists itself, which SQLAlchemy cannot bind."""
    columns = [statement.table.c[name] for name in rows[0]]
    if any(isinstance(column.type, sa.ARRAY) for column in columns):
        return None
    lists = (sa.literal([row[column.name] for row in rows], sa.ARRAY(column.type)) for column in columns)
    # One that replaces rows that exist stays what it is.
    return type(statement)(statement.table).from_select(columns, sa.select(*map(sa.func.unnest, lists)))


@contextlib.contextmanager
def _stand_in_for_pandas() -> Iterator[None]:
    """
    DuckDB compares each value of a parameter with the NaT and NA of pandas. Where pandas cannot be imported, it tries
    again for each value, which made a large INSERT ten times slower; but it remembers what it found once.
    """
    if _is_importable("pandas"):
        yield
        return
    stand_in = types.ModuleType("pandas")
    vars(stand_in).update(NaT=object(), NA=object())
    sys.modules["pandas"] = stand_in
    try:
        yield
    finally:
        del sys.modules["pandas"]


def _is_importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False


def not_a_database(thing: str) -> errors.InvalidInput:
    return errors.InvalidInput(thing, "the file is not a DuckDB database", "name another file")


def _disk_is_full(thing: str) -> errors.DiskFull:
    return errors.DiskFull(thing, "the disk is full", "free some space; nothing is lost, and the next run continues")


def _room(path: Path) -> int:
    with contextlib.suppress(OSError):  # DuckDB reports the error.
        free = shutil.disk_usage(path.absolute().parent).free
        if sys.platform != "win32":
            import resource

            limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
            if limit != resource.RLIM_INFINITY:
                files = (path, path.with_name(f"{path.name}.wal"))
                return min(free, limit - max(file.stat().st_size for file in files if file.exists()))
        return free
    return ROOM
