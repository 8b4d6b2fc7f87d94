"""
A full disk on CrateDB: at the flood stage every table with shards on it can only be read and dropped, the toolkit's own
among them (``blocks.read_only_allow_delete``). What is expired goes nevertheless, with a lease and a journal; what
needs room waits, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from cratedb_retention.engine.cratedb import connection
from cratedb_retention.engine.cratedb.archive import OF_RUN
from cratedb_retention.errors import ClusterUnhealthy, Conflict, DiskFull
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.plan.reasons import Why
from support.databases import MONTH, TIME, CrateDatabase, before_statements
from support.sql import SqlClient, SqlError, Unreachable, quoted

BLOCK = '"blocks.read_only_allow_delete"'
MONTHS = ("2024-03-10", "2024-04-10", "2024-05-10", "2024-06-10")


@pytest.fixture(autouse=True)
def unwatched(crate: CrateDatabase) -> Iterator[None]:
    """
    CrateDB looks at its disks twice a minute, and would find that there is room. A look that is due already takes place
    nevertheless, so the servers of tests are started like that.
    """
    crate.sql("SET GLOBAL TRANSIENT \"cluster.info.update.interval\" = '1h'")
    yield
    set_full(crate, False)
    crate.sql('RESET GLOBAL "cluster.info.update.interval"')


def set_full(db: CrateDatabase, full: bool = True, *schemas: str) -> None:
    """Do to all tables and partitions what CrateDB does where a disk is full, and when there is room again."""
    places = schemas or (db.schema, db.own_schema)
    within = f"table_schema IN ({', '.join('?' * len(places))})"
    tables = f"SELECT table_schema, table_name FROM information_schema.tables WHERE partitioned_by IS NULL AND {within}"
    parts = f'SELECT table_schema, table_name, "values" FROM information_schema.table_partitions WHERE {within}'
    change = f"SET ({BLOCK} = true)" if full else f"RESET ({BLOCK})"
    for schema, name, *values in (*db.rows(f"{tables} AND table_type = 'BASE TABLE'", places), *db.rows(parts, places)):
        of = ", ".join(f"{quoted(column)} = {value!r}" for found in values for column, value in found.items())
        db.sql(f"ALTER TABLE {db.q(name, schema)} {f'PARTITION ({of})' if of else ''} {change}")


def create(db: CrateDatabase, name: str = "readings", by: str | None = "month") -> None:
    """A table with a row in each of four months."""
    columns = {"ts": TIME, "n": "TEXT", "x": "DOUBLE PRECISION", **({by: MONTH} if by else {})}
    db.create(name, columns, [by] if by else [])
    db.fill(name, MONTHS, x=1.0)


def is_full(db: CrateDatabase, name: str) -> bool:
    """Whether a table refuses rows."""
    try:
        db.sql(f"INSERT INTO {db.q(name)} (ts, n) VALUES ('2024-06-11', 'one more')")
    except SqlError as error:
        assert "read-only / allow delete" in str(error)
        return True
    return False


@pytest.mark.parametrize("tables", [1, 3])
def test_whole_partitions_go(crate: CrateDatabase, tables: int) -> None:
    """Under leases, and with all of it in the journal; the user's tables stay as CrateDB made them."""
    names = [f"readings_{number}" for number in range(tables)]
    for name in names:
        create(crate, name)
        crate.policy("delete", name, "30d", schedule="@daily")
    set_full(crate)
    plan = crate.tool.plan()
    assert not plan.blocked
    report = crate.run()
    assert report.ok
    assert report.partitions == 3 * tables
    assert all(crate.left(name) == ["2024-06-10"] for name in names)
    assert all(is_full(crate, name) for name in names)
    assert len(crate.journal(event=Event.RUN_STARTED)) == len(crate.journal(event=Event.RUN_FINISHED)) == 1
    for event in (Event.STEP_STARTED, Event.STEP_FINISHED):
        assert sorted(row["table_name"] for row in crate.journal(event=event)) == names
    crate.refresh("lease", crate.own_schema)
    leases = crate.rows(f"SELECT holder, outcome FROM {crate.q('lease', crate.own_schema)}")
    assert [list(row) for row in leases] == [[None, Outcome.DONE]] * tables
    assert not crate.tool.plan().tasks


def test_partitions_of_text_go(crate: CrateDatabase) -> None:
    """To freeze a partition is no write, so that those of which only the rows tell the age go as well."""
    crate.create("texts", {"ts": TIME, "n": "TEXT", "part": "TEXT"}, by=["part"])
    crate.fill("texts", ["2024-05-01"], part="a")
    crate.fill("texts", ["2024-05-02", "2024-07-01"], part="b")
    crate.policy("delete", "texts", "30d", partition_column="part")
    set_full(crate)
    assert crate.run().ok
    assert crate.left("texts") == ["2024-05-02", "2024-07-01"]
    assert crate.count("retention_freeze", schema=crate.own_schema) == 0


def test_the_disk_is_noticed_again_and_again(crate: CrateDatabase) -> None:
    """CrateDB makes tables read-only anew, twice a minute: also between two statements, and in the middle of a run."""
    for name in ("one", "two", "three"):
        create(crate, name)
        crate.policy("delete", name, "30d")
    set_full(crate)
    seen: list[str] = []

    def again(statement: str) -> None:
        seen.append(statement)
        if statement.startswith(("INSERT", "UPDATE")) and seen.count(statement) == 1:
            set_full(crate, True, crate.own_schema)

    with before_statements(crate.tool.engine.database.engine, again):
        report = crate.run()
    assert report.ok
    assert report.partitions == 9
    finished = crate.journal(event=Event.STEP_FINISHED, outcome=Outcome.DONE)
    assert sorted(row["table_name"] for row in finished) == ["one", "three", "two"]


def test_a_plan_changes_nothing(crate: CrateDatabase) -> None:
    """Only what writes makes the toolkit's tables writable again."""
    create(crate)
    crate.policy("delete", "readings", "30d")
    set_full(crate)
    assert len(crate.tool.plan().tasks) == 1
    with pytest.raises(SqlError, match="read-only / allow delete"):
        crate.sql(
            f"INSERT INTO {crate.q('retention_hold', crate.own_schema)} (id, table_name, kind) VALUES ('a','b','c')"
        )


def test_holds_and_policies(crate: CrateDatabase) -> None:
    """What a person wants of the toolkit then is done: a hold protects, a policy is changed."""
    create(crate)
    set_full(crate)
    policy = crate.policy("delete", "readings", "30d")
    hold = crate.tool.hold("readings", table_schema=crate.schema)
    assert crate.run().partitions == 0
    crate.tool.release(hold.id)
    assert policy.id
    assert crate.run().partitions == 3


def test_archiving_waits(crate: CrateDatabase) -> None:
    """Verifying a snapshot needs room; nothing is frozen, and nothing archived. What a killed run left is tidied up."""
    create(crate)
    copy = f"{OF_RUN}0123456789ab"
    crate.create(copy, {"ts": TIME, "n": "TEXT", "month": MONTH}, ["month"], schema=crate.own_schema)
    crate.fill(copy, MONTHS, schema=crate.own_schema)
    crate.policy("snapshot", "readings", "30d")
    set_full(crate)
    report = crate.run()
    assert not report.ok
    assert not crate.exists(copy, crate.own_schema)
    assert [(hold.reason, hold.count, hold.needs_attention) for hold in crate.tool.plan().blocked] == [
        (str(Why.DISK_FULL()), 3, True)
    ]
    assert not crate.snapshot_names()
    assert crate.frozen("readings") == 0
    assert crate.count("readings") == 4
    set_full(crate, False)
    assert crate.run().ok
    assert crate.left("readings") == ["2024-06-10"]
    assert len(crate.snapshot_names()) == 3


def test_rollups_wait_and_what_they_have_goes(crate: CrateDatabase) -> None:
    """Raw rows that are rolled up expire; those that are not stay until there is room."""
    create(crate)
    crate.time.set("2024-05-01T00:00:00+00:00")
    crate.policy("downsample", "readings", "60d", levels="1d:forever", metrics=["x"])
    assert crate.run().ok
    crate.time.set("2024-07-15T00:00:00+00:00")
    set_full(crate)
    report = crate.run()
    assert not report.ok
    assert not report.failed
    assert crate.left("readings") == ["2024-05-10", "2024-06-10"]
    assert crate.count("readings_1d") == 2
    plan = crate.tool.plan()
    assert str(Why.DISK_FULL()) in {hold.reason for hold in plan.needs_attention}
    assert not plan.tasks
    set_full(crate, False)
    assert crate.run().ok
    assert crate.count("readings_1d") == 4
    assert crate.left("readings") == ["2024-05-10", "2024-06-10"]
    assert not crate.tool.verify_rollups("readings", crate.schema)


def test_full_in_the_middle_of_a_run(crate: CrateDatabase) -> None:
    """CrateDB then rolls up nothing, without an error; the run says why, and the next one with room does it."""
    create(crate)
    crate.policy("downsample", "readings", "30d", levels="1d:forever", metrics=["x"])
    crate.time.set("2024-05-02T00:00:00+00:00")
    assert crate.run().ok
    crate.time.set("2024-07-02T00:00:00+00:00")
    prepared = crate.tool.prepare()
    set_full(crate)
    report = crate.tool.run(prepared)
    assert report.failed == 1
    (row,) = crate.journal(event=Event.STEP_FINISHED, outcome=Outcome.FAILED, operation="roll_up")
    assert "a disk is full, so writes are rejected" in row["error"]
    assert "2024-05-10" in crate.left("readings")
    set_full(crate, False)
    assert crate.run().ok
    assert crate.count("readings_1d") == 4
    assert not crate.tool.verify_rollups("readings", crate.schema)


def test_a_new_cascade_waits(crate: CrateDatabase) -> None:
    """Neither its tables nor its view are created on a full disk, and no raw row goes."""
    create(crate)
    crate.policy("downsample", "readings", "30d", levels="1d:forever", metrics=["x"])
    set_full(crate)
    assert not crate.run().ok
    assert not crate.exists("readings_1d")
    assert crate.count("readings") == 4
    set_full(crate, False)
    assert crate.run().ok
    assert crate.count("readings_1d") == 4


def test_rows_wait(crate: CrateDatabase) -> None:
    """CrateDB refuses to delete them; that is told before it is tried, and nobody else's block is lifted for it."""
    create(crate, by=None)
    crate.policy("delete", "readings", "30d")
    set_full(crate)
    assert not crate.run().failed
    assert [hold.reason for hold in crate.tool.plan().needs_attention] == [str(Why.NO_ROWS_GO())]
    assert is_full(crate, "readings")
    with pytest.raises(DiskFull, match="a disk is full"):
        crate.tool.engine.database.execute_text(f"UPDATE {crate.q('readings')} SET n = 'changed'")
    set_full(crate, False)
    assert crate.run().ok
    assert crate.left("readings") == ["2024-06-10"]


def test_no_room_at_all(crate: CrateDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write without room would break a shard, so none is tried: no lease, and nothing is removed."""
    create(crate)
    crate.policy("delete", "readings", "30d")
    set_full(crate)
    monkeypatch.setattr(connection, "ROOM", 2**60)
    with pytest.raises(DiskFull, match="has no space even for the audit log"):
        crate.run()
    assert crate.count("readings") == 4


def test_many_rows_of_which_one_fails(crate: CrateDatabase) -> None:
    """CrateDB answers such a request as if all was well; the toolkit does not."""
    crate.create("keyed", {"n": "BIGINT PRIMARY KEY"})
    table = sa.table("keyed", sa.column("n", sa.BigInteger), schema=crate.schema)
    crate.insert("keyed", [{"n": 1}])
    with pytest.raises(Conflict):
        crate.tool.engine.database.execute(sa.insert(table), [{"n": 1}, {"n": 2}])
    assert crate.count("keyed") == 2


def test_own_table_that_no_node_took(new_crate: CrateDatabase) -> None:
    """The audit log may lack a new month for which there is no room; of holds no shard may be missing (law 6)."""
    new_crate.set_up()
    create(new_crate)
    new_crate.policy("delete", "readings", "30d")
    own = new_crate.table("retention_hold", new_crate.own_schema)
    [[definition]] = new_crate.rows(f"SHOW CREATE TABLE {quoted(*own)}")
    nowhere = "number_of_replicas = 0, \"routing.allocation.require.storage\" = 'nowhere'"
    new_crate.sql(f"DROP TABLE {quoted(*own)}")
    with pytest.raises(Unreachable):  # CrateDB waits half a minute for a node; the table is there at once.
        SqlClient(new_crate.server.uri, timeout=1).sql(re.sub("number_of_replicas = '[^']*'", nowhere, definition))
    assert new_crate.tool.engine.unplaced(new_crate.own_schema) == {own}
    with pytest.raises(ClusterUnhealthy, match="which may contain policies or holds"):
        new_crate.run()
    assert new_crate.count("readings") == len(MONTHS)
