"""SQL over archives for callers: a few queries at a time, each within a time limit and a size."""

from __future__ import annotations

import tempfile
import threading
from http import HTTPStatus
from typing import BinaryIO

from cratedb_retention.model.query.answer import QueryRequest
from cratedb_retention.service.access import Scope
from cratedb_retention.service.http.problems import Failed
from cratedb_retention.service.settings import HttpSettings

_WAIT = "5"


class Queries:
    """The queries of one service."""

    def __init__(self, limits: HttpSettings) -> None:
        self._limits, self._free = limits, threading.BoundedSemaphore(limits.queries)

    def answer(self, who: Scope, text: str, form: str) -> tuple[BinaryIO, list[str]]:
        """The answer to a query as an open file, and notes. Raises Failed if too many queries are running."""
        limits = self._limits
        request = QueryRequest(text=text, form=form, seconds=limits.query_timeout, size=limits.query_size)
        if not self._free.acquire(blocking=False):
            reason, headers = f"{limits.queries} are running", {"Retry-After": _WAIT}
            raise Failed(HTTPStatus.TOO_MANY_REQUESTS, "queries", reason, f"wait {_WAIT} s", headers)
        file = tempfile.TemporaryFile(prefix="cratedb-retention-")  # noqa: SIM115 - closed when it was sent
        try:
            notes = who.query(request, file)
        except BaseException:
            file.close()
            raise
        finally:
            self._free.release()
        return file, notes
