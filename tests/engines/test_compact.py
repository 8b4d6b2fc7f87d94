"""The strategy ``compact`` on CrateDB: partitions take less space, and all of their rows stay as they were."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from cratedb_retention import RestoreRequest
from cratedb_retention.engine.cratedb import shards
from cratedb_retention.errors import DatabaseError, Unsupported
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model.plan.plan import CompactPartitions
from cratedb_retention.model.runs import RunOptions
from support.databases import MONTH, TIME, CrateDatabase, DuckDatabase, before_statements
from support.sql import SqlError

COLUMNS = {"ts": TIME, "n": "TEXT", "batch": "TEXT", "month": MONTH}
MAY = ["2024-05-01", "2024-05-20", "2024-05-31"]
DAYS = ["2024-04-10", "2024-04-11", *MAY, "2024-07-01"]
# Of each partition: whether it is compressed, closed and read-only, its replicas, and the segments of its shards.
State = tuple[bool, bool, bool, str, int]
COMPACT, PLAIN = (True, False, False, "0", 1), (False, False, False, "0", 2)


@pytest.fixture
def metrics(crate: CrateDatabase) -> CrateDatabase:
    """A table with two expired months and a young one, each of which has several segments."""
    fill(crate)
    return crate


def fill(crate: CrateDatabase, by: str = "month") -> None:
    """The rows arrive twice, so that each partition has two segments."""
    crate.create("metrics", COLUMNS, by=[by])
    for half in "ab":
        crate.fill("metrics", [f"{day}T0{'ab'.index(half)}:00" for day in DAYS], batch=half)


def states(crate: CrateDatabase) -> list[State]:
    """The partitions, the oldest first."""
    segments: dict[str, int] = {}
    query = "SELECT partition_ident, count(*) FROM sys.segments WHERE table_schema = ? AND search GROUP BY 1"
    for ident, count in crate.rows(query, [crate.schema]):
        segments[ident] = count
    query = (
        "SELECT settings['codec'] = 'best_compression', closed, settings['blocks']['write'], number_of_replicas,"
        " partition_ident FROM information_schema.table_partitions WHERE table_schema = ? ORDER BY partition_ident"
    )
    return [(*state, segments.get(ident, 0)) for *state, ident in crate.rows(query, [crate.schema])]


def names(days: Sequence[str] = DAYS) -> list[str]:
    """The names of their rows."""
    return sorted(f"{day}T0{i}:00" for day in days for i in (0, 1))


@contextmanager
def failing(crate: CrateDatabase, words: str) -> Iterator[list[str]]:
    """The first statement with these words fails."""
    seen: list[str] = []

    def fail(statement: str) -> None:
        if words in statement and not seen:
            seen.append(statement)
            raise DatabaseError("CrateDB", "a test made it fail")

    with before_statements(crate.tool.engine.database.engine, fail):
        yield seen


def test_compacted(metrics: CrateDatabase) -> None:
    """Expired partitions are compressed and merged, and stay readable and writable; a second run does nothing."""
    metrics.policy("compact", "metrics", "30d", compress=True, number_of_replicas=0)
    sizes = sum(task.size or 0 for task in metrics.tool.plan().tasks)
    report = metrics.run()
    assert (report.ok, report.partitions, report.rows) == (True, 2, 10)
    assert states(metrics) == [COMPACT, COMPACT, PLAIN]
    assert metrics.left("metrics") == names()
    steps = metrics.journal(operation="compact_partitions", event="step-finished")
    assert [(row["partitions"], row["rows"]) for row in steps] == [(1, 6), (1, 4)]
    assert 0 < sum(row["bytes"] for row in steps) == report.bytes < sizes
    assert metrics.count("retention_freeze", schema=metrics.own_schema) == 0
    again = metrics.run()
    assert (again.ok, again.done) == (True, 0)


def test_read_only(metrics: CrateDatabase) -> None:
    """Read-only partitions refuse rows; if a user makes one writable, the next run makes it read-only again."""
    metrics.policy("compact", "metrics", "30d", read_only=True)
    assert metrics.run().ok
    assert [state[2] for state in states(metrics)] == [True, True, False]
    with pytest.raises(SqlError, match="blocked by"):
        metrics.sql(f"INSERT INTO {metrics.q('metrics')} (ts) VALUES ('2024-05-02')")
    assert metrics.run().done == 0
    metrics.sql(f"ALTER TABLE {metrics.q('metrics')} PARTITION (month = '2024-05-01') SET (\"blocks.write\" = false)")
    metrics.fill("metrics", ["2024-05-02"])
    assert metrics.run().ok
    assert states(metrics)[1] == (False, False, True, "0", 1)
    assert metrics.count("metrics") == 13


def test_late_rows(metrics: CrateDatabase) -> None:
    """Rows that arrive later are kept, and merged by the next run, without closing the partition again."""
    metrics.policy("compact", "metrics", "30d", compress=True)
    metrics.run()
    metrics.fill("metrics", ["2024-05-02"])
    assert states(metrics)[:2] == [COMPACT, (*COMPACT[:-1], 2)]
    with metrics.statements() as sent:
        assert metrics.run().partitions == 1
    assert not [statement for statement in sent if "CLOSE" in statement or "blocks.write" in statement]
    assert states(metrics)[:2] == [COMPACT, COMPACT]
    assert metrics.left("metrics") == sorted([*names(), "2024-05-02"])


def test_written_meanwhile(metrics: CrateDatabase) -> None:
    """A partition that still receives rows is not closed, since rows would be lost: the next run compacts it."""
    metrics.policy("compact", "metrics", "30d", compress=True)
    prepared = metrics.tool.prepare()
    metrics.fill("metrics", ["2024-05-02"])
    with metrics.statements() as sent:
        report = metrics.tool.run(prepared)
    assert (report.ok, report.deferred, report.partitions) == (True, 1, 1)
    assert len([statement for statement in sent if "CLOSE" in statement]) == 1
    assert states(metrics) == [COMPACT, (False, False, False, "0", 3), PLAIN]
    assert metrics.run().partitions == 1
    assert (states(metrics)[1], metrics.count("metrics")) == (COMPACT, 13)


@pytest.mark.parametrize("words", [" CLOSE", '"codec"', " OPEN", "OPTIMIZE", '"number_of_replicas"'])
def test_failure(metrics: CrateDatabase, words: str) -> None:
    """Whatever fails, the partition is open and writable again, and the next run compacts it."""
    metrics.policy("compact", "metrics", "30d", compress=True, number_of_replicas="0-1", read_only=True)
    with failing(metrics, words) as failed:
        report = metrics.run()
    assert (report.ok, report.failed, len(failed)) == (False, 1, 1)
    assert [state[1:3] for state in states(metrics)] == 3 * [(False, False)]
    assert metrics.left("metrics") == names()
    metrics.fill("metrics", ["2024-04-12"])
    assert metrics.run().ok
    assert states(metrics) == [(True, False, True, "0-1", 1), (True, False, True, "0-1", 1), PLAIN]
    assert metrics.count("metrics") == 13


def leave_closed(crate: CrateDatabase, values: str) -> None:
    """What a run leaves that is killed right after it closed a partition."""
    (step,) = (
        step
        for task in crate.tool.plan().tasks
        for step in task.steps
        if isinstance(step, CompactPartitions) and values in step.describe()
    )
    crate.tool.store.freezes.note(step.table, step.columns, step.partitions[0])
    column, _, value = values.partition("=")
    partition = f"ALTER TABLE {crate.q('metrics')} PARTITION ({column} = '{value}')"
    crate.sql(f'{partition} SET ("blocks.write" = true)')
    crate.sql(f"{partition} CLOSE")


def test_left_closed(metrics: CrateDatabase) -> None:
    """A partition that a killed run left closed is opened by the next one, whether or not its policy still exists."""
    policy = metrics.policy("compact", "metrics", "30d", compress=True)
    leave_closed(metrics, "month=2024-05-01")
    assert metrics.count("metrics") == 6
    metrics.tool.edit_policy(policy.id or "", {"enabled": False})
    assert metrics.run().ok
    assert states(metrics) == [PLAIN, PLAIN, PLAIN]
    metrics.tool.edit_policy(policy.id or "", {"enabled": True})
    leave_closed(metrics, "month=2024-05-01")
    assert metrics.run().ok
    assert (states(metrics), metrics.left("metrics")) == ([COMPACT, COMPACT, PLAIN], names())


def test_left_closed_of_unknown_age(crate: CrateDatabase) -> None:
    """If only its rows tell its age, a run opens it, and the next one compacts it."""
    fill(crate, by="batch")
    crate.sql(f"DELETE FROM {crate.q('metrics')} WHERE ts >= '2024-06-01'")
    crate.refresh("metrics")
    crate.policy("compact", "metrics", "30d", compress=True, partition_column="batch", time_column="ts")
    leave_closed(crate, "batch=a")
    report = crate.run()
    assert (report.ok, report.partitions, crate.count("metrics")) == (True, 1, 10)
    assert (crate.run().partitions, [state[:3] for state in states(crate)]) == (1, 2 * [(True, False, False)])


@pytest.mark.parametrize("read_only", [False, True])
def test_with_other_policies(metrics: CrateDatabase, read_only: bool) -> None:
    """What is compact is archived, restored and deleted like everything else."""
    metrics.policy("compact", "metrics", "7d", compress=True, read_only=read_only)
    archive = metrics.policy("snapshot", "metrics", "60d")
    metrics.time.set("2024-06-08T00:00:00+00:00")
    assert metrics.run().ok
    assert states(metrics) == [(True, False, read_only, "0", 1)] * 2 + [PLAIN]
    assert metrics.left("metrics") == names()
    metrics.time.set("2024-08-10T00:00:00+00:00")
    assert (metrics.run().ok, metrics.count("metrics")) == (True, 2)
    metrics.tool.edit_policy(archive.id or "", {"enabled": False})
    metrics.tool.restore(RestoreRequest(table_name="metrics"))
    assert metrics.left("metrics") == names()
    metrics.tool.holds.release(metrics.tool.holds()[0].id)
    assert metrics.run().ok
    assert (metrics.left("metrics"), {state[2] for state in states(metrics)}) == (names(), {read_only})
    metrics.policy("delete", "metrics", "30d")
    assert (metrics.run().ok, metrics.count("metrics")) == (True, 2)


def test_legal_hold(metrics: CrateDatabase) -> None:
    """Data on hold is left as it is: with fewer replicas it would be less safe."""
    metrics.tool.holds.place("metrics", table_schema=metrics.schema, reason="court")
    metrics.policy("compact", "metrics", "30d", compress=True, number_of_replicas="0-1")
    assert (metrics.run().partitions, states(metrics)) == (0, [PLAIN, PLAIN, PLAIN])


def test_others_wait(metrics: CrateDatabase) -> None:
    """While rows are hidden, no other policy of the table runs: its counts would be wrong."""
    other = metrics.policy("delete", "metrics", "1y").id or ""
    compact = Selection(policy_id=metrics.policy("compact", "metrics", "30d", compress=True).id)
    leases = metrics.tool.schedule.session(RunOptions()).leases
    leases.take({other: None})
    assert (metrics.tool.run(selection=compact).deferred, states(metrics)) == (2, [PLAIN, PLAIN, PLAIN])
    (deferred,) = metrics.journal(event="blocked", outcome="deferred")
    assert deferred["error"] == f"policy {other}, which is for the same table, is locked by {leases.holder}"
    leases.release({})
    metrics.time.moment += dt.timedelta(hours=1)
    assert metrics.tool.run(selection=compact).partitions == 2


def test_no_room(metrics: CrateDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """A merge that a disk has no room for does not begin."""
    metrics.policy("compact", "metrics", "30d")
    with monkeypatch.context() as full:
        full.setattr(shards, "ROOM_TO_MERGE", 1e12)
        assert not metrics.run().ok
    failed = metrics.journal(outcome="failed", operation="compact_partitions")
    assert [row["reason"] for row in failed] == ["disk-full"]
    assert "merging 2 partitions" in failed[0]["error"]
    assert states(metrics) == [PLAIN, PLAIN, PLAIN]
    assert metrics.run().ok


def test_several_shards(crate: CrateDatabase) -> None:
    """All shards are merged, and a partition of one segment stays as it is."""
    shape = "(ts TIMESTAMP, n TEXT, month TIMESTAMP GENERATED ALWAYS AS date_trunc('month', ts))"
    options = "CLUSTERED INTO 3 SHARDS PARTITIONED BY (month) WITH (number_of_replicas = 0)"
    crate.sql(f"CREATE TABLE {crate.q('metrics')} {shape} {options}")
    for part in range(3):
        crate.fill("metrics", [f"2024-05-{day:02}T0{part}:00" for day in range(1, 31)])
    crate.policy("compact", "metrics", "30d", compress=True)
    assert crate.run().ok
    query = "SELECT shard_id, count(*) FROM sys.segments WHERE table_schema = ? AND search GROUP BY 1 ORDER BY 1"
    assert crate.rows(query, [crate.schema]) == [[0, 1], [1, 1], [2, 1]]
    assert (crate.count("metrics"), crate.run().done) == (90, 0)


def test_stored(crate: CrateDatabase) -> None:
    """Each attribute of a policy comes back as it went in."""
    wanted: dict[str, Any] = {"compress": False, "merge": False, "read_only": True, "number_of_replicas": "0-all"}
    for given in (wanted, {**wanted, "compress": True, "merge": True, "number_of_replicas": "0"}):
        policy = crate.policy("compact", "metrics", "30d", **given)
        stored = crate.tool.policies.get(policy.id or "").policy
        assert (stored, {name: getattr(stored, name) for name in given}) == (policy, given)


def test_refused_on_duckdb(duck: DuckDatabase) -> None:
    """A file has no partitions of its own to compact."""
    given: dict[str, Any] = {"strategy": "compact", "table_name": "metrics", "retention_period": "30d"}
    with pytest.raises(Unsupported, match="strategy compact: DuckDB has no partitions of its own to compact"):
        duck.tool.create_policy(**given)
