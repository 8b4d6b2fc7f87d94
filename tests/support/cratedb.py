"""
A real CrateDB for tests: one node, or a cluster of three.

The server is the one at ``CRATEDB_URI``, else one started from ``CRATEDB_HOME`` (default: /opt/crate) for this test
run alone, on free ports, in directories that are removed afterwards. CrateDB refuses to run as root; if the tests run
as root, it is started as the user ``crate``, or else ``nobody``.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from support.sql import SqlClient, SqlError, Unreachable, quoted

HOST = "127.0.0.1"
# The servers of tests live for minutes: code that is compiled quickly beats code that runs fast. Two cores, which tests
# use as well, collect the garbage of a small heap with the least work one after the other.
SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:-UseG1GC -XX:+UseSerialGC"
STOP_SECONDS = 20
# A user whose password is not checked, which takes a server that lives for minutes a tenth of a second each time.
TRUSTED = {"user": "trusted_reader", "address": "_local_", "method": "trust"}
LOG_LINES = 30
# The nodes of the cluster, with their attribute `storage`.
STORAGE = {"n1": "hot", "n2": "hot", "n3": "cold"}
CLUSTER_HEAP = "512m"
# Bytes that must be free where servers keep their data in memory.
MEMORY_NEEDED = 4 * 2**30


class ServerFailed(Exception):
    """The server ended, or did not do in time what it was waited for; the message ends with its log."""


@dataclass(kw_only=True)
class CrateProcess:
    """
    A node with a directory of its own.

    :param home: Where CrateDB is installed.
    :param directory: For data and logs; prepared by :func:`prepare_directory`.
    :param settings: CrateDB's settings, e.g. ``{"http.port": "4200"}``.
    :param heap: The size of the Java heap.
    :param java_options: For the Java VM, unless the environment has ``CRATE_JAVA_OPTS``.
    """

    home: Path
    directory: Path
    settings: Mapping[str, str]
    heap: str = "1g"
    java_options: str = ""
    _popen: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def name(self) -> str:
        """The name of the node."""
        return self.settings["node.name"]

    @property
    def storage(self) -> str:
        """Its attribute ``storage``: ``hot`` or ``cold``."""
        return self.settings["node.attr.storage"]

    @property
    def uri(self) -> str:
        """The address of this node."""
        return f"crate://{HOST}:{self.settings['http.port']}/"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._popen.pid if self._popen and self._popen.poll() is None else None

    def start(self) -> None:
        """Start the server; it needs some seconds from here until it answers."""
        user = server_user()
        with self._log.open("ab") as log:
            self._popen = subprocess.Popen(
                [*_dies_with_us(), str(self.home / "bin" / "crate"), *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=self._environment(),
                start_new_session=True,
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
            )

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._signal(signal.SIGKILL)
        if self._popen:
            self._popen.wait()

    def stop(self) -> None:
        """End it in order; if that takes too long, at once."""
        self._signal(signal.SIGTERM)
        try:
            if self._popen:
                self._popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def wait_until(self, ready: Callable[[], bool], what: str, timeout: float = 120) -> None:
        """
        Ask again and again until the answer is yes.

        :raises ServerFailed: if the server ends before that, or the time is over.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            if self.pid is None:
                raise ServerFailed(f"CrateDB ended while waiting until {what}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{timeout:.0f} seconds were not enough until {what}:\n{self.log()}")
            time.sleep(0.1)

    def log(self) -> str:
        """The end of what the server printed."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-LOG_LINES:])

    @property
    def _log(self) -> Path:
        return self.directory / "output.log"

    def _options(self) -> list[str]:
        paths = {"path.data": self.directory / "data", "path.logs": self.directory / "logs"}
        return [f"-C{name}={value}" for name, value in {**paths, **self.settings}.items()]

    def _environment(self) -> dict[str, str]:
        own = {"HOME": str(self.directory), "CRATE_HEAP_SIZE": self.heap, "CRATE_DISABLE_GC_LOGGING": "1"}
        return {"CRATE_JAVA_OPTS": self.java_options, **os.environ, **own}

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)


def server_user() -> pwd.struct_passwd | None:
    """Whom to start servers as; None means: as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("crate", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerFailed("CrateDB can't run as root, and there is neither a user `crate` nor a user `nobody`")


def prepare_directory(directory: Path) -> Path:
    """Create a directory, if need be, that belongs to whom servers run as."""
    directory.mkdir(parents=True, exist_ok=True)
    user = server_user()
    if user:
        os.chown(directory, user.pw_uid, user.pw_gid)
    return directory


def free_ports(count: int) -> list[int]:
    """Ports that are free now; all different, since each is bound until the last one is found."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _dies_with_us() -> list[str]:
    """Where the system can: a server gets SIGTERM when the test run is killed and can't stop it any more."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


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


class CrateDBCluster:
    """
    Three nodes, ``n1`` and ``n2`` hot, ``n3`` cold, each of which can be killed and started again.

    :param nodes: By name.
    :param repo_root: A directory in ``path.repo``, the same for all of them.
    """

    def __init__(self, nodes: dict[str, CrateProcess], repo_root: Path) -> None:
        self.nodes = nodes
        self.repo_root = repo_root

    @property
    def alive(self) -> list[CrateProcess]:
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
        self.nodes[name].kill()
        _await_each_other(self.alive)

    def start(self, name: str) -> None:
        """Start a node that is down, and wait until it has joined; its shards may need longer."""
        others = self.alive
        self.nodes[name].start()
        _await_each_other([*others, self.nodes[name]])

    def heal(self) -> None:
        """Start every node that is down."""
        for node in self.nodes.values():
            if node.pid is None:
                node.start()
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
    The server of ``CRATEDB_URI``, or a new one; None where there is neither.

    :param short_lived: Whether it is for tests. Benchmarks need one with its data on disk that warms up fully.
    """
    home = cratedb_home()
    if uri := os.environ.get("CRATEDB_URI"):
        db = CrateDB(uri, Path(os.environ.get("CRATEDB_REPO_ROOT") or "/tmp/cratedb-repo"))
        db.sql("SELECT 1")  # a server that was named and does not answer is an error, not a reason to skip
        yield db
    elif home:
        own = {"discovery.type": "single-node", "http.port": str(free_ports(1)[0]), "transport.tcp.port": "0"}
        # It does not find out that there is room on a disk which a test has filled.
        own |= {"cluster.info.update.interval": "1h"}
        own |= {f"auth.host_based.config.1.{key}": value for key, value in TRUSTED.items()}
        with _new_cluster(home, {"n1": own}, "1g", short_lived) as cluster:
            yield cluster.db
    else:
        yield None


@contextmanager
def three_nodes() -> Iterator[CrateDBCluster | None]:
    """A new cluster, whatever ``CRATEDB_URI`` says; None where no CrateDB is installed."""
    home = cratedb_home()
    if not home:
        yield None
        return
    ports = free_ports(2 * len(STORAGE))
    common = {
        "cluster.initial_master_nodes": ",".join(STORAGE),
        "discovery.seed_hosts": ",".join(f"{HOST}:{port}" for port in ports[len(STORAGE) :]),
        "gateway.expected_data_nodes": str(len(STORAGE)),
        "gateway.recover_after_data_nodes": str(len(STORAGE) - 1),
    }
    nodes = {
        name: {**common, "node.attr.storage": storage, "http.port": str(http), "transport.tcp.port": str(transport)}
        for (name, storage), http, transport in zip(STORAGE.items(), ports, ports[len(STORAGE) :], strict=False)
    }
    with _new_cluster(home, nodes, CLUSTER_HEAP) as cluster:
        yield cluster


@contextmanager
def _new_cluster(
    home: Path, nodes: Mapping[str, Mapping[str, str]], heap: str, short_lived: bool = True
) -> Iterator[CrateDBCluster]:
    """Start nodes, given by their names and settings."""
    java_options = SHORT_LIVED if short_lived else ""
    with _directory(memory_directory() if short_lived else None) as root:
        repo = prepare_directory(root / "repo")
        common = {"cluster.name": root.name, "network.host": HOST, "psql.enabled": "false", "path.repo": str(repo)}
        found = {}
        for name, own in nodes.items():
            settings = {**common, "node.name": name, **own}
            found[name] = CrateProcess(
                home=home,
                directory=prepare_directory(root / name),
                settings=settings,
                heap=heap,
                java_options=java_options,
            )
        cluster = CrateDBCluster(found, repo)
        try:
            cluster.heal()
            yield cluster
        finally:
            for node in found.values():
                node.stop()


@contextmanager
def _directory(parent: Path | None) -> Iterator[Path]:
    """A directory that is removed; not pytest's own, which other users must not enter."""
    root = Path(tempfile.mkdtemp(prefix="cratedb-test-", dir=parent))
    try:
        yield prepare_directory(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def memory_directory() -> Path | None:
    """A file system in memory, if there is one with room: a table is created twice as fast there as on a disk."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free >= MEMORY_NEEDED else None


def _await_each_other(nodes: list[CrateProcess]) -> None:
    """Wait until each of these nodes sees all of them, and no others."""
    for node in nodes:
        node.wait_until(partial(_sees, node.uri, len(nodes)), f"{node.name} sees {len(nodes)} nodes")


def _sees(uri: str, members: int) -> bool:
    """Whether a node answers, and knows of that many nodes, itself among them."""
    try:
        return bool(SqlClient(uri, timeout=5).value("SELECT count(*) FROM sys.nodes") == members)
    except (SqlError, Unreachable):
        return False
