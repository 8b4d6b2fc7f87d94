"""
Who gets in: sessions, that begin by logging in with an access token by a plain form, and what each request for a page
passes first.
"""

from __future__ import annotations

import base64
import datetime as dt
import html
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, unquote

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from cratedb_retention import __version__
from cratedb_retention.clock import Clock
from cratedb_retention.errors import RetentionError
from cratedb_retention.model.words import capitalized
from cratedb_retention.service.http.access import Context, admit
from cratedb_retention.service.http.problems import Failed
from cratedb_retention.ui.guest import GUEST, Glances, Guest
from cratedb_retention.ui.links import PREFIX

# A session ends so long after its last use, and so long after the log-in in any case.
IDLE = dt.timedelta(hours=8)
LONGEST = dt.timedelta(days=7)
REMEMBERED = 10_000


@dataclass(frozen=True)
class Session:
    """The text of somebody's access token; when they logged in, and when they last asked for something (aware)."""

    token: str
    begun: dt.datetime
    used: dt.datetime


class Sessions:
    """
    The sessions of one service: a random identifier in a cookie stands for an access token, until it is not used for a
    while.

    They are kept in memory, so nothing about them can be read elsewhere; after a restart one logs in again. What the
    token may do is looked up again for each thing that is done, so that a revoked token is worth nothing at once.

    :param random: Returns so many random bytes, fit for secrets.
    """

    def __init__(self, clock: Clock, random: Callable[[int], bytes]) -> None:
        self._clock, self._random = clock, random
        self._lock = threading.Lock()
        self._found: OrderedDict[str, Session] = OrderedDict()

    def begin(self, token: str) -> str:
        """Begin a session; returns what the cookie says."""
        now = self._clock.now()
        identifier = base64.urlsafe_b64encode(self._random(32)).decode().rstrip("=")
        with self._lock:
            self._found[identifier] = Session(token, now, now)
            if len(self._found) > REMEMBERED:
                self._found.popitem(last=False)
        return identifier

    def find(self, identifier: str) -> Session | None:
        """The session that a cookie names, which is used by that; None if it is over or never was."""
        now = self._clock.now()
        with self._lock:
            session = self._found.pop(identifier, None)
            if session is None or now - session.used > IDLE or now - session.begun > LONGEST:
                return None
            self._found[identifier] = used = replace(session, used=now)
            return used

    def end(self, identifier: str) -> None:
        """End a session, if there is one."""
        with self._lock:
            self._found.pop(identifier, None)


LOGIN, LOGOUT = f"{PREFIX}/login", f"{PREFIX}/logout"
COOKIE = "cratedb_retention_session"
# What pages are made of; the same for everybody, and nothing in it is secret.
_UNCHANGING = (f"{PREFIX}/static/", f"{PREFIX}/_nicegui/")
_OPEN = (LOGIN, *_UNCHANGING)
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
            scope[GUEST] = guest
        elif not path.startswith(_OPEN):
            await _refuse(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _guest(self, scope: Scope) -> Guest | None:
        identifier, token = "", ""
        if self._context.authenticate:
            identifier = cookie_of(scope)
            session = self._sessions.find(identifier)
            if session is None:
                return None
            token = session.token
        host = _host_of(scope)
        return Guest(context=self._context, session=identifier, token=token, host=host, glances=self._glances)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    answer: ASGIApp = Response(status_code=HTTPStatus.UNAUTHORIZED)
    if scope["type"] == "websocket":
        answer = WebSocketClose(1008)
    elif scope["method"] == "GET":
        query = scope["query_string"].decode("latin-1")
        wanted = scope["path"] + (f"?{query}" if query else "")
        answer = RedirectResponse(f"{LOGIN}?to={quote(wanted)}", HTTPStatus.SEE_OTHER)
    await answer(scope, receive, send)


def _host_of(scope: Scope) -> str:
    client = HTTPConnection(scope).client
    return client.host if client else "unknown"


def cookie_of(scope: Scope) -> str:
    """What the cookie of a request says; empty if there is none."""
    return HTTPConnection(scope).cookies.get(COOKIE, "")


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


_PAGE = (Path(__file__).parent / "login.html").read_text(encoding="utf-8")


def make_router(context: Context, sessions: Sessions) -> APIRouter:
    """The routes; they are not part of the HTTP API, and so not of its description."""
    router = APIRouter(include_in_schema=False)

    @router.get(LOGIN)
    def show(request: Request, to: str = PREFIX) -> Response:
        if not context.authenticate:
            return RedirectResponse(f"{PREFIX}/", HTTPStatus.SEE_OTHER)
        return _page(to)

    @router.post(LOGIN)
    def log_in(
        request: Request, token: Annotated[str, Form(max_length=200)] = "", to: Annotated[str, Form()] = ""
    ) -> Response:
        try:
            admit(context, token.strip(), _host_of(request.scope))
        except Failed as failed:
            return _page(to, failed.error, failed.status)
        except RetentionError:
            return _page(to, RetentionError("the database", "does not answer"), HTTPStatus.SERVICE_UNAVAILABLE)
        response = RedirectResponse(_local(to), HTTPStatus.SEE_OTHER)
        secure, identifier = request.url.scheme == "https", sessions.begin(token.strip())
        response.set_cookie(COOKIE, identifier, httponly=True, samesite="strict", secure=secure, path=PREFIX)
        return response

    @router.post(LOGOUT)
    def log_out(request: Request) -> Response:
        sessions.end(cookie_of(request.scope))
        response = RedirectResponse(LOGIN, HTTPStatus.SEE_OTHER)
        response.delete_cookie(COOKIE, path=PREFIX)
        return response

    return router


def _page(to: str, error: RetentionError | None = None, status: int = HTTPStatus.OK) -> Response:
    words = html.escape(f"{capitalized(error.thing)} {error.reason}.") if error else ""
    text = _PAGE.format(
        prefix=PREFIX,
        version=__version__,
        login=LOGIN,
        message=f'<p id="error" role="alert">{words}</p>' if error else "",
        described='aria-describedby="error" aria-invalid="true"' if error else "",
        to=html.escape(_local(to)),
    )
    return HTMLResponse(text, status)


def _local(to: str) -> str:
    """A page of ours; anything else could lead elsewhere."""
    plain = unquote(to)
    fine = plain.startswith(f"{PREFIX}/") and not plain.startswith((LOGIN, LOGOUT)) and ".." not in plain
    return to if fine and plain.isprintable() and "\\" not in plain else f"{PREFIX}/"
