"""A command that is forked behaves like any other process: streams, directory, environment, exit status, signals."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from support.forkserver import fork_server


@pytest.mark.parametrize(
    ("program", "status", "err"),
    [
        ("pass", 0, ""),
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit('so what')", 1, "so what\n"),
        ("import atexit; atexit.register(print, 'last', flush=True)", 0, ""),
        ("import os; os.kill(os.getpid(), 9)", -9, ""),
    ],
)
def test_exit_status(program: str, status: int, err: str) -> None:
    """Its exit status reaches the test and the shell."""
    server = fork_server()
    done = server.run("python", "-c", program, env=os.environ)
    assert (done.returncode, done.stderr) == (status, err)
    assert done.stdout == ("last\n" if "last" in program else "")
    called = subprocess.run([server.programs / "python", "-c", program], capture_output=True, text=True, check=False)
    assert (called.returncode, called.stdout, called.stderr) == (status, done.stdout, err)


def test_a_mistake_is_shown() -> None:
    """An exception that nothing catches ends with 1 and a traceback."""
    done = fork_server().run("python", "-", env={}, stdin="1 / 0")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "ZeroDivisionError: division by zero")


def test_surroundings(tmp_path: Path) -> None:
    """It has its own standard input, arguments, directory and environment, of which nothing is left for the next."""
    program = (
        "import os, sys; print(sys.stdin.read(), sys.argv[1:], os.getcwd(), dict(os.environ)); os.environ['B'] = ''"
    )
    for text in ("one", "two"):
        (tmp_path / text).mkdir()
        (tmp_path / "program.py").write_text(program, encoding="utf-8")
        command = ("python", str(tmp_path / "program.py"), text)
        done = fork_server().run(*command, env={"A": text}, cwd=tmp_path / text, stdin=text)
        assert done.stdout == f"{text} {[text]} {tmp_path / text} { {'A': text} }\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals(number: signal.Signals, tmp_path: Path) -> None:
    """What is sent to the program on the PATH is sent to the command; if that program is killed, the command is."""
    program = (
        "import os, signal\n"
        "signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        "try:\n"
        "    writer = os.open('alive', os.O_WRONLY)\n"
        "    signal.pause()\n"
        "except KeyboardInterrupt:\n    raise SystemExit(7)\n"
    )
    os.mkfifo(tmp_path / "alive")
    command = [str(fork_server().programs / "python"), "-c", program]
    with subprocess.Popen(command, cwd=tmp_path) as process, (tmp_path / "alive").open("rb") as alive:
        process.send_signal(number)
        assert alive.read() == b""  # the end of the command
        assert process.wait() == (-number if number == signal.SIGKILL else 7)
