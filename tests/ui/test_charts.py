"""What the scripts of charts make of data: text in UTC, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from cratedb_retention.ui.frame import STATIC
from support.pages import Chromium

NOON = 1_719_921_600_000  # 2 July 2024


@pytest.fixture
def page(browser: Chromium) -> Iterator[Page]:
    """A page with these scripts and nothing else, for a user who is far from UTC."""
    context = browser.browser.new_context(timezone_id="Pacific/Auckland")
    found = context.new_page()
    found.add_script_tag(path=STATIC / "charts.js")
    yield found
    context.close()


def test_values(page: Page) -> None:
    """Each line with its value, and its range if there is one; the instant in UTC; no data is said to be none."""

    def told(*points: tuple[str, list[Any] | None]) -> list[str]:
        found = [{"seriesName": name, "value": value} for name, value in points]
        script = "found => [...(charts.values(found) || {children: []}).children].map(line => line.textContent)"
        return list(page.evaluate(script, found))

    one = told(("a", [NOON, 1234.5678, "1h", 1, 2]), ("b", [NOON, None, ""]), ("c", [NOON, 0.5, "raw", None, None]))
    assert one == ["2024-07-02 12:00:00 UTC", "a: 1,234.57 (1 to 2), from 1h", "b: no data", "c: 0.5, from raw"]
    assert told(("low", [NOON]), ("none", None)) == []
    assert told(("low", [NOON]), ("<b>a</b>", [NOON, 1, "1h"]))[1:] == ["<b>a</b>: 1, from 1h"]
