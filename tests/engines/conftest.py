"""
The two engines as fixtures: `db` is each of them in turn, `crate` and `duck` are one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.benches import CrateBench, DuckBench
from support.cratedb import CrateDB
from support.databases import Database


@pytest.fixture
def crate(cratedb: CrateDB, crate_schema: str, crate_repository: str) -> Iterator[CrateBench]:
    """A schema of a real CrateDB, with a repository."""
    bench = CrateBench(cratedb, crate_schema, crate_repository)
    yield bench
    bench.close()


@pytest.fixture
def duck(duckdb_uri: str, tmp_path: Path) -> Iterator[DuckBench]:
    """A DuckDB file, with a repository beside it."""
    bench = DuckBench(duckdb_uri, tmp_path / "repository")
    yield bench
    bench.close()


@pytest.fixture(params=["duck", pytest.param("crate", marks=pytest.mark.cratedb)])
def db(request: pytest.FixtureRequest) -> Database:
    """Each engine in turn."""
    bench: Database = request.getfixturevalue(request.param)
    return bench


@pytest.fixture
def crate_own(cratedb: CrateDB, crate_repository: str) -> Iterator[CrateBench]:
    """A CrateDB whose schemas have names that must be quoted."""
    bench = CrateBench(cratedb, f"Users'-%(x)s:{crate_repository}", crate_repository)
    yield bench
    bench.close()
    cratedb.drop_schemas(bench.schema, bench.own_schema)
