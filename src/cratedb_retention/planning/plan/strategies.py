"""What each strategy does with expired partitions and rows, within the limits of the policy."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from cratedb_retention.model.address import is_address
from cratedb_retention.model.archive import snapshot_name
from cratedb_retention.model.catalog import TableName, Value
from cratedb_retention.model.plan.effect import amount, total
from cratedb_retention.model.plan.measurements import ExpiredRows
from cratedb_retention.model.plan.plan import (
    Blocked,
    CompactPartitions,
    DeleteRows,
    DropArchived,
    DropPartitions,
    FreezePartitions,
    MovePartitions,
    SnapshotPartition,
    Step,
    Task,
    ThawPartitions,
    VerifySnapshot,
)
from cratedb_retention.model.plan.reasons import Reason, Why
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.policies.strategies import Strategy
from cratedb_retention.model.policies.values import Freeze, Verify
from cratedb_retention.model.rollups.rollup import SealWindows
from cratedb_retention.model.step import Piece
from cratedb_retention.model.time import from_ms, to_ms
from cratedb_retention.planning.facts import Facts
from cratedb_retention.planning.holds import TableHold, holds_by_table
from cratedb_retention.planning.rollups.coverage import Above, Coverage, ExpirableRows
from cratedb_retention.planning.rollups.windows import batches
from cratedb_retention.planning.targets import FilterIndex, Target, overlap, try_bind_where

# Freezing takes a statement for each partition, and writes are rejected meanwhile: for a few seconds at a time.
FROZEN_AT_ONCE = 20
# Windows and rows that are compared with their rollup and then deleted in one task: a write meanwhile defers all.
WINDOWS_AT_ONCE, ROWS_AT_ONCE = 1000, 1_000_000
# Partitions that move at the same time, within the limits of the cluster.
MOVED_AT_ONCE = 50
# Partitions that are compacted one after the other in one task. Those that are closed meanwhile are in tasks of their
# own, so that each is frozen for a short time only.
COMPACTED_AT_ONCE = 20


@dataclass(kw_only=True)
class Context(Facts):
    """The facts of a plan, and its state while it is made."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.coverage = Coverage()  # The level of each table.
        self.table_holds = holds_by_table(self.holds, self.catalog)
        self.archivers: dict[TableName, list[Target]] = defaultdict(list)  # Targets of the strategy `snapshot`.
        self.compactors: dict[TableName, list[Target]] = defaultdict(list)  # Those that set the number of replicas.
        # Those that move data, by the attribute of nodes, too: a partition is bound to one value of it.
        self.movers: dict[tuple[TableName, str | None], list[Target]] = defaultdict(list)
        self.stalled: dict[TableName, list[Policy]] = defaultdict(list)  # They should archive or roll up, and cannot.
        self.claimed: dict[TableName, set[tuple[Value, ...]]] = defaultdict(set)
        self._holds: dict[TableName, FilterIndex[TableHold]] = {}
        self._archivers: dict[TableName, FilterIndex[Target]] = {}

    def claim(self, table: TableName, pieces: Iterable[Piece]) -> None:
        """Reserve pieces for a task, so that no other task takes them."""
        self.claimed[table].update([piece.partition.values for piece in pieces])

    def needs_freeze(self, table: TableName, piece: Piece) -> bool:
        """Whether a piece must be frozen first: a closed one accepts no writes, one that a user froze stays frozen."""
        if not self.catalog.capabilities.freezes:
            return False
        if self.is_left(table, piece):
            return True
        return not piece.partition.frozen and not piece.partition.closed

    def is_left(self, table: TableName, piece: Piece) -> bool:
        """Whether an interrupted run left a piece frozen, and perhaps closed."""
        return (table, piece.partition.values) in self.frozen

    def hold_on(self, target: Target, piece: Piece) -> TableHold | None:
        name = target.table.name
        if name not in self._holds:
            holds = self.table_holds.get(name, ())
            self._holds[name] = FilterIndex(target.columns, [(hold, hold.where or ()) for hold in holds])
        fitting = self._holds[name].fitting(piece.partition.values)
        return next((hold for hold in fitting if hold.hold.overlaps(piece.start, piece.end)), None)

    def stalled_on(self, target: Target) -> Reason | None:
        """Why nothing may be deleted: a policy should archive or roll up the table, and cannot; None if none is."""
        for policy in self.stalled.get(target.table.name, ()):
            wanted = try_bind_where(target.table, policy.where)
            if wanted is None or overlap(wanted, target.where):
                return Why.STALLED(stalled=policy.id or "", verb=policy.strategy.traits.verb)
        return None

    def archiver_of(self, target: Target, piece: Piece) -> Target | None:
        """The target that archives a piece, now or later; None if there is none."""
        name = target.table.name
        if name not in self._archivers:
            self._archivers[name] = FilterIndex(target.columns, [(t, t.where) for t in self.archivers.get(name, ())])
        return next(iter(self._archivers[name].fitting(piece.partition.values)), None)

    def decides(self, target: Target, piece: Piece, others: Iterable[Target]) -> bool:
        """Whether of the policies that concern an expired piece now, this has the longest retention period."""
        values, names = piece.partition.values, [column.name for column in target.columns]
        limits = [
            (-limit, other.policy.id or "")
            for other in others
            if (limit := other.policy.limit(self.cutoff)) is not None and limit >= (piece.end or 0)
            if all(values[names.index(column.name)] == value for column, value in other.where)
        ]
        return max(limits, default=None) == (-(target.policy.limit(self.cutoff) or 0), target.policy.id or "")


def drop(context: Context, target: Target, pieces: Sequence[Piece]) -> Iterator[Task | Blocked]:
    """
    Drop pieces in batches. Those whose interval came from their rows are frozen and checked again first. If they are
    to be recoverable, each is archived and dropped by itself.
    """
    if target.policy.recoverable is not None:
        yield from archive(context, target, pieces)
        return
    name, columns = target.table.name, target.columns
    protected = context.coverage.protects(name)
    if target.policy.freeze is Freeze.NEVER and protected:
        yield blocked(target, Why.NEEDS_FREEZE(), pieces)
        return
    context.claim(name, pieces)
    frozen = any(not piece.exact and context.needs_freeze(name, piece) for piece in pieces)
    most = FROZEN_AT_ONCE if frozen and not protected else context.catalog.capabilities.dropped_at_once
    for batch in _batches(pieces, most):
        inexact = [piece for piece in batch if not piece.exact]
        guarded = batch if protected else inexact
        freezing = tuple(piece for piece in guarded if context.needs_freeze(name, piece))
        steps: list[Step] = [FreezePartitions(table=name, columns=columns, pieces=freezing)] if freezing else []
        steps += context.coverage.seal(name, batch)
        limit, time = target.policy.limit(context.cutoff) or 0, target.time_column if inexact else None
        last = DropPartitions(table=name, columns=columns, pieces=batch, before=limit, time_column=time)
        yield task_on(target, batch, [*steps, last])


def _batches(pieces: Sequence[Piece], size: int) -> Iterator[tuple[Piece, ...]]:
    return (tuple(pieces[start : start + size]) for start in range(0, len(pieces), size))


def delete_rows(context: Context, target: Target, limit: int) -> Iterator[Task | Blocked]:
    """Delete rows before an instant (ms), except those under a legal hold."""
    verdicts = list(_delete_rows(context, target, limit))
    if target.table.read_only and any(isinstance(verdict, Task) for verdict in verdicts):
        verdicts = [*(each for each in verdicts if isinstance(each, Blocked)), blocked(target, Why.NO_ROWS_GO())]
    yield from verdicts


def _delete_rows(context: Context, target: Target, limit: int) -> Iterator[Task | Blocked]:
    table, policy = target.table, target.policy
    holds = context.table_holds.get(table.name, [])
    whole = next((hold for hold in holds if hold.spared is None), None)
    obstacle = None if whole else _obstacle_to_rows(context, target)
    if whole:
        yield blocked(target, whole.why, needs_attention=False)
    elif obstacle:
        yield blocked(target, obstacle)
    elif (above := context.coverage.above.get(table.name)) is not None:
        yield from _delete_covered(target, above, above.expirable(limit, holds))
    elif (probe := rows_probe(target, limit, holds)) and (rows := context.measurements.rows.get(probe)) != 0:
        time, where, spared = probe.time_column, probe.where, probe.spared
        step = DeleteRows(table=table.name, time_column=time, before=limit, where=where, spared=spared, rows=rows)
        why = Why.OLDER(limit=limit, period=policy.retention_period)
        yield Task(policy_id=policy.id, table=table.name, steps=(step,), why=why, rows=rows)


def _delete_covered(target: Target, above: Above, covered: ExpirableRows) -> Iterator[Task | Blocked]:
    """Delete rows that a rollup covers, in whole windows."""
    policy, table, period = target.policy, target.table.name, target.policy.retention_period
    if covered.late:
        late_rows = sum(rows for _, rows in covered.late)
        yield blocked(target, Why.LATE_KEPT(rows=late_rows, cascade=above.cascade), needs_attention=False)
    held: Counter[Reason] = Counter()
    for _, rows, table_hold in covered.held:
        held[table_hold.why] += rows
    for hold in (hold for hold, rows in held.items() if rows):  # Windows without rows are not reported.
        yield blocked(target, Why.HELD_WINDOWS(rows=held[hold], hold=hold), needs_attention=False)
    if covered.waiting:
        yield blocked(target, covered.waiting, needs_attention=False)
    time, rollup = target.time_column, above.state.rollup
    if time is None:
        return
    going = (batch for together in covered.going for batch in batches(together, WINDOWS_AT_ONCE, ROWS_AT_ONCE))
    for windows, rows in going:
        since, before = windows[0].start, windows[-1].end
        late = sum(covered.dropped[window.start] for window in windows)
        if not rows:
            why = Why.ROWS_GONE()
        elif not late:
            why = Why.OLDER_ROLLED_UP(limit=before, period=period)
        elif rows == late:
            why = Why.OLDER_TOO_LATE(limit=before, period=period)
        else:
            why = Why.OLDER_SOME_TOO_LATE(limit=before, period=period, late=late)
        step = DeleteRows(table=table, time_column=time, before=before, rows=rows, since=since, late=late)
        steps = (SealWindows(rollup=rollup, windows=tuple(windows)), step)
        yield Task(policy_id=policy.id, table=table, steps=steps, why=why, rows=rows)


def _obstacle_to_rows(context: Context, target: Target) -> Reason | None:
    """Why no row of a table may be deleted; None if rows may."""
    if target.table.missing_shards:
        return Why.MISSING_SHARDS(count=target.table.missing_shards)
    if target.policy.recoverable is not None:
        return Why.NOT_RECOVERABLE()
    above = context.coverage.above.get(target.table.name)
    if above is not None and (target.where or not above.state.by_rows):
        return Why.NEEDS_WHOLE()
    stalled = context.stalled_on(target)
    archivers = context.archivers.get(target.table.name)
    if archivers and not stalled:
        return Why.ARCHIVED_WHOLE(archiver=archivers[0].policy.id or "")
    return stalled


def rows_probe(target: Target, limit: int, holds: Iterable[TableHold]) -> ExpiredRows | None:
    """The probe for the number of expired rows; None if a legal hold protects the whole table."""
    spared = [hold.spared for hold in holds]
    if target.time_column is None or None in spared:
        return None
    name, time, rows = target.table.name, target.time_column, tuple(s for s in spared if s is not None)
    return ExpiredRows(table=name, time_column=time, before=limit, where=target.where, spared=rows)


def archive(context: Context, target: Target, pieces: Sequence[Piece]) -> Iterator[Task | Blocked]:
    """Freeze, archive, verify and drop each piece by itself; on failure, it is unfrozen and kept (law 2)."""
    repository, limit = target.policy.target_repository_name or "", target.policy.limit(context.cutoff) or 0
    files = context.catalog.capabilities.repositories_are_directories or is_address(repository)
    context.claim(target.table.name, pieces)
    if not context.catalog.has_repository(repository):
        yield blocked(target, Why.NO_REPOSITORY(repository=repository), pieces)
        return
    if is_address(repository):  # The rows of a closed partition cannot be read.
        closed = [piece for piece in pieces if piece.partition.closed]
        pieces = [piece for piece in pieces if not piece.partition.closed]
        if closed:
            yield blocked(target, Why.PARTITION_CLOSED(), closed)
    # Files are always read back.
    verify = Verify.RESTORE if files else target.policy.verify
    for piece in pieces:
        about: dict[str, Any] = {"table": target.table.name, "columns": target.columns, "pieces": (piece,)}
        freezing = [FreezePartitions(**about)] if context.needs_freeze(target.table.name, piece) else []
        about |= {"repository": repository, "name": _snapshot_name(context, target, piece, repository)}
        time_column = None if piece.exact else target.time_column
        steps: tuple[Step, ...] = (
            *freezing,
            SnapshotPartition(**about),
            VerifySnapshot(**about, verify=verify, schema=context.own_schema),
            *context.coverage.seal(target.table.name, [piece]),
            DropArchived(**about, before=limit, time_column=time_column, recoverable=target.policy.recoverable),
        )
        yield task_on(target, [piece], steps)


def _snapshot_name(context: Context, target: Target, piece: Piece, repository: str) -> str:
    """The snapshot that a partition was restored from, if it is unchanged since; else a new name."""
    table, values, token = target.table.name, piece.partition.values, piece.partition.token
    where, name = context.restored.get((table, values, token), ("", ""))
    if where == repository and token:
        return name
    names = (snapshot_name(table, target.columns, values, token, copy) for copy in count())
    return next(name for name in names if (repository, name) not in context.archived)


def move(context: Context, target: Target, pieces: Sequence[Piece]) -> Iterator[Task | Blocked]:
    """
    Move pieces that are not there yet to nodes with an attribute, such as ``storage=cold``. Of several policies, the
    one with the longest retention period decides: otherwise they would move them back and forth.
    """
    policy, name = target.policy, target.table.name
    attribute, value = policy.reallocation_attribute_name or "", policy.reallocation_attribute_value or ""
    known, capabilities = context.catalog.nodes, context.catalog.capabilities
    movers = context.movers[name, policy.reallocation_attribute_name]
    pieces = [piece for piece in pieces if context.decides(target, piece, movers)]
    if not pieces:
        return
    nodes = {node for node, attributes in known.items() if attributes.get(attribute) == value}
    if not capabilities.reallocates:
        yield blocked(target, Why.NO_NODES(product=capabilities.product), pieces)
        return
    if not nodes:
        there = tuple(sorted({f"{k}={v}" for attributes in known.values() for k, v in attributes.items()}))
        none = Why.NO_NODE_ATTRIBUTES(attribute=attribute, value=value)
        why = Why.NO_NODE_WITH(attribute=attribute, value=value, known=there) if there else none
        yield blocked(target, why, pieces)
        return
    moving = [p for p in pieces if not is_there(p, attribute, value, nodes)]
    context.claim(name, moving)
    for batch in _batches(moving, MOVED_AT_ONCE):
        step = MovePartitions(table=name, columns=target.columns, pieces=batch, attribute=attribute, value=value)
        yield task_on(target, batch, [step])


def is_there(piece: Piece, attribute: str, value: str, nodes: set[str]) -> bool:
    """Whether a partition is bound to the nodes, and all its shards are on them."""
    partition = piece.partition
    return (attribute, value) in partition.requires and partition.settled and partition.nodes <= nodes


@dataclass(frozen=True, kw_only=True)
class _Compaction:
    """What a partition lacks to be compact."""

    compress: bool
    merge: bool
    read_only: bool
    replicas: str | None

    def __bool__(self) -> bool:
        return self.compress or self.merge or self.read_only or self.replicas is not None


def compact(context: Context, target: Target, pieces: Sequence[Piece]) -> Iterator[Task | Blocked]:
    """Store pieces that are not compact yet in less space; frozen meanwhile if they are closed, or stay read-only."""
    policy, name, capabilities = target.policy, target.table.name, context.catalog.capabilities
    if not capabilities.compacts:
        yield blocked(target, Why.NOT_COMPACTED(product=capabilities.product), pieces)
        return
    closed = [piece for piece in pieces if piece.partition.closed and not context.is_left(name, piece)]
    if closed:
        yield blocked(target, Why.PARTITION_CLOSED(), closed, needs_attention=False)
    groups: dict[_Compaction, list[Piece]] = defaultdict(list)
    for piece in pieces:
        if piece not in closed and (lacks := _lacks(context, target, piece)):
            groups[lacks].append(piece)
    context.claim(name, [piece for group in groups.values() for piece in group])
    for lacks, group in groups.items():
        for batch in _batches(group, 1 if lacks.compress else COMPACTED_AT_ONCE):
            about: dict[str, Any] = {"table": name, "columns": target.columns}
            freezes = lacks.compress or lacks.read_only
            frozen = tuple(piece for piece in batch if freezes and context.needs_freeze(name, piece))
            step = CompactPartitions(**about, pieces=batch, **vars(lacks))
            before = [FreezePartitions(**about, pieces=frozen)] if frozen else []
            after = [ThawPartitions(**about, pieces=frozen)] if frozen and not policy.read_only else []
            yield task_on(target, batch, [*before, step, *after])


def _lacks(context: Context, target: Target, piece: Piece) -> _Compaction:
    policy, partition, name = target.policy, piece.partition, target.table.name
    left = context.is_left(name, piece)
    compress = policy.compress and (not partition.compressed or partition.closed)
    replicas = policy.number_of_replicas if context.decides(target, piece, context.compactors[name]) else None
    return _Compaction(
        compress=compress,
        merge=policy.merge and (compress or not partition.merged),
        read_only=policy.read_only and (left or not partition.frozen),
        replicas=None if replicas == partition.replicas else replicas,
    )


def next_due(piece: Piece, policy: Policy) -> int | None:
    """When a piece expires (ms, UTC); None if never or unknown."""
    if piece.end is None:
        return None
    try:
        due = policy.due(from_ms(piece.end))
    except OverflowError:
        return None
    return None if due is None else to_ms(due)


def why_due(pieces: Sequence[Piece], policy: Policy) -> Reason:
    """Why pieces, sorted by end, are due."""
    first, last = pieces[0], pieces[-1]
    due = next_due(last, policy)
    if not last.exact and last.end is not None:
        return Why.NEWEST_ROW(newest=last.end - 1, due=due)
    if first.end == last.end:
        return Why.ENDS(end=last.end, due=due)
    return Why.END(first=first.end, last=last.end, due=due)


def task_on(target: Target, pieces: Sequence[Piece], steps: Iterable[Step]) -> Task:
    """A task of a target on some of its pieces, sorted by end."""
    return Task(
        policy_id=target.policy.id,
        table=target.table.name,
        steps=tuple(steps),
        why=why_due(pieces, target.policy),
        rows=total(piece.partition.rows for piece in pieces),
        size=total(piece.partition.size for piece in pieces),
        partitions=len(pieces),
    )


def blocked(target: Target, why: Reason, pieces: Sequence[Piece] = (), needs_attention: bool = True) -> Blocked:
    """A blocked action on some pieces of a target, or on all of its rows."""
    table, about = target.table.name, tuple(pieces)
    count, policy_id = len(about), target.policy.id
    return Blocked(
        policy_id=policy_id, table=table, why=why, count=count, needs_attention=needs_attention, pieces=about
    )


def keep_within(
    target: Target, verdicts: Sequence[Task | Blocked], unusual: Reason | None = None
) -> Iterator[Task | Blocked]:
    """
    Pass verdicts on; if the tasks exceed a limit (``expected_max``), or are unusual, one blocked action replaces all of
    them.
    """
    tasks = [verdict for verdict in verdicts if isinstance(verdict, Task)]
    excess = find_excess(target, tasks) or (unusual if tasks else None)
    yield from (verdict for verdict in verdicts if excess is None or isinstance(verdict, Blocked))
    if excess is not None:
        yield blocked(target, excess, [piece for task in tasks for piece in task.steps[-1].about])


def find_excess(target: Target, tasks: Sequence[Task]) -> Reason | None:
    """The limit (``expected_max``) that tasks exceed; None if they exceed none."""
    limits = target.policy.expected_max
    if limits is None or not tasks:
        return None
    of, known = amount(tasks), target.table.rows
    # An unknown number cannot be shown to be within a limit.
    rows, unknown = of.known_rows, of.rows is None
    percent = 100 * rows / known if known else 100.0
    if limits.partitions is not None and of.partitions > limits.partitions:
        return Why.TOO_MANY_PARTITIONS(due=of.partitions, most=limits.partitions)
    if limits.rows is not None and (rows > limits.rows or unknown):
        return Why.UNKNOWN_ROWS(most=limits.rows) if unknown else Why.TOO_MANY_ROWS(due=rows, most=limits.rows)
    if limits.percent is not None and (percent > limits.percent or unknown):
        most = limits.percent
        return Why.UNKNOWN_SHARE(most=most) if unknown else Why.TOO_MUCH(due=percent, most=most)
    return None


PLANS: Mapping[Strategy, Callable[[Context, Target, Sequence[Piece]], Iterator[Task | Blocked]]] = {
    Strategy.SNAPSHOT: archive,
    Strategy.DOWNSAMPLE: drop,
    Strategy.DELETE: drop,
    Strategy.REALLOCATE: move,
    Strategy.COMPACT: compact,
}
