"""
What every request passes before a route sees it: the name that it calls this service by, where it comes from, how large
it is; and what every answer says to browsers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cratedb_retention.errors import Forbidden, InvalidInput, RetentionError
from cratedb_retention.service.http.context import Limits
from cratedb_retention.service.http.problems import problem

# No page of ours is shown in a browser; an answer is nobody's to keep, to frame or to guess the type of.
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
_POLICY_VIOLATION = 1008
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Gate:
    """
    Refuses requests from elsewhere, and those that are too large or too slow.

    :param hosts: The names that this service is called by; empty: any. A page in a browser that got its own name to
        point at this machine (DNS rebinding) calls it by that name.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], limits: Limits) -> None:
        self._app, self._limits = app, limits
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_security(send)
        headers = Headers(scope=scope)
        error = self._foreign(headers, scope["method"] not in _SAFE)
        if error is not None:
            await problem(HTTPStatus.FORBIDDEN, error)(scope, receive, send)
            return
        try:
            body = await self._body(headers, receive)
        except _Refused as refused:
            await problem(refused.status, refused.error)(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Browsers let any page open a connection to any other host, with the cookies of that host."""
        if self._foreign(Headers(scope=scope), True) is None:
            await self._app(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})

    def _foreign(self, headers: Headers, changing: bool) -> RetentionError | None:
        """
        Why a request is not let through.

        :param changing: Whether it may change something, so that it must not be of another page.
        """
        host = headers.get("host", "")
        if self._hosts and _name(host) not in self._hosts:
            return Forbidden("host of the request", "is not a name of this service", "see the setting http.hosts")
        origin = headers.get("origin")
        if changing and origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return Forbidden("origin of the request", "is another page", "call this service from its own")
        return None

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        """All of the body; it is small, so it may be held."""
        most = self._limits.body
        declared = headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > most:
            raise _too_large(most)
        parts: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        break
                    parts.append(message.get("body", b""))
                    size, more = size + len(parts[-1]), message.get("more_body", False)
                    if size > most:
                        raise _too_large(most)
        except TimeoutError:
            error = InvalidInput("body of the request", f"did not arrive in {self._limits.body_seconds:g} s")
            raise _Refused(HTTPStatus.REQUEST_TIMEOUT, error) from None
        return b"".join(parts)


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, error: RetentionError) -> None:
        super().__init__(status, error)
        self.status, self.error = status, error


def _too_large(most: int) -> _Refused:
    error = InvalidInput("body of the request", f"larger than {most} bytes", "see the setting http.max_body")
    return _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, error)


def _name(host: str) -> str:
    """The name without the port: ``[::1]:8000`` gives ``::1``."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _replay(body: bytes, receive: Receive) -> Receive:
    """What the application receives: the body at once, and then whatever comes."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _with_security(send: Send) -> Send:
    async def secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _SECURITY.items():
                headers.setdefault(name, value)
        await send(message)

    return secured
