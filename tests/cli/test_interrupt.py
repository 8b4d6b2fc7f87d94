"""Ctrl-C and SIGTERM: a run that is interrupted says so in one line, and the next run goes on from there."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import duckdb
import pytest

from support.command import Command, Outcome, argv, complaint
from support.forkserver import fork_server


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.some(1)
def test_interrupted_between_steps(command: Command, path: Path, number: signal.Signals) -> None:
    """After an interrupt some partitions are archived, and the next run does exactly the rest."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "INSERT INTO metrics SELECT TIMESTAMP '2000-01-01' + INTERVAL (i) MONTH, 'acme', i FROM range(14) t(i)"
        )
    command.ok(
        "create", "--strategy=snapshot", "--table-name=metrics", "--retention-period=100d",
        "--target-repository-name=archive",
    )  # fmt: skip
    with subprocess.Popen(
        argv("run"), env=command.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while "done: main.metrics: drop archived" not in (line := process.stdout.readline()):
            assert line, "the run ended before it could be interrupted"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1, out
    assert complaint(Outcome(1, out, err), 1) == "interrupted: the next run continues from here"
    archived = len([s for s in command.data("list-snapshots") if s["state"] == "archived"])
    assert 0 < archived < 20
    failed = command.data("jobs", "--outcome=failed")
    assert failed, command.data("jobs", "--limit=10")
    assert failed[0]["error"] == "ended early: KeyboardInterrupt()"
    command.ok("run")
    assert len(command.data("list-snapshots")) == 20
    (line,) = command.data("status")["policies"]
    assert (line["rows"], line["state"]) == (0, "up-to-date")


def test_interrupted_within_a_statement(command: Command, path: Path) -> None:
    """A statement that takes long is given up at once; nothing of it is done, and it is no mistake in the program."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE VIEW slow AS SELECT count(*) AS n"
            " FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3"
        )
    program = (
        "import os, signal, sys, threading, sqlalchemy as sa\n"
        "from cratedb_retention.api.policies import Policies\n"
        "from cratedb_retention.cli.main import main\n"
        "def slow(self):\n"
        "    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "    return self._engine.database.query(sa.select(sa.column('n')).select_from(sa.table('slow')))\n"
        "Policies.tags = slow\n"
        "sys.argv = ['cratedb-retention', 'list-tags']\n"
        "main()\n"
    )
    done = fork_server().run("python", "-c", program, env=command.environment)
    assert complaint(Outcome(done.returncode, done.stdout, done.stderr), 1).startswith("interrupted")
