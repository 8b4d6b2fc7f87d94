"""The page "Explore": the chart shows what `fetch` says, as fine as what is kept of the stretch that is looked at."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlparse

import pytest
from nicegui import ui
from playwright.sync_api import Page, expect

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.query.reading import Fetched, FetchRequest, Fill, Holding, Stretch
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.time import TimeRange, from_ms, to_ms
from cratedb_retention.ui import query as explore
from cratedb_retention.ui.charts import explore_options, lines_of
from cratedb_retention.ui.frame import STATIC
from support.elements import PageElements
from support.pages import NARROW, PagesInBrowser, long_on_cratedb
from support.sample_data import HOSTILE, PLACES

RECENT = {"from": "2024-07-01T00:00:00Z", "until": "2024-07-02T00:00:00Z"}
OLD = {"from": "2024-06-05T00:00:00Z", "until": "2024-06-06T00:00:00Z"}
_SERIES = """() => {
  const chart = Object.values(window).length && getElement(ID).chart;
  return JSON.stringify(chart.getOption().series.map(one => ({id: one.id, name: one.name, data: one.data})));
}"""


def path(pages: PagesInBrowser, **query: str) -> str:
    """The page of the cascade."""
    return f"/ui/explore?{urlencode({'table': f'{pages.db.schema}.weather', **query})}"


def series(page: Page) -> dict[str, list[list[Any]]]:
    """The lines that the chart has, by name."""
    chart = page.get_by_role("img", name="Chart of")
    expect(chart).to_be_visible()
    ident = (chart.get_attribute("id") or "").removeprefix("c")
    found = json.loads(page.evaluate(_SERIES.replace("ID", ident)))
    return {
        one["name"]: [point["value"] for point in one["data"]] for one in found if str(one["id"]).startswith("line")
    }


def said(page: Page, text: str) -> None:
    """Wait until the page says which levels it shows."""
    expect(page.get_by_role("status")).to_contain_text(text)


def pressed(page: Page, name: str) -> None:
    """Press a button that leads to another stretch of time, and wait until that is there."""
    before = page.url
    page.get_by_role("button", name=name).click()
    page.wait_for_url(lambda url: url != before)
    expect(page.get_by_role("progressbar", name="Reading")).to_have_count(0)


def fetch(pages: PagesInBrowser, period: Mapping[str, str], step: str, **more: Any) -> list[tuple[Any, ...]]:
    """What the toolkit says."""
    request = FetchRequest.of_texts(
        pages.db.time.moment,
        period["from"],
        period["until"],
        step,
        None,
        table_name="weather",
        table_schema=pages.db.schema,
        fill=Fill.NULL,
        **more,
    )
    return list(pages.db.tool.fetch(request).rows)


def ms(moment: object) -> int:
    assert isinstance(moment, dt.datetime)
    return to_ms(moment)


def test_what_is_drawn() -> None:
    """Gaps are gaps; a value without neighbours is a dot; levels and what is kept nowhere are marked; times are UTC."""
    raw, other = (Holding(rollup=None, table=TableName("lab", name), start=None, end=None) for name in "ab")
    parts = (raw, 0, 20), (other, 20, 60), (raw, 60, 90)
    found = Fetched(
        columns=("ts", "t_avg", "t_min", "t_max", "level"),
        rows=tuple(
            (from_ms(at * 10), value, low, high, "raw" if value else None)
            for at, (value, low, high) in enumerate(
                [(5.0, 4.0, 7.0), *[(None, None, None)] * 2, *[(6.0, 5.0, 8.5)] * 2]
            )
        ),
        keys=0,
        step=Interval(10),
        start=0,
        end=50,
        stretches=tuple(
            Stretch(holding=held, time=TimeRange(start, end), interval=Interval(10)) for held, start, end in parts
        ),
        gaps=((10, 30),),
    )
    [(name, points)] = lines_of(found)
    assert (name, points[0], points[1]) == ("t_avg", (0, 5.0, "raw", 4.0, 7.0), (10, None, "", None, None))
    options = explore_options(found, [(name, points)], TimeRange(10, 50), TimeRange(0, 100))
    assert (options["useUTC"], options["xAxis"]["min"], options["xAxis"]["max"]) == (True, 0, 100)
    assert [(zoom["start"], zoom["end"]) for zoom in options["dataZoom"]] == [(10, 50)] * 2
    line, low, width, levels = options["series"]
    assert (line["connectNulls"], options["legend"]["show"]) == (False, False)
    assert ["symbol" in point for point in line["data"]] == [True, False, False, False, False]
    assert ([at for _, at in low["data"]], [wide for _, wide in width["data"]]) == (
        [4.0, None, None, 5.0, 5.0],
        [3.0, None, None, 3.5, 3.5],
    )
    assert [(mark["xAxis"], mark["lineStyle"]["width"]) for mark in levels["markLine"]["data"]] == [(10, 0), (20, 1)]
    assert [[end["xAxis"] for end in gap] for gap in levels["markArea"]["data"]] == [[10, 30]]
    assert len(explore_options(found, [(name, points)] * 2, TimeRange(0, 50), TimeRange(0, 50))["series"]) == 3


def test_groups_have_names() -> None:
    """A line for each group; a missing value is NULL."""
    found = Fetched(
        columns=("ts", "x", "y", "n", "level"),
        rows=((from_ms(0), None, "a", 1, "1h"), (from_ms(0), "b", "c", 2, "1h")),
        keys=2,
        step=Interval(10),
        start=0,
        end=10,
        stretches=(),
    )
    assert [name for name, _ in lines_of(found)] == ["NULL, a", "b, c"]


@pytest.mark.slow("a rollup, and its charts in a browser")
@long_on_cratedb
@pytest.mark.long("make test proves it by HTTP, and drives the main path of the page in a browser")
def test_chart_shows_what_fetch_says(each_pages: PagesInBrowser) -> None:
    """Old hours come from the level, recent ones from the raw rows; the chart has exactly these numbers."""
    pages = each_pages
    page = pages.log_in("viewer", path(pages, metric="temperature", **OLD))
    said(page, f"1 point per hour, from {pages.db.schema}.weather_1h.")
    wanted = ("temperature:avg", "temperature:min", "temperature:max")
    expected = fetch(pages, OLD, "1h", metrics=wanted)
    assert len(expected) == 24
    assert series(page) == {"temperature_avg": [[ms(r[0]), r[1], r[4], r[2], r[3]] for r in expected]}

    pages.go(page, path(pages, metric="temperature", aggregate="max", by="place", **RECENT))
    said(page, "from the raw rows.")
    lines = series(page)
    assert set(lines) == set(PLACES)
    known = {name: [point[:3] for point in points if point[1] is not None] for name, points in lines.items()}
    rows = fetch(pages, RECENT, "2m", metrics=("temperature:max",), by=("place",))
    assert known == {
        place: [[ms(r[0]), r[2], r[3]] for r in rows if r[1] == place and r[2] is not None] for place in PLACES
    }
    assert all(any(value is None for _, value, *_ in points) for points in lines.values())  # Gaps are gaps.

    # Values are suggested, and a filter is a filter.
    field = page.get_by_label("Only where place is")
    field.focus()
    expect(page.locator("datalist option")).to_have_count(2)
    field.fill("oslo")
    expect(page.get_by_role("img", name="Chart of")).to_be_visible()
    page.wait_for_url("**where.place=oslo**")
    expect(page.get_by_text("lisbon")).to_have_count(0)


@pytest.mark.long("make test proves which level is read in tests/engines/test_fetch.py")
def test_zooming_changes_the_level(pages: PagesInBrowser) -> None:
    """The closer one looks, the finer it is; the address goes with it, and opens the same again."""
    page = pages.log_in("acme-viewer", path(pages))
    said(page, f"from {pages.db.schema}.weather_1h")
    expect(page.get_by_role("status")).to_contain_text("1 point per hour")
    while "raw rows" not in (page.get_by_role("status").text_content() or "").split(";")[0]:
        pressed(page, "Later")
        pressed(page, "Zoom in")
    words = page.get_by_role("status").text_content() or ""
    query = parse_qs(urlparse(page.url).query)
    assert set(query) == {"table", "from", "until"}
    pages.go(page, page.url.removeprefix(pages.address))
    said(page, words)
    before = page.url
    page.locator(".explore-chart").hover(position={"x": 500, "y": 150})
    page.mouse.wheel(0, 400)
    page.wait_for_url(lambda url: url != before)
    page.get_by_role("button", name="Everything").click()
    said(page, "1 point per hour")
    page.get_by_role("button", name="Last day").click()
    said(page, "from the raw rows")
    page.get_by_label("From (UTC)").fill("2024-06-05")
    page.get_by_label("Until (UTC)").fill("2024-06-05T12:00")
    page.get_by_role("button", name="Show").click()
    said(page, f"1 point per hour, from {pages.db.schema}.weather_1h.")


def lines(elements: PageElements) -> dict[str, list[Any]]:
    """The lines that the chart would draw, by name: the instants of their values."""
    options = elements.find(ui.echart, "").options
    found = (one for one in options["series"] if str(one["id"]).startswith("line"))
    return {one["name"]: [point["value"][0] for point in one["data"] if point["value"][1]] for one in found}


def test_each_choice_is_heeded(elements: PageElements, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is chosen on the page is what is drawn; what one choice makes senseless goes with it."""

    async def width(*args: object, **more: object) -> int:
        return 600

    monkeypatch.setattr(ui, "run_javascript", width)
    asked = {"table": "lab.weather", "metric": "temperature", "aggregate": "max", **OLD}
    elements.open(explore.show, urlencode(asked))
    assert list(lines(elements)) == ["temperature_max"]
    elements.fill("Metric", "row_count")
    assert (list(lines(elements)), elements.find(ui.select, "Aggregate")) == (["row_count"], None)
    elements.fill("Metric", "temperature")
    assert (list(lines(elements)), elements.find(ui.select, "Aggregate").value) == (["temperature_avg"], "avg")
    elements.fill("Aggregate", "min")
    elements.fill("A line for each", ["place"])
    found = lines(elements)
    assert (set(found), {len(times) for times in found.values()}) == (set(PLACES), {24})
    elements.fill("Only where place is", "oslo")
    assert set(lines(elements)) == {"oslo"}

    start, end = (elements.find(ui.input, label) for label in ("From (UTC)", "Until (UTC)"))
    assert (start.value, end.value) == (OLD["from"], OLD["until"])
    elements.fill("", "week", ui.toggle)
    [times] = lines(elements).values()
    assert (start.value, end.value, times[-1] - times[0] > 86_400_000) == ("", "", True)
    elements.fill("From (UTC)", "2024-06-05")
    elements.fill("Until (UTC)", "2024-06-05T12:00")
    elements.press("Show")
    [times] = lines(elements).values()
    hours = [ms(dt.datetime(2024, 6, 5, hour, tzinfo=dt.UTC)) for hour in range(12)]
    assert (times, elements.find(ui.toggle, "").value) == (hours, None)
    for label in ("From (UTC)", "Until (UTC)"):
        elements.fill(label, "")
    elements.press("Show")
    assert elements.find(ui.toggle, "").value == "everything"


def test_numbers_and_groups(elements: PageElements, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each number is in the table and sorts as one; what is more than a page can show is said."""

    async def width(*args: object, **more: object) -> int:
        return 600

    monkeypatch.setattr(ui, "run_javascript", width)
    monkeypatch.setattr(explore, "MOST_ROWS", 47)
    monkeypatch.setattr(explore, "MOST_LINES", 1)
    asked = {"table": "lab.weather", "metric": "temperature", "aggregate": "max", "by": "place", **OLD}
    elements.open(explore.show, urlencode(asked))
    elements.fill("The numbers as a table", True)
    rows = elements.rows("The numbers of the chart")
    assert (len(rows), rows[0][:2], rows[1][1], rows[0][3]) == (47, ["2024-06-05 00:00:00", "lisbon"], "oslo", "1h")
    assert "The first 47 of 48 rows; the download has all." in elements.texts
    assert "2 groups; the first 1 are drawn. Choose values above to see others." in elements.texts
    sent = elements.find(ui.table, "The numbers of the chart").rows[0]
    assert f"{sent['c2']:,.6g}" == rows[0][2]
    [line, _] = elements.find(ui.echart, "").options["series"]
    assert line["name"] == "lisbon"
    elements.open(explore.show, urlencode({**asked, "where.place": "oslo"}))
    elements.fill("The numbers as a table", True)
    assert {row[1] for row in elements.rows("The numbers of the chart")} == {"oslo"}
    elements.open(explore.show, urlencode({**asked, "by": "", "from": "2024-06-30", "until": RECENT["until"]}))
    elements.fill("The numbers as a table", True)
    assert elements.rows("The numbers of the chart")[0][0].startswith("2024-06-30 00:1")
    assert "The first 47 of 48 rows; the download has all." in elements.texts


def test_scripts_of_charts_write_text() -> None:
    """What is from the database is text in tooltips as well, never markup."""
    for name in STATIC.glob("*.js"):
        assert not re.search("innerHTML|outerHTML|insertAdjacentHTML|document.write", name.read_text())


@pytest.mark.long("make test compares the chart with fetch")
def test_numbers_as_table_and_file(pages: PagesInBrowser) -> None:
    """The same numbers stand in a table, and in a file."""
    page = pages.log_in("viewer", path(pages, metric="temperature", aggregate="sum", **OLD), NARROW, dark=True)
    said(page, "1 point per hour")
    rows = fetch(pages, OLD, "1h", metrics=("temperature:sum",))
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines == ["ts,temperature_sum,level", *(f"{r[0].isoformat()},{r[1]},{r[2]}" for r in rows)]
    page.get_by_role("button", name="The numbers as a table").click()
    expect(page.get_by_role("cell", name="2024-06-05 07:00:00")).to_have_count(1)
    assert page.locator("table tbody tr").count() == len(rows)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW[0]


def test_others_see_nothing(pages: PagesInBrowser) -> None:
    """A tenant sees no cascade of another one, neither as a choice nor by its address."""
    page = pages.log_in("globex", path(pages, metric="temperature"))
    expect(page.get_by_role("alert")).to_contain_text("is not there, or not yours to see")
    expect(page.get_by_text("temperature")).to_have_count(0)
    expect(page.locator(".explore-chart")).to_have_count(0)


@pytest.mark.long("six addresses; make test proves these messages in tests/cli and by HTTP")
def test_nonsense_is_told_in_words(pages: PagesInBrowser) -> None:
    """What makes no sense in an address is said, as text."""
    page = pages.log_in("viewer", f"/ui/explore?{urlencode({'table': HOSTILE})}")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(f"table {HOSTILE}: is not there, or not yours to see")
    page.get_by_label("Table", exact=True).click()
    page.get_by_role("option", name=f"{pages.db.schema}.weather").click()
    said(page, "1 point per")
    assert urlparse(page.url).path == "/ui/explore"
    for query, reason in (
        ({"metric": HOSTILE}, "not found"),
        ({"metric": "temperature", "aggregate": HOSTILE}, "unknown aggregate"),
        ({"by": HOSTILE}, "not a dimension of the cascade"),
        ({"where.<img src=x onerror=alert(1)>": HOSTILE}, "not a dimension of the cascade"),
        ({"range": HOSTILE}, "is unknown"),
        ({"from": HOSTILE}, "not an ISO 8601 date and time"),
        ({"from": "2024-06-02", "until": "2024-06-01"}, "its end is not after its beginning"),
    ):
        pages.go(page, path(pages, **query))
        expect(alert).to_contain_text(reason)
        expect(page.locator(".explore-chart")).not_to_be_visible()
    pages.go(page, path(pages, **{"where.place": HOSTILE}))
    expect(page.get_by_text("There is no data in this time range.")).to_be_visible()
    expect(page.get_by_label("Only where place is")).to_have_value(HOSTILE)
