"""
The pages, with 1,000 policies on 100,000 partitions: in a browser the first page, from its address to the first row
that one can read, and on a slow network, until the largest part of main pages is painted; how long the service takes
for each page, how large it is, and how much memory it needs.
"""

from __future__ import annotations

import datetime as dt
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from starlette.testclient import TestClient

from benchmarks.line import Goal, Line
from benchmarks.planning import DAYS, MANY, RETENTION
from benchmarks.surroundings import Surroundings
from benchmarks.timing import by_turns, usage
from benchmarks.visiting import VISIT
from cratedb_retention.model.policies.policy import Policy, make_policy
from cratedb_retention.ui.access import FRESH
from support.databases import DuckDatabase
from support.pages import PagesInBrowser, largest_paint, network, open_browser, open_pages
from support.served import open_service
from support.tools import find_chromium

FIRST, OTHERS = Goal(seconds=1.5), Goal(seconds=1)
MORE = Goal(megabytes=50)
PAINT, DELAY, MEGABITS = Goal(seconds=2.5), 60, 10
NOW = "2024-04-10T00:00:00+00:00"
COLUMNS = "ts TIMESTAMPTZ, value DOUBLE, day TIMESTAMPTZ GENERATED ALWAYS AS (date_trunc('day', ts))"
ROWS = f"SELECT TIMESTAMPTZ '2024-01-01 12:00:00+00' + INTERVAL (d) DAY, d FROM range({DAYS}) t(d)"
TABLE = "lab.metrics_0000"
# With the tables that each of them is about: all, or one.
PAGES = {
    "overview": ("/ui/", FIRST),
    "table": (f"/ui/tables/{TABLE}", OTHERS),
    "policies of a table": (f"/ui/tables/{TABLE}?tab=policies", OTHERS),
    "policies": ("/ui/policies", FIRST),
    "policy": ("/ui/policies/p0000", FIRST),
    "plan": ("/ui/plan", FIRST),
    "plan of a policy": ("/ui/plan?policy=p0000", FIRST),
    "runs": ("/ui/runs", OTHERS),
    "activity": ("/ui/activity", OTHERS),
    "archive": ("/ui/archive", OTHERS),
    "holds": ("/ui/holds", OTHERS),
    "explore": ("/ui/explore", OTHERS),
    "explore a table": (f"/ui/explore?table={TABLE}", OTHERS),
    "search": ("/ui/search?q=metrics_0001", FIRST),
}
PLAN = "/api/v1/plan"
PAINTED = ("overview", "table", "policies")  # On a slow network.


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Show each page."""
    directory = surroundings.directory()
    bench = DuckDatabase(f"duckdb:///{directory / 'pages.duckdb'}", directory / "repository")
    bench.time.set(NOW)
    _fill(bench)
    what = f"{MANY:,} policies, {MANY * DAYS:,} partitions"
    yield from _in_browser(surroundings, bench, what)
    with open_service(bench.tool, authenticate=False) as service:
        pages = {name: _Page(bench, service.client, path) for name, (path, _) in PAGES.items()}
        taken = by_turns(surroundings.repeat(3), {name: page.visit for name, page in pages.items()})
    for name, page in pages.items():
        note = f"{page.spent:.1f} s of processor time, {page.size / 1000:.0f} KB compressed"
        yield Line(what=f"{name}: {what}", ours=taken[name], goal=PAGES[name][1], note=note)
    bench.close()
    alone, every = (
        usage(VISIT, bench.uri, bench.own_schema, NOW, *paths)
        for paths in ([PLAN], [PLAN, *(path for path, _ in PAGES.values())])
    )
    yield Line(what=f"the plan by HTTP, thrice: {what}", ours=alone[0], megabytes=alone[1], note="processor time")
    note = f"beside the {alone[1]:.0f} MB of a service whose plan is asked for"
    yield Line(what="each page, thrice", ours=every[0], megabytes=every[1] - alone[1], goal=MORE, note=note)


@dataclass
class _Page:
    """A page, for which nothing is kept from before."""

    bench: DuckDatabase
    client: TestClient
    path: str
    size: int = 0  # As it is sent.
    spent: float = math.inf  # The least seconds of the processor.

    def visit(self) -> float:
        """Get it; the seconds that it takes."""
        self.bench.time.moment += dt.timedelta(seconds=FRESH)
        began, started = time.process_time(), time.perf_counter()
        answer = self.client.get(self.path).raise_for_status()
        taken, self.spent = time.perf_counter() - started, min(self.spent, time.process_time() - began)
        self.size = int(answer.headers["content-length"])
        return taken


def _in_browser(surroundings: Surroundings, bench: DuckDatabase, what: str) -> Iterator[Line]:
    chromium = find_chromium()
    if chromium is None:
        yield Line(what="show the overview: NOT MEASURED, there is no Chromium", ours=0)
        return
    with open_browser(chromium) as browser, open_pages(bench, browser, authenticate=False) as pages:
        first = _show(pages)
        shown = by_turns(surroundings.repeat(3), {"": lambda: _show(pages)})[""]
        ways = {name: partial(_paint, pages, PAGES[name][0]) for name in PAINTED}
        painted = by_turns(surroundings.repeat(3), ways)
    yield Line(what=f"show the overview for the first time: {what}", ours=first, goal=FIRST)
    yield Line(what="show it again within seconds", ours=shown, note="in a browser that has nothing of it yet")
    for name, taken in painted.items():
        yield Line(what=f"largest paint, {MEGABITS} Mbit/s and {DELAY} ms: {name}", ours=taken, goal=PAINT)


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
        taken = largest_paint(page, f"{pages.address}{path}")
    page.goto("about:blank")  # So that it asks for nothing more.
    return taken


def _show(pages: PagesInBrowser) -> float:
    """Seconds until there is a row, and so all of the page."""
    page = pages.window()
    started = time.perf_counter()
    page.goto(f"{pages.address}/ui/")
    page.get_by_text(TABLE).first.wait_for()
    taken = time.perf_counter() - started
    page.goto("about:blank")
    return taken
