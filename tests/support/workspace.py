"""
A workspace on CrateDB: a schema for the tables of a test, another with the toolkit's own, and a repository.

Creating the toolkit's tables takes longer than most tests, so they are created once and emptied between tests.
"""

from __future__ import annotations

import uuid

from cratedb_retention import Retention
from support.cratedb import CrateDB
from support.sql import quoted


class Workspace:
    """
    Two schemas and a repository, all with names of their own.

    Attributes: ``schema`` for the tables of tests, ``own_schema`` with the toolkit's, ``repository``.
    """

    def __init__(self, server: CrateDB) -> None:
        self._server = server
        self.schema = unique("t")
        self.own_schema = f"{self.schema}_ext"
        self.repository = create_repository(server)
        self._layout: list[list[object]] = []

    def prepare(self) -> None:
        """Create the toolkit's tables, unless they are there as they were created."""
        if not self._layout or self._read_layout() != self._layout:
            self._server.drop_schemas(self.own_schema)
            with Retention(self._server.uri, self.own_schema) as retention:
                retention.setup(journal_policy=False)
            self._layout = self._read_layout()

    def clear(self) -> None:
        """Remove what a test left."""
        self._server.drop_schemas(self.schema)
        if self._read_layout() == self._layout:
            self._empty_own_tables()
        if self._is_used():
            drop_repository(self._server, self.repository)
            self.repository = create_repository(self._server)

    def drop(self) -> None:
        """Remove everything."""
        self._server.drop_schemas(self.schema, self.own_schema)
        drop_repository(self._server, self.repository)

    def _is_used(self) -> bool:
        """Whether the repository holds snapshots, or was broken."""
        query = "SELECT 1 FROM sys.snapshots WHERE repository = ? LIMIT 1"
        broken = not (self._server.repo_root / self.repository).is_dir()
        return broken or bool(self._server.rows(query, [self.repository]))

    def _empty_own_tables(self) -> None:
        names = [quoted(self.own_schema, name) for name in sorted({str(row[0]) for row in self._layout})]
        self._server.sql(f"REFRESH TABLE {', '.join(names)}")
        counts = [f"SELECT ? AS name, count(*) AS n FROM {name}" for name in names]
        query = f"SELECT name FROM ({' UNION ALL '.join(counts)}) t WHERE n > 0"
        filled = [row[0] for row in self._server.rows(query, names)]
        for name in filled:
            self._server.sql(f"DELETE FROM {name}")
        if filled:
            self._server.sql(f"REFRESH TABLE {', '.join(filled)}")

    def _read_layout(self) -> list[list[object]]:
        """Columns and settings of the toolkit's tables."""
        columns = "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = ?"
        tables = "SELECT table_name, number_of_replicas, settings FROM information_schema.tables WHERE table_schema = ?"
        return [
            *self._server.rows(f"{columns} ORDER BY table_name, ordinal_position", [self.own_schema]),
            *self._server.rows(f"{tables} ORDER BY table_name", [self.own_schema]),
        ]


def unique(prefix: str) -> str:
    """A name that nothing else has."""
    return f"{prefix}_{uuid.uuid4().hex[:8]}"


def create_repository(server: CrateDB) -> str:
    """Create an empty snapshot repository of type ``fs``, and return its name."""
    name = unique("r")
    location = str(server.repo_root / name)
    server.sql(f"CREATE REPOSITORY {quoted(name)} TYPE fs WITH (location = ?)", [location])
    return name


def drop_repository(server: CrateDB, name: str) -> None:
    """Drop a repository; its files stay until the server's directory goes."""
    server.sql(f"DROP REPOSITORY {quoted(name)}")
