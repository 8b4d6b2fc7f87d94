"""
Errors as RFC 9457 says: ``application/problem+json`` with the thing, the reason and the remedy of our own errors.

What the database says of itself is for admins; a mistake in the program is in the log, without passwords or tokens, and
nowhere else.
"""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from cratedb_retention import errors
from cratedb_retention.errors import DatabaseError, InvalidInput, NotFound, RetentionError
from cratedb_retention.model.address import redact

MEDIA_TYPE = "application/problem+json"
logger = logging.getLogger(__name__)
_STATUS: tuple[tuple[HTTPStatus, tuple[type[RetentionError], ...]], ...] = (
    (HTTPStatus.UNPROCESSABLE_ENTITY, (InvalidInput, errors.Unsupported)),
    (HTTPStatus.NOT_FOUND, (NotFound,)),
    (HTTPStatus.CONFLICT, (errors.Conflict, errors.PartitionChanged)),
    (HTTPStatus.FORBIDDEN, (errors.Forbidden,)),
    (
        HTTPStatus.SERVICE_UNAVAILABLE,
        (errors.ConnectionLost, errors.ClusterUnwell, errors.DiskFull, errors.AccessDenied),
    ),
    (HTTPStatus.BAD_GATEWAY, (DatabaseError,)),
)


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field("about:blank", description="Always `about:blank`: the status says which kind it is.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="The error in a line: thing, reason, remedy.")
    thing: str | None = Field(None, description="What it is about.")
    reason: str | None = Field(None, description="What is wrong with it.")
    remedy: str | None = Field(None, description="What to do about it.")


class Failed(Exception):
    """An answer other than what our own errors give, with headers of its own."""

    def __init__(self, status: HTTPStatus, error: RetentionError, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, error)
        self.status, self.error, self.headers = status, error, headers or {}


def problem(status: int, error: RetentionError, headers: dict[str, str] | None = None) -> Response:
    """An answer that tells of an error."""
    said = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": redact(str(error)),
        "thing": redact(error.thing),
        "reason": redact(error.reason),
    }
    if error.remedy:
        said["remedy"] = redact(error.remedy)
    return Response(json.dumps(said), status, headers, MEDIA_TYPE)  # Escaped: an error may quote what is no text.


def status_of(error: RetentionError) -> HTTPStatus:
    """The status that an error means."""
    return next((status for status, kinds in _STATUS if isinstance(error, kinds)), HTTPStatus.INTERNAL_SERVER_ERROR)


def handle(app: FastAPI) -> None:
    """Let an application answer errors so."""
    for kind in (RetentionError, Failed, RequestValidationError, HTTPException, UnicodeError, Exception):
        app.add_exception_handler(kind, _answer)


def _answer(request: Request, error: Exception) -> Response:
    match error:
        case Failed():
            return problem(error.status, error.error, error.headers)
        case RetentionError():
            return _retention_error(request, error)
        case RequestValidationError():
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, _invalid(error))
        case HTTPException(status_code=HTTPStatus.NOT_FOUND):
            found = NotFound("this address", "does not exist", "/api/v1/openapi.json lists all")
            return problem(error.status_code, found, dict(error.headers or {}))
        case HTTPException():
            return problem(error.status_code, InvalidInput("request", str(error.detail)), dict(error.headers or {}))
        case UnicodeError():
            return problem(
                HTTPStatus.UNPROCESSABLE_ENTITY, InvalidInput("request", "it holds what is no text in UTF-8")
            )
        case _:
            logger.error("%s %s: a mistake in the program", request.method, request.url.path, exc_info=error)
            remedy = "the log of the service tells more; report it"
            mistake = RetentionError("the service", "a mistake in the program", remedy)
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR, mistake)


def _retention_error(request: Request, error: RetentionError) -> Response:
    status = status_of(error)
    if isinstance(error.__cause__, SQLAlchemyError):  # In the words of the driver, which tell of statements and tables.
        status = max(status, HTTPStatus.BAD_GATEWAY)
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return problem(status, error)
    logger.warning("%s %s: %s", request.method, request.url.path, error)
    if not getattr(request.state, "tells_all", False):
        error = DatabaseError("the database", "can't answer at present", "the log of the service tells more")
    return problem(status, error, {"Retry-After": "10"} if status is HTTPStatus.SERVICE_UNAVAILABLE else {})


def _invalid(error: RequestValidationError) -> InvalidInput:
    found = error.errors()  # An unknown name explains a missing one.
    first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
    place, *path = map(str, first["loc"])
    where = ".".join(path) or place
    if first["type"] == "missing" and where == "body":
        return InvalidInput("body", "missing", "send JSON, at least {}")
    reason = "missing" if first["type"] == "missing" else str(first["msg"]).removeprefix("Value error, ")
    return InvalidInput(f"{'attribute' if place == 'body' else 'parameter'} {where}", reason)


_RESPONSES = {
    400: "The request is malformed.",
    401: "There is no token, or it is worth nothing.",
    403: "The token may not do that.",
    404: "There is no such thing, or the token does not see it.",
    409: "Somebody else changed the same thing.",
    412: "It is not any more what If-Match says.",
    413: "The body is too large.",
    415: "The body is of another kind.",
    422: "Something in the request is not valid.",
    428: "If-Match is missing.",
    429: "Too many requests.",
    502: "The database refused.",
    503: "The database can't be reached.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the description of a route: the problems that it may answer with; none named: those of all routes."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": _RESPONSES[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses or (400, 401, 403, 422, 429, 502, 503)
    }
