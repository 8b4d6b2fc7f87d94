"""Filters of pages and their addresses."""

from __future__ import annotations

import datetime as dt

import pytest

from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model.audit import STARTED
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policies.strategies import Strategy
from cratedb_retention.model.policies.tags import parse_tag_filter
from cratedb_retention.model.time import parse_instant
from cratedb_retention.store.audit import JournalFilter, Place
from cratedb_retention.ui.archive.page import read_request
from cratedb_retention.ui.audit import read_query as read_jobs
from cratedb_retention.ui.links import TAGS, Query, address, policy, read_selection, read_table, table
from cratedb_retention.ui.plan import read_query as read_plan
from support.databases import FixedClock

SEVERAL = Query("tags=a,b&tags=not:c")


def test_several_groups_of_tags() -> None:
    """Each page with tags in its address takes them as `--tags` does: each both, repeated either."""
    now, expected = FixedClock().moment, parse_tag_filter(["a,b", "not:c"])
    assert read_selection(SEVERAL).tags == expected
    assert read_plan(SEVERAL, now)[0].tags == expected
    assert read_jobs(SEVERAL, now).tags == expected
    assert read_request(SEVERAL).tags == expected


@pytest.mark.parametrize(
    ("text", "values"),
    [("", []), (" ", []), ("a,b", ["a,b"]), ("a,b or  not:c", ["a,b", "not:c"]), ("a or  or b", ["a", "b"])],
)
def test_what_is_written(text: str, values: list[str]) -> None:
    """A field with several values is written with "or"; what the address has comes back as it was written."""
    assert TAGS.values(text) == values
    assert TAGS.values(TAGS.text(Query([("tags", value) for value in values]))) == values


def test_a_cutoff_is_not_in_the_future() -> None:
    """The present instant is the last one that the page of the plan accepts as its cutoff."""
    now = FixedClock().moment
    assert read_plan(Query({"cutoff": now.isoformat()}), now)[1] == now
    with pytest.raises(InvalidInput, match="lies in the future"):
        read_plan(Query({"cutoff": (now + dt.timedelta(milliseconds=1)).isoformat()}), now)


def test_each_filter_is_heeded() -> None:
    """What an address says reaches the toolkit: each filter as itself, and an empty one as none."""
    now, first, last = FixedClock().moment, parse_instant("2024-01-01"), parse_instant("2024-02-01")
    assert read_selection(Query("strategy=delete&policy=p")) == Selection(strategy=Strategy.DELETE, policy_id="p")
    assert read_selection(Query("strategy=&policy=&tags=")) == Selection()
    assert read_selection(Query("policy=p&policy=q")) == Selection(policy_ids=frozenset({"p", "q"}))
    assert read_request(Query("table=a.b&repository=r&from=2024-01-01&to=2024-02-01")) == RestoreRequest(
        table_schema="a", table_name="b", repository="r", start=first, end=last
    )
    asked = (
        "table=a.b&policy=p&event=blocked&outcome=done&actor=x&since=2024-01-01&until=2024-02-01&limit=1"
        "&after=2024-01-15T00:00:00%2B00:00,2"
    )
    assert read_jobs(Query(asked), now) == JournalFilter(
        table="a.b",
        policy_id="p",
        event="blocked",
        outcome="done",
        actor="x",
        since=first,
        until=last,
        limit=1,
        after=Place(dt.datetime(2024, 1, 15, tzinfo=dt.UTC), 2),
    )
    assert read_jobs(Query("limit=1000"), now).limit == 1000
    assert read_jobs(Query(), now) == JournalFilter(limit=50, without=STARTED)
    assert read_jobs(Query("run_id=r"), now) == JournalFilter(run_id="r", limit=50, without=STARTED)
    assert read_jobs(Query(tags="a or b"), now).tags == parse_tag_filter(["a", "b"])


def test_addresses_keep_all() -> None:
    """A query with repeated names is the same in an address; what is empty is left out."""
    assert address("/plan", SEVERAL) == "/ui/plan?tags=a%2Cb&tags=not%3Ac"
    assert address("/plan", Query("tags=&strategy=delete")) == "/ui/plan?strategy=delete"
    assert policy("a/../b?c") == "/ui/policies/a%2F..%2Fb%3Fc"


@pytest.mark.parametrize("name", [("doc", "metrics"), ("a.b", "c.d"), ("x", "a/b?c#d e"), ("ü", "%2E%"), ("a", "..")])
def test_the_address_of_a_table(name: tuple[str, str]) -> None:
    """Whatever is in a name, its address is of this table and of no other; what is no such address is none."""
    expected = TableName(*name)
    href = table(expected, tab="data", empty="")
    assert href.endswith("?tab=data")
    assert read_table(href.partition("?")[0]) == expected
    for other in ("/ui/tables/doc", "/ui/tables/.x", "/ui/tables/doc/metrics", "/ui/tables/doc.a/b"):
        assert read_table(other) is None
