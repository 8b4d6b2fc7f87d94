"""What a forecast starts from: the tables as they are now, with their growth; and the tables of levels to come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

from cratedb_retention.model.archive import SnapshotRecord
from cratedb_retention.model.catalog import Column, Kind, Table, TableName
from cratedb_retention.model.forecast import Part, Rate, Storage
from cratedb_retention.model.intervals import Grid
from cratedb_retention.model.plan.measurements import Measurements, Probe, Varied, Variety, WindowRows
from cratedb_retention.model.plan.plan import Blocked
from cratedb_retention.model.rollups.cascade import DAY_SECONDS
from cratedb_retention.model.rollups.ledger import Ledger, LedgerRow
from cratedb_retention.model.rollups.rollup import PARTITION, SKETCH_COLUMNS, VERSION, Rollup
from cratedb_retention.model.time import DAY_MS, UTC, TimeRange, to_ms
from cratedb_retention.model.words import short
from cratedb_retention.planning.facts import Facts
from cratedb_retention.planning.forecast.growth import DAY, Growth, Rows, combined, measure_growth, unknown
from cratedb_retention.planning.forecast.tables import Account, GrowingTable, Stream, Units, find_finest, find_grids
from cratedb_retention.planning.pieces import Grids
from cratedb_retention.planning.plan.planner import Planning
from cratedb_retention.planning.targets import Target, find_targets

# Partitions whose bytes per row count.
_RECENT = 60
# Windows of a level that suffice, so that longer ranges of them do not count: two weeks.
_ENOUGH = 14


@dataclass(kw_only=True)
class Present:
    """
    What a forecast starts from.

    :param facts: Those of a plan for now.
    :param days: The number of days to simulate.
    :param chosen: The tables with raw rows that it is about; None: all.
    :param archives: All archives.
    :param storage: How tables are stored.
    :param measured: The answers to :meth:`probes`.
    """

    facts: Facts
    days: int
    chosen: frozenset[TableName] | None = None
    archives: Sequence[SnapshotRecord] = ()
    storage: Mapping[TableName, Storage] = field(default_factory=dict)
    measured: Measurements = field(default_factory=Measurements)

    @cached_property
    def by_day(self) -> Mapping[TableName, Mapping[int, int]]:
        """The rows of each day, of tables whose rows expire one by one."""
        windows = self.measured.windows.items()
        return {probe.table: {start: rows for start, rows, _ in found} for probe, found in windows}

    @cached_property
    def varied(self) -> Mapping[TableName, Varied]:
        """How varied the rows of tables are that lack levels."""
        return {probe.table: found for probe, found in self.measured.varieties.items()}

    @cached_property
    def planning(self) -> Planning:
        """A plan that is not made, with targets and cascades."""
        found = Planning(**{each.name: getattr(self.facts, each.name) for each in fields(Facts)})
        found.probes()
        return found

    @cached_property
    def targets(self) -> Sequence[Target]:
        """
        Policies on tables. Those that are disabled come first: they do not act, but state the time of data as well.
        """
        disabled = (policy for policy in self.facts.policies if not policy.enabled)
        acting, _ = self.planning.found or ((), ())
        return [*find_targets(disabled, self.facts.catalog)[0], *acting]

    @cached_property
    def levels(self) -> Mapping[TableName, Rollup]:
        """The rollup of each level."""
        known = [one.rollup for one in self.facts.ledger.rollups.values()]
        return {name: rollup for rollup in known for name in (rollup.table, rollup.sketch)}

    @cached_property
    def groups(self) -> Mapping[TableName, Sequence[TableName]]:
        """
        Tables that are simulated together, by the table with the raw rows: it and its levels. Tables that share a
        budget are in one group. Without groups of which no table is chosen.
        """
        found: dict[TableName, list[TableName]] = {}
        for name in self.facts.catalog.tables:
            rollup = self.levels.get(name)
            source = rollup.source if rollup is not None and rollup.source in self.facts.catalog.tables else name
            found.setdefault(source, []).append(name)
        for policy in (policy for policy in self.planning.enabled if policy.shares_budget):
            own = {target.table.name for target in self.targets if target.policy is policy}
            sharing = [source for source, names in found.items() if not own.isdisjoint(names)]
            for source in sharing[1:]:
                found[sharing[0]] += found.pop(source)
        chosen = self.chosen
        return {name: names for name, names in found.items() if chosen is None or not chosen.isdisjoint((name, *names))}

    def probes(self) -> list[Probe]:
        """What has to be known of rows: of tables without partitions of time, and of those that lack levels."""
        divided = {target.table.name for target in self.targets if find_grids(target.table, target.grids)}
        cascades, _ = self.planning.cascades or ((), ())
        found: list[Probe] = [
            WindowRows(table=target.table.name, time_column=target.time_column, interval=DAY, zone="UTC")
            for target in {target.table.name: target for target in self.targets if target.by_rows}.values()
            if target.time_column is not None and target.table.name not in divided
        ]
        for cascade in cascades:
            finest = cascade.levels[0].rollup
            if any(level.table is None for level in cascade.levels):
                probe = Variety(
                    table=finest.source,
                    time_column=finest.time,
                    interval=finest.interval,
                    zone=finest.zone,
                    before=to_ms(self.facts.cutoff),
                    dimensions=finest.dimensions,
                )
                found.append(probe)
        known = {name for names in self.groups.values() for name in names}
        return [probe for probe in found if probe.table in known]


class Start:
    """
    The tables now, and what policies concern them.

    :param times: The instants of the forecast (ms, UTC).
    """

    def __init__(self, present: Present, times: Sequence[int]) -> None:
        self._present, self._times, facts = present, times, present.facts
        self.planning = present.planning
        found, undecided = self.planning.found or ((), ())
        self.targets: dict[TableName, list[Target]] = defaultdict(list)
        for target in found:
            self.targets[target.table.name].append(target)
        self.undecided: dict[TableName, list[Blocked]] = defaultdict(list)
        for blocked in undecided:
            self.undecided[blocked.table].append(blocked)
        self._stated = {each.table.name: each.grids for each in present.targets if each.grids}
        self._units: dict[Grid, Units] = {}
        tables = facts.catalog.tables
        self.tables = {name: self._table(tables[name]) for names in present.groups.values() for name in names}

    @property
    def gaps(self) -> Iterator[str]:
        """What a forecast cannot follow, as sentences."""
        for name, targets in self.targets.items():
            for target in targets if name in self.tables else ():
                if target.by_rows and (target.where or self.tables[name].grids):
                    what = "rows by a filter" if target.where else "single rows of partitions"
                    yield f"{name}: policy {short(target.policy.id)} deletes {what}, which are assumed to stay"

    def _table(self, table: Table) -> GrowingTable:
        rollup, storage = self._present.levels.get(table.name), self._present.storage.get(table.name, Storage())
        grids = self._grids(table, rollup)
        days = None if grids else self._present.by_day.get(table.name)
        instants = self._instants(rollup)
        found = GrowingTable(
            table=replace(table, partitions=()),
            part=Part.TABLE if rollup is None else Part.LEVEL,
            source=table.name if rollup is None else rollup.source,
            grids=grids,
            growths={},
            instants=instants,
            units=self._find_units(grids),
            account=Account(self._present.days),
            storage=storage,
            days=None if days is None else {start: float(rows) for start, rows in days.items() if rows},
        )
        found.parts = {partition.values: partition for partition in table.partitions}
        found.per_row = self._bytes_per_row(found, table)
        for values, partition in found.parts.items():
            if partition.size is None:
                found.parts[values] = partition._replace(size=round(found.size_of(partition.rows or 0)))
        found.growths = self._growths(found, rollup)
        found.start()
        return found

    def _find_units(self, grids: Grids) -> Units | None:
        finest = find_finest(grids)
        return self._units.setdefault(finest, Units(finest)) if finest else None

    def _bytes_per_row(self, found: GrowingTable, table: Table) -> float | None:
        """Of the newest complete partitions whose sizes are known, else of the whole table; in one copy."""
        sized = [
            (time, p) for values, p in found.parts.items() if p.size and p.rows and (time := found.time_of(values))
        ]
        complete = [p for time, p in sorted(sized, key=lambda each: each[0]) if time.end <= self._times[0]]
        newest = complete[-_RECENT:]
        if newest:
            return sum(p.size or 0 for p in newest) / sum(p.rows or 0 for p in newest)
        size = table.size if table.size is not None else found.storage.size
        return size / table.rows if size and table.rows else None

    def _instants(self, rollup: Rollup | None) -> Sequence[int]:
        """Until when rows are there on each day: those of a level until the end of the last complete bucket."""
        times = self._times
        if rollup is None:
            return times
        found = [rollup.interval.floor(instant, rollup.tzinfo) for instant in times]
        computed = self._present.facts.ledger.of(rollup.table).until
        return [found[0] if computed is None else min(computed, found[0]), *found[1:]]

    def _grids(self, table: Table, rollup: Rollup | None) -> Grids:
        if rollup is not None:
            if rollup.partition is None or PARTITION not in table.partitioned_by:
                return ()
            position = table.partitioned_by.index(PARTITION)
            zone = rollup.tzinfo
            return ((position, Grid(time_column=rollup.time_name, interval=rollup.partition, zone=zone)),)
        return find_grids(table, self._stated.get(table.name, ()))

    def _growths(self, table: GrowingTable, rollup: Rollup | None) -> dict[Stream, Growth]:
        now = self._times[0]
        grid = table.finest
        if rollup is not None and not any(t.policy.strategy.traits.rolls_up for t in self.targets[rollup.source]):
            return {(None,) if table.grids else (): Growth(now, Rate(why="no policy rolls it up"))}
        if rollup is not None and table.name == rollup.table:
            # What was not computed since, as no run was there to do it, says nothing of its growth.
            until = table.instants[0] if table.instants[0] < rollup.interval.floor(now, rollup.tzinfo) else now
            windows = windows_of(self._present.facts.ledger, rollup.table)
            whole = [row for row in windows if row.whole and row.end <= until]
            # Of a range, only the sum is known; enough single windows say more.
            single = [row for row in whole if row.windows == 1]
            counted = [(row.start, row.end, row.groups) for row in (single if len(single) >= _ENOUGH else whole)]
            growth = measure_growth(counted, rollup.window or DAY, rollup.tzinfo, until)
            return {(None,) if table.grids else (): growth}
        if grid is None:
            if table.days is None:
                return {(): unknown(now, _unmeasured(table.table))}
            rows = [(start, start + DAY_MS, count) for start, count in table.days.items()]
            return {(): measure_growth(rows, DAY, UTC, now)}
        streams: dict[Stream, list[Rows]] = defaultdict(list)
        positions = {position for position, _ in table.grids}
        for values, partition in table.parts.items():
            time = table.time_of(values)
            if time is not None:
                stream = tuple([None if i in positions else value for i, value in enumerate(values)])
                streams[stream].append((*time, partition.rows or 0))
        found = {key: measure_growth(rows, grid.interval, grid.zone, now) for key, rows in streams.items()}
        return found or {(): unknown(now, "it has no partitions")}

    def make_level(self, rollup: Rollup, raw: GrowingTable, name: TableName, day: int) -> GrowingTable:
        """The table of a new level, with what the first run rolls up; estimated from the variety of the newest rows."""
        columns = {each: number_column(each) for each in rollup.columns}
        if name == rollup.sketch:
            columns |= {each: number_column(each) for each in (VERSION, *SKETCH_COLUMNS)}
        columns[rollup.time_name] = rollup.own_time
        grids: Grids = ()
        if rollup.partition is not None:
            columns[PARTITION] = _partition_column(rollup)
            grids = ((0, Grid(time_column=rollup.time_name, interval=rollup.partition, zone=rollup.tzinfo)),)
        share, growth = self._estimate(rollup, raw) if name == rollup.table else (0.0, None)
        found = GrowingTable(
            table=Table(name=name, columns=columns, partitioned_by=(PARTITION,) if grids else (), rows=0),
            part=Part.LEVEL,
            source=rollup.source,
            grids=grids,
            growths={(None,) if grids else (): growth or unknown(self._times[0], "a new level's distributions")},
            instants=[rollup.interval.floor(instant, rollup.tzinfo) for instant in self._times],
            units=self._find_units(grids),
            account=Account(self._present.days),
            storage=replace(raw.storage, shards=None if raw.storage.shards is None else 1),
            per_row=raw.per_row,
        )
        self._fill(found, ((time, rows * share) for time, rows in _rows_by_time(raw, found.instants[day])), day)
        self.tables[name] = found
        return found

    @staticmethod
    def _fill(level: GrowingTable, rows: Iterable[tuple[TimeRange, float]], day: int) -> None:
        """Add rows to a new level, evenly over their time ranges."""
        grid, units = level.finest, defaultdict[int, float](float)
        for time, count in rows:
            for unit in grid.interval.covering(time, grid.zone) if grid else (time,):
                within = unit & time
                units[unit.start] += count * (within.end - within.start) / (time.end - time.start)
        if grid is None:
            level.account.add(day, sum(units.values()), level.size_of(sum(units.values())) * level.storage.copies)
        for start, count in units.items() if grid else ():
            level.add((start,), max(1, round(count)), str(level.instants[day]))
            level.count(day, level.parts[start,], 1)

    def _estimate(self, rollup: Rollup, raw: GrowingTable) -> tuple[float, Growth]:
        """The rows of a new level for each raw row, and its growth."""
        growth, varied = combined(raw.growths.values()), self._present.varied.get(rollup.source)
        cascades, _ = self.planning.cascades or ((), ())
        finest = next((each.levels[0].rollup for each in cascades if each.source == rollup.source), rollup)
        share = varied.groups / varied.rows if varied and varied.rows else 1.0
        # At least as many series as each dimension has values, and as there are rows in a bucket of the finest level.
        in_bucket = growth.rate.daily * share * finest.interval.approximate_seconds / DAY_SECONDS
        series = max(*(varied.values if varied else ()), in_bucket, 1.0) if rollup.dimensions else 1.0
        most = series * DAY_SECONDS / rollup.interval.approximate_seconds
        estimated = "estimated from the newest rows of its source, with as many bytes per row"
        own = growth.scaled(share, most, estimated)
        if growth.rate.daily <= 0:
            return share * finest.interval.approximate_seconds / rollup.interval.approximate_seconds, own
        return own.rate.daily / growth.rate.daily, own


def _rows_by_time(table: GrowingTable, until: int) -> Iterator[tuple[TimeRange, float]]:
    """The rows of each partition, or of each day, until an instant."""
    for values, partition in table.parts.items():
        time = table.time_of(values)
        if time is not None and time.start < until:
            yield TimeRange(time.start, min(time.end, until)), partition.rows or 0
    for start, rows in (table.days or {}).items():
        if start < until:
            yield TimeRange(start, min(start + DAY_MS, until)), rows


def windows_of(ledger: Ledger, level: TableName) -> Iterator[LedgerRow]:
    """The windows of a level; of those that are sealed, ranges as they are stored."""
    known = ledger.of(level)
    for row in known.stored:
        yield from (row,) if row.sealed else known.members(row)


def number_column(name: str) -> Column:
    return Column(name=name, type="double precision", kind=Kind.NUMBER)


def _partition_column(rollup: Rollup) -> Column:
    """The column that partitions a level."""
    time, zone = rollup.own_time, "" if rollup.zone == "UTC" else f"'{rollup.zone}', "
    unit = rollup.partition.unit if rollup.partition else ""
    quoted = time.name.replace('"', '""')
    return replace(time, name=PARTITION, expression=f"date_trunc('{unit}', {zone}\"{quoted}\")")


def _unmeasured(table: Table) -> str:
    if table.partitioned_by:
        return "the partitions to come are unknown"
    return "no policy has its time column"
