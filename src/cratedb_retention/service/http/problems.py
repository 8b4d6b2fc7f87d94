"""
Request bodies and errors of all routes. Bodies are JSON. Numbers keep their notation, such as ``1.50``, since they may
be compared with a column of text. Duplicate names are rejected, since the last one could be the wrong retention period.
Errors are ``application/problem+json`` (RFC 9457) with thing, reason and remedy. Messages of the database are shown to
admins only. Bugs are reported only in the log, without passwords or tokens.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Coroutine, Iterable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from cratedb_retention.errors import InvalidInput, RetentionError
from cratedb_retention.model.address import redact

MEDIA_TYPE = "application/problem+json"
logger = logging.getLogger(__name__)


class WrittenNumber(float):
    """A number that preserves its notation."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


class _JsonRequest(Request):
    async def json(self) -> Any:
        return json.loads(await self.body(), parse_float=WrittenNumber, object_pairs_hook=_unique)


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"duplicate attribute {name}")
        found[name] = value
    return found


class JsonRoute(APIRoute):
    """A route with such a body."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def read(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return read


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field("about:blank", description="Always `about:blank`: the status is the kind of error.")
    title: str = Field(description="The status as text.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="The error in one line: thing, reason, remedy.")
    thing: str | None = Field(None, description="The subject of the error.")
    reason: str | None = Field(None, description="What is wrong.")
    remedy: str | None = Field(None, description="How to fix it.")


class Failed(RetentionError):
    """An error with its own status and headers."""

    def __init__(
        self, status: int, thing: str, reason: object, remedy: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(thing, reason, remedy)
        self.http_status, self.headers = status, headers or {}


def problem(error: RetentionError) -> Response:
    texts = {"detail": str(error), "thing": error.thing, "reason": error.reason, "remedy": error.remedy}
    status = error.http_status
    said = {name: redact(text) for name, text in texts.items() if text}
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, **said}
    # ASCII: an error may quote characters that cannot be encoded.
    return Response(json.dumps(body), status, getattr(error, "headers", None), MEDIA_TYPE)


def public(error: RetentionError, tells_all: bool) -> RetentionError:
    """An error as a caller may read it: messages of the database, which quote statements and tables, only by admins."""
    status = error.http_status
    if isinstance(error.__cause__, SQLAlchemyError):
        status = max(status, HTTPStatus.BAD_GATEWAY)
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return error
    told = (error.thing, error.reason, error.remedy)
    if not tells_all:
        told = ("the database", "cannot respond at present", "see the log of the service")
    return Failed(status, *told, {"Retry-After": "10"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None)


def handle(app: FastAPI) -> None:
    for kind in (RetentionError, RequestValidationError, HTTPException, UnicodeError, Exception):
        app.add_exception_handler(kind, _answer)


def _answer(request: Request, error: Exception) -> Response:
    match error:
        case RetentionError():
            told = public(error, getattr(request.state, "tells_all", False))
            if told.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                logger.warning("%s %s: %s", request.method, request.url.path, error)
            return problem(told)
        case RequestValidationError():
            return problem(_invalid(error))
        case HTTPException(status_code=HTTPStatus.NOT_FOUND):
            what = ("this address", "does not exist", "/api/v1/openapi.json lists all")
            return problem(Failed(error.status_code, *what, dict(error.headers or {})))
        case HTTPException():
            return problem(Failed(error.status_code, "request", str(error.detail), headers=dict(error.headers or {})))
        case UnicodeError():
            return problem(InvalidInput("request", "not valid UTF-8"))
        case _:
            logger.error("%s %s: this is a bug; please report it", request.method, request.url.path, exc_info=error)
            return problem(RetentionError("the service", "internal error", "see the log of the service"))


def _invalid(error: RequestValidationError) -> InvalidInput:
    found = error.errors()  # An unknown name may explain a missing one.
    first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
    place, *path = map(str, first["loc"])
    where = ".".join(path) or place
    if first["type"] == "missing" and where == "body":
        return InvalidInput("body", "missing", "send JSON, at least {}")
    reason = "missing" if first["type"] == "missing" else str(first["msg"]).removeprefix("Value error, ")
    return InvalidInput(f"{'attribute' if place == 'body' else 'parameter'} {where}", reason)


_RESPONSES = {
    400: "Malformed request.",
    401: "Missing or invalid access token.",
    403: "The access token does not permit this.",
    404: "Not found, or not visible to the access token.",
    409: "Conflict with another change or with the present state.",
    412: "The present version does not match If-Match.",
    415: "Unsupported media type of the body.",
    422: "Invalid request.",
    428: "If-Match is missing.",
    429: "Too many requests.",
    502: "The database rejected the request.",
    503: "The database is unreachable.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route, for its description; without arguments, those of all routes."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": _RESPONSES[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses or (400, 401, 403, 422, 429, 502, 503)
    }
