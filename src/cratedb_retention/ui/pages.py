"""
All pages, in the order of the menu.
"""

from __future__ import annotations

from cratedb_retention.ui import jobs, overview, plan
from cratedb_retention.ui.frame import Page

PAGES: tuple[Page, ...] = (
    Page("/", "Overview", overview.show, "Overview"),
    Page("/plan", "Plan", plan.show, "Plan"),
    Page("/jobs", "Jobs: the audit log", jobs.show, "Jobs"),
)
