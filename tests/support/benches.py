"""
The two databases of :mod:`support.databases`: a schema of a CrateDB, and a DuckDB file.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cratedb_retention.model.catalog import TableName
from support.cratedb import CrateDB
from support.databases import TIME, Database
from support.sql import quoted

ROWS_AT_ONCE = 200


class CrateBench(Database):
    """A schema of a CrateDB."""

    product = "CrateDB"
    month_text = "date_format('%Y-%m', ts)"
    year_number = "extract(year FROM ts)"

    def __init__(self, server: CrateDB, schema: str, repository: str) -> None:
        super().__init__(server.uri, schema, f"{schema}_ext", repository, server.repo_root / repository)
        self.server = server

    def sql(self, statement: str, args: Sequence[Any] = ()) -> None:
        self.server.sql(statement, args)

    def rows(self, query: str, args: Sequence[Any] = ()) -> list[Sequence[Any]]:
        return list(self.server.rows(query, args))

    def refresh(self, name: str, schema: str | None = None) -> None:
        self.sql(f"REFRESH TABLE {self.q(name, schema)}")

    def bin(self, interval: str) -> str:
        return f"{TIME} GENERATED ALWAYS AS date_bin('{interval}'::interval, ts, 0)"

    def break_repository(self) -> None:
        # A file where the directory was. The server may run as another user, who must not be asked.
        self.directory.rename(self._away)
        self.directory.write_text("")

    def mend_repository(self) -> None:
        self.directory.unlink()
        self._away.rename(self.directory)

    @property
    def _away(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}_away")

    def snapshot_names(self) -> list[str]:
        query = "SELECT name FROM sys.snapshots WHERE repository = ? ORDER BY name"
        return [row[0] for row in self.rows(query, [self.repository])]

    def snapshot_files(self) -> list[Path]:
        return [path for path in self.directory.glob("indices/**/__*") if path.is_file()]

    def drop_snapshot(self, name: str) -> None:
        self.sql(f"DROP SNAPSHOT {quoted(self.repository, name)}")

    def partitions(self, name: str) -> list[dict[str, Any]]:
        """The values of the table's partitions."""
        query = (
            'SELECT "values" FROM information_schema.table_partitions WHERE table_schema = ? AND table_name = ?'
            " ORDER BY partition_ident"
        )
        return [row[0] for row in self.rows(query, self.table(name))]

    def frozen(self, name: str) -> int:
        """How many partitions refuse writes."""
        query = (
            "SELECT count(*) FROM information_schema.table_partitions"
            " WHERE table_schema = ? AND table_name = ? AND settings['blocks']['write']"
        )
        return int(self.rows(query, self.table(name))[0][0])

    def _create(self, table: TableName, columns: str, by: Sequence[str]) -> None:
        partitioned = f" PARTITIONED BY ({', '.join(map(_column, by))})" if by else ""
        options = "WITH (number_of_replicas = 0, column_policy = 'strict')"
        self.sql(f"CREATE TABLE {quoted(*table)} ({columns}) CLUSTERED INTO 1 SHARDS{partitioned} {options}")

    def _insert(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        counts = self.server.bulk(statement, rows)
        assert counts == [1] * len(rows)


def _column(name: str) -> str:
    return name if name.endswith("']") else quoted(name)


class DuckBench(Database):
    """A DuckDB file."""

    product = "DuckDB"
    month_text = "strftime(ts, '%Y-%m')"
    year_number = "CAST(year(ts) AS INTEGER)"

    def __init__(self, uri: str, directory: Path) -> None:
        super().__init__(uri, "lab", "ext", str(directory), directory)
        self._engine = sa.create_engine(uri)
        self.sql("SET TimeZone = 'UTC'")
        self.sql("CREATE SCHEMA IF NOT EXISTS lab")

    def sql(self, statement: str, args: Sequence[Any] = ()) -> None:
        with self._engine.begin() as connection:
            connection.exec_driver_sql(statement, tuple(args))

    def rows(self, query: str, args: Sequence[Any] = ()) -> list[Sequence[Any]]:
        with self._engine.begin() as connection:
            return list(connection.exec_driver_sql(query, tuple(args)).all())

    def refresh(self, name: str, schema: str | None = None) -> None:
        pass

    def bin(self, interval: str) -> str:
        return f"{TIME} GENERATED ALWAYS AS (time_bucket(INTERVAL '{interval}', ts))"

    def break_repository(self) -> None:
        if self.directory.exists():
            self.directory.rename(self.directory.with_name("away"))
        self.directory.write_text("")

    def mend_repository(self) -> None:
        self.directory.unlink()
        if self.directory.with_name("away").exists():
            self.directory.with_name("away").rename(self.directory)

    def snapshot_names(self) -> list[str]:
        return sorted(path.parent.name for path in self.directory.glob("*/manifest.json"))

    def snapshot_files(self) -> list[Path]:
        return list(self.directory.glob("*/data.parquet"))

    def drop_snapshot(self, name: str) -> None:
        shutil.rmtree(self.directory / name)

    def close(self) -> None:
        super().close()
        self._engine.dispose()

    def _create(self, table: TableName, columns: str, by: Sequence[str]) -> None:
        self.sql(f"CREATE SCHEMA IF NOT EXISTS {quoted(table.schema)}")
        self.sql(f"CREATE TABLE {quoted(*table)} ({columns})")
        if by:
            comment = f"PARTITIONED BY ({', '.join(map(quoted, by))})".replace("'", "''")
            self.sql(f"COMMENT ON TABLE {quoted(*table)} IS '{comment}'")

    def _insert(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        # Many rows in one statement: DuckDB's `executemany` takes thirty times as long.
        head, _, places = statement.rpartition(" VALUES ")
        with self._engine.begin() as connection:
            for start in range(0, len(rows), ROWS_AT_ONCE):
                some = rows[start : start + ROWS_AT_ONCE]
                values = tuple(value for row in some for value in row)
                connection.exec_driver_sql(f"{head} VALUES {', '.join([places] * len(some))}", values)


class DuckTemplate:
    """
    A DuckDB file and its repository that are filled once, and put back as they were for each test.

    :param directory: Where they are; addresses in the data stay valid, since the directory stays the same.
    """

    def __init__(self, directory: Path, fill: Callable[[DuckBench], None]) -> None:
        self._place, self._kept = directory / "place", directory / "kept"
        self._place.mkdir()
        bench = self._open()
        fill(bench)
        bench.close()
        self._place.rename(self._kept)

    def open(self) -> DuckBench:
        """The database as it was filled."""
        shutil.rmtree(self._place, ignore_errors=True)
        shutil.copytree(self._kept, self._place)
        return self._open()

    def _open(self) -> DuckBench:
        return DuckBench(f"duckdb:///{self._place / 'test.duckdb'}", self._place / "repository")
