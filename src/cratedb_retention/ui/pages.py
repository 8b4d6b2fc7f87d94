"""
All pages, in the order of the menu.
"""

from __future__ import annotations

from cratedb_retention.ui import overview, timeline
from cratedb_retention.ui.frame import Page

PAGES: tuple[Page, ...] = (
    Page("/", "Overview", overview.show, "Overview"),
    Page(timeline.PATH, "Timeline", timeline.show),
)
