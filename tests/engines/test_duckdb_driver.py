"""How the toolkit opens a DuckDB file through SQLAlchemy, with a dialect of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from cratedb_retention.engine.duckdb.connection import DuckConnection
from cratedb_retention.errors import Conflict, DatabaseError
from cratedb_retention.model.address import DatabaseAddress

TASKS = Path("/proc/self/task")
KEYWORDS = ("qualify", "pivot", "lambda", "at", "show", "Count")


def opened(path: Path, parameters: str = "") -> DuckConnection:
    """A connection to a file, which is created."""
    return DuckConnection(DatabaseAddress(f"duckdb:///{path}{parameters}"), path, read_only=False)


@pytest.fixture
def database(tmp_path: Path) -> DuckConnection:
    """A new file."""
    return opened(tmp_path / "test.duckdb")


def test_parameters_of_an_address_are_settings(tmp_path: Path) -> None:
    """What follows the ``?`` are DuckDB's settings; one that it does not have is an error that names it."""
    path = tmp_path / "test.duckdb"
    assert opened(path, "?memory_limit=123MiB").rows(sa.select(sa.func.current_setting("memory_limit"))) == [
        ("123.0 MiB",)
    ]
    with pytest.raises(DatabaseError, match="bogus"):
        opened(tmp_path / "other.duckdb", "?bogus=1")


def test_keywords_are_quoted(database: DuckConnection) -> None:
    """Columns may have the names of DuckDB's keywords, which are not those of other databases."""
    table = sa.Table("t", sa.MetaData(), *(sa.Column(name, sa.Text) for name in KEYWORDS))
    database.execute(sa.schema.CreateTable(table))
    database.execute(sa.insert(table).values(dict.fromkeys(KEYWORDS, "a")))
    assert database.query(sa.select(table)) == [dict.fromkeys(KEYWORDS, "a")]


def test_rows_that_change_are_counted(database: DuckConnection) -> None:
    """An INSERT, UPDATE or DELETE has the number of its rows; one that returns rows has these."""
    table = sa.Table("t", sa.MetaData(), sa.Column("Count", sa.BigInteger), sa.Column("b", sa.ARRAY(sa.DateTime)))
    database.execute(sa.schema.CreateTable(table))
    assert [database.execute(sa.insert(table).values(Count=n)) for n in range(3)] == [1, 1, 1]
    assert database.execute(sa.update(table).where(table.c.Count > 0).values(b=[])) == 2
    returned = database.rows(sa.update(table).where(table.c.Count == 7).values(b=[]).returning(table.c.Count))
    assert (returned, database.rows(sa.select(sa.func.max(table.c.Count).label("Count")))) == ([], [(2,)])
    assert database.execute(sa.delete(table)) == 3


@pytest.mark.parametrize("kind", [sa.Text(), sa.ARRAY(sa.Text)], ids=["text", "list"])
@pytest.mark.parametrize("count", [1, 3, 19, 20, 50])
def test_rows_are_written_together(database: DuckConnection, count: int, kind: sa.types.TypeEngine[object]) -> None:
    """If one of several rows cannot be written, none is."""
    number = sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False)
    table = sa.Table("t", sa.MetaData(), number, sa.Column("b", kind))
    database.execute(sa.schema.CreateTable(table))
    database.execute(sa.insert(table).values(id=count))
    value = ["a"] if isinstance(kind, sa.ARRAY) else "a"
    with pytest.raises(Conflict):
        database.execute(sa.insert(table), [{"id": n + 1, "b": value} for n in range(count)])
    assert database.count(table) == 1
    database.execute(sa.insert(table), [{"id": n + 1, "b": value} for n in range(count, 2 * count)])
    assert database.count(table) == 1 + count


def test_a_statement_within_a_result(database: DuckConnection) -> None:
    """Rows that are not read yet are not lost when the same connection executes another statement."""
    numbers = sa.select(sa.func.unnest(sa.func.range(5)))

    def work(connection: sa.Connection) -> list[int]:
        result = connection.execute(numbers)
        first = [result.fetchone(), *result.fetchmany(2)]
        connection.execute(sa.select(sa.literal(1)))
        return [row[0] for row in (*first, *result) if row is not None]

    assert database.transact(work) == [0, 1, 2, 3, 4]


def test_a_commit_that_fails(database: DuckConnection) -> None:
    """It has ended the transaction, and its error is reported, rather than that there is none to roll back."""
    database.execute_text("CREATE TABLE t (id INTEGER PRIMARY KEY)")

    def insert(connection: sa.Connection) -> None:
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")

    def conflicting(connection: sa.Connection) -> None:
        insert(connection)
        database.transact(insert)

    with pytest.raises(DatabaseError, match="Failed to commit"):
        database.transact(conflicting)
    assert database.rows(sa.select(sa.func.count()).select_from(sa.table("t"))) == [(1,)]


def test_another_user_of_duckdb(database: DuckConnection, tmp_path: Path) -> None:
    """A program may have the file open itself, and what it has in DuckDB's own database stays there."""
    program = f"""
import duckdb
from cratedb_retention import Retention
duckdb.execute("CREATE TABLE mine AS SELECT 1 AS a")
own = duckdb.connect({str(tmp_path / "two.duckdb")!r})
with Retention("duckdb:///{tmp_path / "two.duckdb"}") as retention:
    retention.setup()
print(duckdb.sql("FROM mine").fetchall(), own.execute("SELECT count(*) FROM ext.retention_policy").fetchall())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[(1,)] [(1,)]\n", "")


@pytest.mark.skipif(not TASKS.is_dir(), reason="only Linux lists the threads of a process there")
def test_no_other_database_is_open() -> None:
    """The driver opens a database in memory while it is imported, with threads and megabytes: it is closed again."""
    program = f"""
import os, cratedb_retention.api
from cratedb_retention.engine.duckdb.dialect import Dialect
before = len(os.listdir({str(TASKS)!r}))
Dialect.import_dbapi()
print(len(os.listdir({str(TASKS)!r})) - before)
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "0\n"
