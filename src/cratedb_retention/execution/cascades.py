"""
The cascades that policies make of tables, for showing what was found before anything is created.
"""

from __future__ import annotations

from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.planning.cascades import Cascade, find_cascades
from cratedb_retention.planning.targets import find_targets


def planned_cascades(prepared: Prepared) -> list[Cascade]:
    """The cascades of the policies that were chosen."""
    chosen = [
        policy
        for policy in prepared.policies.values()
        if policy.strategy.traits.rolls_up and policy.enabled and prepared.selection.fits(policy)
    ]
    targets, _ = find_targets(chosen, prepared.catalog)
    return find_cascades(targets, prepared.catalog, prepared.ledger)[0]
