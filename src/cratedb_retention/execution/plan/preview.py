"""Previews: of a policy, by the same plan as a run (law 10), and of a restore."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from cratedb_retention.engine.archive import SnapshotState
from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import RetentionError
from cratedb_retention.execution.archive import by_partition, is_own, read_tables, refusal
from cratedb_retention.execution.plan.preparing import Look, Prepared, Selection
from cratedb_retention.model.archive import Archived, SnapshotRecord
from cratedb_retention.model.catalog import Capabilities, TableName
from cratedb_retention.model.plan.effect import Loss, losses, summarize
from cratedb_retention.model.plan.plan import Plan
from cratedb_retention.model.plan.reasons import Why
from cratedb_retention.model.policies.patterns import find_tables, is_pattern
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.words import short
from cratedb_retention.planning.policies import find_contradictions
from cratedb_retention.store.policies import identity
from cratedb_retention.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Other:
    """What changes for another policy: what its next run does, or blocks, in addition or no longer."""

    policy_id: str
    table: TableName
    gained: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """A line for each difference."""
        name = f"{self.table}, " + (f"policy {short(self.policy_id)}" if self.policy_id else "tidying up")
        return [f"{name}, new: {text}" for text in self.gained] + [f"{name}, no longer: {text}" for text in self.lost]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What the next run does without and with a policy."""

    policy: Policy  # With an identifier, generated if it is new.
    before: Prepared
    after: Prepared
    if_enabled: Preview | None = None  # The preview as if it were enabled; None: it is.

    @cached_property
    def plan(self) -> Plan:
        """The plan with the policy, without the tasks of other policies."""
        plan, mine = self.after.plan, self.policy.id
        return replace(
            plan,
            tasks=tuple(task for task in plan.tasks if task.policy_id == mine),
            blocked=tuple(each for each in plan.blocked if each.policy_id == mine),
            up_to_date=tuple(each for each in plan.up_to_date if each.policy_id == mine),
        )

    @property
    def losses(self) -> list[Loss]:
        return losses(self.plan.tasks)

    @property
    def could_be_undone(self) -> bool:
        """Whether the policy deletes whole partitions for good, which it could keep recoverable."""
        lost = any(loss.amount.partitions and not loss.archived and not loss.of_archive for loss in self.losses)
        return lost and not self.policy.archives

    @property
    def contradictions(self) -> list[str]:
        """Contradictions between the policy and others, and policies that do the same."""
        return list(self.conflicts)

    @cached_property
    def conflicts(self) -> dict[str, tuple[str, ...]]:
        """The same, with the identifiers of the other policies."""
        chosen, own = [p for p in self.after.policies.values() if self.after.selection.fits(p)], self.policy.id
        found = find_contradictions(chosen, self.after.facts.catalog, self.after.facts.ledger)
        twins = [p for p in chosen if p.id != own and identity(p) == identity(self.policy)]
        said = (Why.DONE_ALREADY(other=p.id or "", strategy=p.strategy, period=p.retention_period) for p in twins)
        return {
            **{str(why): (twin.id or "",) for why, twin in zip(said, twins, strict=True)},
            **{
                f"{f.table}: {f.why.about(own)}": tuple(each for each in f.policies if each != own)
                for f in found
                if own in f.policies
            },
        }

    @property
    def others(self) -> list[Other]:
        before, after = self._verdicts(self.before.plan), self._verdicts(self.after.plan)
        found = []
        for key in dict.fromkeys([*before, *after]):
            was, will = before.get(key, {}), after.get(key, {})
            if key[0] != self.policy.id and was.keys() != will.keys():
                gained = tuple(text for text in will if text not in was)
                lost = tuple(text for text in was if text not in will)
                found.append(Other(policy_id=key[0], table=key[1], gained=gained, lost=lost))
        return found

    def _verdicts(self, plan: Plan) -> dict[tuple[str, TableName], dict[str, None]]:
        """The verdicts on each policy and table, as texts, since rows written in between make the plans differ."""
        found: dict[tuple[str, TableName], dict[str, None]] = {}
        said = [(task, summarize(task)) for task in plan.tasks]
        for each, text in (*said, *((it, f"blocked: {it.why.about(self.policy.id)}") for it in plan.blocked)):
            found.setdefault((each.policy_id or "", each.table), {})[text] = None
        return found


def preview(
    engine: Engine,
    store: Store,
    cutoff: dt.datetime,
    policy: Policy,
    selection: Selection | None = None,
    alone: bool = False,
) -> Preview:
    """
    Make the plan without and with a policy, in place of the stored one with its identifier. Writes nothing.

    :param alone: Without other tables, unless the policy can affect them.
    """
    candidate = policy if policy.id else policy.model_copy(update={"id": str(uuid.uuid4())})
    look = Look(engine, store)
    if alone:
        look = look.part(_find_tables(look, candidate, engine.capabilities))
    before, after = look.prepare(cutoff, selection), look.prepare(cutoff, selection, candidates=[candidate])
    enabled = candidate.model_copy(update={"enabled": True})
    if_enabled = None if candidate.enabled else preview(engine, store, cutoff, enabled, selection, alone)
    return Preview(policy=candidate, before=before, after=after, if_enabled=if_enabled)


def _find_tables(look: Look, candidate: Policy, own: Capabilities) -> frozenset[TableName]:
    """The table of a policy with its cascade; empty if the policy can affect others."""
    both = [candidate, *(policy for policy in look.policies if policy.id == candidate.id)]
    named = {TableName(policy.table_schema or own.default_schema, policy.table_name) for policy in both}
    if len(named) > 1 or is_pattern(candidate.table):
        return frozenset()
    found = look.cascade(named.pop(), [candidate])
    sharing = (policy for policy in (*look.policies, candidate) if policy.shares_budget)
    shared = any(find_tables(policy.table_schema, policy.table_name, found, own) for policy in sharing)
    return frozenset() if shared else found


THERE = "the partition already exists; restore it into another table, or delete it first"
MISSING = "the snapshot no longer exists in its repository"
TWICE = "another partition with the same values is restored into that table as well"
WORST_FIRST = ("missing", "incomplete", "damaged", "complete")


@dataclass(frozen=True, kw_only=True)
class ArchiveLine:
    """A snapshot and its condition."""

    record: SnapshotRecord
    state: SnapshotState | None  # Its state in the repository; None: missing.
    ends: int | None = None  # When a run deletes it for good (ms, UTC), by the present policies; None: never.

    @property
    def condition(self) -> str:
        """One of ``missing``, ``incomplete``, ``damaged`` and ``complete``."""
        if self.state is None:
            return "missing"
        if not self.state.complete:
            return "incomplete"
        return "damaged" if self.record.damage else "complete"

    @property
    def found(self) -> str:
        """What is in the repository, with the fault of a snapshot that is not right."""
        if self.condition == "damaged":
            return f"damaged: {self.record.damage}"
        return self.state.detail if self.state else "missing"


@dataclass(frozen=True, kw_only=True)
class Restorable:
    """What a restore would do with a snapshot."""

    record: SnapshotRecord
    into: TableName  # The table that it would be restored into.
    held: bool  # Whether it would be on hold from then on.
    refusal: str | None = None  # Why it would not be restored; None: it would.


def preview_restore(
    engine: Engine, records: Sequence[SnapshotRecord], into: TableName | None, merge: bool = False
) -> list[Restorable]:
    """
    What restoring snapshots would do; nothing is written. Snapshots of a partition are restored together, or not at
    all.

    :param into: The table to restore into; None: their own.
    :param merge: Whether rows that are in a partition already stay beside those that are restored.
    """
    states = engine.archive.states(record.key for record in records)
    groups = []
    for group in by_partition(records):
        own = is_own(engine, group[0], into)
        groups.append((group, own, group[0].archived.table if own or into is None else into))
    tables = read_tables(engine, ((group[0].archived, target) for group, _, target in groups))
    there = {table.name: {partition.values for partition in table.partitions} for table in tables.values()}
    every = [record.archived for record in records]
    checked, coming = [], set[tuple[Any, ...]]()
    for group, own, target in groups:
        parts, table = [record.archived for record in group], tables.get(target)
        place, columns = (target, parts[0].values), tuple(column.name for column in parts[0].columns)
        alike = table is not None and table.partitioned_by == columns
        why_not = (
            next(filter(None, (_damage(states.get(record.key)) for record in group)), None)
            or refusal(group, own, table)
            or (_is_there(engine, parts, target) if alike and place[1] in there[target] and not merge else None)
            or (TWICE if place in coming else None)
            or _would_fail(engine, parts, target, every)
        )
        coming.update([place] if why_not is None else [])
        checked += [Restorable(record=record, into=target, held=own, refusal=why_not) for record in group]
    return checked


def _is_there(engine: Engine, archived: Sequence[Archived], into: TableName) -> str | None:
    try:
        return None if engine.archive.interrupted(archived, into) else THERE
    except RetentionError as error:
        return str(error)


def _would_fail(engine: Engine, archived: Sequence[Archived], into: TableName, every: Sequence[Archived]) -> str | None:
    try:
        engine.archive.render_restore(archived, into, every)
    except RetentionError as error:
        return str(error)
    return None


def _damage(state: SnapshotState | None) -> str | None:
    if state is None:
        return MISSING
    return None if state.complete else f"the snapshot is incomplete: {state.detail}"
