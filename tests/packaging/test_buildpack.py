"""Procfile and project descriptor, for buildpacks: their processes are started as a shell starts them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cratedb_retention import Retention
from support.markdown import ROOT

PROCESSES = dict(
    line.split(": ", 1) for line in (ROOT / "Procfile").read_text(encoding="utf-8").splitlines() if line.strip()
)
PROJECT = tomllib.loads((ROOT / "project.toml").read_text(encoding="utf-8"))
BUILD = PROJECT["io"]["buildpacks"]
DEADLINE = 60


def environment(uri: str, **more: str) -> dict[str, str]:
    """What a buildpack sets, with this Python in the place of the one that it installs."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "HOME": "/nonexistent", "CRATEDB_URI": uri, **more}


def run(name: str, uri: str) -> str:
    """Run a process to its end."""
    command = ["bash", "-c", PROCESSES[name]]
    done = subprocess.run(command, cwd=ROOT, env=environment(uri), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def started(name: str, uri: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that goes on, ended in any case."""
    command = ["bash", "-c", PROCESSES[name]]
    with subprocess.Popen(command, cwd=ROOT, env=environment(uri, PORT=str(port))) as process:
        try:
            yield process
        finally:
            process.kill()


def ready(port: int) -> int:
    """The status of /ready, as soon as there is one."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready") as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            assert time.monotonic() < deadline, "it does not listen"
            time.sleep(0.1)


@pytest.fixture
def port() -> int:
    """A port that was free."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.long("make test reads the descriptor, and runs setup and run --due elsewhere")
def test_setup_and_what_is_due(duckdb_uri: str) -> None:
    """The first process creates the tables, and the last one runs what is due; both can be repeated."""
    for _ in range(2):
        run("release", duckdb_uri)
        run("due", duckdb_uri)
    with Retention(duckdb_uri) as retention:
        assert retention.policies()


@pytest.mark.long("make test starts the service as a process in service/test_serve")
def test_web(duckdb_uri: str, port: int) -> None:
    """The service listens on the port that the platform says, and ends with 0 after SIGTERM."""
    run("release", duckdb_uri)
    with started("web", duckdb_uri, port) as process:
        assert ready(port) == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0


def test_processes_run_the_sources() -> None:
    """The program is the one of the sources, which are what the build takes, with what is there to start it."""
    for command in PROCESSES.values():
        assert 'PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}" python -m cratedb_retention ' in command
    assert set(BUILD["include"]) == {"/src/", "/LICENSE", "/Procfile", "/requirements-runtime.lock"}
    for name in BUILD["include"]:
        assert (ROOT / name.strip("/")).exists()


def test_project_descriptor() -> None:
    """It has the tables of schema 0.2 and no other, a Python that the program takes, and the pinned requirements."""
    assert set(PROJECT) == {"_", "io"}
    assert set(PROJECT["_"]) == {"schema-version", "name", "licenses"}
    assert PROJECT["_"]["schema-version"] == "0.2"
    assert set(PROJECT["io"]) == {"buildpacks"}
    assert set(BUILD) == {"builder", "include", "build"}
    assert set(BUILD["build"]) == {"env"}
    variables = {each["name"]: each["value"] for each in BUILD["build"]["env"]}
    assert variables["BP_PIP_REQUIREMENT"] == "requirements-runtime.lock"
    version = re.fullmatch(r"(3\.\d+)\.\*", variables["BP_CPYTHON_VERSION"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert version is not None
    assert f"Programming Language :: Python :: {version[1]}" in project["classifiers"]
