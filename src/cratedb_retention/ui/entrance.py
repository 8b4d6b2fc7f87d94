"""
What each request for a page passes first: nobody gets in without having logged in, pages and their connections alike.
"""

from __future__ import annotations

from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cratedb_retention.service.http.context import Context
from cratedb_retention.ui.glances import Glances
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.links import PREFIX
from cratedb_retention.ui.sessions import Sessions

LOGIN, LOGOUT = f"{PREFIX}/login", f"{PREFIX}/logout"
COOKIE = "cratedb_retention_session"
# What pages are made of; the same for everybody, and nothing in it is secret.
_OPEN = (LOGIN, f"{PREFIX}/static/", f"{PREFIX}/_nicegui/")
_UNCHANGING = (f"{PREFIX}/static/", f"{PREFIX}/_nicegui/")
# Vue compiles its templates in the browser, which needs 'unsafe-eval'. Nothing comes from another host.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)


class Entrance:
    """Lets in who has logged in, and sends others to the log-in."""

    def __init__(self, app: ASGIApp, context: Context, sessions: Sessions) -> None:
        self._app, self._context, self._sessions = app, context, sessions
        self._glances = Glances(context.retention.clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        path = scope.get("path", "")
        if scope["type"] not in ("http", "websocket") or not (path == PREFIX or path.startswith(f"{PREFIX}/")):
            await self._app(scope, receive, send)
            return
        send = _with_policy(send, path)
        guest = self._guest(scope)
        if guest is not None:
            guest.enter(scope)
        elif not path.startswith(_OPEN):
            await self._refuse(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _guest(self, scope: Scope) -> Guest | None:
        client = scope.get("client")
        host = client[0] if client else "unknown"
        if not self._context.authenticate:
            return Guest(context=self._context, session="", token="", host=host, glances=self._glances)
        identifier = cookie_of(scope)
        session = self._sessions.find(identifier) if identifier else None
        return (
            Guest(context=self._context, session=identifier, token=session.token, host=host, glances=self._glances)
            if session
            else None
        )

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        response: Response = Response(status_code=HTTPStatus.UNAUTHORIZED)
        if scope["method"] == "GET":
            query = scope["query_string"].decode("latin-1")
            wanted = scope["path"] + (f"?{query}" if query else "")
            response = RedirectResponse(f"{LOGIN}?to={quote(wanted)}", HTTPStatus.SEE_OTHER)
        await response(scope, receive, send)


def cookie_of(scope: Scope) -> str:
    """What the cookie of a request says; empty if there is none."""
    try:
        found = SimpleCookie(Headers(scope=scope).get("cookie", ""))
    except CookieError:
        return ""
    return found[COOKIE].value if COOKIE in found else ""


def _with_policy(send: Send, path: str) -> Send:
    """What answers say to browsers; stronger than what the HTTP API says."""

    async def secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Content-Security-Policy"] = _POLICY
            headers["Referrer-Policy"] = "same-origin"  # Without one, forms would not say where they come from.
            if path.startswith(_UNCHANGING) and message["status"] == HTTPStatus.OK:
                headers["Cache-Control"] = "private, max-age=31536000, immutable"
        await send(message)

    return secured
