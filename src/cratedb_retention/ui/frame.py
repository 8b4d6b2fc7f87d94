"""
The pages, added to the application of the HTTP API: log-in, static files, and a router for each feature.
"""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

import python_multipart  # noqa: F401  # Forms need it; FastAPI and Starlette only say so when they read one.
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from cratedb_retention.service.http.access import Context
from cratedb_retention.ui import administration, audit, holds, plan, query
from cratedb_retention.ui.access import GUEST, Entrance, no_page, respond
from cratedb_retention.ui.archive import page as archive
from cratedb_retention.ui.forecast import page as forecast
from cratedb_retention.ui.forecast import what_if
from cratedb_retention.ui.links import PREFIX
from cratedb_retention.ui.log_in import make_router
from cratedb_retention.ui.overview import front, hub, search
from cratedb_retention.ui.policies import editor, file
from cratedb_retention.ui.policies import table as policies
from cratedb_retention.ui.runs import page as run
from cratedb_retention.ui.runs import table as runs

STATIC = Path(__file__).parent / "static"
PAGES: tuple[APIRouter, ...] = (
    front.ROUTER,
    hub.ROUTER,
    search.ROUTER,
    policies.ROUTER,
    file.ROUTER,
    editor.ROUTER,
    plan.ROUTER,
    forecast.ROUTER,
    what_if.ROUTER,
    runs.ROUTER,
    run.ROUTER,
    audit.ROUTER,
    archive.ROUTER,
    holds.ROUTER,
    query.ROUTER,
    administration.ROUTER,
)


def mount(app: FastAPI, context: Context) -> None:
    """Add the pages under ``/ui``."""
    for router in (make_router(context), *PAGES):
        app.include_router(router)
    app.mount(f"{PREFIX}/static", GZipMiddleware(StaticFiles(directory=STATIC)))
    for path in ("/", PREFIX):
        app.add_api_route(path, lambda: RedirectResponse(f"{PREFIX}/"), include_in_schema=False)
    app.add_api_route(f"{PREFIX}/{{rest:path}}", _missing, include_in_schema=False)
    app.add_middleware(Entrance, context=context)


def _missing(request: Request) -> Response:
    """The response to an address that nothing is at."""
    return respond(request, no_page) if GUEST in request.scope else Response(status_code=HTTPStatus.NOT_FOUND)
