"""The plan as a page, by HTTP, and runs that are started there; runs themselves are in `test_runs.py`."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from starlette.datastructures import FormData, UploadFile

from cratedb_retention.errors import Forbidden
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.service.access import Scope
from cratedb_retention.ui import links
from cratedb_retention.ui.plan import chosen_tables
from cratedb_retention.ui.web import parts
from support.databases import DuckDatabase
from support.pages import PagesInBrowser
from support.sample_data import HOSTILE_TABLE
from support.served import Service, Visitor, text_of

EXPIRED = "2024-03-05T12:00:00"
VISITS = "/ui/plan?policy=visits"
TASKS, ATTENTION = "What would be done", "Needs attention: blocked until you act"
BLOCKED = "Blocked: due, but must not happen now"


@pytest.fixture
def operator(service: Service) -> Visitor:
    return service.log_in(Role.OPERATOR)


def test_what_is_asked_and_done(db: DuckDatabase, service: Service, operator: Visitor) -> None:
    """A run that deletes data is confirmed, is of exactly what is shown, and leads to its page; it is run once."""
    before, page = db.left("visits"), operator.get(VISITS)
    assert "This run would delete 1 row in 1 partition of 1 table." in page.text
    assert "Type visits to confirm" in page.text and "Run 1 task" in page.texts("button")
    form = {**page.fields("run"), "confirm": "visits"}
    later = str(int(form["cutoff"]) + 1)
    for name, value, status in (("confirm", "visit", 422), ("shown", "x", 409), ("cutoff", later, 422)):
        answer = operator.post(VISITS, **{**form, name: value})
        assert answer.status == status, name
        assert answer.fields("run")["shown"] == form["shown"]
    assert operator.post("/ui/plan?policy=orders", **form).status == 409
    assert db.left("visits") == before
    done = operator.post(VISITS, **form)
    service.context.runs.wait()
    [run] = service.context.runs.all(db.tool)
    assert (done.status, done.headers["location"]) == (303, links.run(run.run_id))
    assert db.left("visits") == [row for row in before if row != EXPIRED]
    assert operator.post(VISITS, **form).status == 409
    over = operator.get(VISITS)
    assert "Nothing is due: this run would change nothing." in over.text and not over.fields("run")


def test_what_is_accepted(db: DuckDatabase, service: Service, operator: Visitor) -> None:
    """What exceeds a limit is run from a plan that accepts it, which operators may show and start."""
    db.tool.edit_policy("visits", {"expected_max": {"rows": 0}})
    page = operator.get(VISITS)
    accepted = f"{VISITS}&accept=yes"
    assert page.href("Accept for one run") == accepted and not page.fields("run")
    assert "Accept for one run" not in service.log_in(Role.VIEWER).get(VISITS).text
    page = operator.get(accepted)
    assert "This plan accepts what is unusual" in page.text and "Accept for one run" not in page.text
    form = {**page.fields("run"), "confirm": "visits"}
    assert operator.post(VISITS, **form).status == 409
    assert operator.post(accepted, **form).status == 303
    service.context.runs.wait()
    assert EXPIRED not in db.left("visits")


def test_a_part(db: DuckDatabase, service: Service, operator: Visitor) -> None:
    """Some of several tables are chosen; those come first whose data goes for good. Nothing is done to the others."""
    page, orders = operator.get("/ui/plan"), db.count("orders")
    tables = [row["Table"] for row in page.rows(TASKS)]
    assert tables.index(f"{db.schema}.visits") < tables.index(f"{db.schema}.orders")
    assert [box.get("value") for box in page.all("input[@type='checkbox']")] == tables
    assert all(box.get("checked") is not None for box in page.all("input[@type='checkbox']"))
    form = {**page.fields("run"), "table": f"{db.schema}.visits", "confirm": "run"}
    assert operator.post("/ui/plan", **{**form, "table": "nothing"}).status == 422
    assert operator.post("/ui/plan", **{**form, "confirm": "visits"}).status == 422
    assert operator.post("/ui/plan", **form).status == 303
    service.context.runs.wait()
    assert EXPIRED not in db.left("visits")
    [run] = service.context.runs.all(db.tool)
    assert {row["table_name"] for row in db.journal(event="step-finished", run_id=run.run_id)} == {"visits"}
    assert db.count("orders") == orders


def test_long_plans(db: DuckDatabase, service: Service, operator: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists have parts; what is not shown is run only if a button says so, whatever the boxes say."""
    tables = [row["Table"] for row in operator.get("/ui/plan").rows(TASKS)]
    monkeypatch.setattr(parts, "ROWS", 1)
    pages = [operator.get(f"/ui/plan?tables={at}&later=1") for at in range(len(tables))]
    assert [row["Table"] for page in pages for row in page.rows(TASKS)] == tables
    assert f"1 to 1 of {len(tables)}" in pages[0].text
    assert operator.get(pages[0].href("Next")).rows(TASKS) == pages[1].rows(TASKS)
    assert len({page.fields("run")["shown"] for page in pages}) == 1
    assert pages[0].rows("Up to date") == pages[1].rows("Up to date") != operator.get("/ui/plan").rows("Up to date")
    assert operator.get("/ui/plan?tables=1000").rows(TASKS) == pages[0].rows(TASKS)
    chosen, every = pages[0].all("div[@class='ends']/button")
    assert (text_of(chosen), chosen.get("name")) == ("Run the chosen tables of this page", None)
    assert text_of(every).startswith(f"Run all {len(tables)} tables (")
    sent: list[tuple[str, str | UploadFile]] = [("chosen", "yes"), ("table", tables[0])]
    assert chosen_tables(FormData(sent)) == {tables[0]}
    assert chosen_tables(FormData([*sent, (every.get("name", ""), every.get("value", ""))])) is None
    form = {**pages[0].fields("run"), "confirm": "run"}
    assert operator.post("/ui/plan?tables=0", **form).status == 303
    service.context.runs.wait()
    [run] = service.context.runs.all(db.tool)
    done = db.journal(event="step-finished", run_id=run.run_id)
    assert {f"{row['table_schema']}.{row['table_name']}" for row in done} == {tables[0]}


def test_what_is_shown(db: DuckDatabase, service: Service, operator: Visitor) -> None:
    """What needs attention is not among what is only blocked; each table has its tasks, in full where one is alone."""
    page = operator.get("/ui/plan")
    [problem], [blocked] = page.rows(ATTENTION), page.rows(BLOCKED)
    assert (problem["Table"], blocked["Table"]) == (f"{db.schema}.nowhere", f"{db.schema}.letters")
    assert "Accept for one run" not in page.links
    later = [row["More is due"] for row in page.rows("Up to date")]
    assert later == sorted(filter(None, later)) + [""] * later.count("")
    [visits] = [row for row in page.rows(TASKS) if row["Table"] == f"{db.schema}.visits"]
    assert (visits["Effect"], visits["Partitions"], visits["Rows"]) == ("delete 1 partition", "1", "1")
    assert (visits["Time (UTC)"], visits["Below"][:6]) == ("2024-03-01 to 2024-04-01", "1 task")
    [task] = page.rows(f"Tasks of {db.schema}.visits")
    assert (task["Policy"], task["What"]) == ("delete after 90d", "drop partition month=2024-03-01")
    [hold] = page.rows("Legal holds in force")
    assert hold["Reason"] == "case 7/2024"
    assert page.href(hold["Hold"]) == links.table(TableName(db.schema, "letters"), tab="holds")
    statements = operator.get(page.href("Show the statements (SQL)"))
    assert any("DELETE FROM" in text for text in statements.texts("pre"))
    acme = service.log_in(Role.OPERATOR, "acme").get("/ui/plan?sql=yes")
    assert acme.fields("run") and not acme.all("pre") and "Show the statements (SQL)" not in acme.links


def test_filters(db: DuckDatabase, operator: Visitor) -> None:
    """With an earlier cutoff less is due; a later one than now, and what does not exist, are said at the filters."""
    for query, text in (
        ("policy=visits&cutoff=2024-06-01", "Nothing is due"),
        ("policy=visits&cutoff=2024-06-30", "This run would delete 1 row"),
        ("tags=acme&strategy=delete", "This run would delete 1 row"),
        ("policy=visits+or+orders", "of 1 table, archive 1 partition of 1 table"),
    ):
        assert text in operator.get(f"/ui/plan?{query}").text, query
    for query, text in (
        ("cutoff=2024-07-02T12:00:01", "lies in the future"),
        ("policy=unknown", "does not exist"),
        ("tags=unknown", "no policy has it"),
        ("strategy=x", "unknown"),
    ):
        [alert] = operator.get(f"/ui/plan?{query}").texts("div[@role='alert']")
        assert text in alert.lower() or text in alert, query


def test_a_plan_that_is_out_of_date_is_not_run(db: DuckDatabase, operator: Visitor) -> None:
    """What another user did meanwhile makes a plan old; then it is shown again."""
    form = {**operator.get(VISITS).fields("run"), "confirm": "visits"}
    db.tool.run(selection=Selection(policy_id="visits"))
    answer = operator.post(VISITS, **form)
    assert (answer.status, "has changed since it was shown" in answer.text) == (409, True)
    assert "Nothing is due" in answer.text


def test_who_may_not_run(db: DuckDatabase, service: Service, operator: Visitor) -> None:
    """Viewers see the plan, and can do nothing about it, whatever they send."""
    viewer = service.log_in(Role.VIEWER)
    page = viewer.get(VISITS)
    assert page.rows(TASKS) and not page.fields("run") and not page.all("input[@type='checkbox']")
    form = {**operator.get(VISITS).fields("run"), "confirm": "visits"}
    assert viewer.post(VISITS, **form).status == 403
    assert EXPIRED in db.left("visits")
    scoped = Scope(db.tool, Access(role=Role.VIEWER, actor="viewer"))
    for refused in (
        lambda: scoped.start_run(service.context.runs, db.tool.prepare()),
        lambda: scoped.statements(db.tool.plan()),
    ):
        with pytest.raises(Forbidden):
            refused()


def test_tenants(db: DuckDatabase, service: Service) -> None:
    """A user with a scope plans and runs what is theirs only."""
    acme, globex = (service.log_in(Role.EDITOR, tag) for tag in ("acme", "globex"))
    orders = db.count("orders")
    assert "This run would archive 1 partition of 1 table." in globex.get("/ui/plan").text
    page = acme.get("/ui/plan")
    tables = {row["Table"] for row in page.rows(TASKS)}
    assert f"{db.schema}.visits" in tables
    assert not any(other in page.text for other in ("orders", "globex", HOSTILE_TABLE))
    form = {**page.fields("run"), "confirm": "run"}
    form.pop("table")
    assert acme.post("/ui/plan", **form, table=f"{db.schema}.orders").status == 422
    assert globex.post("/ui/plan", **form, table=f"{db.schema}.visits").status == 409
    assert acme.post("/ui/plan", **form, table=f"{db.schema}.visits").status == 303
    service.context.runs.wait()
    assert EXPIRED not in db.left("visits")
    assert db.count("orders") == orders


@pytest.mark.long("make test has each of these by HTTP, and other pages in a browser")
@pytest.mark.slow("a run, in a browser")
def test_a_run_in_a_browser(pages: PagesInBrowser) -> None:
    """From the plan to the end of its run, which its page follows by itself; times as one wants them."""
    page = pages.log_in("operator", VISITS)
    page.get_by_label("Type visits to confirm").fill("visits")
    page.get_by_role("button", name="Run 1 task").click()
    page.wait_for_url("**/ui/runs/*")
    expect(page.locator(".titled .badge")).to_have_text("done")
    expect(page.get_by_role("region", name="What it did, by table")).to_contain_text("1 done")
    assert EXPIRED not in pages.db.left("visits")
    times = page.get_by_role("button", name="Times")
    for name, text in (("Local", "2024-"), ("Relative", "ago"), ("UTC", "2024-07-02 12:00:00")):
        times.click()
        expect(times).to_have_text(f"Times: {name}")
        expect(page.locator(".facts time").first).to_contain_text(text)
