"""
Contradictions between policies: two delete the same data at different times, one acts too late to have any effect, one
deletes what another is to archive or to keep recoverable, also because there is too much of it, or archives end later
than one of them states. Each finding names both policies. Also found: rollups as large as their source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cratedb_retention.model.catalog import Catalog, Column, TableName
from cratedb_retention.model.duration import FOREVER
from cratedb_retention.model.plan.reasons import Reason, Why
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.policies.values import Freeze
from cratedb_retention.model.rollups.ledger import Ledger
from cratedb_retention.planning.rollups.cascades import find_cascades, level_targets, why_large
from cratedb_retention.planning.targets import FilterIndex, Target, Where, find_targets

T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """Something that needs attention."""

    table: TableName  # Or the pattern.
    policies: tuple[str, ...]  # Their identifiers.
    why: Reason

    @property
    def message(self) -> str:
        return str(self.why)


def find_contradictions(policies: Iterable[Policy], catalog: Catalog, ledger: Ledger | None = None) -> list[Finding]:
    """Compare each pair of policies that apply to the same table or level."""
    targets, _ = find_targets([policy for policy in policies if policy.enabled], catalog)
    known = ledger or Ledger()
    cascades, _ = find_cascades(targets, catalog, known)
    targets += [level for cascade in cascades for level in level_targets(cascade)]
    levels = {level.table.name for cascade in cascades for level in level_targets(cascade)}
    by_table: dict[TableName, list[Target]] = {}
    for target in targets:
        by_table.setdefault(target.table.name, []).append(target)
    found = []
    for table, group in sorted(by_table.items()):
        for policy in (target.policy for target in group):
            if policy.retention_period.approximate_seconds() == 0:
                nothing = Why.KEEPS_NOTHING(one=policy, period=policy.retention_period)
                found.append(Finding(table, (policy.id or "",), nothing))
            if policy.archive_period == policy.retention_period != FOREVER and policy.strategy.traits.archives:
                at_once = Why.ENDS_AT_ONCE(one=policy, period=policy.archive_period)
                found.append(Finding(table, (policy.id or "",), at_once))
        for one, other in meeting(group, lambda target: target.where):
            policies_of = (one.policy.id or "", other.policy.id or "")
            reasons = (_contradiction((one, other), table in levels), _kept_longer(one.policy, other.policy))
            found += [Finding(table, policies_of, why) for why in reasons if why]
    return found + [Finding(c.source, (c.policy.id or "",), why) for c in cascades if (why := why_large(c, known))]


def meeting(items: Sequence[T], where: Callable[[T], Where]) -> Iterator[tuple[T, T]]:
    """Pairs of items whose filters can match the same data, in the order of :func:`itertools.combinations`."""
    filters = [dict(where(item)) for item in items]
    numbered = [(number, tuple(wanted.items())) for number, wanted in enumerate(filters)]
    indexes: dict[tuple[Column, ...], FilterIndex[int]] = {}
    for number, wanted in enumerate(filters):
        columns = tuple(wanted)
        if columns not in indexes:
            indexes[columns] = FilterIndex(columns, numbered)
        others = indexes[columns].fitting(tuple(wanted.values()))
        yield from ((items[number], items[other]) for other in others if other > number)


def _contradiction(targets: tuple[Target, Target], of_level: bool) -> Reason | None:
    sooner, later = sorted(targets, key=lambda target: _rank(target.policy))
    first, second = sooner.policy, later.policy
    before, after = first.strategy.traits, second.strategy.traits
    if _outruns(second, first):
        return Why.TOO_MUCH_BEFORE(one=second, other=first)
    if first.retention_period.forever or second.retention_period.forever:
        return None
    deletes_rows = after.removes and (later.by_rows or second.freeze is Freeze.NEVER)
    if first.read_only and deletes_rows and not after.rolls_up:
        return Why.READ_ONLY_ROWS(one=first, other=second)
    if _is_lost(sooner, later):
        return Why.NEVER_RECOVERABLE(late=second, early=first)
    both_delete = all(traits.removes and not traits.archives for traits in (before, after))
    if (before.rolls_up or after.rolls_up) and not (of_level and both_delete):
        cascade, other = (first, second) if before.rolls_up else (second, first)
        traits = other.strategy.traits
        # Deletion of raw rows waits until they are rolled up; archiving and moving have to come before.
        if (traits.removes and not traits.archives) or _rank(other) < _rank(cascade):
            return None
        late = Why.TOO_LATE(late=other, early=cascade)
        return Why.DELETED_BEFORE(one=cascade, other=other) if traits.archives else late
    same = first.retention_period == second.retention_period
    twins = first.strategy is second.strategy and same
    if twins and before.removes and not before.archives:
        return Why.SAME_DELETED(one=first, other=second)
    if before.removes and after.removes:
        if after.archives and not before.archives:
            return Why.DELETED_BEFORE(one=first, other=second)
        if set(later.where) < set(sooner.where):
            return None  # An exception to a rule: data of one tenant is kept for a shorter time, or archived.
        return Why.TAKEN_BEFORE(one=first, other=second)
    if before.removes or (same and after.removes):
        remover, mover = (first, second) if before.removes else (second, first)
        return Why.TOO_LATE(late=mover, early=remover)
    return _done_before(sooner, later)


def _outruns(one: Policy, other: Policy) -> bool:
    """Whether one policy would delete, since there is too much, what the other one is to archive later."""
    deletes = one.max_size is not None and one.strategy.traits.removes and not one.strategy.traits.archives
    return deletes and other.strategy.traits.archives and _rank(one.over_budget) < _rank(other)


def _is_lost(sooner: Target, later: Target) -> bool:
    """Whether one policy deletes for good what the later one would keep recoverable, unless as an exception to it."""
    first, second = sooner.policy, later.policy
    deletes = first.strategy.traits.removes and not first.archives and _rank(first) < _rank(second)
    return deletes and second.recoverable is not None and not set(later.where) < set(sooner.where)


def _done_before(sooner: Target, later: Target) -> Reason | None:
    """Of two policies that move or compact data: whether they differ at the same time, or one has done all before."""
    first, second = sooner.policy, later.policy
    if first.strategy is not second.strategy:
        return None
    if first.strategy.traits.moves:
        attribute = first.reallocation_attribute_name == second.reallocation_attribute_name
        repeats = attribute and first.destination == second.destination
        if attribute and not repeats and first.retention_period == second.retention_period:
            return Why.SAME_MOVED(one=first, other=second)
    else:
        more = ("compress", "merge", "read_only", "number_of_replicas")
        repeats = all(getattr(second, name) in (getattr(first, name), None, False) for name in more)
    # All rows of the later one have to be rows of the sooner one as well.
    return Why.NO_EFFECT(late=second, early=first) if repeats and set(sooner.where) <= set(later.where) else None


def _kept_longer(one: Policy, other: Policy) -> Reason | None:
    """Whether archives of one of two policies end later than it states, since the other one archives the same data."""
    if not (one.strategy.traits.archives and other.strategy.traits.archives):
        return None
    shorter, longer = sorted((one, other), key=lambda policy: policy.archive_period.approximate_seconds())
    if shorter.archive_period == longer.archive_period:
        return None
    return Why.ARCHIVES_LONGER(longer=longer, period=longer.archive_period, shorter=shorter)


def _rank(policy: Policy) -> tuple[float, bool]:
    return policy.retention_period.approximate_seconds(), not policy.strategy.traits.archives
