"""
Gathers the facts for planning, in a fixed number of statements plus some for each table without rollups yet, and makes
the plan, for ``plan`` and ``run`` alike (law 10).
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import attrgetter
from typing import Any, TypeVar

from cratedb_retention.collector import without_collector
from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import ClusterUnhealthy, ConnectionLost, NotFound, PartitionChanged, RetentionError
from cratedb_retention.model.archive import RestoredPartition
from cratedb_retention.model.catalog import Capabilities, Catalog, Selector, Table, TableName, Value
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.measurements import Measurements, Probe
from cratedb_retention.model.plan.plan import Blocked, Plan, SnapshotPartition, Task
from cratedb_retention.model.plan.reasons import Reason, Why
from cratedb_retention.model.policies.patterns import find_tables, folded, is_pattern
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.policies.strategies import Strategy
from cratedb_retention.model.policies.tags import TagFilter
from cratedb_retention.model.rollups.ledger import Ledger, Rest
from cratedb_retention.model.rollups.rollup import (
    Balance,
    RollUp,
    Rollup,
    RollupStep,
    Window,
    level_table,
    sketch_table,
    view_name,
)
from cratedb_retention.model.runs import Past
from cratedb_retention.model.time import EPOCH
from cratedb_retention.model.words import show_partition
from cratedb_retention.planning.facts import Facts, PartitionKey
from cratedb_retention.planning.plan.planner import Planning
from cratedb_retention.planning.plan.unusual import Removal, find_newest, find_suspects, find_unusual
from cratedb_retention.store.audit import Standing
from cratedb_retention.store.policies import Damaged, StoredPolicy
from cratedb_retention.store.runs import Leases
from cratedb_retention.store.store import Store

logger = logging.getLogger(__name__)
T = TypeVar("T")
_TAGS_IN_USE = "`cratedb-retention list-tags` lists those in use"
ArchiveKey = tuple[str, str]  # A repository, and the name of a snapshot in it.
EVERY = Selector(schema="*", name="*")  # All tables.
_NOT_STORED = -1  # In place of the version of a policy that is not stored.


@dataclass(frozen=True, kw_only=True)
class Selection:
    """
    Selects policies; each attribute that is set must match.

    :param strategy: Only policies of this strategy.
    :param tags: Only policies with these tags.
    :param policy_id: Only this policy.
    :param policy_ids: Only these policies; None: all.
    :param limit: The scope of the caller: for it, only policies with these tags exist.
    :param accepted: Whether a person accepts, for this run, what is unusual or exceeds a limit (``expected_max``).
    """

    strategy: Strategy | None = None
    tags: TagFilter = field(default_factory=TagFilter)
    policy_id: str | None = None
    policy_ids: frozenset[str] | None = None
    limit: TagFilter = field(default_factory=TagFilter)
    accepted: bool = False

    def fits(self, policy: Policy) -> bool:
        """Whether a policy is chosen."""
        return self._fits(policy.strategy, policy.tags, policy.id)

    def fits_row(self, row: Damaged) -> bool:
        """Whether a row that is not a valid policy is chosen, by its values."""
        return self._fits(row.row["strategy"], row.row["tags"] or (), row.id)

    def _fits(self, strategy: str, tags: Collection[str], identifier: str | None) -> bool:
        return (
            (self.strategy is None or strategy == self.strategy)
            and (self.tags & self.limit).fits(tags)
            and (self.policy_id is None or identifier == self.policy_id)
            and (self.policy_ids is None or identifier in self.policy_ids)
        )

    def require(self, policies: Iterable[Policy], damaged: Iterable[Damaged] = ()) -> None:
        """Check that the named policy and tags exist; NotFound: no such policy, or no policy has these tags."""
        rows = ((row.id, row.row["tags"] or ()) for row in damaged)
        known = (*rows, *((policy.id, policy.tags) for policy in policies))
        seen = [(identifier, tags) for identifier, tags in known if self.limit.fits(tags)]
        if self.policy_id not in (None, *(identifier for identifier, _ in seen)):
            raise NotFound(f"policy {self.policy_id}", "does not exist", "`cratedb-retention list-policies` lists them")
        require_tags(self.tags, (tags for _, tags in seen))


def require_tags(wanted: TagFilter, present: Iterable[Collection[str]]) -> None:
    """NotFound if no policy has one of the tags, or all of them. Excluded tags that no policy has are logged."""
    policies = [frozenset(tags) for tags in present]
    unknown = wanted.named - frozenset().union(*policies)
    for tag in sorted(unknown & wanted.wanted):
        raise NotFound(f"tag {tag}", "no policy has it", _TAGS_IN_USE)
    for tag in sorted(unknown):
        logger.warning("tag %s: no policy has it", tag)
    if wanted and not any(map(wanted.fits, policies)):
        raise NotFound(f"tags {wanted}", "no policy matches", _TAGS_IN_USE)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A plan, and the facts that it rests on."""

    plan: Plan
    facts: Facts
    selection: Selection
    versions: Mapping[str, int] = field(default_factory=dict)  # Of the policies, by identifier.
    formerly_frozen: frozenset[PartitionKey] = frozenset()  # Partitions frozen in earlier tables of these names.
    rests: Mapping[TableName, Rest] = field(default_factory=dict)  # Cascades at rest, by the finest level.
    leases: Leases | None = None  # The lease holders when the facts were read: a later holder may have changed them.
    every: bool = False  # Whether the catalog has all tables of users, those without a policy as well.

    @cached_property
    def policies(self) -> Mapping[str, Policy]:
        """All policies, by identifier."""
        return {policy.id or "": policy for policy in self.facts.policies}


@dataclass(kw_only=True)
class _Seen:
    """What was read for some selectors: the catalog, and measurements of rows."""

    catalog: Catalog
    asked: set[Probe] = field(default_factory=set)
    compared: set[tuple[Rollup, Window]] = field(default_factory=set)
    measurements: Measurements = field(default_factory=Measurements)


class Look:
    """One reading of the database, for one plan or for two that are compared."""

    def __init__(self, engine: Engine, store: Store) -> None:
        self._engine, self._store = engine, store
        unhealthy = engine.unhealthy(store.schema)
        _require_whole(engine, store, unhealthy)
        self._has_log = store.journal.table not in unhealthy
        store.refresh()
        (self._stored, self._damaged), self.holds, self._frozen, self._rollups, self._leases = store.read_together(
            lambda: store.policies.all(refresh=False),
            lambda: store.holds.active(refresh=False),
            lambda: store.freezes.all(refresh=False),
            lambda: store.rollups.all(refresh=False),
            lambda: store.leases.read(refresh=False),
        )
        self._seen: dict[tuple[Selector, ...], _Seen] = {}
        # Of the names of planned snapshots: those that were looked for, and those that are taken.
        self._asked, self._taken = set[ArchiveKey](), set[ArchiveKey]()
        self._only = frozenset[TableName]()  # Plans are about these tables; empty: all.
        self._pasts: dict[Removal, Past | None] = {}  # Earlier runs of large removals.

    @without_collector()
    def prepare(
        self,
        cutoff: dt.datetime,
        selection: Selection | None = None,
        *,
        holds: Sequence[LegalHold] | None = None,
        candidates: Iterable[Policy] = (),
        instead: Sequence[Policy] | None = None,
        about: TableName | None = None,
        every: bool = False,
    ) -> Prepared:
        """
        Make the plan for an aware cutoff; with other holds or candidates, as a preview only.

        :param holds: Legal holds in place of those in force.
        :param candidates: Policies treated as stored: each instead of the one with its identifier, or in addition.
        :param instead: Policies, with identifiers, that are treated as the stored ones.
        :param about: Plan for this table, and for others only if what is due there depends on them.
        :param every: Also read the tables that no policy matches.
        """
        selection, candidates = selection or Selection(), list(candidates)
        selection.require((item.policy for item in self._stored), self._damaged)
        others = None if instead is None else [StoredPolicy(policy, _NOT_STORED) for policy in instead]
        stored = {item.policy.id or "": item for item in (self._stored if others is None else others)}
        # They have no version, so that no run executes them.
        stored |= {candidate.id or "": StoredPolicy(candidate, _NOT_STORED) for candidate in candidates}
        policies = asked = [item.policy for item in stored.values()]
        if about is not None:
            policies = asked = list(self._narrowed(policies, about))
        if self._only:
            narrowed = [(policy, self._reading(policy)) for policy in policies]
            policies, asked = [it for it, some in narrowed if some], [it for _, some in narrowed for it in some]
        seen = self._see(asked, every)
        catalog, traits = seen.catalog, [policy.strategy.traits for policy in policies]
        # Partitions that an interrupted run froze are not unfrozen in a later table of the same name.
        former = frozenset(
            (name, values)
            for (name, values), identity in self._frozen.items()
            if identity and name in catalog.tables and identity != catalog.tables[name].identity
        )
        archives = any(policy.archives for policy in policies)
        planning = Planning(
            policies=policies,
            catalog=catalog,
            cutoff=cutoff,
            holds=self.holds if holds is None else holds,
            ledger=self._ledger if any(each.rolls_up for each in traits) else Ledger(),
            frozen=frozenset(self._frozen.keys() - former),
            restored=self._restored[0] if archives else {},
            own_schema=self._store.schema,
            **self._read_ended(policies, cutoff),
        )
        probes = planning.probes()
        seen.measurements |= self._engine.measure([probe for probe in probes if probe not in seen.asked])
        seen.asked.update(probes)
        plan: Plan | None = None
        deleting = self._restored[1] if archives else set()
        unusual, new = dict[Removal, Reason](), dict[Removal, Reason]()
        while plan is None or self._compare(seen, plan) | self._collides(plan) | bool(new):
            planning = replace(
                planning,
                measurements=seen.measurements,
                archived=frozenset(self._taken | deleting),
                unusual=unusual,
                accepted=selection.accepted,
            )
            plan = planning.plan(selection.fits)
            found = {} if selection.accepted else self._find_unusual(seen, planning, plan, selection)
            new = {removal: why for removal, why in found.items() if removal not in unusual}
            unusual = unusual | new
        if self._only and any(each.why is Why.CLOCK_AHEAD for each in unusual.values()):
            # Data of other tables may show that the clock is right.
            whole = self.part(()).prepare(
                cutoff, selection, holds=holds, candidates=candidates, instead=instead, every=every
            )
            return self._cut(whole)
        damaged = (
            Blocked(policy_id=it.id, table=it.target, why=Why.INVALID_POLICY(mistake=it.reason), needs_attention=True)
            for it in self._damaged
            if it.enabled
            if instead is None
        )
        left = (
            Why.FROZEN_BEFORE(table=name, partition=show_partition(catalog.tables[name].partition_columns, values))
            for name, values in sorted(former, key=str)
            if is_frozen(catalog.tables[name], values)
        )
        facts = planning.alone()
        if every:  # An overview looks at them once more.
            facts.pieces = planning.pieces
        prepared = Prepared(
            plan=replace(plan, blocked=(*damaged, *plan.blocked), warnings=(*plan.warnings, *left)),
            facts=facts,
            selection=selection,
            versions={identifier: item.version for identifier, item in stored.items()},
            formerly_frozen=former,
            rests=planning.rests,
            leases=self._leases,
            every=every,
        )
        return self._cut(prepared) if self._only else prepared

    @property
    def _same(self) -> Callable[[TableName], TableName]:
        """What names have in common that are the same to the database."""
        return folded if self._engine.capabilities.folds_case else lambda name: name

    @property
    def policies(self) -> list[Policy]:
        """All stored policies."""
        return [item.policy for item in self._stored]

    def cascade(self, about: TableName, others: Iterable[Policy] = ()) -> frozenset[TableName]:
        """A table with its cascade: as stored policies define it, or others, and with the source of a known level."""
        of = next((known.rollup.source for table, known in self._rollups.items() if table == about), about)
        policies, own = [*self.policies, *others], self._engine.capabilities
        return frozenset(name for table in {about, of} for name in cascade_tables(policies, table, own))

    def part(self, names: Collection[TableName]) -> Look:
        """
        The same reading, for plans about these tables alone, which no run executes: only they are read, see
        :meth:`cascade`, and others if what is due there depends on them.
        """
        found = copy(self)
        found._only = frozenset(names)
        return found

    def _within(self, items: Iterable[T], table: Callable[[T], TableName]) -> Iterator[T]:
        """Items about the tables that plans are about."""
        known = set(map(self._same, self._only))
        return (item for item in items if self._same(table(item)) in known)

    def _cut(self, whole: Prepared) -> Prepared:
        """The part that is asked for: of other tables, not all policies may be known."""
        table, plan = attrgetter("table"), whole.plan
        part = replace(
            plan,
            tasks=tuple(self._within(plan.tasks, table)),
            blocked=tuple(self._within(plan.blocked, table)),
            up_to_date=tuple(self._within(plan.up_to_date, table)),
        )
        return replace(whole, plan=part, versions=dict.fromkeys(whole.versions, _NOT_STORED))

    def _narrowed(self, policies: Iterable[Policy], about: TableName) -> Iterator[Policy]:
        """
        The policies on a table or its source, each as if it named only this table, unless what it does there depends
        on its other tables.
        """
        own = self._engine.capabilities
        of = next((known.rollup.source for table, known in self._rollups.items() if table == about), about)
        for policy in policies:
            for table in find_tables(policy.table_schema, policy.table_name, {of, about}, own):
                if table in self._rollups and is_pattern(f"{policy.table_schema or ''}{policy.table_name}"):
                    continue
                if policy.shares_budget:
                    yield policy
                    break
                yield policy.model_copy(update={"table_schema": table.schema, "table_name": table.name})

    def _reading(self, policy: Policy) -> list[Policy]:
        """What is read of a policy on some tables: all of its own if what it does there depends on them."""
        tables = find_tables(policy.table_schema, policy.table_name, self._only, self._engine.capabilities)
        if policy.shares_budget:
            return [policy][: len(tables)]
        return [policy.model_copy(update={"table_schema": table.schema, "table_name": table.name}) for table in tables]

    @cached_property
    def _levels(self) -> frozenset[TableName]:
        return frozenset(name for table in self._rollups for name in (table, sketch_table(table)))

    def _see(self, policies: Iterable[Policy], every: bool) -> _Seen:
        """The tables of policies, in this order, or all; a pattern never matches the toolkit's own tables."""
        selectors = dict.fromkeys(selector for policy in policies for selector in _selectors(policy))
        selectors.update({EVERY: None} if every else {})
        if not self._only:
            others = sorted({table for table, _ in self._frozen})
            selectors.update(dict.fromkeys(Selector(schema=table.schema, name=table.name) for table in others))
        key = tuple(selectors)
        if key not in self._seen:
            same = self._same
            named = {same(TableName(s.schema or "", s.name)) for s in selectors if not is_pattern(s.name)}
            own = same(TableName(self._store.schema, "")).schema
            catalog = self._engine.read_catalog(list(selectors), self._store.schema)
            _require_whole(self._engine, self._store, catalog.unhealthy)
            found = catalog.tables.items()
            tables = {name: table for name, table in found if same(name).schema != own or same(name) in named}
            self._seen[key] = _Seen(catalog=replace(catalog, tables=tables, rollups=self._levels))
        return self._seen[key]

    @cached_property
    def _ledger(self) -> Ledger:
        return self._store.rollups.ledger(self._rollups, refresh=False)

    @cached_property
    def _restored(self) -> tuple[Mapping[RestoredPartition, ArchiveKey], set[ArchiveKey]]:
        """
        Restored partitions, which need not be archived again unless they are written to; and the snapshots that are
        being deleted, whose names new ones must not have.
        """
        return self._store.snapshots.restored(refresh=False)

    def _read_ended(self, policies: Iterable[Policy], cutoff: dt.datetime) -> dict[str, Any]:
        """
        The archives that may have ended by enabled policies, and when the next ones end; nothing is read if no policy
        ends any.
        """
        enabled = {policy.id or "": policy for policy in policies if policy.enabled}
        limits = {name: limit for name, p in enabled.items() if (limit := p.archive_limit(cutoff)) is not None}
        recoverable = {name for name, policy in enabled.items() if policy.recoverable is not None}
        if not limits and not recoverable:
            return {}
        ended = self._store.snapshots.ended(limits, max(limits.values(), default=0), recoverable, cutoff)
        if self._only:
            ended = list(self._within(ended, attrgetter("archived.table")))
        acting = (enabled[name] for name in sorted(limits.keys() | recoverable))
        shared = {policy.id or "" for policy in acting if policy.expected_max and policy.expected_max.percent}
        shared.update(filter(None, (record.policy_id for record in ended)))
        return {
            "archives": ended,
            "archive_ends": self._store.snapshots.next_ends(limits, recoverable, cutoff),
            "archived_rows": self._store.snapshots.rows(shared) if shared else {},
        }

    def _find_unusual(self, seen: _Seen, planning: Planning, plan: Plan, selection: Selection) -> dict[Removal, Reason]:
        """
        Removals of a plan that earlier runs do not explain. These are read only if much is due, and not while shards of
        the audit log are missing for lack of space, which is when data must be dropped.
        """
        cutoff, targets = planning.cutoff, planning.looked_at
        suspects = find_suspects(plan, planning, targets) if self._has_log else []
        new = [each.removal for each in suspects if each.removal not in self._pasts]
        self._pasts |= self._read_pasts(new, selection, cutoff)
        pasts = {removal: past for removal, past in self._pasts.items() if past is not None}
        known = [each for each in suspects if each.removal in pasts and each.is_unusual(pasts[each.removal])]
        if not known:
            return {}
        newest = find_newest(planning, targets)
        probes = {probe for each in known for probe in each.probes(pasts[each.removal], newest, cutoff)} - seen.asked
        seen.measurements |= self._engine.measure(list(probes))
        seen.asked.update(probes)
        holds = self._store.holds.released_since(min(pasts[each.removal].time for each in known))
        kept = {hold.id for hold in planning.holds}
        holds += [hold for hold in self.holds if hold.id not in kept]  # As in the preview of a release.
        return find_unusual(known, pasts, planning, targets, seen.measurements.rows, holds)

    def _read_pasts(
        self, removals: Collection[Removal], selection: Selection, cutoff: dt.datetime
    ) -> dict[Removal, Past | None]:
        """What is known of earlier runs of removals; None: this is the first run of the policy there."""
        found: dict[Removal, Past | None] = {}
        stored = {item.policy.id or "": item.policy for item in self._stored}
        of_all = selection == Selection(limit=selection.limit)
        for of_archives in (False, True):
            mine = {(policy, table) for policy, table, archives in removals if archives is of_archives}
            pasts = self._store.journal.pasts(mine, of_archives, cutoff) if mine else {}
            new = {policy for policy, table in mine if policy not in pasts[table]} & stored.keys()
            standings = self._store.journal.standings({policy: stored[policy].table_name for policy in new})
            for policy, table in mine:
                past = pasts[table].get(policy)
                if past is None and policy in standings:
                    standing, made = standings[policy], of_archives or table in self._rollups
                    others = pasts[table].items() if of_all or standing.replaces else ()
                    by_hand = [past for name, past in others if name not in stored or not stored[name].schedule]
                    past = self._last_run(stored[policy], standing, by_hand, made, cutoff)
                elif past is not None:
                    past = replace(past, time=max(past.time, self._leases.of(policy).succeeded_at or past.time))
                found[policy, table, of_archives] = past
        return found

    def _last_run(
        self, policy: Policy, standing: Standing, others: Iterable[Past], made: bool, cutoff: dt.datetime
    ) -> Past | None:
        """
        The last run of a policy that has not removed anything from a table so far; None: there is none. It explains
        whatever it may have made itself, so that its cutoff is the beginning of time.

        Runs in which nothing was due leave no trace of policies without a schedule. Such a policy counts as run if
        others removed data from the table while it was enabled, or if it was changed after some run.

        :param others: What other policies without a schedule, or deleted ones, removed from the table. If only some
            policies are run, they say nothing: this one may always be run apart from them.
        :param made: Whether the first run of a policy may make what its second one removes, as of levels and archives.
        """
        journal, lease = self._store.journal, self._leases.of(policy.id or "")
        if (last := lease.succeeded_at) is not None:
            if made and standing.changed <= max(last, standing.enabled):
                return Past(cutoff=EPOCH, time=last)
            return Past(cutoff=last, time=last) if last <= cutoff else journal.last_done(cutoff)
        if policy.schedule is not None and lease.finished_at is None and not standing.replaces:
            return None
        since = [past for past in others if standing.enabled < past.time]
        if since:
            return max(since, key=lambda past: past.time)
        return journal.last_done(cutoff, standing) if standing.enabled < standing.changed else None

    def _collides(self, plan: Plan) -> bool:
        """Whether a new snapshot would have the name of one whose partition was dropped, which another plan avoids."""
        if not self._engine.capabilities.tokens_recur:
            return False
        steps = (step for task in plan.tasks for step in task.steps if isinstance(step, SnapshotPartition))
        names = {(step.repository, step.name) for step in steps} - self._asked
        taken = self._store.snapshots.taken(names)
        self._asked |= names
        self._taken |= taken
        return bool(taken)

    def _compare(self, seen: _Seen, plan: Plan) -> bool:
        """
        Compare windows that a plan would compute again with their source. Returns whether rows would be lost, which
        another plan avoids. If the plan itself changes the source, or it cannot be read now, the run compares.
        """
        found: dict[tuple[Rollup, Window], Balance] = {}
        losing = False
        for step in (step for task in plan.tasks for step in task.steps if isinstance(step, RollUp) and step.tokens):
            new = {window: rows for window, rows in step.before if (step.rollup, window) not in seen.compared}
            seen.compared.update((step.rollup, window) for window in new)
            try:
                balances = self._engine.counts(step.rollup).compare(list(new))
            except ConnectionLost:
                raise
            except RetentionError:
                continue
            found |= {(step.rollup, window): balance for window, balance in balances.items()}
            losing |= any(balance.lost(new[window]) for window, balance in balances.items())
        seen.measurements |= Measurements(balances=found)
        return losing


def cascade_tables(policies: Iterable[Policy], table: TableName, own: Capabilities) -> set[TableName]:
    """A table with its cascade by some policies: its levels; or if it has the name of a level, the source and all."""
    names = {table}
    for policy in (policy for policy in policies if policy.levels):
        endings = [f"_{level.interval}{more}" for level in policy.levels for more in ("", "_sketch")]
        for name in {table.name, *(table.name.removesuffix(ending) for ending in endings if table.name != ending)}:
            source = TableName(table.schema, name)
            if find_tables(policy.table_schema, policy.table_name, [source], own):
                levels = [level_table(source, level.interval) for level in policy.levels]
                names.update((source, *levels, *map(sketch_table, levels)))
    return names


def check_preconditions(store: Store, prepared: Prepared, task: Task) -> None:
    """
    PartitionChanged if a task's policy was changed or deleted since planning, or its table was put on hold, unless it
    only rolls up, which no hold prevents.
    """
    policy_id, known = task.policy_id, frozenset(hold.id for hold in prepared.facts.holds)
    rolls_up = all(isinstance(step, RollupStep) for step in task.steps)
    version, holds = store.read_together(
        lambda: None if policy_id is None else store.policies.version_of(policy_id),
        # Placing a hold refreshes the table.
        lambda: [] if rolls_up else store.holds.active(refresh=False, known=known),
    )
    if policy_id is not None and version != prepared.versions.get(policy_id):
        thing = f"policy {policy_id}"
        raise PartitionChanged(thing, "was changed, disabled or deleted since the plan was made", "plan again")
    own = prepared.facts.catalog.capabilities
    for hold in holds:
        if find_tables(hold.table_schema, hold.table_name, [task.table], own):
            raise PartitionChanged(f"table {task.table}", Why.HOLD_PLACED(hold=hold), "plan again")


def _require_whole(engine: Engine, store: Store, unhealthy: frozenset[TableName]) -> None:
    """
    Check that the toolkit's own tables are complete: a hold that cannot be read would protect nothing.

    Checked before they are read, since CrateDB takes minutes to read missing shards, and again with the catalog. The
    audit log may lack a new month for which no node has room.
    """
    own = {TableName(store.schema, table.name) for table in store.tables.metadata.sorted_tables}
    missing = own & unhealthy
    if missing == {store.journal.table}:
        missing -= engine.unplaced(store.schema)
    for table in sorted(missing):
        reason = "shards are missing, which may contain policies or holds"
        raise ClusterUnhealthy(f"table {table}", reason, "bring the lost nodes back")


def _selectors(policy: Policy) -> Iterator[Selector]:
    schema, name, traits = policy.table_schema, policy.table_name, policy.strategy.traits
    asked: dict[str, Any] = {
        "tokens": policy.archives or traits.rolls_up,
        "moves": traits.moves,
        "keys": traits.rolls_up,
        "compacts": traits.compacts,
        "sizes": policy.max_size is not None,
    }
    yield Selector(schema=schema, name=name, partition_column=policy.partition_column, **asked)
    for level in policy.levels:
        yield Selector(schema=schema, name=f"{name}_{level.interval}", tokens=True)
        yield Selector(schema=schema, name=f"{name}_{level.interval}_sketch")
    if traits.rolls_up:
        yield Selector(schema=schema, name=view_name(TableName("", name)).name)


def is_frozen(table: Table, values: tuple[Value, ...]) -> bool:
    return any(partition.frozen for partition in table.partitions if partition.values == values)
