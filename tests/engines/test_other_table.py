"""A table that was dropped and created again under its name is another one: what is known of the first is not its."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from cratedb_retention.engine.duckdb.catalog import Reader
from cratedb_retention.engine.step import Report, StepResult
from cratedb_retention.errors import DatabaseError, NotFound
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model.plan.plan import FreezePartitions, Step
from support.databases import MONTH, NOW, TIME, CrateDatabase, Database, DuckDatabase
from support.tiers import others_on_duckdb

DAYS = [f"2024-05-{day:02}" for day in range(1, 15)]


def create(db: Database, partitioned: bool) -> None:
    """The table, empty."""
    part = {"month": MONTH} if partitioned else {}
    db.create("readings", {"ts": TIME, "x": "DOUBLE PRECISION", **part}, by=list(part))


def write(db: Database, days: Iterable[str], x: float = 1) -> None:
    """A row for each hour of these days."""
    db.insert("readings", [{"ts": f"{day}T{hour:02}:30", "x": x} for day in days for hour in range(24)])


def again(db: Database, partitioned: bool) -> None:
    """Drop the table, and create another one of its name."""
    db.sql(f"DROP TABLE {db.q('readings')}")
    create(db, partitioned)


def rolled_up(db: Database, partitioned: bool, **policy: Any) -> None:
    """A table whose expired rows are rolled up and gone; those of a day are left."""
    create(db, partitioned)
    write(db, DAYS)
    write(db, ["2024-07-01"])
    db.policy("downsample", "readings", "30d", levels="1h:forever", late="drop", **policy)
    assert db.run().ok
    assert db.count("readings") == 24


@pytest.mark.parametrize("partitioned", [True, *others_on_duckdb(False)])
def test_rows_of_another_table_stay(db: Database, partitioned: bool) -> None:
    """What `late: drop` says is about rows that came late to this table, not about those of one created since."""
    rolled_up(db, partitioned)
    again(db, partitioned)
    write(db, DAYS, x=7)
    report = db.run()
    assert db.count("readings") == 336
    assert (report.needs_attention, report.done) == (1, 0)
    (hold,) = db.tool.plan().blocked
    assert hold.needs_attention
    assert "is not the table that its rollups were made from" in hold.reason
    assert "accept-table" in hold.reason


@pytest.mark.parametrize("partitioned", [True, *others_on_duckdb(False)])
def test_replaced_since_the_plan(db: Database, partitioned: bool) -> None:
    """Rows of a table that was created after the plan stay, even if they look like those that were rolled up."""
    create(db, partitioned)
    write(db, DAYS)
    db.policy("downsample", "readings", "30d", levels="1h:forever")
    db.time.set("2024-06-01T00:00:00+00:00")
    assert db.run().ok
    db.time.set(NOW)
    prepared = db.tool.prepare(selection=Selection(accepted=True))
    assert prepared.plan.tasks
    again(db, partitioned)
    write(db, DAYS)
    report = db.tool.run(prepared)
    assert (report.rows, report.failed, report.deferred > 0) == (0, 0, True)
    assert db.count("readings") == 336


@pytest.mark.parametrize("partitioned", [True, *others_on_duckdb(False)])
def test_accepted(db: Database, partitioned: bool) -> None:
    """A table that belongs to the rollups, though it was created again, goes on once the user says so."""
    rolled_up(db, partitioned)
    again(db, partitioned)
    write(db, [*DAYS[:1], "2024-07-01"])
    assert db.run().needs_attention == 1
    assert db.tool.accept_tables("read*", db.schema) == [db.table("readings")]
    assert db.journal(event="table-accepted")
    assert db.run().needs_attention == 0
    assert db.count("readings") == 24, "what came late goes, as the policy says"


def test_rollups_of_an_earlier_version(db: Database) -> None:
    """The next run that rolls up records which table it was, so that another one is noticed from then on."""
    rolled_up(db, False)
    db.tool.store.identify(db.table("readings"), "")  # As earlier versions left it.
    write(db, ["2024-06-30"])
    assert db.run().ok
    again(db, False)
    write(db, DAYS)
    assert db.run(accepted=True).needs_attention == 1
    assert db.count("readings") == 336


def test_others_wait(db: Database) -> None:
    """No other policy deletes from the table meanwhile: what it deleted would be in no rollup."""
    rolled_up(db, False)
    db.policy("delete", "readings", "30d")
    again(db, False)
    write(db, DAYS)
    assert db.run().needs_attention == 2
    assert db.count("readings") == 336


@pytest.mark.parametrize("partitioned", [True, *others_on_duckdb(False)])
def test_altered_table(db: Database, partitioned: bool) -> None:
    """Whatever a table is altered to, emptied, renamed and named back, it stays the same, and so does a database."""
    rolled_up(db, partitioned)
    table = db.q("readings")
    changes = ["ADD COLUMN note TEXT", "RENAME COLUMN note TO more", "DROP COLUMN more"]
    for change in changes:
        db.sql(f"ALTER TABLE {table} {change}")
    db.sql(f"ALTER TABLE {table} RENAME TO elsewhere")
    db.sql(f"ALTER TABLE {db.q('elsewhere')} RENAME TO readings")
    db.sql(f"DELETE FROM {table}")
    for tidy in [f"OPTIMIZE TABLE {table}"] if db.product == "CrateDB" else ["CHECKPOINT", "VACUUM"]:
        db.sql(tidy)
    assert db.run().needs_attention == 0


def test_reopened_file(duck: DuckDatabase) -> None:
    """DuckDB numbers tables anew when a file is opened."""
    rolled_up(duck, True)
    duck.sql("DROP TABLE IF EXISTS other; CREATE TABLE other (a INTEGER)")
    duck.close()
    opened = DuckDatabase(duck.uri, duck.directory)
    assert opened.run().needs_attention == 0
    again(opened, True)
    assert opened.run().needs_attention == 1
    opened.close()


def test_comment_stays(duck: DuckDatabase) -> None:
    """The mark comes behind what the user says of a table; where that is replaced, the table is blocked."""
    create(duck, False)
    comment = f"COMMENT ON TABLE {duck.q('readings')} IS 'when it''s measured'"
    duck.sql(comment)
    write(duck, DAYS)
    duck.policy("downsample", "readings", "30d", levels="1h:forever")
    assert duck.run().ok
    (row,) = duck.rows("SELECT comment FROM duckdb_tables() WHERE table_name = 'readings'")
    assert str(row[0]).startswith("when it's measured [cratedb-retention ")
    table = duck.table("readings")
    said = Reader(duck.tool.engine.database, [table]).describe(table)[1]
    assert said == "when it's measured", "an archive is not to give the mark to another table"
    duck.sql(comment)
    assert duck.run().needs_attention == 1
    duck.tool.accept_tables("readings", duck.schema)
    assert duck.run().ok


def test_archive_of_another_table(db: Database) -> None:
    """What was archived from one table comes back into that, or one made for it, and not into another of its name."""
    create(db, True)
    write(db, DAYS[:2])
    write(db, ["2024-04-01"])
    db.policy("snapshot", "readings", "30d")
    assert db.run().partitions == 2
    db.sql(f"DROP TABLE {db.q('readings')}")
    first, second = [each.archived.name for each in db.tool.snapshots()]
    (back,) = db.tool.restore(RestoreRequest(name=first))
    assert back.error is None
    assert [each.error for each in db.tool.restore(RestoreRequest(name=second))] == [None], "it is the same again"
    again(db, True)
    write(db, ["2024-07-01"])
    holds = db.tool.holds()
    refused = [item.refusal for item in db.tool.preview_restore(RestoreRequest())]
    refused += [item.error for item in db.tool.restore(RestoreRequest())]
    for why in refused:
        assert why is not None
        assert "is from an earlier table named" in why
        assert "--into" in why
    assert len(refused) == 4
    assert db.tool.holds() == holds
    assert db.count("readings") == 24
    assert db.tool.restore(RestoreRequest(name=first, into=db.table("beside")))[0].error is None
    for hold in holds:  # Only snapshots tell of the earlier table.
        db.tool.release(hold.id)
    assert db.tool.accept_tables("readings", db.schema) == [db.table("readings")]
    assert db.tool.restore(RestoreRequest(name=first))[0].error is None


def test_archives_of_two_tables(db: Database) -> None:
    """What was archived from two tables of one name is not mixed, not even beside them; each comes back alone."""
    db.policy("snapshot", "readings", "30d")
    create(db, True)
    for day in DAYS[:2]:
        write(db, [day])
        assert db.run().partitions == 1
        again(db, True)
    found = db.tool.restore(RestoreRequest(into=db.table("beside")))
    assert len(found) == 2
    assert all("another snapshot of this partition is of another table named" in str(item.error) for item in found)
    assert not db.exists("beside")
    (back,) = db.tool.restore(RestoreRequest(name=found[0].record.archived.name, into=db.table("beside")))
    assert (back.error, db.count("beside")) == (None, 24)


def test_hold_on_another_table(db: Database) -> None:
    """A hold keeps what has its name now as well, and it is said that another table was meant."""
    create(db, True)
    db.policy("delete", "readings", "30d")
    db.tool.hold("readings", db.schema, reason="audit")
    write(db, DAYS[:1])
    (hold,) = db.tool.plan().blocked
    assert "earlier table" not in hold.reason
    again(db, True)
    write(db, DAYS[:1])
    (hold,) = db.tool.plan().blocked
    assert "(audit), placed on an earlier table of this name" in hold.reason
    assert db.run().ok
    assert db.count("readings") == 24


@pytest.mark.parametrize("dropped", [True, *others_on_duckdb(False)])
def test_hold_of_a_restore(db: Database, dropped: bool) -> None:
    """
    A hold on restored rows keeps those of another table as well, and says that they are not what was restored; whether
    the table was there when they came back, or was created by that.
    """
    create(db, True)
    write(db, DAYS[:2])
    db.policy("snapshot", "readings", "30d")
    assert db.run().partitions == 1
    if dropped:
        db.sql(f"DROP TABLE {db.q('readings')}")
    (back,) = db.tool.restore(RestoreRequest(table_name="readings"))
    assert back.error is None
    (hold,) = db.tool.plan().blocked
    assert "earlier table" not in hold.reason
    again(db, True)
    write(db, DAYS[:1])
    report = db.run()
    assert (report.ok, report.blocked, report.partitions) == (True, 1, 0)
    (row,) = db.journal(event="blocked", run_id=report.run_id)
    assert "placed on an earlier table of this name; protected until the hold is released" in row["error"]
    db.tool.release(db.tool.holds()[0].id)
    assert db.run().partitions == 1


def freeze(crate: CrateDatabase, blocked: bool = True) -> None:
    """Let the partition of these tests refuse writes, or take them."""
    statement = f"ALTER TABLE {crate.q('readings')} PARTITION (month = '2024-05-01')"
    crate.sql(f'{statement} SET ("blocks.write" = {blocked})')


def interrupted(crate: CrateDatabase) -> None:
    """A run that ends right after it froze a partition, and can't unfreeze it any more."""
    create(crate, True)
    write(crate, DAYS[:1])
    crate.policy("snapshot", "readings", "30d")
    perform = crate.tool.engine.perform

    def freeze_only(step: Step, report: Report) -> StepResult:
        if not isinstance(step, FreezePartitions):
            raise DatabaseError("CrateDB", "is gone")
        return perform(step, report)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crate.tool.engine, "perform", freeze_only)
        assert crate.run().failed
    crate.forget_leases()
    crate.time.set("2024-05-20T00:00:00+00:00")  # Nothing is expired any more.


def test_frozen_in_another_table(crate: CrateDatabase) -> None:
    """What a killed run froze is not unfrozen in another table, where that partition is frozen for another reason."""
    interrupted(crate)
    again(crate, True)
    write(crate, DAYS[:1])
    freeze(crate)
    (warning,) = [text for text in map(str, crate.tool.plan().warnings) if "is read-only" in text]
    assert warning.startswith(f"{crate.schema}.readings: month=2024-05-01 is read-only")
    assert "accept-table" in warning
    assert crate.run().ok
    assert crate.frozen("readings") == 1
    crate.tool.accept_tables("readings", crate.schema)
    assert crate.run().ok
    assert crate.frozen("readings") == 0
    assert crate.count("retention_freeze", schema=crate.own_schema) == 0


def test_forgotten_with_its_table(crate: CrateDatabase) -> None:
    """Where nothing is frozen in another table, what was noted of the first is forgotten by the next run."""
    interrupted(crate)
    assert crate.count("retention_freeze", schema=crate.own_schema) == 1
    again(crate, True)
    write(crate, DAYS[:1])
    assert not crate.tool.plan().warnings
    assert crate.run().ok
    assert crate.count("retention_freeze", schema=crate.own_schema) == 0
    freeze(crate)
    assert crate.run().ok
    assert crate.frozen("readings") == 1


def test_frozen_in_the_same_table(crate: CrateDatabase) -> None:
    """Without that, the next run unfreezes it, as ever (law 7)."""
    interrupted(crate)
    assert crate.frozen("readings") == 1
    assert crate.run().ok
    assert crate.frozen("readings") == 0


def test_holds_alone_are_accepted(db: Database) -> None:
    """A hold on the earlier table is one on the accepted table then; one that is on no certain table stays so."""
    create(db, False)
    hold = db.tool.hold("readings", db.schema)
    db.sql(f"DROP TABLE {db.q('readings')}")
    db.tool.hold("readings", db.schema)
    create(db, False)
    earlier = db.tool.rollups.find_earlier(db.table("readings"))
    assert earlier is not None
    assert (earlier.rollups, earlier.snapshots, earlier.holds) == (0, 0, 1)
    assert db.tool.accept_tables("readings", db.schema) == [db.table("readings")]
    assert db.tool.rollups.find_earlier(db.table("readings")) is None
    identities = {each.id == hold.id: each.identity for each in db.tool.holds()}
    assert (identities[True] not in ("", hold.identity), identities[False]) == (True, "")


def test_nothing_to_accept(db: Database) -> None:
    """A table of which nothing is known is none that could be accepted, and neither is one that is not there."""
    create(db, False)
    for name in ("readings", "nothing"):
        with pytest.raises(NotFound):
            db.tool.accept_tables(name, db.schema)
