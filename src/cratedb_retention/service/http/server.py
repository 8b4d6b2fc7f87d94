"""
Serves the HTTP API by uvicorn, in a thread of its own, beside the scheduler.
"""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import suppress
from typing import Protocol

import uvicorn
from fastapi import FastAPI

from cratedb_retention.errors import InvalidInput, RetentionError

logger = logging.getLogger(__name__)
# Requests at once; more are answered with 503. Seconds until a silent connection is closed, and until all must end.
_MOST_AT_ONCE, _SILENT, _PATIENCE = 200, 5, 10


class Closing(Protocol):
    """What goes on in the background."""

    def close(self) -> None:
        """End it."""


class _Server(uvicorn.Server):
    """Says when it has begun, or will not."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self.settled.set()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until it is told to end."""
        try:
            with suppress(SystemExit):  # What does not start would end the process; here, who starts it is told.
                super().run(sockets)
        finally:
            self.settled.set()


class HttpServer:
    """
    The HTTP API on an address.

    :param port: 0: any that is free, see ``port``.
    :param ended: Are ended with the server, such as runs.
    """

    def __init__(self, app: FastAPI, host: str, port: int, *ended: Closing) -> None:
        self._host, self._port, self._ended = host, port, ended
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_SILENT,
            timeout_graceful_shutdown=_PATIENCE,
            limit_concurrency=_MOST_AT_ONCE,
        )
        self._server = _Server(config)
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._socket.getsockname()[1]) if self._socket else self._port

    def start(self) -> None:
        """
        Begin to listen.

        :raises InvalidInput: if the address can't be listened on.
        :raises RetentionError: if the application does not start; the log has the reason.
        """
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            self._socket = socket.create_server((self._host, self._port), family=family, backlog=128)
        except OSError as error:
            thing, reason = f"http.listen {self._host}:{self._port}", error.strerror or str(error)
            raise InvalidInput(thing, reason, "choose another address or port") from None
        sockets = [self._socket]
        self._thread = threading.Thread(target=self._server.run, args=(sockets,), name="http", daemon=True)
        self._thread.start()
        self._server.settled.wait()
        if not self._server.started:
            self._socket.close()
            raise RetentionError("http", "the application did not start", "the log says why")
        logger.info("HTTP on %s, port %d", self._host, self.port)

    def stop(self) -> None:
        """Answer what was asked, and end; runs of the HTTP API end before their next step."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_PATIENCE + _SILENT)
        for each in self._ended:
            each.close()
