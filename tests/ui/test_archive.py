"""The page of the archive, by HTTP and once in a browser: what there is, its condition, and what is done with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

from cratedb_retention.errors import Forbidden, RetentionError
from cratedb_retention.execution.archive import RestoreRequest, Verified
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.archive import SnapshotPlace
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policies.tags import parse_tag_filter
from cratedb_retention.model.time import parse_instant, to_ms
from cratedb_retention.service.access import Scope
from cratedb_retention.ui import links
from cratedb_retention.ui.access import COOKIE
from cratedb_retention.ui.archive import page as archive
from support.databases import MONTH, TIME, DuckDatabase
from support.pages import PagesInBrowser, long_on_cratedb
from support.sample_data import HOSTILE
from support.served import Served, Service, Visitor, open_service, text_of

PATH = "/ui/archive"
SHOWN, WOULD, OPERATIONS = "Snapshots", "What would be restored", "Recent operations of this service"


def choose(page: Served, act: str, *places: int, every: bool = False) -> str:
    """Where the form of the list leads with chosen rows, or with all that match."""
    [form] = [each for each in page.all("form") if each.get("data-load") is not None]
    fields = [(each.get("name", ""), each.get("value", ""), each.get("type")) for each in form.iter("input")]
    picks = [(name, value) for name, value, _ in fields if name == "pick"]
    given = [(name, value) for name, value, kind in fields if kind == "hidden"]
    chosen = [("all", "yes")] if every else [picks[place] for place in places]
    return f"{form.get('action')}?{urlencode([*given, *chosen, ('act', act)])}"


def over(service: Service, visitor: Visitor, answer: Served) -> Served:
    """The page that a form led to, once its work is done."""
    assert answer.status == 303, answer.text
    service.context.operations.wait()
    return visitor.get(answer.headers["location"])


def names(db: DuckDatabase) -> list[str]:
    """The names of all snapshots, by time."""
    return [record.archived.name for record in db.tool.snapshots()]


def scoped(db: DuckDatabase, role: Role, *limit: str) -> Scope:
    return Scope(db.tool, Access(role=role, actor="user", limit=parse_tag_filter(limit)))


@pytest.fixture
def operator(service: Service) -> Visitor:
    return service.log_in(Role.OPERATOR)


def test_what_is_chosen_is_restored(db: DuckDatabase, service: Service, operator: Visitor) -> None:
    """Exactly what was shown comes back, under one hold, which the next run obeys; the result says so."""
    listed, before = operator.get(PATH), db.count("orders")
    assert len(listed.rows(SHOWN)) == len(names(db)) == 10
    there = choose(listed, "restore", 0, 2)
    page = operator.get(there)
    assert [row["Partition"] for row in page.rows(WOULD)] == ["month=2023-07-01", "month=2023-09-01"]
    assert "2 partitions with 6 rows" in page.text and "get a legal hold" in page.text
    assert not page.rows(SHOWN), "it takes the place of the list"
    form, other = page.fields("restore"), operator.get(choose(listed, "restore", 1)).fields("restore")
    for shown in (other["shown"], ""):
        refused = operator.post(there, **{**form, "shown": shown})
        assert (refused.status, refused.fields("restore")) == (409, form)
        assert "has changed since it was shown" in refused.texts("div[@role='alert']")[0]
    assert (db.count("orders"), len(db.tool.holds())) == (before, 1)
    done = over(service, operator, operator.post(there, **form))
    [result] = done.rows(OPERATIONS)
    [hold] = [hold for hold in db.tool.holds() if hold.kind == "restored"]
    said = f"2 partitions with 6 rows restored into {db.schema}.orders under hold {hold.id[:8]}"
    assert [result[name] for name in ("Operation", "State", "Snapshots", "Below")] == [
        "Restore",
        "done",
        "2 of 2",
        said,
    ]
    assert "The restore has started." in done.text and len(done.rows(SHOWN)) == 10
    assert done.href(f"hold {hold.id[:8]}") == f"/ui/holds?q={hold.id}"
    assert db.count("orders") == before + 6
    assert db.tool.run(selection=Selection(policy_id="orders")).failed == 0
    assert db.count("orders", "ts < '2023-10-01'") == 6
    assert operator.get(there).rows(WOULD)[0]["Result"].startswith("refused the partition already exists")


def test_beside(db: DuckDatabase, service: Service, operator: Visitor) -> None:
    """Into another table it is restored without a hold, and only after that table was shown."""
    orders, there = db.count("orders"), choose(operator.get(f"{PATH}?to=2023-09-01"), "restore", every=True)
    into = f"{there}&into={db.schema}.beside"
    page, own = operator.get(into), operator.get(there).fields("restore")
    assert [row["Into"] for row in page.rows(WOULD)] == [f"{db.schema}.beside"] * 2
    assert "No hold is placed there" in page.text
    assert operator.post(into, **own).status == 409
    assert operator.post(there, **page.fields("restore")).status == 409
    done = over(service, operator, operator.post(into, **page.fields("restore")))
    assert (
        done.rows(OPERATIONS)[0]["Below"]
        == f"2 partitions with 6 rows restored into {db.schema}.beside without a hold."
    )
    assert (db.count("beside"), db.count("orders"), len(db.tool.holds())) == (6, orders, 1)
    refused = operator.get(into)
    assert all(row["Result"].startswith("refused the partition already exists") for row in refused.rows(WOULD))
    assert not refused.fields("restore") and "2 partitions would not" in refused.text
    wrong = operator.get(f"{there}&into=nonsense")
    assert "not of the form SCHEMA.TABLE" in wrong.texts("div[@role='alert']")[0]
    assert [each.get("value") for each in wrong.all("input[@name='into']")] == ["nonsense"]


def test_the_worst_is_first(db: DuckDatabase, service: Service, operator: Visitor) -> None:
    """Only the chosen snapshots are verified; those that cannot be relied on come first, say why, and stay."""
    gone = names(db)[2]
    db.drop_snapshot(gone)
    path = sorted(db.snapshot_files())[-1]
    path.write_bytes(b"\0" * path.stat().st_size)
    listed = operator.get(PATH)
    assert listed.rows(SHOWN)[0]["Snapshot"] == gone
    one = choose(listed, "verify", 1)
    assert "1 snapshot of 1 table" in operator.get(one).text
    done = over(service, operator, operator.post(one, **operator.get(one).fields("verify")))
    assert done.rows(OPERATIONS)[0]["Below"] == "1 snapshot verified: as they were archived."
    assert len(db.journal(event="verified")) == 1
    every = choose(listed, "verify", every=True)
    done = over(service, operator, operator.post(every, do="verify"))
    [result, _] = done.rows(OPERATIONS)
    assert (result["State"], result["Snapshots"]) == ("failed", "10 of 10")
    assert (
        result["Below"].startswith("8 snapshots verified")
        and f"{db.schema}.orders month=2023-09-01:" in result["Below"]
    )
    first, second, third, *_ = done.rows(SHOWN)
    assert (first["State"], third["State"]) == ("missing", "complete")
    assert second["State"].startswith("damaged ")
    assert (second["Verified"], third["Verified"]) == ("failed 2024-07-02 12:00", "2024-07-02 12:00")
    assert "; 2 cannot be relied on." in done.text
    [chips] = done.all("nav[@class='chips']")
    assert [text_of(each) for each in chips] == ["All 10", "missing 1", "damaged 1", "complete 8"]
    damaged = operator.get(done.href("damaged 1"))
    assert [row["State"] for row in damaged.rows(SHOWN)] == [second["State"]]
    assert "the one that matches" in damaged.text
    assert len(operator.get(choose(damaged, "restore", every=True)).rows(WOULD)) == 1, "all that match, and no more"
    page = operator.get(choose(done, "restore", every=True))
    assert [row["Result"] == "ready" for row in page.rows(WOULD)] == [False] * 2 + [True] * 8
    assert "the snapshot no longer exists" in page.rows(WOULD)[0]["Result"]
    assert "Restore 8 partitions" in page.texts("button")


def test_deleting(db: DuckDatabase, service: Service, operator: Visitor) -> None:
    """What would be deleted, and what stays, is shown and confirmed by a word; then exactly that is deleted."""
    editor, before = service.log_in(Role.EDITOR), names(db)
    db.tool.hold("orders", db.schema, where={"month": "2023-08-01"}, reason="case 4711")
    listed = editor.get(f"{PATH}?to=2023-09-02")
    assert [row["Ends"] for row in listed.rows(SHOWN)] == ["never"] * 3
    there = choose(listed, "delete", every=True)
    page = editor.get(there)
    results = [row["Result"] for row in page.rows("What would be deleted")]
    assert [text == "ready" for text in results] == [False, True, True] and "case 4711" in results[0]
    assert "2 snapshots with 6 rows" in page.text and "1 snapshot would stay" in page.text
    assert page.all("input[@name='confirm']")[0].get("autofocus") is not None
    form = {**page.fields("delete"), "confirm": "delete"}
    other = editor.get(choose(listed, "delete", 0)).fields("delete")["shown"]
    for given, status in (({"confirm": ""}, 422), ({"confirm": "yes"}, 422), ({"shown": other}, 409)):
        assert editor.post(there, **{**form, **given}).status == status
    assert operator.post(there, **form).status == 403
    assert not operator.get(there).fields("delete") and "Delete …" not in operator.get(PATH).texts("button")
    assert names(db) == before
    done = over(service, editor, editor.post(there, **form))
    assert done.rows(OPERATIONS)[0]["Below"] == "2 snapshots deleted."
    assert names(db) == [before[1], *before[3:]]


def test_choices_stand_in_the_address(db: DuckDatabase, service: Service, operator: Visitor) -> None:
    """Filters, order and choice; what cannot be read is said beside them. Nothing chosen is a mistake."""
    for query, count in (
        ("table=orders&from=2024-02-01&to=2024-04-01&tags=shop", 2),
        (f"table={db.schema}.ord*", 10),
        *(
            (each, 0)
            for each in (
                "table=nothing",
                "table=other.orders",
                "tags=acme",
                "repository=elsewhere",
                "from=2030-01-01",
                "state=damaged",
            )
        ),
    ):
        page = operator.get(f"{PATH}?{query}")
        assert len(page.rows(SHOWN)) == count, query
        assert ("No snapshots match." in page.text) is (count == 0)
    page = operator.get(f"{PATH}?from=%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>alert(1)</script>" in page.texts("div[@role='alert']")[0]
    assert "<script>alert(1)</script>" in [each.get("value") for each in page.all("input")]
    assert "none is chosen" in operator.get(f"{PATH}?act=restore").texts("div[@role='alert']")[0]
    assert operator.post(f"{PATH}?act=restore", do="restore").status == 422
    latest = operator.get(operator.get(f"{PATH}?to=2024-01-01").href("Partition"))
    latest = operator.get(latest.href("Partition"))
    assert [row["Partition"] for row in latest.rows(SHOWN)][:2] == ["month=2023-12-01", "month=2023-11-01"]
    assert [th.get("aria-sort") for th in latest.all("th") if th.get("aria-sort")] == ["descending"]
    assert latest.href("Partition") == f"{PATH}?to=2024-01-01"
    assert latest.href(f"{db.schema}.orders") == links.table(TableName(db.schema, "orders"))
    there = choose(latest, "restore", 1)
    [row] = operator.get(there).rows(WOULD)
    assert row["Partition"] == "month=2023-11-01"
    assert "1 chosen snapshot no longer in the list." in operator.get(f"{there}&pick=gone").text
    login = service.visit().get(there)
    assert login.status == 303 and login.headers["location"].startswith("/ui/login?to=/ui/archive%3F")


def test_long_lists(db: DuckDatabase, operator: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list comes in small parts; all that match are chosen together, on whatever page they are."""
    known, add = db.tool.snapshots()[0], db.tool.store.snapshots.add
    for number in range(52):
        add(replace(known, archived=replace(known.archived, name=f"made-{number:02}", size=number)))
    page = operator.get(f"{PATH}?sort=-size")
    assert (len(page.rows(SHOWN)), int(page.headers["content-length"]) < 12_000) == (50, True)
    last = operator.get(page.href("Next"))
    assert (len(last.rows(SHOWN)), last.href("Previous")) == (12, f"{PATH}?sort=-size&first=0")
    assert "51 to 62 of 62" in last.text and "all 62 that match" in last.text
    assert "Verify 62 snapshots" in operator.get(choose(last, "verify", every=True)).texts("button")
    assert "Verify 2 snapshots" in operator.get(choose(last, "verify", 0, 11)).texts("button")
    monkeypatch.setattr(archive, "MOST", 25)
    page, seen = operator.get(f"{PATH}?sort=-size"), list[str]()
    with db.statements() as sent:
        for count in (25, 25, 12):
            found = page.rows(SHOWN)
            assert len(found) == count and "At most 25 are shown" in page.text
            seen += [row["Snapshot"] for row in found]
            assert f"Verify {count} snapshots" in operator.get(choose(page, "verify", every=True)).texts("button")
            page = operator.get(page.href("Next 25")) if "Next 25" in page.links else page
    assert (len(seen), len(set(seen))) == (62, 62)
    assert not any(" OFFSET " in statement.upper() for statement in sent if "retention_snapshot" in statement)
    assert page.href("First 25") == f"{PATH}?sort=-size"
    for place in ("x", "[]", '["a","b","c","d","e"]', '["a","b",1e400,"d","e"]', f'["a","b",{2**64},"d","e"]'):
        wrong = operator.get(f"{PATH}?{urlencode({'after': place})}")
        assert (wrong.status, "is not valid" in wrong.texts("div[@role='alert']")[0]) == (200, True), place
    unknown_time = archive.write_place(SnapshotPlace(db.schema, "orders", None, "", ""))
    assert "No snapshots match." in operator.get(f"{PATH}?{urlencode({'after': unknown_time})}").text


def test_operations_are_cancelled(db: DuckDatabase, service: Service, operator: Visitor) -> None:
    """What goes on is cancelled by one button, before its next snapshot, by those who may start it."""
    go_on, record = Event(), db.tool.snapshots()[0]
    operations, viewer = service.context.operations, service.log_in(Role.VIEWER)

    def work(report: Callable[[Verified], None]) -> None:
        go_on.wait()
        report(Verified(record))

    begun = operations.start(db.tool, "verify", 2, work)
    form = {"do": "cancel", "operation": begun.operation_id}
    try:
        for path in (PATH, "/ui/runs"):
            page = operator.get(path)
            assert page.fields("cancel") == form
            assert PATH in [each.get("action") for each in page.all("form[@method='post']")]
        assert not viewer.get(PATH).fields("cancel") and viewer.post(PATH, **form).status == 403
        assert operator.post(PATH, **{**form, "operation": "x"}).status == 404
        answer = operator.post(PATH, **form)
    finally:
        go_on.set()
    done = over(service, operator, answer)
    [row] = done.rows(OPERATIONS)
    assert (row["State"], row["Snapshots"]) == ("cancelled", "1 of 2")
    assert "ends before its next snapshot" in done.text and not done.fields("cancel")
    assert operator.post(PATH, **form).status == 409


def test_any_service_answers(db: DuckDatabase, operator: Visitor) -> None:
    """What one service has shown another one does; what still another one does it does not know, and says so."""
    there = choose(operator.get(PATH), "restore", 0)
    form = operator.get(there).fields("restore")
    with open_service(db.retention()) as other:
        answer = other.visit(cookie=(COOKIE, operator.client.cookies[COOKIE])).post(there, **form)
        other.context.operations.wait()
    assert answer.status == 303
    assert "Another service does it." in operator.get(answer.headers["location"]).text
    assert [hold.kind for hold in db.tool.holds()] == ["legal", "restored"]


def test_viewer(db: DuckDatabase, service: Service, operator: Visitor) -> None:
    """A viewer sees everything, and can do nothing about it, whatever they send."""
    viewer, there = service.log_in(Role.VIEWER), choose(operator.get(PATH), "restore", 0)
    for page in (viewer.get(PATH), viewer.get(there)):
        assert len(page.rows(SHOWN)) == 10
        assert not page.all("input[@type='checkbox']") and not page.fields("restore")
        assert not {"Restore …", "Verify …"} & {*page.links, *page.texts("button")}
    for do in ("restore", "verify", "delete"):
        form = {"do": do, "shown": operator.get(there).fields("restore")["shown"], "confirm": "delete"}
        assert viewer.post(there, **form).status == 403
    limited = scoped(db, Role.VIEWER)
    for work in (limited.verify_snapshots, limited.restore):
        with pytest.raises(Forbidden, match="role viewer"):
            work(RestoreRequest())
    assert db.journal(event="verified") == []


def test_tenants(db: DuckDatabase, service: Service, operator: Visitor) -> None:
    """A tenant sees, verifies and restores only its own snapshots, into its own tables."""
    acme, globex = (service.log_in(Role.EDITOR, tenant) for tenant in ("acme", "globex"))
    there = choose(operator.get(PATH), "restore", 0)
    assert "No snapshots yet." in acme.get(PATH).text and "none is chosen" in acme.get(there).text
    assert acme.post(there, **operator.get(there).fields("restore")).status == 422
    assert len(globex.get(PATH).rows(SHOWN)) == 10
    foreign = globex.get(f"{there}&into={db.schema}.visits")
    assert "no policy with the tags of this token" in foreign.texts("div[@role='alert']")[0]
    assert not foreign.fields("restore")


@pytest.mark.long("make test proves it by HTTP, of the page and of the HTTP API")
def test_tenants_without_a_page(db: DuckDatabase) -> None:
    """Whatever a tenant asks for, only its own snapshots are verified and restored, into its own tables."""
    tenants = {tenant: scoped(db, Role.EDITOR, tenant) for tenant in ("acme", "globex")}
    assert tenants["acme"].verify_snapshots(RestoreRequest()) == []
    for work in (tenants["acme"].restorable, tenants["acme"].restore):
        with pytest.raises(RetentionError, match="none matches"):
            work(RestoreRequest())
    for into in (db.table("visits"), db.table("new"), TableName(db.own_schema, "new")):
        for work in (tenants["globex"].restorable, tenants["globex"].restore):
            with pytest.raises(Forbidden):
                work(RestoreRequest(into=into))
    with pytest.raises(Forbidden, match="own tables"):
        scoped(db, Role.ADMIN).restore(RestoreRequest(into=TableName(db.own_schema.upper(), "new")))
    before = db.count("orders")
    found = tenants["globex"].restore(RestoreRequest())
    failed = [item.record.archived.end for item in found if item.error]
    assert failed == [to_ms(parse_instant("2024-05-01"))]  # It is there.
    assert db.count("orders") == before + sum(item.rows or 0 for item in found)
    db.tool.delete_policy("orders")
    with pytest.raises(Forbidden, match="no policy"):
        scoped(db, Role.EDITOR, "globex").restore(RestoreRequest())


def test_hostile_names(db: DuckDatabase, service: Service) -> None:
    """Names of tables and snapshots are text, wherever they are shown."""
    db.create(HOSTILE, {"ts": TIME, "n": "TEXT", "kind": "TEXT", "month": MONTH}, by=["kind", "month"])
    db.fill(HOSTILE, ["2024-01-01T00:00:00"], kind=HOSTILE)
    db.policy("snapshot", HOSTILE, "30d", id="evil", tags=[HOSTILE])
    db.tool.run(selection=Selection(policy_id="evil"))
    admin = service.log_in(Role.ADMIN)
    listed = admin.get(f"{PATH}?{urlencode({'tags': HOSTILE})}")
    [row] = listed.rows(SHOWN)
    assert (row["Table"], row["Partition"]) == (f"{db.schema}.{HOSTILE}", f"kind={HOSTILE}, month=2024-01-01")
    there = choose(listed, "restore", 0)
    done = over(service, admin, admin.post(there, **admin.get(there).fields("restore")))
    assert done.rows(OPERATIONS)[0]["Below"].startswith("1 partition with 1 row restored into")
    assert "<script>alert" not in done.markup
    assert db.count(HOSTILE) == 1


@pytest.mark.long("make test has each of these by HTTP")
@pytest.mark.slow("archives are verified and restored, in a browser")
@long_on_cratedb
def test_in_a_browser(each_pages: PagesInBrowser) -> None:
    """One box chooses all on a page; progress and what it changes show by themselves; the keyboard is enough."""
    db, pages = each_pages.db, each_pages
    page = pages.log_in("editor", f"{PATH}?to=2023-10-01")
    listed, boxes = page.get_by_role("region", name=SHOWN), page.get_by_role("checkbox", name=f"Choose {db.schema}")
    expect(boxes).to_have_count(3)
    page.get_by_role("checkbox", name="Choose all on this page").check()
    expect(boxes.nth(2)).to_be_checked()
    boxes.nth(2).uncheck()
    page.get_by_role("button", name="Verify …").click()
    page.get_by_role("button", name="Verify 2 snapshots").click()
    expect(page.get_by_role("region", name=OPERATIONS)).to_contain_text("2 snapshots verified")
    expect(listed.get_by_text("2024-07-02 12:00", exact=True)).to_have_count(2)
    before = db.count("orders")
    boxes.nth(0).check()
    page.get_by_role("button", name="Restore …").click()
    page.get_by_label("Into another table").fill(f"{db.schema}.beside")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name=WOULD)).to_contain_text(f"{db.schema}.beside")
    page.get_by_role("button", name="Restore 1 partition").click()
    expect(page.get_by_role("region", name=OPERATIONS)).to_contain_text("1 partition with 3 rows restored")
    assert (db.count("beside"), db.count("orders")) == (3, before)
    boxes.nth(0).check()
    page.get_by_role("button", name="Delete …").click()
    expect(page.get_by_label("Type delete to confirm")).to_be_focused()
    page.keyboard.type("delete")
    page.keyboard.press("Enter")
    expect(listed.locator("tbody tr")).to_have_count(2)
