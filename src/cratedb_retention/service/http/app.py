"""
The HTTP API as an application (ASGI): all routes, what is checked before them, how errors are answered.

Routes are plain functions, so that FastAPI runs them in threads: what they wait for is the database.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from cratedb_retention import __version__
from cratedb_retention.service.http import archive, data, policies, runs, service
from cratedb_retention.service.http.context import Context
from cratedb_retention.service.http.middleware import Gate
from cratedb_retention.service.http.problems import Problem, handle
from cratedb_retention.service.http.security import role_needed

PREFIX = "/api/v1"
_ROUTERS = (
    policies.router,
    policies.files,
    runs.router,
    runs.journal,
    archive.holds,
    archive.snapshots,
    data.router,
    service.tokens,
)


def make_app(context: Context) -> FastAPI:
    """
    Make the application.

    There are no pages in it: those that FastAPI brings load scripts from elsewhere; ours come from the layer above.
    """
    app = make_routes()
    app.state.context = context
    app.add_middleware(Gate, hosts=context.hosts, limits=context.limits)
    return app


def make_routes() -> FastAPI:
    """All routes with their description, on no database: nothing can be asked of them yet."""
    app = FastAPI(
        title="cratedb-retention",
        version=__version__,
        description="Retention policies for CrateDB and DuckDB: plan, run, watch.",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    for router in _ROUTERS:
        app.include_router(router, prefix=PREFIX)
    app.include_router(service.watching)
    handle(app)
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
        _say_roles(found["paths"])
        app.openapi_schema = found
    return app.openapi_schema


def _say_roles(paths: dict[str, Any]) -> None:
    """Name the role that each route needs, as ``x-role``; ``none``: no token is asked for."""
    for router, prefix in (*((router, PREFIX) for router in _ROUTERS), (service.watching, "")):
        for route in router.routes:
            if isinstance(route, APIRoute):
                role = role_needed(each.call for each in route.dependant.dependencies)
                for method in route.methods or ():
                    paths[f"{prefix}{route.path_format}"][method.lower()]["x-role"] = str(role or "none")
