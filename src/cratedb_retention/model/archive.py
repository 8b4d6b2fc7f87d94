"""Snapshots as they are recorded, their names, and repositories that are directories or addresses."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.address import is_address
from cratedb_retention.model.catalog import Column, TableName, Value
from cratedb_retention.model.words import Choice, show_partition, show_value

# A partition with the change token that it had when it was restored.
RestoredPartition = tuple[TableName, tuple[Value, ...], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """A partition in a snapshot."""

    repository: str
    name: str
    table: TableName
    columns: tuple[Column, ...] = ()  # The table's partition columns at that time.
    values: tuple[Value, ...] = ()  # Of the partition.
    rows: int | None = None  # Their number when it was archived.
    start: int | None = None  # The time range of the partition (ms, UTC), if known.
    end: int | None = None
    size: int | None = None  # Bytes, if known.

    @property
    def partition(self) -> str:
        """The partition as text: ``month=2024-01-01``."""
        return show_partition(self.columns, self.values)


class SnapshotStage(Choice):
    """The state of an archived partition, with its meaning."""

    CREATED = "created", "Created; its partition is still in the table"
    DROPPING = "dropping", "Verified; its partition is being dropped from the table"
    ARCHIVED = "archived", "Verified; its partition was dropped from the table"
    RESTORING = "restoring", "Its partition is being restored, or the restore was interrupted"
    RESTORED = "restored", "Its partition was restored into the table"
    SUPERSEDED = "superseded", "A later snapshot of the partition contains its rows as well"
    DELETING = "deleting", "It is being deleted, or deleting it was interrupted"


class SnapshotPlace(NamedTuple):
    """A place in the list of all snapshots, which is in this order."""

    table_schema: str
    table_name: str
    start: int | None  # None comes last.
    name: str
    repository: str


@dataclass(frozen=True, kw_only=True)
class SnapshotRecord:
    """A snapshot as the toolkit recorded it."""

    archived: Archived
    stage: SnapshotStage
    changed_at: dt.datetime
    policy_id: str | None = None
    tags: tuple[str, ...] = ()
    token: str | None = None  # The change token of the partition when it was archived, or after the restore
    identity: str = ""  # Distinguishes its table from later ones of the same name; empty: unknown
    verified_at: dt.datetime | None = None  # When it was last verified on its own (aware); None: never
    damage: str | None = None  # The damage found then; None: it was intact
    # Until when what a policy deleted can be brought back (aware); None: an archive of the strategy `snapshot`
    recoverable_until: dt.datetime | None = None
    run_id: str | None = None  # The run that archived it, or dropped its partition last

    @property
    def words(self) -> str:
        """How the audit log names it: ``month=2024-01-01 from repository.name``."""
        return f"{self.archived.partition} from {self.archived.repository}.{self.archived.name}"

    @property
    def key(self) -> tuple[str, str]:
        return self.archived.repository, self.archived.name

    @property
    def place(self) -> SnapshotPlace:
        archived = self.archived
        return SnapshotPlace(*archived.table, archived.start, archived.name, archived.repository)

    @property
    def partition(self) -> tuple[TableName, tuple[Value, ...]]:
        """The archived partition; other snapshots may be of the same one."""
        return self.archived.table, self.archived.values


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


def is_made_here(name: str, table: TableName) -> bool:
    """Whether a snapshot of any partition of a table may have this name, like :func:`is_name_of`."""
    if name.startswith(f"{table.schema}.{table.name}-"):
        return True
    return name.startswith(_slug(table, (), ())) and re.search("(^|-)[0-9a-f]{12}$", name) is not None


def _slug(table: TableName, columns: Sequence[Column], values: Sequence[Value]) -> str:
    words = [table.schema, table.name, *(show_value(c, v) for c, v in zip(columns, values, strict=True))]
    return re.sub(r"[^a-z0-9_]+", "-", "-".join(words).lower()).strip("-_")[:120].rstrip("-_")


_ADDRESS = re.compile(r"[A-Za-z][\w+.-]*:")
_STORE = re.compile(r"(?P<kind>[A-Za-z][A-Za-z\d+.-]*)://(?P<place>.*)", re.DOTALL)
_ROOT = re.compile(r"/[^/]|[A-Za-z]:/")
_BUCKET = re.compile(r"[A-Za-z\d][A-Za-z\d._-]*")
_EXAMPLES = {"file": "file:///srv/archive", "s3": "s3://bucket/archive", "gs": "gs://bucket/archive"}
_EXAMPLES["az"] = "az://container/archive"
_EXPANDED = ("~", "$", "%")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_WINDOWS = sys.platform == "win32"


def why_no_directory(name: str) -> str | None:
    """Why a repository's name is not a plain directory: an address, or text for a shell; None if it is one."""
    if _ADDRESS.match(name) and not (_WINDOWS and _DRIVE.match(name)):
        return f"repository {name!r} looks like an address; name a directory, or write s3://bucket/archive"
    if name.startswith(_EXPANDED if _WINDOWS else (*_EXPANDED, "\\")):
        return f"repository {name!r} begins with {name[0]!r}, which is not expanded; write the directory's full path"
    if not name.strip() or not name.isprintable():
        return f"repository {name!r} is not the name of a directory; name a directory"
    return None


class StoreAddress(NamedTuple):
    """Where archives are stored as files."""

    kind: str  # `file`, `s3`, `gs` or `az`.
    place: str  # The absolute path of a directory, or a bucket with a prefix.


def read_address(repository: str) -> StoreAddress:
    """Read the address of a store; InvalidInput if it is not one that is supported."""
    match, thing = _STORE.fullmatch(repository), "repository"
    kind, place = (match["kind"], match["place"].rstrip("/")) if match else ("", "")
    # It is not shown, since it may contain a password.
    if "@" in place or "?" in place or (":" in place and kind != "file"):
        raise InvalidInput(thing, "its address contains a user or password", "set credentials in the environment")
    thing = f"repository {repository!r}"
    if kind not in _EXAMPLES:
        raise InvalidInput(thing, "its address is of a kind that is not supported", _one_of(_EXAMPLES.values()))
    if not repository.isprintable() or any(c in "#%*\\" for c in place) or {"", ".", ".."} & set(place.split("/")[1:]):
        raise InvalidInput(thing, "its address is not plain text", f"write it like {_EXAMPLES[kind]}")
    if kind == "file":
        local = place.removeprefix("/") if _DRIVE.match(place.removeprefix("/")) else place
        if not _ROOT.match(local):
            raise InvalidInput(thing, "is not the full path of a directory", f"write it like {_EXAMPLES[kind]}")
        return StoreAddress(kind, local)
    if not _BUCKET.fullmatch(place.partition("/")[0]):
        raise InvalidInput(thing, "does not begin with the name of a bucket", f"write it like {_EXAMPLES[kind]}")
    return StoreAddress(kind, place)


def _one_of(examples: Iterable[str]) -> str:
    *first, last = examples
    return f"use {', '.join(first)} or {last}"


def why_no_repository(name: str, directories: bool) -> str | None:
    """Why a repository's name cannot be used; None if it can. Repositories of CrateDB may have any other name."""
    if not is_address(name):
        return why_no_directory(name) if directories else None
    try:
        read_address(name)
    except InvalidInput as error:
        return str(error)
    return None
