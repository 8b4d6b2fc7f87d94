"""
Who asks, and whether their role is enough: each route says which role it needs, and gets the toolkit for that caller.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from cratedb_retention.clock import Actor
from cratedb_retention.errors import Forbidden, RetentionError
from cratedb_retention.model.access import Access, Role
from cratedb_retention.service.http.context import Context
from cratedb_retention.service.http.limits import Buckets
from cratedb_retention.service.http.problems import Failed
from cratedb_retention.service.scoped import Scoped

_BEARER = HTTPBearer(
    auto_error=False, bearerFormat="crt_...", description="A token of `cratedb-retention create-token`."
)
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]


def context_of(request: Request) -> Context:
    """The parts of the application that a request came to."""
    context: Context = request.app.state.context
    return context


def allowed(needed: Role) -> Callable[..., Scoped]:
    """A dependency: the toolkit for whoever asks, if they have the role."""

    def scoped(request: Request, credentials: _Credentials) -> Scoped:
        context = context_of(request)
        text = credentials.credentials if credentials else ""
        host = request.client.host if request.client else ""
        access = _access(request, context, text, f"address {host}")
        access.require(needed)
        request.state.tells_all = access.role is Role.ADMIN
        return Scoped(context.retention.acting_as(Actor(access.actor, host or "unknown")), access)

    return scoped


def _access(request: Request, context: Context, text: str, address: str) -> Access:
    """Who that is. Who has no token that is worth anything can't try many: their address is slowed down."""
    buckets: Buckets = request.app.state.buckets
    if not context.authenticate:
        _slow_down(buckets.take(address))
        return Access(Role.ADMIN, context.retention.actor.name)
    _slow_down(buckets.wait(address))
    token = context.retention.store.tokens.check(text) if text else None
    if token is None:
        buckets.take(address)
        reason = "is worth nothing: unknown, expired or revoked" if text else "is missing"
        error = Forbidden("access token", reason, "send `Authorization: Bearer crt_...`")
        raise Failed(HTTPStatus.UNAUTHORIZED, error, {"WWW-Authenticate": "Bearer"})
    _slow_down(buckets.take(token.actor))
    return Access(token.role, token.actor, token.limit)


def _slow_down(wait: int) -> None:
    if wait:
        error = RetentionError("requests", "too many", f"wait {wait} s")
        raise Failed(HTTPStatus.TOO_MANY_REQUESTS, error, {"Retry-After": str(wait)})


Viewer = Annotated[Scoped, Depends(allowed(Role.VIEWER))]
Operator = Annotated[Scoped, Depends(allowed(Role.OPERATOR))]
Editor = Annotated[Scoped, Depends(allowed(Role.EDITOR))]
Admin = Annotated[Scoped, Depends(allowed(Role.ADMIN))]
