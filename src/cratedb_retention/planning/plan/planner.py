"""
The planner: makes a plan from policies, the catalog and a cutoff. It is pure: the same input gives the same plan.

Each expired partition gets exactly one verdict: a task, or that it is blocked, with the reason. :mod:`.strategies`
determines what happens to partitions that are not blocked.

Time units are checked: if all data lies before 1980, or far in the future, it was written in another unit than it is
read in. It would expire immediately, or never, so it is blocked until a user checks it.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TypeVar

from cratedb_retention.model.catalog import Column, Partition, Table, TableName, TimeUnit, Value
from cratedb_retention.model.plan.measurements import ExpiredRows, Probe, TableBounds
from cratedb_retention.model.plan.plan import Blocked, FreezePartitions, Plan, Task, ThawPartitions, UpToDate
from cratedb_retention.model.plan.reasons import Reason, Why
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.policies.values import Undated
from cratedb_retention.model.rollups.ledger import Rest
from cratedb_retention.model.step import Piece
from cratedb_retention.model.time import DAY_MS, UTC, to_ms
from cratedb_retention.model.words import show_partition
from cratedb_retention.planning.archive import find_ended, plan_ends, with_next_ends
from cratedb_retention.planning.facts import PartitionKey
from cratedb_retention.planning.plan import strategies
from cratedb_retention.planning.plan.budget import Budget, Budgets
from cratedb_retention.planning.plan.strategies import PLANS, Context, blocked, find_excess, keep_within, next_due
from cratedb_retention.planning.plan.unusual import Removal
from cratedb_retention.planning.rollups.cascades import (
    Cascade,
    find_cascades,
    level_targets,
    require_smaller,
    variety_probe,
)
from cratedb_retention.planning.rollups.coverage import Coverage
from cratedb_retention.planning.rollups.downsample import CascadePlan, find_window_probes
from cratedb_retention.planning.rollups.resting import Resting, tables_of, up_to_date
from cratedb_retention.planning.targets import Target, Undecided, find_targets, isolated

# Present seconds, read as milliseconds, lie in January 1970; milliseconds, read as seconds, after the year 50,000.
_OLD = to_ms(dt.datetime(1980, 1, 1, tzinfo=UTC))
_AHEAD = 10 * 366 * DAY_MS
T = TypeVar("T")
_Placed = Sequence[tuple[int, T]]  # In the order of the plan, with their places.
_Obstacle = tuple[Reason, bool]  # Why a piece must stay, and whether that needs attention.
# What is decided is in the plan in this order: what brings levels up to date, what expires, what expires after all of
# that, and views.
_LEVELS, _EXPIRY, _LAST, _VIEWS = range(4)


@dataclass
class _Decided:
    tasks: list[Task] = field(default_factory=list)
    blocked: list[Blocked] = field(default_factory=list)
    up_to_date: list[UpToDate] = field(default_factory=list)

    def take(self, verdicts: Iterable[Task | Blocked | UpToDate]) -> None:
        for verdict in list(verdicts):  # All or none, should there be an error.
            match verdict:
                case Task():
                    self.tasks.append(verdict)
                case Blocked():
                    self.blocked.append(verdict)
                case UpToDate():
                    self.up_to_date.append(verdict)

    def __iter__(self) -> Iterator[Task | Blocked | UpToDate]:
        yield from self.tasks
        yield from self.blocked
        yield from self.up_to_date


@dataclass(kw_only=True)
class Planning(Context):
    """Makes one plan. A failure for one target blocks that target, see :func:`isolated`."""

    found: tuple[Sequence[Target], Sequence[Blocked]] | None = None  # See `find_targets`; None: not called yet.
    at_rest: Mapping[TableName, tuple[Target, Rest]] | None = None  # Cascades by source, likewise.
    cascades: tuple[Sequence[Cascade], Sequence[Blocked]] | None = None  # Of all targets, likewise.
    unusual: Mapping[Removal, Reason] = field(default_factory=dict)  # What earlier runs do not explain, see `.unusual`.
    accepted: bool = False  # Whether a person accepts what is unusual, or exceeds a limit.

    def __post_init__(self) -> None:
        super().__post_init__()
        enabled = (policy for policy in self.policies if policy.enabled)
        self.enabled = sorted(enabled, key=_place)
        self.found = self.found or find_targets(self.enabled, self.catalog)
        self.undecided = list(self.found[1])
        self._resting = Resting(self, *self.found)
        if self.at_rest is None:
            self.at_rest = {target.table.name: (target, rest) for target, rest in self._resting.find()}
        self.targets = [target for target in self.found[0] if not self._is_at_rest(target)]
        self.looked_at = list(self.targets)
        self.rests: dict[TableName, Rest] = {}  # What this plan finds at rest in addition, by the finest level.
        self.ledger.read(t.table.name for t in self.targets if t.policy.strategy.traits.rolls_up)
        self._decided = _Decided()  # What is being decided now.
        self._reserved: set[PartitionKey] = set()

    def _is_at_rest(self, target: Target) -> bool:
        return target.policy.strategy.traits.rolls_up and target.table.name in (self.at_rest or ())

    def probes(self) -> list[Probe]:
        """What has to be read from rows: the engine measures it, and the result is given as `measurements`."""
        found, now = list[Probe](), to_ms(self.cutoff)
        self.cascades = find_cascades(self.targets, self.catalog, self.ledger)
        cascades, _ = self.cascades
        downsampled = {cascade.source: cascade for cascade in cascades}
        for target in self.targets:
            asked = self._probes_of(target)
            found += (p for p in asked if not isinstance(p, ExpiredRows) or target.table.name not in downsampled)
        for cascade in cascades:
            # A failure here happens again in the plan, which reports it.
            with isolated(cascade.policy.id, cascade.source, []):
                found += [
                    *filter(None, [variety_probe(cascade, self.cutoff)]),
                    *find_window_probes(cascade, self.ledger, now),
                ]
        return list(dict.fromkeys(found))

    def _probes_of(self, target: Target) -> Iterator[Probe]:
        """The probes of a target; the number of expired rows is of no use if the table is downsampled."""
        limit, holds = target.policy.limit(self.cutoff), self.table_holds.get(target.table.name, [])
        rolls_up, whole = target.policy.strategy.traits.rolls_up, any(hold.spared is None for hold in holds)
        yield from filter(None, (target.bounds_probe, self._range_probe(target) if rolls_up or not whole else None))
        if target.by_rows and limit is not None:
            yield from filter(None, [strategies.rows_probe(target, limit, holds)])

    def _range_probe(self, target: Target) -> TableBounds | None:
        """The probe for a target's time range; None if partitions tell it, or the policy does not act."""
        if not target.by_rows or target.time_column is None or not target.policy.acts(self.cutoff):
            return None
        return TableBounds(target.table.name, target.time_column, target.where)

    def plan(self, chosen: Callable[[Policy], bool] = lambda policy: True) -> Plan:
        """
        Make the plan of a run of the chosen policies: one cascade after the other, since what is known of its windows
        takes much more memory than what is decided.
        """
        ids = {policy.id for policy in self.enabled if chosen(policy)}
        usable = list(self._usable())
        known = self.cascades if len(usable) == len(self.targets) else None
        possible, impossible = known or find_cascades(usable, self.catalog, self.ledger)
        self.undecided += impossible
        self._find_stalled(self.undecided)
        self._budgets = Budgets(self, usable, lambda policy: policy.id in ids)
        levels, found = dict[TableName, list[Target]](), dict[tuple[int, int, int], _Decided]()
        for cascades, targets in _together(possible, usable):
            of_levels, decided = self._plan_together(cascades, targets, ids)
            levels |= of_levels
            found |= decided
        self.looked_at += (level for cascade in possible for level in levels.get(cascade.source, ()))
        self._decided = _Decided()
        for place in sorted(found):
            self._decided.take(found[place])
        self._decided.take(self._exceeded())
        self._decided.take(up_to_date(self.at_rest or {}, ids))
        self._end_archives(ids)
        self._decided.up_to_date = list(with_next_ends(self._decided.up_to_date, self, ids))
        looked_at = [target for target in self.looked_at if target.policy.id in ids]
        tables = {*(target.table.name for target in looked_at), *(each.table for each in self._decided.up_to_date)}
        holds = {hold.hold.id: hold.hold for table in tables for hold in self.table_holds.get(table, ())}
        return Plan(
            cutoff=to_ms(self.cutoff),
            tasks=(*self._decided.tasks, *self._thaw()),
            blocked=(*(each for each in self.undecided if each.policy_id in ids), *self._decided.blocked),
            up_to_date=tuple(self._decided.up_to_date),
            legal_holds=tuple(holds[identifier] for identifier in sorted(holds)),
            warnings=tuple(self._warnings(looked_at)),
        )

    def _usable(self) -> Iterator[Target]:
        for target in self.targets:
            with isolated(target.policy.id, target.table.name, self.undecided):
                self._require_answers(self._probes_of(target))
                self._require_plausible(target)
                yield target

    def _plan_together(
        self, cascades: _Placed[Cascade], targets: _Placed[Target], ids: Collection[str | None]
    ) -> tuple[dict[TableName, list[Target]], dict[tuple[int, int, int], _Decided]]:
        """
        Plan cascades, and the targets on all of their tables.

        :return: The levels of each source as targets, and what is decided, by its place in the plan.
        """
        planned, failed = list[tuple[int, CascadePlan, list[Task | Blocked]]](), len(self.undecided)
        for place, cascade in cascades:
            with isolated(cascade.policy.id, cascade.source, self.undecided):
                if self.measurements.failed:
                    self._require_answers(find_window_probes(cascade, self.ledger, to_ms(self.cutoff)))
                require_smaller(cascade, self.measurements, self.cutoff)
                plan = CascadePlan(self, cascade, active=cascade.policy.id in ids)
                planned.append((place, plan, list(plan.verdicts())))
        self._find_stalled(self.undecided[failed:])
        levels = {plan.cascade.source: list(level_targets(plan.cascade)) for _, plan, _ in planned}
        raw = {id(plan.cascade.raw) for _, plan, _ in planned}
        each: list[tuple[tuple[int, int], Target]] = []
        for place, target in targets:
            if not target.policy.strategy.traits.rolls_up:
                each.append(((place, 0), target))
            elif id(target) in raw:
                own = [target, *levels[target.table.name]]
                each += [((place, number), one) for number, one in enumerate(own)]
        self._find_protectors(target for _, target in each)
        self.coverage = Coverage(plan for _, plan, _ in planned)
        found: dict[tuple[int, int, int], _Decided] = {}
        for place, plan, verdicts in planned:
            self._decided = found[_LEVELS, place, 0] = _Decided()
            self._decided.take(verdicts if plan.active else ())
        for (place, number), target in each:
            self._decided = found[_EXPIRY, place, number] = _Decided()
            with isolated(target.policy.id, target.table.name, self.undecided):
                for order, task in self._decide(target, target.policy.id in ids):
                    found[_LAST, order, place] = _Decided([task])
        tasks = [task for decided in found.values() for task in decided.tasks]
        for place, plan, _ in planned:
            self._decided = found[_VIEWS, place, 0] = _Decided()
            with isolated(plan.cascade.policy.id, plan.cascade.source, self.undecided):
                self._decided.take(plan.view(tasks) if plan.active else ())
        self._note_rests((plan for _, plan, verdicts in planned if plan.active and not verdicts), found.values())
        for _, plan, _ in planned:  # Python's collector is paused, and they refer to each other.
            plan.levels.clear()
        return levels, found

    def _note_rests(self, idle: Iterable[CascadePlan], decided: Iterable[_Decided]) -> None:
        """Note the cascades of which nothing is due, blocked or worth a warning."""
        busy = {each.table for each in self.undecided}
        of_table: dict[TableName, list[UpToDate]] = defaultdict(list)
        for some in decided:
            busy.update(each.table for each in (*some.tasks, *some.blocked))
            for each in some.up_to_date:
                of_table[each.table].append(each)
        for plan in idle:
            targets = [plan.cascade.raw, *level_targets(plan.cascade)]
            tables = [target.table.name for target in targets]
            if busy.isdisjoint(tables) and not any(self._warnings(targets)):
                self.rests.update(self._resting.note(plan, [each for table in tables for each in of_table[table]]))

    def _require_answers(self, probes: Iterable[Probe]) -> None:
        """Raise Undecided if a probe failed; its answer is not guessed."""
        for probe in probes:
            if probe in self.measurements.failed:
                table = self.catalog.tables.get(probe.table)
                if table is not None and table.missing_shards:
                    raise Undecided(Why.MISSING_SHARDS(count=table.missing_shards))
                raise Undecided(Why.UNREADABLE(table=probe.table, error=self.measurements.failed[probe]))

    def _require_plausible(self, target: Target) -> None:
        """Raise Undecided if the times of a target are implausible and its policy acts."""
        probe, time, now = self._range_probe(target), target.time_column, to_ms(self.cutoff)
        known = () if target.by_rows else self.pieces.of(target).known
        oldest = min((piece.start for piece in known if piece.start is not None), default=None)
        newest = known[-1].end if known else None
        if probe is not None:
            oldest, newest = self.measurements.ranges.get(probe, (None, None))
        if time is None or not target.policy.acts(self.cutoff):
            return
        if newest is not None and newest <= _OLD < now:
            raise Undecided(Why.ALL_BEFORE_1980(newest=newest, remedy=_remedy(time, TimeUnit.SECONDS)))
        if oldest is not None and oldest > now + _AHEAD:
            raise Undecided(Why.ALL_AHEAD(oldest=oldest, remedy=_remedy(time, TimeUnit.MILLISECONDS)))

    def _find_protectors(self, targets: Iterable[Target]) -> None:
        for target in targets:
            if target.policy.strategy.traits.archives and target.policy.acts(self.cutoff):
                self.archivers[target.table.name].append(target)
            if target.policy.number_of_replicas is not None:
                self.compactors[target.table.name].append(target)
            if target.policy.strategy.traits.moves:
                self.movers[target.table.name, target.policy.reallocation_attribute_name].append(target)

    def _find_stalled(self, undecided: Iterable[Blocked]) -> None:
        for each in undecided:
            policy = self._should.get(each.policy_id)
            if policy is not None:
                self.stalled[each.table].append(policy)

    @cached_property
    def _should(self) -> Mapping[str | None, Policy]:
        """The policies that roll up or archive."""
        return {
            p.id: p
            for p in self.enabled
            if (p.strategy.traits.rolls_up or p.strategy.traits.archives) and p.acts(self.cutoff)
        }

    def _decide(self, target: Target, chosen: bool) -> Sequence[tuple[int, Task]]:
        """
        Decide about one target; a target that is not chosen only claims what it archives. Returns the tasks that come
        after those of all other targets, with their order.
        """
        policy, table, limit = target.policy, target.table.name, target.policy.limit(self.cutoff)
        if target.by_rows:
            if chosen and limit is not None:
                self._decided.take(self._within(target, strategies.delete_rows(self, target, limit)))
            return ()
        pieces, budget = self.pieces.of(target), self._budgets.of(target)
        due = () if limit is None else pieces.expired(limit)
        if not chosen:
            if policy.strategy.traits.archives:
                self.claim(table, due)
                self._reserved.update((table, piece.partition.values) for piece in due)
            return ()
        over, last = budget.expired.get(table, ()) if budget else (), list[tuple[int, Task]]()
        if limit is not None or budget is not None:
            verdicts = list(self._judge(target, due, budget, over, pieces.unknown))
            last = budget.take_last(verdicts) if budget else []
            after = {id(task) for _, task in last}
            self._decided.take(verdict for verdict in verdicts if id(verdict) not in after)
        # Partitions of unknown age are blocked above, unless everything is kept forever.
        everything = limit is None and budget is None
        later = pieces.known[len(due) :]
        if over:
            going = {piece.partition.values for piece in over}
            later = tuple([piece for piece in later if piece.partition.values not in going])
        kept = UpToDate(
            policy_id=policy.id or "",
            table=table,
            partitions=len(later) + (len(pieces.unknown) if everything else 0),
            next_due=next_due(later[0], policy) if later else None,
        )
        self._decided.take([kept])
        return last

    def _exceeded(self) -> Iterator[Blocked]:
        """The budgets that this run does not meet."""
        product, default = self.catalog.capabilities.product, self.catalog.capabilities.default_schema
        budgets, going = list(self._budgets), defaultdict[TableName, set[tuple[Value, ...]]](set)
        for step in (step for task in self._decided.tasks for step in task.steps) if budgets else ():
            if step.expires:
                going[step.expires[0]].update([piece.partition.values for piece in step.about])
        for budget in budgets:
            if why := budget.why_exceeded(going, product):
                policy = budget.policy
                table = budget.table or TableName(policy.table_schema or default, policy.table_name)
                yield Blocked(policy_id=policy.id, table=table, why=why, needs_attention=True)

    def _judge(
        self,
        target: Target,
        due: Sequence[Piece],
        budget: Budget | None,
        over: Sequence[Piece],
        unknown: Sequence[Piece],
    ) -> Iterator[Task | Blocked]:
        """Decide about pieces that are due by their age, others that are due by a budget, and those of unknown age."""
        waiting: dict[_Obstacle, list[Piece]] = {}
        free = self._free(target, due, waiting)
        beyond = replace(target, policy=target.policy.over_budget) if budget else target
        spare = self._free(beyond, over, waiting)
        for piece in unknown:
            undated = (Why.UNDATED(), target.policy.undated is Undated.BLOCK)
            why_not = (Why.EMPTY(), False) if piece.partition.rows == 0 else undated
            if piece.partition.closed:
                left = self.is_left(target.table.name, piece)
                why_not = (Why.LEFT_CLOSED(), False) if left else (Why.CLOSED(), True)
            waiting.setdefault(why_not, []).append(piece)
        for why, needs_attention in sorted(waiting, key=lambda reason: (str(reason[0]), reason[1])):
            pieces = waiting[why, needs_attention]
            names = tuple(show_partition(target.columns, piece.partition.values) for piece in pieces[:5])
            yield replace(blocked(target, why, pieces, needs_attention), partitions=names)
        work = PLANS[target.policy.strategy]
        verdicts = list(work(self, target, free)) if free else []
        if budget:
            for group in budget.in_order(target.table.name, spare):
                verdicts += [_explained(verdict, budget) for verdict in work(self, beyond, group)]
        yield from self._within(target, verdicts)

    def _free(self, target: Target, due: Sequence[Piece], waiting: dict[_Obstacle, list[Piece]]) -> list[Piece]:
        """The pieces that may go; the others are added to those that wait, by the reason."""
        claimed = self.claimed[target.table.name]
        free = [piece for piece in due if piece.partition.values not in claimed]
        for find_obstacle in self._obstacles(target, target.policy.limit(self.cutoff) or 0) if free else ():
            asked, free = free, []
            for piece in asked:
                reason = find_obstacle(piece)
                (waiting.setdefault(reason, []) if reason else free).append(piece)
        return free

    def _within(self, target: Target, verdicts: Iterable[Task | Blocked]) -> Iterable[Task | Blocked]:
        """Verdicts within the policy's limits, and within what is usual; all of them if a person accepts that."""
        if self.accepted:
            return verdicts
        return keep_within(target, list(verdicts), self.unusual.get((target.policy.id or "", target.table.name, False)))

    def _obstacles(self, target: Target, limit: int) -> Iterator[Callable[[Piece], _Obstacle | None]]:
        """
        Functions that find why an expired piece must stay, and whether that needs attention; the first answer counts.
        Only those that can concern a piece of the target, since there may be many pieces.
        """
        traits, table, time = target.policy.strategy.traits, target.table.name, target.time_column
        if table in self.table_holds:
            yield partial(self._legal_hold, target)
        yield _missing_shards
        if target.policy.archives or traits.compacts:
            yield _full_disk
        # No policy states the unit of its times.
        if time is not None and time.unit is not None and target.policy.time_unit is None:
            yield partial(_unit_of_seconds, time)
        if traits.removes and (table in self.coverage.above or table in self.coverage.own):
            yield partial(self._level, table, limit)
        if traits.removes and not traits.archives:
            stalled = self.stalled_on(target)
            if stalled:
                yield lambda piece: (stalled, True)
            if table in self.archivers:
                yield partial(self._archiver, target)

    def _legal_hold(self, target: Target, piece: Piece) -> _Obstacle | None:
        hold = self.hold_on(target, piece)
        return (hold.why, False) if hold else None

    def _level(self, table: TableName, limit: int, piece: Piece) -> _Obstacle | None:
        waiting = self.coverage.why_not(table, piece, limit)
        return (waiting, False) if waiting else None

    def _archiver(self, target: Target, piece: Piece) -> _Obstacle | None:
        archiver = self.archiver_of(target, piece)
        if archiver is None:
            return None
        later, sooner = archiver.policy.retention_period, target.policy.retention_period
        return Why.ARCHIVED_LATER(archiver=archiver.policy.id or "", later=later, sooner=sooner), True

    def _end_archives(self, ids: Collection[str | None]) -> None:
        """Delete archives whose period is over, within limits of their own."""
        policies = {policy.id: policy for policy in self.enabled}
        for (policy_id, name), ended in find_ended(self, ids).items():
            with isolated(policy_id, name, self.undecided):
                verdicts = list(plan_ends(self, name, ended))
                tasks = [verdict for verdict in verdicts if isinstance(verdict, Task)]
                table = Table(name=name, columns={}, rows=self.archived_rows.get((policy_id, name)))
                target = Target(policy=policies[policy_id], table=table)
                unusual = self.unusual.get((policy_id, name, True)) if tasks else None
                if not self.accepted and (excess := find_excess(target, tasks) or unusual):
                    count, why = sum(task.partitions for task in tasks), Why.ARCHIVE_STAYS(why=excess)
                    verdicts = [verdict for verdict in verdicts if isinstance(verdict, Blocked)]
                    verdicts.append(replace(blocked(target, why), count=count))
                self._decided.take(verdicts)

    def _thaw(self) -> Iterator[Task]:
        """
        Unfreeze partitions that an interrupted run left frozen and this plan neither removes nor freezes. If one is
        gone, or writable already, the step has no effect but that the store forgets it.
        """
        if not self.frozen:
            return
        steps = ((task.table, step) for task in self._decided.tasks for step in task.steps)
        own = ((table, step) for table, step in steps if step.expires or isinstance(step, FreezePartitions))
        finishing = {(table, piece.partition.values) for table, step in own for piece in step.about}
        for name, values in sorted(set(self.frozen) - finishing - self._reserved, key=str):
            table = self.catalog.tables.get(name)
            if table is None:
                continue
            partition = next((p for p in table.partitions if p.values == values), Partition(values=values))
            pieces = (Piece(partition=partition, start=None, end=None),)
            step = ThawPartitions(table=name, columns=table.partition_columns, pieces=pieces)
            yield Task(policy_id=None, table=name, steps=(step,), why=Why.LEFT_FROZEN(), partitions=1)

    def _warnings(self, targets: Sequence[Target]) -> Iterator[Reason]:
        cutoff, seen = to_ms(self.cutoff), set()
        for target in targets:
            known, table = () if target.by_rows else self.pieces.of(target).known, target.table.name
            if not known:
                continue
            newest = known[-1]
            if newest.start is not None and newest.start > cutoff + DAY_MS and table not in seen:
                seen.add(table)
                yield Why.AHEAD_OF_CUTOFF(table=table, newest=newest.start, cutoff=cutoff)
            limit, removes = target.policy.limit(self.cutoff), target.policy.strategy.traits.removes
            if removes and limit is not None and newest.end is not None and newest.end <= limit:
                yield Why.ALL_EXPIRED(table=table, expiring=target.policy.id or "", end=newest.end)
        for name, target in {target.table.name: target for target in targets if target.by_rows}.items():
            empty = [partition.values for partition in target.table.partitions if partition.rows == 0]
            if empty:
                examples = "; ".join(show_partition(target.columns, values) for values in empty[:5])
                yield Why.EMPTY_PARTITIONS(table=name, count=len(empty), partitions=examples)


def _together(
    cascades: Sequence[Cascade], targets: Sequence[Target]
) -> Iterator[tuple[_Placed[Cascade], _Placed[Target]]]:
    """
    Cascades with their places, and the targets on their tables: each cascade by itself, unless it shares a table with
    others; and at the end all targets that concern no cascade.
    """
    group_of: dict[TableName, int] = {}
    groups: dict[int | None, list[int]] = {}
    for place, cascade in enumerate(cascades):
        others = {group_of[table] for table in tables_of(cascade.raw) if table in group_of}
        groups[place] = sorted([place, *(each for other in others for each in groups.pop(other))])
        group_of.update({table: place for each in groups[place] for table in tables_of(cascades[each].raw)})
    on: dict[int | None, list[tuple[int, Target]]] = defaultdict(list)
    for place, target in enumerate(targets):
        on[group_of.get(target.table.name)].append((place, target))
    for group in (*groups, None):
        yield [(each, cascades[each]) for each in groups.get(group, ())], on[group]


def _place(policy: Policy) -> tuple[int, bool, str, str]:
    """Its place in a plan: of policies that delete the same data, one that keeps it recoverable comes first."""
    return policy.strategy.traits.order, policy.recoverable is None, policy.id or "", policy.target


def _explained(verdict: Task | Blocked, budget: Budget) -> Task | Blocked:
    """A verdict on pieces that expire by a budget, with that as the reason if they go."""
    return replace(verdict, why=budget.why(verdict.steps[-1].about)) if isinstance(verdict, Task) else verdict


def _missing_shards(piece: Piece) -> _Obstacle | None:
    count = piece.partition.missing_shards
    return (Why.MISSING_SHARDS(count=count), True) if count else None


def _full_disk(piece: Piece) -> _Obstacle | None:
    return (Why.DISK_FULL(), True) if piece.partition.read_only else None


def _unit_of_seconds(time: Column, piece: Piece) -> _Obstacle | None:
    """A piece that lies where seconds would, if they were read as milliseconds."""
    if time.unit is None or piece.end is None or piece.end > _OLD:
        return None
    return Why.BEFORE_1980(time=time, unit=time.unit.name.lower()), True


def _remedy(time: Column, wanted: TimeUnit) -> Reason:
    if time.unit is None:
        return Why.CHECK_UNIT(time=time)
    if time.unit is not wanted:
        return Why.SET_UNIT(time=time, counts=wanted.name.lower(), unit=wanted)
    what = "microseconds or nanoseconds" if wanted is TimeUnit.MILLISECONDS else "something else"
    return Why.OTHER_UNIT(time=time, counts=what, unit=time.unit.name.lower())
