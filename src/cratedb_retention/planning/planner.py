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
from cratedb_retention.planning.cascades import Cascade, find_cascades, level_targets, require_smaller, variety_probe
from cratedb_retention.planning.context import Context, PartitionKey
from cratedb_retention.planning.coverage import Coverage
from cratedb_retention.planning.downsample import CascadePlan, find_window_probes
from cratedb_retention.planning.holds import holds_by_table
from cratedb_retention.planning.plausible import find_warnings, range_probe, require_plausible, why_old
from cratedb_retention.planning.strategies import PLANS, delete_rows, rows_probe
from cratedb_retention.planning.targets import Target, Undecided, find_targets
from cratedb_retention.planning.verdicts import blocked, isolated, keep_within, next_due

_Levels = tuple[CascadePlan, list[Task | Hold]]


def find_probes(
    policies: Iterable[Policy],
    catalog: Catalog,
    cutoff: dt.datetime,
    holds: Iterable[LegalHold] = (),
    ledger: Ledger | None = None,
) -> list[Probe]:
    """What the plan needs to know of the rows, to be measured by the engine and passed to :func:`make_plan`."""
    return _Planning(policies, catalog, cutoff, holds, ledger).probes()


def make_plan(  # noqa: PLR0913 - all that a plan rests on, each by its name
    policies: Iterable[Policy],  # All of the database, since one may protect data from another.
    catalog: Catalog,
    cutoff: dt.datetime,  # Aware; fractions of a millisecond are dropped.
    *,
    holds: Iterable[LegalHold] = (),  # Those in force.
    measurements: Measurements | None = None,  # The answers to `find_probes`.
    frozen: Collection[PartitionKey] = (),  # Partitions that an earlier run froze and did not thaw.
    chosen: Callable[[Policy], bool] = lambda policy: True,  # Which policies the run is about.
    ledger: Ledger | None = None,  # What was rolled up so far.
    archived: Collection[tuple[str, str]] = (),  # Repository and name of snapshots whose partition was dropped.
    restored: Mapping[RestoredPartition, tuple[str, str]] | None = None,  # Those that partitions were restored from.
    own_schema: str = "",  # Of the toolkit's own tables.
) -> Plan:
    """Decide what a run does. All that a plan rests on is given by its name, and nothing else counts."""
    planning = _Planning(policies, catalog, cutoff, holds, ledger, measurements)
    planning.frozen, planning.archived = frozenset(frozen), archived
    planning.restored, planning.own_schema = restored or {}, own_schema
    return planning.plan({policy.id for policy in planning.policies if chosen(policy)})


class _Planning(Context):
    """A plan in the making: what fails for one target becomes a problem of that target, see :func:`isolated`."""

    def __init__(
        self,
        policies: Iterable[Policy],
        catalog: Catalog,
        cutoff: dt.datetime,
        holds: Iterable[LegalHold],
        ledger: Ledger | None,
        measurements: Measurements | None = None,
    ) -> None:
        known = measurements or Measurements()
        super().__init__(catalog=catalog, cutoff=cutoff, holds=holds_by_table(holds, catalog), measurements=known)
        self.ledger = ledger or Ledger()
        enabled = (policy for policy in policies if policy.enabled)
        self.policies = sorted(enabled, key=lambda p: (p.strategy.traits.order, p.id or "", p.target))
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
        downsampled = {cascade.source: cascade for cascade in cascades}
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
        return list(find_window_probes(cascade, self.ledger, to_ms(self.cutoff)))

    def _plan_levels(self) -> list[_Levels]:
        """What brings the cascades up to date that are possible; then targets are what is usable, and levels."""
        usable, planned = [], list[_Levels]()
        for target in self.targets:
            with isolated(target.policy.id, target.table.name, self.problems):
                self._require_answers(self._asked_of(target))
                require_plausible(target, self.pieces, self.measurements, self.cutoff)
                usable.append(target)
        possible, impossible = find_cascades(usable, self.catalog, self.ledger)
        self.problems += impossible
        for cascade in possible:
            with isolated(cascade.policy.id, cascade.source, self.problems):
                self._require_answers(self._windows_of(cascade))
                require_smaller(cascade, self.measurements, self.cutoff)
                plan = CascadePlan(
                    cascade=cascade,
                    catalog=self.catalog,
                    ledger=self.ledger,
                    pieces=self.pieces,
                    measurements=self.measurements,
                    cutoff=to_ms(self.cutoff),
                )
                planned.append((plan, list(plan.verdicts())))
        self.targets = []
        cascades = {plan.cascade.source: plan.cascade for plan, _ in planned}
        for target in usable:
            cascade_of = cascades.get(target.table.name)
            if not target.policy.strategy.traits.rolls_up:
                self.targets.append(target)
            elif cascade_of is not None and cascade_of.raw is target:
                self.targets += [target, *level_targets(cascade_of)]
                self.looked_at += level_targets(cascade_of)
        return planned

    def _require_answers(self, probes: Iterable[Probe]) -> None:
        """Make sure that the rows answered: what they could not say is not guessed."""
        for probe in probes:
            if probe in self.measurements.failed:
                table = self.catalog.tables.get(probe.table)
                if table is not None and table.missing_shards:
                    raise Undecided(Why.MISSING_SHARDS(count=table.missing_shards))
                raise Undecided(Why.UNREADABLE(table=probe.table, error=self.measurements.failed[probe]))

    def _find_protectors(self) -> None:
        archivers: dict[TableName, list[Target]] = {}
        for target in self.targets:
            if target.policy.strategy.traits.archives and target.policy.acts(self.cutoff):
                archivers.setdefault(target.table.name, []).append(target)
        should = {
            p.id: p
            for p in self.policies
            if (p.strategy.traits.rolls_up or p.strategy.traits.archives) and p.acts(self.cutoff)
        }
        stalled: dict[TableName, list[Policy]] = {}
        for problem in self.problems:
            if problem.policy_id in should:
                stalled.setdefault(problem.table, []).append(should[problem.policy_id])
        self.archivers, self.stalled = archivers, stalled

    def plan(self, ids: Collection[str | None]) -> Plan:
        """The plan for the policies with these identifiers."""
        planned = self._plan_levels()
        self._find_protectors()
        self.coverage = Coverage(
            (plan, plan.cascade.policy.id in ids, plan.cascade.policy.limit(self.cutoff)) for plan, _ in planned
        )
        chosen = [(plan, verdicts) for plan, verdicts in planned if plan.cascade.policy.id in ids]
        for _, verdicts in chosen:
            self._take(verdicts)
        for target in self.targets:
            with isolated(target.policy.id, target.table.name, self.problems):
                self._decide(target, target.policy.id in ids)
        for plan, _ in chosen:
            with isolated(plan.cascade.policy.id, plan.cascade.source, self.problems):
                self._take(plan.view(self._tasks))
        looked_at = [target for target in self.looked_at if target.policy.id in ids]
        holds = {hold.hold.id: hold.hold for target in looked_at for hold in self.holds.get(target.table.name, ())}
        return Plan(
            cutoff=to_ms(self.cutoff),
            tasks=(*self._tasks, *self._thaw()),
            holds=(*(hold for hold in self.problems if hold.policy_id in ids), *self._held),
            kept=tuple(self._kept),
            legal_holds=tuple(holds[identifier] for identifier in sorted(holds)),
            warnings=tuple(find_warnings(self, looked_at)),
        )

    def _take(self, verdicts: Iterable[Task | Hold]) -> None:
        """Sort verdicts: all of them, or none if finding them fails."""
        found = list(verdicts)
        self._tasks += (verdict for verdict in found if isinstance(verdict, Task))
        self._held += (verdict for verdict in found if isinstance(verdict, Hold))

    def _decide(self, target: Target, chosen: bool) -> None:
        """Decide about one target; one that is not chosen only claims what it archives."""
        policy, table, limit = target.policy, target.table.name, target.policy.limit(self.cutoff)
        if target.by_rows:
            if chosen and limit is not None:
                self._take(keep_within(target, list(delete_rows(self, target, limit))))
            return
        pieces = self.pieces.of(target)
        due = () if limit is None else pieces.expired(limit)
        if not chosen:
            if policy.strategy.traits.archives:
                self.claim(table, due)
                self._reserved.update((table, piece.partition.values) for piece in due)
            return
        if limit is not None:
            self._take(self._judge(target, limit, due, pieces.unknown))
        # What nothing tells the time of is held by then, unless it is kept forever.
        later = len(pieces) if limit is None else len(pieces.known) - len(due)
        following = pieces.known[len(due)] if len(due) < len(pieces.known) else None
        then = None if following is None else next_due(following, policy)
        self._kept.append(Kept(policy_id=policy.id or "", table=table, partitions=later, next_due=then))

    def _judge(
        self, target: Target, limit: int, due: Sequence[Piece], unknown: Sequence[Piece]
    ) -> Iterator[Task | Hold]:
        free: list[Piece] = []
        held: dict[tuple[Reason, bool], list[Piece]] = {}
        for piece in due:
            if self.is_claimed(target.table.name, piece):
                continue
            reason = self._reason_to_hold(target, piece, limit)
            (held.setdefault(reason, []) if reason else free).append(piece)
        for piece in unknown:
            held.setdefault(_why_unknown(piece, target.policy), []).append(piece)
        for (why, problem), pieces in sorted(held.items(), key=lambda group: (str(group[0][0]), group[0][1])):
            names = tuple(show_partition(target.columns, piece.partition.values) for piece in pieces[:5])
            yield replace(blocked(target, why, pieces, problem), partitions=names)
        if free:
            yield from keep_within(target, list(PLANS[target.policy.strategy](self, target, free)))

    def _reason_to_hold(self, target: Target, piece: Piece, limit: int) -> tuple[Reason, bool] | None:
        """Why an expired piece must stay, and whether that is a problem; None if it may go."""
        traits, hold = target.policy.strategy.traits, self.hold_on(target, piece)
        if hold:
            return hold.why, False
        if piece.partition.missing_shards:
            return Why.MISSING_SHARDS(count=piece.partition.missing_shards), True
        if piece.partition.read_only and traits.archives:
            return Why.DISK_FULL(), True
        old = why_old(target, piece)
        if old:
            return old, True
        waiting = self.coverage.why_not(target.table.name, piece, limit)
        if waiting and traits.removes:
            return waiting, False
        if traits.removes and not traits.archives:
            stalled = self.stalled_on(target)
            if stalled:
                return stalled, True
            archiver = self.archiver_of(target, piece)
            if archiver:
                later, sooner = archiver.policy.retention_period, target.policy.retention_period
                return Why.ARCHIVED_LATER(archiver=archiver.policy.id or "", later=later, sooner=sooner), True
        return None

    def _thaw(self) -> Iterator[Task]:
        """
        Partitions that an interrupted run froze, and that neither this run nor another one is about to finish.

        One that is gone, or thawed already, is among them: its step does no harm, and lets the store forget it.
        """
        removing = ((task.table, step) for task in self._tasks for step in task.steps if step.expires)
        finishing = {(table, piece.partition.values) for table, step in removing for piece in step.about}
        for name, values in sorted(set(self.frozen) - finishing - self._reserved, key=str):
            table = self.catalog.tables.get(name)
            if table is None:
                continue
            partition = next((p for p in table.partitions if p.values == values), Partition(values=values))
            pieces = (Piece(partition=partition, start=None, end=None),)
            step = ThawPartitions(table=name, columns=table.partition_columns, pieces=pieces)
            yield Task(policy_id=None, table=name, steps=(step,), why=Why.LEFT_FROZEN(), partitions=1)


def _why_unknown(piece: Piece, policy: Policy) -> tuple[Reason, bool]:
    if piece.partition.closed:
        return Why.CLOSED(), True
    if piece.partition.rows == 0:
        return Why.EMPTY(), False
    return Why.UNDATED(), policy.undated is Undated.BLOCK
