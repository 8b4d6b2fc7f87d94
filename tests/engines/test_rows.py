"""
The strategy `delete` row by row, on tables without partitions: to the instant, in batches, on both engines.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa

from cratedb_retention.engine.cratedb.engine import CrateDBEngine
from cratedb_retention.engine.duckdb.engine import DuckDBEngine
from cratedb_retention.errors import PartitionChanged
from cratedb_retention.execution.runs.events import RunEvent, StepProgressed
from cratedb_retention.model.plan.plan import DeleteRows
from support.databases import TIME, CrateDatabase, Database, DuckDatabase

# With 30 days at 2 July, the limit is 2 June.
LIMIT = "2024-06-02T00:00:00.000Z"
BEFORE = "2024-06-01T23:59:59.999Z"


@pytest.fixture
def events(db: Database) -> str:
    """A table without partitions."""
    db.create("events", {"ts": TIME, "n": "TEXT", "kind": "TEXT"})
    return "events"


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of three rows."""
    monkeypatch.setattr(CrateDBEngine, "batch", 3)
    monkeypatch.setattr(DuckDBEngine, "batch", 3)


def test_to_the_millisecond(db: Database, events: str) -> None:
    """A row of the limit's instant stays, one of the millisecond before goes."""
    db.fill(events, [BEFORE, LIMIT, "1969-12-31T23:59:59.999Z"])
    db.policy("delete", events, "30d")
    report = db.run()
    assert db.left(events) == [LIMIT]
    assert (report.rows, report.partitions, report.ok) == (2, 0, True)


def test_rows_without_a_time(db: Database, events: str) -> None:
    """NULL is not older than anything."""
    db.fill(events, [BEFORE])
    db.insert(events, [{"ts": None, "n": "timeless"}])
    db.policy("delete", events, "1s")
    assert db.run().ok
    assert db.left(events) == ["timeless"]


def test_idle(db: Database, events: str) -> None:
    """Where no row is expired, no step is done."""
    db.fill(events, [LIMIT])
    db.policy("delete", events, "30d")
    assert not db.tool.plan().tasks
    assert db.run().done == 0


def test_rows_that_arrive_later(db: Database, events: str) -> None:
    """A young row that arrives between plan and run stays; an expired one may go."""
    db.fill(events, [BEFORE])
    db.policy("delete", events, "30d")
    prepared = db.tool.prepare()
    db.fill(events, [LIMIT, "2024-07-01T00:00:00Z"])
    assert db.tool.run(prepared).ok
    assert db.left(events) == [LIMIT, "2024-07-01T00:00:00Z"]


def test_calendar_months(db: Database, events: str) -> None:
    """A month is a calendar month in the policy's time zone: 30 June less a month is 30 May, midnight of Vienna."""
    db.fill(events, ["2024-05-29T21:59:59.999Z", "2024-05-29T22:00:00.000Z"])
    db.policy("delete", events, "1 month", time_zone="Europe/Vienna")
    db.time.set("2024-06-30T00:00:00+02:00")
    db.run()
    assert db.left(events) == ["2024-05-29T22:00:00.000Z"]


@pytest.mark.usefixtures("small_batches")
def test_batches(db: Database, events: str) -> None:
    """Rows go oldest first in several statements, and only the expired ones."""
    old = [f"2024-01-{day:02}T00:00:00Z" for day in range(1, 12)]
    db.fill(events, [*old, LIMIT])
    db.policy("delete", events, "30d")
    told: list[RunEvent] = []
    with db.statements() as sent:
        report = db.tool.run(observers=[told.append])
    assert (report.rows, db.left(events)) == (11, [LIMIT])
    assert sum(statement.startswith("DELETE") for statement in sent) == 4
    assert [e.progress.done for e in told if isinstance(e, StepProgressed)] == [3, 6, 9]


@pytest.mark.usefixtures("small_batches")
def test_late_rows_between_batches(db: Database, events: str) -> None:
    """Rows that were rolled up are counted before each batch: one that arrives between two of them ends the step."""
    db.fill(events, [f"2024-01-{day:02}T00:00:00Z" for day in range(1, 6)])
    db.policy("delete", events, "30d")
    [step] = [step for task in db.tool.plan().tasks for step in task.steps]
    assert isinstance(step, DeleteRows)
    with pytest.raises(PartitionChanged, match="1 row arrived after the others were rolled up"):
        db.tool.engine.perform(replace(step, since=0), lambda progress: db.fill(events, [BEFORE]))
    assert BEFORE in db.left(events)


@pytest.mark.usefixtures("small_batches")
def test_batches_are_shown(db: Database, events: str) -> None:
    """A plan shows what is sent: batches, each to the time of its last row, and the rest (law 10)."""
    db.fill(events, [*(f"2024-01-{day:02}T00:00:00Z" for day in range(1, 8)), LIMIT])
    db.policy("delete", events, "30d")
    database, sent = db.tool.engine.database, []

    def note(connection: Any, element: Any, *rest: Any) -> None:
        if isinstance(element, sa.Delete):
            sent.append(re.sub("<= .*", "<= :time_of_row_3", database.render(element)))

    steps = [step for task in db.tool.plan().tasks for step in task.steps]
    shown = [line for step in steps for line in db.tool.engine.render(step)]
    sa.event.listen(database.engine, "before_execute", note)
    try:
        assert db.run().rows == 7
    finally:
        sa.event.remove(database.engine, "before_execute", note)
    mine = [line for line in sent if f'"{events}"' in line]
    assert (len(mine), list(dict.fromkeys(mine))) == (3, shown)


@pytest.mark.parametrize("skewed", [False, True])
def test_large_batches_on_duckdb(duck: DuckDatabase, monkeypatch: pytest.MonkeyPatch, skewed: bool) -> None:
    """However rows are spread over time, batches are nearly full, and their end is found by a few counts."""
    monkeypatch.setattr(DuckDBEngine, "batch", 1000)
    duck.create("events", {"ts": TIME, "n": "TEXT"})
    seconds = "CASE WHEN i < 5000 THEN i / 100.0 ELSE i * 500 END" if skewed else "i * 500"
    moment = f"TIMESTAMPTZ '2024-01-01T00:00:00Z' + to_microseconds(CAST(1000000 * ({seconds}) AS BIGINT))"
    duck.sql(f"INSERT INTO {duck.q('events')} SELECT {moment}, 'x' FROM range(10000) r(i)")
    duck.policy("delete", "events", "30d")
    told: list[RunEvent] = []
    with duck.statements() as sent:
        assert duck.tool.run(observers=[told.append]).rows == 10_000
    done = [0, *(event.progress.done for event in told if isinstance(event, StepProgressed))]
    assert all(900 <= after - before <= 1000 for before, after in pairwise(done)), done
    assert sum("count" in statement and "events" in statement for statement in sent) < len(done) * (25 if skewed else 8)


@pytest.mark.usefixtures("small_batches")
def test_ties_at_the_border_of_a_batch(db: Database, events: str) -> None:
    """Rows of one instant go together, however many they are, and nothing is left or loops."""
    db.insert(events, [{"ts": "2024-01-01T00:00:00Z", "n": f"{i}"} for i in range(10)])
    db.insert(events, [{"ts": "2024-01-02T00:00:00Z", "n": f"{i}"} for i in range(2)])
    db.fill(events, [LIMIT])
    db.policy("delete", events, "30d")
    assert db.run().rows == 12
    assert db.left(events) == [LIMIT]


@pytest.mark.usefixtures("small_batches")
def test_exactly_one_batch(db: Database, events: str) -> None:
    """As many rows as a batch holds."""
    db.fill(events, ["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z", BEFORE, LIMIT])
    db.policy("delete", events, "30d")
    assert db.run().rows == 3
    assert db.left(events) == [LIMIT]


@pytest.mark.usefixtures("small_batches")
def test_batches_next_to_the_limit(db: Database, events: str) -> None:
    """A batch that ends at the limit does not reach beyond it."""
    db.insert(events, [{"ts": BEFORE, "n": "old"} for _ in range(5)] + [{"ts": LIMIT, "n": "young"} for _ in range(5)])
    db.policy("delete", events, "30d")
    assert db.run().rows == 5
    assert db.left(events) == ["young"] * 5


@pytest.mark.usefixtures("small_batches")
def test_microseconds(duck: DuckDatabase) -> None:
    """DuckDB's microseconds: 1 µs before the limit goes, the limit itself stays, and batches end between them."""
    duck.create("events", {"ts": TIME, "n": "TEXT"})
    old = [f"2024-06-01T23:59:59.9999{i:02}Z" for i in range(90, 100)]
    duck.fill("events", [*old, "2024-06-02T00:00:00.000000Z", "2024-06-02T00:00:00.000001Z"])
    duck.policy("delete", "events", "30d")
    assert duck.run().rows == 10
    assert duck.left("events") == ["2024-06-02T00:00:00.000000Z", "2024-06-02T00:00:00.000001Z"]


def test_fractions_of_the_cutoff_keep(duck: DuckDatabase) -> None:
    """A cutoff between two milliseconds counts as the earlier one, so that in doubt a row stays."""
    duck.create("events", {"ts": TIME, "n": "TEXT"})
    duck.fill("events", ["2024-06-02T00:00:00.000400Z"])
    duck.policy("delete", "events", "30d")
    duck.time.set("2024-07-02T00:00:00.000900+00:00")
    duck.run()
    assert duck.count("events") == 1


@pytest.mark.parametrize("kind", ["TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "DATE", "TIMESTAMPTZ"])
def test_times_of_duckdb(duck: DuckDatabase, kind: str) -> None:
    """Every type that DuckDB has for instants; those without a time zone count as UTC."""
    duck.create("events", {"ts": kind, "n": "TEXT"})
    duck.insert("events", [{"ts": f"2024-06-0{day}", "n": f"{day}"} for day in (1, 2, 3)])
    duck.policy("delete", "events", "30d")
    duck.run()
    assert duck.left("events") == ["2", "3"]


def test_infinite_times(duck: DuckDatabase) -> None:
    """What lies in the infinite future stays; what lies in the infinite past goes."""
    duck.create("events", {"ts": TIME, "n": "TEXT"})
    duck.insert("events", [{"ts": "infinity", "n": "future"}, {"ts": "-infinity", "n": "past"}])
    duck.fill("events", [LIMIT])
    duck.policy("delete", "events", "30d")
    assert duck.run().ok
    assert duck.left("events") == [LIMIT, "future"]


def test_timestamp_without_time_zone(crate: CrateDatabase) -> None:
    """CrateDB's timestamps without time zone count as UTC."""
    crate.create("events", {"ts": "TIMESTAMP WITHOUT TIME ZONE", "n": "TEXT"})
    crate.fill("events", ["2024-06-01T23:59:59.999", "2024-06-02T00:00:00"])
    crate.policy("delete", "events", "30d")
    crate.run()
    assert crate.left("events") == ["2024-06-02T00:00:00"]


def test_table_without_a_time(db: Database) -> None:
    """A table without any timestamp is a problem that is reported."""
    db.create("things", {"n": "TEXT"})
    db.insert("things", [{"n": "a"}])
    db.policy("delete", "things", "30d")
    report = db.run()
    assert (report.needs_attention, report.done) == (1, 0)
    assert "timestamp" in db.journal(event="blocked")[0]["error"]


def test_named_time_column(db: Database) -> None:
    """Where there are two, the policy's own decides."""
    db.create("events", {"ts": TIME, "seen": TIME, "n": "TEXT"})
    old, young = "2024-01-01T00:00:00Z", "2024-07-01T00:00:00Z"
    db.insert("events", [{"ts": old, "seen": young, "n": "a"}, {"ts": young, "seen": old, "n": "b"}])
    db.policy("delete", "events", "30d", time_column="seen")
    assert db.run().ok
    assert db.left("events") == ["a"]


def test_time_column_that_is_none(db: Database) -> None:
    """A time column that is missing, or no timestamp, is a problem."""
    db.create("events", {"ts": TIME, "n": "TEXT"})
    db.fill("events", [BEFORE])
    for name in ("n", "nowhere"):
        policy = db.policy("delete", "events", "30d", time_column=name)
        assert db.run().needs_attention == 1
        db.tool.delete_policy(policy.id or "")
    assert db.count("events") == 1


def test_partitioned_by_something_else(db: Database) -> None:
    """Partitions that say nothing about time: rows go, and partitions stay."""
    db.create("events", {"ts": TIME, "n": "TEXT", "site": "INTEGER"}, by=["site"])
    for site in (1, 2):
        db.fill("events", [BEFORE, LIMIT], site=site)
    db.policy("delete", "events", "30d", where={"site": 1})
    assert db.run().rows == 1
    assert db.left("events", "site = 1") == [LIMIT]
    assert db.left("events", "site = 2") == [BEFORE, LIMIT]


@pytest.mark.usefixtures("small_batches")
def test_failure_in_the_middle(crate: CrateDatabase) -> None:
    """A table that refuses deletes fails with an error in the journal, and the others go on."""
    for name in ("a_locked", "b_open"):
        crate.create(name, {"ts": TIME, "n": "TEXT"})
        crate.fill(name, [BEFORE, LIMIT])
        crate.policy("delete", name, "30d")
    crate.sql(f"""ALTER TABLE {crate.q("a_locked")} SET ("blocks.write" = true)""")
    report = crate.run()
    crate.sql(f"""ALTER TABLE {crate.q("a_locked")} SET ("blocks.write" = false)""")
    assert (report.failed, report.rows, report.ok) == (1, 1, False)
    assert crate.left("a_locked") == [BEFORE, LIMIT]
    assert crate.left("b_open") == [LIMIT]
    (row,) = crate.journal(outcome="failed", event="step-finished")
    assert (row["table_name"], row["operation"]) == ("a_locked", "delete_rows")
    assert "DELETE" in row["error"]
