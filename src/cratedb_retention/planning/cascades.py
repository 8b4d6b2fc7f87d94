"""
Cascades found out: for each table that a policy downsamples its levels, each with its dimensions, metrics, tables and
partitions.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cratedb_retention.model.aggregates import COUNTER, GAUGE, Aggregate, Part
from cratedb_retention.model.cascade import Interval, Level
from cratedb_retention.model.catalog import Capabilities, Catalog, Column, Grouping, Kind, Table, TableName, outer_names
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.measurements import Measurements, Variety
from cratedb_retention.model.patterns import is_pattern, matcher
from cratedb_retention.model.plan import Hold
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.model.rollup import (
    OWN_COLUMNS,
    PARTITION,
    SKETCH_BIN,
    SKETCH_COUNT,
    SKETCH_METRIC,
    SKETCH_SIGN,
    VERSION,
    Ledger,
    Metric,
    Rollup,
    SeriesPattern,
    find_columns,
    is_own_table,
    label,
    level_column,
    level_table,
    make_metric,
)
from cratedb_retention.model.time import find_zone, to_ms
from cratedb_retention.planning.targets import Target, Undecided, isolated, make_target

UNITS = (Interval(unit="day"), Interval(unit="week"), Interval(unit="month"), Interval(unit="year"))
# A level has about so many partitions, so that what expires is a small part of it.
_PARTITIONS = 4
# Well-known tables have an object with what tells series apart, and a hash of it: those of Telegraf in CrateDB, and of
# CrateDB's adapter for Prometheus. What a row says of its series is beside that: in ``fields``, or in ``value``.
_LABELS, _FIELDS, _HASHES = ("tags", "labels"), "fields", ("hash_id", "labels_hash")
# The bits of `value` as a whole number, by which the adapter finds NaNs again.
_RAW = ("valueraw", "value")
# Fewer rows say nothing.
_ENOUGH = 100
# A rollup that has more of its rows than this share does not shrink them.
_LARGE = 0.9
# A column with so many different values for each row hardly recurs. Rows of at least eight buckets are looked at, so
# what tells series apart, each with a row in each bucket, has at most half as many.
_VARIED = 0.25


@dataclass(frozen=True, kw_only=True)
class CascadeLevel:
    """One level on one table."""

    rollup: Rollup  # with the partitions that its table has, if that exists
    retention_period: Duration
    table: Table | None  # as the catalog has it; None if it is yet to be created
    known: bool  # whether it is registered
    targets: tuple[Target, ...] = ()  # that table and the one with its distributions, as far as they exist


@dataclass(frozen=True, kw_only=True)
class Cascade:
    """A policy that downsamples, on one table."""

    policy: Policy
    raw: Target  # on the table with the raw rows
    levels: tuple[CascadeLevel, ...]  # finest first
    left_out: tuple[Column, ...] = ()  # the source's columns that are in no level

    @property
    def source(self) -> TableName:
        return self.raw.table.name


def find_cascades(targets: Iterable[Target], catalog: Catalog, ledger: Ledger) -> tuple[list[Cascade], list[Hold]]:
    """The cascades of targets that downsample, and a problem for each table where there can't be one."""
    cascades: dict[TableName, Cascade] = {}
    problems: list[Hold] = []
    for target in targets:
        if target.policy.strategy.traits.rolls_up:
            name = target.table.name
            with isolated(target.policy.id, name, problems):
                cascades[name] = _cascade(target, catalog, ledger, cascades.get(name))
    return list(cascades.values()), problems


def _cascade(target: Target, catalog: Catalog, ledger: Ledger, other: Cascade | None) -> Cascade:
    if other is not None:
        raise Undecided(Why.DOWNSAMPLED_ALREADY(other=other.policy.id or ""))
    levels = tuple(_levels(target, catalog, ledger))
    rollup = levels[0].rollup
    used = {rollup.time.name, *(c.name for c in rollup.dimensions), *(m.column.name for m in rollup.metrics)}
    columns = (c for c in target.table.columns.values() if c.grouping is not Grouping.PARTS)
    left_out = tuple(column for column in columns if column.name not in used)
    return Cascade(policy=target.policy, raw=target, levels=levels, left_out=left_out)


def _levels(target: Target, catalog: Catalog, ledger: Ledger) -> Iterator[CascadeLevel]:
    policy, source = target.policy, target.table
    time = target.time_column
    if time is None:
        raise Undecided(Why.TIME_UNNAMED())
    _require_same_time(target, time, ledger)
    before = next((known.rollup for known in ledger.of_source(source.name)), None)
    dimensions = find_dimensions(policy, source, time, before)
    metrics = find_metrics(policy, source, time, dimensions)
    _check_series(policy, source, time, dimensions, metrics)
    _check_names(time, dimensions, metrics, catalog.capabilities.folds_case)
    _require_same_table(source, ledger)
    beneath = source.name
    for level in policy.levels:
        table = level_table(source.name, level.interval)
        known = ledger.rollups.get(table)
        zone, was = _zone(level.interval, policy), known.rollup if known else None
        rollup = Rollup(
            source=source.name,
            beneath=beneath,
            table=table,
            interval=level.interval,
            time=time,
            dimensions=dimensions,
            metrics=metrics,
            zone=zone,
            partition=was.partition if was else choose_partition(level, zone),
            window=was.window if was else None,
            window_zone=was.window_zone if was else "UTC",
        )
        there = name_taken(rollup, was, catalog)
        if there is not None:
            raise Undecided(Why.NO_ROLLUP(there=there))
        _check_width(rollup, catalog.tables.get(table), catalog.capabilities)
        yield CascadeLevel(
            rollup=rollup,
            retention_period=level.retention_period,
            table=catalog.tables.get(table),
            known=was is not None,
            targets=tuple(_own_targets(rollup, level, was, policy, catalog)) if was else (),
        )
        beneath = table


def _require_same_table(source: Table, ledger: Ledger) -> None:
    """What rollups hold of a table says nothing of the rows of another one that has its name now (laws 3 and 4)."""
    known = ledger.identity(source.name)
    if known and known != source.identity:
        raise Undecided(Why.OTHER_SOURCE(source=source.name))


def _require_same_time(target: Target, time: Column, ledger: Ledger) -> None:
    """What a level's buckets are made of stays, or there would be two kinds of them in one table."""
    source = target.table.name
    for level in target.policy.levels:
        known = ledger.rollups.get(level_table(source, level.interval))
        made = known and (known.rollup.source, known.rollup.time.name, known.rollup.time.tick, known.rollup.zone)
        if known is None or made == (source, time.name, time.tick, _zone(level.interval, target.policy)):
            continue
        was = known.rollup
        unit = f" ({was.time.unit})" if was.time.unit else ""
        raise Undecided(
            Why.MADE_OTHERWISE(level=was.table, source=was.source, time=f"{was.time.name}{unit}", zone=was.zone)
        )


def _own_targets(rollup: Rollup, level: Level, known: Rollup, policy: Policy, catalog: Catalog) -> Iterator[Target]:
    """A registered level's own tables as targets, as far as they exist. What only has the name of one is not one."""
    for name in (rollup.table, rollup.sketch):
        table = catalog.tables.get(name)
        if table is not None and is_own_table(known, name, table.columns):
            try:
                yield _as_target(policy, rollup, table, level.retention_period)
            except Undecided as error:
                raise Undecided(Why.AT_LEVEL(level=name, why=error.why)) from None


def name_taken(rollup: Rollup, known: Rollup | None, catalog: Catalog) -> TableName | None:
    """
    What has the name of one of a level's tables and is not that table; None: nothing.

    :param known: The level as it is registered; None: its tables were never created.
    """
    for name in rollup.tables:
        there, table = catalog.taken(name), catalog.tables.get(name)
        if there is not None and not (known and table and is_own_table(known, name, table.columns)):
            return there
    return None


def _zone(interval: Interval, policy: Policy) -> str:
    """The policy's zone, unless its days do not consist of whole buckets; then the level's partitions are in UTC."""
    fits = bool(interval.unit) or interval.fits_into(UNITS[0], policy.zone)
    return policy.time_zone if fits else "UTC"


def choose_partition(level: Level, zone: str) -> Interval | None:
    """How to partition a level so that it expires in small parts; None: not at all."""
    kept = level.retention_period
    fitting = [unit for unit in UNITS if level.interval.fits_into(unit, find_zone(zone))]
    if kept.forever:
        if level.interval.unit == "week":
            return None  # Weeks fit into nothing longer, and a partition for each would be too many.
        return UNITS[3] if level.interval.unit else UNITS[2]
    small = [unit for unit in fitting if unit.approximate_seconds * _PARTITIONS <= kept.approximate_seconds()]
    return small[-1] if small else fitting[0]


def find_dimensions(policy: Policy, table: Table, time: Column, before: Rollup | None = None) -> tuple[Column, ...]:
    """
    The columns that tell series apart: those that the policy names, else text, boolean and key columns, those of
    other types that are grouped by exactly, and what well-known tables have for it.

    :param before: A level that exists: what is none of its dimensions for its type or name becomes none by itself.
    """
    if policy.dimensions:
        named = _all_named(policy, table, policy.dimensions, "dimensions")
        for column in named:
            if column.grouping is Grouping.NEVER:
                raise Undecided(Why.NOT_GROUPABLE(column=column))
        return named
    meaning, metrics = find_meaning(table), _all_named(policy, table, policy.metrics, "metrics")
    keys = set(table.primary_key) if time.name in table.primary_key else set()
    known = {column.name for column in before.dimensions} if before else set()
    summarized = {metric.column.name for metric in before.metrics} if before else set()

    def tells_apart(column: Column) -> bool:
        if column.name in keys:
            return True
        plain = column.kind in (Kind.TEXT, Kind.BOOLEAN)
        exact = plain or column.grouping is Grouping.EXACT
        if column.name in known:
            return exact or meaning.tells_apart(column)
        if column.grouping is Grouping.NEVER or meaning.is_said(column):
            return False
        return plain or (exact and before is None) or (meaning.tells_apart(column) and column.name not in summarized)

    return tuple(c for c in _candidates(policy, table, time) if c not in metrics and tells_apart(c))


def _check_series(
    policy: Policy, table: Table, time: Column, dimensions: Iterable[Column], metrics: Iterable[Metric]
) -> None:
    """What tells series apart, perhaps, is not left out unless the policy says so; naming dimensions does."""
    meaning = find_meaning(table)
    taken = {*(column.name for column in dimensions), *(metric.column.name for metric in metrics)}
    others = (c for c in _candidates(policy, table, time) if c.name not in taken and not meaning.is_said(c))
    unsure = [c for c in others if c.kind is not Kind.NUMBER]
    if unsure and not policy.dimensions:
        names = tuple(f"{c.name} ({c.type})" for c in unsure)
        raise Undecided(Why.LEFT_OUT(columns=names))


def find_said(policy: Policy, table: Table, rollup: Rollup) -> tuple[Column, ...]:
    """
    What is left out without the user's word, since it only says something of a series; none where the primary key
    proves that no two rows of one time are of the same series.
    """
    dimensions = {column.name for column in rollup.dimensions}
    key = {name for name in table.primary_key if table.columns[name].expression is None}
    if policy.dimensions or (rollup.time.name in key and key <= {rollup.time.name, *dimensions}):
        return ()
    meaning = find_meaning(table)
    candidates = (c for c in _candidates(policy, table, rollup.time) if c.kind in (Kind.TEXT, Kind.BOOLEAN))
    return tuple(c for c in candidates if meaning.is_said(c) and c.name not in dimensions)


def find_metrics(policy: Policy, table: Table, time: Column, dimensions: tuple[Column, ...]) -> tuple[Metric, ...]:
    """The numbers to aggregate: those that the policy names, else all that are no dimensions."""
    columns = _metric_columns(policy, table, time, dimensions)
    for column in columns:
        if column.kind is not Kind.NUMBER:
            raise Undecided(Why.NOT_A_NUMBER(column=column))
    counters, within = _find_counters(policy, columns, dimensions)
    chosen = {
        c.name: kept for key, kept in policy.aggregates.items() if key != "*" for c in _metrics_named(columns, key)
    }

    def make(column: Column) -> Metric:
        counter = column.name in counters
        kept = chosen.get(column.name) or policy.aggregates.get("*") or (COUNTER if counter else GAUGE)
        always = counter or Aggregate.INCREASE in kept
        return make_metric(column, (*kept, Aggregate.INCREASE) if counter or within else kept, () if always else within)

    return tuple(make(column) for column in columns)


def _metric_columns(policy: Policy, table: Table, time: Column, dimensions: tuple[Column, ...]) -> tuple[Column, ...]:
    if policy.metrics:
        return _all_named(policy, table, policy.metrics, "metrics", Kind.NUMBER)
    meaning, taken = find_meaning(table), {column.name for column in dimensions}
    numbers = [c for c in _candidates(policy, table, time) if c.kind is Kind.NUMBER and c.name not in taken]
    return tuple(column for column in numbers if not meaning.repeats(column))


def _find_counters(
    policy: Policy, columns: Sequence[Column], dimensions: Sequence[Column]
) -> tuple[set[str], tuple[SeriesPattern, ...]]:
    """The metrics that are counters, and patterns of the series in which all others are, too."""
    counters: set[str] = set()
    within: list[SeriesPattern] = []
    for text in policy.counters:
        dimension, equals, pattern = text.partition("=")
        of = find_columns(dimensions, dimension)
        if is_pattern(text) and not equals:
            fits = matcher(text)
            counters.update(c.name for c in columns if fits(c.name) or fits(label(c.name)))
        elif equals and not find_columns(columns, text):
            if len(of) != 1 or of[0].kind is not Kind.TEXT:
                known = tuple(c.name for c in dimensions if c.kind is Kind.TEXT) or ("none",)
                raise Undecided(Why.NO_SERIES(name=dimension, known=known))
            within.append(SeriesPattern(of[0], pattern))
        else:
            counters.update(c.name for c in _metrics_named(columns, text))
    return counters, tuple(within)


def _metrics_named(columns: Sequence[Column], name: str) -> list[Column]:
    found = find_columns(columns, name)
    if not found:
        known = tuple(sorted(column.name for column in columns)) or ("none",)
        raise Undecided(Why.NO_METRIC(name=name, known=known))
    return found


def _candidates(policy: Policy, table: Table, time: Column) -> list[Column]:
    """
    Columns that may be dimensions or metrics.

    Generated ones repeat others, and so do objects; a key without the time would make each row a series of its own,
    and times by which a table is partitioned follow from the rows' time.
    """
    rowid = set() if time.name in table.primary_key else set(table.primary_key)
    periods = {c.name for c in table.columns.values() if c.kind is Kind.TIME and c.name in table.partitioned_by}
    excluded = _excluded(policy, table)
    return [
        column
        for column in table.columns.values()
        if column.name not in {time.name, *rowid, *periods} and column.expression is None
        if column.grouping is not Grouping.PARTS and excluded.isdisjoint((column.name, *outer_names(column.name)))
    ]


def _named(table: Table, name: str, role: str) -> list[Column]:
    """The columns that a name means; none of an object that is empty."""
    found = find_columns(table.columns.values(), name)
    if not found and name not in table.columns:
        raise Undecided(Why.NO_COLUMN(role=role, name=name))
    return found


def _all_named(
    policy: Policy, table: Table, names: Iterable[str], role: str, kind: Kind | None = None
) -> tuple[Column, ...]:
    """
    The columns that names mean, each once; of an object, those that are not excluded.

    :param kind: Of an object, only columns of this kind.
    """
    excluded = _excluded(policy, table)
    found: dict[str, Column] = {}
    for name in names:
        for column in _named(table, name, role):
            if name in (column.name, label(column.name)) or (
                column.name not in excluded and kind in (None, column.kind)
            ):
                found[column.name] = column
    return tuple(found.values())


def _excluded(policy: Policy, table: Table) -> set[str]:
    """An object is excluded with all that is in it."""
    return {name for text in policy.exclude for name in (text, *(c.name for c in _named(table, text, "exclude")))}


def _check_names(time: Column, dimensions: Sequence[Column], metrics: Sequence[Metric], folds_case: bool) -> None:
    """No two columns of a level, of its distributions or of the view may have the same name."""
    keys = [label(time.name), *(label(column.name) for column in dimensions)]
    level = [*keys, *OWN_COLUMNS, *(name for metric in metrics for name in metric.columns)]
    view = [*level, *(metric.named(one) for metric in metrics for one in metric.shown if one.binned)]
    tables = [level, [*view, level_column(view)]]
    if any(Part.BINS in metric.parts for metric in metrics):
        tables.append([*keys, VERSION, PARTITION, SKETCH_METRIC, SKETCH_SIGN, SKETCH_BIN, SKETCH_COUNT])
    for names in tables:
        spelt = [name.lower() if folds_case else name for name in names]
        twice = sorted({name for name in spelt if spelt.count(name) > 1})
        if twice:
            raise Undecided(Why.NAMED_TWICE(name=twice[0]))


def _check_width(rollup: Rollup, there: Table | None, capabilities: Capabilities) -> None:
    """
    A level has no more columns than the database takes. Those of metrics that it had before count as well.

    :param there: Its table, if it exists.
    """
    names = {*rollup.columns, *([PARTITION] if rollup.partition else []), *(there.columns if there else ())}
    most = there.most_columns if there else capabilities.most_columns
    if most is None or len(names) <= most:
        return
    raise Undecided(
        (Why.TOO_WIDE_NOW if there else Why.TOO_WIDE)(
            level=rollup.table, columns=len(names), metrics=len(rollup.metrics), product=capabilities.product, most=most
        )
    )


def beneath_target(cascade: Cascade, rollup: Rollup) -> Target | None:
    """The table that a level is computed from, as a target; None if it does not exist yet."""
    if rollup.from_raw:
        return cascade.raw
    of_levels = (target for level in cascade.levels for target in level.targets)
    return next((target for target in of_levels if target.table.name == rollup.beneath), None)


def beneath_as_target(policy: Policy, rollup: Rollup, table: Table) -> Target:
    """The table that a level is computed from, as a target of the policy; ``Undecided`` if it is none any more."""
    if rollup.from_raw:
        return make_target(policy, table)
    return _as_target(policy, rollup, table, policy.retention_period)


def level_targets(cascade: Cascade) -> Iterator[Target]:
    """The levels' own tables as targets, so that they expire as other tables do."""
    for level in cascade.levels:
        if level.rollup.partition is not None:
            yield from level.targets


def _as_target(policy: Policy, rollup: Rollup, table: Table, retention: Duration) -> Target:
    changes = {
        "table_schema": table.name.schema,
        "table_name": table.name.name,
        "retention_period": retention,
        "time_column": rollup.time_name,
        "time_unit": None,
        "partition_column": None,
    }
    return make_target(policy.model_copy(update=changes), table)


def by_source(cascades: Iterable[Cascade]) -> dict[TableName, Cascade]:
    return {cascade.source: cascade for cascade in cascades}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the columns of one table mean by their names."""

    labels: frozenset[str]  # The objects with what tells series apart; where there is none, nothing follows from names
    names: frozenset[str]  # All names of the table's columns, in lower case

    def tells_apart(self, column: Column) -> bool:
        """Whether it is a dimension though it is a number."""
        named = _outermost(column) in self.labels or column.name in _HASHES
        return bool(self.labels) and named and column.kind is Kind.NUMBER

    def is_said(self, column: Column) -> bool:
        """Whether it is what rows say of their series: perhaps a metric, and never a dimension by itself."""
        return bool(self.labels) and (_outermost(column) == _FIELDS or self.repeats(column))

    def repeats(self, column: Column) -> bool:
        """Whether it repeats a value, in another form."""
        return bool(self.labels) and column.name.lower() == _RAW[0] and _RAW[1] in self.names


def find_meaning(table: Table) -> Meaning:
    """What the names of a table's columns say."""
    objects = (table.columns[name] for name in _LABELS if name in table.columns)
    labels = (column.name for column in objects if column.grouping is Grouping.PARTS or column.type == "object")
    return Meaning(frozenset(labels), frozenset(name.lower() for name in table.columns))


def _outermost(column: Column) -> str | None:
    return next(reversed(list(outer_names(column.name))), None)


def _is_large(rows: int, groups: int) -> bool:
    return rows >= _ENOUGH and groups > rows * _LARGE


def why_large(cascade: Cascade, ledger: Ledger) -> Reason | None:
    """That a level that exists is about as large as its source, in words; None if it is not, or the user means it."""
    rollup = cascade.levels[0].rollup
    windows = ledger.of(rollup.table).values()
    rows, groups = sum(window.rows for window in windows), sum(window.groups for window in windows)
    if cascade.policy.dimensions or not _is_large(rows, groups):
        return None
    names = tuple(column.name for column in rollup.dimensions) or ("none",)
    return Why.LARGE_ROLLUP(level=rollup.table, groups=groups, rows=rows, source=rollup.source, dimensions=names)


def variety_probe(cascade: Cascade, cutoff: dt.datetime) -> Variety | None:
    """What must be asked of the newest rows; None if the policy names the dimensions, or levels exist already."""
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
        said=find_said(cascade.policy, cascade.raw.table, rollup),
    )


def require_smaller(cascade: Cascade, measurements: Measurements, cutoff: dt.datetime) -> None:
    """
    Make sure that the finest level would be smaller than the rows that it is made of, and that what is left out for its
    name does not tell series apart.

    :raises Undecided: if it would not, and columns are the cause that the policy does not name; or if it does.
    """
    probe = variety_probe(cascade, cutoff)
    found = measurements.varieties.get(probe) if probe else None
    if probe is None or found is None:
        return
    if found.mixed:
        names = tuple(column.name for column in probe.said)
        raise Undecided(Why.SERIES_MIXED(rows=found.mixed, source=cascade.source, columns=names))
    if not _is_large(found.rows, found.groups):
        return
    causes = tuple(
        f"{column.name} ({values:,} values)"
        for column, values in zip(probe.dimensions, found.values, strict=True)
        if values > found.rows * _VARIED
    )
    if causes:
        level = cascade.levels[0].rollup.table
        why = Why.NOT_SMALLER(level=level, groups=found.groups, rows=found.rows, source=cascade.source, causes=causes)
        raise Undecided(why)
