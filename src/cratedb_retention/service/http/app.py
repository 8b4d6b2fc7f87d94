"""
The HTTP API as an ASGI application: the checks of each request, all routes with their description, and uvicorn, which
serves the application in its own thread.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cratedb_retention import __version__
from cratedb_retention.errors import Forbidden, InvalidInput, RetentionError
from cratedb_retention.service.http.access import ROLES, Context
from cratedb_retention.service.http.problems import Failed, Problem, handle, problem
from cratedb_retention.service.http.routes import PREFIX, ROUTERS
from cratedb_retention.service.runs import Background

logger = logging.getLogger(__name__)
# Responses of the API are not pages: do not cache them, show them in frames, or guess their type.
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# Maximum number of concurrent requests (more get 503); seconds until idle connections are closed; grace period.
_MOST_AT_ONCE, _SILENT, _PATIENCE = 200, 5, 10


def make_app(context: Context) -> FastAPI:
    """The application. FastAPI's own pages are disabled, since they load scripts from other hosts."""
    app = make_routes()
    app.state.context = context
    app.add_middleware(Gate, hosts=context.hosts, most=context.limits.max_body)
    return app


def make_routes() -> FastAPI:
    """All routes with their description, not yet connected to a database."""
    app = FastAPI(
        title="cratedb-retention",
        version=__version__,
        description="Retention policies for CrateDB and DuckDB: plan, run, monitor.",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    for router in ROUTERS:
        app.include_router(router)
    handle(app)
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]
    return app


def _describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description, with the role of each route as ``x-role``; ``none``: no token required."""
    if app.openapi_schema is None:
        found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = found["components"]["schemas"]
        schemas["Problem"] = Problem.model_json_schema()
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        for route in (route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)):
            role = next((ROLES[each.call] for each in route.dependant.dependencies if each.call in ROLES), "none")
            for method in route.methods or ():
                found["paths"][route.path_format][method.lower()]["x-role"] = str(role)
        app.openapi_schema = found
    return app.openapi_schema


class Gate:
    """
    Rejects requests from other sites, and those that are too large or too slow; adds security headers to responses.

    :param hosts: Host names of this service, as a protection against DNS rebinding; empty: any.
    :param most: Maximum size of a request body, in bytes; ``seconds``: maximum time to receive it.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], most: int, seconds: float = 30.0) -> None:
        self._app, self._most, self._seconds = app, most, seconds
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        # Browsers let any page connect to any host, with the cookies of that host.
        error = self._foreign(headers, scope["method"] not in _SAFE)

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                for name, value in _SECURITY.items():
                    MutableHeaders(scope=message).setdefault(name, value)
            await send(message)

        try:
            if error is not None:
                raise error
            body = [await self._body(headers, receive)]
        except RetentionError as refused:
            return await problem(refused)(scope, receive, secured)

        async def again() -> Message:
            return {"type": "http.request", "body": body.pop(), "more_body": False} if body else await receive()

        return await self._app(scope, again, secured)

    def _foreign(self, headers: Headers, changing: bool) -> RetentionError | None:
        """The reason to reject a request; one that may change something must not come from another site."""
        host, origin = headers.get("host", ""), headers.get("origin")
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()  # Without the port: ``[::1]:8000`` gives ``::1``.
        except ValueError:
            name = ""
        if self._hosts and name not in self._hosts:
            return Forbidden("host of the request", "not a name of this service", "see the setting http.hosts")
        if changing and origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return Forbidden("origin of the request", "another site", "use the pages of this service")
        return None

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        thing, most, body, more = "body of the request", self._most, bytearray(), True
        too_large = Failed(413, thing, f"larger than {most} bytes", "see the setting http.max_body")
        declared = headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > most:
            raise too_large
        try:
            async with asyncio.timeout(self._seconds):
                while more and (message := await receive())["type"] == "http.request":
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > most:
                        raise too_large
        except TimeoutError:
            raise Failed(HTTPStatus.REQUEST_TIMEOUT, thing, f"did not arrive in {self._seconds:g} s") from None
        return bytes(body)


class HttpServer:
    """The HTTP API on an address; port 0: a free one, see ``port``. The jobs ``ended`` end with it."""

    def __init__(self, app: FastAPI, host: str, port: int, *ended: Background[Any]) -> None:
        self.port, self._host, self._ended = port, host, ended
        self._server = uvicorn.Server(uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, proxy_headers=False,
            timeout_keep_alive=_SILENT, timeout_graceful_shutdown=_PATIENCE, limit_concurrency=_MOST_AT_ONCE,
        ))  # fmt: skip
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start to listen; raises RetentionError if the address is in use, or the application does not start."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            listening = socket.create_server((self._host, self.port), family=family, backlog=128)
        except OSError as error:
            thing, reason = f"http.listen {self._host}:{self.port}", error.strerror or str(error)
            raise InvalidInput(thing, reason, "choose another address or port") from None
        self.port = int(listening.getsockname()[1])

        def serve() -> None:
            with suppress(SystemExit):  # uvicorn exits if it does not start.
                self._server.run([listening])

        self._thread = threading.Thread(target=serve, name="http", daemon=True)
        self._thread.start()
        while self._thread.is_alive() and not self._server.started:
            self._thread.join(0.01)
        if not self._server.started:
            listening.close()
            raise RetentionError("http", "the application did not start", "see the log")
        logger.info("HTTP on %s, port %d", self._host, self.port)

    def stop(self) -> None:
        """Respond to pending requests, and end; runs of the HTTP API end before their next step."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_PATIENCE + _SILENT)
        for each in self._ended:
            each.close()
