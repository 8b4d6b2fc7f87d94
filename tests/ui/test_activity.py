"""Activity, the audit log as a page, by HTTP."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.access import Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.ui import links
from cratedb_retention.ui.audit import read_query, took
from cratedb_retention.ui.links import Query
from support.databases import DuckDatabase, FixedClock
from support.sample_data import HOSTILE, HOSTILE_TABLE
from support.served import Served, Service, Visitor

LOG = "Audit log, newest first"


@pytest.fixture
def viewer(service: Service) -> Visitor:
    return service.log_in(Role.VIEWER)


def test_each_row_is_on_one_page(db: DuckDatabase, viewer: Visitor) -> None:
    """Newest first, in parts, whatever has the same time; that something started is only shown on request."""
    rows = [row for row in db.journal() if row["event"] != "token-created"]
    expected = [row for row in rows if not row["event"].endswith("-started")]
    found, href, parts = list[dict[str, str]](), links.activity(limit="20"), list[Served]()
    while href:
        parts.append(viewer.get(href))
        found += parts[-1].rows(LOG)
        href = parts[-1].links.get("Older", "")
    assert len(found) == len(expected) > 20
    assert sorted(row["Time"] for row in found) == sorted(f"{row['time']:%Y-%m-%d %H:%M:%S}" for row in expected)
    assert "Newest" not in parts[0].links
    assert parts[-1].href("Newest") == links.activity(limit="20")
    exact = viewer.get(links.activity(limit=str(len(expected))))
    assert "Older" not in exact.links
    started = viewer.get(links.activity(event="step-started", limit="1000")).rows(LOG)
    assert len(started) == len([row for row in rows if row["event"] == "step-started"]) > 0


def test_what_a_policy_was_and_is(db: DuckDatabase, viewer: Visitor) -> None:
    """A change stands with its row, before and after; a new policy is folded."""
    db.tool.edit_policy("visits", {"retention_period": "60d"})
    [row] = viewer.get(links.activity(event="policy-changed")).rows(LOG)
    assert row["Below"].endswith("retention_period 90d → 60d")
    created = viewer.get(links.activity(event="policy-created", policy="visits"))
    [summary] = created.texts("td//summary")
    shown = created.texts("details/ul/li")
    assert summary == f"{len(shown)} attributes"
    assert {"retention_period 90d", "schedule @daily"} <= set(shown)
    db.tool.delete_policy("logs")
    gone = viewer.get(links.activity(event="policy-deleted"))
    assert gone.all("details/ul/li/del") and not gone.all("details/ul/li/ins")


def test_no_policies_are_read(db: DuckDatabase, viewer: Visitor) -> None:
    """What the page costs does not grow with the policies, unless they decide what one sees."""
    with db.statements() as sent:
        assert viewer.get(links.activity()).rows(LOG)
    assert not [statement for statement in sent if "retention_policy" in statement]


def test_links(db: DuckDatabase, viewer: Visitor) -> None:
    """What a row names leads to its page, if it has one; a reason is in full, and red where one must act."""
    pattern = f"{db.schema}.v*"
    db.tool.hold("v*", db.schema, reason="case 8")
    placed = viewer.get(links.activity(event="hold-placed"))
    assert placed.rows(LOG)[0]["Table"] == pattern and pattern not in placed.links
    page = viewer.get(links.activity(outcome="blocked"))
    [row] = page.rows(LOG)
    [entry] = db.journal(outcome="blocked")
    letters = TableName(db.schema, "letters")
    hold = next(hold.id for hold in db.tool.holds() if hold.table_name == "letters")
    assert row["Below"].endswith(" ".join(entry["error"].split()))
    for text, href in (
        (str(letters), links.table(letters)),
        ("delete letters", links.policy("letters")),
        (f"Hold {hold[:8]}", links.table(letters, tab="holds")),
        (entry["run_id"][:8], links.run(entry["run_id"])),
        (entry["actor"], links.activity(actor=entry["actor"])),
    ):
        assert page.href(text) == href
    for outcome, tone in (("blocked", "many"), ("needs-attention", "bad many")):
        shown = viewer.get(links.activity(outcome=outcome))
        assert len(shown.all(f"p[@class='{tone}']")) == len(db.journal(outcome=outcome, event="blocked")), outcome
    placed = viewer.get(links.activity(event="hold-placed"))
    assert placed.links["Holds"] == links.table(letters, tab="holds")
    archived = viewer.get(links.activity(table=f"{db.schema}.orders"))
    assert archived.href("Archive") == links.table(TableName(db.schema, "orders"), tab="archive")


def test_names_stay_text(viewer: Visitor, db: DuckDatabase) -> None:
    """Names that would be markup are text in rows and filters, and what means nothing is said to."""
    page = viewer.get(f"/ui/activity?{urlencode({'policy': 'hostile', 'tags': HOSTILE})}")
    assert {row["Table"] for row in page.rows(LOG)} == {f"{db.schema}.{HOSTILE_TABLE}"}
    assert [each.get("value") for each in page.all("input[@name='tags']")] == [HOSTILE]
    wrong = viewer.get(f"/ui/activity?{urlencode({'event': HOSTILE})}")
    assert "<script>" in wrong.texts("div[@role='alert']")[0]
    assert "<script>alert" not in page.markup + wrong.markup


@pytest.mark.parametrize(
    "query",
    [
        {"event": "x"},
        {"outcome": "x"},
        {"limit": "0"},
        {"limit": "²"},
        {"limit": "1001"},
        {"after": "2024-07-01T00:00:00+00:00"},
        {"after": "yesterday,1"},
        {"after": "2024-07-01T00:00:00+00:00,-1"},
        {"since": "x"},
    ],
)
def test_what_can_not_be_read(query: dict[str, str]) -> None:
    """A filter that means nothing is refused, rather than left out."""
    with pytest.raises(InvalidInput):
        read_query(Query(query), FixedClock().moment)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(None, ""), (0, "0 ms"), (1_500, "1.5 s"), (180_000, "3 min"), (7_199_000, "120 min"), (9_000_000, "2.5 h")],
)
def test_how_long_something_took(milliseconds: int | None, text: str) -> None:
    """In a unit that fits."""
    assert took(milliseconds) == text
