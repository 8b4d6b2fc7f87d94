"""
Archives as earlier versions wrote them: a directory with the name of the snapshot, which has ``data.parquet`` and
``manifest.json``. They are read, restored and deleted like the others in their repository.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path

from cratedb_retention.engine.duckdb.sql import make_column
from cratedb_retention.engine.parquet import Manifest, Store
from cratedb_retention.errors import DatabaseError, NotFound

DATA, MANIFEST = "data.parquet", "manifest.json"
_UNFINISHED = (".partial", ".deleted")  # Endings of directories that were not complete, or being deleted.


class FormerStore(Store):
    """The files of a directory, with archives of earlier versions."""

    def __init__(self, repository: str, directory: Path) -> None:
        super().__init__(repository, directory)
        self._within = directory

    def manifest(self, name: str) -> Manifest:
        try:
            return super().manifest(name)
        except NotFound:
            content = self._content(f"{name}/{MANIFEST}")
            if content is None:
                raise
        return _translate(name, content)

    def names(self) -> dict[str, int]:
        found = super().names()
        with self.reporting():
            for path in self._within.iterdir():
                if path.name[0] != "." and (path / MANIFEST).is_file():
                    found.setdefault(path.name, (path / MANIFEST).stat().st_size)
        return found

    def delete_manifest(self, name: str) -> None:
        """The directory as well, unless it has other files."""
        super().delete_manifest(name)
        for file in (DATA, MANIFEST):
            self.delete(f"{name}/{file}")

    def leftovers(self, names: Collection[str]) -> Iterator[str]:
        yield from super().leftovers(names)
        for path in self._within.iterdir():
            if path.name[0] == "." and path.name.endswith(_UNFINISHED) and path.is_dir():
                yield path.name


def _translate(name: str, content: bytes) -> Manifest:
    try:
        found = json.loads(content.decode())
        generated = [list(each) for each in found.get("generated", [])]
        types = {**dict(found["columns"]), **{each[1]: each[2] for each in generated}}
        partition = []
        for column, value in found["partition"]:
            # The oldest lack the type of a generated column, which mostly is a time.
            data_type = types.get(column) or ("TIMESTAMP" if isinstance(value, int) else "VARCHAR")
            partition.append([column, data_type, str(make_column(column, data_type).kind), value])
        return Manifest(
            table=found["table"],
            columns=found["columns"],
            partition=partition,
            rows=found["rows"],
            digest=found["token"],
            token=found["token"],
            file=f"{name}/{DATA}",
            size=found.get("size"),
            database="DuckDB",
            sha256=found["sha256"],
            generated=generated,
            comment=found.get("comment"),
            span=list(found.get("span", (None, None))),
        )
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise DatabaseError(f"snapshot {name}", f"its manifest is damaged ({error})") from None
