"""
A proxy in front of a CrateDB that loses connections as it is told: before a statement arrives, or before its answer. It
can answer in place of CrateDB as well.
"""

from __future__ import annotations

import enum
import http.client
import json
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple

from support.cratedb import HOST


class Fate(enum.Enum):
    """What becomes of a request."""

    PASS = enum.auto()
    LOSE_REQUEST = enum.auto()  # The connection ends, and the server never hears of it.
    LOSE_ANSWER = enum.auto()  # The server does it, and the connection ends before the answer.


class Answer(NamedTuple):
    """What is answered in place of the server, which never hears of the request."""

    status: int
    content: dict[str, Any]


Decide = Callable[[str], Fate | Answer]


class Proxy:
    """
    The proxy.

    :param uri: Its address as the toolkit takes it.
    :param decide: Says from a request's body what becomes of it; replace it at any time.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.decide: Decide = lambda body: Fate.PASS


@contextmanager
def proxy_to(uri: str) -> Iterator[Proxy]:
    """A proxy to a server, until the end of the block."""
    target = urllib.parse.urlsplit(uri)
    server = ThreadingHTTPServer((HOST, 0), BaseHTTPRequestHandler)
    proxy = Proxy(f"crate://{HOST}:{server.server_address[1]}/")

    class Handler(BaseHTTPRequestHandler):
        """Passes requests on, each over a connection of its own."""

        protocol_version = "HTTP/1.1"

        def handle_request(self) -> None:
            """Do with a request what was decided; without an answer, its connection just ends."""
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fate = proxy.decide(body.decode())
            if isinstance(fate, Answer):
                self.answer(fate.status, "application/json", json.dumps(fate.content).encode())
                return
            self.close_connection = fate is not Fate.PASS
            if fate is Fate.LOSE_REQUEST:
                return
            with closing(http.client.HTTPConnection(target.hostname or HOST, target.port or 4200)) as connection:
                connection.request(self.command, self.path, body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                content = response.read()
            if fate is Fate.PASS:
                self.answer(response.status, response.getheader("Content-Type", ""), content)

        def answer(self, status: int, content_type: str, content: bytes) -> None:
            """Send an answer."""
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_POST = handle_request  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server.RequestHandlerClass = Handler
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def lose(fate: Fate, word: str, times: int) -> Decide:
    """Let this happen to the first statements that begin with a word, up to a number of times."""
    left = times

    def decide(body: str) -> Fate:
        nonlocal left
        if left and statement_of(body).startswith(word):
            left -= 1
            return fate
        return Fate.PASS

    return decide


def refused(message: str, status: int = 404) -> Answer:
    """An error of CrateDB."""
    return Answer(status, {"error": {"message": message, "code": 10 * status + 1}})


def lose_each_answer_once(body_filter: Callable[[str], bool]) -> Decide:
    """Lose the answer to each statement that fits, when it comes for the first time."""
    seen: set[str] = set()

    def decide(body: str) -> Fate:
        if body in seen or not body_filter(statement_of(body)):
            return Fate.PASS
        seen.add(body)
        return Fate.LOSE_ANSWER

    return decide


def statement_of(body: str) -> str:
    """The SQL of a request; empty if it is none."""
    return str(json.loads(body)["stmt"]) if body else ""
