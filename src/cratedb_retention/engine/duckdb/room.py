"""
Room on the disk of a DuckDB file: looked for before each transaction that writes.

Where a commit finds none, DuckDB takes back what it did, and a row that was changed or deleted can't be put back into a
primary key: that ends the whole process, with a message of C++.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path

from cratedb_retention.engine.duckdb.errors import disk_is_full

# More than what a transaction on the toolkit's own tables writes.
ROOM = 1024 * 1024


def require_room(path: Path, thing: str) -> None:
    """
    Make sure that a transaction can be written.

    :raises DiskFull: if it may be that it can't.
    """
    if _room(path) < ROOM:
        raise disk_is_full(thing)


def _room(path: Path) -> int:
    """How many bytes the disk, and the limit of this process, leave."""
    with contextlib.suppress(OSError):  # DuckDB says what is wrong.
        free = shutil.disk_usage(path.absolute().parent).free
        limit = _longest_file()
        if limit is None:
            return free
        files = (path, path.with_name(f"{path.name}.wal"))
        return min(free, limit - max(file.stat().st_size for file in files if file.exists()))
    return ROOM


def _longest_file() -> int | None:
    """How many bytes this process may write into a file; None: as many as there are."""
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if limit == resource.RLIM_INFINITY else limit
