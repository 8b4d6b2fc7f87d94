"""
Policies as code: makes the stored policies what a file says, and tells what has to change for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.policy import Difference, Policy, differences
from cratedb_retention.model.tags import TagFilter
from cratedb_retention.store.policies import PolicyStore, StoredPolicy, identity


class Action(StrEnum):
    """What has to be done about a policy."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    KEEP = "keep"


@dataclass(frozen=True, kw_only=True)
class Change:
    """
    One policy's change.

    :param before: As it is stored; None if it is new.
    :param after: As the file says; None if it goes.
    :param version: The stored version.
    """

    action: Action
    before: Policy | None
    after: Policy | None
    version: int = 0

    @property
    def policy(self) -> Policy:
        """The policy as it will be, or as it was."""
        found = self.after or self.before
        if found is None:
            raise ValueError("a change without a policy")
        return found

    @property
    def differences(self) -> list[Difference]:
        """The attributes that change, before and after."""
        return differences(*(policy.to_dict() if policy else None for policy in (self.before, self.after)))


def find_changes(
    wanted: Sequence[Policy], stored: Iterable[StoredPolicy], prune: bool = False, tags: TagFilter | None = None
) -> list[Change]:
    """
    Compare a file with the database.

    A policy is found again by its identifier, else by what makes it the same rule (strategy, data, destination).

    :param prune: Whether stored policies that the file lacks are deleted.
    :param tags: Only stored policies with these tags are pruned.
    :raises InvalidInput: if the file has the same rule twice.
    """
    by_id: dict[str, StoredPolicy] = {item.policy.id or "": item for item in stored}
    by_rule = {identity(item.policy): item for item in by_id.values()}
    taken: set[str] = set()
    changes = [_change(policy, by_id, by_rule, taken) for policy in wanted]
    if prune:
        scope = tags or TagFilter()
        if not wanted and not scope:
            raise InvalidInput(
                "the file", "is empty, and pruning would delete every policy", "name the --tags to prune"
            )
        gone = [item for key, item in by_id.items() if key not in taken and scope.fits(item.policy.tags)]
        changes += [Change(action=Action.DELETE, before=item.policy, after=None, version=item.version) for item in gone]
    return changes


def _change(
    policy: Policy,
    by_id: Mapping[str, StoredPolicy],
    by_rule: Mapping[tuple[object, ...], StoredPolicy],
    taken: set[str],
) -> Change:
    found = by_id.get(policy.id) if policy.id else by_rule.get(identity(policy))
    key = (found.policy.id if found else policy.id) or str(identity(policy))
    if key in taken:
        raise InvalidInput(f"policy {policy.strategy} {policy.target}", "is in the file twice", "remove one of them")
    taken.add(key)
    if found is None:
        return Change(action=Action.CREATE, before=None, after=policy)
    after = policy.model_copy(update={"id": found.policy.id})
    same = after == found.policy
    return Change(
        action=Action.KEEP if same else Action.UPDATE, before=found.policy, after=after, version=found.version
    )


def apply_changes(store: PolicyStore, changes: Iterable[Change]) -> None:
    """
    Carry changes out: deletions last, so that no data is left without its policy in between.

    :raises Conflict: if somebody else changed a policy since the comparison.
    """
    by_action: dict[Action, list[Change]] = {action: [] for action in Action}
    for change in changes:
        by_action[change.action].append(change)
    for change in by_action[Action.UPDATE]:
        store.update(change.policy, change.version)
    store.create_all(change.policy for change in by_action[Action.CREATE])
    for change in by_action[Action.DELETE]:
        store.delete(change.policy.id or "", change.version)
