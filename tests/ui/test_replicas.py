"""
Several services on one database, without sticky sessions: each request goes to another one than the last. Forms, drafts
and confirmations go on at any of them. On DuckDB the services are in one process, since a file belongs to one, and on
CrateDB they are processes of their own.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest
from playwright.sync_api import expect
from starlette.testclient import TestClient

from cratedb_retention.model.access import Role
from cratedb_retention.ui import links
from cratedb_retention.ui.links import LOGIN
from support.command import Command
from support.databases import MONTH, TIME, CrateDatabase, DuckDatabase
from support.pages import WIDE, Chromium
from support.replicas import open_replicas
from support.served import InTurn, Service, Visitor, open_service


@pytest.fixture
def services(db: DuckDatabase) -> Iterator[list[Service]]:
    """Two services that share nothing but the database."""
    with ExitStack() as stack:
        yield [stack.enter_context(open_service(db.retention())) for _ in range(2)]


@pytest.fixture
def editor(db: DuckDatabase, services: list[Service]) -> Visitor:
    """A user whose requests go to these in turn, from the log-in on."""
    apps = [service.client.app for service in services]
    client = TestClient(InTurn(apps), base_url="http://localhost", follow_redirects=False)
    token = db.tool.create_token("editor", Role.EDITOR)[1]
    assert client.post(LOGIN, data={"token": token}).status_code == 303
    return Visitor(client)


def follow(visitor: Visitor, path: str, form: Mapping[str, str | list[str]]) -> str:
    """Send a form, which has to be accepted; the text of the page that it leads to."""
    answer = visitor.post_several(path, **form)
    assert answer.status == 303, answer.text
    return visitor.get(answer.headers["location"]).text


def test_any_service_goes_on(db: DuckDatabase, services: list[Service], editor: Visitor) -> None:
    """A draft, a question, a hold and its release, and a plan are shown by one service, and done by another one."""
    path = links.policy("visits")
    draft = editor.get(path).form("draft")
    for period in ("50d", "30d"):
        draft = editor.post_several(path, **{**draft, "retention_period": [period]}).form("draft")
    assert "Saved." in follow(editor, path, {**draft, "do": "save", "confirm": "visits"})
    assert str(db.tool.policies.get("visits").policy.retention_period) == "30d"
    assert ["delete after 90d" in editor.get("/ui/").links for _ in services] == [False, False]
    boxes = editor.get("/ui/policies").all("input[@name='chosen']")
    [logs] = [box.get("value", "") for box in boxes if box.get("value", "").endswith(":logs")]
    question = editor.post("/ui/policies", do="enable", chosen=logs).fields("enable")
    assert "1 policy enabled." in follow(editor, "/ui/policies", {**question, "confirm": "logs"})
    visits = f"{db.schema}.visits"
    assert "in force" in follow(editor, "/ui/holds?place=yes", {"do": "place", "table": visits, "reason": "case 9"})
    [hold] = [each for each in db.tool.holds() if each.reason == "case 9"]
    there = f"/ui/holds?act=release&hold={hold.id}"
    release = editor.get(there).fields("release")
    assert "confirm" in release
    assert "is released" in follow(editor, there, {**release, "confirm": visits})
    plan, rows = "/ui/plan?policy=visits", db.count("visits")
    run = {**editor.get(plan).fields("run"), "confirm": "visits"}
    answer = editor.post(plan, **run)
    for service in services:
        service.context.runs.wait()
    assert (answer.status, db.count("visits")) == (303, rows - 7)
    shown = [editor.get(answer.headers["location"]).texts("span[@class='badge is-done']") for _ in services]
    assert [texts[0] for texts in shown] == ["done", "done"]


@pytest.mark.long("make test has two services in one process, on DuckDB, and a restart of one")
@pytest.mark.slow("services start and end as processes, and a browser waits for them")
def test_two_processes(crate: CrateDatabase, browser: Chromium) -> None:
    """Each ends in the middle of an edit, then both; the session as well. What was written is saved, and runs."""
    crate.create("visits", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    today = dt.datetime.now(dt.UTC).isoformat()  # The services have a clock of their own.
    crate.fill("visits", ["2024-01-10T12:00:00", "2024-02-10T12:00:00", "2024-03-10T12:00:00", today])
    crate.policy("delete", "visits", "99y", id="visits")
    token = crate.tool.create_token("editor", Role.EDITOR)[1]
    kind = (WIDE, False, True)
    page = browser.take(kind)
    with open_replicas(Command(crate.uri, crate.own_schema)) as replicas:
        page.goto(f"{replicas.address}{links.policy('visits')}")
        page.get_by_label("Access token").fill(token)
        page.get_by_role("button", name="Log in").click()
        page.get_by_label("Retention period", exact=True).fill("1y")
        changes, lost = page.get_by_role("list", name="Changes"), page.locator("#lost")
        expect(page.get_by_role("complementary", name="Effect")).to_contain_text("3 partitions (3 rows)")
        first, second = replicas.ports
        replicas.stop(first)
        page.get_by_label("Description", exact=True).fill("Long thoughts")
        expect(changes).to_contain_text("Long thoughts")
        expect(lost).to_be_hidden()
        replicas.stop(second)
        page.get_by_label("Tags", exact=True).fill("web")
        expect(lost).to_be_visible()
        replicas.start()
        expect(changes).to_contain_text("web")  # The page tries again by itself.
        expect(lost).to_be_hidden()
        page.get_by_label("Type visits to confirm").fill("visits")
        page.keyboard.press("Enter")
        page.wait_for_url("**saved=2")
        policy = crate.tool.policies.get("visits").policy
        assert (str(policy.retention_period), policy.description, policy.tags) == ("1y", "Long thoughts", ("web",))
        page.goto(f"{replicas.address}/ui/plan?policy=visits")
        page.context.clear_cookies()
        word = page.get_by_label("Type visits to confirm")
        word.fill("visits")
        word.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("Your session")
        page.get_by_role("link", name="Log in").click()
        page.get_by_label("Access token").fill(token)
        page.get_by_role("button", name="Log in").click()
        word.fill("visits")
        word.press("Enter")
        page.wait_for_url("**/ui/runs/*")
        expect(page.locator(".titled .badge")).to_have_text("done")
        browser.give_back(kind, page, replicas.address)
    assert crate.left("visits") == [today]
