"""
A REST catalog of Iceberg for tests: as much of it as pyiceberg needs, before an SQL catalog that has the tables.
"""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.cratedb import HOST


class _Lost(Exception):
    """A commit was done, and its answer is an error."""


@contextmanager
def serving(catalog: Any, commits: int = 200, hangs: threading.Event | None = None) -> Iterator[str]:
    """
    The address of a server.

    :param catalog: The catalog of pyiceberg that has the tables.
    :param commits: The status of the answer to a commit that was done.
    :param hangs: No request has an answer before this is set.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if hangs is not None:
                hangs.wait(60)
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0].removeprefix("/v1/").split("/")
            code, found = _answer(catalog, [self.command, *path], content, commits)
            text = json.dumps(found).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_GET  # noqa: N815 - as the library calls them

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer((HOST, 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{server.server_port}"
        server.shutdown()


def _answer(catalog: Any, request: list[str], content: bytes, commits: int) -> tuple[int, dict[str, Any]]:
    from pyiceberg.exceptions import CommitFailedException, NoSuchNamespaceError, NoSuchTableError

    try:
        return 200, _do(catalog, request, json.loads(content or "{}"), commits)
    except (NoSuchTableError, NoSuchNamespaceError) as error:
        return _error(error, 404)
    except CommitFailedException as error:
        return _error(error, 409)
    except _Lost as error:
        return _error(error, commits)


def _error(error: Exception, code: int) -> tuple[int, dict[str, Any]]:
    return code, {"error": {"message": str(error), "type": type(error).__name__, "code": code}}


def _do(catalog: Any, request: list[str], given: dict[str, Any], commits: int) -> dict[str, Any]:
    from pyiceberg.catalog.rest import CreateTableRequest
    from pyiceberg.table import CommitTableRequest

    match request:
        case ["GET", "config"]:
            return {"defaults": {}, "overrides": {}}
        case ["POST", "namespaces"]:
            catalog.create_namespace(tuple(given["namespace"]))
            return {"namespace": given["namespace"], "properties": {}}
        case ["GET", "namespaces", schema, "tables"]:
            found = catalog.list_tables((schema,))
            return {"identifiers": [{"namespace": list(space), "name": name} for *space, name in found]}
        case ["POST", "namespaces", schema, "tables"]:
            wanted = CreateTableRequest.model_validate({"location": None, "write-order": None, **given})
            more = {"partition_spec": wanted.partition_spec, "properties": wanted.properties}
            return _described(catalog.create_table((schema, wanted.name), wanted.table_schema, **more))
        case ["GET", "namespaces", schema, "tables", name]:
            return _described(catalog.load_table((schema, name)))
        case ["POST", "namespaces", schema, "tables", name]:
            change = CommitTableRequest.model_validate_json(json.dumps(given))
            catalog.commit_table(catalog.load_table((schema, name)), change.requirements, change.updates)
            if commits != 200:
                raise _Lost("the answer was lost")
            return _described(catalog.load_table((schema, name)))
        case _:
            raise AssertionError(request)


def _described(table: Any) -> dict[str, Any]:
    metadata = json.loads(table.metadata.model_dump_json())
    return {"metadata-location": table.metadata_location, "metadata": metadata, "config": {}}
