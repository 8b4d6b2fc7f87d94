"""The Compose files: Compose takes them, and what they start works with the real programs, without an engine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from cratedb_retention.cli.main import cli
from cratedb_retention.service.settings import listening, load
from support.cratedb import HOST, CrateDB, CrateProcess, cratedb_home, free_ports, prepare_directory
from support.missing import NO_CRATEDB, not_found
from support.sql import SqlClient, SqlError, Unreachable
from support.tools import require_tool

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "deploy" / "compose"
SINGLE, CLUSTER = FOLDER / "compose.yaml", FOLDER / "compose.cluster.yaml"
OWN_HEAP = "512m"


def read(path: Path) -> dict[str, Any]:
    """A file as YAML, with the defaults in the place of variables."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", path.read_text(encoding="utf-8"))
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def services(*paths: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """All services of these files."""
    for path in paths:
        yield from read(path)["services"].items()


def find_compose() -> list[str] | None:
    """The command that reads Compose files, if there is one."""
    for argv in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(argv[0])
            and not subprocess.run([*argv, "version"], capture_output=True, check=False).returncode
        ):
            return argv
    return None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is shipped, with the secrets that one makes."""
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy", ignore=shutil.ignore_patterns(".env", "cratedb-uri"))
    place = tmp_path / "deploy" / "compose"
    for example in place.glob("secrets/*.example"):
        shutil.copy(example, example.with_suffix(""))
    return place


def config(folder: Path, *names: str) -> Any:
    """What Compose makes of files."""
    compose = find_compose()
    if compose is None:
        pytest.skip(not_found("docker compose"))
    argv = [*compose, "--project-directory", str(folder)]
    version = subprocess.run([*compose, "version", "--short"], capture_output=True, text=True, check=True).stdout
    for name in names:
        path = folder / name
        if version.startswith("1."):  # It knows everything but the name of the project.
            path.write_text(re.sub(r"^name:.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE))
        argv += ["--file", str(path)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("CRATEDB", "RETENTION"))}
    done = subprocess.run([*argv, "config"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "level=warning" not in done.stderr, done.stderr
    return yaml.safe_load(done.stdout)


def test_compose_takes_one_node(folder: Path) -> None:
    """Compose itself finds no mistake in the file for one node."""
    found = config(folder, "compose.yaml")
    assert set(found["services"]) == {"cratedb", "init", "retention", "prometheus", "grafana"}


def test_compose_takes_the_cluster(folder: Path) -> None:
    """Together with the second file there are three nodes, and the policies are those of the cluster."""
    found = config(folder, "compose.yaml", "compose.cluster.yaml")
    assert {"cratedb", "cratedb2", "cratedb3"} < set(found["services"])
    assert "discovery.type" not in str(found["services"]["cratedb"]["command"])
    mounts = str(found["services"]["init"]["volumes"])
    assert "policies.cluster.yaml" in mounts
    assert "policies.yaml:" not in mounts.replace("/etc/cratedb-retention/policies.yaml:", "")
    assert set(found["services"]["init"]["depends_on"]) == {"cratedb", "cratedb2", "cratedb3"}


def test_env_example_names_the_defaults(folder: Path) -> None:
    """Each line of .env.example is a variable that the files know, with the value that it has anyway."""
    text = (folder / ".env.example").read_text(encoding="utf-8")
    lines = re.findall(r"^#(\w+=.*)$", text, re.MULTILINE)
    known = set(re.findall(r"\$\{(\w+):-", SINGLE.read_text(encoding="utf-8") + CLUSTER.read_text(encoding="utf-8")))
    assert {line.partition("=")[0] for line in lines} == known
    names = ("compose.yaml", "compose.cluster.yaml")
    before = config(folder, *names)
    (folder / ".env").write_text("\n".join(lines))
    assert config(folder, *names) == before


def test_mounted_files_exist() -> None:
    """Each file that is mounted is in the repository; of secrets there is an example, and the secrets are not."""
    ignored = (FOLDER / ".gitignore").read_text(encoding="utf-8").split()
    assert {"/.env", "/secrets/*", "!/secrets/*.example"} <= set(ignored)
    for path in (SINGLE, CLUSTER):
        found = read(path)
        for service in found["services"].values():
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                assert not source.startswith(".") or (FOLDER / source).exists(), volume
                assert source.startswith(".") or source in read(SINGLE)["volumes"] | read(CLUSTER)["volumes"], volume
        for secret in found.get("secrets", {}).values():
            assert (FOLDER / f"{secret['file']}.example").is_file()


def test_images_are_pinned() -> None:
    """Each image has a full version, but the one that is built here."""
    for name, service in services(SINGLE, CLUSTER):
        image = service.get("image")
        if "build" in service:
            assert (
                FOLDER / service["build"]["context"] / service["build"]["dockerfile"]
            ).resolve() == ROOT / "Containerfile"
        elif image is not None:
            assert re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", image), (name, image)


def test_only_this_machine_reaches_it() -> None:
    """No port is open to others."""
    ports = [port for _, service in services(SINGLE, CLUSTER) for port in service.get("ports", [])]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_service_is_locked_in() -> None:
    """The containers of the service have a read-only root, no capabilities, and no secret in their environment."""
    ours = [service for _, service in services(SINGLE) if "build" in service]
    assert len(ours) == 2
    for service in ours:
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert "CRATEDB_URI" not in service["environment"]


def test_settings_are_settings(folder: Path) -> None:
    """The service's environment is valid, its port the one that is published, and tokens are asked for."""
    service = read(SINGLE)["services"]["retention"]
    environment = {**service["environment"], "CRATEDB_URI_FILE": str(folder / "secrets" / "cratedb-uri")}
    settings = load(environment, None).settings
    heard = listening(settings.http)
    assert heard is not None
    assert (heard.authenticate, service["ports"][0].split(":")[-1]) == (True, str(heard.port))
    assert {"localhost", "127.0.0.1", "retention"} == heard.hosts
    context = cli.make_context("cratedb-retention", service["command"], resilient_parsing=True)
    command = cli.get_command(context, service["command"][0])
    assert command is not None
    patience = command.make_context("serve", service["command"][1:]).params["patience"]
    assert patience < int(service["stop_grace_period"].removesuffix("s"))


def test_prometheus_finds_the_service(folder: Path, tmp_path: Path) -> None:
    """Prometheus asks the service, with the token that `init` writes; its own tool takes the file, where it is."""
    found = read(SINGLE)["services"]
    text = (folder / "prometheus.yml").read_text(encoding="utf-8")
    (job,) = yaml.safe_load(text)["scrape_configs"]
    port = found["retention"]["ports"][0].split(":")[-1]
    assert job["static_configs"] == [{"targets": [f"retention:{port}"]}]
    mounts = {volume.split(":")[0]: volume.split(":")[1] for volume in found["prometheus"]["volumes"]}
    token = Path(job["authorization"]["credentials_file"])
    assert str(token.parent) == mounts["tokens"]
    assert token.name in found["init"]["command"][0]
    promtool = require_tool("promtool")
    (tmp_path / token.name).write_text("x")
    text = text.replace(str(token.parent), str(tmp_path))
    text = text.replace(mounts["../prometheus/alerts.yml"], str(ROOT / "deploy/prometheus/alerts.yml"))
    (tmp_path / "prometheus.yml").write_text(text)
    argv = [promtool, "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules found" in done.stdout


def test_grafana_finds_prometheus_and_the_dashboard(folder: Path) -> None:
    """The source of data is the Prometheus of the file, and the dashboard lies where its provider looks."""
    grafana = read(SINGLE)["services"]["grafana"]
    (source,) = read(folder / "grafana/datasources/prometheus.yaml")["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
    (provider,) = read(folder / "grafana/dashboards/retention.yaml")["providers"]
    mounts = {volume.split(":")[0]: Path(volume.split(":")[1]) for volume in grafana["volumes"]}
    dashboard = mounts["../grafana/dashboard.json"]
    assert str(dashboard.parent) == provider["options"]["path"]
    assert str(dashboard) == grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    places = {str(mounts["./grafana/datasources"]), str(mounts["./grafana/dashboards"])}
    assert places == {f"/etc/grafana/provisioning/{name}" for name in ("datasources", "dashboards")}


class Nodes:
    """Nodes of CrateDB with the options that files name, on this machine."""

    def __init__(self, home: Path, root: Path, found: Mapping[str, Mapping[str, Any]]) -> None:
        ports = free_ports(2 * len(found))
        http = dict(zip(found, ports, strict=False))
        self.repositories = prepare_directory(root / "repositories")
        transport = dict(zip(found, ports[len(found) :], strict=True))
        self._processes = []
        for name, service in found.items():
            settings = dict(option.removeprefix("-C").split("=", 1) for option in service["command"][1:])
            assert settings["path.repo"] in {volume.split(":")[1] for volume in service["volumes"]}
            settings |= {"network.host": HOST, "http.port": str(http[name]), "psql.enabled": "false"}
            settings |= {"transport.tcp.port": str(transport[name]), "path.repo": str(self.repositories)}
            for seed in found if "discovery.seed_hosts" in settings else ():
                pattern = rf"(?<![\w]){seed}:4300\b"
                settings["discovery.seed_hosts"] = re.sub(
                    pattern, f"{HOST}:{transport[seed]}", settings["discovery.seed_hosts"]
                )
            assert service["command"][0] == "crate"
            self._processes.append(
                CrateProcess(home=home, directory=prepare_directory(root / name), settings=settings, heap=OWN_HEAP)
            )
        self.ports = list(http.values())
        self.uri = f"crate://crate@{HOST}:{self.ports[0]}/"
        self.db = CrateDB(self.uri, self.repositories)
        self._members = len(found)

    def start(self) -> None:
        """Start all of them, and wait until they have found each other."""
        for process in self._processes:
            process.start()
        for process in self._processes:
            process.wait_until(self._formed, f"{self._members} nodes are there")

    def stop(self) -> None:
        """Stop all of them."""
        for process in self._processes:
            process.stop()

    def _formed(self) -> bool:
        try:
            return bool(SqlClient(self.uri, timeout=5).value("SELECT count(*) FROM sys.nodes") == self._members)
        except (SqlError, Unreachable):
            return False


@contextmanager
def running(root: Path, *names: str) -> Iterator[Nodes]:
    """The nodes with these names, until the end of the block."""
    home = cratedb_home()
    if home is None:
        pytest.skip(NO_CRATEDB)
    found = {name: {**service, "volumes": service.get("volumes", ["-:/data/repositories"])}
             for name, service in services(CLUSTER if len(names) > 1 else SINGLE) if name in names}  # fmt: skip
    nodes = Nodes(home, root, found)
    try:
        nodes.start()
        yield nodes
    finally:
        nodes.stop()


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory that other users may enter, which pytest's own are not."""
    place = Path(tempfile.mkdtemp(prefix="cratedb-retention-compose-"))
    yield prepare_directory(place)
    shutil.rmtree(place, ignore_errors=True)


class Shell:
    """The place of the containers `init` and `retention`: a directory, the command, and the address of a database."""

    def __init__(self, directory: Path, uri: str, policies: str) -> None:
        self.directory = directory
        script = directory / "bin" / "cratedb-retention"
        script.parent.mkdir()
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cratedb_retention "$@"\n')
        script.chmod(0o755)
        (directory / "uri").write_text(f"{uri}\n")
        self._policies = FOLDER / policies
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("CRATEDB")},
            "PATH": f"{script.parent}:{os.environ['PATH']}",
            "CRATEDB_URI_FILE": str(directory / "uri"),
        }

    def init(self) -> str:
        """Do what `init` does; returns what it wrote."""
        service = read(SINGLE)["services"]["init"]
        (script,) = service["command"]
        target = next(volume.split(":")[1] for volume in service["volumes"] if "policies" in volume)
        return self._run([*service["entrypoint"], script.replace(target, str(self._policies))])

    def __call__(self, *args: str) -> str:
        """Run a command of the toolkit; returns what it wrote."""
        return self._run(["cratedb-retention", *args])

    def data(self, *args: str) -> Any:
        """Run a command, and return what it wrote as values."""
        return json.loads(self(*args, "--format=json"))

    @property
    def token(self) -> str:
        """The token for Prometheus."""
        return (self.directory / "prometheus.token").read_text()

    def _run(self, argv: list[str]) -> str:
        done = subprocess.run(
            argv, cwd=self.directory, env=self._environment, capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, (argv, done.stdout, done.stderr)
        return done.stdout


def load_sample(db: CrateDB) -> None:
    """Run the statements of sample.sql."""
    lines = (FOLDER / "sample.sql").read_text(encoding="utf-8").splitlines()
    for statement in "\n".join(line for line in lines if not line.startswith("--")).split(";"):
        if statement.strip():
            db.sql(statement)


def check_health(port: int) -> None:
    """Run the health check of the container `cratedb`."""
    test = read(SINGLE)["services"]["cratedb"]["healthcheck"]["test"]
    assert test == read(CLUSTER)["services"]["cratedb3"]["healthcheck"]["test"]
    argv = [part.replace(":4200/", f":{port}/") for part in test[1:]]
    assert argv[0] == "curl"
    assert shlex.join(argv) != shlex.join(test[1:])
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["rows"]) == (0, [["retention"]])


@pytest.mark.cratedb
@pytest.mark.long("half a minute on a CrateDB of its own; make test checks the file's settings and commands")
@pytest.mark.timeout(600)
def test_one_node_at_work(root: Path, tmp_path: Path) -> None:
    """
    CrateDB starts with the options of the file and is healthy, `init` can be repeated, and its policies work on the
    sample data.
    """
    with running(root, "cratedb") as nodes:
        check_health(nodes.ports[0])
        shell = Shell(tmp_path, nodes.uri, "policies.yaml")
        shell.init()
        first = shell.token
        assert first.startswith("crt_")
        shell.init()
        assert shell.token == first
        shell("revoke-token", "prometheus")
        shell.init()
        assert shell.token != first
        load_sample(nodes.db)
        assert nodes.db.value("SELECT count(*) FROM logs") == 2160
        shell("run")
        nodes.db.sql("REFRESH TABLE logs, metrics")
        assert 60 * 24 <= nodes.db.value("SELECT count(*) FROM logs") < 67 * 24 + 1
        assert nodes.db.value("SELECT count(*) FROM metrics") < 37 * 144 * 3 + 1
        assert {"metrics", "logs"} < {policy["id"] for policy in shell.data("list-policies")}
        shell("check-policies")


@pytest.mark.cluster
@pytest.mark.long("half a minute on a cluster of its own; make test checks the file, and moves shards elsewhere")
@pytest.mark.timeout(600)
def test_cluster_at_work(root: Path, tmp_path: Path) -> None:
    """Three nodes with the options of the file find each other, and old logs move to the cold one, and only there."""
    with running(root, "cratedb", "cratedb2", "cratedb3") as nodes:
        for port in nodes.ports:
            check_health(port)
        shell = Shell(tmp_path, nodes.uri, "policies.cluster.yaml")
        shell.init()
        load_sample(nodes.db)
        guide = (ROOT / "docs" / "how-to" / "compose.md").read_text(encoding="utf-8")
        statements = re.findall(r"^ALTER TABLE .*?;$", guide, re.MULTILINE)
        assert len(statements) == 2
        for statement in statements:
            nodes.db.sql(statement.rstrip(";"))
        shell("run", "--policy=logs-to-cold")
        where = dict(nodes.db.rows(
            "SELECT date_format('%Y-%m-%d', p.\"values\"['week']) AS week, min(s.node['name'])"
            " FROM information_schema.table_partitions p JOIN sys.shards s"
            " ON s.table_name = p.table_name AND s.partition_ident = p.partition_ident"
            " WHERE p.table_name = 'logs' GROUP BY 1"
        ))  # fmt: skip
        weeks = sorted(where)
        assert {where[week] for week in weeks[:-3]} == {"cratedb3"}
        assert {where[week] for week in weeks[-2:]} <= {"cratedb", "cratedb2"}
        (statement,) = re.findall(r"^CREATE REPOSITORY .*;$", guide, re.MULTILINE)
        nodes.db.sql(statement.rstrip(";").replace("/data/repositories", str(nodes.repositories)))
        nodes.db.sql("DROP REPOSITORY export_cold")
