"""
Metrics for Prometheus, computed from the toolkit's tables when they are asked for: they survive restarts, and are the
same for each of several services. The number of statements does not depend on the number of policies.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from cratedb_retention.api import Retention
from cratedb_retention.model.audit import Outcome
from cratedb_retention.model.former import METRICS
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.schedule import Done, Scheduled
from cratedb_retention.planning.schedule import next_times, overdue_since
from cratedb_retention.store.audit import RunOfPolicy
from cratedb_retention.store.rollups import LevelState
from cratedb_retention.store.runs import Leases

PREFIX = "cratedb_retention_"
WINDOW = dt.timedelta(days=1)
# Each policy is a handful of series in Prometheus; more policies than this are counted, and not shown.
MOST_POLICIES = 2_000
_LABELS = ("policy", "strategy", "table")

_PER_POLICY = {
    "last_success_timestamp_seconds": "When the policy was last run with success, by lease; 0: never.",
    "last_run_failed": "1 if the last run of the policy failed or needs attention.",
    "schedule_lag_seconds": "How long the oldest run by its schedule that is not done is late, jitter left out.",
    "next_run_timestamp_seconds": "When the policy runs next by its schedule; in the past: it is due; 0: never.",
    "enabled": "1 if runs obey the policy.",
    "blocked": "What its last run of the last 24 hours blocked as intended, by table and reason.",
    "needs_attention": "What needs attention, of its last run of the last 24 hours.",
    "failures_1d": "Steps that failed in the last 24 hours.",
    "retired_rows_1d": "Rows that were removed or moved in the last 24 hours, as far as the database says.",
    "retired_bytes_1d": "Bytes that were removed or moved in the last 24 hours, as far as the database says.",
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    now: dt.datetime
    policies: list[Policy]
    damaged: int
    leases: Leases
    runs: Mapping[str, list[RunOfPolicy]]  # of the last day by policy, oldest first
    levels: list[LevelState]
    running: int
    scheduled: Mapping[str, Scheduled]
    next_runs: Mapping[str, dt.datetime]


def read_facts(retention: Retention) -> Facts:
    now = retention.clock.now()
    stored, damaged = retention.policies.read()
    leases, scheduled = retention.schedule.leases(), retention.schedule.policies()
    runs: defaultdict[str, list[RunOfPolicy]] = defaultdict(list)
    for run in retention.runs.of_policies(now - WINDOW):
        runs[run.policy_id].append(run)
    return Facts(
        now=now,
        policies=sorted((item.policy for item in stored), key=lambda policy: policy.id or ""),
        damaged=len(damaged),
        leases=leases,
        runs=runs,
        levels=retention.rollups.levels(),
        running=len(retention.runs.live()),
        scheduled={item.policy_id: item for item in scheduled},
        next_runs=next_times(scheduled, leases.slots, leases.now),
    )


class RetentionCollector(Collector):
    """Collects the metrics of all policies; what was read is used again while it is ``fresh``, in seconds."""

    def __init__(self, retention: Retention, fresh: float = 15.0) -> None:
        self._retention, self._fresh = retention, dt.timedelta(seconds=fresh)
        self._lock = threading.Lock()
        self._facts: Facts | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        with self._lock:
            now = self._retention.clock.now()
            if self._facts is None or not self._facts.now <= now < self._facts.now + self._fresh:
                self._facts = read_facts(self._retention)
        yield from families(self._facts)

    def text(self) -> bytes:
        return generate_latest(self)


def families(facts: Facts) -> Iterator[GaugeMetricFamily]:
    """All metrics; those of policies and levels have no values where there are none."""
    shown = {policy.id or "": policy for policy in facts.policies[:MOST_POLICIES]}
    by_policy = {name: GaugeMetricFamily(PREFIX + name, text, labels=_LABELS) for name, text in _PER_POLICY.items()}
    for key, policy in shown.items():
        for name, value in _values(key, policy, facts).items():
            by_policy[name].add_metric([key, str(policy.strategy), policy.target], value)
    yield from by_policy.values()
    for old, name in METRICS.items():
        former = GaugeMetricFamily(PREFIX + old, f"Deprecated: use {PREFIX}{name}.", labels=_LABELS)
        former.samples = [sample._replace(name=PREFIX + old) for sample in by_policy[name].samples]
        yield former
    text = "How long the newest bucket that is computed is over."
    lag = GaugeMetricFamily(f"{PREFIX}rollup_lag_seconds", text, labels=("policy", "table", "interval"))
    for level in facts.levels:
        if level.until is not None and level.policy_id in shown:
            age = (facts.now - level.until).total_seconds()
            lag.add_metric([level.policy_id or "", str(level.table), level.interval], max(0.0, age))
    yield lag
    beyond = len(facts.policies) - len(shown)
    for name, text, count in (
        ("policies", "How many policies there are.", len(facts.policies)),
        ("policies_not_shown", "Policies beyond those with metrics of their own.", beyond),
        ("damaged_policies", "Rows of the policy table that are no valid policies.", facts.damaged),
        ("running", "Runs that go on now and last longer than a second.", facts.running),
    ):
        yield GaugeMetricFamily(PREFIX + name, text, value=count)


def _values(key: str, policy: Policy, facts: Facts) -> dict[str, float]:
    lease, runs, coming = facts.leases.of(key), facts.runs.get(key, []), facts.next_runs.get(key)
    last, item = runs[-1] if runs else None, facts.scheduled.get(key)
    since = overdue_since(item, Done(lease.done_slot, lease.slot), facts.leases.now) if item else None
    return {
        "last_success_timestamp_seconds": lease.succeeded_at.timestamp() if lease.succeeded_at else 0.0,
        "last_run_failed": lease.outcome in (Outcome.FAILED, Outcome.NEEDS_ATTENTION) or bool(last and last.failed),
        "schedule_lag_seconds": max(0.0, (facts.leases.now - since).total_seconds()) if since else 0.0,
        "next_run_timestamp_seconds": coming.timestamp() if coming else 0.0,
        "enabled": policy.enabled,
        "blocked": last.blocked if last else 0,
        "needs_attention": last.needs_attention if last else 0,
        "failures_1d": sum(run.failed for run in runs),
        "retired_rows_1d": sum(run.rows for run in runs),
        "retired_bytes_1d": sum(run.bytes for run in runs),
    }
