"""Databases with some months of metrics, for the tests of the commands."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import duckdb
import pytest
from sqlalchemy.util import LRUCache

from support.command import Command, Contents, FilledBy, Rows
from support.cratedb import CrateDB
from support.sql import quoted

# 180 days from the first of January on: six partitions, of 31, 29, 31, 30, 31 and 28 rows.
TABLES = """
    CREATE TABLE metrics (
        ts TIMESTAMP, tenant TEXT, value DOUBLE, month TIMESTAMP GENERATED ALWAYS AS (date_trunc('month', ts)));
    INSERT INTO metrics SELECT TIMESTAMP '2024-01-01' + INTERVAL (i) DAY, 'acme', i FROM range(180) t(i);
    CREATE TABLE events (ts TIMESTAMP, tenant TEXT);
    INSERT INTO events
        SELECT TIMESTAMP '2024-01-01' + INTERVAL (i) DAY, CASE WHEN i % 2 = 0 THEN 'acme' ELSE 'other' END
        FROM range(180) t(i);
    CREATE TABLE plain (id INTEGER);
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The DuckDB file of a test."""
    return tmp_path / "test.duckdb"


@pytest.fixture(scope="session")
def bare_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DuckDB file with tables, of which tests get a copy."""
    path = tmp_path_factory.mktemp("duckdb") / "bare.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(TABLES)
    return path


@pytest.fixture(scope="session")
def set_up_file(bare_file: Path) -> Path:
    """The same with the toolkit's own tables, made by ``setup``."""
    path = bare_file.with_name("set-up.duckdb")
    shutil.copy(bare_file, path)
    Command(f"duckdb:///{path}").ok("setup", "--no-journal-policy")
    return path


@pytest.fixture
def bare(duckdb_uri: str, path: Path, bare_file: Path) -> Command:
    """The command on a DuckDB file with tables, but without the toolkit's own."""
    shutil.copy(bare_file, path)
    return Command(duckdb_uri)


@pytest.fixture
def command(duckdb_uri: str, path: Path, set_up_file: Path) -> Command:
    """The command on a DuckDB file that is set up."""
    shutil.copy(set_up_file, path)
    return Command(duckdb_uri)


@pytest.fixture(scope="session")
def filled_folder(set_up_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder of a DuckDB file that is set up and filled by a function, which is called once."""

    @cache
    def filled_folder(fill: Callable[[Command], None]) -> Path:
        path = tmp_path_factory.mktemp("filled") / "test.duckdb"
        shutil.copy(set_up_file, path)
        fill(Command(f"duckdb:///{path}"))
        return path.parent

    return filled_folder


@pytest.fixture
def filled_by(filled_folder: Callable[..., Path], tmp_path: Path, duckdb_uri: str) -> FilledBy:
    """Gives the command on a copy of such a folder."""

    def filled_by(fill: Callable[[Command], None]) -> Command:
        shutil.copytree(filled_folder(fill), tmp_path, dirs_exist_ok=True)
        return Command(duckdb_uri)

    return filled_by


@pytest.fixture(scope="session")
def known_contents() -> LRUCache[bytes, Rows]:
    """The rows by the digest of the files that hold them: most commands of these tests change no byte."""
    return LRUCache(20)


@pytest.fixture
def contents(path: Path, known_contents: LRUCache[bytes, Rows]) -> Contents:
    """Reads every row of every table of the DuckDB file, without the toolkit."""

    def read() -> Rows:
        state = hashlib.sha256(
            b"".join(each.read_bytes() for each in sorted(path.parent.glob(f"{path.name}*")))
        ).digest()
        if state not in known_contents:
            with duckdb.connect(str(path)) as connection:
                query = "SELECT schema_name, table_name FROM duckdb_tables() ORDER BY ALL"
                known_contents[state] = {
                    f"{schema}.{name}": connection.execute(f"FROM {quoted(schema, name)} ORDER BY ALL").fetchall()
                    for schema, name in connection.execute(query).fetchall()
                }
        return known_contents[state]

    return read


@pytest.fixture
def crate(cratedb: CrateDB, crate_schema: str) -> Command:
    """The command on CrateDB, set up, with the table ``metrics`` in the test's own schema."""
    table = quoted(crate_schema, "metrics")
    cratedb.sql(
        f"CREATE TABLE {table} (ts TIMESTAMP, tenant TEXT, value DOUBLE PRECISION,"
        " month TIMESTAMP GENERATED ALWAYS AS date_trunc('month', ts))"
        " CLUSTERED INTO 1 SHARDS PARTITIONED BY (month) WITH (number_of_replicas = 0)"
    )
    cratedb.sql(
        f"INSERT INTO {table} (ts, tenant, value)"
        " SELECT '2024-01-01'::TIMESTAMP + i * 86400000::BIGINT, 'acme', i FROM generate_series(0, 179) t (i)"
    )
    cratedb.sql(f"REFRESH TABLE {table}")
    command = Command(cratedb.uri, f"{crate_schema}_ext")
    command.ok("setup", "--no-journal-policy")
    return command


@pytest.fixture
def cratedb_address(cratedb: CrateDB) -> Iterator[str]:
    """The address of CrateDB with a user of its own, who may do nothing, and a password."""
    name = f"user_{uuid.uuid4().hex[:8]}"
    cratedb.sql(f"CREATE USER {name} WITH (password = 's3cr3t')")
    yield cratedb.uri.replace("crate://", f"crate://{name}:s3cr3t@")
    cratedb.sql(f"DROP USER {name}")
