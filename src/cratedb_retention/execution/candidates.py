"""
What a policy would do before it is stored: the very plan that a run would have (law 10), and what it changes for
others.
"""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass, replace

from cratedb_retention.engine.base import Engine
from cratedb_retention.execution.preparing import Prepared, Selection, prepare_both
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.effect import Loss, losses, summarize
from cratedb_retention.model.plan import Hold, Kept, Plan, Task
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.model.words import short
from cratedb_retention.planning.check import find_contradictions
from cratedb_retention.store.policies import identity
from cratedb_retention.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Other:
    """
    What becomes different for another policy.

    :param gained: What its next run does, or holds, and would not have otherwise.
    :param lost: What it would have done, or held, and does not.
    """

    policy_id: str
    table: TableName
    gained: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """The same in words, a line for each difference."""
        name = f"{self.table}, " + (f"policy {short(self.policy_id)}" if self.policy_id else "tidying up")
        return [f"{name}, anew: {text}" for text in self.gained] + [f"{name}, no longer: {text}" for text in self.lost]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """
    What the next run does without and with a policy.

    :param policy: The policy, with an identifier: one that was made up if it is new.
    :param if_enabled: The same as if it were enabled; None: it is.
    """

    policy: Policy
    before: Prepared
    after: Prepared
    if_enabled: Preview | None = None

    @property
    def own(self) -> Prepared:
        """The plan with the policy, without what others ask for."""
        return replace(self.after, plan=replace(self.after.plan, tasks=self.tasks, holds=self.holds, kept=self.kept))

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What the policy asks for."""
        return tuple(task for task in self.after.plan.tasks if task.policy_id == self.policy.id)

    @property
    def holds(self) -> tuple[Hold, ...]:
        """What of it is held."""
        return tuple(hold for hold in self.after.plan.holds if hold.policy_id == self.policy.id)

    @property
    def kept(self) -> tuple[Kept, ...]:
        """What it looked at and keeps."""
        return tuple(kept for kept in self.after.plan.kept if kept.policy_id == self.policy.id)

    @property
    def losses(self) -> list[Loss]:
        """What leaves tables, one for each table and way."""
        return losses(self.tasks)

    @property
    def contradictions(self) -> list[str]:
        """Where the policy contradicts others, or does what another one does already."""
        chosen = [p for p in self.after.policies.values() if self.after.selection.fits(p)]
        found = find_contradictions(chosen, self.after.catalog, self.after.ledger)
        twins = [p for p in chosen if p.id != self.policy.id and identity(p) == identity(self.policy)]
        return [
            *(str(Why.DONE_ALREADY(other=p.id or "", strategy=p.strategy, period=p.retention_period)) for p in twins),
            *dict.fromkeys(f"{f.table}: {self.told(f.why)}" for f in found if self.policy.id in f.policies),
        ]

    @property
    def others(self) -> list[Other]:
        """What becomes different for other policies."""
        before, after = self._verdicts(self.before.plan), self._verdicts(self.after.plan)
        keys = dict.fromkeys([*before, *after])
        found = [
            Other(
                policy_id=key[0],
                table=key[1],
                gained=tuple(text for text in after.get(key, {}) if text not in before.get(key, {})),
                lost=tuple(text for text in before.get(key, {}) if text not in after.get(key, {})),
            )
            for key in keys
            if key[0] != self.policy.id
        ]
        return [other for other in found if other.gained or other.lost]

    def told(self, reason: Reason) -> str:
        """A reason, with the policy as "this policy" rather than by an identifier that was made up."""
        return reason.about(self.policy.id)

    def _verdicts(self, plan: Plan) -> dict[tuple[str, TableName], dict[str, None]]:
        """What a plan says of each policy and table, in words: two plans may differ in what was written meanwhile."""
        found: dict[tuple[str, TableName], dict[str, None]] = {}
        for task in plan.tasks:
            found.setdefault((task.policy_id or "", task.table), {})[summarize(task)] = None
        for hold in plan.holds:
            found.setdefault((hold.policy_id or "", hold.table), {})[f"held: {self.told(hold.why)}"] = None
        return found


def preview(
    engine: Engine, store: Store, cutoff: dt.datetime, policy: Policy, selection: Selection | None = None
) -> Preview:
    """
    Make the plan without and with a policy. Nothing is written.

    :param cutoff: An aware instant.
    :param policy: Takes the place of the stored one with its identifier, if there is one.
    """
    candidate = policy if policy.id else policy.model_copy(update={"id": str(uuid.uuid4())})
    before, after = prepare_both(engine, store, cutoff, selection, candidate=candidate)
    enabled = candidate.model_copy(update={"enabled": True})
    if_enabled = None if candidate.enabled else preview(engine, store, cutoff, enabled, selection)
    return Preview(policy=candidate, before=before, after=after, if_enabled=if_enabled)
