"""The overview: what needs attention and why, runs, and a row for each table; by HTTP, and once in a browser."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from cratedb_retention.model.access import Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policies.file import parse_policies
from cratedb_retention.store.runs import RunOfPolicy
from cratedb_retention.ui import links
from cratedb_retention.ui.overview import search
from cratedb_retention.ui.web import parts
from support.databases import MONTH, TIME, DuckDatabase
from support.pages import PagesInBrowser
from support.sample_data import HOSTILE_TABLE
from support.served import Served, Service, Visitor, text_of

PATH = "/ui/"


def rows(page: Served, caption: str = "Tables") -> dict[str, dict[str, str]]:
    """The rows of a table by the first word, which is the table's name."""
    return {row["Table"].split()[0].partition(".")[2]: row for row in page.rows(caption)}


def lanes(page: Served) -> dict[str, str]:
    """What the small lanes show, by table."""
    told = (svg.get("aria-label", "") for svg in page.all("svg[@role='img']"))
    return {name.partition(".")[2]: rest for name, _, rest in (text.partition("; ") for text in told)}


def chips(page: Served) -> dict[str, str]:
    """Where the filters by state lead, by their names."""
    [found] = page.all("nav[@class='chips']")
    return {text_of(each).rstrip("0123456789 "): each.get("href", "") for each in found}


def test_what_is_worth_a_look(db: DuckDatabase, service: Service) -> None:
    """A policy whose filter matches no data is named, to those who may see it."""
    page = service.log_in(Role.VIEWER)
    assert not page.get(PATH).rows("Worth a look")
    db.policy("delete", "visits", "90d", id="nothing", tags=["acme"], where={"n": "none"})
    [row] = page.get(PATH).rows("Worth a look")
    assert (row["Table"], row["Policy"]) == (f"{db.schema}.visits", "nothing")
    assert "n=none" in row["What"]
    assert not service.log_in(Role.VIEWER, "globex").get(PATH).rows("Worth a look")


def test_policies_without_a_limit(db: DuckDatabase, service: Service) -> None:
    """Policies that remove partitions without a limit are named with one that would fit; one with a limit is not."""
    caption, viewer = "Policies without a limit", service.log_in(Role.VIEWER)
    db.policy("snapshot", "visits", "50y", id="long", name="visits for long")
    shown = {row["Policy"]: row["Maximum partitions that fit"] for row in viewer.get(PATH).rows(caption)}
    assert shown["visits for long"] == "2"
    db.tool.edit_policy("long", {"expected_max": {"partitions": 2}})
    assert "visits for long" not in {row["Policy"] for row in viewer.get(PATH).rows(caption)}


def test_what_needs_attention_comes_first(db: DuckDatabase, service: Service) -> None:
    """Causes with what can be done, runs, and each table of users once, with its levels, ages and next run."""
    editor = service.log_in(Role.EDITOR)
    page = editor.get(PATH)
    assert (page.status, page.title) == (200, "Overview")
    found = rows(page)
    assert list(found) == ["nowhere", "letters", "orders", "visits", "weather", HOSTILE_TABLE, "logs"]
    states = ["needs attention", "blocked", "due", "due", "due", "up to date", "disabled"]
    assert [row["State"] for row in found.values()] == states
    [hold] = [href for text, href in page.links.items() if text.startswith("legal hold")]
    assert hold == links.table(TableName(db.schema, "letters"), tab="holds")
    assert found["weather"]["Table"] == f"{db.schema}.weather 1h 1d"
    visits = found["visits"]
    shown = [visits[name] for name in ("Policies", "Rows", "Due now", "Next run")]
    assert shown == ["delete after 90d", "11", "1 partition", "due now"]
    assert lanes(page)["visits"] == (
        "data: 2024-03-01 to now; will be dropped: 2024-03-01 to 2024-04-01; delete after 90d: before 2024-04-03 12:00"
    )
    assert "before" not in lanes(page)["logs"], "a policy that is disabled has no limit"
    assert "archive: 2023-07-01 to 2024-05-01" in lanes(page)["orders"]
    assert "1h: 2024-06-01 to 2024-07-01; 1d: " in lanes(page)["weather"]
    assert page.href(f"{db.schema}.visits") == links.table(TableName(db.schema, "visits"))
    assert page.href("1h") == links.table(TableName(db.schema, "weather_1h"))
    [cause] = page.all("article")
    assert text_of(cause).startswith("needs attentionNo such table")
    assert page.href("Edit policy") == page.href("delete after 30d") == links.policy("nowhere")
    tiles = [text_of(each) for each in page.all("div[@class='card tile']")]
    assert tiles[0].startswith("Next runDue 12 hours ago2024-07-02 00:00:00 · 2 policies · frees 49 rowsPreview")
    assert page.href("Preview") == "/ui/plan?policy=visits&policy=weather"
    assert page.href("Run now …") == "/ui/plan?policy=orders"
    assert tiles[1].startswith("Last runneeds attention2024-07-01 12:00:00 · 828 rows")
    assert tiles[2] == "Running nowNothing"
    assert tiles[3] == "Without a policy1 table36 rowsShow themSuggest policies …"
    assert page.href("What it did") == links.run(db.journal(event="run-finished")[0]["run_id"])
    assert page.href("Add policy") == links.new_policy(table=TableName(db.schema, "logs"), period="2y")
    assert list(rows(editor.get(page.href("Show them")))) == ["logs"]


def test_rows_that_are_due(db: DuckDatabase, service: Service) -> None:
    """What is due of a table without partitions leads to the plan of its policy, too."""
    db.create("whole", {"ts": TIME, "n": "TEXT"})
    db.fill("whole", ["2024-01-01", "2024-01-02", "2024-01-03", "2024-06-30"])
    db.policy("delete", "whole", "30d", id="whole")
    page = service.log_in(Role.VIEWER).get(f"{PATH}?q=whole")
    assert (rows(page)["whole"]["Due now"], page.href("3 rows")) == ("3 rows", "/ui/plan?policy=whole")


def test_what_exceeds_a_limit(db: DuckDatabase, service: Service) -> None:
    """A cause of several policies leads to their plan, not to one of them; only what holds block leads to holds."""
    for name in ("visits", "orders"):
        db.tool.edit_policy(name, {"expected_max": {"rows": 0}})
    page = service.log_in(Role.VIEWER).get(PATH)
    [cause] = [each for each in page.all("article") if "Too many rows" in text_of(each)]
    found = {text_of(link): link.get("href", "") for link in cause.iter("a")}
    assert found["Preview"] == "/ui/plan?policy=orders&policy=visits" and "Show policy" not in found
    letters = links.table(TableName(db.schema, "letters"), tab="holds")
    assert {href for href in page.links.values() if "tab=holds" in href} == {letters}


def test_failures(db: DuckDatabase, service: Service) -> None:
    """Policies that failed for one reason are one cause, which leads to the run, and to another attempt."""
    run = "0123456789abcdef"
    told: dict[str, Any] = {
        "run_id": run,
        "ended_at": db.time.moment,
        "failed": 1,
        "error": "no room",
        "reason": "full",
    }
    db.tool.store.results.keep([RunOfPolicy(policy_id=name, **told) for name in ("visits", "orders")])
    operator, viewer = (service.log_in(role) for role in (Role.OPERATOR, Role.VIEWER))
    page = operator.get(PATH)
    cause = text_of(page.all("article")[0])
    assert cause.startswith("failingFullNo room")
    assert all(text in cause for text in (f"{db.schema}.visits delete after 90d run 01234567", "archive after 60d"))
    assert page.href("Why it failed") == page.href("no room") == links.run(run)
    assert page.href("Run again …") == "/ui/plan?policy=orders&policy=visits"
    assert [row["State"] for row in page.rows("Tables")][:3] == ["failing", "failing", "needs attention"]
    assert not {"Run again …", "Run now …", "New policy", "Edit policy", "Add policy"} & set(viewer.get(PATH).links)


def test_choices_stand_in_the_address(db: DuckDatabase, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """States, search, order, groups and parts of the list; a choice keeps the others, and reads nothing again."""
    viewer, reads, read = service.log_in(Role.VIEWER), list[object](), db.tool.engine.read_catalog

    def spy(*given: Any, **more: Any) -> Any:
        reads.append(given)
        return read(*given, **more)

    monkeypatch.setattr(db.tool.engine, "read_catalog", spy)
    page = viewer.get(PATH)
    [panel] = [each for each in page.all("div") if each.get("id") == "panel"]
    assert panel.get("data-live") == page.all("noscript/meta")[0].get("content") == "30"
    due = viewer.get(chips(page)["due"])
    assert list(rows(due)) == ["orders", "visits", "weather"]
    both = viewer.get(chips(due)["blocked"])
    assert list(rows(both)) == ["letters", "orders", "visits", "weather"]
    assert list(rows(viewer.get(chips(both)["due"]))) == ["letters"]
    assert list(rows(viewer.get(f"{PATH}?state=no-policy"))) == ["logs"]
    assert list(rows(viewer.get(f"{PATH}?q=SHOP+60d"))) == ["orders"]
    assert "No table matches." in viewer.get(f"{PATH}?q=nonsense").text
    largest = viewer.get(due.href("Rows"))
    assert list(rows(largest)) == ["weather", "visits", "orders"]
    assert [th.get("aria-sort") for th in largest.all("th") if th.get("aria-sort")] == ["descending"]
    assert largest.href("Rows") == f"{PATH}?state=due"
    assert list(rows(viewer.get(largest.href("Next run")))) == ["visits", "weather", "orders"]
    groups = viewer.get(f"{PATH}?group=schema")
    assert groups.texts("h3") == ["No such table", db.schema]
    assert len(rows(groups, f"Tables, {db.schema}")) == 7
    monkeypatch.setattr(parts, "ROWS", 3)
    second = viewer.get(viewer.get(f"{PATH}?sort=name").href("Next"))
    assert (list(rows(second)), second.href("Previous")) == (
        ["nowhere", "orders", "visits"],
        f"{PATH}?sort=name&first=0",
    )
    assert viewer.get(f"{PATH}?first=x&state=x&group=x&sort=x").status == 200
    assert len(reads) == 1, "what is seconds old serves for other choices"


def test_what_each_sees(db: DuckDatabase, service: Service) -> None:
    """Tenants see their tables and their part of shared ones, without sizes, times and archives of others."""
    db.create("shared", {"ts": TIME, "n": "TEXT", "tenant": "TEXT", "month": MONTH}, by=["month", "tenant"])
    for tenant in ("acme", "globex"):
        db.fill("shared", ["2024-01-10", "2024-06-10"], tenant=tenant)
        db.policy("delete", "shared", "30d", id=f"{tenant}-shared", where={"tenant": tenant}, tags=[tenant])
    db.policy("delete", "orders", "5y", id="acme-orders", tags=["acme"])
    db.policy("delete", "jobs_log", "5y", id="own", table_schema=db.own_schema, time_column="time")
    admin, acme = service.log_in(Role.ADMIN), service.log_in(Role.EDITOR, "acme")
    page = admin.get(f"{PATH}?group=tenant")
    assert page.texts("h3") == ["No such table", "all data", "tenant=acme", "tenant=globex"]
    assert rows(page, "Tables, tenant=acme")["shared"]["Policies"] == "delete after 30d, tenant=acme"
    assert rows(admin.get(PATH))["shared"]["Rows"] == "4"
    assert "jobs_log" not in admin.get(PATH).markup
    page = acme.get(PATH)
    assert list(rows(page)) == ["nowhere", "letters", "shared", "visits", "weather", "orders"]
    assert rows(page)["shared"]["Rows"] == ""
    assert lanes(page)["shared"].startswith("data: time unknown; will be dropped: 2024-01-01 to 2024-02-01")
    assert "archive" not in lanes(page)["orders"]
    assert "globex" not in page.markup
    assert "Without a policyNo table" in page.text


def test_the_next_run_is_the_same_everywhere(db: DuckDatabase, service: Service) -> None:
    """Whether a slot was missed or is still to come: each page says the same of the next run of a policy."""
    db.tool.edit_policy("letters", {"schedule": "@weekly"})
    viewer = service.log_in(Role.VIEWER)
    overview, listed = rows(viewer.get(PATH)), viewer.get("/ui/policies").rows("Policies")
    for name, said in (("visits", "due now"), ("letters", "in 4 days")):
        table = TableName(db.schema, name)
        [row] = [row for row in listed if row["Table"] == str(table)]
        [policy] = viewer.get(links.table(table, tab="policies")).rows("Policies on this table")
        assert (overview[name]["Next run"], policy["Next run"]) == (said, said)
        assert row["Next run"].startswith(said)
        assert f"Next run{said}" in viewer.get(links.table(table)).text
        assert f"Next run {said}: " in viewer.get(links.policy(name)).text
    assert "due 12 hours ago" in viewer.get(PATH).text.lower()


def test_disabled_patterns(db: DuckDatabase, service: Service) -> None:
    """A disabled policy for many tables is no table of its own, and does not disable those of other policies."""
    editor = service.log_in(Role.EDITOR)
    before = {name: row["State"] for name, row in rows(editor.get(PATH)).items()}
    db.policy("delete", "*s", "1y", id="many", enabled=False)
    db.policy("delete", "nothing_*", "1y", id="none", enabled=False)
    assert {name: row["State"] for name, row in rows(editor.get(PATH)).items()} == before


def test_the_first_policy(db: DuckDatabase, service: Service) -> None:
    """Without policies, three steps lead to the first one: a table that grows, its effect, and its plan."""
    for stored in db.tool.policies():
        db.tool.delete_policy(stored.policy.id or "")
    db.policy("delete", "jobs_log", "5y", id="own", table_schema=db.own_schema, time_column="time")
    editor, viewer, acme = (service.log_in(Role.EDITOR), service.log_in(Role.VIEWER), service.log_in(Role.EDITOR, "x"))
    page, rows_of_visits = editor.get(PATH), db.count("visits")
    assert "First policy in three steps" in page.texts("h2") and len(page.all("ol/li")) == 3
    assert {row["State"] for row in page.rows("Tables")} == {"no policy"}
    assert next(iter(rows(page))) == "weather", "it grows most"
    assert lanes(page)["visits"] == "data: 2024-03-01 to now"
    there = links.new_policy(table=TableName(db.schema, "visits"), period="180d")
    assert there in [link.get("href") for link in page.all("main//a") if text_of(link) == "Add policy"]
    draft = editor.get(there)
    form = {name: values for name, values in draft.form("draft").items() if any(values)}
    assert form["retention_period"] == ["180d"] and not draft.all("form[@data-dirty]")
    assert "hot until 180d -> gone" in draft.text and "Nothing is due at the next run." in draft.text
    saved = editor.get(editor.post_several(there, **{**form, "do": ["save"]}).headers["location"])
    plan = editor.get(saved.href("See the plan"))
    assert "Nothing is due" in plan.text and db.count("visits") == rows_of_visits
    assert not editor.get(PATH).all("ol")
    [made] = [item.policy for item in db.tool.policies() if item.id != "own"]
    db.tool.edit_policy(made.id or "", {"enabled": False})
    assert "Runs skip it until you enable it." in editor.get(f"{links.policy(made.id)}?saved=2").text
    db.tool.delete_policy(made.id or "")
    assert editor.get(PATH).all("ol")
    db.policy("delete", "nothing_*", "1y", id="off", enabled=False)
    assert not editor.get(PATH).all("ol"), "it is one, although no table has it"
    db.tool.delete_policy("off")
    # Others are told who can, and a tenant gets no suggestions, which are about all tables.
    for other, told in ((viewer, "Users with the role editor create policies."), (acme, "no policies with your tags")):
        assert told in other.get(PATH).text and "Suggest policies …" not in other.get(PATH).links
        assert other.get(links.policy_file(suggest="yes")).status == 403
    suggested = editor.get(page.href("Suggest policies …"))
    [text] = [area.text or "" for area in suggested.all("textarea[@name='text']")]
    checked = editor.post("/ui/policy-file", do="check", text=text)
    assert "create 6," in checked.text and {policy.enabled for policy in parse_policies(text, "x")} == {False}


def test_it_keeps_itself_up_to_date(pages: PagesInBrowser) -> None:
    """An open page shows what is new, without losing the focus, or what is being written."""
    page = pages.log_in("viewer")
    page.evaluate("window.here = 1")
    chip = page.get_by_role("navigation", name="States").get_by_role("link", name="due")
    chip.focus()
    pages.db.policy("delete", "orders", "3y")
    page.evaluate("refresh(document.getElementById('panel'))")
    expect(page.get_by_role("link", name="delete after 3y")).to_be_visible()
    expect(chip).to_be_focused()
    search = page.get_by_role("textbox", name="Search")
    search.fill("vis")
    page.get_by_role("heading", name="Tables").click()
    pages.db.policy("snapshot", "letters", "4y")
    page.evaluate("refresh(document.getElementById('panel'))")
    expect(search).to_have_value("vis")
    search.press("Enter")
    expect(page.get_by_role("region", name="Tables").locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="Clear").click()
    expect(page.get_by_role("link", name="snapshot after 4y")).to_be_visible()
    assert page.evaluate("window.here") == 1


def test_search(db: DuckDatabase, service: Service) -> None:
    """Tables, policies and pages are found by a part of their names, by those who may see them."""
    db.create("free", {"ts": TIME})
    editor, acme = service.log_in(Role.EDITOR), service.log_in(Role.VIEWER, "acme")

    def found(text: str, visitor: Visitor = editor) -> list[str]:
        return [text_of(link) for link in visitor.get(f"/ui/search?q={text}").all("ul[@class='results']//a")]

    visits, orders = f"{db.schema}.visits", f"{db.schema}.orders"
    assert found("visits") == [f"{visits}table", f"{visits}: delete after 90dpolicy"]
    assert found("ORDERS") == [f"{orders}table", f"{orders}: archive after 60dpolicy"]
    assert found("orders", acme) == [] and len(found("visits", acme)) == 2
    assert editor.get(links.table(TableName(db.schema, "free"))).status == 404
    assert found("free") == [], "it has no page"
    assert found("new pol") == ["New policypage"] and found("new pol", acme) == []
    assert found("") == [f"{name}page" for name, _ in links.MENU][: search.MOST]
    assert "Nothing has this name." in editor.get("/ui/search?q=<b>").text
    page = editor.get("/ui/search?q=visits")
    assert page.href(f"{visits}table") == links.table(TableName(db.schema, "visits"))
    assert page.href(f"{visits}: delete after 90dpolicy") == links.policy("visits")
