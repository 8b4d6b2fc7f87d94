"""
All pages, in the order of the menu.
"""

from __future__ import annotations

from cratedb_retention.ui import archive, holds, overview
from cratedb_retention.ui.frame import Page

PAGES: tuple[Page, ...] = (
    Page("/", "Overview", overview.show, "Overview"),
    Page("/archive", "Archive", archive.show, "Archive"),
    Page("/holds", "Holds", holds.show, "Holds"),
)
