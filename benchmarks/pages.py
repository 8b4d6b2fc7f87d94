"""
The first page: from its address to the first row that one can read, with 1,000 policies on 100,000 partitions; and on a
slow network, until the largest part of the main pages is painted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from benchmarks.line import Goal, Line
from benchmarks.planning import DAYS, MANY, RETENTION
from benchmarks.surroundings import Surroundings
from benchmarks.timing import by_turns, seconds
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policies.policy import Policy, make_policy
from cratedb_retention.service.access import Scope
from cratedb_retention.ui import links
from support.databases import DuckDatabase
from support.pages import PagesInBrowser, largest_paint, network, open_browser, open_pages
from support.tools import find_chromium

GOAL = Goal(seconds=1.5)
PAINT, DELAY, MEGABITS = Goal(seconds=2.5), 60, 10
NOW = "2024-04-10T00:00:00+00:00"
COLUMNS = "ts TIMESTAMPTZ, value DOUBLE, day TIMESTAMPTZ GENERATED ALWAYS AS (date_trunc('day', ts))"
ROWS = f"SELECT TIMESTAMPTZ '2024-01-01 12:00:00+00' + INTERVAL (d) DAY, d FROM range({DAYS}) t(d)"


PATHS = {
    "overview": "/ui/",
    "a table": links.table(TableName("lab", "metrics_0000")),
    "policies": "/ui/policies",
}


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Show the overview."""
    directory = surroundings.directory()
    bench = DuckDatabase(f"duckdb:///{directory / 'pages.duckdb'}", directory / "repository")
    bench.time.set(NOW)
    _fill(bench)
    access = Access(role=Role.ADMIN, actor="bench")
    what = f"{MANY:,} policies, {MANY * DAYS:,} partitions"
    told = by_turns(surroundings.repeat(3), {"": lambda: seconds(lambda: Scope(bench.tool, access).overview())})[""]
    yield Line(what=f"compute the overview: {what}", ours=told, note="without a browser")
    chromium = find_chromium()
    if chromium is None:
        yield Line(what="show the overview: NOT MEASURED, there is no Chromium", ours=0)
        return
    with open_browser(chromium) as browser, open_pages(bench, browser, authenticate=False) as pages:
        first = _show(pages)
        shown = by_turns(surroundings.repeat(3), {"": lambda: _show(pages)})[""]
        painted = by_turns(surroundings.repeat(3), {name: partial(_paint, pages, path) for name, path in PATHS.items()})
    yield Line(what=f"show the overview for the first time: {what}", ours=first, goal=GOAL)
    yield Line(what="show it again within seconds", ours=shown, note="in a browser that has nothing of it yet")
    for name, taken in painted.items():
        yield Line(what=f"largest paint, {MEGABITS} Mbit/s and {DELAY} ms: {name}", ours=taken, goal=PAINT)
    bench.close()


def _fill(bench: DuckDatabase) -> None:
    for number in range(MANY):
        bench.sql(f"CREATE TABLE lab.metrics_{number:04} ({COLUMNS})")
        bench.sql(f"INSERT INTO lab.metrics_{number:04} {ROWS}")
    bench.tool.apply([_policy(number) for number in range(MANY)])


def _policy(number: int) -> Policy:
    return make_policy(
        id=f"p{number:04}",
        strategy="delete",
        table_schema="lab",
        table_name=f"metrics_{number:04}",
        partition_column="day",
        retention_period=RETENTION,
    )


def _paint(pages: PagesInBrowser, path: str) -> float:
    """Seconds until the largest part of a page is there, on a slow network."""
    page = pages.window()
    with network(page, delay=DELAY, megabits=MEGABITS):
        return largest_paint(page, f"{pages.address}{path}")


def _show(pages: PagesInBrowser) -> float:
    """Seconds until there is a row, and so all of the page."""
    page = pages.window()
    started = time.perf_counter()
    page.goto(f"{pages.address}/ui/")
    page.get_by_text("lab.metrics_0000").first.wait_for()
    taken = time.perf_counter() - started
    page.close()
    return taken
