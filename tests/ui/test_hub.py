"""The page of a table, by HTTP: what it shows to whom, its views, choices and forms, and that any service answers."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import pytest

from cratedb_retention import Retention
from cratedb_retention.errors import RetentionError
from cratedb_retention.execution.plan.preparing import Look, Prepared, Selection
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.catalog import Catalog, Selector, TableName
from cratedb_retention.model.policies.tags import parse_tag_filter
from cratedb_retention.model.time import parse_instant
from cratedb_retention.service.access import Scope, TableView
from cratedb_retention.ui import links
from cratedb_retention.ui.access import COOKIE, POLICY
from cratedb_retention.ui.frame import STATIC
from cratedb_retention.ui.web import parts
from support.databases import MONTH, NUMBER, TIME, CrateDatabase, Database, DuckDatabase
from support.sample_data import DAY, HOSTILE, HOSTILE_TABLE, fill
from support.served import Served, Service, Visitor, open_service


@pytest.fixture
def admin(service: Service) -> Visitor:
    return service.log_in(Role.ADMIN)


def href(db: Database, name: str, **query: str) -> str:
    return links.table(TableName(db.schema, name), **query)


def shows_everything(db: Database, visitor: Visitor) -> None:
    """The lanes, the next run, and each view, and the row of the overview, on any engine."""
    page = visitor.get(href(db, "orders"))
    assert (page.status, page.title) == (200, f"{db.schema}.orders")
    assert page.texts("span[@class='lane-title']") == ["Data in the table", "Archived", "Gone"]
    described = [svg.get("aria-label", "") for svg in page.all("svg[@role='img']")]
    assert "will be archived, then dropped" in described[0]
    assert "archived, data dropped" in described[1]
    assert any(text == "archive and drop after 60d" for text in page.texts("text"))
    [change] = page.rows("Next run")
    assert "archive partition" in change["What"]
    assert change["Policy"] == "archive after 60d"
    states = [row["State"] for row in page.rows("Data by time")]
    assert {"will be archived, then dropped", "archived, data dropped", "up to date"} <= set(states)

    policies = visitor.get(href(db, "orders", tab="policies"))
    [policy] = policies.rows("Policies on this table")
    assert (policy["State"], policy["Policy"], policy["Tags"]) == ("due", "Archive and drop after 60d", "globex shop")
    assert policies.href("Archive and drop after 60d") == links.policy("orders")
    assert [row["Data"] for row in policies.rows("As data ages")] == ["all"]
    assert (
        visitor.get(href(db, "visits", tab="policies")).rows("As data ages")[0].popitem()[1] == "hot until 90d -> gone"
    )
    entries = visitor.get(href(db, "orders", tab="runs")).rows("Runs and changes of this table, newest first")
    assert {"done"} <= {row["Outcome"] for row in entries if row["Event"] == "Step finished"}
    assert not any(row["Event"] == "Step started" for row in entries)
    archived = visitor.get(href(db, "orders", tab="archive"))
    assert {row["State"] for row in archived.rows("Snapshots of this table")} == {"complete"}
    assert archived.href("Verify or delete …") == f"/ui/archive?table={db.schema}.orders"
    letters = visitor.get(href(db, "letters", tab="holds"))
    [hold] = letters.rows("Holds on this table")
    assert (hold["Reason"], hold["Time (UTC)"]) == ("case 7/2024", "2023-01-01 to 2024-05-01")
    [blocked] = visitor.get(href(db, "letters")).rows("Blocked: due, but must not happen now")
    assert "case 7/2024" in blocked["Why"]

    weather = visitor.get(href(db, "weather"))
    assert "Policies 1" in weather.texts("nav[@class='tabs']/a"), "its levels are of the same policy"
    assert weather.texts("span[@class='lane-title']")[:3] == ["Data in the table", "Rollup 1h", "Rollup 1d"]
    assert "Computed up to 2024-07-01, sealed up to 2024-06-17." in weather.text
    level = visitor.get(href(db, "weather_1h"))
    assert level.href(f"{db.schema}.weather") == href(db, "weather")

    explored = visitor.get(f"/ui/explore?table={db.schema}.weather&from=2024-06-05&until=2024-06-06")
    assert f"1 point per hour, from {db.schema}.weather_1h." in explored.text
    assert len(explored.rows("The values of the chart")) == 24

    [release] = db.tool.read_releases()
    assert release in visitor.get("/ui/administration").texts("dd")

    overview = visitor.get("/ui/")
    [due] = [row for row in overview.rows("Tables") if row["Table"] == f"{db.schema}.orders"]
    assert (due["State"], due["Due now"]) == ("due", "1 partition")
    told = [svg.get("aria-label", "") for svg in overview.all("svg[@role='img']")]
    assert any(
        text.startswith(f"{db.schema}.orders; data: 2024-04-01") and "; archive: 2023-07-01" in text for text in told
    )


def test_everything(db: DuckDatabase, admin: Visitor) -> None:
    """What is known of a table, on DuckDB."""
    shows_everything(db, admin)


@pytest.mark.slow("tables, a run and archives on CrateDB")
def test_everything_on_cratedb(crate: CrateDatabase) -> None:
    """The same on CrateDB, where each request is answered by another service than the one before."""
    fill(crate)
    with ExitStack() as stack:
        first, second = (stack.enter_context(open_service(crate.retention())) for _ in range(2))
        here = first.log_in(Role.ADMIN)
        there = second.visit(cookie=(COOKIE, here.client.cookies[COOKIE]))

        class Balanced(Visitor):
            def get(self, path: str) -> Served:
                pair.reverse()
                return pair[0].get(path)

        pair = [here, there]
        shows_everything(crate, Balanced(here.client))


def test_any_service_answers(db: DuckDatabase, service: Service, admin: Visitor) -> None:
    """A log-in at one service is good at another, and at one that was started since; none remembers anything else."""
    cookie = (COOKIE, admin.client.cookies[COOKIE])
    path = href(db, "orders", tab="holds", **{"from": "2024-01-01"})
    before = admin.get(path)
    with open_service(db.retention()) as other:
        moved = other.visit(cookie=cookie)
        assert moved.get(path).markup == before.markup
        there = moved.post(path, do="place", reason="from another service")
        assert there.status == 303
    assert "from another service" in admin.get(there.headers["location"]).text
    with open_service(db.retention()) as restarted:
        visitor = restarted.visit(cookie=cookie)
        assert "from another service" in visitor.get(path).text
        visitor.client.post("/ui/logout")
    gone = admin.get(path)
    assert (gone.status, gone.headers["location"]) == (303, f"/ui/login?to={quote(path)}")


def test_a_table_is_planned_without_the_others(db: DuckDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the table and its cascade are read, and what is said of it is what a plan for all tables says."""
    db.policy("delete", "*s", "300d", id="pattern", tags=["acme"])
    db.policy("delete", "l*", "forever", id="budget", max_size="1kB", min_retention="90d", max_size_per="policy")
    db.policy("delete", "weather_1d", "20d", id="level", tags=["acme"])
    db.policy("snapshot", "order*", "200d", id="archive", archive_period="300d")
    db.policy("delete", "gone*", "30d", id="none")
    admin = Access(role=Role.ADMIN, actor="admin")
    acme = Access(role=Role.EDITOR, actor="acme", limit=parse_tag_filter(["acme"]))
    tables = ["visits", "orders", "letters", "weather", "weather_1d", "gone_by", "late"]
    asked = [(admin, name) for name in tables] + [(acme, name) for name in ("orders", "weather_1d")]
    _make_late(db)
    prepare, read, reads = Retention.prepare, db.tool.engine.read_catalog, list[set[str]]()

    def spy(selectors: Sequence[Selector], *more: Any) -> Catalog:
        reads.append({selector.name for selector in selectors})
        return read(selectors, *more)

    def look(access: Access, name: str) -> object:
        try:
            return Scope(db.tool, access).table(TableName(db.schema, name))
        except RetentionError as error:
            return str(error)

    def with_all(tool: Retention, *given: Any, about: TableName | None, **more: Any) -> Prepared:
        return prepare(tool, *given, **more)

    monkeypatch.setattr(db.tool.engine, "read_catalog", spy)
    alone = [look(*each) for each in asked]
    assert reads[0] == {"visits"}
    assert len(reads) == len(asked) + 1, "only what may be a mistake of the clock is compared with other tables"
    late = alone[tables.index("late")]
    assert isinstance(late, TableView) and late.timeline.changes and not late.timeline.blocked
    levels = {f"weather_1{unit}{more}" for unit in "hd" for more in ("", "_sketch")}
    assert reads[3] == {"weather", "weather_all", *levels}
    found = Look(db.tool.engine, db.tool.store).cascade(TableName(db.schema, "weather_1d"))
    assert {table.name for table in found} == {"weather", *levels}
    monkeypatch.setattr(Retention, "prepare", with_all)
    for shown, (access, name) in zip(alone, asked, strict=True):
        assert shown == look(access, name), name
    assert len(reads[-1]) > 8


def _make_late(db: DuckDatabase) -> None:
    """A table of which much is due after weeks without data and runs, in which another table got data."""
    db.create("late", {"ts": TIME, "n": "TEXT", "day": DAY}, by=["day"])
    for day, rows in (("2024-05-20", 5), ("2024-06-10", 40), ("2024-06-30", 10)):
        db.fill("late", [f"{day}T12:00:00"] * rows)
    db.policy("delete", "late", "30d", id="late")
    db.tool.run(selection=Selection(policy_id="late"))
    db.time.set("2024-07-20T12:00:00+00:00")
    db.insert("weather", [{"ts": "2024-07-19T12:00:00", "place": "oslo", "temperature": 1.0}])


def test_choices_stand_in_the_address(db: DuckDatabase, admin: Visitor) -> None:
    """Filters choose rows; the time range stays from one view to another, and leads to other pages."""
    rows = admin.get(href(db, "orders")).rows("Data by time")
    archived = admin.get(href(db, "orders", lane="Archived")).rows("Data by time")
    assert 0 < len(archived) < len(rows)
    assert {row["Where"] for row in archived} == {"Archived"}
    due = admin.get(href(db, "orders", state="archive")).rows("Data by time")
    assert {row["State"] for row in due} == {"will be archived, then dropped"}
    assert "No data matches." in admin.get(href(db, "orders", state="drop")).text
    time = {"from": "2024-06-01", "until": "2024-07-01"}
    page = admin.get(href(db, "orders", **time))
    assert [row["Time (UTC)"] for row in page.rows("Data by time")] == ["2024-05-01 to 2024-07-01"]
    assert "from=2024-06-01" in page.href("Archive") and "until=2024-07-01" in page.href("Archive")
    assert page.href("Explore") == f"/ui/explore?table={db.schema}.orders&from=2024-06-01&until=2024-07-01"
    assert len(page.all("rect[@class='chosen']")) == 3
    assert not admin.get(page.href("Archive")).rows("Snapshots of this table")
    older = admin.get(href(db, "orders", tab="archive", until="2023-09-01"))
    assert 0 < len(older.rows("Snapshots of this table")) < 12
    assert older.href("Verify or delete …").endswith("&to=2023-09-01")
    assert admin.get(href(db, "orders", tab="holds", **time)).fields("place")["from"] == "2024-06-01"
    zoomed = admin.get(href(db, "orders", zoom="1", **time))
    [lanes] = zoomed.all("div[@class='lanes']")
    assert [int(lanes.get(f"data-{end}", "")) for end in ("start", "end")] == [1717200000000, 1719792000000]
    assert {"Earlier", "Later", "Zoom out", "Everything", "Next run's changes"} <= set(zoomed.links)
    assert zoomed.href("Later") == href(db, "orders", **{"from": "2024-06-16", "until": "2024-07-16", "zoom": "1"})
    for times, some in ((time, True), ({"before": "2024-06-01"}, False)):  # That of data is not that of runs.
        runs = admin.get(href(db, "orders", tab="runs", **times))
        assert bool(runs.rows("Runs and changes of this table, newest first")) is some
    failed = admin.get(href(db, "orders", tab="runs", outcome="failed"))
    assert "No matching entries" in failed.text


@pytest.mark.parametrize("time", [{"from": "soon"}, {"from": "2024-02-01", "until": "2024-02-01"}])
def test_a_time_range_that_is_none(db: DuckDatabase, admin: Visitor, time: dict[str, str]) -> None:
    """A mistake is said at the fields, with what was written; the page is there."""
    page = admin.get(href(db, "orders", **time))
    assert page.status == 200
    assert ("not an ISO 8601 date" in page.text) or ("is not after from" in page.text)
    assert time["from"] in [each.get("value") for each in page.all("input")]
    assert page.rows("Data by time")
    wrong = admin.get(href(db, "orders", tab="runs", since="soon"))
    assert "soon" in wrong.text and wrong.status == 200


def test_long_lists(db: DuckDatabase, admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list comes in parts, each with its address; of the audit log, no row is lost between them."""
    monkeypatch.setattr(parts, "ROWS", 5)
    for number in range(7):
        db.tool.hold("logs", db.schema, reason=f"case {number:02}", start=parse_instant("2024-01-01"))
    first = admin.get(href(db, "logs", tab="holds"))
    assert "Run now …" not in first.links, "its policy is disabled"
    second = admin.get(first.href("Next"))
    shown = [len(page.rows("Holds on this table")) for page in (first, second)]
    assert shown == [5, 2]
    assert second.href("Previous") == href(db, "logs", tab="holds", first="0")
    assert "6 to 7" in second.text
    caption, found = "Runs and changes of this table, newest first", []
    page = admin.get(href(db, "logs", tab="runs"))
    for _ in range(3):
        found += page.rows(caption)
        if "Older" not in page.links:
            break
        page = admin.get(page.href("Older"))
    placed = [row["Below"] for row in found if row["Event"] == "Hold placed"]
    assert len(placed) == len(set(placed)) == 7


def test_what_each_role_may_do(db: DuckDatabase, service: Service) -> None:
    """A viewer sees everything and no form that changes something; what the page does not offer is refused as well."""
    offers = {
        Role.VIEWER: set(),
        Role.OPERATOR: {"Run now …", "Place hold …", "Restore …", "Release …"},
        Role.EDITOR: {"Run now …", "Place hold …", "Restore …", "Release …", "New policy"},
    }
    every = offers[Role.EDITOR]
    for role, expected in offers.items():
        visitor = service.log_in(role)
        page = visitor.get(href(db, "letters", tab="holds"))
        assert set(page.links) & every == expected, role
        assert bool(page.fields("place")) is (role is not Role.VIEWER)
        assert len(page.rows("Holds on this table")) == 1
    viewer = service.log_in(Role.VIEWER, "acme")
    refused = viewer.post(href(db, "letters"), do="place", reason="x")
    assert refused.status == 403
    assert len(db.tool.holds()) == 1


def test_tenants(db: DuckDatabase, service: Service) -> None:
    """A tenant sees the tables of their policies, and their part of a shared one; other tables do not exist."""
    db.create("shared", {"ts": TIME, "n": "TEXT", "tenant": "TEXT", "month": MONTH}, by=["month", "tenant"])
    for tenant in ("acme", "globex"):
        db.fill("shared", ["2024-01-10", "2024-06-10"], tenant=tenant)
        db.policy("delete", "shared", "30d", id=f"{tenant}-shared", where={"tenant": tenant}, tags=[tenant])
    db.tool.hold("shared", db.schema, where={"tenant": "globex"}, reason="case globex", end=parse_instant("2024-02-01"))
    acme, globex = (service.log_in(Role.EDITOR, tenant) for tenant in ("acme", "globex"))
    pages = [acme.get(href(db, "shared", tab=tab)) for tab in ("data", "policies", "runs", "archive", "holds")]
    assert "Other users share this table" in pages[0].text
    assert "drop partition month=2024-01-01" in pages[0].rows("Next run")[0]["What"]
    assert pages[1].rows("Policies on this table")[0]["Only where"] == "tenant=acme"
    assert not any("globex" in page.markup for page in pages)
    whole = service.log_in(Role.VIEWER).get(href(db, "shared")).texts("span[@class='lane-title']")
    assert whole[:2] == ["Data of tenant=acme", "Data of tenant=globex"]
    assert "case globex" in globex.get(href(db, "shared")).rows("Blocked: due, but must not happen now")[0]["Why"]
    assert "acme" not in globex.get(href(db, "shared")).markup
    assert acme.get(href(db, "weather_1h")).status == 200
    hidden, unknown = acme.get(href(db, "orders")), acme.get(href(db, "nothing_at_all"))
    assert (hidden.status, unknown.status) == (404, 404)
    assert hidden.text.replace("orders", "") == unknown.text.replace("nothing_at_all", "")
    assert acme.post(href(db, "orders"), do="place", reason="x").status == 404
    assert len(db.tool.holds()) == 2


def test_names_and_strange_tables(db: DuckDatabase, admin: Visitor) -> None:
    """Names are text; a table without partitions and one that does not exist say so; former addresses lead here."""
    page = admin.get(href(db, HOSTILE_TABLE, tab="policies"))
    assert page.title == f"{db.schema}.{HOSTILE_TABLE}"
    [policy] = page.rows("Policies on this table")
    assert (policy["Tags"], policy["Description"]) == (HOSTILE, HOSTILE)
    db.create("a/b.c", {"ts": TIME, "n": "TEXT", HOSTILE: "TEXT", "month": MONTH}, by=[HOSTILE, "month"])
    db.insert("a/b.c", [{"ts": day, "n": day, HOSTILE: HOSTILE} for day in ("2024-01-10", "2024-06-10")])
    db.policy("delete", "a/b.c", "30d")
    page = admin.get(href(db, "a/b.c"))
    assert HOSTILE in page.rows("Data by time")[0]["Partitions"]
    assert "<script>alert" not in page.markup
    assert admin.post(page.href("Holds"), do="place", reason="slash").status == 303
    db.create("flat", {"ts": TIME, "n": "TEXT"})
    db.fill("flat", ["2024-01-10", "2024-06-10"])
    db.policy("delete", "flat", "30d", id="flat")
    flat = admin.get(href(db, "flat"))
    assert "deleted row by row. It has 2 rows." in flat.text
    [picture] = [svg for svg in flat.all("svg[@role='img']") if (svg.get("aria-label") or "").startswith("Data in")]
    assert "1 will be dropped, 1 up to date" in picture.get("aria-label", "")
    assert "delete rows with ts before" in flat.rows("Next run")[0]["What"]
    assert "2024-01-10 to 2024-06-10" in flat.text
    assert "The table does not exist now." in admin.get(href(db, "nowhere")).text
    assert admin.get(href(db, "never")).status == 404
    for path in ("/ui/tables/x", "/ui/tables/.x", f"/ui/tables/{db.schema}."):
        assert admin.get(path).status == 404
    former = admin.get(f"/ui/tables/{db.schema}/a%2Fb.c")
    assert (former.status, former.headers["location"]) == (308, href(db, "a/b.c"))


def test_holds(db: DuckDatabase, admin: Visitor) -> None:
    """A hold is placed by a form, and released after its table was typed; what is refused stays in the form."""
    path = href(db, "visits", tab="holds")
    wrong = admin.post(path, do="place", where="nonsense", reason="case 8", from_="2024-01-01")
    assert wrong.status == 422
    assert "not of the form KEY=VALUE" in wrong.text
    kept = {"where": "nonsense", "reason": "case 8", "from": "2024-01-01"}
    assert wrong.fields("place").items() >= kept.items()
    assert len(db.tool.holds()) == 1
    placed = admin.post(path, do="place", where="", reason="case 8", from_="2024-03-01", until="2024-04-01")
    assert (placed.status, placed.headers["location"]) == (303, href(db, "visits", tab="holds", done="placed"))
    page = admin.get(placed.headers["location"])
    assert "The legal hold is in force." in page.text
    [row] = page.rows("Holds on this table")
    assert (row["Reason"], row["Time (UTC)"]) == ("case 8", "2024-03-01 to 2024-04-01")
    asked = admin.get(page.href("Release …"))
    assert f"Type {db.schema}.visits to confirm" in asked.text
    assert "the next run would take 1 partition" in asked.text
    hold = asked.fields("release")["hold"]
    assert admin.post(path, do="release", hold=hold, confirm="visits").status == 422
    assert admin.post(path, do="release", hold="other", confirm=f"{db.schema}.visits").status == 404
    assert len(db.tool.holds()) == 2
    done = admin.post(path, do="release", hold=hold, confirm=f"{db.schema}.visits")
    over = admin.get(done.headers["location"])
    assert "The legal hold is released." in over.text
    assert len(db.tool.holds()) == 1
    undone = admin.get(admin.post(path, **over.fields("renew")).headers["location"])
    assert "The legal hold is in force again." in undone.text and not undone.fields("release")
    assert [each.id for each in db.tool.holds()][1:] == [hold]
    assert admin.post(path, do="something").status == 422


def test_restore(db: DuckDatabase, service: Service, admin: Visitor) -> None:
    """What the time range has in the archive comes back, exactly as it was shown, under a hold."""
    path = href(db, "orders", tab="archive", until="2023-09-01", restore="preview")
    page, before = admin.get(path), db.count("orders")
    assert [row["Result"] for row in page.rows("What would be restored")] == ["ready"] * 2
    assert "2 partitions with 6 rows" in page.text
    assert admin.post(path, do="restore", shown="something else").status == 409
    viewer = service.log_in(Role.VIEWER)
    shown = page.fields("restore")["shown"]
    assert not viewer.get(path).fields("restore")
    assert viewer.post(path, do="restore", shown=shown).status == 403
    assert db.count("orders") == before
    done = admin.post(path, do="restore", shown=shown)
    service.context.operations.wait()
    page = admin.get(done.headers["location"])
    assert "The restore has started." in page.text and not page.fields("restore")
    [operation] = page.rows("Recent operations of this service")
    assert (operation["Operation"], operation["State"], operation["Snapshots"]) == ("Restore", "done", "2 of 2")
    assert db.count("orders") == before + 6
    assert "archived, and restored" in [row["State"] for row in admin.get(href(db, "orders")).rows("Data by time")]
    assert len(admin.get(href(db, "orders", tab="holds")).rows("Holds on this table")) == 1
    refused = admin.get(path)
    assert all("refused" in row["Result"] for row in refused.rows("What would be restored"))
    assert not refused.fields("restore")


def test_disabling(db: DuckDatabase, service: Service) -> None:
    """A policy is disabled in one step, unless another user has changed it; it is enabled where its effect is shown."""
    path = href(db, "visits", tab="policies")
    editor, operator = (service.log_in(role) for role in (Role.EDITOR, Role.OPERATOR))
    form = editor.get(path).fields("disable")
    assert form == {"do": "disable", "policy": "visits", "version": "1"}
    assert not operator.get(path).fields("disable")
    assert operator.post(path, **form).status == 403
    for version, status in (("x", 422), ("7", 409)):
        assert editor.post(path, **{**form, "version": version}).status == status
    assert editor.post(path, **form).status == 303
    page = editor.get(path)
    assert [row["State"] for row in page.rows("Policies on this table")] == ["disabled"]
    assert page.href("Enable …") == links.policy("visits")
    assert not page.fields("disable")
    assert len(editor.get(href(db, "weather", tab="policies")).all("button[@class='link']")) == 1, "one for all levels"


def test_forms_of_other_sites(db: DuckDatabase, service: Service, admin: Visitor) -> None:
    """What another site sends changes nothing, nor what comes without a session."""
    path = href(db, "visits", tab="holds")
    assert admin.post(path, origin="http://example.org", do="place", reason="x").status == 403
    assert admin.post(path, origin="null", do="place", reason="x").status == 403
    assert service.visit().post(path, do="place", reason="x").status == 401
    assert len(db.tool.holds()) == 1
    with open_service(db.tool, authenticate=False) as open_to_all:
        visitor = open_to_all.visit()
        assert visitor.get(path).status == 200
        assert visitor.post(path, origin="http://example.org", do="place", reason="x").status == 403
    assert len(db.tool.holds()) == 1


def test_a_table_that_was_created_again(db: DuckDatabase, service: Service) -> None:
    """Who may edit policies is offered to accept it, by typing its name; a viewer is not."""
    editor, viewer = (service.log_in(role) for role in (Role.EDITOR, Role.VIEWER))
    path, name = href(db, "weather"), f"{db.schema}.weather"
    assert not editor.get(path).fields("accept")
    db.sql(f"DROP TABLE {db.q('weather')}")
    db.create("weather", {"ts": TIME, "place": "TEXT", "temperature": NUMBER, "day": DAY}, by=["day"])
    assert "2 rollups of an earlier table with this name" in editor.get(path).text
    assert not viewer.get(path).fields("accept")
    offered = ["Accept the table …" in visitor.get("/ui/").links for visitor in (editor, viewer)]
    assert offered == [True, False], "on the overview as well"
    assert editor.post(path, do="accept", confirm="weather").status == 422
    assert viewer.post(path, do="accept", confirm=name).status == 403
    assert not db.journal(event="table-accepted")
    assert editor.post(path, do="accept", confirm=name).status == 303
    assert [row["table_name"] for row in db.journal(event="table-accepted")] == ["weather"]
    assert not editor.get(path).fields("accept")


def test_sessions_that_are_over(db: DuckDatabase, service: Service) -> None:
    """A revoked token, or a session that was not used, leads to the log-in, and from there back."""
    visitor, path = service.log_in(Role.VIEWER), href(db, "a/b.c", tab="runs")
    assert visitor.get(path).status == 404
    db.tool.revoke_token("viewer")
    there = visitor.get(path)
    assert (there.status, there.headers["location"]) == (303, f"/ui/login?to={quote(path)}")
    [back] = [each.get("value") for each in visitor.get(there.headers["location"]).all("input[@name='to']")]
    assert back == path
    assert visitor.post(path, do="place").status == 401


def test_what_a_browser_is_told(db: DuckDatabase, admin: Visitor) -> None:
    """No script or style within a page, nothing from another host, and little to load."""
    answers = [admin.get(href(db, "weather")), admin.get("/ui/login"), admin.get(href(db, "never"))]
    for page in answers:
        assert page.headers["content-security-policy"] == POLICY
        assert page.headers["referrer-policy"] == "same-origin"
        assert page.headers["cache-control"] == "no-store"
        for each in page.root.iter():
            assert not {name for name in each.attrib if name == "style" or name.startswith("on")}
            assert each.tag != "style" and (each.tag != "script" or each.get("src"))
            for name in ("src", "href", "action"):
                assert (each.get(name) or "/")[0] in "/#" and not (each.get(name) or "").startswith("//")
    sent = admin.client.get(href(db, "weather"), headers={"Accept-Encoding": "gzip"})
    assert sent.headers["content-encoding"] == "gzip"
    files = [STATIC / name for name in ("web.css", "web.js", "favicon.svg")]
    loaded = len(gzip.compress(sent.content)) + sum(len(gzip.compress(path.read_bytes())) for path in files)
    assert loaded < 60_000, "the aim is 250 KB"
    for name in ("web.css", "web.js"):
        answer = admin.client.get(f"/ui/static/{name}", headers={"Accept-Encoding": "gzip"})
        assert (answer.status_code, answer.headers["content-encoding"]) == (200, "gzip")
        assert "immutable" in answer.headers["cache-control"]


def test_dark_and_light(db: DuckDatabase, admin: Visitor) -> None:
    """A page is as the system is, until one chooses; the server obeys the choice."""
    path = href(db, "orders")
    assert admin.get(path).root.get("data-theme") is None
    for chosen, theme in (("1", "dark"), ("0", "light"), ("2", None)):
        admin.client.cookies.set("dark", chosen)
        assert admin.get(path).root.get("data-theme") == theme
