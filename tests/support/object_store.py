"""
A real S3 server for tests, and a proxy before it that refuses what a test wants, or loses half of it.
"""

from __future__ import annotations

import http.client
import http.server
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.error import URLError

import pytest
from pyarrow.fs import FileSelector, FileType, S3FileSystem

from support.cratedb import HOST, free_ports

SECRET = "not-to-be-shown"
BUCKET = "archives"
HALF = 0  # In place of a status: the answer ends in the middle.


class ObjectStore:
    """A server with an empty bucket."""

    def __init__(self, address: str) -> None:
        self.address = address
        host = address.removeprefix("http://")
        options = {"access_key": "key", "secret_key": SECRET, "region": "eu-central-1"}
        self._files = S3FileSystem(endpoint_override=host, scheme="http", allow_bucket_creation=True, **options)
        urllib.request.urlopen(urllib.request.Request(f"{address}/moto-api/reset", method="POST")).close()
        self._files.create_dir(BUCKET)

    def use(self, monkeypatch: pytest.MonkeyPatch, address: str = "") -> None:
        """Let it, or another server, be the S3 of this process, with credentials in the environment."""
        for name, value in {
            "AWS_ENDPOINT_URL": address or self.address,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "eu-central-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("cratedb_retention.engine.parquet._ATTEMPTS", 2)

    def files(self) -> list[str]:
        """All objects."""
        found = self._files.get_file_info(FileSelector(BUCKET, recursive=True))
        return sorted(each.path for each in found if each.type is FileType.File)

    def read(self, path: str) -> bytes:
        """What is in an object."""
        with self._files.open_input_file(path) as file:
            return bytes(file.read())

    def write(self, path: str, content: bytes) -> None:
        """Replace an object."""
        with self._files.open_output_stream(path) as stream:
            stream.write(content)

    def delete(self, path: str) -> None:
        """Remove an object."""
        self._files.delete_file(path)


@contextmanager
def serving() -> Iterator[str]:
    """The address of an S3 server."""
    pytest.importorskip("moto.server", reason="moto is not installed; see requirements.lock")
    (port,) = free_ports(1)
    address = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(600):
                with suppress(URLError, ConnectionError), urllib.request.urlopen(f"{address}/moto-api/") as answer:
                    if answer.status == 200:
                        break
                assert process.poll() is None
                time.sleep(0.1)
            yield address
        finally:
            process.kill()


@contextmanager
def counting(behind: str) -> Iterator[tuple[str, list[int]]]:
    """The address of a proxy that refuses nothing, and the sizes of the answers to what is read through it."""
    sizes = list[int]()
    with refusing(behind, 200, methods="NONE", sizes=sizes) as address:
        yield address, sizes


@contextmanager
def refusing(
    behind: str, status: int, methods: str = "", ending: str = "", sizes: list[int] | None = None
) -> Iterator[str]:
    """
    The address of a proxy.

    :param behind: The server that gets what is not refused; empty: there is none.
    :param status: The answer to what is refused, or `HALF`.
    :param methods: Requests with these methods are refused; empty: all.
    :param ending: Only those for paths that end so.
    :param sizes: Gets the size of each answer to what is read.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self._body()
            refused = (not methods or self.command in methods.split()) and self.path.partition("?")[0].endswith(ending)
            if refused and status != HALF:
                self._answer(status, [], b"")
                return
            connection = http.client.HTTPConnection(behind.removeprefix("http://"))
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("transfer-encoding", "expect")}
            headers["Content-Length"] = str(len(body))
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            if sizes is not None and self.command == "GET":
                sizes.append(len(content))
            half = refused and status == HALF
            self._answer(answer.status, answer.getheaders(), content, half=half)

        do_PUT = do_POST = do_HEAD = do_DELETE = do_GET  # noqa: N815 - as the library calls them

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found

        def _answer(self, code: int, headers: list[tuple[str, str]], content: bytes, half: bool = False) -> None:
            self.send_response(code)
            own = ("content-length", "transfer-encoding", "connection", "date", "server")
            length = {name.lower(): value for name, value in headers}.get("content-length")
            for name, value in headers:
                if name.lower() not in own:
                    self.send_header(name, value)
            self.send_header("Content-Length", (length if self.command == "HEAD" else None) or str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if half else content)
            self.close_connection = half or not behind

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{server.server_port}"
        server.shutdown()
