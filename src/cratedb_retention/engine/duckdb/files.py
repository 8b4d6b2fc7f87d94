"""
An archived partition on disk: a directory with the snapshot's name that has ``data.parquet`` and ``manifest.json``. It
gets its name last, so a directory with that name is complete.

Values are restored exactly: they are written unchanged, or as text if Parquet has no such type. If neither is exact, a
table cannot be archived.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.duckdb.sql import make_column
from cratedb_retention.engine.expressions import as_type, ref
from cratedb_retention.errors import Conflict, DatabaseError, NotFound, RetentionError
from cratedb_retention.model.catalog import Column

DATA, MANIFEST = "data.parquet", "manifest.json"
_PARTIAL, _DELETED = _LEFT = (".partial", ".deleted")  # Endings of directories that are not complete, or going.
_MAGIC = b"PAR1"
# Parquet's own types, and those that it stores as text or numbers, which DuckDB casts back exactly.
_NATIVE = frozenset(
    {"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "FLOAT"}
    | {"DOUBLE", "DECIMAL", "BIGNUM", "VARINT", "BIT", "VARCHAR", "BLOB", "UUID", "JSON", "ENUM", "DATE", "TIME"}
    | {"TIME_NS", "TIMESTAMP", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "STRUCT", "MAP", "UNION"}
)
# Parquet would round them, or reject some of their values.
_AS_TEXT = frozenset({"HUGEINT", "UHUGEINT", "INTERVAL", "TIME WITH TIME ZONE", "TIMESTAMP_S"})
_QUOTED = re.compile(r""""(?:[^"]|"")*"|'(?:[^']|'')*'""")
_SCALAR_UNION = re.compile(r"UNION\([^\[\]]*\)(\[\d*\])*")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The description of an archived partition."""

    table: list[str]  # Schema and name.
    columns: list[list[str]]  # Names and types of the stored columns.
    partition: list[list[Any]]  # Partition columns and values; times in milliseconds since the epoch, UTC.
    rows: int
    token: str  # The change token of what was archived.
    sha256: str  # Of the Parquet file.
    version: int = 2
    size: int | None = None  # In bytes; archives of earlier versions lack this and all that follows.
    generated: list[tuple[int, str, str, str]] = field(default_factory=list)  # Position, name, type and expression.
    comment: str | None = None  # Of the table; it may name the partition columns.
    span: tuple[int | None, int | None] = (None, None)  # The time range of the partition (ms, UTC), if known.

    @property
    def stored(self) -> list[Column]:
        return [make_column(name, data_type) for name, data_type in self.columns]

    @property
    def all_columns(self) -> list[Column]:
        """The columns of the table, in their order; a partition column of an unknown type is at the end."""
        found = self.stored
        for position, name, data_type, expression in sorted(self.generated):
            found.insert(position, make_column(name, data_type, expression))
        return found


def checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def scratch(snapshot: Path) -> Path:
    """Create an empty directory to prepare a snapshot in, without leftovers of an interrupted run."""
    path = snapshot.with_name(f".{snapshot.name}{_PARTIAL}")
    shutil.rmtree(path, ignore_errors=True)
    try:
        path.mkdir(parents=True)
    except OSError as error:
        thing = f"repository {snapshot.parent}"
        raise DatabaseError(thing, str(error), "make it a writable directory") from None
    return path


def publish(directory: Path, snapshot: Path, manifest: Manifest) -> None:
    """Write the manifest, make all of it durable, and give the directory its name."""
    text = json.dumps(asdict(manifest), indent=2, default=str) + "\n"
    try:
        (directory / MANIFEST).write_text(text, encoding="utf-8")
        for path in (directory / DATA, directory / MANIFEST, directory):
            _sync(path)
        shutil.rmtree(snapshot, ignore_errors=True)
        directory.rename(snapshot)
        _sync(snapshot.parent)
    except OSError as error:
        raise DatabaseError(f"snapshot {snapshot.name}", str(error), f"check repository {snapshot.parent}") from None


def remove(snapshot: Path) -> bool:
    """
    Delete a snapshot, or what an interrupted deletion left of it. Its directory first loses its name, so that no half
    of a snapshot ever has it. Returns whether it existed; Conflict: it contains something else, and stays.
    """
    repository, thing = snapshot.parent, f"snapshot {snapshot.name}"
    _require_directory(repository)
    going = snapshot.with_name(f".{snapshot.name}{_DELETED}")
    try:
        there = snapshot.is_dir()
        if there:
            if others := sorted({path.name for path in snapshot.iterdir()} - {DATA, MANIFEST}):
                raise Conflict(thing, f"its directory contains {others[0]!r}, which is not the toolkit's", "move it")
            shutil.rmtree(going, ignore_errors=True)
            snapshot.rename(going)
            _sync(repository)
        if going.is_dir():
            shutil.rmtree(going)
            _sync(repository)
    except OSError as error:
        raise DatabaseError(thing, str(error), f"check repository {repository}") from None
    return there


def _require_directory(repository: Path) -> None:
    if not repository.is_dir():
        raise NotFound(f"repository {repository}", "is not a directory", "choose another one")


def find_leftovers(repository: Path) -> Iterator[str]:
    """Directories that interrupted runs and commands left in a repository."""
    return (path.name for path in repository.iterdir() if path.name[0] == "." and path.name.endswith(_LEFT))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_manifest(snapshot: Path) -> Manifest:
    """Read a snapshot's manifest; `NotFound` if it has none."""
    thing = f"snapshot {snapshot.name}"
    try:
        text = (snapshot / MANIFEST).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(thing, f"is not in repository {snapshot.parent}") from None
    except (OSError, ValueError) as error:
        raise DatabaseError(thing, str(error)) from None
    try:
        return Manifest(**{"version": 1, **json.loads(text)})
    except (ValueError, TypeError) as error:
        raise DatabaseError(thing, f"its manifest is damaged ({error})") from None


def glance(snapshot: Path) -> str | None:
    """The fault of a snapshot's manifest, or of its file's size; None if there is none. May raise NotFound."""
    try:
        manifest = read_manifest(snapshot)
        size = (snapshot / DATA).stat().st_size
        whole = size == manifest.size if manifest.size is not None else _is_whole(snapshot / DATA)
    except DatabaseError as error:
        return error.reason
    except FileNotFoundError:
        return f"{DATA} is missing"
    except OSError as error:
        return str(error)
    expected = f", not the {manifest.size:,} that were archived" if manifest.size is not None else " and is truncated"
    return None if whole else f"{DATA} has {size:,} bytes{expected}"


def _is_whole(path: Path) -> bool:
    with path.open("rb") as file:
        begins = file.read(len(_MAGIC)) == _MAGIC
        file.seek(-len(_MAGIC), os.SEEK_END)
        return begins and file.read() == _MAGIC


def find_snapshots(repository: Path) -> list[Path]:
    """The snapshots in a repository, by name."""
    _require_directory(repository)
    return sorted(path for path in repository.iterdir() if (path / MANIFEST).is_file() and path.name[0] != ".")


def readable(snapshots: Iterable[Path]) -> Iterator[tuple[Path, Manifest]]:
    """Snapshots with their manifests, without those whose manifest cannot be read."""
    for snapshot in snapshots:
        with suppress(RetentionError):
            yield snapshot, read_manifest(snapshot)


def check_file(snapshot: Path) -> Manifest:
    """Compare a snapshot's file with its checksum, and return the manifest."""
    path, manifest = snapshot / DATA, read_manifest(snapshot)
    if not path.is_file():
        raise DatabaseError(f"snapshot {snapshot.name}", f"{DATA} is missing")
    if checksum(path) != manifest.sha256:
        raise DatabaseError(f"snapshot {snapshot.name}", f"{DATA} differs from its checksum: it was damaged or changed")
    return manifest


def _words(data_type: str) -> set[str]:
    """The names of the types that a type consists of, without names of fields, values and numbers."""
    found = set()
    for part in re.split(r"[(),\[\]]", _QUOTED.sub("q", data_type)):
        word = part.strip()
        if word and not word.isdigit() and word != "q":
            # In a STRUCT or UNION, a field's name stands before its type.
            found.add(word if word in _NATIVE | _AS_TEXT else word.partition(" ")[2])
    return found


def is_exact(data_type: str) -> bool:
    """Whether an archive restores each value of a type exactly."""
    words = _words(data_type)
    if not words <= _NATIVE | _AS_TEXT:
        return False
    if "UNION" in words:
        # DuckDB reads it back as a STRUCT, and does not cast one with nested members.
        scalar = _SCALAR_UNION.fullmatch(_QUOTED.sub("q", data_type)) and data_type.count("UNION(") == 1
        return bool(scalar) and not words & (_AS_TEXT | {"STRUCT", "MAP"})
    # As text, JSON within another type is written differently.
    return not (words & _AS_TEXT and "JSON" in words)


def inexact(columns: Iterable[Column]) -> tuple[str, ...]:
    """The columns whose values an archive cannot store exactly, with their types."""
    return tuple(f"{column.name} ({column.type})" for column in columns if not is_exact(column.type))


def to_file(column: Column) -> sa.ColumnElement[Any]:
    found = ref(column.name)
    return sa.cast(found, sa.Text()).label(found.name) if _words(column.type) & _AS_TEXT else found


def archived_rows(snapshot: Path, columns: Iterable[Column]) -> sa.Subquery:
    """The rows of a snapshot, with the types of their table. Wildcards and ``year=2024`` in its path are literal."""
    literal = re.sub(r"[*?\[]", lambda match: f"[{match[0]}]", str(snapshot / DATA))
    read = sa.func.read_parquet(literal, sa.literal_column("hive_partitioning = false"))
    values = [as_type(found := ref(column.name), column.type).label(found.name) for column in columns]
    return sa.select(*values).select_from(read.table_valued("file_row_number")).subquery("archived")
