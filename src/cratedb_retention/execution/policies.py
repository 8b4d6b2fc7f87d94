"""Policies as code: the changes that make the stored policies those of a file; and mistakes in stored policies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.plan.preparing import Prepared
from cratedb_retention.model.plan.reasons import UNUSUAL
from cratedb_retention.model.policies.policy import Difference, Policy, differences
from cratedb_retention.model.policies.tags import TagFilter
from cratedb_retention.planning.policies import Finding, find_contradictions
from cratedb_retention.store.policies import StoredPolicy, identity


class Action(StrEnum):
    """The kind of a change."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    KEEP = "keep"


@dataclass(frozen=True)
class Change:
    """The change of one policy."""

    action: Action
    policy: Policy  # As in the file; if it is deleted, as stored.
    stored: StoredPolicy | None = None  # None if it is new.

    @property
    def before(self) -> Policy | None:
        """As stored; None if it is new."""
        return self.stored.policy if self.stored else None

    @property
    def after(self) -> Policy | None:
        """As in the file; None if it is deleted."""
        return None if self.action is Action.DELETE else self.policy

    @property
    def differences(self) -> list[Difference]:
        """The attributes that change, before and after."""
        return differences(*(policy.to_dict() if policy else None for policy in (self.before, self.after)))


def find_changes(
    wanted: Sequence[Policy], stored: Iterable[StoredPolicy], prune: bool = False, tags: TagFilter | None = None
) -> list[Change]:
    """
    Compare a file with the database.

    A policy is identified by its identifier, else by its rule (strategy, data, destination).

    :param prune: Delete stored policies that the file does not contain.
    :param tags: Prune only stored policies with these tags.
    :raises InvalidInput: if the file contains the same rule twice.
    """
    by_id = {item.id: item for item in stored}
    by_rule = {identity(item.policy): item for item in by_id.values()}
    taken: set[str] = set()
    changes = []
    for policy in wanted:
        found = by_id.get(policy.id) if policy.id else by_rule.get(identity(policy))
        key = (found.id if found else policy.id) or str(identity(policy))
        if key in taken:
            what = f"policy {policy.strategy} {policy.target}"
            raise InvalidInput(what, "is in the file twice", "remove one of them")
        taken.add(key)
        after = policy.model_copy(update={"id": found.id}) if found else policy
        kept = Action.KEEP if found and found.policy == after else Action.UPDATE
        changes.append(Change(kept if found else Action.CREATE, after, found))
    if prune:
        scope = tags or TagFilter()
        if not wanted and not scope:
            why = "is empty, and pruning would delete every policy"
            raise InvalidInput("the file", why, "name the --tags to prune")
        gone = [item for key, item in by_id.items() if key not in taken and scope.fits(item.policy.tags)]
        changes += [Change(Action.DELETE, item.policy, item) for item in gone]
    return changes


def find_mistakes(prepared: Prepared) -> list[Finding]:
    """Policies of a plan that cannot be carried out, and policies that contradict each other."""
    # What is unusual depends on what was run when, and not on policies alone.
    blocked = [each for each in prepared.plan.needs_attention if each.why.why not in UNUSUAL]
    found = [Finding(each.table, (each.policy_id,) if each.policy_id else (), each.why) for each in blocked]
    chosen = [policy for policy in prepared.policies.values() if prepared.selection.fits(policy)]
    return found + find_contradictions(chosen, prepared.facts.catalog, prepared.facts.ledger)
