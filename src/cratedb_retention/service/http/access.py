"""
Authentication, rate limits and roles of the HTTP API: each route names the role that it requires, and receives the
toolkit for the caller.
"""

from __future__ import annotations

import datetime as dt
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from cratedb_retention.api import Retention
from cratedb_retention.clock import Actor, Clock
from cratedb_retention.model.access import Access, Identity, Role, access_of
from cratedb_retention.service.access import Scope
from cratedb_retention.service.http.oidc import Provider
from cratedb_retention.service.http.problems import Failed
from cratedb_retention.service.http.query import Queries
from cratedb_retention.service.runs import Operations, Runs
from cratedb_retention.service.settings import HttpSettings, Settings
from cratedb_retention.store.access import AccessToken, Session, token_id

# Callers whose buckets are remembered: more than call in a minute, since a forgotten bucket is full again.
REMEMBERED = 10_000
_MADE_BY = "An access token, as created by `cratedb-retention create-token`."
_BEARER = HTTPBearer(auto_error=False, bearerFormat="crt_...", description=_MADE_BY)
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
# The role that each dependency of routes requires.
ROLES: dict[object, Role] = {}


class Buckets:
    """A token bucket for each caller: refilled at ``rate`` per second, up to ``burst``."""

    def __init__(self, clock: Clock, rate: float, burst: int) -> None:
        self._clock, self._rate, self._burst = clock, rate, burst
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, dt.datetime]] = OrderedDict()

    def take(self, caller: str, taken: int = 1) -> None:
        """Take requests from the bucket of a caller; raises :class:`Failed` with ``Retry-After`` if it is empty."""
        now = self._clock.now()
        with self._lock:
            left, since = self._buckets.pop(caller, (float(self._burst), now))
            # A clock that is set back changes nothing.
            left = min(float(self._burst), left + max(0.0, (now - since).total_seconds()) * self._rate)
            enough = left >= 1
            self._buckets[caller] = (left - taken if enough else left, now)
            if len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)
        if not enough:
            wait = str(max(1, math.ceil((1 - left) / self._rate)))
            headers = {"Retry-After": wait}
            raise Failed(HTTPStatus.TOO_MANY_REQUESTS, "requests", "too many", f"wait {wait} s", headers)


@dataclass(frozen=True, kw_only=True)
class Context:
    retention: Retention
    authenticate: bool = True  # whether a token is required; otherwise all callers are admins
    hosts: frozenset[str] = frozenset()  # host names that requests may use; empty: any
    limits: HttpSettings = field(default_factory=HttpSettings)  # limits for a single caller
    settings: Settings = field(default_factory=Settings)  # all settings of the service, for admins
    runs: Runs = field(default_factory=Runs)
    operations: Operations = field(default_factory=Operations)
    provider: Provider | None = None  # of OpenID Connect, by which users of the pages can log in
    metrics: Callable[[], bytes] | None = None  # returns the text of ``/metrics``; None: disabled

    @cached_property
    def buckets(self) -> Buckets:
        return Buckets(self.retention.clock, self.limits.rate, self.limits.burst)

    @cached_property
    def queries(self) -> Queries:
        return Queries(self.limits)


def context_of(request: Request) -> Context:
    return cast(Context, request.app.state.context)


def host_of(connection: HTTPConnection) -> str:
    return connection.client.host if connection.client else "unknown"


def allowed(needed: Role) -> Callable[..., Scope]:
    """A dependency of routes: the toolkit for the caller, who must have the role."""

    def scoped(request: Request, credentials: _Credentials) -> Scope:
        found = admit(context_of(request), credentials.credentials if credentials else "", host_of(request))
        found.access.require(needed)
        request.state.tells_all = found.access.role is Role.ADMIN
        return found

    ROLES[scoped] = needed
    return scoped


def admit(context: Context, text: str, host: str) -> Scope:
    """
    The toolkit for a caller with an access token. Raises Failed if the token is invalid, or the caller sends too many
    requests. Failed attempts count against their address, which prevents guessing.
    """
    return _admit(context, host, text, lambda: _token_access(context.retention.access.check(text)))


def admit_session(context: Context, session: Session | None, host: str) -> Scope:
    """The same for a session of the pages; None: no token is required."""

    def find() -> Access | None:
        if session is None:
            return None
        if session.identity is None:
            return _token_access(context.retention.access.find(session.token_id))
        return access_of(session.identity, context.provider.grants) if context.provider else None

    return _admit(context, host, session, find)


def begin_session(context: Context, text: str, host: str) -> str:
    """Begin a session of the pages with an access token; returns its name. Raises Failed, see :func:`admit`."""
    admit(context, text, host)
    return context.retention.sessions.begin(Session(token_id=token_id(text))) if context.authenticate else ""


def begin_session_of(context: Context, identity: Identity, host: str) -> str:
    """The same for a user of OpenID Connect. Raises Forbidden if they may do nothing."""
    session = Session(identity=identity)
    admit_session(context, session, host)
    return context.retention.sessions.begin(session)


def find_session(context: Context, name: str, used: bool = True) -> Session | None:
    """Whose session it is; None if it is over or never was."""
    return context.retention.sessions.find(name, used)


def end_session(context: Context, name: str) -> None:
    context.retention.sessions.end(name)


def _token_access(token: AccessToken | None) -> Access | None:
    return Access(role=token.role, actor=token.actor, limit=token.limit) if token else None


def _admit(context: Context, host: str, given: object, find: Callable[[], Access | None]) -> Scope:
    address = f"address {host}"
    if not context.authenticate:
        context.buckets.take(address)
        access = Access(role=Role.ADMIN, actor=context.retention.actor.name)
    else:
        context.buckets.take(address, 0)
        found = find() if given else None
        if found is None:
            context.buckets.take(address)
            reason = "invalid: unknown, expired or revoked" if given else "missing"
            remedy, headers = "send `Authorization: Bearer crt_...`", {"WWW-Authenticate": "Bearer"}
            raise Failed(HTTPStatus.UNAUTHORIZED, "access token", reason, remedy, headers)
        context.buckets.take(found.actor)
        access = found
    limits = [grant.limit for grant in context.provider.grants] if context.provider else []
    return Scope(context.retention.acting_as(Actor(access.actor, host)), access, limits)


Viewer = Annotated[Scope, Depends(allowed(Role.VIEWER))]
Operator = Annotated[Scope, Depends(allowed(Role.OPERATOR))]
Editor = Annotated[Scope, Depends(allowed(Role.EDITOR))]
Admin = Annotated[Scope, Depends(allowed(Role.ADMIN))]
