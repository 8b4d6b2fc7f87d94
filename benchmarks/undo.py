"""
Deleting partitions so that they are recoverable, and bringing them back, beside the one statement that deletes them for
good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.archiving import TABLE, Bench, bench
from benchmarks.line import Line
from benchmarks.rows import ARCHIVED, LIMIT, three_months
from benchmarks.surroundings import Surroundings
from benchmarks.timing import by_turns, seconds

WEEK = {"strategy": "delete", "recoverable": "7d"}
DELETED, UNDONE, BY_HAND = "deleted", "undone", "by hand"
PARTITIONS, ROWS = 3, 100_000


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Delete and undo, on DuckDB and on CrateDB."""
    copies = three_months(surroundings, **WEEK)
    hand = copies.by_hand(f"DELETE FROM metrics WHERE ts < {LIMIT}")
    ways = {DELETED: copies.ours, UNDONE: copies.undone, BY_HAND: hand}
    yield from _lines(by_turns(surroundings.repeat(3), ways), ARCHIVED, "DuckDB")
    with bench(surroundings.server, PARTITIONS, ROWS, **WEEK) as found:
        crate = _OnCrateDB(found)
        ways = {DELETED: crate.deleted, UNDONE: crate.undone, BY_HAND: crate.by_hand}
        yield from _lines(by_turns(surroundings.repeat(3), ways), PARTITIONS * ROWS, "CrateDB")


def _lines(taken: Mapping[str, float], rows: int, product: str) -> Iterator[Line]:
    of = f"{rows:,} rows in {PARTITIONS} partitions"
    yield Line(what=f"delete {of} recoverably, {product}", ours=taken[DELETED], best=taken[BY_HAND])
    yield Line(what=f"undo that of {of}, beside the DELETE, {product}", ours=taken[UNDONE], best=taken[BY_HAND])


class _OnCrateDB:
    """Each way finds the table full, and leaves it empty."""

    def __init__(self, found: Bench) -> None:
        self._bench = found

    def deleted(self) -> float:
        """Delete by a run."""
        self._bench.fill()
        return seconds(self._bench.run)

    def undone(self) -> float:
        """Bring back what a run deleted."""
        self._bench.fill()
        retention, run_id = self._bench.retention, self._bench.run()
        taken = seconds(lambda: retention.undo(run_id))
        for hold in retention.holds():
            retention.release(hold.id)
        self._delete()
        return taken

    def by_hand(self) -> float:
        """Delete by SQL."""
        self._bench.fill()
        return seconds(self._delete)

    def _delete(self) -> None:
        self._bench.server.sql(f"DELETE FROM {TABLE} WHERE day IS NOT NULL")
