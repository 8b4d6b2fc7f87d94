"""
Adds the pages to the application of the HTTP API. NiceGUI has one set of pages in a process.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import nicegui
from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from nicegui import ui

from cratedb_retention.service.http.access import Context
from cratedb_retention.ui import archive, editor, explore, holds, jobs, login, overview, plan, policies, timeline
from cratedb_retention.ui.frame import Page
from cratedb_retention.ui.links import PREFIX
from cratedb_retention.ui.login import Entrance, Sessions

# In the order of the menu.
PAGES: tuple[Page, ...] = (
    Page(path="/", title="Overview", body=overview.show, menu="Overview"),
    Page(path=timeline.PATH, title="Timeline", body=timeline.show),
    Page(path="/policies", title="Policies", body=policies.show, menu="Policies"),
    Page(path="/policies/new", title="New policy", body=editor.create),
    Page(path="/policies/{id:path}", title="Policy", body=editor.edit),
    Page(path="/plan", title="Plan", body=plan.show, menu="Plan"),
    Page(path="/jobs", title="Jobs: the audit log", body=jobs.show, menu="Jobs"),
    Page(path="/archive", title="Archive", body=archive.show, menu="Archive"),
    Page(path="/holds", title="Holds", body=holds.show, menu="Holds"),
    Page(path="/explore", title="Explore", body=explore.show, menu="Explore"),
)


STATIC = Path(__file__).parent / "static"


def mount(app: FastAPI, context: Context) -> None:
    """Add the pages under ``/ui``."""
    sessions = Sessions(context.retention.clock, secrets.token_bytes)
    app.include_router(login.make_router(context, sessions))
    app.add_api_route("/", lambda: RedirectResponse(f"{PREFIX}/"), include_in_schema=False)
    app.add_middleware(Entrance, context=context, sessions=sessions)
    # Pages say themselves that something is on its way; this bar would have no name.
    nicegui.app.config.quasar_config["loadingBar"]["skipHijack"] = True
    nicegui.app.add_static_files("/static", STATIC)
    for page in PAGES:
        page.register(PAGES)
    ui.run_with(
        app,
        mount_path=PREFIX,
        title="cratedb-retention",
        favicon=STATIC / "favicon.svg",
        dark=None,
        language="en-US",
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=10.0,
    )
