"""The HTTP API on a database with two tenants, who share a table."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.databases import CrateDatabase, DuckDatabase, DuckTemplate
from support.service import World, make_world


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[DuckTemplate, World]:
    """Two tenants on a DuckDB file."""
    made = []

    def fill(bench: DuckDatabase) -> None:
        with make_world(bench) as found:
            made.append(found)

    return DuckTemplate(tmp_path_factory.mktemp("tenants"), fill), made[0]


@pytest.fixture
def world(filled: tuple[DuckTemplate, World]) -> Iterator[World]:
    """Two tenants on DuckDB."""
    template, known = filled
    bench = template.open()
    with make_world(bench, known) as found:
        yield found
    bench.close()


@pytest.fixture
def crate_world(crate: CrateDatabase) -> Iterator[World]:
    """Two tenants on CrateDB."""
    with make_world(crate) as found:
        yield found


@pytest.fixture(params=["world", pytest.param("crate_world", marks=pytest.mark.cratedb)])
def each_world(request: pytest.FixtureRequest) -> World:
    """Two tenants, on each engine in turn."""
    found: World = request.getfixturevalue(request.param)
    return found
