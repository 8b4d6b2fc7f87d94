"""
Runs commands in processes that are forked from one that has imported the toolkit and opened nothing. A command costs
what it does; its imports, which take most of a second, are paid for once.

Such a command has its own directory, environment, standard streams and process id, like any other. What only a new
interpreter can show is tested by tests/cli/test_installed.py.

- In a test: :func:`fork_server`, then :meth:`ForkServer.run`.
- In a script, or for signals and terminals: the programs ``cratedb-retention`` and ``python`` in
  :attr:`ForkServer.programs`, which stand for the real ones (``forkclient.py``).
- For a copy of the toolkit: ``fork_server(toolkit=False)`` has imported the libraries alone.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import marshal
import os
import pkgutil
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import types
import warnings
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn

from support import forkclient

TESTS = Path(__file__).parent.parent
# They are not ours: engines import them when they connect, if they are there.
DRIVERS = ("sqlalchemy_cratedb", "duckdb", "numpy", "pandas", "pyarrow")
# Libraries that the toolkit or its tests import, and that take long.
LIBRARIES = (
    *("apprise", "apscheduler.schedulers.background", "asyncio", "click.shell_completion", "cronsim"),
    *("fastapi.openapi", "fastapi.testclient", "hypothesis.strategies"),
    *("playwright.sync_api", "plotille", "prometheus_client", "pyarrow.parquet", "pydantic.dataclasses", "pytest"),
    *("pytest_timeout", "rich.live", "rich.progress", "tenacity", "unittest.mock", "uvicorn", "xdist.plugin", "yaml"),
)
CLIENT = """#!{python} -IS
import sys
sys.path.insert(0, {support!r})
import forkclient
forkclient.main({socket!r})
"""


@dataclass(frozen=True)
class ForkServer:
    """
    The server as its clients see it.

    :param socket: Where it listens.
    :param programs: A directory with ``cratedb-retention`` and ``python``, for the PATH of scripts.
    """

    socket: str
    programs: Path

    def run(
        self, *argv: str, env: Mapping[str, str], cwd: Path | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run ``cratedb-retention ...`` or ``python ...``, and return its exit status and what it wrote."""
        with ExitStack() as stack:
            files = [stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", newline="")) for _ in range(3)]
            files[0].write(stdin)
            files[0].seek(0)
            streams = [file.fileno() for file in files]
            with closing(forkclient.start(self.socket, argv, str(cwd or Path.cwd()), env, streams)) as connection:
                forkclient.receive(connection)
                status = forkclient.receive(connection)
            for file in files:
                file.seek(0)
            return subprocess.CompletedProcess(argv, status, files[1].read(), files[2].read())


@cache
def fork_server(toolkit: bool = True) -> ForkServer:
    """
    The server of this test process, started when it is first asked for, and ended with it.

    :param toolkit: Whether it imports the toolkit, or only the libraries.
    """
    folder = Path(tempfile.mkdtemp(prefix="fork-"))
    server = ForkServer(str(folder / "socket"), folder)
    for name in ("cratedb-retention", "python"):
        text = CLIENT.format(python=sys.executable, support=str(TESTS / "support"), socket=server.socket)
        (server.programs / name).write_text(text, encoding="utf-8")
        (server.programs / name).chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "support.forkserver", server.socket, *(["toolkit"] if toolkit else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]), "OPENBLAS_NUM_THREADS": "1"},
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"

    atexit.register(process.communicate)
    return server


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client wants to be run."""

    argv: list[str]
    cwd: str
    environment: dict[str, str]
    streams: list[int]

    def run(self) -> None:
        """Become the process of the command, and run it."""
        for number, stream in enumerate(self.streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(self.cwd)
        os.environ.clear()
        os.environ.update(self.environment)
        time.tzset()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # It is ignored if the tests run in the background.
        encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
        sys.stdin, sys.stdout = open(0, encoding=encoding), open(1, "w", encoding=encoding)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding=encoding, errors="backslashreplace", buffering=1)  # noqa: SIM115
        if "PYTHONWARNINGS" in os.environ:
            warnings.simplefilter(os.environ["PYTHONWARNINGS"])  # type: ignore[arg-type]
        try:
            self._call()
            ends_with(0)
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
            ends_with(end.code if isinstance(end.code, int) else int(end.code is not None))
        except BaseException:
            traceback.print_exc()
            ends_with(1)

    def _call(self) -> None:
        sys.argv = self.argv
        match self.argv:
            case ["cratedb-retention", *_]:
                from cratedb_retention.cli.main import main

                main()
            case ["python", "-m", module, *_]:
                sys.argv = self.argv[2:]
                runpy.run_module(module, run_name="__main__", alter_sys=True)
            case ["python", "-"]:
                run_text(sys.stdin.read())
            case ["python", "-c", text, *_]:
                run_text(text)
            case ["python", path, *_] if not path.startswith("-"):
                sys.argv = self.argv[1:]
                sys.path.insert(0, str(Path(path).parent))
                runpy.run_path(path, run_name="__main__")
            case _:
                raise SystemExit(f"the fork server can't run {self.argv}")


def run_text(text: str) -> None:
    """Run a program that is in no file."""
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(text, "<text>", "exec"), module.__dict__)


_status = 0


def ends_with(status: int) -> None:
    """Note the exit status for the end of this process."""
    global _status  # noqa: PLW0603
    _status = status


def leave() -> NoReturn:
    """The very end of a process, after all threads and all other handlers: free no memory, which takes 0.1 s."""
    status = _status
    try:
        if not sys.stdout.closed:
            sys.stdout.flush()
    except OSError as error:  # As Python does it.
        print(f"Exception ignored in: {sys.stdout}\n{error}", file=sys.stderr)
        status = 120
    os._exit(status)


def serve(listener: socket.socket) -> Request | None:
    """
    Fork for each request, until the tests end. Clients are sent the process id of their command, then its exit status.

    :return: In the process of each command: what it has to do.
    """
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    running: dict[int, socket.socket] = {}
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                for pid in running:
                    os.kill(pid, signal.SIGKILL)
                return None
            if key.fileobj is listener:
                connection, _ = listener.accept()
                request = receive(connection)
                pid = os.fork()
                if pid == 0:
                    for each in (connection, listener, *running.values()):
                        each.close()
                    selector.close()
                    return request
                for stream in request.streams:
                    os.close(stream)
                running[pid] = connection
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
                selector.register(connection, selectors.EVENT_READ, pid)
                send(connection, pid)
            elif key.fileobj is running.get(key.data):  # The client is gone.
                selector.unregister(key.fileobj)
                os.kill(key.data, signal.SIGKILL)
            elif key.data in running:  # The command has ended.
                selector.unregister(key.fileobj)
                os.close(key.fd)
                with running.pop(key.data) as connection:
                    send(connection, os.waitstatus_to_exitcode(os.waitpid(key.data, 0)[1]))
                    with suppress(KeyError):
                        selector.unregister(connection)


def receive(connection: socket.socket) -> Request:
    """What a client asks for."""
    _, streams, *_ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rb") as file:
        argv, cwd, environment = marshal.load(file)
    return Request(argv=argv, cwd=cwd, environment=environment, streams=streams)


def send(connection: socket.socket, number: int) -> None:
    """Send a number to a client, if it is still there."""
    with suppress(OSError):
        connection.sendall(number.to_bytes(4, sys.byteorder, signed=True))


def import_toolkit() -> None:
    """All modules of the toolkit."""
    import cratedb_retention

    for module in pkgutil.walk_packages(cratedb_retention.__path__, "cratedb_retention."):
        with suppress(ImportError):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def import_libraries(names: Iterable[str]) -> None:
    """Those of these libraries that are there, and what connecting to a database imports."""
    for name in names:
        with suppress(ImportError):
            importlib.import_module(name)
    import sqlalchemy

    sqlalchemy.create_engine("crate://")  # It looks for the driver, and connects to nothing.


def _main(path: str, *toolkit: str) -> None:
    atexit.register(leave)  # Before all others, so that it comes last.
    import_libraries(DRIVERS if toolkit else (*DRIVERS, *LIBRARIES))
    if toolkit:
        import_toolkit()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print("ready", flush=True)
        request = serve(listener)
    if request is None:
        shutil.rmtree(Path(path).parent)
    else:
        request.run()


if __name__ == "__main__":
    _main(*sys.argv[1:])
