"""
Archives of CrateDB as Parquet files: each value survives the way there and back, also if a restore is interrupted, and
other programs read the files. Damage is in test_archives.py.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pyarrow.dataset
import pyarrow.parquet
import pytest
import sqlalchemy as sa

from cratedb_retention import RestoreRequest, Retention
from cratedb_retention.engine.cratedb import parquet
from cratedb_retention.engine.cratedb.connection import CrateConnection
from cratedb_retention.engine.cratedb.values import Stored
from cratedb_retention.errors import DatabaseError, InvalidInput
from cratedb_retention.model.archive import SnapshotStage
from cratedb_retention.model.catalog import TableName
from support.databases import MONTH, TIME, CrateDatabase, ParquetDatabase
from support.proxy import proxy_to
from support.sql import quoted

APRIL, MAY, LATE_MAY, JUNE = (f"2024-{day}T00:00:00Z" for day in ("04-10", "05-10", "05-20", "06-10"))
ALL = [APRIL, MAY, LATE_MAY, JUNE]
# Types with values as CrateDB takes them; each also has a row with NULL.
TYPES: dict[str, list[Any]] = {
    "TIMESTAMP WITHOUT TIME ZONE": ["1969-12-31T23:59:59.999", 0, "2024-05-01T12:00:00.123"],
    "BOOLEAN": [True, False],
    "BYTE": [-128, 127],
    "SMALLINT": [-32768],
    "INTEGER": [-(2**31)],
    "BIGINT": [-(2**63) + 1, 2**63 - 2, 0],
    "REAL": [0.1, "NaN", "Infinity", "-Infinity", -0.0, 3.4e38],
    "DOUBLE PRECISION": [0.1, "NaN", "Infinity", "-Infinity", -0.0, 5e-324, 1.7976931348623157e308],
    "NUMERIC(38, 10)": ["1234567890123456789012345678.0123456789", "0", "-0.0000000001"],
    "TEXT": ["", "a\0b\u2028\n'\"\\", "\U0001f600", "NULL", "NaN"],
    "VARCHAR(10)": ["x"],
    "CHARACTER(5)": ["x"],
    "IP": ["10.0.0.1", "::1"],
    "BIT(8)": ["10101010", "00000000"],
    "GEO_POINT": [[1.5, -2.25], [179.123456789, -89.987654321]],
    "GEO_SHAPE": [{"type": "Point", "coordinates": [1.0, 2.5]}],
    "FLOAT_VECTOR(3)": [[0.1, -0.2, 3.0]],
    "OBJECT(DYNAMIC) AS (a INTEGER, n NUMERIC(20, 5), f REAL, s OBJECT(STRICT) AS (x DOUBLE PRECISION))": [
        {"a": 1, "n": "123456789012345.12345", "f": 0.1, "s": {"x": 1e300}},
        {"s": {"x": "NaN"}, "new": 2**62, "nul": None, "empty": {}, "none": [], "many": [1, 2], "text": "1"},
        {},
    ],
    "OBJECT(STRICT) AS (q TEXT, t TIMESTAMP WITH TIME ZONE)": [{"q": "x", "t": 1714521600000}, {"q": None}],
    "OBJECT(IGNORED)": [{"a": 1.0, "b": 1, "c": [1, "x", None, {"y": -0.0}], "d": 2**63 - 1, "e": 1e22, "f": "NaN"}],
    "ARRAY(OBJECT(DYNAMIC) AS (k TEXT, n NUMERIC(20, 3)))": [
        [{"k": "a", "n": "99999999999999999.999"}, {"k": None, "z": 3}, None, {}],
        [],
    ],
    "ARRAY(TEXT)": [["a", None, "", "NULL"], []],
    "ARRAY(BIGINT)": [[2**63 - 2, None], []],
    "ARRAY(DOUBLE PRECISION)": [[0.1, "NaN", "-Infinity", -0.0], [None]],
    "ARRAY(REAL)": [[0.1, "NaN"]],
    "ARRAY(TIMESTAMP WITH TIME ZONE)": [[0, None, -1]],
    "ARRAY(NUMERIC(20, 3))": [["1.123", None, "99999999999999999.999"]],
    "ARRAY(ARRAY(INTEGER))": [[[1, None], None, []]],
    "ARRAY(IP)": [["::1", None]],
    "ARRAY(BOOLEAN)": [[True, None]],
    "ARRAY(GEO_POINT)": [[[1.5, 2.5], None]],
}
INEXACT = {
    "an object with bits": ("OBJECT AS (b BIT(8))", {"b": "10101010"}, "v['b'] (bit(8) in an object)"),
    "a time of writing": ("TIMESTAMP GENERATED ALWAYS AS current_timestamp", None, "v (generated as "),
}


def create_metrics(db: CrateDatabase, **more: Any) -> str:
    """A table by month, of which two are expired, and its policy."""
    db.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill("metrics", ALL)
    db.policy("snapshot", "metrics", "30d", **more)
    return "metrics"


def texts(db: CrateDatabase, table: str, columns: list[str]) -> list[str]:
    """All values of May as text, row by row, as CrateDB has them; of points, all digits."""
    db.refresh(table)
    wrapped = (f"{{v = \"_doc\"['{name}']}}" for name in ["ts", *columns])
    query = f"SELECT {', '.join(f'CAST({one} AS TEXT)' for one in wrapped)} FROM {db.q(table)} WHERE ts < '2024-06-01'"
    return sorted(
        json.dumps([json.loads(text, parse_float=str) for text in row], sort_keys=True) for row in db.rows(query)
    )


def errors(db: CrateDatabase) -> str:
    """What failed, as the audit log has it."""
    return "".join(str(row["error"] or "") for row in db.journal())


@pytest.mark.slow("a table with all types is restored three times")
def test_each_type(crate_files: ParquetDatabase) -> None:
    """Archived, verified and restored: into its table, beside it, and after the table was dropped: the same."""
    db, columns = crate_files, [f"v{number}" for number in range(len(TYPES))]
    db.create("t", {"ts": TIME, "month": MONTH, **dict(zip(columns, TYPES, strict=True))}, by=["month"])
    for row in range(max(map(len, TYPES.values())) + 1):
        for day in (MAY, JUNE):
            given = [values[row] if row < len(values) else None for values in TYPES.values()]
            db.insert("t", [{"ts": day, **dict(zip(columns, given, strict=True))}])
    before = texts(db, "t", columns)
    db.policy("snapshot", "t", "30d")
    assert db.tool.check() == []
    report = db.run()
    assert (report.ok, report.partitions, report.rows) == (True, 1, len(before))
    assert texts(db, "t", columns) == []
    assert [found.error for found in db.tool.verify_snapshots()] == [None]
    for into in (None, db.table("beside")):
        (restored,) = db.tool.restore(RestoreRequest(table_name="t", into=into))
        assert (restored.error, restored.rows) == (None, len(before))
    assert texts(db, "t", columns) == texts(db, "beside", columns) == before
    db.sql(f"DROP TABLE {db.q('t')}")
    (restored,) = db.tool.restore(RestoreRequest(table_name="t"))
    assert restored.error is None
    assert texts(db, "t", columns) == before
    assert (
        db.rows("SELECT count(*) FROM information_schema.tables WHERE table_name LIKE 'retention_restore_%'")[0][0] == 0
    )


@pytest.mark.parametrize("case", INEXACT)
def test_inexact_types(crate_files: ParquetDatabase, case: str) -> None:
    """A column that cannot be restored exactly is found by `check`, and nothing is archived or dropped."""
    db, (kind, value, words) = crate_files, INEXACT[case]
    db.create("t", {"ts": TIME, "month": MONTH, "v": kind}, by=["month"])
    db.insert("t", [{"ts": day, **({"v": value} if value else {})} for day in (MAY, JUNE)])
    db.policy("snapshot", "t", "30d")
    assert any(words in finding.message for finding in db.tool.check())
    report = db.run()
    assert (report.ok, report.partitions) == (False, 0)
    assert (db.count("t"), db.snapshot_names()) == (2, [])


def test_a_number_beyond_64_bits(crate_files: ParquetDatabase) -> None:
    """CrateDB stores it in an object whose fields are ignored, and cannot take it back: its partition stays."""
    db = crate_files
    db.create("t", {"ts": TIME, "month": MONTH, "v": "OBJECT(IGNORED)"}, by=["month"])
    db.sql(f"INSERT INTO {db.q('t')} (ts, v) VALUES ('{MAY}', {{a = 1180591620717411303424}})")
    db.refresh("t")
    db.policy("snapshot", "t", "30d")
    assert not db.run().ok
    assert "the number 1180591620717411303424 in an object" in errors(db)
    assert (db.count("t"), db.snapshot_names()) == (1, [])


def test_other_programs_read_it(crate_files: ParquetDatabase) -> None:
    """DuckDB and pyarrow read all partitions with one line, with the partition as a column."""
    import duckdb

    db = crate_files
    create_metrics(db)
    assert db.run().partitions == 2
    table = f"{db.directory}/{db.schema}.metrics"
    query = f"SELECT month, n FROM read_parquet('{table}/**/*.parquet', hive_partitioning = true) ORDER BY n"
    assert [(str(month)[:10], n) for month, n in duckdb.sql(query).fetchall()] == [
        ("2024-04-01", APRIL),
        ("2024-05-01", MAY),
        ("2024-05-01", LATE_MAY),
    ]
    found = pyarrow.dataset.dataset(table, partitioning="hive").to_table(filter=pyarrow.dataset.field("n") == MAY)
    assert found.column("month").to_pylist() == ["2024-05-01"]
    assert [path.name for path in db.directory.iterdir() if path.name.startswith("_")] == ["_manifests"]


def test_special_values(crate_files: ParquetDatabase) -> None:
    """Partitions by text, by a field of an object, with NULL and with characters that paths do not have."""
    db, batches = crate_files, ["a/b", "..", "x=y%", "", None, "größe 1"]
    columns = {"ts": TIME, "n": "TEXT", "batch": "TEXT", "meta": "OBJECT AS (kind TEXT)"}
    db.create("t", columns, by=["batch", "meta['kind']"])
    rows = [{"ts": MAY, "n": str(n), "batch": batch, "meta": {"kind": batch}} for n, batch in enumerate(batches)]
    for row in rows:
        db.insert("t", [row])
    before = db.rows(f"SELECT n, batch, meta FROM {db.q('t')} ORDER BY n")
    db.policy("snapshot", "t", "30d", partition_column="batch")
    report = db.run()
    assert (report.ok, report.partitions) == (True, len(batches)), errors(db)
    assert db.count("t") == 0
    assert all(found.error is None for found in db.tool.verify_snapshots())
    assert all(restored.error is None for restored in db.tool.restore(RestoreRequest(table_name="t")))
    db.refresh("t")
    assert db.rows(f"SELECT n, batch, meta FROM {db.q('t')} ORDER BY n") == before


@pytest.mark.parametrize(
    "name",
    ["http://host/x", "s3://key:secret@bucket/x", "s3://bucket/x?secret=1", "file://srv/x", "hdfs://x/y", "s3:///x"],
)
def test_refused_addresses(crate_files: ParquetDatabase, name: str) -> None:
    """When a policy is made, and when it was stored before; without a word of what may be a password."""
    db = crate_files
    with pytest.raises(InvalidInput) as error:
        create_metrics(db, target_repository_name=name)
    assert "secret" not in str(error.value)
    db.policy("snapshot", "metrics", "30d")
    table = db.tool.store.tables.policy
    db.tool.engine.database.execute(sa.update(table).values(target_repository_name=name))
    db.refresh("retention_policy", db.own_schema)
    assert [finding.why.code for finding in db.tool.check()] == ["no-directory"]
    report = db.run()
    assert (report.ok, report.partitions, db.left("metrics")) == (False, 0, ALL)
    assert "secret" not in str(db.journal())


def test_closed_partition(crate_files: ParquetDatabase) -> None:
    """The rows of a closed partition cannot be read: it is blocked, and the others are archived."""
    db = crate_files
    create_metrics(db)
    db.sql(f"ALTER TABLE {db.q('metrics')} PARTITION (month = '2024-04-01') CLOSE")
    (blocked,) = db.tool.plan().needs_attention
    assert blocked.code == "partition-closed"
    assert db.run().partitions == 1
    db.sql(f"ALTER TABLE {db.q('metrics')} PARTITION (month = '2024-04-01') OPEN")
    assert db.left("metrics") == [APRIL, JUNE]


def interrupt_restore(db: CrateDatabase, present: tuple[str, ...] = (MAY,)) -> None:
    """As a restore that was killed while its last statement was carried out leaves it."""
    db.run()
    db.insert("metrics", [{"ts": MAY, "n": n} for n in present])
    for record in db.tool.snapshots():
        if record.archived.rows == 2:
            db.tool.store.snapshots.mark(*record.key, SnapshotStage.RESTORING)


def test_interrupted_restore(crate_files: ParquetDatabase) -> None:
    """The rows that are there are part of the archive: they are replaced by all of them."""
    db = crate_files
    create_metrics(db)
    interrupt_restore(db)
    found = db.tool.preview_restore(RestoreRequest(table_name="metrics"))
    assert [item.refusal for item in found] == [None, None]
    assert [item.error for item in db.tool.restore(RestoreRequest(table_name="metrics"))] == [None, None]
    assert (db.left("metrics"), db.frozen("metrics")) == (ALL, 0)
    found = db.tool.preview_restore(RestoreRequest(table_name="metrics"))
    assert all("already exists" in str(item.refusal) for item in found)
    restored = db.tool.restore(RestoreRequest(table_name="metrics"))
    assert all("already exists" in str(item.error) for item in restored)
    assert (db.left("metrics"), db.frozen("metrics")) == (ALL, 0)


@pytest.mark.parametrize("present", [(MAY, "other"), ("other",)])
def test_interrupted_restore_and_other_rows(crate_files: ParquetDatabase, present: tuple[str, ...]) -> None:
    """A row that is not archived must not be lost: the partition stays as it is."""
    db = crate_files
    create_metrics(db)
    interrupt_restore(db, present)
    first, second = db.tool.preview_restore(RestoreRequest(table_name="metrics"))
    assert (first.refusal, "already exists" in str(second.refusal)) == (None, True)
    april, may = db.tool.restore(RestoreRequest(table_name="metrics"))
    assert (april.error, "already exists" in str(may.error)) == (None, True)
    assert (db.left("metrics"), db.frozen("metrics")) == (sorted([APRIL, *present, JUNE]), 0)


def test_an_archive_without_rows(crate_files: ParquetDatabase) -> None:
    """Rows that arrived in a partition that was archived when it was empty stay: nothing would take their place."""
    db = crate_files
    create_metrics(db)
    db.sql(f"DELETE FROM {db.q('metrics')} WHERE n IN ('{MAY}', '{LATE_MAY}')")
    db.refresh("metrics")
    assert db.run().partitions == 2
    db.insert("metrics", [{"ts": MAY, "n": "other"}])
    (empty,) = [record for record in db.tool.snapshots() if record.archived.rows == 0]
    may = RestoreRequest(name=empty.archived.name)
    for stage in (SnapshotStage.ARCHIVED, SnapshotStage.RESTORING):
        db.tool.store.snapshots.mark(*empty.key, stage)
        (found,) = db.tool.preview_restore(may)
        (restored,) = db.tool.restore(may)
        assert all("already exists" in str(each) for each in (found.refusal, restored.error))
        assert (db.left("metrics"), db.frozen("metrics")) == (sorted(["other", JUNE]), 0)


def test_interrupted_restore_is_not_archived(crate_files: ParquetDatabase) -> None:
    """It would be unknown which rows are in both archives: nothing is dropped until the restore is repeated."""
    db = crate_files
    create_metrics(db)
    interrupt_restore(db)
    report = db.run()
    assert (report.ok, report.partitions) == (False, 0)
    assert "was interrupted: it has 1 of 2 rows" in errors(db)
    assert (db.left("metrics"), db.frozen("metrics")) == ([MAY, JUNE], 0)
    assert all(item.error is None for item in db.tool.restore(RestoreRequest(table_name="metrics")))
    assert db.left("metrics") == ALL


def test_changed_table(crate_files: ParquetDatabase) -> None:
    """A table that lacks a column, or has it in another type, gets nothing; another table gets everything."""
    db = crate_files
    create_metrics(db)
    db.run()
    for columns in ({"ts": TIME, "month": MONTH}, {"ts": TIME, "n": "BIGINT", "month": MONTH}):
        db.sql(f"DROP TABLE IF EXISTS {db.q('other')}")
        db.create("other", columns, by=["month"])
        restored = db.tool.restore(RestoreRequest(table_name="metrics", into=db.table("other")))
        assert all("'n'" in str(item.error) for item in restored)
        assert db.count("other") == 0


def test_mixed_repositories(crate_files: ParquetDatabase, crate_repository: str) -> None:
    """A partition whose archives are files and snapshots is not restored in part."""
    db = crate_files
    create_metrics(db)
    db.run()
    (policy,) = db.tool.policies()
    db.tool.edit_policy(policy.policy.id or "", {"target_repository_name": crate_repository})
    db.fill("metrics", ["2024-05-11T00:00:00Z"])
    assert db.run().partitions == 1
    april, *may = db.tool.restore(RestoreRequest(table_name="metrics"))
    assert april.error is None
    assert all("some of its snapshots are files" in str(item.error) for item in may)
    assert db.left("metrics") == [APRIL, JUNE]


def make_wide(db: CrateDatabase, rows: int) -> TableName:
    """A table of several shards, whose rows have neither a time nor a number, and of which some are wide."""
    long_text = "TEXT INDEX OFF STORAGE WITH (columnstore = false)"
    db.sql(f"CREATE TABLE {db.q('t')} (n TEXT, v {long_text}) CLUSTERED INTO 4 SHARDS WITH (number_of_replicas = 0)")
    db.insert("t", [{"n": f"{n:04}", "v": "wide" * 1000 if n % 50 == 49 else None} for n in range(rows)])
    return db.table("t")


def read(db: CrateDatabase, table: TableName) -> list[list[Any]]:
    """The values of column `n`, page by page, as an archive gets them."""
    database = db.tool.engine.database
    assert isinstance(database, CrateConnection)
    found = parquet.ParquetArchive(database, db.time.clock)
    stored = [Stored("n", "text"), Stored("v", "text")]
    return [list(columns[0]) for columns, rows in found._read_rows(table, stored, sa.true())]


def test_each_row_once(crate: CrateDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its columns are, and pages are as small as they should be; nothing is left on the server."""
    table = make_wide(crate, 500)
    monkeypatch.setattr(parquet, "FIRST_ROWS", 3)
    monkeypatch.setattr(parquet, "PAGE_ROWS", 70)
    pages = read(crate, table)
    assert sorted(n for page in pages for n in page) == [f"{n:04}" for n in range(500)]
    assert len(pages[0]) == 3
    assert all(len(page) <= 70 for page in pages)
    assert len(pages) < 20
    monkeypatch.setattr(parquet, "PAGE_BYTES", 500)
    assert max(map(len, read(crate, table))) < 40
    assert crate.rows("SELECT count(*) FROM pg_catalog.pg_cursors")[0][0] == 0


def test_rows_stay_as_they_were(crate: CrateDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written, changed and deleted while rows are read is not seen: each is read as it was."""
    table = make_wide(crate, 100)
    monkeypatch.setattr(parquet, "FIRST_ROWS", 10)
    monkeypatch.setattr(parquet, "PAGE_ROWS", 10)
    database = crate.tool.engine.database
    assert isinstance(database, CrateConnection)
    found = parquet.ParquetArchive(database, crate.time.clock)
    pages = found._read_rows(table, [Stored("n", "text")], sa.true())
    seen = list(next(pages)[0][0])
    crate.sql(f"DELETE FROM {crate.q('t')} WHERE n < '0050'")
    crate.insert("t", [{"n": "new", "v": None}])
    crate.sql(f"OPTIMIZE TABLE {crate.q('t')} WITH (max_num_segments = 1)")
    seen += [n for columns, _ in pages for n in columns[0]]
    assert sorted(seen) == [f"{n:04}" for n in range(100)]


@pytest.mark.parametrize("times", [[MAY, LATE_MAY, None, MAY, LATE_MAY], [MAY] * 5, [None] * 5], ids=str)
def test_halves(crate_files: ParquetDatabase, monkeypatch: pytest.MonkeyPatch, times: list[str | None]) -> None:
    """Of many rows two halves are read side by side: each row once, whatever its time is, near those of its half."""
    db, numbers = crate_files, [str(number) for number in range(5)]
    db.create("t", {"seen": TIME, "ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    rows = zip(times, numbers, strict=True)
    db.insert("t", [{"seen": seen, "ts": LATE_MAY if number == "0" else MAY, "n": number} for seen, number in rows])
    db.policy("snapshot", "t", "30d", time_column="ts")
    before = texts(db, "t", ["seen", "n"])
    monkeypatch.setattr(parquet, "MANY_ROWS", 5)
    monkeypatch.setattr(parquet, "FIRST_ROWS", 1)
    assert (db.run().ok, db.left("t")) == (True, [])
    (path,) = db.directory.rglob("*.parquet")
    file = pyarrow.parquet.ParquetFile(path)
    groups = [file.read_row_group(number).column("n").to_pylist() for number in range(file.num_row_groups)]
    assert sorted(n for group in groups for n in group) == numbers
    if len(set(times)) > 1:
        assert sorted(map(sorted, groups)) == [["0", "3"], ["1", "2", "4"]]
    assert [item.error for item in db.tool.restore(RestoreRequest(table_name="t"))] == [None]
    assert texts(db, "t", ["seen", "n"]) == before


def test_connection_that_changes(crate: CrateDatabase) -> None:
    """A proxy with a connection for each request loses the cursor: an error that says so, and nothing is archived."""
    table = make_wide(crate, 10)
    with proxy_to(crate.uri) as proxy, Retention(proxy.uri, crate.own_schema, clock=crate.time.clock) as tool:
        database = tool.engine.database
        assert isinstance(database, CrateConnection)
        query: sa.Select[Any] = sa.select(sa.column("n")).select_from(sa.table(table.name, schema=table.schema))
        with pytest.raises(DatabaseError, match="the connection was lost or changed"), database.reading(query) as fetch:
            fetch(1)


def test_rows_that_were_not_read(crate_files: ParquetDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer rows than the partition has: nothing is archived or dropped."""
    db = crate_files
    create_metrics(db)
    read_rows = parquet.ParquetArchive._read_rows

    def lose(*arguments: Any) -> Iterator[Any]:
        yield from itertools.islice(read_rows(*arguments), 0)

    monkeypatch.setattr(parquet.ParquetArchive, "_read_rows", lose)
    report = db.run()
    assert (report.ok, report.partitions, db.snapshot_states()) == (False, 0, {})
    assert (db.left("metrics"), db.frozen("metrics")) == (ALL, 0)
    assert "0 rows were read, but it has 1" in errors(db)


def test_statements_are_shown(crate_files: ParquetDatabase) -> None:
    """A plan shows what is read, and a preview of a restore what is written."""
    db = crate_files
    create_metrics(db)
    shown = [db.tool.engine.render(step) for task in db.tool.plan().tasks for step in task.steps]
    assert any(f"FROM {quoted(db.schema, 'metrics')}" in text for texts in shown for text in texts)
    db.run()
    found = db.tool.preview_restore(RestoreRequest(table_name="metrics", name=db.tool.snapshots()[0].archived.name))
    assert any("INSERT INTO" in text for text in db.tool.archive.statements(found))
