"""
The checks of each request for a page; the only way by which a page reaches the toolkit; how pages respond; and a shared
cache of overviews, which take up to seconds to compute. `log_in` has the log-in itself.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NamedTuple, TypeVar
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import FormData, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cratedb_retention.clock import Clock
from cratedb_retention.errors import InvalidInput, NotFound, RetentionError
from cratedb_retention.execution.overview.rows import Overview
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.runs import RunState
from cratedb_retention.model.words import capitalized, sentence
from cratedb_retention.service import access as toolkit
from cratedb_retention.service.http.access import Context, admit_session, find_session, host_of
from cratedb_retention.service.http.problems import Failed, public
from cratedb_retention.store.access import Session
from cratedb_retention.ui.links import LOGIN, PREFIX
from cratedb_retention.ui.web import layout
from cratedb_retention.ui.web.html import el
from cratedb_retention.ui.web.layout import Who

logger = logging.getLogger(__name__)
T = TypeVar("T")
# Where the scope of a request has whose it is.
GUEST = "cratedb_retention.guest"
# Maximum age of a cached overview, in seconds. Changes without an entry in the audit log, such as new data, show later.
FRESH = 10.0
COOKIE = "cratedb_retention_session"
AWAY = ("the database", "does not answer")
# The header of requests that pages send by themselves, to stay up to date: they do not count as use of a session.
_BY_ITSELF = "x-by-itself"
# Static files: the same for all users, without secrets.
_UNCHANGING = f"{PREFIX}/static/"
# No inline scripts or styles, nothing from another host.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


class _Glance(NamedTuple):
    found: Overview
    begun: float  # When it began, in seconds of a clock that is never set back.
    number: int  # Glances are numbered as they begin.
    mark: str  # The state of the audit log then.


class Glances:
    """
    The last overview of each scope: users with the same one see the same, and share what is being computed. One that is
    seconds old serves as well, unless something was done since.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock, self._begun = clock, 0
        self._found: dict[str, _Glance] = {}
        self._locks: dict[str, threading.Lock] = {}

    def of(self, scoped: toolkit.Scope) -> Overview:
        """The overview for users with a scope."""
        return self.look(str(scoped.access.limit), scoped.mark(), scoped.overview)

    def look(self, limit: str, mark: str, take: Callable[[], Overview]) -> Overview:
        """
        The overview of a scope; ``take`` computes it if it must.

        :param mark: The state of the audit log.
        """
        known = self._begun
        with self._locks.setdefault(limit, threading.Lock()):
            last = self._found.get(limit)
            # It began after this was called, or a moment ago with nothing done since.
            if last and (last.number > known or (last.mark == mark and self._clock.uptime() - last.begun < FRESH)):
                return last.found
            self._begun += 1
            number, begun = self._begun, self._clock.uptime()
            found = take()
            self._found[limit] = _Glance(found, begun, number, mark)
            return found


@dataclass(kw_only=True)
class Guest:
    context: Context
    session: Session | None  # None: no log-in is required.
    host: str  # The address that they come from.
    glances: Glances
    # What they might do when the page was loaded: for what it offers. What is done is checked by itself.
    access: Access = field(init=False)
    # The runs that they may see, which go on or which this service remembers.
    jobs: Sequence[RunState] = ()

    def may(self, role: Role) -> bool:
        return self.access.role.includes(role)

    def scoped(self) -> toolkit.Scope:
        """The toolkit for them, by what they may at this moment; raises Failed, see :func:`admit_session`."""
        return admit_session(self.context, self.session, self.host)

    @property
    def running(self) -> list[RunState]:
        """The runs that go on now."""
        now = self.context.retention.clock.now()
        return [run for run in self.jobs if run.finished_at is None and not run.is_silent(now)]

    @property
    def who(self) -> Who:
        """What the head of a page says of them."""
        address, access = self.context.retention.address.safe, self.access
        limit = f" of {access.limit}" if access.limited else ""
        name = access.actor.partition(" (")[0]
        return Who(
            database=address.rstrip("/").rpartition("/")[2],
            address=address,
            name=name if name == access.role else f"{name} ({access.role}{limit})",
            actor=access.actor,
            leaves=self.session is not None,
            admin=self.may(Role.ADMIN),
            running=self.running,
        )


class Entrance:
    """Lets through requests of who has logged in, and sends others to the log-in."""

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self._app, self._context = app, context
        self._glances = Glances(context.retention.clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or not (path == PREFIX or path.startswith(f"{PREFIX}/")):
            return await self._app(scope, receive, send)

        async def secured(message: Message) -> None:
            """With what answers say to browsers, which is stronger than what the HTTP API says."""
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = POLICY
                headers["Referrer-Policy"] = "same-origin"  # Without one, forms would not say where they come from.
                if path.startswith(_UNCHANGING) and message["status"] == HTTPStatus.OK:
                    headers["Cache-Control"] = "private, max-age=31536000, immutable"
            await send(message)

        app, context, connection = self._app, self._context, HTTPConnection(scope)
        session: Session | None = None
        is_open = path == LOGIN or path.startswith((f"{LOGIN}/", _UNCHANGING))
        if context.authenticate and not is_open:
            cookie = connection.cookies.get(COOKIE, "")
            try:
                used = _BY_ITSELF not in connection.headers
                session = await asyncio.to_thread(find_session, context, cookie, used) if cookie else None
            except RetentionError:
                return await _unavailable(scope)(scope, receive, secured)
        if session or not context.authenticate:
            host, glances = host_of(connection), self._glances
            scope[GUEST] = Guest(context=context, session=session, host=host, glances=glances)
            length = connection.headers.get("content-length", "")
            if length.isdigit() and int(length) > context.limits.max_body:
                app = _too_large(scope, context.limits.max_body)
        elif not is_open:
            app = _refusal(scope)
        return await app(scope, receive, secured)


def _refusal(scope: Scope) -> ASGIApp:
    if scope["method"] == "GET":
        return RedirectResponse(_login_for(scope), HTTPStatus.SEE_OTHER)
    # Scripts keep what was written in a form until it is accepted.
    over = Failed(HTTPStatus.UNAUTHORIZED, "your session", "is over", "log in to go on with what you wrote")
    return _trouble(Request(scope), over, back=("Log in", _login_for(scope)))


def raw_path(scope: Scope) -> str:
    """The path as it was sent: once it is decoded, a slash in a name is one between names."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    return raw.decode("latin-1")


def _login_for(scope: Scope) -> str:
    """The address of the log-in, which leads back to this page."""
    query = scope["query_string"].decode("latin-1")
    wanted = raw_path(scope) + (f"?{query}" if query else "")
    return f"{LOGIN}?to={quote(wanted)}"


def _unavailable(scope: Scope) -> ASGIApp:
    """Without the database, nothing tells who has a session."""
    return _trouble(Request(scope), Failed(HTTPStatus.SERVICE_UNAVAILABLE, *AWAY, headers={"Retry-After": "10"}))


def _too_large(scope: Scope, most: int) -> ASGIApp:
    reason, remedy = f"is larger than {most:,} bytes", "send less, or see the setting http.max_body"
    error = Failed(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "what you sent", reason, remedy)
    return _trouble(Request(scope), error, back=("Back", raw_path(scope)))


def respond(request: Request, show: Callable[[Guest, toolkit.Scope], Response]) -> Response:
    """The response of a page. An error is a page as well; without a session, it leads to the log-in."""
    guest: Guest = request.scope[GUEST]
    who: Who | None = None
    try:
        scoped = guest.scoped()
        guest.access = scoped.access
        who = guest.who
        guest.jobs = scoped.jobs(guest.context.runs)
        who = guest.who
        return show(guest, scoped)
    except RetentionError as error:
        if error.http_status == HTTPStatus.UNAUTHORIZED and request.method == "GET":
            return RedirectResponse(_login_for(request.scope), HTTPStatus.SEE_OTHER)
        told = public(error, bool(who) and guest.may(Role.ADMIN))
        if told.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.warning("%s %s: %s", request.method, request.url.path, error)
        return _trouble(request, told, who)


def answer(work: Callable[[], str | Response], show: Callable[[RetentionError], Response]) -> Response:
    """The response to a form: its work's, or it leads to where that says; what is refused is shown with the form."""
    try:
        found = work()
        return found if isinstance(found, Response) else RedirectResponse(found, HTTPStatus.SEE_OTHER)
    except RetentionError as error:
        if error.http_status in (HTTPStatus.UNAUTHORIZED, *range(500, 600)):
            raise
        return show(error)


def chosen_action(actions: Mapping[str, T], given: Mapping[str, str]) -> T:
    """The action that a form asks for."""
    if (action := actions.get(given.get("do", ""))) is None:
        raise InvalidInput("form", "is not one of this page", "load the page again")
    return action


def read_texts(form: FormData) -> dict[str, str]:
    """What stands in the fields of a form, without its files."""
    return {name: value for name, value in form.items() if isinstance(value, str)}


def no_page(guest: Guest, scoped: toolkit.Scope) -> Response:
    raise NotFound("this page", "does not exist", "start from the overview")


def _trouble(
    request: Request,
    error: RetentionError,
    who: Who | None = None,
    back: tuple[str, str] = ("Overview", f"{PREFIX}/"),
) -> Response:
    """A page about an error, with a way on."""
    remedy = el("p", sentence(error.remedy)) if error.remedy else None
    said = el("p", sentence(error.reason), class_="lead")
    link = el("p", el("a", back[0], href=back[1]))
    content = el("div", el("h1", capitalized(error.thing)), said, remedy, link, class_="card trouble", role="alert")
    headers = getattr(error, "headers", None)
    return layout.page(request, "Error", content, who=who, status=error.http_status, headers=headers)
