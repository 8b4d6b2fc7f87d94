"""
Taking over the policies of cratedb-toolkit 0.1.1: nothing is lost, wherever it is interrupted.
"""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from cratedb_retention.errors import NotFound
from support.databases import CrateDatabase, before_statements
from support.tiers import examples

# As cratedb-toolkit 0.1.1 creates it.
LEGACY = """
CREATE TABLE {} (
    "id" TEXT NOT NULL PRIMARY KEY,
    "strategy" TEXT NOT NULL,
    "tags" OBJECT(DYNAMIC),
    "table_schema" TEXT,
    "table_name" TEXT,
    "partition_column" TEXT NOT NULL,
    "retention_period" INTEGER NOT NULL,
    "reallocation_attribute_name" TEXT,
    "reallocation_attribute_value" TEXT,
    "target_repository_name" TEXT
) CLUSTERED INTO 1 SHARDS
"""
COLUMNS = (
    "id",
    "strategy",
    "tags",
    "table_schema",
    "table_name",
    "partition_column",
    "retention_period",
    "reallocation_attribute_name",
    "reallocation_attribute_value",
    "target_repository_name",
)
ROWS: list[tuple[Any, ...]] = [
    ("id-1", "delete", {"foo": "true", "bar": "true"}, "doc", "raw_metrics", "ts_day", 1, None, None, None),
    ("id-2", "reallocate", None, "doc", "raw_metrics", "ts_day", 60, "storage", "cold", None),
    ("id-3", "snapshot", {}, "doc", "sensor", "ts_month", 365, None, None, "export_cold"),
    ("id-4", "reallocate", {"baz": "true"}, "doc", "broken", "ts_day", 7, None, None, None),
    ("id-5", "delete", None, "doc", None, "ts_day", 7, None, None, None),
    ("id-6", "delete", {"foo": "true"}, None, "raw_metrics", "ts_day", 0, None, None, None),
    ("id-7", "delete", {"foo": "true"}, "doc", "raw_metrics", "ts_day", 30, None, None, None),
]


class Interrupted(BaseException):
    """As if the process had been killed."""


@pytest.fixture
def legacy(new_crate: CrateDatabase) -> CrateDatabase:
    """A database that cratedb-toolkit has left, of which nothing was refreshed."""
    table = new_crate.q("retention_policy", new_crate.own_schema)
    new_crate.sql(LEGACY.format(table))
    new_crate.sql(f"ALTER TABLE {table} SET (refresh_interval = 0)")
    places = ", ".join("?" * len(COLUMNS))
    statement = f"INSERT INTO {table} ({', '.join(COLUMNS)}) VALUES ({places})"
    assert new_crate.server.bulk(statement, ROWS) == [1] * len(ROWS)
    return new_crate


def assert_complete(crate: CrateDatabase) -> None:
    """All policies are there: those that ran are obeyed, the others are kept, but disabled."""
    tool = crate.retention()
    policies = {stored.policy.id: stored.policy for stored in tool.policies()}
    assert set(policies) == {"id-1", "id-2", "id-3", "id-6", "id-7"}
    assert policies["id-1"].to_dict() == {
        "strategy": "delete",
        "table_schema": "doc",
        "table_name": "raw_metrics",
        "partition_column": "ts_day",
        "retention_period": "1d",
        "cutoff_by": "day",
        "tags": ["bar", "foo"],
        "id": "id-1",
    }
    assert policies["id-2"].tags == ()
    assert policies["id-2"].reallocation_attribute_value == "cold"
    assert policies["id-3"].target_repository_name == "export_cold"
    kept = crate.rows(
        f"SELECT id, strategy, table_name, retention_period, partition_column, tags, enabled"
        f" FROM {crate.q('retention_policy', crate.own_schema)} WHERE NOT enabled ORDER BY id"
    )
    assert [list(row) for row in kept] == [
        ["id-4", "reallocate", "broken", "7d", "ts_day", ["baz"], False],
        ["id-5", "delete", "", "7d", "ts_day", [], False],
        ["id-6", "delete", "raw_metrics", "0d", "ts_day", ["foo"], False],
    ]
    old = crate.rows(f"SELECT * FROM {crate.q('retention_policy_toolkit', crate.own_schema)} ORDER BY id")
    assert [list(row) for row in old] == [list(row) for row in ROWS]
    assert upgrades_left(crate) == []
    assert tool.setup(journal_policy=False) == []


def upgrades_left(crate: CrateDatabase) -> list[str]:
    """The tables in which policies are before they are swapped with the old one."""
    query = (
        "SELECT table_name FROM information_schema.tables"
        " WHERE table_schema = ? AND table_name LIKE 'retention_policy_upgrade%'"
    )
    return [row[0] for row in crate.rows(query, [crate.own_schema])]


def test_upgrade(legacy: CrateDatabase) -> None:
    """Each policy is there afterwards, and the old table stays beside."""
    with pytest.raises(NotFound, match=r"older layout|does not exist"):
        legacy.retention().policies()
    said = legacy.retention().setup(journal_policy=False)
    assert "7 policies of cratedb-toolkit, 3 of them disabled" in said[1]
    assert [line.partition(":")[0] for line in said[2:9]] == [f"policy id-{number}" for number in range(1, 8)]
    assert_complete(legacy)


def test_upgraded_policies_can_be_changed(legacy: CrateDatabase) -> None:
    """A policy that was taken over is like any other."""
    legacy.retention().setup(journal_policy=False)
    changed = legacy.tool.edit_policy("id-1", {"retention_period": "2d"})
    assert str(changed.retention_period) == "2d"
    assert legacy.tool.delete_policy("id-2").id == "id-2"


def test_disabled_ones_are_no_problem(legacy: CrateDatabase) -> None:
    """What could not be valid is disabled, so that runs are not spoilt by it."""
    legacy.retention().setup(journal_policy=False)
    problems = legacy.tool.plan().needs_attention
    assert {problem.policy_id for problem in problems} & {"id-4", "id-5"} == set()


@pytest.mark.slow("the upgrade is interrupted after many of its statements")
def test_interrupted_anywhere(legacy: CrateDatabase) -> None:
    """Killed after its n-th statement, and set up again: it ends the same; `make test` takes every fourth."""
    backup, table = legacy.q("backup", legacy.own_schema), legacy.q("retention_policy", legacy.own_schema)
    legacy.refresh("retention_policy", legacy.own_schema)
    own = ("retention_policy", "retention_policy_toolkit", "schema_version")
    legacy.sql(LEGACY.format(backup))
    legacy.sql(f"INSERT INTO {backup} (SELECT * FROM {table})")
    legacy.refresh("backup", legacy.own_schema)
    number = 0
    while setup_killed_after(legacy, number):
        assert_nothing_is_lost(legacy)
        legacy.retention().setup(journal_policy=False)
        assert_complete(legacy)
        for name in own:
            legacy.sql(f"DROP TABLE IF EXISTS {legacy.q(name, legacy.own_schema)}")
        legacy.sql(LEGACY.format(table))
        legacy.sql(f"INSERT INTO {table} (SELECT * FROM {backup})")
        number += examples(4, long=1)
    assert number > len(ROWS) + 5
    assert_complete(legacy)


@pytest.mark.parametrize(
    "number",
    [12, 20, *(pytest.param(n, marks=pytest.mark.long("make test has two others")) for n in (6, 16, 23))],
)
def test_two_at_once(legacy: CrateDatabase, number: int) -> None:
    """While one takes the policies over, another one does so from beginning to end: each is there once."""
    one, other = legacy.retention(), legacy.retention()
    seen: list[str] = []

    def meanwhile(statement: str) -> None:
        seen.append(statement)
        if len(seen) == number:
            other.setup(journal_policy=False)

    with before_statements(one.engine.database.engine, meanwhile):
        one.setup(journal_policy=False)
    assert len(seen) > number
    assert_complete(legacy)


def setup_killed_after(crate: CrateDatabase, number: int) -> bool:
    """Set up, and be killed after so many statements; tells whether that happened."""
    tool, seen = crate.retention(), 0

    def kill(*args: Any) -> None:
        nonlocal seen
        seen += 1
        if seen > number:
            raise Interrupted

    sa.event.listen(tool.engine.database.engine, "before_cursor_execute", kill)
    try:
        tool.setup(journal_policy=False)
    except Interrupted:
        return True
    finally:
        tool.close()
    return False


def assert_nothing_is_lost(crate: CrateDatabase) -> None:
    """At any time, all policies are in one of the tables."""
    counts = [
        crate.count(name, schema=crate.own_schema)
        for name in ("retention_policy", "retention_policy_toolkit", *upgrades_left(crate))
        if crate.exists(name, crate.own_schema)
    ]
    assert len(ROWS) in counts
    assert crate.count("retention_policy", schema=crate.own_schema) == len(ROWS)
