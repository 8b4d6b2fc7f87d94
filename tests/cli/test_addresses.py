"""Addresses: those that can't be used are refused in one line, and a password is never shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.command import Command, complaint
from support.cratedb import free_ports

PASSWORD = "s3cr3t"
NOWHERE = Command(None)
WRONG = {
    "": "missing",
    "garbage": "no scheme",
    "localhost:4200": "scheme 'localhost' is not supported",
    "mysql://localhost/": "scheme 'mysql' is not supported",
    "postgresql://localhost:5432/": "PostgreSQL's protocol is not supported. Use CrateDB's HTTP endpoint",
    "crate://": "no host",
    "crate://localhost:99999/": "malformed host or port",
    "crate://u:s3/cr3t@localhost:4200/": "percent-encoded",
    "duckdb://host/file": "has no host",
    "duckdb:///:memory:": "in memory",
    "duckdb://": "in memory",
}
COMMANDS = ["setup", "list", "plan", "run", "status", "jobs", "check", "list-snapshots", "list-holds", "demo"]


@pytest.mark.parametrize("uri", WRONG)
@pytest.mark.parametrize("name", ["setup", "list", "run"])
def test_wrong_addresses(name: str, uri: str) -> None:
    """An address that is none, or of another database, is wrong usage, on the command line and in the environment."""
    assert WRONG[uri] in NOWHERE.refused(2, name, uri)
    assert WRONG[uri] in Command(uri).refused(2, name)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("setup", "demo")])
def test_a_missing_file_is_not_created(name: str, tmp_path: Path) -> None:
    """Only ``setup`` creates a DuckDB file; a misspelt name must not make an empty database."""
    path = tmp_path / "missing.duckdb"
    assert "`cratedb-retention setup` creates it" in NOWHERE.refused(2, name, f"duckdb:///{path}")
    assert not path.exists()


@pytest.mark.parametrize("name", ["setup", "list", "run"])
def test_a_file_that_is_no_database(name: str, tmp_path: Path) -> None:
    """Another file is refused, and stays as it is."""
    path = tmp_path / "notes.txt"
    path.write_text("dear diary\n" * 1000)
    assert "not a DuckDB database" in NOWHERE.refused(2, name, f"duckdb:///{path}")
    assert path.read_text() == "dear diary\n" * 1000


def test_a_directory_that_is_missing(tmp_path: Path) -> None:
    """A DuckDB file can't be created where there is no directory, or where there is one of its name."""
    NOWHERE.refused(1, "setup", f"duckdb:///{tmp_path / 'no' / 'file.duckdb'}")
    NOWHERE.refused(1, "setup", f"duckdb:///{tmp_path}")


def test_a_file_that_another_process_has_open(command: Command, path: Path) -> None:
    """DuckDB allows one process at a time; the error says which one it is."""
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        message = command.refused(1, "run")
        other.communicate("")
    assert f"process {other.pid} has it open" in message
    command.ok("list")


@pytest.mark.slow("the first command that is a process imports what all of them need")
def test_nobody_answers() -> None:
    """A closed port is one line too: no warnings of each attempt, no traceback."""
    (port,) = free_ports(1)
    outcome = NOWHERE.process("list", f"crate://127.0.0.1:{port}/")
    assert "no answer (Connection refused). Is CrateDB running there?" in complaint(outcome, 1)


@pytest.mark.parametrize("option", ["--debug", "--verbose", None])
def test_no_log_shows_a_password(option: str | None) -> None:
    """Neither the error nor the log nor a traceback holds the password of the address."""
    (port,) = free_ports(1)
    options = [option] if option else []
    outcome = NOWHERE.process(*options, "setup", f"crate://user:{PASSWORD}@127.0.0.1:{port}/")
    assert outcome.code == 1
    assert PASSWORD not in outcome.out + outcome.err
    assert "user:REDACTED@127.0.0.1" in outcome.err.splitlines()[-1]
    assert ("Traceback" in outcome.err) == (option == "--debug")


@pytest.mark.parametrize(
    "args",
    [
        ["crate://user:s3cr3t@host:4200/", "list"],
        ["list", "more", "crate://user:s3cr3t@host:4200/"],
        ["list", "--format=crate://user:s3cr3t@host:4200/"],
        ["list", "--strategy=crate://user:s3cr3t@host:4200/"],
        ["list", "mysql://user:s3cr3t@host:4200/"],
        ["list", "crate://user:s3cr3t@host:port/"],
        ["list", "crate://user:s3cr3t@host:4200x/"],
        ["apply", "-f", "crate://user:s3cr3t@host:4200/"],
    ],
    ids=" ".join,
)
def test_an_address_in_the_wrong_place_shows_no_password(args: list[str]) -> None:
    """An address that is mistaken for something else is shown without its password."""
    assert PASSWORD not in NOWHERE.refused(2, *args)


def test_an_address_instead_of_a_hold_shows_no_password(command: Command) -> None:
    """``release`` without the hold takes the address for it."""
    assert PASSWORD not in command.refused(1, "release", "crate://user:s3cr3t@host:4200/")


def test_the_address_before_the_command_is_explained() -> None:
    """Who writes the address first is told where it belongs."""
    message = NOWHERE.refused(2, "crate://localhost:4200/", "list")
    assert "comes after the command" in message


@pytest.mark.slow("CrateDB may have to be started")
def test_what_is_shown_of_an_address(cratedb_address: str) -> None:
    """A plan on CrateDB shows the address it is of, without the password."""
    command = Command(cratedb_address)
    out = command("setup", "--dry-run").out
    assert PASSWORD not in out
    assert "REDACTED" in out
