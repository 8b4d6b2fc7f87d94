"""``/tokens``: who may do what; ``/health``, ``/ready`` and ``/metrics``: for those who watch the service."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response

from cratedb_retention.errors import Forbidden, NotFound, RetentionError
from cratedb_retention.execution.results import Health, NewToken, Token, token_result
from cratedb_retention.model.tags import parse_tag_filter
from cratedb_retention.service.http.problems import Failed, problem, problems
from cratedb_retention.service.http.requests import JsonRoute, TokenRequest
from cratedb_retention.service.http.security import Admin, Viewer, context_of

tokens = APIRouter(tags=["tokens"], route_class=JsonRoute)
watching = APIRouter(tags=["service"])
_METRICS = {"description": "For Prometheus.", "content": {"text/plain": {"schema": {"type": "string"}}}}


@tokens.get("/tokens", responses=problems())
def list_tokens(who: Admin) -> list[Token]:
    """All access tokens, without their secrets."""
    return [token_result(token) for token in who.tokens()]


@tokens.post("/tokens", status_code=HTTPStatus.CREATED, responses=problems())
def create_token(who: Admin, wanted: TokenRequest) -> NewToken:
    """Create an access token. Its text is in this answer, and can't be had a second time."""
    limit = parse_tag_filter(wanted.tags)
    token, text = who.create_token(wanted.name, wanted.role, limit, wanted.expires_at)
    return NewToken.model_validate(token_result(token, text))


@tokens.delete("/tokens/{token_id}", responses=problems(404))
def revoke_token(who: Admin, token_id: str) -> Token:
    """End an access token, at once."""
    return token_result(who.revoke_token(token_id))


@watching.get("/health")
def health() -> Health:
    """The service is up; it says nothing of the database. No token is needed."""
    return Health(status="alive")


@watching.get("/ready", response_model=Health, responses={503: problems()[503]})
def ready(request: Request) -> Any:
    """The database answers, and the toolkit's tables are there. No token is needed, and no more is said."""
    try:
        context_of(request).retention.probe()
    except RetentionError:
        error = RetentionError("the database", "does not answer, or lacks the toolkit's tables", "see the log")
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, error)
    return Health(status="ready")


@watching.get(
    "/metrics",
    response_class=Response,
    responses={200: _METRICS, **problems(404)},
)
def metrics(request: Request, who: Viewer) -> Response:
    """Metrics of all policies, as Prometheus reads them; not for tokens with a limit."""
    make = context_of(request).metrics
    if make is None:
        raise Failed(HTTPStatus.NOT_FOUND, NotFound("metrics", "are switched off", "see the setting http.metrics"))
    if who.access.limited:
        raise Forbidden("metrics", "are about all policies", "take a token without a limit")
    return Response(make(), media_type="text/plain; version=0.0.4; charset=utf-8")
