"""
Cascades found out: for each table that a policy downsamples its levels, each with its dimensions, metrics, tables and
partitions.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from cratedb_retention.model.cascade import Interval, Level
from cratedb_retention.model.catalog import Catalog, Column, Grouping, Kind, Table, TableName
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.ledger import Ledger
from cratedb_retention.model.ownership import is_own_table
from cratedb_retention.model.plan import Hold
from cratedb_retention.model.policy import Policy, Strategy
from cratedb_retention.model.rollup import (
    COUNTER,
    GAUGE,
    OWN_COLUMNS,
    PARTITION,
    SKETCH_BIN,
    SKETCH_COUNT,
    SKETCH_METRIC,
    SKETCH_SIGN,
    VERSION,
    Aggregate,
    Metric,
    Rollup,
    label,
    level_column,
    level_table,
    make_metric,
)
from cratedb_retention.planning.targets import Target, make_target

UNITS = (Interval(unit="day"), Interval(unit="week"), Interval(unit="month"), Interval(unit="year"))
# A level has about so many partitions, so that what expires is a small part of it.
_PARTITIONS = 4


@dataclass(frozen=True)
class CascadeLevel:
    """
    One level on one table.

    :param rollup: What it is; with the partitions that its table has, if that exists.
    :param table: Its table as the catalog has it; None if it is yet to be created.
    :param known: Whether it is registered.
    """

    rollup: Rollup
    retention_period: Duration
    table: Table | None
    known: bool


@dataclass(frozen=True)
class Cascade:
    """
    A policy that downsamples, on one table.

    :param raw: The target on the table with the raw rows.
    :param levels: Finest first.
    :param left_out: The source's columns that are in no level.
    """

    policy: Policy
    raw: Target
    levels: tuple[CascadeLevel, ...]
    left_out: tuple[Column, ...] = ()

    @property
    def source(self) -> TableName:
        """The table with the raw rows."""
        return self.raw.table.name


class _Impossible(Exception):
    """Why a table can't be downsampled."""


def find_cascades(targets: Iterable[Target], catalog: Catalog, ledger: Ledger) -> tuple[list[Cascade], list[Hold]]:
    """
    The cascades, and a problem for each table where there can't be one.

    :param targets: All targets; those of other strategies are passed over.
    """
    cascades: dict[TableName, Cascade] = {}
    problems = []
    for target in targets:
        if target.policy.strategy is not Strategy.DOWNSAMPLE:
            continue
        name = target.table.name
        try:
            if name in cascades:
                raise _Impossible(f"policy {cascades[name].policy.id} downsamples it already; remove one of them")
            levels = tuple(_levels(target, catalog, ledger))
            cascades[name] = Cascade(target.policy, target, levels, find_left_out(target.table, levels[0].rollup))
        except _Impossible as error:
            problems.append(Hold(target.policy.id, str(name), str(error), problem=True))
    return list(cascades.values()), problems


def _levels(target: Target, catalog: Catalog, ledger: Ledger) -> Iterator[CascadeLevel]:
    policy, source = target.policy, target.table
    time = target.time_column
    if time is None:
        raise _Impossible("nothing says which column is the rows' time; name one as time_column")
    before = next((known.rollup for known in ledger.rollups.values() if known.rollup.source == source.name), None)
    dimensions = find_dimensions(policy, source, time, before)
    metrics = find_metrics(policy, source, time, dimensions)
    _check_series(policy, source, time, dimensions, metrics)
    _check_names(time, dimensions, metrics, catalog.capabilities.folds_case)
    beneath = source.name
    for level in policy.levels:
        table = level_table(source.name, level.interval)
        known = ledger.rollups.get(table)
        zone = _zone(level.interval, policy)
        partition = known.rollup.partition if known else choose_partition(level, zone)
        rollup = Rollup(source.name, beneath, table, level.interval, time, dimensions, metrics, zone, partition)
        if known:
            rollup = replace(rollup, window=known.rollup.window, window_zone=known.rollup.window_zone)
        if known and (known.rollup.source, known.rollup.zone) != (rollup.source, rollup.zone):
            raise _Impossible(
                f"{table} was made from {known.rollup.source} in time zone {known.rollup.zone}, and neither can be "
                "changed; change the policy back, or rename that table"
            )
        there = name_taken(rollup, known.rollup if known else None, catalog)
        if there is not None:
            raise _Impossible(f"{there} exists already and is no rollup; rename it")
        yield CascadeLevel(rollup, level.retention_period, catalog.tables.get(table), known is not None)
        beneath = table


def name_taken(rollup: Rollup, known: Rollup | None, catalog: Catalog) -> TableName | None:
    """
    What has the name of one of a level's tables and is not that table; None: nothing.

    :param known: The level as it is registered; None: its tables were never created.
    """
    for name in (rollup.table, *([rollup.sketch] if rollup.sketched else [])):
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
    tz = zoneinfo.ZoneInfo(zone)
    fitting = [unit for unit in UNITS if level.interval.fits_into(unit, tz)]
    if kept.forever:
        if level.interval.unit == "week":
            return None  # Weeks fit into nothing longer, and a partition for each would be too many.
        return UNITS[3] if level.interval.unit else UNITS[2]
    small = [unit for unit in fitting if unit.approximate_seconds * _PARTITIONS <= kept.approximate_seconds()]
    return small[-1] if small else fitting[0]


def find_dimensions(policy: Policy, table: Table, time: Column, before: Rollup | None = None) -> tuple[Column, ...]:
    """
    The columns that tell series apart: those that the policy names, else text, boolean and key columns, and those of
    other types that are grouped by exactly.

    :param before: A level that exists: the latter become no dimensions of it by themselves.
    """
    if policy.dimensions:
        named = tuple(_named(table, name, "dimensions") for name in policy.dimensions)
        for column in named:
            if column.grouping is Grouping.NEVER:
                raise _Impossible(f"dimensions: rows can't be grouped by {column.name} ({column.type}); exclude it")
        return named
    keys = set(table.primary_key) if time.name in table.primary_key else set()
    known = None if before is None else {column.name for column in before.dimensions}
    return tuple(
        column
        for column in _candidates(policy, table, time)
        if column.kind in (Kind.TEXT, Kind.BOOLEAN)
        or column.name in keys
        or (column.grouping is Grouping.EXACT and (known is None or column.name in known))
        if column.name not in policy.metrics
    )


def _check_series(
    policy: Policy, table: Table, time: Column, dimensions: Iterable[Column], metrics: Iterable[Metric]
) -> None:
    """What tells series apart, perhaps, is not left out unless the policy says so; naming dimensions does."""
    taken = {*(column.name for column in dimensions), *(metric.column.name for metric in metrics)}
    unsure = [c for c in _candidates(policy, table, time) if c.kind is not Kind.NUMBER and c.name not in taken]
    if unsure and not policy.dimensions:
        names, them = ", ".join(f"{c.name} ({c.type})" for c in unsure), "it" if len(unsure) == 1 else "them"
        raise _Impossible(
            f"neither a dimension nor a metric: {names}; leaving {them} out would merge series that differ in nothing "
            f"else; name {them} in exclude, or all dimensions in dimensions"
        )


def find_left_out(table: Table, rollup: Rollup) -> tuple[Column, ...]:
    """The columns of a table that none of a level's are made of."""
    used = {rollup.time.name, *(c.name for c in rollup.dimensions), *(m.column.name for m in rollup.metrics)}
    return tuple(c for c in table.columns.values() if c.name not in used and c.grouping is not Grouping.PARTS)


def find_metrics(policy: Policy, table: Table, time: Column, dimensions: tuple[Column, ...]) -> tuple[Metric, ...]:
    """The numbers to aggregate: those that the policy names, else all that are no dimensions."""
    taken = {column.name for column in dimensions}
    if policy.metrics:
        columns = [_named(table, name, "metrics") for name in policy.metrics]
    else:
        columns = [c for c in _candidates(policy, table, time) if c.kind is Kind.NUMBER and c.name not in taken]
    for column in columns:
        if column.kind is not Kind.NUMBER:
            raise _Impossible(f"metrics: {column.name} is {column.type}, not a number")
    names = {column.name for column in columns}
    for name in (*policy.counters, *(key for key in policy.aggregates if key != "*")):
        if name not in names:
            raise _Impossible(f"{name!r} is no metric of it; they are: {', '.join(sorted(names)) or 'none'}")
    return tuple(make_metric(column, _aggregates(policy, column.name)) for column in columns)


def _aggregates(policy: Policy, name: str) -> tuple[Aggregate, ...]:
    counter = name in policy.counters
    chosen = policy.aggregates.get(name) or policy.aggregates.get("*") or (COUNTER if counter else GAUGE)
    return (*chosen, Aggregate.INCREASE) if counter else chosen


def _candidates(policy: Policy, table: Table, time: Column) -> list[Column]:
    """
    Columns that may be dimensions or metrics.

    Generated ones repeat others, and so do objects; a key without the time would make each row a series of its own,
    and times by which a table is partitioned follow from the rows' time.
    """
    rowid = set() if time.name in table.primary_key else set(table.primary_key)
    periods = {c.name for c in table.columns.values() if c.kind is Kind.TIME and c.name in table.partitioned_by}
    for name in policy.exclude:
        _named(table, name, "exclude")
    return [
        column
        for column in table.columns.values()
        if column.name not in {time.name, *rowid, *periods} and column.expression is None
        if column.grouping is not Grouping.PARTS and not _is_excluded(policy, column)
    ]


def _is_excluded(policy: Policy, column: Column) -> bool:
    """An object is excluded with all that is in it."""
    return any(column.name == name or column.name.startswith(f"{name}['") for name in policy.exclude)


def _named(table: Table, name: str, role: str) -> Column:
    if name not in table.columns:
        raise _Impossible(f"{role}: the table has no column {name!r}")
    return table.columns[name]


def _check_names(time: Column, dimensions: Sequence[Column], metrics: Sequence[Metric], folds_case: bool) -> None:
    """No two columns of a level, of its distributions or of the view may have the same name."""
    keys = [label(time.name), *(label(column.name) for column in dimensions)]
    level = [*keys, *OWN_COLUMNS, *(name for metric in metrics for name in metric.columns)]
    tables = [level, [*level, level_column(level)]]
    if any(metric.has(Aggregate.PERCENTILES) for metric in metrics):
        tables.append([*keys, VERSION, PARTITION, SKETCH_METRIC, SKETCH_SIGN, SKETCH_BIN, SKETCH_COUNT])
    for names in tables:
        spelt = [name.lower() if folds_case else name for name in names]
        twice = sorted({name for name in spelt if spelt.count(name) > 1})
        if twice:
            raise _Impossible(
                f"two columns of its rollups would be named {twice[0]}; rename or exclude the source's column"
            )


def beneath_target(cascade: Cascade, rollup: Rollup, catalog: Catalog) -> Target | None:
    """The table that a level is computed from, as a target; None if it does not exist yet."""
    if rollup.from_raw:
        return cascade.raw
    table = catalog.tables.get(rollup.beneath)
    return None if table is None else beneath_as_target(cascade.policy, rollup, table)


def beneath_as_target(policy: Policy, rollup: Rollup, table: Table) -> Target:
    """
    The table that a level is computed from, as a target.

    :param policy: The one that downsamples.
    """
    if rollup.from_raw:
        return make_target(policy, table)
    return _as_target(policy, rollup, table, policy.retention_period)


def level_targets(cascade: Cascade, catalog: Catalog) -> Iterator[Target]:
    """The levels' own tables as targets, so that they expire as other tables do."""
    for level in cascade.levels:
        for name in (level.rollup.table, level.rollup.sketch):
            table = catalog.tables.get(name)
            if table is not None and level.rollup.partition is not None and not table.closed:
                yield _as_target(cascade.policy, level.rollup, table, level.retention_period)


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
    """The cascades by the table with the raw rows."""
    return {cascade.source: cascade for cascade in cascades}
