"""Services as processes of their own on one database, behind a proxy that hands each request to the next one."""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from threading import Thread

from support.command import TIMEOUT, Command, argv
from support.cratedb import HOST, free_ports

# What the proxy says itself.
_OWN = frozenset({"connection", "content-length", "date", "server", "transfer-encoding"})


@dataclass
class Replicas:
    """
    The services.

    :param ports: Where they listen, one each.
    :param address: That of the proxy.
    """

    command: Command
    ports: list[int]
    address: str
    _running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        """Start those that do not run, and wait until they answer."""
        for port in self.ports:
            if port not in self._running:
                arguments = argv("serve", f"--listen={HOST}:{port}", "--tokens=on", "--interval=3600")
                self._running[port] = subprocess.Popen(
                    arguments, env=self.command.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
        for port, process in self._running.items():
            _wait(port, process)

    def stop(self, port: int) -> None:
        """End one of them."""
        with self._running.pop(port) as process:
            process.terminate()

    def close(self) -> None:
        for port in list(self._running):
            self.stop(port)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a service answers."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        assert process.poll() is None, "it ended before it listened"
        with closing(http.client.HTTPConnection(HOST, port)) as connection:
            try:
                connection.request("GET", "/ready")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                time.sleep(0.02)
    raise AssertionError("it does not answer")


@contextmanager
def open_replicas(command: Command, count: int = 2) -> Iterator[Replicas]:
    """Services on the database of a command, and a proxy before them, until the end of the block."""
    ports = free_ports(count)
    turns = cycle(ports)

    class Handler(BaseHTTPRequestHandler):
        """Passes requests on, to the next service that takes connections; without one, the connection just ends."""

        protocol_version = "HTTP/1.1"

        def handle_request(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            for _ in ports:
                with closing(http.client.HTTPConnection(HOST, next(turns))) as connection:
                    try:
                        connection.request(self.command, self.path, body, dict(self.headers))
                    except ConnectionRefusedError:
                        continue
                    response = connection.getresponse()
                    content = response.read()
                    self.send_response(response.status)
                    for name, value in response.getheaders():
                        if name.lower() not in _OWN:
                            self.send_header(name, value)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                    return
            self.close_connection = True

        do_GET = do_POST = handle_request  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((HOST, 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    replicas = Replicas(command, ports, f"http://{HOST}:{server.server_address[1]}")
    try:
        replicas.start()
        yield replicas
    finally:
        replicas.close()
        server.shutdown()
        thread.join()
        server.server_close()
