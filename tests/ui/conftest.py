"""The pages in a real browser: on DuckDB and on CrateDB."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from support.benches import DuckBench
from support.cockpit import add_tokens, fill
from support.databases import Database
from support.stage import Stage, open_browser, open_stage


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """A browser for all tests; each has windows of its own."""
    with open_browser(chromium) as found:
        yield found


@pytest.fixture
def stage(duck: DuckBench, browser: Browser) -> Iterator[Stage]:
    """Pages of a database with something of everything, on DuckDB. The browser must have had no complaint."""
    yield from _stage(duck, browser)


@pytest.fixture
def each_stage(db: Database, browser: Browser) -> Iterator[Stage]:
    """The same on each engine in turn."""
    yield from _stage(db, browser)


def _stage(db: Database, browser: Browser) -> Iterator[Stage]:
    fill(db)
    with open_stage(db, browser) as found:
        add_tokens(found)
        yield found
    assert found.complaints == []
