"""
One CrateDB for all worker processes of a test run.

The process that hands out tests starts it when the first worker asks, and stops it at the end of the run. A worker asks
through a Unix socket. Without workers it is started in the only process there is.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Client, Listener
from pathlib import Path
from typing import Any

import pytest

from support.cratedb import CrateDB, one_node

# The key of the socket's path in what a worker is given by the process that hands out tests.
SOCKET = "cratedb_socket"


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
