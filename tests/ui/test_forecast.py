"""The page of forecasts, and the comparison of a draft with the stored policies: by HTTP, or of a given forecast."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import pytest

from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.forecast import Forecast, differences
from cratedb_retention.model.policies.file import parse_policies
from cratedb_retention.model.words import show_size
from cratedb_retention.planning.facts import Facts
from cratedb_retention.planning.forecast.present import Present
from cratedb_retention.planning.forecast.simulation import simulate
from cratedb_retention.service.access import Scope
from cratedb_retention.ui import links
from cratedb_retention.ui.forecast import curves, page
from cratedb_retention.ui.forecast import what_if as comparison
from cratedb_retention.ui.links import Query
from cratedb_retention.ui.web.html import Child, el
from support.catalogs import DAILY, TS, VALUE, at, catalog, ms, part, policy, table
from support.databases import DuckDatabase
from support.served import Served, Service, Visitor

TABLES, WORKS, DIFFERENCES = "Tables, levels and archives", "What runs will do", "What differs on "
DAY = dt.timedelta(days=1)


@pytest.fixture
def editor(service: Service) -> Visitor:
    return service.log_in(Role.EDITOR)


def test_the_page_shows_the_forecast(db: DuckDatabase, editor: Visitor) -> None:
    """Each table, level and archive with its rows, what runs do by policy, and when; nothing is changed."""
    found = db.tool.forecast(db.tool.clock.now() + 40 * DAY)
    journal = db.journal()
    shown = editor.get("/ui/forecast?until=%2B40d")
    rows = {row["Table"]: row for row in shown.rows(TABLES)}
    titles = {str(each.table) + {"table": ""}.get(each.part, f" {each.part}"): each for each in found.series}
    assert set(rows) == set(titles)
    for title, each in titles.items():
        assert (rows[title]["Rows now"], rows[title]["Rows then"]) == (f"{each.rows[0]:,}", f"{each.rows[-1]:,}"), title
    assert rows[f"{db.schema}.weather"]["Days of data"] == f"{titles[f'{db.schema}.weather'].reach[-1]}"
    works = {(row["Table"], row["What"], row["Policy"]): row for row in shown.rows(WORKS)}
    named = {item.id: item.policy.title_in_table for item in db.tool.policies()}
    assert set(works) == {(str(w.first.table), str(w.first.kind), named[w.first.policy_id]) for w in found.works}
    visits = next(work for work in found.works if work.first.table.name == "visits")
    row = works[f"{db.schema}.visits", "delete", "delete after 90d"]
    assert (int(row["Partitions"]), int(row["Rows"])) == (visits.whole.partitions, visits.whole.rows)
    assert row["When"].startswith(page.day(found.times[visits.first.day]))
    assert [row["Month"] for row in shown.rows("What runs will do, by month")] == ["2024-07", "2024-08"]
    assert shown.href("delete after 90d") == links.policy("visits")
    assert shown.href("What if …") == "/ui/forecast/what-if"
    assert db.journal() == journal


def test_one_table(db: DuckDatabase, editor: Visitor) -> None:
    """The page of a table leads to its forecast, which has its levels, and the same numbers as that of all tables."""
    name = TableName(db.schema, "weather")
    href = editor.get(links.table(name)).href("Forecast")
    ahead = "&until=%2B10d"
    rows, every = (editor.get(f"{each}{ahead}").rows(TABLES) for each in (href, "/ui/forecast?sort=name"))
    assert {row["Table"] for row in rows} == {f"{name}{each}" for each in ("_1d level", "", "_1h level")}
    assert rows == sorted((row for row in every if row["Table"].startswith(str(name))), key=rows.index)
    names = [row["Table"] for row in every]
    assert [name.split()[0] for name in names] == sorted(name.split()[0] for name in names)


def test_what_can_not_be_asked(editor: Visitor, service: Service) -> None:
    """A mistake stands at the form; a tenant sees only their tables."""
    for query, text in (
        ("until=2020-01-01", "is not in the future"),
        ("until=soon", "not an ISO 8601"),
        ("capacity=lots", "not a number of bytes"),
        ("price=cheap", "not a number"),
        ("archive_price=cheap", "Archive price 'cheap'"),
        ("price=-1", "not an amount of money"),
        ("table=visits", "not of the form SCHEMA.TABLE"),
        ("tags=unknown", "no policy has it"),
    ):
        [alert] = editor.get(f"/ui/forecast?{query}").texts("div[@role='alert']")
        assert text in alert, query
    assert "There is nothing to forecast" in editor.get("/ui/forecast?table=no.such").text
    acme = service.log_in(Role.VIEWER, "acme").get("/ui/forecast?until=%2B2d")
    assert {row["Table"].partition(".")[2].split("_")[0].split()[0] for row in acme.rows(TABLES)} == {
        "visits",
        "letters",
        "weather",
    }


def foreseen(days: int = 60, retention: str = "40d", **more: object) -> Forecast:
    """A table of which the last days stay, with a million bytes each."""
    starts = [ms("2024-07-01") - day * 86_400_000 for day in range(1, 31)]
    parts = [part(start, rows=1000, size=1_000_000) for start in starts]
    facts = Facts(
        policies=[policy(retention=retention)],
        catalog=catalog(table([TS, VALUE, DAILY], ["day"], parts)),
        cutoff=at("2024-07-01"),
    )
    made = simulate(Present(facts=facts, days=days))
    return Forecast(times=made.times, series=made.series, events=made.events, **more)  # type: ignore[arg-type]


def served(content: Iterable[Child]) -> Served:
    return Served(200, {}, el("html", el("h1", "x"), el("main", content)))


def drawn(found: Forecast, query: str = "") -> Served:
    """What is shown of a forecast, as a page."""
    return served(page.shown(found, Query(query), {}))


def test_when_the_disks_are_full() -> None:
    """The tiles, the chart and its mark say when, and what it costs until then."""
    found = foreseen(capacity=36_000_000, other=1_000_000, price=1000.0)
    assert found.full_at == ms("2024-07-07")
    shown = drawn(found)
    [disks] = [text for text in shown.texts("div") if text.startswith("Disks")]
    assert disks.startswith(f"DisksFull on 2024-07-07In 6 days. They have {show_size(36_000_000)}.")
    [month, *_] = shown.rows("What runs will do, by month")
    assert month["Delete"] == f"{show_size(20_000_000)} 20 partitions"
    assert f"{found.cost:,.2f}" in shown.text and "a month now" in shown.text
    assert "disks full" in shown.texts("text")
    assert "Capacity for tables" in shown.texts("li")
    fits = drawn(foreseen(capacity=410_000_000, other=41_000_000))
    assert "Not full until 2024-08-30" in fits.text and "At most 20 % of" in fits.text
    assert "Capacity for tables" not in fits.texts("li"), "it would flatten the line"
    assert "When they are full cannot be computed: the capacity is unknown" in drawn(foreseen()).text
    assert "Full already" in drawn(foreseen(capacity=1_000)).text


def test_what_a_draft_costs() -> None:
    """What the data costs with a draft, how much less that is than without, and what has to be known of both."""
    stored = foreseen(price=1000.0, notes=("of stored policies",))
    draft = foreseen(retention="20d", price=1000.0, notes=("of the draft",))
    assert stored.cost and draft.cost and draft.cost < stored.cost
    shown = served(comparison._content(stored, draft))
    [said] = [text for text in shown.texts("p") if text.startswith("Cost")]
    less = f"(-{stored.cost - draft.cost:,.2f})"
    assert said == f"Cost until then: {draft.cost:,.2f} instead of {stored.cost:,.2f} {less}."
    assert shown.texts("ul[@class='reasons']/li") == ["Of stored policies", "Of the draft"]


def test_charts_are_to_scale() -> None:
    """The line has the values of all days, from zero on; on pointing at a day, its values are said."""
    found = foreseen(days=30)
    made = drawn(found)
    [line] = [
        each
        for each in made.all("path")
        if "curve" in each.get("class", "").split() and "tone-data" in each.get("class", "").split()
    ][1:2]
    points = [tuple(map(float, point.split())) for point in line.get("d", "M")[1:].split("L")]
    size = found.size or []
    assert [x for x, _ in points] == list(range(31))
    heights = [220 - y for _, y in points]
    assert [h / heights[0] for h in heights] == pytest.approx([s / size[0] for s in size], abs=0.01)
    tips = [each.get("data-tip", "") for each in made.all("rect") if each.get("data-tip")]
    assert tips[10] == f"2024-07-11\nTables: {show_size(size[10])}"
    assert len(tips) == 31


@pytest.mark.parametrize(
    ("most", "base", "steps"),
    [
        (0, 1000, []),
        (1, 1000, [1]),
        (9, 1000, [5]),
        (1000, 1000, [500, 1000]),
        (3500, 1000, [1000, 2000, 3000]),
        (10 * 1024**2, 1024, [5 * 1024**2, 10 * 1024**2]),
    ],
)
def test_axis_of_values(most: int, base: int, steps: list[int]) -> None:
    """A few round values up to the greatest."""
    assert curves.levels(most, base) == steps


# What if

DRAFT = "policies:\n- strategy: delete\n  table_schema: {schema}\n  table_name: {name}\n  retention_period: {period}\n"


def what_if(visitor: Visitor, text: str, **more: str) -> Served:
    return visitor.post("/ui/forecast/what-if", policies=text, **more)


def test_a_draft_is_compared(db: DuckDatabase, editor: Visitor) -> None:
    """Its table is shown with the stored policy and with the draft, as the library compares; nothing is stored."""
    before = db.tool.policies()
    text = DRAFT.format(schema=db.schema, name="visits", period="1y")
    part = what_if(editor, text, until="+90d")
    assert (part.status, part.root.tag, part.root.get("id")) == (200, "section", "what-if")
    end = db.tool.clock.now() + 90 * DAY
    other = [each.policy for each in before if each.policy.table_name != "visits"]
    visits = TableName(db.schema, "visits")
    stored, then = db.tool.compare(end, [*other, *parse_policies(text, "x")], table=visits)
    [difference] = differences(stored, then)
    [row] = part.rows(f"{DIFFERENCES}{page.day(stored.times[-1])}")
    assert row["Table"] == f"{db.schema}.visits"
    rows = [each.rows[-1] for each in difference.both if each]
    assert [row["Rows, stored"], row["Rows, draft"]] == [f"{count:,}" for count in rows]
    assert row["Difference"] == f"+{rows[1] - rows[0]:,}" and rows[1] > rows[0]
    days = [each.reach[-1] for each in difference.both if each]
    assert [row["Days of data, stored"], row["Days of data, draft"]] == [f"{count} days" for count in days]
    assert f"Days of data in {db.schema}.visits" in part.texts("h3")
    legend = part.texts("li")
    assert legend.count("Stored policies") == legend.count("With the draft") == 2
    assert db.tool.policies() == before


def test_what_is_pruned_does_not_act(db: DuckDatabase) -> None:
    """With all other policies removed, only those of the file do something; before, the others do as well."""
    who = Scope(db.tool, Access(role=Role.EDITOR, actor="user"))
    [visits] = [each.policy for each in db.tool.policies() if each.policy.id == "visits"]
    before, after = who.what_if([visits], until=who.now + 90 * DAY, prune=True)
    assert {each.policy_id for each in after.events} == {"visits"} < {each.policy_id for each in before.events}


def test_what_a_draft_leaves_or_removes(db: DuckDatabase, editor: Visitor) -> None:
    """A policy that is removed lets its table grow, which does not vanish; the same policy makes no difference."""
    same = DRAFT.format(schema=db.schema, name="visits", period="90d")
    assert "Nothing differs" in " ".join(what_if(editor, same).texts("p")) or what_if(editor, same).rows(DIFFERENCES)
    part = what_if(editor, "", without="visits")
    [caption] = [text for text in part.texts("caption") if text.startswith(DIFFERENCES)]
    [row] = part.rows(caption)
    found = db.tool.forecast(db.tool.clock.now() + 365 * DAY, table=TableName(db.schema, "visits"))
    assert (row["Table"], row["Rows, stored"]) == (f"{db.schema}.visits", f"{found.series[0].rows[-1]:,}")
    assert int(row["Rows, draft"]) > int(row["Rows, stored"])
    text = DRAFT.format(schema=db.schema, name="visits", period="1y")
    kept, pruned = (what_if(editor, text, prune=prune, until="+90d") for prune in ("", "yes"))
    tables = [{row["Table"] for text in part.texts("caption") for row in part.rows(text)} for part in (kept, pruned)]
    assert tables[0] == {f"{db.schema}.visits"} < tables[1], "as if all other policies were deleted"


def test_drafts_that_are_refused(db: DuckDatabase, service: Service, editor: Visitor) -> None:
    """The part says why, with the status; the page shows it with what was written."""
    for visitor, text, status, said in (
        (editor, "", 422, "is empty"),
        (editor, "policies: [", 422, "not valid YAML"),
        (editor, DRAFT.format(schema=db.schema, name="visits", period="soon"), 422, "retention_period"),
        (service.log_in(Role.OPERATOR), DRAFT.format(schema=db.schema, name="visits", period="1y"), 403, "role"),
        (
            service.log_in(Role.EDITOR, "globex"),
            DRAFT.format(schema=db.schema, name="visits", period="1y"),
            403,
            "tags",
        ),
    ):
        part = what_if(visitor, text)
        assert (part.status, part.root.get("id")) == (status, "what-if"), text
        assert said in part.texts("div[@role='alert']")[0]
    whole = what_if(editor, "policies: [", page="yes")
    assert (whole.status, whole.title) == (422, "What if")
    assert [each.text for each in whole.all("textarea")] == ["policies: ["]
    assert "takes a token with the role editor" in service.log_in(Role.VIEWER).get("/ui/forecast/what-if").text
