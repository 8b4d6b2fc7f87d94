"""The HTTP API on a database with two tenants, who share a table."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.databases import CrateDatabase, DuckDatabase, DuckTemplate
from support.two_tenants import TwoTenants, serve_tenants


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[DuckTemplate, TwoTenants]:
    """Two tenants on a DuckDB file."""
    made = []

    def fill(bench: DuckDatabase) -> None:
        with serve_tenants(bench) as found:
            made.append(found)

    return DuckTemplate(tmp_path_factory.mktemp("tenants"), fill), made[0]


@pytest.fixture
def tenants(filled: tuple[DuckTemplate, TwoTenants]) -> Iterator[TwoTenants]:
    """Two tenants on DuckDB."""
    template, known = filled
    bench = template.open()
    with serve_tenants(bench, known) as found:
        yield found
    bench.close()


@pytest.fixture
def crate_tenants(crate: CrateDatabase) -> Iterator[TwoTenants]:
    """Two tenants on CrateDB."""
    with serve_tenants(crate) as found:
        yield found


@pytest.fixture(params=["tenants", pytest.param("crate_tenants", marks=pytest.mark.cratedb)])
def each_tenants(request: pytest.FixtureRequest) -> TwoTenants:
    """Two tenants, on each engine in turn."""
    found: TwoTenants = request.getfixturevalue(request.param)
    return found
