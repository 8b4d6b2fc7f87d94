"""
What only the tests of the engines need.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cratedb import CrateDB
from support.databases import CrateDatabase


@pytest.fixture
def crate_own(cratedb: CrateDB, crate_repository: str) -> Iterator[CrateDatabase]:
    """A CrateDB whose schemas have names that must be quoted."""
    bench = CrateDatabase(cratedb, f"Users'-%(x)s:{crate_repository}", crate_repository)
    yield bench
    bench.close()
    cratedb.drop_schemas(bench.schema, bench.own_schema)


@pytest.fixture(autouse=True)
def make_ranges_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs make ranges of sealed windows however few there are, so that whatever is tested holds for ranges, too."""
    monkeypatch.setattr("cratedb_retention.execution.rollups.rolling.MOST_SMALL", 0)
