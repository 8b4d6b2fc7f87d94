"""Explore, by HTTP: the chart shows what `fetch` returns, as fine as what is kept of the time range that is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode, urlparse

import pytest
from playwright.sync_api import expect

from cratedb_retention.model.access import Role
from cratedb_retention.model.query.reading import FetchRequest, Fill
from cratedb_retention.model.words import exact
from cratedb_retention.ui import query as explore
from cratedb_retention.ui.web import charts, parts
from support.databases import Database, DuckDatabase
from support.pages import PagesInBrowser
from support.sample_data import HOSTILE, PLACES
from support.served import Served, Service, Visitor

RECENT = {"from": "2024-07-01T00:00:00Z", "until": "2024-07-02T00:00:00Z"}
OLD = {"from": "2024-06-05T00:00:00Z", "until": "2024-06-06T00:00:00Z"}
VALUES = "The values of the chart"


@pytest.fixture
def viewer(service: Service) -> Visitor:
    return service.log_in(Role.VIEWER)


def path(db: Database, page: str = "/ui/explore", **query: str) -> str:
    """The page of the table with rollups."""
    return f"{page}?{urlencode({'table': f'{db.schema}.weather', **query})}"


def fetch(db: Database, period: Mapping[str, str], step: str, **more: Any) -> list[tuple[Any, ...]]:
    """What the toolkit returns, without empty buckets."""
    moment, end = db.time.moment, period["until"]
    request = FetchRequest.of_texts(
        moment, period["from"], end, step, None, table_name="weather", table_schema=db.schema, fill=Fill.NULL, **more
    )
    return [row for row in db.tool.fetch(request).rows if row[-1] is not None]


def hints(page: Served) -> list[list[str]]:
    """What is shown on pointing at each bucket with data, in order of time."""
    found = [each.get("data-tip", "").split("\n") for each in page.all("rect[@class='hint']")]
    return [lines for lines in found if lines[-1].startswith("from ")]


def said(page: Served) -> str:
    return page.texts("p[@role='status']")[0]


def test_chart_shows_what_fetch_returns(db: DuckDatabase, viewer: Visitor) -> None:
    """Old hours come from the level, recent ones from the raw rows; chart, table and file have exactly these values."""
    old = viewer.get(path(db, metric="temperature", **OLD))
    assert said(old) == f"1 point per hour, from {db.schema}.weather_1h."
    rows = fetch(db, OLD, "1h", metrics=("temperature:avg", "temperature:min", "temperature:max"))
    assert len(rows) == 24
    texts = [[exact(row[0]), *map(charts.number, row[1:4]), row[4]] for row in rows]
    assert [list(row.values()) for row in old.rows(VALUES)] == texts
    assert hints(old) == [
        [f"{time} UTC", f"temperature_avg: {value} ({low} to {high})", f"from {level}"]
        for time, value, low, high, level in texts
    ]
    file = viewer.client.get(old.links["Download CSV"])
    assert file.headers["content-type"] == "text/csv; charset=utf-8"
    assert "weather.csv" in file.headers["content-disposition"]
    lines = file.text.splitlines()
    assert lines[0] == "ts,temperature_avg,temperature_min,temperature_max,level"
    assert lines[1:] == [",".join([row[0].isoformat(), *map(str, row[1:])]) for row in rows]

    recent = viewer.get(path(db, metric="temperature:max", by="place", step="2m", **RECENT))
    assert said(recent).endswith("from the raw rows.")
    assert recent.texts("ul[@class='names']/li") == list(PLACES)
    rows = fetch(db, RECENT, "2m", metrics=("temperature:max",), by=("place",))
    assert len(rows) == 48
    assert sorted((time, line) for time, *more, _ in hints(recent) for line in more if "no data" not in line) == sorted(
        (f"{exact(row[0])} UTC", f"{row[1]}: {charts.number(row[2])}") for row in rows
    )
    assert len(recent.all("path[@class='dots series-1']")) == 1  # An hour apart, with gaps between them.
    assert not recent.all("path[@class='curve series-1']")
    automatic = viewer.get(path(db, metric="temperature:max", **RECENT))
    assert said(automatic) == "1 point per 5 minutes, from the raw rows."


def test_each_choice_counts(db: DuckDatabase, viewer: Visitor) -> None:
    """What is chosen is what is shown and what the form has; each choice stands in the address, with the others."""
    page = viewer.get(path(db, metric="temperature:max", by="place", **{"where.place": "oslo"}, **OLD))
    chosen = {each.get("value") for each in page.all("option") if each.get("selected") is not None}
    assert chosen == {f"{db.schema}.weather", "temperature:max", ""}
    fields = {each.get("name"): each.get("value") for each in page.all("input")}
    assert {**fields, "where.place": "oslo", "by": "place", "table": f"{db.schema}.weather", **OLD} == fields
    [other] = page.all("form[@aria-label='Table']")
    assert {each.get("name"): each.get("value") for each in other.iter("input")} == OLD, "of the same time"
    assert {row["place"] for row in page.rows(VALUES)} == {"oslo"}
    query = parse_qs(urlparse(page.href("By place")).query)
    assert set(query) == {"table", "metric", "where.place", "from", "until"}
    merged = viewer.get(page.href("By place"))
    assert "place" not in merged.rows(VALUES)[0]
    assert parse_qs(urlparse(merged.href("By place")).query)["by"] == ["place"]
    week = viewer.get(page.href("Last week"))
    assert {"range", "by", "metric"} <= set(parse_qs(urlparse(page.href("Last week")).query))
    assert week.rows(VALUES)[0]["ts (UTC)"] >= "2024-06-25"
    assert {each.get("value") for each in week.all("input[@name='from']")} == {""}
    both = viewer.get(path(db, range="week", **OLD))
    assert {row["ts (UTC)"][:10] for row in both.rows(VALUES)} == {"2024-06-05"}
    assert viewer.get(path(db, metric="row_count", **OLD)).rows(VALUES)[0]["row_count"] == "2"
    days = viewer.get(path(db, step="1d", **OLD))
    assert [row["ts (UTC)"] for row in days.rows(VALUES)] == ["2024-06-05 00:00:00"]
    offered = [each.get("value") for each in days.all("select[@name='step']/option")]
    assert offered == ["", "1h", "1d"]
    values = viewer.get(days.all("input[@name='where.place']")[0].get("data-suggest", ""))
    assert [each.get("value") for each in values.root.iter("option")] == list(PLACES)


def test_zooming_changes_the_level(db: DuckDatabase, service: Service) -> None:
    """The closer the time range, the finer the chart; a link leads there, and its address shows the same again."""
    viewer = service.log_in(Role.VIEWER, "acme")
    page = viewer.get(path(db))
    everything = said(page)
    assert f"1 point per 3 hours, from {db.schema}.weather_1h" in everything
    assert not {"Earlier", "Later", "Zoom out"} & set(page.links)
    href = ""
    while "raw rows" not in said(page).split(";")[0]:
        for step in ("Zoom in", "Later"):  # Which leads to the end.
            href = page.href(step)
            page = viewer.get(href)
    assert set(parse_qs(urlparse(href).query)) == {"table", "from", "until"}
    assert viewer.get(href).markup == page.markup
    wide = viewer.get(page.href("Zoom out"))
    assert len(wide.rows(VALUES)) >= len(page.rows(VALUES))
    assert said(viewer.get(page.href("Everything"))) == everything


def test_everything_is_where_data_is(db: DuckDatabase, service: Service) -> None:
    """Years after the last data, the chart of everything shows the time of the data, and as much of it as before."""
    db.time.set("2034-07-02T12:00:00+00:00")
    viewer = service.log_in(Role.VIEWER)
    page = viewer.get(path(db))
    assert "1 point per 8 hours" in said(page)
    assert {row["ts (UTC)"][:7] for row in page.rows(VALUES)} == {"2024-06"}
    assert parse_qs(urlparse(page.href("Zoom in")).query)["from"][0].startswith("2024-")
    recent = viewer.get(page.href("Last year"))
    assert "There is no data in this time range." in recent.text
    assert not recent.all("svg[@role='img']")


def test_tables_without_rollups(db: DuckDatabase, viewer: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """All tables are offered, those with rollups first; one without metrics shows its number of rows."""
    page = viewer.get("/ui/explore")
    offered = [row["Table"] for row in page.rows("Tables that can be explored")]
    assert offered[0] == f"{db.schema}.weather"
    assert f"{db.schema}.visits" in offered
    visits = viewer.get(page.href(f"{db.schema}.visits"))
    assert sum(int(row["row_count"]) for row in visits.rows(VALUES)) == 11
    assert visits.href(f"{db.schema}.visits").startswith("/ui/tables/")
    other = visits.all("select[@name='table']/option")
    assert [each.get("value") for each in other] == offered
    monkeypatch.setattr(parts, "ROWS", 2)
    first = viewer.get("/ui/explore")
    second = viewer.get(first.href("Next"))
    assert [row["Table"] for page in (first, second) for row in page.rows("Tables that can be explored")] == offered[:4]


def test_many_values(db: DuckDatabase, viewer: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table has parts, and is sorted by value; what is more than colours can tell apart is said."""
    monkeypatch.setattr(parts, "ROWS", 30)
    monkeypatch.setattr(explore, "MOST_LINES", 1)
    page = viewer.get(path(db, metric="temperature:max", by="place", **OLD))
    assert "2 groups; the first 1 are drawn." in page.text
    assert page.texts("ul[@class='names']/li") == ["lisbon"]
    assert "1 to 30 of 48 rows" in page.text
    rest = viewer.get(page.href("Next"))
    assert (len(page.rows(VALUES)), len(rest.rows(VALUES))) == (30, 18)
    found = [(each["ts (UTC)"], each["place"]) for each in (*page.rows(VALUES), *rest.rows(VALUES))]
    assert len(set(found)) == 48
    assert "Next" not in rest.links
    first = viewer.get(page.href("temperature_max"))
    both = [*first.rows(VALUES), *viewer.get(first.href("Next")).rows(VALUES)]
    assert [float(row["temperature_max"]) for row in both] == sorted(float(row["temperature_max"]) for row in both)
    rising = viewer.get(viewer.get(path(db, metric="temperature:sum", by="place", step="1mo")).href("temperature_sum"))
    for shown, reverse in ((rising, False), (viewer.get(rising.href("temperature_sum")), True)):
        numbers = [float(row["temperature_sum"].replace(",", "")) for row in shown.rows(VALUES)]
        assert numbers == sorted(numbers, reverse=reverse)
        assert (max(numbers) > 10_000, min(numbers) < 1_000) == (True, True)


def test_tenants_see_their_own(db: DuckDatabase, service: Service) -> None:
    """A tenant sees no table of another one, neither as a choice, nor by its address, nor as a file."""
    globex = service.log_in(Role.VIEWER, "globex")
    page = globex.get(path(db, metric="temperature"))
    assert page.status == 404
    assert "not visible to you" in page.texts("div[@role='alert']")[0]
    assert "temperature" not in page.text
    assert f"{db.schema}.weather" not in {each.get("value") for each in page.all("option")}
    for other in ("/ui/explore.csv", "/ui/explore/values"):
        refused = globex.get(path(db, other, of="place"))
        assert (refused.status, "lisbon" in refused.markup) == (404, False)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"metric": HOSTILE}, "not found"),
        ({"metric": f"temperature:{HOSTILE}"}, "unknown aggregate"),
        ({"by": HOSTILE}, "not a dimension of the cascade"),
        ({"where.<img src=x onerror=alert(1)>": HOSTILE}, "not a dimension of the cascade"),
        ({"range": HOSTILE}, "unknown"),
        ({"from": HOSTILE}, "not an ISO 8601 date and time"),
        ({"from": "2024-06-02", "until": "2024-06-01"}, "its end is not after its start"),
        ({"step": HOSTILE}, "invalid"),
        ({"step": "1s"}, "gives 3,153,600 points"),
    ],
)
@pytest.mark.some(4)
def test_nonsense(db: DuckDatabase, viewer: Visitor, query: dict[str, str], reason: str) -> None:
    """What makes no sense in an address is said, as text; the choices are there to correct it."""
    page = viewer.get(path(db, **query))
    assert reason in page.texts("div[@role='alert']")[0]
    assert not page.all("svg[@role='img']") + page.all("table")
    assert page.all("select[@name='metric']")
    assert not re.search("<script>alert|<img", page.markup)
    assert viewer.get(path(db, "/ui/explore.csv", **query)).status == 422


def test_what_is_not_there(db: DuckDatabase, viewer: Visitor) -> None:
    """A value that no row has gives no chart; a table that does not exist is said to, beside those that do."""
    page = viewer.get(path(db, **{"where.place": HOSTILE}))
    assert "There is no data in this time range." in page.text
    assert [each.get("value") for each in page.all("input[@name='where.place']")] == [HOSTILE]
    unknown = viewer.get(f"/ui/explore?{urlencode({'table': HOSTILE})}")
    assert (unknown.status, f"Table {HOSTILE}" in unknown.texts("div[@role='alert']")[0]) == (404, True)
    assert "<script>alert" not in page.markup + unknown.markup
    assert f"{db.schema}.weather" in unknown.links


def test_explore_in_a_browser(pages: PagesInBrowser) -> None:
    """Pointing shows values, dragging zooms, a choice counts at once, and values of dimensions are offered."""
    page = pages.log_in("viewer", path(pages.db, metric="temperature:avg", **OLD))
    page.evaluate("window.here = 1")
    chart = page.get_by_role("img", name="Chart of temperature_avg.")
    chart.locator(".hint").nth(12).hover()
    expect(page.locator(".tip")).to_contain_text("2024-06-05 12:00:00 UTC")
    expect(page.locator(".tip")).to_contain_text("temperature_avg: ")
    box = chart.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.25, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, middle, steps=4)
    page.mouse.up()
    expect(page.get_by_label("From (UTC)")).to_have_value(re.compile(r"2024-06-05T0[56]:\d\dZ"))
    expect(page.locator(".hint")).not_to_have_count(24)
    page.get_by_role("combobox", name="Metric").select_option("temperature:max")
    expect(page.get_by_role("img", name="Chart of temperature_max.")).to_be_visible()
    assert {"metric", "from", "until"} <= set(parse_qs(urlparse(page.url).query))
    page.get_by_label("Only where place is").focus()
    expect(page.locator("datalist option")).to_have_count(2)
    assert page.evaluate("window.here") == 1
    page.get_by_role("combobox", name="Table").select_option(f"{pages.db.schema}.visits")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Explore {pages.db.schema}.visits")
    assert page.evaluate("window.here") == 1
