"""The list of policies, by HTTP: what it shows to whom, what can be done about some or all, and policy files."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

from cratedb_retention.errors import Conflict
from cratedb_retention.model.access import Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policies.file import parse_policies
from cratedb_retention.service.access import Scope
from cratedb_retention.ui import links
from cratedb_retention.ui.policies import bulk
from cratedb_retention.ui.web import parts
from support.databases import DuckDatabase
from support.pages import PagesInBrowser
from support.sample_data import HOSTILE, HOSTILE_TABLE
from support.served import Served, Service, Visitor, text_of

PATH, FILE = "/ui/policies", "/ui/policy-file"
IDS = ["nowhere", "letters", "orders", "visits", "weather", "hostile", "logs"]
CHANGES = "What the file would change"


@pytest.fixture
def editor(service: Service) -> Visitor:
    return service.log_in(Role.EDITOR)


def damage(db: DuckDatabase) -> None:
    """A row that is not a valid policy."""
    columns = "id, strategy, table_name, retention_period, version"
    values = "'broken', 'shred', '<b>old</b>', 'soon', 1"
    db.sql(f'INSERT INTO "{db.own_schema}".retention_policy ({columns}) VALUES ({values})')


def keys(page: Served) -> dict[str, str]:
    """What the boxes of a list choose, by the identifiers of the policies, in order."""
    found = [each.get("value", "") for each in page.all("input[@name='chosen']")]
    return {key.partition(":")[2]: key for key in found}


def listed(page: Served) -> list[str]:
    """The identifiers of the policies in a list."""
    return [
        link.rpartition("/")[2] for link in page.links.values() if link.startswith(f"{PATH}/") and "new" not in link
    ]


def act(visitor: Visitor, do: str, *chosen: str, at: str = PATH, **more: str) -> Served:
    """Do something about policies, named as boxes name them."""
    return visitor.post(at, do=do, chosen=chosen, **more)


def policy(db: DuckDatabase, identifier: str) -> Any:
    return db.tool.policies.get(identifier).policy


def done(visitor: Visitor, answer: Served) -> str:
    """What the list says after something was done."""
    assert answer.status == 303, answer.text
    return visitor.get(answer.headers["location"]).texts("p[@class='done']")[0]


def test_what_is_shown(db: DuckDatabase, service: Service) -> None:
    """What needs attention comes first; each policy by its name, with its state, table, period and next run."""
    db.tool.edit_policy("orders", {"name": "A <b>name</b>"})
    damage(db)
    viewer = service.log_in(Role.VIEWER)
    page = viewer.get(PATH)
    rows = page.rows("Policies")
    assert rows[0]["Policy"].startswith("damaged broken ") and "shred" in rows[0]["Policy"]
    assert (rows[0]["State"], rows[0]["Table"]) == ("damaged", "<b>old</b>")
    assert listed(page) == IDS
    schema = db.schema
    visits = rows[4]
    shown = [visits[name] for name in ("State", "Table", "Kept for", "Next run", "Tags")]
    assert visits["Policy"] == f"{schema}.visits: delete after 90d Web visits"
    assert shown == ["due", f"{schema}.visits", "90d", "due now @daily", "acme web"]
    assert rows[3]["Policy"] == "A <b>name</b>" and page.href("A <b>name</b>") == links.policy("orders")
    assert rows[2]["Policy"].startswith(f"{schema}.letters: delete after 30d ") and "case 7/2024" in rows[2]["Policy"]
    assert rows[5]["Kept for"] == "14d"
    assert rows[6]["Policy"] == f"{schema}.{HOSTILE_TABLE}: keep forever {HOSTILE}"
    assert rows[6]["Next run"] == "by hand"
    assert rows[7]["State"] == "disabled"
    assert page.href(f"{schema}.visits") == links.table(TableName(schema, "visits"))
    assert page.href("web") == links.policies(tags="web")
    assert not {"Actions", "Choose"} & set(rows[0]) and not page.all("main//button[@name]")
    assert not {"New policy", "Import …", "Run now …"} & set(page.links)
    operator = service.log_in(Role.OPERATOR).get(PATH)
    assert operator.href("Run now …") == "/ui/plan?policy=nowhere"
    actions = {row["State"]: row["Actions"] for row in operator.rows("Policies")}
    assert [actions[state] for state in ("due", "disabled", "damaged")] == ["Run now …", "", ""]
    assert [each.get("value") for each in operator.all("button[@name='do']")] == ["run", "export"]


def test_choices_stand_in_the_address(db: DuckDatabase, editor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words, tags, strategies, states, order, groups and parts of the list; a choice keeps the others."""
    damage(db)
    for query, found in (
        ("q=VISITS", ["visits"]),
        ("q=weather+hour", ["weather"]),
        ("tags=acme,web", ["visits"]),
        ("tags=acme,not:web", ["nowhere", "letters", "weather"]),
        ("tags=acme,web&tags=globex", ["orders", "visits"]),
        ("tags=acme,web+or+globex", ["orders", "visits"]),
        ("tags=acme&strategy=delete&q=letters", ["letters"]),
        (urlencode({"tags": HOSTILE}), ["hostile"]),
        ("state=disabled.blocked", ["letters", "logs"]),
        ("state=x&sort=x&group=x&first=x", IDS),
        ("tags=acme&q=orders", []),
    ):
        assert listed(editor.get(f"{PATH}?{query}")) == found, query
    assert "No policy matches." in editor.get(f"{PATH}?tags=acme&q=orders").text
    for query, text in (("tags=a,,b", "an empty tag"), ("strategy=x", "unknown")):
        wrong = editor.get(f"{PATH}?{query}")
        assert text in wrong.texts("div[@role='alert']")[0] and not wrong.rows("Policies"), query
    # Rows that are not valid policies come first; forever, and without a schedule, last.
    kept = listed(editor.get(f"{PATH}?sort=kept"))
    assert (kept[0], kept[-1]) == ("weather", "hostile")
    assert listed(editor.get(f"{PATH}?sort=next"))[:2] == ["visits", "weather"]
    assert listed(editor.get(f"{PATH}?sort=table")) == [
        "hostile",
        "letters",
        "logs",
        "nowhere",
        "orders",
        "visits",
        "weather",
    ]
    assert "broken" in editor.get(f"{PATH}?sort=kept").rows("Policies")[0]["Policy"]
    due = editor.get(f"{PATH}?q=delete&sort=policy")
    assert due.href("Policy") == f"{PATH}?q=delete&sort=-policy"
    [chips] = due.all("nav[@class='chips']")
    states = {text_of(each).rstrip("0123456789 "): each.get("href", "") for each in chips}
    assert listed(editor.get(states["due"])) == ["visits"]
    assert editor.get(states["due"]).texts("th[@aria-sort='ascending']") == ["Policy"]
    assert editor.get(states["due"]).texts("nav[@class='chips']") == due.texts("nav[@class='chips']")
    db.tool.edit_policy("visits", {"where": {"n": "x"}})
    groups = editor.get(f"{PATH}?group=tenant")
    assert groups.texts("h2") == ["all data", "damaged", "n=x"]
    assert [row["Table"] for row in groups.rows("Policies, n=x")] == [f"{db.schema}.visits n=x"]
    assert editor.get(f"{PATH}?group=strategy").texts("h2") == ["damaged", "delete", "downsample", "snapshot"]
    monkeypatch.setattr(parts, "ROWS", 3)
    second = editor.get(editor.get(f"{PATH}?q=after").href("Next"))
    assert (len(listed(second)), second.href("Previous")) == (2, f"{PATH}?q=after&first=0")
    assert second.texts("nav[@class='pager']/span") == ["4 to 5 of 5 policies"]
    assert "all 5 that match" in second.text


def test_disabled_and_enabled(db: DuckDatabase, editor: Visitor) -> None:
    """One click disables; what would then delete data is enabled only by a word; never another version than shown."""
    page, rows = editor.get(f"{PATH}?q=visits"), db.count("visits")
    [button] = [each for each in page.all("button[@name='one']") if text_of(each) == "Disable"]
    old = keys(page)["visits"]
    db.tool.edit_policy("visits", {"retention_period": "91d"})
    refused = editor.post(f"{PATH}?q=visits", one=button.get("value", ""))
    assert (refused.status, refused.rows("Policies")[0]["Kept for"]) == (409, "91d")
    assert "another user has changed it in the meantime" in refused.text
    assert policy(db, "visits").enabled
    assert act(editor, "disable", old).status == 409
    answer = act(editor, "disable", keys(refused)["visits"], at=f"{PATH}?q=visits")
    assert answer.headers["location"] == f"{PATH}?q=visits&done=disable.1"
    assert done(editor, answer) == "1 policy disabled: runs skip disabled policies."
    assert not policy(db, "visits").enabled
    key = keys(editor.get(PATH))["visits"]
    assert "nothing to change" in act(editor, "disable", key).text
    asked = act(editor, "enable", key)
    assert (asked.status, "Type visits to confirm" in asked.text) == (200, True)
    assert "Then the next run would delete 1 row in 1 partition of 1 table." in asked.text
    assert [row["What"] for row in asked.rows("What the next run would do then")] == ["drop partition month=2024-03-01"]
    for word, status in (("visit", 422), ("", 422)):
        wrong = act(editor, "enable", key, sure="yes", confirm=word)
        assert (wrong.status, "Type visits to confirm" in wrong.text) == (status, True)
    assert not policy(db, "visits").enabled
    form = asked.fields("enable")
    assert "1 policy enabled." in done(editor, editor.post(PATH, **{**form, "confirm": "visits"}))
    assert policy(db, "visits").enabled and db.count("visits") == rows
    # Nothing is asked where no data would go.
    db.tool.edit_policy("visits", {"enabled": False, "retention_period": "9y"})
    assert "enabled" in done(editor, act(editor, "enable", keys(editor.get(PATH))["visits"]))


def test_some_and_all(db: DuckDatabase, editor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is selected is changed, and nothing without a selection; all that match only as the list showed them."""
    page = editor.get(PATH)
    both = [keys(page)[name] for name in ("visits", "letters")]
    assert act(editor, "disable").status == 422
    assert act(editor, "shred", *both).status == 422
    assert "2 policies disabled" in done(editor, act(editor, "disable", *both, keys(page)["logs"]))
    assert {name for name in IDS if not policy(db, name).enabled} == {"visits", "letters", "logs"}
    assert act(editor, "enable", keys(editor.get(PATH))["weather"], both[0]).status == 409
    mine = f"{PATH}?tags=acme"
    page = editor.get(mine)
    shown = {"do": "disable", "all": "yes", "matching": page.all("input[@name='matching']")[0].get("value", "")}
    db.tool.edit_policy("weather", {"description": "changed"})
    assert "the list" in editor.post(mine, **shown).texts("div[@role='alert']")[0].lower()
    assert policy(db, "weather").enabled
    shown["matching"] = editor.get(mine).all("input[@name='matching']")[0].get("value", "")
    assert editor.post(PATH, **shown).status == 409, "other filters, other policies"
    assert "2 policies disabled" in done(editor, editor.post(mine, **shown))
    assert {name for name in IDS if policy(db, name).enabled} == {"orders", "hostile"}
    # A button of a row is about that row alone.
    orders = keys(editor.get(PATH))["orders"]
    shown["matching"] = editor.get(PATH).all("input[@name='matching']")[0].get("value", "")
    assert "1 policy disabled" in done(editor, editor.post(PATH, **{**shown, "one": f"disable:{orders}"}))
    assert policy(db, "hostile").enabled
    # Another user is faster in between.
    change = Scope.change

    def refused(scope: Scope, identifier: str, *more: Any) -> Any:
        if identifier == "hostile":
            raise Conflict("policy hostile", "another user changed it", "check it again")
        return change(scope, identifier, *more)

    monkeypatch.setattr(Scope, "change", refused)
    db.tool.edit_policy("orders", {"enabled": True})
    page = editor.get(PATH)
    answer = act(editor, "disable", keys(page)["orders"], keys(page)["hostile"])
    assert (answer.status, "1 of 2 are disabled already" in answer.text) == (409, True)
    assert [row["State"] for row in answer.rows("Policies") if "orders" in row["Policy"]] == ["disabled"]
    assert keys(answer) == keys(editor.get(PATH))


def test_deleted(db: DuckDatabase, editor: Visitor) -> None:
    """Deleting asks, touches no data, and needs a word where another policy would then delete without an archive."""
    damage(db)
    rows = db.count("orders")
    key = keys(editor.get(PATH))["orders"]
    asked = act(editor, "delete", key)
    assert (asked.status, "Type" in asked.text) == (200, False)
    assert "Archived data stays" in asked.text and policy(db, "orders")
    db.policy("delete", "orders", "60d", id="greedy")
    asked = act(editor, "delete", key)
    assert "Type orders to confirm" in asked.text
    assert "Deleted for good: data of" in asked.text
    assert act(editor, "delete", key, sure="yes").status == 422
    assert "Type orders to confirm" in act(editor, "disable", key).text
    assert policy(db, "orders").enabled
    form = {**asked.fields("delete"), "confirm": "orders"}
    assert "1 policy deleted. No data was touched." in done(editor, editor.post(PATH, **form))
    assert db.count("orders") == rows
    assert editor.post(PATH, **form).status == 404
    # What is not rolled up yet goes only without the policy that rolls it up.
    db.policy("delete", "weather", "12h", id="sweep")
    key = keys(editor.get(PATH))["weather"]
    assert all("Type weather to confirm" in act(editor, do, key).text for do in ("delete", "disable"))
    # A row that is not a valid policy can only be deleted.
    broken = keys(editor.get(PATH))["broken"]
    for do in ("run", "disable", "enable", "tags", "schedule"):
        assert act(editor, do, broken, sure="yes").status == 422, do
    assert "1 policy deleted" in done(editor, act(editor, "delete", broken, sure="yes"))
    assert not db.tool.damaged_policies()


def test_schedule_and_tags(db: DuckDatabase, editor: Visitor) -> None:
    """Set for several at once; what was run by hand and would delete data by itself is confirmed."""
    page = editor.get(PATH)
    visits, orders = keys(page)["visits"], keys(page)["orders"]
    asked = act(editor, "schedule", visits)
    assert (asked.fields("schedule")["schedule"], "Type" in asked.text) == ("@daily", False)
    wrong = act(editor, "schedule", visits, sure="yes", schedule="at noon")
    assert (wrong.status, wrong.fields("schedule")["schedule"]) == (422, "at noon")
    assert "not a cron expression" in wrong.text
    assert "Type orders to confirm" in act(editor, "schedule", visits, orders).text
    given = {"sure": "yes", "schedule": "@weekly"}
    assert act(editor, "schedule", visits, orders, **given).status == 422
    assert policy(db, "visits").schedule == "@daily"
    assert "2 policies" in done(editor, act(editor, "schedule", visits, orders, **given, confirm="orders"))
    assert {policy(db, name).schedule for name in ("visits", "orders")} == {"@weekly"}
    page = editor.get(PATH)
    both = [keys(page)[name] for name in ("visits", "orders")]
    asked = act(editor, "tags", *both)
    assert "Present tags: acme, globex, shop, web." in asked.text
    answer = act(editor, "tags", *both, sure="yes", add="web, new", remove="acme, shop")
    assert "2 policies" in done(editor, answer)
    assert [policy(db, name).tags for name in ("visits", "orders")] == [("new", "web"), ("globex", "new", "web")]
    assert act(editor, "tags", keys(editor.get(PATH))["logs"], sure="yes", add="not:x").status == 422


def test_run_and_export(db: DuckDatabase, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several run by the plan of exactly these; files have what the filters show, or what is selected."""
    damage(db)
    operator = service.log_in(Role.OPERATOR)
    page = operator.get(PATH)
    both = [keys(page)[name] for name in ("visits", "orders")]
    assert act(operator, "run", *both).headers["location"] == "/ui/plan?policy=visits&policy=orders"
    monkeypatch.setattr(bulk, "MOST", 1)
    assert act(operator, "run", *both).status == 422

    def exported(answer: Served) -> set[str | None]:
        assert "attachment" in answer.headers["content-disposition"]
        return {each.id for each in parse_policies(answer.markup, "")}

    assert exported(act(operator, "export", *both)) == {"visits", "orders"}
    for query, found in (
        ("", set(IDS)),
        ("?q=letters", {"letters"}),
        ("?state=disabled", {"logs"}),
        ("?tags=web", {"visits"}),
    ):
        assert exported(operator.get(operator.get(f"{PATH}{query}").href("Export (YAML)"))) == found, query


def test_who_may_do_what(db: DuckDatabase, service: Service, editor: Visitor) -> None:
    """Viewers and operators change nothing, whatever they send; a tenant sees, changes and exports its own."""
    page = editor.get(PATH)
    visits, orders = keys(page)["visits"], keys(page)["orders"]
    for role in (Role.VIEWER, Role.OPERATOR):
        visitor = service.log_in(role)
        for do in ("disable", "delete", "tags", "schedule"):
            assert act(visitor, do, visits, sure="yes", add="x").status == 403, (role, do)
        assert visitor.get(FILE).status == visitor.post(FILE, do="check", text="[]").status == 403
    assert act(service.log_in(Role.VIEWER), "run", visits).status == 403
    acme = service.log_in(Role.EDITOR, "acme")
    page = acme.get(PATH)
    mine = ["nowhere", "letters", "visits", "weather"]
    assert listed(page) == mine
    assert not any(other in page.text for other in ("orders", "globex", HOSTILE_TABLE))
    found = parse_policies(acme.get("/ui/policies.yaml").markup, "")
    assert {each.id for each in found} == set(mine)
    for do in ("disable", "delete", "export", "run"):
        assert act(acme, do, orders, sure="yes").status == 404, do
    assert act(acme, "tags", visits, sure="yes", remove="acme").status == 403
    assert done(acme, act(acme, "disable", visits)).startswith("1 policy disabled")
    assert policy(db, "orders").enabled and not policy(db, "visits").enabled
    pruned = acme.post(FILE, do="check", text="policies: []", prune="yes")
    assert "delete 4, and leave 0 unchanged" in pruned.text
    assert "delete 1, and leave 0" in acme.post(FILE, do="check", text="policies: []", prune="yes", tags="web").text
    # What policies of others would do then is not shown to a tenant.
    db.policy("snapshot", "logs", "60d", id="mine", tags=["acme"])
    db.tool.edit_policy("logs", {"enabled": True, "retention_period": "60d", "tags": ["globex"]})
    assert "Type logs to confirm" in act(editor, "disable", "1:mine").text
    assert done(acme, act(acme, "disable", "1:mine")).startswith("1 policy disabled")


NEW = "policies: [{strategy: delete, table_name: new, retention_period: 3d}]"


def test_a_file_is_applied_as_it_was_shown(db: DuckDatabase, editor: Visitor) -> None:
    """Checking changes nothing; with other choices, or after another user's change, it has to be checked again."""
    before = {item.id: item.policy for item in db.tool.policies()}
    shown = editor.post(FILE, do="check", text=NEW)
    assert [row["Would"] for row in shown.rows(CHANGES)] == ["create"]
    assert {item.id: item.policy for item in db.tool.policies()} == before
    form = shown.fields("apply")
    assert form["text"] == NEW and "Type" not in shown.text
    assert editor.post(FILE, **{**form, "prune": "yes"}).status == 409, "other choices than were checked"
    shown = editor.post(FILE, do="check", text=NEW, prune="yes", tags="web")
    assert sorted(row["Would"] for row in shown.rows(CHANGES)) == ["create", "delete"]
    form = shown.fields("apply")
    db.tool.edit_policy("visits", {"retention_period": "91d"})
    refused = editor.post(FILE, **form)
    assert (refused.status, "check it again" in refused.text.lower()) == (409, True)
    assert {item.id for item in db.tool.policies()} == before.keys()
    assert done(editor, editor.post(FILE, **refused.fields("apply"))) == "The file is applied: 2 policies changed."
    assert {item.policy.table_name for item in db.tool.policies()} == {
        *(each.table_name for each in before.values() if each.id != "visits"),
        "new",
    }


def test_a_file_that_lets_data_go(db: DuckDatabase, editor: Visitor) -> None:
    """What the next run would then do is shown, and confirmed by a word; differences are named."""
    rule = f"id: logs, strategy: delete, table_schema: {db.schema}, table_name: logs"
    text = f"policies: [{{{rule}, retention_period: 40d, description: '<b>'}}]"
    shown = editor.post(FILE, do="check", text=text)
    [row] = shown.rows(CHANGES)
    assert row["What changes"] == "retention_period: 30d → 40d enabled: false → not set description: not set → <b>"
    assert "Type logs to confirm" in shown.text and "Deleted for good: data of" in shown.text
    form, rows = shown.fields("apply"), db.count("logs")
    assert editor.post(FILE, **form).status == 422
    assert not policy(db, "logs").enabled
    assert editor.post(FILE, **{**form, "confirm": "logs"}).status == 303
    assert policy(db, "logs").enabled and db.count("logs") == rows
    same = editor.post(FILE, do="check", text=text)
    assert "leave 1 unchanged" in same.text and not same.fields("apply")
    db.policy("delete", "orders", "60d", id="greedy")
    unarchived = editor.post(FILE, do="check", text="policies: []", prune="yes", tags="shop")
    assert "Type orders to confirm" in unarchived.text


def test_mistakes_in_a_file(editor: Visitor) -> None:
    """Line and attribute are named; a file may be sent as well, if it is text and not too large."""
    for text, said in (
        ("policies:\n- strategy: delete\n  table_name: x\n  retention_period: soon\n", "The file, line 4"),
        ("policies:\n- strategy: delete\n  table_name: [x\n", "not valid YAML"),
        ("", "the file is empty"),
    ):
        wrong = editor.post(FILE, do="check", text=text)
        assert (wrong.status, wrong.fields("apply")) == (422, {})
        assert said in wrong.texts("div[@role='alert']")[0]
        assert wrong.fields("check")["text"].strip() == text.strip()

    def send(content: bytes) -> Served:
        files: Mapping[str, Any] = {"file": ("policies.yaml", content)}
        data = {"do": "check", "text": "ignored"}
        return Visitor._served(editor.client.post(FILE, data=data, files=files, headers={"Origin": "http://localhost"}))

    sent = send(b"\xef\xbb\xbf" + NEW.encode())
    assert (sent.fields("check")["text"], len(sent.rows(CHANGES))) == (NEW, 1)
    assert "not UTF-8 text" in send(b"\xff\xfe\x00").text
    large = send(b"#" * 1024 * 1024)
    assert (large.status, "http.max_body" in large.text, large.href("Back")) == (413, True, FILE)


def test_choosing(pages: PagesInBrowser) -> None:
    """Boxes say how many they choose; keys lead to the search, and to any table."""
    page = pages.log_in("editor", PATH)
    bar, boxes = page.get_by_role("group", name="Chosen rows"), page.locator("[name=chosen]")
    expect(bar.locator(".chosen")).to_have_text("None chosen")
    expect(bar.get_by_role("button", name="Disable")).to_be_disabled()
    boxes.first.check()
    expect(bar.locator(".chosen")).to_have_text("1 chosen")
    page.get_by_label("Choose all on this page").check()
    expect(bar.locator(".chosen")).to_have_text("7 chosen")
    page.keyboard.press("/")
    page.keyboard.type("logs")
    page.keyboard.press("Enter")
    expect(boxes).to_have_count(1)
    expect(page.get_by_role("link", name="Export (YAML)")).to_have_attribute("href", "/ui/policies.yaml?q=logs")
    expect(bar.get_by_role("button", name="Delete")).to_be_disabled()
    page.get_by_label("the one that matches").check()
    expect(boxes.first).to_be_disabled()
    with page.expect_download() as exported:
        bar.get_by_role("button", name="Export").click()
    assert exported.value.suggested_filename == "policies.yaml"
    bar.get_by_role("button", name="Enable").click()
    word = page.get_by_label("Type logs to confirm")
    expect(word).to_be_focused()
    word.fill("logs")
    word.press("Enter")
    expect(page.locator(".done")).to_contain_text("1 policy enabled")
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog", name="Search").get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("weather")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{links.table(TableName(pages.db.schema, 'weather'))}")


@pytest.mark.long("it is about time, which make bench measures as well")
def test_a_thousand(db: DuckDatabase, service: Service) -> None:
    """A thousand policies cost no statement more than a few, and are found at once."""
    viewer = service.log_in(Role.VIEWER)
    with db.statements() as few:
        viewer.get(PATH)
    policies = [
        {"strategy": "delete", "table_name": f"t{n}", "retention_period": "30d", "schedule": f"{n % 60} {n % 24} * * *"}
        for n in range(1000)
    ]
    db.tool.apply(parse_policies(str({"policies": policies}), ""))
    begun = monotonic()
    with db.statements() as many:
        page = viewer.get(PATH)
    assert monotonic() - begun < 20
    assert (len(many), len(listed(page))) == (len(few), parts.ROWS)
    assert len(listed(viewer.get(f"{PATH}?q=t777"))) == 1
