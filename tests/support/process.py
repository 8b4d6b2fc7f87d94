"""
One CrateDB server as a child process: how to start, kill and stop it, and nothing about SQL.

CrateDB refuses to run as root, so a test run as root starts it as the user ``crate``, or else ``nobody``.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
STOP_SECONDS = 20
LOG_LINES = 30


class ServerFailed(Exception):
    """The server ended, or did not do in time what it was waited for; the message ends with its log."""


@dataclass
class CrateProcess:
    """
    A server with a directory of its own.

    :param home: Where CrateDB is installed.
    :param directory: For data and logs; prepared by :func:`prepare_directory`.
    :param settings: CrateDB's settings, e.g. ``{"http.port": "4200"}``.
    :param heap: The size of the Java heap.
    :param java_options: For the Java VM, unless the environment has ``CRATE_JAVA_OPTS``.
    """

    home: Path
    directory: Path
    settings: Mapping[str, str]
    heap: str = "1g"
    java_options: str = ""
    _popen: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._popen.pid if self._popen and self._popen.poll() is None else None

    def start(self) -> None:
        """Start the server; it needs some seconds from here until it answers."""
        user = server_user()
        with self._log.open("ab") as log:
            self._popen = subprocess.Popen(
                [*_dies_with_us(), str(self.home / "bin" / "crate"), *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=self._environment(),
                start_new_session=True,
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
            )

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._signal(signal.SIGKILL)
        if self._popen:
            self._popen.wait()

    def stop(self) -> None:
        """End it in order; if that takes too long, at once."""
        self._signal(signal.SIGTERM)
        try:
            if self._popen:
                self._popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def wait_until(self, ready: Callable[[], bool], what: str, timeout: float = 120) -> None:
        """
        Ask again and again until the answer is yes.

        :raises ServerFailed: if the server ends before that, or the time is over.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            if self.pid is None:
                raise ServerFailed(f"CrateDB ended while waiting until {what}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{timeout:.0f} seconds were not enough until {what}:\n{self.log()}")
            time.sleep(0.1)

    def log(self) -> str:
        """The end of what the server printed."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-LOG_LINES:])

    @property
    def _log(self) -> Path:
        return self.directory / "output.log"

    def _options(self) -> list[str]:
        paths = {"path.data": self.directory / "data", "path.logs": self.directory / "logs"}
        return [f"-C{name}={value}" for name, value in {**paths, **self.settings}.items()]

    def _environment(self) -> dict[str, str]:
        own = {"HOME": str(self.directory), "CRATE_HEAP_SIZE": self.heap, "CRATE_DISABLE_GC_LOGGING": "1"}
        return {"CRATE_JAVA_OPTS": self.java_options, **os.environ, **own}

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)


def server_user() -> pwd.struct_passwd | None:
    """Whom to start servers as; None means: as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("crate", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerFailed("CrateDB can't run as root, and there is neither a user `crate` nor a user `nobody`")


def prepare_directory(directory: Path) -> Path:
    """Create a directory, if need be, that belongs to whom servers run as."""
    directory.mkdir(parents=True, exist_ok=True)
    user = server_user()
    if user:
        os.chown(directory, user.pw_uid, user.pw_gid)
    return directory


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now; all different, since all are held until the last one is found."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _dies_with_us() -> list[str]:
    """Where the system can: a server gets SIGTERM when the test run is killed and can't stop it any more."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []
