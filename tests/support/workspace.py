"""
What tests share of CrateDB.

- One server for all worker processes of a test run. The process that hands out tests starts it when the first worker
  asks through a Unix socket, and stops it at the end of the run. Without workers the only process starts it.
- A workspace: a schema for the tables of a test, another with the toolkit's own, and a repository. Creating the
  toolkit's tables takes longer than most tests, so they are created once and emptied between tests.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import uuid
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Client, Listener
from pathlib import Path
from typing import Any

import pytest

from cratedb_retention import Retention
from support.cratedb import CrateDB, one_node
from support.sql import quoted

# The key of the socket's path in what a worker is given by the process that hands out tests.
SOCKET = "cratedb_socket"
# Two of the toolkit's tables.
VERSIONS, AUDIT_LOG = "schema_version", "jobs_log"


class SharedServer:
    """A plugin of pytest in the process that hands out tests: starts a CrateDB when a worker first asks for it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        directory = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="cratedb-shared-"))
        self._path = str(Path(directory) / "socket")
        self._listener = Listener(self._path, "AF_UNIX")
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker where to ask."""
        node.workerinput[SOCKET] = self._path

    def pytest_unconfigure(self) -> None:
        """Stop the server, if it was started."""
        with Client(self._path, "AF_UNIX") as connection:
            connection.send("stop")
        self._thread.join()
        self._listener.close()
        self._stack.close()

    def _answer(self) -> None:
        """Answer one request after the other, so that the second waits while the first one starts the server."""
        answer: tuple[str, ...] | None = None
        while True:
            with contextlib.suppress(OSError, EOFError), self._listener.accept() as connection:
                if connection.recv() == "stop":
                    return
                if answer is None:
                    answer = self._started()
                connection.send(answer)

    def _started(self) -> tuple[str, ...]:
        """The address and the directory for repositories; nothing where there is no CrateDB; or why it failed."""
        try:
            server = self._stack.enter_context(one_node())
        except Exception as error:
            return (f"{type(error).__name__}: {error}",)
        return (server.uri, str(server.repo_root)) if server else ()


@contextmanager
def shared_node(config: pytest.Config) -> Iterator[CrateDB | None]:
    """The CrateDB of this test run; None where there is none."""
    path = getattr(config, "workerinput", {}).get(SOCKET)
    if path is None:
        with one_node() as server:
            yield server
        return
    with Client(path, "AF_UNIX") as connection:
        connection.send("address")
        answer = connection.recv()
    if len(answer) == 1:
        raise RuntimeError(answer[0])
    yield CrateDB(answer[0], Path(answer[1])) if answer else None


class Workspace:
    """
    Two schemas and a repository, all with names of their own.

    Attributes: ``schema`` for the tables of tests, ``own_schema`` with the toolkit's, ``repository``.
    """

    def __init__(self, server: CrateDB) -> None:
        self._server = server
        self.schema = unique("t")
        self.own_schema = f"{self.schema}_ext"
        self.repository = create_repository(server)
        self._layout: list[list[object]] = []
        self._versions: tuple[int, ...] = ()
        self._ready = False

    def prepare(self) -> None:
        """Create the toolkit's tables, unless they are there as they were created."""
        if not self._ready:
            self._server.drop_schemas(self.own_schema)
            with Retention(self._server.uri, self.own_schema) as retention:
                retention.setup(journal_policy=False)
            self._layout = self._read_layout()
            self._versions = self._count_rows()[VERSIONS]
            self._ready = True

    def clear(self) -> None:
        """Remove what a test left."""
        self._server.drop_schemas(self.schema)
        self._ready = self._read_layout() == self._layout and self._empty_own_tables()
        if self._is_used():
            drop_repository(self._server, self.repository)
            self.repository = create_repository(self._server)

    def drop(self) -> None:
        """Remove everything."""
        self._server.drop_schemas(self.schema, self.own_schema)
        drop_repository(self._server, self.repository)

    def _is_used(self) -> bool:
        """Whether the repository was written to, or was broken."""
        directory = self._server.repo_root / self.repository
        return not directory.is_dir() or any(directory.iterdir())

    def _empty_own_tables(self) -> bool:
        """
        Delete all rows but the versions, which say that the tables are there; whether these are all that they were.

        The audit log has a partition for each month. If it is one, it stays: to make it takes longer than many a test.
        """
        self._refresh(sorted({str(row[0]) for row in self._layout}))
        filled = {name: counts for name, counts in self._count_rows().items() if counts[1]}
        as_before = filled.pop(VERSIONS, ()) == self._versions
        for name, (shards, _) in filled.items():
            one_by_one = ' WHERE "time" > 0' if (name, shards) == (AUDIT_LOG, 1) else ""
            self._server.sql(f"DELETE FROM {quoted(self.own_schema, name)}{one_by_one}")
        self._refresh(filled)
        return as_before

    def _count_rows(self) -> dict[str, tuple[int, int]]:
        """Shards and visible rows of the toolkit's tables."""
        query = (
            "SELECT table_name, count(*), sum(num_docs) FROM sys.shards"
            ' WHERE schema_name = ? AND "primary" GROUP BY table_name'
        )
        return {name: (shards, rows) for name, shards, rows in self._server.rows(query, [self.own_schema])}

    def _refresh(self, names: Collection[str]) -> None:
        if names:
            self._server.sql(f"REFRESH TABLE {', '.join(quoted(self.own_schema, name) for name in names)}")

    def _read_layout(self) -> list[list[object]]:
        """Columns and settings of the toolkit's tables."""
        columns = "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = ?"
        tables = "SELECT table_name, number_of_replicas, settings FROM information_schema.tables WHERE table_schema = ?"
        return [
            *self._server.rows(f"{columns} ORDER BY table_name, ordinal_position", [self.own_schema]),
            *self._server.rows(f"{tables} ORDER BY table_name", [self.own_schema]),
        ]


def unique(prefix: str) -> str:
    """A name that nothing else has."""
    return f"{prefix}_{uuid.uuid4().hex[:8]}"


def create_repository(server: CrateDB) -> str:
    """Create an empty snapshot repository of type ``fs``, and return its name."""
    name = unique("r")
    location = str(server.repo_root / name)
    server.sql(f"CREATE REPOSITORY {quoted(name)} TYPE fs WITH (location = ?)", [location])
    return name


def drop_repository(server: CrateDB, name: str) -> None:
    """Drop a repository; its files stay until the server's directory goes."""
    server.sql(f"DROP REPOSITORY {quoted(name)}")
