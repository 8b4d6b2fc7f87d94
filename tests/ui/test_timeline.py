"""The timeline of a table, as people see and use it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from nicegui import ui
from playwright.sync_api import Page, expect

from cratedb_retention.model.overview import Lane, Span, State
from cratedb_retention.model.time import TimeRange, parse_instant
from cratedb_retention.ui.links import timeline as href
from cratedb_retention.ui.overview import timeline
from cratedb_retention.ui.overview.timeline import _bars, _reasons, _rows, _unplaced, _what
from support.databases import MONTH, TIME
from support.elements import PageElements
from support.pages import NARROW, PagesInBrowser, long_on_cratedb
from support.sample_data import HOSTILE, HOSTILE_TABLE


def rows(page: Page, caption: str) -> list[list[str]]:
    """The cells of a table by its name."""
    body = page.get_by_label(caption, exact=True).locator("tbody tr")
    return [row.locator("td").all_inner_texts() for row in body.all()]


@pytest.mark.slow("many clicks in a browser")
@long_on_cratedb
def test_main_path(each_pages: PagesInBrowser) -> None:
    """What is there, what was archived and rolled up, what the next run does: in the picture and in tables."""
    pages, schema = each_pages, each_pages.db.schema
    page = pages.log_in("viewer", href(schema, "orders"))
    picture = page.get_by_role("img", name="Timeline of the table")
    expect(picture.locator("svg")).to_be_visible()
    for text in ("Data in the table", "Archived", "archive and drop after 60d (orders)", "now"):
        expect(picture.locator("svg text", has_text=re.compile(f"^{re.escape(text)}$")).first).to_be_attached()
    states = [row[2] for row in rows(page, "What is there, by time")]
    assert states[0].endswith("will be archived, then dropped")
    assert any("archived, data dropped" in state for state in states)
    [change] = rows(page, "What the next run does")
    assert "archive partition" in change[2]
    assert page.get_by_role("link", name="orders").first.get_attribute("href") == "/ui/policies/orders"

    pages.go(page, href(schema, "weather"))
    expect(picture.locator("svg text", has_text="Rollup 1h")).to_be_attached()
    expect(page.get_by_text("Rollup 1h: Computed up to 2024-07-01, sealed up to 2024-06-17.")).to_be_visible()
    assert any("roll up 1 window" in row[2] for row in rows(page, "What the next run does"))
    pages.go(page, href(schema, "weather_1h"))
    page.get_by_role("link", name=f"{schema}.weather", exact=True).click()
    pages.there(page)
    expect(page.get_by_text("Rollup 1d: Computed")).to_be_visible()

    pages.go(page, href(schema, "letters"))
    [blocked] = rows(page, "Blocked: due, but must not happen now")
    assert "case 7/2024" in blocked[3]
    expect(page.get_by_label("Holds on this table")).to_contain_text("case 7/2024")


def test_limits_in_the_picture(elements: PageElements) -> None:
    """Times are in UTC; a disabled policy draws no limit, and is called disabled."""
    for name, limits in (("visits", ["delete after 90d (visits)", "now"]), ("logs", ["now"])):
        elements.open(timeline.show, f"schema=lab&name={name}")
        options = elements.find(ui.echart, "").options
        assert options["useUTC"]
        [marks] = [each["data"] for each in options["series"] if each["name"] == "marks"]
        assert [text for _, _, text, _ in marks] == limits
        [policy] = elements.rows("Policies on this table")
        assert (policy[3] == "disabled") is (name == "logs")
        ages = [["all", "hot until 90d -> gone"]] if name == "visits" else []
        assert elements.rows("As data ages") == ages


def test_spans_in_words() -> None:
    """No bar hides another; what is unknown, left out or with gaps is said."""
    spans = [Span(time=TimeRange(*time), state=State.DROP, first="a") for time in ((0, 10), (5, 15), (10, 20))]
    bars = _bars(2, Lane(title="x", spans=tuple(spans)))
    assert [bar["value"][:5] for bar in bars] == [[0, 10, 2, 0, 2], [5, 15, 2, 1, 2], [10, 20, 2, 0, 2]]
    many = replace(spans[0], count=3, last="c", gaps=True, rows=1200, unknown=2, reasons=("held",), more=2)
    assert _what(many) == "3: a to c, with gaps"
    assert (_rows(many), _rows(spans[0])) == ("1,200 and unknown in 2", "unknown")
    assert _reasons(many) == "held; and 2 more reasons"
    assert _unplaced([spans[0]] * 10).endswith(": " + ", ".join("a" * 10) + ".")
    assert _unplaced([many] * 11).endswith(" and 1 more. held.")


@pytest.mark.long("make test proves keyboard and names in test_accessibility.py")
def test_pointing_and_keys(pages: PagesInBrowser) -> None:
    """Pointing at a bar gives its numbers; buttons that a keyboard reaches zoom, and the table can be sorted."""
    page = pages.log_in("viewer", href(pages.db.schema, "visits"))
    svg = page.get_by_role("img", name="Timeline of the table").locator("svg")
    svg.locator("text", has_text="drop").first.wait_for(state="attached")
    spot = svg.locator("text", has_text=re.compile("^drop$")).first.bounding_box()
    assert spot is not None
    page.mouse.move(spot["x"] + 3, spot["y"] + spot["height"] / 2)
    tip = page.locator(".timeline-tip")
    expect(tip).to_contain_text("month=2024-03-01")
    expect(tip).to_contain_text("will be dropped")
    before = svg.text_content() or ""
    button = page.get_by_role("button", name="Show what the next run changes")
    button.focus()
    page.keyboard.press("Enter")
    expect(svg).not_to_have_text(before)
    page.get_by_role("button", name="Show all").press("Enter")
    expect(svg).to_have_text(before)
    header = page.get_by_label("What is there, by time").locator("th", has_text="Time")
    header.click()
    header.click()
    expect(page.get_by_label("What is there, by time").locator("tbody tr").first).to_contain_text("up to date")


def test_tenants(pages: PagesInBrowser) -> None:
    """A tenant sees the tables of their policies, and of one that is shared their part; nothing else exists."""
    db = pages.db
    db.create("shared", {"ts": TIME, "n": "TEXT", "tenant": "TEXT", "month": MONTH}, by=["month", "tenant"])
    for tenant in ("acme", "globex"):
        db.fill("shared", ["2024-01-10", "2024-06-10"], tenant=tenant)
        db.policy("delete", "shared", "30d", id=f"{tenant}-shared", where={"tenant": tenant}, tags=[tenant])
    db.tool.hold("shared", db.schema, where={"tenant": "globex"}, reason="case globex", end=parse_instant("2024-02-01"))
    page = pages.log_in("acme", href(db.schema, "shared"))
    expect(page.get_by_text("Other users share this table")).to_be_visible()
    expect(page.get_by_text("Data in the table: 2 partitions.")).to_be_visible()
    expect(page.get_by_label("What the next run does")).to_contain_text("drop partition month=2024-01-01")
    assert "globex" not in page.content()
    pages.go(page, href(db.schema, "weather_1h"))
    expect(page.get_by_text("Rollup 1d: Computed")).to_be_visible()
    for name in ("orders", "nothing_at_all"):
        pages.go(page, href(db.schema, name))
        expect(page.get_by_role("alert")).to_contain_text("no policy with the tags of this token covers it")
    other = pages.log_in("globex", href(db.schema, "shared"))
    expect(other.get_by_label("Blocked: due, but must not happen now")).to_contain_text("case globex")
    assert "acme" not in other.content()


@pytest.mark.long("make test proves that names stay text in the editor and the archive")
def test_names_and_strange_tables(pages: PagesInBrowser) -> None:
    """Names stay text; a table without partitions, and one that is not there, say so in words; small and dark works."""
    db = pages.db
    page = pages.log_in("admin", href(db.schema, HOSTILE_TABLE), size=NARROW, dark=True)
    expect(page.get_by_text(f"{db.schema}.{HOSTILE_TABLE}", exact=True)).to_be_visible()
    db.create("a/b c", {"ts": TIME, "n": "TEXT", HOSTILE: "TEXT", "month": MONTH}, by=[HOSTILE, "month"])
    db.insert("a/b c", [{"ts": day, "n": day, HOSTILE: HOSTILE} for day in ("2024-01-10", "2024-06-10")])
    db.policy("delete", "a/b c", "30d")
    pages.go(page, href(db.schema, "a/b c"))
    expect(page.get_by_label("What is there, by time")).to_contain_text(f"{HOSTILE}={HOSTILE}")
    svg = page.get_by_role("img", name="Timeline of the table").locator("svg")
    spot = svg.locator("text", has_text=re.compile("^drop$|^up to date$")).first
    spot.hover(force=True)
    expect(page.locator(".timeline-tip")).to_contain_text(HOSTILE)
    assert page.locator(".timeline-tip script").count() == 0
    db.create("flat", {"ts": TIME, "n": "TEXT"})
    db.fill("flat", ["2024-01-10", "2024-06-10"])
    db.policy("delete", "flat", "30d", id="flat")
    pages.go(page, href(db.schema, "flat"))
    expect(page.get_by_text("deleted row by row. It has 2 rows.")).to_be_visible()
    assert "delete rows with ts before" in rows(page, "What the next run does")[0][2]
    pages.go(page, href(db.schema, "nowhere"))
    expect(page.get_by_text("The table does not exist now.")).to_be_visible()
    pages.go(page, href(db.schema, "never"))
    expect(page.get_by_role("alert")).to_contain_text("does not exist")
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW[0]
