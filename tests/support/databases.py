"""
CrateDB and DuckDB behind one face, for tests that must hold on both; :mod:`support.benches` has the two.

Tables are filled and looked at without the toolkit's engine, so that a mistake in it can't hide itself.
"""

from __future__ import annotations

import abc
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cratedb_retention import Report, Retention
from cratedb_retention.clock import Actor, Clock
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policy import Policy
from support.sql import quoted

TIME = "TIMESTAMP WITH TIME ZONE"
NUMBER = "DOUBLE PRECISION"
MONTH = f"{TIME} GENERATED ALWAYS AS (date_trunc('month', ts))"
# The cutoff of most tests. With 30 days, what is before 2 June is expired; June as a partition is not.
NOW = "2024-07-02T00:00:00+00:00"


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
        return Clock(now=lambda: self.moment, sleep=lambda seconds: None)


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
        if strategy == "snapshot":
            given = {"target_repository_name": self.repository, **given}
        return self.tool.create_policy(strategy=strategy, **given)

    def run(self) -> Report:
        """Do what is due."""
        return self.tool.run()

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """Collects the statements that the toolkit sends."""
        sent: list[str] = []

        def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
            sent.append(statement)

        engine = self.tool.engine.database.engine
        sa.event.listen(engine, "before_cursor_execute", note)
        try:
            yield sent
        finally:
            sa.event.remove(engine, "before_cursor_execute", note)

    def journal(self, **equal: Any) -> list[Mapping[str, Any]]:
        """Rows of the journal with these values."""
        from cratedb_retention.store.journal import JournalFilter

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
        columns = ", ".join(map(quoted, rows[0]))
        places = ", ".join("?" * len(rows[0]))
        statement = f"INSERT INTO {self.q(name, schema)} ({columns}) VALUES ({places})"
        self._insert(statement, [list(row.values()) for row in rows])
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

    @abc.abstractmethod
    def bin(self, interval: str) -> str:
        """A generated column that cuts ``ts`` into intervals of fixed length, as a type."""

    @abc.abstractmethod
    def break_repository(self) -> None:
        """Make the repository unusable, as a disk that is gone would."""

    @abc.abstractmethod
    def mend_repository(self) -> None:
        """Undo that."""

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
