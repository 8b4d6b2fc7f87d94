"""
The health of all services on a database: its release, what is due, leases, notifications.

No process is asked: what is due and not taken for long tells that no service runs it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cratedb_retention.api import Retention
from cratedb_retention.planning.schedule import next_times, overdue_since
from cratedb_retention.store.notifications import Notice
from cratedb_retention.store.runs import Lease


@dataclass(frozen=True, kw_only=True)
class Health:
    now: dt.datetime  # By the database's clock.
    product: str  # The database, with its releases.
    releases: Sequence[str]
    own_schema: str  # That of the toolkit's own tables.
    scheduled: int  # The number of policies with a schedule.
    next_run: dt.datetime | None  # Of these; in the past: one is due.
    waiting: Mapping[str, dt.datetime]  # Due policies that no run has taken, and since when they are due.
    leases: Sequence[Lease]  # Those that a run holds.
    notices: Sequence[Notice]  # What was notified of, or will be, and goes on.
    damaged: int  # The number of policies that cannot be read.


def read_health(retention: Retention) -> Health:
    scheduled, leases = retention.schedule.policies(), retention.schedule.leases()
    now, slots = leases.now, leases.slots
    free = [item for item in scheduled if leases.of(item.policy_id).is_free(now)]
    since = {item.policy_id: overdue_since(item, leases.done(item.policy_id), now) for item in free}
    return Health(
        now=now,
        product=retention.capabilities.product,
        releases=retention.read_releases(),
        own_schema=retention.own_schema,
        scheduled=len(scheduled),
        next_run=min(next_times(scheduled, slots, now).values(), default=None),
        waiting={policy: at for policy, at in since.items() if at is not None and at <= now},
        leases=[lease for lease in leases.by_policy.values() if not lease.is_free(now)],
        notices=sorted(retention.notices.all().values(), key=lambda notice: notice.since),
        damaged=len(retention.policies.read()[1]),
    )
