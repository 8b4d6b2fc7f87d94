"""
All pages, in the order of the menu.
"""

from __future__ import annotations

from cratedb_retention.ui import archive, editor, explore, holds, jobs, overview, plan, policies, timeline
from cratedb_retention.ui.frame import Page

PAGES: tuple[Page, ...] = (
    Page("/", "Overview", overview.show, "Overview"),
    Page(timeline.PATH, "Timeline", timeline.show),
    Page("/policies", "Policies", policies.show, "Policies"),
    Page("/policies/new", "New policy", editor.create),
    Page("/policies/{id:path}", "Policy", editor.edit),
    Page("/plan", "Plan", plan.show, "Plan"),
    Page("/jobs", "Jobs: the audit log", jobs.show, "Jobs"),
    Page("/archive", "Archive", archive.show, "Archive"),
    Page("/holds", "Holds", holds.show, "Holds"),
    Page("/explore", "Explore", explore.show, "Explore"),
)
