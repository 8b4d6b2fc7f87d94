"""
The stored policies as a list for people: with the time that each runs next, in a fixed number of statements.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cratedb_retention.planning.due import Done, next_times
from cratedb_retention.store.policies import Damaged, StoredPolicy
from cratedb_retention.store.store import Store


@dataclass(frozen=True)
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
    identifiers = {item.policy.id for item in policies}
    scheduled = [item for item in store.policies.scheduled() if item.policy_id in identifiers]
    known = store.leases.read().by_policy if scheduled else {}
    done = {key: Done(lease.done_slot, lease.slot) for key, lease in known.items()}
    return Listing(policies, damaged, next_times(scheduled, done, now), now)
