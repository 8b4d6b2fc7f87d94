"""
Metrics for Prometheus, computed from the toolkit's tables on request: they survive restarts, and several services
report the same values. The number of statements does not depend on the number of policies.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from cratedb_retention.api import Retention
from cratedb_retention.model.audit import Outcome
from cratedb_retention.model.former import METRICS
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.schedule import Scheduled
from cratedb_retention.planning.schedule import next_times, overdue_since
from cratedb_retention.store.audit import Totals
from cratedb_retention.store.rollups.levels import LevelState
from cratedb_retention.store.runs import Leases, RunOfPolicy

PREFIX = "cratedb_retention_"
WINDOW = dt.timedelta(days=1)
# Each policy adds about ten series to Prometheus. Further policies are only counted.
MOST_POLICIES = 2_000
_LABELS = ("policy", "strategy", "table")

_PER_POLICY = {
    "last_success_timestamp_seconds": "Time of the last successful run of the policy, by lease; 0: never.",
    "last_run_failed": "1 if the last run of the policy failed or needs attention.",
    "schedule_lag_seconds": "Delay of the oldest due slot of the schedule, not counting jitter; 0: none is due.",
    "next_run_timestamp_seconds": "Next slot of the schedule; in the past: due; 0: never.",
    "enabled": "1 if the policy is enabled.",
    "blocked": "Number of tables and reasons that its last run within 24 hours blocked as intended.",
    "needs_attention": "Number of tables and reasons of its last run within 24 hours that need attention.",
    "failures_1d": "Steps that failed in the last 24 hours.",
    "retired_rows_1d": "Rows removed, moved or compacted in the last 24 hours, if the database reports their number.",
    "retired_bytes_1d": "Bytes removed, moved or saved in the last 24 hours, if the database reports their number.",
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    now: dt.datetime
    policies: list[Policy]
    damaged: int
    leases: Leases
    last: Mapping[str, RunOfPolicy]  # the last run of each policy, if it was within a day
    totals: Mapping[str, Totals]  # of all runs within a day, by policy
    levels: list[LevelState]
    running: int
    scheduled: Mapping[str, Scheduled]
    next_runs: Mapping[str, dt.datetime]


def read_facts(retention: Retention) -> Facts:
    now = retention.clock.now()
    stored, damaged = retention.policies.read()
    leases, scheduled = retention.schedule.leases(), retention.schedule.policies()
    return Facts(
        now=now,
        policies=sorted((item.policy for item in stored), key=lambda policy: policy.id or ""),
        damaged=len(damaged),
        leases=leases,
        last={run.policy_id: run for run in retention.runs.of_policies(now - WINDOW, leases)},
        totals={each.policy_id: each for each in retention.audit.totals(now - WINDOW)},
        levels=retention.rollups.levels(),
        running=len(retention.runs.live()),
        scheduled={item.policy_id: item for item in scheduled},
        next_runs=next_times(scheduled, leases.slots, leases.now),
    )


class RetentionCollector(Collector):
    """Collects the metrics of all policies, with a cache for ``fresh`` seconds."""

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
    """All metrics."""
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
    text = "Age of the end of the newest computed bucket."
    lag = GaugeMetricFamily(f"{PREFIX}rollup_lag_seconds", text, labels=("policy", "table", "interval"))
    for level in facts.levels:
        if level.until is not None and level.policy_id in shown:
            age = (facts.now - level.until).total_seconds()
            lag.add_metric([level.policy_id or "", str(level.table), level.interval], max(0.0, age))
    yield lag
    beyond = len(facts.policies) - len(shown)
    for name, text, count in (
        ("policies", "Number of policies.", len(facts.policies)),
        ("policies_not_shown", "Number of policies without metrics of their own.", beyond),
        ("damaged_policies", "Number of invalid rows in the policy table.", facts.damaged),
        ("running", "Number of active runs that last longer than a second.", facts.running),
    ):
        yield GaugeMetricFamily(PREFIX + name, text, value=count)


def _values(key: str, policy: Policy, facts: Facts) -> dict[str, float]:
    lease, coming, item = facts.leases.of(key), facts.next_runs.get(key), facts.scheduled.get(key)
    last, day = facts.last.get(key), facts.totals.get(key)
    since = overdue_since(item, facts.leases.done(key), facts.leases.now) if item else None
    return {
        "last_success_timestamp_seconds": lease.succeeded_at.timestamp() if lease.succeeded_at else 0.0,
        "last_run_failed": lease.outcome in (Outcome.FAILED, Outcome.NEEDS_ATTENTION) or bool(last and last.failed),
        "schedule_lag_seconds": max(0.0, (facts.leases.now - since).total_seconds()) if since else 0.0,
        "next_run_timestamp_seconds": coming.timestamp() if coming else 0.0,
        "enabled": policy.enabled,
        "blocked": last.blocked if last else 0,
        "needs_attention": last.needs_attention if last else 0,
        "failures_1d": day.failed if day else 0,
        "retired_rows_1d": day.rows if day else 0,
        "retired_bytes_1d": day.bytes if day else 0,
    }
