"""The policy editor: what it shows before a policy is saved is what then happens, and nothing happens by accident."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from nicegui import ui
from playwright.sync_api import Locator, Page, expect

from cratedb_retention.model.access import Role
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.policies.tags import parse_tag_filter
from cratedb_retention.ui.policies import editor
from support.databases import MONTH, TIME
from support.elements import PageElements
from support.pages import PATIENCE, PagesInBrowser, long_on_cratedb
from support.sample_data import HOSTILE, HOSTILE_TABLE

expect.set_options(timeout=PATIENCE)
NEW, SAVED = "/ui/policies/new", re.compile(r"/ui/policies/[^?]+\?saved=\d+$")


def stored(pages: PagesInBrowser, identifier: str) -> Policy:
    """A policy as it is in the database."""
    return next(item.policy for item in pages.db.tool.policies() if item.policy.id == identifier)


def field(page: Page, label: str) -> Locator:
    """A field by its whole label."""
    return page.get_by_label(label, exact=True)


def effect(page: Page) -> Locator:
    """What the next run would do."""
    return page.get_by_role("complementary", name="Effect")


def write(page: Page, **values: str) -> None:
    """Write into fields, as ``Retention_period="30d"``."""
    for label, value in values.items():
        field(page, label.replace("_", " ")).fill(value)


def save(page: Page) -> None:
    """Press the button on the page."""
    page.get_by_role("button", name="Save").click()


def confirm(page: Page, word: str) -> None:
    """Save although data is deleted."""
    save(page)
    dialog = page.get_by_role("dialog")
    dialog.get_by_label(f"Write {word} to go on").fill(word)
    dialog.get_by_role("button", name="Save").click()
    page.wait_for_url(SAVED)
    page.get_by_text("Saved.", exact=True).wait_for()


@pytest.mark.slow("a form is filled in by hand")
@long_on_cratedb
def test_create(each_pages: PagesInBrowser) -> None:
    """A policy is made by typing; its effect is that of the plan, and what it says is deleted is what a run deletes."""
    pages, db = each_pages, each_pages.db
    db.create("fresh", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill("fresh", [f"2024-{month:02d}-{day:02d}T12:00:00" for month in range(1, 7) for day in (3, 10)])
    before = len(db.tool.policies())
    page = pages.log_in("admin", NEW)
    expect(effect(page)).to_contain_text("This is no policy yet. Look at: Table, Retention period.")
    write(page, Schema=db.schema, Table="fresh", Retention_period="60d", Tags="acme, lab", Description="Fresh")
    columns = page.get_by_role("group", name="Columns for Only rows with")
    columns.get_by_role("button", name="n=").click()
    expect(field(page, "Only rows with")).to_have_value("n=")
    expect(field(page, "Only rows with")).to_be_focused()
    expect(columns.get_by_role("button", name="n=")).to_have_count(0)
    field(page, "Only rows with").fill("")
    said = f"At the next run 4 partitions with 8 rows of {db.schema}.fresh, 2024-01-01 to 2024-04-30, are deleted"
    expect(effect(page)).to_contain_text(said)
    assert len(db.tool.policies()) == before
    confirm(page, "fresh")
    [made] = [item.policy for item in db.tool.policies() if item.policy.table_name == "fresh"]
    assert str(made.retention_period) == "60d"
    assert (made.tags, made.description, made.enabled) == (("acme", "lab"), "Fresh", True)
    mine = [task for task in db.tool.plan().tasks if task.policy_id == made.id]
    assert sum(task.partitions for task in mine) == 4
    assert sum(task.rows or 0 for task in mine) == 8
    db.run()
    assert db.count("fresh") == 12 - 8


@pytest.mark.slow("a form is filled in by hand")
@long_on_cratedb
def test_edit(each_pages: PagesInBrowser) -> None:
    """A change that deletes data has to be confirmed by the table's name; one that does not, not."""
    pages, db = each_pages, each_pages.db
    rows = db.count("visits")
    page = pages.log_in("editor", "/ui/policies/visits")
    expect(field(page, "Retention period")).to_have_value("90d")
    write(page, Retention_period="30d")
    expect(effect(page)).to_contain_text("3 partitions with 7 rows")
    save(page)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"7 rows of {db.schema}.visits, 2024-03-01 to 2024-05-31, are deleted for good")
    go = dialog.get_by_role("button", name="Save")
    expect(go).to_be_disabled()
    for wrong in ("visit", "yes", f"{db.schema}.visits"):
        dialog.get_by_label("Write visits to go on").fill(wrong)
        page.keyboard.press("Enter")
        expect(go).to_be_disabled()
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("status").filter(has_text="Not saved.")).to_be_visible()
    expect(dialog).to_have_count(0)
    assert str(stored(pages, "visits").retention_period) == "90d"
    confirm(page, "visits")
    assert str(stored(pages, "visits").retention_period) == "30d"
    db.run()
    assert db.count("visits") == rows - 7
    page.get_by_role("switch", name="Enabled").click()
    expect(effect(page)).to_contain_text("Nothing happens while this policy is disabled.")
    expect(effect(page)).to_contain_text("This is what it would do if it were enabled:")
    save(page)
    page.wait_for_url(re.compile(r"saved=3$"))
    expect(page.get_by_role("switch", name="Enabled")).not_to_be_checked()
    assert not stored(pages, "visits").enabled


def test_saved_with_care(elements: PageElements, monkeypatch: pytest.MonkeyPatch) -> None:
    """What deletes data is confirmed; a change that another user made meanwhile, even during that, is not lost."""
    monkeypatch.setattr(editor, "PAUSE", 0.0)
    db = elements.db
    elements.open(editor.edit, "id=visits")
    elements.fill("Retention period", "30d")
    for change in ({"description": "Theirs"}, {}):
        elements.press("Save")
        assert elements.question == "Save this policy?"
        assert not elements.find(ui.button, "Save").enabled
        if change:
            db.tool.edit_policy("visits", change)
        elements.fill("Write visits to go on", "visits")
        elements.press("Save")
        now = db.tool.policies.get("visits").policy
        assert (now.description, str(now.retention_period)) == ("Theirs", "90d" if change else "30d")
        if change:
            assert "Not saved: another user has changed it in the meantime." in elements.texts
            elements.press("Load theirs")
            assert elements.find(ui.input, "Retention period").value == "90d"
            elements.fill("Retention period", "30d")
    assert elements.went == ["/policies/visits?saved=3"]


def test_a_copy_is_another_policy(elements: PageElements) -> None:
    """What is copied stays as it is; what is disabled needs no question, and shows what it would do."""
    tool = elements.db.tool
    before = {item.id: item.policy for item in tool.policies()}
    elements.open(editor.create, "copy=visits")
    elements.fill("Only rows with", "n=nothing")
    elements.press("Save")
    now = {item.id: item.policy for item in tool.policies()}
    [made] = now.keys() - before.keys()
    assert before.items() <= now.items()
    assert (now[made].table_name, now[made].where) == ("visits", {"n": "nothing"})
    elements.open(editor.edit, "id=visits")
    elements.fill("Retention period", "30d")
    elements.fill("Enabled", False)
    elements.press("Save")
    assert (elements.question, tool.policies.get("visits").policy.enabled) == ("", False)
    assert "Nothing happens while this policy is disabled." in elements.texts
    assert any("7 rows of lab.visits, 2024-03-01 to 2024-05-31, are deleted for good" in t for t in elements.texts)
    assert any("To be able to undo this for a while, set “Recoverable for”" in t for t in elements.texts)
    start, end = (elements.texts[elements.texts.index(word) + 1] for word in ("From", "To"))
    assert (start[:10], end[:10]) == ("2024-03-01", "2024-06-01")
    elements.open(editor.create, "")
    elements.press("Save")
    assert elements.texts.count("must not be empty") == 2
    assert "Not saved: some fields have mistakes." in elements.texts


def test_who_may_change_what(elements: PageElements) -> None:
    """A viewer's fields are locked; who is limited by tags chooses no identifier."""
    for role, limit, free, named in (
        (Role.VIEWER, "", False, True),
        (Role.EDITOR, "", True, True),
        (Role.EDITOR, "acme", True, False),
    ):
        name = f"{role}{limit}"
        token = elements.db.tool.create_token(name, role, parse_tag_filter([limit] if limit else []))[1]
        elements.open(editor.edit, "id=visits", token)
        assert elements.find(ui.input, "Retention period").enabled is free
        elements.open(editor.create, "", token)
        assert (elements.find(ui.input, "Table") is not None) is free
        assert (elements.find(ui.input, "Identifier") is not None) is (free and named)


@pytest.mark.long("filled in again and again; make test proves its messages in tests/model/test_policyform.py")
def test_mistakes(pages: PagesInBrowser) -> None:
    """What is wrong is said beside its field as one types; nothing of it can be saved."""
    before = len(pages.db.tool.policies())
    page = pages.log_in("admin", f"{NEW}?copy=orders")
    for label, wrong, words in (
        ("Retention period", "30x", "not a duration"),
        ("Schedule", "every day", "not a cron expression"),
        ("Time zone", "Mars/Olympus", "unknown"),
        ("Only rows with", "tenant", "not of the form KEY=VALUE"),
        ("Tags", "not:x", "does not begin with not:"),
        ("Repository", "", "snapshot needs target_repository_name"),
    ):
        right = field(page, label).input_value()
        field(page, label).fill(wrong)
        expect(field(page, label)).to_have_accessible_description(re.compile(re.escape(words)))
        expect(effect(page)).to_contain_text(f"This is no policy yet. Look at: {label}.")
        field(page, label).fill(right)
        expect(field(page, label)).not_to_have_accessible_description(re.compile(re.escape(words)))
    write(page, Retention_period="30x")
    save(page)
    expect(page.get_by_role("status").filter(has_text="Not saved")).to_be_visible()
    pages.go(page, NEW)
    save(page)
    expect(field(page, "Table")).to_have_accessible_description(re.compile("must not be empty"))
    assert len(pages.db.tool.policies()) == before


@pytest.mark.long("make test creates and edits")
def test_copy(pages: PagesInBrowser) -> None:
    """A copy begins with what another one says, and says that it does the same, until it does not."""
    page = pages.log_in("admin", "/ui/policies/orders")
    page.get_by_role("link", name="Copy").click()
    pages.there(page)
    expect(field(page, "Repository")).to_have_value(pages.db.repository)
    expect(effect(page)).to_contain_text("policy orders already has the strategy snapshot there, after 60d")
    write(page, Table="visits", Retention_period="200d")
    page.get_by_role("radio", name="Delete it", exact=True).click()
    expect(field(page, "Repository")).to_be_hidden()
    expect(page.get_by_text("This strategy has no use for: Repository.")).to_be_visible()
    expect(effect(page)).to_contain_text("At the next run nothing is due.")
    page.get_by_role("radio", name="Snapshot: archive it, then delete it").click()
    write(page, Table="letters")
    expect(effect(page)).to_contain_text("would delete the data before snapshot after 200d (this policy) archives it")
    save(page)
    page.wait_for_url(SAVED)
    letters = {
        str(p.policy.strategy): p.policy.tags for p in pages.db.tool.policies() if p.policy.table_name == "letters"
    }
    assert letters == {"delete": ("acme",), "snapshot": ("globex", "shop")}
    assert stored(pages, "orders").table_name == "orders"


@pytest.mark.long("service/test_policies proves that a change of an older version is refused")
def test_somebody_else(pages: PagesInBrowser) -> None:
    """What somebody else changed meanwhile is noticed, shown, and can be loaded; nothing of theirs is lost."""
    page = pages.log_in("admin", "/ui/policies/weather")
    write(page, Description="Mine", Retention_period="20d")
    pages.db.tool.edit_policy("weather", {"description": "Theirs", "tags": ["acme", "sky"]})
    expect(effect(page)).to_contain_text("As of")
    save(page)
    alert = page.get_by_role("alert").filter(has_text="Another user has changed this policy in the meantime")
    row = alert.get_by_role("row", name=re.compile("Description"))
    expect(row).to_contain_text("Theirs")
    expect(row).to_contain_text("Mine")
    expect(alert.get_by_role("row", name=re.compile("Tags"))).to_contain_text("acme, sky")
    assert stored(pages, "weather").description == "Theirs"
    alert.get_by_role("button", name="Load theirs").click()
    expect(field(page, "Description")).to_have_value("Theirs")
    expect(field(page, "Retention period")).to_have_value("14d")
    write(page, Description="Both")
    page.get_by_role("switch", name="Enabled").click()
    save(page)
    page.wait_for_url(SAVED)
    after = stored(pages, "weather")
    assert (after.description, after.tags, str(after.retention_period)) == ("Both", ("acme", "sky"), "14d")


@pytest.mark.long("make test has strange names on the page of a table and of the archive")
def test_hostile(pages: PagesInBrowser) -> None:
    """Whatever somebody writes stays text, in the form, in the effect, and in the database."""
    page = pages.log_in("admin", "/ui/policies/hostile")
    expect(field(page, "Table")).to_have_value(HOSTILE_TABLE)
    expect(field(page, "Description")).to_have_value(HOSTILE)
    write(page, Retention_period="30d")
    expect(effect(page)).to_contain_text(f"{pages.db.schema}.{HOSTILE_TABLE}, 2023-07-01 to 2024-05-31")
    confirm(page, HOSTILE_TABLE)
    assert stored(pages, "hostile").tags == (HOSTILE,)
    strange = f"{HOSTILE} {{{{7*7}}}} a=b"
    pages.go(page, NEW)
    write(page, Schema=HOSTILE, Table=strange, Retention_period="30d", Tags=strange, Description=strange)
    field(page, "Only rows with").fill(f"x={strange}")
    page.get_by_text("Limits and more").click()
    write(page, Time_column=strange, Partition_column=strange, Identifier=f"{HOSTILE}/?#%")
    expect(effect(page)).to_contain_text(strange)
    save(page)
    page.wait_for_url(SAVED)
    made = stored(pages, f"{HOSTILE}/?#%")
    assert (made.table_schema, made.table_name, made.tags, made.description) == (HOSTILE, strange, (strange,), strange)
    assert (made.where, made.time_column, made.partition_column) == ({"x": strange}, strange, strange)
    expect(field(page, "Only rows with")).to_have_value(f"x={strange}")
    save(page)
    expect(page.get_by_text("There is nothing to save.")).to_be_visible()
    assert page.get_by_text("49", exact=False).count() == 0


@pytest.mark.long("make test proves it by HTTP, and drives the main path of the page in a browser")
def test_who_may(pages: PagesInBrowser) -> None:
    """A viewer looks and changes nothing; a tenant stays within its tags and tables, and is told of no others."""
    page = pages.log_in("viewer", "/ui/policies/visits")
    expect(field(page, "Retention period")).to_have_value("90d")
    expect(field(page, "Retention period")).to_be_disabled()
    expect(page.get_by_role("button", name="Save")).to_have_count(0)
    pages.go(page, NEW)
    expect(page.get_by_text("It takes one with the role editor")).to_be_visible()
    page = pages.log_in("acme", "/ui/policies/orders")
    expect(page.get_by_role("alert")).to_contain_text("does not exist")
    pages.go(page, f"{NEW}?copy=visits")
    tables = page.locator("datalist option")
    expect(tables.filter(has=page.locator("xpath=self::*[@value='weather']"))).to_have_count(0)
    offered = {option.get_attribute("value") for option in tables.all()}
    assert not offered & {"orders", "globex", "shop", HOSTILE, pages.db.repository}
    write(page, Tags="globex", Retention_period="400d")
    expect(effect(page)).to_contain_text("lack those of this token")
    before = len(pages.db.tool.policies())
    save(page)
    expect(page.get_by_text("lack those of this token").last).to_be_visible()
    write(page, Tags="acme", Table="orders")
    expect(effect(page)).to_contain_text("no policy with the tags of this token covers it")
    save(page)
    assert len(pages.db.tool.policies()) == before


def test_damaged(pages: PagesInBrowser) -> None:
    """A row that is no valid policy says why, and can't be edited."""
    db = pages.db
    db.sql(f"UPDATE {db.q('retention_policy', db.own_schema)} SET retention_period = 'soon' WHERE id = 'logs'")
    page = pages.log_in("admin", f"/ui/policies/{quote('logs')}")
    expect(page.get_by_role("alert")).to_contain_text("not a duration")
    expect(page.get_by_role("link", name="All policies")).to_have_attribute("href", "/ui/policies")
    expect(page.get_by_role("button", name="Save")).to_have_count(0)
