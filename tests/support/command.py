"""
Runs the command ``cratedb-retention`` for tests: in this process, in one of its own, and on a terminal.

What runs in a process of its own is forked (``forkserver.py``).
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cratedb_retention.cli.main import main
from support.forkserver import fork_server

# All rows of all tables.
Rows = dict[str, list[tuple[Any, ...]]]
Contents = Callable[[], Rows]

TIMEOUT = 120
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code, what it wrote, and what it complained about."""

    code: int
    out: str
    err: str


class Command:
    """
    The command on one database, which it finds by its environment.

    :param uri: The database; None: none is set.
    :param schema: The schema of the toolkit's tables; None: none is set.
    """

    def __init__(self, uri: str | None, schema: str | None = None) -> None:
        self.uri, self.schema = uri, schema

    @property
    def environment(self) -> dict[str, str]:
        """The environment that it runs in; what the tests themselves were told is not in it."""
        own = {"CRATEDB_URI": self.uri, "CRATEDB_EXT_SCHEMA": self.schema}
        present = {key: value for key, value in os.environ.items() if key not in own}
        return {**present, **{key: value for key, value in own.items() if value is not None}}

    def __call__(self, *args: str) -> Outcome:
        """Run it in this process."""
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        argv = ["cratedb-retention", *args]
        code: object = None
        mine = patch.dict(os.environ, self.environment, clear=True), patch.object(sys, "argv", argv)
        with mine[0], mine[1], redirect_stdout(out), redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                code = end.code
        assert isinstance(code, int), f"ended with {code!r}"
        return Outcome(code, _text(out), _text(err))

    def ok(self, *args: str) -> str:
        """Run it, be sure that it did what it should without a complaint, and return what it wrote."""
        outcome = self(*args)
        assert (outcome.code, outcome.err) == (0, ""), (args, outcome)
        return outcome.out

    def data(self, *args: str) -> Any:
        """Run it with ``--format=json``, and return what it wrote as values."""
        return json.loads(self.ok(*args, "--format=json"))

    def refused(self, code: int, *args: str) -> str:
        """Run it, be sure that it ends with this exit code and one line that says why, and return that line."""
        outcome = self(*args)
        return complaint(outcome, code)

    def process(
        self, *args: str, environment: Mapping[str, str] | None = None, cwd: Path | None = None, stdin: str = ""
    ) -> Outcome:
        """Run it in a process of its own."""
        done = fork_server().run(
            "cratedb-retention", *args, env={**self.environment, **(environment or {})}, cwd=cwd, stdin=stdin
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def terminal(self, columns: int, *args: str) -> str:
        """Run it on a terminal of that width, and return what stands there, without colours."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        environment = {key: value for key, value in self.environment.items() if key not in ("COLUMNS", "LINES")}
        with subprocess.Popen(argv(*args), env={**environment, "TERM": "xterm"}, stdout=slave, stderr=slave) as process:
            os.close(slave)
            shown = b""
            with suppress(OSError):  # Linux ends a terminal without writers with EIO.
                while chunk := os.read(master, 65536):
                    shown += chunk
            os.close(master)
            assert process.wait(TIMEOUT) == 0, shown.decode()
        return _ANSI.sub("", shown.decode()).replace("\r\n", "\n")


# Gives the command on a copy of a database that a function has filled, which is called once for all tests.
FilledBy = Callable[[Callable[[Command], None]], Command]


def argv(*args: str) -> list[str]:
    """What starts the command in a process of its own, which gets signals and can be waited for."""
    return [str(fork_server().programs / "cratedb-retention"), *args]


def complaint(outcome: Outcome, code: int) -> str:
    """The one line that a refused command wrote to stderr."""
    assert outcome.code == code, outcome
    assert outcome.err.startswith("Error: "), outcome
    assert outcome.err.count("\n") == 1, outcome
    assert outcome.err.endswith("\n"), outcome
    assert "Traceback" not in outcome.out + outcome.err, outcome
    assert "please report it" not in outcome.err, outcome
    return outcome.err.removeprefix("Error: ").rstrip("\n")


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()
