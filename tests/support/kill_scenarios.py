"""
Small tables for runs that are killed or lose their connection, put back before each run; and their state after a run.
"""

from __future__ import annotations

import abc
import datetime as dt
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from cratedb_retention import Retention
from cratedb_retention.clock import Clock
from cratedb_retention.errors import InvalidInput, NotFound
from cratedb_retention.model.catalog import TableName
from support.databases import MONTH, NOW, TIME, CrateDatabase, DuckDatabase, ParquetDatabase
from support.kill_harness import RunRequest

CUTOFF = dt.datetime.fromisoformat(NOW)
TABLE = "readings"
BATCH = 2


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """
    A policy of 30 days on a table.

    :param by: Partition columns; empty: rows are deleted.
    :param policy: What the policy says beyond that.
    :param old: Times of rows that expire, in one or more partitions.
    :param ended: Times of rows that an earlier run archived, and whose archives the run deletes.
    """

    name: str
    strategy: str
    columns: Mapping[str, str]
    by: tuple[str, ...] = ()
    policy: Mapping[str, str] = field(default_factory=dict)
    old: tuple[str, ...] = ("2024-04-10", "2024-04-11", "2024-05-01", "2024-05-20", "2024-05-31")

    ended: tuple[str, ...] = ()

    # 2 June is the limit: older rows expire, but not those in a partition that reaches beyond it.
    border = ("2024-06-01",)
    young = ("2024-06-02", "2024-07-01")

    @property
    def rows(self) -> list[dict[str, str]]:
        """The rows of the table."""
        days = (*self.ended, *self.old, *self.border, *self.young)
        rows = [{"ts": day, "n": day} for day in days]
        return [{**row, "batch": f"b{row['n'][5:7]}"} for row in rows] if "batch" in self.columns else rows

    @property
    def archives(self) -> bool:
        """Whether what expires is archived first."""
        return self.strategy == "snapshot" or "recoverable" in self.policy

    @property
    def expired(self) -> tuple[str, ...]:
        """The rows that expire."""
        return self.old if self.by else self.old + self.border

    @property
    def kept(self) -> tuple[str, ...]:
        """The rows that stay."""
        if self.strategy == "compact":
            return self.old + self.border + self.young
        return self.border + self.young if self.by else self.young


_PLAIN = {"ts": TIME, "n": "TEXT"}
_BY_MONTH = {**_PLAIN, "month": MONTH}
_BY_TEXT = {**_PLAIN, "batch": "TEXT"}
SCENARIOS = (
    Scenario(name="delete", strategy="delete", columns=_BY_MONTH, by=("month",)),
    Scenario(
        name="delete-text", strategy="delete", columns=_BY_TEXT, by=("batch",), policy={"partition_column": "batch"}
    ),
    Scenario(name="delete-rows", strategy="delete", columns=_PLAIN),
    Scenario(
        name="snapshot",
        strategy="snapshot",
        columns=_BY_MONTH,
        by=("month",),
        old=("2024-05-01", "2024-05-20", "2024-05-31"),
    ),
    Scenario(
        name="archives",
        strategy="snapshot",
        columns=_BY_MONTH,
        by=("month",),
        policy={"archive_period": "60d"},
        old=(),
        ended=("2024-04-01", "2024-04-30"),
    ),
)
RECOVERABLE = Scenario(
    name="recoverable",
    strategy="delete",
    columns=_BY_MONTH,
    by=("month",),
    policy={"recoverable": "7d"},
    old=("2024-04-10", "2024-04-10", "2024-05-01", "2024-05-31"),
)
EARLIER = dt.datetime(2024, 6, 1, tzinfo=dt.UTC)  # April is expired.
# Only CrateDB compacts. Each partition is written in two parts, so that there is something to merge.
COMPACTING = tuple(
    Scenario(
        name=name,
        strategy="compact",
        columns=_BY_MONTH,
        by=("month",),
        policy={"compress": "true", "read_only": read_only, "number_of_replicas": "0-1"},
    )
    for name, read_only in (("compact", "false"), ("compact-read-only", "true"))
)


@dataclass(frozen=True, kw_only=True)
class State:
    """
    What can be seen when a run is over.

    :param snapshots: Those that the toolkit knows: partition, stage, whether it is complete, rows read back from it.
    :param repository: What is in the repository, by state or name.
    :param frozen: Partitions that refuse writes.
    :param stored: How each partition is stored: codec, replicas, whether it is closed, and segments.
    :param noted: Partitions that are noted as frozen.
    :param due: Tasks that the next run would do.
    """

    rows: tuple[str, ...]
    snapshots: tuple[tuple[Any, ...], ...]
    repository: tuple[tuple[str, int], ...]
    stored: tuple[tuple[Any, ...], ...]
    frozen: int
    noted: int
    due: int


def an_hour_later() -> Clock:
    """A clock that is ahead of all others, so that leases have expired."""
    return Clock(now=lambda: dt.datetime.now(dt.UTC) + dt.timedelta(hours=1), sleep=time.sleep, shared=True)


class ScenarioDatabase(abc.ABC):
    """A database with the table and the policy of a scenario."""

    uri: str
    own_schema: str
    table: TableName
    watched = ""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario

    @abc.abstractmethod
    def reset(self) -> None:
        """Make it as it was before any run."""

    @abc.abstractmethod
    def look(self, query: str) -> list[Sequence[Any]]:
        """Run a query, not through the toolkit. ``{table}`` and ``{freeze}`` are the tables' names."""

    @abc.abstractmethod
    def repository(self) -> Counter[str]:
        """What is in the repository, since the reset."""

    def frozen(self) -> int:
        """How many partitions refuse writes."""
        return 0

    def stored(self) -> tuple[tuple[Any, ...], ...]:
        """How each partition is stored, if a scenario changes that."""
        return ()

    def open(self) -> Retention:
        """Open the toolkit when the leases of killed runs have expired."""
        return Retention(self.uri, self.own_schema, clock=an_hour_later())

    @property
    def request(self) -> RunRequest:
        """The run, as the kill harness takes it."""
        return RunRequest(uri=self.uri, schema=self.own_schema, cutoff=NOW, batch=BATCH, watched=self.watched)

    def archive(self) -> None:
        """Archive what has ended when the run comes."""
        if self.scenario.ended:
            with self.open() as retention:
                report = retention.run(cutoff=EARLIER)
                assert (report.ok, report.rows) == (True, len(self.scenario.ended))

    def rows(self) -> tuple[str, ...]:
        """The rows in the table."""
        return tuple(row[0] for row in self.look("SELECT n FROM {table} ORDER BY n"))

    def everywhere(self, retention: Retention) -> tuple[str, ...]:
        """The rows in the table, and those that a query reads from archives: each is in one of them, at any time."""
        table = '"{}"."{}"'.format(*self.table)
        try:
            with retention.archive.query(f"SELECT n FROM {table}") as answer:
                archived = [str(row[0]) for row in answer]
        except (NotFound, InvalidInput):  # Of a table without archives, its name is not known.
            archived = []
        return tuple(sorted([*archived, *self.rows()]))

    def finish(self) -> State:
        """Run to the end, and look at what there is then."""
        with self.open() as retention:
            report = retention.run(cutoff=CUTOFF)
            assert report.ok, retention.journal()
            return self.see(retention)

    def see(self, retention: Retention) -> State:
        """What there is."""
        verified = retention.verify_snapshots()
        errors = [str(v.error) for v in verified if v.error]
        assert not errors, errors
        states = retention.snapshot_states([v.record for v in verified])
        due = len(retention.plan(CUTOFF).tasks)
        if not self.uri.startswith("crate:"):
            retention.close()
        return State(
            rows=self.rows(),
            snapshots=tuple(
                (a.values, str(v.record.stage), states[a.repository, a.name].complete, a.rows)
                for v in verified
                for a in [v.record.archived]
            ),
            repository=tuple(sorted(self.repository().items())),
            stored=self.stored(),
            frozen=self.frozen(),
            noted=int(self.look("SELECT count(*) FROM {freeze}")[0][0]),
            due=due,
        )


class CrateScenarioDatabase(ScenarioDatabase):
    """A scenario on CrateDB."""

    def __init__(self, scenario: Scenario, bench: CrateDatabase) -> None:
        super().__init__(scenario)
        self.bench, self.uri, self.own_schema = bench, bench.uri, bench.own_schema
        self.table = bench.table(TABLE)
        self.watched = str(bench.directory) if isinstance(bench, ParquetDatabase) else ""
        bench.create(TABLE, scenario.columns, scenario.by)
        bench.policy(scenario.strategy, TABLE, "30d", **scenario.policy)

    def reset(self) -> None:
        # Nothing else makes partitions as they were, or takes away what an undo leaves.
        if self.scenario.strategy == "compact" or "recoverable" in self.scenario.policy:
            self.bench.sql(f"DROP TABLE {self.bench.q(TABLE)}")
            self.bench.create(TABLE, self.scenario.columns, self.scenario.by)
        if self.scenario.strategy == "compact":
            for part in (0, 1):
                self.bench.insert(TABLE, self.scenario.rows[part::2])
        present = {row[0] for row in self.look("SELECT n FROM {table}")}
        missing = [row for row in self.scenario.rows if row["n"] not in present]
        if missing:
            self.bench.insert(TABLE, missing)
        for own in ("retention_freeze", "retention_hold", "retention_snapshot", "lease"):
            self.bench.refresh(own, self.own_schema)  # What is not visible is not deleted.
            self.bench.sql(f"DELETE FROM {self.bench.q(own, self.own_schema)}")
            self.bench.refresh(own, self.own_schema)
        for name in self.bench.snapshot_states():
            self.bench.drop_snapshot(name)
        self.archive()

    def look(self, query: str) -> list[Sequence[Any]]:
        names = {"table": (TABLE, None), "freeze": ("retention_freeze", self.own_schema)}
        for table in names.values():
            self.bench.refresh(*table)
        return self.bench.rows(query.format(**{key: self.bench.q(*table) for key, table in names.items()}))

    def repository(self) -> Counter[str]:
        return Counter(self.bench.snapshot_states().values())

    def frozen(self) -> int:
        return self.bench.frozen(TABLE)

    def stored(self) -> tuple[tuple[Any, ...], ...]:
        if self.scenario.strategy != "compact":
            return ()
        query = "SELECT partition_ident, count(*) FROM sys.segments WHERE table_schema = ? AND search GROUP BY 1"
        segments = {row[0]: row[1] for row in self.bench.rows(query, [self.bench.schema])}
        query = (
            "SELECT settings['codec'], number_of_replicas, closed, partition_ident FROM"
            " information_schema.table_partitions WHERE table_schema = ? ORDER BY partition_ident"
        )
        rows = self.bench.rows(query, [self.bench.schema])
        return tuple((*state, segments.get(ident)) for *state, ident in rows)


class DuckScenarioDatabase(ScenarioDatabase):
    """A scenario on DuckDB: a file that is copied for each run."""

    own_schema, table = "ext", TableName("lab", TABLE)

    def __init__(self, scenario: Scenario, directory: Path) -> None:
        super().__init__(scenario)
        self.files = directory / "files"
        self._template, self._file = directory / "template.duckdb", self.files / "test.duckdb"
        self._archive, self._filled = self.files / "archive", directory / "filled"
        self.uri, self.watched = f"duckdb:///{self._file}", str(self._archive)
        bench = DuckDatabase(f"duckdb:///{self._template}", self._archive)
        bench.create(TABLE, scenario.columns, scenario.by)
        bench.insert(TABLE, scenario.rows)
        bench.policy(scenario.strategy, TABLE, "30d", **scenario.policy)
        bench.close()
        self.files.mkdir()
        shutil.copy(self._template, self._file)
        self.archive()
        self.files.rename(self._filled)

    def reset(self) -> None:
        self.restore(self._filled)

    def restore(self, left: Path) -> None:
        """Put back what a run left."""
        shutil.rmtree(self.files, ignore_errors=True)
        shutil.copytree(left, self.files)

    def look(self, query: str) -> list[Sequence[Any]]:
        names = {"table": f"lab.{TABLE}", "freeze": "ext.retention_freeze"}
        with duckdb.connect(str(self._file)) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return list(connection.execute(query.format(**names)).fetchall())

    def repository(self) -> Counter[str]:
        return Counter(str(path.relative_to(self._archive)) for path in self._archive.rglob("*"))
