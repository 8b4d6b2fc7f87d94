"""Cascades: the levels of each table that a policy downsamples, with dimensions, metrics, tables and partitions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cratedb_retention.model.catalog import Capabilities, Catalog, Column, Grouping, Kind, Table, TableName, outer_names
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.plan.measurements import Measurements, Variety
from cratedb_retention.model.plan.plan import Blocked
from cratedb_retention.model.plan.reasons import Reason, Why
from cratedb_retention.model.policies.patterns import is_pattern, matcher
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.rollups.aggregates import COUNTER, GAUGE, Aggregate, Part
from cratedb_retention.model.rollups.cascade import Interval, Level
from cratedb_retention.model.rollups.ledger import Ledger
from cratedb_retention.model.rollups.rollup import (
    OWN_COLUMNS,
    PARTITION,
    SKETCH_COLUMNS,
    VERSION,
    Metric,
    Rollup,
    Series,
    find_columns,
    label,
    level_column,
    level_table,
    make_metric,
)
from cratedb_retention.model.time import find_zone, to_ms
from cratedb_retention.planning.targets import Target, Undecided, isolated, make_target

UNITS = (Interval(unit="day"), Interval(unit="week"), Interval(unit="month"), Interval(unit="year"))
_PARTITIONS = 4  # of a level, approximately, so that each expires as a small part of it
# Well-known tables, of Telegraf and of CrateDB's adapter for Prometheus, have an object whose fields distinguish
# series, and a hash of it. The measured values are beside it: in ``fields``, or in ``value``.
_LABELS, _FIELDS, _HASHES = ("tags", "labels"), "fields", ("hash_id", "labels_hash")
_RAW = ("valueraw", "value")  # the former has the bits of the latter, from which the adapter restores NaNs
# The minimum number of rows for a judgement; the share of rows above which a rollup is hardly smaller than its source.
_ENOUGH, _LARGE = 100, 0.9
# Distinct values per row, above which the values of a column hardly repeat. The sample has rows of at least eight
# buckets, so a column that distinguishes series with one row in each bucket has at most half of that.
_VARIED = 0.25


class SourceColumns:
    """
    The role of each column of a table under a policy that downsamples it. ``Undecided`` if the two do not match.

    :param before: An existing level; columns that are not its dimensions do not become so by type or name.
    """

    def __init__(self, policy: Policy, table: Table, time: Column, before: Rollup | None = None) -> None:
        self.policy, self.table, self.time = policy, table, time
        # Names count only if an object has the fields that distinguish series.
        objects = (table.columns[name] for name in _LABELS if name in table.columns)
        self._labels = {c.name for c in objects if c.grouping is Grouping.PARTS or c.type == "object"}
        # Copies of a value in another form, and the measured values: no dimensions unless a policy names them.
        names = table.columns if self._labels else ()
        has_value = any(name.lower() == _RAW[1] for name in names)
        self._repeats = {name for name in names if has_value and name.lower() == _RAW[0]}
        self._said = {*self._repeats, *(name for name in names if _outermost(name) == _FIELDS)}
        # An object is excluded with all of its fields.
        inside = ((text, *(c.name for c in self._named(text, "exclude"))) for text in policy.exclude)
        self._excluded = {name for names in inside for name in names}
        self._candidates = self._find_candidates()
        self.dimensions = self._find_dimensions(before)
        self.metrics = self._find_metrics()
        self._used = {c.name for c in (*self.dimensions, *(metric.column for metric in self.metrics))}

    def _find_candidates(self) -> list[Column]:
        """
        Columns that may be dimensions or metrics. Generated columns and objects repeat others; a primary key without
        the time would make each row its own series, and times that partition a table follow from the rows' time.
        """
        table, time = self.table, self.time
        rowid = set() if time.name in table.primary_key else set(table.primary_key)
        periods = {c.name for c in table.columns.values() if c.kind is Kind.TIME and c.name in table.partitioned_by}
        return [
            column
            for column in table.columns.values()
            if column.name not in {time.name, *rowid, *periods} and column.expression is None
            if column.grouping is not Grouping.PARTS
            if self._excluded.isdisjoint((column.name, *outer_names(column.name)))
        ]

    def _named(self, name: str, role: str) -> list[Column]:
        found = find_columns(self.table.columns.values(), name)
        if not found and name not in self.table.columns:
            raise Undecided(Why.NO_COLUMN(role=role, name=name))
        return found

    def _all_named(self, names: Iterable[str], role: str, kind: Kind | None = None) -> tuple[Column, ...]:
        """The columns that names stand for, each once; for an object, those of a kind that are not excluded."""
        found: dict[str, Column] = {}
        for name in names:
            for column in self._named(name, role):
                wanted = column.name not in self._excluded and kind in (None, column.kind)
                if wanted or name in (column.name, label(column.name)):
                    found[column.name] = column
        return tuple(found.values())

    def _find_dimensions(self, before: Rollup | None) -> tuple[Column, ...]:
        """The columns that distinguish series: those that the policy names, else those with a suitable type or name."""
        policy, table, time = self.policy, self.table, self.time
        if policy.dimensions:
            named = self._all_named(policy.dimensions, "dimensions")
            for column in named:
                if column.grouping is Grouping.NEVER:
                    raise Undecided(Why.NOT_GROUPABLE(column=column))
            return named
        metrics = self._all_named(policy.metrics, "metrics")
        keys = set(table.primary_key) if time.name in table.primary_key else set()
        known = {column.name for column in before.dimensions} if before else set()
        summarized = {metric.column.name for metric in before.metrics} if before else set()

        def distinguishes(column: Column) -> bool:
            # In well-known tables numbers distinguish series as well.
            named = _outermost(column.name) in self._labels or column.name in _HASHES
            by_name = bool(self._labels) and named and column.kind is Kind.NUMBER
            plain = column.kind in (Kind.TEXT, Kind.BOOLEAN)
            exact = plain or column.grouping is Grouping.EXACT
            if column.name in known:
                return exact or by_name
            if column.grouping is Grouping.NEVER or column.name in self._said:
                return False
            return plain or (exact and before is None) or (by_name and column.name not in summarized)

        return tuple(c for c in self._candidates if c not in metrics and (c.name in keys or distinguishes(c)))

    def _find_metrics(self) -> tuple[Metric, ...]:
        """The numeric columns to aggregate: those that the policy names, else all that are not dimensions."""
        policy, taken = self.policy, {column.name for column in self.dimensions}
        if policy.metrics:
            columns = self._all_named(policy.metrics, "metrics", Kind.NUMBER)
        else:
            numbers = (c for c in self._candidates if c.kind is Kind.NUMBER and c.name not in taken)
            columns = tuple(column for column in numbers if column.name not in self._repeats)
        for column in columns:
            if column.kind is not Kind.NUMBER:
                raise Undecided(Why.NOT_A_NUMBER(column=column))
        counters, within = self._find_counters(columns)
        single = ((key, kept) for key, kept in policy.aggregates.items() if key != "*")
        chosen = {column.name: kept for key, kept in single for column in _metrics_named(columns, key)}

        def make(column: Column) -> Metric:
            counter = column.name in counters
            kept = chosen.get(column.name) or policy.aggregates.get("*") or (COUNTER if counter else GAUGE)
            always = counter or Aggregate.INCREASE in kept
            with_increase = (*kept, Aggregate.INCREASE) if counter or within else kept
            return make_metric(column, with_increase, () if always else within)

        return tuple(make(column) for column in columns)

    def _find_counters(self, columns: Sequence[Column]) -> tuple[set[str], tuple[Series, ...]]:
        """The metrics that are counters, and patterns of the series in which all other metrics are counters."""
        counters: set[str] = set()
        within: list[Series] = []
        for text in self.policy.counters:
            dimension, equals, pattern = text.partition("=")
            of = find_columns(self.dimensions, dimension)
            if is_pattern(text) and not equals:
                fits = matcher(text)
                counters.update(c.name for c in columns if fits(c.name) or fits(label(c.name)))
            elif equals and not find_columns(columns, text):
                if len(of) != 1 or of[0].kind is not Kind.TEXT:
                    known = tuple(c.name for c in self.dimensions if c.kind is Kind.TEXT) or ("none",)
                    raise Undecided(Why.NO_SERIES(name=dimension, known=known))
                within.append(Series(of[0], pattern))
            else:
                counters.update(c.name for c in _metrics_named(columns, text))
        return counters, tuple(within)

    @property
    def left_out(self) -> tuple[Column, ...]:
        """The columns that are in no level."""
        used = {self.time.name, *self._used}
        columns = self.table.columns.values()
        return tuple(c for c in columns if c.grouping is not Grouping.PARTS and c.name not in used)

    @property
    def said(self) -> tuple[Column, ...]:
        """Columns that are omitted since they only describe a series; none if the primary key distinguishes rows."""
        dimensions = {column.name for column in self.dimensions}
        key = {name for name in self.table.primary_key if self.table.columns[name].expression is None}
        if self.policy.dimensions or (self.time.name in key and key <= {self.time.name, *dimensions}):
            return ()
        candidates = (c for c in self._candidates if c.kind in (Kind.TEXT, Kind.BOOLEAN))
        return tuple(c for c in candidates if c.name in self._said and c.name not in dimensions)

    def check(self, folds_case: bool) -> None:
        """Raise Undecided if a column that may distinguish series would be omitted silently, or names collide."""
        policy, taken = self.policy, self._used | self._said
        unsure = [c for c in self._candidates if c.name not in taken and c.kind is not Kind.NUMBER]
        if unsure and not policy.dimensions:
            raise Undecided(Why.LEFT_OUT(columns=tuple(f"{c.name} ({c.type})" for c in unsure)))
        keys = [label(column.name) for column in (self.time, *self.dimensions)]
        level = [*keys, *OWN_COLUMNS, *(name for metric in self.metrics for name in metric.columns)]
        view = [*level, *(metric.named(one) for metric in self.metrics for one in metric.shown if one.binned)]
        tables = [level, [*view, level_column(view)]]
        if any(Part.BINS in metric.parts for metric in self.metrics):
            tables.append([*keys, VERSION, PARTITION, *SKETCH_COLUMNS])
        for names in tables:
            spelt = [name.lower() if folds_case else name for name in names]
            twice = sorted({name for name in spelt if spelt.count(name) > 1})
            if twice:
                raise Undecided(Why.NAMED_TWICE(name=twice[0]))


def _outermost(name: str) -> str | None:
    return next(reversed(list(outer_names(name))), None)


def _metrics_named(columns: Sequence[Column], name: str) -> list[Column]:
    found = find_columns(columns, name)
    if not found:
        raise Undecided(Why.NO_METRIC(name=name, known=tuple(sorted(column.name for column in columns)) or ("none",)))
    return found


@dataclass(frozen=True, kw_only=True)
class CascadeLevel:
    """A level of a cascade."""

    rollup: Rollup  # with the partitions of its table, if that exists
    retention_period: Duration
    table: Table | None  # from the catalog; None if it does not exist yet
    known: bool  # whether it is registered
    below: Target | None  # its source; None if that does not exist yet
    targets: tuple[Target, ...] = ()  # its own table and that of its distributions, if they exist


@dataclass(frozen=True)
class Cascade:
    """A policy that downsamples, on one table."""

    raw: Target  # on the table with the raw rows
    columns: SourceColumns
    levels: tuple[CascadeLevel, ...]  # finest first

    @property
    def policy(self) -> Policy:
        return self.raw.policy

    @property
    def source(self) -> TableName:
        return self.raw.table.name

    @property
    def left_out(self) -> tuple[Column, ...]:
        """The source's columns that are in no level."""
        return self.columns.left_out


def find_cascades(targets: Iterable[Target], catalog: Catalog, ledger: Ledger) -> tuple[list[Cascade], list[Blocked]]:
    """The cascades of targets that downsample, and a reason for each table where one is impossible."""
    cascades: dict[TableName, Cascade] = {}
    undecided: list[Blocked] = []
    for target in (target for target in targets if target.policy.strategy.traits.rolls_up):
        name, time = target.table.name, target.time_column
        with isolated(target.policy.id, name, undecided):
            if name in cascades:
                raise Undecided(Why.DOWNSAMPLED_ALREADY(other=cascades[name].policy.id or ""))
            if time is None:
                raise Undecided(Why.TIME_UNNAMED())
            _require_same_time(target, time, ledger)
            before = next((level.rollup for level in ledger.of_source(name)), None)
            columns = SourceColumns(target.policy, target.table, time, before)
            columns.check(catalog.capabilities.folds_case)
            # Rollups of a table say nothing about the rows of a later table of the same name (laws 3 and 4).
            known = ledger.identity(name)
            if known and known != target.table.identity:
                raise Undecided(Why.OTHER_SOURCE(source=name))
            cascades[name] = Cascade(target, columns, tuple(_levels(target, columns, catalog, ledger)))
    return list(cascades.values()), undecided


def _levels(raw: Target, columns: SourceColumns, catalog: Catalog, ledger: Ledger) -> Iterator[CascadeLevel]:
    policy, source = raw.policy, raw.table.name
    below: Target | None = raw
    finer = source
    for level in policy.levels:
        name = level_table(source, level.interval)
        known, table = ledger.rollups.get(name), catalog.tables.get(name)
        zone, was = _zone(level.interval, policy), known.rollup if known else None
        rollup = Rollup(
            source=source,
            below=finer,
            table=name,
            interval=level.interval,
            time=columns.time,
            dimensions=columns.dimensions,
            metrics=columns.metrics,
            zone=zone,
            partition=was.partition if was else choose_partition(level, zone),
            window=was.window if was else None,
            window_zone=was.window_zone if was else "UTC",
        )
        there = name_taken(rollup, was, catalog)
        if there is not None:
            raise Undecided(Why.NO_ROLLUP(there=there))
        _check_width(rollup, table, catalog.capabilities)
        targets = []
        for own in filter(None, map(catalog.tables.get, (rollup.table, rollup.sketch))):
            if was and was.owns(own):  # Other tables may have such a name.
                try:
                    targets.append(_as_target(policy, rollup, own, level.retention_period))
                except Undecided as error:
                    raise Undecided(Why.AT_LEVEL(level=own.name, why=error.why)) from None
        yield CascadeLevel(
            rollup=rollup,
            retention_period=level.retention_period,
            table=table,
            known=was is not None,
            below=below,
            targets=tuple(targets),
        )
        finer, below = name, next((target for target in targets if target.table.name == name), None)


def _require_same_time(target: Target, time: Column, ledger: Ledger) -> None:
    """Raise Undecided if the source, time or zone of a level changed: one table would have two kinds of buckets."""
    source = target.table.name
    for level in target.policy.levels:
        known = ledger.rollups.get(level_table(source, level.interval))
        if known is None:
            continue
        was, unit = known.rollup, known.rollup.time.unit
        made = (was.source, was.time.name, was.time.tick, was.zone)
        if made != (source, time.name, time.tick, _zone(level.interval, target.policy)):
            was_time = f"{was.time.name} ({unit})" if unit else was.time.name
            raise Undecided(Why.MADE_OTHERWISE(level=was.table, source=was.source, time=was_time, zone=was.zone))


def name_taken(rollup: Rollup, known: Rollup | None, catalog: Catalog) -> TableName | None:
    """What has the name of one of a level's tables and is not a table of the registered level; or None."""
    for name in rollup.tables:
        there, table = catalog.taken(name), catalog.tables.get(name)
        if there is not None and not (known and table and known.owns(table)):
            return there
    return None


def _zone(interval: Interval, policy: Policy) -> str:
    """The policy's zone, unless its days do not consist of whole buckets; then the level's partitions are in UTC."""
    fits = bool(interval.unit) or interval.fits_into(UNITS[0], policy.zone)
    return policy.time_zone if fits else "UTC"


def choose_partition(level: Level, zone: str) -> Interval | None:
    """The partition interval by which a level expires in small parts; None: no partitions."""
    kept = level.retention_period
    if kept.forever:
        if level.interval.unit == "week":
            return None  # Weeks do not fit into longer units, and one partition per week would be too many.
        return UNITS[3] if level.interval.unit else UNITS[2]
    fitting = [unit for unit in UNITS if level.interval.fits_into(unit, find_zone(zone))]
    small = [unit for unit in fitting if unit.approximate_seconds * _PARTITIONS <= kept.approximate_seconds()]
    return small[-1] if small else fitting[0]


def _check_width(rollup: Rollup, there: Table | None, capabilities: Capabilities) -> None:
    """Raise Undecided if a level has more columns than the database allows. Columns of former metrics count."""
    names = {*rollup.columns, *([PARTITION] if rollup.partition else []), *(there.columns if there else ())}
    most = there.most_columns if there else capabilities.most_columns
    if most is not None and len(names) > most:
        why, product, metrics = Why.TOO_WIDE_NOW if there else Why.TOO_WIDE, capabilities.product, len(rollup.metrics)
        raise Undecided(why(level=rollup.table, columns=len(names), metrics=metrics, product=product, most=most))


def below_as_target(policy: Policy, rollup: Rollup, table: Table) -> Target:
    """The source of a level as a target of the policy; ``Undecided`` if that is no longer possible."""
    return make_target(policy, table) if rollup.from_raw else _as_target(policy, rollup, table, policy.retention_period)


def level_targets(cascade: Cascade) -> Iterator[Target]:
    """The levels' own tables as targets, so that they expire like other tables."""
    for level in cascade.levels:
        if level.rollup.partition is not None:
            yield from level.targets


def _as_target(policy: Policy, rollup: Rollup, table: Table, retention: Duration) -> Target:
    own = {"table_schema": table.name.schema, "table_name": table.name.name, "time_column": rollup.time_name}
    changes = {**own, "time_unit": None, "partition_column": None}
    return make_target(policy.for_level(retention).model_copy(update=changes), table)


def _is_large(rows: int, groups: int) -> bool:
    return rows >= _ENOUGH and groups > rows * _LARGE


def why_large(cascade: Cascade, ledger: Ledger) -> Reason | None:
    """Whether an existing level is about as large as its source, as a reason; None if not, or if it is intended."""
    rollup = cascade.levels[0].rollup
    windows = ledger.of(rollup.table).stored
    rows, groups = sum(window.rows for window in windows), sum(window.groups for window in windows)
    if cascade.policy.dimensions or not _is_large(rows, groups):
        return None
    names = tuple(column.name for column in rollup.dimensions) or ("none",)
    return Why.LARGE_ROLLUP(level=rollup.table, groups=groups, rows=rows, source=rollup.source, dimensions=names)


def variety_probe(cascade: Cascade, cutoff: dt.datetime) -> Variety | None:
    """The probe of the newest rows; None if the policy names dimensions, or levels exist already."""
    rollup = cascade.levels[0].rollup
    if cascade.policy.dimensions or not rollup.dimensions or any(level.known for level in cascade.levels):
        return None
    return Variety(
        table=rollup.source,
        time_column=rollup.time,
        interval=rollup.interval,
        zone=rollup.zone,
        before=to_ms(cutoff),
        dimensions=rollup.dimensions,
        said=cascade.columns.said,
    )


def require_smaller(cascade: Cascade, measurements: Measurements, cutoff: dt.datetime) -> None:
    """Raise Undecided if the finest level would not be smaller, or if omitted columns distinguish series."""
    probe = variety_probe(cascade, cutoff)
    found = measurements.varieties.get(probe) if probe else None
    if probe is None or found is None:
        return
    source, rows, groups = cascade.source, found.rows, found.groups
    if found.mixed:
        names = tuple(column.name for column in probe.said)
        raise Undecided(Why.SERIES_MIXED(rows=found.mixed, source=source, columns=names))
    many = [pair for pair in zip(probe.dimensions, found.values, strict=True) if pair[1] > rows * _VARIED]
    causes = tuple(f"{column.name} ({values:,} values)" for column, values in many if _is_large(rows, groups))
    if causes:
        level = cascade.levels[0].rollup.table
        raise Undecided(Why.NOT_SMALLER(level=level, groups=groups, rows=rows, source=source, causes=causes))
