"""
What all routes have in common: bodies and errors. Bodies are JSON with numbers as they are written, ``1.50`` as such,
since a column that it is compared with may be text; and no name twice, since the last one could mean the wrong
retention period. Errors are ``application/problem+json`` (RFC 9457) with the thing, the reason and the remedy. What the
database says of itself is for admins; mistakes in the program are in the log only, without passwords or tokens.
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
    """A number that remembers how it was written."""

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
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"attribute {name} is written twice")
        found[name] = value
    return found


class JsonRoute(APIRoute):
    """A route that reads such bodies."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def read(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return read


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field("about:blank", description="Always `about:blank`: the status says which kind it is.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="The error in a line: thing, reason, remedy.")
    thing: str | None = Field(None, description="What it is about.")
    reason: str | None = Field(None, description="What is wrong with it.")
    remedy: str | None = Field(None, description="What to do about it.")


class Failed(RetentionError):
    """An error with a status of its own, and headers."""

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
    # Escaped: an error may quote what is no text.
    return Response(json.dumps(body), status, getattr(error, "headers", None), MEDIA_TYPE)


def handle(app: FastAPI) -> None:
    for kind in (RetentionError, RequestValidationError, HTTPException, UnicodeError, Exception):
        app.add_exception_handler(kind, _answer)


def _answer(request: Request, error: Exception) -> Response:
    match error:
        case RetentionError():
            status = error.http_status
            if isinstance(error.__cause__, SQLAlchemyError):  # In the words of the driver: of statements and tables.
                status = max(status, HTTPStatus.BAD_GATEWAY)
            if status < HTTPStatus.INTERNAL_SERVER_ERROR:
                return problem(error)
            logger.warning("%s %s: %s", request.method, request.url.path, error)
            told = (error.thing, error.reason, error.remedy)
            if not getattr(request.state, "tells_all", False):
                told = ("the database", "can't answer at present", "the log of the service tells more")
            headers = {"Retry-After": "10"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
            return problem(Failed(status, *told, headers))
        case RequestValidationError():
            return problem(_invalid(error))
        case HTTPException(status_code=HTTPStatus.NOT_FOUND):
            what = ("this address", "does not exist", "/api/v1/openapi.json lists all")
            return problem(Failed(error.status_code, *what, dict(error.headers or {})))
        case HTTPException():
            return problem(Failed(error.status_code, "request", str(error.detail), headers=dict(error.headers or {})))
        case UnicodeError():
            return problem(InvalidInput("request", "it holds what is no text in UTF-8"))
        case _:
            logger.error("%s %s: a mistake in the program", request.method, request.url.path, exc_info=error)
            remedy = "the log of the service tells more; report it"
            return problem(RetentionError("the service", "a mistake in the program", remedy))


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
