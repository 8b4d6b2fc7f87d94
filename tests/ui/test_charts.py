"""What the scripts of charts make of data: text in UTC, bars and lines within the picture, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from cratedb_retention.ui.frame import STATIC
from support.pages import Chromium

NOON = 1_719_921_600_000  # 2 July 2024
# What ECharts passes: values, and 100 pixels for each unit of both axes, in a picture from 100 to 500.
_API = """(values => [
  {coordSys: {x: 100, y: 0, width: 400, height: 300}},
  {value: at => values[at], ordinalRawValue: at => values[at], coord: ([x, y]) => [x * 100, y * 100]},
])"""
LOOKS = [{"name": "drop", "word": "drop"}, {"name": "keep", "word": "up to date", "rising": True}]


@pytest.fixture
def page(browser: Chromium) -> Iterator[Page]:
    """A page with these scripts and nothing else, for a user who is far from UTC."""
    context = browser.browser.new_context(timezone_id="Pacific/Auckland")
    found = context.new_page()
    found.add_script_tag(path=STATIC / "charts.js")
    yield found
    context.close()


def drawn(page: Page, script: str, *values: Any) -> Any:
    """The elements that a script draws of one datum; None if it draws none."""
    return page.evaluate(f"values => ({script})(...{_API}(values))", values)


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


def test_details_of_a_span(page: Page) -> None:
    """Each label before its value, as text."""
    params = {"data": {"tip": [["Rows", "3"], ["Why", "<i>held</i>"]]}}
    made = page.evaluate(
        "params => [...charts.about(params).children].map(one => [one.tagName, one.textContent])", params
    )
    assert made == [["DT", "Rows"], ["DD", "3"], ["DT", "Why"], ["DD", "<i>held</i>"]]


def test_bars(page: Page) -> None:
    """A bar lies within the picture and is never too thin to see; bars at the same time lie below each other."""

    def bar(start: float, end: float, slot: int = 0, slots: int = 1, looks: int = 1) -> Any:
        found = drawn(page, f"charts.bar({json.dumps(LOOKS)})", start, end, 0, slot, slots, looks)
        return found and found["children"]

    box, pattern, word = bar(2, 4)
    assert [box["shape"][key] for key in ("x", "y", "width", "height")] == [200, 20, 199, 73]
    assert ("var(--tl-keep)" in box["style"]["fill"], pattern["type"], word["style"]["text"]) == (
        True,
        "path",
        "up to date",
    )
    assert [child["type"] for child in bar(2, 4, looks=0)] == ["rect", "text"]
    assert [child["type"] for child in bar(2, 2.5)] == ["rect", "path"], "there is no room for a word"
    thin = bar(2, 2.001)[0]["shape"]
    assert (thin["x"], thin["width"]) == (200, 3)
    left, right = bar(0, 2)[0]["shape"], bar(4, 9)[0]["shape"]
    assert (left["x"], left["x"] + left["width"], right["x"] + right["width"]) == (100, 199, 499)
    assert (bar(0, 0.5), bar(6, 7)) == (None, None)
    first, second = (bar(2, 4, slot, 2)[0]["shape"] for slot in range(2))
    assert first["y"] + first["height"] < second["y"] and second["y"] + second["height"] < 100


def test_lines_and_titles(page: Page) -> None:
    """A limit and now are lines with words beside them, towards the middle; beyond the picture there is none."""

    def mark(at: float, row: int = 0, now: int = 0) -> Any:
        found = drawn(page, "charts.mark(18)", at, row, "delete after 90d", now)
        return found and [child.get("shape") or child["style"] for child in found["children"]]

    line, text = mark(2, row=1)
    assert (line["x1"], line["x2"], line["y1"], line["y2"]) == (200, 200, 26, 300)
    assert (text["text"], text["x"], text["align"], text["fontWeight"]) == ("delete after 90d", 205, "left", 400)
    assert [mark(4)[1][key] for key in ("x", "align")] == [395, "right"]
    assert mark(2, now=1)[1]["fontWeight"] == 600
    assert (mark(0.9), mark(5.1), mark(1) is None, mark(5) is None) == (None, None, False, False)
    title = drawn(page, "charts.lane", 0, 1, "Data in the table")["children"]
    assert (title[0]["shape"]["y1"], title[1]["style"]["text"]) == (100, "Data in the table")
