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

from cratedb_retention.errors import (
    AccessDenied,
    ClusterUnwell,
    Conflict,
    ConnectionLost,
    DatabaseError,
    DiskFull,
    Forbidden,
    InvalidInput,
    NotFound,
    PartitionChanged,
    RetentionError,
    Unsupported,
)
from cratedb_retention.model.redact import redact

MEDIA_TYPE = "application/problem+json"
logger = logging.getLogger(__name__)

_STATUS: tuple[tuple[type[RetentionError], HTTPStatus], ...] = (
    (InvalidInput, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Unsupported, HTTPStatus.UNPROCESSABLE_ENTITY),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (PartitionChanged, HTTPStatus.CONFLICT),
    (Forbidden, HTTPStatus.FORBIDDEN),
    (ConnectionLost, HTTPStatus.SERVICE_UNAVAILABLE),
    (ClusterUnwell, HTTPStatus.SERVICE_UNAVAILABLE),
    (DiskFull, HTTPStatus.SERVICE_UNAVAILABLE),
    (AccessDenied, HTTPStatus.SERVICE_UNAVAILABLE),
    (DatabaseError, HTTPStatus.BAD_GATEWAY),
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
    """
    An answer other than what our own errors give.

    :param headers: What else the answer says.
    """

    def __init__(self, status: HTTPStatus, error: RetentionError, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, error)
        self.status, self.error, self.headers = status, error, headers or {}


def problem(status: int, error: RetentionError, headers: dict[str, str] | None = None) -> Response:
    """An answer that tells of an error."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": str(error),
        "thing": error.thing,
        "reason": error.reason,
        "remedy": error.remedy or None,
    }
    said = {key: redact(value) if isinstance(value, str) else value for key, value in body.items() if value is not None}
    # Escaped, since an error may quote what is no text.
    return Response(json.dumps(said), status, headers, MEDIA_TYPE)


def status_of(error: RetentionError) -> HTTPStatus:
    """The status that an error means."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)


def handle(app: FastAPI) -> None:
    """Let an application answer errors so."""
    app.add_exception_handler(RetentionError, _retention_error)
    app.add_exception_handler(Failed, _failed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(UnicodeError, _no_text)
    app.add_exception_handler(Exception, _mistake)


def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, Failed)  # noqa: S101 - for the type checker
    return problem(error.status, error.error, error.headers)


def _retention_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RetentionError)  # noqa: S101 - for the type checker
    status = status_of(error)
    if isinstance(error.__cause__, SQLAlchemyError):  # In the words of the driver, which tell of statements and tables.
        status = max(status, HTTPStatus.BAD_GATEWAY)
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return problem(status, error)
    logger.warning("%s %s: %s", request.method, request.url.path, error)
    headers = {"Retry-After": "10"} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
    if not getattr(request.state, "tells_all", False):
        error = DatabaseError("the database", "can't answer at present", "the log of the service tells more")
    return problem(status, error, headers)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - for the type checker
    first = _first(error)
    where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    reason = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "missing":
        if where == "body":
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, InvalidInput("body", "missing", "send JSON, at least {}"))
        reason = "missing"
    name = "attribute" if first["loc"][0] == "body" else "parameter"
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, InvalidInput(f"{name} {where}", reason))


def _first(error: RequestValidationError) -> Any:
    """An unknown name explains a missing one."""
    errors = error.errors()
    return next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - for the type checker
    about = {404: NotFound("this address", "does not exist", "/api/v1/openapi.json lists all")}
    found = about.get(error.status_code) or InvalidInput("request", str(error.detail))
    return problem(error.status_code, found, dict(error.headers or {}))


def _no_text(request: Request, error: Exception) -> Response:
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, InvalidInput("request", "it holds what is no text in UTF-8"))


def _mistake(request: Request, error: Exception) -> Response:
    logger.error("%s %s: a mistake in the program", request.method, request.url.path, exc_info=error)
    found = RetentionError("the service", "a mistake in the program", "the log of the service tells more; report it")
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, found)


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
    """For the description of a route: the problems that it may answer with, beyond those of all routes."""
    wanted = sorted({400, 401, 403, 422, 429, 502, 503, *statuses})
    schema = {"$ref": "#/components/schemas/Problem"}
    return {s: {"description": _RESPONSES[s], "content": {MEDIA_TYPE: {"schema": schema}}} for s in wanted}
