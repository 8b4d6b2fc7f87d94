"""A DuckDB file that other processes have open, and one whose disk is full."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from cratedb_retention import Retention
from cratedb_retention.engine.duckdb.connection import ROOM
from cratedb_retention.errors import Locked
from support.command import Command, Outcome, argv, complaint

READING = [
    ["plan"],
    ["run", "--dry-run"],
    ["status"],
    ["list-policies"],
    ["list-tags"],
    ["check-policies"],
    ["export"],
    ["jobs"],
    ["list-snapshots"],
    ["list-holds"],
    ["list-tokens"],
    ["fetch", "--table-name=weather"],
    ["verify-rollups", "--table-name=weather"],
    ["setup", "--dry-run"],
]
HOLD = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "reads")
print("open", flush=True)
sys.stdin.readline()
"""


@contextmanager
def held_open(path: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    """Another process has the file open until the end of the block, or until a line is written to it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        try:
            yield other
        finally:
            let_go(other)


def let_go(other: subprocess.Popen[str]) -> None:
    """Let the other process close the file."""
    if other.poll() is None:
        assert other.stdin is not None
        other.stdin.write("\n")
        other.stdin.flush()
        other.wait(60)


@pytest.fixture
def busy(command: Command, path: Path) -> Command:
    """A policy, a cascade, and something in the log."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE weather AS SELECT now()::TIMESTAMP - INTERVAL (i) HOUR AS ts, 'a' AS s, i::DOUBLE AS temp"
            " FROM range(3000) t(i)"
        )
    command.ok("create", "--strategy=delete", "--table-name=metrics", "--retention-period=1y", "--tags=acme")
    command.ok(
        "create", "--strategy=downsample", "--table-name=weather", "--retention-period=30d", "--levels=1d:forever"
    )
    command.ok("run")
    return command


def test_commands_that_only_read_do_so_together(busy: Command, path: Path) -> None:
    """While another process reads the file, each command that only reads works, and the others say who has it."""
    with held_open(path, "reads") as other:
        for args in READING:
            busy.ok(*args)
        for name in ("run", "verify-snapshots"):
            assert f"process {other.pid} has it open" in busy.refused(1, name)
    busy.ok("run")


def test_who_has_the_file_open(busy: Command, path: Path) -> None:
    """While another process writes, nothing can be read; one line says who it is, and what can be done."""
    with held_open(path, "writes") as other:
        for args in (*READING, ["run"]):
            message = busy.refused(1, *args)
            assert f"process {other.pid} has it open" in message
            assert "--wait=60" in message
            assert "its pages or its HTTP API" in message


ALIKE = pytest.mark.long("make test has one command that waits, and one that meets a full disk in each place")


@pytest.mark.parametrize(
    "args",
    [
        ["run"],
        pytest.param(["list-policies"], marks=ALIKE),
        pytest.param(["edit", "--id=p", "--retention-period=2y"], marks=ALIKE),
    ],
    ids=" ".join,
)
def test_waiting_for_a_file(command: Command, path: Path, args: list[str]) -> None:
    """With `--wait` a command goes on as soon as the file is free."""
    command.ok("create", "--strategy=delete", "--table-name=metrics", "--retention-period=1y", "--id=p")
    with held_open(path, "writes") as other:
        assert "has it open" in command.refused(1, *args, "--wait=0.3")
        with subprocess.Popen(
            argv(*args, "--wait=60"), env=command.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as waiting:
            with pytest.raises(subprocess.TimeoutExpired):
                waiting.wait(0.5)
            let_go(other)
            out, err = waiting.communicate(timeout=60)
    assert (waiting.returncode, err) == (0, ""), out


def test_the_library_reads_and_waits(busy: Command, path: Path) -> None:
    """The same in Python: what is read only is refused to write, and who has the file open to write may read."""
    uri = busy.uri or ""
    with held_open(path, "writes"), pytest.raises(Locked):
        Retention(uri, wait=0.1)
    with held_open(path, "reads"), Retention(uri, read_only=True) as reader:
        assert len(reader.policies()) == 2
        with pytest.raises(Exception, match="read-only"):
            reader.hold("metrics")
    with Retention(uri) as writer, Retention(uri, read_only=True) as reader:
        writer.hold("metrics")
        assert len(reader.holds()) == 1


def limited(command: Command, size: int, *args: str) -> Outcome:
    """Run it in a process whose files may not grow beyond a size."""
    program = (
        f"import resource, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
        f"sys.argv = {['cratedb-retention', *args]!r}\nfrom cratedb_retention.cli.main import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=command.environment, capture_output=True, text=True, check=False
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("strategy", "more"),
    [
        ("snapshot", 0),
        ("downsample", ROOM + 20_000),
        *(
            pytest.param(*each, marks=ALIKE)
            for each in (("snapshot", ROOM + 20_000), ("downsample", 0), ("delete", 0), ("delete", ROOM + 20_000))
        ),
    ],
)
def test_a_full_disk(command: Command, path: Path, strategy: str, more: int) -> None:
    """A run without room ends with one line; nothing is lost, and the next one goes on at once."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "INSERT INTO metrics SELECT TIMESTAMP '2000-01-01' + INTERVAL (i) HOUR, 'acme', i FROM range(2000) t(i)"
        )
        rows = connection.execute("SELECT count(*) FROM metrics").fetchall()[0][0]
    own = {"snapshot": "--target-repository-name=archive", "downsample": "--levels=1d:forever", "delete": "--tags=x"}
    command.ok("create", f"--strategy={strategy}", "--table-name=metrics", "--retention-period=1d", own[strategy])
    outcome = limited(command, path.stat().st_size + more, "run")
    if outcome.code or more < ROOM:
        assert "the disk is full" in complaint(outcome, 1) or "failed" in complaint(outcome, 1)
    command.ok("plan")
    if strategy == "snapshot":
        archived = sum(s["rows"] for s in command.data("list-snapshots") if s["state"] == "archived")
        with duckdb.connect(str(path)) as connection:
            assert archived + connection.execute("SELECT count(*) FROM metrics").fetchall()[0][0] == rows
    out = command.ok("run")
    assert "locked by" not in out
    assert command.data("status")["policies"][0]["state"] != "due"
