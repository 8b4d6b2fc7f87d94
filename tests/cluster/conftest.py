"""
A schema and a repository on the cluster of three nodes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cratedb import CrateDBCluster
from support.databases import CrateDatabase
from support.sql import quoted


@pytest.fixture
def bench(cratedb_cluster: CrateDBCluster, cluster_schema: str) -> Iterator[CrateDatabase]:
    """A schema on the cluster, reached through n1, with a repository of its own."""
    repository = f"r_{cluster_schema}"
    cratedb_cluster.sql(
        f"CREATE REPOSITORY {quoted(repository)} TYPE fs WITH (location = ?)",
        [str(cratedb_cluster.repo_root / repository)],
    )
    found = CrateDatabase(cratedb_cluster.db, cluster_schema, repository)
    yield found
    found.close()
    cratedb_cluster.sql("RESET GLOBAL cluster.routing.allocation.enable")
    cratedb_cluster.sql(f"DROP REPOSITORY {quoted(repository)}")
