"""
What an archived partition is on disk: a directory of the snapshot's name with ``data.parquet`` and ``manifest.json``.

The directory gets its name last, so one that has the name is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cratedb_retention.engine.duckdb.catalog import kind_of
from cratedb_retention.errors import DatabaseError, NotFound, RetentionError
from cratedb_retention.model.catalog import Column

DATA, MANIFEST = "data.parquet", "manifest.json"
_CHUNK = 1 << 20
_MAGIC = b"PAR1"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """
    What was archived.

    :param table: Schema and name.
    :param columns: Names and types of the stored columns.
    :param partition: Partition columns and values; times in milliseconds since the epoch, UTC.
    :param token: The change token of what was archived.
    :param sha256: Checksum of the Parquet file.
    :param size: Its bytes; None in archives of earlier versions, which lack what follows as well.
    :param generated: Position, name, type and expression of each generated column.
    :param comment: That of the table, which may say what divides it into partitions.
    :param span: The stretch of time that it covers (ms, UTC), as far as known.
    """

    table: list[str]
    columns: list[list[str]]
    partition: list[list[Any]]
    rows: int
    token: str
    sha256: str
    version: int = 2
    size: int | None = None
    generated: list[tuple[int, str, str, str]] = field(default_factory=list)
    comment: str | None = None
    span: tuple[int | None, int | None] = (None, None)

    @property
    def stored(self) -> list[Column]:
        """The columns that the file holds."""
        return [Column(name=name, type=data_type, kind=kind_of(data_type)) for name, data_type in self.columns]

    @property
    def all_columns(self) -> list[Column]:
        """The columns of the table, in their order; a partition column of an unknown type is at the end."""
        found = self.stored
        for position, name, data_type, expression in sorted(self.generated):
            found.insert(position, Column(name=name, type=data_type, kind=kind_of(data_type), expression=expression))
        return found


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def scratch(repository: Path, name: str) -> Path:
    """An empty directory to prepare a snapshot in; what an interrupted run left there is removed."""
    path = repository / f".{name}.partial"
    shutil.rmtree(path, ignore_errors=True)
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise DatabaseError(f"repository {repository}", str(error), "make it a directory that can be written") from None
    return path


def publish(directory: Path, repository: Path, name: str, manifest: Manifest) -> None:
    """
    Write the manifest, make all of it durable, and give the directory its name.

    :raises DatabaseError: if the disk is full, or something else stands there.
    """
    text = json.dumps(asdict(manifest), indent=2, default=str) + "\n"
    target = repository / name
    try:
        (directory / MANIFEST).write_text(text, encoding="utf-8")
        for path in (directory / DATA, directory / MANIFEST, directory):
            _sync(path)
        shutil.rmtree(target, ignore_errors=True)
        directory.rename(target)
        _sync(repository)
    except OSError as error:
        raise DatabaseError(f"snapshot {name}", str(error), f"look at repository {repository}") from None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_manifest(repository: Path, name: str) -> Manifest:
    """
    Read a snapshot's manifest.

    :raises NotFound: if the snapshot does not exist.
    :raises DatabaseError: if it can't be read.
    """
    try:
        text = (repository / name / MANIFEST).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"snapshot {name}", f"is not in repository {repository}") from None
    except (OSError, ValueError) as error:
        raise DatabaseError(f"snapshot {name}", str(error)) from None
    try:
        return Manifest(**{"version": 1, **json.loads(text)})
    except (ValueError, TypeError) as error:
        raise DatabaseError(f"snapshot {name}", f"its manifest is damaged ({error})") from None


def glance(repository: Path, name: str) -> str | None:
    """
    What is wrong with a snapshot at a glance: with its manifest, or with the size of its file; None: nothing is.

    :raises NotFound: if the snapshot does not exist.
    """
    path = repository / name / DATA
    try:
        manifest = read_manifest(repository, name)
        size = path.stat().st_size
        whole = size == manifest.size if manifest.size is not None else _is_whole(path)
    except NotFound:
        raise
    except RetentionError as error:
        return error.reason
    except FileNotFoundError:
        return f"{DATA} is missing"
    except OSError as error:
        return str(error)
    if whole:
        return None
    expected = f", not the {manifest.size:,} that were archived" if manifest.size is not None else ", and is cut off"
    return f"{DATA} has {size:,} bytes{expected}"


def _is_whole(path: Path) -> bool:
    """Whether a file begins and ends as Parquet files do."""
    with path.open("rb") as file:
        begins = file.read(len(_MAGIC)) == _MAGIC
        file.seek(-len(_MAGIC), os.SEEK_END)
        return begins and file.read() == _MAGIC


def find_names(repository: Path) -> list[str]:
    """The names of the snapshots in a repository, sorted."""
    if not repository.is_dir():
        raise NotFound(f"repository {repository}", "is no directory", "name another one")
    return sorted(path.name for path in repository.iterdir() if (path / MANIFEST).is_file() and path.name[0] != ".")


def check_file(repository: Path, name: str, manifest: Manifest) -> Path:
    """
    Compare a snapshot's file with its checksum.

    :raises DatabaseError: if it is missing or differs.
    """
    path = repository / name / DATA
    if not path.is_file():
        raise DatabaseError(f"snapshot {name}", f"{DATA} is missing")
    if checksum(path) != manifest.sha256:
        raise DatabaseError(f"snapshot {name}", f"{DATA} differs from its checksum: it was damaged or changed")
    return path
