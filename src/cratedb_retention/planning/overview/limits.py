"""Limits (``expected_max``) that would fit policies without one, by how many of their partitions expire in a month."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.step import Piece
from cratedb_retention.model.time import DAY_MS
from cratedb_retention.planning.facts import Facts
from cratedb_retention.planning.targets import Target, find_by_policy

_MONTH = 31 * DAY_MS


@dataclass(frozen=True, kw_only=True)
class Unlimited:
    """An enabled policy that removes partitions, and has no limit."""

    policy: Policy
    partitions: int  # The limit that would fit all of its tables: twice what expires in a month.

    @property
    def command(self) -> str:
        """The command that sets the limit."""
        return f"cratedb-retention edit-policy --id={self.policy.id} --expected-max=partitions={self.partitions}"


def find_unlimited(facts: Facts, chosen: Callable[[Policy], bool] = lambda policy: True) -> Iterator[Unlimited]:
    """
    Policies without a limit for which one is known that fits: all of their tables have partitions of time, and no more
    than the limit is due at present.
    """
    wanted = [policy for policy in facts.policies if policy.enabled and _lacks_limit(policy) and chosen(policy)]
    for of_policy in find_by_policy(wanted, facts.catalog).values():
        limits = [_fitting(target, facts) for target in of_policy]
        if 0 not in limits:
            yield Unlimited(policy=of_policy[0].policy, partitions=max(limits))


def _lacks_limit(policy: Policy) -> bool:
    traits = policy.strategy.traits
    return (
        policy.expected_max is None and traits.removes and not traits.rolls_up and not policy.retention_period.forever
    )


def _fitting(target: Target, facts: Facts) -> int:
    """The maximum number of partitions that fits a policy on one table; 0 if that is unknown, or more is due."""
    limit = target.policy.limit(facts.cutoff)
    if limit is None or not target.grids:
        return 0
    pieces = facts.pieces.of(target)
    most = expected_partitions(pieces.known) or 0
    return 0 if len(pieces.expired(limit)) > most else most


def expected_partitions(pieces: Iterable[Piece]) -> int | None:
    """Twice the number of partitions that expire in a month, or at once if they are longer; None if unknown."""
    # The overview counts those of all tables, without a time range for each.
    times = Counter([(it.start, it.end) for it in pieces if it.start is not None and it.end is not None])
    if not times:
        return None
    longest = max(end - start for start, end in times)
    return 2 * max(times.values()) * math.ceil(_MONTH / longest)
