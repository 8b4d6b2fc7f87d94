"""
The planner: from policies, the catalog and a cutoff to a plan. Pure, and the same input gives the same plan.

Every expired partition gets exactly one verdict: a task, or a hold with its reason. What each strategy does with those
that nothing blocks is in :mod:`.strategies`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from cratedb_retention.model.catalog import Catalog, Partition, TableName
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.measurements import ExpiredRows, Measurements, Probe, WindowRows
from cratedb_retention.model.plan import Hold, Kept, Piece, Plan, Task, ThawPartitions
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.model.rollup import Ledger
from cratedb_retention.model.snapshots import RestoredPartition
from cratedb_retention.model.time import to_ms
from cratedb_retention.model.values import Undated
from cratedb_retention.model.words import show_partition
from cratedb_retention.planning import downsample
from cratedb_retention.planning.cascades import (
    Cascade,
    by_source,
    find_cascades,
    level_targets,
    require_smaller,
    variety_probe,
)
from cratedb_retention.planning.context import Context, PartitionKey
from cratedb_retention.planning.coverage import make_coverage
from cratedb_retention.planning.holds import holds_by_table
from cratedb_retention.planning.pieces import PieceIndex
from cratedb_retention.planning.plausible import find_warnings, range_probe, why_implausible, why_old
from cratedb_retention.planning.strategies import PLANS, delete_rows, rows_probe
from cratedb_retention.planning.targets import Target, Undecided, find_targets
from cratedb_retention.planning.verdicts import blocked, isolated, keep_within, next_due

_Levels = tuple[Cascade, list[downsample.LevelState], list[Task | Hold]]


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
    return _Planning(policies, catalog, cutoff, holds, ledger or Ledger()).probes()


def make_plan(  # noqa: PLR0913 - all that a plan rests on, each by its name
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
    Decide what a run does. All that a plan rests on is given by its name, and nothing else counts.

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
    planning = _Planning(policies, catalog, cutoff, holds, ledger or Ledger(), measurements)
    planned = planning.plan_levels()
    ids = {policy.id for policy in planning.policies if chosen(policy)}
    context = Context(
        catalog=catalog,
        cutoff=cutoff,
        holds=planning.holds,
        pieces=planning.pieces,
        counted=planning.measurements.rows,
        archivers=planning.archivers(),
        stalled=planning.stalled(),
        coverage=make_coverage(
            (states, cascade.policy, cascade.policy.id in ids, cascade.policy.limit(cutoff))
            for cascade, states, _ in planned
        ),
        frozen=frozenset(frozen),
        archived=archived,
        restored=restored or {},
        own_schema=own_schema,
    )
    return planning.plan(context, planned, ids)


class _Planning:
    """A plan in the making: what fails for one target becomes a problem of that target, see :func:`isolated`."""

    def __init__(
        self,
        policies: Iterable[Policy],
        catalog: Catalog,
        cutoff: dt.datetime,
        holds: Iterable[LegalHold],
        ledger: Ledger,
        measurements: Measurements | None = None,
    ) -> None:
        enabled = (policy for policy in policies if policy.enabled)
        self.policies = sorted(enabled, key=lambda p: (p.strategy.traits.order, p.id or "", p.target))
        self.catalog, self.cutoff, self.ledger = catalog, cutoff, ledger
        self.holds = holds_by_table(holds, catalog)
        self.measurements = measurements or Measurements()
        self.pieces = PieceIndex(self.measurements)
        self.targets, self.problems = find_targets(self.policies, catalog)
        self.looked_at = list(self.targets)
        self._tasks: list[Task] = []
        self._held: list[Hold] = []
        self._kept: list[Kept] = []
        self._reserved: set[PartitionKey] = set()

    def probes(self) -> list[Probe]:
        """What must be asked of the rows."""
        found: list[Probe] = []
        cascades, _ = find_cascades(self.targets, self.catalog, self.ledger)
        downsampled = by_source(cascades)
        for target in self.targets:
            asked = self._asked_of(target)
            found += (p for p in asked if not isinstance(p, ExpiredRows) or target.table.name not in downsampled)
        for cascade in cascades:
            # What fails here fails again in the plan, which says so. A plan can do without how varied the rows are.
            with isolated(cascade.policy.id, cascade.source, []):
                found += [*filter(None, [variety_probe(cascade, self.cutoff)]), *self._windows_of(cascade)]
        return list(dict.fromkeys(found))

    def _asked_of(self, target: Target) -> Iterator[Probe]:
        """What must be asked of a target's rows; how many are expired only where nothing is downsampled."""
        limit, holds = target.policy.limit(self.cutoff), self.holds.get(target.table.name, [])
        yield from filter(None, (target.bounds_probe, range_probe(target, self.cutoff, holds)))
        if target.by_rows and limit is not None:
            yield from filter(None, [rows_probe(target, limit, holds)])

    def _windows_of(self, cascade: Cascade) -> list[WindowRows]:
        return list(downsample.find_window_probes(cascade, self.ledger, to_ms(self.cutoff)))

    def plan_levels(self) -> list[_Levels]:
        """The cascades that are possible, with what brings their levels up to date; from then on levels are targets."""
        self._leave_out_unusable()
        possible, impossible = find_cascades(self.targets, self.catalog, self.ledger)
        self.problems += impossible
        planned: list[_Levels] = []
        for cascade in possible:
            with isolated(cascade.policy.id, cascade.source, self.problems):
                self._require_answers(self._windows_of(cascade))
                require_smaller(cascade, self.measurements, self.cutoff)
                now = to_ms(self.cutoff)
                states = downsample.level_states(cascade, self.ledger, self.pieces, self.measurements, now)
                verdicts = list(downsample.plan_levels(cascade, states, self.catalog, self.ledger))
                planned.append((cascade, states, verdicts))
        cascades = [cascade for cascade, _, _ in planned]
        self.targets = _with_levels(self.targets, cascades)
        self.looked_at += (level for cascade in cascades for level in level_targets(cascade))
        return planned

    def _leave_out_unusable(self) -> None:
        """Keep the targets whose rows answered what was asked, and whose times can be right."""
        readable, plausible = [], []
        for target in self.targets:
            with isolated(target.policy.id, target.table.name, self.problems):
                self._require_answers(self._asked_of(target))
                readable.append(target)
        for target in readable:
            why = why_implausible(target, self.pieces, self.measurements, self.cutoff)
            if why is None:
                plausible.append(target)
            else:
                self.problems.append(blocked(target, why))
        self.targets = plausible

    def _require_answers(self, probes: Iterable[Probe]) -> None:
        """
        Make sure that the rows answered: what they could not say is not guessed.

        :raises Undecided: with the reason of the database.
        """
        for probe in probes:
            if probe in self.measurements.failed:
                table = self.catalog.tables.get(probe.table)
                if table is not None and table.missing_shards:
                    raise Undecided(Why.MISSING_SHARDS(count=table.missing_shards))
                raise Undecided(Why.UNREADABLE(table=probe.table, error=self.measurements.failed[probe]))

    def archivers(self) -> dict[TableName, list[Target]]:
        """The targets that archive; what they want must not be deleted before."""
        found: dict[TableName, list[Target]] = {}
        for target in self.targets:
            if target.policy.strategy.traits.archives and target.policy.acts(self.cutoff):
                found.setdefault(target.table.name, []).append(target)
        return found

    def stalled(self) -> dict[TableName, list[Policy]]:
        """Policies that should archive or downsample a table and can't, by the table."""
        archiving = {
            p.id: p
            for p in self.policies
            if (p.strategy.traits.rolls_up or p.strategy.traits.archives) and p.acts(self.cutoff)
        }
        found: dict[TableName, list[Policy]] = {}
        for problem in self.problems:
            if problem.policy_id in archiving:
                found.setdefault(problem.table, []).append(archiving[problem.policy_id])
        return found

    def plan(self, context: Context, planned: Sequence[_Levels], ids: Collection[str | None]) -> Plan:
        """The plan for the policies with these identifiers."""
        chosen = [(cascade, verdicts) for cascade, _, verdicts in planned if cascade.policy.id in ids]
        for _, verdicts in chosen:
            self._take(verdicts)
        for target in self.targets:
            with isolated(target.policy.id, target.table.name, self.problems):
                self._decide(context, target, target.policy.id in ids)
        for cascade, _ in chosen:
            with isolated(cascade.policy.id, cascade.source, self.problems):
                self._take(downsample.plan_view(cascade, self.catalog, self.ledger, self._tasks))
        looked_at = [target for target in self.looked_at if target.policy.id in ids]
        return Plan(
            cutoff=to_ms(self.cutoff),
            tasks=(*self._tasks, *_thaw(context, self._tasks, self._reserved)),
            holds=(*(hold for hold in self.problems if hold.policy_id in ids), *self._held),
            kept=tuple(self._kept),
            legal_holds=_in_force(context, {target.table.name for target in looked_at}),
            warnings=tuple(find_warnings(context, looked_at)),
        )

    def _take(self, verdicts: Iterable[Task | Hold]) -> None:
        """Sort verdicts: all of them, or none if finding them fails."""
        found = list(verdicts)
        self._tasks += (verdict for verdict in found if isinstance(verdict, Task))
        self._held += (verdict for verdict in found if isinstance(verdict, Hold))

    def _decide(self, context: Context, target: Target, chosen: bool) -> None:
        """Decide about one target; one that is not chosen only claims what it archives."""
        policy, table, limit = target.policy, target.table.name, target.policy.limit(self.cutoff)
        if target.by_rows:
            if chosen and limit is not None:
                self._take(keep_within(target, list(delete_rows(context, target, limit))))
            return
        pieces = self.pieces.of(target)
        due = () if limit is None else pieces.expired(limit)
        if not chosen:
            if policy.strategy.traits.archives:
                context.claim(table, due)
                self._reserved.update((table, piece.partition.values) for piece in due)
            return
        if limit is not None:
            self._take(_judge(context, target, limit, due, pieces.unknown))
        # What nothing tells the time of is held by then, unless it is kept forever.
        later = len(pieces) if limit is None else len(pieces.known) - len(due)
        following = pieces.known[len(due)] if len(due) < len(pieces.known) else None
        then = None if following is None else next_due(following, policy)
        self._kept.append(Kept(policy_id=policy.id or "", table=table, partitions=later, next_due=then))


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


def _judge(
    context: Context, target: Target, limit: int, due: Sequence[Piece], unknown: Sequence[Piece]
) -> Iterator[Task | Hold]:
    free: list[Piece] = []
    held: dict[tuple[Reason, bool], list[Piece]] = {}
    for piece in due:
        if context.is_claimed(target.table.name, piece):
            continue
        reason = _reason_to_hold(context, target, piece, limit)
        (held.setdefault(reason, []) if reason else free).append(piece)
    for piece in unknown:
        held.setdefault(_why_unknown(piece, target.policy), []).append(piece)
    for (why, problem), pieces in sorted(held.items(), key=lambda group: (str(group[0][0]), group[0][1])):
        names = tuple(show_partition(target.columns, piece.partition.values) for piece in pieces[:5])
        yield replace(blocked(target, why, pieces, problem), partitions=names)
    if free:
        yield from keep_within(target, list(PLANS[target.policy.strategy](context, target, free)))


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
        pieces = (Piece(partition=partition, start=None, end=None),)
        step = ThawPartitions(table=name, columns=table.partition_columns, pieces=pieces)
        yield Task(policy_id=None, table=name, steps=(step,), why=Why.LEFT_FROZEN(), partitions=1)


def _dropped(task: Task) -> Iterator[Piece]:
    return (piece for step in task.steps if step.expires for piece in step.about)
