"""The pages in a real browser: on DuckDB and on CrateDB."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from support.cockpit import NOW, add_tokens, fill
from support.databases import CrateDatabase, Database, DuckTemplate
from support.stage import Stage, open_browser, open_stage


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """A browser for all tests; each has windows of its own."""
    with open_browser(chromium) as found:
        yield found


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> DuckTemplate:
    """A DuckDB file with something of everything."""
    return DuckTemplate(tmp_path_factory.mktemp("pages"), fill)


@pytest.fixture
def stage(filled: DuckTemplate, browser: Browser) -> Iterator[Stage]:
    """Pages of a database with something of everything, on DuckDB. The browser must have had no complaint."""
    db = filled.open()
    db.time.set(NOW)
    yield from _stage(db, browser)
    db.close()


@pytest.fixture
def crate_stage(crate: CrateDatabase, browser: Browser) -> Iterator[Stage]:
    """The same on CrateDB."""
    fill(crate)
    yield from _stage(crate, browser)


@pytest.fixture(params=["stage", pytest.param("crate_stage", marks=pytest.mark.cratedb)])
def each_stage(request: pytest.FixtureRequest) -> Stage:
    """The same on each engine in turn."""
    found: Stage = request.getfixturevalue(request.param)
    return found


def _stage(db: Database, browser: Browser) -> Iterator[Stage]:
    with open_stage(db, browser) as found:
        add_tokens(found)
        yield found
    assert found.complaints == []
