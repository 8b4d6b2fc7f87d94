"""The page of the archive: what there is, whether it can be read, and bringing it back."""

from __future__ import annotations

import re

import pytest
from nicegui import ui
from playwright.sync_api import Page, expect

from cratedb_retention.errors import Forbidden, RetentionError
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policies.tags import parse_tag_filter
from cratedb_retention.model.time import parse_instant, to_ms
from cratedb_retention.service.access import Scope
from cratedb_retention.ui import archive
from support.databases import MONTH, TIME
from support.elements import PageElements
from support.pages import PagesInBrowser, long_on_cratedb
from support.sample_data import HOSTILE

ALL = RestoreRequest()


def scoped(pages: PagesInBrowser, role: Role, *limit: str) -> Scope:
    """The toolkit for somebody."""
    return Scope(pages.db.tool, Access(role=role, actor="somebody", limit=parse_tag_filter(limit)))


def press(page: Page, name: str) -> None:
    """Press a button."""
    page.get_by_role("button", name=name, exact=True).click()


def rows(page: Page, table: str) -> int:
    """How many rows a table on the page has, once it is there."""
    body = page.get_by_label(table, exact=True).locator("tbody tr")
    body.first.wait_for()
    return body.count()


def names(pages: PagesInBrowser) -> list[str]:
    """The names of all snapshots, by time."""
    return [record.archived.name for record in pages.db.tool.snapshots()]


SHOWN = "Snapshots that the toolkit made"


@long_on_cratedb
@pytest.mark.slow("restores in a browser")
def test_main_path(each_pages: PagesInBrowser) -> None:
    """Snapshots are shown, verified, and restored into their table, where the next run leaves them alone."""
    db = each_pages.db
    many, before = len(names(each_pages)), db.count("orders")
    assert many >= 6
    page = each_pages.log_in("operator", "/ui/archive")
    assert rows(page, SHOWN) == many
    page.get_by_role("checkbox", name=f"Choose {db.schema}.orders month=2023-09-01").click()
    page.get_by_role("checkbox", name=f"Choose {db.schema}.orders month=2023-10-01").click()
    press(page, "Verify")
    expect(page.get_by_text("All is right with 2 snapshots.")).to_be_visible()
    assert rows(page, "What verifying found") == 2
    assert len(db.journal(event="verified", outcome="done")) == 2
    expect(page.get_by_label(SHOWN, exact=True).get_by_text("2024-07-02 12:00")).to_have_count(2)

    page.goto(f"{each_pages.address}/ui/archive?to=2023-10-01")
    assert rows(page, SHOWN) == 3
    press(page, "Restore …")
    press(page, "Show what would be restored")
    expect(page.get_by_text(re.compile(r"3 partitions with 9 rows .* would come back"))).to_be_visible()
    expect(page.get_by_text("get a legal hold")).to_be_visible()
    assert (db.count("orders"), len(db.tool.holds())) == (before, 1)  # Nothing was written yet.
    press(page, "Restore 3 partitions")
    expect(page.get_by_text("3 partitions with 9 rows came back.")).to_be_visible()
    assert db.count("orders") == before + 9
    each_pages.go(page, "/ui/holds")
    expect(page.get_by_text("Restored data")).to_have_count(1)
    assert db.run().failed == 0
    assert db.count("orders", "ts < '2023-10-01'") == 9


@pytest.mark.slow("restores in a browser")
@long_on_cratedb
@pytest.mark.long("make test proves it by HTTP, and drives the main path of the page in a browser")
def test_beside_and_refused(each_pages: PagesInBrowser) -> None:
    """Into another table it is restored without a hold; what is there already is refused, and was said to be."""
    db = each_pages.db
    holds = len(db.tool.holds())
    page = each_pages.log_in("operator", "/ui/archive?to=2023-08-01")
    for outcome in ("1 partition with 3 rows came back.", ""):
        press(page, "Restore …")
        expect(page.get_by_text("came back.")).to_have_count(0)  # A form of its own.
        page.get_by_role("radio", name="Into another table").click()
        page.get_by_label("Other table, as schema.table").fill(f"{db.schema}.beside")
        press(page, "Show what would be restored")
        if outcome:
            press(page, "Restore 1 partition")
            expect(page.get_by_text(outcome)).to_be_visible()
    expect(page.get_by_text("the partition already exists")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^Restore .* partition"))).to_have_count(0)
    assert (db.count("beside"), len(db.tool.holds())) == (3, holds)
    found = db.tool.restore(RestoreRequest(name=names(each_pages)[0], into=db.table("beside")))
    assert "already" in (found[0].error or "")


@long_on_cratedb
@pytest.mark.long("make test proves it by HTTP, and drives the main path of the page in a browser")
def test_bad_snapshots(each_pages: PagesInBrowser) -> None:
    """What is missing or damaged stands first and says so; verifying says why; it can't be restored."""
    db = each_pages.db
    gone = names(each_pages)[2]
    db.drop_snapshot(gone)
    for path in db.snapshot_files():
        path.write_bytes(b"\0" * path.stat().st_size)
    page = each_pages.log_in("operator", "/ui/archive")
    first = page.get_by_label(SHOWN, exact=True).locator("tbody tr").first
    expect(first).to_contain_text("missing")
    expect(first).to_contain_text(gone)
    expect(page.get_by_text("1 with a problem, shown first")).to_be_visible()
    press(page, "Verify")
    expect(page.get_by_text("can't be relied on")).to_be_visible(timeout=120_000)
    found = page.get_by_label("What verifying found", exact=True)
    expect(found.get_by_text(re.compile("is not in repository|does not exist")).first).to_be_visible()
    expect(page.get_by_label(SHOWN, exact=True).get_by_text("damaged", exact=True).first).to_be_visible()
    page.get_by_role("checkbox", name=re.compile("^Choose .*month")).first.click()
    press(page, "Restore …")
    press(page, "Show what would be restored")
    expect(page.get_by_text("the snapshot no longer exists")).to_be_visible()


@pytest.mark.long("make test proves filters in an address in test_querying.py")
def test_filters(pages: PagesInBrowser) -> None:
    """Filters are in the address; one that can't be read is an error beside the form; hostile ones stay text."""
    page = pages.log_in("viewer", "/ui/archive")
    page.get_by_label("Table", exact=True).fill("orders")
    page.get_by_label("From", exact=True).fill("2024-02-01")
    page.get_by_label("To", exact=True).fill("2024-04-01")
    page.get_by_label("Tags", exact=True).fill("shop")
    press(page, "Filter")
    page.wait_for_url("**/ui/archive?table=orders&from=2024-02-01&to=2024-04-01&tags=shop")
    assert rows(page, SHOWN) == 2
    for filtered in ("table=nothing", "tags=acme", "repository=elsewhere", "from=2030-01-01"):
        pages.go(page, f"/ui/archive?{filtered}")
        expect(page.get_by_text("No snapshot matches.")).to_be_visible()
    pages.go(page, "/ui/archive?from=%3Cscript%3Ealert(1)%3C/script%3E")
    expect(page.get_by_role("alert")).to_contain_text("<script>alert(1)</script>")
    expect(page.get_by_label("From", exact=True)).to_have_value("<script>alert(1)</script>")


def test_what_is_chosen_is_done(elements: PageElements) -> None:
    """Only chosen snapshots are read back; only what was shown is restored, where it was shown to go."""
    db = elements.db
    orders = db.count("orders")
    elements.open(archive.show, "to=2023-10-01")
    assert len(elements.rows(SHOWN)) == 3
    elements.choose(SHOWN, 0)
    elements.press("Verify")
    assert [row[0] for row in elements.rows("What verifying found")] == ["verified"]
    assert "All is right with 1 snapshot." in elements.texts
    elements.press("Restore …")
    elements.fill("", "Into another table", ui.radio)
    elements.fill("Other table, as schema.table", "lab.beside")
    elements.press("Show what would be restored")
    assert [row[5] for row in elements.rows("What would be restored")] == ["lab.beside"] * 3
    assert elements.find(ui.button, "Restore 3 partitions")
    elements.fill("Other table, as schema.table", "lab.another")
    assert elements.find(ui.button, "Restore 3 partitions") is None
    elements.fill("Other table, as schema.table", "lab.beside")
    elements.press("Show what would be restored")
    elements.press("Restore 3 partitions")
    assert (db.count("beside"), db.count("orders")) == (9, orders)
    assert [row[5] for row in elements.rows("What was restored")] == ["no"] * 3
    elements.choose(SHOWN, 1)
    elements.press("Restore …")
    elements.fill("", "Into another table", ui.radio)
    elements.fill("Other table, as schema.table", "lab.beside")
    elements.press("Show what would be restored")
    [[refused, *_]] = elements.rows("What would be restored")
    assert refused.startswith("refused the partition already exists")
    assert elements.find(ui.button, "Restore 1 partition") is None


def test_a_restore_that_is_refused_says_so(elements: PageElements) -> None:
    """Why nothing was restored is told, although the button that was pressed is gone."""
    token = elements.db.tool.create_token("gone", Role.OPERATOR)[1]
    elements.open(archive.show, "to=2023-08-01", token)
    elements.press("Restore …")
    elements.press("Show what would be restored")
    elements.db.tool.revoke_token("gone")
    elements.press("Restore 1 partition")
    assert "unknown, expired or revoked" in elements.told[-1]


def test_deleting(elements: PageElements) -> None:
    """What would be deleted, and what stays, is shown and has to be confirmed; then exactly that is deleted."""
    db = elements.db
    before = [record.archived.name for record in db.tool.snapshots()]
    db.tool.hold("orders", "lab", where={"month": "2023-08-01"}, reason="case 4711")
    elements.open(archive.show, "to=2023-09-02")
    assert [row[8] for row in elements.rows(SHOWN)] == ["never"] * 3
    elements.press("Delete …")
    shown = [row[0] for row in elements.rows("What would be deleted")]
    assert [text == "ready" for text in shown] == [True, False, True]
    assert "case 4711" in shown[1]
    assert any(text.startswith("2 snapshots with 6 rows") and "1 would stay" in text for text in elements.texts)
    elements.press("Delete 2 snapshots")
    assert elements.question == "Delete 2 snapshots?"
    assert [record.archived.name for record in db.tool.snapshots()] == before
    assert not elements.find(ui.button, "Delete").enabled
    elements.fill("Write delete to go on", "delete")
    elements.press("Delete")
    assert [row[0] for row in elements.rows("What was deleted")] == ["deleted"] * 2
    assert "2 snapshots deleted." in elements.texts
    assert [record.archived.name for record in db.tool.snapshots()] == [before[1], *before[3:]]


def test_the_worst_is_first(elements: PageElements) -> None:
    """Snapshots that can't be relied on come first and say why; the others may be restored."""
    db = elements.db
    db.drop_snapshot(db.tool.snapshots()[2].archived.name)
    path = sorted(db.snapshot_files())[-1]
    path.write_bytes(b"\0" * path.stat().st_size)
    elements.open(archive.show)
    elements.press("Verify")
    first, second, third, *_ = elements.rows(SHOWN)
    assert (first[0], third[0]) == ("missing", "complete")
    assert second[0].startswith("damaged ")
    assert second[7].startswith("failed 2024-07-02")
    assert "2 of 10 snapshots can't be relied on." in elements.texts
    assert any(text.endswith("; 2 with a problem, shown first.") for text in elements.texts)
    elements.press("Restore …")
    elements.press("Show what would be restored")
    assert elements.find(ui.button, "Restore 8 partitions")


def test_viewer(pages: PagesInBrowser) -> None:
    """A viewer sees everything, and has nothing to press; the toolkit refuses them as well."""
    page = pages.log_in("viewer", "/ui/archive")
    assert rows(page, SHOWN) == len(names(pages))
    for name in ("Verify", "Restore …"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    expect(page.get_by_role("checkbox")).to_have_count(0)
    viewer = scoped(pages, Role.VIEWER)
    for work in (viewer.verify_snapshots, viewer.restore):
        with pytest.raises(Forbidden, match="role viewer"):
            work(ALL)
    assert pages.db.journal(event="verified") == []


@pytest.mark.long("make test proves it by HTTP, and drives the main path of the page in a browser")
def test_tenants(pages: PagesInBrowser) -> None:
    """A tenant sees, verifies and restores only snapshots of theirs, into tables of theirs."""
    db = pages.db
    many = len(names(pages))
    page = pages.log_in("acme", "/ui/archive")
    expect(page.get_by_text("No snapshot matches.")).to_be_visible()
    page = pages.log_in("globex", "/ui/archive")
    assert rows(page, SHOWN) == many
    acme, globex = scoped(pages, Role.EDITOR, "acme"), scoped(pages, Role.EDITOR, "globex")
    assert acme.verify_snapshots(ALL) == []
    for work in (acme.restorable, acme.restore):
        with pytest.raises(RetentionError, match="none matches"):
            work(ALL)
    for into in (db.table("visits"), db.table("new"), TableName(db.own_schema, "new")):
        for work in (globex.restorable, globex.restore):
            with pytest.raises(Forbidden):
                work(RestoreRequest(into=into))
    with pytest.raises(Forbidden, match="own tables"):
        scoped(pages, Role.ADMIN).restore(RestoreRequest(into=TableName(db.own_schema.upper(), "new")))
    before = db.count("orders")
    found = globex.restore(ALL)
    failed = [item.record.archived.end for item in found if item.error]
    assert failed == [to_ms(parse_instant("2024-05-01"))]  # It is there.
    assert db.count("orders") == before + sum(item.rows or 0 for item in found)
    db.tool.delete_policy("orders")
    with pytest.raises(Forbidden, match="no policy"):
        scoped(pages, Role.EDITOR, "globex").restore(ALL)


def test_hostile_names(pages: PagesInBrowser) -> None:
    """Names of tables and snapshots are text, wherever they are shown."""
    db = pages.db
    name = HOSTILE
    db.create(name, {"ts": TIME, "n": "TEXT", "kind": "TEXT", "month": MONTH}, by=["kind", "month"])
    db.fill(name, ["2024-01-01T00:00:00"], kind=HOSTILE)
    db.policy("snapshot", name, "30d", id="evil", tags=[HOSTILE])
    db.run()
    page = pages.log_in("admin", "/ui/archive")
    box = page.get_by_role("checkbox", name=f"Choose {db.schema}.{name} kind={HOSTILE}, month=2024-01-01")
    box.click()
    press(page, "Verify")
    expect(page.get_by_text("All is right with 1 snapshot.")).to_be_visible()
    box.click()
    press(page, "Restore …")
    press(page, "Show what would be restored")
    press(page, "Restore 1 partition")
    expect(page.get_by_text("1 partition with 1 row came back.")).to_be_visible()
    assert db.count(name) == 1
