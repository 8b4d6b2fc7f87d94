"""The page of holds, by HTTP and in a browser: those in force, previewing, placing, releasing and undoing that."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

from cratedb_retention.errors import Forbidden, InvalidInput, NotFound
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.holds import hold_scope
from cratedb_retention.model.policies.tags import parse_tag_filter
from cratedb_retention.model.time import from_ms, parse_instant, to_ms
from cratedb_retention.service.access import Scope
from cratedb_retention.ui import links
from cratedb_retention.ui.holds import read_wish
from cratedb_retention.ui.web import parts
from support.databases import TIME, Database, DuckDatabase
from support.pages import PagesInBrowser
from support.sample_data import HOSTILE, HOSTILE_TABLE
from support.served import Served, Service, Visitor, text_of

PATH, SHOWN = "/ui/holds", "Holds in force"
PLACE, RELEASE = f"{PATH}?place=yes", f"{PATH}?act=release"
EMPTY = dict.fromkeys(("table", "where", "from", "until", "reason"), "")


def due(db: Database, table: str) -> int:
    """How many partitions of a table the next run would take."""
    return sum(task.partitions or 0 for task in db.tool.plan().tasks if task.table.name == table)


def release_all(page: Served) -> str:
    """Where the form of the list leads with all that match."""
    [form] = [each for each in page.all("form") if each.get("data-load") is not None]
    hidden = [
        (each.get("name", ""), each.get("value", "")) for each in form.iter("input") if each.get("type") == "hidden"
    ]
    return f"{form.get('action')}?{urlencode([*hidden, ('all', 'yes'), ('act', 'release')])}"


@pytest.fixture
def operator(service: Service) -> Visitor:
    return service.log_in(Role.OPERATOR)


def test_placed_and_released(db: DuckDatabase, operator: Visitor) -> None:
    """A hold is placed as it was written, after a preview; a word releases it, since data would go; that is undone."""
    tool, before = db.tool, {hold.id for hold in db.tool.holds()}
    given = {"table": f"{db.schema}.visits", "until": "2024-04-01", "where": "month=2024-03-01", "reason": "case 8"}
    page = operator.get(f"{PLACE}&{urlencode({**given, 'from': '2024-01-01', 'place': 'preview'})}")
    assert page.fields("place").items() >= given.items() and f"{db.schema}.visits" in page.markup
    for said in (
        "where month=2024-03-01, from 2024-01-01 on",
        f"Tables now: {db.schema}.visits.",
        "1 partition with 1 row less",
    ):
        assert said in page.text
    assert ({hold.id for hold in tool.holds()}, due(db, "visits")) == (before, 1)
    done = operator.post(PLACE, **given, do="place", from_="2024-01-01")
    [placed] = [hold for hold in tool.holds() if hold.id not in before]
    assert (placed.target, placed.where, placed.reason) == (given["table"], {"month": "2024-03-01"}, "case 8")
    assert [at and from_ms(at).isoformat()[:10] for at in (placed.start, placed.end)] == ["2024-01-01", "2024-04-01"]
    assert due(db, "visits") == 0
    page = operator.get(done.headers["location"])
    assert "The legal hold is in force." in page.text and "No table matches" not in page.text
    [_, row] = page.rows(SHOWN)
    assert (row["Table"], row["Reason"], row["Time (UTC)"]) == (given["table"], "case 8", "2024-01-01 to 2024-04-01")
    assert row["Placed"] == "2024-07-02 12:00 by operator"
    asked = operator.get(page.href("Undo …"))
    assert "the next run would take 1 partition with 1 row more" in asked.text
    assert asked.all("input[@name='confirm']")[0].get("autofocus") is not None
    form = asked.fields("release")
    for confirm in ("", "visits"):
        assert operator.post(RELEASE, **{**form, "confirm": confirm}).fields("release") == form | {"confirm": ""}
    assert due(db, "visits") == 0
    released = operator.post(RELEASE, **{**form, "confirm": given["table"]})
    assert ({hold.id for hold in tool.holds()}, due(db, "visits")) == (before, 1)
    undo = operator.get(released.headers["location"])
    assert "The legal hold is released." in undo.text
    again = operator.post(PATH, **undo.fields("renew"))
    assert "The legal hold is in force again." in operator.get(again.headers["location"]).text
    assert (tool.holds()[-1], due(db, "visits")) == (placed, 0)
    for refused in (operator.post(PATH, **undo.fields("renew")), operator.post(RELEASE, do="release", hold="unknown")):
        assert refused.status == 404
    assert operator.post(PATH, do="something").status == 422


def test_mistakes(db: DuckDatabase, operator: Visitor) -> None:
    """What cannot be is refused beside what was written; a hold on nothing is warned of, before and after."""
    whole = {"do": "place", "table": "visits", "reason": "case 8"}
    for given, text in (
        ({"table": ""}, "no table is named"),
        ({"table": "a.b.c"}, "not of the form"),
        ({"from_": "soon"}, "soon"),
        ({"from_": "2024-02-01", "until": "2024-01-01"}, "is not after from"),
        ({"where": "x"}, "not of the form KEY=VALUE"),
        ({"where": "month="}, "no value is written"),
    ):
        page = operator.post(PLACE, **{**whole, **given})
        assert (page.status, text in page.texts("div[@role='alert']")[0]) == (422, True)
        assert page.fields("place")["reason"] == "case 8"
        preview = operator.get(
            f"{PATH}?{urlencode({name.rstrip('_'): v for name, v in {**whole, **given}.items()})}&place=preview"
        )
        assert text in preview.texts("p[@class='mistake']")[0]
    assert len(db.tool.holds()) == 1
    several = {"from_": "soon", "until": "later", "where": "n=a\nn=b"}
    for page in (
        operator.post(PLACE, **whole, **several),
        operator.post(links.table(TableName(db.schema, "visits"), tab="holds"), do="place", **several),
    ):
        told = {each.get("id"): text_of(each) for each in page.all("p[@class='mistake']")}
        assert list(told) == ["m-from", "m-until", "m-where"], "each mistake stands at its field"
        assert "Instant 'soon': not an ISO 8601" in told["m-from"] and "Values n: given twice" in told["m-where"]
        [box] = page.all("input[@name='from'][@aria-invalid='true']")
        assert (box.get("aria-describedby"), box.get("value")) == ("m-from", "soon")
    nothing = operator.get(f"{PATH}?place=preview&table=nothing_*").text
    unknown = f"{db.tool.default_schema}.nothing_*"
    assert f"No table matches {unknown} at present" in nothing and "Nothing that it covers is due now." in nothing
    done = operator.post(PLACE, do="place", table="nothing_*")
    assert "No table matches" in operator.get(done.headers["location"]).text
    done = operator.post(PLACE, do="place", table=f"{db.schema}.{HOSTILE_TABLE}", where=f"n={HOSTILE}", reason=HOSTILE)
    page = operator.get(done.headers["location"])
    shown = {row["Table"]: (row["Only where"], row["Reason"]) for row in page.rows(SHOWN) if "Only where" in row}
    assert shown[f"{db.schema}.{HOSTILE_TABLE}"] == (f"n={HOSTILE}", HOSTILE)
    assert f"{unknown} no such table now" in shown
    assert "<script>alert" not in page.markup
    offered = [each.get("value") for each in operator.get(PLACE).all("datalist/option")]
    assert f"{db.schema}.visits" in offered


def test_choices_stand_in_the_address(db: DuckDatabase, operator: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Search, kind, order and parts of the list; what is written in several, all that match are released together."""
    for name, reason in (("logs", "case b"), ("orders", "case a"), ("v*", "case c")):
        db.tool.hold(name, db.schema, reason=reason)
    db.tool.restore(RestoreRequest(table_name="orders", end=parse_instant("2023-08-01")))
    page = operator.get(PATH)
    assert "5 holds in force." in page.text
    assert [row["Table"].partition(".")[2] for row in operator.get(page.href("Table")).rows(SHOWN)] == [
        "letters",
        "logs",
        "orders",
        "orders",
        f"v* {db.schema}.visits",
    ]
    [restored] = operator.get(f"{PATH}?kind=restored").rows(SHOWN)
    assert restored["Reason"].startswith("restored from")
    assert [row["Reason"] for row in operator.get(f"{PATH}?q=CASE+{db.schema}.orders").rows(SHOWN)] == ["case a"]
    assert "No holds match." in operator.get(f"{PATH}?q=nonsense").text
    hold = next(hold for hold in db.tool.holds() if hold.reason == "case c")
    assert [row["Reason"] for row in operator.get(f"{PATH}?q={hold.id}").rows(SHOWN)] == ["case c"]
    table = links.table(TableName(db.schema, "visits"))
    assert page.href(f"{db.schema}.visits") == table
    assert page.href(f"legal hold {hold.id[:8]}") == f"{PATH}?q={hold.id}"
    assert "none is chosen" in operator.get(f"{PATH}?act=release").texts("div[@role='alert']")[0]
    there = release_all(operator.get(f"{PATH}?q=case+lab&kind=legal"))
    asked = operator.get(there)
    assert "Release 4 holds?" in asked.texts("h2") and "And 1 more." in asked.text
    held = [each.get("value", "") for each in asked.all("input[@name='hold']")]
    db.tool.hold("logs", db.schema, reason="case d")  # It was not shown.
    assert operator.post(there, do="release", hold=[*held, "gone"], confirm="release").status == 404, "not as shown"
    sent = operator.post(there, do="release", hold=held, confirm="release")
    assert sent.status == 303
    assert {hold.reason if hold.kind == "legal" else hold.kind for hold in db.tool.holds()} == {"restored", "case d"}
    undo = operator.get(sent.headers["location"])
    assert "4 legal holds are released." in undo.text
    named = [each.get("value", "") for each in undo.all("input[@type='hidden'][@name='hold']")]
    assert operator.post(PATH, do="renew", hold=named).status == 303
    monkeypatch.setattr(parts, "ROWS", 4)
    second = operator.get(operator.get(PATH).href("Next"))
    assert (len(second.rows(SHOWN)), "5 to 6 of 6" in second.text) == (2, True)


def test_where_nothing_goes(db: DuckDatabase, operator: Visitor) -> None:
    """Where the next run would do the same, no word has to be typed; where it takes a row more, one has to."""
    hold = db.tool.hold("visits", db.schema, start=parse_instant("2024-06-01"), reason="case 9")
    page = operator.get(f"{RELEASE}&hold={hold.id}")
    assert "Nothing changes for the next run." in page.text and "confirm" not in page.fields("release")
    assert operator.post(RELEASE, do="release", hold=hold.id).status == 303
    db.create("flat", {"ts": TIME, "n": "TEXT"})
    db.fill("flat", ["2024-01-10", "2024-06-10"])
    db.policy("delete", "flat", "30d")
    hold = db.tool.hold("flat", db.schema, reason="case 10")
    assert operator.post(RELEASE, do="release", hold=hold.id).status == 422
    assert [hold.reason for hold in db.tool.holds()][-1] == "case 10"


def test_viewer_and_tenants(db: DuckDatabase, service: Service) -> None:
    """A viewer cannot act. A tenant sees, places, releases and renews only holds on its own data."""
    foreign = db.tool.hold("orders", db.schema, reason="secret of globex")
    viewer, acme, globex = (
        service.log_in(Role.VIEWER),
        *(service.log_in(Role.EDITOR, tag) for tag in ("acme", "globex")),
    )
    for page in (viewer.get(PATH), viewer.get(PLACE), viewer.get(f"{RELEASE}&hold={foreign.id}")):
        assert [row["Reason"] for row in page.rows(SHOWN)] == ["case 7/2024", "secret of globex"]
        assert not {"Release …", "Place hold …"} & {*page.links, *page.texts("button")}
        assert not page.all("input[@type='checkbox']") and not page.fields("place") and not page.fields("release")
    for form in ({"do": "place", "table": "visits"}, {"do": "release", "hold": foreign.id, "confirm": foreign.target}):
        assert viewer.post(PATH, **form).status == 403
    assert [row["Reason"] for row in acme.get(PATH).rows(SHOWN)] == ["case 7/2024"]
    refused = acme.post(PLACE, do="place", table=f"{db.schema}.orders")
    assert (refused.status, "no policy with the tags of this token covers it" in refused.text) == (403, True)
    preview = acme.get(f"{PATH}?place=preview&table={db.schema}.orders").text
    assert "No table matches" in preview and "Nothing that it covers is due now." in preview
    assert "orders" not in [each.get("value", "").partition(".")[2] for each in acme.get(PLACE).all("datalist/option")]
    assert acme.post(RELEASE, do="release", hold=foreign.id, confirm=foreign.target).status == 404
    assert acme.post(PLACE, do="place", table=f"{db.schema}.visits", reason="mine").status == 303
    assert [row["Reason"] for row in acme.get(PATH).rows(SHOWN)] == ["case 7/2024", "mine"]
    assert "mine" not in globex.get(PATH).text
    scoped = Scope(db.tool, Access(role=Role.EDITOR, actor="acme", limit=parse_tag_filter(["acme"])))
    assert scoped.held_tables([foreign]) == {}
    for work in (scoped.find_release, scoped.release):
        with pytest.raises(NotFound):
            work(foreign.id)
    with pytest.raises(Forbidden):
        Scope(db.tool, Access(role=Role.VIEWER, actor="viewer")).renew(foreign.id)
    letters, mine = (next(hold for hold in db.tool.holds() if hold.reason == why) for why in ("case 7/2024", "mine"))
    db.tool.release(mine.id)
    assert acme.post(PATH, do="renew", hold=mine.id).status == 303
    for hold in (
        foreign,
        letters,
        mine,
    ):  # An administrator placed the first two; the last one is on others' data then.
        db.tool.release(hold.id)
    db.tool.delete_policy("visits")
    for name in (foreign.id, letters.id, mine.id, "unknown"):
        answer = acme.post(PATH, do="renew", hold=name)
        assert (answer.status, "was not released" in answer.text) == (404, True)
    assert db.tool.holds() == []


def test_wishes() -> None:
    """What the form says is read as a whole or not at all."""
    wish = read_wish({**EMPTY, "table": " metrics ", "where": "\ntenant=a=b\n x=NULL\n"}, default_schema="doc")
    assert (wish.table_name, wish.where) == ("metrics", {"tenant": "a=b", "x": None})
    assert hold_scope(wish) == "doc.metrics where tenant=a=b and x=NULL"
    whole = {"table": "t", "from": "2024-01-01", "until": "2024-01-02", "reason": "x" * 1000, "where": ""}
    wish = read_wish(whole)
    assert (wish.start, wish.end) == (to_ms(parse_instant("2024-01-01")), to_ms(parse_instant("2024-01-02")))
    assert wish.reason == "x" * 1000
    for wrong in ({"until": "2024-01-01"}, {"table": " "}):
        with pytest.raises(InvalidInput):
            read_wish({**whole, **wrong})
    for wrong in ({"where": "x"}, {"where": "a=1\na=2"}, {"from": "x"}, {"reason": "x" * 1001}, {"reason": "\0"}):
        with pytest.raises(InvalidInput):
            read_wish({**EMPTY, "table": "t", **wrong})


@pytest.mark.slow("several pages in a browser")
@pytest.mark.long("make test proves it by HTTP, and drives a form of the page of a table through a log-in")
def test_in_a_browser(each_pages: PagesInBrowser) -> None:
    """Previewed and placed by the keyboard, through a session that is over; a word and Enter release it; undone."""
    db, pages = each_pages.db, each_pages
    page = pages.log_in("operator", PATH)
    page.get_by_role("link", name="Place hold …").click()
    expect(page.get_by_label("Table", exact=True)).to_be_focused()
    page.keyboard.type(f"{db.schema}.visits")
    page.get_by_label("Reason").fill("a long story")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("status")).to_contain_text("1 partition with 1 row less")
    page.get_by_label("Until (UTC)").fill("2024-05-01")
    page.context.clear_cookies()
    page.get_by_role("button", name="Place the hold").click()
    expect(page.get_by_role("alert")).to_contain_text("Your session")
    pages.excuse(401)
    page.get_by_role("link", name="Log in").click()
    page.get_by_label("Access token").fill(pages.tokens["operator"])
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_label("Reason")).to_have_value("a long story")
    expect(page.get_by_label("Until (UTC)")).to_have_value("2024-05-01")
    page.get_by_role("button", name="Place the hold").click()
    expect(page.get_by_role("status")).to_contain_text("The legal hold is in force.")
    assert due(db, "visits") == 0
    page.get_by_role("link", name=f"Release the hold on {db.schema}.visits").click()
    expect(page.get_by_label(f"Type {db.schema}.visits to confirm")).to_be_focused()
    page.keyboard.type(f"{db.schema}.visits")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The legal hold is released.")
    assert due(db, "visits") == 1
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status")).to_have_text("The legal hold is in force again.")
    assert due(db, "visits") == 0
