"""``setup``: creates, repeats, looks without touching, and takes over what cratedb-toolkit left."""

from __future__ import annotations

from pathlib import Path

import duckdb

from cratedb_retention.store.setup import STEPS
from support.command import Command, Contents
from support.cratedb import CrateDB
from support.sql import quoted


def test_creating_and_repeating(bare: Command, contents: Contents) -> None:
    """The first time tables are created and named; after that nothing is done, and that is said."""
    out = bare.ok("setup", "--no-journal-policy")
    assert "created ext.retention_policy\n" in out
    assert out.count("created ext.") == 14
    assert "next: `cratedb-retention suggest` writes a policy" in out.splitlines()[-1]
    assert "schema ext is at version 1: policies, audit log, holds and archives\n" in out
    before = contents()
    assert bare.ok("setup", "--no-journal-policy") == "schema ext is up to date\n"
    assert contents() == before


def test_a_new_file(tmp_path: Path) -> None:
    """``setup`` is the one command that creates a DuckDB file."""
    command = Command(f"duckdb:///{tmp_path / 'new.duckdb'}")
    command.ok("setup", "--no-journal-policy")
    assert command.ok("list") == "no policies; create one with `cratedb-retention create-policy`\n"


def test_a_dry_run(bare: Command, contents: Contents) -> None:
    """``--dry-run`` shows what would be done, with its statements, and does nothing."""
    before = contents()
    first, *lines = bare.ok("setup", "--no-journal-policy", "--dry-run", "--schema=other").splitlines()
    assert first == f"{bare.uri} responds; setup would create or upgrade the tables in schema other"
    assert "dry run: created other.retention_policy" in lines
    assert any(line.startswith("dry run: CREATE TABLE") and "retention_policy" in line for line in lines)
    assert contents() == before
    whole = bare.ok("setup", "--dry-run", "--schema=other").splitlines()
    journal_policy = "dry run: INSERT INTO other.retention_policy "
    assert [any(line.startswith(journal_policy) for line in shown) for shown in (lines, whole)] == [False, True]
    bare.ok("setup", "--no-journal-policy", "--schema=other")
    expected = f"{bare.uri} responds; setup would change nothing in schema other\n"
    assert bare.ok("setup", "--dry-run", "--schema=other") == expected


def test_a_dry_run_without_a_file(tmp_path: Path) -> None:
    """What would be created in a DuckDB file that does not exist is shown, and no file comes of that."""
    path = tmp_path / "missing.duckdb"
    command = Command(f"duckdb:///{path}")
    first, *lines = command.ok("setup", "--dry-run").splitlines()
    assert first.startswith(f"{command.uri} does not exist, and would be created; setup would create")
    assert not list(tmp_path.iterdir())
    done = command.ok("setup").splitlines()
    words = [line.removeprefix("dry run: ") for line in lines]
    assert {word for word in words if word.startswith("created ext.")} == {d for d in done if "created ext." in d}
    assert any(word.startswith("CREATE TABLE") and "retention_policy" in word for word in words)
    nowhere = tmp_path / "no" / "missing.duckdb"
    refused = command.refused(2, "setup", "--dry-run", f"duckdb:///{nowhere}")
    assert f"directory {nowhere.parent} does not exist" in refused
    assert not nowhere.parent.exists()


def test_verbose_shows_statements(bare: Command) -> None:
    """``--verbose`` logs each statement; without it, nothing is logged."""
    outcome = bare.process("--verbose", "setup", "--no-journal-policy")
    assert outcome.code == 0
    assert "CREATE TABLE" in outcome.err
    assert bare.process("list").err == ""


def test_schemas_with_unusual_names(bare: Command) -> None:
    """A name with quotes, blanks or keywords is a name."""
    for schema in ('a"b', "select", "two words", "x; DROP TABLE metrics"):
        bare.ok("setup", "--no-journal-policy", f"--schema={schema}")
        bare.ok("create", f"--schema={schema}", "--strategy=delete", "--table-name=metrics", "--retention-period=1d")
        assert len(bare.data("list", f"--schema={schema}")) == 1


def test_older_and_newer_tables(command: Command, path: Path) -> None:
    """Tables of another version are refused, in one line that says what to do; ``setup`` upgrades older ones."""
    command.ok("create", "--strategy=delete", "--table-name=metrics", "--retention-period=1d")
    with duckdb.connect(str(path)) as connection:
        connection.execute("DELETE FROM ext.schema_version WHERE version >= 6")
        connection.execute("ALTER TABLE ext.retention_hold DROP COLUMN where_long")
    last = STEPS[-1].version
    older = f"schema ext: has an older layout, version 5 of {last}. Run `cratedb-retention setup` to upgrade it"
    for words in (["list"], ["run"], ["status"], ["list-holds"], ["export"]):
        assert command.refused(1, *words) == older
    shown = command.ok("setup", "--dry-run").splitlines()[1:]
    assert "dry run: schema ext is at version 6: identities of tables, long texts" in shown
    assert any(line.startswith("dry run: ALTER TABLE ext.retention_hold ADD COLUMN") for line in shown)
    assert "older layout" in command.refused(1, "list")
    versions = [f"schema ext is at version {step.version}: {step.name}" for step in STEPS[5:]]
    assert command.ok("setup").splitlines() == ["added column where_long to ext.retention_hold", *versions]
    assert len(command.data("list")) == 1
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"INSERT INTO ext.schema_version VALUES ({last + 1}, 'what is to come', now())")
    newer = f"schema ext: has a newer layout, version {last + 1}; this program knows version {last}."
    for words in (["list"], ["setup"], ["setup", "--dry-run"]):
        assert command.refused(1, *words) == f"{newer} Upgrade cratedb-retention"


def test_taking_over_the_policies_of_cratedb_toolkit(cratedb: CrateDB, crate_schema: str) -> None:
    """On CrateDB its table is upgraded in place: every policy, its days and its tags."""
    schema = f"{crate_schema}_ext"
    table = quoted(schema, "retention_policy")
    cratedb.sql(
        f'CREATE TABLE {table} ("id" TEXT NOT NULL PRIMARY KEY, "strategy" TEXT NOT NULL, "tags" OBJECT(DYNAMIC),'
        ' "table_schema" TEXT, "table_name" TEXT, "partition_column" TEXT NOT NULL,'
        ' "retention_period" INTEGER NOT NULL,'
        ' "reallocation_attribute_name" TEXT, "reallocation_attribute_value" TEXT, "target_repository_name" TEXT)'
    )
    cratedb.sql(
        f'INSERT INTO {table} ("id", "strategy", "tags", "table_schema", "table_name", "partition_column",'
        " \"retention_period\") VALUES ('one', 'delete', {foo = 'true', bar = 'true'}, 'doc', 'raw', 'day', 7)"
    )
    cratedb.sql(f"REFRESH TABLE {table}")
    command = Command(cratedb.uri, schema)
    assert "Run `cratedb-retention setup`" in command.refused(1, "list")
    shown = command.ok("setup", "--no-journal-policy", "--dry-run")
    assert "dry run: policy one: delete doc.raw after 7d: unchanged" in shown
    assert "dry run: ALTER CLUSTER SWAP TABLE" in shown
    assert "Run `cratedb-retention setup`" in command.refused(1, "list")
    assert "upgraded 1 policies of cratedb-toolkit" in command.ok("setup", "--no-journal-policy")
    (policy,) = command.data("list")
    assert policy == {
        "strategy": "delete",
        "table_schema": "doc",
        "table_name": "raw",
        "retention_period": "7d",
        "cutoff_by": "day",
        "partition_column": "day",
        "tags": ["bar", "foo"],
        "id": "one",
        "version": 1,
    }
