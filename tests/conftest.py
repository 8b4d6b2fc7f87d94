"""
The databases that tests run on, as fixtures.

Asking for `cratedb`, `cratedb_cluster` or anything made from them marks a test by itself (``cratedb``, ``cluster``).
Where there is no CrateDB, such tests are skipped, and the end of the output says so.
"""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from support import tiers
from support.cratedb import CrateDB, CrateDBCluster, cratedb_home, memory_directory, three_nodes
from support.databases import (
    CrateDatabase,
    Database,
    DuckDatabase,
    DuckTemplate,
    ParquetDatabase,
    compile_once,
    use_one_thread,
)
from support.missing import NO_CHROMIUM, NO_CRATEDB, NO_MANDOC, NO_RRDTOOL, summary
from support.tools import find_chromium
from support.workspace import SharedServer, Workspace, create_repository, drop_repository, shared_node, unique

if TYPE_CHECKING:
    from support.object_store import ObjectStore

# How busy a machine is says nothing about the code. What else the profile says (``ci`` by itself in CI) stays.
settings.register_profile(
    "patient",
    settings.get_profile(settings.get_current_profile_name()),
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("patient")
# For the fault bench: it wants to know that a property fails, not the simplest way to make it fail.
settings.register_profile("unshrunk", settings.get_profile("patient"), phases=set(settings().phases) - {Phase.shrink})
# Where tests may ask for the cluster; one worker has all of these files, and so there is one cluster.
CLUSTER = ("tests/cluster/", "tests/test_cratedb_fixture.py")
MARKED_BY_FIXTURE = {"cratedb": "cratedb", "cratedb_cluster": "cluster"}
# Seconds. CrateDB takes a minute for each statement that waits for a lost shard, and nodes are killed and started.
CLUSTER_TIMEOUT = 600


@pytest.fixture(scope="session")
def cratedb(pytestconfig: pytest.Config) -> Iterator[CrateDB]:
    """A CrateDB of one node: one for all workers, for the whole session."""
    with shared_node(pytestconfig) as db:
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
    """A schema name of the test's own; it and ``<name>_ext``, for the toolkit's tables, are dropped after it."""
    schema = unique("t")
    yield schema
    cratedb.drop_schemas(schema, f"{schema}_ext")


@pytest.fixture(scope="session")
def workspaces(cratedb: CrateDB) -> Iterator[Workspace]:
    """What `workspace` lends to one test after the other."""
    found = Workspace(cratedb)
    yield found
    found.drop()


@pytest.fixture
def workspace(workspaces: Workspace) -> Iterator[Workspace]:
    """A schema on CrateDB, another that has the toolkit's tables, and a repository, all empty."""
    workspaces.prepare()
    yield workspaces
    workspaces.clear()


@pytest.fixture
def cluster_schema(cratedb_cluster: CrateDBCluster) -> Iterator[str]:
    """Like `crate_schema`, on the cluster. All nodes are up at the start, and started again at the end."""
    cratedb_cluster.heal()
    schema = unique("t")
    yield schema
    cratedb_cluster.heal()
    cratedb_cluster.db.drop_schemas(schema, f"{schema}_ext")


@pytest.fixture
def crate_repository(cratedb: CrateDB) -> Iterator[str]:
    """The name of an empty snapshot repository of type ``fs``."""
    name = create_repository(cratedb)
    yield name
    drop_repository(cratedb, name)


@pytest.fixture
def duckdb_uri(tmp_path: Path) -> str:
    """The address of a DuckDB file that does not exist yet."""
    return f"duckdb:///{tmp_path / 'test.duckdb'}"


@pytest.fixture
def crate(cratedb: CrateDB, workspace: Workspace) -> Iterator[CrateDatabase]:
    """A schema of a real CrateDB, with a repository, and the toolkit on it."""
    bench = CrateDatabase(cratedb, workspace.schema, workspace.repository)
    yield bench
    bench.close()


@pytest.fixture
def crate_files(cratedb: CrateDB, workspace: Workspace, tmp_path: Path) -> Iterator[ParquetDatabase]:
    """Like `crate`, but archives are Parquet files in a directory."""
    bench = ParquetDatabase(cratedb, workspace.schema, tmp_path / "archive")
    yield bench
    bench.close()


@pytest.fixture
def new_crate(cratedb: CrateDB, crate_schema: str, crate_repository: str) -> Iterator[CrateDatabase]:
    """Like `crate`, but nothing is set up yet."""
    bench = CrateDatabase(cratedb, crate_schema, crate_repository)
    yield bench
    bench.close()


@pytest.fixture(scope="session")
def duck_template(tmp_path_factory: pytest.TempPathFactory) -> DuckTemplate:
    """A DuckDB file with the toolkit's tables."""
    return DuckTemplate(tmp_path_factory.mktemp("duck"), lambda bench: bench.set_up())


@pytest.fixture
def duck(duck_template: DuckTemplate) -> Iterator[DuckDatabase]:
    """A DuckDB file, with a repository beside it, and the toolkit on it."""
    bench = duck_template.open()
    yield bench
    bench.close()


@pytest.fixture
def new_duck(duckdb_uri: str, tmp_path: Path) -> Iterator[DuckDatabase]:
    """Like `duck`, but nothing is set up yet."""
    bench = DuckDatabase(duckdb_uri, tmp_path / "repository")
    yield bench
    bench.close()


@pytest.fixture(params=["duck", pytest.param("crate", marks=pytest.mark.cratedb)])
def db(request: pytest.FixtureRequest) -> Database:
    """Each engine in turn, as `duck` and `crate`."""
    bench: Database = request.getfixturevalue(request.param)
    return bench


@pytest.fixture(params=["new_duck", pytest.param("new_crate", marks=pytest.mark.cratedb)])
def new_db(request: pytest.FixtureRequest) -> Database:
    """Like `db`, but nothing is set up yet."""
    bench: Database = request.getfixturevalue(request.param)
    return bench


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server for all tests of a worker."""
    from support.object_store import serving

    with serving() as address:
        yield address


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """An empty bucket, with credentials in the environment."""
    from support.object_store import ObjectStore

    store = ObjectStore(s3_server)
    store.use(monkeypatch)
    return store


@pytest.fixture(scope="session")
def rrdtool() -> str:
    """The command `rrdtool`."""
    command = shutil.which("rrdtool")
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


def pytest_addoption(parser: pytest.Parser) -> None:
    """The long tier is chosen by an option."""
    parser.addoption(tiers.OPTION, action="store_true", help="Run the long tier: all tests, with more examples.")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the tier, and be ready to start a CrateDB for all workers."""
    tiers.choose(config)
    if not config.getoption(tiers.OPTION):
        use_one_thread()
        compile_once()
    if not config.option.basetemp and (memory := memory_directory()):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))
    if getattr(config.option, "tx", None) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SharedServer(), "shared-cratedb")
        config.pluginmanager.register(Scheduler(), "schedule-by-file")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the fixtures that they ask for, before ``-m`` selects by marks, and leave out the long tier."""
    for item in items:
        for fixture, mark in MARKED_BY_FIXTURE.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(mark)
        if item.get_closest_marker("cluster"):
            item.add_marker(pytest.mark.timeout(CLUSTER_TIMEOUT))
        if "cratedb_cluster" in getattr(item, "fixturenames", ()) and not item.nodeid.startswith(CLUSTER):
            raise pytest.UsageError(f"{item.nodeid}: tests of the cluster are in {', '.join(CLUSTER)}")
    tiers.leave_out(items)
    costly = {
        _group(item.nodeid) for item in items if {"slow", "cratedb"} & {mark.name for mark in item.iter_markers()}
    }
    # What takes long comes first, so that no worker has to wait for another one at the end.
    items.sort(key=lambda item: (not item.nodeid.startswith(CLUSTER), _group(item.nodeid) not in costly))


def pytest_collection_finish() -> None:
    """What was loaded by now stays until the end; so collecting garbage is quick."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # A test leaves more behind than a program does in that time.


class Scheduler:
    """A plugin of pytest in the process that hands out tests: says which of them go to one worker."""

    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Keep a group of tests together. (`--dist=loadgroup` of pytest-xdist 3.8 does not do so with pytest 9.2.)"""
        from xdist.scheduler import LoadScopeScheduling

        class ByGroup(LoadScopeScheduling):  # type: ignore[misc]  # It has no types.
            def _split_scope(self, nodeid: str) -> str:
                return _group(nodeid)

        return ByGroup(config, log)


def _group(nodeid: str) -> str:
    """What goes to one worker: a file, since it may share what is dear; all tests of the cluster, as there is one."""
    return CLUSTER[0] if nodeid.startswith(CLUSTER) else nodeid.partition("::")[0]


def pytest_report_header() -> str:
    """Say which CrateDB the tests run on; an address may hold a password, so it is not shown."""
    server = "the one of CRATEDB_URI" if os.environ.get("CRATEDB_URI") else cratedb_home() or "none"
    return f"CrateDB: {server}, cluster: {cratedb_home() or 'none'}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was not tested and how to get what it needs, and what took too long."""
    stats = terminalreporter.stats
    for line in summary(str(report.longrepr) for report in stats.get("skipped", ())):
        terminalreporter.line(line, red=True, bold=True)
    reports = [r for key in ("passed", "failed", "") for r in stats.get(key, ()) if isinstance(r, pytest.TestReport)]
    for number, line in enumerate(tiers.over_budget(reports)):
        if number == 0:
            terminalreporter.section(f"more than {tiers.SLOW:.0f} s without @pytest.mark.slow(reason)", yellow=True)
        terminalreporter.line(line, yellow=True)
