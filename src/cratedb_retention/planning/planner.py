"""
The planner: from policies, the catalog and a cutoff to a plan. Pure, and the same input gives the same plan.

Every expired partition gets exactly one verdict: a task, or a hold with its reason. The strategies' own rules live
in a module each: :mod:`.delete`, :mod:`.snapshot`, :mod:`.reallocate`; what they share is here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial

from cratedb_retention.model.catalog import Catalog, Partition, TableName
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.ledger import Ledger
from cratedb_retention.model.measurements import ExpiredRows, Measurements, Probe, WindowRows
from cratedb_retention.model.plan import DropArchived, DropPartitions, Hold, Kept, Piece, Plan, Task, ThawPartitions
from cratedb_retention.model.policy import Policy, Undated
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.model.snapshots import RestoredPartition
from cratedb_retention.model.strategies import Strategy
from cratedb_retention.model.time import to_ms
from cratedb_retention.model.words import show_partition
from cratedb_retention.planning import delete, downsample, limits, reallocate, snapshot, warnings
from cratedb_retention.planning.cascades import Cascade, by_source, find_cascades, level_targets
from cratedb_retention.planning.context import Context, PartitionKey
from cratedb_retention.planning.coverage import make_coverage
from cratedb_retention.planning.downsample import LevelState
from cratedb_retention.planning.holds import TableHold, holds_by_table
from cratedb_retention.planning.isolation import isolated
from cratedb_retention.planning.pieces import PieceIndex
from cratedb_retention.planning.plausible import range_probe, split_plausible, why_old
from cratedb_retention.planning.reasons import next_due
from cratedb_retention.planning.shrinking import require_smaller, variety_probe
from cratedb_retention.planning.targets import Target, Undecided, find_targets
from cratedb_retention.planning.view import plan_view

_STRATEGIES: dict[Strategy, Callable[[Context, Target, Sequence[Piece]], Iterator[Task | Hold]]] = {
    Strategy.SNAPSHOT: snapshot.plan_partitions,
    Strategy.DOWNSAMPLE: delete.plan_partitions,
    Strategy.DELETE: delete.plan_partitions,
    Strategy.REALLOCATE: reallocate.plan_partitions,
}


def find_probes(
    policies: Iterable[Policy],
    catalog: Catalog,
    cutoff: dt.datetime,
    holds: Iterable[LegalHold] = (),
    ledger: Ledger | None = None,
) -> list[Probe]:
    """
    What the plan needs to know of the rows, to be measured by the engine and passed to :func:`make_plan`.

    :param cutoff: An aware instant.
    """
    ledger = ledger or Ledger()
    targets, _ = find_targets(_enabled(policies), catalog)
    cascades, _ = find_cascades(targets, catalog, ledger)
    downsampled = by_source(cascades)
    by_table = holds_by_table(holds, catalog)
    probes: dict[Probe, None] = {}
    for target in targets:
        for probe in _target_probes(target, cutoff, by_table.get(target.table.name, [])):
            if not isinstance(probe, ExpiredRows) or target.table.name not in downsampled:
                probes[probe] = None
    for cascade in cascades:
        find = partial(_cascade_probes, cascade, ledger, cutoff)
        # What fails here fails again in the plan, which says so.
        probes.update(dict.fromkeys(isolated(cascade.policy.id, cascade.source, find, []) or ()))
    return list(probes)


def _target_probes(target: Target, cutoff: dt.datetime, holds: Sequence[TableHold]) -> Iterator[Probe]:
    """What must be asked of the rows of a target; how many are expired only where nothing is downsampled."""
    limit = target.policy.limit(cutoff)
    yield from filter(None, (target.bounds_probe, range_probe(target, cutoff, holds)))
    if target.by_rows and limit is not None:
        yield from filter(None, [delete.rows_probe(target, limit, holds)])


def _cascade_probes(cascade: Cascade, ledger: Ledger, cutoff: dt.datetime) -> list[Probe]:
    """What must be asked of the rows of a cascade; a plan can do without how varied they are."""
    return [*filter(None, [variety_probe(cascade, cutoff)]), *_window_probes(cascade, ledger, cutoff)]


def _window_probes(cascade: Cascade, ledger: Ledger, cutoff: dt.datetime) -> list[WindowRows]:
    return list(downsample.find_window_probes(cascade, ledger, to_ms(cutoff)))


def make_plan(
    policies: Iterable[Policy],
    catalog: Catalog,
    cutoff: dt.datetime,
    *,
    holds: Iterable[LegalHold] = (),
    measurements: Measurements | None = None,
    frozen: Collection[PartitionKey] = (),
    chosen: Callable[[Policy], bool] = lambda policy: True,
    ledger: Ledger | None = None,
    archived: frozenset[tuple[str, str]] = frozenset(),
    restored: Mapping[RestoredPartition, tuple[str, str]] | None = None,
    own_schema: str = "",
) -> Plan:
    """
    Decide what a run does.

    :param policies: All policies of the database, since one may protect data from another.
    :param cutoff: The instant taken for now, time-zone aware; fractions of a millisecond are dropped.
    :param holds: The legal holds in force.
    :param measurements: The answers to :func:`find_probes`.
    :param frozen: Partitions that an earlier run froze and did not thaw.
    :param chosen: Which policies the run is about.
    :param ledger: What was rolled up so far.
    :param archived: Repository and name of the snapshots whose partition was dropped.
    :param restored: Repository and name of the one snapshot that a partition was restored from.
    :param own_schema: Of the toolkit's own tables.
    """
    ledger = ledger or Ledger()
    ordered = sorted(_enabled(policies), key=lambda p: (p.strategy.traits.order, p.id or "", p.target))
    targets, problems = find_targets(ordered, catalog)
    measurements = measurements or Measurements()
    ids = {policy.id for policy in ordered if chosen(policy)}
    pieces = PieceIndex(measurements)
    on_tables = holds_by_table(holds, catalog)
    readable, looked_at = [], targets
    for target in targets:
        probes = partial(_target_probes, target, cutoff, on_tables.get(target.table.name, []))
        check = partial(_require_answers, probes, measurements, catalog)
        if isolated(target.policy.id, target.table.name, check, problems):
            readable.append(target)
    targets, implausible = split_plausible(readable, pieces, measurements, cutoff)
    problems += [problem for _, problem in implausible]
    found, impossible = find_cascades(targets, catalog, ledger)
    problems += impossible
    cascades, states, verdicts = [], {}, {}
    for cascade in found:
        plan = partial(_plan_levels, cascade, catalog, ledger, pieces, measurements, cutoff)
        planned = isolated(cascade.policy.id, cascade.source, plan, problems)
        if planned is not None:
            cascades.append(cascade)
            states[cascade.source], verdicts[cascade.source] = planned
    targets = _with_levels(targets, cascades)
    looked_at = [*looked_at, *(level for cascade in cascades for level in level_targets(cascade))]
    context = Context(
        catalog=catalog,
        cutoff=cutoff,
        holds=on_tables,
        pieces=pieces,
        counted=measurements.rows,
        archivers=_archivers(targets, cutoff),
        stalled=_stalled(ordered, problems, cutoff),
        frozen=frozenset(frozen),
        archived=archived,
        restored=restored or {},
        own_schema=own_schema,
        coverage=make_coverage(
            (states[c.source], c.policy, c.policy.id in ids, c.policy.limit(cutoff)) for c in cascades
        ),
    )
    outcome = _Outcome(context)
    for cascade in cascades:
        if cascade.policy.id in ids:
            outcome.take(verdicts[cascade.source])
    for target in targets:
        isolated(target.policy.id, target.table.name, partial(outcome.add, target, target.policy.id in ids), problems)
    for cascade in cascades:
        if cascade.policy.id in ids:
            view = partial(_plan_view, cascade, catalog, ledger, outcome.tasks)
            outcome.take(isolated(cascade.policy.id, cascade.source, view, problems) or ())
    return Plan(
        cutoff=to_ms(cutoff),
        tasks=(*outcome.tasks, *_thaw(context, outcome.tasks, outcome.reserved)),
        holds=(*(hold for hold in problems if hold.policy_id in ids), *outcome.holds),
        kept=tuple(outcome.kept),
        legal_holds=_in_force(context, {target.table.name for target in looked_at if target.policy.id in ids}),
        warnings=tuple(warnings.find_warnings(context, [t for t in looked_at if t.policy.id in ids])),
    )


def _enabled(policies: Iterable[Policy]) -> list[Policy]:
    return [policy for policy in policies if policy.enabled]


def _require_answers(probes: Callable[[], Iterable[Probe]], measurements: Measurements, catalog: Catalog) -> bool:
    """
    Make sure that the rows answered: what they could not say is not guessed.

    :raises Undecided: with the reason of the database.
    """
    for probe in probes():
        if probe in measurements.failed:
            table = catalog.tables.get(probe.table)
            if table is not None and table.missing_shards:
                raise Undecided(Why.MISSING_SHARDS(count=table.missing_shards))
            raise Undecided(Why.UNREADABLE(table=probe.table, error=measurements.failed[probe]))
    return True


def _plan_levels(
    cascade: Cascade,
    catalog: Catalog,
    ledger: Ledger,
    pieces: PieceIndex,
    measurements: Measurements,
    cutoff: dt.datetime,
) -> tuple[list[LevelState], list[Task | Hold]]:
    """The levels of a cascade, and what brings them up to date."""
    _require_answers(partial(_window_probes, cascade, ledger, cutoff), measurements, catalog)
    require_smaller(cascade, measurements, cutoff)
    states = downsample.level_states(cascade, ledger, pieces, measurements, to_ms(cutoff))
    return states, list(downsample.plan_levels(cascade, states, catalog, ledger))


def _plan_view(cascade: Cascade, catalog: Catalog, ledger: Ledger, tasks: Iterable[Task]) -> list[Task | Hold]:
    return list(plan_view(cascade, catalog, ledger, tasks))


def _with_levels(targets: Iterable[Target], cascades: Iterable[Cascade]) -> list[Target]:
    """All targets in order, with the levels of cascades; without the ones where no cascade is possible."""
    found = by_source(cascades)
    ordered: list[Target] = []
    for target in targets:
        if not target.policy.strategy.traits.rolls_up:
            ordered.append(target)
        elif target.table.name in found and found[target.table.name].raw is target:
            ordered += [target, *level_targets(found[target.table.name])]
    return ordered


def _archivers(targets: Iterable[Target], cutoff: dt.datetime) -> dict[TableName, list[Target]]:
    """The targets that archive; what they want must not be deleted before."""
    found: dict[TableName, list[Target]] = {}
    for target in targets:
        if target.policy.strategy.traits.archives and target.policy.acts(cutoff):
            found.setdefault(target.table.name, []).append(target)
    return found


def _stalled(
    policies: Iterable[Policy], problems: Iterable[Hold], cutoff: dt.datetime
) -> dict[TableName, list[Policy]]:
    """Policies that should archive or downsample a table and can't, by the table."""
    archiving = {
        p.id: p for p in policies if (p.strategy.traits.rolls_up or p.strategy.traits.archives) and p.acts(cutoff)
    }
    found: dict[TableName, list[Policy]] = {}
    for problem in problems:
        if problem.policy_id in archiving:
            found.setdefault(problem.table, []).append(archiving[problem.policy_id])
    return found


class _Outcome:
    """Collects the verdicts of all targets."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.tasks: list[Task] = []
        self.holds: list[Hold] = []
        self.kept: list[Kept] = []
        self.reserved: set[PartitionKey] = set()

    def add(self, target: Target, chosen: bool) -> None:
        """Decide about one target; one that is not chosen only claims what it archives."""
        limit = target.policy.limit(self.context.cutoff)
        if target.by_rows:
            if chosen and limit is not None:
                self.take(limits.keep_within(target, list(delete.plan_rows(self.context, target, limit))))
            return
        pieces = self.context.pieces.of(target)
        due = () if limit is None else pieces.expired(limit)
        if not chosen:
            if target.policy.strategy.traits.archives:
                self.context.claim(target.table.name, due)
                self.reserved.update((target.table.name, piece.partition.values) for piece in due)
            return
        if limit is not None:
            self.take(self._judge(target, limit, due, pieces.unknown))
        # What nothing tells the time of is held by then, unless it is kept forever.
        later = len(pieces) if limit is None else len(pieces.known) - len(due)
        self.kept.append(_kept(target, later, pieces.known[len(due) : len(due) + 1]))

    def take(self, verdicts: Iterable[Task | Hold]) -> None:
        """Sort verdicts: all of them, or none if finding them fails."""
        for verdict in list(verdicts):
            if isinstance(verdict, Task):
                self.tasks.append(verdict)
            else:
                self.holds.append(verdict)

    def _judge(
        self, target: Target, limit: int, due: Sequence[Piece], unknown: Sequence[Piece]
    ) -> Iterator[Task | Hold]:
        policy, context = target.policy, self.context
        free: list[Piece] = []
        held: list[tuple[Reason, bool, Piece]] = []
        for piece in due:
            if context.is_claimed(target.table.name, piece):
                continue
            reason = _reason_to_hold(context, target, piece, limit)
            if reason:
                held.append((*reason, piece))
            else:
                free.append(piece)
        held += [(*_why_unknown(piece, policy), piece) for piece in unknown]
        yield from _group_holds(target, held)
        if free:
            verdicts = list(_STRATEGIES[policy.strategy](context, target, free))
            yield from limits.keep_within(target, verdicts)


def _reason_to_hold(context: Context, target: Target, piece: Piece, limit: int) -> tuple[Reason, bool] | None:
    """Why an expired piece must stay, and whether that is a problem; None if it may go."""
    traits, hold = target.policy.strategy.traits, context.hold_on(target, piece)
    if hold:
        return hold.why, False
    if piece.partition.missing_shards:
        return Why.MISSING_SHARDS(count=piece.partition.missing_shards), True
    if piece.partition.read_only and traits.archives:
        return Why.DISK_FULL(), True
    old = why_old(target, piece)
    if old:
        return old, True
    waiting = context.coverage.why_not(target.table.name, piece, limit)
    if waiting and traits.removes:
        return waiting, False
    if traits.removes and not traits.archives:
        stalled = context.stalled_on(target)
        if stalled:
            return stalled, True
        archiver = context.archiver_of(target, piece)
        if archiver:
            later, sooner = archiver.policy.retention_period, target.policy.retention_period
            return Why.ARCHIVED_LATER(archiver=archiver.policy.id or "", later=later, sooner=sooner), True
    return None


def _why_unknown(piece: Piece, policy: Policy) -> tuple[Reason, bool]:
    """Why a piece must stay whose time nothing tells, and whether that is a problem."""
    if piece.partition.closed:
        return Why.CLOSED(), True
    if piece.partition.rows == 0:
        return Why.EMPTY(), False
    return Why.UNDATED(), policy.undated is Undated.BLOCK


def _group_holds(target: Target, held: Iterable[tuple[Reason, bool, Piece]]) -> Iterator[Hold]:
    """One hold for each reason, with a few of its partitions by name."""
    groups: dict[tuple[Reason, bool], list[Piece]] = {}
    for why, problem, piece in held:
        groups.setdefault((why, problem), []).append(piece)
    for (why, problem), pieces in sorted(groups.items(), key=lambda group: (str(group[0][0]), group[0][1])):
        names = tuple(show_partition(target.columns, piece.partition.values) for piece in pieces[:5])
        yield Hold(
            policy_id=target.policy.id,
            table=target.table.name,
            why=why,
            partitions=names,
            count=len(pieces),
            problem=problem,
            pieces=tuple(pieces),
        )


def _kept(target: Target, count: int, following: Sequence[Piece]) -> Kept:
    due = next_due(following[0], target.policy) if following else None
    return Kept(policy_id=target.policy.id or "", table=target.table.name, partitions=count, next_due=due)


def _in_force(context: Context, tables: Iterable[TableName]) -> tuple[LegalHold, ...]:
    """The holds on some tables, each once."""
    found = {hold.hold.id: hold.hold for table in tables for hold in context.holds.get(table, ())}
    return tuple(found[identifier] for identifier in sorted(found))


def _thaw(context: Context, tasks: Iterable[Task], reserved: Collection[PartitionKey]) -> Iterator[Task]:
    """
    Partitions that an interrupted run froze, and that neither this run nor another one is about to finish.

    One that is gone, or thawed already, is among them: its step does no harm, and lets the store forget it.
    """
    finishing = {(task.table, piece.partition.values) for task in tasks for piece in _dropped(task)}
    for name, values in sorted(context.frozen - finishing - set(reserved), key=str):
        table = context.catalog.tables.get(name)
        if table is None:
            continue
        partition = next((p for p in table.partitions if p.values == values), Partition(values=values))
        columns = tuple(table.columns[column] for column in table.partitioned_by)
        step = ThawPartitions(name, columns, (Piece(partition=partition, start=None, end=None),))
        yield Task(
            policy_id=None,
            table=name,
            steps=(step,),
            why=Why.LEFT_FROZEN(),
            partitions=1,
        )


def _dropped(task: Task) -> Iterator[Piece]:
    for step in task.steps:
        if isinstance(step, DropPartitions):
            yield from step.pieces
        elif isinstance(step, DropArchived):
            yield step.piece
