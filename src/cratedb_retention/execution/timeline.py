"""
The timeline of a table: what it holds when, what was rolled up, moved and archived of it, and what the next run does.

Pure: from a plan and what that rests on. What somebody must not see is left out by whoever calls it, who names the
policies, snapshots and holds; what can't be told apart from the data of others is not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.execution.rollups import planned_cascades
from cratedb_retention.model.catalog import Capabilities, Catalog, Table, TableName, Value
from cratedb_retention.model.effect import group_tasks
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.patterns import is_pattern, matcher
from cratedb_retention.model.plan import Piece, Plan, Task
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.rollup import Ledger, LedgerRow, RollUp, level_table, sketch_table
from cratedb_retention.model.step import Kind
from cratedb_retention.model.time import from_ms, show
from cratedb_retention.model.timeline import Cutoff, Item, Lane, State, Timeline, make_lane
from cratedb_retention.model.words import plural, short, show_partition
from cratedb_retention.planning.cascades import Cascade, CascadeLevel, level_targets
from cratedb_retention.planning.context import PartitionKey
from cratedb_retention.planning.pieces import PieceIndex
from cratedb_retention.planning.strategies import is_there, next_due
from cratedb_retention.planning.targets import Target, find_targets, holds_by_table
from cratedb_retention.store.archive import SnapshotRecord, SnapshotStage


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What somebody may see."""

    policies: Sequence[Policy]  # whichever table they are about
    records: Sequence[SnapshotRecord] = ()  # snapshots of this table
    holds: Sequence[LegalHold] = ()
    whole: bool = True  # whether all of the table is theirs, rather than what their policies choose of it


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
    verdicts = _verdicts_of(plan, catalog)
    lanes: list[Lane] = []
    if table is not None:
        own = make_lane(
            "Data in the table", _raw_items(table, targets, pieces, index, verdicts), _about(table, pieces, seen)
        )
        lanes = [own, *_moved_lane(table, pieces, targets, catalog)]
    lanes[1:1] = [_level_lane(level, of_levels, index, prepared.ledger, verdicts) for level in levels]
    tables = {name, *(table for level in levels for table in (level.rollup.table, level.rollup.sketch))}
    return Timeline(
        table=name,
        now=plan.cutoff,
        lanes=(*lanes, *_archived_lane(seen.records, table)),
        cutoffs=(*_cutoffs(prepared, name, seen), *_level_cutoffs(prepared, cascade, name)),
        changes=tuple(group_tasks(task for task in plan.tasks if not tables.isdisjoint(_tables(task)))),
        held=tuple(hold for hold in plan.holds if hold.table in tables),
        holds=tuple(found.hold for found in holds_by_table(seen.holds, catalog).get(name, ())),
        notes=tuple(_notes(name, table, targets, pieces, seen)),
        source=cascade.source if cascade and cascade.source != name else None,
    )


def _cascade(prepared: Prepared, name: TableName, seen: Seen) -> Cascade | None:
    ids = {policy.id for policy in seen.policies}
    for cascade in planned_cascades(prepared):
        tables = {cascade.source, *(t for x in cascade.levels for t in (x.rollup.table, x.rollup.sketch))}
        if cascade.policy.id in ids and name in tables:
            return cascade
    return None


def _levels(cascade: Cascade | None, name: TableName) -> list[CascadeLevel]:
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
            words = f"{policy.strategy.traits.does.format(policy)} after {policy.retention_period}"
            yield Cutoff(policy_id=policy.id or "", table=name, words=words, limit=limit, enabled=policy.enabled)


def _level_cutoffs(prepared: Prepared, cascade: Cascade | None, name: TableName) -> Iterator[Cutoff]:
    """How long the levels are kept: the table itself, if it is one, and those above."""
    if cascade is None:
        return
    shown = {name, *(level.rollup.table for level in _levels(cascade, name))}
    for level in (level for level in cascade.levels if level.rollup.table in shown):
        policy = cascade.policy.model_copy(update={"retention_period": level.retention_period})
        period, interval = level.retention_period, level.rollup.interval
        words = f"keep {interval} forever" if period.forever else f"drop {interval} after {period}"
        limit = policy.limit(from_ms(prepared.plan.cutoff))
        yield Cutoff(policy_id=policy.id or "", table=level.rollup.table, words=words, limit=limit)


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


def _tables(task: Task) -> set[TableName]:
    """The tables that a task is about: its own, and the rollups that it changes."""
    return {task.table, *(step.changes for step in task.steps if step.changes)}


Verdict = tuple[State, tuple[str, ...]]
_URGENCY = list(State)
# What a step makes of its partitions; others leave them as they are.
_STATES = {Kind.DELETE: State.DROP, Kind.ARCHIVE: State.ARCHIVE, Kind.MOVE: State.MOVE}


@dataclass(frozen=True)
class _Verdicts:
    """What a plan says about each partition and each window that it is about."""

    cutoff: int
    pieces: Mapping[PartitionKey, Verdict]
    windows: Mapping[TableName, Mapping[int, tuple[int, Verdict]]]  # by the level's table and the start; with the end

    def of(self, table: TableName, piece: Piece) -> Verdict:
        return self.pieces.get((table, piece.partition.values), (State.KEPT, ()))


def _verdicts_of(plan: Plan, catalog: Catalog) -> _Verdicts:
    pieces: dict[PartitionKey, Verdict] = {}
    windows: dict[TableName, dict[int, tuple[int, Verdict]]] = {}

    def note(table: TableName, piece: Piece, state: State, why: str) -> None:
        key = (table, piece.partition.values)
        before, reasons = pieces.get(key, (state, ()))
        pieces[key] = min(before, state, key=_URGENCY.index), (*reasons, why)

    for task in plan.tasks:
        why = _said(task.reason, task.policy_id)
        step = task.steps[-1]
        if isinstance(step, RollUp):
            found = {w.start: (w.until, (State.ROLL, (why,))) for w in step.windows}
            windows.setdefault(step.rollup.table, {}).update(found)
        elif step.does in _STATES:
            for piece in step.about:
                note(task.table, piece, _STATES[step.does], why)
    for hold in plan.holds:
        state, why = (State.PROBLEM if hold.problem else State.HELD), _said(hold.reason, hold.policy_id)
        if hold.level is not None:
            held = {start: (end, (state, (why,))) for start, end in hold.windows}
            windows.setdefault(hold.level, {}).update(held)
        for piece in hold.pieces if hold.table in catalog.tables else ():
            note(hold.table, piece, state, why)
    return _Verdicts(plan.cutoff, pieces, windows)


def _said(reason: str, policy_id: str | None) -> str:
    return f"{reason} (policy {short(policy_id)})" if policy_id else reason


def _raw_items(
    table: Table, targets: Sequence[Target], pieces: Sequence[Piece], index: PieceIndex, verdicts: _Verdicts
) -> Iterator[Item]:
    due = _due(targets, index, verdicts)
    for piece in pieces:
        state, reasons = verdicts.of(table.name, piece)
        yield _partition(table, piece, state, reasons, due.get(piece.partition.values) if state is State.KEPT else None)


def _partition(table: Table, piece: Piece, state: State, reasons: tuple[str, ...], due: int | None = None) -> Item:
    partition = piece.partition
    return Item(
        start=piece.start,
        end=piece.end,
        state=state,
        name=show_partition([table.columns[name] for name in table.partitioned_by], partition.values),
        rows=partition.rows,
        size=partition.size,
        reasons=reasons,
        due=due,
    )


def _due(targets: Iterable[Target], index: PieceIndex, verdicts: _Verdicts) -> dict[tuple[object, ...], int]:
    """When the first policy wants each partition that stays."""
    found: dict[tuple[object, ...], int] = {}
    for target in targets:
        if target.by_rows or not target.policy.enabled or target.policy.retention_period.forever:
            continue
        for piece in index.of(target).known:
            values = piece.partition.values
            due = None if (target.table.name, values) in verdicts.pieces else next_due(piece, target.policy)
            if due is not None and due > verdicts.cutoff:  # What was moved was due before.
                found[values] = min(due, found.get(values, due))
    return found


def _level_lane(
    level: CascadeLevel, targets: Sequence[Target], index: PieceIndex, ledger: Ledger, verdicts: _Verdicts
) -> Lane:
    """The windows of a rollup of which it still has the rows, and those that are about to be computed."""
    name = level.rollup.table
    rows, planned = ledger.of(name), verdicts.windows.get(name, {})
    pieces = [piece for target in targets if target.table.name == name for piece in index.of(target).known]
    # From when on its table has rows, and until when the next run drops them.
    since = min((piece.start for piece in pieces if piece.start is not None), default=None)
    dropped = max((p.end for p in pieces if p.end and verdicts.of(name, p)[0] is State.DROP), default=None)
    found = (_window(start, rows.get(start), planned.get(start), since, dropped) for start in sorted({*rows, *planned}))
    return make_lane(f"Rollup {level.rollup.interval}", filter(None, found), _how_far(rows.values()))


def _window(
    start: int, row: LedgerRow | None, planned: tuple[int, Verdict] | None, since: int | None, dropped: int | None
) -> Item | None:
    if planned is not None:
        end, (state, reasons) = planned
        end = max(end, row.until if row else end)
        name, rows = f"window {show(start)} to {show(end)}", row.groups if row else None
        return Item(start=start, end=end, state=state, name=name, rows=rows, reasons=reasons)
    begin = max(start, since or start)
    if row is None or row.until <= begin:
        return None
    state = State.SEALED if row.sealed else State.COMPUTED
    if dropped is not None and row.until <= dropped:
        state = State.DROP
    name = f"window {show(start)} to {show(row.end)}"
    return Item(start=begin, end=row.until, state=state, name=name, rows=row.groups)


def _how_far(rows: Iterable[LedgerRow]) -> str:
    rows = list(rows)
    if not rows:
        return "Nothing is computed yet."
    sealed = max((row.end for row in rows if row.sealed), default=None)
    words = f"Computed up to {show(max(row.until for row in rows))}"
    return words + (f", sealed up to {show(sealed)}." if sealed is not None else ", nothing is sealed.")


def _moved_lane(table: Table, pieces: Iterable[Piece], targets: Iterable[Target], catalog: Catalog) -> list[Lane]:
    """Partitions that a policy moved; no lane if no policy moves any."""
    moving = [target.policy for target in targets if target.policy.strategy.traits.moves]
    wanted = {(p.reallocation_attribute_name or "", p.reallocation_attribute_value or "") for p in moving}
    items = []
    for piece in pieces:
        for name, value in [pair for pair in piece.partition.requires if pair in wanted][:1]:
            nodes = {node for node, attributes in catalog.nodes.items() if attributes.get(name) == value}
            state = State.MOVED if is_there(piece, name, value, nodes) else State.MOVING
            items.append(_partition(table, piece, state, (f"nodes with {name}={value}",)))
    return [make_lane("Moved to other nodes", items, "" if items else "Nothing was moved yet.")] if wanted else []


def _archived_lane(records: Sequence[SnapshotRecord], table: Table | None) -> list[Lane]:
    """Snapshots; no lane if there are none."""
    there = {partition.values for partition in table.partitions} if table else set()
    columns = table.partitioned_by if table else ()
    items = [_archived(record, columns, there) for record in records]
    return [make_lane("Archived", items, f"{plural(len(items), 'snapshot')}.")] if items else []


def _archived(record: SnapshotRecord, columns: tuple[str, ...], there: set[tuple[Value, ...]]) -> Item:
    archived, state = record.archived, State.ARCHIVED
    if record.stage is SnapshotStage.RESTORED:
        state = State.RESTORED
    elif tuple(column.name for column in archived.columns) == columns and tuple(archived.values) in there:
        state = State.COPY
    return Item(
        start=record.start,
        end=record.end,
        state=state,
        name=show_partition(archived.columns, archived.values),
        rows=archived.rows,
        size=record.size,
        reasons=(f"in repository {archived.repository}",),
    )
