"""
What measurements run in: a directory, and a CrateDB that is started when the first of them asks for it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType

from support.cratedb import CrateDB, one_node

SHARDS = "cluster.max_shards_per_node"
MEMORY = Path("/dev/shm")
ENOUGH = 4_000_000_000


class Missing(Exception):
    """What is not here, so that something can't be measured."""


class Surroundings:
    """
    Where measurements run.

    :param repeat: How often each is repeated; None: as often as it proposes.
    :param rows: How many rows those have that can have any number; None: as many as they propose.
    """

    def __init__(self, repeat: int | None, rows: int | None = None) -> None:
        self.rows, self._repeat, self._stack = rows, repeat, ExitStack()

    def __enter__(self) -> Surroundings:
        _prefer_memory()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def repeat(self, proposed: int) -> int:
        """How often to measure."""
        return self._repeat or proposed

    def directory(self) -> Path:
        """A new directory, which vanishes at the end."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="retention-bench-")))

    @property
    def server(self) -> CrateDB:
        """
        A CrateDB that allows some thousand shards.

        :raises Missing: if there is none.
        """
        if self._server is None:
            raise Missing("THERE IS NO CRATEDB: set CRATEDB_HOME (default: /opt/crate) or CRATEDB_URI")
        return self._server

    @cached_property
    def _server(self) -> CrateDB | None:
        server = self._stack.enter_context(one_node(short_lived=False))
        if server:
            server.timeout = 600
            server.sql(f'SET GLOBAL TRANSIENT "{SHARDS}" = 10000')
            self._stack.callback(server.sql, f'RESET GLOBAL "{SHARDS}"')
        return server


def _prefer_memory() -> None:
    """
    Keep data in memory where the system can, since a shared disk says more about its other users than about SQL.

    ``TMPDIR`` decides, if it is set.
    """
    roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ENOUGH
    if "TMPDIR" not in os.environ and roomy:
        tempfile.tempdir = str(MEMORY)
