"""A table that was dropped and created again, on the page of its timeline."""

from __future__ import annotations

from playwright.sync_api import expect

from cratedb_retention.model.catalog import TableName
from cratedb_retention.ui import links
from support.pages import PagesInBrowser


def test_accepted(pages: PagesInBrowser) -> None:
    """Who may edit policies is told that there was another table of the name, and accepts this one by writing it."""
    db = pages.db
    table = TableName(db.schema, "weather")
    where = links.timeline(*table)
    page = pages.log_in("editor", where)
    expect(page.get_by_role("heading", name="What is there")).to_be_visible()
    expect(page.get_by_text("Another table of this name")).to_have_count(0)
    definition = f"SELECT * FROM {db.q('weather')}"
    db.sql(f"CREATE TABLE {db.q('kept_aside')} AS {definition}")
    db.sql(f"DROP TABLE {db.q('weather')}")
    db.sql(f"CREATE TABLE {db.q('weather')} AS SELECT * FROM {db.q('kept_aside')}")
    pages.go(page, where)
    expect(page.get_by_text("of an earlier table with this name")).to_contain_text("2 rollups")
    page.get_by_role("button", name="Accept this table").click()
    question = page.get_by_role("dialog")
    go = question.get_by_role("button", name="Accept the table")
    expect(go).to_be_disabled()
    question.get_by_label(f"Write {table} to go on").fill(str(table))
    go.click()
    expect(page.get_by_text("Another table of this name")).to_have_count(0)
    assert [row["table_name"] for row in db.journal(event="table-accepted")] == ["weather"]
    viewer = pages.log_in("viewer", where)
    expect(viewer.get_by_role("heading", name="What is there")).to_be_visible()
