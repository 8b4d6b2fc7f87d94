"""``/health``, ``/ready`` and ``/metrics``: for those who watch the service."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response

from cratedb_retention.errors import Forbidden, NotFound, RetentionError
from cratedb_retention.service.http.problems import Failed, problem, problems
from cratedb_retention.service.http.schemas import Health
from cratedb_retention.service.http.security import Viewer, context_of

router = APIRouter(tags=["service"])
_METRICS = {"description": "For Prometheus.", "content": {"text/plain": {"schema": {"type": "string"}}}}


@router.get("/health")
def health() -> Health:
    """The service is up; it says nothing of the database. No token is needed."""
    return Health(status="alive")


@router.get("/ready", response_model=Health, responses={503: problems()[503]})
def ready(request: Request) -> Any:
    """The database answers, and the toolkit's tables are there. No token is needed, and no more is said."""
    try:
        context_of(request).retention.probe()
    except RetentionError:
        error = RetentionError("the database", "does not answer, or lacks the toolkit's tables", "see the log")
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, error)
    return Health(status="ready")


@router.get(
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
