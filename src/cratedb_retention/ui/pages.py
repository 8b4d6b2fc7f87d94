"""
All pages, in the order of the menu.
"""

from __future__ import annotations

from cratedb_retention.ui import editor, overview
from cratedb_retention.ui.frame import Page

PAGES: tuple[Page, ...] = (
    Page("/", "Overview", overview.show, "Overview"),
    Page("/policies/new", "New policy", editor.create),
    Page("/policies/{id:path}", "Policy", editor.edit),
)
