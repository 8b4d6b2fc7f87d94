"""
Contradictions between policies: two delete the same data at different times, one acts too late to have any effect, or
one deletes what another is to archive. Each finding names both policies. Also found: rollups as large as their source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cratedb_retention.model.catalog import Catalog, Column, TableName
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
    by_table: dict[TableName, list[Target]] = {}
    for target in targets:
        by_table.setdefault(target.table.name, []).append(target)
    found = []
    for table, group in sorted(by_table.items()):
        for policy in (target.policy for target in group):
            if policy.retention_period.approximate_seconds() == 0:
                nothing = Why.KEEPS_NOTHING(one=policy, period=policy.retention_period)
                found.append(Finding(table, (policy.id or "",), nothing))
        for one, other in meeting(group, lambda target: target.where):
            contradiction = _contradiction((one, other))
            if contradiction:
                found.append(Finding(table, (one.policy.id or "", other.policy.id or ""), contradiction))
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


def _contradiction(targets: tuple[Target, Target]) -> Reason | None:
    sooner, later = sorted(targets, key=lambda target: _rank(target.policy))
    first, second = sooner.policy, later.policy
    before, after = first.strategy.traits, second.strategy.traits
    if first.retention_period.forever or second.retention_period.forever:
        return None
    deletes_rows = after.removes and (later.by_rows or second.freeze is Freeze.NEVER)
    if first.read_only and deletes_rows and not after.rolls_up:
        return Why.READ_ONLY_ROWS(one=first, other=second)
    if before.rolls_up or after.rolls_up:
        cascade, other = (first, second) if before.rolls_up else (second, first)
        traits = other.strategy.traits
        # Deletion waits until the rows are rolled up; archiving and moving have to come before.
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
        if not before.archives and set(later.where) < set(sooner.where):
            return None  # An exception to a rule: data of one tenant is kept for a shorter time.
        return Why.TAKEN_BEFORE(one=first, other=second)
    if before.removes or (same and after.removes):
        remover, mover = (first, second) if before.removes else (second, first)
        return Why.TOO_LATE(late=mover, early=remover)
    return Why.SAME_MOVED(one=first, other=second) if twins and before.moves else None


def _rank(policy: Policy) -> tuple[float, bool]:
    return policy.retention_period.approximate_seconds(), not policy.strategy.traits.archives
