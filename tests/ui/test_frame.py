"""What all pages have in common: who gets in, and what a browser is told."""

from __future__ import annotations

from support.stage import Stage


def test_overview(each_stage: Stage) -> None:
    """Who has logged in sees the policies."""
    page = each_stage.log_in("admin")
    page.get_by_role("cell", name=f"{each_stage.db.schema}.visits").wait_for()
