"""
Sample data for the pages, at noon of 2 July 2024: tasks that are due or blocked, tables that need attention, archives,
rollups, and names that would be markup if they were not escaped.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from cratedb_retention.model.access import Role
from cratedb_retention.model.time import parse_instant
from support.databases import MONTH, NUMBER, TIME, Database
from support.pages import PagesInBrowser

HOSTILE = "<script>alert('x')</script>\"'"
DAY = f"{TIME} GENERATED ALWAYS AS (date_trunc('day', ts))"
# CrateDB refuses some characters in the names of tables.
HOSTILE_TABLE = "it's&lt;b&gt;{{7+7}}`x`"
# The first run was at this time; the pages are looked at later.
BEFORE, NOW = "2024-07-01T12:00:00+00:00", "2024-07-02T12:00:00+00:00"
PLACES = ("lisbon", "oslo")


def fill(db: Database, hostile: bool = True) -> None:
    """
    Tables, policies, a hold, and a run.

    :param hostile: Whether there are names that would be markup.
    """
    make_tables(db, hostile)
    db.time.set(BEFORE)
    db.policy("delete", "visits", "90d", id="visits", tags=["acme", "web"], schedule="@daily", description="Web visits")
    db.policy("snapshot", "orders", "60d", id="orders", tags=["globex", "shop"])
    db.policy("delete", "letters", "30d", id="letters", tags=["acme"])
    if hostile:
        db.policy("delete", HOSTILE_TABLE, "forever", id="hostile", tags=[HOSTILE], description=HOSTILE)
    db.policy("delete", "nowhere", "30d", id="nowhere", tags=["acme"])
    db.policy("delete", "logs", "30d", id="logs", enabled=False)
    db.policy(
        "downsample", "weather", "14d", id="weather", levels="1h:60d,1d:forever", tags=["acme"], schedule="@hourly"
    )
    start, end = map(parse_instant, ("2023-01-01", "2024-05-01"))
    db.tool.hold("letters", db.schema, reason="case 7/2024", start=start, end=end)
    db.tool.run()
    _more(db)
    db.time.set(NOW)


def make_tables(db: Database, hostile: bool = True) -> None:
    """Tables with rows, without policies."""
    months = list(_months(2023, 7, 12))
    for name in ("visits", "orders", "letters", "logs", *([HOSTILE_TABLE] if hostile else [])):
        db.create(name, {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
        db.fill(name, [f"{month}-{day:02d}T12:00:00" for month in months for day in (3, 10, 20)])
    db.create("weather", {"ts": TIME, "place": "TEXT", "temperature": NUMBER, "day": DAY}, by=["day"])
    db.insert("weather", _weather(dt.datetime(2024, 6, 1, tzinfo=dt.UTC), 30))


def _more(db: Database) -> None:
    """What came after the first run, so that there is something to do again."""
    db.fill("visits", ["2024-03-05T12:00:00", "2024-07-01T12:00:00"])
    db.fill("orders", ["2024-04-05T12:00:00"])
    db.insert("weather", _weather(dt.datetime(2024, 7, 1, tzinfo=dt.UTC), 1))


def _weather(start: dt.datetime, days: int) -> Iterator[dict[str, object]]:
    for hour in range(24 * days):
        for number, place in enumerate(PLACES):
            moment = start + dt.timedelta(hours=hour, minutes=10)
            warmth = 20 - 6 * number + 5 * ((hour % 24) / 24) + hour / 100
            yield {"ts": moment.isoformat(), "place": place, "temperature": warmth}


def _months(year: int, month: int, count: int) -> Iterator[str]:
    for number in range(month - 1, month - 1 + count):
        yield f"{year + number // 12}-{number % 12 + 1:02d}"


def add_tokens(pages: PagesInBrowser) -> None:
    """Tokens of all roles, and of tenants."""
    for role in Role:
        pages.token(str(role), role)
    pages.token("acme", Role.EDITOR, "acme")
    pages.token("acme-viewer", Role.VIEWER, "acme")
    pages.token("globex", Role.EDITOR, "globex")
