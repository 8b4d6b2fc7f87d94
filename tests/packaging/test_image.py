"""The container image: what it says of itself, what is in it and what is not, and that it works."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import signal
import socket
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import cratedb_retention
from support.cratedb import HOST
from support.databases import MONTH, TIME, CrateDatabase
from support.images import ROOT, UID, VOLUME, Container, Image, ImageBuilder, missing_for_image, pip_options
from support.tools import skip_without

pytestmark = [
    pytest.mark.long("two minutes; make test looks at the Containerfile, and runs the wheel"),
    pytest.mark.timeout(900),
]
LABELS = {"VERSION": cratedb_retention.__version__, "REVISION": "0123abc", "CREATED": "2024-07-01T00:00:00Z"}
URI = "duckdb:///metrics.duckdb"
# Bytes that installing the program adds to the base.
MOST = 300_000_000


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The image, built on a clean Debian."""
    skip_without(missing_for_image())
    builder = ImageBuilder(Path(tempfile.mkdtemp(prefix="cratedb-retention-image-")))
    try:
        yield builder.build(LABELS)
    finally:
        builder.remove()


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """An empty directory that belongs to the user of the image."""
    path = tmp_path / "volume"
    path.mkdir()
    os.chown(path, UID, UID)
    return path


def ok(image: Image, volume: Path, *args: str, uri: str = URI) -> str:
    """Run a command in a container, and return what it wrote."""
    outcome = image.run(volume, *args, environment={"CRATEDB_URI": uri})
    assert (outcome.code, outcome.err) == (0, ""), (args, outcome)
    return outcome.out


def get(port: int, path: str, token: str | None = None) -> tuple[int, bytes]:
    """Ask the service."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"http://{HOST}:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def await_log(container: Container, text: str) -> str:
    """Read what a container logs up to a line with that text."""
    assert container.process.stderr is not None
    seen = ""
    for line in container.process.stderr:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"it ended without saying {text!r}:\n{seen}")


def free_port() -> int:
    """A free port."""
    with socket.create_server((HOST, 0)) as free:
        return int(free.getsockname()[1])


def test_what_it_says_of_itself(image: Image) -> None:
    """User, labels, port, command, health check and signal are those that the documentation names."""
    config = image.config
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert labels["title"] == "cratedb-retention"
    assert labels["licenses"] == "Apache-2.0"
    assert {name.upper(): labels[name] for name in ("version", "revision", "created")} == LABELS
    assert config["User"] == f"{UID}:{UID}"
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    assert (config["Entrypoint"], config["Cmd"]) == (["cratedb-retention"], ["serve"])
    assert config.get("StopSignal") in (None, "SIGTERM")
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert config["WorkingDir"] == VOLUME
    assert not config.get("Volumes")


def test_size(image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    """What is installed is not larger than it should be; the size is printed."""
    files = (path for path in (image.root / "opt" / "cratedb-retention").rglob("*") if path.is_file())
    size = sum(path.lstat().st_size for path in files if not path.is_symlink())
    with capsys.disabled():
        print(f"\nimage: {image.sizes[1]}, its base {image.sizes[0]}, the program {size / 1e6:.0f} MB")
    assert size < MOST


def test_nothing_but_what_runs(image: Image) -> None:
    """There is no pip, no compiler, no build tool and no source in it."""
    programs = {path.name for place in ("opt/cratedb-retention/bin", "usr/bin", "usr/local/bin") for path in
                (image.root / place).iterdir()}  # fmt: skip
    assert not {name for name in programs if re.fullmatch(r"pip[\d.]*|g?cc|g\+\+|make|hatch\w*|uv", name)}
    (packages,) = (image.root / "opt/cratedb-retention/lib").glob("python*/site-packages")
    installed = {path.name.partition("-")[0] for path in packages.glob("*.dist-info")}
    assert {"cratedb_retention", "duckdb", "fastapi", "tzdata"} <= installed
    assert not installed & {"pip", "setuptools", "hatchling", "pytest", "sphinx"}
    assert not (image.root / "build").exists()
    assert not list(packages.glob("**/*.orig")) + list((image.root / "tmp").iterdir())


def test_no_trace_of_this_machine(image: Image) -> None:
    """Neither files nor history nor configuration tell where packages came from, or where the image was built."""
    options, certificate = pip_options()
    secrets = [str(ROOT), *(options.get(key, "") for key in ("index-url", "extra-index-url", "proxy", "trusted-host"))]
    private = [secret.encode() for secret in secrets if secret]
    assert not [line for line in image.history if any(secret.decode() in line for secret in private)]
    assert not [secret for secret in private if secret in json.dumps(dict(image.config)).encode()]
    for path in (image.root / "opt").rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            assert not [secret for secret in private if secret in content], path
    assert not (image.root / "run/secrets").exists() or not list((image.root / "run/secrets").iterdir())
    assert not list(image.root.glob("etc/pip.conf")) + list(image.root.glob("root/.*pip*"))
    if certificate and not certificate.is_relative_to("/etc/ssl"):
        assert not (image.root / str(certificate).lstrip("/")).exists()


def test_bytecode_is_there(image: Image) -> None:
    """No module has to be compiled when it starts: bytecode could not be written later, and would be made each time."""
    packages = next((image.root / "opt/cratedb-retention/lib").glob("python*/site-packages"))
    modules = [path for path in packages.rglob("*.py") if path.stat().st_size]
    bare = [path for path in modules if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))]
    assert len(modules) > 1000
    assert not [path for path in bare if path.is_relative_to(packages / "cratedb_retention")]
    assert len(bare) < 20, bare  # templates of code that are no Python


@pytest.mark.parametrize("args", [("--help",), ("config",), ("list-policies", "duckdb:///none.duckdb")])
def test_bytecode_is_taken(image: Image, volume: Path, args: tuple[str, ...]) -> None:
    """Python takes the bytecode that is there, of the program as well as of itself, and compiles nothing at a start."""
    log = image.execute(volume, "python", "-v", "-m", "cratedb_retention", *args).err
    assert "/cratedb_retention/__pycache__/" in log
    assert not re.findall(r"^# code object from '?/\S+\.py'?$", log, re.MULTILINE)


def test_without_rights(image: Image, volume: Path) -> None:
    """It runs as the user with that number, who can write nothing but the volume and /tmp, and has no capabilities."""
    assert ok(image, volume, "--version") == f"cratedb-retention {cratedb_retention.__version__}\n"
    program = (
        "import json, os, pathlib\n"
        "lines = pathlib.Path('/proc/self/status').read_text().splitlines()\n"
        "status = dict(line.split(':\\t', 1) for line in lines if ':\\t' in line)\n"
        "places = ['/', '/etc', '/opt/cratedb-retention', '/var/lib', '/tmp', os.getcwd()]\n"
        "print(json.dumps([os.getuid(), os.getpid(), status['CapEff'], [p for p in places if os.access(p, os.W_OK)]]))"
    )
    found = json.loads(image.execute(volume, "python", "-c", program).out)
    assert found == [UID, 1, "0" * 16, ["/tmp", VOLUME]]


def test_a_file_on_a_volume(image: Image, volume: Path) -> None:
    """On a DuckDB file all of it works, each command in a container of its own, `run --due` among them."""
    ok(image, volume, "setup")
    with duckdb.connect(str(volume / "metrics.duckdb")) as connection:
        connection.execute("CREATE TABLE m AS SELECT now()::TIMESTAMP - INTERVAL (i) DAY AS ts, i FROM range(100) t(i)")
    ok(
        image, volume, "create-policy", "--strategy=delete", "--table-name=m", "--retention-period=50d",
        "--schedule=@daily", "--time-zone=Europe/Vienna",
    )  # fmt: skip
    assert "nothing is due" in ok(image, volume, "run", "--due")
    ok(image, volume, "run")
    with duckdb.connect(str(volume / "metrics.duckdb")) as connection:
        assert connection.execute("SELECT count(*) FROM m").fetchall() in ([(50,)], [(51,)])
    (run, *_) = json.loads(ok(image, volume, "jobs", "--event=run-finished", "--format=json"))
    assert run["actor"].startswith("retention")
    assert {path.name.partition(".")[0] for path in volume.iterdir()} == {"metrics"}


def test_any_user_can_run_it(image: Image, volume: Path) -> None:
    """A user that the image has never heard of can run it, as in clusters that give out users of their own."""
    os.chown(volume, 54321, 0)
    outcome = image.run(volume, "setup", environment={"CRATEDB_URI": URI}, user="54321:0")
    assert (outcome.code, outcome.err) == (0, "")
    (created,) = json.loads(
        image.run(
            volume, "jobs", "--event=policy-created", "--format=json", environment={"CRATEDB_URI": URI}, user="54321:0"
        ).out
    )
    assert created["actor"].startswith("unknown")


def test_on_cratedb(image: Image, volume: Path, crate: CrateDatabase) -> None:
    """On a real CrateDB expired partitions go, and nothing is written beside it."""
    crate.create("m", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    today = dt.datetime.now(dt.UTC)
    crate.fill("m", [f"{today - dt.timedelta(days=days):%Y-%m-%d}" for days in (0, 200, 300)])
    own = f"--schema={crate.own_schema}"
    ok(image, volume, "setup", own, uri=crate.uri)
    ok(
        image, volume, "create-policy", own, "--strategy=delete", f"--table-schema={crate.schema}", "--table-name=m",
        "--retention-period=100d", uri=crate.uri,
    )  # fmt: skip
    ok(image, volume, "run", own, uri=crate.uri)
    crate.refresh("m")
    assert crate.rows(f"SELECT count(*) FROM {crate.q('m')}") == [[1]]
    assert not list(volume.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve(image: Image, volume: Path, number: signal.Signals) -> None:
    """It answers HTTP, asks for tokens, shows pages, is healthy, and ends with 0 within seconds of a signal."""
    ok(image, volume, "setup")
    token = ok(image, volume, "create-token", "--name=operations", "--role=admin").strip()
    port = free_port()
    environment = {"CRATEDB_URI": URI, "CRATEDB_RETENTION_HTTP_LISTEN": f"0.0.0.0:{port}"}
    check = image.config["Healthcheck"]["Test"][1:]
    assert image.execute(volume, *check, environment=environment).code == 1
    with image.started(volume, environment=environment) as container:
        await_log(container, str(port))
        assert get(port, "/health") == (200, b'{"status":"alive"}')
        assert get(port, "/ready") == (200, b'{"status":"ready"}')
        assert get(port, "/metrics")[0] == 401
        assert b"cratedb_retention_policies 1.0" in get(port, "/metrics", token)[1]
        assert b"Log in" in get(port, "/ui/login")[1]
        assert image.execute(volume, *check, environment=environment).code == 0
        began = dt.datetime.now(dt.UTC)
        assert container.stop(number).code == 0
        assert dt.datetime.now(dt.UTC) - began < dt.timedelta(seconds=10)
    assert {path.name.partition(".")[0] for path in volume.iterdir()} == {"metrics"}


def test_stopping_other_commands(image: Image, volume: Path) -> None:
    """As process 1 a command that waits for the database hears the signal that an engine sends to stop it."""
    with socket.create_server((HOST, 0)) as silent:
        uri = f"crate://{HOST}:{silent.getsockname()[1]}/"
        with image.started(volume, "list-policies", environment={"CRATEDB_URI": uri}) as container:
            silent.settimeout(60)
            connection, _ = silent.accept()
            with connection:
                outcome = container.stop(signal.SIGTERM)
    assert outcome.code == 1
    assert outcome.err.startswith("Error: interrupted")


def test_health_without_http(image: Image, volume: Path) -> None:
    """Where there is no HTTP, the health check has nothing to ask, and finds nothing wrong."""
    check = image.config["Healthcheck"]["Test"][1:]
    assert image.execute(volume, *check, environment={"CRATEDB_RETENTION_HTTP_LISTEN": ""}).code == 0
