"""
Policies as code, which makes the stored policies what a file says and tells what has to change for that; and what can
be named in a policy: what the database has, and what other policies say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.attributes import Suggestions
from cratedb_retention.model.catalog import Capabilities, Selector, TableName
from cratedb_retention.model.patterns import find_tables
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
    """One policy's change."""

    action: Action
    before: Policy | None  # As it is stored; None if it is new.
    after: Policy | None  # As the file says; None if it goes.
    version: int = 0  # The stored version.

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
    changes = []
    for policy in wanted:
        found = by_id.get(policy.id) if policy.id else by_rule.get(identity(policy))
        key = (found.policy.id if found else policy.id) or str(identity(policy))
        if key in taken:
            what = f"policy {policy.strategy} {policy.target}"
            raise InvalidInput(what, "is in the file twice", "remove one of them")
        taken.add(key)
        changes.append(_change(policy, found))
    if prune:
        scope = tags or TagFilter()
        if not wanted and not scope:
            why = "is empty, and pruning would delete every policy"
            raise InvalidInput("the file", why, "name the --tags to prune")
        gone = [item for key, item in by_id.items() if key not in taken and scope.fits(item.policy.tags)]
        changes += [Change(action=Action.DELETE, before=item.policy, after=None, version=item.version) for item in gone]
    return changes


def _change(policy: Policy, found: StoredPolicy | None) -> Change:
    if found is None:
        return Change(action=Action.CREATE, before=None, after=policy)
    after = policy.model_copy(update={"id": found.policy.id})
    action = Action.KEEP if after == found.policy else Action.UPDATE
    return Change(action=action, before=found.policy, after=after, version=found.version)


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


def suggest(
    engine: Engine, own_schema: str, policies: Iterable[Policy], limited: bool, chosen: Selector
) -> Suggestions:
    """
    Look what can be named, in a fixed number of statements.

    :param policies: Those that the caller sees; if limited, nothing else is told than what these are about.
    :param chosen: The tables whose columns are wanted.
    """
    policies = list(policies)
    outline = engine.read_outline(chosen)
    tables = [table for table in outline.tables if table.schema != own_schema]
    repositories = {policy.target_repository_name for policy in policies if policy.target_repository_name}
    if limited:
        tables = _covered(policies, tables, engine.capabilities)
    else:
        repositories |= outline.repositories
    columns = {name: column for table in tables for name, column in outline.tables[table].columns.items()}
    return Suggestions(
        default_schema=engine.capabilities.default_schema,
        tables=tuple(tables),
        columns=tuple(columns.values()),
        repositories=tuple(sorted(repositories)),
        attributes=_attributes(policies, {} if limited else outline.nodes),
        tags=tuple(sorted({tag for policy in policies for tag in policy.tags})),
    )


def _covered(policies: Iterable[Policy], tables: Iterable[TableName], own: Capabilities) -> list[TableName]:
    known = frozenset(tables)
    names = ((policy.table_schema or own.default_schema, policy.table_name) for policy in policies)
    return sorted({table for named in names for table in find_tables(*named, known, own.folds_case)})


def _attributes(policies: Iterable[Policy], nodes: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    pairs = {pair for attributes in nodes.values() for pair in attributes.items()}
    pairs |= {
        (policy.reallocation_attribute_name, policy.reallocation_attribute_value)
        for policy in policies
        if policy.reallocation_attribute_name and policy.reallocation_attribute_value
    }
    return {name: tuple(sorted(value for key, value in pairs if key == name)) for name in sorted({k for k, _ in pairs})}
