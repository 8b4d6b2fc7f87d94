"""
Answers a query in a process of its own, so that one that takes too much memory or time ends without harm to a service.

The process reads the query from its standard input, and writes the answer to its standard output. An error is the last
line of its standard error output.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from cratedb_retention.engine.archive import ArchivedRows
from cratedb_retention.engine.duckdb.query import THREADS, ArchiveDatabase
from cratedb_retention.errors import DatabaseError, InvalidInput, RetentionError
from cratedb_retention.model.query.answer import QueryRequest

# Bytes. The limit of DuckDB does not include all values that a query makes, such as long texts and lists.
MEMORY = 1536 * 1024 * 1024
_LIMITS = {"max_temp_directory_size": "4GB"}
_GRACE = 2.0
_REMEDY = "select less: add a condition on the partition column, or a LIMIT"
_MAIN = f"from {__name__} import main; main()"


def answer(request: QueryRequest, default_schema: str, rows: Sequence[ArchivedRows], stream: BinaryIO) -> None:
    """Write the answer to a query over some rows to a file."""
    given = pickle.dumps((request, default_schema, rows))
    with tempfile.TemporaryDirectory(prefix="cratedb-retention-") as scratch:
        try:
            done = subprocess.run(  # noqa: S603 - this program
                [sys.executable, "-P", "-c", _MAIN], input=given, stdout=stream, stderr=subprocess.PIPE,
                env=os.environ | {"TMPDIR": scratch, "OMP_NUM_THREADS": str(THREADS)},
                timeout=request.seconds, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise InvalidInput("query", f"takes longer than {request.seconds:g} s", _REMEDY) from None
    if done.returncode:
        raise _read_error(done)


def _read_error(done: subprocess.CompletedProcess[bytes]) -> RetentionError:
    lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
    try:
        invalid, *said = json.loads(lines[-1])
        return (InvalidInput if invalid else DatabaseError)(*map(str, said))
    except (ValueError, TypeError):
        # A process that gets no memory may end at any place.
        return _too_large() if done.returncode < 0 else DatabaseError("query", f"failed: {lines[-1]}")


def _too_large() -> InvalidInput:
    return InvalidInput("query", "needs too much memory", _REMEDY)


class Bounded:
    """A stream that accepts a number of bytes."""

    closed = False

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream, self._most, self._size = stream, most, 0

    def write(self, data: Any) -> int:
        with memoryview(data) as view:
            self._size += view.nbytes
        if self._size > self._most:
            raise InvalidInput("query", f"the answer has more than {self._most:,} bytes", _REMEDY)
        return self._stream.write(data)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        """By the process that opened it."""


def main() -> None:
    """Answer one query."""
    try:
        _run()
    except RetentionError as error:
        _fail(error)
    except MemoryError:
        _fail(_too_large())


def _run() -> None:
    request, default_schema, rows = pickle.load(sys.stdin.buffer)  # noqa: S301 - from `answer`
    _limit(request.seconds)
    stream: Any = Bounded(sys.stdout.buffer, request.size)
    with ArchiveDatabase(default_schema, rows, _LIMITS).ask(request.text) as found:
        found.write(request.form, stream)
    stream.flush()


def _limit(seconds: float) -> None:
    """End by itself: if the service that asked has ended, and before others if the machine is short of memory."""
    if sys.platform == "win32":
        return
    import resource

    signal.setitimer(signal.ITIMER_REAL, seconds + _GRACE)
    with suppress(OSError, ValueError):  # A lower limit may be set already.
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _fail(error: RetentionError) -> None:
    said = json.dumps([isinstance(error, InvalidInput), error.thing, error.reason, error.remedy])
    sys.stderr.write(f"{said}\n")
    sys.stderr.flush()
    os._exit(1)  # Without what was not written yet.
