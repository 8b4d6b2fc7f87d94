"""
Bodies of requests: JSON, with numbers as they are written, and no name twice.

``1.50`` is kept as such, since the column that it is compared with may be text. Of two equal names JSON says nothing;
taking the last one could mean the wrong retention period.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterable
from http import HTTPStatus
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute


class WrittenNumber(float):
    """A number that remembers how it was written."""

    def __new__(cls, text: str) -> WrittenNumber:
        """From its text."""
        number = super().__new__(cls, text)
        number._text = text
        return number

    _text: str

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
        """The handler of the route, with its request read so."""
        handle = super().get_route_handler()

        async def read(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return read
