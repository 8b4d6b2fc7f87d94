"""The HTTP API on a database with two tenants, who share a table."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.databases import Database
from support.service import World, make_world


@pytest.fixture
def world(duck: Database) -> Iterator[World]:
    """Two tenants on DuckDB."""
    with make_world(duck) as found:
        yield found


@pytest.fixture
def each_world(db: Database) -> Iterator[World]:
    """Two tenants, on each engine in turn."""
    with make_world(db) as found:
        yield found
