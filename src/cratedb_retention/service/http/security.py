"""
Who asks, and whether their role is enough: each route says which role it needs, and gets the toolkit for that caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from cratedb_retention.clock import Actor
from cratedb_retention.errors import Forbidden, RetentionError
from cratedb_retention.model.access import Access, Role
from cratedb_retention.service.http.context import Context
from cratedb_retention.service.http.problems import Failed
from cratedb_retention.service.scope import Scope

_BEARER = HTTPBearer(
    auto_error=False, bearerFormat="crt_...", description="A token of `cratedb-retention create-token`."
)
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
_ROLES: dict[Callable[..., object], Role] = {}


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
    The toolkit for whoever has a token. Who has none that is worth anything can't try many: their address is slowed
    down.

    :param text: The token.
    :param host: The address that they ask from.
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
