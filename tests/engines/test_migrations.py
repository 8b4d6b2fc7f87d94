"""
Upgrades of the toolkit's own tables, from those of release 0.1.0 with rows in them: nothing is lost, wherever an
upgrade is killed, and two of them at once end as one does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from cratedb_retention import Retention
from cratedb_retention.errors import ConnectionLost, NotFound, Recovering, RetentionError
from cratedb_retention.store.setup import STEPS
from cratedb_retention.store.tables import Tables
from support.databases import CrateDatabase, Database, DuckDatabase, before_statements
from support.kill_harness import RunRequest, run_until_killed
from support.tiers import DECIDED, examples

# As release 0.1.0 created them.
TEXTS, TIME = "TEXT[]", "TIMESTAMP WITH TIME ZONE"
RELEASE_0_1_0: Mapping[str, str] = {
    "retention_policy": "strategy TEXT NOT NULL, table_schema TEXT, table_name TEXT NOT NULL, retention_period TEXT NOT"
    ' NULL, time_zone TEXT, partition_column TEXT, time_column TEXT, "where" TEXT, tags TEXTS,'
    " reallocation_attribute_name TEXT, reallocation_attribute_value TEXT, target_repository_name TEXT,"
    " expected_max TEXT, enabled BOOLEAN, description TEXT, id TEXT PRIMARY KEY, version INTEGER NOT NULL,"
    " changed_at TIME, changed_by TEXT",
    "jobs_log": '"time" TIME NOT NULL, event TEXT NOT NULL, outcome TEXT, table_schema TEXT, table_name TEXT, policy_id'
    " TEXT, strategy TEXT, tags TEXTS, operation TEXT, message TEXT, error TEXT, partitions BIGINT, rows BIGINT, bytes"
    ' BIGINT, duration_ms BIGINT, cutoff TIME, "before" TEXT, "after" TEXT, actor TEXT, host TEXT, run_id TEXT, step'
    " INTEGER",
    "retention_hold": 'table_schema TEXT, table_name TEXT NOT NULL, "where" TEXT, start TIME, "end" TIME, kind TEXT NOT'
    " NULL, reason TEXT, placed_at TIME, placed_by TEXT, released_at TIME, released_by TEXT, id TEXT PRIMARY KEY",
    "retention_snapshot": "name TEXT, repository TEXT, table_schema TEXT NOT NULL, table_name TEXT NOT NULL, partition"
    ' TEXT NOT NULL, start TIME, "end" TIME, state TEXT NOT NULL, rows BIGINT, bytes BIGINT, policy_id TEXT,'
    " tags TEXTS, run_id TEXT, changed_at TIME, PRIMARY KEY (name, repository)",
    "retention_freeze": "table_schema TEXT NOT NULL, table_name TEXT NOT NULL, partition TEXT NOT NULL, run_id TEXT,"
    " frozen_at TIME, id TEXT PRIMARY KEY",
}
THEN = "2024-05-01T00:00:00+00:00"
PARTITION = '[["day", "BIGINT", "number", 1]]'
ROWS: Mapping[str, Mapping[str, Any]] = {
    "retention_policy": {
        "strategy": "delete",
        "table_schema": "doc",
        "table_name": "metrics",
        "retention_period": "30d",
        "tags": ["old"],
        "id": "kept",
        "version": 3,
        "changed_at": THEN,
        "changed_by": "ann",
    },
    "jobs_log": {"time": THEN, "event": "policy", "outcome": "done", "policy_id": "kept", "message": "created"},
    "retention_hold": {
        "table_schema": "doc",
        "table_name": "metrics",
        "kind": "legal",
        "reason": "trial",
        "placed_at": THEN,
        "placed_by": "ann",
        "id": "h",
    },
    "retention_snapshot": {
        "name": "snap",
        "repository": "cold",
        "table_schema": "doc",
        "table_name": "metrics",
        "partition": PARTITION,
        "state": "archived",
        "rows": 7,
        "changed_at": THEN,
        "tags": ["old"],
    },
    "retention_freeze": {"table_schema": "doc", "table_name": "metrics", "partition": PARTITION, "id": "f"},
}
Columns = dict[str, dict[str, str]]


class Killed(BaseException):
    """As if the process had been killed."""


@pytest.fixture
def released(new_db: Database) -> Database:
    """A database that release 0.1.0 has left, of which nothing was refreshed."""
    create_release(new_db)
    return new_db


def create_release(db: Database) -> None:
    """The tables of 0.1.0, with a row in each."""
    if isinstance(db, DuckDatabase):
        db.sql(f'CREATE SCHEMA IF NOT EXISTS "{db.own_schema}"')
    for table, row in ROWS.items():
        columns = RELEASE_0_1_0[table].replace("TEXTS", TEXTS).replace(" TIME", f" {TIME}")
        options = ""
        if table == "jobs_log" and isinstance(db, CrateDatabase):
            columns += f", month {TIME} GENERATED ALWAYS AS date_trunc('month', \"time\")"
            options = " PARTITIONED BY (month)"
        db.sql(f"CREATE TABLE {db.q(table, db.own_schema)} ({columns}){options}")
        insert(db, table, row)


def insert(db: Database, table: str, row: Mapping[str, Any]) -> None:
    """A row of one of the toolkit's tables."""
    names = ", ".join(f'"{name}"' for name in row)
    places = ", ".join("?" * len(row))
    db.sql(f"INSERT INTO {db.q(table, db.own_schema)} ({names}) VALUES ({places})", list(row.values()))


def drop_all(db: Database) -> None:
    """No table of the toolkit is left."""
    for table in own_columns(db):
        db.sql(f"DROP TABLE {db.q(table, db.own_schema)}")


def own_columns(db: Database) -> Columns:
    """The columns of the toolkit's tables with their types, whatever their order."""
    query = "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = ?"
    found: Columns = {}
    for table, column, kind in db.rows(query, [db.own_schema]):
        found.setdefault(table, {})[column] = kind
    return found


def assert_upgraded(db: Database, expected: Columns) -> None:
    """It is as a new one, and every row of 0.1.0 is there."""
    assert own_columns(db) == expected
    tool = db.retention()
    (stored,) = tool.policies()
    assert (stored.policy.id, stored.version, str(stored.policy.retention_period)) == ("kept", 3, "30d")
    assert [hold.reason for hold in tool.holds()] == ["trial"]
    assert [(record.archived.name, record.archived.rows) for record in tool.store.snapshots.all()] == [("snap", 7)]
    assert db.count("retention_freeze", schema=db.own_schema) == 1
    assert db.count("jobs_log", "message = 'created'", db.own_schema) == 1
    versions = db.rows(f"SELECT version, name FROM {db.q('schema_version', db.own_schema)} ORDER BY version")
    assert [tuple(row) for row in versions] == [(step.version, step.name) for step in STEPS]
    assert tool.setup() == []


def newly_created(db: Database) -> Columns:
    """The columns of a new schema; then it is removed again."""
    db.retention().setup(journal_policy=False)
    columns = own_columns(db)
    drop_all(db)
    return columns


def test_every_step_is_described() -> None:
    """Steps are in order, and make each table and column of the present description."""
    assert [step.version for step in STEPS] == list(range(1, len(STEPS) + 1))
    made = {("schema_version", column) for column in ("version", "name", "applied_at")}
    tables = Tables("ext", partitions=True).metadata.tables
    old = {(table, sql.split()[0].strip('"')) for table, text in RELEASE_0_1_0.items() for sql in text.split(", ")}
    for step in STEPS:
        for table in step.tables:
            names = {column.name for column in tables[f"ext.{table}"].c}
            later = {name for other in STEPS for name in other.columns.get(table, ())}
            made |= {(table, name) for name in names if step.version > 1} | {
                (table, name) for name in names - later if (table, name) in old or name == "month"
            }
        made |= {(table, column) for table, columns in step.columns.items() for column in columns}
    assert made == {(table.name, column.name) for table in tables.values() for column in table.c}


def test_from_the_first_release(new_db: Database) -> None:
    """Tables of 0.1.0 are refused until they are upgraded, which loses nothing and creates the policy once."""
    expected = newly_created(new_db)
    create_release(new_db)
    with pytest.raises(NotFound, match=f"has an older layout, version 1 of {len(STEPS)}"):
        new_db.retention().policies()
    said, statements = new_db.retention().rehearse_setup()
    assert own_columns(new_db).keys() == ROWS.keys()
    done = new_db.retention().setup()
    assert [line for line in done if "jobs-log" not in line] == [line for line in said if "jobs-log" not in line]
    assert f"schema {new_db.own_schema} is at version 2: rollups" in done
    assert any("ADD COLUMN" in statement and "cutoff_by" in statement for statement in statements)
    assert new_db.retention().delete_policy("jobs-log").id == "jobs-log"
    assert_upgraded(new_db, expected)


EACH = pytest.mark.long("make test has each third of them, and each step is one of `setup`")


@pytest.mark.parametrize(
    "version",
    [pytest.param(step.version, marks=() if step.version % 3 == len(STEPS) % 3 else EACH) for step in STEPS],
)
def test_from_any_version_in_between(new_duck: DuckDatabase, version: int) -> None:
    """A schema that was left after any step, and notes none, is recognised and upgraded."""
    expected = newly_created(new_duck)
    create_release(new_duck)
    tool = new_duck.retention()
    tool.setup(journal_policy=False)
    for step in STEPS[version:]:
        for table in step.tables:
            new_duck.sql(f"DROP TABLE {new_duck.q(table, 'ext')}")
        for table, columns in step.columns.items():
            for column in columns if table in own_columns(new_duck) else ():
                new_duck.sql(f'ALTER TABLE {new_duck.q(table, "ext")} DROP COLUMN "{column}"')
    new_duck.sql("DROP TABLE ext.schema_version")
    if version == len(STEPS):
        assert len(new_duck.retention().policies()) == 1
    else:
        with pytest.raises(NotFound, match=f"has an older layout, version {version} of {len(STEPS)}"):
            new_duck.retention().policies()
    assert ("created policy jobs-log" in str(new_duck.retention().setup())) == (version < 3)
    if version < 3:
        new_duck.retention().delete_policy("jobs-log")
    assert_upgraded(new_duck, expected)


def test_killed_anywhere_on_duckdb(new_duck: DuckDatabase) -> None:
    """Killed at its n-th statement, and set up again: it ends the same."""
    assert kill_at_each(new_duck, examples(4, long=1)) > len(STEPS) + 30


@pytest.mark.slow("an upgrade is killed some dozens of times, and done again each time")
def test_killed_anywhere_on_cratedb(new_crate: CrateDatabase) -> None:
    """The same on CrateDB, where each statement is final."""
    assert kill_at_each(new_crate, examples(16, long=2)) > len(STEPS) + 30


@DECIDED
def test_process_really_killed(new_db: Database) -> None:
    """An upgrade whose process gets SIGKILL amid its statements is finished by the next one."""
    expected = newly_created(new_db)
    create_release(new_db)
    new_db.close()
    killed = run_until_killed(RunRequest(uri=new_db.uri, schema=new_db.own_schema, cutoff="", kill_at=30))
    assert killed is not None
    assert "schema_version" in own_columns(new_db)
    assert own_columns(new_db) != expected, killed
    new_db.retention().setup(journal_policy=False)
    assert_upgraded(new_db, expected)


def kill_at_each(db: Database, stride: int) -> int:
    """Kill upgrades at each how many-th statement, and finish each; tells how many statements there are."""
    expected = newly_created(db)
    number = 0
    while True:
        create_release(db)
        was_killed = setup_until(db.retention(), number, Killed())
        if was_killed:
            db.retention().setup(journal_policy=False)
        assert_upgraded(db, expected)
        if not was_killed:
            return number
        drop_all(db)
        number += stride


def setup_until(tool: Retention, number: int, end: BaseException) -> bool:
    """Set up without a policy, and be killed at a statement; tells whether that happened."""
    seen = 0

    def kill(statement: str) -> None:
        nonlocal seen
        seen += 1
        if seen > number:
            raise end

    with before_statements(tool.engine.database.engine, kill):
        try:
            tool.setup(journal_policy=False)
        except Killed:
            return True
        finally:
            tool.close()
    return False


@pytest.mark.cratedb
@pytest.mark.parametrize(
    "number", [9, *(pytest.param(n, marks=pytest.mark.long("make test has one in the middle")) for n in (3, 15))]
)
def test_two_at_once(new_crate: CrateDatabase, number: int) -> None:
    """While one sets up, another one does it all: the first goes on, and both are content."""
    expected = newly_created(new_crate)
    create_release(new_crate)
    one, other = new_crate.retention(), new_crate.retention()
    meanwhile = once_at(number, other.setup)
    with before_statements(one.engine.database.engine, meanwhile):
        one.setup()
    assert len(one.policies()) == 2
    one.delete_policy("jobs-log")
    assert_upgraded(new_crate, expected)


@pytest.mark.cratedb
def test_two_threads(new_crate: CrateDatabase) -> None:
    """Two that begin at the same moment."""
    expected = newly_created(new_crate)
    create_release(new_crate)
    errors: list[BaseException] = []
    barrier = threading.Barrier(2)

    def set_up(tool: Retention) -> None:
        barrier.wait()
        try:
            tool.setup(journal_policy=False)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=set_up, args=[new_crate.retention()]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert_upgraded(new_crate, expected)


@pytest.mark.parametrize("number", [1, 2, 12, 24, 36])
@pytest.mark.some(2)
def test_repeated_while_tables_appear(new_duck: DuckDatabase, number: int) -> None:
    """If CrateDB does not know its tables for a moment, setup is repeated, and reports the changes of all attempts."""
    create_release(new_duck)
    expected = new_duck.retention().setup()
    drop_all(new_duck)
    create_release(new_duck)
    tool = new_duck.retention()
    with before_statements(tool.engine.database.engine, fail_at(number, 3, Recovering("database", "was just started"))):
        assert tool.setup() == expected
    assert {stored.policy.id for stored in tool.policies()} == {"jobs-log", "kept"}


def test_unreachable(new_duck: DuckDatabase) -> None:
    """If the database is unreachable, setup fails at once."""
    tool = new_duck.retention()
    failing = fail_at(1, 1, ConnectionLost("database", "no answer"))
    with before_statements(tool.engine.database.engine, failing), pytest.raises(ConnectionLost):
        tool.setup()


def fail_at(number: int, times: int, error: RetentionError) -> Callable[[str], None]:
    """Fails the n-th statement, and those after it, a number of times."""
    seen = 0

    def before(statement: str) -> None:
        nonlocal seen
        seen += 1
        if number <= seen < number + times:
            raise error

    return before


def once_at(number: int, act: Callable[[], object]) -> Callable[[str], None]:
    """Does something right before the n-th statement."""
    seen: list[str] = []

    def before(statement: str) -> None:
        seen.append(statement)
        if len(seen) == number:
            act()

    return before


def test_verified_snapshots(released: Database) -> None:
    """When a snapshot was last read back, and what was wrong, was only in the audit log, and is with the snapshot."""
    insert(released, "retention_snapshot", {**ROWS["retention_snapshot"], "repository": "warm"})
    for time, error in (("2024-05-03T00:00:00+00:00", "rows are missing"), ("2024-05-02T00:00:00+00:00", None)):
        entry = {"time": time, "event": "verified", "message": "day=1 from cold.snap", "error": error}
        insert(released, "jobs_log", entry)
    tool = released.retention()
    tool.setup()
    cold, warm = tool.store.snapshots.all()
    assert (str(cold.verified_at), cold.damage) == ("2024-05-03 00:00:00+00:00", "rows are missing")
    assert (warm.archived.repository, warm.verified_at, warm.damage) == ("warm", None, None)
