"""
The connection to a DuckDB file: room on its disk is looked for before each transaction that writes, and Ctrl-C is what
it is everywhere else.

Where a commit finds no room, DuckDB takes back what it did, and a row that was changed or deleted can't be put back
into a primary key: that ends the whole process, with a message of C++.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from cratedb_retention.engine.database import Database
from cratedb_retention.engine.duckdb.errors import disk_is_full, translate
from cratedb_retention.model.address import DatabaseAddress

# More than what a transaction on the toolkit's own tables writes.
ROOM = 1024 * 1024


class DuckConnection(Database):
    """Executes SQL on a DuckDB file."""

    exclusive = True

    def __init__(self, engine: sa.Engine, address: DatabaseAddress, path: Path) -> None:
        super().__init__(engine, partial(translate, address))
        self._path, self._thing = path, f"database {address.safe}"

    @contextlib.contextmanager
    def _begin(self, writing: bool) -> Iterator[sa.Connection]:
        """
        A transaction in which Ctrl-C is a KeyboardInterrupt, also while it is committed.

        The driver raises a RuntimeError, and the statement may go on behind it, which the rollback would wait for.
        """
        if writing:
            require_room(self._path, self._thing)
        try:
            with self.engine.begin() as connection:
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


def require_room(path: Path, thing: str) -> None:
    """
    Make sure that a transaction can be written.

    :raises DiskFull: if it may be that it can't.
    """
    if _room(path) < ROOM:
        raise disk_is_full(thing)


def _room(path: Path) -> int:
    """How many bytes the disk, and the limit of this process, leave."""
    with contextlib.suppress(OSError):  # DuckDB says what is wrong.
        free = shutil.disk_usage(path.absolute().parent).free
        limit = _longest_file()
        if limit is None:
            return free
        files = (path, path.with_name(f"{path.name}.wal"))
        return min(free, limit - max(file.stat().st_size for file in files if file.exists()))
    return ROOM


def _longest_file() -> int | None:
    """How many bytes this process may write into a file; None: as many as there are."""
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if limit == resource.RLIM_INFINITY else limit
