"""
SQL over CrateDB's HTTP endpoint, with nothing but the standard library.

Tests look at the database through this, and not through the toolkit's own engine, so that a mistake in the
engine can't hide itself.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any


class SqlError(Exception):
    """The server refused a statement; the message is the server's own."""


class Unreachable(Exception):
    """There is no answer at that address, or no node is ready."""


class SqlClient:
    """
    Runs statements, one request each.

    :param uri: ``crate://[user[:password]@]host:port/[?ssl=true]``, as SQLAlchemy takes it.
    :param timeout: Seconds that a statement may take.
    """

    def __init__(self, uri: str, timeout: float = 60) -> None:
        self.uri = uri
        self.timeout = timeout
        self._endpoint, self._headers = _endpoint(uri)

    def sql(self, statement: str, args: Sequence[Any] | None = None) -> Any:
        """
        Run a statement; parameters are written ``?``.

        :return: The list of rows if the statement has columns, else the number of rows that it changed (CrateDB
            says -1 where it does not know).
        """
        answer = self._post({"stmt": statement, "args": list(args or ())})
        return answer["rows"] if answer["cols"] else answer["rowcount"]

    def rows(self, statement: str, args: Sequence[Any] | None = None) -> list[list[Any]]:
        """The rows of a query."""
        rows: list[list[Any]] = self._post({"stmt": statement, "args": list(args or ())})["rows"]
        return rows

    def value(self, statement: str, args: Sequence[Any] | None = None) -> Any:
        """The first value of the first row of a query."""
        return self.rows(statement, args)[0][0]

    def rowcount(self, statement: str, args: Sequence[Any] | None = None) -> int:
        """How many rows a statement changed, as the server says it."""
        count: int = self._post({"stmt": statement, "args": list(args or ())})["rowcount"]
        return count

    def bulk(self, statement: str, bulk_args: Sequence[Sequence[Any]]) -> list[int]:
        """Run a statement once for each set of parameters, in one request; gives a row count for each."""
        answer = self._post({"stmt": statement, "bulk_args": [list(args) for args in bulk_args]})
        return [result["rowcount"] for result in answer["results"]]

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(self._endpoint, json.dumps(body).encode(), self._headers)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as error:
            with error:
                raise _translated(error, body["stmt"]) from None
        except OSError as error:
            raise Unreachable(f"{self._endpoint}: {error}") from error


def _endpoint(uri: str) -> tuple[str, dict[str, str]]:
    parts = urllib.parse.urlsplit(uri)
    ssl = urllib.parse.parse_qs(parts.query).get("ssl", ["false"])[-1].lower() in {"1", "true"}
    headers = {"Content-Type": "application/json"}
    if parts.username:
        login = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    return f"{'https' if ssl else 'http'}://{parts.hostname}:{parts.port or 4200}/_sql", headers


def _translated(error: urllib.error.HTTPError, statement: str) -> Exception:
    text = error.read().decode(errors="replace")
    try:
        message = json.loads(text)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return Unreachable(f"HTTP {error.code}: {text[:200]}")
    return SqlError(f"{message} [{statement}]")


def quoted(*names: str) -> str:
    """A dotted identifier, each part quoted: ``quoted("doc", "a table")`` gives ``"doc"."a table"``."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)
