"""The page of policies: what it shows to whom, filters, actions, and policy files."""

from __future__ import annotations

import re
from pathlib import Path
from time import monotonic

import pytest
from nicegui import ui
from playwright.sync_api import Locator, Page, expect

from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model.access import Role
from cratedb_retention.model.policies.file import parse_policies
from cratedb_retention.model.policies.tags import parse_tag_filter
from cratedb_retention.model.words import plural
from cratedb_retention.ui.policies import table as policies
from support.elements import PageElements
from support.pages import PagesInBrowser, long_on_cratedb
from support.sample_data import HOSTILE, HOSTILE_TABLE

PATH = "/ui/policies"
COUNT = re.compile(r"^\d[\d,]* polic")


def _count(page: Page, text: str) -> None:
    expect(page.get_by_role("status").filter(has_text=COUNT)).to_have_text(text)


def _rows(page: Page) -> Locator:
    return page.get_by_role("table", name="Policies").or_(page.get_by_label("Policies", exact=True)).locator("tbody tr")


def _choose(pages: PagesInBrowser, page: Page, what: str) -> None:
    page.get_by_role("checkbox", name=f"Choose {what.replace('lab.', pages.db.schema + '.')}").press("Space")


def _damage(pages: PagesInBrowser | PageElements) -> None:
    store = pages.db.tool.store
    statement = f'INSERT INTO "{store.schema}".retention_policy (id, strategy, table_name, retention_period, version)'
    pages.db.sql(f"{statement} VALUES ('broken', 'shred', '<b>old</b>', 'soon', 1)")


@pytest.mark.slow("many clicks in a browser")
@long_on_cratedb
def test_the_list_and_what_can_be_done(each_pages: PagesInBrowser, tmp_path: Path) -> None:
    """Filter by typing, disable, enable, export, delete, and import what was exported."""
    pages, db = each_pages, each_pages.db
    before = {policy.id: policy for policy in (item.policy for item in db.tool.policies(Selection()))}
    rows = db.count("visits")
    page = pages.log_in("editor", PATH)
    _count(page, "7 policies")
    page.get_by_label("Search", exact=True).fill("visits")
    _count(page, "1 policy")
    assert page.url.endswith("?q=visits")
    expect(page.get_by_role("link", name=f"{db.schema}.visits")).to_have_attribute("href", f"{PATH}/visits")

    _choose(pages, page, "delete lab.visits")
    page.get_by_role("button", name="Disable").click()
    page.get_by_role("dialog").get_by_role("button", name="Disable").click()
    expect(page.get_by_role("cell", name="disabled")).to_be_visible()
    assert not db.tool.store.policies.get("visits").policy.enabled
    page.get_by_role("button", name="Enable").click()
    asked = page.get_by_role("dialog")
    gone = f"permanently deletes 1 partition (1 row) of {db.schema}.visits: 2024-03-01 to 2024-03-31"
    expect(asked.get_by_text(gone)).to_be_visible()
    expect(asked.get_by_role("button", name="Enable")).to_be_disabled()
    asked.get_by_label("Write visits to go on").fill("visits")
    asked.get_by_role("button", name="Enable").click()
    expect(page.get_by_role("cell", name="enabled")).to_be_visible()

    page.get_by_label("Search", exact=True).fill("")
    _count(page, "7 policies")
    with page.expect_download() as got:
        page.get_by_role("button", name="Export as YAML").click()
    got.value.save_as(tmp_path / "policies.yaml")

    _choose(pages, page, "delete lab.visits")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("no row is touched")).to_be_visible()
    action = page.get_by_role("button", name="Delete the policy")
    expect(action).to_be_disabled()
    page.get_by_label("Write visits to go on").fill("visits")
    action.click()
    _count(page, "6 policies")
    assert "visits" not in {item.policy.id for item in db.tool.policies(Selection())}
    assert db.count("visits") == rows

    page.get_by_role("button", name="Import a YAML file").click()
    page.locator("input[type=file]").set_input_files(tmp_path / "policies.yaml")
    expect(page.get_by_label("Policy file (YAML)")).to_have_value(re.compile("visits"))
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_text("The file would: create 1, change 0, delete 0, leave 6 as they are.")).to_be_visible()
    page.get_by_role("button", name="Apply").click()
    _count(page, "7 policies")
    assert {item.policy.id: item.policy for item in db.tool.policies(Selection())} == before


def test_sorted_by_what_it_means(elements: PageElements) -> None:
    """Damaged rows come first, forever and by hand last; who may change nothing has nothing to choose."""
    _damage(elements)
    elements.open(policies.show)
    rows = elements.find(ui.table, "Policies").rows
    kept, due = ([row["c2"] for row in sorted(rows, key=lambda row: row[place])] for place in ("c3", "c4"))
    assert ("<b>old</b>" in kept[0], kept[-1]) == (True, f"lab.{HOSTILE_TABLE}")
    assert ("<b>old</b>" in due[0], due[1:3]) == (True, ["lab.visits", "lab.weather"])
    assert rows[0]["c2"] == kept[0]
    viewer = elements.db.tool.create_token("v", Role.VIEWER)[1]
    elements.open(policies.show, "", viewer)
    assert not elements.find(ui.table, "Policies").selection
    assert not {"New policy", "Import a YAML file", "Apply", "Check"} & set(elements.texts)


def test_what_was_shown_is_changed(elements: PageElements) -> None:
    """What another user changed meanwhile is neither disabled nor deleted; what would delete data is confirmed."""
    tool = elements.db.tool
    elements.open(policies.show, "q=visits")
    for action, word in (("Disable", ""), ("Delete the policy", "visits")):
        elements.choose("Policies", 0)
        tool.edit_policy("visits", {"retention_period": "91d" if word else "92d"})
        elements.press(action.split()[0])
        if word:
            assert not elements.find(ui.button, action).enabled
            elements.fill(f"Write {word} to go on", word)
        elements.press(action)
        assert "another user has changed it in the meantime" in elements.told[-1]
        assert [row[3] for row in elements.rows("Policies")] == ["91d" if word else "92d"]
    elements.choose("Policies", 0)
    elements.press("Disable")
    elements.press("Disable")
    assert not tool.policies.get("visits").policy.enabled
    elements.press("Enable")
    assert any("1 row of lab.visits" in text for text in elements.texts)
    assert not elements.find(ui.button, "Enable").enabled
    elements.fill("Write visits to go on", "visits")
    elements.press("Enable")
    assert tool.policies.get("visits").policy.enabled


def test_a_file_is_applied_as_it_was_shown(elements: PageElements) -> None:
    """Looking changes nothing; after another choice, or another user's change, it has to be looked at again."""
    tool = elements.db.tool
    before = [item.policy for item in tool.policies()]
    elements.open(policies.show)
    elements.fill("Policy file (YAML)", "policies: [{strategy: delete, table_name: new, retention_period: 3d}]")
    elements.press("Check")
    assert [row[0] for row in elements.rows("What the file would change")] == ["create"]
    assert [item.policy for item in tool.policies()] == before
    elements.fill("Also delete policies that the file lacks", True)
    assert elements.find(ui.button, "Apply") is None
    elements.fill("… but only those with these tags", "web")
    elements.press("Check")
    assert sorted(row[0] for row in elements.rows("What the file would change")) == ["create", "delete"]
    tool.edit_policy("visits", {"retention_period": "91d"})
    for refused in (True, False):
        elements.press("Apply")
        assert elements.question == "Delete 1 policy?"
        assert not elements.find(ui.button, "Apply the file").enabled
        elements.fill("Write delete 1 to go on", "delete 1")
        elements.press("Apply the file")
        assert any("another user has changed some in the meantime" in text for text in elements.told)
        assert len(tool.policies()) == 7
        assert ({item.id for item in tool.policies()} == {policy.id for policy in before}) is refused
        if refused:
            elements.press("Check")


@pytest.mark.long("many pages; make test proves addresses in test_querying.py and filters in the archive")
def test_filters_in_the_address(pages: PagesInBrowser) -> None:
    """An address names a filter; tags are links; what is no filter is told; hostile names are text."""
    _damage(pages)
    page = pages.log_in("admin", PATH)
    _count(page, "7 policies, 1 damaged")
    first = _rows(page).first
    expect(first).to_contain_text("<b>old</b>")
    expect(first).to_contain_text("strategy 'shred': unknown")
    expect(page.get_by_role("link", name=f"{pages.db.schema}.{HOSTILE_TABLE}")).to_be_visible()
    page.get_by_role("link", name=HOSTILE).click()
    pages.there(page)
    _count(page, "1 policy")
    for query, expected in (
        ("tags=acme,web", "1 policy"),
        ("tags=acme,not:web", "3 policies"),
        ("tags=acme,web&tags=globex", "2 policies"),
        ("strategy=snapshot", "1 policy"),
        ("q=weather+hour", "1 policy"),
        ("tags=acme&strategy=delete&q=letters", "1 policy"),
    ):
        pages.go(page, f"{PATH}?{query}")
        _count(page, expected)
    pages.go(page, f"{PATH}?tags=acme&q=orders")
    expect(page.get_by_text("No policy fits this filter.")).to_be_visible()
    page.get_by_label("Tags", exact=True).fill("a,,b")
    expect(page.get_by_role("alert")).to_contain_text("an empty tag")
    page.get_by_label("Tags", exact=True).fill("acme,web or globex")
    _count(page, "1 policy")
    page.get_by_label("Search", exact=True).fill("")
    _count(page, "2 policies")
    assert page.url.endswith("?tags=acme%2Cweb&tags=globex")
    pages.go(page, f"{PATH}?strategy=shred")
    expect(page.get_by_role("alert").or_(_rows(page).filter(has_text="shred"))).to_be_visible()
    pages.go(page, f"{PATH}?q=old")
    page.get_by_role("checkbox", name="Choose damaged broken").press("Space")
    expect(page.get_by_role("button", name="Edit")).to_be_hidden()
    page.get_by_role("button", name="Delete").click()
    page.get_by_label("Write broken to go on").fill("broken")
    page.get_by_role("button", name="Delete the policy").click()
    expect(page.get_by_text("No policy fits this filter.")).to_be_visible()
    assert pages.db.tool.damaged_policies(Selection()) == []


@pytest.mark.long("make test proves conflicts in the editor and by HTTP")
def test_somebody_else_was_faster(pages: PagesInBrowser) -> None:
    """A change of what was shown is refused when it is no longer so, and the list shows what there is."""
    page = pages.log_in("editor", f"{PATH}?q=letters")
    _choose(pages, page, "delete lab.letters")
    pages.db.tool.edit_policy("letters", {"retention_period": "77d"})
    page.get_by_role("button", name="Disable").click()
    page.get_by_role("dialog").get_by_role("button", name="Disable").click()
    expect(page.get_by_text("another user has changed it in the meantime")).to_be_visible()
    expect(page.get_by_role("cell", name="77d")).to_be_visible()
    assert pages.db.tool.store.policies.get("letters").policy.enabled

    page.get_by_role("button", name="Import a YAML file").click()
    page.get_by_label("Policy file (YAML)").fill(
        "policies: [{strategy: delete, table_name: new, retention_period: 3d}]"
    )
    page.get_by_role("checkbox", name="Also delete policies").click()
    page.get_by_label("… but only those with these tags").fill("web")
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_text("The file would: create 1, change 0, delete 1, leave 0 as they are.")).to_be_visible()
    pages.db.tool.edit_policy("visits", {"retention_period": "78d"})
    page.get_by_role("button", name="Apply").click()
    page.get_by_label("Write delete 1 to go on").fill("delete 1")
    page.get_by_role("button", name="Apply the file").click()
    expect(page.get_by_text("another user has changed some in the meantime")).to_be_visible()
    assert len(pages.db.tool.policies(Selection())) == 7
    page.get_by_role("button", name="Check").click()
    page.get_by_role("button", name="Apply").click()
    page.get_by_label("Write delete 1 to go on").fill("delete 1")
    page.get_by_role("button", name="Apply the file").click()
    expect(page.get_by_text("Done: create 1, change 0, delete 1")).to_be_visible()
    assert {item.policy.table_name for item in pages.db.tool.policies(Selection())} >= {"new", "letters"}
    assert "visits" not in {item.policy.id for item in pages.db.tool.policies(Selection())}


@pytest.mark.long("make test proves these messages in tests/cli and the import itself in the browser")
def test_mistakes_in_a_file(pages: PagesInBrowser, tmp_path: Path) -> None:
    """Line and attribute are named, and what changes is shown before and after; nothing happens."""
    page = pages.log_in("editor", PATH)
    page.get_by_role("button", name="Import a YAML file").click()
    file, check = page.get_by_label("Policy file (YAML)"), page.get_by_role("button", name="Check")
    for text, said in (
        ("policies:\n- strategy: delete\n  table_name: x\n  retention_period: soon\n", "the file, line 4"),
        ("policies:\n- strategy: delete\n  table_name: [x\n", "not valid YAML"),
        ("", "the file is empty"),
    ):
        file.fill(text)
        check.click()
        expect(page.get_by_role("alert")).to_contain_text(said)
        expect(page.get_by_role("button", name="Apply")).to_be_hidden()
    (tmp_path / "other.yaml").write_bytes(b"\xff\xfe\x00")
    page.locator("input[type=file]").set_input_files(tmp_path / "other.yaml")
    expect(page.get_by_role("alert")).to_contain_text("not UTF-8 text")
    (tmp_path / "large.yaml").write_text("#" * 1024 * 1024)
    page.locator("input[type=file]").set_input_files(tmp_path / "large.yaml")
    expect(page.get_by_role("alert")).to_contain_text("http.max_body")
    schema = pages.db.schema
    file.fill(
        f"- {{id: letters, strategy: delete, table_schema: {schema}, table_name: letters, "
        f"retention_period: 40d, description: '{HOSTILE_TABLE.replace(chr(39), '')}'}}"
    )
    check.click()
    expect(page.get_by_text("retention_period: 30d → 40d")).to_be_visible()
    expect(page.get_by_text("tags: acme → not set")).to_be_visible()
    expect(page.get_by_text("description: not set → its&lt;b&gt;{{7+7}}`x`")).to_be_visible()
    assert str(pages.db.tool.store.policies.get("letters").policy.retention_period) == "30d"


def test_viewer_and_tenant(pages: PagesInBrowser, tmp_path: Path) -> None:
    """A viewer sees all and changes nothing; a tenant sees, exports and prunes its own."""
    page = pages.log_in("viewer", PATH)
    _count(page, "7 policies")
    expect(page.get_by_role("button", name="Export as YAML")).to_be_visible()
    expect(page.get_by_role("button", name="New policy")).to_have_count(0)
    expect(page.get_by_role("checkbox")).to_have_count(0)
    expect(page.get_by_role("button", name="Import a YAML file")).to_have_count(0)

    page = pages.log_in("acme", PATH)
    _count(page, "4 policies")
    assert "globex" not in page.inner_text("main")
    mine = [item.policy for item in pages.db.tool.policies(Selection(tags=parse_tag_filter(["acme"])))]
    found = [policy for policy in mine if policy.mentions("letters")]
    assert 0 < len(found) < len(mine)
    for text, expected in (("", mine), ("letters", found)):
        page.get_by_label("Search", exact=True).fill(text)
        _count(page, plural(len(expected), "policy", "policies"))
        with page.expect_download() as got:
            page.get_by_role("button", name="Export as YAML").click()
        got.value.save_as(tmp_path / "mine.yaml")
        assert parse_policies((tmp_path / "mine.yaml").read_text(), "") == expected
    page.get_by_role("button", name="Import a YAML file").click()
    page.get_by_label("Policy file (YAML)").fill("policies: []")
    page.get_by_role("checkbox", name="Also delete policies").click()
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_text("delete 4, leave 0")).to_be_visible()
    page.get_by_label("… but only those with these tags").fill("web")
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_text("delete 1, leave 0")).to_be_visible()


@pytest.mark.long("it is about time, which make bench measures as well")
def test_a_thousand(pages: PagesInBrowser) -> None:
    """A thousand policies cost no statement more than a few, and are found at once."""
    page = pages.log_in("viewer", PATH)
    db = pages.db
    with db.statements() as few:
        pages.go(page, PATH)
        _count(page, "7 policies")
    policies = [
        {"strategy": "delete", "table_name": f"t{n}", "retention_period": "30d", "schedule": f"{n % 60} {n % 24} * * *"}
        for n in range(1000)
    ]
    db.tool.apply(parse_policies(str({"policies": policies}), ""))
    begun = monotonic()
    with db.statements() as many:
        pages.go(page, PATH)
        _count(page, "1,007 policies")
    assert monotonic() - begun < 20
    assert len(many) == len(few)
    expect(_rows(page)).to_have_count(50)
    page.get_by_label("Search", exact=True).fill("t777")
    _count(page, "1 policy")
    expect(_rows(page)).to_have_count(1)


@pytest.mark.long("links of three pages; make test opens the editor by its addresses")
def test_buttons_lead_to_the_editor(pages: PagesInBrowser) -> None:
    """Edit, Copy and New lead to the editor, of that policy where it is about one."""
    page = pages.log_in("editor", PATH)
    for button, path in (("Edit", "/ui/policies/visits"), ("Copy", "/ui/policies/new?copy=visits")):
        pages.go(page, PATH)
        _choose(pages, page, "delete lab.visits")
        page.get_by_role("button", name=button).click()
        page.wait_for_url(f"{pages.address}{path}")
        expect(page.get_by_label("Table", exact=True)).to_have_value("visits")
    page.get_by_role("link", name="All policies").click()
    page.wait_for_url(f"{pages.address}{PATH}")
    page.get_by_role("button", name="New policy").click()
    page.wait_for_url(f"{pages.address}{PATH}/new")
