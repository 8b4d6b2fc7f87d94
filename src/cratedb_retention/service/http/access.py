"""
What the HTTP API works with, who asks it, how often, and whether their role is enough: each route says which role it
needs, and gets the toolkit for that caller.
"""

from __future__ import annotations

import datetime as dt
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from cratedb_retention.api import Retention
from cratedb_retention.clock import Actor, Clock
from cratedb_retention.errors import Forbidden, RetentionError
from cratedb_retention.model.access import Access, Role
from cratedb_retention.service.background import Operations, Runs
from cratedb_retention.service.http.problems import Failed
from cratedb_retention.service.scope import Scope
from cratedb_retention.service.settings import HttpSettings

# Callers that are remembered. Who is forgotten has a full bucket again, so there are more than come in a minute.
REMEMBERED = 10_000
_MADE_BY = "A token of `cratedb-retention create-token`."
_BEARER = HTTPBearer(auto_error=False, bearerFormat="crt_...", description=_MADE_BY)
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
_ROLES: dict[Callable[..., object], Role] = {}


class Buckets:
    """A bucket for each caller: so many requests a second come back, up to the burst."""

    def __init__(self, clock: Clock, rate: float, burst: int) -> None:
        self._clock, self._rate, self._burst = clock, rate, burst
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, dt.datetime]] = OrderedDict()

    def wait(self, caller: str) -> int:
        """In how many seconds a caller may ask; 0: now."""
        return self.take(caller, 0)

    def take(self, caller: str, taken: int = 1) -> int:
        """Take one from the caller's bucket: 0 if there was one, else in how many seconds there will be."""
        now = self._clock.now()
        with self._lock:
            left, since = self._buckets.pop(caller, (float(self._burst), now))
            # A clock that is set back gives nothing, and takes nothing.
            left = min(float(self._burst), left + max(0.0, (now - since).total_seconds()) * self._rate)
            enough = left >= 1
            self._buckets[caller] = (left - taken if enough else left, now)
            if len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)
        return 0 if enough else max(1, math.ceil((1 - left) / self._rate))


@dataclass(frozen=True, kw_only=True)
class Context:
    """The parts of the HTTP API, handed over when it is made."""

    retention: Retention
    authenticate: bool = True  # whether a token is needed; otherwise everybody is an admin
    hosts: frozenset[str] = frozenset()  # the names that a request may call this service by; empty: any
    limits: HttpSettings = field(default_factory=HttpSettings)  # what a single caller may ask
    runs: Runs = field(default_factory=Runs)
    operations: Operations = field(default_factory=Operations)
    metrics: Callable[[], bytes] | None = None  # makes the text of ``/metrics``; None: there are none

    @cached_property
    def buckets(self) -> Buckets:
        """How often each caller may ask still."""
        return Buckets(self.retention.clock, self.limits.rate, self.limits.burst)


def context_of(request: Request) -> Context:
    """The parts of the application that a request came to."""
    context: Context = request.app.state.context
    return context


def allowed(needed: Role) -> Callable[..., Scope]:
    """A dependency: the toolkit for whoever asks, if they have the role."""

    def scoped(request: Request, credentials: _Credentials) -> Scope:
        host = request.client.host if request.client else "unknown"
        found = admit(context_of(request), credentials.credentials if credentials else "", host)
        found.access.require(needed)
        request.state.tells_all = found.access.role is Role.ADMIN
        return found

    _ROLES[scoped] = needed
    return scoped


def role_needed(dependencies: Iterable[Callable[..., object] | None]) -> Role | None:
    """The role that a route with these dependencies needs; None: it asks nobody."""
    return next((_ROLES[call] for call in dependencies if call in _ROLES), None)


def admit(context: Context, text: str, host: str) -> Scope:
    """
    The toolkit for whoever has the text of a token, at an address. Who has none that is worth anything can't try many:
    the address is slowed down.

    :raises Failed: if it is worth nothing, or they ask too often.
    """
    access = _access(context, text, f"address {host}")
    return Scope(context.retention.acting_as(Actor(access.actor, host)), access)


def _access(context: Context, text: str, address: str) -> Access:
    if not context.authenticate:
        _slow_down(context.buckets.take(address))
        return Access(role=Role.ADMIN, actor=context.retention.actor.name)
    _slow_down(context.buckets.wait(address))
    token = context.retention.access.check(text) if text else None
    if token is None:
        context.buckets.take(address)
        reason = "is worth nothing: unknown, expired or revoked" if text else "is missing"
        error = Forbidden("access token", reason, "send `Authorization: Bearer crt_...`")
        raise Failed(HTTPStatus.UNAUTHORIZED, error, {"WWW-Authenticate": "Bearer"})
    _slow_down(context.buckets.take(token.actor))
    return Access(role=token.role, actor=token.actor, limit=token.limit)


def _slow_down(wait: int) -> None:
    if wait:
        error = RetentionError("requests", "too many", f"wait {wait} s")
        raise Failed(HTTPStatus.TOO_MANY_REQUESTS, error, {"Retry-After": str(wait)})


Viewer = Annotated[Scope, Depends(allowed(Role.VIEWER))]
Operator = Annotated[Scope, Depends(allowed(Role.OPERATOR))]
Editor = Annotated[Scope, Depends(allowed(Role.EDITOR))]
Admin = Annotated[Scope, Depends(allowed(Role.ADMIN))]
