"""
CrateDB and DuckDB with the same interface, for tests of both: a schema of a CrateDB, and a DuckDB file.

Tables are filled and read without the toolkit's engine, so that a mistake in it cannot hide itself.
"""

from __future__ import annotations

import abc
import datetime as dt
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlalchemy as sa
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.util import LRUCache

from cratedb_retention import Report, Retention, Selection
from cratedb_retention.clock import Actor, Clock
from cratedb_retention.engine.parquet import _checksum
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policies.policy import Policy
from support.cratedb import CrateDB
from support.sql import quoted

TIME = "TIMESTAMP WITH TIME ZONE"
NUMBER = "DOUBLE PRECISION"
MONTH = f"{TIME} GENERATED ALWAYS AS (date_trunc('month', ts))"
# The cutoff of most tests. With 30 days, what is before 2 June is expired; June as a partition is not.
NOW = "2024-07-02T00:00:00+00:00"
# Rows of one INSERT on DuckDB, whose `executemany` takes thirty times as long.
ROWS_AT_ONCE = 200
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


class FixedClock:
    """A clock that stands still until it is set, and never waits."""

    def __init__(self, now: str = NOW) -> None:
        self.moment = dt.datetime.fromisoformat(now)

    def set(self, now: str) -> None:
        """Let it be another time."""
        self.moment = dt.datetime.fromisoformat(now)

    @property
    def clock(self) -> Clock:
        """As the toolkit takes it."""
        return Clock(now=lambda: self.moment, sleep=lambda seconds: None, shared=True)


@contextmanager
def before_statements(engine: sa.Engine, act: Callable[[str], None]) -> Iterator[None]:
    """Call a function with each statement, right before it is sent."""

    def before(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        act(statement)

    sa.event.listen(engine, "before_cursor_execute", before)
    try:
        yield
    finally:
        sa.event.remove(engine, "before_cursor_execute", before)


def as_sent(values: Iterable[Any]) -> list[Any]:
    """Values as both databases take them: JSON has neither NaN nor infinity."""
    return [_NOT_FINITE.get(str(value), value) if isinstance(value, float) else value for value in values]


class Database(abc.ABC):
    """
    A database with a schema of the test's own.

    :param uri: Its address as the toolkit takes it.
    :param schema: Where the tables of tests are.
    :param own_schema: Where the toolkit's tables are.
    :param repository: What a policy names as ``target_repository_name``.
    :param directory: Where that repository's files are.
    """

    product: str
    month_text: str  # The month of ``ts`` as text like 2024-06, as an expression.
    year_number: str  # The year of ``ts`` as an INTEGER.

    def __init__(self, uri: str, schema: str, own_schema: str, repository: str, directory: Path) -> None:
        self.uri, self.schema, self.own_schema = uri, schema, own_schema
        self.repository, self.directory = repository, directory
        self.time = FixedClock()
        self._opened: list[Retention] = []

    # The toolkit

    def retention(self, actor: str = "tester") -> Retention:
        """Open the toolkit once more."""
        actors = Actor(actor, "host")
        opened = Retention(self.uri, schema=self.own_schema, create=True, clock=self.time.clock, actor=actors)
        self._opened.append(opened)
        return opened

    @property
    def tool(self) -> Retention:
        """The toolkit, opened and set up."""
        if not self._opened:
            self.set_up()
        return self._opened[0]

    def set_up(self) -> None:
        """Create the toolkit's tables."""
        self.retention().setup(journal_policy=False)

    def policy(self, strategy: str, table: str, period: str | int, **more: Any) -> Policy:
        """Store a policy for a table of the test's schema."""
        given = {"table_schema": self.schema, "table_name": table, "retention_period": period, **more}
        if strategy == "snapshot" or "recoverable" in more:
            given = {"target_repository_name": self.repository, **given}
        return self.tool.create_policy(strategy=strategy, **given)

    def run(self, *, accepted: bool = False) -> Report:
        """Do what is due; on request also what is unusual, as after years without a run."""
        return self.tool.run(selection=Selection(accepted=accepted))

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """Collects the statements that the toolkit sends."""
        sent: list[str] = []
        with before_statements(self.tool.engine.database.engine, sent.append):
            yield sent

    def journal(self, **equal: Any) -> list[Mapping[str, Any]]:
        """Rows of the journal with these values."""
        from cratedb_retention.store.audit import JournalFilter

        rows = self.tool.journal(JournalFilter(limit=1000))
        return [row for row in rows if all(row[key] == value for key, value in equal.items())]

    def close(self) -> None:
        """Close what was opened."""
        for opened in self._opened:
            opened.close()

    # The data

    def table(self, name: str, schema: str | None = None) -> TableName:
        """A table's full name."""
        return TableName(schema or self.schema, name)

    def q(self, name: str, schema: str | None = None) -> str:
        """The same as SQL, quoted."""
        return quoted(*self.table(name, schema))

    def create(
        self, name: str, columns: Mapping[str, str], by: Sequence[str] = (), schema: str | None = None, key: str = ""
    ) -> None:
        """
        Create a table.

        :param columns: Types by name; a name is quoted here.
        :param by: Partition columns.
        """
        rows = [f"{quoted(column)} {kind}" for column, kind in columns.items()] + ([key] if key else [])
        self._create(self.table(name, schema), ", ".join(rows), by)

    def insert(self, name: str, rows: Iterable[Mapping[str, Any]], schema: str | None = None) -> None:
        """Insert rows, given by column, and make them visible. All have the same columns."""
        rows = list(rows)
        if not rows:
            return
        columns = ", ".join(map(quoted, rows[0]))
        places = ", ".join("?" * len(rows[0]))
        statement = f"INSERT INTO {self.q(name, schema)} ({columns}) VALUES ({places})"
        self._insert(statement, [as_sent(row.values()) for row in rows])
        self.refresh(name, schema)

    def fill(self, name: str, days: Iterable[str], schema: str | None = None, **more: Any) -> None:
        """Insert a row for each instant, with the instant as its name ``n``."""
        self.insert(name, [{"ts": day, "n": day, **more} for day in days], schema)

    def left(self, name: str, where: str = "TRUE", schema: str | None = None) -> list[str]:
        """The names ``n`` of the rows that are there, sorted."""
        self.refresh(name, schema)
        query = f"SELECT n FROM {self.q(name, schema)} WHERE {where} ORDER BY n"
        return [row[0] for row in self.rows(query)]

    def count(self, name: str, where: str = "TRUE", schema: str | None = None) -> int:
        """How many rows are there."""
        self.refresh(name, schema)
        return int(self.rows(f"SELECT count(*) FROM {self.q(name, schema)} WHERE {where}")[0][0])

    def exists(self, name: str, schema: str | None = None) -> bool:
        """Whether there is such a table."""
        table = self.table(name, schema)
        query = "SELECT count(*) FROM information_schema.tables WHERE table_schema = ? AND table_name = ?"
        return bool(self.rows(query, table)[0][0])

    @abc.abstractmethod
    def sql(self, statement: str, args: Sequence[Any] = ()) -> None:
        """Run a statement."""

    @abc.abstractmethod
    def rows(self, query: str, args: Sequence[Any] = ()) -> list[Sequence[Any]]:
        """Run a query."""

    @abc.abstractmethod
    def refresh(self, name: str, schema: str | None = None) -> None:
        """Make what was written visible."""

    def forget_leases(self) -> None:
        """Otherwise a run would have to wait a minute for the end of those of one that was killed."""
        self.refresh("lease", self.own_schema)
        self.sql(f"DELETE FROM {self.q('lease', self.own_schema)}")
        self.refresh("lease", self.own_schema)

    @contextmanager
    def killed_in(self, method: str, *, after: bool = False) -> Iterator[None]:
        """What is done within is killed when it first calls a method of the archive; ``after``: when that has ended."""
        archive = self.tool.engine.archive
        work = getattr(archive, method)

        def die(*given: Any) -> None:
            if after:
                work(*given)
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(archive, method, die)
            yield
        self.forget_leases()

    @abc.abstractmethod
    def bin(self, interval: str) -> str:
        """A generated column that cuts ``ts`` into intervals of fixed length, as a type."""

    @abc.abstractmethod
    def epoch_day(self, unit: str) -> str:
        """A generated column with the day of ``ts``, which counts seconds (`s`) or milliseconds (`ms`), as a type."""

    def break_repository(self) -> None:
        """Make the repository unusable, as a failed disk would: a file is where the directory was."""
        if self.directory.exists():
            self.directory.rename(self._away)
        self.directory.write_text("")

    def mend_repository(self) -> None:
        """Undo that."""
        self.directory.unlink()
        if self._away.exists():
            self._away.rename(self.directory)

    @property
    def _away(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}_away")

    @abc.abstractmethod
    def snapshot_names(self) -> list[str]:
        """The snapshots that the repository holds."""

    @abc.abstractmethod
    def snapshot_files(self) -> list[Path]:
        """The files that hold the rows of snapshots."""

    @abc.abstractmethod
    def drop_snapshot(self, name: str) -> None:
        """Delete a snapshot."""

    @abc.abstractmethod
    def _create(self, table: TableName, columns: str, by: Sequence[str]) -> None: ...

    @abc.abstractmethod
    def _insert(self, statement: str, rows: Sequence[Sequence[Any]]) -> None: ...


class FilesDatabase(Database):
    """A database whose archives are Parquet files in a directory."""

    def snapshot_names(self) -> list[str]:
        return sorted(path.stem for path in self.directory.glob("_manifests/*.json"))

    def snapshot_files(self) -> list[Path]:
        return sorted(self.directory.glob("*/**/*.parquet"))

    def drop_snapshot(self, name: str) -> None:
        for path in [*self.directory.rglob(f"{name}.*"), *self.directory.rglob("*.partial")]:
            path.unlink()

    def manifest(self, name: str) -> Path:
        """The file that describes a snapshot."""
        return self.directory / "_manifests" / f"{name}.json"

    def forge(self, name: str, **more: Any) -> None:
        """Change what a manifest says, so that it seems right."""
        path = self.manifest(name)
        described = {**json.loads(path.read_text()), **more}
        described.pop("checksum")
        path.write_text(json.dumps({**described, "checksum": _checksum(described)}))


class CrateDatabase(Database):
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

    def epoch_day(self, unit: str) -> str:
        return f"{TIME} GENERATED ALWAYS AS date_trunc('day', {'ts * 1000' if unit == 's' else 'ts'})"

    def snapshot_states(self) -> dict[str, str]:
        """What the repository holds, each by its name with its state."""
        query = "SELECT name, state FROM sys.snapshots WHERE repository = ? ORDER BY name"
        return {str(name): str(state) for name, state in self.rows(query, [self.repository])}

    def snapshot_names(self) -> list[str]:
        return list(self.snapshot_states())

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


class ParquetDatabase(FilesDatabase, CrateDatabase):
    """A schema of a CrateDB whose archives are Parquet files in a directory."""

    def __init__(self, server: CrateDB, schema: str, directory: Path) -> None:
        super().__init__(server, schema, "")
        directory.mkdir()
        self.repository, self.directory = f"file://{directory}", directory

    def snapshot_states(self) -> dict[str, str]:
        manifests = {path.stem: "complete" for path in self.directory.glob("_manifests/*.json")}
        others = {path.name: "left" for path in self.directory.rglob("*.partial")}
        return others | {path.stem: "without a manifest" for path in self.snapshot_files()} | manifests


def _column(name: str) -> str:
    return name if name.endswith("']") else quoted(name)


class DuckDatabase(FilesDatabase):
    """A DuckDB file."""

    product = "DuckDB"
    month_text = "strftime(ts, '%Y-%m')"
    year_number = "CAST(year(ts) AS INTEGER)"

    def __init__(self, uri: str, directory: Path) -> None:
        super().__init__(uri, "lab", "ext", str(directory), directory)
        self._own: duckdb.DuckDBPyConnection | None = None
        self.sql("CREATE SCHEMA IF NOT EXISTS lab")

    def _connect(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own for each thread; after :meth:`close`, the file is opened again."""
        if self._own is None:
            self._own = duckdb.connect(str(sa.make_url(self.uri).database))
            self._own.execute("SET GLOBAL TimeZone = 'UTC'")
        return self._own.cursor()

    def sql(self, statement: str, args: Sequence[Any] = ()) -> None:
        self._connect().execute(statement, args)

    def rows(self, query: str, args: Sequence[Any] = ()) -> list[Sequence[Any]]:
        return list(self._connect().execute(query, args).fetchall())

    def refresh(self, name: str, schema: str | None = None) -> None:
        pass

    def bin(self, interval: str) -> str:
        return f"{TIME} GENERATED ALWAYS AS (time_bucket(INTERVAL '{interval}', ts))"

    def epoch_day(self, unit: str) -> str:
        return f"TIMESTAMP GENERATED ALWAYS AS (date_trunc('day', epoch_ms({'ts * 1000' if unit == 's' else 'ts'})))"

    def close(self) -> None:
        super().close()
        if self._own is not None:
            self._own.close()
            self._own = None

    def _create(self, table: TableName, columns: str, by: Sequence[str]) -> None:
        self.sql(f"CREATE SCHEMA IF NOT EXISTS {quoted(table.schema)}")
        self.sql(f"CREATE TABLE {quoted(*table)} ({columns})")
        if by:
            comment = f"PARTITIONED BY ({', '.join(map(quoted, by))})".replace("'", "''")
            self.sql(f"COMMENT ON TABLE {quoted(*table)} IS '{comment}'")

    def _insert(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        head, _, places = statement.rpartition(" VALUES ")
        for start in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[start : start + ROWS_AT_ONCE]
            self.sql(f"{head} VALUES {', '.join([places] * len(some))}", [value for row in some for value in row])


def use_one_thread() -> None:
    """Let each DuckDB of this process use one thread: tests have few rows, and handing them out costs a tenth."""

    @sa.event.listens_for(sa.Engine, "connect")
    def connect(connection: Any, _: object) -> None:
        if "duckdb" in type(connection).__module__:
            connection.cursor().execute("SET threads = 1")


def compile_once() -> None:
    """Let all connections to one kind of database share the compiled statements: each test connects anew."""
    compile_statement = ClauseElement._compile_w_cache
    shared: dict[type[sa.Dialect], tuple[sa.Dialect, Any]] = {}

    def compile_shared(self: ClauseElement, dialect: sa.Dialect, *, compiled_cache: Any, **more: Any) -> Any:
        if compiled_cache is not None:
            dialect, compiled_cache = shared.setdefault(type(dialect), (dialect, LRUCache(2000)))
        return compile_statement(self, dialect, compiled_cache=compiled_cache, **more)

    ClauseElement._compile_w_cache = compile_shared  # type: ignore[method-assign]


class DuckTemplate:
    """
    A DuckDB file and its repository that are filled once, and put back as they were for each test.

    :param directory: Where they are; addresses in the data stay valid, since the directory stays the same.
    """

    def __init__(self, directory: Path, fill: Callable[[DuckDatabase], None]) -> None:
        self._place, self._kept = directory / "place", directory / "kept"
        self._place.mkdir()
        bench = self._open()
        fill(bench)
        bench.close()
        self._place.rename(self._kept)

    def open(self) -> DuckDatabase:
        """The database as it was filled."""
        shutil.rmtree(self._place, ignore_errors=True)
        shutil.copytree(self._kept, self._place)
        bench = self._open()
        bench.sql(
            "PRAGMA disable_checkpoint_on_shutdown"
        )  # What is in its write-ahead log is as good, and thrown away.
        return bench

    def _open(self) -> DuckDatabase:
        return DuckDatabase(f"duckdb:///{self._place / 'test.duckdb'}", self._place / "repository")
