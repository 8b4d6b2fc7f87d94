"""
Bringing archived partitions back, on both engines: into their table and beside it, on hold, and only once.
"""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from cratedb_retention import RestoreRequest
from cratedb_retention.errors import NotFound
from cratedb_retention.model.archive import SnapshotStage
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.time import parse_instant
from support.databases import MONTH, TIME, CrateDatabase, Database
from support.tiers import DECIDED

BY_MONTH = {"ts": TIME, "n": "TEXT", "month": MONTH}
APRIL, MAY, JUNE = "2024-04-10T00:00:00Z", "2024-05-10T00:00:00Z", "2024-06-10T00:00:00Z"
CHOSEN = pytest.mark.long(
    "which snapshots are meant is decided from the same rows; make test has this on DuckDB", on="cratedb"
)


@pytest.fixture
def archived(db: Database) -> str:
    """A table of which April and May are archived and gone."""
    db.create("metrics", BY_MONTH, by=["month"])
    db.fill("metrics", [APRIL, MAY, MAY, JUNE])
    # What it takes to prove an archive before the drop is in test_archive_proof.py.
    db.policy("snapshot", "metrics", "30d", tags=["a"], verify="metadata")
    assert db.run().partitions == 2
    assert db.left("metrics") == [JUNE]
    return "metrics"


def test_back_into_the_table(db: Database, archived: str) -> None:
    """Both partitions come back with all rows, and can be written to."""
    restored = db.tool.restore(RestoreRequest(table_name=archived))
    assert [(r.rows, r.error) for r in restored] == [(1, None), (2, None)]
    assert db.left(archived) == [APRIL, MAY, MAY, JUNE]
    assert {record.stage for record in db.tool.snapshots()} == {SnapshotStage.RESTORED}
    assert not db.tool.store.freezes.all(), "nothing is left to unfreeze"
    db.fill(archived, [MAY])
    assert db.count(archived, f"month = '2024-05-01' AND ts = '{MAY}'") == 3
    (policy,) = db.tool.policies()
    found = [(row["outcome"], row["rows"], row["policy_id"], row["tags"]) for row in db.journal(event="restored")]
    assert sorted(found) == [("done", rows, policy.policy.id, ["a"]) for rows in (1, 2)]


def test_verify_keeps_to_its_own_schema(crate: CrateDatabase) -> None:
    """
    The copy is never in the schema of the users' tables; those that a killed verification or restore left are dropped.
    """
    crate.create("metrics", BY_MONTH, by=["month"])
    crate.fill("metrics", [APRIL, JUNE])
    crate.policy("snapshot", "metrics", "30d")
    assert crate.run().partitions == 1
    for left in ("retention_verify_0123456789ab", "retention_restore_0123456789ab_0"):
        crate.create(left, BY_MONTH, schema=crate.own_schema)
    with crate.statements() as sent:
        (verified,) = crate.tool.verify_snapshots()
    assert "counted 1 rows" in (verified.found or "")
    assert any("schema_rename_replacement" in statement for statement in sent)
    tables = crate.rows(
        "SELECT table_schema FROM information_schema.tables WHERE (table_name LIKE 'retention_verify%'"
        " OR table_name LIKE 'retention_restore%') AND table_schema IN (?, ?)",
        [crate.schema, crate.own_schema],
    )
    assert tables == []
    drops = [statement for statement in sent if statement.startswith("DROP TABLE")]
    assert drops and all(crate.own_schema in statement for statement in drops)
    assert crate.left("metrics") == [JUNE]


def test_killed_before_the_thaw(crate: CrateDatabase) -> None:
    """A restore that ends right after RESTORE leaves a partition frozen; the next run thaws it, and keeps its rows."""
    crate.create("metrics", BY_MONTH, by=["month"])
    crate.fill("metrics", [APRIL, JUNE])
    crate.policy("snapshot", "metrics", "30d")
    assert crate.run().partitions == 1

    def die(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if statement.startswith("ALTER TABLE"):
            raise KeyboardInterrupt

    engine = crate.tool.engine.database.engine
    sa.event.listen(engine, "before_cursor_execute", die)
    with pytest.raises(KeyboardInterrupt):
        crate.tool.restore(RestoreRequest(table_name="metrics"))
    sa.event.remove(engine, "before_cursor_execute", die)
    assert (crate.frozen("metrics"), crate.left("metrics")) == (1, [APRIL, JUNE])

    report = crate.run()
    assert (report.ok, report.partitions) == (True, 0)
    assert (crate.frozen("metrics"), crate.left("metrics")) == (0, [APRIL, JUNE])
    assert not crate.tool.store.freezes.all()
    crate.fill("metrics", [APRIL])
    assert crate.count("metrics") == 3


def test_there_already_and_frozen_by_hand(crate: CrateDatabase) -> None:
    """A restore that is refused leaves no note, so that nobody thaws what a person froze."""
    crate.create("metrics", BY_MONTH, by=["month"])
    crate.fill("metrics", [APRIL, JUNE])
    crate.policy("snapshot", "metrics", "30d")
    assert crate.run().partitions == 1
    crate.fill("metrics", [APRIL])
    crate.sql(f"ALTER TABLE {crate.q('metrics')} PARTITION (month = '2024-04-01') SET (\"blocks.write\" = true)")
    (restored,) = crate.tool.restore(RestoreRequest(table_name="metrics"))
    assert restored.error
    assert not crate.tool.store.freezes.all()
    assert crate.frozen("metrics") == 1


def test_on_hold_until_released(db: Database, archived: str) -> None:
    """What was restored stays; after its release, the next run archives it again."""
    first, second = db.tool.restore(RestoreRequest(table_name=archived))
    report = db.run()
    assert (report.done, report.blocked, report.ok) == (0, 1, True)
    assert db.left(archived) == [APRIL, MAY, MAY, JUNE]
    assert first.hold_id == second.hold_id
    (hold,) = db.tool.holds()
    assert (hold.id, str(hold.kind), hold.placed_by) == (first.hold_id, "restored", "tester")
    db.tool.release(hold.id)
    assert db.run().partitions == 2
    assert db.left(archived) == [JUNE]
    assert [v.error for v in db.tool.verify_snapshots()] == [None] * len(db.tool.snapshots())


@CHOSEN
def test_hold_covers_only_what_came_back(db: Database, archived: str) -> None:
    """Other partitions of the table expire as before."""
    db.tool.restore(RestoreRequest(table_name=archived, start=parse_instant("2024-05-01")))
    assert db.left(archived) == [MAY, MAY, JUNE]
    db.fill(archived, [APRIL])
    assert db.run().partitions == 1
    assert db.left(archived) == [MAY, MAY, JUNE]
    (may,) = (record for record in db.tool.snapshots() if record.stage is SnapshotStage.RESTORED)
    assert may.archived.rows == 2


@DECIDED
def test_restore_again(db: Database, archived: str) -> None:
    """Restored, released, archived and restored once more, nothing is lost."""
    for _ in range(2):
        restored = db.tool.restore(RestoreRequest(table_name=archived))
        assert [item.error for item in restored] == [None, None]
        db.tool.release(restored[0].hold_id or "")
        assert db.left(archived) == [APRIL, MAY, MAY, JUNE]
        assert db.run().ok
        assert db.left(archived) == [JUNE]


def test_partition_is_there(db: Database, archived: str) -> None:
    """A partition that exists is not mixed with the archived one; the error says so, and no hold is left."""
    db.fill(archived, ["2024-05-20T00:00:00Z"])
    refused = [item.refusal or "" for item in db.tool.preview_restore(RestoreRequest(table_name=archived))]
    assert ["the partition already exists" in why for why in refused] == [False, True]
    april, may = db.tool.restore(RestoreRequest(table_name=archived))
    assert (april.rows, april.error) == (1, None)
    assert "exist" in (may.error or "")
    assert db.left(archived) == [APRIL, "2024-05-20T00:00:00Z", JUNE]
    assert [hold.id for hold in db.tool.holds()] == [april.hold_id]
    assert sorted(str(row["outcome"]) for row in db.journal(event="restored")) == ["done", "failed"]


@CHOSEN
def test_holds_of_two_tables(db: Database, archived: str) -> None:
    """The hold on what came back into one table says nothing of what did not come back into another one."""
    db.create("others", BY_MONTH, by=["month"])
    db.fill("others", [APRIL, JUNE])
    db.policy("snapshot", "others", "30d")
    assert db.run().partitions == 1
    db.fill(archived, [APRIL])
    found = db.tool.restore(RestoreRequest(table_schema=db.schema, table_name="*"))
    assert [item.error is None for item in found] == [False, True, True]
    assert {hold.table_name: str(hold.where["month"])[:7] for hold in db.tool.holds()} == {
        archived: "2024-05",
        "others": "2024-04",
    }
    assert db.run().partitions == 1
    assert (db.left(archived), db.left("others")) == ([MAY, MAY, JUNE], [APRIL, JUNE])


@CHOSEN
def test_twice_in_a_row(db: Database, archived: str) -> None:
    """A second restore fails, and the first one's rows and holds stay."""
    request = RestoreRequest(table_name=archived)
    assert all(restored.error is None for restored in db.tool.restore(request))
    assert all(restored.error for restored in db.tool.restore(request))
    assert db.left(archived) == [APRIL, MAY, MAY, JUNE]
    assert db.run().done == 0
    assert db.left(archived) == [APRIL, MAY, MAY, JUNE]


def test_beside_the_table(db: Database, archived: str) -> None:
    """Several partitions go into one table beside the original, which is not touched and needs no hold."""
    into = TableName(db.schema, "metrics_restored")
    restored = db.tool.restore(RestoreRequest(table_name=archived, into=into))
    assert [(r.rows, r.error, r.hold_id) for r in restored] == [(1, None, None), (2, None, None)]
    assert db.left("metrics_restored") == [APRIL, MAY, MAY]
    assert db.count("metrics_restored", "month = '2024-05-01'") == 2
    assert db.left(archived) == [JUNE]
    assert db.tool.holds() == []
    assert {record.stage for record in db.tool.snapshots()} == {SnapshotStage.ARCHIVED}
    assert [row["table_name"] for row in db.journal(event="restored")] == ["metrics_restored"] * 2


def test_beside_the_table_is_writable(crate: CrateDatabase) -> None:
    """The copy can be written to, though its partitions were frozen when they were archived."""
    crate.create("metrics", BY_MONTH, by=["month"])
    crate.fill("metrics", [MAY, JUNE])
    crate.policy("snapshot", "metrics", "30d")
    crate.run()
    crate.tool.restore(RestoreRequest(table_name="metrics", into=TableName(crate.schema, "copy")))
    crate.fill("copy", [MAY])
    assert crate.count("copy") == 2


def test_beside_twice(db: Database, archived: str) -> None:
    """Restoring the same into the same table again doubles nothing."""
    request = RestoreRequest(table_name=archived, into=TableName(db.schema, "copy"))
    db.tool.restore(request)
    assert all(restored.error for restored in db.tool.restore(request))
    assert db.left("copy") == [APRIL, MAY, MAY]


@CHOSEN
def test_two_partitions_into_one(db: Database, archived: str) -> None:
    """Two tables whose partitions have the same values do not go into one: the second of them is refused before."""
    db.create("others", BY_MONTH, by=["month"])
    db.fill("others", [APRIL, JUNE])
    db.policy("snapshot", "others", "30d")
    assert db.run().partitions == 1
    found = db.tool.preview_restore(RestoreRequest(into=TableName(db.schema, "copy")))
    assert [(item.record.archived.table.name, "same values" in (item.refusal or "")) for item in found] == [
        ("metrics", False),
        ("metrics", False),
        ("others", True),
    ]
    db.drop_snapshot(found[0].record.archived.name)
    found = db.tool.preview_restore(RestoreRequest(into=TableName(db.schema, "copy")))
    assert [item.refusal is None for item in found] == [False, True, True], "one refusal does not block others"


def test_into_another_schema(db: Database, archived: str) -> None:
    """A table beside the original may be in another schema, the toolkit's for example."""
    into = TableName(db.own_schema, "from_archive")
    (restored,) = db.tool.restore(RestoreRequest(table_name=archived, end=parse_instant("2024-05-01"), into=into))
    assert (restored.rows, restored.error) == (1, None)
    assert db.left("from_archive", schema=db.own_schema) == [APRIL]


@CHOSEN
def test_time_range(db: Database, archived: str) -> None:
    """Only what reaches into the range comes back; the range ends before its end."""
    db.tool.restore(
        RestoreRequest(
            table_name=archived, start=parse_instant("2024-04-30T23:00:00Z"), end=parse_instant("2024-05-01")
        )
    )
    assert db.left(archived) == [APRIL, JUNE]
    with pytest.raises(NotFound):
        db.tool.restore(RestoreRequest(table_name=archived, start=parse_instant("2024-06-01")))


@CHOSEN
def test_by_name(db: Database, archived: str) -> None:
    """One snapshot by its name, or by six characters of its beginning."""
    april, _ = db.tool.snapshots()
    with pytest.raises(NotFound, match="none matches"):
        db.tool.restore(RestoreRequest(name=april.archived.name[:5]))
    (restored,) = db.tool.restore(RestoreRequest(name=april.archived.name[:-3]))
    assert restored.record.archived.name == april.archived.name
    assert db.left(archived) == [APRIL, JUNE]


@CHOSEN
def test_unknown_name(db: Database, archived: str) -> None:
    """A name that no snapshot has."""
    with pytest.raises(NotFound, match="none matches"):
        db.tool.restore(RestoreRequest(name="no-such-snapshot"))
    assert db.left(archived) == [JUNE]


@CHOSEN
def test_pattern(db: Database, archived: str) -> None:
    """Tables by pattern, of one schema."""
    request = RestoreRequest(table_schema=db.schema, table_name="met*")
    assert len(db.tool.restore(request)) == 2
    with pytest.raises(NotFound):
        db.tool.restore(RestoreRequest(table_schema="elsewhere", table_name="*"))


@CHOSEN
def test_all_of_several(db: Database, archived: str) -> None:
    """The earlier one can be had by its name, beside the table, so that no archived row is out of reach."""
    _, may = db.tool.snapshots()
    db.time.set("2024-07-03T00:00:00+00:00")
    db.fill(archived, ["2024-05-31T00:00:00Z"])
    db.run()
    into = TableName(db.schema, "earlier")
    (restored,) = db.tool.restore(RestoreRequest(name=may.archived.name, into=into))
    assert restored.rows == 2
    assert db.left("earlier") == [MAY, MAY]


def test_verify(db: Database, archived: str) -> None:
    """Snapshots that are complete are found so, and verifying leaves nothing behind."""
    tables = db.rows("SELECT count(*) FROM information_schema.tables WHERE table_schema = ?", [db.schema])
    april, may = db.tool.verify_snapshots()
    assert (april.error, may.error) == (None, None)
    assert "1 rows" in (april.found or "") and "2 rows" in (may.found or "")
    none = [RestoreRequest(repository="nosuch"), RestoreRequest(name="nosuch"), RestoreRequest(table_schema="nosuch")]
    for request in (*none, RestoreRequest(start=db.time.moment), RestoreRequest(end=parse_instant("2024-04-01"))):
        with pytest.raises(NotFound, match="none matches"):
            db.tool.verify_snapshots(request)
    assert db.rows("SELECT count(*) FROM information_schema.tables WHERE table_schema = ?", [db.schema]) == tables


def test_verify_finds_what_is_gone(db: Database, archived: str) -> None:
    """A snapshot that somebody deleted is found, and the others are still verified."""
    april, _ = db.tool.snapshots()
    db.drop_snapshot(april.archived.name)
    first, second = db.tool.verify_snapshots()
    assert first.error and second.error is None
    ends = {row["outcome"]: (row["error"], row["table_name"]) for row in db.journal(event="verified")}
    assert ends == {"failed": (first.error, archived), "done": (None, archived)}
    (restored,) = db.tool.restore(RestoreRequest(name=april.archived.name))
    assert restored.error
    assert db.left(archived) == [JUNE]
    assert db.tool.holds() == []


def test_verify_counts_rows(crate: CrateDatabase) -> None:
    """A snapshot that can be restored, and has other than as many rows as were archived, is no archive of them."""
    crate.create("metrics", BY_MONTH, by=["month"])
    crate.fill("metrics", [APRIL, JUNE])
    crate.policy("snapshot", "metrics", "30d")
    assert crate.run().partitions == 1
    crate.refresh("retention_snapshot", crate.own_schema)
    crate.sql(f'UPDATE {crate.q("retention_snapshot", crate.own_schema)} SET "rows" = 2')
    (verified,) = crate.tool.verify_snapshots()
    assert "holds 1 rows, but 2 were archived" in (verified.error or "")


def test_verify_finds_damage(db: Database, archived: str) -> None:
    """A snapshot whose files were damaged on the disk is found, and restoring it brings no half of it."""
    files = [path for path in db.snapshot_files() if path.stat().st_size]
    assert files
    for path in files:
        path.write_bytes(path.read_bytes()[:-40][::-1])
    found = db.tool.verify_snapshots()
    assert all(verified.error for verified in found)
    assert all(restored.error for restored in db.tool.restore(RestoreRequest(table_name=archived)))
    assert db.left(archived) == [JUNE]
    db.fill(archived, [MAY])
    assert db.left(archived) == [MAY, JUNE]
    assert db.tool.holds() == []


def test_table_is_gone(crate: CrateDatabase) -> None:
    """On CrateDB a partition comes back even if its table was dropped."""
    crate.create("metrics", BY_MONTH, by=["month"])
    crate.fill("metrics", [MAY, JUNE])
    crate.policy("snapshot", "metrics", "30d")
    crate.run()
    crate.sql(f"DROP TABLE {crate.q('metrics')}")
    (restored,) = crate.tool.restore(RestoreRequest(table_name="metrics"))
    assert restored.error is None
    assert crate.left("metrics") == [MAY]
