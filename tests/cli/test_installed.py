"""
The package as its users have it: built as a wheel, installed into an environment of its own, and run as processes, with
the sources out of reach. All other tests of commands run in processes that are forked from one that has imported
everything (support/forkserver.py), which these do not.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import sysconfig
import urllib.request
import venv
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from cratedb_retention import __version__
from support.command import Command, Outcome
from support.cratedb import free_ports
from support.markdown import ROOT

SOURCES = ROOT / "src" / "cratedb_retention"
# Seconds of processor time that `--help` and `--version` may take.
QUICK = 0.15
Program = Callable[..., Outcome]


@pytest.fixture(scope="module")
def bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheel, and beside it sees what the package depends on."""
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(pip, capture_output=True, check=True)
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    # Files of this kind in that directory, such as the one that leads to the sources, are not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return python.parent


@pytest.fixture
def environment(bin: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of its processes, in which nothing says where the sources are, or which database to use."""
    present = {key: value for key, value in os.environ.items() if not key.startswith(("CRATEDB", "PYTHON"))}
    return {**present, "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Program:
    """Runs a program in an empty directory, as a process of its own."""

    def run(*argv: str) -> Outcome:
        done = subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


def test_the_wheel_has_every_file(bin: Path) -> None:
    """Modules, style sheets and the mark that says that there are types are installed, and nothing else."""
    (installed,) = bin.parent.glob("lib/python*/site-packages/cratedb_retention")

    def files(folder: Path) -> set[str]:
        return {str(path.relative_to(folder)) for path in folder.rglob("*.*") if "__pycache__" not in path.parts}

    assert files(installed) == files(SOURCES)
    assert {"py.typed", "ui/static/web.css", "ui/static/web.js"} <= files(installed)


def test_the_library_is_the_one_that_is_installed(run: Program, bin: Path) -> None:
    """What these tests run comes from the wheel, and the library can be imported and used."""
    program = (
        "import cratedb_retention as c; print(c.__file__)\n"
        "print(c.make_policy(strategy='delete', table_name='t', retention_period='1d').retention_period)\n"
    )
    where, period = run("python", "-W", "error", "-c", program).out.split()
    assert Path(where).is_relative_to(bin.parent)
    assert period == "1d"


@pytest.mark.parametrize("command", ["cratedb-retention", "python -m cratedb_retention"])
def test_version(run: Program, command: str) -> None:
    """The program and the module are the same command, and tell the version of the package."""
    assert run(*command.split(), "--version") == Outcome(0, f"cratedb-retention {__version__}\n", "")


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_are_quick(run: Program, option: str) -> None:
    """They take less than 0.15 s, of which the quickest of some times tells what the code can do about it."""

    def taken() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run("cratedb-retention", option).code == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(taken() for _ in range(5)) < QUICK


def test_from_setup_to_a_run(run: Program, bare: Command, path: Path) -> None:
    """The way that everybody goes: each command leaves in the database what the next one needs."""
    policy = ["--strategy=delete", "--table-name=metrics", "--retention-period=100d"]
    for command in (["setup"], ["create-policy", *policy], ["plan"], ["run", "--cutoff-day=2024-07-01"]):
        outcome = run("cratedb-retention", *command, str(bare.uri))
        assert (outcome.code, outcome.err) == (0, ""), command
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("SELECT month(min(ts)), count(*) FROM metrics").fetchall() == [(3, 120)]


def test_the_demonstration(run: Program) -> None:
    """In an empty directory it ends well."""
    outcome = run("cratedb-retention", "demo")
    assert (outcome.code, outcome.err) == (0, "")
    assert "97,497 left: it adds up" in outcome.out


@pytest.mark.parametrize(
    ("code", "argument"), [(2, "--no-such-option"), (2, "duckdb:///missing.duckdb"), (1, "crate://127.0.0.1:1/")]
)
def test_errors_are_one_line_and_an_exit_code(run: Program, code: int, argument: str) -> None:
    """A shell sees the exit code, and the user one line on stderr."""
    outcome = run("cratedb-retention", "list", argument)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (code, "", 1)
    assert outcome.err.startswith("Error: ")


def test_a_reader_that_has_seen_enough(run: Program, command: Command) -> None:
    """A pipe that is closed is no error, not even when the interpreter ends."""
    script = f"(cratedb-retention list-policies --format=yaml '{command.uri}'; echo $? >&2) | true"
    assert run("bash", "-c", script) == Outcome(0, "", "0\n")


def test_the_shell_completes(run: Program) -> None:
    """The script for the shell, and what it asks for, come from the program that is installed."""
    outcome = run(
        "bash",
        "-c",
        "source <(_CRATEDB_RETENTION_COMPLETE=bash_source cratedb-retention) && complete -p cratedb-retention",
    )
    assert (outcome.code, outcome.err) == (0, "")
    variables = "COMP_WORDS='cratedb-retention verify-s' COMP_CWORD=1 _CRATEDB_RETENTION_COMPLETE=bash_complete"
    assert run("bash", "-c", f"{variables} cratedb-retention").out == "plain,verify-snapshots\n"


def test_serving(environment: dict[str, str], command: Command) -> None:
    """The service answers on its port, for programs and with pages, and ends in order by SIGTERM."""
    (port,) = free_ports(1)
    argv = ["cratedb-retention", "--log-level=info", "serve", f"--listen=127.0.0.1:{port}", str(command.uri)]
    with subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while str(port) not in (line := process.stderr.readline()):
            assert line, "it ended before it listened"
        for path in ("/health", "/"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
                assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        assert "stopping" in process.stderr.read()
        assert process.wait(30) == 0
