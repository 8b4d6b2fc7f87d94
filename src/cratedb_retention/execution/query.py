"""
Reads a cascade: chooses a table for each time range, lets the database aggregate, merges the parts, and fills empty
buckets. Also: SQL over archives, the tables that a user may read, and values of dimensions.

A row is read from an archive only if it is not in its table: where a partition is in both, the table answers.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from decimal import localcontext
from itertools import pairwise
from typing import TYPE_CHECKING, Any, BinaryIO

from cratedb_retention.engine.archive import ArchivedRows, Unread
from cratedb_retention.engine.base import Engine
from cratedb_retention.engine.query import Key, Partial, read_stretch, read_values
from cratedb_retention.errors import Conflict, InvalidInput, NotFound, RetentionError
from cratedb_retention.execution.accepting import find_table
from cratedb_retention.execution.archive import by_partition, current
from cratedb_retention.model.access import Area, Visibility, area_of, make_area
from cratedb_retention.model.archive import Archived, SnapshotRecord, SnapshotStage
from cratedb_retention.model.catalog import Kind, Selector, TableName, Value
from cratedb_retention.model.policies.patterns import folded
from cratedb_retention.model.query.reading import Cascade, Fetched, FetchRequest, Fill, Reading, Stretch, join_stretches
from cratedb_retention.model.rollups.aggregates import Number, Part, divided
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.rollups.rollup import ROW_COUNT, Rollup, Window, label, level_column
from cratedb_retention.model.time import DAY_MS, EVER, TimeRange, TimeRanges, from_ms, to_ms
from cratedb_retention.model.words import plural
from cratedb_retention.planning.archive import may_be_in_table
from cratedb_retention.planning.query import make_reading
from cratedb_retention.planning.rollups.windows import part_length
from cratedb_retention.store.archive import SnapshotFilter
from cratedb_retention.store.store import Store

if TYPE_CHECKING:
    from cratedb_retention.engine.duckdb.query import ArchivedTable
    from cratedb_retention.model.query.answer import Answer, QueryRequest

# More digits than sums of decimals have in the databases, so that none is rounded.
_DIGITS = 80
_MOST_ROWS = 1_000_000
# Parts into which a time range is divided to find late rows.
_MOST_PARTS = 300
_NOT_ADDING_UP = "request only the time from then on to see them; they do not add up to it, see verify-rollups"


Buckets = dict[Key, Partial]
Values = tuple[Number, ...]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """What a user may read of archives."""

    covers: Callable[[TableName, Mapping[str, Value]], bool]  # rows of a table, those with these values
    limited: bool  # whether other archives must not be noticed, nor the reasons why some cannot be read


@dataclass(frozen=True, kw_only=True)
class Archives:
    """The archives of a table."""

    archived: tuple[Archived, ...] = ()  # with rows that are not in the table
    rows: tuple[ArchivedRows, ...] = ()  # those of these that can be read
    unread: Unread = ()  # the others
    live: int = 0  # the number of snapshots whose partitions are in the table
    again: frozenset[tuple[str, str]] = frozenset()  # by key, those of partitions that were archived more than once

    @property
    def late(self) -> TimeRanges:
        """The time ranges of partitions that were archived more than once, so that there may be late rows."""
        again = (each for each in self.archived if (each.repository, each.name) in self.again)
        return TimeRanges(TimeRange.of(each.start, each.end) for each in again)


FindArchives = Callable[[TimeRange], Archives]


def fetch(
    engine: Engine, cascade: Cascade, request: FetchRequest, now: dt.datetime, find: FindArchives | None = None
) -> Fetched:
    """
    Answer a request from the tables of a cascade: one statement for each stretch, another one for percentiles, and two
    to count rows where a level and raw rows overlap. InvalidInput if the request is invalid.

    :param find: Finds the archives of a time range, which are read where no level answers it as finely.
    """
    with localcontext(prec=_DIGITS), ExitStack() as opened:
        tables, reading = _Tables(engine), make_reading(cascade, request, now)
        lacking, unread = _lacking(reading), tuple[tuple[TimeRange, str], ...]()
        if find is not None and lacking:
            # The increase of a counter depends on its last value before.
            since = lacking[0].start - (DAY_MS if _has_counters(reading) else 0)
            found = find(TimeRange(since, lacking[-1].end))
            with_archives = _with_archives(cascade, found)
            archived, found = _open(engine, with_archives, found, opened)
            if archived is not None:
                cascade, tables = with_archives, _Tables(engine, archived)
                reading = make_reading(cascade, request, now)
            unread = by_reason(found.unread, lacking)
        rests = _read_rests(tables, reading, to_ms(now))
        if rests is None:
            reading, rests = make_reading(cascade, request, now, _NOT_ADDING_UP), {}
        reading = _follow_late_rows(engine, reading)
        plain = [stretch for stretch in reading.stretches if not stretch.less]
        return replace(_answer(reading, rests | _read(tables, reading, plain, to_ms(now))), unread=unread)


def _lacking(reading: Reading) -> TimeRanges:
    """The parts of a range that no level answers in buckets as short as those requested."""
    stretches = (stretch for stretch in reading.stretches if stretch.holding.rollup and not stretch.coarser)
    return TimeRanges([reading.time]) - (stretch.time for stretch in stretches)


@dataclass(frozen=True)
class _Tables:
    """What stretches are read from."""

    engine: Engine
    archived: ArchivedTable | None = None

    def read(self, reading: Reading, stretch: Stretch) -> Iterator[tuple[str, Partial]]:
        """The states of a stretch, with the name of the table; besides archived rows, those that are in the table."""
        given: Sequence[Sequence[Any]] = ()
        if stretch.holding.archived and self.archived is not None:
            yield from ((stretch.holding.name, found) for found in self.archived.read(reading, stretch))
            stretch = replace(stretch, holding=reading.cascade.holdings[0])
        elif stretch.holding.rollup is None and self.archived is not None and _has_counters(reading):
            given = self.archived.read_last(reading, stretch.time.start)
        for found in read_stretch(self.engine.database, self.engine.sql, reading, stretch, given):
            yield stretch.holding.name, found


def _open(
    engine: Engine, cascade: Cascade, found: Archives, opened: ExitStack
) -> tuple[ArchivedTable | None, Archives]:
    """Open the archives of a cascade. If that fails, as without DuckDB, the answer is what its tables have."""
    from cratedb_retention.engine.duckdb.query import ArchiveDatabase, ArchivedTable

    if not found.rows:
        return None, found
    try:
        database = ArchiveDatabase(engine.capabilities.default_schema, found.rows)
        opened.callback(database.close)
        return ArchivedTable(database, cascade, engine.archive.archived_column), found
    except RetentionError as error:
        unread = {(each.repository, each.name): why for each, why in found.unread}
        why_not = [(each, unread.get((each.repository, each.name), error)) for each in found.archived]
        return None, replace(found, rows=(), unread=why_not)


def _with_archives(cascade: Cascade, found: Archives) -> Cascade:
    """
    A cascade with the time ranges of archives. A partition by time has all rows of its range. Others have not, so that
    they count only where raw rows count, or where no level has anything.
    """
    raw, *levels = cascade.holdings
    unread = {(each.repository, each.name) for each, _ in found.unread}
    whole, part = list[TimeRange](), list[TimeRange]()
    for each in found.archived:
        if (each.repository, each.name) not in unread:
            (whole if _is_by_time(each) else part).append(TimeRange.of(each.start, each.end))
    held = TimeRanges(part) - (TimeRange.of(level.start, level.end) for level in levels)
    ranges = TimeRanges(whole) | held | (TimeRanges(part) & [TimeRange.of(raw.start, raw.end)])
    return _with_ranges(cascade, ranges)


def _is_by_time(archived: Archived) -> bool:
    return all(column.kind is Kind.TIME for column in archived.columns)


def _with_ranges(cascade: Cascade, archived: TimeRanges) -> Cascade:
    raw, *levels = cascade.holdings
    ends = (time.ends for time in archived.joined())
    holdings = (replace(raw, start=start, end=end, archived=True) for start, end in ends)
    return replace(cascade, holdings=(raw, *holdings, *levels))


@contextmanager
def opened_sources(
    engine: Engine, cascade: Cascade, found: Archives
) -> Iterator[tuple[Cascade, ArchivedTable | None, Unread]]:
    """
    A cascade with the time ranges of which archives have the rows that its levels were computed from: all of them, and
    no late ones, as there may be in partitions that were archived more than once. Also the archives, opened; None if
    there are none. And those that cannot be read, with the reason.
    """
    with ExitStack() as opened:
        archived, found = _open(engine, cascade, found, opened)
        unread = {(each.repository, each.name) for each, _ in found.unread}
        ranges, others = list[TimeRange](), list[TimeRange]()
        for each in found.archived:
            key = (each.repository, each.name)
            sure = _is_by_time(each) and key not in found.again and key not in unread
            (ranges if sure else others).append(TimeRange.of(each.start, each.end))
        yield _with_ranges(cascade, TimeRanges(ranges) - TimeRanges(others)), archived, found.unread


def by_reason(unread: Unread, within: TimeRanges) -> tuple[tuple[TimeRange, str], ...]:
    """Time ranges of archives that were not read, those with the same reason together."""
    found: dict[str, list[TimeRange]] = {}
    for archived, error in unread:
        found.setdefault(str(error), []).append(TimeRange.of(archived.start, archived.end))
    return tuple(sorted((time, why) for why, times in found.items() for time in (within & times).joined()))


def find_archives(
    engine: Engine, store: Store, table: TableName, time: TimeRange = EVER, reader: Reader | None = None
) -> Archives:
    """
    The archives of a table that overlap a time range, all of whose rows a reader may read. Those whose partitions are
    in the table are left to it: restored ones, and those that are not dropped yet. Rows that arrived after their
    partition was archived are other rows.
    """
    found = choose_archives(engine, store, table, time, reader)
    rows, unread = engine.archive.open_rows(found.archived)
    return replace(found, rows=tuple(rows), unread=[*unread, *found.unread])


def choose_archives(
    engine: Engine, store: Store, table: TableName, time: TimeRange = EVER, reader: Reader | None = None
) -> Archives:
    """Like :func:`find_archives`, without opening any: those to read, and those of another table of this name."""
    groups = _groups(store, table, time)
    again = frozenset(each.key for group in groups if len(group) > 1 for each in group)
    records = _readable(groups, reader)
    if not records:
        return Archives()
    live = _find_live(engine, table, records)
    left = [each for each in records if each.key not in live]
    known = {each.identity for each in left if each.identity}
    present = find_table(engine, table) if known else None
    foreign = known - {present.identity} if present else set[str]()
    mine = tuple(each.archived for each in left if each.identity not in foreign)
    remedy = "if it is the same, confirm that with `cratedb-retention accept-table`"
    another: RetentionError = Conflict(f"table {table}", "is another one than the archived table of its name", remedy)
    theirs = [(each.archived, another) for each in left if each.identity in foreign]
    return Archives(archived=mine, unread=theirs, live=len(live), again=again)


def archived_since(store: Store, table: TableName, reader: Reader | None) -> int | None:
    """When the archived rows of a table begin that a reader may read; None: there are none, or it is unknown."""
    records = _readable(_groups(store, table, EVER), reader)
    return min((each.archived.start for each in records if each.archived.start is not None), default=None)


def _readable(groups: Iterable[Sequence[SnapshotRecord]], reader: Reader | None) -> list[SnapshotRecord]:
    """Snapshots that a reader may read, without those whose rows are in others, or are deleted."""
    records = [each for group in groups for each in current(group) if each.stage is not SnapshotStage.DELETING]
    if reader is not None:
        records = [each for each in records if _may_read(reader, each.archived)]
    return records


def _groups(store: Store, table: TableName, time: TimeRange) -> list[list[SnapshotRecord]]:
    """The snapshots of a table that overlap a time range, by partition."""
    start, end = time.ends
    wanted = SnapshotFilter(
        table_schema=table.schema, table_name=table.name, folds_case=store.folds_case, start=start, end=end
    )

    def is_same(name: TableName) -> bool:
        return name == table or (store.folds_case and folded(name) == folded(table))

    # What a recoverable policy deleted is deleted, although it can be brought back for a while.
    kept = (record for record in store.snapshots.stream(wanted) if record.recoverable_until is None)
    return by_partition(record for record in kept if is_same(record.archived.table))


def _find_live(engine: Engine, table: TableName, records: Iterable[SnapshotRecord]) -> set[tuple[str, str]]:
    """Of some snapshots, those whose partitions may be in their table: only dropped ones are surely not."""
    doubtful = [each.archived for each in records if each.stage is not SnapshotStage.ARCHIVED]
    if not doubtful:
        return set()
    by = doubtful[0].columns[0].name if len(doubtful[0].columns) == 1 else None
    catalog = engine.read_catalog([Selector(schema=table.schema, name=table.name, partition_column=by)])
    return {(each.repository, each.name) for each in doubtful if may_be_in_table(each, catalog)}


def _may_read(reader: Reader, archived: Archived) -> bool:
    values = zip(archived.columns, archived.values, strict=True)
    return reader.covers(archived.table, {column.name: value for column, value in values})


def query_archives(engine: Engine, store: Store, query: str) -> Answer:
    """
    The answer of DuckDB to a SELECT over the archives of all tables, which have their own names there. NotFound: a
    table has none; InvalidInput: the query is invalid.
    """
    from cratedb_retention.engine.duckdb.query import ArchiveDatabase

    rows, notes = find_queried(engine, store, query, None)
    return ArchiveDatabase(engine.capabilities.default_schema, rows).ask(query, notes)


def write_answer(engine: Engine, store: Store, request: QueryRequest, reader: Reader, stream: BinaryIO) -> list[str]:
    """
    Like :func:`query_archives`, for a user who is not trusted with this process: another one writes the answer to a
    file.

    :return: Notes on archives that were not read.
    """
    from cratedb_retention.engine.duckdb.apart import answer

    rows, notes = find_queried(engine, store, request.text, reader)
    answer(request, engine.capabilities.default_schema, rows, stream)
    return notes


def find_queried(
    engine: Engine, store: Store, query: str, reader: Reader | None
) -> tuple[list[ArchivedRows], list[str]]:
    """What a query reads, and notes on what it does not."""
    from cratedb_retention.engine.duckdb.query import ArchiveDatabase

    default = engine.capabilities.default_schema
    with closing(ArchiveDatabase(default)) as empty:
        examined = empty.examine(query)
    named = {folded(table): table for table in (TableName(n.schema or default, n.name) for n in examined.tables)}
    local = {folded(TableName(default, name)) for name in examined.local}
    rows, notes, whole = list[ArchivedRows](), list[str](), set[TableName]()
    for table in sorted(name for name in store.snapshots.tables() if folded(name) in named):
        found = find_archives(engine, store, table, reader=reader)
        rows += found.rows
        if reader is None or reader.covers(table, {}):
            whole.add(folded(table))
            _require_rows(table, found, reader)
        notes += _notes_of(table, found, reader)
    if reader is not None:
        readable = {folded(each.table) for each in rows} | whole
        for key in sorted(named.keys() - local - readable):
            # The same whether or not others have archives, or such a table exists.
            reason = "has no archive of which this token may read all rows"
            remedy = "GET /api/v1/fetch reads also a part of an archive, with `where`"
            raise NotFound(f"table {named[key]}", reason, remedy)
    return rows, notes


def _require_rows(table: TableName, found: Archives, reader: Reader | None) -> None:
    if found.rows:
        return
    if found.unread and (reader is None or not reader.limited):
        raise found.unread[0][1]
    if found.unread:
        raise Conflict(f"table {table}", "has archives that cannot be read", "ask a user without a scope")
    raise NotFound(f"table {table}", "has no archived rows that are not in the table", "query the table itself")


def _notes_of(table: TableName, found: Archives, reader: Reader | None) -> Iterator[str]:
    limited = reader is not None and reader.limited
    reasons = ["ask a user without a scope" if limited else str(error) for _, error in found.unread]
    for why in sorted(set(reasons)):
        yield f"{table}: {plural(reasons.count(why), 'snapshot')} not read: {why}"
    if found.live:
        left = plural(found.live, "snapshot")
        yield f"{table}: the partitions of {left} are in the table, and their rows are not in this answer"
    if reader is not None and not reader.covers(table, {}):
        yield f"{table}: only archives of which this token may read all rows are in this answer"


def _has_counters(reading: Reading) -> bool:
    return any(Part.INCREASE in parts for parts in reading.parts.values())


def _read_rests(tables: _Tables, reading: Reading, now: int) -> Buckets | None:
    """Longer buckets without the rows that finer levels have of them; None if they do not add up."""
    rests: Buckets = {}
    for stretch in (stretch for stretch in reading.stretches if stretch.less):
        whole = _read(tables, reading, [stretch.whole], now)
        part = _read(tables, reading, stretch.less, now)
        if not part.keys() <= whole.keys():
            return None
        for key, found in whole.items():
            rest = found.without(part.get(key, Partial(key=key)), (stretch.time.end - stretch.time.start) / 1000)
            if rest is None:
                return None
            rests.update({key: rest} if rest.rows else {})
    return rests


def _read(tables: _Tables, reading: Reading, stretches: Iterable[Stretch], now: int) -> Buckets:
    known: Buckets = {}
    zone = reading.cascade.tzinfo
    for stretch in stretches:
        for name, found in tables.read(reading, stretch):
            # Databases differ in when a day begins if clocks skip midnight; the toolkit's rule applies.
            bucket, group = found.key
            start = stretch.interval.floor(bucket, zone)
            key = start, group
            if key not in known:
                end = min(stretch.interval.end(start, zone), max(now, start))
                known[key] = Partial(key=key, seconds=(end - start) / 1000)
            known[key].add(found, name)
    return known


def _follow_late_rows(engine: Engine, reading: Reading) -> Reading:
    """
    Read raw rows instead of levels where rows arrived after their bucket was computed, until the next run. Rows of both
    are counted, which is much cheaper than to aggregate them. Only the next run notices rows that were changed,
    replaced or deleted.
    """
    raw = next((holding for holding in reading.cascade.holdings if holding.rollup is None), None)
    if raw is None:
        return reading

    def parts(stretch: Stretch) -> list[Stretch]:
        rollup = stretch.holding.rollup
        if rollup is None or stretch.coarser:
            return [stretch]
        start = stretch.time.start if raw.start is None else max(stretch.time.start, raw.start)
        stale = _stale(engine, rollup, TimeRange(rollup.interval.ceiling(start, rollup.tzinfo), stretch.time.end))
        fresh = [replace(stretch, time=part) for part in TimeRanges([stretch.time]) - stale]
        return [*fresh, *(replace(stretch, holding=raw, time=part) for part in stale)]

    stretches = [part for stretch in reading.stretches for part in parts(stretch)]
    if _has_counters(reading):
        # The increase of a counter up to its next value depends on the late row.
        late = min((s.time.start for s in stretches if s.holding is raw and s not in reading.stretches), default=None)
        stretches = [
            replace(s, holding=raw) if late is not None and s.time.start >= late and s.holding.rollup else s
            for s in stretches
        ]
    return replace(reading, stretches=tuple(join_stretches(stretches)))


def _stale(engine: Engine, rollup: Rollup, within: TimeRange) -> TimeRanges:
    """Where a level accounts for fewer rows than exist. Where for more, rows expired or were deleted."""

    def counts(parts: Iterable[tuple[int, int]]) -> list[tuple[TimeRange, int, int]]:
        windows = [Window.of(start, end) for start, end in parts]
        raw, level = engine.counts(rollup).source(windows), engine.counts(rollup).level(windows)
        return [(TimeRange(w.start, w.end), raw[w], level[w].rows) for w in windows]

    if within.empty or all(raw in (0, level) for _, raw, level in counts([within])):
        return TimeRanges()
    length, zone = part_length(rollup, within.end - within.start, _MOST_PARTS), rollup.tzinfo
    starts = _buckets(length.floor(within.start, zone), within.end, length, zone)
    parts = pairwise([*(max(start, within.start) for start in starts), within.end])
    return TimeRanges(part for part, raw, level in counts(parts) if raw > level).joined()


def _answer(reading: Reading, buckets: Buckets) -> Fetched:
    known = {key: tuple(found.value(want) for want in reading.wanted) for key, found in buckets.items()}
    filled = known if reading.fill is Fill.NONE else _fill(known, reading)

    def order(group: tuple[Value, ...]) -> list[tuple[Any, ...]]:
        """Numbers by value, the rest as text, NULL last."""
        return [(v is None, isinstance(v, str), v if isinstance(v, int | float) else 0.0, str(v)) for v in group]

    rank = {group: place for place, group in enumerate(sorted({group for _, group in buckets}, key=order))}
    rows = []
    for start, group in sorted(filled, key=lambda key: (key[0], rank[key[1]])):
        levels = "+".join(buckets[start, group].levels) if (start, group) in buckets else None
        rows.append((from_ms(start).astimezone(reading.cascade.tzinfo), *group, *filled[start, group], levels))
    names = [*(label(column.name) for column in (reading.cascade.time, *reading.by)), *(w.name for w in reading.wanted)]
    return Fetched(
        columns=(*names, level_column(names)),
        rows=tuple(rows),
        keys=len(reading.by),
        step=reading.step,
        start=reading.time.start,
        end=reading.time.end,
        stretches=reading.stretches,
        gaps=tuple(TimeRanges([reading.time]) - (stretch.time for stretch in reading.stretches)),
    )


def _buckets(start: int, end: int, interval: Interval, zone: dt.tzinfo) -> Iterator[int]:
    while start < end:
        yield start
        start = interval.end(start, zone)


def _fill(known: dict[Key, Values], reading: Reading) -> dict[Key, Values]:
    """
    Add empty buckets, for each group separately: those of the step, or longer ones if only a coarser level remains.
    InvalidInput if there would be too many rows.
    """
    zone, step = reading.cascade.tzinfo, reading.step
    coarser = [stretch for stretch in reading.stretches if stretch.coarser]
    starts = {bucket for s in coarser for bucket in _buckets(*s.time, s.interval, zone)}
    for start, end in TimeRanges([reading.time]) - (s.time for s in coarser):
        starts.update(_buckets(step.floor(start, zone), end, step, zone))
    buckets = sorted({*starts, *(bucket for bucket, _ in known)})
    groups = {group for _, group in known}
    if len(buckets) * len(groups) > _MOST_ROWS:
        raise InvalidInput(
            "fill", f"the result has more than {_MOST_ROWS:,} rows", "choose a longer step, or fewer groups"
        )
    nothing = (None,) * len(reading.wanted)
    found: dict[Key, Values] = {}
    for group in groups:
        columns = zip(*(known.get((bucket, group), nothing) for bucket in buckets), strict=True)
        filled = zip(*(_filled(reading.fill, buckets, column) for column in columns), strict=True)
        found.update({(bucket, group): values for bucket, values in zip(buckets, filled, strict=True)})
    return found


def _filled(how: Fill, buckets: Sequence[int], values: Sequence[Number]) -> list[Number]:
    filled: list[Any] = list(values)
    if how is Fill.PREVIOUS:
        for i in range(1, len(filled)):
            filled[i] = filled[i - 1] if filled[i] is None else filled[i]
    if how is Fill.LINEAR:
        for left, right in pairwise([i for i, value in enumerate(values) if value is not None]):
            length, rise = buckets[right] - buckets[left], filled[right] - filled[left]
            for i in range(left + 1, right):
                filled[i] = filled[left] + divided(rise * (buckets[i] - buckets[left]), length)
    return filled


def readable(tables: Iterable[TableName], visibility: Visibility) -> dict[TableName, dict[str, str | None]]:
    """The tables that a user may read, each with the values to which the user's access is limited."""
    found: dict[TableName, dict[str, str | None]] = {}
    for table in tables:
        whole = make_area(table.schema, table.name, {}, visibility.default_schema)
        areas = (area_of(policy, visibility.default_schema) for policy in visibility.policies)
        narrowed = (Area(table.schema, table.name, area.where) for area in areas)
        mine: Iterable[Area] = [whole] if visibility.covers(whole) else filter(visibility.covers, narrowed)
        fewest = min(mine, key=lambda area: len(area.where), default=None)
        found.update({table: dict(sorted(fewest.where))} if fewest else {})
    return found


def suggest_values(
    engine: Engine, cascade: Cascade, request: FetchRequest, now: dt.datetime, limit: int
) -> list[Value]:
    """Some values of the dimension in ``by`` of a request, from one table, in one statement."""
    reading = make_reading(cascade, replace(request, metrics=(ROW_COUNT,), points=1, step=None), now)
    longest = max(reading.stretches, key=lambda stretch: stretch.time.end - stretch.time.start, default=None)
    values = read_values(engine.database, engine.sql, reading, longest, limit) if longest else []
    return sorted(values, key=str)
