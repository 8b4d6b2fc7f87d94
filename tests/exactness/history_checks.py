"""
Checks a downsampled table against all rows that were ever written: which of them each level must be made of, and
whether it holds what the oracle computes from them. Sums may differ by the rounding of doubles.

A change reaches a level if, when it was made, no window of the level or of a finer one was sealed over its time (law
4). Everything else that was ever written must be in each level, whatever has expired since (laws 3 and 5).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.rollups.ledger import Ledger, LedgerRow, Windows
from cratedb_retention.model.rollups.rollup import Rollup, level_table
from exactness.histories import DAY, Number, Shape
from support.databases import Database
from support.oracle import Buckets, Key, Row, grouped
from support.rollups import RollupTables

# What each row may add to a counter, by metric and `id`.
Increases = Mapping[tuple[str, int], frozenset[Fraction]]
# A double's unit in the last place, relative; each addition and each merge rounds once.
_ULP = Fraction(1, 2**52)
# The maximum number of possible sums of an increase; beyond that it is not compared.
_MOST_SUMS = 4096


def window_at(windows: Windows, ts: int) -> LedgerRow | None:
    """The window that an instant lies in."""
    return next((row for row in windows.values() if row.start <= ts < row.end), None)


@dataclass
class ExpectedRows:
    """
    Rows by ``id``.

    :param reached: First those that were written, as they are now; then those of each level, finest first.
    :param pending: Changes in buckets of an open window that were computed already, by level and time (ms): they have
        to wait until it is over.
    :param steady: Whether no change came to a time before something sealed. If one did, a counter's next value may be
        in a window that is never computed again.
    """

    reached: list[dict[int, Row]]
    pending: set[tuple[int, int]] = field(default_factory=set)
    steady: bool = True

    def change(self, before: Row, after: Row | None, windows: Sequence[Windows]) -> None:
        """
        Note that a row was written, changed, or (None) deleted.

        :param windows: Those of each level as they are now, finest first.
        """
        self.steady &= not any(row.sealed and row.end > before["ts"] for row in windows[0].values())
        for level in range(len(self.reached)):
            window = window_at(windows[level - 1], before["ts"]) if level else None
            if window is not None and window.sealed:
                return
            if window is not None and not window.whole and before["ts"] < window.until:
                self.pending.add((level, before["ts"]))
            if after is None:
                self.reached[level].pop(before["id"], None)
            else:
                self.reached[level][before["id"]] = after

    def waiting(self, level: int, windows: Sequence[Windows]) -> Iterator[int]:
        """The instants of changes that a level does not show yet, and rightly."""
        for changed, ts in self.pending:
            window = window_at(windows[changed - 1], ts)
            if changed <= level and window is not None and not window.whole:
                yield ts

    def within(self, level: int, window: LedgerRow) -> list[Row]:
        """The rows that a window must be made of."""
        return [row for row in self.reached[level].values() if window.start <= row["ts"] < window.end]

    @property
    def late(self) -> set[int]:
        """The rows that came too late for any level."""
        return self.reached[0].keys() - self.reached[1].keys()


@dataclass(kw_only=True)
class HistoryChecker:
    """
    Checks a table and its levels.

    :param name: The table with the raw rows.
    """

    db: Database
    shape: Shape
    name: str
    expected: ExpectedRows

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
        assert not counts.keys() - self.expected.reached[0].keys()
        assert set(counts.values()) <= {1}
        for number in self.expected.reached[0].keys() - counts.keys():
            row = self.expected.reached[0][number]
            assert self.is_expired(row["ts"], 0, now), ("a young row is lost", row)
            if self.shape.late == "keep":
                assert number not in self.expected.late, ("a late row is lost", row)

    def check_sealed(self, now: int) -> None:
        """Whenever one looks, a sealed window was complete and expired, and was made of the rows that it should."""
        ledger = self.ledger()
        for level, windows in zip(self._levels, self.windows(ledger), strict=True):
            sealed = [window for window in windows.values() if window.sealed]
            for window in sealed:
                assert window.whole
                assert self.is_expired(window.start, level - 1, now), ("sealed too early", level, window)
            for row in self._counted(windows):
                assert not row.sealed or row.rows == len(self.expected.within(level, row)), (level, row)
            buckets = {
                bucket for window in sealed for bucket in self._buckets(level, self.expected.within(level, window))
            }
            wrong = list(self._wrong(level, ledger, now, buckets)) if buckets else []
            assert not wrong, (self.shape.levels[level - 1], wrong)

    def check(self, now: int) -> None:
        """After a run that went well, each level holds everything that is complete, and nothing else."""
        ledger = self.ledger()
        for level, windows in zip(self._levels, self.windows(ledger), strict=True):
            wrong = list(self._wrong(level, ledger, now))
            assert not wrong, (self.shape.levels[level - 1], wrong)
            waiting = set(self.expected.waiting(level, self.windows(ledger)))
            for row in self._counted(windows):
                if row.whole and not any(row.start <= ts < row.end for ts in waiting):
                    assert row.rows == len(self.expected.within(level, row)), (level, row)

    def _counted(self, windows: Windows) -> Iterator[LedgerRow]:
        """Windows with the number of their rows; of those whose own numbers are forgotten, the range."""
        for row in windows.stored:
            members = list(windows.members(row))
            yield from members if any(window.rows for window in members) else [row]

    def check_view(self) -> None:
        """The view shows each row once; of those that came too late for a level it need not show all."""
        first, *others = self.expected.reached
        if all(other == first for other in others):
            assert self._sum(f"{self.name}_all") == len(first)

    def total(self, level: int) -> int:
        """How many raw rows a level says that it was made of."""
        table = self.table(level)
        self.db.refresh(table.name)
        return self._sum(table.name)

    def _sum(self, name: str) -> int:
        return int(self.db.rows(f"SELECT coalesce(sum(row_count), 0) FROM {self.db.q(name)}")[0][0])

    def is_expired(self, ts: int, table: int, now: int) -> bool:
        """Whether an instant is so old that a table, the raw one first, no longer keeps it."""
        days = self.shape.days_kept[table]
        return days is not None and ts < now - days * DAY

    def _buckets(self, level: int, rows: Sequence[Row]) -> set[int]:
        cut = Buckets(self.shape.levels[level - 1][0], self.shape.zone)
        return {cut(row["ts"])[0] for row in rows}

    def _wrong(self, level: int, ledger: Ledger, now: int, only: set[int] | None = None) -> Iterator[object]:
        """What is wrong with a level, or with some of its buckets."""
        cut = Buckets(self.shape.levels[level - 1][0], self.shape.zone)
        dimensions = [f"d{i}" for i in range(len(self.shape.dimensions))]
        complete = [row for row in self.expected.reached[level].values() if cut(row["ts"])[1] <= now]
        wanted, windows = grouped(complete, cut, dimensions), self.windows(ledger)
        known = ledger.rollups.get(self.table(level))
        if known is None:
            yield from wanted
            return
        found = self._found(level, dimensions)
        waiting = {cut(ts)[0] for ts in self.expected.waiting(level, windows)}
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

    def levels(self) -> list[list[tuple[Any, ...]]]:
        """What each level has; of which computation each row is does not matter."""
        read = RollupTables(db=self.db, engine=self.db.tool.engine, name=self.name).read
        tables = [self.table(level) for level in self._levels if self.db.exists(self.table(level).name)]
        own = {"rollup_version"}
        return [
            sorted(tuple(repr(row[key]) for key in sorted(row.keys() - own)) for row in read(table)) for table in tables
        ]

    def _found(self, level: int, dimensions: Sequence[str]) -> dict[Key, Row]:
        rows = RollupTables(db=self.db, engine=self.db.tool.engine, name=self.name).read(self.table(level))
        found = {(row["ts"], *(row[name] for name in dimensions)): row for row in rows}
        assert len(found) == len(rows), "a group is there twice"
        return found

    def _increases(self, ledger: Ledger) -> Increases:
        finest = ledger.rollups[self.table(1)].rollup
        if not self.expected.steady or finest.window is None:
            return {}
        dimensions = [f"d{i}" for i in range(len(self.shape.dimensions))]
        buckets = Buckets(self.shape.levels[0][0], self.shape.zone)
        windows = Buckets(str(finest.window), finest.window_zone)
        return increases_of(self.expected.reached[1].values(), dimensions, self.shape.numbers, buckets, windows)

    def _may_be_gone(self, key: Key, rollup: Rollup, level: int, now: int) -> bool:
        """Whether the partition of a level that a bucket lies in is expired."""
        if rollup.partition is None:
            return False
        _, end = Buckets(str(rollup.partition), rollup.zone)(key[0])
        return self.is_expired(end - 1, level, now)


# What may differ


def differences(found: Row, rows: Sequence[Row], numbers: Iterable[Number], increases: Increases) -> list[str]:
    """
    How a row of a level differs from what it was made of, in words; none if it is right.

    :param found: The row, by column.
    :param rows: All raw rows of its bucket and its dimensions.
    :param increases: What each raw row may have added to a counter, by metric and ``id``; empty: not looked at.
    """
    wrong = [] if found["row_count"] == len(rows) else [f"row_count {found['row_count']}, not {len(rows)}"]
    for number in numbers:
        values = [(row["ts"], row[number.name]) for row in rows if _is_finite(row[number.name])]
        checks = _checks(number, values)
        if number.counter and increases:
            checks["increase"] = _increase([increases.get((number.name, row["id"])) for row in rows])
        for name, is_right in checks.items():
            value = found[f"{number.name}_{name}"]
            if not is_right(value):
                wrong.append(f"{number.name}_{name} is {value!r}, of {values}")
    return wrong


def _checks(number: Number, values: Sequence[tuple[int, Any]]) -> dict[str, Callable[[Any], bool]]:
    plain = [value for _, value in values]
    first = [value for ts, value in values if ts == min(ts for ts, _ in values)]
    last = [value for ts, value in values if ts == max(ts for ts, _ in values)]
    checks = {"count": lambda value: value == len(values), "first": _one_of(first), "last": _one_of(last)}
    if number.counter:
        return checks
    checks |= {name: _one_of([choose(plain)] if plain else []) for name, choose in (("min", min), ("max", max))}
    return checks | {"sum": _near(plain, 1), "avg": _near(plain, len(plain) or 1)}


def _one_of(values: Sequence[Any]) -> Callable[[Any], bool]:
    """Of several values at the same instant any may count as the first or the last one."""
    return lambda found: any(found == value for value in values or [None])


def _near(values: Sequence[Any], divisor: int) -> Callable[[Any], bool]:
    """A sum of doubles is right to within the rounding of each of its additions."""
    if not values:
        return lambda found: found is None
    exact = [Fraction(value) for value in values]
    slack = (len(exact) + 4) * _ULP * sum(map(abs, exact))
    return lambda found: _is_finite(found) and abs(Fraction(found) * divisor - sum(exact)) <= slack


def _increase(parts: Sequence[frozenset[Fraction] | None]) -> Callable[[Any], bool]:
    known = [part for part in parts if part is not None]
    if not known:
        return lambda found: found is None
    sums = {Fraction(0)}
    for part in known:
        sums = {one + other for one in sums for other in part}
        if len(sums) > _MOST_SUMS:
            return lambda found: True
    return lambda found: _is_finite(found) and any(abs(Fraction(found) - one) <= 64 * _ULP * abs(one) for one in sums)


def _is_finite(value: Any) -> bool:
    """NULL, NaN and infinity are no values."""
    return isinstance(value, int | float) and math.isfinite(value)


# Counters


def increases_of(
    rows: Iterable[Row], dimensions: Sequence[str], numbers: Iterable[Number], buckets: Buckets, windows: Buckets
) -> Increases:
    """
    What each row may add to a counter: the difference to the value before of its series.

    That is looked for as far back as a window is long, and further where windows are computed together; so beyond that
    a row may also start at zero and add nothing. Of several values at the instant before any may count as the last.

    :return: By metric and ``id``.
    """
    found: dict[tuple[str, int], frozenset[Fraction]] = {}
    series: dict[Key, list[Row]] = defaultdict(list)
    counters = [number.name for number in numbers if number.counter]
    for row in rows:
        for name in counters:
            if _is_finite(row[name]):
                series[name, *(row[dimension] for dimension in dimensions)].append(row)
    for (name, *_), own in series.items():
        own.sort(key=lambda row: (row["ts"], row[name]))
        found[name, own[0]["id"]] = frozenset([Fraction(0)])
        for before, row in pairwise(own):
            found[name, row["id"]] = _steps(name, own, before, row, buckets, windows)
    return found


def _steps(
    name: str, own: Sequence[Row], before: Row, row: Row, buckets: Buckets, windows: Buckets
) -> frozenset[Fraction]:
    start, end = windows(row["ts"])
    if before["ts"] >= start:
        return frozenset([_step(before[name], row[name])])
    steps = {_step(other[name], row[name]) for other in own if other["ts"] == before["ts"]}
    return frozenset(steps if buckets(before["ts"])[0] >= start - (end - start) else {*steps, Fraction(0)})


def _step(before: int, value: int) -> Fraction:
    return Fraction(value - before if value >= before else value)
