"""
A service in a process of its own: what it asks for, and its memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.testclient import TestClient

from cratedb_retention import Retention
from cratedb_retention.service.http.access import Context
from cratedb_retention.service.http.app import make_app
from cratedb_retention.service.settings import HttpSettings
from support.databases import FixedClock

LIMITS = HttpSettings(rate=1000, burst=100_000)
VISIT = "from benchmarks.visiting import visiting as prepared\n"


@contextmanager
def visiting(uri: str, schema: str, now: str, *paths: str) -> Iterator[Callable[[], object]]:
    """Ask for each path, three times; the pages are there only if one of them is asked for."""
    with Retention(uri, schema, clock=FixedClock(now).clock) as retention:
        context = Context(retention=retention, authenticate=False, limits=LIMITS)
        app = make_app(context)
        if any(path.startswith("/ui/") for path in paths):
            from cratedb_retention.ui.frame import mount

            mount(app, context)
        client = TestClient(app, base_url="http://localhost")
        yield lambda: [client.get(path).raise_for_status() for path in paths * 3]
        context.runs.close()
        context.operations.close()
