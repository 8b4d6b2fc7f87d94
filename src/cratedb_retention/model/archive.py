"""Names of snapshots, and names of repositories that are directories."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Sequence

from cratedb_retention.model.catalog import Column, TableName, Value
from cratedb_retention.model.words import show_value

# A partition with the change token that it had when it was restored.
RestoredPartition = tuple[TableName, tuple[Value, ...], str]


def snapshot_name(
    table: TableName, columns: Sequence[Column], values: Sequence[Value], token: str, copy: int = 0
) -> str:
    """
    A readable name of a snapshot, which is the same if and only if table, partition and content are the same. A run
    after an interrupted one therefore finds its snapshot, and a partition that was written to gets another name.
    ``copy`` distinguishes archives whose content has the same change token, but is not the same.

    CrateDB requires lower case and forbids blanks, commas and ``\\ / * ? " < > |``.
    """
    identity = json.dumps([table, list(values), token, *([copy] if copy else [])], ensure_ascii=True, default=str)
    return f"{_slug(table, columns, values)}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}".lstrip("-")


def is_name_of(name: str, table: TableName, columns: Sequence[Column], values: Sequence[Value]) -> bool:
    """Whether a snapshot of a partition may have this name, given by this toolkit or by cratedb-toolkit."""
    if len(values) == 1 and name == f"{table.schema}.{table.name}-{values[0]}":
        return True
    slug = f"{_slug(table, columns, values)}-".lstrip("-")
    return name.startswith(slug) and re.fullmatch("[0-9a-f]{12}", name.removeprefix(slug)) is not None


def _slug(table: TableName, columns: Sequence[Column], values: Sequence[Value]) -> str:
    words = [table.schema, table.name, *(show_value(c, v) for c, v in zip(columns, values, strict=True))]
    return re.sub(r"[^a-z0-9_]+", "-", "-".join(words).lower()).strip("-_")[:120].rstrip("-_")


_ADDRESS = re.compile(r"[A-Za-z][\w+.-]*:")
_EXPANDED = ("~", "$", "%")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_WINDOWS = sys.platform == "win32"


def why_no_directory(name: str) -> str | None:
    """Why a repository's name is not a plain directory: an address, or text for a shell; None if it is one."""
    if _ADDRESS.match(name) and not (_WINDOWS and _DRIVE.match(name)):
        return f"repository {name!r} is an address, and only directories are supported; name a directory"
    if name.startswith(_EXPANDED if _WINDOWS else (*_EXPANDED, "\\")):
        return f"repository {name!r} begins with {name[0]!r}, which is not expanded; write the directory's full path"
    if not name.strip() or not name.isprintable():
        return f"repository {name!r} is not the name of a directory; name a directory"
    return None
