"""
The stored policies as a list for people: with the time that each runs next, in a fixed number of statements.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cratedb_retention.planning.due import Done, next_times
from cratedb_retention.store.leases import Leases
from cratedb_retention.store.policies import Damaged, StoredPolicy
from cratedb_retention.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Listing:
    """
    Policies as they are at an instant.

    :param damaged: Rows of the policy table that are no valid policies.
    :param times: When each policy that is enabled and has a schedule runs next; in the past: it is due.
    :param now: The instant, aware.
    """

    policies: Sequence[StoredPolicy]
    damaged: Sequence[Damaged]
    times: Mapping[str, dt.datetime]
    now: dt.datetime


def list_policies(
    store: Store, policies: Sequence[StoredPolicy], damaged: Sequence[Damaged], now: dt.datetime
) -> Listing:
    """
    Find out when policies run next.

    :param now: The aware present instant.
    """
    return Listing(
        policies=policies, damaged=damaged, times=next_runs(store, (item.policy.id for item in policies)), now=now
    )


def next_runs(store: Store, policies: Iterable[str | None], leases: Leases | None = None) -> dict[str, dt.datetime]:
    """
    When policies run next by their schedules, whoever asks, for whatever page, metric or answer: by the clock that
    decides it, the database's, and their delay included. What is due has a time that is past; those that are disabled
    or have no schedule are missing.

    :param policies: Their identifiers.
    :param leases: Who ran what, if it was read already.
    """
    identifiers = set(policies)
    scheduled = [item for item in store.policies.scheduled() if item.policy_id in identifiers]
    if not scheduled:
        return {}
    known = leases or store.leases.read()
    return next_times(scheduled, slots_done(known), known.now)


def slots_done(leases: Leases) -> dict[str, Done]:
    """Which slot of each policy was done last, and which was begun."""
    return {key: Done(lease.done_slot, lease.slot) for key, lease in leases.by_policy.items()}
