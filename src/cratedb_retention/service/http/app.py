"""
The HTTP API as an application (ASGI): all routes, what is checked before them, how errors are answered.

Routes are plain functions, so that FastAPI runs them in threads: what they wait for is the database.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from cratedb_retention import __version__
from cratedb_retention.service.http import (
    fetch,
    health,
    holds,
    journal,
    operations,
    plans,
    policies,
    policyfile,
    runs,
    snapshots,
    tokens,
)
from cratedb_retention.service.http.context import Context
from cratedb_retention.service.http.middleware import Gate
from cratedb_retention.service.http.problems import Problem, handle

PREFIX = "/api/v1"
_PARTS = (policies, policyfile, plans, runs, journal, holds, snapshots, operations, fetch, tokens)


def make_app(context: Context) -> FastAPI:
    """
    Make the application.

    There are no pages in it: those that FastAPI brings load scripts from elsewhere; ours come from the layer above.
    """
    app = FastAPI(
        title="cratedb-retention",
        version=__version__,
        description="Retention policies for CrateDB and DuckDB: plan, run, watch.",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.context = context
    for part in _PARTS:
        app.include_router(part.router, prefix=PREFIX)
    app.include_router(health.router)
    handle(app)
    app.add_middleware(Gate, hosts=context.hosts, limits=context.limits)
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]
    return app


def _describe(app: FastAPI) -> dict[str, Any]:
    """The description of all routes, with the problem that each may answer with."""
    if app.openapi_schema is None:
        found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = found["components"]["schemas"]
        schemas["Problem"] = Problem.model_json_schema()
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = found
    return app.openapi_schema
