"""Metrics: what they say of each policy, from the toolkit's tables, in a fixed number of statements."""

from __future__ import annotations

import datetime as dt

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cratedb_retention.model.audit import Outcome
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policies.policy import make_policy
from cratedb_retention.model.runs import RunOptions
from cratedb_retention.model.schedule import Scheduled
from cratedb_retention.service import metrics
from cratedb_retention.service.metrics import Facts, RetentionCollector, families
from cratedb_retention.store.audit import Totals
from cratedb_retention.store.rollups.levels import LevelState
from cratedb_retention.store.runs import Lease, Leases, RunOfPolicy
from support.databases import MONTH, TIME, Database
from support.tiers import DECIDED

MONTHS = ("2024-03-10", "2024-04-10", "2024-05-10", "2024-06-20")
TERMS = RunOptions(threads=False)


def read(text: bytes) -> dict[tuple[str, str], float]:
    """Values by metric and policy."""
    return {
        (sample.name.removeprefix("cratedb_retention_"), sample.labels.get("policy", "")): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def at(text: str) -> float:
    """Seconds since 1970."""
    return dt.datetime.fromisoformat(text).timestamp()


def test_they_say_what_happened(db: Database) -> None:
    """A policy that did its work, one that failed, one that is held, one whose schedule waits; and a rollup."""
    for name in ("good", "bad", "held"):
        db.create(name, {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
        db.fill(name, MONTHS)
    db.create("raw", {"ts": TIME, "n": "TEXT", "value": "DOUBLE PRECISION", "month": MONTH}, by=["month"])
    db.fill("raw", MONTHS, value=1.0)
    db.policy("delete", "good", "30d", id="good", schedule="@daily")
    db.policy("snapshot", "bad", "30d", id="bad", schedule="@daily")
    db.policy("delete", "held", "30d", id="held", schedule="@daily")
    db.policy("downsample", "raw", "forever", id="levels", levels="1d:forever", dimensions="n", schedule="@daily")
    db.policy("delete", "good", "30d", id="later", schedule="@monthly", where={"n": "x"}, enabled=False)
    db.tool.hold("held", db.schema)
    db.break_repository()
    db.time.set("2024-07-03T00:00:10+00:00")
    assert db.tool.run_due(options=TERMS) is not None
    db.mend_repository()
    db.time.set("2024-07-04T06:00:00+00:00")
    found = read(RetentionCollector(db.tool).text())
    assert found["last_success_timestamp_seconds", "good"] == at("2024-07-03T00:00:10+00:00")
    assert found["last_success_timestamp_seconds", "bad"] == 0
    assert [found["last_run_failed", name] for name in ("good", "bad", "held", "levels", "later")] == [0, 1, 0, 0, 0]
    lags = [found["schedule_lag_seconds", name] for name in ("good", "bad", "held", "later")]
    assert lags == [6 * 3600] * 3 + [0]
    assert found["enabled", "later"] == 0
    # 30 hours later, nothing of it was in the last day.
    assert found["retired_rows_1d", "good"] == 0
    db.time.set("2024-07-03T12:00:00+00:00")
    found = read(RetentionCollector(db.tool).text())
    assert [found["schedule_lag_seconds", name] for name in ("good", "bad")] == [0, 0]
    if db.product == "DuckDB":  # CrateDB does not count what is dropped as a whole.
        assert found["retired_rows_1d", "good"] == 3
    # Of three partitions the first fails, and the others are not tried.
    assert (found["failures_1d", "bad"], found["failures_1d", "good"]) == (3, 0)
    assert (found["blocked", "held"], found["blocked", "good"], found["needs_attention", "held"]) == (1, 0, 0)
    assert (found["held", "held"], found["held", "good"], found["problems", "held"]) == (1, 0, 0)  # by former names
    text = RetentionCollector(db.tool).text().decode()
    assert "# HELP cratedb_retention_problems Deprecated: use cratedb_retention_needs_attention." in text
    # What was computed last is the month of the newest row, which ended two days and a half ago.
    assert found["rollup_lag_seconds", "levels"] == 60 * 3600
    assert (found["policies", ""], found["policies_not_shown", ""], found["running", ""]) == (5, 0, 0)


@DECIDED
def test_they_tell_of_the_last_run_and_of_a_day(db: Database) -> None:
    """What is held is that of the last run, what was removed that of all of a day; a problem is no success."""
    for name in ("archive", "held"):
        db.create(name, {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
        db.fill(name, MONTHS)
    db.policy("snapshot", "archive", "30d", id="archive", schedule="@daily")
    db.policy("delete", "held", "30d", id="held", schedule="@daily")
    db.policy("delete", "nowhere", "30d", id="lost", schedule="@daily")
    stored = db.q("retention_policy", db.own_schema)
    db.sql(f"INSERT INTO {stored} (strategy, table_name, retention_period, id, version) VALUES ('x', 'x', 'x', 'x', 1)")
    db.refresh("retention_policy", db.own_schema)
    hold = db.tool.hold("held", db.schema)
    db.time.set("2024-07-03T00:00:10+00:00")
    db.tool.run_due(options=TERMS)
    found = read(RetentionCollector(db.tool).text())
    assert (found["blocked", "held"], found["blocked", "lost"]) == (1, 0)
    assert [found["needs_attention", name] for name in ("held", "lost")] == [0, 1]
    assert [found["last_run_failed", name] for name in ("archive", "held", "lost")] == [0, 0, 1]
    assert found["next_run_timestamp_seconds", "lost"] == at("2024-07-04T00:00:00+00:00")
    assert (found["damaged_policies", ""], found["policies", ""]) == (1, 3)
    db.tool.release(hold.id)
    db.time.set("2024-07-04T00:00:05+00:00")
    db.tool.run_due(options=TERMS)
    found = read(RetentionCollector(db.tool).text())
    assert (found["blocked", "held"], found["retired_rows_1d", "archive"]) == (0, 3)


def test_how_much_they_cost(duck: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred policies cost as many statements as one; soon after, nothing is read again; labels have a bound."""
    duck.policy("delete", "t0", "1d", id="p0")
    collector = RetentionCollector(duck.tool)
    with duck.statements() as one:
        collector.text()
    wanted = [{"strategy": "delete", "table_name": f"t{n}", "retention_period": "1d"} for n in range(1, 100)]
    for each in wanted:
        duck.tool.create_policy(**each)
    with duck.statements() as none:
        collector.text()
    assert none == []
    duck.time.set("2024-07-02T00:00:15+00:00")
    with duck.statements() as many:
        found = read(collector.text())
    assert len(many) == len(one) < 12
    assert sum(name == "enabled" for name, _ in found) == 100
    duck.time.set("2024-07-02T00:00:00+00:00")  # A clock that is set back does not keep old values.
    with duck.statements() as again:
        collector.text()
    assert len(again) == len(one)
    monkeypatch.setattr(metrics, "MOST_POLICIES", 30)
    found = read(RetentionCollector(duck.tool).text())
    assert sum(name == "enabled" for name, _ in found) == 30
    assert (found["policies", ""], found["policies_not_shown", ""]) == (100, 70)


def test_values_of_a_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The failures of a day and of the last run count; slots are late by the database's clock; no age is negative."""
    now, minute = dt.datetime(2024, 7, 2, 12, tzinfo=dt.UTC), dt.timedelta(minutes=1)
    monkeypatch.setattr(metrics, "MOST_POLICIES", 1)
    known = [make_policy(strategy="delete", table_name="t", retention_period="1d", id=key) for key in ("a", "b")]
    last = RunOfPolicy(policy_id="a", run_id="r", ended_at=now, failed=1)
    lease = Lease(policy_id="a", done_slot=now - 60 * minute, outcome=Outcome.INTERRUPTED)
    table = TableName("s", "t")
    levels = [("a", "1h", now + minute), ("a", "1d", now - minute), ("b", "1h", now)]
    shown = families(
        Facts(
            now=now,
            policies=known,
            damaged=1,
            leases=Leases(now + 5 * minute, {"a": lease}, 0),
            last={"a": last},
            totals={"a": Totals(policy_id="a", failed=3, rows=10, bytes=14)},
            levels=[LevelState(table=table, policy_id=key, interval=each, until=until) for key, each, until in levels],
            running=3,
            scheduled={"a": Scheduled(policy_id="a", schedule="0 * * * *")},
            next_runs={},
        )
    )
    found = {(family.name.removeprefix(metrics.PREFIX), *sample.labels.values()): sample.value
             for family in shown for sample in family.samples}  # fmt: skip
    of_a = {key[0]: value for key, value in found.items() if key[1:2] == ("a",)}
    assert (of_a["failures_1d"], of_a["retired_rows_1d"], of_a["retired_bytes_1d"]) == (3, 10, 14)
    assert (of_a["last_run_failed"], of_a["schedule_lag_seconds"]) == (1, 300)
    assert (of_a["next_run_timestamp_seconds"], of_a["last_success_timestamp_seconds"]) == (0, 0)
    counts = {name: found[(name,)] for name in ("policies", "policies_not_shown", "damaged_policies", "running")}
    assert list(counts.values()) == [2, 1, 1, 3]
    lags = {key[1:]: value for key, value in found.items() if key[0] == "rollup_lag_seconds"}
    assert lags == {("a", "s.t", "1h"): 0, ("a", "s.t", "1d"): 60}


def test_a_new_policy_is_not_late(duck: Database) -> None:
    """A policy that is made in the middle of a month need not have run at its beginning."""
    duck.time.set("2024-07-20T00:00:00+00:00")
    duck.policy("delete", "t", "1d", id="p", schedule="@monthly")
    assert read(RetentionCollector(duck.tool).text())["schedule_lag_seconds", "p"] == 0
    duck.time.set("2024-08-01T01:00:00+00:00")
    assert read(RetentionCollector(duck.tool).text())["schedule_lag_seconds", "p"] == 3600
