"""
Archived tables in an Iceberg catalog, read back by pyiceberg: each has the rows of the archives that are readable, no
more and no less, whatever becomes of archives and catalog, and whenever a run is killed.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cratedb_retention import RestoreRequest
from cratedb_retention.engine import iceberg
from cratedb_retention.engine.archive import PlainFile
from cratedb_retention.engine.cratedb.values import Stored
from cratedb_retention.engine.iceberg import IcebergCatalog, IcebergTable
from cratedb_retention.engine.parquet import Store
from cratedb_retention.errors import Unsupported
from cratedb_retention.execution.iceberg import Mirrored
from cratedb_retention.execution.query import choose_archives
from cratedb_retention.model.archive import Archived
from cratedb_retention.model.catalog import Column, Kind, TableName
from cratedb_retention.model.runs import RunOptions
from cratedb_retention.service.notifications import Notification, Notifications
from support.command import Command
from support.databases import MONTH, TIME, Database, DuckDatabase, ParquetDatabase
from support.iceberg_rest import serving
from support.object_store import BUCKET, ObjectStore
from support.object_store import serving as serving_s3

APRIL, MAY, LATE_MAY, JUNE = (f"2024-{day}T00:00:00Z" for day in ("04-10", "05-10", "05-20", "06-10"))
BY_MONTH = {"ts": TIME, "n": "TEXT", "month": MONTH}
# When the archive of April ends, and no other.
APRIL_IS_OVER = "2024-07-16T00:00:00+00:00"
LAKE, NOWHERE = "lake", "http://127.0.0.1:1"
METRICS = TableName("doc", "metrics")
JSON = '{"a":1, "b": [null,1.0]}'
# Columns of CrateDB, with values as files have them.
TYPES: dict[str, list[Any]] = {
    "text": ["", "a\0b\u2028", "NULL"],
    "ip": ["::1"],
    "boolean": [True, False],
    "byte": [-128, 127],
    "smallint": [-32768],
    "integer": [-(2**31)],
    "bigint": [2**63 - 2],
    "real": [0.5],
    "double precision": [1e300],
    "numeric(38, 10)": ["1234567890123456789012345678.0123456789"],
    "timestamp with time zone": [1714521600123, -1],
    "timestamp without time zone": [1714521600123],
    "object": ['{"a":{"b":[1,null]}}'],
    "geo_point": [[1.5, -2.25]],
    "float_vector": [[0.5, -0.25]],
    "text_array": [["a", None, ""], []],
    "integer_array_array": [[[1, None], None, []]],
    "timestamp with time zone_array": [[0, None]],
}
# Types of Arrow whose values Iceberg cannot have, or that its programs would not read as they are.
FOREIGN = [
    pa.uint64(),
    pa.uint32(),
    pa.list_(pa.uint64()),
    pa.struct([("a", pa.uint32())]),
    pa.timestamp("ns"),
    pa.time64("ns"),
    pa.json_(),
    pa.decimal256(50, 2),
]


D = TypeVar("D", bound=Database)


class Killed(BaseException):
    """What a test kills a run with."""


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """An SQL catalog in the configuration of pyiceberg. Call it with another address, or with nothing for this one."""
    config = pytest.importorskip("pyiceberg.utils.config", reason="pyiceberg is not installed; see requirements.lock")
    monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
    monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__WAREHOUSE", f"file://{tmp_path}/warehouse")

    def use(address: str = "") -> None:
        monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__URI", address or f"sqlite:///{tmp_path}/catalog.db")
        # It reads the environment when it is imported.
        monkeypatch.setattr("pyiceberg.catalog._ENV_CONFIG", config.Config())

    use()
    return use


@pytest.fixture
def followed(duck: DuckDatabase, lake: object) -> DuckDatabase:
    """A DuckDB with a table of four rows whose archives a catalog follows, and the policy."""
    return prepare(duck)


def prepare(db: D) -> D:
    """Let a catalog follow the archives of a table; April and May are expired."""
    db.tool.catalog = LAKE
    db.create("metrics", BY_MONTH, by=["month"])
    db.fill("metrics", [APRIL, MAY, LATE_MAY, JUNE])
    db.policy("snapshot", "metrics", "30d", archive_period="75d")
    return db


def table(db: Database, name: str = "metrics") -> Any:
    """A table in the catalog."""
    from pyiceberg.catalog import load_catalog

    with closing(load_catalog(LAKE)) as catalog:
        return catalog.load_table((db.schema, name))


def names(db: Database, where: str = "", name: str = "metrics") -> list[str]:
    """The names ``n`` of the rows that other programs find, sorted."""
    found = table(db, name).scan(**({"row_filter": where} if where else {})).to_arrow()
    return sorted(found["n"].to_pylist())


def read_by_duckdb(db: Database) -> list[str]:
    """The same by DuckDB, from the files that the catalog says are the table's."""
    files = [task.file.file_path.removeprefix("file://") for task in table(db).scan().plan_files()]
    with duckdb.connect() as connection:
        return sorted(n for (n,) in connection.execute("SELECT n FROM read_parquet(?)", [files]).fetchall())


def sync(db: Database, **more: Any) -> list[Mirrored]:
    """Bring the catalog up to date."""
    return db.tool.archive.sync(LAKE, **more)


def result(db: Database, added: int = 0, removed: int = 0, **more: Any) -> Mirrored:
    """The result for the table."""
    return Mirrored(table=db.table("metrics"), added=added, removed=removed, **more)


def entries(db: Database) -> list[tuple[str, str, str]]:
    """The entries of the audit log about the catalog, oldest first."""
    found = db.journal(event="catalog-updated")[::-1]
    return [(row["outcome"], row["message"], row["error"] or "") for row in found]


# Archives and the catalog


def test_life(followed: DuckDatabase) -> None:
    """Archives enter the table when they are made, and leave it when they end or are restored; nothing else commits."""
    db = followed
    assert db.run().ok
    assert names(db) == [APRIL, MAY, LATE_MAY]
    assert names(db, "month = '2024-05-01T00:00:00+00:00'") == [MAY, LATE_MAY]
    assert names(db, "ts < '2024-05-15T00:00:00+00:00'") == [APRIL, MAY]
    assert read_by_duckdb(db) == [APRIL, MAY, LATE_MAY]
    before = table(db).metadata_location
    assert sync(db) == [result(db)]
    assert db.run().ok
    assert table(db).metadata_location == before
    db.time.set(APRIL_IS_OVER)
    assert db.run().ok
    assert (len(db.snapshot_names()), names(db)) == (1, [MAY, LATE_MAY])
    assert len(table(db).snapshots()) == 1, "an earlier state still has April"
    (restored,) = db.tool.archive.restore(RestoreRequest(table_name="metrics"))
    assert (names(db), db.left("metrics")) == ([], [MAY, LATE_MAY, JUNE])
    db.tool.holds.release(restored.hold_id or "")
    assert db.run().ok
    assert (names(db), db.left("metrics")) == ([MAY, LATE_MAY], [JUNE])
    changes = [message for _, message, _ in entries(db)]
    assert sorted(changes) == sorted(
        ["2 archives added, 0 removed", *["0 archives added, 1 removed"] * 2, "1 archive added, 0 removed"]
    )


def test_on_cratedb(crate_files: ParquetDatabase, lake: object) -> None:
    """The same for archives of CrateDB: added by a run, removed when they are deleted or restored."""
    db = prepare(crate_files)
    assert db.run().ok
    assert (names(db), db.left("metrics")) == ([APRIL, MAY, LATE_MAY], [JUNE])
    assert names(db, "month = '2024-05-01T00:00:00+00:00'") == [MAY, LATE_MAY]
    end = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
    (deleted,) = db.tool.archive.delete(RestoreRequest(table_name="metrics", end=end))
    assert (deleted.error, names(db)) == (None, [MAY, LATE_MAY])
    (restored,) = db.tool.archive.restore(RestoreRequest(table_name="metrics"))
    assert (restored.error, names(db)) == (None, [])
    assert sync(db) == [result(db)]
    ours = replace(restored.record, archived=replace(restored.record.archived, repository="cold", name="another"))
    db.tool.store.snapshots.add(ours)
    (found,) = sync(db, dry_run=True)
    assert [reason.partition(": ")[2].partition(",")[0] for reason in found.refused] == [
        "1 archive in repositories of CrateDB"
    ]


@pytest.mark.long("it starts an S3 server; make test has the same with files in a directory")
def test_on_s3(duck: DuckDatabase, lake: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives, and what describes the table, are in a bucket."""
    with serving_s3() as address:
        ObjectStore(address).use(monkeypatch)
        monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__S3__ENDPOINT", address)
        monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__S3__REGION", "eu-central-1")
        monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__WAREHOUSE", f"s3://{BUCKET}/warehouse")
        lake()
        duck.repository = f"s3://{BUCKET}/cold"
        db = prepare(duck)
        assert db.run().ok
        assert names(db) == [APRIL, MAY, LATE_MAY]
        db.time.set(APRIL_IS_OVER)
        assert db.run().ok
        assert names(db) == [MAY, LATE_MAY]


def test_files_leave_before_they_are_deleted(followed: DuckDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever the file of an archive is deleted, by a run or by a user, no table has it any more."""
    db, seen = followed, list[list[str]]()
    assert db.run().ok
    delete = Store.delete

    def look(store: Store, path: str) -> None:
        if path.startswith(f"{db.schema}."):
            seen.append(names(db))
        delete(store, path)

    monkeypatch.setattr(Store, "delete", look)
    db.time.set(APRIL_IS_OVER)
    assert db.run().ok
    (deleted,) = db.tool.archive.delete(RestoreRequest(table_name="metrics"))
    assert deleted.error is None
    assert seen == [[MAY, LATE_MAY], []]
    assert names(db) == []


def test_an_archive_that_is_not_deleted(followed: DuckDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """It left the table before, and returns when deleting it has failed; one under a hold does not leave it."""
    db = followed
    assert db.run().ok

    def fail(store: Store, path: str) -> None:
        raise Unsupported("disk", "is read-only")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "delete", fail)
        found = db.tool.archive.delete(RestoreRequest(table_name="metrics"))
        assert [bool(item.error) for item in found] == [True, True]
        assert names(db) == [APRIL, MAY, LATE_MAY]
        db.time.set(APRIL_IS_OVER)
        assert not db.run().ok
        assert names(db) == [APRIL, MAY, LATE_MAY]
    before = table(db).metadata_location
    db.tool.holds.place(table_schema=db.schema, table_name="metrics", reason="case 4711")
    assert len(db.tool.archive.delete(RestoreRequest(table_name="metrics"))) == 2
    assert table(db).metadata_location == before


def read_by_extension(db: Database) -> list[tuple[Any, ...]]:
    """All rows, by DuckDB's own reader of Iceberg."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name in ("avro", "iceberg"):
            found = pytest.importorskip(f"duckdb_extension_{name}", reason="DuckDB's extension is not installed")
            (path,) = Path(str(found.__file__)).parent.rglob(f"{name}.duckdb_extension")
            if path.parent.name != f"v{duckdb.__version__}":
                pytest.skip("DuckDB's extension is one for another version")
            connection.execute(f"LOAD '{path}'")
        columns = "strftime(month, '%Y-%m'), n, j"
        address = table(db).metadata_location.removeprefix("file://")
        return sorted(connection.execute(f"SELECT {columns} FROM iceberg_scan('{address}')").fetchall())


def read_by_polars(db: Database) -> list[tuple[Any, ...]]:
    """All rows, by Polars."""
    polars = pytest.importorskip("polars", reason="Polars is not installed")
    month = polars.col("month").dt.strftime("%Y-%m")
    return sorted(polars.scan_iceberg(table(db)).select(month, "n", "j").collect().rows())


@pytest.mark.long("make test reads tables by pyiceberg, and the files of a table by DuckDB")
@pytest.mark.parametrize("read", [read_by_extension, read_by_polars])
def test_other_programs(duck: DuckDatabase, lake: object, read: Callable[[Database], list[tuple[Any, ...]]]) -> None:
    """They find the same rows, with the columns of partitions, and none of an archive that has ended."""
    db = duck
    db.tool.catalog = LAKE
    db.create("metrics", {**BY_MONTH, "j": "JSON"}, by=["month"])
    db.insert("metrics", [{"ts": day, "n": day, "j": JSON} for day in (APRIL, MAY, LATE_MAY, JUNE)])
    db.policy("snapshot", "metrics", "30d", archive_period="75d")
    assert db.run().ok
    assert read(db) == [("2024-04", APRIL, JSON), ("2024-05", MAY, JSON), ("2024-05", LATE_MAY, JSON)]
    db.time.set(APRIL_IS_OVER)
    assert db.run().ok
    assert read(db) == [("2024-05", MAY, JSON), ("2024-05", LATE_MAY, JSON)]


def test_json(duck: DuckDatabase, lake: object) -> None:
    """JSON of DuckDB is a text in a catalog, as it was written, and JSON in a query and after a restore."""
    db = duck
    db.create("metrics", {**BY_MONTH, "j": "JSON"}, by=["month"])
    db.insert("metrics", [{"ts": APRIL, "n": APRIL, "j": JSON}, {"ts": MAY, "n": MAY, "j": None}])
    db.policy("snapshot", "metrics", "30d")
    assert db.run().ok
    assert sync(db) == [result(db, added=2)]
    rows = table(db).scan().to_arrow().to_pylist()
    assert {row["n"]: row["j"] for row in rows} == {APRIL: JSON, MAY: None}
    with db.tool.archive.query(f"SELECT j, typeof(j), j->>'a' FROM {db.q('metrics')} ORDER BY ts") as answer:
        assert list(answer) == [(JSON, "JSON", "1"), (None, "JSON", None)]
    assert [item.error for item in db.tool.archive.restore(RestoreRequest(table_name="metrics"))] == [None, None]
    assert db.rows(f"SELECT j, typeof(j) FROM {db.q('metrics')} ORDER BY ts") == [(JSON, "JSON"), (None, "JSON")]


@pytest.mark.long("test_life and test_a_catalog_that_is_down have the main path in make test")
def test_columns_of_partitions(duck: DuckDatabase, lake: object) -> None:
    """Values that only the path has are columns; a column that comes later is NULL in earlier archives."""
    db = duck
    db.create("metrics", {**BY_MONTH, "site": "TEXT"}, by=["month", "site"])
    db.insert("metrics", [{"ts": APRIL, "n": APRIL, "site": None}, {"ts": MAY, "n": MAY, "site": "it's #1"}])
    db.policy("snapshot", "metrics", "30d")
    assert db.run().ok
    db.sql(f"ALTER TABLE {db.q('metrics')} ADD COLUMN later INTEGER")
    db.insert("metrics", [{"ts": LATE_MAY, "n": LATE_MAY, "site": "b", "later": 7}])
    assert db.run().ok
    assert sync(db) == [result(db, added=3)]
    found = {row["n"]: row for row in table(db).scan().to_arrow().to_pylist()}
    assert {name: (row["month"].month, row["site"], row["later"]) for name, row in found.items()} == {
        APRIL: (4, None, None),
        MAY: (5, "it's #1", None),
        LATE_MAY: (5, "b", 7),
    }
    assert names(db, "month = '2024-05-01T00:00:00+00:00' AND site = 'b'") == [LATE_MAY]
    assert names(db, "site IS NULL") == [APRIL]


def test_a_table_that_cannot_be_there(duck: DuckDatabase, lake: object) -> None:
    """It is archived as ever, and nothing has failed; the reason is said."""
    db = duck
    db.tool.catalog = LAKE
    db.create("metrics", {**BY_MONTH, "flags": "BIT"}, by=["month"])
    db.fill("metrics", [APRIL, MAY])
    db.policy("snapshot", "metrics", "30d")
    report = db.run()
    assert (report.ok, report.partitions) == (True, 2)
    why = f"table {db.schema}.metrics: column flags (BIT) can be read by DuckDB only. Use `cratedb-retention query`"
    assert sync(db) == [result(db, refused=(why,))]
    assert [(outcome, why in error) for outcome, _, error in entries(db)] == [("blocked", True)] * 2


@pytest.mark.long("test_life and test_a_catalog_that_is_down have the main path in make test")
def test_tables_without_archives(followed: DuckDatabase) -> None:
    """A table is there only once there is an archive, and stays, empty, when the last one is gone."""
    db = followed
    assert sync(db) == []
    assert db.run().ok
    db.tool.catalog = None
    assert len(db.tool.archive.delete(RestoreRequest(table_name="metrics"))) == 2
    assert sync(db, dry_run=True) == sync(db) == [result(db, removed=2)]
    assert (names(db), sync(db)) == ([], [result(db)])
    assert sync(db, table_name="other") == []


# The catalog fails


def test_a_catalog_that_is_down(followed: DuckDatabase, lake: Callable[..., None]) -> None:
    """Archives are made and end as ever; the run fails, with the reason and the remedy; later all of it is made up."""
    db = followed
    assert db.run().ok
    lake(NOWHERE)
    db.fill("metrics", [MAY])
    db.time.set(APRIL_IS_OVER)
    report = db.run()
    assert (report.ok, report.partitions, report.failed) == (False, 1, 2)
    assert (len(db.snapshot_names()), db.left("metrics")) == (2, [JUNE])
    done, *failed = entries(db)
    assert (done[0], len(failed)) == ("done", 2)
    for outcome, _, error in failed:
        assert outcome == "failed"
        assert error.startswith("Iceberg catalog lake: ConnectionError: ")
        assert error.endswith("Check the catalog, then run `cratedb-retention sync-catalog`")
    (found,) = sync(db)
    assert (found.table, str(found.error).split(":")[0]) == (None, "Iceberg catalog lake")
    lake()
    assert sync(db) == [result(db, added=1, removed=1)]
    assert names(db) == [MAY, MAY, LATE_MAY]


def test_a_catalog_that_fails_is_notified(followed: DuckDatabase, lake: Callable[..., None]) -> None:
    """It is a failure of the policies whose archives it should have; once it works, they have recovered."""
    db, heard = followed, list[tuple[str, str, str]]()
    (stored,) = db.tool.policies()
    db.tool.policies.edit(stored.id, {"schedule": "@daily"})

    def hear(told: Notification) -> bool:
        heard.append((told.event, told.policy_id, (told.reason or "").partition(": ")[0]))
        return True

    notifier = Notifications(db.tool, [hear], None)
    for day, address in ((3, NOWHERE), (4, NOWHERE), (5, "")):
        lake(address)
        db.time.set(f"2024-07-0{day}T00:00:10+00:00")
        report = db.tool.run_due(options=RunOptions(threads=False))
        assert report is not None and report.ok == (not address)
        notifier.check()
    assert heard == [
        ("policy-failed", stored.id, "Iceberg catalog lake"),
        ("policy-recovered", stored.id, "Iceberg catalog lake"),
    ]
    assert names(db) == [APRIL, MAY, LATE_MAY]


@pytest.mark.long("test_life and test_a_catalog_that_is_down have the main path in make test")
def test_a_catalog_that_does_not_respond(followed: DuckDatabase, lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run waits for a while, and goes on."""
    monkeypatch.setattr(iceberg, "PATIENCE", 0.1)
    end = threading.Event()
    with serving(None, hangs=end) as address:
        lake(address)
        report = followed.run()
        end.set()
    assert (report.partitions, report.failed) == (2, 1)
    ((outcome, _, error),) = entries(followed)
    assert (outcome, "does not respond within 0.1 seconds" in error) == ("failed", True)


@pytest.mark.long("test_life and test_a_catalog_that_is_down have the main path in make test")
def test_rest(followed: DuckDatabase, lake: Any) -> None:
    """By a REST catalog as well; a commit whose answer was lost is found to be done."""
    from pyiceberg.catalog import load_catalog

    db, sql = followed, load_catalog(LAKE)
    with serving(sql, commits=504) as address:
        lake(address)
        report = db.run()
    assert (report.partitions, report.failed) == (2, 1)
    assert "CommitStateUnknownException" in entries(db)[0][2]
    with serving(sql) as address:
        lake(address)
        assert sync(db) == [result(db)]
        assert names(db) == [APRIL, MAY, LATE_MAY]
        db.time.set(APRIL_IS_OVER)
        assert db.run().ok
        assert names(db) == [MAY, LATE_MAY]
    sql.close()


@pytest.mark.parametrize("made_for", ["", "main.others"])
def test_a_table_of_others(followed: DuckDatabase, made_for: str) -> None:
    """What has the name of an archived table, but was not made by the toolkit for this one, is not touched."""
    from pyiceberg.catalog import load_catalog

    db = followed
    with closing(load_catalog(LAKE)) as catalog:
        catalog.create_namespace(db.schema)
        mark = {"cratedb-retention.table": made_for} if made_for else {}
        other = catalog.create_table((db.schema, "metrics"), pa.schema([("n", pa.string())]), properties=mark)
    assert not db.run().ok
    assert table(db).metadata_location == other.metadata_location
    assert [error.partition(". ")[0] for *_, error in entries(db)] == [
        f"Iceberg catalog lake: has a table {db.schema}.metrics that cratedb-retention did not create"
    ]


@pytest.mark.long("test_life and test_a_catalog_that_is_down have the main path in make test")
def test_archives_that_are_damaged(followed: DuckDatabase) -> None:
    """An archive without its file is not added, and named; the others are; none leaves the table because of that."""
    db = followed
    assert db.run().ok
    april, _ = db.snapshot_files()
    april.rename(april.with_suffix(".away"))
    assert sync(db) == [result(db)]
    table(db).catalog.drop_table((db.schema, "metrics"))
    (found,) = sync(db)
    assert (found.added, names(db)) == (1, [MAY, LATE_MAY])
    assert "1 archive cannot be added" in str(found.error) and "is missing" in str(found.error)
    april.with_suffix(".away").rename(april)
    assert sync(db) == [result(db, added=1)]


# Runs that are killed, and others at the same time


def _die(*given: Any) -> None:
    raise Killed


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("owner", "name", "after"),
    [(IcebergCatalog, "read", False), (IcebergCatalog, "create", True), (iceberg, "_commit", True)],
)
def test_killed(followed: DuckDatabase, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, after: bool) -> None:
    """Killed between archive and commit, within it or after it, the next run has the same table as one that was not."""
    db, was = followed, getattr(owner, name)

    def killed(*given: Any) -> None:
        if after:
            was(*given)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, killed)
        with pytest.raises(Killed):
            db.run()
    assert db.left("metrics") == [JUNE], "it was killed too early"
    db.forget_leases()
    assert db.run().ok
    assert names(db) == [APRIL, MAY, LATE_MAY]
    assert sync(db) == [result(db)]


@pytest.mark.long("test_life and test_a_catalog_that_is_down have the main path in make test")
def test_killed_before_an_archive_is_deleted(followed: DuckDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive is in the table until it is about to be deleted; the next run completes what a killed one began."""
    db = followed
    assert db.run().ok
    db.time.set(APRIL_IS_OVER)
    for owner, name, left in ((iceberg, "_commit", [APRIL, MAY, LATE_MAY]), (Store, "delete", [MAY, LATE_MAY])):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, _die)
            with pytest.raises(Killed):
                db.run()
        assert (names(db), len(db.snapshot_names())) == (left, 2)
        db.forget_leases()
    assert db.run().ok
    assert (names(db), len(db.snapshot_names())) == ([MAY, LATE_MAY], 1)


def test_two_at_once(followed: DuckDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update that another one overtakes adds nothing twice."""
    db, once = followed, iter([True])
    db.tool.catalog = None
    assert db.run().ok

    def overtaken(*given: Any) -> Any:
        found = choose_archives(*given)
        if next(once, False):
            assert sync(db) == [result(db, added=2)]
        return found

    monkeypatch.setattr("cratedb_retention.execution.iceberg.choose_archives", overtaken)
    assert sync(db) == [result(db)]
    assert names(db) == [APRIL, MAY, LATE_MAY]


@pytest.mark.some(1)
@pytest.mark.parametrize(("owner", "name"), [(IcebergCatalog, "read"), (IcebergTable, "update")])
def test_an_old_view_does_not_win(
    followed: DuckDatabase, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    """An archive that is restored while an update reads the table, or is about to add it, is not in it afterwards."""
    db, once, was = followed, iter([True]), getattr(owner, name)
    db.tool.catalog = None
    assert db.run().ok
    db.tool.catalog = LAKE
    end = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)

    def slow(*given: Any) -> Any:
        if next(once, False):
            (restored,) = db.tool.archive.restore(RestoreRequest(table_name="metrics", end=end))
            assert restored.error is None
        return was(*given)

    monkeypatch.setattr(owner, name, slow)
    assert sync(db) == [result(db)]
    assert (names(db), db.left("metrics")) == ([MAY, LATE_MAY], [APRIL, JUNE])


# Types


def plain_file(store: Store, name: str, rows: pa.Table, *partition: tuple[Column, Any]) -> PlainFile:
    """An archive with these rows."""
    with store.writing(f"{name}.parquet") as file:
        pq.write_table(rows, file)
    return PlainFile(
        archived=Archived(repository=store.repository, name=name, table=METRICS),
        location=store.locate(f"{name}.parquet"),
        size=store.size(f"{name}.parquet") or 0,
        partition=partition,
        footer=store.footer(f"{name}.parquet"),
    )


def test_values_of_cratedb(tmp_path: Path, lake: object) -> None:
    """Each value of each type is read as the one in the file; times are microseconds, NULL stays NULL."""
    stored = [Stored(f"v{place}", kind) for place, kind in enumerate(TYPES)]
    count = 1 + max(map(len, TYPES.values()))
    filled = [[*values, *[None] * (count - len(values))] for values in TYPES.values()]
    rows = pa.table({each.name: each.to_arrow(values) for each, values in zip(stored, filled, strict=True)})
    partition = [
        (Column(name="at", type="timestamp without time zone", kind=Kind.TIME), -1),
        (Column(name="day", type="DATE", kind=Kind.TIME), 1714521600000),
        (Column(name="number", type="bigint", kind=Kind.NUMBER), 2**40),
        (Column(name="flag", type="boolean", kind=Kind.BOOLEAN), False),
    ]
    with IcebergCatalog(LAKE) as catalog:
        file = plain_file(Store(f"file://{tmp_path}"), "a", rows, *partition)
        assert catalog.read(METRICS).update([file], []) == []
        found = catalog.read(METRICS).table.scan().to_arrow()
        assert catalog.read(METRICS).update([], [file.location]) == []
        assert catalog.read(METRICS).files == {}
    assert found.select(rows.column_names).to_pylist() == rows.to_pylist()
    before_1970 = dt.datetime(1969, 12, 31, 23, 59, 59, 999000)  # noqa: DTZ001 - it has no zone
    constant = {"at": before_1970, "day": dt.date(2024, 5, 1), "number": 2**40, "flag": False}
    assert found.select(list(constant)).to_pylist() == [constant] * count


def test_what_cannot_be_in_a_table(tmp_path: Path, lake: object) -> None:
    """It is refused, by the archive and with the reason; the others are added."""
    store = Store(f"file://{tmp_path}")
    month = Column(name="month", type="text", kind=Kind.TEXT)

    def one(name: str, kind: Any, *partition: tuple[Column, Any], column: str = "v") -> PlainFile:
        if isinstance(kind, pa.BaseExtensionType):
            values = pa.ExtensionArray.from_storage(kind, pa.array(["1"]))
        else:
            values = pa.array([None], kind)
        return plain_file(store, name, pa.table({column: values}), *partition or ((month, "x"),))

    fine = [one("a", pa.int32()), one("b", pa.int64()), one("c", pa.int16())]
    numbered = Column(name="month", type="real", kind=Kind.NUMBER)
    seconds = Column(name="month", type="bigint", kind=Kind.TIME)
    more = Column(name="more", type="text", kind=Kind.TEXT)
    bad = [one(f"t{place}", kind) for place, kind in enumerate(FOREIGN)]
    bad += [one("d", pa.string()), one("e", pa.int32(), column="a.b"), one("f", pa.int32(), (numbered, 1.5))]
    bad += [
        one("g", pa.int32(), (seconds, 1)),
        one("h", pa.int32(), (month, "x"), (more, "y")),
    ]
    late = pa.table({"v": pa.array([1]), "far": pa.array([2**62], pa.int64()).cast(pa.timestamp("ms"))})
    bad.append(plain_file(store, "i", late, (month, "x")))
    with IcebergCatalog(LAKE) as catalog:
        refused = catalog.read(METRICS).update([*fine, *bad], [])
        assert sorted(file.archived.name for file, _ in refused) == sorted(file.archived.name for file in bad)
        assert {type(error) for _, error in refused} == {Unsupported}
        found = catalog.read(METRICS)
        assert sorted(found.files) == [file.location for file in fine]
        assert found.table.scan().to_arrow().num_rows == 3
        with pytest.raises(Unsupported, match="its name cannot be"):
            catalog.read(TableName("doc", "a.b"))


def test_addresses(tmp_path: Path) -> None:
    """A file has the address by which other programs find it; where that is impossible, it is said."""
    assert Store(f"file://{tmp_path}/").locate("a/b=%3A/c d.parquet") == f"file://{tmp_path}/a/b=%3A/c d.parquet"
    assert Store("archive", tmp_path).locate("x") == f"file://{tmp_path}/x"
    with pytest.raises(Unsupported, match="cannot be one of Iceberg"):
        Store("archive", tmp_path / "a#b").locate("x")


# The command


def test_command(followed: DuckDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalog is named by an option or a setting; the exit code is 1 if a table is not up to date."""
    db = followed
    db.tool.catalog = None
    assert db.run().ok
    db.close()
    command = Command(db.uri, db.own_schema)
    outcome = command("sync-catalog")
    assert (outcome.code, outcome.err) == (
        2,
        "Error: Iceberg catalog: none is named. Give --catalog, or set iceberg.catalog\n",
    )
    monkeypatch.setenv("CRATEDB_RETENTION_ICEBERG_CATALOG", LAKE)
    assert (
        command.ok("sync-catalog", "--dry-run") == f"would change: {db.schema}.metrics: 2 archives added, 0 removed\n"
    )
    assert command.ok("sync-catalog") == f"synchronized: {db.schema}.metrics: 2 archives added, 0 removed\n"
    assert command.data("sync-catalog") == [
        {"table": f"{db.schema}.metrics", "added": 0, "removed": 0, "refused": [], "error": None}
    ]
    for other in ("--table-name=other", "--table-schema=other"):
        assert command.data("sync-catalog", other) == []
    command.ok("delete-snapshots", "--table-name=metrics", "--to=2024-05-01", "--yes")
    assert names(db) == [MAY, LATE_MAY]
    outcome = command("sync-catalog", "--catalog=other")
    assert outcome.code == 1
    assert "failed: Iceberg catalog other: URI missing" in outcome.out
    assert outcome.err.startswith("Error: sync-catalog: 1 of 1 table not up to date")
