"""
Compares a table and its levels with what is remembered of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from cratedb_retention.model.cascade import parse_interval
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.ledger import Ledger
from cratedb_retention.model.rollup import Rollup, level_table
from support.databases import Database
from support.histories import DAY, Shape
from support.oracle import Buckets, Key, differences, grouped, increases_of
from support.remembered import Remembered, Windows, window_at
from support.rollups import Lab, Row

Increases = Mapping[tuple[str, int], frozenset[Fraction]]


@dataclass
class Inspector:
    """
    Looks at a table and its levels.

    :param name: The table with the raw rows.
    """

    db: Database
    shape: Shape
    name: str
    memory: Remembered

    def ledger(self) -> Ledger:
        """What the toolkit noted."""
        rollups = self.db.tool.store.rollups
        return rollups.ledger(rollups.all())

    def windows(self, ledger: Ledger) -> list[Windows]:
        """The windows of each level, finest first."""
        return [ledger.of(self.table(level)) for level in self._levels]

    def table(self, level: int) -> TableName:
        """A level's table; the finest has number 1."""
        return level_table(self.db.table(self.name), parse_interval(self.shape.levels[level - 1][0]))

    def raw(self) -> list[int]:
        """The raw rows that are there."""
        self.db.refresh(self.name)
        return [int(row[0]) for row in self.db.rows(f"SELECT id FROM {self.db.q(self.name)}")]

    @property
    def _levels(self) -> range:
        return range(1, len(self.shape.levels) + 1)

    def check_raw(self, now: int) -> None:
        """
        Each raw row that is young is there, once; each that is gone was rolled up, or was dropped for being late.

        :param now: The cutoff of the last run (ms, UTC).
        """
        counts = Counter(self.raw())
        assert not counts.keys() - self.memory.reached[0].keys()
        assert set(counts.values()) <= {1}
        for number in self.memory.reached[0].keys() - counts.keys():
            row = self.memory.reached[0][number]
            assert self._is_expired(row["ts"], 0, now), ("a young row is lost", row)
            if self.shape.late == "keep":
                assert number not in self.memory.late, ("a late row is lost", row)

    def check_sealed(self, now: int) -> None:
        """Whenever one looks, a sealed window was complete and expired, and was made of the rows that it should."""
        ledger = self.ledger()
        for level, windows in zip(self._levels, self.windows(ledger), strict=True):
            rows = {window.start: self.memory.within(level, window) for window in windows.values() if window.sealed}
            for start, mine in rows.items():
                window = windows[start]
                assert window.whole
                assert self._is_expired(start, level - 1, now), ("sealed too early", level, window)
                assert window.rows == len(mine), (level, window, mine)
            buckets = {bucket for mine in rows.values() for bucket in self._buckets(level, mine)}
            wrong = list(self._wrong(level, ledger, now, buckets)) if buckets else []
            assert not wrong, (self.shape.levels[level - 1], wrong)

    def check(self, now: int) -> None:
        """After a run that went well, each level holds everything that is complete, and nothing else."""
        ledger = self.ledger()
        for level, windows in zip(self._levels, self.windows(ledger), strict=True):
            wrong = list(self._wrong(level, ledger, now))
            assert not wrong, (self.shape.levels[level - 1], wrong)
            waiting = set(self.memory.waiting(level, self.windows(ledger)))
            for window in windows.values():
                if window.whole and not any(window.start <= ts < window.end for ts in waiting):
                    assert window.rows == len(self.memory.within(level, window)), (level, window)

    def check_view(self) -> None:
        """The view shows each row once; of those that came too late for a level it need not show all."""
        first, *others = self.memory.reached
        if all(other == first for other in others):
            assert self._sum(f"{self.name}_all") == len(first)

    def total(self, level: int) -> int:
        """How many raw rows a level says that it was made of."""
        table = self.table(level)
        self.db.refresh(table.name)
        return self._sum(table.name)

    def _sum(self, name: str) -> int:
        return int(self.db.rows(f"SELECT coalesce(sum(row_count), 0) FROM {self.db.q(name)}")[0][0])

    def _is_expired(self, ts: int, table: int, now: int) -> bool:
        days = self.shape.days_kept[table]
        return days is not None and ts < now - days * DAY

    def _buckets(self, level: int, rows: Sequence[Row]) -> set[int]:
        cut = Buckets(self.shape.levels[level - 1][0], self.shape.zone)
        return {cut(row["ts"])[0] for row in rows}

    def _wrong(self, level: int, ledger: Ledger, now: int, only: set[int] | None = None) -> Iterator[object]:
        """What is wrong with a level, or with some of its buckets."""
        cut = Buckets(self.shape.levels[level - 1][0], self.shape.zone)
        dimensions = [f"d{i}" for i in range(len(self.shape.dimensions))]
        complete = [row for row in self.memory.reached[level].values() if cut(row["ts"])[1] <= now]
        wanted, windows = grouped(complete, cut, dimensions), self.windows(ledger)
        known = ledger.rollups.get(self.table(level))
        if known is None:
            yield from wanted
            return
        found = self._found(level, dimensions)
        waiting = {cut(ts)[0] for ts in self.memory.waiting(level, windows)}
        increases = self._increases(ledger)
        for key in wanted.keys() | found.keys():
            if key[0] in waiting or (only is not None and key[0] not in only):
                continue
            if key not in found:
                if not self._may_be_gone(key, known.rollup, level, now):
                    yield "missing", key, wanted[key]
            elif key not in wanted:
                yield "too much", key, found[key]
            else:
                settled = all((w := window_at(mine, key[0])) is not None and w.whole for mine in windows[:level])
                parts = increases if settled else {}
                what = differences(found[key], wanted[key], self.shape.numbers, parts)
                if what:
                    yield key, what

    def _found(self, level: int, dimensions: Sequence[str]) -> dict[Key, Row]:
        rows = Lab(self.db, self.db.tool.engine, self.name).read(self.table(level))
        found = {(row["ts"], *(row[name] for name in dimensions)): row for row in rows}
        assert len(found) == len(rows), "a group is there twice"
        return found

    def _increases(self, ledger: Ledger) -> Increases:
        finest = ledger.rollups[self.table(1)].rollup
        if not self.memory.steady or finest.window is None:
            return {}
        dimensions = [f"d{i}" for i in range(len(self.shape.dimensions))]
        buckets = Buckets(self.shape.levels[0][0], self.shape.zone)
        windows = Buckets(str(finest.window), finest.window_zone)
        return increases_of(self.memory.reached[1].values(), dimensions, self.shape.numbers, buckets, windows)

    def _may_be_gone(self, key: Key, rollup: Rollup, level: int, now: int) -> bool:
        """Whether the partition of a level that a bucket lies in is expired."""
        if rollup.partition is None:
            return False
        _, end = Buckets(str(rollup.partition), rollup.zone)(key[0])
        return self._is_expired(end - 1, level, now)
