"""
The rollups of tables: finds cascades with the time range of each level, and those that policies define; drops rollups;
and verifies them: each level is compared with its source (law 5: rows are conserved), for the time range that both
cover. Where that is gone from its table, archived rows take its place, if there are any that can be read. The database
aggregates both in chunks of whole buckets, and single buckets only of chunks that differ; DuckDB does so with archives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from cratedb_retention.engine.base import Engine
from cratedb_retention.engine.expressions import table_ref
from cratedb_retention.engine.query import Partial, read_stretch
from cratedb_retention.errors import InvalidInput, NotFound
from cratedb_retention.execution.plan.preparing import Prepared
from cratedb_retention.execution.query import FindArchives, by_reason, opened_sources
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.catalog import Selector, TableName
from cratedb_retention.model.plan.plan import Plan
from cratedb_retention.model.policies.patterns import folded
from cratedb_retention.model.policies.policy import make_policy
from cratedb_retention.model.query.reading import Cascade, Holding, Reading, Stretch, Wanted, not_read
from cratedb_retention.model.rollups.aggregates import Part
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.rollups.ledger import KnownRollup, Ledger
from cratedb_retention.model.rollups.rollup import ROW_COUNT, RollUp, Rollup, find_view, view_name
from cratedb_retention.model.time import TimeRange, TimeRanges, from_ms, show
from cratedb_retention.planning.query import choose_step, whole_part
from cratedb_retention.planning.rollups.cascades import Cascade as PlannedCascade
from cratedb_retention.planning.rollups.cascades import SourceColumns, find_cascades
from cratedb_retention.planning.targets import Undecided, find_targets, make_target
from cratedb_retention.store.audit import Entry
from cratedb_retention.store.store import Store

if TYPE_CHECKING:
    from cratedb_retention.engine.duckdb.query import ArchivedTable

_CHUNKS = 500
# Maximum number of differing chunks that are compared bucket by bucket.
_LOOKED_AT = 5
_TOLERANCE = 1e-9
_YEAR = Interval(unit="year")
_ALL = TimeRange(-62_135_596_800_000, 253_370_764_800_000)
_EMPTY = TimeRange(0, 0)
_NOTHING = Partial(key=(0, ()))
Values = tuple[str, float | None, float | None]


def find_cascade(engine: Engine, store: Store, table: TableName) -> Cascade:
    """
    A table with its rollups, if it has any, and the time range of each. NotFound if the table does not exist or is one
    of the toolkit's own; InvalidInput if its time column is unknown.
    """
    rollups = store.rollups.all()
    mine = of_source(store, rollups.values(), table)
    if not mine:
        return _without_rollups(engine, store, table)
    table = mine[0].rollup.source
    # Without levels that were removed from their policy; those of a deleted policy stay readable.
    policies = (stored.policy for stored in store.policies.all()[0])
    wanted = {(policy.id, level.interval) for policy in policies for level in policy.levels}
    present = [known.rollup for known in mine if (known.policy_id, known.rollup.interval) in wanted]
    levels = sorted(present or (known.rollup for known in mine), key=lambda rollup: rollup.interval.approximate_seconds)
    ledger = store.rollups.ledger(rollups)
    raw = Holding(rollup=None, table=table, start=ledger.held_from(table, table), end=None)
    holdings = [raw]
    for rollup in levels:
        windows, held = ledger.of(rollup.table), ledger.held_from(table, rollup.table)
        first, end = windows.first, windows.until
        if first is None or end is None:
            continue
        start = first if held is None else max(first, held)
        if start < end:
            holdings.append(Holding(rollup=rollup, table=rollup.table, start=start, end=end))
    # The zone of the coarsest level, since a finer one may have none.
    return _cascade(table, levels[0], levels[-1].zone, tuple(holdings))


def _cascade(source: TableName, of: Rollup | SourceColumns, zone: str, holdings: tuple[Holding, ...]) -> Cascade:
    time, dimensions, metrics = of.time, of.dimensions, of.metrics
    return Cascade(source=source, time=time, dimensions=dimensions, metrics=metrics, zone=zone, holdings=holdings)


def of_source(store: Store, rollups: Iterable[KnownRollup], table: TableName) -> list[KnownRollup]:
    """The rollups of a table; upper or lower case of its name matters only if it does in the database."""
    return [known for known in rollups if _is_same(store, known.rollup.source, table)]


def _is_same(store: Store, one: TableName, other: TableName) -> bool:
    return one == other or (store.folds_case and folded(one) == folded(other))


def _without_rollups(engine: Engine, store: Store, table: TableName) -> Cascade:
    """A table without rollups, with metrics and dimensions by its policy, or as a policy would have them."""
    catalog = engine.read_catalog([Selector(schema=table.schema, name=table.name, keys=True)])
    same = [name for name in catalog.tables if _is_same(store, name, table)]
    if not same or same[0].schema == store.schema:
        raise NotFound(f"table {table}", "does not exist", "check its name and schema")
    table = table if table in same else same[0]
    policies = [stored.policy for stored in store.policies.all()[0] if stored.policy.enabled]
    targets = [target for target in find_targets(policies, catalog)[0] if target.table.name == table]
    holdings = (Holding(rollup=None, table=table, start=None, end=None),)
    for cascade in find_cascades(targets, catalog, Ledger())[0]:
        return _cascade(table, cascade.columns, cascade.policy.time_zone, holdings)
    unruled = make_policy(strategy="delete", table_schema=table.schema, table_name=table.name, retention_period="1d")
    try:
        targets.append(make_target(unruled, catalog.tables[table]))
    except Undecided as error:
        if not targets:
            raise InvalidInput(f"table {table}", error.why) from None
    found = next(((target.table, target.time_column) for target in targets if target.time_column is not None), None)
    if found is None:
        reason = "the time column is unknown"
        raise InvalidInput(f"table {table}", reason, "set it as time_column of a policy")
    return _cascade(table, SourceColumns(unruled, *found), "UTC", holdings)


def drop_rollups(engine: Engine, store: Store, source: TableName) -> list[TableName]:
    """
    Drop the view, the levels and their distributions; a policy that still exists creates them again. Other tables of
    the same names stay. NotFound if there are no rollups.

    :param source: The table with the raw rows, which need not exist any more.
    :return: The levels.
    """
    known = store.rollups.all()
    mine = sorted((k.rollup for k in of_source(store, known.values(), source)), key=lambda rollup: rollup.table)
    if not mine:
        raise NotFound(f"table {source}", "has no rollups")
    source, levels = mine[0].source, [rollup.table for rollup in mine]
    catalog = engine.read_named(
        [view_name(source), *(name for rollup in mine for name in (rollup.table, rollup.sketch))]
    )
    view, own = find_view(catalog, mine[0], levels, Ledger(known).view_marks(source))
    if view is not None and own:
        engine.database.drop(view, "VIEW")
    for rollup in mine:
        for name in (rollup.sketch, rollup.table):
            if name in catalog.tables and rollup.owns(catalog.tables[name]):
                engine.database.drop(name)
        store.rollups.forget(rollup.table)
    store.journal.write(
        Entry(
            event=Event.ROLLUPS_DROPPED,
            outcome=Outcome.DONE,
            table_schema=source.schema,
            table_name=source.name,
            message=f"dropped {', '.join(level.name for level in levels)}",
        )
    )
    return levels


def planned_cascades(prepared: Prepared) -> list[PlannedCascade]:
    """The cascades of the chosen policies."""
    enabled = (policy for policy in prepared.policies.values() if policy.strategy.traits.rolls_up and policy.enabled)
    targets, _ = find_targets(list(filter(prepared.selection.fits, enabled)), prepared.facts.catalog)
    return find_cascades(targets, prepared.facts.catalog, prepared.facts.ledger)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A difference between a level and its source."""

    level: str  # the level's interval
    table: str
    start: int  # the bucket or buckets [start, end) (ms UTC)
    end: int
    what: str  # ``row_count``, or ``temperature_sum`` and the like
    source: str  # the name of the finer level, or `raw`
    expected: float | None  # the value of the source
    found: float | None
    stale: bool = False  # whether rows arrived or changed since, so that the next run computes it again

    def to_dict(self) -> dict[str, Any]:
        """As plain values, with instants as ISO 8601, and None for NaN and infinity, which JSON lacks."""
        numbers = {name: getattr(self, name) for name in ("expected", "found")}
        finite = {name: one if one is not None and math.isfinite(one) else None for name, one in numbers.items()}
        ends = {end: from_ms(getattr(self, end)).isoformat() for end in ("start", "end")}
        return {**asdict(self), **finite, **ends, "beneath": self.source}  # The last is the former name of `source`.


def mark_stale(found: Iterable[Difference], plan: Plan) -> list[Difference]:
    """Mark differences that are only stale, since the next run, which has this plan, computes them again."""
    steps = [step for task in plan.tasks for step in task.steps if isinstance(step, RollUp)]
    due = [(str(step.rollup.table), TimeRange(w.since, w.until)) for step in steps for w in step.windows]

    def is_due(one: Difference) -> bool:
        return any(table == one.table and time.overlaps(TimeRange(one.start, one.end)) for table, time in due)

    return [replace(one, stale=is_due(one)) for one in found]


Told = Callable[[str], None]


def verify_rollups(
    engine: Engine, cascade: Cascade, find: FindArchives | None = None, told: Told | None = None
) -> list[Difference]:
    """
    Compare each level of a cascade with its source, for the time range that both cover.

    :param find: Finds the archives of a time range, which are compared where the source is gone from its table.
    :param told: Called with notes about archives.
    """
    for holding in cascade.holdings:  # Otherwise recent rows would seem to be missing.
        engine.database.refresh(table_ref(holding.table))
    pairs = [
        (finer, level)
        for level in cascade.holdings
        for finer in cascade.holdings
        if level.rollup and level.rollup.below == finer.table
    ]
    found = [one for finer, level in pairs for one in _Comparison(engine, cascade, finer, level).differences()]
    if find is not None:
        found += _compare_archived(engine, cascade, pairs, find, told or (lambda note: None))
    return found


def _compare_archived(
    engine: Engine, cascade: Cascade, pairs: Sequence[tuple[Holding, Holding]], find: FindArchives, told: Told
) -> Iterator[Difference]:
    """Compare levels with archived rows, for the time ranges in which their source is gone from its table."""
    covers = [
        (level, TimeRange.of(level.start, level.end), TimeRange.of(fine.start, fine.end)) for fine, level in pairs
    ]
    gone = [(level, left) for level, whole, fine in covers for left in TimeRanges([whole]) - [fine]]
    if not gone:
        return
    archives = find(TimeRange(min(left.start for _, left in gone), max(left.end for _, left in gone)))
    with opened_sources(engine, cascade, archives) as (with_archives, archived, unread):
        sources = [holding for holding in with_archives.holdings if holding.archived]
        for level, left in gone if archived else ():
            for source in sources:
                both = left & TimeRange.of(source.start, source.end)
                part = replace(source, start=both.start, end=both.end)
                comparison = _Comparison(engine, with_archives, part, level, archived)
                if both.empty or comparison.common.empty:
                    continue
                start, end = map(show, comparison.common)
                told(f"{level.name}: {start} to {end} was compared with archived rows")
                yield from comparison.differences()
    for time, why in by_reason(unread, TimeRanges(left for _, left in gone)):
        told(not_read(time, why))
    for time in (archives.late & (left for _, left in gone)).joined():
        start, end = map(show, time)
        told(f"{start} to {end} was archived more than once, and maybe with late rows: not compared with archived rows")


class _Comparison:
    def __init__(
        self, engine: Engine, cascade: Cascade, finer: Holding, level: Holding, archived: ArchivedTable | None = None
    ) -> None:
        self.engine, self.cascade, self.finer, self.level, self.archived = engine, cascade, finer, level, archived

    def differences(self) -> Iterator[Difference]:
        """By chunks; those that differ, by buckets of the level's own interval."""
        range_, rollup = self.common, self.level.rollup
        if range_.empty or rollup is None:
            return
        own = rollup.interval
        chunk = choose_step(self.cascade, *range_, _CHUNKS)
        chunk = chunk if own.fits_into(chunk, self.cascade.tzinfo) else own
        for number, (part, differing) in enumerate(self._differing(range_, chunk)):
            exact = self._differing(part, own) if chunk != own and number < _LOOKED_AT else ()
            yield from [one for _, found in exact for one in found] or differing

    @cached_property
    def common(self) -> TimeRange:
        """The time range that both cover, in whole buckets of the level."""
        sides = (self.finer, self.level)
        both = TimeRange.of(self.finer.start, self.finer.end) & TimeRange.of(self.level.start, self.level.end)
        if None in both.ends:
            utc, wanted = replace(self.cascade, zone="UTC"), (Wanted(None, ROW_COUNT),)
            found = [one.key[0] for side in sides for one in self._read(utc, side, _ALL, _YEAR, wanted)]
            both &= TimeRange(min(found), _YEAR.end(max(found))) if found else _EMPTY
        held = replace(self.level, start=both.start, end=both.end)
        return _EMPTY if both.empty else whole_part(held, _ALL, self.cascade.tzinfo)

    def _differing(self, range_: TimeRange, interval: Interval) -> Iterator[tuple[TimeRange, list[Difference]]]:
        zone = self.cascade.tzinfo
        about = partial(Difference, level=self.level.name, table=str(self.level.table), source=self.finer.name)
        # The states of metrics that both store; minimum and maximum tell how exact a sum can be.
        rollups = [holding.rollup for holding in (self.level, self.finer) if holding.rollup]
        parts = (Part.COUNT, Part.SUM, Part.MIN, Part.MAX)
        # Of archived rows, the columns of the cascade are read.
        columns = {metric.column for metric in self.cascade.metrics}
        metrics = [metric for metric in rollups[0].metrics if self.archived is None or metric.column in columns]
        each = (Wanted(metric, str(part)) for metric in metrics for part in parts)
        wanted = (Wanted(None, ROW_COUNT), *(want for want in each if all(want.kept_by(rollup) for rollup in rollups)))
        right, found = (
            {interval.floor(one.key[0], zone): one for one in self._read(self.cascade, side, range_, interval, wanted)}
            for side in (self.finer, self.level)
        )
        for bucket in sorted({*right, *found}):
            time = TimeRange(bucket, interval.end(bucket, zone)) & range_
            compared = _compare(right.get(bucket, _NOTHING), found.get(bucket, _NOTHING))
            values = [about(**time._asdict(), what=what, expected=one, found=other) for what, one, other in compared]
            if values:
                yield time, values

    def _read(
        self, cascade: Cascade, holding: Holding, range_: TimeRange, interval: Interval, wanted: tuple[Wanted, ...]
    ) -> list[Partial]:
        one = Stretch(holding=holding, time=range_, interval=interval)
        reading = Reading(cascade=cascade, time=range_, step=interval, wanted=wanted, by=(), where=(), stretches=(one,))
        if holding.archived and self.archived is not None:
            return list(self.archived.read(reading, one))
        return list(read_stretch(self.engine.database, self.engine.sql, reading, one))


def _compare(right: Partial, found: Partial) -> Iterator[Values]:
    if right.rows != found.rows:
        yield ROW_COUNT, right.rows, found.rows
    for metric in {**right.states, **found.states}:
        expected, there = (
            {part: float(value) if isinstance(value, Decimal) else value for part, value in known.items()}
            for known in (right.states.get(metric, {}), found.states.get(metric, {}))
        )
        if (expected.get(Part.COUNT) or 0) != (there.get(Part.COUNT) or 0):
            yield metric.named(Part.COUNT), expected.get(Part.COUNT), there.get(Part.COUNT)
        # Values of both signs may add up to almost zero, so the tolerance depends on their size.
        size = max(abs(expected.get(end) or 0.0) for end in (Part.MIN, Part.MAX)) * (expected.get(Part.COUNT) or 1)
        one, other = expected.get(Part.SUM) or 0.0, there.get(Part.SUM) or 0.0
        close = math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE * size)
        if not close and not (math.isnan(one) and math.isnan(other)):
            yield metric.named(Part.SUM), expected.get(Part.SUM), there.get(Part.SUM)
