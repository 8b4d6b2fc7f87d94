"""
The timeline of a table: what it holds when, what was rolled up, moved and archived of it, and what the next run does.

Pure: from a plan and what that rests on. What somebody must not see is left out by whoever calls it, who names the
policies, snapshots and holds; what can't be told apart from the data of others is not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from cratedb_retention.execution.cascades import planned_cascades
from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.execution.timeline_changes import changes_of
from cratedb_retention.execution.timeline_lanes import archived_lane, level_lane, moved_lane, raw_lane, verdicts_of
from cratedb_retention.model.catalog import Capabilities, Catalog, Table, TableName
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.patterns import is_pattern, matcher
from cratedb_retention.model.plan import Piece
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.rollup import level_table, sketch_table
from cratedb_retention.model.time import from_ms
from cratedb_retention.model.timeline import Cutoff, Lane, Timeline
from cratedb_retention.model.words import plural, short
from cratedb_retention.planning.cascades import Cascade, CascadeLevel, level_targets
from cratedb_retention.planning.holds import holds_by_table
from cratedb_retention.planning.pieces import PieceIndex
from cratedb_retention.planning.targets import Target, find_targets
from cratedb_retention.store.snapshots import SnapshotRecord


@dataclass(frozen=True, kw_only=True)
class Seen:
    """
    What somebody may see.

    :param policies: Their policies, whichever table they are about.
    :param records: Their snapshots of this table.
    :param holds: Their holds.
    :param whole: Whether all of the table is theirs, rather than what their policies choose of it.
    """

    policies: Sequence[Policy]
    records: Sequence[SnapshotRecord] = ()
    holds: Sequence[LegalHold] = ()
    whole: bool = True


def concerning(policies: Iterable[Policy], table: TableName, own: Capabilities) -> frozenset[str]:
    """The identifiers of the policies that a table's timeline is about: those on it, and on all of its cascade."""
    rules = [(policy, means(policy, own)) for policy in policies]
    names = {table}
    for policy, fits in rules:
        sources = {table, *(_source(table, str(level.interval)) for level in policy.levels)}
        for source in (source for source in sources if policy.levels and fits(source)):
            levels = [level_table(source, level.interval) for level in policy.levels]
            names.update((source, *levels, *map(sketch_table, levels)))
    return frozenset(policy.id or "" for policy, fits in rules if any(map(fits, names)))


def means(policy: Policy, own: Capabilities) -> Callable[[TableName], bool]:
    """Tells whether a policy means a table, by its name."""
    schema = matcher(policy.table_schema or own.default_schema, own.folds_case)
    name = matcher(policy.table_name, own.folds_case)
    return lambda table: schema(table.schema) and name(table.name)


def sources_of(prepared: Prepared, table: TableName) -> list[TableName]:
    """The tables whose rollup a table is, by the chosen policies."""
    cascades = planned_cascades(prepared)
    return [c.source for c in cascades if any(table in (x.rollup.table, x.rollup.sketch) for x in c.levels)]


def _source(table: TableName, interval: str) -> TableName:
    """The table that this is the level of, if its name says so; else itself."""
    for ending in (f"_{interval}", f"_{interval}_sketch"):
        if table.name.endswith(ending) and table.name != ending:
            return TableName(table.schema, table.name.removesuffix(ending))
    return table


def timeline(prepared: Prepared, name: TableName, seen: Seen) -> Timeline:
    """
    The timeline of a table.

    :param prepared: With a plan of all policies that the table is about, as far as somebody may see it.
    """
    catalog, plan = prepared.catalog, prepared.plan
    table, index = catalog.tables.get(name), PieceIndex(prepared.measurements)
    cascade = _cascade(prepared, name, seen)
    levels, of_levels = _levels(cascade, name), list(level_targets(cascade)) if cascade else []
    targets = _targets(seen, table, catalog) + [target for target in of_levels if target.table.name == name]
    pieces = _pieces(targets, index)
    verdicts = verdicts_of(plan, catalog)
    lanes: list[Lane] = []
    if table is not None:
        lane = raw_lane(table, targets, pieces, index, verdicts)
        lanes = [replace(lane, note=_about(table, pieces, seen)), *moved_lane(table, pieces, targets, catalog)]
    lanes[1:1] = [level_lane(level, of_levels, index, prepared.ledger, verdicts) for level in levels]
    tables = {name, *(table for level in levels for table in (level.rollup.table, level.rollup.sketch))}
    return Timeline(
        table=name,
        now=plan.cutoff,
        lanes=(*lanes, *archived_lane(seen.records, table)),
        cutoffs=(*_cutoffs(prepared, name, seen), *_level_cutoffs(prepared, cascade, name)),
        changes=tuple(changes_of(plan, tables)),
        held=tuple(hold for hold in plan.holds if hold.table in tables),
        holds=tuple(found.hold for found in holds_by_table(seen.holds, catalog).get(name, ())),
        notes=tuple(_notes(name, table, targets, pieces, seen)),
        source=cascade.source if cascade and cascade.source != name else None,
    )


def _cascade(prepared: Prepared, name: TableName, seen: Seen) -> Cascade | None:
    """The cascade that the table is part of."""
    ids = {policy.id for policy in seen.policies}
    for cascade in planned_cascades(prepared):
        tables = {cascade.source, *(t for x in cascade.levels for t in (x.rollup.table, x.rollup.sketch))}
        if cascade.policy.id in ids and name in tables:
            return cascade
    return None


def _levels(cascade: Cascade | None, name: TableName) -> list[CascadeLevel]:
    """The levels above a table."""
    if cascade is None:
        return []
    tables = [level.rollup.table for level in cascade.levels]
    return list(cascade.levels[tables.index(name) + 1 if name in tables else 0 :])


def _targets(seen: Seen, table: Table | None, catalog: Catalog) -> list[Target]:
    """The policies on the table, those that are enabled first. One who sees all needs no policy's filter to look."""
    if table is None:
        return []
    alone = replace(catalog, tables={table.name: table})
    policies = sorted(seen.policies, key=lambda policy: not policy.enabled)
    targets = find_targets(policies, alone)[0]
    if seen.whole and all(target.by_rows or target.where for target in targets):
        bare = [target.policy.model_copy(update={"where": {}, "enabled": False}) for target in targets]
        targets += [target for target in find_targets(bare, alone)[0] if not target.by_rows][:1]
    return targets


def _pieces(targets: Iterable[Target], index: PieceIndex) -> list[Piece]:
    """All partitions that any policy chooses, each once, with the interval that the first one finds."""
    found: dict[tuple[object, ...], Piece] = {}
    for target in targets:
        pieces = index.of(target)
        for piece in (*pieces.known, *pieces.unknown) if not target.by_rows else ():
            found.setdefault(piece.partition.values, piece)
    return list(found.values())


def _about(table: Table, pieces: Sequence[Piece], seen: Seen) -> str:
    if pieces:
        return f"{plural(len(pieces), 'partition')}."
    rows = f" It has {plural(table.rows, 'row')}." if seen.whole and table.rows is not None else ""
    if table.partitioned_by and not seen.whole:
        return "No partition can be told apart as yours."
    if table.partitioned_by and not table.partitions:
        return f"No partitions.{rows}"
    return f"The table has no partitions by time, so what is expired is deleted row by row.{rows}"


def _cutoffs(prepared: Prepared, name: TableName, seen: Seen) -> Iterator[Cutoff]:
    """The policies that mean the table. A pattern never means a rollup."""
    for policy in seen.policies:
        pattern = is_pattern(policy.table_name) or is_pattern(policy.table_schema or "")
        fits = means(policy, prepared.catalog.capabilities)(name)
        if fits and not (pattern and name in prepared.catalog.rollups):
            limit = policy.limit(from_ms(prepared.plan.cutoff))
            yield Cutoff(
                policy_id=policy.id or "", table=name, words=_does(policy), limit=limit, enabled=policy.enabled
            )


def _level_cutoffs(prepared: Prepared, cascade: Cascade | None, name: TableName) -> Iterator[Cutoff]:
    """How long the levels are kept: the table itself, if it is one, and those above."""
    if cascade is None:
        return
    shown = {name, *(level.rollup.table for level in _levels(cascade, name))}
    for level in (level for level in cascade.levels if level.rollup.table in shown):
        policy = cascade.policy.model_copy(update={"retention_period": level.retention_period})
        period, interval = level.retention_period, level.rollup.interval
        words = f"keep {interval} forever" if period.forever else f"drop {interval} after {period}"
        yield Cutoff(
            policy_id=policy.id or "",
            table=level.rollup.table,
            words=words,
            limit=policy.limit(from_ms(prepared.plan.cutoff)),
        )


def _does(policy: Policy) -> str:
    """What a policy does and when, in words."""
    return f"{policy.strategy.traits.does.format(policy)} after {policy.retention_period}"


def _notes(
    name: TableName, table: Table | None, targets: Iterable[Target], pieces: Sequence[Piece], seen: Seen
) -> Iterator[str]:
    if table is None:
        yield "There is no such table now."
    if not seen.whole:
        yield "Only what your policies choose of this table is shown, for it is shared with others."
    for target in targets:
        if target.by_rows and pieces and target.policy.enabled:
            yield f"Policy {short(target.policy.id)} deletes row by row, which the picture does not show."
