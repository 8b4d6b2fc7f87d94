"""
All pages, in the order of the menu.
"""

from __future__ import annotations

from cratedb_retention.ui import archive, explore, holds, jobs, overview, plan, policies, timeline
from cratedb_retention.ui.frame import Page

PAGES: tuple[Page, ...] = (
    Page("/", "Overview", overview.show, "Overview"),
    Page("/explore", "Explore", explore.show, "Explore"),
    Page("/policies", "Policies", policies.show, "Policies"),
    Page(timeline.PATH, "Timeline", timeline.show),
    Page("/plan", "Plan", plan.show, "Plan"),
    Page("/jobs", "Jobs: the audit log", jobs.show, "Jobs"),
    Page("/archive", "Archive", archive.show, "Archive"),
    Page("/holds", "Holds", holds.show, "Holds"),
)
