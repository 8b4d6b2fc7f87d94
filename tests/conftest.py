"""
The databases that tests run on, as fixtures.

Asking for `cratedb`, `cratedb_cluster` or anything made from them marks a test by itself (``cratedb``, ``cluster``).
Where there is no CrateDB, such tests are skipped, and the end of the output says so.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support.benches import CrateBench, DuckBench
from support.cratedb import CrateDB, CrateDBCluster, cratedb_home, one_node, three_nodes
from support.databases import Database
from support.missing import NO_CHROMIUM, NO_CRATEDB, NO_MANDOC, NO_RRDTOOL, summary
from support.rrdtool import find_rrdtool
from support.sql import quoted
from support.stage import find_chromium

# How busy a machine is says nothing about the code. What else the profile says (``ci`` by itself in CI) stays.
settings.register_profile(
    "patient",
    settings.get_profile(settings.get_current_profile_name()),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("patient")
MARKED_BY_FIXTURE = {"cratedb": "cratedb", "cratedb_cluster": "cluster"}
# Seconds. CrateDB takes a minute for each statement that waits for a lost shard, and nodes are killed and started.
CLUSTER_TIMEOUT = 600


@pytest.fixture(scope="session")
def cratedb() -> Iterator[CrateDB]:
    """A CrateDB of one node, for the whole session."""
    with one_node() as db:
        if db is None:
            pytest.skip(NO_CRATEDB)
        yield db


@pytest.fixture(scope="session")
def cratedb_cluster() -> Iterator[CrateDBCluster]:
    """A cluster of three nodes, for the whole session. Use `cluster_schema` too, which starts what a test killed."""
    with three_nodes() as cluster:
        if cluster is None:
            pytest.skip(NO_CRATEDB)
        yield cluster


@pytest.fixture
def crate_schema(cratedb: CrateDB) -> Iterator[str]:
    """The name of a schema of the test's own; it and ``<name>_ext``, for the toolkit's tables, are emptied after it."""
    schema = _unique("t")
    yield schema
    cratedb.drop_schemas(schema, f"{schema}_ext")


@pytest.fixture
def cluster_schema(cratedb_cluster: CrateDBCluster) -> Iterator[str]:
    """Like `crate_schema`, on the cluster. All nodes are up at the start, and started again at the end."""
    cratedb_cluster.heal()
    schema = _unique("t")
    yield schema
    cratedb_cluster.heal()
    cratedb_cluster.db.drop_schemas(schema, f"{schema}_ext")


@pytest.fixture
def crate_repository(cratedb: CrateDB) -> Iterator[str]:
    """The name of an empty snapshot repository of type ``fs``."""
    name = _unique("r")
    location = str(cratedb.repo_root / name)
    cratedb.sql(f"CREATE REPOSITORY {quoted(name)} TYPE fs WITH (location = ?)", [location])
    yield name
    cratedb.sql(f"DROP REPOSITORY {quoted(name)}")


@pytest.fixture
def duckdb_uri(tmp_path: Path) -> str:
    """The address of a DuckDB file that does not exist yet."""
    return f"duckdb:///{tmp_path / 'test.duckdb'}"


@pytest.fixture
def crate(cratedb: CrateDB, crate_schema: str, crate_repository: str) -> Iterator[CrateBench]:
    """A schema of a real CrateDB, with a repository, and the toolkit on it."""
    bench = CrateBench(cratedb, crate_schema, crate_repository)
    yield bench
    bench.close()


@pytest.fixture
def duck(duckdb_uri: str, tmp_path: Path) -> Iterator[DuckBench]:
    """A DuckDB file, with a repository beside it, and the toolkit on it."""
    bench = DuckBench(duckdb_uri, tmp_path / "repository")
    yield bench
    bench.close()


@pytest.fixture(params=["duck", pytest.param("crate", marks=pytest.mark.cratedb)])
def db(request: pytest.FixtureRequest) -> Database:
    """Each engine in turn, as `duck` and `crate`."""
    bench: Database = request.getfixturevalue(request.param)
    return bench


@pytest.fixture(scope="session")
def rrdtool() -> str:
    """The command `rrdtool`."""
    command = find_rrdtool()
    if command is None:
        pytest.skip(NO_RRDTOOL)
    return command


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser."""
    path = find_chromium()
    if path is None:
        pytest.skip(NO_CHROMIUM)
    return path


@pytest.fixture(scope="session")
def mandoc() -> str:
    """The command `mandoc`."""
    command = shutil.which("mandoc")
    if command is None:
        pytest.skip(NO_MANDOC)
    return command


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the fixtures that they ask for, before ``-m`` selects by marks."""
    for item in items:
        for fixture, mark in MARKED_BY_FIXTURE.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(mark)
        if item.get_closest_marker("cluster"):
            item.add_marker(pytest.mark.timeout(CLUSTER_TIMEOUT))
        item.add_marker(pytest.mark.xdist_group(_worker(item)))


def _worker(item: pytest.Item) -> str:
    """What goes to one worker: a file, since it may share what is dear; all tests of the cluster, as there is one."""
    return "cluster" if item.get_closest_marker("cluster") else item.nodeid.partition("::")[0]


def pytest_report_header() -> str:
    """Say which CrateDB the tests run on; an address may hold a password, so it is not shown."""
    server = "the one of CRATEDB_URI" if os.environ.get("CRATEDB_URI") else cratedb_home() or "none"
    return f"CrateDB: {server}, cluster: {cratedb_home() or 'none'}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was not tested, and how to get what it needs."""
    for line in summary(str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())):
        terminalreporter.line(line, red=True, bold=True)


def _unique(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:8]}"
