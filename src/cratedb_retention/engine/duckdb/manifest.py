"""
What an archived partition is on disk: a directory of the snapshot's name with ``data.parquet`` and ``manifest.json``.

The directory gets its name last, so one that has the name is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from cratedb_retention.errors import DatabaseError, NotFound

DATA, MANIFEST = "data.parquet", "manifest.json"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """
    What was archived.

    :param table: Schema and name.
    :param columns: Names and types of the stored columns.
    :param partition: Partition columns and values; times in milliseconds since the epoch, UTC.
    :param token: The change token of what was archived.
    :param sha256: Checksum of the Parquet file.
    """

    table: list[str]
    columns: list[list[str]]
    partition: list[list[object]]
    rows: int
    token: str
    sha256: str
    version: int = 1


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
        return Manifest(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise DatabaseError(f"snapshot {name}", f"its manifest is damaged ({error})") from None


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
