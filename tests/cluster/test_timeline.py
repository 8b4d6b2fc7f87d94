"""The timeline of a table whose partitions a policy moves, on a real cluster, as data and as a page."""

from __future__ import annotations

from playwright.sync_api import expect

from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.overview import Lane, State
from cratedb_retention.model.time import parse_instant, to_ms
from cratedb_retention.service.access import Scope
from support.databases import MONTH, TIME, CrateDatabase
from support.pages import open_browser, open_pages

DAYS = ["2024-04-10", "2024-05-01", "2024-05-20", "2024-06-20", "2024-07-01"]


def lane(bench: CrateDatabase, title: str) -> Lane:
    """A lane of the timeline as it is now."""
    who = Scope(bench.tool, Access(role=Role.VIEWER, actor="viewer"))
    found = who.table(TableName(bench.schema, "readings")).timeline
    return next(each for each in found.lanes if each.title == title)


def test_what_was_moved_is_in_the_timeline(bench: CrateDatabase, chromium: str) -> None:
    """Before a run April and May are to be moved; after it they are in a lane of their own, on the page as well."""
    bench.create("readings", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    bench.sql(f"ALTER TABLE {bench.q('readings')} SET (\"routing.allocation.require.storage\" = 'hot')")
    bench.fill("readings", DAYS)
    cold = {"reallocation_attribute_name": "storage", "reallocation_attribute_value": "cold"}
    bench.policy("reallocate", "readings", "30d", **cold)
    assert lane(bench, "Moved to other nodes").stretches == ()
    spans = lane(bench, "Data in the table").stretches
    assert [(span.state, span.count) for span in spans] == [(State.MOVE, 2), (State.UP_TO_DATE, 2)]
    bench.run()
    moved = lane(bench, "Moved to other nodes").stretches
    assert [(span.state, span.count, span.rows) for span in moved] == [(State.MOVED, 2, 3)]
    spans = lane(bench, "Data in the table").stretches
    assert sum(span.count for span in spans) == 4
    assert {span.state for span in spans} == {State.UP_TO_DATE}
    # June ends with July; what was moved is due for nothing any more.
    assert min(span.due for span in spans if span.due) == to_ms(parse_instant("2024-07-31"))
    with open_browser(chromium) as browser, open_pages(bench, browser, authenticate=False) as pages:
        page = pages.window()
        pages.go(page, f"/ui/tables/{bench.schema}.readings")
        expect(page.get_by_text("Moved to other nodes").first).to_be_visible()
        expect(page.get_by_text("storage=cold").first).to_be_attached()
