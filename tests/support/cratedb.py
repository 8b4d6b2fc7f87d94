"""
A real CrateDB for tests: one node, or a cluster of three.

The server is the one at ``CRATEDB_URI``, else one started from ``CRATEDB_HOME`` (default: /opt/crate) for this test
run alone, on ports that were free, in directories that vanish afterwards.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from support.process import HOST, CrateProcess, ServerFailed, free_ports, prepare_directory
from support.sql import SqlClient, SqlError, Unreachable, quoted

STORAGE = {"n1": "hot", "n2": "hot", "n3": "cold"}
CLUSTER_HEAP = "512m"
# The servers of tests live for minutes: code that is compiled quickly beats code that runs fast.
SHORT_LIVED = "-XX:TieredStopAtLevel=1"
# Bytes that must be free where servers keep their data in memory.
MEMORY_NEEDED = 4 * 2**30


class CrateDB(SqlClient):
    """
    A server to test with.

    :param uri: Its address as the toolkit takes it, e.g. ``crate://127.0.0.1:4200/``.
    :param repo_root: A directory in the server's ``path.repo``, for repositories of type ``fs``.
    """

    def __init__(self, uri: str, repo_root: Path) -> None:
        super().__init__(uri)
        self.repo_root = repo_root

    def drop_schemas(self, *schemas: str) -> None:
        """Drop every table and view of these schemas."""
        places = ", ".join("?" * len(schemas))
        for schema, name, kind in self.rows(
            "SELECT table_schema, table_name, table_type FROM information_schema.tables"
            f" WHERE table_schema IN ({places})",
            schemas,
        ):
            self.sql(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} IF EXISTS {quoted(schema, name)}")


@dataclass
class Node:
    """A member of the cluster. ``storage`` is its attribute of that name: ``hot`` or ``cold``."""

    name: str
    storage: str
    port: int
    transport_port: int
    process: CrateProcess

    @property
    def pid(self) -> int | None:
        """Its process id, or None while it is down."""
        return self.process.pid

    @property
    def uri(self) -> str:
        """The address of this node alone."""
        return f"crate://{HOST}:{self.port}/"


class CrateDBCluster:
    """
    Three nodes, ``n1`` and ``n2`` hot, ``n3`` cold, each of which can be killed and started again.

    :param nodes: By name.
    :param repo_root: A directory in ``path.repo``, the same for all of them.
    """

    def __init__(self, nodes: dict[str, Node], repo_root: Path) -> None:
        self.nodes = nodes
        self.repo_root = repo_root

    @property
    def alive(self) -> list[Node]:
        """The nodes whose process runs."""
        return [node for node in self.nodes.values() if node.pid is not None]

    @property
    def uri(self) -> str:
        """The address of the first node that is alive."""
        return self.alive[0].uri

    @property
    def db(self) -> CrateDB:
        """A connection to the first node that is alive."""
        return CrateDB(self.uri, self.repo_root)

    def sql(self, statement: str, args: list[Any] | tuple[Any, ...] | None = None) -> Any:
        """Run a statement on the first node that is alive; see :meth:`support.sql.SqlClient.sql`."""
        return self.db.sql(statement, args)

    def kill(self, name: str) -> None:
        """Kill a node, and wait until the others have noticed."""
        self.nodes[name].process.kill()
        _await_each_other(self.alive)

    def start(self, name: str) -> None:
        """Start a node that is down, and wait until it has joined; its shards may need longer."""
        others = self.alive
        self.nodes[name].process.start()
        _await_each_other([*others, self.nodes[name]])

    def heal(self) -> None:
        """Start every node that is down."""
        for node in self.nodes.values():
            if node.pid is None:
                node.process.start()
        _await_each_other(list(self.nodes.values()))

    def wait_for(self, query: str, expected: Any, timeout: float = 60) -> None:
        """
        Ask a query again and again until its first value is as expected: shards that move, health that returns.

        :raises ServerFailed: if that takes too long.
        """
        deadline = time.monotonic() + timeout
        seen: object = None
        while time.monotonic() < deadline:
            with suppress(SqlError, Unreachable):
                seen = self.db.value(query)
                if seen == expected:
                    return
            time.sleep(0.1)
        raise ServerFailed(f"expected {expected!r}, still {seen!r} after {timeout:.0f} seconds: {query}")


def cratedb_home() -> Path | None:
    """Where CrateDB is installed, if it is."""
    home = Path(os.environ.get("CRATEDB_HOME") or "/opt/crate")
    return home if (home / "bin" / "crate").exists() else None


@contextmanager
def one_node(short_lived: bool = True) -> Iterator[CrateDB | None]:
    """
    The server of ``CRATEDB_URI``, or one of our own; None where there is neither.

    :param short_lived: Whether it is for tests. What is measured needs one with its data on disk that warms up fully.
    """
    home = cratedb_home()
    if uri := os.environ.get("CRATEDB_URI"):
        db = CrateDB(uri, Path(os.environ.get("CRATEDB_REPO_ROOT") or "/tmp/cratedb-repo"))
        db.sql("SELECT 1")  # a server that was named and does not answer is an error, not a reason to skip
        yield db
    elif home:
        with _directory(_memory() if short_lived else None) as root:
            yield from _own_node(home, root, SHORT_LIVED if short_lived else "")
    else:
        yield None


@contextmanager
def three_nodes() -> Iterator[CrateDBCluster | None]:
    """A cluster of our own, whatever ``CRATEDB_URI`` says; None where no CrateDB is installed."""
    home = cratedb_home()
    if not home:
        yield None
        return
    with _directory(_memory()) as root:
        cluster = _new_cluster(home, root)
        try:
            cluster.heal()
            yield cluster
        finally:
            for node in cluster.nodes.values():
                node.process.stop()


def _own_node(home: Path, root: Path, java_options: str) -> Iterator[CrateDB]:
    port, transport_port = free_ports(2)
    repo = prepare_directory(root / "repo")
    own = {"cluster.name": root.name, "node.name": "n1", "discovery.type": "single-node"}
    settings = {**own, **_settings(port, transport_port, repo)}
    process = CrateProcess(home, prepare_directory(root / "n1"), settings, java_options=java_options)
    db = CrateDB(f"crate://{HOST}:{port}/", repo)
    try:
        process.start()
        process.wait_until(partial(_sees, db.uri, 1), "it answers")
        yield db
    finally:
        process.stop()


def _new_cluster(home: Path, root: Path) -> CrateDBCluster:
    ports = free_ports(2 * len(STORAGE))
    transport = dict(zip(STORAGE, ports[len(STORAGE) :], strict=True))
    repo = prepare_directory(root / "repo")
    common = {
        "cluster.name": root.name,
        "cluster.initial_master_nodes": ",".join(STORAGE),
        "discovery.seed_hosts": ",".join(f"{HOST}:{port}" for port in transport.values()),
        "gateway.expected_data_nodes": str(len(STORAGE)),
        "gateway.recover_after_data_nodes": str(len(STORAGE) - 1),
    }
    nodes = {}
    for port, (name, storage) in zip(ports, STORAGE.items(), strict=False):
        own = {"node.name": name, "node.attr.storage": storage, **_settings(port, transport[name], repo)}
        process = CrateProcess(home, prepare_directory(root / name), {**common, **own}, CLUSTER_HEAP, SHORT_LIVED)
        nodes[name] = Node(name, storage, port, transport[name], process)
    return CrateDBCluster(nodes, repo)


def _settings(port: int, transport_port: int, repo: Path) -> dict[str, str]:
    return {
        "network.host": HOST,
        "http.port": str(port),
        "transport.tcp.port": str(transport_port),
        "psql.enabled": "false",
        "path.repo": str(repo),
    }


@contextmanager
def _directory(parent: Path | None) -> Iterator[Path]:
    """A directory that vanishes; not pytest's own, which no other user may enter."""
    root = Path(tempfile.mkdtemp(prefix="cratedb-test-", dir=parent))
    try:
        yield prepare_directory(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _memory() -> Path | None:
    """A file system in memory, if there is one with room: a table is created twice as fast there as on a disk."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free >= MEMORY_NEEDED else None


def _await_each_other(nodes: list[Node]) -> None:
    """Wait until each of these nodes sees all of them, and no others."""
    for node in nodes:
        node.process.wait_until(partial(_sees, node.uri, len(nodes)), f"{node.name} sees {len(nodes)} nodes")


def _sees(uri: str, members: int) -> bool:
    """Whether a node answers, and knows of that many nodes, itself among them."""
    try:
        return bool(SqlClient(uri, timeout=5).value("SELECT count(*) FROM sys.nodes") == members)
    except (SqlError, Unreachable):
        return False
