"""The page of holds: what is held, placing and releasing."""

from __future__ import annotations

import pytest
from nicegui import ui
from playwright.sync_api import Page, expect

from cratedb_retention.errors import Forbidden, InvalidInput, NotFound
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.holds import hold_scope
from cratedb_retention.model.policies.tags import parse_tag_filter
from cratedb_retention.model.time import from_ms, parse_instant, to_ms
from cratedb_retention.service.access import Scope
from cratedb_retention.ui import holds
from cratedb_retention.ui.holds import read_wish
from support.databases import Database
from support.elements import PageElements
from support.pages import PagesInBrowser, long_on_cratedb
from support.sample_data import HOSTILE, HOSTILE_TABLE

EMPTY = dict.fromkeys(("schema", "table", "where", "from", "until", "reason"), "")


def due(db: Database, table: str) -> int:
    """How many partitions of a table the next run would take."""
    return sum(task.partitions or 0 for task in db.tool.plan().tasks if task.table.name == table)


def place(page: Page, **given: str) -> None:
    """Fill the form and press its button."""
    labels = {"table": "Table", "schema": "Schema", "start": "From", "until": "Until", "reason": "Reason"}
    for name, text in given.items():
        page.get_by_label(labels.get(name, "Only with these values"), exact=True).fill(text)
    page.get_by_role("button", name="Place the hold").click()


@pytest.mark.slow("many clicks in a browser")
@long_on_cratedb
def test_main_path(each_pages: PagesInBrowser) -> None:
    """A hold that was placed changes the plan; released, it does so again."""
    db = each_pages.db
    assert due(db, "visits") == 1
    page = each_pages.log_in("operator", "/ui/holds")
    expect(page.get_by_text("case 7/2024")).to_be_visible()
    page.get_by_label("Table", exact=True).fill("visits")
    page.get_by_label("Schema", exact=True).fill(db.schema)
    expect(page.get_by_text(f"Held: all of {db.schema}.visits. Nothing there is ever expired")).to_be_visible()
    page.get_by_label("Until", exact=True).fill("2024-04-01")
    place(page, reason=HOSTILE)
    listed = page.get_by_role("listitem").filter(has_text=HOSTILE)
    expect(listed).to_contain_text(f"{db.schema}.visits, before 2024-04-01")
    expect(listed).to_contain_text("2024-07-02 12:00 by operator")
    assert due(db, "visits") == 0
    name = f"{db.schema}.visits"
    page.get_by_role("button", name=f"Release the hold on {name}").click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text("the next run would take 1 partition with 1 row more")
    go = question.get_by_role("button", name="Release the hold")
    expect(go).to_be_disabled()
    question.get_by_label(f"Write {name} to go on").fill(name)
    go.click()
    expect(listed).to_have_count(0)
    assert due(db, "visits") == 1
    assert len(db.journal(event="hold-released")) == 1


@pytest.mark.long("make test places a hold on the main path")
def test_form(pages: PagesInBrowser) -> None:
    """What can't be is told and not placed; a hold on nothing is warned of; values narrow it; names stay text."""
    db = pages.db
    page = pages.log_in("operator", "/ui/holds")
    place(page)
    expect(page.get_by_text("the table is missing")).to_be_visible()
    place(page, table="visits", start="soon")
    expect(page.get_by_text("soon").first).to_be_visible()
    place(page, start="2024-02-01", until="2024-01-01")
    expect(page.get_by_role("status").get_by_text("is not after from")).to_be_visible()
    assert len(db.tool.holds()) == 1
    place(page, start="", until="", where=f"n={HOSTILE}\nmonth=2024-01-01", schema=db.schema, table=HOSTILE_TABLE)
    expect(page.get_by_role("listitem").filter(has_text=HOSTILE_TABLE)).to_contain_text(f"n={HOSTILE} and month=")
    place(page, schema=db.schema, table="nothing_*")
    expect(page.get_by_text(f"No table matches {db.schema}.nothing_* at present")).to_be_visible()
    expect(page.get_by_text("no such table now")).to_be_visible()
    assert len(db.tool.holds()) == 3


@pytest.mark.long("make test proves it by HTTP, and drives the main path of the page in a browser")
def test_viewer_and_tenants(pages: PagesInBrowser) -> None:
    """A viewer can't act. A tenant holds and releases only data of theirs."""
    db = pages.db
    foreign = db.tool.hold("orders", db.schema, reason="secret of globex")
    page = pages.log_in("viewer", "/ui/holds")
    expect(page.get_by_text("secret of globex")).to_be_visible()
    expect(page.get_by_label("Table", exact=True)).to_have_count(0)
    expect(page.get_by_role("button", name="Release")).to_have_count(0)
    viewer = Scope(db.tool, Access(role=Role.VIEWER, actor="viewer"))
    with pytest.raises(Forbidden):
        viewer.place("visits", db.schema, {}, None, None, "")
    with pytest.raises(Forbidden):
        viewer.release(foreign.id)
    page = pages.log_in("acme", "/ui/holds")
    expect(page.get_by_text("case 7/2024")).to_be_visible()
    expect(page.get_by_text("secret of globex")).to_have_count(0)
    place(page, schema=db.schema, table="orders")
    expect(page.get_by_text("no policy with the tags of this token covers it")).to_be_visible()
    place(page, schema=db.schema, table="visits", reason="mine")
    expect(page.get_by_role("listitem").filter(has_text="mine")).to_be_visible()
    assert len(db.tool.holds()) == 3
    acme = Scope(db.tool, Access(role=Role.EDITOR, actor="acme", limit=parse_tag_filter(["acme"])))
    assert acme.held_tables([foreign]) == {}
    for work in (acme.find_release, acme.release):
        with pytest.raises(NotFound):
            work(foreign.id)


def test_placed_and_released(elements: PageElements) -> None:
    """A hold is placed as it was written, a name without a table is warned of, and a word releases it."""
    tool = elements.db.tool
    elements.open(holds.show)
    before = {hold.id for hold in tool.holds()}
    for label, text in (("Schema", "lab"), ("Table", "visits"), ("From", "2024-01-01"), ("Until", "2024-04-01")):
        elements.fill(label, text)
    elements.fill("Only with these values", "n=x")
    elements.fill("Reason", "case 8")
    elements.press("Place the hold")
    [placed] = [hold for hold in tool.holds() if hold.id not in before]
    assert (placed.table_schema, placed.table_name, placed.where, placed.reason) == (
        "lab",
        "visits",
        {"n": "x"},
        "case 8",
    )
    assert [at and from_ms(at).isoformat()[:10] for at in (placed.start, placed.end)] == ["2024-01-01", "2024-04-01"]
    assert not any("No table matches" in text for text in elements.told)
    assert [elements.find(ui.input, label).value for label in ("Table", "From")] == ["", ""]
    elements.press("Release the hold on lab.visits")
    assert elements.question == "Release this hold?"
    assert not elements.find(ui.button, "Release the hold").enabled
    elements.fill("Write lab.visits to go on", "lab.visits")
    elements.press("Release the hold")
    assert {hold.id for hold in tool.holds()} == before
    assert elements.told[-1] == "The hold on lab.visits is released."
    elements.fill("Table", "nothing_*")
    elements.press("Place the hold")
    assert any("nothing_* at present" in text for text in elements.told)


def test_wishes() -> None:
    """What the form says is read as a whole or not at all."""
    wish = read_wish({**EMPTY, "schema": "doc", "table": " metrics ", "where": "\ntenant=a=b\n x=NULL\n"})
    assert (wish.table_name, wish.where) == ("metrics", {"tenant": "a=b", "x": None})
    assert hold_scope(wish) == "doc.metrics where tenant=a=b and x=NULL"
    whole = {"schema": "", "table": "t", "from": "2024-01-01", "until": "2024-01-02", "reason": "x" * 1000, "where": ""}
    wish = read_wish(whole)
    assert (wish.start, wish.end) == (to_ms(parse_instant("2024-01-01")), to_ms(parse_instant("2024-01-02")))
    assert wish.reason == "x" * 1000
    for wrong in ({"until": "2024-01-01"}, {"table": " "}):
        with pytest.raises(InvalidInput):
            read_wish({**whole, **wrong})
    for wrong in ({"where": "x"}, {"where": "a=1\na=2"}, {"from": "x"}, {"reason": "x" * 1001}, {"reason": "\0"}):
        with pytest.raises(InvalidInput):
            read_wish({**EMPTY, "table": "t", **wrong})
