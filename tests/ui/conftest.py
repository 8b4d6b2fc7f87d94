"""The pages in a real browser: on DuckDB and on CrateDB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from support.databases import CrateDatabase, Database, DuckDatabase, DuckTemplate
from support.missing import NO_AXE
from support.pages import Chromium, PagesInBrowser, open_browser, open_pages
from support.sample_data import NOW, add_tokens, fill
from support.served import Service, open_service
from support.tools import find_axe


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Chromium]:
    """A browser for all tests; each has windows of its own."""
    with open_browser(chromium) as found:
        yield found


@pytest.fixture(scope="session")
def axe() -> str:
    """The script that looks for what those miss who listen to pages, use keys alone, or see little contrast."""
    path = find_axe()
    if path is None:
        pytest.skip(NO_AXE)
    return path.read_text("utf-8")


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> DuckTemplate:
    """A DuckDB file with something of everything."""
    return DuckTemplate(tmp_path_factory.mktemp("pages"), fill)


@pytest.fixture
def db(filled: DuckTemplate) -> Iterator[DuckDatabase]:
    """For pages of the server: a DuckDB file with something of everything."""
    with closing(filled.open()) as found:
        found.time.set(NOW)
        yield found


@pytest.fixture
def service(db: DuckDatabase) -> Iterator[Service]:
    """A service on it."""
    with open_service(db.tool) as found:
        yield found


@pytest.fixture
def pages(filled: DuckTemplate, browser: Chromium) -> Iterator[PagesInBrowser]:
    """Pages of a database with something of everything, on DuckDB. The browser must have had no complaint."""
    with closing(filled.open()) as db:
        db.time.set(NOW)
        yield from _pages(db, browser)


@pytest.fixture
def crate_pages(crate: CrateDatabase, browser: Chromium) -> Iterator[PagesInBrowser]:
    """The same on CrateDB."""
    fill(crate)
    yield from _pages(crate, browser)


@pytest.fixture(params=["pages", pytest.param("crate_pages", marks=pytest.mark.cratedb)])
def each_pages(request: pytest.FixtureRequest) -> PagesInBrowser:
    """The same on each engine in turn."""
    found: PagesInBrowser = request.getfixturevalue(request.param)
    return found


def _pages(db: Database, browser: Chromium) -> Iterator[PagesInBrowser]:
    with open_pages(db, browser) as found:
        add_tokens(found)
        yield found
    assert found.complaints == []
