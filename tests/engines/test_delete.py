"""
The strategy `delete` on whole partitions, on both engines: exactly what is expired goes.
"""

from __future__ import annotations

import pytest

from support.databases import MONTH, NUMBER, TIME, Database

BY_MONTH = {"ts": TIME, "n": "TEXT", "month": MONTH}
DAYS = ["2024-04-30T23:59:59.999Z", "2024-05-31T12:00:00Z", "2024-06-01T00:00:00Z", "2024-06-30T12:00:00Z"]


@pytest.fixture
def monthly(db: Database) -> str:
    """A table by month with rows from April to June."""
    db.create("metrics", BY_MONTH, by=["month"])
    db.fill("metrics", DAYS)
    return "metrics"


def test_monthly(db: Database, monthly: str) -> None:
    """At 2 July with 30 days, April and May go; June stays, though it began more than 30 days ago."""
    db.policy("delete", monthly, "30d")
    report = db.run()
    assert db.left(monthly) == DAYS[2:]
    assert (report.ok, report.partitions, report.rows) == (True, 2, 2)


def test_second_run_is_idle(db: Database, monthly: str) -> None:
    """What was done is not done again."""
    db.policy("delete", monthly, "30d")
    db.run()
    assert not db.tool.plan().tasks
    assert db.run().done == 0
    assert db.left(monthly) == DAYS[2:]


def test_end_is_the_limit(db: Database, monthly: str) -> None:
    """A partition that ends exactly at the limit goes; one millisecond earlier it stays."""
    db.policy("delete", monthly, "30d")
    db.time.set("2024-06-30T23:59:59.999+00:00")
    db.run()
    assert db.left(monthly) == DAYS[1:]
    db.time.set("2024-07-01T00:00:00+00:00")
    db.run()
    assert db.left(monthly) == DAYS[2:]


def test_plan_changes_nothing(db: Database, monthly: str) -> None:
    """Looking at a plan leaves everything as it is, and the run does what it showed."""
    policy = db.policy("delete", monthly, "30d")
    (task,) = db.tool.plan().tasks
    assert (task.policy_id, task.partitions, task.rows) == (policy.id, 2, 2)
    assert db.left(monthly) == DAYS


def test_forever(db: Database, monthly: str) -> None:
    """A retention period without end expires nothing."""
    db.policy("delete", monthly, "forever")
    assert db.run().ok
    assert db.left(monthly) == DAYS


def test_disabled(db: Database, monthly: str) -> None:
    """A policy that is switched off does nothing."""
    db.policy("delete", monthly, "30d", enabled=False)
    assert db.run().ok
    assert db.left(monthly) == DAYS


@pytest.mark.parametrize("expression", ["date_trunc('day', ts)", "CAST(date_trunc('day', ts) AS TIMESTAMP)"])
def test_daily(db: Database, expression: str) -> None:
    """Partitions by day, also where the expression is a cast."""
    db.create("days", {"ts": TIME, "n": "TEXT", "day": f"TIMESTAMP GENERATED ALWAYS AS ({expression})"}, by=["day"])
    days = ["2024-06-01T00:00:00Z", "2024-06-01T23:59:59.999Z", "2024-06-02T00:00:00Z", "2024-07-01T00:00:00Z"]
    db.fill("days", days)
    db.policy("delete", "days", "30d")
    assert db.run().partitions == 1
    assert db.left("days") == days[2:]


def test_hourly(db: Database) -> None:
    """Partitions by hour, and a period in hours."""
    kind = f"{TIME} GENERATED ALWAYS AS (date_trunc('hour', ts))"
    db.create("hours", {"ts": TIME, "n": "TEXT", "hour": kind}, by=["hour"])
    hours = ["2024-06-30T22:00:00Z", "2024-06-30T23:59:59Z", "2024-07-01T00:00:00Z", "2024-07-01T12:30:00Z"]
    db.fill("hours", hours)
    db.policy("delete", "hours", "24h")
    db.run()
    assert db.left("hours") == hours[2:]


def test_weekly(db: Database) -> None:
    """Partitions by week begin on Mondays: that of 27 May ends on 3 June, after the limit."""
    kind = f"{TIME} GENERATED ALWAYS AS (date_trunc('week', ts))"
    db.create("weeks", {"ts": TIME, "n": "TEXT", "week": kind}, by=["week"])
    days = ["2024-05-20T00:00:00Z", "2024-05-26T23:59:59Z", "2024-05-27T00:00:00Z", "2024-06-10T00:00:00Z"]
    db.fill("weeks", days)
    db.policy("delete", "weeks", "30d")
    db.run()
    assert db.left("weeks") == days[2:]


def test_bins(db: Database) -> None:
    """Partitions of six hours, cut by `date_bin` or `time_bucket`."""
    db.create("bins", {"ts": TIME, "n": "TEXT", "bin": db.bin("6 hours")}, by=["bin"])
    times = ["2024-06-01T17:00:00Z", "2024-06-01T23:59:59Z", "2024-06-02T00:00:00Z", "2024-06-02T06:00:00Z"]
    db.fill("bins", times)
    db.policy("delete", "bins", "30d 2h")
    db.run()
    assert db.left("bins") == times[1:]
    db.time.set("2024-07-02T08:00:00+00:00")
    db.run()
    assert db.left("bins") == times[3:]


def test_several_columns(db: Database) -> None:
    """Partitions of tenant and month: each tenant's expired months go, those of tenant NULL too."""
    db.create("tenants", {**BY_MONTH, "tenant": "TEXT"}, by=["tenant", "month"])
    for tenant in ("acme", "o'neill", None):
        rows = [{"ts": day, "n": f"{tenant} {day[:7]}", "tenant": tenant} for day in DAYS]
        db.insert("tenants", rows)
    db.policy("delete", "tenants", "30d")
    assert db.run().partitions == 6
    assert db.left("tenants") == sorted([f"{t} 2024-06" for t in ("acme", "o'neill", None)] * 2)


def test_null_month(db: Database, monthly: str) -> None:
    """Rows without a time are in a partition that says nothing: it is held and reported, never expired."""
    db.insert(monthly, [{"ts": None, "n": "timeless"}])
    db.policy("delete", monthly, "30d")
    report = db.run()
    assert db.left(monthly) == [*DAYS[2:], "timeless"]
    assert (report.blocked, report.needs_attention, report.ok) == (1, 1, False)
    (row,) = db.journal(event="blocked")
    assert row["outcome"] == "needs-attention" and "month=NULL" in row["message"]


def test_null_month_as_wanted(db: Database, monthly: str) -> None:
    """With `undated: keep` it stays and is listed all the same, and runs are done."""
    db.insert(monthly, [{"ts": None, "n": "timeless"}])
    db.policy("delete", monthly, "30d", undated="keep")
    for _ in range(2):
        report = db.run()
        assert (report.blocked, report.needs_attention, report.ok) == (1, 0, True)
    assert db.left(monthly) == [*DAYS[2:], "timeless"]
    assert {(row["outcome"], row["partitions"]) for row in db.journal(event="blocked")} == {("blocked", 1)}


def test_text_month(db: Database) -> None:
    """Months as text tell no interval, so the rows do: April and May go, June with its newest row stays."""
    columns = {"ts": TIME, "n": "TEXT", "month": f"TEXT GENERATED ALWAYS AS ({db.month_text})"}
    db.create("texts", columns, by=["month"])
    db.fill("texts", DAYS)
    db.policy("delete", "texts", "30d")
    assert db.run().partitions == 2
    assert db.left("texts") == DAYS[2:]


def test_text_month_to_the_instant(db: Database) -> None:
    """A partition known by its rows goes as soon as its newest row is expired."""
    columns = {"ts": TIME, "n": "TEXT", "month": f"TEXT GENERATED ALWAYS AS ({db.month_text})"}
    db.create("texts", columns, by=["month"])
    db.fill("texts", ["2024-06-01T00:00:00Z", "2024-06-02T00:00:00Z"])
    db.policy("delete", "texts", "30d", partition_column="month")
    db.run()
    assert db.count("texts") == 2
    db.time.set("2024-07-02T00:00:00.001+00:00")
    db.run()
    assert db.count("texts") == 0


def test_text_month_with_a_timeless_row(db: Database) -> None:
    """A row without a time is never expired, so the partition that holds it is reported and stays."""
    db.create("texts", {"ts": TIME, "n": "TEXT", "part": "TEXT"}, by=["part"])
    for part, times in (("a", [DAYS[0], None]), ("b", [DAYS[0]])):
        db.insert("texts", [{"ts": ts, "n": f"{part} {ts}", "part": part} for ts in times])
    db.policy("delete", "texts", "30d", partition_column="part")
    report = db.run()
    assert (report.partitions, report.needs_attention) == (1, 1)
    assert db.left("texts") == [f"a {DAYS[0]}", "a None"]


def test_timeless_row_arrives(db: Database) -> None:
    """The same where that row arrives between plan and run."""
    db.create("texts", {"ts": TIME, "n": "TEXT", "part": "TEXT"}, by=["part"])
    db.fill("texts", DAYS[:1], part="a")
    db.policy("delete", "texts", "30d", partition_column="part")
    prepared = db.tool.prepare()
    db.insert("texts", [{"ts": None, "n": "timeless", "part": "a"}])
    db.tool.run(prepared)
    assert "timeless" in db.left("texts")


def test_number_partition(db: Database) -> None:
    """Years as numbers are known by their rows as well."""
    columns = {"ts": TIME, "n": "TEXT", "year": f"INTEGER GENERATED ALWAYS AS ({db.year_number})"}
    db.create("years", columns, by=["year"])
    days = ["2022-12-31T00:00:00Z", "2023-12-31T00:00:00Z", "2024-01-01T00:00:00Z"]
    db.fill("years", days)
    db.policy("delete", "years", "200d", partition_column="year")
    db.run()
    assert db.left("years") == days[1:]


def test_plain_partition_column(db: Database) -> None:
    """A timestamp that nobody computes is no interval: the rows' own time decides."""
    db.create("plain", {"ts": TIME, "n": "TEXT", "day": TIME}, by=["day"])
    db.fill("plain", ["2024-05-01T00:00:00Z", "2024-06-20T00:00:00Z"], day="2024-05-01T00:00:00Z")
    db.fill("plain", ["2024-04-01T00:00:00Z"], day="2024-04-01T00:00:00Z")
    db.policy("delete", "plain", "30d")
    assert db.run().partitions == 1
    assert db.left("plain") == ["2024-05-01T00:00:00Z", "2024-06-20T00:00:00Z"]


def test_raw_time_partition(db: Database) -> None:
    """Where the partition column is the only time there is, it is the rows' time."""
    db.create("raw", {"ts": TIME, "n": "TEXT"}, by=["ts"])
    days = ["2024-06-01T23:59:59.999Z", "2024-06-02T00:00:00Z", "2024-06-02T00:00:00.001Z"]
    db.fill("raw", days)
    db.policy("delete", "raw", "30d")
    assert db.run().partitions == 1
    assert sorted(db.left("raw")) == sorted(days[1:])


def test_text_without_time(db: Database) -> None:
    """Text partitions of a table without any time: a problem that is reported, and nothing goes."""
    db.create("texts", {"n": "TEXT", "value": NUMBER, "month": "TEXT"}, by=["month"])
    db.insert("texts", [{"n": "a", "value": 1, "month": "1999-01"}, {"n": "b", "value": 2, "month": "no date"}])
    db.policy("delete", "texts", "1d", partition_column="month")
    report = db.run()
    assert (report.needs_attention, report.done) == (1, 0)
    assert db.left("texts") == ["a", "b"]


def test_two_time_columns(db: Database) -> None:
    """Where two columns could be the time, the policy has to name one; until then nothing goes."""
    db.create("texts", {"n": "TEXT", "ts": TIME, "seen": TIME, "month": "TEXT"}, by=["month"])
    old, young = "2024-01-01T00:00:00Z", "2024-07-01T00:00:00Z"
    db.insert("texts", [{"n": "a", "ts": young, "seen": old, "month": "x"}])
    policy = db.policy("delete", "texts", "30d", partition_column="month")
    assert db.run().needs_attention == 1
    db.tool.edit_policy(policy.id or "", {"time_column": "ts"})
    assert db.run().ok and db.count("texts") == 1
    db.tool.edit_policy(policy.id or "", {"time_column": "seen"})
    assert db.run().ok and db.count("texts") == 0
