"""
The lanes of a table's timeline: its partitions, its rollups, what was moved, what was archived.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cratedb_retention.model.catalog import Catalog, Table, TableName, Value
from cratedb_retention.model.ledger import Ledger, LedgerRow
from cratedb_retention.model.plan import DropArchived, DropPartitions, MovePartitions, Piece, Plan, Step, pieces_of
from cratedb_retention.model.rollup_steps import RollUp
from cratedb_retention.model.time import show
from cratedb_retention.model.timeline import Item, Lane, State, make_lane
from cratedb_retention.model.words import plural, short, show_partition
from cratedb_retention.planning.cascades import CascadeLevel
from cratedb_retention.planning.context import PartitionKey
from cratedb_retention.planning.pieces import PieceIndex
from cratedb_retention.planning.reallocate import is_there
from cratedb_retention.planning.reasons import next_due
from cratedb_retention.planning.targets import Target
from cratedb_retention.store.snapshots import SnapshotRecord, SnapshotStage

Verdict = tuple[State, tuple[str, ...]]
_URGENCY = list(State)


@dataclass(frozen=True)
class Verdicts:
    """
    What a plan says about each partition and each window that it is about.

    :param cutoff: The instant that it takes for now (ms, UTC).
    :param windows: By the level's table and the window's start; with its end.
    """

    cutoff: int
    pieces: Mapping[PartitionKey, Verdict]
    windows: Mapping[TableName, Mapping[int, tuple[int, Verdict]]]


def verdicts_of(plan: Plan, catalog: Catalog) -> Verdicts:
    """Sort what a plan says by partition and window."""
    pieces: dict[PartitionKey, Verdict] = {}
    windows: dict[TableName, dict[int, tuple[int, Verdict]]] = {}
    for task in plan.tasks:
        why = said(task.reason, task.policy_id)
        step = task.steps[-1]
        state = state_of(step)
        if isinstance(step, RollUp):
            found = {w.start: (w.until, (State.ROLL, (why,))) for w in step.windows}
            windows.setdefault(step.rollup.table, {}).update(found)
        elif isinstance(step, DropPartitions | DropArchived | MovePartitions) and state is not None:
            for piece in pieces_of(step):
                _note(pieces, (step.table, piece.partition.values), state, why)
    for hold in plan.holds:
        state, why = (State.PROBLEM if hold.problem else State.HELD), said(hold.reason, hold.policy_id)
        if hold.level is not None:
            held = {start: (end, (state, (why,))) for start, end in hold.windows}
            windows.setdefault(hold.level, {}).update(held)
        for piece in hold.pieces if hold.table in catalog.tables else ():
            _note(pieces, (hold.table, piece.partition.values), state, why)
    return Verdicts(plan.cutoff, pieces, windows)


def said(reason: str, policy_id: str | None) -> str:
    """A reason with the policy that it is of."""
    return f"{reason} (policy {short(policy_id)})" if policy_id else reason


def state_of(step: Step) -> State | None:
    """What a step makes of its partitions; None if it leaves them as they are."""
    match step:
        case DropPartitions():
            return State.DROP
        case DropArchived():
            return State.ARCHIVE
        case MovePartitions():
            return State.MOVE
        case RollUp():
            return State.ROLL
        case _:
            return None


def _note(found: dict[PartitionKey, Verdict], key: PartitionKey, state: State, why: str) -> None:
    before, reasons = found.get(key, (state, ()))
    found[key] = min(before, state, key=_URGENCY.index), (*reasons, why)


def raw_lane(
    table: Table, targets: Sequence[Target], pieces: Sequence[Piece], index: PieceIndex, verdicts: Verdicts
) -> Lane:
    """The table's own partitions."""
    due = _due(targets, index, verdicts)
    items = [_item(table, piece, verdicts, due.get(piece.partition.values)) for piece in pieces]
    return make_lane("Data in the table", items)


def _item(table: Table, piece: Piece, verdicts: Verdicts, due: int | None) -> Item:
    partition = piece.partition
    columns = [table.columns[name] for name in table.partitioned_by]
    state, reasons = verdicts.pieces.get((table.name, partition.values), (State.KEPT, ()))
    name = show_partition(columns, partition.values)
    later = due if state is State.KEPT else None
    return Item(
        start=piece.start,
        end=piece.end,
        state=state,
        name=name,
        rows=partition.rows,
        size=partition.size,
        reasons=reasons,
        due=later,
    )


def _due(targets: Iterable[Target], index: PieceIndex, verdicts: Verdicts) -> dict[tuple[object, ...], int]:
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


def level_lane(
    level: CascadeLevel, targets: Sequence[Target], index: PieceIndex, ledger: Ledger, verdicts: Verdicts
) -> Lane:
    """The windows of a rollup of which it still has the rows, and those that are about to be computed."""
    name = level.rollup.table
    rows, planned = ledger.of(name), verdicts.windows.get(name, {})
    own = next((target for target in targets if target.table.name == name), None)
    since, until = _kept(own, index, verdicts)
    starts = sorted({*rows, *planned})
    items = [item for s in starts for item in _window(s, rows.get(s), planned.get(s), since, until)]
    return make_lane(f"Rollup {level.rollup.interval}", items, _how_far(rows.values()))


def _kept(target: Target | None, index: PieceIndex, verdicts: Verdicts) -> tuple[int | None, int | None]:
    """From when on a rollup's table has rows, and until when the next run drops them; None: no bound."""
    if target is None:
        return None, None
    pieces = index.of(target).known
    starts = [piece.start for piece in pieces if piece.start is not None]
    dropped = [p.end for p in pieces if p.end and _state(verdicts, target.table.name, p) is State.DROP]
    return min(starts, default=None), max(dropped, default=None)


def _state(verdicts: Verdicts, table: TableName, piece: Piece) -> State:
    return verdicts.pieces.get((table, piece.partition.values), (State.KEPT, ()))[0]


def _window(
    start: int, row: LedgerRow | None, planned: tuple[int, Verdict] | None, since: int | None, dropped: int | None
) -> Iterator[Item]:
    rows = row.groups if row else None
    if planned is not None:
        end, (state, reasons) = planned
        end = max(end, row.until if row else end)
        yield Item(
            start=start,
            end=end,
            state=state,
            name=f"window {show(start)} to {show(end)}",
            rows=rows,
            size=None,
            reasons=reasons,
        )
        return
    if row is None or row.until <= max(start, since or start):
        return
    state = State.SEALED if row.sealed else State.COMPUTED
    if dropped is not None and row.until <= dropped:
        state = State.DROP
    yield Item(
        start=max(start, since or start),
        end=row.until,
        state=state,
        name=f"window {show(start)} to {show(row.end)}",
        rows=rows,
    )


def _how_far(rows: Iterable[LedgerRow]) -> str:
    rows = list(rows)
    if not rows:
        return "Nothing is computed yet."
    sealed = max((row.end for row in rows if row.sealed), default=None)
    words = f"Computed up to {show(max(row.until for row in rows))}"
    return words + (f", sealed up to {show(sealed)}." if sealed is not None else ", nothing is sealed.")


def moved_lane(table: Table, pieces: Iterable[Piece], targets: Iterable[Target], catalog: Catalog) -> list[Lane]:
    """Partitions that a policy moved; no lane if no policy moves any."""
    moving = [target.policy for target in targets if target.policy.strategy.traits.moves]
    wanted = {(p.reallocation_attribute_name or "", p.reallocation_attribute_value or "") for p in moving}
    nodes = {
        pair: {node for node, attributes in catalog.nodes.items() if attributes.get(pair[0]) == pair[1]}
        for pair in wanted
    }
    items = [item for piece in pieces for item in _moved(table, piece, nodes)]
    return [make_lane("Moved to other nodes", items, "" if items else "Nothing was moved yet.")] if wanted else []


def _moved(table: Table, piece: Piece, nodes: Mapping[tuple[str, str], set[str]]) -> Iterator[Item]:
    partition = piece.partition
    columns = [table.columns[name] for name in table.partitioned_by]
    for pair in partition.requires:
        if pair in nodes:
            state = State.MOVED if is_there(piece, *pair, nodes[pair]) else State.MOVING
            why = (f"nodes with {pair[0]}={pair[1]}",)
            name = show_partition(columns, partition.values)
            yield Item(
                start=piece.start,
                end=piece.end,
                state=state,
                name=name,
                rows=partition.rows,
                size=partition.size,
                reasons=why,
            )
            return


def archived_lane(records: Sequence[SnapshotRecord], table: Table | None) -> list[Lane]:
    """Snapshots; no lane if there are none."""
    there = {partition.values for partition in table.partitions} if table else set()
    columns = table.partitioned_by if table else ()
    items = [_archived(record, _is_there(record, columns, there)) for record in records]
    note = plural(len(items), "snapshot") + "."
    return [make_lane("Archived", items, note)] if items else []


def _is_there(record: SnapshotRecord, columns: tuple[str, ...], there: set[tuple[Value, ...]]) -> bool:
    archived = record.archived
    return tuple(column.name for column in archived.columns) == columns and tuple(archived.values) in there


def _archived(record: SnapshotRecord, there: bool) -> Item:
    archived = record.archived
    state = State.COPY if there else State.ARCHIVED
    if record.stage is SnapshotStage.RESTORED:
        state = State.RESTORED
    name = show_partition(archived.columns, archived.values)
    why = (f"in repository {archived.repository}",)
    return Item(
        start=record.start, end=record.end, state=state, name=name, rows=archived.rows, size=record.size, reasons=why
    )
