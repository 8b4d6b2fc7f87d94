"""
Archives on DuckDB hold each value exactly, whatever its type; a type of which some value can't be is refused before
anything is archived.
"""

from __future__ import annotations

import pytest

from cratedb_retention import RestoreRequest
from cratedb_retention.engine.duckdb.files import is_exact
from cratedb_retention.model.catalog import TableName
from support.databases import DuckDatabase

HUGE = "170141183460469231731687303715884105727"
# Types, and values as SQL.
EXACT = {
    "BOOLEAN": ["true", "NULL"],
    "TINYINT": ["-128"],
    "UBIGINT": ["18446744073709551615"],
    "HUGEINT": [HUGE, f"-{HUGE}", "NULL"],
    "UHUGEINT": ["340282366920938463463374607431768211455"],
    "BIGNUM": ["'-12345678901234567890123456789012345678901234567890'::BIGNUM", "0"],
    "FLOAT": ["'nan'", "'-0.0'", "'inf'"],
    "DOUBLE": ["'nan'", "'-0.0'", "'-inf'", "0.1"],
    "DECIMAL(38,10)": ["1234567890123456789012345678.0123456789"],
    "DECIMAL(38,38)": ["0.00000000000000000000000000000000000001"],
    "VARCHAR": ["''", "NULL", "'a' || chr(0)", "'''\"'"],
    "BLOB": [r"'\x00\xFF'::BLOB", "''::BLOB"],
    "BIT": ["'1'", "'1010101010101010101010101'"],
    "UUID": ["'5d41402a-bc4b-2a76-b971-9d911017c592'"],
    "JSON": ["""'{"a": [1, null], "a": 2}'""", "'null'", "NULL"],
    "ENUM('a', 'b''c', ',', '')": ["'a'", "'b''c'", "','", "''", "NULL"],
    "DATE": ["'infinity'", "'-infinity'", "'0044-03-15 (BC)'"],
    "TIME": ["'12:34:56.789123'", "'24:00:00'"],
    "TIMETZ": ["'12:34:56.789+05:30'", "'24:00:00-15:59:59'", "'00:00:00'"],
    "TIMESTAMP": ["'infinity'", "'290309-12-22 (BC) 00:00:00'", "'2024-01-01 00:00:00.123456'"],
    "TIMESTAMPTZ": ["'infinity'", "'2024-01-01 00:00:00.123456+00'"],
    "TIMESTAMP_S": ["'2024-01-01 00:00:01'", "'infinity'", "'-infinity'"],
    "TIMESTAMP_MS": ["'2024-01-01 00:00:01.123'", "'infinity'"],
    "TIMESTAMP_NS": ["'2024-01-01 00:00:01.123456789'", "'infinity'"],
    "INTERVAL": ["INTERVAL '-1 month'", "INTERVAL '1 microsecond'", "INTERVAL '1 year 2 months -3 days 04:05:06.789'"],
    "ENUM('a', 'b')[]": ["['a', NULL, 'b']", "[]"],
    "INTEGER[3]": ["[1, 2, NULL]"],
    "HUGEINT[][]": [f"[[{HUGE}, NULL], NULL, []]"],
    "VARCHAR[]": ["""['a,b', '', NULL, 'NULL', '[x]', '"', '''']"""],
    "STRUCT(a INTEGER, \"b \"\"c\" VARCHAR)": ["row(1, 'it''s')", "NULL", "row(NULL, NULL)"],
    "STRUCT(s VARCHAR, i INTERVAL, h HUGEINT)": [f"row('a, b: ''c''', INTERVAL '-1 day', {HUGE})", "row('', NULL, 1)"],
    "STRUCT(\"interval\" INTEGER, variant INTEGER)": ["row(1, 2)"],
    "MAP(VARCHAR, INTERVAL)": ["MAP {'a=b, c': INTERVAL '-1 day', '': NULL}", "MAP {}"],
    "MAP(ENUM('p', 'q'), INTEGER)": ["MAP {'p': 1}"],
    "UNION(num INTEGER, str VARCHAR)": ["1", "'x'", "NULL"],
    "UNION(num INTEGER, kind ENUM('a', 'b'))[]": ["[1, NULL]"],
}  # fmt: skip
REFUSED = {
    "UNION(h HUGEINT, s VARCHAR)": "1::HUGEINT",
    "UNION(l INTEGER[], s VARCHAR)": "'a'",
    "UNION(s STRUCT(a INTEGER), n INTEGER)": "1",
    "STRUCT(j JSON, h HUGEINT)": "row('{}', 1)",
}
OLD, YOUNG = "2024-05-10", "2024-07-01"


def fill(duck: DuckDatabase, columns: dict[str, list[str]]) -> None:
    """A table with columns of some types, of which May is expired, and a policy that archives it."""
    types = ", ".join(f"v{number} {kind}" for number, kind in enumerate(columns))
    month = "month TIMESTAMP GENERATED ALWAYS AS (date_trunc('month', ts))"
    duck.sql(f"CREATE TABLE lab.t (ts TIMESTAMP, n INTEGER, {types}, {month})")
    for row in range(max(map(len, columns.values()))):
        values = ", ".join(given[row % len(given)] for given in columns.values())
        for day in (OLD, YOUNG):
            duck.sql(f"INSERT INTO lab.t SELECT '{day}', {row}, {values}")
    duck.policy("snapshot", "t", "30d")


def texts(duck: DuckDatabase, table: str) -> list[list[tuple[object, ...]]]:
    """By column the values of May as text, which tells -0.0 from 0.0, with their types and hashes."""
    where = f"FROM {table} WHERE ts < '2024-06-01' ORDER BY n"
    columns = [f"SELECT CAST(v{c} AS VARCHAR), typeof(v{c}), hash(v{c}) {where}" for c in range(len(EXACT))]
    return [[tuple(row) for row in duck.rows(query)] for query in columns]


def test_exact(duck: DuckDatabase) -> None:
    """Archived, verified and restored, into its table, beside it, and after the table was dropped: the same."""
    fill(duck, EXACT)
    before = texts(duck, "lab.t")
    assert all(map(len, before))
    assert duck.tool.check() == []
    report = duck.run()
    assert (report.ok, report.partitions) == (True, 1)
    assert not any(texts(duck, "lab.t"))
    assert [verified.error for verified in duck.tool.verify_snapshots()] == [None]
    for into in (None, TableName("lab", "beside")):
        (restored,) = duck.tool.restore(RestoreRequest(table_name="t", into=into))
        assert restored.error is None
    assert texts(duck, "lab.t") == texts(duck, "lab.beside") == before
    duck.sql("DROP TABLE lab.t")
    (restored,) = duck.tool.restore(RestoreRequest(table_name="t"))
    assert restored.error is None
    assert texts(duck, "lab.t") == before


def test_undone_beside_rows_of_all_types(duck: DuckDatabase) -> None:
    """What was deleted comes back beside a row that was sent again, which is there once, whatever its types are."""
    fill(duck, EXACT)
    [stored] = duck.tool.policies()
    duck.tool.policies.edit(stored.id, {"strategy": "delete", "recoverable": "7d"})
    before = texts(duck, "lab.t")
    assert duck.run().partitions == 1
    again = f"* EXCLUDE (month) REPLACE (TIMESTAMP '{OLD}' AS ts)"
    duck.sql(f"INSERT INTO lab.t BY NAME SELECT {again} FROM lab.t WHERE n = 1")
    assert {len(column) for column in texts(duck, "lab.t")} == {1}
    [undone] = duck.tool.undo(policy_id=stored.id)
    assert (undone.error, texts(duck, "lab.t")) == (None, before)


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("due", [True, False])
def test_refused(duck: DuckDatabase, kind: str, due: bool) -> None:
    """A column that can't be archived exactly is a finding, also while nothing is due; nothing is dropped."""
    fill(duck, {kind: [REFUSED[kind]]})
    duck.policy("delete", "t", "30d")
    if not due:
        duck.sql("DELETE FROM lab.t WHERE ts < '2024-06-01'")
    rows = duck.count("t")
    assert any("cannot be archived exactly; change its type" in finding.message for finding in duck.tool.check())
    assert any("column v0 (" in hold.reason for hold in duck.tool.plan().needs_attention)
    report = duck.run()
    assert (report.ok, report.partitions) == (False, 0)
    assert duck.count("t") == rows
    assert duck.snapshot_names() == []


def test_names_of_fields_are_no_types() -> None:
    """A type is read, not searched for words."""
    assert is_exact('STRUCT(variant INTEGER, "VARIANT" INTEGER, geometry VARCHAR)')
    assert is_exact("ENUM('VARIANT', 'UNION(')")
    assert is_exact("DECIMAL(18,3)[2][]")
    assert not is_exact("GEOMETRY")
    assert not is_exact("STRUCT(a VARIANT)")
    assert not is_exact("MAP(VARCHAR, UNION(a INTEGER[]))")
