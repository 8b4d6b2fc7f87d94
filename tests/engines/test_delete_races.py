"""
What happens between planning and running, and on partitions in odd states: nothing young is ever lost (law 1).
"""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import sqlalchemy as sa

from cratedb_retention.engine.base import require_old
from cratedb_retention.engine.duckdb.sql import SQL
from cratedb_retention.errors import PartitionChanged
from cratedb_retention.model.catalog import Column, Kind, TableName
from cratedb_retention.model.plan.plan import DeleteRows, DropPartitions, FreezePartitions, ThawPartitions
from cratedb_retention.model.plan.reasons import Why
from support.databases import MONTH, TIME, CrateDatabase, Database, DuckDatabase
from support.sql import SqlError

OLD, YOUNG = "2024-05-01T00:00:00Z", "2024-07-01T00:00:00Z"


def create_texts(db: Database) -> None:
    """A table whose partitions are text that a client wrote, with one old row."""
    db.create("texts", {"ts": TIME, "n": "TEXT", "part": "TEXT"}, by=["part"])
    db.fill("texts", [OLD], part="a")
    db.policy("delete", "texts", "30d", partition_column="part")


def test_young_row_arrives(crate: CrateDatabase) -> None:
    """A young row that was written to an expired text partition after planning keeps all of it, writable again."""
    create_texts(crate)
    prepared = crate.tool.prepare()
    assert len(prepared.plan.tasks) == 1
    crate.fill("texts", [YOUNG], part="a")
    report = crate.tool.run(prepared)
    assert (report.deferred, report.partitions, report.failed) == (1, 0, 0)
    assert crate.left("texts") == [OLD, YOUNG]
    assert crate.frozen("texts") == 0
    crate.fill("texts", ["2024-07-01T12:00:00Z"], part="a")
    assert crate.count("texts") == 3
    assert crate.count("retention_freeze", schema=crate.own_schema) == 0
    (row,) = crate.journal(outcome="deferred")
    assert YOUNG[:10] in row["error"]


@pytest.mark.parametrize("part", ["a", "b"])
def test_young_row_in_one_of_two(crate: CrateDatabase, part: str) -> None:
    """Of two partitions that are dropped together one got a young row: both wait, and the next run drops the other."""
    create_texts(crate)
    crate.fill("texts", [OLD], part="b")
    prepared = crate.tool.prepare()
    crate.fill("texts", [YOUNG], part=part)
    report = crate.tool.run(prepared)
    assert (report.deferred, report.partitions, report.failed) == (1, 0, 0)
    assert (crate.left("texts"), crate.frozen("texts")) == ([OLD, OLD, YOUNG], 0)
    assert crate.run().partitions == 1
    assert crate.left("texts") == [OLD, YOUNG]


@pytest.mark.parametrize(("newest", "goes"), [(None, True), (999, True), (1000, False)])
def test_newest_row_to_the_instant(newest: int | None, goes: bool) -> None:
    """A row of exactly the expiry limit is not expired: a partition that holds it stays."""
    time, part = (Column(name=name, type="TIMESTAMP", kind=Kind.TIME) for name in ("ts", "part"))
    table = TableName("doc", "texts")
    step = DropPartitions(table=table, columns=(part,), pieces=(), before=1000, time_column=time)
    with nullcontext() if goes else pytest.raises(PartitionChanged, match="a row of 1970-01-01T00:00:01Z was written"):
        require_old(lambda query: newest, SQL, step, sa.true())


def test_never_frozen(db: Database) -> None:
    """With `freeze: never` rows go one by one: nothing refuses writes, and a young row that arrives meanwhile stays."""
    create_texts(db)
    (stored,) = db.tool.policies()
    db.tool.edit_policy(stored.policy.id or "", {"freeze": "never"})
    prepared = db.tool.prepare()
    assert [type(step) for task in prepared.plan.tasks for step in task.steps] == [DeleteRows]
    db.fill("texts", [YOUNG], part="a")
    assert db.tool.run(prepared).ok
    assert db.left("texts") == [YOUNG]


def test_empty_partitions_are_listed(crate: CrateDatabase) -> None:
    """What rows are deleted from stays as an empty partition with its shards, which a plan tells, and is no problem."""
    create_texts(crate)
    (stored,) = crate.tool.policies()
    crate.tool.edit_policy(stored.policy.id or "", {"freeze": "never"})
    assert crate.run().ok
    assert crate.partitions("texts") == [{"part": "a"}]
    plan = crate.tool.plan()
    assert [str(warning).partition(":")[2] for warning in plan.warnings] == [
        " 1 partition is empty, but has shards (part=a); if no longer written to, drop it by SQL"
    ]
    crate.tool.edit_policy(stored.policy.id or "", {"freeze": "allow"})
    assert crate.run().ok
    assert [(hold.reason, hold.needs_attention) for hold in crate.tool.plan().blocked] == [(str(Why.EMPTY()), False)]


def test_young_row_that_is_not_visible_yet(crate: CrateDatabase) -> None:
    """The same with a row that no query has seen, since the table was not refreshed."""
    create_texts(crate)
    crate.sql(f"ALTER TABLE {crate.q('texts')} SET (refresh_interval = 0)")
    prepared = crate.tool.prepare()
    crate.sql(f"INSERT INTO {crate.q('texts')} (ts, n, part) VALUES (?, 'young', 'a')", [YOUNG])
    assert crate.tool.run(prepared).deferred == 1
    crate.refresh("texts")
    assert crate.left("texts") == [OLD, "young"]


def test_old_row_arrives(crate: CrateDatabase) -> None:
    """Where an old row was written, all rows of the frozen partition are looked at again, and go if all are old."""
    create_texts(crate)
    prepared = crate.tool.prepare()
    crate.fill("texts", [OLD], part="a")
    with crate.statements() as sent:
        report = crate.tool.run(prepared)
    assert (report.deferred, report.partitions, report.rows) == (0, 1, 2)
    assert sum("max(" in statement for statement in sent) > 2
    assert crate.left("texts") == []


def test_young_row_stays_on_duckdb(duck: DuckDatabase) -> None:
    """DuckDB looks and deletes in one statement: the old row goes and the young one stays."""
    create_texts(duck)
    prepared = duck.tool.prepare()
    duck.fill("texts", [YOUNG], part="a")
    assert duck.tool.run(prepared).ok
    assert duck.left("texts") == [YOUNG]


def test_other_batch_goes_on(crate: CrateDatabase) -> None:
    """A young row in one table defers only that table."""
    create_texts(crate)
    crate.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    crate.fill("metrics", [OLD, YOUNG])
    crate.policy("delete", "metrics", "30d")
    prepared = crate.tool.prepare()
    crate.fill("texts", [YOUNG], part="a")
    report = crate.tool.run(prepared)
    assert (report.deferred, report.partitions) == (1, 1)
    assert crate.left("metrics") == [YOUNG]


def test_changed_policy_is_not_obeyed(db: Database) -> None:
    """A policy that was changed, disabled or deleted after planning does nothing."""
    db.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill("metrics", [OLD, YOUNG])
    policy = db.policy("delete", "metrics", "30d")
    for change in ({"retention_period": "31d"}, {"enabled": False}):
        prepared = db.tool.prepare()
        db.tool.edit_policy(policy.id or "", change)
        report = db.tool.run(prepared)
        assert (report.deferred, report.done, report.failed) == (1, 0, 0)
    db.tool.edit_policy(policy.id or "", {"enabled": True})
    prepared = db.tool.prepare()
    db.tool.delete_policy(policy.id or "")
    assert db.tool.run(prepared).deferred == 1
    assert db.left("metrics") == [OLD, YOUNG]


def test_dropped_table_is_a_failure(db: Database) -> None:
    """A table that is gone by the time of its task fails that task alone, with an error in the journal."""
    for name in ("gone", "there"):
        db.create(name, {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
        db.fill(name, [OLD, YOUNG])
        db.policy("delete", name, "30d")
    prepared = db.tool.prepare()
    db.sql(f"DROP TABLE {db.q('gone')}")
    report = db.tool.run(prepared)
    assert (report.failed, report.partitions, report.ok) == (1, 1, False)
    assert db.left("there") == [YOUNG]
    (row,) = db.journal(outcome="failed", event="step-finished")
    assert (row["table_name"], bool(row["error"])) == ("gone", True)


def test_failure_leaves_other_tables_of_the_policy(db: Database) -> None:
    """Of several tables of one policy one fails: the others go on."""
    for name in ("a_gone", "b_there"):
        db.create(name, {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
        db.fill(name, [OLD, YOUNG])
    db.policy("delete", "*", "30d")
    prepared = db.tool.prepare()
    assert [task.table.name for task in prepared.plan.tasks] == ["a_gone", "b_there"]
    db.sql(f"DROP TABLE {db.q('a_gone')}")
    report = db.tool.run(prepared)
    assert (report.failed, report.skipped, report.partitions) == (1, 0, 1)
    assert db.left("b_there") == [YOUNG]


def test_interrupted_freeze_is_undone(crate: CrateDatabase) -> None:
    """A partition that a killed run left frozen is thawed by the next one, though nobody wants to delete it now."""
    create_texts(crate)
    (task,) = crate.tool.plan().tasks
    crate.tool.store.freezes.add(task.steps[0], "killed")  # type: ignore[arg-type]
    crate.tool.engine.perform(task.steps[0], lambda progress: None)
    assert crate.frozen("texts") == 1
    with pytest.raises(SqlError, match="blocked"):
        crate.sql(f"INSERT INTO {crate.q('texts')} (ts, n, part) VALUES (?, 'x', 'a')", [YOUNG])
    crate.tool.hold("texts", crate.schema)
    assert crate.run().ok
    assert crate.frozen("texts") == 0
    crate.fill("texts", [YOUNG], part="a")
    assert crate.left("texts") == [OLD, YOUNG]


def test_failed_freeze_is_undone(crate: CrateDatabase) -> None:
    """Of two partitions one is gone, so that freezing fails in the middle: the other one takes writes again."""
    create_texts(crate)
    crate.fill("texts", [OLD], part="b")
    prepared = crate.tool.prepare()
    crate.sql(f"DELETE FROM {crate.q('texts')} WHERE part = 'b'")
    report = crate.tool.run(prepared)
    assert (report.deferred, report.partitions, report.failed) == (1, 0, 0)
    assert crate.frozen("texts") == 0
    assert not crate.tool.store.freezes.all()
    crate.fill("texts", [YOUNG], part="a")
    assert crate.left("texts") == [OLD, YOUNG]


def test_thawing_goes_on_after_what_is_gone(crate: CrateDatabase) -> None:
    """A partition that is gone needs no thawing; the one after it does."""
    create_texts(crate)
    crate.fill("texts", [OLD], part="b")
    (task,) = crate.tool.plan().tasks
    freeze, engine = task.steps[0], crate.tool.engine
    assert isinstance(freeze, FreezePartitions)
    engine.perform(freeze, lambda progress: None)
    crate.sql(f"DELETE FROM {crate.q('texts')} WHERE part = ?", freeze.pieces[0].partition.values)
    engine.perform(
        ThawPartitions(table=freeze.table, columns=freeze.columns, pieces=freeze.pieces), lambda progress: None
    )
    assert crate.frozen("texts") == 0


def test_noted_before_it_is_frozen(crate: CrateDatabase) -> None:
    """What is frozen is noted before, and the note stays until it is gone: a run may be killed at any instant."""
    create_texts(crate)
    with crate.statements() as sent:
        assert crate.run().partitions == 1
    noted, frozen, dropped, forgotten = (
        next(i for i, statement in enumerate(sent) if statement.startswith(words[0]) and words[1] in statement)
        for words in (
            ("INSERT INTO", "retention_freeze"),
            ("ALTER TABLE", "blocks.write"),
            ("DELETE FROM", "texts"),
            ("DELETE FROM", "retention_freeze"),
        )
    )
    assert noted < frozen < dropped < forgotten
    assert not crate.tool.store.freezes.all()


def test_interrupted_freeze_without_policy(crate: CrateDatabase) -> None:
    """The same where the policy was deleted in the meantime."""
    create_texts(crate)
    (task,) = crate.tool.plan().tasks
    crate.tool.store.freezes.add(task.steps[0], "killed")  # type: ignore[arg-type]
    crate.tool.engine.perform(task.steps[0], lambda progress: None)
    (stored,) = crate.tool.policies()
    crate.tool.delete_policy(stored.policy.id or "")
    assert crate.run().ok
    assert crate.frozen("texts") == 0
    assert crate.left("texts") == [OLD]


def test_closed_partition_with_expression(crate: CrateDatabase) -> None:
    """A closed partition whose expression says that it is expired is dropped."""
    crate.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    crate.fill("metrics", [OLD, YOUNG])
    crate.sql(f"ALTER TABLE {crate.q('metrics')} PARTITION (month = '2024-05-01') CLOSE")
    crate.policy("delete", "metrics", "30d")
    assert crate.run().partitions == 1
    assert len(crate.partitions("metrics")) == 1
    assert crate.left("metrics") == [YOUNG]


def test_closed_partition_without_expression(crate: CrateDatabase) -> None:
    """A closed partition whose age only its rows could tell is held, and says so."""
    create_texts(crate)
    crate.sql(f"ALTER TABLE {crate.q('texts')} PARTITION (part = 'a') CLOSE")
    report = crate.run()
    assert (report.needs_attention, report.partitions) == (1, 0)
    assert "closed" in crate.journal(event="blocked")[0]["error"]
    crate.sql(f"ALTER TABLE {crate.q('texts')} PARTITION (part = 'a') OPEN")
    assert crate.left("texts") == [OLD]


def test_closed_table(crate: CrateDatabase) -> None:
    """A closed table is a problem of its own, and keeps nobody else from being served."""
    for name in ("closed_rows", "closed_months", "open_rows"):
        columns = {"ts": TIME, "n": "TEXT"}
        by_month = name == "closed_months"
        crate.create(name, {**columns, "month": MONTH} if by_month else columns, by=["month"] if by_month else [])
        crate.fill(name, [OLD, YOUNG])
    for name in ("closed_rows", "closed_months"):
        crate.sql(f"ALTER TABLE {crate.q(name)} CLOSE")
    crate.policy("delete", "*", "30d")
    report = crate.run()
    for name in ("closed_rows", "closed_months"):
        crate.sql(f"ALTER TABLE {crate.q(name)} OPEN")
    assert (report.needs_attention, report.failed, report.rows) == (2, 0, 1)
    assert crate.left("open_rows") == [YOUNG]
    assert crate.left("closed_rows") == crate.left("closed_months") == [OLD, YOUNG]


def test_unreadable_table(crate: CrateDatabase) -> None:
    """A table that refuses reads keeps nobody else from being served."""
    for name in ("locked", "unlocked"):
        crate.create(name, {"ts": TIME, "n": "TEXT"})
        crate.fill(name, [OLD, YOUNG])
    crate.sql(f"""ALTER TABLE {crate.q("locked")} SET ("blocks.read" = true)""")
    crate.policy("delete", "*", "30d")
    report = crate.run()
    crate.sql(f"""ALTER TABLE {crate.q("locked")} SET ("blocks.read" = false)""")
    assert not report.ok
    assert crate.left("unlocked") == [YOUNG]
    assert crate.left("locked") == [OLD, YOUNG]


def test_object_column(crate: CrateDatabase) -> None:
    """A partition column inside an object."""
    crate.create("objects", {"ts": TIME, "n": "TEXT", "m": f"OBJECT AS (day {TIME})"}, by=["m['day']"])
    crate.insert("objects", [{"ts": d, "n": d, "m": {"day": d}} for d in (OLD, "2024-06-02T00:00:00Z", YOUNG)])
    crate.policy("delete", "objects", "30d", partition_column="m['day']")
    assert crate.run().partitions == 1
    assert crate.left("objects") == ["2024-06-02T00:00:00Z", YOUNG]


@pytest.mark.parametrize("unit", ["day", "month", "week"])
def test_time_zone(crate: CrateDatabase, unit: str) -> None:
    """Days of Vienna begin and end at its midnight, also on 31 March, which has 23 hours."""
    kind = f"{TIME} GENERATED ALWAYS AS date_trunc('{unit}', 'Europe/Vienna', ts)"
    crate.create("local", {"ts": TIME, "n": "TEXT", "part": kind}, by=["part"])
    # Sunday 31 March 2024 in Vienna is [30 March 23:00 UTC, 31 March 22:00 UTC), the end of a week and a month.
    days = ["2024-03-31T21:59:59.999Z", "2024-03-31T22:00:00Z"]
    crate.fill("local", days)
    crate.policy("delete", "local", "1d")
    crate.time.set("2024-04-01T21:59:59.999+00:00")
    assert crate.run().partitions == 0
    crate.time.set("2024-04-01T22:00:00+00:00")
    assert crate.run().partitions == 1
    assert crate.left("local") == days[1:]
