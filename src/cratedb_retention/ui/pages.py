"""
All pages, in the order of the menu.
"""

from __future__ import annotations

from cratedb_retention.ui import archive, editor, explore, holds, jobs, overview, plan, policies, timeline
from cratedb_retention.ui.frame import Page

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
