"""
Sessions of the pages, which begin with an access token in a form; the checks of each request for a page; the only way
by which a page reaches the toolkit; and a shared cache of overviews, which take seconds to compute.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import html
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, TypeVar
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
from cratedb_retention.execution.overview.lines import TableLine
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.words import capitalized
from cratedb_retention.planning.overview.survey import Ungoverned
from cratedb_retention.service import access as toolkit
from cratedb_retention.service.http.access import Context, admit, host_of
from cratedb_retention.service.http.problems import Failed
from cratedb_retention.ui.links import PREFIX

T = TypeVar("T")
Tables = tuple[Sequence[TableLine], Sequence[Ungoverned]]
# Where the scope of a request has whose it is.
GUEST = "cratedb_retention.guest"
# Maximum age of a cached overview, in seconds. Changes without an entry in the audit log, such as new data, show later.
FRESH = 10.0
# An older overview may be misleading, or no longer visible to the user.
_RECENT = dt.timedelta(hours=1)
# A session ends this long after its last use, and this long after the log-in at the latest.
IDLE, LONGEST = dt.timedelta(hours=8), dt.timedelta(days=7)
MOST_SESSIONS = 10_000
LOGIN, LOGOUT = f"{PREFIX}/login", f"{PREFIX}/logout"
COOKIE = "cratedb_retention_session"
# Static files: the same for all users, without secrets.
_UNCHANGING = (f"{PREFIX}/static/", f"{PREFIX}/_nicegui/")
_OPEN = (LOGIN, *_UNCHANGING)
# Vue compiles its templates in the browser, which needs 'unsafe-eval'. Nothing comes from another host.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_PAGE = (Path(__file__).parent / "login.html").read_text(encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Glance:
    lines: Sequence[TableLine] = ()
    ungoverned: Sequence[Ungoverned] = ()
    taken: dt.datetime  # When it began (aware).
    begun: float  # The same in seconds of a clock that is never set back.
    number: int  # Looks are numbered as they begin.
    mark: str  # The state of the audit log then.


class Glances:
    """
    The last look of each limit by tags: those with the same one see the same, and share a look that is being taken. One
    that is seconds old serves as well, unless something was done since. Belongs to the event loop of the pages.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._found: dict[str, Glance] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._looks = 0

    def find(self, limit: str) -> Glance | None:
        """The last one, if it is recent: to be shown, with its time, before there is a new one."""
        found = self._found.get(limit)
        return found if found and self._clock.now() - found.taken < _RECENT else None

    def fresh(self, limit: str, mark: str, known: int | None = None) -> Glance | None:
        """The last one, if it serves: it began after the first ``known`` ones, or just now, with nothing done since."""
        found, known = self._found.get(limit), self._looks if known is None else known
        if found and (found.number > known or (found.mark == mark and self._clock.uptime() - found.begun < FRESH)):
            return found
        return None

    async def look(self, limit: str, mark: str, take: Callable[[], Awaitable[Tables]]) -> Glance:
        """What is now; ``mark`` is the state of the audit log. If there must be a new look, ``take`` takes it."""

        async def begin(begun: Glance) -> None:
            try:
                lines, ungoverned = await take()
                self._found[limit] = replace(begun, lines=lines, ungoverned=ungoverned)
            finally:
                del self._running[limit]

        known = self._looks
        while (found := self.fresh(limit, mark, known)) is None:
            if limit in self._running:
                # Should it fail, that is of those who began it: their session may be over.
                await asyncio.wait([self._running[limit]])
            else:
                self._looks += 1
                begun = Glance(taken=self._clock.now(), begun=self._clock.uptime(), number=self._looks, mark=mark)
                self._running[limit] = asyncio.create_task(begin(begun), name="look")
                await asyncio.shield(self._running[limit])
        return found


@dataclass(kw_only=True)
class Guest:
    context: Context
    session: str  # What their cookie says; empty where no tokens are asked for.
    token: str  # The text of their access token, likewise.
    host: str  # The address that they come from.
    glances: Glances
    # What they might do when the page was loaded: for what it offers. What is done is checked by itself.
    access: Access = field(init=False)

    def may(self, role: Role) -> bool:
        return self.access.role.includes(role)

    def scoped(self) -> toolkit.Scope:
        """The toolkit for them, by what their token may at this moment; raises Failed, see :func:`admit`."""
        return admit(self.context, self.token, self.host)

    async def ask(self, work: Callable[[toolkit.Scope], T]) -> T:
        """Do something with the toolkit, in a thread of its own, so that other pages go on meanwhile."""
        return await asyncio.to_thread(lambda: work(self.scoped()))


class Sessions:
    """
    The sessions of one service, in memory: a random identifier in a cookie stands for an access token. The rights of
    the token are read for each request, so a revoked token is invalid immediately.

    :param random: Returns a number of random bytes that are fit for secrets.
    """

    def __init__(self, clock: Clock, random: Callable[[int], bytes]) -> None:
        self._clock, self._random = clock, random
        self._lock = threading.Lock()
        # The token; when the session began, and when it was used last (aware).
        self._found: OrderedDict[str, tuple[str, dt.datetime, dt.datetime]] = OrderedDict()

    def begin(self, token: str) -> str:
        now = self._clock.now()
        identifier = base64.urlsafe_b64encode(self._random(32)).decode().rstrip("=")
        with self._lock:
            self._found[identifier] = token, now, now
            if len(self._found) > MOST_SESSIONS:
                self._found.popitem(last=False)
        return identifier

    def find(self, identifier: str) -> str:
        """The token of the session that a cookie names, which is used by that; empty if it is over or never was."""
        now = self._clock.now()
        with self._lock:
            token, begun, used = self._found.pop(identifier, ("", now, now))
            if not token or now - used > IDLE or now - begun > LONGEST:
                return ""
            self._found[identifier] = token, begun, now
            return token

    def end(self, identifier: str) -> None:
        with self._lock:
            self._found.pop(identifier, None)


class Entrance:
    """Lets through requests of who has logged in, and sends others to the log-in."""

    def __init__(self, app: ASGIApp, context: Context, sessions: Sessions) -> None:
        self._app, self._context, self._sessions = app, context, sessions
        self._glances = Glances(context.retention.clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] not in ("http", "websocket") or not (path == PREFIX or path.startswith(f"{PREFIX}/")):
            return await self._app(scope, receive, send)

        async def secured(message: Message) -> None:
            """With what answers say to browsers, which is stronger than what the HTTP API says."""
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = _POLICY
                headers["Referrer-Policy"] = "same-origin"  # Without one, forms would not say where they come from.
                if path.startswith(_UNCHANGING) and message["status"] == HTTPStatus.OK:
                    headers["Cache-Control"] = "private, max-age=31536000, immutable"
            await send(message)

        app, context, connection, cookie, token = self._app, self._context, HTTPConnection(scope), "", ""
        if context.authenticate:
            cookie = connection.cookies.get(COOKIE, "")
            token = self._sessions.find(cookie)
        if token or not context.authenticate:
            host, glances = host_of(connection), self._glances
            scope[GUEST] = Guest(context=context, session=cookie, token=token, host=host, glances=glances)
        elif not path.startswith(_OPEN):
            app = _refusal(scope)
        return await app(scope, receive, secured)


def _refusal(scope: Scope) -> ASGIApp:
    if scope["type"] == "websocket":
        return WebSocketClose(1008)
    if scope["method"] != "GET":
        return Response(status_code=HTTPStatus.UNAUTHORIZED)
    query = scope["query_string"].decode("latin-1")
    wanted = scope["path"] + (f"?{query}" if query else "")
    return RedirectResponse(f"{LOGIN}?to={quote(wanted)}", HTTPStatus.SEE_OTHER)


def make_router(context: Context, sessions: Sessions) -> APIRouter:
    """The routes of log-in and log-out; they are not part of the HTTP API, and so not of its description."""
    router = APIRouter(include_in_schema=False)

    @router.get(LOGIN)
    def show(to: str = PREFIX) -> Response:
        return _page(to) if context.authenticate else RedirectResponse(f"{PREFIX}/", HTTPStatus.SEE_OTHER)

    @router.post(LOGIN)
    def log_in(
        request: Request, token: Annotated[str, Form(max_length=200)] = "", to: Annotated[str, Form()] = ""
    ) -> Response:
        try:
            admit(context, token.strip(), host_of(request))
        except Failed as failed:
            return _page(to, failed)
        except RetentionError:
            return _page(to, Failed(HTTPStatus.SERVICE_UNAVAILABLE, "the database", "does not answer"))
        response = RedirectResponse(_local(to), HTTPStatus.SEE_OTHER)
        secure, identifier = request.url.scheme == "https", sessions.begin(token.strip())
        response.set_cookie(COOKIE, identifier, httponly=True, samesite="strict", secure=secure, path=PREFIX)
        return response

    @router.post(LOGOUT)
    def log_out(request: Request) -> Response:
        sessions.end(request.cookies.get(COOKIE, ""))
        response = RedirectResponse(LOGIN, HTTPStatus.SEE_OTHER)
        response.delete_cookie(COOKIE, path=PREFIX)
        return response

    return router


def _page(to: str, error: Failed | None = None) -> Response:
    words = html.escape(f"{capitalized(error.thing)} {error.reason}.") if error else ""
    text = _PAGE.format(
        prefix=PREFIX,
        version=__version__,
        login=LOGIN,
        message=f'<p id="error" role="alert">{words}</p>' if error else "",
        described='aria-describedby="error" aria-invalid="true"' if error else "",
        to=html.escape(_local(to)),
    )
    return HTMLResponse(text, error.http_status if error else HTTPStatus.OK)


def _local(to: str) -> str:
    """A page of ours; anything else could lead elsewhere."""
    plain = unquote(to)
    fine = plain.startswith(f"{PREFIX}/") and not plain.startswith((LOGIN, LOGOUT)) and ".." not in plain
    return to if fine and plain.isprintable() and "\\" not in plain else f"{PREFIX}/"
