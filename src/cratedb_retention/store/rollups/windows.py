"""
The ledger of windows. Consecutive windows that were computed or sealed together are one row, a range; the column
``members`` has what each of them was computed from, or only how long they are if their own rows have expired as well.

The row of a range is that of its first window. To make a range, that row is extended, and then the others are removed;
to divide one, the others are added, and then that row is shortened. Windows that are sealed together become a range in
the same way. Whatever is killed in between leaves windows within a range, which are ignored: the range says the same of
them, or that they are sealed as well. Before some windows of a range change, it is divided.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.database import Database
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.rollups.ledger import (
    Expired,
    LedgerRow,
    Sized,
    Windows,
    choose_ranges,
    choose_stretches,
    make_range,
    without_inner,
)
from cratedb_retention.model.rollups.rollup import Count, Rollup, Window
from cratedb_retention.model.time import TimeRange, find_zone
from cratedb_retention.store.rows import LISTED, Records, is_named, name_values, same, text_values

# Beside the change token, what is stored of a window in a range, approximately: its end and its numbers.
_NUMBERS = 30
# How ``members`` begins if it has only the length of windows.
_BARE = "{"
# Levels in one statement.
_AT_ONCE = 1000
Row = Mapping[str, Any]


class WindowStore(Records):
    """Stores what windows were computed from."""

    def windows(self, table: TableName, starts: Iterable[int]) -> dict[int, LedgerRow]:
        """Some windows of a level, by start."""
        wanted = set(starts)
        found = self._near(table, sorted(wanted))
        each = (window for row in found.stored for window in found.members(row))
        return {window.start: window for window in each if window.start in wanted}

    def _near(self, table: TableName, starts: Sequence[int]) -> Windows:
        """The windows of a level with these starts, and the ranges that may contain some of them."""
        if not starts:
            return Windows()
        self._visible()
        c = self._table.c
        near = sa.and_(c.start <= max(starts), c.end > min(starts))
        if len(starts) <= LISTED:
            near = sa.or_(c.start.in_(starts), sa.and_(c.windows.is_not(None), near))
        return _stored(self._database, self._table, table, near)

    def record(
        self,
        rollup: Rollup,
        results: Mapping[Window, Count],
        tokens: Mapping[int, str],
        parts: Mapping[int, str],
        run_id: str,
    ) -> None:
        """
        Record that windows were computed, open ones up to their present end; consecutive ones become ranges. If it is
        killed, windows that are not recorded are computed again. A window without source rows is recorded only if it is
        known already.

        :param tokens: The change tokens that were read before, by the window's start. A window that was written to only
            afterwards has none, and gets a token that never matches.
        :param parts: Likewise, of the parts of open windows.
        """
        found = self._near(rollup.table, [window.start for window in results])
        before = [window.start for window in results if window.start in found]
        computed = sorted(
            LedgerRow(
                start=window.start,
                end=window.end,
                until=window.until,
                whole=window.whole,
                below=rollup.below,
                token=tokens.get(window.start, ""),
                rows=count.rows,
                groups=count.groups,
                sealed=False,
                parts=parts.get(window.start, ""),
            )
            for window, count in results.items()
            if window.start in tokens or window.start in found or count.rows
        )
        alike = {
            **name_values(rollup.table),
            **name_values(rollup.below, "beneath"),
            "computed_at": self._clock.now(),
            "run_id": run_id,
        }
        rows = [
            {
                **alike,
                **same(group[0], ("start", "whole")),
                **text_values("parts", group[0].parts or None),
                **range_values(group),
            }
            for group in choose_stretches(computed, _size)
        ]
        if before:
            if any(row.windows > 1 for row in found.stored):
                self._divide(rollup.table, dict.fromkeys(before, 0))
            self._remove(*self._within(rollup.table, before))
        if rows:
            self._database.execute(sa.insert(self._table), rows)

    def seal(self, table: TableName, windows: Iterable[LedgerRow]) -> int:
        """
        Record that the source of windows, as they were just read, is about to be removed (law 4). Consecutive ones
        become ranges. Returns the number of rows that they have now, unless they were sealed before.
        """
        still_open = [row for row in windows if not row.sealed]
        if not still_open:
            return 0
        self._visible()
        now, c, mine = self._clock.now(), self._table.c, is_named(self._table, table)
        groups = list(choose_stretches(still_open, _size))
        together = {row.start: number for number, group in enumerate(groups) for row in group}
        ranges = self._divide(table, together, c.sealed_at.is_(None))
        times = [TimeRange(group[0].start, group[-1].end) for group in groups]
        for group, (start, end) in zip(groups, times, strict=True):
            if len(group) > 1 and (start, end) not in ranges:
                unchanged = (mine, c.start == start, c.end <= end, c.sealed_at.is_(None))
                if self._change(*unchanged, sealed_at=now, **range_values(group)) != 0:
                    self._remove(mine, c.start > start, c.start < end)
        alike = [time for group, time in zip(groups, times, strict=True) if len(group) == 1 or time in ranges]
        if alike:
            ends = c.end.in_([time.end for time in alike])
            self._change(*self._within(table, [t.start for t in alike]), ends, c.sealed_at.is_(None), sealed_at=now)
        return len(groups)

    def expire(self, table: TableName, starts: Iterable[int]) -> None:
        """Record that the source rows of windows were deleted."""
        if starts := list(starts):
            self._visible()
            unmarked = self._table.c.expired_at.is_(None)
            self._divide(table, dict.fromkeys(starts, 0), unmarked)
            self._change(*self._within(table, starts), unmarked, expired_at=self._clock.now())

    def doubt(self, table: TableName, starts: Iterable[int]) -> None:
        """Record that windows are not as they were computed, so that the next run computes them again."""
        starts = list(starts)
        self._visible()
        self._divide(table, {start: start for start in starts})
        self._change(*self._within(table, starts), **text_values("token", ""))

    def rebase(self, rollup: Rollup, before: int) -> None:
        """Seal the windows of a level that begin before an instant (ms, UTC); the others are computed again."""
        c, doubtful = self._table.c, {**text_values("token", ""), **text_values("parts", None)}
        self._visible()
        mine = (is_named(self._table, rollup.table), c.sealed_at.is_(None))
        again = _stored(self._database, self._table, rollup.table, *mine, c.windows.is_not(None), c.end > before)
        self._divide(rollup.table, {start: start for start in again if start >= before}, c.sealed_at.is_(None))
        self._change(*mine, c.start < before, sealed_at=self._clock.now())
        self._change(*mine, c.start >= before, **doubtful, **name_values(rollup.below, "beneath"))

    def pack(self, tables: Sequence[TableName], expired: Mapping[TableName, Expired] | None = None) -> None:
        """Make ranges of the sealed windows of levels, and forget what expired windows were computed from."""
        if tables:
            self._visible()
        for table in tables:
            pack(self._database, self._table, table, (expired or {}).get(table))

    def _within(self, table: TableName, starts: Iterable[int]) -> list[sa.ColumnElement[bool]]:
        return [is_named(self._table, table), self._table.c.start.in_(list(starts))]

    def _divide(
        self, table: TableName, together: Mapping[int, int], *where: sa.ColumnElement[bool]
    ) -> set[tuple[int, int]]:
        """
        Divide ranges, since some of their windows are about to change: each range then has only windows with the same
        number, or only other ones.

        :param together: A number for each window that changes, by its start.
        :return: The start and the end of the ranges that these windows are in afterwards.
        """
        ranges = set[tuple[int, int]]()
        if not together:
            return ranges
        c, mine, starts = self._table.c, is_named(self._table, table), sorted(together)
        near = (c.windows.is_not(None), c.start <= max(together), c.end > min(together), *where)
        found = _stored(self._database, self._table, table, *near)
        for row in found.stored:
            own = starts[bisect_left(starts, row.start) : bisect_left(starts, row.end)]
            if len(own) == row.windows and len({together[start] for start in own}) == 1:
                ranges.add((row.start, row.end))
                continue
            numbered = groupby(found.members(row), lambda window: together.get(window.start))
            parts = [list(windows) for _, windows in numbered]
            ranges.update((part[0].start, part[-1].end) for part in parts if len(part) > 1)
            if len(parts) > 1:
                self._remove(mine, c.start > row.start, c.start < row.end)
                (kept,) = self._read(mine, c.start == row.start, refresh=False)
                self._add(*({**kept, "start": part[0].start, **range_values(part)} for part in parts[1:]))
                self._change(mine, c.start == row.start, **range_values(parts[0]))
                self._visible()
        return ranges


def _size(row: LedgerRow) -> int:
    """The size of what is stored of a window in a range."""
    return len(row.token) + _NUMBERS


def pack(database: Database, own: sa.Table, table: TableName, expired: Expired | None = None) -> None:
    """Make ranges of the sealed windows of a level. Written rows must be visible; also used to migrate the ledger."""
    c = own.c
    bare = c.members.like(f"{_BARE}%").label("bare")
    size = sa.func.length(sa.func.coalesce(c.members, c.token_long, c.token)) + _NUMBERS
    mine = is_named(own, table)
    query = sa.select(*_columns(own), size.label("size"), bare).where(mine)
    rows = {row["start"]: row for row in database.query(query)}
    stored = Windows(map(_row, rows.values())).stored
    left = rows.keys() - {row.start for row in stored}
    if left:  # Windows within a range, of a killed run.
        database.execute(sa.delete(own).where(mine, c.start.in_(sorted(left))))
    for group, forgotten in _choose((row for row in stored if row.sealed), rows, expired):
        first, last = group[0], group[-1]
        # Another run may have changed the ranges if this one lost its lease.
        unchanged = (mine, c.start == first.start, c.end == first.end, c.sealed_at.is_not(None))
        between = sa.and_(c.start >= first.start, c.start < last.end)
        windows = _stored(database, own, table, between, c.sealed_at.is_not(None))
        if [row.time for row in windows.stored] != [row.time for row in group]:
            continue
        values = range_values(list(windows.values())) if forgotten is None else _bare_values(group, forgotten)
        if database.execute(sa.update(own).where(*unchanged).values(**values)) != 0:
            database.execute(sa.delete(own).where(mine, c.start > first.start, c.start < last.end))


def _choose(
    stored: Iterable[LedgerRow], rows: Mapping[int, Row], expired: Expired | None
) -> Iterator[tuple[list[LedgerRow], Expired | None]]:
    """Rows that become one range each, and whether their windows are forgotten."""
    for goes, some in groupby(stored, lambda row: bool(rows[row.start]["bare"] or (expired and expired.has(row)))):
        if goes and expired:
            for group in choose_stretches(some):
                if len(group) > 1 or (group[0].windows > 1 and not rows[group[0].start]["bare"]):
                    yield group, expired
        elif not goes:
            yield from ((group, None) for group in choose_ranges(Sized(row, rows[row.start]["size"]) for row in some))


def read_windows(
    database: Database, own: sa.Table, tables: Sequence[TableName] | None
) -> Iterator[tuple[TableName, Windows]]:
    """The windows of levels (None: of all); those of sealed ranges are read when they are asked for."""
    by_level: dict[TableName, list[LedgerRow]] = defaultdict(list)
    opened: dict[tuple[TableName, int], list[LedgerRow]] = {}
    names = _Names()
    for some in [sa.true()] if tables is None else _are_named(own, tables):
        ranges = False  # Whether some are not sealed.
        for schema, name, start, end, until, whole, of, below, *others in database.rows(
            sa.select(own.c.table_schema, own.c.table_name, *_columns(own)).where(some)
        ):
            row = LedgerRow(start, end, until, whole, names[of, below], *others)
            by_level[names[schema, name]].append(row)
            ranges |= row.windows > 1 and not row.sealed
        opened.update(_read_open(database, own, some) if ranges else ())
    for table, rows in by_level.items():
        found = without_inner(rows) if opened else rows
        windows = (window for row in found for window in _unfold(row, opened.get((table, row.start), ())))
        yield table, Windows(windows, partial(_read_range, database, own, table))


def _read_open(
    database: Database, own: sa.Table, some: sa.ColumnElement[bool]
) -> Iterator[tuple[tuple[TableName, int], list[LedgerRow]]]:
    """The windows of ranges that are not sealed, by their level and start."""
    c = own.c
    query = sa.select(c.table_schema, c.table_name, *_columns(own), c.members)
    for row in database.query(query.where(some, c.windows.is_not(None), c.sealed_at.is_(None))):
        yield (TableName(row["table_schema"], row["table_name"]), row["start"]), list(_members(row))


def _unfold(row: LedgerRow, windows: Sequence[LedgerRow]) -> Sequence[LedgerRow]:
    """The windows of a row, unless these are not all of them, since it was changed meanwhile."""
    return windows if windows and windows[-1].end == row.end else (row,)


class _Names(dict[tuple[str, str], TableName]):
    """Names of tables, each made once."""

    def __missing__(self, key: tuple[str, str]) -> TableName:
        found = self[key] = TableName(*key)
        return found


def _are_named(own: sa.Table, tables: Iterable[TableName]) -> Iterator[sa.ColumnElement[bool]]:
    for schema, same_schema in groupby(sorted(tables), lambda table: table.schema):
        names = [table.name for table in same_schema]
        for start in range(0, len(names), _AT_ONCE):
            yield sa.and_(own.c.table_schema == schema, own.c.table_name.in_(names[start : start + _AT_ONCE]))


def _read_range(database: Database, own: sa.Table, table: TableName, row: LedgerRow) -> Iterable[LedgerRow]:
    """The windows in the time of a range, however they are stored by now."""
    overlapping = sa.and_(own.c.start < row.end, own.c.end > row.start)
    windows = _stored(database, own, table, overlapping)
    return (window for window in windows.values() if row.start <= window.start < row.end)


def _stored(database: Database, own: sa.Table, table: TableName, *where: sa.ColumnElement[bool]) -> Windows:
    """Windows of a level, with those of ranges."""
    query = sa.select(*_columns(own), own.c.members).where(is_named(own, table), *where)
    rows = {row["start"]: row for row in database.query(query)}
    return Windows(map(_row, rows.values()), lambda row: _members(rows[row.start]))


def _columns(own: sa.Table) -> Iterator[sa.ColumnElement[Any]]:
    """What plans need of a window, in the order of a :class:`LedgerRow`."""
    c = own.c
    yield from (c.start, c.end, c.until, c.whole, c.beneath_schema, c.beneath_name)
    yield sa.func.coalesce(c.token_long, c.token).label("token")
    yield sa.func.coalesce(c.rows, 0).label("rows")
    yield sa.func.coalesce(c.groups, 0).label("groups")
    yield c.sealed_at.is_not(None).label("sealed")
    yield c.expired_at.is_not(None).label("expired")
    yield sa.func.coalesce(c.parts_long, c.parts, "").label("parts")
    yield sa.func.coalesce(c.windows, 1).label("windows")


def range_values(windows: Sequence[LedgerRow]) -> dict[str, Any]:
    """The columns that distinguish the row of a range from those of its windows; likewise of a single window."""
    row = make_range(windows)
    members = [[window.end, window.token, window.rows, window.groups] for window in windows]
    return {
        **same(row, ("end", "until", "rows", "groups")),
        **text_values("token", row.token),
        "windows": row.windows if len(windows) > 1 else None,
        "members": json.dumps(members, separators=(",", ":")) if len(windows) > 1 else None,
    }


def _bare_values(rows: Sequence[LedgerRow], expired: Expired) -> dict[str, Any]:
    """Likewise, if what the windows were computed from is forgotten."""
    row, length = make_range(rows), expired.interval
    members = {"seconds": length.seconds, "unit": length.unit, "zone": expired.zone}
    about = same(row, ("end", "until", "rows", "groups", "windows"))
    return {**about, **text_values("token", ""), "members": json.dumps(members, separators=(",", ":"))}


def _members(row: Row) -> Iterator[LedgerRow]:
    found = _row(row)
    if row["members"] is None:
        yield found
        return
    start, known = found.start, json.loads(row["members"])
    whole, below, sealed, expired = found.whole, found.below, found.sealed, found.expired
    for end, token, rows, groups in _each(found, **known) if isinstance(known, dict) else known:
        yield LedgerRow(start, end, end, whole, below, token, rows, groups, sealed, expired)
        start = end


def _each(row: LedgerRow, seconds: int, unit: str, zone: str) -> Iterator[tuple[int, str, int, int]]:
    """The windows of a range of which nothing but their length is known."""
    end, length, tzinfo = row.start, Interval(seconds, unit), find_zone(zone)
    while end < row.end:
        end = length.end(end, tzinfo)
        yield end, "", 0, 0


def _row(row: Row) -> LedgerRow:
    own = {name: row[name] for name in LedgerRow._fields if name != "below"}
    return LedgerRow(**own, below=TableName(row["beneath_schema"], row["beneath_name"]))
