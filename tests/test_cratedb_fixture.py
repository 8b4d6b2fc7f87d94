"""
What the toolkit takes for granted about CrateDB, on the CrateDB that the tests run on.

If one of these fails on a new version of CrateDB, a rule of the toolkit that stands on it has to be thought over.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.cratedb import CrateDB, CrateDBCluster
from support.sql import SqlError, quoted

MAY, JUNE, JULY = "2024-05-15T00:00:00Z", "2024-06-15T00:00:00Z", "2024-07-15T00:00:00Z"
JUNE_START = "2024-06-01T00:00:00Z"


@pytest.fixture
def readings(cratedb: CrateDB, crate_schema: str) -> str:
    """A table partitioned by month, with one row in each of May, June and July."""
    table = quoted(crate_schema, "readings")
    create_readings(cratedb, table)
    return table


def create_readings(db: CrateDB, table: str, options: str = "number_of_replicas = 0") -> None:
    """Create and fill the table of these tests."""
    db.sql(
        f"CREATE TABLE {table} (ts TIMESTAMP WITH TIME ZONE, value DOUBLE PRECISION,"
        " month TIMESTAMP WITH TIME ZONE GENERATED ALWAYS AS date_trunc('month', ts))"
        f" CLUSTERED INTO 3 SHARDS PARTITIONED BY (month) WITH ({options})"
    )
    assert db.bulk(f"INSERT INTO {table} (ts, value) VALUES (?, ?)", [[MAY, 1], [JUNE, 2], [JULY, 3]]) == [1, 1, 1]
    db.sql(f"REFRESH TABLE {table}")


def partitions(db: CrateDB, schema: str) -> int:
    """How many partitions the tables of a schema have."""
    query = "SELECT count(*) FROM information_schema.table_partitions WHERE table_schema = ?"
    return int(db.value(query, [schema]))


def test_server_answers(cratedb: CrateDB) -> None:
    """A statement with columns gives rows, and one without gives a row count."""
    assert cratedb.sql("SELECT 1, ?", ["a"]) == [[1, "a"]]
    assert cratedb.value("SELECT count(*) FROM sys.nodes") == 1


def test_error_is_the_servers(cratedb: CrateDB, crate_schema: str) -> None:
    """A refused statement raises the server's own message."""
    with pytest.raises(SqlError, match=rf"Schema '{crate_schema}' unknown"):
        cratedb.sql(f"SELECT * FROM {crate_schema}.missing")


def test_schemas_are_emptied(cratedb: CrateDB, crate_schema: str) -> None:
    """What a test leaves behind is dropped: tables, views, and the tables of the toolkit."""
    cratedb.sql(f"CREATE TABLE {crate_schema}.a (x INTEGER)")
    cratedb.sql(f"CREATE VIEW {crate_schema}.b AS SELECT * FROM {crate_schema}.a")
    cratedb.sql(f"CREATE TABLE {crate_schema}_ext.policy (x INTEGER)")
    cratedb.drop_schemas(crate_schema, f"{crate_schema}_ext")
    query = "SELECT count(*) FROM information_schema.tables WHERE table_schema LIKE ?"
    assert cratedb.value(query, [f"{crate_schema}%"]) == 0


def test_partition_is_dropped_by_delete(cratedb: CrateDB, crate_schema: str, readings: str) -> None:
    """A DELETE that matches whole partitions drops them; CrateDB does not say how many rows that were."""
    assert cratedb.rowcount(f"DELETE FROM {readings} WHERE month < ?", [JUNE_START]) == -1
    assert partitions(cratedb, crate_schema) == 2


def test_part_of_partition_leaves_it_empty(cratedb: CrateDB, crate_schema: str, readings: str) -> None:
    """A DELETE by another column counts its rows, and leaves an empty partition."""
    assert cratedb.rowcount(f"DELETE FROM {readings} WHERE ts < ?", [JUNE_START]) == 1
    assert partitions(cratedb, crate_schema) == 3


def test_closed_partition_swallows_rows(cratedb: CrateDB, readings: str) -> None:
    """An INSERT into a closed partition raises nothing and stores nothing: the reason why none is ever closed."""
    cratedb.sql(f"ALTER TABLE {readings} PARTITION (month = ?) CLOSE", [JUNE_START])
    assert cratedb.rowcount(f"INSERT INTO {readings} (ts, value) VALUES (?, 4)", [JUNE]) == 0
    cratedb.sql(f"ALTER TABLE {readings} PARTITION (month = ?) OPEN", [JUNE_START])
    cratedb.sql(f"REFRESH TABLE {readings}")
    assert cratedb.rows(f"SELECT value FROM {readings} ORDER BY ts") == [[1.0], [2.0], [3.0]]


def test_closed_partition_is_dropped_by_delete(cratedb: CrateDB, crate_schema: str, readings: str) -> None:
    """Although no query sees a closed partition, a DELETE drops it."""
    cratedb.sql(f"ALTER TABLE {readings} PARTITION (month = ?) CLOSE", [JUNE_START])
    assert cratedb.value(f"SELECT count(*) FROM {readings}") == 2
    cratedb.sql(f"DELETE FROM {readings} WHERE month = ?", [JUNE_START])
    assert partitions(cratedb, crate_schema) == 2


def test_frozen_partition_refuses_rows(cratedb: CrateDB, readings: str) -> None:
    """A write block is loud: the writer gets an error, and readers still see the rows."""
    cratedb.sql(f'ALTER TABLE {readings} PARTITION (month = ?) SET ("blocks.write" = true)', [JUNE_START])
    with pytest.raises(SqlError, match="blocked"):
        cratedb.sql(f"INSERT INTO {readings} (ts, value) VALUES (?, 4)", [JUNE])
    assert cratedb.value(f"SELECT count(*) FROM {readings}") == 3


def test_snapshot_of_partition(cratedb: CrateDB, readings: str, crate_repository: str) -> None:
    """The server may write to the repository, and a dropped partition comes back from it."""
    snapshot = quoted(crate_repository, "june")
    cratedb.sql(
        f"CREATE SNAPSHOT {snapshot} TABLE {readings} PARTITION (month = ?) WITH (wait_for_completion = true)",
        [JUNE_START],
    )
    query = "SELECT state FROM sys.snapshots WHERE repository = ?"
    assert cratedb.rows(query, [crate_repository]) == [["SUCCESS"]]
    cratedb.sql(f"DELETE FROM {readings} WHERE month = ?", [JUNE_START])
    cratedb.sql(
        f"RESTORE SNAPSHOT {snapshot} TABLE {readings} PARTITION (month = ?) WITH (wait_for_completion = true)",
        [JUNE_START],
    )
    cratedb.sql(f"REFRESH TABLE {readings}")
    assert cratedb.rows(f"SELECT value FROM {readings} ORDER BY ts") == [[1.0], [2.0], [3.0]]


def test_only_a_restore_reads_files(cratedb: CrateDB, crate_schema: str, readings: str, crate_repository: str) -> None:
    """A snapshot counts as complete whatever became of its files; restoring it fails, and leaves a table behind."""
    snapshot = quoted(crate_repository, "june")
    partition = f"TABLE {readings} PARTITION (month = ?) WITH (wait_for_completion = true"
    renamed = ", table_rename_pattern = 'readings', table_rename_replacement = 'copy'"
    cratedb.sql(f"CREATE SNAPSHOT {snapshot} {partition})", [JUNE_START])
    (file, *_) = (cratedb.repo_root / crate_repository).glob("indices/**/__*")
    file.write_bytes(file.read_bytes()[:-1])
    query = "SELECT state, failures FROM sys.snapshots WHERE repository = ?"
    assert cratedb.rows(query, [crate_repository]) == [["SUCCESS", []]]
    with pytest.raises(SqlError, match="failed to restore 1 of 3 shards"):
        cratedb.sql(f"RESTORE SNAPSHOT {snapshot} {partition}{renamed})", [JUNE_START])
    cratedb.sql(f"DROP TABLE {quoted(crate_schema, 'copy')}")


def test_hexadecimal_numbers(cratedb: CrateDB) -> None:
    """A cast reads Java's notation, so that parts of a digest can be added up."""
    assert cratedb.value("SELECT CAST(CAST('0x' || substr(md5('a'), 1, 7) || 'p0' AS DOUBLE) AS BIGINT)") == 0x0CC175B


def test_partition_moves_to_cold_node(cratedb_cluster: CrateDBCluster, cluster_schema: str) -> None:
    """A partition's shards move to the nodes with the attribute that it requires."""
    assert [node.storage for node in cratedb_cluster.nodes.values()] == ["hot", "hot", "cold"]
    table = quoted(cluster_schema, "readings")
    create_readings(cratedb_cluster.db, table, "number_of_replicas = 0, \"routing.allocation.require.storage\" = 'hot'")
    cratedb_cluster.sql(
        f"ALTER TABLE {table} PARTITION (month = ?) SET (\"routing.allocation.require.storage\" = 'cold')",
        [JUNE_START],
    )
    cratedb_cluster.wait_for(
        f"SELECT count(*) FROM sys.shards WHERE schema_name = '{cluster_schema}' AND node['name'] = 'n3'"
        " AND routing_state = 'STARTED'",
        3,
    )


def test_missing_shards_are_silent(cratedb_cluster: CrateDBCluster, cluster_schema: str) -> None:
    """With a node gone and no replica, a count is too low and no error says so; only `sys.health` does."""
    table = quoted(cluster_schema, "readings")
    create_readings(cratedb_cluster.db, table)
    insert = f"INSERT INTO {table} (ts, value) VALUES (?, ?)"
    cratedb_cluster.db.bulk(insert, [[JUNE, value] for value in range(300)])
    cratedb_cluster.sql(f"REFRESH TABLE {table}")
    missing = f"SELECT sum(missing_shards) FROM sys.health WHERE table_schema = '{cluster_schema}'"

    cratedb_cluster.kill("n1")
    cratedb_cluster.wait_for(f"SELECT ({missing}) > 0", True)
    assert cratedb_cluster.db.value(f"SELECT count(*) FROM {table}") < 303

    cratedb_cluster.start("n1")
    cratedb_cluster.wait_for(missing, 0)
    assert cratedb_cluster.db.value(f"SELECT count(*) FROM {table}") == 303


def test_a_view_takes_the_name_of_a_table(cratedb: CrateDB, crate_schema: str) -> None:
    """
    `CREATE OR REPLACE VIEW` makes a table of that name vanish, without an error; `CREATE VIEW` does not.

    The table has no partition yet, and so no shard: CrateDB starts shards without a table again and again, which
    keeps it busy until its end.
    """
    table = quoted(crate_schema, "readings")
    cratedb.sql(f"CREATE TABLE {table} (n NUMERIC(10, 2), o OBJECT(IGNORED), part INTEGER) PARTITIONED BY (part)")
    declared = str(cratedb.value(f"SHOW CREATE TABLE {table}"))
    assert '"n" NUMERIC(10, 2)' in declared and '"o" OBJECT(IGNORED)' in declared
    with pytest.raises(SqlError, match="RelationAlreadyExists"):
        cratedb.sql(f"CREATE VIEW {table} AS SELECT 1 AS n")
    cratedb.sql(f"CREATE OR REPLACE VIEW {table} AS SELECT 1 AS n")
    kind = f"SELECT table_type FROM information_schema.tables WHERE table_schema = '{crate_schema}'"
    assert cratedb.value(kind) == "VIEW"
    cratedb.sql(f"CREATE TABLE IF NOT EXISTS {table} (n INTEGER)")
    assert cratedb.value(kind) == "VIEW"
    cratedb.sql(f"DROP VIEW {table}")


def test_what_is_finite(cratedb: CrateDB, crate_schema: str) -> None:
    """NaN equals itself and is the greatest, so only finite numbers lie between the least and greatest double."""
    table = quoted(crate_schema, "readings")
    cratedb.sql(f"CREATE TABLE {table} (id INTEGER, x DOUBLE PRECISION, r REAL)")
    values = [1.5, "NaN", "Infinity", "-Infinity", None]
    cratedb.bulk(f"INSERT INTO {table} VALUES (?, ?, ?)", [[i, value, value] for i, value in enumerate(values)])
    cratedb.sql(f"REFRESH TABLE {table}")
    assert [row[0] for row in cratedb.rows(f"SELECT x FROM {table} ORDER BY id")] == values
    assert cratedb.rows(f"SELECT x = x, x > 'Infinity' FROM {table} WHERE id = 1") == [[True, True]]
    largest = sys.float_info.max
    for column in ("x", "r"):
        finite = f"{column} BETWEEN ? AND ?"
        assert cratedb.rows(f"SELECT id FROM {table} WHERE {finite}", [-largest, largest]) == [[0]]
        found = cratedb.rows(f"SELECT CASE WHEN {finite} THEN id END FROM {table} ORDER BY id", [-largest, largest])
        assert [row[0] for row in found] == [0, None, None, None, None]


def test_patterns_with_an_escape(cratedb: CrateDB) -> None:
    """``LIKE`` takes any character that makes the next one mean itself."""
    query = "SELECT x, x LIKE '%!_t' ESCAPE '!' FROM UNNEST(['a_t', 'abt', NULL]) AS u(x)"
    assert cratedb.rows(query) == [["a_t", True], ["abt", False], [None, None]]


def test_objects_without_columns(cratedb: CrateDB, crate_schema: str) -> None:
    """What is in an object has a column, unless the object ignores it; only its definition tells."""
    table = quoted(crate_schema, "objects")
    cratedb.sql(f"CREATE TABLE {table} (d OBJECT(DYNAMIC), s OBJECT(STRICT), i OBJECT(IGNORED))")
    cratedb.sql(f"INSERT INTO {table} (d, s, i) VALUES ({{}}, {{}}, {{a = 1}}), ({{b = 1}}, NULL, NULL)")
    cratedb.sql(f"REFRESH TABLE {table}")
    names = "SELECT column_name FROM information_schema.columns WHERE table_schema = ? ORDER BY ordinal_position"
    assert sorted(row[0] for row in cratedb.rows(names, [crate_schema])) == ["d", "d['b']", "i", "s"]
    definition = str(cratedb.value(f"SHOW CREATE TABLE {table}"))
    assert all(words in definition for words in ("OBJECT(DYNAMIC)", "OBJECT(STRICT)", "OBJECT(IGNORED)"))


def test_absence_is_loud() -> None:
    """Without a CrateDB, the end of the output says how many tests were skipped, and how to run them."""
    environment = {name: value for name, value in os.environ.items() if name != "CRATEDB_URI"}
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "server_answers", __file__],
        cwd=Path(__file__).parent.parent,
        env={**environment, "CRATEDB_HOME": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "NOT TESTED ON CRATEDB: 1 test skipped" in result.stdout
