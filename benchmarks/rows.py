"""
DuckDB: deleting rows, and archiving partitions, beside the statements that one would write by hand.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.embedded import new_file
from benchmarks.line import Line
from benchmarks.policies import statements, store_policies
from benchmarks.surroundings import Surroundings
from benchmarks.timing import by_turns, seconds
from cratedb_retention import Retention

TABLE, ARCHIVED = 20_000_000, 5_000_000
OURS, BY_HAND = "ours", "by hand"
LIMIT = "TIMESTAMPTZ '2020-04-01 00:00:00+00'"


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Delete and archive."""
    yield _deleting(surroundings)
    yield _deleting_rolled_up(surroundings)
    yield _archiving(surroundings)


class Copies:
    """A file as it was before, for each repetition anew."""

    def __init__(self, uri: str, expected: int) -> None:
        self.original = Path(uri.removeprefix("duckdb:///"))
        self.copy = self.original.with_name("copy.duckdb")
        self.archive = self.original.with_name("archive")
        self.expected = expected
        self.statements = 0

    def refresh(self) -> None:
        """Start anew."""
        shutil.copyfile(self.original, self.copy)
        shutil.rmtree(self.archive, ignore_errors=True)
        self.archive.mkdir()

    def ours(self) -> float:
        """What the toolkit takes, with the file open already."""
        self.refresh()
        with Retention(f"duckdb:///{self.copy}") as retention:
            before = statements(retention)
            taken = seconds(retention.run)
            self.statements = statements(retention) - before
        return self._checked(taken)

    def undone(self) -> float:
        """What it takes to bring back what a run deleted."""
        self.refresh()
        with Retention(f"duckdb:///{self.copy}") as retention:
            report = retention.run()
            taken = seconds(lambda: retention.undo(report.run_id))
        return self._checked(taken, report.rows)

    def by_hand(self, *by_hand: str) -> Callable[[], float]:
        """What statements take, with the file open already."""

        def work() -> float:
            self.refresh()
            with duckdb.connect(str(self.copy)) as connection:
                connection.execute("SET TimeZone = 'UTC'")
                taken = seconds(lambda: [connection.execute(statement) for statement in by_hand])
            return self._checked(taken)

        return work

    def _checked(self, taken: float, more: int = 0) -> float:
        with duckdb.connect(str(self.copy)) as connection:
            left = connection.execute("SELECT count(*) FROM metrics").fetchone()
        if left != (self.expected + more,):
            raise RuntimeError(f"{left} rows are left instead of {self.expected + more}")
        return taken


def _store(uri: str, **policy: Any) -> None:
    with Retention(uri) as retention:
        store_policies(retention, [{"table_name": "metrics", **policy}])


def _rows(count: int, until: str) -> str:
    """Rows evenly from 2020 on; those that lie before the limit are expired, as is what is older than some years."""
    step = f"(epoch_us({until}) - epoch_us(TIMESTAMPTZ '2020-01-01 00:00:00+00')) // {count}"
    return (
        "INSERT INTO metrics (ts, sensor, value) SELECT TIMESTAMPTZ '2020-01-01 00:00:00+00'"
        f" + to_microseconds(i * ({step})), i % 1000, random() FROM range({count}) r(i)"
    )


def _half_expired(surroundings: Surroundings) -> str:
    """A file whose other half of rows is of the future, so that it stays whenever this is run."""
    return new_file(
        surroundings.directory(),
        (
            "CREATE TABLE metrics (ts TIMESTAMPTZ, sensor BIGINT, value DOUBLE)",
            _rows(TABLE // 2, LIMIT),
            "INSERT INTO metrics SELECT ts + to_years(100), sensor, value FROM metrics",
        ),
    )


def _deleting(surroundings: Surroundings) -> Line:
    uri = _half_expired(surroundings)
    _store(uri, strategy="delete", retention_period="30d", time_column="ts")
    return _delete(surroundings, uri, "", "counts first, then deletes in batches, oldest first")


def _deleting_rolled_up(surroundings: Surroundings) -> Line:
    uri = _half_expired(surroundings)
    cascade = {"strategy": "downsample", "levels": "1d:forever", "dimensions": ["sensor"], "time_column": "ts"}
    _store(uri, retention_period="forever", **cascade)
    with Retention(uri) as retention:
        retention.run()
    _store(uri, retention_period="30d", **cascade)
    note = "compares each window with its rollup, seals it, counts, and deletes month by month"
    return _delete(surroundings, uri, " that were rolled up", note)


def _delete(surroundings: Surroundings, uri: str, which: str, note: str) -> Line:
    copies = Copies(uri, TABLE // 2)
    hand = copies.by_hand(f"DELETE FROM metrics WHERE ts < {LIMIT}")
    taken = by_turns(surroundings.repeat(3), {OURS: copies.ours, BY_HAND: hand})
    what = f"delete 10 of 20 million rows{which}, DuckDB"
    return Line(what=what, ours=taken[OURS], best=taken[BY_HAND], statements=copies.statements, note=note)


def three_months(surroundings: Surroundings, **policy: Any) -> Copies:
    """A table with three partitions, all of which a policy archives."""
    month = "month TIMESTAMPTZ GENERATED ALWAYS AS (date_trunc('month', ts))"
    uri = new_file(
        surroundings.directory(),
        (f"CREATE TABLE metrics (ts TIMESTAMPTZ, sensor BIGINT, value DOUBLE, {month})", _rows(ARCHIVED, LIMIT)),
    )
    copies = Copies(uri, 0)
    _store(uri, retention_period="30d", target_repository_name=str(copies.archive), **policy)
    return copies


def _archiving(surroundings: Surroundings) -> Line:
    copies = three_months(surroundings, strategy="snapshot")
    by_hand = []
    for start in ("2020-01-01", "2020-02-01", "2020-03-01"):
        where = f"FROM metrics WHERE month = TIMESTAMPTZ '{start} 00:00:00+00'"
        target = f"'{copies.archive}/{start}.parquet' (FORMAT parquet, COMPRESSION zstd)"
        by_hand += [f"COPY (SELECT ts, sensor, value {where}) TO {target}", f"DELETE {where}"]
    taken = by_turns(surroundings.repeat(3), {OURS: copies.ours, BY_HAND: copies.by_hand(*by_hand)})
    note = "also fingerprints the rows, reads the files back and compares before it deletes"
    return Line(
        what="archive 5 million rows in 3 partitions, DuckDB",
        ours=taken[OURS],
        best=taken[BY_HAND],
        statements=copies.statements,
        note=note,
    )
