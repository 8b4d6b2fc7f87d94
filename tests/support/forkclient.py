"""
Asks the fork server to run a command: what stands on the PATH of scripts as ``cratedb-retention`` and ``python``.

Run as a program it behaves as the command does: it passes on its standard streams, its directory, its environment and
the signals that it gets, and ends as the command ends. It starts in a few milliseconds, so it imports little.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import marshal
import os
import sys
from collections.abc import Mapping, Sequence

FORWARDED = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)


def start(
    server: str, argv: Sequence[str], cwd: str, environment: Mapping[str, str], streams: Sequence[int]
) -> _socket.socket:
    """Start a command with these standard streams; the connection tells its process id, then how it ended."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.connect(server)
    descriptors = b"".join(stream.to_bytes(4, sys.byteorder) for stream in streams)
    connection.sendmsg([b"\0"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)])
    connection.sendall(marshal.dumps((list(argv), cwd, dict(environment))))
    return connection


def receive(connection: _socket.socket) -> int:
    """The next number that the server sends."""
    number = connection.recv(4)
    if len(number) < 4:
        raise SystemExit("the fork server ended")
    return int.from_bytes(number, sys.byteorder, signed=True)


def main(server: str) -> None:
    """Run the command of this process's name, and end as it ends."""
    name = os.path.basename(sys.argv[0])  # noqa: PTH119 - pathlib takes longer to import
    _signal.pthread_sigmask(_signal.SIG_BLOCK, FORWARDED)  # They wait until it is known where they go.
    connection = start(server, [name, *sys.argv[1:]], os.getcwd(), os.environ, (0, 1, 2))  # noqa: PTH109
    pid = receive(connection)
    for number in FORWARDED:
        _signal.signal(number, lambda number, frame: os.kill(pid, number))
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, FORWARDED)
    # What reads from the command must see its end, and what writes to it too.
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    status = receive(connection)
    if status < 0:
        if -status != _signal.SIGKILL:
            _signal.signal(-status, _signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)
