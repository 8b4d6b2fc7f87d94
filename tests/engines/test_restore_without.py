"""
Archives outlive their table, its columns, and the toolkit's own tables, on both engines.
"""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from cratedb_retention import RestoreRequest
from cratedb_retention.errors import NotFound
from cratedb_retention.model.archive import SnapshotStage
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.time import parse_instant
from support.databases import MONTH, TIME, CrateDatabase, Database, DuckDatabase
from support.tiers import DECIDED, others_on_duckdb

COLUMNS = {"ts": TIME, "n": "TEXT", "tenant": "TEXT", "month": MONTH}
APRIL, MAY, LATE, JUNE = (f"2024-{day}T00:00:00Z" for day in ("04-10", "05-10", "05-20", "06-10"))
ALL = RestoreRequest(table_name="metrics")
ALIKE = pytest.mark.long("make test has others there that restore what was adopted, and all on DuckDB", on="cratedb")


@pytest.fixture
def archived(db: Database) -> str:
    """A table of which April, and May in two snapshots, are archived and gone."""
    db.create("metrics", COLUMNS, by=["tenant", "month"])
    db.fill("metrics", [APRIL, MAY, JUNE], tenant="it's")
    # What it takes to prove an archive before the drop is in test_archive_proof.py.
    db.policy("snapshot", "metrics", "30d", verify="metadata")
    assert db.run().partitions == 2
    db.fill("metrics", [LATE], tenant="it's")
    assert db.run().partitions == 1
    return "metrics"


def restore(db: Database, request: RestoreRequest = ALL) -> None:
    """Restore all of it, as a preview says."""
    assert {item.refusal for item in db.tool.preview_restore(request)} == {None}
    assert {item.error for item in db.tool.restore(request)} == {None}


def beside(db: Database) -> RestoreRequest:
    """All of it, beside the table."""
    return RestoreRequest(table_name="metrics", into=TableName(db.schema, "beside"))


def test_table_is_gone(db: Database, archived: str) -> None:
    """Beside it, and as itself: with its generated column, so that policies know its partitions."""
    db.sql(f"DROP TABLE {db.q(archived)}")
    restore(db, beside(db))
    assert db.left("beside") == [APRIL, MAY, LATE]
    assert db.count("beside", "month = '2024-05-01' AND tenant = 'it''s'") == 2
    restore(db)
    assert db.left(archived) == [APRIL, MAY, LATE]
    db.fill(archived, [JUNE], tenant="it's")
    assert db.count(archived, "month = '2024-06-01'") == 1
    (hold,) = db.tool.holds()
    assert db.run().partitions == 0
    db.tool.release(hold.id)
    assert db.run().partitions == 2
    assert db.left(archived) == [JUNE]


@ALIKE
def test_table_is_gone_and_its_partition_again(db: Database, archived: str) -> None:
    """A table that a restore created is the archived one: more can be restored into it, and goes on hold."""
    db.sql(f"DROP TABLE {db.q(archived)}")
    restore(db)
    db.sql(f"DELETE FROM {db.q(archived)} WHERE month = '2024-04-01'")
    db.refresh(archived)
    restore(db, replace(ALL, end=parse_instant("2024-05-01")))
    assert db.left(archived) == [APRIL, MAY, LATE]
    assert db.run().partitions == 0


def test_schema_is_gone(duck: DuckDatabase) -> None:
    """With its schema, too; beside it, generated columns are plain ones."""
    duck.create("metrics", COLUMNS, by=["tenant", "month"], schema="other")
    duck.fill("metrics", [MAY], schema="other", tenant="a")
    duck.policy("snapshot", "metrics", "30d", table_schema="other")
    assert duck.run().partitions == 1
    duck.sql("DROP SCHEMA other CASCADE")
    restore(duck, beside(duck))
    restore(duck)
    assert duck.left("metrics", schema="other") == [MAY]
    generated = "SELECT table_name FROM duckdb_tables() WHERE contains(sql, 'GENERATED') AND table_name IN (?, ?)"
    assert duck.rows(generated, ["metrics", "beside"]) == [("metrics",)]  # Beside it, values are as they were archived.


@pytest.mark.parametrize("change", ["RENAME COLUMN n TO m", *others_on_duckdb("DROP COLUMN n")])
def test_column_is_gone(db: Database, archived: str, change: str) -> None:
    """Into its table, it would lose values: refused in one line, and nothing is left; beside it, all is there."""
    db.sql(f"ALTER TABLE {db.q(archived)} {change}")
    rows = db.count(archived)
    found = db.tool.restore(ALL)
    assert all("'n'" in str(item.error) or "[n]" in str(item.error) for item in found)
    assert all("Restore it into another table, with --into" in str(item.error) for item in found)
    assert db.count(archived) == rows
    assert db.tool.holds() == []
    assert {record.stage for record in db.tool.snapshots()} == {SnapshotStage.ARCHIVED}
    restore(db, beside(db))
    assert db.left("beside") == [APRIL, MAY, LATE]


@DECIDED
def test_column_came(db: Database, archived: str) -> None:
    """A column that was added since is NULL; snapshots from before and after that go into one table."""
    db.sql(f"ALTER TABLE {db.q(archived)} ADD COLUMN extra INTEGER")
    db.insert(archived, [{"ts": "2024-05-25T00:00:00Z", "n": "with", "tenant": "it's", "extra": 7}])
    assert db.run().partitions == 1
    restore(db)
    assert db.left(archived, "extra IS NULL") == [APRIL, MAY, LATE, JUNE]
    assert db.left(archived, "extra = 7") == ["with"]
    restore(db, beside(db))
    assert db.left("beside", "extra = 7") == ["with"]
    assert db.count("beside") == 4


def test_column_went(duck: DuckDatabase) -> None:
    """A table that is made for several partitions has the columns of all of them, also one that the latest lacks."""
    duck.create("metrics", COLUMNS, by=["tenant", "month"])
    duck.policy("snapshot", "metrics", "30d")
    duck.fill("metrics", [APRIL], tenant="a")
    assert duck.run().partitions == 1
    duck.sql("ALTER TABLE lab.metrics DROP COLUMN n")
    duck.insert("metrics", [{"ts": MAY, "tenant": "a"}])
    assert duck.run().partitions == 1
    restore(duck, beside(duck))
    assert duck.rows("SELECT n FROM lab.beside ORDER BY ts") == [(APRIL,), (None,)]


def test_type_changed(duck: DuckDatabase) -> None:
    """A value that would not be the same in the table as it is now is refused; one that fits comes back."""
    duck.create("metrics", {**COLUMNS, "v": "DOUBLE", "w": "INTEGER"}, by=["tenant", "month"])
    duck.insert("metrics", [{"ts": MAY, "n": "a", "tenant": "a", "v": 1.5, "w": 3}])
    duck.policy("snapshot", "metrics", "30d")
    assert duck.run().partitions == 1
    duck.sql("ALTER TABLE lab.metrics ALTER w TYPE BIGINT")
    restore(duck)
    assert duck.rows("SELECT v, w FROM lab.metrics") == [(1.5, 3)]
    duck.sql("DELETE FROM lab.metrics")
    duck.sql("ALTER TABLE lab.metrics ALTER v TYPE INTEGER")
    (item,) = duck.tool.restore(ALL)
    assert "column 'v' was DOUBLE and is INTEGER; 1 row would change" in str(item.error)
    assert duck.count("metrics") == 0


def test_rows_that_would_be_elsewhere(duck: DuckDatabase) -> None:
    """Where the table cuts time otherwise by now, rows would come back to other partitions: nothing of it is kept."""
    duck.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    duck.fill("metrics", [MAY, LATE])
    duck.policy("snapshot", "metrics", "30d")
    assert duck.run().partitions == 1
    duck.sql("DROP TABLE lab.metrics")
    duck.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH.replace("'month'", "'week'")}, by=["month"])
    duck.tool.accept_tables("metrics", duck.schema)
    (item,) = duck.tool.restore(ALL)
    assert "only 0 of 2 rows arrived; nothing was restored" in str(item.error)
    assert duck.left("metrics") == []


def lose(db: Database) -> None:
    """The toolkit's own tables are gone, and new ones are made."""
    for (name,) in db.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = ?", [db.own_schema]):
        db.sql(f"DROP TABLE {db.q(name, db.own_schema)}")
    db.tool.store.is_there = False
    db.set_up()


@pytest.mark.parametrize("gone", [True, *others_on_duckdb(False)])
@DECIDED
def test_adopted(db: Database, archived: str, gone: bool) -> None:
    """Snapshots are adopted from the repository alone, shown before; the table may be gone as well."""
    before = {r.key: (r.archived.columns, r.partition, r.archived.start, r.archived.end) for r in db.tool.snapshots()}
    known = {item.record.key: item.record for item in db.tool.adopt_snapshots(db.repository) if item.known}
    assert known == {record.key: record for record in db.tool.snapshots()}, "with their policies, as recorded"
    lose(db)
    if gone:
        db.sql(f"DROP TABLE {db.q(archived)}")
    shown = db.tool.adopt_snapshots(db.repository, dry_run=True)
    assert [item.known for item in shown] == [False] * 3
    assert db.tool.snapshots() == []
    assert len(db.tool.adopt_snapshots(db.repository)) == 3
    assert [item.known for item in db.tool.adopt_snapshots(db.repository)] == [True] * 3
    of = {record.key: (record.archived, record.partition) for record in db.tool.snapshots()}
    after = {key: (_plain(a.columns), partition, a.start, a.end) for key, (a, partition) in of.items()}
    assert after == {key: (_plain(columns), *rest) for key, (columns, *rest) in before.items()}
    assert {record.stage for record in db.tool.snapshots()} == {SnapshotStage.ARCHIVED}
    assert [verified.error for verified in db.tool.verify_snapshots()] == [None] * 3
    assert len(db.journal(event="adopted")) == 3
    restore(db)
    assert db.left(archived) == [APRIL, MAY, LATE, *([] if gone else [JUNE])]
    if isinstance(db, CrateDatabase):
        assert len(db.snapshot_names()) == 3


def _plain(columns: tuple[object, ...]) -> list[str]:
    return [getattr(column, "name", "") for column in columns]


def test_adopted_with_some_equal_rows(duck: DuckDatabase) -> None:
    """An adopted snapshot counts as contained in a larger one of its partition only if all of its rows are in that."""
    duck.create("metrics", COLUMNS, by=["tenant", "month"])
    duck.policy("snapshot", "metrics", "30d")
    days = [[MAY, LATE], [LATE, "2024-05-25T00:00:00Z", "2024-05-28T00:00:00Z"]]
    for some in days:
        duck.fill("metrics", some, tenant="a")
        assert duck.run().partitions == 1
    lose(duck)
    duck.tool.adopt_snapshots(duck.repository)
    assert [record.stage for record in duck.tool.snapshots()] == [SnapshotStage.ARCHIVED] * 2
    restore(duck)
    assert duck.left("metrics") == sorted(days[0] + days[1])


@DECIDED
def test_adopted_after_a_restore(db: Database, archived: str) -> None:
    """Of a partition that was restored and archived again, adopted snapshots do not bring rows twice."""
    may = RestoreRequest(table_name="metrics", name=db.tool.snapshots()[-1].archived.name)
    restore(db, may)
    (hold,) = db.tool.holds()
    db.tool.release(hold.id)
    db.fill(archived, ["2024-05-25T00:00:00Z"], tenant="it's")
    assert db.run().partitions == 1
    lose(db)
    db.tool.adopt_snapshots(db.repository)
    restore(db)
    assert db.left(archived) == [APRIL, MAY, LATE, "2024-05-25T00:00:00Z", JUNE]


@ALIKE
def test_adopted_alike(db: Database) -> None:
    """Rows that look like those of an earlier snapshot are rows of their own, also after the snapshots are adopted."""
    db.create("metrics", COLUMNS, by=["tenant", "month"])
    db.policy("snapshot", "metrics", "30d")
    for _ in range(2):
        db.fill("metrics", [MAY], tenant="a")
        assert db.run().partitions == 1
    if isinstance(db, DuckDatabase):  # What a run that was killed left of another one.
        name = db.tool.snapshots()[0].archived.name
        path = db.manifest(name)
        shutil.copy(path, path.with_name(f".{path.name}.partial"))
        shutil.copy(path, path.with_name(f".{path.name}"))
        there = db.tool.engine.archive.contents(db.repository).snapshots
        assert there == {record.archived.name for record in db.tool.snapshots()}
    lose(db)
    db.tool.adopt_snapshots(db.repository)
    assert [record.stage for record in db.tool.snapshots()] == [SnapshotStage.ARCHIVED] * 2
    restore(db)
    assert db.left("metrics") == [MAY, MAY]


@ALIKE
def test_adopted_beside_its_partition(db: Database, archived: str) -> None:
    """Snapshots whose partition is in its table count as restored: archived again, each row comes back once."""
    restore(db)
    lose(db)
    db.tool.adopt_snapshots(db.repository)
    assert {record.stage for record in db.tool.snapshots()} == {SnapshotStage.RESTORED}
    db.policy("snapshot", "metrics", "30d")
    db.fill(archived, ["2024-05-25T00:00:00Z"], tenant="it's")
    assert db.run().partitions == 2
    restore(db)
    assert db.left(archived) == [APRIL, MAY, LATE, "2024-05-25T00:00:00Z", JUNE]


def test_restored_from_the_repository(db: Database, archived: str) -> None:
    """Without adopting before, into its table and beside it; the hold is there, and what is restored is known."""
    lose(db)
    request = RestoreRequest(table_name="metrics", from_repository=db.repository)
    restore(db, replace(request, into=TableName(db.schema, "beside")))
    assert db.left("beside") == [APRIL, MAY, LATE]
    restore(db, request)
    assert db.left(archived) == [APRIL, MAY, LATE, JUNE]
    assert len(db.tool.holds()) == 1
    assert {record.stage for record in db.tool.snapshots()} == {SnapshotStage.RESTORED}


@ALIKE
def test_one_restored_from_the_repository(db: Database, archived: str) -> None:
    """What was not asked for is not adopted on the way."""
    name = db.tool.snapshots()[0].archived.name
    lose(db)
    restore(db, RestoreRequest(name=name, from_repository=db.repository))
    assert [record.archived.name for record in db.tool.snapshots()] == [name]


def test_nothing_to_adopt(db: Database) -> None:
    """A repository that does not exist is an error; what others made in one is left alone."""
    with pytest.raises(NotFound, match="nosuch"):
        db.tool.adopt_snapshots("nosuch")
    if isinstance(db, CrateDatabase):
        db.create("other", {"n": "TEXT"})
        db.sql(f'CREATE SNAPSHOT "{db.repository}"."mine" TABLE {db.q("other")} WITH (wait_for_completion = true)')
    else:
        (db.directory / "mine").mkdir(parents=True)
        (db.directory / "mine" / "manifest.json").write_text("{}")
    assert db.tool.adopt_snapshots(db.repository) == []


@DECIDED
def test_into_its_own_table(db: Database, archived: str) -> None:
    """``--into`` its own table is a restore like any other: on hold, so that the next run leaves it alone."""
    name = "METRICS" if isinstance(db, DuckDatabase) else "metrics"
    restore(db, RestoreRequest(table_name="metrics", into=TableName(db.schema, name)))
    assert db.left(archived) == [APRIL, MAY, LATE, JUNE]
    (hold,) = db.tool.holds()
    assert len(hold.partitions) == 2
    assert (db.run().partitions, db.left(archived)) == (0, [APRIL, MAY, LATE, JUNE])
    db.tool.release(hold.id)
    assert db.run().partitions == 2


@ALIKE
def test_one_hold_for_what_came_back(db: Database, archived: str) -> None:
    """One hold covers the partitions that came back, and neither those that did not nor others."""
    db.fill(archived, [APRIL], tenant="it's")
    found = db.tool.restore(ALL)
    assert [item.error is None for item in found] == [False, True, True]
    (hold,) = db.tool.holds()
    assert len(hold.filters) == 1
    assert {item.hold_id for item in found} == {None, hold.id}
    db.fill(archived, [MAY], tenant="another")
    assert db.run().partitions == 2
    assert db.left(archived) == [MAY, LATE, JUNE]
