"""Messages: what is wrong, in the words of this tool, and nothing that is not so."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import uuid
from pathlib import Path

import duckdb
import pytest

from cratedb_retention.model.address import redact
from support.command import Command, Outcome, argv, complaint

NOWHERE = Command(None)


@pytest.mark.parametrize(
    "uri", ["duckdb:nosuch.duckdb", "duckdb:/nosuch.duckdb", "duckdb:./x", "DuckDB:x", "duckdb:x?a=b"]
)
@pytest.mark.parametrize("name", ["setup", "list"])
def test_too_few_slashes(name: str, uri: str, tmp_path: Path) -> None:
    """An address with too few slashes may mean two files; neither is guessed, and none is made."""
    outcome = NOWHERE.process(name, uri, cwd=tmp_path)
    assert "rite duckdb:///file.duckdb or duckdb:////folder/file.duckdb" in complaint(outcome, 2)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_sqlite(tmp_path: Path) -> None:
    """Another kind of database is refused before DuckDB would download what reads it; nothing is changed."""
    path = tmp_path / "data.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    before = path.read_bytes()
    for name in ("setup", "list", "run", "demo"):
        assert "the file is not a DuckDB database" in NOWHERE.refused(2, name, f"duckdb:///{path}")
    assert path.read_bytes() == before


def test_a_value_that_is_no_uuid(command: Command, path: Path) -> None:
    """What is no UUID is called that, rather than a number of 128 bits."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE devices AS SELECT TIMESTAMP '2020-01-01' AS ts, uuid() AS id FROM range(3)")
    command.ok("create", "--strategy=delete", "--table-name=devices", "--retention-period=1y", "--where", "id=abc")
    for name, code in (("plan", 0), ("run", 1)):
        outcome = command(name)
        assert outcome.code == code
        assert "INT128" not in outcome.out + outcome.err
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("SELECT count(*) FROM devices").fetchall() == [(3,)]
    command.ok("edit-policy", "--id=" + command.data("list")[0]["id"], "--where", f"id={uuid.uuid4()}")
    command.ok("plan")


def test_examples_hold_no_password() -> None:
    """What a hint shows as an example is not redacted, and any other password is."""
    example = "crate://user:password@host:4200/"
    assert example in NOWHERE.refused(2, "list", "garbage")
    for real in (
        "crate://user:password@host:4201/", "crate://user:password@host2:4200/", "crate://admin:password@host:4200/",
        "crate://user:passwords@host:4200/", f"{example}crate://user:s3cret@host:4200/",
    ):  # fmt: skip
        assert ":REDACTED@" in redact(real)
    assert "s3cret" not in redact(f"{example},crate://user:s3cret@host:4200/")


def interrupted(command: Command, *args: str, code: str) -> str:
    """What a command says that gets Ctrl-C; ``code`` makes the process interrupt itself."""
    # It is ignored if the tests run in the background.
    program = "import os, signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    program += f"{code}\nsys.argv = {['cratedb-retention', *args]!r}\n"
    program += "from cratedb_retention.cli.main import main\nmain()\n"
    done = subprocess.run(
        [sys.executable, "-c", program], env=command.environment, capture_output=True, text=True, check=False
    )
    return complaint(Outcome(done.returncode, done.stdout, done.stderr), 1)


IN_A_PLAN = (
    "from cratedb_retention.api import Policies, Retention, Rollups\n"
    "Retention.prepare = Rollups.fetch = Policies.read = lambda *a, **k: os.kill(os.getpid(), signal.SIGINT)"
)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["plan"], "interrupted"),
        (["run", "--dry-run"], "interrupted"),
        (["fetch", "--table-name=metrics"], "interrupted"),
        (["list"], "interrupted"),
        (["run"], "interrupted: the next run continues from here"),
    ],
)
@pytest.mark.some(2)
def test_what_an_interrupted_command_says(command: Command, args: list[str], said: str) -> None:
    """Only of a run there is something left that the next one does."""
    assert interrupted(command, *args, code=IN_A_PLAN) == said


def test_interrupted_while_a_driver_is_imported(command: Command) -> None:
    """Ctrl-C during the import of a driver, which its C code makes an ImportError of, is not a missing driver."""
    code = (
        "import importlib.abc\n"
        "class Breaks(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'duckdb':\n"
        "            raise ImportError('initialization failed') from KeyboardInterrupt()\n"
        "sys.meta_path.insert(0, Breaks())"
    )
    assert interrupted(command, "list", code=code) == "interrupted"


def test_options_that_are_alike(command: Command) -> None:
    """An option is suggested for its name, and not for the dashes that all of them have."""
    assert "Did you mean" not in command.refused(2, "plan", "--bogus")
    assert "Did you mean '--tags'?" in command.refused(2, "plan", "--tag")
    assert "Did you mean '--strategy'?" in command.refused(2, "plan", "--stategy=delete")


def test_a_version_that_never_was(command: Command) -> None:
    """Nobody changed the policy: there is no such version."""
    command.ok("create", "--strategy=delete", "--table-name=metrics", "--retention-period=1y", "--id=p1")
    for version in ("7", "0", "-1"):
        message = command.refused(1, "edit", "--id=p1", "--retention-period=2y", f"--if-version={version}")
        assert f"it has no version {version}, only 1" in message
    command.ok("edit", "--id=p1", "--retention-period=2y", "--if-version=1")
    message = command.refused(1, "edit", "--id=p1", "--retention-period=3y", "--if-version=1")
    assert "changed it in the meantime" in message


@pytest.mark.parametrize(
    "args", [["--help"], ["--version"], ["plan", "--help"], ["list", "duckdb:///nosuch"], ["--bogus"], []], ids=" ".join
)
def test_a_reader_that_has_gone(command: Command, args: list[str]) -> None:
    """As with other tools, it is no failure if nobody reads the help, and no traceback if nobody reads the error."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        for streams in ({"stdout": closed, "stderr": subprocess.PIPE}, {"stdout": subprocess.PIPE, "stderr": closed}):
            done = subprocess.run(argv(*args), check=False, env=command.environment, text=True, **streams)  # type: ignore[call-overload]
            said = (done.stdout or "") + (done.stderr or "")
            assert "Traceback" not in said, said
            assert "BrokenPipe" not in said, said
            assert done.returncode == (0 if {"--help", "--version"} & set(args) else 2), (streams, done)
